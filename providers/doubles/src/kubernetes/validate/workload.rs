//! Deployments, replica sets, autoscalers and disruption budgets.

use serde_json::{Value, json};

use crate::kubernetes::object::{int, items, map, text};
use crate::kubernetes::refusal::Cause;
use crate::kubernetes::selector;
use crate::kubernetes::validate::{name, pod};

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

pub(super) fn deployment(object: &Value) -> Vec<Cause> {
    let mut causes = common(object);
    let spec = &object["spec"];
    let strategy = &spec["strategy"];
    match text(strategy, "/type") {
        "RollingUpdate" => causes.extend(rolling(&strategy["rollingUpdate"])),
        "Recreate" if strategy.get("rollingUpdate").is_some() => causes.push(Cause::forbidden(
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        )),
        "Recreate" => {}
        _ => {
            let said = json!({"Type": strategy["type"], "RollingUpdate": null});
            // The server prints its own structure here, in its own order.
            let text = format!(
                "{{\"Type\":{},\"RollingUpdate\":{}}}",
                said["Type"], said["RollingUpdate"]
            );
            causes.push(Cause {
                reason: "FieldValueNotSupported",
                message: format!("Unsupported value: {text}: supported values: \"Recreate\", \"RollingUpdate\""),
                field: "spec.strategy".to_owned(),
            });
        }
    }
    for field in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        causes.extend(not_negative(spec, field, "spec"));
    }
    let (deadline, ready) = (int(spec, "/progressDeadlineSeconds"), int(spec, "/minReadySeconds"));
    if deadline <= ready {
        causes.push(Cause::invalid(
            "spec.progressDeadlineSeconds",
            &json!(deadline),
            "must be greater than minReadySeconds",
        ));
    }
    causes
}

pub(super) fn replica_set(object: &Value) -> Vec<Cause> {
    let mut causes = common(object);
    causes.extend(not_negative(&object["spec"], "minReadySeconds", "spec"));
    causes
}

/// What every owner of pods must have: a count, a selector, and a template that the selector fits.
fn common(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = Vec::new();
    causes.extend(not_negative(spec, "replicas", "spec"));
    let selector = spec.get("selector");
    let labels = map(spec, "/template/metadata/labels");
    match selector {
        None => causes.push(Cause::required("spec.selector", "")),
        Some(selector) => {
            causes.extend(name::labels(&selector["matchLabels"], "spec.selector.matchLabels"));
            if map(selector, "/matchLabels").is_empty() && items(selector, "/matchExpressions").is_empty() {
                causes.push(Cause::invalid(
                    "spec.selector",
                    selector,
                    "empty selector is invalid for deployment",
                ));
            }
        }
    }
    causes.extend(name::labels(
        &spec["template"]["metadata"]["labels"],
        "spec.template.labels",
    ));
    if !selector::fits(selector, &labels) {
        let said = if labels.is_empty() {
            Value::Null
        } else {
            Value::Object(labels)
        };
        causes.push(Cause::invalid(
            "spec.template.metadata.labels",
            &said,
            "`selector` does not match template `labels`",
        ));
    }
    causes.extend(pod::spec(&spec["template"]["spec"], "spec.template.spec", false));
    causes
}

fn not_negative(spec: &Value, field: &str, at: &str) -> Option<Cause> {
    let value = spec.get(field).and_then(Value::as_i64).filter(|value| *value < 0)?;
    Some(Cause::invalid(format!("{at}.{field}"), &json!(value), NOT_NEGATIVE))
}

fn rolling(rolling: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut zeros = 0;
    for field in ["maxUnavailable", "maxSurge"] {
        let value = &rolling[field];
        let place = format!("spec.strategy.rollingUpdate.{field}");
        match value {
            Value::String(text) => match text.strip_suffix('%').and_then(|number| number.parse::<i64>().ok()) {
                Some(percent) if percent > 100 && field == "maxUnavailable" => {
                    causes.push(Cause::invalid(place, value, "must not be greater than 100%"));
                }
                Some(0) => zeros += 1,
                Some(percent) if percent > 0 => {}
                _ => causes.push(Cause::invalid(
                    place,
                    value,
                    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
                )),
            },
            other => match other.as_i64() {
                Some(number) if number < 0 => causes.push(Cause::invalid(place, value, NOT_NEGATIVE)),
                Some(0) => zeros += 1,
                _ => {}
            },
        }
    }
    if zeros == 2 {
        causes.push(Cause::invalid(
            "spec.strategy.rollingUpdate.maxUnavailable",
            &rolling["maxUnavailable"],
            "may not be 0 when `maxSurge` is 0",
        ));
    }
    causes
}

pub(super) fn autoscaler(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = Vec::new();
    let (min, max) = (int(spec, "/minReplicas"), int(spec, "/maxReplicas"));
    for field in ["kind", "name"] {
        if text(spec, &format!("/scaleTargetRef/{field}")).is_empty() {
            causes.push(Cause::required(format!("spec.scaleTargetRef.{field}"), ""));
        }
    }
    if min < 1 {
        causes.push(Cause::invalid(
            "spec.minReplicas",
            &json!(min),
            "must be greater than or equal to 1",
        ));
    }
    if max < 1 {
        causes.push(Cause::invalid(
            "spec.maxReplicas",
            &json!(max),
            "must be greater than 0",
        ));
    }
    if max < min {
        causes.push(Cause::invalid(
            "spec.maxReplicas",
            &json!(max),
            "must be greater than or equal to `minReplicas`",
        ));
    }
    causes
}

pub(super) fn disruption_budget(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = Vec::new();
    if spec.get("minAvailable").is_some() && spec.get("maxUnavailable").is_some() {
        // The server prints its own structure here, in its own order.
        let said = format!(
            "{{\"MinAvailable\":{},\"Selector\":{},\"MaxUnavailable\":{},\"UnhealthyPodEvictionPolicy\":{}}}",
            spec["minAvailable"], spec["selector"], spec["maxUnavailable"], spec["unhealthyPodEvictionPolicy"]
        );
        causes.push(Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {said}: minAvailable and maxUnavailable cannot be both set"),
            field: "spec".to_owned(),
        });
    }
    for field in ["minAvailable", "maxUnavailable"] {
        if let Some(value) = spec.get(field) {
            let wrong = match value {
                Value::String(text) => text
                    .strip_suffix('%')
                    .and_then(|number| number.parse::<u32>().ok())
                    .is_none(),
                other => other.as_i64().is_some_and(|number| number < 0),
            };
            if wrong {
                causes.push(Cause::invalid(format!("spec.{field}"), value, NOT_NEGATIVE));
            }
        }
    }
    causes.extend(name::labels(
        &spec["selector"]["matchLabels"],
        "spec.selector.matchLabels",
    ));
    causes
}
