//! Head rows: one a run, and all that lists and look-ups need.

use jiff::Timestamp;
use meridian_workflows::plan::Fingerprint;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::{Fault, instant, nanos, signed, unsigned};
use crate::ports::store::{Error, Head};
use crate::run::entry::Hash;
use crate::run::state::RunId;
use crate::store::rules::{Position, parse_name, run_name};

/// Entries that are looked at for the newest instant. One process never dates an entry before its last one, so only clocks
/// of several processes can differ, and by less than this many entries.
const NEWEST_AMONG: i64 = 4_096;

const COLUMNS: &str = "w.name, h.number, p.fingerprint, h.created, h.at, h.seq, h.hash, h.wake, h.outcome, h.done, h.owner, \
                       h.quarantined FROM heads h JOIN workflows w ON w.id = h.workflow JOIN plans p ON p.id = h.plan";

/// The row that a run's name leads to.
///
/// *Errors*: [`Error::UnknownRun`]; [`Error::Damaged`] when index and table disagree about the name, because following either
/// would drive one run in the name of another.
pub fn key(connection: &Connection, run: &RunId) -> Result<i64, Fault> {
    let unknown = || Error::UnknownRun(run.clone());
    let (workflow, number) = parse_name(run).ok_or_else(unknown)?;
    let key: Option<i64> = connection
        .prepare_cached(
            "SELECT h.id FROM heads h JOIN workflows w ON w.id = h.workflow WHERE w.name = ?1 AND h.number = ?2",
        )?
        .query_row(params![workflow, number], |row| row.get(0))
        .optional()?;
    let key = key.ok_or_else(unknown)?;
    let named = name(connection, key)?;
    if named == *run {
        Ok(key)
    } else {
        Err(Fault::Answer(Error::Damaged {
            run: run.clone(),
            why: format!("the index of names leads to {named}"),
        }))
    }
}

pub fn name(connection: &Connection, key: i64) -> Result<RunId, rusqlite::Error> {
    connection
        .prepare_cached("SELECT w.name, h.number FROM heads h JOIN workflows w ON w.id = h.workflow WHERE h.id = ?1")?
        .query_row([key], |row| Ok(run_name(&row.get::<_, String>(0)?, row.get(1)?)))
}

/// What a load needs beside the head itself.
pub struct Found {
    pub head: Head,
    /// The newest entry's row.
    pub last: i64,
}

impl Found {
    pub fn position(&self) -> Position {
        Position {
            seq: self.head.seq,
            hash: self.head.hash,
        }
    }
}

pub fn read(connection: &Connection, key: i64) -> Result<Found, rusqlite::Error> {
    connection
        .prepare_cached(&format!("SELECT h.last, {COLUMNS} WHERE h.id = ?1"))?
        .query_row([key], |row| {
            Ok(Found {
                last: row.get(0)?,
                head: head(row, 1)?,
            })
        })
}

fn head(row: &Row<'_>, first: usize) -> Result<Head, rusqlite::Error> {
    let workflow: String = row.get(first)?;
    let wake: Option<i64> = row.get(first + 7)?;
    Ok(Head {
        run: run_name(&workflow, row.get(first + 1)?),
        workflow,
        fingerprint: Fingerprint(row.get(first + 2)?),
        created_at: instant(row.get(first + 3)?),
        at: instant(row.get(first + 4)?),
        seq: unsigned(row.get(first + 5)?),
        hash: Hash(row.get(first + 6)?),
        wake: wake.map(instant),
        outcome: row.get(first + 8)?,
        is_done: row.get(first + 9)?,
        owner: row.get(first + 10)?,
        quarantined: row.get(first + 11)?,
    })
}

/// Newest first.
pub fn page(
    connection: &Connection,
    workflow: Option<&str>,
    before: Option<&RunId>,
    limit: usize,
) -> Result<Vec<Head>, Fault> {
    let before = before.map(|run| key(connection, run)).transpose()?.unwrap_or(i64::MAX);
    let limit = signed(limit as u64);
    // Numbers of one workflow rise with the keys, so the order of its index is the order of creation.
    let (filter, order) = match workflow {
        Some(_) => ("w.name = ?3 AND h.id < ?1", "h.number DESC"),
        None => ("?3 IS NULL AND h.id < ?1", "h.id DESC"),
    };
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} WHERE {filter} ORDER BY {order} LIMIT ?2"))?;
    let heads = statement
        .query_map(params![before, limit, workflow], |row| head(row, 0))?
        .collect::<Result<_, _>>()?;
    Ok(heads)
}

/// A run and the instant at which it is due.
pub struct DueRow {
    pub key: i64,
    pub at: i64,
}

/// Runs that nobody drives and that are due by `until`, or whose lease has run out by `lapsed`: soonest first.
pub fn due(connection: &Connection, until: Timestamp, lapsed: Timestamp, limit: usize) -> Result<Vec<DueRow>, Fault> {
    let mut rows: Vec<DueRow> = Vec::new();
    let queries = [
        (
            "SELECT id, wake FROM heads WHERE owner IS NULL AND quarantined IS NULL AND wake IS NOT NULL AND wake <= ?1 \
             ORDER BY wake LIMIT ?2",
            until,
        ),
        (
            "SELECT id, until FROM heads WHERE owner IS NOT NULL AND until <= ?1 ORDER BY until LIMIT ?2",
            lapsed,
        ),
    ];
    for (sql, before) in queries {
        let mut statement = connection.prepare_cached(sql)?;
        let found = statement.query_map(params![nanos(before), signed(limit as u64)], |row| {
            Ok(DueRow {
                key: row.get(0)?,
                at: row.get(1)?,
            })
        })?;
        for row in found {
            rows.push(row?);
        }
    }
    rows.sort_by_key(|row| (row.at, row.key));
    rows.truncate(limit);
    Ok(rows)
}

/// When the soonest run is due; a run under a live lease counts as due when that ends.
pub fn next(connection: &Connection) -> Result<Option<Timestamp>, rusqlite::Error> {
    let soonest = |sql: &str| -> Result<Option<i64>, rusqlite::Error> {
        connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
    };
    let wake = soonest("SELECT min(wake) FROM heads WHERE owner IS NULL AND quarantined IS NULL AND wake IS NOT NULL")?;
    let lease = soonest("SELECT min(until) FROM heads WHERE owner IS NOT NULL")?;
    Ok([wake, lease].into_iter().flatten().min().map(instant))
}

pub fn newest_instant(connection: &Connection) -> Result<Option<Timestamp>, Fault> {
    let newest: Option<i64> = connection
        .prepare_cached(
            "SELECT max(h.at) FROM (SELECT run FROM entries ORDER BY id DESC LIMIT ?1) e JOIN heads h ON h.id = e.run",
        )?
        .query_row([NEWEST_AMONG], |row| row.get(0))?;
    Ok(newest.map(instant))
}
