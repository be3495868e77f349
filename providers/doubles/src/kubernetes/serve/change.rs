//! Writing: create, replace, the four patches, delete.

use axum::http::Method;
use serde_json::{Value, json};

use crate::kubernetes::call::{Call, Resource};
use crate::kubernetes::defaults;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::managed::{self, Writer};
use crate::kubernetes::object::{int, name, stamp, text, uid};
use crate::kubernetes::patch;
use crate::kubernetes::refusal::{Cause, Refusal};
use crate::kubernetes::schema::fields::repeated;
use crate::kubernetes::schema::read::{Findings, read};
use crate::kubernetes::selector::Filter;
use crate::kubernetes::serve::read::shown;
use crate::kubernetes::serve::{Reply, success};
use crate::kubernetes::store::Place;
use crate::kubernetes::world::{Farewell, World};

pub(super) fn writer(world: &World, call: &Call, resource: &Resource) -> Writer {
    Writer {
        manager: call.manager(),
        api_version: resource.api_version(),
        subresource: match resource.subresource.as_str() {
            "status" => "status",
            "scale" => "scale",
            _ => "",
        },
        // A scale is no object of its own, and its writes are noted without an instant.
        time: if resource.subresource == "scale" {
            String::new()
        } else {
            stamp(world.now)
        },
    }
}

fn is_dry(call: &Call) -> Result<bool, Refusal> {
    match call.asked("dryRun") {
        "" => Ok(false),
        "All" => Ok(true),
        other => {
            let cause = Cause::unsupported("dryRun", &json!([other]), &["All"]);
            Err(Refusal::invalid_as(
                "CreateOptions.meta.k8s.io",
                "meta.k8s.io",
                "CreateOptions",
                "",
                &[cause],
            ))
        }
    }
}

/// Checks that a body is of the kind and version that the path names.
fn check_kind(resource: &Resource, object: &Value) -> Result<(), Refusal> {
    let (version, kind) = (resource.api_version(), resource.kind.kind);
    let (sent_version, sent_kind) = (text(object, "/apiVersion"), text(object, "/kind"));
    if !object.is_object() {
        return Err(Refusal::bad_request("the body of the request is no object"));
    }
    if (!sent_version.is_empty() && sent_version != version) || (!sent_kind.is_empty() && sent_kind != kind) {
        if sent_kind == kind || sent_kind.is_empty() {
            return Err(Refusal::bad_request(format!(
                "the API version in the data ({sent_version}) does not match the expected API version ({version})"
            )));
        }
        let (group, number) = (
            version.split_once('/').map_or("core", |(group, _)| group),
            &resource.version,
        );
        return Err(Refusal::bad_request(format!(
            "{sent_kind} in version \"{number}\" cannot be handled as a {kind}: \
             converting ({number}.{sent_kind}) to ({group}.{kind}): unknown conversion"
        )));
    }
    Ok(())
}

/// Reads an object as its kind: unknown fields by the caller's wish, wrong types always refused.
fn decode(call: &Call, resource: &Resource, object: &mut Value) -> Result<Vec<String>, Refusal> {
    let kind = resource.kind;
    let findings = read(&kind.shape(), object);
    refuse_mistyped(call, resource, name(object), &findings)?;
    let unknown: Vec<String> = findings
        .unknown
        .iter()
        .map(|field| format!("unknown field \"{field}\""))
        .collect();
    match call.asked("fieldValidation") {
        "" | "Warn" => Ok(unknown),
        "Ignore" => Ok(Vec::new()),
        "Strict" if unknown.is_empty() => Ok(unknown),
        "Strict" => {
            let said = format!("strict decoding error: {}", unknown.join(", "));
            Err(Refusal::bad_request(cannot_be_handled(resource, &said)))
        }
        other => {
            let known = ["Ignore", "Strict", "Warn"];
            let cause = Cause::unsupported("fieldValidation", &json!(other), &known);
            Err(Refusal::invalid_as(
                "CreateOptions.meta.k8s.io",
                "meta.k8s.io",
                "CreateOptions",
                "",
                &[cause],
            ))
        }
    }
}

fn cannot_be_handled(resource: &Resource, why: &str) -> String {
    let kind = resource.kind.kind;
    format!(
        "{kind} in version \"{}\" cannot be handled as a {kind}: {why}",
        resource.version
    )
}

