//! Submissions and the instants of schedules: nothing fires twice.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::fault::{Fault, instant, nanos};
use crate::ports::store::{Error, Fired, Submission};

pub fn submit(connection: &Connection, submission: &Submission) -> Result<(), Fault> {
    let body = serde_json::to_string(submission).expect("a submission has text keys only");
    connection
        .prepare_cached("INSERT OR IGNORE INTO submissions (key, workflow, body, queued) VALUES (?1, ?2, ?3, 1)")?
        .execute(params![submission.id, submission.workflow, body])?;
    Ok(())
}

/// What a schedule remembers.
struct Mark {
    instant: Timestamp,
    submission: Option<String>,
}

fn mark(connection: &Connection, workflow: &str, schedule: &str) -> Result<Option<Mark>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT instant, submission FROM schedules WHERE workflow = ?1 AND schedule = ?2")?
        .query_row([workflow, schedule], |row| {
            Ok(Mark {
                instant: instant(row.get(0)?),
                submission: row.get(1)?,
            })
        })
        .optional()
}

fn remember(
    connection: &Connection,
    workflow: &str,
    schedule: &str,
    at: Timestamp,
    submission: Option<&str>,
) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO schedules (workflow, schedule, instant, submission) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![workflow, schedule, nanos(at), submission])
        .map(drop)
}

fn read(body: &str) -> Result<Submission, Fault> {
    serde_json::from_str(body)
        .map_err(|error| Fault::Answer(Error::Refused(format!("a stored submission cannot be read: {error}"))))
}

/// Does in a savepoint what [`crate::ports::store::Store::fire`] promises.
pub fn fire(connection: &Connection, workflow: &str, schedule: &str, at: Timestamp) -> Result<Fired, Fault> {
    if let Some(mark) = mark(connection, workflow, schedule)?
        && mark.instant >= at
    {
        let taken = mark.submission.filter(|_| mark.instant == at);
        let submission = taken.map(|id| by_id(connection, &id)).transpose()?;
        return Ok(Fired::Already { submission });
    }
    let newest: Option<(String, String)> = connection
        .prepare_cached(
            "SELECT key, body FROM submissions WHERE workflow = ?1 AND queued = 1 ORDER BY id DESC LIMIT 1",
        )?
        .query_row([workflow], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    remember(
        connection,
        workflow,
        schedule,
        at,
        newest.as_ref().map(|(id, _)| id.as_str()),
    )?;
    let Some((_, body)) = newest else {
        return Ok(Fired::Nothing);
    };
    connection
        .prepare_cached("UPDATE submissions SET queued = 0 WHERE workflow = ?1 AND queued = 1")?
        .execute([workflow])?;
    Ok(Fired::Start(read(&body)?))
}

fn by_id(connection: &Connection, id: &str) -> Result<Submission, Fault> {
    let body: String = connection
        .prepare_cached("SELECT body FROM submissions WHERE key = ?1")?
        .query_row([id], |row| row.get(0))?;
    read(&body)
}

/// Never takes a schedule back.
pub fn skip(connection: &Connection, workflow: &str, schedule: &str, at: Timestamp) -> Result<(), Fault> {
    if mark(connection, workflow, schedule)?.is_none_or(|mark| mark.instant < at) {
        remember(connection, workflow, schedule, at, None)?;
    }
    Ok(())
}

pub fn last_fired(connection: &Connection, workflow: &str, schedule: &str) -> Result<Option<Timestamp>, Fault> {
    Ok(mark(connection, workflow, schedule)?.map(|mark| mark.instant))
}
