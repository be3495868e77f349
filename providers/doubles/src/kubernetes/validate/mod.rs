//! What makes an object invalid: one cause for every fault, with its field.

mod custom;
mod name;
mod pod;
mod service;
mod workload;

use serde_json::{Value, json};

use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{items, map, text};
use crate::kubernetes::refusal::Cause;

/// The faults of an object that is about to be created.
pub(crate) fn new(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = name::metadata(kind, object);
    causes.extend(spec(kind, object));
    causes
}

/// The faults of a change.
pub(crate) fn change(kind: &Kind, old: &Value, new: &Value, subresource: &str) -> Vec<Cause> {
    let mut causes = name::labels_and_annotations(new);
    if subresource != "status" {
        causes.extend(spec(kind, new));
        causes.extend(immutable(kind, old, new));
    }
    causes
}

fn spec(kind: &Kind, object: &Value) -> Vec<Cause> {
    match kind.kind {
        "Deployment" => workload::deployment(object),
        "ReplicaSet" => workload::replica_set(object),
        "Pod" => pod::spec(&object["spec"], "spec", true),
        "Service" => service::service(object),
        "HorizontalPodAutoscaler" => workload::autoscaler(object),
        "PodDisruptionBudget" => workload::disruption_budget(object),
        "Ingress" => service::ingress(object),
        "EndpointSlice" => service::endpoint_slice(object),
        "ConfigMap" | "Secret" => data_keys(object),
        "Event" if text(object, "/involvedObject/namespace") != text(object, "/metadata/namespace") => {
            vec![Cause::invalid(
                "involvedObject.namespace",
                &json!(text(object, "/involvedObject/namespace")),
                "does not match event.namespace",
            )]
        }
        _ if kind.custom => custom::custom(kind, object),
        _ => Vec::new(),
    }
}

fn data_keys(object: &Value) -> Vec<Cause> {
    let fits = |key: &str| {
        !key.is_empty()
            && key.len() <= 253
            && key
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "-._".contains(letter))
    };
    map(object, "/data")
        .keys()
        .filter(|key| !fits(key))
        .map(|key| {
            Cause::invalid(
                format!("data[{key}]"),
                &json!(key),
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            )
        })
        .collect()
}

/// Fields that stay as they were made.
fn immutable(kind: &Kind, old: &Value, new: &Value) -> Vec<Cause> {
    let same = |pointer: &str| old.pointer(pointer) == new.pointer(pointer);
    let unchanged = |field: &str| {
        let pointer = format!("/{}", field.replace('.', "/"));
        let value = new.pointer(&pointer).cloned().unwrap_or(Value::Null);
        (!same(&pointer)).then(|| Cause::invalid(field, &value, "field is immutable"))
    };
    match kind.kind {
        "Deployment" | "ReplicaSet" => unchanged("spec.selector").into_iter().collect(),
        "Service" if text(old, "/spec/type") != "ExternalName" && text(new, "/spec/type") != "ExternalName" => {
            match items(old, "/spec/clusterIPs") == items(new, "/spec/clusterIPs") && same("/spec/clusterIP") {
                true => Vec::new(),
                false => vec![Cause::invalid(
                    "spec.clusterIPs[0]",
                    &json!([text(new, "/spec/clusterIP")]),
                    "may not change once set",
                )],
            }
        }
        "EndpointSlice" => unchanged("addressType").into_iter().collect(),
        "Secret" => unchanged("type").into_iter().collect(),
        "ConfigMap" if old["immutable"] == true && !same("/data") => {
            vec![Cause::forbidden("data", "field is immutable when `immutable` is set")]
        }
        "Pod" => pod::immutable(old, new),
        _ => Vec::new(),
    }
}
