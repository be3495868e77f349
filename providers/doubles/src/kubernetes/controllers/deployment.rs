//! Deployments: rolling from one replica set to the next within surge and unavailability, and saying how it goes.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::kubernetes::controllers::history::{self, DESIRED};
use crate::kubernetes::controllers::with_condition;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{
    annotation, condition, flag, instant, int, is_deleting, items, name, place, stamp, text,
};
use crate::kubernetes::world::World;

pub(super) fn run(world: &mut World) {
    for deployment in world.objects("Deployment", "") {
        if is_deleting(&deployment) {
            let status = with_observed(&deployment);
            world.update_status(Kind::named("Deployment"), &deployment, status);
        } else {
            roll(world, &deployment);
        }
    }
}

fn with_observed(deployment: &Value) -> Value {
    let mut status = deployment["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    status["observedGeneration"] = deployment["metadata"]["generation"].clone();
    status
}

/// How far a deployment may go beyond its size, and below it.
struct Bounds {
    wanted: i64,
    surge: i64,
    unavailable: i64,
}

impl Bounds {
    fn of(deployment: &Value) -> Self {
        let wanted = int(deployment, "/spec/replicas");
        let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
        if text(deployment, "/spec/strategy/type") != "RollingUpdate" {
            return Bounds {
                wanted,
                surge: 0,
                unavailable: 0,
            };
        }
        let surge = scaled(&rolling["maxSurge"], wanted, true);
        let mut unavailable = scaled(&rolling["maxUnavailable"], wanted, false);
        // Both may round to nothing; then one pod at a time may be missing.
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Bounds {
            wanted,
            surge,
            unavailable: unavailable.min(wanted),
        }
    }

    fn most(&self) -> i64 {
        self.wanted + self.surge
    }

    fn least(&self) -> i64 {
        self.wanted - self.unavailable
    }
}

/// A number, or a percentage of the size: surge rounds up, unavailability down.
pub(super) fn scaled(value: &Value, of: i64, up: bool) -> i64 {
    match value {
        Value::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            if up {
                (percent * of + 99) / 100
            } else {
                percent * of / 100
            }
        }
        other => other.as_i64().unwrap_or(0),
    }
}

fn size(set: &Value) -> i64 {
    int(set, "/spec/replicas")
}

fn available(set: &Value) -> i64 {
    int(set, "/status/availableReplicas")
}

fn roll(world: &mut World, deployment: &Value) {
    let sets = history::sets_of(world, deployment);
    let bounds = Bounds::of(deployment);
    if flag(deployment, "/spec/paused") {
        resize(world, deployment, &sets, &bounds);
        let sets = history::sets_of(world, deployment);
        return report(world, deployment, &sets, None);
    }
    let was_resized = sets.iter().filter(|set| size(set) > 0).any(|set| {
        annotation(set, DESIRED)
            .and_then(|noted| noted.parse::<i64>().ok())
            .is_some_and(|noted| noted != bounds.wanted)
    });
    if was_resized {
        resize(world, deployment, &sets, &bounds);
        let sets = history::sets_of(world, deployment);
        return report(world, deployment, &sets, None);
    }
    if text(deployment, "/spec/strategy/type") == "Recreate" {
        let old: Vec<&Value> = old_sets(deployment, &sets);
        let busy = old.iter().any(|set| size(set) > 0 || int(set, "/status/replicas") > 0);
        let leaving = old.iter().any(|set| int(set, "/status/terminatingReplicas") > 0);
        for set in &old {
            scale(world, deployment, set, 0);
        }
        if busy || leaving {
            let sets = history::sets_of(world, deployment);
            return report(world, deployment, &sets, None);
        }
    }
    let total: i64 = sets.iter().map(size).sum();
    let start = match text(deployment, "/spec/strategy/type") {
        "Recreate" => bounds.wanted,
        _ => (bounds.most() - total).clamp(0, bounds.wanted),
    };
    let made = history::newest_made(world, deployment, &sets, bounds.most(), start);
    let Some((newest, fresh)) = made else { return };
    if fresh && start > 0 {
        let said = format!("Scaled up replica set {} from 0 to {start}", name(&newest));
        let kind = Kind::named("Deployment");
        world.event(
            kind,
            deployment,
            ("Normal", "ScalingReplicaSet", &said),
            "deployment-controller",
        );
    }
    let sets = history::sets_of(world, deployment);
    let old: Vec<Value> = old_sets(deployment, &sets).into_iter().cloned().collect();
    if text(deployment, "/spec/strategy/type") == "Recreate" {
        scale(world, deployment, &newest, bounds.wanted);
    } else if !grow(world, deployment, &newest, &sets, &bounds) {
        shrink(world, deployment, &newest, &old, &bounds);
    }
    let sets = history::sets_of(world, deployment);
    let note = fresh.then(|| {
        (
            "NewReplicaSetCreated",
            format!("Created new replica set \"{}\"", name(&newest)),
        )
    });
    report(world, deployment, &sets, note);
    let now = world.store.get(&place(Kind::named("Deployment"), deployment)).cloned();
    if now.is_some_and(|now| is_complete(&now)) {
        let old: Vec<Value> = old_sets(deployment, &sets).into_iter().cloned().collect();
        history::forget(world, deployment, &old);
    }
}

