//! The rules of a Gateway API HTTPRoute: which of them send to the workload, the split that they show, and how they come to show
//! another one. Pure: from JSON to JSON.
//!
//! Weights go up to 1,000,000 each and count relative to their sum. Of the rules that match a request the one with the most header
//! matches wins before their order counts, so a copy of a rule with one more header match is an audience's.

use meridian_workflows::share::Share;
use serde_json::{Map, Value, json};

use super::audience::{self, Mark};
use super::object::{Memories, identity, list, member, memory, put, remember};
use super::service::counterpart;
use super::weights::Weights;
use super::{AUDIENCE_MEMORY, FOUND_MEMORY, Split};

/// Sums of the two weights: the first that holds a share exactly.
const TOTALS: &[u32] = &[100, 1000, 10_000];
/// The API's bound for the matches of one rule.
const MATCHES_MAX: usize = 64;

/// Which references of a route are whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides {
    pub workload: String,
    /// The route's namespace: a reference to another one's Service of the same name is somebody else's.
    pub namespace: String,
    /// The name of the one rule; none: every rule that sends to the baseline.
    pub rule: Option<String>,
    /// Services.
    pub baseline: String,
    pub candidate: String,
    /// The header that names a request's tenant.
    pub tenant_header: String,
}

impl Sides {
    /// The sides of this route: the baseline's Service is the one that its rules send to where the settings name none.
    ///
    /// *Errors*: where that is not one.
    pub fn of(
        route: &Value,
        workload: &str,
        suffix: &str,
        rule: Option<&str>,
        service: Option<&str>,
    ) -> Result<Sides, String> {
        let namespace = route["metadata"]["namespace"].as_str().unwrap_or_default();
        let baseline = match service {
            Some(service) => service.to_owned(),
            None => only_service(route, namespace, suffix, rule)?,
        };
        Ok(Sides {
            workload: workload.to_owned(),
            namespace: namespace.to_owned(),
            tenant_header: String::new(),
            rule: rule.map(str::to_owned),
            candidate: counterpart(&baseline, suffix),
            baseline,
        })
    }

    fn is_managed(&self, rule: &Value) -> bool {
        match &self.rule {
            Some(name) => rule["name"] == json!(name),
            None => refs(rule)
                .iter()
                .any(|one| self.is_to(one, &self.baseline) || self.is_to(one, &self.candidate)),
        }
    }

    fn is_to(&self, reference: &Value, service: &str) -> bool {
        is_to(reference, service, &self.namespace)
    }

    fn is_to_candidate(&self, reference: &Value) -> bool {
        self.is_to(reference, &self.candidate)
    }
}

fn only_service(route: &Value, namespace: &str, suffix: &str, rule: Option<&str>) -> Result<String, String> {
    let rules = list(route, &["spec", "rules"])?;
    let asked = rules
        .iter()
        .filter(|one| rule.is_none_or(|name| one["name"] == json!(name)));
    let mut names: Vec<&str> = asked
        .flat_map(refs)
        .filter_map(|one| one["name"].as_str().filter(|name| is_to(one, name, namespace)))
        .collect();
    names.sort_unstable();
    names.dedup();
    let own: Vec<String> = names.iter().map(|name| counterpart(name, suffix)).collect();
    // Where the candidate stands in it already, its name says whose it is, whoever came in beside.
    if let Some((served, _)) = names.iter().zip(&own).find(|(_, own)| names.contains(&own.as_str())) {
        return Ok((*served).to_owned());
    }
    match names.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err("no rule sends to a Service of this namespace".to_owned()),
        several => Err(format!(
            "its rules send to several Services ({}): name one as `traffic.httpRoute.service`",
            several.join(", ")
        )),
    }
}

/// The split that a route shows; none of the candidate's where it is not in it at all.
pub struct Shown {
    pub split: Split,
    /// Whether the candidate stands in it.
    pub is_prepared: bool,
}

