//! `status`: where a run stands.

use super::desk::{Desk, Printing};
use super::exit::Exit;
use super::follow::Follower;
use super::problem::Problem;
use super::shelf;
use crate::report::board::Board;
use crate::report::evidence;
use crate::report::evidence::lines::Detail;
use crate::report::status;

/// Show where a run stands: regions, stages, gates, and what it waits for
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    run: String,
    #[command(flatten)]
    printing: Printing,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let service = shelf::open_existing(desk).await?;
    let head = shelf::head(&service, &args.run, desk).await?;
    let mut follower = Follower::open(&service, &head.run).await?;
    follower.catch_up().await?;
    let (now, program) = (desk.now(), desk.program());
    if args.printing.is_json() {
        desk.paper.json(&status::json(&follower.run, now, &program));
        return Ok(Exit::Succeeded);
    }
    let board = Board {
        run: &follower.run,
        history: &follower.history,
        now,
        program: &program,
    };
    for line in board.lines() {
        desk.paper.data_line(&line);
    }
    let evidence = evidence::lines::lines(&follower.run, Detail::Short, now, &desk.zone);
    if !evidence.is_empty() {
        desk.paper.data("\n");
        desk.paper.data_line(&evidence::lines::heading());
    }
    for line in evidence {
        desk.paper.data_line(&line);
    }
    if let Some(reason) = head.quarantined {
        desk.paper.note(&format!("\nThis run was set aside, because it made the engine fail: {reason}\n"));
    }
    Ok(Exit::Succeeded)
}
