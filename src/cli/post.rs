//! Posts what a person asks of a run, and waits for the answer.

use meridian_engine::run::signal::{Person, Request, Skip};
use meridian_engine::run::state::RunId;
use meridian_engine::service::{self, Service};
use meridian_workflows::diagnostic::suggestion;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::Plan;
use serde_json::json;

use super::desk::{Desk, Printing};
use super::drive::{self, Patience};
use super::exit::Exit;
use super::problem::Problem;
use super::{run as start, shelf};

/// One request.
pub struct Posting {
    pub run: String,
    pub request: Request,
    pub by: Person,
    pub printing: Printing,
}

/// How long whoever drives the run may take to answer; longer than the lease of one that has died.
const PATIENCE: Duration = Duration::from_secs(25);

/// Posts, prints the answer, and drives a rollback that nobody else would.
pub async fn post(desk: &Desk, posting: Posting) -> Result<Exit, Problem> {
    let service = shelf::open_existing(desk).await?;
    let head = shelf::head(&service, &posting.run, desk).await?;
    let id = head.run.clone();
    let plan = service.store().plan(&head.fingerprint).await;
    let plan = plan.map_err(|error| shelf::stored(&format!("could not read run {id}"), &error))?;
    check_names(&plan, &posting.request)?;
    let verb = posting.request.verb();
    let brings_back = matches!(posting.request, Request::Abort { .. } | Request::Rollback { .. });
    if brings_back || matches!(posting.request, Request::Retry { .. }) {
        start::start_sandbox(&plan, desk).await?;
    }
    let taken = ask(&service, &id, posting.request, posting.by, desk).await?;
    if posting.printing.is_json() {
        desk.paper
            .json(&json!({"run": id, "verb": verb, "answer": "taken", "seq": taken.seq}));
    } else {
        desk.paper.data(&format!(
            "{verb}: taken by run {id}, entry {} of its journal\n",
            taken.seq
        ));
    }
    if !taken.is_driven && brings_back {
        // Traffic goes back now, not when somebody remembers to drive the run.
        desk.paper
            .note("\nNobody drives this run; driving the rollback here.\n\n");
        return match drive::drive(&service, &id, Patience::ToTheEnd, posting.printing, desk).await? {
            // The rollback is what was asked for.
            Exit::Failed => Ok(Exit::Succeeded),
            other => Ok(other),
        };
    }
    if !taken.is_driven {
        desk.paper
            .note(&format!("Nobody drives this run now: {} resume {id}\n", desk.program()));
    }
    Ok(Exit::Succeeded)
}

/// A request that was taken.
pub struct Taken {
    /// The entry that holds it.
    pub seq: u64,
    /// Whether another process drives the run.
    pub is_driven: bool,
}

/// Posts durably and waits for the answer, which is made here where nobody drives the run.
///
/// *Errors*: a refusal, with what the run says; a store that does not answer.
pub async fn ask(service: &Service, id: &RunId, ask: Request, by: Person, desk: &Desk) -> Result<Taken, Problem> {
    let verb = ask.verb();
    let what = format!("could not {verb} run {id}");
    let program = desk.program();
    match service.ask(id, ask, by, PATIENCE).await {
        Ok(seq) => {
            let head = service
                .store()
                .head(id)
                .await
                .map_err(|error| shelf::stored(&what, &error))?;
            Ok(Taken {
                seq,
                is_driven: head.owner.is_some(),
            })
        }
        Err(service::Problem::Refused(why)) => Err(Problem::usage(format!("{verb} does not fit run {id}: {why}"))
            .next(format!("what it waits for: {program} why {id}"))),
        Err(problem @ service::Problem::Unanswered(_)) => Err(Problem::unreachable(what).because(&problem).next(
            format!("it is kept; whoever drives the run next answers it: {program} resume {id}"),
        )),
        Err(problem) => Err(shelf::unanswered(&what, &problem)),
    }
}

/// Names that the plan does not have are told at once, with what was probably meant.
fn check_names(plan: &Plan, request: &Request) -> Result<(), Problem> {
    let (gate, node, region) = match request {
        Request::Approve { gate, node, .. } | Request::Reject { gate, node, .. } => {
            (gate.as_deref(), node.as_deref(), None)
        }
        Request::Skip {
            what: Skip::Gate { gate, node },
            ..
        } => (Some(gate.as_str()), node.as_deref(), None),
        Request::Skip {
            what: Skip::Stage { node },
            ..
        } => (None, Some(node.as_str()), None),
        Request::Promote { region, .. } => (None, None, Some(region.as_str())),
        // The run itself says which signals it waits for.
        Request::Signal(posted) => (None, posted.node.as_deref(), None),
        Request::Pause { .. }
        | Request::Resume
        | Request::Abort { .. }
        | Request::Rollback { .. }
        | Request::Retry { .. }
        | Request::Supersede { .. } => (None, None, None),
    };
    let unknown = |what: &str, name: &str, known: &mut dyn Iterator<Item = &str>| {
        Problem::usage(format!("this run has no {what} `{name}`")).maybe_next(suggestion::hint(name, known))
    };
    let workflow = plan.workflow();
    if let Some(gate) = gate.filter(|gate| plan.find_gate(gate).is_none()) {
        return Err(unknown("gate", gate, &mut workflow.gates.keys().map(String::as_str)));
    }
    if let Some(node) = node.filter(|node| plan.find(node).is_none()) {
        return Err(unknown(
            "node",
            node,
            &mut plan.nodes().map(|(_, node)| node.key.as_str()),
        ));
    }
    if let Some(region) = region.filter(|region| plan.find_region(region).is_none()) {
        return Err(unknown(
            "region",
            region,
            &mut workflow.regions.keys().map(String::as_str),
        ));
    }
    Ok(())
}
