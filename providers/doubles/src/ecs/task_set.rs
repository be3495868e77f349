//! Task sets: the parts of a service whose deployments somebody else drives.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::aws::members::Members;
use crate::aws::refusal::Refusal;
use crate::ecs::clock::shown;
use crate::ecs::load_balancer::LoadBalancer;
use crate::ecs::pool::{Facts, Pool};
use crate::ecs::service::{Controller, Service};
use crate::ecs::state::State;
use crate::ecs::world::World;

/// Members that are kept and given back as they came.
const KEPT: [&str; 4] = [
    "networkConfiguration",
    "serviceRegistries",
    "capacityProviderStrategy",
    "platformVersion",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetStatus {
    Primary,
    Active,
    /// Deleted; its tasks still stop.
    Draining,
}

#[derive(Clone, Debug)]
pub struct TaskSet {
    pub arn: String,
    pub pool: Pool,
    pub status: SetStatus,
    external: Option<String>,
    /// Percent of the service's desired count.
    scale: f64,
    load_balancers: Vec<LoadBalancer>,
    launch_type: String,
    kept: Map<String, Value>,
    created: Timestamp,
    updated: Timestamp,
    steady: bool,
    steady_since: Timestamp,
}

impl TaskSet {
    pub fn shown(&self, facts: &Facts, world: &World) -> Value {
        let counts = self.pool.counts(&world.tasks);
        let mut set = self.kept.clone();
        let status = match self.status {
            SetStatus::Primary => "PRIMARY",
            SetStatus::Active => "ACTIVE",
            SetStatus::Draining => "DRAINING",
        };
        let members = [
            ("id", json!(self.pool.id)),
            ("taskSetArn", json!(self.arn)),
            ("serviceArn", json!(facts.arn)),
            ("clusterArn", json!(facts.cluster)),
            ("status", json!(status)),
            ("taskDefinition", json!(self.pool.definition)),
            ("computedDesiredCount", json!(self.pool.desired)),
            ("pendingCount", json!(counts.pending)),
            ("runningCount", json!(counts.running)),
            ("createdAt", shown(self.created)),
            ("updatedAt", shown(self.updated)),
            ("launchType", json!(self.launch_type)),
            (
                "loadBalancers",
                self.load_balancers.iter().map(LoadBalancer::shown).collect(),
            ),
            ("scale", json!({"value": self.scale, "unit": "PERCENT"})),
            (
                "stabilityStatus",
                json!(if self.pool.is_steady(&world.tasks) {
                    "STEADY_STATE"
                } else {
                    "STABILIZING"
                }),
            ),
            ("stabilityStatusAt", shown(self.steady_since)),
        ];
        for (name, value) in members {
            set.insert(name.to_owned(), value);
        }
        set.entry("serviceRegistries").or_insert_with(|| json!([]));
        if let Some(external) = &self.external {
            set.insert("externalId".to_owned(), json!(external));
        }
        Value::Object(set)
    }
}

/// The service's desired count times the scale, rounded up as documented.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]
fn computed_desired(desired: usize, scale: f64) -> usize {
    // Hundredths of a percent are exact in integers; a product like 10 × 70 % must not become 7.000000001.
    let scale = (scale * 10_000.0).round() as u64;
    usize::try_from((desired as u64 * scale).div_ceil(1_000_000)).unwrap_or(usize::MAX)
}

impl Service {
    pub fn step_task_sets(&mut self, world: &mut World) -> bool {
        let mut changed = false;
        for set in &mut self.task_sets {
            set.pool.desired = if set.status == SetStatus::Draining {
                0
            } else {
                computed_desired(self.desired, set.scale)
            };
            changed |= set.pool.reconcile(&self.facts, &mut self.log, world);
            let steady = set.pool.is_steady(&world.tasks);
            if steady != set.steady {
                set.steady = steady;
                set.steady_since = world.now;
                if steady {
                    let sentence = format!("(taskSet {}) has reached a steady state.", set.pool.id);
                    self.log.say(&self.facts, world.now, &sentence);
                }
                changed = true;
            }
        }
        let before = self.task_sets.len();
        self.task_sets
            .retain(|set| set.status != SetStatus::Draining || set.pool.counts(&world.tasks).standing > 0);
        changed | (before != self.task_sets.len())
    }
}

impl State {
    pub(super) fn create_task_set(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let request = format!("{asked:?}");
        let place = self.external_service(&mut asked)?;
        let definition = asked.needs("taskDefinition")?;
        let external = asked.text("externalId")?;
        let scale = read_scale(&mut asked)?;
        let load_balancers = asked.list("loadBalancers")?.unwrap_or_default();
        let launch = asked.one_of("launchType", &["EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"])?;
        let token = asked.text("clientToken")?;
        let kept: Map<String, Value> = KEPT
            .iter()
            .filter_map(|name| asked.raw(name).map(|value| ((*name).to_owned(), value)))
            .collect();
        let tags = self.tags_given(&mut asked)?;
        asked.done()?;
        let scope = format!("task-set {}", self.services[place].facts.arn);
        if let Some(arn) = self.made_under(&scope, token.as_deref(), &request)? {
            return self.shown_set(place, &arn).map(|set| json!({"taskSet": set}));
        }
        let definition = self.runnable_definition(&definition)?;
        definition.check_network(kept.get("networkConfiguration"))?;
        let load_balancers = self.read_load_balancers(load_balancers, &definition)?;
        let scale = scale.unwrap_or(0.0);

        let id = self.world.pool_id();
        let service = &mut self.services[place];
        let arn = self.world.arn(&format!(
            "task-set/{}/{}/{id}",
            service.facts.cluster_name, service.facts.name
        ));
        let bindings = load_balancers.iter().map(|known| known.binding.clone()).collect();
        let mut pool = Pool::new(id, definition.arn, bindings);
        pool.desired = computed_desired(service.desired, scale);
        service.task_sets.push(TaskSet {
            arn: arn.clone(),
            pool,
            status: SetStatus::Active,
            external,
            scale,
            load_balancers,
            launch_type: launch.unwrap_or_else(|| "EC2".to_owned()),
            kept,
            created: self.world.now,
            updated: self.world.now,
            steady: false,
            steady_since: self.world.now,
        });
        self.tags.insert(arn.clone(), tags);
        self.remember_token(&scope, token, request, &arn);
        self.shown_set(place, &arn).map(|set| json!({"taskSet": set}))
    }

    pub(super) fn update_task_set(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let place = self.external_service(&mut asked)?;
        let name = asked.needs("taskSet")?;
        let scale = read_scale(&mut asked)?.ok_or_else(|| Refusal::parameter("Scale can not be blank."))?;
        asked.done()?;
        let now = self.world.now;
        let desired = self.services[place].desired;
        let set = self.set_mut(place, &name)?;
        set.scale = scale;
        set.updated = now;
        set.pool.desired = computed_desired(desired, scale);
        let arn = set.arn.clone();
        self.shown_set(place, &arn).map(|set| json!({"taskSet": set}))
    }

    pub(super) fn update_service_primary_task_set(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let place = self.external_service(&mut asked)?;
        let name = asked.needs("primaryTaskSet")?;
        asked.done()?;
        let now = self.world.now;
        let arn = self.set_mut(place, &name)?.arn.clone();
        let service = &mut self.services[place];
        for set in &mut service.task_sets {
            match set.status {
                _ if set.arn == arn => {
                    set.status = SetStatus::Primary;
                    set.updated = now;
                    // What is said of the primary task set becomes what the service says.
                    service.definition = Some(set.pool.definition.clone());
                    service.load_balancers = set.load_balancers.clone();
                }
                SetStatus::Primary => set.status = SetStatus::Active,
                SetStatus::Active | SetStatus::Draining => {}
            }
        }
        self.shown_set(place, &arn).map(|set| json!({"taskSet": set}))
    }

    pub(super) fn delete_task_set(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let place = self.external_service(&mut asked)?;
        let name = asked.needs("taskSet")?;
        let force = asked.truth("force")?.unwrap_or(false);
        asked.done()?;
        let now = self.world.now;
        let set = self.set_mut(place, &name)?;
        if !force && set.status == SetStatus::Primary {
            return Err(Refusal::parameter(
                "The primary task set cannot be deleted without force.",
            ));
        }
        if !force && set.scale > 0.0 {
            return Err(Refusal::parameter(
                "The task set must be scaled to 0 before it is deleted, or deleted with force.",
            ));
        }
        set.status = SetStatus::Draining;
        set.scale = 0.0;
        set.updated = now;
        set.pool.desired = 0;
        let arn = set.arn.clone();
        self.shown_set(place, &arn).map(|set| json!({"taskSet": set}))
    }

    pub(super) fn describe_task_sets(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let place = self.external_service(&mut asked)?;
        let wanted = asked.texts("taskSets")?.unwrap_or_default();
        let include = asked.texts("include")?.unwrap_or_default();
        asked.done()?;
        let with_tags = include.iter().any(|word| word == "TAGS");
        let service = &self.services[place];
        let (mut sets, mut failures) = (Vec::new(), Vec::new());
        let mut show = |set: &TaskSet| {
            let mut shown = set.shown(&service.facts, &self.world);
            if with_tags {
                shown["tags"] = self.tags_shown(&set.arn);
            }
            sets.push(shown);
        };
        if wanted.is_empty() {
            service.task_sets.iter().for_each(&mut show);
        }
        for name in wanted {
            match service
                .task_sets
                .iter()
                .find(|set| set.pool.id == name || set.arn == name)
            {
                Some(set) => show(set),
                None => failures.push(json!({"arn": name, "reason": "MISSING"})),
            }
        }
        Ok(json!({"taskSets": sets, "failures": failures}))
    }

    /// The service that a task-set request means: it must be active and driven by somebody else.
    fn external_service(&self, asked: &mut Members) -> Result<usize, Refusal> {
        let place = self.service_asked(asked)?;
        let service = &self.services[place];
        if !service.is_active() {
            return Err(Refusal::new(
                "ServiceNotActiveException",
                400,
                "Service was not ACTIVE.",
            ));
        }
        if service.controller != Controller::External {
            let word = service.controller.word();
            let message = format!("Task sets cannot be used with a service whose deployment controller is {word}.");
            return Err(Refusal::parameter(message));
        }
        Ok(place)
    }

    fn set_mut(&mut self, place: usize, name: &str) -> Result<&mut TaskSet, Refusal> {
        self.services[place]
            .task_sets
            .iter_mut()
            .find(|set| (set.pool.id == name || set.arn == name) && set.status != SetStatus::Draining)
            .ok_or_else(task_set_not_found)
    }

    fn shown_set(&self, place: usize, arn: &str) -> Result<Value, Refusal> {
        let service = &self.services[place];
        let set = service
            .task_sets
            .iter()
            .find(|set| set.arn == arn)
            .ok_or_else(task_set_not_found)?;
        let mut shown = set.shown(&service.facts, &self.world);
        shown["tags"] = self.tags_shown(arn);
        Ok(shown)
    }
}

fn task_set_not_found() -> Refusal {
    Refusal::new("TaskSetNotFoundException", 400, "The specified task set was not found.")
}

fn read_scale(asked: &mut Members) -> Result<Option<f64>, Refusal> {
    let Some(mut scale) = asked.nested("scale")? else {
        return Ok(None);
    };
    let value = scale.number("value")?;
    scale.one_of("unit", &["PERCENT"])?;
    scale.done()?;
    match value {
        Some(value) if (0.0..=100.0).contains(&value) => Ok(Some(value)),
        _ => Err(Refusal::parameter("Scale value must be between 0 and 100.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_computed_count_is_always_rounded_up_and_never_by_a_rounding_error() {
        assert_eq!(computed_desired(4, 30.0), 2);
        assert_eq!(computed_desired(10, 70.0), 7);
        assert_eq!(computed_desired(1000, 0.1), 1);
        assert_eq!(computed_desired(3, 0.0), 0);
        assert_eq!(computed_desired(7, 100.0), 7);
    }
}
