//! Everything that must be true of every entry of every run, checked as it is written, from the bytes that are stored.

use std::sync::Arc;

use jiff::Timestamp;
use meridian_engine::run::entry::{Entry, Hash};
use meridian_engine::run::event::Event;
use meridian_engine::run::invariant::{check_event, check_rest};
use meridian_engine::run::state::{Run, RunId};
use meridian_workflows::plan::Plan;

use crate::oracle::{Oracle, holds_have_reasons};

/// A journal under check: the fold of its bytes, and a run that is taken through it event by event.
pub struct Checker {
    before: Run,
    after: Run,
    /// The fold of the bytes: what a crash leaves.
    pub folded: Run,
    head: Hash,
    at: Timestamp,
    oracle: Oracle,
}

impl Checker {
    pub fn new(id: RunId, plan: Arc<Plan>) -> Checker {
        let fresh = Run::new(id, plan.clone());
        Checker {
            before: fresh.clone(),
            after: fresh.clone(),
            folded: fresh,
            head: Hash::NONE,
            at: Timestamp::MIN,
            oracle: Oracle::new(plan),
        }
    }

    /// One more entry, as sealed and as stored, and the run that wrote it.
    ///
    /// *Errors*: the first thing that is not as it must be.
    pub fn entry(&mut self, entry: &Entry, bytes: &[u8], live: &Run, now: Timestamp) -> Result<(), String> {
        let read = Entry::open(bytes, entry.hash, self.head, self.folded.state().seq + 1)
            .map_err(|broken| format!("8: {broken}"))?;
        if read != *entry {
            return Err("8: an entry reads back differently than it was sealed".to_owned());
        }
        if read.at < self.at {
            return Err("8: time runs backward in the journal".to_owned());
        }
        (self.head, self.at) = (read.hash, read.at);
        for event in &read.events {
            self.event(event, read.at)?;
        }
        self.folded.record(&read).map_err(|broken| format!("8: {broken}"))?;
        if self.folded.state() != live.state() {
            return Err("8: the fold of the journal is not the live state".to_owned());
        }
        holds_have_reasons(live)?;
        check_rest(live, now.max(read.at)).map_err(|violation| violation.to_string())
    }

    fn event(&mut self, event: &Event, at: Timestamp) -> Result<(), String> {
        self.after.apply(event);
        check_event(&self.before, event, &self.after, at).map_err(|violation| violation.to_string())?;
        self.oracle.event(&self.before, event, &self.after, at)?;
        self.before.apply(event);
        Ok(())
    }
}
