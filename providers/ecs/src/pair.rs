//! Two sets of tasks behind one weighted listener rule: what the next step is, given what is there and what is wanted.
//!
//! Order is law: capacity ready, then weight up; weight down, then drain, then capacity down.

use jiff::Timestamp;
use meridian_engine::ports::provider::Ladder;
use meridian_engine::run::effect::{Desired, DesiredState, Progress};
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;

use crate::diagnosis::Illness;
use crate::facts::Forward;
use crate::weights;

/// One percent: the least capacity that a staged version gets, rounded up to one task at least.
const STAGED: u16 = 100;

/// One of the two places for a version: a target group and what is behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    pub target_group: String,
    pub arm: Option<Arm>,
    /// Something behind this group is on its way out: nothing may be put there yet.
    pub is_clearing: bool,
}

/// A task set, or a service with tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// The ARN of the task set or the service.
    pub id: String,
    pub task_definition: String,
    /// Tasks that are wanted.
    pub desired: u32,
    /// Tasks that run and pass the target group's health check.
    pub ready: u32,
    /// Whether ECS has nothing left to do here.
    pub is_steady: bool,
    /// The primary task set; always so for a service, which knows no such thing.
    pub is_primary: bool,
}

/// What there is, read afresh for each call.
#[derive(Clone, Debug)]
pub struct Sight<'a> {
    pub slots: [Slot; 2],
    /// The tasks that serve everything.
    pub full: u32,
    pub production: Forward,
    pub test: Option<Forward>,
    pub now: Timestamp,
    /// When weights were last changed.
    pub shifted: Option<Timestamp>,
    /// When this promotion was first asked for.
    pub promoted: Option<Timestamp>,
    pub ladder: &'a Ladder,
    pub illness: Option<&'a Illness>,
}

/// The next thing to do. Each changes at most one thing, and is harmless when done twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Start this version in this slot.
    Place {
        slot: usize,
        task_definition: String,
        capacity: Capacity,
    },
    Scale {
        slot: usize,
        capacity: Capacity,
    },
    /// Give the first slot's group and the second's these weights.
    Weigh {
        weights: [u32; 2],
    },
    /// Send the testers' traffic to this slot.
    Test {
        slot: usize,
    },
    /// Write down when the promotion was asked for.
    MarkPromotion,
    /// Make this slot's task set the primary one.
    MakePrimary {
        slot: usize,
    },
    /// Take this slot's tasks away.
    Vacate {
        slot: usize,
    },
    Rest(Progress),
}

/// How much of the full capacity, and how many tasks that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    pub share: Share,
    pub tasks: u32,
}

impl Capacity {
    /// What serves this share: rounded up, and never nothing.
    pub fn of(share: Share, full: u32) -> Capacity {
        let points = share.basis_points().max(STAGED);
        let tasks = (u64::from(full) * u64::from(points)).div_ceil(10_000).max(1);
        Capacity {
            share: Share::from_basis_points(points).unwrap_or(Share::FULL),
            tasks: u32::try_from(tasks).unwrap_or(u32::MAX),
        }
    }
}

/// How much has to be ready before a version is relied on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// All of it.
    Whole,
    /// Half of it at least: users have to get away from the other version, now.
    Some,
}

fn moving(why: impl Into<String>) -> Step {
    Step::Rest(Progress::Moving { why: Some(why.into()) })
}

fn stuck(why: impl Into<String>) -> Step {
    Step::Rest(Progress::Stuck { why: why.into() })
}

/// Nothing is wrong, and there is nothing to do but to let a time pass that was asked for.
fn waiting(why: impl Into<String>) -> Step {
    Step::Rest(Progress::Waiting { why: why.into() })
}

/// Decides the next step.
pub fn next(sight: &Sight<'_>, desired: &Desired) -> Step {
    let candidate = desired.candidate.pinned.as_str();
    let baseline = desired.baseline.pinned.as_str();
    let done = if candidate == baseline {
        sight.alone(candidate)
    } else {
        match &desired.state {
            DesiredState::Serving(exposure) => sight.serve(candidate, baseline, exposure.traffic()),
            DesiredState::Promoted => sight.promote(candidate),
            DesiredState::Reverted => sight.revert(candidate, baseline),
            DesiredState::Withdrawn => sight.withdraw(candidate, baseline),
        }
    };
    match done {
        Ok(()) => Step::Rest(Progress::Settled),
        Err(step) => step,
    }
}

/// Nothing left to do, or what comes next.
type Done = Result<(), Step>;

