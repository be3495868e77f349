//! A Workflow document with everything it refers to.

use std::collections::BTreeSet;

use crate::decode::catalogue::Catalogue;
use crate::decode::coherence::{self, Whole};
use crate::decode::context::Context;
use crate::decode::definitions::{Definitions, Origin};
use crate::decode::envelope::Enveloped;
use crate::decode::fields::Fields;
use crate::decode::inputs::{self, Given};
use crate::decode::phases;
use crate::decode::shape::{Form, Kinds, Shape, optional, required};
use crate::decode::strategy::{self, GateNames};
use crate::decode::substitution::{Bindings, Moment};
use crate::decode::{add_documents, add_library, built_in, imports, operations, policy, value, window};
use crate::decode::{gate, metric, regions, release};
use crate::document::node::{Document, Entry, Map, Node, Value};
use crate::document::source::Place;
use crate::workflow::Workflow;

pub static WORKFLOW: Shape = Shape {
    name: "a Workflow",
    summary: "A release: what goes where, in which order, at which shares, past which gates.",
    one_of: &[],
    keys: &[
        optional("description", Form::Text, "what is released and how, for people"),
        optional(
            "imports",
            Form::List(&Form::Text),
            "Libraries, as paths relative to this file",
        ),
        optional(
            "inputs",
            Form::Map(&Form::Object(&inputs::INPUT)),
            "values that are handed in when a release starts",
        ),
        required(
            "release",
            Form::Either(&[Form::Text, Form::Object(&release::RELEASE)]),
            "what is released; a string is an image",
        ),
        optional(
            "defaults",
            Form::Kind(Kinds::Providers),
            "settings by provider, merged under its regions: maps merge, lists replace",
        ),
        required(
            "regions",
            Form::Map(&Form::Object(&regions::REGION)),
            "where: one provider key each",
        ),
        optional(
            "strategies",
            Form::Map(&Form::Object(&strategy::STRATEGY)),
            "ladders of stages with their gates",
        ),
        required(
            "phases",
            Form::List(&Form::Object(&phases::PHASE)),
            "groups of regions, one after another unless `needs` says otherwise",
        ),
        optional(
            "gates",
            Form::Map(&Form::Object(&gate::GATE)),
            "questions that nodes must pass",
        ),
        optional(
            "sources",
            Form::Map(&Form::Kind(Kinds::Sources)),
            "where metrics are read",
        ),
        optional(
            "metrics",
            Form::Map(&Form::Object(&metric::METRIC)),
            "named questions to the sources",
        ),
        optional("notifiers", Form::Map(&Form::Kind(Kinds::Notifiers)), "who can be told"),
        optional(
            "calendars",
            Form::Map(&Form::Object(&window::CALENDAR)),
            "when nothing may move",
        ),
        optional(
            "rollback",
            Form::Object(&operations::ROLLBACK),
            "how a rollback goes about it",
        ),
        optional(
            "concurrency",
            Form::Object(&operations::CONCURRENCY),
            "what happens when another run holds a target",
        ),
        optional(
            "schedule",
            Form::List(&Form::Object(&operations::SCHEDULE)),
            "starts at fixed times, with the newest submitted release",
        ),
        optional(
            "notify",
            Form::List(&Form::Object(&operations::NOTIFICATION)),
            "who is told what",
        ),
    ],
};

