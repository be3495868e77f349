//! What a scenario may name: the regions, stages, gates and metrics of its workflow.

use std::collections::BTreeMap;

use crate::decode::context::Context;
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic, suggestion};
use crate::document::node::Node;
use crate::document::source::Place;
use crate::plan::{GateId, NodeId, NodeKind, Plan, RegionId};
use crate::scenario::{Whereabouts, stage_name};
use crate::workflow::{GateKind, MetricUnit, Workflow};

/// The workflow's names. Without a workflow nothing is known, and nothing is said about names: what is wrong has been told.
pub struct Cast<'p> {
    plan: Option<&'p Plan>,
}

/// Settings of gates that this build cannot read yet, under which they name the metrics that they ask for.
const QUERY_KEYS: [&str; 3] = ["query", "good", "total"];

impl<'p> Cast<'p> {
    pub fn new(plan: Option<&'p Plan>) -> Cast<'p> {
        Cast { plan }
    }

    pub fn plan(&self) -> Option<&'p Plan> {
        self.plan
    }

    pub fn region(&self, node: &Node, cx: &mut Context<'_>) -> Option<RegionId> {
        let written = value::text(node, cx)?;
        self.region_named(&written, &node.place, cx)
    }

    pub fn region_named(&self, written: &str, place: &Place, cx: &mut Context<'_>) -> Option<RegionId> {
        let plan = self.plan?;
        let found = plan.find_region(written);
        if found.is_none() {
            let known = plan.workflow().regions.keys().map(String::as_str);
            cx.unknown(Code::UNKNOWN_REGION, place, "region", written, known);
        }
        found
    }

    pub fn gate(&self, node: &Node, cx: &mut Context<'_>) -> Option<GateId> {
        let written = value::text(node, cx)?;
        self.gate_named(&written, &node.place, cx)
    }

    pub fn gate_named(&self, written: &str, place: &Place, cx: &mut Context<'_>) -> Option<GateId> {
        let plan = self.plan?;
        let found = plan.find_gate(written);
        if found.is_none() {
            let known = plan.workflow().gates.keys().map(String::as_str);
            cx.unknown(Code::UNKNOWN_GATE, place, "gate", written, known);
        }
        found
    }

    /// The stage of a region with that share, as in `50%`, or whatever else its key ends with.
    pub fn stage_of(&self, region: RegionId, node: &Node, cx: &mut Context<'_>) -> Option<NodeId> {
        let written = value::text(node, cx)?;
        self.stage_named(region, &written, &node.place, cx)
    }

    fn stage_named(&self, region: RegionId, written: &str, place: &Place, cx: &mut Context<'_>) -> Option<NodeId> {
        let plan = self.plan?;
        let stages = || {
            plan.nodes()
                .filter(|(_, node)| node.region == Some(region) && matches!(node.kind, NodeKind::Stage { .. }))
                .map(|(id, _)| id)
        };
        let found = stages().find(|id| stage_name(plan, *id) == written);
        if found.is_none() {
            let names: Vec<&str> = stages().map(|id| stage_name(plan, id)).collect();
            let message = format!("the region `{}` has no stage `{written}`", plan.region(region).0);
            let hint = suggestion::hint(written, names);
            cx.report(Diagnostic::new(Code::UNKNOWN_STAGE, place.clone(), message).maybe_hint(hint));
        }
        found
    }

    /// `REGION/STAGE`, or a whole node key as `meridian plan` and the journal write it.
    pub fn node(&self, node: &Node, cx: &mut Context<'_>) -> Option<NodeId> {
        let written = value::text(node, cx)?;
        self.node_named(&written, &node.place, cx)
    }

    pub fn node_named(&self, written: &str, place: &Place, cx: &mut Context<'_>) -> Option<NodeId> {
        match self.whereabouts_named(written, place, cx)? {
            Whereabouts::Node(id) => Some(id),
            Whereabouts::Region(_) => {
                let message = format!("`{written}` is a region; a stage of it is meant");
                let hint = format!("write `{written}/STAGE`, as in `{written}/100%`");
                cx.report(Diagnostic::new(Code::UNKNOWN_STAGE, place.clone(), message).hint(hint));
                None
            }
        }
    }

