//! What the server offers: versions, groups, resources, and whether it is well.

use serde_json::{Value, json};

use crate::kubernetes::call::Call;
use crate::kubernetes::kind::{KINDS, Kind};
use crate::kubernetes::serve::Reply;
use crate::kubernetes::world::World;

pub(super) fn answer(world: &World, call: &Call) -> Option<Reply> {
    let parts: Vec<&str> = call.path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["healthz" | "readyz" | "livez"] => Some(Reply::Text {
            code: 200,
            body: "ok".to_owned(),
        }),
        ["version"] => Some(Reply::ok(json!({
            "major": "1", "minor": "36", "gitVersion": "v1.36.2", "gitCommit": "0", "gitTreeState": "clean",
            "buildDate": "2026-06-01T00:00:00Z", "goVersion": "go1.26", "compiler": "gc", "platform": "linux/amd64",
        }))),
        ["api"] => Some(Reply::ok(json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"}],
        }))),
        ["apis"] => {
            let mut groups: Vec<&str> = kinds(world)
                .map(|kind| kind.group)
                .filter(|group| !group.is_empty())
                .collect();
            groups.push("authorization.k8s.io");
            groups.dedup();
            let groups: Vec<Value> = groups.into_iter().map(|name| group(world, name)).collect();
            Some(Reply::ok(
                json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}),
            ))
        }
        ["apis", name] => kinds(world).any(|kind| kind.group == *name).then(|| {
            let mut found = group(world, name);
            found["kind"] = json!("APIGroup");
            found["apiVersion"] = json!("v1");
            Reply::ok(found)
        }),
        ["api", version] => resources(world, "", version),
        ["apis", group, version] => resources(world, group, version),
        _ => None,
    }
}

/// Whether the path is below a group of the server: what is missing there is missing in JSON, not as a page.
pub(super) fn knows_group(world: &World, call: &Call) -> bool {
    let parts: Vec<&str> = call.path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["api", _, _, ..] => true,
        ["apis", group, _, _, ..] => kinds(world).any(|kind| kind.group == *group),
        _ => false,
    }
}

fn kinds(world: &World) -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(|kind| world.serves(kind))
}

fn group(world: &World, name: &str) -> Value {
    let mut versions: Vec<&str> = kinds(world)
        .filter(|kind| kind.group == name)
        .flat_map(|kind| kind.versions)
        .copied()
        .collect();
    versions.dedup();
    if versions.is_empty() {
        versions.push("v1");
    }
    let said = |version: &str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    json!({
        "name": name, "versions": versions.iter().rev().map(|version| said(version)).collect::<Vec<_>>(),
        "preferredVersion": said(versions.last().copied().unwrap_or("v1")),
    })
}

fn resources(world: &World, group: &str, version: &str) -> Option<Reply> {
    let verbs = json!([
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch"
    ]);
    let mut list = Vec::new();
    for kind in kinds(world).filter(|kind| kind.group == group && kind.versions.contains(&version)) {
        list.push(json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": verbs,
        }));
        let mut part = |name: &str, of: &str, verbs: Value| {
            list.push(json!({
                "name": format!("{}/{name}", kind.plural), "singularName": "", "namespaced": kind.namespaced,
                "kind": of, "verbs": verbs,
            }));
        };
        if kind.status {
            part("status", kind.kind, json!(["get", "patch", "update"]));
        }
        if kind.scale {
            part("scale", "Scale", json!(["get", "patch", "update"]));
        }
        if kind.kind == "Pod" {
            part("log", "Pod", json!(["get"]));
            part("eviction", "Eviction", json!(["create"]));
        }
    }
    if list.is_empty() {
        return None;
    }
    let said = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    Some(Reply::ok(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": said, "resources": list}),
    ))
}
