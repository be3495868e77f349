//! What the server refuses, in the words and codes of the real one.

use serde_json::{Map, Value, json};

use crate::kubernetes::kind::Kind;

/// An answer that is not a success: the parts of a `Status` object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    /// Empty where the server knows no reason either.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Value,
}

/// One cause of an invalid object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) field: String,
}

impl Cause {
    /// A value that cannot be.
    pub(crate) fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {value}: {why}"),
            field: field.into(),
        }
    }

    pub(crate) fn required(field: impl Into<String>, why: &str) -> Self {
        let message = if why.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {why}")
        };
        Cause {
            reason: "FieldValueRequired",
            message,
            field: field.into(),
        }
    }

    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Cause {
            reason: "FieldValueDuplicate",
            message: format!("Duplicate value: {value}"),
            field: field.into(),
        }
    }

    pub(crate) fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Cause {
            reason: "FieldValueForbidden",
            message: format!("Forbidden: {why}"),
            field: field.into(),
        }
    }

    pub(crate) fn unsupported(field: impl Into<String>, value: &Value, known: &[&str]) -> Self {
        let known: Vec<String> = known.iter().map(|word| format!("\"{word}\"")).collect();
        Cause {
            reason: "FieldValueNotSupported",
            message: format!("Unsupported value: {value}: supported values: {}", known.join(", ")),
            field: field.into(),
        }
    }
}

impl Refusal {
    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        Refusal {
            code: 404,
            reason: "NotFound",
            message: format!("{} \"{name}\" not found", kind.qualified_plural()),
            details: about(kind, name, kind.plural),
        }
    }

    pub(crate) fn already_exists(kind: &Kind, name: &str) -> Self {
        Refusal {
            code: 409,
            reason: "AlreadyExists",
            message: format!("{} \"{name}\" already exists", kind.qualified_plural()),
            details: about(kind, name, kind.plural),
        }
    }

    pub(crate) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        Refusal {
            code: 409,
            reason: "Conflict",
            message: format!(
                "Operation cannot be fulfilled on {} \"{name}\": {why}",
                kind.qualified_plural()
            ),
            details: about(kind, name, kind.plural),
        }
    }

    pub(crate) fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    pub(crate) fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        Self::invalid_as(&kind.qualified_kind(), kind.group, kind.kind, name, causes)
    }

    /// As [`Refusal::invalid`], about something that is no stored kind, as the options of a request.
    pub(crate) fn invalid_as(qualified: &str, group: &str, kind: &str, name: &str, causes: &[Cause]) -> Self {
        let mut said: Vec<String> = Vec::new();
        for cause in causes {
            let text = format!("{}: {}", cause.field, cause.message);
            if !said.contains(&text) {
                said.push(text);
            }
        }
        let said = if said.len() == 1 {
            said.concat()
        } else {
            format!("[{}]", said.join(", "))
        };
        let mut details = Map::new();
        if !name.is_empty() {
            details.insert("name".to_owned(), json!(name));
        }
        if !group.is_empty() {
            details.insert("group".to_owned(), json!(group));
        }
        details.insert("kind".to_owned(), json!(kind));
        details.insert("causes".to_owned(), causes_json(causes));
        Refusal {
            code: 422,
            reason: "Invalid",
            message: format!("{qualified} \"{name}\" is invalid: {said}"),
            details: Value::Object(details),
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Refusal {
            code: 400,
            reason: "BadRequest",
            message: message.into(),
            details: Value::Null,
        }
    }

    pub(crate) fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        Refusal {
            code: 403,
            reason: "Forbidden",
            message: format!("{} \"{name}\" is forbidden: {why}", kind.qualified_plural()),
            details: about(kind, name, kind.plural),
        }
    }

    pub(crate) fn unauthorized() -> Self {
        Refusal {
            code: 401,
            reason: "Unauthorized",
            message: "Unauthorized".to_owned(),
            details: Value::Null,
        }
    }

    pub(crate) fn method_not_allowed() -> Self {
        Refusal {
            code: 405,
            reason: "MethodNotAllowed",
            message: "the server does not allow this method on the requested resource".to_owned(),
            details: json!({}),
        }
    }

    /// A path of a known group that names no resource.
    pub(crate) fn no_such_resource() -> Self {
        let message = "the server could not find the requested resource".to_owned();
        Refusal {
            code: 404,
            reason: "NotFound",
            message,
            details: json!({}),
        }
    }

    /// A patch of no known kind.
    pub(crate) fn unknown_patch() -> Self {
        let message = "415: Unsupported Media Type".to_owned();
        Refusal {
            code: 415,
            reason: "UnsupportedMediaType",
            message,
            details: json!({}),
        }
    }

    pub(crate) fn unsupported_media(accepted: &str) -> Self {
        Refusal {
            code: 415,
            reason: "UnsupportedMediaType",
            message: format!(
                "the body of the request was in an unknown format - accepted media types include: {accepted}"
            ),
            details: Value::Null,
        }
    }

    /// The list or watch asked for is older than what the server still knows.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Refusal {
            code: 410,
            reason: "Expired",
            message: message.into(),
            details: Value::Null,
        }
    }

    /// The `Status` object of this refusal.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

pub(crate) fn causes_json(causes: &[Cause]) -> Value {
    causes
        .iter()
        .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}))
        .collect()
}

fn about(kind: &Kind, name: &str, what: &str) -> Value {
    let mut details = json!({"name": name, "kind": what});
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    details
}
