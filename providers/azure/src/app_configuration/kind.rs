//! App Configuration as the language knows it.

use meridian_workflows::vocabulary::{
    AudienceKey, Audiences, Availability, Capabilities, ProviderKind, RollbackSpeed, SettingKey, SettingsReader, Shares,
};

use crate::app_configuration::settings::{Filter, Settings};

const fn key(name: &'static str, required: bool, summary: &'static str) -> SettingKey {
    SettingKey {
        name,
        required,
        summary,
    }
}

const SETTINGS: &[SettingKey] = &[
    key(
        "endpoint",
        false,
        "the store's address, as in https://shop.azconfig.io, with `credentials`",
    ),
    key(
        "connectionString",
        false,
        "{secret: name} of a connection string, instead of `endpoint` and `credentials`",
    ),
    key("cloud", false, "public (the default), government or china"),
    key(
        "credentials",
        false,
        "managedIdentity, workloadIdentity, clientSecret {tenant, client, secret}, azureCli, or token {secret}",
    ),
    key("flag", false, "the feature flag; the release's by default"),
    key("label", false, "the flag's label; none by default"),
    key(
        "filter",
        true,
        "percentage (dice at each evaluation) or targeting (each user stays on one side; audiences)",
    ),
    key(
        "cohorts",
        false,
        "users and groups by name, for audience stages: {beta: {users: [...], groups: [inner, outer:25%]}}",
    ),
    key("create", false, "make the flag where it does not exist (default false)"),
];

/// App Configuration as the language knows it.
pub fn kind() -> ProviderKind {
    ProviderKind {
        name: "appConfiguration",
        availability: Availability::Available,
        settings: SETTINGS,
        read: SettingsReader(|settings| Settings::read(settings).map(|settings| capabilities(&settings))),
    }
}

/// Whom the targeting filter knows by name.
const NAMED: [AudienceKey; 4] = [
    AudienceKey::Tenants,
    AudienceKey::Users,
    AudienceKey::Groups,
    AudienceKey::Cohort,
];

fn capabilities(settings: &Settings) -> Capabilities {
    let filter = settings.filter;
    let mut remarks = vec![
        "An app sees a changed flag when it next refreshes its configuration, every 30 seconds by default: until then, off is not \
         off everywhere."
            .to_owned(),
    ];
    if filter == Filter::Percentage {
        remarks.push(
            "The percentage filter rolls dice at every evaluation, so that one user can see both sides: `filter: targeting` keeps \
             each user on one."
                .to_owned(),
        );
    }
    let is_targeting = filter == Filter::Targeting;
    Capabilities {
        shares: Shares::Steps(filter.step()),
        mirroring: false,
        audiences: if is_targeting {
            Audiences {
                cohorts: Some(settings.cohorts.keys().cloned().collect()),
                ..Audiences::by(&NAMED)
            }
        } else {
            Audiences::none()
        },
        preview: is_targeting,
        rollback: RollbackSpeed::Instant,
        remarks,
    }
}

#[cfg(test)]
mod tests {
    use super::kind;
    use meridian_workflows::vocabulary::{AudienceKey, Audiences, Shares};
    use serde_json::json;

    #[test]
    fn the_filter_decides_what_can_be_staged() {
        let with = |filter: &str| {
            let settings = json!({"connectionString": {"secret": "flags"}, "filter": filter});
            (kind().read.0)(&settings).unwrap()
        };
        let (dice, targeting) = (with("percentage"), with("targeting"));
        assert_eq!((dice.shares, dice.audiences), (Shares::Steps(100), Audiences::none()));
        assert_eq!(targeting.shares, Shares::Steps(1));
        assert!(targeting.audiences.keys.contains(&AudienceKey::Cohort));
        assert!(
            !targeting.audiences.keys.contains(&AudienceKey::Header),
            "a flag sees no request"
        );
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
