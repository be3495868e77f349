//! What ECS shows late, and what others do in the middle of a run: nothing is done twice, and the way back stays open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use meridian_conformance::rig::{Fault, Rig as _, Strike};
use meridian_engine::ports::failure::Lasting;
use meridian_engine::ports::provider::Provider as _;
use meridian_engine::run::effect::{DesiredState, Progress};
use meridian_workflows::share::Share;
use serde_json::{Value, json};

use crate::orders::{arrived, order_of, serving};
use crate::stage::{Means, Stage};

const CANARY: &[u16] = &[1_000, 10_000];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How often an operation was asked for on the wire.
fn asked(stage: &Stage, operation: &str) -> u64 {
    let ends = format!(".{operation}");
    stage.served.wire.count(|exchange| {
        exchange
            .asked
            .header("x-amz-target")
            .is_some_and(|target| target.ends_with(&ends))
    })
}

fn deployments(stage: &Stage) -> usize {
    stage.account.show_deployments_late(Duration::ZERO, Duration::ZERO);
    let listed = stage.ecs("ListServiceDeployments", json!({"cluster": "prod", "service": "web"}));
    listed["serviceDeployments"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_deployment_that_shows_late_is_not_ordered_again() {
    for (listed, named) in [(30, 30), (0, 3_600), (30, 0)] {
        let stage = Stage::build(Means::Native, CANARY).await;
        let target = stage.target();
        stage.account.advance(seconds(4_000));
        stage.account.show_deployments_late(seconds(listed), seconds(named));
        for (seq, state) in (1..).zip([serving(0), serving(100)]) {
            let next = order_of(&stage, seq, state);
            assert_eq!(arrived(&stage, &target, &next).await, Progress::Settled);
        }
        assert_eq!(asked(&stage, "UpdateService"), 1, "{listed} {named}");
        stage.account.advance(seconds(120));
        let back = order_of(&stage, 3, DesiredState::Reverted);
        assert_eq!(arrived(&stage, &target, &back).await, Progress::Settled);
        assert_eq!(stage.truth().await.candidate_share, Share::ZERO);
        assert_eq!(
            asked(&stage, "UpdateService"),
            2,
            "the way back is ordered once: {listed} {named}"
        );
        assert_eq!(deployments(&stage), 3, "the one before, out and back: {listed} {named}");
    }
}

#[tokio::test]
async fn a_deployment_that_never_shows_is_ordered_again_after_a_minute_and_no_sooner() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let target = stage.target();
    stage.account.show_deployments_late(seconds(86_400), seconds(86_400));
    let out = order_of(&stage, 1, serving(0));
    for _ in 0..10 {
        let progress = stage.provider().ensure(&target, &out).await.unwrap();
        assert!(matches!(progress, Progress::Moving { .. }), "{progress:?}");
        stage.account.advance(seconds(5));
    }
    assert_eq!(asked(&stage, "UpdateService"), 1);
    stage.account.advance(seconds(15));
    stage.provider().ensure(&target, &out).await.unwrap();
    assert_eq!(asked(&stage, "UpdateService"), 2);
}

#[tokio::test]
async fn nothing_is_back_while_a_deployment_that_was_ordered_does_not_show_yet() {
    for means in [Means::Native, Means::Rolling] {
        let stage = Stage::build(means, &[10_000]).await;
        let target = stage.target();
        stage.account.show_deployments_late(seconds(20), seconds(20));
        let out = order_of(&stage, 1, serving(100));
        stage.provider().ensure(&target, &out).await.unwrap();
        stage.account.advance(seconds(2));
        let back = order_of(&stage, 2, DesiredState::Withdrawn);
        assert_eq!(arrived(&stage, &target, &back).await, Progress::Settled, "{means:?}");
        stage.account.advance(seconds(600));
        let truth = stage.truth().await;
        assert_eq!(truth.candidate_share, Share::ZERO, "{means:?}");
        let names: Vec<&str> = truth.standing.iter().map(|version| version.name.as_str()).collect();
        assert_eq!(names, ["v1"], "{means:?}");
    }
}

/// An older owner whose tag arrives after ours so many times.
fn overwriting(stage: &Stage, times: usize) {
    let account = Arc::clone(&stage.account);
    let arn = stage.service()["serviceArn"].clone();
    let left = AtomicUsize::new(times);
    stage
        .served
        .wire
        .fault(Fault::Status(500), Strike::next(1_000), move |request| {
            let reads = request
                .header("x-amz-target")
                .is_some_and(|target| target.ends_with("ListTagsForResource"));
            let comes = reads
                && left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                    .is_ok();
            if comes {
                let tags = json!([{"key": "meridian/fence", "value": "1.1.1"}]);
                account
                    .ecs("TagResource", json!({"resourceArn": arn, "tags": tags}))
                    .unwrap();
            }
            false
        });
}

fn fence(stage: &Stage) -> Value {
    let arn = stage.service()["serviceArn"].clone();
    let tags = stage.ecs("ListTagsForResource", json!({"resourceArn": arn}))["tags"].clone();
    let own = tags
        .as_array()
        .unwrap()
        .iter()
        .find(|tag| tag["key"] == "meridian/fence");
    own.unwrap()["value"].clone()
}

#[tokio::test]
async fn a_fence_that_an_older_owner_overwrote_is_written_again_before_anything_is_changed() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let target = stage.target();
    overwriting(&stage, 1);
    let newer = order_of(&stage, 2, serving(0));
    stage.provider().ensure(&target, &newer).await.unwrap();
    assert_eq!((fence(&stage), asked(&stage, "UpdateService")), (json!("1.1.2"), 1));

    let stubborn = Stage::build(Means::Native, CANARY).await;
    overwriting(&stubborn, 1_000);
    let progress = stubborn
        .provider()
        .ensure(&stubborn.target(), &order_of(&stubborn, 2, serving(0)))
        .await;
    assert!(matches!(progress.unwrap(), Progress::Moving { .. }));
    assert_eq!(
        asked(&stubborn, "UpdateService"),
        0,
        "nothing is changed under another's fence"
    );
    assert!(asked(&stubborn, "TagResource") < 10);
}

