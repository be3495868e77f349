//! Containers that cannot be set up: a Secret or ConfigMap that is missing, a command that cannot start, a volume that cannot be mounted.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::evidence::{Evidence, message, times};
use super::finding::{Cause, Finding, stuck_if};
use super::pod::{Container, age_seconds, containers};
use super::quote;

/// Configuration is often created in the same breath as the Deployment: so long it may come after it.
const CONFIGURATION_PATIENCE_SECONDS: i64 = 30;
/// The kubelet mounts again and again with growing pauses; a volume that moves from another node takes some of them.
const MOUNTS_OF_PATIENCE: i32 = 3;

/// What keeps a container from being made or started.
pub fn finding(container: &Container<'_>, pod: &Pod, now: Timestamp) -> Option<Finding> {
    let (reason, said) = container.waits()?;
    let said = quote::platform(said);
    let late = age_seconds(pod, now) >= CONFIGURATION_PATIENCE_SECONDS;
    let what = match reason {
        "CreateContainerConfigError" => format!("{} cannot be configured", container.words()),
        "CreateContainerError"
        | "RunContainerError"
        | "PreCreateHookError"
        | "PreStartHookError"
        | "PostStartHookError"
        | "CrashLoopBackOff"
            if is_start_failure(reason, container) =>
        {
            format!("{} cannot be started", container.words())
        }
        _ => return None,
    };
    let detail = configuration(&said).map_or_else(
        || start_words(&said, container),
        |missing| format!("{missing} (`{said}`)"),
    );
    let tried = container.status.restart_count > 0 || late;
    Some(Finding::in_pod(Cause::Configuration, stuck_if(tried), what).because(detail))
}

/// Whether the process never ran: there is no exit code of its own to tell.
fn is_start_failure(reason: &str, container: &Container<'_>) -> bool {
    let last = container
        .status
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let never_ran = last
        .and_then(|end| end.reason.as_deref())
        .is_some_and(|reason| matches!(reason, "StartError" | "ContainerCannotRun"));
    reason != "CrashLoopBackOff" || never_ran
}

/// What the runtime said about the start: the waiting state's words, or those of the last attempt.
fn start_words(said: &str, container: &Container<'_>) -> String {
    let last = container
        .status
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    match last.and_then(|end| end.message.as_deref()) {
        Some(message) => quote::platform(message),
        None => said.to_owned(),
    }
}

/// What is missing, where the words say so.
fn configuration(said: &str) -> Option<String> {
    let quoted = |from: &str| from.split('"').nth(1).map(str::to_owned);
    if let Some(rest) = said.split_once("couldn't find key ").map(|(_, rest)| rest) {
        let (key, rest) = rest.split_once(" in ")?;
        let (kind, name) = rest.split_once(' ')?;
        let name = name.split_whitespace().next()?.rsplit('/').next()?;
        return Some(format!("{kind} `{name}` has no key `{key}`"));
    }
    let lower = said.to_lowercase();
    for (word, kind) in [("secret \"", "Secret"), ("configmap \"", "ConfigMap")] {
        if let Some(at) = lower.find(word).filter(|_| lower.contains("not found")) {
            return Some(format!("{kind} `{}` does not exist", quoted(said.get(at..)?)?));
        }
    }
    lower
        .contains("runasnonroot")
        .then(|| "the image would run as root, which its security context forbids".to_owned())
}

/// Volumes and networks that keep a pod's containers from being made.
pub fn volumes(pod: &Pod, evidence: &Evidence, now: Timestamp) -> Option<Finding> {
    let creating = |container: &Container<'_>| {
        container
            .waits()
            .is_some_and(|(reason, _)| matches!(reason, "ContainerCreating" | "PodInitializing"))
    };
    if !containers(pod).iter().any(creating) {
        return None;
    }
    let event = evidence.latest(
        pod,
        &[
            "FailedMount",
            "FailedAttachVolume",
            "FailedCreatePodSandBox",
            "FailedMapVolume",
        ],
        |_| true,
    )?;
    let said = quote::platform(message(event));
    if event.reason.as_deref() == Some("FailedCreatePodSandBox") {
        // Networks come up with their node; nothing of the workload's is wrong.
        let what = "the node cannot give a pod its network";
        return Some(Finding::in_pod(Cause::Volume, super::Prospect::Moving, what).because(format!("`{said}`")));
    }
    let missing = configuration(&said);
    let late = age_seconds(pod, now) >= CONFIGURATION_PATIENCE_SECONDS;
    let prospect = stuck_if(missing.is_some() && late && times(event) >= MOUNTS_OF_PATIENCE);
    let detail = missing.map_or_else(|| format!("`{said}`"), |missing| format!("{missing} (`{said}`)"));
    Some(Finding::in_pod(Cause::Volume, prospect, "a volume cannot be mounted").because(detail))
}
