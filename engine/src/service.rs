//! What people and other programs ask of Meridian: start a release, look at it, tell it something, read what it did.
//!
//! One facade for the command line and the server; neither talks to a store by itself.

pub mod serve;

use std::sync::Arc;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::Plan;
use uuid::Uuid;

use crate::ports::clock::Clock;
use crate::ports::store::{Answer, Error, Head, NewRun, RawEntry, Store, Submission};
use crate::replay::{self, Proof, Verified};
use crate::run::decide::Input;
use crate::run::entry::Entry;
use crate::run::signal::{Person, Request, Signal};
use crate::run::state::{Run, RunId};
use crate::scheduler::owner::{Owner, Step, Unfit, revive};

/// Entries read at once.
const PAGE: usize = 1_000;

/// A lease taken only to answer a signal; long enough for one append on a slow disk.
const BRIEF_LEASE: Duration = Duration::from_secs(10);

/// Between two looks for an answer, or for another process's new entries, when the store does not call.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("run {run} cannot be read")]
    Unfit {
        run: RunId,
        #[source]
        why: Unfit,
    },
    /// The plan uses what this build does not have.
    #[error("this build cannot run {workflow}: {}", missing.join("; "))]
    NotAvailable { workflow: String, missing: Vec<String> },
    /// The signal does not fit the run's state.
    #[error("{0}")]
    Refused(String),
    #[error("nobody has answered within {0}; the request stands and is answered when the run is driven again")]
    Unanswered(Duration),
}

