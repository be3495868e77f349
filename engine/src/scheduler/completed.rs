//! Reads from the store how another workflow's newest run stands: the question of the gate `completed`.

use std::sync::Arc;

use meridian_workflows::plan::Plan;
use meridian_workflows::workflow::CompletedGate;

use crate::ports::store::{Error, Head, Store};
use crate::run::reading::OtherRun;
use crate::run::state::RunId;

/// Runs that are looked through for one that fits, newest first: further back lies another age of the other workflow.
const RUNS_MAX: usize = 200;

/// The newest run that the gate means; none where there is none.
///
/// *Errors*: the store cannot be asked.
pub async fn newest(
    store: &dyn Store,
    own: &RunId,
    plan: &Plan,
    gate: &CompletedGate,
) -> Result<Option<OtherRun>, Error> {
    let runs = store.runs(Some(&gate.workflow), None, RUNS_MAX).await?;
    for head in runs.into_iter().filter(|head| head.run != *own) {
        if !gate.same_release && gate.inputs.is_empty() {
            return Ok(Some(told(head)));
        }
        let other: Arc<Plan> = store.plan(&head.fingerprint).await?;
        let (ours, theirs) = (plan.workflow(), other.workflow());
        let is_same = !gate.same_release || ours.release.version() == theirs.release.version();
        let has_inputs = gate
            .inputs
            .iter()
            .all(|(name, value)| theirs.inputs.get(name) == Some(value));
        if is_same && has_inputs {
            return Ok(Some(told(head)));
        }
    }
    Ok(None)
}

fn told(head: Head) -> OtherRun {
    OtherRun {
        run: head.run.to_string(),
        outcome: head.outcome,
        at: head.at,
    }
}
