//! What is to be done next: one pure function from the world and an order to one step, so that a process that died anywhere
//! goes on from what it finds.

mod back;
mod drift;
mod floor;
mod pods;
mod promoted;
mod rolling;
#[cfg(test)]
mod scene;
mod serving;

use std::collections::BTreeSet;

use jiff::Timestamp;
use meridian_engine::ports::provider::Fence;
use meridian_engine::run::effect::{Desired, DesiredState, Progress};
use meridian_workflows::capability::instances;
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;
use serde_json::Value;

use crate::copy::{self, Bounds, Wish};
use crate::record::{Original, Record};
use crate::settings::{Capacity, Settings, Strategy};
use crate::traffic::{Mechanism, Placement, Split};
use crate::version::is_same_image;
use crate::workload::Workload;
use crate::world::World;

pub use floor::{FLOOR_MEMORY, Floor};

/// One thing to do to the cluster; the world is read again after it.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Write the memory.
    Remember(Record),
    /// Make the candidate's Deployment what it is to be.
    Stand {
        replicas: u32,
        placement: Placement,
    },
    ScaleCopy(u32),
    /// The candidate's own autoscaler.
    Autoscale(Bounds),
    /// The candidate's own disruption budget.
    Shield {
        pods: u32,
    },
    Split(Split),
    /// Give the original this image, and remember that.
    Image {
        image: String,
        record: Record,
    },
    ScaleOriginal(u32),
    /// The least number of pods of the original's autoscaler, and what is remembered of the one it was found with.
    Floor {
        least: u32,
        memory: Option<Floor>,
    },
    /// Delete the autoscaler and budget of the copy, then the copy. What the mechanism made goes once no pod is left.
    RemoveCopy,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one is made at each look, and nothing keeps any of them"
)]
pub enum Step {
    Do(Act),
    /// Nothing is to be done; so far it is.
    Done(Progress),
    /// A Deployment is not as far as it must be: why is for a diagnosis to say, and these words where it finds nothing.
    Await {
        deployment: Which,
        why: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Original,
    Copy,
}

/// Everything that a step is decided from.
pub struct View<'a> {
    pub world: &'a World,
    pub settings: &'a Settings,
    pub mechanism: Option<&'a dyn Mechanism>,
    pub desired: &'a Desired,
    pub fence: Fence,
    /// The memory of this very order.
    pub record: &'a Record,
    /// The content that the candidate's pods run, where this order asks for it.
    pub content: &'a BTreeSet<String>,
    pub drain: Duration,
    pub keep_baseline: Duration,
    pub now: Timestamp,
}

/// What the original runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runs {
    Baseline,
    Candidate,
    Other(String),
}

/// The next step towards the order.
pub fn next(view: &View<'_>) -> Step {
    if view.desired.candidate.is_same_as(&view.desired.baseline) {
        return back::same(view);
    }
    if let Strategy::Rolling(_) = &view.settings.strategy {
        return rolling::next(view);
    }
    match &view.desired.state {
        DesiredState::Serving(exposure) => serving::next(view, &Split::of(exposure)),
        DesiredState::Promoted => promoted::next(view),
        DesiredState::Reverted => back::reverted(view),
        DesiredState::Withdrawn => back::withdrawn(view),
    }
}

/// Whether the candidate is first of all to lose something of what it has.
pub fn takes_away(view: &View<'_>) -> bool {
    let standing = &view.world.standing.split;
    let wanted = match &view.desired.state {
        DesiredState::Serving(exposure) => Split::of(exposure),
        DesiredState::Promoted => return false,
        DesiredState::Reverted | DesiredState::Withdrawn => Split::none(),
    };
    serving::common(standing, &wanted) != *standing
}

/// What somebody else has changed since this order was reached, in plain words.
pub fn changed(view: &View<'_>) -> Option<String> {
    let noticed = match (&view.settings.strategy, &view.desired.state) {
        _ if view.desired.candidate.is_same_as(&view.desired.baseline) => None,
        (Strategy::Rolling(_), _) => rolling::changed(view),
        (_, DesiredState::Serving(exposure)) => serving::changed(view, &Split::of(exposure)),
        (_, DesiredState::Promoted) => promoted::changed(view),
        (_, DesiredState::Reverted | DesiredState::Withdrawn) => back::changed(view),
    };
    noticed.map(|noticed| noticed.what)
}

