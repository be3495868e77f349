//! Metric sources: one file each, and one line each in the list.

mod buckets;
mod placing;
mod unit;
pub(crate) mod web;
pub(crate) mod words;

#[cfg(feature = "azure")]
mod azure;
#[cfg(feature = "azure")]
mod azure_monitor;
#[cfg(feature = "aws")]
mod cloud_watch;
mod datadog;
mod google_monitoring;
mod graphite;
mod influxdb;
mod json;
#[cfg(feature = "azure")]
mod log_analytics;
mod new_relic;
mod prometheus;
mod sandbox;
mod wavefront;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::MetricSource;
use meridian_engine::ports::secret::Secrets;
use meridian_workflows::duration::Duration;
use meridian_workflows::vocabulary::{Availability, SettingKey, SourceKind, SourceReader};
use meridian_workflows::workflow::MetricUnit;
use reqwest::Url;
use serde_json::Value as Json;

use crate::metric::web::Server;

/// Every source that the language knows, by its key.
const SOURCES: &[Kind] = &[
    prometheus::KIND,
    sandbox::KIND,
    #[cfg(feature = "aws")]
    cloud_watch::KIND,
    #[cfg(not(feature = "aws"))]
    left_out("cloudWatch"),
    #[cfg(feature = "azure")]
    azure_monitor::KIND,
    #[cfg(not(feature = "azure"))]
    left_out("azureMonitor"),
    #[cfg(feature = "azure")]
    log_analytics::KIND,
    #[cfg(not(feature = "azure"))]
    left_out("logAnalytics"),
    google_monitoring::KIND,
    datadog::KIND,
    new_relic::KIND,
    wavefront::KIND,
    graphite::KIND,
    influxdb::KIND,
    json::KIND,
];

/// What a metric needs of a source when its window is not known.
const WINDOW_ASSUMED: Duration = Duration::from_secs(120);

/// What a source is made from beside its settings.
#[derive(Clone)]
pub struct Surroundings {
    pub secrets: Arc<dyn Secrets>,
    /// Where the sandbox of this directory leaves its address.
    pub sandbox_dir: PathBuf,
    /// A sandbox's address from the environment, before the directory is looked at.
    pub sandbox_address: Option<String>,
}

/// For what a source is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// Secrets are given to workflows, not to everybody.
    pub workflow: String,
    /// The unit that the metric declares; where a server tells one, the two are held together.
    pub unit: Option<MetricUnit>,
    /// How far back one number looks, where the query says `$from`.
    pub window: Duration,
}

/// One kind of source.
struct Kind {
    name: &'static str,
    availability: Availability,
    settings: &'static [SettingKey],
    check: fn(&Json) -> Result<(), String>,
    make: fn(&Making<'_>) -> Result<Box<dyn MetricSource>, Failure>,
}

const fn kind(
    name: &'static str,
    settings: &'static [SettingKey],
    check: fn(&Json) -> Result<(), String>,
    make: fn(&Making<'_>) -> Result<Box<dyn MetricSource>, Failure>,
) -> Kind {
    Kind {
        name,
        availability: Availability::Available,
        settings,
        check,
        make,
    }
}

/// A source whose cloud's own client a build leaves out: the language knows it, `run` refuses it.
#[cfg(not(all(feature = "aws", feature = "azure")))]
const fn left_out(name: &'static str) -> Kind {
    Kind {
        name,
        availability: Availability::NotYet,
        settings: &[],
        check: |_| Ok(()),
        make: |making| {
            Err(Failure::lasting(format!(
                "this build has no metric source `{}`",
                making.kind
            )))
        },
    }
}

/// One source about to be made.
struct Making<'a> {
    kind: &'static str,
    settings: &'a Json,
    purpose: &'a Purpose,
    surroundings: &'a Surroundings,
}

impl Making<'_> {
    fn unfit(&self, why: &dyn fmt::Display) -> Failure {
        Failure::lasting(format!("the settings of source `{}` do not fit: {why}", self.kind))
    }

    fn server(&self, root: Url, access: &'static str, timeout: Duration) -> Server {
        let secrets = Arc::clone(&self.surroundings.secrets);
        Server::new(self.kind, root, access, timeout, &self.purpose.workflow, secrets)
    }
}

/// Every kind, for the language: its settings are read there as they are here.
pub fn kinds() -> Vec<SourceKind> {
    let kind = |kind: &Kind| SourceKind {
        name: kind.name,
        availability: kind.availability,
        settings: kind.settings,
        read: SourceReader(kind.check),
    };
    SOURCES.iter().map(kind).collect()
}

/// The source of this kind with these settings, for one workflow and any metric.
///
/// # Errors
/// As [`source_for`].
pub fn source(
    kind: &str,
    settings: &Json,
    workflow: &str,
    surroundings: &Surroundings,
) -> Result<Arc<dyn MetricSource>, Failure> {
    let purpose = Purpose {
        workflow: workflow.to_owned(),
        unit: None,
        window: WINDOW_ASSUMED,
    };
    source_for(kind, settings, &purpose, surroundings)
}

/// The source of this kind with these settings, for one purpose.
///
/// # Errors
/// Lasting when this build has no such kind, or when the settings do not fit it; the text says which.
pub fn source_for(
    kind: &str,
    settings: &Json,
    purpose: &Purpose,
    surroundings: &Surroundings,
) -> Result<Arc<dyn MetricSource>, Failure> {
    let Some(found) = SOURCES.iter().find(|known| known.name == kind) else {
        return Err(Failure::lasting(format!("this build has no metric source `{kind}`")));
    };
    let making = Making {
        kind: found.name,
        settings,
        purpose,
        surroundings,
    };
    (found.make)(&making).map(Arc::from)
}
