//! Diagnoses of what an API server and its controllers show of ailing pods, by the words that the nodes of a lab and of the double
//! understand in the annotation `klab/do`.

use meridian_kubernetes::api::resource::{DEPLOYMENTS, RESOURCE_QUOTAS};
use meridian_kubernetes::diagnosis::{Diagnosis, Prospect, diagnose, gather};
use serde_json::{Value, json};

use crate::stage::Stage;

fn deployment(words: &str) -> Value {
    let template = json!({
        "metadata": {"labels": {"app": "payments"}, "annotations": {"klab/do": words}},
        "spec": {"containers": [{"name": "app", "image": "registry.example.com/payments:v2",
            "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": if words == "unschedulable" { "900" } else { "10m" }}}}]},
    });
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "payments"}, "spec": {"replicas": 2,
        "progressDeadlineSeconds": 20, "selector": {"matchLabels": {"app": "payments"}}, "template": template}})
}

/// What is diagnosed until it says these words with this prospect, or for a minute.
async fn diagnosed(stage: &Stage, prospect: Prospect, words: &str) -> Diagnosis {
    let mut last = None;
    for _ in 0..240 {
        let live = stage.namespace.get(&DEPLOYMENTS, "payments").await.unwrap().unwrap();
        let evidence = gather(&stage.namespace, &live).await.unwrap();
        last = diagnose(&evidence, stage.now());
        if let Some(found) = last
            .as_ref()
            .filter(|found| found.prospect == prospect && found.why.contains(words))
        {
            eprintln!("{}", found.why);
            return found.clone();
        }
        stage.pass(std::time::Duration::from_millis(250)).await;
    }
    panic!("never `{words}`, but {last:?}");
}

#[tokio::test]
async fn ailing_pods_are_told_in_plain_words() {
    for (words, prospect, why) in [
        (
            "imagepull",
            Prospect::Stuck,
            "image `registry.example.com/payments:v2` cannot be pulled (2 of 2 pods)",
        ),
        (
            "crashloop exit=3",
            Prospect::Stuck,
            "container `app` crashes again and again (2 of 2 pods): last exit code 3",
        ),
        (
            "oom",
            Prospect::Stuck,
            "container `app` is killed for using more memory than its limit of 256Mi (2 of 2 pods)",
        ),
        ("neverready", Prospect::Stuck, "no progress within its deadline of 20 s"),
        ("stuck", Prospect::Moving, "a container is being created (2 of 2 pods)"),
        (
            "unschedulable",
            Prospect::Moving,
            "a pod cannot be scheduled: too little CPU is free",
        ),
    ] {
        let stage = Stage::bare("ails").await;
        stage.namespace.create(&DEPLOYMENTS, &deployment(words)).await.unwrap();
        diagnosed(&stage, prospect, why).await;
        stage.strike().await;
    }
}

#[tokio::test]
async fn a_used_up_quota_is_told_with_its_numbers() {
    let stage = Stage::bare("quota").await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "1"}}});
    stage.namespace.create(&RESOURCE_QUOTAS, &quota).await.unwrap();
    // Quotas count once their controller has seen them.
    for _ in 0..100 {
        let live = stage.namespace.get(&RESOURCE_QUOTAS, "few").await.unwrap().unwrap();
        if live["status"]["hard"]["pods"] == "1" {
            break;
        }
        stage.pass(std::time::Duration::from_millis(100)).await;
    }
    stage
        .namespace
        .create(&DEPLOYMENTS, &deployment("ready"))
        .await
        .unwrap();
    let found = diagnosed(&stage, Prospect::Stuck, "quota `few` is used up").await;
    assert!(found.why.contains("(pods 1 of 1)"), "{}", found.why);
    stage.strike().await;
}
