//! One task: from its placement over its health to the reason why it stopped.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::ecs::behaviour::Behaviour;
use crate::ecs::clock::{after, seconds_after, shown};
use crate::elb::health::{Health, Target};
use crate::registry;

/// Milliseconds that a task spends in `PROVISIONING`, in `PENDING` (the pull), until its checks pass, until it crashes,
/// ready before it flaps, and between the order to stop and the end.
const PROVISION: i64 = 1_000;
const PULL: i64 = 2_000;
const CHECKS: i64 = 3_000;
const CRASH: i64 = 1_000;
const FLAP: i64 = 500;
const STOP: i64 = 1_000;
/// Milliseconds of health before the scheduler counts on a task; target groups show it healthy from the first moment.
const PROOF: i64 = 1_000;
/// Milliseconds of failing checks before the scheduler gives a task up.
const GIVE_UP: i64 = 10_000;

/// Where a task stands; AWS's `lastStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Provisioning,
    Pending,
    Running,
    /// Its targets drain.
    Deactivating,
    Stopping,
    Stopped,
}

impl Phase {
    pub fn word(self) -> &'static str {
        match self {
            Phase::Provisioning => "PROVISIONING",
            Phase::Pending => "PENDING",
            Phase::Running => "RUNNING",
            Phase::Deactivating => "DEACTIVATING",
            Phase::Stopping => "STOPPING",
            Phase::Stopped => "STOPPED",
        }
    }
}

/// A container of a task definition, as far as tasks show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub name: String,
    pub image: String,
    pub essential: bool,
}

/// A container's port behind a target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub group: String,
    pub container: String,
    pub port: i64,
}

/// Why a task stopped or stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// AWS's `TaskStopCode`.
    pub code: &'static str,
    pub reason: String,
    pub exit: Option<i32>,
    /// The container's own reason.
    pub container: Option<String>,
    /// Nobody asked for it.
    pub failed: bool,
}

impl Stop {
    /// The scheduler takes a task that is no longer wanted.
    pub fn scaled(pool: &str) -> Stop {
        Stop {
            code: "ServiceSchedulerInitiated",
            reason: format!("Scaling activity initiated by (deployment {pool})"),
            exit: Some(0),
            container: None,
            failed: false,
        }
    }
}

/// What a task just did that its service wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It runs and is registered with its target groups.
    Runs,
    /// Its checks pass.
    Ready,
    /// They have passed for a while.
    Proven,
    /// Its checks fail.
    Unhealthy,
    /// It fails without being asked to stop; `was_ready` says whether it had been healthy before.
    Fails {
        was_ready: bool,
    },
    Stopped,
}

#[derive(Clone, Debug)]
pub struct Task {
    pub id: String,
    pub arn: String,
    pub cluster: String,
    pub service: String,
    pub service_name: String,
    /// The deployment or task set that started it.
    pub pool: String,
    pub definition: String,
    pub containers: Vec<Container>,
    pub launch_type: String,
    pub ip: String,
    pub bindings: Vec<Binding>,
    pub behaviour: Behaviour,
    pub phase: Phase,
    /// Whether the scheduler still wants it; AWS's `desiredStatus` RUNNING.
    pub wanted: bool,
    /// Its checks pass.
    pub ready: bool,
    /// They have passed for a while.
    pub proven: bool,
    pub created: Timestamp,
    started: Option<Timestamp>,
    stopping: Option<Timestamp>,
    stopped: Option<Timestamp>,
    pub stop: Option<Stop>,
    /// Seconds that failing checks are overlooked after the start.
    pub grace: i64,
    /// Seconds that its targets drain.
    pub drain: i64,
    /// When the next thing happens to it.
    pub next: Option<Timestamp>,
}

/// What a new task is made from.
pub struct Placement {
    pub id: String,
    pub arn: String,
    pub cluster: String,
    pub service: String,
    pub service_name: String,
    pub pool: String,
    pub definition: String,
    pub containers: Vec<Container>,
    pub launch_type: String,
    pub ip: String,
    pub bindings: Vec<Binding>,
    pub behaviour: Behaviour,
    pub grace: i64,
    pub drain: i64,
}

impl Task {
    pub fn place(from: Placement, now: Timestamp) -> Task {
        Task {
            id: from.id,
            arn: from.arn,
            cluster: from.cluster,
            service: from.service,
            service_name: from.service_name,
            pool: from.pool,
            definition: from.definition,
            containers: from.containers,
            launch_type: from.launch_type,
            ip: from.ip,
            bindings: from.bindings,
            behaviour: from.behaviour,
            phase: Phase::Provisioning,
            wanted: true,
            ready: false,
            proven: false,
            created: now,
            started: None,
            stopping: None,
            stopped: None,
            stop: None,
            grace: from.grace,
            drain: from.drain,
            next: Some(after(now, PROVISION)),
        }
    }

