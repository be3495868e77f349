//! A region's settings for App Configuration, read strictly.

use std::collections::{BTreeMap, BTreeSet};

use meridian_engine::ports::provider::Target;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Release;
use serde::Deserialize;
use serde_json::Value;

use crate::app_configuration::audience::{Audience, group};
use crate::credentials::{Cloud, Credentials, Named, spelled_out};
use crate::endpoint::Endpoint;
use crate::reading::understood;

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    endpoint: Option<String>,
    connection_string: Option<Named>,
    #[serde(default)]
    cloud: Cloud,
    credentials: Option<Credentials>,
    flag: Option<String>,
    label: Option<String>,
    filter: Filter,
    #[serde(default)]
    cohorts: BTreeMap<String, CohortWritten>,
    #[serde(default)]
    create: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CohortWritten {
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
}

/// Which of the built-in filters carries the share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Filter {
    /// Rolls dice at each evaluation.
    Percentage,
    /// Keeps each user on one side, and knows users and groups by name.
    Targeting,
}

impl Filter {
    /// The filter's name in a flag.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Filter::Percentage => "Microsoft.Percentage",
            Filter::Targeting => "Microsoft.Targeting",
        }
    }

    /// The least difference between two shares, in hundredths of a percent: the percentage filter takes whole numbers.
    pub(crate) fn step(self) -> u16 {
        match self {
            Filter::Percentage => 100,
            Filter::Targeting => 1,
        }
    }
}

/// How the store is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// A connection string by the name of its secret: it holds the address too.
    ConnectionString { secret: String },
    Identity {
        endpoint: Endpoint,
        cloud: Cloud,
        credentials: Credentials,
    },
}

/// A region's settings, sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) access: Access,
    /// The flag; the release's where it is left out.
    pub(crate) flag: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) filter: Filter,
    pub(crate) cohorts: BTreeMap<String, Audience>,
    /// Whether a flag that does not exist is made.
    pub(crate) create: bool,
}

impl Settings {
    /// *Errors*: a lower-case phrase that names the key.
    pub(crate) fn read(settings: &Value) -> Result<Settings, String> {
        let mut settings = settings.clone();
        spelled_out(&mut settings);
        let written: Written = understood(&settings)?;
        let access = match (written.connection_string, written.endpoint, written.credentials) {
            (Some(named), None, None) => Access::ConnectionString { secret: named.secret },
            (None, Some(endpoint), Some(credentials)) => Access::Identity {
                endpoint: Endpoint::parse(&endpoint).map_err(|why| format!("`endpoint`: {why}"))?,
                cloud: written.cloud,
                credentials,
            },
            (Some(_), _, _) => {
                return Err(
                    "`connectionString` holds address and key: `endpoint` and `credentials` are left out".to_owned(),
                );
            }
            (None, _, _) => {
                return Err("either `connectionString`, or `endpoint` and `credentials`, are needed".to_owned());
            }
        };
        if let Some(flag) = &written.flag {
            check_name(flag).map_err(|why| format!("`flag` {why}"))?;
        }
        if let Some(label) = &written.label
            && (label.is_empty() || label.contains(['*', ',', '\\', '\0']) || label.len() > 200)
        {
            return Err(format!("`label` names one label, got `{label}`"));
        }
        let is_percentage = written.filter == Filter::Percentage;
        if is_percentage && !written.cohorts.is_empty() {
            return Err("`cohorts` are users and groups by name, which takes `filter: targeting`".to_owned());
        }
        let cohorts = written.cohorts.into_iter().map(|(name, cohort)| {
            let audience = cohort.audience().map_err(|why| format!("`cohorts.{name}` {why}"))?;
            Ok::<_, String>((name, audience))
        });
        Ok(Settings {
            access,
            cohorts: cohorts.collect::<Result<_, _>>()?,
            flag: written.flag,
            label: written.label,
            filter: written.filter,
            create: written.create,
        })
    }

    pub(crate) fn of(target: &Target) -> Result<Settings, String> {
        let settings = Settings::read(&target.settings).map_err(|why| {
            format!(
                "the appConfiguration settings of region `{}` are not sound: {why}",
                target.region
            )
        })?;
        let flag = match (&target.release, settings.flag) {
            (Release::Flag(released), Some(named)) if *released != named => {
                return Err(format!(
                    "the release is the flag `{released}`, and region `{}` names the flag `{named}`",
                    target.region
                ));
            }
            (Release::Flag(released), _) => released.clone(),
            (Release::Image(_) | Release::Package { .. } | Release::TaskDefinition(_), _) => {
                return Err(format!(
                    "region `{}` releases a flag: write the release as `flag: NAME`",
                    target.region
                ));
            }
        };
        check_name(&flag)?;
        Ok(Settings {
            flag: Some(flag),
            ..settings
        })
    }
}

impl CohortWritten {
    fn audience(self) -> Result<Audience, String> {
        let mut audience = Audience {
            users: self.users.into_iter().collect::<BTreeSet<_>>(),
            groups: BTreeMap::new(),
        };
        for text in &self.groups {
            let (name, share) = group(text)?;
            audience.groups.insert(name, share);
        }
        if audience.users.iter().any(|user| user.trim().is_empty()) {
            return Err("names an empty user".to_owned());
        }
        if audience.is_empty() {
            return Err("names nobody".to_owned());
        }
        if audience.groups.values().any(|share| *share == Share::ZERO) {
            return Err("names a group at 0%".to_owned());
        }
        Ok(audience)
    }
}

fn check_name(flag: &str) -> Result<(), String> {
    if flag.is_empty() || flag.len() > 200 || flag.contains(['%', ':']) || flag.chars().any(char::is_control) {
        return Err(format!("names a flag, without `%` and `:`, got `{flag}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use proptest::prelude::{any, proptest};
    use serde_json::{Value, json};

    fn with(key: &str, value: Value) -> Result<Settings, String> {
        let mut settings = json!({"connectionString": {"secret": "flags"}, "filter": "targeting"});
        settings[key] = value;
        Settings::read(&settings)
    }

    #[test]
    fn what_is_not_sound_is_refused_by_its_key() {
        for (key, value) in [
            ("endpoint", json!("https://shop.azconfig.io")),
            ("connectionString", json!("Endpoint=https://x;Id=a;Secret=b")),
            ("filter", json!("dice")),
            ("flag", json!("a%b")),
            ("label", json!("*")),
            ("cohorts", json!({"beta": {}})),
            ("cohorts", json!({"beta": {"groups": ["inner:200%"]}})),
            ("user", json!([])),
        ] {
            assert!(with(key, value.clone()).is_err(), "{key}: {value}");
        }
        with(
            "cohorts",
            json!({"beta": {"users": ["ann"], "groups": ["inner", "outer:25%"]}}),
        )
        .unwrap();
        let identity = json!({
            "endpoint": "https://shop.azconfig.io", "credentials": "managedIdentity", "filter": "percentage",
        });
        Settings::read(&identity).unwrap();
        let plain = json!({"endpoint": "http://shop.azconfig.io", "credentials": "azureCli", "filter": "percentage"});
        assert!(Settings::read(&plain).unwrap_err().contains("plain http"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reading(text in any::<String>()) {
            for key in ["flag", "label", "filter", "endpoint"] {
                let _ = with(key, json!(text));
            }
            let _ = with("cohorts", json!({"beta": {"groups": [text]}}));
        }
    }
}