/// Reads the split. Where rules differ it is the largest share: what they should be is for [`write`] to make true.
pub fn read(route: &Value, sides: &Sides) -> Result<Shown, String> {
    let audience = memory(route, AUDIENCE_MEMORY, &sides.workload);
    let audience = audience
        .and_then(|value| serde_json::from_value(value).ok())
        .unwrap_or_default();
    let mut split = Split {
        audience,
        ..Split::none()
    };
    let mut is_prepared = !split.audience.is_empty();
    for rule in managed(route, sides)? {
        if !split.audience.is_empty() && is_audience_rule(rule, sides) {
            continue;
        }
        let weights = Weights {
            candidate: weight_of(rule, sides, &sides.candidate)?,
            baseline: weight_of(rule, sides, &sides.baseline)?,
        };
        is_prepared |= refs(rule).iter().any(|one| sides.is_to_candidate(one));
        split.share = split.share.max(weights.share().unwrap_or(Share::ZERO));
        for mirror in mirrors(rule, sides) {
            is_prepared = true;
            split.mirror = split.mirror.max(mirrored(mirror)?);
        }
    }
    Ok(Shown { split, is_prepared })
}

/// Makes a route show this split, in our own fields alone.
pub fn write(route: &mut Value, sides: &Sides, split: &Split) -> Result<(), String> {
    let marks = audience::marks(&split.audience, &sides.tenant_header)?;
    let before = read(route, sides)?.split.share;
    let mut rules = list(route, &["spec", "rules"])?.to_vec();
    if memory(route, AUDIENCE_MEMORY, &sides.workload).is_some() {
        rules.retain(|rule| !is_audience_rule(rule, sides));
    }
    let found = found(&rules, sides);
    let mut stands = false;
    let mut written = Vec::with_capacity(rules.len());
    for mut rule in rules {
        if sides.is_managed(&rule) {
            stands |= set_weights(&mut rule, sides, split.share)?;
            set_mirror(&mut rule, sides, split.mirror)?;
            if !marks.is_empty() {
                written.push(audience_rule(&rule, sides, &marks)?);
            }
        }
        written.push(rule);
    }
    *member(member(route, "spec"), "rules") = Value::Array(written);
    // What was there before the candidate got anything is remembered once, for the day it leaves.
    if stands && before.is_zero() && memory(route, FOUND_MEMORY, &sides.workload).is_none() {
        remember(route, FOUND_MEMORY, &sides.workload, Some(&found));
    }
    let audience = (!split.audience.is_empty()).then(|| json!(split.audience));
    remember(route, AUDIENCE_MEMORY, &sides.workload, audience.as_ref());
    Ok(())
}

/// The most that the candidate gets of a route of any shape: what others have put beside it is counted as the baseline's.
pub fn exposure(route: &Value, sides: &Sides) -> Split {
    let audience = memory(route, AUDIENCE_MEMORY, &sides.workload);
    let audience = audience.and_then(|value| serde_json::from_value(value).ok());
    let mut split = Split {
        audience: audience.unwrap_or_default(),
        ..Split::none()
    };
    for rule in route["spec"]["rules"].as_array().into_iter().flatten() {
        if split.audience.is_empty() || !is_audience_rule(rule, sides) {
            let (ours, theirs): (Vec<&Value>, Vec<&Value>) =
                refs(rule).iter().partition(|one| sides.is_to_candidate(one));
            let sum = |of: Vec<&Value>| {
                of.into_iter()
                    .fold(0_u32, |sum, one| sum.saturating_add(weight(one).unwrap_or(1)))
            };
            let weights = Weights {
                candidate: sum(ours),
                baseline: sum(theirs),
            };
            split.share = split.share.max(weights.share().unwrap_or(Share::ZERO));
        }
        let mirrors = mirrors(rule, sides).into_iter();
        let most = mirrors.map(|mirror| mirrored(mirror).unwrap_or(Share::FULL)).max();
        split.mirror = split.mirror.max(most.unwrap_or(Share::ZERO));
    }
    split
}

/// Leaves the candidate nothing, whatever shape the route has.
pub fn clear(route: &mut Value, sides: &Sides) {
    let mut whole = route.clone();
    if write(&mut whole, sides, &Split::none()).is_ok() {
        *route = whole;
    } else {
        take_away(route, sides);
    }
}

/// Gives the candidate's part to the baseline in every rule that names it, and touches nothing else.
fn take_away(route: &mut Value, sides: &Sides) {
    let has_audience = memory(route, AUDIENCE_MEMORY, &sides.workload).is_some();
    if let Some(Value::Array(rules)) = route.get_mut("spec").and_then(|spec| spec.get_mut("rules")) {
        if has_audience {
            rules.retain(|rule| !is_audience_rule(rule, sides));
        }
        for rule in rules {
            if let Some(Value::Array(all)) = rule.get_mut("backendRefs") {
                give_back(all, sides);
            }
            unmirror(rule, sides);
        }
    }
    remember(route, AUDIENCE_MEMORY, &sides.workload, None);
}

