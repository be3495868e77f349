//! What every store decides in the same way: names, positions, chains and claims.

use jiff::Timestamp;

use crate::ports::store::{Error, Head, RawEntry, SealedEntry};
use crate::run::entry::{Broken, Entry, Hash, digest};
use crate::run::event::Event;
use crate::run::state::RunId;

/// A run's outcome before anybody has driven it.
pub const OUTCOME_AT_START: &str = "running";

/// `payments-api-0142`.
pub fn run_name(workflow: &str, number: u32) -> RunId {
    RunId(format!("{workflow}-{number:04}"))
}

/// The workflow and the number in a run's name; none for a text that no store has given.
pub fn parse_name(run: &RunId) -> Option<(&str, u32)> {
    let (workflow, digits) = run.0.rsplit_once('-')?;
    let number = digits.parse().ok()?;
    (number > 0 && run_name(workflow, number) == *run).then_some((workflow, number))
}

/// Checks that sealed entries continue a journal at `seq` and `hash`.
///
/// *Errors*: [`Error::Damaged`]. When position and bytes disagree, either the journal has got another history (a restored
/// backup) or the caller made the entries for another one; both must stop the run.
pub fn check_entries(run: &RunId, mut seq: u64, mut hash: Hash, entries: &[SealedEntry]) -> Result<(), Error> {
    for entry in entries {
        if entry.seq != seq + 1 {
            return Err(damaged(
                run,
                Broken::Gap {
                    expected: seq + 1,
                    found: entry.seq,
                },
            ));
        }
        if digest(&hash, &entry.bytes) != entry.hash {
            return Err(damaged(run, Broken::Chain { seq: entry.seq }));
        }
        (seq, hash) = (entry.seq, entry.hash);
    }
    Ok(())
}

/// Where a run's journal stands by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub seq: u64,
    pub hash: Hash,
}

impl Position {
    pub const START: Position = Position {
        seq: 0,
        hash: Hash::NONE,
    };
}

/// Reads the entries after `from` and checks that they form one chain which ends where the head says.
///
/// *Errors*: [`Error::Damaged`] with the first entry that cannot be believed.
pub fn believe(run: &RunId, from: Position, raw: &[RawEntry], head: Position) -> Result<Vec<Entry>, Error> {
    let mut entries: Vec<Entry> = Vec::with_capacity(raw.len());
    let mut at = from;
    for raw in raw {
        if raw.seq != at.seq + 1 {
            return Err(damaged(
                run,
                Broken::Gap {
                    expected: at.seq + 1,
                    found: raw.seq,
                },
            ));
        }
        let entry = Entry::open(&raw.bytes, raw.hash, at.hash, raw.seq).map_err(|broken| damaged(run, broken))?;
        if entries.last().is_some_and(|before| before.at > entry.at) {
            return Err(damaged(run, Broken::Backwards { seq: raw.seq }));
        }
        at = Position {
            seq: entry.seq,
            hash: entry.hash,
        };
        entries.push(entry);
    }
    if at.seq != head.seq {
        return Err(Error::Damaged {
            run: run.clone(),
            why: format!("entry {} is missing: the journal ends before its head", at.seq + 1),
        });
    }
    if at.hash != head.hash {
        return Err(Error::Damaged {
            run: run.clone(),
            why: format!("the head names another entry {} than the journal holds", at.seq),
        });
    }
    Ok(entries)
}

/// Checks that a journal's first entry, where it is among these, was written for the workflow and plan that the head names.
///
/// *Errors*: [`Error::Damaged`].
pub fn check_first(head: &Head, entries: &[Entry]) -> Result<(), Error> {
    let Some(first) = entries.first().filter(|entry| entry.seq == 1) else {
        return Ok(());
    };
    let is_anothers = first.events.iter().any(|event| match event {
        Event::Submitted {
            workflow, fingerprint, ..
        } => *workflow != head.workflow || *fingerprint != head.fingerprint,
        _ => false,
    });
    if is_anothers {
        return Err(Error::Damaged {
            run: head.run.clone(),
            why: "its head names another workflow or plan than its first entry".to_owned(),
        });
    }
    Ok(())
}

pub fn damaged(run: &RunId, broken: Broken) -> Error {
    Error::Damaged {
        run: run.clone(),
        why: broken.to_string(),
    }
}

/// What a store remembers of one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetRow {
    /// The newest claim on it.
    pub number: u64,
    /// The run that holds it now, by key.
    pub holder: Option<i64>,
    /// The run that took it last, by key.
    pub taker: Option<i64>,
}

/// The answer to a claim. Targets are given by their place in the list that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimVerdict {
    Granted { number: u64 },
    Busy { target: usize, by: i64 },
    Superseded { target: usize, by: i64 },
}

/// Decides a claim on all targets or none. Keys of runs rise in the order of creation; `has_held` says whether this run ever
/// took its targets (they never change within a run).
pub fn judge_claim(run: i64, has_held: bool, rows: &[TargetRow], floor: u64, only_if_newest: bool) -> ClaimVerdict {
    if only_if_newest {
        let overtaken = rows.iter().enumerate().find_map(|(target, row)| match row.taker {
            Some(by) if by != run && (has_held || by > run) => Some((target, by)),
            Some(_) | None => None,
        });
        if let Some((target, by)) = overtaken {
            return ClaimVerdict::Superseded { target, by };
        }
    }
    let taken = rows
        .iter()
        .enumerate()
        .find_map(|(target, row)| row.holder.filter(|by| *by != run).map(|by| (target, by)));
    if let Some((target, by)) = taken {
        return ClaimVerdict::Busy { target, by };
    }
    let highest = rows.iter().map(|row| row.number).max().unwrap_or(0).max(floor);
    ClaimVerdict::Granted {
        number: highest.saturating_add(1),
    }
}

