//! The only way a run changes: the fold of events.

use jiff::Timestamp;
use meridian_workflows::plan::{GateId, NodeId, NodeKind, RegionId};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Scope;

use super::bake::{Countdown, Vouched};
use super::decide::{Input, Refusal, decide};
use super::effect::{DesiredState, EffectKey, Place};
use super::entry::{Broken, Entry};
use super::event::Event;
use super::reading::{Answer, Reading};
use super::signal::Request;
use super::state::{
    ApprovalState, ClaimWait, GateState, Hold, Judged, Life, NodeState, Order, Owner, Pause, Question, RegionLife,
    RegionState, Rollback, Run, Standing, Stuck,
};
use super::verdict::Judgement;

impl Run {
    /// One fact becomes part of the run.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Submitted { by, at, .. } => {
                self.state.starter = Some(by.clone());
                self.state.submitted_at = Some(*at);
            }
            Event::Claimed { .. } | Event::ClaimBusy { .. } | Event::ClaimRefused { .. } | Event::Released => {
                self.apply_claim(event);
            }
            Event::Owned { owner, epoch, .. } => {
                self.state.owner = Some(Owner {
                    name: owner.clone(),
                    epoch: *epoch,
                });
            }
            Event::ClockJumped { from, to } => self.clock_jumped(*from, *to),
            Event::Finished { ending, cause, at } => {
                self.state.standing = Standing::Finished {
                    ending: *ending,
                    cause: cause.clone(),
                    at: *at,
                };
            }
            Event::AttentionNeeded { reason, action, at } => {
                let (reason, action) = (reason.clone(), action.clone());
                self.state.standing = Standing::Attention {
                    reason,
                    action,
                    since: *at,
                };
            }
            Event::SignalTaken { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::Retried { .. }
            | Event::RegionRushed { .. } => self.apply_signal(event),
            Event::NodeStarted { .. }
            | Event::Converged { .. }
            | Event::Diverged { .. }
            | Event::BakeEnded { .. }
            | Event::NodePassed { .. }
            | Event::NodeSkipped { .. }
            | Event::NodeTolerated { .. }
            | Event::NodeFailed { .. }
            | Event::Held { .. }
            | Event::Recovered { .. }
            | Event::Asked { .. }
            | Event::Answered { .. } => self.apply_to_node(event),
            Event::GateRead { .. }
            | Event::ApprovalAsked { .. }
            | Event::Approved { .. }
            | Event::Rejected { .. }
            | Event::GateJudged { .. }
            | Event::GateSkipped { .. } => self.apply_to_gate(event),
            Event::RegionObserved { .. }
            | Event::Ordered { .. }
            | Event::OrderMoving { .. }
            | Event::OrderStuck { .. }
            | Event::OrderSettled { .. }
            | Event::EffectFailed { .. } => self.apply_to_region(event),
            Event::RollbackDecided { .. }
            | Event::RegionReverted { .. }
            | Event::RegionWithdrawn { .. }
            | Event::RollbackOverdue { .. } => self.apply_rollback(event),
        }
    }

    /// Folds one entry in.
    ///
    /// *Errors*: it does not follow from the entry before it; then the run is as before.
    pub fn record(&mut self, entry: &Entry) -> Result<(), Broken> {
        if entry.seq != self.state.seq + 1 {
            return Err(Broken::Gap {
                expected: self.state.seq + 1,
                found: entry.seq,
            });
        }
        if entry.prev != self.state.head {
            return Err(Broken::Chain { seq: entry.seq });
        }
        if entry.at < self.state.at {
            return Err(Broken::Backwards { seq: entry.seq });
        }
        self.state.seq = entry.seq;
        self.state.at = entry.at;
        self.state.head = entry.hash;
        for event in &entry.events {
            self.apply(event);
        }
        Ok(())
    }

    /// Decides, seals and folds: one step of a run, the same for every shell. None when nothing has become true.
    /// The caller must make the bytes durable before it acts on what the run wants next.
    ///
    /// *Errors*: a signal that does not fit.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Result<Option<(Entry, Vec<u8>)>, Refusal> {
        let now = now.max(self.state.at);
        let cause = input.cause();
        let events = decide(self, input, now)?;
        if events.is_empty() {
            return Ok(None);
        }
        let (entry, bytes) = Entry::seal(self.state.seq + 1, now, cause, events, self.state.head);
        self.record(&entry)
            .expect("an entry that was sealed on this run's head follows from it");
        Ok(Some((entry, bytes)))
    }
}

