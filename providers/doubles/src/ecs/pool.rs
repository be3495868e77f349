//! A number of equal tasks that a service keeps: what a deployment or a task set is to the scheduler.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ecs::clock::{seconds_after, shown};
use crate::ecs::task::{Binding, Change, Phase, Stop, Task};
use crate::ecs::world::World;

/// Events that ECS remembers of a service.
const EVENTS_MAX: usize = 100;
/// Failures in a row before the scheduler starts to wait longer and longer, up to fifteen minutes.
const PATIENCE: u32 = 10;
const WAIT_MAX: i64 = 900;

/// What all tasks of a service share.
#[derive(Clone, Debug)]
pub struct Facts {
    pub arn: String,
    pub name: String,
    pub cluster: String,
    pub cluster_name: String,
    pub launch_type: String,
    /// `healthCheckGracePeriodSeconds`.
    pub grace: i64,
}

/// A service's events, newest first.
#[derive(Debug, Default)]
pub struct Log {
    events: VecDeque<(String, Timestamp, String)>,
    serial: u64,
}

impl Log {
    /// Adds "(service NAME) …"; the same sentence as the newest one is not said again.
    pub fn say(&mut self, facts: &Facts, at: Timestamp, sentence: &str) {
        let message = format!("(service {}) {sentence}", facts.name);
        if self.events.front().is_some_and(|(_, _, newest)| *newest == message) {
            return;
        }
        self.serial += 1;
        let id = uuid::Uuid::from_u128(u128::from(self.serial) << 64 | 0xec5).to_string();
        self.events.push_front((id, at, message));
        self.events.truncate(EVENTS_MAX);
    }

    pub fn shown(&self) -> Value {
        let event = |(id, at, message): &(String, Timestamp, String)| json!({"id": id, "createdAt": shown(*at), "message": message});
        self.events.iter().map(event).collect()
    }
}

/// The tasks of one deployment or task set.
#[derive(Clone, Debug)]
pub struct Pool {
    /// `ecs-svc/…`, which tasks show as `startedBy`.
    pub id: String,
    pub definition: String,
    pub bindings: Vec<Binding>,
    /// How many tasks the scheduler holds.
    pub desired: usize,
    /// Failures that count against the circuit breaker.
    pub failures: u32,
    /// Whether a healthy task sets the failures back.
    pub forgiving: bool,
    /// Given up: nothing is started any more.
    pub halted: bool,
    not_before: Option<Timestamp>,
}

/// How many tasks of a pool are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The scheduler wants them.
    pub live: usize,
    pub running: usize,
    pub pending: usize,
    /// Running and healthy for a while.
    pub ready: usize,
    /// Not stopped yet, wanted or not.
    pub standing: usize,
}

impl Pool {
    pub fn new(id: String, definition: String, bindings: Vec<Binding>) -> Pool {
        Pool {
            id,
            definition,
            bindings,
            desired: 0,
            failures: 0,
            forgiving: true,
            halted: false,
            not_before: None,
        }
    }

    pub fn counts(&self, tasks: &[Task]) -> Counts {
        let mut counts = Counts::default();
        for task in tasks
            .iter()
            .filter(|task| task.pool == self.id && task.phase != Phase::Stopped)
        {
            counts.standing += 1;
            counts.live += usize::from(task.wanted);
            counts.ready += usize::from(task.proven);
            match task.phase {
                Phase::Running => counts.running += 1,
                Phase::Provisioning | Phase::Pending => counts.pending += 1,
                Phase::Deactivating | Phase::Stopping | Phase::Stopped => {}
            }
        }
        counts
    }

    /// Whether exactly the wanted tasks stand, all healthy.
    pub fn is_steady(&self, tasks: &[Task]) -> bool {
        let counts = self.counts(tasks);
        counts.ready == self.desired && counts.standing == self.desired
    }

