//! What cannot be done is refused before anything opens, and what ECS does by itself is told.

use std::time::Duration;

use meridian_doubles::ecs::Behaviour;
use meridian_engine::ports::failure::{Failure, Lasting};
use meridian_engine::ports::provider::{Fence, Order, Provider as _, Rung, Target};
use meridian_engine::run::effect::{Desired, DesiredState, Progress};
use meridian_workflows::duration::Duration as Span;
use meridian_workflows::workflow::Release;
use serde_json::{Value, json};

use crate::orders::{arrived, order, order_of, serving};
use crate::stage::{Means, NEW, Stage};

const CANARY: &[u16] = &[1_000, 10_000];

async fn refused(stage: &Stage, target: &Target) -> String {
    let before = stage.account.writes();
    let failure: Failure = stage.provider().observe(target).await.unwrap_err();
    assert_eq!(failure.lasting, Lasting::Yes, "{failure}");
    assert_eq!(stage.account.writes(), before, "a refusal changes nothing");
    failure.what
}

#[tokio::test]
async fn a_ladder_that_ecs_cannot_climb_is_refused_with_what_would_fit() {
    let stage = Stage::build(Means::Native, &[100, 500, 10_000]).await;
    let why = refused(&stage, &stage.target()).await;
    assert!(
        why.contains("[1%, 5%, 100%]") && why.contains("task sets or two services"),
        "{why}"
    );
    let rolling = Stage::build(Means::Rolling, CANARY).await;
    let why = refused(&rolling, &rolling.target()).await;
    assert!(why.contains("alternate target group"), "{why}");
    let fine = Stage::build(Means::TaskSets, &[5, 10_000]).await;
    assert!(refused(&fine, &fine.target()).await.contains("steps of 0.1%"));
}

#[tokio::test]
async fn what_does_not_suit_the_controller_is_refused() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let mut target = stage.target();
    target.settings["mode"] = json!("taskSets");
    target.settings["targetGroups"] = json!({"blue": stage.blue, "green": stage.green});
    target.settings["listenerRules"] = json!({"production": stage.rule});
    assert!(refused(&stage, &target).await.contains("EXTERNAL"));

    let sets = Stage::build(Means::TaskSets, CANARY).await;
    let mut target = sets.target();
    target.settings.as_object_mut().unwrap().remove("targetGroups");
    assert!(refused(&sets, &target).await.contains("targetGroups"));
}

#[tokio::test]
async fn a_service_that_serves_nothing_or_pauses_by_itself_is_refused() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let pause = json!({"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"]});
    let config = json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0, "lifecycleHooks": [pause]});
    let update = |stage: &Stage, key: &str, value: Value| {
        let mut request = json!({"cluster": "prod", "service": "web"});
        request[key] = value;
        stage.ecs("UpdateService", request);
    };
    update(&stage, "deploymentConfiguration", config);
    let why = refused(&stage, &stage.target()).await;
    assert!(why.contains("pause hook of its own at POST_SCALE_UP"), "{why}");
    let idle = Stage::build(Means::Native, CANARY).await;
    update(&idle, "desiredCount", json!(0));
    idle.account.advance(Duration::from_secs(60));
    assert!(refused(&idle, &idle.target()).await.contains("scaled to 0"));
}

#[tokio::test]
async fn what_is_neither_image_nor_task_definition_is_refused() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let with = |release: Release| Target {
        release,
        ..stage.target()
    };
    assert!(
        refused(&stage, &with(Release::Flag("new-checkout".into())))
            .await
            .contains("not a flag")
    );
    let missing = with(Release::TaskDefinition("web:99".into()));
    assert!(refused(&stage, &missing).await.contains("web:99"));
}

