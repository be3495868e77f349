//! Stories of gates that wait for what happens outside the run: posted signals, locks, other runs.

use std::collections::BTreeMap;

use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::{CompletedGate, GateKind, LockGate, Policy, Scope, SignalGate, Workflow};
use serde_json::json;

use super::decide::Input;
use super::effect::{Ask, Outcome, Progress};
use super::event::{Ending, Event};
use super::reading::OtherRun;
use super::signal::{Person, Posted, Request, Signal, Skip};
use super::state::Life;
use super::stories::{approve, attention, finished, pause};
use super::story::{Story, approval, gate, secs, submitted, watched, workflow};
use super::wanted::wanted;

const STAGE: &str = "stage:only/west/100%";

fn signal(accept: Option<&str>, on_expiry: Policy) -> GateKind {
    GateKind::Signal(SignalGate {
        name: "load-test-done".into(),
        accept: accept.map(str::to_owned),
        expires: Some(secs(600)),
        on_expiry,
    })
}

/// A stage that begins once the load test has been reported.
fn waits(kind: GateKind, on_fail: Policy) -> Workflow {
    let mut workflow = workflow(&[("only", &["west"])], &["10%", "100%"]);
    let mut waits = gate(kind);
    waits.on_fail = on_fail;
    workflow.gates.insert("load-test".into(), waits);
    workflow.phases[0].stages[1].before.push("load-test".into());
    workflow
}

fn asked(accept: Option<&str>, on_expiry: Policy, on_fail: Policy) -> Story {
    let mut story = submitted(waits(signal(accept, on_expiry), on_fail));
    story.until("stage:only/west/10%", Life::Passed);
    story.live(secs(5));
    assert_eq!(story.life(STAGE), Life::Waiting);
    story
}

fn post(passed: Option<bool>, payload: Option<serde_json::Value>) -> Request {
    Request::Signal(Posted {
        name: "load-test-done".into(),
        node: None,
        passed,
        payload,
    })
}

fn refusal(story: &mut Story, ask: Request) -> String {
    story.ask("ci", &[], ask).unwrap_err().0
}

#[test]
fn a_post_opens_the_gate_that_waits_for_it() {
    let mut story = asked(None, Policy::Hold, Policy::Rollback);
    story.ask("ci", &[], post(Some(true), None)).unwrap();
    assert_eq!(story.life(STAGE), Life::Moving);
    story.live(secs(200));
    assert_eq!(finished(&story), Some(Ending::Promoted));
}

#[test]
fn a_post_of_failure_follows_the_gates_policy_and_a_better_one_recovers() {
    let mut story = asked(None, Policy::Hold, Policy::Rollback);
    story.ask("ci", &[], post(Some(false), None)).unwrap();
    story.live(secs(60));
    assert_eq!(finished(&story), Some(Ending::RolledBack));

    let mut story = asked(None, Policy::Hold, Policy::Hold);
    story.ask("ci", &[], post(Some(false), None)).unwrap();
    assert!(story.run.node(story.id(STAGE)).hold.is_some());
    // It has been posted, so nothing expires.
    story.live(secs(700));
    assert_eq!(story.life(STAGE), Life::Waiting);
    story.ask("ci", &[], post(Some(true), None)).unwrap();
    assert_eq!(story.life(STAGE), Life::Moving);
}

#[test]
fn a_post_that_comes_before_it_is_asked_for_is_refused_and_not_remembered() {
    let mut story = submitted(waits(signal(None, Policy::Hold), Policy::Rollback));
    story.until("stage:only/west/10%", Life::Baking);
    let why = refusal(&mut story, post(Some(true), None));
    assert_eq!(
        why,
        "nothing waits for the signal `load-test-done` yet: stage:only/west/100% will ask for it, and what is posted before \
         that does not count"
    );
    story.until("stage:only/west/10%", Life::Passed);
    story.live(secs(30));
    assert_eq!(story.life(STAGE), Life::Waiting);
    story.ask("ci", &[], post(Some(true), None)).unwrap();
    let why = refusal(&mut story, post(Some(true), None));
    assert_eq!(why, "nothing waits for the signal `load-test-done` any more");
    let other = Request::Signal(Posted {
        name: "smoke".into(),
        node: None,
        passed: Some(true),
        payload: None,
    });
    assert_eq!(
        refusal(&mut story, other),
        "no gate of this run waits for a signal `smoke`"
    );
}

