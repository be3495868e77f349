//! Why a Deployment is not there yet: from what the cluster shows to one plain sentence, and whether waiting can help.
//!
//! The rule of patience: what can heal by itself (a registry that does not answer, a slow start, a node being added) is
//! *moving* until the Deployment's own progress deadline has passed, because that deadline is its team's word for how long a
//! start may take. What nobody but a person can mend (an image that does not exist, a third crash in a row, a missing Secret)
//! is *stuck* as soon as the platform has tried more than once.

mod admission;
mod crash;
mod evidence;
mod finding;
mod image;
mod placement;
mod pod;
mod probe;
mod quote;
mod rollout;
mod setup;

use jiff::Timestamp;
use meridian_engine::run::effect::Progress;

pub use evidence::{Evidence, gather};

/// What keeps a Deployment from being ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// A lower-case phrase in plain words: what is wrong, in how many pods, and what the platform said.
    pub why: String,
    pub prospect: Prospect,
}

/// Whether it can still get there by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Prospect {
    Moving,
    Stuck,
}

impl Diagnosis {
    /// The answer to an order that waits for this Deployment.
    pub fn into_progress(self) -> Progress {
        match self.prospect {
            Prospect::Moving => Progress::Moving { why: Some(self.why) },
            Prospect::Stuck => Progress::Stuck { why: self.why },
        }
    }
}

/// The one thing that most keeps a Deployment from being ready; none where nothing does.
///
/// *Guarantees*: pure; never says *stuck* of something that the platform has tried only once.
pub fn diagnose(evidence: &Evidence, now: Timestamp) -> Option<Diagnosis> {
    let mut findings = rollout::findings(evidence);
    findings.extend(admission::findings(evidence));
    for pod in evidence
        .pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
    {
        findings.extend(pod::finding(pod, evidence, now));
    }
    finding::weigh(findings, evidence)
}

#[cfg(test)]
mod tests;
