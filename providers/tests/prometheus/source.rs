//! The metric source `prometheus` before a double that answers oddly, before the real server, and before the sandbox.

use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use jiff::Timestamp;
use meridian_engine::ports::failure::{Failure, Lasting};
use meridian_engine::ports::metric::{MetricSource, Number, Point, Series, Stretch};
use meridian_engine::ports::secret::{Secret, Secrets};
use meridian_providers::metric::{Surroundings, source};
use meridian_providers::sandbox::Sandbox;
use meridian_providers::sandbox::options::Options;
use meridian_providers::sandbox::promql::answer::{answer_query, answer_query_range};
use meridian_providers::sandbox::promql::store::Store;
use meridian_workflows::duration::Duration;
use serde_json::{Value, json};

use crate::data;
use crate::server::Prometheus;

const TOKEN: &str = "s3cr3t-token";

struct OneSecret;

impl Secrets for OneSecret {
    fn resolve(&self, workflow: &str, name: &str) -> Result<Secret, Failure> {
        match (workflow, name) {
            ("payments", "prometheus") => Ok(Secret::new(TOKEN.to_owned())),
            _ => Err(Failure::lasting(format!(
                "workflow `{workflow}` has no secret `{name}`"
            ))),
        }
    }
}

fn surroundings(sandbox_dir: &Path) -> Surroundings {
    Surroundings {
        secrets: Arc::new(OneSecret),
        sandbox_dir: sandbox_dir.to_owned(),
        sandbox_address: None,
    }
}

fn made(settings: Value) -> Result<Arc<dyn MetricSource>, Failure> {
    source("prometheus", &settings, "payments", &surroundings(Path::new("nowhere")))
}

fn asked() -> Timestamp {
    Timestamp::from_millisecond(data::START + 600_250).unwrap()
}

/// Serves on a free loopback port until the test's runtime ends.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// What the source says when every request is answered with this.
async fn told<F, R>(answer: F) -> Result<Number, Failure>
where
    F: Fn() -> R + Clone + Send + Sync + 'static,
    R: IntoResponse + 'static,
{
    let address = serve(Router::new().fallback(move || std::future::ready(answer().into_response()))).await;
    let settings = json!({"address": address, "token": {"secret": "prometheus"}, "timeout": "20s"});
    made(settings).unwrap().query("up", asked()).await
}

async fn told_json(body: Value) -> Result<Number, Failure> {
    told(move || Json(body.clone())).await
}

fn vector(elements: Value) -> Value {
    json!({"status": "success", "data": {"resultType": "vector", "result": elements}})
}

fn element(value: &str) -> Value {
    json!({"metric": {}, "value": [asked().as_millisecond() as f64 / 1000.0, value]})
}

fn lasting(told: Result<Number, Failure>) -> String {
    let failure = told.unwrap_err();
    assert_eq!(failure.lasting, Lasting::Yes, "{failure}");
    failure.what
}

fn transient(told: Result<Number, Failure>) -> String {
    let failure = told.unwrap_err();
    assert_eq!(failure.lasting, Lasting::No { retry_after: None }, "{failure}");
    failure.what
}

#[tokio::test]
async fn one_number_is_an_answer_and_an_empty_vector_is_no_data() {
    let one = told_json(vector(json!([element("0.25")]))).await.unwrap();
    assert_eq!(
        one,
        Number {
            value: Some(0.25),
            at: Some(asked())
        }
    );
    assert_eq!(
        told_json(vector(json!([]))).await.unwrap(),
        Number { value: None, at: None }
    );
    let scalar = json!({"status": "success", "data": {"resultType": "scalar", "result": [1_700_000_600, "NaN"]}});
    let scalar = told_json(scalar).await.unwrap();
    assert!(scalar.value.unwrap().is_nan());
    assert_eq!(scalar.at, Timestamp::from_second(1_700_000_600).ok());
    for (text, value) in [("+Inf", f64::INFINITY), ("-Inf", f64::NEG_INFINITY), ("1e-07", 1e-7)] {
        assert_eq!(
            told_json(vector(json!([element(text)]))).await.unwrap().value,
            Some(value)
        );
    }
}

