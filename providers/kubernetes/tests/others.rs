//! What others do to pods, routes and Services while a release is under way, in every way of splitting traffic that it concerns.

use std::sync::Arc;
use std::time::Duration;

use meridian_conformance::rig::{Rig, Truth};
use meridian_doubles::kubernetes::Cluster;
use meridian_doubles::wire::{Served, Wire};
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::{Fence, Order};
use meridian_engine::run::effect::{Desired, DesiredState, Progress};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;
use serde_json::{Value, json};

use crate::double::Double;
use crate::hands::Hands;
use crate::manners::ApiServer;
use crate::rig::{BASELINE, CANDIDATE, KubernetesRig};
use crate::way::{APP, Way};

const APPS: &str = "apis/apps/v1";
const COPY: &str = "shop-candidate";

/// One workload on a double, and orders to it.
struct Release {
    way: Way,
    cluster: Arc<Cluster>,
    rig: KubernetesRig,
    seq: u64,
}

async fn given(way: Way) -> Release {
    let cluster = Cluster::new("eu");
    let aside: Served = Wire::serve(cluster.router()).await.unwrap();
    let hands = Hands::plain(&aside.url, "default");
    let served = Wire::serve_with(cluster.router(), ApiServer, 0).await.unwrap();
    let ground = Arc::new(Double {
        cluster: Arc::clone(&cluster),
        _aside: aside,
    });
    let rig = KubernetesRig::build(way, ground, hands, served).await.unwrap();
    Release {
        way,
        cluster,
        rig,
        seq: 0,
    }
}

fn share(percent: u16) -> DesiredState {
    DesiredState::Serving(Exposure::Traffic(Share::percent(percent).unwrap()))
}

fn version(image: &str) -> Version {
    let mut version = Version::named(image.rsplit(':').next().unwrap());
    version.pinned = image.to_owned();
    version
}

impl Release {
    fn order(&mut self, state: DesiredState) -> Order {
        self.seq += 1;
        let desired = Desired {
            candidate: version(CANDIDATE),
            baseline: version(BASELINE),
            state,
        };
        let fence = Fence {
            claim: 1,
            epoch: 1,
            seq: self.seq,
        };
        Order::rehearsed(desired, fence)
    }

    async fn ask(&self, order: &Order) -> Result<Progress, Failure> {
        self.rig.provider().ensure(&self.rig.target(), order).await
    }

    async fn settled(&mut self, state: DesiredState) {
        let order = self.order(state);
        let mut last = None;
        for _ in 0..120 {
            let progress = self.ask(&order).await;
            if progress == Ok(Progress::Settled) {
                return;
            }
            last = Some(progress);
            self.cluster.advance(Duration::from_secs(1));
        }
        panic!("{:?}: two minutes, and still {last:?}", self.way);
    }

    async fn truth(&self) -> Truth {
        self.rig.truth().await
    }

    fn hands(&self) -> &Hands {
        &self.rig.hands
    }

