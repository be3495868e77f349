//! From documents to a Workflow: everything resolved, every problem of a file at once, each at the value that has it.

mod approval;
mod budget;
mod built_in;
mod catalogue;
mod coherence;
mod compare;
mod completed;
mod context;
mod definitions;
mod envelope;
mod expressions;
mod fields;
mod gate;
mod gate_use;
mod http;
mod imports;
mod inputs;
mod kayenta;
mod kinds;
mod lock;
mod metric;
mod operations;
mod phases;
mod platform;
mod policy;
mod quantity;
mod regions;
mod release;
mod scenario;
pub mod schema;
mod shape;
mod signal;
mod stage;
mod strategy;
mod substitution;
mod threshold;
mod trend;
mod value;
mod window;
mod workflow;

pub use crate::decode::context::Load;
pub use crate::decode::inputs::Given;

use crate::decode::context::Context;
use crate::decode::definitions::{Definitions, LIBRARY, Origin};
use crate::decode::envelope::{Enveloped, Kind};
use crate::decode::fields::Fields;
use crate::decode::substitution::Bindings;
use crate::diagnostic::{Code, Diagnostic, has_errors};
use crate::document::node::Document;
use crate::document::source::{Place, Source};
use crate::document::{self};
use crate::scenario::Scenario;
use crate::vocabulary::Vocabulary;
use crate::workflow::Workflow;

/// What a text is read against.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Which clouds, gates, sources and notifiers exist.
    pub vocabulary: &'a Vocabulary,
    /// Reads a file that the text names. The path has been resolved against the naming file's own.
    pub load: Load<'a>,
    /// The values of the inputs.
    pub inputs: Given<'a>,
}

/// What became of a file.
#[derive(Debug)]
pub struct Reading {
    /// The file's workflow; none when it has none, or when a diagnostic is an error.
    pub workflow: Option<Workflow>,
    /// The file's scenarios, in its order; none when a diagnostic is an error.
    pub scenarios: Vec<Scenario>,
    /// Everything there is to say about the file and what it imports, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Reading {
    pub fn has_errors(&self) -> bool {
        has_errors(&self.diagnostics)
    }
}

/// Reads one file: its Workflow with everything it imports, or its Libraries, and its Scenarios with the workflows they play.
///
/// *Guarantees*: no panic on any input; no I/O but through `load`; bounded time and memory; without errors a file that
/// contains a Workflow gives one, and it compiles to a plan.
pub fn read(file: &str, bytes: &[u8], surroundings: &Surroundings<'_>) -> Reading {
    let mut cx = Context::new(surroundings.vocabulary, surroundings.load);
    let documents = parsed(file, bytes, &mut cx);
    let enveloped = envelopes(&documents, &mut cx);
    let workflow = workflow_of(&enveloped, surroundings, &mut cx);
    let mut played = scenario::Played::default();
    let scenarios: Vec<Scenario> = enveloped
        .iter()
        .filter(|document| document.kind == Kind::Scenario)
        .filter_map(|document| scenario::read(document, &mut played, surroundings, &mut cx))
        .collect();
    let diagnostics = cx.diagnostics.finish();
    let is_sound = !has_errors(&diagnostics);
    Reading {
        workflow: workflow.filter(|_| is_sound),
        scenarios: if is_sound { scenarios } else { Vec::new() },
        diagnostics,
    }
}

/// The Workflow of a file that a Scenario plays. Scenarios that stand in the same file are left alone: they are read for
/// themselves, and one that plays its own file would never end.
fn read_workflow(file: &str, bytes: &[u8], surroundings: &Surroundings<'_>) -> (Option<Workflow>, Vec<Diagnostic>) {
    let mut cx = Context::new(surroundings.vocabulary, surroundings.load);
    let documents = parsed(file, bytes, &mut cx);
    let enveloped = envelopes(&documents, &mut cx);
    let workflow = workflow_of(&enveloped, surroundings, &mut cx);
    let diagnostics = cx.diagnostics.finish();
    (workflow.filter(|_| !has_errors(&diagnostics)), diagnostics)
}

fn parsed(file: &str, bytes: &[u8], cx: &mut Context<'_>) -> Vec<Document> {
    let (documents, diagnostics) = document::parse(file, bytes);
    let is_readable = diagnostics.is_empty();
    cx.diagnostics.extend(diagnostics);
    if documents.is_empty() && is_readable {
        let message = "the file contains no document";
        let hint = "a document begins with `apiVersion: meridian/v1` and `kind: Workflow`";
        let place = Place::beginning(&Source::new(file, String::from_utf8_lossy(bytes)));
        cx.report(Diagnostic::new(Code::ENVELOPE, place, message).hint(hint));
    }
    documents
}

fn envelopes<'n>(documents: &'n [Document], cx: &mut Context<'_>) -> Vec<Enveloped<'n>> {
    documents
        .iter()
        .filter_map(|document| envelope::read(document, cx))
        .collect()
}

/// The one Workflow of a file; where there is none, its Libraries are checked by themselves.
fn workflow_of(enveloped: &[Enveloped<'_>], surroundings: &Surroundings<'_>, cx: &mut Context<'_>) -> Option<Workflow> {
    let of_kind = |kind: Kind| enveloped.iter().filter(move |document| document.kind == kind);
    let workflows: Vec<&Enveloped<'_>> = of_kind(Kind::Workflow).collect();
    let libraries: Vec<&Enveloped<'_>> = of_kind(Kind::Library).collect();
    match workflows[..] {
        [] => {
            if !libraries.is_empty() {
                workflow::check_libraries(&libraries, cx);
            }
            None
        }
        [only] => workflow::read(only, &libraries, surroundings.inputs, cx),
        [first, ref others @ ..] => {
            for other in others {
                let message = "a file holds one Workflow, this is another";
                cx.report(
                    Diagnostic::new(Code::SECOND_WORKFLOW, other.name_place.clone(), message)
                        .and(first.name_place.clone(), "the first")
                        .hint("move it to a file of its own; what both need goes into a Library"),
                );
            }
            None
        }
    }
}

/// Adds a Library's sections to the definitions.
fn add_library(
    definitions: &mut Definitions,
    spec: &crate::document::node::Node,
    origin: Origin,
    bindings: &Bindings,
    cx: &mut Context<'_>,
) {
    if let Some(fields) = Fields::read(spec, &LIBRARY, cx) {
        fields.text("description", cx);
        definitions.add(&fields, origin, bindings, cx);
        definitions.add_policies(&fields, origin, cx);
    }
}

/// Adds what imported documents define, the ones they build on first.
fn add_documents(
    definitions: &mut Definitions,
    documents: &[Document],
    origin: Origin,
    bindings: &Bindings,
    cx: &mut Context<'_>,
) {
    for document in documents {
        // The envelope of an imported file was checked when it was found.
        if let Some(spec) = document.root.as_map().and_then(|map| map.get("spec")) {
            add_library(definitions, spec, origin, bindings, cx);
        }
    }
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
