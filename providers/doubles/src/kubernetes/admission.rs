//! What admission does to objects before they are stored: namespaces, quotas, addresses, and a pod's surroundings.

use serde_json::{Value, json};

use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{is_deleting, items, map, name, namespace, text};
use crate::kubernetes::refusal::Refusal;
use crate::kubernetes::world::{World, told};
use crate::kubernetes::{behaviour, quantity};

/// Admits a new object, or refuses it; fills in what the cluster hands out.
pub(crate) fn admit_new(world: &mut World, kind: &Kind, object: &mut Value) -> Result<(), Refusal> {
    if kind.namespaced {
        let home = namespace(object).to_owned();
        let Some(stands) = world.get(Kind::named("Namespace"), "", &home) else {
            return Err(Refusal::not_found(Kind::named("Namespace"), &home));
        };
        if is_deleting(stands) {
            let why = format!("unable to create new content in namespace {home} because it is being terminated");
            let mut refusal = Refusal::forbidden(kind, name(object), &why);
            refusal.details["causes"] = json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {home} is being terminated"),
                "field": "metadata.namespace",
            }]);
            return Err(refusal);
        }
    }
    match kind.kind {
        "Pod" => surround(object),
        "Service" => allocate(world, object),
        _ => {}
    }
    quotas(world, kind, object)
}

/// Admits a change.
pub(crate) fn admit_change(_: &mut World, kind: &Kind, _: &Value, new: &mut Value) -> Result<(), Refusal> {
    if kind.kind == "Service"
        && text(new, "/spec/type") == "ExternalName"
        && let Some(spec) = new["spec"].as_object_mut()
    {
        for key in [
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        ] {
            spec.remove(key);
        }
    }
    Ok(())
}

/// The account, priority and tolerations that every pod gets.
fn surround(pod: &mut Value) {
    let spec = &mut pod["spec"];
    if text(spec, "/serviceAccountName").is_empty() {
        spec["serviceAccountName"] = json!("default");
        spec["serviceAccount"] = json!("default");
    }
    if spec.get("priority").is_none() {
        spec["priority"] = json!(0);
        spec["preemptionPolicy"] = json!("PreemptLowerPriority");
    }
    let mut tolerations = items(spec, "/tolerations").to_vec();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        if !tolerations.iter().any(|toleration| text(toleration, "/key") == key) {
            let seconds = 300;
            tolerations
                .push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}));
        }
    }
    spec["tolerations"] = Value::Array(tolerations);
    pod["status"] = json!({"phase": "Pending", "qosClass": quality(pod)});
}

fn quality(pod: &Value) -> &'static str {
    let sides: Vec<(bool, bool)> = items(pod, "/spec/containers")
        .iter()
        .flat_map(|container| {
            ["cpu", "memory"].map(|resource| {
                let (request, limit) = (
                    &container["resources"]["requests"][resource],
                    &container["resources"]["limits"][resource],
                );
                (
                    request.is_null() && limit.is_null(),
                    !limit.is_null() && request == limit,
                )
            })
        })
        .collect();
    if sides.iter().all(|(none, _)| *none) {
        "BestEffort"
    } else if sides.iter().all(|(_, full)| *full) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

fn allocate(world: &mut World, service: &mut Value) {
    let kind = text(service, "/spec/type").to_owned();
    if kind == "ExternalName" {
        return;
    }
    let spec = &mut service["spec"];
    if text(spec, "/clusterIP").is_empty() {
        let serial = world.next_serial();
        spec["clusterIP"] = json!(format!("10.96.{}.{}", (serial / 250) % 250, serial % 250 + 1));
    }
    spec["clusterIPs"] = json!([spec["clusterIP"]]);
    for (key, value) in [
        ("ipFamilies", json!(["IPv4"])),
        ("ipFamilyPolicy", json!("SingleStack")),
    ] {
        if spec.get(key).is_none() {
            spec[key] = value;
        }
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        for port in spec
            .get_mut("ports")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if port.get("nodePort").is_none() {
                port["nodePort"] = json!(30000 + world.next_serial() % 2767);
            }
        }
    }
    service["status"] = json!({"loadBalancer": {}});
}

/// What one object uses of a namespace's quotas, in thousandths.
pub(crate) fn usage(kind: &Kind, object: &Value) -> Vec<(String, i128)> {
    let plain = if kind.group.is_empty() {
        kind.plural.to_owned()
    } else {
        kind.qualified_plural()
    };
    let mut used = vec![(format!("count/{plain}"), 1000)];
    if kind.group.is_empty() {
        used.push((kind.plural.to_owned(), 1000));
    }
    if kind.kind == "Pod" {
        if matches!(text(object, "/status/phase"), "Succeeded" | "Failed") {
            return used[..1].to_vec();
        }
        for (side, resource) in [
            ("requests", "cpu"),
            ("requests", "memory"),
            ("limits", "cpu"),
            ("limits", "memory"),
        ] {
            let sum: i128 = items(object, "/spec/containers")
                .iter()
                .filter_map(|container| quantity::milli(container["resources"][side][resource].as_str()?))
                .sum();
            used.push((format!("{side}.{resource}"), sum));
            if side == "requests" {
                used.push((resource.to_owned(), sum));
            }
        }
    }
    used
}

fn quotas(world: &World, kind: &Kind, object: &Value) -> Result<(), Refusal> {
    let wanted = usage(kind, object);
    let words = behaviour::words(&world.nodes.rules, object);
    if kind.kind == "Pod" && (told(object).is_some() || !world.nodes.rules.is_empty()) && words.is_over_quota() {
        let why = "exceeded quota: klab, requested: pods=1, used: pods=0, limited: pods=0";
        return Err(Refusal::forbidden(kind, name(object), why));
    }
    if !kind.namespaced {
        return Ok(());
    }
    for (_, quota) in world.store.list(Kind::named("ResourceQuota"), namespace(object)) {
        let hard = map(quota, "/spec/hard");
        let mut over = Vec::new();
        for (resource, amount) in &wanted {
            let Some(limit) = hard.get(resource).and_then(Value::as_str).and_then(quantity::milli) else {
                continue;
            };
            let used: i128 = world
                .store
                .list(kind, namespace(object))
                .flat_map(|(_, other)| usage(kind, other))
                .filter(|(other, _)| other == resource)
                .map(|(_, amount)| amount)
                .sum();
            if *amount > 0 && used + amount > limit {
                over.push((resource, *amount, used, limit));
            }
        }
        if !over.is_empty() {
            let said = |which: fn(&(&String, i128, i128, i128)) -> i128| {
                let parts: Vec<String> = over
                    .iter()
                    .map(|one| format!("{}={}", one.0, quantity::said(which(one))))
                    .collect();
                parts.join(",")
            };
            let (requested, used, limited) = (said(|one| one.1), said(|one| one.2), said(|one| one.3));
            let quota = name(quota);
            let why = format!("exceeded quota: {quota}, requested: {requested}, used: {used}, limited: {limited}");
            return Err(Refusal::forbidden(kind, name(object), &why));
        }
    }
    Ok(())
}
