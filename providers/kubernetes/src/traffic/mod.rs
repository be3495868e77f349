//! How a share of live traffic is given to the candidate: one mechanism a file, one list.

mod alb;
mod audience;
mod http_route;
mod http_rules;
mod istio;
mod istio_routes;
mod istio_sides;
mod nginx;
mod nginx_canary;
mod object;
mod pods;
mod service;
mod services;
mod smi;
mod weights;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use async_trait::async_trait;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Fence;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::Capabilities;
use meridian_workflows::workflow::Exposure;

use crate::api::Namespace;
use crate::api::resource::Resource;
use crate::settings::{Services, Traffic};

pub use audience::is_token;
pub use object::shortened;
pub use service::selector_before;

/// The annotation that carries an order's fence, as in `7.2.19`, on every object that an order changes.
pub const FENCE_ANNOTATION: &str = "meridian/fence";
/// The label on every object that is made here, with the workload's name: what carries it may be deleted here, nothing else.
pub const OWNER_LABEL: &str = "meridian/workload";
/// The label on the candidate's pods (value `candidate`); the baseline's pods carry none, because the baseline is left untouched.
pub const ARM_LABEL: &str = "meridian/arm";

/// The selector of all that stands for the arms of a workload: the copy's pods, the candidate's Service.
pub fn of_arms(workload: &str) -> String {
    format!("{OWNER_LABEL}={workload},{ARM_LABEL}")
}

/// What an object looked like before the candidate came, so that it can be left so; a workload each.
const FOUND_MEMORY: &str = "meridian/found";
/// The audience that an object's routes are made for; a workload each.
const AUDIENCE_MEMORY: &str = "meridian/audience";

/// The mechanism that a region's settings name.
pub fn mechanism(traffic: &Traffic) -> Box<dyn Mechanism> {
    match traffic {
        Traffic::Istio(settings) => Box::new(istio::Istio(settings.clone())),
        Traffic::HttpRoute(settings) => Box::new(http_route::HttpRoute(settings.clone())),
        Traffic::Nginx(settings) => Box::new(nginx::Nginx(settings.clone())),
        Traffic::Smi(settings) => Box::new(smi::Smi(settings.clone())),
        Traffic::Alb(settings) => Box::new(alb::Alb(settings.clone())),
        Traffic::Pods(settings) => Box::new(pods::Pods(settings.clone())),
    }
}

/// The mechanism of a blue-green region.
pub fn switch(services: &Services) -> Box<dyn Mechanism> {
    Box::new(services::Services(services.clone()))
}

/// What a mechanism can do, by its settings alone.
pub fn capabilities(traffic: &Traffic) -> Capabilities {
    match traffic {
        Traffic::Istio(settings) => istio::capabilities(settings),
        Traffic::HttpRoute(_) => http_route::capabilities(),
        Traffic::Nginx(_) => nginx::capabilities(),
        Traffic::Smi(_) => smi::capabilities(),
        Traffic::Alb(_) => alb::capabilities(),
        Traffic::Pods(settings) => pods::capabilities(settings),
    }
}

/// What a switch of Services can do.
pub fn switch_capabilities(services: &Services) -> Capabilities {
    services::capabilities(services)
}

/// One way of splitting traffic between the two arms of one workload.
///
/// *Guarantees asked*: each method is a few requests and never waits for anything to happen in the cluster. Only the mechanism's
/// own fields are written; everything else in an object stays as somebody else wrote it. A shape that is not understood is a
/// lasting failure that names the object and the field.
#[async_trait]
pub trait Mechanism: Send + Sync {
    /// Whether the objects that others own (routes, ingresses, Services) exist, have the shape this mechanism needs, and could be
    /// given every one of these splits in turn; read only.
    ///
    /// *Errors*: lasting, with the object's name, where they do not.
    async fn check(&self, namespace: &Namespace, arms: &Arms, ladder: &[Split]) -> Result<(), Failure>;

    /// Brings the objects into being that it needs of its own (subsets, the candidate's Service, a canary ingress), at a share of
    /// zero, and keeps them true when an arm's labels have changed. Writes nothing where nothing is missing.
    ///
    /// Called before anything else of an order, while the candidate may have no pod yet. What needs two steps (a subset has to be
    /// known to the proxies before a route names it) takes one a call: until it answers [`Written::Already`] no candidate pod may
    /// be made and no split be written.
    async fn prepare(&self, namespace: &Namespace, arms: &Arms, fence: Fence) -> Result<Written, Failure>;

    /// The split as it stands in the cluster; with nothing prepared, everything is the baseline's.
    ///
    /// A shape that is not understood is no error here but [`Standing::unfit`]: the way back must not depend on what others do to
    /// a route.
    async fn read(&self, namespace: &Namespace, arms: &Arms) -> Result<Standing, Failure>;

    /// Sets the split, under the version of each object that was read (a server-side apply would take whole lists where items have
    /// no keys), and stamps the fence on it: an object that carries a higher fence is left alone and answers [`Written::Stale`].
    /// An equal split with an equal fence writes nothing; an equal split with a lower fence is stamped, so that an older order in
    /// flight meets a conflict.
    ///
    /// A split of nothing is written to any shape: the candidate's part goes to the baseline, and what else stands there stays.
    ///
    /// *Errors*: transient where somebody was faster.
    async fn write(&self, namespace: &Namespace, arms: &Arms, split: &Split, fence: Fence) -> Result<Written, Failure>;

