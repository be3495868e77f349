//! The three patches that change a document: JSON patch, merge patch, and the strategic merge patch of built-in kinds.

use serde_json::{Map, Value};

use crate::kubernetes::refusal::Refusal;
use crate::kubernetes::schema::{Merge, Shape};

/// RFC 7386: nulls remove, maps merge, everything else replaces.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// RFC 6902.
///
/// # Errors
/// 422 where a test fails or a place is not there, 400 where the patch is no patch.
pub(crate) fn json_patch(target: &mut Value, patch: &Value) -> Result<(), Refusal> {
    let Some(operations) = patch.as_array() else {
        return Err(Refusal::bad_request(
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch",
        ));
    };
    for operation in operations {
        let path = operation["path"].as_str().unwrap_or_default();
        let value = || operation.get("value").cloned().unwrap_or(Value::Null);
        let from = || operation["from"].as_str().unwrap_or_default();
        let done = match operation["op"].as_str().unwrap_or_default() {
            "add" => add(target, path, value()),
            "remove" => take(target, path).map(|_| ()),
            "replace" => match target.pointer_mut(path) {
                Some(at) => {
                    *at = value();
                    Some(())
                }
                None => None,
            },
            "test" => match target.pointer(path).unwrap_or(&Value::Null) == &value() {
                true => Some(()),
                false => return Err(unprocessable()),
            },
            "move" => take(target, from()).and_then(|moved| add(target, path, moved)),
            "copy" => target
                .pointer(from())
                .cloned()
                .and_then(|copied| add(target, path, copied)),
            _ => return Err(unprocessable()),
        };
        if done.is_none() {
            return Err(unprocessable());
        }
    }
    Ok(())
}

/// The server does not say which operation failed, or why.
fn unprocessable() -> Refusal {
    Refusal {
        code: 422,
        reason: "Invalid",
        message: "the server rejected our request due to an error in our request".to_owned(),
        details: Value::Object(Map::new()),
    }
}

fn split(path: &str) -> Option<(&str, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *target = value;
        return Some(());
    }
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent)? {
        Value::Object(map) => {
            map.insert(last, value);
        }
        Value::Array(items) => {
            let at = if last == "-" {
                items.len()
            } else {
                last.parse().ok().filter(|at| *at <= items.len())?
            };
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn take(target: &mut Value, path: &str) -> Option<Value> {
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent)? {
        Value::Object(map) => map.remove(&last),
        Value::Array(items) => {
            let at: usize = last.parse().ok().filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        _ => None,
    }
}

/// A merge patch that knows which lists are keyed, with its `$patch`, `$deleteFromPrimitiveList/…` and `$retainKeys`.
pub(crate) fn strategic(shape: &Shape, target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if patch.get("$patch").and_then(Value::as_str) == Some("replace") {
        let mut whole = patch.clone();
        whole.remove("$patch");
        *target = Value::Object(whole);
        return;
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else { return };
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        map.retain(|key, _| kept.iter().any(|kept| kept == key));
    }
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(items), Some(gone)) = (map.get_mut(list).and_then(Value::as_array_mut), value.as_array()) {
                items.retain(|item| !gone.contains(item));
            }
        } else if key.starts_with('$') {
            // `$setElementOrder/…` orders what the merge keeps in the live order; `$retainKeys` was served above.
        } else if value.is_null() {
            map.remove(key);
        } else {
            let below = shape.child(key).unwrap_or(Shape::Any);
            strategic_value(&below, map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

fn strategic_value(shape: &Shape, target: &mut Value, patch: &Value) {
    match (shape, patch) {
        (
            Shape::List {
                item,
                merge: Merge::Keys(keys),
            },
            Value::Array(changes),
        ) => {
            let Some(key) = keys.first() else { return };
            strategic_list(item, key, target, changes);
        }
        (Shape::List { merge: Merge::Set, .. }, Value::Array(added)) if target.is_array() => {
            if let Some(items) = target.as_array_mut() {
                for value in added {
                    if !items.contains(value) {
                        items.push(value.clone());
                    }
                }
            }
        }
        (_, Value::Object(_)) => strategic(shape, target, patch),
        _ => *target = patch.clone(),
    }
}

fn strategic_list(item: &Shape, key: &str, target: &mut Value, changes: &[Value]) {
    let directive = |change: &Value| change.get("$patch").and_then(Value::as_str).map(str::to_owned);
    if changes
        .iter()
        .any(|change| directive(change).as_deref() == Some("replace") && change.get(key).is_none())
    {
        let kept = changes
            .iter()
            .filter(|change| directive(change).is_none())
            .cloned()
            .collect();
        *target = Value::Array(kept);
        return;
    }
    if !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    let Some(items) = target.as_array_mut() else { return };
    let before = items.clone();
    let place = |list: &[Value], one: &Value| {
        list.iter()
            .position(|item| item.get(key).is_some() && item.get(key) == one.get(key))
    };
    let mut patched = Vec::new();
    for change in changes {
        let at = place(items, change);
        match (directive(change).as_deref(), at) {
            (Some("delete"), Some(at)) => {
                items.remove(at);
            }
            (Some("delete"), None) => {}
            (_, at) => {
                let mut item_now = at.map_or_else(|| Value::Object(Map::new()), |at| items.remove(at));
                strategic(item, &mut item_now, change);
                patched.push(item_now);
            }
        }
    }
    // In the patch's order; what only stood there keeps its place before what stood after it.
    let mut untouched = std::mem::take(items).into_iter().peekable();
    for one in patched {
        if let Some(was) = place(&before, &one) {
            while let Some(next) = untouched.next_if(|next| place(&before, next).is_some_and(|at| at < was)) {
                items.push(next);
            }
        }
        items.push(one);
    }
    items.extend(untouched);
}
