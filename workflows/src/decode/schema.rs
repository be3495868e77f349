//! The language as a JSON Schema, made of the same tables that the decoder reads by, for completion in editors.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::decode::definitions::LIBRARY;
use crate::decode::envelope::{API_VERSION, METADATA};
use crate::decode::scenario::SCENARIO;
use crate::decode::shape::{Form, Key, Kinds, Shape};
use crate::decode::workflow::WORKFLOW;
use crate::decode::{gate, regions};
use crate::vocabulary::{Availability, Kind, ProviderKind, SourceKind, Vocabulary};

/// The schema (draft 2020-12) of a document of any kind, with the kinds that the vocabulary knows.
///
/// *Guarantees*: what the decoder accepts validates, and unknown keys do not; what needs knowledge of the whole file (names
/// that refer to something, rising shares) is for the decoder alone.
pub fn schema(vocabulary: &Vocabulary) -> Value {
    let mut writer = Writer {
        vocabulary,
        definitions: BTreeMap::new(),
    };
    let workflow = writer.object(&WORKFLOW);
    let library = writer.object(&LIBRARY);
    let scenario = writer.object(&SCENARIO);
    let kinds = [
        document("Workflow", WORKFLOW.summary, workflow, &mut writer),
        document("Library", LIBRARY.summary, library, &mut writer),
        document("Scenario", SCENARIO.summary, scenario, &mut writer),
    ];
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Meridian",
        "description": "A document of Meridian's language.",
        "oneOf": kinds,
        "$defs": writer.definitions,
    })
}

fn document(kind: &str, summary: &str, spec: Value, writer: &mut Writer<'_>) -> Value {
    json!({
        "title": kind,
        "description": summary,
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": false,
        "properties": {
            "apiVersion": {"const": API_VERSION, "description": "The version of the language."},
            "kind": {"const": kind},
            "metadata": writer.object(&METADATA),
            "spec": spec,
        },
    })
}

struct Writer<'a> {
    vocabulary: &'a Vocabulary,
    definitions: BTreeMap<String, Value>,
}