/// A lock is a claim like any other; the prefix keeps its name apart from those of targets.
const LOCK_PREFIX: &str = "lock:";

/// Under which a lock is kept among the claims.
pub fn lock_target(name: &str) -> String {
    format!("{LOCK_PREFIX}{name}")
}

/// The lock that a claim is about; none for a target.
pub fn lock_name(target: &str) -> Option<&str> {
    target.strip_prefix(LOCK_PREFIX)
}

/// The answer to a run that asks for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockVerdict {
    Granted {
        number: u64,
    },
    /// `by` has it, or comes first; so many are before this run, the holder counted in.
    Waits {
        by: i64,
        ahead: u32,
    },
}

/// Decides who gets a lock: its holder keeps it, a free one goes to whoever came first of those who still ask. `queue` holds all
/// who wait, in the order of coming, and whether each still asks: somebody who has gone without a word keeps nobody waiting, and
/// has his place again once he comes back.
pub fn judge_lock(run: i64, row: TargetRow, queue: &[(i64, bool)]) -> LockVerdict {
    if row.holder == Some(run) {
        return LockVerdict::Granted { number: row.number };
    }
    let earlier = queue.iter().take_while(|(waiter, _)| *waiter != run);
    let asking = earlier.filter(|(_, still_asks)| *still_asks).map(|(waiter, _)| *waiter);
    let before: Vec<i64> = row.holder.into_iter().chain(asking).collect();
    match before.first() {
        Some(by) => LockVerdict::Waits {
            by: *by,
            ahead: u32::try_from(before.len()).unwrap_or(u32::MAX),
        },
        None => LockVerdict::Granted {
            number: row.number.saturating_add(1),
        },
    }
}

/// The wake-up of a run that is given back: at once (as of its newest entry) when something waits for it.
pub fn wake_when_parked(wake: Option<Timestamp>, at: Timestamp, something_waits: bool) -> Option<Timestamp> {
    if something_waits {
        Some(wake.map_or(at, |wake| wake.min(at)))
    } else {
        wake
    }
}

#[cfg(test)]
mod tests {
    use super::{ClaimVerdict, LockVerdict, RunId, TargetRow, judge_claim, judge_lock, parse_name, run_name};

    #[test]
    fn a_name_says_its_workflow_and_number_and_nothing_else_does() {
        assert_eq!(run_name("payments-api", 7), RunId("payments-api-0007".into()));
        assert_eq!(run_name("a", 12_345), RunId("a-12345".into()));
        for number in [1, 9_999, 10_000] {
            assert_eq!(parse_name(&run_name("a-b", number)), Some(("a-b", number)));
        }
        for text in ["a", "a-7", "a-0000", "a-00001", "a-+001", "a-", "-", ""] {
            assert_eq!(parse_name(&RunId(text.into())), None, "{text}");
        }
    }

    fn row(number: u64, holder: Option<i64>, taker: Option<i64>) -> TargetRow {
        TargetRow { number, holder, taker }
    }

    #[test]
    fn a_claim_rises_above_every_target_and_what_they_show() {
        let rows = [row(3, None, Some(1)), row(8, None, Some(2))];
        assert_eq!(
            judge_claim(5, false, &rows, 0, false),
            ClaimVerdict::Granted { number: 9 }
        );
        assert_eq!(
            judge_claim(5, false, &rows, 40, false),
            ClaimVerdict::Granted { number: 41 }
        );
    }

    #[test]
    fn one_held_target_refuses_all() {
        let rows = [row(3, None, None), row(8, Some(2), Some(2))];
        assert_eq!(
            judge_claim(5, false, &rows, 0, false),
            ClaimVerdict::Busy { target: 1, by: 2 }
        );
        assert_eq!(
            judge_claim(2, true, &rows, 0, false),
            ClaimVerdict::Granted { number: 9 }
        );
    }

    #[test]
    fn a_free_lock_goes_to_the_first_who_still_asks() {
        let free = row(3, None, Some(9));
        assert_eq!(judge_lock(5, free, &[]), LockVerdict::Granted { number: 4 });
        let queue = [(7, false), (6, true), (5, true), (8, true)];
        assert_eq!(judge_lock(6, free, &queue), LockVerdict::Granted { number: 4 });
        assert_eq!(judge_lock(5, free, &queue), LockVerdict::Waits { by: 6, ahead: 1 });
        assert_eq!(judge_lock(9, free, &queue), LockVerdict::Waits { by: 6, ahead: 3 });
        // Back again, it has its place again.
        assert_eq!(judge_lock(7, free, &queue), LockVerdict::Granted { number: 4 });
        let held = row(3, Some(1), Some(1));
        assert_eq!(judge_lock(5, held, &queue), LockVerdict::Waits { by: 1, ahead: 2 });
        assert_eq!(judge_lock(1, held, &queue), LockVerdict::Granted { number: 3 });
    }

    #[test]
    fn a_run_that_was_overtaken_is_superseded() {
        let rows = [row(3, None, Some(9))];
        assert_eq!(
            judge_claim(5, false, &rows, 0, true),
            ClaimVerdict::Superseded { target: 0, by: 9 }
        );
        assert_eq!(
            judge_claim(10, false, &rows, 0, true),
            ClaimVerdict::Granted { number: 4 }
        );
        // It held the target before; an older run's retry has come between.
        assert_eq!(
            judge_claim(10, true, &rows, 0, true),
            ClaimVerdict::Superseded { target: 0, by: 9 }
        );
        assert_eq!(
            judge_claim(9, true, &rows, 0, true),
            ClaimVerdict::Granted { number: 4 }
        );
    }
}
