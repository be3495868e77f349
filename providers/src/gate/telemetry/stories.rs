//! Stories of gates that count requests: what is asked of a source, and what becomes of its answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Form, State};
use axum::routing::post;
use axum::{Json, Router};
use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::gate::{Gate as _, Question, RegionArms};
use meridian_engine::ports::secret::{Secret, Secrets};
use meridian_engine::run::reading::{Answer, Counts};
use meridian_engine::run::version::Version;
use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::{Gate, Workflow};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Telemetry;
use crate::gate::compare::Compare;
use crate::metric::Surroundings;

struct NoSecrets;

impl Secrets for NoSecrets {
    fn resolve(&self, _: &str, name: &str) -> Result<Secret, Failure> {
        Err(Failure::lasting(format!("there is no secret `{name}`")))
    }
}

/// The queries that were asked, in any order.
type Asked = Arc<Mutex<Vec<String>>>;

/// A Prometheus that answers with the number between `#` and `#` in a query, and with nothing where there is none.
async fn prometheus() -> (String, Asked) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let query = async |State(asked): State<Asked>, Form(form): Form<BTreeMap<String, String>>| {
        let query = form["query"].clone();
        let result: Vec<Value> = match query.split('#').nth(1) {
            Some(number) if !number.is_empty() => {
                vec![json!({"metric": {}, "value": [form["time"].parse::<f64>().unwrap(), number]})]
            }
            Some(_) | None => Vec::new(),
        };
        asked.lock().push(query);
        Json(json!({"status": "success", "data": {"resultType": "vector", "result": result}}))
    };
    let router = Router::new()
        .route("/api/v1/query", post(query))
        .with_state(Arc::clone(&asked));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, asked)
}

fn workflow(address: &str) -> Workflow {
    let metric = |query: &str| json!({"source": "prom", "unit": "count", "window": "2m", "query": query, "samples": null, "description": null});
    serde_json::from_value(json!({
        "name": "shop", "labels": {}, "description": null, "inputs": {}, "release": {"image": "shop:v2"},
        "regions": {}, "phases": [], "gates": {}, "calendars": {},
        "metrics": {
            "all": metric("all of ${{ kind }} in ${{ arm.version }} #${{ arm.labels[kind] }}#"),
            "bad": metric("bad of ${{ kind }} in ${{ arm.version }} over ${{ window }} #1#"),
        },
        "sources": {"prom": {"kind": "prometheus", "settings": {"address": address}}},
        "rollback": {"scope": "run", "deadline": "60s", "drain": "30s"}, "onConflict": "queue", "schedules": [],
        "notifications": [], "notifiers": {}, "notAvailableYet": []
    }))
    .unwrap()
}

fn by_kind() -> Gate {
    serde_json::from_value(json!({
        "kind": {"compare": {
            "of": {"counts": {"bad": "bad", "total": "all"}}, "kinds": ["read", "write"], "harm": "more",
            "margin": 1.0, "floor": 0.0025, "alpha": null, "minSamples": 100, "trafficCheck": true
        }},
        "every": "30s", "for": "0s", "initialDelay": "0s", "timeout": "10s", "onNoData": "hold", "onError": "hold",
        "onFail": "rollback", "holdFor": "1h", "dryRun": false
    }))
    .unwrap()
}

fn version(name: &str, read: &str, write: &str) -> Version {
    let labels = [("read", read), ("write", write)].map(|(name, value)| (name.to_owned(), value.to_owned()));
    Version {
        labels: labels.into(),
        ..Version::named(name)
    }
}

fn numbers(counts: &Counts) -> (Option<f64>, Option<f64>) {
    (counts.total.value, counts.parts[0].value)
}

#[tokio::test]
async fn each_kind_of_request_is_asked_for_in_both_arms_and_all_of_them_are_added_up() {
    let (address, asked) = prometheus().await;
    let telemetry = Telemetry::new(Surroundings {
        secrets: Arc::new(NoSecrets),
        sandbox_dir: "nowhere".into(),
        sandbox_address: None,
    });
    let (workflow, definition, settings) = (workflow(&address), by_kind(), json!({}));
    // Nobody writes to the candidate: there is no such series.
    let (candidate, baseline) = (version("v2", "100", ""), version("v1", "900", "40"));
    let question = Question {
        run: "shop-0001",
        workflow: &workflow,
        node: "stage:all/eu/10%",
        gate: "errors",
        definition: &definition,
        region: Some(RegionArms {
            name: "eu",
            settings: &settings,
            candidate: Some(&candidate),
            baseline: Some(&baseline),
        }),
        window: Duration::from_secs(90),
        since: Timestamp::UNIX_EPOCH,
        now: Timestamp::from_second(1_700_000_000).unwrap(),
    };
    let answer = Compare(Arc::new(telemetry)).read(&question).await.unwrap();
    let Answer::Counts {
        candidate,
        baseline,
        kinds,
    } = answer
    else {
        panic!("{answer:?}")
    };
    assert_eq!(numbers(&candidate), (Some(100.0), Some(2.0)));
    assert_eq!(baseline.as_ref().map(numbers), Some((Some(940.0), Some(2.0))));
    let of = |at: usize| (kinds[at].name.as_str(), numbers(&kinds[at].candidate));
    assert_eq!(of(0), ("read", (Some(100.0), Some(1.0))));
    assert_eq!(of(1), ("write", (None, Some(1.0))));
    let mut asked = asked.lock().clone();
    asked.sort();
    assert_eq!(asked.len(), 8, "{asked:#?}");
    assert_eq!(asked[0], "all of read in v1 #900#");
    assert!(
        asked.contains(&"bad of write in v2 over 1m30s #1#".to_owned()),
        "{asked:#?}"
    );
}
