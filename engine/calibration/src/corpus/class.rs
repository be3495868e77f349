//! What can be the matter with a rollout, and whether the candidate is to blame.

/// The kinds of case; a seed's remainder by sixteen says which it is, so every class is as frequent as any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Most requests fail from one moment on.
    Crash,
    /// Errors rise to a multiple and stay.
    ErrorStep,
    /// A few percent of requests become many times slower; the median and the errors stay.
    LatencyTail,
    /// Memory grows by 0.5 to 5 MiB a minute.
    SlowLeak,
    /// An error step in one of several regions.
    OneRegion,
    /// One tenant of a few percent of traffic is refused.
    OneTenant,
    /// Five minutes good, five minutes bad.
    Flapping,
    /// The candidate takes requests and reports nothing.
    Silent,
    Plain,
    /// Errors, latency and gauges wander, as if remembering.
    Noisy,
    /// A few requests a second.
    LowTraffic,
    /// Traffic, latency and gauges follow the day, in both arms.
    Ramp,
    /// Both arms are equal for every kind of request, but get different parts of each (Simpson's paradox).
    MixShift,
    /// Something behind both arms fails for a while.
    Dependency,
    /// The same, since before the rollout starts.
    PreExisting,
    /// Nearly all traffic of a region goes away for a while.
    TrafficDrop,
}

impl Class {
    pub const ALL: [Class; 16] = [
        Class::Crash,
        Class::ErrorStep,
        Class::LatencyTail,
        Class::SlowLeak,
        Class::OneRegion,
        Class::OneTenant,
        Class::Flapping,
        Class::Silent,
        Class::Plain,
        Class::Noisy,
        Class::LowTraffic,
        Class::Ramp,
        Class::MixShift,
        Class::Dependency,
        Class::PreExisting,
        Class::TrafficDrop,
    ];

    pub fn of(seed: u64) -> Class {
        Class::ALL[(seed % 16) as usize]
    }

    /// Whether the candidate must not reach full promotion.
    pub fn is_bad(self) -> bool {
        match self {
            Class::Crash
            | Class::ErrorStep
            | Class::LatencyTail
            | Class::SlowLeak
            | Class::OneRegion
            | Class::OneTenant
            | Class::Flapping
            | Class::Silent => true,
            Class::Plain
            | Class::Noisy
            | Class::LowTraffic
            | Class::Ramp
            | Class::MixShift
            | Class::Dependency
            | Class::PreExisting
            | Class::TrafficDrop => false,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Class::Crash => "crash",
            Class::ErrorStep => "error step",
            Class::LatencyTail => "latency tail only",
            Class::SlowLeak => "slow leak",
            Class::OneRegion => "one region only",
            Class::OneTenant => "one tenant only",
            Class::Flapping => "flapping 5 min",
            Class::Silent => "silent canary",
            Class::Plain => "healthy, plain",
            Class::Noisy => "healthy, noisy",
            Class::LowTraffic => "healthy, low traffic",
            Class::Ramp => "healthy, daily ramp",
            Class::MixShift => "healthy, mix shift",
            Class::Dependency => "dependency fault",
            Class::PreExisting => "pre-existing fault",
            Class::TrafficDrop => "traffic drop",
        }
    }
}
