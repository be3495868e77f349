//! Feature flags: the shape that their JSON has to have, and for whom one is on.
//!
//! The service itself stores any text under a flag's key and leaves it to every application to trip over it. This double refuses
//! what applications could not read: a provider that writes it is broken.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::key_value::KeyValue;

/// What every flag's key begins with.
pub const PREFIX: &str = ".appconfig.featureflag/";

/// The content type that makes a key-value a flag.
pub const CONTENT_TYPE: &str = "application/vnd.microsoft.appconfig.ff+json;charset=utf-8";

/// A flag as its JSON has it. Members that are not named here (allocation, variants, telemetry) are kept as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flag {
    pub id: String,
    pub enabled: bool,
    #[serde(default)]
    pub conditions: Conditions,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// `Any` (one filter is enough, the default) or `All`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirement_type: Option<Requirement>,
    #[serde(default, deserialize_with = "none_is_empty")]
    pub client_filters: Vec<Filter>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Requirement {
    Any,
    All,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    pub name: String,
    #[serde(default, deserialize_with = "none_is_empty")]
    pub parameters: Map<String, Value>,
}

fn none_is_empty<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// The parameters of `Microsoft.Targeting`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Audience {
    #[serde(default)]
    pub users: Vec<String>,
    #[serde(default)]
    pub groups: Vec<Group>,
    pub default_rollout_percentage: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusion: Option<Exclusion>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Group {
    pub name: String,
    pub rollout_percentage: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Exclusion {
    #[serde(default)]
    pub users: Vec<String>,
    #[serde(default)]
    pub groups: Vec<String>,
}

impl Flag {
    /// A flag that is off.
    pub fn off(id: &str) -> Flag {
        Flag {
            id: id.to_owned(),
            enabled: false,
            conditions: Conditions::default(),
            rest: Map::new(),
        }
    }

    /// The same flag, on for this percentage of requests.
    #[must_use]
    pub fn at(mut self, percentage: f64) -> Flag {
        self.enabled = true;
        self.conditions.client_filters = vec![Filter {
            name: "Microsoft.Percentage".into(),
            parameters: Map::from_iter([("Value".to_owned(), json!(percentage))]),
        }];
        self
    }

    pub fn key(&self) -> String {
        format!("{PREFIX}{}", self.id)
    }

    pub fn json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Reads a flag's value as it stands under this key. The error says what is wrong with it.
    pub fn read(key: &str, value: &str) -> Result<Flag, String> {
        let flag: Flag = serde_json::from_str(value).map_err(|error| error.to_string())?;
        if Some(flag.id.as_str()) != key.strip_prefix(PREFIX) {
            return Err(format!("the id `{}` is not the one in the key", flag.id));
        }
        for filter in &flag.conditions.client_filters {
            filter.check()?;
        }
        Ok(flag)
    }

    /// Whether the flag is on for this user, as Microsoft's libraries work it out: by a hash of the user's and the flag's name.
    /// `draw` (0 to 100) stands for the chance of a percentage filter.
    pub fn is_on(&self, user: &str, groups: &[&str], draw: f64) -> bool {
        let filters = &self.conditions.client_filters;
        if !self.enabled || filters.is_empty() {
            return self.enabled;
        }
        let passes = |filter: &Filter| match filter.name.as_str() {
            "Microsoft.Percentage" => draw < filter.percentage().unwrap_or(0.0),
            "Microsoft.Targeting" => filter
                .audience()
                .is_ok_and(|audience| audience.has(&self.id, user, groups)),
            // What no application here knows is off.
            _ => false,
        };
        match self.conditions.requirement_type.unwrap_or(Requirement::Any) {
            Requirement::Any => filters.iter().any(passes),
            Requirement::All => filters.iter().all(passes),
        }
    }
}

impl Filter {
    fn check(&self) -> Result<(), String> {
        match self.name.as_str() {
            "" => Err("a filter has no name".into()),
            "Microsoft.Percentage" => self.percentage().map(|_| ()),
            "Microsoft.Targeting" => self.audience().map(|_| ()),
            _ => Ok(()),
        }
    }

    fn percentage(&self) -> Result<f64, String> {
        // The portal writes a string, the libraries a number.
        let value = match self.parameters.get("Value") {
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        let value = value.ok_or("`Microsoft.Percentage` has no number as its Value")?;
        share(value)
    }

    fn audience(&self) -> Result<Audience, String> {
        let audience = self
            .parameters
            .get("Audience")
            .cloned()
            .ok_or("`Microsoft.Targeting` has no Audience")?;
        let audience: Audience =
            serde_json::from_value(audience).map_err(|error| format!("`Microsoft.Targeting`: {error}"))?;
        share(audience.default_rollout_percentage)?;
        for group in &audience.groups {
            share(group.rollout_percentage)?;
        }
        Ok(audience)
    }
}

fn share(value: f64) -> Result<f64, String> {
    if (0.0..=100.0).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{value} is no percentage"))
    }
}

impl Audience {
    fn has(&self, flag: &str, user: &str, groups: &[&str]) -> bool {
        if let Some(exclusion) = &self.exclusion {
            let is_out = exclusion.users.iter().any(|out| out == user)
                || exclusion.groups.iter().any(|out| groups.contains(&out.as_str()));
            if is_out {
                return false;
            }
        }
        self.users.iter().any(|named| named == user)
            || self
                .groups
                .iter()
                .filter(|group| groups.contains(&group.name.as_str()))
                .any(|group| is_within(&format!("{user}\n{flag}\n{}", group.name), group.rollout_percentage))
            || is_within(&format!("{user}\n{flag}"), self.default_rollout_percentage)
    }
}

/// Where a name falls among all names, as Microsoft's libraries have it: the first four bytes of its SHA-256.
fn is_within(name: &str, percentage: f64) -> bool {
    let digest = Sha256::digest(name.as_bytes());
    let first = digest.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    percentage >= 100.0 || f64::from(first) / f64::from(u32::MAX) * 100.0 < percentage
}

/// A flag at this instant.
#[derive(Clone, Debug)]
pub struct FlagStanding {
    pub flag: Flag,
    pub etag: String,
    pub is_locked: bool,
    pub tags: std::collections::BTreeMap<String, String>,
}

impl FlagStanding {
    pub(super) fn of(value: &KeyValue) -> Option<FlagStanding> {
        let flag = Flag::read(&value.name.key, value.value.as_deref()?).ok()?;
        Some(FlagStanding {
            flag,
            etag: value.etag.clone(),
            is_locked: value.is_locked,
            tags: value.tags.clone(),
        })
    }

    /// The percentage of users in no group for whom it is on, by its own numbers. Filters that nobody here knows are off.
    pub fn share(&self) -> f64 {
        let conditions = &self.flag.conditions;
        if !self.flag.enabled {
            return 0.0;
        }
        if conditions.client_filters.is_empty() {
            return 100.0;
        }
        let parts = conditions
            .client_filters
            .iter()
            .map(|filter| match filter.name.as_str() {
                "Microsoft.Percentage" => filter.percentage().unwrap_or(0.0),
                "Microsoft.Targeting" => filter
                    .audience()
                    .map_or(0.0, |audience| audience.default_rollout_percentage),
                _ => 0.0,
            });
        match conditions.requirement_type.unwrap_or(Requirement::Any) {
            Requirement::All => parts.fold(100.0, |all, part| all * part / 100.0),
            Requirement::Any => 100.0 - parts.fold(100.0, |none, part| none * (100.0 - part) / 100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn targeting(audience: Value) -> Result<Flag, String> {
        let value = json!({"id": "cart", "enabled": true, "conditions": {"client_filters": [
            {"name": "Microsoft.Targeting", "parameters": {"Audience": audience}},
        ]}});
        Flag::read(".appconfig.featureflag/cart", &value.to_string())
    }

    #[test]
    fn an_audience_is_its_users_its_groups_and_a_part_of_the_rest() {
        let flag = targeting(json!({
            "Users": ["ann"], "Groups": [{"Name": "beta", "RolloutPercentage": 100}], "DefaultRolloutPercentage": 0,
            "Exclusion": {"Users": ["out"], "Groups": []},
        }))
        .unwrap();
        assert!(flag.is_on("ann", &[], 0.0));
        assert!(flag.is_on("bob", &["beta"], 0.0));
        assert!(!flag.is_on("out", &["beta"], 0.0));
        assert!(!flag.is_on("bob", &[], 0.0));
    }

    #[test]
    fn a_default_percentage_reaches_that_part_of_users_and_keeps_them_when_it_rises() {
        let at = |percentage: f64| targeting(json!({"DefaultRolloutPercentage": percentage})).unwrap();
        let (low, high) = (at(10.0), at(50.0));
        let users: Vec<String> = (0..2000).map(|index| format!("user{index}")).collect();
        let on = |flag: &Flag| users.iter().filter(|user| flag.is_on(user, &[], 0.0)).count();
        assert!((160..240).contains(&on(&low)), "{}", on(&low));
        assert!((900..1100).contains(&on(&high)), "{}", on(&high));
        assert!(
            users
                .iter()
                .all(|user| !low.is_on(user, &[], 0.0) || high.is_on(user, &[], 0.0))
        );
    }

    #[test]
    fn what_no_application_could_read_is_told() {
        for (audience, wrong) in [
            (json!({"Users": []}), "DefaultRolloutPercentage"),
            (json!({"DefaultRolloutPercentage": 101}), "no percentage"),
            (json!({"DefaultRolloutPercentage": 1, "users": []}), "unknown field"),
            (
                json!({"DefaultRolloutPercentage": 1, "Groups": [{"Name": "a"}]}),
                "RolloutPercentage",
            ),
        ] {
            let told = targeting(audience).unwrap_err();
            assert!(told.contains(wrong), "{told}");
        }
        assert!(Flag::read(".appconfig.featureflag/a", r#"{"id": "b", "enabled": true}"#).is_err());
        assert!(Flag::read(".appconfig.featureflag/a", r#"{"id": "a"}"#).is_err());
    }

    #[test]
    fn members_that_are_not_known_are_kept() {
        let text = r#"{"id":"a","enabled":true,"conditions":{"client_filters":[]},"variants":[{"name":"x"}]}"#;
        let flag = Flag::read(".appconfig.featureflag/a", text).unwrap();
        assert_eq!(flag.json()["variants"][0]["name"], "x");
    }
}
