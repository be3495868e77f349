//! `run`: starts a rollout and drives it, with live progress.

use std::path::PathBuf;
use std::sync::Arc;

use meridian_workflows::plan::Plan;
use serde_json::json;

use super::desk::{Author, Desk, Inputs, Printing};
use super::drive::{self, Patience};
use super::exit::Exit;
use super::file;
use super::problem::Problem;
use super::{sandbox, shelf};
use crate::world;

/// Start a rollout and drive it with live progress; Ctrl-C detaches and never aborts
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The workflow; `-` is stdin
    file: PathBuf,
    #[command(flatten)]
    inputs: Inputs,
    /// Start it and return at once; `resume` or a server drives it
    #[arg(long)]
    detach: bool,
    /// Leave with exit code 3 as soon as nothing goes on by itself
    #[arg(long, conflicts_with = "detach")]
    detach_on_hold: bool,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    printing: Printing,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let plan = Arc::new(file::runnable(&args.file, &args.inputs.map()?, desk)?);
    let by = args.author.person()?;
    let service = shelf::open(desk).await?;
    start_sandbox(&plan, desk).await?;
    let id = service.start(plan, by, None).await;
    let id = id.map_err(|problem| shelf::unanswered("could not start the run", &problem))?;
    let program = desk.program();
    if args.detach {
        if args.printing.is_json() {
            desk.paper.json(&json!({"run": id}));
        } else {
            desk.paper.data(&format!("{id}\n"));
        }
        desk.paper.note(&format!("Submitted. A server of this state directory drives it, or you do: {program} resume {id}\n"));
        return Ok(Exit::Succeeded);
    }
    desk.paper.note(&format!("Run {id}. Ctrl-C leaves it where it is and never aborts.\n"));
    desk.paper.note(&format!("In another terminal: {program} watch {id}, {program} why {id}\n\n"));
    let patience = if args.detach_on_hold { Patience::UntilHeld } else { Patience::ToTheEnd };
    drive::drive(&service, &id, patience, args.printing, desk).await
}

/// The sandbox outlives runs; it is started when one needs it and none is there.
pub async fn start_sandbox(plan: &Plan, desk: &Desk) -> Result<(), Problem> {
    if !world::needs_sandbox(plan) || world::sandbox_is_up(desk).await {
        return Ok(());
    }
    announce_sandbox(desk).await
}

/// Starts a sandbox and says so.
pub async fn announce_sandbox(desk: &Desk) -> Result<(), Problem> {
    let address = sandbox::start(desk, 0, 1, 1.0).await?;
    desk.paper.note(&format!(
        "Started a sandbox at {}: a small cloud on this machine, which stays up ({} sandbox --stop ends it).\n",
        address.url,
        desk.program()
    ));
    Ok(())
}
