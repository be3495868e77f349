//! What changes a service: deployments, their steps, and tags.

use aws_sdk_ecs::types::{
    CanaryConfiguration, DeploymentAlarms, DeploymentCircuitBreaker, DeploymentConfiguration, DeploymentLifecycleHook,
    DeploymentLifecycleHookAction, DeploymentLifecycleHookStage, DeploymentLifecycleHookTargetType,
    DeploymentLifecycleHookTimeoutConfiguration, DeploymentStrategy, LinearConfiguration,
    StopServiceDeploymentStopType, Tag,
};
use meridian_engine::ports::failure::Failure;

use super::failure::{Kind, Refusal};
use super::services::Seen;
use super::{Account, failure, own};
use crate::settings::{Alarms, CircuitBreaker, Settings};
use crate::strategy::Strategy;

/// How a version is deployed.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    pub strategy: Strategy,
    /// How long both versions stay up after the last shift, in minutes.
    pub bake: i32,
    /// Whether every shift waits for an order, and how many minutes before ECS goes back by itself.
    pub gate: Option<i32>,
    pub alarms: Watch,
    pub circuit_breaker: CircuitBreaker,
}

/// Which alarms may turn a deployment round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Those that the service has.
    Own,
    These(Alarms),
    /// None at all.
    Nothing,
}

impl Way {
    /// The way out: `wait` is how many minutes ECS waits for an order before it goes back by itself.
    pub fn gated(settings: &Settings, strategy: Strategy, bake: i32, wait: i32) -> Way {
        Way {
            strategy,
            bake,
            gate: Some(wait),
            alarms: settings.alarms.clone().map_or(Watch::Own, Watch::These),
            circuit_breaker: settings.circuit_breaker,
        }
    }

    /// The way back: at once, and nobody is asked. No alarm acts either: it may well ring because of what is left behind, and
    /// would lead back to it.
    pub fn at_once(settings: &Settings, shifts_traffic: bool) -> Way {
        Way {
            strategy: if shifts_traffic {
                Strategy::BlueGreen
            } else {
                Strategy::Rolling
            },
            bake: 0,
            gate: None,
            alarms: Watch::Nothing,
            circuit_breaker: settings.circuit_breaker,
        }
    }
}

impl Account {
    /// Starts a deployment of a task definition.
    pub async fn deploy(&self, cluster: &str, seen: &Seen, task_definition: &str, way: &Way) -> Result<(), Failure> {
        let config = configuration(seen.sdk.deployment_configuration(), way)?;
        // A service that already names this task definition deploys nothing unless it is told to.
        let is_named = seen.facts.task_definition.as_deref() == Some(task_definition);
        self.ecs
            .update_service()
            .cluster(cluster)
            .service(&seen.facts.arn)
            .task_definition(task_definition)
            .deployment_configuration(config)
            .set_force_new_deployment(is_named.then_some(true))
            .send()
            .await
            .map_err(|error| failure::of("ecs:UpdateService", &error))?;
        Ok(())
    }

    /// Takes our pause hook out of a service and restores what was written down of its own. This starts no deployment.
    pub async fn ungate(&self, cluster: &str, seen: &Seen, own: Option<&str>) -> Result<(), Failure> {
        let Some(config) = seen.sdk.deployment_configuration() else {
            return Ok(());
        };
        let mut config = config.clone();
        config.lifecycle_hooks = Some(foreign_hooks(&config));
        let config = own.and_then(|own| own::restored(own, &config)).unwrap_or(config);
        self.ecs
            .update_service()
            .cluster(cluster)
            .service(&seen.facts.arn)
            .deployment_configuration(config)
            .send()
            .await
            .map_err(|error| failure::of("ecs:UpdateService", &error))?;
        Ok(())
    }

