//! The store in memory, for simulation and tests: the same rules, nothing durable, and failures on demand.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{Fingerprint, Plan};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::rules::{
    ClaimVerdict, OUTCOME_AT_START, Position, TargetRow, believe, check_entries, check_first, judge_claim, run_name,
    wake_when_parked,
};
use crate::ports::store::{
    Answer, Append, Claiming, Due, Error, Fired, Head, Lease, NewRun, RawEntry, SealedEntry, Store, Stored, Submission,
    Taken,
};
use crate::run::signal::Signal;
use crate::run::state::RunId;

/// A store in memory. Clones are handles on the same one, as of several processes on one file.
#[derive(Clone)]
pub struct Memory {
    shelf: Arc<Mutex<Shelf>>,
    changes: watch::Sender<u64>,
    told: Arc<AtomicU64>,
}

/// What a write is made to do instead of succeeding. The caller hears [`Error::Unavailable`] in both cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It is not carried out.
    Before,
    /// It is carried out, and only the answer is lost.
    After,
}

#[derive(Default)]
struct Shelf {
    /// By key, in the order of creation.
    rows: BTreeMap<i64, Row>,
    names: HashMap<RunId, i64>,
    /// (due at, key) of the runs that are due some time: by wake-up, or by the end of a lease.
    parked: BTreeSet<(Timestamp, i64)>,
    leased: BTreeSet<(Timestamp, i64)>,
    plans: HashMap<Fingerprint, Arc<Plan>>,
    starts: HashMap<String, i64>,
    /// In the order of arrival.
    signals: Vec<Posted>,
    targets: BTreeMap<String, TargetRow>,
    waiters: BTreeSet<(String, i64)>,
    submissions: Vec<(Submission, bool)>,
    schedules: HashMap<(String, String), (Timestamp, Option<Submission>)>,
    newest: Option<Timestamp>,
    failures: VecDeque<Failure>,
}

struct Row {
    head: Head,
    journal: Vec<RawEntry>,
    snapshot: Option<(Position, Vec<u8>)>,
    epoch: u64,
    until: Option<Timestamp>,
    is_stirred: bool,
    claim: Option<u64>,
}

struct Posted {
    run: i64,
    signal: Signal,
    answer: Option<Answer>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new()
    }
}

impl Memory {
    pub fn new() -> Memory {
        Memory {
            shelf: Arc::new(Mutex::new(Shelf::default())),
            changes: watch::channel(0).0,
            told: Arc::new(AtomicU64::new(0)),
        }
    }

    /// Makes the next writes fail, one each, in this order.
    pub fn fail_next(&self, failures: impl IntoIterator<Item = Failure>) {
        self.shelf.lock().failures.extend(failures);
    }

    /// Changes stored bytes behind everybody's back, as a bad disk does.
    ///
    /// *Errors*: [`Error::UnknownRun`].
    pub fn damage(&self, run: &RunId, spoil: impl FnOnce(&mut Vec<RawEntry>)) -> Result<(), Error> {
        let mut shelf = self.shelf.lock();
        let key = shelf.key(run)?;
        if let Some(row) = shelf.rows.get_mut(&key) {
            spoil(&mut row.journal);
        }
        Ok(())
    }

    fn read<T>(&self, work: impl FnOnce(&Shelf) -> T) -> T {
        work(&self.shelf.lock())
    }

    fn write<T>(&self, work: impl FnOnce(&mut Shelf) -> Result<T, Error>) -> Result<T, Error> {
        let mut shelf = self.shelf.lock();
        let failed = || Error::Unavailable("made to fail".to_owned());
        match shelf.failures.pop_front() {
            None => work(&mut shelf),
            Some(Failure::Before) => Err(failed()),
            Some(Failure::After) => work(&mut shelf).and_then(|_| Err(failed())),
        }
    }

    /// A write after which something may be due.
    fn stir<T>(&self, work: impl FnOnce(&mut Shelf) -> Result<T, Error>) -> Result<T, Error> {
        let answer = self.write(work);
        self.changes.send_modify(|count| *count += 1);
        answer
    }
}

impl Shelf {
    fn key(&self, run: &RunId) -> Result<i64, Error> {
        self.names
            .get(run)
            .copied()
            .ok_or_else(|| Error::UnknownRun(run.clone()))
    }

    fn row(&self, key: i64) -> &Row {
        self.rows.get(&key).expect("keys come from the store and rows stay")
    }

    fn found(&self, run: &RunId) -> Result<&Row, Error> {
        Ok(self.row(self.key(run)?))
    }

