//! `signal`: a system outside says how something went.

use meridian_engine::run::signal::{Posted, Request};

use super::desk::{Author, Desk, Printing};
use super::exit::Exit;
use super::post::{self, Posting};
use super::problem::Problem;

const AFTER_HELP: &str = "A post counts only for a node that waits for it: one that comes before it is asked for is refused, and so is one that \
nothing waits for any more. While a node waits, the newest post counts, so the same post twice is harmless.";

/// Post what a `signal` gate waits for
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, group(clap::ArgGroup::new("says").required(true).multiple(true).args(["passed", "failed", "payload"])))]
pub struct Args {
    /// The run
    run: String,
    /// The signal's name: the gate's own, unless the gate gives it another
    #[arg(value_name = "NAME")]
    signal: String,
    /// It went well
    #[arg(long, conflicts_with = "failed")]
    passed: bool,
    /// It went wrong; the gate's `onFail` follows, whatever the payload says
    #[arg(long)]
    failed: bool,
    /// What came out, at most 16 KiB; kept in the journal, and read by the gate's `accept`
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    /// The node, where several wait for the same signal
    #[arg(long, value_name = "KEY")]
    node: Option<String>,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    printing: Printing,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let payload = args.payload.as_deref().map(json).transpose()?;
    let request = Request::Signal(Posted {
        name: args.signal,
        node: args.node,
        passed: (args.passed || args.failed).then_some(args.passed),
        payload,
    });
    let posting = Posting { run: args.run, request, by: args.author.person()?, printing: args.printing };
    post::post(desk, posting).await
}

fn json(text: &str) -> Result<serde_json::Value, Problem> {
    serde_json::from_str(text).map_err(|error| {
        Problem::usage(format!("the payload is no JSON: {error}")).next("for example --payload '{\"p99\": 240}'")
    })
}
