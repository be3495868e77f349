//! Named definitions of a workflow, its Libraries and the language itself, before they are read: one list per section.

use indexmap::IndexMap;

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::shape::{Form, Kinds, Shape, optional, required};
use crate::decode::substitution::{Bindings, Moment};
use crate::decode::{gate, metric, strategy, value, window};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::Node;
use crate::document::source::Place;

/// Where a definition comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The language itself: presets and usual metrics.
    BuiltIn,
    /// A Library that was imported.
    Imported,
    /// The file that is being read.
    Own,
}

/// A named value that has not been read yet; inputs are filled in.
#[derive(Clone, Debug)]
pub struct Definition {
    pub key: Place,
    pub node: Node,
    pub origin: Origin,
}

impl Definition {
    pub fn is_built_in(&self) -> bool {
        self.origin == Origin::BuiltIn
    }
}

/// Definitions of one section by name.
pub type Section = IndexMap<String, Definition>;

/// Everything that has a name.
#[derive(Debug, Default)]
pub struct Definitions {
    pub sources: Section,
    pub metrics: Section,
    pub gates: Section,
    pub strategies: Section,
    pub notifiers: Section,
    pub calendars: Section,
    pub policies: Vec<Definition>,
}

pub static POLICY: Shape = Shape {
    name: "a policy",
    summary: "A rule that every workflow importing this Library must keep.",
    one_of: &[],
    keys: &[
        required("name", Form::Name, "the rule's name"),
        optional(
            "when",
            Form::Expression,
            "CEL over workflow, stages, phases, regions and gates; where it is false the rule does not apply",
        ),
        required("require", Form::Expression, "CEL; must be true"),
        optional("message", Form::Text, "what the author is told when the rule is broken"),
    ],
};

pub static LIBRARY: Shape = Shape {
    name: "a Library",
    summary: "Definitions that several workflows share.",
    one_of: &[],
    keys: &[
        optional("description", Form::Text, "what the Library is for"),
        optional(
            "imports",
            Form::List(&Form::Text),
            "other Libraries, as paths relative to this file",
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
        optional(
            "gates",
            Form::Map(&Form::Object(&gate::GATE)),
            "questions that nodes must pass",
        ),
        optional(
            "strategies",
            Form::Map(&Form::Object(&strategy::STRATEGY)),
            "ladders of stages with their gates",
        ),
        optional("notifiers", Form::Map(&Form::Kind(Kinds::Notifiers)), "who can be told"),
        optional(
            "calendars",
            Form::Map(&Form::Object(&window::CALENDAR)),
            "when nothing may move",
        ),
        optional(
            "policies",
            Form::List(&Form::Object(&POLICY)),
            "rules for every workflow that imports this Library",
        ),
    ],
};

impl Definitions {
    /// Adds the sections that a Workflow and a Library have in common.
    pub fn add(&mut self, spec: &Fields<'_>, origin: Origin, bindings: &Bindings, cx: &mut Context<'_>) {
        let sections: [(&'static str, Moment, &mut Section); 6] = [
            ("sources", Moment::Settled, &mut self.sources),
            ("metrics", Moment::Read, &mut self.metrics),
            ("gates", Moment::Read, &mut self.gates),
            ("strategies", Moment::Settled, &mut self.strategies),
            ("notifiers", Moment::Settled, &mut self.notifiers),
            ("calendars", Moment::Settled, &mut self.calendars),
        ];
        for (key, moment, section) in sections {
            for (name, place, node) in spec.entries(key, cx) {
                // Presets are named by paths such as `risk/high`, which no author can take.
                if origin != Origin::BuiltIn {
                    value::check_name(name, place, cx);
                }
                let definition = Definition {
                    key: place.clone(),
                    node: bindings.fill(node, moment, cx),
                    origin,
                };
                insert(section, key, name, definition, cx);
            }
        }
    }

    /// Adds the policies of a Library.
    pub fn add_policies(&mut self, spec: &Fields<'_>, origin: Origin, cx: &mut Context<'_>) {
        for node in spec.list("policies", cx) {
            self.policies.push(Definition {
                key: node.place.first_line(),
                node: node.clone(),
                origin,
            });
        }
    }
}

/// A name has one definition. Only usual metrics and gates of the language itself give way to an author's.
fn insert(section: &mut Section, key: &str, name: &str, definition: Definition, cx: &mut Context<'_>) {
    let Some(first) = section.get(name) else {
        section.insert(name.to_owned(), definition);
        return;
    };
    let gives_way = first.is_built_in() && matches!(key, "metrics" | "gates");
    if gives_way {
        section.insert(name.to_owned(), definition);
    } else if first.is_built_in() {
        let message = format!("`{name}` is the name of a preset");
        cx.report(
            Diagnostic::new(Code::DEFINED_TWICE, definition.key, message)
                .hint("choose another name, and extend the preset"),
        );
    } else {
        let message = format!("`{name}` is defined in `{key}` twice");
        cx.report(
            Diagnostic::new(Code::DEFINED_TWICE, definition.key, message)
                .and(first.key.clone(), "first here")
                .hint("two definitions need two names: which one counts must not depend on the order of imports"),
        );
    }
}
