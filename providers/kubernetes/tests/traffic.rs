//! Every mechanism against an API server: prepared, climbed, reverted by others, overtaken by fences, cleaned up.

use std::collections::BTreeMap;

use meridian_engine::ports::provider::Fence;
use meridian_kubernetes::api::resource::{INGRESSES, PODS, Resource, SERVICES};
use meridian_kubernetes::settings::{Settings, Strategy};
use meridian_kubernetes::traffic::{Arm, Arms, Mechanism, Split, Written, mechanism, switch};
use meridian_workflows::share::Share;
use serde_json::{Value, json};

use crate::stage::Stage;

const VIRTUAL_SERVICES: Resource = Resource {
    group: "networking.istio.io",
    version: "v1",
    plural: "virtualservices",
    kind: "VirtualService",
};
const DESTINATION_RULES: Resource = Resource {
    plural: "destinationrules",
    kind: "DestinationRule",
    ..VIRTUAL_SERVICES
};
pub const HTTP_ROUTES: Resource = Resource {
    group: "gateway.networking.k8s.io",
    version: "v1",
    plural: "httproutes",
    kind: "HTTPRoute",
};
const TRAFFIC_SPLITS: Resource = Resource {
    group: "split.smi-spec.io",
    version: "v1alpha2",
    plural: "trafficsplits",
    kind: "TrafficSplit",
};

pub fn fence(seq: u64) -> Fence {
    Fence {
        claim: 1,
        epoch: 1,
        seq,
    }
}

pub fn arms() -> Arms {
    let arm = |deployment: &str, hash: &str| Arm {
        deployment: deployment.to_owned(),
        labels: BTreeMap::from([("app".to_owned(), deployment.to_owned())]),
        pods: BTreeMap::from([("app".to_owned(), deployment.to_owned())]),
        hash: Some(hash.to_owned()),
        ready: 2,
        ports: BTreeMap::new(),
    };
    Arms {
        workload: "payments".to_owned(),
        suffix: "candidate".to_owned(),
        baseline: arm("payments", "7d9"),
        candidate: arm("payments-candidate", "5c4"),
        mark: None,
    }
}

/// The mechanism of a region with this traffic.
pub fn mechanism_of(traffic: Value) -> Box<dyn Mechanism> {
    let settings = json!({"workload": "deployment/payments", "traffic": traffic});
    match Settings::read(&settings).unwrap().strategy {
        Strategy::Canary(traffic) => mechanism(&traffic),
        Strategy::BlueGreen(services) => switch(&services),
        Strategy::Rolling(_) => panic!("a rolling update has no mechanism"),
    }
}

pub fn traffic(points: u16) -> Split {
    Split {
        share: Share::from_basis_points(points).unwrap(),
        ..Split::none()
    }
}

fn shadow(points: u16) -> Split {
    Split {
        mirror: Share::from_basis_points(points).unwrap(),
        ..Split::none()
    }
}

fn audience(key: &str, text: &str) -> Split {
    Split {
        audience: BTreeMap::from([(key.to_owned(), text.to_owned())]),
        ..Split::none()
    }
}

pub fn service(name: &str) -> (&'static Resource, Value) {
    let ports = json!([{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]);
    let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"selector": {"app": "payments"}, "ports": ports}});
    (&SERVICES, object)
}

fn object(resource: &'static Resource, name: &str, spec: Value) -> (&'static Resource, Value) {
    let metadata = json!({"name": name, "labels": {"team": "payments"}, "annotations": {"team/note": "ours"}});
    (
        resource,
        json!({"apiVersion": resource.api_version(), "kind": resource.kind, "metadata": metadata, "spec": spec}),
    )
}