#[test]
fn a_payload_decides_where_the_gate_says_how() {
    let accept = Some("payload.p99 < 300.0");
    let mut story = asked(accept, Policy::Hold, Policy::Hold);
    for (ask, said) in [
        (post(Some(true), None), "no payload was posted"),
        (post(None, Some(json!({"p95": 1}))), "no answer for this payload"),
        (
            post(None, Some(json!({"p99": "x".repeat(20_000)}))),
            "at most 16384 are kept",
        ),
    ] {
        let why = refusal(&mut story, ask);
        assert!(why.contains(said), "{why}");
    }
    story.ask("ci", &[], post(None, Some(json!({"p99": 400})))).unwrap();
    assert!(story.run.node(story.id(STAGE)).hold.is_some());
    story.ask("ci", &[], post(None, Some(json!({"p99": 200})))).unwrap();
    assert_eq!(story.life(STAGE), Life::Moving);
    // A sender who says that it failed is believed.
    let mut story = asked(accept, Policy::Hold, Policy::Hold);
    story
        .ask("ci", &[], post(Some(false), Some(json!({"p99": 200}))))
        .unwrap();
    assert_eq!(story.life(STAGE), Life::Waiting);
    // Without `accept` a payload alone says nothing.
    let mut story = asked(None, Policy::Hold, Policy::Hold);
    let why = refusal(&mut story, post(None, Some(json!({"p99": 200}))));
    assert!(
        why.contains("does not say whether `load-test` passed or failed"),
        "{why}"
    );
}

#[test]
fn silence_expires_and_is_never_a_pass() {
    let mut story = asked(None, Policy::Hold, Policy::Rollback);
    story.live(secs(600));
    assert!(story.run.node(story.id(STAGE)).hold.is_some());
    // Late is better than never, as long as the run waits.
    story.ask("ci", &[], post(Some(true), None)).unwrap();
    assert_eq!(story.life(STAGE), Life::Moving);

    let mut story = asked(None, Policy::Rollback, Policy::Rollback);
    story.live(secs(600));
    assert_eq!(finished(&story), Some(Ending::RolledBack));

    let mut story = asked(None, Policy::Ask, Policy::Rollback);
    story.live(secs(600));
    story.ask("bo", &[], approve()).unwrap();
    assert_eq!(story.life(STAGE), Life::Moving);

    let mut story = asked(None, Policy::Hold, Policy::Rollback);
    story.live(secs(600 + 3_700));
    assert!(attention(&story).is_some_and(|reason| reason.contains("nobody has posted")));
    // It is heard in needs attention too; a person lets the run go on.
    story.ask("ci", &[], post(Some(true), None)).unwrap();
    story.ask("bo", &[], Request::Resume).unwrap();
    story.live(secs(200));
    assert_eq!(finished(&story), Some(Ending::Promoted));
}

#[test]
fn a_pause_stops_the_expiry_and_keeps_what_is_posted() {
    let mut story = asked(None, Policy::Rollback, Policy::Rollback);
    story.ask("bo", &[], pause()).unwrap();
    story.live(secs(6_000));
    assert_eq!(story.life(STAGE), Life::Waiting);
    assert_eq!(finished(&story), None);
    story.ask("ci", &[], post(Some(true), None)).unwrap();
    assert_eq!(story.life(STAGE), Life::Waiting);
    story.ask("bo", &[], Request::Resume).unwrap();
    assert_eq!(story.life(STAGE), Life::Moving);
}

#[test]
fn the_same_post_twice_is_taken_once() {
    let mut story = asked(None, Policy::Hold, Policy::Hold);
    let signal = Signal {
        id: "build-7".into(),
        by: Person::unauthenticated("ci", Vec::new()),
        ask: post(Some(false), None),
    };
    assert!(!story.step(Input::Signal(signal.clone())).unwrap().is_empty());
    assert!(story.step(Input::Signal(signal)).unwrap().is_empty());
    let posts = story
        .events
        .iter()
        .filter(|event| matches!(event, Event::SignalPosted { .. }));
    assert_eq!(posts.count(), 1);
}

#[test]
fn a_new_attempt_asks_anew() {
    let mut workflow = watched(waits(signal(None, Policy::Hold), Policy::Hold));
    workflow.phases[0].stages[1].watch.clear();
    let mut story = submitted(workflow);
    story.until("stage:only/west/10%", Life::Passed);
    story.live(secs(2));
    story.ask("ci", &[], post(Some(false), None)).unwrap();
    story.ask("bo", &[], Request::Abort { reason: None }).unwrap();
    story.live(secs(60));
    assert_eq!(finished(&story), Some(Ending::RolledBack));
    let why = refusal(&mut story, post(Some(true), None));
    assert!(why.contains("the run has ended"), "{why}");
    let retry = Request::Retry {
        from_start: true,
        reason: None,
    };
    story.ask("bo", &[], retry).unwrap();
    story.until("stage:only/west/10%", Life::Passed);
    story.live(secs(30));
    assert_eq!(story.life(STAGE), Life::Waiting, "the old post is of the old attempt");
    story.ask("ci", &[], post(Some(true), None)).unwrap();
    assert_eq!(story.life(STAGE), Life::Moving);
}

