//! `azureMonitor` before recorded answers of the metrics API, version 2023-10-01.

use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::MetricUnit;
use serde_json::{Value, json};

use crate::answers::{
    Answers, MINUTE, NOW, lasting, made, made_in, none, now, number, over, points, second, transient,
};

const SITE: &str = "/subscriptions/0000/resourceGroups/shop/providers/Microsoft.Web/sites/shop";

fn settings(address: &str) -> Value {
    json!({"address": address, "resource": SITE, "credentials": {"token": {"secret": "azure"}}})
}

fn metric(name: &str, unit: &str, courses: Value) -> Value {
    json!({
        "id": format!("{SITE}/providers/Microsoft.Insights/metrics/{name}"), "type": "Microsoft.Insights/metrics",
        "name": {"value": name, "localizedValue": name}, "displayDescription": "d", "unit": unit, "timeseries": courses,
        "errorCode": "Success",
    })
}

fn course(field: &str, values: &[(i64, Option<f64>)]) -> Value {
    let point = |(begin, value): &(i64, Option<f64>)| match value {
        Some(value) => json!({"timeStamp": second(*begin).to_string(), field: value}),
        None => json!({"timeStamp": second(*begin).to_string()}),
    };
    json!({"metadatavalues": [], "data": values.iter().map(point).collect::<Vec<_>>()})
}

fn answer(metrics: &[Value]) -> Value {
    json!({"cost": 59, "timespan": "a/b", "interval": "PT1M", "value": metrics, "namespace": "Microsoft.Web/sites", "resourceregion": "westeurope"})
}

#[tokio::test]
async fn the_newest_bucket_that_is_over_is_the_number_in_the_declared_unit() {
    let data = course(
        "average",
        &[
            (MINUTE - 180, Some(120.0)),
            (MINUTE - 120, Some(250.0)),
            (MINUTE - 60, Some(9.0)),
            (MINUTE, None),
        ],
    );
    let server = Answers::json(
        200,
        answer(&[metric("HttpResponseTime", "MilliSeconds", json!([data]))]),
    )
    .await;
    let source = made_in(MetricUnit::Seconds, "azureMonitor", &settings(&server.address));
    // 20 s after the minute, the one before it is within the minute in which it may still change.
    assert_eq!(
        source.query("average(HttpResponseTime)", now()).await.unwrap(),
        number(0.25, MINUTE - 60)
    );
    let asked = server.last();
    assert_eq!(asked.method, "GET");
    assert_eq!(asked.path, format!("{SITE}/providers/Microsoft.Insights/metrics"));
    assert_eq!(asked.header("authorization"), "Bearer s3cr3t-value");
    assert_eq!(
        (asked.pair("api-version"), asked.pair("interval")),
        ("2023-10-01", "PT1M")
    );
    assert_eq!(
        (asked.pair("metricnames"), asked.pair("aggregation")),
        ("HttpResponseTime", "Average")
    );
    assert_eq!(asked.pair("timespan"), "2023-11-14T22:07:00Z/2023-11-14T22:12:00Z");
    let wrong = made_in(MetricUnit::Count, "azureMonitor", &settings(&server.address));
    assert!(
        lasting(wrong.query("average(HttpResponseTime)", now()).await)
            .contains("a time (of 0.001 s), and the metric's `unit` is count")
    );
}

#[tokio::test]
async fn two_metrics_are_divided_bucket_by_bucket() {
    let errors = course(
        "total",
        &[
            (MINUTE - 180, Some(1.0)),
            (MINUTE - 120, Some(2.0)),
            (MINUTE - 60, None),
        ],
    );
    let requests = course(
        "total",
        &[
            (MINUTE - 180, Some(100.0)),
            (MINUTE - 120, Some(100.0)),
            (MINUTE - 60, Some(50.0)),
        ],
    );
    let body = answer(&[
        metric("Http5xx", "Count", json!([errors])),
        metric("Requests", "Count", json!([requests])),
    ]);
    let server = Answers::json(200, body).await;
    let query = format!("total(Http5xx) / total(Requests) of {SITE}/slots/next where Instance eq 'a'");
    let source = made_in(MetricUnit::Ratio, "azureMonitor", &settings(&server.address));
    assert_eq!(source.query(&query, now()).await.unwrap(), number(0.02, MINUTE - 60));
    let asked = server.last();
    assert_eq!(
        asked.path,
        format!("{SITE}/slots/next/providers/Microsoft.Insights/metrics")
    );
    assert_eq!(
        (asked.pair("metricnames"), asked.pair("$filter")),
        ("Http5xx,Requests", "Instance eq 'a'")
    );
    let percent = made_in(MetricUnit::Percent, "azureMonitor", &settings(&server.address));
    assert_eq!(percent.query(&query, now()).await.unwrap().value, Some(2.0));
    let course = source.series(&query, over(MINUTE - 180, NOW + 60, 45)).await.unwrap();
    assert_eq!(points(&course), [(MINUTE - 180, 0.01), (MINUTE - 120, 0.02)]);
    assert_eq!(course.step, Duration::from_secs(60));
}

#[tokio::test]
async fn nothing_several_and_errors_are_told_apart() {
    let of = |status: u16, body: Value| async move {
        let server = Answers::json(status, body).await;
        made("azureMonitor", &settings(&server.address))
            .unwrap()
            .query("total(Http5xx)", now())
            .await
    };
    assert_eq!(
        of(200, answer(&[metric("Http5xx", "Count", json!([]))])).await.unwrap(),
        none()
    );
    let empty = course("total", &[(MINUTE - 120, None)]);
    assert_eq!(
        of(200, answer(&[metric("Http5xx", "Count", json!([empty]))]))
            .await
            .unwrap(),
        none()
    );
    let old = course("total", &[(MINUTE - 1_200, Some(1.0))]);
    assert_eq!(
        of(200, answer(&[metric("Http5xx", "Count", json!([old]))]))
            .await
            .unwrap(),
        none()
    );
    let one = course("total", &[]);
    assert!(lasting(of(200, answer(&[metric("Http5xx", "Count", json!([one, one]))])).await).contains("2 series"));
    assert!(transient(of(200, answer(&[])).await).contains("without the metric `Http5xx`"));
    let mut failed = metric("Http5xx", "Count", json!([]));
    failed["errorCode"] = json!("InternalError");
    assert!(transient(of(200, answer(&[failed])).await).contains("could not read `Http5xx`: InternalError"));
    let bad = json!({"code": "BadRequest", "message": "Failed to find metric configuration"});
    assert!(lasting(of(400, json!({"error": bad})).await).contains("status 400: BadRequest: Failed to find metric"));
    let denied = json!({"error": {"code": "AuthorizationFailed", "message": "no"}});
    assert!(lasting(of(403, denied).await).contains("needs the role Monitoring Reader"));
    assert!(
        transient(
            of(
                429,
                json!({"error": {"code": "TooManyRequests", "message": "slow down"}})
            )
            .await
        )
        .contains("slow down")
    );
    let source = made("azureMonitor", &settings("http://127.0.0.1:1")).unwrap();
    assert!(lasting(source.query("Http5xx", now()).await).contains("write it like `average(HttpResponseTime)`"));
}
