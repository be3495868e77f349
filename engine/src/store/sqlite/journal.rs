//! Journals: creating a run, adding to it, and reading it back checked.

use meridian_workflows::plan::{Fingerprint, Plan};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::fault::{Fault, instant, is_local, nanos, signed, unsigned};
use super::head::{self, Found};
use crate::ports::store::{Append, Error, Lease, NewRun, RawEntry, SealedEntry};
use crate::run::entry::{Entry, Hash};
use crate::run::state::RunId;
use crate::store::rules::{OUTCOME_AT_START, Position, believe, check_entries, run_name, wake_when_parked};

/// A run to be made. Its plan is written out by the caller's thread, or not at all when the file is known to have it.
pub struct Start {
    pub new: NewRun,
    pub plan: Option<Vec<u8>>,
}

/// Does in a savepoint what [`crate::ports::store::Store::create`] promises.
pub fn create(connection: &Connection, start: Start) -> Result<RunId, Fault> {
    let Start { new, plan } = start;
    if let Some(key) = &new.key {
        let made: Option<i64> = connection
            .prepare_cached("SELECT run FROM starts WHERE key = ?1")?
            .query_row([key], |row| row.get(0))
            .optional()?;
        if let Some(made) = made {
            return Ok(head::name(connection, made)?);
        }
    }
    let name = &new.plan.workflow().name;
    let workflow = workflow_row(connection, name)?;
    let plan = plan_row(connection, new.plan.fingerprint(), plan.as_deref())?;
    let (key, number): (i64, u32) = connection
        .prepare_cached(
            "SELECT (SELECT coalesce(max(id), 0) + 1 FROM heads), \
             (SELECT coalesce(max(number), 0) + 1 FROM heads WHERE workflow = ?1)",
        )?
        .query_row([workflow], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let run = run_name(name, number);
    let (entry, bytes, _) = (new.first)(&run);
    let sealed = [SealedEntry {
        seq: entry.seq,
        at: entry.at,
        hash: entry.hash,
        bytes,
    }];
    check_entries(&run, Position::START.seq, Position::START.hash, &sealed)?;
    let last = write_entries(connection, key, 0, &sealed)?;
    connection
        .prepare_cached(
            "INSERT INTO heads (id, workflow, number, plan, created, at, seq, hash, last, outcome, done, wake, epoch, stirred) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9, 0, ?5, 0, 0)",
        )?
        .execute(params![
            key,
            workflow,
            number,
            plan,
            nanos(entry.at),
            signed(entry.seq),
            entry.hash.0,
            last,
            OUTCOME_AT_START
        ])?;
    if let Some(start) = &new.key {
        connection
            .prepare_cached("INSERT INTO starts (key, run) VALUES (?1, ?2)")?
            .execute(params![start, key])?;
    }
    Ok(run)
}

fn workflow_row(connection: &Connection, name: &str) -> Result<i64, rusqlite::Error> {
    let found = connection
        .prepare_cached("SELECT id FROM workflows WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    match found {
        Some(row) => Ok(row),
        None => connection
            .prepare_cached("INSERT INTO workflows (name) VALUES (?1)")?
            .insert([name]),
    }
}

fn plan_row(connection: &Connection, fingerprint: &Fingerprint, body: Option<&[u8]>) -> Result<i64, Fault> {
    let found = connection
        .prepare_cached("SELECT id FROM plans WHERE fingerprint = ?1")?
        .query_row([&fingerprint.0], |row| row.get(0))
        .optional()?;
    match (found, body) {
        (Some(row), _) => Ok(row),
        (None, Some(body)) => Ok(connection
            .prepare_cached("INSERT INTO plans (fingerprint, body) VALUES (?1, ?2)")?
            .insert(params![fingerprint.0, body])?),
        // This process has stored it before; somebody has changed the file since.
        (None, None) => Err(Fault::Answer(Error::UnknownPlan(fingerprint.clone()))),
    }
}

/// Writes entries behind row `last` and answers with the row of the newest.
fn write_entries(
    connection: &Connection,
    key: i64,
    mut last: i64,
    entries: &[SealedEntry],
) -> Result<i64, rusqlite::Error> {
    let mut insert =
        connection.prepare_cached("INSERT INTO entries (run, seq, prev, hash, body) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for entry in entries {
        last = insert.insert(params![key, signed(entry.seq), last, entry.hash.0, entry.bytes])?;
    }
    Ok(last)
}

/// What an append must know of the head.
struct Standing {
    seq: u64,
    hash: Hash,
    last: i64,
    at: i64,
    is_stirred: bool,
}

/// Refuses before it writes anything.
fn check(connection: &Connection, lease: &Lease, append: &Append) -> Result<Standing, Fault> {
    let found = connection
        .prepare_cached("SELECT seq, hash, last, at, stirred FROM heads WHERE id = ?1 AND epoch = ?2 AND owner = ?3")?
        .query_row(params![lease.key(), signed(lease.epoch()), lease.owner()], |row| {
            Ok(Standing {
                seq: unsigned(row.get(0)?),
                hash: Hash(row.get(1)?),
                last: row.get(2)?,
                at: row.get(3)?,
                is_stirred: row.get(4)?,
            })
        })
        .optional()?;
    let run = lease.run();
    let standing = found.ok_or_else(|| Error::LostLease { run: run.clone() })?;
    if standing.seq != append.after_seq {
        return Err(Fault::Answer(Error::Conflict {
            run: run.clone(),
            expected: append.after_seq,
            found: standing.seq,
        }));
    }
    check_entries(run, standing.seq, standing.hash, &append.entries)?;
    Ok(standing)
}

/// Adds one step to a journal. It refuses before it writes, so it needs no savepoint.
pub fn append(connection: &Connection, lease: &Lease, append: &Append) -> Result<(), Fault> {
    let standing = check(connection, lease, append)?;
    let key = lease.key();
    let last = write_entries(connection, key, standing.last, &append.entries)?;
    for (signal, answer) in &append.answers {
        let answer = serde_json::to_string(answer).expect("an answer has text keys only");
        connection
            .prepare_cached("UPDATE signals SET answer = ?3 WHERE key = ?1 AND run = ?2 AND answer IS NULL")?
            .execute(params![signal, key, answer])?;
    }
    let newest = append.entries.last();
    let (seq, hash) = newest.map_or((standing.seq, standing.hash), |entry| (entry.seq, entry.hash));
    if let Some(body) = &append.snapshot {
        connection
            .prepare_cached("INSERT OR REPLACE INTO snapshots (run, seq, sum, body) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![key, signed(seq), sum(seq, &hash, body), body])?;
    }
    let at = newest.map_or(standing.at, |entry| nanos(entry.at));
    let head = &append.head;
    let wake = head.wake.map(nanos);
    if append.parks {
        let waits = standing.is_stirred || has_open_signals(connection, key)?;
        let wake = wake_when_parked(head.wake, instant(at), waits).map(nanos);
        connection
            .prepare_cached(
                "UPDATE heads SET seq = ?2, hash = ?3, last = ?4, at = ?5, wake = ?6, outcome = ?7, done = ?8, owner = NULL, \
                 until = NULL, stirred = 0 WHERE id = ?1",
            )?
            .execute(params![key, signed(seq), hash.0, last, at, wake, head.outcome, head.is_done])?;
    } else {
        connection
            .prepare_cached(
                "UPDATE heads SET seq = ?2, hash = ?3, last = ?4, at = ?5, wake = ?6, outcome = ?7, done = ?8 WHERE id = ?1",
            )?
            .execute(params![key, signed(seq), hash.0, last, at, wake, head.outcome, head.is_done])?;
    }
    Ok(())
}

pub fn has_open_signals(connection: &Connection, key: i64) -> Result<bool, rusqlite::Error> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM signals WHERE run = ?1 AND answer IS NULL)")?
        .query_row([key], |row| row.get(0))
}

