//! Horizontal autoscalers: a workload's size within its bounds, by the demand that a test sets.

use serde_json::{Value, json};

use crate::kubernetes::controllers::with_condition;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{holds, int, items, map, name, namespace, stamp, text};
use crate::kubernetes::selector;
use crate::kubernetes::world::World;

pub(super) fn run(world: &mut World) {
    for scaler in world.objects("HorizontalPodAutoscaler", "") {
        scale(world, &scaler);
    }
}

fn scale(world: &mut World, scaler: &Value) {
    let kind = Kind::named("HorizontalPodAutoscaler");
    let now = stamp(world.now);
    let target = match text(scaler, "/spec/scaleTargetRef/kind") {
        "Deployment" => Some(Kind::named("Deployment")),
        "ReplicaSet" => Some(Kind::named("ReplicaSet")),
        _ => None,
    };
    let called = text(scaler, "/spec/scaleTargetRef/name");
    let workload = target.and_then(|target| Some((target, world.get(target, namespace(scaler), called)?.clone())));
    let mut status = json!({"conditions": scaler["status"].get("conditions").cloned().unwrap_or_else(|| json!([]))});
    status["updates"] = json!(false);
    let Some((target, workload)) = workload else {
        status["currentReplicas"] = json!(0);
        status["desiredReplicas"] = json!(0);
        let said = format!(
            "the HPA controller was unable to get the target's current scale: deployments/scale.apps \"{called}\" not found"
        );
        status["conditions"] = with_condition(&status, "AbleToScale", "False", "FailedGetScale", &said, &now);
        return finish(world, kind, scaler, status);
    };
    let current = int(&workload, "/spec/replicas");
    let said = "the HPA controller was able to get the target's current scale";
    status["conditions"] = with_condition(&status, "AbleToScale", "True", "SucceededGetScale", said, &now);
    let wanted = if current == 0 {
        let said = "scaling is disabled since the replica count of the target is zero";
        status["conditions"] = with_condition(&status, "ScalingActive", "False", "ScalingDisabled", said, &now);
        0
    } else {
        desired(world, scaler, &workload, current, &mut status, &now)
    };
    status["currentReplicas"] = json!(int(&workload, "/status/replicas"));
    status["desiredReplicas"] = json!(wanted);
    if wanted == current {
        if let Some(last) = scaler["status"].get("lastScaleTime") {
            status["lastScaleTime"] = last.clone();
        }
    } else {
        status["lastScaleTime"] = json!(now);
        world.modify(target, &workload, |workload| {
            workload["spec"]["replicas"] = json!(wanted)
        });
        let said = format!(
            "New size: {wanted}; reason: {}",
            if wanted > current {
                "demand above target"
            } else {
                "All metrics below target"
            }
        );
        world.event(
            kind,
            scaler,
            ("Normal", "SuccessfulRescale", &said),
            "horizontal-pod-autoscaler",
        );
    }
    finish(world, kind, scaler, status);
}

fn finish(world: &mut World, kind: &'static Kind, scaler: &Value, mut status: Value) {
    if let Some(map) = status.as_object_mut() {
        map.remove("updates");
    }
    world.update_status(kind, scaler, status);
}

/// The size that demand asks for, within the bounds; without known demand the present one, within the bounds.
fn desired(world: &World, scaler: &Value, workload: &Value, current: i64, status: &mut Value, now: &str) -> i64 {
    let (least, most) = (
        int(scaler, "/spec/minReplicas").max(1),
        int(scaler, "/spec/maxReplicas"),
    );
    let ready = world
        .store
        .list(Kind::named("Pod"), namespace(scaler))
        .filter(|(_, pod)| {
            holds(pod, "Ready") && selector::fits(workload["spec"].get("selector"), &map(pod, "/metadata/labels"))
        })
        .count();
    let load = world
        .loads
        .get(&(namespace(scaler).to_owned(), name(scaler).to_owned()))
        .copied();
    let goal = items(scaler, "/spec/metrics")
        .iter()
        .find_map(|metric| metric.pointer("/resource/target/averageUtilization")?.as_i64())
        .unwrap_or(80);
    let asked = match load {
        Some(load) if ready > 0 => {
            let said = "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)";
            status["conditions"] = with_condition(status, "ScalingActive", "True", "ValidMetricFound", said, now);
            let ready = i64::try_from(ready).unwrap_or(1);
            let average = i64::from(load) / ready;
            status["currentMetrics"] = json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": average, "averageValue": "0"}}}]);
            // Within a tenth of the goal nothing is scaled.
            if (average - goal).abs() * 10 <= goal {
                current
            } else {
                (i64::from(load) + goal - 1) / goal.max(1)
            }
        }
        _ => {
            let said = "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)";
            status["conditions"] =
                with_condition(status, "ScalingActive", "False", "FailedGetResourceMetric", said, now);
            current
        }
    };
    asked.clamp(least, most.max(least))
}
