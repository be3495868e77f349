//! Folding what concerns one region: its orders, and its way back.

use jiff::Timestamp;
use meridian_workflows::plan::{NodeId, RegionId};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Scope;

use crate::run::bake::Countdown;
use crate::run::effect::{DesiredState, EffectKey};
use crate::run::event::Event;
use crate::run::state::{Life, Order, RegionLife, Resolved, Rollback, Run, Standing, Stuck};

impl Run {
    pub(super) fn apply_to_region(&mut self, event: &Event) {
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
                region.resolved = None;
                region.look_again_at = None;
                region.look_failures = 0;
            }
            Event::RegionResolved { region, digest, .. } => {
                self.state.looks += 1;
                let region = self.region_mut(*region);
                region.resolved = Some(Resolved {
                    digest: digest.clone(),
                    is_accepted: false,
                });
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
                region,
                why,
                at,
                again_at,
            } => {
                self.looked_again(*region, *at);
                if let Some(order) = &mut self.region_mut(*region).order {
                    order.settled_at = None;
                    order.why = why.clone();
                    order.stuck = None;
                    order.ask_at = Some(*again_at);
                    order.succeeded();
                }
            }
            Event::OrderWaiting {
                region,
                why,
                at,
                again_at,
            } => self.waiting(*region, why, *at, *again_at),
            Event::OrderStuck {
                region,
                why,
                at,
                again_at,
            } => {
                let was_unseen = self.looked_again(*region, *at);
                if let Some(order) = &mut self.region_mut(*region).order {
                    let known = order.stuck.take().filter(|_| !was_unseen);
                    let since = known.map_or(*at, |stuck| stuck.since);
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

    fn waiting(&mut self, region: RegionId, why: &str, at: Timestamp, again_at: Timestamp) {
        let Some(order) = &mut self.region_mut(region).order else {
            return;
        };
        order.settled_at = None;
        order.why = Some(why.to_owned());
        order.stuck = None;
        order.ask_at = Some(again_at);
        order.succeeded();
        let running = order.node.filter(|node| self.node(*node).deadline.is_some());
        if let Some(node) = running {
            self.deadline_from(node, at);
        }
    }

    pub(super) fn ordered(&mut self, region: RegionId, node: Option<NodeId>, state: &DesiredState, at: Timestamp) {
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

    pub(super) fn effect_failed(
        &mut self,
        key: EffectKey,
        error: &str,
        lasting: bool,
        at: Timestamp,
        again_at: Timestamp,
    ) {
        match key {
            EffectKey::Claim { .. } | EffectKey::Release { .. } => {
                self.state.claim.again_at = Some(again_at);
                self.state.claim.why = Some(error.to_owned());
            }
            EffectKey::Observe { region, .. } => {
                self.state.looks += 1;
                let region = self.region_mut(region);
                region.look_failures += 1;
                region.look_again_at = Some(again_at);
            }
            EffectKey::Ensure { region, .. } => {
                self.looked_again(region, at);
                if let Some(order) = &mut self.region_mut(region).order {
                    order.failures += 1;
                    order.failing_since.get_or_insert(at);
                    order.is_failing_for_good = lasting;
                    order.why = Some(error.to_owned());
                    order.ask_at = Some(again_at);
                }
            }
            EffectKey::Lock { .. } | EffectKey::Unlock { .. } => self.lock_failed(key, error, again_at),
            // A reading that fails is recorded as a reading.
            EffectKey::Read { .. } => {}
        }
    }

    pub(super) fn apply_rollback(&mut self, event: &Event) {
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
    pub(super) fn left(&mut self, region: RegionId, at: Timestamp) {
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

impl Order {
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.failing_since = None;
        self.is_failing_for_good = false;
    }
}
