//! Diagnoses from the exact shapes that a real API server hands out.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::evidence::Evidence;
use super::{Diagnosis, Prospect, diagnose};

/// A Deployment of as many pods as there are statuses, none of them available.
pub fn given(statuses: Vec<Value>) -> Evidence {
    let wanted = statuses.len();
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "payments", "namespace": "shop", "uid": "d-1", "generation": 2,
            "annotations": {"deployment.kubernetes.io/revision": "2"}},
        "spec": {"replicas": wanted, "selector": {"matchLabels": {"app": "payments"}}, "progressDeadlineSeconds": 600,
            "template": {"metadata": {"labels": {"app": "payments"}}, "spec": {"containers": [{"name": "app", "image": "r/app:v2"}]}}},
        "status": {"observedGeneration": 2, "replicas": wanted, "updatedReplicas": wanted, "unavailableReplicas": wanted,
            "conditions": [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated",
                "message": "ReplicaSet \"payments-7d9\" is progressing.", "lastUpdateTime": "2026-03-02T10:00:00Z",
                "lastTransitionTime": "2026-03-02T10:00:00Z"}]},
    });
    let set = json!({
        "metadata": {"name": "payments-7d9", "uid": "rs-1", "annotations": {"deployment.kubernetes.io/revision": "2"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "payments", "uid": "d-1", "controller": true}]},
        "spec": {"selector": {"matchLabels": {"app": "payments", "pod-template-hash": "7d9"}}},
        "status": {"replicas": wanted},
    });
    let pod = |(at, status): (usize, Value)| {
        serde_json::from_value(json!({
            "metadata": {"name": format!("payments-7d9-{at}"), "namespace": "shop", "uid": format!("p-{at}"),
                "creationTimestamp": "2026-03-02T10:00:00Z",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "payments-7d9", "uid": "rs-1", "controller": true}]},
            "spec": {"nodeName": "node-2", "imagePullSecrets": [{"name": "regcred"}], "containers": [{"name": "app", "image": "r/app:v2",
                "resources": {"limits": {"memory": "256Mi"}},
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 5}}]},
            "status": status,
        }))
        .unwrap()
    };
    Evidence {
        deployment: serde_json::from_value(deployment).unwrap(),
        replica_set: Some(serde_json::from_value(set).unwrap()),
        pods: statuses.into_iter().enumerate().map(pod).collect(),
        ..Evidence::default()
    }
}

/// An event as the kubelet records it, about the first pod.
fn event(reason: &str, message: &str, count: i32, at: &str) -> k8s_openapi::api::core::v1::Event {
    serde_json::from_value(json!({
        "metadata": {"name": "payments-7d9-0.17", "namespace": "shop"},
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "payments-7d9-0", "uid": "p-0", "apiVersion": "v1",
            "fieldPath": "spec.containers{app}"},
        "reason": reason, "message": message, "type": "Warning", "count": count,
        "source": {"component": "kubelet", "host": "node-2"},
        "firstTimestamp": "2026-03-02T10:00:00Z", "lastTimestamp": at, "eventTime": null,
        "reportingComponent": "kubelet", "reportingInstance": "node-2",
    }))
    .unwrap()
}

fn container(ready: bool, restarts: i32, state: Value) -> Value {
    json!({"name": "app", "image": "r/app:v2", "imageID": "", "ready": ready, "started": ready, "restartCount": restarts,
        "state": state, "lastState": {}})
}

fn conditions(ready: &str, reason: Option<&str>) -> Value {
    let at = "2026-03-02T10:00:00Z";
    json!([
        {"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": at},
        {"type": "ContainersReady", "status": ready, "reason": reason, "lastProbeTime": null, "lastTransitionTime": at},
        {"type": "Ready", "status": ready, "reason": reason, "lastProbeTime": null, "lastTransitionTime": at},
    ])
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"phase": "Pending", "conditions": conditions("False", Some("ContainersNotReady")),
        "containerStatuses": [container(false, 0, json!({"waiting": {"reason": reason, "message": message}}))]})
}

fn running(ready: bool) -> Value {
    let why = (!ready).then_some("ContainersNotReady");
    json!({"phase": "Running", "conditions": conditions(if ready { "True" } else { "False" }, why),
        "containerStatuses": [container(ready, 0, json!({"running": {"startedAt": "2026-03-02T10:00:01Z"}}))]})
}

fn overdue(mut evidence: Evidence) -> Evidence {
    let status = evidence.deployment.status.as_mut().unwrap();
    status.conditions = serde_json::from_value(
        json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
        "message": "ReplicaSet \"payments-7d9\" has timed out progressing."}]),
    )
    .unwrap();
    evidence
}

