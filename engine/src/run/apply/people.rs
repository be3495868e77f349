//! Folding what concerns the run as a whole: claims, pauses, retries.

use jiff::Timestamp;
use meridian_workflows::plan::{NodeId, NodeKind, RegionId};

use crate::run::bake::Countdown;
use crate::run::event::Event;
use crate::run::mutant::{Mutant, is_on};
use crate::run::signal::Request;
use crate::run::state::{ClaimWait, Life, NodeState, Pause, RegionState, Run, Standing};

impl Run {
    pub(super) fn apply_claim(&mut self, event: &Event) {
        let claim = &mut self.state.claim;
        match event {
            Event::Claimed { claim: number, .. } => {
                claim.number = Some(*number);
                claim.last = Some(*number);
                claim.waits = None;
                claim.again_at = None;
                claim.why = None;
                claim.wanted_for = None;
                if self.state.standing == Standing::Submitted {
                    self.state.standing = Standing::Running;
                }
            }
            Event::ClaimBusy { target, by, again_at } => {
                claim.waits = Some(ClaimWait {
                    target: target.clone(),
                    by: by.clone(),
                    again_at: *again_at,
                });
                claim.again_at = Some(*again_at);
            }
            Event::ClaimRefused { .. } => {
                claim.waits = None;
                claim.again_at = None;
                claim.why = None;
                claim.wanted_for = None;
                claim.round += 1;
            }
            Event::Released => {
                // What a run that has ended gives back is everything.
                self.state.locks.clear();
                claim.number = None;
                claim.again_at = None;
                claim.why = None;
                claim.round += 1;
            }
            _ => {}
        }
    }

    pub(super) fn apply_signal(&mut self, event: &Event) {
        match event {
            Event::SignalTaken { signal, .. } => {
                self.state.signals.insert(signal.id.clone());
                let wants_targets = matches!(signal.ask, Request::Retry { .. } | Request::Rollback { .. });
                if wants_targets && self.is_finished() && self.state.claim.number.is_none() {
                    self.state.claim.wanted_for = Some(signal.clone());
                }
            }
            Event::Paused { freeze_bake, at } => self.paused(*freeze_bake, *at),
            Event::Resumed { at } => self.resumed(*at),
            Event::Retried { nodes, regions, .. } => self.reopened(nodes, regions),
            Event::RegionRushed { skipped, at, .. } => {
                for node in skipped {
                    self.ended(*node, Life::Skipped, *at);
                }
            }
            _ => {}
        }
    }

    pub(super) fn paused(&mut self, freeze_bake: bool, at: Timestamp) {
        self.state.pause = Some(Pause { freeze_bake, since: at });
        for id in self.state.frontier.clone() {
            if freeze_bake {
                self.bake_stopped(id, at);
            }
            self.each_countdown(id, |countdown| countdown.stop(at));
        }
    }

    pub(super) fn resumed(&mut self, at: Timestamp) {
        let was_paused = self.state.pause.take().is_some();
        if !was_paused && matches!(self.state.standing, Standing::Attention { .. }) {
            self.state.standing = Standing::Running;
            let holds = self.state.nodes.iter_mut().filter_map(|node| node.hold.as_mut());
            holds.for_each(|hold| {
                let length = meridian_workflows::duration::Duration::between(hold.since, hold.until);
                hold.since = at;
                hold.until = length.after(at);
            });
        }
        for id in self.state.frontier.clone() {
            self.bake_resumed(id, at);
            self.each_countdown(id, |countdown| countdown.resume(at));
        }
    }

    pub(super) fn each_countdown(&mut self, id: NodeId, mut change: impl FnMut(&mut Countdown)) {
        let node = self.node_mut(id);
        node.deadline.iter_mut().for_each(&mut change);
        for slot in &mut node.gates {
            let approval = slot.approval.as_mut().and_then(|approval| approval.expiry.as_mut());
            let signal = slot.signal.as_mut().and_then(|signal| signal.expiry.as_mut());
            approval.into_iter().chain(signal).for_each(&mut change);
        }
    }

    pub(super) fn reopened(&mut self, nodes: &[NodeId], regions: &[RegionId]) {
        for id in nodes {
            let attempt = self.node(*id).attempt + 1;
            let kept = is_on(Mutant::KeepsEvidence).then(|| self.node(*id).gates.clone());
            *self.node_mut(*id) = NodeState::fresh(&self.plan, *id, attempt);
            if let Some(gates) = kept {
                self.node_mut(*id).gates = gates;
            }
        }
        for region in regions {
            *self.region_mut(*region) = RegionState::untouched();
        }
        self.state.rollback = None;
        // Whoever asks for a new attempt wants it to go; a pause of the old one would stop it in silence.
        self.state.pause = None;
        self.state.standing = Standing::Running;
        let plan = self.plan.clone();
        // A place among a phase's regions at once is taken anew by whoever opens again.
        for id in nodes {
            if let Some(region) = plan.node(*id).region {
                self.state.active[plan.node(*id).phase.0 as usize].remove(&region);
            }
        }
        for (id, node) in plan.nodes() {
            let is_open = matches!(node.kind, NodeKind::Open { .. }) && self.node(id).life == Life::Passed;
            if let (true, Some(region)) = (is_open, node.region)
                && nodes
                    .iter()
                    .any(|other| plan.node(*other).region == Some(region) && plan.node(*other).phase == node.phase)
            {
                self.state.active[node.phase.0 as usize].insert(region);
            }
        }
        for id in plan.ids() {
            let waits_for = plan.parents(id).filter(|parent| !self.lets_pass(*parent)).count();
            let node = self.node_mut(id);
            node.waits_for = u32::try_from(waits_for).unwrap_or(u32::MAX);
            if waits_for == 0 && !node.life.is_over() {
                self.state.frontier.insert(id);
            } else {
                self.state.frontier.remove(&id);
            }
        }
    }
}
