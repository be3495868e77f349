//! Whole files through the decoder.

use crate::decode::built_in;
use crate::decode::testing::{read_alone, read_among};
use crate::diagnostic::render::{Colour, render_all};
use crate::diagnostic::{Code, Diagnostic};
use crate::workflow::{Exposure, Policy, Release, Workflow};

const DESIGN: &str = include_str!("examples/payments-api.yaml");
const PLATFORM: &str = include_str!("examples/platform.yaml");
const HOLIDAYS: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n";

fn shown(diagnostics: &[Diagnostic]) -> String {
    render_all(diagnostics, Colour::Plain)
}

/// A workflow with one region and one phase, with `extra` keys at the level of `spec`.
fn small(extra: &str) -> String {
    format!(
        "apiVersion: meridian/v1\nkind: Workflow\nmetadata: {{name: small}}\nspec:\n  release: r/a:v1\n  regions: {{eu: {{sandbox: {{}}}}}}\n{extra}"
    )
}

fn workflow(text: &str) -> Workflow {
    let reading = read_alone(text);
    reading
        .workflow
        .unwrap_or_else(|| panic!("{}", shown(&reading.diagnostics)))
}

#[test]
fn the_example_of_the_design_validates_word_for_word() {
    let files = [("platform.yaml", PLATFORM), ("holidays.ics", HOLIDAYS)];
    let reading = read_among(DESIGN.as_bytes(), &files, &[], false);
    let other: Vec<_> = reading
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.code != Code::NOT_YET)
        .cloned()
        .collect();
    assert_eq!(other, [], "{}", shown(&other));
    let workflow = reading.workflow.unwrap();
    assert_eq!(
        workflow.regions["us-west-2"].settings["namespace"], "payments",
        "defaults are merged"
    );
    let medium = &workflow.phases[2];
    assert_eq!(medium.needs, ["smallest"]);
    assert_eq!(medium.stages.len(), 4);
    assert_eq!(medium.stages[1].watch, ["error-rate", "p99-latency", "memory-leak"]);
    assert_eq!(medium.stages[3].before, ["sre-approval"]);
    assert_eq!(workflow.phases[0].stages[0].watch, ["error-rate", "p99-latency"]);
    let is_later = |kind: &str| workflow.not_available_yet.iter().any(|feature| feature.contains(kind));
    assert!(is_later("slack") && !is_later("trend") && !is_later("budget"));
    // The Library's file holds a Scenario, which plays the workflow.
    let files = [
        ("payments-api.yaml", DESIGN),
        ("platform.yaml", PLATFORM),
        ("holidays.ics", HOLIDAYS),
    ];
    let library = read_among(PLATFORM.as_bytes(), &files, &[], false);
    assert_eq!(library.scenarios.len(), 1);
    assert!(
        library
            .diagnostics
            .iter()
            .all(|diagnostic| diagnostic.code == Code::NOT_YET),
        "{}",
        shown(&library.diagnostics)
    );
}

#[test]
fn a_missing_calendar_file_is_shown_at_its_name() {
    let reading = read_among(DESIGN.as_bytes(), &[("platform.yaml", PLATFORM)], &[], false);
    let missing: Vec<_> = reading
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.code == Code::FILE)
        .collect();
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].place.text(), "./holidays.ics");
    assert!(reading.workflow.is_none());
}

#[test]
fn every_built_in_file_is_sound() {
    for (name, text) in built_in::FILES {
        let reading = read_alone(text);
        // A built-in name read as an author's own collides with itself, and cannot be written by one; nothing else may be wrong.
        let wrong: Vec<_> = reading
            .diagnostics
            .iter()
            .filter(|d| {
                let is_name = [Code::DEFINED_TWICE, Code::NAME].contains(&d.code);
                let is_expected = is_name || (d.code == Code::UNKNOWN_SOURCE && name.ends_with("metrics.yaml"));
                !is_expected
            })
            .cloned()
            .collect();
        assert!(wrong.is_empty(), "{name}: {}", shown(&wrong));
    }
}

#[test]
fn presets_have_the_ladders_of_the_requirements() {
    let ladder = |strategy: &str| -> Vec<String> {
        let workflow = workflow(&small(&format!(
            "  phases: [{{name: all, regions: [eu], strategy: {strategy}}}]\n"
        )));
        let stages = &workflow.phases[0].stages;
        stages
            .iter()
            .map(|stage| match &stage.exposure {
                Exposure::Traffic(share) => format!("{share}/{}", stage.bake),
                Exposure::Shadow(share) => format!("shadow {share}/{}", stage.bake),
                Exposure::Audience(_) => "audience".to_owned(),
            })
            .collect()
    };
    assert_eq!(ladder("risk/low"), ["10%/15m", "50%/15m", "100%/15m"]);
    assert_eq!(
        ladder("risk/medium"),
        ["1%/30m", "5%/30m", "25%/30m", "50%/30m", "100%/30m"]
    );
    assert_eq!(
        ladder("risk/high"),
        ["1%/1h", "5%/1h", "10%/1h", "25%/1h", "50%/1h", "100%/1h"]
    );
    assert_eq!(
        ladder("risk/critical"),
        [
            "shadow 100%/4h",
            "1%/4h",
            "5%/4h",
            "10%/4h",
            "25%/4h",
            "50%/4h",
            "100%/4h"
        ]
    );
    assert_eq!(ladder("hotfix"), ["5%/5m", "50%/5m", "100%/0s"]);
    assert_eq!(ladder("blue-green").len(), 1);
    assert_eq!(ladder("rolling").len(), 1);
}

