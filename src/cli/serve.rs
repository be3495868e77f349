//! `serve`: a long-running engine that owns every run of its store and starts what is scheduled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use meridian_engine::scheduler::engine::Options;
use meridian_engine::service::serve::{self, Catalogue, Listing};
use meridian_workflows::decode::Reading;
use meridian_workflows::diagnostic::render::{self, Colour};
use meridian_workflows::diagnostic::{Diagnostic, Severity};
use meridian_workflows::plan::Plan;
use meridian_workflows::plan::compile::compile;

use super::desk::Desk;
use super::drive::{self, Interruptions};
use super::exit::Exit;
use super::file::{self, Purpose};
use super::problem::Problem;
use super::{run as start, shelf};
use crate::world;

/// Drive every run of the store, and start what the workflows of a directory have scheduled
#[derive(Debug, clap::Args)]
#[command(after_help = "It stops on SIGTERM or Ctrl-C: what is being written is finished, leases are handed back, runs go on later.")]
pub struct Args {
    /// Workflow files and folders of them; looked at again every two seconds
    dir: PathBuf,
    /// Start the sandbox too, for workflows that live in it
    #[arg(long)]
    sandbox: bool,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let service = shelf::open(desk).await?;
    if args.sandbox && !world::sandbox_is_up(desk).await {
        start::announce_sandbox(desk).await?;
    }
    let mut interruptions = Interruptions::new()?;
    let dir = args.dir.clone();
    desk.paper.note(&format!(
        "Serving {}: every run of {} is driven here (Ctrl-C stops, nothing is lost).\n",
        dir.display(),
        desk.state_dir().display()
    ));
    serve::serve(
        service,
        Arc::new(world::world(desk)),
        Options::named(drive::owner()),
        args.dir,
        Arc::new(Files),
        async move { interruptions.next().await },
    )
    .await
    .map_err(|error| Problem::usage(format!("could not serve `{}`", dir.display())).because(&error))?;
    Ok(Exit::Succeeded)
}

/// Workflow files as the language reads them.
struct Files;

impl Catalogue for Files {
    fn read(&self, path: &Path) -> Listing {
        match file::read(path, &BTreeMap::new(), Purpose::Look) {
            Ok(reading) => Listing {
                diagnostics: errors(&reading),
                workflows: reading
                    .workflow
                    .map(|workflow| (workflow.name, workflow.schedules))
                    .into_iter()
                    .collect(),
            },
            Err(problem) => Listing {
                workflows: Vec::new(),
                diagnostics: Some(problem.text()),
            },
        }
    }

    fn plan(&self, path: &Path, workflow: &str, inputs: &BTreeMap<String, String>) -> Result<Arc<Plan>, String> {
        let reading = file::read(path, inputs, Purpose::Start).map_err(|problem| problem.text())?;
        let said = errors(&reading);
        match reading.workflow {
            Some(found) if found.name == workflow => Ok(Arc::new(compile(found))),
            Some(found) => Err(format!("the file holds workflow `{}` now, not `{workflow}`", found.name)),
            None => Err(said.unwrap_or_else(|| "the file holds no workflow any more".to_owned())),
        }
    }
}

/// What a log should say about a file: its errors. Warnings are for the author, at `validate`.
fn errors(reading: &Reading) -> Option<String> {
    let errors: Vec<Diagnostic> = reading
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .cloned()
        .collect();
    (!errors.is_empty()).then(|| render::render_all(&errors, Colour::Plain))
}
