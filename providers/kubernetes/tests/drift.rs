//! What others do to a release that is under way, and what of it is told: autoscalers, Git, a person at night.

use std::time::Duration;

use meridian_conformance::rig::{Fault, Strike};
use meridian_engine::run::effect::{DesiredState, Progress};
use serde_json::{Value, json};

use crate::rig::{CANDIDATE, REPLICAS};
use crate::stories::{APPS, COPY, Story, given, image, share};
use crate::way::{APP, Way};

const SCALERS: (&str, &str) = ("apis/autoscaling/v2", "horizontalpodautoscalers");

/// An autoscaler of the baseline that would be content with one pod.
async fn autoscaled(story: &Story) -> Value {
    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": APP},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": APP},
            "minReplicas": 1, "maxReplicas": 20,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}]}});
    story.rig.hands.create(SCALERS.0, SCALERS.1, scaler).await;
    story.cluster.load("default", APP, 220);
    story.get(SCALERS.0, SCALERS.1, APP).await.unwrap()["spec"].clone()
}

async fn ready(story: &Story, name: &str) -> u64 {
    story.deployed(name).await["status"]["readyReplicas"]
        .as_u64()
        .unwrap_or(0)
}

async fn said(story: &Story) -> String {
    let observed = story.cloud().observe(&story.target).await.unwrap();
    observed.observation.diagnosis.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_baseline_keeps_the_pods_that_the_way_back_needs() {
    let mut story = given(json!({})).await;
    let before = autoscaled(&story).await;
    story.settled(share(100)).await;
    story.cluster.load("default", APP, 5);
    story.cluster.advance(Duration::from_secs(900));
    let back = story.order(DesiredState::Reverted);
    let mut at_the_shift = None;
    for _ in 0..120 {
        let progress = story.ask(&back).await.unwrap();
        if story.weight().await == 0 && at_the_shift.is_none() {
            at_the_shift = Some(ready(&story, APP).await);
        }
        if progress == Progress::Settled {
            break;
        }
        story.cluster.advance(Duration::from_secs(1));
    }
    assert_eq!(at_the_shift, Some(REPLICAS), "all of the traffic comes back at once");
    story.cluster.load("default", APP, 220);
    story.settled(DesiredState::Withdrawn).await;
    let scaler = story.get(SCALERS.0, SCALERS.1, APP).await.unwrap();
    assert_eq!(scaler["spec"], before, "the autoscaler is left as it was found");
    assert_eq!(scaler["metadata"]["annotations"]["meridian/floor"], Value::Null);
    story.cluster.advance(Duration::from_secs(900));
    assert_eq!(story.replicas(APP).await, REPLICAS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_does_not_fight_with_the_autoscaler_of_an_idle_baseline() {
    let mut story = given(json!({})).await;
    let before = autoscaled(&story).await;
    story.settled(share(100)).await;
    story.cluster.load("default", APP, 5);
    story.cluster.advance(Duration::from_secs(900));
    let order = story.order(DesiredState::Promoted);
    story
        .until(&order, |progress| {
            story.cluster.load("default", APP, 220);
            *progress == Progress::Settled
        })
        .await;
    assert_eq!(story.get(SCALERS.0, SCALERS.1, APP).await.unwrap()["spec"], before);
    assert_eq!(story.replicas(APP).await, REPLICAS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_right_is_told_once_and_a_look_remembers_it() {
    let mut story = given(json!({})).await;
    let order = story.settled(share(50)).await;
    assert!(Way::HttpRoute.revert(&story.rig.hands).await);
    assert!(
        said(&story)
            .await
            .contains("set the candidate's share to 0% instead of 50%")
    );
    let told = story.ask(&order).await.unwrap();
    let Progress::Moving { why: Some(why) } = &told else {
        panic!("{told:?}");
    };
    assert!(
        why.contains("share to 0% instead of 50%; it is being put right"),
        "{why}"
    );
    story.until(&order, |progress| *progress == Progress::Settled).await;
    assert!(said(&story).await.ends_with("it was put right"));
    assert_eq!(story.ask(&order).await, Ok(Progress::Settled));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_reported_is_told_by_a_look() {
    let mut story = given(json!({"drift": "report"})).await;
    let order = story.settled(share(50)).await;
    Way::HttpRoute.revert(&story.rig.hands).await;
    assert_eq!(story.ask(&order).await, Ok(Progress::Settled));
    assert!(
        said(&story)
            .await
            .contains("set the candidate's share to 0% instead of 50%")
    );
    story.rig.hands.delete(APPS, "deployments", COPY).await;
    story.told(&order, "`drift: report`").await;
    assert!(said(&story).await.contains("deleted the candidate's Deployment"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_goes_back_although_somebody_has_deployed_to_the_original() {
    let mut story = given(json!({})).await;
    story.settled(share(10)).await;
    story.settled(share(50)).await;
    story.deploy(APP, "registry.example.com/shop:hotfix").await;
    let order = story.order(share(10));
    story.told(&order, "shop:hotfix").await;
    assert_eq!(story.weight().await, 10);
    assert_eq!(image(&story.deployed(APP).await), "registry.example.com/shop:hotfix");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_after_staging_tells_what_the_candidates_pods_run() {
    let mut story = given(json!({})).await;
    let digest = |story: &Story| {
        let (cloud, target) = (story.cloud(), story.target.clone());
        async move { cloud.observe(&target).await.unwrap().observation.candidate_digest }
    };
    assert_eq!(digest(&story).await, None, "nothing of it stands yet");
    story.settled(share(0)).await;
    let pods = story.rig.hands.list("api/v1", "pods").await;
    let of_copy = pods
        .iter()
        .find(|pod| pod["spec"]["containers"][0]["image"] == CANDIDATE)
        .unwrap();
    let id = of_copy["status"]["containerStatuses"][0]["imageID"].as_str().unwrap();
    assert_eq!(digest(&story).await.as_deref(), Some(id.rsplit('@').next().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pace_of_a_rolling_update_goes_with_the_undo() {
    let mut story = given(json!({"traffic": null, "strategy": "rolling",
        "rolling": {"maxSurge": 3, "maxUnavailable": 0, "minReadySeconds": 3, "progressDeadlineSeconds": 30}}))
    .await;
    let spec = story.deployed(APP).await["spec"].clone();
    let pace = |spec: &Value| ["strategy", "minReadySeconds", "progressDeadlineSeconds"].map(|key| spec[key].clone());
    story.settled(share(100)).await;
    assert_ne!(pace(&story.deployed(APP).await["spec"]), pace(&spec));
    story.settled(DesiredState::Reverted).await;
    assert_eq!(pace(&story.deployed(APP).await["spec"]), pace(&spec));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_git_takes_back_while_it_is_promoted_is_told() {
    let mut story = given(json!({"keepBaseline": "0s", "drift": {"reassert": {"times": 1}}})).await;
    story.settled(share(100)).await;
    let order = story.order(DesiredState::Promoted);
    let baseline = image(&story.deployed(APP).await).to_owned();
    for word in ["its image of v1 back; it is being put right", "put right 1 times"] {
        for _ in 0..60 {
            if image(&story.deployed(APP).await) == CANDIDATE {
                break;
            }
            story.ask(&order).await.unwrap();
            story.cluster.advance(Duration::from_secs(1));
        }
        story.deploy(APP, &baseline).await;
        story.told(&order, word).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_were_rotated_are_read_again_at_the_first_refusal() {
    let mut story = given(json!({})).await;
    let order = story.order(share(0));
    let wire = &story.rig.served.wire;
    wire.fault(Fault::Unauthenticated, Strike::next(1), |_| true);
    assert!(story.cloud().identify(&story.target).await.is_ok());
    wire.fault(Fault::Unauthenticated, Strike::next(1), |_| true);
    assert!(story.cloud().observe(&story.target).await.is_ok());
    wire.fault(Fault::Unauthenticated, Strike::next(1), |_| true);
    assert!(story.ask(&order).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_is_taken_away_although_what_stands_around_it_cannot_be_mended() {
    let mut story = given(json!({})).await;
    story.settled(share(50)).await;
    story.rig.hands.delete("api/v1", "services", COPY).await;
    let wire = &story.rig.served.wire;
    wire.fault(Fault::Forbidden, Strike::next(1_000), |asked| {
        !asked.method.is_safe() && asked.path().contains("/services")
    });
    story.settled(DesiredState::Reverted).await;
    assert_eq!(story.weight().await, 0);
}