fn give_back(all: &mut Vec<Value>, sides: &Sides) {
    let Some(at) = all.iter().position(|one| sides.is_to_candidate(one)) else {
        return;
    };
    let mut given = 0_u32;
    for one in all.iter_mut().filter(|one| sides.is_to_candidate(one)) {
        given = given.saturating_add(weight(one).unwrap_or(1));
        put(one, "weight", Some(json!(0)));
    }
    match all.iter_mut().find(|one| sides.is_to(one, &sides.baseline)) {
        Some(one) => {
            let sum = weight(one).unwrap_or(1).saturating_add(given);
            put(one, "weight", Some(json!(sum)));
        }
        None => {
            let mut copy = all.get(at).cloned().unwrap_or_default();
            put(&mut copy, "name", Some(json!(sides.baseline)));
            put(&mut copy, "weight", Some(json!(given)));
            all.insert(at, copy);
        }
    }
}

/// Takes the candidate out of a route and leaves it as it was found; in one that others have bent, their part stays as it is.
pub fn restore(route: &mut Value, sides: &Sides) {
    let mut whole = route.clone();
    if restore_all(&mut whole, sides).is_ok() {
        *route = whole;
    } else {
        take_away(route, sides);
        for rule in route["spec"]["rules"].as_array_mut().into_iter().flatten() {
            if let Some(Value::Array(all)) = rule.get_mut("backendRefs") {
                all.retain(|one| !sides.is_to_candidate(one));
            }
        }
    }
    remember(route, FOUND_MEMORY, &sides.workload, None);
    remember(route, AUDIENCE_MEMORY, &sides.workload, None);
}

fn restore_all(route: &mut Value, sides: &Sides) -> Result<(), String> {
    let mut memories = Memories::of(memory(route, FOUND_MEMORY, &sides.workload));
    if read(route, sides)?.is_prepared {
        write(route, sides, &Split::none())?;
    }
    let mut rules = list(route, &["spec", "rules"])?.to_vec();
    for rule in rules.iter_mut().filter(|rule| sides.is_managed(rule)) {
        let before = memories.take(&identity(rule, "matches"));
        restore_weights(rule, sides, &before);
    }
    *member(member(route, "spec"), "rules") = Value::Array(rules);
    Ok(())
}

/// Gives a rule the weights back that it had, and takes the candidate out where it was not in.
fn restore_weights(rule: &mut Value, sides: &Sides, before: &Value) {
    let Some(Value::Array(all)) = rule.get_mut("backendRefs") else {
        return;
    };
    if !all.iter().any(|one| sides.is_to_candidate(one)) {
        return;
    }
    all.retain(|one| before.get("candidate").is_some() || !sides.is_to_candidate(one));
    for (side, service) in [("baseline", &sides.baseline), ("candidate", &sides.candidate)] {
        let weight = before.get(side).filter(|weight| !weight.is_null());
        for one in all.iter_mut().filter(|one| sides.is_to(one, service)) {
            put(one, "weight", weight.cloned());
        }
    }
}

/// The rules that are ours to change; each sends to the two arms and to nothing else.
fn managed<'a>(route: &'a Value, sides: &Sides) -> Result<Vec<&'a Value>, String> {
    let rules = list(route, &["spec", "rules"])?;
    let managed: Vec<&Value> = rules.iter().filter(|rule| sides.is_managed(rule)).collect();
    if managed.is_empty() {
        return Err(match &sides.rule {
            Some(name) => format!("it has no rule named `{name}`"),
            None => format!("no rule sends to Service `{}`", sides.baseline),
        });
    }
    for rule in &managed {
        let other = refs(rule)
            .iter()
            .find(|one| !sides.is_to(one, &sides.baseline) && !sides.is_to_candidate(one));
        if let Some(other) = other {
            let name = other["name"].as_str().unwrap_or("(unnamed)");
            return Err(format!(
                "`backendRefs` of a rule sends to `{name}` beside Service `{}`: its share could not be kept",
                sides.baseline
            ));
        }
        if refs(rule).is_empty() {
            return Err("the rule has no `backendRefs`".to_owned());
        }
    }
    Ok(managed)
}

