//! What runs do, told as stories: each is a sentence that is true.

use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::{Exposure, GateKind, Policy, Scope};

use super::decide::Input;
use super::effect::{DesiredState, Progress};
use super::event::{Ending, Event};
use super::signal::{Request, Skip};
use super::state::{Life, RegionLife, Standing};
use super::story::{Story, approval, gate, secs, submitted, watched, workflow};
use super::wanted::wanted;

const TWO: &[(&str, &[&str])] = &[("small", &["west"]), ("large", &["east"])];

pub(super) fn finished(story: &Story) -> Option<Ending> {
    match story.standing() {
        Standing::Finished { ending, .. } => Some(*ending),
        Standing::Submitted | Standing::Running | Standing::RollingBack | Standing::Attention { .. } => None,
    }
}

pub(super) fn attention(story: &Story) -> Option<&str> {
    match story.standing() {
        Standing::Attention { reason, .. } => Some(reason),
        Standing::Submitted | Standing::Running | Standing::RollingBack | Standing::Finished { .. } => None,
    }
}

pub(super) fn pause() -> Request {
    Request::Pause {
        freeze_bake: false,
        reason: None,
    }
}

pub(super) fn approve() -> Request {
    Request::Approve {
        gate: None,
        node: None,
        comment: None,
    }
}

#[test]
fn a_healthy_release_goes_region_by_region_to_the_end() {
    let mut story = submitted(watched(workflow(TWO, &["10%", "100%"])));
    story.live(secs(600));
    assert_eq!(finished(&story), Some(Ending::Promoted));
    let orders: Vec<String> = story
        .orders
        .iter()
        .map(|(region, state)| match state {
            DesiredState::Serving(exposure) => format!("{region} {}", exposure.traffic()),
            DesiredState::Promoted => format!("{region} promoted"),
            DesiredState::Reverted | DesiredState::Withdrawn => format!("{region} back"),
        })
        .collect();
    assert_eq!(
        orders,
        [
            "west 0%",
            "west 10%",
            "west 100%",
            "west promoted",
            "east 0%",
            "east 10%",
            "east 100%",
            "east promoted"
        ]
    );
    assert!(story.run.is_done());
    assert_eq!(wanted(&story.run, story.now).wake, None);
}

#[test]
fn a_bake_lasts_as_long_as_it_says() {
    let mut story = submitted(workflow(&[("only", &["west"])], &["100%"]));
    story.until("stage:only/west/100%", Life::Baking);
    story.live(Duration::from_millis(9_800));
    assert_eq!(story.life("stage:only/west/100%"), Life::Baking);
    story.live(Duration::from_millis(200));
    assert_eq!(story.life("stage:only/west/100%"), Life::Passed);
}

#[test]
fn a_breach_takes_every_region_back_traffic_first() {
    let mut story = submitted(watched(workflow(TWO, &["10%", "100%"])));
    story.until("stage:large/east/10%", Life::Baking);
    story.error_rate = Some(0.2);
    story.live(secs(2));
    assert_eq!(story.region_life("west"), RegionLife::Withdrawing);
    assert_eq!(story.region_life("east"), RegionLife::Withdrawing);
    story.error_rate = Some(0.0);
    story.live(secs(30));
    assert_eq!(finished(&story), Some(Ending::RolledBack));
    let Standing::Finished { cause, .. } = story.standing() else {
        unreachable!()
    };
    assert!(cause.starts_with("gate/error-rate: candidate 20 %"), "{cause}");
    let back: Vec<_> = story
        .orders
        .iter()
        .rev()
        .take(4)
        .map(|(_, state)| state.clone())
        .collect();
    assert_eq!(back.iter().filter(|state| **state == DesiredState::Reverted).count(), 2);
}

#[test]
fn a_hold_stops_the_bake_and_ends_by_itself() {
    let mut story = submitted(watched(workflow(&[("only", &["west"])], &["10%", "100%"])));
    let stage = "stage:only/west/10%";
    story.until(stage, Life::Baking);
    story.live(secs(4));
    story.error_rate = Some(0.02);
    story.live(secs(60));
    let held = story.run.node(story.id(stage));
    assert!(held.hold.is_some());
    let counted = held.bake.counted;
    story.error_rate = Some(0.001);
    story.live(secs(2));
    assert!(story.run.node(story.id(stage)).hold.is_none());
    assert!(story.run.node(story.id(stage)).bake.counted >= counted);
    story.until(stage, Life::Passed);
}

