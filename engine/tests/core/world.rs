//! A world for seeds: what it answers follows from its own state, from the node that is worked on and from how long that has
//! lasted; never from how often it was asked. So a run that crashes, or hears everything twice, meets the same world.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use meridian_engine::ports::provider::Fence;
use meridian_engine::run::effect::{Arms, Desired, DesiredState, Observation, Outcome, Place, Progress};
use meridian_engine::run::event::Event;
use meridian_engine::run::reading::{Answer, Reading, Sample};
use meridian_engine::run::state::Run;
use meridian_engine::run::version::Version;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{GateId, NodeId, Plan, RegionId};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::GateKind;

use crate::plans::{CANDIDATE, secs, start};

/// A number that follows from the seed and what it is about.
pub fn draw(seed: u64, about: &[u64]) -> u64 {
    let mut mixed = seed;
    for part in about {
        mixed = (mixed ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
    }
    mixed
}

/// What becomes of one node's order.
#[derive(Clone, Copy, Debug, PartialEq)]
enum OrderFault {
    None,
    /// The platform is not reached for the first while.
    FailingFor(Duration),
    /// The order is applied, and the answer lost for a while.
    AppliedUnheardFor(Duration),
    RefusedForGood,
    /// Meant to wait for a while.
    WaitsFor(Duration),
    StuckFor(Duration),
    Stuck,
    /// Ready, and then down again from … to … after the order.
    CrashesAfterReady(Duration, Duration),
}

/// What one gate reads in one node.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Curve {
    Healthy,
    /// A value between two instants of the node's life.
    Value(f64, Duration, Duration),
    NoData(Duration, Duration),
    Error(Duration, Duration),
    /// The source answers with what it knew a while ago.
    Stale(Duration, Duration),
    /// Good and bad by turns.
    Flapping(Duration),
}

#[derive(Clone, Debug)]
struct Region {
    order: Option<Applied>,
    fence: Option<Fence>,
    share: Share,
    shown_before: (Share, Timestamp),
    is_promoted: bool,
    /// The run has decided to take the region back, and no person has let it try again.
    goes_back: bool,
}

#[derive(Clone, Debug)]
struct Applied {
    desired: Desired,
    node: Option<NodeId>,
    attempt: u32,
    at: Timestamp,
}

#[derive(Clone, Debug)]
pub struct World {
    plan: Arc<Plan>,
    seed: u64,
    /// From here on everything is well.
    pub faults_stop: Timestamp,
    /// Locks that the store keeps for the run, with their numbers.
    pub locks: BTreeMap<String, u64>,
    locks_given: u64,
    regions: Vec<Region>,
    claims: BTreeMap<u32, u64>,
    /// What went wrong in the world because of the run.
    pub complaints: Vec<String>,
}

const LOOK: u64 = 1;
const ORDER: u64 = 2;
const SPEED: u64 = 3;
const GATE: u64 = 4;
const CLAIM: u64 = 5;
const STALE: u64 = 6;
const HIJACK: u64 = 7;
const DIGEST: u64 = 8;

impl World {
    pub fn new(plan: Arc<Plan>, seed: u64, faults_stop: Timestamp) -> World {
        let fresh = Region {
            order: None,
            fence: None,
            share: Share::ZERO,
            shown_before: (Share::ZERO, Timestamp::MIN),
            is_promoted: false,
            goes_back: false,
        };
        World {
            regions: plan.region_ids().map(|_| fresh.clone()).collect(),
            plan,
            seed,
            faults_stop,
            locks: BTreeMap::new(),
            locks_given: 0,
            claims: BTreeMap::new(),
            complaints: Vec::new(),
        }
    }

    pub fn share(&self, region: RegionId) -> Share {
        self.regions[region.0 as usize].share
    }

    /// What the journal says, held beside what is so; `run` is the run as it was before.
    pub fn hears(&mut self, run: &Run, event: &Event, now: Timestamp) {
        match event {
            Event::OrderSettled { region, .. } => {
                let is_so = self.regions[region.0 as usize]
                    .order
                    .as_ref()
                    .map(|order| &order.desired.state);
                if is_so != run.region(*region).order.as_ref().map(|order| &order.state) {
                    self.complaints
                        .push(format!("an order counts as done in region {} and is not", region.0));
                }
            }
            Event::RegionReverted { region, .. } if !self.shown(*region, now).is_zero() => {
                self.complaints
                    .push(format!("region {} counts as back and still shows traffic", region.0));
            }
            Event::RollbackDecided { regions, .. } => {
                regions
                    .iter()
                    .for_each(|region| self.regions[region.0 as usize].goes_back = true);
            }
            Event::Retried { .. } => self.regions.iter_mut().for_each(|region| region.goes_back = false),
            _ => {}
        }
    }

