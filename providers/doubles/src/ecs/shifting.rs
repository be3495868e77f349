//! Deployments that move traffic: blue/green, linear and canary, stage by stage, and the way back.

use crate::ecs::clock::{minutes_after, seconds_after};
use crate::ecs::rollout::{HookRun, HookStatus, Stage, Status};
use crate::ecs::service::Service;
use crate::ecs::world::World;

/// Seconds that a stage may last before the deployment is given up: a day.
const STAGE_MAX: i64 = 86_400;

impl Service {
    pub fn step_shifting(&mut self, place: usize, world: &mut World) -> bool {
        if self.rollouts[place].status == Status::RollbackInProgress {
            return self.step_back(place, world);
        }
        if !self.rollouts[place].entered {
            return self.enter_stage(place, world);
        }
        let changed = self.scale(place, world);
        if changed || !self.rollouts[place].has_dwelt(world) {
            return changed;
        }
        match self.answered_hooks(place, world) {
            Hooks::Waiting => false,
            Hooks::Refuse(reason) => self.begin_rollback(place, &reason, world),
            Hooks::Passed => self.leave_stage(place, world),
        }
    }

    /// Does a stage's own work and opens its hooks.
    fn enter_stage(&mut self, place: usize, world: &mut World) -> bool {
        let stage = self.rollouts[place].stage;
        let moved = match stage {
            Stage::Reconcile => {
                self.rollouts[place].share = 0;
                self.set_weights(place, 0, false, world)
            }
            Stage::TestShift => {
                self.rollouts[place].test_share = 1000;
                self.set_weights(place, 1000, true, world)
            }
            Stage::ProductionShift => {
                let rollout = &mut self.rollouts[place];
                // A first deployment has nobody to share with.
                rollout.share = if rollout.sources.is_empty() {
                    1000
                } else {
                    rollout.configuration.strategy.share_after(rollout.share)
                };
                let share = rollout.share;
                self.set_weights(place, share, false, world)
            }
            _ => true,
        };
        if !moved {
            let reason = "Service deployment failed: the listener rule or one of its target groups does not exist.";
            return self.begin_rollback(place, reason, world);
        }
        let now = world.now;
        let hooks: Vec<_> = self.rollouts[place].configuration.hooks.clone();
        let rollout = &mut self.rollouts[place];
        rollout.hooks.iter_mut().for_each(|hook| hook.open = false);
        for hook in hooks
            .into_iter()
            .filter(|hook| hook.stages.iter().any(|at| at == stage.word()))
        {
            rollout.hooks.push(HookRun {
                id: format!("hook-{:016x}", world.serial()),
                status: if hook.lambda.is_some() {
                    HookStatus::InProgress
                } else {
                    HookStatus::AwaitingAction
                },
                lambda: hook.lambda,
                expires: minutes_after(now, hook.timeout),
                rolls_back: hook.rolls_back,
                open: true,
            });
        }
        rollout.entered = true;
        rollout.since = now;
        rollout.updated = now;
        true
    }

    /// How many tasks each revision has in this stage.
    fn scale(&mut self, place: usize, world: &mut World) -> bool {
        let rollout = &self.rollouts[place];
        let main = rollout.main_source(self).map(str::to_owned);
        let (target, stage) = (rollout.target.clone(), rollout.stage);
        let desired = self.desired;
        for deployment in &mut self.deployments {
            deployment.pool.desired = match stage {
                Stage::Reconcile | Stage::PreScaleUp if deployment.revision == target => 0,
                _ if deployment.revision == target => desired,
                Stage::CleanUp => 0,
                _ if Some(&deployment.revision) == main.as_ref() => desired,
                _ => 0,
            };
        }
        self.reconcile(world)
    }

    fn answered_hooks(&mut self, place: usize, world: &mut World) -> Hooks {
        let mut answer = Hooks::Passed;
        let rollout = &mut self.rollouts[place];
        for hook in rollout.hooks.iter_mut().filter(|hook| hook.open) {
            match hook.status {
                HookStatus::InProgress => {
                    let succeeds = hook.lambda.as_ref().is_none_or(|arn| world.lambda_succeeds(arn));
                    hook.status = if succeeds {
                        HookStatus::Succeeded
                    } else {
                        HookStatus::Failed
                    };
                }
                HookStatus::AwaitingAction if hook.expires <= world.now => hook.status = HookStatus::TimedOut,
                HookStatus::AwaitingAction => world.wake_at(hook.expires),
                HookStatus::Succeeded | HookStatus::Failed | HookStatus::TimedOut => {}
            }
            answer = match hook.status {
                HookStatus::Failed => {
                    return Hooks::Refuse("Service deployment rolled back: a lifecycle hook failed.".to_owned());
                }
                HookStatus::TimedOut if hook.rolls_back => {
                    let reason = format!(
                        "Service deployment rolled back: the lifecycle hook {} timed out.",
                        hook.id
                    );
                    return Hooks::Refuse(reason);
                }
                HookStatus::AwaitingAction => Hooks::Waiting,
                _ => answer,
            };
        }
        answer
    }

