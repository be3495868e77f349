//! How Azure says no, and what of it is worth trying again.

use azure_core::error::ErrorKind;
use meridian_engine::ports::failure::Failure;
use meridian_workflows::duration::Duration;

/// How long a text of the other side may be in one of our messages.
const TEXT_MAX: usize = 400;

/// A request that did not end as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) failure: Failure,
    pub(crate) fate: Fate,
}

/// What became of the request, as far as is known: decides whether a step that must not happen twice may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It never left, or was turned away: nothing was changed.
    Refused { status: Option<u16>, code: String },
    /// It may have been carried out.
    Unknown,
}

impl Trouble {
    /// Whether the service answered with this status.
    pub(crate) fn is_status(&self, wanted: u16) -> bool {
        matches!(&self.fate, Fate::Refused { status: Some(status), .. } if *status == wanted)
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        trouble.failure
    }
}

/// What a pipeline reports when there is no answer at all.
pub(crate) fn unanswered(asked: &str, error: &azure_core::Error) -> Trouble {
    let why = brief(&chain(error));
    let unknown = |failure| Trouble {
        failure,
        fate: Fate::Unknown,
    };
    let refused = |failure| Trouble {
        failure,
        fate: Fate::Refused {
            status: None,
            code: String::new(),
        },
    };
    match error.kind() {
        ErrorKind::Connection => refused(Failure::transient(format!("{asked} cannot be reached: {why}"))),
        ErrorKind::Credential if may_pass(error) => refused(Failure::transient(format!(
            "no token can be had for {asked} now: {why}"
        ))),
        ErrorKind::Credential => refused(Failure::lasting(format!("no token can be had for {asked}: {why}"))),
        ErrorKind::Io | ErrorKind::DataConversion | ErrorKind::HttpResponse { .. } => {
            unknown(Failure::transient(format!("{asked} was not answered: {why}")))
        }
        _ => unknown(Failure::transient(format!("{asked} failed: {why}"))),
    }
}

/// Whether a failure to get a token lies in the way to the authority and not in the credentials.
fn may_pass(error: &azure_core::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(link) = next {
        if let Some(inner) = link.downcast_ref::<azure_core::Error>() {
            match inner.kind() {
                ErrorKind::Io | ErrorKind::Connection => return true,
                ErrorKind::HttpResponse { status, .. } => return is_passing(u16::from(*status)),
                _ => {}
            }
        }
        next = link.source();
    }
    false
}

fn is_passing(status: u16) -> bool {
    status == 408 || status == 429 || status >= 500
}

/// What an answer with an error status means.
///
/// `asked` names the thing, `action` the permission that the request needs.
pub(crate) fn refused(asked: &str, action: &str, status: u16, retry_after: Option<Duration>, body: &str) -> Trouble {
    let (code, message) = said(body);
    let mut told = match (code.as_str(), message.as_str()) {
        ("", "") => String::new(),
        ("", message) => format!(": {message}"),
        (code, "") => format!(": {code}"),
        (code, message) => format!(": {code}: {message}"),
    };
    match status {
        401 => told.push_str(&format!(" (the credentials are not accepted; `{action}` is needed)")),
        403 => told.push_str(&format!(" (the identity lacks `{action}`)")),
        _ => {}
    }
    let what = format!("{asked} answers {status}{told}");
    let failure = match (lasts(status, &code), retry_after) {
        (true, _) => Failure::lasting(what),
        (false, Some(after)) => Failure::overloaded(what, after),
        (false, None) => Failure::transient(what),
    };
    // A server that broke down in the middle may have done its work; one that says no has not.
    let fate = if status >= 500 || status == 408 {
        Fate::Unknown
    } else {
        Fate::Refused {
            status: Some(status),
            code,
        }
    };
    Trouble { failure, fate }
}

/// Whether the same request stays refused until somebody changes something.
///
/// ARM's codes come before the status: a conflict passes when the other operation ends, unless it is a lock or a quota.
fn lasts(status: u16, code: &str) -> bool {
    match code {
        "TooManyRequests" | "OperationTimedOut" | "ServerTimeout" | "RetryableError" | "AnotherOperationInProgress" => {
            false
        }
        "ScopeLocked" | "RequestDisallowedByPolicy" | "QuotaExceeded" | "SubscriptionNotRegistered" => true,
        _ => !(is_passing(status) || status == 409 || status == 412),
    }
}

/// Code and message of an error in the shapes that Azure uses: ARM's `error` object, App Service's own `Code`/`Message`, and the
/// problem document of App Configuration.
fn said(body: &str) -> (String, String) {
    let Ok(body) = serde_json::from_str::<serde_json::Value>(body) else {
        return (String::new(), String::new());
    };
    let of = |value: &serde_json::Value, names: [&str; 2]| {
        let text = names.iter().find_map(|name| value.get(name)?.as_str());
        brief(text.unwrap_or_default())
    };
    let inner = body.get("error").filter(|inner| inner.is_object()).unwrap_or(&body);
    let message = match of(inner, ["message", "Message"]) {
        empty if empty.is_empty() => of(inner, ["detail", "title"]),
        message => message,
    };
    (of(inner, ["code", "Code"]), message)
}

/// One line, not too long, without control characters.
pub(crate) fn brief(text: &str) -> String {
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.retain(|character| !character.is_control());
    if line.chars().count() > TEXT_MAX {
        line = line.chars().take(TEXT_MAX).chain(['…']).collect();
    }
    line
}

fn chain(error: &azure_core::Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(link) = next {
        let more = link.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = link.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Fate, refused};
    use meridian_engine::ports::failure::Lasting;
    use meridian_workflows::duration::Duration;
    use proptest::prelude::{any, proptest};

    #[test]
    fn codes_and_statuses_say_whether_trying_again_can_help() {
        let arm = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"because"}}}}"#);
        for (status, code, lasting) in [
            (429, "TooManyRequests", false),
            (500, "InternalServerError", false),
            (503, "ServiceUnavailable", false),
            (409, "Conflict", false),
            (409, "ScopeLocked", true),
            (400, "BadRequest", true),
            (401, "InvalidAuthenticationToken", true),
            (403, "AuthorizationFailed", true),
            (404, "ResourceNotFound", true),
            (412, "PreconditionFailed", false),
        ] {
            let trouble = refused("the site `shop`", "Microsoft.Web/sites/read", status, None, &arm(code));
            assert_eq!(trouble.failure.lasting == Lasting::Yes, lasting, "{status} {code}");
            assert!(trouble.failure.what.contains(code) && trouble.failure.what.contains("`shop`"));
            assert_eq!(trouble.fate == Fate::Unknown, status >= 500, "{status}");
        }
    }

    #[test]
    fn a_missing_permission_is_named_and_a_wait_is_passed_on() {
        let denied = refused(
            "the site `shop`",
            "Microsoft.Web/sites/slots/slotsswap/action",
            403,
            None,
            "",
        );
        assert!(
            denied
                .failure
                .what
                .contains("lacks `Microsoft.Web/sites/slots/slotsswap/action`")
        );
        let after = Some(Duration::from_secs(7));
        let slow = refused("the site `shop`", "", 429, after, "<html>");
        assert_eq!(slow.failure.lasting, Lasting::No { retry_after: after });
    }

    proptest! {
        #[test]
        fn no_answer_breaks_the_reading(status in 400_u16..600, body in any::<String>()) {
            let trouble = refused("x", "y", status, None, &body);
            assert!(trouble.failure.what.chars().count() < 1_000);
        }
    }
}
