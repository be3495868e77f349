//! The only way a run changes: the fold of events.

mod gate;
mod lock;
mod node;
mod people;
mod region;

use jiff::Timestamp;

use super::decide::{Input, Refusal, decide, decide_in_place};
use super::entry::{Broken, Entry};
use super::event::Event;
use super::state::{Owner, Run, Standing};

impl Run {
    /// One fact becomes part of the run.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Submitted { by, at, .. } => {
                self.state.starter = Some(by.clone());
                self.state.submitted_at = Some(*at);
            }
            Event::Claimed { .. } | Event::ClaimBusy { .. } | Event::ClaimRefused { .. } | Event::Released => {
                self.apply_claim(event);
            }
            Event::Owned { owner, epoch, .. } => {
                self.state.owner = Some(Owner {
                    name: owner.clone(),
                    epoch: *epoch,
                });
            }
            Event::ClockJumped { from, to } => self.clock_jumped(*from, *to),
            Event::Finished { ending, cause, at } => {
                self.state.standing = Standing::Finished {
                    ending: *ending,
                    cause: cause.clone(),
                    at: *at,
                };
            }
            Event::AttentionNeeded { reason, action, at } => {
                let (reason, action) = (reason.clone(), action.clone());
                self.state.standing = Standing::Attention {
                    reason,
                    action,
                    since: *at,
                };
            }
            Event::SignalTaken { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::Retried { .. }
            | Event::RegionRushed { .. } => self.apply_signal(event),
            Event::NodeStarted { .. }
            | Event::Converged { .. }
            | Event::Diverged { .. }
            | Event::BakeEnded { .. }
            | Event::NodePassed { .. }
            | Event::NodeSkipped { .. }
            | Event::NodeTolerated { .. }
            | Event::NodeFailed { .. }
            | Event::Held { .. }
            | Event::Recovered { .. }
            | Event::Asked { .. }
            | Event::Answered { .. } => self.apply_to_node(event),
            Event::GateRead { .. }
            | Event::ApprovalAsked { .. }
            | Event::Approved { .. }
            | Event::Rejected { .. }
            | Event::SignalAwaited { .. }
            | Event::SignalPosted { .. }
            | Event::GateJudged { .. }
            | Event::GateSkipped { .. } => self.apply_to_gate(event),
            Event::LockSought { .. }
            | Event::LockBusy { .. }
            | Event::LockTaken { .. }
            | Event::LockDropped { .. }
            | Event::LockReleased { .. } => self.apply_lock(event),
            Event::RegionObserved { .. }
            | Event::RegionResolved { .. }
            | Event::Ordered { .. }
            | Event::OrderMoving { .. }
            | Event::OrderWaiting { .. }
            | Event::OrderStuck { .. }
            | Event::OrderSettled { .. }
            | Event::EffectFailed { .. } => self.apply_to_region(event),
            Event::RollbackDecided { .. }
            | Event::RegionReverted { .. }
            | Event::RegionWithdrawn { .. }
            | Event::RollbackOverdue { .. } => self.apply_rollback(event),
        }
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
        let events = match input {
            // Only a signal can be refused, and a refusal must leave the run as it was: it is tried on a copy.
            Input::Signal(_) => {
                let events = decide(self, input, now)?;
                events.iter().for_each(|event| self.apply(event));
                events
            }
            Input::Submit { .. }
            | Input::Own { .. }
            | Input::Tick
            | Input::Outcome { .. }
            | Input::ClockJumped { .. } => decide_in_place(self, input, now)?,
        };
        if events.is_empty() {
            return Ok(None);
        }
        let (entry, bytes) = Entry::seal(self.state.seq + 1, now, cause, events, self.state.head);
        self.state.seq = entry.seq;
        self.state.at = entry.at;
        self.state.head = entry.hash;
        Ok(Some((entry, bytes)))
    }
}
