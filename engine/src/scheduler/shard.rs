//! Drives many runs from one task: takes in what reaches them, writes the steps of all of them together, and only then lets
//! their effects start.
//!
//! A task a run would cost memory and a wake-up each; runs of one shard share a loop, a timer heap and a write instead.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, warn};

use super::effects::{Errand, Hands};
use super::owner::{Owner, Step, Unfit};
use super::tell::Tell;
use crate::ports::store::{Error, Lease, Stored};
use crate::run::decide::Input;
use crate::run::effect::{EffectKey, Outcome};
use crate::run::signal::Signal;
use crate::run::standing::is_at_rest;
use crate::run::state::RunId;

/// Messages taken in at once before anything is written.
const MESSAGES_MAX: usize = 4_096;

/// Writes of one shard under way: while one is flushed the next is made.
const WRITES_MAX: usize = 2;

/// Asking a store that did not answer again.
const RELOAD_AFTER: Duration = Duration::from_millis(250);

/// What reaches a shard.
pub enum Message {
    /// A run that this process has taken.
    Take {
        lease: Lease,
        stored: Box<Stored>,
    },
    Outcome {
        place: Place,
        key: EffectKey,
        outcome: Outcome,
    },
    Signal {
        run: RunId,
        signal: Signal,
    },
    LeaseLost {
        run: RunId,
        epoch: u64,
    },
    Reloaded {
        place: Place,
        stored: Box<Result<Stored, Error>>,
    },
    /// Write what is decided, hand all leases back, answer, end.
    Leave {
        done: oneshot::Sender<()>,
    },
}

/// What a shard reports to its engine.
#[derive(Debug)]
pub enum Report {
    /// Left memory in good order; due next at `wake`.
    Parked { run: RunId, wake: Option<Timestamp> },
    /// Left memory because this process may not, or cannot, go on with it.
    Dropped { run: RunId },
    /// Cannot be driven: the engine decides between another try and quarantine.
    Unfit { lease: Lease, why: Unfit },
    /// Needs nobody to watch it any more.
    AtRest { run: RunId },
}

/// An owner's place in memory; the number tells a later tenant of the same slot apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    slot: usize,
    number: u64,
}

/// How long runs stay in memory.
#[derive(Clone, Copy, Debug)]
pub enum Stay {
    /// A run that waits longer than this is parked: the first while there is room, the second when memory fills up.
    While {
        roomy: Duration,
        crowded: Duration,
        crowded_at: usize,
    },
    /// Until it is done.
    ToTheEnd,
}

struct Tenant {
    number: u64,
    lease: Lease,
    owner: Owner,
    armed: Option<Timestamp>,
    is_ready: bool,
    rests: bool,
}

type Written = (Vec<Place>, Vec<Result<(), Error>>);

pub struct Shard {
    hands: Arc<Hands>,
    stay: Stay,
    inbox: mpsc::UnboundedReceiver<Message>,
    sender: mpsc::UnboundedSender<Message>,
    reports: mpsc::UnboundedSender<Report>,
    tell: Tell,
    tenants: Vec<Option<Tenant>>,
    free: Vec<usize>,
    places: HashMap<RunId, usize>,
    tenants_so_far: u64,
    jumps_seen: u64,
    timers: BinaryHeap<Reverse<(Timestamp, Place)>>,
    ready: Vec<Place>,
    writes: FuturesUnordered<BoxFuture<'static, Written>>,
    leaving: Option<oneshot::Sender<()>>,
}

impl Shard {
    pub fn new(
        hands: Arc<Hands>,
        stay: Stay,
        inbox: (mpsc::UnboundedSender<Message>, mpsc::UnboundedReceiver<Message>),
        reports: mpsc::UnboundedSender<Report>,
        tell: Tell,
    ) -> Shard {
        Shard {
            hands,
            stay,
            inbox: inbox.1,
            sender: inbox.0,
            reports,
            tell,
            tenants: Vec::new(),
            free: Vec::new(),
            places: HashMap::new(),
            tenants_so_far: 0,
            jumps_seen: 0,
            timers: BinaryHeap::new(),
            ready: Vec::new(),
            writes: FuturesUnordered::new(),
            leaving: None,
        }
    }

