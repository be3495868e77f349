//! A service deployment: from one set of revisions to another, forward or back, with everything it shows on the way.

use jiff::{SignedDuration, Timestamp};

use crate::ecs::clock::after;
use crate::ecs::configuration::Configuration;
use crate::ecs::service::Service;
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

    /// Whether a read that is so late shows this already.
    pub fn shows(&self, late: SignedDuration, world: &World) -> bool {
        world.now.duration_since(self.created) >= late
    }

    /// Whether the status and stage have lasted long enough; asks to be woken otherwise.
    pub fn has_dwelt(&self, world: &mut World) -> bool {
        let until = after(self.since, DWELL);
        world.wake_at(until);
        until <= world.now
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
}
