//! What is not ours is kept as it was: alarms, strategies, tags, authentication.

use std::time::Duration;

use meridian_conformance::rig::Rig as _;
use meridian_engine::ports::provider::Provider as _;
use meridian_engine::ports::provider::Target;
use meridian_engine::run::effect::{DesiredState, Progress};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Release;
use serde_json::{Value, json};

use crate::orders::{arrived, order_of, serving};
use crate::stage::{Means, Stage};

const CANARY: &[u16] = &[1_000, 10_000];

#[tokio::test]
async fn an_alarm_does_not_turn_the_way_back_round() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let mut target = stage.target();
    target.settings["alarms"] = json!(["too-many-errors"]);
    let out = order_of(&stage, 1, serving(100));
    assert_eq!(arrived(&stage, &target, &out).await, Progress::Settled);
    stage.account.advance(Duration::from_secs(120));
    assert_eq!(stage.deployment()["status"], "SUCCESSFUL");
    let back = order_of(&stage, 2, DesiredState::Reverted);
    stage.provider().ensure(&target, &back).await.unwrap();
    stage.account.alarm("too-many-errors", true);
    assert_eq!(arrived(&stage, &target, &back).await, Progress::Settled);
    assert_eq!(stage.truth().await.candidate_share, Share::ZERO);
}

fn configuration(stage: &Stage) -> Value {
    stage.service()["deploymentConfiguration"].clone()
}

#[tokio::test]
async fn a_service_is_left_configured_as_it_was() {
    let alarms = json!({"alarmNames": ["own: errors & \"such\"", "own-latency"], "enable": true, "rollback": false});
    let own = json!({
        "strategy": "LINEAR",
        "bakeTimeInMinutes": 1,
        "linearConfiguration": {"stepPercent": 20.5, "stepBakeTimeInMinutes": 3},
        "alarms": alarms,
    });
    let many: Vec<String> = (0..10)
        .map(|number| format!("{number}-{}", "alarm".repeat(50)))
        .collect();
    let many = json!({"strategy": "ROLLING", "alarms": {"alarmNames": many, "enable": true, "rollback": true}});
    for (case, own) in [own, many].iter().enumerate() {
        for ends in [
            vec![serving(100), DesiredState::Promoted],
            vec![serving(10), DesiredState::Withdrawn],
            vec![serving(100), DesiredState::Promoted, DesiredState::Withdrawn],
        ] {
            let stage = Stage::build(Means::Native, CANARY).await;
            stage.ecs(
                "UpdateService",
                json!({"cluster": "prod", "service": "web", "deploymentConfiguration": own}),
            );
            let before = configuration(&stage);
            let mut target = stage.target();
            target.settings["alarms"] = json!(["ours"]);
            for (seq, state) in (1..).zip(&ends) {
                let next = order_of(&stage, seq, state.clone());
                assert_eq!(
                    arrived(&stage, &target, &next).await,
                    Progress::Settled,
                    "{case} {ends:?}"
                );
                let alarms = configuration(&stage)["alarms"].to_string();
                assert_eq!(
                    alarms.contains("ours"),
                    matches!(state, DesiredState::Serving(_)),
                    "{case} {alarms}"
                );
            }
            assert_eq!(configuration(&stage), before, "{case} {ends:?}");
        }
    }
}

#[tokio::test]
async fn what_somebody_configured_anew_since_is_what_is_restored() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let target = stage.target();
    let round = async |first: u64| {
        for (seq, state) in (first..).zip([serving(10), DesiredState::Withdrawn]) {
            let next = order_of(&stage, seq, state);
            assert_eq!(arrived(&stage, &target, &next).await, Progress::Settled);
        }
    };
    round(1).await;
    let new = json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 7});
    stage.ecs(
        "UpdateService",
        json!({"cluster": "prod", "service": "web", "deploymentConfiguration": new}),
    );
    let before = configuration(&stage);
    round(3).await;
    assert_eq!(configuration(&stage), before);
}

#[tokio::test]
async fn a_new_revision_has_the_tags_of_the_one_before() {
    let stage = Stage::build(Means::Native, CANARY).await;
    let arn = stage.service()["taskDefinition"].clone();
    let tags = json!([{"key": "team", "value": "payments"}, {"key": "cost-centre", "value": "4711"}]);
    stage.ecs("TagResource", json!({"resourceArn": arn, "tags": tags}));
    let target = Target {
        release: Release::Image("registry.example.com/web:v3".into()),
        ..stage.target()
    };
    let look = async || {
        stage
            .provider()
            .observe(&target)
            .await
            .unwrap()
            .observation
            .candidate
            .pinned
    };
    let first = look().await;
    let described = stage.ecs(
        "DescribeTaskDefinition",
        json!({"taskDefinition": first, "include": ["TAGS"]}),
    );
    let tags = described["tags"].to_string();
    for part in ["payments", "4711", "meridian/candidate"] {
        assert!(tags.contains(part), "{part}: {tags}");
    }
    assert_eq!(look().await, first, "looking twice registers once");
    stage.ecs(
        "TagResource",
        json!({"resourceArn": first, "tags": [{"key": "team", "value": "other"}]}),
    );
    assert_ne!(look().await, first, "a revision with other tags is another one");
}

#[tokio::test]
async fn authentication_before_the_weights_keeps_its_secret() {
    let stage = Stage::build(Means::TwoServices, CANARY).await;
    let oidc = json!({
        "Issuer": "https://id.example.com", "AuthorizationEndpoint": "https://id.example.com/a",
        "TokenEndpoint": "https://id.example.com/t", "UserInfoEndpoint": "https://id.example.com/u",
        "ClientId": "web", "ClientSecret": "s3cret", "Scope": "openid",
    });
    let forward = json!({"TargetGroups": [{"TargetGroupArn": stage.blue, "Weight": 100}]});
    let actions = json!([
        {"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": oidc},
        {"Type": "forward", "Order": 2, "ForwardConfig": forward},
    ]);
    stage.elb("ModifyRule", json!({"RuleArn": stage.rule, "Actions": actions}));
    let target = stage.target();
    let out = order_of(&stage, 1, serving(10));
    assert_eq!(arrived(&stage, &target, &out).await, Progress::Settled);
    assert_eq!(stage.truth().await.candidate_share, Share::percent(10).unwrap());
    let described = stage.elb("DescribeRules", json!({"RuleArns": [stage.rule]}));
    assert_eq!(
        described["Rules"][0]["Actions"][0]["AuthenticateOidcConfig"]["Scope"],
        "openid"
    );
}
