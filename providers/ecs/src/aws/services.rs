//! Services as they are.

use std::collections::BTreeMap;

use aws_sdk_ecs::types::{
    Deployment as SdkRollout, DeploymentControllerType, DeploymentLifecycleHookTargetType, DeploymentRolloutState,
    LoadBalancer, Service as SdkService, ServiceField, StabilityStatus, TaskSet as SdkTaskSet,
};
use meridian_engine::ports::failure::Failure;

use super::{Account, count, failure, instant, text};
use crate::facts::{Advanced, Balancer, Controller, Event, Rollout, Service, TaskSet};

/// A service: in facts for those who decide, and as the SDK gave it for those who have to hand parts of it back.
#[derive(Clone, Debug)]
pub struct Seen {
    pub facts: Service,
    pub sdk: SdkService,
}

impl Account {
    /// Looks at a service, its tags too.
    pub async fn service(&self, cluster: &str, name: &str) -> Result<Seen, Failure> {
        let answer = self
            .ecs
            .describe_services()
            .cluster(cluster)
            .services(name)
            .include(ServiceField::Tags)
            .send()
            .await
            .map_err(|error| failure::of("ecs:DescribeServices", &error))?;
        if let Some(failed) = answer.failures().first() {
            let reason = failed.reason().unwrap_or("no reason given");
            return Err(Failure::lasting(format!(
                "the service `{name}` is not in the cluster `{cluster}` ({reason})"
            )));
        }
        let sdk = answer.services.unwrap_or_default().into_iter().next();
        let sdk =
            sdk.ok_or_else(|| Failure::lasting(format!("the service `{name}` is not in the cluster `{cluster}`")))?;
        match sdk.status() {
            Some("ACTIVE") => {}
            status => {
                let status = status.unwrap_or("in no state");
                return Err(Failure::lasting(format!(
                    "the service `{name}` is {status}, not ACTIVE"
                )));
            }
        }
        let facts =
            service(&sdk).ok_or_else(|| Failure::transient(format!("AWS names no ARN for the service `{name}`")))?;
        Ok(Seen { facts, sdk })
    }

    /// The tags of a service, read by themselves.
    pub async fn tags(&self, arn: &str) -> Result<BTreeMap<String, String>, Failure> {
        let answer = self
            .ecs
            .list_tags_for_resource()
            .resource_arn(arn)
            .send()
            .await
            .map_err(|error| failure::of("ecs:ListTagsForResource", &error))?;
        Ok(tags(answer.tags()))
    }
}

fn service(sdk: &SdkService) -> Option<Service> {
    let controller = match sdk.deployment_controller().map(|controller| controller.r#type()) {
        None | Some(DeploymentControllerType::Ecs) => Controller::Ecs,
        Some(DeploymentControllerType::External) => Controller::External,
        Some(DeploymentControllerType::CodeDeploy) => Controller::CodeDeploy,
        Some(other) => Controller::Other(other.as_str().to_owned()),
    };
    let hooks = sdk
        .deployment_configuration()
        .map(|config| config.lifecycle_hooks())
        .unwrap_or_default();
    Some(Service {
        arn: sdk.service_arn()?.to_owned(),
        name: text(sdk.service_name()),
        controller,
        desired: count(sdk.desired_count()),
        running: count(sdk.running_count()),
        task_definition: sdk.task_definition().map(ToOwned::to_owned),
        balancers: sdk.load_balancers().iter().map(balancer).collect(),
        pauses: hooks
            .iter()
            .filter(|hook| hook.target_type() == Some(&DeploymentLifecycleHookTargetType::Pause))
            .map(|hook| {
                hook.lifecycle_stages()
                    .iter()
                    .map(|stage| stage.as_str().to_owned())
                    .collect()
            })
            .collect(),
        rollouts: sdk.deployments().iter().map(rollout).collect(),
        task_sets: sdk.task_sets().iter().filter_map(task_set).collect(),
        events: sdk
            .events()
            .iter()
            .map(|event| Event {
                at: instant(event.created_at()),
                message: text(event.message()),
            })
            .collect(),
        tags: tags(sdk.tags()),
    })
}

fn tags(tags: &[aws_sdk_ecs::types::Tag]) -> BTreeMap<String, String> {
    tags.iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), text(tag.value()))))
        .collect()
}

fn balancer(sdk: &LoadBalancer) -> Balancer {
    Balancer {
        target_group: sdk.target_group_arn().map(ToOwned::to_owned),
        container: sdk.container_name().map(ToOwned::to_owned),
        advanced: sdk.advanced_configuration().map(|advanced| Advanced {
            alternate: advanced.alternate_target_group_arn().map(ToOwned::to_owned),
            production: advanced.production_listener_rule().map(ToOwned::to_owned),
            test: advanced.test_listener_rule().map(ToOwned::to_owned),
        }),
    }
}

fn rollout(sdk: &SdkRollout) -> Rollout {
    Rollout {
        is_primary: sdk.status() == Some("PRIMARY"),
        task_definition: text(sdk.task_definition()),
        desired: count(sdk.desired_count()),
        running: count(sdk.running_count()),
        // A rollout without a state is one of a service that does not tell: its counts have to do.
        is_completed: match sdk.rollout_state() {
            Some(state) => *state == DeploymentRolloutState::Completed,
            None => sdk.running_count() == sdk.desired_count() && sdk.pending_count() == 0,
        },
        has_failed: sdk.rollout_state() == Some(&DeploymentRolloutState::Failed),
        reason: sdk.rollout_state_reason().map(ToOwned::to_owned),
        created: instant(sdk.created_at()),
    }
}

pub(super) fn task_set(sdk: &SdkTaskSet) -> Option<TaskSet> {
    let balancer = sdk.load_balancers().first();
    Some(TaskSet {
        id: sdk.task_set_arn().or(sdk.id())?.to_owned(),
        task_definition: text(sdk.task_definition()),
        target_group: balancer
            .and_then(|balancer| balancer.target_group_arn())
            .map(ToOwned::to_owned),
        is_primary: sdk.status() == Some("PRIMARY"),
        is_draining: sdk.status() == Some("DRAINING"),
        is_steady: sdk.stability_status() == Some(&StabilityStatus::SteadyState),
        desired: count(sdk.computed_desired_count()),
        running: count(sdk.running_count()),
        created: instant(sdk.created_at()),
    })
}