#[tokio::test]
async fn a_new_image_is_registered_once_like_what_serves() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let target = Target {
        release: Release::Image("registry.example.com/web:v3".into()),
        ..stage.target()
    };
    let first = stage.provider().observe(&target).await.unwrap().observation.candidate;
    let again = stage.provider().observe(&target).await.unwrap().observation.candidate;
    assert_eq!((first.name.as_str(), &first.pinned), ("v3", &again.pinned));
    assert_eq!(first.labels["taskDefinition"], "web:3");
    let described = stage.ecs("DescribeTaskDefinition", json!({"taskDefinition": first.pinned}));
    let container = &described["taskDefinition"]["containerDefinitions"][0];
    assert_eq!(
        (&container["image"], &container["memory"]),
        (&json!("registry.example.com/web:v3"), &json!(128))
    );
    let given = Target {
        release: Release::TaskDefinition("web:3".into()),
        ..stage.target()
    };
    let given = stage.provider().observe(&given).await.unwrap().observation;
    assert_eq!(
        (given.candidate.name.as_str(), given.candidate.pinned),
        ("web:3", first.pinned)
    );
    assert_eq!(given.serving.unwrap().name, "web:1");
}

#[tokio::test]
async fn the_deployment_pauses_rolls_back_unasked_and_bakes_as_long_as_the_region() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let mut target = stage.target();
    target.settings["hookTimeout"] = json!("3h");
    target.settings["alarms"] = json!(["too-many-errors"]);
    target.ladder.rungs[1] = Rung {
        bake: Span::from_secs(90),
        ..target.ladder.rungs[1].clone()
    };
    target.ladder.bake = Span::from_secs(600);
    let staged = order(&stage, &target, 1, serving(0)).await;
    assert_eq!(arrived(&stage, &target, &staged).await, Progress::Settled);
    let config = stage.deployment()["deploymentConfiguration"].clone();
    assert_eq!(config["strategy"], "CANARY");
    assert_eq!(
        config["canaryConfiguration"],
        json!({"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 0})
    );
    assert_eq!(
        config["bakeTimeInMinutes"], 22,
        "90 s and 10 min, and 10 min because ECS counts from the shift and the engine from the arrival"
    );
    let hook = &config["lifecycleHooks"][0];
    assert_eq!(
        (&hook["targetType"], &hook["lifecycleStages"]),
        (&json!("PAUSE"), &json!(["PRE_PRODUCTION_TRAFFIC_SHIFT"]))
    );
    assert_eq!(
        hook["timeoutConfiguration"],
        json!({"timeoutInMinutes": 180, "action": "ROLLBACK"})
    );
    assert_eq!(config["alarms"]["alarmNames"], json!(["too-many-errors"]));
}

#[tokio::test]
async fn nobody_answers_and_ecs_goes_back_which_is_never_settled() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let mut target = stage.target();
    target.settings["hookTimeout"] = json!("1h");
    let first = order(&stage, &target, 1, serving(10)).await;
    assert_eq!(arrived(&stage, &target, &first).await, Progress::Settled);
    stage.account.advance(Duration::from_secs(2 * 3_600));
    let Progress::Stuck { why } = arrived(&stage, &target, &first).await else {
        panic!("a rollback by ECS is stuck");
    };
    assert!(why.contains("by itself") && why.contains("timed out"), "{why}");
    let back = Order::rehearsed(
        Desired {
            state: DesiredState::Withdrawn,
            ..first.desired().clone()
        },
        Fence {
            seq: 2,
            ..first.fence()
        },
    );
    assert_eq!(arrived(&stage, &target, &back).await, Progress::Settled);
    let again = Order::rehearsed(
        first.desired().clone(),
        Fence {
            seq: 3,
            ..first.fence()
        },
    );
    assert_eq!(
        arrived(&stage, &target, &again).await,
        Progress::Settled,
        "a retry starts anew"
    );
}

#[tokio::test]
async fn an_alarm_is_told() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let mut target = stage.target();
    target.settings["alarms"] = json!({"names": ["too-many-errors"], "rollback": true});
    let first = order(&stage, &target, 1, serving(10)).await;
    assert_eq!(arrived(&stage, &target, &first).await, Progress::Settled);
    stage.account.alarm("too-many-errors", true);
    stage.account.advance(Duration::from_secs(60));
    let Progress::Stuck { why } = arrived(&stage, &target, &first).await else {
        panic!("an alarm is no health");
    };
    assert!(why.contains("too-many-errors"), "{why}");
}

