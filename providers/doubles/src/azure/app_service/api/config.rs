//! A slot's configuration: `web`, `appsettings`, `connectionstrings`, `slotConfigNames`, `authsettingsV2`.

use hyper::Method;
use serde_json::{Map, Value, json};

use super::{Answer, Place, bad_parameter, method_not_allowed, properties, site, sites, slot, slot_mut};
use crate::azure::app_service::site::{Site, Slot};
use crate::azure::app_service::{World, routing, swap};
use crate::azure::exchange::{Asked, Reply};

/// Members of `SiteConfig` by the type that they have; what is not named here is taken as it comes.
const TEXTS: &[&str] = &[
    "linuxFxVersion",
    "windowsFxVersion",
    "appCommandLine",
    "autoSwapSlotName",
    "healthCheckPath",
    "netFrameworkVersion",
    "phpVersion",
    "pythonVersion",
    "nodeVersion",
    "javaVersion",
];
const SWITCHES: &[&str] = &[
    "alwaysOn",
    "webSocketsEnabled",
    "use32BitWorkerProcess",
    "http20Enabled",
    "localMySqlEnabled",
];
const NUMBERS: &[&str] = &[
    "numberOfWorkers",
    "preWarmedInstanceCount",
    "minimumElasticInstanceCount",
];

pub fn answer(world: &mut World, asked: &Asked, place: &Place, rest: &[&str]) -> Answer {
    match (&asked.method, rest) {
        (&Method::GET, ["config", "web"]) => web(world, place),
        (&Method::PATCH | &Method::PUT, ["config", "web"]) => {
            let written = properties(asked)?;
            write_web(world, place, &written)?;
            web(world, place)
        }
        (&Method::POST, ["config", "appsettings", "list"]) => app_settings(world, place),
        (&Method::PUT, ["config", "appsettings"]) => {
            let settings = sites::dictionary(asked)?;
            replace_settings(world, place, settings)?;
            app_settings(world, place)
        }
        (&Method::POST, ["config", "connectionstrings", "list"]) => connection_strings(world, place),
        (&Method::PUT, ["config", "connectionstrings"]) => {
            let written = properties(asked)?;
            let (slot, now) = slot_mut(world, place)?;
            slot.connection_strings = written;
            slot.restart(true, now);
            slot.touch(now);
            connection_strings(world, place)
        }
        (&Method::GET, ["config", "slotconfignames"]) if place.slot.is_none() => sticky(world, place),
        (&Method::PUT, ["config", "slotconfignames"]) if place.slot.is_none() => {
            write_sticky(world, asked, place)?;
            sticky(world, place)
        }
        // The settings hold no secret here, so both forms show the same.
        (&Method::GET, ["config", "authsettingsv2"] | ["config", "authsettingsv2", "list"]) => {
            authentication(world, place)
        }
        (&Method::PUT, ["config", "authsettingsv2"]) => {
            let written = properties(asked)?;
            let (slot, now) = slot_mut(world, place)?;
            slot.auth = written;
            slot.restart(true, now);
            slot.touch(now);
            authentication(world, place)
        }
        _ => Err(Box::new(method_not_allowed(asked))),
    }
}

fn resource(site: &Site, slot: &Slot, name: &str, properties: Value) -> Value {
    let (id, _, kind) = sites::identity(site, slot);
    json!({
        "id": format!("{id}/config/{name}"),
        "name": name,
        "type": format!("{kind}/config"),
        "location": site.location,
        "properties": properties,
    })
}

/// Changes to `SiteConfig`: what is given replaces what was there, in PUT and in PATCH alike. `appSettings` come as a list here.
pub fn write_web(world: &mut World, place: &Place, written: &Map<String, Value>) -> Result<(), Box<Reply>> {
    let site = site(world, place)?;
    let mut written = written.clone();
    if let Some(experiments) = written.get("experiments") {
        let experiments = routing::checked(site, place.slot_name(), experiments).map_err(bad_parameter)?;
        written.insert("experiments".into(), experiments);
    }
    for (name, value) in &written {
        let name = name.as_str();
        let is_fit = match value {
            Value::Null => true,
            _ if TEXTS.contains(&name) => value.is_string(),
            _ if SWITCHES.contains(&name) => value.is_boolean(),
            _ if NUMBERS.contains(&name) => value.is_i64(),
            _ => true,
        };
        if !is_fit {
            return Err(bad_parameter(format!(
                "The parameter {name} has an invalid value: {value}."
            )));
        }
    }
    if let Some(Value::String(slot)) = written.get("autoSwapSlotName")
        && !slot.is_empty()
        && site.slot(slot).is_none()
    {
        return Err(bad_parameter(format!(
            "The parameter autoSwapSlotName has an invalid value: there is no slot '{slot}'."
        )));
    }
    let settings = written
        .remove("appSettings")
        .filter(|settings| !settings.is_null())
        .map(pairs)
        .transpose()?;
    written.remove("machineKey");
    let (slot, now) = slot_mut(world, place)?;
    let before = slot.content();
    let is_restarting = written
        .keys()
        .any(|name| name != "experiments" && name != "autoSwapSlotName");
    slot.config
        .extend(written.into_iter().filter(|(_, value)| !value.is_null()));
    slot.touch(now);
    if is_restarting {
        let is_same = slot.content() == before;
        slot.restart(is_same, now);
    }
    if let Some(settings) = settings {
        replace_settings(world, place, settings)?;
    }
    after_content(world, place, &before);
    Ok(())
}

