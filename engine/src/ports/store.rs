//! Where journals, leases, claims, signals and submissions are kept, durably.

use std::sync::Arc;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{Fingerprint, Plan};
use serde::{Deserialize, Serialize};

use crate::run::entry::{Entry, Hash};
use crate::run::signal::Signal;
use crate::run::state::{RunId, State};

/// *Guarantees asked*: what was acknowledged survives power loss; `append` is all or nothing and only for the holder of the
/// live lease at the expected position; entries are never changed or removed; a signal is answered in the same step that
/// takes it. Calls of many runs may share one transaction and one flush; the refusal of one never touches the others.
///
/// *Assumptions*: a caller that drops a future takes nothing back: what it asked for may still be done.
///
/// *Errors*, of every call: [`Error::Unavailable`] leaves open whether the request was carried out (a flush that failed may
/// have reached the disk). Load the run before going on; positions and epochs make a blind repeat harmless.
#[async_trait::async_trait]
pub trait Store: Send + Sync {
    // --- runs and journals ---

    /// Stores the plan once under its fingerprint, gives the run its name (`WORKFLOW-0001`, counted per workflow) and writes
    /// its first entry, made by `first` for that name. The run is due at once. A [`NewRun::key`] that was used before makes
    /// nothing and answers with the run that it made then.
    async fn create(&self, new: NewRun) -> Result<RunId, Error>;

    /// Adds to many journals in one transaction and one flush; each answer stands at its append's place. One that is refused
    /// keeps nobody else's from being written.
    ///
    /// *Errors*: [`Error::Conflict`] when the journal is not at `after_seq`, [`Error::LostLease`] when the lease is not the
    /// live one. Then nothing was written to that journal. After [`Error::Unavailable`] nobody knows: load it again.
    async fn append_all(&self, appends: Vec<(Lease, Append)>) -> Vec<Result<(), Error>>;

    /// The same for one journal.
    async fn append(&self, lease: &Lease, append: Append) -> Result<(), Error> {
        let answers = self.append_all(vec![(lease.clone(), append)]).await;
        answers
            .into_iter()
            .next()
            .unwrap_or_else(|| Err(Error::Unavailable("the store gave no answer to an append".to_owned())))
    }

    /// Everything needed to go on with a run: its plan, the newest snapshot where one is kept, the entries after it, and the
    /// signals that nobody has answered. Runs of the same plan share one in memory.
    async fn load(&self, run: &RunId) -> Result<Stored, Error>;

    /// Stored entries from `from_seq` on, at most `limit`, unread and unchecked: bytes as written.
    async fn journal(&self, run: &RunId, from_seq: u64, limit: usize) -> Result<Vec<RawEntry>, Error>;

    async fn plan(&self, fingerprint: &Fingerprint) -> Result<Arc<Plan>, Error>;

    /// Runs by name of workflow, newest first, one page (`before` = the last one of the page before).
    async fn runs(&self, workflow: Option<&str>, before: Option<&RunId>, limit: usize) -> Result<Vec<Head>, Error>;

    async fn head(&self, run: &RunId) -> Result<Head, Error>;

    // --- driving ---

    /// Runs that nobody drives and that are due before `until` (wake-up reached, signal posted, lease run out), soonest
    /// first. Never more than `limit`: ask again.
    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<Due>, Error>;

    /// Takes up to `limit` of them at once, soonest first, in one transaction: each with a lease as by `acquire` and all that
    /// is needed to go on. Those due after `now` are taken early on purpose: their owner waits for the instant itself.
    async fn take(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        length: Duration,
        limit: usize,
    ) -> Result<Taken, Error>;

    /// Takes the run's lease for `length`, with an epoch above every earlier one. None while another owner's lease lives.
    ///
    /// *Errors*: [`Error::Refused`] for a run in quarantine.
    async fn acquire(&self, run: &RunId, owner: &str, now: Timestamp, length: Duration)
    -> Result<Option<Lease>, Error>;

    /// Makes leases last `length` from `now`, all in one transaction; each answer stands at its lease's place.
    ///
    /// *Errors*: [`Error::LostLease`].
    async fn renew_all(&self, leases: Vec<Lease>, now: Timestamp, length: Duration) -> Vec<Result<Lease, Error>>;

