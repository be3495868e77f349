//! All regions together: orders come in here, are judged, saved, and only then worked on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::sandbox::fault::Faults;
use crate::sandbox::ledger::{self, Deed, Ledger};
use crate::sandbox::listener::{self, Stop, Stopper};
use crate::sandbox::load;
use crate::sandbox::meter::Meters;
use crate::sandbox::observed::{self, Observed};
use crate::sandbox::options::{CONNECTIONS_MAX, FAULTS_MAX, Options, REGIONS_MAX};
use crate::sandbox::order::{self, Answer, Order};
use crate::sandbox::proxy::{HttpClient, Proxy, http_client};
use crate::sandbox::record::{Key, Record, Settings};
use crate::sandbox::region::{Due, Region};

/// How long a region's instances may take to stop when the sandbox ends.
const STOP_GRACE: Duration = Duration::from_secs(4);

/// Why a request to the sandbox could not be met.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It asks for something that cannot be.
    #[error("{0}")]
    Refused(String),
    /// It names a region that does not exist.
    #[error("the sandbox has no region {0}")]
    UnknownRegion(Key),
    /// It asks for one region too many.
    #[error("the sandbox has {REGIONS_MAX} regions already, which is its limit; delete one first")]
    Full,
    /// The new state could not be saved, so nothing was changed.
    #[error("could not save the change, so nothing was changed")]
    Unsaved(#[source] ledger::Error),
    /// No port or no task could be had, or the sandbox is stopping.
    #[error("the sandbox cannot do this now: {0}")]
    Unable(String),
}

/// The sandbox's whole world.
#[derive(Debug)]
pub struct World {
    /// How it was started.
    pub options: Options,
    /// Its memory.
    pub ledger: Arc<Ledger>,
    /// For every request within the sandbox.
    pub client: HttpClient,
    regions: RwLock<BTreeMap<Key, Live>>,
    /// One change at a time, from the judgement until it is saved and works.
    gate: tokio::sync::Mutex<()>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Live {
    region: Arc<Region>,
    stopper: Stopper,
}

impl World {
    /// A world without regions.
    pub fn new(options: Options, ledger: Ledger) -> Self {
        Self {
            options,
            ledger: Arc::new(ledger),
            client: http_client(),
            regions: RwLock::default(),
            gate: tokio::sync::Mutex::new(()),
            tasks: Mutex::default(),
        }
    }

    /// Brings saved regions back, with their weights and without start delays.
    ///
    /// # Errors
    /// No loopback port to be had.
    pub async fn restore(self: &Arc<Self>, records: Vec<Record>) -> std::io::Result<()> {
        for mut record in records {
            let listener = match listener::loopback(record.proxy_port).await {
                Ok(listener) => listener,
                // Somebody else took the port meanwhile; observers are told the new one.
                Err(_) => listener::loopback(0).await?,
            };
            record.proxy_port = listener.local_addr()?.port();
            self.open(record, listener, true)?;
        }
        Ok(())
    }

    /// Every region, in order.
    pub fn regions(&self) -> Vec<Arc<Region>> {
        self.regions
            .read()
            .values()
            .map(|live| Arc::clone(&live.region))
            .collect()
    }

    /// The region of this key.
    ///
    /// # Errors
    /// [`Failure::UnknownRegion`].
    pub fn region(&self, key: &Key) -> Result<Arc<Region>, Failure> {
        let regions = self.regions.read();
        let live = regions.get(key).ok_or_else(|| Failure::UnknownRegion(key.clone()))?;
        Ok(Arc::clone(&live.region))
    }

    /// How a region looks now.
    pub fn observe(&self, region: &Region) -> Observed {
        observed::observe(region, &self.options.timings, self.options.requests_per_second)
    }

    /// Generated requests a second of a region.
    pub fn requests_per_second(&self, region: &Region) -> f64 {
        region
            .record()
            .settings
            .requests_per_second
            .unwrap_or(self.options.requests_per_second)
    }

    /// The region of this key, created when it does not exist, with these settings taken.
    ///
    /// # Errors
    /// Settings that cannot be, too many regions, a disk that refuses.
    pub async fn visit(self: &Arc<Self>, key: Key, settings: Settings) -> Result<Arc<Region>, Failure> {
        if let Some(why) = settings.fault() {
            return Err(Failure::Refused(why));
        }
        self.gated(move |world| async move {
            let known = world.regions.read().get(&key).map(|live| Arc::clone(&live.region));
            match known {
                Some(region) => {
                    world.change(&region, |record| record.take(&settings)).await?;
                    Ok(region)
                }
                None => world.create(key, settings).await,
            }
        })
        .await
    }

