//! What the store in memory remembers, and how each request changes it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{Fingerprint, Plan};

use super::Failure;
use crate::ports::store::{
    Answer, Append, Claiming, Error, Fired, Head, LOCK_PATIENCE, Lease, Locking, NewRun, RawEntry, SealedEntry, Stored,
    Submission,
};
use crate::run::signal::Signal;
use crate::run::state::RunId;
use crate::store::rules::{
    ClaimVerdict, LockVerdict, OUTCOME_AT_START, Position, TargetRow, believe, check_entries, check_first, judge_claim,
    judge_lock, lock_target, run_name, wake_when_parked,
};

#[derive(Default)]
pub(super) struct Shelf {
    /// By key, in the order of creation.
    pub(super) rows: BTreeMap<i64, Row>,
    pub(super) names: HashMap<RunId, i64>,
    /// (due at, key) of the runs that are due some time: by wake-up, or by the end of a lease.
    pub(super) parked: BTreeSet<(Timestamp, i64)>,
    pub(super) leased: BTreeSet<(Timestamp, i64)>,
    pub(super) plans: HashMap<Fingerprint, Arc<Plan>>,
    pub(super) starts: HashMap<String, i64>,
    /// In the order of arrival.
    pub(super) signals: Vec<Posted>,
    pub(super) targets: BTreeMap<String, TargetRow>,
    pub(super) waiters: BTreeSet<(String, i64)>,
    /// Those who wait for a lock, first come first, each with the instant at which it asked last.
    pub(super) queue: Vec<(String, i64, Timestamp)>,
    pub(super) submissions: Vec<(Submission, bool)>,
    pub(super) schedules: HashMap<(String, String), (Timestamp, Option<Submission>)>,
    pub(super) newest: Option<Timestamp>,
    pub(super) failures: VecDeque<Failure>,
}

pub(super) struct Row {
    pub(super) head: Head,
    pub(super) journal: Vec<RawEntry>,
    pub(super) snapshot: Option<(Position, Vec<u8>)>,
    pub(super) epoch: u64,
    pub(super) until: Option<Timestamp>,
    pub(super) is_stirred: bool,
    pub(super) claim: Option<u64>,
}

pub(super) struct Posted {
    pub(super) run: i64,
    pub(super) signal: Signal,
    pub(super) answer: Option<Answer>,
}

impl Shelf {
    pub(super) fn key(&self, run: &RunId) -> Result<i64, Error> {
        self.names
            .get(run)
            .copied()
            .ok_or_else(|| Error::UnknownRun(run.clone()))
    }

    pub(super) fn row(&self, key: i64) -> &Row {
        self.rows.get(&key).expect("keys come from the store and rows stay")
    }

    pub(super) fn found(&self, run: &RunId) -> Result<&Row, Error> {
        Ok(self.row(self.key(run)?))
    }

    /// Changes a row and keeps the two orders in step with it.
    pub(super) fn change<T>(&mut self, key: i64, work: impl FnOnce(&mut Row) -> T) -> T {
        let row = self.rows.get_mut(&key).expect("keys come from the store and rows stay");
        for set in [&mut self.parked, &mut self.leased] {
            if let Some(at) = row.head.wake {
                set.remove(&(at, key));
            }
            if let Some(at) = row.until {
                set.remove(&(at, key));
            }
        }
        let answer = work(row);
        match (&row.head.owner, row.until, row.head.wake) {
            (Some(_), Some(until), _) => {
                self.leased.insert((until, key));
            }
            (None, _, Some(wake)) if row.head.quarantined.is_none() => {
                self.parked.insert((wake, key));
            }
            (Some(_) | None, _, _) => {}
        }
        answer
    }

    /// *Errors*: [`Error::LostLease`].
    pub(super) fn live(&self, lease: &Lease) -> Result<&Row, Error> {
        self.rows
            .get(&lease.key())
            .filter(|row| row.epoch == lease.epoch() && row.head.owner.as_deref() == Some(lease.owner()))
            .ok_or_else(|| Error::LostLease {
                run: lease.run().clone(),
            })
    }