fn update(stage: &Stage, key: &str, value: Value) {
    let mut request = json!({"cluster": "prod", "service": "web"});
    request[key] = value;
    stage.ecs("UpdateService", request);
}

/// Adds a pause hook of somebody else's to what the service is configured with.
fn add_foreign_pause(stage: &Stage) {
    let mut config = stage.service()["deploymentConfiguration"].clone();
    let pause = json!({"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"]});
    let mut hooks = config["lifecycleHooks"].as_array().cloned().unwrap_or_default();
    hooks.push(pause);
    config["lifecycleHooks"] = json!(hooks);
    update(stage, "deploymentConfiguration", config);
}

#[tokio::test]
async fn what_would_refuse_an_opening_does_not_refuse_the_way_back_of_a_deployment() {
    let meddle: [fn(&Stage); 2] = [add_foreign_pause, |stage| update(stage, "desiredCount", json!(0))];
    for (case, meddle) in meddle.iter().enumerate() {
        // From a share in between ECS goes back; from the end the old version is deployed again.
        for last in [10, 100] {
            let stage = Stage::build(Means::Native, CANARY).await;
            let target = stage.target();
            let out = order_of(&stage, 1, serving(last));
            assert_eq!(arrived(&stage, &target, &out).await, Progress::Settled);
            stage.account.advance(seconds(120));
            meddle(&stage);
            stage.account.advance(seconds(60));
            let refused = stage
                .provider()
                .ensure(&target, &order_of(&stage, 2, serving(100)))
                .await;
            assert!(
                refused.is_err_and(|failure| failure.lasting == Lasting::Yes),
                "{case} {last}"
            );
            let back = order_of(&stage, 3, DesiredState::Withdrawn);
            assert_eq!(
                arrived(&stage, &target, &back).await,
                Progress::Settled,
                "{case} {last}"
            );
            assert_eq!(stage.truth().await.candidate_share, Share::ZERO, "{case} {last}");
        }
    }
}

fn weights(stage: &Stage) -> Vec<(String, String)> {
    let described = stage.elb("DescribeRules", json!({"RuleArns": [stage.rule]}));
    let groups = described["Rules"][0]["Actions"][0]["ForwardConfig"]["TargetGroups"].clone();
    let read = |group: &Value| {
        (
            group["TargetGroupArn"].as_str().unwrap().to_owned(),
            group["Weight"].to_string(),
        )
    };
    let mut weights: Vec<(String, String)> = groups.as_array().unwrap().iter().map(read).collect();
    weights.sort();
    weights
}