    pub fn claim(&mut self, round: u32, now: Timestamp) -> Outcome {
        let is_faulty = now < self.faults_stop;
        let elsewhere = secs(draw(self.seed, &[CLAIM]) % 90).after(start());
        match draw(self.seed, &[CLAIM, 1, u64::from(round)]) % 12 {
            0 if is_faulty && now < elsewhere => Outcome::Busy {
                target: "r0".into(),
                by: "seed-0000".into(),
            },
            1 if is_faulty && now < elsewhere => failed("the store is not reached", false),
            2 if is_faulty && round > 0 => Outcome::ClaimRefused {
                why: "a newer run has held the target".into(),
            },
            _ => {
                let next = self.claims.len() as u64 + 1;
                Outcome::Claimed {
                    claim: *self.claims.entry(round).or_insert(next),
                }
            }
        }
    }

    /// Now and then another run has the lock; what this one holds it keeps.
    pub fn lock(&mut self, name: &str, now: Timestamp) -> Outcome {
        if now < self.faults_stop && now.as_second() % 30 < 4 {
            return failed("the store is not reached", false);
        }
        if !self.locks.contains_key(name) && now < self.faults_stop && now.as_second() % 50 < 25 {
            let by = "other-0007".to_owned();
            return Outcome::LockBusy { by, ahead: 1 };
        }
        let next = self.locks_given + 1;
        let number = *self.locks.entry(name.to_owned()).or_insert(next);
        self.locks_given = self.locks_given.max(number);
        Outcome::Locked { number }
    }

    pub fn unlock(&mut self, name: &str, now: Timestamp) -> Outcome {
        if now < self.faults_stop && now.as_second() % 20 < 4 {
            return failed("the store is not reached", false);
        }
        self.locks.remove(name);
        Outcome::Unlocked
    }

    pub fn release(&mut self, now: Timestamp) -> Outcome {
        if now < self.faults_stop && now.as_second() % 20 < 5 {
            return failed("the store is not reached", false);
        }
        self.locks.clear();
        Outcome::Released
    }

    pub fn observe(&self, region: RegionId, now: Timestamp) -> Outcome {
        let id = u64::from(region.0);
        let state = &self.regions[region.0 as usize];
        let is_faulty = now < self.faults_stop;
        let die = draw(self.seed, &[LOOK, id]) % 20;
        if is_faulty && die == 0 && now.as_second() % 30 < 12 {
            return failed("the platform does not answer", false);
        }
        let serves = match die {
            1 if is_faulty => None,
            2 => Some(CANDIDATE),
            _ if state.is_promoted => Some(CANDIDATE),
            _ => Some("v1"),
        };
        let candidate_share = self.shown(region, now);
        Outcome::Observed(Observation {
            serving: serves.map(Version::named),
            candidate: Version::named(CANDIDATE),
            candidate_share,
            is_settled: true,
            diagnosis: None,
            candidate_digest: self.digest(region),
        })
    }

    /// What the tag turns out to be: somewhere else something else, or nobody tells.
    fn digest(&self, region: RegionId) -> Option<String> {
        match draw(self.seed, &[DIGEST, u64::from(region.0)]) % 12 {
            0 => Some("sha256:moved".to_owned()),
            1 => None,
            _ => Some("sha256:released".to_owned()),
        }
    }

    /// The share that a look shows: in some regions reads are stale for a while after a change.
    fn shown(&self, region: RegionId, now: Timestamp) -> Share {
        let state = &self.regions[region.0 as usize];
        let lags = [0, 0, 0, 5, 20];
        let lag = lags[(draw(self.seed, &[STALE, u64::from(region.0)]) % 5) as usize];
        let (before, changed_at) = state.shown_before;
        if now < self.faults_stop && secs(lag).after(changed_at) > now {
            before
        } else {
            state.share
        }
    }

    /// Somebody with a newer claim takes a region, in a few worlds.
    fn hijack(&mut self, region: RegionId, now: Timestamp) {
        let dice = draw(self.seed, &[HIJACK, u64::from(region.0)]);
        let state = &mut self.regions[region.0 as usize];
        if dice.is_multiple_of(50) && now >= secs(20 + (dice >> 8) % 120).after(start()) && now < self.faults_stop {
            let theirs = Fence {
                claim: 1_000,
                epoch: 1,
                seq: 1,
            };
            state.fence = state.fence.max(Some(theirs));
        }
    }

