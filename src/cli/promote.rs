//! `promote`: the rest of a region at once.

use meridian_engine::run::signal::Request;

use super::desk::{Author, Desk, Printing};
use super::exit::Exit;
use super::post::{self, Posting};
use super::problem::Problem;

/// Take the rest of a region at once: straight to 100 %
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    run: String,
    /// The region
    region: String,
    /// Why, kept in the journal
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    printing: Printing,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let request = Request::Promote {
        region: args.region,
        reason: args.reason,
    };
    post::post(desk, Posting { run: args.run, request, by: args.author.person()?, printing: args.printing }).await
}
