//! A cloud that can serve a share of a region's traffic from a given version.

use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{NodeKind, Plan, RegionId};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{Exposure, Release};
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::store::Lease;
use crate::run::effect::{Desired, Observation, Progress};
use crate::run::version::Version;

/// *Guarantees asked*: `ensure` is idempotent (a desired state, never a delta); an order with a fence lower than one already
/// applied changes nothing and answers [`Progress::Stale`]; neither method waits for a rollout to finish: say
/// [`Progress::Moving`], the engine asks again. Both end within the deadline they are called under.
///
/// *Errors*: [`Failure`], transient or lasting. An order whose answer was lost may have been applied: the engine asks again.
#[async_trait::async_trait]
pub trait Provider: Send + Sync {
    /// The name under which one run at a time may hold this target: the same for every spelling of the same thing.
    async fn identify(&self, target: &Target) -> Result<String, Failure>;

    /// Versions, shares, readiness, last fence, diagnosis, as they are now. Also resolves the release.
    ///
    /// *Errors*: beside the others, a lasting one where the platform cannot do what the target's ladder asks: every target of a
    /// run is looked at before any region opens, so that nothing is half-done then.
    async fn observe(&self, target: &Target) -> Result<Observed, Failure>;

    /// Asks for a state and says how far it is.
    async fn ensure(&self, target: &Target, order: &Order) -> Result<Progress, Failure>;
}

/// What a region's settings point at.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub workflow: String,
    pub region: String,
    /// The provider's settings, as the plan has them.
    pub settings: serde_json::Value,
    pub release: Release,
    pub ladder: Ladder,
}

/// The way that the plan has for a region, whole: some platforms are told all of it before the first step.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ladder {
    /// Exposures in the order they are climbed, across the region's phases.
    pub rungs: Vec<Rung>,
    /// How long the region is watched after its last rung, before it is closed.
    pub bake: Duration,
    /// Between the end of a version's traffic and the end of its capacity.
    pub drain: Duration,
    /// How long the old version stays ready after the order to promote, before its capacity goes.
    pub keep_baseline: Duration,
}

impl Ladder {
    /// What a plan has for one of its regions.
    pub fn of(plan: &Plan, region: RegionId) -> Ladder {
        let mut ladder = Ladder {
            drain: plan.workflow().rollback.drain,
            keep_baseline: plan.workflow().rollback.keep_baseline,
            ..Ladder::default()
        };
        for (_, node) in plan.nodes().filter(|(_, node)| node.region == Some(region)) {
            match &node.kind {
                NodeKind::Stage { exposure, .. } => ladder.rungs.push(Rung {
                    exposure: exposure.clone(),
                    bake: node.bake,
                }),
                // The closings of earlier phases leave the region as it is; what they bake is behind it then.
                NodeKind::Close { last } if *last => ladder.bake = node.bake,
                NodeKind::Close { .. } | NodeKind::Open { .. } | NodeKind::Phase => {}
            }
        }
        ladder
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    pub exposure: Exposure,
    pub bake: Duration,
}

/// A region as its platform shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    pub observation: Observation,
    /// The newest order that the platform remembers.
    pub fence: Option<Fence>,
    pub versions: Vec<VersionState>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionState {
    pub version: Version,
    pub share: Share,
    pub instances: u32,
    pub ready: u32,
}

/// The larger always wins: first the claim on the target, then the lease epoch of the process, then the order's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fence {
    pub claim: u64,
    pub epoch: u64,
    pub seq: u64,
}

impl std::fmt::Display for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.claim, self.epoch, self.seq)
    }
}

/// An order to a cloud. The scheduler can make one only out of a live lease and a committed intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    desired: Desired,
    fence: Fence,
}

impl Order {
    /// The order for a committed intent, under the lease that is held now.
    pub fn committed(lease: &Lease, claim: u64, intent: u64, desired: Desired) -> Order {
        Order {
            desired,
            fence: Fence {
                claim,
                epoch: lease.epoch(),
                seq: intent,
            },
        }
    }

    /// An order outside any run, for conformance tests of providers and for doubles. Nothing in the engine calls it.
    pub fn rehearsed(desired: Desired, fence: Fence) -> Order {
        Order { desired, fence }
    }

    pub fn desired(&self) -> &Desired {
        &self.desired
    }

    pub fn fence(&self) -> Fence {
        self.fence
    }
}
