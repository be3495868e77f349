//! Folding what concerns one node: its life, its bake, its holds and questions.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{NodeId, NodeKind};

use crate::run::bake::{Countdown, Vouched};
use crate::run::effect::Place;
use crate::run::event::Event;
use crate::run::mutant::{Mutant, is_on};
use crate::run::state::{Hold, Life, NodeState, Question, RegionLife, Run};

impl Run {
    pub(super) fn apply_to_node(&mut self, event: &Event) {
        match event {
            Event::NodeStarted { node, at } => self.started(*node, *at),
            Event::Converged { node, at } => self.converged(*node, *at),
            Event::Diverged { node, why, at } => {
                self.bake_stopped(*node, *at);
                let state = self.node_mut(*node);
                state.life = Life::Moving;
                state.since = Some(*at);
                state.why = Some(why.clone());
                self.deadline_from(*node, *at);
            }
            Event::BakeEnded { node, at } => {
                self.bake_stopped(*node, *at);
                let state = self.node_mut(*node);
                state.life = Life::Judging;
                state.since = Some(*at);
                let after = state.gates.iter_mut().filter(|slot| slot.place == Place::After);
                after.for_each(|slot| slot.next_at = Some(*at));
            }
            Event::NodePassed { node, at } => self.ended(*node, Life::Passed, *at),
            Event::NodeSkipped { node, why, at } => {
                self.ended(*node, Life::Skipped, *at);
                self.node_mut(*node).why = Some(why.clone());
            }
            Event::NodeTolerated { node, at } => self.ended(*node, Life::Tolerated, *at),
            Event::NodeFailed { node, why, at } => {
                self.ended(*node, Life::Failed, *at);
                self.node_mut(*node).why = Some(why.clone());
            }
            Event::Held {
                node,
                gate,
                why,
                at,
                until,
            } => {
                self.bake_stopped(*node, *at);
                self.node_mut(*node).hold = Some(Hold {
                    gate: *gate,
                    why: why.clone(),
                    since: *at,
                    until: *until,
                });
            }
            Event::Recovered { node, at } => {
                self.node_mut(*node).hold = None;
                self.bake_resumed(*node, *at);
            }
            Event::Asked { node, gate, why, at } => {
                self.bake_stopped(*node, *at);
                self.node_mut(*node).question = Some(Question {
                    gate: *gate,
                    why: why.clone(),
                    since: *at,
                });
                // People take their time; the platform's is over.
                if gate.is_none() {
                    self.node_mut(*node).deadline = None;
                }
            }
            Event::Answered { node, at, .. } => self.answered(*node, *at),
            _ => {}
        }
    }

    fn answered(&mut self, id: NodeId, at: Timestamp) {
        let state = self.node_mut(id);
        match state.question.take() {
            Some(Question { gate: Some(gate), .. }) => {
                let slots = state.gates.iter_mut().filter(|slot| slot.gate == gate);
                slots.for_each(|slot| slot.is_excused = true);
            }
            Some(Question { gate: None, .. }) => {
                self.deadline_from(id, at);
                if let Some(region) = self.plan.node(id).region
                    && let Some(resolved) = &mut self.region_mut(region).resolved
                {
                    resolved.is_accepted = true;
                }
            }
            None => {}
        }
        self.bake_resumed(id, at);
    }

    /// The node's deadline begins anew, and stands still while the run is paused.
    pub(super) fn deadline_from(&mut self, id: NodeId, at: Timestamp) {
        let deadline = self.plan.node(id).deadline;
        let is_paused = self.is_paused();
        let mut countdown = Countdown::started(deadline, at);
        if is_paused {
            countdown.stop(at);
        }
        self.node_mut(id).deadline = Some(countdown);
    }

    pub(super) fn started(&mut self, id: NodeId, at: Timestamp) {
        let plan = self.plan.clone();
        let node = plan.node(id);
        let state = self.node_mut(id);
        state.life = Life::Moving;
        state.since = Some(at);
        state.started_at = Some(at);
        state.deadline = Some(Countdown::started(node.deadline, at));
        for slot in state.gates.iter_mut().filter(|slot| slot.place == Place::Watch) {
            slot.next_at = Some(plan.gate(slot.gate).1.initial_delay.after(at));
        }
        let Some(region) = node.region else { return };
        match node.kind {
            NodeKind::Open { first } => {
                self.state.active[node.phase.0 as usize].insert(region);
                if first {
                    self.region_mut(region).life = RegionLife::Open;
                }
            }
            NodeKind::Stage { .. } | NodeKind::Close { .. } => self.region_mut(region).watched = Some(id),
            NodeKind::Phase => {}
        }
    }

