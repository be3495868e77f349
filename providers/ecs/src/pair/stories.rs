//! Stories of two sets of tasks: whole ways out and back, on a cloud that fits in this file.

#![allow(clippy::unwrap_used, clippy::panic)]

use jiff::Timestamp;
use meridian_engine::ports::provider::Ladder;
use meridian_engine::run::effect::{Desired, DesiredState, Progress};
use meridian_engine::run::version::Version;
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;
use proptest::prelude::{prop_assert, proptest};

use super::{Arm, Capacity, Sight, Slot, Step, next};
use crate::diagnosis::Illness;
use crate::facts::Forward;

/// A cloud of two groups that does at once what it is told, so that whole ways can be walked.
#[derive(Clone)]
struct Tiny {
    slots: [Slot; 2],
    weights: [u32; 2],
    now: i64,
    shifted: Option<i64>,
    promoted: Option<i64>,
    ladder: Ladder,
    illness: Option<Illness>,
    done: Vec<&'static str>,
}

fn share(percent: u16) -> Share {
    Share::percent(percent).unwrap()
}

fn tiny() -> Tiny {
    let slot = |group: &str, version: Option<&str>| Slot {
        target_group: group.into(),
        arm: version.map(|version| Arm {
            id: version.into(),
            task_definition: version.into(),
            desired: 10,
            ready: 10,
            is_steady: true,
            is_primary: true,
        }),
        is_clearing: false,
    };
    Tiny {
        slots: [slot("blue", Some("v1")), slot("green", None)],
        weights: [999, 0],
        now: 1_000,
        shifted: None,
        promoted: None,
        ladder: Ladder {
            drain: Duration::from_secs(30),
            keep_baseline: Duration::from_secs(60),
            ..Ladder::default()
        },
        illness: None,
        done: Vec::new(),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

impl Tiny {
    fn next(&self, state: &DesiredState) -> Step {
        let sight = Sight {
            slots: self.slots.clone(),
            full: 10,
            production: Forward {
                weights: [
                    ("blue".to_owned(), self.weights[0]),
                    ("green".to_owned(), self.weights[1]),
                ]
                .into(),
                sticky: None,
            },
            test: None,
            now: at(self.now),
            shifted: self.shifted.map(at),
            promoted: self.promoted.map(at),
            ladder: &self.ladder,
            illness: self.illness.as_ref(),
        };
        let desired = Desired {
            candidate: Version::named("v2"),
            baseline: Version::named("v1"),
            state: state.clone(),
        };
        next(&sight, &desired)
    }

    fn serving(&self, slot: usize) -> Share {
        crate::weights::share(self.weights[slot], self.weights[0] + self.weights[1])
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Place {
                slot,
                task_definition,
                capacity,
            } => {
                assert!(self.slots[slot].arm.is_none());
                self.slots[slot].arm = Some(Arm {
                    id: task_definition.clone(),
                    task_definition,
                    desired: capacity.tasks,
                    ready: 0,
                    is_steady: false,
                    is_primary: false,
                });
                self.done.push("place");
            }
            Step::Scale { slot, capacity } => {
                let arm = self.slots[slot].arm.as_mut().unwrap();
                arm.is_steady = arm.desired >= capacity.tasks;
                arm.desired = capacity.tasks;
                arm.ready = arm.ready.min(arm.desired);
                self.done.push("scale");
            }
            Step::Weigh { weights } => {
                for slot in [0, 1] {
                    let rises = weights[slot] > self.weights[slot];
                    let ready = self.slots[slot].arm.as_ref().map_or(0, |arm| arm.ready);
                    assert!(!rises || ready > 0, "weight goes to a version without ready capacity");
                }
                self.weights = weights;
                self.shifted = Some(self.now);
                self.done.push("weigh");
            }
            Step::MakePrimary { slot } => {
                for other in self.slots.iter_mut().filter_map(|slot| slot.arm.as_mut()) {
                    other.is_primary = false;
                }
                self.slots[slot].arm.as_mut().unwrap().is_primary = true;
                self.done.push("primary");
            }
            Step::Vacate { slot } => {
                assert!(self.serving(slot).is_zero(), "capacity goes before its traffic");
                assert!(
                    self.shifted.is_none_or(|at| self.now >= at + 30),
                    "capacity goes before it is drained"
                );
                self.slots[slot].arm = None;
                self.done.push("vacate");
            }
            Step::MarkPromotion => {
                self.promoted = Some(self.now);
                self.done.push("mark");
            }
            Step::Test { .. } => self.done.push("test"),
            Step::Rest(_) => {}
        }
    }

    /// Asks until it is settled, while time passes and tasks come up.
    fn walk(&mut self, state: &DesiredState) -> Vec<&'static str> {
        self.done.clear();
        for _ in 0..60 {
            let step = self.next(state);
            if step == Step::Rest(Progress::Settled) {
                return std::mem::take(&mut self.done);
            }
            self.act(step);
            self.now += 5;
            for arm in self.slots.iter_mut().filter_map(|slot| slot.arm.as_mut()) {
                arm.ready = arm.desired;
                arm.is_steady = true;
            }
        }
        panic!("does not settle: {:?}", self.next(state));
    }
}

fn traffic(percent: u16) -> DesiredState {
    DesiredState::Serving(Exposure::Traffic(share(percent)))
}

