//! What was read from AWS, in plain structs: everything that decides here needs no SDK.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meridian_workflows::share::Share;

use crate::strategy::Strategy;

/// A service as `DescribeServices` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub arn: String,
    pub name: String,
    pub controller: Controller,
    pub desired: u32,
    pub running: u32,
    pub task_definition: Option<String>,
    pub balancers: Vec<Balancer>,
    /// The lifecycle stages of each pause hook that the service is configured with.
    pub pauses: Vec<Vec<String>>,
    pub rollouts: Vec<Rollout>,
    pub task_sets: Vec<TaskSet>,
    pub events: Vec<Event>,
    pub tags: BTreeMap<String, String>,
}

/// Who moves a service from one version to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Controller {
    Ecs,
    External,
    CodeDeploy,
    /// One that came after this was written.
    Other(String),
}

/// A load balancer of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balancer {
    pub target_group: Option<String>,
    pub container: Option<String>,
    pub advanced: Option<Advanced>,
}

/// What lets ECS itself shift traffic (`advancedConfiguration`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advanced {
    pub alternate: Option<String>,
    pub production: Option<String>,
    pub test: Option<String>,
}

impl Service {
    /// Whether ECS can shift its traffic between two target groups.
    pub fn shifts_traffic(&self) -> bool {
        self.advanced().any(|advanced| advanced.alternate.is_some())
    }

    pub fn advanced(&self) -> impl Iterator<Item = &Advanced> {
        self.balancers.iter().filter_map(|balancer| balancer.advanced.as_ref())
    }

    /// The last rolling update, where one is under way or done.
    pub fn primary_rollout(&self) -> Option<&Rollout> {
        self.rollouts.iter().find(|rollout| rollout.is_primary)
    }
}

/// One entry of a service's `deployments`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    pub is_primary: bool,
    pub task_definition: String,
    pub desired: u32,
    pub running: u32,
    pub is_completed: bool,
    pub has_failed: bool,
    pub reason: Option<String>,
    pub created: Option<Timestamp>,
}

/// A task set of a service whose controller is `EXTERNAL`.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSet {
    /// Its ARN.
    pub id: String,
    pub task_definition: String,
    pub target_group: Option<String>,
    pub is_primary: bool,
    pub is_draining: bool,
    pub is_steady: bool,
    pub desired: u32,
    pub running: u32,
    pub created: Option<Timestamp>,
}

/// A line of a service's event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub at: Option<Timestamp>,
    pub message: String,
}

/// One service deployment, as `DescribeServiceDeployments` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    pub arn: String,
    pub created: Option<Timestamp>,
    pub started: Option<Timestamp>,
    pub status: Status,
    pub reason: Option<String>,
    pub stage: Option<String>,
    /// How this deployment climbs, where it says so.
    pub strategy: Option<Strategy>,
    pub target: Option<Revision>,
    pub sources: Vec<Revision>,
    /// The pause hook that waits for an answer.
    pub paused: Option<Pause>,
    pub rollback: Option<Rollback>,
    pub alarms: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
    InProgress,
    StopRequested,
    Stopped,
    RollbackRequested,
    RollbackInProgress,
    RollbackSuccessful,
    RollbackFailed,
    Successful,
    /// One that came after this was written: it is waited for, never taken for success.
    Other(String),
}

/// Where a deployment is, as far as anybody has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// On its way to the target revision.
    Forward,
    /// On its way back to the source revision.
    Back,
    /// The target revision serves.
    Arrived,
    /// The source revision serves again.
    Returned,
    /// It ended and left nobody knows what.
    Broken,
}

impl Status {
    pub fn course(&self) -> Course {
        match self {
            Status::Pending | Status::InProgress | Status::Other(_) => Course::Forward,
            Status::StopRequested | Status::RollbackRequested | Status::RollbackInProgress => Course::Back,
            Status::Successful => Course::Arrived,
            Status::RollbackSuccessful => Course::Returned,
            Status::RollbackFailed | Status::Stopped => Course::Broken,
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Status::Pending => "PENDING",
            Status::InProgress => "IN_PROGRESS",
            Status::StopRequested => "STOP_REQUESTED",
            Status::Stopped => "STOPPED",
            Status::RollbackRequested => "ROLLBACK_REQUESTED",
            Status::RollbackInProgress => "ROLLBACK_IN_PROGRESS",
            Status::RollbackSuccessful => "ROLLBACK_SUCCESSFUL",
            Status::RollbackFailed => "ROLLBACK_FAILED",
            Status::Successful => "SUCCESSFUL",
            Status::Other(text) => text,
        }
    }
}

/// A service revision within a deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Revision {
    pub arn: String,
    /// Not part of a deployment's answer: looked up by the revision's ARN.
    pub task_definition: Option<String>,
    /// The target group that the revision's tasks are in, where AWS says so.
    pub target_group: Option<String>,
    pub requested: u32,
    pub running: u32,
    /// Its share of production traffic as ECS has asked the load balancer for it.
    pub weight: Option<Share>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    pub hook: String,
    pub expires: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollback {
    pub reason: Option<String>,
    pub revision: Option<String>,
}

/// A task that has stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    pub task_definition: String,
    pub code: Option<String>,
    pub reason: Option<String>,
    pub containers: Vec<Ended>,
    pub started: Option<Timestamp>,
    pub stopped: Option<Timestamp>,
    pub created: Option<Timestamp>,
}

/// A container of a stopped task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    pub name: String,
    pub image: Option<String>,
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
}

/// What a listener or one of its rules forwards to: the weight of each target group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    pub weights: BTreeMap<String, u32>,
    /// How long clients stay with the group they met first, in seconds, where that is on.
    pub sticky: Option<u32>,
}

/// How the targets of one group are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    pub healthy: u32,
    /// What is said about those that are not, each once.
    pub complaints: Vec<String>,
}
