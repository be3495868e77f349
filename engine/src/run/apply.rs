//! The only way a run changes: the fold of events.

use jiff::Timestamp;

use super::decide::{Input, Refusal, decide};
use super::entry::{Broken, Entry};
use super::event::Event;
use super::state::Run;

impl Run {
    /// One fact becomes part of the run.
    pub fn apply(&mut self, event: &Event) {
        let _ = event;
    }

    /// Folds one entry in.
    ///
    /// *Errors*: it does not follow from the entry before it; then the run is as before.
    pub fn record(&mut self, entry: &Entry) -> Result<(), Broken> {
        if entry.seq != self.state.seq + 1 {
            return Err(Broken::Gap {
                expected: self.state.seq + 1,
                found: entry.seq,
            });
        }
        if entry.prev != self.state.head {
            return Err(Broken::Chain { seq: entry.seq });
        }
        if entry.at < self.state.at {
            return Err(Broken::Backwards { seq: entry.seq });
        }
        self.state.seq = entry.seq;
        self.state.at = entry.at;
        self.state.head = entry.hash;
        for event in &entry.events {
            self.apply(event);
        }
        Ok(())
    }

    /// Decides, seals and folds: one step of a run, the same for every shell. None when nothing has become true.
    /// The caller must make the bytes durable before it acts on what the run wants next.
    ///
    /// *Errors*: a signal that does not fit.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Result<Option<(Entry, Vec<u8>)>, Refusal> {
        let now = now.max(self.state.at);
        let cause = input.cause();
        let events = decide(self, input, now)?;
        if events.is_empty() {
            return Ok(None);
        }
        let (entry, bytes) = Entry::seal(self.state.seq + 1, now, cause, events, self.state.head);
        self.record(&entry)
            .expect("an entry that was sealed on this run's head follows from it");
        Ok(Some((entry, bytes)))
    }
}
