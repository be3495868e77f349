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

/// An operation that an accepted request began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    /// Where it can be followed, relative to the endpoint.
    pub(crate) link: String,
    /// How long it wants to be left alone at first.
    pub(crate) retry_after: Option<Duration>,
}

/// The operation that an accepted request began.
///
/// `Azure-AsyncOperation` comes first, as ARM prescribes, because it tells the reason of a failure; `Location` answers 202
/// until the operation has ended. None where the request was complete at once, or where the link leads to another host.
pub(crate) fn begun(endpoint: &Endpoint, answer: &Answer) -> Option<Begun> {
    if answer.status != 201 && answer.status != 202 {
        return None;
    }
    let link = ["azure-asyncoperation", "location"]
        .iter()
        .find_map(|name| answer.header(name))?;
    Some(Begun {
        link: endpoint.own_link(link)?,
        retry_after: answer.retry_after,
    })
}

/// What the answer to a question at such a link says.
pub(crate) fn standing(answer: &Answer) -> Standing {
    let retry_after = answer.retry_after;
    let said = answer.body.get("status").and_then(serde_json::Value::as_str);
    // Of ARM's states three are final, and each service may name others of its own: those run on. A site, which `Location` may
    // give in the end, has no field `status` beside its properties.
    match said.map(str::to_ascii_lowercase).as_deref() {
        Some("failed" | "canceled" | "cancelled") => Standing::Failed(reason(&answer.body)),
        Some("succeeded") => Standing::Done,
        Some(_) => Standing::Running { retry_after },
        None if answer.status == 202 => Standing::Running { retry_after },
        None => Standing::Done,
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
    use super::{Standing, begun, standing};
    use crate::endpoint::Endpoint;
    use crate::service::Answer;
    use meridian_workflows::duration::Duration;
    use serde_json::json;

    #[test]
    fn an_accepted_request_is_followed_at_its_own_host_only() {
        let arm = Endpoint::parse("https://management.azure.com").unwrap();
        let own = Answer::of(202, json!(null)).with("location", "https://management.azure.com/op/1?api-version=x");
        let link = |answer: &Answer| begun(&arm, answer).map(|begun| begun.link);
        assert_eq!(link(&own).as_deref(), Some("/op/1?api-version=x"));
        let both = own.with("azure-asyncoperation", "https://management.azure.com/status/1");
        assert_eq!(link(&both).as_deref(), Some("/status/1"));
        let away = Answer::of(202, json!(null)).with("location", "https://elsewhere.example.com/op/1");
        assert_eq!(link(&away), None);
        assert_eq!(link(&Answer::of(200, json!(null))), None);
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
        for state in ["InProgress", "Provisioning", "WarmingUp", "Resuming"] {
            let said = Answer::of(200, json!({"status": state}));
            assert_eq!(
                standing(&said),
                running,
                "{state} is none of the three in which ARM's operations end"
            );
        }
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
