//! Tasks: what those that run were given, and why others stopped.

use std::collections::BTreeSet;

use aws_sdk_ecs::types::{Container, DesiredStatus, Task};
use meridian_engine::ports::failure::Failure;

use super::{Account, failure, instant, text};
use crate::facts::{Ended, Stopped};

/// ECS gives tasks in no order, and remembers stopped ones for about an hour: all are read, up to 2,000.
const PAGES_MAX: usize = 20;

impl Account {
    /// The tasks of a service that have stopped lately.
    pub async fn stopped_tasks(&self, cluster: &str, service: &str) -> Result<Vec<Stopped>, Failure> {
        let tasks = self.tasks(cluster, service, DesiredStatus::Stopped).await?;
        Ok(tasks.iter().map(stopped).collect())
    }

    /// The content that a service's running tasks of this task definition were given as a container's image, each once:
    /// several where the tag moved while they were pulled.
    pub async fn digests(
        &self,
        cluster: &str,
        service: &str,
        definition: &str,
        container: &str,
    ) -> Result<BTreeSet<String>, Failure> {
        let tasks = self.tasks(cluster, service, DesiredStatus::Running).await?;
        let ours = tasks
            .iter()
            .filter(|task| task.task_definition_arn() == Some(definition));
        let containers = ours.flat_map(Task::containers);
        let named = containers.filter(|one| one.name() == Some(container));
        Ok(named.filter_map(|one| Some(one.image_digest()?.to_owned())).collect())
    }

    async fn tasks(&self, cluster: &str, service: &str, status: DesiredStatus) -> Result<Vec<Task>, Failure> {
        let mut tasks = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let answer = self
                .ecs
                .list_tasks()
                .cluster(cluster)
                .service_name(service)
                .desired_status(status.clone())
                .max_results(100)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| failure::of("ecs:ListTasks", &error))?;
            tasks.extend(self.described(cluster, answer.task_arns()).await?);
            match answer.next_token {
                Some(next) if !next.is_empty() => token = Some(next),
                Some(_) | None => break,
            }
        }
        Ok(tasks)
    }

    async fn described(&self, cluster: &str, arns: &[String]) -> Result<Vec<Task>, Failure> {
        if arns.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self
            .ecs
            .describe_tasks()
            .cluster(cluster)
            .set_tasks(Some(arns.to_vec()))
            .send()
            .await
            .map_err(|error| failure::of("ecs:DescribeTasks", &error))?;
        Ok(answer.tasks.unwrap_or_default())
    }
}

fn stopped(task: &Task) -> Stopped {
    Stopped {
        task_definition: text(task.task_definition_arn()),
        code: task.stop_code().map(|code| code.as_str().to_owned()),
        reason: task.stopped_reason().map(ToOwned::to_owned),
        containers: task.containers().iter().map(ended).collect(),
        started: instant(task.started_at()),
        stopped: instant(task.stopped_at()),
        created: instant(task.created_at()),
    }
}

fn ended(container: &Container) -> Ended {
    Ended {
        name: text(container.name()),
        image: container.image().map(ToOwned::to_owned),
        exit_code: container.exit_code(),
        reason: container.reason().map(ToOwned::to_owned),
    }
}