#[tokio::test]
async fn several_series_are_counted_and_the_hint_says_what_to_do() {
    let what = lasting(told_json(vector(json!(vec![element("1"); 3]))).await);
    assert!(what.contains("3 series") && what.contains("sum(…)"), "{what}");
}

#[tokio::test]
async fn what_is_no_number_is_a_failure() {
    let of = |kind: &str, result: Value| json!({"status": "success", "data": {"resultType": kind, "result": result}});
    assert!(lasting(told_json(of("matrix", json!([]))).await).contains("range of samples"));
    assert!(lasting(told_json(of("string", json!([1, "a"]))).await).contains("a text"));
    assert!(lasting(told_json(of("streams", json!([]))).await).contains("unknown kind streams"));
    assert!(lasting(told_json(vector(json!([{"metric": {}, "histogram": [1, {}]}]))).await).contains("histogram"));
    for broken in [
        json!([{"metric": {}}]),
        json!([{"value": [1, 2]}]),
        json!([{"value": ["1", "2"]}]),
        json!([{"value": [1]}]),
        json!([{"value": [1e300, "2"]}]),
        json!([null]),
        json!([element("")]),
        json!([element("many")]),
    ] {
        assert!(transient(told_json(vector(broken)).await).contains("a sample that is none"));
    }
    assert!(transient(told_json(of("scalar", json!([1]))).await).contains("scalar that is none"));
    assert!(transient(told_json(json!({"status": "success"})).await).contains("without data"));
    assert!(transient(told_json(json!([1, 2])).await).contains("JSON that prometheus would not send"));
    assert!(
        transient(told_json(json!({"status": "success", "data": {"resultType": "vector", "result": null}})).await)
            .contains("JSON")
    );
    let error = json!({"status": "error", "errorType": "internal", "error": "on fire"});
    assert!(lasting(told_json(error).await).contains("internal with the status of success: on fire"));
}

#[tokio::test]
async fn part_of_the_data_is_not_an_answer() {
    let mut answer = vector(json!([element("1")]));
    answer["warnings"] = json!(["store gateway 2 did not answer"]);
    assert!(transient(told_json(answer.clone()).await).contains("from a part of its data: store gateway 2"));
    answer["warnings"] = json!(["PromQL info: metric might not be a counter"]);
    assert_eq!(told_json(answer).await.unwrap().value, Some(1.0));
}

#[tokio::test]
async fn an_answer_to_another_instant_is_stale() {
    let seconds = asked().as_millisecond() as f64 / 1000.0;
    let at = |offset: f64| vector(json!([{"metric": {}, "value": [seconds + offset, "1"]}]));
    assert!(transient(told_json(at(-301.0)).await).contains("301 s before the instant"));
    assert!(transient(told_json(at(301.0)).await).contains("301 s after the instant"));
    assert_eq!(
        told_json(at(-15.0)).await.unwrap().at,
        Timestamp::from_millisecond(asked().as_millisecond() - 15_000).ok()
    );
}

#[tokio::test]
async fn refusals_last_and_overload_passes() {
    let error = |status: u16, kind: &'static str| {
        let body = json!({"status": "error", "errorType": kind, "error": "1:3: parse error"});
        told(move || (StatusCode::from_u16(status).unwrap(), Json(body.clone())))
    };
    assert!(lasting(error(400, "bad_data").await).contains("status 400: bad_data: 1:3: parse error"));
    assert!(lasting(error(422, "execution").await).contains("execution"));
    assert!(transient(error(503, "timeout").await).contains("status 503: timeout"));
    for status in [500, 502, 504, 408, 425, 429] {
        assert!(transient(error(status, "internal").await).contains(&status.to_string()));
    }
    assert!(lasting(error(401, "unauthorized").await).contains("`token`"));
    assert!(lasting(told(|| StatusCode::FORBIDDEN).await).contains("403 Forbidden; check the source's `token`"));
    assert!(lasting(told(|| StatusCode::NOT_FOUND).await).contains("`address`"));
    let elsewhere = told(|| (StatusCode::FOUND, [("Location", "http://127.0.0.1:1/")])).await;
    assert!(lasting(elsewhere).contains("redirects are not followed"));
}

