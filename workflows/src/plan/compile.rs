//! From a workflow's meaning to its DAG: one barrier a phase, one chain of opening, stages and closing a region-phase.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

use super::{GateId, Node, NodeId, NodeKind, PhaseId, Plan, RegionId};
use crate::duration::Duration;
use crate::share::Share;
use crate::workflow::{Exposure, GateKind, Phase, Stage, Workflow};

/// An opening pulls an image and starts a copy of the workload at share 0. A fresh machine takes five to ten minutes to join a
/// cluster and a slot as long to warm up; thrice that is stuck.
pub const OPEN_DEADLINE: Duration = Duration::from_secs(30 * 60);

/// A closing rolls the whole original workload to the candidate, drains and removes what is left over: more work than any
/// single shift, so it may take longer than an opening.
pub const CLOSE_DEADLINE: Duration = Duration::from_secs(60 * 60);

/// A barrier gives no orders, so its deadline never starts. The longest there is keeps a reader who forgets that from
/// seeing a stuck node.
const BARRIER_DEADLINE: Duration = Duration::MAX;

/// Compiles a workflow.
///
/// *Guarantees*: node ids follow the phases in the order of [`phase_order`], within a phase its regions as written; linear in
/// nodes and edges.
///
/// *Assumptions*: the workflow is valid, as the decoder promises: every name refers to something and `needs` has no cycle.
pub fn compile(workflow: Workflow) -> Plan {
    let mut draft = Draft::new(&workflow);
    for phase in phase_order(&workflow.phases).expect("a valid workflow's `needs` have no cycle") {
        draft.add_phase(phase);
    }
    let Draft { nodes, edges, .. } = draft;
    Plan::new(workflow, nodes, edges).expect("ids are given in the order of the edges and come from the workflow")
}

/// The phases in the order in which a plan reads them: every phase after those it needs, otherwise as written. A region in
/// several phases passes them in this order. None when `needs` has a cycle; names that are no phase are left out.
pub fn phase_order(phases: &[Phase]) -> Option<Vec<PhaseId>> {
    let index: HashMap<&str, usize> = phases
        .iter()
        .enumerate()
        .map(|(at, phase)| (phase.name.as_str(), at))
        .collect();
    let mut graph: DiGraph<(), ()> = DiGraph::with_capacity(phases.len(), phases.len());
    for _ in phases {
        graph.add_node(());
    }
    for (at, phase) in phases.iter().enumerate() {
        for needed in phase.needs.iter().filter_map(|name| index.get(name.as_str())) {
            graph.update_edge(NodeIndex::new(*needed), NodeIndex::new(at), ());
        }
    }
    // petgraph's own `toposort` gives any valid order; people expect the file's wherever `needs` leaves a choice.
    let mut waits: Vec<usize> = graph
        .node_indices()
        .map(|node| graph.neighbors_directed(node, Direction::Incoming).count())
        .collect();
    let mut ready: BinaryHeap<Reverse<usize>> = (0..phases.len()).filter(|at| waits[*at] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(phases.len());
    while let Some(Reverse(at)) = ready.pop() {
        order.push(PhaseId(narrow(at)));
        for child in graph.neighbors(NodeIndex::new(at)) {
            waits[child.index()] -= 1;
            if waits[child.index()] == 0 {
                ready.push(Reverse(child.index()));
            }
        }
    }
    (order.len() == phases.len()).then_some(order)
}

/// The plan so far.
struct Draft<'a> {
    workflow: &'a Workflow,
    phases: HashMap<&'a str, usize>,
    nodes: Vec<Node>,
    edges: Vec<(NodeId, NodeId)>,
    /// What a phase that needs this one waits for; empty until the phase is added.
    ends: Vec<Vec<NodeId>>,
    regions: Vec<Progress>,
}

/// How far a region has come in the plan so far.
#[derive(Clone, Default)]
struct Progress {
    /// Its region-phases that are not in the plan yet.
    left: usize,
    closed: Option<NodeId>,
    share: Share,
}

/// What every region of a phase shares.
struct Pattern {
    /// Gates of the phase that guard every rise instead of the barrier.
    windows: Vec<GateId>,
    stages: Vec<StagePattern>,
    after: Vec<GateId>,
    longest_shift: Duration,
}

struct StagePattern {
    name: String,
    exposure: Exposure,
    bake: Duration,
    deadline: Duration,
    before: Vec<GateId>,
    watch: Vec<GateId>,
    after: Vec<GateId>,
}

