//! Mappings with one key that names a kind from outside: providers' regions, metric sources, notifiers.

use crate::decode::context::Context;
use crate::decode::shape::Kinds;
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic, suggestion};
use crate::document::node::{Entry, Map, Node, Value};
use crate::vocabulary::{Availability, SourceKind};

/// Keys whose values are secrets wherever they stand in settings.
const SECRET_KEYS: [&str; 11] = [
    "token",
    "password",
    "secretKey",
    "apiKey",
    "webhook",
    "clientSecret",
    "connectionString",
    "bearerToken",
    "applicationKey",
    "secretAccessKey",
    "serviceAccount",
];

/// A kind with its settings.
pub struct Chosen {
    pub kind: String,
    pub settings: serde_json::Value,
    pub availability: Availability,
}

/// Reads `{kind: settings}` for a metric source or a notifier.
pub fn read(node: &Node, kinds: Kinds, cx: &mut Context<'_>) -> Option<Chosen> {
    let (what, known): (_, Vec<(&'static str, Availability)>) = match kinds {
        Kinds::Sources => {
            let sources = cx.vocabulary.sources.iter();
            (
                "metric source",
                sources.map(|kind| (kind.name, kind.availability)).collect(),
            )
        }
        Kinds::Notifiers => {
            let notifiers = cx.vocabulary.notifiers.iter();
            (
                "notifier",
                notifiers.map(|kind| (kind.name, kind.availability)).collect(),
            )
        }
        Kinds::Providers => return None,
    };
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let Some(map) = node.as_map() else {
        value::wrong_type(node, &format!("a mapping with one kind of {what}"), cx);
        return None;
    };
    let mut entries = map.entries.iter();
    let (Some((name, entry)), None) = (entries.next(), entries.next()) else {
        let message = format!("a {what} has exactly one kind, found {}", map.entries.len());
        let hint = format!("known here: {}", names.join(", "));
        cx.report(Diagnostic::new(Code::ONE_OF, node.place.first_line(), message).hint(hint));
        return None;
    };
    let Some((_, availability)) = known.iter().find(|(known, _)| known == name) else {
        cx.unknown(Code::UNKNOWN_FEATURE, &entry.key, what, name, names);
        return None;
    };
    check_secrets(&entry.value, cx);
    let settings = settings(entry);
    if kinds == Kinds::Sources
        && let Some(kind) = cx.vocabulary.source(name).cloned()
    {
        check_source(&kind, entry, &settings, cx);
    }
    Some(Chosen {
        kind: name.clone(),
        settings,
        availability: *availability,
    })
}

/// A source's settings are what the source itself will read: unknown and missing keys first, then whether the rest is sound.
fn check_source(kind: &SourceKind, entry: &Entry, settings: &serde_json::Value, cx: &mut Context<'_>) {
    let empty = Map::default();
    let map = match &entry.value.value {
        Value::Map(map) => map,
        Value::Null => &empty,
        Value::Scalar(_) | Value::List(_) => {
            value::wrong_type(
                &entry.value,
                &format!("the settings of the metric source `{}`", kind.name),
                cx,
            );
            return;
        }
    };
    let mut is_complete = true;
    // An empty list means that nothing is known of the keys.
    let unknown = |key: &&String| !kind.settings.is_empty() && !kind.settings.iter().any(|known| known.name == **key);
    for key in map.entries.keys().filter(unknown) {
        let message = format!("the metric source `{}` has no setting `{key}`", kind.name);
        let hint = suggestion::hint(key, kind.settings.iter().map(|known| known.name));
        let place = map.entries[key].key.clone();
        cx.report(Diagnostic::new(Code::UNKNOWN_KEY, place, message).maybe_hint(hint));
        is_complete = false;
    }
    for setting in kind.settings.iter().filter(|setting| setting.required) {
        if map.get(setting.name).is_none() {
            let message = format!("the metric source `{}` needs the setting `{}`", kind.name, setting.name);
            cx.report(Diagnostic::new(Code::MISSING_KEY, entry.key.clone(), message).hint(setting.summary));
            is_complete = false;
        }
    }
    if is_complete && let Err(why) = (kind.read.0)(settings) {
        // The reason names its key, so that the value itself can be shown.
        let named = why.split('`').nth(1).and_then(|key| map.get(key));
        let place = named.map_or_else(|| entry.key.clone(), |named| named.place.first_line());
        let message = format!("the settings of the metric source `{}` are not sound: {why}", kind.name);
        cx.report(Diagnostic::new(Code::WRONG_TYPE, place, message));
    }
}

fn settings(entry: &Entry) -> serde_json::Value {
    match value::json(&entry.value) {
        serde_json::Value::Null => serde_json::Value::Object(serde_json::Map::new()),
        settings => settings,
    }
}

/// Refuses secrets that are written out, and `{secret: …}` that names nothing.
pub fn check_secrets(node: &Node, cx: &mut Context<'_>) {
    match &node.value {
        Value::Null | Value::Scalar(_) => {}
        Value::List(items) => items.iter().for_each(|item| check_secrets(item, cx)),
        Value::Map(map) => {
            for (key, entry) in &map.entries {
                if key == "secret" && map.entries.len() == 1 {
                    secret_name(&entry.value, cx);
                } else if SECRET_KEYS.contains(&key.as_str()) && entry.value.as_text().is_some() {
                    cx.report(
                        Diagnostic::new(
                            Code::SECRET,
                            entry.value.place.clone(),
                            format!("`{key}` is a secret and stands in plain text"),
                        )
                        .hint(
                            "write `{secret: name}`; the operator's configuration says where the name's value is kept",
                        ),
                    );
                } else {
                    check_secrets(&entry.value, cx);
                }
            }
        }
    }
}

/// The name inside `{secret: name}`.
pub fn secret_name(node: &Node, cx: &mut Context<'_>) -> Option<String> {
    let name = value::text(node, cx)?;
    let fits = !name.is_empty()
        && name.len() <= 253
        && name
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "-_./".contains(character));
    if fits {
        return Some(name);
    }
    let message = "a secret is named by letters, digits, `-`, `_`, `.` and `/`";
    cx.report(Diagnostic::new(Code::SECRET, node.place.clone(), message).maybe_hint(
        suggestion::closest(&name, ["secret"]).map(|_| "write the secret's name, not its value".to_owned()),
    ));
    None
}
