//! What the world still owes a run, and when to look again.

use jiff::Timestamp;
use meridian_workflows::plan::{NodeId, RegionId};
use meridian_workflows::workflow::OnConflict;

use super::bake::Countdown;
use super::effect::{Ask, Desired, Effect, EffectKey, Place};
use super::gates::EPILOGUE_MAX;
use super::mutant::{Mutant, is_on};
use super::progress::{STUCK_GRACE, evidence_late_at};
use super::rollback::epilogue_due;
use super::state::{Life, RegionLife, Run, Standing};

/// A level, not an edge: asked anew after every change, so a crash leaves nothing to reconcile.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Wanted {
    /// Effects that should be under way now. Start what is missing; leave alone what runs already (same key).
    pub effects: Vec<Effect>,
    /// The next instant at which time alone can change something; none: only an outcome or a person can.
    pub wake: Option<Timestamp>,
}

pub fn wanted(run: &Run, now: Timestamp) -> Wanted {
    let mut list = List {
        run,
        now,
        wanted: Wanted::default(),
    };
    list.claims();
    if !matches!(run.state.standing, Standing::Submitted | Standing::Finished { .. })
        && run.state.claim.number.is_some()
    {
        for region in run.plan.region_ids() {
            list.region(region);
        }
        list.locks();
        list.readings();
        list.waits();
    }
    list.wanted
}

/// Whether an answer to this effect still counts.
pub(in crate::run) fn is_wanted(run: &Run, key: EffectKey, now: Timestamp) -> bool {
    wanted(run, now).effects.iter().any(|effect| effect.key == key)
}

struct List<'a> {
    run: &'a Run,
    now: Timestamp,
    wanted: Wanted,
}