    pub(super) fn open_signals(&self, key: i64) -> impl Iterator<Item = &Posted> {
        self.signals
            .iter()
            .filter(move |posted| posted.run == key && posted.answer.is_none())
    }

    pub(super) fn due(&self, until: Timestamp, lapsed: Timestamp, limit: usize) -> Vec<(Timestamp, i64)> {
        let parked = self.parked.range(..=(until, i64::MAX)).take(limit);
        let leased = self.leased.range(..=(lapsed, i64::MAX)).take(limit);
        let mut due: Vec<_> = parked.chain(leased).copied().collect();
        due.sort_unstable();
        due.truncate(limit);
        due
    }

    pub(super) fn grant(&mut self, key: i64, owner: &Arc<str>, until: Timestamp) -> Lease {
        self.change(key, |row| {
            row.epoch += 1;
            row.head.owner = Some(owner.to_string());
            row.until = Some(until);
            row.is_stirred = false;
            Lease::granted(row.head.run.clone(), owner.clone(), row.epoch, until, key)
        })
    }

    pub(super) fn park(&mut self, key: i64, wake: Option<Timestamp>) {
        let waits = self.row(key).is_stirred || self.open_signals(key).next().is_some();
        self.change(key, |row| {
            row.head.owner = None;
            row.until = None;
            row.is_stirred = false;
            row.head.wake = wake_when_parked(wake, row.head.at, waits);
        });
    }

    pub(super) fn create(&mut self, new: NewRun) -> Result<RunId, Error> {
        if let Some(made) = new.key.as_ref().and_then(|key| self.starts.get(key)) {
            return Ok(self.row(*made).head.run.clone());
        }
        let workflow = new.plan.workflow().name.clone();
        let number = 1 + self.rows.values().filter(|row| row.head.workflow == workflow).count();
        let run = run_name(&workflow, u32::try_from(number).unwrap_or(u32::MAX));
        let (entry, bytes, _) = (new.first)(&run);
        let sealed = SealedEntry {
            seq: entry.seq,
            at: entry.at,
            hash: entry.hash,
            bytes,
        };
        check_entries(
            &run,
            Position::START.seq,
            Position::START.hash,
            std::slice::from_ref(&sealed),
        )?;
        let key = self.rows.len() as i64 + 1;
        let row = Row {
            head: Head {
                run: run.clone(),
                workflow,
                fingerprint: new.plan.fingerprint().clone(),
                seq: entry.seq,
                hash: entry.hash,
                created_at: entry.at,
                at: entry.at,
                wake: Some(entry.at),
                outcome: OUTCOME_AT_START.to_owned(),
                is_done: false,
                owner: None,
                quarantined: None,
            },
            journal: vec![raw(sealed)],
            snapshot: None,
            epoch: 0,
            until: None,
            is_stirred: false,
            claim: None,
        };
        self.newest = self.newest.max(Some(entry.at));
        self.rows.insert(key, row);
        self.parked.insert((entry.at, key));
        self.names.insert(run.clone(), key);
        self.plans.entry(new.plan.fingerprint().clone()).or_insert(new.plan);
        if let Some(start) = new.key {
            self.starts.insert(start, key);
        }
        Ok(run)
    }

    pub(super) fn append(&mut self, lease: &Lease, append: Append) -> Result<(), Error> {
        let row = self.live(lease)?;
        if row.head.seq != append.after_seq {
            return Err(Error::Conflict {
                run: lease.run().clone(),
                expected: append.after_seq,
                found: row.head.seq,
            });
        }
        check_entries(lease.run(), row.head.seq, row.head.hash, &append.entries)?;
        let key = lease.key();
        for (id, answer) in append.answers {
            let posted = self
                .signals
                .iter_mut()
                .find(|posted| posted.run == key && posted.signal.id == id);
            if let Some(posted) = posted {
                posted.answer.get_or_insert(answer);
            }
        }
        self.newest = self.newest.max(append.entries.last().map(|entry| entry.at));
        let wake = append.head.wake;
        self.change(key, |row| {
            if let Some(newest) = append.entries.last() {
                (row.head.seq, row.head.hash, row.head.at) = (newest.seq, newest.hash, newest.at);
            }
            row.head.wake = wake;
            row.head.outcome = append.head.outcome;
            row.head.is_done = append.head.is_done;
            row.journal.extend(append.entries.into_iter().map(raw));
            if let Some(snapshot) = append.snapshot {
                let position = Position {
                    seq: row.head.seq,
                    hash: row.head.hash,
                };
                row.snapshot = Some((position, snapshot));
            }
        });
        if append.parks {
            self.park(key, wake);
        }
        Ok(())
    }

