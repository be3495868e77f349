//! The HTTP routes of an Istio VirtualService: which of them send to the workload, the split that they show, and how they come to
//! show another one. Pure: from JSON to JSON.
//!
//! Weights are integers that sum up to 100. Routes are tried in their order, so an audience's stands above the one it is a copy of.
//! A mirror is no destination: its answers reach nobody.

use meridian_workflows::share::Share;
use serde_json::{Map, Value, json};

use super::audience::{self, Mark};
use super::istio_sides::{Arm, Candidate, Sides, short};
use super::object::{Memories, identity, list, map, member, memory, put, remember};
use super::service::counterpart;
use super::weights::Weights;
use super::{AUDIENCE_MEMORY, FOUND_MEMORY, Split};

const TOTAL: &[u32] = &[100];

/// The Service that the routes send to, where the settings name none.
///
/// *Errors*: where that is not one.
pub fn only_service(
    service: &Value,
    namespace: &str,
    routes: &[String],
    suffix: &str,
    subset: Option<&str>,
) -> Result<String, String> {
    let all = list(service, &["spec", "http"])?;
    let asked = all.iter().filter(|route| {
        routes.is_empty()
            || route["name"]
                .as_str()
                .is_some_and(|name| routes.iter().any(|one| one == name))
    });
    let (mut names, mut served): (Vec<&str>, Option<&str>) = (Vec::new(), None);
    for one in asked.flat_map(destinations) {
        let to = &one["destination"];
        let Some(host) = to["host"].as_str() else { continue };
        let name = short(host, namespace);
        names.push(name);
        if subset.is_some() && to["subset"].as_str() == subset {
            served = Some(name);
        }
    }
    names.sort_unstable();
    names.dedup();
    let own: Vec<String> = names.iter().map(|name| counterpart(name, suffix)).collect();
    if subset.is_none() {
        let stands = |own: &String| names.contains(&own.as_str());
        served = names
            .iter()
            .zip(&own)
            .find(|(_, own)| stands(own))
            .map(|(name, _)| *name);
    }
    // Where the candidate stands in it already, its destination says whose it is, whoever came in beside.
    if let Some(served) = served {
        return Ok(served.to_owned());
    }
    match names.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err("no HTTP route of those asked for sends to a Service".to_owned()),
        several => Err(format!(
            "its HTTP routes send to several Services ({}): name one as `traffic.istio.service`",
            several.join(", ")
        )),
    }
}

/// The split that a VirtualService shows.
pub struct Shown {
    pub split: Split,
    /// Whether the candidate stands in it.
    pub is_prepared: bool,
}

/// Reads the split. Where routes differ it is the largest share: what they should be is for [`write`] to make true.
pub fn read(service: &Value, sides: &Sides) -> Result<Shown, String> {
    let audience = memory(service, AUDIENCE_MEMORY, &sides.workload);
    let audience = audience
        .and_then(|value| serde_json::from_value(value).ok())
        .unwrap_or_default();
    let mut split = Split {
        audience,
        ..Split::none()
    };
    let mut is_prepared = list(service, &["spec", "http"])?
        .iter()
        .any(|route| sides.is_audience_route(route));
    for route in managed(service, sides)? {
        let weights = Weights {
            candidate: weight(route, sides, Arm::Candidate)?,
            baseline: weight(route, sides, Arm::Baseline)?,
        };
        is_prepared |= has(route, sides, Arm::Candidate);
        split.share = split.share.max(weights.share().unwrap_or(Share::ZERO));
        if mirrors(route, sides) {
            is_prepared = true;
            split.mirror = split.mirror.max(mirrored(route)?);
        }
    }
    Ok(Shown { split, is_prepared })
}

