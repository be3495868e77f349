//! Where a run stands, in the one word that lists, scripts and exit codes use.

use super::event::Ending;
use super::state::{RegionLife, Run, Standing};

/// `running`, `paused`, `held`, `promoted`, `rolled-back` or `needs-attention`. A run that was refused has changed nothing, like
/// one that was rolled back; its cause says `refused`.
pub fn outcome(run: &Run) -> &'static str {
    match &run.state().standing {
        Standing::Finished { ending, .. } => match ending {
            Ending::Promoted => "promoted",
            Ending::RolledBack | Ending::Refused => "rolled-back",
        },
        Standing::Attention { .. } => "needs-attention",
        Standing::RollingBack => "running",
        Standing::Submitted | Standing::Running => {
            let waits = |run: &Run| {
                run.state()
                    .nodes
                    .iter()
                    .any(|node| node.hold.is_some() || node.question.is_some())
            };
            if run.is_paused() {
                "paused"
            } else if waits(run) {
                "held"
            } else {
                "running"
            }
        }
    }
}

/// Whether a run has come to where nobody needs to watch it: done with its targets released, or standing in needs attention
/// with no region on its way back.
pub fn is_at_rest(run: &Run) -> bool {
    match &run.state().standing {
        Standing::Finished { .. } => run.is_done(),
        Standing::Attention { .. } => !run
            .state()
            .regions
            .iter()
            .any(|region| matches!(region.life, RegionLife::Reverting | RegionLife::Withdrawing)),
        Standing::Submitted | Standing::Running | Standing::RollingBack => false,
    }
}