impl Writer<'_> {
    /// A reference to a mapping's schema, which is written on first use.
    fn object(&mut self, shape: &'static Shape) -> Value {
        let name = definition_name(shape.name);
        if !self.definitions.contains_key(&name) {
            // The place is taken before the keys are written, so that a mapping may contain itself.
            self.definitions.insert(name.clone(), Value::Null);
            let schema = self.mapping(shape);
            self.definitions.insert(name.clone(), schema);
        }
        json!({"$ref": format!("#/$defs/{name}")})
    }

    fn mapping(&mut self, shape: &'static Shape) -> Value {
        let mut properties: Map<String, Value> = shape
            .keys
            .iter()
            .map(|key| (key.name.to_owned(), self.property(key)))
            .collect();
        let required: Vec<&str> = shape
            .keys
            .iter()
            .filter(|key| key.required)
            .map(|key| key.name)
            .collect();
        let mut one_of: Vec<String> = shape.one_of.iter().map(|key| (*key).to_owned()).collect();
        if std::ptr::eq(shape, &raw const regions::REGION) {
            properties.extend(self.providers(true));
            one_of.extend(
                self.vocabulary
                    .providers
                    .iter()
                    .map(|provider| provider.name.to_owned()),
            );
        }
        if std::ptr::eq(shape, &raw const gate::GATE) {
            self.foreign_gates(&mut properties, &mut one_of);
        }
        let mut schema = json!({
            "type": "object",
            "description": shape.summary,
            "properties": properties,
            "additionalProperties": false,
        });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        if !one_of.is_empty() {
            schema["oneOf"] = one_of.iter().map(|key| json!({"required": [key]})).collect();
        }
        schema
    }

    fn property(&mut self, key: &'static Key) -> Value {
        let mut schema = self.form(&key.form);
        // Beside `$ref` a description is allowed, and it is the one an editor shows.
        schema["description"] = json!(key.summary);
        schema
    }

    fn form(&mut self, form: &'static Form) -> Value {
        match form {
            // Plain `1.10` or `true` is text here; an editor that reads YAML sees a number or boolean.
            Form::Text => json!({"type": ["string", "number", "boolean"]}),
            Form::Name => {
                json!({"type": ["string", "number"], "pattern": "^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"})
            }
            Form::Template | Form::Expression => json!({"type": ["string", "number", "boolean"]}),
            Form::Duration => text(
                r"^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
                &["30s", "15m", "4h"],
            ),
            Form::Share => text(r"^(100(\.0+)?|[0-9]{1,2}(\.[0-9]{1,2}0*)?) ?%$", &["1%", "25%", "100%"]),
            Form::Boolean => json!({"type": "boolean"}),
            Form::Integer { min, max } if *max == u64::MAX => json!({"type": "integer", "minimum": min}),
            Form::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
            Form::Choice(words) => json!({"enum": words}),
            Form::Date => text("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", &["2026-12-23"]),
            Form::Time => text("^[0-9]{2}:[0-9]{2}(:[0-9]{2})?$", &["09:00"]),
            Form::Zone => json!({"type": "string", "examples": ["UTC", "Europe/Dublin", "America/New_York"]}),
            Form::Instant => text(
                r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?([Zz]|[+-][0-9]{2}:?[0-9]{2})$",
                &["2026-03-02T10:00:00Z"],
            ),
            Form::Quantity => json!({
                "type": ["string", "number"],
                "pattern": r"^([+-]?[0-9_.]+ ?(%|us|ms|s|m|h|d|B|[KMGT]i?B?|/s|/m)?|none|nan|NaN)$",
                "examples": ["512Mi", "250ms", "0.1%", "40/s", 12],
            }),
            Form::TextOrSecret => json!({"anyOf": [
                {"type": ["string", "number", "boolean"]},
                {"type": "object", "required": ["secret"], "properties": {"secret": {"type": "string"}}, "additionalProperties": false},
            ]}),
            Form::List(of) => json!({"type": "array", "items": self.form(of)}),
            Form::OneOrMore(of) => {
                let one = self.form(of);
                json!({"anyOf": [one.clone(), {"type": "array", "items": one}]})
            }
            Form::Map(of) => json!({"type": "object", "additionalProperties": self.form(of)}),
            Form::Object(shape) if shape.keys.iter().all(|key| !key.required) && shape.one_of.is_empty() => {
                // Nothing in it is required, so nothing at all may be written: `approval:`.
                json!({"anyOf": [self.object(shape), {"type": "null"}]})
            }
            Form::Object(shape) => self.object(shape),
            Form::Either(forms) => json!({"anyOf": forms.iter().map(|form| self.form(form)).collect::<Vec<_>>()}),
            Form::Kind(Kinds::Sources) => self.sources(),
            Form::Kind(Kinds::Notifiers) => self.kind(&self.vocabulary.notifiers),
            Form::Kind(Kinds::Providers) => {
                json!({"type": "object", "properties": self.providers(false), "additionalProperties": false})
            }
            Form::Anything => json!({}),
        }
    }

    fn kind(&self, kinds: &[Kind]) -> Value {
        let property = |kind: &Kind| {
            (
                kind.name.to_owned(),
                json!({"type": ["object", "null"], "description": later(kind.availability)}),
            )
        };
        let properties: Map<String, Value> = kinds.iter().map(property).collect();
        json!({"type": "object", "properties": properties, "additionalProperties": false, "minProperties": 1, "maxProperties": 1})
    }

    /// Metric sources' keys with their settings.
    fn sources(&self) -> Value {
        let property = |kind: &SourceKind| {
            let settings: Map<String, Value> = kind
                .settings
                .iter()
                .map(|key| (key.name.to_owned(), json!({"description": key.summary})))
                .collect();
            let required: Vec<&str> = kind
                .settings
                .iter()
                .filter(|key| key.required)
                .map(|key| key.name)
                .collect();
            let types = if required.is_empty() {
                json!(["object", "null"])
            } else {
                json!("object")
            };
            let schema = json!({
                "type": types,
                "description": later(kind.availability),
                "additionalProperties": settings.is_empty(),
                "properties": settings,
                "required": required,
            });
            (kind.name.to_owned(), schema)
        };
        let properties: Map<String, Value> = self.vocabulary.sources.iter().map(property).collect();
        json!({"type": "object", "properties": properties, "additionalProperties": false, "minProperties": 1, "maxProperties": 1})
    }

    /// Providers' keys with their settings. In a region they may be complete through `defaults`, so none is required.
    fn providers(&self, may_be_empty: bool) -> Map<String, Value> {
        let types = if may_be_empty {
            json!(["object", "null"])
        } else {
            json!("object")
        };
        let property = |provider: &ProviderKind| {
            let settings: Map<String, Value> = provider
                .settings
                .iter()
                .map(|key| (key.name.to_owned(), json!({"description": key.summary})))
                .collect();
            let schema = json!({
                "type": types,
                "description": later(provider.availability),
                "additionalProperties": settings.is_empty(),
                "properties": settings,
            });
            (provider.name.to_owned(), schema)
        };
        self.vocabulary.providers.iter().map(property).collect()
    }

    /// Kinds of gate that only the vocabulary knows.
    fn foreign_gates(&self, properties: &mut Map<String, Value>, one_of: &mut Vec<String>) {
        for kind in &self.vocabulary.gates {
            if !one_of.iter().any(|known| known == kind.name) {
                properties.insert(kind.name.to_owned(), json!({"description": later(kind.availability)}));
                one_of.push(kind.name.to_owned());
            }
        }
    }
}

