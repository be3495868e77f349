//! What a person asks of a run.

use serde::{Deserialize, Serialize};

/// A request with its author. The id makes a second delivery harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signal {
    pub id: String,
    pub by: Person,
    pub ask: Request,
}

/// Who asks. In embedded use nobody has checked the name, and the journal says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    pub name: String,
    /// Roles that the person acts in, as in `sre`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    pub authenticated: bool,
}

impl Person {
    /// A person whose name nobody has checked (embedded use).
    pub fn unauthenticated(name: impl Into<String>, roles: Vec<String>) -> Person {
        Person {
            name: name.into(),
            roles,
            authenticated: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum Request {
    /// No advance; gates keep reading and a breach still rolls back. The bake goes on unless `freeze_bake`.
    Pause { freeze_bake: bool, reason: Option<String> },
    /// Lifts a pause (and a hold that has run into *needs attention*).
    Resume,
    /// Yes to an approval gate, or to a question that a gate's `ask` raised. Without a gate: the only one that waits.
    Approve {
        gate: Option<String>,
        node: Option<String>,
        comment: Option<String>,
    },
    /// No to the same; acts like a failed gate with severity roll back.
    Reject {
        gate: Option<String>,
        node: Option<String>,
        comment: Option<String>,
    },
    /// Leaves out a gate (in the node that waits for it), or the rest of a stage's bake and gates.
    Skip { what: Skip, reason: String },
    /// The rest of a region at once: straight to 100 %.
    Promote { region: String, reason: String },
    /// Stop and roll back as the workflow's policy says.
    Abort { reason: Option<String> },
    /// Roll back the whole run, also after completion while the baseline is known.
    Rollback { reason: Option<String> },
    /// A new attempt from the failed nodes, or from the start.
    Retry { from_start: bool, reason: Option<String> },
    /// A system outside says how something went that a `signal` gate waits for.
    Signal(Posted),
    /// A later run of the same workflow wants the targets: roll back and give way.
    Supersede { by_run: String },
}

impl Request {
    /// The verb, as on the command line.
    pub fn verb(&self) -> &'static str {
        match self {
            Request::Pause { .. } => "pause",
            Request::Resume => "resume",
            Request::Approve { .. } => "approve",
            Request::Reject { .. } => "reject",
            Request::Skip { .. } => "skip",
            Request::Promote { .. } => "promote",
            Request::Abort { .. } => "abort",
            Request::Rollback { .. } => "rollback",
            Request::Retry { .. } => "retry",
            Request::Signal(_) => "signal",
            Request::Supersede { .. } => "supersede",
        }
    }
}

/// What is posted under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Posted {
    pub name: String,
    /// None: the only node that waits for it.
    pub node: Option<String>,
    /// None: the gate decides by the payload.
    pub passed: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<serde_json::Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Skip {
    Gate {
        gate: String,
        node: Option<String>,
    },
    /// A stage's key.
    Stage {
        node: String,
    },
}
