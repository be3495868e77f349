//! Swaps: begun, prepared, called off, polled, and what would change by one.

use serde_json::{Value, json};

use super::{Answer, Place, bad_parameter, base, site};
use crate::azure::app_service::operation::Outcome;
use crate::azure::app_service::site::{PRODUCTION, Site, Slot};
use crate::azure::app_service::swap;
use crate::azure::app_service::{API_VERSION, World};
use crate::azure::arm::{self, faulted};
use crate::azure::exchange::{Asked, Reply};

/// Which slot's content goes where. Production is the destination wherever it is one of the two: that is what its own path and
/// the path of the other slot both mean, and what Microsoft's command line relies on.
fn pair(world: &World, asked: &Asked, place: &Place) -> Result<(String, String), Box<Reply>> {
    let body = arm::object(asked)?;
    let Some(target) = body.get("targetSlot").and_then(Value::as_str) else {
        return Err(bad_parameter("The parameter targetSlot is required and is a string."));
    };
    if !body.get("preserveVnet").is_some_and(Value::is_boolean) {
        return Err(bad_parameter(
            "The parameter preserveVnet is required and is a boolean.",
        ));
    }
    let site = site(world, place)?;
    let (here, target) = (place.slot_name().to_ascii_lowercase(), target.to_ascii_lowercase());
    if site.slot(&target).is_none() {
        let message = format!("Cannot find SiteSlot with name {target}.");
        return Err(Box::new(faulted(404, "NotFound", "51004", message)));
    }
    if here == target {
        return Err(bad_parameter(
            "The source and the target slot of a swap have to be different.",
        ));
    }
    Ok(if here == PRODUCTION {
        (target, here)
    } else {
        (here, target)
    })
}

/// The refusal of a pair where another one is prepared.
fn free_for(site: &Site, source: &str, destination: &str) -> Result<(), Box<Reply>> {
    let is_taken = |one: &str, other: &str| {
        let prepared = site.slot(one).and_then(|slot| slot.prepared.as_deref());
        prepared.is_some_and(|with| !with.eq_ignore_ascii_case(other))
    };
    let is_other_swap = site.swap.as_ref().is_some_and(|swap| !swap.is_of(source, destination));
    if is_other_swap || is_taken(source, destination) || is_taken(destination, source) {
        let message = "The slot cannot be changed because its configuration settings have been prepared for swap.";
        return Err(Box::new(faulted(409, "Conflict", "04032", message)));
    }
    Ok(())
}

/// Begins a swap, or completes one that was prepared. 202; `Location` tells the rest.
pub fn swap(world: &mut World, asked: &Asked, place: &Place) -> Answer {
    let (source, destination) = pair(world, asked, place)?;
    free_for(site(world, place)?, &source, &destination)?;
    let now = world.clock.now();
    let id = world.operations.begin(now);
    if let Some(site) = world.site_mut(&place.address) {
        match &mut site.swap {
            Some(swap) => swap.operation = Some(id),
            None => swap::begin(site, &source, &destination, Some(id), now),
        }
    }
    let link = |kind: &str| format!("{}{}/{kind}/{id}?api-version={API_VERSION}", base(asked), on(place));
    let located = Reply::empty(202)
        .with("location", link("operationresults"))
        .with("retry-after", super::super::operation::RETRY_AFTER);
    Ok(if world.has_async_operations {
        located.with("azure-asyncoperation", link("operations"))
    } else {
        located
    })
}

fn on(place: &Place) -> String {
    match &place.slot {
        Some(slot) => format!("{}/slots/{slot}", place.address.id()),
        None => place.address.id(),
    }
}

/// The first phase of a swap with preview. Answered at once; the source's instances restart.
pub fn apply(world: &mut World, asked: &Asked, place: &Place) -> Answer {
    let (source, destination) = pair(world, asked, place)?;
    let found = site(world, place)?;
    let has_authentication = [&source, &destination]
        .into_iter()
        .filter_map(|name| found.slot(name))
        .any(Slot::has_authentication);
    if has_authentication {
        let message = "Swap with Preview cannot be used when one of the slots has site authentication enabled.";
        return Err(Box::new(faulted(409, "Conflict", "04044", message)));
    }
    free_for(found, &source, &destination)?;
    let is_prepared = found.swap.is_some();
    let now = world.clock.now();
    if let (false, Some(site)) = (is_prepared, world.site_mut(&place.address)) {
        swap::begin(site, &source, &destination, None, now);
    }
    Ok(Reply::empty(200))
}

/// Calls a swap off. Each slot of a pair is released by itself, which is why both are reset; where nothing is prepared, nothing
/// happens.
pub fn reset(world: &mut World, place: &Place) -> Answer {
    let now = world.clock.now();
    let name = place.slot_name().to_ascii_lowercase();
    let World { sites, operations, .. } = world;
    let Some(site) = sites.get_mut(&place.address.key()) else {
        return Ok(Reply::empty(200));
    };
    let of_this = site
        .swap
        .clone()
        .filter(|swap| swap.source == name || swap.destination == name);
    match of_this
        .as_ref()
        .and_then(|swap| swap.operation.map(|operation| (swap, operation)))
    {
        Some((swap, operation)) => {
            let fault = swap::cancelled(site, swap);
            operations.end(operation, Outcome::Failed { status: 409, fault });
            swap::revert(site, swap, now);
        }
        None => {
            if of_this.is_some() {
                site.swap = None;
            }
            release(site, &name, now);
        }
    }
    Ok(Reply::empty(200))
}

