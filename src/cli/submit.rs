//! `submit`: queues a release for its workflow's schedule.

use std::path::PathBuf;

use super::desk::{Author, Desk, Inputs, Printing};
use super::exit::Exit;
use super::problem::Problem;
use super::{file, shelf};

/// Queue a release for its workflow's schedule; the schedule takes the newest
#[derive(Debug, clap::Args)]
#[command(after_help = "`meridian serve` starts it at the schedule's next instant; a schedule that finds nothing new is skipped.")]
pub struct Args {
    /// The workflow's file
    file: PathBuf,
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    printing: Printing,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let inputs = args.inputs.map()?;
    // The same check as a start: what could not run then is refused now, while somebody looks.
    let plan = file::runnable(&args.file, &inputs, desk)?;
    let workflow = plan.workflow();
    if workflow.schedules.is_empty() {
        return Err(Problem::usage(format!("workflow `{}` has no schedule", workflow.name)).next(format!(
            "start it now with `{} run {}`, or add `schedule` to it",
            desk.program(),
            args.file.display()
        )));
    }
    let by = args.author.person()?;
    let service = shelf::open(desk).await?;
    let submission = service.submit(workflow.name.clone(), inputs, by.name).await;
    let submission = submission.map_err(|problem| shelf::unanswered("could not queue the release", &problem))?;
    if args.printing.is_json() {
        desk.paper.json(&submission);
    } else {
        desk.paper.data(&format!("{}\n", submission.id));
        desk.paper.note(&format!(
            "Queued {} {}; its schedule takes the newest release when it is due.\n",
            workflow.name,
            workflow.release.version()
        ));
    }
    Ok(Exit::Succeeded)
}
