//! Scenarios through the decoder, beside the workflows that they play.

use crate::decode::Reading;
use crate::decode::testing::read_among;
use crate::diagnostic::Code;
use crate::diagnostic::render::{Colour, render_all};
use crate::duration::Duration;
use crate::scenario::{
    Act, Call, Course, Curve, Deed, Moment, Outcome, Scenario, Spot, Trouble, UpsetKind, Whereabouts,
};
use crate::share::Share;

const DESIGN: &str = include_str!("../examples/payments-api.yaml");
const PLATFORM: &str = include_str!("../examples/platform.yaml");
const HOLIDAYS: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n";

const FILES: [(&str, &str); 3] = [
    ("payments-api.yaml", DESIGN),
    ("platform.yaml", PLATFORM),
    ("holidays.ics", HOLIDAYS),
];

/// A scenario of the design's workflow, with `rest` at the level of `spec`.
fn reading(rest: &str) -> Reading {
    let text = format!(
        "apiVersion: meridian/v1\nkind: Scenario\nmetadata: {{name: a}}\nspec:\n  workflow: ./payments-api.yaml\n  inputs: {{version: v3.2.0}}\n  start: 2026-03-02T10:00:00Z\n{rest}"
    );
    read_among(text.as_bytes(), &FILES, &[], false)
}

fn scenario(rest: &str) -> Scenario {
    let mut reading = reading(rest);
    assert!(
        !reading.has_errors(),
        "{}",
        render_all(&reading.diagnostics, Colour::Plain)
    );
    reading.scenarios.remove(0)
}

