//! What a region's settings say, as values that cannot be wrong.

pub(crate) mod reading;

use std::collections::BTreeMap;

use meridian_workflows::duration::Duration;
use serde::Deserialize;
use serde_json::Value;

/// What a region's settings say.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub cluster: Cluster,
    /// None: the namespace of the kubeconfig's context, else `default`.
    pub namespace: Option<String>,
    /// The name of the Deployment that serves.
    pub deployment: String,
    /// The container whose image is released; none: the only one.
    pub container: Option<String>,
    pub strategy: Strategy,
    pub candidate: Candidate,
    pub promotion: Promotion,
    pub drift: Drift,
    /// How long a pod must have been ready, without a restart, before it counts as capacity.
    pub settle: Duration,
    /// Overrides what the workflow says.
    pub drain: Option<Duration>,
    pub keep_baseline: Option<Duration>,
}

/// Where the API server is and who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cluster {
    /// A file (none: `KUBECONFIG`, else `~/.kube/config`) and a context in it (none: the current one).
    Kubeconfig {
        path: Option<String>,
        context: Option<String>,
    },
    /// The cluster that this process runs in, by its service account.
    InCluster,
}

/// How the candidate takes over.
#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    /// A second Deployment next to the first, and traffic split between them.
    Canary(Traffic),
    /// A second Deployment, and a Service that is switched from one to the other at once.
    BlueGreen(Services),
    /// The Deployment itself, pod by pod, by its own controller.
    Rolling(Rolling),
}

/// How traffic is split. One variant a mechanism.
#[derive(Clone, Debug, PartialEq)]
pub enum Traffic {
    Istio(Istio),
    HttpRoute(HttpRoute),
    Nginx(Nginx),
    Smi(Smi),
    Alb(Alb),
    Pods(Pods),
}

/// Weights of an Istio VirtualService.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Istio {
    pub virtual_service: String,
    /// The name of the one HTTP route whose weights are written.
    pub route: Option<String>,
    /// Names of several of them; neither: all HTTP routes.
    #[serde(default)]
    pub routes: Vec<String>,
    /// Split by subsets of this DestinationRule; none: by a Service of the candidate's own.
    pub destination_rule: Option<String>,
    /// Subset names in it.
    #[serde(default = "baseline_word")]
    pub baseline_subset: String,
    #[serde(default = "candidate_word")]
    pub candidate_subset: String,
    /// The Service of the baseline; none: the host that the routes name.
    pub service: Option<String>,
    /// The region's `tenantHeader`.
    #[serde(skip, default = "tenant_header")]
    pub tenant_header: String,
}

/// Weights of a Gateway API HTTPRoute.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRoute {
    pub name: String,
    /// The name of the one rule whose weights are written; none: every rule that sends to the Service.
    pub rule: Option<String>,
    /// The Service of the baseline; none: the only one that the rules send to.
    pub service: Option<String>,
    /// The region's `tenantHeader`.
    #[serde(skip, default = "tenant_header")]
    pub tenant_header: String,
}

/// A canary ingress of ingress-nginx.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Nginx {
    pub ingress: String,
    /// The Service of the baseline; none: the only one that the ingress sends to.
    pub service: Option<String>,
    /// Where the controller reads annotations under another prefix.
    #[serde(default = "nginx_prefix")]
    pub annotation_prefix: String,
    /// The region's `tenantHeader`.
    #[serde(skip, default = "tenant_header")]
    pub tenant_header: String,
}

/// Backends of an SMI TrafficSplit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Smi {
    /// None: the Service's name.
    pub traffic_split: Option<String>,
    /// The Service that clients call.
    pub service: String,
    /// The backend of the baseline; none: the called Service itself.
    pub baseline_service: Option<String>,
    #[serde(default)]
    pub version: SmiVersion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum SmiVersion {
    V1Alpha1,
    /// What Linkerd serves.
    #[default]
    V1Alpha2,
    V1Alpha3,
    V1Alpha4,
}

