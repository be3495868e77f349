//! Carries out one step, under the versions of the objects that it was decided from.

use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Fence;
use serde_json::{Value, json};

use crate::api::error::Error;
use crate::api::resource::{AUTOSCALERS, DEPLOYMENTS, DISRUPTION_BUDGETS};
use crate::api::{Namespace, Patch};
use crate::cloud::text;
use crate::copy;
use crate::plan::{Act, FLOOR_MEMORY, View};
use crate::record::{Original, Record};
use crate::settings::{IntOrPercent, Rolling, Strategy};
use crate::traffic::{FENCE_ANNOTATION, Written};
use crate::workload::Workload;

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// The world may have changed: read it again.
    Yes,
    /// Somebody was faster: read again, decide again.
    Overtaken,
    /// An object carries this higher fence.
    Stale(Fence),
}

/// Carries out one step.
pub async fn carry_out(namespace: &Namespace, view: &View<'_>, act: &Act) -> Result<Done, Failure> {
    let world = view.world;
    let original = world.original.name();
    let written = match act {
        Act::Remember(record) => {
            let patch = json!({"metadata": {
                "resourceVersion": world.original.resource_version(),
                "annotations": record.annotations(view.fence),
            }});
            namespace.patch(&DEPLOYMENTS, original, Patch::Merge, &patch).await
        }
        Act::Image { image, record } => {
            let patch = rolled(view, image, record);
            namespace.patch(&DEPLOYMENTS, original, Patch::Strategic, &patch).await
        }
        Act::ScaleOriginal(replicas) => {
            let patch = scaled(&world.original, *replicas, view.fence);
            namespace.patch(&DEPLOYMENTS, original, Patch::Merge, &patch).await
        }
        Act::ScaleCopy(replicas) => {
            let Some(copy) = &world.copy else {
                return Ok(Done::Overtaken);
            };
            if let Some(stale) = higher(copy, view.fence)? {
                return Ok(Done::Stale(stale));
            }
            let patch = scaled(copy, *replicas, view.fence);
            namespace.patch(&DEPLOYMENTS, copy.name(), Patch::Merge, &patch).await
        }
        Act::Stand { replicas, placement } => {
            if let Some(copy) = &world.copy
                && let Some(stale) = higher(copy, view.fence)?
            {
                return Ok(Done::Stale(stale));
            }
            let wish = view.wish(*replicas, *placement);
            let mut object = copy::deployment(&world.original, &view.settings.candidate, &wish);
            if let Some(copy) = &world.copy {
                object["metadata"]["resourceVersion"] = json!(copy.resource_version());
            }
            let name = copy::name(original, &view.settings.candidate);
            namespace.patch(&DEPLOYMENTS, &name, Patch::Apply, &object).await
        }
        Act::Autoscale(bounds) => {
            let Some(of) = &world.autoscaler else {
                return Ok(Done::Overtaken);
            };
            let object = copy::autoscaler(of, original, &view.settings.candidate, *bounds, view.fence);
            let name = copy::name(original, &view.settings.candidate);
            namespace.patch(&AUTOSCALERS, &name, Patch::Apply, &object).await
        }
        Act::Shield { pods } => {
            let Some(of) = &world.budget else {
                return Ok(Done::Overtaken);
            };
            let object = copy::budget(
                of,
                original,
                &view.settings.candidate,
                *pods,
                view.record.total,
                view.fence,
            );
            let name = copy::name(original, &view.settings.candidate);
            namespace.patch(&DISRUPTION_BUDGETS, &name, Patch::Apply, &object).await
        }
        Act::Split(split) => {
            let Some(mechanism) = view.mechanism else {
                return Ok(Done::Overtaken);
            };
            let written = mechanism.write(namespace, &world.arms, split, view.fence).await?;
            return Ok(done(written));
        }
        Act::Floor { least, memory } => {
            let Some(autoscaler) = &world.autoscaler else {
                return Ok(Done::Overtaken);
            };
            let memory = memory.and_then(|memory| serde_json::to_string(&memory).ok());
            let patch = json!({
                "metadata": {
                    "resourceVersion": autoscaler["metadata"]["resourceVersion"],
                    "annotations": {FLOOR_MEMORY: memory},
                },
                "spec": {"minReplicas": least},
            });
            let name = text(autoscaler, "/metadata/name");
            namespace.patch(&AUTOSCALERS, name, Patch::Merge, &patch).await
        }
        Act::RemoveCopy => return remove(namespace, view).await,
    };
    settled(written)
}

