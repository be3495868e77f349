//! What the sandbox knows durably about one region; everything else can be started again from it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::sandbox::fault::Faults;
use crate::sandbox::options::{FAULTS_MAX, INSTANCES_MAX, REQUESTS_PER_SECOND_MAX};
use crate::sandbox::order::{Desired, Fence, check_name};
use crate::sandbox::quantity::Percent;

/// Which region, of which app: a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The app.
    pub app: String,
    /// The region.
    pub region: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.region)
    }
}

impl Key {
    /// A key out of names that may be one.
    ///
    /// # Errors
    /// The reason in plain words.
    pub fn new(app: &str, region: &str) -> Result<Self, String> {
        check_name("app", app)?;
        check_name("region", region)?;
        Ok(Self {
            app: app.to_owned(),
            region: region.to_owned(),
        })
    }
}

/// What a workflow may say about a region of the sandbox. What is left out stays as it is, or takes the default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// The version that serves when the region is created; an existing region keeps what it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<String>,
    /// Instances of each version that starts from now on (default 2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<u16>,
    /// Generated requests a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<f64>,
    /// What is wrong with which version. A fault posted while the sandbox runs goes before.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub faults: BTreeMap<String, Faults>,
}

/// The version that serves a new region whose settings name none.
pub const SERVING_DEFAULT: &str = "v0";
/// Instances of a version in a region whose settings do not say.
pub const INSTANCES_DEFAULT: u16 = 2;

impl Settings {
    /// Why these settings cannot be taken, when they cannot.
    pub fn fault(&self) -> Option<String> {
        if let Some(why) = self
            .serving
            .iter()
            .chain(self.faults.keys())
            .find_map(|v| check_name("version", v).err())
        {
            return Some(why);
        }
        if self.instances.is_some_and(|count| count == 0 || count > INSTANCES_MAX) {
            return Some(format!("`instances` must be between 1 and {INSTANCES_MAX}"));
        }
        if self.faults.len() > FAULTS_MAX {
            return Some(format!("`faults` names more than {FAULTS_MAX} versions"));
        }
        let rate = self.requests_per_second?;
        (!rate.is_finite() || !(0.0..=REQUESTS_PER_SECOND_MAX).contains(&rate))
            .then(|| format!("`requestsPerSecond` must be between 0 and {REQUESTS_PER_SECOND_MAX}"))
    }
}

/// One region as it is saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Which one.
    #[serde(flatten)]
    pub key: Key,
    /// Since when it exists.
    pub created: Timestamp,
    /// What workflows said about it.
    pub settings: Settings,
    /// Faults posted at run time, by version.
    #[serde(default)]
    pub injected: BTreeMap<String, Faults>,
    /// The fence of the last order that was applied.
    pub fence: Option<Fence>,
    /// What it converges to.
    pub desired: Desired,
    /// The weights the proxy works by.
    pub weights: BTreeMap<String, Percent>,
    /// The version that receives copies, and of which part of the requests.
    #[serde(default)]
    pub shadow: Option<(String, Percent)>,
    /// The version that last served alone as the primary.
    pub promoted: String,
    /// The proxy's port, taken again after a restart when it is still free.
    #[serde(default)]
    pub proxy_port: u16,
}

impl Record {
    /// A new region in which one version serves everything.
    pub fn new(key: Key, settings: Settings, proxy_port: u16, created: Timestamp) -> Self {
        let serving = settings.serving.clone().unwrap_or_else(|| SERVING_DEFAULT.to_owned());
        Self {
            key,
            created,
            settings,
            injected: BTreeMap::new(),
            fence: None,
            desired: Desired::only(serving.clone()),
            weights: BTreeMap::from([(serving.clone(), Percent::ALL)]),
            shadow: None,
            promoted: serving,
            proxy_port,
        }
    }

