//! The runs of this state directory: opening their store, finding one by name, and saying why that did not work.

use std::sync::Arc;

use meridian_engine::ports::store::{Error, Head, Store};
use meridian_engine::run::state::RunId;
use meridian_engine::scheduler::clock::SystemClock;
use meridian_engine::service::{self, Service};
use meridian_engine::store::sqlite::Sqlite;
use meridian_workflows::diagnostic::suggestion;

use super::desk::Desk;
use super::problem::Problem;

/// How many runs a suggestion looks at.
const PAGE: usize = 500;

/// Opens the store, and creates it when it is missing.
pub async fn open(desk: &Desk) -> Result<Service, Problem> {
    let dir = desk.state_dir();
    let failed = || Problem::unreachable(format!("could not open the state directory `{}`", dir.display()));
    std::fs::create_dir_all(dir).map_err(|error| {
        failed()
            .because(&error)
            .next("name another with `--state DIR`, or check who may write there")
    })?;
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&desk.state_file()).map_err(|error| failed().because(&error))?);
    let floor = service::floor(store.as_ref())
        .await
        .map_err(|error| failed().because(&error))?;
    Ok(Service::new(store, Arc::new(SystemClock::new(floor))))
}

/// Whether there is a store.
///
/// *Errors*: a path at which none can be, so that a slip in it is not taken for an empty store.
pub fn is_there(desk: &Desk) -> Result<bool, Problem> {
    desk.state_file().try_exists().map_err(|error| {
        Problem::unreachable(format!(
            "could not look into the state directory `{}`",
            desk.state_dir().display()
        ))
        .because(&error)
        .next("name another with `--state DIR`, or check who may read there")
    })
}

/// Opens the store that is there already: a question about a run does not create one.
pub async fn open_existing(desk: &Desk) -> Result<Service, Problem> {
    if is_there(desk)? {
        return open(desk).await;
    }
    let what = format!("there are no runs in `{}`", desk.state_dir().display());
    Err(Problem::usage(what).next(format!(
        "start one with `{} run FILE`, or name another state directory with `--state DIR`",
        desk.program()
    )))
}

/// The run of this name, as lists know it.
pub async fn head(service: &Service, name: &str, desk: &Desk) -> Result<Head, Problem> {
    match service.store().head(&RunId(name.to_owned())).await {
        Ok(head) => Ok(head),
        Err(Error::UnknownRun(_)) => Err(unknown(service, name, desk).await),
        Err(error) => Err(stored(&format!("could not read run {name}"), &error)),
    }
}

async fn unknown(service: &Service, name: &str, desk: &Desk) -> Problem {
    let known = service.runs(None, None, PAGE).await.unwrap_or_default();
    let meant = suggestion::closest(name, known.iter().map(|head| head.run.0.as_str()));
    let list = format!("all runs: {} runs", desk.program());
    Problem::usage(format!("there is no run `{name}`")).next(match meant {
        Some(meant) => format!("did you mean {meant}? {list}"),
        None if known.is_empty() => format!("there is none yet; start one with `{} run FILE`", desk.program()),
        None => list,
    })
}

/// The facade's answer as a message for people, with the exit code that goes with it.
pub fn unanswered(what: &str, problem: &service::Problem) -> Problem {
    match problem {
        service::Problem::Store(error) => stored(what, error),
        service::Problem::Unfit { .. } => Problem::failed(what).because(problem),
        service::Problem::NotAvailable { .. } | service::Problem::Refused(_) => Problem::usage(what).because(problem),
        service::Problem::Unanswered(_) => Problem::unreachable(what).because(problem),
    }
}

/// A store's error as a message for people.
pub fn stored(what: &str, error: &Error) -> Problem {
    match error {
        Error::Damaged { run, .. } => Problem::failed(what)
            .because(error)
            .next(format!("see where it breaks: meridian journal {run} --verify")),
        Error::LostLease { .. } | Error::Conflict { .. } => Problem::unreachable(what)
            .because(error)
            .next("another process drives it; follow it with `meridian watch`"),
        Error::UnknownRun(_) | Error::UnknownPlan(_) | Error::Refused(_) | Error::Unavailable(_) => {
            Problem::unreachable(what).because(error)
        }
    }
}
