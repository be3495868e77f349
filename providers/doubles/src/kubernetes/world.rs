//! A cluster's whole state, and the way every write takes: defaults, ownership, validation, versions.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::kubernetes::admission;
use crate::kubernetes::defaults;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::managed::{self, Writer};
use crate::kubernetes::nodes::Nodes;
use crate::kubernetes::object::{annotation, is_deleting, items, name, place, set, stamp, text, uid};
use crate::kubernetes::refusal::{Cause, Refusal};
use crate::kubernetes::store::{Place, Store};
use crate::kubernetes::validate;

/// What of a `generateName` is kept: with five letters more it is a name that labels may have.
const PREFIX_MAX: usize = 58;

/// Everything that a cluster is, behind one lock.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) name: String,
    pub(crate) now: Timestamp,
    pub(crate) store: Store,
    /// What the machines under the pods know and do.
    pub(crate) nodes: Nodes,
    /// When a controller wants to look again although nothing changes.
    pub(crate) wake: Option<Timestamp>,
    /// Demand on each autoscaler's pods, by namespace and name.
    pub(crate) loads: std::collections::BTreeMap<(String, String), u32>,
    /// What the controller of autoscalers knows of each, by its UID.
    pub(crate) scalers: std::collections::BTreeMap<String, crate::kubernetes::controllers::autoscaler::Memory>,
    /// Groups whose kinds are not installed.
    pub(crate) absent: crate::kubernetes::Absent,
    serial: u64,
}

/// How an object shall go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Farewell {
    pub(crate) grace: Option<i64>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    /// `Background`, `Foreground` or `Orphan`; empty: background.
    pub(crate) policy: String,
}

