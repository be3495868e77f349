//! Service revisions: what a service was told to run, one immutable record per deployment.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::aws::members::Members;
use crate::aws::refusal::Refusal;
use crate::ecs::clock::shown;
use crate::ecs::load_balancer::LoadBalancer;
use crate::ecs::service::Service;
use crate::ecs::state::State;
use crate::ecs::world::World;

/// ARNs in one `Describe…` request.
const ARNS_MAX: usize = 20;

#[derive(Clone, Debug)]
pub struct Revision {
    pub arn: String,
    pub definition: String,
    load_balancers: Vec<LoadBalancer>,
    network: Option<Value>,
    launch_type: String,
    created: Timestamp,
}

impl Revision {
    /// Records what this service is told to run now.
    pub fn of(service: &Service, definition: String, world: &mut World) -> Revision {
        let serial = world.serial();
        let path = format!(
            "service-revision/{}/{}/{serial}",
            service.facts.cluster_name, service.facts.name
        );
        Revision {
            arn: world.arn(&path),
            definition,
            load_balancers: service.load_balancers.clone(),
            network: service.kept.get("networkConfiguration").cloned(),
            launch_type: service.facts.launch_type.clone(),
            created: world.now,
        }
    }

    fn shown(&self, service: &Service, world: &World) -> Value {
        let containers = world
            .definition(&self.definition)
            .map(|known| known.containers())
            .unwrap_or_default();
        let images = containers
            .into_iter()
            .map(|container| json!({"containerName": container.name, "image": container.image}));
        let mut shown = json!({
            "serviceRevisionArn": self.arn,
            "serviceArn": service.facts.arn,
            "clusterArn": service.facts.cluster,
            "taskDefinition": self.definition,
            "launchType": self.launch_type,
            "loadBalancers": self.load_balancers.iter().map(LoadBalancer::shown).collect::<Vec<_>>(),
            "containerImages": images.collect::<Vec<_>>(),
            "guardDutyEnabled": false,
            "createdAt": shown(self.created),
        });
        if let Some(network) = &self.network {
            shown["networkConfiguration"] = network.clone();
        }
        // Which group and rule serve this revision, where a deployment of it stands.
        let deployment = service
            .deployments
            .iter()
            .find(|deployment| deployment.revision == self.arn);
        if let Some(deployment) =
            deployment.filter(|_| self.load_balancers.iter().any(|known| known.advanced.is_some()))
        {
            let resolved = deployment
                .pool
                .bindings
                .iter()
                .zip(&self.load_balancers)
                .map(|(binding, known)| {
                    let rule = known.advanced.as_ref().map(|advanced| advanced.production.clone());
                    json!({"targetGroupArn": binding.group, "productionListenerRule": rule})
                });
            shown["resolvedConfiguration"] = json!({"loadBalancers": resolved.collect::<Vec<_>>()});
        }
        shown
    }
}

impl State {
    pub(super) fn describe_service_revisions(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let arns = asked.texts("serviceRevisionArns")?.unwrap_or_default();
        asked.done()?;
        if arns.is_empty() || arns.len() > ARNS_MAX {
            return Err(Refusal::parameter(format!(
                "1 to {ARNS_MAX} service revision ARNs must be specified."
            )));
        }
        let (mut revisions, mut failures) = (Vec::new(), Vec::new());
        for arn in arns {
            let found = self
                .services
                .iter()
                .find_map(|service| Some((service, service.revision(&arn)?)));
            match found {
                Some((service, revision)) => revisions.push(revision.shown(service, &self.world)),
                None => failures.push(json!({"arn": arn, "reason": "MISSING"})),
            }
        }
        Ok(json!({"serviceRevisions": revisions, "failures": failures}))
    }
}
