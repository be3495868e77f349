//! Task definitions: families of numbered revisions, immutable but for their end.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::aws::members::Members;
use crate::aws::paging::page;
use crate::aws::refusal::Refusal;
use crate::ecs::clock::shown;
use crate::ecs::state::State;
use crate::ecs::task::Container;

#[derive(Clone, Debug)]
pub struct Definition {
    pub arn: String,
    pub family: String,
    pub revision: usize,
    pub active: bool,
    /// What was registered, with the defaults that ECS fills in.
    body: Map<String, Value>,
    registered: Timestamp,
    deregistered: Option<Timestamp>,
}

/// Members of `RegisterTaskDefinition` that are kept and given back as they came.
const KEPT: [&str; 15] = [
    "taskRoleArn",
    "executionRoleArn",
    "networkMode",
    "volumes",
    "placementConstraints",
    "requiresCompatibilities",
    "cpu",
    "memory",
    "pidMode",
    "ipcMode",
    "proxyConfiguration",
    "ephemeralStorage",
    "runtimePlatform",
    "enableFaultInjection",
    "inferenceAccelerators",
];

impl Definition {
    /// `family:revision`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.family, self.revision)
    }

    pub fn containers(&self) -> Vec<Container> {
        let read = |container: &Value| Container {
            name: container["name"].as_str().unwrap_or_default().to_owned(),
            image: container["image"].as_str().unwrap_or_default().to_owned(),
            essential: container["essential"].as_bool().unwrap_or(true),
        };
        self.body
            .get("containerDefinitions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(read)
            .collect()
    }

    /// Checks that what runs it names subnets where its tasks get network interfaces of their own, and only there.
    pub fn check_network(&self, network: Option<&Value>) -> Result<(), Refusal> {
        let awsvpc = self.body.get("networkMode").is_some_and(|mode| mode == "awsvpc");
        let subnets = network
            .and_then(|network| network["awsvpcConfiguration"]["subnets"].as_array())
            .map_or(0, Vec::len);
        match (awsvpc, network.is_some()) {
            (true, _) if subnets == 0 => {
                let message = "Network Configuration must be provided when networkMode 'awsvpc' is specified.";
                Err(Refusal::parameter(message))
            }
            (false, true) => {
                let message = "Network Configuration is not valid for the given networkMode of this task definition.";
                Err(Refusal::parameter(message))
            }
            _ => Ok(()),
        }
    }

    /// Whether some container listens on this port.
    pub fn listens(&self, container: &str, port: i64) -> bool {
        let containers = self.body.get("containerDefinitions").and_then(Value::as_array);
        containers
            .into_iter()
            .flatten()
            .filter(|known| known["name"] == container)
            .any(|known| {
                let ports = known["portMappings"].as_array();
                ports
                    .into_iter()
                    .flatten()
                    .any(|mapping| mapping["containerPort"] == port)
            })
    }

    /// Whether this is its ARN, its `family:revision` or one of its images.
    pub fn is_named(&self, whose: &str) -> bool {
        self.arn == whose || self.name() == whose || self.containers().iter().any(|container| container.image == whose)
    }

    fn shown(&self) -> Value {
        let mut body = self.body.clone();
        body.insert("taskDefinitionArn".to_owned(), json!(self.arn));
        body.insert("family".to_owned(), json!(self.family));
        body.insert("revision".to_owned(), json!(self.revision));
        body.insert(
            "status".to_owned(),
            json!(if self.active { "ACTIVE" } else { "INACTIVE" }),
        );
        body.insert("registeredAt".to_owned(), shown(self.registered));
        if let Some(at) = self.deregistered {
            body.insert("deregisteredAt".to_owned(), shown(at));
        }
        Value::Object(body)
    }
}

