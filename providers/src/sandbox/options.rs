//! What can be set about a sandbox: where it lives, how fast its world moves, how much it may hold.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// How to start a sandbox.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the state, the lock and the address file are; one sandbox per directory. Created when missing.
    pub state_dir: PathBuf,
    /// The control address; loopback only. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Chance is drawn from here: start times, which requests fail, latency.
    pub seed: u64,
    /// Requests a second that the load generator sends to a region that does not say otherwise.
    pub requests_per_second: f64,
    /// How fast the world moves.
    pub timings: Timings,
}

impl Options {
    /// The defaults, with the state in `state_dir` and a free port.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            requests_per_second: 40.0,
            timings: Timings::default(),
        }
    }
}

/// The durations of the sandbox's world, shorter than a real cloud's so that a rollout can be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// The least time from an instance's start until it is ready.
    pub start_min: Duration,
    /// The most time from an instance's start until it is ready, faults aside.
    pub start_max: Duration,
    /// From capacity being ready until the weights move.
    pub shift: Duration,
    /// From a version's weight being 0 until its instances are stopped.
    pub drain: Duration,
    /// The first pause before a crashed instance is started again; it doubles with every crash.
    pub backoff_min: Duration,
    /// The longest such pause.
    pub backoff_max: Duration,
    /// How long instances may be not ready until the deployment counts as stuck.
    pub stuck_after: Duration,
    /// How often each region and each instance looks at itself.
    pub pulse: Duration,
    /// How often all counters are sampled.
    pub scrape: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            start_min: Duration::from_millis(300),
            start_max: Duration::from_millis(1_500),
            shift: Duration::from_millis(250),
            drain: Duration::from_secs(2),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(10),
            stuck_after: Duration::from_secs(6),
            pulse: Duration::from_millis(100),
            scrape: Duration::from_secs(1),
        }
    }
}

impl Timings {
    /// Everything that stands for a cloud's slowness multiplied by `factor`; looking and sampling stay as they are.
    #[must_use]
    pub fn paced(self, factor: f64) -> Self {
        let paced =
            |duration: Duration| Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(duration);
        Self {
            start_min: paced(self.start_min),
            start_max: paced(self.start_max),
            shift: paced(self.shift),
            drain: paced(self.drain),
            backoff_min: paced(self.backoff_min),
            backoff_max: paced(self.backoff_max),
            stuck_after: paced(self.stuck_after),
            ..self
        }
    }
}

/// Regions at once: each has a proxy, instances and a load generator of its own.
pub const REGIONS_MAX: usize = 200;
/// Instances of one version in one region.
pub const INSTANCES_MAX: u16 = 16;
/// Versions of one region that run at once: two arms and what still drains.
pub const VERSIONS_RUNNING_MAX: usize = 6;
/// Versions per region whose counters are kept after they were retired, so that their last rates can still be asked for.
pub const VERSIONS_MEASURED_MAX: usize = 12;
/// Versions per region that may have a fault profile.
pub const FAULTS_MAX: usize = 64;
/// Requests a second that a region may be asked to generate.
pub const REQUESTS_PER_SECOND_MAX: f64 = 2_000.0;
/// Generated requests under way per region; more are left out.
pub const LOAD_IN_FLIGHT_MAX: usize = 128;
/// Mirrored requests under way per region; more are left out.
pub const MIRRORED_IN_FLIGHT_MAX: usize = 128;
/// Connections to the control address, to one proxy and to one instance.
pub const CONNECTIONS_MAX: usize = 512;
/// A body that passes a proxy, either way.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// A body of a control request.
pub const CONTROL_BODY_BYTES_MAX: usize = 256 << 10;
/// How long a proxy waits for an instance.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Orders and shifts that `GET /orders` can still tell; all of them stay in the file until it is rotated.
pub const AUDIT_RECORDS_MAX: usize = 20_000;
/// The audit file's size at which it is set aside and a new one begun.
pub const AUDIT_BYTES_MAX: u64 = 64 << 20;
