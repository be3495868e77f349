//! What has become true: inputs from the world, people and time become events.

use jiff::Timestamp;

use super::effect::{EffectKey, Outcome};
use super::event::Event;
use super::signal::{Person, Signal};
use super::state::{Run, State};
use super::{outcome, people, progress};

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
    let mut draft = Draft::new(run, now);
    draft.take_in(input)?;
    Ok(draft.events)
}

/// The same, with the events applied to the run as they are decided: a copy of every run at every step would be most of an
/// engine's work.
///
/// *Assumptions*: the input is no signal; a refused one would leave its traces.
pub(in crate::run) fn decide_in_place(run: &mut Run, input: Input, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    let hollow = Run {
        plan: std::sync::Arc::clone(&run.plan),
        state: State::hollow(),
    };
    let mut draft = Draft {
        run: std::borrow::Cow::Owned(std::mem::replace(run, hollow)),
        now,
        events: Vec::new(),
    };
    let taken = draft.take_in(input);
    *run = draft.run.into_owned();
    taken.map(|()| draft.events)
}

/// A run on which events are tried out as they are decided, so that each decision sees the ones before it.
pub(in crate::run) struct Draft<'a> {
    pub run: std::borrow::Cow<'a, Run>,
    pub now: Timestamp,
    pub events: Vec<Event>,
}

impl<'a> Draft<'a> {
    fn new(run: &'a Run, now: Timestamp) -> Draft<'a> {
        Draft {
            run: std::borrow::Cow::Borrowed(run),
            now,
            events: Vec::new(),
        }
    }

    fn take_in(&mut self, input: Input) -> Result<(), Refusal> {
        match input {
            Input::Submit { by } => self.submitted(by),
            Input::Own { owner, epoch } => self.push(Event::Owned {
                owner,
                epoch,
                at: self.now,
            }),
            Input::Tick => {}
            Input::Outcome { key, outcome } => outcome::admit(self, key, outcome),
            Input::Signal(signal) => people::admit(self, signal)?,
            Input::ClockJumped { from, to } => self.push(Event::ClockJumped { from, to }),
        }
        progress::settle(self);
        Ok(())
    }

    pub(in crate::run) fn push(&mut self, event: Event) {
        self.run.to_mut().apply(&event);
        self.events.push(event);
    }

    fn submitted(&mut self, by: Person) {
        if self.run.state.submitted_at.is_none() {
            let workflow = self.run.plan.workflow().name.clone();
            let fingerprint = self.run.plan.fingerprint().clone();
            self.push(Event::Submitted {
                workflow,
                fingerprint,
                by,
                at: self.now,
            });
        }
    }
}
