//! One workload as the cluster shows it, read whole before anything is decided.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Fence;
use meridian_workflows::duration::Duration;
use serde_json::Value;

use crate::api::resource::{AUTOSCALERS, DEPLOYMENTS, DISRUPTION_BUDGETS, PODS, REPLICA_SETS, SERVICES};
use crate::api::{Namespace, error::Error};
use crate::copy;
use crate::mark;
use crate::record::Record;
use crate::settings::{Settings, Strategy, Traffic};
use crate::traffic::{Arm, Arms, Mechanism, OWNER_LABEL, Placement, Split, Standing};
use crate::workload::{Workload, labels, selects};

/// The annotation under which the Deployment controller numbers revisions.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// What there is.
#[derive(Clone, Debug)]
pub struct World {
    pub original: Workload,
    /// The candidate's Deployment.
    pub copy: Option<Workload>,
    pub arms: Arms,
    /// Labels of the candidate's pods whose values are to be others than the baseline's.
    pub apart: BTreeMap<String, String>,
    pub standing: Standing,
    /// The autoscaler of the original.
    pub autoscaler: Option<Value>,
    pub copy_autoscaler: Option<Value>,
    /// The first disruption budget over the original's pods.
    pub budget: Option<Value>,
    pub copy_budget: Option<Value>,
    /// All Services of the namespace: which of them select the baseline's pods decides the candidate's labels.
    pub services: Vec<Value>,
    /// The original's pods.
    pub pods: Vec<Value>,
    pub fence: Option<Fence>,
    pub record: Option<Record>,
}

impl World {
    /// Reads everything at once.
    ///
    /// *Errors*: a workload that does not exist is a lasting one, and so is a Deployment that stands in the copy's place.
    pub async fn read(
        namespace: &Namespace,
        settings: &Settings,
        mechanism: Option<&dyn Mechanism>,
    ) -> Result<World, Failure> {
        let workload = settings.deployment.as_str();
        let copy_name = copy::name(workload, &settings.candidate);
        let ours = format!("{OWNER_LABEL}={workload}");
        let read = tokio::try_join!(
            namespace.get(&DEPLOYMENTS, workload),
            namespace.get(&DEPLOYMENTS, &copy_name),
            optional(namespace.list(&AUTOSCALERS, "")),
            optional(namespace.list(&DISRUPTION_BUDGETS, "")),
            namespace.list(&SERVICES, ""),
            namespace.list(&REPLICA_SETS, &ours),
        )?;
        let (original, copied, autoscalers, budgets, services, copy_sets) = read;
        let original = original.ok_or_else(|| {
            let namespace = namespace.name();
            Failure::lasting(format!(
                "the Deployment {workload} does not exist in the namespace {namespace}"
            ))
        })?;
        let original = Workload::of(original, settings.container.as_deref())?;
        let copied = copied
            .map(|object| Workload::of(object, Some(original.container_name())))
            .transpose()?;
        if let Some(copied) = &copied
            && !copied.is_made_for(workload)
        {
            return Err(Failure::lasting(format!(
                "the Deployment {copy_name} stands where the candidate is to stand, and was not made by Meridian: rename it, or \
                 set `candidate.suffix`"
            )));
        }
        let selected = selector_text(original.selector());
        let (sets, pods) = tokio::try_join!(
            namespace.list(&REPLICA_SETS, &selected),
            namespace.list(&PODS, &selected)
        )?;
        let pods = owned_pods(pods, &sets, &original);
        let placement = mechanism.map_or(Placement::Joined, |mechanism| mechanism.placement(&Split::none()));
        let apart = apart(settings, &original, &services, placement);
        let mut arms = arms(settings, &original, copied.as_ref(), &sets, &copy_sets);
        arms.candidate.pods = copy::labels_placed(&original, &settings.candidate, placement, &apart);
        if placement == Placement::Marked {
            arms.mark = mark::standing(&apart, &original, copied.as_ref(), &copy_sets);
        }
        let standing = match mechanism {
            Some(mechanism) => mechanism.read(namespace, &arms).await?,
            None => Standing::default(),
        };
        let targets = |name: &str| {
            let of = |autoscaler: &&Value| {
                let target = &autoscaler["spec"]["scaleTargetRef"];
                target["kind"] == "Deployment" && target["name"] == name
            };
            autoscalers.iter().find(of).cloned()
        };
        let named = |objects: &[Value], name: &str| {
            objects
                .iter()
                .find(|object| object["metadata"]["name"] == name)
                .cloned()
        };
        let pod_labels = original.pod_labels();
        let budget = budgets.iter().find(|budget| {
            selects(&budget["spec"]["selector"], &pod_labels) && budget["metadata"]["name"] != copy_name.as_str()
        });
        Ok(World {
            autoscaler: targets(workload),
            copy_autoscaler: named(&autoscalers, &copy_name),
            budget: budget.cloned(),
            copy_budget: named(&budgets, &copy_name),
            fence: original.fence()?,
            record: original.record(),
            arms,
            apart,
            standing,
            services,
            pods,
            copy: copied,
            original,
        })
    }

    /// What a person should know of the two arms, beside how far they are.
    pub fn remarks(&self) -> Vec<String> {
        let outgrown = self
            .copy
            .as_ref()
            .and_then(|copied| copy::outgrown(&self.original, copied));
        outgrown.into_iter().collect()
    }

