//! A plan as JSON, for scripts: field names are the language's, fields are only ever added.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::exposure::Reach;
use super::outlook::Outlook;
use super::{GateId, Node, NodeId, NodeKind, Plan, RegionId};
use crate::duration::Duration;
use crate::workflow::Exposure;

/// Format of this JSON; a higher one may have changed the meaning of a field.
pub const VERSION: u32 = 1;

/// The plan and its outlook as indented JSON, without a line break at the end.
pub fn render(plan: &Plan, outlook: &Outlook) -> String {
    serde_json::to_string_pretty(&Report::new(plan, outlook)).expect("a report has only text keys and finite numbers")
}

/// What `meridian plan -o json` prints.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report<'a> {
    pub version: u32,
    pub workflow: &'a str,
    pub fingerprint: &'a str,
    /// In topological order.
    pub nodes: Vec<NodeReport<'a>>,
    /// After each stage, in the order of the earliest course; stages that a window never lets through come last.
    pub exposure: Vec<StepReport<'a>>,
    /// Regions whose `globalTraffic` the workflow does not tell.
    pub unknown_regions: Vec<&'a str>,
    /// The bakes of all nodes together.
    #[schemars(with = "f64")]
    pub bake_seconds_total: Seconds,
    pub critical_path: PathReport<'a>,
    /// The instant for which the exposure, the delays and the earliest finish hold.
    #[schemars(with = "String")]
    pub start: Timestamp,
    /// Bakes and windows alone; null = a window never opens.
    #[schemars(with = "Option<String>")]
    pub earliest_finish: Option<Timestamp>,
    /// What windows hold up.
    pub delays: Vec<DelayReport<'a>>,
    /// What the regions' platforms make of the plan.
    pub platforms: Vec<PlatformReport<'a>>,
}

/// Regions of one kind about which there is the same to say.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlatformReport<'a> {
    pub regions: Vec<&'a str>,
    pub provider: &'a str,
    /// Whole sentences, for people.
    pub remarks: &'a [String],
}

/// One node of the plan.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport<'a> {
    pub key: &'a str,
    /// `phase`, `open`, `stage` or `close`.
    pub kind: &'static str,
    /// Keys of the nodes that must have passed.
    pub needs: Vec<&'a str>,
    /// Null for a phase's barrier.
    pub region: Option<&'a str>,
    pub phase: &'a str,
    /// The share of the region's live traffic that the node allows the candidate, as `25%`; null where it keeps what is.
    pub traffic: Option<String>,
    /// Present on a stage that mirrors traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<String>,
    /// Present on a stage for an audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<&'a BTreeMap<String, String>>,
    #[schemars(with = "f64")]
    pub bake_seconds: Seconds,
    pub before: Vec<&'a str>,
    pub watch: Vec<&'a str>,
    pub after: Vec<&'a str>,
}

/// What is exposed once a stage has shifted.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepReport<'a> {
    pub node: &'a str,
    pub phase: &'a str,
    pub region: &'a str,
    /// The earliest instant of the shift; null = never.
    #[schemars(with = "Option<String>")]
    pub at: Option<Timestamp>,
    /// The candidate's share of the region's traffic, as `25%`.
    pub traffic: String,
    /// The candidate's part of global traffic in percent; null while an exposed region's `globalTraffic` is unknown.
    pub global_percent: Option<f64>,
    /// What the known regions add up to, in percent; null when no exposed region is known.
    pub global_percent_at_least: Option<f64>,
}

/// The chain of nodes that decides how long bakes alone take.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathReport<'a> {
    pub nodes: Vec<&'a str>,
    #[schemars(with = "f64")]
    pub bake_seconds: Seconds,
    /// On the path and not counted.
    pub approvals: Vec<ApprovalReport<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalReport<'a> {
    pub node: &'a str,
    pub gate: &'a str,
}

/// One wait for a window.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DelayReport<'a> {
    pub node: &'a str,
    pub gate: &'a str,
    #[schemars(with = "String")]
    pub from: Timestamp,
    /// Null = never.
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    pub why: &'a str,
}

/// Milliseconds that are written as seconds: whole ones as an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(u64);

impl From<Duration> for Seconds {
    fn from(duration: Duration) -> Seconds {
        Seconds(duration.as_millis())
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(1_000) {
            serializer.serialize_u64(self.0 / 1_000)
        } else {
            serializer.serialize_f64(self.0 as f64 / 1_000.0)
        }
    }
}

impl<'a> Report<'a> {
    pub fn new(plan: &'a Plan, outlook: &'a Outlook) -> Report<'a> {
        let key = |id: NodeId| plan.node(id).key.as_str();
        let (path, schedule, table) = (&outlook.critical_path, &outlook.schedule, &outlook.exposure);
        let approvals = path.approvals.iter();
        let delays = schedule.delays.iter().map(|delay| DelayReport {
            node: key(delay.node),
            gate: plan.gate(delay.gate).0,
            from: delay.from,
            until: delay.until,
            why: &delay.why,
        });
        let steps = table.steps.iter().map(|step| StepReport {
            node: key(step.node),
            phase: &plan.phase(plan.node(step.node).phase).name,
            region: region(plan, step.region),
            at: step.at,
            traffic: step.share.to_string(),
            global_percent: step.global.percent(),
            global_percent_at_least: at_least(step.global),
        });
        let platforms = outlook.platforms.iter().map(|platform| PlatformReport {
            regions: platform.regions.iter().map(|id| region(plan, *id)).collect(),
            provider: &platform.provider,
            remarks: &platform.remarks,
        });
        Report {
            version: VERSION,
            workflow: &plan.workflow().name,
            fingerprint: &plan.fingerprint().0,
            nodes: plan.nodes().map(|(id, node)| NodeReport::new(plan, id, node)).collect(),
            exposure: steps.collect(),
            unknown_regions: table.unknown.iter().map(|id| region(plan, *id)).collect(),
            bake_seconds_total: Seconds(outlook.total_bake.0),
            critical_path: PathReport {
                nodes: path.nodes.iter().map(|id| key(*id)).collect(),
                bake_seconds: Seconds(path.bake.0),
                approvals: approvals
                    .map(|(id, gate)| ApprovalReport {
                        node: key(*id),
                        gate: plan.gate(*gate).0,
                    })
                    .collect(),
            },
            start: schedule.start,
            earliest_finish: schedule.finish,
            delays: delays.collect(),
            platforms: platforms.collect(),
        }
    }
}

