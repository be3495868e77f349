//! ECS's own deployments: what the next step is, given what is there and what is wanted.
//!
//! A gated deployment stops at a pause hook before every shift of production traffic; it goes on when an order asks for more than
//! the candidate has. ECS takes the steps, keeps both versions up and goes back by itself when nobody answers.

use std::time::Duration;

use jiff::Timestamp;
use meridian_engine::run::effect::{Desired, DesiredState, Progress};
use meridian_workflows::share::Share;

use crate::diagnosis::Illness;
use crate::facts::{Course, Deployment, Revision};
use crate::fence;
use crate::strategy::Strategy;

/// The lifecycle stage whose pause hook holds a deployment before each shift.
pub const GATE: &str = "PRE_PRODUCTION_TRAFFIC_SHIFT";
/// What ECS asks for and what a listener shows may differ by a rounding of weights, in hundredths of a percent.
const TOLERANCE: u16 = 10;
/// ECS shows a deployment within this time of its order, or never: then it may be ordered, and forced, once more.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

/// What there is, read afresh for each call.
#[derive(Clone, Debug)]
pub struct Sight<'a> {
    pub strategy: Strategy,
    /// The newest of all service deployments.
    pub newest: Option<&'a Deployment>,
    /// The deployment up to which everything has been dealt with under this claim; nothing where the claim has done nothing yet.
    pub since: Option<&'a str>,
    /// What was ordered while the newest deployment already was the newest, and when: its own deployment does not show yet.
    pub ordered: Option<(&'a str, Timestamp)>,
    pub now: Timestamp,
    /// The last hook that was let go on, and the share that the candidate must have reached after it.
    pub step: Option<(&'a str, Share)>,
    /// What the service says it runs: all there is to know where it has no deployment of the last 90 days.
    pub task_definition: Option<&'a str>,
    /// The share of the newest deployment's target revision by the listener itself, where that can be read.
    pub listener: Option<Share>,
    /// What is wrong with the candidate.
    pub illness: Option<&'a Illness>,
    /// Whether the service is still configured for a release, instead of as its owners have it.
    pub is_altered: bool,
}

/// The next thing to do. Each changes at most one thing, and is harmless when done twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Deploy this task definition, in the ladder's way and stopping before every shift.
    Climb { task_definition: String },
    /// Deploy this task definition at once: the way back where the old tasks are gone.
    Return { task_definition: String },
    /// Let the paused deployment take its next step, which leads to this share.
    Continue {
        deployment: String,
        hook: String,
        to: Share,
    },
    /// Make ECS go back to the source revision.
    RollBack { deployment: String, hook: Option<String> },
    /// Write down that what happened up to this deployment has been dealt with.
    Acknowledge { deployment: String },
    /// Take the pause hook out of the service, so that other people's deployments do not stop at it, and give it back what it
    /// was configured with.
    Ungate,
    /// Nothing.
    Rest(Progress),
}

fn moving(why: impl Into<String>) -> Step {
    Step::Rest(Progress::Moving { why: Some(why.into()) })
}

fn stuck(why: impl Into<String>) -> Step {
    Step::Rest(Progress::Stuck { why: why.into() })
}

/// Nothing is wrong, and there is nothing to do but to let a time pass that was asked for.
fn waiting(why: impl Into<String>) -> Step {
    Step::Rest(Progress::Waiting { why: why.into() })
}

/// Decides the next step.
pub fn next(sight: &Sight<'_>, desired: &Desired) -> Step {
    let step = decide(sight, desired);
    let Some((definition, at)) = sight.ordered else {
        return step;
    };
    if sight.now.duration_since(at).unsigned_abs() >= SHOWN_WITHIN {
        return step;
    }
    let is_named = sight.task_definition.is_some_and(|own| fence::named(own) == definition);
    match &step {
        // The order may have got lost. A service that does not name the version is told again, and one that runs it by then
        // deploys nothing.
        Step::Climb { task_definition } | Step::Return { task_definition }
            if !is_named && fence::named(task_definition) == definition =>
        {
            step
        }
        // What shows is older than what is coming: nothing follows from it, not even that all is well.
        Step::Climb { .. }
        | Step::Return { .. }
        | Step::Continue { .. }
        | Step::RollBack { .. }
        | Step::Acknowledge { .. }
        | Step::Ungate
        | Step::Rest(_) => moving(format!(
            "a deployment of {definition} is ordered, and ECS does not show it yet"
        )),
    }
}

