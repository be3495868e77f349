//! What a platform team lives through beside plain releases: autoscalers and budgets, Git as the other hand, releases that
//! follow each other.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use meridian_conformance::rig::Rig;
use meridian_doubles::kubernetes::Cluster;
use meridian_doubles::wire::{Served, Wire};
use meridian_engine::ports::failure::{Failure, Lasting};
use meridian_engine::ports::provider::{Fence, Order, Provider, Target};
use meridian_engine::run::effect::{Desired, DesiredState, Progress};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{Exposure, Release};
use serde_json::{Value, json};

use crate::double::Double;
use crate::hands::Hands;
use crate::manners::ApiServer;
use crate::rig::{BASELINE, CANDIDATE, KubernetesRig, REPLICAS};
use crate::way::{APP, Way};

pub const APPS: &str = "apis/apps/v1";
pub const COPY: &str = "shop-candidate";

/// A workload whose routes are an HTTPRoute's, and orders to it.
pub struct Story {
    pub cluster: Arc<Cluster>,
    pub rig: KubernetesRig,
    pub target: Target,
    seq: u64,
    candidate: String,
    baseline: String,
}

pub async fn given(settings: Value) -> Story {
    let cluster = Cluster::new("eu");
    let aside: Served = Wire::serve(cluster.router()).await.unwrap();
    let hands = Hands::plain(&aside.url, "default");
    let served = Wire::serve_with(cluster.router(), ApiServer, 0).await.unwrap();
    let ground = Arc::new(Double {
        cluster: Arc::clone(&cluster),
        _aside: aside,
    });
    let rig = KubernetesRig::build(Way::HttpRoute, ground, hands, served)
        .await
        .unwrap();
    let mut target = rig.target();
    for (key, value) in settings.as_object().unwrap() {
        target.settings[key] = value.clone();
    }
    Story {
        cluster,
        rig,
        target,
        seq: 0,
        candidate: CANDIDATE.to_owned(),
        baseline: BASELINE.to_owned(),
    }
}

pub fn share(percent: u16) -> DesiredState {
    DesiredState::Serving(Exposure::Traffic(Share::percent(percent).unwrap()))
}

impl Story {
    pub fn version(image: &str) -> Version {
        let mut version = Version::named(image.rsplit(':').next().unwrap());
        version.pinned = image.to_owned();
        version
    }

    pub fn cloud(&self) -> Arc<dyn Provider> {
        self.rig.provider()
    }

    pub fn order(&mut self, state: DesiredState) -> Order {
        self.seq += 1;
        let desired = Desired {
            candidate: Story::version(&self.candidate),
            baseline: Story::version(&self.baseline),
            state,
        };
        let fence = Fence {
            claim: 1,
            epoch: 1,
            seq: self.seq,
        };
        Order::rehearsed(desired, fence)
    }

    pub async fn ask(&self, order: &Order) -> Result<Progress, Failure> {
        self.cloud().ensure(&self.target, order).await
    }

    /// Asks until the answer is like that, with a second of the cluster's time between.
    pub async fn until(&self, order: &Order, like: impl Fn(&Progress) -> bool) -> Progress {
        let mut last = None;
        for _ in 0..120 {
            let progress = self.ask(order).await.unwrap();
            if like(&progress) {
                return progress;
            }
            last = Some(progress);
            self.cluster.advance(Duration::from_secs(1));
        }
        panic!("two minutes, and still {last:?}");
    }

    pub async fn settled(&mut self, state: DesiredState) -> Order {
        let order = self.order(state);
        self.until(&order, |progress| *progress == Progress::Settled).await;
        order
    }

    pub async fn told(&self, order: &Order, word: &str) {
        let is_told = |progress: &Progress| match progress {
            Progress::Moving { why: Some(why) } | Progress::Waiting { why } | Progress::Stuck { why } => {
                why.contains(word)
            }
            Progress::Settled | Progress::Moving { why: None } | Progress::Stale { .. } => false,
        };
        self.until(order, is_told).await;
    }

    pub async fn get(&self, api: &str, plural: &str, name: &str) -> Option<Value> {
        self.rig.hands.get(api, plural, name).await
    }

    pub async fn deployed(&self, name: &str) -> Value {
        self.get(APPS, "deployments", name).await.unwrap()
    }

    pub async fn replicas(&self, name: &str) -> u64 {
        self.deployed(name).await["spec"]["replicas"].as_u64().unwrap()
    }

    pub async fn weight(&self) -> u64 {
        let truth = self.rig.truth().await;
        u64::from(truth.candidate_share.basis_points()) / 100
    }

    /// Git, or a person, gives a Deployment another image.
    pub async fn deploy(&self, name: &str, image: &str) {
        let mut deployment = self.deployed(name).await;
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        let path = self.rig.hands.path(APPS, "deployments", name);
        let (status, answer) = self.rig.hands.ask(Method::PUT, &path, Some(deployment)).await;
        assert_eq!(status, 200, "{answer}");
    }
}

