//! One swap of two slots, step by step.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::behaviour::{Behaviour, Health, START_LIMIT};
use super::site::{Site, Slot, Swapped};
use crate::azure::arm::fault;
use crate::azure::clock::since;

/// How long one warm-up request is waited for.
const PING_LIMIT: Duration = Duration::from_secs(90);
/// How many of them an instance gets.
const PINGS_MAX: u32 = 5;
/// How long routing takes to change over.
const SWITCH: Duration = Duration::from_secs(2);
/// How long the old content takes to be set up in the source slot.
const RECONFIGURE: Duration = Duration::from_secs(5);

/// A swap under way: the content of `source` goes to `destination`, and what was there comes back.
#[derive(Clone, Debug)]
pub struct Swap {
    pub source: String,
    pub destination: String,
    /// None for the first phase of a swap with preview, which nobody can poll.
    pub operation: Option<Uuid>,
    pub phase: Phase,
    pub since: Timestamp,
}

/// Each with the instant it was entered in [`Swap::since`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The source's instances restart with the destination's sticky settings.
    Restarting,
    /// Paused for a look; completed by a swap of the same pair, cancelled by a reset.
    Previewed,
    /// Each instance is sent a request; `pings` have gone unanswered so far.
    WarmingUp { pings: u32 },
    /// Routing changes over.
    Switching,
    /// The old content is set up in the source slot.
    Reconfiguring,
}

/// How a swap ended.
#[derive(Clone, Debug)]
pub enum Ended {
    Swapped,
    /// Everything is as it was before; the status and body for whoever polls.
    Reverted {
        status: u16,
        fault: Value,
    },
}

impl Swap {
    /// Whether it can still be called off: users have not been sent elsewhere yet.
    pub fn can_be_cancelled(&self) -> bool {
        match self.phase {
            Phase::Restarting | Phase::Previewed | Phase::WarmingUp { .. } => true,
            Phase::Switching | Phase::Reconfiguring => false,
        }
    }

    pub fn is_of(&self, source: &str, destination: &str) -> bool {
        self.source.eq_ignore_ascii_case(source) && self.destination.eq_ignore_ascii_case(destination)
    }
}

/// Gives the source's instances the destination's sticky settings, which restarts them.
pub fn begin(site: &mut Site, source: &str, destination: &str, operation: Option<Uuid>, now: Timestamp) {
    let sticky = site.sticky.clone();
    let borrowed = site.slot(destination).map(|slot| slot.sticky_settings(&sticky));
    if let Some(slot) = site.slot_mut(source) {
        slot.borrowed = borrowed;
        slot.restart(true, now);
        slot.touch(now);
    }
    if operation.is_none() {
        prepare(site, source, destination, now);
    }
    site.swap = Some(Swap {
        source: source.to_ascii_lowercase(),
        destination: destination.to_ascii_lowercase(),
        operation,
        phase: Phase::Restarting,
        since: now,
    });
}

fn prepare(site: &mut Site, source: &str, destination: &str, now: Timestamp) {
    for (one, other) in [(source, destination), (destination, source)] {
        if let Some(slot) = site.slot_mut(one) {
            slot.prepared = Some(other.to_ascii_lowercase());
            slot.touch(now);
        }
    }
}

/// Gives the source its own settings back.
pub fn revert(site: &mut Site, swap: &Swap, now: Timestamp) {
    for name in [&swap.source, &swap.destination] {
        if let Some(slot) = site.slot_mut(name) {
            if slot.borrowed.take().is_some() {
                slot.restart(true, now);
            }
            slot.prepared = None;
            slot.touch(now);
        }
    }
    site.swap = None;
}

