//! One run in memory with what reaches it: inputs become entries, entries wait for the store, and only then does the world
//! hear of them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::Plan;
use tokio::task::AbortHandle;

use super::effects::panic_text;
use crate::ports::store::{Answer, Append, HeadUpdate, SealedEntry, Stored};
use crate::run::decide::Input;
use crate::run::effect::{Effect, EffectKey};
use crate::run::entry::{Broken, Entry};
use crate::run::signal::Signal;
use crate::run::standing::outcome;
use crate::run::state::{Run, RunId, State};
use crate::run::wanted::{Wanted, wanted};

/// A journal this much longer than its snapshot gets a new one when the run is parked: waking reads a bounded tail.
const SNAPSHOT_AFTER_PARKED: u64 = 24;

/// While a run stays in memory a snapshot only shortens a restart after a crash, so it can wait longer.
const SNAPSHOT_AFTER: u64 = 256;

/// When time alone keeps saying "now" and nothing follows, it is asked again after this long instead of in a circle.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A run that this process owns.
///
/// *Guarantees*: at most one append is under way; while it is, inputs wait and effects do not start.
pub struct Owner {
    run: Run,
    epoch: u64,
    inputs: VecDeque<Input>,
    /// Signals that wait here or stand in the append under way, so that a second look into the inbox adds none twice.
    signals: HashSet<String>,
    in_flight: HashMap<EffectKey, AbortHandle>,
    wanted: Wanted,
    /// Entries of the append under way, and whether it gives the lease back.
    unwritten: Option<(Vec<Entry>, bool)>,
    snapshot_seq: u64,
    /// Asked to leave memory at the next chance.
    leaves: bool,
}

/// Why a run cannot be driven here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("the journal cannot be believed: {0}")]
    Broken(#[from] Broken),
    #[error("its snapshot cannot be read: {0}")]
    Snapshot(String),
    #[error("the engine broke inside: {0}")]
    Panicked(String),
}

/// What the shard does with an owner after a step.
pub enum Step {
    /// Nothing to write; effects may start.
    Quiet,
    Write(Box<Append>),
}

impl Owner {
    /// A run brought back under a new lease. It is told of its owner where that has changed, and of the signals that wait.
    ///
    /// *Errors*: what is stored cannot be folded.
    pub fn revived(owner: &str, epoch: u64, stored: Stored) -> Result<Owner, Unfit> {
        let mut owned = Owner::folded(epoch, stored)?;
        // The same process taking a parked run back changes nothing that anybody needs to read in the journal: the store's
        // epoch, not this event, is what fences it.
        if owned.run.state().owner.as_ref().is_none_or(|known| known.name != owner) {
            owned.inputs.push_front(Input::Own {
                owner: owner.to_owned(),
                epoch,
            });
        }
        Ok(owned)
    }

    /// A run brought back only to hear its signals: its owner stays who it was.
    pub fn visiting(stored: Stored) -> Result<Owner, Unfit> {
        Owner::folded(0, stored)
    }

    fn folded(epoch: u64, stored: Stored) -> Result<Owner, Unfit> {
        let (run, snapshot_seq) = guarded(|| {
            revive(
                stored.head.run,
                stored.plan,
                stored.snapshot.as_deref(),
                &stored.entries,
            )
        })??;
        let mut owner = Owner {
            run,
            epoch,
            inputs: VecDeque::new(),
            signals: HashSet::new(),
            in_flight: HashMap::new(),
            wanted: Wanted::default(),
            unwritten: None,
            snapshot_seq,
            leaves: false,
        };
        stored.signals.into_iter().for_each(|signal| owner.post(signal));
        Ok(owner)
    }

