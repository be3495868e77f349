//! Gates that ask the world: one file each, and one line each in the list.

pub mod budget;
pub mod command;
pub mod compare;
pub mod http;
pub mod kayenta;
pub mod metric;
pub mod question;
pub mod telemetry;
pub mod trend;

use std::sync::Arc;

use meridian_engine::ports::gate::Gate;

use crate::gate::telemetry::Telemetry;
use crate::metric::Surroundings;

/// The gates of this folder by the key that the language knows them under.
pub fn gates(surroundings: Surroundings) -> Vec<(&'static str, Arc<dyn Gate>)> {
    let secrets = Arc::clone(&surroundings.secrets);
    let telemetry = Arc::new(Telemetry::new(surroundings));
    vec![
        ("metric", Arc::new(metric::Metric(Arc::clone(&telemetry)))),
        ("compare", Arc::new(compare::Compare(Arc::clone(&telemetry)))),
        ("trend", Arc::new(trend::Trend(Arc::clone(&telemetry)))),
        ("budget", Arc::new(budget::Budget(telemetry))),
        ("http", Arc::new(http::Http::new(Arc::clone(&secrets)))),
        ("kayenta", Arc::new(kayenta::Kayenta::new(Arc::clone(&secrets)))),
        ("command", Arc::new(command::Command::new(secrets))),
    ]
}

#[cfg(test)]
mod stories;
