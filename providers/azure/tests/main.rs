//! The providers against their doubles, and against the real thing where a variable names one.
#![allow(clippy::unwrap_used, clippy::panic)]

mod app_configuration;
mod app_service;
mod fences;
mod flags;
mod story;
mod swaps;
mod ways_back;

use std::collections::BTreeMap;

use meridian_conformance::rig::Workshop;
use meridian_conformance::{suite, table};
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Rung;
use meridian_engine::ports::secret::{Secret, Secrets};
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;

/// The suite, held to the table. `MERIDIAN_BEHAVIOUR` picks behaviours by a part of their names, and holds them to nothing else.
pub async fn held(workshop: &dyn Workshop) {
    match std::env::var("MERIDIAN_BEHAVIOUR") {
        Ok(only) => {
            let report = suite::run_some(workshop, |behaviour| behaviour.name.contains(&only)).await;
            assert_eq!(report.complaint(), None);
        }
        Err(_) => assert_eq!(table::hold(&suite::run(workshop).await), Ok(())),
    }
}

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