/// Makes a VirtualService show this split, in our own fields alone.
pub fn write(service: &mut Value, sides: &Sides, split: &Split) -> Result<(), String> {
    let marks = audience::marks(&split.audience, &sides.tenant_header)?;
    let before = read(service, sides)?.split.share;
    let mut routes = list(service, &["spec", "http"])?.to_vec();
    routes.retain(|route| !sides.is_audience_route(route));
    let found: Value = routes
        .iter()
        .filter(|route| sides.is_managed(route))
        .map(|route| found(route, sides))
        .collect();
    let mut changed = false;
    let mut written = Vec::with_capacity(routes.len());
    for mut route in routes {
        if sides.is_managed(&route) {
            let old = route.clone();
            set_weights(&mut route, sides, split.share)?;
            changed |= old != route;
            set_mirror(&mut route, sides, split.mirror)?;
            if !marks.is_empty() {
                let mut copy = audience_route(&route, sides, &marks)?;
                put(
                    &mut copy,
                    "name",
                    Some(json!(format!("{}{}", sides.audience_prefix(), written.len()))),
                );
                written.push(copy);
            }
        }
        written.push(route);
    }
    *member(member(service, "spec"), "http") = Value::Array(written);
    if changed && before.is_zero() && memory(service, FOUND_MEMORY, &sides.workload).is_none() {
        remember(service, FOUND_MEMORY, &sides.workload, Some(&found));
    }
    let audience = (!split.audience.is_empty()).then(|| json!(split.audience));
    remember(service, AUDIENCE_MEMORY, &sides.workload, audience.as_ref());
    Ok(())
}

/// The most that the candidate gets of a VirtualService of any shape: what others have put beside it is counted as the baseline's.
pub fn exposure(service: &Value, sides: &Sides) -> Split {
    let audience = memory(service, AUDIENCE_MEMORY, &sides.workload);
    let audience = audience.and_then(|value| serde_json::from_value(value).ok());
    let mut split = Split {
        audience: audience.unwrap_or_default(),
        ..Split::none()
    };
    for route in service["spec"]["http"].as_array().into_iter().flatten() {
        if split.audience.is_empty() || !sides.is_audience_route(route) {
            let all = weighed(route);
            let sum = |of: bool| {
                let of = all.iter().filter(|(one, _)| is_candidate(one, sides) == of);
                of.fold(0_u32, |sum, (_, weight)| sum.saturating_add(*weight))
            };
            let weights = Weights {
                candidate: sum(true),
                baseline: sum(false),
            };
            split.share = split.share.max(weights.share().unwrap_or(Share::ZERO));
        }
        if mirrors(route, sides) {
            split.mirror = split.mirror.max(mirrored(route).unwrap_or(Share::FULL));
        }
    }
    split
}

/// Leaves the candidate nothing, whatever shape the VirtualService has.
pub fn clear(service: &mut Value, sides: &Sides) {
    let stands =
        |route: &Value| has(route, sides, Arm::Candidate) || mirrors(route, sides) || sides.is_audience_route(route);
    let mut routes = service["spec"]["http"].as_array().into_iter().flatten();
    if !routes.any(stands) {
        // What it does not stand in stays: the subset that a write would name for the baseline may be gone by now.
        return;
    }
    let mut whole = service.clone();
    if write(&mut whole, sides, &Split::none()).is_ok() {
        *service = whole;
    } else {
        take_away(service, sides);
    }
}

/// Gives the candidate's part to the baseline in every route that names it, and touches nothing else.
fn take_away(service: &mut Value, sides: &Sides) {
    if let Some(Value::Array(routes)) = service.get_mut("spec").and_then(|spec| spec.get_mut("http")) {
        routes.retain(|route| !sides.is_audience_route(route));
        for route in routes {
            give_back(route, sides);
            if mirrors(route, sides) {
                put(route, "mirror", None);
                put(route, "mirrorPercentage", None);
            }
        }
    }
    remember(service, AUDIENCE_MEMORY, &sides.workload, None);
}

fn give_back(route: &mut Value, sides: &Sides) {
    if !has(route, sides, Arm::Candidate) {
        return;
    }
    let mut all = weighed(route);
    let at = all.iter().position(|(one, _)| is_candidate(one, sides)).unwrap_or(0);
    let mut given = 0_u32;
    for (_, weight) in all.iter_mut().filter(|(one, _)| is_candidate(one, sides)) {
        given = given.saturating_add(std::mem::take(weight));
    }
    let baseline = |(one, _): &&mut (Value, u32)| sides.arm(&one["destination"]) == Some(Arm::Baseline);
    match all.iter_mut().find(baseline) {
        Some((_, weight)) => *weight = weight.saturating_add(given),
        None => {
            let mut copy = all.get(at).map(|(one, _)| one.clone()).unwrap_or_default();
            sides.point(member(&mut copy, "destination"), Arm::Baseline);
            all.insert(at, (copy, given));
        }
    }
    let all = all.into_iter().map(|(mut one, weight)| {
        put(&mut one, "weight", Some(json!(weight)));
        one
    });
    let all = all.collect();
    put(route, "route", Some(all));
}