    /// Lets a paused deployment go on. A hook that no longer waits is no failure: somebody was faster, or our answer got lost.
    /// What ECS says then is answered, for whoever wonders why it does not go on.
    pub async fn go_on(&self, deployment: &str, hook: &str) -> Result<Option<String>, Failure> {
        let answered = self
            .answer_hook(deployment, hook, DeploymentLifecycleHookAction::Continue)
            .await;
        match answered {
            Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::Conflict | Kind::Missing) => {
                tracing::debug!(deployment, hook, why = %refusal.failure, "the hook no longer waits");
                Ok(Some(refusal.failure.what))
            }
            other => other.map(|()| None).map_err(Failure::from),
        }
    }

    /// Makes a deployment go back to where it came from.
    pub async fn roll_back(&self, deployment: &str, hook: Option<&str>) -> Result<(), Failure> {
        let stopped = self
            .ecs
            .stop_service_deployment()
            .service_deployment_arn(deployment)
            .stop_type(StopServiceDeploymentStopType::Rollback)
            .send()
            .await
            .map_err(|error| failure::of("ecs:StopServiceDeployment", &error));
        match (stopped, hook) {
            (Ok(_), _) => Ok(()),
            // At a hook there is a second way to say the same.
            (Err(refusal), Some(hook)) if matches!(refusal.kind, Kind::Invalid | Kind::Conflict) => {
                let answered = self
                    .answer_hook(deployment, hook, DeploymentLifecycleHookAction::Rollback)
                    .await;
                answered.map_err(|_| refusal.failure)
            }
            (Err(refusal), _) => Err(refusal.failure),
        }
    }

    async fn answer_hook(
        &self,
        deployment: &str,
        hook: &str,
        action: DeploymentLifecycleHookAction,
    ) -> Result<(), Refusal> {
        self.ecs
            .continue_service_deployment()
            .service_deployment_arn(deployment)
            .hook_id(hook)
            .action(action)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| failure::of("ecs:ContinueServiceDeployment", &error))
    }

    /// Gives a service these tags; others stay.
    pub async fn tag(&self, arn: &str, tags: &[(&str, String)]) -> Result<(), Failure> {
        let tags = tags
            .iter()
            .map(|(key, value)| Tag::builder().key(*key).value(value).build());
        self.ecs
            .tag_resource()
            .resource_arn(arn)
            .set_tags(Some(tags.collect()))
            .send()
            .await
            .map_err(|error| failure::of("ecs:TagResource", &error))?;
        Ok(())
    }
}

/// The service's own configuration with the strategy, the bake, the gate and the alarms of this way. Lambda hooks and the
/// bounds of healthy tasks stay as they are.
fn configuration(own: Option<&DeploymentConfiguration>, way: &Way) -> Result<DeploymentConfiguration, Failure> {
    let mut config = own
        .cloned()
        .unwrap_or_else(|| DeploymentConfiguration::builder().build());
    let mut hooks = foreign_hooks(&config);
    config.canary_configuration = None;
    config.linear_configuration = None;
    config.bake_time_in_minutes = Some(way.bake);
    config.strategy = Some(match way.strategy {
        Strategy::Rolling => DeploymentStrategy::Rolling,
        Strategy::BlueGreen => DeploymentStrategy::BlueGreen,
        Strategy::Canary { first } => {
            let percent = f64::from(first.basis_points()) / 100.0;
            // The engine bakes; ECS only waits at the hook.
            let canary = CanaryConfiguration::builder()
                .canary_percent(percent)
                .canary_bake_time_in_minutes(0);
            config.canary_configuration = Some(canary.build());
            DeploymentStrategy::Canary
        }
        Strategy::Linear { step } => {
            let percent = f64::from(step.basis_points()) / 100.0;
            let linear = LinearConfiguration::builder()
                .step_percent(percent)
                .step_bake_time_in_minutes(0);
            config.linear_configuration = Some(linear.build());
            DeploymentStrategy::Linear
        }
    });
    let watch = match &way.alarms {
        Watch::Own => None,
        Watch::These(alarms) => Some((alarms.names.clone(), true, alarms.rollback)),
        Watch::Nothing => {
            let names = config.alarms().map(|alarms| alarms.alarm_names().to_vec());
            Some((names.unwrap_or_default(), false, false))
        }
    };
    if let Some((names, enable, rollback)) = watch {
        config.alarms = Some(
            DeploymentAlarms::builder()
                .set_alarm_names(Some(names))
                .enable(enable)
                .rollback(rollback)
                .build()
                .map_err(|error| Failure::lasting(format!("the alarms cannot be written: {error}")))?,
        );
    }
    if way.strategy == Strategy::Rolling {
        // A rolling deployment that bakes without alarms only takes longer; hooks stop nothing there.
        config.bake_time_in_minutes = None;
        hooks.clear();
        let breaker = DeploymentCircuitBreaker::builder()
            .enable(way.circuit_breaker.enable)
            .rollback(way.circuit_breaker.enable && way.circuit_breaker.rollback);
        config.deployment_circuit_breaker = Some(breaker.build());
    } else {
        config.deployment_circuit_breaker = None;
        if let Some(minutes) = way.gate {
            hooks.push(gate(minutes));
        }
    }
    config.lifecycle_hooks = Some(hooks);
    Ok(config)
}

