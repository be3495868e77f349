//! What an API server's refusals look like on the wire, and which of its requests change something.

use meridian_doubles::wire::{Answered, Asked, Manners, Refusal};
use serde_json::json;

#[derive(Clone, Copy, Debug)]
pub struct ApiServer;

impl Manners for ApiServer {
    fn is_write(&self, asked: &Asked) -> bool {
        // A review of access asks a question by POST.
        !asked.method.is_safe() && !asked.path().starts_with("/apis/authorization.k8s.io/")
    }

    fn refuse(&self, asked: &Asked, refusal: Refusal) -> Answered {
        let status = |code: u16, reason: &str, message: String| {
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                   "reason": reason, "code": code})
        };
        match refusal {
            Refusal::TooManyRequests { retry_after } => {
                Answered::text(429, "text/plain", "Too many requests, please try again later.")
                    .with_header("retry-after", retry_after)
            }
            Refusal::Status(code) => Answered::text(code, "text/plain", "something is wrong"),
            Refusal::Unauthenticated => Answered::json(401, &status(401, "Unauthorized", "Unauthorized".to_owned())),
            Refusal::Forbidden => {
                let verb = asked.method.as_str().to_lowercase();
                let message = format!("{} is forbidden: User \"release\" cannot {verb} it", asked.path());
                Answered::json(403, &status(403, "Forbidden", message))
            }
        }
    }
}