fn refuse_mistyped(call: &Call, resource: &Resource, name: &str, findings: &Findings) -> Result<(), Refusal> {
    let kind = resource.kind;
    if kind.custom {
        let mistyped = findings.mistyped.iter().map(|wrong| Cause {
            reason: "FieldValueTypeInvalid",
            message: format!(
                "Invalid value: \"{}\": {} in body must be of type {}: \"{}\"",
                wrong.found, wrong.path, wrong.expected, wrong.found
            ),
            field: wrong.path.clone(),
        });
        let missing = findings.missing.iter().map(|field| Cause::required(field.clone(), ""));
        let causes: Vec<Cause> = mistyped.chain(missing).collect();
        return if causes.is_empty() {
            Ok(())
        } else {
            Err(Refusal::invalid(kind, name, &causes))
        };
    }
    match findings.mistyped.first() {
        None => Ok(()),
        Some(wrong) => {
            let said = format!(
                "json: cannot unmarshal {} into Go struct field {}.{} of type {}",
                if wrong.found == "integer" {
                    "number"
                } else {
                    wrong.found
                },
                wrong.within,
                wrong.path,
                if wrong.expected == "integer" {
                    "int32"
                } else {
                    wrong.expected
                },
            );
            if call.method == Method::PATCH {
                let cause = Cause::invalid("patch", &json!(String::from_utf8_lossy(&call.body)), &said);
                return Err(Refusal::invalid_as("", "", "", "", &[cause]));
            }
            Err(Refusal::bad_request(cannot_be_handled(resource, &said)))
        }
    }
}

fn reply(code: u16, resource: &Resource, object: &Value, warnings: Vec<String>) -> Reply {
    Reply::Json {
        code,
        body: shown(resource, object),
        warnings,
    }
}

pub(super) fn create(world: &mut World, call: &Call, resource: &Resource) -> Result<Reply, Refusal> {
    let mut object = call.json()?;
    check_kind(resource, &object)?;
    let warnings = decode(call, resource, &mut object)?;
    let home = text(&object, "/metadata/namespace");
    if !home.is_empty() && home != resource.namespace {
        return Err(Refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request".to_string(),
        ));
    }
    object["apiVersion"] = json!(resource.api_version());
    let writer = writer(world, call, resource);
    if is_dry(call)? {
        let made = world.prepare_new(resource.kind, &resource.namespace, object, |shape, bare, new| {
            managed::update(shape, bare, new, &writer);
            Ok(())
        })?;
        return Ok(reply(201, resource, &made, warnings));
    }
    let made = world.create(resource.kind, &resource.namespace, object, &writer)?;
    Ok(reply(201, resource, &made, warnings))
}

fn standing(world: &World, resource: &Resource) -> Result<Value, Refusal> {
    world
        .get(resource.kind, &resource.namespace, &resource.name)
        .cloned()
        .ok_or_else(|| Refusal::not_found(resource.kind, &resource.name))
}

