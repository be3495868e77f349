//! Runs for the tests of printers: the second example, simulated, and stopped where something is worth looking at.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use meridian_engine::run::event::Event;
use meridian_engine::run::state::Run;
use meridian_engine::simulation::script::{Fault, FaultKind, Script, find_stage};
use meridian_engine::simulation::simulate::{Simulated, simulate};
use meridian_workflows::decode::{self, Given, Surroundings};
use meridian_workflows::plan::compile::compile;

use super::reading::History;
use crate::world;

/// The example whose leak is caught, with these stages breaching.
pub fn simulated(fail: &[&str]) -> Simulated {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let load = |file: &str| std::fs::read(examples.join(file)).map_err(|error| error.to_string());
    let vocabulary = world::vocabulary();
    let inputs = std::collections::BTreeMap::new();
    let surroundings = Surroundings {
        vocabulary: &vocabulary,
        load: &load,
        inputs: Given::All(&inputs),
    };
    let name = "02-memory-leak.yaml";
    let reading = decode::read(name, &load(name).unwrap(), &surroundings);
    let plan = Arc::new(compile(reading.workflow.unwrap()));
    let fault = |stage: &&str| Fault {
        node: find_stage(&plan, stage).unwrap(),
        kind: FaultKind::Breach,
    };
    let script = Script {
        faults: fail.iter().map(fault).collect(),
        ..Script::default()
    };
    simulate(&plan, &script, 1, "2026-03-02T10:00:00Z".parse().unwrap()).unwrap()
}

/// A run as it stood after one entry.
pub struct Moment {
    pub run: Run,
    pub history: History,
    pub at: Timestamp,
}

/// The run after the first entry with an event that `is_it`; after the last one where there is none.
pub fn until(simulated: &Simulated, mut is_it: impl FnMut(&Event) -> bool) -> Moment {
    let mut run = Run::new(simulated.run.id().clone(), simulated.run.plan().clone());
    let mut history = History::default();
    for entry in &simulated.entries {
        run.record(entry).unwrap();
        history.record(entry);
        if entry.events.iter().any(&mut is_it) {
            break;
        }
    }
    let at = run.state().at;
    Moment { run, history, at }
}
