//! A site and its slots, as the platform holds them.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::behaviour::{Behaviour, Health};
use super::routing::Population;
use super::swap::Swap;
use crate::azure::clock::since;

/// The name of the slot that users reach by the site's own host name.
pub const PRODUCTION: &str = "production";

/// Members of a slot's `SiteConfig` that stay with the slot when its content is swapped away.
const STAYS: &[&str] = &[
    "experiments",
    "autoSwapSlotName",
    "alwaysOn",
    "numberOfWorkers",
    "preWarmedInstanceCount",
    "minimumElasticInstanceCount",
    "functionAppScaleLimit",
    "elasticWebAppScaleLimit",
    "ipSecurityRestrictions",
    "ipSecurityRestrictionsDefaultAction",
    "scmIpSecurityRestrictions",
    "scmIpSecurityRestrictionsDefaultAction",
    "scmIpSecurityRestrictionsUseMain",
    "publicNetworkAccess",
    "cors",
    "vnetName",
    "vnetRouteAllEnabled",
    "vnetPrivatePortsCount",
    "httpLoggingEnabled",
    "detailedErrorLoggingEnabled",
    "requestTracingEnabled",
    "logsDirectorySizeLimit",
    "scmType",
    "publishingUsername",
    "minTlsVersion",
    "scmMinTlsVersion",
    "ftpsState",
    "keyVaultReferenceIdentity",
    "managedServiceIdentityId",
    "acrUseManagedIdentityCreds",
    "acrUserManagedIdentityID",
];

/// Where a site is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub subscription: String,
    pub group: String,
    pub name: String,
}

impl Address {
    /// What two spellings of the same place share: the resource manager's names have no case.
    pub fn key(&self) -> (String, String, String) {
        (
            self.subscription.to_ascii_lowercase(),
            self.group.to_ascii_lowercase(),
            self.name.to_ascii_lowercase(),
        )
    }

    /// The site's resource ID.
    pub fn id(&self) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Web/sites/{}",
            self.subscription, self.group, self.name
        )
    }
}

/// The plan that a site runs in.
#[derive(Clone, Debug)]
pub struct Plan {
    pub name: String,
    /// As in `Standard`.
    pub tier: String,
    /// As in `S1`.
    pub size: String,
}

impl Plan {
    /// How many slots beside production a tier allows.
    pub fn slots_max(&self) -> usize {
        match self.tier.as_str() {
            "Standard" => 5,
            "Free" | "Shared" | "Basic" => 0,
            _ => 20,
        }
    }
}

#[derive(Debug)]
pub struct Site {
    pub address: Address,
    pub location: String,
    pub kind: String,
    pub plan: Plan,
    pub instances: usize,
    /// Production first, then in the order of their making.
    pub slots: IndexMap<String, Slot>,
    pub sticky: Sticky,
    pub swap: Option<Swap>,
    pub population: Population,
}

/// Names of settings that stay with their slot.
#[derive(Clone, Debug, Default)]
pub struct Sticky {
    pub app_settings: Vec<String>,
    pub connection_strings: Vec<String>,
    pub storage: Vec<String>,
}

impl Sticky {
    pub fn keeps(&self, setting: &str) -> bool {
        // Documented as never swapped, whatever else is said of them.
        setting.ends_with("_EXTENSION_VERSION") || self.app_settings.iter().any(|name| name == setting)
    }
}

#[derive(Clone, Debug)]
pub struct Slot {
    pub name: String,
    pub host_name: String,
    pub tags: BTreeMap<String, String>,
    pub is_enabled: bool,
    /// `SiteConfig`'s members.
    pub config: Map<String, Value>,
    pub settings: BTreeMap<String, String>,
    pub connection_strings: Map<String, Value>,
    pub auth: Map<String, Value>,
    /// The slot that this one's configuration has been prepared to be swapped with.
    pub prepared: Option<String>,
    /// Another slot's sticky settings, which the instances run with instead of their own.
    pub borrowed: Option<BTreeMap<String, String>>,
    pub run: Run,
    pub swapped: Option<Swapped>,
    /// Rises with every change.
    pub revision: u64,
    pub modified: Timestamp,
}

