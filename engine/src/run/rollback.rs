//! The way back: decided once, traffic first in every region in scope at once, read back, drained, cleaned up.

use meridian_workflows::plan::{NodeId, NodeKind, PhaseId, RegionId};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{Exposure, GateKind, Scope};

use super::decide::Draft;
use super::effect::{DesiredState, Place};
use super::event::{Ending, Event};
use super::gates::EPILOGUE_MAX;
use super::mutant::{Mutant, is_on};
use super::state::{Life, RegionLife, Run, Standing};

/// A node failed: tolerated within its phase, else the workflow's scope.
pub(in crate::run) fn failed(draft: &mut Draft<'_>, node: NodeId, cause: String) {
    if !draft.run.node(node).life.is_over() || draft.run.node(node).life == Life::Passed {
        draft.push(Event::NodeFailed {
            node,
            why: cause.clone(),
            at: draft.now,
        });
    }
    let of = draft.run.plan.node(node).clone();
    if let Some(region) = of.region
        && is_tolerated(&draft.run, of.phase, region)
    {
        decided(draft, Scope::Region, true, Some(node), vec![region], cause);
        tolerated(draft, region);
        return;
    }
    let scope = draft.run.plan.workflow().rollback.scope;
    let regions = match (scope, of.region) {
        (Scope::Stage | Scope::Region, Some(region)) => vec![region],
        // A barrier fails before anything of its phase is open.
        (Scope::Stage | Scope::Region, None) => Vec::new(),
        (Scope::Phase, _) => regions_of(&draft.run, of.phase),
        (Scope::Run, _) => draft.run.plan.region_ids().collect(),
    };
    decided(draft, scope, false, Some(node), regions, cause);
}

/// A person (or a later run) wants the whole run back, or what is under way, as the policy says.
pub(in crate::run) fn asked_for(draft: &mut Draft<'_>, scope: Scope, cause: String) {
    let under_way = |region: &RegionId| draft.run.region(*region).life == RegionLife::Open;
    let all = draft.run.plan.region_ids();
    let regions = match scope {
        Scope::Run => all.collect(),
        Scope::Phase => {
            let phases: Vec<PhaseId> = (0..).map(PhaseId).take(draft.run.state.active.len()).collect();
            let active = phases.into_iter().filter(|phase| draft.run.active_regions(*phase) > 0);
            active.flat_map(|phase| regions_of(&draft.run, phase)).collect()
        }
        Scope::Stage | Scope::Region => all.filter(under_way).collect(),
    };
    let scope = if scope == Scope::Stage { Scope::Region } else { scope };
    decided(draft, scope, false, None, regions, cause);
}

fn regions_of(run: &Run, phase: PhaseId) -> Vec<RegionId> {
    let names = &run.plan.phase(phase).regions;
    names.iter().filter_map(|name| run.plan.find_region(name)).collect()
}

fn is_tolerated(run: &Run, phase: PhaseId, failing: RegionId) -> bool {
    let has_failed = |region: &RegionId| {
        *region != failing
            && matches!(
                run.region(*region).life,
                RegionLife::Reverting | RegionLife::Withdrawing | RegionLife::RolledBack
            )
    };
    let failures = regions_of(run, phase)
        .iter()
        .filter(|region| has_failed(region))
        .count();
    let one_more = usize::from(is_on(Mutant::ToleratesOneMore));
    failures < run.plan.phase(phase).max_failures as usize + one_more
}

/// Everything that waits for this region goes on without it.
fn tolerated(draft: &mut Draft<'_>, region: RegionId) {
    let plan = draft.run.plan.clone();
    let nodes: Vec<(NodeId, bool)> = plan
        .nodes()
        .filter(|(id, node)| {
            let (life, is_close) = (draft.run.node(*id).life, matches!(node.kind, NodeKind::Close { .. }));
            // What waits for the region waits for its closings; the rest of it only has to stop waiting.
            node.region == Some(region)
                && if is_close {
                    !life.is_passed()
                } else {
                    life == Life::Waiting
                }
        })
        .map(|(id, node)| (id, matches!(node.kind, NodeKind::Close { .. })))
        .collect();
    for (node, is_close) in nodes {
        draft.push(if is_close {
            Event::NodeTolerated { node, at: draft.now }
        } else {
            Event::NodeSkipped {
                node,
                why: "the region failed within its phase's tolerance".to_owned(),
                at: draft.now,
            }
        });
    }
}

