//! A cloud of one target: two versions, a weight that takes a second to act, capacity that takes five to be ready.

use std::sync::Arc;
use std::time::Duration;

use meridian_conformance::rig::{Ailment, Fault, On, Strike};
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Fence;
use meridian_workflows::duration;
use meridian_workflows::share::Share;
use parking_lot::Mutex;

pub const READY_AFTER: Duration = Duration::from_secs(5);
const ACTS_AFTER: Duration = Duration::from_secs(1);
/// How long something has to be ready until it counts.
const STABLE_AFTER: Duration = Duration::from_secs(3);

/// All that the cloud knows, and what a read shows.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Rises with every change: the condition of the next one.
    pub revision: u64,
    pub fence: Option<Fence>,
    pub deployments: Vec<Deployment>,
    /// The version that others come to when the candidate has no weight.
    pub primary: String,
    /// What was ordered for the candidate, and what acts.
    pub weight: Share,
    pub acting: Share,
    weight_since: Duration,
    pub mirrored: Share,
    /// When the draining of a version began.
    pub draining_since: Option<Duration>,
    pub now: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    pub version: String,
    since: Duration,
    /// From when on it has been ready without a break.
    pub ready_since: Option<Duration>,
    pub ailment: Option<Ailment>,
}

impl State {
    pub fn deployment(&self, version: &str) -> Option<&Deployment> {
        self.deployments.iter().find(|deployment| deployment.version == version)
    }

    pub fn is_ready(&self, version: &str) -> bool {
        self.deployment(version)
            .is_some_and(|deployment| deployment.ready_since.is_some())
    }

    /// Ready for long enough to be believed.
    pub fn is_stable(&self, version: &str) -> bool {
        let since = self.deployment(version).and_then(|deployment| deployment.ready_since);
        since.is_some_and(|since| self.now - since >= STABLE_AFTER)
    }

    pub fn deploy(&mut self, version: &str) {
        self.deployments.push(Deployment {
            version: version.to_owned(),
            since: self.now,
            ready_since: None,
            ailment: None,
        });
    }

    pub fn remove(&mut self, version: &str) {
        self.deployments.retain(|deployment| deployment.version != version);
    }

    pub fn weigh(&mut self, weight: Share) {
        self.weight = weight;
        self.weight_since = self.now;
    }

    /// What was ordered acts.
    pub fn is_acting(&self) -> bool {
        self.weight == self.acting
    }

    fn advance(&mut self, ailing: Option<(&str, Ailment)>) {
        if self.now - self.weight_since >= ACTS_AFTER {
            self.acting = self.weight;
        }
        for deployment in &mut self.deployments {
            deployment.ailment = ailing
                .filter(|(version, _)| *version == deployment.version)
                .map(|(_, a)| a);
            let age = self.now - deployment.since;
            let is_ready = match deployment.ailment {
                None => age >= READY_AFTER,
                // For half a second of every six.
                Some(Ailment::FlappingReady) => (4_000..4_500).contains(&(age.as_millis() % 6_000)),
                Some(_) => false,
            };
            deployment.ready_since = match deployment.ready_since {
                Some(since) if is_ready => Some(since),
                _ => is_ready.then_some(self.now),
            };
        }
    }
}

/// Why the cloud's API says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    TooMany { retry_after: u32 },
    Status(u16),
    Broken,
    Nonsense,
    Conflict,
}

impl Refusal {
    pub fn failure(self) -> Failure {
        match self {
            Refusal::TooMany { retry_after } => Failure::overloaded(
                "too many requests",
                duration::Duration::from_secs(u64::from(retry_after)),
            ),
            Refusal::Status(status) if status < 500 => Failure::lasting(format!("the cloud answers {status}")),
            Refusal::Status(status) => Failure::transient(format!("the cloud answers {status}")),
            Refusal::Broken => Failure::transient("the connection broke"),
            Refusal::Nonsense => Failure::transient("the answer cannot be read"),
            Refusal::Conflict => Failure::transient("somebody else was first"),
        }
    }
}

/// The cloud behind its API.
pub struct Platform {
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    past: Option<State>,
    faults: Vec<(Fault, Strike, bool)>,
    is_refusing: bool,
    ailing: Option<(String, Ailment)>,
    writes: u64,
}

impl Platform {
    /// A cloud on which `serving` serves.
    pub fn new(serving: &str) -> Arc<Platform> {
        let mut state = State {
            revision: 1,
            fence: None,
            deployments: Vec::new(),
            primary: serving.to_owned(),
            weight: Share::ZERO,
            acting: Share::ZERO,
            weight_since: Duration::ZERO,
            mirrored: Share::ZERO,
            draining_since: None,
            now: Duration::ZERO,
        };
        state.deploy(serving);
        let inner = Inner {
            state,
            past: None,
            faults: Vec::new(),
            is_refusing: false,
            ailing: None,
            writes: 0,
        };
        let platform = Platform {
            inner: Mutex::new(inner),
        };
        platform.advance(Duration::from_secs(60));
        Arc::new(platform)
    }

