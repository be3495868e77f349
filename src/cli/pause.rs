//! `pause`: nothing advances until somebody resumes.

use meridian_engine::run::signal::Request;

use super::desk::{Author, Desk, Printing};
use super::exit::Exit;
use super::post::{self, Posting};
use super::problem::Problem;

/// Stop advancing; gates keep reading, and a breach still rolls back
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    run: String,
    /// Let bakes stand still too
    #[arg(long)]
    freeze_bake: bool,
    /// Why, kept in the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    printing: Printing,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let request = Request::Pause {
        freeze_bake: args.freeze_bake,
        reason: args.reason,
    };
    post::post(desk, Posting { run: args.run, request, by: args.author.person()?, printing: args.printing }).await
}