fn decided(
    draft: &mut Draft<'_>,
    scope: Scope,
    tolerated: bool,
    node: Option<NodeId>,
    mut regions: Vec<RegionId>,
    cause: String,
) {
    regions.retain(|region| is_touched(&draft.run, *region));
    if is_on(Mutant::ForgetsRegion) && regions.len() > 1 {
        regions.pop();
    }
    let deadline = draft.run.plan.workflow().rollback.deadline.after(draft.now);
    draft.push(Event::RollbackDecided {
        scope,
        tolerated,
        node,
        regions: regions.clone(),
        cause,
        at: draft.now,
        deadline,
    });
    // Traffic first, everywhere at once; reports and clean-up come after.
    for region in regions {
        match (scope, draft.run.region(region).baseline.is_some()) {
            (Scope::Stage, true) => {
                let share = node.map_or(Share::ZERO, |node| passed_share(&draft.run, node));
                let share = if is_on(Mutant::RaisesAfterRollback) {
                    Share::FULL
                } else {
                    share
                };
                let state = DesiredState::Serving(Exposure::Traffic(share));
                draft.push(Event::Ordered {
                    region,
                    node: None,
                    state,
                    at: draft.now,
                });
            }
            (Scope::Region | Scope::Phase | Scope::Run, true) => {
                draft.push(Event::Ordered {
                    region,
                    node: None,
                    state: DesiredState::Reverted,
                    at: draft.now,
                });
            }
            // It was never observed, so nothing was ever ordered there.
            (_, false) => draft.push(Event::RegionWithdrawn { region, at: draft.now }),
        }
    }
}

/// Opened by this run, and not on its way back. A region that served the candidate already was never ordered.
fn is_touched(run: &Run, region: RegionId) -> bool {
    let state = run.region(region);
    matches!(state.life, RegionLife::Open | RegionLife::Promoted) && (state.order.is_some() || state.baseline.is_none())
}

/// The share that the region had passed before this node.
fn passed_share(run: &Run, failed: NodeId) -> Share {
    let region = run.plan.node(failed).region;
    let passed = run
        .plan
        .nodes()
        .filter(|(id, node)| node.region == region && run.node(*id).life == Life::Passed);
    passed
        .filter_map(|(_, node)| node.traffic())
        .max()
        .unwrap_or(Share::ZERO)
}

/// A newer order than ours has been applied: the target is somebody else's.
pub(in crate::run) fn disowned(draft: &mut Draft<'_>, region: RegionId, why: &str) {
    if matches!(draft.run.state.standing, Standing::Running | Standing::RollingBack) {
        let name = draft.run.plan.region(region).0.to_owned();
        draft.push(Event::AttentionNeeded {
            reason: format!("region {name} has taken a newer order than this run's: {why}"),
            action: "find out who drives the region, then `retry` or `rollback`".to_owned(),
            at: draft.now,
        });
    }
}

/// One step of the rollbacks under way. True when something has changed.
pub(in crate::run) fn advance(draft: &mut Draft<'_>) -> bool {
    let now = draft.now;
    for region in draft.run.plan.region_ids() {
        let state = draft.run.region(region);
        let order = state.order.as_ref();
        let is_settled = order.is_some_and(|order| order.settled_at.is_some());
        let is_withdrawn = order.is_some_and(|order| order.state == DesiredState::Withdrawn);
        if state.life != RegionLife::Withdrawing {
            continue;
        }
        if !is_withdrawn && state.drained_at.is_none_or(|at| at <= now) {
            draft.push(Event::Ordered {
                region,
                node: None,
                state: DesiredState::Withdrawn,
                at: now,
            });
            return true;
        }
        if is_withdrawn && is_settled {
            draft.push(Event::RegionWithdrawn { region, at: now });
            return true;
        }
    }
    overdue(draft) || ended(draft)
}

