//! Sites and slots as resources.

use serde_json::{Map, Value, json};

use super::{Answer, Place, bad_parameter, config, properties, site, slot, slot_mut, tags_within, texts};
use crate::azure::app_service::World;
use crate::azure::app_service::behaviour::Behaviour;
use crate::azure::app_service::routing::Population;
use crate::azure::app_service::site::{PRODUCTION, Plan, Site, Slot, Sticky};
use crate::azure::arm::{self, faulted, not_found, refused};
use crate::azure::exchange::{Asked, Reply};

/// A site or slot as the resource manager shows it. `siteConfig` is written here and read at `config/web`.
fn shown(world: &World, site: &Site, slot: &Slot) -> Value {
    let behaviour = world.behaviour(site, slot);
    let state = match (slot.is_enabled, behaviour) {
        (true, Behaviour::Quota) => "QuotaExceeded",
        (true, _) => "Running",
        (false, _) => "Stopped",
    };
    let (id, name, kind) = identity(site, slot);
    let operation = site.swap.as_ref().and_then(|swap| swap.operation);
    json!({
        "id": id,
        "name": name,
        "type": kind,
        "kind": site.kind,
        "location": site.location,
        "tags": slot.tags,
        "properties": {
            "state": state,
            "hostNames": [slot.host_name],
            "enabledHostNames": [slot.host_name, scm(&slot.host_name)],
            "repositorySiteName": site.address.name,
            "usageState": if behaviour == Behaviour::Quota { "Exceeded" } else { "Normal" },
            "availabilityState": "Normal",
            "enabled": slot.is_enabled,
            "serverFarmId": plan_id(site),
            "reserved": site.is_linux(),
            "lastModifiedTimeUtc": slot.modified,
            "targetSwapSlot": slot.prepared,
            "clientAffinityEnabled": false,
            "resourceGroup": site.address.group,
            "defaultHostName": slot.host_name,
            "slotSwapStatus": slot.swapped.as_ref().map(|swapped| json!({
                "timestampUtc": swapped.at,
                "sourceSlotName": swapped.source,
                "destinationSlotName": swapped.destination,
            })),
            "inProgressOperationId": operation,
            "httpsOnly": true,
            "sku": site.plan.tier,
        },
    })
}

/// The ID, the name and the type of a site or slot.
pub fn identity(site: &Site, slot: &Slot) -> (String, String, &'static str) {
    let id = site.address.id();
    if slot.is_production() {
        (id, site.address.name.clone(), "Microsoft.Web/sites")
    } else {
        let name = format!("{}/{}", site.address.name, slot.name);
        (format!("{id}/slots/{}", slot.name), name, "Microsoft.Web/sites/slots")
    }
}

/// The answer that shows a site or slot. It carries an `ETag`; no request is refused by `If-Match`, as none is promised to be.
pub fn reply(world: &World, site: &Site, slot: &Slot) -> Reply {
    Reply::json(200, &shown(world, site, slot)).with("etag", format!("\"{:016X}\"", slot.revision))
}

fn scm(host_name: &str) -> String {
    match host_name.split_once('.') {
        Some((first, rest)) => format!("{first}.scm.{rest}"),
        None => host_name.to_owned(),
    }
}

fn plan_id(site: &Site) -> String {
    format!(
        "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Web/serverfarms/{}",
        site.address.subscription, site.address.group, site.plan.name
    )
}

pub fn get(world: &World, place: &Place) -> Answer {
    Ok(reply(world, site(world, place)?, slot(world, place)?))
}

/// The slots of a site, production not among them.
pub fn slots(world: &World, place: &Place) -> Answer {
    let site = site(world, place)?;
    let slots = site.slots.values().filter(|slot| !slot.is_production());
    let slots: Vec<Value> = slots.map(|slot| shown(world, site, slot)).collect();
    Ok(Reply::json(200, &json!({"value": slots, "nextLink": null})))
}

/// What a group holds: its sites, or one of its plans.
pub fn listed(world: &World, asked: &Asked, place: &Place) -> Answer {
    let rest: Vec<&str> = place.rest.iter().map(String::as_str).collect();
    let in_group = |site: &&Site| {
        site.address
            .subscription
            .eq_ignore_ascii_case(&place.address.subscription)
            && site.address.group.eq_ignore_ascii_case(&place.address.group)
    };
    let mut sites = world.sites.values().filter(in_group);
    match rest.as_slice() {
        _ if asked.method != hyper::Method::GET => Err(Box::new(super::method_not_allowed(asked))),
        ["sites"] => {
            let all: Vec<Value> = sites.map(|site| shown(world, site, site.production())).collect();
            Ok(Reply::json(200, &json!({"value": all, "nextLink": null})))
        }
        ["serverfarms", name] => match sites.find(|site| site.plan.name.eq_ignore_ascii_case(name)) {
            Some(site) => Ok(Reply::json(200, &plan(site))),
            None => Err(Box::new(not_found(
                &format!("serverfarms/{name}"),
                &place.address.group,
            ))),
        },
        _ => Err(Box::new(refused(
            404,
            "InvalidResourceType",
            "The resource type could not be found in the namespace 'Microsoft.Web'.",
        ))),
    }
}

