//! `wavefront` before recorded answers of `GET /api/v2/chart/api`.

use meridian_workflows::duration::Duration;
use serde_json::{Value, json};

use crate::answers::{Answers, MINUTE, NOW, lasting, made, none, now, number, over, points, transient};

fn settings(address: &str) -> Value {
    json!({"address": address, "token": {"secret": "wavefront"}})
}

fn answer(timeseries: Value) -> Value {
    json!({"query": "q", "name": "q", "timeseries": timeseries, "granularity": 60, "stats": {"keys": 1}, "warnings": null})
}

fn series() -> Value {
    json!({"label": "a", "host": "*", "tags": {}, "data": [[MINUTE - 180, 1.0], [MINUTE - 120, 2.0], [MINUTE - 60, 3.0], [MINUTE, 4.0]]})
}

#[tokio::test]
async fn the_newest_bucket_that_is_over_is_the_number() {
    let server = Answers::json(200, answer(json!([series()]))).await;
    let source = made("wavefront", &settings(&server.address)).unwrap();
    // 20 s after the minute, the minute before it may still change.
    assert_eq!(source.query("ts(a)", now()).await.unwrap(), number(2.0, MINUTE - 60));
    let asked = server.last();
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("GET", "/api/v2/chart/api")
    );
    assert_eq!(asked.header("authorization"), "Bearer s3cr3t-value");
    assert_eq!(
        (asked.pair("q"), asked.pair("g"), asked.pair("strict")),
        ("ts(a)", "m", "true")
    );
    assert_eq!(asked.pair("e"), ((MINUTE - 60) * 1_000).to_string());
    let course = source.series("ts(a)", over(MINUTE - 180, NOW + 10, 20)).await.unwrap();
    assert_eq!(
        points(&course),
        [(MINUTE - 180, 1.0), (MINUTE - 120, 2.0), (MINUTE - 60, 3.0)]
    );
    assert_eq!(course.step, Duration::from_secs(60));
}

#[tokio::test]
async fn nothing_several_and_errors_are_told_apart() {
    let of = |status: u16, body: Value| async move {
        let server = Answers::json(status, body).await;
        made("wavefront", &settings(&server.address))
            .unwrap()
            .query("q", now())
            .await
    };
    assert_eq!(
        of(200, json!({"query": "q", "name": "q", "granularity": 60}))
            .await
            .unwrap(),
        none()
    );
    assert_eq!(of(200, answer(json!(null))).await.unwrap(), none());
    assert!(lasting(of(200, answer(json!([series(), series()]))).await).contains("2 series"));
    let message = json!({"errorType": "QuerySyntaxError", "errorMessage": "Syntax error at 3"});
    assert!(lasting(of(200, message.clone()).await).contains("Syntax error at 3"));
    assert!(lasting(of(400, message).await).contains("status 400: Syntax error at 3"));
    assert!(
        lasting(
            of(
                401,
                json!({"status": {"result": "ERROR", "message": "not you", "code": 401}})
            )
            .await
        )
        .contains("not you")
    );
    assert!(transient(of(503, json!({})).await).contains("503"));
    assert!(transient(of(200, answer(json!([{"data": [["x", 1]]}]))).await).contains("would not send"));
}
