//! The engine: finds runs that are due, holds their leases, hands them to its shards, and lets go of everything in good order.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::try_join_all;
use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{debug, error, warn};

use super::clock::Jumps;
use super::effects::Hands;
use super::leases::Leases;
use super::owner::Unfit;
use super::shard::{Message, Report, Shard, Stay};
use super::tell::{Tell, Told};
use super::world::World;
use crate::ports::clock::Clock;
use crate::ports::store::{Error, Lease, Store, Stored, Taken};
use crate::run::state::RunId;

/// A run that breaks the engine this often in a row is set aside.
const PANICS_MAX: u32 = 3;

/// Between two tries of a run that broke the engine.
const AGAIN_AFTER_PANIC: Duration = Duration::from_secs(1);

/// The least time between two looks that nothing has asked for.
const MOMENT: Duration = Duration::from_millis(50);

/// Batches of runs taken at once while many are overdue.
const TAKES_MAX: usize = 2;

/// Reports heard at once.
const REPORTS_MAX: usize = 4_096;

/// Leases renewed in one transaction: a long one would hold up everybody's appends.
const RENEW_MAX: usize = 1_024;

/// Signals looked up at once.
const INBOX_MAX: usize = 1_024;

/// After the store has failed.
const STORE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How an engine behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// This process's name in leases and journals; unique among those that are alive.
    pub owner: String,
    /// How long a lease lasts unrenewed: after a crash others wait this long. Renewed at a third of it.
    pub lease: Duration,
    /// Runs are taken this long before they are due, so that a wake-up itself needs neither lease nor load.
    pub lead: Duration,
    /// How often the store is looked at when nothing calls.
    pub poll: Duration,
    /// Runs in memory at most.
    pub resident_max: usize,
    /// Runs taken in one transaction at most.
    pub take_max: usize,
    /// A run that waits longer than this leaves memory, while fewer than half of `resident_max` are there.
    pub linger: Duration,
    /// The same once memory fills up.
    pub linger_crowded: Duration,
    pub shards: usize,
    /// How long a shutdown waits for what is under way.
    pub grace: Duration,
}

impl Options {
    pub fn named(owner: impl Into<String>) -> Options {
        Options {
            owner: owner.into(),
            lease: Duration::from_secs(15),
            lead: Duration::from_secs(1),
            poll: Duration::from_secs(1),
            // A run takes a few kilobytes: this keeps the engine in tens of megabytes however many runs wake at once.
            resident_max: 4_096,
            take_max: 1_024,
            linger: Duration::from_secs(5),
            linger_crowded: Duration::from_millis(500),
            shards: std::thread::available_parallelism().map_or(1, usize::from),
            grace: Duration::from_secs(10),
        }
    }
}

/// Which runs an engine drives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every run of the store.
    Everything,
    /// Exactly these, each until it is done.
    Only(Vec<RunId>),
}

/// Where a run that was asked for stands with this engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    /// Not taken yet.
    Waiting,
    /// Another process holds its lease.
    Elsewhere,
    Here,
    /// Finished with its targets released, or in needs attention.
    AtRest,
    /// Set aside; the store knows the reason.
    Quarantined,
}

