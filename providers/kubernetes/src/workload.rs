//! A Deployment as its API object shows it.

use std::collections::BTreeMap;

use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Fence;
use serde_json::Value;

use crate::record::{self, RECORD_ANNOTATION, Record};
use crate::traffic::{FENCE_ANNOTATION, OWNER_LABEL};

/// One Deployment, read whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    object: Value,
    /// The place of the released container in the pod template.
    container: usize,
}

impl Workload {
    /// *Errors*: lasting, where the container is not known.
    pub fn of(object: Value, container: Option<&str>) -> Result<Workload, Failure> {
        let containers = object
            .pointer("/spec/template/spec/containers")
            .and_then(Value::as_array);
        let names: Vec<&str> = containers
            .into_iter()
            .flatten()
            .map(|container| container["name"].as_str().unwrap_or_default())
            .collect();
        let name = object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let found = match (container, names.as_slice()) {
            (None, [_]) => Some(0),
            (None, _) => {
                let names = names.join(", ");
                return Err(Failure::lasting(format!(
                    "the Deployment {name} has several containers: name the released one as `container` ({names})"
                )));
            }
            (Some(wanted), _) => names.iter().position(|name| *name == wanted),
        };
        let unknown = || {
            let wanted = container.unwrap_or_default();
            Failure::lasting(format!(
                "the Deployment {name} has no container `{wanted}`, only {}",
                names.join(", ")
            ))
        };
        Ok(Workload {
            container: found.ok_or_else(unknown)?,
            object,
        })
    }

    pub fn object(&self) -> &Value {
        &self.object
    }

    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    pub fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    pub fn resource_version(&self) -> &str {
        self.text("/metadata/resourceVersion")
    }

    pub fn container_name(&self) -> &str {
        self.text(&format!("/spec/template/spec/containers/{}/name", self.container))
    }

    pub fn container_index(&self) -> usize {
        self.container
    }

    pub fn image(&self) -> &str {
        self.text(&format!("/spec/template/spec/containers/{}/image", self.container))
    }

    /// Pods asked for; the API's default is one.
    pub fn replicas(&self) -> u32 {
        self.object
            .pointer("/spec/replicas")
            .map_or(1, |value| number(Some(value)))
    }

    /// Labels that select this Deployment's pods.
    pub fn match_labels(&self) -> BTreeMap<String, String> {
        labels(self.object.pointer("/spec/selector/matchLabels"))
    }

    pub fn selector(&self) -> &Value {
        self.object.pointer("/spec/selector").unwrap_or(&Value::Null)
    }

    pub fn pod_labels(&self) -> BTreeMap<String, String> {
        labels(self.object.pointer("/spec/template/metadata/labels"))
    }

    /// Container ports by name.
    pub fn ports(&self) -> BTreeMap<String, u16> {
        let containers = self
            .object
            .pointer("/spec/template/spec/containers")
            .and_then(Value::as_array);
        let ports = containers
            .into_iter()
            .flatten()
            .filter_map(|container| container["ports"].as_array())
            .flatten();
        let named = ports.filter_map(|port| {
            let number = u16::try_from(port["containerPort"].as_u64()?).ok()?;
            Some((port["name"].as_str()?.to_owned(), number))
        });
        named.collect()
    }

    /// Whether its status speaks of its newest spec: anything older says nothing about what was asked last.
    pub fn is_observed(&self) -> bool {
        let generation = self.object.pointer("/metadata/generation").and_then(Value::as_i64);
        let observed = self
            .object
            .pointer("/status/observedGeneration")
            .and_then(Value::as_i64);
        matches!((generation, observed), (Some(generation), Some(observed)) if observed >= generation)
    }

    /// Whether no pod of an older template is left.
    pub fn is_updated(&self) -> bool {
        self.is_observed() && self.status("replicas") == self.status("updatedReplicas")
    }

    /// Whether the newest template has all the pods that are asked for, all of them available, and no other pod is left.
    pub fn is_rolled_out(&self) -> bool {
        let wanted = self.replicas();
        self.is_updated() && self.status("updatedReplicas") == wanted && self.status("availableReplicas") >= wanted
    }

