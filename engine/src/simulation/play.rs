//! Plays a scenario: its world, its workflow, its seed, its start.

use meridian_workflows::scenario::Scenario;
use meridian_workflows::workflow::GateKind;

use super::script::{People, Script};
use super::simulate::{Simulated, simulate};
use crate::run::entry::Broken;

/// Why a scenario has not been played.
#[derive(Debug, thiserror::Error)]
pub enum Unplayed {
    #[error("its gates are of kinds that this build cannot judge yet: {0}")]
    NotYet(String),
    #[error("the simulated journal does not fold, which is a defect of Meridian")]
    Broken(#[from] Broken),
}

/// Plays it. Equal scenarios give equal journals.
///
/// *Errors*: gates that this build cannot judge, or a journal that does not fold, which would be a bug.
pub fn play(scenario: &Scenario) -> Result<Simulated, Unplayed> {
    let unknown = scenario
        .plan
        .workflow()
        .gates
        .iter()
        .filter_map(|(name, gate)| match &gate.kind {
            GateKind::NotYet { kind, .. } => Some(format!("`{name}` ({kind})")),
            _ => None,
        });
    let unknown: Vec<String> = unknown.collect();
    if !unknown.is_empty() {
        return Err(Unplayed::NotYet(unknown.join(", ")));
    }
    Ok(simulate(
        &scenario.plan,
        &script(scenario),
        scenario.seed,
        scenario.start,
    )?)
}

/// Nobody comes but those whom the scenario names.
fn script(scenario: &Scenario) -> Script {
    Script {
        people: People {
            approve_after: None,
            reject: Vec::new(),
        },
        world: scenario.world.clone(),
        length_max: Some(scenario.until),
        ..Script::default()
    }
}