#[test]
fn a_release_goes_out_in_order_and_the_old_version_is_kept_for_its_time() {
    let mut cloud = tiny();
    assert_eq!(cloud.walk(&traffic(0)), ["place"]);
    assert_eq!(cloud.walk(&traffic(5)), ["weigh"], "one task is enough for 5% of ten");
    assert_eq!(cloud.walk(&traffic(50)), ["scale", "weigh"]);
    assert_eq!(cloud.serving(1), share(50));
    assert_eq!(cloud.walk(&traffic(100)), ["scale", "weigh"]);
    let before = cloud.now;
    assert_eq!(cloud.walk(&DesiredState::Promoted), ["mark", "primary", "vacate"]);
    assert!(cloud.now - before >= 60, "kept for a minute");
    assert_eq!(cloud.slots[0].arm, None);
}

#[test]
fn it_comes_back_from_everywhere() {
    for percent in [0, 5, 50, 100] {
        let mut cloud = tiny();
        cloud.walk(&traffic(percent));
        let done = cloud.walk(&DesiredState::Withdrawn);
        assert_eq!(done.last(), Some(&"vacate"), "{percent}: {done:?}");
        assert_eq!((cloud.serving(0), cloud.serving(1)), (Share::FULL, Share::ZERO));
        assert_eq!(cloud.slots[1].arm, None);
    }
    let mut cloud = tiny();
    cloud.walk(&traffic(100));
    cloud.walk(&DesiredState::Promoted);
    let done = cloud.walk(&DesiredState::Reverted);
    assert_eq!(
        done,
        ["place", "weigh", "primary"],
        "the old version is brought back first"
    );
    assert!(cloud.slots[1].arm.is_some(), "the candidate is left standing");
}

#[test]
fn a_lower_share_lowers_weight_then_drains_then_takes_capacity() {
    let mut cloud = tiny();
    cloud.walk(&traffic(50));
    let before = cloud.now;
    assert_eq!(cloud.walk(&traffic(10)), ["weigh", "scale"]);
    assert!(cloud.now - before >= 30, "drained");
    assert_eq!(cloud.slots[1].arm.as_ref().unwrap().desired, 1);
}

#[test]
fn a_broken_candidate_does_not_hold_up_its_own_rollback() {
    let mut cloud = tiny();
    cloud.walk(&traffic(50));
    cloud.illness = Some(Illness {
        why: "crash loop".into(),
        is_lasting: true,
    });
    cloud.slots[1].arm.as_mut().unwrap().ready = 0;
    assert!(matches!(cloud.next(&traffic(50)), Step::Rest(Progress::Stuck { why }) if why.contains("crash loop")));
    assert_eq!(cloud.next(&DesiredState::Reverted), Step::Weigh { weights: [999, 0] });
    cloud.slots[0].arm.as_mut().unwrap().ready = 0;
    let held = cloud.next(&DesiredState::Reverted);
    assert!(
        matches!(held, Step::Rest(Progress::Moving { .. })),
        "never to a version with nothing ready"
    );
}

#[test]
fn strangers_are_not_touched() {
    let mut cloud = tiny();
    cloud.slots[1].arm = cloud.slots[0].arm.clone().map(|arm| Arm {
        task_definition: "v9".into(),
        ..arm
    });
    assert_eq!(
        cloud.next(&traffic(5)),
        Step::Vacate { slot: 1 },
        "a leftover without traffic makes room"
    );
    cloud.weights = [500, 500];
    assert!(matches!(cloud.next(&traffic(5)), Step::Rest(Progress::Stuck { why }) if why.contains("v9")));
}

#[test]
fn drift_is_put_right() {
    let mut cloud = tiny();
    cloud.walk(&traffic(50));
    cloud.weights = [999, 0];
    assert_eq!(cloud.walk(&traffic(50)), ["weigh"]);
    cloud.slots[1].arm.as_mut().unwrap().desired = 0;
    cloud.slots[1].arm.as_mut().unwrap().ready = 0;
    assert_eq!(
        cloud.next(&traffic(50)),
        Step::Scale {
            slot: 1,
            capacity: Capacity {
                share: share(50),
                tasks: 5
            }
        }
    );
}

proptest! {
    #[test]
    fn capacity_covers_the_share_and_is_never_nothing(points in 0_u16..=10_000, full in 1_u32..=10_000) {
        let capacity = Capacity::of(Share::from_basis_points(points).unwrap(), full);
        prop_assert!(capacity.tasks >= 1 && capacity.tasks <= full);
        prop_assert!(u64::from(capacity.tasks) * 10_000 >= u64::from(full) * u64::from(points));
    }

    /// Any sequence of orders, each walked for a while and then overtaken: weight never goes to nobody, capacity never goes
    /// before its traffic (the tiny cloud asserts both), and the last order is reached.
    #[test]
    fn every_order_is_reached_from_wherever_the_last_one_was_left(orders in proptest::collection::vec((0_u8..5, 0_u16..=100, 0_usize..8), 1..7)) {
        let mut cloud = tiny();
        for (kind, percent, steps) in &orders {
            let state = state(*kind, *percent);
            cloud.promoted = None;
            for _ in 0..*steps {
                let step = cloud.next(&state);
                let was = cloud.serving(1);
                cloud.act(step);
                prop_assert!(cloud.serving(1) <= was.max(state.share()));
                cloud.now += 1;
                for arm in cloud.slots.iter_mut().filter_map(|slot| slot.arm.as_mut()) {
                    arm.ready = arm.desired;
                    arm.is_steady = true;
                }
            }
        }
        let (kind, percent, _) = orders.last().copied().unwrap();
        cloud.walk(&state(kind, percent));
        prop_assert!(cloud.serving(1) == state(kind, percent).share() || cloud.slots[0].arm.as_ref().is_some_and(|arm| arm.task_definition == "v2"));
    }
}

fn state(kind: u8, percent: u16) -> DesiredState {
    match kind {
        0 | 1 => traffic(percent),
        2 => DesiredState::Promoted,
        3 => DesiredState::Reverted,
        _ => DesiredState::Withdrawn,
    }
}
