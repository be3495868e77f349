//! What a run's end means for the shell.

use meridian_engine::run::state::{Run, Standing};

use super::exit::Exit;
use crate::report::status::{self, Outcome};

/// Nothing more happens by itself: finished with its targets released, or in needs attention.
pub fn is_at_rest(run: &Run) -> bool {
    run.is_done() || (matches!(run.state().standing, Standing::Attention { .. }))
}

/// The exit code for where the run stands.
pub fn exit(run: &Run) -> Exit {
    match status::outcome(run) {
        Outcome::Promoted => Exit::Succeeded,
        Outcome::RolledBack | Outcome::Refused => Exit::Failed,
        Outcome::NeedsAttention | Outcome::Held => Exit::Attention,
        Outcome::Running | Outcome::Paused => Exit::Interrupted,
    }
}
