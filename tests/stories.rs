//! What people live through with a release, told by real processes, real traffic and real queries.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::crashes::{METRICS, node_number};
use crate::essence::Essence;
use crate::machine::{Machine, Process, events, until};

/// Three regions, the last of which may serve a bad version; its second half waits for a person where `APPROVAL` says so.
const RELEASE: &str = r"
apiVersion: meridian/v1
kind: Workflow
metadata: {name: shop}
spec:
  imports: [./metrics.yaml]
  release: registry.example.com/shop:v2
  defaults:
    sandbox: {serving: v1, requestsPerSecond: 40, instances: 1}
  regions:
    eu-north-1: {sandbox: {}}
    eu-west-1: {sandbox: {}}
    us-east-1: {sandbox: {faults: {v2: {errors: ERRORS}}}}
  phases:
    - {name: first, regions: [eu-north-1, eu-west-1], strategy: quick, maxParallel: 2}
    - {name: rest, regions: [us-east-1], strategy: quick}
  strategies:
    quick:
      watch: [errors]
      stages:
        - {traffic: 20%, bake: 1s}
        - {traffic: 100%, bake: 1sAPPROVAL}
  gates:
    errors:
      metric:
        query: errors
        minSamples: 5
        rollbackWhen: candidate > 2 * baseline + percent(5)
      every: 1s
      for: 1s
GATES
  rollback: {scope: run, deadline: 60s, drain: 500ms}
";

fn healthy() -> String {
    RELEASE
        .replace("ERRORS", "0%")
        .replace("APPROVAL", "")
        .replace("GATES\n", "")
}

fn bad_in_the_last_region() -> String {
    healthy().replace("errors: 0%", "errors: 60%")
}

/// A person has to agree before everybody is served.
fn guarded() -> String {
    let gate = "    go: {approval: {from: [sre], expires: 1h}}\n";
    RELEASE
        .replace("ERRORS", "0%")
        .replace("APPROVAL", ", before: [go]")
        .replace("GATES\n", gate)
}

/// Starts a release and drives it in a process of its own.
fn driven(machine: &Machine, workflow: &str) -> Process {
    machine.write("metrics.yaml", METRICS);
    let file = machine.write("shop.yaml", workflow);
    machine.spawn(&["run", &file])
}

const RUN: &str = "shop-0001";

/// Waits until the run exists: before that there is nothing to ask about.
fn begun(process: &mut Process) {
    process.until_said(&format!("Run {RUN}"));
}

fn started(machine: &Machine, node: &str) {
    let number = node_number(machine, RUN, node);
    machine.until_event(RUN, node, |event| {
        event["type"] == "nodeStarted" && event["node"] == number
    });
}

fn outcome(machine: &Machine) -> String {
    machine.json(&["status", RUN])["outcome"].as_str().unwrap().to_owned()
}

/// What each version of each region serves.
fn shares(machine: &Machine) -> BTreeMap<String, String> {
    let regions = machine.sandbox("/regions");
    let share = |version: &Value| {
        format!(
            "{} {}",
            version["version"].as_str().unwrap(),
            version["share"].as_str().unwrap()
        )
    };
    let region = |region: &Value| {
        let versions: Vec<String> = region["versions"].as_array().unwrap().iter().map(share).collect();
        (region["region"].as_str().unwrap().to_owned(), versions.join(", "))
    };
    regions.as_array().unwrap().iter().map(region).collect()
}

fn everywhere(serves: &str) -> BTreeMap<String, String> {
    ["eu-north-1", "eu-west-1", "us-east-1"]
        .map(|region| (region.to_owned(), serves.to_owned()))
        .into()
}

