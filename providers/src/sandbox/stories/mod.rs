//! Stories of a whole sandbox over its real addresses: every request here goes through a socket.

mod faults;
mod refusals;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::sandbox::instance::VERSION_HEADER;
use crate::sandbox::options::{Options, Timings};
use crate::sandbox::proxy::{HttpClient, http_client};
use crate::sandbox::{Error, Sandbox, address};

/// How long anything may take before a story fails.
const PATIENCE: Duration = Duration::from_secs(20);
const REGION: &str = "/apps/shop/regions/eu";

/// A sandbox and somebody who talks to it.
struct Story {
    sandbox: Sandbox,
    client: HttpClient,
    _dir: Option<TempDir>,
}

fn quick() -> Timings {
    Timings {
        start_min: Duration::from_millis(10),
        start_max: Duration::from_millis(40),
        shift: Duration::from_millis(10),
        drain: Duration::from_millis(50),
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(200),
        stuck_after: Duration::from_millis(400),
        pulse: Duration::from_millis(20),
        scrape: Duration::from_millis(100),
    }
}

fn options(dir: &Path, requests_per_second: f64) -> Options {
    Options {
        requests_per_second,
        timings: quick(),
        ..Options::new(dir)
    }
}

impl Story {
    async fn begin(requests_per_second: f64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let story = Self::continued(dir.path(), requests_per_second).await;
        Self {
            _dir: Some(dir),
            ..story
        }
    }

    async fn continued(dir: &Path, requests_per_second: f64) -> Self {
        Self::with(options(dir, requests_per_second)).await
    }

    async fn with(options: Options) -> Self {
        Self {
            sandbox: Sandbox::start(options).await.unwrap(),
            client: http_client(),
            _dir: None,
        }
    }

