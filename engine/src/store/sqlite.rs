//! The embedded store: one SQLite file, one thread that writes for everybody, readers beside it.
//!
//! *Guarantees*: a request is answered after the flush of its transaction; several processes may share the file, each
//! driving its own runs.

mod checkpoint;
mod claim;
mod fault;
mod file;
mod head;
mod journal;
mod lease;
mod lock;
mod readers;
mod signal;
mod submission;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{Fingerprint, Plan};
use rusqlite::Connection;

use self::fault::{Fault, instant, is_local, unavailable};
use self::file::Identity;
use self::journal::Start;
use self::lease::Term;
use self::readers::Readers;
use self::writer::{Guard, Stirs, Writer};
use crate::ports::store::{
    Answer, Append, Claiming, Due, Error, Fired, Head, Lease, Locking, NewRun, RawEntry, Store, Stored, Submission,
    Taken,
};
use crate::run::signal::Signal;
use crate::run::state::RunId;

/// A store in one file.
pub struct Sqlite {
    writer: Writer,
    readers: Readers,
    /// The last change that [`Store::changed`] has told of.
    told: AtomicU64,
}

impl Sqlite {
    /// Opens the store at `path`; makes it when there is none. Its directory must exist.
    ///
    /// *Errors*: [`Error::Refused`] for a file that is no store, of a newer format, or an older copy of itself;
    /// [`Error::Unavailable`] when it cannot be reached.
    pub fn open(path: &Path) -> Result<Sqlite, Error> {
        let path = std::path::absolute(path).map_err(|error| Error::Unavailable(error.to_string()))?;
        let mut connection = file::open_or_make(&path)?;
        file::prepare(&path, &mut connection)?;
        let identity = Identity::of(&path);
        identity.check(&connection)?;
        let reader = file::connect(&path)?;
        Ok(Sqlite {
            readers: Readers::new(path.clone(), reader),
            writer: Writer::start(path, connection, identity)?,
            told: AtomicU64::new(0),
        })
    }

    async fn write<T, F>(&self, stirs: Stirs, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.writer.submit(Guard::Savepoint, stirs, work).await
    }
}

/// Does a piece of work for each item. One that is refused, or whose own pages are damaged before it has written anything, does
/// not keep the others from being done.
fn each<I, T>(
    connection: &Connection,
    items: impl IntoIterator<Item = I>,
    mut work: impl FnMut(I) -> Result<T, Fault>,
) -> Result<Vec<Result<T, Error>>, Fault> {
    let mut answers = Vec::new();
    for item in items {
        let changes = connection.total_changes();
        answers.push(match work(item) {
            Ok(value) => Ok(value),
            Err(Fault::Answer(error)) => Err(error),
            Err(Fault::Sqlite(error)) if is_local(&error) && connection.total_changes() == changes => {
                Err(unavailable(&error))
            }
            Err(fault) => return Err(fault),
        });
    }
    Ok(answers)
}

/// The same failure for everybody of a batch.
fn to_all<T>(count: usize, error: &Error) -> Vec<Result<T, Error>> {
    let again = || match error {
        Error::Refused(why) => Error::Refused(why.clone()),
        Error::Unavailable(why) => Error::Unavailable(why.clone()),
        other => Error::Unavailable(other.to_string()),
    };
    std::iter::repeat_with(|| Err(again())).take(count).collect()
}

#[async_trait::async_trait]
impl Store for Sqlite {
    async fn create(&self, new: NewRun) -> Result<RunId, Error> {
        let plan = new.plan.clone();
        let body = if self.readers.knows(plan.fingerprint()) {
            None
        } else {
            Some(
                serde_json::to_vec(&*plan)
                    .map_err(|error| Error::Refused(format!("the plan cannot be written: {error}")))?,
            )
        };
        let start = Start { new, plan: body };
        let run = self
            .write(Stirs::Somebody, move |connection| journal::create(connection, start))
            .await?;
        self.readers.keep(&plan);
        Ok(run)
    }

    async fn append_all(&self, appends: Vec<(Lease, Append)>) -> Vec<Result<(), Error>> {
        let count = appends.len();
        self.writer
            .submit(Guard::Checked, Stirs::Nobody, move |connection| {
                each(connection, &appends, |(lease, append)| {
                    journal::append(connection, lease, append)
                })
            })
            .await
            .unwrap_or_else(|error| to_all(count, &error))
    }

