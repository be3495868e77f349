//! The control address: what can be asked of the sandbox and ordered over HTTP, all of it JSON.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, Query, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::sandbox::address::Address;
use crate::sandbox::fault::Faults;
use crate::sandbox::ledger::{Audited, Deed};
use crate::sandbox::observed::Observed;
use crate::sandbox::options::CONTROL_BODY_BYTES_MAX;
use crate::sandbox::order::{Answer, Order};
use crate::sandbox::promql::answer::{answer_query, answer_query_range};
use crate::sandbox::promql::exposition::{CONTENT_TYPE, exposition};
use crate::sandbox::record::{Key, Settings};
use crate::sandbox::scrape::{Samples, families};
use crate::sandbox::world::{Failure, World};

/// What every request works with.
#[derive(Debug, Clone)]
pub struct Control {
    /// The regions.
    pub world: Arc<World>,
    /// Their past.
    pub samples: Samples,
    /// Who answers here.
    pub address: Arc<Address>,
    /// Told when somebody asks the sandbox to end.
    pub end: Arc<Notify>,
}

/// All routes of the control address.
pub fn router(control: Control) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(healthz))
        .route("/regions", get(regions))
        .route("/apps/{app}/regions/{region}", get(region).put(visit).delete(forget))
        .route("/apps/{app}/regions/{region}/ensure", post(ensure))
        .route("/faults", get(faults).post(inject))
        .route("/orders", get(orders))
        .route("/shifts", get(shifts))
        .route("/preview/{app}/{region}/{version}/{*path}", any(preview))
        .route("/preview/{app}/{region}/{version}/", any(preview))
        .route("/api/v1/query", get(query).post(query))
        .route("/api/v1/query_range", get(query_range).post(query_range))
        .route("/metrics", get(metrics))
        .route("/stop", post(stop))
        .fallback(unknown)
        .layer(middleware::from_fn(only_local_programs))
        .layer(DefaultBodyLimit::max(CONTROL_BODY_BYTES_MAX))
        .with_state(control)
}

/// An answer that is not the one hoped for: `{"error": {"kind", "message"}}`.
struct Refused(StatusCode, &'static str, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, kind, message) = self;
        (status, Json(json!({ "error": { "kind": kind, "message": message } }))).into_response()
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        let (status, kind) = match &failure {
            Failure::Refused(_) => (StatusCode::BAD_REQUEST, "refused"),
            Failure::UnknownRegion(_) => (StatusCode::NOT_FOUND, "unknownRegion"),
            Failure::Full => (StatusCode::CONFLICT, "full"),
            Failure::Unsaved(_) | Failure::Unable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unable"),
        };
        let cause = std::error::Error::source(&failure)
            .map(|cause| format!(": {cause}"))
            .unwrap_or_default();
        Self(status, kind, format!("{failure}{cause}"))
    }
}

/// JSON read from a body, with the reason in our own form when it cannot be read.
fn read<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused(StatusCode::BAD_REQUEST, "malformed", error.to_string()))
}

/// Keeps web pages out: a browser names the page's origin, and a rebound name is not a loopback host.
async fn only_local_programs(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    if request.headers().contains_key(header::ORIGIN) || !["127.0.0.1", "localhost", "[::1]"].contains(&name) {
        let why = "the sandbox answers programs on this machine only, by its loopback address";
        return Refused(StatusCode::FORBIDDEN, "forbidden", why.to_owned()).into_response();
    }
    next.run(request).await
}

async fn index() -> &'static str {
    "Meridian's sandbox: a small cloud.\n\
     GET  /healthz                               who answers here\n\
     GET  /regions                               all regions, as /apps/{app}/regions/{region}\n\
     GET  /apps/{app}/regions/{region}           versions, shares, readiness, fence, diagnosis\n\
     PUT  /apps/{app}/regions/{region}           the same, created when missing: {serving, instances, requestsPerSecond, faults}\n\
     POST /apps/{app}/regions/{region}/ensure    {fence: {claim, epoch, seq}, desired: {primary, candidate: {version, share, shadow}}}\n\
     DELETE /apps/{app}/regions/{region}         ends and forgets it\n\
     GET  /faults                                what is wrong with which version\n\
     POST /faults                                {version, faults, app?, region?}; faults null: as the workflow says\n\
     GET  /orders, /shifts                       every order and every change of weights (?app=&region=&after=number)\n\
     ANY  /preview/{app}/{region}/{version}/     one version alone, whatever its share\n\
     GET  /api/v1/query, /api/v1/query_range, /metrics   as Prometheus has them\n\
     POST /stop                                  ends the sandbox; its state stays\n"
}

