//! Pods without a machine: no room, no fitting node, evicted, or on a node that does not answer.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::Prospect;
use super::evidence::{Evidence, message};
use super::finding::{Cause, Finding, stuck_if};
use super::pod::{age_seconds, condition};
use super::quote;

/// A node that is being added takes two to four minutes; nothing else makes room by itself.
const ROOM_PATIENCE_SECONDS: i64 = 300;

/// What an autoscaler says when it makes room.
const ROOM_IS_MADE: &[&str] = &["TriggeredScaleUp", "Nominated", "ScaleUpTriggered"];

/// Whether a pod has no machine to run on, or has lost it.
pub fn finding(pod: &Pod, evidence: &Evidence, now: Timestamp) -> Option<Finding> {
    let status = pod.status.as_ref()?;
    let reason = status.reason.as_deref().unwrap_or_default();
    let said = quote::platform(status.message.as_deref().unwrap_or_default());
    if status.phase.as_deref() == Some("Failed") {
        let what = match reason {
            "Evicted" => "a pod was evicted from its node".to_owned(),
            "NodeLost" => "a pod's node is lost".to_owned(),
            "Preempted" => "a pod gave way to a more important one".to_owned(),
            "Shutdown" | "NodeShutdown" | "Terminated" => "a pod's node was shut down".to_owned(),
            "" => "a pod has failed".to_owned(),
            other => format!("a pod was refused by its node ({})", quote::platform(other)),
        };
        // Its ReplicaSet makes another one.
        return Some(Finding::in_pod(Cause::Node, Prospect::Moving, what).because(said));
    }
    unscheduled(pod, evidence, now).or_else(|| lost(pod, reason, evidence))
}

fn unscheduled(pod: &Pod, evidence: &Evidence, now: Timestamp) -> Option<Finding> {
    let scheduled = condition(pod, "PodScheduled").filter(|scheduled| scheduled.status == "False")?;
    if scheduled.reason.as_deref() == Some("SchedulingGated") {
        return Some(Finding::in_pod(
            Cause::Placement,
            Prospect::Moving,
            "a scheduling gate holds a pod back",
        ));
    }
    let said = scheduled.message.as_deref().unwrap_or_default();
    let what = format!("a pod cannot be scheduled: {}", reasons(said));
    let quoted = if said.is_empty() {
        String::new()
    } else {
        format!("`{}`", quote::platform(said))
    };
    let making = evidence.latest(pod, ROOM_IS_MADE, |_| true).is_some();
    let refused = evidence.latest(pod, &["NotTriggerScaleUp"], |_| true);
    let detail = match refused {
        Some(event) if !making => format!(
            "{quoted}; the autoscaler adds no node: `{}`",
            quote::platform(message(event))
        ),
        _ if making => format!("{quoted}; the autoscaler adds a node"),
        _ => quoted,
    };
    let late = age_seconds(pod, now) >= ROOM_PATIENCE_SECONDS;
    Some(Finding::in_pod(Cause::Placement, stuck_if(late && !making), what).because(detail))
}

/// The scheduler's reasons in plain words, each once, in the order of its message.
fn reasons(said: &str) -> String {
    // What follows is about making room by force and repeats the nodes.
    let said = said
        .split_once(" preemption:")
        .map_or(said, |(said, _)| said)
        .to_lowercase();
    let known = [
        ("insufficient cpu", "too little CPU is free"),
        ("insufficient memory", "too little memory is free"),
        ("insufficient ephemeral-storage", "too little disk is free"),
        ("insufficient ", "too little of a resource is free"),
        ("too many pods", "nodes are full of pods"),
        ("untolerated taint", "nodes have taints that it does not tolerate"),
        (
            "that the pod didn't tolerate",
            "nodes have taints that it does not tolerate",
        ),
        ("node affinity/selector", "no node has the labels that it asks for"),
        ("didn't match node selector", "no node has the labels that it asks for"),
        ("pod anti-affinity", "its anti-affinity forbids the nodes that are left"),
        ("pod affinity rules", "its affinity to other pods cannot be met"),
        ("topology spread", "its spread over zones or nodes cannot be met"),
        ("volume node affinity", "its volume is bound to another zone or node"),
        (
            "unbound immediate persistentvolumeclaims",
            "its volume claim is not bound",
        ),
        ("persistentvolumeclaim \"", "its volume claim is missing"),
        ("free ports", "its host port is taken"),
        ("were unschedulable", "nodes are cordoned"),
        ("no nodes available", "the cluster has no node"),
    ];
    let mut found: Vec<(usize, &str)> = Vec::new();
    for (word, words) in known {
        let generic = word == "insufficient " && found.iter().any(|(_, words)| words.starts_with("too little"));
        if let Some(at) = said
            .find(word)
            .filter(|_| !generic && !found.iter().any(|(_, known)| *known == words))
        {
            found.push((at, words));
        }
    }
    found.sort_unstable();
    if found.is_empty() {
        return "none fits".to_owned();
    }
    found.iter().map(|(_, words)| *words).collect::<Vec<_>>().join(", ")
}

/// A pod whose node no longer answers.
fn lost(pod: &Pod, reason: &str, evidence: &Evidence) -> Option<Finding> {
    let unknown = condition(pod, "Ready").is_some_and(|ready| ready.status == "Unknown");
    let silent = evidence
        .latest(pod, &["NodeNotReady", "TaintManagerEviction"], |_| true)
        .is_some();
    let unready = condition(pod, "Ready").is_some_and(|ready| ready.status != "True");
    // The node controller marks the pods of a silent node as not ready while their containers seem to run on.
    let seems_ready = condition(pod, "ContainersReady").is_some_and(|containers| containers.status == "True");
    if !(reason == "NodeLost" || unknown || (silent && unready && seems_ready)) {
        return None;
    }
    let node = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .unwrap_or("(unnamed)");
    let what = format!("node `{}` does not answer", quote::platform(node));
    Some(Finding::in_pod(Cause::Node, Prospect::Moving, what))
}

#[cfg(test)]
mod tests {
    use super::reasons;

    #[test]
    fn the_scheduler_is_understood() {
        for (said, words) in [
            (
                "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.",
                "too little CPU is free",
            ),
            (
                "0/4 nodes are available: 1 node(s) had untolerated taint {klab/real: }, 3 Insufficient memory. no new claims to deallocate, preemption: 0/4 nodes",
                "nodes have taints that it does not tolerate, too little memory is free",
            ),
            (
                "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
                "no node has the labels that it asks for",
            ),
            (
                "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
                "too little of a resource is free",
            ),
            (
                "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
                "its volume claim is not bound",
            ),
            ("no nodes available to schedule pods", "the cluster has no node"),
            ("something new", "none fits"),
        ] {
            assert_eq!(reasons(said), words);
        }
    }
}