#[test]
fn a_bad_version_is_caught_by_a_query_and_every_region_gets_its_old_version_back() {
    let machine = Machine::new();
    let release = driven(&machine, &bad_in_the_last_region()).end();
    assert_eq!(release.code, Some(1), "{release:#?}");
    assert_eq!(shares(&machine), everywhere("v1 100%"));
    let essence = Essence::of(&machine, RUN);
    assert_eq!(essence.outcome, "rolled-back");
    let last = |region: &str| essence.shifts[region].last().cloned();
    for region in ["eu-north-1", "eu-west-1", "us-east-1"] {
        assert_eq!(last(region).as_deref(), Some(r#"{"v1":"100%"}"#), "{region}");
    }
    assert!(
        !essence.orders["us-east-1"]
            .iter()
            .any(|order| order.contains(r#""share":"100%""#)),
        "{essence:#?}"
    );
    println!("{}", back_in(&machine));
}

/// From the reading that tips the verdict to no traffic on the candidate, region by region.
fn back_in(machine: &Machine) -> String {
    let at = |value: &Value| value["at"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let journal = machine.journal(RUN);
    let tips = |entry: &&Value| events(std::slice::from_ref(*entry)).any(|event| event["type"] == "rollbackDecided");
    let tipped = at(journal.iter().find(tips).expect("it was rolled back"));
    let shifts = machine.sandbox("/shifts");
    let mut last: BTreeMap<&str, &Value> = BTreeMap::new();
    for shift in shifts.as_array().unwrap() {
        last.insert(shift["region"].as_str().unwrap(), shift);
    }
    let took =
        |(region, shift): (&&str, &&Value)| format!("{region} {} ms", at(shift).duration_since(tipped).as_millis());
    let regions: Vec<String> = last.iter().map(took).collect();
    format!(
        "from the reading that tips the verdict to share 0: {}",
        regions.join(", ")
    )
}

#[test]
fn people_approve_pause_and_abort_from_another_terminal() {
    let machine = Machine::new();
    let mut driver = driven(&machine, &guarded());
    begun(&mut driver);
    let stage = node_number(&machine, RUN, "stage:first/eu-north-1/100%");
    machine.until_event(RUN, "the question", |event| {
        event["type"] == "approvalAsked" && event["node"] == stage
    });
    let asked = |arguments: &[&str]| machine.ask(arguments);
    let node = ["--node", "stage:first/eu-north-1/100%"];
    let own = asked(&[&["approve", RUN, "go", "--role", "sre"][..], &node].concat());
    assert_eq!(own.code, Some(2), "who starts a release does not approve it: {own:#?}");
    let stranger = asked(&[&["approve", RUN, "go", "--as", "anna", "--role", "sales"][..], &node].concat());
    assert_eq!(stranger.code, Some(2), "{stranger:#?}");
    let yes = asked(&[&["approve", RUN, "go", "--as", "anna", "--role", "sre"][..], &node].concat());
    assert_eq!(yes.code, Some(0), "{yes:#?}");
    started(&machine, "stage:first/eu-north-1/100%");

    let paused = asked(&["pause", RUN, "--as", "anna", "--reason", "lunch"]);
    assert_eq!(paused.code, Some(0), "{paused:#?}");
    assert_eq!(outcome(&machine), "paused");
    // Resuming from here lifts the pause and follows the process that drives.
    let mut resumed = machine.spawn(&["resume", RUN, "--as", "anna"]);
    until("the pause is lifted", || (outcome(&machine) != "paused").then_some(()));
    resumed.until_said("Another process drives this run");

    let aborted = asked(&["abort", RUN, "--as", "anna", "--reason", "enough"]);
    assert_eq!(aborted.code, Some(0), "{aborted:#?}");
    let (driver, resumed) = (driver.end(), resumed.end());
    assert_eq!(
        (driver.code, resumed.code),
        (Some(1), Some(1)),
        "{driver:#?} {resumed:#?}"
    );
    assert_eq!(shares(&machine), everywhere("v1 100%"));
    let essence = Essence::of(&machine, RUN);
    assert_eq!(essence.outcome, "rolled-back");
    assert!(
        !essence.orders.contains_key("us-east-1"),
        "it was never opened: {essence:#?}"
    );
    let late = asked(&["approve", RUN, "go", "--as", "anna", "--role", "sre"]);
    assert_eq!(late.code, Some(2), "{late:#?}");
}

#[test]
fn who_leaves_politely_is_told_how_to_come_back_and_loses_nothing() {
    let machine = Machine::new();
    let mut process = driven(&machine, &healthy());
    begun(&mut process);
    for (signal, node) in [
        ("INT", "stage:first/eu-north-1/20%"),
        ("TERM", "stage:first/eu-north-1/100%"),
        ("HUP", "open:rest/us-east-1"),
    ] {
        started(&machine, node);
        process.signal(signal);
        let left = process.end();
        assert_eq!(left.code, Some(130), "{signal}: {left:#?}");
        assert!(left.stderr.contains(&format!("resume {RUN}")), "{signal}: {left:#?}");
        assert_eq!(outcome(&machine), "running");
        process = machine.spawn(&["resume", RUN]);
    }
    let last = process.end();
    assert_eq!(last.code, Some(0), "{last:#?}");
    // Each lease was handed back, so nobody had to wait for it to run out.
    assert!(!last.stderr.contains("Another process"), "{last:#?}");
    assert_eq!(shares(&machine), everywhere("v2 100%"));
    assert_eq!(Essence::of(&machine, RUN).outcome, "promoted");
}

#[test]
fn a_finished_release_is_rolled_back_later() {
    let machine = Machine::new();
    let release = driven(&machine, &healthy()).end();
    assert_eq!(release.code, Some(0), "{release:#?}");
    assert_eq!(shares(&machine), everywhere("v2 100%"));
    let back = machine.ask(&["rollback", RUN, "--as", "anna", "--reason", "customers complain"]);
    assert_eq!(back.code, Some(0), "{back:#?}");
    assert_eq!(shares(&machine), everywhere("v1 100%"));
    assert_eq!(Essence::of(&machine, RUN).outcome, "rolled-back");
    println!("{}", back_in(&machine));
}
