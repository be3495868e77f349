//! What every service of an account shares: time, tasks, task definitions, load balancers, alarms.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::ecs::behaviour::Behaviour;
use crate::ecs::definition::Definition;
use crate::ecs::pool::{Facts, Pool};
use crate::ecs::task::{Change, Placement, Task};
use crate::elb::balancers::Balancers;

/// The account number that every ARN shows.
pub const ACCOUNT: &str = "123456789012";

#[derive(Debug)]
pub struct World {
    pub region: String,
    pub now: Timestamp,
    pub tasks: Vec<Task>,
    pub definitions: Vec<Definition>,
    pub balancers: Balancers,
    /// How long a new service deployment is missing from lists, and how long a service does not name it.
    pub late: [SignedDuration; 2],
    /// CloudWatch alarms in the state ALARM.
    pub alarms: BTreeSet<String>,
    /// By image, task definition (`family:revision` or ARN) or Lambda ARN.
    behaviours: BTreeMap<String, Behaviour>,
    /// The earliest instant at which something waits to go on.
    wake: Option<Timestamp>,
    serial: u64,
}

impl World {
    pub fn new(region: &str, now: Timestamp) -> World {
        World {
            region: region.to_owned(),
            now,
            tasks: Vec::new(),
            definitions: Vec::new(),
            balancers: Balancers::new(region),
            late: [SignedDuration::ZERO; 2],
            alarms: BTreeSet::new(),
            behaviours: BTreeMap::new(),
            wake: None,
            serial: 0,
        }
    }

    /// Something goes on at this instant, should nothing else happen before.
    pub fn wake_at(&mut self, at: Timestamp) {
        if at > self.now {
            self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
        }
    }

    /// The next instant at which anything happens, and forgets what was asked to be woken.
    pub fn next_instant(&mut self) -> Option<Timestamp> {
        let tasks = self.tasks.iter().filter_map(|task| task.next).min();
        [self.wake.take(), tasks].into_iter().flatten().min()
    }

    /// Lets every task do what is due; tells what happened to which service's which pool.
    pub fn step_tasks(&mut self) -> Vec<(String, String, String, Change)> {
        let (now, mut heard) = (self.now, Vec::new());
        let balancers = &self.balancers;
        for task in &mut self.tasks {
            let attached = task
                .bindings
                .iter()
                .all(|binding| balancers.is_attached(&binding.group));
            for change in task.step(now, attached) {
                heard.push((task.service.clone(), task.pool.clone(), task.id.clone(), change));
            }
        }
        self.tasks.retain(|task| !task.is_forgotten(now));
        heard
    }

    /// A number that was never given out before; its digits look like AWS's.
    pub fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1 | 1 << 62
    }

    /// A new `ecs-svc/…` identifier of a deployment or task set.
    pub fn pool_id(&mut self) -> String {
        format!("ecs-svc/{}", self.serial())
    }

    pub fn arn(&self, path: &str) -> String {
        format!("arn:aws:ecs:{}:{ACCOUNT}:{path}", self.region)
    }

    pub fn zone(&self) -> String {
        format!("{}a", self.region)
    }

    /// Places one task of this pool and answers its ID.
    pub fn place(&mut self, pool: &Pool, facts: &Facts) -> String {
        let id = format!("{:016x}{:016x}", self.serial(), self.serial());
        let number = self.serial & 0xffff;
        let containers = self
            .definition(&pool.definition)
            .map(Definition::containers)
            .unwrap_or_default();
        let drains = pool
            .bindings
            .iter()
            .filter_map(|binding| self.balancers.group(&binding.group).ok());
        let drain = drains.map(|group| i64::from(group.drain_seconds())).max().unwrap_or(0);
        let placement = Placement {
            arn: self.arn(&format!("task/{}/{id}", facts.cluster_name)),
            id: id.clone(),
            cluster: facts.cluster.clone(),
            service: facts.arn.clone(),
            service_name: facts.name.clone(),
            pool: pool.id.clone(),
            definition: pool.definition.clone(),
            containers,
            launch_type: facts.launch_type.clone(),
            ip: format!("10.0.{}.{}", number >> 8, number & 0xff),
            bindings: pool.bindings.clone(),
            behaviour: self.behaviour_of(&pool.definition),
            grace: facts.grace,
            drain,
        };
        self.tasks.push(Task::place(placement, self.now));
        id
    }

    pub fn definition(&self, arn: &str) -> Option<&Definition> {
        self.definitions.iter().find(|definition| definition.arn == arn)
    }

    /// From now on this image, task definition or Lambda function behaves so, in tasks that run, too.
    pub fn behave(&mut self, whose: &str, behaviour: Behaviour) {
        self.behaviours.insert(whose.to_owned(), behaviour);
        let now = self.now;
        let arns: Vec<String> = self
            .definitions
            .iter()
            .filter(|definition| definition.is_named(whose))
            .map(|definition| definition.arn.clone())
            .collect();
        for task in self.tasks.iter_mut().filter(|task| arns.contains(&task.definition)) {
            task.turn(behaviour, now);
        }
    }

    /// How tasks of this definition behave: what was said last of the definition wins over its images.
    pub fn behaviour_of(&self, arn: &str) -> Behaviour {
        let Some(definition) = self.definition(arn) else {
            return Behaviour::Healthy;
        };
        let exact = self
            .behaviours
            .get(arn)
            .or_else(|| self.behaviours.get(&definition.name()));
        let images = definition.containers();
        let image = images
            .iter()
            .find_map(|container| self.behaviours.get(&container.image));
        exact.or(image).copied().unwrap_or(Behaviour::Healthy)
    }

    /// Whether a Lambda hook succeeds.
    pub fn lambda_succeeds(&self, arn: &str) -> bool {
        !matches!(self.behaviours.get(arn), Some(Behaviour::Exits(_)))
    }
}
