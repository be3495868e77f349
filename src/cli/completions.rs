//! `completions`: what a shell needs to complete commands.

use clap_complete::Shell;

use super::desk::{Desk, Printing};
use super::exit::Exit;
use super::problem::Problem;

/// Print a shell's completion script
#[derive(Debug, clap::Args)]
#[command(after_help = "bash: source <(meridian completions bash)")]
pub struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
    #[command(flatten)]
    printing: Printing,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "meridian", &mut script);
    let script = String::from_utf8_lossy(&script);
    if args.printing.is_json() {
        let shell = args.shell.to_string();
        desk.paper.json(&serde_json::json!({"shell": shell, "script": script}));
    } else {
        desk.paper.data(&script);
    }
    Ok(Exit::Succeeded)
}
