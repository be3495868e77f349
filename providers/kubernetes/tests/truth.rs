//! What the cluster itself says of a workload: pods that are ready, and who sends to them.

use meridian_conformance::rig::Truth;
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use serde_json::Value;

use crate::hands::Hands;
use crate::way::{APP, Way};

const APPS: &str = "apis/apps/v1";

pub async fn read(hands: &Hands, way: Way, candidate: &str, writes: Option<u64>) -> Truth {
    let pods = hands.list("api/v1", "pods").await;
    let ready: Vec<&Value> = pods.iter().filter(|pod| is_ready(pod)).collect();
    let backends = way.backends(hands).await;
    let total: u64 = backends.iter().map(|backend| backend.weight).sum();
    let (mut share, mut lost) = (0.0, 0.0);
    for backend in backends.iter().filter(|backend| backend.weight > 0) {
        let part = backend.weight as f64 / total as f64;
        let selected: Vec<&&Value> = ready.iter().filter(|pod| is_selected(pod, &backend.selector)).collect();
        let of = selected.iter().filter(|pod| image(pod) == candidate).count();
        if selected.is_empty() {
            lost += part;
        } else {
            share += part * of as f64 / selected.len() as f64;
        }
    }
    Truth {
        candidate_share: points(share),
        lost: points(lost),
        standing: standing(hands).await,
        writes,
    }
}

/// To the next hundredth of a percent: weights of a thousand do not come out even in floats.
fn points(part: f64) -> Share {
    Share::from_basis_points((part * 10_000.0).round() as u16).unwrap()
}

/// One for each Deployment and image that has pods.
async fn standing(hands: &Hands) -> Vec<Version> {
    let deployments = hands.list(APPS, "deployments").await;
    let mut standing = Vec::new();
    for set in hands.list(APPS, "replicasets").await {
        let owner = &set["metadata"]["ownerReferences"][0]["uid"];
        let of = deployments
            .iter()
            .find(|deployment| deployment["metadata"]["uid"] == *owner);
        let is_there =
            set["status"]["replicas"].as_u64().unwrap_or(0) > 0 && set["spec"]["replicas"].as_u64() != Some(0);
        if of.is_some_and(|of| of["metadata"]["deletionTimestamp"].is_null()) && is_there {
            let image = set["spec"]["template"]["spec"]["containers"][0]["image"]
                .as_str()
                .unwrap();
            standing.push(Version::named(image.rsplit(':').next().unwrap()));
        }
    }
    standing
}

pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions
            .into_iter()
            .flatten()
            .any(|one| one["type"] == "Ready" && one["status"] == "True")
}

pub fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default()
}

fn is_selected(pod: &Value, selector: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    selector
        .as_object()
        .is_some_and(|selector| selector.iter().all(|(key, value)| labels[key] == *value))
}

/// How many pods of the baseline there are, ready.
pub async fn baseline_is_ready(hands: &Hands, replicas: u64) -> bool {
    let Some(deployment) = hands.get(APPS, "deployments", APP).await else {
        return false;
    };
    deployment["status"]["availableReplicas"].as_u64() == Some(replicas)
        && deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"]
}
