//! The plan: an immutable, fingerprinted DAG with everything a run needs to know, compiled from a valid workflow.

pub mod compile;
pub mod dot;
mod drawing;
pub mod exposure;
pub mod json;
pub mod mermaid;
pub mod outlook;
pub mod path;
pub mod platform;
pub mod schedule;
#[cfg(test)]
mod story;
pub mod text;

use std::fmt;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::share::Share;
use crate::workflow::{Exposure, Gate, Region, Workflow};

/// A node's position in the plan; dense from 0, in the order in which the plan is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

/// A region's position in the workflow's `regions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RegionId(pub u32);

/// A phase's position in the workflow's `phases`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PhaseId(pub u32);

/// A gate's position in the workflow's `gates`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GateId(pub u32);

/// SHA-256 of the plan's canonical JSON, in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub String);

impl Fingerprint {
    /// The first twelve digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum NodeKind {
    /// Barrier of a phase: its gates, concurrency and failure tolerance.
    Phase,
    /// Opening of a region-phase. The region's first one records the baseline, stages the candidate at share 0 and waits
    /// until it is ready; later ones only check that it still is.
    Open { first: bool },
    /// One stage of a region-phase; `ordinal` counts from 0 within the region-phase.
    Stage { ordinal: u32, exposure: Exposure },
    /// Closing of a region-phase: the region bake, then, in the region's last phase, promotion of the candidate.
    Close { last: bool },
}

/// One node of the DAG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Readable and unique: `phase:medium`, `open:medium/eu-west-1`, `stage:medium/eu-west-1/25%`, `close:medium/eu-west-1`.
    pub key: String,
    pub kind: NodeKind,
    pub phase: PhaseId,
    /// None for a phase barrier.
    pub region: Option<RegionId>,
    pub before: Vec<GateId>,
    /// Read from the node's first order until the region's next stage shifts or the region closes. A close node carries its
    /// last stage's.
    pub watch: Vec<GateId>,
    pub after: Vec<GateId>,
    pub bake: Duration,
    /// From the node's first order until it counts as stuck.
    pub deadline: Duration,
}

impl Node {
    /// The share of live traffic that this node allows the candidate in its region; a close keeps what the last stage reached.
    pub fn traffic(&self) -> Option<Share> {
        match &self.kind {
            NodeKind::Stage { exposure, .. } => Some(exposure.traffic()),
            NodeKind::Open { first: true } => Some(Share::ZERO),
            NodeKind::Phase | NodeKind::Open { first: false } | NodeKind::Close { .. } => None,
        }
    }
}

/// The DAG with the workflow it came from.
///
/// *Guarantees*: acyclic; ids are dense and in topological order (every parent has a smaller id); equal workflows compile to
/// equal bytes and so to equal fingerprints.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Plan {
    workflow: Workflow,
    graph: DiGraph<Node, ()>,
    fingerprint: Fingerprint,
}

/// The plan as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    /// Format of this text; readers refuse what they do not know.
    version: u32,
    workflow: Workflow,
    nodes: Vec<Node>,
    /// (parent, child), sorted.
    edges: Vec<(u32, u32)>,
}

/// Why a stored plan cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the plan has format {0}, this build reads format {FORMAT}")]
    Format(u32),
    #[error("the plan's edge {0} → {1} does not lead from a node to a later one")]
    Edge(u32, u32),
    #[error("the plan's node `{0}` names a phase, region or gate that its workflow does not have")]
    Reference(String),
}

/// Format of stored plans.
pub const FORMAT: u32 = 1;

impl Plan {
    /// Puts nodes (already in topological order) and edges together.
    ///
    /// *Errors*: an edge that leads backwards or nowhere, a node that refers to nothing.
    pub fn new(workflow: Workflow, nodes: Vec<Node>, edges: Vec<(NodeId, NodeId)>) -> Result<Plan, Unreadable> {
        let mut edges: Vec<(u32, u32)> = edges.into_iter().map(|(from, to)| (from.0, to.0)).collect();
        edges.sort_unstable();
        edges.dedup();
        Plan::try_from(Written {
            version: FORMAT,
            workflow,
            nodes,
            edges,
        })
    }