#[tokio::test]
async fn the_wait_that_a_server_asks_for_is_passed_on() {
    let wait = |status: StatusCode, headers: Vec<(&'static str, &'static str)>| async move {
        let answer = move || {
            let mut response = status.into_response();
            for (name, value) in &headers {
                response.headers_mut().insert(*name, value.parse().unwrap());
            }
            response
        };
        told(answer).await.unwrap_err().lasting
    };
    let retry = |seconds| Lasting::No {
        retry_after: Some(Duration::from_secs(seconds)),
    };
    assert_eq!(
        wait(StatusCode::TOO_MANY_REQUESTS, vec![("Retry-After", "7")]).await,
        retry(7)
    );
    assert_eq!(
        wait(
            StatusCode::SERVICE_UNAVAILABLE,
            vec![("Retry-After", "99999999999999999999")]
        )
        .await,
        Lasting::No { retry_after: None }
    );
    assert_eq!(
        wait(StatusCode::SERVICE_UNAVAILABLE, vec![("Retry-After", "99999999")]).await,
        retry(3_600)
    );
    let date = vec![
        ("Date", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ("Retry-After", "Wed, 21 Oct 2015 07:28:30 GMT"),
    ];
    assert_eq!(wait(StatusCode::SERVICE_UNAVAILABLE, date).await, retry(30));
    assert_eq!(
        wait(StatusCode::BAD_REQUEST, vec![("Retry-After", "7")]).await,
        Lasting::Yes
    );
}

#[tokio::test]
async fn a_page_is_not_an_answer() {
    let page = told(|| {
        (
            [("Content-Type", "text/html; charset=utf-8")],
            "<html>Please log in</html>",
        )
    })
    .await;
    let what = lasting(page);
    assert!(
        what.contains("text/html; charset=utf-8 instead of JSON") && what.contains("login page"),
        "{what}"
    );
    assert!(lasting(told(|| StatusCode::OK).await).contains("something without a type"));
    assert!(transient(told(|| ([("Content-Type", "application/json")], "{\"status\":")).await).contains("JSON"));
    assert!(transient(told(|| ([("Content-Type", "application/json")], "[".repeat(100_000))).await).contains("JSON"));
}

#[tokio::test]
async fn too_much_is_not_read_and_nothing_is_unfolded() {
    // Without a length, and endless: the answer comes because reading stops.
    let endless = || {
        let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 65_536])));
        Response::new(Body::from_stream(chunks))
    };
    assert!(lasting(told(endless).await).contains("longer than 10 MiB"));
    let declared = || Response::new(Body::from(vec![b' '; (10 << 20) + 1]));
    assert!(lasting(told(declared).await).contains("longer than 10 MiB"));
    let bomb = || {
        (
            [("Content-Encoding", "gzip"), ("Content-Type", "application/json")],
            vec![0x1f_u8, 0x8b, 8, 0],
        )
    };
    assert!(lasting(told(bomb).await).contains("compressed (gzip)"));
    // Just below the bound, with many series: counted, not kept.
    let many = vector(json!(vec![element("1"); 100_000]));
    assert!(lasting(told_json(many).await).contains("100000 series"));
}

#[tokio::test]
async fn a_broken_or_silent_server_may_come_back() {
    let cut = || {
        let chunks: [Result<Bytes, std::io::Error>; 2] =
            [Ok(Bytes::from_static(b"{\"sta")), Err(std::io::Error::other("cut"))];
        Response::new(Body::from_stream(futures_util::stream::iter(chunks)))
    };
    assert!(transient(told(cut).await).contains("no answer"));
    let silent = serve(Router::new().fallback(std::future::pending::<Response>)).await;
    let source = made(json!({"address": silent, "timeout": "50ms"})).unwrap();
    assert!(transient(source.query("up", asked()).await).contains("no answer within 50ms"));
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let source = made(json!({"address": closed})).unwrap();
    let what = transient(source.query("up", asked()).await);
    assert!(
        what.starts_with(&format!("prometheus at {}: no answer: ", &closed["http://".len()..])),
        "{what}"
    );
}

