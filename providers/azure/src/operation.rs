//! Long-running operations as Azure Resource Manager prescribes them: a link to ask at, never a wait.

use meridian_workflows::duration::Duration;

use crate::endpoint::Endpoint;
use crate::service::Answer;
use crate::trouble::brief;

/// What an answer about an operation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Running {
        retry_after: Option<Duration>,
    },
    Done,
    /// The reason as the platform gives it.
    Failed(String),
}

/// The link under which the operation that an accepted request began can be followed, relative to the endpoint.
///
/// `Azure-AsyncOperation` comes first, as ARM prescribes, because it tells the reason of a failure; `Location` answers 202
/// until the operation has ended. None where the request was complete at once, or where the link leads to another host.
pub(crate) fn link(endpoint: &Endpoint, answer: &Answer) -> Option<String> {
    if answer.status != 201 && answer.status != 202 {
        return None;
    }
    let link = ["azure-asyncoperation", "location"]
        .iter()
        .find_map(|name| answer.header(name));
    link.and_then(|link| endpoint.own_link(link))
}

/// What the answer to a question at such a link says.
pub(crate) fn standing(answer: &Answer) -> Standing {
    let retry_after = answer.retry_after;
    let said = answer.body.get("status").and_then(serde_json::Value::as_str);
    // A resource that comes back from `Location` may have a field `status` of its own, so only ARM's words are taken for one.
    match said.map(str::to_ascii_lowercase).as_deref() {
        Some("failed" | "canceled" | "cancelled") => Standing::Failed(reason(&answer.body)),
        Some("succeeded") => Standing::Done,
        Some("inprogress" | "running" | "accepted" | "created" | "pending" | "updating") => {
            Standing::Running { retry_after }
        }
        Some(_) | None if answer.status == 202 => Standing::Running { retry_after },
        Some(_) | None => Standing::Done,
    }
}

fn reason(body: &serde_json::Value) -> String {
    let error = body.get("error").unwrap_or(body);
    let text = |name: &str| error.get(name).and_then(serde_json::Value::as_str).map(brief);
    match (text("code"), text("message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "the platform gives no reason".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Standing, link, standing};
    use crate::endpoint::Endpoint;
    use crate::service::Answer;
    use meridian_workflows::duration::Duration;
    use serde_json::json;

    #[test]
    fn an_accepted_request_is_followed_at_its_own_host_only() {
        let arm = Endpoint::parse("https://management.azure.com").unwrap();
        let own = Answer::of(202, json!(null)).with("location", "https://management.azure.com/op/1?api-version=x");
        assert_eq!(link(&arm, &own).as_deref(), Some("/op/1?api-version=x"));
        let both = own.with("azure-asyncoperation", "https://management.azure.com/status/1");
        assert_eq!(link(&arm, &both).as_deref(), Some("/status/1"));
        let away = Answer::of(202, json!(null)).with("location", "https://elsewhere.example.com/op/1");
        assert_eq!(link(&arm, &away), None);
        assert_eq!(link(&arm, &Answer::of(200, json!(null))), None);
    }

    #[test]
    fn an_operation_ends_when_it_says_so() {
        let waiting = Answer {
            retry_after: Some(Duration::from_secs(15)),
            ..Answer::of(202, json!(null))
        };
        let retry_after = waiting.retry_after;
        assert_eq!(standing(&waiting), Standing::Running { retry_after });
        let running = Standing::Running { retry_after: None };
        assert_eq!(standing(&Answer::of(200, json!({"status": "InProgress"}))), running);
        assert_eq!(
            standing(&Answer::of(200, json!({"status": "Succeeded"}))),
            Standing::Done
        );
        assert_eq!(standing(&Answer::of(204, json!(null))), Standing::Done);
        let failed =
            json!({"status": "Failed", "error": {"code": "Conflict", "message": "did not respond to http ping"}});
        assert_eq!(
            standing(&Answer::of(200, failed)),
            Standing::Failed("Conflict: did not respond to http ping".to_owned())
        );
        assert_eq!(
            standing(&Answer::of(200, json!({"status": "Canceled"}))),
            Standing::Failed("the platform gives no reason".to_owned())
        );
    }
}
