//! The resource manager's own way to tags: `Microsoft.Resources/tags/default` below any resource.
//!
//! Tags are the resource manager's metadata, not the site's configuration: they can be written while a swap is under way.

use hyper::Method;
use serde_json::{Value, json};

use super::{Answer, Place, bad_parameter, known, method_not_allowed, slot, slot_mut, tags_within, texts};
use crate::azure::app_service::World;
use crate::azure::arm::{self, refused};
use crate::azure::exchange::{Asked, Reply};

/// Versions of `Microsoft.Resources/tags` that are spoken.
pub const API_VERSIONS: &[&str] = &["2021-04-01", "2024-03-01", "2025-04-01"];

pub fn answer(world: &mut World, asked: &Asked, place: &Place) -> Answer {
    known(world, asked, place)?;
    if !place.rest.is_empty() || place.address.name.is_empty() {
        return Err(Box::new(refused(
            404,
            "NotFound",
            "Tags are kept here for sites and slots.",
        )));
    }
    // Made by a PUT of the site, never by one of its tags.
    slot(world, place)?;
    match asked.method {
        Method::GET => {}
        Method::PUT => {
            let mut body = arm::object(asked)?;
            let tags = tags_within(tags_of(body.remove("properties"))?)?;
            let (slot, now) = slot_mut(world, place)?;
            slot.tags = tags;
            slot.touch(now);
        }
        Method::PATCH => patch(world, asked, place)?,
        Method::DELETE => {
            let (slot, now) = slot_mut(world, place)?;
            slot.tags.clear();
            slot.touch(now);
            return Ok(Reply::empty(200));
        }
        _ => return Err(Box::new(method_not_allowed(asked))),
    }
    let id = match &place.slot {
        Some(slot) => format!("{}/slots/{slot}", place.address.id()),
        None => place.address.id(),
    };
    let tags = &slot(world, place)?.tags;
    Ok(Reply::json(
        200,
        &json!({
            "id": format!("{id}/providers/Microsoft.Resources/tags/default"),
            "name": "default",
            "type": "Microsoft.Resources/tags",
            "properties": {"tags": tags},
        }),
    ))
}

fn tags_of(properties: Option<Value>) -> Result<std::collections::BTreeMap<String, String>, Box<Reply>> {
    let Some(Value::Object(mut properties)) = properties else {
        return Err(bad_parameter("The parameter properties is required and is an object."));
    };
    texts("tags", properties.remove("tags").unwrap_or_else(|| json!({})))
}

fn patch(world: &mut World, asked: &Asked, place: &Place) -> Result<(), Box<Reply>> {
    let mut body = arm::object(asked)?;
    let operation = body.remove("operation");
    let tags = tags_of(body.remove("properties"))?;
    let (slot, now) = slot_mut(world, place)?;
    let mut changed = slot.tags.clone();
    match operation.as_ref().and_then(Value::as_str) {
        Some("Merge") => changed.extend(tags),
        Some("Replace") => changed = tags,
        Some("Delete") => changed.retain(|name, value| tags.get(name) != Some(value)),
        _ => {
            return Err(bad_parameter(
                "The parameter operation is required and is one of 'Merge', 'Replace', 'Delete'.",
            ));
        }
    }
    slot.tags = tags_within(changed)?;
    slot.touch(now);
    Ok(())
}
