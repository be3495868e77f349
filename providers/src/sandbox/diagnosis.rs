//! Why a region is not yet as ordered, in the words that an operator needs at 3 a.m.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::sandbox::deployment::Deployment;
use crate::sandbox::instance::{Stage, Vitals};
use crate::sandbox::options::Timings;
use crate::sandbox::proxy::Routes;
use crate::sandbox::quantity::{Percent, Span};
use crate::sandbox::record::Record;

/// How far a region is with its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum Standing {
    /// Everything is as ordered: weights, capacity, and nothing left to retire.
    Settled,
    /// On its way.
    Moving {
        /// What is being waited for.
        why: String,
    },
    /// It will not get there by itself.
    Stuck {
        /// What is wrong.
        why: String,
    },
}

/// Crashes after which a version counts as crash-looping.
const CRASHES_MIN: u64 = 2;

/// How far the region is, judged on its instances and weights of this moment.
pub fn standing(record: &Record, routes: &Routes, timings: &Timings) -> Standing {
    let needed = record.desired.needed();
    let troubles: Vec<Standing> = needed
        .filter_map(|version| capacity(version, record, routes, timings))
        .collect();
    if let Some(stuck) = troubles
        .iter()
        .find(|trouble| matches!(trouble, Standing::Stuck { .. }))
    {
        return stuck.clone();
    }
    if !record.is_shifted() {
        let moving = || Standing::Moving {
            why: format!("the weights are moving to {}", shares_of(record)),
        };
        return shift_blocked(record, routes, timings).unwrap_or_else(moving);
    }
    if let Some(moving) = troubles.into_iter().next() {
        return moving;
    }
    let is_wanted = |version: &String| record.desired.versions().any(|wanted| wanted == version);
    let leftover = routes.deployments().keys().find(|version| !is_wanted(version));
    match leftover {
        Some(version) => Standing::Moving {
            why: format!("{version} has no traffic any more, drains and stops"),
        },
        None => Standing::Settled,
    }
}

/// What keeps the weights from moving as ordered: a version gets weight only once it has the capacity for it.
///
/// Lowering the candidate needs one ready instance of the primary and nothing else, so that a way back stays open.
pub fn shift_blocked(record: &Record, routes: &Routes, timings: &Timings) -> Option<Standing> {
    let desired = &record.desired;
    if desired.share(&desired.primary) > record.weight(&desired.primary) {
        let ready = routes
            .deployment(&desired.primary)
            .map_or(0, |deployment| deployment.ready());
        if ready == 0 {
            let none = || Standing::Moving {
                why: format!("no instance of {} is ready", desired.primary),
            };
            return capacity(&desired.primary, record, routes, timings).or_else(|| Some(none()));
        }
    }
    let candidate = desired.candidate.as_ref()?;
    let copied = record
        .shadow
        .as_ref()
        .filter(|(version, _)| *version == candidate.version);
    let copied = copied.map_or(Percent::NONE, |(_, part)| *part);
    let rises = candidate.share > record.weight(&candidate.version);
    if !rises && candidate.shadow <= copied {
        return None;
    }
    let faults = record.faults(&candidate.version);
    if let Some(reason) = faults.blocks_rise(candidate.share).filter(|_| rises) {
        let why = format!(
            "the share of {} cannot rise to {}: {reason}",
            candidate.version, candidate.share
        );
        return Some(Standing::Stuck { why });
    }
    capacity(&candidate.version, record, routes, timings)
}

