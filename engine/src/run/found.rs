//! Stories of what random worlds have found: each was not true once.

use meridian_workflows::workflow::{GateKind, Policy, Scope};

use super::decide::Input;
use super::effect::{Outcome, Place, Progress};
use super::event::{Ending, Event};
use super::signal::Request;
use super::state::{Life, RegionLife};
use super::stories::{approve, attention, finished, pause};
use super::story::{Story, approval, gate, secs, submitted, watched, workflow};
use super::wanted::wanted;

#[test]
fn a_gate_in_two_places_asks_the_same_people_twice() {
    let mut workflow = workflow(&[("only", &["west"])], &["100%"]);
    workflow
        .gates
        .insert("cab".into(), gate(GateKind::Approval(approval(1))));
    workflow.phases[0].stages[0].before.push("cab".into());
    workflow.phases[0].stages[0].after.push("cab".into());
    let mut story = submitted(workflow);
    story.live(secs(5));
    story.ask("bo", &["sre"], approve()).unwrap();
    story.until("stage:only/west/100%", Life::Judging);
    story.ask("bo", &["sre"], approve()).unwrap();
    assert_eq!(story.life("stage:only/west/100%"), Life::Passed);
}

#[test]
fn an_expired_approval_that_asks_is_answered_by_those_who_may_approve() {
    let mut workflow = workflow(&[("only", &["west"])], &["100%"]);
    let mut asks = approval(1);
    asks.on_expiry = Policy::Ask;
    let mut cab = gate(GateKind::Approval(asks));
    cab.breached_for = secs(10);
    workflow.gates.insert("cab".into(), cab);
    workflow.phases[0].before.push("cab".into());
    let mut story = submitted(workflow);
    story.live(secs(700));
    assert!(story.run.node(story.id("phase:only")).question.is_some());
    assert!(story.ask("eve", &["dev"], approve()).is_err());
    assert!(story.ask("ana", &["sre"], approve()).is_err(), "she started the run");
    story.ask("bo", &["sre"], approve()).unwrap();
    assert_eq!(story.life("phase:only"), Life::Passed);
}

#[test]
fn a_rollback_of_the_run_waits_for_what_a_tolerated_failure_had_sent_back() {
    let mut workflow = watched(workflow(&[("both", &["west", "east"])], &["100%"]));
    workflow.phases[0].max_failures = 1;
    workflow.phases[0].max_parallel = 2;
    let mut story = submitted(workflow);
    story.until("stage:both/west/100%", Life::Baking);
    story.progress.insert("west".into(), Progress::Moving { why: None });
    story.error_rate_in.insert("west".into(), 1.0);
    story.live(secs(2));
    assert_eq!(story.region_life("west"), RegionLife::Reverting);
    story.error_rate_in.insert("east".into(), 1.0);
    story.live(secs(100));
    assert_eq!(story.region_life("east"), RegionLife::RolledBack);
    assert_eq!(finished(&story), None);
    story.progress.clear();
    story.live(secs(60));
    assert_eq!(finished(&story), Some(Ending::RolledBack));
    assert_eq!(story.region_life("west"), RegionLife::RolledBack);
}

#[test]
fn what_was_taken_back_goes_forward_by_a_retry_and_not_by_a_resume() {
    let mut workflow = watched(workflow(&[("both", &["west", "east"])], &["10%", "100%"]));
    workflow.phases[0].max_parallel = 2;
    workflow.rollback.scope = Scope::Region;
    let mut story = submitted(workflow);
    story.until("stage:both/east/10%", Life::Baking);
    story.error_rate_in.insert("east".into(), 0.02);
    story.live(secs(3));
    story.error_rate_in.insert("west".into(), 1.0);
    story.live(secs(60));
    assert!(attention(&story).is_some());
    assert!(story.ask("bo", &[], Request::Resume).is_err());
    story.error_rate_in.clear();
    let retry = Request::Retry {
        from_start: false,
        reason: None,
    };
    story.ask("bo", &[], retry).unwrap();
    story.live(secs(600));
    assert_eq!(finished(&story), Some(Ending::Promoted));
}

#[test]
fn a_region_that_is_promoted_early_is_opened_first() {
    let mut story = submitted(workflow(&[("only", &["west"])], &["10%", "100%"]));
    story.progress.insert("west".into(), Progress::Moving { why: None });
    story.live(secs(5));
    let promote = Request::Promote {
        region: "west".into(),
        reason: "hotfix".into(),
    };
    story.ask("bo", &[], promote).unwrap();
    story.live(secs(60));
    assert_eq!(story.life("stage:only/west/100%"), Life::Waiting);
    story.progress.clear();
    story.live(secs(200));
    assert_eq!(finished(&story), Some(Ending::Promoted));
}

#[test]
fn a_stage_scope_ends_where_the_region_was_never_seen() {
    let mut workflow = workflow(&[("only", &["west"])], &["100%"]);
    workflow.rollback.scope = Scope::Stage;
    let mut story = submitted(workflow);
    let key = wanted(&story.run, story.now).effects[0].key;
    let outcome = Outcome::Claimed { claim: 1 };
    story.step(Input::Outcome { key, outcome }).unwrap();
    assert_eq!(story.region_life("west"), RegionLife::Open);
    // Nobody answers the look at the region until the opening's deadline.
    story.now = secs(3_600).after(story.now);
    story.step(Input::Tick).unwrap();
    assert_eq!(finished(&story), None, "a look may be on its way");
    let key = wanted(&story.run, story.now).effects[0].key;
    let outcome = Outcome::Failed {
        error: "timed out".into(),
        lasting: false,
        retry_after: None,
    };
    story.step(Input::Outcome { key, outcome }).unwrap();
    assert_eq!(finished(&story), Some(Ending::RolledBack));
}

