//! What people ask: each signal fits the run's state and becomes events, or is refused with a plain answer.

use meridian_workflows::plan::{GateId, NodeId, NodeKind, RegionId};
use meridian_workflows::workflow::{GateKind, Scope};

use super::decide::{Draft, Refusal};
use super::effect::Place;
use super::event::{Ending, Event};
use super::gates::is_or_acts_as;
use super::mutant::{Mutant, is_on};
use super::posts;
use super::rollback;
use super::signal::{Person, Request, Signal, Skip};
use super::state::{Life, RegionLife, Run, Standing};

/// *Errors*: the signal does not fit; the text says why and what would.
pub(in crate::run) fn admit(draft: &mut Draft<'_>, signal: Signal) -> Result<(), Refusal> {
    if draft.run.state.signals.contains(&signal.id) && !is_on(Mutant::TakesSignalTwice) {
        return Ok(());
    }
    let run = &draft.run;
    match &signal.ask {
        Request::Pause { .. } => may_pause(run)?,
        Request::Resume => may_resume(run)?,
        Request::Abort { .. } => may_abort(run)?,
        Request::Supersede { .. } => may_abort(run)?,
        Request::Rollback { .. } => may_roll_back(run)?,
        Request::Retry { .. } => may_retry(run)?,
        Request::Approve { gate, node, .. } | Request::Reject { gate, node, .. } => {
            may_answer(run, &signal.by, gate.as_deref(), node.as_deref(), signal.ask.verb())?;
        }
        Request::Skip { what, .. } => may_skip(run, what)?,
        Request::Promote { region, .. } => {
            rushed(run, region)?;
        }
        Request::Signal(posted) => {
            posts::heard(run, posted)?;
        }
    }
    // Judged on the state before it: taking the signal changes nothing that the answers depend on.
    draft.push(Event::SignalTaken {
        signal: signal.clone(),
        at: draft.now,
    });
    if draft.run.state.claim.wanted_for.is_none() {
        take(draft, &signal)?;
    }
    Ok(())
}

/// A retry or rollback after the end goes on once the targets are this run's again.
pub(in crate::run) fn again(draft: &mut Draft<'_>, signal: &Signal) {
    let taken = take(draft, signal);
    debug_assert!(taken.is_ok(), "retries and rollbacks are checked when they are taken");
}

fn take(draft: &mut Draft<'_>, signal: &Signal) -> Result<(), Refusal> {
    let by = &signal.by.name;
    let at = draft.now;
    match &signal.ask {
        Request::Pause { freeze_bake, .. } => draft.push(Event::Paused {
            freeze_bake: *freeze_bake,
            at,
        }),
        Request::Resume => draft.push(Event::Resumed { at }),
        Request::Abort { reason } => {
            let cause = with_reason(format!("abort by {by}"), reason.as_deref());
            stop(draft, draft.run.plan.workflow().rollback.scope, cause);
        }
        Request::Supersede { by_run } => stop(draft, Scope::Run, format!("superseded by run {by_run}")),
        Request::Rollback { reason } => {
            let cause = with_reason(format!("rollback by {by}"), reason.as_deref());
            stop(draft, Scope::Run, cause);
        }
        Request::Retry { from_start, .. } => retry(draft, *from_start),
        Request::Approve { gate, node, comment } => {
            let waiting = may_answer(&draft.run, &signal.by, gate.as_deref(), node.as_deref(), "approve")?;
            answer(draft, &waiting, signal, comment.clone(), true);
        }
        Request::Reject { gate, node, comment } => {
            let waiting = may_answer(&draft.run, &signal.by, gate.as_deref(), node.as_deref(), "reject")?;
            answer(draft, &waiting, signal, comment.clone(), false);
        }
        Request::Skip { what, reason } => skip(draft, what, by, reason)?,
        Request::Promote { region, reason } => promote(draft, region, by, reason)?,
        Request::Signal(posted) => {
            let heard = posts::heard(&draft.run, posted)?;
            draft.take_post(heard, &signal.by);
        }
    }
    Ok(())
}

