//! How a service's deployment begins, fails, turns round and ends, whatever its strategy.

use jiff::Timestamp;

use crate::ecs::configuration::Strategy;
use crate::ecs::load_balancer::LoadBalancer;
use crate::ecs::pool::Pool;
use crate::ecs::revision::Revision;
use crate::ecs::rollout::{Rollback, Rollout, Stage, Status};
use crate::ecs::service::{Deployment, RolloutState, Service};
use crate::ecs::task::Binding;
use crate::ecs::world::World;

impl Service {
    /// Begins a service deployment to what the service is told to run now; one under way ends as STOPPED.
    pub fn begin_rollout(&mut self, definition: String, world: &mut World) {
        let now = world.now;
        if let Some(place) = self.current_rollout() {
            self.rollouts[place].turn(
                Status::Stopped,
                "Service deployment stopped: a newer service deployment has started.",
                now,
            );
        }
        let revision = Revision::of(self, definition.clone(), world);
        let serial = world.serial();
        let path = format!(
            "service-deployment/{}/{}/{serial:022}",
            self.facts.cluster_name, self.facts.name
        );
        let sources: Vec<String> = self
            .deployments
            .iter()
            .map(|deployment| deployment.revision.clone())
            .collect();
        let arn = world.arn(&path);
        self.rollouts.push(Rollout {
            arn,
            status: Status::Pending,
            reason: String::new(),
            created: now,
            started: None,
            finished: None,
            stopped: None,
            updated: now,
            target: revision.arn.clone(),
            sources,
            configuration: self.configuration.clone(),
            stage: Stage::PreScaleUp,
            since: now,
            entered: false,
            share: 0,
            test_share: 0,
            hooks: Vec::new(),
            rollback: None,
            alarms: Vec::new(),
            tripped: false,
        });
        self.add_deployment(&revision.arn.clone(), definition.clone(), world);
        self.revisions.push(revision);
        self.definition = Some(definition);
    }

    /// Adds the primary deployment of this revision; the ones before become ACTIVE.
    pub fn add_deployment(&mut self, revision: &str, definition: String, world: &mut World) {
        let bindings = self.free_bindings();
        let id = world.pool_id();
        let mut pool = Pool::new(id.clone(), definition, bindings);
        pool.forgiving = self.configuration.breaker.forgiving;
        for before in &mut self.deployments {
            before.primary = false;
        }
        self.deployments.insert(
            0,
            Deployment {
                pool,
                revision: revision.to_owned(),
                primary: true,
                state: RolloutState::InProgress,
                reason: format!("ECS deployment {id} in progress."),
                created: world.now,
                updated: world.now,
            },
        );
    }

    /// Where a new revision registers: with two target groups the one that production does not use.
    fn free_bindings(&self) -> Vec<Binding> {
        let live = self
            .deployments
            .iter()
            .find(|deployment| Some(&deployment.revision) == self.live.as_ref());
        let used: Vec<&str> = live.map_or(Vec::new(), |live| {
            live.pool.bindings.iter().map(|used| used.group.as_str()).collect()
        });
        let moves = self.configuration.strategy != Strategy::Rolling;
        let free = |known: &LoadBalancer| {
            let mut binding = known.binding.clone();
            let alternate = known.advanced.as_ref().map(|advanced| &advanced.alternate);
            // Without a shift of traffic a new revision joins the group that serves.
            let elsewhere = used.contains(
                &if moves {
                    &binding.group
                } else {
                    alternate.unwrap_or(&binding.group)
                }
                .as_str(),
            );
            if let Some(alternate) = alternate.filter(|_| elsewhere) {
                binding.group = alternate.clone();
            }
            binding
        };
        self.load_balancers.iter().map(free).collect()
    }

    /// Lets the deployment under way do what is due.
    pub fn step_rollout(&mut self, place: usize, world: &mut World) -> bool {
        let now = world.now;
        let status = self.rollouts[place].status;
        if status == Status::InProgress && self.has_alarm(place, world) {
            return true;
        }
        match status {
            Status::Pending if self.rollouts[place].has_dwelt(world) => {
                self.rollouts[place].turn(Status::InProgress, "", now);
                if self.configuration.strategy != Strategy::Rolling && self.rollouts[place].sources.len() > 1 {
                    self.rollouts[place].stage = Stage::Reconcile;
                }
                true
            }
            Status::StopRequested if self.rollouts[place].has_dwelt(world) => {
                self.rollouts[place].turn(Status::Stopped, "Service deployment stopped by request.", now);
                self.fail_primary("ECS deployment stopped by request.", now);
                true
            }
            Status::RollbackRequested if self.rollouts[place].has_dwelt(world) => {
                let reason = self.rollouts[place].reason.clone();
                self.begin_rollback(place, &reason, world)
            }
            Status::Pending | Status::StopRequested | Status::RollbackRequested => self.reconcile(world),
            Status::InProgress | Status::RollbackInProgress => match self.rollouts[place].configuration.strategy {
                Strategy::Rolling => self.step_rolling(place, world),
                _ => self.step_shifting(place, world),
            },
            Status::Successful | Status::Stopped | Status::RollbackSuccessful | Status::RollbackFailed => false,
        }
    }

