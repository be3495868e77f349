//! `abort`: stop, and roll back as the workflow's policy says.

use meridian_engine::run::signal::Request;

use super::desk::{Author, Desk, Printing};
use super::exit::Exit;
use super::post::{self, Posting};
use super::problem::Problem;

/// Stop, and roll back as the workflow's `rollback.scope` says
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    run: String,
    /// Why, kept in the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    printing: Printing,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let request = Request::Abort { reason: args.reason };
    post::post(desk, Posting { run: args.run, request, by: args.author.person()?, printing: args.printing }).await
}