fn old_sets<'a>(deployment: &Value, sets: &'a [Value]) -> Vec<&'a Value> {
    let newest = history::newest(deployment, sets).map(name);
    sets.iter().filter(|set| Some(name(set)) != newest).collect()
}

/// Gives the newest set as many pods as the surge allows; says whether it changed its size.
fn grow(world: &mut World, deployment: &Value, newest: &Value, sets: &[Value], bounds: &Bounds) -> bool {
    let total: i64 = sets.iter().map(size).sum();
    let now = size(newest);
    let next = if now > bounds.wanted {
        bounds.wanted
    } else {
        (now + (bounds.most() - total).max(0)).min(bounds.wanted)
    };
    scale(world, deployment, newest, next)
}

/// Takes pods from old sets: first those that do not serve anyway, then as many as the newest's available ones allow.
fn shrink(world: &mut World, deployment: &Value, newest: &Value, old: &[Value], bounds: &Bounds) {
    let total: i64 = old.iter().map(size).sum::<i64>() + size(newest);
    let missing = size(newest) - available(newest);
    let mut spare = total - bounds.least() - missing;
    if spare <= 0 || old.iter().all(|set| size(set) == 0) {
        return;
    }
    let mut sizes: Vec<i64> = old.iter().map(size).collect();
    for (at, set) in old.iter().enumerate() {
        let idle = (sizes[at] - available(set)).max(0).min(spare);
        sizes[at] -= idle;
        spare -= idle;
    }
    let serving: i64 = old.iter().map(available).sum::<i64>() + available(newest);
    let mut cut = serving - bounds.least();
    for left in &mut sizes {
        let less = (*left).min(cut.max(0));
        *left -= less;
        cut -= less;
    }
    for (set, size) in old.iter().zip(sizes) {
        scale(world, deployment, set, size);
    }
}

/// A change of the deployment's own size: all to the one active set, or to each its part.
fn resize(world: &mut World, deployment: &Value, sets: &[Value], bounds: &Bounds) {
    let active: Vec<&Value> = sets.iter().filter(|set| size(set) > 0).collect();
    let newest = history::newest(deployment, sets);
    if active.len() <= 1 {
        if let Some(set) = active.first().copied().or(newest) {
            if size(set) == bounds.wanted {
                note_sizes(world, deployment, set, bounds);
            } else {
                scale_noting(world, deployment, set, bounds.wanted, bounds);
            }
        }
        return;
    }
    let total: i64 = active.iter().map(|set| size(set)).sum();
    let allowed = if bounds.wanted > 0 { bounds.most() } else { 0 };
    let mut left = allowed - total;
    let mut ordered = active.clone();
    ordered.sort_by_key(|set| std::cmp::Reverse(size(set)));
    let mut sizes: Vec<i64> = Vec::new();
    for set in &ordered {
        let noted: i64 = annotation(set, "deployment.kubernetes.io/max-replicas")
            .and_then(|noted| noted.parse().ok())
            .unwrap_or(total)
            .max(1);
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
        let share = ((size(set) * allowed) as f64 / noted as f64).round() as i64 - size(set);
        let share = if left >= 0 {
            share.clamp(0, left)
        } else {
            share.clamp(left, 0)
        };
        left -= share;
        sizes.push((size(set) + share).max(0));
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + left).max(0);
    }
    for (set, next) in ordered.into_iter().zip(sizes) {
        scale_noting(world, deployment, set, next, bounds);
    }
}

