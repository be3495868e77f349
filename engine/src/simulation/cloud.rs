//! A simulated cloud: regions that take a moment to converge, remember fences, and can get stuck.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::RegionId;
use meridian_workflows::share::Share;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::ports::provider::Fence;
use crate::run::effect::{Desired, DesiredState, Observation, Progress};
use crate::run::version::Version;

/// One order as it was applied, for those who check what a run has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub region: RegionId,
    pub fence: Fence,
    pub state: DesiredState,
    pub at: Timestamp,
}

#[derive(Clone, Debug)]
struct Region {
    serving: Version,
    share: Share,
    fence: Option<Fence>,
    /// What it is moving to, and when it gets there.
    ordered: Option<(Desired, Timestamp)>,
    is_there: bool,
}

/// All regions of a plan. Everything about it follows from the seed and the orders.
#[derive(Clone, Debug)]
pub struct Cloud {
    regions: BTreeMap<RegionId, Region>,
    seed: u64,
    applied: Vec<Applied>,
}

/// What served before the run began.
pub const BASELINE: &str = "baseline";

impl Cloud {
    pub fn new(regions: impl Iterator<Item = RegionId>, seed: u64) -> Cloud {
        let fresh = || Region {
            serving: Version::named(BASELINE),
            share: Share::ZERO,
            fence: None,
            ordered: None,
            is_there: false,
        };
        Cloud {
            regions: regions.map(|region| (region, fresh())).collect(),
            seed,
            applied: Vec::new(),
        }
    }

    pub fn observe(&self, region: RegionId, release: &str) -> Observation {
        let Some(state) = self.regions.get(&region) else {
            return Observation {
                serving: None,
                candidate: Version::named(release),
                candidate_share: Share::ZERO,
                is_settled: false,
                diagnosis: Some("there is no such region".to_owned()),
                candidate_digest: None,
            };
        };
        Observation {
            serving: Some(state.serving.clone()),
            candidate: Version::named(release),
            candidate_share: state.share,
            is_settled: state.is_there,
            diagnosis: None,
            candidate_digest: None,
        }
    }

    /// Orders a state; `stuck` is why it will never get there.
    pub fn ensure(
        &mut self,
        region: RegionId,
        desired: &Desired,
        fence: Fence,
        now: Timestamp,
        stuck: Option<&str>,
    ) -> Progress {
        let delay = self.converging(region, fence);
        let Some(state) = self.regions.get_mut(&region) else {
            return Progress::Stuck {
                why: "there is no such region".to_owned(),
            };
        };
        if let Some(newest) = state.fence.filter(|newest| fence < *newest) {
            return Progress::Stale {
                why: format!("order {fence} is older than {newest}"),
            };
        }
        let is_new = state.ordered.as_ref().is_none_or(|(ordered, _)| ordered != desired);
        if is_new {
            state.ordered = Some((desired.clone(), delay.after(now)));
            state.is_there = false;
            self.applied.push(Applied {
                region,
                fence,
                state: desired.state.clone(),
                at: now,
            });
        }
        state.fence = Some(fence);
        if let Some(why) = stuck {
            return Progress::Stuck { why: why.to_owned() };
        }
        match &state.ordered {
            Some((desired, there_at)) if *there_at <= now => {
                state.is_there = true;
                state.share = desired.state.share();
                state.serving = match desired.state {
                    DesiredState::Promoted => desired.candidate.clone(),
                    DesiredState::Serving(_) | DesiredState::Reverted | DesiredState::Withdrawn => {
                        desired.baseline.clone()
                    }
                };
                if desired.state == DesiredState::Promoted {
                    state.share = Share::FULL;
                }
                Progress::Settled
            }
            Some(_) | None => Progress::Moving {
                why: Some("instances are starting".to_owned()),
            },
        }
    }

    /// Every order that changed something, in the order of application.
    pub fn applied(&self) -> &[Applied] {
        &self.applied
    }

    pub fn share(&self, region: RegionId) -> Share {
        self.regions.get(&region).map_or(Share::ZERO, |state| state.share)
    }

    /// Between half a second and three: drawn from the order's own numbers, so that asking again draws the same.
    fn converging(&self, region: RegionId, fence: Fence) -> Duration {
        let mixed = self.seed ^ (u64::from(region.0) << 40) ^ fence.seq.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Duration::from_millis(StdRng::seed_from_u64(mixed).random_range(500..3_000))
    }
}
