//! A place where a provider can be tried: the provider, one target, and hands on the platform behind it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meridian_engine::ports::provider::{Provider, Target};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::ProviderKind;

/// Builds rigs: each behaviour of the suite is tried in a fresh one.
#[async_trait]
pub trait Workshop: Send + Sync {
    /// The provider's column in the conformance table, as in `kubernetes httpRoute`.
    fn name(&self) -> String;

    /// A target whose baseline serves everything and is healthy, with a candidate that would be healthy too, and a ladder of at
    /// least two rungs where the platform splits traffic at all.
    async fn rig(&self) -> Result<Box<dyn Rig>, String>;

    /// Whether its rigs have hands on the platform: without them nothing ails, fails or meddles, and no time is lost with it.
    fn hands(&self) -> Offered {
        Offered::Yes
    }

    /// How many behaviours may be tried at a time.
    fn at_once(&self) -> usize {
        4
    }
}

/// One provider with one target of its own.
///
/// What has a body here is a rig's choice; a behaviour that needs what a rig does not give is told as "not tried", with the
/// reason, never as passed.
#[async_trait]
pub trait Rig: Send + Sync {
    /// A fresh provider at every call, as after a crash of the process: what an order needs later must stand on the platform.
    fn provider(&self) -> Arc<dyn Provider>;

    /// The same at every call.
    fn target(&self) -> Target;

    /// What the platform itself says, asked without the provider under test and past all its faults.
    async fn truth(&self) -> Truth;

    /// Gives the platform time to get on with what it was asked: a double moves its clock, a real one is waited for.
    async fn pass(&self, time: Duration);

    /// Makes the candidate fail in this way from now on, before it is ordered or while it serves.
    async fn ail(&self, ailment: Ailment) -> Offered;

    /// Makes the platform's API behave like this to the provider, where the strike says.
    async fn fault(&self, fault: Fault, strike: Strike) -> Offered;

    /// Ends all faults.
    async fn heal(&self);

    /// Somebody else changes what the provider had ordered.
    async fn meddle(&self, meddling: Meddling) -> Offered;

    /// How the language knows this kind of target.
    fn kind(&self) -> Option<ProviderKind> {
        None
    }

    /// The lowest claim that is above every claim the target has seen.
    fn claim(&self) -> u64 {
        1
    }

    /// Transient failures in a row that are asked through while nothing is broken on purpose: a double has none, whatever lives in
    /// real time may be busy with something else.
    fn hiccups(&self) -> usize {
        0
    }

    /// What the platform gives of an ordered share once it is settled: never more.
    fn granted(&self, ordered: Share) -> Share {
        ordered
    }

    /// The platform's time between two asks of the same order.
    fn beat(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// How much of the platform's time one healthy order may take until it is settled.
    fn patience(&self) -> Duration {
        Duration::from_secs(20 * 60)
    }

    /// What the diagnosis of an ailment has to name: each of these, in any case; `a|b` is one or the other.
    fn words(&self, ailment: Ailment) -> Vec<String> {
        ailment.words()
    }

    /// Whether a candidate can stand ready before it has any traffic.
    fn stages(&self) -> Offered {
        Offered::Yes
    }

    /// Whether a share can be lowered without a rollback.
    fn lowers(&self) -> Offered {
        Offered::Yes
    }

    /// Whether the platform says how long to wait when there are too many requests.
    fn tells_when(&self) -> bool {
        true
    }

    /// The same target in other words (a default written out, an ARN instead of a name).
    fn other_spelling(&self) -> Option<Target> {
        None
    }

    /// A target beside this one; it need not exist.
    fn other_target(&self) -> Option<Target> {
        None
    }

    /// A target that does not exist, and the word by which its refusal has to name it.
    fn missing(&self) -> Option<(Target, String)> {
        None
    }

    /// Settings that are not sound, each with the word by which its refusal has to name what is wrong.
    fn unsound(&self) -> Vec<(serde_json::Value, String)> {
        Vec::new()
    }

    /// This target with what already serves as its release.
    fn released_already(&self) -> Option<Target> {
        None
    }
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
    /// Versions that have capacity, known by their names; one entry for each deployment, task set or slot that runs one.
    pub standing: Vec<Version>,
    /// Requests that changed something, since the rig was built; none where nobody can count them.
    pub writes: Option<u64>,
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

impl Ailment {
    /// What any diagnosis of it names, in the notation of [`Rig::words`].
    pub fn words(self) -> Vec<String> {
        match self {
            Ailment::ImageMissing => vec!["image|package".to_owned()],
            Ailment::CrashLoop(code) => vec![code.to_string()],
            Ailment::FlappingReady => Vec::new(),
            Ailment::OutOfMemory => vec!["memory".to_owned()],
            Ailment::NeverReady => vec!["health|probe|ready|ping|warm".to_owned()],
            Ailment::Unschedulable => vec!["schedul|room|capacity|resource".to_owned()],
            Ailment::QuotaExceeded => vec!["quota|limit".to_owned()],
        }
    }
}

/// What can be wrong with a platform's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 429 with `Retry-After` in seconds, or what the platform says instead.
    TooManyRequests { retry_after: u32 },
    /// This status with a body that says nothing of use.
    Status(u16),
    /// The connection is refused, until all faults end: nobody could count what never arrives.
    Refused,
    /// The request is taken, nothing is done, and no byte ever comes back.
    Hang,
    /// The request is carried out and its answer breaks off in the middle.
    HalfBody,
    /// Nothing is done, and the answer is not what its content type says.
    Malformed,
    /// The request is carried out, and the connection breaks before its answer.
    AppliedWithoutAnswer,
    /// Reads show what was true before the last change made since this fault began.
    StaleReads,
    /// Only writes fail, every second one, with 500: an order of several steps is left half-done.
    EverySecondWrite,
    /// Credentials are refused (401, or what the platform says instead).
    Unauthenticated,
    /// The credentials may not do this (403, or what the platform says instead).
    Forbidden,
}

/// Which of the provider's requests a fault falls on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    pub on: On,
    /// So many of them pass first.
    pub skip: usize,
    /// So many are struck then.
    pub times: usize,
}

impl Strike {
    /// The next `times` requests of any kind.
    pub fn next(times: usize) -> Strike {
        Strike {
            on: On::All,
            skip: 0,
            times,
        }
    }

    /// The write after the next `skip` writes.
    pub fn write(skip: usize) -> Strike {
        Strike {
            on: On::Writes,
            skip,
            times: 1,
        }
    }
}

/// Requests by what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    All,
    Reads,
    Writes,
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
