//! The Kubernetes double, asked as a client asks it: rollouts, ownership of fields, refusals.

#![allow(clippy::unwrap_used, clippy::panic)]

mod answers;
mod parts;

use std::sync::Arc;
use std::time::Duration;

use meridian_doubles::kubernetes::Cluster;
use serde_json::{Value, json};

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";
const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";

fn web(image: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 80}]}]},
            },
        },
    })
}

fn serving(replicas: u32) -> Arc<Cluster> {
    let cluster = Cluster::new("test");
    cluster.put(web("app:v1", replicas)).unwrap();
    cluster
        .put(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        }))
        .unwrap();
    cluster.advance(Duration::from_secs(5));
    cluster
}

fn condition(object: &Value, kind: &str) -> (String, String) {
    let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let one = all.iter().find(|one| one["type"] == kind).cloned().unwrap_or_default();
    (
        one["status"].as_str().unwrap_or_default().into(),
        one["reason"].as_str().unwrap_or_default().into(),
    )
}

#[test]
fn a_deployment_rolls_out_and_its_service_finds_the_ready_pods() {
    let cluster = serving(3);
    let status = cluster.get("Deployment", "default", "web").unwrap()["status"].clone();
    assert_eq!(
        (&status["readyReplicas"], &status["updatedReplicas"]),
        (&json!(3), &json!(3))
    );
    let web = cluster.get("Deployment", "default", "web").unwrap();
    assert_eq!(
        condition(&web, "Progressing"),
        ("True".into(), "NewReplicaSetAvailable".into())
    );
    assert_eq!(
        condition(&web, "Available"),
        ("True".into(), "MinimumReplicasAvailable".into())
    );
    let slice = &cluster.list("EndpointSlice", "default")[0];
    assert_eq!(slice["endpoints"].as_array().unwrap().len(), 3);
}

#[test]
fn a_new_image_never_takes_more_pods_away_than_it_may() {
    let cluster = serving(4);
    let (code, _) = cluster.request(
        "PATCH",
        WEB,
        MERGE,
        &json!({"spec": {"template": {"spec": {"containers": [
        {"name": "web", "image": "app:v2"}]}}}}),
    );
    assert_eq!(code, 200);
    let lag = cluster.get("Deployment", "default", "web").unwrap();
    assert_ne!(lag["status"]["observedGeneration"], lag["metadata"]["generation"]);
    for _ in 0..100 {
        cluster.advance(Duration::from_millis(100));
        let web = cluster.get("Deployment", "default", "web").unwrap();
        assert!(
            web["status"]["availableReplicas"].as_i64().unwrap() >= 3,
            "{}",
            web["status"]
        );
        assert!(cluster.list("Pod", "default").len() <= 10);
    }
    let images: Vec<Value> = cluster
        .list("Pod", "default")
        .iter()
        .map(|pod| pod["spec"]["containers"][0]["image"].clone())
        .collect();
    assert_eq!(images, vec![json!("app:v2"); 4]);
    let revision = cluster.get("Deployment", "default", "web").unwrap();
    assert_eq!(
        revision["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "2"
    );
}

#[test]
fn a_crashing_candidate_times_out_while_the_old_pods_go_on() {
    let cluster = serving(4);
    cluster.behave("*:bad", "crashloop exit=3");
    let change = json!({"spec": {"progressDeadlineSeconds": 60, "template": {"spec": {"containers": [
        {"name": "web", "image": "app:bad"}]}}}});
    cluster.request("PATCH", WEB, MERGE, &change);
    cluster.advance(Duration::from_secs(90));
    let web = cluster.get("Deployment", "default", "web").unwrap();
    assert_eq!(
        condition(&web, "Progressing"),
        ("False".into(), "ProgressDeadlineExceeded".into())
    );
    assert_eq!(web["status"]["availableReplicas"], 3);
    let bad = cluster
        .list("Pod", "default")
        .into_iter()
        .find(|pod| pod["spec"]["containers"][0]["image"] == "app:bad");
    let status = bad.unwrap()["status"]["containerStatuses"][0].clone();
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
    assert!(status["restartCount"].as_i64().unwrap() > 1, "{status}");
}

#[test]
fn a_field_of_another_manager_is_not_taken_without_force() {
    let cluster = serving(2);
    let mine =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 5}});
    let path = format!("{WEB}?fieldManager=meridian");
    let (code, refused) = cluster.request("PATCH", &path, APPLY, &mine);
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")));
    assert_eq!(
        refused["message"],
        "Apply failed with 1 conflict: conflict with \"test\" using apps/v1: .spec.replicas"
    );
    let (code, taken) = cluster.request("PATCH", &format!("{path}&force=true"), APPLY, &mine);
    assert_eq!((code, &taken["spec"]["replicas"]), (200, &json!(5)));
    let owners: Vec<&Value> = taken["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["manager"])
        .collect();
    assert_eq!(owners[0], "meridian");
}

#[test]
fn what_its_only_owner_applies_no_more_is_gone() {
    let cluster = serving(1);
    let path = format!("{WEB}?fieldManager=meridian");
    let mut mine = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web",
        "annotations": {"meridian/fence": "1.2.3", "meridian/phase": "open"}},
        "spec": {"template": {"spec": {"containers": [{"name": "web", "env": [{"name": "A", "value": "1"}]}]}}}});
    assert_eq!(cluster.request("PATCH", &path, APPLY, &mine).0, 200);
    mine["metadata"]["annotations"] = json!({"meridian/fence": "1.2.4"});
    mine["spec"] = json!({});
    let (code, object) = cluster.request("PATCH", &path, APPLY, &mine);
    assert_eq!(code, 200, "{object}");
    assert_eq!(object["metadata"]["annotations"].get("meridian/phase"), None);
    assert_eq!(object["metadata"]["annotations"]["meridian/fence"], "1.2.4");
    assert_eq!(object["spec"]["template"]["spec"]["containers"][0]["image"], "app:v1");
    assert_eq!(object["spec"]["template"]["spec"]["containers"][0].get("env"), None);
}

#[test]
fn a_stale_version_is_refused() {
    let cluster = serving(1);
    let old = cluster.get("Deployment", "default", "web").unwrap();
    cluster.request("PATCH", WEB, MERGE, &json!({"metadata": {"labels": {"a": "b"}}}));
    let (code, refused) = cluster.request("PUT", WEB, JSON, &old);
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")));
    let stale = json!({"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "spec": {"replicas": 9}});
    assert_eq!(cluster.request("PATCH", WEB, MERGE, &stale).0, 409);
}

#[test]
fn a_deleted_deployment_takes_its_pods_with_it() {
    let cluster = serving(2);
    assert_eq!(cluster.request("DELETE", WEB, JSON, &Value::Null).0, 200);
    cluster.advance(Duration::from_secs(5));
    assert_eq!(
        cluster.list("ReplicaSet", "default").len() + cluster.list("Pod", "default").len(),
        0
    );
}