    /// Runs until it is told to leave and everything is written.
    pub async fn work(mut self) {
        let mut messages = Vec::new();
        loop {
            let clock = Arc::clone(&self.hands.clock);
            let wake = self.next_timer();
            tokio::select! {
                biased;
                Some(written) = self.writes.next(), if !self.writes.is_empty() => self.written(written),
                _ = self.inbox.recv_many(&mut messages, MESSAGES_MAX) => {
                    messages.drain(..).for_each(|message| self.receive(message));
                }
                () = clock.sleep_until(wake.unwrap_or(Timestamp::MAX)), if wake.is_some() => {}
            }
            self.wake_due();
            if self.writes.len() < WRITES_MAX && !self.ready.is_empty() {
                self.step_ready();
            }
            if self.leaving.is_some() && self.places.is_empty() && self.writes.is_empty() {
                if let Some(done) = self.leaving.take() {
                    let _ = done.send(());
                }
                return;
            }
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Take { lease, stored } => self.take(lease, *stored),
            Message::Outcome { place, key, outcome } => {
                if let Some(tenant) = self.tenant(place) {
                    tenant.owner.offer(Input::Outcome { key, outcome });
                    self.make_ready(place);
                }
            }
            Message::Signal { run, signal } => {
                if let Some(place) = self.place_of(&run)
                    && let Some(tenant) = self.tenant(place)
                {
                    tenant.owner.post(signal);
                    self.make_ready(place);
                }
            }
            Message::LeaseLost { run, epoch } => {
                if let Some(place) = self.place_of(&run)
                    && self.tenant(place).is_some_and(|tenant| tenant.lease.epoch() == epoch)
                {
                    warn!(%run, epoch, "lost the lease; somebody else drives this run now");
                    self.evict(place);
                }
            }
            Message::Reloaded { place, stored } => self.reloaded(place, *stored),
            Message::Leave { done } => {
                self.leaving = Some(done);
                for place in self.all_places() {
                    if let Some(tenant) = self.tenant(place) {
                        tenant.owner.leave();
                        self.make_ready(place);
                    }
                }
            }
        }
    }

    fn take(&mut self, lease: Lease, stored: Stored) {
        if let Some(place) = self.place_of(lease.run()) {
            // Its earlier lease ran out unrenewed and the store has granted a new one: the old loop ends here.
            self.forget(place);
        }
        let mut owner = match Owner::revived(lease.owner(), lease.epoch(), stored) {
            Ok(owner) => owner,
            Err(why) => {
                self.report(Report::Unfit { lease, why });
                return;
            }
        };
        // Those that this shard has not seen yet come to all its runs at the next step.
        let missed = self.hands.jumps.before(self.jumps_seen);
        missed
            .into_iter()
            .rev()
            .for_each(|(from, to)| owner.missed_jump(from, to));
        if self.leaving.is_some() {
            owner.leave();
        }
        self.hands.leases.hold(lease.clone());
        self.tenants_so_far += 1;
        let tenant = Tenant {
            number: self.tenants_so_far,
            owner,
            armed: None,
            is_ready: false,
            rests: false,
            lease,
        };
        let slot = self.free.pop().unwrap_or(self.tenants.len());
        let place = Place {
            slot,
            number: tenant.number,
        };
        self.places.insert(tenant.lease.run().clone(), slot);
        if slot == self.tenants.len() {
            self.tenants.push(Some(tenant));
        } else {
            self.tenants[slot] = Some(tenant);
        }
        // A run taken ahead of its time waits here for the instant itself; there is no way to know before asking the core.
        self.make_ready(place);
    }

