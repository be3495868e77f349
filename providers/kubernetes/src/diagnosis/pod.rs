//! One pod's trouble: the first question that has an answer, in the order in which a pod comes to life.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};

use super::Prospect;
use super::evidence::Evidence;
use super::finding::{Cause, Finding};
use super::{crash, image, placement, probe, setup};

/// What is wrong with this pod; none where it is ready and has been for a while.
pub fn finding(pod: &Pod, evidence: &Evidence, now: Timestamp) -> Option<Finding> {
    if let Some(found) = placement::finding(pod, evidence, now) {
        return Some(found);
    }
    let containers = containers(pod);
    let in_containers = |ask: &dyn Fn(&Container<'_>) -> Option<Finding>| {
        containers
            .iter()
            .filter_map(ask)
            .max_by_key(|found| (found.prospect, found.cause))
    };
    in_containers(&|container| image::finding(container, pod, evidence))
        .or_else(|| in_containers(&|container| setup::finding(container, pod, now)))
        .or_else(|| in_containers(&|container| crash::finding(container, pod, evidence, now)))
        .or_else(|| setup::volumes(pod, evidence, now))
        .or_else(|| probe::finding(pod, evidence))
        .or_else(|| waiting(pod))
}

/// A container with what tells people which one it is.
pub struct Container<'a> {
    pub status: &'a ContainerStatus,
    pub is_init: bool,
}

impl Container<'_> {
    /// As in "container `app`".
    pub fn words(&self) -> String {
        let kind = if self.is_init { "init container" } else { "container" };
        format!("{kind} `{}`", self.status.name)
    }

    /// Why it waits: a reason of the kubelet and its words.
    pub fn waits(&self) -> Option<(&str, &str)> {
        let waiting = self.status.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        Some((reason, waiting.message.as_deref().unwrap_or_default()))
    }
}

/// All of a pod's containers, in the order in which they start.
pub fn containers(pod: &Pod) -> Vec<Container<'_>> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    let main = status.and_then(|status| status.container_statuses.as_ref());
    let init = init
        .into_iter()
        .flatten()
        .map(|status| Container { status, is_init: true });
    let main = main
        .into_iter()
        .flatten()
        .map(|status| Container { status, is_init: false });
    init.chain(main).collect()
}

/// A condition of the pod.
pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// How long the pod has existed, in seconds.
pub fn age_seconds(pod: &Pod, now: Timestamp) -> i64 {
    let created = pod.metadata.creation_timestamp.as_ref();
    created.map_or(0, |created| now.as_second() - created.0.as_second())
}

/// A pod that has no trouble and is not ready.
fn waiting(pod: &Pod) -> Option<Finding> {
    if is_ready(pod) {
        return None;
    }
    let moving = |cause, what: String| Some(Finding::in_pod(cause, Prospect::Moving, what));
    if let Some(container) = containers(pod).iter().find(|container| {
        container
            .status
            .state
            .as_ref()
            .is_some_and(|state| state.running.is_none())
    }) {
        return match container.waits() {
            Some(("ContainerCreating", _)) => moving(Cause::Waiting, "a container is being created".to_owned()),
            Some(("PodInitializing", _)) => moving(Cause::Waiting, "an init container has not ended yet".to_owned()),
            Some((reason, said)) => {
                let said = super::quote::platform(said);
                Some(
                    Finding::in_pod(
                        Cause::Waiting,
                        Prospect::Moving,
                        format!("{} waits ({reason})", container.words()),
                    )
                    .because(said),
                )
            }
            None => moving(Cause::Waiting, format!("{} is between two starts", container.words())),
        };
    }
    if containers(pod).is_empty() {
        return moving(
            Cause::Waiting,
            "a pod has been created and not been taken up yet".to_owned(),
        );
    }
    moving(Cause::NotReady, "a pod runs and is not ready".to_owned())
}