/// Weights as they are before the candidate comes in, a rule each.
fn found(rules: &[Value], sides: &Sides) -> Value {
    let before = |rule: &Value| {
        let mut before = Map::new();
        before.insert("of".to_owned(), json!(identity(rule, "matches")));
        for (side, service) in [("baseline", &sides.baseline), ("candidate", &sides.candidate)] {
            if let Some(one) = refs(rule).iter().find(|one| sides.is_to(one, service)) {
                before.insert(side.to_owned(), one.get("weight").cloned().unwrap_or(Value::Null));
            }
        }
        Value::Object(before)
    };
    rules.iter().filter(|rule| sides.is_managed(rule)).map(before).collect()
}

fn refs(rule: &Value) -> &[Value] {
    rule["backendRefs"].as_array().map_or(&[], Vec::as_slice)
}

/// Whether a reference is to this Service of the route's own namespace.
fn is_to(reference: &Value, service: &str, namespace: &str) -> bool {
    let is = |field: &str, default: &str| {
        reference
            .get(field)
            .is_none_or(|value| value.as_str().unwrap_or(default) == default)
    };
    reference["name"] == json!(service) && is("group", "") && is("kind", "Service") && is("namespace", namespace)
}

fn weight_of(rule: &Value, sides: &Sides, service: &str) -> Result<u32, String> {
    let mut sum = 0_u32;
    for one in refs(rule).iter().filter(|one| sides.is_to(one, service)) {
        let weight =
            weight(one).ok_or_else(|| format!("the weight of `{service}` is no number that weights can have"))?;
        sum = sum.saturating_add(weight);
    }
    Ok(sum)
}

fn weight(reference: &Value) -> Option<u32> {
    // The API's default.
    let weight = reference.get("weight").map_or(Some(1), Value::as_u64);
    weight.and_then(|weight| u32::try_from(weight).ok())
}

/// Sets both weights; says whether the candidate stands in the rule then.
fn set_weights(rule: &mut Value, sides: &Sides, share: Share) -> Result<bool, String> {
    let mut all = refs(rule).to_vec();
    let has = |all: &[Value], service: &str| all.iter().any(|one| sides.is_to(one, service));
    if share.is_zero() && !has(&all, &sides.candidate) {
        return Ok(false);
    }
    for (missing, like) in [(&sides.candidate, &sides.baseline), (&sides.baseline, &sides.candidate)] {
        if !has(&all, missing) {
            let at = all
                .iter()
                .position(|one| sides.is_to(one, like))
                .ok_or("the rule has no `backendRefs`")?;
            let mut copy = all.get(at).cloned().unwrap_or_default();
            put(&mut copy, "name", Some(json!(missing)));
            let at = if missing == &sides.candidate { at + 1 } else { at };
            all.insert(at, copy);
        }
    }
    let weights = Weights::of(share, TOTALS).ok_or_else(|| format!("{share} is too fine for its weights"))?;
    for (service, weight) in [
        (&sides.candidate, weights.candidate),
        (&sides.baseline, weights.baseline),
    ] {
        let mut left = weight;
        for one in all.iter_mut().filter(|one| sides.is_to(one, service)) {
            // A Service that is listed twice (two ports) keeps its sum.
            put(one, "weight", Some(json!(left)));
            left = 0;
        }
    }
    *member(rule, "backendRefs") = Value::Array(all);
    Ok(true)
}

/// The filters that mirror to the candidate.
fn mirrors<'a>(rule: &'a Value, sides: &Sides) -> Vec<&'a Value> {
    let filters = rule["filters"].as_array();
    filters
        .into_iter()
        .flatten()
        .filter(|filter| is_mirror(filter, sides))
        .collect()
}

fn is_mirror(filter: &Value, sides: &Sides) -> bool {
    filter["type"] == "RequestMirror" && sides.is_to_candidate(&filter["requestMirror"]["backendRef"])
}

/// The share that a mirror takes: all of it where nothing is said.
fn mirrored(filter: &Value) -> Result<Share, String> {
    let mirror = &filter["requestMirror"];
    let points = match (mirror.get("percent"), mirror.get("fraction")) {
        (Some(percent), _) => percent.as_u64().map(|percent| percent * 100),
        (None, Some(fraction)) => {
            let of = fraction
                .get("denominator")
                .map_or(Some(100), Value::as_u64)
                .filter(|of| *of > 0);
            let part = fraction["numerator"].as_u64();
            part.zip(of)
                .map(|(part, of)| (part.saturating_mul(10_000)).div_ceil(of))
        }
        (None, None) => Some(10_000),
    };
    let share = points.and_then(|points| Share::from_basis_points(u16::try_from(points).ok()?).ok());
    share.ok_or_else(|| "`requestMirror` has a percentage that is none".to_owned())
}