/// A weighted action of the AWS Load Balancer Controller.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alb {
    pub ingress: String,
    /// The Service of the baseline.
    pub service: String,
    /// Its port; none: its only one.
    pub port: Option<u16>,
    /// The name of the action that the ingress' rule uses; none: the Service's name.
    pub action: Option<String>,
    /// Where the controller reads annotations under another prefix.
    #[serde(default = "alb_prefix")]
    pub annotation_prefix: String,
}

/// One Service over both Deployments: pods are the share.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pods {
    /// The Service; none: the only one that selects the baseline's pods.
    pub service: Option<String>,
    /// How many pods serve together, where that is to be judged before the cluster is looked at.
    pub total: Option<u32>,
}

/// Two Services: the one that users call, and the one that testers call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Services {
    pub active: String,
    pub preview: Option<String>,
}

/// What a rolling update sets on the Deployment; what is left out stays as it is there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rolling {
    pub max_surge: Option<IntOrPercent>,
    pub max_unavailable: Option<IntOrPercent>,
    pub min_ready_seconds: Option<u32>,
    pub progress_deadline_seconds: Option<u32>,
}

/// A number of pods, or a part of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum IntOrPercent {
    Int(u32),
    Percent(String),
}

impl IntOrPercent {
    pub fn value(&self) -> Value {
        match self {
            IntOrPercent::Int(number) => Value::from(*number),
            IntOrPercent::Percent(text) => Value::from(text.clone()),
        }
    }

    fn check(&self, key: &str) -> Result<(), String> {
        let IntOrPercent::Percent(text) = self else {
            return Ok(());
        };
        let number = text.strip_suffix('%').and_then(|number| number.parse::<u32>().ok());
        match number {
            Some(0..=100) => Ok(()),
            Some(_) | None => Err(format!(
                "`{key}` is a number of pods or a percentage like `25%`, got `{text}`"
            )),
        }
    }

    fn is_zero(&self) -> bool {
        match self {
            IntOrPercent::Int(number) => *number == 0,
            IntOrPercent::Percent(text) => text == "0%",
        }
    }
}

/// The copy of the Deployment that runs the candidate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Candidate {
    /// What the names of its objects end with.
    pub suffix: String,
    /// Labels and annotations added to its pods.
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// The least number of its pods, also before any traffic.
    pub min_replicas: u32,
    pub capacity: Capacity,
    /// Whether a candidate pod keeps away from the nodes of baseline pods.
    pub anti_affinity: AntiAffinity,
}

impl Default for Candidate {
    fn default() -> Candidate {
        Candidate {
            suffix: candidate_word(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            min_replicas: 1,
            capacity: Capacity::Share,
            anti_affinity: AntiAffinity::None,
        }
    }
}

/// How many pods the candidate gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Capacity {
    /// As many as its share of the traffic needs, rounded up.
    Share,
    /// As many as the baseline from the first moment on.
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AntiAffinity {
    None,
    Preferred,
    Required,
}

/// Who makes the candidate the original at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Promotion {
    /// The Deployment's image is changed here.
    Patch,
    /// Git does it, and is waited for.
    External,
}

/// What is done when somebody else has changed what an order had set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Drift {
    /// It is written again, at most `times` in ten minutes, and told; then it is held.
    Reassert { times: u32 },
    /// Nothing is written; the order is not there and says why.
    Hold,
    /// Nothing is written; it is told in the diagnosis.
    Report,
}

fn baseline_word() -> String {
    "baseline".to_owned()
}

fn candidate_word() -> String {
    "candidate".to_owned()
}

/// The header that names a request's tenant, where the settings name none.
fn tenant_header() -> String {
    "x-tenant".to_owned()
}

fn nginx_prefix() -> String {
    "nginx.ingress.kubernetes.io".to_owned()
}

