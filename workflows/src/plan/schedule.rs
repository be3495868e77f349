//! When each node could act at the earliest: list scheduling of a plan in which only bakes and windows take time.
//!
//! It follows the rules of a run: `maxParallel` regions of a phase at once, those that the file names first going first. A
//! region takes its place when it opens, so one that waits for its window leaves the place to the next, and gives it back
//! when its close has passed.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{GateId, Node, NodeId, NodeKind, PhaseId, Plan, RegionId};
use crate::window::{self, HORIZON, Opening};
use crate::workflow::{GateKind, Window};

/// The earliest course of a run.
///
/// Shifts, readings, approvals and evidence take no time here, so a real run is never faster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub start: Timestamp,
    /// By node; none = a window that never opens stands before it.
    pub moments: Vec<Option<Moments>>,
    /// The nodes that act, in the order in which they do.
    pub order: Vec<NodeId>,
    /// What windows hold up, in the order in which it happens.
    pub delays: Vec<Delay>,
    /// When the last node has passed; none = a window never opens.
    pub finish: Option<Timestamp>,
    /// By node: whose passing let it start; none for the first ones.
    because: Vec<Option<NodeId>>,
    passed_last: Option<NodeId>,
}

/// The earliest instants of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moments {
    /// Its parents have passed.
    pub ready: Timestamp,
    /// Its windows are open and, for an opening, its phase has a place: a stage shifts now.
    pub acts: Timestamp,
    /// Its bake is over and its windows after it are open; none = they never are.
    pub passes: Option<Timestamp>,
}

/// A wait for a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delay {
    pub node: NodeId,
    pub gate: GateId,
    pub from: Timestamp,
    /// None = never, as far as [`HORIZON`] reaches.
    pub until: Option<Timestamp>,
    /// Why the window is closed, in plain words.
    pub why: String,
}

/// Whether a schedule respects windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    Respected,
    /// As if all stood open: what bakes alone ask for.
    Ignored,
}

impl Schedule {
    /// The earliest course of a run that starts at `start`.
    pub fn new(plan: &Plan, start: Timestamp, windows: Windows) -> Schedule {
        let mut course = Course::new(plan, start, windows);
        course.go();
        course.finish()
    }

    /// The chain of nodes that decides when the run ends, in order: each starts because the one before has passed.
    pub fn decisive(&self) -> Vec<NodeId> {
        let mut chain: Vec<NodeId> =
            std::iter::successors(self.passed_last, |node| self.because[node.0 as usize]).collect();
        chain.reverse();
        chain
    }
}

/// Milliseconds since the start: sums of bakes reach further than instants do.
type Offset = u64;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    // Places are given back before they are asked for.
    Passed,
    Ready,
}

struct Course<'a> {
    plan: &'a Plan,
    start: Timestamp,
    windows: Windows,
    /// Parents that have not passed, by node.
    waits: Vec<usize>,
    places: Vec<Places>,
    agenda: BinaryHeap<Reverse<(Offset, What, NodeId)>>,
    zones: HashMap<(GateId, Option<RegionId>), Result<TimeZone, window::Error>>,
    ready: Vec<Offset>,
    acts: Vec<Option<Offset>>,
    passed: usize,
    now: Offset,
    result: Schedule,
}

/// How many regions a phase may still work on, and which ask for that; whenever one is free, nobody asks.
#[derive(Clone, Default)]
struct Places {
    free: u32,
    asking: BTreeSet<NodeId>,
}

