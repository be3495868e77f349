//! Locks: at most one run holds a name. The store decides who; a run asks, keeps what it was given as long as the work that it
//! guards goes on, and gives it back once.
//!
//! A lock is asked for last, when every other gate before the node is open, so that nobody waits for a run that waits for people.
//! It is kept until the region-phase of the node closes (a phase's own lock until all of its regions have), through a rollback and
//! through needs attention; a run that has ended gives all of them back together with its targets. While a question to the store
//! is out nothing is given back: an answer that nobody waits for could be a lock that nobody knows of.

use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{GateId, NodeId, NodeKind, PhaseId, RegionId};
use meridian_workflows::workflow::GateKind;

use super::decide::Draft;
use super::effect::Place;
use super::event::Event;
use super::mutant::{Mutant, is_on};
use super::state::{GateState, Life, LockState, RegionLife, Run, Standing};
use super::verdict::Judgement;

/// A run in the queue asks again after this long, later and later.
const ASK_MIN: Duration = Duration::from_secs(5);
const ASK_MAX: Duration = Duration::from_secs(60);

impl Run {
    /// Whether some gate of the plan is a lock; most plans have none, and are not looked through.
    fn has_locks(&self) -> bool {
        let mut gates = self.plan.workflow().gates.values();
        gates.any(|gate| matches!(gate.kind, GateKind::Lock(_)))
    }

    fn lock_of(&self, gate: GateId) -> Option<&str> {
        match &self.plan.gate(gate).1.kind {
            GateKind::Lock(lock) => Some(&lock.name),
            _ => None,
        }
    }

    pub fn lock(&self, name: &str) -> Option<&LockState> {
        self.state.locks.get(name)
    }

    fn holds(&self, name: &str) -> bool {
        self.lock(name).is_some_and(LockState::is_held)
    }

    /// The lock that a waiting node asks for next. Several are taken in the order of their names, so that two runs never wait for
    /// each other with half of what both want.
    fn sought(&self, id: NodeId) -> Option<(GateId, &str)> {
        let node = self.node(id);
        let is_stopped = node.hold.is_some() || node.question.is_some();
        if node.life != Life::Waiting || !self.may_begin(id) || self.is_paused() || is_stopped {
            return None;
        }
        let is_ready = node.gates_at(Place::Before).all(|slot| {
            let is_dry = self.plan.gate(slot.gate).1.dry_run;
            self.lock_of(slot.gate).is_some() || slot.is_open() || is_dry || self.is_left_out(id, slot.gate)
        });
        let asks = |slot: &&GateState| !slot.is_skipped && !slot.is_excused && !self.plan.gate(slot.gate).1.dry_run;
        let slots = node.gates_at(Place::Before).filter(asks);
        let mut locks: Vec<(&str, GateId)> = slots
            .filter_map(|slot| Some((self.lock_of(slot.gate)?, slot.gate)))
            .collect();
        locks.sort_unstable();
        let next = locks.iter().find(|(name, _)| !self.holds(name)).or(locks.last());
        next.filter(|_| is_ready).map(|(name, gate)| (*gate, *name))
    }

    /// The locks that a waiting node has or is about to ask for: those before the one that it waits for stay its own.
    fn is_sought(&self, id: NodeId, name: &str) -> bool {
        let mut slots = self.node(id).gates_at(Place::Before);
        let stands_here = slots.any(|slot| !slot.is_skipped && self.lock_of(slot.gate) == Some(name));
        stands_here && self.sought(id).is_some_and(|(_, next)| name <= next)
    }

    /// Whether the work that a lock guards goes on: its node has begun under it, and what that node opens has not closed.
    fn is_guarded(&self, id: NodeId, slot: &GateState) -> bool {
        let begun = self.node(id).started_at.is_some() || self.node(id).life == Life::Passed;
        let passed = slot.last.as_ref().is_some_and(|last| last.judgement.is_pass());
        if !begun || !passed || is_on(Mutant::DropsLockEarly) {
            return false;
        }
        let node = self.plan.node(id);
        match node.region {
            Some(region) => self.is_under_way(node.phase, region),
            None => {
                let regions = &self.plan.phase(node.phase).regions;
                let mut regions = regions.iter().filter_map(|name| self.plan.find_region(name));
                regions.any(|region| self.is_under_way(node.phase, region))
            }
        }
    }