pub fn complete(mut evidence: Evidence) -> Evidence {
    let wanted = evidence.wanted();
    evidence.deployment.status = serde_json::from_value(
        json!({"observedGeneration": 2, "replicas": wanted, "updatedReplicas": wanted,
        "readyReplicas": wanted, "availableReplicas": wanted}),
    )
    .unwrap();
    evidence
}

/// The diagnosis so many seconds after the pods were created.
fn after(seconds: i64, evidence: &Evidence) -> Diagnosis {
    let created: Timestamp = "2026-03-02T10:00:00Z".parse().unwrap();
    diagnose(evidence, Timestamp::from_second(created.as_second() + seconds).unwrap()).unwrap()
}

fn stuck(seconds: i64, evidence: &Evidence) -> String {
    let found = after(seconds, evidence);
    assert_eq!(found.prospect, Prospect::Stuck, "{}", found.why);
    found.why
}

fn moving(seconds: i64, evidence: &Evidence) -> String {
    let found = after(seconds, evidence);
    assert_eq!(found.prospect, Prospect::Moving, "{}", found.why);
    found.why
}

const NOT_FOUND: &str = "rpc error: code = NotFound desc = failed to pull and unpack image \"r/app:v2\": failed to resolve reference \"r/app:v2\": r/app:v2: not found";

#[test]
fn a_missing_image_is_stuck_once_the_kubelet_has_tried_twice() {
    let first = given(vec![waiting("ErrImagePull", NOT_FOUND)]);
    assert!(
        moving(5, &first).starts_with(
            "image `r/app:v2` cannot be pulled (1 of 1 pod): it does not exist in the registry (`rpc error"
        )
    );
    let back_off = format!("Back-off pulling image \"r/app:v2\": ErrImagePull: {NOT_FOUND}");
    let again = given(vec![
        waiting("ImagePullBackOff", &back_off),
        waiting("ErrImagePull", NOT_FOUND),
    ]);
    let why = stuck(10, &again);
    assert!(
        why.starts_with("image `r/app:v2` cannot be pulled (2 of 2 pods): it does not exist in the registry"),
        "{why}"
    );
}

#[test]
fn an_old_kubelet_says_the_cause_in_an_event_alone() {
    let mut evidence = given(vec![waiting("ImagePullBackOff", "Back-off pulling image \"r/app:v2\"")]);
    let said = format!("Failed to pull image \"r/app:v2\": {NOT_FOUND}");
    evidence.events.push(event("Failed", &said, 3, "2026-03-02T10:00:40Z"));
    evidence
        .events
        .push(event("Failed", "Error: ImagePullBackOff", 3, "2026-03-02T10:00:50Z"));
    assert!(stuck(60, &evidence).contains("it does not exist in the registry"));
}

#[test]
fn a_refused_pull_names_the_pull_secret() {
    let said = "failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://r/token: 401 Unauthorized";
    let mut evidence = given(vec![waiting("ImagePullBackOff", said)]);
    assert!(
        stuck(20, &evidence)
            .contains("the registry refuses it: pull secret `regcred` is wrong, has expired or does not reach it")
    );
    let missing = "Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed.";
    evidence.events.push(event(
        "FailedToRetrieveImagePullSecret",
        missing,
        2,
        "2026-03-02T10:00:10Z",
    ));
    assert!(stuck(20, &evidence).contains("pull secret regcred does not exist"));
}

#[test]
fn a_registry_that_does_not_answer_is_waited_for_until_the_deadline() {
    let said = "failed to do request: Head \"https://r/v2/app/manifests/v2\": dial tcp 10.0.0.1:443: i/o timeout";
    let evidence = given(vec![waiting("ImagePullBackOff", said)]);
    assert!(moving(500, &evidence).contains("the registry cannot be reached"));
    let why = stuck(601, &overdue(evidence));
    assert!(
        why.ends_with("; no progress within its deadline of 600 s (progressDeadlineSeconds)"),
        "{why}"
    );
}

#[test]
fn a_slow_pull_is_no_trouble() {
    let mut evidence = given(vec![waiting("ContainerCreating", "")]);
    evidence.events.push(event(
        "Pulling",
        "Pulling image \"r/app:v2\"",
        1,
        "2026-03-02T10:00:02Z",
    ));
    assert_eq!(moving(400, &evidence), "image `r/app:v2` is being pulled (1 of 1 pod)");
}

#[test]
fn a_failing_readiness_probe_is_quoted_with_its_question() {
    let mut evidence = given(vec![running(false), running(true)]);
    evidence.events.push(event(
        "Unhealthy",
        "Readiness probe failed: HTTP probe failed with statuscode: 503",
        9,
        "2026-03-02T10:01:00Z",
    ));
    assert_eq!(
        moving(60, &evidence),
        "container `app` does not pass its readiness probe (1 of 2 pods): `HTTP probe failed with statuscode: 503` (GET /ready on port 8080)"
    );
    assert!(stuck(601, &overdue(evidence)).contains("statuscode: 503"));
}

