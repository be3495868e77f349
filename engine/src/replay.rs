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
        // Compared as written, where NaN, the honest answer of many a query, is equal to itself.
        if let Some(Ok(saved)) = &saved
            && saved.seq == entry.seq
            && serde_json::to_vec(saved).ok() != serde_json::to_vec(run.state()).ok()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Check, Verified, prove};
    use crate::ports::store::{Head, RawEntry};
    use crate::run::decide::Input;
    use crate::run::entry::Entry;
    use crate::run::event::Event;
    use crate::run::standing::outcome;
    use crate::run::state::Run;
    use crate::run::story::{secs, submitted, watched, workflow};

    struct Journal {
        run: Run,
        entries: Vec<Entry>,
        raw: Vec<RawEntry>,
    }

    /// The journal of a run that waits for its targets again and again.
    fn journal() -> Journal {
        let story = submitted(watched(workflow(&[("all", &["west"])], &["10%", "100%"])));
        let mut run = Run::new(story.run.id().clone(), story.run.plan().clone());
        let mut journal = Journal {
            run: run.clone(),
            entries: Vec::new(),
            raw: Vec::new(),
        };
        let by = crate::run::signal::Person::unauthenticated("ana", vec![]);
        let mut inputs = vec![Input::Submit { by }];
        inputs.extend((1..6).map(|epoch| Input::Own {
            owner: format!("process-{epoch}"),
            epoch,
        }));
        for (index, input) in inputs.into_iter().enumerate() {
            let at = secs(index as u64).after(story.now);
            let (entry, bytes) = run.step(input, at).unwrap().unwrap();
            journal.raw.push(RawEntry {
                seq: entry.seq,
                hash: entry.hash,
                bytes,
            });
            journal.entries.push(entry);
        }
        journal.run = run;
        journal
    }

    fn head(run: &Run) -> Head {
        let state = run.state();
        Head {
            run: run.id().clone(),
            workflow: run.plan().workflow().name.clone(),
            fingerprint: run.plan().fingerprint().clone(),
            seq: state.seq,
            hash: state.head,
            created_at: state.at,
            at: state.at,
            wake: None,
            outcome: outcome(run).to_owned(),
            is_done: false,
            owner: None,
            quarantined: None,
        }
    }

    fn checked(journal: &Journal, raw: &[RawEntry]) -> Verified {
        let mut check = Check::new();
        raw.iter().for_each(|raw| check.read(raw));
        check.against(journal.run.state().seq, journal.run.state().head)
    }

    #[test]
    fn a_whole_journal_is_whole_and_every_damage_is_found_where_it_begins() {
        let journal = journal();
        let (entries, hash) = (journal.run.state().seq, journal.run.state().head);
        assert_eq!(checked(&journal, &journal.raw), Verified::Whole { entries, hash });
        let broken_at = |raw: &[RawEntry]| match checked(&journal, raw) {
            Verified::BrokenAt { seq, .. } => Some(seq),
            Verified::Whole { .. } => None,
        };
        for index in 0..journal.raw.len() {
            let place = Some(index as u64 + 1);
            let mut changed = journal.raw.clone();
            changed[index].bytes[10] ^= 1;
            assert_eq!(broken_at(&changed), place, "a changed byte");
            let mut missing = journal.raw.clone();
            missing.remove(index);
            assert_eq!(broken_at(&missing), place, "a missing entry");
            if index > 0 {
                let mut swapped = journal.raw.clone();
                swapped.swap(index - 1, index);
                assert_eq!(broken_at(&swapped), Some(index as u64), "two in the wrong order");
            }
        }
    }

    #[test]
    fn a_journal_proves_its_head_and_its_snapshot_and_nothing_else() {
        let journal = journal();
        let plan = journal.run.plan();
        let snapshot = serde_json::to_vec(journal.run.state()).unwrap();
        let proof = prove(plan, &head(&journal.run), Some(&snapshot), &journal.entries);
        assert!(proof.holds(), "{proof:?}");
        let mut other = head(&journal.run);
        other.outcome = "promoted".into();
        assert!(prove(plan, &other, None, &journal.entries).head.is_err());
        let mut state = journal.run.state().clone();
        state.looks += 1;
        let crooked = serde_json::to_vec(&state).unwrap();
        assert!(
            prove(plan, &head(&journal.run), Some(&crooked), &journal.entries)
                .snapshot
                .is_err()
        );
        let foreign = submitted(workflow(&[("all", &["east"])], &["100%"])).run;
        assert!(
            prove(foreign.plan(), &head(&journal.run), None, &journal.entries)
                .plan
                .is_err()
        );
    }

    #[test]
    fn an_event_that_breaks_a_promise_is_named_with_its_entry() {
        let mut journal = journal();
        let last = journal.entries.pop().unwrap();
        let jump = Event::NodeStarted {
            node: journal.run.plan().find("stage:all/west/10%").unwrap(),
            at: last.at,
        };
        let (entry, _) = Entry::seal(last.seq, last.at, "forged".into(), vec![jump], last.prev);
        journal.entries.push(entry);
        let proof = prove(journal.run.plan(), &head(&journal.run), None, &journal.entries);
        let why = proof.invariants.unwrap_err();
        assert!(why.starts_with(&format!("entry {}", last.seq)), "{why}");
    }
}
