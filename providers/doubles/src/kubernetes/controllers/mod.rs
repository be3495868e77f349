//! What the cluster does by itself, one look of every controller at a time.

pub(crate) mod autoscaler;
mod budget;
mod deployment;
mod endpoint;
mod garbage;
mod history;
mod replica_set;

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::kubernetes::kind::Kind;
use crate::kubernetes::nodes;
use crate::kubernetes::object::{items, name, namespace, place, stamp, text, uid};
use crate::kubernetes::world::World;

/// How long a controller takes to notice what another one did.
const TICK: SignedDuration = SignedDuration::from_millis(100);

/// One look of every controller.
fn look(world: &mut World) {
    garbage::collect(world);
    deployment::run(world);
    replica_set::run(world);
    nodes::schedule(world);
    nodes::run(world);
    endpoint::run(world);
    autoscaler::run(world);
    budget::run(world);
}

/// Lets so much of the cluster's own time pass. Where nothing changes, time jumps to what is due next.
pub(crate) fn advance(world: &mut World, time: Duration) {
    let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
    let end = world.now.checked_add(time).unwrap_or(world.now);
    loop {
        world.wake = None;
        let before = world.store.version();
        look(world);
        if world.now >= end {
            return;
        }
        let soon = world.now.checked_add(TICK).unwrap_or(end);
        let next = if world.store.version() == before {
            world.wake.unwrap_or(end).max(soon)
        } else {
            soon
        };
        world.now = next.min(end);
    }
}

impl World {
    /// Tells what happened to an object: type, reason, message; said again, it only counts.
    pub(crate) fn event(
        &mut self,
        kind: &Kind,
        about: &Value,
        (weight, reason, message): (&str, &str, &str),
        by: &str,
    ) {
        let now = stamp(self.now);
        let events = Kind::named("Event");
        let same = self
            .store
            .list(events, namespace(about))
            .find(|(_, event)| {
                text(event, "/involvedObject/uid") == uid(about)
                    && text(event, "/reason") == reason
                    && text(event, "/message") == message
            })
            .map(|(_, event)| event.clone());
        if let Some(mut event) = same {
            event["count"] = json!(event["count"].as_i64().unwrap_or(1) + 1);
            event["lastTimestamp"] = json!(now);
            self.store.put(place(events, &event), event);
            return;
        }
        let home = if namespace(about).is_empty() {
            "default"
        } else {
            namespace(about)
        }
        .to_owned();
        let called = format!("{}.{:x}", name(about), 0x18ab_0000_0000_u64 + self.next_serial());
        let mut event = json!({
            "metadata": {"name": called},
            "involvedObject": {
                "apiVersion": kind.api_version(), "kind": kind.kind, "name": name(about), "namespace": home,
                "uid": uid(about), "resourceVersion": about["metadata"]["resourceVersion"],
            },
            "type": weight, "reason": reason, "message": message, "reportingComponent": by, "reportingInstance": "",
        });
        if by == "default-scheduler" {
            // The scheduler alone speaks the newer form, without counts and with an instant of its own.
            event["eventTime"] = json!(self.now.to_string());
            event["action"] = json!(if reason == "Scheduled" { "Binding" } else { "Scheduling" });
            event["source"] = json!({});
        } else {
            event["count"] = json!(1);
            event["firstTimestamp"] = json!(now);
            event["lastTimestamp"] = json!(now);
            event["source"] = json!({"component": by});
            if by == "kubelet" {
                event["source"]["host"] = about["spec"]["nodeName"].clone();
            }
        }
        self.must_create("Event", &home, event);
    }
}

/// A list of conditions with one of them set; the instant of its last turn stays where its status does.
pub(crate) fn with_condition(status: &Value, kind: &str, is: &str, reason: &str, message: &str, now: &str) -> Value {
    let mut list: Vec<Value> = items(status, "/conditions").to_vec();
    let at = list.iter().position(|one| text(one, "/type") == kind);
    if let Some(same) = at.map(|at| &list[at])
        && text(same, "/status") == is
        && text(same, "/reason") == reason
        && text(same, "/message") == message
    {
        return Value::Array(list);
    }
    let turned = match at.map(|at| &list[at]) {
        Some(before) if text(before, "/status") == is => text(before, "/lastTransitionTime").to_owned(),
        _ => now.to_owned(),
    };
    let mut said = json!({"type": kind, "status": is, "lastTransitionTime": turned});
    for (key, value) in [("reason", reason), ("message", message)] {
        if !value.is_empty() {
            said[key] = json!(value);
        }
    }
    if matches!(kind, "Progressing" | "Available" | "ReplicaFailure") && status.get("updates").is_none() {
        said["lastUpdateTime"] = json!(now);
    }
    match at {
        Some(at) => list[at] = said,
        None => list.push(said),
    }
    Value::Array(list)
}
