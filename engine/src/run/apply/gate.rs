//! Folding what concerns one gate: its readings, its people, and how long it has vouched for the bake.

use jiff::Timestamp;
use meridian_workflows::plan::{GateId, NodeId};
use meridian_workflows::share::Share;

use crate::run::bake::{Countdown, Vouched};
use crate::run::effect::Place;
use crate::run::event::Event;
use crate::run::gates::severity;
use crate::run::reading::{Answer, Reading};
use crate::run::state::{ApprovalState, GateState, Judged, Life, NodeState, Run, SignalPost, SignalState, gap_max};
use crate::run::verdict::Judgement;

impl Run {
    /// Watch gates of a node that can act on it now: not skipped, not dry-run, not left out at a full share.
    pub fn watch(&self, id: NodeId) -> impl Iterator<Item = &GateState> {
        self.node(id).gates_at(Place::Watch).filter(move |slot| {
            let gate = self.plan.gate(slot.gate).1;
            !slot.is_skipped && !gate.dry_run && !self.is_left_out(id, slot.gate)
        })
    }

    /// Whether the gate compares with a concurrent baseline only, and none serves beside this node's share.
    pub fn is_left_out(&self, id: NodeId, gate: GateId) -> bool {
        let concurrent_only = self.plan.gate(gate).1.kind.is_concurrent_only();
        concurrent_only
            && self
                .plan
                .node(id)
                .region
                .is_some_and(|region| self.region(region).ordered_share().is_full())
    }

    pub(super) fn apply_to_gate(&mut self, event: &Event) {
        match event {
            Event::GateRead {
                node,
                place,
                gate,
                reading,
                judgement,
                at,
                next_at,
            } => {
                self.gate_read(*node, *place, *gate, reading, judgement, *at);
                if let Some(slot) = self.node_mut(*node).gate_mut(*place, *gate) {
                    slot.next_at = Some(*next_at);
                }
            }
            Event::GateJudged {
                node,
                place,
                gate,
                judgement,
                at,
                next_at,
            } => {
                if let Some(slot) = self.node_mut(*node).gate_mut(*place, *gate) {
                    slot.judged(judgement, None, *at);
                    slot.next_at = *next_at;
                }
            }
            Event::ApprovalAsked {
                node,
                place,
                gate,
                expires,
                at,
            } => {
                if let Some(slot) = self.node_mut(*node).gate_mut(*place, *gate) {
                    slot.approval = Some(ApprovalState {
                        asked_at: *at,
                        expiry: expires.map(|expires| Countdown::started(expires, *at)),
                        approved_by: Vec::new(),
                        rejected_by: None,
                    });
                }
            }
            Event::Approved { node, gate, by, .. } => {
                for approval in self.node_mut(*node).approvals_of(*gate) {
                    approval.approved_by.push(by.clone());
                }
            }
            Event::Rejected { node, gate, by, .. } => {
                for approval in self.node_mut(*node).approvals_of(*gate) {
                    approval.rejected_by.get_or_insert(by.clone());
                }
            }
            Event::SignalAwaited {
                node,
                place,
                gate,
                expires,
                at,
            } => {
                if let Some(slot) = self.node_mut(*node).gate_mut(*place, *gate) {
                    slot.signal = Some(SignalState {
                        asked_at: *at,
                        expiry: expires.map(|expires| Countdown::started(expires, *at)),
                        posted: None,
                    });
                }
            }
            Event::SignalPosted {
                node,
                gate,
                by,
                passed,
                because,
                at,
            } => {
                let post = SignalPost {
                    by: by.clone(),
                    passed: *passed,
                    because: because.clone(),
                    at: *at,
                };
                for signal in self.node_mut(*node).signals_of(*gate) {
                    signal.posted = Some(post.clone());
                }
            }
            Event::GateSkipped {
                node, place, gate, at, ..
            } => {
                // While the gate was in force, what it had not vouched for did not count, and does not afterwards.
                if let (Place::Watch, Some(counted_to)) = (place, &mut self.node_mut(*node).bake.counted_to) {
                    *counted_to = *at;
                }
                if let Some(slot) = self.node_mut(*node).gate_mut(*place, *gate) {
                    slot.is_skipped = true;
                }
            }
            _ => {}
        }
    }

