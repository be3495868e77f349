//! Drives one run through a world in virtual time: undisturbed, with everything told twice, with a crash after every entry,
//! or wildly, with latency, crashes, other owners and a clock that jumps.

use std::sync::Arc;

use jiff::Timestamp;
use meridian_engine::ports::provider::Fence;
use meridian_engine::run::decide::Input;
use meridian_engine::run::effect::{Ask, Desired, Effect, EffectKey, Outcome, Place};
use meridian_engine::run::entry::Entry;
use meridian_engine::run::event::Event;
use meridian_engine::run::signal::{Person, Signal};
use meridian_engine::run::state::{RegionLife, Run, RunId, Standing};
use meridian_engine::run::wanted::wanted;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{Plan, RegionId};
use meridian_workflows::share::Share;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::check::Checker;
use crate::people::People;
use crate::plans::{secs, start};
use crate::world::World;

/// What is done to a run beside what its world does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    None,
    /// Every outcome and every signal arrives twice, and outcomes once more later; ticks come early.
    Doubled,
    /// A crash after every entry; what was under way has not reached the world.
    CrashedLost,
    /// A crash after every entry; what was under way has reached the world, and its answers are lost.
    CrashedApplied,
    /// Latency, crashes, other owners, zombies, signals at any moment, a clock that jumps.
    Wild,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    pub standing: String,
    pub regions: Vec<(RegionLife, Share)>,
    /// Shares as the world has them.
    pub shares: Vec<Share>,
    /// Every event but changes of ownership.
    pub events: Vec<(Timestamp, Event)>,
    pub entries: usize,
}

/// A run that broke a promise: what, and the story up to there.
#[derive(Debug)]
pub struct Broken {
    pub what: String,
    pub story: Vec<String>,
}

/// No seed needs more.
const ENTRIES_MAX: usize = 60_000;
/// Nor more events at once.
const EVENTS_MAX: usize = 500;
/// Nor more steps at one instant.
const STEPS_AT_ONCE_MAX: usize = 3_000;

pub struct Drive {
    plan: Arc<Plan>,
    run: Run,
    checker: Checker,
    world: World,
    people: People,
    disturbance: Disturbance,
    rng: StdRng,
    now: Timestamp,
    epoch: u64,
    under_way: Vec<UnderWay>,
    /// Answers that arrive once more.
    late: Vec<(Timestamp, EffectKey, Outcome)>,
    /// Orders that somebody else's memory still holds.
    zombies: Vec<(Timestamp, RegionId, Desired, Fence)>,
    /// What a crash left on its way to the world.
    events: Vec<(Timestamp, Event)>,
    entries: usize,
    tells: bool,
    story: Vec<String>,
}

struct UnderWay {
    at: Timestamp,
    effect: Effect,
    /// The answer, where the world has been reached already.
    outcome: Option<Outcome>,
}

/// From here on nothing goes wrong any more, and somebody answers everything within a minute.
fn faults_stop(seed: u64) -> Timestamp {
    secs(200 + crate::world::draw(seed, &[77]) % 500).after(start())
}

impl Drive {
    pub fn new(plan: Arc<Plan>, seed: u64, disturbance: Disturbance, tells: bool) -> Drive {
        let id = RunId(format!("seed-{seed:04}"));
        let faults_stop = faults_stop(seed);
        Drive {
            run: Run::new(id.clone(), plan.clone()),
            checker: Checker::new(id, plan.clone()),
            world: World::new(plan.clone(), seed, faults_stop),
            people: People::new(plan.clone(), seed, faults_stop, disturbance == Disturbance::Wild),
            disturbance,
            rng: StdRng::seed_from_u64(seed ^ 0x6472_6976),
            now: start(),
            epoch: 1,
            under_way: Vec::new(),
            late: Vec::new(),
            zombies: Vec::new(),
            events: Vec::new(),
            entries: 0,
            tells,
            story: Vec::new(),
            plan,
        }
    }

    /// To the end of the run.
    ///
    /// *Errors*: the first broken promise.
    pub fn into_the_end(mut self) -> Result<(End, Vec<String>), Broken> {
        match self.drive() {
            Ok(()) => Ok((self.end(), self.story)),
            Err(what) => Err(Broken {
                what,
                story: self.story,
            }),
        }
    }

