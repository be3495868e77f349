//! `completions`: what a shell needs to complete commands.

use clap_complete::Shell;

use super::desk::Desk;
use super::exit::Exit;
use super::problem::Problem;

/// Print a shell's completion script
#[derive(Debug, clap::Args)]
#[command(after_help = "bash: source <(meridian completions bash)")]
pub struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "meridian", &mut script);
    desk.paper.data(&String::from_utf8_lossy(&script));
    Ok(Exit::Succeeded)
}
