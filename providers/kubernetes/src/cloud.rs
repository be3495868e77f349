//! Kubernetes as a cloud: orders and observations of one Deployment.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use meridian_engine::ports::failure::{Failure, Lasting};
use meridian_engine::ports::provider::{Observed, Order, Provider, Target};
use meridian_engine::run::effect::Progress;
use serde_json::Value;

use crate::api::Namespace;
use crate::api::resource::NAMESPACES;
use crate::cluster::Clients;
use crate::ensure;
use crate::look;
use crate::preflight::Preflight;
use crate::settings::{Settings, Strategy};
use crate::traffic::{self, Mechanism};

/// What time it is. Instants that are written to the cluster are read back by whoever owns the run then.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The provider `kubernetes`: any number of clusters, none of which is known before a region names it.
pub struct KubernetesCloud {
    clients: Arc<Clients>,
    preflight: Arc<Preflight>,
    now: Now,
}

impl std::fmt::Debug for KubernetesCloud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubernetesCloud").finish_non_exhaustive()
    }
}

impl Default for KubernetesCloud {
    fn default() -> KubernetesCloud {
        KubernetesCloud::new()
    }
}

impl KubernetesCloud {
    pub fn new() -> KubernetesCloud {
        KubernetesCloud::at(Arc::new(Timestamp::now))
    }

    /// A provider with a clock of its own, for doubles whose time is their own too.
    pub fn at(now: Now) -> KubernetesCloud {
        KubernetesCloud {
            clients: Arc::default(),
            preflight: Arc::default(),
            now,
        }
    }

    /// Another provider over the same connections. It knows as little of any target as this one does.
    pub fn beside(&self) -> KubernetesCloud {
        KubernetesCloud {
            clients: Arc::clone(&self.clients),
            preflight: Arc::clone(&self.preflight),
            now: Arc::clone(&self.now),
        }
    }

    async fn place(&self, target: &Target) -> Result<Place, Failure> {
        let settings = Settings::read(&target.settings).map_err(|why| {
            let region = &target.region;
            Failure::lasting(format!(
                "the kubernetes settings of region `{region}` are not sound: {why}"
            ))
        })?;
        let mechanism = match &settings.strategy {
            Strategy::Canary(traffic) => Some(traffic::mechanism(traffic)),
            Strategy::BlueGreen(services) => Some(traffic::switch(services)),
            Strategy::Rolling(_) => None,
        };
        Ok(Place {
            namespace: self.clients.namespace(&settings).await?,
            settings,
            mechanism,
        })
    }

    async fn look(&self, place: &Place, target: &Target) -> Result<Observed, Failure> {
        self.preflight.check(place, target).await?;
        look::observe(place, target, (self.now)()).await
    }

    /// Whether to ask once more: the credentials were refused, and those that stand on disk by now may be others.
    fn is_renewed(&self, place: &Place) -> bool {
        let is_unknown = place.namespace.is_unknown();
        if is_unknown {
            self.clients.forget(&place.settings.cluster);
        }
        is_unknown
    }

    /// A refusal may be that of credentials which have been rotated since: the next call takes them anew.
    fn heed<T>(&self, place: &Place, answer: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &answer
            && failure.lasting == Lasting::Yes
        {
            self.clients.forget(&place.settings.cluster);
        }
        answer
    }
}

/// What a target's settings come to.
pub(crate) struct Place {
    pub namespace: Namespace,
    pub settings: Settings,
    /// None for a rolling update: pods are replaced, no traffic is split.
    pub mechanism: Option<Box<dyn Mechanism>>,
}

#[async_trait]
impl Provider for KubernetesCloud {
    async fn identify(&self, target: &Target) -> Result<String, Failure> {
        let mut place = self.place(target).await?;
        let mut identity = identity(&place).await;
        if self.is_renewed(&place) {
            place = self.place(target).await?;
            identity = self::identity(&place).await;
        }
        self.heed(&place, identity)
    }

    async fn observe(&self, target: &Target) -> Result<Observed, Failure> {
        let mut place = self.place(target).await?;
        let mut seen = self.look(&place, target).await;
        if self.is_renewed(&place) {
            place = self.place(target).await?;
            seen = self.look(&place, target).await;
        }
        self.heed(&place, seen)
    }

    async fn ensure(&self, target: &Target, order: &Order) -> Result<Progress, Failure> {
        let mut place = self.place(target).await?;
        let mut progress = ensure::ensure(&place, target, order, &self.now).await;
        if self.is_renewed(&place) {
            place = self.place(target).await?;
            progress = ensure::ensure(&place, target, order, &self.now).await;
        }
        self.heed(&place, progress)
    }
}

async fn identity(place: &Place) -> Result<String, Failure> {
    // The namespace that every cluster has from its first moment, and none has twice.
    let system = place.namespace.get_cluster_wide(&NAMESPACES, "kube-system").await?;
    let uid = system
        .as_ref()
        .and_then(|system| system.pointer("/metadata/uid")?.as_str());
    let uid = uid.ok_or_else(|| Failure::lasting("the cluster has no namespace kube-system to tell it apart by"))?;
    let (namespace, workload) = (place.namespace.name(), &place.settings.deployment);
    Ok(format!("kubernetes:{uid}/{namespace}/deployment/{workload}"))
}

/// The text of a field; empty where there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
