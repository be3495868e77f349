//! Stories of ECS's own deployments: what is done next, whatever ECS shows.

#![allow(clippy::unwrap_used, clippy::panic)]

use jiff::Timestamp;
use meridian_engine::run::effect::{Desired, DesiredState, Progress};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;
use proptest::prelude::{Just, Strategy as _, any, prop_assert, prop_oneof, proptest};

use super::{Sight, Step, next};
use crate::diagnosis::Illness;
use crate::facts::{Deployment, Pause, Revision, Rollback, Status};
use crate::strategy::Strategy;

fn canary() -> Strategy {
    Strategy::Canary { first: share(1_000) }
}

fn share(points: u16) -> Share {
    Share::from_basis_points(points).unwrap()
}

fn desired(state: DesiredState) -> Desired {
    Desired {
        candidate: Version::named("v2"),
        baseline: Version::named("v1"),
        state,
    }
}

fn traffic(points: u16) -> DesiredState {
    DesiredState::Serving(Exposure::Traffic(share(points)))
}

fn revision(version: &str) -> Revision {
    Revision {
        arn: format!("revision/{version}"),
        task_definition: Some(version.into()),
        requested: 3,
        running: 3,
        ..Revision::default()
    }
}

fn deployment(to: &str, from: &str, status: Status) -> Deployment {
    Deployment {
        arn: "deployment/2".into(),
        created: None,
        started: None,
        status,
        reason: None,
        stage: None,
        strategy: Some(canary()),
        target: Some(revision(to)),
        sources: vec![revision(from)],
        paused: None,
        rollback: None,
        alarms: Vec::new(),
    }
}

fn paused(points: u16) -> Deployment {
    let mut deployment = deployment("v2", "v1", Status::InProgress);
    deployment.target.as_mut().unwrap().weight = Some(share(points));
    deployment.paused = Some(Pause {
        hook: format!("hook-{points}"),
        expires: None,
    });
    deployment
}

