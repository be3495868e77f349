//! What the platform itself says about a site, asked without the resource manager.

use super::AppService;
use super::routing;
use super::swap::Phase;

/// A site at this instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub slots: Vec<SlotStanding>,
    /// A swap is under way or paused.
    pub phase: Option<Phase>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SlotStanding {
    pub slot: String,
    pub host_name: String,
    /// What it runs, without the `DOCKER|` in front.
    pub image: Option<String>,
    pub package: Option<String>,
    /// The percentage of new clients that come here by the rules.
    pub share: f64,
    /// The percentage of the pinned population that comes here.
    pub pinned: f64,
    pub instances: u32,
    /// Instances that answer requests.
    pub ready: u32,
    pub tags: std::collections::BTreeMap<String, String>,
}

impl Standing {
    pub fn slot(&self, name: &str) -> Option<&SlotStanding> {
        self.slots.iter().find(|slot| slot.slot.eq_ignore_ascii_case(name))
    }

    /// The percentage of new clients that reach this image or package by the rules.
    pub fn share_of(&self, content: &str) -> f64 {
        let serves =
            |slot: &&SlotStanding| slot.image.as_deref() == Some(content) || slot.package.as_deref() == Some(content);
        self.slots.iter().filter(serves).map(|slot| slot.share).sum()
    }

    /// The percentage of the pinned population that reaches this image or package.
    pub fn pinned_to(&self, content: &str) -> f64 {
        let serves =
            |slot: &&SlotStanding| slot.image.as_deref() == Some(content) || slot.package.as_deref() == Some(content);
        self.slots.iter().filter(serves).map(|slot| slot.pinned).sum()
    }

    /// The percentage of new clients that are sent where no instance answers.
    pub fn lost(&self) -> f64 {
        self.slots
            .iter()
            .filter(|slot| slot.ready == 0)
            .map(|slot| slot.share)
            .sum()
    }

    /// The percentage of the pinned population that is held at a slot where no instance answers: an outage for those clients, who
    /// are not sent elsewhere until their hour is over.
    pub fn stranded(&self) -> f64 {
        self.slots
            .iter()
            .filter(|slot| slot.ready == 0)
            .map(|slot| slot.pinned)
            .sum()
    }
}

impl AppService {
    /// None where there is no such site.
    pub fn standing(&self, site: &str) -> Option<Standing> {
        let world = self.world.lock();
        let now = world.clock.now();
        let site = world
            .sites
            .values()
            .find(|found| found.address.name.eq_ignore_ascii_case(site))?;
        let shares = routing::shares(site);
        let pinned = site.population.shares();
        let slots = site.slots.values().map(|slot| {
            let instances = u32::try_from(site.instances).unwrap_or(u32::MAX);
            let is_serving = slot.health(world.behaviour(site, slot), now).is_serving();
            SlotStanding {
                slot: slot.name.clone(),
                host_name: slot.host_name.clone(),
                image: slot.image().map(str::to_owned),
                package: slot.package().map(str::to_owned),
                share: shares.get(&slot.name).copied().unwrap_or(0.0),
                pinned: pinned.get(&slot.name).copied().unwrap_or(0.0),
                instances,
                ready: if is_serving { instances } else { 0 },
                tags: slot.tags.clone(),
            }
        });
        Some(Standing {
            slots: slots.collect(),
            phase: site.swap.as_ref().map(|swap| swap.phase),
        })
    }
}
