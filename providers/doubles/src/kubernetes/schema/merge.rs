//! Lays what a manager applies over what stands, and takes out what nobody wants any more.

use serde_json::{Map, Value};

use crate::kubernetes::schema::fields::{Path, Set, key_step};
use crate::kubernetes::schema::{Merge, Shape};

/// The object as it becomes when `config` is applied over `live`.
pub(crate) fn merge(shape: &Shape, live: Option<&Value>, config: &Value) -> Value {
    let Some(live) = live.filter(|live| !live.is_null()) else {
        return config.clone();
    };
    match (shape, live, config) {
        _ if shape.is_leaf() => config.clone(),
        (Shape::Struct { .. } | Shape::Map { .. }, Value::Object(old), Value::Object(new)) => {
            let mut merged = old.clone();
            for (key, value) in new {
                let below = shape.child(key).unwrap_or(Shape::Any);
                merged.insert(key.clone(), merge(&below, old.get(key), value));
            }
            Value::Object(merged)
        }
        (
            Shape::List {
                item,
                merge: Merge::Keys(keys),
            },
            Value::Array(old),
            Value::Array(new),
        ) => {
            let same = |a: &Value, b: &Value| key_step(keys, a) == key_step(keys, b);
            interleave(old, new, same, |old, new| merge(item, Some(old), new))
        }
        (Shape::List { merge: Merge::Set, .. }, Value::Array(old), Value::Array(new)) => {
            interleave(old, new, |a, b| a == b, |_, new| new.clone())
        }
        _ => config.clone(),
    }
}

/// The order of `new` wins; what only `old` has comes as soon as what stands before it there has come.
fn interleave(
    old: &[Value],
    new: &[Value],
    same: impl Fn(&Value, &Value) -> bool,
    join: impl Fn(&Value, &Value) -> Value,
) -> Value {
    let mut out = Vec::new();
    let mut left = old.iter().peekable();
    for (at, item) in new.iter().enumerate() {
        // Items that both have wait for their turn in `new`; those that came already are passed over.
        while let Some(next) = left.peek() {
            match new.iter().position(|other| same(other, next)) {
                None => out.push((*next).clone()),
                Some(place) if place < at => {}
                Some(_) => break,
            }
            left.next();
        }
        out.push(
            old.iter()
                .find(|other| same(other, item))
                .map_or_else(|| item.clone(), |other| join(other, item)),
        );
    }
    out.extend(left.filter(|item| !new.iter().any(|other| same(other, item))).cloned());
    Value::Array(out)
}

/// Takes these fields out, with everything below them; what becomes empty by that goes too.
pub(crate) fn remove(shape: &Shape, value: &Value, gone: &Set, path: &mut Path) -> Value {
    match (shape, value) {
        _ if shape.is_leaf() || !gone.reaches(path) => value.clone(),
        (Shape::Struct { .. } | Shape::Map { .. }, Value::Object(map)) => {
            let mut kept = Map::new();
            for (key, value) in map {
                path.push(format!("f:{key}"));
                if !gone.0.contains(path) {
                    let below = remove(&shape.child(key).unwrap_or(Shape::Any), value, gone, path);
                    if !is_emptied(value, &below) {
                        kept.insert(key.clone(), below);
                    }
                }
                path.pop();
            }
            Value::Object(kept)
        }
        (Shape::List { item, merge }, Value::Array(items)) => {
            let mut kept = Vec::new();
            for value in items {
                path.push(match merge {
                    Merge::Keys(keys) => key_step(keys, value),
                    Merge::Set | Merge::Atomic => format!("v:{value}"),
                });
                if !gone.0.contains(path) {
                    kept.push(remove(item, value, gone, path));
                }
                path.pop();
            }
            Value::Array(kept)
        }
        _ => value.clone(),
    }
}

fn is_emptied(before: &Value, after: &Value) -> bool {
    let empty = |value: &Value| match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    empty(after) && !empty(before)
}