impl State {
    pub(super) fn register_task_definition(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let family = asked.needs("family")?;
        let containers = asked.raw("containerDefinitions").unwrap_or(Value::Null);
        let mut body: Map<String, Value> = KEPT
            .iter()
            .filter_map(|name| asked.raw(name).map(|value| ((*name).to_owned(), value)))
            .collect();
        let tags = self.tags_given(&mut asked)?;
        asked.done()?;

        let fits = family
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !fits || family.len() > 255 {
            return Err(Refusal::client(
                "Family contains invalid characters or is longer than 255.",
            ));
        }
        body.insert("containerDefinitions".to_owned(), filled_in(containers, &body)?);
        for list in ["volumes", "placementConstraints"] {
            body.entry(list).or_insert_with(|| json!([]));
        }
        body.insert("compatibilities".to_owned(), compatibilities(&body)?);
        body.insert("requiresAttributes".to_owned(), json!([]));
        body.insert("registeredBy".to_owned(), json!("arn:aws:iam::123456789012:root"));

        let revision = 1 + self
            .world
            .definitions
            .iter()
            .filter(|known| known.family == family)
            .count();
        let arn = self.world.arn(&format!("task-definition/{family}:{revision}"));
        let definition = Definition {
            arn: arn.clone(),
            family,
            revision,
            active: true,
            body,
            registered: self.world.now,
            deregistered: None,
        };
        let shown = definition.shown();
        self.world.definitions.push(definition);
        self.tags.insert(arn.clone(), tags);
        Ok(json!({"taskDefinition": shown, "tags": self.tags_shown(&arn)}))
    }

    pub(super) fn describe_task_definition(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let name = asked.needs("taskDefinition")?;
        let include = asked.texts("include")?.unwrap_or_default();
        asked.done()?;
        let definition = self
            .find_definition(&name)
            .ok_or_else(|| Refusal::client("Unable to describe task definition."))?;
        let mut answer = json!({"taskDefinition": definition.shown()});
        if include.iter().any(|word| word == "TAGS") {
            answer["tags"] = self.tags_shown(&definition.arn);
        }
        Ok(answer)
    }

    pub(super) fn deregister_task_definition(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let name = asked.needs("taskDefinition")?;
        asked.done()?;
        if !name.rsplit('/').next().is_some_and(|last| last.contains(':')) {
            return Err(Refusal::client(
                "The specified task definition must include a revision number.",
            ));
        }
        let found = self.find_definition(&name).map(|definition| definition.arn.clone());
        let arn = found.ok_or_else(|| Refusal::client("The specified task definition does not exist."))?;
        let now = self.world.now;
        let found = self
            .world
            .definitions
            .iter_mut()
            .find(|definition| definition.arn == arn);
        let definition = found.ok_or_else(|| Refusal::client("The specified task definition does not exist."))?;
        if !definition.active {
            return Err(Refusal::client(
                "The specified task definition is inactive and cannot be deregistered.",
            ));
        }
        definition.active = false;
        definition.deregistered = Some(now);
        Ok(json!({"taskDefinition": definition.shown()}))
    }

    pub(super) fn list_task_definitions(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let family = asked.text("familyPrefix")?;
        let status = asked.one_of("status", &["ACTIVE", "INACTIVE", "DELETE_IN_PROGRESS"])?;
        let sort = asked.one_of("sort", &["ASC", "DESC"])?;
        let token = asked.text("nextToken")?;
        let size = self.page_size(&mut asked, 100, 100)?;
        asked.done()?;
        let active = match status.as_deref() {
            None | Some("ACTIVE") => Some(true),
            Some("INACTIVE") => Some(false),
            Some(_) => None,
        };
        let mut all: Vec<&Definition> = self
            .world
            .definitions
            .iter()
            .filter(|known| {
                family.as_ref().is_none_or(|family| known.family == *family) && active == Some(known.active)
            })
            .collect();
        all.sort_by(|left, right| (&left.family, left.revision).cmp(&(&right.family, right.revision)));
        if sort.as_deref() == Some("DESC") {
            all.reverse();
        }
        let arns: Vec<String> = all.into_iter().map(|definition| definition.arn.clone()).collect();
        let page = page(&arns, String::clone, token.as_deref(), size)?;
        let mut answer = json!({"taskDefinitionArns": page.items});
        if let Some(next) = page.next {
            answer["nextToken"] = json!(next);
        }
        Ok(answer)
    }