fn problems(rest: &str) -> Vec<(&'static str, String)> {
    let reading = reading(rest);
    assert!(reading.scenarios.is_empty(), "what has errors gives no scenario");
    let errors = reading.diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
    errors
        .map(|diagnostic| (diagnostic.code.id(), diagnostic.message.clone()))
        .collect()
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

#[test]
fn the_example_of_the_design_means_what_it_says() {
    let reading = read_among(PLATFORM.as_bytes(), &FILES, &[], false);
    assert!(
        !reading.has_errors(),
        "{}",
        render_all(&reading.diagnostics, Colour::Plain)
    );
    let scenario = &reading.scenarios[0];
    let plan = &scenario.plan;
    assert_eq!(
        (scenario.name.as_str(), scenario.file.as_str()),
        ("a-leak-is-caught", "payments-api.yaml")
    );
    assert_eq!(plan.workflow().inputs["version"], "v3.2.0");
    assert_eq!(scenario.seed, 1);
    // This build does not know the metric's unit yet: the sizes are bytes by their own suffix.
    let mebi = 1_048_576.0;
    assert_eq!(
        scenario.world.metrics["memory"],
        [Course {
            candidate: Some(Curve::Ramp {
                from: 380.0 * mebi,
                by: 50.0 * mebi,
                per: minutes(15),
                until: None
            }),
            baseline: Some(Curve::Constant(Some(350.0 * mebi))),
            ..Course::default()
        }]
    );
    let approval = plan.find_gate("sre-approval").unwrap();
    assert_eq!(
        scenario.world.people,
        [Act {
            by: "on-call".into(),
            roles: None,
            deed: Deed::Approve(approval),
            moment: Moment::Asked {
                node: None,
                after: minutes(20)
            },
            reason: None,
        }]
    );
    let fault = &scenario.world.faults[0];
    let stage = plan.find("stage:smallest/us-west-2/50%").unwrap();
    assert_eq!((fault.at, fault.call), (Some(Spot::Stage(stage)), Call::Ensure));
    assert!(matches!(fault.trouble, Trouble::Stuck { .. }));
    let expect = &scenario.expect;
    assert_eq!(expect.outcome, Outcome::RolledBack);
    assert!(expect.cause.as_ref().unwrap().begins("gate/memory-leak: at this pace"));
    assert_eq!(expect.within, Some(minutes(120)));
    let east = plan.find_region("us-east-1").unwrap();
    assert_eq!(expect.never_above[&east], Share::ZERO);
}

#[test]
fn a_curve_is_a_quantity_a_shape_or_pieces_of_them() {
    let scenario = scenario(
        "  world:\n    metrics:\n      error-rate:\n        - candidate: [0.1%, {after: 20m, constant: none}, {after: 30m, noise: {around: {step: {from: 0.1%, to: 2%, after: 5m}}, spread: 0.05%}}]\n          samples: {flapping: {between: 500, and: 3, every: 10m}}\n        - {regions: [us-west-2], from: 25%, candidate: nan}\n  expect: {outcome: promoted}\n",
    );
    let rows = &scenario.world.metrics["error-rate"];
    let Some(Curve::Pieces(pieces)) = &rows[0].candidate else {
        panic!("{rows:?}")
    };
    assert_eq!(
        pieces.iter().map(|(begins, _)| *begins).collect::<Vec<_>>(),
        [minutes(0), minutes(20), minutes(30)]
    );
    assert_eq!(pieces[1].1, Curve::Constant(None));
    assert!(matches!(&pieces[2].1, Curve::Noise { spread, .. } if (*spread - 0.0005).abs() < 1e-9));
    assert!(matches!(&rows[0].samples, Some(Curve::Flapping { and, .. }) if *and == 3.0));
    assert!(matches!(&rows[1].candidate, Some(Curve::Constant(Some(value))) if value.is_nan()));
    assert_eq!(rows[1].reach.from, Some(Share::percent(25).unwrap()));
}

#[test]
fn people_faults_and_the_clock_have_their_moments() {
    let scenario = scenario(
        "  world:\n    people:\n      - {pause: a look, by: ben, roles: [sre], at: 2h, freezeBake: true}\n      - {skip: us-west-2/25%, by: ben, reason: known noise, stage: us-west-2/25%, after: 5m}\n      - {approve: sre-approval, by: ana, stage: us-west-2/100%}\n    faults:\n      - {region: us-west-2, observe: {fails: 5m}}\n      - {region: us-west-2, at: rollback, ensure: {stuck: no quota}, for: 10m}\n      - {engine: crash, region: us-west-2, at: 25%, after: 3m}\n    clock: [{at: 3h, down: 20m}, {at: 4h, jump: 1h}]\n  expect: {outcome: rolled-back, cause: stuck/us-west-2/50%, at: us-west-2/50%}\n",
    );
    let world = &scenario.world;
    let quarter = scenario.plan.find("stage:smallest/us-west-2/25%").unwrap();
    let full = scenario.plan.find("stage:smallest/us-west-2/100%").unwrap();
    assert_eq!(world.people[0].deed, Deed::Pause { freeze_bake: true });
    assert_eq!(world.people[0].reason.as_deref(), Some("a look"));
    assert_eq!(
        world.people[1].moment,
        Moment::OfNode {
            node: quarter,
            after: minutes(5)
        }
    );
    let asked = Moment::Asked {
        node: Some(full),
        after: Duration::ZERO,
    };
    assert_eq!(world.people[2].moment, asked);
    assert_eq!(
        (&world.faults[0].trouble, world.faults[0].lasting),
        (&Trouble::Fails, Some(minutes(5)))
    );
    assert_eq!(
        (world.faults[1].at, world.faults[1].lasting),
        (Some(Spot::Rollback), Some(minutes(10)))
    );
    let kinds: Vec<UpsetKind> = world.upsets.iter().map(|upset| upset.kind).collect();
    assert_eq!(
        kinds,
        [
            UpsetKind::Crash,
            UpsetKind::Down(minutes(20)),
            UpsetKind::Jump(minutes(60))
        ]
    );
    let half = scenario.plan.find("stage:smallest/us-west-2/50%").unwrap();
    assert_eq!(scenario.expect.at, Some(Whereabouts::Node(half)));
    assert_eq!(scenario.expect.cause.unwrap().0, "stuck/stage:smallest/us-west-2/50%");
}

#[test]
fn every_problem_is_told_at_once_also_where_the_workflow_has_some() {
    let found = problems(
        "  world: {metrics: {memory: {candidat: 1Mi}}, peple: []}\n  expect: {outcome: promotd, at: us-west-3}\n",
    );
    let codes: Vec<&str> = found.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, ["M014", "M014", "M023", "M031"], "{found:#?}");
    let text = "apiVersion: meridian/v1\nkind: Scenario\nmetadata: {name: a}\nspec:\n  workflow: ./payments-api.yaml\n  start: now\n  expect: {outcome: promoted}\n";
    let reading = read_among(text.as_bytes(), &FILES, &[], false);
    let codes: Vec<Code> = reading.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    assert!(
        codes.contains(&Code::INPUT_MISSING) && codes.contains(&Code::DATE_TIME),
        "{codes:?}"
    );
    let missing = reading
        .diagnostics
        .iter()
        .find(|diagnostic| diagnostic.code == Code::INPUT_MISSING)
        .unwrap();
    assert_eq!(
        missing.hint.as_deref(),
        Some("give it a value under `inputs` of the scenario")
    );
}

