//! What must be true of every run after every event, checked independently of the code that decides: in simulation, in the
//! model checker, in property tests, and by `replay --prove` on real journals.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{NodeId, NodeKind, RegionId};
use meridian_workflows::workflow::GateKind;

use super::effect::{DesiredState, Place};
use super::event::{Ending, Event};
use super::reading::{Answer, Counts, Sample};
use super::state::{GateState, Life, RegionLife, Resolved, Run, Standing};
use super::verdict::Level;
use super::wanted::wanted;
use super::{people, posts};

/// A broken promise, by its number in the design.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invariant {number} is broken: {what}")]
pub struct Violation {
    pub number: u8,
    pub what: String,
}

fn broken<T>(number: u8, what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation {
        number,
        what: what.into(),
    })
}

/// Checks one event: the run before it, the event, the run after it, the instant of its entry.
///
/// *Errors*: the first promise that it breaks.
pub fn check_event(before: &Run, event: &Event, after: &Run, at: Timestamp) -> Result<(), Violation> {
    traffic_waits_for_parents_and_gates(before, event)?;
    share_stays_within_the_node(before, event)?;
    rollback_never_raises(before, event)?;
    only_evidence_passes(before, event)?;
    only_a_post_passes_a_signal(before, event)?;
    locks_are_held_while_they_guard(before, event)?;
    nothing_fails_unseen(before, event, at)?;
    gates_open_what_they_guard(before, event)?;
    one_tag_is_one_content(before, event)?;
    bakes_count_only_what_was_lived(before, event, after, at)
}

/// Checks a run at rest, after an entry: nothing that is true now is left undone, and no state is silent.
///
/// *Errors*: the first promise that it breaks.
pub fn check_rest(run: &Run, now: Timestamp) -> Result<(), Violation> {
    if let Standing::Finished { ending, .. } = &run.state.standing {
        finished_means_whole(run, *ending)?;
    }
    if run.is_done() {
        return Ok(());
    }
    let owed = wanted(run, now);
    let somebody_is_asked = run.is_paused()
        || matches!(run.state.standing, Standing::Attention { .. })
        || !people::waiting(run).is_empty()
        || !posts::awaited(run).is_empty();
    if owed.effects.is_empty() && owed.wake.is_none() && !somebody_is_asked && run.state.submitted_at.is_some() {
        return broken(
            4,
            format!("nobody and nothing will move the run on: {:?}", run.state.standing),
        );
    }
    if owed.wake.is_some_and(|wake| wake <= now) {
        return broken(4, "the run wakes for an instant that has passed");
    }
    Ok(())
}

/// 1: no traffic moves for a node before all its parents passed and its `before` gates hold.
fn traffic_waits_for_parents_and_gates(before: &Run, event: &Event) -> Result<(), Violation> {
    let (id, raises) = match event {
        Event::NodeStarted { node, .. } => (*node, true),
        Event::Ordered {
            node: Some(node),
            region,
            state,
            ..
        } => (*node, state.share() > before.region(*region).ordered_share()),
        _ => return Ok(()),
    };
    let key = &before.plan.node(id).key;
    if let Some(parent) = not_passed(before, id) {
        return broken(
            1,
            format!("{key} moves before {} has passed", before.plan.node(parent).key),
        );
    }
    if let Some(slot) = closed(before, id, Place::Before) {
        return broken(
            1,
            format!("{key} moves while `{}` is closed", before.plan.gate(slot.gate).0),
        );
    }
    if raises && before.is_paused() {
        return broken(1, format!("{key} moves in a pause"));
    }
    match before.state.standing {
        Standing::Running => Ok(()),
        _ => broken(
            1,
            format!("{key} moves while the run stands at {:?}", before.state.standing),
        ),
    }
}

/// A parent that has not passed; one that is left out stands for its own parents.
fn not_passed(run: &Run, id: NodeId) -> Option<NodeId> {
    run.plan.parents(id).find_map(|parent| match run.node(parent).life {
        Life::Skipped => not_passed(run, parent),
        life => (!life.is_passed()).then_some(parent),
    })
}

