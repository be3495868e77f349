//! The sandbox, with the wire between it and its provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use meridian_conformance::rig::{Ailment, Fault, Meddling, Offered, Rig, Strike, Truth, Workshop};
use meridian_conformance::{suite, table};
use meridian_doubles::wire::{Answered, Asked, Manners, Plain, Refusal, Served, Wire};
use meridian_engine::ports::provider::{Ladder, Provider, Target};
use meridian_engine::run::version::Version;
use meridian_providers::cloud::sandbox::{SandboxCloud, kind};
use meridian_providers::sandbox::Sandbox;
use meridian_providers::sandbox::client::Client;
use meridian_providers::sandbox::options::{Options, Timings};
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::ProviderKind;
use meridian_workflows::workflow::Release;
use serde_json::{Value, json};

/// How fast the sandbox lives: a second of its time is so much of ours.
const PACE: f64 = 0.02;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sandbox_does_what_every_provider_does() {
    // In memory where there is such a place: the sandbox keeps every order, and a busy disk is not what is tried.
    let dir = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let options = Options {
        requests_per_second: 0.0,
        timings: Timings::default().paced(PACE),
        ..Options::new(dir.path())
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let workshop = Sandboxes {
        url: sandbox.address().url.clone(),
        built: AtomicU64::new(0),
    };
    let report = suite::run(&workshop).await;
    sandbox.stop().await;
    assert_eq!(table::hold(&report), Ok(()));
}

/// One sandbox, a region of its own for each rig.
struct Sandboxes {
    url: String,
    built: AtomicU64,
}

#[async_trait]
impl Workshop for Sandboxes {
    fn name(&self) -> String {
        "sandbox".to_owned()
    }

    async fn rig(&self) -> Result<Box<dyn Rig>, String> {
        let client = Client::new(&self.url);
        let router = Router::new().fallback(pass_on).with_state(client.clone());
        let served = Wire::serve_with(router, SandboxManners, 0).await;
        let region = format!("region-{}", self.built.fetch_add(1, Ordering::SeqCst));
        let rig = SandboxRig {
            served: served.map_err(|error| error.to_string())?,
            client,
            region,
        };
        rig.client
            .call(Method::PUT, &rig.path(), &json!({"serving": "v1"}))
            .await
            .map_err(|error| error.to_string())?;
        while !rig.truth().await.lost.is_zero() {
            rig.pass(Duration::from_secs(1)).await;
        }
        Ok(Box::new(rig))
    }
}

/// What the provider asks goes on to the sandbox itself.
async fn pass_on(State(client): State<Client>, method: Method, uri: Uri, body: Bytes) -> (StatusCode, String) {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    match client.call(method, &uri.to_string(), &body).await {
        Ok((status, answer)) => (StatusCode::from_u16(status).unwrap(), answer.to_string()),
        Err(unanswered) => (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({"error": {"message": unanswered.to_string()}}).to_string(),
        ),
    }
}

struct SandboxManners;

impl Manners for SandboxManners {
    /// A visit is a look: it makes the region where there is none.
    fn is_write(&self, asked: &Asked) -> bool {
        asked.method == Method::POST
    }

    fn refuse(&self, asked: &Asked, refusal: Refusal) -> Answered {
        Plain.refuse(asked, refusal)
    }
}

struct SandboxRig {
    served: Served,
    client: Client,
    region: String,
}

impl SandboxRig {
    fn path(&self) -> String {
        format!("/apps/shop/regions/{}", self.region)
    }

    fn targeting(&self, settings: Value, version: &str) -> Target {
        Target {
            workflow: "shop".to_owned(),
            region: self.region.clone(),
            settings,
            release: Release::Image(format!("registry.example.com/shop:{version}")),
            ladder: Ladder {
                rungs: super::rungs(&[10, 50, 100]),
                ..Ladder::default()
            },
        }
    }

    /// What the sandbox says, however long that takes.
    async fn see(&self) -> Value {
        loop {
            if let Ok((_, region)) = self.client.call(Method::GET, &self.path(), &Value::Null).await {
                return region;
            }
        }
    }
}

fn share(percent: &Value) -> Share {
    serde_json::from_value(percent.clone()).unwrap()
}

#[async_trait]
impl Rig for SandboxRig {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(SandboxCloud::new("/nonexistent", None))
    }

    fn target(&self) -> Target {
        self.targeting(json!({"address": self.served.url, "serving": "v1"}), "v2")
    }

    async fn truth(&self) -> Truth {
        let region = self.see().await;
        let empty = Vec::new();
        let versions = region["versions"].as_array().unwrap_or(&empty);
        let with = |wanted: &dyn Fn(&Value) -> bool, of: &str| {
            let points = versions
                .iter()
                .filter(|v| wanted(v))
                .map(|v| share(&v[of]).basis_points());
            Share::from_basis_points(points.sum::<u16>()).unwrap()
        };
        Truth {
            candidate_share: with(&|v| v["version"] == "v2", "share"),
            lost: with(&|v| v["ready"] == 0, "weight"),
            standing: versions
                .iter()
                .filter(|v| v["instances"].as_array().is_some_and(|instances| !instances.is_empty()))
                .map(|v| Version::named(v["version"].as_str().unwrap()))
                .collect(),
            writes: Some(self.served.wire.count(|exchange| {
                let answer: Value = serde_json::from_slice(&exchange.answer).unwrap_or_default();
                exchange.is_write && answer["outcome"] == "applied"
            })),
        }
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time.mul_f64(PACE)).await;
    }

    async fn ail(&self, ailment: Ailment) -> Offered {
        let faults = match ailment {
            Ailment::CrashLoop(code) => json!({"crashLoop": {"exitCode": code}}),
            Ailment::NeverReady => json!({"neverReady": true}),
            Ailment::OutOfMemory => json!({"memoryLeak": {"perSecond": "100Gi", "limit": "64Mi"}}),
            Ailment::FlappingReady => return Offered::No("the sandbox takes the first readiness for health"),
            Ailment::ImageMissing => return Offered::No("the sandbox has no images"),
            Ailment::Unschedulable | Ailment::QuotaExceeded => return Offered::No("the sandbox has no machines"),
        };
        let body = json!({"version": "v2", "app": "shop", "region": self.region, "faults": faults});
        let (status, answer) = self.client.call(Method::POST, "/faults", &body).await.unwrap();
        assert_eq!(status, 200, "{answer}");
        Offered::Yes
    }

    async fn fault(&self, fault: Fault, strike: Strike) -> Offered {
        self.served.wire.fault(fault, strike, |_| true);
        Offered::Yes
    }

    async fn heal(&self) {
        self.served.wire.heal();
    }

    async fn meddle(&self, _: Meddling) -> Offered {
        Offered::No("nothing but orders changes a sandbox")
    }

    fn kind(&self) -> Option<ProviderKind> {
        Some(kind())
    }

    /// It shares this machine with everything else.
    fn hiccups(&self) -> usize {
        5
    }

    fn tells_when(&self) -> bool {
        false
    }

    fn other_spelling(&self) -> Option<Target> {
        let settings = json!({"address": self.served.url, "app": "shop", "region": self.region, "instances": 3});
        Some(self.targeting(settings, "v2"))
    }

    fn other_target(&self) -> Option<Target> {
        Some(self.targeting(json!({"address": self.served.url, "region": "elsewhere"}), "v2"))
    }

    fn unsound(&self) -> Vec<(Value, String)> {
        vec![
            (json!({"instances": 0}), "instances".to_owned()),
            (json!({"fault": {}}), "fault".to_owned()),
            (json!([]), "sequence".to_owned()),
        ]
    }

    fn released_already(&self) -> Option<Target> {
        let target = self.target();
        Some(self.targeting(target.settings, "v1"))
    }
}
