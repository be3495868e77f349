//! A place where a provider can be tried: the provider, one target, and hands on the platform behind it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meridian_engine::ports::provider::{Provider, Target};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;

/// Builds rigs: each behaviour of the suite is tried in a fresh one.
#[async_trait]
pub trait Workshop: Send + Sync {
    /// The provider's column in the conformance table, as in `kubernetes (httpRoute)`.
    fn name(&self) -> String;

    /// A target whose baseline serves everything and is healthy, with a candidate that would be healthy too, and a ladder of at
    /// least two rungs where the platform splits traffic at all.
    async fn rig(&self) -> Result<Box<dyn Rig>, String>;
}

/// One provider with one target of its own.
#[async_trait]
pub trait Rig: Send + Sync {
    fn provider(&self) -> Arc<dyn Provider>;

    fn target(&self) -> Target;

    /// What the platform itself says, asked without the provider under test.
    async fn truth(&self) -> Truth;

    /// Gives the platform time to get on with what it was asked: a double moves its clock, a real one is waited for.
    async fn pass(&self, time: Duration);

    /// Makes the candidate fail in this way from now on, before it is ordered or while it serves.
    async fn ail(&self, ailment: Ailment) -> Offered;

    /// Makes the platform's API behave like this for its next `times` answers to the provider.
    async fn fault(&self, fault: Fault, times: usize) -> Offered;

    /// Somebody else changes what the provider had ordered.
    async fn meddle(&self, meddling: Meddling) -> Offered;
}

/// Whether a rig can do what it was asked: a behaviour that needs it is told as "not tried" otherwise, never as passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    Yes,
    /// The platform has no such thing, with the reason for the table's footnote.
    No(&'static str),
}

/// What the platform itself says about the target.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// The candidate's share of live traffic by the platform's own configuration and readiness.
    pub candidate_share: Share,
    /// The share that goes to versions without one ready instance.
    pub lost: Share,
    /// Versions that have capacity.
    pub standing: Vec<Version>,
    /// Requests that changed something, since the rig was built.
    pub writes: u64,
}

/// What can be wrong with a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ailment {
    /// The image or package does not exist or may not be pulled.
    ImageMissing,
    /// The process ends with this code, again and again.
    CrashLoop(i32),
    /// Ready for half a second, then it crashes, again and again.
    FlappingReady,
    /// Killed for using more memory than it may.
    OutOfMemory,
    /// It runs and its health check never passes.
    NeverReady,
    /// No machine has room for it.
    Unschedulable,
    /// The account or namespace has no quota left.
    QuotaExceeded,
}

/// What can be wrong with a platform's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 429 with `Retry-After` in seconds.
    TooManyRequests { retry_after: u32 },
    /// This status with a body that says nothing of use.
    Status(u16),
    /// The connection is refused.
    Refused,
    /// The request is taken and no byte ever comes back.
    Hang,
    /// The answer breaks off in the middle.
    HalfBody,
    /// The answer is not what its content type says.
    Malformed,
    /// The request is carried out, and the connection breaks before its answer.
    AppliedWithoutAnswer,
    /// Reads show what was true before the last change.
    StaleReads,
    /// Only writes fail, every second one, with 500: an order of several steps is left half-done.
    EverySecondWrite,
    /// Credentials are refused (401).
    Unauthenticated,
    /// The credentials may not do this (403).
    Forbidden,
}

/// What others do to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meddling {
    /// All traffic is sent back to the baseline (a GitOps tool reverts).
    RevertTraffic,
    /// The candidate is scaled to nothing.
    ScaleCandidateAway,
    /// The candidate is deleted.
    DeleteCandidate,
}
