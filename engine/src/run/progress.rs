//! The way forward: every node goes as far as parents, gates, time and people allow.

use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{NodeId, NodeKind, RegionId};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;

use super::decide::Draft;
use super::effect::{DesiredState, Place};
use super::event::{Ending, Event};
use super::mutant::{Mutant, is_on};
use super::state::{Life, RegionLife, Run, Standing};
use super::verdict::Verdict;
use super::{locks, rollback};

/// What a platform calls stuck must last this long before it counts: crash loops and pulls recover now and then.
pub(in crate::run) const STUCK_GRACE: Duration = Duration::from_secs(30);

/// A hold that is not a gate's (evidence that does not come) lasts at most this long.
const HOLD_MAX: Duration = Duration::from_secs(24 * 3600);

/// More steps than any single instant can need; a bug must not spin.
const STEPS_MAX: usize = 1_000_000;

/// Takes every step that has become possible.
pub(in crate::run) fn settle(draft: &mut Draft<'_>) {
    for _ in 0..STEPS_MAX {
        if !step(draft) {
            return;
        }
    }
}

fn step(draft: &mut Draft<'_>) -> bool {
    match draft.run.state.standing {
        Standing::Submitted | Standing::Finished { .. } => false,
        Standing::RollingBack => rollback::advance(draft) || locks::advance(draft),
        Standing::Running => {
            rollback::advance(draft)
                || verdicts(draft)
                || locks::advance(draft)
                || forward(draft)
                || held_too_long(draft)
                || completed(draft)
        }
        // What is under way is still watched: a breach rolls back however long a person takes.
        Standing::Attention { .. } => rollback::advance(draft) || verdicts(draft) || locks::advance(draft),
    }
}

impl Run {
    /// Parents passed, and for an opening: a place among the phase's regions at once.
    pub(in crate::run) fn may_begin(&self, id: NodeId) -> bool {
        let node = self.plan.node(id);
        if !self.state.frontier.contains(&id) || self.state.standing != Standing::Running {
            return false;
        }
        match node.kind {
            NodeKind::Open { .. } => {
                let one_more = usize::from(is_on(Mutant::IgnoresMaxParallel));
                self.active_regions(node.phase) < self.plan.phase(node.phase).max_parallel as usize + one_more
            }
            NodeKind::Phase | NodeKind::Stage { .. } | NodeKind::Close { .. } => true,
        }
    }

    /// The node whose hold or question stops this region's advance.
    fn stopped_by(&self, region: RegionId) -> Option<NodeId> {
        let is_stopped = |id: &NodeId| self.node(*id).hold.is_some() || self.node(*id).question.is_some();
        self.region(region).watched.filter(is_stopped)
    }
}

/// What the gates in force ask for: the worst acts first. True when something has changed.
fn verdicts(draft: &mut Draft<'_>) -> bool {
    let is_attention = matches!(draft.run.state.standing, Standing::Attention { .. });
    for id in nodes_judged(&draft.run) {
        let node = draft.run.node(id);
        let acting = draft.run.worst(id);
        let verdict = acting.as_ref().map_or(Verdict::Advance, |acting| acting.verdict);
        if verdict == Verdict::RollBack
            && let Some(acting) = acting
        {
            let gate = draft.run.plan.gate(acting.gate).0.to_owned();
            rollback::failed(draft, id, format!("gate/{gate}: {}", acting.because));
            return true;
        }
        if is_attention {
            continue;
        }
        let now = draft.now;
        match (verdict, acting) {
            (Verdict::Ask, Some(acting)) if node.question.is_none() => {
                draft.push(Event::Asked {
                    node: id,
                    gate: Some(acting.gate),
                    why: acting.because,
                    at: now,
                });
                return true;
            }
            (Verdict::Hold, Some(acting)) if node.hold.is_none() => {
                let until = draft.run.plan.gate(acting.gate).1.hold_for.after(now);
                draft.push(Event::Held {
                    node: id,
                    gate: Some(acting.gate),
                    why: acting.because,
                    at: now,
                    until,
                });
                return true;
            }
            (Verdict::Advance | Verdict::Ask, _) if is_on(Mutant::NeverRecovers) && node.hold.is_some() => {}
            (Verdict::Advance | Verdict::Ask, _) if node.hold.as_ref().is_some_and(|hold| hold.gate.is_some()) => {
                draft.push(Event::Recovered { node: id, at: now });
                return true;
            }
            _ => {}
        }
    }
    false
}

