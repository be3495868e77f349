//! Steps tried in a small world that behaves as App Service does: every order from every state, with answers lost on the way.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use crate::app_service::content::Content;
use crate::app_service::memory::{Memory, Phase, Swap, Way};
use crate::app_service::next::{Arm, Fitness, Goal, Seen, Side, Step, Whose, Wish, next};
use crate::operation::Standing;

fn content(name: &str) -> Content {
    Content::pinned(&meridian_engine::run::version::Version::named(name))
}

fn wish(goal: Goal, preview: bool) -> Wish {
    Wish {
        candidate: content("v2"),
        baseline: content("v1"),
        goal,
        can_redeploy: true,
        preview,
        start_within: Duration::from_secs(120),
        swap_within: Duration::from_secs(900),
        steady_for: Duration::from_secs(10),
    }
}

/// A swap on the platform's side.
#[derive(Clone, Debug)]
struct Running {
    link: String,
    ends: Timestamp,
}

#[derive(Clone, Debug)]
struct World {
    now: Timestamp,
    production: Side,
    slot: Side,
    share: Share,
    in_preview: bool,
    running: Option<Running>,
    swaps: u32,
    memory: Memory,
    /// A content that never becomes fit.
    broken: Option<Content>,
    /// A swap of these never ends.
    hangs: bool,
    /// The order's answer is lost, this many times.
    losses: u32,
    /// The order of a preview is lost on its way, this many times.
    lost_previews: u32,
    /// Whether a swap forth leads over a preview.
    is_previewing: bool,
}

impl World {
    fn of(production: &str, slot: &str) -> World {
        let side = |name| Side {
            content: content(name),
            is_running: true,
        };
        World {
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            production: side(production),
            slot: side(slot),
            share: Share::ZERO,
            in_preview: false,
            running: None,
            swaps: 0,
            memory: Memory::NONE,
            broken: None,
            hangs: false,
            losses: 0,
            lost_previews: 0,
            is_previewing: false,
        }
    }

    fn is_pinned(&self) -> bool {
        self.memory.pinned_until.is_some_and(|until| until > self.now)
    }

    fn fitness(&self, content: &Content) -> Fitness {
        if self.broken.as_ref() == Some(content) {
            Fitness::Unfit {
                why: "does not answer".to_owned(),
                is_certain: false,
            }
        } else {
            Fitness::Fit
        }
    }

    fn seen(&self) -> Seen {
        let link = match &self.memory.phase {
            Phase::Swapping(swap) => swap.link.clone(),
            _ => None,
        };
        let operation = link.map(|link| match &self.running {
            Some(running) if running.link == link => Standing::Running { retry_after: None },
            Some(_) | None => Standing::Done,
        });
        Seen {
            production: self.production.clone(),
            slot: self.slot.clone(),
            share: self.share,
            is_restless: false,
            in_preview: self.in_preview,
            is_busy: self.running.is_some(),
            last_swap: Some(format!("s{}", self.swaps)),
            memory: self.memory.clone(),
            operation,
            slot_fitness: None,
            production_fitness: None,
        }
    }

    fn pass(&mut self, seconds: i64) {
        self.now = Timestamp::from_second(self.now.as_second() + seconds).unwrap();
        if let Some(running) = &self.running
            && !self.hangs
            && running.ends <= self.now
        {
            self.running = None;
            self.in_preview = false;
            self.swaps += 1;
            std::mem::swap(&mut self.production.content, &mut self.slot.content);
        }
    }