#[test]
fn a_hold_that_lasts_too_long_needs_attention_and_resume_waits_on() {
    let mut story = submitted(watched(workflow(&[("only", &["west"])], &["10%", "100%"])));
    story.until("stage:only/west/10%", Life::Baking);
    story.error_rate = Some(0.02);
    story.live(secs(3_700));
    assert!(
        attention(&story).is_some_and(|reason| reason.contains("held for")),
        "{:?}",
        story.standing()
    );
    story.ask("bo", &[], Request::Resume).unwrap();
    assert_eq!(story.standing(), &Standing::Running);
    story.error_rate = Some(0.001);
    story.until("stage:only/west/10%", Life::Passed);
}

#[test]
fn no_data_never_ends_a_bake() {
    let mut story = submitted(watched(workflow(&[("only", &["west"])], &["10%", "100%"])));
    story.error_rate = None;
    story.live(secs(1_000));
    assert!(!story.life("stage:only/west/10%").is_over());
    story.error_rate = Some(f64::NAN);
    story.live(secs(1_000));
    assert!(!story.life("stage:only/west/10%").is_over());
}

#[test]
fn a_bake_that_ends_waits_for_its_first_reading_before_it_calls_that_a_hold() {
    let mut workflow = watched(workflow(&[("only", &["west"])], &["100%"]));
    workflow.phases[0].bake = Duration::ZERO;
    let mut story = submitted(workflow);
    story.live(secs(300));
    assert_eq!(finished(&story), Some(Ending::Promoted));
    assert!(!story.has(|event| matches!(event, Event::Held { .. })));
}

#[test]
fn an_engine_that_was_away_does_not_count_the_gap() {
    let mut story = submitted(watched(workflow(&[("only", &["west"])], &["10%", "100%"])));
    let stage = "stage:only/west/10%";
    story.until(stage, Life::Baking);
    story.live(secs(4));
    story.now = secs(3_600).after(story.now);
    story
        .step(Input::Own {
            owner: "b".into(),
            epoch: 2,
        })
        .unwrap();
    story.settle();
    assert_eq!(story.life(stage), Life::Baking);
    assert!(story.run.node(story.id(stage)).bake.counted <= secs(6));
}

#[test]
fn a_clock_that_jumps_never_shortens_a_bake() {
    let mut story = submitted(workflow(&[("only", &["west"])], &["100%"]));
    let stage = "stage:only/west/100%";
    story.until(stage, Life::Baking);
    story.live(secs(3));
    let from = story.now;
    story.now = secs(86_400).after(from);
    story.step(Input::ClockJumped { from, to: story.now }).unwrap();
    story.live(secs(6));
    assert_eq!(story.life(stage), Life::Baking);
    story.live(secs(2));
    assert_eq!(story.life(stage), Life::Passed);
}

#[test]
fn a_pause_stops_the_advance_and_a_breach_still_rolls_back() {
    let mut story = submitted(watched(workflow(&[("only", &["west"])], &["10%", "100%"])));
    story.until("stage:only/west/10%", Life::Baking);
    story.ask("bo", &[], pause()).unwrap();
    story.live(secs(300));
    assert_eq!(story.life("stage:only/west/100%"), Life::Waiting);
    story.error_rate = Some(0.5);
    story.live(secs(60));
    assert_eq!(finished(&story), Some(Ending::RolledBack));
}

#[test]
fn a_pause_that_is_lifted_goes_on_where_it_stood() {
    let mut story = submitted(workflow(&[("only", &["west"])], &["10%", "100%"]));
    story.until("stage:only/west/10%", Life::Baking);
    story
        .ask(
            "bo",
            &[],
            Request::Pause {
                freeze_bake: true,
                reason: None,
            },
        )
        .unwrap();
    story.live(secs(300));
    story.ask("bo", &[], Request::Resume).unwrap();
    story.live(secs(5));
    assert_eq!(story.life("stage:only/west/10%"), Life::Baking);
    story.live(secs(100));
    assert_eq!(finished(&story), Some(Ending::Promoted));
}

