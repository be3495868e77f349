//! A deployment's replica sets: which is the newest, what revision each is, and which are kept.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{
    annotation, control_of, controller, int, is_controlled_by, is_deleting, map, name, namespace, place, set,
};
use crate::kubernetes::selector;
use crate::kubernetes::world::{Farewell, World};

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MOST: &str = "deployment.kubernetes.io/max-replicas";
const HASH: &str = "pod-template-hash";

/// The sets that a deployment controls, oldest first; sets that fit its selector and have no controller are adopted.
pub(super) fn sets_of(world: &mut World, deployment: &Value) -> Vec<Value> {
    let kind = Kind::named("ReplicaSet");
    let here: Vec<Arc<Value>> = world.objects("ReplicaSet", namespace(deployment));
    for orphan in here.iter().filter(|set| {
        controller(set).is_none()
            && !is_deleting(set)
            && selector::fits(deployment["spec"].get("selector"), &map(set, "/metadata/labels"))
    }) {
        let owner = control_of(Kind::named("Deployment"), deployment);
        world.modify(kind, orphan, |set| set["metadata"]["ownerReferences"] = owner);
    }
    let mut sets: Vec<Value> = world
        .objects("ReplicaSet", namespace(deployment))
        .into_iter()
        .filter(|set| is_controlled_by(set, deployment) && !is_deleting(set))
        .map(Arc::unwrap_or_clone)
        .collect();
    sets.sort_by_key(|set| {
        (
            set["metadata"]["creationTimestamp"].as_str().map(str::to_owned),
            revision(set),
        )
    });
    sets
}

pub(super) fn revision(object: &Value) -> i64 {
    annotation(object, REVISION)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// A template without the label that the controller itself adds.
fn bare(template: &Value) -> Value {
    let mut bare = template.clone();
    if let Some(labels) = bare.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH);
    }
    bare
}

/// The set whose template is the deployment's.
pub(super) fn newest<'a>(deployment: &Value, sets: &'a [Value]) -> Option<&'a Value> {
    let wanted = bare(&deployment["spec"]["template"]);
    sets.iter().find(|set| bare(&set["spec"]["template"]) == wanted)
}

/// The hash that tells a template's pods apart.
pub(super) fn template_hash(template: &Value, collisions: i64) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let digest = Sha256::digest(format!("{}/{collisions}", ordered(&bare(template))));
    digest
        .iter()
        .take(10)
        .map(|byte| LETTERS[usize::from(*byte) % LETTERS.len()] as char)
        .collect()
}

/// JSON with its keys in order, so that equal templates have equal texts.
fn ordered(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", ordered(value)))
                .collect();
            pairs.sort();
            format!("{{{}}}", pairs.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(ordered).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// What a set notes about its deployment: everybody's annotations but the client's own, the revision and the sizes.
pub(super) fn annotations(deployment: &Value, set: Option<&Value>, revision: i64, most: i64) -> Value {
    let mut notes = map(deployment, "/metadata/annotations");
    notes.retain(|key, _| {
        key != "kubectl.kubernetes.io/last-applied-configuration" && key != REVISION && key != DESIRED && key != MOST
    });
    if let Some(set) = set {
        for (key, value) in map(set, "/metadata/annotations") {
            notes.entry(key).or_insert(value);
        }
    }
    notes.insert(REVISION.to_owned(), json!(revision.to_string()));
    notes.insert(DESIRED.to_owned(), json!(int(deployment, "/spec/replicas").to_string()));
    notes.insert(MOST.to_owned(), json!(most.to_string()));
    Value::Object(notes)
}

/// The set for the deployment's present template, with the next revision: found, or made with that many pods.
pub(super) fn newest_made(
    world: &mut World,
    deployment: &Value,
    sets: &[Value],
    most: i64,
    size: i64,
) -> Option<(Value, bool)> {
    let kind = Kind::named("ReplicaSet");
    let found = newest(deployment, sets);
    let others = sets
        .iter()
        .filter(|set| found.is_none_or(|found| name(found) != name(set)));
    let next = others.map(revision).max().unwrap_or(0) + 1;
    if let Some(set) = found {
        let number = if revision(set) < next { next } else { revision(set) };
        let notes = annotations(deployment, Some(set), number, most);
        let ready = deployment["spec"].get("minReadySeconds").cloned();
        if set["metadata"].get("annotations") != Some(&notes) || set["spec"].get("minReadySeconds") != ready.as_ref() {
            world.modify(kind, set, |set| {
                set["metadata"]["annotations"] = notes;
                set["spec"]["minReadySeconds"] = ready.unwrap_or(serde_json::Value::Null);
                if set["spec"]["minReadySeconds"].is_null()
                    && let Some(spec) = set["spec"].as_object_mut()
                {
                    spec.remove("minReadySeconds");
                }
            });
        }
        number_deployment(world, deployment, number);
        return Some((world.store.get(&place(kind, set))?.clone(), false));
    }
    let set = make(world, deployment, next, most, size)?;
    number_deployment(world, deployment, next);
    Some((set, true))
}

fn make(world: &mut World, deployment: &Value, next: i64, most: i64, size: i64) -> Option<Value> {
    let kind = Kind::named("ReplicaSet");
    let hash = template_hash(
        &deployment["spec"]["template"],
        int(deployment, "/status/collisionCount"),
    );
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["labels"][HASH] = json!(hash);
    let mut wanted = deployment["spec"]["selector"].clone();
    wanted["matchLabels"][HASH] = json!(hash);
    let mut spec = json!({"replicas": size, "selector": wanted, "template": template});
    if let Some(ready) = deployment["spec"].get("minReadySeconds") {
        spec["minReadySeconds"] = ready.clone();
    }
    let set = json!({
        "metadata": {
            "name": format!("{}-{hash}", name(deployment)), "labels": spec["template"]["metadata"]["labels"],
            "annotations": annotations(deployment, None, next, most),
            "ownerReferences": control_of(Kind::named("Deployment"), deployment),
        },
        "spec": spec,
    });
    let writer = world.controller(kind, "");
    world.create(kind, namespace(deployment), set, &writer).ok()
}

/// Writes the revision as the real controller does: through the status, so that it is no new generation.
fn number_deployment(world: &mut World, deployment: &Value, number: i64) {
    let kind = Kind::named("Deployment");
    let Some(mut new) = world.store.get(&place(kind, deployment)).cloned() else {
        return;
    };
    if revision(&new) == number {
        return;
    }
    set(
        &mut new,
        &["metadata", "annotations", REVISION],
        json!(number.to_string()),
    );
    let writer = world.controller(kind, "status");
    let _ = world.update(kind, new, &writer);
}

/// Deletes the oldest sets without pods beyond what the history keeps.
pub(super) fn forget(world: &mut World, deployment: &Value, old: &[Value]) {
    let kind = Kind::named("ReplicaSet");
    let keep = usize::try_from(int(deployment, "/spec/revisionHistoryLimit")).unwrap_or(0);
    let mut empty: Vec<&Value> = old.iter().collect();
    empty.sort_by_key(|set| revision(set));
    let surplus = empty.len().saturating_sub(keep);
    for set in empty.into_iter().take(surplus) {
        let idle = int(set, "/spec/replicas") == 0
            && int(set, "/status/replicas") == 0
            && int(set, "/status/observedGeneration") >= int(set, "/metadata/generation");
        if idle {
            let _ = world.delete(kind, &place(kind, set), &Farewell::default());
        }
    }
}
