//! The metric source `sandbox`: the Prometheus-compatible endpoint of a sandbox that is found when it is asked.

use std::sync::Arc;

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{MetricSource, Number, Series, Stretch};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::metric::Surroundings;
use crate::metric::prometheus::Prometheus;
use crate::sandbox::address;

/// A sandbox's metrics.
///
/// *Guarantees*: as [`Prometheus`]. The address comes from the settings, from the environment, or from the sandbox of this
/// directory, which may have come back at another address since the last question.
pub struct SandboxMetrics {
    address: Option<String>,
    workflow: String,
    surroundings: Surroundings,
    /// The endpoint of the last answer; looked up anew after every failure.
    found: Mutex<Option<Arc<Prometheus>>>,
}

/// What stands under `sandbox:` in a source.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    address: Option<String>,
}

impl SandboxMetrics {
    /// A source with the settings that the workflow `workflow` gives: an `address`, or nothing.
    ///
    /// # Errors
    /// Lasting, with the setting that does not fit.
    pub fn new(settings: &Json, workflow: &str, surroundings: Surroundings) -> Result<Self, Failure> {
        // `sandbox:` with nothing under it is null.
        let settings: Option<Settings> = Option::deserialize(settings)
            .map_err(|error| Failure::lasting(format!("the settings of source `sandbox` do not fit: {error}")))?;
        let written = settings.and_then(|settings| settings.address);
        let source = Self {
            address: written.or_else(|| surroundings.sandbox_address.clone()),
            workflow: workflow.to_owned(),
            surroundings,
            found: Mutex::new(None),
        };
        if let Some(address) = &source.address {
            *source.found.lock() = Some(source.endpoint(address)?);
        }
        Ok(source)
    }

    fn endpoint(&self, address: &str) -> Result<Arc<Prometheus>, Failure> {
        let secrets = Arc::clone(&self.surroundings.secrets);
        Ok(Arc::new(Prometheus::new(
            &json!({"address": address}),
            &self.workflow,
            secrets,
        )?))
    }

    async fn find(&self) -> Result<Arc<Prometheus>, Failure> {
        if let Some(found) = self.found.lock().clone() {
            return Ok(found);
        }
        let endpoint = match &self.address {
            Some(address) => self.endpoint(address)?,
            None => {
                let directory = &self.surroundings.sandbox_dir;
                let none = || {
                    Failure::transient(format!(
                        "no sandbox runs in {} (start one: meridian sandbox --background)",
                        directory.display()
                    ))
                };
                self.endpoint(&address::find(directory).await.ok_or_else(none)?.url)?
            }
        };
        *self.found.lock() = Some(Arc::clone(&endpoint));
        Ok(endpoint)
    }

    /// After a failure the endpoint is looked up anew.
    fn kept<T>(&self, answer: Result<T, Failure>) -> Result<T, Failure> {
        if answer.is_err() {
            *self.found.lock() = None;
        }
        answer
    }
}

#[async_trait::async_trait]
impl MetricSource for SandboxMetrics {
    async fn query(&self, query: &str, at: Timestamp) -> Result<Number, Failure> {
        self.kept(self.find().await?.query(query, at).await)
    }

    async fn series(&self, query: &str, over: Stretch) -> Result<Series, Failure> {
        self.kept(self.find().await?.series(query, over).await)
    }
}
