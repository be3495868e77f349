//! One thing that is wrong, and how the worst of many is told.

use super::evidence::Evidence;
use super::{Diagnosis, Prospect};

/// What was found in one pod, or in the Deployment as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub cause: Cause,
    /// The same words for every pod with the same trouble.
    pub what: String,
    /// What differs from pod to pod, and what the platform said.
    pub detail: Option<String>,
    pub prospect: Prospect,
    pub scope: Scope,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Pod,
    Deployment,
}

/// Kinds of trouble, the least telling first: the later explains the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Nothing is wrong; it takes its time.
    Waiting,
    /// No progress, and nothing else says why.
    Deadline,
    NotReady,
    Pulling,
    Node,
    Placement,
    Probe,
    Volume,
    Crash,
    Configuration,
    Image,
    Memory,
    Admission,
    Paused,
}

impl Finding {
    pub fn in_pod(cause: Cause, prospect: Prospect, what: impl Into<String>) -> Finding {
        Finding {
            cause,
            what: what.into(),
            detail: None,
            prospect,
            scope: Scope::Pod,
        }
    }

    pub fn in_deployment(cause: Cause, prospect: Prospect, what: impl Into<String>) -> Finding {
        Finding {
            scope: Scope::Deployment,
            ..Finding::in_pod(cause, prospect, what)
        }
    }

    pub fn because(self, detail: impl Into<String>) -> Finding {
        let detail = detail.into();
        Finding {
            detail: (!detail.is_empty()).then_some(detail),
            ..self
        }
    }
}

/// Stuck once `repeated`, moving before.
pub fn stuck_if(repeated: bool) -> Prospect {
    if repeated { Prospect::Stuck } else { Prospect::Moving }
}

/// The worst finding as a sentence. What is stuck is worse than what moves; then the more telling cause; then the more pods.
pub fn weigh(findings: Vec<Finding>, evidence: &Evidence) -> Option<Diagnosis> {
    let pods = |of: &Finding| {
        findings
            .iter()
            .filter(|one| one.scope == of.scope && one.what == of.what)
            .count()
    };
    let worst = findings
        .iter()
        .max_by_key(|finding| (finding.prospect, finding.cause, pods(finding)))?;
    let overdue = evidence.is_overdue();
    let prospect = if overdue { Prospect::Stuck } else { worst.prospect };
    let mut why = worst.what.clone();
    if worst.scope == Scope::Pod {
        let with = pods(worst);
        // A surge can stand above what was asked for.
        let of = evidence.wanted().max(with);
        why.push_str(&format!(" ({with} of {of} pod{})", if of == 1 { "" } else { "s" }));
    }
    if let Some(detail) = &worst.detail {
        why.push_str(": ");
        why.push_str(detail);
    }
    if overdue && worst.cause != Cause::Deadline {
        why.push_str(&format!("; {}", evidence.overdue_words()));
    }
    Some(Diagnosis { why, prospect })
}
