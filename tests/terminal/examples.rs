//! Every example validates, plans and simulates.

use super::{Place, repository};

/// The examples in the order in which a newcomer reads them, with inputs and what `run` would make of them.
const EXAMPLES: &[(&str, &[&str], Runs)] = &[
    ("01-three-regions", &[], Runs::Here),
    ("02-memory-leak", &[], Runs::Here),
    ("03-people-and-hours", &[], Runs::Here),
    ("04-payments-api", &["--input", "version=v3.2.0"], Runs::NotYet),
    ("05-three-clouds", &["--input", "version=v2"], Runs::Here),
    ("06-judged-by-evidence", &[], Runs::Here),
    ("07-waiting-for-others", &[], Runs::Here),
];

#[derive(Clone, Copy, PartialEq)]
enum Runs {
    Here,
    NotYet,
}

/// A Monday, so that windows of weekdays are open.
const MONDAY: &[&str] = &["--start", "2026-03-02T10:00:00Z"];

fn with<'a>(arguments: &[&'a str], more: &[&[&'a str]]) -> Vec<&'a str> {
    arguments
        .iter()
        .chain(more.iter().copied().flatten())
        .copied()
        .collect()
}

#[test]
fn the_list_has_every_numbered_example() {
    let files = std::fs::read_dir(repository("examples"))
        .unwrap()
        .map(|file| file.unwrap().file_name());
    let mut numbered: Vec<String> = files
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with(|first: char| first.is_ascii_digit()) && !name.ends_with(".scenarios.yaml"))
        .collect();
    numbered.sort();
    let listed: Vec<String> = EXAMPLES.iter().map(|(name, _, _)| format!("{name}.yaml")).collect();
    assert_eq!(numbered, listed);
}

#[test]
fn every_example_validates_plans_and_simulates() {
    let place = Place::new();
    for (name, inputs, runs) in EXAMPLES {
        let file = repository(&format!("examples/{name}.yaml"));
        let file = file.to_str().unwrap();
        let valid = place
            .run(&with(&["validate", file, "-o", "json"], &[inputs]))
            .fits("validate");
        assert_eq!(valid["ok"], true, "{name}: {valid:#}");
        let warnings = valid["diagnostics"].as_array().unwrap();
        assert!(
            warnings.iter().all(|warning| warning["code"] == "M080"),
            "{name}: {warnings:#?}"
        );
        assert_eq!(warnings.is_empty(), *runs == Runs::Here, "{name}");

        let plan = place
            .run(&with(&["plan", file, "-o", "json"], &[inputs, MONDAY]))
            .fits("plan");
        assert!(plan["earliestFinish"].is_string(), "{name}");
        for form in ["text", "mermaid", "dot"] {
            let drawn = place.run(&with(&["plan", file, "-o", form], &[inputs, MONDAY]));
            assert!(drawn.code() == 0 && drawn.out().lines().count() > 5, "{name} as {form}");
        }
        if *runs == Runs::Here {
            let said = place.run(&with(&["simulate", file], &[inputs, MONDAY]));
            assert_eq!(said.code(), 0, "{name}: {}{}", said.out(), said.err());
            assert!(
                said.out().contains("promoted: every region serves the candidate"),
                "{name}"
            );
        }
    }
}

#[test]
fn run_refuses_what_this_build_does_not_have() {
    let place = Place::new();
    let file = repository("examples/04-payments-api.yaml");
    let said = place.run(&["run", file.to_str().unwrap(), "--input", "version=v3.2.0"]);
    assert_eq!((said.code(), said.out().as_str()), (2, ""));
    assert!(
        said.err().contains("cannot run yet: ") && said.err().contains("`slack`"),
        "{}",
        said.err()
    );
    assert!(!place.path().join(".meridian").exists());
}

#[test]
fn the_starter_simulates_too() {
    let place = Place::new();
    place.run(&["init"]);
    let said = place.run(&with(&["simulate", "release.yaml"], &[MONDAY]));
    assert_eq!(said.code(), 0, "{}", said.err());
}

#[test]
fn a_simulated_breach_rolls_back_and_exits_with_one() {
    let place = Place::new();
    let file = repository("examples/01-three-regions.yaml");
    let said = place.run(&with(
        &["simulate", file.to_str().unwrap(), "--fail", "us-east-1/50%"],
        &[MONDAY],
    ));
    assert_eq!(said.code(), 1, "{}", said.err());
    let out = said.out();
    assert!(out.contains("rolls back the run"), "{out}");
    // Finished regions go back too: the scope is the run.
    assert!(
        out.contains("eu-north-1") && out.trim_end().ends_with("of virtual time"),
        "{out}"
    );
    let again = place.run(&with(
        &["simulate", file.to_str().unwrap(), "--fail", "us-east-1/50%"],
        &[MONDAY],
    ));
    assert_eq!(out, again.out(), "the same arguments give the same timeline");
}

#[test]
fn a_stage_that_does_not_exist_is_refused_with_those_that_do() {
    let place = Place::new();
    let file = repository("examples/01-three-regions.yaml");
    let said = place.run(&["simulate", file.to_str().unwrap(), "--fail", "us-east-1/55%"]);
    assert_eq!(said.code(), 2);
    assert!(said.err().contains("10%, 50%, 100%"), "{}", said.err());
}

#[test]
fn a_rejection_after_a_finished_region_needs_attention_and_says_what_to_do() {
    let place = Place::new();
    let file = repository("examples/03-people-and-hours.yaml");
    let arguments = ["simulate", file.to_str().unwrap(), "--reject", "sre-approval"];
    let said = place.run(&with(&arguments, &[MONDAY]));
    assert_eq!(said.code(), 3, "{}", said.out());
    assert!(said.out().contains("rejected"), "{}", said.out());
    assert!(said.out().contains("    meridian rollback "), "{}", said.out());
}

#[test]
fn nobody_answers_an_approval_and_the_end_says_who_could() {
    let place = Place::new();
    let text = std::fs::read_to_string(repository("examples/03-people-and-hours.yaml")).unwrap();
    std::fs::copy(repository("examples/sandbox.yaml"), place.path().join("sandbox.yaml")).unwrap();
    place.write("patient.yaml", &text.replace(", expires: 24h, onExpiry: rollback", ""));
    let said = place.run(&with(&["simulate", "patient.yaml", "--no-answers"], &[MONDAY]));
    assert!(said.out().contains("it waits for a person"), "{}", said.out());
    assert!(said.out().contains("sre may answer"), "{}", said.out());
}
