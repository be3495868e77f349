//! A service deployment: from one set of revisions to another, forward or back, with everything it shows on the way.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ecs::clock::{after, shown};
use crate::ecs::configuration::{Configuration, Strategy};
use crate::ecs::pool::Pool;
use crate::ecs::revision::Revision;
use crate::ecs::service::{Deployment, LoadBalancer, RolloutState, Service};
use crate::ecs::task::Binding;
use crate::ecs::world::World;

/// Milliseconds that every status and stage lasts at least.
pub const DWELL: i64 = 1_000;

/// AWS's `ServiceDeploymentStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
    InProgress,
    Successful,
    StopRequested,
    Stopped,
    RollbackRequested,
    RollbackInProgress,
    RollbackSuccessful,
    RollbackFailed,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Pending => "PENDING",
            Status::InProgress => "IN_PROGRESS",
            Status::Successful => "SUCCESSFUL",
            Status::StopRequested => "STOP_REQUESTED",
            Status::Stopped => "STOPPED",
            Status::RollbackRequested => "ROLLBACK_REQUESTED",
            Status::RollbackInProgress => "ROLLBACK_IN_PROGRESS",
            Status::RollbackSuccessful => "ROLLBACK_SUCCESSFUL",
            Status::RollbackFailed => "ROLLBACK_FAILED",
        }
    }

    pub fn is_final(self) -> bool {
        matches!(
            self,
            Status::Successful | Status::Stopped | Status::RollbackSuccessful | Status::RollbackFailed
        )
    }
}

/// AWS's lifecycle stages, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Reconcile,
    PreScaleUp,
    ScaleUp,
    PostScaleUp,
    TestShift,
    PostTestShift,
    PreProductionShift,
    ProductionShift,
    PostProductionShift,
    Bake,
    CleanUp,
}

impl Stage {
    pub fn word(self) -> &'static str {
        match self {
            Stage::Reconcile => "RECONCILE_SERVICE",
            Stage::PreScaleUp => "PRE_SCALE_UP",
            Stage::ScaleUp => "SCALE_UP",
            Stage::PostScaleUp => "POST_SCALE_UP",
            Stage::TestShift => "TEST_TRAFFIC_SHIFT",
            Stage::PostTestShift => "POST_TEST_TRAFFIC_SHIFT",
            Stage::PreProductionShift => "PRE_PRODUCTION_TRAFFIC_SHIFT",
            Stage::ProductionShift => "PRODUCTION_TRAFFIC_SHIFT",
            Stage::PostProductionShift => "POST_PRODUCTION_TRAFFIC_SHIFT",
            Stage::Bake => "BAKE_TIME",
            Stage::CleanUp => "CLEAN_UP",
        }
    }
}

/// AWS's `DeploymentLifecycleHookStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookStatus {
    /// A PAUSE that nobody has answered yet.
    AwaitingAction,
    /// A Lambda function that runs.
    InProgress,
    Succeeded,
    Failed,
    TimedOut,
}

impl HookStatus {
    pub fn word(self) -> &'static str {
        match self {
            HookStatus::AwaitingAction => "AWAITING_ACTION",
            HookStatus::InProgress => "IN_PROGRESS",
            HookStatus::Succeeded => "SUCCEEDED",
            HookStatus::Failed => "FAILED",
            HookStatus::TimedOut => "TIMED_OUT",
        }
    }
}

/// One visit of a hook.
#[derive(Clone, Debug)]
pub struct HookRun {
    pub id: String,
    pub lambda: Option<String>,
    pub status: HookStatus,
    pub expires: Timestamp,
    pub rolls_back: bool,
    /// The visit belongs to the stage that the deployment is in.
    pub open: bool,
}

/// Why and to what a deployment goes back.
#[derive(Clone, Debug)]
pub struct Rollback {
    pub reason: String,
    pub started: Timestamp,
    pub revision: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Rollout {
    pub arn: String,
    pub status: Status,
    pub reason: String,
    pub created: Timestamp,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    pub stopped: Option<Timestamp>,
    pub updated: Timestamp,
    pub target: String,
    pub sources: Vec<String>,
    pub configuration: Configuration,
    pub stage: Stage,
    /// When the status or stage began.
    pub since: Timestamp,
    /// Whether the stage's own work is done.
    pub entered: bool,
    /// Tenths of a percent of production traffic on the target revision.
    pub share: i64,
    /// The same of test traffic.
    pub test_share: i64,
    pub hooks: Vec<HookRun>,
    pub rollback: Option<Rollback>,
    pub alarms: Vec<String>,
    pub tripped: bool,
}

impl Rollout {
    pub fn turn(&mut self, status: Status, reason: impl Into<String>, now: Timestamp) {
        self.status = status;
        self.reason = reason.into();
        self.since = now;
        self.updated = now;
        match status {
            Status::InProgress => self.started = Some(now),
            Status::Stopped => self.stopped = Some(now),
            _ => {}
        }
        if status.is_final() {
            self.finished = Some(now);
            self.hooks.iter_mut().for_each(|hook| hook.open = false);
        }
    }

    /// Whether the status and stage have lasted long enough; asks to be woken otherwise.
    pub fn has_dwelt(&self, world: &mut World) -> bool {
        let until = after(self.since, DWELL);
        world.wake_at(until);
        until <= world.now
    }

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

    /// The source that had production traffic when the deployment began.
    pub fn main_source<'a>(&'a self, service: &'a Service) -> Option<&'a str> {
        let live = service.live.as_deref();
        self.sources
            .iter()
            .map(String::as_str)
            .find(|arn| Some(*arn) == live)
            .or(self.sources.first().map(String::as_str))
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
