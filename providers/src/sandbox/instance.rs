//! One instance of a version: a sample service on a port of its own, with a life of starting, serving, crashing and draining.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes as Body;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::sandbox::fault::Faults;
use crate::sandbox::listener::{self, Stop};
use crate::sandbox::options::{BODY_BYTES_MAX, CONNECTIONS_MAX, Timings};
use crate::sandbox::quantity::Bytes;

/// The header of an answer that tells which version gave it.
pub const VERSION_HEADER: &str = "x-sandbox-version";
/// What a healthy instance holds.
const MEMORY_USUAL: Bytes = Bytes(96 << 20);
/// The exit code of a process that was killed by signal 9, which is how running out of memory ends.
const EXIT_KILLED: u8 = 137;
/// A healthy answer takes between these.
const ANSWER_MILLIS: std::ops::Range<u64> = 2..9;

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// It runs and is not ready.
    Starting,
    /// It takes traffic.
    Ready,
    /// It ended by itself and waits for its next start.
    Crashed,
    /// It was stopped.
    Stopped,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// When.
    pub at: Timestamp,
    /// Its exit code.
    pub code: u8,
    /// Why, in plain words.
    pub why: String,
}

/// What can be seen of an instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vitals {
    /// Where it is in its life.
    pub stage: Stage,
    /// Where it listens while it runs.
    pub address: Option<SocketAddr>,
    /// Starts after the first.
    pub restarts: u64,
    /// Its last end.
    pub last_exit: Option<Exit>,
    /// Resident memory.
    pub memory_bytes: u64,
    /// Since when it has not been ready, for judging a start that takes too long.
    #[serde(skip)]
    pub unready_since: Option<Instant>,
}

/// One instance; the process inside it may be replaced many times.
#[derive(Debug)]
pub struct Instance {
    /// Its name, unique in its region.
    pub name: String,
    /// The version that it runs.
    pub version: String,
    faults: Arc<RwLock<Faults>>,
    vitals: Mutex<Vitals>,
    served: AtomicU64,
    chance: Mutex<StdRng>,
}

/// How a process's life ended.
enum End {
    Stopped,
    Exited(Exit),
}

impl Instance {
    /// An instance that has not been started.
    pub fn new(version: &str, number: u16, faults: Arc<RwLock<Faults>>, seed: u64) -> Self {
        Self {
            name: format!("{version}-{number}"),
            version: version.to_owned(),
            faults,
            vitals: Mutex::new(Vitals {
                stage: Stage::Starting,
                address: None,
                restarts: 0,
                last_exit: None,
                memory_bytes: 0,
                unready_since: Some(Instant::now()),
            }),
            served: AtomicU64::new(0),
            chance: Mutex::new(StdRng::seed_from_u64(seed)),
        }
    }

    /// What can be seen of it now.
    pub fn vitals(&self) -> Vitals {
        self.vitals.lock().clone()
    }

    /// Where to send a request, when it is ready for one.
    pub fn ready_address(&self) -> Option<SocketAddr> {
        let vitals = self.vitals.lock();
        vitals.address.filter(|_| vitals.stage == Stage::Ready)
    }

    /// Lives until the stop is asked for: starts the process, and starts it again whenever it ends by itself.
    /// `at_once` leaves out the first start's delay, for a sandbox that comes back to a world that was already up.
    pub async fn live(self: Arc<Self>, timings: Timings, at_once: bool, mut stop: Stop) {
        let mut delay = if at_once {
            Duration::ZERO
        } else {
            self.start_delay(&timings)
        };
        let mut backoff = timings.backoff_min;
        loop {
            let started = Instant::now();
            match self.process(&timings, delay, &mut stop).await {
                End::Stopped => break,
                End::Exited(exit) => self.note_exit(exit),
            }
            // A process that lived long did not crash in a loop.
            if started.elapsed() > timings.backoff_max {
                backoff = timings.backoff_min;
            }
            tokio::select! {
                () = stop.asked() => break,
                () = tokio::time::sleep(backoff) => {}
            }
            backoff = backoff.saturating_mul(2).min(timings.backoff_max);
            delay = self.start_delay(&timings);
            self.vitals.lock().restarts += 1;
        }
        let mut vitals = self.vitals.lock();
        (vitals.stage, vitals.address, vitals.memory_bytes) = (Stage::Stopped, None, 0);
    }

    fn start_delay(&self, timings: &Timings) -> Duration {
        let spread = timings.start_max.saturating_sub(timings.start_min);
        timings.start_min + spread.mul_f64(self.chance.lock().random_range(0.0..=1.0))
    }

    fn note_exit(&self, exit: Exit) {
        let mut vitals = self.vitals.lock();
        vitals.stage = Stage::Crashed;
        (vitals.address, vitals.memory_bytes) = (None, 0);
        vitals.last_exit = Some(exit);
        vitals.unready_since.get_or_insert_with(Instant::now);
    }

    /// One process from its start to its end. Its connections are cut when it ends by itself, as a real one's are.
    async fn process(self: &Arc<Self>, timings: &Timings, start_delay: Duration, stop: &mut Stop) -> End {
        let exited = |code, why: String| {
            End::Exited(Exit {
                at: Timestamp::now(),
                code,
                why,
            })
        };
        let bound = match listener::loopback(0).await {
            Ok(listener) => listener.local_addr().map(|address| (listener, address)),
            Err(error) => Err(error),
        };
        let (listener, address) = match bound {
            Ok(bound) => bound,
            Err(error) => return exited(1, format!("no port to listen on: {error}")),
        };
        {
            let mut vitals = self.vitals.lock();
            (vitals.stage, vitals.address) = (Stage::Starting, Some(address));
        }
        let mut server = JoinSet::new();
        server.spawn(listener::serve(
            listener,
            Sample(Arc::clone(self)),
            CONNECTIONS_MAX,
            stop.clone(),
        ));
        let born = Instant::now();
        let served_before = self.served.load(Ordering::Relaxed);
        loop {
            let (age, served) = (born.elapsed(), self.served.load(Ordering::Relaxed) - served_before);
            if let Some((code, why)) = self.beat(age, served, start_delay) {
                return exited(code, why);
            }
            let until_ready = start_delay.saturating_sub(age).max(Duration::from_millis(1));
            tokio::select! {
                () = stop.asked() => break,
                () = tokio::time::sleep(timings.pulse.min(until_ready).max(Duration::from_millis(2))) => {}
            }
        }
        // Stopped: what is being answered may finish, within the listener's grace.
        self.vitals.lock().stage = Stage::Stopped;
        while server.join_next().await.is_some() {}
        End::Stopped
    }

