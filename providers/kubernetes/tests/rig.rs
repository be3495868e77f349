//! One workload in a namespace of its own, a provider behind a wire on which anything can go wrong, and hands on the cluster.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meridian_conformance::rig::{Ailment, Fault, Meddling, Offered, Rig, Strike, Truth};
use meridian_doubles::wire::Served;
use meridian_engine::ports::provider::{Ladder, Provider, Rung, Target};
use meridian_kubernetes::{KubernetesCloud, Now};
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::ProviderKind;
use meridian_workflows::workflow::{Exposure, Release};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hands::Hands;
use crate::truth;
use crate::way::{APP, Way};

pub const BASELINE: &str = "registry.example.com/shop:v1";
pub const CANDIDATE: &str = "registry.example.com/shop:v2";
const APPS: &str = "apis/apps/v1";
/// The baseline's pods.
pub const REPLICAS: u64 = 4;

/// What plays the cluster.
#[async_trait]
pub trait Ground: Send + Sync {
    /// Lets so much of the cluster's time pass.
    async fn pass(&self, time: Duration);

    /// What pods of this image in this namespace do from now on, in the words of `klab/do`.
    async fn behave(&self, namespace: &str, image: &str, words: &str) -> Offered;

    fn now(&self) -> Now;

    /// The time between two asks.
    fn beat(&self) -> Duration;

    fn patience(&self) -> Duration;

    /// Nothing of a rig is left behind.
    async fn leave(&self, namespace: &str);
}

pub struct KubernetesRig {
    pub way: Way,
    pub ground: Arc<dyn Ground>,
    pub hands: Hands,
    pub served: Served,
    /// The provider's kubeconfig: the wire, not the cluster.
    pub _folder: TempDir,
    pub target: Target,
    pub cloud: KubernetesCloud,
}

impl Drop for KubernetesRig {
    fn drop(&mut self) {
        let (ground, namespace) = (Arc::clone(&self.ground), self.hands.namespace.clone());
        tokio::spawn(async move { ground.leave(&namespace).await });
    }
}

impl KubernetesRig {
    pub async fn build(
        way: Way,
        ground: Arc<dyn Ground>,
        hands: Hands,
        served: Served,
    ) -> Result<KubernetesRig, String> {
        lay(way, &hands).await;
        for _ in 0..600 {
            if truth::baseline_is_ready(&hands, REPLICAS).await {
                let folder = tempfile::tempdir().unwrap();
                let target = target(way, &served.url, &hands.namespace, &folder);
                let cloud = KubernetesCloud::at(ground.now());
                return Ok(KubernetesRig {
                    way,
                    ground,
                    hands,
                    served,
                    _folder: folder,
                    target,
                    cloud,
                });
            }
            ground.pass(Duration::from_millis(200)).await;
        }
        Err("the baseline never became ready".to_owned())
    }
}

/// What a platform team has put up before Meridian comes.
async fn lay(way: Way, hands: &Hands) {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": APP},
        "spec": {"selector": {"app": APP}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}});
    hands.create("api/v1", "services", service).await;
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": APP},
        "spec": {"replicas": REPLICAS, "progressDeadlineSeconds": 20, "selector": {"matchLabels": {"app": APP}},
            "template": {
                "metadata": {"labels": {"app": APP, "team": "web"}},
                "spec": {"containers": [{
                    "name": "web", "image": BASELINE, "ports": [{"name": "http", "containerPort": 8080}],
                    "resources": {"limits": {"memory": "64Mi"}},
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}}]}}}});
    hands.create(APPS, "deployments", deployment).await;
    way.lay(hands).await;
}