impl View<'_> {
    pub fn baseline(&self) -> &str {
        &self.desired.baseline.pinned
    }

    pub fn candidate(&self) -> &str {
        &self.desired.candidate.pinned
    }

    pub fn runs(&self) -> Runs {
        let image = self.world.original.image();
        if self.record.original == Original::Promoted && is_same_image(image, self.candidate()) {
            // Given here, whatever it was pinned to since.
            return Runs::Candidate;
        }
        runs(image, self.baseline(), self.candidate())
    }

    /// Whether this is the candidate's copy, and not that of an older candidate.
    pub fn is_candidate(&self, copy: &Workload) -> bool {
        is_same_image(copy.image(), self.candidate())
    }

    /// How many pods the candidate needs for what it is given.
    pub fn need(&self, split: &Split) -> u32 {
        let total = self.record.total;
        let least = self.settings.candidate.min_replicas;
        let is_full = self.settings.candidate.capacity == Capacity::Full
            || matches!(self.settings.strategy, Strategy::BlueGreen(_));
        if is_full {
            return total.max(least);
        }
        let share = split.share.max(split.mirror);
        least.max(part(share, total))
    }

    pub fn placement(&self, split: &Split) -> Placement {
        self.mechanism
            .map_or(Placement::Apart, |mechanism| mechanism.placement(split))
    }

    pub fn counts_pods(&self) -> bool {
        self.mechanism
            .is_some_and(|mechanism| mechanism.counts(Share::FULL, 1).is_some())
    }

    /// The split that is to be read back for what is wanted.
    pub fn reachable(&self, wanted: &Split) -> Split {
        self.mechanism.map_or_else(
            || wanted.clone(),
            |mechanism| mechanism.reachable(wanted, self.record.total),
        )
    }

    /// How the copy is to be made.
    pub fn wish(&self, replicas: u32, placement: Placement) -> Wish<'_> {
        Wish {
            image: self.candidate(),
            replicas,
            placement,
            apart: &self.record.apart,
            settle_seconds: self.settings.settle.as_millis().div_ceil(1_000),
            counts_pods: self.counts_pods(),
            fence: self.fence,
        }
    }

    /// The bounds of the candidate's own autoscaler at this need; none where it has none.
    pub fn bounds(&self, need: u32, split: &Split) -> Option<Bounds> {
        let autoscaler = self.world.autoscaler.as_ref()?;
        let wish = self.wish(need, self.placement(split));
        let labels = copy::pod_labels(&self.world.original, &self.settings.candidate, &wish);
        if self.counts_pods() || !copy::can_autoscale(&self.world.original, autoscaler, &labels) {
            return None;
        }
        let whole = copy::bounds(autoscaler)?;
        let most = if split.audience.is_empty() {
            part(split.share.max(split.mirror), whole.max)
        } else {
            // Nobody knows how many they are.
            whole.max
        };
        Some(Bounds {
            min: need,
            max: need.max(most),
        })
    }

    /// Whether all requests can be sent to the original now: one ready pod where it is as it always was (a rollback does not wait
    /// for more), all of them where it has been rolled here.
    pub fn original_can_serve(&self) -> bool {
        let original = &self.world.original;
        match self.record.original {
            Original::Untouched => original.ready() > 0,
            Original::Promoted | Original::Restored => original.is_rolled_out(),
        }
    }

    /// A baseline that has shrunk all the same is asked for its pods before the traffic comes back. Not waited for.
    pub fn refilled(&self) -> Option<Step> {
        let due = floor::due(self)?;
        (self.world.original.replicas() < due).then_some(Step::Do(Act::ScaleOriginal(due)))
    }

    /// Whether pods of the original find no room: a quota, or no machine.
    pub fn is_crowded_out(&self) -> bool {
        let world = self.world;
        world.original.is_observed()
            && (world.original.has_condition("ReplicaFailure") || world.pods.iter().any(is_unschedulable))
    }

    /// The memory, with the instant from which the drain counts.
    pub fn idle_from_now(&self) -> Record {
        Record {
            idle_since: Some(self.now),
            ..self.record.clone()
        }
    }

    pub fn await_original(&self, what: &str) -> Step {
        let original = &self.world.original;
        let (name, ready, wanted) = (original.name(), original.ready(), original.replicas());
        Step::Await {
            deployment: Which::Original,
            why: format!("{what}: {ready} of {wanted} pods of {name} are ready"),
        }
    }

    pub fn await_copy(&self, need: u32) -> Step {
        let name = &self.world.arms.candidate.deployment;
        let available = self.world.copy.as_ref().map_or(0, |copy| copy.available());
        let settle = self.settings.settle;
        Step::Await {
            deployment: Which::Copy,
            why: format!("{available} of {need} pods of {name} have been ready for {settle}"),
        }
    }
}

pub(crate) fn moving(why: impl Into<String>) -> Step {
    Step::Done(Progress::Moving { why: Some(why.into()) })
}

/// It is meant to wait: for a time that was asked for, or for somebody.
pub(crate) fn waiting(why: impl Into<String>) -> Step {
    Step::Done(Progress::Waiting { why: why.into() })
}

pub(crate) fn stuck(why: impl Into<String>) -> Step {
    Step::Done(Progress::Stuck { why: why.into() })
}

fn is_unschedulable(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|one| one["type"] == "PodScheduled" && one["reason"] == "Unschedulable")
}

/// Which of the two images this is. Where both are it but for a digest, it is the one that is written like that.
pub fn runs(image: &str, baseline: &str, candidate: &str) -> Runs {
    if image == baseline || image != candidate && is_same_image(image, baseline) {
        Runs::Baseline
    } else if is_same_image(image, candidate) {
        Runs::Candidate
    } else {
        Runs::Other(image.to_owned())
    }
}

/// Whether the baseline has less to serve than everything.
fn takes_traffic(split: &Split) -> bool {
    !split.share.is_zero() || !split.audience.is_empty()
}

/// The part of so many pods that a share comes to, rounded up: capacity is never less than the traffic.
pub fn part(share: Share, of: u32) -> u32 {
    let down = instances(share, of);
    let is_exact = u64::from(of) * u64::from(share.basis_points()) == u64::from(down) * 10_000;
    if is_exact { down } else { down + 1 }
}