    pub fn run(&self) -> &Run {
        &self.run
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn is_writing(&self) -> bool {
        self.unwritten.is_some()
    }

    pub fn leave(&mut self) {
        self.leaves = true;
    }

    pub fn is_leaving(&self) -> bool {
        self.leaves
    }

    /// Whether the append under way gives the lease back.
    pub fn parked(&self) -> bool {
        matches!(self.unwritten, Some((_, true)))
    }

    /// The next instant at which time alone can change something.
    pub fn wake(&self) -> Option<Timestamp> {
        self.wanted.wake
    }

    pub fn post(&mut self, signal: Signal) {
        if self.signals.insert(signal.id.clone()) {
            self.inputs.push_back(Input::Signal(signal));
        }
    }

    pub fn offer(&mut self, input: Input) {
        if let Input::Outcome { key, .. } = &input {
            self.in_flight.remove(key);
        }
        self.inputs.push_back(input);
    }

    /// Tells the run of a jump of the clock that happened since its newest entry.
    pub fn missed_jump(&mut self, from: Timestamp, to: Timestamp) {
        if self.run.state().at <= from {
            self.inputs.push_front(Input::ClockJumped { from, to });
        }
    }

    /// Takes all that waits through the core. The run in memory is then ahead of the store until [`Owner::written`].
    ///
    /// *Errors*: the core broke inside; this owner must be dropped, its run may be half changed.
    pub fn step(&mut self, now: Timestamp, linger: Option<Duration>) -> Result<Step, Unfit> {
        debug_assert!(!self.is_writing(), "a step waits for the write before it");
        let after_seq = self.run.state().seq;
        let inputs = std::mem::take(&mut self.inputs);
        let run = &mut self.run;
        let mut added = guarded(|| take_in(run, inputs, now))?;
        let wake = added.wanted.wake;
        if let Some(wake) = wake
            && wake <= now
        {
            added.wanted.wake = Some(AGAIN_AFTER.after(now));
        }
        self.wanted = added.wanted;
        self.stop_unwanted();
        let parks = self.parks(now, linger);
        if added.entries.is_empty() && added.answers.is_empty() && !parks {
            return Ok(Step::Quiet);
        }
        let append = Append {
            after_seq,
            snapshot: self.snapshot(parks),
            entries: added.sealed,
            head: self.head(now),
            answers: added.answers,
            parks,
        };
        self.unwritten = Some((added.entries, parks));
        Ok(Step::Write(Box::new(append)))
    }

    /// The append is durable: what it holds may be told, and the world may be asked.
    pub fn written(&mut self) -> Vec<Entry> {
        self.signals.retain(|id| {
            let waits = |input: &Input| matches!(input, Input::Signal(signal) if signal.id == *id);
            self.inputs.iter().any(waits)
        });
        self.unwritten.take().map(|(entries, _)| entries).unwrap_or_default()
    }

    /// Effects that are wanted and not under way.
    pub fn missing(&self) -> Vec<Effect> {
        let missing = |effect: &&Effect| !self.in_flight.contains_key(&effect.key);
        self.wanted.effects.iter().filter(missing).cloned().collect()
    }

    pub fn started(&mut self, key: EffectKey, task: AbortHandle) {
        self.in_flight.insert(key, task);
    }

    pub fn has_inputs(&self) -> bool {
        !self.inputs.is_empty()
    }

    /// Nothing is asked of the world, and nothing has come in.
    pub fn is_idle(&self) -> bool {
        self.wanted.effects.is_empty() && self.in_flight.is_empty() && self.inputs.is_empty() && !self.is_writing()
    }

    fn parks(&self, now: Timestamp, linger: Option<Duration>) -> bool {
        if self.leaves {
            return true;
        }
        let waits_long = match (linger, self.wanted.wake) {
            (Some(linger), Some(wake)) => wake > linger.after(now),
            (Some(_), None) => true,
            (None, _) => self.run.is_done(),
        };
        waits_long && self.wanted.effects.is_empty() && self.in_flight.is_empty() && self.inputs.is_empty()
    }

    fn stop_unwanted(&mut self) {
        let effects = &self.wanted.effects;
        self.in_flight.retain(|key, task| {
            // A claim that is cut off may still have been granted, and nobody would know: those run to their answer.
            let is_of_the_store = matches!(
                key,
                EffectKey::Claim { .. } | EffectKey::Release { .. } | EffectKey::Lock { .. } | EffectKey::Unlock { .. }
            );
            let stays = is_of_the_store || effects.iter().any(|effect| effect.key == *key);
            if !stays {
                task.abort();
            }
            stays
        });
    }

    fn snapshot(&mut self, parks: bool) -> Option<Vec<u8>> {
        let state = self.run.state();
        let tail = state.seq - self.snapshot_seq;
        let is_due = tail >= SNAPSHOT_AFTER || (parks && tail >= SNAPSHOT_AFTER_PARKED && !self.run.is_done());
        let bytes = is_due.then(|| serde_json::to_vec(state).ok()).flatten();
        if bytes.is_some() {
            self.snapshot_seq = state.seq;
        }
        bytes
    }

    fn head(&self, now: Timestamp) -> HeadUpdate {
        // Whoever finds this row with effects owed must start them: it is due at once.
        let wake = if self.wanted.effects.is_empty() {
            self.wanted.wake
        } else {
            Some(now)
        };
        HeadUpdate {
            wake,
            outcome: outcome(&self.run).to_owned(),
            is_done: self.run.is_done(),
        }
    }
}

impl Drop for Owner {
    /// Whoever stops owning a run stops asking in its name.
    fn drop(&mut self) {
        self.in_flight.values().for_each(AbortHandle::abort);
    }
}

/// What one step adds to a journal.
struct Added {
    entries: Vec<Entry>,
    sealed: Vec<SealedEntry>,
    answers: Vec<(String, Answer)>,
    wanted: Wanted,
}

impl Added {
    fn entry(&mut self, entry: Entry, bytes: Vec<u8>) {
        self.sealed.push(SealedEntry {
            seq: entry.seq,
            at: entry.at,
            hash: entry.hash,
            bytes,
        });
        self.entries.push(entry);
    }
}

/// Steps through all inputs, then lets time speak.
fn take_in(run: &mut Run, inputs: VecDeque<Input>, now: Timestamp) -> Added {
    let mut added = Added {
        entries: Vec::new(),
        sealed: Vec::new(),
        answers: Vec::new(),
        wanted: Wanted::default(),
    };
    let mut is_settled = false;
    for input in inputs {
        let signal = match &input {
            Input::Signal(signal) => Some(signal.id.clone()),
            Input::Submit { .. }
            | Input::Own { .. }
            | Input::Tick
            | Input::Outcome { .. }
            | Input::ClockJumped { .. } => None,
        };
        let stepped = run.step(input, now);
        is_settled |= stepped.is_ok();
        if let Some(id) = signal {
            let answer = match &stepped {
                Err(refusal) => Answer::Refused { why: refusal.0.clone() },
                Ok(_) => Answer::Taken { seq: run.state().seq },
            };
            added.answers.push((id, answer));
        }
        if let Ok(Some((entry, bytes))) = stepped {
            added.entry(entry, bytes);
        }
    }
    // Every decision settles what time has brought as well; a refused signal, or no input at all, has decided nothing.
    if !is_settled && let Ok(Some((entry, bytes))) = run.step(Input::Tick, now) {
        added.entry(entry, bytes);
    }
    added.wanted = wanted(run, now);
    added
}

/// Folds what the store holds of a run; answers with the position of the snapshot, 0 without one.
///
/// *Errors*: the snapshot cannot be read, or an entry does not follow.
pub fn revive(id: RunId, plan: Arc<Plan>, snapshot: Option<&[u8]>, entries: &[Entry]) -> Result<(Run, u64), Unfit> {
    let mut run = match snapshot {
        Some(bytes) => {
            let state: State = serde_json::from_slice(bytes).map_err(|error| Unfit::Snapshot(error.to_string()))?;
            Run::restored(plan, state)
        }
        None => Run::new(id, plan),
    };
    let seq = run.state().seq;
    entries.iter().try_for_each(|entry| run.record(entry))?;
    Ok((run, seq))
}

fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Unfit> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Unfit::Panicked(panic_text(panic.as_ref())))
}
