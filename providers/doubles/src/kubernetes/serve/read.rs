//! Reading: one object, a list in pages, and what happens from now on.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::kubernetes::call::{Call, Resource};
use crate::kubernetes::object::{name, namespace};
use crate::kubernetes::refusal::Refusal;
use crate::kubernetes::selector::Filter;
use crate::kubernetes::serve::{Reply, Watch};
use crate::kubernetes::store::{Change, Store};
use crate::kubernetes::world::World;

/// An object in the version that was asked for.
pub(crate) fn shown(resource: &Resource, object: &Value) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = json!(resource.api_version());
    object
}

pub(super) fn get(world: &World, resource: &Resource) -> Result<Value, Refusal> {
    world
        .get(resource.kind, &resource.namespace, &resource.name)
        .map(|object| shown(resource, object))
        .ok_or_else(|| Refusal::not_found(resource.kind, &resource.name))
}

fn filter(call: &Call, resource: &Resource) -> Result<Filter, Refusal> {
    let fields = call.asked("fieldSelector");
    // A watch on one object is a watch on the collection with that name.
    let fields = if resource.name.is_empty() {
        fields.to_owned()
    } else {
        format!("metadata.name={}", resource.name)
    };
    Filter::read(call.asked("labelSelector"), &fields)
}

pub(super) fn list(world: &World, call: &Call, resource: &Resource) -> Result<Reply, Refusal> {
    let filter = filter(call, resource)?;
    let limit: usize = match call.asked("limit") {
        "" => 0,
        text => text
            .parse()
            .map_err(|_| Refusal::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax")))?,
    };
    let start = match call.asked("continue") {
        "" => None,
        token => Some(resume(world, token)?),
    };
    let fitting: Vec<&Value> = world
        .store
        .list(resource.kind, &resource.namespace)
        .map(|(_, object)| object)
        .filter(|object| filter.admits(object))
        .filter(|object| {
            start
                .as_ref()
                .is_none_or(|last| (namespace(object), name(object)) > (&last.0, &last.1))
        })
        .collect();
    let count = if limit == 0 {
        fitting.len()
    } else {
        limit.min(fitting.len())
    };
    let mut metadata = json!({"resourceVersion": world.store.version().to_string()});
    if resource.kind.custom {
        metadata["continue"] = json!("");
    }
    if let Some(last) = (count < fitting.len()).then(|| fitting[..count].last()).flatten() {
        let token = json!({"rv": world.store.version(), "namespace": namespace(last), "name": name(last)});
        metadata["continue"] = json!(STANDARD.encode(token.to_string()));
        metadata["remainingItemCount"] = json!(fitting.len() - count);
    }
    let items: Vec<Value> = fitting[..count]
        .iter()
        .map(|object| {
            let mut item = shown(resource, object);
            // The items of a list of built-in kinds do not say again what they are.
            if let Some(map) = item.as_object_mut().filter(|_| !resource.kind.custom) {
                map.remove("apiVersion");
                map.remove("kind");
            }
            item
        })
        .collect();
    Ok(Reply::ok(json!({
        "kind": format!("{}List", resource.kind.kind), "apiVersion": resource.api_version(),
        "metadata": metadata, "items": items,
    })))
}

fn resume(world: &World, token: &str) -> Result<(String, String), Refusal> {
    let broken = || Refusal::bad_request("continue key is not valid");
    let bytes = STANDARD.decode(token).map_err(|_| broken())?;
    let token: Value = serde_json::from_slice(&bytes).map_err(|_| broken())?;
    let version = token["rv"].as_u64().ok_or_else(broken)?;
    if world.store.changes_after(version).is_none() {
        return Err(Refusal::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results.",
        ));
    }
    let part = |key: &str| token[key].as_str().unwrap_or_default().to_owned();
    Ok((part("namespace"), part("name")))
}

pub(super) fn watch(world: &World, call: &Call, resource: Resource) -> Result<Reply, Refusal> {
    let filter = filter(call, &resource)?;
    let version = call.asked("resourceVersion");
    let from: Option<u64> = match version {
        "" | "0" => None,
        text => Some(text.parse().map_err(|_| {
            Refusal::bad_request(format!(
                "Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
            ))
        })?),
    };
    let initial = from.is_none() || call.asks("sendInitialEvents");
    let mut first = Vec::new();
    if initial {
        first.extend(
            world
                .store
                .list(resource.kind, &resource.namespace)
                .filter(|(_, object)| filter.admits(object))
                .map(|(_, object)| json!({"type": "ADDED", "object": shown(&resource, object)})),
        );
        if call.asks("sendInitialEvents") {
            let mut mark = bookmark(&resource, world.store.version());
            mark["object"]["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
            first.push(mark);
        }
    }
    Ok(Reply::Watch(Box::new(Watch {
        filter,
        first,
        after: if initial {
            world.store.version()
        } else {
            from.unwrap_or_default()
        },
        bookmarks: call.asks("allowWatchBookmarks"),
        timeout: call.asked("timeoutSeconds").parse().unwrap_or(0),
        resource,
    })))
}

/// An event that only says how far a watch has come.
pub(crate) fn bookmark(resource: &Resource, version: u64) -> Value {
    json!({"type": "BOOKMARK", "object": {
        "kind": resource.kind.kind, "apiVersion": resource.api_version(),
        "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null},
    }})
}

impl Watch {
    /// The events since the last look; a final `ERROR` where they are partly forgotten.
    pub(crate) fn events(&mut self, store: &Store) -> Result<Vec<Value>, Value> {
        let Some(changes) = store.changes_after(self.after) else {
            let message = format!("too old resource version: {} ({})", self.after, store.version());
            return Err(json!({"type": "ERROR", "object": Refusal::expired(message).status()}));
        };
        let events = changes.filter_map(|change| self.event(change)).collect();
        self.after = store.version();
        Ok(events)
    }

    fn event(&self, change: &Change) -> Option<Value> {
        let resource = &self.resource;
        let here = change.place.kind == resource.kind.qualified_plural()
            && (resource.namespace.is_empty() || change.place.namespace == resource.namespace);
        if !here {
            return None;
        }
        let admitted = |object: &Option<Arc<Value>>| {
            let object = object.as_deref().filter(|object| self.filter.admits(object));
            object.cloned()
        };
        let (kind, mut object) = match (admitted(&change.before), admitted(&change.after)) {
            (None, None) => return None,
            (None, Some(after)) => ("ADDED", after),
            (Some(_), Some(after)) => ("MODIFIED", after),
            (Some(before), None) => ("DELETED", before),
        };
        object["metadata"]["resourceVersion"] = json!(change.version.to_string());
        Some(json!({"type": kind, "object": shown(resource, &object)}))
    }
}