    async fn load(&self, run: &RunId) -> Result<Stored, Error> {
        let run = run.clone();
        self.readers
            .read(move |readers, connection| {
                let key = head::key(connection, &run)?;
                Ok(readers.load(connection, key, &run)?)
            })
            .await
    }

    async fn journal(&self, run: &RunId, from_seq: u64, limit: usize) -> Result<Vec<RawEntry>, Error> {
        let run = run.clone();
        self.readers
            .read(move |_, connection| {
                let key = head::key(connection, &run)?;
                let found = head::read(connection, key)?;
                journal::read_back(connection, key, &found, from_seq, limit)
            })
            .await
    }

    async fn plan(&self, fingerprint: &Fingerprint) -> Result<Arc<Plan>, Error> {
        let fingerprint = fingerprint.clone();
        self.readers
            .read(move |readers, connection| readers.plan(connection, &fingerprint))
            .await
    }

    async fn runs(&self, workflow: Option<&str>, before: Option<&RunId>, limit: usize) -> Result<Vec<Head>, Error> {
        let (workflow, before) = (workflow.map(str::to_owned), before.cloned());
        self.readers
            .read(move |_, connection| head::page(connection, workflow.as_deref(), before.as_ref(), limit))
            .await
    }

    async fn head(&self, run: &RunId) -> Result<Head, Error> {
        let run = run.clone();
        self.readers
            .read(move |_, connection| {
                let key = head::key(connection, &run)?;
                Ok(head::read(connection, key)?.head)
            })
            .await
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<Due>, Error> {
        self.readers
            .read(move |_, connection| {
                head::due(connection, until, until, limit)?
                    .into_iter()
                    .map(|row| {
                        Ok(Due {
                            run: head::name(connection, row.key)?,
                            at: instant(row.at),
                        })
                    })
                    .collect()
            })
            .await
    }

    async fn take(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        length: Duration,
        limit: usize,
    ) -> Result<Taken, Error> {
        let term = Term::new(owner, now, length);
        let lease::Taken { leases, next } = self
            .writer
            .submit(Guard::Savepoint, Stirs::Nobody, move |connection| {
                lease::take(connection, &term, until, limit)
            })
            .await?;
        if leases.is_empty() {
            return Ok(Taken { runs: Vec::new(), next });
        }
        let runs = self
            .readers
            .read(move |readers, connection| {
                Ok(leases
                    .into_iter()
                    .map(|lease| {
                        let stored = readers.load(connection, lease.key(), lease.run());
                        (lease, stored)
                    })
                    .collect())
            })
            .await?;
        Ok(Taken { runs, next })
    }

    async fn acquire(
        &self,
        run: &RunId,
        owner: &str,
        now: Timestamp,
        length: Duration,
    ) -> Result<Option<Lease>, Error> {
        let (run, term) = (run.clone(), Term::new(owner, now, length));
        self.write(Stirs::Nobody, move |connection| lease::acquire(connection, &run, &term))
            .await
    }

    async fn renew_all(&self, leases: Vec<Lease>, now: Timestamp, length: Duration) -> Vec<Result<Lease, Error>> {
        let (count, until) = (leases.len(), lease::end(now, length));
        self.writer
            .submit(Guard::Checked, Stirs::Nobody, move |connection| {
                each(connection, &leases, |lease| lease::renew(connection, lease, until))
            })
            .await
            .unwrap_or_else(|error| to_all(count, &error))
    }

    async fn release(&self, lease: Lease, wake: Option<Timestamp>) -> Result<(), Error> {
        self.write(Stirs::Somebody, move |connection| {
            lease::release(connection, &lease, wake)
        })
        .await
    }

    async fn quarantine(&self, run: &RunId, reason: &str) -> Result<(), Error> {
        let (run, reason) = (run.clone(), reason.to_owned());
        self.write(Stirs::Nobody, move |connection| {
            lease::quarantine(connection, &run, &reason)
        })
        .await
    }

    async fn take_back(&self, run: &RunId) -> Result<(), Error> {
        let run = run.clone();
        self.write(Stirs::Somebody, move |connection| lease::take_back(connection, &run))
            .await
    }

    async fn claim(
        &self,
        lease: &Lease,
        targets: &[String],
        floor: u64,
        only_if_newest: bool,
    ) -> Result<Claiming, Error> {
        let lease = lease.clone();
        let wish = claim::Wish {
            targets: targets.to_vec(),
            floor,
            only_if_newest,
        };
        self.write(Stirs::Nobody, move |connection| claim::claim(connection, &lease, &wish))
            .await
    }

    async fn release_claims(&self, lease: &Lease) -> Result<(), Error> {
        let lease = lease.clone();
        self.write(Stirs::Somebody, move |connection| claim::release(connection, &lease))
            .await
    }

    async fn lock(&self, lease: &Lease, name: &str, now: Timestamp) -> Result<Locking, Error> {
        let (lease, name) = (lease.clone(), name.to_owned());
        self.write(Stirs::Nobody, move |connection| {
            lock::lock(connection, &lease, &name, now)
        })
        .await
    }

    async fn unlock(&self, lease: &Lease, name: &str) -> Result<(), Error> {
        let (lease, name) = (lease.clone(), name.to_owned());
        self.write(Stirs::Somebody, move |connection| {
            lock::unlock(connection, &lease, &name)
        })
        .await
    }

    async fn post(&self, run: &RunId, signal: Signal, now: Timestamp) -> Result<(), Error> {
        let run = run.clone();
        self.write(Stirs::Somebody, move |connection| {
            signal::post(connection, &run, &signal, now)
        })
        .await
    }

    async fn signals(&self, run: &RunId) -> Result<Vec<Signal>, Error> {
        let run = run.clone();
        self.readers
            .read(move |_, connection| signal::open(connection, head::key(connection, &run)?, &run))
            .await
    }

    async fn inbox(&self, owner: &str, now: Timestamp, limit: usize) -> Result<Vec<(RunId, Signal)>, Error> {
        let owner = owner.to_owned();
        self.readers
            .read(move |_, connection| signal::inbox(connection, &owner, now, limit))
            .await
    }

    async fn answer(&self, signal: &str) -> Result<Option<Answer>, Error> {
        let signal = signal.to_owned();
        self.readers
            .read(move |_, connection| signal::answer(connection, &signal))
            .await
    }

    async fn submit(&self, submission: Submission) -> Result<(), Error> {
        self.write(Stirs::Somebody, move |connection| {
            submission::submit(connection, &submission)
        })
        .await
    }

    async fn fire(&self, workflow: &str, schedule: &str, instant: Timestamp) -> Result<Fired, Error> {
        let (workflow, schedule) = (workflow.to_owned(), schedule.to_owned());
        self.write(Stirs::Nobody, move |connection| {
            submission::fire(connection, &workflow, &schedule, instant)
        })
        .await
    }

    async fn skip(&self, workflow: &str, schedule: &str, instant: Timestamp) -> Result<(), Error> {
        let (workflow, schedule) = (workflow.to_owned(), schedule.to_owned());
        self.write(Stirs::Nobody, move |connection| {
            submission::skip(connection, &workflow, &schedule, instant)
        })
        .await
    }

    async fn last_fired(&self, workflow: &str, schedule: &str) -> Result<Option<Timestamp>, Error> {
        let (workflow, schedule) = (workflow.to_owned(), schedule.to_owned());
        self.readers
            .read(move |_, connection| submission::last_fired(connection, &workflow, &schedule))
            .await
    }

    async fn newest_instant(&self) -> Result<Option<Timestamp>, Error> {
        self.readers
            .read(|_, connection| head::newest_instant(connection))
            .await
    }

    async fn changed(&self, at_most: std::time::Duration) {
        let mut changes = self.writer.changes();
        let now = *changes.borrow_and_update();
        if self.told.swap(now, Ordering::AcqRel) != now {
            return;
        }
        let _listening = self.writer.listen();
        // Time running out is an answer too, and so is a writer that has ended: its requests will say so.
        let _ = tokio::time::timeout(at_most, changes.changed()).await;
        self.told.store(*changes.borrow(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