fn with_reason(text: String, reason: Option<&str>) -> String {
    reason.map_or(text.clone(), |reason| format!("{text}: {reason}"))
}

fn refused<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

fn ended(run: &Run) -> Option<String> {
    match &run.state.standing {
        Standing::Finished {
            ending: Ending::Promoted,
            ..
        } => Some("the run has ended: promoted".to_owned()),
        Standing::Finished {
            ending: Ending::RolledBack,
            ..
        } => Some("the run has ended: rolled back".to_owned()),
        Standing::Finished {
            ending: Ending::Refused,
            cause,
            ..
        } => Some(format!("the run never began: {cause}")),
        Standing::Submitted | Standing::Running | Standing::RollingBack | Standing::Attention { .. } => None,
    }
}

fn may_pause(run: &Run) -> Result<(), Refusal> {
    match (&run.state.standing, run.is_paused(), ended(run)) {
        (_, _, Some(ended)) => refused(format!("{ended}; there is nothing to pause")),
        (Standing::RollingBack, _, _) => refused("a rollback is under way, and a rollback never pauses"),
        (_, true, _) => refused("the run is paused already; `resume` lifts the pause"),
        _ => Ok(()),
    }
}

fn may_resume(run: &Run) -> Result<(), Refusal> {
    if let Some(ended) = ended(run) {
        return refused(format!("{ended}; there is nothing to resume"));
    }
    let is_held = run.state.nodes.iter().any(|node| node.hold.is_some());
    // What was taken back goes forward again only by a retry.
    let goes_back = run
        .state
        .rollback
        .as_ref()
        .is_some_and(|rollback| !rollback.is_tolerated);
    match &run.state.standing {
        _ if run.is_paused() => Ok(()),
        Standing::Attention { .. } if is_held && !goes_back => Ok(()),
        Standing::Attention { action, .. } => refused(format!("waiting on does not help here: {action}")),
        _ => refused("the run is not paused"),
    }
}

fn may_abort(run: &Run) -> Result<(), Refusal> {
    match (&run.state.standing, ended(run)) {
        (_, Some(ended)) => refused(format!("{ended}; `rollback` takes a finished run back")),
        (Standing::RollingBack, _) => refused("the run is being rolled back already"),
        _ => Ok(()),
    }
}

fn may_roll_back(run: &Run) -> Result<(), Refusal> {
    match &run.state.standing {
        Standing::Finished {
            ending: Ending::RolledBack | Ending::Refused,
            ..
        } => refused(format!(
            "{}; there is nothing to roll back",
            ended(run).unwrap_or_default()
        )),
        Standing::Finished { .. } if run.state.claim.number.is_some() => {
            refused("the run is giving its targets back; ask again in a moment")
        }
        Standing::RollingBack
            if run
                .state
                .rollback
                .as_ref()
                .is_some_and(|rollback| rollback.scope == Scope::Run) =>
        {
            refused("the whole run is being rolled back already")
        }
        Standing::Submitted => refused("the run has not begun; `abort` ends it"),
        _ => Ok(()),
    }
}

fn may_retry(run: &Run) -> Result<(), Refusal> {
    match &run.state.standing {
        Standing::Attention { .. } => Ok(()),
        Standing::Finished {
            ending: Ending::RolledBack,
            ..
        } if run.state.claim.number.is_some() => refused("the run is giving its targets back; ask again in a moment"),
        Standing::Finished {
            ending: Ending::RolledBack,
            ..
        } => Ok(()),
        Standing::Finished { .. } => refused(format!("{}; start a new run", ended(run).unwrap_or_default())),
        Standing::RollingBack => refused("the rollback must end before anything is tried again"),
        Standing::Submitted | Standing::Running => refused("nothing has failed; there is nothing to try again"),
    }
}

/// What waits for a person: an approval gate that has asked, or a question that a gate raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub node: NodeId,
    pub gate: Option<GateId>,
    pub is_approval: bool,
}