fn decide(sight: &Sight<'_>, desired: &Desired) -> Step {
    let candidate = desired.candidate.pinned.as_str();
    let baseline = desired.baseline.pinned.as_str();
    if candidate == baseline {
        return alone(sight, candidate);
    }
    match &desired.state {
        DesiredState::Serving(exposure) => serve(sight, candidate, baseline, exposure.traffic()),
        DesiredState::Promoted => promote(sight, candidate, baseline),
        DesiredState::Reverted => go_back(sight, candidate, baseline),
        DesiredState::Withdrawn => match go_back(sight, candidate, baseline) {
            Step::Rest(Progress::Settled) if sight.is_altered => Step::Ungate,
            step => step,
        },
    }
}

/// A release of what already serves: it only has to be alone.
fn alone(sight: &Sight<'_>, version: &str) -> Step {
    match sight.newest {
        Some(deployment) if matches!(deployment.status.course(), Course::Forward | Course::Back) => {
            moving(told(deployment))
        }
        _ if sight.serving() == Some(version) => Step::Rest(Progress::Settled),
        _ => stuck(format!("the service does not run {version}")),
    }
}

fn serve(sight: &Sight<'_>, candidate: &str, baseline: &str, wanted: Share) -> Step {
    let Some(deployment) = sight.newest else {
        return begin(sight, candidate, baseline, wanted);
    };
    match deployment.status.course() {
        Course::Forward if deployment.is_to(candidate) => climb(sight, deployment, wanted),
        Course::Forward if deployment.is_to(baseline) => moving(format!("the way back to {baseline} is not over yet")),
        Course::Forward => foreign(deployment),
        Course::Back if sight.is_ours(deployment) && deployment.is_to(candidate) => {
            stuck(rolled_back(sight, deployment))
        }
        Course::Back => moving(told(deployment)),
        Course::Arrived if deployment.is_to(candidate) => match wanted.is_full() {
            true => healthy(sight, arrived(sight)),
            false => Step::Return {
                task_definition: baseline.to_owned(),
            },
        },
        Course::Returned | Course::Broken if sight.is_ours(deployment) => stuck(rolled_back(sight, deployment)),
        Course::Arrived | Course::Returned | Course::Broken => begin(sight, candidate, baseline, wanted),
    }
}

/// The candidate serves everything, if the listener agrees.
fn arrived(sight: &Sight<'_>) -> Step {
    match sight.listener {
        Some(shown) if differ(shown, Share::FULL) => stuck(format!(
            "the deployment is over and the listener sends {shown} to the candidate: somebody changed its rule"
        )),
        Some(_) | None => Step::Rest(Progress::Settled),
    }
}

/// No deployment of the candidate is under way.
fn begin(sight: &Sight<'_>, candidate: &str, baseline: &str, wanted: Share) -> Step {
    match sight.serving() {
        Some(version) if version == candidate && wanted.is_full() => healthy(sight, Step::Rest(Progress::Settled)),
        Some(version) if version == candidate => Step::Return {
            task_definition: baseline.to_owned(),
        },
        // A rolling deployment cannot wait at 0 %: staged means that the task definition is there.
        Some(version) if version == baseline && sight.strategy == Strategy::Rolling && wanted.is_zero() => {
            Step::Rest(Progress::Settled)
        }
        Some(version) if version == baseline => Step::Climb {
            task_definition: candidate.to_owned(),
        },
        Some(other) => stuck(format!(
            "the service runs {other}, which is neither the candidate nor the baseline"
        )),
        None => moving("ECS does not say yet what the service runs"),
    }
}