/// The last swap that a slot took part in.
#[derive(Clone, Debug)]
pub struct Swapped {
    pub at: Timestamp,
    pub source: String,
    pub destination: String,
}

/// Since when the instances run what they run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub began: Timestamp,
    /// The instances before this start serve until the new ones do: the same content came up before.
    pub is_overlapped: bool,
}

impl Slot {
    pub fn new(name: &str, host_name: String, now: Timestamp) -> Slot {
        Slot {
            name: name.to_owned(),
            host_name,
            tags: BTreeMap::new(),
            is_enabled: true,
            config: Map::from_iter([
                ("numberOfWorkers".to_owned(), json!(1)),
                ("alwaysOn".to_owned(), json!(true)),
                ("experiments".to_owned(), json!({"rampUpRules": []})),
            ]),
            settings: BTreeMap::new(),
            connection_strings: Map::new(),
            auth: Map::from_iter([("platform".to_owned(), json!({"enabled": false}))]),
            prepared: None,
            borrowed: None,
            run: Run {
                began: now,
                is_overlapped: false,
            },
            swapped: None,
            revision: 1,
            modified: now,
        }
    }

    pub fn is_production(&self) -> bool {
        self.name == PRODUCTION
    }

    /// `linuxFxVersion`, as in `DOCKER|registry.example.com/shop:v2`.
    pub fn image(&self) -> Option<&str> {
        let version = self.config.get("linuxFxVersion")?.as_str()?;
        version.split_once('|').map(|(_, image)| image)
    }

    /// Where a site that runs from a package has it from.
    pub fn package(&self) -> Option<&str> {
        self.settings.get("WEBSITE_RUN_FROM_PACKAGE").map(String::as_str)
    }

    /// What tells one piece of content from another.
    pub fn content(&self) -> (Option<String>, Option<String>) {
        let version = self.config.get("linuxFxVersion").and_then(Value::as_str);
        (version.map(str::to_owned), self.package().map(str::to_owned))
    }

    /// A setting as the instances see it.
    pub fn setting_in_effect(&self, name: &str, sticky: &Sticky) -> Option<&str> {
        match &self.borrowed {
            Some(borrowed) if sticky.keeps(name) => borrowed.get(name).map(String::as_str),
            _ => self.settings.get(name).map(String::as_str),
        }
    }

