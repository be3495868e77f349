//! Claims on targets: all or none, with numbers that rise.

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::{Fault, signed, unsigned};
use super::{head, lease, lock};
use crate::ports::store::{Claiming, Lease};
use crate::store::rules::{ClaimVerdict, TargetRow, judge_claim, lock_name};

pub struct Wish {
    pub targets: Vec<String>,
    pub floor: u64,
    pub only_if_newest: bool,
}

/// Does in a savepoint what [`crate::ports::store::Store::claim`] promises.
pub fn claim(connection: &Connection, lease: &Lease, wish: &Wish) -> Result<Claiming, Fault> {
    lease::live(connection, lease)?;
    let key = lease.key();
    let held: Option<i64> = connection
        .prepare_cached("SELECT claim FROM heads WHERE id = ?1")?
        .query_row([key], |row| row.get(0))?;
    let rows = wish
        .targets
        .iter()
        .map(|target| row(connection, target))
        .collect::<Result<Vec<_>, _>>()?;
    // Whatever comes of it, the run has now looked at its targets.
    connection
        .prepare_cached("UPDATE heads SET stirred = 0 WHERE id = ?1")?
        .execute([key])?;
    match judge_claim(key, held.is_some(), &rows, wish.floor, wish.only_if_newest) {
        ClaimVerdict::Granted { number } => {
            for target in &wish.targets {
                connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO claims (target, number, holder, taker) VALUES (?1, ?2, ?3, ?3)",
                    )?
                    .execute(params![target, signed(number), key])?;
            }
            stop_waiting(connection, key)?;
            connection
                .prepare_cached("UPDATE heads SET claim = ?2 WHERE id = ?1")?
                .execute(params![key, signed(number)])?;
            Ok(Claiming::Claimed { claim: number })
        }
        ClaimVerdict::Busy { target, by } => {
            let target = wish.targets[target].clone();
            connection
                .prepare_cached("INSERT OR IGNORE INTO waiters (target, run) VALUES (?1, ?2)")?
                .execute(params![target, key])?;
            let found = head::read(connection, by)?;
            Ok(Claiming::Busy {
                target,
                by: found.head.run,
                workflow: found.head.workflow,
            })
        }
        ClaimVerdict::Superseded { target, by } => {
            stop_waiting(connection, key)?;
            Ok(Claiming::Superseded {
                target: wish.targets[target].clone(),
                by: head::name(connection, by)?,
            })
        }
    }
}

pub(super) fn row(connection: &Connection, target: &str) -> Result<TargetRow, rusqlite::Error> {
    let found = connection
        .prepare_cached("SELECT number, holder, taker FROM claims WHERE target = ?1")?
        .query_row([target], |row| {
            Ok(TargetRow {
                number: unsigned(row.get(0)?),
                holder: row.get(1)?,
                taker: row.get(2)?,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

fn stop_waiting(connection: &Connection, key: i64) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached("DELETE FROM waiters WHERE run = ?1")?
        .execute([key])
        .map(drop)
}

/// Gives back what the run holds and wakes those that wait for it. All of them: the first might not come, and the others
/// would wait for it for ever.
pub fn release(connection: &Connection, lease: &Lease) -> Result<(), Fault> {
    lease::live(connection, lease)?;
    let key = lease.key();
    let targets: Vec<String> = connection
        .prepare_cached("UPDATE claims SET holder = NULL WHERE holder = ?1 RETURNING target")?
        .query_map([key], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    stop_waiting(connection, key)?;
    lock::leave(connection, key, None)?;
    targets.iter().try_for_each(|target| wake(connection, target))?;
    Ok(())
}

/// Those that wait for a target, or in the queue of a lock, are due.
pub(super) fn wake(connection: &Connection, target: &str) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached(
            "UPDATE heads SET stirred = owner IS NOT NULL, \
             wake = CASE WHEN owner IS NULL THEN min(coalesce(wake, at), at) ELSE wake END \
             WHERE id IN (SELECT run FROM waiters WHERE target = ?1 UNION SELECT run FROM queue WHERE lock = ?2)",
        )?
        .execute(params![target, lock_name(target)])?;
    connection
        .prepare_cached("DELETE FROM waiters WHERE target = ?1")?
        .execute([target])
        .map(drop)
}
