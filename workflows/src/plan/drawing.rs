//! What every drawing of a plan shows: nodes grouped by phase, and the lines of a node's label.

use super::{GateId, Node, NodeId, NodeKind, PhaseId, Plan};
use crate::workflow::Exposure;

/// One phase with its nodes, barrier first.
pub struct Cluster {
    pub phase: PhaseId,
    pub nodes: Vec<NodeId>,
}

/// The phases in the order of the plan; a compiled plan holds a phase's nodes together.
pub fn clusters(plan: &Plan) -> Vec<Cluster> {
    let mut clusters: Vec<Cluster> = Vec::new();
    for (id, node) in plan.nodes() {
        match clusters.last_mut() {
            Some(cluster) if cluster.phase == node.phase => cluster.nodes.push(id),
            Some(_) | None => clusters.push(Cluster {
                phase: node.phase,
                nodes: vec![id],
            }),
        }
    }
    clusters
}

/// A node's label, line by line, unescaped.
pub fn lines(plan: &Plan, node: &Node) -> Vec<String> {
    let region = node.region.map_or("", |region| plan.region(region).0);
    let mut lines = vec![match node.kind {
        NodeKind::Phase => plan.phase(node.phase).name.clone(),
        NodeKind::Open { .. } | NodeKind::Stage { .. } | NodeKind::Close { .. } => format!("{region}: {}", name(node)),
    }];
    if !node.bake.is_zero() {
        lines.push(format!("bake {}", node.bake));
    }
    for (word, gates) in [("before", &node.before), ("watch", &node.watch), ("after", &node.after)] {
        lines.extend(named(plan, word, gates, &[]));
    }
    lines
}

/// A node's name within its region, as in `25%`.
pub fn name(node: &Node) -> String {
    match &node.kind {
        NodeKind::Phase => String::new(),
        NodeKind::Open { first: true } => "open".to_owned(),
        NodeKind::Open { first: false } => "go on".to_owned(),
        NodeKind::Stage { exposure, .. } => match exposure {
            Exposure::Traffic(share) => share.to_string(),
            Exposure::Shadow(share) => format!("shadow {share}"),
            Exposure::Audience(marks) => {
                let marks: Vec<String> = marks.iter().map(|(key, value)| format!("{key} {value}")).collect();
                format!("audience {}", marks.join(", "))
            }
        },
        NodeKind::Close { last: true } => "close".to_owned(),
        NodeKind::Close { last: false } => "rest".to_owned(),
    }
}

/// `before office-hours, sre-approval`; none without gates beside the excepted ones.
pub fn named(plan: &Plan, word: &str, gates: &[GateId], except: &[GateId]) -> Option<String> {
    let names: Vec<&str> = gates
        .iter()
        .filter(|gate| !except.contains(gate))
        .map(|gate| plan.gate(*gate).0)
        .collect();
    (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")))
}
