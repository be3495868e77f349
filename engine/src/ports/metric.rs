//! Answers one rendered query: with one number, or with the course of one series over a stretch of time.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;

use super::failure::Failure;

/// *Guarantees asked*: no data is [`Number`] without a value (a [`Series`] without points), never zero and never a failure; more
/// than one series is a failure that says so; NaN and infinities come through as they are; instants are the data's own.
#[async_trait::async_trait]
pub trait MetricSource: Send + Sync {
    async fn query(&self, query: &str, at: Timestamp) -> Result<Number, Failure>;

    /// One series over a stretch of time. Buckets that were not complete at `over.to` are left out by the source, or marked by
    /// it in [`Series::complete_to`].
    async fn series(&self, query: &str, over: Stretch) -> Result<Series, Failure>;
}

/// One number, or none.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    pub value: Option<f64>,
    /// The instant of the data, where the source tells.
    pub at: Option<Timestamp>,
}

/// From when to when, and how far apart the points should lie; a source may widen the step to what it keeps, and says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub from: Timestamp,
    pub to: Timestamp,
    pub step: Duration,
}

/// The course of one series, oldest first, each point with its own instant (a bucket's begin where the source keeps buckets).
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub points: Vec<Point>,
    /// How far apart the points lie as the source keeps them.
    pub step: Duration,
    /// No point at or after this instant counts: its bucket was still filling. None where points are instants.
    pub complete_to: Option<Timestamp>,
}

/// One value of a series. NaN and infinities are kept: they are no data, and the judge says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub at: Timestamp,
    pub value: f64,
}
