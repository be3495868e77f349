//! A service: what it is told to be, the tasks it keeps, and how its deployments replace them.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::ecs::clock::shown as shown_at;
use crate::ecs::configuration::Configuration;
use crate::ecs::load_balancer::LoadBalancer;
use crate::ecs::pool::{Facts, Log, Pool};
use crate::ecs::revision::Revision;
use crate::ecs::rollout::{Rollout, Status};
use crate::ecs::task::Change;
use crate::ecs::task_set::TaskSet;
use crate::ecs::world::World;

/// Who drives a service's deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    Ecs,
    CodeDeploy,
    External,
}

impl Controller {
    pub fn word(self) -> &'static str {
        match self {
            Controller::Ecs => "ECS",
            Controller::CodeDeploy => "CODE_DEPLOY",
            Controller::External => "EXTERNAL",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Active,
    /// Deleted; its tasks still stop.
    Draining,
    Inactive,
}

/// AWS's `rolloutState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutState {
    InProgress,
    Completed,
    Failed,
}

/// One revision's tasks, as `DescribeServices` lists them.
#[derive(Clone, Debug)]
pub struct Deployment {
    pub pool: Pool,
    pub revision: String,
    pub primary: bool,
    pub state: RolloutState,
    pub reason: String,
    pub created: Timestamp,
    pub updated: Timestamp,
}

#[derive(Debug)]
pub struct Service {
    pub facts: Facts,
    pub life: Life,
    pub controller: Controller,
    pub desired: usize,
    /// The task definition that it is told to run; none with an external controller before a primary task set.
    pub definition: Option<String>,
    pub load_balancers: Vec<LoadBalancer>,
    pub configuration: Configuration,
    /// Members that are kept and given back as they came.
    pub kept: Map<String, Value>,
    pub created: Timestamp,
    pub log: Log,
    /// The newest first.
    pub deployments: Vec<Deployment>,
    pub task_sets: Vec<TaskSet>,
    /// Service deployments, the oldest first.
    pub rollouts: Vec<Rollout>,
    pub revisions: Vec<Revision>,
    /// The revision that the last successful deployment or rollback left in production.
    pub live: Option<String>,
    pub was_steady: bool,
}

impl Service {
    pub fn is_active(&self) -> bool {
        self.life == Life::Active
    }

    /// The service deployment under way.
    pub fn current_rollout(&self) -> Option<usize> {
        self.rollouts.iter().rposition(|rollout| !rollout.status.is_final())
    }

    pub fn deployment_of(&mut self, revision: &str) -> Option<&mut Deployment> {
        self.deployments
            .iter_mut()
            .find(|deployment| deployment.revision == revision)
    }

