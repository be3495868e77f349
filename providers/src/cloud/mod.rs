//! Clouds: one file or crate each, and one line each in the list.

pub mod sandbox;

use meridian_workflows::vocabulary::{Availability, Capabilities, ProviderKind, SettingKey, SettingsReader};

/// Every kind of region that the language knows, whether or not this build can run it.
pub fn kinds() -> Vec<ProviderKind> {
    vec![
        sandbox::kind(),
        later("kubernetes"),
        later("ecs"),
        later("appService"),
        later("appConfiguration"),
        later("exec"),
    ]
}

/// A kind that this build leaves out: everything in its settings is let through, and `run` refuses it.
fn later(name: &'static str) -> ProviderKind {
    ProviderKind {
        name,
        availability: Availability::NotYet,
        settings: &[],
        read: SettingsReader(|_| {
            Ok(Capabilities {
                mirroring: true,
                audiences: true,
                ..Capabilities::splitting(1)
            })
        }),
    }
}

/// One key of a provider's settings that may be left out.
const fn optional(name: &'static str, summary: &'static str) -> SettingKey {
    SettingKey {
        name,
        required: false,
        summary,
    }
}