    /// One call: the step that it took, none where it only looked.
    fn call(&mut self, wish: &Wish) -> Step {
        self.is_previewing = wish.preview;
        let mut seen = self.seen();
        let mut step = next(&seen, wish, self.now);
        while let Step::Prove(whose) = step {
            match whose {
                Whose::Slot => seen.slot_fitness = Some(self.fitness(&self.slot.content)),
                Whose::Production => seen.production_fitness = Some(self.fitness(&self.production.content)),
            }
            step = next(&seen, wish, self.now);
        }
        self.take(&step);
        step
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Settled | Step::Wait(_) | Step::Stuck(_) | Step::Prove(_) => {}
            Step::Note(phase, _) => self.memory.phase = phase.clone(),
            Step::Ramp(share) => {
                if *share > self.share {
                    assert!(self.fitness(&self.slot.content) == Fitness::Fit && self.slot.is_running);
                    assert_eq!(
                        self.slot.content,
                        content("v2"),
                        "traffic to the slot is traffic to the candidate"
                    );
                    assert!(self.running.is_none() && !self.in_preview);
                }
                if *share < self.share {
                    let until = crate::app_service::kind::PINNED_FOR.after(self.now);
                    self.memory.pinned_until = Some(until);
                }
                self.share = *share;
            }
            Step::Deploy(arm) => {
                assert!(self.share.is_zero(), "nothing is deployed under traffic");
                self.memory.phase = Phase::Starting { since: self.now };
                self.slot.is_running = true;
                self.slot.content = content(if *arm == Arm::Candidate { "v2" } else { "v1" });
            }
            Step::StartSlot => self.slot.is_running = true,
            Step::StopSlot => {
                assert!(self.share.is_zero());
                assert!(!self.is_pinned(), "nobody is left at a slot that is stopped");
                self.slot.is_running = false;
            }
            Step::Preview => {
                assert!(self.share.is_zero(), "the slot restarts in a preview");
                self.memory.phase = Phase::Preview { since: self.now };
                self.in_preview = self.lost_previews == 0;
                self.lost_previews = self.lost_previews.saturating_sub(1);
            }
            Step::Reset(phase) => {
                self.in_preview = false;
                self.running = None;
                self.memory.phase = phase.clone();
            }
            Step::Swap(way) => self.swap(*way),
        }
    }

    fn swap(&mut self, way: Way) {
        assert!(
            self.share.is_zero(),
            "after a swap the rule would lead to the other version"
        );
        assert!(self.slot.is_running);
        assert!(
            way == Way::Back || !self.is_previewing || self.in_preview,
            "a swap is completed out of its preview"
        );
        if self.running.is_some() {
            return;
        }
        let link = format!("/operations/{}", self.swaps);
        let ends = Timestamp::from_second(self.now.as_second() + 40).unwrap();
        let mut swap = Swap {
            since: self.now,
            way,
            before: self.seen().last_swap,
            link: None,
        };
        self.running = Some(Running {
            link: link.clone(),
            ends,
        });
        if self.losses > 0 {
            self.losses -= 1;
        } else {
            swap.link = Some(link);
        }
        self.memory.phase = Phase::Swapping(swap);
    }

    /// A newer order takes the site over.
    fn claim(&mut self) {
        if matches!(self.memory.phase, Phase::Failed { .. } | Phase::Released) {
            self.memory.phase = Phase::Idle;
        }
    }

    /// Asks until the order stands still, and says where.
    fn arrive(&mut self, wish: &Wish) -> Step {
        let most = match wish.goal {
            Goal::Share(share) => share,
            Goal::Full | Goal::Promoted => Share::FULL,
            Goal::Reverted | Goal::Withdrawn => Share::ZERO,
        };
        for _ in 0..1_000 {
            let stood = self.share;
            let step = self.call(wish);
            assert!(self.share <= most.max(stood), "{step:?}");
            match step {
                Step::Settled | Step::Stuck(_) => return step,
                _ => self.pass(3),
            }
        }
        panic!("never stands still: {self:?}");
    }

    fn holds(&self, goal: Goal) {
        let (production, slot) = (self.production.content.to_string(), self.slot.content.to_string());
        let stands = (production.as_str(), slot.as_str(), self.share);
        match goal {
            Goal::Share(share) => assert_eq!(stands, ("v1", "v2", share)),
            Goal::Full | Goal::Promoted => assert_eq!((stands.0, stands.2), ("v2", Share::ZERO)),
            Goal::Reverted => assert_eq!((stands.0, stands.2), ("v1", Share::ZERO)),
            Goal::Withdrawn => {
                assert_eq!((stands.0, stands.2), ("v1", Share::ZERO));
                assert!(slot != "v2" || !self.slot.is_running || self.is_pinned());
            }
        }
        assert!(!self.in_preview && self.running.is_none());
    }
}

fn goals() -> impl Strategy<Value = Goal> {
    let share = (0_u16..10_000).prop_map(|points| Goal::Share(Share::from_basis_points(points).unwrap()));
    prop_oneof![
        3 => share,
        1 => Just(Goal::Full),
        1 => Just(Goal::Promoted),
        1 => Just(Goal::Reverted),
        1 => Just(Goal::Withdrawn),
    ]
}

