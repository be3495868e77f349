//! The one thread that writes: everything that waits is done in one transaction and one flush, and nobody hears of it before.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::vec::Drain;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::checkpoint::Checkpoints;
use super::fault::{Fault, is_lasting, is_local, unavailable};
use super::file::{self, Identity};
use crate::ports::store::Error;

/// Requests in one transaction. More would make the first wait long for the last; a flush costs as much for one as for all.
const GROUP_MAX: usize = 4_096;

/// How often the file is asked whether another process has written, while somebody waits to hear of it.
const FOREIGN_EVERY: Duration = Duration::from_millis(20);

/// How a request is kept from hurting the others of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// It refuses before it writes anything; a fault after that undoes the whole group.
    Checked,
    /// It runs in a savepoint of its own.
    Savepoint,
}

/// Whether others should look for work after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stirs {
    Nobody,
    /// A run may have become due.
    Somebody,
}

struct Job {
    guard: Guard,
    stirs: Stirs,
    /// With an error instead of a connection it only tells the caller.
    work: Work,
}

type Work = Box<dyn FnOnce(Result<&Connection, Error>) -> Done + Send>;

/// What a piece of work came to, before anybody is told.
struct Done {
    fault: Option<rusqlite::Error>,
    /// Nothing of it may stay, though nothing is wrong with the file.
    is_refused: bool,
    tell: Tell,
}

/// Tells the caller, once the transaction is durable (none) or has failed.
type Tell = Box<dyn FnOnce(Option<Error>) + Send>;

#[derive(Default)]
struct Queue {
    jobs: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: Vec<Job>,
    is_closed: bool,
}

/// The side that callers hold.
pub struct Writer {
    queue: Arc<Queue>,
    changes: watch::Sender<u64>,
    /// Callers that wait for a change.
    listeners: Arc<AtomicUsize>,
    is_alive: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    /// *Errors*: the thread cannot be started.
    pub fn start(path: PathBuf, connection: Connection, identity: Identity) -> Result<Writer, Error> {
        let queue = Arc::new(Queue::default());
        let (changes, _) = watch::channel(0);
        let listeners = Arc::new(AtomicUsize::new(0));
        let is_alive = Arc::new(AtomicBool::new(true));
        let mut desk = Desk {
            checkpoints: Checkpoints::start(path.clone())?,
            path,
            connection: Some(connection),
            identity,
            has_risen: false,
            is_gone: false,
            seen: None,
            changes: changes.clone(),
        };
        let (waiting, heard, alive) = (queue.clone(), listeners.clone(), is_alive.clone());
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                desk.serve(&waiting, &heard);
                alive.store(false, Ordering::Release);
                waiting.jobs.lock().jobs.clear();
            })
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Writer {
            queue,
            changes,
            listeners,
            is_alive,
            thread: Some(thread),
        })
    }

    /// Has work done and waits until it is durable.
    pub async fn submit<T, F>(&self, guard: Guard, stirs: Stirs, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let (teller, answer) = oneshot::channel::<Result<T, Error>>();
        let work = Box::new(
            move |desk: Result<&Connection, Error>| match desk.map_err(Fault::Answer).and_then(work) {
                Ok(value) => Done {
                    fault: None,
                    is_refused: false,
                    tell: Box::new(move |failed| {
                        // A caller that has gone away does not undo what it asked for.
                        let _ = teller.send(failed.map_or(Ok(value), Err));
                    }),
                },
                Err(Fault::Answer(error)) => Done {
                    fault: None,
                    is_refused: true,
                    tell: Box::new(move |failed| {
                        let _ = teller.send(Err(failed.unwrap_or(error)));
                    }),
                },
                Err(Fault::Sqlite(error)) => {
                    let text = unavailable(&error);
                    Done {
                        fault: Some(error),
                        is_refused: true,
                        tell: Box::new(move |failed| {
                            let _ = teller.send(Err(failed.unwrap_or(text)));
                        }),
                    }
                }
            },
        );
        self.push(Job { guard, stirs, work })?;
        answer.await.unwrap_or_else(|_| {
            Err(Error::Unavailable(
                "the request failed inside the store's writer".to_owned(),
            ))
        })
    }

    fn push(&self, job: Job) -> Result<(), Error> {
        let mut waiting = self.queue.jobs.lock();
        if waiting.is_closed || !self.is_alive.load(Ordering::Acquire) {
            return Err(Error::Unavailable("the store is closed".to_owned()));
        }
        waiting.jobs.push(job);
        if waiting.jobs.len() == 1 {
            self.queue.arrived.notify_one();
        }
        Ok(())
    }

    /// A number that rises whenever something may have become due.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// While the guard lives, the writer also looks for what other processes wrote.
    pub fn listen(&self) -> Listening {
        if self.listeners.fetch_add(1, Ordering::AcqRel) == 0 {
            // The lock makes sure that the writer is either before its look at the count or already asleep.
            drop(self.queue.jobs.lock());
            self.queue.arrived.notify_one();
        }
        Listening(self.listeners.clone())
    }
}

