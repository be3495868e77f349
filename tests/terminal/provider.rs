//! A provider put to the conformance suite by whoever runs it.

use super::{Place, repository};

/// The example's workflow with its cloud in the place's own directory.
fn edge() -> Place {
    let place = Place::new();
    std::fs::copy(repository("examples/exec/cloud.json"), place.path().join("cloud.json")).unwrap();
    let text = std::fs::read_to_string(repository("examples/exec/release.yaml")).unwrap();
    let provider = repository("examples/exec/provider.py");
    let text = text
        .replace("examples/exec/provider.py", provider.to_str().unwrap())
        .replace(
            "examples/exec/cloud.json, startSeconds: 2",
            "cloud.json, startSeconds: 0",
        )
        .replace("drain: 2s", "drain: 0s");
    place.write("release.yaml", &text);
    place
}

#[test]
fn a_provider_is_tried_on_its_real_target_and_leaves_it_as_it_was() {
    let place = edge();
    let tried = [
        "provider",
        "test",
        "release.yaml",
        "--region",
        "edge",
        "--yes",
        "--every",
        "10ms",
        "-o",
        "json",
    ];
    let report = place.run(&tried).fits("provider-test");
    let rows = report["rows"].as_array().unwrap();
    let of = |verdict: &str| rows.iter().filter(|row| row["verdict"] == verdict).count();
    assert_eq!(of("failed"), 0, "{report:#}");
    assert!(of("passed") >= 20, "{report:#}");
    let cloud = std::fs::read_to_string(place.path().join("cloud.json")).unwrap();
    let cloud: serde_json::Value = serde_json::from_str(&cloud).unwrap();
    assert_eq!(cloud["traffic"], serde_json::json!({"v1": 100}));
    let standing: Vec<_> = cloud["versions"].as_object().unwrap().keys().collect();
    assert_eq!(standing, ["v1"], "the candidate is gone");
}

#[test]
fn nothing_is_moved_that_nobody_agreed_to() {
    let place = edge();
    let before = std::fs::read_to_string(place.path().join("cloud.json")).unwrap();
    let said = place.run(&["provider", "test", "release.yaml", "--region", "edge"]);
    assert_eq!(said.0.status.code(), Some(2));
    let text = String::from_utf8_lossy(&said.0.stderr).into_owned();
    assert!(text.contains("moves real traffic") && text.contains("--yes"), "{text}");
    let other = place.run(&["provider", "test", "release.yaml", "--region", "nowhere", "--yes"]);
    assert_eq!(other.0.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&other.0.stderr).contains("edge"),
        "the regions are named"
    );
    assert_eq!(
        std::fs::read_to_string(place.path().join("cloud.json")).unwrap(),
        before
    );
}

#[test]
fn the_example_of_ones_own_cloud_validates_and_plans() {
    let place = edge();
    let valid = place.run(&["validate", "release.yaml", "-o", "json"]).fits("validate");
    assert_eq!(valid["ok"], true, "{valid:#}");
    let plan = place.run(&["plan", "release.yaml"]);
    assert_eq!(plan.0.status.code(), Some(0));
}