    /// An order arrives; `run` is the run that gave it, as it stands.
    pub fn ensure(&mut self, run: &Run, region: RegionId, desired: &Desired, fence: Fence, now: Timestamp) -> Outcome {
        self.hijack(region, now);
        let order = run.region(region).order.as_ref();
        let node = order.and_then(|order| order.node);
        let ordered_at = order.map_or(now, |order| order.ordered_at);
        let attempt = node.map_or(0, |node| run.node(node).attempt);
        let fault = self.order_fault(region, node, attempt, now);
        match fault {
            OrderFault::FailingFor(length) if now < length.after(ordered_at) => {
                return failed("the platform does not answer", false);
            }
            OrderFault::RefusedForGood => return failed("the platform refuses this", true),
            _ => {}
        }
        if let Some(stale) = self.apply(region, desired, fence, node, attempt, now) {
            return stale;
        }
        self.progress(region, fault, now)
    }

    /// An order that somebody else's memory still holds arrives once more.
    pub fn echo(&mut self, region: RegionId, desired: &Desired, fence: Fence, now: Timestamp) {
        let state = &self.regions[region.0 as usize];
        // Only an order that was sent before can come again.
        if state.fence.is_some_and(|newest| fence <= newest) {
            let known = state.order.as_ref().map(|order| (order.node, order.attempt));
            let (node, attempt) = known.unwrap_or((None, 0));
            self.apply(region, desired, fence, node, attempt, now);
        }
    }

    fn apply(
        &mut self,
        region: RegionId,
        desired: &Desired,
        fence: Fence,
        node: Option<NodeId>,
        attempt: u32,
        now: Timestamp,
    ) -> Option<Outcome> {
        let state = &mut self.regions[region.0 as usize];
        if let Some(newest) = state.fence
            && fence < newest
        {
            let why = format!("order {newest} has been applied");
            return Some(Outcome::Progress(Progress::Stale { why }));
        }
        let is_new = state.order.as_ref().is_none_or(|order| order.desired != *desired);
        if is_new {
            if state
                .fence
                .is_some_and(|newest| (newest.claim, newest.seq) == (fence.claim, fence.seq))
            {
                self.complaints.push(format!("two orders under the fence {fence}"));
            }
            if state.goes_back && desired.state.share() > state.share {
                self.complaints
                    .push(format!("a share rises in region {} after a rollback", region.0));
            }
            let (desired, at) = (desired.clone(), now);
            state.order = Some(Applied {
                desired,
                node,
                attempt,
                at,
            });
        }
        state.fence = Some(fence);
        None
    }

    fn progress(&mut self, region: RegionId, fault: OrderFault, now: Timestamp) -> Outcome {
        let seed = self.seed;
        let state = &mut self.regions[region.0 as usize];
        let Some(order) = &state.order else {
            return failed("there is no order", true);
        };
        let lived = Duration::between(order.at, now);
        let about = [
            SPEED,
            u64::from(region.0),
            order.node.map_or(u64::MAX, |node| u64::from(node.0)),
        ];
        let takes = Duration::from_millis([0, 700, 2_000, 5_000, 9_000][(draw(seed, &about) % 5) as usize]);
        let stuck = |why: &str| Outcome::Progress(Progress::Stuck { why: why.into() });
        match fault {
            OrderFault::Stuck => return stuck("the image cannot be pulled: not found"),
            OrderFault::WaitsFor(length) if lived < length => {
                let why = "waits for Git".to_owned();
                return Outcome::Progress(Progress::Waiting { why });
            }
            OrderFault::StuckFor(length) if lived < length => return stuck("the quota is used up"),
            OrderFault::AppliedUnheardFor(length) if lived < length => return failed("timed out", false),
            OrderFault::CrashesAfterReady(from, to) if lived >= from && lived < to => {
                let why = Some("1 of 3 instances is ready".to_owned());
                return Outcome::Progress(Progress::Moving { why });
            }
            _ if lived < takes => return Outcome::Progress(Progress::Moving { why: None }),
            _ => {}
        }
        let share = order.desired.state.share();
        if share != state.share {
            state.shown_before = (state.share, now);
            state.share = share;
        }
        state.is_promoted = order.desired.state == DesiredState::Promoted;
        Outcome::Progress(Progress::Settled)
    }

    fn order_fault(&self, region: RegionId, node: Option<NodeId>, attempt: u32, now: Timestamp) -> OrderFault {
        if now >= self.faults_stop {
            return OrderFault::None;
        }
        let of = node.map_or(1_000 + u64::from(region.0), |node| u64::from(node.0));
        let dice = draw(self.seed, &[ORDER, of, u64::from(attempt)]);
        let (die, length) = (dice % 60, secs(1 + (dice >> 16) % 40));
        match (die, node) {
            (0 | 1, _) => OrderFault::FailingFor(length),
            (2 | 3, _) => OrderFault::AppliedUnheardFor(length),
            (4 | 5, _) => OrderFault::StuckFor(length),
            (6, Some(_)) => OrderFault::RefusedForGood,
            (7, Some(_)) => OrderFault::Stuck,
            (8 | 9, Some(_)) => OrderFault::CrashesAfterReady(secs(12), length.saturating_add(secs(12))),
            (10, Some(_)) => OrderFault::WaitsFor(length),
            _ => OrderFault::None,
        }
    }

