//! Service deployments as `Describe…` and `List…` show them.

use serde_json::{Value, json};

use crate::ecs::clock::shown;
use crate::ecs::configuration::Strategy;
use crate::ecs::rollout::{HookRun, Rollback, Rollout, Status};
use crate::ecs::service::Service;
use crate::ecs::world::World;

impl Rollout {
    /// The deployment as `DescribeServiceDeployments` shows it.
    pub fn shown(&self, service: &Service, world: &World) -> Value {
        let mut shown_now = json!({
            "serviceDeploymentArn": self.arn,
            "serviceArn": service.facts.arn,
            "clusterArn": service.facts.cluster,
            "createdAt": shown(self.created),
            "updatedAt": shown(self.updated),
            "status": self.status.word(),
            "deploymentConfiguration": self.configuration.shown(),
            "sourceServiceRevisions": self.sources.iter().map(|arn| self.shown_revision(arn, service, world)).collect::<Vec<_>>(),
            "targetServiceRevision": self.shown_revision(&self.target, service, world),
            "deploymentCircuitBreaker": self.shown_breaker(service),
            "alarms": self.shown_alarms(),
        });
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                shown_now[name] = value;
            }
        };
        set("startedAt", self.started.map(shown));
        set("finishedAt", self.finished.map(shown));
        set("stoppedAt", self.stopped.map(shown));
        set("statusReason", (!self.reason.is_empty()).then(|| json!(self.reason)));
        set("rollback", self.rollback.as_ref().map(shown_rollback));
        if self.configuration.strategy != Strategy::Rolling && self.status != Status::Pending {
            set("lifecycleStage", Some(json!(self.stage.word())));
            set(
                "lifecycleHookDetails",
                Some(self.hooks.iter().map(shown_hook).collect()),
            );
        }
        shown_now
    }

    /// The short form of `ListServiceDeployments`.
    pub fn shown_briefly(&self, service: &Service) -> Value {
        let mut brief = json!({
            "serviceDeploymentArn": self.arn,
            "serviceArn": service.facts.arn,
            "clusterArn": service.facts.cluster,
            "createdAt": shown(self.created),
            "status": self.status.word(),
            "targetServiceRevisionArn": self.target,
        });
        for (name, at) in [("startedAt", self.started), ("finishedAt", self.finished)] {
            if let Some(at) = at {
                brief[name] = shown(at);
            }
        }
        if !self.reason.is_empty() {
            brief["statusReason"] = json!(self.reason);
        }
        brief
    }

    #[allow(clippy::cast_precision_loss)]
    fn shown_revision(&self, arn: &str, service: &Service, world: &World) -> Value {
        let deployment = service.deployments.iter().find(|deployment| deployment.revision == arn);
        let counts = deployment
            .map(|deployment| deployment.pool.counts(&world.tasks))
            .unwrap_or_default();
        let mut shown = json!({
            "arn": arn,
            "requestedTaskCount": deployment.map_or(0, |deployment| deployment.pool.desired),
            "runningTaskCount": counts.running,
            "pendingTaskCount": counts.pending,
        });
        if self.configuration.strategy != Strategy::Rolling {
            let of = |share: i64| match (arn == self.target, Some(arn) == self.main_source(service)) {
                (true, _) => share as f64 / 10.0,
                (false, true) => (1000 - share) as f64 / 10.0,
                (false, false) => 0.0,
            };
            shown["requestedProductionTrafficWeight"] = json!(of(self.share));
            shown["requestedTestTrafficWeight"] = json!(of(self.test_share));
        }
        shown
    }

    fn shown_breaker(&self, service: &Service) -> Value {
        let breaker = self.configuration.breaker;
        let rolling = self.configuration.strategy == Strategy::Rolling;
        if !breaker.enabled || !rolling {
            return json!({"status": "DISABLED"});
        }
        let failures = service
            .deployments
            .iter()
            .find(|deployment| deployment.revision == self.target);
        let status = match (self.tripped, self.status.is_final()) {
            (true, _) => "TRIGGERED",
            (false, true) => "MONITORING_COMPLETE",
            (false, false) => "MONITORING",
        };
        json!({
            "status": status,
            "failureCount": failures.map_or(0, |deployment| deployment.pool.failures),
            "threshold": breaker.threshold(service.desired),
        })
    }

    fn shown_alarms(&self) -> Value {
        let alarms = &self.configuration.alarms;
        let status = match (alarms.enabled, self.alarms.is_empty(), self.status.is_final()) {
            (false, ..) => "DISABLED",
            (true, false, _) => "TRIGGERED",
            (true, true, true) => "MONITORING_COMPLETE",
            (true, true, false) => "MONITORING",
        };
        json!({"status": status, "alarmNames": alarms.names, "triggeredAlarmNames": self.alarms})
    }
}

fn shown_rollback(rollback: &Rollback) -> Value {
    let mut shown_now = json!({"reason": rollback.reason, "startedAt": shown(rollback.started)});
    if let Some(revision) = &rollback.revision {
        shown_now["serviceRevisionArn"] = json!(revision);
    }
    shown_now
}

fn shown_hook(hook: &HookRun) -> Value {
    let mut shown_now = json!({
        "hookId": hook.id,
        "targetType": if hook.lambda.is_some() { "AWS_LAMBDA" } else { "PAUSE" },
        "status": hook.status.word(),
        "expiresAt": shown(hook.expires),
        "timeoutAction": if hook.rolls_back { "ROLLBACK" } else { "CONTINUE" },
    });
    if let Some(lambda) = &hook.lambda {
        shown_now["targetArn"] = json!(lambda);
    }
    shown_now
}