#[tokio::test]
async fn the_question_carries_the_token_and_no_failure_shows_it() {
    let echo = |headers: HeaderMap, request: Request<Body>| async move {
        let path = request.uri().path().to_owned();
        let form = axum::body::to_bytes(request.into_body(), 10_000).await.unwrap();
        let error = format!(
            "{path} {} {} {}",
            String::from_utf8(form.to_vec()).unwrap(),
            headers["authorization"].to_str().unwrap(),
            headers["accept-encoding"].to_str().unwrap(),
        );
        (
            StatusCode::BAD_REQUEST,
            Json(json!({"status": "error", "errorType": "bad_data", "error": error})),
        )
    };
    let address = serve(Router::new().fallback(echo)).await;
    let settings = json!({"address": format!("{address}/prefix/"), "token": {"secret": "prometheus"}});
    let what = lasting(made(settings).unwrap().query("sum(up) + 1", asked()).await);
    let expected =
        "/prefix/api/v1/query query=sum%28up%29+%2B+1&time=1700000600.250&timeout=10000ms Bearer (secret) identity";
    assert!(what.ends_with(expected), "{what}");
    // A token that would be cut in two by the limit on quoted words is taken out before.
    let long = format!("{}{TOKEN}", "x".repeat(295));
    let what = lasting(told(move || (StatusCode::BAD_REQUEST, Json(json!({"status": "error", "error": long})))).await);
    assert!(!what.contains("s3cr"), "{what}");
}

#[tokio::test]
async fn a_secret_that_was_not_given_is_not_asked_with() {
    let source = made(json!({"address": "http://127.0.0.1:1", "token": {"secret": "other"}})).unwrap();
    assert_eq!(
        lasting(source.query("up", asked()).await),
        "prometheus at 127.0.0.1:1: workflow `payments` has no secret `other`"
    );
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let why = |settings: Value| made(settings).map(|_| ()).unwrap_err().what;
    assert!(why(json!({})).contains("missing field `address`"));
    assert!(why(json!({"address": "prometheus:9090"})).contains("scheme `prometheus`"));
    assert!(why(json!({"address": "not a url"})).contains("no URL"));
    assert!(why(json!({"address": "http://me:pw@prometheus"})).contains("credentials"));
    assert!(!why(json!({"address": "http://me:pw@prometheus"})).contains("pw"));
    assert!(why(json!({"address": "http://prometheus?a=b"})).contains("query or fragment"));
    assert!(why(json!({"address": "http://prometheus", "tokn": {}})).contains("unknown field `tokn`"));
    assert!(why(json!({"address": "http://prometheus", "timeout": "0s"})).contains("`timeout`"));
    assert!(why(json!({"address": "http://prometheus", "timeout": "1h"})).contains("at most 2m"));
    let refused = |kind: &str, settings: Value| {
        source(kind, &settings, "payments", &surroundings(Path::new("nowhere")))
            .map(|_| ())
            .unwrap_err()
            .what
    };
    assert_eq!(
        refused("promtheus", json!({})),
        "this build has no metric source `promtheus`"
    );
    assert!(refused("sandbox", json!({"adress": "http://127.0.0.1:1"})).contains("unknown field `adress`"));
    assert!(refused("sandbox", json!({"address": "ftp://127.0.0.1"})).contains("scheme `ftp`"));
}

fn stretch(seconds: i64, step: u64) -> Stretch {
    Stretch {
        from: asked(),
        to: Timestamp::from_millisecond(asked().as_millisecond() + seconds * 1_000).unwrap(),
        step: Duration::from_secs(step),
    }
}

