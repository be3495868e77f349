//! Requests to the resource manager, by what they ask.

mod config;
mod front;
mod looking;
mod sites;
mod swapping;
mod tags;

use hyper::Method;
use serde_json::Value;

use super::site::{Address, PRODUCTION, Site, Slot};
use super::swap::Phase;
use super::{API_VERSION, World};
use crate::azure::arm::{self, admitted, faulted, not_found, refused, stamped};
use crate::azure::exchange::{Asked, Reply};

/// What a handler answers; a refusal is an answer too.
type Answer = Result<Reply, Box<Reply>>;

/// A site or one of its slots, as a path names it, and what of it is asked for.
struct Place {
    address: Address,
    /// None is production, by the site's own path.
    slot: Option<String>,
    /// What follows, in lower case.
    rest: Vec<String>,
    /// What follows, as it was written.
    written: Vec<String>,
}

impl Place {
    fn slot_name(&self) -> &str {
        self.slot.as_deref().unwrap_or(PRODUCTION)
    }

    /// As in `sites/shop/slots/staging`.
    fn described(&self) -> String {
        match &self.slot {
            Some(slot) => format!("sites/{}/slots/{slot}", self.address.name),
            None => format!("sites/{}", self.address.name),
        }
    }
}

/// Answers one request.
pub fn answer(world: &mut World, asked: &Asked) -> Reply {
    if let Some(reply) = front::answer(world, asked) {
        return reply;
    }
    let reply = managed(world, asked).unwrap_or_else(|refusal| *refusal);
    if reply.is_success() && is_write(asked) {
        world.writes += 1;
        world.advance(std::time::Duration::ZERO);
    }
    stamped(reply, asked)
}

/// Whether a request is one that changes something: some lists are asked for with POST because they hold secrets.
pub fn is_write(asked: &Asked) -> bool {
    if asked.method.is_safe() {
        return false;
    }
    let last = asked.segments.last().map(|last| last.to_ascii_lowercase());
    !matches!(last.as_deref(), Some("list" | "slotsdiffs" | "containerlogs"))
}

fn managed(world: &mut World, asked: &Asked) -> Answer {
    let lower: Vec<String> = asked
        .segments
        .iter()
        .map(|segment| segment.to_ascii_lowercase())
        .collect();
    if lower.ends_with(&[
        "providers".into(),
        "microsoft.resources".into(),
        "tags".into(),
        "default".into(),
    ]) {
        admitted(asked, tags::API_VERSIONS)?;
        let scope = lower.len() - 4;
        let place = place(&asked.segments[..scope])?;
        return tags::answer(world, asked, &place);
    }
    admitted(asked, &[API_VERSION])?;
    let place = place(&asked.segments)?;
    if place.address.name.is_empty() {
        return sites::listed(world, asked, &place);
    }
    known(world, asked, &place)?;
    if is_write(asked) {
        unlocked(world, &place)?;
    }
    let rest: Vec<&str> = place.rest.iter().map(String::as_str).collect();
    match (&asked.method, rest.as_slice()) {
        (&Method::GET, []) => sites::get(world, &place),
        (&Method::PUT, []) => sites::put(world, asked, &place),
        (&Method::PATCH, []) => sites::patch(world, asked, &place),
        (&Method::DELETE, []) => sites::delete(world, &place),
        (&Method::GET, ["slots"]) if place.slot.is_none() => sites::slots(world, &place),
        (&Method::POST, [action @ ("start" | "stop" | "restart")]) => sites::act(world, &place, action),
        (_, ["config", ..]) => config::answer(world, asked, &place, &rest),
        (&Method::POST, ["slotsswap"]) => swapping::swap(world, asked, &place),
        (&Method::POST, ["applyslotconfig"]) => swapping::apply(world, asked, &place),
        (&Method::POST, ["resetslotconfig"]) => swapping::reset(world, &place),
        (&Method::POST, ["slotsdiffs"]) => swapping::differences(world, asked, &place),
        (&Method::GET, ["operationresults", id]) => swapping::located(world, asked, id),
        (&Method::GET, ["operations", id]) => swapping::status(world, asked, id),
        (&Method::GET, ["instances"]) => looking::instances(world, &place),
        (&Method::GET, ["instances", id]) => looking::instance(world, &place, id),
        (&Method::POST, ["containerlogs"]) => looking::container_logs(world, &place),
        (&Method::GET, ["deploymentstatus"]) => looking::deployments(world, &place),
        (_, []) => Err(Box::new(method_not_allowed(asked))),
        _ => Err(Box::new(refused(
            404,
            "InvalidResourceType",
            format!(
                "The resource type '{}' could not be found in the namespace 'Microsoft.Web' for api version '{API_VERSION}'.",
                place.written.join("/")
            ),
        ))),
    }
}

