//! Listeners, their rules and the health of target groups.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, TargetGroupTuple, TargetHealthStateEnum,
};
use meridian_engine::ports::failure::Failure;

use super::{Account, count, failure};
use crate::diagnosis;
use crate::facts::{Forward, Health};

/// What becomes of target groups that are not named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    Stay,
    Go,
}

impl Account {
    /// What a listener rule, or a listener by default, forwards to.
    pub async fn forward(&self, arn: &str) -> Result<Forward, Failure> {
        let actions = self.actions(arn).await?;
        let forward = actions.iter().find(|action| is_forward(action));
        let forward =
            forward.ok_or_else(|| Failure::lasting(format!("the listener rule {arn} forwards to no target group")))?;
        Ok(read(forward))
    }

    /// Makes it forward by these weights. Everything else about its actions stays as it is.
    pub async fn weigh(&self, arn: &str, weights: &[(&str, u32)], others: Others) -> Result<(), Failure> {
        let mut actions = self.actions(arn).await?;
        for oidc in actions
            .iter_mut()
            .filter_map(|action| action.authenticate_oidc_config.as_mut())
        {
            // AWS shows no secret, and takes back an action without one only where it is told to keep the one it has.
            oidc.use_existing_client_secret = Some(true);
        }
        let forward = actions.iter_mut().find(|action| is_forward(action));
        let forward =
            forward.ok_or_else(|| Failure::lasting(format!("the listener rule {arn} forwards to no target group")))?;
        let mut tuples = Vec::with_capacity(weights.len());
        for (group, weight) in weights {
            let weight = i32::try_from(*weight).map_err(|_| Failure::lasting(format!("{weight} is no weight")))?;
            tuples.push(
                TargetGroupTuple::builder()
                    .target_group_arn(*group)
                    .weight(weight)
                    .build(),
            );
        }
        if others == Others::Stay {
            let groups = forward.forward_config().map(|config| config.target_groups());
            let is_named = |group: &str| weights.iter().any(|(named, _)| *named == group);
            let stay = |tuple: &&TargetGroupTuple| tuple.target_group_arn().is_some_and(|group| !is_named(group));
            tuples.extend(groups.unwrap_or_default().iter().filter(stay).cloned());
        }
        let sticky = forward
            .forward_config()
            .and_then(|config| config.target_group_stickiness_config().cloned());
        forward.target_group_arn = None;
        forward.forward_config = Some(
            ForwardActionConfig::builder()
                .set_target_groups(Some(tuples))
                .set_target_group_stickiness_config(sticky)
                .build(),
        );
        if is_rule(arn) {
            let call = self
                .elb
                .modify_rule()
                .rule_arn(arn)
                .set_actions(Some(actions))
                .send()
                .await;
            call.map_err(|error| failure::of("elasticloadbalancing:ModifyRule", &error))?;
        } else {
            let call = self
                .elb
                .modify_listener()
                .listener_arn(arn)
                .set_default_actions(Some(actions))
                .send()
                .await;
            call.map_err(|error| failure::of("elasticloadbalancing:ModifyListener", &error))?;
        }
        Ok(())
    }

    async fn actions(&self, arn: &str) -> Result<Vec<Action>, Failure> {
        let found = if is_rule(arn) {
            let answer = self.elb.describe_rules().rule_arns(arn).send().await;
            let answer = answer.map_err(|error| failure::of("elasticloadbalancing:DescribeRules", &error))?;
            answer.rules().first().map(|rule| rule.actions().to_vec())
        } else {
            let answer = self.elb.describe_listeners().listener_arns(arn).send().await;
            let answer = answer.map_err(|error| failure::of("elasticloadbalancing:DescribeListeners", &error))?;
            answer
                .listeners()
                .first()
                .map(|listener| listener.default_actions().to_vec())
        };
        found.ok_or_else(|| Failure::lasting(format!("there is no listener rule {arn}")))
    }

    /// How the targets of a group are.
    pub async fn health(&self, target_group: &str) -> Result<Health, Failure> {
        let answer = self
            .elb
            .describe_target_health()
            .target_group_arn(target_group)
            .send()
            .await;
        let answer = answer.map_err(|error| failure::of("elasticloadbalancing:DescribeTargetHealth", &error))?;
        let mut health = Health::default();
        for target in answer.target_health_descriptions() {
            let Some(state) = target.target_health() else {
                continue;
            };
            match state.state() {
                Some(TargetHealthStateEnum::Healthy) => health.healthy += 1,
                _ => {
                    let reason = state.reason().map(|reason| reason.as_str()).unwrap_or_default();
                    let complaint = diagnosis::complaint(reason, state.description());
                    if let Some(complaint) = complaint.filter(|complaint| !health.complaints.contains(complaint)) {
                        health.complaints.push(complaint);
                    }
                }
            }
        }
        Ok(health)
    }
}

fn is_rule(arn: &str) -> bool {
    arn.contains(":listener-rule/")
}

fn is_forward(action: &Action) -> bool {
    action.r#type() == Some(&ActionTypeEnum::Forward)
}

fn read(action: &Action) -> Forward {
    let mut weights = BTreeMap::new();
    let config = action.forward_config();
    for tuple in config.map(|config| config.target_groups()).unwrap_or_default() {
        if let Some(group) = tuple.target_group_arn() {
            // A lone group needs no weight; without one AWS takes 1.
            weights.insert(group.to_owned(), count(tuple.weight().unwrap_or(1)));
        }
    }
    if let (true, Some(group)) = (weights.is_empty(), action.target_group_arn()) {
        weights.insert(group.to_owned(), 1);
    }
    let sticky = config.and_then(|config| config.target_group_stickiness_config());
    Forward {
        weights,
        sticky: sticky
            .filter(|sticky| sticky.enabled() == Some(true))
            .map(|sticky| count(sticky.duration_seconds().unwrap_or(0))),
    }
}
