//! Those who judge: the rules of others as they are documented and coded, and Meridian's.

pub mod argo;
pub mod flagger;
pub mod kayenta;
pub mod meridian;
mod window;

use crate::corpus::{Observation, Plan};

/// Where a rollout is at one look.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    pub plan: &'a Plan,
    pub region: usize,
    pub stage: usize,
    /// Ticks in this stage, this one included.
    pub ticks: usize,
    /// Ticks since the candidate's first request in this region, this one included.
    pub age: usize,
}

impl Now<'_> {
    pub fn bake_ticks(&self) -> usize {
        self.plan.stages[self.stage].bake_ticks
    }

    pub fn share(&self) -> f64 {
        self.plan.stages[self.stage].share
    }

    pub fn is_baked(&self) -> bool {
        self.ticks >= self.bake_ticks()
    }

    /// Whether so many minutes have passed since the last time they had, in this stage.
    pub fn is_every(&self, minutes: f64) -> bool {
        self.ticks.is_multiple_of(self.plan.ticks(minutes).max(1))
    }
}

/// What a judge wants at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Obeyed once the stage's bake is over.
    Advance,
    Wait,
    RollBack,
}

/// A judge that follows one rollout; it remembers what it has seen.
///
/// The seam for another implementation: what it is told is what telemetry shows, and nothing of the truth.
pub trait Judge {
    /// A region comes next; `history` is its last hour without a candidate.
    fn begins(&mut self, plan: &Plan, region: usize, history: &[Observation]);

    /// Whether the region may start; asked every tick until it may.
    fn may_start(&mut self, history: &[Observation]) -> bool {
        let _ = history;
        true
    }

    /// One tick with a candidate.
    fn observes(&mut self, now: &Now<'_>, newest: &Observation) -> Decision;
}
