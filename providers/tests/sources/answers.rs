//! A server that answers what a test tells it, and remembers what it was asked; and the sources that ask it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use meridian_engine::ports::failure::{Failure, Lasting};
use meridian_engine::ports::metric::{MetricSource, Number, Stretch};
use meridian_engine::ports::secret::{Secret, Secrets};
use meridian_providers::metric::{Purpose, Surroundings, source_for};
use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::MetricUnit;
use serde_json::Value;

/// The value of every secret that the workflow `payments` was given.
pub const SECRET: &str = "s3cr3t-value";
/// When the questions of recorded answers are asked: 22:13:20 on 14 November 2023.
pub const NOW: i64 = 1_700_000_000;
/// The last whole minute before.
pub const MINUTE: i64 = NOW - 20;

pub struct Vault;

impl Secrets for Vault {
    fn resolve(&self, workflow: &str, name: &str) -> Result<Secret, Failure> {
        match (workflow, name) {
            ("payments", _) => Ok(Secret::new(SECRET.to_owned())),
            _ => Err(Failure::lasting(format!(
                "workflow `{workflow}` has no secret `{name}`"
            ))),
        }
    }
}

pub fn surroundings(secrets: Arc<dyn Secrets>) -> Surroundings {
    Surroundings {
        secrets,
        sandbox_dir: Path::new("nowhere").to_owned(),
        sandbox_address: None,
    }
}

pub fn purpose(unit: Option<MetricUnit>) -> Purpose {
    Purpose {
        workflow: "payments".to_owned(),
        unit,
        window: Duration::from_secs(120),
    }
}

pub fn made(kind: &str, settings: &Value) -> Result<Arc<dyn MetricSource>, Failure> {
    source_for(kind, settings, &purpose(None), &surroundings(Arc::new(Vault)))
}

pub fn made_in(unit: MetricUnit, kind: &str, settings: &Value) -> Arc<dyn MetricSource> {
    source_for(kind, settings, &purpose(Some(unit)), &surroundings(Arc::new(Vault))).unwrap()
}

pub fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub fn now() -> Timestamp {
    second(NOW)
}

pub fn over(from: i64, to: i64, step: u64) -> Stretch {
    Stretch {
        from: second(from),
        to: second(to),
        step: Duration::from_secs(step),
    }
}

pub fn none() -> Number {
    Number { value: None, at: None }
}

pub fn number(value: f64, at: i64) -> Number {
    Number {
        value: Some(value),
        at: Some(second(at)),
    }
}

/// Points as begin and value.
pub fn points(series: &meridian_engine::ports::metric::Series) -> Vec<(i64, f64)> {
    series
        .points
        .iter()
        .map(|point| (point.at.as_second(), point.value))
        .collect()
}

pub fn lasting<T: std::fmt::Debug>(told: Result<T, Failure>) -> String {
    let failure = told.unwrap_err();
    assert_eq!(failure.lasting, Lasting::Yes, "{failure}");
    assert!(!failure.what.contains(SECRET), "{failure}");
    failure.what
}

pub fn transient<T: std::fmt::Debug>(told: Result<T, Failure>) -> String {
    let failure = told.unwrap_err();
    assert_ne!(failure.lasting, Lasting::Yes, "{failure}");
    assert!(!failure.what.contains(SECRET), "{failure}");
    failure.what
}

/// One request that the server got.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// The decoded pairs of the query string or of a form.
    pub pairs: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: String,
}

impl Asked {
    pub fn pair(&self, name: &str) -> &str {
        let found = self.pairs.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A server on loopback that ends with the test's runtime.
pub struct Answers {
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Answers {
    /// Answers everything with this JSON.
    pub async fn json(status: u16, body: Value) -> Answers {
        Answers::with(
            status,
            vec![("content-type", "application/json".to_owned())],
            body.to_string(),
        )
        .await
    }

    pub async fn with(status: u16, headers: Vec<(&'static str, String)>, body: String) -> Answers {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let remembered = Arc::clone(&asked);
        let answer = move |request: Request<Body>| {
            let (remembered, headers, body) = (Arc::clone(&remembered), headers.clone(), body.clone());
            async move {
                remember(&remembered, request).await;
                let mut response: Response = (StatusCode::from_u16(status).unwrap(), body).into_response();
                for (name, value) in headers {
                    response.headers_mut().insert(name, value.parse().unwrap());
                }
                response
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Answers { address, asked }
    }

    /// What was asked last.
    pub fn last(&self) -> Asked {
        self.asked.lock().unwrap().last().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

async fn remember(remembered: &Mutex<Vec<Asked>>, request: Request<Body>) {
    let (parts, body) = request.into_parts();
    let body = String::from_utf8(to_bytes(body, 1_000_000).await.unwrap().to_vec()).unwrap();
    let is_form = parts
        .headers
        .get("content-type")
        .is_some_and(|kind| kind == "application/x-www-form-urlencoded");
    let encoded = if is_form {
        body.as_str()
    } else {
        parts.uri.query().unwrap_or_default()
    };
    let url: reqwest::Url = format!("http://x/?{encoded}").parse().unwrap();
    remembered.lock().unwrap().push(Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        pairs: url.query_pairs().into_owned().collect(),
        headers: parts.headers,
        body,
    });
}
