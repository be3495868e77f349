//! Service deployments as they are.

use aws_sdk_ecs::types::{
    DeploymentConfiguration, DeploymentLifecycleHookDetail, DeploymentLifecycleHookStatus,
    DeploymentLifecycleHookTargetType, DeploymentStrategy, ServiceDeployment, ServiceDeploymentBrief,
    ServiceDeploymentStatus, ServiceRevision, ServiceRevisionSummary,
};
use meridian_engine::ports::failure::Failure;
use meridian_workflows::share::Share;

use super::services::Seen;
use super::{Account, count, failure, instant, text};
use crate::facts::{Deployment, Pause, Revision, Rollback, Status};
use crate::strategy::Strategy;

/// ECS describes at most 20 service revisions at once.
const REVISIONS_MAX: usize = 20;

impl Account {
    /// The newest service deployment, its revisions looked up; nothing where the last 90 days saw none.
    pub async fn newest_deployment(&self, cluster: &str, seen: &Seen) -> Result<Option<Deployment>, Failure> {
        let listed = self.newest_listed(cluster, &seen.facts.arn).await?;
        // Either may be outdated, the list or what the service names: the later of both counts.
        let named = seen.sdk.current_service_deployment().map(ToOwned::to_owned);
        let mut arns: Vec<String> = named.into_iter().chain(listed).collect();
        arns.dedup();
        if arns.is_empty() {
            return Ok(None);
        }
        let told = arns.join(" and ");
        let answer = self
            .ecs
            .describe_service_deployments()
            .set_service_deployment_arns(Some(arns))
            .send()
            .await
            .map_err(|error| failure::of("ecs:DescribeServiceDeployments", &error))?;
        let described = answer.service_deployments().iter();
        let Some(sdk) = described.max_by_key(|sdk| instant(sdk.created_at())) else {
            return Err(Failure::transient(format!(
                "the service deployment {told} is listed and not described"
            )));
        };
        let mut deployment = deployment(sdk);
        self.look_up_revisions(&mut deployment).await?;
        Ok(Some(deployment))
    }

    async fn newest_listed(&self, cluster: &str, service: &str) -> Result<Option<String>, Failure> {
        let mut newest: Option<ServiceDeploymentBrief> = None;
        let mut token: Option<String> = None;
        loop {
            let answer = self
                .ecs
                .list_service_deployments()
                .cluster(cluster)
                .service(service)
                .max_results(100)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| failure::of("ecs:ListServiceDeployments", &error))?;
            for brief in answer.service_deployments() {
                let is_newer = newest
                    .as_ref()
                    .is_none_or(|newest| instant(newest.created_at()) < instant(brief.created_at()));
                if is_newer {
                    newest = Some(brief.clone());
                }
            }
            // Every page: the order of the list is nowhere promised.
            match answer.next_token {
                Some(next) if !next.is_empty() => token = Some(next),
                Some(_) | None => break,
            }
        }
        Ok(newest.and_then(|brief| brief.service_deployment_arn))
    }

    async fn look_up_revisions(&self, deployment: &mut Deployment) -> Result<(), Failure> {
        let restored = deployment
            .rollback
            .as_ref()
            .and_then(|rollback| rollback.revision.clone());
        if let Some(restored) = restored
            && !deployment.sources.iter().any(|source| source.arn == restored)
        {
            deployment.sources.push(Revision {
                arn: restored,
                ..Revision::default()
            });
        }
        let all = || {
            deployment
                .target
                .iter()
                .chain(&deployment.sources)
                .map(|revision| revision.arn.clone())
        };
        let arns: Vec<String> = all().filter(|arn| !arn.is_empty()).take(REVISIONS_MAX).collect();
        if arns.is_empty() {
            return Ok(());
        }
        let answer = self
            .ecs
            .describe_service_revisions()
            .set_service_revision_arns(Some(arns))
            .send()
            .await
            .map_err(|error| failure::of("ecs:DescribeServiceRevisions", &error))?;
        let find = |arn: &str| {
            answer
                .service_revisions()
                .iter()
                .find(|found| found.service_revision_arn() == Some(arn))
        };
        for revision in deployment.target.iter_mut().chain(&mut deployment.sources) {
            if let Some(found) = find(&revision.arn) {
                revision.task_definition = found.task_definition().map(ToOwned::to_owned);
                revision.target_group = target_group(found);
            }
        }
        Ok(())
    }
}