/// The facade; cheap to clone.
#[derive(Clone)]
pub struct Service {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

/// A run as it is stored.
pub struct Status {
    pub run: Run,
    pub head: Head,
    /// Asked and not yet answered.
    pub signals: Vec<Signal>,
}

impl Service {
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Service {
        Service { store, clock }
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Starts a release: its journal begins, and whoever drives the store goes on with it. With a key that was used before it
    /// answers with the run that was started then.
    ///
    /// *Errors*: the plan needs what this build does not have; the store.
    pub async fn start(&self, plan: Arc<Plan>, by: Person, key: Option<String>) -> Result<RunId, Problem> {
        let workflow = plan.workflow();
        if !workflow.not_available_yet.is_empty() {
            return Err(Problem::NotAvailable {
                workflow: workflow.name.clone(),
                missing: workflow.not_available_yet.clone(),
            });
        }
        let now = self.clock.now();
        let submitted = Arc::clone(&plan);
        let first = Box::new(move |id: &RunId| {
            let mut run = Run::new(id.clone(), submitted);
            let step = run.step(Input::Submit { by }, now);
            let (entry, bytes) = step
                .ok()
                .flatten()
                .expect("submitting is no signal, and a run without a journal always takes it");
            (entry, bytes, run.state().clone())
        });
        Ok(self.store.create(NewRun { key, plan, first }).await?)
    }

    /// Queues a release for the workflow's schedule.
    pub async fn submit(
        &self,
        workflow: String,
        inputs: std::collections::BTreeMap<String, String>,
        by: String,
    ) -> Result<Submission, Problem> {
        let submission = Submission {
            id: Uuid::now_v7().to_string(),
            workflow,
            inputs,
            by,
            at: self.clock.now(),
        };
        self.store.submit(submission.clone()).await?;
        Ok(submission)
    }

    /// Newest first, one page.
    pub async fn runs(
        &self,
        workflow: Option<&str>,
        before: Option<&RunId>,
        limit: usize,
    ) -> Result<Vec<Head>, Problem> {
        Ok(self.store.runs(workflow, before, limit).await?)
    }

    /// The run that was started last.
    pub async fn newest(&self, workflow: Option<&str>) -> Result<Option<Head>, Problem> {
        Ok(self.runs(workflow, None, 1).await?.into_iter().next())
    }

    pub async fn status(&self, run: &RunId) -> Result<Status, Problem> {
        let stored = self.store.load(run).await?;
        let unfit = |why| Problem::Unfit { run: run.clone(), why };
        let id = stored.head.run.clone();
        let (folded, _) = revive(id, stored.plan, stored.snapshot.as_deref(), &stored.entries).map_err(unfit)?;
        Ok(Status {
            run: folded,
            head: stored.head,
            signals: stored.signals,
        })
    }

    /// Posts a request durably, without waiting for what becomes of it; answers with the signal's id.
    pub async fn post(&self, run: &RunId, ask: Request, by: Person) -> Result<String, Problem> {
        let id = Uuid::now_v7().to_string();
        let signal = Signal {
            id: id.clone(),
            by,
            ask,
        };
        self.store.post(run, signal, self.clock.now()).await?;
        Ok(id)
    }

    /// Posts a request and waits for its answer: the position of the entry that took it. Where nobody drives the run, the
    /// answer is made here; what follows from it in the world is left to whoever drives the run next.
    ///
    /// *Errors*: [`Problem::Refused`] with what would fit; [`Problem::Unanswered`] when its driver does not answer in time.
    pub async fn ask(&self, run: &RunId, ask: Request, by: Person, at_most: Duration) -> Result<u64, Problem> {
        let id = self.post(run, ask, by).await?;
        let end = at_most.after(self.clock.now());
        loop {
            if let Some(answer) = self.store.answer(&id).await? {
                return match answer {
                    Answer::Taken { seq } => Ok(seq),
                    Answer::Refused { why } => Err(Problem::Refused(why)),
                };
            }
            let is_answered = self.answer_here(run).await?;
            if !is_answered {
                if self.clock.now() >= end {
                    return Err(Problem::Unanswered(at_most));
                }
                self.look_again().await;
            }
        }
    }

    /// Takes an undriven run's signals through the core, asking nothing of the world. False where somebody drives it.
    async fn answer_here(&self, run: &RunId) -> Result<bool, Problem> {
        let now = self.clock.now();
        let name = format!("answering-{}", Uuid::now_v7());
        let Some(lease) = self.store.acquire(run, &name, now, BRIEF_LEASE).await? else {
            return Ok(false);
        };
        let unfit = |why| Problem::Unfit { run: run.clone(), why };
        let stored = self.store.load(run).await?;
        let before = stored.head.wake;
        let stepped = Owner::visiting(stored).and_then(|mut owner| {
            owner.leave();
            owner.step(now, None)
        });
        match stepped {
            Ok(Step::Write(append)) => match self.store.append(&lease, *append).await {
                Ok(()) => Ok(true),
                // Somebody was quicker; the next look finds the answer.
                Err(Error::Conflict { .. } | Error::LostLease { .. }) => Ok(false),
                Err(error) => Err(error.into()),
            },
            Ok(Step::Quiet) => {
                self.store.release(lease, before).await?;
                Ok(true)
            }
            Err(why) => {
                self.store.release(lease, before).await?;
                Err(unfit(why))
            }
        }
    }

    /// Lets a run that was set aside be driven again.
    pub async fn take_back(&self, run: &RunId) -> Result<(), Problem> {
        Ok(self.store.take_back(run).await?)
    }

    /// Stored entries from a position on, one page, as written.
    pub async fn journal(&self, run: &RunId, from_seq: u64, limit: usize) -> Result<Vec<RawEntry>, Problem> {
        Ok(self.store.journal(run, from_seq, limit).await?)
    }

    /// Checks the whole journal: every byte against the chain, every position, and the end against the head row.
    pub async fn verify(&self, run: &RunId) -> Result<Verified, Problem> {
        let head = self.store.head(run).await?;
        let mut check = replay::Check::new();
        let mut from = 1;
        loop {
            let page = self.store.journal(run, from, PAGE).await?;
            let is_last = page.len() < PAGE;
            for raw in &page {
                check.read(raw);
            }
            from += page.len() as u64;
            if is_last || check.is_broken() {
                return Ok(check.against(head.seq, head.hash));
            }
        }
    }

    /// All entries, opened and checked.
    pub async fn entries(&self, run: &RunId) -> Result<(Arc<Plan>, Vec<Entry>), Problem> {
        let head = self.store.head(run).await?;
        let plan = self.store.plan(&head.fingerprint).await?;
        let mut tail = self.tail(run.clone(), 0);
        let mut entries = Vec::new();
        while let Some(entry) = tail.stored().await? {
            entries.push(entry);
        }
        Ok((plan, entries))
    }

    /// Decides and folds the journal again, and says what that proves.
    pub async fn prove(&self, run: &RunId) -> Result<Proof, Problem> {
        let stored = self.store.load(run).await?;
        let (plan, entries) = self.entries(run).await?;
        Ok(replay::prove(&plan, &stored.head, stored.snapshot.as_deref(), &entries))
    }

    /// The journal from a position on, then new entries as any process writes them.
    pub fn tail(&self, run: RunId, after_seq: u64) -> Tail {
        Tail {
            service: self.clone(),
            run,
            seq: after_seq,
            hash: None,
            page: Vec::new().into_iter(),
        }
    }

    async fn look_again(&self) {
        let over = self.clock.sleep_until(LOOK_EVERY.after(self.clock.now()));
        tokio::select! {
            () = self.store.changed(LOOK_EVERY.std()) => {}
            () = over => {}
        }
    }
}

/// Follows one journal.
pub struct Tail {
    service: Service,
    run: RunId,
    seq: u64,
    hash: Option<crate::run::entry::Hash>,
    page: std::vec::IntoIter<RawEntry>,
}

impl Tail {
    /// The next entry, whenever it comes.
    pub async fn next(&mut self) -> Result<Entry, Problem> {
        loop {
            if let Some(entry) = self.stored().await? {
                return Ok(entry);
            }
            self.service.look_again().await;
        }
    }

    /// The next entry, if it is there already.
    pub async fn stored(&mut self) -> Result<Option<Entry>, Problem> {
        let damaged = |run: &RunId, why: String| Problem::Store(Error::Damaged { run: run.clone(), why });
        if self.page.len() == 0 {
            // One before, where the chain is not known yet: an entry is believed only against its predecessor.
            let from = if self.hash.is_none() {
                self.seq.max(1)
            } else {
                self.seq + 1
            };
            let mut page = self.service.store.journal(&self.run, from, PAGE).await?.into_iter();
            if self.hash.is_none() {
                self.hash = match self.seq {
                    0 => Some(crate::run::entry::Hash::NONE),
                    _ => page.next().map(|raw| raw.hash),
                };
            }
            self.page = page;
        }
        let (Some(raw), Some(prev)) = (self.page.next(), self.hash) else {
            return Ok(None);
        };
        let entry = Entry::open(&raw.bytes, raw.hash, prev, self.seq + 1)
            .map_err(|broken| damaged(&self.run, broken.to_string()))?;
        self.seq = entry.seq;
        self.hash = Some(entry.hash);
        Ok(Some(entry))
    }

    /// The newest instant that has been read up to, for displays that count.
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

/// Where a clock over this store may begin.
pub async fn floor(store: &dyn Store) -> Result<Option<Timestamp>, Error> {
    store.newest_instant().await
}
