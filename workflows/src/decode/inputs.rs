//! Inputs: what a release is told when it starts, declared with pattern, choices and default.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::shape::{Form, Shape, optional};
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic, suggestion};
use crate::document::node::Node;
use crate::document::source::Place;

pub static INPUT: Shape = Shape {
    name: "an input",
    summary: "A value that is handed in when a release starts.",
    one_of: &[],
    keys: &[
        optional(
            "description",
            Form::Text,
            "what the value means, shown when it is asked for",
        ),
        optional("pattern", Form::Text, "a regular expression that the value matches"),
        optional("enum", Form::List(&Form::Text), "the values that are possible"),
        optional("default", Form::Text, "the value when none is handed in"),
        optional(
            "required",
            Form::Boolean,
            "false: the value may be left out and is empty then (default: true without `default`)",
        ),
    ],
};

/// The values that the caller hands in.
#[derive(Clone, Copy, Debug)]
pub enum Given<'a> {
    /// A release starts: every required input needs a value.
    All(&'a BTreeMap<String, String>),
    /// A file is checked or planned: inputs without a value leave their templates standing.
    Some(&'a BTreeMap<String, String>),
}

impl<'a> Given<'a> {
    fn values(self) -> &'a BTreeMap<String, String> {
        match self {
            Given::All(values) | Given::Some(values) => values,
        }
    }
}

/// Declared inputs and the values that are known.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    pub declared: Vec<String>,
    pub values: BTreeMap<String, String>,
}

struct Declaration {
    place: Place,
    pattern: Option<(regex::Regex, String)>,
    choices: Vec<String>,
    is_required: bool,
}

/// Reads `inputs` and settles their values.
pub fn read(spec: &Fields<'_>, given: Given<'_>, cx: &mut Context<'_>) -> Inputs {
    let mut declarations = IndexMap::new();
    let mut values = BTreeMap::new();
    for (name, place, node) in spec.entries("inputs", cx) {
        check_input_name(name, place, cx);
        let Some((declaration, default)) = declaration(place, node, cx) else {
            continue;
        };
        if let Some((default, place)) = default
            && check(name, &default, &declaration, &place, cx)
        {
            values.insert(name.to_owned(), default);
        }
        declarations.insert(name.to_owned(), declaration);
    }
    for (name, value) in given.values() {
        match declarations.get(name) {
            Some(declaration) => {
                check(name, value, declaration, &declaration.place, cx);
                values.insert(name.clone(), value.clone());
            }
            None => {
                let message = format!("the workflow has no input `{name}`, but a value for it was handed in");
                let hint = suggestion::hint(name, declarations.keys().map(String::as_str));
                let place = spec.key_place("inputs");
                cx.report(Diagnostic::new(Code::UNKNOWN_INPUT, place, message).maybe_hint(hint));
            }
        }
    }
    for (name, declaration) in &declarations {
        if values.contains_key(name) {
            continue;
        }
        if !declaration.is_required {
            values.insert(name.clone(), String::new());
        } else if matches!(given, Given::All(_)) {
            let message = format!("the input `{name}` needs a value");
            let hint = format!("hand it in with `--input {name}=…`");
            cx.report(Diagnostic::new(Code::INPUT_MISSING, declaration.place.clone(), message).hint(hint));
        }
    }
    Inputs {
        declared: declarations.into_keys().collect(),
        values,
    }
}

/// A name that expressions can select: `inputs.name`.
fn check_input_name(name: &str, place: &Place, cx: &mut Context<'_>) {
    let is_identifier = name.len() <= crate::limits::NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || character == '_');
    if !is_identifier {
        let shown: String = name.chars().take(crate::limits::NAME_BYTES_MAX + 1).collect();
        cx.report(
            Diagnostic::new(
                Code::NAME,
                place.clone(),
                format!("`{shown}` cannot be the name of an input"),
            )
            .hint("letters, digits and `_`, beginning with a letter, so that `inputs.name` can ask for it"),
        );
    }
}

fn declaration(place: &Place, node: &Node, cx: &mut Context<'_>) -> Option<(Declaration, Option<(String, Place)>)> {
    let fields = Fields::read(node, &INPUT, cx)?;
    fields.text("description", cx);
    let pattern = fields.get("pattern").and_then(|node| {
        let text = value::text(node, cx)?;
        match regex::RegexBuilder::new(&text).size_limit(1 << 20).build() {
            Ok(regex) => Some((regex, text)),
            Err(error) => {
                let reason = error
                    .to_string()
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim_start_matches("error: ")
                    .to_owned();
                cx.error(
                    Code::PATTERN,
                    &node.place,
                    format!("this is not a regular expression: {reason}"),
                );
                None
            }
        }
    });
    let choices: Vec<String> = fields.texts("enum", cx).into_iter().map(|(text, _)| text).collect();
    if fields
        .get("enum")
        .is_some_and(|node| value::one_or_more(node).is_empty())
    {
        cx.error(
            Code::MISSING_KEY,
            &fields.key_place("enum"),
            "`enum` lists at least one value",
        );
    }
    let default = fields
        .get("default")
        .and_then(|node| Some((value::text(node, cx)?, node.place.clone())));
    let is_required = fields.boolean("required", cx).unwrap_or(true);
    Some((
        Declaration {
            place: place.clone(),
            pattern,
            choices,
            is_required,
        },
        default,
    ))
}

fn check(name: &str, value: &str, declaration: &Declaration, place: &Place, cx: &mut Context<'_>) -> bool {
    let shown: String = value.chars().take(200).collect();
    let refused = if value.contains("${{") {
        Some(("contains `${{`, which would be read as a template".to_owned(), None))
    } else if let Some((_, text)) = declaration.pattern.as_ref().filter(|(regex, _)| !regex.is_match(value)) {
        Some((format!("does not match the pattern `{text}`"), None))
    } else if !declaration.choices.is_empty() && !declaration.choices.iter().any(|choice| choice == value) {
        let hint = suggestion::hint(value, declaration.choices.iter().map(String::as_str));
        Some(("is not one of the possible values".to_owned(), hint))
    } else {
        None
    };
    match refused {
        None => true,
        Some((reason, hint)) => {
            let message = format!("the value `{shown}` of the input `{name}` {reason}");
            cx.report(Diagnostic::new(Code::INPUT_VALUE, place.clone(), message).maybe_hint(hint));
            false
        }
    }
}