async fn unknown(uri: Uri) -> Refused {
    Refused(
        StatusCode::NOT_FOUND,
        "unknownPath",
        format!("the sandbox has nothing at {}; `/` lists what it has", uri.path()),
    )
}

async fn healthz(State(control): State<Control>) -> Json<Value> {
    let address = &control.address;
    let regions = control.world.regions().len();
    Json(json!({ "status": "ok", "instance": address.instance, "pid": address.pid, "regions": regions }))
}

async fn stop(State(control): State<Control>) -> Json<Value> {
    control.end.notify_one();
    Json(json!({ "status": "stopping" }))
}

async fn regions(State(control): State<Control>) -> Json<Vec<Observed>> {
    Json(
        control
            .world
            .regions()
            .iter()
            .map(|region| control.world.observe(region))
            .collect(),
    )
}

async fn region(State(control): State<Control>, Path(key): Path<(String, String)>) -> Result<Json<Observed>, Refused> {
    let region = control.world.region(&key_of(&key)?)?;
    Ok(Json(control.world.observe(&region)))
}

async fn visit(
    State(control): State<Control>,
    Path(key): Path<(String, String)>,
    body: axum::body::Bytes,
) -> Result<Json<Observed>, Refused> {
    let settings: Settings = if body.is_empty() {
        Settings::default()
    } else {
        read(&body)?
    };
    let region = control.world.visit(key_of(&key)?, settings).await?;
    Ok(Json(control.world.observe(&region)))
}

async fn forget(State(control): State<Control>, Path(key): Path<(String, String)>) -> Result<Json<Value>, Refused> {
    control.world.delete(key_of(&key)?).await?;
    Ok(Json(json!({ "status": "deleted" })))
}

/// What became of an order, and the region right after it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ensured {
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
    /// The region.
    pub observed: Observed,
}

async fn ensure(
    State(control): State<Control>,
    Path(key): Path<(String, String)>,
    body: axum::body::Bytes,
) -> Result<Response, Refused> {
    let (key, order) = (key_of(&key)?, read::<Order>(&body)?);
    let answer = control.world.order(key.clone(), order).await?;
    let status = match answer {
        Answer::Applied | Answer::Repeated => StatusCode::OK,
        Answer::Stale { .. } => StatusCode::CONFLICT,
        Answer::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let observed = control.world.observe(&*control.world.region(&key)?);
    Ok((status, Json(Ensured { answer, observed })).into_response())
}

fn key_of((app, region): &(String, String)) -> Result<Key, Refused> {
    Key::new(app, region).map_err(|why| Failure::Refused(why).into())
}

/// Faults posted at run time.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Injection {
    version: String,
    faults: Option<Faults>,
    app: Option<String>,
    region: Option<String>,
}

async fn inject(State(control): State<Control>, body: axum::body::Bytes) -> Result<Json<Value>, Refused> {
    let Injection {
        version,
        faults,
        app,
        region,
    } = read(&body)?;
    let named = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
    let wanted = move |key: &Key| named(&app, &key.app) && named(&region, &key.region);
    let count = control.world.inject(version, faults, wanted).await?;
    if count == 0 {
        let why = "no region has that name, so nothing was changed".to_owned();
        return Err(Refused(StatusCode::NOT_FOUND, "unknownRegion", why));
    }
    Ok(Json(json!({ "regions": count })))
}

async fn faults(State(control): State<Control>) -> Json<Vec<Value>> {
    let of_region = |region: Arc<crate::sandbox::region::Region>| {
        let record = region.record();
        json!({
            "app": record.key.app,
            "region": record.key.region,
            "workflow": record.settings.faults,
            "injected": record.injected,
        })
    };
    Json(control.world.regions().into_iter().map(of_region).collect())
}

