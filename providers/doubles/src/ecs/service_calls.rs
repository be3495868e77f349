//! What callers ask of services: create, update, describe, delete, list.

use serde_json::{Map, Value, json};

use crate::aws::members::Members;
use crate::aws::paging::page;
use crate::aws::refusal::Refusal;
use crate::ecs::configuration::{Configuration, Strategy};
use crate::ecs::load_balancer::LoadBalancer;
use crate::ecs::pool::{Facts, Log};
use crate::ecs::service::{Controller, Life, Service};
use crate::ecs::state::State;

/// Members of a service that nothing here depends on: they are kept and shown.
const KEPT: [&str; 9] = [
    "availabilityZoneRebalancing",
    "capacityProviderStrategy",
    "platformVersion",
    "placementConstraints",
    "placementStrategy",
    "networkConfiguration",
    "propagateTags",
    "enableECSManagedTags",
    "enableExecuteCommand",
];
/// Changes of these begin a deployment.
const DEPLOYED: [&str; 4] = [
    "capacityProviderStrategy",
    "platformVersion",
    "networkConfiguration",
    "enableExecuteCommand",
];
/// Tasks of one service, by AWS's quota.
const DESIRED_MAX: i64 = 5_000;

impl State {
    pub(super) fn create_service(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let request = format!("{asked:?}");
        let cluster = self.cluster(asked.text("cluster")?.as_deref())?;
        let name = asked.needs("serviceName")?;
        let token = asked.text("clientToken")?;
        if let Some(arn) = self.made_under("service", token.as_deref(), &request)? {
            let place = self.services.iter().position(|service| service.facts.arn == arn);
            return place.map_or_else(
                || Err(service_not_found()),
                |place| Ok(json!({"service": self.shown_service(place, true)})),
            );
        }
        if name.len() > 255
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        {
            return Err(Refusal::parameter("The specified service name is invalid."));
        }
        let controller = read_controller(&mut asked)?.unwrap_or(Controller::Ecs);
        let definition = asked.text("taskDefinition")?;
        let load_balancers = asked.list("loadBalancers")?;
        let desired = asked.within("desiredCount", 0, DESIRED_MAX)?;
        asked.one_of("schedulingStrategy", &["REPLICA"])?;
        let launch = asked.one_of("launchType", &["EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"])?;
        let grace = asked.within("healthCheckGracePeriodSeconds", 0, i64::from(i32::MAX))?;
        let configuration = asked.nested("deploymentConfiguration")?;
        let kept: Map<String, Value> = KEPT
            .iter()
            .filter_map(|name| asked.raw(name).map(|value| ((*name).to_owned(), value)))
            .collect();
        let tags = self.tags_given(&mut asked)?;
        asked.done()?;

        if controller == Controller::External && (definition.is_some() || load_balancers.is_some() || launch.is_some())
        {
            let message = "A task definition, load balancers and a launch type cannot be specified for a service with an \
                           EXTERNAL deployment controller.";
            return Err(Refusal::parameter(message));
        }
        let definition = match (controller, definition) {
            (Controller::External, _) => None,
            (_, None) => return Err(Refusal::parameter("TaskDefinition can not be blank.")),
            (_, Some(name)) => Some(self.runnable_definition(&name)?),
        };
        if let Some(definition) = &definition {
            definition.check_network(kept.get("networkConfiguration"))?;
        }
        let desired =
            desired.ok_or_else(|| Refusal::parameter("The desired count must be specified for REPLICA services."))?;
        let arn = self.world.arn(&format!("service/{}/{name}", cluster.name));
        if self
            .services
            .iter()
            .any(|service| service.facts.arn == arn && service.life == Life::Active)
        {
            return Err(Refusal::parameter("Creation of service was not idempotent."));
        }
        if self
            .services
            .iter()
            .any(|service| service.facts.arn == arn && service.life == Life::Draining)
        {
            return Err(Refusal::parameter("Unable to Start a service that is still Draining."));
        }
        let load_balancers = match &definition {
            Some(definition) => self.read_load_balancers(load_balancers.unwrap_or_default(), definition)?,
            None => Vec::new(),
        };
        let configuration = configuration.map_or_else(
            || Ok(Configuration::default()),
            |given| Configuration::default().with(given),
        )?;
        check_strategy(&configuration, controller, &load_balancers)?;

        self.services.retain(|service| service.facts.arn != arn);
        let facts = Facts {
            arn: arn.clone(),
            name,
            cluster: cluster.arn,
            cluster_name: cluster.name,
            launch_type: launch.unwrap_or_else(|| "EC2".to_owned()),
            grace: grace.unwrap_or(0),
        };
        let mut service = Service {
            facts,
            life: Life::Active,
            controller,
            desired: usize::try_from(desired).unwrap_or(0),
            definition: None,
            load_balancers,
            configuration,
            kept,
            created: self.world.now,
            log: Log::default(),
            deployments: Vec::new(),
            task_sets: Vec::new(),
            rollouts: Vec::new(),
            revisions: Vec::new(),
            live: None,
            was_steady: false,
        };
        if let Some(definition) = definition {
            service.begin_rollout(definition.arn, &mut self.world);
        }
        self.services.push(service);
        self.tags.insert(arn.clone(), tags);
        self.remember_token("service", token, request, &arn);
        Ok(json!({"service": self.shown_service(self.services.len() - 1, true)}))
    }

