//! `replay`: a finished or running run told again from its journal, the proof that it kept its promises, and what changed gates
//! would have made of its readings.

use std::path::PathBuf;

use meridian_engine::against::against;
use meridian_engine::replay::Proof;
use meridian_engine::run::state::RunId;
use ratatui::text::Line;
use serde_json::json;

use super::desk::{Desk, Inputs, Printing};
use super::exit::Exit;
use super::follow::Follower;
use super::problem::Problem;
use super::shelf;
use super::{against, file};
use crate::report::ink::{Tone, ink, tame};
use crate::report::status;
use crate::report::timeline::Timeline;

/// Tell a run again from its journal
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    run: String,
    /// Fold it event by event and check every promise; exit 1 names what is broken
    #[arg(long)]
    prove: bool,
    /// Judge its recorded readings by the gates of this changed workflow: would they have caught it?
    #[arg(long, value_name = "FILE", conflicts_with = "prove")]
    against: Option<PathBuf>,
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    printing: Printing,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let service = shelf::open_existing(desk).await?;
    let head = shelf::head(&service, &args.run, desk).await?;
    if args.prove {
        let proof = service.prove(&head.run).await;
        let proof = proof.map_err(|problem| shelf::unanswered(&format!("could not replay run {}", head.run), &problem))?;
        return proven(&head.run, &proof, args.printing, desk);
    }
    let mut follower = Follower::open(&service, &head.run).await?;
    let entries = follower.catch_up().await?;
    if let Some(changed) = &args.against {
        let plan = follower.run.plan();
        // A changed workflow is asked with the run's own inputs, unless others are given.
        let mut inputs = plan.workflow().inputs.clone();
        inputs.extend(args.inputs.map()?);
        let changed = file::plan(changed, &inputs, file::Purpose::Start, desk)?;
        let comparison = against(plan, &head.run, &entries, changed.workflow());
        against::print(&head.run, plan, &comparison, args.printing, desk);
        return Ok(Exit::Succeeded);
    }
    if args.printing.is_json() {
        desk.paper.json(&status::json(&follower.run, desk.now(), &desk.program()));
        return Ok(Exit::Succeeded);
    }
    let mut timeline = Timeline::new(follower.run.plan().clone(), desk.zone.clone());
    for line in entries.iter().flat_map(|entry| timeline.entry(entry)) {
        desk.paper.data_line(&line);
    }
    Ok(Exit::Succeeded)
}

fn proven(id: &RunId, proof: &Proof, printing: Printing, desk: &Desk) -> Result<Exit, Problem> {
    let parts = [
        ("every entry follows from the one before", "chain", &proof.chain),
        ("the journal is of this plan", "plan", &proof.plan),
        ("the promises held after every event", "invariants", &proof.invariants),
        ("folding it gives what the store says", "head", &proof.head),
        ("folding on from the snapshot gives the same", "snapshot", &proof.snapshot),
    ];
    if printing.is_json() {
        let parts: serde_json::Map<String, serde_json::Value> = parts
            .iter()
            .map(|(_, name, part)| ((*name).to_owned(), json!({"ok": part.is_ok(), "why": part.as_ref().err()})))
            .collect();
        desk.paper.json(&json!({"run": id, "ok": proof.holds(), "entries": proof.entries, "events": proof.events, "parts": parts}));
    } else {
        desk.paper.data(&format!("{id}: {} entries with {} events\n", proof.entries, proof.events));
        for (what, _, part) in parts {
            desk.paper.data_line(&match part {
                Ok(()) => Line::from(vec![ink(Tone::Good, "  ✓ "), ink(Tone::Plain, what)]),
                Err(why) => Line::from(vec![ink(Tone::Bad, "  ✗ "), ink(Tone::Plain, format!("{what}: no, {}", tame(why)))]),
            });
        }
    }
    if proof.holds() {
        return Ok(Exit::Succeeded);
    }
    Err(Problem::failed(format!("run {id} is not what its journal says"))
        .next("keep the state directory as it is; the part above says where to look"))
}