    /// A region, or `REGION/STAGE`, or a whole node key.
    pub fn whereabouts(&self, node: &Node, cx: &mut Context<'_>) -> Option<Whereabouts> {
        let written = value::text(node, cx)?;
        self.whereabouts_named(&written, &node.place, cx)
    }

    fn whereabouts_named(&self, written: &str, place: &Place, cx: &mut Context<'_>) -> Option<Whereabouts> {
        let plan = self.plan?;
        if let Some(id) = plan.find(written) {
            return Some(Whereabouts::Node(id));
        }
        match written.rsplit_once('/') {
            Some((region, stage)) if !written.contains(':') => {
                let region = self.region_named(region, place, cx)?;
                self.stage_named(region, stage, place, cx).map(Whereabouts::Node)
            }
            Some(_) => {
                let message = format!("the plan has no node `{written}`");
                let keys = plan.nodes().map(|(_, node)| node.key.as_str());
                let hint = match suggestion::closest(written, keys) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "`meridian plan` shows every node".to_owned(),
                };
                cx.report(Diagnostic::new(Code::UNKNOWN_STAGE, place.clone(), message).hint(hint));
                None
            }
            None => self.region_named(written, place, cx).map(Whereabouts::Region),
        }
    }

    /// The unit of a metric that some gate reads; `Some(None)` where this build does not know it. Others are refused: nothing
    /// would come of them.
    pub fn metric(&self, written: &str, place: &Place, cx: &mut Context<'_>) -> Option<Option<MetricUnit>> {
        let workflow = self.plan?.workflow();
        let read = metrics_read(workflow);
        let found = read.get(written);
        if found.is_none() {
            let hint = suggestion::hint(written, read.keys().copied());
            let hint = hint.unwrap_or_else(|| "no gate of the workflow reads a metric".to_owned());
            let message = format!("no gate of the workflow reads a metric `{written}`");
            cx.report(Diagnostic::new(Code::UNKNOWN_METRIC, place.clone(), message).hint(hint));
        }
        found.map(|unit| unit.cloned())
    }

    /// Says so where no gate of the workflow asks for that lock: nothing would come of it.
    pub fn lock(&self, written: &str, place: &Place, cx: &mut Context<'_>) {
        let gates = self.plan.into_iter().flat_map(|plan| plan.workflow().gates.values());
        let locks: Vec<&str> = gates
            .filter_map(|gate| match &gate.kind {
                GateKind::Lock(lock) => Some(lock.name.as_str()),
                _ => None,
            })
            .collect();
        if self.plan.is_some() && !locks.contains(&written) {
            let message = format!("no gate of the workflow asks for a lock `{written}`");
            let hint = suggestion::hint(written, locks);
            cx.report(Diagnostic::new(Code::SCRIPT, place.clone(), message).maybe_hint(hint));
        }
    }

    pub fn kind_of(&self, gate: GateId) -> Option<&'p GateKind> {
        self.plan.map(|plan| &plan.gate(gate).1.kind)
    }
}

/// Metrics that gates read, with their units where they are known.
fn metrics_read(workflow: &Workflow) -> BTreeMap<&str, Option<&MetricUnit>> {
    let mut read: BTreeMap<&str, Option<&MetricUnit>> = BTreeMap::new();
    for gate in workflow.gates.values() {
        if let GateKind::NotYet { settings, .. } = &gate.kind {
            let named = QUERY_KEYS.iter().filter_map(|key| settings.get(key)?.as_str());
            read.extend(named.map(|name| (name, None)));
        }
    }
    let known = workflow.metrics.iter();
    read.extend(known.map(|(name, metric)| (name.as_str(), Some(&metric.unit))));
    read
}
