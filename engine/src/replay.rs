//! Reads a journal again from its first byte and says what that proves.

use std::sync::Arc;

use meridian_workflows::plan::Plan;

use crate::ports::store::{Head, RawEntry};
use crate::run::entry::{Broken, Entry, Hash};
use crate::run::event::Event;
use crate::run::invariant::check_event;
use crate::run::standing::outcome;
use crate::run::state::{Run, State};

/// What checking a journal's bytes has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Every entry follows from the one before, and the last is the head's.
    Whole { entries: u64, hash: Hash },
    /// The first entry that cannot be believed.
    BrokenAt { seq: u64, why: String },
}

/// Checks a journal piece by piece, in bounded memory.
pub struct Check {
    seq: u64,
    hash: Hash,
    at: jiff::Timestamp,
    broken: Option<(u64, String)>,
}

impl Default for Check {
    fn default() -> Check {
        Check::new()
    }
}

impl Check {
    pub fn new() -> Check {
        Check {
            seq: 0,
            hash: Hash::NONE,
            at: jiff::Timestamp::MIN,
            broken: None,
        }
    }

    /// The next stored entry. Nothing after a broken one is looked at.
    pub fn read(&mut self, raw: &RawEntry) {
        if self.is_broken() {
            return;
        }
        let expected = self.seq + 1;
        if raw.seq != expected {
            let gap = Broken::Gap {
                expected,
                found: raw.seq,
            };
            self.broken = Some((expected, gap.to_string()));
            return;
        }
        match Entry::open(&raw.bytes, raw.hash, self.hash, expected) {
            Ok(entry) if entry.at < self.at => {
                self.broken = Some((expected, Broken::Backwards { seq: expected }.to_string()));
            }
            Ok(entry) => {
                self.seq = expected;
                self.hash = entry.hash;
                self.at = entry.at;
            }
            Err(broken) => self.broken = Some((expected, broken.to_string())),
        }
    }

    pub fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Compares the end with what the head row says the end is.
    pub fn against(self, seq: u64, hash: Hash) -> Verified {
        if let Some((seq, why)) = self.broken {
            return Verified::BrokenAt { seq, why };
        }
        if self.seq < seq {
            return Verified::BrokenAt {
                seq: self.seq + 1,
                why: format!("the journal ends at entry {}, the head stands at {seq}", self.seq),
            };
        }
        if (self.seq, self.hash) != (seq, hash) {
            // More entries than the head knows may be a write under way; the same position with another hash never is.
            return Verified::BrokenAt {
                seq,
                why: format!("the head names another entry {seq} than the journal holds"),
            };
        }
        Verified::Whole {
            entries: self.seq,
            hash: self.hash,
        }
    }
}

/// What replaying a run has proven, each with the reason where it has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub entries: u64,
    pub events: u64,
    /// Every entry follows from the one before.
    pub chain: Result<(), String>,
    /// The journal is of this plan.
    pub plan: Result<(), String>,
    /// The invariants held after every event.
    pub invariants: Result<(), String>,
    /// Folding from the start gives what the head row says; and what folding on from the snapshot gives.
    pub head: Result<(), String>,
    pub snapshot: Result<(), String>,
}

impl Proof {
    pub fn holds(&self) -> bool {
        [&self.chain, &self.plan, &self.invariants, &self.head, &self.snapshot]
            .iter()
            .all(|part| part.is_ok())
    }
}

/// Folds the journal from its first entry.
///
/// *Errors*: the first entry that does not follow.
pub fn fold(plan: Arc<Plan>, run: &crate::run::state::RunId, entries: &[Entry]) -> Result<Run, Broken> {
    let mut folded = Run::new(run.clone(), plan);
    entries.iter().try_for_each(|entry| folded.record(entry))?;
    Ok(folded)
}

/// Proves what can be proven from the journal alone.
///
/// The inputs of a decision are not in the journal, only what followed from them; so decisions are not made again. What is
/// shown is that the events are those written, belong to this plan, keep every invariant one by one, and fold to exactly the
/// state that the engine went on from.
pub fn prove(plan: &Arc<Plan>, head: &Head, snapshot: Option<&[u8]>, entries: &[Entry]) -> Proof {
    let mut run = Run::new(head.run.clone(), Arc::clone(plan));
    let mut proof = Proof {
        entries: 0,
        events: 0,
        chain: Ok(()),
        plan: belongs(plan, entries),
        invariants: Ok(()),
        head: Ok(()),
        snapshot: Ok(()),
    };
    let saved: Option<Result<State, String>> =
        snapshot.map(|bytes| serde_json::from_slice(bytes).map_err(|error| error.to_string()));
    if let Some(Err(why)) = &saved {
        proof.snapshot = Err(why.clone());
    }
    for entry in entries {
        let mut before = run.clone();
        if let Err(broken) = run.record(entry) {
            proof.chain = Err(broken.to_string());
            break;
        }
        for event in &entry.events {
            let mut after = before.clone();
            after.apply(event);
            if proof.invariants.is_ok()
                && let Err(violation) = check_event(&before, event, &after, entry.at)
            {
                proof.invariants = Err(format!("entry {}: {violation}", entry.seq));
            }
            before = after;
            proof.events += 1;
        }
        proof.entries = entry.seq;
        if let Some(Ok(saved)) = &saved
            && saved.seq == entry.seq
            && saved != run.state()
        {
            proof.snapshot = Err(format!("the snapshot at entry {} is not what folding gives", entry.seq));
        }
    }
    proof.head = stands_at(head, &run);
    proof
}

fn belongs(plan: &Plan, entries: &[Entry]) -> Result<(), String> {
    let first = entries.first().and_then(|entry| entry.events.first());
    match first {
        Some(Event::Submitted { fingerprint, .. }) if fingerprint == plan.fingerprint() => Ok(()),
        Some(Event::Submitted { fingerprint, .. }) => Err(format!(
            "the journal is of plan {}, this is {}",
            fingerprint.short(),
            plan.fingerprint().short()
        )),
        Some(_) | None => Err("the journal does not begin with a submission".to_owned()),
    }
}

fn stands_at(head: &Head, run: &Run) -> Result<(), String> {
    let state = run.state();
    if (state.seq, state.head) != (head.seq, head.hash) {
        return Err(format!(
            "the head stands at entry {}, folding ends at {}",
            head.seq, state.seq
        ));
    }
    if head.seq > 1 && outcome(run) != head.outcome {
        return Err(format!(
            "the head says {}, folding gives {}",
            head.outcome,
            outcome(run)
        ));
    }
    Ok(())
}
