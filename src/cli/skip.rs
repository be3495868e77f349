//! `skip`: leave a gate or the rest of a stage out.

use meridian_engine::run::signal::{Request, Skip};

use super::desk::{Author, Desk, Printing};
use super::exit::Exit;
use super::post::{self, Posting};
use super::problem::Problem;

/// Leave out a gate, or the rest of a stage's bake and gates
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["gate", "stage"])))]
pub struct Args {
    /// The run
    run: String,
    /// The gate to leave out, in the node that waits for it
    gate: Option<String>,
    /// The stage to leave out, by its key, as in `stage:medium/eu-west-1/25%`
    #[arg(long, value_name = "KEY", conflicts_with = "gate")]
    stage: Option<String>,
    /// The node, where the same gate waits in several
    #[arg(long, value_name = "KEY", requires = "gate")]
    node: Option<String>,
    /// Why, kept in the journal
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    printing: Printing,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let what = match (args.gate, args.stage) {
        (Some(gate), _) => Skip::Gate { gate, node: args.node },
        (None, Some(node)) => Skip::Stage { node },
        (None, None) => {
            return Err(Problem::usage("what to leave out is missing").next("name a gate, or a stage with --stage KEY"));
        }
    };
    let request = Request::Skip { what, reason: args.reason };
    post::post(desk, Posting { run: args.run, request, by: args.author.person()?, printing: args.printing }).await
}