    pub fn read(&self, run: &Run, node: NodeId, place: Place, gate: GateId, arms: &Arms, now: Timestamp) -> Outcome {
        let since = match place {
            Place::Before | Place::Baseline | Place::Epilogue => start(),
            Place::Watch | Place::After => run.node(node).started_at.unwrap_or(now),
        };
        let lived = Duration::between(since, now);
        let curve = self.curve(run, node, gate, now);
        let serving = Duration::between(arms.since, now);
        let answer = match &self.plan.gate(gate).1.kind {
            GateKind::Metric(_) => metric(curve, lived, serving, arms, now),
            GateKind::Http(_) | GateKind::Command(_) => check(curve, lived),
            kind => Answer::Error {
                why: format!("a gate of kind `{}` is not read", kind.name()),
            },
        };
        match answer {
            Answer::Error { why } if lived.as_millis() % 2_000 < 1_000 => failed(&why, false),
            answer => Outcome::Read(Reading { at: now, answer }),
        }
    }

    fn curve(&self, run: &Run, node: NodeId, gate: GateId, now: Timestamp) -> Curve {
        if now >= self.faults_stop {
            return Curve::Healthy;
        }
        let about = [
            GATE,
            u64::from(node.0),
            u64::from(gate.0),
            u64::from(run.node(node).attempt),
        ];
        let dice = draw(self.seed, &about);
        let from = secs((dice >> 16) % 25);
        let to = secs(1 + (dice >> 24) % 60).saturating_add(from);
        let ever = Duration::MAX;
        match dice % 44 {
            0 | 1 => Curve::Value(0.2, from, ever),
            2 => Curve::Value(0.2, from, secs(5).saturating_add(from)),
            3 | 4 => Curve::Value(0.015, from, to),
            5 => Curve::Value(0.03, from, to),
            6 => Curve::Value(0.015, from, ever),
            7 => Curve::Value(f64::NAN, from, to),
            8 => Curve::Value(f64::INFINITY, from, to),
            9 => Curve::NoData(from, to),
            10 => Curve::NoData(from, ever),
            11 => Curve::Error(from, to),
            12 => Curve::Stale(from, to),
            13 => Curve::Flapping(secs(1 + (dice >> 24) % 12)),
            _ => Curve::Healthy,
        }
    }
}

fn failed(why: &str, lasting: bool) -> Outcome {
    Outcome::Failed {
        error: why.to_owned(),
        lasting,
        retry_after: None,
    }
}

fn metric(curve: Curve, lived: Duration, serving: Duration, arms: &Arms, now: Timestamp) -> Answer {
    let is_in = |from: Duration, to: Duration| lived >= from && lived < to;
    let (mut value, mut at) = (Some(0.001), now);
    match curve {
        Curve::Value(bad, from, to) if is_in(from, to) => value = Some(bad),
        Curve::NoData(from, to) if is_in(from, to) => value = None,
        Curve::Stale(from, to) if is_in(from, to) => at = ago(now, secs(600)),
        Curve::Error(from, to) if is_in(from, to) => {
            return Answer::Error {
                why: "the source answers 503".into(),
            };
        }
        Curve::Flapping(period) if (lived.as_millis() / period.as_millis().max(1)) % 2 == 1 => value = Some(0.03),
        _ => {}
    }
    let sample = |value| Sample {
        value,
        samples: Some((serving.as_millis() / 20) as f64),
        at: Some(at),
        query: "q".into(),
    };
    Answer::Metric {
        candidate: sample(value),
        baseline: arms.baseline.as_ref().map(|_| sample(Some(0.001))),
    }
}

fn check(curve: Curve, lived: Duration) -> Answer {
    let is_in = |from: Duration, to: Duration| lived >= from && lived < to;
    let passed = match curve {
        Curve::Value(value, from, to) => !(value.is_finite() && is_in(from, to)),
        Curve::Error(from, to) | Curve::NoData(from, to) | Curve::Stale(from, to) if is_in(from, to) => {
            return Answer::Error { why: "refused".into() };
        }
        Curve::Flapping(period) => (lived.as_millis() / period.as_millis().max(1)).is_multiple_of(2),
        _ => true,
    };
    Answer::Check {
        passed,
        detail: format!("passed: {passed}"),
    }
}

fn ago(now: Timestamp, length: Duration) -> Timestamp {
    now - length.signed()
}