/// Everything in a run that waits for a person's yes or no.
pub fn waiting(run: &Run) -> Vec<Waiting> {
    let mut all = Vec::new();
    for (id, _) in run.plan.nodes() {
        let node = run.node(id);
        if node.life.is_over() && node.question.is_none() {
            continue;
        }
        if let Some(question) = &node.question {
            all.push(Waiting {
                node: id,
                gate: question.gate,
                is_approval: false,
            });
        }
        for slot in &node.gates {
            let is_asked = slot
                .approval
                .as_ref()
                .is_some_and(|approval| approval.rejected_by.is_none());
            // An approval that expired and asks is answered as a question, by those who might have approved.
            let is_question = node
                .question
                .as_ref()
                .is_some_and(|question| question.gate == Some(slot.gate));
            if is_asked && !is_question && !slot.is_open() {
                all.push(Waiting {
                    node: id,
                    gate: Some(slot.gate),
                    is_approval: true,
                });
            }
        }
    }
    all
}

fn may_answer(run: &Run, by: &Person, gate: Option<&str>, node: Option<&str>, verb: &str) -> Result<Waiting, Refusal> {
    if let Some(ended) = ended(run) {
        return refused(format!("{ended}; nothing waits for an answer"));
    }
    if matches!(run.state.standing, Standing::RollingBack) {
        return refused("the run is being rolled back; nothing waits for an answer");
    }
    let name = |waiting: &Waiting| {
        let gate = waiting.gate.map_or("a question", |gate| run.plan.gate(gate).0);
        format!("{gate} ({})", run.plan.node(waiting.node).key)
    };
    let fits = |waiting: &Waiting| {
        gate.is_none_or(|name| waiting.gate.is_some_and(|gate| run.plan.gate(gate).0 == name))
            && node.is_none_or(|key| run.plan.node(waiting.node).key == key)
    };
    let all = waiting(run);
    let fitting: Vec<Waiting> = all.iter().copied().filter(fits).collect();
    let Some(first) = fitting.first().copied() else {
        return refused(if all.is_empty() {
            "nothing waits for an answer".to_owned()
        } else {
            format!(
                "that does not wait for an answer; what does: {}",
                all.iter().map(name).collect::<Vec<_>>().join(", ")
            )
        });
    };
    if fitting.len() > 1 {
        let names = fitting.iter().map(name).collect::<Vec<_>>().join(", ");
        return refused(format!(
            "several things wait for an answer; name the gate or the node: {names}"
        ));
    }
    may_decide(run, by, first, verb)?;
    Ok(first)
}

fn may_decide(run: &Run, by: &Person, waiting: Waiting, verb: &str) -> Result<(), Refusal> {
    let Some(gate) = waiting.gate else { return Ok(()) };
    let (name, definition) = run.plan.gate(gate);
    let GateKind::Approval(approval) = &definition.kind else {
        return Ok(());
    };
    if !approval.from.is_empty() && !approval.from.iter().any(|allowed| is_or_acts_as(by, allowed)) {
        return refused(format!(
            "{} may not {verb} `{name}`; it asks {}",
            by.name,
            approval.from.join(" or ")
        ));
    }
    let is_starter = run
        .state
        .starter
        .as_ref()
        .is_some_and(|starter| starter.name == by.name);
    if verb == "approve" && is_starter && !approval.starter_may_approve && !is_on(Mutant::StarterApproves) {
        return refused(format!("{} started this run and may not approve it", by.name));
    }
    let slots = run.node(waiting.node).gates.iter();
    let slots = slots.filter(|slot| slot.gate == gate && !slot.is_open());
    let has_approved = slots
        .filter_map(|slot| slot.approval.as_ref())
        .any(|state| state.approved_by.iter().any(|person| person.name == by.name));
    if verb == "approve" && has_approved {
        return refused(format!("{} has approved `{name}` already; it is counted once", by.name));
    }
    Ok(())
}