    pub(super) fn update_service(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let place = self.service_asked(&mut asked)?;
        let service = &self.services[place];
        if !service.is_active() {
            return Err(Refusal::new(
                "ServiceNotActiveException",
                400,
                "Service was not ACTIVE.",
            ));
        }
        let controller = service.controller;
        let desired = asked.within("desiredCount", 0, DESIRED_MAX)?;
        let definition = asked.text("taskDefinition")?;
        let load_balancers = asked.list("loadBalancers")?;
        let force = asked.truth("forceNewDeployment")?.unwrap_or(false);
        let grace = asked.within("healthCheckGracePeriodSeconds", 0, i64::from(i32::MAX))?;
        let configuration = asked.nested("deploymentConfiguration")?;
        let new_controller = read_controller(&mut asked)?;
        let kept: Map<String, Value> = KEPT
            .iter()
            .filter_map(|name| asked.raw(name).map(|value| ((*name).to_owned(), value)))
            .collect();
        asked.done()?;

        if new_controller.is_some_and(|new| new != controller) {
            return Err(Refusal::new(
                "UnsupportedFeatureException",
                400,
                "this stand-in does not change deployment controllers",
            ));
        }
        if controller != Controller::Ecs {
            let word = controller.word();
            let fixed = if definition.is_some() {
                Some("task definition")
            } else if load_balancers.is_some() {
                Some("load balancers")
            } else if force {
                Some("deployment by force")
            } else {
                DEPLOYED.iter().find(|name| kept.contains_key(**name)).copied()
            };
            if let Some(what) = fixed {
                let hint = if controller == Controller::CodeDeploy {
                    " Use AWS CodeDeploy to trigger a new deployment."
                } else {
                    ""
                };
                let message = format!("Unable to update {what} on services with a {word} deployment controller.{hint}");
                return Err(Refusal::parameter(message));
            }
        }
        let definition = match definition {
            Some(name) => Some(self.runnable_definition(&name)?),
            None => None,
        };
        let current = self.services[place]
            .definition
            .as_ref()
            .and_then(|arn| self.world.definition(arn))
            .cloned();
        let running = definition.clone().or(current);
        let load_balancers = match (load_balancers, &running) {
            (Some(list), Some(running)) => self.read_load_balancers(list, running)?,
            _ => self.services[place].load_balancers.clone(),
        };
        let service = &mut self.services[place];
        if let Some(running) = running.as_ref().filter(|_| controller == Controller::Ecs) {
            let before = service.kept.get("networkConfiguration");
            running.check_network(kept.get("networkConfiguration").or(before))?;
        }
        let configuration = match configuration {
            Some(given) => service.configuration.with(given)?,
            None => service.configuration.clone(),
        };
        check_strategy(&configuration, controller, &load_balancers)?;

        let changed = definition
            .as_ref()
            .is_some_and(|new| Some(&new.arn) != service.definition.as_ref())
            || load_balancers != service.load_balancers
            || DEPLOYED
                .iter()
                .any(|name| kept.get(*name).is_some_and(|new| service.kept.get(*name) != Some(new)));
        service.desired = desired
            .and_then(|desired| usize::try_from(desired).ok())
            .unwrap_or(service.desired);
        service.facts.grace = grace.unwrap_or(service.facts.grace);
        service.load_balancers = load_balancers;
        service.configuration = configuration;
        service.kept.extend(kept);
        if let Some(running) = running.filter(|_| controller == Controller::Ecs && (changed || force)) {
            service.begin_rollout(running.arn, &mut self.world);
        }
        Ok(json!({"service": self.shown_service(place, true)}))
    }

    pub(super) fn describe_services(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let cluster = self.cluster(asked.text("cluster")?.as_deref())?;
        let names = asked.texts("services")?.unwrap_or_default();
        let include = asked.texts("include")?.unwrap_or_default();
        asked.done()?;
        if names.is_empty() {
            return Err(Refusal::parameter("Services cannot be empty."));
        }
        if names.len() > 10 {
            return Err(Refusal::parameter("Services cannot have more than 10 elements."));
        }
        let (mut services, mut failures) = (Vec::new(), Vec::new());
        for name in names {
            match self
                .services
                .iter()
                .position(|service| is_named(service, &cluster.arn, &name))
            {
                Some(place) => services.push(self.shown_service(place, include.iter().any(|word| word == "TAGS"))),
                None => {
                    let path = format!("service/{}/{name}", cluster.name);
                    let arn = if name.starts_with("arn:") {
                        name
                    } else {
                        self.world.arn(&path)
                    };
                    failures.push(json!({"arn": arn, "reason": "MISSING"}));
                }
            }
        }
        Ok(json!({"services": services, "failures": failures}))
    }