/// Gives one slot its own settings back.
fn release(site: &mut Site, name: &str, now: jiff::Timestamp) {
    if let Some(slot) = site.slot_mut(name) {
        if slot.borrowed.take().is_some() {
            slot.restart(true, now);
        }
        if slot.prepared.take().is_some() {
            slot.touch(now);
        }
    }
}

pub fn located(world: &World, asked: &Asked, id: &str) -> Answer {
    match world.operations.get(id) {
        Some((_, operation)) => {
            let location = format!("{}{}", base(asked), asked.path_and_query);
            Ok(operation.located(&location))
        }
        None => Err(unknown_operation(id)),
    }
}

pub fn status(world: &World, asked: &Asked, id: &str) -> Answer {
    match world.operations.get(id) {
        Some((id, operation)) => {
            let path = asked.path_and_query.split('?').next().unwrap_or_default();
            Ok(operation.status(id, path))
        }
        None => Err(unknown_operation(id)),
    }
}

fn unknown_operation(id: &str) -> Box<Reply> {
    Box::new(faulted(
        404,
        "NotFound",
        "51004",
        format!("Cannot find Operation with name {id}."),
    ))
}

/// What a swap would change, by the names that the platform has for it.
pub fn differences(world: &World, asked: &Asked, place: &Place) -> Answer {
    let body = arm::object(asked)?;
    let target = body.get("targetSlot").and_then(Value::as_str).unwrap_or_default();
    let found = site(world, place)?;
    let (Some(here), Some(there)) = (found.slot(place.slot_name()), found.slot(target)) else {
        let message = format!("Cannot find SiteSlot with name {target}.");
        return Err(Box::new(faulted(404, "NotFound", "51004", message)));
    };
    let mut all = Vec::new();
    let mut names: Vec<&String> = here.settings.keys().chain(there.settings.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let (current, other) = (here.settings.get(name), there.settings.get(name));
        let rule = match (current, other, found.sticky.keeps(name)) {
            (Some(_), None, true) | (None, Some(_), true) => Some(("Warning", "SlotSettingsMissing")),
            (Some(one), Some(two), true) if one == two => Some(("Information", "SlotSettingsSameValue")),
            (_, _, true) => None,
            (Some(one), Some(two), false) if one == two => None,
            (Some(_), Some(_), false) => Some(("Information", "SettingsWillBeModifiedInDestination")),
            (Some(_), None, false) => Some(("Information", "SettingsWillBeAddedToDestination")),
            (None, _, false) => Some(("Warning", "SettingsNotInSource")),
        };
        if let Some((level, rule)) = rule {
            all.push(difference(
                here,
                all.len(),
                (level, rule),
                ("AppSetting", name),
                (json!(current), json!(other)),
            ));
        }
    }
    for name in ["linuxFxVersion", "healthCheckPath", "appCommandLine"] {
        let (current, other) = (here.config.get(name), there.config.get(name));
        if current != other {
            let rule = ("Information", "SettingsWillBeModifiedInDestination");
            all.push(difference(
                here,
                all.len(),
                rule,
                ("General", name),
                (json!(current), json!(other)),
            ));
        }
    }
    Ok(Reply::json(200, &json!({"value": all, "nextLink": null})))
}

fn difference(here: &Slot, index: usize, rule: (&str, &str), setting: (&str, &str), values: (Value, Value)) -> Value {
    let text = |value: Value| match value {
        Value::String(text) => json!(text),
        _ => json!(""),
    };
    let description = match rule.1 {
        "SlotSettingsMissing" => format!(
            "{} '{}' is a slot setting that only one of the slots has.",
            setting.0, setting.1
        ),
        "SlotSettingsSameValue" => format!(
            "{} '{}' is a slot setting with the same value in both slots.",
            setting.0, setting.1
        ),
        "SettingsNotInSource" => format!(
            "{} '{}' is not in the source slot and will be removed from the destination.",
            setting.0, setting.1
        ),
        "SettingsWillBeAddedToDestination" => {
            format!("{} '{}' will be added to the destination slot.", setting.0, setting.1)
        }
        _ => format!(
            "{} '{}' will be modified in the destination slot.",
            setting.0, setting.1
        ),
    };
    json!({
        "id": null,
        "name": format!("{}-{index}", here.name),
        "type": "Microsoft.Web/sites/slotsdiffs",
        "properties": {
            "level": rule.0,
            "diffRule": rule.1,
            "settingType": setting.0,
            "settingName": setting.1,
            "valueInCurrentSlot": text(values.0),
            "valueInTargetSlot": text(values.1),
            "description": description,
        },
    })
}
