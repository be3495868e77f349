//! Clouds: one file each, and one line each in the list.

pub mod sandbox;

use meridian_workflows::vocabulary::{Availability, Capabilities, ProviderKind, SettingKey};

/// Every kind of region that the language knows, whether or not this build can run it yet.
pub fn kinds() -> Vec<ProviderKind> {
    vec![
        sandbox::kind(),
        later("kubernetes", true, true),
        later("ecs", false, false),
        later("appService", false, true),
    ]
}

/// A kind that later work brings: its settings are checked by then, here everything is let through.
fn later(name: &'static str, mirroring: bool, audiences: bool) -> ProviderKind {
    ProviderKind {
        name,
        availability: Availability::NotYet,
        settings: &[],
        check: None,
        capabilities: Capabilities {
            share_step: 100,
            mirroring,
            audiences,
        },
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