    fn drive(&mut self) -> Result<(), String> {
        self.step(Input::Submit {
            by: Person::unauthenticated("ana", vec!["sre".into()]),
        })?;
        self.own()?;
        let bound = self.bound();
        let mut at_once = 0;
        loop {
            let owed = wanted(&self.run, self.now);
            self.start(owed.effects);
            let wake = owed.wake;
            let before = self.now;
            if !self.answered()? {
                let Some(next) = self.next_instant(wake) else {
                    if self.is_over(Timestamp::MAX) {
                        return Ok(());
                    }
                    return Err(format!("4: nothing will happen at {:?}", self.run.state().standing));
                };
                if self.is_over(next) {
                    return Ok(());
                }
                if next > bound {
                    return Err(format!(
                        "4: not at an end {} after the faults stopped: {:?}",
                        Duration::between(self.world.faults_stop, self.now),
                        self.run.state().standing
                    ));
                }
                self.now = next;
                self.arrivals(wake)?;
            }
            at_once = if self.now > before { 0 } else { at_once + 1 };
            if at_once > STEPS_AT_ONCE_MAX || self.entries > ENTRIES_MAX {
                return Err(format!("4: the run spins at {}", self.offset()));
            }
            if let Some(complaint) = self.world.complaints.first() {
                return Err(format!("7: {complaint}"));
            }
        }
    }

    /// Once faults have stopped, no node takes longer than its deadline and twice its bake; people answer within a minute.
    fn bound(&self) -> Timestamp {
        let nodes = self.plan.nodes().map(|(_, node)| {
            let deadline = node.deadline.min(secs(3_700));
            deadline
                .saturating_add(node.bake.saturating_mul(2))
                .saturating_add(secs(300))
        });
        let length = nodes.fold(secs(3_600), Duration::saturating_add);
        length.after(self.world.faults_stop)
    }

    /// Nothing more is to be seen, as the next thing happens only then.
    fn is_over(&self, next: Timestamp) -> bool {
        let is_settled = next >= secs(120).after(self.world.faults_stop);
        let rests = match &self.run.state().standing {
            Standing::Attention { .. } => is_settled,
            _ => self.run.is_done(),
        };
        rests && self.people.is_over(&self.run)
    }

    fn is_wild(&self) -> bool {
        self.disturbance == Disturbance::Wild
    }

