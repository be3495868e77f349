//! Folding the write-ahead log back into the file beside the writer, so that an append never waits for it.

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use rusqlite::Connection;

use super::file;
use crate::ports::store::Error;

/// Pages in the log that are not yet in the file when a checkpoint begins: 4 MiB. Smaller would write hot pages again and again,
/// larger would make one flush long enough to be felt.
const PAGES_BEGIN: i64 = 1_024;

/// Size of the log above which the writer itself finishes the checkpoint: 32 MiB. Under a load that never pauses the other
/// thread never catches up, and only a log that is wholly folded is begun anew.
const PAGES_RESET: i64 = 8_192;

/// What may be left for the writer to fold then: a few milliseconds.
const PAGES_LEFT: i64 = 512;

/// Size of the log above which the writer folds whatever is left, and every caller waits for it: 64 MiB.
const PAGES_MAX: i64 = 2 * PAGES_RESET;

/// The writer's side of the thread that makes checkpoints.
pub struct Checkpoints {
    wish: Option<SyncSender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Checkpoints {
    /// *Errors*: no connection, no thread.
    pub fn start(path: PathBuf) -> Result<Checkpoints, Error> {
        let (wish, wishes) = sync_channel::<()>(1);
        let thread = std::thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || {
                let mut connection: Option<Connection> = None;
                while wishes.recv().is_ok() {
                    if connection.is_none() {
                        connection = file::connect(&path).ok();
                    }
                    let Some(open) = &connection else { continue };
                    // Busy means that another process is at it.
                    let _ = open.busy_timeout(Duration::ZERO);
                    if let Err(error) = checkpoint(open, "PRAGMA wal_checkpoint(PASSIVE)") {
                        tracing::warn!(path = %path.display(), %error, "a checkpoint failed; the log grows until one succeeds");
                        connection = None;
                    }
                }
            })
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Checkpoints {
            wish: Some(wish),
            thread: Some(thread),
        })
    }

    /// Looks at the log and has it folded when it has grown.
    pub fn after_commit(&mut self, connection: &Connection) {
        let Ok(log) = checkpoint(connection, "PRAGMA wal_checkpoint(NOOP)") else {
            return;
        };
        if log.pages >= PAGES_MAX || (log.pages >= PAGES_RESET && log.left() <= PAGES_LEFT) {
            if let Err(error) = checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)") {
                tracing::warn!(%error, "the log could not be folded; it grows until a checkpoint succeeds");
            }
        } else if log.left() >= PAGES_BEGIN
            && let Some(Err(TrySendError::Disconnected(()))) = self.wish.as_ref().map(|wish| wish.try_send(()))
        {
            tracing::warn!("the store's checkpoint thread has ended");
            self.wish = None;
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.wish = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The log's length, and how much of it is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Log {
    pages: i64,
    folded: i64,
}

impl Log {
    fn left(self) -> i64 {
        self.pages - self.folded
    }
}

fn checkpoint(connection: &Connection, sql: &str) -> Result<Log, rusqlite::Error> {
    connection.prepare_cached(sql)?.query_row([], |row| {
        Ok(Log {
            pages: row.get(1)?,
            folded: row.get(2)?,
        })
    })
}