#[test]
fn several_nodes_that_wait_for_one_signal_are_told_apart() {
    let mut workflow = workflow(&[("only", &["west", "east"])], &["100%"]);
    workflow.phases[0].max_parallel = 2;
    workflow
        .gates
        .insert("load-test".into(), gate(signal(None, Policy::Hold)));
    workflow.phases[0].stages[0].before.push("load-test".into());
    let mut story = submitted(workflow);
    story.live(secs(5));
    let why = refusal(&mut story, post(Some(true), None));
    assert!(
        why.contains("name one: stage:only/west/100%, stage:only/east/100%"),
        "{why}"
    );
    let one = Request::Signal(Posted {
        name: "load-test-done".into(),
        node: Some("stage:only/east/100%".into()),
        passed: Some(true),
        payload: None,
    });
    story.ask("ci", &[], one).unwrap();
    assert_eq!(story.life("stage:only/east/100%"), Life::Moving);
    assert_eq!(story.life(STAGE), Life::Waiting);
}

fn locked(phase: &[&str], stage: &[&str]) -> Workflow {
    let mut workflow = workflow(&[("small", &["west"]), ("large", &["east"])], &["10%", "100%"]);
    for name in phase.iter().chain(stage) {
        let kind = GateKind::Lock(LockGate {
            name: format!("{name}-lock"),
        });
        workflow.gates.insert((*name).to_owned(), gate(kind));
    }
    workflow.phases[0]
        .before
        .extend(phase.iter().map(|name| (*name).to_owned()));
    workflow.phases[0].stages[0]
        .before
        .extend(stage.iter().map(|name| (*name).to_owned()));
    workflow
}

fn locks(story: &Story) -> Vec<String> {
    let told = story.events.iter().filter_map(|event| match event {
        Event::LockTaken { lock, .. } => Some(format!("takes {lock}")),
        Event::LockDropped { lock, .. } => Some(format!("gives {lock}")),
        Event::NodeStarted { node, .. } | Event::NodePassed { node, .. } => {
            Some(story.run.plan().node(*node).key.clone()).filter(|key| key.starts_with("close") || key.contains("10%"))
        }
        _ => None,
    });
    told.collect()
}

#[test]
fn a_lock_is_held_from_its_stage_to_the_regions_close() {
    let mut story = submitted(locked(&[], &["db"]));
    story.locks.insert("db-lock".into(), "other-0007".into());
    story.live(secs(30));
    assert_eq!(story.life("stage:small/west/10%"), Life::Waiting);
    let waits = story.run.lock("db-lock").and_then(|lock| lock.waits.clone());
    assert_eq!(waits.map(|waits| waits.by), Some("other-0007".to_owned()));
    story.locks.clear();
    story.until("close:small/west", Life::Passed);
    assert_eq!(
        locks(&story)[..6],
        [
            "takes db-lock",
            "stage:small/west/10%",
            "stage:small/west/10%",
            "close:small/west",
            "close:small/west",
            "gives db-lock"
        ]
    );
    story.live(secs(200));
    assert_eq!(finished(&story), Some(Ending::Promoted));
    assert!(story.run.state().locks.is_empty());
}

#[test]
fn a_phases_lock_is_held_until_its_regions_have_closed() {
    let mut story = submitted(locked(&["db"], &[]));
    story.until("close:small/west", Life::Baking);
    assert!(story.run.lock("db-lock").is_some_and(|lock| lock.is_held()));
    story.until("close:small/west", Life::Passed);
    assert!(story.run.lock("db-lock").is_none());
}

#[test]
fn locks_are_asked_for_last_and_in_the_order_of_their_names() {
    let mut workflow = locked(&[], &["db", "cache"]);
    workflow
        .gates
        .insert("cab".into(), gate(GateKind::Approval(approval(1))));
    workflow.phases[0].stages[0].before.push("cab".into());
    let mut story = submitted(workflow);
    story.locks.insert("db-lock".into(), "other-0007".into());
    story.live(secs(60));
    assert!(story.run.state().locks.is_empty(), "people are still asked");
    story.ask("bo", &["sre"], approve()).unwrap();
    story.live(secs(60));
    assert_eq!(locks(&story)[..1], ["takes cache-lock"]);
    assert!(story.run.lock("db-lock").is_some_and(|lock| !lock.is_held()));
    // A pause lets others go first: nothing is kept that cannot be used.
    story.ask("bo", &[], pause()).unwrap();
    story.live(secs(1));
    assert!(story.run.state().locks.is_empty());
    story.locks.clear();
    story.ask("bo", &[], Request::Resume).unwrap();
    story.live(secs(200));
    assert_eq!(finished(&story), Some(Ending::Promoted));
}

