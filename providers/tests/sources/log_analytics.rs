//! `logAnalytics` before recorded answers of the query API.

use meridian_workflows::duration::Duration;
use serde_json::{Value, json};

use crate::answers::{Answers, MINUTE, NOW, lasting, made, none, now, number, over, points, second, transient};

fn settings(address: &str) -> Value {
    json!({"address": address, "workspace": "11111111-2222", "credentials": {"token": {"secret": "azure"}}})
}

fn table(columns: &[(&str, &str)], rows: Value) -> Value {
    let columns: Vec<Value> = columns
        .iter()
        .map(|(name, kind)| json!({"name": name, "type": kind}))
        .collect();
    json!({"tables": [{"name": "PrimaryResult", "columns": columns, "rows": rows}]})
}

async fn told(body: Value) -> Result<meridian_engine::ports::metric::Number, meridian_engine::ports::failure::Failure> {
    let server = Answers::json(200, body).await;
    made("logAnalytics", &settings(&server.address))
        .unwrap()
        .query("requests", now())
        .await
}

#[tokio::test]
async fn one_value_speaks_for_the_window() {
    let server = Answers::json(200, table(&[("rate", "real")], json!([[0.25]]))).await;
    let source = made("logAnalytics", &settings(&server.address)).unwrap();
    let query = "requests | where timestamp between ($from .. $to) | summarize rate = 1.0 * countif(success == false) / count()";
    assert_eq!(source.query(query, now()).await.unwrap(), number(0.25, NOW - 60));
    let asked = server.last();
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("POST", "/v1/workspaces/11111111-2222/query")
    );
    assert_eq!(asked.header("authorization"), "Bearer s3cr3t-value");
    assert_eq!(asked.json()["timespan"], "2023-11-14T22:10:20Z/2023-11-14T22:12:20Z");
    let filled = asked.json()["query"].as_str().unwrap().to_owned();
    assert!(
        filled.contains("between (datetime(2023-11-14T22:10:20Z) .. datetime(2023-11-14T22:12:20Z))"),
        "{filled}"
    );
}

#[tokio::test]
async fn the_other_doors_lead_to_applications_and_resources() {
    let server = Answers::json(200, table(&[("n", "long")], json!([[7]]))).await;
    for (key, id, path) in [
        ("application", "abc-1", "/v1/apps/abc-1/query"),
        (
            "resource",
            "/subscriptions/0/resourceGroups/g",
            "/v1/subscriptions/0/resourceGroups/g/query",
        ),
    ] {
        let settings = json!({"address": server.address, key: id, "credentials": {"token": {"secret": "azure"}}});
        let source = made("logAnalytics", &settings).unwrap();
        assert_eq!(source.query("requests | count", now()).await.unwrap().value, Some(7.0));
        assert_eq!(server.last().path, path);
    }
}

#[tokio::test]
async fn bins_are_buckets() {
    let at = |begin: i64| second(begin).to_string();
    let rows = json!([[at(MINUTE - 60), 9.0], [at(MINUTE - 180), 1.0], [at(MINUTE - 120), 2.0]]);
    let server = Answers::json(200, table(&[("timestamp", "datetime"), ("avg_duration", "real")], rows)).await;
    let source = made("logAnalytics", &settings(&server.address)).unwrap();
    let query = "requests | summarize avg(duration) by bin(timestamp, $step)";
    assert_eq!(source.query(query, now()).await.unwrap(), number(2.0, MINUTE - 60));
    assert!(
        server.last().json()["query"]
            .as_str()
            .unwrap()
            .ends_with("bin(timestamp, 60000ms)")
    );
    let course = source.series(query, over(MINUTE - 180, NOW, 60)).await.unwrap();
    assert_eq!(points(&course), [(MINUTE - 180, 1.0), (MINUTE - 120, 2.0)]);
    assert_eq!(course.step, Duration::from_secs(60));
    assert!(lasting(source.series("requests | count", over(MINUTE - 180, NOW, 60)).await).contains("`$step`"));
}

#[tokio::test]
async fn what_is_not_one_number_is_told() {
    assert_eq!(told(table(&[("n", "real")], json!([]))).await.unwrap(), none());
    assert_eq!(told(table(&[("n", "real")], json!([[null]]))).await.unwrap(), none());
    assert!(
        told(table(&[("n", "real")], json!([["NaN"]])))
            .await
            .unwrap()
            .value
            .unwrap()
            .is_nan()
    );
    assert_eq!(
        told(table(&[("n", "decimal")], json!([["1.5"]]))).await.unwrap().value,
        Some(1.5)
    );
    // With an instant of its own the value speaks for that.
    let dated = table(
        &[("n", "real"), ("at", "datetime")],
        json!([[1.5, second(NOW - 90).to_string()]]),
    );
    assert_eq!(told(dated).await.unwrap(), number(1.5, NOW - 90));
    assert!(lasting(told(table(&[("n", "real")], json!([[1], [2]]))).await).contains("2 rows where one is needed"));
    let grouped = table(&[("name", "string"), ("n", "long")], json!([["a", 1]]));
    assert!(lasting(told(grouped).await).contains("the column `name` of type string"));
    assert!(
        lasting(told(table(&[("a", "real"), ("b", "real")], json!([[1, 2]]))).await)
            .contains("column `b` is one too many")
    );
    assert!(lasting(told(table(&[("at", "datetime")], json!([]))).await).contains("no column with a number"));
    assert!(transient(told(json!({"tables": []})).await).contains("without a table"));
}

#[tokio::test]
async fn a_part_of_the_data_and_errors_are_told_apart() {
    let mut partial = table(&[("n", "real")], json!([[1]]));
    partial["error"] = json!({"code": "PartialError", "message": "There were some errors when processing your query.",
        "details": [{"code": "EngineError", "message": "Query exceeded limits"}]});
    assert!(transient(told(partial).await).contains("from a part of its data: PartialError"));
    let of = |status: u16, body: Value| async move {
        let server = Answers::json(status, body).await;
        made("logAnalytics", &settings(&server.address))
            .unwrap()
            .query("q", now())
            .await
    };
    let syntax = json!({"error": {"message": "The request had some invalid properties", "code": "BadArgumentError",
        "innererror": {"code": "SyntaxError", "message": "A recognition error occurred."}}});
    assert!(lasting(of(400, syntax).await).contains("SyntaxError: A recognition error occurred."));
    let denied = json!({"error": {"message": "no access", "code": "InsufficientAccessError"}});
    assert!(lasting(of(403, denied).await).contains("needs the role Log Analytics Data Reader"));
    assert!(
        transient(of(429, json!({"error": {"message": "m", "code": "ThrottledError"}})).await)
            .contains("ThrottledError")
    );
    assert!(transient(of(504, json!({})).await).contains("504"));
}