    /// The task definition that a request means: an ARN, `family:revision`, or a family's latest ACTIVE revision.
    pub(super) fn find_definition(&self, name: &str) -> Option<&Definition> {
        let known = &self.world.definitions;
        let short = name.rsplit(":task-definition/").next().unwrap_or(name);
        known
            .iter()
            .find(|definition| definition.arn == name || definition.name() == short)
            .or_else(|| {
                known
                    .iter()
                    .rev()
                    .find(|definition| definition.family == short && definition.active)
            })
    }

    /// The same, for something that is to run it.
    pub(super) fn runnable_definition(&self, name: &str) -> Result<Definition, Refusal> {
        match self.find_definition(name) {
            None => Err(Refusal::client("TaskDefinition not found.")),
            Some(definition) if !definition.active => Err(Refusal::client("TaskDefinition is inactive")),
            Some(definition) => Ok(definition.clone()),
        }
    }
}

/// Container definitions with ECS's defaults: what `Describe…` shows differs from what was registered.
fn filled_in(containers: Value, body: &Map<String, Value>) -> Result<Value, Refusal> {
    let Value::Array(mut containers) = containers else {
        return Err(Refusal::client("Container list cannot be empty."));
    };
    if containers.is_empty() {
        return Err(Refusal::client("Container list cannot be empty."));
    }
    let awsvpc = body.get("networkMode").is_some_and(|mode| mode == "awsvpc");
    for container in &mut containers {
        let Value::Object(members) = container else {
            return Err(Refusal::client("A container definition must be a structure."));
        };
        let name = members
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        if name.is_empty() {
            return Err(Refusal::client("Container.name should not be null or empty."));
        }
        if members
            .get("image")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .is_empty()
        {
            return Err(Refusal::client("Container.image should not be null or empty."));
        }
        let memory = ["memory", "memoryReservation"]
            .iter()
            .any(|name| members.contains_key(*name));
        if !memory && !body.contains_key("memory") {
            let message = format!(
                "Invalid setting for container '{name}'. At least one of 'memory' or 'memoryReservation' must be specified."
            );
            return Err(Refusal::client(message));
        }
        members.entry("cpu").or_insert_with(|| json!(0));
        members.entry("essential").or_insert_with(|| json!(true));
        for list in [
            "environment",
            "mountPoints",
            "volumesFrom",
            "portMappings",
            "systemControls",
        ] {
            members.entry(list).or_insert_with(|| json!([]));
        }
        for mapping in members
            .get_mut("portMappings")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Value::Object(mapping) = mapping {
                let port = mapping.get("containerPort").cloned().unwrap_or(Value::Null);
                mapping
                    .entry("hostPort")
                    .or_insert(if awsvpc { port } else { json!(0) });
                mapping.entry("protocol").or_insert_with(|| json!("tcp"));
            }
        }
    }
    if !containers.iter().any(|container| container["essential"] == true) {
        return Err(Refusal::client(
            "A task definition must have at least one essential container.",
        ));
    }
    Ok(Value::Array(containers))
}

fn compatibilities(body: &Map<String, Value>) -> Result<Value, Refusal> {
    let required: Vec<&str> = body
        .get("requiresCompatibilities")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let sized = body.contains_key("cpu") && body.contains_key("memory");
    let awsvpc = body.get("networkMode").is_some_and(|mode| mode == "awsvpc");
    if required.contains(&"FARGATE") {
        if !sized {
            return Err(Refusal::client(
                "Task definition does not have required cpu and memory for Fargate.",
            ));
        }
        if !awsvpc {
            return Err(Refusal::client(
                "When networkMode=awsvpc is missing, Fargate is not supported.",
            ));
        }
    }
    Ok(if sized && awsvpc {
        json!(["EC2", "FARGATE"])
    } else {
        json!(["EC2"])
    })
}
