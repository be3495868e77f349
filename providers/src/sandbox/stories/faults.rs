//! Every fault shows in the metrics and in the diagnosis, and none of them gets a version traffic that it cannot carry.

use serde_json::{Value, json};

use super::{REGION, Story, candidate, serving, share};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_and_latency_show_in_the_metrics_of_that_version_only() {
    let story = Story::begin(200.0).await;
    story.region(serving()).await;
    story.applied(1, candidate("50%")).await;
    story.settled().await;
    story.faults("v2", json!({ "errors": "50%", "latency": "60ms" })).await;
    let errors = |version: &str| {
        format!(
            r#"sum(rate(http_requests_total{{version="{version}",code=~"5.."}}[3s])) / sum(rate(http_requests_total{{version="{version}"}}[3s]))"#
        )
    };
    story.metric(&errors("v2"), |ratio| (0.25..0.75).contains(&ratio)).await;
    assert_eq!(story.metric(&errors("v1"), |_| true).await, 0.0);
    let p90 = r#"histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket{version="v2"}[3s])))"#;
    story.metric(p90, |seconds| seconds > 0.05).await;
    story.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_leak_grows_until_the_instance_is_killed() {
    let story = Story::begin(50.0).await;
    let leak = json!({ "memory": "100Mi", "memoryLeak": { "perSecond": "200Mi", "limit": "500Mi" } });
    story.region(json!({ "serving": "v1", "faults": { "v2": leak } })).await;
    story.applied(1, candidate("50%")).await;
    story.settled().await;
    let memory = r#"process_resident_memory_bytes{version="v2",region="eu"}"#;
    story.metric(memory, |bytes| bytes > 300e6).await;
    assert!(
        story
            .metric(r#"process_resident_memory_bytes{version="v1"}"#, |_| true)
            .await
            < 110e6
    );
    story
        .metric(r#"instance_restarts_total{version="v2"}"#, |restarts| restarts >= 1.0)
        .await;
    let killed = |observed: &Value| {
        let remarks = observed["diagnosis"].to_string();
        remarks.contains("137") && remarks.contains("out of memory: killed at its limit of 500Mi")
    };
    story.until("a diagnosis of the kill", killed).await;
    story.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_is_told_with_its_exit_code_and_never_gets_traffic() {
    let story = Story::begin(0.0).await;
    story
        .region(json!({ "serving": "v1", "faults": { "v2": { "crashLoop": { "exitCode": 3 } } } }))
        .await;
    story.applied(1, candidate("10%")).await;
    let why = story.stuck().await;
    assert!(
        why.contains("v2 is in a crash loop") && why.contains("exit code 3"),
        "{why}"
    );
    assert_eq!(story.get("/shifts").await, json!([]));

    // Once it serves, a version that crashes leaves its turns to the other one, and is not settled while it flaps.
    story.faults("v2", json!({})).await;
    story.settled().await;
    story.faults("v2", json!({ "crashLoop": { "exitCode": 3 } })).await;
    story
        .until("no share without a ready instance", |observed| {
            share(observed, "v1") == "100%"
        })
        .await;
    story.stuck().await;
    story.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_can_hang_and_says_why_and_the_way_back_stays_open() {
    let story = Story::begin(0.0).await;
    let quota = json!({ "stuckDeploy": { "reason": "quota of vCPUs reached", "from": "50%" } });
    story
        .region(json!({ "serving": "v1", "faults": { "v2": quota } }))
        .await;
    story.applied(1, candidate("25%")).await;
    story.settled().await;
    story.applied(2, candidate("50%")).await;
    assert!(story.stuck().await.contains("quota of vCPUs reached"));
    assert_eq!(share(&story.get(REGION).await, "v2"), "25%");
    story.applied(3, candidate("0%")).await;
    assert_eq!(share(&story.settled().await, "v2"), "0%");

    story
        .faults(
            "v3",
            json!({ "stuckDeploy": { "reason": "image cannot be pulled: manifest unknown" } }),
        )
        .await;
    story
        .applied(
            4,
            json!({ "primary": "v1", "candidate": { "version": "v3", "share": "0%" } }),
        )
        .await;
    assert!(
        story
            .stuck()
            .await
            .contains("v3 cannot be deployed: image cannot be pulled: manifest unknown")
    );
    story.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_start_takes_its_time_and_arrives() {
    let story = Story::begin(0.0).await;
    story
        .region(json!({ "serving": "v1", "faults": { "v2": { "slowStart": "3s" } } }))
        .await;
    story.applied(1, candidate("10%")).await;
    assert!(story.stuck().await.contains("0 of 2 instances of v2 are ready"));
    assert_eq!(share(&story.settled().await, "v2"), "10%");
    story.sandbox.stop().await;
}
