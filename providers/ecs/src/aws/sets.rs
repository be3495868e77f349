//! What changes task sets and the counts of services.

use aws_sdk_ecs::types::{LoadBalancer, Scale, ScaleUnit, TaskSet};
use meridian_engine::ports::failure::Failure;
use meridian_workflows::share::Share;

use super::services::Seen;
use super::{Account, failure};

/// A task set to be made.
#[derive(Clone, Debug)]
pub struct NewSet<'a> {
    pub task_definition: &'a str,
    pub target_group: &'a str,
    pub share: Share,
    /// The same for every try of one order.
    pub token: String,
    pub external_id: String,
}

impl Account {
    /// Makes a task set that is launched like the one that is there.
    pub async fn create_set(&self, cluster: &str, seen: &Seen, new: NewSet<'_>) -> Result<(), Failure> {
        let sets = seen.sdk.task_sets();
        let like = sets.iter().find(|set| set.status() == Some("PRIMARY")).or(sets.first());
        let like = like.ok_or_else(|| {
            Failure::lasting(format!(
                "the service `{}` has no task set to take its network and launch type from",
                seen.facts.name
            ))
        })?;
        self.ecs
            .create_task_set()
            .cluster(cluster)
            .service(&seen.facts.arn)
            .task_definition(new.task_definition)
            .set_network_configuration(like.network_configuration().cloned())
            .set_launch_type(if like.capacity_provider_strategy().is_empty() {
                like.launch_type().cloned()
            } else {
                None
            })
            .set_capacity_provider_strategy(
                like.capacity_provider_strategy
                    .clone()
                    .filter(|strategy| !strategy.is_empty()),
            )
            .set_platform_version(like.platform_version().map(ToOwned::to_owned))
            .set_service_registries(
                like.service_registries
                    .clone()
                    .filter(|registries| !registries.is_empty()),
            )
            .load_balancers(balancer(like, new.target_group)?)
            .scale(scale(new.share))
            .external_id(new.external_id)
            .client_token(new.token)
            .send()
            .await
            .map_err(|error| failure::of("ecs:CreateTaskSet", &error))?;
        Ok(())
    }

    pub async fn scale_set(&self, cluster: &str, service: &str, set: &str, share: Share) -> Result<(), Failure> {
        let call = self
            .ecs
            .update_task_set()
            .cluster(cluster)
            .service(service)
            .task_set(set)
            .scale(scale(share));
        call.send()
            .await
            .map_err(|error| failure::of("ecs:UpdateTaskSet", &error))?;
        Ok(())
    }

    pub async fn make_primary(&self, cluster: &str, service: &str, set: &str) -> Result<(), Failure> {
        let call = self
            .ecs
            .update_service_primary_task_set()
            .cluster(cluster)
            .service(service)
            .primary_task_set(set);
        call.send()
            .await
            .map_err(|error| failure::of("ecs:UpdateServicePrimaryTaskSet", &error))?;
        Ok(())
    }

    /// Deletes a task set and its tasks; one that is gone already is no failure.
    pub async fn delete_set(&self, cluster: &str, service: &str, set: &str) -> Result<(), Failure> {
        let call = self
            .ecs
            .delete_task_set()
            .cluster(cluster)
            .service(service)
            .task_set(set)
            .force(true);
        match call.send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let refusal = failure::of("ecs:DeleteTaskSet", &error);
                match refusal.kind {
                    failure::Kind::Missing => Ok(()),
                    _ => Err(refusal.failure),
                }
            }
        }
    }

    /// Gives a service so many tasks, and another task definition where one is named.
    pub async fn resize(
        &self,
        cluster: &str,
        service: &str,
        tasks: u32,
        task_definition: Option<&str>,
    ) -> Result<(), Failure> {
        let tasks = i32::try_from(tasks)
            .map_err(|_| Failure::lasting(format!("{tasks} tasks are more than a service can have")))?;
        self.ecs
            .update_service()
            .cluster(cluster)
            .service(service)
            .desired_count(tasks)
            .set_task_definition(task_definition.map(ToOwned::to_owned))
            .send()
            .await
            .map_err(|error| failure::of("ecs:UpdateService", &error))?;
        Ok(())
    }
}

fn scale(share: Share) -> Scale {
    let percent = f64::from(share.basis_points()) / 100.0;
    Scale::builder().value(percent).unit(ScaleUnit::Percent).build()
}

/// The same container and port behind another target group.
fn balancer(like: &TaskSet, target_group: &str) -> Result<LoadBalancer, Failure> {
    let own = like.load_balancers().first();
    let own = own.ok_or_else(|| {
        Failure::lasting("the primary task set has no load balancer, so its traffic cannot be weighted")
    })?;
    Ok(LoadBalancer::builder()
        .target_group_arn(target_group)
        .set_container_name(own.container_name().map(ToOwned::to_owned))
        .set_container_port(own.container_port())
        .build())
}
