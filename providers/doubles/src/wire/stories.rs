//! Each fault as a client meets it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http_body_util::BodyExt as _;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use meridian_conformance::rig::{Fault, On, Strike};

use super::{Served, Wire};

type Count = Arc<AtomicU64>;

/// A cloud that is one number: GET shows it, POST adds one.
async fn counter() -> (Served, Count) {
    async fn show(State(count): State<Count>) -> String {
        format!("the number is {}", count.load(Ordering::SeqCst))
    }
    async fn add(State(count): State<Count>) -> String {
        format!("the number is {}", count.fetch_add(1, Ordering::SeqCst) + 1)
    }
    let count = Count::default();
    let router = Router::new()
        .route("/number", get(show).post(add))
        .route("/other", get(show).post(add))
        .with_state(Arc::clone(&count));
    (Wire::serve(router).await.unwrap(), count)
}

/// Status and body, or none where the answer is not whole.
async fn ask(served: &Served, method: Method, path: &str) -> Option<(u16, String)> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", served.url))
        .body(Body::empty())
        .unwrap();
    let response = client.request(request).await.ok()?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    Some((status, String::from_utf8(body.to_vec()).unwrap()))
}

fn number(number: u64) -> Option<(u16, String)> {
    Some((200, format!("the number is {number}")))
}

fn any(_: &super::Asked) -> bool {
    true
}

#[tokio::test]
async fn without_a_fault_everything_passes_and_stands_in_the_journal() {
    let (served, _) = counter().await;
    assert_eq!(ask(&served, Method::POST, "/number").await, number(1));
    assert_eq!(ask(&served, Method::GET, "/number").await, number(1));
    assert_eq!(ask(&served, Method::POST, "/nowhere").await.unwrap().0, 404);
    assert_eq!(served.wire.writes(), 1);
    let journal = served.wire.journal();
    let lines: Vec<_> = journal
        .iter()
        .map(|e| format!("{} {:?}", e.asked.uri, e.status))
        .collect();
    assert_eq!(lines, ["/number Some(200)", "/number Some(200)", "/nowhere Some(404)"]);
}

#[tokio::test]
async fn a_refusal_is_counted_and_not_carried_out() {
    let (served, count) = counter().await;
    let slow = Fault::TooManyRequests { retry_after: 7 };
    for (fault, status) in [
        (slow, 429),
        (Fault::Status(503), 503),
        (Fault::Unauthenticated, 401),
        (Fault::Forbidden, 403),
    ] {
        served.wire.fault(fault, Strike::next(2), any);
        assert_eq!(ask(&served, Method::POST, "/number").await.unwrap().0, status);
        assert_eq!(ask(&served, Method::GET, "/number").await.unwrap().0, status);
        assert_eq!(ask(&served, Method::GET, "/number").await, number(0));
    }
    assert_eq!((count.load(Ordering::SeqCst), served.wire.writes()), (0, 0));
}

#[tokio::test]
async fn a_strike_picks_its_requests() {
    let (served, _) = counter().await;
    let third = Strike {
        on: On::Writes,
        skip: 1,
        times: 1,
    };
    served
        .wire
        .fault(Fault::Status(500), third, |asked| asked.path() == "/other");
    assert_eq!(ask(&served, Method::POST, "/other").await, number(1));
    assert_eq!(ask(&served, Method::GET, "/other").await, number(1));
    assert_eq!(ask(&served, Method::POST, "/number").await, number(2));
    assert_eq!(ask(&served, Method::POST, "/other").await.unwrap().0, 500);
    assert_eq!(ask(&served, Method::POST, "/other").await, number(3));
}

#[tokio::test]
async fn an_answer_that_is_lost_or_half_is_carried_out() {
    let (served, count) = counter().await;
    for (fault, at) in [(Fault::AppliedWithoutAnswer, 1), (Fault::HalfBody, 2)] {
        served.wire.fault(fault, Strike::next(1), any);
        assert_eq!(ask(&served, Method::POST, "/number").await, None, "{fault:?}");
        assert_eq!((count.load(Ordering::SeqCst), served.wire.writes()), (at, at));
    }
    served.wire.fault(Fault::Malformed, Strike::next(1), any);
    assert!(
        ask(&served, Method::POST, "/number")
            .await
            .unwrap()
            .1
            .contains("<html>")
    );
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_closed_door_refuses_until_all_faults_end() {
    let (served, _) = counter().await;
    for round in 1..=3 {
        served.wire.fault(Fault::Refused, Strike::next(1), any);
        assert_eq!(ask(&served, Method::POST, "/number").await, None);
        // The task gives its listener up when it comes to it; from then on the kernel refuses.
        while tokio::net::TcpStream::connect(served.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        served.wire.heal();
        assert_eq!(ask(&served, Method::POST, "/number").await, number(round));
    }
    // Opened again before the task noticed.
    served.wire.fault(Fault::Refused, Strike::next(1), any);
    served.wire.heal();
    assert_eq!(ask(&served, Method::GET, "/number").await, number(3));
}

#[tokio::test]
async fn a_request_that_hangs_ends_with_the_faults_and_was_not_carried_out() {
    let (served, count) = counter().await;
    served.wire.fault(Fault::Hang, Strike::next(1), any);
    let mut hanging = Box::pin(ask(&served, Method::POST, "/number"));
    let early = tokio::time::timeout(Duration::from_millis(20), &mut hanging).await;
    assert!(early.is_err(), "no byte comes back");
    served.wire.heal();
    assert_eq!((hanging.await, count.load(Ordering::SeqCst)), (None, 0));
}

#[tokio::test]
async fn stale_reads_show_what_was_true_before_the_last_change() {
    let (served, _) = counter().await;
    assert_eq!(ask(&served, Method::GET, "/number").await, number(0));
    served.wire.fault(Fault::StaleReads, Strike::next(2), any);
    assert_eq!(ask(&served, Method::GET, "/number").await, number(0));
    ask(&served, Method::POST, "/number").await;
    ask(&served, Method::POST, "/number").await;
    assert_eq!(
        ask(&served, Method::GET, "/other").await,
        number(2),
        "never asked before"
    );
    assert_eq!(ask(&served, Method::GET, "/number").await, number(1));
    assert_eq!(ask(&served, Method::GET, "/number").await, number(1));
    assert_eq!(ask(&served, Method::GET, "/number").await, number(2));
    assert_eq!(served.wire.writes(), 2);
}

#[tokio::test]
async fn every_second_write_fails_and_reads_do_not() {
    let (served, _) = counter().await;
    served.wire.fault(Fault::EverySecondWrite, Strike::next(2), any);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(ask(&served, Method::POST, "/number").await.unwrap().0);
        assert_eq!(ask(&served, Method::GET, "/number").await.unwrap().0, 200);
    }
    assert_eq!(statuses, [200, 500, 200, 500, 200, 200]);
}

#[tokio::test]
async fn the_journal_is_a_file_of_lines_too() {
    let (served, _) = counter().await;
    let file = std::env::temp_dir().join(format!("wire-{}.jsonl", uuid::Uuid::now_v7()));
    served.wire.write_journal_to(&file).unwrap();
    ask(&served, Method::POST, "/number").await;
    let lines = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let line: serde_json::Value = serde_json::from_str(lines.trim()).unwrap();
    assert_eq!(
        line,
        serde_json::json!({"method": "POST", "path": "/number", "request": "", "status": 200, "response": "the number is 1"})
    );
}
