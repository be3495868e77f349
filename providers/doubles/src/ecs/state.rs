//! Everything an account holds, how time passes in it, and ECS's operations by name.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::aws::members::Members;
use crate::aws::refusal::Refusal;
use crate::ecs::cluster::Cluster;
use crate::ecs::service::Service;
use crate::ecs::world::World;

/// Rounds of "did anything change?" at one instant; a machine that never comes to rest is a mistake of the stand-in.
const ROUNDS_MAX: usize = 10_000;

#[derive(Debug)]
pub struct State {
    pub world: World,
    pub clusters: Vec<Cluster>,
    pub services: Vec<Service>,
    /// Tags by ARN.
    pub tags: BTreeMap<String, BTreeMap<String, String>>,
    /// What was made under a client token: the request and the ARN.
    pub tokens: BTreeMap<String, (String, String)>,
    pub page_max: usize,
}

impl State {
    pub fn new(region: &str, now: Timestamp) -> State {
        State {
            world: World::new(region, now),
            clusters: Vec::new(),
            services: Vec::new(),
            tags: BTreeMap::new(),
            tokens: BTreeMap::new(),
            page_max: usize::MAX,
        }
    }

    pub fn advance(&mut self, time: Duration) {
        let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
        let until = self.world.now.checked_add(time).unwrap_or(Timestamp::MAX);
        loop {
            self.settle();
            match self.world.next_instant().filter(|instant| *instant <= until) {
                Some(instant) => self.world.now = instant.max(self.world.now),
                None => break,
            }
        }
        self.world.now = until;
    }

    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let heard = self.world.step_tasks();
            let mut changed = !heard.is_empty();
            for (service, pool, task, change) in heard {
                if let Some(service) = self.services.iter_mut().find(|known| known.facts.arn == service) {
                    service.hear(&pool, &task, &change, self.world.now);
                }
            }
            for service in &mut self.services {
                changed |= service.step(&mut self.world);
            }
            if !changed {
                return;
            }
        }
    }

    /// Carries out one ECS operation.
    pub fn ecs(&mut self, operation: &str, asked: Members) -> Result<Value, Refusal> {
        match operation {
            "CreateCluster" => self.create_cluster(asked),
            "DescribeClusters" => self.describe_clusters(asked),
            "RegisterTaskDefinition" => self.register_task_definition(asked),
            "DescribeTaskDefinition" => self.describe_task_definition(asked),
            "DeregisterTaskDefinition" => self.deregister_task_definition(asked),
            "ListTaskDefinitions" => self.list_task_definitions(asked),
            "CreateService" => self.create_service(asked),
            "UpdateService" => self.update_service(asked),
            "DescribeServices" => self.describe_services(asked),
            "DeleteService" => self.delete_service(asked),
            "ListServices" => self.list_services(asked),
            "CreateTaskSet" => self.create_task_set(asked),
            "UpdateTaskSet" => self.update_task_set(asked),
            "DeleteTaskSet" => self.delete_task_set(asked),
            "DescribeTaskSets" => self.describe_task_sets(asked),
            "UpdateServicePrimaryTaskSet" => self.update_service_primary_task_set(asked),
            "ListTasks" => self.list_tasks(asked),
            "DescribeTasks" => self.describe_tasks(asked),
            "StopTask" => self.stop_task(asked),
            "ListServiceDeployments" => self.list_service_deployments(asked),
            "DescribeServiceDeployments" => self.describe_service_deployments(asked),
            "DescribeServiceRevisions" => self.describe_service_revisions(asked),
            "StopServiceDeployment" => self.stop_service_deployment(asked),
            "ContinueServiceDeployment" => self.continue_service_deployment(asked),
            "TagResource" => self.tag_resource(asked),
            "UntagResource" => self.untag_resource(asked),
            "ListTagsForResource" => self.list_tags_for_resource(asked),
            other => Err(Refusal::unknown_operation(format!(
                "this stand-in for ECS does not play {other}"
            ))),
        }
    }

    /// Carries out one ELBv2 operation.
    pub fn elb(&mut self, operation: &str, asked: Members) -> Result<Value, Refusal> {
        let World {
            balancers,
            tasks,
            region,
            ..
        } = &mut self.world;
        let zone = format!("{region}a");
        let tasks = &*tasks;
        balancers.call(operation, asked, |group| {
            tasks.iter().filter_map(|task| task.target(group, &zone)).collect()
        })
    }

    /// The size of a page: what was asked for within 1..=`most`, `usual` where nothing was, never more than the hands allow.
    pub(super) fn page_size(&self, asked: &mut Members, usual: usize, most: i64) -> Result<usize, Refusal> {
        let size = asked.within("maxResults", 1, most)?;
        Ok(size
            .and_then(|size| usize::try_from(size).ok())
            .unwrap_or(usual)
            .min(self.page_max))
    }

    /// The ARN that was made under this token before, if it was.
    ///
    /// *Errors*: the same token came with another request.
    pub(super) fn made_under(
        &self,
        scope: &str,
        token: Option<&str>,
        request: &str,
    ) -> Result<Option<String>, Refusal> {
        let Some(token) = token else { return Ok(None) };
        if token.is_empty() || token.len() > 36 || !token.bytes().all(|byte| (33..=126).contains(&byte)) {
            let message = "The client token must be 1 to 36 printable ASCII characters.";
            return Err(Refusal::parameter(message));
        }
        match self.tokens.get(&format!("{scope} {token}")) {
            Some((before, arn)) if before == request => Ok(Some(arn.clone())),
            Some(_) => Err(Refusal::parameter(
                "Client token was used before with different parameters.",
            )),
            None => Ok(None),
        }
    }

    pub(super) fn remember_token(&mut self, scope: &str, token: Option<String>, request: String, arn: &str) {
        if let Some(token) = token {
            self.tokens
                .insert(format!("{scope} {token}"), (request, arn.to_owned()));
        }
    }
}
