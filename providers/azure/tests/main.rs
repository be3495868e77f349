//! The providers against their doubles, and against the real thing where a variable names one.
#![allow(clippy::unwrap_used, clippy::panic)]

mod app_service;
mod swaps;

use std::collections::BTreeMap;

use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Rung;
use meridian_engine::ports::secret::{Secret, Secrets};
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;

/// Secrets by name, whoever asks.
pub struct Given(pub BTreeMap<&'static str, String>);

impl Secrets for Given {
    fn resolve(&self, _workflow: &str, name: &str) -> Result<Secret, Failure> {
        let value = self.0.get(name).cloned();
        value
            .map(Secret::new)
            .ok_or_else(|| Failure::lasting(format!("no secret `{name}`")))
    }
}

/// A ladder of these percentages.
pub fn rungs(percents: &[u16]) -> Vec<Rung> {
    let rung = |percent: &u16| Rung {
        exposure: Exposure::Traffic(Share::percent(*percent).unwrap()),
        bake: Duration::ZERO,
    };
    percents.iter().map(rung).collect()
}