/// Makes them all, and says how the server shows them.
pub async fn given(stage: &Stage, objects: &[(&'static Resource, Value)]) {
    for (resource, object) in objects {
        stage.namespace.create(resource, object).await.unwrap();
    }
}

async fn shown(stage: &Stage, objects: &[(&'static Resource, Value)]) -> Vec<Value> {
    let mut shown = Vec::new();
    for (resource, object) in objects {
        let name = object["metadata"]["name"].as_str().unwrap();
        let mut live = stage.namespace.get(resource, name).await.unwrap().unwrap();
        let metadata = live["metadata"].as_object_mut().unwrap();
        for field in [
            "resourceVersion",
            "generation",
            "managedFields",
            "uid",
            "creationTimestamp",
        ] {
            metadata.remove(field);
        }
        // The fence stays: it is what stops an order that was on its way.
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.retain(|key, _| !key.starts_with("meridian/fence."));
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
        live.as_object_mut().unwrap().remove("status");
        shown.push(live);
    }
    shown
}

/// Asks until nothing is left to do, a few times at most.
pub async fn prepared(stage: &Stage, mechanism: &dyn Mechanism, arms: &Arms, fence: Fence) {
    for _ in 0..4 {
        if mechanism.prepare(&stage.namespace, arms, fence).await.unwrap() == Written::Already {
            return;
        }
    }
    panic!("it is never prepared");
}

async fn cleaned(stage: &Stage, mechanism: &dyn Mechanism, arms: &Arms, fence: Fence) {
    for _ in 0..5 {
        if mechanism.clean(&stage.namespace, arms, fence).await.unwrap() == Written::Already {
            return;
        }
    }
    panic!("it is never clean");
}

/// The whole life of a mechanism beside what others own.
async fn lives(test: &str, settings: Value, objects: Vec<(&'static Resource, Value)>, splits: &[Split]) {
    let stage = Stage::bare(test).await;
    let (mechanism, arms) = (mechanism_of(settings), arms());
    given(&stage, &objects).await;
    let before = shown(&stage, &objects).await;
    mechanism.check(&stage.namespace, &arms, splits).await.unwrap();
    assert!(mechanism.read(&stage.namespace, &arms).await.unwrap().split.is_none());
    prepared(&stage, mechanism.as_ref(), &arms, fence(1)).await;
    let standing = mechanism.read(&stage.namespace, &arms).await.unwrap();
    assert!(standing.split.is_none() && standing.oddity.is_none(), "{standing:?}");
    let mut seq = 10;
    for split in splits {
        seq += 10;
        let write = |seq: u64| mechanism.write(&stage.namespace, &arms, split, fence(seq));
        assert_eq!(write(seq).await.unwrap(), Written::Changed, "{split:?}");
        let standing = mechanism.read(&stage.namespace, &arms).await.unwrap();
        assert_eq!(
            (&standing.split, &standing.oddity, standing.fence),
            (split, &None, Some(fence(seq)))
        );
        assert_eq!(write(seq).await.unwrap(), Written::Already, "the same order again");
        assert_eq!(
            write(seq - 1).await.unwrap(),
            Written::Stale(fence(seq)),
            "an older order"
        );
        assert_eq!(
            write(seq + 1).await.unwrap(),
            Written::Changed,
            "a newer order of the same split is stamped"
        );
        mechanism.check(&stage.namespace, &arms, splits).await.unwrap();
        assert_eq!(
            mechanism
                .prepare(&stage.namespace, &arms, fence(seq + 2))
                .await
                .unwrap(),
            Written::Already
        );
    }
    cleaned(&stage, mechanism.as_ref(), &arms, fence(seq + 3)).await;
    assert_eq!(shown(&stage, &objects).await, before, "what others own is as it was");
    let services = stage.namespace.list(&SERVICES, "").await.unwrap();
    let ours = services
        .iter()
        .filter(|service| service["metadata"]["name"] != "kubernetes")
        .count();
    let theirs = objects.iter().filter(|(resource, _)| **resource == SERVICES).count();
    assert_eq!(ours, theirs, "the candidate's Service is gone");
    assert!(mechanism.read(&stage.namespace, &arms).await.unwrap().split.is_none());
    stage.strike().await;
}

#[tokio::test]
async fn a_subset_follows_a_baseline_that_others_roll_only_once_its_pods_are_ready() {
    let stage = Stage::bare("rolled").await;
    let settings = json!({"istio": {"virtualService": "payments", "route": "primary", "destinationRule": "mine"}});
    let (mechanism, mut arms) = (mechanism_of(settings), arms());
    given(&stage, &[service("payments"), virtual_service()]).await;
    let pod = |hash: &str| {
        let labels = json!({"app": "payments", "pod-template-hash": hash});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("payments-{hash}"), "labels": labels, "annotations": {"klab/do": if hash == "new" { "neverready" } else { "ready" }}},
            "spec": {"containers": [{"name": "app", "image": "r/app:v1"}]}})
    };
    for hash in ["7d9", "new"] {
        stage.namespace.create(&PODS, &pod(hash)).await.unwrap();
    }
    for _ in 0..200 {
        let live = stage.namespace.get(&PODS, "payments-7d9").await.unwrap().unwrap();
        let conditions = live["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if conditions
            .iter()
            .any(|one| one["type"] == "Ready" && one["status"] == "True")
        {
            break;
        }
        stage.pass(std::time::Duration::from_millis(100)).await;
    }
    prepared(&stage, mechanism.as_ref(), &arms, fence(1)).await;
    arms.baseline.hash = Some("new".to_owned());
    let hash = async || {
        let rule = stage.namespace.get(&DESTINATION_RULES, "mine").await.unwrap().unwrap();
        rule["spec"]["subsets"][0]["labels"]["pod-template-hash"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    prepared(&stage, mechanism.as_ref(), &arms, fence(2)).await;
    assert_eq!(
        hash().await,
        "7d9",
        "the newest has no ready pod, and the baseline has all the traffic"
    );
    mechanism
        .write(&stage.namespace, &arms, &traffic(10_000), fence(3))
        .await
        .unwrap();
    prepared(&stage, mechanism.as_ref(), &arms, fence(4)).await;
    assert_eq!(hash().await, "new", "nobody is sent there now");
    stage.strike().await;
}

fn virtual_service() -> (&'static Resource, Value) {
    let routes = json!([
        {"name": "other", "match": [{"uri": {"prefix": "/other"}}], "route": [{"destination": {"host": "other"}}]},
        {"name": "primary", "match": [{"uri": {"prefix": "/pay"}}], "timeout": "5s", "route": [{"destination": {"host": "payments", "port": {"number": 80}}}]},
        {"route": [{"destination": {"host": "payments", "port": {"number": 80}}, "weight": 100}]},
    ]);
    object(
        &VIRTUAL_SERVICES,
        "payments",
        json!({"hosts": ["payments"], "http": routes}),
    )
}

fn every_split(fine: bool) -> Vec<Split> {
    vec![
        shadow(10_000),
        shadow(1250),
        audience("header", "X-Canary: always"),
        audience("cookie", "canary=always"),
        audience("tenants", "acme,initech"),
        traffic(if fine { 1 } else { 100 }),
        traffic(if fine { 3333 } else { 3300 }),
        traffic(10_000),
        traffic(0),
    ]
}

#[tokio::test]
async fn istio_by_hosts() {
    let settings = json!({"istio": {"virtualService": "payments", "service": "payments"}});
    lives(
        "istio",
        settings,
        vec![service("payments"), virtual_service()],
        &every_split(false),
    )
    .await;
}

#[tokio::test]
async fn istio_by_subsets_beside_those_of_others() {
    let settings = json!({"istio": {"virtualService": "payments", "route": "primary", "destinationRule": "payments"}});
    let subsets = json!([{"name": "eu", "labels": {"zone": "eu"}}]);
    let rule = object(
        &DESTINATION_RULES,
        "payments",
        json!({"host": "payments", "subsets": subsets, "trafficPolicy": {"connectionPool": {}}}),
    );
    lives(
        "subsets",
        settings,
        vec![service("payments"), virtual_service(), rule],
        &every_split(false),
    )
    .await;
}

#[tokio::test]
async fn istio_by_subsets_of_a_rule_of_its_own() {
    let settings = json!({"istio": {"virtualService": "payments", "route": "primary", "destinationRule": "mine"}});
    lives(
        "rule",
        settings,
        vec![service("payments"), virtual_service()],
        &[traffic(5000), traffic(0)],
    )
    .await;
}

pub fn http_route() -> (&'static Resource, Value) {
    let path = |value: &str| json!([{"path": {"type": "PathPrefix", "value": value}}]);
    let rules = json!([
        {"matches": path("/other"), "backendRefs": [{"name": "other", "port": 80}]},
        {"matches": path("/pay"), "timeouts": {"request": "5s"}, "backendRefs": [{"name": "payments", "port": 80}]},
        {"backendRefs": [{"name": "payments", "port": 80, "weight": 7}]},
    ]);
    object(
        &HTTP_ROUTES,
        "payments",
        json!({"parentRefs": [{"name": "gateway"}], "hostnames": ["shop.example.com"], "rules": rules}),
    )
}

pub fn http_route_of_one_rule() -> (&'static Resource, Value) {
    let rules = json!([{"backendRefs": [{"name": "payments", "port": 80}]}]);
    object(
        &HTTP_ROUTES,
        "payments",
        json!({"parentRefs": [{"name": "gateway"}], "rules": rules}),
    )
}

#[tokio::test]
async fn http_route_with_rules_of_others() {
    let settings = json!({"httpRoute": {"name": "payments", "service": "payments"}});
    lives(
        "route",
        settings,
        vec![service("payments"), http_route()],
        &every_split(true),
    )
    .await;
}

#[tokio::test]
async fn nginx_beside_the_stable_ingress() {
    let path = json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "payments", "port": {"name": "http"}}}});
    let spec = json!({"ingressClassName": "nginx", "rules": [{"host": "shop.example.com", "http": {"paths": [path]}}]});
    let splits: Vec<Split> = every_split(true)
        .into_iter()
        .filter(|split| split.mirror.is_zero())
        .collect();
    let settings = json!({"nginx": {"ingress": "payments"}});
    lives(
        "nginx",
        settings,
        vec![service("payments"), object(&INGRESSES, "payments", spec)],
        &splits,
    )
    .await;
}

#[tokio::test]
async fn smi_with_a_split_of_others_and_with_its_own() {
    let spec = json!({"service": "payments", "backends": [{"service": "payments", "weight": 7}]});
    let splits = [traffic(1), traffic(2500), traffic(10_000), traffic(0)];
    let settings = json!({"smi": {"service": "payments"}});
    lives(
        "smi",
        settings.clone(),
        vec![service("payments"), object(&TRAFFIC_SPLITS, "payments", spec)],
        &splits,
    )
    .await;
    lives("smi", settings, vec![service("payments")], &splits).await;
}

#[tokio::test]
async fn alb_with_an_action_of_its_rule() {
    let path = json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "payments", "port": {"name": "use-annotation"}}}});
    let ingress = object(
        &INGRESSES,
        "shop",
        json!({"ingressClassName": "alb", "rules": [{"http": {"paths": [path]}}]}),
    );
    let splits = [traffic(10), traffic(3330), traffic(10_000), traffic(0)];
    let settings = json!({"alb": {"ingress": "shop", "service": "payments", "port": 80}});
    lives("alb", settings, vec![service("payments"), ingress], &splits).await;
}

