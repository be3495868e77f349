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
    judged: HashMap<(GateId, Option<RegionId>), Judged>,
    ready: Vec<Offset>,
    acts: Vec<Option<Offset>>,
    passed: usize,
    now: Offset,
    result: Schedule,
}

/// A window for one region: its zone, and the last stretch in which it was found open, because the stages of a region ask
/// again and again and calendars can be long.
struct Judged {
    zone: Result<TimeZone, window::Error>,
    open: Option<(Timestamp, Timestamp)>,
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
            judged: HashMap::new(),
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
                _ => None,
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
        let judged = self.judged.entry((gate, region)).or_insert_with(|| {
            let zone = region.and_then(|region| plan.region(region).1.timezone.as_deref());
            Judged {
                zone: window::judged_zone(window, zone),
                open: None,
            }
        });
        if let Some((_, until)) = judged.open.filter(|(from, until)| *from <= at && at < *until) {
            return Opening::Open { until: Some(until) };
        }
        match &judged.zone {
            Ok(zone) => {
                let opening = window::opening(window, &plan.workflow().calendars, zone, at);
                if let Opening::Open { until } = opening {
                    let known = until.or_else(|| at.checked_add(HORIZON).ok());
                    judged.open = Some((at, known.unwrap_or(Timestamp::MAX)));
                }
                opening
            }
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
mod tests;