fn method_not_allowed(asked: &Asked) -> Reply {
    refused(
        405,
        "MethodNotAllowed",
        format!(
            "The HTTP method '{}' is not supported at scope 'Resource'.",
            asked.method
        ),
    )
}

/// Reads `/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Web/sites/{}[/slots/{}]/…`. A plan's path and the list of a
/// group's sites have no site's name.
fn place(segments: &[String]) -> Result<Place, Box<Reply>> {
    let is = |index: usize, name: &str| {
        segments
            .get(index)
            .is_some_and(|segment| segment.eq_ignore_ascii_case(name))
    };
    let invalid = || Box::new(refused(404, "NotFound", "The path names no resource of this provider."));
    let is_there = is(0, "subscriptions") && is(2, "resourceGroups") && is(4, "providers") && is(5, "Microsoft.Web");
    let (true, Some(subscription), Some(group)) = (is_there, segments.get(1), segments.get(3)) else {
        return Err(invalid());
    };
    let mut after = segments.get(6..).unwrap_or_default();
    let mut address = Address {
        subscription: subscription.clone(),
        group: group.clone(),
        name: String::new(),
    };
    let mut slot = None;
    if let [kind, name, rest @ ..] = after
        && kind.eq_ignore_ascii_case("sites")
    {
        address.name.clone_from(name);
        after = rest;
        if let [slots, name, rest @ ..] = after
            && slots.eq_ignore_ascii_case("slots")
        {
            slot = Some(name.clone());
            after = rest;
        }
    }
    Ok(Place {
        address,
        slot,
        rest: after.iter().map(|segment| segment.to_ascii_lowercase()).collect(),
        written: after.to_vec(),
    })
}

/// The resource manager's own 404, unless the request is one that makes the resource.
fn known(world: &World, asked: &Asked, place: &Place) -> Result<(), Box<Reply>> {
    let is_making = asked.method == Method::PUT && place.rest.is_empty();
    let site = world.site(&place.address);
    let is_known = match (site, &place.slot) {
        (None, None) => is_making,
        (None, Some(_)) => false,
        (Some(_), None) => true,
        // Production has no path below `slots`.
        (Some(_), Some(slot)) if slot.eq_ignore_ascii_case(PRODUCTION) => false,
        (Some(site), Some(slot)) => site.slot(slot).is_some() || is_making,
    };
    if is_known {
        Ok(())
    } else {
        Err(Box::new(not_found(&place.described(), &place.address.group)))
    }
}

/// The refusal of every change while a swap is under way, and of some while one is prepared.
fn unlocked(world: &World, place: &Place) -> Result<(), Box<Reply>> {
    let Some(site) = world.site(&place.address) else {
        return Ok(());
    };
    let rest: Vec<&str> = place.rest.iter().map(String::as_str).collect();
    let is_reset = rest == ["resetslotconfig"];
    let is_swap_of_slots = matches!(rest.as_slice(), ["slotsswap" | "applyslotconfig"]);
    if let Some(swap) = &site.swap
        && swap.phase != Phase::Previewed
        && swap.operation.is_some()
    {
        if is_reset && swap.can_be_cancelled() && !world.is_reset_refused {
            return Ok(());
        }
        let operation = swap.operation.and_then(|id| world.operations.get(&id.to_string()));
        let (id, created) = operation
            .map(|(id, operation)| (id.to_string(), operation.started))
            .unzip();
        let (id, created) = (id.unwrap_or_default(), created.unwrap_or(swap.since));
        let message = format!(
            "Cannot modify this site because another operation is in progress. Details: Id: {id}, OperationName: SwapSiteSlots, \
             CreatedTime: {created}, RequestId: {id}, EntityType: 1"
        );
        return Err(Box::new(faulted(409, "Conflict", "59203", message)));
    }
    let is_prepared = site.slot(place.slot_name()).is_some_and(|slot| slot.prepared.is_some());
    if is_prepared && !is_reset && !is_swap_of_slots {
        let message = "The slot cannot be changed because its configuration settings have been prepared for swap.";
        return Err(Box::new(faulted(409, "Conflict", "04032", message)));
    }
    Ok(())
}

