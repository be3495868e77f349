//! Who really gets the traffic: weights of a rule, and the healthy tasks behind each of its target groups.

use std::collections::BTreeMap;

use crate::ecs::state::State;
use crate::ecs::task::{Phase, Task};

/// Parts of a rule's traffic, between 0 and 1, that sum up to 1 where any weight is above 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    /// By the ARN of the task definition whose healthy tasks answer.
    pub by_definition: BTreeMap<String, f64>,
    /// What goes to target groups without one healthy task.
    pub lost: f64,
}

impl State {
    /// The traffic of a listener rule or a listener's default rule; none where there is no such rule.
    #[allow(clippy::cast_precision_loss)]
    pub fn traffic(&self, rule: &str) -> Option<Traffic> {
        let rule = self.world.balancers.route(rule)?;
        let groups: Vec<_> = rule.actions.iter().flat_map(|action| action.groups()).collect();
        let total: i64 = groups.iter().map(|group| group.weight).sum();
        let mut traffic = Traffic::default();
        for group in groups.into_iter().filter(|group| group.weight > 0) {
            let part = group.weight as f64 / total as f64;
            let healthy: Vec<&Task> = self
                .world
                .tasks
                .iter()
                .filter(|task| serves(task, &group.group))
                .collect();
            for task in &healthy {
                *traffic.by_definition.entry(task.definition.clone()).or_default() += part / healthy.len() as f64;
            }
            if healthy.is_empty() {
                traffic.lost += part;
            }
        }
        Some(traffic)
    }

    /// Task definitions with a running task of this service (its ARN or name), in order.
    pub fn standing(&self, service: &str) -> Vec<String> {
        let mut arns: Vec<String> = self
            .world
            .tasks
            .iter()
            .filter(|task| task.service == service || task.service_name == service)
            .filter(|task| task.phase == Phase::Running)
            .map(|task| task.definition.clone())
            .collect();
        arns.sort();
        arns.dedup();
        arns
    }
}

fn serves(task: &Task, group: &str) -> bool {
    task.ready && task.bindings.iter().any(|binding| binding.group == group)
}