/// A gate of the place that does not hold, judged by its newest judgement alone.
fn closed(run: &Run, id: NodeId, place: Place) -> Option<&GateState> {
    run.node(id)
        .gates
        .iter()
        .filter(|slot| slot.place == place)
        .find(|slot| {
            let holds = slot.last.as_ref().is_some_and(|last| match last.judgement.level() {
                Level::Pass => true,
                Level::NoData | Level::Inconclusive | Level::Error => {
                    last.judgement.policy() == Some(meridian_workflows::workflow::Policy::Advance)
                }
                Level::Pending | Level::Fail => false,
            });
            let is_dry = run.plan.gate(slot.gate).1.dry_run;
            !(holds || slot.is_skipped || slot.is_excused || is_dry || run.is_left_out(id, slot.gate))
        })
}

/// 2: the candidate's share never exceeds what the node being worked on allows.
fn share_stays_within_the_node(before: &Run, event: &Event) -> Result<(), Violation> {
    let Event::Ordered {
        region, node, state, ..
    } = event
    else {
        return Ok(());
    };
    let name = before.plan.region(*region).0;
    let Some(id) = node else {
        let lowers = state.share() <= before.region(*region).ordered_share();
        return if lowers {
            Ok(())
        } else {
            broken(2, format!("a rollback raises the share of {name}"))
        };
    };
    let node = before.plan.node(*id);
    match (state, &node.kind) {
        (DesiredState::Serving(exposure), NodeKind::Stage { exposure: allowed, .. }) if exposure == allowed => Ok(()),
        (DesiredState::Serving(exposure), NodeKind::Open { first: true }) if exposure.traffic().is_zero() => Ok(()),
        (DesiredState::Promoted, NodeKind::Close { last: true }) => Ok(()),
        (state, _) => broken(2, format!("{} orders {state:?} in {name}", node.key)),
    }
}

/// 3: after a rollback decision no order raises a share in its regions again.
fn rollback_never_raises(before: &Run, event: &Event) -> Result<(), Violation> {
    let (Event::Ordered { region, state, .. }, Some(rollback)) = (event, &before.state.rollback) else {
        return Ok(());
    };
    let concerns = rollback.regions.contains(region) || !rollback.is_tolerated;
    if concerns && state.share() > before.region(*region).ordered_share() {
        return broken(
            3,
            format!("a share rises in {} after a rollback", before.plan.region(*region).0),
        );
    }
    Ok(())
}

/// 6: unknown is never a pass.
fn only_evidence_passes(before: &Run, event: &Event) -> Result<(), Violation> {
    let Event::GateRead {
        reading,
        judgement,
        gate,
        ..
    } = event
    else {
        return Ok(());
    };
    let is_known = |sample: &Sample| sample.value.is_some_and(f64::is_finite);
    let is_evidence = match &reading.answer {
        Answer::Metric { candidate, baseline } => match &before.plan.gate(*gate).1.kind {
            GateKind::Metric(gate) if gate.ignores_candidate => baseline.as_ref().is_some_and(is_known),
            _ => is_known(candidate),
        },
        Answer::Counts {
            candidate, baseline, ..
        } => {
            let is_counted = |counts: &Counts| counts.total.value.is_some_and(|total| total.is_finite() && total > 0.0);
            is_counted(candidate) && baseline.as_ref().is_some_and(is_counted)
        }
        Answer::Course { candidate, .. } => !candidate.points.is_empty(),
        Answer::Budget { reserve, burn } => reserve.is_some() || !burn.is_empty(),
        Answer::Analysis(analysis) => {
            analysis.is_complete && analysis.score.is_some_and(f64::is_finite) && !analysis.metrics.is_empty()
        }
        Answer::Check { passed, .. } => *passed,
        Answer::Health { is_settled, diagnosis } => *is_settled && diagnosis.is_none(),
        Answer::Completed { newest } => newest.as_ref().is_some_and(|other| other.outcome == "promoted"),
        Answer::Error { .. } => false,
    };
    if judgement.is_pass() && !is_evidence {
        return broken(6, format!("a gate passes without evidence: {:?}", reading.answer));
    }
    Ok(())
}