#[test]
fn an_approval_needs_its_people_and_the_starter_is_none_of_them() {
    let mut workflow = workflow(TWO, &["100%"]);
    workflow
        .gates
        .insert("cab".into(), gate(GateKind::Approval(approval(2))));
    workflow.phases[1].before.push("cab".into());
    let mut story = submitted(workflow);
    story.live(secs(120));
    assert_eq!(story.life("phase:large"), Life::Waiting);
    assert!(
        story
            .ask("ana", &["sre"], approve())
            .unwrap_err()
            .0
            .contains("may not approve")
    );
    assert!(
        story
            .ask("eve", &["dev"], approve())
            .unwrap_err()
            .0
            .contains("it asks sre")
    );
    story.ask("bo", &["sre"], approve()).unwrap();
    assert!(
        story
            .ask("bo", &["sre"], approve())
            .unwrap_err()
            .0
            .contains("counted once")
    );
    assert_eq!(story.life("phase:large"), Life::Waiting);
    story.ask("cy", &["sre"], approve()).unwrap();
    assert_eq!(story.life("phase:large"), Life::Passed);
    story.live(secs(120));
    assert_eq!(finished(&story), Some(Ending::Promoted));
}

#[test]
fn an_approval_that_expires_rolls_back_and_a_pause_stops_its_clock() {
    let mut workflow = workflow(TWO, &["100%"]);
    workflow
        .gates
        .insert("cab".into(), gate(GateKind::Approval(approval(1))));
    workflow.phases[1].before.push("cab".into());
    let mut story = submitted(workflow);
    story.live(secs(120));
    story.ask("bo", &[], pause()).unwrap();
    story.live(secs(10_000));
    assert_eq!(finished(&story), None);
    story.ask("bo", &[], Request::Resume).unwrap();
    story.live(secs(601));
    assert_eq!(story.region_life("west"), RegionLife::RolledBack);
    assert_eq!(finished(&story), Some(Ending::RolledBack));
}

#[test]
fn what_asks_waits_for_a_person_and_goes_on_when_told() {
    let mut workflow = watched(workflow(&[("only", &["west"])], &["10%", "100%"]));
    let Some(gate) = workflow.gates.get_mut("error-rate") else {
        unreachable!()
    };
    gate.on_no_data = Policy::Ask;
    let mut story = submitted(workflow);
    story.until("stage:only/west/10%", Life::Baking);
    story.error_rate = None;
    story.live(secs(100));
    assert!(story.run.node(story.id("stage:only/west/10%")).question.is_some());
    story.error_rate = Some(0.001);
    story.live(secs(100));
    assert!(
        story.run.node(story.id("stage:only/west/10%")).question.is_some(),
        "only a person answers"
    );
    story.ask("bo", &[], approve()).unwrap();
    story.until("stage:only/west/10%", Life::Passed);
}

#[test]
fn an_order_that_sticks_rolls_back_with_its_diagnosis() {
    let mut story = submitted(workflow(TWO, &["100%"]));
    story.progress.insert(
        "west".into(),
        Progress::Stuck {
            why: "the image v2 cannot be pulled: not found".into(),
        },
    );
    story.live(secs(31));
    story.progress.clear();
    story.live(secs(60));
    assert_eq!(finished(&story), Some(Ending::RolledBack));
    assert!(
        story.has(|event| matches!(event, Event::RollbackDecided { cause, .. } if cause.contains("cannot be pulled")))
    );
}

#[test]
fn a_rollback_that_overruns_calls_for_people_and_still_ends() {
    let mut story = submitted(watched(workflow(&[("only", &["west"])], &["10%", "100%"])));
    story.until("stage:only/west/10%", Life::Baking);
    story.progress.insert(
        "west".into(),
        Progress::Moving {
            why: Some("draining".into()),
        },
    );
    story.error_rate = Some(1.0);
    story.live(secs(120));
    assert!(story.has(|event| matches!(event, Event::RollbackOverdue { .. })));
    story.progress.clear();
    story.live(secs(120));
    assert_eq!(finished(&story), Some(Ending::RolledBack));
}

#[test]
fn within_its_tolerance_a_phase_goes_on_without_the_region_that_failed() {
    let mut workflow = watched(workflow(&[("both", &["west", "east"])], &["100%"]));
    workflow.phases[0].max_failures = 1;
    let mut story = submitted(workflow);
    story.error_rate_in.insert("west".into(), 1.0);
    story.live(secs(600));
    assert_eq!(story.region_life("west"), RegionLife::RolledBack);
    assert_eq!(story.region_life("east"), RegionLife::Promoted);
    assert!(
        attention(&story).is_some_and(|reason| reason.contains("west")),
        "{:?}",
        story.standing()
    );
    story.error_rate_in.clear();
    story
        .ask(
            "bo",
            &[],
            Request::Retry {
                from_start: false,
                reason: None,
            },
        )
        .unwrap();
    story.live(secs(600));
    assert_eq!(finished(&story), Some(Ending::Promoted));
}