impl Run {
    fn apply_claim(&mut self, event: &Event) {
        let claim = &mut self.state.claim;
        match event {
            Event::Claimed { claim: number, .. } => {
                claim.number = Some(*number);
                claim.last = Some(*number);
                claim.waits = None;
                claim.again_at = None;
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
                claim.wanted_for = None;
                claim.round += 1;
            }
            Event::Released => {
                claim.number = None;
                claim.again_at = None;
                claim.round += 1;
            }
            _ => {}
        }
    }

    fn apply_signal(&mut self, event: &Event) {
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

    fn paused(&mut self, freeze_bake: bool, at: Timestamp) {
        self.state.pause = Some(Pause { freeze_bake, since: at });
        for id in self.state.frontier.clone() {
            if freeze_bake {
                self.bake_stopped(id, at);
            }
            self.each_countdown(id, |countdown| countdown.stop(at));
        }
    }

    fn resumed(&mut self, at: Timestamp) {
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

    fn each_countdown(&mut self, id: NodeId, mut change: impl FnMut(&mut Countdown)) {
        let node = self.node_mut(id);
        node.deadline.iter_mut().for_each(&mut change);
        let expiries = node
            .gates
            .iter_mut()
            .filter_map(|slot| slot.approval.as_mut()?.expiry.as_mut());
        expiries.for_each(change);
    }

    fn reopened(&mut self, nodes: &[NodeId], regions: &[RegionId]) {
        for id in nodes {
            let attempt = self.node(*id).attempt + 1;
            *self.node_mut(*id) = NodeState::fresh(&self.plan, *id, attempt);
        }
        for region in regions {
            *self.region_mut(*region) = RegionState::untouched();
        }
        self.state.rollback = None;
        self.state.standing = Standing::Running;
        let plan = self.plan.clone();
        for id in plan.ids() {
            let waits_for = plan
                .parents(id)
                .filter(|parent| !self.node(*parent).life.is_passed())
                .count();
            let node = self.node_mut(id);
            node.waits_for = u32::try_from(waits_for).unwrap_or(u32::MAX);
            if waits_for == 0 && !node.life.is_over() {
                self.state.frontier.insert(id);
            } else {
                self.state.frontier.remove(&id);
            }
        }
    }

    fn apply_to_node(&mut self, event: &Event) {
        match event {
            Event::NodeStarted { node, at } => self.started(*node, *at),
            Event::Converged { node, at } => self.converged(*node, *at),
            Event::Diverged { node, why, at } => {
                self.bake_stopped(*node, *at);
                let deadline = self.plan.node(*node).deadline;
                let state = self.node_mut(*node);
                state.life = Life::Moving;
                state.since = Some(*at);
                state.why = Some(why.clone());
                state.deadline = Some(Countdown::started(deadline, *at));
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
            }
            Event::Answered { node, at, .. } => {
                let state = self.node_mut(*node);
                if let Some(Question { gate: Some(gate), .. }) = state.question.take() {
                    let slots = state.gates.iter_mut().filter(|slot| slot.gate == gate);
                    slots.for_each(|slot| slot.is_excused = true);
                }
                self.bake_resumed(*node, *at);
            }
            _ => {}
        }
    }

    fn started(&mut self, id: NodeId, at: Timestamp) {
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

    fn converged(&mut self, id: NodeId, at: Timestamp) {
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

    fn ended(&mut self, id: NodeId, life: Life, at: Timestamp) {
        let plan = self.plan.clone();
        let was_passed = self.node(id).life.is_passed();
        let node = self.node_mut(id);
        node.life = life;
        node.since = Some(at);
        node.deadline = None;
        node.bake.stop();
        self.state.frontier.remove(&id);
        if life.is_passed() && !was_passed {
            for child in plan.children(id) {
                let child_state = self.node_mut(child);
                child_state.waits_for = child_state.waits_for.saturating_sub(1);
                if child_state.waits_for == 0 && child_state.life == Life::Waiting {
                    self.state.frontier.insert(child);
                }
            }
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

    /// The bake stands still from `at` on; what had been vouched for until then is kept.
    fn bake_stopped(&mut self, id: NodeId, at: Timestamp) {
        let is_watched = self.watch(id).next().is_some();
        let bake = &mut self.node_mut(id).bake;
        if let (false, Some(counted_to)) = (is_watched, bake.counted_to) {
            bake.count(counted_to, at);
        }
        bake.stop();
    }

    fn bake_resumed(&mut self, id: NodeId, at: Timestamp) {
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

    fn clock_jumped(&mut self, from: Timestamp, to: Timestamp) {
        for id in self.state.frontier.clone() {
            if self.node(id).bake.is_running() {
                self.bake_stopped(id, from);
                let node = self.node_mut(id);
                node.bake.start(to);
                node.vouch_anew(to);
            }
        }
    }

    /// Watch gates of a node that can act on it now: not skipped, not dry-run, not left out at a full share.
    pub fn watch(&self, id: NodeId) -> impl Iterator<Item = &GateState> {
        self.node(id).gates_at(Place::Watch).filter(move |slot| {
            let gate = self.plan.gate(slot.gate).1;
            !slot.is_skipped && !gate.dry_run && !self.is_left_out(id, slot.gate)
        })
    }

    /// Whether the gate compares with a concurrent baseline only, and none serves beside this node's share.
    pub fn is_left_out(&self, id: NodeId, gate: GateId) -> bool {
        use meridian_workflows::workflow::GateKind;
        let concurrent_only = match &self.plan.gate(gate).1.kind {
            GateKind::Metric(metric) => metric.concurrent_only,
            GateKind::Approval(_) | GateKind::Window(_) | GateKind::Http(_) | GateKind::Command(_) => false,
            GateKind::NotYet { .. } => false,
        };
        concurrent_only
            && self
                .plan
                .node(id)
                .region
                .is_some_and(|region| self.region(region).ordered_share().is_full())
    }

    fn apply_to_gate(&mut self, event: &Event) {
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
            Event::GateSkipped { node, place, gate, .. } => {
                if let Some(slot) = self.node_mut(*node).gate_mut(*place, *gate) {
                    slot.is_skipped = true;
                }
            }
            _ => {}
        }
    }

    fn gate_read(
        &mut self,
        id: NodeId,
        place: Place,
        gate: GateId,
        reading: &Reading,
        judgement: &Judgement,
        at: Timestamp,
    ) {
        let plan = self.plan.clone();
        if let (
            Some(region),
            Answer::Metric {
                baseline: Some(sample), ..
            },
        ) = (plan.node(id).region, &reading.answer)
        {
            let region = self.region_mut(region);
            if sample.value.is_some_and(f64::is_finite) && region.share < Share::FULL {
                region.frozen.retain(|(of, _)| *of != gate);
                region.frozen.push((gate, sample.clone()));
            }
        }
        let every = plan.gate(gate).1.every;
        let node = self.node_mut(id);
        if place == Place::Epilogue && node.gate(place, gate).is_none() {
            node.gates.push(GateState::fresh(place, gate));
        }
        let Some(slot) = node.gate_mut(place, gate) else { return };
        slot.judged(judgement, Some(reading), at);
        if place == Place::Watch {
            let chain = slot.vouched.take();
            slot.vouched = judgement
                .lets_bake_count()
                .then(|| Vouched::extended(chain, at, super::state::gap_max(every)));
            self.count_vouched(id);
        }
    }

    /// Counts the stretch that every acting watch gate has vouched for.
    fn count_vouched(&mut self, id: NodeId) {
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

    fn apply_to_region(&mut self, event: &Event) {
        match event {
            Event::RegionObserved {
                region,
                baseline,
                candidate,
                ..
            } => {
                self.state.looks += 1;
                let region = self.region_mut(*region);
                region.baseline = Some(baseline.clone());
                region.candidate = Some(candidate.clone());
                region.look_again_at = None;
                region.look_failures = 0;
            }
            Event::Ordered {
                region,
                node,
                state,
                at,
            } => self.ordered(*region, *node, state, *at),
            Event::OrderMoving {
                region, why, again_at, ..
            } => {
                if let Some(order) = &mut self.region_mut(*region).order {
                    order.settled_at = None;
                    order.why = why.clone();
                    order.stuck = None;
                    order.ask_at = Some(*again_at);
                    order.succeeded();
                }
            }
            Event::OrderStuck {
                region,
                why,
                at,
                again_at,
            } => {
                if let Some(order) = &mut self.region_mut(*region).order {
                    let since = order.stuck.take().map_or(*at, |stuck| stuck.since);
                    order.settled_at = None;
                    order.stuck = Some(Stuck {
                        why: why.clone(),
                        since,
                    });
                    order.why = Some(why.clone());
                    order.ask_at = Some(*again_at);
                    order.succeeded();
                }
            }
            Event::OrderSettled { region, at, check_at } => {
                let region = self.region_mut(*region);
                if let Some(order) = &mut region.order {
                    if order.settled_at.is_none() && region.share != order.state.share() {
                        region.shifted_at = Some(*at);
                    }
                    region.share = order.state.share();
                    order.settled_at.get_or_insert(*at);
                    order.stuck = None;
                    order.why = None;
                    order.ask_at = *check_at;
                    order.succeeded();
                }
            }
            Event::EffectFailed {
                key,
                error,
                lasting,
                at,
                again_at,
            } => {
                self.effect_failed(*key, error, *lasting, *at, *again_at);
            }
            _ => {}
        }
    }

    fn ordered(&mut self, region: RegionId, node: Option<NodeId>, state: &DesiredState, at: Timestamp) {
        self.state.orders += 1;
        let intent = self.state.orders;
        let is_promotion = *state == DesiredState::Promoted;
        let of = self.region_mut(region);
        if of.ordered_share() != state.share() || of.shifted_at.is_none() {
            of.shifted_at = Some(at);
        }
        of.life = match state {
            DesiredState::Serving(_) | DesiredState::Promoted => RegionLife::Open,
            DesiredState::Reverted => RegionLife::Reverting,
            DesiredState::Withdrawn => RegionLife::Withdrawing,
        };
        of.order = Some(Order {
            intent,
            node,
            state: state.clone(),
            ordered_at: at,
            settled_at: None,
            ask_at: Some(at),
            stuck: None,
            why: None,
            failures: 0,
            failing_since: None,
            is_failing_for_good: false,
        });
        if let (true, Some(node)) = (is_promotion, node) {
            let deadline = self.plan.node(node).deadline;
            let closing = self.node_mut(node);
            closing.life = Life::Closing;
            closing.since = Some(at);
            closing.deadline = Some(Countdown::started(deadline, at));
        }
    }

    fn effect_failed(&mut self, key: EffectKey, error: &str, lasting: bool, at: Timestamp, again_at: Timestamp) {
        match key {
            EffectKey::Claim { .. } | EffectKey::Release { .. } => self.state.claim.again_at = Some(again_at),
            EffectKey::Observe { region, .. } => {
                self.state.looks += 1;
                let region = self.region_mut(region);
                region.look_failures += 1;
                region.look_again_at = Some(again_at);
            }
            EffectKey::Ensure { region, .. } => {
                if let Some(order) = &mut self.region_mut(region).order {
                    order.failures += 1;
                    order.failing_since.get_or_insert(at);
                    order.is_failing_for_good = lasting;
                    order.why = Some(error.to_owned());
                    order.ask_at = Some(again_at);
                }
            }
            // A reading that fails is recorded as a reading.
            EffectKey::Read { .. } => {}
        }
    }

    fn apply_rollback(&mut self, event: &Event) {
        match event {
            Event::RollbackDecided {
                scope,
                tolerated,
                node,
                regions,
                cause,
                at,
                deadline,
            } => {
                self.state.rollback = Some(Rollback {
                    scope: *scope,
                    node: *node,
                    regions: regions.clone(),
                    cause: cause.clone(),
                    decided_at: *at,
                    deadline: *deadline,
                    is_overdue: false,
                    is_tolerated: *tolerated,
                });
                if !tolerated {
                    self.state.standing = Standing::RollingBack;
                }
                if *scope != Scope::Stage {
                    regions.iter().for_each(|region| self.left(*region, *at));
                }
            }
            Event::RegionReverted { region, drained_at, .. } => {
                self.state.looks += 1;
                let region = self.region_mut(*region);
                region.life = RegionLife::Withdrawing;
                region.share = Share::ZERO;
                region.drained_at = Some(*drained_at);
                region.look_again_at = None;
                region.look_failures = 0;
            }
            Event::RegionWithdrawn { region, .. } => {
                let region = self.region_mut(*region);
                region.life = RegionLife::RolledBack;
                region.order.iter_mut().for_each(|order| order.ask_at = None);
            }
            Event::RollbackOverdue { .. } => {
                if let Some(rollback) = &mut self.state.rollback {
                    rollback.is_overdue = true;
                }
            }
            _ => {}
        }
    }

    /// A region leaves the way forward: what it had reached counts no more.
    fn left(&mut self, region: RegionId, at: Timestamp) {
        let plan = self.plan.clone();
        self.region_mut(region).watched = None;
        for (id, node) in plan.nodes().filter(|(_, node)| node.region == Some(region)) {
            self.state.frontier.remove(&id);
            self.state.active[node.phase.0 as usize].remove(&region);
            let state = self.node_mut(id);
            state.hold = None;
            state.question = None;
            state.deadline = None;
            state.bake.stop();
            if state.life.is_under_way() || state.life == Life::Passed {
                state.life = Life::RolledBack;
                state.since = Some(at);
            }
        }
    }
}

impl NodeState {
    pub(in crate::run) fn gate_mut(&mut self, place: Place, gate: GateId) -> Option<&mut GateState> {
        self.gates
            .iter_mut()
            .find(|slot| slot.place == place && slot.gate == gate)
    }

    fn approvals_of(&mut self, gate: GateId) -> impl Iterator<Item = &mut ApprovalState> {
        self.gates
            .iter_mut()
            .filter(move |slot| slot.gate == gate)
            .filter_map(|slot| slot.approval.as_mut())
    }

    /// The bake begins or goes on: a watch gate that is not breached vouches from here on.
    fn vouch_anew(&mut self, at: Timestamp) {
        for slot in self.gates.iter_mut().filter(|slot| slot.place == Place::Watch) {
            let is_fine = slot
                .last
                .as_ref()
                .is_none_or(|judged| judged.judgement.lets_bake_count());
            slot.vouched = is_fine.then_some(Vouched { since: at, until: at });
        }
    }
}

impl GateState {
    fn judged(&mut self, judgement: &Judgement, reading: Option<&Reading>, at: Timestamp) {
        self.round += 1;
        let severity = judgement.policy().map_or(0, super::gates::severity);
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

impl Order {
    fn succeeded(&mut self) {
        self.failures = 0;
        self.failing_since = None;
        self.is_failing_for_good = false;
    }
}
