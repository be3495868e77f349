//! Which slot a request to production reaches: ramp-up rules, and clients that are pinned for an hour.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::site::{PRODUCTION, Site};

/// How long a client stays where it was first sent, unless it deletes the cookie.
pub const PINNED: Duration = Duration::from_secs(3600);

/// The cookie that pins.
pub const COOKIE: &str = "x-ms-routing-name";

/// A rule of `experiments.rampUpRules`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub action_host_name: String,
    #[serde(default)]
    pub reroute_percentage: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_step: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_interval_in_minutes: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_reroute_percentage: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_reroute_percentage: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_decision_callback_url: Option<String>,
}

/// The rules of production's configuration.
pub fn rules(site: &Site) -> Vec<Rule> {
    let written = site
        .production()
        .config
        .get("experiments")
        .and_then(|all| all.get("rampUpRules"));
    match written {
        Some(written) => serde_json::from_value(written.clone()).unwrap_or_default(),
        None => Vec::new(),
    }
}

/// Reads `experiments` as it was sent for a slot of this site. The error is a message for the client.
pub fn checked(site: &Site, slot: &str, experiments: &Value) -> Result<Value, String> {
    if experiments.is_null() {
        return Ok(serde_json::json!({"rampUpRules": []}));
    }
    let written = experiments.get("rampUpRules").cloned().unwrap_or_default();
    let written = if written.is_null() {
        Value::Array(Vec::new())
    } else {
        written
    };
    let rules: Vec<Rule> = serde_json::from_value(written)
        .map_err(|error| format!("The parameter rampUpRules has an invalid value: {error}."))?;
    if slot != PRODUCTION && !rules.is_empty() {
        return Err(
            "The parameter rampUpRules has an invalid value: traffic is routed from the production slot.".into(),
        );
    }
    let mut sum = 0.0;
    for (index, rule) in rules.iter().enumerate() {
        let percentage = rule.reroute_percentage;
        if !(0.0..=100.0).contains(&percentage) {
            return Err(format!(
                "The parameter reroutePercentage has an invalid value: {percentage} is not between 0 and 100."
            ));
        }
        sum += percentage;
        if rule.name.is_empty() || rules.iter().take(index).any(|other| other.name == rule.name) {
            return Err(format!(
                "The parameter name has an invalid value: '{}' is empty or not unique.",
                rule.name
            ));
        }
        let is_known = site
            .slots
            .values()
            .any(|slot| !slot.is_production() && slot.host_name.eq_ignore_ascii_case(&rule.action_host_name));
        if !is_known {
            return Err(format!(
                "The parameter actionHostName has an invalid value: '{}' is not the host name of a slot of this site.",
                rule.action_host_name
            ));
        }
    }
    // Sums of doubles that are shares of a hundred: a billionth over it is rounding.
    if sum > 100.0 + 1e-9 {
        return Err(format!(
            "The parameter rampUpRules has an invalid value: the percentages add up to {sum}, which is more than 100."
        ));
    }
    Ok(serde_json::json!({"rampUpRules": rules}))
}

/// The percentage of unpinned requests for each slot that gets any, production's rest included.
pub fn shares(site: &Site) -> BTreeMap<String, f64> {
    let mut shares = BTreeMap::new();
    let mut rest = 100.0;
    for rule in rules(site) {
        let slot = site
            .slots
            .values()
            .find(|slot| slot.host_name.eq_ignore_ascii_case(&rule.action_host_name));
        // A rule whose slot is gone sends nobody anywhere.
        let Some(slot) = slot else { continue };
        *shares.entry(slot.name.clone()).or_insert(0.0) += rule.reroute_percentage;
        rest -= rule.reroute_percentage;
    }
    *shares.entry(PRODUCTION.to_owned()).or_insert(0.0) += rest.max(0.0);
    shares.retain(|_, share| *share > 0.0);
    shares
}