/// The course that the source reads out of this answer to a range query.
async fn course(body: Value, over: Stretch) -> Result<Series, Failure> {
    let address = serve(Router::new().fallback(move || std::future::ready(Json(body.clone())))).await;
    made(json!({"address": address})).unwrap().series("up", over).await
}

fn matrix(elements: Value) -> Value {
    json!({"status": "success", "data": {"resultType": "matrix", "result": elements}})
}

#[tokio::test]
async fn a_course_is_one_series_in_order() {
    let start = asked().as_millisecond() as f64 / 1000.0;
    let one = matrix(json!([{"metric": {}, "values": [[start, "1"], [start + 15.0, "NaN"], [start + 30.0, "3"]]}]));
    let series = course(one.clone(), stretch(30, 15)).await.unwrap();
    assert_eq!(series.step, Duration::from_secs(15));
    assert_eq!(series.complete_to, None);
    assert_eq!(
        series.points[0],
        Point {
            at: asked(),
            value: 1.0
        }
    );
    assert!(series.points[1].value.is_nan());
    assert_eq!(series.points.len(), 3);
    assert_eq!(course(matrix(json!([])), stretch(30, 15)).await.unwrap().points, []);
    let failed = |told: Result<Series, Failure>| told.unwrap_err().what;
    let many = matrix(json!([{"values": []}, {"values": []}]));
    assert!(failed(course(many, stretch(30, 15)).await).contains("2 series"));
    let disordered = matrix(json!([{"values": [[start + 15.0, "1"], [start, "1"]]}]));
    assert!(failed(course(disordered, stretch(30, 15)).await).contains("not in order"));
    assert!(failed(course(one, stretch(10, 5)).await).contains("outside of what was asked"));
    assert!(failed(course(vector(json!([])), stretch(30, 15)).await).contains("unknown kind vector"));
    assert!(failed(course(matrix(json!([{"histograms": []}])), stretch(30, 15)).await).contains("histogram"));
    assert!(failed(course(matrix(json!([])), stretch(30, 0)).await).contains("holds nothing"));
    assert!(failed(course(matrix(json!([])), stretch(-1, 15)).await).contains("holds nothing"));
}

#[tokio::test]
async fn a_stretch_too_long_for_its_step_gets_a_wider_one() {
    let series = course(matrix(json!([])), stretch(22_000, 1)).await.unwrap();
    assert_eq!(series.step, Duration::from_secs(2));
}

#[tokio::test]
async fn a_tenant_and_a_user_are_told_to_the_server() {
    let echo = |headers: HeaderMap| async move {
        let of = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let error = format!("{} {}", of("authorization"), of("x-scope-orgid"));
        (
            StatusCode::BAD_REQUEST,
            Json(json!({"status": "error", "error": error})),
        )
    };
    let address = serve(Router::new().fallback(echo)).await;
    let settings =
        json!({"address": address, "username": "meridian", "password": {"secret": "prometheus"}, "tenant": "shop"});
    let what = lasting(made(settings).unwrap().query("up", asked()).await);
    // meridian:s3cr3t-token
    assert!(what.ends_with("Basic bWVyaWRpYW46czNjcjN0LXRva2Vu shop"), "{what}");
    let why = |settings: Value| made(settings).map(|_| ()).unwrap_err().what;
    let both = json!({"address": "http://p", "token": {"secret": "a"}, "username": "u", "password": {"secret": "b"}});
    assert!(why(both).contains("`token` and `username`"));
    assert!(why(json!({"address": "http://p", "username": "u"})).contains("belong together"));
}

