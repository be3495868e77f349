//! `why`: what a run waits for, in a sentence.

use super::desk::{Desk, Printing};
use super::exit::Exit;
use super::follow::Follower;
use super::problem::Problem;
use super::shelf;
use crate::report::why::{self, Driver};

/// Say what a run waits for: since when, until when, who can act and how
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
    let driver = head.owner.clone().map_or(Driver::Nobody, Driver::Process);
    let mut follower = Follower::open(&service, &head.run).await?;
    follower.catch_up().await?;
    let (now, program) = (desk.now(), desk.program());
    if args.printing.is_json() {
        desk.paper.json(&why::json(&follower.run, &driver, now, &program));
    } else {
        for line in why::lines(&follower.run, &driver, now, &desk.zone, &program) {
            desk.paper.data_line(&line);
        }
    }
    Ok(Exit::Succeeded)
}
