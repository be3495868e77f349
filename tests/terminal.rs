//! The command line as people and scripts meet it: the built binary, its streams and its exit codes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

mod evidence;
mod examples;
mod provider;
mod rollout;
mod scenarios;

/// A state directory of its own, and `meridian` in it.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        Place {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("TZ", "UTC")
            .env("USER", "tester")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        Said(self.command(arguments).output().unwrap())
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }
}

impl Drop for Place {
    /// A sandbox that a run has started is this test's to stop.
    fn drop(&mut self) {
        if self.path().join(".meridian/sandbox").exists() {
            let _ = self.command(&["sandbox", "--stop"]).output();
        }
    }
}

/// What a process said.
pub struct Said(pub Output);

impl Said {
    pub fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    pub fn code(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out()).unwrap_or_else(|error| panic!("{error}: {}{}", self.out(), self.err()))
    }

    /// Held against a schema of the documentation.
    pub fn fits(&self, schema: &str) -> Value {
        let json = self.json();
        fits(&json, schema);
        json
    }
}

pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn fits(json: &Value, schema: &str) {
    let file = repository(&format!("docs/schemas/{schema}.schema.json"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<String> = validator
        .iter_errors(json)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{problems:#?}\n{json:#}");
}

#[test]
fn init_writes_a_workflow_that_validates_and_never_overwrites() {
    let place = Place::new();
    let written = place.run(&["init"]);
    assert_eq!((written.code(), written.out().as_str()), (0, ""));
    let valid = place.run(&["validate", "release.yaml"]);
    assert_eq!(
        (valid.code(), valid.out().as_str(), valid.err().as_str()),
        (0, "release.yaml: valid\n", "")
    );
    let before = std::fs::read_to_string(place.path().join("release.yaml")).unwrap();
    let again = place.run(&["init"]);
    assert_eq!(again.code(), 2);
    assert!(again.err().contains("exists already"), "{}", again.err());
    assert_eq!(
        std::fs::read_to_string(place.path().join("release.yaml")).unwrap(),
        before
    );
}

#[test]
fn every_problem_of_a_file_is_told_with_its_place() {
    let place = Place::new();
    place.run(&["init"]);
    let broken = std::fs::read_to_string(place.path().join("release.yaml")).unwrap();
    let broken = broken
        .replace("strategy: careful}", "strategy: carefull}")
        .replace("traffic: 10%", "traffic: 110%");
    place.write("release.yaml", &broken);
    let text = place.run(&["validate", "release.yaml"]);
    assert_eq!(
        (text.code(), text.out().as_str()),
        (2, "release.yaml: not valid, 3 errors\n")
    );
    assert!(text.err().contains("did you mean `careful`"), "{}", text.err());
    let json = place.run(&["validate", "release.yaml", "-o", "json"]).fits("validate");
    assert_eq!(json["ok"], false);
    assert_eq!(json["diagnostics"].as_array().unwrap().len(), 3);
    let run = place.run(&["run", "release.yaml"]);
    assert_eq!(run.code(), 2);
    assert!(
        !place.path().join(".meridian").exists(),
        "a file that is not valid starts nothing"
    );
}

#[test]
fn an_unknown_verb_is_wrong_use_with_a_suggestion() {
    let said = Place::new().run(&["simulat"]);
    assert_eq!((said.code(), said.out().as_str()), (2, ""));
    assert!(said.err().contains("simulate"), "{}", said.err());
}

#[test]
fn a_question_about_runs_creates_no_store() {
    let place = Place::new();
    for verb in ["status", "why", "journal", "watch", "replay"] {
        let said = place.run(&[verb, "api-0001"]);
        assert_eq!(said.code(), 2, "{verb}");
        assert!(said.err().contains("next: start one with"), "{verb}: {}", said.err());
    }
    assert_eq!(place.run(&["runs", "-o", "json"]).fits("runs"), serde_json::json!([]));
    assert!(!place.path().join(".meridian").exists());
}

#[test]
fn codes_are_explained_and_unknown_ones_suggested() {
    let place = Place::new();
    let list = place.run(&["explain"]).out();
    assert!(list.lines().count() > 10 && list.starts_with("M001"), "{list}");
    assert!(place.run(&["explain", "m007"]).out().starts_with("# M007: "));
    let unknown = place.run(&["explain", "M0007"]);
    assert_eq!(unknown.code(), 2);
    assert!(unknown.err().contains("M007"), "{}", unknown.err());
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let place = Place::new();
    let mut child = place.command(&["explain"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_schema_of_the_language_is_one_and_takes_the_examples_keys() {
    let schema = Place::new().run(&["schema"]).json();
    assert!(jsonschema::validator_for(&schema).is_ok());
    assert_eq!(schema["title"], "Meridian");
}
