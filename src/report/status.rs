//! `status`: where a run stands, as JSON that scripts rely on and as the words that go with it.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use jiff::Timestamp;
use meridian_engine::run::event::Ending;
use meridian_engine::run::state::{Life, Run, Standing};
use meridian_workflows::plan::{NodeId, RegionId};
use meridian_workflows::share::Share;
use serde::Serialize;

use super::evidence;
use super::waiting::Waiting;

/// Where a run stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Running,
    Paused,
    Held,
    Promoted,
    RolledBack,
    NeedsAttention,
    /// Its targets were refused; it never began. Scripts know six words and read it as rolled back; the cause says so.
    #[serde(rename = "rolled-back")]
    Refused,
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Running => "running",
            Outcome::Paused => "paused",
            Outcome::Held => "held",
            Outcome::Promoted => "promoted",
            Outcome::RolledBack | Outcome::Refused => "rolled-back",
            Outcome::NeedsAttention => "needs-attention",
        }
    }
}

/// The outcome of a run as it stands.
pub fn outcome(run: &Run) -> Outcome {
    match &run.state().standing {
        Standing::Finished {
            ending: Ending::Promoted,
            ..
        } => Outcome::Promoted,
        Standing::Finished {
            ending: Ending::RolledBack,
            ..
        } => Outcome::RolledBack,
        Standing::Finished {
            ending: Ending::Refused,
            ..
        } => Outcome::Refused,
        Standing::Attention { .. } => Outcome::NeedsAttention,
        Standing::Submitted | Standing::Running | Standing::RollingBack => {
            if run.is_paused() {
                Outcome::Paused
            } else if is_held(run) {
                Outcome::Held
            } else {
                Outcome::Running
            }
        }
    }
}

/// Whether some node stays where it is: for a gate to recover, or for a person.
pub fn is_held(run: &Run) -> bool {
    run.state()
        .nodes
        .iter()
        .any(|node| node.hold.is_some() || node.question.is_some())
}

/// The candidate's share of a region's traffic. A region that served it before the run began was never shifted.
pub fn share(run: &Run, region: RegionId) -> Share {
    let state = run.region(region);
    match (&state.baseline, &state.candidate) {
        (Some(baseline), Some(candidate)) if baseline.is_same_as(candidate) => Share::FULL,
        _ => state.share,
    }
}

/// Why it stands there; none while it goes on as planned.
pub fn cause(run: &Run) -> Option<String> {
    let state = run.state();
    match &state.standing {
        Standing::Finished { cause, .. } => Some(cause.clone()),
        Standing::Attention { reason, .. } => Some(reason.clone()),
        Standing::RollingBack => state.rollback.as_ref().map(|rollback| rollback.cause.clone()),
        Standing::Submitted | Standing::Running => state.nodes.iter().find_map(|node| {
            node.question
                .as_ref()
                .map(|question| question.why.clone())
                .or_else(|| node.hold.as_ref().map(|hold| hold.why.clone()))
        }),
    }
}

/// A run as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Json {
    run: String,
    workflow: String,
    outcome: Outcome,
    cause: Option<String>,
    inputs: BTreeMap<String, String>,
    fingerprint: String,
    nodes: Vec<NodeJson>,
    regions: IndexMap<String, RegionJson>,
    evidence: Vec<evidence::Json>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeJson {
    key: String,
    state: &'static str,
    /// The candidate's share that the node allows; none where it changes nothing.
    share: Option<Share>,
    since: Option<Timestamp>,
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RegionJson {
    baseline: Option<String>,
    candidate: Option<String>,
    share: Share,
}

/// The run for scripts.
pub fn json(run: &Run, now: Timestamp, program: &str) -> Json {
    let plan = run.plan();
    let waiting = Waiting::new(run, now, program);
    let node = |id: NodeId| {
        let state = run.node(id);
        let waits = waiting
            .node(id)
            .into_iter()
            .map(|wait| wait.brief)
            .collect::<Vec<_>>()
            .join("; ");
        NodeJson {
            key: plan.node(id).key.clone(),
            state: life(state.life),
            share: plan.node(id).traffic(),
            since: state.since,
            reason: state.why.clone().or_else(|| (!waits.is_empty()).then_some(waits)),
        }
    };
    let regions = plan.region_ids().map(|id| {
        let state = run.region(id);
        let region = RegionJson {
            baseline: state.baseline.as_ref().map(|version| version.name.clone()),
            candidate: state.candidate.as_ref().map(|version| version.name.clone()),
            share: share(run, id),
        };
        (plan.region(id).0.to_owned(), region)
    });
    Json {
        run: run.id().to_string(),
        workflow: plan.workflow().name.clone(),
        outcome: outcome(run),
        cause: cause(run),
        inputs: plan.workflow().inputs.clone(),
        fingerprint: plan.fingerprint().to_string(),
        nodes: plan.ids().map(node).collect(),
        regions: regions.collect(),
        evidence: evidence::json(run),
    }
}

/// A node's life in one word, as in JSON.
pub fn life(life: Life) -> &'static str {
    match life {
        Life::Waiting => "waiting",
        Life::Moving => "moving",
        Life::Baking => "baking",
        Life::Judging => "judging",
        Life::Closing => "closing",
        Life::Passed => "passed",
        Life::Skipped => "skipped",
        Life::Tolerated => "tolerated",
        Life::Failed => "failed",
        Life::RolledBack => "rolled-back",
    }
}