impl Seen {
    /// What the service is configured with, as far as a release changes it, as a text that [`Account::ungate`] understands.
    pub fn configured(&self) -> String {
        let empty = DeploymentConfiguration::builder().build();
        own::written(self.sdk.deployment_configuration().unwrap_or(&empty))
    }

    /// Whether the service is configured as a release leaves it: with our pause hook, or as for the way back.
    pub fn is_configured_by(&self, settings: &Settings) -> bool {
        let Some(config) = self.sdk.deployment_configuration() else {
            return false;
        };
        if foreign_hooks(config).len() < config.lifecycle_hooks().len() {
            return true;
        }
        let alarms = config.alarms().filter(|alarms| alarms.enable());
        let ours = settings.alarms.as_ref().map(|ours| ours.names.as_slice());
        let is_plain = matches!(
            config.strategy(),
            None | Some(DeploymentStrategy::Rolling | DeploymentStrategy::BlueGreen)
        );
        is_plain
            && config.bake_time_in_minutes().unwrap_or(0) == 0
            && alarms.is_none_or(|alarms| Some(alarms.alarm_names()) == ours)
    }
}

/// The hooks that are not ours.
fn foreign_hooks(config: &DeploymentConfiguration) -> Vec<DeploymentLifecycleHook> {
    let is_ours = |hook: &&DeploymentLifecycleHook| {
        hook.target_type() == Some(&DeploymentLifecycleHookTargetType::Pause)
            && hook.lifecycle_stages() == [DeploymentLifecycleHookStage::PreProductionTrafficShift]
    };
    config
        .lifecycle_hooks()
        .iter()
        .filter(|hook| !is_ours(hook))
        .cloned()
        .collect()
}

fn gate(minutes: i32) -> DeploymentLifecycleHook {
    let timeout = DeploymentLifecycleHookTimeoutConfiguration::builder()
        .timeout_in_minutes(minutes)
        .action(DeploymentLifecycleHookAction::Rollback)
        .build();
    DeploymentLifecycleHook::builder()
        .target_type(DeploymentLifecycleHookTargetType::Pause)
        .lifecycle_stages(DeploymentLifecycleHookStage::PreProductionTrafficShift)
        .timeout_configuration(timeout)
        .build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use aws_sdk_ecs::types::{
        DeploymentConfiguration, DeploymentLifecycleHook, DeploymentLifecycleHookStage, DeploymentStrategy,
    };
    use meridian_workflows::share::Share;

    use super::{Watch, Way, configuration};
    use crate::settings::CircuitBreaker;
    use crate::strategy::Strategy;

    fn way(strategy: Strategy) -> Way {
        Way {
            strategy,
            bake: 12,
            gate: Some(1_440),
            alarms: Watch::Own,
            circuit_breaker: CircuitBreaker {
                enable: true,
                rollback: true,
            },
        }
    }

    #[test]
    fn a_gated_way_pauses_before_each_shift_and_keeps_what_is_not_ours() {
        let lambda = DeploymentLifecycleHook::builder()
            .hook_target_arn("arn:aws:lambda:x")
            .lifecycle_stages(DeploymentLifecycleHookStage::PostScaleUp)
            .build();
        let own = DeploymentConfiguration::builder()
            .minimum_healthy_percent(50)
            .lifecycle_hooks(lambda)
            .build();
        let canary = Strategy::Canary {
            first: Share::from_basis_points(550).unwrap(),
        };
        let first = configuration(Some(&own), &way(canary)).unwrap();
        let again = configuration(Some(&first), &way(canary)).unwrap();
        assert_eq!(first, again, "our own hook is not added twice");
        assert_eq!(first.lifecycle_hooks().len(), 2);
        assert_eq!(first.minimum_healthy_percent(), Some(50));
        assert_eq!(first.bake_time_in_minutes(), Some(12));
        assert_eq!(first.canary_configuration().unwrap().canary_percent(), Some(5.5));
        let rolling = configuration(Some(&first), &way(Strategy::Rolling)).unwrap();
        assert_eq!(rolling.strategy(), Some(&DeploymentStrategy::Rolling));
        assert!(rolling.lifecycle_hooks().is_empty() && rolling.canary_configuration().is_none());
    }
}