    /// Judges an order, saves what it changes, and starts working on it.
    ///
    /// Guarantees: an answer that says applied is durable; a stale or refused order changed nothing; every order is audited.
    ///
    /// # Errors
    /// An unknown region, a disk that refuses.
    pub async fn order(self: &Arc<Self>, key: Key, order: Order) -> Result<Answer, Failure> {
        self.gated(move |world| async move {
            let region = world.region(&key)?;
            let answer = world
                .change(&region, |record| {
                    let answer = order::judge(&order, record.fence, &record.desired);
                    if answer == Answer::Applied {
                        record.fence = Some(order.fence);
                        record.desired = order.desired.clone();
                        record.note_promotion();
                    }
                    answer
                })
                .await?;
            let Order { fence, desired } = order;
            let deed = Deed::Order {
                fence,
                desired,
                answer: answer.clone(),
                repeats: 0,
            };
            world.ledger.note(&key, Timestamp::now(), deed);
            Ok(answer)
        })
        .await
    }

    /// Sets what is wrong with a version in every region that `wanted` accepts, or lets the workflow's word count again.
    /// Tells how many regions it concerned.
    ///
    /// # Errors
    /// Too many versions with faults, a disk that refuses (regions before it are changed already).
    pub async fn inject(
        self: &Arc<Self>,
        version: String,
        faults: Option<Faults>,
        wanted: impl Fn(&Key) -> bool + Send + 'static,
    ) -> Result<usize, Failure> {
        order::check_name("version", &version).map_err(Failure::Refused)?;
        self.gated(move |world| async move {
            let regions: Vec<_> = world
                .regions()
                .into_iter()
                .filter(|region| wanted(&region.key))
                .collect();
            for region in &regions {
                let record = region.record();
                let is_new = faults.is_some() && !record.injected.contains_key(&version);
                if is_new && record.injected.len() >= FAULTS_MAX {
                    return Err(Failure::Refused(format!(
                        "{} has faults for {FAULTS_MAX} versions already",
                        region.key
                    )));
                }
                world
                    .change(region, |record| match &faults {
                        Some(faults) => drop(record.injected.insert(version.clone(), faults.clone())),
                        None => drop(record.injected.remove(&version)),
                    })
                    .await?;
            }
            Ok(regions.len())
        })
        .await
    }

    /// Ends a region and forgets it.
    ///
    /// # Errors
    /// An unknown region, a disk that refuses.
    pub async fn delete(self: &Arc<Self>, key: Key) -> Result<(), Failure> {
        self.gated(move |world| async move {
            world.region(&key)?;
            let rest = world
                .regions()
                .iter()
                .filter(|r| r.key != key)
                .map(|r| Record::clone(&r.record()))
                .collect();
            world.save(rest).await?;
            if let Some(live) = world.regions.write().remove(&key) {
                live.stopper.ask();
            }
            Ok(())
        })
        .await
    }

    /// Ends every region: the load first, then the front doors, then the instances. Everything saved stays saved.
    pub async fn stop(&self) {
        for live in self.regions.read().values() {
            live.stopper.ask();
        }
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_GRACE * 2, all).await.is_err() {
            tracing::debug!("cut regions that did not stop in time");
        }
        // A change that was under way is saved to its end.
        drop(self.gate.lock().await);
    }

    /// Runs `work` alone and to its end, even when whoever asked hangs up in between.
    async fn gated<T, F>(self: &Arc<Self>, work: impl FnOnce(Arc<Self>) -> F + Send + 'static) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let world = Arc::clone(self);
        let task = tokio::spawn(async move {
            let _gate = world.gate.lock().await;
            work(Arc::clone(&world)).await
        });
        task.await
            .unwrap_or_else(|error| Err(Failure::Unable(error.to_string())))
    }

    /// Changes a record: saved first, working second. Only within [`World::gated`].
    async fn change<T>(&self, region: &Region, edit: impl FnOnce(&mut Record) -> T) -> Result<T, Failure> {
        let before = region.record();
        let mut record = Record::clone(&before);
        let answer = edit(&mut record);
        if record != *before {
            let saved = |r: &Arc<Region>| {
                if r.key == record.key {
                    record.clone()
                } else {
                    Record::clone(&r.record())
                }
            };
            self.save(self.regions().iter().map(saved).collect()).await?;
            region.publish(record);
        }
        Ok(answer)
    }