    /// Takes away what `prepare` made, and leaves what others own as it was found. Called at a split of nothing, when the
    /// candidate is withdrawn or has been promoted. What routes name goes a call after the routes: it is clean once it answers
    /// [`Written::Already`]. An object that others have taken away needs nothing, and one that they have bent is no obstacle.
    async fn clean(&self, namespace: &Namespace, arms: &Arms, fence: Fence) -> Result<Written, Failure>;

    /// Why this split is not possible here, told before anything opens; none where it is.
    fn refusal(&self, split: &Split) -> Option<String>;

    /// What the mechanism's calls need to be allowed, for the look before anything opens.
    fn grants(&self) -> Vec<Grant>;

    /// Whether the candidate's pods are to be selected by the Services that select the baseline's pods, at this split.
    fn placement(&self, split: &Split) -> Placement;

    /// Where pods are the share: how many of `total` each arm has at this share, rounded down for the candidate. None where
    /// traffic is split by weights and capacity follows on its own.
    fn counts(&self, share: Share, total: u32) -> Option<Counts> {
        let _ = (share, total);
        None
    }

    /// What users would see of `wanted` here: the share rounded as the mechanism rounds, so that reading it back compares equal.
    fn reachable(&self, wanted: &Split, total: u32) -> Split {
        let _ = total;
        wanted.clone()
    }
}

/// Whether the candidate's pods carry the labels that the baseline's Services select.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// They do, whatever else they carry: pods are the share.
    Joined,
    /// They do, and one label that no Service selects tells the arms apart for the mechanism's routes.
    Marked,
    /// They do not, and the mechanism brings a Service of the candidate's own.
    Apart,
}

/// Who meets the candidate: a level, never a delta.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Split {
    /// The candidate's share of live traffic.
    pub share: Share,
    /// The share of live traffic that is mirrored to the candidate; users never see its answers.
    pub mirror: Share,
    /// Requests that go to the candidate by what they carry; empty for none. The key is `header`, `cookie` or `tenants`.
    pub audience: BTreeMap<String, String>,
}

impl Split {
    /// Everything is the baseline's.
    pub fn none() -> Split {
        Split::default()
    }

    pub fn of(exposure: &Exposure) -> Split {
        match exposure {
            Exposure::Traffic(share) => Split {
                share: *share,
                ..Split::default()
            },
            Exposure::Shadow(mirror) => Split {
                mirror: *mirror,
                ..Split::default()
            },
            Exposure::Audience(audience) => Split {
                audience: audience.clone(),
                ..Split::default()
            },
        }
    }

    /// Whether no request of any sort reaches the candidate.
    pub fn is_none(&self) -> bool {
        self.share.is_zero() && self.mirror.is_zero() && self.audience.is_empty()
    }
}

/// A split as the cluster has it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Standing {
    pub split: Split,
    /// The highest fence that its objects carry.
    pub fence: Option<Fence>,
    /// What stands there that no split of ours looks like, in plain words: routes of which some have the weights and others not,
    /// weights that do not sum up. Writing the split mends it.
    pub oddity: Option<String>,
    /// Why nothing may rise here, with the object's name: others have taken it away, or given it a shape in which no share could
    /// be kept. The split is the most that the candidate gets then, and only taking it away is possible.
    pub unfit: Option<Failure>,
}

impl Standing {
    /// Nothing reaches the candidate through an object that is missing or not understood.
    fn barred(failure: Failure) -> Standing {
        Standing {
            unfit: Some(failure),
            ..Standing::default()
        }
    }
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing was to be done.
    Already,
    /// At least one object was changed: read it back before believing it.
    Changed,
    /// An object carries this higher fence; nothing more was written.
    Stale(Fence),
}

impl Written {
    /// What became of two writes of one order.
    pub fn and(self, other: Written) -> Written {
        match (self, other) {
            (Written::Stale(fence), _) | (_, Written::Stale(fence)) => Written::Stale(fence),
            (Written::Changed, _) | (_, Written::Changed) => Written::Changed,
            (Written::Already, Written::Already) => Written::Already,
        }
    }
}

/// The two versions of one workload, as mechanisms see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arms {
    /// The workload's name; names of objects that are made here are derived from it.
    pub workload: String,
    /// What the names of the candidate's own objects end with, as in `candidate`.
    pub suffix: String,
    pub baseline: Arm,
    pub candidate: Arm,
    /// A label of the baseline's pods that no candidate pod carries with this value, though one Service selects both; none where
    /// nothing but the hash tells them apart.
    pub mark: Option<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// The Deployment that holds this arm's pods, whether or not it exists yet.
    pub deployment: String,
    /// Labels that all of this arm's pods carry. The candidate's select no other pod; the baseline's may select candidate pods
    /// that are not [`Placement::Apart`]: add [`Arms::mark`] or the hash where that matters.
    pub labels: BTreeMap<String, String>,
    /// All labels of its pod template, or what they will be: what Services select by.
    pub pods: BTreeMap<String, String>,
    /// `pod-template-hash` of the arm's newest ReplicaSet; none before there is one.
    pub hash: Option<String>,
    /// Pods that are ready and not on their way out.
    pub ready: u32,
    /// Ports of the pods by name, for Services that name theirs.
    pub ports: BTreeMap<String, u16>,
}

/// How many pods each arm has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub baseline: u32,
    pub candidate: u32,
}

/// Something that must be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub resource: Resource,
    pub verbs: &'static [&'static str],
}