/// The questions of a gate, before any server that holds the data.
async fn gate_questions(address: &str) {
    let source = made(json!({"address": address})).unwrap();
    let ratio = r#"sum(rate(http_requests_total{version="v2",code=~"5.."}[2m])) / sum(rate(http_requests_total{version="v2"}[2m]))"#;
    let number = source.query(ratio, asked()).await.unwrap();
    assert!(
        number.value.is_some_and(|value| value > 0.0 && value < 0.1),
        "{number:?}"
    );
    assert_eq!(number.at, Some(asked()));
    assert_eq!(
        source.query("sum(rate(nothing[2m]))", asked()).await.unwrap(),
        Number { value: None, at: None }
    );
    assert!(
        source
            .query("0 / 0", asked())
            .await
            .unwrap()
            .value
            .is_some_and(f64::is_nan)
    );
    let series = source.series(ratio, stretch(300, 15)).await.unwrap();
    assert_eq!(series.points.len(), 21);
    assert_eq!(series.points[0].at, asked());
    assert_eq!(Some(series.points[0].value), number.value);
    assert_eq!(
        source
            .series("sum(rate(nothing[2m]))", stretch(300, 15))
            .await
            .unwrap()
            .points,
        []
    );
    assert!(lasting(source.query("http_requests_total", asked()).await).contains("12 series"));
    assert!(lasting(source.query("http_requests_total[1m]", asked()).await).contains("range of samples"));
    assert!(lasting(source.query("sum(", asked()).await).contains("status 400: bad_data"));
    assert!(
        lasting(source.query("limit * on(region) build_info", asked()).await)
            .contains("execution: found duplicate series")
    );
}

#[tokio::test]
async fn the_real_server_is_understood() {
    let Some(server) = Prometheus::start(&data::all()).await else {
        return;
    };
    gate_questions(&server.address).await;
}

#[tokio::test]
async fn our_own_answers_are_understood() {
    let store: Arc<Store> = Arc::new(data::store(&data::all()));
    let query = move |axum::Form(parameters): axum::Form<Vec<(String, String)>>| {
        let (status, body) = answer_query(&store, &parameters, Timestamp::UNIX_EPOCH);
        std::future::ready((StatusCode::from_u16(status).unwrap(), Json(body)))
    };
    let store: Arc<Store> = Arc::new(data::store(&data::all()));
    let range = move |axum::Form(parameters): axum::Form<Vec<(String, String)>>| {
        let (status, body) = answer_query_range(&store, &parameters);
        std::future::ready((StatusCode::from_u16(status).unwrap(), Json(body)))
    };
    let router = Router::new()
        .route("/api/v1/query", axum::routing::post(query))
        .route("/api/v1/query_range", axum::routing::post(range));
    gate_questions(&serve(router).await).await;
}

#[tokio::test]
async fn the_sandbox_is_found_and_found_again_at_another_address() {
    let directory = tempfile::tempdir().unwrap();
    let metrics = source("sandbox", &Value::Null, "payments", &surroundings(directory.path())).unwrap();
    assert!(transient(metrics.query("1", asked()).await).contains("no sandbox runs in"));
    let first = Sandbox::start(Options::new(directory.path())).await.unwrap();
    assert_eq!(
        metrics.query("2 ^ 3", asked()).await.unwrap(),
        Number {
            value: Some(8.0),
            at: Some(asked())
        }
    );
    assert_eq!(
        metrics.query("sum(rate(nothing[2m]))", asked()).await.unwrap().value,
        None
    );
    assert!(lasting(metrics.query("rate(nothing)", asked()).await).contains("bad_data"));
    assert_eq!(metrics.series("2 ^ 3", stretch(30, 15)).await.unwrap().points.len(), 3);
    let former = first.address().url.clone();
    first.stop().await;
    assert!(metrics.query("1", asked()).await.is_err());
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let elsewhere = Options {
        listen: free,
        ..Options::new(directory.path())
    };
    let second = Sandbox::start(elsewhere).await.unwrap();
    assert_ne!(second.address().url, former);
    assert_eq!(metrics.query("1", asked()).await.unwrap().value, Some(1.0));
    // Its address may also be written down.
    let written = json!({"address": second.address().url});
    let metrics = source("sandbox", &written, "payments", &surroundings(Path::new("nowhere"))).unwrap();
    assert_eq!(metrics.query("1", asked()).await.unwrap().value, Some(1.0));
    second.stop().await;
}