impl World {
    pub(crate) fn new(name: &str, now: Timestamp) -> Self {
        let mut world = World {
            name: name.to_owned(),
            now,
            store: Store::new(),
            nodes: Nodes::default(),
            wake: None,
            loads: std::collections::BTreeMap::new(),
            scalers: std::collections::BTreeMap::new(),
            absent: crate::kubernetes::Absent::new(),
            serial: 0,
        };
        for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            world.must_create("Namespace", "", json!({"metadata": {"name": namespace}}));
        }
        crate::kubernetes::nodes::register(&mut world);
        world
    }

    /// The writer that a controller of the cluster is.
    pub(crate) fn controller(&self, kind: &Kind, subresource: &'static str) -> Writer {
        Writer {
            manager: "kube-controller-manager".to_owned(),
            api_version: kind.api_version(),
            subresource,
            time: stamp(self.now),
        }
    }

    /// Creates what the cluster itself needs. What is refused (a name that grew too long, a namespace on its way out) is
    /// left aside, as a controller would that tries again later.
    pub(crate) fn must_create(&mut self, kind: &str, namespace: &str, object: Value) {
        let kind = Kind::named(kind);
        let writer = self.controller(kind, "");
        let _ = self.create(kind, namespace, object, &writer);
    }

    /// Asks for another look at this instant at the latest.
    pub(crate) fn wake_at(&mut self, at: Timestamp) {
        if at > self.now && self.wake.is_none_or(|wake| at < wake) {
            self.wake = Some(at);
        }
    }

    pub(crate) fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<&Value> {
        self.store.get(&Place::new(kind, namespace, name))
    }

    /// The objects of a kind as they stand now, in one namespace or in all (empty name).
    pub(crate) fn objects(&self, kind: &str, namespace: &str) -> Vec<Arc<Value>> {
        self.store
            .shared(Kind::named(kind), namespace)
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    /// A number that never comes twice, for names and addresses.
    pub(crate) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn new_uid(&mut self) -> String {
        let serial = self.next_serial();
        let digest = Sha256::digest(format!("{}/{serial}/uid", self.name));
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!(
            "{}-{}-4{}-8{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[13..16],
            &hex[17..20],
            &hex[20..32]
        )
    }

    /// Five letters after a dash, as generated names end.
    pub(crate) fn suffix(&mut self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let serial = self.next_serial();
        let digest = Sha256::digest(format!("{}/{serial}/name", self.name));
        digest
            .iter()
            .take(5)
            .map(|byte| LETTERS[usize::from(*byte) % LETTERS.len()] as char)
            .collect()
    }

    /// Creates an object.
    ///
    /// # Errors
    /// What the API server refuses: invalid, already there, no such namespace, no quota left.
    pub(crate) fn create(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        object: Value,
        writer: &Writer,
    ) -> Result<Value, Refusal> {
        let made = self.prepare_new(kind, namespace, object, |shape, bare, new| {
            managed::update(shape, bare, new, writer);
            Ok(())
        })?;
        Ok(self.store.put(place(kind, &made), made))
    }

    /// Everything that creation does but the storing: also what a dry run answers.
    pub(crate) fn prepare_new(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        mut object: Value,
        own: impl FnOnce(&crate::kubernetes::schema::Shape, &Value, &mut Value) -> Result<(), Refusal>,
    ) -> Result<Value, Refusal> {
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        if !text(&object, "/metadata/resourceVersion").is_empty() {
            let message = "resourceVersion should not be set on objects to be created".to_owned();
            return Err(Refusal {
                code: 500,
                reason: "",
                message,
                details: Value::Null,
            });
        }
        object["apiVersion"] = match object["apiVersion"].as_str() {
            Some(version) if kind.versions.iter().any(|known| kind.api_version_at(known) == version) => json!(version),
            _ => json!(kind.api_version()),
        };
        object["kind"] = json!(kind.kind);
        if kind.namespaced {
            object["metadata"]["namespace"] = json!(namespace);
        }
        if kind.status
            && let Some(map) = object.as_object_mut()
        {
            map.remove("status");
        }
        let prefix: String = text(&object, "/metadata/generateName")
            .chars()
            .take(PREFIX_MAX)
            .collect();
        if name(&object).is_empty() && !prefix.is_empty() {
            object["metadata"]["name"] = json!(format!("{prefix}{}", self.suffix()));
        }
        object["metadata"]["uid"] = json!(self.new_uid());
        object["metadata"]["creationTimestamp"] = json!(stamp(self.now));
        for key in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "selfLink",
        ] {
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove(key);
            }
        }
        if kind.generation {
            object["metadata"]["generation"] = json!(1);
        }
        defaults::fill(kind, &mut object);
        own(&kind.shape(), &defaults::bare(kind), &mut object)?;
        admission::admit_new(self, kind, &mut object)?;
        let causes = validate::new(kind, &object);
        if !causes.is_empty() {
            return Err(Refusal::invalid(kind, name(&object), &causes));
        }
        if self.store.get(&place(kind, &object)).is_some() {
            return Err(Refusal::already_exists(kind, name(&object)));
        }
        Ok(object)
    }

    /// Replaces an object, or one of its parts where the writer came through a subresource.
    ///
    /// # Errors
    /// What the API server refuses: a stale version, an immutable field, an invalid value.
    pub(crate) fn update(&mut self, kind: &'static Kind, object: Value, writer: &Writer) -> Result<Value, Refusal> {
        let place = place(kind, &object);
        let Some(old) = self.store.get(&place).cloned() else {
            return Err(Refusal::not_found(kind, &place.name));
        };
        let new = self.prepare_change(kind, &old, object, writer.subresource, |shape, old, new| {
            managed::update(shape, old, new, writer);
            Ok(())
        })?;
        Ok(self.commit(kind, &old, new))
    }

    /// Everything that an update does but the storing.
    pub(crate) fn prepare_change(
        &mut self,
        kind: &'static Kind,
        old: &Value,
        mut new: Value,
        subresource: &str,
        own: impl FnOnce(&crate::kubernetes::schema::Shape, &Value, &mut Value) -> Result<(), Refusal>,
    ) -> Result<Value, Refusal> {
        let sent_uid = text(&new, "/metadata/uid");
        if !sent_uid.is_empty() && sent_uid != uid(old) {
            // Two checks of the real server find it, and it says it twice.
            let cause = Cause::invalid("metadata.uid", &json!(sent_uid), "field is immutable");
            return Err(Refusal::invalid(kind, name(old), &[cause.clone(), cause]));
        }
        let sent = text(&new, "/metadata/resourceVersion");
        if sent.is_empty() && kind.custom {
            let cause = Cause::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
            return Err(Refusal::invalid_as(
                &kind.qualified_plural(),
                kind.group,
                kind.plural,
                name(old),
                &[cause],
            ));
        }
        if !sent.is_empty() && sent != text(old, "/metadata/resourceVersion") {
            return Err(Refusal::modified(kind, name(old)));
        }
        keep_what_the_server_owns(kind, old, &mut new, subresource);
        defaults::fill(kind, &mut new);
        defaults::carry(kind, old, &mut new);
        own(&kind.shape(), old, &mut new)?;
        keep_what_the_server_owns(kind, old, &mut new, subresource);
        admission::admit_change(self, kind, old, &mut new)?;
        let causes = validate::change(kind, old, &new, subresource);
        if !causes.is_empty() {
            return Err(Refusal::invalid(kind, name(old), &causes));
        }
        if kind.generation && subresource != "status" && wanted(kind, old) != wanted(kind, &new) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
            new["metadata"]["generation"] = json!(generation + 1);
        }
        Ok(new)
    }

    /// Stores a prepared change, unless it changes nothing; an object whose last finalizer went goes with it.
    pub(crate) fn commit(&mut self, kind: &Kind, old: &Value, mut new: Value) -> Value {
        let place = place(kind, old);
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        if is_deleting(&new)
            && items(&new, "/metadata/finalizers").is_empty()
            && items(&new, "/spec/finalizers").is_empty()
            && !matches!(kind.kind, "Pod")
        {
            self.store.put(place.clone(), new);
            return self.store.remove(&place).unwrap_or(Value::Null);
        }
        if new == *old { new } else { self.store.put(place, new) }
    }

    /// Changes the status of an object in place, as its controller does; nothing happens where it is gone.
    pub(crate) fn update_status(&mut self, kind: &'static Kind, object: &Value, status: Value) {
        if object.get("status") == Some(&status) {
            return;
        }
        let Some(mut new) = self.store.get(&place(kind, object)).cloned() else {
            return;
        };
        new["status"] = status;
        let writer = self.controller(kind, "status");
        let _ = self.update(kind, new, &writer);
    }

    /// Changes an object through its controller, by a function on a copy of how it stands now.
    pub(crate) fn modify(&mut self, kind: &'static Kind, object: &Value, change: impl FnOnce(&mut Value)) {
        let Some(mut new) = self.store.get(&place(kind, object)).cloned() else {
            return;
        };
        change(&mut new);
        let writer = self.controller(kind, "");
        let _ = self.update(kind, new, &writer);
    }

    /// Begins or ends an object's life's end: the object as it stands, or as it stood when it went at once.
    ///
    /// # Errors
    /// 404 where it is not there, 409 where a precondition does not hold.
    pub(crate) fn delete(
        &mut self,
        kind: &'static Kind,
        place: &Place,
        farewell: &Farewell,
    ) -> Result<(Value, bool), Refusal> {
        let Some(mut object) = self.store.get(place).cloned() else {
            return Err(Refusal::not_found(kind, &place.name));
        };
        self.check_preconditions(kind, &object, farewell)?;
        let before = object.clone();
        set_finalizers(&mut object, &farewell.policy);
        let held = !items(&object, "/metadata/finalizers").is_empty() || kind.kind == "Namespace";
        let grace = match kind.kind {
            "Pod" if !held_by_a_machine(&object) => 0,
            "Pod" => farewell.grace.unwrap_or_else(|| {
                object
                    .pointer("/spec/terminationGracePeriodSeconds")
                    .and_then(Value::as_i64)
                    .unwrap_or(30)
            }),
            _ => 0,
        };
        if !held && grace <= 0 {
            let mut last = self.store.remove(place).unwrap_or(object);
            if kind.kind == "Pod" {
                last["metadata"]["deletionTimestamp"] = json!(stamp(self.now));
                last["metadata"]["deletionGracePeriodSeconds"] = json!(0);
                last["metadata"]["generation"] = json!(last["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
            }
            return Ok((last, true));
        }
        let sooner = before
            .pointer("/metadata/deletionGracePeriodSeconds")
            .and_then(Value::as_i64)
            .is_none_or(|left| kind.kind == "Pod" && grace < left);
        if sooner {
            let ends = self
                .now
                .checked_add(jiff::SignedDuration::from_secs(grace))
                .unwrap_or(self.now);
            object["metadata"]["deletionTimestamp"] = json!(stamp(ends));
            if kind.kind != "Namespace" {
                object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
            }
            if let Some(generation) = object["metadata"]["generation"].as_i64() {
                object["metadata"]["generation"] = json!(generation + 1);
            }
            if kind.kind == "Namespace" {
                set(&mut object, &["status", "phase"], json!("Terminating"));
            }
        }
        if object != before {
            object = self.store.put(place.clone(), object);
        }
        Ok((object, false))
    }

    fn check_preconditions(&self, kind: &Kind, object: &Value, farewell: &Farewell) -> Result<(), Refusal> {
        let refused = |why: String| {
            let about = kind.qualified_kind();
            let mut details = json!({"name": name(object), "kind": kind.kind});
            if !kind.group.is_empty() {
                details["group"] = json!(kind.group);
            }
            let message = format!("Operation cannot be fulfilled on {about} \"{}\": {why}", name(object));
            Err(Refusal {
                code: 409,
                reason: "Conflict",
                message,
                details,
            })
        };
        if let Some(wanted) = farewell.uid.as_deref().filter(|wanted| *wanted != uid(object)) {
            return refused(format!(
                "the UID in the precondition ({wanted}) does not match the UID in record ({}). The object might have been deleted and then recreated",
                uid(object)
            ));
        }
        let version = text(object, "/metadata/resourceVersion");
        if let Some(wanted) = farewell.resource_version.as_deref().filter(|wanted| *wanted != version) {
            return refused(format!(
                "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). The object might have been modified"
            ));
        }
        Ok(())
    }
}

/// Whether a machine has the pod, so that its containers must be stopped first.
fn held_by_a_machine(pod: &Value) -> bool {
    !text(pod, "/spec/nodeName").is_empty() && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

fn set_finalizers(object: &mut Value, policy: &str) {
    let mut list: Vec<Value> = items(object, "/metadata/finalizers").to_vec();
    let wanted = match policy {
        "Orphan" => Some("orphan"),
        "Foreground" => Some("foregroundDeletion"),
        _ => None,
    };
    if is_deleting(object) && wanted.is_none() {
        return;
    }
    list.retain(|finalizer| finalizer != "orphan" && finalizer != "foregroundDeletion");
    list.extend(wanted.map(|finalizer| json!(finalizer)));
    if list.is_empty() {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("finalizers");
        }
    } else {
        object["metadata"]["finalizers"] = Value::Array(list);
    }
}

/// What counts as wanted for `metadata.generation`.
fn wanted(kind: &Kind, object: &Value) -> Value {
    let mut wanted = object.clone();
    if let Some(map) = wanted.as_object_mut() {
        let annotations = map["metadata"].get("annotations").cloned();
        map.retain(|key, _| !matches!(key.as_str(), "metadata" | "apiVersion" | "kind"));
        if kind.status {
            map.remove("status");
        }
        if kind.kind == "Deployment" {
            map.insert("annotations".to_owned(), annotations.unwrap_or(Value::Null));
        }
    }
    wanted
}

/// What no writer may change: identity, the instants of birth and death, and the parts that other subresources write.
fn keep_what_the_server_owns(kind: &Kind, old: &Value, new: &mut Value, subresource: &str) {
    for key in [
        "uid",
        "name",
        "namespace",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "selfLink",
    ] {
        match old["metadata"].get(key).cloned() {
            Some(value) => new["metadata"][key] = value,
            None => {
                if let Some(metadata) = new["metadata"].as_object_mut() {
                    metadata.remove(key);
                }
            }
        }
    }
    new["kind"] = old["kind"].clone();
    if !kind.custom {
        new["apiVersion"] = old["apiVersion"].clone();
    }
    if !kind.status {
        return;
    }
    let Some(map) = new.as_object_mut() else { return };
    let kept: Vec<&String> = match old.as_object() {
        Some(old) if subresource == "status" => old
            .keys()
            .filter(|key| !matches!(key.as_str(), "status" | "metadata"))
            .collect(),
        Some(old) => old.keys().filter(|key| *key == "status").collect(),
        None => Vec::new(),
    };
    if subresource != "status" {
        map.remove("status");
    }
    for key in kept {
        map.insert(key.clone(), old[key].clone());
    }
    if subresource == "status" {
        match old["metadata"].get("labels") {
            Some(labels) => map["metadata"]["labels"] = labels.clone(),
            None => {
                if let Some(metadata) = map["metadata"].as_object_mut() {
                    metadata.remove("labels");
                }
            }
        }
    }
}

/// The words that tell the machines what a pod shall do, where the pod itself says it.
pub(crate) fn told(pod: &Value) -> Option<&str> {
    annotation(pod, "klab/do")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::World;
    use crate::kubernetes::kind::Kind;
    use crate::kubernetes::object::name;

    #[test]
    fn what_names_are_generated_from_is_cut_so_that_they_stay_labels() {
        let mut world = World::new("test", Timestamp::UNIX_EPOCH);
        let kind = Kind::named("Service");
        let writer = world.controller(kind, "");
        for length in [57, 58, 59, 200] {
            let object = json!({"metadata": {"generateName": "a".repeat(length)}, "spec": {"ports": [{"port": 80}]}});
            let made = world.create(kind, "default", object, &writer).unwrap();
            assert_eq!(name(&made).len(), length.min(58) + 5, "{}", name(&made));
        }
    }
}
