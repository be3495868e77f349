//! How a cloud says what every cloud says in its own way: which requests write, and what a refusal looks like.

use serde_json::{Value, json};

use super::asked::{Answered, Asked, Exchange};

/// What a cloud's API does its own way.
pub trait Manners: Send + Sync {
    /// Whether a request changes something where it is carried out.
    fn is_write(&self, asked: &Asked) -> bool {
        !(asked.method.is_safe())
    }

    /// Whether an answer goes on for as long as the client listens, as a watch does.
    fn is_stream(&self, asked: &Asked) -> bool {
        let _ = asked;
        false
    }

    /// A refusal in the cloud's own words.
    fn refuse(&self, asked: &Asked, refusal: Refusal) -> Answered;

    /// A success that cannot be read as what its content type says.
    fn nonsense(&self, asked: &Asked) -> Answered {
        let _ = asked;
        Answered::text(200, "application/json", "<html><body>Gateway</body></html>")
    }

    /// An exchange as one line of a journal.
    fn line(&self, exchange: &Exchange) -> Value {
        let text = |bytes: &[u8]| match serde_json::from_slice(bytes) {
            Ok(value) => value,
            Err(_) => Value::from(String::from_utf8_lossy(bytes).into_owned()),
        };
        json!({
            "method": exchange.asked.method.as_str(),
            "path": exchange.asked.uri.to_string(),
            "request": text(&exchange.asked.body),
            "status": exchange.status,
            "response": text(&exchange.answer),
        })
    }
}

/// Why an API turns a request away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many requests; seconds to wait.
    TooManyRequests {
        retry_after: u32,
    },
    /// This status and nothing of use.
    Status(u16),
    Unauthenticated,
    Forbidden,
}

impl Refusal {
    /// The status that says it where a cloud has no other.
    pub fn status(self) -> u16 {
        match self {
            Refusal::TooManyRequests { .. } => 429,
            Refusal::Status(status) => status,
            Refusal::Unauthenticated => 401,
            Refusal::Forbidden => 403,
        }
    }
}

/// An API of no special form.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Manners for Plain {
    fn refuse(&self, _: &Asked, refusal: Refusal) -> Answered {
        let status = refusal.status();
        let answered = Answered::json(status, &json!({"error": status}));
        match refusal {
            Refusal::TooManyRequests { retry_after } => answered.with_header("retry-after", retry_after),
            Refusal::Status(_) | Refusal::Unauthenticated | Refusal::Forbidden => answered,
        }
    }
}
