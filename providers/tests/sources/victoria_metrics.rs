//! `prometheus` before VictoriaMetrics, which answers the same API.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::answers::{MINUTE, NOW, lasting, made, none, now, over, points};
use crate::process::{Server, are_left_out};

#[tokio::test]
async fn the_same_source_understands_it() {
    if are_left_out() {
        return;
    }
    let server = Server::start("victoria-metrics", "/health", |directory, port| {
        let mut command = Command::new("victoria-metrics");
        command
            .arg(format!("-storageDataPath={}", directory.join("data").display()))
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .arg("-retentionPeriod=100y");
        command
    })
    .await;
    let lines: String = (0..40)
        .flat_map(|step| ["v1", "v2"].map(|version| (version, step)))
        .map(|(version, step)| {
            let millis = (NOW - 600 + step * 15) * 1_000;
            format!("requests_total{{version=\"{version}\"}} {} {millis}\n", step * 30)
        })
        .collect();
    let import = server
        .client
        .post(format!("{}/api/v1/import/prometheus", server.address));
    assert!(import.body(lines).send().await.unwrap().status().is_success());
    let flush = server.client.get(format!("{}/internal/force_flush", server.address));
    assert!(flush.send().await.unwrap().status().is_success());
    let source = made("prometheus", &json!({"address": server.address})).unwrap();
    let rate = "sum(rate(requests_total{version=\"v2\"}[2m]))";
    let deadline = Instant::now() + Duration::from_secs(60);
    let told = loop {
        let told = source.query(rate, now()).await.unwrap();
        if told.value.is_some() || Instant::now() > deadline {
            break told;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(told.value.is_some_and(|value| (value - 2.0).abs() < 0.2), "{told:?}");
    assert_eq!(told.at, Some(now()));
    assert_eq!(source.query("sum(rate(nothing[2m]))", now()).await.unwrap(), none());
    assert!(lasting(source.query("requests_total", now()).await).contains("2 series"));
    assert!(lasting(source.query("sum(", now()).await).contains("refused the query"));
    let series = source.series(rate, over(MINUTE - 240, MINUTE, 60)).await.unwrap();
    assert_eq!(points(&series).len(), 5, "{series:?}");
}