    /// Begins what is wanted and not under way.
    fn start(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if self.under_way.iter().any(|other| other.effect.key == effect.key) {
                continue;
            }
            let is_reading = matches!(effect.ask, Ask::Read { .. });
            let reaches_at_once = match self.disturbance {
                Disturbance::CrashedLost => false,
                // A question changes nothing in the world; asked late, it is the same for the twin that asks anew.
                Disturbance::None | Disturbance::Doubled | Disturbance::CrashedApplied if is_reading => false,
                Disturbance::None | Disturbance::Doubled | Disturbance::CrashedApplied => true,
                Disturbance::Wild => self.rng.random_range(0..3) > 0,
            };
            let takes = if self.is_wild() {
                self.rng.random_range(1..2_500)
            } else {
                0
            };
            let outcome = reaches_at_once.then(|| self.ask(&effect));
            self.under_way.push(UnderWay {
                at: Duration::from_millis(takes).after(self.now),
                effect,
                outcome,
            });
        }
    }

    fn ask(&mut self, effect: &Effect) -> Outcome {
        match &effect.ask {
            Ask::Claim { .. } => self.world.claim(self.run.state().claim.round, self.now),
            Ask::Release => self.world.release(self.now),
            Ask::Lock { name } => self.world.lock(name, self.now),
            Ask::Unlock { name } => self.world.unlock(name, self.now),
            Ask::Observe { region } => self.world.observe(*region, self.now),
            Ask::Ensure { region, desired } => {
                let EffectKey::Ensure { intent, .. } = effect.key else {
                    unreachable!("an order has an order's key")
                };
                let fence = Fence {
                    claim: self.run.state().claim.number.unwrap_or(0),
                    epoch: self.epoch,
                    seq: intent,
                };
                if matches!(self.disturbance, Disturbance::Doubled | Disturbance::Wild) {
                    let at = Duration::from_millis(self.rng.random_range(1..60_000)).after(self.now);
                    self.zombies.push((at, *region, desired.clone(), fence));
                }
                self.world.ensure(&self.run, *region, desired, fence, self.now)
            }
            Ask::Read { node, gate, arms } => {
                let place = match effect.key {
                    EffectKey::Read { place, .. } => place,
                    _ => Place::Watch,
                };
                self.world.read(&self.run, *node, place, *gate, arms, self.now)
            }
        }
    }

    /// Delivers one answer that is due. False: none was.
    fn answered(&mut self) -> Result<bool, String> {
        let due = self
            .under_way
            .iter()
            .enumerate()
            .filter(|(_, other)| other.at <= self.now);
        // By key, so that what a crash makes start anew keeps its turn.
        let Some((index, _)) = due.min_by_key(|(_, other)| (other.at, other.effect.key)) else {
            return Ok(false);
        };
        let UnderWay { effect, outcome, .. } = self.under_way.remove(index);
        // A shell that is not the owner any more would not have sent it; here it is sent only while it is wanted.
        let as_wanted_now = || {
            wanted(&self.run, self.now)
                .effects
                .into_iter()
                .find(|other| other.key == effect.key)
        };
        let outcome = match outcome {
            Some(outcome) => outcome,
            None => match as_wanted_now() {
                Some(effect) => self.ask(&effect),
                None => return Ok(true),
            },
        };
        let (key, seq) = (effect.key, self.run.state().seq);
        self.hears(key, outcome.clone())?;
        if self.disturbance == Disturbance::Doubled {
            self.unheard(key, outcome.clone())?;
            let at = Duration::from_millis(self.rng.random_range(1..30_000)).after(self.now);
            self.late.push((at, key, outcome));
        }
        self.crash_after(seq)?;
        Ok(true)
    }

    /// An answer that must change nothing.
    fn unheard(&mut self, key: EffectKey, outcome: Outcome) -> Result<(), String> {
        if wanted(&self.run, self.now)
            .effects
            .iter()
            .any(|effect| effect.key == key)
        {
            return Ok(()); // It is wanted once more at this very instant, so this is an answer.
        }
        let seq = self.run.state().seq;
        self.hears(key, outcome)?;
        if self.run.state().seq != seq {
            return Err(format!(
                "late: an answer to {key} that nobody waits for changes the run"
            ));
        }
        Ok(())
    }

    fn hears(&mut self, key: EffectKey, outcome: Outcome) -> Result<(), String> {
        self.step(Input::Outcome { key, outcome })
    }

    fn crash_after(&mut self, seq: u64) -> Result<(), String> {
        let is_new = self.run.state().seq != seq;
        match self.disturbance {
            Disturbance::CrashedLost | Disturbance::CrashedApplied if is_new => self.crash(),
            Disturbance::Wild if is_new && self.rng.random_range(0..25) == 0 => self.crash(),
            _ => Ok(()),
        }
    }

    /// Memory is gone; the bytes are folded by whoever owns the run next.
    fn crash(&mut self) -> Result<(), String> {
        if self.is_wild() {
            // Some of what had been sent arrives after all, under the fence of the dead owner.
            for left in std::mem::take(&mut self.under_way) {
                if let (Ask::Ensure { region, desired }, EffectKey::Ensure { intent, .. }) =
                    (left.effect.ask, left.effect.key)
                {
                    let claim = self.run.state().claim.number.unwrap_or(0);
                    let (epoch, seq) = (self.epoch, intent);
                    self.zombies
                        .push((left.at, region, desired, Fence { claim, epoch, seq }));
                }
            }
        }
        self.under_way.clear();
        if self.is_wild() && self.rng.random_range(0..4) == 0 {
            // Nobody is there for a while.
            self.now = secs(self.rng.random_range(1..90)).after(self.now);
        }
        self.run = self.checker.folded.clone();
        self.own()
    }

    fn own(&mut self) -> Result<(), String> {
        self.epoch += 1;
        let owner = format!("engine-{}", self.epoch % 3);
        self.step(Input::Own {
            owner,
            epoch: self.epoch,
        })
    }

    fn next_instant(&mut self, wake: Option<Timestamp>) -> Option<Timestamp> {
        let under_way = self.under_way.iter().map(|other| other.at);
        let people = self.people.next(&self.run, self.now);
        let next = under_way.chain(wake).chain(people).min();
        let asides = self
            .late
            .iter()
            .map(|(at, ..)| *at)
            .chain(self.zombies.iter().map(|(at, ..)| *at));
        match (next, asides.min()) {
            (Some(next), Some(aside)) => Some(next.min(aside.max(self.now))),
            // Late echoes alone keep nothing going.
            (next, _) => next,
        }
    }

    /// Everything that comes at this instant beside answers.
    fn arrivals(&mut self, wake: Option<Timestamp>) -> Result<(), String> {
        let now = self.now;
        let is_between = wake.is_none_or(|wake| wake > now) && !self.people.comes(now);
        let zombies = self.zombies.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>();
        for (_, region, desired, fence) in zombies {
            self.world.echo(region, &desired, fence, now);
        }
        let late = self.late.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>();
        for (_, key, outcome) in late {
            if is_between {
                self.unheard(key, outcome)?;
            }
        }
        if let Some((from, to)) = self.jump() {
            self.now = to;
            self.step(Input::ClockJumped { from, to })?;
        }
        let signals = self.people.arrive(&self.run, self.now);
        for signal in signals {
            self.signal(signal)?;
        }
        let seq = self.run.state().seq;
        self.step(Input::Tick)?;
        if is_between && !self.is_wild() && self.run.state().seq != seq {
            return Err(format!(
                "4: an early tick at {} changes the run, no wake-up told of it",
                self.offset()
            ));
        }
        self.crash_after(seq)?;
        if self.is_wild() && self.rng.random_range(0..60) == 0 {
            self.crash()?;
        }
        Ok(())
    }

    fn jump(&mut self) -> Option<(Timestamp, Timestamp)> {
        let jumps = self.is_wild() && self.now < self.world.faults_stop && self.rng.random_range(0..150) == 0;
        jumps.then(|| (self.now, secs(self.rng.random_range(1..200)).after(self.now)))
    }

    fn signal(&mut self, signal: Signal) -> Result<(), String> {
        let seq = self.run.state().seq;
        self.step(Input::Signal(signal.clone()))?;
        let taken = self.run.state().seq;
        if self.disturbance == Disturbance::Doubled && taken != seq {
            self.step(Input::Signal(signal))?;
            if self.run.state().seq != taken {
                return Err("a signal that came twice was taken twice".to_owned());
            }
        }
        self.crash_after(seq)
    }

    fn step(&mut self, input: Input) -> Result<(), String> {
        match self.run.step(input, self.now) {
            Ok(None) => Ok(()),
            Err(refusal) => {
                self.tell(|| format!("refused: {refusal}"));
                Ok(())
            }
            Ok(Some((entry, bytes))) => self.recorded(entry, &bytes),
        }
    }

    fn recorded(&mut self, entry: Entry, bytes: &[u8]) -> Result<(), String> {
        self.entries += 1;
        if self.tells && entry.events.len() <= EVENTS_MAX {
            let at = Duration::between(start(), entry.at).as_millis();
            self.tell(|| format!("{:>4} {:>9.3} {}", entry.seq, at as f64 / 1_000.0, entry.cause));
            for event in &entry.events {
                self.tell(|| format!("       {event:?}"));
            }
        }
        if entry.events.len() > EVENTS_MAX {
            let last = &entry.events[EVENTS_MAX - 6..EVENTS_MAX];
            return Err(format!("4: one entry of {} events: … {last:?}", entry.events.len()));
        }
        for event in &entry.events {
            self.world.hears(&self.checker.folded, event, self.now);
        }
        self.checker.entry(&entry, bytes, &self.run, self.now)?;
        let mut held = self.world.locks.keys();
        if let Some(name) = held.find(|name| !self.run.state().locks.contains_key(*name)) {
            return Err(format!(
                "4: the store keeps the lock {name} for a run that knows nothing of it"
            ));
        }
        let at = entry.at;
        let told = entry
            .events
            .into_iter()
            .filter(|event| !matches!(event, Event::Owned { .. }));
        self.events.extend(told.map(|event| (at, event)));
        Ok(())
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.tells {
            self.story.push(line());
        }
    }

    fn offset(&self) -> Duration {
        Duration::between(start(), self.now)
    }

    fn end(&mut self) -> End {
        let standing = match &self.run.state().standing {
            Standing::Finished { ending, cause, .. } => format!("{ending:?}: {cause}"),
            Standing::Attention { reason, .. } => format!("attention: {reason}"),
            other => format!("{other:?}"),
        };
        let regions = self
            .plan
            .region_ids()
            .map(|id| (self.run.region(id).life, self.run.region(id).share));
        End {
            standing,
            regions: regions.collect(),
            shares: self.plan.region_ids().map(|id| self.world.share(id)).collect(),
            events: std::mem::take(&mut self.events),
            entries: self.entries,
        }
    }
}
