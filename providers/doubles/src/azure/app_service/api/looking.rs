//! What a diagnosis looks at: instances, container logs, the status of the last start.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Place, site, sites, slot};
use crate::azure::app_service::World;
use crate::azure::app_service::behaviour::{Behaviour, Health, START_LIMIT};
use crate::azure::app_service::site::{Site, Slot};
use crate::azure::arm::not_found;
use crate::azure::clock::since;
use crate::azure::exchange::Reply;

/// Every instance, with what the platform makes of its state.
pub fn instances(world: &World, place: &Place) -> Answer {
    let (site, slot) = (site(world, place)?, slot(world, place)?);
    let all: Vec<Value> = (0..running(world, site, slot))
        .map(|index| shown(world, site, slot, index))
        .collect();
    Ok(Reply::json(200, &json!({"value": all, "nextLink": null})))
}

pub fn instance(world: &World, place: &Place, id: &str) -> Answer {
    let (site, slot) = (site(world, place)?, slot(world, place)?);
    let index = (0..running(world, site, slot)).find(|index| instance_id(slot, *index) == id);
    match index {
        Some(index) => Ok(Reply::json(200, &shown(world, site, slot, index))),
        None => Err(Box::new(not_found(
            &format!("{}/instances/{id}", place.described()),
            &place.address.group,
        ))),
    }
}

/// Instances that have a worker.
fn running(world: &World, site: &Site, slot: &Slot) -> usize {
    match world.behaviour(site, slot) {
        Behaviour::NoRoom | Behaviour::Quota => 0,
        _ if slot.is_enabled => site.instances,
        _ => 0,
    }
}

fn instance_id(slot: &Slot, index: usize) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(format!("{}/{index}", slot.host_name));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn shown(world: &World, site: &Site, slot: &Slot, index: usize) -> Value {
    let (id, name, kind) = sites::identity(site, slot);
    let instance = instance_id(slot, index);
    let state = match slot.health(world.behaviour(site, slot), world.clock.now()) {
        Health::Answering(_) => "READY",
        Health::Down { .. } => "STOPPED",
        Health::Starting | Health::Silent => "UNKNOWN",
    };
    json!({
        "id": format!("{id}/instances/{instance}"),
        "name": instance,
        "type": format!("{kind}/instances"),
        "location": site.location,
        "properties": {
            "state": state,
            "statusUrl": format!("https://{}/{}/status", slot.host_name, name),
            "healthCheckUrl": slot.config.get("healthCheckPath").and_then(Value::as_str).map(|path| format!("https://{}{path}", slot.host_name)),
        },
    })
}

/// The last lines of the container's log, as text. 204 where the slot runs no container or has not begun.
pub fn container_logs(world: &World, place: &Place) -> Answer {
    let (site, slot) = (site(world, place)?, slot(world, place)?);
    let lines = log(site, slot, world.behaviour(site, slot), world.clock.now());
    if lines.is_empty() {
        return Ok(Reply::empty(204));
    }
    Ok(Reply::of(200, "application/octet-stream", lines.join("\n") + "\n"))
}

/// What the platform has written about the slot's containers since they were last started.
fn log(site: &Site, slot: &Slot, behaviour: Behaviour, now: Timestamp) -> Vec<String> {
    let Some(image) = slot.image() else { return Vec::new() };
    if !slot.is_enabled {
        return Vec::new();
    }
    let began = slot.run.began;
    let container = format!("{}_0_{:08x}", site.address.name, slot.revision);
    let line = |after: u64, level: &str, text: String| {
        let at = began.checked_add(Duration::from_secs(after)).unwrap_or(began);
        format!("{at:.3} {level} - {text}")
    };
    let passed = since(began, now);
    let mut lines = vec![
        line(0, "INFO ", format!("Pulling image: {image}")),
        line(1, "INFO ", format!("Starting container for site {}", site.address.name)),
    ];
    match behaviour.after(passed) {
        Health::Answering(_) => lines.push(line(
            10,
            "INFO ",
            format!("Container {container} for site {} initialized successfully and is ready to serve requests.", site.address.name),
        )),
        Health::Silent if passed < START_LIMIT => lines.push(line(
            15,
            "INFO ",
            format!("Waiting for response to warmup request for container {container}. Elapsed time = {:.1} sec", passed.as_secs_f64()),
        )),
        Health::Silent => lines.push(line(
            START_LIMIT.as_secs(),
            "ERROR",
            format!("Container {container} didn't respond to HTTP pings on port: 8080, failing site start. See container logs for debugging."),
        )),
        Health::Starting => {}
        Health::Down { .. } => lines.extend(failure(behaviour, image, &container, &site.address.name).map(|text| line(10, "ERROR", text))),
    }
    lines
}

