//! Stories of gates that wait for what happens outside the run: posted signals, locks, other runs.

use meridian_workflows::workflow::{GateKind, Policy, SignalGate, Workflow};
use serde_json::json;

use super::decide::Input;
use super::event::{Ending, Event};
use super::signal::{Person, Posted, Request, Signal};
use super::state::Life;
use super::stories::{approve, attention, finished, pause};
use super::story::{Story, gate, secs, submitted, watched, workflow};

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