/// The Deployment goes last: while it stands, the rest is known to be owed.
async fn remove(namespace: &Namespace, view: &View<'_>) -> Result<Done, Failure> {
    let world = view.world;
    if let Some(copy) = &world.copy
        && let Some(stale) = higher(copy, view.fence)?
    {
        return Ok(Done::Stale(stale));
    }
    for (resource, object) in [
        (&AUTOSCALERS, &world.copy_autoscaler),
        (&DISRUPTION_BUDGETS, &world.copy_budget),
    ] {
        if let Some(object) = object.as_ref().filter(|object| is_ours(object, world.original.name())) {
            let name = object
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let uid = object.pointer("/metadata/uid").and_then(Value::as_str);
            if let Done::Overtaken = settled(namespace.delete(resource, name, uid).await.map(|_| Value::Null))? {
                return Ok(Done::Overtaken);
            }
        }
    }
    match &world.copy {
        Some(copy) => {
            let deleted = namespace.delete(&DEPLOYMENTS, copy.name(), Some(copy.uid())).await;
            settled(deleted.map(|_| Value::Null))
        }
        None => Ok(Done::Yes),
    }
}

fn is_ours(object: &Value, workload: &str) -> bool {
    object
        .pointer("/metadata/labels")
        .and_then(|labels| labels[crate::traffic::OWNER_LABEL].as_str())
        == Some(workload)
}

/// The fence on the copy, where it is higher than this order's.
fn higher(copy: &Workload, fence: Fence) -> Result<Option<Fence>, Failure> {
    Ok(copy.fence()?.filter(|found| *found > fence))
}

fn scaled(workload: &Workload, replicas: u32, fence: Fence) -> Value {
    json!({
        "metadata": {
            "resourceVersion": workload.resource_version(),
            "annotations": {FENCE_ANNOTATION: fence.to_string()},
        },
        "spec": {"replicas": replicas},
    })
}

/// The original's new image with its memory, in one patch: neither is ever there without the other.
fn rolled(view: &View<'_>, image: &str, record: &Record) -> Value {
    let original = &view.world.original;
    let container = json!({"name": original.container_name(), "image": image});
    let mut spec = json!({"template": {"spec": {"containers": [container]}}});
    match (&view.settings.strategy, record.original) {
        (Strategy::Rolling(rolling), Original::Promoted) => set_pace(&mut spec, rolling),
        (Strategy::Rolling(_), Original::Restored | Original::Untouched) => give_back_pace(&mut spec, record),
        (Strategy::Canary(_) | Strategy::BlueGreen(_), _) => {}
    }
    json!({
        "metadata": {"resourceVersion": original.resource_version(), "annotations": record.annotations(view.fence)},
        "spec": spec,
    })
}

/// The pace that was found goes with the image that was found.
fn give_back_pace(spec: &mut Value, record: &Record) {
    for (key, value) in record.pace.as_ref().and_then(Value::as_object).into_iter().flatten() {
        spec[key] = value.clone();
    }
    // Another type of strategy has no bounds, and a merge would leave ours beside it.
    if let Some(strategy) = spec.get_mut("strategy").and_then(Value::as_object_mut) {
        strategy.entry("rollingUpdate").or_insert(Value::Null);
    }
}

fn set_pace(spec: &mut Value, rolling: &Rolling) {
    let bounds = [
        ("maxSurge", &rolling.max_surge),
        ("maxUnavailable", &rolling.max_unavailable),
    ];
    let bounds: serde_json::Map<String, Value> = bounds
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value.as_ref().map(IntOrPercent::value)?)))
        .collect();
    if !bounds.is_empty() {
        spec["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": bounds});
    }
    let seconds = [
        ("minReadySeconds", rolling.min_ready_seconds),
        ("progressDeadlineSeconds", rolling.progress_deadline_seconds),
    ];
    for (key, value) in seconds {
        if let Some(value) = value {
            spec[key] = json!(value);
        }
    }
}

fn done(written: Written) -> Done {
    match written {
        Written::Already | Written::Changed => Done::Yes,
        Written::Stale(fence) => Done::Stale(fence),
    }
}

fn settled(written: Result<Value, Error>) -> Result<Done, Failure> {
    match written {
        Ok(_) => Ok(Done::Yes),
        // What somebody has deleted meanwhile is missing at the next look, and that decides.
        Err(error) if error.is_conflict() || error.is_missing_object() => Ok(Done::Overtaken),
        Err(error) => Err(error.into()),
    }
}
