//! What callers ask of service deployments: list and describe them, answer a hook, stop.

use serde_json::{Value, json};

use crate::aws::members::Members;
use crate::aws::paging::page;
use crate::aws::refusal::Refusal;
use crate::ecs::rollout::{HookStatus, Rollout, Status};
use crate::ecs::service::Service;
use crate::ecs::state::State;

/// ARNs in one `Describe…` request.
const ARNS_MAX: usize = 20;
/// Every `ServiceDeploymentStatus`.
const STATUSES: [&str; 9] = [
    "PENDING",
    "SUCCESSFUL",
    "STOPPED",
    "STOP_REQUESTED",
    "IN_PROGRESS",
    "ROLLBACK_REQUESTED",
    "ROLLBACK_IN_PROGRESS",
    "ROLLBACK_SUCCESSFUL",
    "ROLLBACK_FAILED",
];

impl State {
    /// The newest first, in pages of at most 20 where nothing else is asked.
    pub(super) fn list_service_deployments(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let place = self.service_asked(&mut asked)?;
        let statuses = asked.texts("status")?.unwrap_or_default();
        let created = asked.nested("createdAt")?;
        let token = asked.text("nextToken")?;
        let size = self.page_size(&mut asked, 20, 100)?;
        asked.done()?;
        if let Some(unknown) = statuses.iter().find(|status| !STATUSES.contains(&status.as_str())) {
            return Err(Refusal::parameter(format!(
                "Invalid service deployment status: {unknown}."
            )));
        }
        let (mut after, mut before) = (None, None);
        if let Some(mut created) = created {
            (after, before) = (created.number("after")?, created.number("before")?);
            created.done()?;
        }
        let service = &self.services[place];
        let fits = |rollout: &&Rollout| {
            let created = crate::ecs::clock::shown(rollout.created).as_f64().unwrap_or_default();
            (statuses.is_empty() || statuses.iter().any(|status| status == rollout.status.word()))
                && after.is_none_or(|after| created > after)
                && before.is_none_or(|before| created < before)
        };
        let [late, _] = self.world.late;
        let shows = |rollout: &&Rollout| rollout.shows(late, &self.world);
        let all: Vec<&Rollout> = service.rollouts.iter().rev().filter(fits).filter(shows).collect();
        let page = page(&all, |rollout| rollout.arn.clone(), token.as_deref(), size)?;
        let brief: Vec<Value> = page
            .items
            .into_iter()
            .map(|rollout| rollout.shown_briefly(service))
            .collect();
        let mut answer = json!({"serviceDeployments": brief});
        if let Some(next) = page.next {
            answer["nextToken"] = json!(next);
        }
        Ok(answer)
    }

    pub(super) fn describe_service_deployments(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let arns = asked.texts("serviceDeploymentArns")?.unwrap_or_default();
        asked.done()?;
        if arns.is_empty() || arns.len() > ARNS_MAX {
            return Err(Refusal::parameter(format!(
                "1 to {ARNS_MAX} service deployment ARNs must be specified."
            )));
        }
        let (mut shown, mut failures) = (Vec::new(), Vec::new());
        for arn in arns {
            let found = self.services.iter().find_map(|service| {
                service
                    .rollouts
                    .iter()
                    .find(|rollout| rollout.arn == arn)
                    .map(|rollout| (service, rollout))
            });
            match found {
                Some((service, rollout)) => shown.push(rollout.shown(service, &self.world)),
                None => failures.push(json!({"arn": arn, "reason": "MISSING"})),
            }
        }
        Ok(json!({"serviceDeployments": shown, "failures": failures}))
    }

    /// ROLLBACK (also where nothing is said) turns the deployment round; ABORT leaves everything as it stands.
    pub(super) fn stop_service_deployment(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let arn = asked.needs("serviceDeploymentArn")?;
        let kind = asked.one_of("stopType", &["ABORT", "ROLLBACK"])?;
        asked.done()?;
        let now = self.world.now;
        let (_, rollout) = self.rollout(&arn)?;
        if !matches!(rollout.status, Status::Pending | Status::InProgress) {
            let message = format!(
                "The service deployment is in the status {} and cannot be stopped.",
                rollout.status.word()
            );
            return Err(Refusal::new("ConflictException", 400, message));
        }
        let (status, reason) = match kind.as_deref() {
            Some("ABORT") => (Status::StopRequested, "Service deployment stop requested."),
            _ => (Status::RollbackRequested, "Service deployment rollback requested."),
        };
        rollout.hooks.iter_mut().for_each(|hook| hook.open = false);
        rollout.turn(status, reason, now);
        Ok(json!({"serviceDeploymentArn": arn}))
    }

    /// Answers a PAUSE; CONTINUE where no action is named.
    pub(super) fn continue_service_deployment(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let arn = asked.needs("serviceDeploymentArn")?;
        let hook = asked.needs("hookId")?;
        let action = asked.one_of("action", &["CONTINUE", "ROLLBACK"])?;
        asked.done()?;
        let now = self.world.now;
        let (_, rollout) = self.rollout(&arn)?;
        let found = rollout.hooks.iter_mut().find(|run| run.id == hook);
        let run = found.ok_or_else(|| Refusal::parameter(format!("The lifecycle hook {hook} is not found.")))?;
        if run.status != HookStatus::AwaitingAction || !run.open {
            let message = format!("The lifecycle hook {hook} is not awaiting action.");
            return Err(Refusal::parameter(message));
        }
        run.status = HookStatus::Succeeded;
        rollout.updated = now;
        if action.as_deref() == Some("ROLLBACK") {
            rollout.turn(
                Status::RollbackRequested,
                "Service deployment rollback requested at a lifecycle hook.",
                now,
            );
        }
        Ok(json!({"serviceDeploymentArn": arn}))
    }

    fn rollout(&mut self, arn: &str) -> Result<(String, &mut Rollout), Refusal> {
        if !arn.contains(":service-deployment/") {
            return Err(Refusal::parameter("The service deployment ARN is invalid."));
        }
        let mut all = self.services.iter_mut().flat_map(|service: &mut Service| {
            let name = service.facts.arn.clone();
            service.rollouts.iter_mut().map(move |rollout| (name.clone(), rollout))
        });
        all.find(|(_, rollout)| rollout.arn == arn).ok_or_else(|| {
            Refusal::new(
                "ServiceDeploymentNotFoundException",
                400,
                "The service deployment is not found.",
            )
        })
    }
}
