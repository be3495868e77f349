//! `datadog` before recorded answers of `GET /api/v1/query`.

use meridian_engine::ports::failure::Lasting;
use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::MetricUnit;
use serde_json::{Value, json};

use crate::answers::{Answers, MINUTE, NOW, lasting, made, made_in, none, now, number, over, points, transient};

fn settings(address: &str) -> Value {
    json!({"address": address, "apiKey": {"secret": "api"}, "applicationKey": {"secret": "app"}})
}

fn answer(series: Value) -> Value {
    json!({"status": "ok", "res_type": "time_series", "resp_version": 1, "query": "q", "from_date": 1, "to_date": 2,
        "series": series, "values": [], "times": [], "message": "", "group_by": []})
}

fn series(unit: Value) -> Value {
    let at = |second: i64, value: Value| json!([(second * 1_000) as f64, value]);
    json!({
        "unit": unit, "query_index": 0, "aggr": "avg", "metric": "trace.http.request", "tag_set": [], "expression": "q",
        "scope": "version:v2", "interval": 20, "length": 4, "start": 1, "end": 2, "display_name": "d", "attributes": {},
        "pointlist": [at(NOW - 80, json!(0.5)), at(NOW - 60, json!(null)), at(NOW - 40, json!(0.75)), at(NOW - 20, json!(9.0))],
    })
}

#[tokio::test]
async fn the_newest_bucket_that_is_over_is_the_number() {
    let server = Answers::json(200, answer(json!([series(json!(null))]))).await;
    let source = made("datadog", &settings(&server.address)).unwrap();
    // The bucket at −40 s ended 20 s ago, within the half minute in which it may still change; the one before is empty.
    assert_eq!(source.query("avg:a{*}\n", now()).await.unwrap(), number(0.5, NOW - 60));
    let asked = server.last();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", "/api/v1/query"));
    assert_eq!(asked.header("dd-api-key"), "s3cr3t-value");
    assert_eq!(asked.header("dd-application-key"), "s3cr3t-value");
    assert_eq!(asked.pair("query"), "avg:a{*}");
    assert_eq!(asked.pair("from"), (NOW - 330).to_string());
    assert_eq!(asked.pair("to"), NOW.to_string());
    let course = source.series("avg:a{*}", over(NOW - 80, NOW + 10, 60)).await.unwrap();
    assert_eq!(points(&course), [(NOW - 80, 0.5), (NOW - 40, 0.75)]);
    assert_eq!(course.step, Duration::from_secs(20));
}

#[tokio::test]
async fn nothing_and_several_are_told_apart() {
    let server = Answers::json(200, answer(json!([]))).await;
    let source = made("datadog", &settings(&server.address)).unwrap();
    assert_eq!(source.query("q", now()).await.unwrap(), none());
    assert_eq!(
        source.series("q", over(MINUTE - 60, MINUTE, 60)).await.unwrap().points,
        []
    );
    let server = Answers::json(200, answer(json!([series(json!(null)), series(json!(null))]))).await;
    let source = made("datadog", &settings(&server.address)).unwrap();
    assert!(
        lasting(source.query("q", now()).await)
            .contains("2 series where one is needed; aggregate them: leave out `by {…}`")
    );
}

#[tokio::test]
async fn the_unit_that_is_told_is_held_against_the_declared_one() {
    let unit = |family: &str, name: &str, factor: f64| json!({"family": family, "scale_factor": factor, "name": name, "short_name": null, "plural": name, "id": 1});
    let of = |declared: MetricUnit, told: Value| async move {
        let server = Answers::json(200, answer(json!([series(told)]))).await;
        made_in(declared, "datadog", &settings(&server.address))
            .query("q", now())
            .await
    };
    let nanos = json!([unit("time", "nanosecond", 1e-9), null]);
    assert_eq!(of(MetricUnit::Seconds, nanos.clone()).await.unwrap().value, Some(5e-10));
    assert!(
        lasting(of(MetricUnit::Count, nanos).await)
            .contains("a time (of 0.000000001 s), and the metric's `unit` is count")
    );
    let rate = json!([unit("network", "request", 1.0), unit("time", "second", 1.0)]);
    assert_eq!(of(MetricUnit::PerSecond, rate.clone()).await.unwrap().value, Some(0.5));
    assert!(lasting(of(MetricUnit::Ratio, rate).await).contains("a count per second"));
    let percent = json!([unit("percentage", "percent", 1.0), null]);
    assert_eq!(of(MetricUnit::Ratio, percent).await.unwrap().value, Some(0.005));
}

#[tokio::test]
async fn errors_are_told_apart() {
    let of = |status: u16, body: Value| async move {
        let server = Answers::json(status, body).await;
        made("datadog", &settings(&server.address))
            .unwrap()
            .query("q", now())
            .await
    };
    let error = json!({"status": "error", "error": "Error parsing query: unable to parse q", "series": []});
    assert!(lasting(of(200, error).await).contains("Error parsing query"));
    assert!(lasting(of(400, json!({"status": "error", "error": "bad"})).await).contains("status 400: bad"));
    assert!(
        lasting(of(403, json!({"errors": ["Forbidden"]})).await)
            .contains("403: Forbidden; check the source's `apiKey` and `applicationKey`")
    );
    assert!(transient(of(200, json!({"series": []})).await).contains("would not send"));
    let mut broken = series(json!(null));
    broken["pointlist"] = json!([[null, 1.0]]);
    assert!(transient(of(200, answer(json!([broken]))).await).contains("a point that is none"));
    let limited = Answers::with(
        429,
        vec![
            ("x-ratelimit-reset", "7".to_owned()),
            ("content-type", "application/json".to_owned()),
        ],
        json!({"errors": ["Rate limit of 1600 requests in 3600 seconds reached"]}).to_string(),
    )
    .await;
    let told = made("datadog", &settings(&limited.address))
        .unwrap()
        .query("q", now())
        .await;
    assert_eq!(
        told.unwrap_err().lasting,
        Lasting::No {
            retry_after: Some(Duration::from_secs(7))
        }
    );
}
