//! Parts of an object with a path of their own: scale, log, eviction.

use axum::http::Method;
use serde_json::{Value, json};

use crate::kubernetes::call::{Call, Resource};
use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{annotation, int, items, map, text, uid};
use crate::kubernetes::patch;
use crate::kubernetes::refusal::{Cause, Refusal};
use crate::kubernetes::selector;
use crate::kubernetes::serve::{Reply, change, read};
use crate::kubernetes::store::Place;
use crate::kubernetes::world::{Farewell, World};

/// Answers a call to a part; `None` where the kind has no such part.
pub(super) fn answer(
    world: &mut World,
    call: &Call,
    resource: &Resource,
    verb: &str,
) -> Option<Result<Reply, Refusal>> {
    Some(match (resource.kind.kind, resource.subresource.as_str(), verb) {
        (_, "scale", _) if resource.kind.scale => scale(world, call, resource),
        ("Pod", "log", "get") => log(world, call, resource),
        ("Pod", "eviction", "create") => evict(world, resource, call),
        ("Pod", "log" | "eviction", _) => Err(Refusal::method_not_allowed()),
        _ => return None,
    })
}

fn scale_of(resource: &Resource, object: &Value) -> Value {
    let selector = selector_text(&object["spec"]["selector"]);
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": resource.name, "namespace": resource.namespace, "uid": uid(object),
            "resourceVersion": object["metadata"]["resourceVersion"],
            "creationTimestamp": object["metadata"]["creationTimestamp"],
        },
        "spec": {"replicas": int(object, "/spec/replicas")},
        "status": {"replicas": int(object, "/status/replicas"), "selector": selector},
    })
}

fn selector_text(selector: &Value) -> String {
    let parts: Vec<String> = map(selector, "/matchLabels")
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    parts.join(",")
}

fn scale(world: &mut World, call: &Call, resource: &Resource) -> Result<Reply, Refusal> {
    let object = read::get(world, resource)?;
    let mut wanted = scale_of(resource, &object);
    match call.method {
        Method::GET => return Ok(Reply::ok(wanted)),
        Method::PUT => wanted = call.json()?,
        Method::PATCH => {
            let body = call.body_json()?;
            match call.media.as_str() {
                "application/json-patch+json" => patch::json_patch(&mut wanted, &body)?,
                "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
                    patch::merge(&mut wanted, &body);
                }
                _ => {
                    return Err(Refusal::unsupported_media(
                        "application/json-patch+json, application/merge-patch+json",
                    ));
                }
            }
        }
        _ => return Err(Refusal::method_not_allowed()),
    }
    let replicas = int(&wanted, "/spec/replicas");
    if replicas < 0 {
        let cause = Cause::invalid("spec.replicas", &json!(replicas), "must be greater than or equal to 0");
        return Err(Refusal::invalid_as(
            "Scale.autoscaling",
            "autoscaling",
            "Scale",
            &resource.name,
            &[cause],
        ));
    }
    let sent = text(&wanted, "/metadata/resourceVersion");
    if !sent.is_empty() && sent != text(&object, "/metadata/resourceVersion") {
        return Err(Refusal::modified(resource.kind, &resource.name));
    }
    let stored = change::change_field(world, call, resource, |object| {
        object["spec"]["replicas"] = json!(replicas)
    })?;
    Ok(Reply::ok(scale_of(resource, &stored)))
}

