//! What the world still owes a run, and when to look again.

use jiff::Timestamp;

use super::effect::Effect;
use super::state::Run;

/// A level, not an edge: asked anew after every change, so a crash leaves nothing to reconcile.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Wanted {
    /// Effects that should be under way now. Start what is missing; leave alone what runs already (same key).
    pub effects: Vec<Effect>,
    /// The next instant at which time alone can change something; none: only an outcome or a person can.
    pub wake: Option<Timestamp>,
}

pub fn wanted(run: &Run, now: Timestamp) -> Wanted {
    let _ = (run, now);
    Wanted::default()
}