impl<'a> Draft<'a> {
    fn new(workflow: &'a Workflow) -> Draft<'a> {
        let size: usize = workflow
            .phases
            .iter()
            .map(|phase| 1 + phase.regions.len() * (2 + phase.stages.len()))
            .sum();
        let mut draft = Draft {
            workflow,
            phases: workflow
                .phases
                .iter()
                .enumerate()
                .map(|(at, phase)| (phase.name.as_str(), at))
                .collect(),
            nodes: Vec::with_capacity(size),
            edges: Vec::with_capacity(size + size / 2),
            ends: vec![Vec::new(); workflow.phases.len()],
            regions: vec![Progress::default(); workflow.regions.len()],
        };
        for name in workflow.phases.iter().flat_map(|phase| &phase.regions) {
            let region = draft.region(name);
            draft.regions[region].left += 1;
        }
        draft
    }

    fn add_phase(&mut self, id: PhaseId) {
        let workflow = self.workflow;
        let phase = &workflow.phases[id.0 as usize];
        let (windows, gates) = self
            .gates(&phase.before)
            .into_iter()
            .partition(|gate| self.is_window(*gate));
        let barrier = self.add(Node {
            key: format!("phase:{}", phase.name),
            kind: NodeKind::Phase,
            phase: id,
            region: None,
            before: gates,
            watch: Vec::new(),
            after: Vec::new(),
            bake: Duration::ZERO,
            deadline: BARRIER_DEADLINE,
        });
        for needed in &phase.needs {
            let needed = *self.phases.get(needed.as_str()).expect("the decoder resolves `needs`");
            self.edges.extend(self.ends[needed].iter().map(|end| (*end, barrier)));
        }
        let pattern = self.pattern(phase, windows);
        let mut ends: Vec<NodeId> = Vec::with_capacity(phase.regions.len());
        for name in &phase.regions {
            ends.push(self.add_region_phase(id, phase, &pattern, name, barrier));
        }
        if ends.is_empty() {
            ends.push(barrier);
        }
        self.ends[id.0 as usize] = ends;
    }

    /// Adds the chain of one region in one phase and answers its close.
    fn add_region_phase(
        &mut self,
        id: PhaseId,
        phase: &Phase,
        pattern: &Pattern,
        name: &str,
        barrier: NodeId,
    ) -> NodeId {
        let index = self.region(name);
        let region = Some(RegionId(narrow(index)));
        let path = format!("{}/{name}", phase.name);
        let before = self.regions[index].clone();
        let mut chain = self.add(Node {
            key: format!("open:{path}"),
            kind: NodeKind::Open {
                first: before.closed.is_none(),
            },
            phase: id,
            region,
            before: pattern.windows.clone(),
            watch: Vec::new(),
            after: Vec::new(),
            bake: Duration::ZERO,
            deadline: OPEN_DEADLINE.max(pattern.longest_shift),
        });
        self.edges.push((barrier, chain));
        self.edges.extend(before.closed.map(|close| (close, chain)));

        let mut share = before.share;
        for (ordinal, stage) in pattern.stages.iter().enumerate() {
            let guards: &[GateId] = if rises(&stage.exposure, share) {
                &pattern.windows
            } else {
                &[]
            };
            share = share.max(stage.exposure.traffic());
            let node = self.add(Node {
                key: format!("stage:{path}/{}", stage.name),
                kind: NodeKind::Stage {
                    ordinal: narrow(ordinal),
                    exposure: stage.exposure.clone(),
                },
                phase: id,
                region,
                before: union(guards, &stage.before),
                watch: stage.watch.clone(),
                after: stage.after.clone(),
                bake: stage.bake,
                deadline: stage.deadline,
            });
            self.edges.push((chain, node));
            chain = node;
        }

        let close = self.add(Node {
            key: format!("close:{path}"),
            kind: NodeKind::Close { last: before.left == 1 },
            phase: id,
            region,
            before: Vec::new(),
            watch: pattern
                .stages
                .last()
                .map(|stage| stage.watch.clone())
                .unwrap_or_default(),
            after: pattern.after.clone(),
            bake: phase.bake,
            deadline: CLOSE_DEADLINE
                .max(pattern.longest_shift)
                .saturating_add(self.workflow.rollback.keep_baseline),
        });
        self.edges.push((chain, close));
        self.regions[index] = Progress {
            left: before.left - 1,
            closed: Some(close),
            share,
        };
        close
    }

    fn pattern(&self, phase: &Phase, windows: Vec<GateId>) -> Pattern {
        let mut taken = HashMap::new();
        let stages = phase.stages.iter().map(|stage| StagePattern {
            name: unique(stage_name(&stage.exposure), &mut taken),
            exposure: stage.exposure.clone(),
            bake: stage.bake,
            deadline: stage.deadline,
            before: self.gates_at(&stage.before, stage),
            watch: self.gates_at(&stage.watch, stage),
            after: self.gates_at(&stage.after, stage),
        });
        Pattern {
            windows,
            stages: stages.collect(),
            after: self.gates(&phase.after),
            // A team that grants its shifts hours has a slow platform, whose openings and closings are slow too.
            longest_shift: phase
                .stages
                .iter()
                .map(|stage| stage.deadline)
                .max()
                .unwrap_or_default(),
        }
    }

    fn add(&mut self, node: Node) -> NodeId {
        let id = NodeId(narrow(self.nodes.len()));
        self.nodes.push(node);
        id
    }

    fn region(&self, name: &str) -> usize {
        self.workflow
            .regions
            .get_index_of(name)
            .expect("the decoder refuses unknown regions")
    }

    /// Ids of those gates that are asked at the stage's share: conversion tells nothing at 1 %.
    fn gates_at(&self, names: &[String], stage: &Stage) -> Vec<GateId> {
        let is_asked = |id: &GateId| {
            let gate = self.workflow.gates.get_index(id.0 as usize);
            gate.is_none_or(|(_, gate)| gate.from <= stage.exposure.traffic())
        };
        self.gates(names).into_iter().filter(is_asked).collect()
    }

    /// Ids of named gates, each once, in the order of the names.
    fn gates(&self, names: &[String]) -> Vec<GateId> {
        let ids: Vec<GateId> = names
            .iter()
            .map(|name| {
                GateId(narrow(
                    self.workflow
                        .gates
                        .get_index_of(name)
                        .expect("the decoder refuses unknown gates"),
                ))
            })
            .collect();
        union(&ids, &[])
    }

    fn is_window(&self, gate: GateId) -> bool {
        let (_, gate) = self
            .workflow
            .gates
            .get_index(gate.0 as usize)
            .expect("ids are made from the gates themselves");
        matches!(gate.kind, GateKind::Window(_))
    }
}

/// Whether a stage shows the candidate to more of the region than before. Mirrored traffic and audiences are new exposure
/// wherever they stand, although the live share stays at zero.
fn rises(exposure: &Exposure, reached: Share) -> bool {
    match exposure {
        Exposure::Traffic(share) => *share > reached,
        Exposure::Shadow(_) | Exposure::Audience(_) => true,
    }
}

/// The last part of a stage's key.
fn stage_name(exposure: &Exposure) -> String {
    match exposure {
        Exposure::Traffic(share) => share.to_string(),
        Exposure::Shadow(share) => format!("shadow-{share}"),
        Exposure::Audience(marks) => format!("audience-{}", slug(marks)),
    }
}

/// A short readable name for an audience: `header: x-beta` becomes `header-x-beta`.
fn slug(marks: &BTreeMap<String, String>) -> String {
    const LENGTH: usize = 32;
    let mut slug = String::new();
    for part in marks.iter().flat_map(|(key, value)| [key, value]) {
        for letter in part.chars().map(|letter| letter.to_ascii_lowercase()) {
            if letter.is_ascii_alphanumeric() {
                slug.push(letter);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(LENGTH);
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        "marked".to_owned()
    } else {
        slug.to_owned()
    }
}

/// The name itself, or the name with the first free number behind it. Remembers how often each name was given.
fn unique(name: String, taken: &mut HashMap<String, usize>) -> String {
    let mut number = taken.get(&name).copied().unwrap_or(0);
    loop {
        number += 1;
        let free = if number == 1 {
            name.clone()
        } else {
            format!("{name}-{number}")
        };
        if number == 1 || !taken.contains_key(&free) {
            taken.entry(free.clone()).or_insert(1);
            taken.insert(name, number);
            return free;
        }
    }
}

/// Both lists after one another, each gate once. The lists are as short as people write them.
fn union(first: &[GateId], second: &[GateId]) -> Vec<GateId> {
    let mut gates = Vec::with_capacity(first.len() + second.len());
    for gate in first.iter().chain(second) {
        if !gates.contains(gate) {
            gates.push(*gate);
        }
    }
    gates
}

fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("the language's limits keep a plan far below four billion nodes")
}

#[cfg(test)]
mod tests;
