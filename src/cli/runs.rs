//! `runs`: every run of the store, newest first.

use jiff::Timestamp;
use meridian_engine::ports::store::Head;
use meridian_engine::run::state::RunId;
use meridian_engine::service::Service;
use meridian_workflows::duration::Duration;
use ratatui::text::Line;
use serde::Serialize;

use super::desk::{Desk, Printing};
use super::exit::Exit;
use super::problem::Problem;
use super::shelf;
use crate::report::clock;
use crate::report::ink::{Tone, ink, padded};

/// List runs, newest first
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only runs of this workflow
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Only runs that are not over
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    printing: Printing,
}

/// Runs that are read at once.
const PAGE: usize = 500;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    run: &'a RunId,
    workflow: &'a str,
    outcome: &'a str,
    is_done: bool,
    created_at: Timestamp,
    at: Timestamp,
    driver: Option<&'a str>,
    quarantined: Option<&'a str>,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    if !shelf::is_there(desk)? {
        if args.printing.is_json() {
            desk.paper.json(&[(); 0]);
        } else {
            none(desk);
        }
        return Ok(Exit::Succeeded);
    }
    let service = shelf::open_existing(desk).await?;
    let heads = list(&service, &args).await?;
    if args.printing.is_json() {
        let runs: Vec<Json<'_>> = heads.iter().map(json).collect();
        desk.paper.json(&runs);
    } else if heads.is_empty() {
        none(desk);
    } else {
        table(&heads, desk);
    }
    Ok(Exit::Succeeded)
}

async fn list(service: &Service, args: &Args) -> Result<Vec<Head>, Problem> {
    let mut heads: Vec<Head> = Vec::new();
    let mut before: Option<RunId> = None;
    loop {
        let page = service.runs(args.workflow.as_deref(), before.as_ref(), PAGE).await;
        let page = page.map_err(|error| shelf::unanswered("could not list the runs", &error))?;
        before = page.last().map(|head| head.run.clone());
        let is_last = page.len() < PAGE;
        heads.extend(page.into_iter().filter(|head| !args.open || !head.is_done));
        if is_last || heads.len() >= args.limit {
            heads.truncate(args.limit);
            return Ok(heads);
        }
    }
}

fn json(head: &Head) -> Json<'_> {
    Json {
        run: &head.run,
        workflow: &head.workflow,
        outcome: &head.outcome,
        is_done: head.is_done,
        created_at: head.created_at,
        at: head.at,
        driver: head.owner.as_deref(),
        quarantined: head.quarantined.as_deref(),
    }
}

fn none(desk: &Desk) {
    desk.paper.note(&format!("No runs yet. Start one: {} run FILE\n", desk.program()));
}

fn table(heads: &[Head], desk: &Desk) {
    let now = desk.now();
    let width = heads.iter().map(|head| head.run.0.chars().count()).max().unwrap_or(0).max(3) + 2;
    let title = |text: &str, width| padded(Tone::Dim, text, width);
    desk.paper.data_line(&Line::from(vec![
        title("run", width),
        title("outcome", 17),
        title("started", 16),
        title("last step", 16),
        title("driven by", 0),
    ]));
    for head in heads {
        let ago = |at| format!("{} ago", clock::length(Duration::between(at, now)));
        let outcome = if head.quarantined.is_some() { "set aside" } else { &head.outcome };
        desk.paper.data_line(&Line::from(vec![
            padded(Tone::Strong, head.run.0.clone(), width),
            padded(tone(outcome), outcome, 17),
            padded(Tone::Plain, ago(head.created_at), 16),
            padded(Tone::Plain, ago(head.at), 16),
            ink(Tone::Dim, head.owner.clone().unwrap_or_else(|| if head.is_done { "" } else { "nobody" }.to_owned())),
        ]));
    }
}

fn tone(outcome: &str) -> Tone {
    match outcome {
        "promoted" => Tone::Good,
        "rolled-back" | "needs-attention" | "set aside" => Tone::Bad,
        "paused" | "held" => Tone::Caution,
        _ => Tone::Accent,
    }
}