    /// Gives a lease back; `wake` is when the run is due next (none = only by a signal).
    async fn release(&self, lease: Lease, wake: Option<Timestamp>) -> Result<(), Error>;

    /// Sets a run aside with its reason after it made the engine fail repeatedly: its lease ends, and it is not due until it
    /// is taken back.
    async fn quarantine(&self, run: &RunId, reason: &str) -> Result<(), Error>;

    /// Lets a run out of quarantine; it is due at once.
    async fn take_back(&self, run: &RunId) -> Result<(), Error>;

    // --- claims on targets ---

    /// Takes all targets or none, for the run of this lease. The number is above every earlier claim on any of them and
    /// above `floor` (what the targets themselves show). A run that is told *busy* is due once a target that stood in its way
    /// is given back; while somebody drives it, as soon as it is parked. With `only_if_newest` a run is refused once another
    /// one has taken a target after it, or, when it never held them, once a run created later has.
    async fn claim(
        &self,
        lease: &Lease,
        targets: &[String],
        floor: u64,
        only_if_newest: bool,
    ) -> Result<Claiming, Error>;

    /// Gives the targets back, and every lock; makes runs that wait for one of them due.
    async fn release_claims(&self, lease: &Lease) -> Result<(), Error>;

    // --- locks ---

    /// Takes a lock for the run of this lease, or a place in its queue: first come, first served. Who has not asked for
    /// [`LOCK_PATIENCE`] keeps nobody waiting any more. At most one run holds a name; its holder may ask again and keeps it, under
    /// whatever lease. A run that waits is due once the lock is given back, as for targets.
    async fn lock(&self, lease: &Lease, name: &str, now: Timestamp) -> Result<Locking, Error>;

    /// Gives back one lock, or the place in its queue; nothing where the run has neither.
    async fn unlock(&self, lease: &Lease, name: &str) -> Result<(), Error>;

    // --- signals ---

    /// Posts a signal durably and makes the run due. The same id twice is once.
    async fn post(&self, run: &RunId, signal: Signal, now: Timestamp) -> Result<(), Error>;

    /// Signals not yet answered, oldest first.
    async fn signals(&self, run: &RunId) -> Result<Vec<Signal>, Error>;

    /// Signals not yet answered of all runs whose live lease is `owner`'s, oldest first, at most `limit`.
    async fn inbox(&self, owner: &str, now: Timestamp, limit: usize) -> Result<Vec<(RunId, Signal)>, Error>;

    /// None while nobody has answered.
    async fn answer(&self, signal: &str) -> Result<Option<Answer>, Error>;

    // --- submissions and schedules ---

    /// Queues a release for a workflow's schedule.
    async fn submit(&self, submission: Submission) -> Result<(), Error>;

    /// Takes the newest submission of a workflow (older ones are superseded) for the scheduled instant, and remembers both:
    /// the same instant never fires twice. `Fired::Nothing` when none is queued. `Fired::Already` when the instant has fired
    /// before, with the submission it took then, so that a start that a crash cut short can be finished under its key.
    async fn fire(&self, workflow: &str, schedule: &str, instant: Timestamp) -> Result<Fired, Error>;

    /// Remembers an instant that was passed over on purpose: neither it nor an earlier one fires any more.
    async fn skip(&self, workflow: &str, schedule: &str, instant: Timestamp) -> Result<(), Error>;

    /// The last instant that was fired or skipped for a schedule.
    async fn last_fired(&self, workflow: &str, schedule: &str) -> Result<Option<Timestamp>, Error>;

    // --- wake-ups ---

    /// The newest instant that any journal holds: no clock of this store may start before it.
    async fn newest_instant(&self) -> Result<Option<Timestamp>, Error>;

    /// Returns when something may have become due (a signal, a new run, released claims), or after `at_most`.
    async fn changed(&self, at_most: std::time::Duration);
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the journal of run {run} has moved on: expected position {expected}, found {found}")]
    Conflict { run: RunId, expected: u64, found: u64 },
    #[error("the lease of run {run} has been lost")]
    LostLease { run: RunId },
    #[error("there is no run `{0}`")]
    UnknownRun(RunId),
    #[error("there is no plan {0}")]
    UnknownPlan(Fingerprint),
    #[error("the journal of run {run} cannot be believed: {why}")]
    Damaged { run: RunId, why: String },
    /// The file is in use, of a newer format, or not a store.
    #[error("{0}")]
    Refused(String),
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
}