    pub(super) fn load(&self, key: i64) -> Result<Stored, Error> {
        let row = self.row(key);
        let head = Position {
            seq: row.head.seq,
            hash: row.head.hash,
        };
        let from = row.snapshot.as_ref().map_or(Position::START, |(position, _)| *position);
        let after: Vec<RawEntry> = row.journal.iter().filter(|raw| raw.seq > from.seq).cloned().collect();
        let entries = believe(&row.head.run, from, &after, head)?;
        check_first(&row.head, &entries)?;
        Ok(Stored {
            plan: self
                .plans
                .get(&row.head.fingerprint)
                .cloned()
                .ok_or_else(|| Error::UnknownPlan(row.head.fingerprint.clone()))?,
            snapshot: row.snapshot.as_ref().map(|(_, body)| body.clone()),
            entries,
            head: row.head.clone(),
            signals: self.open_signals(key).map(|posted| posted.signal.clone()).collect(),
        })
    }

    pub(super) fn claim(
        &mut self,
        lease: &Lease,
        wanted: &[String],
        floor: u64,
        only_if_newest: bool,
    ) -> Result<Claiming, Error> {
        let has_held = self.live(lease)?.claim.is_some();
        let key = lease.key();
        let rows: Vec<TargetRow> = wanted
            .iter()
            .map(|target| self.targets.get(target).copied().unwrap_or_default())
            .collect();
        self.change(key, |row| row.is_stirred = false);
        Ok(match judge_claim(key, has_held, &rows, floor, only_if_newest) {
            ClaimVerdict::Granted { number } => {
                let row = TargetRow {
                    number,
                    holder: Some(key),
                    taker: Some(key),
                };
                self.targets.extend(wanted.iter().map(|target| (target.clone(), row)));
                self.waiters.retain(|(_, waiter)| *waiter != key);
                self.change(key, |row| row.claim = Some(number));
                Claiming::Claimed { claim: number }
            }
            ClaimVerdict::Busy { target, by } => {
                self.waiters.insert((wanted[target].clone(), key));
                let holder = &self.row(by).head;
                Claiming::Busy {
                    target: wanted[target].clone(),
                    by: holder.run.clone(),
                    workflow: holder.workflow.clone(),
                }
            }
            ClaimVerdict::Superseded { target, by } => {
                self.waiters.retain(|(_, waiter)| *waiter != key);
                Claiming::Superseded {
                    target: wanted[target].clone(),
                    by: self.row(by).head.run.clone(),
                }
            }
        })
    }

    pub(super) fn lock(&mut self, lease: &Lease, name: &str, now: Timestamp) -> Result<Locking, Error> {
        self.live(lease)?;
        let (key, target) = (lease.key(), lock_target(name));
        let row = self.targets.get(&target).copied().unwrap_or_default();
        let waiting = self.queue.iter().filter(|(lock, ..)| lock == name);
        let queue: Vec<(i64, bool)> = waiting
            .map(|(_, run, asked)| (*run, LOCK_PATIENCE.after(*asked) > now))
            .collect();
        self.change(key, |row| row.is_stirred = false);
        Ok(match judge_lock(key, row, &queue) {
            LockVerdict::Granted { number } => {
                let row = TargetRow {
                    number,
                    holder: Some(key),
                    taker: Some(key),
                };
                self.targets.insert(target, row);
                self.queue.retain(|(lock, run, _)| (lock.as_str(), *run) != (name, key));
                Locking::Held { number }
            }
            LockVerdict::Waits { by, ahead } => {
                let place = self.queue.iter_mut().find(|(lock, run, _)| lock == name && *run == key);
                match place {
                    Some((_, _, asked)) => *asked = now,
                    None => self.queue.push((name.to_owned(), key, now)),
                }
                let by = self.row(by).head.run.clone();
                Locking::Waits { by, ahead }
            }
        })
    }

