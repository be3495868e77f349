//! Sets of an object's fields, as `managedFields` writes them, and what differs between two versions of an object.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::kubernetes::schema::{Merge, Shape};

/// The way to one field: `f:name`, `k:{"name":"web"}` or `v:"x"`, step by step.
pub(crate) type Path = Vec<String>;

/// Fields owned, changed or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set(pub(crate) BTreeSet<Path>);

impl Set {
    /// Reads the `fieldsV1` form.
    pub(crate) fn parse(fields: &Value) -> Self {
        fn walk(value: &Value, path: &mut Path, set: &mut BTreeSet<Path>) {
            let Some(map) = value.as_object() else { return };
            if map.is_empty() && !path.is_empty() {
                set.insert(path.clone());
            }
            for (step, below) in map {
                if step == "." {
                    set.insert(path.clone());
                } else {
                    path.push(step.clone());
                    walk(below, path, set);
                    path.pop();
                }
            }
        }
        let mut set = BTreeSet::new();
        walk(fields, &mut Vec::new(), &mut set);
        Set(set)
    }

    /// Writes the `fieldsV1` form.
    pub(crate) fn render(&self) -> Value {
        let mut root = Map::new();
        for path in &self.0 {
            let mut at = &mut root;
            for step in path {
                at = at
                    .entry(step.clone())
                    .or_insert_with(|| json!({}))
                    .as_object_mut()
                    .expect("only maps are put here");
            }
        }
        // A member with members below it says so by a dot.
        for path in &self.0 {
            let mut at = &mut root;
            for step in path {
                at = at
                    .get_mut(step)
                    .and_then(Value::as_object_mut)
                    .expect("the path was laid above");
            }
            if !at.is_empty() {
                at.insert(".".to_owned(), json!({}));
            }
        }
        Value::Object(root)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn union(&self, other: &Set) -> Set {
        Set(self.0.union(&other.0).cloned().collect())
    }

    pub(crate) fn without(&self, other: &Set) -> Set {
        Set(self.0.difference(&other.0).cloned().collect())
    }

    pub(crate) fn shared_with(&self, other: &Set) -> Set {
        Set(self.0.intersection(&other.0).cloned().collect())
    }

    /// Whether this set has the path or something below it.
    pub(crate) fn reaches(&self, path: &[String]) -> bool {
        self.0
            .range(path.to_vec()..)
            .next()
            .is_some_and(|next| next.starts_with(path))
    }

    /// With every named field on the way to a member counted as a member too.
    pub(crate) fn with_named_parents(&self) -> Set {
        let mut set = self.0.clone();
        for path in &self.0 {
            for end in 1..path.len() {
                if path[end - 1].starts_with("f:") {
                    set.insert(path[..end].to_vec());
                }
            }
        }
        Set(set)
    }

    /// Without what the server itself writes, which nobody owns.
    pub(crate) fn without_identity(mut self) -> Set {
        const METADATA: [&str; 8] = [
            "f:name",
            "f:namespace",
            "f:creationTimestamp",
            "f:selfLink",
            "f:uid",
            "f:generation",
            "f:managedFields",
            "f:resourceVersion",
        ];
        self.0.retain(|path| match path.as_slice() {
            [] => false,
            [one] => !matches!(one.as_str(), "f:apiVersion" | "f:kind" | "f:metadata"),
            [first, second, ..] => !(first == "f:metadata" && METADATA.contains(&second.as_str())),
        });
        self
    }
}

/// A path as messages write it: `.spec.template.spec.containers[name="web"].image`.
pub(crate) fn spoken(path: &[String]) -> String {
    let mut text = String::new();
    for step in path {
        match step.split_once(':') {
            Some(("f", name)) => {
                text.push('.');
                text.push_str(name);
            }
            Some(("k", keys)) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let said: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                text.push_str(&format!("[{}]", said.join(",")));
            }
            Some((_, value)) => text.push_str(&format!("[={value}]")),
            None => text.push_str(step),
        }
    }
    text
}

/// The `k:` step of an item of a keyed list; a key with a default may be left out by the writer.
pub(crate) fn key_step(keys: &[&'static str], item: &Value) -> String {
    let mut map = serde_json::Map::new();
    for key in keys {
        let value = item
            .get(*key)
            .cloned()
            .or_else(|| (*key == "protocol").then(|| json!("TCP")));
        map.insert((*key).to_owned(), value.unwrap_or(Value::Null));
    }
    format!("k:{}", sorted(&Value::Object(map)))
}

/// The first list in which two items have one key, as the server says it; none where every item is its own.
pub(crate) fn repeated(shape: &Shape, value: &Value, path: &mut Path) -> Option<String> {
    if shape.is_leaf() {
        return None;
    }
    match (shape, value) {
        (Shape::Struct { .. } | Shape::Map { .. }, Value::Object(map)) => map.iter().find_map(|(key, value)| {
            path.push(format!("f:{key}"));
            let found = shape.child(key).and_then(|below| repeated(&below, value, path));
            path.pop();
            found
        }),
        (Shape::List { item, merge }, Value::Array(items)) => {
            let mut seen = BTreeSet::new();
            items.iter().find_map(|value| {
                let step = match merge {
                    Merge::Keys(keys) => key_step(keys, value),
                    Merge::Set | Merge::Atomic => format!("v:{value}"),
                };
                if !seen.insert(step.clone()) {
                    let (place, key) = (spoken(path), spoken(&[step]));
                    return Some(format!("{place}: duplicate entries for key {key}"));
                }
                path.push(step);
                let found = repeated(item, value, path);
                path.pop();
                found
            })
        }
        _ => None,
    }
}

/// Compact JSON with its keys in order.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<(&String, &Value)> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| key.as_str());
            let said: Vec<String> = pairs
                .iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), sorted(value)))
                .collect();
            format!("{{{}}}", said.join(","))
        }
        other => other.to_string(),
    }
}

