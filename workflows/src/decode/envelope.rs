//! The envelope that every document has: `apiVersion`, `kind`, `metadata`, `spec`.

use std::collections::BTreeMap;

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::shape::{Form, Shape, optional, required};
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::{Document, Node};
use crate::document::source::Place;

/// The version of the language.
pub const API_VERSION: &str = "meridian/v1";

/// The kinds of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Workflow,
    Library,
    Scenario,
}

/// The kinds by name.
pub const KINDS: &[(&str, Kind)] = &[
    ("Workflow", Kind::Workflow),
    ("Library", Kind::Library),
    ("Scenario", Kind::Scenario),
];

pub static METADATA: Shape = Shape {
    name: "`metadata`",
    summary: "What the document is called.",
    one_of: &[],
    keys: &[
        required(
            "name",
            Form::Name,
            "the document's name: letters, digits, `-`, `_` and `.`",
        ),
        optional(
            "labels",
            Form::Map(&Form::Text),
            "labels that policies and people can ask for",
        ),
        optional(
            "annotations",
            Form::Map(&Form::Text),
            "notes for other tools; Meridian keeps them out of the way",
        ),
    ],
};

static ENVELOPE: Shape = Shape {
    name: "a document",
    summary: "A document of Meridian's language.",
    one_of: &[],
    keys: &[
        required(
            "apiVersion",
            Form::Choice(&[API_VERSION]),
            "the version of the language, `meridian/v1`",
        ),
        required(
            "kind",
            Form::Choice(&["Workflow", "Library", "Scenario"]),
            "`Workflow`, `Library` or `Scenario`",
        ),
        required(
            "metadata",
            Form::Object(&METADATA),
            "what the document is called, as in `metadata: {name: payments-api}`",
        ),
        required("spec", Form::Anything, "what the document says"),
    ],
};

/// A document whose envelope has been read.
pub struct Enveloped<'n> {
    pub kind: Kind,
    pub name: String,
    /// Where the name stands; the document's beginning when it is missing.
    pub name_place: Place,
    pub labels: BTreeMap<String, String>,
    pub spec: &'n Node,
}

/// Reads the envelope. A document with a wrong version or kind is not read any further.
pub fn read<'n>(document: &'n Document, cx: &mut Context<'_>) -> Option<Enveloped<'n>> {
    let looks_foreign = document
        .root
        .as_map()
        .is_none_or(|map| map.get("apiVersion").is_none() && map.get("kind").is_none());
    if looks_foreign {
        cx.report(
            Diagnostic::new(
                Code::ENVELOPE,
                document.root.place.first_line(),
                "this is not a document of Meridian",
            )
            .hint("a document begins with `apiVersion: meridian/v1` and `kind: Workflow`"),
        );
        return None;
    }
    let fields = Fields::read(&document.root, &ENVELOPE, cx)?;
    let version = fields.get("apiVersion");
    if let Some(version) = version.filter(|version| version.as_text() != Some(API_VERSION)) {
        let written = version.as_text().unwrap_or_else(|| version.kind());
        cx.report(
            Diagnostic::new(
                Code::ENVELOPE,
                version.place.first_line(),
                format!("unknown apiVersion `{written}`"),
            )
            .hint(format!("this build reads `{API_VERSION}`")),
        );
    }
    let kind = fields.get("kind").and_then(|node| kind(node, cx));
    let metadata = fields
        .get("metadata")
        .and_then(|node| Fields::read(node, &METADATA, cx));
    let name = metadata
        .as_ref()
        .and_then(|metadata| metadata.get("name"))
        .and_then(|node| {
            let name = value::text(node, cx)?;
            value::check_name(&name, &node.place, cx).then(|| (name, node.place.clone()))
        });
    let labels = metadata
        .as_ref()
        .map(|metadata| metadata.text_map("labels", cx))
        .unwrap_or_default();
    if let Some(metadata) = &metadata {
        metadata.text_map("annotations", cx);
    }
    let (name, name_place) = name.unwrap_or_else(|| (String::new(), fields.key_place("metadata")));
    Some(Enveloped {
        kind: kind?,
        name,
        name_place,
        labels,
        spec: fields.get("spec")?,
    })
}

fn kind(node: &Node, cx: &mut Context<'_>) -> Option<Kind> {
    let written = value::text(node, cx)?;
    let found = KINDS.iter().find(|(name, _)| *name == written).map(|(_, kind)| *kind);
    if found.is_none() {
        cx.unknown(
            Code::UNKNOWN_KIND,
            &node.place,
            "kind",
            &written,
            KINDS.iter().map(|(name, _)| *name),
        );
    }
    found
}
