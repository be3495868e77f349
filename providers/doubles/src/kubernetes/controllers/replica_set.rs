//! Replica sets keep as many pods as they are told to.

use serde_json::{Map, Value, json};

use crate::kubernetes::controllers::with_condition;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{
    condition, control_of, controller, holds, instant, int, is_controlled_by, is_deleting, items, map, name, namespace,
    place, stamp, text,
};
use crate::kubernetes::selector;
use crate::kubernetes::world::{Farewell, World};

pub(super) fn run(world: &mut World) {
    for set in world.objects("ReplicaSet", "") {
        if !is_deleting(&set) {
            keep(world, &set);
        }
    }
}

/// The pods of a set that still count: neither finished nor on their way out.
fn pods_of(world: &World, set: &Value) -> (Vec<Value>, usize) {
    let mine: Vec<Value> = world
        .store
        .list(Kind::named("Pod"), namespace(set))
        .map(|(_, pod)| pod)
        .filter(|pod| is_controlled_by(pod, set) && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed"))
        .cloned()
        .collect();
    let leaving = mine.iter().filter(|pod| is_deleting(pod)).count();
    (mine.into_iter().filter(|pod| !is_deleting(pod)).collect(), leaving)
}

fn keep(world: &mut World, set: &Value) {
    adopt(world, set);
    let (mut pods, _) = pods_of(world, set);
    let wanted = usize::try_from(int(set, "/spec/replicas")).unwrap_or(0);
    let mut refused = None;
    if pods.len() < wanted {
        for _ in pods.len()..wanted {
            if let Err(why) = grow(world, set) {
                refused = Some(why);
                break;
            }
        }
    } else if pods.len() > wanted {
        pods.sort_by_key(rank);
        let surplus = pods.len() - wanted;
        for pod in pods.drain(..surplus) {
            let kind = Kind::named("Pod");
            let gone = world.delete(kind, &place(kind, &pod), &Farewell::default());
            if gone.is_ok() {
                let said = format!("Deleted pod: {}", name(&pod));
                let set_kind = Kind::named("ReplicaSet");
                world.event(
                    set_kind,
                    set,
                    ("Normal", "SuccessfulDelete", &said),
                    "replicaset-controller",
                );
            }
        }
    }
    report(world, set, refused);
}

/// Takes pods that fit the selector and that nobody controls.
fn adopt(world: &mut World, set: &Value) {
    let kind = Kind::named("Pod");
    let orphans: Vec<Value> = world
        .store
        .list(kind, namespace(set))
        .map(|(_, pod)| pod)
        .filter(|pod| controller(pod).is_none() && !is_deleting(pod))
        .filter(|pod| selector::fits(set["spec"].get("selector"), &map(pod, "/metadata/labels")))
        .cloned()
        .collect();
    for pod in orphans {
        let owner = control_of(Kind::named("ReplicaSet"), set);
        world.modify(kind, &pod, |pod| pod["metadata"]["ownerReferences"] = owner);
    }
    let released: Vec<Value> = world
        .store
        .list(kind, namespace(set))
        .map(|(_, pod)| pod)
        .filter(|pod| is_controlled_by(pod, set) && !is_deleting(pod))
        .filter(|pod| !selector::fits(set["spec"].get("selector"), &map(pod, "/metadata/labels")))
        .cloned()
        .collect();
    for pod in released {
        world.modify(kind, &pod, |pod| pod["metadata"]["ownerReferences"] = json!([]));
    }
}

fn grow(world: &mut World, set: &Value) -> Result<(), String> {
    let kind = Kind::named("Pod");
    let set_kind = Kind::named("ReplicaSet");
    let template = &set["spec"]["template"];
    let mut metadata = json!({
        "generateName": format!("{}-", name(set)), "labels": template["metadata"]["labels"],
        "ownerReferences": control_of(set_kind, set),
    });
    if let Some(annotations) = template["metadata"].get("annotations") {
        metadata["annotations"] = annotations.clone();
    }
    let pod = json!({"metadata": metadata, "spec": template["spec"]});
    let writer = world.controller(kind, "");
    match world.create(kind, namespace(set), pod, &writer) {
        Ok(pod) => {
            let said = format!("Created pod: {}", name(&pod));
            world.event(
                set_kind,
                set,
                ("Normal", "SuccessfulCreate", &said),
                "replicaset-controller",
            );
            Ok(())
        }
        Err(refusal) => {
            if condition(set, "ReplicaFailure").is_none_or(|before| !same_refusal(before, &refusal.message)) {
                let said = format!("Error creating: {}", refusal.message);
                world.event(
                    set_kind,
                    set,
                    ("Warning", "FailedCreate", &said),
                    "replicaset-controller",
                );
            }
            Err(refusal.message)
        }
    }
}

/// Two refusals about pods of one set are the same but for the names that were made up for the pods.
fn same_refusal(before: &Value, message: &str) -> bool {
    let tail = |text: &str| text.split_once(" is ").map(|(_, tail)| tail.to_owned());
    tail(text(before, "/message")) == tail(message)
}

/// Which pods go first: without a machine, not running, not ready, cheaper, younger.
fn rank(pod: &Value) -> (bool, u8, bool, i64, i64, std::cmp::Reverse<i64>) {
    let phase = match text(pod, "/status/phase") {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    };
    let cost = crate::kubernetes::object::annotation(pod, "controller.kubernetes.io/pod-deletion-cost")
        .and_then(|cost| cost.parse::<i64>().ok())
        .unwrap_or(0);
    let restarts: i64 = items(pod, "/status/containerStatuses")
        .iter()
        .map(|one| int(one, "/restartCount"))
        .sum();
    let born = instant(pod, "/metadata/creationTimestamp").map_or(0, |born| born.as_second());
    let bound = !text(pod, "/spec/nodeName").is_empty();
    (
        bound,
        phase,
        holds(pod, "Ready"),
        cost,
        -restarts,
        std::cmp::Reverse(born),
    )
}

/// Whether a pod has been ready long enough; asks for another look where it has not.
fn is_available(world: &mut World, pod: &Value, least: i64) -> bool {
    let Some(since) = condition(pod, "Ready")
        .filter(|ready| text(ready, "/status") == "True")
        .and_then(|ready| instant(ready, "/lastTransitionTime"))
    else {
        return false;
    };
    let due = since
        .checked_add(jiff::SignedDuration::from_secs(least))
        .unwrap_or(since);
    if least == 0 || due <= world.now {
        return true;
    }
    world.wake_at(due);
    false
}

fn report(world: &mut World, set: &Value, refused: Option<String>) {
    let (pods, leaving) = pods_of(world, set);
    let labels: Map<String, Value> = map(set, "/spec/template/metadata/labels");
    let least = int(set, "/spec/minReadySeconds");
    let labelled = pods
        .iter()
        .filter(|pod| {
            labels
                .iter()
                .all(|(key, value)| map(pod, "/metadata/labels").get(key) == Some(value))
        })
        .count();
    let ready = pods.iter().filter(|pod| holds(pod, "Ready")).count();
    let available = pods.iter().filter(|pod| is_available(world, pod, least)).count();
    let mut status = json!({"replicas": pods.len(), "observedGeneration": set["metadata"]["generation"]});
    let counts = [
        ("fullyLabeledReplicas", labelled),
        ("readyReplicas", ready),
        ("availableReplicas", available),
        ("terminatingReplicas", leaving),
    ];
    for (key, count) in counts {
        if count > 0 || key == "terminatingReplicas" {
            status[key] = json!(count);
        }
    }
    let mut conditions = match set["status"].get("conditions") {
        Some(before) => json!({"conditions": before, "updates": false}),
        None => json!({"updates": false}),
    };
    match refused {
        Some(why) if condition(set, "ReplicaFailure").is_none_or(|before| !same_refusal(before, &why)) => {
            let now = stamp(world.now);
            conditions["conditions"] =
                with_condition(&conditions, "ReplicaFailure", "True", "FailedCreate", &why, &now);
        }
        Some(_) => {}
        None => {
            let left: Vec<Value> = items(&conditions, "/conditions")
                .iter()
                .filter(|one| text(one, "/type") != "ReplicaFailure")
                .cloned()
                .collect();
            conditions["conditions"] = Value::Array(left);
        }
    }
    if !items(&conditions, "/conditions").is_empty() {
        status["conditions"] = conditions["conditions"].clone();
    }
    world.update_status(Kind::named("ReplicaSet"), set, status);
}