    pub fn advance(&self, time: Duration) {
        let tick = Duration::from_millis(100);
        let mut inner = self.inner.lock();
        let end = inner.state.now + time;
        while inner.state.now < end {
            inner.state.now += tick;
            let ailing = inner.ailing.clone();
            inner
                .state
                .advance(ailing.as_ref().map(|(version, ailment)| (version.as_str(), *ailment)));
        }
    }

    /// The truth, past the API.
    pub fn state(&self) -> State {
        self.inner.lock().state.clone()
    }

    pub fn writes(&self) -> u64 {
        self.inner.lock().writes
    }

    /// A hand that needs no API.
    pub fn meddle(&self, change: impl FnOnce(&mut State)) {
        let mut inner = self.inner.lock();
        change(&mut inner.state);
        inner.state.revision += 1;
    }

    pub fn ail(&self, version: &str, ailment: Ailment) {
        let mut inner = self.inner.lock();
        let ailing = (version.to_owned(), ailment);
        inner.state.advance(Some((version, ailment)));
        inner.ailing = Some(ailing);
    }

    pub fn fault(&self, fault: Fault, strike: Strike) {
        let mut inner = self.inner.lock();
        if fault == Fault::Refused {
            inner.is_refusing = true;
        } else {
            inner.past = None;
            inner.faults.push((fault, strike, false));
        }
    }

    pub fn heal(&self) {
        let mut inner = self.inner.lock();
        inner.faults.clear();
        inner.past = None;
        inner.is_refusing = false;
    }

    /// The API: what is there.
    pub async fn read(&self) -> Result<State, Refusal> {
        match self.struck(false).await? {
            Some(Fault::StaleReads) => {
                let inner = self.inner.lock();
                let mut past = inner.past.clone().unwrap_or_else(|| inner.state.clone());
                past.now = inner.state.now;
                Ok(past)
            }
            Some(Fault::HalfBody | Fault::AppliedWithoutAnswer) => Err(Refusal::Broken),
            Some(_) | None => Ok(self.state()),
        }
    }

    /// The API: a change, where nothing else has changed since `revision`.
    pub async fn write(&self, revision: u64, change: impl FnOnce(&mut State)) -> Result<State, Refusal> {
        let struck = self.struck(true).await?;
        let mut inner = self.inner.lock();
        if inner.state.revision != revision {
            return Err(Refusal::Conflict);
        }
        inner.past = Some(inner.state.clone());
        change(&mut inner.state);
        inner.state.revision += 1;
        inner.writes += 1;
        match struck {
            Some(_) => Err(Refusal::Broken),
            None => Ok(inner.state.clone()),
        }
    }

    /// What falls on this request: an error at once, or a fault that lets it through.
    async fn struck(&self, is_write: bool) -> Result<Option<Fault>, Refusal> {
        // Two callers take turns at their requests, as over a network.
        tokio::task::yield_now().await;
        let struck = self.next_fault(is_write)?;
        match struck {
            Some(Fault::TooManyRequests { retry_after }) => Err(Refusal::TooMany { retry_after }),
            Some(Fault::Status(status)) => Err(Refusal::Status(status)),
            Some(Fault::EverySecondWrite) => Err(Refusal::Status(500)),
            Some(Fault::Unauthenticated) => Err(Refusal::Status(401)),
            Some(Fault::Forbidden) => Err(Refusal::Status(403)),
            Some(Fault::Malformed) => Err(Refusal::Nonsense),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Refused) => Err(Refusal::Broken),
            Some(Fault::HalfBody | Fault::AppliedWithoutAnswer | Fault::StaleReads) | None => Ok(struck),
        }
    }

    fn next_fault(&self, is_write: bool) -> Result<Option<Fault>, Refusal> {
        let mut inner = self.inner.lock();
        if inner.is_refusing {
            return Err(Refusal::Broken);
        }
        let has_past = inner.past.is_some();
        for (fault, strike, is_second) in &mut inner.faults {
            let counts = match (*fault, strike.on) {
                (Fault::StaleReads, _) => !is_write && has_past,
                (Fault::EverySecondWrite, _) => is_write && std::mem::replace(is_second, !*is_second),
                (_, On::All) => true,
                (_, On::Reads) => !is_write,
                (_, On::Writes) => is_write,
            };
            if !counts || strike.times == 0 {
                continue;
            }
            if strike.skip > 0 {
                strike.skip -= 1;
                continue;
            }
            strike.times -= 1;
            return Ok(Some(*fault));
        }
        Ok(None)
    }
}