/// A target group of somebody else's, behind the same load balancer.
fn third_group(stage: &Stage) -> String {
    let wanted = json!({"Name": "third", "Protocol": "HTTP", "Port": 80, "VpcId": "vpc-1", "TargetType": "ip"});
    let made = stage.elb("CreateTargetGroup", wanted);
    let group = made["TargetGroups"][0]["TargetGroupArn"].as_str().unwrap().to_owned();
    let balancer = stage.elb("DescribeLoadBalancers", json!({}))["LoadBalancers"][0]["LoadBalancerArn"].clone();
    let listener = stage.elb("DescribeListeners", json!({"LoadBalancerArn": balancer}))["Listeners"][0].clone();
    stage.elb(
        "CreateRule",
        json!({
            "ListenerArn": listener["ListenerArn"],
            "Priority": 30,
            "Conditions": [{"Field": "path-pattern", "Values": ["/30/*"]}],
            "Actions": [{"Type": "forward", "TargetGroupArn": group}],
        }),
    );
    group
}

#[tokio::test]
async fn a_third_target_group_keeps_its_weight_while_the_candidate_loses_its_own() {
    for means in [Means::TaskSets, Means::TwoServices] {
        for state in [DesiredState::Reverted, DesiredState::Withdrawn] {
            let stage = Stage::build(means, CANARY).await;
            let target = stage.target();
            let out = order_of(&stage, 1, serving(10));
            assert_eq!(arrived(&stage, &target, &out).await, Progress::Settled);
            let third = third_group(&stage);
            let forward = json!([{"Type": "forward", "ForwardConfig": {"TargetGroups": [
                {"TargetGroupArn": stage.blue, "Weight": 500},
                {"TargetGroupArn": stage.green, "Weight": 250},
                {"TargetGroupArn": third, "Weight": 250},
            ]}}]);
            stage.elb("ModifyRule", json!({"RuleArn": stage.rule, "Actions": forward}));
            let up = stage
                .provider()
                .ensure(&target, &order_of(&stage, 2, serving(100)))
                .await;
            assert!(
                matches!(up.unwrap(), Progress::Stuck { why } if why.contains(&third)),
                "{means:?}"
            );
            let back = order_of(&stage, 3, state.clone());
            assert_eq!(
                arrived(&stage, &target, &back).await,
                Progress::Settled,
                "{means:?} {state:?}"
            );
            let expected = [(&stage.blue, "750"), (&stage.green, "0"), (&third, "250")];
            let mut expected = expected.map(|(group, weight)| (group.clone(), weight.to_owned()));
            expected.sort();
            assert_eq!(weights(&stage), expected, "{means:?} {state:?}");
        }
    }
}

#[tokio::test]
async fn a_stray_task_set_does_not_hold_up_the_way_back() {
    for behind_ours in [false, true] {
        let stage = Stage::build(Means::TaskSets, CANARY).await;
        let target = stage.target();
        let out = order_of(&stage, 1, serving(10));
        assert_eq!(arrived(&stage, &target, &out).await, Progress::Settled);
        let group = if behind_ours {
            stage.green.clone()
        } else {
            third_group(&stage)
        };
        let balancer = json!([{"targetGroupArn": group, "containerName": "web", "containerPort": 80}]);
        stage.ecs(
            "CreateTaskSet",
            json!({
                "cluster": "prod", "service": "web", "taskDefinition": "web:1", "loadBalancers": balancer,
                "scale": {"value": 10.0, "unit": "PERCENT"},
            }),
        );
        stage.account.advance(seconds(60));
        let up = stage
            .provider()
            .ensure(&target, &order_of(&stage, 2, serving(100)))
            .await;
        assert!(
            up.is_err_and(|failure| failure.lasting == Lasting::Yes),
            "{behind_ours}"
        );
        let back = order_of(&stage, 3, DesiredState::Withdrawn);
        assert_eq!(
            arrived(&stage, &target, &back).await,
            Progress::Settled,
            "{behind_ours}"
        );
        assert_eq!(stage.truth().await.candidate_share, Share::ZERO, "{behind_ours}");
        let left = stage.service()["taskSets"].to_string();
        assert!(!left.contains("web:2"), "the candidate is gone: {left}");
    }
}