    /// Pods ready for at least `minReadySeconds`, by the controller's own clock.
    pub fn available(&self) -> u32 {
        self.status("availableReplicas")
    }

    pub fn ready(&self) -> u32 {
        self.status("readyReplicas")
    }

    /// Pods there are, of any template.
    pub fn standing(&self) -> u32 {
        self.status("replicas")
    }

    /// Whether that many pods of the newest template are available, and none of an older one is left.
    pub fn can_carry(&self, pods: u32) -> bool {
        self.is_updated() && self.available() >= pods
    }

    pub fn min_ready_seconds(&self) -> u64 {
        self.object
            .pointer("/spec/minReadySeconds")
            .and_then(Value::as_u64)
            .unwrap_or(0)
    }

    pub fn is_paused(&self) -> bool {
        self.object.pointer("/spec/paused") == Some(&Value::Bool(true))
    }

    /// Whether its controller says this of it.
    pub fn has_condition(&self, kind: &str) -> bool {
        let conditions = self.object.pointer("/status/conditions").and_then(Value::as_array);
        conditions
            .into_iter()
            .flatten()
            .any(|one| one["type"] == kind && one["status"] == "True")
    }

    pub fn is_leaving(&self) -> bool {
        self.object.pointer("/metadata/deletionTimestamp").is_some()
    }

    /// Whether it was made here, for this workload.
    pub fn is_made_for(&self, workload: &str) -> bool {
        self.object
            .pointer("/metadata/labels")
            .and_then(|labels| labels[OWNER_LABEL].as_str())
            == Some(workload)
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.object.pointer("/metadata/annotations")?.get(key)?.as_str()
    }

    /// The highest fence that was applied to it.
    ///
    /// *Errors*: lasting, where the annotation holds something else: guessing could let an old order through.
    pub fn fence(&self) -> Result<Option<Fence>, Failure> {
        let Some(text) = self.annotation(FENCE_ANNOTATION) else {
            return Ok(None);
        };
        let unread = || {
            let name = self.name();
            Failure::lasting(format!(
                "the annotation {FENCE_ANNOTATION} of the Deployment {name} is no fence: `{text}`"
            ))
        };
        record::fence(text).map(Some).ok_or_else(unread)
    }

    /// What is remembered; none where nothing is, or where it cannot be read any more.
    pub fn record(&self) -> Option<Record> {
        serde_json::from_str(self.annotation(RECORD_ANNOTATION)?).ok()
    }

    fn status(&self, key: &str) -> u32 {
        number(self.object.pointer("/status").and_then(|status| status.get(key)))
    }

    fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

fn number(value: Option<&Value>) -> u32 {
    value
        .and_then(Value::as_u64)
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or(0)
}

/// A map of texts out of an object.
pub fn labels(value: Option<&Value>) -> BTreeMap<String, String> {
    let map = value.and_then(Value::as_object);
    let pairs = map.into_iter().flatten();
    pairs
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Whether a label selector (`matchLabels` and `matchExpressions`) selects these labels. An empty one selects everything; one
/// with an operator that is not known selects nothing.
pub fn selects(selector: &Value, of: &BTreeMap<String, String>) -> bool {
    let by_labels = labels(selector.get("matchLabels"))
        .iter()
        .all(|(key, value)| of.get(key) == Some(value));
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    by_labels
        && expressions
            .into_iter()
            .flatten()
            .all(|expression| is_met(expression, of))
}

fn is_met(expression: &Value, of: &BTreeMap<String, String>) -> bool {
    let found = expression["key"].as_str().and_then(|key| of.get(key));
    let listed = |value: &String| {
        let values = expression["values"].as_array();
        values
            .into_iter()
            .flatten()
            .any(|listed| listed.as_str() == Some(value))
    };
    match expression["operator"].as_str() {
        Some("In") => found.is_some_and(listed),
        Some("NotIn") => !found.is_some_and(listed),
        Some("Exists") => found.is_some(),
        Some("DoesNotExist") => found.is_none(),
        Some(_) | None => false,
    }
}