    pub fn workflow(&self) -> &Workflow {
        &self.workflow
    }

    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The DAG itself, for algorithms and drawings; node weights are in id order.
    pub fn graph(&self) -> &DiGraph<Node, ()> {
        &self.graph
    }

    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    pub fn is_empty(&self) -> bool {
        self.graph.node_count() == 0
    }

    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..u32::try_from(self.graph.node_count()).unwrap_or(u32::MAX)).map(NodeId)
    }

    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.ids().map(|id| (id, self.node(id)))
    }

    /// *Assumptions*: `id` came from this plan.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.graph[NodeIndex::new(id.0 as usize)]
    }

    pub fn find(&self, key: &str) -> Option<NodeId> {
        self.nodes().find(|(_, node)| node.key == key).map(|(id, _)| id)
    }

    pub fn parents(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.neighbours(id, Direction::Incoming)
    }

    pub fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.neighbours(id, Direction::Outgoing)
    }

    fn neighbours(&self, id: NodeId, direction: Direction) -> impl Iterator<Item = NodeId> + '_ {
        self.graph
            .neighbors_directed(NodeIndex::new(id.0 as usize), direction)
            .map(|index| NodeId(u32::try_from(index.index()).unwrap_or(u32::MAX)))
    }

    /// Name and settings of a region.
    ///
    /// *Assumptions*: `id` came from this plan (as for `gate` and `phase`).
    pub fn region(&self, id: RegionId) -> (&str, &Region) {
        let (name, region) = self
            .workflow
            .regions
            .get_index(id.0 as usize)
            .expect("regions are checked when a plan is made");
        (name, region)
    }

    pub fn region_ids(&self) -> impl Iterator<Item = RegionId> + use<> {
        (0..u32::try_from(self.workflow.regions.len()).unwrap_or(u32::MAX)).map(RegionId)
    }

    pub fn find_region(&self, name: &str) -> Option<RegionId> {
        self.workflow
            .regions
            .get_index_of(name)
            .and_then(|index| u32::try_from(index).ok())
            .map(RegionId)
    }

    pub fn gate(&self, id: GateId) -> (&str, &Gate) {
        let (name, gate) = self
            .workflow
            .gates
            .get_index(id.0 as usize)
            .expect("gates are checked when a plan is made");
        (name, gate)
    }

    pub fn gate_ids(&self) -> impl Iterator<Item = GateId> + use<> {
        (0..u32::try_from(self.workflow.gates.len()).unwrap_or(u32::MAX)).map(GateId)
    }

    pub fn find_gate(&self, name: &str) -> Option<GateId> {
        self.workflow
            .gates
            .get_index_of(name)
            .and_then(|index| u32::try_from(index).ok())
            .map(GateId)
    }

    pub fn phase(&self, id: PhaseId) -> &crate::workflow::Phase {
        &self.workflow.phases[id.0 as usize]
    }
}

impl PartialEq for Plan {
    fn eq(&self, other: &Plan) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl From<Plan> for Written {
    fn from(plan: Plan) -> Written {
        let mut edges: Vec<(u32, u32)> = plan
            .graph
            .raw_edges()
            .iter()
            .filter_map(|edge| {
                Some((
                    u32::try_from(edge.source().index()).ok()?,
                    u32::try_from(edge.target().index()).ok()?,
                ))
            })
            .collect();
        edges.sort_unstable();
        let (nodes, _) = plan.graph.into_nodes_edges();
        Written {
            version: FORMAT,
            workflow: plan.workflow,
            nodes: nodes.into_iter().map(|node| node.weight).collect(),
            edges,
        }
    }
}

impl TryFrom<Written> for Plan {
    type Error = Unreadable;

    fn try_from(written: Written) -> Result<Plan, Unreadable> {
        if written.version != FORMAT {
            return Err(Unreadable::Format(written.version));
        }
        let fingerprint = fingerprint(&written);
        let workflow = written.workflow;
        let known = |index: u32, length: usize| (index as usize) < length;
        let mut graph = DiGraph::with_capacity(written.nodes.len(), written.edges.len());
        for node in written.nodes {
            let gates = node.before.iter().chain(&node.watch).chain(&node.after);
            let refers = known(node.phase.0, workflow.phases.len())
                && node.region.is_none_or(|region| known(region.0, workflow.regions.len()))
                && gates.into_iter().all(|gate| known(gate.0, workflow.gates.len()))
                && node.region.is_some() != matches!(node.kind, NodeKind::Phase);
            if !refers {
                return Err(Unreadable::Reference(node.key));
            }
            graph.add_node(node);
        }
        // petgraph lists a node's newest edge first; adding them in reverse makes neighbours come in id order.
        for (from, to) in written.edges.into_iter().rev() {
            if from >= to || !known(to, graph.node_count()) {
                return Err(Unreadable::Edge(from, to));
            }
            graph.add_edge(NodeIndex::new(from as usize), NodeIndex::new(to as usize), ());
        }
        Ok(Plan {
            workflow,
            graph,
            fingerprint,
        })
    }
}

fn fingerprint(written: &Written) -> Fingerprint {
    use sha2::{Digest, Sha256};
    // Structs keep their field order, maps are ordered or keep the file's order, so equal plans give equal bytes.
    let bytes = serde_json::to_vec(written).expect("a plan has only text keys and finite numbers");
    let digest = Sha256::digest(&bytes);
    Fingerprint(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