/// The destinations with the weights that they have in effect: the only one gets everything; of several, one without gets nothing.
fn weighed(route: &Value) -> Vec<(Value, u32)> {
    let all = destinations(route);
    let weight = |one: &Value| match one.get("weight") {
        _ if all.len() == 1 => 100,
        Some(weight) => weight
            .as_u64()
            .and_then(|weight| u32::try_from(weight).ok())
            .unwrap_or(0),
        None => 0,
    };
    all.iter().map(|one| (one.clone(), weight(one))).collect()
}

fn is_candidate(one: &Value, sides: &Sides) -> bool {
    sides.arm(&one["destination"]) == Some(Arm::Candidate)
}

/// Takes the candidate out of a VirtualService and leaves it as it was found; in one that others have bent, their part stays.
pub fn restore(service: &mut Value, sides: &Sides) {
    let mut whole = service.clone();
    if restore_all(&mut whole, sides).is_ok() {
        *service = whole;
    } else {
        take_away(service, sides);
        for route in service["spec"]["http"].as_array_mut().into_iter().flatten() {
            if let Some(Value::Array(all)) = route.get_mut("route") {
                all.retain(|one| !is_candidate(one, sides));
                for one in all {
                    unname(one, sides);
                }
            }
        }
    }
    remember(service, FOUND_MEMORY, &sides.workload, None);
    remember(service, AUDIENCE_MEMORY, &sides.workload, None);
}

/// The baseline's subset goes: a destination that still named it would reach nobody.
fn unname(one: &mut Value, sides: &Sides) {
    if let Candidate::Subset { .. } = &sides.candidate
        && sides.arm(&one["destination"]) == Some(Arm::Baseline)
    {
        put(member(one, "destination"), "subset", None);
    }
}

fn restore_all(service: &mut Value, sides: &Sides) -> Result<(), String> {
    let mut memories = Memories::of(memory(service, FOUND_MEMORY, &sides.workload));
    if read(service, sides)?.is_prepared {
        write(service, sides, &Split::none())?;
    }
    let mut routes = list(service, &["spec", "http"])?.to_vec();
    for route in routes.iter_mut().filter(|route| sides.is_managed(route)) {
        let before = memories.take(&identity(route, "match"));
        restore_weights(route, sides, &before);
    }
    *member(member(service, "spec"), "http") = Value::Array(routes);
    Ok(())
}

/// The routes that are ours to change; each sends to the two arms and to nothing else.
fn managed<'a>(service: &'a Value, sides: &Sides) -> Result<Vec<&'a Value>, String> {
    refuse_streams(service, sides)?;
    let routes = list(service, &["spec", "http"])?;
    for name in &sides.routes {
        if !routes.iter().any(|route| route["name"] == json!(name)) {
            return Err(format!("it has no HTTP route named `{name}`"));
        }
    }
    let managed: Vec<&Value> = routes.iter().filter(|route| sides.is_managed(route)).collect();
    if managed.is_empty() {
        return Err(format!("no HTTP route sends to Service `{}`", sides.service));
    }
    for route in &managed {
        let name = route["name"]
            .as_str()
            .map_or("an HTTP route".to_owned(), |name| format!("HTTP route `{name}`"));
        for other in ["redirect", "directResponse", "delegate"] {
            if route.get(other).is_some_and(|value| !value.is_null()) {
                return Err(format!("{name} has `{other}`, so there is no traffic to split"));
            }
        }
        if let Some(other) = destinations(route)
            .iter()
            .find(|one| sides.arm(&one["destination"]).is_none())
        {
            let host = other["destination"]["host"].as_str().unwrap_or("(unnamed)");
            let subset = other["destination"]["subset"]
                .as_str()
                .map_or(String::new(), |subset| format!(" subset `{subset}`"));
            return Err(format!(
                "{name} sends to `{host}`{subset} beside Service `{}`: its share could not be kept",
                sides.service
            ));
        }
        if destinations(route).is_empty() {
            return Err(format!("{name} has no `route`"));
        }
    }
    Ok(managed)
}