/// What makes a snapshot believable: it belongs to this position of this chain, byte for byte.
fn sum(seq: u64, hash: &Hash, body: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(seq.to_be_bytes());
    hasher.update(hash.0);
    hasher.update(body);
    hasher.finalize().into()
}

/// A run's journal from its newest believable snapshot on.
pub struct Read {
    pub snapshot: Option<Vec<u8>>,
    pub entries: Vec<Entry>,
}

/// Reads and checks what is needed to go on. A snapshot that cannot be believed is left out and the whole journal read.
pub fn load(connection: &Connection, key: i64, found: &Found) -> Result<Read, Fault> {
    let run = &found.head.run;
    let snapshot = connection
        .prepare_cached("SELECT seq, sum, body FROM snapshots WHERE run = ?1")?
        .query_row([key], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?, row.get(2)?))
        })
        .optional();
    let snapshot: Option<(i64, [u8; 32], Vec<u8>)> = match snapshot {
        Err(error) if is_local(&error) => {
            tracing::warn!(%run, %error, "a snapshot cannot be read; the whole journal is");
            None
        }
        read => read?,
    };
    if let Some((seq, written, body)) = snapshot {
        let seq = unsigned(seq);
        let raw = read_back(connection, key, found, seq.max(1), usize::MAX)?;
        if let Some((first, after)) = raw.split_first()
            && first.seq == seq
            && sum(seq, &first.hash, &body) == written
        {
            let from = Position { seq, hash: first.hash };
            let entries = believe(run, from, after, found.position())?;
            return Ok(Read {
                snapshot: Some(body),
                entries,
            });
        }
        tracing::warn!(%run, "a snapshot cannot be believed; the whole journal is read");
    }
    let raw = read_back(connection, key, found, 1, usize::MAX)?;
    let entries = believe(run, Position::START, &raw, found.position())?;
    Ok(Read {
        snapshot: None,
        entries,
    })
}