#[test]
fn inputs_fill_texts_and_stay_open_where_they_have_no_value() {
    let text =
        small("  inputs: {version: {pattern: '^v\\d+$'}}\n  phases: [{name: all, regions: [eu], stages: [100%]}]\n")
            .replace("r/a:v1", "r/a:${{ inputs.version }}");
    let open = read_alone(&text).workflow.unwrap();
    assert_eq!(open.release, Release::Image("r/a:${{ inputs.version }}".into()));
    let filled = read_among(text.as_bytes(), &[], &[("version", "v7")], true)
        .workflow
        .unwrap();
    assert_eq!(filled.release, Release::Image("r/a:v7".into()));
    assert_eq!(filled.release.version(), "v7");
    let codes = |inputs: &[(&str, &str)]| -> Vec<&str> {
        read_among(text.as_bytes(), &[], inputs, true)
            .diagnostics
            .iter()
            .filter(|d| d.is_error())
            .map(|d| d.code.id())
            .collect()
    };
    assert_eq!(codes(&[]), ["M045"]);
    assert_eq!(codes(&[("version", "7")]), ["M046"]);
    assert_eq!(codes(&[("version", "v7"), ("versoin", "v8")]), ["M047"]);
}

#[test]
fn gates_have_the_settings_and_defaults_that_the_language_promises() {
    let text = small(
        "  sources: {prom: {prometheus: {address: 'http://p:9090'}}}\n  gates:\n    errors:\n      metric: {query: error-rate, minSamples: 100, \
         holdWhen: candidate > 1.5 * baseline, rollbackWhen: candidate > percent(1)}\n      for: 2m\n    smoke: {http: {url: 'http://${{ region.name }}/health', status: 2xx, passWhen: body.ok == true}}\n    \
         yes: {approval: }\n  phases: [{name: all, regions: [eu], stages: [{traffic: 100%, before: [smoke]}], before: [yes], watch: [errors]}]\n",
    );
    let workflow = workflow(&text);
    let gate = &workflow.gates["errors"];
    assert_eq!(
        (gate.every.to_string(), gate.breached_for.to_string()),
        ("30s".to_owned(), "2m".to_owned())
    );
    assert_eq!((gate.on_no_data, gate.on_error), (Policy::Hold, Policy::Hold));
    insta::assert_json_snapshot!(workflow.gates["errors"].kind, @r#"
    {
      "metric": {
        "query": "error-rate",
        "minSamples": 100,
        "holdWhen": "candidate > 1.5 * baseline",
        "askWhen": null,
        "rollbackWhen": "candidate > percent(1)",
        "needsBaseline": true,
        "ignoresCandidate": false,
        "concurrentOnly": false
      }
    }
    "#);
    insta::assert_json_snapshot!(workflow.gates["yes"].kind, @r#"
    {
      "approval": {
        "count": 1,
        "from": [],
        "require": [],
        "expires": null,
        "onExpiry": "rollback",
        "starterMayApprove": false
      }
    }
    "#);
    assert_eq!(workflow.metrics.keys().collect::<Vec<_>>(), ["error-rate"]);
    assert!(
        workflow.metrics["error-rate"].query.contains("${{ arm.version }}"),
        "the arm is filled in at run time"
    );
}

#[test]
fn a_workflow_of_500_regions_is_read() {
    let names: Vec<String> = (0..500).map(|n| format!("region-{n}")).collect();
    let regions: String = names
        .iter()
        .map(|name| format!("    {name}: {{sandbox: {{}}, globalTraffic: 0.1%}}\n"))
        .collect();
    let phases: String = names
        .chunks(10)
        .enumerate()
        .map(|(n, chunk)| {
            format!(
                "    - {{name: p{n}, regions: [{}], strategy: risk/high, maxParallel: 5}}\n",
                chunk.join(", ")
            )
        })
        .collect();
    let text = format!(
        "apiVersion: meridian/v1\nkind: Workflow\nmetadata: {{name: large}}\nspec:\n  release: r/a:v1\n  regions:\n{regions}  phases:\n{phases}"
    );
    assert_eq!(workflow(&text).regions.len(), 500);
}