pub struct Listening(Arc<AtomicUsize>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.jobs.lock().is_closed = true;
        self.queue.arrived.notify_one();
        if let Some(thread) = self.thread.take() {
            // It finishes what was asked for; a panic there has been told to whoever waited.
            let _ = thread.join();
        }
    }
}

/// The side of the thread.
struct Desk {
    path: PathBuf,
    /// None after a failure that a handle does not survive, until the next request opens another.
    connection: Option<Connection>,
    identity: Identity,
    has_risen: bool,
    is_gone: bool,
    /// The last look at other processes' commits.
    seen: Option<i64>,
    changes: watch::Sender<u64>,
    checkpoints: Checkpoints,
}

impl Desk {
    fn serve(&mut self, queue: &Queue, listeners: &AtomicUsize) {
        let mut jobs: Vec<Job> = Vec::new();
        loop {
            {
                let mut waiting = queue.jobs.lock();
                if waiting.jobs.is_empty() {
                    if waiting.is_closed {
                        return;
                    }
                    if listeners.load(Ordering::Acquire) > 0 {
                        queue.arrived.wait_for(&mut waiting, FOREIGN_EVERY);
                    } else {
                        queue.arrived.wait(&mut waiting);
                    }
                }
                std::mem::swap(&mut jobs, &mut waiting.jobs);
            }
            if jobs.is_empty() {
                self.look_abroad();
                continue;
            }
            let mut rest = jobs.drain(..);
            while rest.len() > 0 {
                self.serve_group(&mut rest);
            }
        }
    }

    /// Asks whether another process has committed since the last look.
    fn look_abroad(&mut self) {
        let Some(connection) = &self.connection else {
            return;
        };
        let version: Option<i64> = connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .ok();
        // The first look tells too: what was written before it may not have been seen by anybody here.
        if version.is_some() && self.seen != version {
            self.changes.send_modify(|count| *count += 1);
            self.seen = version;
        }
    }

    fn serve_group(&mut self, jobs: &mut Drain<'_, Job>) {
        let mut told: Vec<Tell> = Vec::with_capacity(jobs.len().min(GROUP_MAX));
        let mut stirs = Stirs::Nobody;
        let begun = self.begin();
        let has_begun = begun.is_ok();
        let outcome = begun.and_then(|()| {
            let connection = self.connection.as_ref().ok_or_else(closed)?;
            for job in jobs.by_ref().take(GROUP_MAX) {
                if job.stirs == Stirs::Somebody {
                    stirs = Stirs::Somebody;
                }
                do_job(connection, job, &mut told)?;
            }
            commit(connection)
        });
        let failed = match outcome {
            Ok(()) if self.identity.is_in_place() => None,
            // Committed, but to a file that nobody will find again.
            Ok(()) => {
                self.is_gone = true;
                Some(Failed::Gone)
            }
            Err(failed) => Some(failed),
        };
        if let Some(failed) = &failed {
            self.give_up(failed);
            if !has_begun {
                let refuse = |job: Job| (job.work)(Err(self.explain(failed))).tell;
                told.extend(jobs.by_ref().take(GROUP_MAX).map(refuse));
            }
        }
        for tell in told {
            tell(failed.as_ref().map(|failed| self.explain(failed)));
        }
        if failed.is_none() {
            if stirs == Stirs::Somebody {
                self.changes.send_modify(|count| *count += 1);
            }
            if let Some(connection) = &self.connection {
                if !self.has_risen {
                    self.identity.anchor_generation(connection);
                    self.has_risen = true;
                }
                self.checkpoints.after_commit(connection);
            }
        }
    }

