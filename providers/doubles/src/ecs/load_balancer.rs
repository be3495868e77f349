//! The target groups that a service's tasks register with, and what moves traffic between two of them.

use serde_json::{Value, json};

use crate::aws::members::Members;
use crate::aws::refusal::Refusal;
use crate::ecs::definition::Definition;
use crate::ecs::state::State;
use crate::ecs::task::Binding;

/// A target group that a service registers with, and what moves traffic between two of them.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadBalancer {
    pub binding: Binding,
    pub advanced: Option<Advanced>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Advanced {
    pub alternate: String,
    pub production: String,
    pub test: Option<String>,
    pub role: String,
}

impl LoadBalancer {
    pub fn shown(&self) -> Value {
        let mut shown = json!({
            "targetGroupArn": self.binding.group,
            "containerName": self.binding.container,
            "containerPort": self.binding.port,
        });
        if let Some(advanced) = &self.advanced {
            shown["advancedConfiguration"] = json!({
                "alternateTargetGroupArn": advanced.alternate,
                "productionListenerRule": advanced.production,
                "roleArn": advanced.role,
            });
            if let Some(test) = &advanced.test {
                shown["advancedConfiguration"]["testListenerRule"] = json!(test);
            }
        }
        shown
    }
}

impl State {
    /// Reads and checks the target groups that tasks of this definition are to be registered with.
    pub(super) fn read_load_balancers(
        &self,
        list: Vec<Members>,
        definition: &Definition,
    ) -> Result<Vec<LoadBalancer>, Refusal> {
        if list.len() > 5 {
            return Err(Refusal::parameter("loadBalancers can have at most 5 items."));
        }
        list.into_iter()
            .map(|given| self.read_load_balancer(given, definition))
            .collect()
    }

    fn read_load_balancer(&self, mut given: Members, definition: &Definition) -> Result<LoadBalancer, Refusal> {
        let (group, container) = (given.needs("targetGroupArn")?, given.needs("containerName")?);
        let port = given.within("containerPort", 1, 65_535)?;
        let port = port.ok_or_else(|| Refusal::parameter("containerPort can not be blank."))?;
        let advanced = given.nested("advancedConfiguration")?;
        given.done()?;
        if !definition.containers().iter().any(|known| known.name == container) {
            let message = format!("The container {container} does not exist in the task definition.");
            return Err(Refusal::parameter(message));
        }
        if !definition.listens(&container, port) {
            let message = format!("The container {container} did not have a container port {port} defined.");
            return Err(Refusal::parameter(message));
        }
        self.check_group(&group)?;
        let advanced = advanced.map(|given| self.read_advanced(given)).transpose()?;
        let binding = Binding { group, container, port };
        Ok(LoadBalancer { binding, advanced })
    }

    fn read_advanced(&self, mut given: Members) -> Result<Advanced, Refusal> {
        let alternate = given.needs("alternateTargetGroupArn")?;
        let production = given.needs("productionListenerRule")?;
        let (test, role) = (given.text("testListenerRule")?, given.needs("roleArn")?);
        given.done()?;
        self.check_group(&alternate)?;
        for rule in [Some(&production), test.as_ref()].into_iter().flatten() {
            if self.world.balancers.route(rule).is_none() {
                return Err(Refusal::parameter(format!("The listener rule {rule} does not exist.")));
            }
        }
        Ok(Advanced {
            alternate,
            production,
            test,
            role,
        })
    }

    fn check_group(&self, group: &str) -> Result<(), Refusal> {
        if !self.world.balancers.is_group(group) {
            let message =
                format!("Unable to validate the specified targetGroupArn: the target group {group} does not exist.");
            return Err(Refusal::parameter(message));
        }
        if !self.world.balancers.is_attached(group) {
            let message =
                format!("The target group with targetGroupArn {group} does not have an associated load balancer.");
            return Err(Refusal::parameter(message));
        }
        Ok(())
    }
}
