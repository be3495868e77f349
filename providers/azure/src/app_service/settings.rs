//! A region's settings for App Service, read strictly.

use std::collections::BTreeMap;

use azure_core::http::Url;
use meridian_engine::ports::provider::Target;
use meridian_workflows::duration::Duration;
use serde::Deserialize;
use serde_json::Value;

use crate::credentials::{Cloud, Credentials, spelled_out};
use crate::endpoint::Endpoint;
use crate::reading::understood;

/// How long a deployed slot may take to become fit: App Service gives a container 230 s to start, and pulling comes before.
const START_WITHIN: Duration = Duration::from_secs(600);

/// How long a swap may take: the platform makes up to five warm-up requests of 90 s each, and does more around them.
const SWAP_WITHIN: Duration = Duration::from_secs(900);

/// How long a slot must be seen fit without a break before it gets traffic.
const STEADY_FOR: Duration = Duration::from_secs(10);

/// What a region says about its site.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    subscription: String,
    resource_group: String,
    site: String,
    slot: String,
    #[serde(default)]
    cloud: Cloud,
    endpoint: Option<String>,
    credentials: Credentials,
    #[serde(default)]
    container: Container,
    warm_up: Option<WarmUp>,
    #[serde(default)]
    checks: BTreeMap<String, CheckWritten>,
    #[serde(default)]
    preview: bool,
    preserve_vnet: Option<bool>,
    start_within: Option<Duration>,
    swap_within: Option<Duration>,
    steady_for: Option<Duration>,
}

/// Which setting of a site names a container's image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Container {
    #[default]
    Linux,
    Windows,
}

impl Container {
    pub(crate) fn key(self) -> &'static str {
        match self {
            Container::Linux => "linuxFxVersion",
            Container::Windows => "windowsFxVersion",
        }
    }
}

/// The request with which the platform warms an instance up before a swap.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WarmUp {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) statuses: Vec<u16>,
    /// Whether production gets the same settings, which restarts it; otherwise a swap back warms up as production was set.
    #[serde(default)]
    pub(crate) production: bool,
}

impl WarmUp {
    /// The app settings that say so, as App Service names them.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![("WEBSITE_SWAP_WARMUP_PING_PATH", self.path.clone())];
        if !self.statuses.is_empty() {
            let statuses: Vec<String> = self.statuses.iter().map(u16::to_string).collect();
            settings.push(("WEBSITE_SWAP_WARMUP_PING_STATUSES", statuses.join(",")));
        }
        settings
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CheckWritten {
    path: Option<String>,
    url: Option<String>,
    #[serde(default)]
    statuses: Vec<u16>,
}

/// One question that the slot must answer before it gets traffic, and again before a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// Statuses that pass; never empty.
    pub(crate) statuses: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Below the slot's own host name.
    Path(String),
    Url(Url),
}

/// A region's settings, sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) subscription: String,
    pub(crate) resource_group: String,
    pub(crate) site: String,
    pub(crate) slot: String,
    pub(crate) cloud: Cloud,
    pub(crate) endpoint: Endpoint,
    pub(crate) credentials: Credentials,
    pub(crate) container: Container,
    pub(crate) warm_up: Option<WarmUp>,
    pub(crate) checks: Vec<Check>,
    /// Whether a swap stops after the first phase to be checked with production's settings.
    pub(crate) preview: bool,
    pub(crate) preserve_vnet: bool,
    pub(crate) start_within: Duration,
    pub(crate) swap_within: Duration,
    pub(crate) steady_for: Duration,
}

impl Settings {
    /// *Errors*: a lower-case phrase that names the key.
    pub(crate) fn read(settings: &Value) -> Result<Settings, String> {
        let mut settings = settings.clone();
        spelled_out(&mut settings);
        let written: Written = understood(&settings)?;
        for (key, text, most) in [
            ("site", &written.site, 60),
            ("slot", &written.slot, 59),
            ("subscription", &written.subscription, 36),
        ] {
            let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            if text.is_empty() || text.len() > most || !is_plain(text) {
                return Err(format!(
                    "`{key}` is 1 to {most} letters, digits and hyphens, got `{text}`"
                ));
            }
        }
        let group = &written.resource_group;
        let is_group = |c: char| c.is_alphanumeric() || "-_.()".contains(c);
        if group.is_empty() || group.chars().count() > 90 || group.ends_with('.') || !group.chars().all(is_group) {
            return Err(format!("`resourceGroup` is no name of a resource group: `{group}`"));
        }
        if written.slot.eq_ignore_ascii_case("production") {
            return Err("`slot` is where the candidate is deployed; production is always the other side".to_owned());
        }
        let address = written.endpoint.as_deref().unwrap_or(written.cloud.resource_manager());
        let endpoint = Endpoint::parse(address).map_err(|why| format!("`endpoint`: {why}"))?;
        if let Some(warm_up) = &written.warm_up {
            path(&warm_up.path).map_err(|why| format!("`warmUp.path` {why}"))?;
            statuses(&warm_up.statuses).map_err(|why| format!("`warmUp.statuses` {why}"))?;
        }
        let checks = written.checks.into_iter().map(|(name, check)| read_check(name, check));
        let steady_for = written.steady_for.unwrap_or(STEADY_FOR);
        let start_within = written.start_within.unwrap_or(START_WITHIN);
        if steady_for >= start_within {
            return Err("`steadyFor` must be shorter than `startWithin`".to_owned());
        }
        Ok(Settings {
            checks: checks.collect::<Result<_, _>>()?,
            subscription: written.subscription,
            resource_group: written.resource_group,
            site: written.site,
            slot: written.slot,
            cloud: written.cloud,
            endpoint,
            credentials: written.credentials,
            container: written.container,
            warm_up: written.warm_up,
            preview: written.preview,
            preserve_vnet: written.preserve_vnet.unwrap_or(true),
            start_within,
            swap_within: written.swap_within.unwrap_or(SWAP_WITHIN),
            steady_for,
        })
    }