/// 6, of signals: silence is never a pass.
fn only_a_post_passes_a_signal(before: &Run, event: &Event) -> Result<(), Violation> {
    let Event::GateJudged {
        node,
        place,
        gate,
        judgement,
        ..
    } = event
    else {
        return Ok(());
    };
    let (name, definition) = before.plan.gate(*gate);
    let signal = before
        .node(*node)
        .gate(*place, *gate)
        .and_then(|slot| slot.signal.as_ref());
    let posted = signal.and_then(|signal| signal.posted.as_ref());
    let is_signal = matches!(definition.kind, GateKind::Signal(_));
    if is_signal && judgement.is_pass() && !posted.is_some_and(|posted| posted.passed) {
        return broken(6, format!("`{name}` passes, and nobody has posted so"));
    }
    Ok(())
}

/// 1, of locks: nothing begins under a lock that the run does not hold, and none is given back while its region-phase goes on.
fn locks_are_held_while_they_guard(before: &Run, event: &Event) -> Result<(), Violation> {
    let lock_of = |slot: &GateState| match &before.plan.gate(slot.gate).1.kind {
        GateKind::Lock(lock) if !slot.is_skipped && !slot.is_excused => Some(&lock.name),
        _ => None,
    };
    match event {
        Event::NodeStarted { node, .. } | Event::NodePassed { node, .. } => {
            let is_barrier = matches!(before.plan.node(*node).kind, NodeKind::Phase);
            let begins = matches!(event, Event::NodeStarted { .. }) || is_barrier;
            let slots = before.node(*node).gates_at(Place::Before).filter(|_| begins);
            let acting = slots.filter(|slot| !before.plan.gate(slot.gate).1.dry_run);
            let free = acting.filter_map(lock_of).find(|name| {
                let lock = before.state.locks.get(*name);
                !lock.is_some_and(|lock| lock.number.is_some() && !lock.is_leaving)
            });
            free.map_or(Ok(()), |name| {
                let key = &before.plan.node(*node).key;
                broken(1, format!("{key} begins without the lock `{name}`"))
            })
        }
        Event::LockDropped { lock, .. } => {
            let works = |id: NodeId| before.node(id).life.is_under_way();
            let guarded = before.plan.nodes().find(|(id, _)| {
                let mut slots = before.node(*id).gates_at(Place::Before);
                works(*id) && slots.any(|slot| lock_of(slot) == Some(lock))
            });
            guarded.map_or(Ok(()), |(_, node)| {
                broken(
                    1,
                    format!("the lock `{lock}` is given back while {} is at work", node.key),
                )
            })
        }
        _ => Ok(()),
    }
}

/// 6, of platforms: a deadline or a trouble that passed while nobody looked fails nothing before somebody has.
fn nothing_fails_unseen(before: &Run, event: &Event, at: Timestamp) -> Result<(), Violation> {
    let Event::NodeFailed { node, why, .. } = event else {
        return Ok(());
    };
    let node = before.plan.node(*node);
    let order = node.region.and_then(|region| before.region(region).order.as_ref());
    let is_due = order.and_then(|order| order.ask_at).is_some_and(|due| due <= at);
    let by_time = why.starts_with("deadline/") || why.starts_with("stuck/");
    if by_time && is_due {
        return broken(6, format!("{} fails before its platform has been asked", node.key));
    }
    Ok(())
}

