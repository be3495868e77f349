//! Instants of the virtual clock, and how ECS writes them.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// `at` and so many milliseconds; the end of time where there is no such instant.
pub fn after(at: Timestamp, millis: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_millis(millis))
        .unwrap_or(Timestamp::MAX)
}

/// `at` and so many seconds.
pub fn seconds_after(at: Timestamp, seconds: i64) -> Timestamp {
    after(at, seconds.saturating_mul(1000))
}

/// `at` and so many minutes.
pub fn minutes_after(at: Timestamp, minutes: i64) -> Timestamp {
    seconds_after(at, minutes.saturating_mul(60))
}

/// JSON 1.1 writes instants as seconds since the epoch, with fractions.
#[allow(clippy::cast_precision_loss)]
pub fn shown(at: Timestamp) -> Value {
    json!(at.as_millisecond() as f64 / 1000.0)
}
