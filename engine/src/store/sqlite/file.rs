//! The file itself: opening it, its format, and finding out when it is not the file that it was.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::fault::unavailable;
use crate::ports::store::Error;

/// Older versions can corrupt a file when the write-ahead log is reset while another connection writes.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// "Mrdn": tells a store from any other SQLite file.
const APPLICATION_ID: i32 = 0x4d72_646e;

/// One step a format. A step and the number that it leads to are committed together, so an interrupted migration goes on
/// where it stopped.
const MIGRATIONS: [&str; 2] = [include_str!("schema.sql"), include_str!("locks.sql")];

/// How long one process waits for another's transaction. Theirs take milliseconds; a stopped process must not stop us for
/// longer than a lease lives.
const BUSY_FOR: Duration = Duration::from_secs(5);

/// Statements kept compiled in each connection; above the number that there are.
const STATEMENTS: usize = 128;

/// Opens the file, or makes it.
pub fn open_or_make(path: &Path) -> Result<Connection, Error> {
    open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
}

/// Opens one more connection to a file that is there: one that was removed must not come back empty.
pub fn connect(path: &Path) -> Result<Connection, Error> {
    open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, Error> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| refused(path, &error))?;
    set_up(&connection).map_err(|error| refused(path, &error))?;
    Ok(connection)
}

/// The settings that every connection of ours has.
fn set_up(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(BUSY_FOR)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Checkpoints are made beside the writer, never inside somebody's commit.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "foreign_keys", false)?;
    // Pages are checked as they are read, so that a damaged one is an error and not a wrong answer.
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "cache_size", -8_192)
}

/// Brings the file to this build's format.
///
/// *Errors*: [`Error::Refused`] for a file that is no store or of a newer format, and for an SQLite that is not safe.
pub fn prepare(path: &Path, connection: &mut Connection) -> Result<(), Error> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(Error::Refused(format!(
            "SQLite {} can damage a store; 3.51.3 or newer is needed",
            rusqlite::version()
        )));
    }
    migrate(path, connection)?;
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(|error| refused(path, &error))?;
    if mode.eq_ignore_ascii_case("wal") {
        Ok(())
    } else {
        Err(Error::Refused(format!(
            "{} lies on a file system without the shared memory that a store needs (journal mode {mode})",
            path.display()
        )))
    }
}

fn migrate(path: &Path, connection: &mut Connection) -> Result<(), Error> {
    let newest = MIGRATIONS.len() as i64;
    let mut format = check_format(path, connection)?;
    while format < newest {
        let step = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(|error| refused(path, &error))?;
        // Another process may have migrated while this one waited for the lock.
        format = check_format(path, &step)?;
        if let Some(sql) = usize::try_from(format).ok().and_then(|index| MIGRATIONS.get(index)) {
            (|| {
                step.execute_batch(sql)?;
                if format == 0 {
                    let id = uuid::Uuid::now_v7().to_string();
                    step.execute(
                        "INSERT INTO meta (key, value) VALUES ('id', ?1), ('generation', 0)",
                        [id],
                    )?;
                    step.pragma_update(None, "application_id", APPLICATION_ID)?;
                }
                step.pragma_update(None, "user_version", format + 1)
            })()
            .map_err(|error| refused(path, &error))?;
            format += 1;
        }
        step.commit().map_err(|error| refused(path, &error))?;
    }
    Ok(())
}

/// The file's format; 0 for a new file.
fn check_format(path: &Path, connection: &Connection) -> Result<i64, Error> {
    let number = |name: &str| -> Result<i64, Error> {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .map_err(|error| refused(path, &error))
    };
    let (application, format) = (number("application_id")?, number("user_version")?);
    let newest = MIGRATIONS.len() as i64;
    if application != i64::from(APPLICATION_ID) {
        let is_empty: Option<i64> = connection
            .query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |row| row.get(0))
            .optional()
            .map_err(|error| refused(path, &error))?;
        if application != 0 || format != 0 || is_empty.is_some() {
            return Err(Error::Refused(format!("{} is not a store of Meridian", path.display())));
        }
    }
    if format > newest {
        return Err(Error::Refused(format!(
            "{} has format {format}; this build reads up to {newest}: use a newer Meridian",
            path.display()
        )));
    }
    Ok(format)
}