fn sight(newest: Option<&Deployment>) -> Sight<'_> {
    Sight {
        strategy: canary(),
        newest,
        since: Some("1"),
        ordered: None,
        now: at(1_000),
        step: None,
        task_definition: Some("v1"),
        listener: None,
        illness: None,
        is_altered: true,
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn settled() -> Step {
    Step::Rest(Progress::Settled)
}

fn why(step: Step) -> String {
    match step {
        Step::Rest(Progress::Stuck { why }) => format!("stuck: {why}"),
        Step::Rest(Progress::Moving { why }) => format!("moving: {}", why.unwrap()),
        Step::Rest(Progress::Waiting { why }) => format!("waiting: {why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_deployment_waits_before_each_step_until_an_order_asks_for_it() {
    assert!(matches!(next(&sight(None), &desired(traffic(0))), Step::Climb { .. }));
    let at = |points, wanted| next(&sight(Some(&paused(points))), &desired(traffic(wanted)));
    assert_eq!(at(0, 0), settled());
    let on = |hook: &str, to| Step::Continue {
        deployment: "deployment/2".into(),
        hook: hook.into(),
        to: share(to),
    };
    assert_eq!(at(0, 1_000), on("hook-0", 1_000));
    assert_eq!(at(1_000, 1_000), settled());
    assert_eq!(at(1_000, 10_000), on("hook-1000", 10_000));
    assert!(
        why(at(0, 500)).contains("leads to 10%"),
        "a step beyond the order is not taken"
    );
}

#[test]
fn what_ecs_shows_late_is_no_reason_for_a_second_step() {
    let deployment = paused(0);
    let late = Sight {
        step: Some(("hook-before", share(1_000))),
        ..sight(Some(&deployment))
    };
    assert!(why(next(&late, &desired(traffic(1_000)))).starts_with("moving: ECS shows 0%"));
    let lost = Sight {
        step: Some(("hook-0", share(1_000))),
        ..sight(Some(&deployment))
    };
    let again = next(&lost, &desired(traffic(1_000)));
    assert!(
        matches!(again, Step::Continue { .. }),
        "the same hook once more does no harm"
    );
    let listener = Sight {
        listener: Some(share(1_000)),
        ..sight(Some(&deployment))
    };
    assert!(why(next(&listener, &desired(traffic(1_000)))).contains("the listener still sends 10%"));
}

#[test]
fn nothing_follows_from_what_shows_while_an_ordered_deployment_does_not() {
    let before = deployment("v1", "v0", Status::Successful);
    let states = [
        traffic(0),
        traffic(10_000),
        DesiredState::Reverted,
        DesiredState::Withdrawn,
    ];
    for (newest, names) in [(Some(&before), "v2"), (None, "v2"), (Some(&before), "v1")] {
        let seen = |seconds| Sight {
            ordered: Some(("v2", at(seconds))),
            task_definition: Some(names),
            ..sight(newest)
        };
        for state in &states {
            let step = next(&seen(950), &desired(state.clone()));
            match (names, state) {
                ("v1", DesiredState::Serving(_)) => assert!(matches!(step, Step::Climb { .. }), "the order got lost"),
                _ => assert!(why(step).starts_with("moving: a deployment of v2"), "{names} {state:?}"),
            }
        }
    }
    let late = Sight {
        ordered: Some(("v2", at(940))),
        task_definition: Some("v2"),
        ..sight(Some(&before))
    };
    assert!(matches!(next(&late, &desired(traffic(0))), Step::Climb { .. }));
}

#[test]
fn a_candidate_without_all_its_tasks_gets_no_traffic() {
    let mut deployment = paused(0);
    deployment.target.as_mut().unwrap().running = 2;
    let told = why(next(&sight(Some(&deployment)), &desired(traffic(1_000))));
    assert_eq!(told, "moving: 2 of 3 tasks of the candidate run");
    let illness = Illness {
        why: "app ends again and again with exit code 9 (crash loop)".into(),
        is_lasting: true,
    };
    let healthy = paused(0);
    let ill = Sight {
        illness: Some(&illness),
        ..sight(Some(&healthy))
    };
    for wanted in [0, 1_000] {
        assert!(why(next(&ill, &desired(traffic(wanted)))).starts_with("stuck: app ends"));
    }
    assert!(matches!(
        next(&ill, &desired(DesiredState::Reverted)),
        Step::RollBack { .. }
    ));
}

#[test]
fn what_ecs_rolled_back_by_itself_is_stuck_with_the_reason() {
    let mut back = deployment("v2", "v1", Status::RollbackSuccessful);
    back.rollback = Some(Rollback {
        reason: Some("Service deployment rolled back because of alarms".into()),
        revision: Some("revision/v1".into()),
    });
    back.alarms = vec!["too-many-errors".into()];
    let told = why(next(&sight(Some(&back)), &desired(traffic(1_000))));
    assert!(
        told.starts_with("stuck: ECS rolled the deployment back by itself"),
        "{told}"
    );
    assert!(
        told.contains("because of alarms") && told.contains("too-many-errors"),
        "{told}"
    );
    assert!(why(next(&sight(Some(&back)), &desired(DesiredState::Promoted))).starts_with("stuck"));
    let acknowledged = Sight {
        since: Some("2"),
        ..sight(Some(&back))
    };
    assert!(matches!(
        next(&sight(Some(&back)), &desired(DesiredState::Reverted)),
        Step::Acknowledge { .. }
    ));
    assert_eq!(next(&acknowledged, &desired(DesiredState::Reverted)), settled());
    let retried = next(&acknowledged, &desired(traffic(0)));
    assert!(matches!(retried, Step::Climb { .. }), "a retry starts anew");
}

#[test]
fn going_back_is_native_before_the_end_and_a_deployment_of_the_old_version_after_it() {
    let back = |deployment: &Deployment| next(&sight(Some(deployment)), &desired(DesiredState::Withdrawn));
    assert!(matches!(back(&paused(1_000)), Step::RollBack { hook: Some(_), .. }));
    let mut baking = paused(10_000);
    baking.paused = None;
    assert!(matches!(back(&baking), Step::RollBack { hook: None, .. }));
    let done = deployment("v2", "v1", Status::Successful);
    let again = Step::Return {
        task_definition: "v1".into(),
    };
    assert_eq!(back(&done), again);
    assert!(why(back(&deployment("v1", "v2", Status::InProgress))).starts_with("moving"));
    assert_eq!(back(&deployment("v1", "v2", Status::Successful)), Step::Ungate);
    let failed = deployment("v1", "v2", Status::RollbackSuccessful);
    assert!(why(back(&failed)).starts_with("stuck: the way back failed"));
}

#[test]
fn promotion_is_done_once_ecs_has_removed_the_old_tasks() {
    let promote = |deployment: &Deployment, is_altered| {
        let seen = Sight {
            is_altered,
            ..sight(Some(deployment))
        };
        next(&seen, &desired(DesiredState::Promoted))
    };
    let mut baking = paused(10_000);
    baking.paused = None;
    assert!(why(promote(&baking, true)).contains("bake time"));
    let done = deployment("v2", "v1", Status::Successful);
    assert_eq!(promote(&done, true), Step::Ungate);
    assert_eq!(promote(&done, false), settled());
    assert!(matches!(promote(&paused(1_000), true), Step::Continue { .. }));
}

#[test]
fn a_rolling_service_has_nothing_to_stage() {
    let rolling = Sight {
        strategy: Strategy::Rolling,
        ..sight(None)
    };
    assert_eq!(next(&rolling, &desired(traffic(0))), settled());
    assert!(matches!(next(&rolling, &desired(traffic(10_000))), Step::Climb { .. }));
    let mut under_way = deployment("v2", "v1", Status::InProgress);
    under_way.strategy = Some(Strategy::Rolling);
    under_way.target.as_mut().unwrap().running = 1;
    let seen = sight(Some(&under_way));
    assert!(why(next(&seen, &desired(traffic(10_000)))).starts_with("moving"));
    assert!(matches!(
        next(&seen, &desired(DesiredState::Reverted)),
        Step::RollBack { .. }
    ));
    assert_eq!(under_way.share(canary()), share(2_500), "by running tasks");
}

#[test]
fn somebody_elses_deployment_is_left_alone() {
    let foreign = deployment("v9", "v1", Status::InProgress);
    for state in [traffic(1_000), DesiredState::Promoted, DesiredState::Reverted] {
        assert!(why(next(&sight(Some(&foreign)), &desired(state))).contains("v9"));
    }
}

fn statuses() -> impl proptest::strategy::Strategy<Value = Status> {
    prop_oneof![
        Just(Status::Pending),
        Just(Status::InProgress),
        Just(Status::StopRequested),
        Just(Status::Stopped),
        Just(Status::RollbackRequested),
        Just(Status::RollbackInProgress),
        Just(Status::RollbackSuccessful),
        Just(Status::RollbackFailed),
        Just(Status::Successful),
        Just(Status::Other("NEW".into())),
    ]
}

proptest! {
    /// Whatever ECS shows: no step leads beyond what is wanted, and a way back never lets the candidate go on.
    #[test]
    fn no_step_exceeds_the_order(
        status in statuses(),
        to in prop_oneof![Just("v1"), Just("v2"), Just("v9")],
        has in 0_u16..=1000,
        listener in proptest::option::of(0_u16..=1000),
        wanted in 0_u16..=1000,
        is_paused: bool,
        acknowledged: bool,
        state in 0_u8..4,
        strategy in prop_oneof![Just(canary()), Just(Strategy::BlueGreen), Just(Strategy::Linear { step: share(500) })],
        running in any::<u8>().prop_map(|running| u32::from(running % 5)),
    ) {
        let mut newest = deployment(to, "v1", status);
        newest.strategy = Some(strategy);
        let target = newest.target.as_mut().unwrap();
        target.weight = Some(share(has * 10));
        target.running = running;
        if is_paused {
            newest.paused = Some(Pause { hook: "h".into(), expires: None });
        }
        let seen = Sight {
            listener: listener.map(|points| share(points * 10)),
            since: Some(if acknowledged { "2" } else { "1" }),
            ..sight(Some(&newest))
        };
        let state = match state {
            0 => traffic(wanted * 10),
            1 => DesiredState::Promoted,
            2 => DesiredState::Reverted,
            _ => DesiredState::Withdrawn,
        };
        let most = state.share();
        let is_back = matches!(state, DesiredState::Reverted | DesiredState::Withdrawn);
        match next(&seen, &desired(state)) {
            Step::Continue { to, .. } if is_back => prop_assert!(newest.is_to("v1") && to.is_full()),
            Step::Continue { to, .. } => {
                prop_assert!(newest.is_to("v2") && to <= most && running >= 3);
                prop_assert!(listener.is_none_or(|points| points.abs_diff(has) <= 1));
            }
            Step::Climb { task_definition } => prop_assert!(!is_back && task_definition == "v2"),
            Step::Return { task_definition } => prop_assert!(task_definition == "v1" && !most.is_full()),
            Step::Rest(Progress::Settled) => prop_assert!(
                !most.is_zero() || newest.status != Status::InProgress || (is_paused && has == 0),
            ),
            Step::RollBack { .. } | Step::Acknowledge { .. } | Step::Ungate | Step::Rest(_) => {}
        }
    }
}
