//! What a Scenario means: a scripted world for one workflow, and what is expected of the run in it. Names are resolved.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::duration::Duration;
use crate::plan::{GateId, NodeId, Plan, RegionId};
use crate::share::Share;

/// A test of a rollout.
///
/// *Guarantees* (held by the decoder): every id is of `plan`; values are in their metric's unit.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub description: Option<String>,
    /// The workflow's file, as it was found.
    pub file: String,
    /// The workflow with the scenario's inputs, compiled.
    pub plan: Arc<Plan>,
    pub start: Timestamp,
    /// How long the run is followed.
    pub until: Duration,
    /// Where the world's chance comes from.
    pub seed: u64,
    pub world: World,
    pub expect: Expectation,
}

/// What happens around the run. What is not said is healthy, and nobody comes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// By the metric's name; of several rows that apply, the last.
    pub metrics: BTreeMap<String, Vec<Course>>,
    /// Answers of gates that ask a service or a program; of several that apply, the last.
    pub gates: BTreeMap<GateId, Vec<Reply>>,
    pub people: Vec<Act>,
    pub faults: Vec<Fault>,
    pub upsets: Vec<Upset>,
    /// Other runs that hold a lock for a while, by the lock's name.
    pub locks: BTreeMap<String, Vec<Holder>>,
}

/// What a metric does, in some regions and from some share on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    /// The candidate's number; its clock begins with the candidate, or when the share of `reach` is there.
    pub candidate: Option<Curve>,
    /// The baseline's; its clock begins with the run, for the baseline has served all along.
    pub baseline: Option<Curve>,
    /// How many samples stand behind a number; on the candidate's clock.
    pub samples: Option<Curve>,
    pub reach: Reach,
}

/// Another run that holds a lock, counted from this run's start; one that does not end holds it for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub by: String,
    pub after: Duration,
    pub lasting: Option<Duration>,
}

/// Where and from when on a row applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// None: everywhere.
    pub regions: Option<Vec<RegionId>>,
    /// From this share of the region's traffic on.
    pub from: Option<Share>,
}

/// A number over time, in its metric's unit.
#[derive(Clone, Debug, PartialEq)]
pub enum Curve {
    /// None: the source answers, and has no data. NaN is what many a query gives without traffic.
    Constant(Option<f64>),
    Ramp {
        from: f64,
        by: f64,
        per: Duration,
        /// Where it levels off.
        until: Option<f64>,
    },
    Step {
        from: f64,
        to: f64,
        after: Duration,
    },
    /// Drawn anew every second between `spread` below and `spread` above.
    Noise {
        around: Box<Curve>,
        spread: f64,
    },
    /// No data for a while.
    Gap {
        around: Box<Curve>,
        after: Duration,
        lasting: Duration,
    },
    Flapping {
        between: f64,
        and: f64,
        every: Duration,
    },
    /// One after another, each with its beginning; a piece's clock begins with it. The first begins at once.
    Pieces(Vec<(Duration, Curve)>),
}

/// What a service or program answers, from some instant after the gate is first asked in a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub answer: ReplyKind,
    pub after: Duration,
    pub reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    Pass,
    Fail,
    /// The question cannot be answered.
    Error,
}

/// What a person does, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub by: String,
    /// None: those that the answered gate asks for.
    pub roles: Option<Vec<String>>,
    pub deed: Deed,
    pub moment: Moment,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    Approve(GateId),
    Reject(GateId),
    Pause {
        freeze_bake: bool,
    },
    Resume,
    Promote(RegionId),
    SkipGate(GateId),
    SkipStage(NodeId),
    Abort,
    Rollback,
    Retry {
        from_start: bool,
    },
    /// A system outside posts what this gate waits for.
    Signal {
        gate: GateId,
        passed: Option<bool>,
        payload: Option<serde_json::Value>,
    },
}

/// When something of the script happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// This long after the gate asks, each time; in this node alone, where one is named.
    Asked { node: Option<NodeId>, after: Duration },
    /// This long after the run's start.
    OfRun(Duration),
    /// This long after a node's work begins, each time.
    OfNode { node: NodeId, after: Duration },
}

/// What is wrong with a region's platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub region: RegionId,
    /// None: whatever is ordered, the way back included.
    pub at: Option<Spot>,
    pub call: Call,
    pub trouble: Trouble,
    /// Counted from the first call that meets it; none = for ever.
    pub lasting: Option<Duration>,
}

/// A part of a region's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    Open,
    Stage(NodeId),
    Close,
    Rollback,
}