fn check_names(resource: &Resource, object: &Value) -> Result<(), Refusal> {
    if name(object) != resource.name {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            name(object),
            resource.name
        )));
    }
    let home = text(object, "/metadata/namespace");
    if !home.is_empty() && home != resource.namespace {
        return Err(Refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

pub(super) fn replace(world: &mut World, call: &Call, resource: &Resource) -> Result<Reply, Refusal> {
    let mut object = call.json()?;
    check_kind(resource, &object)?;
    let warnings = decode(call, resource, &mut object)?;
    check_names(resource, &object)?;
    object["apiVersion"] = json!(resource.api_version());
    let creates = matches!(resource.kind.kind, "Service" | "Endpoints" | "Event") && resource.subresource.is_empty();
    let old = match standing(world, resource) {
        Err(_) if creates => {
            let writer = writer(world, call, resource);
            let made = world.create(resource.kind, &resource.namespace, object, &writer)?;
            return Ok(reply(201, resource, &made, warnings));
        }
        standing => standing?,
    };
    let sent = uid(&object);
    if !sent.is_empty() && sent != uid(&old) {
        let why = format!(
            "Precondition failed: UID in precondition: {sent}, UID in object meta: {}",
            uid(&old)
        );
        return Err(Refusal::conflict(resource.kind, &resource.name, &why));
    }
    let stored = write_over(world, call, resource, &old, object)?;
    Ok(reply(200, resource, &stored, warnings))
}

/// Writes a whole new version over what stands.
fn write_over(
    world: &mut World,
    call: &Call,
    resource: &Resource,
    old: &Value,
    object: Value,
) -> Result<Value, Refusal> {
    let writer = writer(world, call, resource);
    let own = |shape: &_, old: &_, new: &mut _| {
        managed::update(shape, old, new, &writer);
        Ok(())
    };
    let new = world.prepare_change(resource.kind, old, object, writer.subresource, own)?;
    Ok(if is_dry(call)? {
        new
    } else {
        world.commit(resource.kind, old, new)
    })
}

pub(super) fn patch(world: &mut World, call: &Call, resource: &Resource) -> Result<Reply, Refusal> {
    if call.media != "application/apply-patch+yaml" && !call.asked("force").is_empty() {
        let cause = Cause::forbidden("force", "may not be specified for non-apply patch");
        return Err(Refusal::invalid_as(
            "PatchOptions.meta.k8s.io",
            "meta.k8s.io",
            "PatchOptions",
            "",
            &[cause],
        ));
    }
    if call.media == "application/apply-patch+yaml" {
        return apply(world, call, resource);
    }
    let accepted = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
    let custom = resource.kind.custom;
    let change: fn(&Kind, &mut Value, &Value) -> Result<(), Refusal> = match call.media.as_str() {
        "application/json-patch+json" => |_, target, change| patch::json_patch(target, change),
        "application/merge-patch+json" => |_, target, change| {
            patch::merge(target, change);
            Ok(())
        },
        "application/strategic-merge-patch+json" if !custom => |kind, target, change| {
            patch::strategic(&kind.shape(), target, change);
            Ok(())
        },
        "application/strategic-merge-patch+json" => return Err(Refusal::unsupported_media(accepted)),
        _ => return Err(Refusal::unknown_patch()),
    };
    let body = call.body_json()?;
    let old = standing(world, resource)?;
    let mut object = shown(resource, &old);
    change(resource.kind, &mut object, &body)?;
    check_kind(resource, &object)?;
    let warnings = decode(call, resource, &mut object)?;
    check_names(resource, &object)?;
    let stored = write_over(world, call, resource, &old, object)?;
    Ok(reply(200, resource, &stored, warnings))
}

/// Server-side apply.
fn apply(world: &mut World, call: &Call, resource: &Resource) -> Result<Reply, Refusal> {
    let kind = resource.kind;
    if call.asked("fieldManager").is_empty() {
        let cause = Cause::required("fieldManager", "is required for apply patch");
        return Err(Refusal::invalid_as(
            "PatchOptions.meta.k8s.io",
            "meta.k8s.io",
            "PatchOptions",
            "",
            &[cause],
        ));
    }
    let mut config = call.body_json()?;
    if text(&config, "/apiVersion").is_empty() || text(&config, "/kind").is_empty() {
        let (version, kind) = (text(&config, "/apiVersion"), text(&config, "/kind"));
        return Err(Refusal::bad_request(format!(
            "invalid object type: /{version}, Kind={kind}"
        )));
    }
    check_kind(resource, &config)?;
    if config["metadata"]
        .get("managedFields")
        .is_some_and(|list| !list.is_null())
    {
        return Err(Refusal::bad_request("metadata.managedFields must be nil"));
    }
    let findings = read(&kind.shape(), &mut config);
    refuse_unfit(resource, &config, &findings)?;
    if name(&config).is_empty() {
        config["metadata"]["name"] = json!(resource.name);
    }
    check_names(resource, &config)?;
    if kind.status
        && let Some(map) = config.as_object_mut()
    {
        match resource.subresource.as_str() {
            "status" => map.retain(|key, _| matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "status")),
            _ => map.retain(|key, _| key != "status"),
        }
    }
    let writer = writer(world, call, resource);
    let force = call.asks("force");
    let Some(old) = world.get(kind, &resource.namespace, &resource.name).cloned() else {
        if !resource.subresource.is_empty() {
            return Err(Refusal::not_found(kind, &resource.name));
        }
        return apply_new(world, call, resource, &config, &writer);
    };
    let merged = managed::apply(&kind.shape(), &shown(resource, &old), &config, &writer, force)?;
    let new = world.prepare_change(kind, &old, merged, writer.subresource, |_, _, _| Ok(()))?;
    let stored = if is_dry(call)? {
        new
    } else {
        world.commit(kind, &old, new)
    };
    Ok(reply(200, resource, &stored, Vec::new()))
}

fn apply_new(
    world: &mut World,
    call: &Call,
    resource: &Resource,
    config: &Value,
    writer: &Writer,
) -> Result<Reply, Refusal> {
    let kind = resource.kind;
    if !uid(config).is_empty() {
        let cause = Cause::invalid("metadata.uid", &json!(uid(config)), "field is immutable");
        return Err(Refusal::invalid(kind, &resource.name, &[cause.clone(), cause]));
    }
    let mut config = config.clone();
    if let Some(metadata) = config["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    let made = managed::apply(&kind.shape(), &json!({"metadata": {}}), &config, writer, true)?;
    let made = world.prepare_new(kind, &resource.namespace, made, |_, _, _| Ok(()))?;
    if !is_dry(call)? {
        let at = Place::new(kind, &resource.namespace, &resource.name);
        let stored = world.store.put(at, made);
        return Ok(reply(201, resource, &stored, Vec::new()));
    }
    Ok(reply(201, resource, &made, Vec::new()))
}

/// An applied configuration that does not fit the kind cannot be merged at all.
fn refuse_unfit(resource: &Resource, config: &Value, findings: &Findings) -> Result<(), Refusal> {
    let home = text(config, "/metadata/namespace");
    let about = format!(
        "{home}/{}; {}, Kind={}",
        resource.name,
        resource.api_version(),
        resource.kind.kind
    );
    let why = match (findings.unknown.first(), findings.mistyped.first()) {
        (Some(field), _) => format!(".{field}: field not declared in schema"),
        (None, Some(wrong)) => {
            let expected = match wrong.expected {
                "integer" | "number" => "numeric (int or float)",
                "object" => "map",
                "array" => "list",
                other => other,
            };
            format!(".{}: expected {expected}, got {}", wrong.path, wrong.found)
        }
        (None, None) => match repeated(&resource.kind.shape(), config, &mut Vec::new()) {
            Some(why) => why,
            None => return Ok(()),
        },
    };
    Err(Refusal {
        code: 500,
        reason: "",
        message: format!("failed to create typed patch object ({about}): {why}"),
        details: Value::Null,
    })
}

fn farewell(call: &Call) -> Result<Farewell, Refusal> {
    let options = if call.body.is_empty() { json!({}) } else { call.json()? };
    let number = |text: &str| text.parse::<i64>().ok();
    let policy = match text(&options, "/propagationPolicy") {
        "" => call.asked("propagationPolicy"),
        policy => policy,
    };
    if !matches!(policy, "" | "Background" | "Foreground" | "Orphan") {
        let known = ["Foreground", "Background", "Orphan", "nil"];
        let cause = Cause::unsupported("propagationPolicy", &json!(policy), &known);
        return Err(Refusal::invalid_as(
            "DeleteOptions.meta.k8s.io",
            "meta.k8s.io",
            "DeleteOptions",
            "",
            &[cause],
        ));
    }
    let precondition = |key: &str| {
        Some(text(&options, &format!("/preconditions/{key}")).to_owned()).filter(|wanted| !wanted.is_empty())
    };
    Ok(Farewell {
        grace: options
            .get("gracePeriodSeconds")
            .map(|_| int(&options, "/gracePeriodSeconds"))
            .or_else(|| number(call.asked("gracePeriodSeconds"))),
        uid: precondition("uid"),
        resource_version: precondition("resourceVersion"),
        policy: policy.to_owned(),
    })
}

pub(super) fn delete(world: &mut World, call: &Call, resource: &Resource) -> Result<Reply, Refusal> {
    let kind = resource.kind;
    let farewell = farewell(call)?;
    let at = Place::new(kind, &resource.namespace, &resource.name);
    if is_dry(call)? {
        return Ok(Reply::ok(shown(resource, &standing(world, resource)?)));
    }
    let (object, gone) = world.delete(kind, &at, &farewell)?;
    if gone && !matches!(kind.kind, "Pod" | "Service" | "ServiceAccount") {
        let mut details = json!({"name": resource.name, "kind": kind.plural, "uid": uid(&object)});
        if !kind.group.is_empty() {
            details["group"] = json!(kind.group);
        }
        return Ok(Reply::ok(success(details)));
    }
    Ok(Reply::ok(shown(resource, &object)))
}

pub(super) fn delete_collection(world: &mut World, call: &Call, resource: &Resource) -> Result<Reply, Refusal> {
    let farewell = farewell(call)?;
    let filter = Filter::read(call.asked("labelSelector"), call.asked("fieldSelector"))?;
    let fitting: Vec<(Place, Value)> = world
        .store
        .list(resource.kind, &resource.namespace)
        .filter(|(_, object)| filter.admits(object))
        .map(|(place, object)| (place.clone(), object.clone()))
        .collect();
    for (place, _) in &fitting {
        world.delete(resource.kind, place, &farewell)?;
    }
    let items: Vec<Value> = fitting.iter().map(|(_, object)| object.clone()).collect();
    let metadata = json!({"resourceVersion": world.store.version().to_string()});
    Ok(Reply::ok(json!({
        "kind": format!("{}List", resource.kind.kind), "apiVersion": resource.api_version(),
        "metadata": metadata, "items": items,
    })))
}

/// Used by parts that change an object's own fields: the bare kind's defaults are none of their business.
pub(super) fn change_field(
    world: &mut World,
    call: &Call,
    resource: &Resource,
    change: impl FnOnce(&mut Value),
) -> Result<Value, Refusal> {
    let old = standing(world, resource)?;
    let mut object = old.clone();
    change(&mut object);
    defaults::fill(resource.kind, &mut object);
    write_over(world, call, resource, &old, object)
}