/// The candidate's deployment is under way.
fn climb(sight: &Sight<'_>, deployment: &Deployment, wanted: Share) -> Step {
    let roll_back = || Step::RollBack {
        deployment: deployment.arn.clone(),
        hook: deployment.paused.as_ref().map(|pause| pause.hook.clone()),
    };
    let strategy = deployment.strategy.unwrap_or(sight.strategy);
    if strategy == Strategy::Rolling {
        return match wanted.is_full() {
            true => healthy(sight, moving(told(deployment))),
            false => roll_back(),
        };
    }
    let asked = deployment.target.as_ref().and_then(|target| target.weight);
    let Some(has) = asked.or(sight.listener) else {
        return healthy(sight, moving(told(deployment)));
    };
    let shown = sight.listener.unwrap_or(has);
    // ECS only ever goes back to 0 %: less than there is now means back, and up again from there.
    if exceeds(has.max(shown), wanted) {
        return roll_back();
    }
    if !deployment.alarms.is_empty() {
        return stuck(format!("in ALARM: {}", deployment.alarms.join(", ")));
    }
    if differ(has, shown) {
        return moving(format!("ECS asked for {has} and the listener still sends {shown}"));
    }
    let is_there = !exceeds(wanted, has);
    match &deployment.paused {
        _ if wanted.is_full() && is_there => ready(sight, deployment, Step::Rest(Progress::Settled)),
        Some(_) if is_there => ready(sight, deployment, Step::Rest(Progress::Settled)),
        Some(pause) => {
            // What ECS shows may lag behind a step that it has already taken: going on then would be one step too many.
            if let Some((hook, reached)) = sight.step
                && hook != pause.hook
                && exceeds(reached, has)
            {
                return moving(format!("ECS shows {has} and has been let go on to {reached}"));
            }
            let to = strategy.after(has);
            if exceeds(to, wanted) {
                return stuck(format!(
                    "the next step of this deployment leads to {to}, and {wanted} is wanted"
                ));
            }
            let step = Step::Continue {
                deployment: deployment.arn.clone(),
                hook: pause.hook.clone(),
                to,
            };
            ready(sight, deployment, step)
        }
        None => healthy(sight, moving(told(deployment))),
    }
}

fn exceeds(one: Share, other: Share) -> bool {
    one.basis_points()
        > other
            .basis_points()
            .saturating_add(if other.is_zero() { 0 } else { TOLERANCE - 1 })
}

fn differ(one: Share, other: Share) -> bool {
    one.basis_points().abs_diff(other.basis_points()) > TOLERANCE || one.is_zero() != other.is_zero()
}

/// The step, once the candidate is not ill.
fn healthy(sight: &Sight<'_>, step: Step) -> Step {
    match sight.illness {
        Some(illness) if illness.is_lasting => stuck(&illness.why),
        Some(illness) => moving(&illness.why),
        None => step,
    }
}

/// The step, once all the candidate's tasks run and it is not ill.
fn ready(sight: &Sight<'_>, deployment: &Deployment, step: Step) -> Step {
    let Some(target) = &deployment.target else {
        return moving("ECS does not say yet which revision it deploys");
    };
    if target.requested == 0 || target.running < target.requested {
        let why = format!("{} of {} tasks of the candidate run", target.running, target.requested);
        return healthy(sight, moving(why));
    }
    healthy(sight, step)
}

fn promote(sight: &Sight<'_>, candidate: &str, baseline: &str) -> Step {
    if let Some(deployment) = sight.newest
        && deployment.status.course() == Course::Forward
        && deployment.is_to(candidate)
    {
        return match climb(sight, deployment, Share::FULL) {
            Step::Rest(Progress::Settled) => waiting("ECS keeps the old tasks until its bake time is over"),
            step => step,
        };
    }
    match serve(sight, candidate, baseline, Share::FULL) {
        Step::Rest(Progress::Settled) if sight.is_altered => Step::Ungate,
        step => step,
    }
}

fn go_back(sight: &Sight<'_>, candidate: &str, baseline: &str) -> Step {
    let back = || Step::Return {
        task_definition: baseline.to_owned(),
    };
    let Some(deployment) = sight.newest else {
        return match sight.serving() {
            Some(version) if version == baseline => Step::Rest(Progress::Settled),
            _ => back(),
        };
    };
    match deployment.status.course() {
        Course::Forward if deployment.is_to(baseline) => match &deployment.paused {
            // Ours does not pause: somebody else's hook came with the service, and users do not wait for it.
            Some(pause) if sight.is_ours(deployment) => Step::Continue {
                deployment: deployment.arn.clone(),
                hook: pause.hook.clone(),
                to: Share::FULL,
            },
            Some(_) | None => moving(told(deployment)),
        },
        Course::Forward if deployment.is_to(candidate) => Step::RollBack {
            deployment: deployment.arn.clone(),
            hook: deployment.paused.as_ref().map(|pause| pause.hook.clone()),
        },
        Course::Forward => foreign(deployment),
        Course::Back => moving(told(deployment)),
        // The way back itself failed: another try would end the same way, and somebody has to look.
        Course::Returned | Course::Broken if deployment.is_to(baseline) && sight.is_ours(deployment) => {
            stuck(format!("the way back failed: {}", told(deployment)))
        }
        Course::Returned if sight.is_ours(deployment) => Step::Acknowledge {
            deployment: deployment.arn.clone(),
        },
        Course::Returned | Course::Arrived if sight.serving() == Some(baseline) => Step::Rest(Progress::Settled),
        Course::Returned | Course::Arrived | Course::Broken => back(),
    }
}