/// A stage that shifts, and an engine that is gone for an hour; the shift may take five minutes.
fn back_after_an_outage(progress: Progress) -> Story {
    let mut story = submitted(workflow(&[("only", &["west"])], &["10%", "100%"]));
    while story.life("open:only/west") != Life::Passed {
        story.settle_once();
    }
    story.progress.insert("west".into(), progress);
    story.live(secs(20));
    assert_eq!(story.life("stage:only/west/10%"), Life::Moving);
    story.now = secs(3_600).after(story.now);
    story
        .step(Input::Own {
            owner: "another".into(),
            epoch: 2,
        })
        .unwrap();
    story
}

#[test]
fn a_deadline_that_passed_in_an_outage_waits_for_a_look_at_the_platform() {
    for progress in [Progress::Moving { why: None }, Progress::Stuck { why: "quota".into() }] {
        let mut story = back_after_an_outage(progress.clone());
        assert_eq!(story.life("stage:only/west/10%"), Life::Moving);
        // It has got there meanwhile.
        story.progress.clear();
        story.live(secs(300));
        assert_eq!(finished(&story), Some(Ending::Promoted), "{progress:?}");
    }
    // It has not: it has the time that was left when somebody looked last, for it may not even have heard of the order.
    let mut story = back_after_an_outage(Progress::Moving { why: None });
    let is_back = |story: &Story| story.has(|event| matches!(event, Event::RollbackDecided { .. }));
    story.live(secs(240));
    assert!(!is_back(&story));
    story.live(secs(60));
    assert!(is_back(&story));
}

#[test]
fn a_first_question_that_fails_after_an_outage_is_no_look() {
    let mut story = back_after_an_outage(Progress::Moving { why: None });
    let lost = |story: &mut Story| {
        let key = wanted(&story.run, story.now).effects[0].key;
        let outcome = Outcome::Failed {
            error: "connection refused".into(),
            lasting: false,
            retry_after: None,
        };
        story.step(Input::Outcome { key, outcome }).unwrap();
    };
    lost(&mut story);
    assert_eq!(story.life("stage:only/west/10%"), Life::Moving);
    for _ in 0..30 {
        let Some(wake) = wanted(&story.run, story.now)
            .wake
            .filter(|_| story.life("stage:only/west/10%") == Life::Moving)
        else {
            break;
        };
        story.now = wake;
        story.step(Input::Tick).unwrap();
        if !wanted(&story.run, story.now).effects.is_empty() && story.life("stage:only/west/10%") == Life::Moving {
            lost(&mut story);
        }
    }
    // A platform that cannot be reached until its time is over is given up, as before.
    assert_ne!(story.life("stage:only/west/10%"), Life::Moving);
}

#[test]
fn a_hold_that_ran_out_in_an_outage_is_judged_by_a_new_reading() {
    let mut story = submitted(watched(workflow(&[("only", &["west"])], &["10%", "100%"])));
    story.until("stage:only/west/10%", Life::Baking);
    story.error_rate = Some(0.02);
    story.live(secs(10));
    story.error_rate = Some(0.001);
    story.now = secs(4_000).after(story.now);
    let own = Input::Own {
        owner: "another".into(),
        epoch: 2,
    };
    story.step(own).unwrap();
    story.live(secs(300));
    assert_eq!(finished(&story), Some(Ending::Promoted));
}

#[test]
fn a_jump_of_the_clock_uses_up_no_deadline() {
    let mut story = submitted(workflow(&[("only", &["west"])], &["100%"]));
    story.until("open:only/west", Life::Passed);
    story.progress.insert("west".into(), Progress::Moving { why: None });
    story.live(secs(5));
    let from = story.now;
    story.now = secs(86_400).after(from);
    story.step(Input::ClockJumped { from, to: story.now }).unwrap();
    story.live(secs(250));
    assert!(!story.has(|event| matches!(event, Event::NodeFailed { .. })));
    story.live(secs(60));
    assert!(story.has(|event| matches!(event, Event::NodeFailed { .. })));
}

#[test]
fn what_breaks_in_a_pause_has_its_deadline_after_it() {
    let mut workflow = workflow(&[("only", &["west"])], &["100%"]);
    workflow.phases[0].stages[0].bake = secs(100);
    let mut story = submitted(workflow);
    story.until("stage:only/west/100%", Life::Baking);
    story.ask("bo", &[], pause()).unwrap();
    story.progress.insert("west".into(), Progress::Moving { why: None });
    story.live(secs(2_000));
    assert_eq!(story.life("stage:only/west/100%"), Life::Moving);
    story.ask("bo", &[], Request::Resume).unwrap();
    story.progress.clear();
    story.live(secs(300));
    assert_eq!(finished(&story), Some(Ending::Promoted));
}

#[test]
fn a_region_that_starts_at_the_full_share_has_its_baseline_read_before() {
    let mut workflow = watched(workflow(&[("only", &["west"])], &["100%"]));
    let Some(gate) = workflow.gates.get_mut("error-rate") else {
        unreachable!()
    };
    let GateKind::Metric(metric) = &mut gate.kind else {
        unreachable!()
    };
    metric.needs_baseline = true;
    metric.rollback_when = Some("candidate > 2 * baseline".into());
    let mut story = submitted(workflow);
    story.live(secs(300));
    assert_eq!(finished(&story), Some(Ending::Promoted));
    let read_at = story.events.iter().position(|event| {
        matches!(
            event,
            Event::GateRead {
                place: Place::Baseline,
                ..
            }
        )
    });
    let shifted_at = story
        .events
        .iter()
        .position(|event| matches!(event, Event::Ordered { state, .. } if state.share().is_full()));
    assert!(read_at.is_some() && read_at < shifted_at, "{read_at:?} {shifted_at:?}");
}
