//! Typed access to the mappings of a document: unknown and missing keys are noted once, values where they are read.

use std::collections::BTreeMap;

use crate::decode::context::Context;
use crate::decode::shape::Shape;
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic, suggestion};
use crate::document::node::{Map, Node};
use crate::document::source::Place;
use crate::duration::Duration;

/// A mapping read by its table of keys.
pub struct Fields<'n> {
    shape: &'static Shape,
    map: &'n Map,
    place: Place,
    has_unknown_keys: bool,
}

impl<'n> Fields<'n> {
    /// The mapping, after unknown and missing keys have been reported. None when it is no mapping at all.
    pub fn read(node: &'n Node, shape: &'static Shape, cx: &mut Context<'_>) -> Option<Fields<'n>> {
        let Some(map) = node.as_map() else {
            value::wrong_type(
                node,
                &format!("{} to be a mapping with {}", shape.name, some_keys(shape)),
                cx,
            );
            return None;
        };
        for (written, entry) in &map.entries {
            if shape.key(written).is_none() {
                let message = format!("{} has no key `{written}`", shape.name);
                let hint = suggestion::hint(written, shape.keys.iter().map(|key| key.name));
                cx.report(Diagnostic::new(Code::UNKNOWN_KEY, entry.key.clone(), message).maybe_hint(hint));
            }
        }
        let has_unknown_keys = map.entries.keys().any(|key| shape.key(key).is_none());
        let fields = Fields {
            shape,
            map,
            place: node.place.first_line(),
            has_unknown_keys,
        };
        for key in shape
            .keys
            .iter()
            .filter(|key| key.required && !map.entries.contains_key(key.name))
        {
            let message = format!("{} lacks the key `{}`", shape.name, key.name);
            cx.report(Diagnostic::new(Code::MISSING_KEY, fields.place.clone(), message).hint(key.summary));
        }
        Some(fields)
    }

    /// Whether keys were refused: one of them may be what seems to be missing.
    pub fn has_unknown_keys(&self) -> bool {
        self.has_unknown_keys
    }

    /// Where the mapping begins.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The value of a key. *Assumptions*: the key stands in the table.
    pub fn get(&self, key: &'static str) -> Option<&'n Node> {
        debug_assert!(self.shape.key(key).is_some(), "{} has no key {key}", self.shape.name);
        self.map.get(key)
    }

    /// Where a key stands; the mapping's beginning when it is not written.
    pub fn key_place(&self, key: &'static str) -> Place {
        self.map
            .entries
            .get(key)
            .map_or_else(|| self.place.clone(), |entry| entry.key.clone())
    }

    pub fn text(&self, key: &'static str, cx: &mut Context<'_>) -> Option<String> {
        self.get(key).and_then(|node| value::text(node, cx))
    }

    pub fn duration(&self, key: &'static str, cx: &mut Context<'_>) -> Option<Duration> {
        self.get(key).and_then(|node| value::duration(node, cx))
    }

    pub fn boolean(&self, key: &'static str, cx: &mut Context<'_>) -> Option<bool> {
        self.get(key).and_then(|node| value::boolean(node, cx))
    }

    /// A whole number between `min` and `max`, both included.
    pub fn integer(&self, key: &'static str, min: u64, max: u64, cx: &mut Context<'_>) -> Option<u64> {
        self.get(key).and_then(|node| value::integer(node, min, max, cx))
    }

    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)], cx: &mut Context<'_>) -> Option<T> {
        self.get(key).and_then(|node| value::choice(node, choices, cx))
    }

    /// The items of a list; empty when the key is not written.
    pub fn list(&self, key: &'static str, cx: &mut Context<'_>) -> &'n [Node] {
        self.get(key).and_then(|node| value::list(node, cx)).unwrap_or_default()
    }

    /// A list of texts with their places.
    pub fn texts(&self, key: &'static str, cx: &mut Context<'_>) -> Vec<(String, Place)> {
        let items = self.list(key, cx);
        items
            .iter()
            .filter_map(|item| Some((value::text(item, cx)?, item.place.clone())))
            .collect()
    }

    /// The entries of a mapping with names chosen by the author: name, place of the name, value.
    pub fn entries(&self, key: &'static str, cx: &mut Context<'_>) -> Vec<(&'n str, &'n Place, &'n Node)> {
        self.get(key).map(|node| value::entries(node, cx)).unwrap_or_default()
    }

    /// A mapping from names to texts.
    pub fn text_map(&self, key: &'static str, cx: &mut Context<'_>) -> BTreeMap<String, String> {
        let entries = self.entries(key, cx);
        entries
            .into_iter()
            .filter_map(|(name, _, node)| Some((name.to_owned(), value::text(node, cx)?)))
            .collect()
    }
}

fn some_keys(shape: &Shape) -> String {
    let names: Vec<String> = shape.keys.iter().take(4).map(|key| format!("`{}`", key.name)).collect();
    names.join(", ")
}