fn answer(draft: &mut Draft<'_>, waiting: &Waiting, signal: &Signal, comment: Option<String>, is_yes: bool) {
    let (node, at, by) = (waiting.node, draft.now, signal.by.clone());
    match (waiting.is_approval, waiting.gate, is_yes) {
        (true, Some(gate), true) => draft.push(Event::Approved {
            node,
            gate,
            by,
            comment,
            at,
        }),
        (true, Some(gate), false) => draft.push(Event::Rejected {
            node,
            gate,
            by,
            comment,
            at,
        }),
        (_, _, true) => draft.push(Event::Answered { node, by: by.name, at }),
        (_, gate, false) => {
            // A question that no gate asks is about the content of a release.
            let about = match gate {
                Some(gate) => format!("gate/{}", draft.run.plan.gate(gate).0),
                None => format!("content/{}", draft.run.plan.node(node).key),
            };
            let cause = with_reason(format!("{about}: rejected by {}", by.name), comment.as_deref());
            rollback::failed(draft, node, cause);
        }
    }
}

/// Ends a run before its time. One that has no targets yet ends at once.
fn stop(draft: &mut Draft<'_>, scope: Scope, cause: String) {
    if draft.run.state.standing == Standing::Submitted {
        draft.push(Event::Finished {
            ending: Ending::RolledBack,
            cause,
            at: draft.now,
        });
    } else {
        rollback::asked_for(draft, scope, cause);
    }
}

fn may_skip(run: &Run, what: &Skip) -> Result<(), Refusal> {
    match what {
        Skip::Gate { gate, node } => skippable_gates(run, gate, node.as_deref()).map(|_| ()),
        Skip::Stage { node } => skippable_stage(run, node).map(|_| ()),
    }
}

fn may_go_on(run: &Run) -> Result<(), Refusal> {
    match (&run.state.standing, ended(run)) {
        (_, Some(ended)) => refused(ended),
        (Standing::RollingBack, _) => refused("the run is being rolled back"),
        (Standing::Submitted, _) => refused("the run has not begun"),
        _ => Ok(()),
    }
}

fn skippable_gates(run: &Run, gate: &str, node: Option<&str>) -> Result<Vec<(NodeId, Place, GateId)>, Refusal> {
    may_go_on(run)?;
    let Some(id) = run.plan.find_gate(gate) else {
        return refused(format!("the plan has no gate `{gate}`"));
    };
    let in_force = run.plan.nodes().filter(|(node_id, of)| {
        let is_active = run.state.frontier.contains(node_id)
            || of
                .region
                .is_some_and(|region| run.region(region).watched == Some(*node_id));
        match node {
            Some(key) => of.key == key,
            None => is_active,
        }
    });
    let slots: Vec<(NodeId, Place, GateId)> = in_force
        .flat_map(|(node_id, _)| {
            let slots = run
                .node(node_id)
                .gates
                .iter()
                .filter(|slot| slot.gate == id && !slot.is_skipped);
            slots.map(move |slot| (node_id, slot.place, id))
        })
        .collect();
    let mut nodes: Vec<NodeId> = slots.iter().map(|(node, _, _)| *node).collect();
    nodes.dedup();
    match nodes.as_slice() {
        [] => refused(format!("no node waits for gate `{gate}` now")),
        [_] => Ok(slots),
        several => {
            let keys: Vec<&str> = several.iter().map(|node| run.plan.node(*node).key.as_str()).collect();
            refused(format!(
                "several nodes have gate `{gate}`; name one: {}",
                keys.join(", ")
            ))
        }
    }
}

fn skippable_stage(run: &Run, key: &str) -> Result<NodeId, Refusal> {
    may_go_on(run)?;
    let Some(id) = run.plan.find(key) else {
        return refused(format!("the plan has no node `{key}`"));
    };
    let NodeKind::Stage { .. } = run.plan.node(id).kind else {
        return refused(format!("`{key}` is no stage; only stages and gates are skipped"));
    };
    if !run.state.frontier.contains(&id) {
        return refused(format!("`{key}` is not under way"));
    }
    if stages_after(run, id).is_empty() {
        return refused(format!(
            "`{key}` is its region's last stage; skip what it waits for instead"
        ));
    }
    Ok(id)
}