/// The right to write to one run's journal and to order clouds in its name. Only a store can grant one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    run: RunId,
    owner: Arc<str>,
    epoch: u64,
    until: Timestamp,
    key: i64,
}

impl Lease {
    /// `key` is where the store keeps the run, so that an append needs no look-up by name.
    pub(crate) fn granted(run: RunId, owner: Arc<str>, epoch: u64, until: Timestamp, key: i64) -> Lease {
        Lease {
            run,
            owner,
            epoch,
            until,
            key,
        }
    }

    pub(crate) fn key(&self) -> i64 {
        self.key
    }

    pub fn run(&self) -> &RunId {
        &self.run
    }

    pub fn owner(&self) -> &str {
        &self.owner
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn until(&self) -> Timestamp {
        self.until
    }
}

pub struct NewRun {
    /// Makes the start idempotent: two with the same key are one run.
    pub key: Option<String>,
    pub plan: Arc<Plan>,
    /// Makes the first entry and its bytes for the name that the store gives.
    pub first: First,
}

/// The first entry of a run of this name, with its bytes and the state that it makes.
pub type First = Box<dyn FnOnce(&RunId) -> (Entry, Vec<u8>, State) + Send>;

/// What one step adds.
#[derive(Clone, Debug)]
pub struct Append {
    /// The journal's position before this append.
    pub after_seq: u64,
    /// Sealed entries with their bytes as stored; none when a step only answers signals with refusals.
    pub entries: Vec<SealedEntry>,
    pub head: HeadUpdate,
    /// Signals that this step took, with what their senders are told. An answer that is there already stays.
    pub answers: Vec<(String, Answer)>,
    /// A new snapshot (as of the last entry) replaces the old one.
    pub snapshot: Option<Vec<u8>>,
    /// Gives the lease back in the same transaction; the run is due at `head.wake`, or at once where a signal waits that is
    /// not answered here.
    pub parks: bool,
}

#[derive(Clone, Debug)]
pub struct SealedEntry {
    pub seq: u64,
    pub at: Timestamp,
    pub hash: Hash,
    pub bytes: Vec<u8>,
}

/// What lists and wake-ups need of a run, one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadUpdate {
    /// When the run must be looked at next if nothing else happens.
    pub wake: Option<Timestamp>,
    pub outcome: String,
    pub is_done: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    pub run: RunId,
    pub workflow: String,
    pub fingerprint: Fingerprint,
    pub seq: u64,
    pub hash: Hash,
    pub created_at: Timestamp,
    pub at: Timestamp,
    pub wake: Option<Timestamp>,
    pub outcome: String,
    pub is_done: bool,
    pub owner: Option<String>,
    pub quarantined: Option<String>,
}

/// A run brought back.
pub struct Stored {
    pub plan: Arc<Plan>,
    pub snapshot: Option<Vec<u8>>,
    /// Entries after the snapshot, checked against the chain.
    pub entries: Vec<Entry>,
    pub head: Head,
    /// Not yet answered, oldest first.
    pub signals: Vec<Signal>,
}

/// Runs that were taken together.
pub struct Taken {
    pub runs: Vec<(Lease, Result<Stored, Error>)>,
    /// When the soonest of those that were left is due; none when nothing is. A run under somebody's live lease counts as due
    /// when that lease ends.
    pub next: Option<Timestamp>,
}

/// An entry as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    pub seq: u64,
    pub hash: Hash,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub run: RunId,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claiming {
    Claimed {
        claim: u64,
    },
    Busy {
        target: String,
        by: RunId,
        workflow: String,
    },
    /// A newer run has held one of the targets.
    Superseded {
        target: String,
        by: RunId,
    },
}

/// Who waits for a lock asks again well within this time; three missed questions and others go first.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(200);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locking {
    Held {
        number: u64,
    },
    /// `by` has it, or is to have it next; so many are before this run.
    Waits {
        by: RunId,
        ahead: u32,
    },
}

/// What the sender of a signal is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum Answer {
    Taken { seq: u64 },
    Refused { why: String },
}

/// A release queued for a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Submission {
    pub id: String,
    pub workflow: String,
    pub inputs: std::collections::BTreeMap<String, String>,
    pub by: String,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fired {
    Start(Submission),
    Nothing,
    Already { submission: Option<Submission> },
}
