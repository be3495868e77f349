//! Objects that are shared with others: read, changed in our own fields alone, stamped with the fence, and written under the
//! version that was read.
//!
//! Routes, ingresses and Services belong to their teams, and their lists (`http`, `rules`, `backendRefs`) have no keys that a
//! server-side apply could merge by: applying one item would take the whole list. So every change here is a replacement of the
//! object that was read, which the API server refuses when somebody was faster.

use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Fence;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{FENCE_ANNOTATION, OWNER_LABEL, Written};
use crate::api::Namespace;
use crate::api::resource::Resource;

/// How often an object is read again when somebody was faster, before the order is asked again as a whole.
const TRIES: usize = 3;
/// The API's bound for the part of an annotation's key after the `/`.
const KEY_NAME_MAX: usize = 63;

/// An annotation of this workload's on an object that several workloads may share, as in `meridian/fence.payments`.
pub fn key(word: &str, workload: &str) -> String {
    let (prefix, name) = word.split_once('/').unwrap_or(("meridian", word));
    let room = KEY_NAME_MAX.saturating_sub(name.len() + 1);
    if workload.len() <= room {
        return format!("{prefix}/{name}.{workload}");
    }
    // Two long names may begin alike.
    let digest = Sha256::digest(workload.as_bytes());
    let tail: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let head: String = workload.chars().take(room.saturating_sub(tail.len() + 1)).collect();
    format!("{prefix}/{name}.{head}-{tail}")
}

/// A name with a suffix, cut to a bound with a digest in place of what it loses: two long names may begin alike.
pub fn shortened(name: &str, suffix: &str, max: usize) -> String {
    let whole = format!("{name}-{suffix}");
    if whole.len() <= max {
        return whole;
    }
    let digest = Sha256::digest(name.as_bytes());
    let tail: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let room = max.saturating_sub(suffix.len() + tail.len() + 2);
    let head: String = name.chars().take(room).collect();
    let head = head.trim_end_matches(['-', '.']);
    format!("{head}-{tail}-{suffix}")
}

pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// Sets an annotation, or takes it away, and the empty map with it.
pub fn annotate(object: &mut Value, key: &str, value: Option<String>) {
    let metadata = map(member(object, "metadata"));
    match value {
        Some(value) => {
            map(metadata.entry("annotations").or_insert(Value::Null)).insert(key.to_owned(), Value::String(value));
        }
        None => {
            let Some(Value::Object(annotations)) = metadata.get_mut("annotations") else {
                return;
            };
            annotations.remove(key);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
}

/// What this workload remembers on an object; none where nothing, or nothing that can be read, is there.
pub fn memory(object: &Value, word: &str, workload: &str) -> Option<Value> {
    annotation(object, &key(word, workload)).and_then(|text| serde_json::from_str(text).ok())
}

pub fn remember(object: &mut Value, word: &str, workload: &str, value: Option<&Value>) {
    annotate(object, &key(word, workload), value.map(Value::to_string));
}

/// What tells a rule or route from its neighbours when others have put them into another order: its name, else what it matches.
pub fn identity(rule: &Value, matches: &str) -> String {
    match rule["name"].as_str() {
        Some(name) => name.to_owned(),
        None => {
            let said = rule.get(matches).map_or_else(String::new, Value::to_string);
            let digest = Sha256::digest(said.as_bytes());
            digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
        }
    }
}

/// What is remembered of several rules, each under its [`identity`] as `of`.
pub struct Memories(Vec<Value>);

impl Memories {
    pub fn of(remembered: Option<Value>) -> Memories {
        match remembered {
            Some(Value::Array(all)) => Memories(all),
            Some(_) | None => Memories(Vec::new()),
        }
    }

    /// The next memory of this rule; null where there is none.
    pub fn take(&mut self, identity: &str) -> Value {
        let at = self.0.iter().position(|memory| memory["of"] == identity);
        at.map_or(Value::Null, |at| self.0.remove(at))
    }
}

/// The fence of the newest order of this workload that changed the object.
pub fn fence(object: &Value, workload: &str) -> Option<Fence> {
    let text = annotation(object, &key(FENCE_ANNOTATION, workload))?;
    let mut parts = text.split('.').map(|part| part.parse::<u64>().ok());
    let fence = Fence {
        claim: parts.next()??,
        epoch: parts.next()??,
        seq: parts.next()??,
    };
    parts.next().is_none().then_some(fence)
}

/// Marks the object as changed by this order.
pub fn stamp(object: &mut Value, workload: &str, fence: Fence) {
    annotate(object, &key(FENCE_ANNOTATION, workload), Some(fence.to_string()));
}

/// Whether the object was made here for this workload.
pub fn is_ours(object: &Value, workload: &str) -> bool {
    let label = object
        .get("metadata")
        .and_then(|metadata| metadata.get("labels")?.get(OWNER_LABEL)?.as_str());
    label == Some(workload)
}

/// The object, which must exist.
pub async fn found(namespace: &Namespace, resource: &Resource, name: &str) -> Result<Value, Failure> {
    let object = namespace.get(resource, name).await?;
    object.ok_or_else(|| absent(namespace, resource, name))
}

/// An object that must exist and does not.
pub fn absent(namespace: &Namespace, resource: &Resource, name: &str) -> Failure {
    Failure::lasting(format!(
        "{} `{name}` does not exist in namespace `{}`",
        resource.kind,
        namespace.name()
    ))
}

/// A shape that is not understood, with the object's name.
pub fn unfit(resource: &Resource, name: &str, why: &str) -> Failure {
    Failure::lasting(format!("{} `{name}`: {why}", resource.kind))
}

/// Changes the object's own fields and stamps it. Where that changes nothing, nothing is written.
///
/// *Errors*: lasting where `edit` does not understand the object; transient where others change it all the time.
pub async fn rewrite(
    namespace: &Namespace,
    resource: &Resource,
    name: &str,
    order: (&str, Fence),
    edit: impl Fn(&mut Value) -> Result<(), String> + Send + Sync,
) -> Result<Written, Failure> {
    changed(namespace, resource, name, order, edit, Stamp::Always).await
}

/// As [`rewrite`], for what carries no traffic: an object that is as it should be is not stamped anew by every order.
pub async fn keep(
    namespace: &Namespace,
    resource: &Resource,
    name: &str,
    order: (&str, Fence),
    edit: impl Fn(&mut Value) -> Result<(), String> + Send + Sync,
) -> Result<Written, Failure> {
    changed(namespace, resource, name, order, edit, Stamp::WithChanges).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stamp {
    Always,
    WithChanges,
}

async fn changed(
    namespace: &Namespace,
    resource: &Resource,
    name: &str,
    (workload, order): (&str, Fence),
    edit: impl Fn(&mut Value) -> Result<(), String> + Send + Sync,
    when: Stamp,
) -> Result<Written, Failure> {
    for _ in 0..TRIES {
        let live = found(namespace, resource, name).await?;
        if let Some(theirs) = fence(&live, workload).filter(|theirs| *theirs > order) {
            return Ok(Written::Stale(theirs));
        }
        let mut wanted = live.clone();
        edit(&mut wanted).map_err(|why| unfit(resource, name, &why))?;
        if when == Stamp::Always || wanted != live {
            stamp(&mut wanted, workload, order);
        }
        if wanted == live {
            return Ok(Written::Already);
        }
        match namespace.replace(resource, name, &wanted).await {
            Ok(_) => return Ok(Written::Changed),
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::transient(format!(
        "{} `{name}` is being changed by others",
        resource.kind
    )))
}

/// Creates an object of our own, stamped.
///
/// *Errors*: transient where somebody was faster.
pub async fn create(
    namespace: &Namespace,
    resource: &Resource,
    mut object: Value,
    (workload, order): (&str, Fence),
) -> Result<Written, Failure> {
    stamp(&mut object, workload, order);
    match namespace.create(resource, &object).await {
        Ok(_) => Ok(Written::Changed),
        Err(error) if error.is_already_there() => Err(Failure::transient(format!(
            "{} was made by somebody else meanwhile",
            resource.kind
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Deletes an object that was made here; what others made, and what a newer order has changed, stays.
pub async fn remove(
    namespace: &Namespace,
    resource: &Resource,
    name: &str,
    (workload, order): (&str, Fence),
) -> Result<Written, Failure> {
    let Some(live) = namespace.get(resource, name).await? else {
        return Ok(Written::Already);
    };
    if !is_ours(&live, workload) {
        return Ok(Written::Already);
    }
    if let Some(theirs) = fence(&live, workload).filter(|theirs| *theirs > order) {
        return Ok(Written::Stale(theirs));
    }
    let uid = live.get("metadata").and_then(|metadata| metadata.get("uid")?.as_str());
    let existed = namespace.delete(resource, name, uid).await?;
    Ok(if existed { Written::Changed } else { Written::Already })
}

/// A member that is made where it is missing.
pub fn member<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    map(value).entry(name).or_insert(Value::Null)
}

/// The value as a map; what is none becomes an empty one.
pub fn map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it is an object or was made one above")
}

/// Sets a field, or takes it away.
pub fn put(value: &mut Value, field: &str, to: Option<Value>) {
    match to {
        Some(to) => map(value).insert(field.to_owned(), to),
        None => map(value).remove(field),
    };
}

/// A list, which must be one; a missing one is empty.
pub fn list<'a>(value: &'a Value, path: &[&str]) -> Result<&'a [Value], String> {
    let mut at = value;
    for name in path {
        at = match at.get(name) {
            Some(inner) => inner,
            None => return Ok(&[]),
        };
    }
    match at {
        Value::Array(items) => Ok(items),
        Value::Null => Ok(&[]),
        _ => Err(format!("`{}` is no list", path.join("."))),
    }
}

#[cfg(test)]
mod tests {
    use meridian_engine::ports::provider::Fence;
    use serde_json::json;

    use super::{annotate, fence, key, stamp};

    const FENCE: Fence = Fence {
        claim: 7,
        epoch: 2,
        seq: 19,
    };

    #[test]
    fn a_fence_is_read_as_it_was_stamped_and_per_workload() {
        let mut object = json!({"metadata": {"name": "x"}});
        stamp(&mut object, "payments", FENCE);
        assert_eq!(object["metadata"]["annotations"]["meridian/fence.payments"], "7.2.19");
        assert_eq!(fence(&object, "payments"), Some(FENCE));
        assert_eq!(fence(&object, "orders"), None);
        annotate(&mut object, &key("meridian/fence", "payments"), None);
        assert_eq!(object, json!({"metadata": {"name": "x"}}));
    }

    #[test]
    fn keys_of_long_names_stay_within_bounds_and_apart() {
        let (one, two) = ("a".repeat(63), format!("{}b", "a".repeat(62)));
        assert_ne!(key("meridian/fence", &one), key("meridian/fence", &two));
        assert_eq!(key("meridian/fence", &one).len(), "meridian/".len() + 63);
    }
}