fn plan(site: &Site) -> Value {
    json!({
        "id": plan_id(site),
        "name": site.plan.name,
        "type": "Microsoft.Web/serverfarms",
        "kind": if site.is_linux() { "linux" } else { "app" },
        "location": site.location,
        "sku": {
            "name": site.plan.size,
            "tier": site.plan.tier,
            "size": site.plan.size,
            "family": site.plan.size.chars().take(1).collect::<String>(),
            "capacity": site.instances,
        },
        "properties": {"status": "Ready", "numberOfWorkers": site.instances, "reserved": site.is_linux()},
    })
}

/// Makes a site or slot, or replaces what is said of one: tags that are not given are gone.
pub fn put(world: &mut World, asked: &Asked, place: &Place) -> Answer {
    let body = arm::object(asked)?;
    let Some(location) = body.get("location").and_then(Value::as_str) else {
        return Err(Box::new(refused(
            400,
            "LocationRequired",
            "The location property is required for this definition.",
        )));
    };
    make(world, place, location, body.get("kind").and_then(Value::as_str))?;
    let tags = body.get("tags").cloned().filter(|tags| !tags.is_null());
    write(world, place, &body, Some(tags.unwrap_or_else(|| json!({}))))
}

/// Changes what is given. `tags` replace those that were there: the published description has none here, the resource manager's
/// own contract for tracked resources has; `Microsoft.Resources/tags` is the way that is promised.
pub fn patch(world: &mut World, asked: &Asked, place: &Place) -> Answer {
    let body = arm::object(asked)?;
    let tags = body.get("tags").cloned().filter(|tags| !tags.is_null());
    write(world, place, &body, tags)
}

fn make(world: &mut World, place: &Place, location: &str, kind: Option<&str>) -> Result<(), Box<Reply>> {
    let now = world.clock.now();
    let Some(site) = world.site_mut(&place.address) else {
        let slot = Slot::new(PRODUCTION, Site::host_name(&place.address.name, PRODUCTION), now);
        let site = Site {
            address: place.address.clone(),
            location: location.to_owned(),
            kind: kind.unwrap_or("app").to_owned(),
            plan: Plan {
                name: "plan".into(),
                tier: "Standard".into(),
                size: "S1".into(),
            },
            instances: 1,
            slots: [(PRODUCTION.to_owned(), slot)].into_iter().collect(),
            sticky: Sticky::default(),
            swap: None,
            population: Population::default(),
        };
        world.sites.insert(site.address.key(), site);
        return Ok(());
    };
    let name = place.slot_name().to_ascii_lowercase();
    if site.slot(&name).is_some() {
        return Ok(());
    }
    if site.slots.len() > site.plan.slots_max() {
        return Err(Box::new(faulted(
            409,
            "Conflict",
            "04067",
            format!(
                "Cannot complete the operation because the site will exceed the number of slots allowed for the '{}' SKU.",
                site.plan.tier
            ),
        )));
    }
    let slot = Slot::new(&name, Site::host_name(&site.address.name, &name), now);
    site.slots.insert(name, slot);
    Ok(())
}

fn write(world: &mut World, place: &Place, body: &Map<String, Value>, tags: Option<Value>) -> Answer {
    let tags = tags.map(|tags| texts("tags", tags).and_then(tags_within)).transpose()?;
    let given = match body.get("properties") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(properties)) => properties.clone(),
        Some(_) => {
            return Err(bad_parameter(
                "The parameter properties has an invalid value: an object is expected.",
            ));
        }
    };
    let enabled = match given.get("enabled") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(enabled)) => Some(*enabled),
        Some(_) => {
            return Err(bad_parameter(
                "The parameter enabled has an invalid value: a boolean is expected.",
            ));
        }
    };
    if let Some(written) = given.get("siteConfig").filter(|written| !written.is_null()) {
        let Value::Object(written) = written else {
            return Err(bad_parameter(
                "The parameter siteConfig has an invalid value: an object is expected.",
            ));
        };
        config::write_web(world, place, written)?;
    }
    let (slot, now) = slot_mut(world, place)?;
    if let Some(tags) = tags {
        slot.tags = tags;
    }
    if let Some(enabled) = enabled
        && enabled != slot.is_enabled
    {
        slot.is_enabled = enabled;
        slot.restart(false, now);
    }
    slot.touch(now);
    get(world, place)
}

pub fn delete(world: &mut World, place: &Place) -> Answer {
    match &place.slot {
        None => {
            world.sites.remove(&place.address.key());
        }
        Some(name) => {
            if let Some(site) = world.site_mut(&place.address) {
                site.remove_slot(name);
            }
        }
    }
    Ok(Reply::empty(200))
}

/// `start`, `stop`, `restart`: answered at once, instances follow.
pub fn act(world: &mut World, place: &Place, action: &str) -> Answer {
    let (slot, now) = slot_mut(world, place)?;
    match action {
        "stop" => slot.is_enabled = false,
        "start" if slot.is_enabled => {}
        _ => {
            slot.is_enabled = true;
            slot.restart(false, now);
        }
    }
    slot.touch(now);
    Ok(Reply::empty(200))
}

/// What [`properties`] reads, for those requests that are about a dictionary.
pub fn dictionary(asked: &Asked) -> Result<std::collections::BTreeMap<String, String>, Box<Reply>> {
    texts("properties", Value::Object(properties(asked)?))
}