#[test]
fn a_lock_is_kept_through_a_rollback_and_given_back_with_the_targets() {
    let mut story = submitted(watched(locked(&[], &["db"])));
    story.until("stage:small/west/100%", Life::Baking);
    story.error_rate = Some(1.0);
    story.progress.insert("west".into(), Progress::Moving { why: None });
    story.live(secs(20));
    assert!(story.run.lock("db-lock").is_some_and(|lock| lock.is_held()));
    story.progress.clear();
    story.live(secs(60));
    assert_eq!(finished(&story), Some(Ending::RolledBack));
    assert!(story.run.state().locks.is_empty());
}

#[test]
fn a_lock_is_kept_while_the_run_needs_attention() {
    let mut workflow = watched(locked(&[], &["db"]));
    workflow.rollback.scope = Scope::Stage;
    let mut story = submitted(workflow);
    story.until("stage:small/west/100%", Life::Baking);
    story.error_rate = Some(1.0);
    story.live(secs(100));
    assert!(attention(&story).is_some());
    assert!(story.run.lock("db-lock").is_some_and(|lock| lock.is_held()));
}

#[test]
fn an_answer_that_is_late_leaves_no_lock_behind() {
    let mut story = submitted(locked(&[], &["db"]));
    let lock = |story: &Story| {
        let effects = wanted(&story.run, story.now).effects;
        effects
            .into_iter()
            .find(|effect| matches!(effect.ask, Ask::Lock { .. }))
    };
    // Everything but the lock is answered.
    while lock(&story).is_none() {
        story.settle_once();
    }
    let asked = lock(&story).unwrap();
    // Nobody wants it any more; the question is out all the same.
    story.ask("bo", &[], pause()).unwrap();
    assert_eq!(lock(&story).map(|effect| effect.key), Some(asked.key));
    let outcome = Outcome::Locked { number: 3 };
    let key = asked.key;
    story.step(Input::Outcome { key, outcome }).unwrap();
    story.live(secs(1));
    assert!(story.has(|event| matches!(event, Event::LockReleased { .. })));
    assert!(story.run.state().locks.is_empty());
}

#[test]
fn a_lock_that_a_person_leaves_out_is_not_waited_for() {
    let mut story = submitted(locked(&[], &["db"]));
    story.locks.insert("db-lock".into(), "other-0007".into());
    story.live(secs(30));
    let skip = Request::Skip {
        what: Skip::Gate {
            gate: "db".into(),
            node: None,
        },
        reason: "the other run is stuck".into(),
    };
    story.ask("bo", &[], skip).unwrap();
    story.live(secs(1));
    assert!(story.run.state().locks.is_empty(), "its place in the queue is given up");
    story.live(secs(300));
    assert_eq!(finished(&story), Some(Ending::Promoted));
}

fn after_migration(within: Option<Duration>) -> Story {
    let mut workflow = workflow(&[("only", &["west"])], &["100%"]);
    let kind = GateKind::Completed(CompletedGate {
        workflow: "migration".into(),
        same_release: false,
        inputs: BTreeMap::new(),
        within,
    });
    workflow.gates.insert("migrated".into(), gate(kind));
    workflow.phases[0].before.push("migrated".into());
    submitted(workflow)
}

fn other(story: &Story, outcome: &str) -> Option<OtherRun> {
    Some(OtherRun {
        run: "migration-0007".into(),
        outcome: outcome.into(),
        at: story.now,
    })
}

#[test]
fn another_workflows_success_opens_the_gate_and_nothing_else_does() {
    let mut story = after_migration(None);
    story.live(secs(20));
    let phase = story.id("phase:only");
    assert!(story.run.node(phase).hold.is_some(), "no run at all is no data");
    for outcome in ["running", "paused", "needs-attention", "held"] {
        story.other = other(&story, outcome);
        story.live(secs(20));
        assert_eq!(story.life("phase:only"), Life::Waiting, "{outcome}");
        assert!(story.run.node(phase).hold.is_none(), "it is waited for: {outcome}");
    }
    story.other = other(&story, "promoted");
    story.live(secs(200));
    assert_eq!(finished(&story), Some(Ending::Promoted));
}

#[test]
fn another_workflows_rollback_fails_the_gate() {
    let mut story = after_migration(None);
    story.other = other(&story, "rolled-back");
    story.live(secs(20));
    assert_eq!(finished(&story), Some(Ending::RolledBack));
}

#[test]
fn a_success_that_is_too_old_is_no_data() {
    let mut story = after_migration(Some(secs(60)));
    story.other = other(&story, "promoted");
    story.now = secs(61).after(story.now);
    story.live(secs(20));
    assert!(story.run.node(story.id("phase:only")).hold.is_some());
    story.other = other(&story, "promoted");
    story.live(secs(200));
    assert_eq!(finished(&story), Some(Ending::Promoted));
}