    pub fn has_authentication(&self) -> bool {
        self.auth
            .get("platform")
            .and_then(|platform| platform.get("enabled"))
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    pub fn touch(&mut self, now: Timestamp) {
        self.revision += 1;
        self.modified = now;
    }

    /// Starts the instances anew.
    pub fn restart(&mut self, is_overlapped: bool, now: Timestamp) {
        self.run = Run {
            began: now,
            is_overlapped,
        };
    }

    /// One instance of the slot at this instant.
    pub fn health(&self, behaviour: Behaviour, now: Timestamp) -> Health {
        if !self.is_enabled {
            return Health::Down { ends: 0 };
        }
        let health = behaviour.after(since(self.run.began, now));
        match health {
            Health::Starting if self.run.is_overlapped && behaviour.comes_up() => match behaviour {
                Behaviour::Status(status) => Health::Answering(status),
                Behaviour::NeverReady => Health::Silent,
                _ => Health::Answering(200),
            },
            _ => health,
        }
    }

    /// Takes the content of another slot, leaving what stays with a slot.
    pub fn exchange_content(&mut self, other: &mut Slot, sticky: &Sticky) {
        let stays = |name: &str| STAYS.contains(&name);
        let mine: Vec<String> = self.config.keys().filter(|name| !stays(name)).cloned().collect();
        let theirs: Vec<String> = other.config.keys().filter(|name| !stays(name)).cloned().collect();
        let mine: Vec<_> = mine
            .into_iter()
            .filter_map(|name| self.config.remove_entry(&name))
            .collect();
        let theirs: Vec<_> = theirs
            .into_iter()
            .filter_map(|name| other.config.remove_entry(&name))
            .collect();
        other.config.extend(mine);
        self.config.extend(theirs);

        let moving = |settings: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            let moving = settings.iter().filter(|(name, _)| !sticky.keeps(name));
            moving.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        let (mine, theirs) = (moving(&self.settings), moving(&other.settings));
        self.settings.retain(|name, _| sticky.keeps(name));
        other.settings.retain(|name, _| sticky.keeps(name));
        self.settings.extend(theirs);
        other.settings.extend(mine);
        std::mem::swap(&mut self.run, &mut other.run);
    }

    /// The settings that stay with this slot.
    pub fn sticky_settings(&self, sticky: &Sticky) -> BTreeMap<String, String> {
        let kept = self.settings.iter().filter(|(name, _)| sticky.keeps(name));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

impl Site {
    /// A slot by its name; names have no case.
    pub fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.get(&name.to_ascii_lowercase())
    }

    pub fn slot_mut(&mut self, name: &str) -> Option<&mut Slot> {
        self.slots.get_mut(&name.to_ascii_lowercase())
    }

    pub fn production(&self) -> &Slot {
        &self.slots[PRODUCTION]
    }

    pub fn production_mut(&mut self) -> &mut Slot {
        &mut self.slots[PRODUCTION]
    }

    /// Deletes a slot; production cannot be.
    pub fn remove_slot(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        if name != PRODUCTION && self.slots.shift_remove(&name).is_some() {
            self.population.forget(&name);
        }
    }

    /// The host name of a slot, by the rule of the platform.
    pub fn host_name(name: &str, slot: &str) -> String {
        match slot {
            PRODUCTION => format!("{name}.azurewebsites.net"),
            slot => format!("{name}-{slot}.azurewebsites.net"),
        }
    }

    pub fn is_linux(&self) -> bool {
        self.kind.contains("linux")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn slot(name: &str, settings: &[(&str, &str)]) -> Slot {
        let mut slot = Slot::new(name, Site::host_name("shop", name), Timestamp::UNIX_EPOCH);
        slot.settings = settings
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        slot.config
            .insert("linuxFxVersion".into(), json!(format!("DOCKER|shop:{name}")));
        slot
    }

    #[test]
    fn content_moves_and_what_is_sticky_stays() {
        let sticky = Sticky {
            app_settings: vec!["DATABASE".into()],
            ..Sticky::default()
        };
        let mut production = slot(
            "production",
            &[("DATABASE", "live"), ("COLOUR", "blue"), ("A_EXTENSION_VERSION", "1")],
        );
        let mut staging = slot("staging", &[("DATABASE", "test"), ("COLOUR", "green"), ("NEW", "1")]);
        production
            .config
            .insert("experiments".into(), json!({"rampUpRules": [{"name": "staging"}]}));

        production.exchange_content(&mut staging, &sticky);

        assert_eq!(production.image(), Some("shop:staging"));
        assert_eq!(production.settings["DATABASE"], "live");
        assert_eq!(production.settings["COLOUR"], "green");
        assert_eq!(production.settings["NEW"], "1");
        assert_eq!(production.settings["A_EXTENSION_VERSION"], "1");
        assert_eq!(production.config["experiments"]["rampUpRules"][0]["name"], "staging");
        assert_eq!(staging.image(), Some("shop:production"));
        assert_eq!(staging.settings["DATABASE"], "test");
        assert_eq!(staging.settings["COLOUR"], "blue");
        assert!(!staging.settings.contains_key("NEW"));
    }
}
