//! Connections that only read, each used by one thread at a time, and the plans that were read before.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use meridian_workflows::plan::{Fingerprint, Plan};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};

use super::fault::{Fault, is_lasting, is_local, unavailable};
use super::journal::{self, load, read_plan};
use super::{file, head, signal};
use crate::ports::store::{Error, Head, Stored};
use crate::run::state::RunId;
use crate::store::rules::check_first;

/// Connections kept open between uses; each holds some megabytes of pages.
const IDLE_MAX: usize = 4;

/// Plans kept in memory whether or not a run of them is awake.
const PLANS_MAX: usize = 64;

#[derive(Clone)]
pub struct Readers(Arc<Inner>);

struct Inner {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    plans: Mutex<HashMap<Fingerprint, Arc<Plan>>>,
}

impl Readers {
    pub fn new(path: PathBuf, first: Connection) -> Readers {
        Readers(Arc::new(Inner {
            path,
            idle: Mutex::new(vec![first]),
            plans: Mutex::new(HashMap::new()),
        }))
    }

    /// Reads one consistent state of the file, on a thread that may wait.
    pub async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Readers, &Connection) -> Result<T, Fault> + Send + 'static,
    {
        let readers = self.clone();
        tokio::task::spawn_blocking(move || readers.read_here(work))
            .await
            .unwrap_or_else(|failed| Err(Error::Unavailable(format!("a read ended early: {failed}"))))
    }

    fn read_here<T>(&self, work: impl FnOnce(&Readers, &Connection) -> Result<T, Fault>) -> Result<T, Error> {
        let idle = self.0.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => file::connect(&self.0.path)?,
        };
        let outcome = (|| {
            let snapshot = connection.unchecked_transaction()?;
            let value = work(self, &snapshot)?;
            snapshot.commit()?;
            Ok(value)
        })();
        let is_sound = !matches!(&outcome, Err(Fault::Sqlite(error)) if is_lasting(error));
        if is_sound && connection.is_autocommit() {
            let mut idle = self.0.idle.lock();
            if idle.len() < IDLE_MAX {
                idle.push(connection);
            }
        }
        outcome.map_err(Error::from)
    }

    pub fn knows(&self, fingerprint: &Fingerprint) -> bool {
        self.0.plans.lock().contains_key(fingerprint)
    }

    /// Keeps a plan that is in the file.
    pub fn keep(&self, plan: &Arc<Plan>) {
        let mut plans = self.0.plans.lock();
        if plans.len() >= PLANS_MAX {
            plans.retain(|_, plan| Arc::strong_count(plan) > 1);
        }
        if plans.len() >= PLANS_MAX {
            plans.clear();
        }
        plans.insert(plan.fingerprint().clone(), plan.clone());
    }

    pub fn plan(&self, connection: &Connection, fingerprint: &Fingerprint) -> Result<Arc<Plan>, Fault> {
        if let Some(plan) = self.0.plans.lock().get(fingerprint) {
            return Ok(plan.clone());
        }
        let body: Option<Vec<u8>> = connection
            .prepare_cached("SELECT body FROM plans WHERE fingerprint = ?1")?
            .query_row([&fingerprint.0], |row| row.get(0))
            .optional()?;
        let body = body.ok_or_else(|| Error::UnknownPlan(fingerprint.clone()))?;
        let plan = Arc::new(read_plan(fingerprint, &body)?);
        self.keep(&plan);
        Ok(plan)
    }

    /// *Errors*: a page that SQLite finds damaged is this run's damage, not the store's end.
    pub fn load(&self, connection: &Connection, key: i64, run: &RunId) -> Result<Stored, Error> {
        let stored = (|| {
            let found = head::read(connection, key)?;
            check_name(connection, key, run, &found.head)?;
            let journal::Read { snapshot, entries } = load(connection, key, &found)?;
            check_first(&found.head, &entries)?;
            Ok(Stored {
                plan: self.plan(connection, &found.head.fingerprint)?,
                snapshot,
                entries,
                signals: signal::open(connection, key, run)?,
                head: found.head,
            })
        })();
        stored.map_err(|fault| match fault {
            Fault::Answer(error) => error,
            Fault::Sqlite(error) if is_local(&error) => Error::Damaged {
                run: run.clone(),
                why: error.to_string(),
            },
            Fault::Sqlite(error) => unavailable(&error),
        })
    }
}

/// A name stands in the row and in its index; a run is known only where both say the same.
fn check_name(connection: &Connection, key: i64, run: &RunId, head: &Head) -> Result<(), Fault> {
    let known = match head::key(connection, run) {
        Ok(known) => Some(known),
        Err(Fault::Answer(Error::UnknownRun(_))) => None,
        Err(fault) => return Err(fault),
    };
    if known == Some(key) && head.run == *run {
        Ok(())
    } else {
        Err(Fault::Answer(Error::Damaged {
            run: run.clone(),
            why: format!("its row calls it {}", head.run),
        }))
    }
}