    fn leave_stage(&mut self, place: usize, world: &mut World) -> bool {
        let rollout = &self.rollouts[place];
        let (stage, since, share) = (rollout.stage, rollout.since, rollout.share);
        let strategy = rollout.configuration.strategy;
        let others = || self.deployments.iter().filter(|deployment| !deployment.primary);
        let standing: usize = others()
            .map(|deployment| deployment.pool.counts(&world.tasks).standing)
            .sum();
        let main = rollout.main_source(self);
        let surplus = || others().filter(|deployment| Some(deployment.revision.as_str()) != main);
        let done = match stage {
            Stage::Reconcile => surplus().all(|deployment| deployment.pool.counts(&world.tasks).standing == 0),
            Stage::ScaleUp => self
                .deployments
                .iter()
                .filter(|own| own.primary)
                .all(|own| own.pool.is_steady(&world.tasks)),
            Stage::ProductionShift if share < 1000 => {
                let until = minutes_after(since, strategy.step_bake());
                world.wake_at(until);
                until <= world.now
            }
            Stage::Bake => {
                let until = minutes_after(since, rollout.configuration.bake);
                world.wake_at(until);
                until <= world.now
            }
            Stage::CleanUp => standing == 0,
            _ => true,
        };
        if !done {
            return self.give_up(place, world);
        }
        let next = match stage {
            Stage::Reconcile => Stage::PreScaleUp,
            Stage::PreScaleUp => Stage::ScaleUp,
            Stage::ScaleUp => Stage::PostScaleUp,
            Stage::PostScaleUp => Stage::TestShift,
            Stage::TestShift => Stage::PostTestShift,
            Stage::PostTestShift => Stage::PreProductionShift,
            Stage::PreProductionShift => Stage::ProductionShift,
            Stage::ProductionShift if share < 1000 => Stage::PreProductionShift,
            Stage::ProductionShift => Stage::PostProductionShift,
            Stage::PostProductionShift => Stage::Bake,
            Stage::Bake => Stage::CleanUp,
            Stage::CleanUp => {
                self.finish(place, Status::Successful, world);
                return true;
            }
        };
        self.rollouts[place].stage = next;
        self.rollouts[place].entered = false;
        true
    }

    /// A stage that scales and never comes to its end fails after a day.
    fn give_up(&mut self, place: usize, world: &mut World) -> bool {
        let rollout = &self.rollouts[place];
        if rollout.stage != Stage::ScaleUp {
            return false;
        }
        let until = seconds_after(rollout.since, STAGE_MAX);
        world.wake_at(until);
        if until > world.now {
            return false;
        }
        self.begin_rollback(
            place,
            "Service deployment failed: the stage SCALE_UP did not finish within 24 hours.",
            world,
        )
    }

    /// The way back: the old revision at full strength, then all traffic to it, then the new one's tasks away.
    fn step_back(&mut self, place: usize, world: &mut World) -> bool {
        let desired = self.desired;
        let returned = self.rollouts[place].entered;
        for deployment in &mut self.deployments {
            if deployment.primary {
                deployment.pool.halted = false;
                deployment.pool.desired = desired;
            } else if returned {
                deployment.pool.desired = 0;
            }
        }
        let changed = self.reconcile(world);
        if changed || !self.rollouts[place].has_dwelt(world) {
            return changed;
        }
        if !returned {
            let full = self
                .deployments
                .iter()
                .filter(|own| own.primary)
                .all(|own| own.pool.counts(&world.tasks).ready >= desired);
            if !full {
                return self.fail_back(place, world);
            }
            self.rollouts[place].share = 0;
            self.rollouts[place].test_share = 0;
            if !(self.set_weights(place, 0, false, world) && self.set_weights(place, 0, true, world)) {
                let reason = "Rollback failed: the listener rule or one of its target groups does not exist.";
                self.rollouts[place].turn(Status::RollbackFailed, reason, world.now);
                return true;
            }
            self.rollouts[place].entered = true;
            self.rollouts[place].since = world.now;
            return true;
        }
        let others = self.deployments.iter().filter(|deployment| !deployment.primary);
        if others
            .map(|deployment| deployment.pool.counts(&world.tasks).standing)
            .sum::<usize>()
            > 0
        {
            return false;
        }
        self.finish(place, Status::RollbackSuccessful, world);
        true
    }

    fn fail_back(&mut self, place: usize, world: &mut World) -> bool {
        let until = seconds_after(self.rollouts[place].since, STAGE_MAX);
        world.wake_at(until);
        if until > world.now {
            return false;
        }
        let reason = "Rollback failed: the earlier service revision did not become healthy within 24 hours.";
        self.rollouts[place].turn(Status::RollbackFailed, reason, world.now);
        true
    }

    /// Sends so many tenths of a percent of production or test traffic to the target revision's groups. Answers `false` where
    /// the load balancer does not have what the service names.
    fn set_weights(&self, place: usize, share: i64, test: bool, world: &mut World) -> bool {
        let rollout = &self.rollouts[place];
        let bindings_of = |revision: &str| {
            self.deployments
                .iter()
                .find(|deployment| deployment.revision == revision)
                .map(|deployment| deployment.pool.bindings.clone())
        };
        let target = bindings_of(&rollout.target).unwrap_or_default();
        let mut fine = true;
        for (place, known) in self.load_balancers.iter().enumerate() {
            let Some(advanced) = &known.advanced else { continue };
            let rule = if test {
                advanced.test.as_ref()
            } else {
                Some(&advanced.production)
            };
            let (Some(rule), Some(green)) = (rule, target.get(place)) else {
                continue;
            };
            let groups = [&known.binding.group, &advanced.alternate];
            let blue = groups
                .into_iter()
                .find(|group| **group != green.group)
                .unwrap_or(&known.binding.group);
            // Whole percents are written as such; tenths need a sum of 1000, which stays below the largest weight of 999.
            let scale = if share % 10 == 0 { 10 } else { 1 };
            let weights = [
                (blue.clone(), (1000 - share) / scale),
                (green.group.clone(), share / scale),
            ];
            fine &= world.balancers.set_weights(rule, &weights);
        }
        fine
    }
}

/// What a stage's hooks say together.
enum Hooks {
    Waiting,
    Refuse(String),
    Passed,
}