pub fn image(deployment: &Value) -> &str {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_candidates_autoscaler_follows_its_share_and_the_baselines_is_left_alone() {
    let mut story = given(json!({})).await;
    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": APP},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": APP},
            "minReplicas": REPLICAS, "maxReplicas": 20,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}]}});
    let scalers = ("apis/autoscaling/v2", "horizontalpodautoscalers");
    story.rig.hands.create(scalers.0, scalers.1, scaler).await;
    let before = story.get(scalers.0, scalers.1, APP).await.unwrap()["spec"].clone();
    story.settled(share(0)).await;
    story.settled(share(50)).await;
    let own = story.get(scalers.0, scalers.1, COPY).await.unwrap();
    assert_eq!(
        (&own["spec"]["minReplicas"], &own["spec"]["maxReplicas"]),
        (&json!(2), &json!(10))
    );
    assert_eq!(own["spec"]["scaleTargetRef"]["name"], COPY);
    assert!(story.replicas(COPY).await >= 2);
    story.settled(share(100)).await;
    let own = story.get(scalers.0, scalers.1, COPY).await.unwrap();
    assert_eq!(
        (&own["spec"]["minReplicas"], &own["spec"]["maxReplicas"]),
        (&json!(4), &json!(20))
    );
    story.settled(DesiredState::Withdrawn).await;
    assert_eq!(story.get(scalers.0, scalers.1, COPY).await, None);
    assert_eq!(story.get(scalers.0, scalers.1, APP).await.unwrap()["spec"], before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disruption_budget_is_taken_down_to_the_candidates_part() {
    let mut story = given(json!({})).await;
    let budgets = ("apis/policy/v1", "poddisruptionbudgets");
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": APP},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": APP}}}});
    story.rig.hands.create(budgets.0, budgets.1, budget).await;
    story.settled(share(10)).await;
    let own = story.get(budgets.0, budgets.1, COPY).await.unwrap();
    assert_eq!(
        own["spec"]["minAvailable"], 0,
        "one pod of four: kept whole, no node could be emptied"
    );
    story.settled(share(50)).await;
    let own = story.get(budgets.0, budgets.1, COPY).await.unwrap();
    assert_eq!(own["spec"]["minAvailable"], 1);
    assert_eq!(own["spec"]["selector"]["matchLabels"]["meridian/arm"], "candidate");
    story.settled(DesiredState::Withdrawn).await;
    assert_eq!(story.get(budgets.0, budgets.1, COPY).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_copy_is_the_baseline_with_another_image_and_takes_none_of_its_services_traffic() {
    let mut story = given(json!({"candidate": {"labels": {"track": "canary"}, "antiAffinity": "preferred"}})).await;
    let before = story.deployed(APP).await["spec"].clone();
    story.settled(share(0)).await;
    let copy = story.deployed(COPY).await;
    let labels = &copy["spec"]["template"]["metadata"]["labels"];
    assert_eq!(
        (&labels["app"], &labels["team"], &labels["track"]),
        (&json!("shop-candidate"), &json!("web"), &json!("canary"))
    );
    assert_eq!(image(&copy), CANDIDATE);
    assert_eq!(copy["spec"]["minReadySeconds"], 2);
    let away = &copy["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"];
    assert_eq!(
        away["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"]["labelSelector"]["matchLabels"]["app"],
        APP
    );
    assert_eq!(
        story.deployed(APP).await["spec"],
        before,
        "the baseline is untouched until the close"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_version_is_kept_for_its_time_after_the_order_to_promote() {
    let mut story = given(json!({"keepBaseline": "30s"})).await;
    story.settled(share(100)).await;
    let order = story.order(DesiredState::Promoted);
    story.told(&order, "is kept ready until").await;
    assert_eq!(image(&story.deployed(APP).await), BASELINE);
    story.cluster.advance(Duration::from_secs(31));
    story.until(&order, |progress| *progress == Progress::Settled).await;
    assert_eq!(image(&story.deployed(APP).await), CANDIDATE);
    assert_eq!(story.get(APPS, "deployments", COPY).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_promotion_by_git_the_original_is_waited_for_and_never_patched() {
    let mut story = given(json!({"promotion": "external"})).await;
    story.settled(share(100)).await;
    let order = story.order(DesiredState::Promoted);
    story.told(&order, "waits until Git").await;
    assert_eq!(image(&story.deployed(APP).await), BASELINE);
    story.deploy(APP, CANDIDATE).await;
    story.until(&order, |progress| *progress == Progress::Settled).await;
    assert_eq!(story.get(APPS, "deployments", COPY).await, None);
    let back = story.order(DesiredState::Reverted);
    story.told(&back, "waits until Git has given").await;
    assert_eq!(image(&story.deployed(APP).await), CANDIDATE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_changes_are_put_right_so_many_times_and_then_held() {
    let mut story = given(json!({"drift": {"reassert": {"times": 2}}})).await;
    let order = story.settled(share(50)).await;
    for _ in 0..2 {
        assert!(Way::HttpRoute.revert(&story.rig.hands).await);
        assert_eq!(story.weight().await, 0);
        story.until(&order, |progress| *progress == Progress::Settled).await;
        assert_eq!(story.weight().await, 50);
    }
    Way::HttpRoute.revert(&story.rig.hands).await;
    story.told(&order, "put right 2 times").await;
    assert_eq!(story.weight().await, 0);
    story.settled(DesiredState::Reverted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_changes_are_left_and_reported_ones_never_exceed_the_order() {
    let mut story = given(json!({"drift": "hold"})).await;
    let order = story.settled(share(50)).await;
    Way::HttpRoute.revert(&story.rig.hands).await;
    story.told(&order, "`drift: hold`").await;
    assert_eq!(story.weight().await, 0);

    let mut story = given(json!({"drift": "report"})).await;
    let order = story.settled(share(10)).await;
    Way::HttpRoute.revert(&story.rig.hands).await;
    assert_eq!(story.ask(&order).await, Ok(Progress::Settled));
    let more = story
        .rig
        .hands
        .get("apis/gateway.networking.k8s.io/v1", "httproutes", APP)
        .await
        .unwrap();
    let mut rules = more["spec"]["rules"].clone();
    for rule in rules.as_array_mut().unwrap() {
        for backend in rule["backendRefs"].as_array_mut().unwrap() {
            backend["weight"] = json!(1);
        }
    }
    story
        .rig
        .hands
        .patch(
            "apis/gateway.networking.k8s.io/v1",
            "httproutes",
            APP,
            json!({"spec": {"rules": rules}}),
        )
        .await;
    story.told(&order, "more than was ordered").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_no_order_knows_is_never_touched() {
    let mut story = given(json!({})).await;
    story.settled(share(50)).await;
    story.deploy(APP, "registry.example.com/shop:hotfix").await;
    let order = story.order(share(100));
    story.told(&order, "shop:hotfix").await;
    let back = story.order(DesiredState::Withdrawn);
    story.told(&back, "shop:hotfix").await;
    assert_eq!(story.weight().await, 0);
    assert_eq!(image(&story.deployed(APP).await), "registry.example.com/shop:hotfix");
    assert_eq!(story.get(APPS, "deployments", COPY).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_candidate_loses_its_traffic_before_a_newer_one_stands() {
    let mut story = given(json!({})).await;
    story.settled(share(50)).await;
    story.candidate = "registry.example.com/shop:v3".to_owned();
    let order = story.order(share(10));
    let mut seen = Vec::new();
    for _ in 0..60 {
        let copy = story.deployed(COPY).await;
        let route = story
            .rig
            .hands
            .get("apis/gateway.networking.k8s.io/v1", "httproutes", APP)
            .await
            .unwrap();
        let weights = &route["spec"]["rules"][0]["backendRefs"];
        let has = weights
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["name"] != APP && one["weight"].as_u64() > Some(0));
        seen.push((image(&copy).to_owned(), has));
        if story.ask(&order).await.unwrap() == Progress::Settled {
            break;
        }
        story.cluster.advance(Duration::from_secs(1));
    }
    let changed = seen.iter().position(|(image, _)| image.ends_with(":v3")).unwrap();
    assert!(!seen[changed].1, "v3 stands where v2 has traffic: {seen:?}");
    assert_eq!(story.replicas(COPY).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_refused_before_anything_opens() {
    let refused = |story: &Story| {
        let (cloud, target) = (story.cloud(), story.target.clone());
        async move {
            let failure = cloud.observe(&target).await.unwrap_err();
            assert_eq!(failure.lasting, Lasting::Yes, "{failure}");
            failure.what
        }
    };
    let mut story = given(json!({"container": "sidecar"})).await;
    assert!(refused(&story).await.contains("no container `sidecar`"));
    story.target.settings["container"] = Value::Null;
    story.target.release = Release::Flag("new".into());
    assert!(refused(&story).await.contains("images"));
    story.target.release = Release::Image(CANDIDATE.into());
    story.target.settings["traffic"] = json!({"httpRoute": {"name": "nowhere"}});
    assert!(refused(&story).await.contains("nowhere"));
    story.target.settings["traffic"] = json!({"httpRoute": {"name": APP}});
    story.target.settings["candidate"] = json!({"suffix": "mine"});
    let mut foreign = story.deployed(APP).await;
    foreign["metadata"] = json!({"name": "shop-mine"});
    foreign["status"] = Value::Null;
    story.rig.hands.create(APPS, "deployments", foreign).await;
    assert!(refused(&story).await.contains("shop-mine"));
    story.target.settings["candidate"] = Value::Null;
    story
        .rig
        .hands
        .patch(APPS, "deployments", APP, json!({"spec": {"paused": true}}))
        .await;
    assert!(refused(&story).await.contains("paused"));
    assert_eq!(story.rig.served.wire.writes(), 0);
}