impl Sight<'_> {
    /// Somebody else's target group that has traffic.
    fn third(&self) -> Option<&str> {
        let groups = [&self.slots[0].target_group, &self.slots[1].target_group];
        let mut weights = self.production.weights.iter();
        let third = weights.find(|(group, weight)| **weight > 0 && !groups.contains(group));
        third.map(|(group, _)| group.as_str())
    }

    /// A third target group makes no sense of the shares that orders ask for. It is no reason not to go back.
    fn is_in_order(&self) -> Done {
        match self.third() {
            Some(third) => Err(stuck(format!(
                "the listener rule sends traffic to a third target group, {third}"
            ))),
            None => Ok(()),
        }
    }

    /// Whether the rule knows both groups. AWS checks the health of a group's targets only once a rule names it, be it with no
    /// weight at all.
    fn is_listed(&self) -> Done {
        let knows = |slot: &Slot| self.production.weights.contains_key(&slot.target_group);
        match self.slots.iter().all(knows) {
            true => Ok(()),
            false if self.share_of(0).is_zero() => Err(self.weigh(1, Share::FULL)),
            false => Err(self.weigh(0, Share::FULL)),
        }
    }

    fn slot_of(&self, version: &str) -> Option<usize> {
        let holds = |slot: &&usize| {
            let arm = self.slots[**slot].arm.as_ref();
            arm.is_some_and(|arm| arm.task_definition == version)
        };
        // Where both hold the version, the one that serves.
        [0, 1]
            .iter()
            .filter(holds)
            .max_by_key(|slot| self.share_of(**slot))
            .copied()
    }

    /// The share of live traffic that a slot gets.
    pub fn share_of(&self, slot: usize) -> Share {
        weights::share(self.weight(slot), self.sum())
    }

    fn weight(&self, slot: usize) -> u32 {
        let group = &self.slots[slot].target_group;
        self.production.weights.get(group).copied().unwrap_or(0)
    }

    fn sum(&self) -> u32 {
        self.production.weights.values().copied().fold(0, u32::saturating_add)
    }

    /// The share of live traffic that a version gets.
    pub fn share(&self, version: &str) -> Share {
        self.slot_of(version).map_or(Share::ZERO, |slot| self.share_of(slot))
    }

    fn alone(&self, version: &str) -> Done {
        let slot = self
            .slot_of(version)
            .ok_or_else(|| stuck(format!("the target does not run {version}")))?;
        match self.has_all(slot) {
            true => Ok(()),
            false => Err(self.weigh(slot, Share::FULL)),
        }
    }

    /// Whether a slot has everything that is not somebody else's.
    fn has_all(&self, slot: usize) -> bool {
        match self.third() {
            Some(_) => self.weight(1 - slot) == 0,
            None => self.share_of(slot).is_full(),
        }
    }

    fn serve(&self, candidate: &str, baseline: &str, wanted: Share) -> Done {
        if wanted < self.share(candidate) {
            self.bring(baseline, candidate, Share::FULL, Demand::Some)?;
            return Err(self.shift(candidate, wanted));
        }
        self.is_in_order()?;
        self.is_listed()?;
        let slot = self.bring(candidate, baseline, wanted, Demand::Whole)?;
        self.is_well()?;
        self.bring(baseline, candidate, Share::FULL, Demand::Whole)?;
        self.send_testers(slot)?;
        if wanted > self.share_of(slot) {
            return Err(self.shift(candidate, wanted));
        }
        let enough = Capacity::of(wanted, self.full);
        let has = self.slots[slot].arm.as_ref().map_or(0, |arm| arm.desired);
        if has > enough.tasks {
            self.is_drained("the candidate")?;
            return Err(Step::Scale { slot, capacity: enough });
        }
        Ok(())
    }

    fn promote(&self, candidate: &str) -> Done {
        self.is_in_order()?;
        let slot = self.bring(candidate, "", Share::FULL, Demand::Whole)?;
        self.is_well()?;
        if !self.share_of(slot).is_full() {
            return Err(self.weigh(slot, Share::FULL));
        }
        self.send_testers(slot)?;
        let Some(promoted) = self.promoted else {
            return Err(Step::MarkPromotion);
        };
        self.make_primary(slot)?;
        let other = 1 - slot;
        if self.slots[other].arm.is_some() {
            self.is_drained("the old version")?;
            let left = Duration::between(self.now, self.ladder.keep_baseline.after(promoted));
            if !left.is_zero() {
                return Err(waiting(format!("the old version is kept for another {left}")));
            }
            return Err(Step::Vacate { slot: other });
        }
        self.is_clear(other)
    }

    fn revert(&self, candidate: &str, baseline: &str) -> Done {
        if !self.slot_of(baseline).is_some_and(|slot| self.has_all(slot)) {
            let slot = self.bring(baseline, candidate, Share::FULL, Demand::Some)?;
            return Err(self.weigh(slot, Share::FULL));
        }
        let slot = self.bring(baseline, candidate, Share::FULL, Demand::Whole)?;
        self.make_primary(slot)
    }

    fn withdraw(&self, candidate: &str, baseline: &str) -> Done {
        self.revert(candidate, baseline)?;
        if let Some(slot) = self.slot_of(baseline) {
            self.send_testers(slot)?;
        }
        match self.slot_of(candidate) {
            Some(slot) => {
                self.is_drained("the candidate")?;
                Err(Step::Vacate { slot })
            }
            None => self.slot_of(baseline).map_or(Ok(()), |slot| self.is_clear(1 - slot)),
        }
    }

    /// Sees to it that a version stands ready for a share, and says where.
    fn bring(&self, version: &str, beside: &str, share: Share, demand: Demand) -> Result<usize, Step> {
        let capacity = Capacity::of(share, self.full);
        let Some(slot) = self.slot_of(version) else {
            return Err(self.place(version, beside, capacity));
        };
        let Some(arm) = &self.slots[slot].arm else {
            return Err(moving(format!("{version} is not there yet")));
        };
        if self.full == 0 {
            // Somebody has scaled it to nothing, so that there is no capacity to wait for. Only the way back comes here.
            return Ok(slot);
        }
        if arm.desired < capacity.tasks {
            return Err(Step::Scale { slot, capacity });
        }
        let is_ready = match demand {
            Demand::Whole => arm.ready >= capacity.tasks && arm.is_steady,
            Demand::Some => arm.ready > 0 && arm.ready.saturating_mul(2) >= capacity.tasks,
        };
        if is_ready {
            return Ok(slot);
        }
        let why = format!("{} of {} tasks of {version} are ready", arm.ready, arm.desired);
        // The illness is the candidate's: it says nothing about the way back.
        match self.illness {
            Some(illness) if demand == Demand::Whole && illness.is_lasting => {
                Err(stuck(format!("{why}: {}", illness.why)))
            }
            Some(illness) if demand == Demand::Whole => Err(moving(format!("{why}: {}", illness.why))),
            _ => Err(moving(why)),
        }
    }

    fn place(&self, version: &str, beside: &str, capacity: Capacity) -> Step {
        let taken = self.slot_of(beside);
        let free = match taken {
            Some(slot) => 1 - slot,
            // Neither of the two versions runs: the slot without traffic, if there is one.
            None if self.share_of(0).is_zero() => 0,
            None => 1,
        };
        if !self.share_of(free).is_zero() {
            let what = self.slots[free]
                .arm
                .as_ref()
                .map_or("nothing", |arm| arm.task_definition.as_str());
            // Traffic to a group with nothing behind it is lost, so filling it is the cure.
            if self.slots[free].arm.is_some() {
                return stuck(format!(
                    "{what} has traffic, and it is neither the candidate nor the baseline"
                ));
            }
        }
        if self.slots[free].is_clearing {
            return moving("an earlier version is still being removed from the target group");
        }
        if self.slots[free].arm.is_some() {
            return Step::Vacate { slot: free };
        }
        Step::Place {
            slot: free,
            task_definition: version.to_owned(),
            capacity,
        }
    }

    /// Changes the candidate's share; what is left goes to the other slot.
    fn shift(&self, version: &str, share: Share) -> Step {
        match self.slot_of(version) {
            Some(slot) => self.weigh(slot, share),
            None => moving(format!("{version} is not there")),
        }
    }

    fn weigh(&self, slot: usize, share: Share) -> Step {
        let weights = match self.third() {
            Some(_) => Ok(self.within_ours(slot, share)),
            None => weights::of(share),
        };
        match weights {
            Ok((one, other)) if slot == 0 => Step::Weigh { weights: [one, other] },
            Ok((one, other)) => Step::Weigh { weights: [other, one] },
            Err(why) => stuck(why),
        }
    }

    /// The weights of a slot and of the other one that leave to somebody else's group what it has. Rounded down for the first:
    /// this is a way back.
    fn within_ours(&self, slot: usize, share: Share) -> (u32, u32) {
        let ours = self.weight(slot).saturating_add(self.weight(1 - slot));
        if share.is_full() {
            return (ours.min(weights::MAX), 0);
        }
        let part = u64::from(self.sum()) * u64::from(share.basis_points()) / 10_000;
        let part = u32::try_from(part).unwrap_or(u32::MAX).min(ours);
        (part, (ours - part).min(weights::MAX))
    }

    fn is_well(&self) -> Done {
        match self.illness {
            Some(illness) if illness.is_lasting => Err(stuck(&illness.why)),
            Some(illness) => Err(moving(&illness.why)),
            None => Ok(()),
        }
    }

    fn send_testers(&self, slot: usize) -> Done {
        let Some(test) = &self.test else {
            return Ok(());
        };
        let is_alone = |(group, weight): (&String, &u32)| *weight == 0 || *group == self.slots[slot].target_group;
        let has = test.weights.get(&self.slots[slot].target_group).copied().unwrap_or(0) > 0;
        match has && test.weights.iter().all(is_alone) {
            true => Ok(()),
            false => Err(Step::Test { slot }),
        }
    }

    fn make_primary(&self, slot: usize) -> Done {
        match &self.slots[slot].arm {
            Some(arm) if !arm.is_primary => Err(Step::MakePrimary { slot }),
            Some(_) | None => Ok(()),
        }
    }

    fn is_drained(&self, what: &str) -> Done {
        let until = self.shifted.map(|at| self.ladder.drain.after(at));
        let left = until.map_or(Duration::ZERO, |until| Duration::between(self.now, until));
        match left.is_zero() {
            true => Ok(()),
            false => Err(waiting(format!("{what} is drained for another {left}"))),
        }
    }

    fn is_clear(&self, slot: usize) -> Done {
        match self.slots[slot].is_clearing {
            true => Err(moving("the tasks are being removed")),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod stories;