impl List<'_> {
    /// Wanted now if `at` has come, else looked at then.
    fn at(&mut self, at: Timestamp, key: EffectKey, ask: impl FnOnce() -> Ask) {
        if at <= self.now {
            self.wanted.effects.push(Effect { key, ask: ask() });
        } else {
            self.wake_at(Some(at));
        }
    }

    /// Time that has come and changed nothing (a pause stands in its way) does not wake again.
    fn wake_at(&mut self, at: Option<Timestamp>) {
        if let Some(at) = at.filter(|at| *at > self.now) {
            self.wanted.wake = Some(self.wanted.wake.map_or(at, |wake| wake.min(at)));
        }
    }

    fn claims(&mut self) {
        let claim = &self.run.state.claim;
        let is_finished = self.run.is_finished();
        let key = EffectKey::Claim { round: claim.round };
        let at = claim.again_at.unwrap_or(Timestamp::MIN);
        if self.run.state.submitted_at.is_some() && self.run.state.standing == Standing::Submitted {
            self.at(at, key, || Ask::Claim { only_if_newest: false });
        } else if is_finished && claim.number.is_some() {
            // What a question for a lock comes to must be known before everything is given back.
            if self.locks_asked_at_the_end() {
                return;
            }
            self.at(at, EffectKey::Release { round: claim.round }, || Ask::Release);
        } else if is_finished && claim.wanted_for.is_some() {
            self.at(at, key, || Ask::Claim { only_if_newest: true });
        }
    }

    /// Questions for locks that were out when the run ended; one that has had its answer since is not asked again.
    fn locks_asked_at_the_end(&mut self) -> bool {
        let Standing::Finished { at: ended_at, .. } = self.run.state.standing else {
            return false;
        };
        let mut any = false;
        for (name, lock) in &self.run.state.locks {
            if lock.is_asked(ended_at) {
                let (gate, round, name) = (lock.gate, lock.round, name.clone());
                self.at(ended_at, EffectKey::Lock { gate, round }, || Ask::Lock { name });
                any = true;
            }
        }
        any
    }

    fn locks(&mut self) {
        for (name, lock) in &self.run.state.locks {
            let (gate, round, name) = (lock.gate, lock.round, name.clone());
            let at = lock.again_at.unwrap_or(Timestamp::MIN);
            if lock.is_leaving {
                self.at(at, EffectKey::Unlock { gate, round }, || Ask::Unlock { name });
            } else if lock.number.is_none() {
                self.at(at, EffectKey::Lock { gate, round }, || Ask::Lock { name });
            }
        }
    }

    fn region(&mut self, id: RegionId) {
        let run = self.run;
        let region = run.region(id);
        let look = EffectKey::Observe {
            region: id,
            intent: run.state.looks,
        };
        let is_opening = region.life == RegionLife::Open && region.baseline.is_none();
        let order = region.order.as_ref();
        let is_unverified =
            region.life == RegionLife::Reverting && order.is_some_and(|order| order.settled_at.is_some());
        if is_opening || is_unverified || run.is_unresolved(id) {
            self.at(region.look_again_at.unwrap_or(Timestamp::MIN), look, || Ask::Observe {
                region: id,
            });
        }
        if let (Some(order), Some(candidate), Some(baseline)) = (order, &region.candidate, &region.baseline)
            && let Some(ask_at) = order.ask_at
            && !is_unverified
        {
            let key = EffectKey::Ensure {
                region: id,
                intent: order.intent,
            };
            let (candidate, baseline, state) = (candidate.clone(), baseline.clone(), order.state.clone());
            self.at(ask_at, key, || Ask::Ensure {
                region: id,
                desired: Desired {
                    candidate,
                    baseline,
                    state,
                },
            });
        }
        if let Some(stuck) = order.and_then(|order| order.stuck.as_ref()) {
            self.wake_at(Some(STUCK_GRACE.after(stuck.since)));
        }
        if region.life == RegionLife::Withdrawing {
            self.wake_at(region.drained_at);
        }
    }

    fn readings(&mut self) {
        let run = self.run;
        let watched = run.plan.region_ids().filter_map(|region| run.region(region).watched);
        let passed_but_watched = watched.filter(|node| !run.state.frontier.contains(node));
        let nodes: Vec<NodeId> = run.state.frontier.iter().copied().chain(passed_but_watched).collect();
        for id in nodes {
            for slot in &run.node(id).gates {
                if let Some(due) = run.reading_due(id, slot) {
                    let (place, gate) = (slot.place, slot.gate);
                    let key = EffectKey::Read {
                        node: id,
                        place,
                        gate,
                        round: slot.round,
                    };
                    let arms = run.arms(id, gate, place, self.now);
                    self.at(due, key, || Ask::Read { node: id, gate, arms });
                } else if run.places_read(id).contains(&slot.place) {
                    self.wake_at(slot.next_at);
                }
            }
        }
        for node in run.state.frontier.iter().copied() {
            for (gate, due) in run.baselines_due(node) {
                let place = Place::Baseline;
                let round = run.node(node).gate(place, gate).map_or(0, |slot| slot.round);
                let key = EffectKey::Read {
                    node,
                    place,
                    gate,
                    round,
                };
                let arms = run.arms(node, gate, place, self.now);
                self.at(due, key, || Ask::Read { node, gate, arms });
            }
        }
        for (node, gate) in epilogue_due(run, self.now) {
            let key = EffectKey::Read {
                node,
                place: Place::Epilogue,
                gate,
                round: 0,
            };
            let arms = run.arms(node, gate, Place::Epilogue, self.now);
            self.at(Timestamp::MIN, key, || Ask::Read { node, gate, arms });
        }
    }

    fn waits(&mut self) {
        let run = self.run;
        if let Some(rollback) = &run.state.rollback {
            self.wake_at((!rollback.is_overdue).then_some(rollback.deadline));
            self.wake_at(Some(EPILOGUE_MAX.after(rollback.deadline)));
        }
        if run.state.standing != Standing::Running {
            return;
        }
        let watched: Vec<NodeId> = run
            .plan
            .region_ids()
            .filter_map(|region| run.region(region).watched)
            .collect();
        for id in run.state.frontier.iter().copied().chain(watched) {
            let node = run.node(id);
            if is_on(Mutant::DropsWake) {
                continue;
            }
            self.wake_at(node.deadline.as_ref().and_then(Countdown::ends_at));
            if node.deadline.is_some_and(|deadline| deadline.is_over(self.now)) {
                let region = run.plan.node(id).region;
                self.wake_at(region.and_then(|region| run.unreached_until(region)));
            }
            self.wake_at(node.hold.as_ref().map(|hold| hold.until));
            if node.life == Life::Baking && node.hold.is_none() {
                self.wake_at(evidence_late_at(run, id));
            }
            if node.life == Life::Baking
                && run.watch(id).next().is_none()
                && let Some(counted_to) = node.bake.counted_to
            {
                self.wake_at(Some(node.bake.left().after(counted_to)));
            }
        }
    }
}

impl Run {
    /// What happens to another run that holds a target this run wants.
    pub fn on_conflict(&self) -> OnConflict {
        self.plan.workflow().on_conflict
    }
}
