//! Stories of runs that wait for each other: locks and other workflows' ends, over a real store, with engines that die.
#![allow(clippy::unwrap_used, clippy::panic)]

use jiff::Timestamp;
use meridian_workflows::workflow::{CompletedGate, GateKind, LockGate, Policy, Workflow};

use super::engine::Scope;
use super::stories::{oskar, stage};
use crate::run::event::Event;
use crate::run::signal::Request;
use crate::run::story::{gate, secs, workflow};

/// A release of one region that takes the lock before its first traffic.
fn locked(region: &'static str) -> Workflow {
    let mut workflow = workflow(&[("all", &[region])], &["10%", "100%"]);
    let kind = GateKind::Lock(LockGate { name: "db".into() });
    workflow.gates.insert("db".into(), gate(kind));
    workflow.phases[0].stages[0].before.push("db".into());
    workflow
}

/// From when to when a run held the lock, by its own journal; a release that is asked for comes after the end.
fn held(events: &[Event]) -> Vec<(Timestamp, Timestamp)> {
    let instant = |taken: bool| {
        events.iter().filter_map(move |event| match event {
            Event::LockTaken { at, .. } if taken => Some(*at),
            Event::LockDropped { at, .. } if !taken => Some(*at),
            _ => None,
        })
    };
    instant(true).zip(instant(false)).collect()
}

#[tokio::test]
async fn runs_that_want_one_lock_go_one_after_another_though_an_engine_dies() {
    let stage = stage();
    let mut runs = Vec::new();
    for region in ["a", "b", "c", "d"] {
        runs.push(stage.start(locked(region)).await);
    }
    let first = stage.engine("first", Scope::Everything);
    stage.live(secs(25)).await;
    // It dies with the lock in somebody's hand; the leases run out, and another takes everything over.
    drop(first);
    let _second = stage.engine("second", Scope::Everything);
    let mut holds = Vec::new();
    for run in &runs {
        stage
            .until("done", async || stage.store.head(run).await.unwrap().is_done)
            .await;
        assert_eq!(stage.outcome(run).await, "promoted");
        let of_run = held(&stage.events(run).await);
        assert_eq!(of_run.len(), 1, "{run} takes the lock once and gives it back once");
        holds.extend(of_run);
        assert!(stage.service.prove(run).await.unwrap().holds());
    }
    holds.sort();
    for pair in holds.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two runs held one lock: {holds:?}");
    }
}

#[tokio::test]
async fn a_run_that_ends_without_its_close_gives_the_lock_to_the_next() {
    let stage = stage();
    let (one, two) = (stage.start(locked("a")).await, stage.start(locked("b")).await);
    let _engine = stage.engine("one", Scope::Everything);
    stage.until("traffic", async || stage.script.share("a") == "10%").await;
    stage.live(secs(8)).await;
    let waits = stage.service.status(&two).await.unwrap().run;
    let behind = waits.lock("db").and_then(|lock| lock.waits.clone()).unwrap();
    assert_eq!((behind.by.as_str(), behind.ahead), (one.0.as_str(), 1));
    let ask = Request::Abort { reason: None };
    stage.service.post(&one, ask, oskar()).await.unwrap();
    stage
        .until("done", async || stage.store.head(&two).await.unwrap().is_done)
        .await;
    assert_eq!(stage.outcome(&one).await, "rolled-back");
    assert_eq!(stage.outcome(&two).await, "promoted");
}

/// A release that waits for the migration.
fn after_migration() -> Workflow {
    let mut workflow = workflow(&[("all", &["west"])], &["100%"]);
    let kind = GateKind::Completed(CompletedGate {
        workflow: "migration".into(),
        same_release: false,
        inputs: [("schema".to_owned(), "42".to_owned())].into(),
        within: None,
    });
    let mut migrated = gate(kind);
    migrated.on_fail = Policy::Hold;
    workflow.gates.insert("migrated".into(), migrated);
    workflow.phases[0].before.push("migrated".into());
    workflow
}

fn migration(schema: &str) -> Workflow {
    let mut migration = workflow(&[("all", &["db"])], &["100%"]);
    migration.name = "migration".into();
    migration.inputs.insert("schema".into(), schema.into());
    migration
}

#[tokio::test]
async fn a_run_waits_for_the_success_of_the_workflow_that_it_names() {
    let stage = stage();
    let run = stage.start(after_migration()).await;
    let _engine = stage.engine("one", Scope::Everything);
    stage.live(secs(10)).await;
    assert_eq!(
        stage.outcome(&run).await,
        "held",
        "no run of that workflow is no success"
    );
    // Another input is another migration.
    let other = stage.start(migration("41")).await;
    stage
        .until("done", async || stage.store.head(&other).await.unwrap().is_done)
        .await;
    stage.live(secs(5)).await;
    assert_eq!(stage.outcome(&run).await, "held");
    let meant = stage.start(migration("42")).await;
    stage
        .until("done", async || stage.store.head(&run).await.unwrap().is_done)
        .await;
    assert_eq!(stage.outcome(&meant).await, "promoted");
    assert_eq!(stage.outcome(&run).await, "promoted");
    assert!(stage.service.prove(&run).await.unwrap().holds());
}