    pub fn revision(&self, arn: &str) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.arn == arn)
    }

    /// A task of this service did something.
    pub fn hear(&mut self, pool: &str, task: &str, change: &Change, now: Timestamp) {
        let pools = self.deployments.iter_mut().map(|deployment| &mut deployment.pool);
        let sets = self.task_sets.iter_mut().map(|set| &mut set.pool);
        if let Some(own) = pools.chain(sets).find(|known| known.id == pool) {
            own.hear(task, change, &self.facts, &mut self.log, now);
        }
    }

    /// Does what the scheduler does at this instant. Answers whether anything changed.
    pub fn step(&mut self, world: &mut World) -> bool {
        let changed = match (self.life, self.controller) {
            (Life::Inactive, _) => return false,
            (Life::Draining, _) => self.drain(world),
            (Life::Active, Controller::External) => self.step_task_sets(world),
            (Life::Active, Controller::Ecs | Controller::CodeDeploy) => match self.current_rollout() {
                Some(place) => self.step_rollout(place, world),
                None => self.hold(world),
            },
        };
        changed | self.tell_steady(world)
    }

    /// Between deployments: the primary deployment has all the tasks, unless one was stopped half-way, which leaves everything
    /// as it was.
    fn hold(&mut self, world: &mut World) -> bool {
        let last = self.rollouts.last().map(|rollout| rollout.status);
        let stopped = matches!(last, Some(Status::Stopped | Status::RollbackFailed));
        for deployment in &mut self.deployments {
            if deployment.primary {
                deployment.pool.desired = self.desired;
            } else if !stopped {
                deployment.pool.desired = 0;
            }
        }
        self.reconcile(world)
    }

    /// Brings every deployment's tasks to what is desired of it, and forgets those that have none left.
    pub fn reconcile(&mut self, world: &mut World) -> bool {
        let mut changed = false;
        for deployment in &mut self.deployments {
            changed |= deployment.pool.reconcile(&self.facts, &mut self.log, world);
        }
        changed | self.forget_empty(world)
    }

    /// Forgets deployments that are wanted no more and have no task left.
    pub fn forget_empty(&mut self, world: &World) -> bool {
        let before = self.deployments.len();
        let under_way: Vec<String> = self
            .current_rollout()
            .map(|place| self.rollouts[place].sources.clone())
            .unwrap_or_default();
        self.deployments.retain(|deployment| {
            deployment.primary
                || deployment.pool.desired > 0
                || under_way.contains(&deployment.revision)
                || deployment.pool.counts(&world.tasks).standing > 0
        });
        before != self.deployments.len()
    }

    fn drain(&mut self, world: &mut World) -> bool {
        let mut changed = false;
        let pools = self.deployments.iter_mut().map(|deployment| &mut deployment.pool);
        for pool in pools.chain(self.task_sets.iter_mut().map(|set| &mut set.pool)) {
            pool.desired = 0;
            changed |= pool.reconcile(&self.facts, &mut self.log, world);
        }
        let arn = &self.facts.arn;
        let standing = world.tasks.iter().any(|task| task.service == *arn && task.wanted);
        if !standing {
            self.life = Life::Inactive;
            changed = true;
        }
        changed
    }

    fn tell_steady(&mut self, world: &mut World) -> bool {
        if self.life != Life::Active {
            return false;
        }
        let deployments = self.deployments.iter().map(|deployment| &deployment.pool);
        let mut pools = deployments.chain(self.task_sets.iter().map(|set| &set.pool));
        let steady = self.current_rollout().is_none() && pools.all(|pool| pool.is_steady(&world.tasks));
        if steady && !self.was_steady {
            self.log.say(&self.facts, world.now, "has reached a steady state.");
        }
        let turned = steady != self.was_steady;
        self.was_steady = steady;
        turned
    }

    /// The service as `DescribeServices` shows it, without its tags.
    pub fn shown(&self, world: &World) -> Value {
        let mut shown = self.kept.clone();
        let mut set = |name: &str, value: Value| {
            shown.insert(name.to_owned(), value);
        };
        let own = || world.tasks.iter().filter(|task| task.service == self.facts.arn);
        let word = match self.life {
            Life::Active => "ACTIVE",
            Life::Draining => "DRAINING",
            Life::Inactive => "INACTIVE",
        };
        set("serviceArn", json!(self.facts.arn));
        set("serviceName", json!(self.facts.name));
        set("clusterArn", json!(self.facts.cluster));
        set("status", json!(word));
        set("desiredCount", json!(self.desired));
        set(
            "runningCount",
            json!(own().filter(|task| task.phase.word() == "RUNNING").count()),
        );
        set(
            "pendingCount",
            json!(
                own()
                    .filter(|task| matches!(task.phase.word(), "PENDING" | "PROVISIONING"))
                    .count()
            ),
        );
        set(
            "loadBalancers",
            self.load_balancers.iter().map(LoadBalancer::shown).collect(),
        );
        set("serviceRegistries", json!([]));
        set("deploymentController", json!({"type": self.controller.word()}));
        set("deploymentConfiguration", self.configuration.shown());
        set(
            "deployments",
            self.deployments
                .iter()
                .map(|deployment| self.shown_deployment(deployment, world))
                .collect(),
        );
        set("events", self.log.shown());
        set("createdAt", shown_at(self.created));
        set("createdBy", json!("arn:aws:iam::123456789012:root"));
        set("resourceManagementType", json!("CUSTOMER"));
        if self.controller == Controller::External {
            set(
                "taskSets",
                self.task_sets.iter().map(|own| own.shown(&self.facts, world)).collect(),
            );
        } else {
            set("launchType", json!(self.facts.launch_type));
        }
        if let Some(definition) = &self.definition {
            set("taskDefinition", json!(definition));
        }
        let [_, late] = world.late;
        if let Some(rollout) = self.rollouts.iter().rfind(|rollout| rollout.shows(late, world)) {
            set("currentServiceDeployment", json!(rollout.arn));
            let revisions = self.deployments.iter().map(|deployment| {
                let counts = deployment.pool.counts(&world.tasks);
                json!({
                    "arn": deployment.revision,
                    "requestedTaskCount": deployment.pool.desired,
                    "runningTaskCount": counts.running,
                    "pendingTaskCount": counts.pending,
                })
            });
            set("currentServiceRevisions", revisions.collect());
        }
        Value::Object(shown)
    }

    fn shown_deployment(&self, deployment: &Deployment, world: &World) -> Value {
        let counts = deployment.pool.counts(&world.tasks);
        let state = match deployment.state {
            RolloutState::InProgress => "IN_PROGRESS",
            RolloutState::Completed => "COMPLETED",
            RolloutState::Failed => "FAILED",
        };
        let mut shown = json!({
            "id": deployment.pool.id,
            "status": if deployment.primary { "PRIMARY" } else { "ACTIVE" },
            "taskDefinition": deployment.pool.definition,
            "desiredCount": deployment.pool.desired,
            "pendingCount": counts.pending,
            "runningCount": counts.running,
            "failedTasks": deployment.pool.failures,
            "createdAt": shown_at(deployment.created),
            "updatedAt": shown_at(deployment.updated),
            "launchType": self.facts.launch_type,
            "rolloutState": state,
            "rolloutStateReason": deployment.reason,
        });
        for name in ["networkConfiguration", "platformVersion"] {
            if let Some(value) = self.kept.get(name) {
                shown[name] = value.clone();
            }
        }
        shown
    }
}
