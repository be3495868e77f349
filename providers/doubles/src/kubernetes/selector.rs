//! Label and field selectors.

use serde_json::{Map, Value};

use crate::kubernetes::object::{items, map, text};
use crate::kubernetes::refusal::Refusal;

/// Whether labels fit a `LabelSelector`; an empty one fits everything, a missing one nothing.
pub(crate) fn fits(selector: Option<&Value>, labels: &Map<String, Value>) -> bool {
    let Some(selector) = selector else { return false };
    map(selector, "/matchLabels")
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
        && items(selector, "/matchExpressions").iter().all(|expression| {
            let value = labels.get(text(expression, "/key"));
            let listed = value.is_some_and(|value| items(expression, "/values").contains(value));
            match text(expression, "/operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// One requirement of a selector in a query.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// What a list, watch or collection deletion is limited to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    labels: Vec<Requirement>,
    /// Field path, whether it shall equal, value.
    fields: Vec<(String, bool, String)>,
}

impl Filter {
    /// Reads the two query parameters.
    ///
    /// # Errors
    /// 400 for text that is no selector, or a field that cannot be selected by.
    pub(crate) fn read(labels: &str, fields: &str) -> Result<Self, Refusal> {
        let mut filter = Filter::default();
        for part in split_outside_parentheses(labels) {
            filter.labels.push(requirement(part)?);
        }
        for part in fields.split(',').filter(|part| !part.is_empty()) {
            let (field, equal, value) = match part.split_once("!=") {
                Some((field, value)) => (field, false, value),
                None => {
                    let (field, value) = part.split_once("==").or_else(|| part.split_once('=')).ok_or_else(|| {
                        Refusal::bad_request(format!("invalid selector: '{part}'; can't understand '{part}'"))
                    })?;
                    (field, true, value)
                }
            };
            const KNOWN: [&str; 14] = [
                "metadata.name",
                "metadata.namespace",
                "spec.nodeName",
                "spec.serviceAccountName",
                "spec.restartPolicy",
                "status.phase",
                "status.replicas",
                "type",
                "reason",
                "reportingComponent",
                "involvedObject.kind",
                "involvedObject.name",
                "involvedObject.namespace",
                "involvedObject.uid",
            ];
            if !KNOWN.contains(&field) {
                return Err(Refusal::bad_request(format!("field label not supported: {field}")));
            }
            filter.fields.push((field.to_owned(), equal, value.to_owned()));
        }
        Ok(filter)
    }

    pub(crate) fn admits(&self, object: &Value) -> bool {
        let labels = map(object, "/metadata/labels");
        let value = |key: &str| labels.get(key).and_then(Value::as_str);
        self.labels.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => value(key).is_some_and(|value| values.iter().any(|known| known == value)),
            Requirement::NotIn(key, values) => {
                !value(key).is_some_and(|value| values.iter().any(|known| known == value))
            }
            Requirement::Exists(key) => value(key).is_some(),
            Requirement::Absent(key) => value(key).is_none(),
        }) && self.fields.iter().all(|(field, equal, wanted)| {
            let pointer = format!("/{}", field.replace('.', "/"));
            let value = object.pointer(&pointer).map(|value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            (value.unwrap_or_default() == *wanted) == *equal
        })
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect()
}

fn requirement(part: &str) -> Result<Requirement, Refusal> {
    let unreadable = || Refusal::bad_request(format!("found '{part}', expected: !, identifier, or 'end of string'"));
    let is_key = |key: &str| {
        !key.is_empty()
            && key
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "-_./".contains(letter))
    };
    let found = if let Some((key, list)) = part.split_once(" notin ").or_else(|| part.split_once(" notin(")) {
        Requirement::NotIn(key.trim().to_owned(), values(list))
    } else if let Some((key, list)) = part.split_once(" in ").or_else(|| part.split_once(" in(")) {
        Requirement::In(key.trim().to_owned(), values(list))
    } else if let Some((key, value)) = part.split_once("!=") {
        Requirement::NotIn(key.trim().to_owned(), vec![value.trim().to_owned()])
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        Requirement::In(key.trim().to_owned(), vec![value.trim().to_owned()])
    } else if let Some(key) = part.strip_prefix('!') {
        Requirement::Absent(key.trim().to_owned())
    } else {
        Requirement::Exists(part.to_owned())
    };
    let (Requirement::In(key, _) | Requirement::NotIn(key, _) | Requirement::Exists(key) | Requirement::Absent(key)) =
        &found;
    if is_key(key) { Ok(found) } else { Err(unreadable()) }
}

fn values(list: &str) -> Vec<String> {
    list.trim()
        .trim_start_matches('(')
        .trim_end_matches(')')
        .split(',')
        .map(|value| value.trim().to_owned())
        .collect()
}
