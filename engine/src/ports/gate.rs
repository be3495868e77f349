//! Reads one question of a gate from the world, once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::{Gate as Definition, Workflow};

use super::failure::Failure;
use crate::run::reading::Answer;
use crate::run::version::Version;

/// *Guarantees asked*: one reading, no retries, no verdict: thresholds are judged in the core. An answer that cannot be
/// understood is a failure, never a pass.
///
/// *Errors*: [`Failure`]; the run records it as an unknown and follows the gate's `onError`.
#[async_trait::async_trait]
pub trait Gate: Send + Sync {
    async fn read(&self, question: &Question<'_>) -> Result<Answer, Failure>;
}

/// What is asked, and about which telemetry.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    pub run: &'a str,
    pub workflow: &'a Workflow,
    /// The node's key.
    pub node: &'a str,
    /// The gate's name.
    pub gate: &'a str,
    pub definition: &'a Definition,
    pub region: Option<RegionArms<'a>>,
    /// How far back evidence may reach: at most the metric's window, never beyond the last change of share.
    pub window: Duration,
    pub since: Timestamp,
    pub now: Timestamp,
}

/// The two sides of the comparison in one region.
#[derive(Clone, Debug)]
pub struct RegionArms<'a> {
    pub name: &'a str,
    pub settings: &'a serde_json::Value,
    pub candidate: Option<&'a Version>,
    /// None where no concurrent baseline serves, or the gate does not ask for one.
    pub baseline: Option<&'a Version>,
}

/// What a template may see of an arm, by DESIGN: `arm.name`, `arm.version`, `arm.labels.*`, `region.name`, `window`, `inputs.*`.
pub type TemplateValues = BTreeMap<String, serde_json::Value>;