/// What a version lacks to carry traffic; `None` when nothing.
fn capacity(version: &str, record: &Record, routes: &Routes, timings: &Timings) -> Option<Standing> {
    let Some(deployment) = routes.deployment(version) else {
        let faults = record.faults(version);
        return Some(match faults.blocks_start() {
            Some(reason) => Standing::Stuck {
                why: format!("{version} cannot be deployed: {reason}"),
            },
            None => Standing::Moving {
                why: format!("{version} is about to start"),
            },
        });
    };
    if deployment.is_stopping() {
        return Some(Standing::Moving {
            why: format!("{version} still stops and is started again afterwards"),
        });
    }
    let vitals: Vec<(&str, Vitals)> = deployment
        .instances
        .iter()
        .map(|i| (i.name.as_str(), i.vitals()))
        .collect();
    if let Some(why) = vitals
        .iter()
        .find_map(|(name, vitals)| crash_loop(version, name, vitals, timings))
    {
        return Some(Standing::Stuck { why });
    }
    let ready = vitals.iter().filter(|(_, vitals)| vitals.stage == Stage::Ready).count();
    if ready == vitals.len() {
        return None;
    }
    let progress = format!("{ready} of {} instances of {version} are ready", vitals.len());
    let longest = vitals
        .iter()
        .filter_map(|(_, vitals)| vitals.unready_since)
        .map(|since| since.elapsed())
        .max();
    match longest.filter(|longest| *longest >= timings.stuck_after) {
        Some(longest) => Some(Standing::Stuck {
            why: format!(
                "{progress} after {}: /healthz of the others answers 503",
                whole_seconds(longest)
            ),
        }),
        None => Some(Standing::Moving { why: progress }),
    }
}

/// The words for an instance that keeps ending. One that is ready just now still counts: flapping is not being ready.
fn crash_loop(version: &str, name: &str, vitals: &Vitals, timings: &Timings) -> Option<String> {
    let exit = vitals.last_exit.as_ref()?;
    let crashes = crashes(vitals);
    let ago = Duration::try_from(Timestamp::now().duration_since(exit.at)).unwrap_or_default();
    let lately = ago < timings.backoff_max.saturating_mul(2).max(timings.stuck_after);
    (crashes >= CRASHES_MIN && (lately || vitals.stage == Stage::Crashed)).then(|| {
        format!(
            "{version} is in a crash loop: {name} ended {crashes} times, last with exit code {} ({})",
            exit.code, exit.why
        )
    })
}

fn crashes(vitals: &Vitals) -> u64 {
    vitals.restarts + u64::from(vitals.stage == Stage::Crashed)
}

/// Everything remarkable about the region, whether or not it keeps the order from being carried out.
pub fn remarks(record: &Record, routes: &Routes, timings: &Timings) -> Vec<String> {
    let mut remarks = Vec::new();
    match standing(record, routes, timings) {
        Standing::Settled => {}
        Standing::Moving { why } | Standing::Stuck { why } => remarks.push(why),
    }
    for deployment in routes.deployments().values() {
        remarks.extend(ends(deployment));
    }
    for (version, weight) in &record.weights {
        let ready = routes.deployment(version).map_or(0, |deployment| deployment.ready());
        if *weight > Percent::NONE && ready == 0 {
            remarks.push(format!(
                "{version} has a weight of {weight} and no ready instance: its traffic goes to the others"
            ));
        }
    }
    remarks
}

fn ends(deployment: &Deployment) -> impl Iterator<Item = String> {
    deployment.instances.iter().filter_map(|instance| {
        let vitals = instance.vitals();
        let crashes = crashes(&vitals);
        let exit = vitals.last_exit?;
        let times = if crashes == 1 {
            "once".to_owned()
        } else {
            format!("{crashes} times")
        };
        Some(format!(
            "{} ended {times}, last with exit code {}: {}",
            instance.name, exit.code, exit.why
        ))
    })
}

fn shares_of(record: &Record) -> String {
    let shares = record.weights_desired();
    let shares: Vec<String> = shares
        .iter()
        .map(|(version, share)| format!("{version} {share}"))
        .collect();
    match record.shadow_desired() {
        Some((version, part)) => format!("{}, {part} copied to {version}", shares.join(", ")),
        None => shares.join(", "),
    }
}

fn whole_seconds(duration: Duration) -> Span {
    Span::millis(duration.as_secs().max(1) * 1_000)
}