    /// Starts what is missing and stops what is too much. Answers whether it did anything.
    pub fn reconcile(&mut self, facts: &Facts, log: &mut Log, world: &mut World) -> bool {
        let live = self.counts(&world.tasks).live;
        if live > self.desired {
            return self.stop_some(live - self.desired, facts, log, world);
        }
        live < self.desired && self.start_some(self.desired - live, facts, log, world)
    }

    /// Starts so many tasks at once, unless the scheduler is waiting after failures.
    pub fn start_some(&mut self, number: usize, facts: &Facts, log: &mut Log, world: &mut World) -> bool {
        if self.halted || number == 0 {
            return false;
        }
        if let Some(until) = self.not_before.filter(|until| *until > world.now) {
            world.wake_at(until);
            return false;
        }
        if let Some(why) = world.behaviour_of(&self.definition).refuses_placement() {
            log.say(facts, world.now, &format!("was unable to place a task {why}."));
            self.failed(world.now);
            return true;
        }
        let started: Vec<String> = (0..number)
            .map(|_| world.place(self, facts))
            .map(|id| format!("(task {id})"))
            .collect();
        log.say(
            facts,
            world.now,
            &format!("has started {number} tasks: {}.", started.join(" ")),
        );
        true
    }

    /// Stops so many wanted tasks: those first that serve least, then the youngest.
    pub fn stop_some(&self, number: usize, facts: &Facts, log: &mut Log, world: &mut World) -> bool {
        let now = world.now;
        let mut own: Vec<&mut Task> = world
            .tasks
            .iter_mut()
            .filter(|task| task.pool == self.id && task.wanted)
            .collect();
        own.sort_by_key(|task| {
            (
                task.ready,
                task.phase == Phase::Running,
                std::cmp::Reverse(task.created),
            )
        });
        let (mut stopped, mut draining) = (Vec::new(), 0);
        for task in own.into_iter().take(number) {
            draining += usize::from(task.phase == Phase::Running && !task.bindings.is_empty());
            task.stop(Stop::scaled(&self.id), now);
            stopped.push(format!("(task {})", task.id));
        }
        if stopped.is_empty() {
            return false;
        }
        if draining > 0 {
            log.say(
                facts,
                now,
                &format!("has begun draining connections on {draining} tasks."),
            );
            for binding in &self.bindings {
                log.say(
                    facts,
                    now,
                    &format!("deregistered {draining} targets in (target-group {})", binding.group),
                );
            }
        }
        let sentence = format!("has stopped {} running tasks: {}.", stopped.len(), stopped.join(" "));
        log.say(facts, now, &sentence);
        true
    }

    /// Hears what one of its tasks did.
    pub fn hear(&mut self, id: &str, change: &Change, facts: &Facts, log: &mut Log, now: Timestamp) {
        match change {
            Change::Runs => {
                for binding in &self.bindings {
                    log.say(
                        facts,
                        now,
                        &format!("registered 1 targets in (target-group {})", binding.group),
                    );
                }
            }
            Change::Ready => {
                if self.forgiving {
                    self.failures = 0;
                }
            }
            Change::Unhealthy => {
                let sentence = match self.bindings.first() {
                    Some(Binding { group, port, .. }) => format!(
                        "(port {port}) is unhealthy in (target-group {group}) due to (reason Health checks failed with these codes: [503])"
                    ),
                    None => format!("(task {id}) failed container health checks."),
                };
                log.say(facts, now, &sentence);
            }
            // A task that had been healthy before it fell is replaced, and does not count as one that failed to start.
            Change::Fails { was_ready: true } => self.not_before = Some(seconds_after(now, 1)),
            Change::Fails { was_ready: false } => {
                self.failed(now);
                if self.failures == PATIENCE {
                    let sentence = "is unable to consistently start tasks successfully. For more information, see the \
                                    Troubleshooting section of the Amazon ECS Developer Guide.";
                    log.say(facts, now, sentence);
                }
            }
            Change::Proven | Change::Stopped => {}
        }
    }

    fn failed(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        let doublings = self.failures.saturating_sub(PATIENCE).min(10);
        self.not_before = Some(seconds_after(now, (1_i64 << doublings).min(WAIT_MAX)));
    }
}