    async fn send(&self, method: Method, url: &str, body: Bytes) -> (u16, Option<String>, Bytes) {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = url.parse().unwrap();
        let response = self.client.request(request).await.unwrap();
        let version = response
            .headers()
            .get(VERSION_HEADER)
            .map(|v| v.to_str().unwrap().to_owned());
        (
            response.status().as_u16(),
            version,
            response.into_body().collect().await.unwrap().to_bytes(),
        )
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() {
            Bytes::new()
        } else {
            Bytes::from(body.to_string())
        };
        let url = format!("{}{path}", self.sandbox.address().url);
        let (status, _, text) = self.send(method, &url, body).await;
        (status, serde_json::from_slice(&text).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn region(&self, settings: Value) -> Value {
        let (status, body) = self.call(Method::PUT, REGION, settings).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn ensure(&self, seq: u64, desired: Value) -> (u16, Value) {
        let order = json!({ "fence": { "claim": 1, "epoch": 1, "seq": seq }, "desired": desired });
        self.call(Method::POST, &format!("{REGION}/ensure"), order).await
    }

    async fn applied(&self, seq: u64, desired: Value) {
        let (status, body) = self.ensure(seq, desired).await;
        assert_eq!((status, &body["outcome"]), (200, &json!("applied")), "{body}");
    }

    async fn faults(&self, version: &str, faults: Value) {
        let (status, body) = self
            .call(Method::POST, "/faults", json!({ "version": version, "faults": faults }))
            .await;
        assert_eq!((status, &body["regions"]), (200, &json!(1)), "{body}");
    }

    /// Waits until the region looks as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let observed = self.get(REGION).await;
            if wanted(&observed) {
                return observed;
            }
            assert!(began.elapsed() < PATIENCE, "{what} never came: {observed:#}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn settled(&self) -> Value {
        self.until("settled", |observed| observed["standing"]["state"] == "settled")
            .await
    }

    async fn stuck(&self) -> String {
        let observed = self
            .until("stuck", |observed| observed["standing"]["state"] == "stuck")
            .await;
        observed["standing"]["why"].as_str().unwrap().to_owned()
    }

    /// Waits until an instant query has one value that is as wanted.
    async fn metric(&self, query: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let began = Instant::now();
        loop {
            let answer = self.get(&format!("/api/v1/query?query={escaped}")).await;
            let value = answer["data"]["result"][0]["value"][1]
                .as_str()
                .and_then(|text| text.parse().ok());
            if let Some(value) = value.filter(|value| wanted(*value)) {
                return value;
            }
            assert!(began.elapsed() < PATIENCE, "{query} never came: {answer}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Which versions answered this many requests to the region's front door, and with which status.
    async fn answers(&self, count: usize) -> BTreeMap<(String, u16), usize> {
        let address = self.get(REGION).await["address"].as_str().unwrap().to_owned();
        let mut answers = BTreeMap::new();
        for _ in 0..count {
            let (status, version, _) = self.send(Method::GET, &format!("{address}/"), Bytes::new()).await;
            *answers.entry((version.unwrap_or_default(), status)).or_default() += 1;
        }
        answers
    }
}

fn candidate(share: &str) -> Value {
    json!({ "primary": "v1", "candidate": { "version": "v2", "share": share } })
}

fn share(observed: &Value, version: &str) -> String {
    let versions = observed["versions"].as_array().unwrap();
    let found = versions.iter().find(|v| v["version"] == version);
    found.map_or_else(|| "none".to_owned(), |v| v["share"].as_str().unwrap().to_owned())
}

fn serving() -> Value {
    json!({ "serving": "v1" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_is_the_share_of_real_requests() {
    let story = Story::begin(0.0).await;
    story.region(serving()).await;
    story.settled().await;
    assert_eq!(story.answers(20).await, BTreeMap::from([(("v1".into(), 200), 20)]));

    story.applied(1, candidate("20%")).await;
    let observed = story.settled().await;
    assert_eq!(
        (share(&observed, "v1"), share(&observed, "v2")),
        ("80%".into(), "20%".into())
    );
    let count = 500;
    let answers = story.answers(count).await;
    let candidates = answers.get(&("v2".into(), 200)).copied().unwrap_or_default() as f64;
    // Five standard deviations of a binomial; the turns are in truth far closer.
    let (due, deviation) = (0.2 * count as f64, (0.2 * 0.8 * count as f64).sqrt());
    assert!((candidates - due).abs() <= 5.0 * deviation, "{answers:?}");
    assert_eq!(answers.values().sum::<usize>(), count);
    assert_eq!(answers.len(), 2, "only 200s, from the two arms: {answers:?}");
    story.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_with_an_older_fence_changes_nothing() {
    let story = Story::begin(0.0).await;
    story.region(serving()).await;
    story.applied(5, candidate("10%")).await;
    let before = story.settled().await;

    let (status, body) = story.ensure(4, candidate("100%")).await;
    assert_eq!(
        (status, &body["outcome"], &body["last"]["seq"]),
        (409, &json!("stale"), &json!(5))
    );
    let (status, body) = story.ensure(5, candidate("100%")).await;
    assert_eq!(
        (status, &body["outcome"]),
        (422, &json!("refused")),
        "the same fence with another content"
    );
    let (status, body) = story.ensure(5, candidate("10%")).await;
    assert_eq!((status, &body["outcome"]), (200, &json!("repeated")));

    let after = story.settled().await;
    for unchanged in ["fence", "desired", "promoted"] {
        assert_eq!(before[unchanged], after[unchanged]);
    }
    assert_eq!(share(&after, "v2"), "10%");
    let outcomes: Vec<Value> = story
        .get("/orders")
        .await
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["outcome"].clone())
        .collect();
    assert_eq!(
        outcomes,
        [json!("applied"), json!("stale"), json!("refused"), json!("repeated")]
    );
    assert_eq!(
        story.get("/shifts").await.as_array().unwrap().len(),
        1,
        "the weights moved once"
    );
    story.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_regions_shares_fences_and_faults() {
    let dir = tempfile::tempdir().unwrap();
    let story = Story::continued(dir.path(), 0.0).await;
    story.region(serving()).await;
    story.applied(7, candidate("25%")).await;
    let before = story.settled().await;
    story.faults("v2", json!({ "latency": "1ms" })).await;
    let old = story.sandbox.address().clone();
    story.sandbox.stop().await;
    assert_eq!(address::find(dir.path()).await, None);

    let story = Story::continued(dir.path(), 0.0).await;
    let after = story.settled().await;
    for kept in ["fence", "desired", "promoted"] {
        assert_eq!(before[kept], after[kept]);
    }
    assert_eq!(share(&after, "v2"), "25%");
    assert_eq!(story.get("/faults").await[0]["injected"]["v2"]["latency"], "1ms");
    assert_eq!(story.ensure(6, candidate("100%")).await.1["outcome"], "stale");
    assert_eq!(
        story.get("/orders").await.as_array().unwrap().len(),
        2,
        "the audit goes on"
    );
    assert_eq!(address::find(dir.path()).await.as_ref(), Some(story.sandbox.address()));
    assert_ne!(&old, story.sandbox.address());
    assert!(
        matches!(Sandbox::start(options(dir.path(), 0.0)).await, Err(Error::Directory(_))),
        "one per directory"
    );
    story.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_gets_weight_only_once_all_its_instances_are_ready() {
    let story = Story::begin(0.0).await;
    story
        .region(json!({ "serving": "v1", "faults": { "v2": { "neverReady": true } } }))
        .await;
    story.settled().await;
    story.applied(1, candidate("50%")).await;
    let why = story.stuck().await;
    assert!(
        why.contains("0 of 2 instances of v2 are ready") && why.contains("503"),
        "{why}"
    );
    assert_eq!(story.answers(20).await, BTreeMap::from([(("v1".into(), 200), 20)]));
    assert_eq!(story.get("/shifts").await, json!([]));

    story.faults("v2", json!({})).await;
    assert_eq!(share(&story.settled().await, "v2"), "50%");
    story.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_moves_traffic_first_and_then_retires_the_candidate() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), 0.0);
    // Long enough to be seen draining on a busy machine.
    options.timings.drain = Duration::from_secs(2);
    let story = Story::with(options).await;
    story.region(serving()).await;
    story.applied(1, candidate("100%")).await;
    story.settled().await;
    story.applied(2, json!({ "primary": "v1" })).await;
    let draining = |observed: &Value| {
        let versions = observed["versions"].as_array().unwrap();
        share(observed, "v1") == "100%" && versions.iter().any(|v| v["version"] == "v2" && v["role"] == "retiring")
    };
    story.until("traffic back while v2 still runs", draining).await;
    let observed = story.settled().await;
    assert_eq!(
        (share(&observed, "v1"), share(&observed, "v2")),
        ("100%".into(), "none".into())
    );
    assert_eq!(observed["promoted"], "v1");

    story.applied(3, json!({ "primary": "v2" })).await;
    assert_eq!(story.settled().await["promoted"], "v2");
    story.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_release_costs_no_request() {
    let story = Story::begin(300.0).await;
    story.region(serving()).await;
    let orders = [
        candidate("0%"),
        candidate("50%"),
        candidate("100%"),
        json!({ "primary": "v2" }),
        json!({ "primary": "v2", "candidate": { "version": "v3", "share": "50%" } }),
        json!({ "primary": "v2" }),
    ];
    for (seq, desired) in (1..).zip(orders) {
        story.applied(seq, desired).await;
        story.settled().await;
    }
    let live = |code: &str| format!(r#"sum(http_requests_total{{traffic="live",code{code}"200"}})"#);
    story.metric(&live("="), |count| count > 100.0).await;
    assert_eq!(story.metric(&live("!="), |_| true).await, 0.0, "answers other than 200");
    story.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_is_measured_apart_and_its_answers_reach_nobody() {
    let story = Story::begin(0.0).await;
    story
        .region(json!({ "serving": "v1", "faults": { "v2": { "errors": "100%", "latency": "5s" } } }))
        .await;
    let shadow = json!({ "primary": "v1", "candidate": { "version": "v2", "share": "0%", "shadow": "100%" } });
    story.applied(1, shadow).await;
    story.settled().await;
    // Slow copies would hold the clients up for five seconds each, failing ones would show.
    assert_eq!(story.answers(30).await, BTreeMap::from([(("v1".into(), 200), 30)]));
    story.faults("v2", json!({ "errors": "100%" })).await;
    assert_eq!(story.answers(30).await, BTreeMap::from([(("v1".into(), 200), 30)]));
    story
        .metric(
            r#"http_requests_total{version="v2",traffic="mirror",code="500"}"#,
            |count| count >= 30.0,
        )
        .await;
    let live = story
        .metric(r#"sum(http_requests_total{version="v2",traffic="live"})"#, |_| true)
        .await;
    assert_eq!(live, 0.0);
    story.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_reaches_a_version_without_a_share() {
    let story = Story::begin(0.0).await;
    story.region(serving()).await;
    story.applied(1, candidate("0%")).await;
    let observed = story.settled().await;
    let preview = observed["versions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|v| v["version"] == "v2")
        .unwrap()["preview"]
        .clone();
    let url = format!("{}{}version", story.sandbox.address().url, preview.as_str().unwrap());
    let (status, version, _) = story.send(Method::GET, &url, Bytes::new()).await;
    assert_eq!((status, version.as_deref()), (200, Some("v2")));
    let (status, _) = story.call(Method::GET, "/preview/shop/eu/v9/", Value::Null).await;
    assert_eq!(status, 404);
    story.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_region_is_gone_with_its_series() {
    let story = Story::begin(20.0).await;
    story.region(serving()).await;
    story.metric("up", |up| up == 1.0).await;
    assert_eq!(story.call(Method::DELETE, REGION, Value::Null).await.0, 200);
    assert_eq!(story.get("/regions").await, json!([]));
    story.metric("absent(up)", |absent| absent == 1.0).await;
    story.sandbox.stop().await;
}