#[tokio::test]
async fn services_switched_from_one_side_to_the_other() {
    let settings = json!({"services": {"active": "payments", "preview": "payments-preview"}});
    lives(
        "switch",
        settings,
        vec![service("payments"), service("payments-preview")],
        &[traffic(10_000), traffic(0)],
    )
    .await;
}

#[tokio::test]
async fn what_others_revert_is_seen_and_mended() {
    let stage = Stage::bare("revert").await;
    let (mechanism, arms) = (
        mechanism_of(json!({"httpRoute": {"name": "payments", "service": "payments"}})),
        arms(),
    );
    given(&stage, &[service("payments"), http_route()]).await;
    prepared(&stage, mechanism.as_ref(), &arms, fence(1)).await;
    mechanism
        .write(&stage.namespace, &arms, &traffic(2000), fence(2))
        .await
        .unwrap();
    let mut live = stage.namespace.get(&HTTP_ROUTES, "payments").await.unwrap().unwrap();
    live["spec"]["rules"][1]["backendRefs"].as_array_mut().unwrap().pop();
    stage.namespace.replace(&HTTP_ROUTES, "payments", &live).await.unwrap();
    let standing = mechanism.read(&stage.namespace, &arms).await.unwrap();
    assert!(
        standing.oddity.is_some(),
        "one of two rules sends the candidate nothing: {standing:?}"
    );
    assert_eq!(
        mechanism
            .write(&stage.namespace, &arms, &traffic(2000), fence(2))
            .await
            .unwrap(),
        Written::Changed
    );
    let standing = mechanism.read(&stage.namespace, &arms).await.unwrap();
    assert_eq!((standing.split, standing.oddity), (traffic(2000), None));
    stage.strike().await;
}

#[tokio::test]
async fn what_stands_in_the_way_is_named() {
    let stage = Stage::bare("way").await;
    let (mechanism, arms) = (
        mechanism_of(json!({"httpRoute": {"name": "payments", "service": "payments"}})),
        arms(),
    );
    let missing = mechanism.check(&stage.namespace, &arms, &[]).await.unwrap_err();
    assert!(
        missing
            .what
            .contains("HTTPRoute `payments` does not exist in namespace"),
        "{missing}"
    );
    given(
        &stage,
        &[service("payments"), http_route(), service("payments-candidate")],
    )
    .await;
    let taken = mechanism.prepare(&stage.namespace, &arms, fence(1)).await.unwrap_err();
    assert!(
        taken
            .what
            .starts_with("Service `payments-candidate`: it exists and was not made here"),
        "{taken}"
    );
    let mut both = arms.clone();
    both.candidate.pods = both.baseline.pods.clone();
    let selected = mechanism.check(&stage.namespace, &both, &[]).await.unwrap_err();
    assert!(selected.what.contains("matches the candidate's pods too"), "{selected}");
    stage.strike().await;
}
