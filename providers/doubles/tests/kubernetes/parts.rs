//! What a cluster does around a rollout: who may do what, budgets, quotas, autoscalers, endpoints, endings, watches.

use std::sync::Arc;
use std::time::Duration;

use meridian_doubles::kubernetes::{Cluster, Rule};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::{JSON, MERGE, WEB, serving, web};

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pods(cluster: &Cluster) -> Vec<Value> {
    cluster.list("Pod", "default")
}

fn ready_endpoints(cluster: &Cluster) -> usize {
    let slices = cluster.list("EndpointSlice", "default");
    let endpoints = slices
        .iter()
        .flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
    endpoints
        .filter(|endpoint| endpoint["conditions"]["ready"] == true)
        .count()
}

#[test]
fn a_pod_that_flaps_is_an_endpoint_for_half_a_second_and_never_available() {
    let cluster = Cluster::new("flap");
    cluster.behave("app:v1", "flapping exit=7");
    let mut deployment = web("app:v1", 1);
    deployment["spec"]["minReadySeconds"] = json!(5);
    cluster.put(deployment).unwrap();
    let mut ready = 0;
    for _ in 0..100 {
        cluster.advance(Duration::from_millis(100));
        ready += usize::from(pods(&cluster)[0]["status"]["containerStatuses"][0]["ready"] == true);
        let status = cluster.get("Deployment", "default", "web").unwrap()["status"].clone();
        assert_eq!(status.get("availableReplicas"), None, "{status}");
    }
    assert!((8..=12).contains(&ready), "ready in {ready} of 100 looks");
    assert_eq!(
        pods(&cluster)[0]["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"],
        7
    );
}

#[test]
fn a_pod_on_its_way_out_serves_no_more_and_goes_when_it_has_stopped() {
    let cluster = Cluster::new("slow");
    let mut deployment = web("app:v1", 2);
    deployment["spec"]["template"]["metadata"]["annotations"] = json!({"klab/do": "ready slowstop=8"});
    cluster.put(deployment).unwrap();
    cluster
        .put(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        }))
        .unwrap();
    cluster.advance(Duration::from_secs(5));
    assert_eq!(ready_endpoints(&cluster), 2);
    cluster.request("PATCH", WEB, MERGE, &json!({"spec": {"replicas": 1}}));
    cluster.advance(Duration::from_secs(4));
    assert_eq!((ready_endpoints(&cluster), pods(&cluster).len()), (1, 2));
    cluster.advance(Duration::from_secs(5));
    assert_eq!(pods(&cluster).len(), 1);
}

#[test]
fn a_budget_that_spares_nobody_refuses_an_eviction() {
    let cluster = serving(2);
    let budget = |least: u32| {
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
            "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": "web"}}},
        })
    };
    cluster.put(budget(2)).unwrap();
    cluster.advance(Duration::from_secs(1));
    let name = pods(&cluster)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    let path = format!("{PODS}/{name}/eviction");
    let (code, refused) = cluster.request("POST", &path, JSON, &eviction);
    assert_eq!(
        (code, &refused["details"]["causes"][0]["reason"]),
        (429, &json!("DisruptionBudget"))
    );
    cluster.put(budget(1)).unwrap();
    cluster.advance(Duration::from_secs(1));
    assert_eq!(cluster.request("POST", &path, JSON, &eviction).0, 201);
    assert_eq!(
        cluster.request("POST", &path, JSON, &eviction).0,
        429,
        "one was spared, not two"
    );
}

#[test]
fn a_quota_stops_the_replica_set_and_says_so() {
    let cluster = Cluster::new("quota");
    cluster
        .put(json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"pods": "2"}}}))
        .unwrap();
    cluster.put(web("app:v1", 3)).unwrap();
    cluster.advance(Duration::from_secs(5));
    assert_eq!(pods(&cluster).len(), 2);
    let set = &cluster.list("ReplicaSet", "default")[0];
    let failure = set["status"]["conditions"][0].clone();
    assert_eq!(
        (&failure["type"], &failure["reason"]),
        (&json!("ReplicaFailure"), &json!("FailedCreate"))
    );
    let said = failure["message"].as_str().unwrap();
    assert!(
        said.ends_with("is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2"),
        "{said}"
    );
    assert!(
        cluster
            .list("Event", "default")
            .iter()
            .any(|event| event["reason"] == "FailedCreate")
    );
}

#[test]
fn a_pod_without_room_waits_and_says_why() {
    let cluster = Cluster::new("full");
    let mut deployment = web("app:v1", 1);
    deployment["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "900"}});
    cluster.put(deployment).unwrap();
    cluster.advance(Duration::from_secs(2));
    let condition = pods(&cluster)[0]["status"]["conditions"][0].clone();
    assert_eq!(condition["reason"], "Unschedulable");
    assert!(
        condition["message"]
            .as_str()
            .unwrap()
            .starts_with("0/3 nodes are available: 3 Insufficient cpu.")
    );
}

#[test]
fn an_autoscaler_follows_demand_within_its_bounds() {
    let cluster = serving(2);
    cluster
        .put(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 3, "maxReplicas": 6, "metrics": [{"type": "Resource", "resource":
                {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]},
        }))
        .unwrap();
    let size = || cluster.get("Deployment", "default", "web").unwrap()["spec"]["replicas"].clone();
    cluster.advance(Duration::from_secs(20));
    assert_eq!(size(), 3, "never below its least, whatever is known of demand");
    cluster.load("default", "web", 240);
    cluster.advance(Duration::from_secs(20));
    assert_eq!(size(), 5);
    cluster.load("default", "web", 2400);
    cluster.advance(Duration::from_secs(20));
    assert_eq!(size(), 6);
    cluster.load("default", "web", 100);
    cluster.advance(Duration::from_secs(280));
    assert_eq!(size(), 6, "what was asked for within five minutes stays");
    cluster.advance(Duration::from_secs(40));
    assert_eq!(size(), 3);
    let mut grown = cluster.get("Deployment", "default", "web").unwrap();
    grown["spec"]["replicas"] = json!(6);
    cluster.put(grown).unwrap();
    cluster.advance(Duration::from_secs(16));
    assert_eq!(
        size(),
        3,
        "what somebody adds by hand is idle, and goes at the next look"
    );
}

