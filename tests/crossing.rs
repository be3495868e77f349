//! The example that spans three clouds, run against their doubles: a release that arrives in all of them, and one that is taken back from
//! all of them because the last one fails.

mod world;

use serde_json::Value;

use crate::machine::events;
use world::World;

fn count(journal: &[Value], kind: &str) -> usize {
    events(journal).filter(|event| event["type"] == kind).count()
}

#[test]
fn a_release_arrives_in_three_clouds_one_after_the_other() {
    let world = World::new();
    let answer = world.release("v2");
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    assert_eq!(world.served(), ["v2", "v2", "v2"], "{answer:#?}");
    assert!(world.is_tidy(), "{answer:#?}");
}

#[test]
fn a_journey_that_fails_in_the_last_cloud_takes_all_three_back() {
    let world = World::new();
    world.break_journeys_in_the_last_cloud();
    let answer = world.release("v2");
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    assert_eq!(world.served(), ["v1", "v1", "v1"], "{answer:#?}");
    assert!(world.is_tidy(), "{answer:#?}");
    let journal = world.journal();
    assert_eq!(count(&journal, "rollbackDecided"), 1, "{answer:#?}");
    // Two of the three were done when the third failed.
    assert_eq!(count(&journal, "regionReverted"), 3, "{answer:#?}");
    assert!(
        answer.stdout.contains("pinned to the candidate may stay with it until"),
        "{answer:#?}"
    );
}