#[test]
fn a_retry_after_a_rollback_begins_with_nothing_assumed() {
    let mut story = submitted(watched(workflow(TWO, &["10%", "100%"])));
    story.until("stage:large/east/10%", Life::Baking);
    story.error_rate = Some(1.0);
    story.live(secs(100));
    assert_eq!(finished(&story), Some(Ending::RolledBack));
    story.error_rate = Some(0.0);
    story
        .ask(
            "bo",
            &[],
            Request::Retry {
                from_start: false,
                reason: None,
            },
        )
        .unwrap();
    story.live(secs(600));
    assert_eq!(finished(&story), Some(Ending::Promoted));
    assert_eq!(story.run.node(story.id("stage:small/west/10%")).attempt, 2);
}

#[test]
fn a_finished_run_is_taken_back_on_request() {
    let mut story = submitted(workflow(TWO, &["100%"]));
    story.live(secs(300));
    assert_eq!(finished(&story), Some(Ending::Promoted));
    story
        .ask(
            "bo",
            &[],
            Request::Rollback {
                reason: Some("customers complain".into()),
            },
        )
        .unwrap();
    story.live(secs(100));
    assert_eq!(finished(&story), Some(Ending::RolledBack));
    assert_eq!(story.region_life("west"), RegionLife::RolledBack);
}

#[test]
fn scope_stage_returns_to_the_share_before_and_waits_for_a_person() {
    let mut workflow = watched(workflow(&[("only", &["west"])], &["10%", "50%", "100%"]));
    workflow.rollback.scope = Scope::Stage;
    let mut story = submitted(workflow);
    story.until("stage:only/west/50%", Life::Baking);
    story.error_rate = Some(1.0);
    story.live(secs(10));
    let ten = DesiredState::Serving(Exposure::Traffic("10%".parse().unwrap()));
    assert_eq!(story.orders.last(), Some(&("west".to_owned(), ten)));
    assert!(attention(&story).is_some());
    story.error_rate = Some(0.0);
    story
        .ask(
            "bo",
            &[],
            Request::Retry {
                from_start: false,
                reason: None,
            },
        )
        .unwrap();
    story.live(secs(600));
    assert_eq!(finished(&story), Some(Ending::Promoted));
}

#[test]
fn a_platform_that_is_meant_to_wait_uses_up_no_deadline() {
    let mut story = submitted(workflow(&[("only", &["west"])], &["10%", "100%"]));
    story.until("open:only/west", Life::Passed);
    let waits = Progress::Waiting {
        why: "Git has not made v2 the original yet".into(),
    };
    story.progress.insert("west".into(), waits);
    // Four deadlines long.
    story.live(secs(1_200));
    assert!(!story.has(|event| matches!(event, Event::NodeFailed { .. })));
    assert!(story.has(|event| matches!(event, Event::OrderWaiting { .. })));
    // What moves after that has its whole deadline, and no more.
    story.progress.insert("west".into(), Progress::Moving { why: None });
    story.live(secs(280));
    assert!(!story.has(|event| matches!(event, Event::NodeFailed { .. })));
    story.live(secs(60));
    assert!(story.has(|event| matches!(event, Event::NodeFailed { .. })));
}

#[test]
fn a_late_answer_after_an_abort_changes_nothing() {
    let mut story = submitted(workflow(&[("only", &["west"])], &["10%", "100%"]));
    story.progress.insert("west".into(), Progress::Moving { why: None });
    story.live(secs(5));
    let effects = wanted(&story.run, secs(60).after(story.now)).effects;
    story.ask("bo", &[], Request::Abort { reason: None }).unwrap();
    for effect in effects {
        let outcome = super::effect::Outcome::Progress(Progress::Settled);
        assert_eq!(
            story.step(Input::Outcome {
                key: effect.key,
                outcome
            }),
            Ok(vec![])
        );
    }
}