#[test]
fn a_namespace_takes_everything_in_it_with_it() {
    let cluster = Cluster::new("end");
    cluster
        .put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}))
        .unwrap();
    let mut deployment = web("app:v1", 2);
    deployment["metadata"]["namespace"] = json!("team");
    cluster.put(deployment).unwrap();
    cluster.advance(Duration::from_secs(3));
    assert_eq!(cluster.list("Pod", "team").len(), 2);
    assert!(cluster.delete("Namespace", "", "team"));
    cluster.advance(Duration::from_secs(10));
    assert_eq!(cluster.get("Namespace", "", "team"), None);
    assert_eq!(
        cluster.list("Deployment", "team").len() + cluster.list("Pod", "team").len(),
        0
    );
}

#[test]
fn old_replica_sets_are_kept_as_far_as_the_history_goes_and_an_old_image_finds_its_own() {
    let cluster = serving(1);
    cluster.request("PATCH", WEB, MERGE, &json!({"spec": {"revisionHistoryLimit": 1}}));
    let roll = |image: &str| {
        let change = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}});
        assert_eq!(
            cluster
                .request("PATCH", WEB, "application/strategic-merge-patch+json", &change)
                .0,
            200
        );
        cluster.advance(Duration::from_secs(10));
    };
    roll("app:v2");
    roll("app:v3");
    let sets = cluster.list("ReplicaSet", "default");
    assert_eq!(sets.len(), 2, "{sets:?}");
    roll("app:v2");
    let newest = cluster
        .list("ReplicaSet", "default")
        .into_iter()
        .find(|set| set["spec"]["replicas"] == 1)
        .unwrap();
    assert_eq!(
        newest["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "4"
    );
    let web = cluster.get("Deployment", "default", "web").unwrap();
    assert_eq!(web["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "4");
    assert_eq!(cluster.list("ReplicaSet", "default").len(), 2);
}

async fn served(cluster: &Arc<Cluster>) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = cluster.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Sends one request and gives back the lines of the answer as they come.
async fn ask(
    address: std::net::SocketAddr,
    path: &str,
    token: &str,
) -> tokio::io::Lines<BufReader<tokio::net::TcpStream>> {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    BufReader::new(stream).lines()
}

#[tokio::test]
async fn a_watch_sees_what_happens_and_an_old_one_is_told_to_start_again() {
    let cluster = serving(1);
    let address = served(&cluster).await;
    let web = cluster.get("Deployment", "default", "web").unwrap();
    let version = web["metadata"]["resourceVersion"].as_str().unwrap();
    let path = "/apis/apps/v1/namespaces/default/deployments?watch=1&resourceVersion=";
    let mut lines = ask(address, &format!("{path}{version}"), "").await;
    cluster.request("PATCH", WEB, MERGE, &json!({"metadata": {"labels": {"seen": "yes"}}}));
    let event = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if line.starts_with("{\"") {
            break serde_json::from_str::<Value>(&line).unwrap();
        }
    };
    assert_eq!(event["type"], "MODIFIED");
    assert_eq!(event["object"]["metadata"]["labels"]["seen"], "yes");

    cluster.compact();
    let mut lines = ask(address, &format!("{path}{version}"), "").await;
    let mut told = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        told.push_str(&line);
    }
    assert!(told.contains("\"ERROR\"") && told.contains("\"code\":410"), "{told}");
}

#[tokio::test]
async fn a_token_allows_what_its_rules_say() {
    let cluster = serving(1);
    cluster.grant(
        "t0ken",
        "bob",
        vec![Rule::new("get,list", "apps", "deployments", "default")],
    );
    let address = served(&cluster).await;
    let answer = |path: &'static str, token: &'static str| async move {
        let mut lines = ask(address, path, token).await;
        let mut told = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            told.push(line);
        }
        (told[0].clone(), told.concat())
    };
    assert_eq!(answer(WEB, "").await.0, "HTTP/1.1 401 Unauthorized");
    assert_eq!(answer(WEB, "t0ken").await.0, "HTTP/1.1 200 OK");
    let (code, told) = answer(PODS, "t0ken").await;
    assert_eq!(code, "HTTP/1.1 403 Forbidden");
    let said = r#"pods is forbidden: User \"bob\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""#;
    assert!(told.contains(said), "{told}");
}

#[test]
fn what_the_controller_notes_on_a_deployment_is_no_new_generation() {
    let cluster = serving(2);
    let web = cluster.get("Deployment", "default", "web").unwrap();
    assert_eq!(web["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
    assert_eq!(
        (&web["metadata"]["generation"], &web["status"]["observedGeneration"]),
        (&json!(1), &json!(1))
    );
    let set = &cluster.list("ReplicaSet", "default")[0];
    assert_eq!(
        (&set["metadata"]["generation"], &set["spec"]["replicas"]),
        (&json!(1), &json!(2))
    );
}
