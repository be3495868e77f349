//! What is left of a run when instants, readings, owners and repeated looks are put aside: what two runs of one plan must have
//! in common, whatever happened to the processes that drove them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::machine::{Machine, events};

/// A finished run, as its journal and the sandbox tell of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Essence {
    pub outcome: String,
    /// The run's own story, and that of each region, in order.
    pub told: BTreeMap<String, Vec<String>>,
    /// Every change of weights that the sandbox has made, by region.
    pub shifts: BTreeMap<String, Vec<String>>,
    /// Every state that was ordered; one that was ordered again before the next stands once.
    pub orders: BTreeMap<String, Vec<String>>,
    /// What serves at the end.
    pub world: BTreeMap<String, String>,
}

impl Essence {
    /// *Panics* where the journal does not verify, or the sandbox has let an older order through.
    pub fn of(machine: &Machine, run: &str) -> Essence {
        let verified = machine.ask(&["journal", run, "--verify"]);
        assert_eq!(verified.code, Some(0), "{verified:#?}");
        let proof = machine.ask(&["replay", run, "--prove"]);
        assert_eq!(proof.code, Some(0), "{proof:#?}");
        let status = machine.ask(&["status", run, "-o", "json"]);
        let status: Value = serde_json::from_str(&status.stdout).unwrap();
        let journal = machine.journal(run);
        let orders = machine.sandbox("/orders");
        fences_rise(&orders);
        Essence {
            outcome: text(&status["outcome"]),
            told: told(&journal, &Names::of(&status)),
            shifts: by_region(&machine.sandbox("/shifts"), |line| Some(shown(&line["weights"]))),
            orders: by_region(&orders, |line| {
                (line["outcome"] == "applied").then(|| shown(&line["desired"]))
            }),
            world: world(&machine.sandbox("/regions")),
        }
    }
}

/// What the numbers in a journal stand for.
struct Names {
    nodes: Vec<String>,
    regions: Vec<String>,
}

impl Names {
    fn of(status: &Value) -> Names {
        let nodes = status["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| text(&node["key"]));
        Names {
            nodes: nodes.collect(),
            regions: status["regions"].as_object().unwrap().keys().cloned().collect(),
        }
    }

    fn node(&self, event: &Value) -> &str {
        &self.nodes[usize::try_from(event["node"].as_u64().unwrap()).unwrap()]
    }

    fn region(&self, number: &Value) -> &str {
        &self.regions[usize::try_from(number.as_u64().unwrap()).unwrap()]
    }
}

fn told(journal: &[Value], names: &Names) -> BTreeMap<String, Vec<String>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in events(journal) {
        if let Some((whose, line)) = line(event, names) {
            told.entry(whose).or_default().push(line);
        }
    }
    told
}

/// What an event tells, and whose story that is; none for what may differ.
fn line(event: &Value, names: &Names) -> Option<(String, String)> {
    let kind = event["type"].as_str().unwrap();
    let of_run = |rest: String| Some(("run".to_owned(), format!("{kind} {rest}")));
    let of_region = |rest: String| Some((names.region(&event["region"]).to_owned(), format!("{kind} {rest}")));
    match kind {
        // Its number is a fence: a crash between taking the targets and writing it down takes them once more.
        "claimed" | "released" | "attentionNeeded" | "rollbackOverdue" => of_run(String::new()),
        "finished" => of_run(text(&event["ending"])),
        "rollbackDecided" => {
            let regions = event["regions"]
                .as_array()
                .unwrap()
                .iter()
                .map(|region| names.region(region));
            of_run(format!("{} {:?}", event["scope"], regions.collect::<Vec<_>>()))
        }
        "nodeStarted" | "converged" | "bakeEnded" | "nodePassed" | "nodeSkipped" | "nodeTolerated" | "nodeFailed" => {
            let node = names.node(event);
            let whose = node.split('/').nth(1).unwrap_or("run");
            Some((whose.to_owned(), format!("{kind} {node}")))
        }
        "regionObserved" => of_region(format!("{} {}", event["baseline"]["name"], event["candidate"]["name"])),
        "ordered" => of_region(event["state"].to_string()),
        "regionReverted" | "regionWithdrawn" => of_region(String::new()),
        // When, by whom and how often: readings, looks at orders under way, owners, what failed and was tried again.
        _ => None,
    }
}

/// An order with an older fence than one before it must not have been applied.
pub fn fences_rise(orders: &Value) {
    let mut last: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for order in orders
        .as_array()
        .unwrap()
        .iter()
        .filter(|order| order["outcome"] == "applied")
    {
        let part = |name: &str| order["fence"][name].as_u64().unwrap();
        let fence = (part("claim"), part("epoch"), part("seq"));
        let target = format!("{}/{}", order["app"], order["region"]);
        let before = last.insert(target, fence);
        assert!(
            before.is_none_or(|before| before < fence),
            "{before:?} came before {order}"
        );
    }
}

fn by_region(lines: &Value, shown: impl Fn(&Value) -> Option<String>) -> BTreeMap<String, Vec<String>> {
    let mut regions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let is_shift = |line: &Value| line["kind"] == "shift";
    for line in lines.as_array().unwrap() {
        let Some(text) = shown(line) else { continue };
        let known = regions.entry(line["region"].as_str().unwrap().to_owned()).or_default();
        // A new owner orders what was ordered again, under its own fence; a shift that repeats is one too many.
        if is_shift(line) || known.last() != Some(&text) {
            known.push(text);
        }
    }
    regions
}

fn world(regions: &Value) -> BTreeMap<String, String> {
    let version = |version: &Value| format!("{} {}", text(&version["version"]), text(&version["share"]));
    let region = |region: &Value| {
        let versions: Vec<String> = region["versions"].as_array().unwrap().iter().map(version).collect();
        (
            text(&region["region"]),
            format!("{} promoted, {versions:?} running", text(&region["promoted"])),
        )
    };
    regions.as_array().unwrap().iter().map(region).collect()
}

fn shown(value: &Value) -> String {
    value.to_string()
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a text, not {value}"))
        .to_owned()
}
