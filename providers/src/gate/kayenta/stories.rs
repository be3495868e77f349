//! Stories of the gate that asks Kayenta, before a server of the shape that its controllers and response classes have.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::gate::{Gate as _, Question, RegionArms};
use meridian_engine::ports::secret::{Secret, Secrets};
use meridian_engine::run::reading::{Analysis, Answer};
use meridian_engine::run::version::Version;
use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::{Gate, Workflow};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Kayenta;

struct OneSecret;

impl Secrets for OneSecret {
    fn resolve(&self, workflow: &str, name: &str) -> Result<Secret, Failure> {
        match (workflow, name) {
            ("shop", "kayenta") => Ok(Secret::new("s3cr3t".into())),
            _ => Err(Failure::lasting(format!("there is no secret `{name}`"))),
        }
    }
}

/// What the server was asked, and what it answers.
#[derive(Default)]
struct Server {
    /// Bodies of analyses that were started, with their parameters and the header of who asks.
    started: Vec<(Value, BTreeMap<String, String>, String)>,
    /// What every look at an execution shows; none: it breaks down.
    execution: Option<Value>,
    /// What is under way, as listed.
    listed: Vec<Value>,
}

type Shared = Arc<Mutex<Server>>;

async fn kayenta(execution: Option<Value>) -> (String, Shared) {
    let shared = Shared::default();
    shared.lock().execution = execution;
    let start = async |State(server): State<Shared>,
                       Path(config): Path<String>,
                       Query(parameters): Query<BTreeMap<String, String>>,
                       headers: HeaderMap,
                       Json(body): Json<Value>| {
        assert_eq!(config, "errors-and-latency");
        let who = headers["authorization"].to_str().unwrap_or_default().to_owned();
        let mut server = server.lock();
        server.started.push((body, parameters, who));
        Json(json!({"canaryExecutionId": format!("E{}", server.started.len())}))
    };
    let look = async |State(server): State<Shared>| match server.lock().execution.clone() {
        Some(execution) => Ok(Json(execution)),
        None => Err((StatusCode::INTERNAL_SERVER_ERROR, "redis is gone")),
    };
    let router = Router::new()
        .route(
            "/canary/executions",
            get(async |State(server): State<Shared>| Json(server.lock().listed.clone())),
        )
        .route("/canary/{id}", post(start).get(look))
        .with_state(Arc::clone(&shared));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, shared)
}

fn ended(score: f64, label: &str) -> Value {
    json!({
        "pipelineId": "E1", "complete": true, "status": "succeeded",
        "result": {"judgeResult": {
            "score": {"score": score, "classification": label, "classificationReason": ""},
            "results": [
                {"name": "errors", "classification": "High", "critical": true},
                {"name": "latency", "classification": "Pass"},
            ],
        }},
    })
}

fn gate(address: &str) -> Gate {
    serde_json::from_value(json!({
        "kind": {"kayenta": {
            "address": address, "token": "kayenta", "canaryConfigId": "errors-and-latency", "application": null,
            "metricsAccount": "prom", "storageAccount": null, "configurationAccount": null,
            "scopes": {"default": {"scope": "shop-${{ arm.version }}", "location": null, "params": {}}},
            "lookback": null, "delay": "1m", "step": "1m", "minSamples": 50, "pass": 95, "marginal": 75, "completesWithin": "15m"
        }},
        "every": "5m", "for": "0s", "initialDelay": "0s", "timeout": "3s", "onNoData": "hold", "onError": "hold",
        "onFail": "rollback", "holdFor": "1h", "dryRun": false
    }))
    .unwrap()
}

fn workflow() -> Workflow {
    serde_json::from_value(json!({
        "name": "shop", "labels": {}, "description": null, "inputs": {}, "release": {"image": "shop:v2"},
        "regions": {}, "phases": [], "gates": {}, "metrics": {}, "sources": {}, "calendars": {},
        "rollback": {"scope": "run", "deadline": "60s", "drain": "30s"}, "onConflict": "queue", "schedules": [],
        "notifications": [], "notifiers": {}, "notAvailableYet": []
    }))
    .unwrap()
}

