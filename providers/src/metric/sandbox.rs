//! The metric source `sandbox`: the Prometheus-compatible endpoint of a sandbox that is found when it is asked.

use std::sync::Arc;

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{MetricSource, Number, Series, Stretch};
use meridian_workflows::duration::Duration;
use parking_lot::Mutex;
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::metric::prometheus::Prometheus;
use crate::metric::web::{Over, Server};
use crate::metric::words::{self, Way, optional};
use crate::metric::{Kind, Making, Surroundings, kind};
use crate::sandbox::address;

pub(super) const KIND: Kind = kind(
    "sandbox",
    &[optional(
        "address",
        "where a sandbox answers; otherwise the one of the state directory is found",
    )],
    |settings| read(settings).map(drop),
    |making| Ok(Box::new(SandboxMetrics::new(making)?)),
);

/// The endpoint of one sandbox.
type Endpoint = Over<Prometheus>;

/// A sandbox's metrics.
///
/// *Guarantees*: as [`Over`]. The address comes from the settings, from the environment, or from the sandbox of this
/// directory, which may have come back at another address since the last question.
struct SandboxMetrics {
    address: Option<Url>,
    workflow: String,
    timeout: Duration,
    surroundings: Surroundings,
    /// The endpoint of the last answer; looked up anew after every failure.
    found: Mutex<Option<Arc<Endpoint>>>,
}

/// What stands under `sandbox:` in a source.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    address: Option<String>,
}

fn read(settings: &Json) -> Result<Option<Url>, String> {
    let settings: Settings = words::read(settings)?;
    settings.address.map(|text| words::address(&text, Way::Any)).transpose()
}

impl SandboxMetrics {
    fn new(making: &Making<'_>) -> Result<Self, Failure> {
        let unfit = |why: String| making.unfit(&why);
        let given = making.surroundings.sandbox_address.as_ref();
        let given = given.map(|text| words::address(text, Way::Any)).transpose();
        Ok(Self {
            address: read(making.settings).map_err(unfit)?.or(given.map_err(unfit)?),
            workflow: making.purpose.workflow.clone(),
            timeout: words::timeout(None).map_err(unfit)?,
            surroundings: making.surroundings.clone(),
            found: Mutex::new(None),
        })
    }

    fn endpoint(&self, address: Url) -> Arc<Endpoint> {
        let secrets = Arc::clone(&self.surroundings.secrets);
        let server = Server::new(
            "prometheus",
            address,
            "`address`",
            self.timeout,
            &self.workflow,
            secrets,
        );
        Arc::new(Over(Prometheus::open(server)))
    }

    async fn find(&self) -> Result<Arc<Endpoint>, Failure> {
        if let Some(found) = self.found.lock().clone() {
            return Ok(found);
        }
        let endpoint = match &self.address {
            Some(address) => self.endpoint(address.clone()),
            None => {
                let directory = &self.surroundings.sandbox_dir;
                let none = || {
                    Failure::transient(format!(
                        "no sandbox runs in {} (start one: meridian sandbox --background)",
                        directory.display()
                    ))
                };
                let found = address::find(directory).await.ok_or_else(none)?.url;
                self.endpoint(words::address(&found, Way::Any).map_err(Failure::lasting)?)
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
