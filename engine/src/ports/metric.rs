//! Answers one rendered query with one number.

use jiff::Timestamp;

use super::failure::Failure;

/// *Guarantees asked*: no data is [`Number`] without a value, never zero and never a failure; more than one series is a
/// failure that says so; NaN and infinities come through as they are; the instant is the data's own.
#[async_trait::async_trait]
pub trait MetricSource: Send + Sync {
    async fn query(&self, query: &str, at: Timestamp) -> Result<Number, Failure>;
}

/// One number, or none.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    pub value: Option<f64>,
    /// The instant of the data, where the source tells.
    pub at: Option<Timestamp>,
}
