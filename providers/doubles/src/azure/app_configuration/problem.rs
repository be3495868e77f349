//! Refusals, as problem details (RFC 7807).

use serde_json::{Value, json};

use crate::azure::exchange::Reply;

/// A refusal; `kind` is the last part of its type's address.
pub fn refused(status: u16, kind: &str, title: &str, name: Option<&str>, detail: Option<&str>) -> Reply {
    let body = json!({
        "type": format!("https://azconfig.io/errors/{kind}"),
        "title": title,
        "name": name,
        "detail": detail,
        "status": status,
    });
    let Value::Object(mut body) = body else {
        return Reply::empty(status);
    };
    body.retain(|_, value| !value.is_null());
    Reply::of(
        status,
        "application/problem+json; charset=utf-8",
        Value::Object(body).to_string(),
    )
}

/// A parameter that cannot be.
pub fn bad_argument(title: &str, name: &str, detail: &str) -> Box<Reply> {
    Box::new(refused(400, "invalid-argument", title, Some(name), Some(detail)))
}

/// A write to what is locked.
pub fn locked(key: &str) -> Box<Reply> {
    Box::new(refused(
        409,
        "key-locked",
        &format!("Modifying key '{key}' is not allowed"),
        Some(key),
        Some("The key is read-only. To allow modification unlock it first."),
    ))
}

/// Nobody that this store knows.
pub fn unauthorized(why: &str) -> Box<Reply> {
    let challenge = match why {
        "" => "HMAC-SHA256, Bearer".to_owned(),
        why => format!("HMAC-SHA256 error=\"invalid_token\" error_description=\"{why}\", Bearer"),
    };
    Box::new(Reply::empty(401).with("www-authenticate", challenge))
}