/// Which lines of the audit are wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Wanted {
    app: Option<String>,
    region: Option<String>,
    after: u64,
}

impl Wanted {
    fn accepts(&self, line: &Audited) -> bool {
        line.number > self.after
            && self.app.as_ref().is_none_or(|app| *app == line.key.app)
            && self.region.as_ref().is_none_or(|region| *region == line.key.region)
    }
}

async fn orders(State(control): State<Control>, Query(wanted): Query<Wanted>) -> Json<Vec<Audited>> {
    let order = |line: &Audited| matches!(line.deed, Deed::Order { .. }) && wanted.accepts(line);
    Json(control.world.ledger.audited(order))
}

async fn shifts(State(control): State<Control>, Query(wanted): Query<Wanted>) -> Json<Vec<Audited>> {
    let shift = |line: &Audited| matches!(line.deed, Deed::Shift { .. }) && wanted.accepts(line);
    Json(control.world.ledger.audited(shift))
}

async fn preview(
    State(control): State<Control>,
    Path(names): Path<std::collections::HashMap<String, String>>,
    request: Request,
) -> Result<Response, Refused> {
    let name = |key: &str| names.get(key).cloned().unwrap_or_default();
    let (key, version) = (key_of(&(name("app"), name("region")))?, name("version"));
    let region = control.world.region(&key)?;
    let (mut parts, body) = request.into_parts();
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = format!("/{}{query}", name("path"));
    let malformed = |_| Refused(StatusCode::BAD_REQUEST, "malformed", format!("`{path}` is not a path"));
    parts.uri = path.parse().map_err(malformed)?;
    let answer = region.proxy.preview(&version, Request::from_parts(parts, body)).await;
    let missing = || {
        Refused(
            StatusCode::NOT_FOUND,
            "unknownVersion",
            format!("{key} does not run version {version}"),
        )
    };
    Ok(answer.ok_or_else(missing)?.map(axum::body::Body::new))
}

async fn query(State(control): State<Control>, RawQuery(query): RawQuery, body: axum::body::Bytes) -> Response {
    let parameters = parameters(query.as_deref(), &body);
    answered(move || answer_query(&control.samples.read(), &parameters, Timestamp::now())).await
}

async fn query_range(State(control): State<Control>, RawQuery(query): RawQuery, body: axum::body::Bytes) -> Response {
    let parameters = parameters(query.as_deref(), &body);
    answered(move || answer_query_range(&control.samples.read(), &parameters)).await
}

/// Works a query out where it holds up nobody's request.
async fn answered(work: impl FnOnce() -> (u16, Value) + Send + 'static) -> Response {
    let (status, json) = match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => (
            503,
            json!({ "status": "error", "errorType": "unavailable", "error": error.to_string() }),
        ),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json)).into_response()
}

/// The parameters of the query string and of a form, decoded.
fn parameters(query: Option<&str>, form: &[u8]) -> Vec<(String, String)> {
    let form = String::from_utf8_lossy(form);
    let pairs = query
        .unwrap_or_default()
        .split('&')
        .chain(form.split('&'))
        .filter(|pair| !pair.is_empty());
    let decoded = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decoded(name), percent_decoded(value))
    };
    pairs.map(decoded).collect()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let digits = tail.get(..2).filter(|pair| pair.iter().all(u8::is_ascii_hexdigit));
        let pair = digits.and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = pair
            .filter(|_| *first == b'%')
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, escaped) {
            (_, Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', None) => bytes.push(b' '),
            (byte, None) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn metrics(State(control): State<Control>) -> Response {
    let text = exposition(&families(&control.world.regions()));
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(CONTENT_TYPE));
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::{parameters, percent_decoded};

    #[test]
    fn parameters_come_from_the_query_and_the_form() {
        let pairs = parameters(Some("query=sum%28up%29&time=1"), b"step=5s&x");
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(pairs, [("query", "sum(up)"), ("time", "1"), ("step", "5s"), ("x", "")]);
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        for (text, decoded) in [
            ("a+b", "a b"),
            ("%2", "%2"),
            ("%zz", "%zz"),
            ("%C3%A9", "é"),
            ("%+1", "% 1"),
        ] {
            assert_eq!(percent_decoded(text), decoded);
        }
    }
}