    pub(crate) fn of(target: &Target) -> Result<Settings, String> {
        Settings::read(&target.settings).map_err(|why| {
            format!(
                "the appService settings of region `{}` are not sound: {why}",
                target.region
            )
        })
    }

    /// The site as Azure Resource Manager names it.
    pub(crate) fn resource(&self) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Web/sites/{}",
            self.subscription, self.resource_group, self.site
        )
    }
}

fn read_check(name: String, check: CheckWritten) -> Result<Check, String> {
    statuses(&check.statuses).map_err(|why| format!("`checks.{name}.statuses` {why}"))?;
    let place = match (check.path, check.url) {
        (Some(text), None) => {
            path(&text).map_err(|why| format!("`checks.{name}.path` {why}"))?;
            Place::Path(text)
        }
        (None, Some(text)) => {
            let url = Url::parse(&text).map_err(|error| format!("`checks.{name}.url`: {error}"))?;
            if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
                return Err(format!("`checks.{name}.url` is an http or https URL without a user"));
            }
            Place::Url(url)
        }
        (Some(_), Some(_)) | (None, None) => return Err(format!("`checks.{name}` has either `path` or `url`")),
    };
    let statuses = if check.statuses.is_empty() {
        vec![200]
    } else {
        check.statuses
    };
    Ok(Check { name, place, statuses })
}

fn path(text: &str) -> Result<(), String> {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || c == '#';
    if !text.starts_with('/') || text.starts_with("//") || text.contains(is_odd) || text.len() > 200 {
        return Err(format!("starts with one `/` and has no spaces, got `{text}`"));
    }
    Ok(())
}

fn statuses(statuses: &[u16]) -> Result<(), String> {
    match statuses.iter().find(|status| !(100..600).contains(*status)) {
        Some(odd) => Err(format!("holds HTTP statuses, got {odd}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use meridian_workflows::duration::Duration;
    use proptest::prelude::{any, proptest};
    use serde_json::{Value, json};

    fn least() -> Value {
        json!({
            "subscription": "00000000-0000-0000-0000-000000000001", "resourceGroup": "shop-rg",
            "site": "shop", "slot": "staging", "credentials": "managedIdentity",
        })
    }

    fn with(key: &str, value: Value) -> Result<Settings, String> {
        let mut settings = least();
        settings[key] = value;
        Settings::read(&settings)
    }

    #[test]
    fn the_least_settings_have_defaults_that_a_swap_needs() {
        let settings = Settings::read(&least()).unwrap();
        assert_eq!(settings.endpoint.authority(), "management.azure.com");
        assert!(settings.preserve_vnet && !settings.preview);
        assert!(settings.swap_within >= Duration::from_secs(5 * 90));
    }

    #[test]
    fn what_is_not_sound_is_refused_by_its_key() {
        for (key, value) in [
            ("slot", json!("production")),
            ("site", json!("a/b")),
            ("subscription", json!("")),
            ("resourceGroup", json!("a/b")),
            ("endpoint", json!("http://management.azure.com")),
            ("warmUp", json!({"path": "health"})),
            ("warmUp", json!({"path": "/health", "statuses": [99]})),
            ("checks", json!({"health": {}})),
            ("checks", json!({"health": {"path": "/a", "url": "http://b"}})),
            ("checks", json!({"health": {"url": "file:///etc/passwd"}})),
            ("credentials", json!({"managedIdentity": {"clientid": "x"}})),
            ("credentials", json!("azurecli")),
            ("credentials", json!({"token": "plain"})),
            ("steadyFor", json!("1h")),
            ("swapwithin", json!("10m")),
        ] {
            assert!(with(key, value.clone()).is_err(), "{key}: {value}");
        }
        assert!(with("checks", json!({"health": {"path": "/health", "statuses": [200, 204]}})).is_ok());
        assert!(
            with(
                "credentials",
                json!({"clientSecret": {"tenant": "t", "client": "c", "secret": "s"}})
            )
            .is_ok()
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reading(text in any::<String>()) {
            for key in ["site", "slot", "resourceGroup", "endpoint", "credentials"] {
                let _ = with(key, json!(text));
            }
            let _ = with("warmUp", json!({"path": text}));
        }
    }
}
