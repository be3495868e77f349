//! Locks: a claim on one name, with a queue in the order of coming.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::fault::{Fault, nanos, signed};
use super::{claim, head, lease};
use crate::ports::store::{LOCK_PATIENCE, Lease, Locking};
use crate::store::rules::{LockVerdict, judge_lock, lock_target};

/// Does in a savepoint what [`crate::ports::store::Store::lock`] promises.
pub fn lock(connection: &Connection, lease: &Lease, name: &str, now: Timestamp) -> Result<Locking, Fault> {
    lease::live(connection, lease)?;
    let (key, target) = (lease.key(), lock_target(name));
    let row = claim::row(connection, &target)?;
    let queue: Vec<(i64, bool)> = connection
        .prepare_cached("SELECT run, asked > ?2 FROM queue WHERE lock = ?1 ORDER BY id")?
        .query_map(params![name, nanos(earliest(now))], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    connection
        .prepare_cached("UPDATE heads SET stirred = 0 WHERE id = ?1")?
        .execute([key])?;
    match judge_lock(key, row, &queue) {
        LockVerdict::Granted { number } => {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO claims (target, number, holder, taker) VALUES (?1, ?2, ?3, ?3)",
                )?
                .execute(params![target, signed(number), key])?;
            leave(connection, key, Some(name))?;
            Ok(Locking::Held { number })
        }
        LockVerdict::Waits { by, ahead } => {
            connection
                .prepare_cached(
                    "INSERT INTO queue (lock, run, asked) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (lock, run) DO UPDATE SET asked = excluded.asked",
                )?
                .execute(params![name, key, nanos(now)])?;
            Ok(Locking::Waits {
                by: head::name(connection, by)?,
                ahead,
            })
        }
    }
}

/// Who has asked before this does not keep others waiting.
fn earliest(now: Timestamp) -> Timestamp {
    now.checked_sub(LOCK_PATIENCE.signed()).unwrap_or(Timestamp::MIN)
}

/// Gives back one lock, if the run holds it, and its place in the queue.
pub fn unlock(connection: &Connection, lease: &Lease, name: &str) -> Result<(), Fault> {
    lease::live(connection, lease)?;
    let (key, target) = (lease.key(), lock_target(name));
    leave(connection, key, Some(name))?;
    let freed = connection
        .prepare_cached("UPDATE claims SET holder = NULL WHERE target = ?1 AND holder = ?2")?
        .execute(params![target, key])?;
    if freed > 0 {
        claim::wake(connection, &target)?;
    }
    Ok(())
}

/// Out of one queue, or of all.
pub fn leave(connection: &Connection, key: i64, name: Option<&str>) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached("DELETE FROM queue WHERE run = ?1 AND lock = coalesce(?2, lock)")?
        .execute(params![key, name])
        .map(drop)
}
