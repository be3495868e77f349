//! What happens in a simulated world that is not plain health: faults, people, crashes.

use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{NodeId, NodeKind, Plan};
use meridian_workflows::scenario::World;

/// A scripted world. The default is healthy, approves everything at once and never crashes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    pub faults: Vec<Fault>,
    pub people: People,
    /// The engine loses its memory after every so many entries and folds its journal again.
    pub crash_every: Option<u64>,
    /// What a scenario tells; it goes before the faults above.
    pub world: World,
    /// How far healthy numbers stray, of themselves: 0.1 is a tenth to either side.
    pub noise: f64,
    /// How long the run is followed; none = as long as any is.
    pub length_max: Option<Duration>,
}

/// Something goes wrong while a node is worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub node: NodeId,
    pub kind: FaultKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The candidate's readings breach the node's gates; where nothing watches it, the order gets stuck.
    Breach,
    /// The order never converges.
    Stuck,
}

/// How people answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct People {
    /// How long an approval (or a question) waits; none = nobody ever answers.
    pub approve_after: Option<Duration>,
    /// Gates that are rejected instead.
    pub reject: Vec<String>,
}

impl Default for People {
    fn default() -> People {
        People {
            approve_after: Some(Duration::ZERO),
            reject: Vec::new(),
        }
    }
}

/// Why a stage named on the command line is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownStage {
    #[error("`{0}` is no stage; write REGION/STAGE, as in `us-west-2/25%`")]
    Malformed(String),
    #[error("the plan has no stage `{given}`; region `{region}` has {known}")]
    Stage {
        given: String,
        region: String,
        known: String,
    },
    #[error("the plan has no region `{0}`; it has {1}")]
    Region(String, String),
}

/// The node that `REGION/STAGE` (or a whole node key) names; the first phase's, where a region is in several.
///
/// *Errors*: there is none; the text says what there is.
pub fn find_stage(plan: &Plan, given: &str) -> Result<NodeId, UnknownStage> {
    if let Some(node) = plan.find(given) {
        return Ok(node);
    }
    let (region, stage) = given
        .rsplit_once('/')
        .ok_or_else(|| UnknownStage::Malformed(given.to_owned()))?;
    let Some(id) = plan.find_region(region) else {
        let names: Vec<&str> = plan.workflow().regions.keys().map(String::as_str).collect();
        return Err(UnknownStage::Region(region.to_owned(), names.join(", ")));
    };
    let stages = || {
        plan.nodes()
            .filter(|(_, node)| node.region == Some(id) && matches!(node.kind, NodeKind::Stage { .. }))
    };
    let name = |key: &str| key.rsplit('/').next().unwrap_or(key).to_owned();
    let found = stages()
        .find(|(_, node)| name(&node.key) == stage)
        .map(|(node, _)| node);
    found.ok_or_else(|| UnknownStage::Stage {
        given: given.to_owned(),
        region: region.to_owned(),
        known: stages().map(|(_, node)| name(&node.key)).collect::<Vec<_>>().join(", "),
    })
}