    /// Whether every pod of the original's newest template has been ready for so long, without a restart.
    pub fn is_steady(&self, settle: Duration, now: Timestamp) -> bool {
        if !self.original.is_rolled_out() {
            return false;
        }
        if self.original.min_ready_seconds() >= settle.as_millis() / 1_000 {
            return true;
        }
        let hash = self.arms.baseline.hash.as_deref();
        let newest: Vec<&Value> = self
            .pods
            .iter()
            .filter(|pod| {
                pod.pointer("/metadata/labels/pod-template-hash")
                    .and_then(Value::as_str)
                    == hash
            })
            .filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none())
            .collect();
        let wanted = usize::try_from(self.original.replicas()).unwrap_or(usize::MAX);
        newest.iter().filter(|pod| is_pod_steady(pod, settle, now)).count() >= wanted
    }
}

/// Ready for so long, and no container's life ended within that time.
fn is_pod_steady(pod: &Value, settle: Duration, now: Timestamp) -> bool {
    let before = |text: Option<&str>| {
        let at = text.and_then(|text| text.parse::<Timestamp>().ok());
        at.is_some_and(|at| Duration::between(at, now) >= settle)
    };
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready");
    let is_ready = ready.is_some_and(|ready| ready["status"] == "True" && before(ready["lastTransitionTime"].as_str()));
    let containers = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
    let ends = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container.pointer("/lastState/terminated/finishedAt"));
    is_ready && ends.into_iter().all(|end| before(end.as_str()))
}

/// Objects that a cluster or its access rules may not offer are none.
async fn optional(list: impl Future<Output = Result<Vec<Value>, Error>>) -> Result<Vec<Value>, Error> {
    match list.await {
        Err(error) if error.is_missing_kind() => Ok(Vec::new()),
        answer => answer,
    }
}

/// The labels of the candidate's pods that are changed: those that were once written down stay, whatever becomes of the Services.
fn apart(
    settings: &Settings,
    original: &Workload,
    services: &[Value],
    placement: Placement,
) -> BTreeMap<String, String> {
    let known = original.record().map(|record| record.apart).unwrap_or_default();
    if !known.is_empty() {
        return known;
    }
    match placement {
        Placement::Marked => mark::chosen(original, services, &settings.candidate),
        Placement::Apart | Placement::Joined => copy::labels_apart(original, services, &settings.candidate.suffix),
    }
}

fn arms(
    settings: &Settings,
    original: &Workload,
    copied: Option<&Workload>,
    sets: &[Value],
    copy_sets: &[Value],
) -> Arms {
    let workload = original.name().to_owned();
    let labels = original.match_labels();
    Arms {
        suffix: settings.candidate.suffix.clone(),
        baseline: Arm {
            deployment: workload.clone(),
            labels: if labels.is_empty() {
                original.pod_labels()
            } else {
                labels
            },
            pods: original.pod_labels(),
            hash: newest_hash(sets, original),
            ready: original.ready(),
            ports: original.ports(),
        },
        candidate: Arm {
            deployment: copy::name(&workload, &settings.candidate),
            labels: copy::own_labels(&workload, &settings.candidate.suffix),
            pods: BTreeMap::new(),
            hash: copied.and_then(|copied| newest_hash(copy_sets, copied)),
            ready: copied.map_or(0, |copied| ready_of(settings, original, copied)),
            ports: copied.unwrap_or(original).ports(),
        },
        mark: None,
        workload,
    }
}

/// Ready candidate pods; where pods are the share, only those that the baseline's Service selects.
fn ready_of(settings: &Settings, original: &Workload, copied: &Workload) -> u32 {
    let counts = matches!(settings.strategy, Strategy::Canary(Traffic::Pods(_)));
    let is_joined = selects(original.selector(), &copied.pod_labels());
    if counts && !is_joined { 0 } else { copied.ready() }
}

/// `pod-template-hash` of the ReplicaSet that carries the Deployment's current revision.
fn newest_hash(sets: &[Value], workload: &Workload) -> Option<String> {
    let revision = workload.annotation(REVISION)?;
    let current = sets.iter().filter(|set| is_owned_by(set, workload.uid())).find(|set| {
        set.pointer("/metadata/annotations")
            .and_then(|all| all[REVISION].as_str())
            == Some(revision)
    });
    // A change of annotations alone makes the status old too, and leaves the template as it is.
    let current = current.filter(|set| workload.is_observed() || images(set) == images(workload.object()))?;
    let hash = current.pointer("/metadata/labels/pod-template-hash")?;
    hash.as_str().map(str::to_owned)
}

/// The images of a pod template.
fn images(of: &Value) -> Vec<&str> {
    let containers = of.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let images = containers
        .into_iter()
        .flatten()
        .map(|container| container["image"].as_str());
    images.flatten().collect()
}

fn is_owned_by(object: &Value, uid: &str) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| owner["uid"] == uid)
}

fn owned_pods(pods: Vec<Value>, sets: &[Value], workload: &Workload) -> Vec<Value> {
    let ours = sets.iter().filter(|set| is_owned_by(set, workload.uid()));
    let uids: Vec<&str> = ours.filter_map(|set| set.pointer("/metadata/uid")?.as_str()).collect();
    pods.into_iter()
        .filter(|pod| uids.iter().any(|uid| is_owned_by(pod, uid)))
        .collect()
}

/// A label selector as the query of a list has it.
pub fn selector_text(selector: &Value) -> String {
    let by_labels: BTreeMap<String, String> = labels(selector.get("matchLabels"));
    let mut terms: Vec<String> = by_labels
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> = expression["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        match expression["operator"].as_str() {
            Some("In") => terms.push(format!("{key} in ({})", values.join(","))),
            Some("NotIn") => terms.push(format!("{key} notin ({})", values.join(","))),
            Some("Exists") => terms.push(key.to_owned()),
            Some("DoesNotExist") => terms.push(format!("!{key}")),
            Some(_) | None => {}
        }
    }
    terms.join(",")
}