/// A running engine. Dropped without [`Engine::shut_down`], it stops where it stands, as in a crash, and leaves its leases to
/// run out.
pub struct Engine {
    core: Arc<Core>,
    tell: Tell,
    /// Ends by itself when told to leave, so that nothing is taken behind a shutdown's back.
    finder: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the engine's tasks share.
struct Core {
    hands: Arc<Hands>,
    options: Options,
    scope: Scope,
    shards: Vec<mpsc::UnboundedSender<Message>>,
    drives: watch::Sender<HashMap<RunId, Drive>>,
    /// Runs that are with a shard, or on their way to one.
    resident: Mutex<HashSet<RunId>>,
    panics: Mutex<HashMap<RunId, u32>>,
    /// No run could be taken for want of room.
    is_full: AtomicBool,
    nudge: Notify,
    leaving: watch::Sender<bool>,
}

impl Engine {
    /// Starts an engine on the current tokio runtime.
    pub fn start(
        store: Arc<dyn Store>,
        world: Arc<World>,
        clock: Arc<dyn Clock>,
        options: Options,
        scope: Scope,
    ) -> Engine {
        let tell = Tell::start(Arc::clone(&world), Arc::clone(&clock));
        let hands = Arc::new(Hands {
            store,
            clock,
            world,
            leases: Arc::new(Leases::default()),
            jumps: Jumps::default(),
            lease_length: options.lease,
        });
        let stay = match scope {
            Scope::Only(_) => Stay::ToTheEnd,
            Scope::Everything => Stay::While {
                roomy: options.linger,
                crowded: options.linger_crowded,
                crowded_at: options.resident_max / 2,
            },
        };
        let (reports, reported) = mpsc::unbounded_channel();
        let (shards, mut tasks): (Vec<_>, Vec<_>) = (0..options.shards.max(1))
            .map(|_| {
                let (sender, inbox) = mpsc::unbounded_channel();
                let shard = Shard::new(
                    Arc::clone(&hands),
                    stay,
                    (sender.clone(), inbox),
                    reports.clone(),
                    tell.clone(),
                );
                (sender, tokio::spawn(shard.work()))
            })
            .unzip();
        let drives = match &scope {
            Scope::Everything => HashMap::new(),
            Scope::Only(runs) => runs.iter().map(|run| (run.clone(), Drive::Waiting)).collect(),
        };
        let core = Arc::new(Core {
            hands,
            options,
            scope,
            shards,
            drives: watch::Sender::new(drives),
            resident: Mutex::default(),
            panics: Mutex::default(),
            is_full: AtomicBool::new(false),
            nudge: Notify::new(),
            leaving: watch::Sender::new(false),
        });
        let finder = tokio::spawn(Arc::clone(&core).find(reported));
        tasks.push(tokio::spawn(Arc::clone(&core).listen()));
        tasks.push(tokio::spawn(Arc::clone(&core).renew()));
        Engine {
            core,
            tell,
            finder,
            tasks,
        }
    }

    /// Entries as they become durable, of every run that this engine drives.
    pub fn subscribe(&self) -> broadcast::Receiver<Told> {
        self.tell.subscribe()
    }

    /// Where each run of [`Scope::Only`] stands.
    pub fn drives(&self) -> watch::Receiver<HashMap<RunId, Drive>> {
        self.core.drives.subscribe()
    }

    /// Returns when every run of [`Scope::Only`] is at rest or set aside. Never, with [`Scope::Everything`].
    pub async fn settled(&self) {
        let mut drives = self.drives();
        let over = |drives: &HashMap<RunId, Drive>| {
            !drives.is_empty()
                && drives
                    .values()
                    .all(|drive| matches!(drive, Drive::AtRest | Drive::Quarantined))
        };
        // The sender lives as long as this engine.
        let _ = drives.wait_for(over).await;
    }

    /// Runs in memory now.
    pub fn resident(&self) -> usize {
        self.core.resident.lock().len()
    }

