//! Metric sources: one file each, and one line each in the list.

pub mod prometheus;

use std::sync::Arc;

use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::MetricSource;
use meridian_engine::ports::secret::Secrets;
use meridian_workflows::vocabulary::{Availability, Kind};
use serde_json::Value as Json;

/// Makes a source from its settings in the workflow `workflow`.
type Make = fn(settings: &Json, workflow: &str, secrets: &Arc<dyn Secrets>) -> Result<Arc<dyn MetricSource>, Failure>;

/// Every source of this build by its key in the language.
const SOURCES: &[(&str, Make)] = &[("prometheus", |settings, workflow, secrets| {
    Ok(Arc::new(prometheus::Prometheus::new(
        settings,
        workflow,
        Arc::clone(secrets),
    )?))
})];

/// What exists elsewhere and comes with later work.
const NOT_YET: &[&str] = &[
    "applicationInsights",
    "cloudwatch",
    "datadog",
    "graphite",
    "influxdb",
    "newRelic",
    "wavefront",
    "web",
];

/// The kinds of source, for the language's vocabulary.
pub fn kinds() -> Vec<Kind> {
    let kind = |availability| move |name: &'static str| Kind { name, availability };
    let available = SOURCES.iter().map(|(name, _)| *name).map(kind(Availability::Available));
    available
        .chain(NOT_YET.iter().copied().map(kind(Availability::NotYet)))
        .collect()
}

/// The source of this kind with these settings, for one workflow: secrets are given to workflows, not to everybody.
///
/// # Errors
/// Lasting when the kind is not known or not available, or when the settings do not fit it; the text says which.
pub fn source(
    kind: &str,
    settings: &Json,
    workflow: &str,
    secrets: &Arc<dyn Secrets>,
) -> Result<Arc<dyn MetricSource>, Failure> {
    match SOURCES.iter().find(|(name, _)| *name == kind) {
        Some((_, make)) => make(settings, workflow, secrets),
        None if NOT_YET.contains(&kind) => {
            Err(Failure::lasting(format!("metric source `{kind}` is not available yet")))
        }
        None => Err(Failure::lasting(format!("there is no metric source `{kind}`"))),
    }
}