    /// Lets the process grow older; tells its exit code and why when that ends it.
    fn beat(&self, age: Duration, served: u64, start_delay: Duration) -> Option<(u8, String)> {
        let faults = self.faults.read().clone();
        let memory = memory(&faults, age, served);
        let limit = faults.memory_limit();
        if memory > limit.0 {
            return Some((EXIT_KILLED, format!("out of memory: killed at its limit of {limit}")));
        }
        if let Some(crash) = faults.crash_loop.filter(|crash| age >= crash.after.duration()) {
            return Some((
                crash.exit_code,
                format!("the process ended by itself with exit code {}", crash.exit_code),
            ));
        }
        let slow = faults.slow_start.map_or(Duration::ZERO, |slow| slow.duration());
        let ready = !faults.never_ready && age >= start_delay.saturating_add(slow);
        let mut vitals = self.vitals.lock();
        vitals.memory_bytes = memory;
        (vitals.stage, vitals.unready_since) = match ready {
            true => (Stage::Ready, None),
            false => (Stage::Starting, Some(vitals.unready_since.unwrap_or_else(Instant::now))),
        };
        None
    }

    /// The status and delay of the next answer to a request for `path`.
    fn answer_for(&self, path: &str) -> (StatusCode, Duration) {
        let faults = self.faults.read();
        let mut chance = self.chance.lock();
        let delay = Duration::from_millis(chance.random_range(ANSWER_MILLIS));
        let delay = delay + faults.latency.map_or(Duration::ZERO, |added| added.duration());
        match path {
            "/healthz" if self.ready_address().is_some() => (StatusCode::OK, Duration::ZERO),
            "/healthz" => (StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO),
            "/" | "/version" if chance.random_bool(faults.errors.ratio()) => (StatusCode::INTERNAL_SERVER_ERROR, delay),
            "/" | "/version" => (StatusCode::OK, delay),
            _ => (StatusCode::NOT_FOUND, delay),
        }
    }
}

/// What a process of this age holds: its usual amount, a breath of up to 1 %, and what it leaked.
fn memory(faults: &Faults, age: Duration, served: u64) -> u64 {
    let usual = faults.memory.unwrap_or(MEMORY_USUAL).0;
    let breath = (usual / 100) * (age.as_secs() % 4) / 4;
    let leak = faults.memory_leak.unwrap_or_default();
    let by_time = u128::from(leak.per_second.0).saturating_mul(age.as_millis()) / 1_000;
    let by_requests = leak.per_request.0.saturating_mul(served);
    usual
        .saturating_add(breath)
        .saturating_add(u64::try_from(by_time).unwrap_or(u64::MAX))
        .saturating_add(by_requests)
}

/// The sample service: `/`, `/version` and `/healthz`.
#[derive(Debug, Clone)]
struct Sample(Arc<Instance>);

impl Service<Request<Incoming>> for Sample {
    type Response = Response<Full<Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let instance = Arc::clone(&self.0);
        Box::pin(async move { Ok(instance.answer(request).await) })
    }
}

impl Instance {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Body>> {
        let path = request.uri().path().to_owned();
        let only_head = request.method() == Method::HEAD;
        // The body is read so that the connection can carry the next request; the sample service has no use for it.
        let too_long = Limited::new(request.into_body(), BODY_BYTES_MAX)
            .collect()
            .await
            .is_err();
        let (status, delay) = if too_long {
            (StatusCode::PAYLOAD_TOO_LARGE, Duration::ZERO)
        } else {
            self.answer_for(&path)
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if path != "/healthz" {
            self.served.fetch_add(1, Ordering::Relaxed);
        }
        let status_name = if status.is_success() { "ok" } else { "failed" };
        let text = serde_json::json!({ "status": status_name, "version": self.version, "instance": self.name });
        let text = if only_head { String::new() } else { text.to_string() };
        let mut response = Response::new(Full::new(Body::from(text)));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(version) = HeaderValue::from_str(&self.version) {
            response.headers_mut().insert(VERSION_HEADER, version);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MEMORY_USUAL, memory};
    use crate::sandbox::fault::{Faults, MemoryLeak};
    use crate::sandbox::quantity::Bytes;

    #[test]
    fn a_leak_grows_with_time_and_requests_and_never_overflows() {
        let leak = |per_second, per_request| Faults {
            memory_leak: Some(MemoryLeak {
                per_second: Bytes(per_second),
                per_request: Bytes(per_request),
                limit: None,
            }),
            ..Faults::default()
        };
        let four_seconds = Duration::from_secs(4);
        assert_eq!(memory(&Faults::default(), four_seconds, 1_000), MEMORY_USUAL.0);
        assert_eq!(memory(&leak(1_000, 10), four_seconds, 7), MEMORY_USUAL.0 + 4_070);
        assert_eq!(memory(&leak(u64::MAX, u64::MAX), Duration::MAX, u64::MAX), u64::MAX);
    }
}
