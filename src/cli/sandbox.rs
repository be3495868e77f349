//! `sandbox`: the embedded world as a process of its own.

use std::process::{Command, Stdio};
use std::time::Duration;

use meridian_providers::sandbox::address::{self, Address};
use meridian_providers::sandbox::options::{Options, Timings};
use serde_json::json;

use super::desk::{Desk, Printing};
use super::exit::Exit;
use super::problem::Problem;

/// Run the sandbox: a small cloud with real HTTP traffic on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "`meridian run` starts one by itself when a workflow needs it and none is up.")]
pub struct Args {
    /// Start it in the background, and return once it answers
    #[arg(long, conflicts_with_all = ["stop", "show"])]
    background: bool,
    /// Stop the one that runs
    #[arg(long, conflicts_with = "show")]
    stop: bool,
    /// Print the address of the one that runs
    #[arg(long)]
    show: bool,
    /// The control port; 0 takes a free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    port: u16,
    /// Where its chance comes from
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Multiplies how long starting, shifting and draining take
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = pace)]
    pace: f64,
    #[command(flatten)]
    printing: Printing,
}

fn pace(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && (0.01..=1_000.0).contains(&factor) => Ok(factor),
        _ => Err("a factor lies between 0.01 and 1000".to_owned()),
    }
}

/// How long a sandbox may take to answer after its start.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to be gone after it was asked to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    if args.stop {
        return stop(args.printing, desk).await;
    }
    if args.show {
        return show(args.printing, desk).await;
    }
    if let Some(address) = address::find(&desk.sandbox_dir()).await {
        let what = format!("a sandbox runs already for this state directory, at {}", address.url);
        return Err(Problem::usage(what).next(format!("stop it first: {} sandbox --stop", desk.program())));
    }
    if args.background {
        let address = start(desk, args.port, args.seed, args.pace).await?;
        said(&address, args.printing, desk);
        return Ok(Exit::Succeeded);
    }
    serve(&args, desk).await
}

/// In this process, until it is told to stop.
async fn serve(args: &Args, desk: &Desk) -> Result<Exit, Problem> {
    let mut options = Options::new(desk.sandbox_dir());
    options.listen.set_port(args.port);
    options.seed = args.seed;
    options.timings = Timings::default().paced(args.pace);
    let (printing, paper) = (args.printing, desk.paper);
    let program = desk.program();
    let ready = move |address: &Address| {
        if printing.is_json() {
            paper.json_line(&described(address));
        } else {
            paper.note(&format!("The sandbox answers at {} (Ctrl-C or {program} sandbox --stop ends it).\n", address.url));
        }
    };
    meridian_providers::sandbox::serve(options, ready)
        .await
        .map(|()| Exit::Succeeded)
        .map_err(|error| Problem::unreachable("the sandbox could not run").because(&error))
}

async fn show(printing: Printing, desk: &Desk) -> Result<Exit, Problem> {
    let address = find(desk).await?;
    said(&address, printing, desk);
    Ok(Exit::Succeeded)
}

async fn find(desk: &Desk) -> Result<Address, Problem> {
    address::find(&desk.sandbox_dir()).await.ok_or_else(|| {
        let what = format!("no sandbox runs for the state directory `{}`", desk.state_dir().display());
        Problem::unreachable(what).next(format!("start one: {} sandbox --background", desk.program()))
    })
}

fn said(address: &Address, printing: Printing, desk: &Desk) {
    if printing.is_json() {
        desk.paper.json(&described(address));
    } else {
        desk.paper.data(&format!("{}\n", address.url));
        desk.paper.note("  /regions shows its regions, /metrics its counters, /api/v1/query answers PromQL.\n");
    }
}

fn described(address: &Address) -> serde_json::Value {
    json!({"url": address.url, "pid": address.pid})
}

async fn stop(printing: Printing, desk: &Desk) -> Result<Exit, Problem> {
    let address = find(desk).await?;
    let failed = |error: &(dyn std::error::Error + 'static)| {
        Problem::unreachable(format!("could not stop the sandbox at {}", address.url)).because(error)
    };
    // Loopback only: a proxy from the environment would send this elsewhere.
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(STOP_PATIENCE)
        .build()
        .map_err(|error| failed(&error))?;
    let answer = client.post(format!("{}/stop", address.url)).send().await;
    answer
        .and_then(reqwest::Response::error_for_status)
        .map_err(|error| failed(&error))?;
    let gone = async {
        while address::find(&desk.sandbox_dir()).await.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(STOP_PATIENCE, gone).await.is_err() {
        return Err(Problem::unreachable("the sandbox was asked to stop and still answers")
            .next(format!("look at process {}", address.pid)));
    }
    if printing.is_json() {
        desk.paper.json(&json!({"stopped": address.url}));
    } else {
        desk.paper.note("The sandbox has stopped. What it saved stays for the next one.\n");
    }
    Ok(Exit::Succeeded)
}

/// Starts a sandbox as a process that outlives this one, and waits until it answers.
pub async fn start(desk: &Desk, port: u16, seed: u64, pace: f64) -> Result<Address, Problem> {
    let failed = || Problem::unreachable("could not start a sandbox");
    let dir = desk.sandbox_dir();
    std::fs::create_dir_all(&dir).map_err(|error| failed().because(&error))?;
    let log = dir.join("sandbox.log");
    let said = std::fs::File::create(&log).map_err(|error| failed().because(&error))?;
    let program = std::env::current_exe().map_err(|error| failed().because(&error))?;
    let mut command = Command::new(program);
    command
        .arg("--state")
        .arg(desk.state_dir())
        .arg("sandbox")
        .args(["--port", &port.to_string(), "--seed", &seed.to_string(), "--pace", &pace.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said);
    // A process group of its own: Ctrl-C at the terminal ends the run's process, not the cloud that it talks to.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map_err(|error| failed().because(&error))?;
    address::await_running(&dir, START_PATIENCE)
        .await
        .ok_or_else(|| failed().next(format!("what it said stands in {}", log.display())))
}
