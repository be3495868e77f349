//! The machines: a scheduler that binds pods to them, and their kubelets, which do with each pod what it is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::kubernetes::behaviour::{Look, Rule, words};
use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{
    condition, holds, instant, is_deleting, items, map, name, namespace, place, set, stamp, text, uid,
};
use crate::kubernetes::quantity;
use crate::kubernetes::selector;
use crate::kubernetes::world::World;
use crate::registry;

/// What the machines know.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    /// What pods do by their image.
    pub(crate) rules: Vec<Rule>,
    lives: BTreeMap<String, Life>,
}

#[derive(Clone, Debug)]
struct Life {
    /// When a machine took the pod.
    since: Timestamp,
    shown: Option<(Look, bool)>,
    /// When it was told to go.
    leaving: Option<Timestamp>,
}

/// Makes the cluster's three machines.
pub(crate) fn register(world: &mut World) {
    let kind = Kind::named("Node");
    for (at, zone) in ["a", "b", "c"].into_iter().enumerate() {
        let called = format!("node-{}", at + 1);
        world.must_create(
            "Node",
            "",
            json!({"metadata": {"name": called, "labels": {
                "kubernetes.io/hostname": called, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
                "topology.kubernetes.io/region": "eu-west-1", "topology.kubernetes.io/zone": format!("eu-west-1{zone}"),
            }}, "spec": {"podCIDR": format!("10.244.{at}.0/24")}}),
        );
        let Some(node) = world.get(kind, "", &called).cloned() else {
            continue;
        };
        let room = json!({"cpu": "64", "memory": "256Gi", "pods": "500"});
        let now = stamp(world.now);
        world.update_status(
            kind,
            &node,
            json!({"capacity": room, "allocatable": room, "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": now,
            }], "addresses": [{"type": "InternalIP", "address": format!("10.0.0.{}", at + 10)}]}),
        );
    }
}

/// Binds every pod that has no machine yet, where one has room.
pub(crate) fn schedule(world: &mut World) {
    let waiting: Vec<Arc<Value>> = world
        .objects("Pod", "")
        .into_iter()
        .filter(|pod| text(pod, "/spec/nodeName").is_empty() && !is_deleting(pod))
        .collect();
    if waiting.is_empty() {
        return;
    }
    let nodes = world.objects("Node", "");
    for pod in waiting {
        match choose(world, &nodes, &pod) {
            Ok(node) => bind(world, &pod, &node),
            Err(why) => unschedulable(world, &pod, &why),
        }
    }
}

fn choose(world: &World, nodes: &[Arc<Value>], pod: &Value) -> Result<String, String> {
    let all = nodes.len();
    if words(&world.nodes.rules, pod).is_unschedulable() {
        return Err(format!(
            "0/{all} nodes are available: {all} Insufficient cpu. preemption: 0/{all} nodes are available: {all} No preemption victims found for incoming pod."
        ));
    }
    let pods: Vec<&Value> = world.store.list(Kind::named("Pod"), "").map(|(_, pod)| pod).collect();
    let mut why: BTreeMap<&str, usize> = BTreeMap::new();
    let mut open: Vec<(usize, &str)> = Vec::new();
    for node in nodes {
        let here: Vec<&&Value> = pods
            .iter()
            .filter(|other| text(other, "/spec/nodeName") == name(node))
            .collect();
        match objection(node, &here, &pods, nodes, pod) {
            Some(reason) => *why.entry(reason).or_default() += 1,
            None => open.push((here.len(), name(node))),
        }
    }
    match open.into_iter().min() {
        Some((_, node)) => Ok(node.to_owned()),
        None => {
            let parts: Vec<String> = why.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            Err(format!(
                "0/{all} nodes are available: {}. preemption: 0/{all} nodes are available: {all} Preemption is not helpful for scheduling.",
                parts.join(", ")
            ))
        }
    }
}

