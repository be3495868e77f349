//! The cluster's API over HTTP: bodies in, `Status` objects and event streams out.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, header};
use bytes::Bytes;
use futures_util::stream;
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::kubernetes::Cluster;
use crate::kubernetes::call::Call;
use crate::kubernetes::refusal::Refusal;
use crate::kubernetes::serve::{Reply, Watch};

/// etcd's own limit for one request.
const LIMIT: usize = 3 * 1024 * 1024;

pub(crate) fn router(cluster: Arc<Cluster>) -> Router {
    Router::new().fallback(handle).with_state(cluster)
}

async fn handle(State(cluster): State<Arc<Cluster>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let reply = match to_bytes(body, LIMIT).await {
        Ok(bytes) => cluster.answer(&Call::new(parts.method, &parts.uri, &parts.headers, bytes.to_vec())),
        Err(_) => Reply::refused(&Refusal {
            code: 413,
            reason: "RequestEntityTooLarge",
            message: format!("Request entity too large: limit is {LIMIT}"),
            details: Value::Null,
        }),
    };
    let mut response = match reply {
        Reply::Json { code, body, warnings } => json(code, &body, &warnings),
        Reply::Text { code, body } => plain(code, body),
        Reply::Watch(watch) => stream_of(&cluster, *watch),
    };
    // The double's own clock, so that a client which asks the server for the time gets the time that its pods know.
    if let Some(date) = date(&cluster) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

fn date(cluster: &Cluster) -> Option<HeaderValue> {
    let now = cluster.now().to_zoned(TimeZone::UTC).timestamp();
    HeaderValue::from_str(&DateTimePrinter::new().timestamp_to_rfc9110_string(&now).ok()?).ok()
}

fn json(code: u16, body: &Value, warnings: &[String]) -> Response<Body> {
    let mut response = answer(code, "application/json", format!("{body}\n"));
    for warning in warnings {
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{}\"", warning.replace('"', "\\\""))) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    if code == 429 {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    }
    response
}

fn plain(code: u16, body: String) -> Response<Body> {
    answer(code, "text/plain; charset=utf-8", body)
}

fn answer(code: u16, media: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code.try_into().unwrap_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// Events as they happen, one JSON object a line, until the caller's timeout or the cluster's end.
fn stream_of(cluster: &Arc<Cluster>, watch: Watch) -> Response<Body> {
    let timeout = Duration::from_secs(if watch.timeout == 0 { 1800 } else { watch.timeout });
    let ends = tokio::time::Instant::now() + timeout;
    let changed = cluster.changes();
    let state = (Arc::clone(cluster), watch, changed, ends, false);
    let body = stream::unfold(state, |(cluster, mut watch, mut changed, ends, over)| async move {
        if over {
            return None;
        }
        loop {
            let mut over = false;
            changed.mark_unchanged();
            let first = std::mem::take(&mut watch.first);
            let events = if first.is_empty() {
                cluster.events(&mut watch).unwrap_or_else(|error| {
                    over = true;
                    vec![error]
                })
            } else {
                first
            };
            if !events.is_empty() {
                return Some((lines(&events), (cluster, watch, changed, ends, over)));
            }
            let woken = tokio::time::timeout_at(ends, changed.changed()).await;
            if !matches!(woken, Ok(Ok(()))) {
                // The last word of a watch that ends in peace says from where the next may go on.
                let last = watch.bookmarks.then(|| crate::kubernetes::serve::bookmark(&watch));
                let last = lines(&last.into_iter().collect::<Vec<_>>());
                return Some((last, (cluster, watch, changed, ends, true)));
            }
        }
    });
    let mut response = Response::new(Body::from_stream(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn lines(events: &[Value]) -> Result<Bytes, std::convert::Infallible> {
    let text: String = events.iter().map(|event| format!("{event}\n")).collect();
    Ok(Bytes::from(text))
}