pub fn kubeconfig(url: &str, folder: &TempDir) -> String {
    let path = folder.path().join("kubeconfig");
    let text = json!({"apiVersion": "v1", "kind": "Config", "current-context": "there",
        "clusters": [{"name": "there", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "there", "context": {"cluster": "there", "user": "me"}}]});
    std::fs::write(&path, text.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn target(way: Way, url: &str, namespace: &str, folder: &TempDir) -> Target {
    let mut settings = json!({
        "kubeconfig": kubeconfig(url, folder),
        "context": "there",
        "namespace": namespace,
        "workload": format!("deployment/{APP}"),
        "settle": "2s",
    });
    for (key, value) in way.settings().as_object().unwrap() {
        settings[key] = value.clone();
    }
    let rungs = way.shares().into_iter().map(|percent| Rung {
        exposure: Exposure::Traffic(Share::percent(percent).unwrap()),
        bake: "1m".parse().unwrap(),
    });
    Target {
        workflow: "shop".to_owned(),
        region: "eu".to_owned(),
        settings,
        release: Release::Image(CANDIDATE.to_owned()),
        ladder: Ladder {
            rungs: rungs.collect(),
            bake: "1m".parse().unwrap(),
            drain: "1s".parse().unwrap(),
            keep_baseline: "1s".parse().unwrap(),
        },
    }
}

#[async_trait]
impl Rig for KubernetesRig {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(self.cloud.beside())
    }

    fn target(&self) -> Target {
        self.target.clone()
    }

    async fn truth(&self) -> Truth {
        truth::read(&self.hands, self.way, CANDIDATE, Some(self.served.wire.writes())).await
    }

    async fn pass(&self, time: Duration) {
        self.ground.pass(time).await;
    }

    async fn ail(&self, ailment: Ailment) -> Offered {
        let words = match ailment {
            Ailment::ImageMissing => "imagepull".to_owned(),
            Ailment::CrashLoop(code) => format!("crashloop exit={code}"),
            Ailment::FlappingReady => "flapping".to_owned(),
            Ailment::OutOfMemory => "oom".to_owned(),
            Ailment::NeverReady => "neverready".to_owned(),
            Ailment::Unschedulable => "unschedulable".to_owned(),
            Ailment::QuotaExceeded => {
                let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"},
                    "spec": {"hard": {"pods": REPLICAS.to_string()}}});
                self.hands.create("api/v1", "resourcequotas", quota).await;
                for _ in 0..50 {
                    let quota = self.hands.get("api/v1", "resourcequotas", "tight").await;
                    if quota.is_some_and(|quota| !quota["status"]["used"]["pods"].is_null()) {
                        return Offered::Yes;
                    }
                    self.ground.pass(Duration::from_millis(200)).await;
                }
                return Offered::No("the cluster keeps no quotas");
            }
        };
        self.ground.behave(&self.hands.namespace, CANDIDATE, &words).await
    }

    async fn fault(&self, fault: Fault, strike: Strike) -> Offered {
        self.served.wire.fault(fault, strike, |_| true);
        Offered::Yes
    }

    async fn heal(&self) {
        self.served.wire.heal();
    }

    async fn meddle(&self, meddling: Meddling) -> Offered {
        let copy = format!("{APP}-candidate");
        if self.way == Way::Rolling {
            return Offered::No("a rolling update has no routes and no copy that others could change");
        }
        match meddling {
            Meddling::RevertTraffic => {
                if !self.way.revert(&self.hands).await {
                    return Offered::No("pods are the share: there is no route that others could change");
                }
            }
            Meddling::ScaleCandidateAway => {
                self.hands
                    .patch(APPS, "deployments", &copy, json!({"spec": {"replicas": 0}}))
                    .await;
            }
            Meddling::DeleteCandidate => {
                self.hands.delete(APPS, "deployments", &copy).await;
            }
        }
        Offered::Yes
    }

    fn kind(&self) -> Option<ProviderKind> {
        Some(meridian_kubernetes::kind())
    }

    fn granted(&self, ordered: Share) -> Share {
        self.way.granted(ordered)
    }

    fn beat(&self) -> Duration {
        self.ground.beat()
    }

    fn patience(&self) -> Duration {
        self.ground.patience()
    }

    fn stages(&self) -> Offered {
        match self.way {
            Way::Rolling => Offered::No("a rolling update has no place where a candidate could stand before"),
            _ => Offered::Yes,
        }
    }

    fn other_spelling(&self) -> Option<Target> {
        let mut target = self.target();
        target.settings["context"] = Value::Null;
        target.settings["container"] = json!("web");
        target.settings["promotion"] = json!("patch");
        Some(target)
    }

    fn other_target(&self) -> Option<Target> {
        let mut target = self.target();
        target.settings["workload"] = json!("deployment/other");
        Some(target)
    }

    fn missing(&self) -> Option<(Target, String)> {
        let mut target = self.target();
        target.settings["workload"] = json!("deployment/nobody");
        Some((target, "nobody".to_owned()))
    }

    fn unsound(&self) -> Vec<(Value, String)> {
        let with = |key: &str, value: Value| {
            let mut settings = self.target.settings.clone();
            settings[key] = value;
            settings
        };
        vec![
            (with("worklod", json!("deployment/shop")), "worklod".to_owned()),
            (with("workload", json!("statefulset/shop")), "statefulset".to_owned()),
            (with("settle", json!("soon")), "settle".to_owned()),
            (with("drift", json!("ignore")), "drift".to_owned()),
            (json!([]), "map".to_owned()),
        ]
    }

    fn released_already(&self) -> Option<Target> {
        let mut target = self.target();
        target.release = Release::Image(BASELINE.to_owned());
        Some(target)
    }
}