/// What opening failed at, for a person.
fn refused(path: &Path, error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => Error::Refused(format!("{} is not a store of Meridian", path.display())),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            Error::Refused(format!("{} cannot be opened for writing: {error}", path.display()))
        }
        Some(_) | None => unavailable(error),
    }
}

/// Which file a handle works on, and that it has not gone back in time.
///
/// The generation rises with every handle that writes. It is kept in the file and, outside of it, in a small anchor beside
/// it: a store that is put back from an older copy has a lower generation than its anchor, and is refused, because runs
/// would repeat what they have done since.
#[derive(Clone, Debug)]
pub struct Identity {
    path: PathBuf,
    place: Option<Place>,
}

/// Device and number of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u64, u64);

fn place(path: &Path) -> Option<Place> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).ok().map(|data| Place(data.dev(), data.ino()))
    }
    #[cfg(not(unix))]
    {
        // Open files cannot be removed or replaced there.
        std::fs::metadata(path).ok().map(|_| Place(0, 0))
    }
}

impl Identity {
    pub fn of(path: &Path) -> Identity {
        Identity {
            path: path.to_owned(),
            place: place(path),
        }
    }

    /// Whether the path still leads to the file that was opened.
    pub fn is_in_place(&self) -> bool {
        self.place.is_some() && place(&self.path) == self.place
    }

    pub fn gone(&self) -> Error {
        Error::Refused(format!(
            "{} was removed or replaced while it was in use; nothing is written to it any more: start again",
            self.path.display()
        ))
    }

    fn anchor(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".anchor");
        PathBuf::from(name)
    }

    /// *Errors*: [`Error::Refused`] when the file is older than what this machine has seen of it.
    pub fn check(&self, connection: &Connection) -> Result<(), Error> {
        // The anchor is read first: what it says was committed before, and the file can only be further on.
        let Some((anchored_id, anchored)) = self.read_anchor() else {
            return Ok(());
        };
        let (id, generation) = read_identity(connection).map_err(|error| unavailable(&error))?;
        if id == anchored_id && generation < anchored {
            return Err(Error::Refused(format!(
                "{} is an older copy of the store (generation {generation}, {anchored} was seen): its runs would repeat what they have \
                 done since. To go on with it all the same, remove {}",
                self.path.display(),
                self.anchor().display()
            )));
        }
        Ok(())
    }

    /// Raises the generation, in the transaction of a handle's first write.
    pub fn rise(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        connection
            .execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'", [])
            .map(drop)
    }

    /// Anchors the generation. Only what was committed may be anchored: a process that is killed before its commit must not
    /// make the store look older than it is.
    pub fn anchor_generation(&self, connection: &Connection) {
        let Ok((id, generation)) = read_identity(connection) else {
            return;
        };
        let is_newer = self
            .read_anchor()
            .is_none_or(|(anchored_id, anchored)| anchored_id != id || anchored < generation);
        if is_newer {
            // An anchor that cannot be written makes a restored copy harder to notice and nothing else worse.
            if let Err(error) = write_anchor(&self.anchor(), &format!("{id} {generation}\n")) {
                tracing::warn!(path = %self.anchor().display(), %error, "the store's anchor cannot be written");
            }
        }
    }

    fn read_anchor(&self) -> Option<(String, i64)> {
        let text = std::fs::read_to_string(self.anchor()).ok()?;
        let (id, generation) = text.trim().split_once(' ')?;
        Some((id.to_owned(), generation.parse().ok()?))
    }
}

fn write_anchor(path: &Path, text: &str) -> std::io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    std::fs::write(&fresh, text)?;
    std::fs::rename(&fresh, path)
}

fn read_identity(connection: &Connection) -> Result<(String, i64), rusqlite::Error> {
    let id = connection.query_row("SELECT value FROM meta WHERE key = 'id'", [], |row| row.get(0))?;
    let generation = connection.query_row("SELECT value FROM meta WHERE key = 'generation'", [], |row| row.get(0))?;
    Ok((id, generation))
}