/// Stages of the same region-phase after this one.
fn stages_after(run: &Run, id: NodeId) -> Vec<NodeId> {
    let of = run.plan.node(id);
    let later = run.plan.nodes().filter(|(later, node)| {
        *later > id && node.phase == of.phase && node.region == of.region && matches!(node.kind, NodeKind::Stage { .. })
    });
    later.map(|(later, _)| later).collect()
}

fn skip(draft: &mut Draft<'_>, what: &Skip, by: &str, reason: &str) -> Result<(), Refusal> {
    let at = draft.now;
    match what {
        Skip::Gate { gate, node } => {
            for (node, place, gate) in skippable_gates(&draft.run, gate, node.as_deref())? {
                draft.push(Event::GateSkipped {
                    node,
                    place,
                    gate,
                    by: by.to_owned(),
                    reason: reason.to_owned(),
                    at,
                });
                let question = draft.run.node(node).question.as_ref();
                if question.is_some_and(|question| question.gate == Some(gate)) {
                    draft.push(Event::Answered {
                        node,
                        by: by.to_owned(),
                        at,
                    });
                }
            }
        }
        Skip::Stage { node } => {
            let node = skippable_stage(&draft.run, node)?;
            draft.push(Event::NodeSkipped {
                node,
                why: format!("skipped by {by}: {reason}"),
                at,
            });
        }
    }
    Ok(())
}

/// The region, the stages to leave out, and its last stage.
fn rushed(run: &Run, name: &str) -> Result<(RegionId, Vec<NodeId>, NodeId), Refusal> {
    may_go_on(run)?;
    let Some(region) = run.plan.find_region(name) else {
        return refused(format!("the plan has no region `{name}`"));
    };
    if run.region(region).life != RegionLife::Open {
        return refused(format!("region `{name}` is not under way"));
    }
    let is_stage = |node: &meridian_workflows::plan::Node| matches!(node.kind, NodeKind::Stage { .. });
    let open = run
        .plan
        .nodes()
        .find(|(id, node)| node.region == Some(region) && is_stage(node) && !run.node(*id).life.is_over());
    let Some((first, _)) = open else {
        return refused(format!("region `{name}` has no stage left"));
    };
    let mut stages = vec![first];
    stages.extend(stages_after(run, first));
    let last = stages.pop().unwrap_or(first);
    if stages.is_empty() && run.node(last).life != Life::Waiting {
        return refused(format!("region `{name}` is in its last stage already"));
    }
    Ok((region, stages, last))
}

fn promote(draft: &mut Draft<'_>, region: &str, by: &str, reason: &str) -> Result<(), Refusal> {
    let (region, skipped, last) = rushed(&draft.run, region)?;
    let at = draft.now;
    draft.push(Event::RegionRushed { region, skipped, at });
    let before: Vec<GateId> = draft
        .run
        .node(last)
        .gates_at(Place::Before)
        .map(|slot| slot.gate)
        .collect();
    for gate in before {
        let (by, reason) = (by.to_owned(), format!("promoted: {reason}"));
        draft.push(Event::GateSkipped {
            node: last,
            place: Place::Before,
            gate,
            by,
            reason,
            at,
        });
    }
    Ok(())
}

/// What failed or was taken back starts again with empty evidence and no approvals; what is promoted stays.
fn retry(draft: &mut Draft<'_>, from_start: bool) {
    let plan = draft.run.plan.clone();
    let run = &draft.run;
    let regions: Vec<RegionId> = plan
        .region_ids()
        .filter(|region| run.region(*region).life == RegionLife::RolledBack)
        .collect();
    let reopens = |id: &NodeId| {
        let node = plan.node(*id);
        let state = run.node(*id);
        match node.region {
            Some(region) => regions.contains(&region) || !state.life.is_passed() || state.life == Life::Tolerated,
            None => from_start || !state.life.is_passed(),
        }
    };
    let nodes: Vec<NodeId> = plan.ids().filter(reopens).collect();
    draft.push(Event::Retried {
        nodes,
        regions,
        at: draft.now,
    });
}