/// Why a machine does not take a pod.
fn objection(
    node: &Value,
    here: &[&&Value],
    pods: &[&Value],
    nodes: &[Arc<Value>],
    pod: &Value,
) -> Option<&'static str> {
    let labels = map(node, "/metadata/labels");
    if map(pod, "/spec/nodeSelector")
        .iter()
        .any(|(key, value)| labels.get(key) != Some(value))
    {
        return Some("node(s) didn't match Pod's node affinity/selector");
    }
    if node["spec"]["unschedulable"] == true {
        return Some("node(s) were unschedulable");
    }
    for (resource, reason) in [("cpu", "Insufficient cpu"), ("memory", "Insufficient memory")] {
        let asked = |pod: &Value| -> i128 {
            items(pod, "/spec/containers")
                .iter()
                .filter_map(|container| quantity::milli(container["resources"]["requests"][resource].as_str()?))
                .sum()
        };
        let room = quantity::milli(text(node, &format!("/status/allocatable/{resource}"))).unwrap_or(0);
        let wanted = asked(pod);
        if wanted > 0 && here.iter().map(|other| asked(other)).sum::<i128>() + wanted > room {
            return Some(reason);
        }
    }
    let terms = "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    for term in items(pod, terms) {
        let key = text(term, "/topologyKey");
        let domain = |node: &str| {
            nodes
                .iter()
                .find(|other| name(other) == node)
                .and_then(|node| map(node, "/metadata/labels").get(key).cloned())
        };
        let meets = pods.iter().any(|other| {
            !is_deleting(other)
                && namespace(other) == namespace(pod)
                && selector::fits(term.get("labelSelector"), &map(other, "/metadata/labels"))
                && domain(text(other, "/spec/nodeName")).is_some_and(|domain| labels.get(key) == Some(&domain))
        });
        if meets {
            return Some("node(s) didn't match pod anti-affinity rules");
        }
    }
    None
}

fn bind(world: &mut World, pod: &Value, node: &str) {
    let kind = Kind::named("Pod");
    let at = place(kind, pod);
    let Some(mut bound) = world.store.get(&at).cloned() else {
        return;
    };
    bound["spec"]["nodeName"] = json!(node);
    // A pod carries where its machine stands.
    let labels = world
        .get(Kind::named("Node"), "", node)
        .map(|node| map(node, "/metadata/labels"))
        .unwrap_or_default();
    for key in ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"] {
        if let Some(value) = labels.get(key) {
            set(&mut bound, &["metadata", "labels", key], value.clone());
        }
    }
    let scheduled = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(world.now)});
    bound["status"]["conditions"] = json!([scheduled]);
    world.store.put(at, bound);
    let said = format!("Successfully assigned {}/{} to {node}", namespace(pod), name(pod));
    world.event(kind, pod, ("Normal", "Scheduled", &said), "default-scheduler");
}

fn unschedulable(world: &mut World, pod: &Value, why: &str) {
    if condition(pod, "PodScheduled").is_some_and(|condition| text(condition, "/message") == why) {
        return;
    }
    let kind = Kind::named("Pod");
    let mut status = pod["status"].clone();
    status["conditions"] = json!([{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why,
        "lastTransitionTime": stamp(world.now),
    }]);
    world.update_status(kind, pod, status);
    world.event(kind, pod, ("Warning", "FailedScheduling", why), "default-scheduler");
}

/// Lets every machine do its part for its pods.
pub(crate) fn run(world: &mut World) {
    let pods = world.objects("Pod", "");
    world
        .nodes
        .lives
        .retain(|uid, _| pods.iter().any(|pod| self::uid(pod) == uid));
    for pod in pods.iter().filter(|pod| !text(pod, "/spec/nodeName").is_empty()) {
        let now = world.now;
        let life = world.nodes.lives.entry(uid(pod).to_owned()).or_insert(Life {
            since: now,
            shown: None,
            leaving: None,
        });
        if is_deleting(pod) && life.leaving.is_none() {
            life.leaving = Some(now);
        }
        let life = life.clone();
        match life.leaving {
            Some(since) => leave(world, pod, since),
            None => show(world, pod, &life),
        }
    }
}

/// A pod that was told to go is gone when its container has stopped, or when its grace is over.
fn leave(world: &mut World, pod: &Value, since: Timestamp) {
    let grace = pod
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let stops = words(&world.nodes.rules, pod).stop;
    #[allow(clippy::cast_precision_loss)]
    let ends = after(since, stops.min(grace as f64));
    if world.now < ends {
        world.wake_at(ends);
        return;
    }
    if items(pod, "/metadata/finalizers").is_empty() {
        world.store.remove(&place(Kind::named("Pod"), pod));
    }
}

fn after(since: Timestamp, seconds: f64) -> Timestamp {
    // Whole milliseconds: an instant that floats would differ in its last bit from the tick that should meet it.
    #[allow(clippy::cast_possible_truncation)]
    let milliseconds = (seconds * 1000.0).round() as i64;
    since
        .checked_add(SignedDuration::from_millis(milliseconds))
        .unwrap_or(since)
}

