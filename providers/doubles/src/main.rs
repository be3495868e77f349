//! `meridian-doubles`: one double of a cloud as a process of its own, for foreign clients and for demonstrations.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser;
use meridian_doubles::catalogue::{self, DOUBLES, Options};

/// Serves the double of a cloud on loopback and prints `{"url": …}` once it listens; ends with SIGINT or SIGTERM.
#[derive(Debug, Parser)]
#[command(name = "meridian-doubles")]
struct Args {
    /// Which cloud; `list` names them.
    double: String,
    /// A port of loopback; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How much faster than real time its clock runs; at 0 it stands still.
    #[arg(long, default_value_t = 1.0)]
    pace: f64,
    /// Write every exchange to this file, a line of JSON each.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// What is there at the beginning, as the double's own JSON.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> anyhow::Result<()> {
    if args.double == "list" {
        for double in DOUBLES {
            println!("{:<20} {}", double.name, double.summary);
        }
        return Ok(());
    }
    let Some(double) = catalogue::find(&args.double) else {
        bail!("there is no double `{}`; `list` names them", args.double);
    };
    if !(args.pace.is_finite() && args.pace >= 0.0) {
        bail!("the pace is a number from 0 on, got `{}`", args.pace);
    }
    let options = Options {
        port: args.port,
        pace: args.pace,
        journal: args.journal,
        state: args.state,
    };
    let served = (double.serve)(options).await;
    let served = served.with_context(|| format!("could not serve `{}`", double.name))?;
    println!("{}", serde_json::json!({"url": served.url}));
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
        () = served.ended() => {}
    }
    Ok(())
}
