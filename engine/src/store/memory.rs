//! The store in memory, for simulation and tests: the same rules, nothing durable, and failures on demand.

mod shelf;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{Fingerprint, Plan};
use parking_lot::Mutex;
use tokio::sync::watch;

use self::shelf::{Shelf, end};
use super::rules::wake_when_parked;
use crate::ports::store::{
    Answer, Append, Claiming, Due, Error, Fired, Head, Lease, Locking, NewRun, RawEntry, Store, Stored, Submission,
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

    async fn lock(&self, lease: &Lease, name: &str, now: Timestamp) -> Result<Locking, Error> {
        self.write(|shelf| shelf.lock(lease, name, now))
    }

    async fn unlock(&self, lease: &Lease, name: &str) -> Result<(), Error> {
        self.stir(|shelf| shelf.unlock(lease, name))
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