fn note_sizes(world: &mut World, deployment: &Value, set: &Value, bounds: &Bounds) {
    let notes = history::annotations(deployment, Some(set), history::revision(set), bounds.most());
    if set["metadata"].get("annotations") != Some(&notes) {
        world.modify(Kind::named("ReplicaSet"), set, |set| {
            set["metadata"]["annotations"] = notes
        });
    }
}

fn scale_noting(world: &mut World, deployment: &Value, set: &Value, next: i64, bounds: &Bounds) {
    scale(world, deployment, set, next);
    note_sizes(world, deployment, set, bounds);
}

/// Sets a replica set's size; says whether that was a change.
fn scale(world: &mut World, deployment: &Value, set: &Value, next: i64) -> bool {
    let now = size(set);
    if now == next {
        return false;
    }
    world.modify(Kind::named("ReplicaSet"), set, |set| {
        set["spec"]["replicas"] = json!(next)
    });
    let way = if next > now { "up" } else { "down" };
    let said = format!("Scaled {way} replica set {} from {now} to {next}", name(set));
    let kind = Kind::named("Deployment");
    world.event(
        kind,
        deployment,
        ("Normal", "ScalingReplicaSet", &said),
        "deployment-controller",
    );
    true
}

/// Whether every pod is of the newest template and serves.
fn is_complete(deployment: &Value) -> bool {
    let wanted = int(deployment, "/spec/replicas");
    let is = |field: &str| int(deployment, &format!("/status/{field}")) == wanted;
    is("updatedReplicas")
        && is("replicas")
        && is("availableReplicas")
        && int(deployment, "/status/observedGeneration") >= int(deployment, "/metadata/generation")
}

