//! What has become true: inputs from the world, people and time become events.

use jiff::Timestamp;

use super::effect::{EffectKey, Outcome};
use super::event::Event;
use super::signal::{Person, Signal};
use super::state::Run;

/// Something that reaches a run from outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Begins the journal.
    Submit {
        by: Person,
    },
    /// A new lease: this process drives the run from now on.
    Own {
        owner: String,
        epoch: u64,
    },
    /// Time has passed. Early and doubled ticks are harmless.
    Tick,
    /// The world's answer. It counts only while its effect is still wanted.
    Outcome {
        key: EffectKey,
        outcome: Outcome,
    },
    Signal(Signal),
    /// The wall clock jumped.
    ClockJumped {
        from: Timestamp,
        to: Timestamp,
    },
}

impl Input {
    /// What the entry's `cause` says.
    pub fn cause(&self) -> String {
        match self {
            Input::Submit { by } => format!("submitted by {}", by.name),
            Input::Own { owner, epoch } => format!("owner {owner}, epoch {epoch}"),
            Input::Tick => "time".to_owned(),
            Input::Outcome { key, .. } => format!("outcome {key}"),
            Input::Signal(signal) => format!("{} by {}", signal.ask.verb(), signal.by.name),
            Input::ClockJumped { .. } => "clock jumped".to_owned(),
        }
    }
}

/// A signal that does not fit the run's state: a plain answer to a person, with what would fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// What has become true. No events: nothing has.
///
/// *Errors*: only signals are refused; the run is as before.
pub fn decide(run: &Run, input: Input, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    let _ = (run, input, now);
    Ok(Vec::new())
}
