//! `journal`: everything that a run has recorded, and whether it can be believed.

use meridian_engine::replay::Verified;
use meridian_engine::run::entry::Entry;
use meridian_engine::run::state::RunId;
use ratatui::text::Line;
use serde_json::json;

use super::desk::{Desk, Printing};
use super::exit::Exit;
use super::problem::Problem;
use super::shelf;
use crate::report::clock;
use crate::report::ink::{Tone, ink, tame};

/// Print what a run has recorded, or check its chain
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    run: String,
    /// Check every entry against the hash chain; exit 1 names the first bad one
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    printing: Printing,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let service = shelf::open_existing(desk).await?;
    let head = shelf::head(&service, &args.run, desk).await?;
    let id = &head.run;
    let what = format!("could not read the journal of run {id}");
    if args.verify {
        let verified = service.verify(id).await.map_err(|problem| shelf::unanswered(&what, &problem))?;
        return said(id, verified, args.printing, desk);
    }
    let mut tail = service.tail(id.clone(), 0);
    while let Some(entry) = tail.stored().await.map_err(|problem| shelf::unanswered(&what, &problem))? {
        print(&entry, args.printing, desk);
    }
    Ok(Exit::Succeeded)
}

fn said(id: &RunId, verified: Verified, printing: Printing, desk: &Desk) -> Result<Exit, Problem> {
    match verified {
        Verified::Whole { entries, hash } => {
            if printing.is_json() {
                desk.paper.json_line(&json!({"run": id, "ok": true, "entries": entries, "hash": hash}));
            } else {
                desk.paper.data(&format!("{id}: {entries} entries, the chain holds up to {hash}\n"));
            }
            Ok(Exit::Succeeded)
        }
        Verified::BrokenAt { seq, why } => {
            if printing.is_json() {
                desk.paper.json_line(&json!({"run": id, "ok": false, "seq": seq, "why": why}));
            }
            Err(Problem::failed(format!("the journal of run {id} cannot be believed from entry {seq} on: {why}"))
                .next("restore the state directory from a copy, and look at the regions before anything is released"))
        }
    }
}

fn print(entry: &Entry, printing: Printing, desk: &Desk) {
    if printing.is_json() {
        desk.paper.json_line(entry);
        return;
    }
    let hash = entry.hash.to_string();
    desk.paper.data_line(&Line::from(vec![
        ink(Tone::Strong, format!("{:>5}  ", entry.seq)),
        ink(Tone::Plain, format!("{} {}  ", clock::day(entry.at, &desk.zone), clock::time(entry.at, &desk.zone))),
        ink(Tone::Dim, format!("{}  ", hash.get(..12).unwrap_or(&hash))),
        ink(Tone::Accent, tame(&entry.cause)),
    ]));
    for event in &entry.events {
        let value = serde_json::to_value(event).unwrap_or_default();
        let kind = value.get("type").and_then(serde_json::Value::as_str).unwrap_or("event").to_owned();
        let rest = match value {
            serde_json::Value::Object(mut fields) => {
                fields.remove("type");
                fields.remove("at");
                serde_json::Value::Object(fields).to_string()
            }
            other => other.to_string(),
        };
        desk.paper.data_line(&Line::from(vec![
            ink(Tone::Plain, format!("       {kind} ")),
            ink(Tone::Dim, tame(&rest)),
        ]));
    }
}
