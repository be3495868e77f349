//! `newRelic` before recorded answers of NerdGraph.

use meridian_workflows::duration::Duration;
use serde_json::{Value, json};

use crate::answers::{Answers, MINUTE, NOW, lasting, made, none, now, number, over, points, transient};

fn settings(address: &str) -> Value {
    json!({"address": address, "account": 1_234_567, "apiKey": {"secret": "newrelic"}})
}

fn answer(results: Value) -> Value {
    json!({"data": {"actor": {"account": {"nrql": {"results": results}}}}})
}

async fn told(body: Value) -> Result<meridian_engine::ports::metric::Number, meridian_engine::ports::failure::Failure> {
    let server = Answers::json(200, body).await;
    made("newRelic", &settings(&server.address))
        .unwrap()
        .query("SELECT count(*) FROM Transaction", now())
        .await
}

#[tokio::test]
async fn one_value_speaks_for_the_window() {
    let server = Answers::json(200, answer(json!([{"count": 1000}]))).await;
    let source = made("newRelic", &settings(&server.address)).unwrap();
    let query = "SELECT count(*) FROM Transaction WHERE name != 'since we met'\n";
    assert_eq!(source.query(query, now()).await.unwrap(), number(1000.0, NOW - 30));
    let asked = server.last();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/graphql"));
    assert_eq!(asked.header("api-key"), "s3cr3t-value");
    let variables = &asked.json()["variables"];
    assert_eq!(variables["account"], 1_234_567);
    assert_eq!(
        variables["nrql"],
        format!(
            "SELECT count(*) FROM Transaction WHERE name != 'since we met' SINCE {} UNTIL {}",
            (NOW - 150) * 1_000,
            (NOW - 30) * 1_000
        )
    );
    for clause in ["since 1 hour ago", "UNTIL now", "TIMESERIES"] {
        let query = format!("SELECT count(*) FROM Transaction {clause}");
        assert!(
            lasting(source.query(&query, now()).await).contains("leave it out"),
            "{clause}"
        );
    }
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn values_that_stand_deeper_and_values_that_are_none() {
    assert_eq!(
        told(answer(json!([{"percentile.duration": {"99": 0.25}}])))
            .await
            .unwrap()
            .value,
        Some(0.25)
    );
    assert_eq!(told(answer(json!([{"average.duration": null}]))).await.unwrap(), none());
    assert_eq!(told(answer(json!([]))).await.unwrap(), none());
    assert!(lasting(told(answer(json!([{"a": 1, "b": 2}]))).await).contains("2 values where one is needed"));
    assert!(lasting(told(answer(json!([{"latest.name": "x"}]))).await).contains("`latest.name` is no number"));
    let faceted = json!([{"facet": "a", "name": "a", "count": 1}, {"facet": "b", "name": "b", "count": 2}]);
    assert!(lasting(told(answer(faceted)).await).contains("2 series where one is needed; leave out `FACET`"));
}

#[tokio::test]
async fn a_course_comes_in_buckets() {
    let row = |from: i64, value: Value| json!({"beginTimeSeconds": from, "endTimeSeconds": from + 60, "inspectedCount": 7, "average.duration": value});
    let rows = json!([
        row(MINUTE - 180, json!(1.0)),
        row(MINUTE - 120, json!(null)),
        row(MINUTE - 60, json!(3.0))
    ]);
    let server = Answers::json(200, answer(rows)).await;
    let source = made("newRelic", &settings(&server.address)).unwrap();
    let course = source
        .series(
            "SELECT average(duration) FROM Transaction",
            over(MINUTE - 180, NOW + 10, 60),
        )
        .await
        .unwrap();
    assert_eq!(points(&course), [(MINUTE - 180, 1.0), (MINUTE - 60, 3.0)]);
    assert_eq!(course.step, Duration::from_secs(60));
    assert_eq!(course.complete_to.unwrap().as_second(), NOW - 20);
    assert!(
        server.last().json()["variables"]["nrql"]
            .as_str()
            .unwrap()
            .ends_with(&format!(
                " SINCE {} UNTIL {} TIMESERIES 60 seconds",
                (MINUTE - 180) * 1_000,
                MINUTE * 1_000
            ))
    );
    // More buckets than NRQL gives become wider ones.
    let course = source
        .series(
            "SELECT average(duration) FROM Transaction",
            over(NOW - 366 * 120, NOW, 60),
        )
        .await
        .unwrap();
    assert_eq!(course.step, Duration::from_secs(120));
}

#[tokio::test]
async fn errors_come_with_the_status_of_success() {
    let error = |class: &str, message: &str| json!({"data": {"actor": {"account": {"nrql": null}}}, "errors": [{"message": message, "path": [], "extensions": {"errorClass": class}}]});
    assert!(
        lasting(told(error("NRDB:1101002", "NRQL Syntax Error: Error at line 1")).await).contains("NRQL Syntax Error")
    );
    assert!(transient(told(error("TIMEOUT", "NRDB:1109 query timed out")).await).contains("timed out"));
    assert!(transient(told(json!({"data": {"actor": {"account": null}}})).await).contains("without results"));
    let server = Answers::json(401, json!({"errors": [{"message": "Invalid API key"}]})).await;
    let source = made("newRelic", &settings(&server.address)).unwrap();
    assert!(
        lasting(source.query("q", now()).await).contains("Invalid API key; check the source's `apiKey` and `account`")
    );
}