fn show(world: &mut World, pod: &Value, life: &Life) {
    if matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
        return;
    }
    let age = world.now.duration_since(life.since).as_millis();
    #[allow(clippy::cast_precision_loss)]
    let look = words(&world.nodes.rules, pod).look(age as f64 / 1000.0, pod);
    if let Some(until) = look.until {
        world.wake_at(after(life.since, until));
    }
    let gates = items(pod, "/spec/readinessGates")
        .iter()
        .all(|gate| holds(pod, text(gate, "/conditionType")));
    if life.shown.as_ref() == Some(&(look.clone(), gates)) {
        return;
    }
    let kind = Kind::named("Pod");
    let status = status(world, pod, &look, gates);
    world.update_status(kind, pod, status);
    if let Some((kind_of, reason, message)) = &look.event {
        world.event(kind, pod, (kind_of, reason, message), "kubelet");
    }
    if let Some(life) = world.nodes.lives.get_mut(uid(pod)) {
        life.shown = Some((look, gates));
    }
}

fn status(world: &World, pod: &Value, look: &Look, gates: bool) -> Value {
    let now = stamp(world.now);
    let done = matches!(look.phase, "Succeeded" | "Failed");
    let reason = match look.phase {
        "Succeeded" => "PodCompleted",
        "Failed" => "PodFailed",
        _ => "ContainersNotReady",
    };
    let said = |kind: &str, is: bool, reason: Option<&str>| {
        let is = if is { "True" } else { "False" };
        let before = condition(pod, kind).filter(|before| text(before, "/status") == is);
        let since = before
            .map_or(now.as_str(), |before| text(before, "/lastTransitionTime"))
            .to_owned();
        let mut said = json!({"type": kind, "status": is, "lastTransitionTime": since});
        if let Some(reason) = reason {
            said["reason"] = json!(reason);
        }
        said
    };
    let why = (!look.ready).then_some(reason);
    let gate = (!gates).then_some("ReadinessGatesNotReady");
    let mut conditions = vec![
        said("PodReadyToStartContainers", !done, None),
        said("Initialized", true, None),
        said("Ready", look.ready && gates, why.or(gate)),
        said("ContainersReady", look.ready, why),
        said("PodScheduled", true, None),
    ];
    let gated: Vec<&str> = items(pod, "/spec/readinessGates")
        .iter()
        .map(|gate| text(gate, "/conditionType"))
        .collect();
    conditions.extend(
        items(pod, "/status/conditions")
            .iter()
            .filter(|one| gated.contains(&text(one, "/type")))
            .cloned(),
    );
    let address = address(pod);
    let started = instant(pod, "/status/startTime").map_or_else(|| now.clone(), stamp);
    json!({
        "phase": look.phase, "startTime": started, "hostIP": "10.0.0.10", "hostIPs": [{"ip": "10.0.0.10"}],
        "podIP": address, "podIPs": [{"ip": address}], "qosClass": pod["status"]["qosClass"],
        "observedGeneration": pod["metadata"]["generation"], "conditions": conditions,
        "containerStatuses": containers(pod, look, &now),
    })
}

fn containers(pod: &Value, look: &Look, now: &str) -> Vec<Value> {
    let before = items(pod, "/status/containerStatuses");
    items(pod, "/spec/containers")
        .iter()
        .map(|container| {
            let image = text(container, "/image");
            let digest = registry::digest(image);
            let pulled = look.phase != "Pending" || look.restarts > 0;
            let repository = image
                .split('@')
                .next()
                .unwrap_or_default()
                .rsplit_once(':')
                .map_or(image, |(name, _)| name);
            let mut state = look.state.json(now);
            let last = before
                .iter()
                .find(|status| text(status, "/name") == text(container, "/name"));
            if let Some(last) = last {
                // A container that still runs runs since it was started, not since it was last looked at.
                let running = last
                    .pointer("/state/running")
                    .filter(|_| state.get("running").is_some());
                if let Some(running) = running.filter(|_| last["restartCount"] == look.restarts) {
                    state = json!({"running": running});
                }
            }
            let mut said = json!({
                "name": container["name"], "image": image, "ready": look.ready, "restartCount": look.restarts,
                "imageID": if pulled { format!("{repository}@{digest}") } else { String::new() },
                "started": state.get("running").is_some(), "state": state, "lastState": {},
            });
            if let Some((exit, reason)) = look.ended {
                said["lastState"] = match last.and_then(|last| last.get("lastState")) {
                    Some(same)
                        if same != &json!({}) && last.is_some_and(|last| last["restartCount"] == look.restarts) =>
                    {
                        same.clone()
                    }
                    _ => {
                        json!({"terminated": {"exitCode": exit, "reason": reason, "startedAt": now, "finishedAt": now}})
                    }
                };
            }
            said
        })
        .collect()
}

/// The pod's address, from its identity.
fn address(pod: &Value) -> String {
    let digest = Sha256::digest(uid(pod));
    format!("10.244.{}.{}", digest[0], digest[1] % 253 + 1)
}
