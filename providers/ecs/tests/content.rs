//! What a tag turned out to be is told by the tasks that pulled it.

use std::collections::BTreeSet;

use meridian_engine::ports::provider::Provider as _;
use meridian_engine::run::effect::Progress;
use serde_json::{Value, json};

use crate::orders::{arrived, order_of, serving};
use crate::stage::{Means, Stage};

/// The content that ECS says the candidate's containers were given.
fn given(stage: &Stage) -> BTreeSet<String> {
    let listed = stage.ecs("ListTasks", json!({"cluster": "prod"}));
    let tasks = json!({"cluster": "prod", "tasks": listed["taskArns"]});
    let tasks = stage.ecs("DescribeTasks", tasks)["tasks"].clone();
    let is_ours = |task: &&Value| task["taskDefinitionArn"].as_str().unwrap().ends_with("/web:2");
    let ours = tasks.as_array().unwrap().iter().filter(is_ours);
    let digest = |task: &Value| task["containers"][0]["imageDigest"].as_str().unwrap().to_owned();
    ours.map(digest).collect()
}

#[tokio::test]
async fn a_look_after_staging_tells_the_content_that_the_tasks_were_given() {
    for means in [Means::Native, Means::TaskSets, Means::TwoServices] {
        let stage = Stage::build(means, &[1_000, 10_000]).await;
        let target = stage.target();
        let look = async || stage.provider().observe(&target).await.unwrap().observation;
        assert_eq!(look().await.candidate_digest, None, "{means:?}: nothing stands yet");
        let staged = order_of(&stage, 1, serving(0));
        assert_eq!(arrived(&stage, &target, &staged).await, Progress::Settled, "{means:?}");
        let digest = look().await.candidate_digest.unwrap();
        assert!(digest.starts_with("sha256:"), "{digest}");
        assert_eq!(given(&stage), BTreeSet::from([digest]), "{means:?}");
    }
}
