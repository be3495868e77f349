//! Leases: who drives which run, and until when.

use std::sync::Arc;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use rusqlite::{Connection, OptionalExtension, params};

use super::fault::{Fault, instant, is_local, nanos, signed, unsigned};
use super::head;
use super::journal::has_open_signals;
use crate::ports::store::{Error, Lease};
use crate::run::state::RunId;
use crate::store::rules::{run_name, wake_when_parked};

/// Who takes leases, when, and until when they last.
pub struct Term {
    pub owner: Arc<str>,
    pub now: Timestamp,
    pub until: Timestamp,
}

impl Term {
    pub fn new(owner: &str, now: Timestamp, length: Duration) -> Term {
        Term {
            owner: Arc::from(owner),
            now,
            until: end(now, length),
        }
    }
}

/// Saturates at the end of time.
pub fn end(now: Timestamp, length: Duration) -> Timestamp {
    now.checked_add(length.signed()).unwrap_or(Timestamp::MAX)
}

pub struct Taken {
    pub leases: Vec<Lease>,
    pub next: Option<Timestamp>,
}

/// Takes what is due, soonest first, and tells when the next of the rest is.
pub fn take(connection: &Connection, term: &Term, until: Timestamp, limit: usize) -> Result<Taken, Fault> {
    let due = head::due(connection, until, term.now, limit)?;
    let mut leases = Vec::with_capacity(due.len());
    for row in due {
        match grant(connection, term, row.key) {
            Ok(lease) => leases.push(lease),
            // A head that cannot be read is left to whoever repairs the file; the other runs go on.
            Err(error) if is_local(&error) => tracing::error!(row = row.key, %error, "the head of a run is damaged"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Taken {
        leases,
        next: head::next(connection)?,
    })
}

/// Gives the run to the owner of the term.
fn grant(connection: &Connection, term: &Term, key: i64) -> Result<Lease, rusqlite::Error> {
    let (epoch, workflow, number) = connection
        .prepare_cached(
            "UPDATE heads SET owner = ?2, until = ?3, epoch = epoch + 1, stirred = 0 WHERE id = ?1 \
             RETURNING epoch, (SELECT name FROM workflows WHERE id = workflow), number",
        )?
        .query_row(params![key, term.owner, nanos(term.until)], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, u32>(2)?))
        })?;
    let run = run_name(&workflow, number);
    Ok(Lease::granted(
        run,
        term.owner.clone(),
        unsigned(epoch),
        term.until,
        key,
    ))
}

/// None while somebody else's lease lives.
pub fn acquire(connection: &Connection, run: &RunId, term: &Term) -> Result<Option<Lease>, Fault> {
    let key = head::key(connection, run)?;
    let (lives_until, owner, quarantined): (Option<i64>, Option<String>, Option<String>) = connection
        .prepare_cached("SELECT until, owner, quarantined FROM heads WHERE id = ?1")?
        .query_row([key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if let Some(reason) = quarantined {
        return Err(Fault::Answer(Error::Refused(format!(
            "run {run} is in quarantine ({reason}); take it back first"
        ))));
    }
    let is_anothers = owner.is_some_and(|owner| owner != *term.owner);
    if is_anothers && lives_until.is_some_and(|until| instant(until) > term.now) {
        return Ok(None);
    }
    Ok(Some(grant(connection, term, key)?))
}

fn lost(lease: &Lease) -> Error {
    Error::LostLease {
        run: lease.run().clone(),
    }
}

pub fn renew(connection: &Connection, lease: &Lease, until: Timestamp) -> Result<Lease, Fault> {
    let renewed = connection
        .prepare_cached("UPDATE heads SET until = ?4 WHERE id = ?1 AND epoch = ?2 AND owner = ?3")?
        .execute(params![lease.key(), signed(lease.epoch()), lease.owner(), nanos(until)])?;
    if renewed == 0 {
        return Err(Fault::Answer(lost(lease)));
    }
    Ok(Lease::granted(
        lease.run().clone(),
        Arc::from(lease.owner()),
        lease.epoch(),
        until,
        lease.key(),
    ))
}

pub fn release(connection: &Connection, lease: &Lease, wake: Option<Timestamp>) -> Result<(), Fault> {
    let (at, is_stirred) = live(connection, lease)?;
    let waits = is_stirred || has_open_signals(connection, lease.key())?;
    let wake = wake_when_parked(wake, instant(at), waits);
    connection
        .prepare_cached("UPDATE heads SET owner = NULL, until = NULL, stirred = 0, wake = ?2 WHERE id = ?1")?
        .execute(params![lease.key(), wake.map(nanos)])?;
    Ok(())
}

/// The instant of the newest entry of a run under this lease, and whether a target it waits for was given back.
///
/// *Errors*: [`Error::LostLease`].
pub fn live(connection: &Connection, lease: &Lease) -> Result<(i64, bool), Fault> {
    let found = connection
        .prepare_cached("SELECT at, stirred FROM heads WHERE id = ?1 AND epoch = ?2 AND owner = ?3")?
        .query_row(params![lease.key(), signed(lease.epoch()), lease.owner()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(found.ok_or_else(|| lost(lease))?)
}

pub fn quarantine(connection: &Connection, run: &RunId, reason: &str) -> Result<(), Fault> {
    let key = head::key(connection, run)?;
    connection
        .prepare_cached("UPDATE heads SET quarantined = ?2, owner = NULL, until = NULL WHERE id = ?1")?
        .execute(params![key, reason])?;
    Ok(())
}

/// The run is due at once: as of its newest entry, since nobody says what time it is.
pub fn take_back(connection: &Connection, run: &RunId) -> Result<(), Fault> {
    let key = head::key(connection, run)?;
    connection
        .prepare_cached(
            "UPDATE heads SET quarantined = NULL, wake = min(coalesce(wake, at), at) WHERE id = ?1 AND quarantined IS NOT NULL",
        )?
        .execute([key])?;
    Ok(())
}