fn alb_prefix() -> String {
    "alb.ingress.kubernetes.io".to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{AntiAffinity, Cluster, Drift, Promotion, Settings, Strategy, Traffic};

    fn read(more: Value) -> Result<Settings, String> {
        let mut settings =
            json!({"workload": "deployment/payments-api", "traffic": {"httpRoute": {"name": "payments"}}});
        for (key, value) in more.as_object().unwrap() {
            settings[key] = value.clone();
        }
        Settings::read(&settings)
    }

    #[test]
    fn the_least_that_is_needed_has_careful_defaults() {
        let settings = read(json!({})).unwrap();
        assert_eq!(settings.deployment, "payments-api");
        assert_eq!(settings.promotion, Promotion::Patch);
        assert_eq!(settings.drift, Drift::Reassert { times: 5 });
        assert_eq!(settings.candidate.min_replicas, 1);
        assert_eq!(settings.candidate.anti_affinity, AntiAffinity::None);
        assert!(matches!(settings.strategy, Strategy::Canary(Traffic::HttpRoute(_))));
        assert_eq!(
            settings.cluster,
            Cluster::Kubeconfig {
                path: None,
                context: None
            }
        );
    }

    #[test]
    fn what_is_not_sound_is_named() {
        let wrong = [
            (json!({"worklod": 1}), "`worklod` is no key"),
            (json!({"workload": "payments"}), "like `deployment/payments`"),
            (json!({"workload": "statefulset/payments"}), "not a `statefulset`"),
            (json!({"workload": "deployment/Payments"}), "`workload` is a name"),
            (json!({"traffic": {}}), "exactly one key"),
            (
                json!({"traffic": {"istio": {"virtualService": "a"}, "pods": {}}}),
                "exactly one key",
            ),
            (json!({"traffic": {"linkerd": {}}}), "no `linkerd`"),
            (
                json!({"traffic": {"istio": {}}}),
                "`traffic.istio`: missing field `virtualService`",
            ),
            (
                json!({"traffic": {"istio": {"virtualService": "a", "rout": "b"}}}),
                "unknown field `rout`",
            ),
            (json!({"traffic": {"pods": {"total": 0}}}), "at least 1"),
            (
                json!({"traffic": {"services": {"active": "a", "preview": "a"}}}),
                "twice",
            ),
            (json!({"strategy": "rolling"}), "no place"),
            (json!({"strategy": "blueGreen"}), "needs `traffic: {services"),
            (json!({"strategy": "big-bang"}), "not `big-bang`"),
            (json!({"rolling": {}}), "belongs to"),
            (
                json!({"traffic": null, "strategy": "rolling", "rolling": {"maxSurge": 0, "maxUnavailable": "0%"}}),
                "both be 0",
            ),
            (
                json!({"traffic": null, "strategy": "rolling", "rolling": {"maxSurge": "a lot"}}),
                "like `25%`",
            ),
            (json!({"inCluster": true, "context": "a"}), "excludes"),
            (json!({"candidate": {"minReplicas": 0}}), "at least 1"),
            (
                json!({"candidate": {"labels": {"meridian/arm": "x"}}}),
                "keeps that itself",
            ),
            (json!({"drift": "ignore"}), "not `ignore`"),
            (json!({"drift": {"reassert": {"times": 0}}}), "at least 1"),
            (json!({"settle": "10"}), "`settle`"),
            (
                json!({"tenantHeader": "x tenant"}),
                "`tenantHeader` is the name of a header",
            ),
            (json!({"candidate": {"suffix": "c".repeat(33)}}), "at most 32 long"),
        ];
        for (settings, expected) in wrong {
            let why = read(settings.clone()).unwrap_err();
            assert!(why.contains(expected), "{settings}: {why}");
        }
    }

    #[test]
    fn a_tenant_is_told_by_the_header_that_is_named() {
        let header = |more: Value| match read(more).unwrap().strategy {
            Strategy::Canary(Traffic::HttpRoute(route)) => route.tenant_header,
            other => panic!("{other:?}"),
        };
        assert_eq!(header(json!({})), "x-tenant");
        assert_eq!(header(json!({"tenantHeader": "X-Org"})), "x-org");
    }

    #[test]
    fn a_service_switch_is_blue_green_without_saying_so() {
        let settings = read(json!({"traffic": {"services": {"active": "shop"}}})).unwrap();
        assert!(matches!(settings.strategy, Strategy::BlueGreen(_)));
    }
}