/// Reads a Workflow. `beside` are the Libraries of the same file.
pub fn read(
    document: &Enveloped<'_>,
    beside: &[&Enveloped<'_>],
    given: Given<'_>,
    cx: &mut Context<'_>,
) -> Option<Workflow> {
    let written = Fields::read(document.spec, &WORKFLOW, cx)?;
    let inputs = inputs::read(&written, given, cx);
    let bindings = Bindings::of_workflow(&document.name, &document.labels, &inputs);
    let definitions = gather(document, &written, beside, &bindings, cx);
    let filled = filled(document.spec, &bindings, cx);
    // The keys were checked above; reading them again would only repeat what has been said.
    let spec = Fields::read(&filled, &WORKFLOW, cx)?;
    let read = Catalogue::read(&definitions, false, cx);
    let gate_names = || GateNames {
        read: &read.gates,
        written: &definitions.gates,
    };
    let strategies = strategy::read(&definitions.strategies, &gate_names(), cx);
    let regions = regions::read(&spec, cx);
    let region_names: Vec<&str> = spec
        .get("regions")
        .and_then(Node::as_map)
        .map(|map| map.entries.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let referred = phases::Referred {
        regions: &regions,
        region_names: &region_names,
        strategies: &strategies,
        gates: gate_names(),
    };
    let phases = phases::read(&spec, &referred, cx);
    let whole = Whole {
        regions: &regions,
        phases: &phases,
        gates: &read.gates,
        calendars: &read.calendars,
        place: spec.key_place("phases"),
    };
    coherence::check(&whole, cx);
    let notifications = operations::notifications(&spec, &definitions.notifiers, cx);
    let used_gates = used_gates(&phases);
    check_unused(&definitions, &spec, &used_gates, cx);
    let told: BTreeSet<&str> = notifications
        .iter()
        .map(|notification| notification.to.as_str())
        .collect();
    let used = read.only_used(&used_gates, &told, cx);
    let workflow = Workflow {
        name: document.name.clone(),
        labels: document.labels.clone(),
        description: spec.text("description", cx),
        inputs: inputs.values,
        release: spec.get("release").and_then(|node| release::read(node, cx))?,
        regions: regions
            .into_iter()
            .map(|(name, placed)| (name, placed.region))
            .collect(),
        phases: phases.into_iter().map(|placed| placed.phase).collect(),
        gates: used.gates,
        metrics: used.metrics,
        sources: used.sources,
        calendars: used.calendars,
        rollback: operations::rollback(&spec, cx),
        on_conflict: operations::on_conflict(&spec, cx),
        schedules: operations::schedules(&spec, cx),
        notifications,
        notifiers: used.notifiers,
        not_available_yet: cx.not_yet.iter().cloned().collect(),
    };
    judge_policies(&definitions, &workflow, &document.name_place, cx);
    Some(workflow)
}

/// Definitions of the language, of imported Libraries, of Libraries in the same file, and of the workflow.
fn gather(
    document: &Enveloped<'_>,
    spec: &Fields<'_>,
    beside: &[&Enveloped<'_>],
    bindings: &Bindings,
    cx: &mut Context<'_>,
) -> Definitions {
    let mut definitions = Definitions::default();
    add_documents(&mut definitions, built_in::libraries(), Origin::BuiltIn, bindings, cx);
    let imported = imported(std::iter::once(document).chain(beside.iter().copied()), cx);
    add_documents(&mut definitions, &imported, Origin::Imported, bindings, cx);
    for library in beside {
        add_library(&mut definitions, library.spec, Origin::Imported, bindings, cx);
    }
    definitions.add(spec, Origin::Own, bindings, cx);
    definitions
}

/// What several documents of one file import, each file once.
fn imported<'n>(documents: impl Iterator<Item = &'n Enveloped<'n>>, cx: &mut Context<'_>) -> Vec<Document> {
    let mut found: Vec<Document> = Vec::new();
    for document in documents {
        for library in imports::libraries(document.spec, cx) {
            let is_new = !found.iter().any(|known| known.root.place == library.root.place);
            found.extend(is_new.then_some(library));
        }
    }
    found
}

/// The spec with inputs filled in, except where definitions have been filled already.
fn filled(spec: &Node, bindings: &Bindings, cx: &mut Context<'_>) -> Node {
    let Some(map) = spec.as_map() else { return spec.clone() };
    let taken = [
        "inputs",
        "imports",
        "sources",
        "metrics",
        "gates",
        "strategies",
        "notifiers",
        "calendars",
    ];
    let known = map.entries.iter().filter(|(key, _)| WORKFLOW.key(key).is_some());
    let entries = known.map(|(key, entry)| {
        let value = if taken.contains(&key.as_str()) {
            entry.value.clone()
        } else {
            bindings.fill(&entry.value, Moment::Settled, cx)
        };
        (
            key.clone(),
            Entry {
                key: entry.key.clone(),
                value,
            },
        )
    });
    Node {
        place: spec.place.clone(),
        value: Value::Map(Map {
            entries: entries.collect(),
        }),
    }
}

fn used_gates(phases: &[phases::Placed]) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for placed in phases {
        used.extend(placed.phase.before.iter().chain(&placed.phase.after).cloned());
        for stage in &placed.phase.stages {
            used.extend(stage.before.iter().chain(&stage.watch).chain(&stage.after).cloned());
        }
    }
    used
}

/// Gates and strategies of the workflow's own that nothing names.
fn check_unused(definitions: &Definitions, spec: &Fields<'_>, gates: &BTreeSet<String>, cx: &mut Context<'_>) {
    let own = |section: &'static str| -> Vec<(String, Place)> {
        let map = spec.get(section).and_then(Node::as_map);
        map.map(|map| {
            map.entries
                .iter()
                .map(|(name, entry)| (name.clone(), entry.key.clone()))
                .collect()
        })
        .unwrap_or_default()
    };
    let gate_list = own("gates");
    let names: Vec<(&str, &Place)> = gate_list.iter().map(|(name, place)| (name.as_str(), place)).collect();
    let named_by_strategies: Vec<String> = definitions
        .strategies
        .values()
        .flat_map(|strategy| texts(&strategy.node))
        .collect();
    let used: BTreeSet<&str> = gates.iter().chain(&named_by_strategies).map(String::as_str).collect();
    coherence::check_unused("gate", &names, &used, cx);
    let strategy_list = own("strategies");
    let names: Vec<(&str, &Place)> = strategy_list
        .iter()
        .map(|(name, place)| (name.as_str(), place))
        .collect();
    let extended = definitions
        .strategies
        .values()
        .filter_map(|strategy| strategy.node.as_map()?.get("extends")?.as_text());
    let phases = spec.get("phases").map(value::one_or_more).unwrap_or_default();
    let chosen = phases
        .iter()
        .filter_map(|phase| phase.as_map()?.get("strategy")?.as_text());
    let mut used: BTreeSet<&str> = extended.chain(chosen).collect();
    // The only strategy lends its watch to phases that bring their own stages.
    if let [only] = names[..] {
        used.extend(
            phases
                .iter()
                .any(|phase| phase.as_map().is_some_and(|map| map.get("strategy").is_none()))
                .then_some(only.0),
        );
    }
    coherence::check_unused("strategy", &names, &used, cx);
}

