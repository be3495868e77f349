//! Metric sources: one file each, and one line each in the list.

pub mod prometheus;
pub mod sandbox;

use std::path::PathBuf;
use std::sync::Arc;

use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::MetricSource;
use meridian_engine::ports::secret::Secrets;
use serde_json::Value as Json;

/// What a source is made from beside its settings.
#[derive(Clone)]
pub struct Surroundings {
    pub secrets: Arc<dyn Secrets>,
    /// Where the sandbox of this directory leaves its address.
    pub sandbox_dir: PathBuf,
    /// A sandbox's address from the environment, before the directory is looked at.
    pub sandbox_address: Option<String>,
}

/// Makes a source from its settings in the workflow `workflow`.
type Make = fn(settings: &Json, workflow: &str, surroundings: &Surroundings) -> Result<Arc<dyn MetricSource>, Failure>;

/// Every source of this build by its key in the language.
const SOURCES: &[(&str, Make)] = &[
    ("prometheus", |settings, workflow, surroundings| {
        let secrets = Arc::clone(&surroundings.secrets);
        Ok(Arc::new(prometheus::Prometheus::new(settings, workflow, secrets)?))
    }),
    ("sandbox", |settings, workflow, surroundings| {
        Ok(Arc::new(sandbox::SandboxMetrics::new(
            settings,
            workflow,
            surroundings.clone(),
        )?))
    }),
];

/// The source of this kind with these settings, for one workflow: secrets are given to workflows, not to everybody.
///
/// # Errors
/// Lasting when this build has no such kind, or when the settings do not fit it; the text says which.
pub fn source(
    kind: &str,
    settings: &Json,
    workflow: &str,
    surroundings: &Surroundings,
) -> Result<Arc<dyn MetricSource>, Failure> {
    match SOURCES.iter().find(|(name, _)| *name == kind) {
        Some((_, make)) => make(settings, workflow, surroundings),
        None => Err(Failure::lasting(format!("this build has no metric source `{kind}`"))),
    }
}