/// Takes the candidate's mirror away, and the list with it where nothing else stood in it.
fn unmirror(rule: &mut Value, sides: &Sides) {
    let Some(Value::Array(filters)) = rule.get_mut("filters") else {
        return;
    };
    let before = filters.len();
    filters.retain(|filter| !is_mirror(filter, sides));
    if filters.is_empty() && before > 0 {
        put(rule, "filters", None);
    }
}

fn set_mirror(rule: &mut Value, sides: &Sides, share: Share) -> Result<(), String> {
    if share.is_zero() {
        unmirror(rule, sides);
        return Ok(());
    }
    let mut filters = rule["filters"].as_array().cloned().unwrap_or_default();
    if let Some(mirror) = filters.iter_mut().find(|filter| is_mirror(filter, sides)) {
        set_fraction(member(mirror, "requestMirror"), share);
    } else {
        let at = refs(rule)
            .iter()
            .find(|one| sides.is_to(one, &sides.baseline) || sides.is_to_candidate(one));
        let mut to = at.cloned().ok_or("the rule has no `backendRefs`")?;
        // Answers of a mirror reach nobody, so nothing is to be done to them either.
        for field in ["weight", "filters"] {
            put(&mut to, field, None);
        }
        put(&mut to, "name", Some(json!(sides.candidate)));
        let mut mirror = json!({"backendRef": to});
        set_fraction(&mut mirror, share);
        filters.push(json!({"type": "RequestMirror", "requestMirror": mirror}));
    }
    put(rule, "filters", Some(Value::Array(filters)));
    Ok(())
}

fn set_fraction(mirror: &mut Value, share: Share) {
    put(mirror, "percent", None);
    put(mirror, "fraction", None);
    let points = share.basis_points();
    if share.is_full() {
        return;
    }
    if points.is_multiple_of(100) {
        put(mirror, "percent", Some(json!(points / 100)));
    } else {
        put(
            mirror,
            "fraction",
            Some(json!({"numerator": points, "denominator": 10_000})),
        );
    }
}

/// Whether a rule is one that an audience brought: it sends to the candidate alone.
fn is_audience_rule(rule: &Value, sides: &Sides) -> bool {
    let refs = refs(rule);
    !refs.is_empty() && refs.iter().all(|one| sides.is_to_candidate(one))
}

/// A copy of a rule for the requests among its own that carry a mark.
fn audience_rule(rule: &Value, sides: &Sides, marks: &[Mark]) -> Result<Value, String> {
    let mut copy = rule.clone();
    put(&mut copy, "name", None);
    let like = refs(rule)
        .iter()
        .find(|one| sides.is_to_candidate(one) || sides.is_to(one, &sides.baseline));
    let mut to = like.cloned().ok_or("the rule has no `backendRefs`")?;
    put(&mut to, "name", Some(json!(sides.candidate)));
    put(&mut to, "weight", Some(json!(1)));
    put(&mut copy, "backendRefs", Some(json!([to])));
    unmirror(&mut copy, sides);
    let own = rule["matches"]
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
    if matches.len() > MATCHES_MAX {
        return Err(format!(
            "the audience comes to {} matches in one rule, at most {MATCHES_MAX} are possible",
            matches.len()
        ));
    }
    put(&mut copy, "matches", Some(Value::Array(matches)));
    Ok(copy)
}

fn marked(one: &Value, mark: &Mark) -> Result<Value, String> {
    let (kind, name, value) = match mark {
        Mark::Header { name, value } => ("Exact", name.clone(), value.clone()),
        Mark::Cookie { name, value } => (
            "RegularExpression",
            "Cookie".to_owned(),
            audience::cookie_pattern(name, value),
        ),
    };
    let mut headers = one["headers"].as_array().cloned().unwrap_or_default();
    if headers.iter().any(|header| {
        header["name"]
            .as_str()
            .is_some_and(|other| other.eq_ignore_ascii_case(&name))
    }) {
        return Err(format!(
            "a rule matches header `{name}` already, which an audience cannot share"
        ));
    }
    headers.push(json!({"type": kind, "name": name, "value": value}));
    let mut copy = one.clone();
    put(&mut copy, "headers", Some(Value::Array(headers)));
    Ok(copy)
}