    /// Whether an alarm ends the deployment now.
    fn has_alarm(&mut self, place: usize, world: &mut World) -> bool {
        let rollout = &mut self.rollouts[place];
        let alarms = &rollout.configuration.alarms;
        if !alarms.enabled || rollout.stage == Stage::CleanUp {
            return false;
        }
        let ringing: Vec<String> = alarms
            .names
            .iter()
            .filter(|name| world.alarms.contains(*name))
            .cloned()
            .collect();
        if ringing.is_empty() {
            return false;
        }
        let reason = format!(
            "Service deployment failed: alarm detected. Triggered alarm names: {}",
            ringing.join(", ")
        );
        let rollback = alarms.rollback;
        rollout.alarms = ringing;
        let id = self
            .deployments
            .first()
            .map(|deployment| deployment.pool.id.clone())
            .unwrap_or_default();
        self.log.say(
            &self.facts,
            world.now,
            &format!("(deployment {id}) deployment failed: alarm detected."),
        );
        self.end_badly(place, &reason, rollback, world)
    }

    /// A failure was detected: roll back where that was asked for, else stop.
    pub fn end_badly(&mut self, place: usize, reason: &str, rollback: bool, world: &mut World) -> bool {
        if rollback {
            return self.begin_rollback(place, reason, world);
        }
        self.rollouts[place].turn(Status::Stopped, reason, world.now);
        self.fail_primary(reason, world.now);
        true
    }

    /// The newest revision's deployment has failed: nothing more is started for it.
    fn fail_primary(&mut self, reason: &str, now: Timestamp) {
        if let Some(primary) = self.deployments.first_mut() {
            primary.state = RolloutState::Failed;
            primary.reason = reason.to_owned();
            primary.pool.halted = true;
            primary.updated = now;
        }
    }

    /// Turns a deployment round: the main source becomes primary again. Without one there is nothing to go back to.
    pub fn begin_rollback(&mut self, place: usize, reason: &str, world: &mut World) -> bool {
        let now = world.now;
        let target = self.rollouts[place].target.clone();
        let source = self.rollouts[place].main_source(self).map(str::to_owned);
        let Some(source) = source else {
            self.rollouts[place].turn(
                Status::RollbackFailed,
                format!("{reason} No earlier service revision to roll back to."),
                now,
            );
            self.fail_primary(reason, now);
            return true;
        };
        let definition = self
            .revision(&source)
            .map(|revision| revision.definition.clone())
            .unwrap_or_default();
        if self.deployment_of(&source).is_none() {
            self.add_deployment(&source, definition.clone(), world);
        }
        let mut id = String::new();
        for deployment in &mut self.deployments {
            deployment.primary = deployment.revision == source;
            deployment.updated = now;
            if deployment.revision == target {
                deployment.state = RolloutState::Failed;
                deployment.reason = reason.to_owned();
                deployment.pool.halted = true;
            } else if deployment.primary {
                deployment.state = RolloutState::InProgress;
                deployment.reason = format!("{reason} Rolling back to deployment {}.", deployment.pool.id);
                id = deployment.pool.id.clone();
            }
        }
        self.deployments.sort_by_key(|deployment| !deployment.primary);
        self.log
            .say(&self.facts, now, &format!("rolling back to deployment {id}."));
        self.definition = Some(definition);
        let rollout = &mut self.rollouts[place];
        rollout.rollback = Some(Rollback {
            reason: reason.to_owned(),
            started: now,
            revision: Some(source),
        });
        rollout.hooks.iter_mut().for_each(|hook| hook.open = false);
        rollout.entered = false;
        rollout.turn(Status::RollbackInProgress, reason, now);
        true
    }

    /// Ends the deployment well, forward or back.
    pub fn finish(&mut self, place: usize, status: Status, world: &World) {
        let now = world.now;
        let rollout = &mut self.rollouts[place];
        let reason = rollout
            .rollback
            .as_ref()
            .map_or_else(String::new, |rollback| rollback.reason.clone());
        rollout.turn(status, reason, now);
        if let Some(primary) = self.deployments.iter_mut().find(|deployment| deployment.primary) {
            primary.state = RolloutState::Completed;
            primary.reason = format!("ECS deployment {} completed.", primary.pool.id);
            primary.updated = now;
            self.live = Some(primary.revision.clone());
            let sentence = format!("(deployment {}) deployment completed.", primary.pool.id);
            self.log.say(&self.facts, now, &sentence);
        }
    }
}