    pub(super) fn converged(&mut self, id: NodeId, at: Timestamp) {
        let freeze = self.state.pause.is_some_and(|pause| pause.freeze_bake);
        let node = self.node_mut(id);
        node.life = Life::Baking;
        node.since = Some(at);
        node.deadline = None;
        node.why = None;
        if !freeze && node.hold.is_none() && node.question.is_none() {
            node.bake.start(at);
        }
        node.vouch_anew(at);
    }

    pub(super) fn ended(&mut self, id: NodeId, life: Life, at: Timestamp) {
        let plan = self.plan.clone();
        let was_passed = self.node(id).life.is_passed();
        let node = self.node_mut(id);
        node.life = life;
        node.since = Some(at);
        node.deadline = None;
        // What stopped the node has gone with it; gates that are still watched stop the region anew if they must.
        node.hold = None;
        node.question = None;
        node.bake.stop();
        self.state.frontier.remove(&id);
        // What is left out before its turn lets nothing pass by: its children wait for what it waits for. What is tolerated
        // will never have a turn, and is waited for no more.
        let has_turn = self.node(id).waits_for == 0 || life == Life::Tolerated || is_on(Mutant::IgnoresParents);
        if life.is_passed() && !was_passed && has_turn {
            self.freed(id);
        }
        let of = plan.node(id);
        let Some(region) = of.region else { return };
        if life == Life::Failed {
            self.state.active[of.phase.0 as usize].remove(&region);
        }
        if let NodeKind::Close { last } = of.kind {
            self.state.active[of.phase.0 as usize].remove(&region);
            if last && life == Life::Passed {
                let region = self.region_mut(region);
                region.life = RegionLife::Promoted;
                region.watched = None;
                region.order.iter_mut().for_each(|order| order.ask_at = None);
            }
        }
    }

    /// Whether the children of a node wait for it no more.
    pub(super) fn lets_pass(&self, id: NodeId) -> bool {
        let node = self.node(id);
        node.life.is_passed() && (node.life != Life::Skipped || node.waits_for == 0)
    }

    /// The children of a node wait for it no more; those that are left out pass that on.
    fn freed(&mut self, id: NodeId) {
        let plan = self.plan.clone();
        for child in plan.children(id) {
            let state = self.node_mut(child);
            state.waits_for = state.waits_for.saturating_sub(1);
            match (state.waits_for, state.life) {
                (0, Life::Waiting) => {
                    self.state.frontier.insert(child);
                }
                (0, Life::Skipped) => self.freed(child),
                _ => {}
            }
        }
    }

    /// The bake stands still from `at` on; what had been vouched for until then is kept.
    pub(super) fn bake_stopped(&mut self, id: NodeId, at: Timestamp) {
        let is_watched = self.watch(id).next().is_some();
        let bake = &mut self.node_mut(id).bake;
        if let (false, Some(counted_to)) = (is_watched, bake.counted_to) {
            bake.count(counted_to, at);
        }
        bake.stop();
    }

    pub(super) fn bake_resumed(&mut self, id: NodeId, at: Timestamp) {
        let freeze = self.state.pause.is_some_and(|pause| pause.freeze_bake);
        let node = self.node_mut(id);
        if node.life == Life::Baking
            && !freeze
            && node.hold.is_none()
            && node.question.is_none()
            && !node.bake.is_running()
        {
            node.bake.start(at);
            node.vouch_anew(at);
        }
    }

    pub(super) fn clock_jumped(&mut self, from: Timestamp, to: Timestamp) {
        for id in self.state.frontier.clone() {
            if self.node(id).bake.is_running() && !is_on(Mutant::CountsClockJump) {
                self.bake_stopped(id, from);
                let node = self.node_mut(id);
                node.bake.start(to);
                node.vouch_anew(to);
            }
            // Nobody has lived through the jump, so it uses up no deadline, no expiry and no hold.
            self.each_countdown(id, |countdown| countdown.jumped(from, to));
            if let Some(hold) = &mut self.node_mut(id).hold {
                hold.until = Duration::between(from, to).after(hold.until);
            }
        }
    }
}

impl NodeState {
    /// The bake begins or goes on: a watch gate that is not breached vouches from here on.
    pub(super) fn vouch_anew(&mut self, at: Timestamp) {
        for slot in self.gates.iter_mut().filter(|slot| slot.place == Place::Watch) {
            let is_fine = slot
                .last
                .as_ref()
                .is_none_or(|judged| judged.judgement.lets_bake_count());
            slot.vouched = is_fine.then_some(Vouched { since: at, until: at });
        }
    }
}