/// Every field that a value sets.
pub(crate) fn leaves(shape: &Shape, value: &Value) -> Set {
    let mut set = BTreeSet::new();
    collect(shape, value, &mut Vec::new(), &mut set, false);
    Set(set)
}

/// Walks a value; `containers` also counts the maps and lists on the way, as a comparison with nothing does.
fn collect(shape: &Shape, value: &Value, path: &mut Path, set: &mut BTreeSet<Path>, containers: bool) {
    let children = children(shape, value);
    let item = path.last().is_some_and(|step| !step.starts_with("f:"));
    if children.is_empty() || containers || item {
        set.insert(path.clone());
    }
    for (step, shape, value) in children {
        path.push(step);
        collect(&shape, value, path, set, containers);
        path.pop();
    }
}

/// What lies one step below a value; nothing where it is owned as a whole.
fn children<'a>(shape: &Shape, value: &'a Value) -> Vec<(String, Shape, &'a Value)> {
    match (shape, value) {
        _ if shape.is_leaf() => Vec::new(),
        (Shape::Struct { .. } | Shape::Map { .. }, Value::Object(map)) => map
            .iter()
            .map(|(key, value)| (format!("f:{key}"), shape.child(key).unwrap_or(Shape::Any), value))
            .collect(),
        (
            Shape::List {
                item,
                merge: Merge::Keys(keys),
            },
            Value::Array(items),
        ) => items
            .iter()
            .map(|value| (key_step(keys, value), (**item).clone(), value))
            .collect(),
        (
            Shape::List {
                item,
                merge: Merge::Set,
            },
            Value::Array(items),
        ) => items
            .iter()
            .map(|value| (format!("v:{value}"), (**item).clone(), value))
            .collect(),
        _ => Vec::new(),
    }
}

/// What became of the fields between two versions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// Added or changed.
    pub(crate) written: Set,
    pub(crate) removed: Set,
}

/// Compares two versions of an object.
pub(crate) fn changes(shape: &Shape, old: &Value, new: &Value) -> Changes {
    let mut changes = Changes::default();
    compare(shape, Some(old), Some(new), &mut Vec::new(), &mut changes);
    changes
}

fn compare(shape: &Shape, old: Option<&Value>, new: Option<&Value>, path: &mut Path, changes: &mut Changes) {
    match (old, new) {
        (None, None) => {}
        (Some(old), Some(new)) if old == new => {}
        (None, Some(new)) => collect(shape, new, path, &mut changes.written.0, true),
        (Some(old), None) => collect(shape, old, path, &mut changes.removed.0, true),
        (Some(before), Some(after)) => {
            let (old, new) = (children(shape, before), children(shape, after));
            if shape.is_leaf() || (new.is_empty() && old.is_empty()) {
                changes.written.0.insert(path.clone());
                return;
            }
            for (step, shape, value) in &old {
                let now = new.iter().find(|(other, ..)| other == step).map(|(_, _, value)| *value);
                path.push(step.clone());
                compare(shape, Some(value), now, path, changes);
                path.pop();
            }
            for (step, shape, value) in &new {
                if !old.iter().any(|(other, ..)| other == step) {
                    path.push(step.clone());
                    compare(shape, None, Some(value), path, changes);
                    path.pop();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::repeated;
    use crate::kubernetes::schema::Shape;

    fn said(spec: Value) -> Option<String> {
        let object = json!({"spec": {"template": {"spec": spec}}});
        repeated(&Shape::of("Deployment"), &object, &mut Vec::new())
    }

    #[test]
    fn a_key_that_stands_twice_is_named_with_its_place() {
        let env = json!({"containers": [{"name": "web", "env": [{"name": "A"}, {"name": "B"}, {"name": "A"}]}]});
        assert_eq!(
            said(env).unwrap(),
            r#".spec.template.spec.containers[name="web"].env: duplicate entries for key [name="A"]"#
        );
        let ports = json!({"containers": [{"name": "web", "ports": [
            {"containerPort": 80, "name": "a"}, {"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP"}]}]});
        assert_eq!(
            said(ports).unwrap(),
            r#".spec.template.spec.containers[name="web"].ports: duplicate entries for key [containerPort=80,protocol="TCP"]"#
        );
        let tolerations =
            json!({"tolerations": [{"key": "a"}, {"key": "a"}], "containers": [{"name": "a"}, {"name": "b"}]});
        assert_eq!(said(tolerations), None, "a list without keys may say a thing twice");
    }
}
