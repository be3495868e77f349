//! `provider`: what concerns the clouds themselves, beside any run.

mod live;
mod test;

use clap::Subcommand;

use super::desk::Desk;
use super::exit::Exit;
use super::problem::Problem;

/// Try the provider of a region on its real target
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    Test(test::Args),
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    match args.act {
        Act::Test(args) => test::run(args, desk).await,
    }
}
