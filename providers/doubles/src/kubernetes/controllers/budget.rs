//! Disruption budgets and resource quotas: how much is left of each.

use serde_json::{Map, Value, json};

use crate::kubernetes::admission::usage;
use crate::kubernetes::controllers::deployment::scaled;
use crate::kubernetes::controllers::with_condition;
use crate::kubernetes::kind::{KINDS, Kind};
use crate::kubernetes::object::{controller, holds, int, is_deleting, map, namespace, stamp, text};
use crate::kubernetes::quantity;
use crate::kubernetes::selector;
use crate::kubernetes::world::World;

pub(super) fn run(world: &mut World) {
    for budget in world.objects("PodDisruptionBudget", "") {
        let status = standing(world, &budget);
        world.update_status(Kind::named("PodDisruptionBudget"), &budget, status);
    }
    for quota in world.objects("ResourceQuota", "") {
        let hard = map(&quota, "/spec/hard");
        let mut used = Map::new();
        for resource in hard.keys() {
            let sum: i128 = KINDS
                .iter()
                .filter(|kind| kind.namespaced)
                .flat_map(|kind| {
                    world
                        .store
                        .list(kind, namespace(&quota))
                        .flat_map(|(_, object)| usage(kind, object))
                })
                .filter(|(name, _)| name == resource)
                .map(|(_, amount)| amount)
                .sum();
            used.insert(resource.clone(), json!(quantity::said(sum)));
        }
        world.update_status(
            Kind::named("ResourceQuota"),
            &quota,
            json!({"hard": hard, "used": used}),
        );
    }
}

fn standing(world: &World, budget: &Value) -> Value {
    let pods: Vec<&Value> = world
        .store
        .list(Kind::named("Pod"), namespace(budget))
        .map(|(_, pod)| pod)
        .filter(|pod| selector::fits(budget["spec"].get("selector"), &map(pod, "/metadata/labels")))
        .filter(|pod| !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed"))
        .collect();
    let healthy = i64::try_from(
        pods.iter()
            .filter(|pod| holds(pod, "Ready") && !is_deleting(pod))
            .count(),
    )
    .unwrap_or(0);
    let expected = match budget["spec"].get("minAvailable") {
        Some(least) if least.is_i64() => i64::try_from(pods.len()).unwrap_or(0),
        _ => expected(world, &pods),
    };
    let wanted = match (budget["spec"].get("minAvailable"), budget["spec"].get("maxUnavailable")) {
        (Some(least), _) => scaled(least, expected, true),
        (None, Some(most)) => (expected - scaled(most, expected, true)).max(0),
        (None, None) => expected,
    };
    let allowed = if pods.is_empty() { 0 } else { (healthy - wanted).max(0) };
    let mut status = json!({
        "currentHealthy": healthy, "desiredHealthy": wanted, "expectedPods": expected, "disruptionsAllowed": allowed,
        "observedGeneration": budget["metadata"]["generation"], "updates": false,
        "conditions": budget["status"].get("conditions").cloned().unwrap_or_else(|| json!([])),
    });
    let (is, reason) = if allowed > 0 {
        ("True", "SufficientPods")
    } else {
        ("False", "InsufficientPods")
    };
    status["conditions"] = with_condition(&status, "DisruptionAllowed", is, reason, "", &stamp(world.now));
    if let Some(map) = status.as_object_mut() {
        map.remove("updates");
    }
    status
}

/// How many pods the owners of these pods want together.
fn expected(world: &World, pods: &[&Value]) -> i64 {
    let mut owners: Vec<&str> = pods
        .iter()
        .filter_map(|pod| controller(pod))
        .map(|owner| text(owner, "/uid"))
        .collect();
    owners.sort_unstable();
    owners.dedup();
    world
        .store
        .list(Kind::named("ReplicaSet"), pods.first().map_or("", |pod| namespace(pod)))
        .filter(|(_, set)| owners.contains(&text(set, "/metadata/uid")))
        .map(|(_, set)| int(set, "/spec/replicas"))
        .sum()
}