fn later(availability: Availability) -> &'static str {
    match availability {
        Availability::Available => "settings",
        Availability::NotYet => "not available yet",
    }
}

/// Text of a form, or a template that will have it.
fn text(pattern: &str, examples: &[&str]) -> Value {
    json!({"anyOf": [{"type": "string", "pattern": pattern, "examples": examples}, {"type": "string", "pattern": r"\$\{\{"}]})
}

/// `a metric gate` in backticks becomes `metricGate`.
fn definition_name(name: &str) -> String {
    let words = name
        .split([' ', '`'])
        .filter(|word| !word.is_empty() && !matches!(*word, "a" | "an"));
    let mut written = String::new();
    for word in words {
        let mut letters = word.chars();
        match letters.next() {
            Some(first) if !written.is_empty() => written.extend(first.to_uppercase()),
            Some(first) => written.extend(first.to_lowercase()),
            None => {}
        }
        written.push_str(letters.as_str());
    }
    written
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{definition_name, schema};
    use crate::decode::testing::vocabulary;
    use crate::decode::{Given, Surroundings, read, value};
    use crate::diagnostic::render::{Colour, render_all};
    use crate::document::parse;

    fn documents(text: &str) -> Vec<serde_json::Value> {
        parse("a.yaml", text.as_bytes())
            .0
            .iter()
            .map(|document| value::json(&document.root))
            .collect()
    }

    const GOOD: &str = include_str!("examples/payments-api.yaml");

    #[test]
    fn the_schema_is_one_and_accepts_the_examples() {
        let schema = schema(&vocabulary());
        jsonschema::meta::validate(&schema).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        for document in documents(GOOD)
            .into_iter()
            .chain(documents(include_str!("examples/platform.yaml")))
        {
            let problems: Vec<String> = validator
                .iter_errors(&document)
                .map(|problem| problem.to_string())
                .collect();
            assert!(problems.is_empty(), "{problems:#?}");
        }
    }

    #[test]
    fn every_example_of_the_repository_is_accepted_by_decoder_and_schema() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let validator = jsonschema::validator_for(&schema(&vocabulary())).unwrap();
        let mut seen = 0;
        for entry in std::fs::read_dir(&directory).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !name.ends_with(".yaml") {
                continue;
            }
            seen += 1;
            let text = std::fs::read_to_string(directory.join(&name)).unwrap();
            let load = |file: &str| std::fs::read(directory.join(file)).map_err(|error| error.to_string());
            let surroundings = Surroundings {
                vocabulary: &vocabulary(),
                load: &load,
                inputs: Given::Some(&BTreeMap::new()),
            };
            let reading = read(&name, text.as_bytes(), &surroundings);
            assert!(
                !reading.has_errors(),
                "{}",
                render_all(&reading.diagnostics, Colour::Plain)
            );
            for document in documents(&text) {
                let problems: Vec<String> = validator
                    .iter_errors(&document)
                    .map(|problem| problem.to_string())
                    .collect();
                assert!(problems.is_empty(), "{name}: {problems:#?}");
            }
        }
        assert!(seen > 0);
    }

    #[test]
    fn what_the_decoder_refuses_by_form_the_schema_refuses_too() {
        let validator = jsonschema::validator_for(&schema(&vocabulary())).unwrap();
        for (right, wrong) in [
            ("maxParallel: 2", "max_parallel: 2"),
            ("every: 30s", "evry: 30s"),
            ("bake: 2h", "bake: 2"),
            ("traffic: 1%", "traffic: 1"),
            ("scope: run", "scope: everything"),
            ("kind: Workflow", "kind: Workflows"),
            ("kubernetes: {context: usw2}", "kubernets: {context: usw2}"),
            ("kubernetes: {context: usw2}", "kubernetes: {contxt: usw2}"),
            ("approval: {count: 1,", "approvl: {count: 1,"),
            ("approval: {count: 1,", "http: {url: 'http://a'}, approval: {count: 1,"),
        ] {
            assert!(GOOD.contains(right), "{right}");
            let bad = GOOD.replacen(right, wrong, 1);
            assert!(
                documents(&bad).iter().any(|document| !validator.is_valid(document)),
                "{wrong} is accepted"
            );
        }
    }

    #[test]
    fn every_key_is_described() {
        let schema = schema(&vocabulary());
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            for (key, property) in definition["properties"].as_object().unwrap() {
                assert!(property["description"].is_string(), "{name}.{key}");
            }
        }
        assert_eq!(definition_name("a `metric` gate"), "metricGate");
        assert_eq!(definition_name("a Workflow"), "workflow");
    }
}