/// Which slot the `position`-th part of all requests (0 to 1) is sent to.
pub fn drawn(shares: &BTreeMap<String, f64>, position: f64) -> String {
    let mut below = 0.0;
    for (slot, share) in shares {
        if slot == PRODUCTION {
            continue;
        }
        below += share / 100.0;
        if position < below {
            return slot.clone();
        }
    }
    PRODUCTION.to_owned()
}

/// The next draw, between 0 and 1: the golden ratio's multiples fill the interval evenly, however many are drawn.
fn next(drawn: &mut u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a draw, not a sum")]
    let position = (*drawn as f64 * 0.618_033_988_749_895).fract();
    *drawn += 1;
    position
}

/// Whether a rule moves by itself.
pub fn is_ramping(site: &Site) -> bool {
    let is_moving = |rule: &Rule| rule.change_step.is_some() && rule.change_interval_in_minutes.is_some();
    rules(site).iter().any(is_moving)
}

/// Moves the percentages of rules that move by themselves.
pub fn ramp(site: &mut Site, before: Timestamp, now: Timestamp) {
    let mut rules = rules(site);
    let mut is_moved = false;
    for rule in &mut rules {
        let (Some(step), Some(minutes @ 1..)) = (rule.change_step, rule.change_interval_in_minutes) else {
            continue;
        };
        let interval = i64::from(minutes) * 60;
        let steps = now.as_second().div_euclid(interval) - before.as_second().div_euclid(interval);
        for _ in 0..steps {
            let low = rule.min_reroute_percentage.unwrap_or(0.0);
            let high = rule.max_reroute_percentage.unwrap_or(100.0);
            let moved = (rule.reroute_percentage + step).clamp(low.min(high), high.max(low));
            is_moved |= moved != rule.reroute_percentage;
            rule.reroute_percentage = moved;
        }
    }
    if is_moved {
        let rules = serde_json::json!({"rampUpRules": rules});
        let production = site.production_mut();
        production.config.insert("experiments".into(), rules);
        production.touch(now);
    }
}

/// Clients that call again and again and keep their cookies.
#[derive(Debug, Default)]
pub struct Population {
    clients: Vec<Option<Pin>>,
    drawn: u64,
    /// When the next pin ends; none until everybody has called.
    next_end: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Pin {
    slot: String,
    until: Timestamp,
}

impl Population {
    pub fn of(clients: usize) -> Population {
        Population {
            clients: vec![None; clients],
            drawn: 0,
            next_end: None,
        }
    }

    /// Every client calls once. A pin holds until its hour is over, whatever has become of the rules.
    pub fn call(&mut self, shares: &BTreeMap<String, f64>, now: Timestamp) {
        if self.next_end.is_some_and(|end| now < end) {
            return;
        }
        for client in &mut self.clients {
            if client.as_ref().is_some_and(|pin| pin.until > now) {
                continue;
            }
            let slot = drawn(shares, next(&mut self.drawn));
            *client = now.checked_add(PINNED).ok().map(|until| Pin { slot, until });
        }
        self.next_end = self.clients.iter().flatten().map(|pin| pin.until).min();
    }

    /// When the next pin ends; none where nobody is pinned.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.next_end
    }

    /// Forgets the pins to a slot that is gone: its cookies mean nothing any more.
    pub fn forget(&mut self, slot: &str) {
        for client in &mut self.clients {
            if client.as_ref().is_some_and(|pin| pin.slot == slot) {
                *client = None;
            }
        }
        self.next_end = None;
    }

    /// Where a client that nobody has pinned goes.
    pub fn draw(&mut self, shares: &BTreeMap<String, f64>) -> String {
        drawn(shares, next(&mut self.drawn))
    }

    /// The percentage of clients at each slot; none where there are no clients.
    pub fn shares(&self) -> BTreeMap<String, f64> {
        let mut shares = BTreeMap::new();
        for pin in self.clients.iter().flatten() {
            #[expect(clippy::cast_precision_loss, reason = "populations are small")]
            let part = 100.0 / self.clients.len() as f64;
            *shares.entry(pin.slot.clone()).or_insert(0.0) += part;
        }
        shares
    }
}