#[test]
fn a_person_skips_a_gate_and_promotes_a_region_with_a_reason() {
    let mut workflow = watched(workflow(&[("only", &["west"])], &["10%", "50%", "100%"]));
    workflow
        .gates
        .insert("cab".into(), gate(GateKind::Approval(approval(1))));
    workflow.phases[0].stages[0].before.push("cab".into());
    let mut story = submitted(workflow);
    story.live(secs(60));
    let skip = Skip::Gate {
        gate: "cab".into(),
        node: None,
    };
    story
        .ask(
            "bo",
            &[],
            Request::Skip {
                what: skip,
                reason: "hotfix".into(),
            },
        )
        .unwrap();
    story.until("stage:only/west/10%", Life::Baking);
    story
        .ask(
            "bo",
            &[],
            Request::Promote {
                region: "west".into(),
                reason: "hotfix".into(),
            },
        )
        .unwrap();
    story.live(secs(1));
    assert_eq!(story.life("stage:only/west/50%"), Life::Skipped);
    assert_eq!(story.life("stage:only/west/100%"), Life::Baking);
    story.live(secs(100));
    assert_eq!(finished(&story), Some(Ending::Promoted));
}

#[test]
fn what_had_converged_and_broke_bakes_no_more_until_it_is_back() {
    let mut workflow = workflow(&[("only", &["west"])], &["100%"]);
    workflow.phases[0].stages[0].bake = secs(100);
    let mut story = submitted(workflow);
    let stage = "stage:only/west/100%";
    story.until(stage, Life::Baking);
    story.progress.insert(
        "west".into(),
        Progress::Moving {
            why: Some("1 of 3 instances is ready".into()),
        },
    );
    story.live(secs(60));
    assert_eq!(story.life(stage), Life::Moving);
    story.progress.clear();
    story.live(secs(20));
    assert_eq!(story.life(stage), Life::Baking);
    story.live(secs(60));
    assert_eq!(story.life(stage), Life::Baking);
    story.until(stage, Life::Passed);
}

#[test]
fn a_region_that_serves_the_candidate_already_is_left_as_it_is() {
    let mut plain = workflow(&[("only", &["west"])], &["100%"]);
    plain.release = meridian_workflows::workflow::Release::Image("app:v1".into());
    let mut story = submitted(plain);
    // The story's world serves v1 and resolves every release to v2; make them meet.
    let key = wanted(&story.run, story.now).effects[0].key;
    story
        .step(Input::Outcome {
            key,
            outcome: super::effect::Outcome::Claimed { claim: 1 },
        })
        .unwrap();
    let key = wanted(&story.run, story.now).effects[0].key;
    let same = super::version::Version::named("v2");
    let seen = super::effect::Observation {
        serving: Some(same.clone()),
        candidate: same,
        candidate_share: meridian_workflows::share::Share::FULL,
        is_settled: true,
        diagnosis: None,
        candidate_digest: None,
    };
    story
        .step(Input::Outcome {
            key,
            outcome: super::effect::Outcome::Observed(seen),
        })
        .unwrap();
    story.live(secs(1));
    assert_eq!(finished(&story), Some(Ending::Promoted));
    assert!(story.orders.is_empty());
}

#[test]
fn a_watched_gate_that_this_build_cannot_read_holds_and_then_needs_attention() {
    let mut workflow = workflow(&[("only", &["west"])], &["10%", "100%"]);
    let kind = GateKind::NotYet {
        kind: "trend".into(),
        settings: serde_json::Value::Null,
    };
    workflow.gates.insert("leak".into(), gate(kind));
    workflow.phases[0].stages[0].watch.push("leak".into());
    let mut story = submitted(workflow);
    story.until("stage:only/west/10%", Life::Baking);
    story.live(secs(60));
    assert!(story.run.node(story.id("stage:only/west/10%")).hold.is_some());
    story.live(secs(3_700));
    assert!(attention(&story).is_some_and(|reason| reason.contains("not available yet")));
}

#[test]
fn a_claim_that_can_never_succeed_ends_the_run_with_its_reason() {
    let mut story = submitted(workflow(&[("only", &["west"])], &["100%"]));
    let key = wanted(&story.run, story.now).effects[0].key;
    let failed = |lasting| super::effect::Outcome::Failed {
        error: "the settings of region west are not sound".into(),
        lasting,
        retry_after: None,
    };
    story
        .step(Input::Outcome {
            key,
            outcome: failed(false),
        })
        .unwrap();
    assert_eq!(finished(&story), None);
    let again = wanted(&story.run, story.now).wake.unwrap();
    story.now = again;
    story
        .step(Input::Outcome {
            key,
            outcome: failed(true),
        })
        .unwrap();
    assert_eq!(finished(&story), Some(Ending::Refused));
}