    /// Changes a row and keeps the two orders in step with it.
    fn change<T>(&mut self, key: i64, work: impl FnOnce(&mut Row) -> T) -> T {
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
    fn live(&self, lease: &Lease) -> Result<&Row, Error> {
        self.rows
            .get(&lease.key())
            .filter(|row| row.epoch == lease.epoch() && row.head.owner.as_deref() == Some(lease.owner()))
            .ok_or_else(|| Error::LostLease {
                run: lease.run().clone(),
            })
    }

    fn open_signals(&self, key: i64) -> impl Iterator<Item = &Posted> {
        self.signals
            .iter()
            .filter(move |posted| posted.run == key && posted.answer.is_none())
    }

    fn due(&self, until: Timestamp, lapsed: Timestamp, limit: usize) -> Vec<(Timestamp, i64)> {
        let parked = self.parked.range(..=(until, i64::MAX)).take(limit);
        let leased = self.leased.range(..=(lapsed, i64::MAX)).take(limit);
        let mut due: Vec<_> = parked.chain(leased).copied().collect();
        due.sort_unstable();
        due.truncate(limit);
        due
    }

    fn grant(&mut self, key: i64, owner: &Arc<str>, until: Timestamp) -> Lease {
        self.change(key, |row| {
            row.epoch += 1;
            row.head.owner = Some(owner.to_string());
            row.until = Some(until);
            row.is_stirred = false;
            Lease::granted(row.head.run.clone(), owner.clone(), row.epoch, until, key)
        })
    }

    fn park(&mut self, key: i64, wake: Option<Timestamp>) {
        let waits = self.row(key).is_stirred || self.open_signals(key).next().is_some();
        self.change(key, |row| {
            row.head.owner = None;
            row.until = None;
            row.is_stirred = false;
            row.head.wake = wake_when_parked(wake, row.head.at, waits);
        });
    }

    fn create(&mut self, new: NewRun) -> Result<RunId, Error> {
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

    fn append(&mut self, lease: &Lease, append: Append) -> Result<(), Error> {
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

    fn load(&self, key: i64) -> Result<Stored, Error> {
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

    fn claim(&mut self, lease: &Lease, wanted: &[String], floor: u64, only_if_newest: bool) -> Result<Claiming, Error> {
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

    fn release_claims(&mut self, lease: &Lease) -> Result<(), Error> {
        self.live(lease)?;
        let key = lease.key();
        self.waiters.retain(|(_, waiter)| *waiter != key);
        let mut freed = BTreeSet::new();
        for (target, row) in &mut self.targets {
            if row.holder == Some(key) {
                row.holder = None;
                freed.insert(target.clone());
            }
        }
        let woken: Vec<i64> = self
            .waiters
            .iter()
            .filter(|(target, _)| freed.contains(target))
            .map(|(_, waiter)| *waiter)
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
        Ok(())
    }

    fn post(&mut self, run: &RunId, signal: Signal, now: Timestamp) -> Result<(), Error> {
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

    fn fire(&mut self, workflow: &str, schedule: &str, instant: Timestamp) -> Fired {
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

fn raw(entry: SealedEntry) -> RawEntry {
    RawEntry {
        seq: entry.seq,
        hash: entry.hash,
        bytes: entry.bytes,
    }
}

/// Saturates at the end of time.
fn end(now: Timestamp, length: Duration) -> Timestamp {
    now.checked_add(length.signed()).unwrap_or(Timestamp::MAX)
}

#[async_trait::async_trait]
impl Store for Memory {
    async fn create(&self, new: NewRun) -> Result<RunId, Error> {
        self.stir(|shelf| shelf.create(new))
    }

    async fn append_all(&self, appends: Vec<(Lease, Append)>) -> Vec<Result<(), Error>> {
        appends
            .into_iter()
            .map(|(lease, append)| self.write(|shelf| shelf.append(&lease, append)))
            .collect()
    }

    async fn load(&self, run: &RunId) -> Result<Stored, Error> {
        self.read(|shelf| shelf.load(shelf.key(run)?))
    }

    async fn journal(&self, run: &RunId, from_seq: u64, limit: usize) -> Result<Vec<RawEntry>, Error> {
        self.read(|shelf| {
            let entries = shelf.found(run)?.journal.iter().filter(|raw| raw.seq >= from_seq);
            Ok(entries.take(limit).cloned().collect())
        })
    }

    async fn plan(&self, fingerprint: &Fingerprint) -> Result<Arc<Plan>, Error> {
        self.read(|shelf| shelf.plans.get(fingerprint).cloned())
            .ok_or_else(|| Error::UnknownPlan(fingerprint.clone()))
    }

    async fn runs(&self, workflow: Option<&str>, before: Option<&RunId>, limit: usize) -> Result<Vec<Head>, Error> {
        self.read(|shelf| {
            let before = before.map_or(Ok(i64::MAX), |run| shelf.key(run))?;
            let older = shelf.rows.range(..before).rev().map(|(_, row)| &row.head);
            let named = older.filter(|head| workflow.is_none_or(|workflow| head.workflow == workflow));
            Ok(named.take(limit).cloned().collect())
        })
    }

    async fn head(&self, run: &RunId) -> Result<Head, Error> {
        self.read(|shelf| Ok(shelf.found(run)?.head.clone()))
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<Due>, Error> {
        Ok(self.read(|shelf| {
            let due = shelf.due(until, until, limit).into_iter();
            due.map(|(at, key)| Due {
                run: shelf.row(key).head.run.clone(),
                at,
            })
            .collect()
        }))
    }

    async fn take(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        length: Duration,
        limit: usize,
    ) -> Result<Taken, Error> {
        self.write(|shelf| {
            let owner: Arc<str> = Arc::from(owner);
            let due = shelf.due(until, now, limit);
            let mut runs = Vec::with_capacity(due.len());
            for (_, key) in due {
                let lease = shelf.grant(key, &owner, end(now, length));
                runs.push((lease, shelf.load(key)));
            }
            let next = [shelf.parked.first(), shelf.leased.first()];
            Ok(Taken {
                runs,
                next: next.into_iter().flatten().map(|(at, _)| *at).min(),
            })
        })
    }

    async fn acquire(
        &self,
        run: &RunId,
        owner: &str,
        now: Timestamp,
        length: Duration,
    ) -> Result<Option<Lease>, Error> {
        self.write(|shelf| {
            let key = shelf.key(run)?;
            let row = shelf.row(key);
            if let Some(reason) = &row.head.quarantined {
                return Err(Error::Refused(format!(
                    "run {run} is in quarantine ({reason}); take it back first"
                )));
            }
            let is_anothers = row.head.owner.as_deref().is_some_and(|held| held != owner);
            if is_anothers && row.until.is_some_and(|until| until > now) {
                return Ok(None);
            }
            Ok(Some(shelf.grant(key, &Arc::from(owner), end(now, length))))
        })
    }

    async fn renew_all(&self, leases: Vec<Lease>, now: Timestamp, length: Duration) -> Vec<Result<Lease, Error>> {
        let until = end(now, length);
        let renew = |lease: Lease| {
            self.write(|shelf| {
                shelf.live(&lease)?;
                shelf.change(lease.key(), |row| row.until = Some(until));
                let owner = Arc::from(lease.owner());
                Ok(Lease::granted(
                    lease.run().clone(),
                    owner,
                    lease.epoch(),
                    until,
                    lease.key(),
                ))
            })
        };
        leases.into_iter().map(renew).collect()
    }

    async fn release(&self, lease: Lease, wake: Option<Timestamp>) -> Result<(), Error> {
        self.stir(|shelf| {
            shelf.live(&lease)?;
            shelf.park(lease.key(), wake);
            Ok(())
        })
    }

    async fn quarantine(&self, run: &RunId, reason: &str) -> Result<(), Error> {
        self.write(|shelf| {
            let key = shelf.key(run)?;
            shelf.change(key, |row| {
                row.head.quarantined = Some(reason.to_owned());
                row.head.owner = None;
                row.until = None;
            });
            Ok(())
        })
    }

    async fn take_back(&self, run: &RunId) -> Result<(), Error> {
        self.stir(|shelf| {
            let key = shelf.key(run)?;
            shelf.change(key, |row| {
                if row.head.quarantined.take().is_some() {
                    row.head.wake = wake_when_parked(row.head.wake, row.head.at, true);
                }
            });
            Ok(())
        })
    }

    async fn claim(
        &self,
        lease: &Lease,
        targets: &[String],
        floor: u64,
        only_if_newest: bool,
    ) -> Result<Claiming, Error> {
        self.write(|shelf| shelf.claim(lease, targets, floor, only_if_newest))
    }

    async fn release_claims(&self, lease: &Lease) -> Result<(), Error> {
        self.stir(|shelf| shelf.release_claims(lease))
    }

    async fn post(&self, run: &RunId, signal: Signal, now: Timestamp) -> Result<(), Error> {
        self.stir(|shelf| shelf.post(run, signal, now))
    }

    async fn signals(&self, run: &RunId) -> Result<Vec<Signal>, Error> {
        self.read(|shelf| {
            let key = shelf.key(run)?;
            Ok(shelf.open_signals(key).map(|posted| posted.signal.clone()).collect())
        })
    }

    async fn inbox(&self, owner: &str, now: Timestamp, limit: usize) -> Result<Vec<(RunId, Signal)>, Error> {
        Ok(self.read(|shelf| {
            let open = shelf.signals.iter().filter(|posted| posted.answer.is_none());
            open.filter_map(|posted| {
                let row = shelf.row(posted.run);
                let is_mine = row.head.owner.as_deref() == Some(owner) && row.until.is_some_and(|until| until > now);
                is_mine.then(|| (row.head.run.clone(), posted.signal.clone()))
            })
            .take(limit)
            .collect()
        }))
    }

    async fn answer(&self, signal: &str) -> Result<Option<Answer>, Error> {
        Ok(self.read(|shelf| {
            let posted = shelf.signals.iter().find(|posted| posted.signal.id == signal);
            posted.and_then(|posted| posted.answer.clone())
        }))
    }

    async fn submit(&self, submission: Submission) -> Result<(), Error> {
        self.stir(|shelf| {
            if shelf.submissions.iter().all(|(known, _)| known.id != submission.id) {
                shelf.submissions.push((submission, true));
            }
            Ok(())
        })
    }

    async fn fire(&self, workflow: &str, schedule: &str, instant: Timestamp) -> Result<Fired, Error> {
        self.write(|shelf| Ok(shelf.fire(workflow, schedule, instant)))
    }

    async fn skip(&self, workflow: &str, schedule: &str, instant: Timestamp) -> Result<(), Error> {
        self.write(|shelf| {
            let mark = shelf
                .schedules
                .entry((workflow.to_owned(), schedule.to_owned()))
                .or_insert((instant, None));
            if mark.0 < instant {
                *mark = (instant, None);
            }
            Ok(())
        })
    }

    async fn last_fired(&self, workflow: &str, schedule: &str) -> Result<Option<Timestamp>, Error> {
        let key = (workflow.to_owned(), schedule.to_owned());
        Ok(self.read(|shelf| shelf.schedules.get(&key).map(|(instant, _)| *instant)))
    }

    async fn newest_instant(&self) -> Result<Option<Timestamp>, Error> {
        Ok(self.read(|shelf| shelf.newest))
    }

    async fn changed(&self, at_most: std::time::Duration) {
        let mut changes = self.changes.subscribe();
        let now = *changes.borrow_and_update();
        if self.told.swap(now, Ordering::AcqRel) != now {
            return;
        }
        // Time running out is an answer too.
        let _ = tokio::time::timeout(at_most, changes.changed()).await;
        self.told.store(*changes.borrow(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Failure, Memory};
    use crate::ports::store::{Error, Store};
    use crate::store::conformance::{Place, acquire, create, end, step};

    impl Place for Memory {
        fn open(&self) -> Arc<dyn Store> {
            Arc::new(self.clone())
        }
    }

    crate::store_conformance!(Memory::new());

    #[tokio::test]
    async fn a_write_can_be_made_to_fail_before_and_after_it_is_done() {
        let store = Memory::new();
        let run = create(&store, "shop", 0).await;
        let lease = acquire(&store, &run, "a", 0).await.unwrap();
        store.fail_next([Failure::Before, Failure::After]);
        for seq in [1, 2] {
            let mut at_end = end(&store, &run).await;
            let failed = store.append(&lease, step(&mut at_end, 1)).await;
            assert!(matches!(failed, Err(Error::Unavailable(_))));
            assert_eq!(store.head(&run).await.unwrap().seq, seq);
        }
    }

    #[tokio::test]
    async fn damage_is_named() {
        let store = Memory::new();
        let run = create(&store, "shop", 0).await;
        let lease = acquire(&store, &run, "a", 0).await.unwrap();
        let mut at_end = end(&store, &run).await;
        store.append(&lease, step(&mut at_end, 1)).await.unwrap();
        store.damage(&run, |journal| journal[1].bytes[3] ^= 1).unwrap();
        let Err(Error::Damaged { why, .. }) = store.load(&run).await else {
            panic!("a changed byte is found");
        };
        assert!(why.contains("entry 2"), "{why}");
    }
}