    /// Does what is due by `now`. A task whose target group nobody forwards to never gets healthy.
    pub fn step(&mut self, now: Timestamp, attached: bool) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some(due) = self.next.filter(|due| *due <= now) {
            self.next = None;
            self.happen(due, attached, &mut changes);
        }
        changes
    }

    fn happen(&mut self, at: Timestamp, attached: bool, changes: &mut Vec<Change>) {
        match self.phase {
            Phase::Provisioning => {
                self.phase = Phase::Pending;
                self.next = Some(after(at, PULL));
            }
            Phase::Pending if self.behaviour == Behaviour::CannotPull => self.fail(self.not_pulled(), at, changes),
            Phase::Pending => {
                self.phase = Phase::Running;
                self.started = Some(at);
                changes.push(Change::Runs);
                self.next = self.next_while_running(at);
            }
            Phase::Running => self.run_on(at, attached, changes),
            Phase::Deactivating => {
                self.phase = Phase::Stopping;
                self.next = Some(after(at, STOP));
            }
            Phase::Stopping => {
                self.phase = Phase::Stopped;
                self.stopped = Some(at);
                changes.push(Change::Stopped);
            }
            Phase::Stopped => {}
        }
    }

    fn next_while_running(&self, now: Timestamp) -> Option<Timestamp> {
        match self.behaviour {
            Behaviour::Exits(_) | Behaviour::OutOfMemory => Some(after(now, CRASH)),
            Behaviour::Flaps if self.ready => Some(after(now, FLAP)),
            Behaviour::Slow(seconds) if !self.ready => Some(seconds_after(now, i64::from(seconds))),
            Behaviour::NeverHealthy => Some(after(
                now,
                if self.ready {
                    CHECKS
                } else {
                    GIVE_UP.max(self.grace * 1000)
                },
            )),
            _ if self.proven => None,
            _ if self.ready => Some(after(now, PROOF)),
            _ => Some(after(now, CHECKS)),
        }
    }

    fn run_on(&mut self, at: Timestamp, attached: bool, changes: &mut Vec<Change>) {
        match self.behaviour {
            Behaviour::Exits(code) => self.fail(exited(code, None), at, changes),
            Behaviour::OutOfMemory => {
                let reason = "OutOfMemoryError: Container killed due to memory usage";
                self.fail(exited(137, Some(reason)), at, changes);
            }
            Behaviour::Flaps if self.ready => self.fail(exited(1, None), at, changes),
            Behaviour::NeverHealthy if self.ready => {
                self.ready = false;
                self.proven = false;
                changes.push(Change::Unhealthy);
                self.next = self.next_while_running(at);
            }
            Behaviour::NeverHealthy => {
                changes.push(Change::Unhealthy);
                self.fail(self.given_up(), at, changes);
            }
            _ if !attached => self.next = Some(after(at, CHECKS)),
            _ if self.ready => {
                self.proven = true;
                changes.push(Change::Proven);
            }
            _ => {
                self.ready = true;
                changes.push(Change::Ready);
                self.next = self.next_while_running(at);
            }
        }
    }

    fn fail(&mut self, stop: Stop, at: Timestamp, changes: &mut Vec<Change>) {
        changes.push(Change::Fails { was_ready: self.ready });
        self.end(stop, at);
    }

    /// Asks the task to stop: a running one behind a target group drains first.
    pub fn stop(&mut self, stop: Stop, now: Timestamp) {
        if self.wanted {
            self.end(stop, now);
        }
    }

    fn end(&mut self, stop: Stop, at: Timestamp) {
        let drains = self.phase == Phase::Running && !self.bindings.is_empty() && !stop.failed;
        let (phase, time) = if drains {
            (Phase::Deactivating, self.drain * 1000)
        } else {
            (Phase::Stopping, STOP)
        };
        self.phase = phase;
        self.wanted = false;
        self.ready = false;
        self.proven = false;
        self.stopping = Some(at);
        self.stop = Some(stop);
        self.next = Some(after(at, time));
    }

    /// From now on the task behaves differently; one that runs well can start to fail.
    pub fn turn(&mut self, behaviour: Behaviour, now: Timestamp) {
        self.behaviour = behaviour;
        if self.phase == Phase::Running && self.wanted {
            self.next = self.next_while_running(now);
        }
    }

    fn not_pulled(&self) -> Stop {
        let image = self.containers.first().map_or("", |container| container.image.as_str());
        let why = format!(
            "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref {image}: {image}: not found"
        );
        // On Fargate the task says it, on EC2 its container.
        let on_fargate = self.launch_type == "FARGATE";
        Stop {
            code: "TaskFailedToStart",
            reason: if on_fargate {
                why.clone()
            } else {
                "Task failed to start".to_owned()
            },
            exit: None,
            container: Some(why),
            failed: true,
        }
    }

    fn given_up(&self) -> Stop {
        let reason = match self.bindings.first() {
            Some(binding) => format!("Task failed ELB health checks in (target-group {})", binding.group),
            None => "Task failed container health checks".to_owned(),
        };
        Stop {
            code: "ServiceSchedulerInitiated",
            reason,
            exit: Some(143),
            container: None,
            failed: true,
        }
    }

    /// The task as a target group's health check sees it; none where it is not registered.
    pub fn target(&self, group: &str, zone: &str) -> Option<Target> {
        let binding = self.bindings.iter().find(|binding| binding.group == group)?;
        let health = match self.phase {
            Phase::Running if self.ready => Health::Healthy,
            Phase::Running if self.behaviour == Behaviour::NeverHealthy => Health::Unhealthy(503),
            Phase::Running => Health::Initial,
            Phase::Deactivating => Health::Draining,
            Phase::Provisioning | Phase::Pending | Phase::Stopping | Phase::Stopped => return None,
        };
        Some(Target {
            id: self.ip.clone(),
            port: binding.port,
            zone: zone.to_owned(),
            health,
        })
    }

    /// Whether it is long gone, so that ECS no longer remembers it (an hour).
    pub fn is_forgotten(&self, now: Timestamp) -> bool {
        self.stopped.is_some_and(|at| seconds_after(at, 3600) <= now)
    }

    /// The task as `DescribeTasks` shows it.
    pub fn shown(&self, zone: &str) -> Value {
        let mut task = Map::new();
        let mut set = |name: &str, value: Value| {
            if !value.is_null() {
                task.insert(name.to_owned(), value);
            }
        };
        set("taskArn", json!(self.arn));
        set("clusterArn", json!(self.cluster));
        set("taskDefinitionArn", json!(self.definition));
        set("group", json!(format!("service:{}", self.service_name)));
        set("startedBy", json!(self.pool));
        set("lastStatus", json!(self.phase.word()));
        set("desiredStatus", json!(if self.wanted { "RUNNING" } else { "STOPPED" }));
        set("launchType", json!(self.launch_type));
        set("availabilityZone", json!(zone));
        set("healthStatus", json!("UNKNOWN"));
        set("connectivity", json!("CONNECTED"));
        set("version", json!(1));
        set("createdAt", shown(self.created));
        set("startedAt", self.started.map_or(Value::Null, shown));
        set("stoppingAt", self.stopping.map_or(Value::Null, shown));
        set("stoppedAt", self.stopped.map_or(Value::Null, shown));
        set("stopCode", json!(self.stop.as_ref().map(|stop| stop.code)));
        set("stoppedReason", json!(self.stop.as_ref().map(|stop| &stop.reason)));
        set(
            "containers",
            self.containers
                .iter()
                .map(|container| self.shown_container(container))
                .collect(),
        );
        Value::Object(task)
    }

    fn shown_container(&self, container: &Container) -> Value {
        let mut shown = json!({
            "containerArn": format!("{}/{}", self.arn.replacen(":task/", ":container/", 1), container.name),
            "taskArn": self.arn,
            "name": container.name,
            "image": container.image,
            "lastStatus": self.phase.word(),
            "healthStatus": "UNKNOWN",
            "networkInterfaces": [{"attachmentId": format!("eni-{}", &self.id[..8]), "privateIpv4Address": self.ip}],
        });
        if self.started.is_some() {
            shown["imageDigest"] = json!(registry::digest(&container.image));
        }
        let ended = matches!(self.phase, Phase::Stopping | Phase::Stopped);
        if let Some(stop) = self.stop.as_ref().filter(|_| ended) {
            if let Some(exit) = stop.exit {
                shown["exitCode"] = json!(exit);
            }
            if let Some(reason) = &stop.container {
                shown["reason"] = json!(reason);
            }
        }
        shown
    }
}

fn exited(code: i32, container: Option<&str>) -> Stop {
    Stop {
        code: "EssentialContainerExited",
        reason: "Essential container in task exited".to_owned(),
        exit: Some(code),
        container: container.map(str::to_owned),
        failed: true,
    }
}
