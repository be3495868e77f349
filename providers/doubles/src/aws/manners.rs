//! How AWS's protocols tell reads from writes, refuse, and are written down.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::aws::query;
use crate::aws::refusal::Refusal;
use crate::aws::xml;
use crate::elb::balancers;
use crate::wire::{Answered, Asked, Exchange, Manners, Refusal as Turned};

/// What stands before the operation in ECS's `X-Amz-Target`.
pub const ECS_TARGET: &str = "AmazonEC2ContainerServiceV20141113.";
/// The version of STS's service model.
pub const STS_VERSION: &str = "2011-06-15";

/// JSON 1.1 for ECS, the query protocol for ELBv2 and STS.
#[derive(Clone, Copy, Debug)]
pub struct AwsManners;

/// What a request asks for: the service model's name (`ecs`, `elbv2`, `sts`) and the operation.
pub fn asks_for(target: Option<&str>, body: &[u8]) -> (&'static str, String) {
    if let Some(target) = target {
        return ("ecs", target.strip_prefix(ECS_TARGET).unwrap_or(target).to_owned());
    }
    let mut form = query::form(body);
    let service = if form.get("Version").is_some_and(|version| version == STS_VERSION) {
        "sts"
    } else {
        "elbv2"
    };
    (service, form.remove("Action").unwrap_or_default())
}

/// Whether an operation changes something, by AWS's way to name them.
pub fn changes_something(operation: &str) -> bool {
    !["Describe", "List", "Get", "Assume"]
        .iter()
        .any(|verb| operation.starts_with(verb))
}

/// An error answer in the service's protocol. ECS answers 400 to whatever the caller is to blame for.
pub fn refused(service: &str, refusal: &Refusal) -> Answered {
    if service == "ecs" {
        let status = if refusal.status < 500 { 400 } else { refusal.status };
        let body = json!({"__type": refusal.code, "message": refusal.message});
        return Answered::text(status, "application/x-amz-json-1.1", body.to_string());
    }
    let text = xml::error(balancers::NAMESPACE, refusal, "00000000-0000-4000-8000-000000000000");
    Answered::text(refusal.status, "text/xml", text)
}

impl Manners for AwsManners {
    fn is_write(&self, asked: &Asked) -> bool {
        let (service, operation) = asks_for(asked.header("x-amz-target"), &asked.body);
        asked.path() == "/" && service != "sts" && changes_something(&operation)
    }

    fn refuse(&self, asked: &Asked, turned: Turned) -> Answered {
        let (service, operation) = asks_for(asked.header("x-amz-target"), &asked.body);
        let json = service == "ecs";
        let prefix = if json { "ecs" } else { "elasticloadbalancing" };
        match turned {
            Turned::TooManyRequests { retry_after } => {
                let code = if json { "ThrottlingException" } else { "Throttling" };
                refused(service, &Refusal::new(code, 400, "Rate exceeded")).with_header("retry-after", retry_after)
            }
            Turned::Unauthenticated => {
                let code = if json {
                    "UnrecognizedClientException"
                } else {
                    "InvalidClientTokenId"
                };
                refused(
                    service,
                    &Refusal::new(code, 403, "The security token included in the request is invalid."),
                )
            }
            Turned::Forbidden => {
                let code = if json { "AccessDeniedException" } else { "AccessDenied" };
                let message = format!(
                    "User: arn:aws:iam::123456789012:user/meridian is not authorized to perform: {prefix}:{operation} because no \
                     identity-based policy allows the {prefix}:{operation} action"
                );
                refused(service, &Refusal::new(code, 403, message))
            }
            Turned::Status(status) => {
                let words = StatusCode::from_u16(status)
                    .ok()
                    .and_then(|status| status.canonical_reason());
                Answered::text(status, "text/plain", words.unwrap_or_default())
            }
        }
    }

    /// As [`written_down`]; `fault` marks an answer that did not come from the double, and the double's own hands have the
    /// service `hand`.
    fn line(&self, exchange: &Exchange) -> Value {
        let asked = &exchange.asked;
        let (service, operation) = match asked.path().strip_prefix("/_double/") {
            Some(hand) => ("hand", hand.to_owned()),
            None => asks_for(asked.header("x-amz-target"), &asked.body),
        };
        let mut line = written_down(service, &operation, &asked.body, exchange.status, &exchange.answer);
        line["fault"] = json!(exchange.fault.map(|fault| format!("{fault:?}")));
        line
    }
}

/// An exchange as a line of a journal: `{service, operation, request, status, response}`; JSON as JSON, the query protocol's
/// form as names and texts, its XML as text.
pub fn written_down(service: &str, operation: &str, request: &[u8], status: Option<u16>, answer: &[u8]) -> Value {
    let json_of =
        |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(bytes)));
    let (request, response) = if service == "ecs" {
        (json_of(request), json_of(answer))
    } else {
        (json!(query::form(request)), json!(String::from_utf8_lossy(answer)))
    };
    json!({"service": service, "operation": operation, "request": request, "status": status, "response": response})
}