#[test]
fn a_liveness_probe_that_kills_what_is_ready_is_told_apart() {
    let mut status = running(true);
    status["containerStatuses"][0]["restartCount"] = json!(3);
    status["containerStatuses"][0]["lastState"] =
        json!({"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": "2026-03-02T10:02:00Z"}});
    status["containerStatuses"][0]["state"] = json!({"running": {"startedAt": "2026-03-02T10:02:01Z"}});
    let mut evidence = given(vec![status]);
    let killing = "Container app failed liveness probe, will be restarted";
    evidence
        .events
        .push(event("Killing", killing, 3, "2026-03-02T10:01:59Z"));
    let said = "Liveness probe failed: Get \"http://10.0.0.3:8080/live\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    evidence
        .events
        .push(event("Unhealthy", said, 9, "2026-03-02T10:01:58Z"));
    let why = stuck(125, &evidence);
    assert!(
        why.starts_with(
            "the liveness probe of container `app` kills it (1 of 1 pod): 3 restarts (`Liveness probe failed: Get"
        ),
        "{why}"
    );
    assert!(
        why.ends_with("though its readiness probe passes: the liveness probe may be too strict"),
        "{why}"
    );
    evidence.events.push(event(
        "Unhealthy",
        "Readiness probe failed: connection refused",
        9,
        "2026-03-02T10:01:57Z",
    ));
    assert!(!stuck(125, &evidence).contains("too strict"));
}

#[test]
fn a_missing_key_is_stuck_when_nobody_brings_it_along() {
    for (said, words) in [
        (
            "secret \"payments-db\" not found",
            "Secret `payments-db` does not exist",
        ),
        (
            "configmap \"payments\" not found",
            "ConfigMap `payments` does not exist",
        ),
        (
            "couldn't find key URL in ConfigMap shop/payments",
            "ConfigMap `payments` has no key `URL`",
        ),
        (
            "couldn't find key URL in Secret shop/payments-db",
            "Secret `payments-db` has no key `URL`",
        ),
    ] {
        let evidence = given(vec![waiting("CreateContainerConfigError", said)]);
        assert!(moving(5, &evidence).contains(words));
        assert_eq!(
            stuck(40, &evidence),
            format!("container `app` cannot be configured (1 of 1 pod): {words} (`{said}`)")
        );
    }
}

#[test]
fn a_missing_volume_source_is_named() {
    let mut evidence = given(vec![waiting("ContainerCreating", "")]);
    let said = "MountVolume.SetUp failed for volume \"tls\" : secret \"payments-tls\" not found";
    evidence
        .events
        .push(event("FailedMount", said, 6, "2026-03-02T10:00:40Z"));
    assert!(
        stuck(60, &evidence)
            .starts_with("a volume cannot be mounted (1 of 1 pod): Secret `payments-tls` does not exist")
    );
}

#[test]
fn a_command_that_does_not_exist_cannot_be_started() {
    let mut status = waiting(
        "CrashLoopBackOff",
        "back-off 10s restarting failed container=app pod=payments-7d9-0_shop(1b)",
    );
    let said = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"serve\": executable file not found in $PATH: unknown";
    status["containerStatuses"][0]["restartCount"] = json!(1);
    status["containerStatuses"][0]["lastState"] =
        json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": said}});
    let why = stuck(10, &given(vec![status]));
    assert!(
        why.starts_with("container `app` cannot be started (1 of 1 pod): failed to create"),
        "{why}"
    );
    assert!(why.contains("executable file not found"), "{why}");
}

fn unscheduled(said: &str) -> Evidence {
    given(vec![
        json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said,
        "lastProbeTime": null, "lastTransitionTime": "2026-03-02T10:00:00Z"}]}),
    ])
}

#[test]
fn a_pod_without_a_node_is_waited_for_as_long_as_a_node_takes() {
    let said = "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.";
    let mut evidence = unscheduled(said);
    assert!(
        moving(60, &evidence).starts_with("a pod cannot be scheduled: too little CPU is free (1 of 1 pod): `0/3 nodes")
    );
    assert!(stuck(300, &evidence).contains("too little CPU"));
    evidence.events.push(event(
        "TriggeredScaleUp",
        "pod triggered scale-up: [{pool 3->4 (max: 9)}]",
        1,
        "2026-03-02T10:00:20Z",
    ));
    assert!(moving(300, &evidence).ends_with("the autoscaler adds a node"));
}