/// `[{name, value}]`.
fn pairs(written: Value) -> Result<std::collections::BTreeMap<String, String>, Box<Reply>> {
    #[derive(serde::Deserialize)]
    struct Pair {
        name: String,
        value: String,
    }
    let pairs: Vec<Pair> = serde_json::from_value(written)
        .map_err(|error| bad_parameter(format!("The parameter appSettings has an invalid value: {error}.")))?;
    Ok(pairs.into_iter().map(|pair| (pair.name, pair.value)).collect())
}

fn replace_settings(
    world: &mut World,
    place: &Place,
    settings: std::collections::BTreeMap<String, String>,
) -> Result<(), Box<Reply>> {
    let (slot, now) = slot_mut(world, place)?;
    let before = slot.content();
    if slot.settings != settings {
        slot.settings = settings;
        let is_same = slot.content() == before;
        slot.restart(is_same, now);
    }
    slot.touch(now);
    after_content(world, place, &before);
    Ok(())
}

/// Auto swap follows new content by itself, where there is auto swap: not on Linux and not with containers.
fn after_content(world: &mut World, place: &Place, before: &(Option<String>, Option<String>)) {
    let now = world.clock.now();
    let World { sites, operations, .. } = world;
    let Some(site) = sites.get_mut(&place.address.key()) else {
        return;
    };
    let Some(slot) = site.slot(place.slot_name()) else {
        return;
    };
    let to = slot
        .config
        .get("autoSwapSlotName")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_ascii_lowercase();
    if &slot.content() == before || site.is_linux() || site.swap.is_some() || site.slot(&to).is_none() {
        return;
    }
    let operation = operations.begin(now);
    swap::begin(site, place.slot_name(), &to, Some(operation), now);
}

fn web(world: &World, place: &Place) -> Answer {
    let slot = slot(world, place)?;
    let body = resource(site(world, place)?, slot, "web", Value::Object(slot.config.clone()));
    Ok(Reply::json(200, &body).with("etag", format!("\"{:016X}\"", slot.revision)))
}

fn app_settings(world: &World, place: &Place) -> Answer {
    let slot = slot(world, place)?;
    Ok(Reply::json(
        200,
        &resource(site(world, place)?, slot, "appsettings", json!(slot.settings)),
    ))
}

fn connection_strings(world: &World, place: &Place) -> Answer {
    let slot = slot(world, place)?;
    let properties = Value::Object(slot.connection_strings.clone());
    Ok(Reply::json(
        200,
        &resource(site(world, place)?, slot, "connectionstrings", properties),
    ))
}

fn authentication(world: &World, place: &Place) -> Answer {
    let slot = slot(world, place)?;
    let properties = Value::Object(slot.auth.clone());
    Ok(Reply::json(
        200,
        &resource(site(world, place)?, slot, "authsettingsV2", properties),
    ))
}

fn sticky(world: &World, place: &Place) -> Answer {
    let site = site(world, place)?;
    let properties = json!({
        "appSettingNames": site.sticky.app_settings,
        "connectionStringNames": site.sticky.connection_strings,
        "azureStorageConfigNames": site.sticky.storage,
    });
    Ok(Reply::json(
        200,
        &resource(site, site.production(), "slotConfigNames", properties),
    ))
}

fn write_sticky(world: &mut World, asked: &Asked, place: &Place) -> Result<(), Box<Reply>> {
    let mut written = properties(asked)?;
    let mut names = |name: &str| -> Result<Vec<String>, Box<Reply>> {
        let names = written
            .remove(name)
            .filter(|names| !names.is_null())
            .unwrap_or_else(|| json!([]));
        serde_json::from_value(names)
            .map_err(|error| bad_parameter(format!("The parameter {name} has an invalid value: {error}.")))
    };
    let (settings, strings, storage) = (
        names("appSettingNames")?,
        names("connectionStringNames")?,
        names("azureStorageConfigNames")?,
    );
    if let Some(site) = world.site_mut(&place.address) {
        site.sticky.app_settings = settings;
        site.sticky.connection_strings = strings;
        site.sticky.storage = storage;
    }
    Ok(())
}
