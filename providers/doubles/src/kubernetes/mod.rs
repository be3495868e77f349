//! A Kubernetes cluster in memory: the API of v1.36, its controllers' visible behaviour, and a clock of its own.
//!
//! Nothing moves by itself: [`Cluster::advance`] lets time pass, and with it every controller, scheduler and kubelet acts.
//! What the real API server refuses is refused with the same status, reason and causes.

mod access;
mod admission;
mod behaviour;
mod call;
mod controllers;
mod defaults;
mod http;
mod kind;
mod managed;
mod nodes;
mod object;
mod patch;
mod quantity;
mod refusal;
mod schema;
mod selector;
mod serve;
mod store;
mod validate;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::kubernetes::access::Access;
pub use crate::kubernetes::access::Rule;
use crate::kubernetes::call::Call;
use crate::kubernetes::kind::{KINDS, Kind};
use crate::kubernetes::managed::Writer;
use crate::kubernetes::object::{name, namespace, stamp};
use crate::kubernetes::refusal::Refusal;
use crate::kubernetes::serve::{Reply, Watch};
use crate::kubernetes::store::Place;
use crate::kubernetes::world::{Farewell, World};

/// One cluster. All its methods may be called from anywhere at any time.
#[derive(Debug)]
pub struct Cluster {
    world: Mutex<World>,
    access: Mutex<Access>,
    requests: Mutex<Vec<Asked>>,
    changed: watch::Sender<u64>,
}

/// One request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `GET`, `PATCH`, …
    pub method: String,
    pub path: String,
    /// The status code of the answer.
    pub code: u16,
}

impl Cluster {
    /// A cluster with four namespaces and three machines, whose clock shows the present instant.
    pub fn new(name: &str) -> Arc<Self> {
        Self::at(name, Timestamp::now())
    }

    /// As [`Cluster::new`], at another instant.
    pub fn at(name: &str, now: Timestamp) -> Arc<Self> {
        let world = World::new(name, now);
        let (changed, _) = watch::channel(world.store.version());
        Arc::new(Cluster {
            world: Mutex::new(world),
            access: Mutex::new(Access::default()),
            requests: Mutex::new(Vec::new()),
            changed,
        })
    }

    /// The API, for a server on loopback.
    pub fn router(self: &Arc<Self>) -> axum::Router {
        http::router(Arc::clone(self))
    }

    /// What the cluster's own clock shows.
    pub fn now(&self) -> Timestamp {
        self.world.lock().now
    }

    /// Lets so much of the cluster's time pass: controllers, scheduler and kubelets act.
    pub fn advance(&self, time: Duration) {
        self.change(|world| controllers::advance(world, time));
    }