/// All texts of a tree: names of gates among them.
fn texts(node: &Node) -> Vec<String> {
    match &node.value {
        Value::Null => Vec::new(),
        Value::Scalar(scalar) => vec![scalar.text.clone()],
        Value::List(items) => items.iter().flat_map(texts).collect(),
        Value::Map(map) => map.entries.values().flat_map(|entry| texts(&entry.value)).collect(),
    }
}

fn judge_policies(definitions: &Definitions, workflow: &Workflow, name: &Place, cx: &mut Context<'_>) {
    let policies: Vec<_> = definitions
        .policies
        .iter()
        .filter_map(|definition| policy::check(definition, cx))
        .collect();
    // A workflow with errors is not what its author means yet; judging it would add noise.
    if cx.diagnostics.has_errors() || policies.is_empty() {
        return;
    }
    let values = policy::values(workflow);
    for policy in policies {
        policy.judge(&values, name, cx);
    }
}

/// Checks the Libraries of a file that has no Workflow.
pub fn check_libraries(libraries: &[&Enveloped<'_>], cx: &mut Context<'_>) {
    let bindings = Bindings::of_library();
    let mut definitions = Definitions::default();
    add_documents(&mut definitions, built_in::libraries(), Origin::BuiltIn, &bindings, cx);
    let imported = imported(libraries.iter().copied(), cx);
    add_documents(&mut definitions, &imported, Origin::Imported, &bindings, cx);
    for library in libraries {
        add_library(&mut definitions, library.spec, Origin::Own, &bindings, cx);
    }
    let read = Catalogue::read(&definitions, true, cx);
    strategy::read(
        &definitions.strategies,
        &GateNames {
            read: &read.gates,
            written: &definitions.gates,
        },
        cx,
    );
    for definition in &definitions.policies {
        policy::check(definition, cx);
    }
}
