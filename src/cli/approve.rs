//! `approve`: a person says yes.

use meridian_engine::run::signal::Request;

use super::desk::{Author, Desk, Printing};
use super::exit::Exit;
use super::post::{self, Posting};
use super::problem::Problem;

/// Say yes to an approval gate, or to a question that a gate asks
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    run: String,
    /// The gate; not needed where only one waits
    gate: Option<String>,
    /// The node, where the same gate waits in several
    #[arg(long, value_name = "KEY")]
    node: Option<String>,
    /// Kept in the journal
    #[arg(long, short = 'm', value_name = "TEXT")]
    comment: Option<String>,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    printing: Printing,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let request = Request::Approve {
        gate: args.gate,
        node: args.node,
        comment: args.comment,
    };
    post::post(desk, Posting { run: args.run, request, by: args.author.person()?, printing: args.printing }).await
}
