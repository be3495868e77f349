//! Strategies: ladders of stages with their gates, extending presets and one another.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::decode::context::Context;
use crate::decode::definitions::{Definition, Section};
use crate::decode::fields::Fields;
use crate::decode::gate_use::Uses;
use crate::decode::shape::{Form, Shape, optional};
use crate::decode::stage::{self, Placed, STAGE_FORM};
use crate::decode::{gate, value};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::Node;
use crate::document::source::Place;

pub static STRATEGY: Shape = Shape {
    name: "a strategy",
    summary: "A ladder of stages with the gates that all of them share.",
    one_of: &[],
    keys: &[
        optional("description", Form::Text, "when this strategy is the right one"),
        optional(
            "extends",
            Form::Text,
            "a strategy to build on: risk/low, risk/medium, risk/high, risk/critical, hotfix, blue-green, rolling, or one of your own",
        ),
        optional(
            "watch",
            Form::List(&Form::Name),
            "gates read during every stage, added to what it extends",
        ),
        optional(
            "before",
            Form::List(&Form::Name),
            "gates before every stage, added to what it extends",
        ),
        optional(
            "after",
            Form::List(&Form::Name),
            "gates after every stage's bake, added to what it extends",
        ),
        optional(
            "stages",
            Form::List(&STAGE_FORM),
            "replaces the stages of what it extends",
        ),
    ],
};

/// A strategy as written.
struct Written {
    extends: Option<(String, Place)>,
    uses: Uses,
    stages: Option<Vec<Placed>>,
    is_built_in: bool,
}

/// A strategy with everything it extends applied.
#[derive(Clone, Default)]
pub struct Strategy {
    pub uses: Uses,
    pub stages: Vec<Placed>,
}

/// All strategies by name; those that could not be read are missing.
pub struct Strategies {
    resolved: BTreeMap<String, Strategy>,
    names: Vec<String>,
    own: Vec<String>,
}

impl Strategies {
    /// The strategy of that name, with the place that names it. Reports it when there is none.
    pub fn find(&self, name: &str, place: &Place, cx: &mut Context<'_>) -> Option<&Strategy> {
        if !self.names.iter().any(|known| known == name) {
            cx.unknown(
                Code::UNKNOWN_STRATEGY,
                place,
                "strategy",
                name,
                self.names.iter().map(String::as_str),
            );
        }
        self.resolved.get(name)
    }

    /// What the only strategy of the author watches: a phase that brings its own stages and names no strategy is watched by
    /// the same gates. With several strategies nothing can be taken for granted.
    pub fn usual_watch(&self) -> Option<&Uses> {
        match &self.own[..] {
            [only] => self.resolved.get(only).map(|strategy| &strategy.uses),
            _ => None,
        }
    }
}

/// Reads all strategies.
pub fn read(section: &Section, gates: &GateNames<'_>, cx: &mut Context<'_>) -> Strategies {
    let mut written = IndexMap::new();
    for (name, definition) in section {
        if let Some(strategy) = strategy(definition, gates, cx) {
            written.insert(name.clone(), strategy);
        }
    }
    let names: Vec<String> = section.keys().cloned().collect();
    let mut resolved = BTreeMap::new();
    for name in written.keys() {
        resolve(name, &written, &names, &mut Vec::new(), &mut resolved, cx);
    }
    let own = section
        .iter()
        .filter(|(_, definition)| !definition.is_built_in())
        .map(|(name, _)| name.clone())
        .collect();
    Strategies {
        resolved: resolved
            .into_iter()
            .filter_map(|(name, strategy)| Some((name, strategy?)))
            .collect(),
        names,
        own,
    }
}

/// Gates that can be named: the ones that were read, and the names of all that were written.
pub struct GateNames<'a> {
    pub read: &'a IndexMap<String, gate::Placed>,
    pub written: &'a Section,
}

fn strategy(definition: &Definition, gates: &GateNames<'_>, cx: &mut Context<'_>) -> Option<Written> {
    let fields = Fields::read(&definition.node, &STRATEGY, cx)?;
    fields.text("description", cx);
    let extends = fields
        .get("extends")
        .and_then(|node| Some((value::text(node, cx)?, node.place.clone())));
    let stages = fields.get("stages").and_then(|node| stage::read(node, gates, cx));
    if extends.is_none() && fields.get("stages").is_none() {
        cx.report(
            Diagnostic::new(
                Code::NO_STAGES,
                definition.key.clone(),
                "this strategy has no stages and extends none that has",
            )
            .hint("add `stages:`, or `extends: risk/medium`"),
        );
        return None;
    }
    Some(Written {
        extends,
        uses: Uses::read(&fields, gates, cx),
        // Stages that could not be read have been reported; the strategy then has none.
        stages: stages.or_else(|| fields.get("stages").map(|_: &Node| Vec::new())),
        is_built_in: definition.is_built_in(),
    })
}

/// Applies what a strategy extends. `None` in `resolved` marks one that cannot be resolved.
fn resolve(
    name: &str,
    written: &IndexMap<String, Written>,
    names: &[String],
    path: &mut Vec<String>,
    resolved: &mut BTreeMap<String, Option<Strategy>>,
    cx: &mut Context<'_>,
) {
    if resolved.contains_key(name) {
        return;
    }
    let Some(own) = written.get(name) else { return };
    path.push(name.to_owned());
    let mut strategy = Strategy::default();
    let mut is_sound = true;
    if let Some((base, place)) = &own.extends {
        if let Some(start) = path.iter().position(|open| open == base) {
            let mut cycle: Vec<&str> = path[start..].iter().map(String::as_str).collect();
            cycle.push(base);
            let message = format!("these strategies extend one another: {}", cycle.join(" → "));
            cx.error(Code::EXTENDS_CYCLE, place, message);
            is_sound = false;
        } else if !names.contains(base) {
            cx.unknown(
                Code::UNKNOWN_STRATEGY,
                place,
                "strategy",
                base,
                names.iter().map(String::as_str),
            );
            is_sound = false;
        } else {
            resolve(base, written, names, path, resolved, cx);
            match resolved.get(base).cloned().flatten() {
                None => is_sound = false,
                Some(base_strategy) => {
                    let base_is_built_in = written.get(base).is_some_and(|base| base.is_built_in);
                    strategy = base_strategy;
                    if base_is_built_in && !own.is_built_in {
                        strategy.shown_at(place);
                    }
                }
            }
        }
    }
    strategy.uses.add(&own.uses);
    if let Some(stages) = &own.stages {
        strategy.stages.clone_from(stages);
    }
    path.pop();
    resolved.insert(name.to_owned(), is_sound.then_some(strategy));
}

impl Strategy {
    /// Problems of a preset's stages are shown where the author named the preset, not in a file that the author does not have.
    pub fn shown_at(&mut self, place: &Place) {
        for stage in &mut self.stages {
            stage.place = place.clone();
        }
    }

    /// The same, for a strategy that is used as it is.
    pub fn used_at(&self, place: &Place) -> Strategy {
        let mut strategy = self.clone();
        for stage in &mut strategy.stages {
            if stage
                .place
                .source()
                .name()
                .starts_with(crate::decode::built_in::DIRECTORY)
            {
                stage.place = place.clone();
            }
        }
        strategy
    }
}
