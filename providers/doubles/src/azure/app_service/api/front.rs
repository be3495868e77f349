//! The front end that users reach: requests for a slot's host name, by the `Host` header or below `/-/{host name}`.

use super::PRODUCTION;
use crate::azure::app_service::World;
use crate::azure::app_service::behaviour::Health;
use crate::azure::app_service::routing::{self, COOKIE, PINNED};
use crate::azure::app_service::site::{Site, Slot};
use crate::azure::exchange::{Asked, Reply};

/// None where the request is none for a site's host name.
pub fn answer(world: &mut World, asked: &Asked) -> Option<Reply> {
    let host = match asked.segments.as_slice() {
        [dash, host, ..] if dash == "-" => host.as_str(),
        _ => asked.host().split(':').next().unwrap_or_default(),
    };
    if !host.to_ascii_lowercase().ends_with(".azurewebsites.net") {
        return None;
    }
    let found = world.sites.iter().find_map(|(key, site)| {
        let slot = site
            .slots
            .values()
            .find(|slot| slot.host_name.eq_ignore_ascii_case(host))?;
        Some((key.clone(), slot.name.clone()))
    });
    let Some((key, slot)) = found else {
        return Some(Reply::of(404, "text/html", "404 Web Site not found."));
    };
    let now = world.clock.now();
    let (chosen, is_new) = {
        let site = world.sites.get_mut(&key)?;
        if slot == PRODUCTION {
            routed(site, asked)
        } else {
            (slot, false)
        }
    };
    let site = world.sites.get(&key)?;
    let serving = site.slot(&chosen)?;
    let reply = served(world, site, serving, now);
    if !is_new {
        return Some(reply);
    }
    let name = if chosen == PRODUCTION { "self" } else { &chosen };
    let cookie = format!(
        "{COOKIE}={name}; Max-Age={}; Path=/; Secure; HttpOnly",
        PINNED.as_secs()
    );
    Some(reply.with("set-cookie", cookie))
}

/// Where a request to production goes, and whether it is pinned there by this answer.
fn routed(site: &mut Site, asked: &Asked) -> (String, bool) {
    let pinned = asked
        .header("cookie")
        .into_iter()
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, slot)| slot.to_ascii_lowercase());
    match pinned {
        Some(slot) if slot == "self" => (PRODUCTION.to_owned(), false),
        Some(slot) if site.slot(&slot).is_some() => (slot, false),
        _ if routing::rules(site).is_empty() => (PRODUCTION.to_owned(), false),
        _ => {
            let shares = routing::shares(site);
            (site.population.draw(&shares), true)
        }
    }
}

fn served(world: &World, site: &Site, slot: &Slot, now: jiff::Timestamp) -> Reply {
    if !slot.is_enabled {
        return Reply::of(403, "text/html", "Error 403 - This web app is stopped.");
    }
    let content = slot.image().or(slot.package()).unwrap_or_default();
    match slot.health(world.behaviour(site, slot), now) {
        Health::Answering(status) => Reply::of(status, "text/plain", content.to_owned()).with("x-served-by", content),
        // The front end waits 230 s for a silent instance; a test does not, so it gets the answer of that wait.
        Health::Silent => Reply::of(504, "text/html", "504.0 GatewayTimeout"),
        Health::Starting | Health::Down { .. } => Reply::of(503, "text/html", ":( Application Error"),
    }
}