    /// Finishes what is being written, hands the leases back and ends, within the grace of the options.
    pub async fn shut_down(mut self) {
        self.core.leaving.send_replace(true);
        if let Err(error) = (&mut self.finder).await {
            error!(%error, "the search for due runs had ended before");
        }
        let acks: Vec<_> = self
            .core
            .shards
            .iter()
            .filter_map(|shard| {
                let (done, ack) = oneshot::channel();
                shard.send(Message::Leave { done }).ok().map(|()| ack)
            })
            .collect();
        let clock = &self.core.hands.clock;
        let over = clock.sleep_until(self.core.options.grace.after(clock.now()));
        tokio::select! {
            biased;
            _ = futures_util::future::join_all(acks) => {}
            () = over => warn!("some runs could not be handed back in time; their leases run out by themselves"),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.finder.abort();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Core {
    /// Takes what is due and passes on what shards and people say, until told to leave.
    async fn find(self: Arc<Core>, mut reported: mpsc::UnboundedReceiver<Report>) {
        let mut leaving = self.leaving.subscribe();
        let mut reports = Vec::new();
        let mut look_at = Timestamp::MIN;
        loop {
            let clock = &self.hands.clock;
            self.notice_jump();
            if clock.now() >= look_at {
                look_at = self.look().await;
            }
            tokio::select! {
                biased;
                () = async { drop(leaving.wait_for(|leaving| *leaving).await) } => return,
                count = reported.recv_many(&mut reports, REPORTS_MAX) => {
                    if count == 0 {
                        return; // all shards have ended
                    }
                    for report in reports.drain(..) {
                        look_at = look_at.min(self.hear(report).await);
                    }
                }
                () = self.nudge.notified() => look_at = Timestamp::MIN,
                () = clock.sleep_until(look_at) => {}
            }
        }
    }

    /// Turns the store's own calls, and the poll that covers lost ones, into looks.
    async fn listen(self: Arc<Core>) {
        loop {
            self.hands.store.changed(self.options.poll.std()).await;
            self.nudge.notify_one();
        }
    }

    fn notice_jump(&self) {
        self.hands.clock.take_jump(&|from, to| {
            warn!(%from, %to, "the wall clock has jumped");
            // Where the wall falls back, this clock goes on: no run has lost anything, and none must count an hour twice.
            if to > from {
                self.hands.jumps.add(from, to);
            }
        });
    }

    /// One look at the store: runs that are due, signals for runs that are here. Answers with when to look again.
    async fn look(&self) -> Timestamp {
        let looked = match &self.scope {
            Scope::Everything => self.take_due().await,
            Scope::Only(runs) => self.take_named(runs).await,
        };
        let looked = match looked {
            Ok(next) => self.collect_signals().await.map(|()| next),
            Err(error) => Err(error),
        };
        let now = self.hands.clock.now();
        looked.unwrap_or_else(|error| {
            warn!(%error, "the store does not answer");
            STORE_AGAIN_AFTER.after(now)
        })
    }

    async fn take_due(&self) -> Result<Timestamp, Error> {
        let options = &self.options;
        let mut at_once = 1;
        loop {
            let now = self.hands.clock.now();
            let room = options.resident_max.saturating_sub(self.resident.lock().len());
            let limit = (room / at_once).min(options.take_max);
            if limit == 0 && at_once > 1 {
                at_once = 1;
                continue;
            }
            if limit == 0 {
                self.is_full.store(true, Ordering::Relaxed);
                return Ok(Timestamp::MAX); // the next run that leaves memory makes room, and a look
            }
            let take = || async {
                let until = options.lead.after(now);
                let store = &self.hands.store;
                let Taken { runs, next } = store.take(&options.owner, now, until, options.lease, limit).await?;
                let count = runs.len();
                for (lease, stored) in runs {
                    self.admit(lease, stored).await;
                }
                Ok::<_, Error>((count, next))
            };
            let taken = try_join_all((0..at_once).map(|_| take())).await?;
            if taken.iter().any(|(count, _)| *count < limit) {
                // Never at once again for the same runs: something that cannot be taken stays due.
                let soonest = MOMENT.after(now);
                let next = taken.into_iter().filter_map(|(_, next)| next).min();
                return Ok(next.map_or(Timestamp::MAX, |next| ahead_of(next, options.lead).max(soonest)));
            }
            // There is a backlog: while one batch is read, the next is written.
            at_once = TAKES_MAX;
        }
    }

    async fn take_named(&self, runs: &[RunId]) -> Result<Timestamp, Error> {
        let options = &self.options;
        for run in runs {
            let drive = self.drives.borrow().get(run).copied();
            if !matches!(drive, Some(Drive::Waiting | Drive::Elsewhere)) {
                continue;
            }
            let now = self.hands.clock.now();
            let head = self.hands.store.head(run).await?;
            if head.quarantined.is_some() {
                self.note(run, Drive::Quarantined);
                continue;
            }
            // Taking a run that is over would only write another owner behind its end, unless somebody has asked for more.
            if head.is_done && self.hands.store.signals(run).await?.is_empty() {
                self.note(run, Drive::AtRest);
                continue;
            }
            match self
                .hands
                .store
                .acquire(run, &options.owner, now, options.lease)
                .await?
            {
                None => self.note(run, Drive::Elsewhere),
                Some(lease) => {
                    let stored = self.hands.store.load(run).await;
                    self.note(run, Drive::Here);
                    self.admit(lease, stored).await;
                }
            }
        }
        Ok(options.poll.after(self.hands.clock.now()))
    }

    async fn collect_signals(&self) -> Result<(), Error> {
        if self.resident.lock().is_empty() {
            return Ok(());
        }
        let now = self.hands.clock.now();
        let signals = self.hands.store.inbox(&self.options.owner, now, INBOX_MAX).await?;
        for (run, signal) in signals {
            self.shard_of(&run, |run| Message::Signal { run, signal });
        }
        Ok(())
    }

    /// A run that was taken goes to its shard, unless it cannot be read.
    async fn admit(&self, lease: Lease, stored: Result<Stored, Error>) {
        match stored {
            Ok(stored) => {
                let run = lease.run().clone();
                self.resident.lock().insert(run.clone());
                let stored = Box::new(stored);
                self.shard_of(&run, |_| Message::Take { lease, stored });
            }
            Err(Error::Unavailable(why)) => {
                warn!(run = %lease.run(), why, "taken, but could not be read");
                self.give_back(lease).await;
            }
            Err(error) => self.set_aside(lease, &error.to_string()).await,
        }
    }

    /// What a shard reports; answers with when the store must be looked at because of it.
    async fn hear(&self, report: Report) -> Timestamp {
        let mut look_at = Timestamp::MAX;
        match report {
            Report::Parked { run, wake } => {
                self.panics.lock().remove(&run);
                self.gone(&run);
                look_at = wake.map_or(Timestamp::MAX, |wake| ahead_of(wake, self.options.lead));
            }
            Report::Dropped { run } => {
                self.gone(&run);
                self.note(&run, Drive::Elsewhere);
            }
            Report::AtRest { run } => self.note(&run, Drive::AtRest),
            Report::Unfit { lease, why } => {
                self.gone(lease.run());
                self.broken(lease, why).await;
                look_at = AGAIN_AFTER_PANIC.after(self.hands.clock.now());
            }
        }
        let room = self.options.resident_max.saturating_sub(self.resident.lock().len());
        // Taking one run at a time as each leaves would cost a transaction a run.
        if room >= self.options.take_max.min(self.options.resident_max.div_ceil(4))
            && self.is_full.swap(false, Ordering::Relaxed)
        {
            look_at = Timestamp::MIN;
        }
        look_at
    }

    async fn broken(&self, lease: Lease, why: Unfit) {
        let run = lease.run().clone();
        let panics = {
            let mut panics = self.panics.lock();
            let count = panics.entry(run.clone()).or_insert(0);
            *count += 1;
            *count
        };
        error!(%run, %why, panics, "this run cannot be driven");
        match why {
            Unfit::Panicked(_) if panics < PANICS_MAX => {
                self.note(&run, Drive::Waiting);
                self.give_back(lease).await;
            }
            Unfit::Panicked(_) | Unfit::Broken(_) | Unfit::Snapshot(_) => {
                self.panics.lock().remove(&run);
                self.set_aside(lease, &why.to_string()).await;
            }
        }
    }

    async fn give_back(&self, lease: Lease) {
        let wake = AGAIN_AFTER_PANIC.after(self.hands.clock.now());
        if let Err(error) = self.hands.store.release(lease, Some(wake)).await {
            debug!(%error, "a lease could not be given back; it runs out by itself");
        }
    }

    async fn set_aside(&self, lease: Lease, why: &str) {
        let run = lease.run().clone();
        // Set aside first: nobody may take it in between.
        match self.hands.store.quarantine(&run, why).await {
            Ok(()) => {
                error!(%run, why, "set aside; others go on");
                self.note(&run, Drive::Quarantined);
            }
            Err(error) => warn!(%run, %error, "could not be set aside"),
        }
        self.give_back(lease).await;
    }

    /// Makes all leases last, long before the first of them ends.
    async fn renew(self: Arc<Core>) {
        let Hands {
            clock, store, leases, ..
        } = self.hands.as_ref();
        let length = self.options.lease;
        let period = Duration::from_millis(length.as_millis() / 3);
        loop {
            clock.sleep_until(period.after(clock.now())).await;
            let now = clock.now();
            // All that were not granted or renewed within this period.
            let due = leases.ending_before(length.saturating_sub(MOMENT).after(now));
            for batch in due.chunks(RENEW_MAX) {
                let answers = store.renew_all(batch.to_vec(), now, length).await;
                for (lease, answer) in batch.iter().zip(answers) {
                    match answer {
                        Ok(renewed) => leases.renewed(renewed),
                        Err(Error::LostLease { .. }) => {
                            let epoch = lease.epoch();
                            self.shard_of(lease.run(), |run| Message::LeaseLost { run, epoch });
                        }
                        Err(error) => warn!(run = %lease.run(), %error, "could not renew the lease"),
                    }
                }
            }
        }
    }

    fn gone(&self, run: &RunId) {
        self.resident.lock().remove(run);
    }

    /// Only runs that were asked for by name are followed; what rests stays at rest.
    fn note(&self, run: &RunId, drive: Drive) {
        self.drives.send_if_modified(|drives| match drives.get_mut(run) {
            Some(known) if *known != drive && *known != Drive::AtRest => {
                *known = drive;
                true
            }
            Some(_) | None => false,
        });
    }

    /// A run is always with the same shard, so that no two loops of this process can have it.
    fn shard_of(&self, run: &RunId, message: impl FnOnce(RunId) -> Message) {
        let mut hasher = DefaultHasher::new();
        run.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % self.shards.len() as u64).unwrap_or(0);
        // A shard that has ended has handed its runs back.
        let _ = self.shards[index].send(message(run.clone()));
    }
}

fn ahead_of(instant: Timestamp, lead: Duration) -> Timestamp {
    instant.checked_sub(lead.signed()).unwrap_or(Timestamp::MIN)
}