/// What the platform writes of content that does not come up.
fn failure(behaviour: Behaviour, image: &str, container: &str, site: &str) -> impl Iterator<Item = String> {
    let exited = |code: i32| {
        vec![
            format!("Container {container} for site {site} has exited, failing site start"),
            format!("Container {container} for site {site} exited with exit code {code}"),
        ]
    };
    let lines = match behaviour {
        Behaviour::ImageMissing => vec![
            format!(
                "DockerApiException: Docker API responded with status code=NotFound, response={{\"message\":\"manifest for {image} not \
                 found: manifest unknown: manifest unknown\"}}"
            ),
            "Image pull failed: Verify docker image configuration and credentials (if using private repository)".into(),
        ],
        Behaviour::PullDenied => vec![
            format!(
                "DockerApiException: Docker API responded with status code=NotFound, response={{\"message\":\"pull access denied for \
                 {image}, repository does not exist or may require 'docker login'\"}}"
            ),
            "Image pull failed: Verify docker image configuration and credentials (if using private repository)".into(),
        ],
        Behaviour::CrashLoop(code) => exited(code),
        Behaviour::OutOfMemory => {
            let mut lines = exited(137);
            lines.push(format!("Container {container} was killed: out of memory (OOMKilled)"));
            lines
        }
        Behaviour::Flapping => exited(1),
        Behaviour::Ready { .. }
        | Behaviour::Status(_)
        | Behaviour::NeverReady
        | Behaviour::NoRoom
        | Behaviour::Quota => Vec::new(),
    };
    lines.into_iter()
}

/// How the instances came up after the last start.
pub fn deployments(world: &World, place: &Place) -> Answer {
    let (site, slot) = (site(world, place)?, slot(world, place)?);
    let behaviour = world.behaviour(site, slot);
    let now = world.clock.now();
    let count = running(world, site, slot);
    let (status, counts) = match behaviour.after(since(slot.run.began, now)) {
        Health::Answering(_) => ("RuntimeSuccessful", (0, count, 0)),
        Health::Starting | Health::Silent => ("RuntimeStarting", (count, 0, 0)),
        Health::Down { .. } => ("RuntimeFailed", (0, 0, count)),
    };
    let (id, _, kind) = sites::identity(site, slot);
    let name = format!("{:08x}", slot.revision);
    let errors: Vec<Value> = match status {
        "RuntimeFailed" => {
            let lines = failure(behaviour, slot.image().unwrap_or_default(), &name, &site.address.name);
            lines
                .map(|message| json!({"extendedCode": "04080", "message": message}))
                .collect()
        }
        _ => Vec::new(),
    };
    let one = json!({
        "id": format!("{id}/deploymentStatus/{name}"),
        "name": name,
        "type": format!("{kind}/deploymentStatus"),
        "properties": {
            "deploymentId": name,
            "status": status,
            "numberOfInstancesInProgress": counts.0,
            "numberOfInstancesSuccessful": counts.1,
            "numberOfInstancesFailed": counts.2,
            "failedInstancesLogs": [],
            "errors": errors,
        },
    });
    Ok(Reply::json(200, &json!({"value": [one], "nextLink": null})))
}
