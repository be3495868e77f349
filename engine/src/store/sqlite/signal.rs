//! Signals: posted once, answered once.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::fault::{Fault, nanos, signed};
use super::head;
use crate::ports::store::{Answer, Error};
use crate::run::signal::Signal;
use crate::run::state::RunId;
use crate::store::rules::run_name;

/// Stores the signal and makes the run due, unless somebody drives it: then its owner finds it in the inbox.
pub fn post(connection: &Connection, run: &RunId, signal: &Signal, now: Timestamp) -> Result<(), Fault> {
    let key = head::key(connection, run)?;
    let body = serde_json::to_string(signal).expect("a signal has text keys only");
    let added = connection
        .prepare_cached("INSERT OR IGNORE INTO signals (key, run, at, body) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![signal.id, key, nanos(now), body])?;
    if added > 0 {
        connection
            .prepare_cached("UPDATE heads SET wake = min(coalesce(wake, ?2), ?2) WHERE id = ?1 AND owner IS NULL")?
            .execute(params![key, nanos(now)])?;
    }
    Ok(())
}

fn read(run: impl FnOnce() -> RunId, body: &str) -> Result<Signal, Error> {
    serde_json::from_str(body).map_err(|error| Error::Damaged {
        run: run(),
        why: format!("a signal cannot be read: {error}"),
    })
}

/// Not yet answered, oldest first.
pub fn open(connection: &Connection, key: i64, run: &RunId) -> Result<Vec<Signal>, Fault> {
    let mut statement =
        connection.prepare_cached("SELECT body FROM signals WHERE run = ?1 AND answer IS NULL ORDER BY id")?;
    let mut rows = statement.query([key])?;
    let mut signals = Vec::new();
    while let Some(row) = rows.next()? {
        signals.push(read(
            || run.clone(),
            row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?,
        )?);
    }
    Ok(signals)
}

/// Not yet answered, of all runs that this owner drives.
pub fn inbox(
    connection: &Connection,
    owner: &str,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<(RunId, Signal)>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT w.name, h.number, s.body FROM signals s INDEXED BY signals_open JOIN heads h ON h.id = s.run \
         JOIN workflows w ON w.id = h.workflow \
         WHERE s.answer IS NULL AND h.owner = ?1 AND h.until > ?2 ORDER BY s.id LIMIT ?3",
    )?;
    let mut rows = statement.query(params![owner, nanos(now), signed(limit as u64)])?;
    let mut signals = Vec::new();
    while let Some(row) = rows.next()? {
        let run = run_name(&row.get::<_, String>(0)?, row.get(1)?);
        let signal = read(|| run.clone(), &row.get::<_, String>(2)?)?;
        signals.push((run, signal));
    }
    Ok(signals)
}

pub fn answer(connection: &Connection, signal: &str) -> Result<Option<Answer>, Fault> {
    let found: Option<Option<String>> = connection
        .prepare_cached("SELECT answer FROM signals WHERE key = ?1")?
        .query_row([signal], |row| row.get(0))
        .optional()?;
    found
        .flatten()
        .map(|text| {
            serde_json::from_str(&text).map_err(|error| {
                Fault::Answer(Error::Refused(format!(
                    "the answer to signal `{signal}` cannot be read: {error}"
                )))
            })
        })
        .transpose()
}