#[test]
fn a_quantity_of_another_unit_is_refused() {
    let found = problems(
        "  world: {metrics: {error-rate: {candidate: {ramp: {from: 1Mi, by: 5, per: 1m, until: 1%}}}, p99: {candidate: 2}}}\n  expect: {outcome: promoted}\n",
    );
    assert_eq!(
        found,
        [
            ("M070", "`1Mi` is no quantity of a metric in ratios".to_owned()),
            ("M070", "`2` is no quantity of a metric in seconds".to_owned()),
        ]
    );
}

#[test]
fn a_scenario_beside_its_own_workflow_is_read_once_and_ends() {
    let text = "apiVersion: meridian/v1\nkind: Workflow\nmetadata: {name: w}\nspec:\n  release: r/a:v1\n  regions: {eu: {sandbox: {}}}\n  phases: [{name: all, regions: [eu], stages: [100%]}]\n---\napiVersion: meridian/v1\nkind: Scenario\nmetadata: {name: s}\nspec: {workflow: ./a.yaml, start: 2026-03-02T10:00:00Z, expect: {outcome: promoted}}\n";
    let reading = read_among(text.as_bytes(), &[("a.yaml", text)], &[], false);
    assert!(
        !reading.has_errors(),
        "{}",
        render_all(&reading.diagnostics, Colour::Plain)
    );
    assert!(reading.workflow.is_some() && reading.scenarios.len() == 1);
}

#[test]
fn every_example_of_the_page_is_one() {
    let page = include_str!("../../../../docs/scenarios.md");
    // The gates that the page speaks of and the design does not have.
    let design = DESIGN
        .replacen(
            "    office-hours: {window",
            "    smoke-test: {http: {url: 'http://a.example.com'}}\n    change-freeze-api: {http: {url: 'http://b.example.com'}}\n    load-test: {signal: {accept: payload.p99 < 300.0}}\n    office-hours: {window",
            1,
        )
        .replace("before: [office-hours]", "before: [office-hours, smoke-test, change-freeze-api, load-test]");
    let files = [("payments-api.yaml", design.as_str()), FILES[1], FILES[2]];
    let mut seen = 0;
    for block in page.split("```yaml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        let indented: String = text.lines().map(|line| format!("  {line}\n")).collect();
        let head = "apiVersion: meridian/v1\nkind: Scenario\nmetadata: {name: a}\nspec:\n  workflow: ./payments-api.yaml\n  inputs: {version: v3.2.0}\n  start: 2026-03-02T10:00:00Z\n";
        let text = match text.split(':').next() {
            Some("apiVersion") => text.to_owned(),
            Some("expect") => format!("{head}{indented}"),
            _ => format!("{head}{indented}  expect: {{outcome: promoted}}\n"),
        };
        let reading = read_among(text.as_bytes(), &files, &[], false);
        assert!(
            !reading.has_errors(),
            "{text}\n{}",
            render_all(&reading.diagnostics, Colour::Plain)
        );
        assert_eq!(reading.scenarios.len(), 1);
        seen += 1;
    }
    assert!(seen >= 5);
}