    pub(super) fn delete_service(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let place = self.service_asked(&mut asked)?;
        let force = asked.truth("force")?.unwrap_or(false);
        asked.done()?;
        let service = &mut self.services[place];
        if service.life != Life::Active {
            return Err(service_not_found());
        }
        if service.desired > 0 && !force {
            return Err(Refusal::parameter(
                "The service cannot be stopped while it is scaled above 0.",
            ));
        }
        if service.controller == Controller::External && !service.task_sets.is_empty() && !force {
            return Err(Refusal::parameter(
                "The service cannot be stopped while it has task sets.",
            ));
        }
        service.life = Life::Draining;
        service.desired = 0;
        let now = self.world.now;
        if let Some(under_way) = service.current_rollout() {
            let rollout = &mut service.rollouts[under_way];
            rollout.turn(
                crate::ecs::rollout::Status::Stopped,
                "Service deployment stopped: the service was deleted.",
                now,
            );
        }
        Ok(json!({"service": self.shown_service(place, true)}))
    }

    pub(super) fn list_services(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let cluster = self.cluster(asked.text("cluster")?.as_deref())?;
        let token = asked.text("nextToken")?;
        let launch = asked.text("launchType")?;
        asked.one_of("schedulingStrategy", &["REPLICA", "DAEMON"])?;
        let size = self.page_size(&mut asked, 10, 100)?;
        asked.done()?;
        let arns: Vec<String> = self
            .services
            .iter()
            .filter(|service| service.is_active() && service.facts.cluster == cluster.arn)
            .filter(|service| {
                launch
                    .as_ref()
                    .is_none_or(|launch| service.facts.launch_type == *launch)
            })
            .map(|service| service.facts.arn.clone())
            .collect();
        let page = page(&arns, String::clone, token.as_deref(), size)?;
        let mut answer = json!({"serviceArns": page.items});
        if let Some(next) = page.next {
            answer["nextToken"] = json!(next);
        }
        Ok(answer)
    }

    /// The service that a request means by `cluster` and `service`.
    pub(super) fn service_asked(&self, asked: &mut Members) -> Result<usize, Refusal> {
        let cluster = self.cluster(asked.text("cluster")?.as_deref())?;
        let name = asked.needs("service")?;
        self.services
            .iter()
            .position(|service| is_named(service, &cluster.arn, &name))
            .ok_or_else(service_not_found)
    }

    fn shown_service(&self, place: usize, with_tags: bool) -> Value {
        let service = &self.services[place];
        let mut shown = service.shown(&self.world);
        if with_tags {
            shown["tags"] = self.tags_shown(&service.facts.arn);
        }
        for set in shown
            .get_mut("taskSets")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let arn = set["taskSetArn"].as_str().unwrap_or_default().to_owned();
            set["tags"] = self.tags_shown(&arn);
        }
        shown
    }
}

pub(super) fn service_not_found() -> Refusal {
    Refusal::new("ServiceNotFoundException", 400, "Service not found.")
}

fn is_named(service: &Service, cluster: &str, name: &str) -> bool {
    service.facts.cluster == cluster && (service.facts.name == name || service.facts.arn == name)
}

fn read_controller(asked: &mut Members) -> Result<Option<Controller>, Refusal> {
    let Some(mut given) = asked.nested("deploymentController")? else {
        return Ok(None);
    };
    let word = given.one_of("type", &["ECS", "CODE_DEPLOY", "EXTERNAL"])?;
    given.done()?;
    match word.as_deref() {
        Some("EXTERNAL") => Ok(Some(Controller::External)),
        Some("CODE_DEPLOY") => Ok(Some(Controller::CodeDeploy)),
        Some(_) => Ok(Some(Controller::Ecs)),
        None => Err(Refusal::parameter("Deployment controller type can not be blank.")),
    }
}

/// Whether the strategy has what it moves traffic with.
fn check_strategy(
    configuration: &Configuration,
    controller: Controller,
    load_balancers: &[LoadBalancer],
) -> Result<(), Refusal> {
    if configuration.strategy == Strategy::Rolling {
        return Ok(());
    }
    let word = configuration.strategy.word();
    if controller != Controller::Ecs {
        let message = format!("The {word} deployment strategy requires the ECS deployment controller.");
        return Err(Refusal::parameter(message));
    }
    if load_balancers.iter().any(|known| known.advanced.is_none()) {
        let message =
            format!("advancedConfiguration must be specified for load balancers with the {word} deployment strategy.");
        return Err(Refusal::parameter(message));
    }
    if load_balancers.is_empty() && configuration.strategy != Strategy::BlueGreen {
        let message = format!("A load balancer must be specified for the {word} deployment strategy.");
        return Err(Refusal::parameter(message));
    }
    Ok(())
}
