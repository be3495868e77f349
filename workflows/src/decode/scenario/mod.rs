//! A Scenario document: a scripted world and expectations, read against the workflow that it names.

mod cast;
mod curve;
mod expectation;
mod faults;
mod people;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decode::context::Context;
use crate::decode::envelope::Enveloped;
use crate::decode::fields::Fields;
use crate::decode::inputs::Given;
use crate::decode::scenario::cast::Cast;
use crate::decode::shape::{Form, Shape, optional, required};
use crate::decode::{Surroundings, imports, read_workflow, value};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::Node;
use crate::duration::Duration;
use crate::plan::Plan;
use crate::plan::compile::compile;
use crate::scenario::{Scenario, World};

pub static SCENARIO: Shape = Shape {
    name: "a Scenario",
    summary: "A scripted world for a workflow, and what is expected of the run in it: `meridian test` plays it in virtual time.",
    one_of: &[],
    keys: &[
        optional("description", Form::Text, "what the scenario shows, for people"),
        required("workflow", Form::Text, "the workflow's file, relative to this one"),
        optional(
            "inputs",
            Form::Map(&Form::Text),
            "the workflow's inputs; those with a default may be left out",
        ),
        required(
            "start",
            Form::Instant,
            "when the run starts, as in `2026-03-02T10:00:00Z`",
        ),
        optional(
            "until",
            Form::Duration,
            "how long the run is followed (default 7d); one that still goes on then has no outcome",
        ),
        optional(
            "seed",
            Form::Integer { min: 0, max: u64::MAX },
            "where the world's chance comes from (default 1); equal seeds tell equal stories",
        ),
        optional(
            "world",
            Form::Object(&world::WORLD),
            "what happens; what is not said is healthy, and nobody comes",
        ),
        required(
            "expect",
            Form::Object(&expectation::EXPECTATION),
            "what must be true in the end",
        ),
    ],
};

const SEED_DEFAULT: u64 = 1;

/// Longer than any approval of the presets waits; with gates read twice a minute, a fraction of a second of work.
const UNTIL_DEFAULT: Duration = Duration::from_secs(7 * 86_400);

/// Sound workflows by file and inputs: the scenarios of a file mostly play the same one, and reading it is most of the work.
pub type Played = BTreeMap<(String, BTreeMap<String, String>), Arc<Plan>>;

/// Reads a Scenario with the workflow that it names.
pub fn read(
    document: &Enveloped<'_>,
    played: &mut Played,
    surroundings: &Surroundings<'_>,
    cx: &mut Context<'_>,
) -> Option<Scenario> {
    let fields = Fields::read(document.spec, &SCENARIO, cx)?;
    let inputs = fields.text_map("inputs", cx);
    let named = fields
        .get("workflow")
        .and_then(|node| workflow(node, inputs, played, surroundings, cx));
    let cast = Cast::new(named.as_ref().map(|(_, plan)| plan.as_ref()));
    let start = fields.get("start").and_then(|node| value::instant(node, cx));
    let seed = fields.integer("seed", 0, u64::MAX, cx).unwrap_or(SEED_DEFAULT);
    let until = fields
        .get("until")
        .map_or(Some(UNTIL_DEFAULT), |node| value::positive_duration(node, cx));
    let world = match fields.get("world") {
        Some(node) => world::read(node, &cast, cx),
        None => Some(World::default()),
    };
    let expect = fields.get("expect").and_then(|node| expectation::read(node, &cast, cx));
    let description = fields.text("description", cx);
    let (file, plan) = named?;
    Some(Scenario {
        name: document.name.clone(),
        labels: document.labels.clone(),
        description,
        file,
        plan,
        start: start?,
        until: until?,
        seed,
        world: world?,
        expect: expect?,
    })
}

/// The named workflow with its file, compiled. What is wrong with it is told in its own lines.
fn workflow(
    node: &Node,
    inputs: BTreeMap<String, String>,
    played: &mut Played,
    surroundings: &Surroundings<'_>,
    cx: &mut Context<'_>,
) -> Option<(String, Arc<Plan>)> {
    let (file, bytes) = imports::beside(node, cx)?;
    if let Some(plan) = played.get(&(file.clone(), inputs.clone())) {
        return Some((file, Arc::clone(plan)));
    }
    let given = Surroundings {
        inputs: Given::All(&inputs),
        ..*surroundings
    };
    let (workflow, diagnostics) = read_workflow(&file, &bytes, &given);
    let errors = diagnostics.into_iter().filter(Diagnostic::is_error);
    let told: Vec<Diagnostic> = errors.map(|diagnostic| seen_from(diagnostic, node)).collect();
    let is_sound = told.is_empty();
    cx.diagnostics.extend(told);
    match workflow {
        Some(workflow) => {
            let plan = Arc::new(compile(workflow));
            played.insert((file.clone(), inputs), Arc::clone(&plan));
            Some((file, plan))
        }
        None => {
            if is_sound {
                let message = format!("`{file}` holds no workflow");
                let hint = "a scenario plays a file of kind Workflow";
                cx.report(Diagnostic::new(Code::SCENARIO_WORKFLOW, node.place.clone(), message).hint(hint));
            }
            None
        }
    }
}

/// A problem of the workflow, as the scenario's author meets it.
fn seen_from(diagnostic: Diagnostic, scenario: &Node) -> Diagnostic {
    let is_missing_input = diagnostic.code == Code::INPUT_MISSING;
    let told = diagnostic.and(scenario.place.clone(), "this scenario plays the workflow");
    if is_missing_input {
        told.hint("give it a value under `inputs` of the scenario")
    } else {
        told
    }
}

#[cfg(test)]
mod tests;
