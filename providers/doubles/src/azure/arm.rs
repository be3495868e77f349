//! The resource manager's manners: who may ask, which version is spoken, how refusals look.

use serde_json::{Value, json};
use uuid::Uuid;

use super::exchange::{Asked, Reply};

/// A refusal of the resource manager itself, before any service is asked: `{"error": {"code", "message"}}`.
pub fn refused(status: u16, code: &str, message: impl Into<String>) -> Reply {
    Reply::json(status, &json!({"error": {"code": code, "message": message.into()}}))
}

/// A refusal of App Service, in the form of its own that the resource manager hands through: capital names, the message three
/// times, the code of the service beside it. `extended` is that code, as in `59206`.
///
/// The published description has `{"error": …}` for it; its members are all optional, so this passes a validator.
pub fn faulted(status: u16, code: &str, extended: &str, message: impl Into<String>) -> Reply {
    Reply::json(status, &fault(code, extended, message))
}

/// The body of [`faulted`].
pub fn fault(code: &str, extended: &str, message: impl Into<String>) -> Value {
    let message = message.into();
    json!({
        "Code": code,
        "Message": message,
        "Target": null,
        "Details": [
            {"Message": message},
            {"Code": code},
            {"ErrorEntity": {
                "ExtendedCode": extended,
                "MessageTemplate": message,
                "Parameters": [],
                "Code": code,
                "Message": message,
            }},
        ],
        "Innererror": null,
    })
}

/// What the resource manager refuses before it looks at the resource: no bearer token, no or another `api-version`.
pub fn admitted(asked: &Asked, versions: &[&str]) -> Result<(), Box<Reply>> {
    let bearer = asked
        .header("authorization")
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty());
    if bearer.is_none() {
        let reply = refused(
            401,
            "AuthenticationFailed",
            "Authentication failed. The 'Authorization' header is missing.",
        );
        let challenge = "Bearer authorization_uri=\"https://login.windows.net/\", error=\"invalid_token\", \
                         error_description=\"The authentication scheme is missing.\"";
        return Err(Box::new(reply.with("www-authenticate", challenge)));
    }
    match asked.parameter("api-version") {
        None | Some("") => Err(Box::new(refused(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        ))),
        Some(version) if versions.contains(&version) => Ok(()),
        Some(version) => Err(Box::new(refused(
            400,
            "InvalidApiVersionParameter",
            format!(
                "The api-version '{version}' is invalid. The supported versions are '{}'.",
                versions.join(",")
            ),
        ))),
    }
}

/// What every answer of the resource manager carries.
pub fn stamped(reply: Reply, asked: &Asked) -> Reply {
    let id = Uuid::now_v7();
    let reply = match asked.header("x-ms-client-request-id") {
        Some(client) => {
            let client = client.to_owned();
            reply.with("x-ms-client-request-id", client)
        }
        None => reply,
    };
    let left = if asked.method.is_safe() {
        "x-ms-ratelimit-remaining-subscription-reads"
    } else {
        "x-ms-ratelimit-remaining-subscription-writes"
    };
    reply
        .with("x-ms-request-id", id)
        .with("x-ms-correlation-request-id", id)
        .with(left, 1199)
        .with("cache-control", "no-cache")
}

/// What the resource manager says of a resource that is not there.
pub fn not_found(kind_and_name: &str, group: &str) -> Reply {
    refused(
        404,
        "ResourceNotFound",
        format!(
            "The Resource 'Microsoft.Web/{kind_and_name}' under resource group '{group}' was not found. For more details please \
             go to https://aka.ms/ARMResourceNotFoundFix"
        ),
    )
}

/// The body as a JSON object, or the refusal that it gets.
pub fn object(asked: &Asked) -> Result<serde_json::Map<String, Value>, Box<Reply>> {
    let bad = |message: String| Box::new(refused(400, "InvalidRequestContent", message));
    let content_type = asked.header("content-type").unwrap_or_default();
    if !content_type.to_ascii_lowercase().starts_with("application/json") {
        return Err(Box::new(refused(
            415,
            "UnsupportedMediaType",
            format!("The content media type '{content_type}' is not supported. Only 'application/json' is supported."),
        )));
    }
    match serde_json::from_slice(&asked.body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(bad(
            "The request content was invalid and could not be deserialized: an object is expected.".into(),
        )),
        Err(error) => Err(bad(format!(
            "The request content was invalid and could not be deserialized: '{error}'."
        ))),
    }
}