    pub(super) fn gate_read(
        &mut self,
        id: NodeId,
        place: Place,
        gate: GateId,
        reading: &Reading,
        judgement: &Judgement,
        at: Timestamp,
    ) {
        let plan = self.plan.clone();
        let of_baseline = match (&reading.answer, place) {
            // Before the first full share the baseline alone is asked for.
            (Answer::Metric { candidate, .. }, Place::Baseline) => Some(candidate),
            (Answer::Metric { baseline, .. }, Place::Before | Place::Watch | Place::After) => baseline.as_ref(),
            (Answer::Metric { .. }, Place::Epilogue)
            | (
                Answer::Check { .. }
                | Answer::Error { .. }
                | Answer::Counts { .. }
                | Answer::Course { .. }
                | Answer::Analysis(_)
                | Answer::Health { .. }
                | Answer::Completed { .. }
                | Answer::Budget { .. },
                _,
            ) => None,
        };
        if let (Some(region), Some(sample)) = (plan.node(id).region, of_baseline) {
            let region = self.region_mut(region);
            if sample.value.is_some_and(f64::is_finite) && region.share < Share::FULL {
                region.frozen.retain(|(of, _)| *of != gate);
                region.frozen.push((gate, sample.clone()));
            }
        }
        let every = plan.gate(gate).1.every;
        let node = self.node_mut(id);
        if matches!(place, Place::Epilogue | Place::Baseline) && node.gate(place, gate).is_none() {
            node.gates.push(GateState::fresh(place, gate));
        }
        let Some(slot) = node.gate_mut(place, gate) else { return };
        slot.judged(judgement, Some(reading), at);
        if place == Place::Watch {
            let chain = slot.vouched.take();
            slot.vouched = judgement
                .lets_bake_count()
                .then(|| Vouched::extended(chain, at, gap_max(every)));
            self.count_vouched(id);
        }
    }

    /// Counts the stretch that every acting watch gate has vouched for.
    pub(super) fn count_vouched(&mut self, id: NodeId) {
        let mut stretch: Option<(Timestamp, Timestamp)> = None;
        for slot in self.watch(id) {
            let Some(vouched) = slot.vouched else { return };
            let (since, until) = stretch.unwrap_or((vouched.since, vouched.until));
            stretch = Some((since.max(vouched.since), until.min(vouched.until)));
        }
        if let Some((since, until)) = stretch
            && until > since
        {
            self.node_mut(id).bake.count(since, until);
        }
    }
}

impl NodeState {
    pub(in crate::run) fn gate_mut(&mut self, place: Place, gate: GateId) -> Option<&mut GateState> {
        self.gates
            .iter_mut()
            .find(|slot| slot.place == place && slot.gate == gate)
    }

    /// Those that still ask: the same gate may stand in two places of a node, and each asks for itself.
    pub(super) fn approvals_of(&mut self, gate: GateId) -> impl Iterator<Item = &mut ApprovalState> {
        self.gates
            .iter_mut()
            .filter(move |slot| slot.gate == gate && !slot.is_open())
            .filter_map(|slot| slot.approval.as_mut())
    }

    /// Those that listen: a gate that also stands in the place before has had its answer there.
    fn signals_of(&mut self, gate: GateId) -> impl Iterator<Item = &mut SignalState> {
        let place = match self.life {
            Life::Waiting => Place::Before,
            _ => Place::After,
        };
        self.gates
            .iter_mut()
            .filter(move |slot| slot.gate == gate && slot.place == place)
            .filter_map(|slot| slot.signal.as_mut())
    }
}

impl GateState {
    pub(super) fn judged(&mut self, judgement: &Judgement, reading: Option<&Reading>, at: Timestamp) {
        self.round += 1;
        let severity = judgement.policy().map_or(0, severity);
        for (level, since) in self.breached_since.iter_mut().enumerate() {
            if level < severity {
                since.get_or_insert(at);
            } else {
                *since = None
            }
        }
        if judgement.opens() {
            self.is_excused = false;
        }
        self.last = Some(Judged {
            judgement: judgement.clone(),
            reading: reading.cloned(),
            at,
        });
    }
}
