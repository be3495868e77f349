//! The composition root: which clouds, gates, metric sources and notifiers this build has, and what the language is told
//! about them.

use std::sync::Arc;

use meridian_engine::ports::secret::Secrets;
use meridian_engine::scheduler::world::World;
use meridian_providers::cloud::sandbox::ADDRESS_VARIABLE;
use meridian_providers::metric::{self, Surroundings};
use meridian_providers::sandbox::address;
use meridian_providers::{cloud, gate};
use meridian_workflows::plan::Plan;
use meridian_workflows::vocabulary::{Availability, Kind, Vocabulary};

use crate::cli::desk::Desk;
use crate::secrets::SecretsFile;

use Availability::{Available, NotYet};

/// Every kind by name, for the language.
pub fn vocabulary() -> Vocabulary {
    Vocabulary {
        providers: cloud::kinds(),
        gates: kinds(GATES),
        sources: metric::kinds(),
        notifiers: kinds(NOTIFIERS),
    }
}

/// Everything that this build can reach, for the engine.
pub fn world(desk: &Desk) -> World {
    let secrets: Arc<dyn Secrets> = Arc::new(SecretsFile::new(desk.state_dir().join("secrets.json")));
    let sandbox_address = sandbox_address();
    let here = cloud::Surroundings {
        secrets: Arc::clone(&secrets),
        sandbox_dir: desk.sandbox_dir(),
        sandbox_address: sandbox_address.clone(),
    };
    let surroundings = Surroundings {
        secrets: Arc::clone(&secrets),
        sandbox_dir: desk.sandbox_dir(),
        sandbox_address,
    };
    let world = cloud::providers(&here)
        .into_iter()
        .fold(World::new(), |world, (kind, provider)| {
            world.with_provider(kind, provider)
        });
    gate::gates(surroundings)
        .into_iter()
        .fold(world, |world, (kind, gate)| world.with_gate(kind, gate))
}

fn sandbox_address() -> Option<String> {
    std::env::var(ADDRESS_VARIABLE)
        .ok()
        .filter(|address| !address.is_empty())
}

/// Whether some region lives in the sandbox of the state directory: one that names no address of its own.
pub fn needs_sandbox(plan: &Plan) -> bool {
    let regions = plan.workflow().regions.values();
    let mut of_sandbox = regions.filter(|region| region.provider == SANDBOX);
    sandbox_address().is_none() && of_sandbox.any(|region| region.settings.get("address").is_none())
}

pub async fn sandbox_is_up(desk: &Desk) -> bool {
    address::find(&desk.sandbox_dir()).await.is_some()
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
    ("compare", Available),
    ("trend", Available),
    ("budget", Available),
    ("kayenta", Available),
    ("health", Available),
    ("signal", Available),
    ("completed", Available),
    ("lock", Available),
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