/// The group that production traffic reaches this revision through.
fn target_group(revision: &ServiceRevision) -> Option<String> {
    let resolved = revision.resolved_configuration()?.load_balancers().first()?;
    resolved.target_group_arn().map(ToOwned::to_owned)
}

fn deployment(sdk: &ServiceDeployment) -> Deployment {
    Deployment {
        arn: text(sdk.service_deployment_arn()),
        created: instant(sdk.created_at()),
        started: instant(sdk.started_at()),
        status: status(sdk.status()),
        reason: sdk.status_reason().map(ToOwned::to_owned),
        stage: sdk.lifecycle_stage().map(|stage| stage.as_str().to_owned()),
        strategy: sdk.deployment_configuration().and_then(strategy),
        target: sdk.target_service_revision().map(revision),
        sources: sdk.source_service_revisions().iter().map(revision).collect(),
        paused: sdk.lifecycle_hook_details().iter().find_map(pause),
        rollback: sdk.rollback().map(|rollback| Rollback {
            reason: rollback.reason().map(ToOwned::to_owned),
            revision: rollback.service_revision_arn().map(ToOwned::to_owned),
        }),
        alarms: sdk
            .alarms()
            .map(|alarms| alarms.triggered_alarm_names().to_vec())
            .unwrap_or_default(),
    }
}

fn status(status: Option<&ServiceDeploymentStatus>) -> Status {
    match status {
        Some(ServiceDeploymentStatus::Pending) => Status::Pending,
        Some(ServiceDeploymentStatus::InProgress) => Status::InProgress,
        Some(ServiceDeploymentStatus::StopRequested) => Status::StopRequested,
        Some(ServiceDeploymentStatus::Stopped) => Status::Stopped,
        Some(ServiceDeploymentStatus::RollbackRequested) => Status::RollbackRequested,
        Some(ServiceDeploymentStatus::RollbackInProgress) => Status::RollbackInProgress,
        Some(ServiceDeploymentStatus::RollbackSuccessful) => Status::RollbackSuccessful,
        Some(ServiceDeploymentStatus::RollbackFailed) => Status::RollbackFailed,
        Some(ServiceDeploymentStatus::Successful) => Status::Successful,
        Some(other) => Status::Other(other.as_str().to_owned()),
        None => Status::Other("in no state".into()),
    }
}

fn strategy(config: &DeploymentConfiguration) -> Option<Strategy> {
    match config.strategy()? {
        DeploymentStrategy::Rolling => Some(Strategy::Rolling),
        DeploymentStrategy::BlueGreen => Some(Strategy::BlueGreen),
        DeploymentStrategy::Canary => Some(Strategy::Canary {
            first: percent(config.canary_configuration()?.canary_percent()?)?,
        }),
        DeploymentStrategy::Linear => Some(Strategy::Linear {
            step: percent(config.linear_configuration()?.step_percent()?)?,
        }),
        _ => None,
    }
}

fn revision(sdk: &ServiceRevisionSummary) -> Revision {
    Revision {
        arn: text(sdk.arn()),
        task_definition: None,
        target_group: None,
        requested: count(sdk.requested_task_count()),
        running: count(sdk.running_task_count()),
        weight: sdk.requested_production_traffic_weight().and_then(percent),
    }
}

/// A percentage as AWS writes it; nothing where it is none.
fn percent(percent: f64) -> Option<Share> {
    let points = (percent * 100.0).round();
    // The comparison refuses NaN too; the cast is exact within it.
    (0.0..=10_000.0)
        .contains(&points)
        .then(|| Share::from_basis_points(points as u16).unwrap_or(Share::FULL))
}

fn pause(hook: &DeploymentLifecycleHookDetail) -> Option<Pause> {
    let waits = hook.target_type() == Some(&DeploymentLifecycleHookTargetType::Pause)
        && hook.status() == Some(&DeploymentLifecycleHookStatus::AwaitingAction);
    waits.then(|| Pause {
        hook: text(hook.hook_id()),
        expires: instant(hook.expires_at()),
    })
}
