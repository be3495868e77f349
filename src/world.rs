//! The composition root: which clouds, gates, metric sources and notifiers this build has, and what the language is told
//! about them.

use meridian_providers::cloud;
use meridian_workflows::vocabulary::{Availability, Kind, Vocabulary};

use Availability::{Available, NotYet};

/// Every kind by name, for the language.
pub fn vocabulary() -> Vocabulary {
    Vocabulary {
        providers: cloud::kinds(),
        gates: kinds(GATES),
        sources: kinds(SOURCES),
        notifiers: kinds(NOTIFIERS),
    }
}

/// The cloud of this machine, and the metric source that belongs to it: `sandbox: {}` in a workflow is the
/// Prometheus-compatible endpoint of the sandbox in this state directory, wherever it listens.
pub const SANDBOX: &str = "sandbox";

const GATES: &[(&str, Availability)] = &[
    ("approval", Available),
    ("window", Available),
    ("metric", Available),
    ("http", Available),
    ("command", Available),
    ("signal", NotYet),
    ("completed", NotYet),
    ("lock", NotYet),
    ("compare", NotYet),
    ("trend", NotYet),
    ("budget", NotYet),
    ("health", NotYet),
];

const SOURCES: &[(&str, Availability)] = &[
    ("prometheus", Available),
    (SANDBOX, Available),
    ("applicationInsights", NotYet),
    ("cloudwatch", NotYet),
    ("datadog", NotYet),
    ("graphite", NotYet),
    ("influxdb", NotYet),
    ("newRelic", NotYet),
    ("wavefront", NotYet),
    ("web", NotYet),
];

const NOTIFIERS: &[(&str, Availability)] = &[
    ("slack", NotYet),
    ("teams", NotYet),
    ("webhook", NotYet),
    ("email", NotYet),
    ("pagerDuty", NotYet),
];

fn kinds(list: &'static [(&'static str, Availability)]) -> Vec<Kind> {
    list.iter()
        .map(|&(name, availability)| Kind { name, availability })
        .collect()
}