    fn step_ready(&mut self) {
        // First the time, then the jumps: an instant after a jump is never used by a run that has not been told of it.
        let now = self.hands.clock.now();
        self.pass_on_jumps();
        let linger = self.linger();
        let mut places = Vec::new();
        let mut appends = Vec::new();
        for place in std::mem::take(&mut self.ready) {
            let Some(tenant) = self.tenant(place) else { continue };
            tenant.is_ready = false;
            if tenant.owner.is_writing() {
                continue; // made ready again when the write is done
            }
            match tenant.owner.step(now, linger) {
                Ok(Step::Quiet) => self.go_on(place),
                Ok(Step::Write(append)) => {
                    appends.push((tenant.lease.clone(), *append));
                    places.push(place);
                }
                Err(why) => {
                    let lease = tenant.lease.clone();
                    self.forget(place);
                    self.report(Report::Unfit { lease, why });
                }
            }
        }
        if !places.is_empty() {
            let store = Arc::clone(&self.hands.store);
            self.writes
                .push(async move { (places, store.append_all(appends).await) }.boxed());
        }
    }

    fn pass_on_jumps(&mut self) {
        let (jumps, seen) = self.hands.jumps.since(self.jumps_seen);
        self.jumps_seen = seen;
        if jumps.is_empty() {
            return;
        }
        for place in self.all_places() {
            if let Some(tenant) = self.tenant(place) {
                jumps
                    .iter()
                    .rev()
                    .for_each(|(from, to)| tenant.owner.missed_jump(*from, *to));
                self.make_ready(place);
            }
        }
    }

    fn written(&mut self, (places, answers): Written) {
        let mut answers = answers.into_iter();
        for place in places {
            let answer = answers
                .next()
                .unwrap_or_else(|| Err(Error::Unavailable("the store gave no answer to an append".to_owned())));
            let Some(tenant) = self.tenant(place) else { continue };
            match answer {
                Ok(()) => {
                    let parked = tenant.owner.parked();
                    let entries = tenant.owner.written();
                    let run = tenant.owner.run();
                    let rests = is_at_rest(run) && (parked || tenant.owner.is_idle());
                    let id = run.id().clone();
                    let newly_rests = rests && !std::mem::replace(&mut tenant.rests, rests);
                    let wake = tenant.owner.wake();
                    let plan = Arc::clone(tenant.owner.run().plan());
                    self.tell.entries(&id, &plan, entries);
                    if newly_rests {
                        self.report(Report::AtRest { run: id.clone() });
                    }
                    if parked {
                        self.forget(place);
                        self.report(Report::Parked { run: id, wake });
                    } else {
                        self.go_on(place);
                    }
                }
                Err(error @ (Error::Conflict { .. } | Error::LostLease { .. })) => {
                    warn!(run = %tenant.lease.run(), %error, "somebody else drives this run now");
                    self.evict(place);
                }
                Err(Error::Unavailable(why)) => {
                    warn!(run = %tenant.lease.run(), why, "the answer to an append was lost; reading the run again");
                    self.reload(place);
                }
                Err(
                    error @ (Error::UnknownRun(_) | Error::UnknownPlan(_) | Error::Damaged { .. } | Error::Refused(_)),
                ) => {
                    error!(run = %tenant.lease.run(), %error, "the store refuses this run's journal");
                    self.evict(place);
                }
            }
        }
    }

    /// Starts what is missing and arms the timer; what came in meanwhile is next.
    fn go_on(&mut self, place: Place) {
        let Some(tenant) = self.tenant(place) else { return };
        let missing = tenant.owner.missing();
        let wake = tenant.owner.wake();
        let again = tenant.owner.has_inputs() || tenant.owner.is_leaving();
        let errand = (!missing.is_empty()).then(|| Errand {
            run: tenant.lease.run().clone(),
            epoch: tenant.lease.epoch(),
            plan: Arc::clone(tenant.owner.run().plan()),
            claim: tenant.owner.run().state().claim.number,
        });
        if let Some(wake) = wake
            && tenant.armed != Some(wake)
        {
            tenant.armed = Some(wake);
            self.timers.push(Reverse((wake, place)));
        }
        if let Some(errand) = errand {
            let errand = Arc::new(errand);
            for effect in missing {
                let key = effect.key;
                let hands = Arc::clone(&self.hands);
                let sender = self.sender.clone();
                let errand = Arc::clone(&errand);
                let task = tokio::spawn(async move {
                    let outcome = hands.perform(&errand, &effect).await;
                    // The shard is gone only when the engine is: nobody needs the answer then.
                    let _ = sender.send(Message::Outcome { place, key, outcome });
                });
                if let Some(tenant) = self.tenant(place) {
                    tenant.owner.started(key, task.abort_handle());
                }
            }
        }
        if again {
            self.make_ready(place);
        }
    }

