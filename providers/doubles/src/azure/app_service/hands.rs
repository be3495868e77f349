//! Hands on the platform, for tests: making sites, saying what content does, meddling.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::behaviour::Behaviour;
use super::routing::{Population, Rule};
use super::site::{Address, PRODUCTION, Plan, Site, Slot, Sticky};
use super::{AppService, World};

/// A site to be there from the beginning: production and one slot `staging`, both running the same image.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewSite {
    pub subscription: String,
    pub group: String,
    pub name: String,
    pub location: String,
    /// As in `app,linux,container`.
    pub kind: String,
    /// As in `Standard`.
    pub tier: String,
    pub instances: usize,
    /// Slots beside production.
    pub slots: Vec<String>,
    /// What production and the slots run, without the `DOCKER|` in front; none for a site that runs from packages.
    pub image: Option<String>,
    /// App settings of every slot.
    pub settings: BTreeMap<String, String>,
    /// Names of app settings that stay with their slot.
    pub sticky: Vec<String>,
    /// Clients that call again and again and keep their cookies.
    pub clients: usize,
}

impl NewSite {
    pub fn named(name: &str) -> NewSite {
        NewSite {
            subscription: "00000000-0000-0000-0000-000000000001".into(),
            group: "shop".into(),
            name: name.into(),
            location: "West Europe".into(),
            kind: "app,linux,container".into(),
            tier: "Standard".into(),
            instances: 2,
            slots: vec!["staging".into()],
            image: Some(format!("registry.example.com/{name}:v1")),
            settings: BTreeMap::new(),
            sticky: Vec::new(),
            clients: 1000,
        }
    }
}

impl Default for NewSite {
    fn default() -> NewSite {
        NewSite::named("shop")
    }
}

impl AppService {
    /// Makes a site whose slots are all up.
    pub fn make(&self, new: NewSite) {
        let mut world = self.world.lock();
        let now = world.clock.now();
        let up = now.checked_sub(jiff::SignedDuration::from_hours(1)).unwrap_or(now);
        let slots = std::iter::once(PRODUCTION.to_owned())
            .chain(new.slots.iter().map(|slot| slot.to_ascii_lowercase()))
            .map(|name| {
                let mut slot = Slot::new(&name, Site::host_name(&new.name, &name), up);
                if let Some(image) = &new.image {
                    slot.config
                        .insert("linuxFxVersion".into(), json!(format!("DOCKER|{image}")));
                }
                slot.settings.clone_from(&new.settings);
                (name, slot)
            });
        let site = Site {
            slots: slots.collect(),
            address: Address {
                subscription: new.subscription,
                group: new.group,
                name: new.name,
            },
            location: new.location,
            kind: new.kind,
            plan: Plan {
                name: "plan".into(),
                size: format!("{}1", new.tier.chars().next().unwrap_or('S')),
                tier: new.tier,
            },
            instances: new.instances,
            sticky: Sticky {
                app_settings: new.sticky,
                ..Sticky::default()
            },
            swap: None,
            population: Population::of(new.clients),
        };
        world.sites.insert(site.address.key(), site);
        world.advance(std::time::Duration::ZERO);
    }

    /// From now on content does this: `what` is an image, its tag, a package's address, or `site/slot`.
    pub fn behave(&self, what: &str, behaviour: Behaviour) {
        self.world.lock().behaviours.insert(what.to_owned(), behaviour);
    }

    /// From now on a reset of a swap that is under way is answered 409, as every other operation is.
    pub fn refuse_resets(&self) {
        self.world.lock().is_reset_refused = true;
    }

    /// From now on long-running operations can be polled by `Azure-AsyncOperation` too.
    pub fn offer_async_operations(&self) {
        self.world.lock().has_async_operations = true;
    }

    /// Somebody else writes these rules into production's configuration.
    pub fn meddle_with_rules(&self, site: &str, rules: &[Rule]) {
        self.meddle(site, |site, now| {
            let production = site.production_mut();
            production
                .config
                .insert("experiments".into(), json!({"rampUpRules": rules}));
            production.touch(now);
        });
    }

    /// Somebody else stops a slot.
    pub fn stop(&self, site: &str, slot: &str) {
        self.meddle(site, |site, now| {
            if let Some(slot) = site.slot_mut(slot) {
                slot.is_enabled = false;
                slot.touch(now);
            }
        });
    }

    /// Somebody else deletes a slot.
    pub fn delete_slot(&self, site: &str, slot: &str) {
        self.meddle(site, |site, _| {
            site.remove_slot(slot);
        });
    }

    /// Turns a slot's site authentication on or off.
    pub fn authenticate(&self, site: &str, slot: &str, is_on: bool) {
        self.meddle(site, |site, now| {
            if let Some(slot) = site.slot_mut(slot) {
                slot.auth.insert("platform".into(), json!({"enabled": is_on}));
                slot.touch(now);
            }
        });
    }

    /// Sets app settings of one slot.
    pub fn set(&self, site: &str, slot: &str, settings: &[(&str, &str)]) {
        self.meddle(site, |site, now| {
            if let Some(slot) = site.slot_mut(slot) {
                let settings = settings
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                slot.settings.extend(settings);
                slot.touch(now);
            }
        });
    }

    /// Sets a member of one slot's `SiteConfig`, as in `autoSwapSlotName`.
    pub fn configure(&self, site: &str, slot: &str, name: &str, value: serde_json::Value) {
        self.meddle(site, |site, now| {
            if let Some(slot) = site.slot_mut(slot) {
                slot.config.insert(name.to_owned(), value);
                slot.touch(now);
            }
        });
    }

    /// Somebody else, another engine perhaps, merges these tags into production's.
    pub fn tag(&self, site: &str, tags: &[(&str, &str)]) {
        self.meddle(site, |site, now| {
            let tags = tags
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let production = site.production_mut();
            production.tags.extend(tags);
            production.touch(now);
        });
    }

    fn meddle(&self, site: &str, change: impl FnOnce(&mut Site, jiff::Timestamp)) {
        let mut world = self.world.lock();
        let now = world.clock.now();
        if let Some(site) = named(&mut world, site) {
            change(site, now);
        }
        world.advance(std::time::Duration::ZERO);
    }
}

/// A site by its name alone: names are host names, so there is one in the world.
fn named<'a>(world: &'a mut World, name: &str) -> Option<&'a mut Site> {
    world
        .sites
        .values_mut()
        .find(|site| site.address.name.eq_ignore_ascii_case(name))
}