/// The two questions that a provider is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Observe,
    Ensure,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It will not get there by itself.
    Stuck { why: String },
    /// It gets there, this much later.
    Slow(Duration),
    /// The platform's interface answers with errors that may pass.
    Fails,
    /// The platform refuses for good.
    Refused { why: String },
    /// The answer comes this much later.
    Late(Duration),
}

/// Something that happens to the engine or its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upset {
    pub moment: Moment,
    pub kind: UpsetKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpsetKind {
    /// Its memory is gone; it folds its journal and goes on.
    Crash,
    /// Nobody drives the run for this long.
    Down(Duration),
    /// The wall clock jumps forward by this much.
    Jump(Duration),
}

/// What must be true when the world has come to rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    pub outcome: Outcome,
    pub cause: Option<Cause>,
    /// Where the run failed, was held, or asked.
    pub at: Option<Whereabouts>,
    /// From the candidate's first order in the region where it ended until that was decided; from the start, where no region
    /// stands out.
    pub within: Option<Duration>,
    /// From the start to the end.
    pub ends_within: Option<Duration>,
    pub never_above: BTreeMap<RegionId, Share>,
    /// These happen, in this order; others may in between.
    pub order: Vec<Happening>,
    /// Each stands in some line of the story.
    pub messages: Vec<String>,
    /// Exactly these regions end with the candidate for good.
    pub promoted: Option<Vec<RegionId>>,
    /// Exactly these regions end rolled back.
    pub rolled_back: Option<Vec<RegionId>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Promoted,
    RolledBack,
    NeedsAttention,
    Held,
    Paused,
    /// It goes on, or waits for an approval.
    Running,
}

impl Outcome {
    pub const ALL: [Outcome; 6] = [
        Outcome::Promoted,
        Outcome::RolledBack,
        Outcome::NeedsAttention,
        Outcome::Held,
        Outcome::Paused,
        Outcome::Running,
    ];

    /// As everywhere else: lists, JSON, exit codes.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Promoted => "promoted",
            Outcome::RolledBack => "rolled-back",
            Outcome::NeedsAttention => "needs-attention",
            Outcome::Held => "held",
            Outcome::Paused => "paused",
            Outcome::Running => "running",
        }
    }
}

/// The beginning of a run's cause, as a person writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause(pub String);

impl Cause {
    /// Whether a run's cause begins so: `gate/errors` is no beginning of `gate/errors-5m`.
    pub fn begins(&self, cause: &str) -> bool {
        cause
            .strip_prefix(&self.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', ' ']))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    Region(RegionId),
    Node(NodeId),
}

/// One thing that happens to a node or a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Happening {
    pub word: HappeningWord,
    pub of: Whereabouts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HappeningWord {
    Started,
    Passed,
    Skipped,
    Failed,
    Held,
    Recovered,
    Asked,
    /// A region whose candidate has become the baseline.
    Promoted,
    /// A region that serves its baseline alone again.
    RolledBack,
}

impl HappeningWord {
    pub const ALL: [HappeningWord; 9] = [
        HappeningWord::Started,
        HappeningWord::Passed,
        HappeningWord::Skipped,
        HappeningWord::Failed,
        HappeningWord::Held,
        HappeningWord::Recovered,
        HappeningWord::Asked,
        HappeningWord::Promoted,
        HappeningWord::RolledBack,
    ];

    /// The key in the language.
    pub fn key(self) -> &'static str {
        match self {
            HappeningWord::Started => "started",
            HappeningWord::Passed => "passed",
            HappeningWord::Skipped => "skipped",
            HappeningWord::Failed => "failed",
            HappeningWord::Held => "held",
            HappeningWord::Recovered => "recovered",
            HappeningWord::Asked => "asked",
            HappeningWord::Promoted => "promoted",
            HappeningWord::RolledBack => "rolledBack",
        }
    }

    /// Whether it is told of a region as a whole, not of a stage.
    pub fn is_of_a_region(self) -> bool {
        matches!(self, HappeningWord::Promoted | HappeningWord::RolledBack)
    }
}

/// What a stage is called beside its region, as in `us-west-2/25%`.
///
/// *Assumptions*: `node` came from this plan.
pub fn stage_name(plan: &Plan, node: NodeId) -> &str {
    let key = &plan.node(node).key;
    key.rsplit('/').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::Cause;

    #[test]
    fn a_cause_begins_at_a_boundary() {
        let gate = Cause("gate/errors".into());
        assert!(gate.begins("gate/errors: candidate 3 %") && gate.begins("gate/errors"));
        assert!(!gate.begins("gate/errors-5m: candidate 3 %"));
        assert!(Cause("abort".into()).begins("abort by ben: customers complain"));
        assert!(Cause("stuck".into()).begins("stuck/stage:all/west/10%: no image"));
    }
}