#[test]
fn a_used_up_quota_is_told_with_its_numbers() {
    let mut evidence = given(vec![running(true), running(true)]);
    evidence.pods.pop();
    let said = "pods \"payments-7d9-x2\" is forbidden: exceeded quota: compute, requested: requests.cpu=1, used: requests.cpu=4, limited: requests.cpu=4";
    evidence.replica_set.as_mut().unwrap().status =
        serde_json::from_value(json!({"replicas": 1, "conditions": [{"type": "ReplicaFailure",
        "status": "True", "reason": "FailedCreate", "message": said, "lastTransitionTime": "2026-03-02T10:00:00Z"}]}))
        .unwrap();
    evidence.quotas = vec![
        serde_json::from_value(json!({"metadata": {"name": "compute"}, "status": {"hard": {"requests.cpu": "4"}, "used": {"requests.cpu": "4"}}}))
            .unwrap(),
    ];
    assert_eq!(
        stuck(5, &evidence),
        format!("pods are refused: quota `compute` is used up (requests.cpu 4 of 4): `{said}`")
    );
}

#[test]
fn refusals_of_the_api_server_are_told_apart() {
    for (said, prospect, words) in [
        (
            "admission webhook \"policy.example.com\" denied the request: images must be signed",
            Prospect::Stuck,
            "admission webhook `policy.example.com` denies them",
        ),
        (
            "Internal error occurred: failed calling webhook \"mutate.example.com\": failed to call webhook: Post \"https://x/\": dial tcp: connect: connection refused",
            Prospect::Moving,
            "admission webhook `mutate.example.com` cannot be called",
        ),
        (
            "pods \"a-1\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false",
            Prospect::Stuck,
            "pod security level `restricted:latest`",
        ),
        (
            "pods \"a-1\" is forbidden: error looking up service account shop/payments: serviceaccount \"payments\" not found",
            Prospect::Stuck,
            "service account does not exist",
        ),
        (
            "pods \"a-1\" is forbidden: [maximum cpu usage per Container is 1, but limit is 2]",
            Prospect::Stuck,
            "LimitRange",
        ),
    ] {
        let mut evidence = given(vec![running(true)]);
        evidence.pods.clear();
        evidence.deployment.status.as_mut().unwrap().conditions =
            serde_json::from_value(json!([{"type": "ReplicaFailure", "status": "True",
            "reason": "FailedCreate", "message": said}]))
            .unwrap();
        let found = after(5, &evidence);
        assert!(found.prospect == prospect && found.why.contains(words), "{}", found.why);
    }
}

#[test]
fn evicted_pods_and_silent_nodes_are_replaced_by_themselves() {
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi."});
    assert_eq!(
        moving(60, &given(vec![evicted])),
        "a pod was evicted from its node (1 of 1 pod): The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi."
    );
    let mut lost = running(true);
    lost["conditions"][2]["status"] = json!("False");
    let mut evidence = given(vec![lost]);
    evidence
        .events
        .push(event("NodeNotReady", "Node is not ready", 1, "2026-03-02T10:01:00Z"));
    assert_eq!(moving(70, &evidence), "node `node-2` does not answer (1 of 1 pod)");
}

#[test]
fn a_closed_readiness_gate_is_named() {
    let mut status = running(true);
    status["conditions"][2] = json!({"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady",
        "message": "corresponding condition of pod readiness gate \"target-health.alb/x\" does not exist."});
    let mut evidence = given(vec![status]);
    evidence.pods[0].spec.as_mut().unwrap().readiness_gates =
        serde_json::from_value(json!([{"conditionType": "target-health.alb/x"}])).unwrap();
    assert!(moving(30, &evidence).starts_with("readiness gate `target-health.alb/x` is not open (1 of 1 pod)"));
}

#[test]
fn a_paused_deployment_never_gets_there() {
    let mut evidence = given(vec![running(true)]);
    evidence.deployment.spec.paused = Some(true);
    evidence.deployment.status.as_mut().unwrap().updated_replicas = Some(0);
    assert!(stuck(5, &evidence).starts_with("the Deployment is paused"));
}

#[test]
fn what_is_complete_has_no_diagnosis() {
    let now = "2026-03-02T10:05:00Z".parse().unwrap();
    assert_eq!(
        diagnose(&complete(given(vec![running(true), running(true)])), now),
        None
    );
    let unseen = {
        let mut evidence = complete(given(vec![running(true)]));
        evidence.deployment.metadata.generation = Some(3);
        evidence
    };
    assert_eq!(
        moving(5, &unseen),
        "the Deployment controller has not seen the last change yet"
    );
}

#[test]
fn no_evidence_breaks_it() {
    let mut empty = Evidence::default();
    assert!(
        diagnose(&empty, Timestamp::UNIX_EPOCH).is_some(),
        "a Deployment without a status is not complete"
    );
    empty.pods.push(k8s_openapi::api::core::v1::Pod::default());
    assert!(diagnose(&empty, Timestamp::MAX).is_some());
}