/// What a container has said: the pod's annotation `klab/log`, or a line about its life; only the last lines on request.
fn log(world: &World, call: &Call, resource: &Resource) -> Result<Reply, Refusal> {
    let pod = read::get(world, resource)?;
    let containers = items(&pod, "/spec/containers");
    let wanted = call.asked("container");
    let known = containers.iter().any(|container| text(container, "/name") == wanted);
    if !wanted.is_empty() && !known {
        return Err(Refusal::bad_request(format!(
            "container {wanted} is not valid for pod {}",
            resource.name
        )));
    }
    if wanted.is_empty() && containers.len() > 1 {
        let names: Vec<&str> = containers.iter().map(|container| text(container, "/name")).collect();
        return Err(Refusal::bad_request(format!(
            "a container name must be specified for pod {}, choose one of: [{}]",
            resource.name,
            names.join(" ")
        )));
    }
    let container = if wanted.is_empty() {
        containers.first().map_or("", |one| text(one, "/name"))
    } else {
        wanted
    };
    let status = items(&pod, "/status/containerStatuses")
        .iter()
        .find(|status| text(status, "/name") == container);
    let waiting = status
        .and_then(|status| status.pointer("/state/waiting/reason"))
        .and_then(Value::as_str);
    let ended = status.and_then(|status| status.pointer("/lastState/terminated"));
    if call.asks("previous") && ended.is_none() {
        return Err(Refusal::bad_request(format!(
            "previous terminated container \"{container}\" in pod \"{}\" not found",
            resource.name
        )));
    }
    if let (Some(reason), None) = (waiting, ended) {
        let said = match reason {
            "ErrImagePull" | "ImagePullBackOff" => "trying and failing to pull image".to_owned(),
            other => other.to_owned(),
        };
        return Err(Refusal::bad_request(format!(
            "container \"{container}\" in pod \"{}\" is waiting to start: {said}",
            resource.name
        )));
    }
    let said = match (annotation(&pod, "klab/log"), ended) {
        (Some(said), _) => said.to_owned(),
        (None, Some(ended)) => format!("starting\nfatal: ended with code {}\n", int(ended, "/exitCode")),
        (None, None) => "starting\nlistening\n".to_owned(),
    };
    let lines: Vec<&str> = said.lines().collect();
    let tail = call.asked("tailLines").parse().unwrap_or(lines.len());
    let mut body: String = lines[lines.len().saturating_sub(tail)..]
        .iter()
        .flat_map(|line| [*line, "\n"])
        .collect();
    if let Ok(limit) = call.asked("limitBytes").parse::<usize>() {
        let end = (0..=limit.min(body.len()))
            .rev()
            .find(|end| body.is_char_boundary(*end))
            .unwrap_or(0);
        body.truncate(end);
    }
    Ok(Reply::Text { code: 200, body })
}

/// Asks a pod to go, if its disruption budget can spare it.
fn evict(world: &mut World, resource: &Resource, call: &Call) -> Result<Reply, Refusal> {
    let pod = read::get(world, resource)?;
    let eviction = call.json()?;
    let labels = map(&pod, "/metadata/labels");
    let kind = Kind::named("PodDisruptionBudget");
    let budgets: Vec<Value> = world
        .store
        .list(kind, &resource.namespace)
        .map(|(_, budget)| budget.clone())
        .filter(|budget| selector::fits(budget["spec"].get("selector"), &labels))
        .collect();
    let running = !matches!(text(&pod, "/status/phase"), "Pending" | "Succeeded" | "Failed");
    for budget in budgets.iter().filter(|_| running) {
        let allowed = int(budget, "/status/disruptionsAllowed");
        if allowed <= 0 {
            let name = text(budget, "/metadata/name");
            let (healthy, wanted) = (
                int(budget, "/status/currentHealthy"),
                int(budget, "/status/desiredHealthy"),
            );
            return Err(Refusal {
                code: 429,
                reason: "TooManyRequests",
                message: "Cannot evict pod as it would violate the pod's disruption budget.".to_owned(),
                details: json!({"causes": [{
                    "reason": "DisruptionBudget",
                    "message": format!("The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently"),
                }]}),
            });
        }
        let mut status = budget["status"].clone();
        status["disruptionsAllowed"] = json!(allowed - 1);
        world.update_status(kind, budget, status);
    }
    let grace = eviction
        .pointer("/deleteOptions/gracePeriodSeconds")
        .and_then(Value::as_i64);
    let at = Place::new(resource.kind, &resource.namespace, &resource.name);
    world.delete(
        resource.kind,
        &at,
        &Farewell {
            grace,
            ..Farewell::default()
        },
    )?;
    let mut done = super::success(Value::Null);
    if let Some(map) = done.as_object_mut() {
        map.remove("details");
    }
    Ok(Reply::Json {
        code: 201,
        body: done,
        warnings: Vec::new(),
    })
}
