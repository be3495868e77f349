//! Who asks: requests signed with an access key, checked for real, or a bearer token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::problem::{refused, unauthorized};
use crate::azure::exchange::{Asked, Reply};

/// How far a client's clock may be off.
const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// An access key of the store.
#[derive(Clone, Debug)]
pub struct AccessKey {
    pub id: String,
    pub secret: Vec<u8>,
    pub is_read_only: bool,
}

impl Default for AccessKey {
    fn default() -> AccessKey {
        AccessKey {
            id: "double-l0-s0:key".into(),
            secret: b"a secret that only doubles know".to_vec(),
            is_read_only: false,
        }
    }
}

impl AccessKey {
    /// As the portal shows it, for a store at this address.
    pub fn connection_string(&self, url: &str) -> String {
        let secret = STANDARD.encode(&self.secret);
        format!("Endpoint={};Id={};Secret={secret}", url.trim_end_matches('/'), self.id)
    }
}

/// Lets a request in, or says why not.
pub fn admitted(keys: &[AccessKey], asked: &Asked, now: Timestamp) -> Result<(), Box<Reply>> {
    let Some((scheme, credentials)) = asked.header("authorization").and_then(|value| value.split_once(' ')) else {
        return Err(unauthorized(""));
    };
    if scheme.eq_ignore_ascii_case("bearer") && !credentials.trim().is_empty() {
        return Ok(());
    }
    if !scheme.eq_ignore_ascii_case("HMAC-SHA256") {
        return Err(unauthorized(""));
    }
    let part = |name: &str| {
        credentials
            .split('&')
            .filter_map(|part| part.trim().split_once('='))
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    };
    let (Some(id), Some(signed), Some(signature)) = (part("Credential"), part("SignedHeaders"), part("Signature"))
    else {
        return Err(unauthorized("Credential, SignedHeaders and Signature are required"));
    };
    let signed: Vec<String> = signed.split(';').map(str::to_ascii_lowercase).collect();
    let is_signed = |name: &str| signed.iter().any(|given| given == name);
    if !is_signed("host") || !is_signed("x-ms-content-sha256") || !(is_signed("x-ms-date") || is_signed("date")) {
        return Err(unauthorized(
            "[host][x-ms-date][x-ms-content-sha256] is required as a signed header",
        ));
    }
    let date = asked.header("x-ms-date").or(asked.header("date"));
    let Some(at) = date.and_then(instant) else {
        return Err(unauthorized("Invalid access token date"));
    };
    if at.duration_since(now).abs() > SKEW {
        return Err(unauthorized("The access token has expired"));
    }
    if asked.header("x-ms-content-sha256") != Some(STANDARD.encode(Sha256::digest(&asked.body)).as_str()) {
        return Err(unauthorized("Invalid content hash"));
    }
    let Some(key) = keys.iter().find(|key| key.id == id) else {
        return Err(unauthorized("Invalid Credential"));
    };
    if !is_by(key, asked, &signed, signature) {
        return Err(unauthorized("Invalid Signature"));
    }
    if key.is_read_only && !asked.method.is_safe() {
        return Err(Box::new(refused(
            403,
            "forbidden",
            "Operation is not permitted.",
            None,
            None,
        )));
    }
    Ok(())
}

/// An HTTP date, or the form that Microsoft's client for Python writes, as in `Nov, 21 2026 06:28:04.180608 GMT`.
fn instant(date: &str) -> Option<Timestamp> {
    let foreign = || {
        let parsed = jiff::fmt::strtime::parse("%b, %d %Y %H:%M:%S%.f GMT", date).ok()?;
        parsed.to_datetime().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()
    };
    let at = jiff::fmt::rfc2822::parse(date).ok().or_else(foreign)?;
    Some(at.timestamp())
}

/// Whether this key signed this request: verb, path and query, and the signed headers' values, in that order.
fn is_by(key: &AccessKey, asked: &Asked, signed: &[String], signature: &str) -> bool {
    let values: Vec<&str> = signed
        .iter()
        .map(|name| asked.header(name).unwrap_or_default())
        .collect();
    let text = format!("{}\n{}\n{}", asked.method, asked.path_and_query, values.join(";"));
    let (Ok(mut mac), Ok(signature)) = (Hmac::<Sha256>::new_from_slice(&key.secret), STANDARD.decode(signature)) else {
        return false;
    };
    mac.update(text.as_bytes());
    mac.verify_slice(&signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_clients_write_them() {
        let at = instant("Sat, 21 Nov 2026 06:28:04 GMT");
        assert!(at.is_some());
        assert_eq!(instant("Nov, 21 2026 06:28:04.000000 GMT"), at);
        assert_eq!(instant("21.11.2026"), None);
    }
}
