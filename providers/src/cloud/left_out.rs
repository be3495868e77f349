//! Clouds whose own client a build leaves out: the language knows them, `run` refuses them.

use meridian_workflows::vocabulary::{
    AudienceKey, Audiences, Availability, Capabilities, ProviderKind, SettingsReader,
};

use super::Cloud;

pub(super) const fn left_out(kind: fn() -> ProviderKind) -> Cloud {
    Cloud { kind, provider: None }
}

/// A kind of which nothing is known here but its name: everything in its settings is let through.
pub(super) fn unread(name: &'static str) -> ProviderKind {
    ProviderKind {
        name,
        availability: Availability::NotYet,
        settings: &[],
        read: SettingsReader(|_| {
            Ok(Capabilities {
                mirroring: true,
                audiences: Audiences::by(&AudienceKey::ALL),
                ..Capabilities::splitting(1)
            })
        }),
    }
}
