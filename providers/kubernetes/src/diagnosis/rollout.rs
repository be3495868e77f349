//! What the Deployment itself says: paused, not yet seen by its controller, overdue, or on its way.

use super::Prospect;
use super::evidence::Evidence;
use super::finding::{Cause, Finding};

/// What is to be said of the Deployment as a whole; nothing where it is complete.
pub fn findings(evidence: &Evidence) -> Vec<Finding> {
    let spec = &evidence.deployment.spec;
    let status = evidence.deployment.status.clone().unwrap_or_default();
    let wanted = i32::try_from(evidence.wanted()).unwrap_or(i32::MAX);
    let updated = status.updated_replicas.unwrap_or(0);
    let available = status.available_replicas.unwrap_or(0);
    let moving = |what: String| vec![Finding::in_deployment(Cause::Waiting, Prospect::Moving, what)];
    let seen = status.observed_generation >= evidence.deployment.metadata.generation;
    if seen && updated >= wanted && available >= wanted && status.replicas.unwrap_or(0) <= wanted {
        return Vec::new();
    }
    if spec.paused == Some(true) && updated < wanted {
        let what = "the Deployment is paused, so its controller rolls nothing out (`kubectl rollout resume` ends that)";
        return vec![Finding::in_deployment(Cause::Paused, Prospect::Stuck, what)];
    }
    if evidence.is_overdue() {
        // That it is overdue makes every finding a lasting one: this is told only where there is none that says more.
        return vec![Finding::in_deployment(
            Cause::Deadline,
            Prospect::Moving,
            evidence.overdue_words(),
        )];
    }
    if !seen {
        return moving("the Deployment controller has not seen the last change yet".to_owned());
    }
    let ready = status.ready_replicas.unwrap_or(0);
    let steady = spec.min_ready_seconds.unwrap_or(0);
    if updated < wanted {
        return moving(format!("{updated} of {wanted} pods are of the new version"));
    }
    if ready >= wanted && available < wanted && steady > 0 {
        return moving(format!(
            "{available} of {wanted} pods have been ready for {steady} s (minReadySeconds)"
        ));
    }
    if available < wanted {
        return moving(format!("{available} of {wanted} pods are available"));
    }
    moving(format!(
        "{} old pods are still there",
        status.replicas.unwrap_or(0).saturating_sub(wanted)
    ))
}