    /// A region-phase that has not closed, or is on its way back.
    fn is_under_way(&self, phase: PhaseId, region: RegionId) -> bool {
        match self.region(region).life {
            RegionLife::Reverting | RegionLife::Withdrawing => true,
            RegionLife::RolledBack => false,
            RegionLife::Untouched | RegionLife::Open | RegionLife::Promoted => self.plan.nodes().any(|(id, node)| {
                let is_close = matches!(node.kind, NodeKind::Close { .. });
                is_close && node.phase == phase && node.region == Some(region) && !self.node(id).life.is_over()
            }),
        }
    }

    fn needs_lock(&self, name: &str) -> bool {
        self.plan.ids().any(|id| {
            let slots = self.node(id).gates_at(Place::Before);
            let mut of_this = slots.filter(|slot| self.lock_of(slot.gate) == Some(name) && !slot.is_skipped);
            of_this.any(|slot| self.is_guarded(id, slot)) || self.is_sought(id, name)
        })
    }
}

/// Asks for what is sought, gives back what is needed no more. True when something has changed.
pub(in crate::run) fn advance(draft: &mut Draft<'_>) -> bool {
    if !draft.run.has_locks()
        || matches!(
            draft.run.state.standing,
            Standing::Submitted | Standing::Finished { .. }
        )
    {
        return false;
    }
    let run = &draft.run;
    let now = draft.now;
    let is_idle = |lock: &LockState| !lock.is_leaving && !lock.is_asked(now);
    let mut known = run.state.locks.iter().filter(|(_, lock)| is_idle(lock));
    if let Some((name, _)) = known.find(|(name, _)| !run.needs_lock(name)) {
        let lock = name.clone();
        draft.push(Event::LockDropped { lock, at: now });
        return true;
    }
    let mut sought = run.state.frontier.iter().filter_map(|id| run.sought(*id));
    if let Some((gate, name)) = sought.find(|(_, name)| run.lock(name).is_none()) {
        let lock = name.to_owned();
        draft.push(Event::LockSought { lock, gate, at: now });
        return true;
    }
    false
}

/// The store has answered that another run is before this one.
pub(in crate::run) fn is_busy(draft: &mut Draft<'_>, gate: GateId, by: String, ahead: u32) {
    let Some(lock) = draft.run.lock_of(gate).map(str::to_owned) else {
        return;
    };
    let since = draft.run.lock(&lock).map_or(draft.now, |lock| lock.sought_at);
    let waited = Duration::between(since, draft.now);
    let again_at = Duration::from_millis(waited.as_millis() / 8)
        .max(ASK_MIN)
        .min(ASK_MAX)
        .after(draft.now);
    draft.push(Event::LockBusy {
        lock,
        by,
        ahead,
        at: draft.now,
        again_at,
    });
}

pub(in crate::run) fn is_taken(draft: &mut Draft<'_>, gate: GateId, number: u64) {
    let lock = draft.run.lock_of(gate).map(str::to_owned);
    if let Some(lock) = lock {
        let at = draft.now;
        draft.push(Event::LockTaken { lock, number, at });
    }
}

pub(in crate::run) fn is_released(draft: &mut Draft<'_>, gate: GateId) {
    let lock = draft.run.lock_of(gate).map(str::to_owned);
    if let Some(lock) = lock {
        let at = draft.now;
        draft.push(Event::LockReleased { lock, at });
    }
}

impl Draft<'_> {
    pub(in crate::run) fn judge_lock(&mut self, id: NodeId, place: Place, gate: GateId) -> bool {
        let plan = self.run.plan().clone();
        let (GateKind::Lock(lock), Some(slot)) = (&plan.gate(gate).1.kind, self.run.node(id).gate(place, gate)) else {
            return false;
        };
        if slot.is_skipped {
            return false;
        }
        let name = &lock.name;
        let judgement = match self.run.lock(name) {
            Some(lock) if lock.is_held() && self.run.is_sought(id, name) => {
                Judgement::pass(format!("holds the lock `{name}`"))
            }
            _ if is_on(Mutant::IgnoresLocks) => Judgement::pass("a lock is no obstacle".to_owned()),
            Some(LockState { waits: Some(waits), .. }) => Judgement::pending(format!(
                "run {} has the lock `{name}`, or is to have it next; {} before this run",
                waits.by, waits.ahead
            )),
            Some(LockState { why: Some(why), .. }) => {
                Judgement::pending(format!("the lock `{name}` was asked for: {why}"))
            }
            Some(_) => Judgement::pending(format!("the lock `{name}` is asked for")),
            None => Judgement::pending(format!(
                "the lock `{name}` is asked for once nothing else is waited for"
            )),
        };
        self.judge_if_new(id, place, gate, judgement, None)
    }
}