    async fn save(&self, records: Vec<Record>) -> Result<(), Failure> {
        let ledger = Arc::clone(&self.ledger);
        let saved = tokio::task::spawn_blocking(move || ledger.save(records)).await;
        saved
            .map_err(|error| Failure::Unable(error.to_string()))?
            .map_err(Failure::Unsaved)
    }

    async fn create(self: &Arc<Self>, key: Key, settings: Settings) -> Result<Arc<Region>, Failure> {
        if self.regions.read().len() >= REGIONS_MAX {
            return Err(Failure::Full);
        }
        let unable = |error: std::io::Error| Failure::Unable(format!("no port for its proxy: {error}"));
        let listener = listener::loopback(0).await.map_err(unable)?;
        let port = listener.local_addr().map_err(unable)?.port();
        let record = Record::new(key, settings, port, Timestamp::now());
        let all = self
            .regions()
            .iter()
            .map(|r| Record::clone(&r.record()))
            .chain([record.clone()])
            .collect();
        self.save(all).await?;
        self.open(record, listener, false).map_err(unable)
    }

    fn open(self: &Arc<Self>, record: Record, listener: TcpListener, at_once: bool) -> std::io::Result<Arc<Region>> {
        let proxy = Proxy::new(Arc::new(Meters::default()), self.client.clone());
        let region = Arc::new(Region::new(record, proxy, listener.local_addr()?));
        let (stopper, stop) = listener::stop();
        // The first step is taken here, so that an observer never finds a region in which nothing has begun.
        region.step(&self.options.timings, self.seed_of(&region.key), at_once);
        self.regions.write().insert(
            region.key.clone(),
            Live {
                region: Arc::clone(&region),
                stopper,
            },
        );
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(Arc::clone(self).run(Arc::clone(&region), listener, stop));
        Ok(region)
    }

    fn seed_of(&self, key: &Key) -> u64 {
        let bytes = key.app.bytes().chain([b'/']).chain(key.region.bytes());
        bytes.fold(self.options.seed, |seed, byte| seed.rotate_left(7) ^ u64::from(byte))
    }

    /// A region's life: its front door, its load, its walk towards what was ordered.
    async fn run(self: Arc<Self>, region: Arc<Region>, listener: TcpListener, stop: Stop) {
        let door = listener::serve(listener, region.proxy.clone(), CONNECTIONS_MAX, stop.clone());
        let load = load::generate(&self, &region, stop.clone());
        tokio::join!(door, load, self.walk(&region, stop.clone()));
        region.stop();
        let stopped = async {
            while !region
                .proxy
                .routes()
                .deployments()
                .values()
                .all(|deployment| deployment.is_stopped())
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(STOP_GRACE, stopped).await.is_err() {
            tracing::debug!(region = %region.key, "cut instances that did not stop in time");
        }
    }

    async fn walk(self: &Arc<Self>, region: &Arc<Region>, mut stop: Stop) {
        let timings = self.options.timings;
        let seed = self.seed_of(&region.key);
        while !stop.is_asked() {
            if let Due::Shift(desired) = region.step(&timings, seed, false) {
                self.shift(region, desired).await;
            }
            let pause = if region.is_moving(&timings) {
                timings.pulse / 2
            } else {
                timings.pulse * 3
            };
            tokio::select! {
                () = stop.asked() => {}
                () = region.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Moves the weights as ordered, unless another order came in between.
    async fn shift(self: &Arc<Self>, region: &Arc<Region>, desired: order::Desired) {
        let region = Arc::clone(region);
        let shifted = self.gated(move |world| async move {
            let shifted = world
                .change(&region, |record| {
                    if record.desired != desired || record.is_shifted() {
                        return None;
                    }
                    record.weights = record.weights_desired();
                    record.shadow = record.shadow_desired();
                    record.note_promotion();
                    Some((record.fence, record.weights.clone(), record.shadow.clone()))
                })
                .await?;
            if let Some((fence, weights, shadow)) = shifted {
                world
                    .ledger
                    .note(&region.key, Timestamp::now(), Deed::Shift { fence, weights, shadow });
            }
            Ok(())
        });
        if let Err(error) = shifted.await {
            tracing::warn!(%error, "could not move weights; trying again");
        }
    }
}