    /// Lets the cluster's time pass with real time, `pace` times as fast, until the cluster or the task is dropped.
    pub fn run_live(self: &Arc<Self>, pace: f64) -> tokio::task::JoinHandle<()> {
        let cluster = Arc::downgrade(self);
        let step = Duration::from_millis(50);
        tokio::spawn(async move {
            let mut clock = tokio::time::interval(step);
            clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                clock.tick().await;
                let Some(cluster) = cluster.upgrade() else { return };
                cluster.advance(step.mul_f64(pace.clamp(0.0, 1e6)));
            }
        })
    }

    /// One request without a socket, as a client without a token would send it: the status code and the answer's JSON
    /// (its text, where it is none). A body that is `null` is sent as no body. Watches are served over HTTP only.
    pub fn request(&self, method: &str, path: &str, media: &str, body: &Value) -> (u16, Value) {
        let mut headers = HeaderMap::new();
        if let Ok(media) = HeaderValue::from_str(media) {
            headers.insert("content-type", media);
        }
        headers.insert("user-agent", HeaderValue::from_static("test/1"));
        let (Ok(method), Ok(uri)) = (method.parse::<Method>(), path.parse::<Uri>()) else {
            return (400, Value::Null);
        };
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        match self.answer(&Call::new(method, &uri, &headers, bytes)) {
            Reply::Json { code, body, .. } => (code, body),
            Reply::Text { code, body } => (code, Value::String(body)),
            Reply::Watch(_) => (200, Value::Null),
        }
    }

    /// An object as it stands; the namespace is empty for kinds without one. `None` also for an unknown kind.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let kind = KINDS.iter().find(|known| known.kind == kind)?;
        self.world.lock().get(kind, namespace, name).cloned()
    }

    /// All objects of a kind, in one namespace or, with an empty name, in all.
    pub fn list(&self, kind: &str, namespace: &str) -> Vec<Value> {
        match KINDS.iter().find(|known| known.kind == kind) {
            Some(kind) => {
                let objects = self.world.lock().objects(kind.kind, namespace);
                objects.into_iter().map(Arc::unwrap_or_clone).collect()
            }
            None => Vec::new(),
        }
    }

    /// Creates an object, or replaces it whole where it stands, as the manager `test` would: validated like any write.
    ///
    /// # Errors
    /// The `Status` that the API would answer.
    pub fn put(&self, object: Value) -> Result<Value, Value> {
        self.put_as("test", object)
    }

    /// As [`Cluster::put`], as another field manager.
    ///
    /// # Errors
    /// The `Status` that the API would answer.
    pub fn put_as(&self, manager: &str, mut object: Value) -> Result<Value, Value> {
        let wanted = object["kind"].as_str().unwrap_or_default().to_owned();
        let Some(kind) = KINDS.iter().find(|known| known.kind == wanted) else {
            return Err(Refusal::bad_request(format!("no kind {wanted}")).status());
        };
        if kind.namespaced && namespace(&object).is_empty() {
            object["metadata"]["namespace"] = json!("default");
        }
        schema::read::read(&kind.shape(), &mut object);
        self.change(|world| {
            let home = namespace(&object).to_owned();
            let writer = Writer {
                manager: manager.to_owned(),
                api_version: kind.api_version(),
                subresource: "",
                time: stamp(world.now),
            };
            let old = world.get(kind, &home, name(&object)).cloned();
            match old {
                None => world.create(kind, &home, object, &writer),
                Some(old) => {
                    object["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
                    world.update(kind, object, &writer)
                }
            }
        })
        .map_err(|refusal| refusal.status())
    }

    /// Deletes an object as the API would; says whether it was there.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) -> bool {
        let Some(kind) = KINDS.iter().find(|known| known.kind == kind) else {
            return false;
        };
        let at = Place::new(kind, namespace, name);
        self.change(|world| world.delete(kind, &at, &Farewell::default()).is_ok())
    }

    /// What pods do from now on whose image fits the pattern (`*` stands for anything), unless their own annotation
    /// `klab/do` says otherwise. The newest rule for a pattern counts, and rules for other patterns stay.
    ///
    /// `ready start=S ready=S` · `neverready` · `flaky at=S` · `imagepull` · `crashloop exit=N` · `oom` ·
    /// `flapping up=S exit=N` (ready for so long, then it crashes, again and again) · `succeed after=S` ·
    /// `fail after=S exit=N` · `stuck` · `unschedulable` · `quota`; `slowstop=S` with any of them.
    pub fn behave(&self, image: &str, words: &str) {
        let mut world = self.world.lock();
        world.nodes.rules.retain(|rule| rule.image != image);
        world.nodes.rules.insert(
            0,
            behaviour::Rule {
                image: image.to_owned(),
                words: words.to_owned(),
            },
        );
    }

    /// Demand on an autoscaler's pods: the sum of their utilisation, in percent of what each requests.
    pub fn load(&self, namespace: &str, autoscaler: &str, percent: u32) {
        self.world
            .lock()
            .loads
            .insert((namespace.to_owned(), autoscaler.to_owned()), percent);
    }

    /// Makes a bearer token known. From the first one on, calls without a known token are refused with 401, and calls
    /// that the token's rules do not allow with 403.
    pub fn grant(&self, token: &str, user: &str, rules: Vec<Rule>) {
        self.access
            .lock()
            .users
            .insert(token.to_owned(), (user.to_owned(), rules));
    }

    /// Takes the kinds of a group away, as in a cluster where its definitions are not installed.
    pub fn uninstall(&self, group: &str) {
        self.world.lock().absent.insert(group.to_owned());
    }

    /// Forgets what happened so far: older watches and page tokens end with 410.
    pub fn compact(&self) {
        self.change(|world| world.store.compact());
    }

    /// The requests answered so far, oldest first.
    pub fn requests(&self) -> Vec<Asked> {
        self.requests.lock().clone()
    }

    /// How many requests changed something (or tried to and were accepted) since the cluster was made.
    pub fn writes(&self) -> u64 {
        let asked = self.requests.lock();
        let changes = asked.iter().filter(|asked| {
            asked.method != "GET" && asked.code < 300 && !asked.path.contains("/selfsubjectaccessreviews")
        });
        changes.count() as u64
    }

    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world.lock();
        let done = change(&mut world);
        let version = world.store.version();
        drop(world);
        self.changed
            .send_if_modified(|known| std::mem::replace(known, version) != version);
        done
    }

    pub(crate) fn answer(&self, call: &Call) -> Reply {
        let reply = self.change(|world| serve::serve(world, &self.access.lock(), call));
        let code = match &reply {
            Reply::Json { code, .. } | Reply::Text { code, .. } => *code,
            Reply::Watch(_) => 200,
        };
        self.requests.lock().push(Asked {
            method: call.method.to_string(),
            path: call.path.clone(),
            code,
        });
        reply
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn events(&self, watch: &mut Watch) -> Result<Vec<Value>, Value> {
        watch.events(&self.world.lock().store)
    }
}

impl World {
    /// Whether a kind is served here.
    pub(crate) fn serves(&self, kind: &Kind) -> bool {
        !self.absent.contains(kind.group)
    }
}

/// Groups whose kinds are not installed.
pub(crate) type Absent = BTreeSet<String>;