/// One reading, so many minutes after the shift.
async fn read(reader: &Kayenta, definition: &Gate, minutes: i64) -> Result<Analysis, Failure> {
    let (workflow, settings) = (workflow(), json!({}));
    let (candidate, baseline) = (Version::named("v2"), Version::named("v1"));
    let since = Timestamp::from_second(1_700_000_000).unwrap();
    let question = Question {
        run: "shop-0001",
        workflow: &workflow,
        node: "stage:all/eu/10%",
        gate: "canary",
        definition,
        region: Some(RegionArms {
            name: "eu",
            settings: &settings,
            candidate: Some(&candidate),
            baseline: Some(&baseline),
        }),
        window: Duration::from_secs(60),
        since,
        now: Timestamp::from_second(1_700_000_000 + minutes * 60).unwrap(),
    };
    match reader.read(&question).await? {
        Answer::Analysis(analysis) => Ok(*analysis),
        other => panic!("{other:?}"),
    }
}

fn reader() -> Kayenta {
    Kayenta::new(Arc::new(OneSecret))
}

#[tokio::test]
async fn an_analysis_is_asked_for_both_arms_and_its_score_and_labels_come_back() {
    let (address, server) = kayenta(Some(ended(33.3, "Fail"))).await;
    let analysis = read(&reader(), &gate(&address), 61).await.unwrap();
    assert_eq!(
        (analysis.score, analysis.classification.as_deref(), analysis.is_complete),
        (Some(33.3), Some("Fail"), true)
    );
    assert_eq!((analysis.points, analysis.metrics[0].name.as_str()), (60, "errors"));
    assert!(analysis.metrics[0].is_critical && analysis.metrics[1].classification == "Pass");
    let server = server.lock();
    let (body, parameters, who) = &server.started[0];
    let scopes = &body["scopes"]["default"];
    assert_eq!(scopes["experimentScope"]["scope"], "shop-v2");
    assert_eq!(scopes["controlScope"]["scope"], "shop-v1");
    assert_eq!(scopes["experimentScope"]["start"], "2023-11-14T22:13:20Z");
    assert_eq!(body["thresholds"], json!({"pass": 95.0, "marginal": 75.0}));
    assert_eq!(parameters["metricsAccountName"], "prom");
    assert_eq!(who, "Bearer s3cr3t");
    assert!(!analysis.query.contains("s3cr3t") && analysis.query.contains("shop-v2"));
}

#[tokio::test]
async fn too_few_points_start_nothing() {
    let (address, server) = kayenta(Some(ended(100.0, "Pass"))).await;
    let analysis = read(&reader(), &gate(&address), 50).await.unwrap();
    assert_eq!((analysis.execution, analysis.points), (None, 49));
    assert!(server.lock().started.is_empty());
}

#[tokio::test]
async fn one_that_is_not_over_is_asked_about_again_also_after_a_crash_and_never_started_twice() {
    let running = json!({"pipelineId": "E1", "complete": false, "status": "running"});
    let (address, server) = kayenta(Some(running)).await;
    let (before, definition) = (reader(), gate(&address));
    let analysis = read(&before, &definition, 61).await.unwrap();
    assert_eq!((analysis.is_complete, analysis.status.as_str()), (false, "running"));
    read(&before, &definition, 66).await.unwrap();
    assert_eq!(server.lock().started.len(), 1);
    // Another process knows nothing of it, and finds it by its question.
    let (body, parameters, _) = server.lock().started[0].clone();
    server.lock().listed = vec![json!({
        "pipelineId": "E1", "complete": false, "status": "running", "canaryExecutionRequest": body,
        "parentPipelineExecutionId": parameters["parentPipelineExecutionId"],
    })];
    let after = reader();
    let analysis = read(&after, &definition, 67).await.unwrap();
    assert_eq!((analysis.execution.as_deref(), analysis.points), (Some("E1"), 60));
    server.lock().execution = Some(ended(100.0, "Pass"));
    let analysis = read(&after, &definition, 70).await.unwrap();
    assert_eq!(analysis.classification.as_deref(), Some("Pass"));
    assert_eq!(server.lock().started.len(), 1, "at most one analysis");
}

#[tokio::test]
async fn a_server_that_breaks_down_or_is_not_one_is_a_failure() {
    let (address, _) = kayenta(None).await;
    let failure = read(&reader(), &gate(&address), 61).await.unwrap_err();
    assert!(failure.what.contains("500"), "{}", failure.what);
    let (address, _) = kayenta(Some(json!(["no", "execution"]))).await;
    assert!(read(&reader(), &gate(&address), 61).await.is_err());
    let (address, _) = kayenta(Some(json!({"pipelineId": "E1", "complete": true}))).await;
    let nothing = read(&reader(), &gate(&address), 61).await.unwrap();
    assert_eq!((nothing.score, nothing.classification), (None, None));
    assert!(read(&reader(), &gate("http://127.0.0.1:1"), 61).await.is_err());
}