/// Nodes whose gates can act: those at work or about to begin, and the last one of each region.
fn nodes_judged(run: &Run) -> Vec<NodeId> {
    let watched = run.plan.region_ids().filter_map(|region| run.region(region).watched);
    let mut nodes: Vec<NodeId> = run.state.frontier.iter().copied().chain(watched).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// One step of one node. True when something has changed.
fn forward(draft: &mut Draft<'_>) -> bool {
    let frontier: Vec<NodeId> = draft.run.state.frontier.iter().copied().collect();
    frontier.into_iter().any(|id| match draft.run.node(id).life {
        Life::Waiting => waiting(draft, id),
        Life::Moving | Life::Closing => draft.judge_people_and_time(id, Place::Watch) || moving(draft, id),
        Life::Baking => draft.judge_people_and_time(id, Place::Watch) || baking(draft, id),
        Life::Judging => draft.judge_people_and_time(id, Place::Watch) || judging(draft, id),
        Life::Passed | Life::Skipped | Life::Tolerated | Life::Failed | Life::RolledBack => false,
    })
}

fn waiting(draft: &mut Draft<'_>, id: NodeId) -> bool {
    if !draft.run.may_begin(id) {
        return false;
    }
    if draft.judge_people_and_time(id, Place::Before) {
        return true;
    }
    let node = draft.run.plan.node(id).clone();
    let is_stopped = draft.run.node(id).hold.is_some()
        || draft.run.node(id).question.is_some()
        || node.region.is_some_and(|region| draft.run.stopped_by(region).is_some());
    let is_open = draft.run.is_open(id, Place::Before) || is_on(Mutant::SkipsGate);
    if draft.run.is_paused() || is_stopped || !is_open {
        return false;
    }
    if !draft.run.baselines_due(id).is_empty() {
        return false;
    }
    let at = draft.now;
    draft.push(match node.kind {
        NodeKind::Phase => Event::NodePassed { node: id, at },
        NodeKind::Open { .. } | NodeKind::Stage { .. } | NodeKind::Close { .. } => Event::NodeStarted { node: id, at },
    });
    true
}

fn moving(draft: &mut Draft<'_>, id: NodeId) -> bool {
    let node = draft.run.plan.node(id).clone();
    let Some(region) = node.region else { return false };
    let now = draft.now;
    if let Some(why) = given_up(&draft.run, id, region, now) {
        rollback::failed(draft, id, why);
        return true;
    }
    let order = draft.run.region(region).order.as_ref();
    let is_ours = order.is_some_and(|order| order.node == Some(id));
    let is_settled = order.is_some_and(|order| order.settled_at.is_some());
    match node.kind {
        NodeKind::Phase => false,
        NodeKind::Open { first: true } => match (is_ours, is_settled) {
            (true, true) => opened(draft, id, region),
            (true, false) => false,
            (false, _) => opening(draft, id, region),
        },
        // The share still stands from the region's phase before.
        NodeKind::Open { first: false } => is_settled && passed(draft, id),
        NodeKind::Stage { exposure, .. } => match (is_ours, is_settled) {
            (true, true) => {
                draft.push(Event::Converged { node: id, at: now });
                true
            }
            (true, false) => false,
            (false, _) => ordered(draft, id, region, DesiredState::Serving(exposure)),
        },
        NodeKind::Close { .. } if draft.run.node(id).life == Life::Closing => {
            is_ours && is_settled && passed(draft, id)
        }
        NodeKind::Close { .. } => {
            if is_settled {
                draft.push(Event::Converged { node: id, at: now });
            }
            is_settled
        }
    }
}

/// Why a node that moves will not get there.
fn given_up(run: &Run, id: NodeId, region: RegionId, now: jiff::Timestamp) -> Option<String> {
    let key = &run.plan.node(id).key;
    let order = run.region(region).order.as_ref();
    let why = order
        .and_then(|order| order.why.clone())
        .map(|why| format!(" ({why})"))
        .unwrap_or_default();
    // What has arrived is there, however long it took to hear of it.
    let is_there = order.is_some_and(|order| order.node == Some(id) && order.settled_at.is_some());
    if is_there && !run.is_unresolved(region) {
        return None;
    }
    let is_unseen = run.is_unseen(region, now);
    if let Some(stuck) = order.and_then(|order| order.stuck.as_ref())
        && !is_unseen
        && STUCK_GRACE.after(stuck.since) <= now
    {
        return Some(format!("stuck/{key}: {}", stuck.why));
    }
    if order.is_some_and(|order| order.is_failing_for_good) {
        return Some(format!("refused/{key}: the platform refuses the order{why}"));
    }
    // An outage of the engine, or of the way to the platform, is not the platform's failure.
    let is_unreached = run.unreached_until(region).is_some_and(|until| until > now);
    let is_over = run.node(id).deadline.is_some_and(|deadline| deadline.is_over(now));
    (is_over && !is_unseen && !is_unreached)
        .then(|| format!("deadline/{key}: not there after {}{why}", run.plan.node(id).deadline))
}

fn opening(draft: &mut Draft<'_>, id: NodeId, region: RegionId) -> bool {
    let state = draft.run.region(region);
    let (Some(baseline), Some(candidate)) = (&state.baseline, &state.candidate) else {
        return false;
    };
    if baseline.is_same_as(candidate) && state.order.is_none() {
        let why = format!("the region already serves {candidate}");
        return already_there(draft, region, why);
    }
    ordered(draft, id, region, DesiredState::Serving(Exposure::Traffic(Share::ZERO)))
}

/// The candidate stands; it goes on once it is known to be what the other regions run, or a person has said yes to it.
fn opened(draft: &mut Draft<'_>, id: NodeId, region: RegionId) -> bool {
    if draft.run.is_unresolved(region) || draft.run.node(id).question.is_some() {
        return false;
    }
    match draft.run.disagreement(region) {
        Some(why) if !is_on(Mutant::IgnoresDigests) => {
            draft.push(Event::Asked {
                node: id,
                gate: None,
                why,
                at: draft.now,
            });
            true
        }
        Some(_) | None => passed(draft, id),
    }
}

/// Nothing to do in this region: its nodes are left out, with the reason.
fn already_there(draft: &mut Draft<'_>, region: RegionId, why: String) -> bool {
    let plan = draft.run.plan.clone();
    for (node, _) in plan.nodes().filter(|(_, node)| node.region == Some(region)) {
        if !draft.run.node(node).life.is_over() {
            draft.push(Event::NodeSkipped {
                node,
                why: why.clone(),
                at: draft.now,
            });
        }
    }
    true
}

fn ordered(draft: &mut Draft<'_>, id: NodeId, region: RegionId, state: DesiredState) -> bool {
    // Raising a share is an advance; taking it up again after a divergence is not.
    if draft.run.is_paused() && state.share() > draft.run.region(region).ordered_share() {
        return false;
    }
    draft.push(Event::Ordered {
        region,
        node: Some(id),
        state,
        at: draft.now,
    });
    true
}

fn passed(draft: &mut Draft<'_>, id: NodeId) -> bool {
    if draft.run.is_paused() && !is_on(Mutant::PassesInPause) {
        return false;
    }
    draft.push(Event::NodePassed {
        node: id,
        at: draft.now,
    });
    true
}

fn baking(draft: &mut Draft<'_>, id: NodeId) -> bool {
    let now = draft.now;
    let state = draft.run.node(id);
    let region = draft.run.plan.node(id).region;
    if let Some(order) = region.and_then(|region| draft.run.region(region).order.as_ref())
        && order.settled_at.is_none()
    {
        let why = order
            .why
            .clone()
            .unwrap_or_else(|| "the region is no longer as ordered".to_owned());
        draft.push(Event::Diverged { node: id, why, at: now });
        return true;
    }
    if state.question.is_some() || state.hold.as_ref().is_some_and(|hold| hold.gate.is_some()) {
        return false;
    }
    let is_watched = draft.run.watch(id).next().is_some();
    let counted = match (is_watched, state.bake.counted_to) {
        (false, Some(to)) => state.bake.counted.saturating_add(Duration::between(to, now)),
        (_, _) => state.bake.counted,
    };
    if counted < state.bake.need {
        return false;
    }
    if draft.run.is_open(id, Place::Watch) {
        draft.push(Event::BakeEnded { node: id, at: now });
        return true;
    }
    if state.hold.is_none() && evidence_late_at(&draft.run, id).is_none_or(|at| at <= now) {
        let why = format!(
            "the bake is over, the evidence is not there: {}",
            lacking(&draft.run, id, Place::Watch)
        );
        draft.push(Event::Held {
            node: id,
            gate: None,
            why,
            at: now,
            until: HOLD_MAX.after(now),
        });
        return true;
    }
    false
}

/// When the watch gates have had time for two readings since the bake could have ended: only from then on is waiting a hold.
pub(in crate::run) fn evidence_late_at(run: &Run, id: NodeId) -> Option<jiff::Timestamp> {
    let state = run.node(id);
    let gates = || run.watch(id).map(|slot| run.plan.gate(slot.gate).1);
    let slowest = gates()
        .map(|gate| gate.every.max(gate.initial_delay))
        .max()
        .unwrap_or_default();
    // The second reading may use its time.
    let answer = gates().map(|gate| gate.timeout).max().unwrap_or_default();
    let grace = state
        .bake
        .need
        .saturating_add(slowest.saturating_mul(2))
        .saturating_add(answer);
    state.since.map(|since| grace.after(since))
}

/// What the gates that are not open say, for people.
fn lacking(run: &Run, id: NodeId, place: Place) -> String {
    let closed = run.node(id).gates_at(place).filter(|slot| !slot.is_open());
    let sentence = |slot: &super::state::GateState| {
        let because = slot
            .last
            .as_ref()
            .map_or("not read yet", |last| last.judgement.because());
        format!("{} ({because})", run.plan.gate(slot.gate).0)
    };
    closed.map(sentence).collect::<Vec<_>>().join(", ")
}

fn judging(draft: &mut Draft<'_>, id: NodeId) -> bool {
    if draft.judge_people_and_time(id, Place::After) {
        return true;
    }
    let state = draft.run.node(id);
    let node = draft.run.plan.node(id).clone();
    let is_stopped = state.question.is_some() || state.hold.as_ref().is_some_and(|hold| hold.gate.is_some());
    let is_open = draft.run.is_open(id, Place::After) && draft.run.is_open(id, Place::Watch);
    if is_stopped || !is_open || draft.run.is_paused() {
        return false;
    }
    if state.hold.is_some() {
        draft.push(Event::Recovered {
            node: id,
            at: draft.now,
        });
        return true;
    }
    match (node.kind, node.region) {
        (NodeKind::Close { last: true }, Some(region)) => ordered(draft, id, region, DesiredState::Promoted),
        _ => passed(draft, id),
    }
}

fn held_too_long(draft: &mut Draft<'_>) -> bool {
    let now = draft.now;
    let late = nodes_judged(&draft.run).into_iter().find_map(|id| {
        let hold = draft.run.node(id).hold.as_ref().filter(|hold| hold.until <= now)?;
        if draft.run.is_unread(id, now) {
            return None;
        }
        Some((
            draft.run.plan.node(id).key.clone(),
            hold.why.clone(),
            Duration::between(hold.since, now),
        ))
    });
    let Some((key, why, length)) = late else { return false };
    draft.push(Event::AttentionNeeded {
        reason: format!("{key} has been held for {length}: {why}"),
        action: "`resume` to wait on, `skip` the gate, `retry`, or `rollback`".to_owned(),
        at: now,
    });
    true
}

fn completed(draft: &mut Draft<'_>) -> bool {
    let run = &draft.run;
    if !run.state.frontier.is_empty() || !run.state.nodes.iter().all(|node| node.life.is_over()) {
        return false;
    }
    let is_moving =
        |region: RegionId| matches!(run.region(region).life, RegionLife::Reverting | RegionLife::Withdrawing);
    if run.plan.region_ids().any(is_moving) {
        return false;
    }
    let failed: Vec<&str> = run
        .plan
        .region_ids()
        .filter(|region| run.region(*region).life == RegionLife::RolledBack)
        .map(|region| run.plan.region(region).0)
        .collect();
    draft.push(if failed.is_empty() {
        Event::Finished {
            ending: Ending::Promoted,
            cause: "all regions promoted".to_owned(),
            at: draft.now,
        }
    } else {
        Event::AttentionNeeded {
            reason: format!(
                "all other regions are promoted; rolled back within tolerance: {}",
                failed.join(", ")
            ),
            action: "`retry` to roll those regions out again, or `rollback` to take every region back".to_owned(),
            at: draft.now,
        }
    });
    true
}