fn report(world: &mut World, deployment: &Value, sets: &[Value], note: Option<(&str, String)>) {
    let kind = Kind::named("Deployment");
    let Some(now) = world.store.get(&place(kind, deployment)).cloned() else {
        return;
    };
    let newest = history::newest(&now, sets);
    let sum = |field: &str| {
        sets.iter()
            .map(|set| int(set, &format!("/status/{field}")))
            .sum::<i64>()
    };
    let (total, serving) = (sum("replicas"), sum("availableReplicas"));
    let bounds = Bounds::of(&now);
    let mut status = json!({"observedGeneration": deployment["metadata"]["generation"]});
    let counts = [
        ("replicas", total),
        ("updatedReplicas", newest.map_or(0, |set| int(set, "/status/replicas"))),
        ("readyReplicas", sum("readyReplicas")),
        ("availableReplicas", serving),
        (
            "unavailableReplicas",
            (sets.iter().map(size).sum::<i64>() - serving).max(0),
        ),
    ];
    for (key, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        status[key] = json!(count);
    }
    status["terminatingReplicas"] = json!(sum("terminatingReplicas"));
    status["conditions"] = now["status"].get("conditions").cloned().unwrap_or_else(|| json!([]));
    let at = stamp(world.now);
    let enough = serving >= bounds.least();
    let (is, reason, said) = if enough {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    status["conditions"] = with_condition(&status, "Available", is, reason, said, &at);
    progress(world, &now, &mut status, newest, note, &at);
    failure(&mut status, sets, &at);
    world.update_status(kind, &now, status);
}

/// Copies a set's failure to make pods, or takes it back.
fn failure(status: &mut Value, sets: &[Value], at: &str) {
    let failed = sets.iter().find_map(|set| condition(set, "ReplicaFailure"));
    match failed {
        Some(failed) => {
            let (reason, said) = (text(failed, "/reason"), text(failed, "/message"));
            status["conditions"] = with_condition(status, "ReplicaFailure", "True", reason, said, at);
        }
        None => {
            if let Some(list) = status["conditions"].as_array_mut() {
                list.retain(|one| text(one, "/type") != "ReplicaFailure");
            }
        }
    }
}

/// The condition `Progressing`, with its deadline.
fn progress(
    world: &mut World,
    before: &Value,
    status: &mut Value,
    newest: Option<&Value>,
    note: Option<(&str, String)>,
    at: &str,
) {
    let said = |verb: &str| match newest {
        Some(set) => format!("ReplicaSet \"{}\" {verb}", name(set)),
        None => format!("Deployment \"{}\" {verb}", name(before)),
    };
    if flag(before, "/spec/paused") {
        let paused = "Deployment is paused";
        status["conditions"] = with_condition(status, "Progressing", "Unknown", "DeploymentPaused", paused, at);
        return;
    }
    let last = condition(before, "Progressing").cloned();
    let reason = last
        .as_ref()
        .map(|last| text(last, "/reason").to_owned())
        .unwrap_or_default();
    if reason == "DeploymentPaused" {
        let resumed = "Deployment is resumed";
        status["conditions"] = with_condition(status, "Progressing", "Unknown", "DeploymentResumed", resumed, at);
        return;
    }
    if let Some((reason, text)) = note {
        status["conditions"] = with_condition(status, "Progressing", "True", reason, &text, at);
        return;
    }
    let mut after = before.clone();
    after["status"] = status.clone();
    if is_complete(&after) {
        if reason != "NewReplicaSetAvailable" || is_other_set(last.as_ref(), newest) {
            let text = said("has successfully progressed.");
            status["conditions"] = with_condition(status, "Progressing", "True", "NewReplicaSetAvailable", &text, at);
        }
        return;
    }
    if has_progressed(before, status) {
        touch(status, &said("is progressing."), at);
        watch_deadline(world, before, status);
        return;
    }
    // What once stood complete does not time out when a pod of it falls ill later.
    if reason == "NewReplicaSetAvailable" || reason == "ProgressDeadlineExceeded" || last.is_none() {
        return;
    }
    if watch_deadline(world, before, status) {
        let text = said("has timed out progressing.");
        status["conditions"] = with_condition(status, "Progressing", "False", "ProgressDeadlineExceeded", &text, at);
    }
}

fn is_other_set(last: Option<&Value>, newest: Option<&Value>) -> bool {
    newest.is_some_and(|set| last.is_some_and(|last| !text(last, "/message").contains(&format!("\"{}\"", name(set)))))
}

fn has_progressed(before: &Value, status: &Value) -> bool {
    let (old, new) = (&before["status"], status);
    let more = |field: &str| int(new, &format!("/{field}")) > int(old, &format!("/{field}"));
    let stale = |of: &Value| int(of, "/replicas") - int(of, "/updatedReplicas");
    more("updatedReplicas") || more("readyReplicas") || more("availableReplicas") || stale(new) < stale(old)
}

/// Notes progress: the condition's last update is now, its turn only where it was not true.
fn touch(status: &mut Value, said: &str, at: &str) {
    let kept: Vec<Value> = items(status, "/conditions").to_vec();
    let turned = kept
        .iter()
        .find(|one| text(one, "/type") == "Progressing" && text(one, "/status") == "True")
        .map_or(at, |one| text(one, "/lastTransitionTime"))
        .to_owned();
    let mut list: Vec<Value> = kept
        .into_iter()
        .filter(|one| text(one, "/type") != "Progressing")
        .collect();
    list.push(json!({
        "type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "message": said,
        "lastUpdateTime": at, "lastTransitionTime": turned,
    }));
    status["conditions"] = Value::Array(list);
}

/// Whether the deadline has passed since the last progress; asks for a look at the instant where it will have.
fn watch_deadline(world: &mut World, before: &Value, status: &Value) -> bool {
    let after = json!({"status": status});
    let Some(since) = condition(&after, "Progressing").and_then(|one| instant(one, "/lastUpdateTime")) else {
        return false;
    };
    let deadline = SignedDuration::from_secs(int(before, "/spec/progressDeadlineSeconds"));
    let Ok(due) = since.checked_add(deadline) else {
        return false;
    };
    if due < world.now {
        return true;
    }
    world.wake_at(due.checked_add(SignedDuration::from_secs(1)).unwrap_or(due));
    false
}
