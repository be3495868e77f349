//! App Service as the language knows it.

use meridian_workflows::duration::Duration;
use meridian_workflows::vocabulary::{
    Audiences, Availability, Capabilities, ProviderKind, RollbackSpeed, SettingKey, SettingsReader, Shares,
};

use crate::app_service::settings::Settings;

/// How long App Service keeps a client where a ramp-up rule has sent it, by the cookie `x-ms-routing-name`.
pub(crate) const PINNED_FOR: Duration = Duration::from_secs(3_600);

const fn key(name: &'static str, required: bool, summary: &'static str) -> SettingKey {
    SettingKey {
        name,
        required,
        summary,
    }
}

const SETTINGS: &[SettingKey] = &[
    key("subscription", true, "the subscription's id"),
    key("resourceGroup", true, "the resource group of the site"),
    key(
        "site",
        true,
        "the site; its production is what the baseline serves from",
    ),
    key(
        "slot",
        true,
        "the deployment slot that the candidate is put into; it must exist",
    ),
    key(
        "credentials",
        true,
        "managedIdentity, workloadIdentity, clientSecret {tenant, client, secret}, azureCli, or token {secret}",
    ),
    key("cloud", false, "public (the default), government or china"),
    key(
        "endpoint",
        false,
        "the address of Azure Resource Manager, where it is not the cloud's own",
    ),
    key(
        "container",
        false,
        "whether images are linux (the default) or windows containers",
    ),
    key(
        "warmUp",
        false,
        "the platform's warm-up request before a swap: {path, statuses, production}; production: true sets it there too",
    ),
    key(
        "checks",
        false,
        "what the slot must answer before traffic and before a swap, by name: {health: {path, statuses}, smoke: {url}}",
    ),
    key(
        "preview",
        false,
        "swap in two phases, checked in between with production's settings (default false)",
    ),
    key(
        "preserveVnet",
        false,
        "whether a swap keeps the network integration of each side (default true)",
    ),
    key(
        "startWithin",
        false,
        "how long the slot may take to become fit (default 10m)",
    ),
    key(
        "swapWithin",
        false,
        "how long a swap may take before it is cancelled (default 15m)",
    ),
    key(
        "steadyFor",
        false,
        "how long the slot must be fit without a break before traffic (default 10s)",
    ),
];

/// App Service as the language knows it.
pub fn kind() -> ProviderKind {
    ProviderKind {
        name: "appService",
        availability: Availability::Available,
        settings: SETTINGS,
        read: SettingsReader(|settings| Settings::read(settings).map(|settings| capabilities(&settings))),
    }
}

fn capabilities(settings: &Settings) -> Capabilities {
    let Settings { slot, site, .. } = settings;
    let mut remarks = vec![
        format!(
            "A client that a ramp-up rule has sent to slot `{slot}` of `{site}` stays there for up to an hour (cookie \
             x-ms-routing-name): lowering a share or rolling back does not bring those clients back sooner."
        ),
        format!(
            "At 100% `{slot}` and production of `{site}` change places by a swap of some minutes; before it the ramp-up rule \
             goes to 0, and a rollback after it is a swap back, of minutes too."
        ),
    ];
    if settings.checks.is_empty() {
        remarks.push(format!(
            "No checks are set for slot `{slot}` of `{site}`: App Service takes any HTTP answer for a warm app."
        ));
    }
    Capabilities {
        // `reroutePercentage` is a double, which holds every hundredth of a percent.
        shares: Shares::Steps(1),
        mirroring: false,
        audiences: Audiences::none(),
        preview: true,
        rollback: RollbackSpeed::Pinned(PINNED_FOR),
        remarks,
    }
}

#[cfg(test)]
mod tests {
    use super::kind;
    use meridian_workflows::vocabulary::RollbackSpeed;
    use serde_json::json;

    #[test]
    fn the_pinned_hour_is_told_with_the_plan() {
        let settings = json!({
            "subscription": "s", "resourceGroup": "g", "site": "shop", "slot": "staging", "credentials": "azureCli",
        });
        let told = (kind().read.0)(&settings).unwrap();
        assert!(matches!(told.rollback, RollbackSpeed::Pinned(_)));
        assert!(told.remarks.iter().any(|remark| remark.contains("x-ms-routing-name")));
    }

    #[test]
    fn every_key_that_is_read_is_listed_and_none_other() {
        let wrong = (kind().read.0)(&json!({"nonsense": 1})).unwrap_err();
        for key in kind().settings {
            assert!(
                wrong.contains(&format!("`{}`", key.name)),
                "{} is not read: {wrong}",
                key.name
            );
        }
        assert_eq!(wrong.matches('`').count() / 2, kind().settings.len() + 1, "{wrong}");
    }
}
