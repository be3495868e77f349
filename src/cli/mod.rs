//! The command line: one verb a file, one list.

pub mod desk;
pub mod exit;
pub mod problem;

mod against;
mod drive;
mod file;
mod follow;
mod live;
mod many;
mod outcome;
mod post;
mod reference;
mod scene;
mod shelf;

use clap::{CommandFactory, Parser, Subcommand};

use self::desk::{Desk, Log};
use self::exit::Exit;
use self::problem::Problem;

/// Declarative multi-region rollouts: a release is a YAML workflow, compiled to a plan and executed durably.
#[derive(Debug, Parser)]
#[command(name = "meridian", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    desk: desk::Args,
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str =
    "Exit codes: 0 succeeded · 1 the rollout was rolled back or failed · 2 wrong use or invalid file · \
3 needs attention or held · 4 store or server not reached · 130 interrupted, resumable.

First steps: meridian init release.yaml, meridian plan release.yaml, meridian run release.yaml";

/// The list of verbs. A verb is a module with `Args` (whose doc comment is its help) and `run`.
macro_rules! verbs {
    ($($module:ident $name:ident)*) => {
        $(mod $module;)*

        #[derive(Debug, Subcommand)]
        enum Verb {
            $($name($module::Args),)*
        }

        async fn dispatch(verb: Verb, desk: &Desk) -> Result<Exit, Problem> {
            match verb {
                $(Verb::$name(args) => Box::pin($module::run(args, desk)).await,)*
            }
        }
    };
}

verbs! {
    // Before a run.
    init Init
    validate Validate
    plan Plan
    simulate Simulate
    test Test
    // A run.
    run Run
    resume Resume
    runs Runs
    status Status
    why Why
    watch Watch
    // People.
    approve Approve
    reject Reject
    pause Pause
    abort Abort
    rollback Rollback
    retry Retry
    skip Skip
    promote Promote
    signal Signal
    // A server.
    serve Serve
    submit Submit
    // Afterwards.
    journal Journal
    replay Replay
    // About the language.
    explain Explain
    schema Schema
    completions Completions
    // The world.
    sandbox Sandbox
    provider Provider
}

/// The whole process: reads the command line, does one verb, says what went wrong.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data and go to stdout; everything else is wrong use. clap knows which is which.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Succeeded
            };
            let _ = error.print();
            return exit;
        }
    };
    log(cli.desk.log);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprint!("{}", Problem::failed("could not start").because(&error).text());
            return Exit::Failed;
        }
    };
    let desk = Desk::new(cli.desk);
    let exit = match runtime.block_on(dispatch(cli.verb, &desk)) {
        Ok(exit) => exit,
        Err(problem) => {
            desk.paper.note(&problem.text());
            problem.exit()
        }
    };
    // Blocking calls that nobody waits for any more must not keep the process: what matters is on disk.
    runtime.shutdown_background();
    exit
}

/// Logs go to stderr, so that stdout stays data. `MERIDIAN_LOG` filters them (`info`, `meridian_engine=debug`).
fn log(form: Log) {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::WARN.into())
        .with_env_var("MERIDIAN_LOG")
        .from_env_lossy();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match form {
        Log::Text => log.with_ansi(false).init(),
        Log::Json => log.json().init(),
    }
}

/// The command line as data, for completions and the reference page.
fn command() -> clap::Command {
    Cli::command()
}