    pub(super) fn unlock(&mut self, lease: &Lease, name: &str) -> Result<(), Error> {
        self.live(lease)?;
        let (key, target) = (lease.key(), lock_target(name));
        self.queue.retain(|(lock, run, _)| (lock.as_str(), *run) != (name, key));
        if let Some(row) = self.targets.get_mut(&target).filter(|row| row.holder == Some(key)) {
            row.holder = None;
            self.wake(&BTreeSet::from([target]));
        }
        Ok(())
    }

    pub(super) fn release_claims(&mut self, lease: &Lease) -> Result<(), Error> {
        self.live(lease)?;
        let key = lease.key();
        self.waiters.retain(|(_, waiter)| *waiter != key);
        self.queue.retain(|(_, run, _)| *run != key);
        let mut freed = BTreeSet::new();
        for (target, row) in &mut self.targets {
            if row.holder == Some(key) {
                row.holder = None;
                freed.insert(target.clone());
            }
        }
        self.wake(&freed);
        Ok(())
    }

    /// Those that wait for one of these targets, or in the queue of one of these locks, are due.
    fn wake(&mut self, freed: &BTreeSet<String>) {
        let waiting = self.waiters.iter().map(|(target, waiter)| (target.clone(), *waiter));
        let queued = self.queue.iter().map(|(lock, run, _)| (lock_target(lock), *run));
        let woken: Vec<i64> = waiting
            .chain(queued)
            .filter(|(target, _)| freed.contains(target))
            .map(|(_, waiter)| waiter)
            .collect();
        self.waiters.retain(|(target, _)| !freed.contains(target));
        for waiter in woken {
            self.change(waiter, |row| {
                if row.head.owner.is_some() {
                    row.is_stirred = true;
                } else {
                    row.head.wake = wake_when_parked(row.head.wake, row.head.at, true);
                }
            });
        }
    }

    pub(super) fn post(&mut self, run: &RunId, signal: Signal, now: Timestamp) -> Result<(), Error> {
        let key = self.key(run)?;
        if self.signals.iter().any(|posted| posted.signal.id == signal.id) {
            return Ok(());
        }
        self.signals.push(Posted {
            run: key,
            signal,
            answer: None,
        });
        self.change(key, |row| {
            if row.head.owner.is_none() {
                row.head.wake = wake_when_parked(row.head.wake, now, true);
            }
        });
        Ok(())
    }

    pub(super) fn fire(&mut self, workflow: &str, schedule: &str, instant: Timestamp) -> Fired {
        let key = (workflow.to_owned(), schedule.to_owned());
        if let Some((fired, submission)) = self.schedules.get(&key)
            && *fired >= instant
        {
            let submission = submission.clone().filter(|_| *fired == instant);
            return Fired::Already { submission };
        }
        let mut newest = None;
        for (submission, is_queued) in &mut self.submissions {
            if *is_queued && submission.workflow == workflow {
                *is_queued = false;
                newest = Some(submission.clone());
            }
        }
        self.schedules.insert(key, (instant, newest.clone()));
        newest.map_or(Fired::Nothing, Fired::Start)
    }
}

pub(super) fn raw(entry: SealedEntry) -> RawEntry {
    RawEntry {
        seq: entry.seq,
        hash: entry.hash,
        bytes: entry.bytes,
    }
}

/// Saturates at the end of time.
pub(super) fn end(now: Timestamp, length: Duration) -> Timestamp {
    now.checked_add(length.signed()).unwrap_or(Timestamp::MAX)
}