/// TCP and TLS routes to the same Service would go past every weight.
fn refuse_streams(service: &Value, sides: &Sides) -> Result<(), String> {
    for kind in ["tcp", "tls"] {
        let routes = list(service, &["spec", kind])?;
        if routes
            .iter()
            .flat_map(destinations)
            .any(|one| sides.arm(&one["destination"]).is_some())
        {
            return Err(format!(
                "`spec.{kind}` sends to Service `{}` too, and only HTTP routes can be split",
                sides.service
            ));
        }
    }
    Ok(())
}

/// The destinations of a route; none where it has no list of them.
pub fn destinations(route: &Value) -> &[Value] {
    route["route"].as_array().map_or(&[], Vec::as_slice)
}

fn has(route: &Value, sides: &Sides, arm: Arm) -> bool {
    destinations(route)
        .iter()
        .any(|one| sides.arm(&one["destination"]) == Some(arm))
}

/// A route's weight for an arm. The only destination gets everything; of several, one without a weight gets nothing.
fn weight(route: &Value, sides: &Sides, arm: Arm) -> Result<u32, String> {
    let all = destinations(route);
    let default = if all.len() == 1 { 100 } else { 0 };
    let mut sum = 0_u32;
    for one in all.iter().filter(|one| sides.arm(&one["destination"]) == Some(arm)) {
        let weight = one.get("weight").map_or(Some(default), Value::as_u64);
        let weight = weight
            .and_then(|weight| u32::try_from(weight).ok())
            .ok_or("a `weight` is no number that weights can have")?;
        // A single destination takes all traffic, whatever its weight says.
        sum = sum.saturating_add(if all.len() == 1 { 100 } else { weight });
    }
    Ok(sum)
}

fn set_weights(route: &mut Value, sides: &Sides, share: Share) -> Result<(), String> {
    let mut all = destinations(route).to_vec();
    if let Candidate::Subset { .. } = &sides.candidate {
        // Without a subset the Service's traffic goes to the pods of both arms.
        for one in all
            .iter_mut()
            .filter(|one| sides.arm(&one["destination"]) == Some(Arm::Baseline))
        {
            sides.point(member(one, "destination"), Arm::Baseline);
        }
    }
    if !share.is_zero() || has(route, sides, Arm::Candidate) {
        for (missing, like) in [(Arm::Candidate, Arm::Baseline), (Arm::Baseline, Arm::Candidate)] {
            if !has(route, sides, missing) {
                let at = all
                    .iter()
                    .position(|one| sides.arm(&one["destination"]) == Some(like))
                    .ok_or("the route has no destination")?;
                let mut copy = all.get(at).cloned().unwrap_or_default();
                sides.point(member(&mut copy, "destination"), missing);
                all.insert(if missing == Arm::Candidate { at + 1 } else { at }, copy);
            }
        }
        let weights =
            Weights::of(share, TOTAL).ok_or_else(|| format!("Istio's weights are whole percents, so not {share}"))?;
        for (arm, weight) in [(Arm::Candidate, weights.candidate), (Arm::Baseline, weights.baseline)] {
            let mut left = weight;
            for one in all.iter_mut().filter(|one| sides.arm(&one["destination"]) == Some(arm)) {
                put(one, "weight", Some(json!(left)));
                left = 0;
            }
        }
    }
    put(route, "route", Some(Value::Array(all)));
    Ok(())
}

/// What a route says of both arms before the candidate comes in.
fn found(route: &Value, sides: &Sides) -> Value {
    let mut before = Map::new();
    before.insert("of".to_owned(), json!(identity(route, "match")));
    for one in destinations(route) {
        let side = match sides.arm(&one["destination"]) {
            Some(Arm::Baseline) => "baseline",
            Some(Arm::Candidate) => "candidate",
            None => continue,
        };
        before.insert(
            side.to_owned(),
            json!({"weight": one.get("weight"), "subset": one["destination"].get("subset")}),
        );
    }
    Value::Object(before)
}

fn restore_weights(route: &mut Value, sides: &Sides, before: &Value) {
    let stood = has(route, sides, Arm::Candidate);
    let Some(Value::Array(all)) = route.get_mut("route") else {
        return;
    };
    let not_null = |value: Option<&Value>| value.filter(|value| !value.is_null()).cloned();
    all.retain(|one| before.get("candidate").is_some() || sides.arm(&one["destination"]) != Some(Arm::Candidate));
    for one in all.iter_mut() {
        let side = match sides.arm(&one["destination"]) {
            Some(Arm::Baseline) => "baseline",
            Some(Arm::Candidate) => "candidate",
            None => continue,
        };
        let was = before.get(side);
        if stood {
            put(one, "weight", not_null(was.and_then(|was| was.get("weight"))));
        }
        if let Candidate::Subset { .. } = &sides.candidate {
            put(
                member(one, "destination"),
                "subset",
                not_null(was.and_then(|was| was.get("subset"))),
            );
        }
    }
}

