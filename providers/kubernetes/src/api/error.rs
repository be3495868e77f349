//! What an API server says no to, and whether asking again can help.

use hyper::header::RETRY_AFTER;
use hyper::http::response::Parts;
use meridian_engine::ports::failure::Failure;
use meridian_workflows::duration::Duration;
use serde_json::Value;

/// The most of a server's own words that are told.
const MESSAGE_MAX: usize = 400;

/// A request that did not do what it was asked, or whose answer is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{failure}")]
pub struct Error {
    /// The HTTP status; none where no answer came.
    pub status: Option<u16>,
    /// The machine's word for it, as in `Conflict`; empty where there is none.
    pub reason: String,
    /// The same for the engine.
    pub failure: Failure,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        error.failure
    }
}

impl Error {
    /// Whether an object was changed (or a precondition otherwise missed) since it was read: read again, then decide again.
    pub fn is_conflict(&self) -> bool {
        self.status == Some(409) && self.reason != "AlreadyExists"
    }

    /// Whether an object of this name exists already.
    pub fn is_already_there(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    /// Whether the kind is served and this object does not exist. A kind that is not served answers 404 too, without a `Status`
    /// that names it.
    pub fn is_missing_object(&self) -> bool {
        self.status == Some(404) && self.reason == "NotFound"
    }

    /// Whether the cluster does not serve this kind or version.
    pub fn is_missing_kind(&self) -> bool {
        self.status == Some(404) && self.reason != "NotFound"
    }

    pub(super) fn malformed(path: &str, what: &str) -> Error {
        let path = path.split('?').next().unwrap_or(path);
        Error::unanswered(format!("the API server gave {what} for {path}"))
    }

    pub(super) fn too_late(what: &str) -> Error {
        let limit = super::REQUEST_TIMEOUT.as_secs();
        Error::unanswered(format!("the API server did not answer {what} within {limit} s"))
    }

    pub(super) fn broken(what: &str, error: &(dyn std::error::Error + 'static)) -> Error {
        Error::unanswered(format!("the API server's answer to {what} broke off: {}", root(error)))
    }

    pub(super) fn unsent(what: &str, error: &kube::Error) -> Error {
        // A plug-in or token file that yields nothing may yield something later; its own words can hold what it read.
        if matches!(error, kube::Error::Auth(_)) {
            return Error::unanswered(format!("no credentials could be had for {what}"));
        }
        Error::unanswered(format!("the API server cannot be reached for {what}: {}", root(error)))
    }

    fn unanswered(what: String) -> Error {
        Error {
            status: None,
            reason: String::new(),
            failure: Failure::transient(what),
        }
    }

    pub(super) fn refused(what: &str, parts: &Parts, body: &[u8]) -> Error {
        let status = parts.status.as_u16();
        let answer: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let is_status = answer["kind"] == "Status";
        let said = answer["message"].as_str().filter(|_| is_status).map(plain);
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        let reason = answer["reason"]
            .as_str()
            .filter(|_| is_status)
            .unwrap_or_default()
            .to_owned();
        let seconds = parts
            .headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let seconds = seconds.or_else(|| answer.pointer("/details/retryAfterSeconds")?.as_u64());
        let failure = match status {
            401 => Failure::lasting(format!(
                "the cluster does not accept the credentials (401) for {what}{said}"
            )),
            403 => Failure::lasting(format!("the cluster's access rules do not allow {what}{said}")),
            404 if reason != "NotFound" => Failure::lasting(format!("the cluster does not serve what {what} asks for")),
            // Somebody was faster, or a namespace is on its way out; 410 is a list that took longer than the server remembers;
            // 408, 429 and 5xx are load and weather.
            408..=410 | 429 | 500.. => {
                let text = format!("the API server answers {status} to {what}{said}");
                match seconds {
                    Some(seconds) => Failure::overloaded(text, Duration::from_secs(seconds)),
                    None => Failure::transient(text),
                }
            }
            _ => Failure::lasting(format!("the API server answers {status} to {what}{said}")),
        };
        Error {
            status: Some(status),
            reason,
            failure,
        }
    }
}

/// One line of a foreign text, without control characters, at most [`MESSAGE_MAX`] characters.
fn plain(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MESSAGE_MAX)
        .collect();
    plain.trim().to_owned()
}

/// The innermost cause: the outer ones only say that something is inside.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    plain(&inner.to_string())
}

#[cfg(test)]
mod tests {
    use hyper::Response;
    use meridian_engine::ports::failure::Lasting;

    use super::Error;

    fn refused(status: u16, retry_after: Option<&str>, body: &str) -> Error {
        let mut response = Response::builder().status(status);
        if let Some(seconds) = retry_after {
            response = response.header("Retry-After", seconds);
        }
        let (parts, ()) = response.body(()).unwrap().into_parts();
        Error::refused("GET /api/v1/x", &parts, body.as_bytes())
    }

    #[test]
    fn load_is_transient_and_says_when_to_come_back() {
        for (status, lasting) in [
            (429, false),
            (500, false),
            (503, false),
            (409, false),
            (410, false),
            (401, true),
            (403, true),
            (422, true),
        ] {
            assert_eq!(
                refused(status, None, "{}").failure.lasting == Lasting::Yes,
                lasting,
                "{status}"
            );
        }
        let Lasting::No {
            retry_after: Some(after),
        } = refused(429, Some("7"), "oops").failure.lasting
        else {
            panic!("429 is transient");
        };
        assert_eq!(after.as_secs_f64(), 7.0);
        let body =
            r#"{"kind":"Status","message":"slow\ndown","reason":"TooManyRequests","details":{"retryAfterSeconds":3}}"#;
        let said = refused(429, None, body);
        assert!(said.failure.what.ends_with(": slow down"), "{said}");
        assert!(matches!(said.failure.lasting, Lasting::No { retry_after: Some(_) }));
    }

    #[test]
    fn a_missing_object_is_not_a_missing_kind() {
        let object = refused(
            404,
            None,
            r#"{"kind":"Status","reason":"NotFound","message":"deployments.apps \"x\" not found"}"#,
        );
        assert!(object.is_missing_object() && !object.is_missing_kind());
        let kind = refused(404, None, "404 page not found");
        assert!(kind.is_missing_kind() && kind.failure.lasting == Lasting::Yes, "{kind}");
    }

    #[test]
    fn being_there_already_is_no_conflict_of_versions() {
        let there = refused(409, None, r#"{"kind":"Status","reason":"AlreadyExists"}"#);
        assert!(there.is_already_there() && !there.is_conflict());
        assert!(refused(409, None, r#"{"kind":"Status","reason":"Conflict"}"#).is_conflict());
    }
}
