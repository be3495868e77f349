//! What the cluster shows of one Deployment, and how it is read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod, ResourceQuota};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::crash;
use crate::api::error::Error;
use crate::api::{Namespace, resource};

/// The annotation under which the Deployment controller numbers revisions, on the Deployment and on its ReplicaSets.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// Pods whose events and logs are read: a thousand pods fail for one reason.
const PODS_ASKED_ABOUT_MAX: usize = 3;
/// Lines and bytes of a log that are asked for.
const LOG_LINES: u16 = 20;
const LOG_BYTES: u32 = 8 * 1024;
/// A node that does not answer keeps the API server's log call open: the diagnosis goes on without the log.
const LOG_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Everything that a diagnosis looks at.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub deployment: Deployment,
    /// The ReplicaSet of the Deployment's current template, once the controller has made it.
    pub replica_set: Option<ReplicaSet>,
    /// The pods of that ReplicaSet.
    pub pods: Vec<Pod>,
    /// About the Deployment, the ReplicaSet and the pods; empty where they may not be read.
    pub events: Vec<Event>,
    pub quotas: Vec<ResourceQuota>,
    /// What crashed containers last wrote, by the pod's and the container's name.
    pub logs: BTreeMap<(String, String), String>,
}

impl Evidence {
    /// Pods that were asked for.
    pub fn wanted(&self) -> usize {
        usize::try_from(self.deployment.spec.replicas.unwrap_or(1)).unwrap_or(0)
    }

    /// Whether the Deployment's own deadline for progress has passed.
    pub fn is_overdue(&self) -> bool {
        let conditions = self
            .deployment
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        conditions.into_iter().flatten().any(|condition| {
            condition.type_.as_deref() == Some("Progressing")
                && condition.status.as_deref() == Some("False")
                && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
        })
    }

    /// The passed deadline in words.
    pub fn overdue_words(&self) -> String {
        let deadline = self.deployment.spec.progress_deadline_seconds;
        format!(
            "no progress within its deadline of {} s (progressDeadlineSeconds)",
            // 600 is the API's default.
            deadline.unwrap_or(600)
        )
    }

    /// The newest event about a pod with one of these reasons and a message that `fits`.
    pub fn latest<'a>(&'a self, pod: &'a Pod, reasons: &[&str], fits: impl Fn(&str) -> bool) -> Option<&'a Event> {
        let uid = pod.metadata.uid.as_deref();
        self.about(uid, pod.metadata.name.as_deref())
            .filter(|event| event.reason.as_deref().is_some_and(|reason| reasons.contains(&reason)))
            .filter(|event| fits(message(event)))
            .max_by_key(|event| at(event))
    }

    /// Events about one object: by its identity where they carry one, by its name otherwise.
    pub fn about<'a>(&'a self, uid: Option<&'a str>, name: Option<&'a str>) -> impl Iterator<Item = &'a Event> {
        self.events
            .iter()
            .filter(move |event| match (&event.involved_object.uid, uid) {
                (Some(of), Some(uid)) => of == uid,
                _ => name.is_some() && event.involved_object.name.as_deref() == name,
            })
    }
}

/// What an event says.
pub fn message(event: &Event) -> &str {
    event.message.as_deref().unwrap_or_default()
}

/// When it last happened.
pub fn at(event: &Event) -> Option<Timestamp> {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref());
    let series = series.map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let once = event.event_time.as_ref().map(|time| time.0);
    series.max(last).max(once)
}

/// How often it happened.
pub fn times(event: &Event) -> i32 {
    let series = event.series.as_ref().and_then(|series| series.count);
    series.or(event.count).unwrap_or(1)
}