#[tokio::test]
async fn a_promoted_service_is_left_without_our_pause() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let target = stage.target();
    for (seq, state) in (1..).zip([serving(0), serving(10), serving(100)]) {
        let next = order_of(&stage, seq, state);
        assert_eq!(arrived(&stage, &target, &next).await, Progress::Settled);
    }
    assert!(
        stage.service()["deploymentConfiguration"]["lifecycleHooks"]
            .to_string()
            .contains("PAUSE")
    );
    let last = order_of(&stage, 4, DesiredState::Promoted);
    assert_eq!(arrived(&stage, &target, &last).await, Progress::Settled);
    assert!(!stage.service()["deploymentConfiguration"].to_string().contains("PAUSE"));
    assert_eq!(stage.service()["deployments"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_rung_that_bakes_longer_than_a_hook_waits_is_refused() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let mut target = stage.target();
    target.settings["hookTimeout"] = json!("2h");
    target.ladder.rungs[0].bake = Span::from_secs(2 * 3_600);
    let why = refused(&stage, &target).await;
    assert!(why.contains("10%") && why.contains("hookTimeout"), "{why}");
    // Where nothing is said, the longest that ECS waits is the bound.
    target.settings.as_object_mut().unwrap().remove("hookTimeout");
    target.ladder.rungs[0].bake = Span::from_secs(14 * 86_400);
    assert!(refused(&stage, &target).await.contains("14d"));
    target.ladder.rungs[0].bake = Span::ZERO;
    target.ladder.rungs[1].bake = Span::from_secs(30 * 86_400);
    assert!(
        stage.provider().observe(&target).await.is_ok(),
        "nobody is waited for at 100%"
    );
}

#[tokio::test]
async fn hooks_wait_longer_than_the_ladder_bakes_and_a_look_tells_how_long() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let mut target = stage.target();
    target.ladder.rungs[0].bake = Span::from_secs(30 * 3_600);
    let first = order_of(&stage, 1, serving(10));
    assert_eq!(arrived(&stage, &target, &first).await, Progress::Settled);
    let hook = stage.deployment()["deploymentConfiguration"]["lifecycleHooks"][0].clone();
    let minutes = hook["timeoutConfiguration"]["timeoutInMinutes"].as_i64().unwrap();
    assert!((48 * 60..=20_160).contains(&minutes), "{minutes}");
    let told = stage
        .provider()
        .observe(&target)
        .await
        .unwrap()
        .observation
        .diagnosis
        .unwrap();
    let until = stage.account.now() + Duration::from_secs(u64::try_from(minutes).unwrap() * 60);
    let day = until.to_string()[..10].to_owned();
    assert!(told.contains(&day) && told.contains("rolls back by itself"), "{told}");
}

#[tokio::test]
async fn what_ecs_keeps_shorter_than_the_bake_is_told() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let mut target = stage.target();
    let told = async |target: &Target| stage.provider().observe(target).await.unwrap().observation.diagnosis;
    assert_eq!(told(&target).await, None);
    target.ladder.bake = Span::from_secs(23 * 3_600);
    let why = told(&target).await.unwrap();
    assert!(why.contains("at most 24h") && why.contains("1d1h18m"), "{why}");
}

#[tokio::test]
async fn alarms_that_nobody_would_watch_are_refused() {
    let sets = Stage::build(Means::TaskSets, CANARY).await;
    let mut target = sets.target();
    target.settings["alarms"] = json!(["too-many-errors"]);
    assert!(refused(&sets, &target).await.contains("`alarms`"));
    let pair = Stage::build(Means::TwoServices, CANARY).await;
    let mut target = pair.target();
    target.settings["alarms"] = json!(["too-many-errors"]);
    let why = (meridian_ecs::kind().read.0)(&target.settings).unwrap_err();
    assert!(why.contains("`alarms`"), "certain from the settings alone: {why}");
}