/// A site that [`known`] has found.
fn site<'a>(world: &'a World, place: &Place) -> Result<&'a Site, Box<Reply>> {
    let missing = || Box::new(not_found(&place.described(), &place.address.group));
    world.site(&place.address).ok_or_else(missing)
}

/// A slot that [`known`] has found.
fn slot<'a>(world: &'a World, place: &Place) -> Result<&'a Slot, Box<Reply>> {
    let missing = || Box::new(not_found(&place.described(), &place.address.group));
    site(world, place)?.slot(place.slot_name()).ok_or_else(missing)
}

/// The slot to change, and the instant.
fn slot_mut<'a>(world: &'a mut World, place: &Place) -> Result<(&'a mut Slot, jiff::Timestamp), Box<Reply>> {
    let now = world.clock.now();
    let missing = || Box::new(not_found(&place.described(), &place.address.group));
    let slot = world
        .site_mut(&place.address)
        .and_then(|site| site.slot_mut(place.slot_name()))
        .ok_or_else(missing)?;
    Ok((slot, now))
}

/// The body's `properties`, which these requests are about.
fn properties(asked: &Asked) -> Result<serde_json::Map<String, Value>, Box<Reply>> {
    let mut body = arm::object(asked)?;
    match body.remove("properties") {
        Some(Value::Object(properties)) => Ok(properties),
        None | Some(_) => Err(Box::new(refused(
            400,
            "InvalidRequestContent",
            "The request content was invalid and could not be deserialized: 'properties' is required and is an object.",
        ))),
    }
}

/// A parameter that the service does not take.
fn bad_parameter(message: impl Into<String>) -> Box<Reply> {
    Box::new(faulted(400, "BadRequest", "01002", message))
}

/// A dictionary of text.
fn texts(what: &str, value: Value) -> Result<std::collections::BTreeMap<String, String>, Box<Reply>> {
    serde_json::from_value(value)
        .map_err(|error| bad_parameter(format!("The parameter {what} has an invalid value: {error}.")))
}

/// How many tags a resource has at most, and how many signs a tag's name and value have.
const TAGS_MAX: usize = 50;
const TAG_NAME_MAX: usize = 512;
const TAG_VALUE_MAX: usize = 256;

/// Tags, within the resource manager's limits.
fn tags_within(
    tags: std::collections::BTreeMap<String, String>,
) -> Result<std::collections::BTreeMap<String, String>, Box<Reply>> {
    let invalid = |message: String| Box::new(refused(400, "InvalidTags", message));
    if tags.len() > TAGS_MAX {
        return Err(invalid(format!(
            "The maximum number of tags allowed is '{TAGS_MAX}'; '{}' were given.",
            tags.len()
        )));
    }
    for (name, value) in &tags {
        let is_fit = !name.is_empty()
            && name.chars().count() <= TAG_NAME_MAX
            && !name.contains(['<', '>', '%', '&', '\\', '?', '/'])
            && value.chars().count() <= TAG_VALUE_MAX;
        if !is_fit {
            return Err(invalid(format!(
                "The tag '{name}' is invalid: a name has 1 to {TAG_NAME_MAX} signs without <>%&\\?/, a value at most {TAG_VALUE_MAX}."
            )));
        }
    }
    Ok(tags)
}

/// The address under which the client reached this double, for links.
fn base(asked: &Asked) -> String {
    format!("http://{}", asked.host())
}