    /// Takes what new settings say; what they leave out stays.
    pub fn take(&mut self, settings: &Settings) {
        let known = &mut self.settings;
        known.instances = settings.instances.or(known.instances);
        known.requests_per_second = settings.requests_per_second.or(known.requests_per_second);
        known.faults.extend(
            settings
                .faults
                .iter()
                .map(|(version, faults)| (version.clone(), faults.clone())),
        );
        while known.faults.len() > FAULTS_MAX {
            let unnamed = known
                .faults
                .keys()
                .find(|version| !settings.faults.contains_key(*version))
                .cloned();
            let Some(version) = unnamed else { break };
            known.faults.remove(&version);
        }
    }

    /// What is wrong with a version.
    pub fn faults(&self, version: &str) -> Faults {
        self.injected
            .get(version)
            .or_else(|| self.settings.faults.get(version))
            .cloned()
            .unwrap_or_default()
    }

    /// Instances of each version.
    pub fn instances(&self) -> u16 {
        self.settings
            .instances
            .unwrap_or(INSTANCES_DEFAULT)
            .clamp(1, INSTANCES_MAX)
    }

    /// The weights that the order asks for; versions without any are left out.
    pub fn weights_desired(&self) -> BTreeMap<String, Percent> {
        let weighed = self
            .desired
            .versions()
            .map(|version| (version.to_owned(), self.desired.share(version)));
        weighed.filter(|(_, weight)| *weight > Percent::NONE).collect()
    }

    /// The shadow that the order asks for.
    pub fn shadow_desired(&self) -> Option<(String, Percent)> {
        let candidate = self.desired.candidate.as_ref()?;
        (candidate.shadow > Percent::NONE).then(|| (candidate.version.clone(), candidate.shadow))
    }

    /// Whether the proxy works as ordered.
    pub fn is_shifted(&self) -> bool {
        self.weights == self.weights_desired() && self.shadow == self.shadow_desired()
    }

    /// Notes the primary as promoted once it serves alone.
    pub fn note_promotion(&mut self) {
        if self.desired.candidate.is_none() && self.is_shifted() {
            self.promoted = self.desired.primary.clone();
        }
    }

    /// The weight that the proxy gives a version.
    pub fn weight(&self, version: &str) -> Percent {
        self.weights.get(version).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::{Key, Record, Settings};
    use crate::sandbox::fault::Faults;
    use crate::sandbox::quantity::Percent;

    fn record() -> Record {
        let settings = Settings {
            serving: Some("v1".into()),
            ..Settings::default()
        };
        Record::new(Key::new("app", "eu").unwrap(), settings, 4_000, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_record_is_read_back_as_it_was_saved() {
        let mut saved = record();
        saved.injected.insert(
            "v2".into(),
            Faults {
                never_ready: true,
                ..Faults::default()
            },
        );
        saved.shadow = Some(("v2".into(), Percent::ALL));
        let text = serde_json::to_string(&saved).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), saved);
    }

    #[test]
    fn later_settings_never_change_what_a_region_serves_and_keep_what_they_leave_out() {
        let mut record = record();
        record.take(&Settings {
            instances: Some(3),
            ..Settings::default()
        });
        record.take(&Settings {
            serving: Some("v9".into()),
            ..Settings::default()
        });
        assert_eq!((record.desired.primary.as_str(), record.instances()), ("v1", 3));
    }

    #[test]
    fn a_fault_posted_at_run_time_goes_before_the_workflows() {
        let mut record = record();
        let slow = Faults {
            never_ready: true,
            ..Faults::default()
        };
        record.take(&Settings {
            faults: BTreeMap::from([("v2".into(), slow)]),
            ..Settings::default()
        });
        assert!(record.faults("v2").never_ready);
        record.injected.insert("v2".into(), Faults::default());
        assert!(!record.faults("v2").never_ready);
    }

    #[test]
    fn settings_out_of_bounds_are_refused() {
        let sound = Settings::default();
        assert_eq!(sound.fault(), None);
        for unsound in [
            Settings {
                instances: Some(0),
                ..sound.clone()
            },
            Settings {
                requests_per_second: Some(f64::NAN),
                ..sound.clone()
            },
            Settings {
                requests_per_second: Some(-1.0),
                ..sound.clone()
            },
            Settings {
                serving: Some("a/b".into()),
                ..sound.clone()
            },
        ] {
            assert!(unsound.fault().is_some(), "{unsound:?}");
        }
    }
}
