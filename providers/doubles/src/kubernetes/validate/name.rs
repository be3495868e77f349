//! Names, labels and annotations.

use serde_json::{Value, json};

use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{map, text};
use crate::kubernetes::refusal::Cause;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

pub(super) fn metadata(kind: &Kind, object: &Value) -> Vec<Cause> {
    let name = text(object, "/metadata/name");
    let mut causes = Vec::new();
    let mut wrong = |why: &str| causes.push(Cause::invalid("metadata.name", &json!(name), why));
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else {
        match kind.kind {
            "Service" | "Namespace" => {
                if name.len() > 63 {
                    wrong("must be no more than 63 bytes");
                }
                if !is_label(name) {
                    wrong(LABEL);
                }
            }
            _ => {
                if name.len() > 253 {
                    wrong("must be no more than 253 bytes");
                }
                if !is_subdomain(name) {
                    wrong(SUBDOMAIN);
                }
            }
        }
    }
    causes.extend(labels_and_annotations(object));
    causes
}

pub(super) fn labels_and_annotations(object: &Value) -> Vec<Cause> {
    let mut causes = labels(&object["metadata"]["labels"], "metadata.labels");
    let annotations = map(object, "/metadata/annotations");
    for key in annotations.keys().filter(|key| !is_qualified(&key.to_lowercase())) {
        causes.push(Cause::invalid("metadata.annotations", &json!(key), QUALIFIED));
    }
    let bytes: usize = annotations
        .iter()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    if bytes > 256 * 1024 {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: "Too long: may not be more than 262144 bytes".to_owned(),
            field: "metadata.annotations".to_owned(),
        });
    }
    causes
}

/// Faults of a map of labels.
pub(super) fn labels(labels: &Value, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in labels.as_object().into_iter().flatten() {
        if !is_qualified(key) {
            causes.push(Cause::invalid(field, &json!(key), QUALIFIED));
        }
        let value = value.as_str().unwrap_or_default();
        if value.len() > 63 {
            causes.push(Cause::invalid(field, &json!(value), "must be no more than 63 bytes"));
        }
        if !value.is_empty() && !is_name_part(value) {
            causes.push(Cause::invalid(field, &json!(value), VALUE));
        }
    }
    causes
}

/// A fault where a name is no DNS label, as containers, volumes and ports have.
pub(super) fn dns_label(name: &str, field: String) -> Option<Cause> {
    if name.is_empty() {
        Some(Cause::required(field, ""))
    } else if name.len() > 63 {
        Some(Cause::invalid(field, &json!(name), "must be no more than 63 bytes"))
    } else {
        (!is_label(name)).then(|| Cause::invalid(field, &json!(name), LABEL))
    }
}

fn is_label(text: &str) -> bool {
    let edge = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    text.starts_with(edge) && text.ends_with(edge) && text.chars().all(|letter| edge(letter) || letter == '-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_name_part(text: &str) -> bool {
    let edge = |letter: char| letter.is_ascii_alphanumeric();
    text.starts_with(edge) && text.ends_with(edge) && text.chars().all(|c| edge(c) || "-_.".contains(c))
}

fn is_qualified(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    name.len() <= 63 && is_name_part(name) && prefix.is_none_or(|prefix| prefix.len() <= 253 && is_subdomain(prefix))
}