/// Entries from `from` on, found by following the rows back from the newest. Where a row is not what it should be, the whole
/// log is searched instead, so that what is left of a damaged journal can still be shown and the damage named.
pub fn read_back(
    connection: &Connection,
    key: i64,
    found: &Found,
    from: u64,
    limit: usize,
) -> Result<Vec<RawEntry>, Fault> {
    match follow(connection, key, found, from, limit)? {
        Some(entries) => Ok(entries),
        None => search(connection, key, from, limit),
    }
}

/// None when the chain of rows is broken.
fn follow(
    connection: &Connection,
    key: i64,
    found: &Found,
    from: u64,
    limit: usize,
) -> Result<Option<Vec<RawEntry>>, Fault> {
    let last_wanted = from.saturating_add(limit as u64).saturating_sub(1);
    let mut link = connection.prepare_cached("SELECT run, seq, prev FROM entries WHERE id = ?1")?;
    let mut whole = connection.prepare_cached("SELECT run, seq, prev, hash, body FROM entries WHERE id = ?1")?;
    let mut entries = Vec::new();
    let (mut row, mut seq) = (found.last, found.head.seq);
    while seq >= from.max(1) {
        let is_wanted = seq <= last_wanted;
        let statement = if is_wanted { &mut whole } else { &mut link };
        let read = statement
            .query_row([row], |row| {
                let entry = is_wanted
                    .then(|| {
                        Ok::<_, rusqlite::Error>(RawEntry {
                            seq,
                            hash: Hash(row.get(3)?),
                            bytes: row.get(4)?,
                        })
                    })
                    .transpose()?;
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, i64>(2)?,
                    entry,
                ))
            })
            .optional();
        match read {
            Ok(Some((run, at, prev, entry))) if run == key && at == signed(seq) => {
                entries.extend(entry);
                (row, seq) = (prev, seq - 1);
            }
            Ok(Some(_) | None)
            | Err(rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::FromSqlConversionFailure(..)) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    entries.reverse();
    Ok(Some(entries))
}

fn search(connection: &Connection, key: i64, from: u64, limit: usize) -> Result<Vec<RawEntry>, Fault> {
    let mut statement = connection
        .prepare_cached("SELECT seq, hash, body FROM entries WHERE run = ?1 AND seq >= ?2 ORDER BY id LIMIT ?3")?;
    let mut rows = statement.query(params![key, signed(from), signed(limit as u64)])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        // A value of another shape is shown as what it can never be, so that the chain breaks at this entry.
        let hash = row.get_ref(1)?.as_bytes().ok().and_then(|bytes| bytes.try_into().ok());
        entries.push(RawEntry {
            seq: unsigned(row.get(0)?),
            hash: hash.map_or(Hash::NONE, Hash),
            bytes: row.get_ref(2)?.as_bytes().unwrap_or_default().to_vec(),
        });
    }
    Ok(entries)
}

/// *Errors*: [`Error::UnknownPlan`]; [`Error::Refused`] for one that cannot be read or is not what its fingerprint says.
pub fn read_plan(fingerprint: &Fingerprint, body: &[u8]) -> Result<Plan, Error> {
    let plan: Plan = serde_json::from_slice(body)
        .map_err(|error| Error::Refused(format!("plan {fingerprint} cannot be read: {error}")))?;
    if plan.fingerprint() == fingerprint {
        Ok(plan)
    } else {
        Err(Error::Refused(format!(
            "the plan stored as {fingerprint} is another one"
        )))
    }
}