impl<'a> NodeReport<'a> {
    fn new(plan: &'a Plan, id: NodeId, node: &'a Node) -> NodeReport<'a> {
        let names = |gates: &[GateId]| gates.iter().map(|gate| plan.gate(*gate).0).collect();
        let (shadow, audience) = match &node.kind {
            NodeKind::Stage {
                exposure: Exposure::Shadow(share),
                ..
            } => (Some(share.to_string()), None),
            NodeKind::Stage {
                exposure: Exposure::Audience(marks),
                ..
            } => (None, Some(marks)),
            NodeKind::Stage {
                exposure: Exposure::Traffic(_),
                ..
            }
            | NodeKind::Phase
            | NodeKind::Open { .. }
            | NodeKind::Close { .. } => (None, None),
        };
        NodeReport {
            key: &node.key,
            kind: match node.kind {
                NodeKind::Phase => "phase",
                NodeKind::Open { .. } => "open",
                NodeKind::Stage { .. } => "stage",
                NodeKind::Close { .. } => "close",
            },
            needs: plan.parents(id).map(|parent| plan.node(parent).key.as_str()).collect(),
            region: node.region.map(|id| region(plan, id)),
            phase: &plan.phase(node.phase).name,
            traffic: node.traffic().map(|share| share.to_string()),
            shadow,
            audience,
            bake_seconds: node.bake.into(),
            before: names(&node.before),
            watch: names(&node.watch),
            after: names(&node.after),
        }
    }
}

fn region(plan: &Plan, id: RegionId) -> &str {
    plan.region(id).0
}

fn at_least(reach: Reach) -> Option<f64> {
    (!reach.is_unknown()).then(|| reach.at_least())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Report, render};
    use crate::plan::compile::compile;
    use crate::plan::outlook::Outlook;
    use crate::plan::story::{Story, payments};
    use crate::workflow::{Exposure, Workflow};

    fn report(workflow: Workflow) -> Value {
        let plan = compile(workflow);
        let outlook = Outlook::new(&plan, "2026-03-02T10:00:00Z".parse().unwrap());
        serde_json::from_str(&render(&plan, &outlook)).unwrap()
    }

    #[test]
    fn a_stage_has_the_fields_that_scripts_rely_on() {
        let report = report(payments());
        assert_eq!(
            report["nodes"][19],
            json!({
                "key": "stage:medium/ap-southeast-1/1%", "kind": "stage", "needs": ["open:medium/ap-southeast-1"],
                "region": "ap-southeast-1", "phase": "medium", "traffic": "1%", "bakeSeconds": 600,
                "before": ["office-hours"], "watch": ["error-rate", "p99-latency"], "after": [],
            })
        );
        assert_eq!(
            report["nodes"][24],
            json!({
                "key": "phase:primary", "kind": "phase", "needs": ["close:medium/eu-west-1", "close:medium/ap-southeast-1"],
                "region": null, "phase": "primary", "traffic": null, "bakeSeconds": 0,
                "before": ["cab-approval"], "watch": [], "after": [],
            })
        );
        assert_eq!(report["workflow"], "payments-api");
        assert_eq!(report["fingerprint"].as_str().unwrap().len(), 64);
        assert_eq!(report["bakeSecondsTotal"], 42 * 3_600 + 40 * 60);
        assert_eq!(report["criticalPath"]["bakeSeconds"], 37 * 3_600 + 30 * 60);
        assert_eq!(report["earliestFinish"], "2026-03-04T15:20:00Z");
        assert_eq!(report["delays"].as_array().unwrap().len(), 2);
        assert_eq!(
            report["exposure"][1],
            json!({
                "node": "stage:smallest/us-west-2/1%", "phase": "smallest", "region": "us-west-2", "traffic": "1%",
                "at": "2026-03-02T12:00:00Z", "globalPercent": 1.09, "globalPercentAtLeast": 1.09,
            })
        );
    }

    #[test]
    fn unknown_exposure_is_null_and_fractions_of_a_second_stay() {
        let mut workflow = Story::new().phase("all", &["eu"], &["100% 1s", "100% 1500ms"]).build();
        workflow.phases[0].stages[0].exposure = Exposure::Shadow("50%".parse().unwrap());
        let report = report(workflow);
        assert_eq!(report["nodes"][2]["shadow"], "50%");
        assert_eq!(report["nodes"][2]["traffic"], "0%");
        assert_eq!(report["nodes"][3]["bakeSeconds"], 1.5);
        assert_eq!(report["exposure"][1]["globalPercent"], Value::Null);
        assert_eq!(report["exposure"][1]["globalPercentAtLeast"], Value::Null);
        assert_eq!(report["unknownRegions"], json!(["eu"]));
    }

    #[test]
    fn the_report_keeps_its_schema() {
        let schema = serde_json::to_value(schemars::schema_for!(Report<'_>)).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let report = report(payments());
        let errors: Vec<String> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0]);
        let mut broken = report;
        broken["nodes"][0]["key"] = json!(1);
        assert!(!validator.is_valid(&broken));
    }
}
