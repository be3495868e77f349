//! Mappings with one key that names a kind from outside: providers' regions, metric sources, notifiers.

use crate::decode::context::Context;
use crate::decode::shape::Kinds;
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic, suggestion};
use crate::document::node::{Entry, Node, Value};
use crate::vocabulary::Availability;

/// Keys whose values are secrets wherever they stand in settings.
const SECRET_KEYS: [&str; 8] = [
    "token",
    "password",
    "secretKey",
    "apiKey",
    "webhook",
    "clientSecret",
    "connectionString",
    "bearerToken",
];

/// A kind with its settings.
pub struct Chosen {
    pub kind: String,
    pub settings: serde_json::Value,
    pub availability: Availability,
}

/// Reads `{kind: settings}` for a metric source or a notifier.
pub fn read(node: &Node, kinds: Kinds, cx: &mut Context<'_>) -> Option<Chosen> {
    let (what, known) = match kinds {
        Kinds::Sources => ("metric source", &cx.vocabulary.sources),
        Kinds::Notifiers => ("notifier", &cx.vocabulary.notifiers),
        Kinds::Providers => return None,
    };
    let Some(map) = node.as_map() else {
        value::wrong_type(node, &format!("a mapping with one kind of {what}"), cx);
        return None;
    };
    let mut entries = map.entries.iter();
    let (Some((name, entry)), None) = (entries.next(), entries.next()) else {
        let message = format!("a {what} has exactly one kind, found {}", map.entries.len());
        let hint = format!(
            "known here: {}",
            known.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
        );
        cx.report(Diagnostic::new(Code::ONE_OF, node.place.first_line(), message).hint(hint));
        return None;
    };
    let Some(kind) = known.iter().find(|kind| kind.name == name) else {
        let names: Vec<&str> = known.iter().map(|kind| kind.name).collect();
        cx.unknown(Code::UNKNOWN_FEATURE, &entry.key, what, name, names);
        return None;
    };
    check_secrets(&entry.value, cx);
    Some(Chosen {
        kind: name.clone(),
        settings: settings(entry),
        availability: kind.availability,
    })
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
