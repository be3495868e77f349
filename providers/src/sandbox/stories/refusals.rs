//! What cannot be meant is refused, whoever sends it, and changes nothing.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use serde_json::{Value, json};

use super::{REGION, Story, candidate, serving};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_malformed_is_refused_and_changes_nothing() {
    let story = Story::begin(0.0).await;
    story.region(serving()).await;
    let before = story.settled().await;
    for (method, path, body) in [
        (Method::PUT, REGION, json!({ "faults": { "v2": { "erors": "1%" } } })),
        (Method::PUT, REGION, json!({ "instances": 0 })),
        (Method::PUT, "/apps/a%2Fb/regions/eu", json!({})),
        (
            Method::POST,
            "/faults",
            json!({ "version": "v2", "faults": { "errors": 5 } }),
        ),
        (
            Method::POST,
            "/apps/shop/regions/eu/ensure",
            json!({ "desired": { "primary": "v1" } }),
        ),
        (Method::GET, "/orders?fater=1", Value::Null),
        (Method::GET, "/api/v1/query?query=sum(", Value::Null),
    ] {
        let (status, answer) = story.call(method, path, body.clone()).await;
        assert_eq!(status, 400, "{path} {body}: {answer}");
    }
    let (status, _) = story.ensure(1, candidate("100.5%")).await;
    assert_eq!(status, 400);
    let (status, _) = story
        .ensure(
            1,
            json!({ "primary": "v1", "candidate": { "version": "v1", "share": "5%" } }),
        )
        .await;
    assert_eq!(status, 422);
    assert_eq!(
        story.call(Method::GET, "/apps/shop/regions/us", Value::Null).await.0,
        404
    );
    let too_long = Value::String("x".repeat(300 << 10));
    assert_eq!(story.call(Method::PUT, REGION, too_long).await.0, 413);
    let after = story.get(REGION).await;
    assert_eq!(
        (&before["fence"], &before["desired"]),
        (&after["fence"], &after["desired"])
    );
    story.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_page_cannot_talk_to_the_sandbox() {
    let story = Story::begin(0.0).await;
    let url = format!("{}/stop", story.sandbox.address().url);
    for (name, value) in [("origin", "https://example.com"), ("host", "rebound.example.com")] {
        let request = Request::post(&url)
            .header(name, value)
            .body(Full::new(Bytes::new()))
            .unwrap();
        assert_eq!(story.client.request(request).await.unwrap().status(), 403);
    }
    story.sandbox.stop().await;
}
