//! What goes wrong inside the file store: an answer to one caller, or SQLite failing under all of them.

use jiff::Timestamp;
use rusqlite::ErrorCode;

use crate::ports::store::Error;

/// Why a piece of work did not succeed.
#[derive(Debug)]
pub enum Fault {
    /// The caller's own answer; nothing is wrong with the file.
    Answer(Error),
    Sqlite(rusqlite::Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Answer(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Sqlite(error)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        match fault {
            Fault::Answer(error) => error,
            Fault::Sqlite(error) => unavailable(&error),
        }
    }
}

pub fn unavailable(error: &rusqlite::Error) -> Error {
    Error::Unavailable(match error.sqlite_error_code() {
        // SQLite waits for a while before it says so: writes take milliseconds, unless their process stands still in one.
        Some(ErrorCode::DatabaseBusy) => {
            "another process keeps its write lock; if that one is stopped or hangs, let it go on or end it".to_owned()
        }
        Some(_) | None => error.to_string(),
    })
}

/// Whether only what one request touched is at fault (a damaged page, a bad value), so that others may go on.
pub fn is_local(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => matches!(
            failure.code,
            ErrorCode::DatabaseCorrupt | ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch
        ),
        // Everything else is about reading a value that does not have the expected shape.
        _ => true,
    }
}

/// Whether the handle must not be used again. After a flush that failed nobody knows what of it has reached the disk, and a
/// second attempt would report success for pages that the system has already dropped.
pub fn is_lasting(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::CannotOpen
                | ErrorCode::NotADatabase
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::ApiMisuse
        )
    )
}

/// Nanoseconds since 1970, as stored. Instants outside 1678..2262 are held at the edge: no wake-up lies there.
pub fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(if at < Timestamp::UNIX_EPOCH { i64::MIN } else { i64::MAX })
}

pub fn instant(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos)).expect("every 64-bit count of nanoseconds is an instant")
}

/// SQLite's integers are signed; no position or epoch comes near the edge.
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