/// Reads all of it: the Deployment's own objects, then events, quotas and logs of what ails.
///
/// *Guarantees*: a few small requests; what a diagnosis can do without (events, quotas, logs) may be forbidden or broken.
///
/// *Errors*: those of reading ReplicaSets and pods.
pub async fn gather(namespace: &Namespace, deployment: &Value) -> Result<Evidence, Error> {
    let deployment: Deployment = typed(deployment.clone()).unwrap_or_default();
    let labels = selected(&deployment);
    let sets = namespace.list(&resource::REPLICA_SETS, &labels).await?;
    let replica_set = newest(sets.into_iter().filter_map(typed).collect(), &deployment);
    let mut pods: Vec<Pod> = Vec::new();
    if let Some(set) = &replica_set {
        let listed = namespace.list(&resource::PODS, &labels).await?;
        pods.extend(
            listed
                .into_iter()
                .filter_map(typed)
                .filter(|pod: &Pod| is_owned(&pod.metadata, set.metadata.uid.as_deref())),
        );
    }
    let mut evidence = Evidence {
        deployment,
        replica_set,
        pods,
        ..Evidence::default()
    };
    let ailing = evidence.pods.iter().filter(|pod| !is_well(pod));
    let ailing: Vec<Pod> = ailing.take(PODS_ASKED_ABOUT_MAX).cloned().collect();
    let set_uid = evidence.replica_set.as_ref().and_then(|set| set.metadata.uid.clone());
    for uid in ailing.iter().filter_map(|pod| pod.metadata.uid.clone()).chain(set_uid) {
        let about = format!("involvedObject.uid={uid}");
        let events = namespace
            .list_where(&resource::EVENTS, &[("fieldSelector", about.as_str())])
            .await;
        evidence
            .events
            .extend(events.unwrap_or_default().into_iter().filter_map(typed));
    }
    if super::admission::is_over_quota(&evidence) {
        let quotas = namespace.list(&resource::RESOURCE_QUOTAS, "").await.unwrap_or_default();
        evidence.quotas = quotas.into_iter().filter_map(typed).collect();
    }
    for pod in &ailing {
        let name = pod.metadata.name.clone().unwrap_or_default();
        for container in crash::crashed(pod) {
            if let Some(log) = last_log(namespace, &name, &container).await {
                evidence.logs.insert((name.clone(), container), log);
            }
        }
    }
    Ok(evidence)
}

/// What the container wrote before its last end: its last life's log, or this one's where it has not been started again.
async fn last_log(namespace: &Namespace, pod: &str, container: &str) -> Option<String> {
    let read = async {
        let before = namespace
            .log_tail(pod, container, true, LOG_LINES, LOG_BYTES)
            .await
            .ok()?;
        match before {
            Some(log) => Some(log),
            None => namespace
                .log_tail(pod, container, false, LOG_LINES, LOG_BYTES)
                .await
                .ok()?,
        }
    };
    tokio::time::timeout(LOG_PATIENCE, read).await.ok()?
}

/// An object as the API's types have it; none where a field has a shape that they do not know.
fn typed<T: DeserializeOwned>(object: Value) -> Option<T> {
    serde_json::from_value(object).ok()
}

/// What the Deployment's selector matches, as a label selector of a list.
fn selected(deployment: &Deployment) -> String {
    let labels = deployment.spec.selector.match_labels.iter().flatten();
    let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
    labels.join(",")
}

/// The Deployment's ReplicaSet of the newest revision; none while the controller has not seen the last change.
fn newest(sets: Vec<ReplicaSet>, deployment: &Deployment) -> Option<ReplicaSet> {
    let revision = |meta: &ObjectMeta| meta.annotations.as_ref()?.get(REVISION)?.parse::<u64>().ok();
    let uid = deployment.metadata.uid.as_deref();
    let owned = sets.into_iter().filter(|set| is_owned(&set.metadata, uid));
    let newest = owned.max_by_key(|set| revision(&set.metadata))?;
    (revision(&newest.metadata) >= revision(&deployment.metadata)).then_some(newest)
}

fn is_owned(meta: &ObjectMeta, uid: Option<&str>) -> bool {
    let owners = meta.owner_references.iter().flatten();
    uid.is_some()
        && owners
            .into_iter()
            .any(|owner| owner.controller == Some(true) && Some(owner.uid.as_str()) == uid)
}

/// Whether nothing is to be asked about a pod: it is ready and has never been restarted.
fn is_well(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    super::pod::is_ready(pod)
        && containers
            .into_iter()
            .flatten()
            .all(|container| container.restart_count == 0)
}