    /// After an append whose fate is unknown the store is the only truth.
    fn reload(&mut self, place: Place) {
        let Some(tenant) = self.tenant(place) else { return };
        let run = tenant.lease.run().clone();
        let hands = Arc::clone(&self.hands);
        let sender = self.sender.clone();
        tokio::spawn(async move {
            hands.clock.sleep_until(RELOAD_AFTER.after(hands.clock.now())).await;
            let stored = Box::new(hands.store.load(&run).await);
            let _ = sender.send(Message::Reloaded { place, stored });
        });
    }

    fn reloaded(&mut self, place: Place, stored: Result<Stored, Error>) {
        let now = self.hands.clock.now();
        let leases = Arc::clone(&self.hands.leases);
        let Some(tenant) = self.tenant(place) else { return };
        let lease = leases.live(tenant.lease.run(), tenant.lease.epoch(), now, Duration::ZERO);
        match (lease, stored) {
            (Some(lease), Ok(stored)) => {
                debug!(run = %lease.run(), "read again");
                self.forget(place);
                self.take(lease, stored);
            }
            (Some(_), Err(Error::Unavailable(_))) => self.reload(place),
            (Some(_), Err(error)) => {
                error!(run = %tenant.lease.run(), %error, "cannot read the run again");
                self.evict(place);
            }
            (None, _) => self.evict(place),
        }
    }

    fn evict(&mut self, place: Place) {
        if let Some(tenant) = self.forget(place) {
            let run = tenant.lease.run().clone();
            self.report(Report::Dropped { run });
        }
    }

    /// Out of memory; effects under way are stopped as the owner is dropped.
    fn forget(&mut self, place: Place) -> Option<Tenant> {
        self.tenant(place)?;
        let tenant = self.tenants.get_mut(place.slot)?.take()?;
        self.free.push(place.slot);
        self.places.remove(tenant.lease.run());
        self.hands.leases.drop_of(tenant.lease.run(), tenant.lease.epoch());
        Some(tenant)
    }

    fn wake_due(&mut self) {
        let now = self.hands.clock.now();
        while let Some(Reverse((at, place))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            if let Some(tenant) = self.tenant(place)
                && tenant.armed == Some(at)
            {
                tenant.armed = None;
                self.make_ready(place);
            }
        }
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    fn make_ready(&mut self, place: Place) {
        if let Some(tenant) = self.tenant(place)
            && !tenant.is_ready
            && !tenant.owner.is_writing()
        {
            tenant.is_ready = true;
            self.ready.push(place);
        }
    }

    fn linger(&self) -> Option<Duration> {
        match self.stay {
            Stay::ToTheEnd => None,
            Stay::While {
                roomy,
                crowded,
                crowded_at,
            } => Some(if self.places.len() < crowded_at { roomy } else { crowded }),
        }
    }

    fn tenant(&mut self, place: Place) -> Option<&mut Tenant> {
        self.tenants
            .get_mut(place.slot)?
            .as_mut()
            .filter(|tenant| tenant.number == place.number)
    }

    fn place_of(&self, run: &RunId) -> Option<Place> {
        let slot = *self.places.get(run)?;
        let number = self.tenants.get(slot)?.as_ref()?.number;
        Some(Place { slot, number })
    }

    fn all_places(&self) -> Vec<Place> {
        self.places.keys().filter_map(|run| self.place_of(run)).collect()
    }

    fn report(&self, report: Report) {
        // The engine outlives its shards; without it there is nobody to tell.
        let _ = self.reports.send(report);
    }
}