fn overdue(draft: &mut Draft<'_>) -> bool {
    let Some(rollback) = &draft.run.state.rollback else {
        return false;
    };
    if rollback.is_overdue || rollback.deadline > draft.now {
        return false;
    }
    // Those that an earlier, tolerated failure had sent back are on their way still.
    let is_late = |region: &RegionId| draft.run.region(*region).life == RegionLife::Reverting;
    let late: Vec<RegionId> = draft.run.plan.region_ids().filter(is_late).collect();
    if late.is_empty() {
        return false;
    }
    draft.push(Event::RollbackOverdue {
        regions: late,
        at: draft.now,
    });
    true
}

/// All regions in scope are back and clean: the run ends, or stands where a person must look.
fn ended(draft: &mut Draft<'_>) -> bool {
    let run = &draft.run;
    let Some(rollback) = &run.state.rollback else {
        return false;
    };
    if run.state.standing != Standing::RollingBack {
        return false;
    }
    let is_back = |region: &RegionId| match rollback.scope {
        // A region that was never observed has no order to wait for.
        Scope::Stage => {
            let state = run.region(*region);
            let is_settled = state.order.as_ref().is_some_and(|order| order.settled_at.is_some());
            is_settled || state.life == RegionLife::RolledBack
        }
        Scope::Region | Scope::Phase | Scope::Run => run.region(*region).life == RegionLife::RolledBack,
    };
    let is_on_its_way =
        |region: RegionId| matches!(run.region(region).life, RegionLife::Reverting | RegionLife::Withdrawing);
    if run.plan.region_ids().any(is_on_its_way) {
        return false;
    }
    if !rollback.regions.iter().all(is_back) || !epilogue_due(run, draft.now).is_empty() {
        return false;
    }
    let standing: Vec<&str> = run
        .plan
        .region_ids()
        .filter(|region| is_touched(run, *region))
        .map(|region| run.plan.region(region).0)
        .collect();
    let cause = rollback.cause.clone();
    draft.push(if standing.is_empty() {
        Event::Finished {
            ending: Ending::RolledBack,
            cause,
            at: draft.now,
        }
    } else {
        Event::AttentionNeeded {
            reason: format!("{cause}; still with the candidate: {}", standing.join(", ")),
            action: "`retry` to go on after a fix, or `rollback` to take every region back".to_owned(),
            at: draft.now,
        }
    });
    true
}

/// Watch gates of the node that failed that are still to be read for the report, once its traffic is back.
pub(in crate::run) fn epilogue_due(run: &Run, now: jiff::Timestamp) -> Vec<(NodeId, meridian_workflows::plan::GateId)> {
    let Some(rollback) = &run.state.rollback else {
        return Vec::new();
    };
    let (Some(node), Standing::RollingBack) = (rollback.node, &run.state.standing) else {
        return Vec::new();
    };
    let is_reverted = |region: &RegionId| {
        matches!(
            run.region(*region).life,
            RegionLife::Withdrawing | RegionLife::RolledBack
        )
    };
    let is_too_late = EPILOGUE_MAX.after(rollback.deadline) <= now;
    let region = run.plan.node(node).region;
    if is_too_late || rollback.scope == Scope::Stage || !region.is_some_and(|region| is_reverted(&region)) {
        return Vec::new();
    }
    let watch = run.plan.node(node).watch.iter();
    watch
        .filter(|gate| !run.plan.gate(**gate).1.kind.is_judged_in_the_core())
        .filter(|gate| run.node(node).gate(Place::Epilogue, **gate).is_none())
        // A comparison needs two arms, and one is left.
        .filter(|gate| !matches!(run.plan.gate(**gate).1.kind, GateKind::Compare(_)))
        .map(|gate| (node, *gate))
        .collect()
}