/// 1 and 6, further on: a bake ends and a node passes only while its gates hold.
fn gates_open_what_they_guard(before: &Run, event: &Event) -> Result<(), Violation> {
    let (id, places): (NodeId, &[Place]) = match event {
        Event::BakeEnded { node, .. } => (*node, &[Place::Watch]),
        Event::NodePassed { node, .. } => match before.plan.node(*node).kind {
            NodeKind::Phase => (*node, &[Place::Before]),
            NodeKind::Open { .. } => (*node, &[]),
            NodeKind::Stage { .. } => (*node, &[Place::Watch, Place::After]),
            NodeKind::Close { .. } => (*node, &[Place::After]),
        },
        _ => return Ok(()),
    };
    let key = &before.plan.node(id).key;
    if let Some(slot) = places.iter().find_map(|place| closed(before, id, *place)) {
        let gate = before.plan.gate(slot.gate).0;
        return broken(6, format!("{key} goes on while `{gate}` does not pass"));
    }
    if matches!(event, Event::NodePassed { .. }) && before.is_paused() {
        return broken(1, format!("{key} passes in a pause"));
    }
    Ok(())
}

/// 6, of releases: no region goes on with other content than another of the same tag, unless a person has said yes.
fn one_tag_is_one_content(before: &Run, event: &Event) -> Result<(), Violation> {
    let Event::NodePassed { node, .. } = event else {
        return Ok(());
    };
    let node = before.plan.node(*node);
    let (NodeKind::Open { first: true }, Some(region)) = (&node.kind, node.region) else {
        return Ok(());
    };
    let image = |region: RegionId| match &before.plan.region(region).1.release {
        Some(release) => release.clone(),
        None => before.plan.workflow().release.clone(),
    };
    let told = |region: RegionId| before.region(region).resolved.clone();
    let Some(Resolved {
        digest: Some(ours),
        is_accepted: false,
    }) = told(region)
    else {
        return Ok(());
    };
    for other in before.plan.region_ids() {
        let serves = matches!(before.region(other).life, RegionLife::Open | RegionLife::Promoted);
        let theirs = told(other).and_then(|resolved| resolved.digest);
        if serves && image(other) == image(region) && theirs.is_some_and(|theirs| theirs != ours) {
            let other = before.plan.region(other).0;
            return broken(6, format!("{} goes on with other content than {other}", node.key));
        }
    }
    Ok(())
}

/// 5: a bake counts at most the time that was lived, and ends only when enough of it counted.
fn bakes_count_only_what_was_lived(before: &Run, event: &Event, after: &Run, at: Timestamp) -> Result<(), Violation> {
    for (id, node) in before.plan.nodes() {
        let (was, is) = (&before.node(id).bake, &after.node(id).bake);
        if is.counted < was.counted && before.node(id).attempt == after.node(id).attempt {
            return broken(5, format!("the bake of {} loses time that had counted", node.key));
        }
        let Some(since) = before.node(id).started_at else {
            continue;
        };
        let lived = Duration::between(since, at);
        if before.node(id).attempt == after.node(id).attempt && is.counted > lived {
            return broken(
                5,
                format!("the bake of {} counts {} of {lived} lived", node.key, is.counted),
            );
        }
    }
    if let Event::BakeEnded { node, .. } = event {
        let bake = &after.node(*node).bake;
        if bake.counted < bake.need {
            let key = &before.plan.node(*node).key;
            return broken(
                5,
                format!("the bake of {key} ends after {} of {}", bake.counted, bake.need),
            );
        }
    }
    Ok(())
}

/// 4: the end is fully promoted or fully rolled back and verified.
fn finished_means_whole(run: &Run, ending: Ending) -> Result<(), Violation> {
    for region in run.plan.region_ids() {
        let state = run.region(region);
        let fits = match ending {
            // A region that served the candidate before was never ordered.
            Ending::Promoted => state.life == RegionLife::Promoted || state.order.is_none(),
            Ending::RolledBack => {
                matches!(state.life, RegionLife::RolledBack | RegionLife::Untouched) || state.order.is_none()
            }
            Ending::Refused => state.life == RegionLife::Untouched,
        };
        if !fits {
            let name = run.plan.region(region).0;
            return broken(
                4,
                format!("the run ended as {ending:?} with {name} at {:?}", state.life),
            );
        }
    }
    Ok(())
}