impl<'a> Course<'a> {
    fn new(plan: &'a Plan, start: Timestamp, windows: Windows) -> Course<'a> {
        let waits: Vec<usize> = plan.ids().map(|id| plan.parents(id).count()).collect();
        let roots = plan.ids().filter(|id| waits[id.0 as usize] == 0);
        let places = plan.workflow().phases.iter();
        Course {
            plan,
            start,
            windows,
            agenda: roots.map(|id| Reverse((0, What::Ready, id))).collect(),
            waits,
            places: places
                .map(|phase| Places {
                    free: phase.max_parallel.max(1),
                    asking: BTreeSet::new(),
                })
                .collect(),
            zones: HashMap::new(),
            ready: vec![0; plan.len()],
            acts: vec![None; plan.len()],
            passed: 0,
            now: 0,
            result: Schedule {
                start,
                moments: vec![None; plan.len()],
                order: Vec::new(),
                delays: Vec::new(),
                finish: None,
                because: vec![None; plan.len()],
                passed_last: None,
            },
        }
    }

    fn go(&mut self) {
        while let Some(Reverse((at, what, id))) = self.agenda.pop() {
            self.now = at;
            match (what, &self.plan.node(id).kind) {
                (What::Ready, NodeKind::Open { .. }) => self.ask_for_a_place(id),
                (What::Ready, NodeKind::Phase | NodeKind::Stage { .. } | NodeKind::Close { .. }) => self.begin(id),
                (What::Passed, NodeKind::Close { .. }) => {
                    self.pass(id);
                    self.give_back_a_place(id);
                }
                (What::Passed, NodeKind::Phase | NodeKind::Open { .. } | NodeKind::Stage { .. }) => self.pass(id),
            }
        }
    }

    fn finish(mut self) -> Schedule {
        let mut order: Vec<(Offset, NodeId)> = self
            .plan
            .ids()
            .filter_map(|id| Some((self.acts[id.0 as usize]?, id)))
            .collect();
        order.sort_unstable();
        self.result.order = order.into_iter().map(|(_, id)| id).collect();
        self.result.delays.sort_by_key(|delay| (delay.from, delay.node));
        self.result.finish = (self.passed == self.plan.len()).then(|| self.instant(self.now));
        self.result
    }

    fn places(&mut self, phase: PhaseId) -> &mut Places {
        &mut self.places[phase.0 as usize]
    }

    fn ask_for_a_place(&mut self, id: NodeId) {
        let places = self.places(self.plan.node(id).phase);
        if places.free == 0 {
            places.asking.insert(id);
        } else if self.take_a_place(id) {
            self.places(self.plan.node(id).phase).free -= 1;
        }
    }

    fn give_back_a_place(&mut self, close: NodeId) {
        let phase = self.plan.node(close).phase;
        while let Some(next) = self.places(phase).asking.pop_first() {
            if self.take_a_place(next) {
                self.result.because[next.0 as usize] = Some(close);
                return;
            }
        }
        self.places(phase).free += 1;
    }

    /// Begins an opening if its windows are open now; otherwise it asks again when they are.
    fn take_a_place(&mut self, id: NodeId) -> bool {
        let node = self.plan.node(id);
        match self.open_from(id, node, &node.before, self.now) {
            Some(opens) if opens == self.now => {
                self.act(id, opens);
                true
            }
            opens => {
                self.agenda.extend(opens.map(|opens| Reverse((opens, What::Ready, id))));
                false
            }
        }
    }

    fn begin(&mut self, id: NodeId) {
        let node = self.plan.node(id);
        if let Some(acts) = self.open_from(id, node, &node.before, self.now) {
            self.act(id, acts);
        }
    }

    fn act(&mut self, id: NodeId, acts: Offset) {
        let node = self.plan.node(id);
        let baked = acts.saturating_add(node.bake.as_millis());
        let passes = self.open_from(id, node, &node.after, baked);
        self.acts[id.0 as usize] = Some(acts);
        self.result.moments[id.0 as usize] = Some(Moments {
            ready: self.instant(self.ready[id.0 as usize]),
            acts: self.instant(acts),
            passes: passes.map(|passes| self.instant(passes)),
        });
        self.agenda
            .extend(passes.map(|passes| Reverse((passes, What::Passed, id))));
    }

    fn pass(&mut self, id: NodeId) {
        self.passed += 1;
        self.result.passed_last = Some(id);
        for child in self.plan.children(id) {
            let waits = &mut self.waits[child.0 as usize];
            *waits -= 1;
            if *waits == 0 {
                self.result.because[child.0 as usize] = Some(id);
                self.ready[child.0 as usize] = self.now;
                self.agenda.push(Reverse((self.now, What::Ready, child)));
            }
        }
    }

    /// The first moment from `from` on at which all windows among the gates are open together.
    fn open_from(&mut self, id: NodeId, node: &Node, gates: &[GateId], from: Offset) -> Option<Offset> {
        let plan = self.plan;
        let windows: Vec<(GateId, &Window)> = gates
            .iter()
            .filter_map(|gate| match &plan.gate(*gate).1.kind {
                GateKind::Window(window) => Some((*gate, window)),
                GateKind::Metric(_)
                | GateKind::Approval(_)
                | GateKind::Http(_)
                | GateKind::Command(_)
                | GateKind::NotYet { .. } => None,
            })
            .collect();
        if self.windows == Windows::Ignored || windows.is_empty() {
            return Some(from);
        }
        let last = self.instant(from).checked_add(HORIZON).unwrap_or(Timestamp::MAX);
        let mut waits: Vec<Delay> = Vec::new();
        let mut now = from;
        loop {
            let at = self.instant(now);
            let closed = windows
                .iter()
                .find_map(|(gate, window)| match self.opening(*gate, window, node.region, at) {
                    Opening::Open { .. } => None,
                    Opening::Closed { why, opens } => Some(Delay {
                        node: id,
                        gate: *gate,
                        from: at,
                        until: opens,
                        why,
                    }),
                });
            let Some(delay) = closed else {
                self.result.delays.extend(waits);
                return Some(now);
            };
            match delay.until.filter(|until| *until > at && *until <= last) {
                None if waits.is_empty() => {
                    self.result.delays.push(Delay { until: None, ..delay });
                    return None;
                }
                // Windows that take turns are one wait without end, not a hundred short ones.
                None => {
                    let first = waits.swap_remove(0);
                    let why = format!("{}, and its windows are never open together", first.why);
                    self.result.delays.push(Delay {
                        until: None,
                        why,
                        ..first
                    });
                    return None;
                }
                Some(until) => {
                    now = self.offset(until);
                    waits.push(delay);
                }
            }
        }
    }

    fn opening(&mut self, gate: GateId, window: &Window, region: Option<RegionId>, at: Timestamp) -> Opening {
        let plan = self.plan;
        let zone = self.zones.entry((gate, region)).or_insert_with(|| {
            let zone = region.and_then(|region| plan.region(region).1.timezone.as_deref());
            window::judged_zone(window, zone)
        });
        match zone {
            Ok(zone) => window::opening(window, &plan.workflow().calendars, zone, at),
            Err(error) => Opening::Closed {
                why: error.to_string(),
                opens: None,
            },
        }
    }

    fn instant(&self, offset: Offset) -> Timestamp {
        let length = jiff::SignedDuration::from_millis(i64::try_from(offset).unwrap_or(i64::MAX));
        self.start.checked_add(length).unwrap_or(Timestamp::MAX)
    }

    /// Rounded up, so that an instant's offset never lies before it.
    fn offset(&self, at: Timestamp) -> Offset {
        let nanos = at.as_nanosecond() - self.start.as_nanosecond();
        u64::try_from(nanos).unwrap_or(0).div_ceil(1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::{Schedule, Windows};
    use crate::plan::Plan;
    use crate::plan::compile::compile;
    use crate::plan::story::{Story, payments};
    use crate::workflow::{Day, GateKind};

    fn schedule(plan: &Plan, start: &str) -> Schedule {
        Schedule::new(plan, start.parse().unwrap(), Windows::Respected)
    }

    fn acts(plan: &Plan, schedule: &Schedule, key: &str) -> String {
        schedule.moments[plan.find(key).unwrap().0 as usize]
            .unwrap()
            .acts
            .to_string()
    }

    fn delays(plan: &Plan, schedule: &Schedule) -> Vec<String> {
        let delays = schedule.delays.iter().map(|delay| {
            let until = delay.until.map_or("never".to_owned(), |until| until.to_string());
            format!(
                "{} {} {}..{until}: {}",
                plan.node(delay.node).key,
                plan.gate(delay.gate).0,
                delay.from,
                delay.why
            )
        });
        delays.collect()
    }

    #[test]
    fn the_story_waits_for_office_hours_in_each_regions_own_zone() {
        let plan = compile(payments());
        let schedule = schedule(&plan, "2026-03-02T10:00:00Z");
        assert_eq!(
            delays(&plan, &schedule),
            [
                "open:medium/eu-west-1 office-hours 2026-03-02T17:10:00Z..2026-03-03T09:00:00Z: \
                 outside mon–thu 09:00–16:00, it is Mon 17:10 in Europe/Dublin",
                "open:medium/ap-southeast-1 office-hours 2026-03-02T17:10:00Z..2026-03-03T01:00:00Z: \
                 outside mon–thu 09:00–16:00, it is Tue 01:10 in Asia/Singapore",
            ]
        );
        assert_eq!(
            acts(&plan, &schedule, "stage:medium/ap-southeast-1/1%"),
            "2026-03-03T01:00:00Z"
        );
        assert_eq!(
            acts(&plan, &schedule, "stage:medium/eu-west-1/100%"),
            "2026-03-03T10:10:00Z"
        );
        assert_eq!(acts(&plan, &schedule, "phase:primary"), "2026-03-03T14:10:00Z");
        assert_eq!(schedule.finish.unwrap().to_string(), "2026-03-04T15:20:00Z");
    }

    #[test]
    fn a_window_that_closes_between_two_stages_holds_the_next_one_overnight() {
        let workflow = Story::new()
            .region("eu", None, Some("Europe/Dublin"))
            .phase("all", &["eu"], &["10% 8h", "100%"])
            .window("hours", "all")
            .build();
        let plan = compile(workflow);
        let schedule = schedule(&plan, "2026-03-02T09:00:00Z");
        assert_eq!(acts(&plan, &schedule, "stage:all/eu/10%"), "2026-03-02T09:00:00Z");
        assert_eq!(acts(&plan, &schedule, "stage:all/eu/100%"), "2026-03-03T09:00:00Z");
    }

    #[test]
    fn no_more_regions_at_once_than_the_phase_allows_in_the_order_of_the_file() {
        for (at_once, finish) in [(1, "04:00"), (2, "02:00"), (3, "02:00"), (4, "01:00")] {
            let workflow = Story::new()
                .phase("all", &["a", "b", "c", "d"], &["100% 45m"])
                .edit(|phase| {
                    phase.max_parallel = at_once;
                    phase.bake = "15m".parse().unwrap();
                })
                .build();
            let plan = compile(workflow);
            let schedule = schedule(&plan, "2026-03-02T00:00:00Z");
            assert_eq!(schedule.finish.unwrap().to_string(), format!("2026-03-02T{finish}:00Z"));
            assert!(acts(&plan, &schedule, "open:all/a") <= acts(&plan, &schedule, "open:all/b"));
        }
    }

    #[test]
    fn a_region_that_waits_for_its_window_leaves_its_place_to_the_next() {
        let workflow = Story::new()
            .region("eu", None, Some("Europe/Dublin"))
            .region("sg", None, Some("Asia/Singapore"))
            .region("us", None, Some("America/New_York"))
            .phase("all", &["eu", "us", "sg"], &["100% 9h"])
            .window("hours", "all")
            .build();
        let plan = compile(workflow);
        // Monday evening in Dublin: Singapore opens first, and Dublin misses an hour of its own window for it.
        let schedule = schedule(&plan, "2026-03-02T22:00:00Z");
        assert_eq!(acts(&plan, &schedule, "stage:all/sg/100%"), "2026-03-03T01:00:00Z");
        assert_eq!(acts(&plan, &schedule, "stage:all/eu/100%"), "2026-03-03T10:00:00Z");
        assert_eq!(acts(&plan, &schedule, "stage:all/us/100%"), "2026-03-03T19:00:00Z");
        assert_eq!(schedule.finish.unwrap().to_string(), "2026-03-04T04:00:00Z");
    }

    #[test]
    fn a_window_that_never_opens_is_named_and_gives_no_finish() {
        let workflow = Story::new()
            .phase("one", &["a"], &["100%"])
            .region("b", None, Some("Europe/Dublin"))
            .phase("two", &["b"], &["100%"])
            .window("mondays", "two")
            .window("tuesdays", "two");
        let mut workflow = workflow.build();
        for (name, day) in [("mondays", Day::Mon), ("tuesdays", Day::Tue)] {
            if let GateKind::Window(window) = &mut workflow.gates.get_mut(name).unwrap().kind {
                window.days = vec![day];
            }
        }
        let plan = compile(workflow.clone());
        let never = schedule(&plan, "2026-03-02T12:00:00Z");
        assert_eq!(never.finish, None);
        assert_eq!(
            delays(&plan, &never),
            [
                "open:two/b tuesdays 2026-03-02T12:00:00Z..never: outside tue 09:00–16:00, it is Mon 12:00 in Europe/Dublin, \
                 and its windows are never open together"
            ]
        );
        assert_eq!(never.moments[plan.find("stage:two/b/100%").unwrap().0 as usize], None);
        assert!(never.moments[plan.find("close:one/a").unwrap().0 as usize].is_some());

        workflow.regions["b"].timezone = None;
        let plan = compile(workflow);
        let [delay] = &*delays(&plan, &schedule(&plan, "2026-03-02T12:00:00Z")) else {
            panic!("one delay")
        };
        assert!(
            delay.ends_with("..never: the window is judged in the region's zone, but the region has no `timezone`")
        );
    }

    #[test]
    fn a_region_in_two_phases_at_once_waits_for_its_first_close() {
        let workflow = Story::new()
            .phase("first", &["eu"], &["10% 1h"])
            .at_once("second", &["eu"], &["100% 1h"])
            .build();
        let plan = compile(workflow);
        let schedule = schedule(&plan, "2026-03-02T00:00:00Z");
        assert_eq!(acts(&plan, &schedule, "phase:second"), "2026-03-02T00:00:00Z");
        assert_eq!(acts(&plan, &schedule, "stage:second/eu/100%"), "2026-03-02T01:00:00Z");
    }
}