fn foreign(deployment: &Deployment) -> Step {
    let what = deployment.task_definition().unwrap_or("another version");
    stuck(format!(
        "a deployment of {what} that this run did not order is under way"
    ))
}

/// What ECS says about a deployment that went back by itself.
fn rolled_back(sight: &Sight<'_>, deployment: &Deployment) -> String {
    let rollback = deployment
        .rollback
        .as_ref()
        .and_then(|rollback| rollback.reason.clone());
    let mut why = format!(
        "ECS rolled the deployment back by itself ({})",
        deployment.status.as_str()
    );
    if let Some(reason) = rollback.or_else(|| deployment.reason.clone()) {
        why.push_str(&format!(": {reason}"));
    }
    if !deployment.alarms.is_empty() {
        why.push_str(&format!("; in ALARM: {}", deployment.alarms.join(", ")));
    }
    if let Some(illness) = sight.illness {
        why.push_str(&format!("; {}", illness.why));
    }
    why
}

/// Where a deployment is, in a few words.
pub fn told(deployment: &Deployment) -> String {
    let stage = deployment
        .stage
        .as_ref()
        .map(|stage| format!(", {stage}"))
        .unwrap_or_default();
    let reason = deployment
        .reason
        .as_ref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    format!("the deployment is {}{stage}{reason}", deployment.status.as_str())
}

impl Sight<'_> {
    /// Whether the deployment came after everything that has been dealt with.
    fn is_ours(&self, deployment: &Deployment) -> bool {
        self.since.is_some_and(|since| since != fence::short(&deployment.arn))
    }

    /// The task definition that serves while nothing is under way.
    pub fn serving(&self) -> Option<&str> {
        let Some(deployment) = self.newest else {
            return self.task_definition;
        };
        match deployment.status.course() {
            Course::Arrived => deployment.task_definition(),
            Course::Returned => deployment.source().or(self.task_definition),
            Course::Broken => self.task_definition,
            Course::Forward | Course::Back => deployment.source(),
        }
    }
}

impl Deployment {
    pub fn task_definition(&self) -> Option<&str> {
        self.target
            .as_ref()
            .and_then(|target| target.task_definition.as_deref())
    }

    fn is_to(&self, task_definition: &str) -> bool {
        self.task_definition() == Some(task_definition)
    }

    /// What served before, or serves again where the deployment went back.
    pub fn source(&self) -> Option<&str> {
        let restored = self.rollback.as_ref().and_then(|rollback| rollback.revision.as_ref());
        let found = self.sources.iter().find(|source| Some(&source.arn) == restored);
        found.or(self.sources.first())?.task_definition.as_deref()
    }

    /// The target revision's share of live traffic: as ECS has asked the load balancer for it, by running tasks where it shifts
    /// no traffic.
    pub fn share(&self, strategy: Strategy) -> Share {
        let Some(target) = &self.target else {
            return Share::ZERO;
        };
        if let Some(weight) = target.weight {
            return weight;
        }
        match self.status.course() {
            Course::Arrived => Share::FULL,
            Course::Returned => Share::ZERO,
            Course::Forward | Course::Back | Course::Broken => match self.strategy.unwrap_or(strategy) {
                Strategy::Rolling => by_tasks(target, &self.sources),
                Strategy::BlueGreen | Strategy::Canary { .. } | Strategy::Linear { .. } => Share::ZERO,
            },
        }
    }
}

fn by_tasks(target: &Revision, sources: &[Revision]) -> Share {
    let all = sources
        .iter()
        .map(|source| source.running)
        .sum::<u32>()
        .saturating_add(target.running);
    crate::weights::share(target.running, all)
}

#[cfg(test)]
mod stories;
