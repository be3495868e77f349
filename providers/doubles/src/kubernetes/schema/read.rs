//! Reads an object as the server decodes it: unknown fields are noted, wrong types refused, nothing-values dropped.

use serde_json::{Value, json};

use crate::kubernetes::schema::{Shape, fields};

/// What reading found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Fields that the kind does not have, as `spec.template.foo`.
    pub(crate) unknown: Vec<String>,
    /// Fields of a wrong type: place, what stands there, what was expected.
    pub(crate) mistyped: Vec<Mistyped>,
    /// Required fields that are not there (checked for custom resources only; built-in kinds have their own validation).
    pub(crate) missing: Vec<String>,
}

/// One value of a wrong type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistyped {
    pub(crate) path: String,
    /// The type whose field it is.
    pub(crate) within: &'static str,
    /// The JSON type that stands there.
    pub(crate) found: &'static str,
    /// The type that the field has.
    pub(crate) expected: &'static str,
}

/// Drops unknown fields and nulls from `value`, and says what was wrong with it.
pub(crate) fn read(shape: &Shape, value: &mut Value) -> Findings {
    let mut findings = Findings::default();
    walk(shape, value, "", "", &mut findings);
    findings
}

fn walk(shape: &Shape, value: &mut Value, path: &str, within: &'static str, findings: &mut Findings) {
    let wrong = |value: &Value, expected: &'static str| Mistyped {
        path: path.to_owned(),
        within,
        found: json_type(value),
        expected,
    };
    match shape {
        Shape::Struct { name, .. } => {
            let Some(map) = value.as_object_mut() else {
                findings.mistyped.push(wrong(value, "object"));
                return;
            };
            map.retain(|_, value| !value.is_null());
            let keys: Vec<String> = map.keys().cloned().collect();
            for key in keys {
                let place = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                match shape.child(&key) {
                    Some(below) => walk(&below, &mut map[&key], &place, name, findings),
                    None => {
                        findings.unknown.push(place);
                        map.remove(&key);
                    }
                }
            }
            for (key, field) in fields(name).into_iter().flatten() {
                if field.required && !map.contains_key(*key) {
                    findings.missing.push(if path.is_empty() {
                        (*key).to_owned()
                    } else {
                        format!("{path}.{key}")
                    });
                }
            }
        }
        Shape::Map { item, .. } => match value.as_object_mut() {
            Some(map) => {
                map.retain(|_, value| !value.is_null());
                for (key, value) in map.iter_mut() {
                    walk(item, value, &format!("{path}.{key}"), within, findings);
                }
            }
            None => findings.mistyped.push(wrong(value, "object")),
        },
        Shape::List { item, .. } => match value.as_array_mut() {
            Some(items) => {
                for (at, value) in items.iter_mut().enumerate() {
                    walk(item, value, &format!("{path}[{at}]"), within, findings);
                }
            }
            None => findings.mistyped.push(wrong(value, "array")),
        },
        Shape::String | Shape::Time | Shape::Bytes if !value.is_string() => {
            findings.mistyped.push(wrong(value, "string"))
        }
        Shape::Int if !value.is_i64() => findings.mistyped.push(wrong(value, "integer")),
        Shape::Number if !value.is_number() => findings.mistyped.push(wrong(value, "number")),
        Shape::Bool if !value.is_boolean() => findings.mistyped.push(wrong(value, "boolean")),
        Shape::IntOrString if !value.is_i64() && !value.is_string() => {
            findings.mistyped.push(wrong(value, "integer or string"))
        }
        Shape::Quantity if value.is_number() => *value = json!(value.to_string()),
        Shape::Quantity if !value.is_string() => findings.mistyped.push(wrong(value, "string")),
        Shape::String
        | Shape::Time
        | Shape::Bytes
        | Shape::Int
        | Shape::Number
        | Shape::Bool
        | Shape::IntOrString
        | Shape::Quantity
        | Shape::Any => {}
    }
}

/// The JSON type of a value, as messages name it.
pub(crate) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
