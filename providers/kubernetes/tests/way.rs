//! The ways of splitting traffic that the suite is put through: what a region's settings say, what stands in the cluster for
//! them, and how the cluster's own objects say who gets what.

use meridian_workflows::share::Share;
use serde_json::{Value, json};

use crate::hands::Hands;

pub const APP: &str = "shop";
const NETWORKING: &str = "apis/networking.k8s.io/v1";
const ISTIO: &str = "apis/networking.istio.io/v1";
const GATEWAY: &str = "apis/gateway.networking.k8s.io/v1";
const SMI: &str = "apis/split.smi-spec.io/v1alpha2";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Istio,
    IstioSubsets,
    HttpRoute,
    Nginx,
    Smi,
    Alb,
    Pods,
    Services,
    Rolling,
}

/// Pods of whom a part of the traffic goes to.
#[derive(Clone, Debug)]
pub struct Backend {
    pub selector: Value,
    pub weight: u64,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Way::Istio => "istio",
            Way::IstioSubsets => "istio subsets",
            Way::HttpRoute => "httpRoute",
            Way::Nginx => "nginx",
            Way::Smi => "smi",
            Way::Alb => "alb",
            Way::Pods => "pods",
            Way::Services => "blue-green",
            Way::Rolling => "rolling",
        }
    }

    /// The part of a region's settings that is this way's own.
    pub fn settings(self) -> Value {
        match self {
            Way::Istio => json!({"traffic": {"istio": {"virtualService": APP}}}),
            Way::IstioSubsets => json!({"traffic": {"istio": {"virtualService": APP, "destinationRule": APP}}}),
            Way::HttpRoute => json!({"traffic": {"httpRoute": {"name": APP}}}),
            Way::Nginx => json!({"traffic": {"nginx": {"ingress": APP}}}),
            Way::Smi => json!({"traffic": {"smi": {"service": APP}}}),
            Way::Alb => json!({"traffic": {"alb": {"ingress": APP, "service": APP}}}),
            Way::Pods => json!({"traffic": {"pods": {}}}),
            Way::Services => json!({"traffic": {"services": {"active": APP}}}),
            Way::Rolling => json!({"strategy": "rolling", "rolling": {"maxSurge": 1, "maxUnavailable": 0}}),
        }
    }

    pub fn shares(self) -> Vec<u16> {
        match self {
            Way::Services | Way::Rolling => vec![100],
            Way::Pods => vec![25, 50, 100],
            Way::Istio | Way::IstioSubsets | Way::HttpRoute | Way::Nginx | Way::Smi | Way::Alb => vec![10, 50, 100],
        }
    }

    /// The API that its objects need; none where every cluster has it.
    pub fn api(self) -> Option<&'static str> {
        match self {
            Way::Istio | Way::IstioSubsets => Some(ISTIO),
            Way::HttpRoute => Some(GATEWAY),
            Way::Smi => Some(SMI),
            Way::Nginx | Way::Alb | Way::Pods | Way::Services | Way::Rolling => None,
        }
    }

    /// What a platform team has put up before Meridian comes.
    pub async fn lay(self, hands: &Hands) {
        let ingress = |class: &str, backend: Value, annotations: Value| {
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
                "metadata": {"name": APP, "annotations": annotations},
                "spec": {"ingressClassName": class, "rules": [{"host": "shop.example.com", "http": {"paths": [
                    {"path": "/", "pathType": "Prefix", "backend": {"service": backend}}]}}]}})
        };
        match self {
            Way::Istio | Way::IstioSubsets => {
                if self == Way::IstioSubsets {
                    let rule = json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
                        "metadata": {"name": APP}, "spec": {"host": APP}});
                    hands.create(ISTIO, "destinationrules", rule).await;
                }
                let service = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                    "metadata": {"name": APP}, "spec": {"hosts": [APP], "http": [
                        {"name": "primary", "timeout": "5s", "route": [{"destination": {"host": APP}}]}]}});
                hands.create(ISTIO, "virtualservices", service).await;
            }
            Way::HttpRoute => {
                let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                    "metadata": {"name": APP}, "spec": {"parentRefs": [{"name": "edge"}], "rules": [
                        {"backendRefs": [{"name": APP, "port": 80}]}]}});
                hands.create(GATEWAY, "httproutes", route).await;
            }
            Way::Nginx => {
                let backend = json!({"name": APP, "port": {"number": 80}});
                hands
                    .create(NETWORKING, "ingresses", ingress("nginx", backend, json!({})))
                    .await;
            }
            Way::Alb => {
                let action = json!({"type": "forward", "forwardConfig": {"targetGroups": [
                    {"serviceName": APP, "servicePort": 80, "weight": 100}]}});
                let annotations = json!({format!("alb.ingress.kubernetes.io/actions.{APP}"): action.to_string()});
                let backend = json!({"name": APP, "port": {"name": "use-annotation"}});
                hands
                    .create(NETWORKING, "ingresses", ingress("alb", backend, annotations))
                    .await;
            }
            Way::Smi | Way::Pods | Way::Services | Way::Rolling => {}
        }
    }

    /// Who gets what, by the cluster's own objects.
    pub async fn backends(self, hands: &Hands) -> Vec<Backend> {
        match self {
            Way::Istio | Way::IstioSubsets => {
                let object = hands.get(ISTIO, "virtualservices", APP).await.unwrap();
                let routes = object["spec"]["http"].as_array().unwrap();
                let plain = routes.iter().find(|route| route["match"].is_null()).unwrap();
                let mut found = Vec::new();
                for route in plain["route"].as_array().unwrap() {
                    let weight = route["weight"].as_u64().unwrap_or(100);
                    let host = route["destination"]["host"].as_str().unwrap();
                    let mut selector = selector(hands, host).await;
                    if let Some(subset) = route["destination"]["subset"].as_str() {
                        let rule = hands.get(ISTIO, "destinationrules", APP).await.unwrap();
                        let subsets = rule["spec"]["subsets"].as_array().cloned().unwrap_or_default();
                        let named = subsets.iter().find(|one| one["name"] == subset);
                        // A subset that nobody knows has no pods.
                        let labels = named.map_or(json!({"no": "pod"}), |one| one["labels"].clone());
                        for (key, value) in labels.as_object().unwrap() {
                            selector[key] = value.clone();
                        }
                    }
                    found.push(Backend { selector, weight });
                }
                found
            }
            Way::HttpRoute => {
                let object = hands.get(GATEWAY, "httproutes", APP).await.unwrap();
                let rules = object["spec"]["rules"].as_array().unwrap();
                let plain = rules.iter().find(|rule| !has_headers(rule)).unwrap();
                let mut found = Vec::new();
                for backend in plain["backendRefs"].as_array().unwrap() {
                    let selector = selector(hands, backend["name"].as_str().unwrap()).await;
                    let weight = backend["weight"].as_u64().unwrap_or(1);
                    found.push(Backend { selector, weight });
                }
                found
            }
            Way::Nginx => {
                let prefix = "nginx.ingress.kubernetes.io";
                let mut to_canary = None;
                for ingress in hands.list(NETWORKING, "ingresses").await {
                    let annotation =
                        |name: &str| ingress["metadata"]["annotations"][format!("{prefix}/{name}")].clone();
                    if annotation("canary") == "true" {
                        let number = |value: Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
                        let weight = number(annotation("canary-weight")).unwrap_or(0);
                        let total = number(annotation("canary-weight-total")).unwrap_or(100);
                        let name =
                            ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"].clone();
                        to_canary = Some((name, weight, total));
                    }
                }
                let (name, weight, total) = to_canary.unwrap_or((json!(APP), 0, 100));
                vec![
                    Backend {
                        selector: selector(hands, APP).await,
                        weight: total - weight,
                    },
                    Backend {
                        selector: selector(hands, name.as_str().unwrap()).await,
                        weight,
                    },
                ]
            }
            Way::Smi => match hands.get(SMI, "trafficsplits", APP).await {
                None => vec![whole(hands).await],
                Some(split) => {
                    let mut found = Vec::new();
                    for backend in split["spec"]["backends"].as_array().unwrap() {
                        let selector = selector(hands, backend["service"].as_str().unwrap()).await;
                        let weight = backend["weight"].as_u64().unwrap_or(0);
                        found.push(Backend { selector, weight });
                    }
                    found
                }
            },
            Way::Alb => {
                let object = hands.get(NETWORKING, "ingresses", APP).await.unwrap();
                let text =
                    object["metadata"]["annotations"][format!("alb.ingress.kubernetes.io/actions.{APP}")].clone();
                let action: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
                let mut found = Vec::new();
                for group in action["forwardConfig"]["targetGroups"].as_array().unwrap() {
                    let selector = selector(hands, group["serviceName"].as_str().unwrap()).await;
                    let weight = group["weight"].as_u64().unwrap_or(1);
                    found.push(Backend { selector, weight });
                }
                found
            }
            Way::Pods | Way::Services | Way::Rolling => vec![whole(hands).await],
        }
    }

    /// A GitOps tool puts the routes back as they stand in Git.
    pub async fn revert(self, hands: &Hands) -> bool {
        match self {
            Way::Istio | Way::IstioSubsets => {
                let object = hands.get(ISTIO, "virtualservices", APP).await.unwrap();
                let mut routes = object["spec"]["http"].clone();
                for route in routes.as_array_mut().unwrap() {
                    for (at, to) in route["route"].as_array_mut().unwrap().iter_mut().enumerate() {
                        to["weight"] = json!(if at == 0 { 100 } else { 0 });
                    }
                }
                hands
                    .patch(ISTIO, "virtualservices", APP, json!({"spec": {"http": routes}}))
                    .await;
            }
            Way::HttpRoute => {
                let object = hands.get(GATEWAY, "httproutes", APP).await.unwrap();
                let mut rules = object["spec"]["rules"].clone();
                for rule in rules.as_array_mut().unwrap() {
                    for backend in rule["backendRefs"].as_array_mut().unwrap() {
                        backend["weight"] = json!(if backend["name"] == APP { 1 } else { 0 });
                    }
                }
                hands
                    .patch(GATEWAY, "httproutes", APP, json!({"spec": {"rules": rules}}))
                    .await;
            }
            Way::Nginx => {
                for ingress in hands.list(NETWORKING, "ingresses").await {
                    if ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary"] == "true" {
                        let patch =
                            json!({"metadata": {"annotations": {"nginx.ingress.kubernetes.io/canary-weight": "0"}}});
                        hands
                            .patch(
                                NETWORKING,
                                "ingresses",
                                ingress["metadata"]["name"].as_str().unwrap(),
                                patch,
                            )
                            .await;
                    }
                }
            }
            Way::Smi => {
                let object = hands.get(SMI, "trafficsplits", APP).await.unwrap();
                let mut backends = object["spec"]["backends"].clone();
                for backend in backends.as_array_mut().unwrap() {
                    backend["weight"] = json!(if backend["service"] == APP { 100 } else { 0 });
                }
                hands
                    .patch(SMI, "trafficsplits", APP, json!({"spec": {"backends": backends}}))
                    .await;
            }
            Way::Alb => {
                let key = format!("alb.ingress.kubernetes.io/actions.{APP}");
                let object = hands.get(NETWORKING, "ingresses", APP).await.unwrap();
                let mut action: Value =
                    serde_json::from_str(object["metadata"]["annotations"][&key].as_str().unwrap()).unwrap();
                for group in action["forwardConfig"]["targetGroups"].as_array_mut().unwrap() {
                    group["weight"] = json!(if group["serviceName"] == APP { 100 } else { 0 });
                }
                let patch = json!({"metadata": {"annotations": {key: action.to_string()}}});
                hands.patch(NETWORKING, "ingresses", APP, patch).await;
            }
            Way::Services => {
                // A client-side apply merges three ways: it sets what stands in Git, and takes away only what Git once had.
                let patch = json!({"spec": {"selector": {"app": APP}}});
                hands.patch("api/v1", "services", APP, patch).await;
            }
            Way::Pods | Way::Rolling => return false,
        }
        true
    }

    /// What the platform gives of a share.
    pub fn granted(self, ordered: Share) -> Share {
        ordered
    }
}

fn has_headers(rule: &Value) -> bool {
    let matches = rule["matches"].as_array();
    matches.is_some_and(|matches| matches.iter().any(|one| !one["headers"].is_null()))
}

async fn whole(hands: &Hands) -> Backend {
    Backend {
        selector: selector(hands, APP).await,
        weight: 1,
    }
}

/// What a Service selects; nothing where it does not exist.
async fn selector(hands: &Hands, service: &str) -> Value {
    match hands.get("api/v1", "services", service).await {
        Some(service) => service["spec"]["selector"].clone(),
        None => json!({"no": "pod"}),
    }
}