    fn begin(&mut self) -> Result<(), Failed> {
        if self.is_gone {
            return Err(Failed::Gone);
        }
        if self.connection.is_none() {
            let connection = file::connect(&self.path).map_err(Failed::Store)?;
            if !self.identity.is_in_place() {
                self.is_gone = true;
                return Err(Failed::Gone);
            }
            self.seen = None;
            self.connection = Some(connection);
        }
        let connection = self.connection.as_ref().ok_or_else(closed)?;
        run(connection, "BEGIN IMMEDIATE")?;
        if !self.has_risen {
            self.identity.rise(connection).map_err(Failed::Sqlite)?;
        }
        Ok(())
    }

    /// Makes sure that nothing of a failed group stays, and that the next one starts on firm ground.
    fn give_up(&mut self, failed: &Failed) {
        tracing::error!(path = %self.path.display(), error = %self.explain(failed), "a group of requests was not written");
        let is_lost = match failed {
            Failed::Sqlite(error) => is_lasting(error),
            Failed::Panicked => false,
            Failed::Store(_) | Failed::Gone => true,
        };
        let is_open = self
            .connection
            .as_ref()
            .is_some_and(|connection| !connection.is_autocommit() && run(connection, "ROLLBACK").is_err());
        if is_lost || is_open {
            self.connection = None;
        }
    }

    fn explain(&self, failed: &Failed) -> Error {
        match failed {
            Failed::Sqlite(error) => unavailable(error),
            Failed::Store(error) => Error::Unavailable(error.to_string()),
            Failed::Gone => self.identity.gone(),
            Failed::Panicked => Error::Unavailable("another request of the same group failed".to_owned()),
        }
    }
}

/// Why a whole group failed.
enum Failed {
    Sqlite(rusqlite::Error),
    Store(Error),
    /// The file is not where it was.
    Gone,
    Panicked,
}

fn closed() -> Failed {
    Failed::Store(Error::Unavailable("the store is closed".to_owned()))
}

fn run(connection: &Connection, sql: &str) -> Result<(), Failed> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute([]))
        .map(drop)
        .map_err(Failed::Sqlite)
}

fn commit(connection: &Connection) -> Result<(), Failed> {
    run(connection, "COMMIT")
}

fn do_job(connection: &Connection, job: Job, told: &mut Vec<Tell>) -> Result<(), Failed> {
    let Job { guard, work, .. } = job;
    let changes = connection.total_changes();
    if guard == Guard::Savepoint {
        run(connection, "SAVEPOINT request")?;
    }
    let Ok(done) = catch_unwind(AssertUnwindSafe(|| work(Ok(connection)))) else {
        // Its caller hears that the request failed, because nobody is left to answer.
        return match guard {
            Guard::Savepoint => undo(connection),
            Guard::Checked => Err(Failed::Panicked),
        };
    };
    told.push(done.tell);
    match (done.fault, guard) {
        (None, Guard::Checked) => Ok(()),
        (None, Guard::Savepoint) if done.is_refused => undo(connection),
        (None, Guard::Savepoint) => run(connection, "RELEASE request"),
        (Some(fault), Guard::Savepoint) if is_local(&fault) => undo(connection),
        (Some(fault), Guard::Checked) if is_local(&fault) && connection.total_changes() == changes => Ok(()),
        (Some(fault), Guard::Checked | Guard::Savepoint) => Err(Failed::Sqlite(fault)),
    }
}

fn undo(connection: &Connection) -> Result<(), Failed> {
    run(connection, "ROLLBACK TO request")?;
    run(connection, "RELEASE request")
}