/// Looks whether the swap's next step is due, and takes it. Some when the swap has ended with it.
pub fn step(site: &mut Site, behaviour: impl Fn(&Site, &Slot) -> Behaviour, now: Timestamp) -> Option<Ended> {
    let swap = site.swap.clone()?;
    let (Some(source), Some(_)) = (site.slot(&swap.source), site.slot(&swap.destination)) else {
        return Some(reverted(site, &swap, now, gone(site, &swap)));
    };
    let does = behaviour(site, source);
    let passed = since(swap.since, now);
    // Of the instances that were started for this swap; the ones before them serve on, which proves nothing.
    let health = if source.is_enabled {
        does.after(since(source.run.began, now))
    } else {
        Health::Down { ends: 0 }
    };
    match swap.phase {
        Phase::Restarting => {
            let is_lost = !source.is_enabled || (!does.comes_up() && passed >= START_LIMIT.min(give_up(does)));
            if is_lost {
                return Some(reverted(site, &swap, now, not_started(site, &swap)));
            }
            // Ready enough to be asked: warming up is what asks.
            let is_up = !matches!(health, Health::Starting | Health::Down { .. });
            if is_up {
                enter(
                    site,
                    if swap.operation.is_some() {
                        Phase::WarmingUp { pings: 0 }
                    } else {
                        Phase::Previewed
                    },
                    now,
                );
            } else if passed >= START_LIMIT {
                return Some(reverted(site, &swap, now, not_started(site, &swap)));
            }
            None
        }
        Phase::Previewed => {
            if swap.operation.is_some() {
                enter(site, Phase::WarmingUp { pings: 0 }, now);
            }
            None
        }
        Phase::WarmingUp { pings } => match health {
            Health::Answering(status) if accepts(site, source, status) => {
                enter(site, Phase::Switching, now);
                None
            }
            // A status that is not wanted stops the swap at once: it is an answer.
            Health::Answering(_) => Some(reverted(site, &swap, now, no_ping(site, &swap))),
            Health::Starting | Health::Silent | Health::Down { .. } if passed < PING_LIMIT => None,
            Health::Starting | Health::Silent | Health::Down { .. } if pings + 1 < PINGS_MAX => {
                enter(site, Phase::WarmingUp { pings: pings + 1 }, now);
                None
            }
            Health::Starting | Health::Silent | Health::Down { .. } => {
                Some(reverted(site, &swap, now, no_ping(site, &swap)))
            }
        },
        Phase::Switching => {
            if passed >= SWITCH {
                switch(site, &swap, now);
                enter(site, Phase::Reconfiguring, now);
            }
            None
        }
        Phase::Reconfiguring => {
            if passed < RECONFIGURE {
                return None;
            }
            site.swap = None;
            Some(Ended::Swapped)
        }
    }
}

fn enter(site: &mut Site, phase: Phase, now: Timestamp) {
    if let Some(swap) = &mut site.swap {
        swap.phase = phase;
        swap.since = now;
    }
}

/// How long a worker that cannot be started is tried for.
fn give_up(behaviour: Behaviour) -> Duration {
    match behaviour {
        // What the platform knows at once it does not wait for.
        Behaviour::Quota => Duration::ZERO,
        _ => Duration::from_secs(90),
    }
}

/// The content of both slots changes place; what is sticky stays.
fn switch(site: &mut Site, swap: &Swap, now: Timestamp) {
    let sticky = site.sticky.clone();
    let pair = (
        site.slots.get_index_of(&swap.source),
        site.slots.get_index_of(&swap.destination),
    );
    let (Some(from), Some(to)) = pair else { return };
    let Ok([source, destination]) = site.slots.get_disjoint_indices_mut([from, to]) else {
        return;
    };
    let (source, destination) = (source.1, destination.1);
    source.borrowed = None;
    destination.exchange_content(source, &sticky);
    // The old content restarts with the source slot's own sticky settings; it came up before.
    source.restart(true, now);
    for slot in [source, destination] {
        slot.prepared = None;
        slot.swapped = Some(Swapped {
            at: now,
            source: swap.source.clone(),
            destination: swap.destination.clone(),
        });
        slot.touch(now);
    }
}

/// Whether a warm-up answer of this status is one that the slot's settings accept.
fn accepts(site: &Site, source: &Slot, status: u16) -> bool {
    match source.setting_in_effect("WEBSITE_SWAP_WARMUP_PING_STATUSES", &site.sticky) {
        Some(list) if !list.trim().is_empty() => {
            list.split([',', ';']).any(|wanted| wanted.trim().parse() == Ok(status))
        }
        _ => true,
    }
}

fn reverted(site: &mut Site, swap: &Swap, now: Timestamp, (status, fault): (u16, Value)) -> Ended {
    revert(site, swap, now);
    Ended::Reverted { status, fault }
}

fn no_ping(site: &Site, swap: &Swap) -> (u16, Value) {
    let message = format!(
        "Cannot swap site slots for site '{}' because the '{}' slot did not respond to http ping.",
        site.address.name, swap.source
    );
    (417, fault("ExpectationFailed", "04070", message))
}

fn not_started(site: &Site, swap: &Swap) -> (u16, Value) {
    let message = format!(
        "Cannot swap slots for site '{}' because the worker process for '{}' slot could not be started.",
        site.address.name, swap.source
    );
    (400, fault("BadRequest", "04071", message))
}

fn gone(site: &Site, swap: &Swap) -> (u16, Value) {
    let message = format!(
        "Cannot swap slots for site '{}' because the '{}' slot does not exist any more.",
        site.address.name, swap.source
    );
    (409, fault("Conflict", "01020", message))
}

/// What whoever polls a swap is told once somebody has called it off.
pub fn cancelled(site: &Site, swap: &Swap) -> Value {
    let message = format!(
        "The swap of slots '{}' and '{}' of site '{}' was cancelled.",
        swap.source, swap.destination, site.address.name
    );
    fault("Conflict", "01021", message)
}
