//! Pod specs, alone and in templates.

use serde_json::{Value, json};

use crate::kubernetes::object::{items, text};
use crate::kubernetes::refusal::Cause;
use crate::kubernetes::validate::name::dns_label;

/// The faults of a pod's spec; `alone` where it is no template.
pub(super) fn spec(spec: &Value, at: &str, alone: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    let containers = items(spec, "/containers");
    if containers.is_empty() {
        causes.push(Cause::required(format!("{at}.containers"), ""));
    }
    let volumes: Vec<&str> = items(spec, "/volumes")
        .iter()
        .map(|volume| text(volume, "/name"))
        .collect();
    let mut names: Vec<&str> = Vec::new();
    for (list, containers) in [
        ("containers", containers),
        ("initContainers", items(spec, "/initContainers")),
    ] {
        for (index, one) in containers.iter().enumerate() {
            let place = format!("{at}.{list}[{index}]");
            let called = text(one, "/name");
            causes.extend(dns_label(called, format!("{place}.name")));
            if names.contains(&called) && !called.is_empty() {
                causes.push(Cause::duplicate(format!("{place}.name"), &json!(called)));
            }
            names.push(called);
            causes.extend(container(one, &place, &volumes));
        }
    }
    for (index, volume) in volumes.iter().enumerate() {
        causes.extend(dns_label(volume, format!("{at}.volumes[{index}].name")));
        if volumes[..index].contains(volume) {
            causes.push(Cause::duplicate(format!("{at}.volumes[{index}].name"), &json!(volume)));
        }
    }
    let policy = text(spec, "/restartPolicy");
    if !alone && policy != "Always" {
        causes.push(Cause::unsupported(
            format!("{at}.restartPolicy"),
            &json!(policy),
            &["Always"],
        ));
    } else if !matches!(policy, "Always" | "OnFailure" | "Never") {
        let known = ["Always", "Never", "OnFailure"];
        causes.push(Cause::unsupported(
            format!("{at}.restartPolicy"),
            &json!(policy),
            &known,
        ));
    }
    if let Some(grace) = spec
        .get("terminationGracePeriodSeconds")
        .and_then(Value::as_i64)
        .filter(|grace| *grace < 0)
    {
        causes.push(Cause::invalid(
            format!("{at}.terminationGracePeriodSeconds"),
            &json!(grace),
            "must be greater than or equal to 0",
        ));
    }
    causes
}

fn container(container: &Value, at: &str, volumes: &[&str]) -> Vec<Cause> {
    let mut causes = Vec::new();
    let image = text(container, "/image");
    if image.is_empty() {
        causes.push(Cause::required(format!("{at}.image"), ""));
    } else if image.trim() != image {
        causes.push(Cause::invalid(
            format!("{at}.image"),
            &json!(image),
            "must not have leading or trailing whitespace",
        ));
    }
    for (index, port) in items(container, "/ports").iter().enumerate() {
        let number = port["containerPort"].as_i64().unwrap_or(0);
        if number == 0 {
            causes.push(Cause::required(format!("{at}.ports[{index}].containerPort"), ""));
        } else if !(1..=65535).contains(&number) {
            let field = format!("{at}.ports[{index}].containerPort");
            causes.push(Cause::invalid(
                field,
                &json!(number),
                "must be between 1 and 65535, inclusive",
            ));
        }
        let protocol = text(port, "/protocol");
        if !matches!(protocol, "TCP" | "UDP" | "SCTP") {
            let field = format!("{at}.ports[{index}].protocol");
            causes.push(Cause::unsupported(field, &json!(protocol), &["SCTP", "TCP", "UDP"]));
        }
    }
    for (index, variable) in items(container, "/env").iter().enumerate() {
        if text(variable, "/name").is_empty() {
            causes.push(Cause::required(format!("{at}.env[{index}].name"), ""));
        }
        if !text(variable, "/value").is_empty() && variable.get("valueFrom").is_some() {
            causes.push(Cause::invalid(
                format!("{at}.env[{index}].valueFrom"),
                &json!(""),
                "may not be specified when `value` is not empty",
            ));
        }
    }
    for (index, mount) in items(container, "/volumeMounts").iter().enumerate() {
        let volume = text(mount, "/name");
        if !volumes.contains(&volume) {
            causes.push(Cause {
                reason: "FieldValueNotFound",
                message: format!("Not found: \"{volume}\""),
                field: format!("{at}.volumeMounts[{index}].name"),
            });
        }
        if text(mount, "/mountPath").is_empty() {
            causes.push(Cause::required(format!("{at}.volumeMounts[{index}].mountPath"), ""));
        }
    }
    let policy = text(container, "/imagePullPolicy");
    if !matches!(policy, "Always" | "IfNotPresent" | "Never") {
        let known = ["Always", "IfNotPresent", "Never"];
        causes.push(Cause::unsupported(
            format!("{at}.imagePullPolicy"),
            &json!(policy),
            &known,
        ));
    }
    for list in ["requests", "limits"] {
        for (resource, amount) in container["resources"][list].as_object().into_iter().flatten() {
            let amount = amount.as_str().unwrap_or_default();
            if crate::kubernetes::quantity::milli(amount).is_none() {
                causes.push(Cause::invalid(
                    format!("{at}.resources.{list}[{resource}]"),
                    &json!(amount),
                    "must be a quantity",
                ));
            }
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        causes.extend(self::probe(&container[probe], &format!("{at}.{probe}"), probe));
    }
    causes
}

fn probe(probe: &Value, at: &str, which: &str) -> Vec<Cause> {
    if !probe.is_object() {
        return Vec::new();
    }
    let mut causes = Vec::new();
    let handlers = ["httpGet", "tcpSocket", "exec", "grpc"]
        .iter()
        .filter(|handler| probe.get(**handler).is_some())
        .count();
    if handlers == 0 {
        causes.push(Cause::required(at, "must specify a handler type"));
    }
    if handlers > 1 {
        causes.push(Cause::forbidden(at, "may not specify more than 1 handler type"));
    }
    if which != "readinessProbe" && probe["successThreshold"].as_i64().unwrap_or(1) != 1 {
        causes.push(Cause::invalid(
            format!("{at}.successThreshold"),
            &probe["successThreshold"],
            "must be 1",
        ));
    }
    causes
}

/// What a pod may change once it is made: images and little else.
pub(super) fn immutable(old: &Value, new: &Value) -> Vec<Cause> {
    let bare = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                container["image"] = json!("");
            }
        }
        for key in ["activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations"] {
            if let Some(map) = spec.as_object_mut() {
                map.remove(key);
            }
        }
        spec
    };
    if bare(old) == bare(new) {
        return Vec::new();
    }
    vec![Cause::forbidden(
        "spec",
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
    )]
}
