//! `retry`: a new attempt.

use meridian_engine::run::signal::Request;

use super::desk::{Author, Desk, Printing};
use super::exit::Exit;
use super::post::{self, Posting};
use super::problem::Problem;

/// Try again: from the nodes that failed, or from the start
#[derive(Debug, clap::Args)]
#[command(after_help = "Rolled-back regions reopen; evidence and approvals start empty. It is refused once a newer run has taken a target.")]
pub struct Args {
    /// The run
    run: String,
    /// From the first phase on
    #[arg(long)]
    from_start: bool,
    /// Why, kept in the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    printing: Printing,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let request = Request::Retry {
        from_start: args.from_start,
        reason: args.reason,
    };
    post::post(desk, Posting { run: args.run, request, by: args.author.person()?, printing: args.printing }).await
}