    /// Puts another object in the place of what stands there.
    async fn change(&self, api: &str, plural: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.hands().get(api, plural, name).await.unwrap();
        change(&mut object);
        let path = self.hands().path(api, plural, name);
        let (status, answer) = self.hands().ask(hyper::Method::PUT, &path, Some(object)).await;
        assert_eq!(status, 200, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_baseline_in_a_bake_costs_no_request() {
    let mut release = given(Way::IstioSubsets).await;
    release.settled(share(50)).await;
    assert_eq!(release.truth().await.candidate_share, Share::percent(50).unwrap());
    let restart = json!({"spec": {"template": {"metadata": {"annotations": {"restartedAt": "now"}}}}});
    release.hands().patch(APPS, "deployments", APP, restart).await;
    for second in 0..60 {
        release.cluster.advance(Duration::from_secs(1));
        let truth = release.truth().await;
        assert_eq!(
            truth.lost,
            Share::ZERO,
            "{second} s after the restart, while nobody asks"
        );
        assert_eq!(truth.candidate_share, Share::percent(50).unwrap());
    }
    release.settled(share(100)).await;
    assert_eq!(release.truth().await.candidate_share, Share::FULL);
    release.settled(DesiredState::Withdrawn).await;
    let truth = release.truth().await;
    assert_eq!((truth.candidate_share, truth.lost), (Share::ZERO, Share::ZERO));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_side_apply_of_the_switched_service_goes_back_to_the_baseline_whole() {
    let mut release = given(Way::Services).await;
    release.settled(share(100)).await;
    assert_eq!(release.truth().await.candidate_share, Share::FULL);
    assert!(release.way.revert(release.hands()).await);
    let truth = release.truth().await;
    assert_eq!((truth.candidate_share, truth.lost), (Share::ZERO, Share::ZERO));
    release.settled(share(100)).await;
    assert_eq!(release.truth().await.candidate_share, Share::FULL);
    release.settled(DesiredState::Withdrawn).await;
    let service = release.hands().get("api/v1", "services", APP).await.unwrap();
    assert_eq!(service["spec"]["selector"], json!({"app": APP}));
}

/// Somebody sends a part of the traffic elsewhere, or takes the route's place away.
async fn bend(release: &Release) {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "legacy"},
        "spec": {"selector": {"app": APP}, "ports": [{"port": 80, "targetPort": 8080}]}});
    release.hands().create("api/v1", "services", service).await;
    let push = |list: &mut Value, item: Value| list.as_array_mut().unwrap().push(item);
    match release.way {
        Way::Istio | Way::IstioSubsets => {
            let change = |object: &mut Value| {
                let to = json!({"destination": {"host": "legacy"}, "weight": 0});
                push(&mut object["spec"]["http"][0]["route"], to);
            };
            release
                .change("apis/networking.istio.io/v1", "virtualservices", APP, change)
                .await;
        }
        Way::HttpRoute => {
            let change = |object: &mut Value| {
                let to = json!({"name": "legacy", "port": 80, "weight": 0});
                push(&mut object["spec"]["rules"][0]["backendRefs"], to);
            };
            release
                .change("apis/gateway.networking.k8s.io/v1", "httproutes", APP, change)
                .await;
        }
        Way::Smi => {
            let change = |object: &mut Value| {
                push(
                    &mut object["spec"]["backends"],
                    json!({"service": "legacy", "weight": 0}),
                );
            };
            release
                .change("apis/split.smi-spec.io/v1alpha2", "trafficsplits", APP, change)
                .await;
        }
        Way::Alb => {
            let change = |object: &mut Value| {
                let text = &mut object["metadata"]["annotations"][format!("alb.ingress.kubernetes.io/actions.{APP}")];
                let mut action: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
                let to = json!({"serviceName": "legacy", "servicePort": 80, "weight": 0});
                push(&mut action["forwardConfig"]["targetGroups"], to);
                *text = json!(action.to_string());
            };
            release
                .change("apis/networking.k8s.io/v1", "ingresses", APP, change)
                .await;
        }
        Way::Nginx => {
            let change = |object: &mut Value| {
                let path = json!({"path": "/old", "pathType": "Prefix",
                    "backend": {"service": {"name": "legacy", "port": {"number": 80}}}});
                push(&mut object["spec"]["rules"][0]["http"]["paths"], path);
            };
            release
                .change("apis/networking.k8s.io/v1", "ingresses", APP, change)
                .await;
        }
        Way::Services => {
            let change = |object: &mut Value| object["spec"]["selector"] = json!({"app": "nobody"});
            release.change("api/v1", "services", APP, change).await;
        }
        Way::Pods | Way::Rolling => panic!("no route"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_others_have_bent_lets_nothing_rise_and_never_holds_up_the_way_back() {
    for way in [
        Way::HttpRoute,
        Way::Istio,
        Way::IstioSubsets,
        Way::Smi,
        Way::Alb,
        Way::Nginx,
    ] {
        for state in [DesiredState::Reverted, DesiredState::Withdrawn] {
            let mut release = given(way).await;
            release.settled(share(50)).await;
            bend(&release).await;
            let more = release.order(share(100));
            let refused = release.ask(&more).await.unwrap_err();
            assert!(refused.what.contains("legacy"), "{way:?}: {refused}");
            release.settled(state).await;
            let truth = release.truth().await;
            assert_eq!(
                (truth.candidate_share, truth.lost),
                (Share::ZERO, Share::ZERO),
                "{way:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_others_have_taken_away_never_holds_up_the_way_back() {
    for (way, api, plural) in [
        (Way::HttpRoute, "apis/gateway.networking.k8s.io/v1", "httproutes"),
        (Way::Istio, "apis/networking.istio.io/v1", "virtualservices"),
        (Way::IstioSubsets, "apis/networking.istio.io/v1", "virtualservices"),
        (Way::Alb, "apis/networking.k8s.io/v1", "ingresses"),
        (Way::Nginx, "apis/networking.k8s.io/v1", "ingresses"),
        (Way::Services, "api/v1", "services"),
    ] {
        let mut release = given(way).await;
        let percent = if way == Way::Services { 100 } else { 50 };
        release.settled(share(percent)).await;
        release.hands().delete(api, plural, APP).await;
        release.settled(DesiredState::Withdrawn).await;
        assert_eq!(release.hands().get(APPS, "deployments", COPY).await, None, "{way:?}");
        let left = release.hands().list("api/v1", "services").await;
        let left: Vec<&Value> = left.iter().map(|service| &service["metadata"]["name"]).collect();
        assert!(!left.contains(&&json!(COPY)), "{way:?}: {left:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_selects_a_label_of_the_template_alone_is_sound() {
    for way in [Way::HttpRoute, Way::IstioSubsets, Way::Services, Way::Pods] {
        let mut release = given(way).await;
        let selector = json!({"spec": {"selector": {"app": APP, "team": "web"}}});
        release.hands().patch("api/v1", "services", APP, selector).await;
        release.rig.provider().observe(&release.rig.target()).await.unwrap();
        release.settled(share(100)).await;
        let truth = release.truth().await;
        assert_eq!(
            (truth.candidate_share, truth.lost),
            (Share::FULL, Share::ZERO),
            "{way:?}"
        );
        release.settled(DesiredState::Withdrawn).await;
        let service = release.hands().get("api/v1", "services", APP).await.unwrap();
        assert_eq!(
            service["spec"]["selector"],
            json!({"app": APP, "team": "web"}),
            "{way:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_rung_would_write_is_refused_before_anything_opens() {
    let mut release = given(Way::Istio).await;
    let mirror = |object: &mut Value| object["spec"]["http"][0]["mirror"] = json!({"host": "recorder"});
    release
        .change("apis/networking.istio.io/v1", "virtualservices", APP, mirror)
        .await;
    release.rig.provider().observe(&release.rig.target()).await.unwrap();
    release.rig.target.ladder.rungs[0].exposure = Exposure::Shadow(Share::FULL);
    let refused = release.rig.provider().observe(&release.rig.target()).await;
    let why = refused.unwrap_err();
    assert!(why.what.contains("`mirror` already"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variable_that_stands_twice_keeps_no_copy_from_standing() {
    let mut release = given(Way::HttpRoute).await;
    let twice = |object: &mut Value| {
        object["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]);
    };
    release.change(APPS, "deployments", APP, twice).await;
    release.cluster.advance(Duration::from_secs(30));
    release.rig.provider().observe(&release.rig.target()).await.unwrap();
    release.settled(share(50)).await;
    let copy = release.hands().get(APPS, "deployments", COPY).await.unwrap();
    let env = &copy["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(env, &json!([{"name": "A", "value": "2"}]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_baseline_whose_template_others_change_beside_its_image_is_told() {
    let mut release = given(Way::HttpRoute).await;
    release.settled(share(50)).await;
    let told = async |release: &Release| {
        let seen = release.rig.provider().observe(&release.rig.target()).await.unwrap();
        seen.observation.diagnosis.unwrap_or_default()
    };
    assert!(!told(&release).await.contains("never tried"));
    let more = |object: &mut Value| {
        object["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "1"}]);
    };
    release.change(APPS, "deployments", APP, more).await;
    assert!(told(&release).await.contains("a mix that was never tried"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_release_saw_of_the_pods_does_not_count_for_this_one() {
    let mut release = given(Way::Pods).await;
    release.settled(share(25)).await;
    release.settled(DesiredState::Withdrawn).await;
    let fewer = json!({"spec": {"replicas": 2}});
    release.hands().patch(APPS, "deployments", APP, fewer).await;
    release.cluster.advance(Duration::from_secs(30));
    release.rig.target.release =
        meridian_workflows::workflow::Release::Image("registry.example.com/shop:v3".to_owned());
    let refused = release.rig.provider().observe(&release.rig.target()).await;
    let why = refused.unwrap_err();
    assert!(why.what.contains("25% comes to none"), "{why}");
}
