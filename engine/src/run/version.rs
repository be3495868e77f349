//! A version as a cloud and its telemetry know it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One deployable version in one region, pinned when the region opened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// What people call it and what telemetry's version label carries, as in `v3.2.0`.
    pub name: String,
    /// What the provider pinned it to (an image digest, a task-definition revision); equal to the name where a platform
    /// has nothing finer.
    pub pinned: String,
    /// What else tells this arm's telemetry apart (`arm.labels.*` in queries).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Version {
    /// A version that is known by its name alone.
    pub fn named(name: impl Into<String>) -> Version {
        let name = name.into();
        Version {
            pinned: name.clone(),
            name,
            labels: BTreeMap::new(),
        }
    }

    /// Whether both are the same thing to the platform.
    pub fn is_same_as(&self, other: &Version) -> bool {
        self.pinned == other.pinned
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.name)
    }
}