proptest! {
    /// Orders overtake each other after any number of calls; the last one holds in the end, whatever was half-done.
    #[test]
    fn the_last_order_holds_from_every_state(
        orders in proptest::collection::vec((goals(), 0_usize..40), 1..6),
        preview in any::<bool>(),
        slot in prop_oneof![Just("v1"), Just("v2"), Just("v0")],
        losses in 0_u32..3,
        lost_previews in 0_u32..3,
    ) {
        let mut world = World { losses, lost_previews, ..World::of("v1", slot) };
        let (last, _) = *orders.last().unwrap();
        for (goal, calls) in &orders {
            world.claim();
            for _ in 0..*calls {
                world.call(&wish(*goal, preview));
                world.pass(3);
            }
        }
        world.claim();
        assert_eq!(world.arrive(&wish(last, preview)), Step::Settled, "{world:?}");
        world.holds(last);
        let again = world.clone();
        assert_eq!(world.call(&wish(last, preview)), Step::Settled);
        assert_eq!(world.memory, again.memory, "a settled order writes nothing");
    }

    /// A candidate that never becomes fit gets no traffic, says so, and is withdrawn all the same.
    #[test]
    fn a_broken_candidate_gets_nothing_and_goes(goal in goals(), preview in any::<bool>()) {
        let mut world = World { broken: Some(content("v2")), ..World::of("v1", "v1") };
        let ended = world.arrive(&wish(goal, preview));
        match goal {
            Goal::Reverted | Goal::Withdrawn => assert_eq!(ended, Step::Settled),
            Goal::Share(_) | Goal::Full | Goal::Promoted => assert!(matches!(ended, Step::Stuck(_)), "{ended:?}"),
        }
        assert_eq!((world.share, world.swaps), (Share::ZERO, 0));
        world.claim();
        assert_eq!(world.arrive(&wish(Goal::Withdrawn, preview)), Step::Settled);
        world.holds(Goal::Withdrawn);
    }
}

#[test]
fn a_lost_answer_does_not_swap_twice() {
    let mut world = World {
        losses: 1,
        ..World::of("v1", "v2")
    };
    assert_eq!(world.arrive(&wish(Goal::Full, false)), Step::Settled);
    assert_eq!(world.swaps, 1);
}

#[test]
fn a_slot_with_pinned_clients_is_released_at_once_and_stopped_later() {
    let mut world = World::of("v1", "v2");
    world.arrive(&wish(Goal::Share(Share::percent(5).unwrap()), false));
    let back = wish(Goal::Withdrawn, false);
    let began = world.now;
    assert_eq!(world.arrive(&back), Step::Settled);
    assert!(world.slot.is_running && world.memory.phase == Phase::Released);
    assert!(
        Duration::between(began, world.now) < Duration::from_secs(60),
        "nobody waits for the hour"
    );
    world.pass(3_700);
    assert_eq!(world.arrive(&back), Step::Settled);
    assert!(!world.slot.is_running);
}

#[test]
fn a_preview_that_never_shows_is_given_again() {
    let mut world = World {
        lost_previews: 1,
        ..World::of("v1", "v2")
    };
    assert_eq!(world.arrive(&wish(Goal::Full, true)), Step::Settled);
    assert_eq!(world.swaps, 1);
}

#[test]
fn a_swap_that_hangs_is_cancelled_and_says_why() {
    let mut world = World {
        hangs: true,
        ..World::of("v1", "v2")
    };
    let Step::Stuck(why) = world.arrive(&wish(Goal::Full, false)) else {
        panic!("a swap that hangs is stuck");
    };
    assert!(why.contains("90 s") && why.contains("cancelled"), "{why}");
    assert!(world.running.is_none());
    world.claim();
    world.hangs = false;
    assert_eq!(world.arrive(&wish(Goal::Reverted, false)), Step::Settled);
}

#[test]
fn a_candidate_that_breaks_with_productions_settings_is_cancelled_in_the_preview() {
    let mut world = World::of("v1", "v2");
    let wish = wish(Goal::Full, true);
    while !world.in_preview {
        world.call(&wish);
        world.pass(3);
    }
    world.broken = Some(content("v2"));
    let Step::Stuck(why) = world.arrive(&wish) else {
        panic!("a preview that fails is stuck");
    };
    assert!(why.contains("cancelled after its preview"), "{why}");
    assert!(!world.in_preview && world.swaps == 0);
}

#[test]
fn what_somebody_else_deployed_into_production_is_not_overwritten() {
    for goal in [
        Goal::Share(Share::percent(5).unwrap()),
        Goal::Full,
        Goal::Reverted,
        Goal::Withdrawn,
    ] {
        let mut world = World::of("hotfix", "v2");
        let Step::Stuck(why) = world.arrive(&wish(goal, false)) else {
            panic!("{goal:?} over a hotfix is stuck");
        };
        assert!(why.contains("`hotfix`"), "{why}");
        assert_eq!(world.production.content, content("hotfix"));
    }
}

#[test]
fn flapping_never_gets_traffic() {
    let mut world = World::of("v1", "v2");
    let wish = wish(Goal::Share(Share::percent(5).unwrap()), false);
    for round in 0..200 {
        world.broken = (round % 3 == 0).then(|| content("v2"));
        assert_ne!(world.call(&wish), Step::Settled);
        world.pass(2);
    }
    assert_eq!(world.share, Share::ZERO);
}