#[tokio::test]
async fn a_service_is_released_alone_or_as_one_of_two_and_not_both() {
    let alone = |stage: &Stage, name: &str| {
        let mut target = stage.target();
        target.settings.as_object_mut().unwrap().remove("services");
        target.settings.as_object_mut().unwrap().remove("listenerRules");
        target.settings["service"] = json!(name);
        target.ladder.rungs.remove(0);
        target
    };
    let stage = Stage::build(Means::TwoServices, CANARY).await;
    let pair = order_of(&stage, 1, serving(0));
    assert_eq!(arrived(&stage, &stage.target(), &pair).await, Progress::Settled);
    for name in ["web-blue", "web-green"] {
        let why = refused(&stage, &alone(&stage, name)).await;
        assert!(why.contains("web-blue") && why.contains("web-green"), "{why}");
    }
    for name in ["web-blue", "web-green"] {
        let stage = Stage::build(Means::TwoServices, CANARY).await;
        if name == "web-green" {
            stage.ecs(
                "UpdateService",
                json!({"cluster": "prod", "service": name, "desiredCount": 1}),
            );
            stage.account.advance(Duration::from_secs(60));
        }
        let single = order_of(&stage, 1, serving(0));
        assert_eq!(arrived(&stage, &alone(&stage, name), &single).await, Progress::Settled);
        let why = refused(&stage, &stage.target()).await;
        assert!(why.contains(name) && why.contains("alone"), "{why}");
    }
}

#[tokio::test]
async fn deployments_are_read_to_the_last_page() {
    let stage = Stage::build(Means::Native, CANARY).await;
    stage.account.page_size(1);
    let target = stage.target();
    for round in 0..3 {
        for (seq, state) in (round * 2 + 1..).zip([serving(0), DesiredState::Withdrawn]) {
            let next = order_of(&stage, seq, state);
            assert_eq!(
                arrived(&stage, &target, &next).await,
                Progress::Settled,
                "round {round}"
            );
        }
    }
}

#[tokio::test]
async fn a_role_is_assumed_where_one_is_named() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let mut target = stage.target();
    target.settings["role"] = json!({"arn": "arn:aws:iam::123456789012:role/releases", "externalId": "meridian-1"});
    assert_eq!(
        stage
            .provider()
            .observe(&target)
            .await
            .unwrap()
            .observation
            .candidate
            .name,
        "v2"
    );
    let asked = stage.served.wire.journal();
    let body = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    let assumed = asked
        .iter()
        .find(|exchange| body(&exchange.asked.body).contains("AssumeRole"))
        .unwrap();
    assert!(body(&assumed.asked.body).contains("ExternalId=meridian-1"));
}

/// What the suite cannot try: a rolling deployment has no candidate that waits without traffic.
#[tokio::test]
async fn a_rolling_deployment_of_a_broken_image_is_stuck_and_comes_back() {
    for (behaviour, word) in [
        (Behaviour::CannotPull, "cannot be pulled"),
        (Behaviour::Exits(37), "exit code 37"),
        (Behaviour::Flaps, "crash loop"),
        (Behaviour::OutOfMemory, "out of memory"),
        (Behaviour::NoCapacity, "unschedulable"),
        (Behaviour::NoQuota, "quota"),
    ] {
        let stage = Stage::build(Means::Rolling, &[10_000]).await;
        stage.account.behave(NEW, behaviour);
        let target = stage.target();
        let out = order_of(&stage, 1, serving(100));
        let Progress::Stuck { why } = arrived(&stage, &target, &out).await else {
            panic!("{behaviour:?} is settled");
        };
        assert!(why.contains(word), "{behaviour:?}: {why}");
        let back = order_of(&stage, 2, DesiredState::Withdrawn);
        assert_eq!(
            arrived(&stage, &target, &back).await,
            Progress::Settled,
            "{behaviour:?}"
        );
        let serving = stage.provider().observe(&target).await.unwrap().observation.serving;
        assert_eq!(serving.unwrap().name, "v1");
    }
}