fn mirrors(route: &Value, sides: &Sides) -> bool {
    route
        .get("mirror")
        .is_some_and(|mirror| sides.arm(mirror) == Some(Arm::Candidate))
}

/// The share that a mirror takes: all of it where nothing is said.
fn mirrored(route: &Value) -> Result<Share, String> {
    let Some(percentage) = route.get("mirrorPercentage").filter(|value| !value.is_null()) else {
        return Ok(Share::FULL);
    };
    // An empty message is Istio's zero.
    let value = percentage
        .get("value")
        .map_or(Some(0.0), Value::as_f64)
        .filter(|value| (0.0..=100.0).contains(value));
    let value = value.ok_or("`mirrorPercentage` is no percentage")?;
    // Two decimals are what a share has; what others wrote finer is told as the next share above.
    let nearest = (value * 100.0).round();
    let points = if (value * 100.0 - nearest).abs() < 1e-6 {
        nearest
    } else {
        (value * 100.0).ceil()
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let points = points as u16;
    Share::from_basis_points(points).map_err(|error| error.to_string())
}

fn set_mirror(route: &mut Value, sides: &Sides, share: Share) -> Result<(), String> {
    let is_ours = mirrors(route, sides);
    if share.is_zero() {
        if is_ours {
            put(route, "mirror", None);
            put(route, "mirrorPercentage", None);
        }
        return Ok(());
    }
    if !is_ours {
        let taken = ["mirror", "mirrors"]
            .into_iter()
            .find(|field| route.get(*field).is_some_and(|value| !value.is_null()));
        if let Some(field) = taken {
            return Err(format!("an HTTP route has a `{field}` already, to somebody else"));
        }
        let mut to = destinations(route)
            .first()
            .map(|one| one["destination"].clone())
            .ok_or("the route has no destination")?;
        sides.point(&mut to, Arm::Candidate);
        put(route, "mirror", Some(to));
    }
    // The API server hands whole numbers back without a fraction: written so, they compare equal.
    let points = share.basis_points();
    let value = if points.is_multiple_of(100) {
        json!(points / 100)
    } else {
        json!(f64::from(points) / 100.0)
    };
    put(route, "mirrorPercentage", Some(json!({"value": value})));
    Ok(())
}

/// A copy of a route for the requests among its own that carry a mark.
fn audience_route(route: &Value, sides: &Sides, marks: &[Mark]) -> Result<Value, String> {
    let mut copy = route.clone();
    set_mirror(&mut copy, sides, Share::ZERO)?;
    let mut to = destinations(route)
        .first()
        .cloned()
        .ok_or("the route has no destination")?;
    sides.point(member(&mut to, "destination"), Arm::Candidate);
    put(&mut to, "weight", None);
    put(&mut copy, "route", Some(json!([to])));
    let own = route["match"]
        .as_array()
        .filter(|own| !own.is_empty())
        .cloned()
        .unwrap_or_else(|| vec![json!({})]);
    let mut matches = Vec::new();
    for one in &own {
        for mark in marks {
            matches.push(marked(one, mark)?);
        }
    }
    put(&mut copy, "match", Some(Value::Array(matches)));
    Ok(copy)
}

fn marked(one: &Value, mark: &Mark) -> Result<Value, String> {
    let (name, test) = match mark {
        Mark::Header { name, value } => (name.clone(), json!({"exact": value})),
        Mark::Cookie { name, value } => (
            "cookie".to_owned(),
            json!({"regex": audience::cookie_pattern(name, value)}),
        ),
    };
    let mut copy = one.clone();
    let headers = map(member(&mut copy, "headers"));
    if headers.keys().any(|other| other.eq_ignore_ascii_case(&name)) {
        return Err(format!(
            "an HTTP route matches header `{name}` already, which an audience cannot share"
        ));
    }
    headers.insert(name, test);
    // A match that has a name is told by it in telemetry; two of one name are refused by nobody and understood by nobody.
    put(&mut copy, "name", None);
    Ok(copy)
}
