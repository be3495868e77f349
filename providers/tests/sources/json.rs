//! `json` before servers that answer any JSON.

use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::Number;
use meridian_workflows::duration::Duration;
use serde_json::{Value, json};

use crate::answers::{Answers, MINUTE, NOW, lasting, made, none, now, number, over, points, transient};

async fn told(value: &str, body: Value) -> Result<Number, Failure> {
    let server = Answers::json(200, body).await;
    made("json", &json!({"address": server.address, "value": value}))
        .unwrap()
        .query("/", now())
        .await
}

#[tokio::test]
async fn the_body_gives_number_instant_and_samples() {
    let body = json!({"errors": 3, "total": 12, "at": NOW - 5});
    let server = Answers::json(200, body).await;
    let settings = json!({
        "address": format!("{}/api/", server.address),
        "value": "double(body.errors) / double(body.total)",
        "at": "body.at",
        "samples": "body.total",
        "headers": {"X-Api-Key": {"secret": "json"}, "Accept-Language": "en"},
    });
    let source = made("json", &settings).unwrap();
    let told = source
        .query("/stats?version=v2&from=$from&to=$to", now())
        .await
        .unwrap();
    assert_eq!(told, number(0.25, NOW - 5));
    let asked = server.last();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", "/api/stats"));
    assert_eq!(asked.pair("from"), (NOW - 120).to_string());
    assert_eq!(asked.pair("to"), NOW.to_string());
    assert_eq!(
        (asked.header("x-api-key"), asked.header("accept-language")),
        ("s3cr3t-value", "en")
    );
    assert_eq!(source.query("/stats#samples", now()).await.unwrap().value, Some(12.0));
    assert_eq!(server.last().path, "/api/stats");
    assert!(lasting(source.query("/stats#sample", now()).await).contains("`#value` or `#samples`"));
    // What stands below the first line is a body.
    assert_eq!(
        source
            .query("search#value\n{\"range\": [$from, $to]}", now())
            .await
            .unwrap()
            .value,
        Some(0.25)
    );
    let asked = server.last();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/api/search"));
    assert_eq!(asked.json(), json!({"range": [NOW - 120, NOW]}));
}

#[tokio::test]
async fn no_traffic_is_no_data_and_another_shape_is_a_failure() {
    let ratio = "double(body.errors) / double(body.total)";
    assert_eq!(told(ratio, json!({"errors": 0, "total": 0})).await.unwrap(), none());
    assert_eq!(told("body.value", json!({"value": null})).await.unwrap(), none());
    assert_eq!(told("body.value", json!({"value": 2})).await.unwrap().value, Some(2.0));
    assert!(transient(told(ratio, json!({"errors": 1})).await).contains("has no answer for this body"));
    assert!(lasting(told("body.value", json!({"value": "many"})).await).contains("a string where a number is needed"));
    assert!(
        lasting(told("body.value > 1", json!({"value": 2})).await).contains("a condition where a number is needed")
    );
    let page = Answers::with(200, vec![("content-type", "text/html".to_owned())], "<html>".to_owned()).await;
    let source = made("json", &json!({"address": page.address, "value": "body"})).unwrap();
    assert!(lasting(source.query("/", now()).await).contains("instead of JSON"));
    let denied = Answers::json(403, json!({"secret": "do not repeat"})).await;
    let source = made("json", &json!({"address": denied.address, "value": "body"})).unwrap();
    let what = lasting(source.query("/", now()).await);
    assert!(
        what.contains("403 Forbidden; check the source's `headers`") && !what.contains("repeat"),
        "{what}"
    );
}

#[tokio::test]
async fn instants_are_seconds_milliseconds_or_text() {
    for (at, second) in [
        (json!(NOW), NOW),
        (json!(NOW * 1_000), NOW),
        (json!("2023-11-14T22:13:20Z"), NOW),
    ] {
        let server = Answers::json(200, json!({"value": 1, "at": at})).await;
        let source = made(
            "json",
            &json!({"address": server.address, "value": "body.value", "at": "body.at"}),
        )
        .unwrap();
        assert_eq!(source.query("/", now()).await.unwrap(), number(1.0, second));
    }
    let server = Answers::json(200, json!({"value": 1, "at": "soon"})).await;
    let source = made(
        "json",
        &json!({"address": server.address, "value": "body.value", "at": "body.at"}),
    )
    .unwrap();
    assert!(transient(source.query("/", now()).await).contains("no instant"));
}

#[tokio::test]
async fn a_course_is_a_list_of_pairs() {
    let body = json!({"points": [{"t": MINUTE - 60, "v": 2}, {"t": MINUTE - 120, "v": 1.5}, {"t": MINUTE, "v": 9}]});
    let server = Answers::json(200, body).await;
    let settings =
        json!({"address": server.address, "value": "body.value", "series": "body.points.map(p, [p.t, p.v])"});
    let source = made("json", &settings).unwrap();
    let course = source
        .series("/points?step=$step&from=$from&to=$to", over(MINUTE - 120, NOW, 60))
        .await
        .unwrap();
    assert_eq!(points(&course), [(MINUTE - 120, 1.5), (MINUTE - 60, 2.0)]);
    assert_eq!(course.step, Duration::from_secs(60));
    assert_eq!(server.last().pair("step"), "60");
    assert!(lasting(source.series("/points", over(MINUTE - 120, NOW, 60)).await).contains("`$step`"));
    let source = made("json", &json!({"address": server.address, "value": "body.value"})).unwrap();
    assert!(lasting(source.series("/$step", over(MINUTE - 120, NOW, 60)).await).contains("`series`"));
}

#[tokio::test]
async fn a_query_leads_to_no_other_server() {
    let server = Answers::json(200, json!(1)).await;
    let source = made("json", &json!({"address": server.address, "value": "body"})).unwrap();
    for query in [
        "//elsewhere.example/x",
        "http://elsewhere.example/x",
        "@elsewhere.example",
    ] {
        assert_eq!(source.query(query, now()).await.unwrap().value, Some(1.0), "{query}");
    }
    assert_eq!(server.count(), 3);
}
