//! `resume`: drives what the store holds, or lifts a pause and drives that run.

use meridian_engine::ports::store::Head;
use meridian_engine::run::signal::Request;
use meridian_engine::run::state::{RunId, Standing};
use meridian_engine::service::Service;

use super::desk::{Author, Desk, Printing};
use super::drive::{self, Patience};
use super::exit::Exit;
use super::follow::Follower;
use super::post;
use super::problem::Problem;
use super::{run as start, shelf};

/// Lift a run's pause and drive it; without a run, drive what the store holds
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run; without one, every open run of the store, one after another
    run: Option<String>,
    /// Leave with exit code 3 as soon as nothing goes on by itself
    #[arg(long)]
    detach_on_hold: bool,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    printing: Printing,
}

/// Open runs that are looked for.
const PAGE: usize = 500;

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let service = shelf::open_existing(desk).await?;
    let patience = if args.detach_on_hold { Patience::UntilHeld } else { Patience::ToTheEnd };
    match &args.run {
        Some(name) => {
            let head = shelf::head(&service, name, desk).await?;
            one(&service, &head.run, &args, patience, desk).await
        }
        None => every(&service, &args, patience, desk).await,
    }
}

async fn one(service: &Service, id: &RunId, args: &Args, patience: Patience, desk: &Desk) -> Result<Exit, Problem> {
    let mut follower = Follower::open(service, id).await?;
    follower.catch_up().await?;
    let run = &follower.run;
    start::start_sandbox(run.plan(), desk).await?;
    if run.is_paused() || matches!(run.state().standing, Standing::Attention { .. }) {
        let by = args.author.person()?;
        post::ask(service, id, Request::Resume, by, desk).await?;
    }
    drive::drive(service, id, patience, args.printing, desk).await
}

/// One display at a time: each open run to its rest, oldest first. A run that is paused stays so.
async fn every(service: &Service, args: &Args, patience: Patience, desk: &Desk) -> Result<Exit, Problem> {
    let open = open(service).await?;
    if open.is_empty() {
        desk.paper.note("Every run of this store is over; there is nothing to drive.\n");
        return Ok(Exit::Succeeded);
    }
    let mut worst = Exit::Succeeded;
    for head in open {
        if head.outcome == "paused" || head.outcome == "needs-attention" {
            let program = desk.program();
            desk.paper.note(&format!("{} is {}; to go on: {program} resume {}\n", head.run, head.outcome, head.run));
            worst = worse(worst, Exit::Attention);
            continue;
        }
        desk.paper.note(&format!("Driving {}.\n\n", head.run));
        let plan = service.store().plan(&head.fingerprint).await;
        let plan = plan.map_err(|error| shelf::stored(&format!("could not read run {}", head.run), &error))?;
        start::start_sandbox(&plan, desk).await?;
        let exit = drive::drive(service, &head.run, patience, args.printing, desk).await?;
        if exit == Exit::Interrupted {
            return Ok(exit);
        }
        worst = worse(worst, exit);
    }
    Ok(worst)
}

async fn open(service: &Service) -> Result<Vec<Head>, Problem> {
    let heads = service.runs(None, None, PAGE).await;
    let heads = heads.map_err(|error| shelf::unanswered("could not list the runs", &error))?;
    let mut open: Vec<Head> = heads.into_iter().filter(|head| !head.is_done && head.quarantined.is_none()).collect();
    open.reverse();
    Ok(open)
}

fn worse(one: Exit, other: Exit) -> Exit {
    let badness = |exit: Exit| match exit {
        Exit::Succeeded => 0,
        Exit::Failed => 1,
        Exit::Attention => 2,
        Exit::Usage | Exit::Unreachable | Exit::Interrupted => 3,
    };
    if badness(other) > badness(one) { other } else { one }
}
