//! Horizontal autoscalers: a workload's size within its bounds, by the demand that a test sets.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::kubernetes::controllers::with_condition;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{holds, int, items, map, name, namespace, stamp, text, uid};
use crate::kubernetes::selector;
use crate::kubernetes::world::World;

/// How often each autoscaler is looked at; a new one, for the first time after so long.
const SYNC: SignedDuration = SignedDuration::from_secs(15);
/// Pods are taken away only where nothing within this time asked for more.
const STABILISED: SignedDuration = SignedDuration::from_secs(300);

/// What the controller knows of one autoscaler, which no object shows.
#[derive(Debug)]
pub(crate) struct Memory {
    due: Timestamp,
    /// Sizes that demand asked for lately, before the bounds.
    asked: Vec<(Timestamp, i64)>,
}

pub(super) fn run(world: &mut World) {
    let scalers = world.objects("HorizontalPodAutoscaler", "");
    world
        .scalers
        .retain(|of, _| scalers.iter().any(|scaler| uid(scaler) == of));
    for scaler in scalers {
        let now = world.now;
        let memory = world.scalers.entry(uid(&scaler).to_owned()).or_insert_with(|| Memory {
            due: later(now),
            asked: Vec::new(),
        });
        let is_due = memory.due <= now;
        if is_due {
            memory.due = later(now);
        }
        let due = memory.due;
        world.wake_at(due);
        if is_due {
            scale(world, &scaler);
        }
    }
}

fn later(now: Timestamp) -> Timestamp {
    now.checked_add(SYNC).unwrap_or(now)
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
fn desired(world: &mut World, scaler: &Value, workload: &Value, current: i64, status: &mut Value, now: &str) -> i64 {
    let (least, most) = (
        int(scaler, "/spec/minReplicas").max(1),
        int(scaler, "/spec/maxReplicas"),
    );
    if current < least || current > most {
        // Out of bounds, demand is not asked for.
        return current.clamp(least, most.max(least));
    }
    let pods: Vec<bool> = world
        .store
        .list(Kind::named("Pod"), namespace(scaler))
        .filter(|(_, pod)| selector::fits(workload["spec"].get("selector"), &map(pod, "/metadata/labels")))
        .map(|(_, pod)| holds(pod, "Ready"))
        .collect();
    let all = i64::try_from(pods.len()).unwrap_or(i64::MAX);
    let ready = i64::try_from(pods.iter().filter(|is_ready| **is_ready).count()).unwrap_or(i64::MAX);
    let load = world
        .loads
        .get(&(namespace(scaler).to_owned(), name(scaler).to_owned()))
        .copied();
    let goal = items(scaler, "/spec/metrics")
        .iter()
        .find_map(|metric| metric.pointer("/resource/target/averageUtilization")?.as_i64())
        .unwrap_or(80)
        .max(1);
    let Some(load) = load.map(i64::from).filter(|_| ready > 0) else {
        let said = "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)";
        status["conditions"] = with_condition(status, "ScalingActive", "False", "FailedGetResourceMetric", said, now);
        return current;
    };
    let said = "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)";
    status["conditions"] = with_condition(status, "ScalingActive", "True", "ValidMetricFound", said, now);
    let average = load / ready;
    status["currentMetrics"] = json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": average, "averageValue": "0"}}}]);
    let asked = asked(load, goal, ready, all, current);
    // Pods come at most twofold, or four at once.
    stabilised(world, scaler, current, asked)
        .min(current + current.max(4))
        .clamp(least, most)
}

/// The size that a load asks for. Pods that are not ready yet count as idle where more are asked for, and not at all where fewer are.
fn asked(load: i64, goal: i64, ready: i64, all: i64, current: i64) -> i64 {
    let asked = (load + goal - 1) / goal;
    // Within a tenth of the goal nothing is scaled.
    let is_near = |pods: i64| (load - goal * pods).abs() * 10 <= goal * pods;
    if is_near(ready) {
        return current;
    }
    let counts_unready = load > goal * ready && all > ready;
    if counts_unready && (is_near(all) || asked < current) {
        return current;
    }
    asked
}

/// The most that was asked for lately: what is asked for at first is what there is.
fn stabilised(world: &mut World, scaler: &Value, current: i64, asked: i64) -> i64 {
    let now = world.now;
    let Some(memory) = world.scalers.get_mut(uid(scaler)) else {
        return asked;
    };
    if memory.asked.is_empty() {
        memory.asked.push((now, current));
    }
    memory.asked.retain(|(at, _)| now.duration_since(*at) < STABILISED);
    memory.asked.push((now, asked));
    memory.asked.iter().map(|(_, asked)| *asked).max().unwrap_or(asked)
}
