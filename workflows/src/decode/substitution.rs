//! Fills inputs into the texts of a document: `${{ … }}` that depends on inputs and the workflow alone is settled here, what
//! depends on an arm or a region stays a template until a gate is read.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::decode::context::Context;
use crate::decode::expressions;
use crate::decode::inputs::Inputs;
use crate::diagnostic::Code;
use crate::document::node::{Entry, Map, Node, Scalar, Value};
use crate::expression::{self};
use crate::expression::{Record, Scope, Template, Type, Values};

/// What the texts of a document can be filled with.
pub struct Bindings {
    settled: Scope,
    read_time: Scope,
    values: Values,
    /// Every declared input has a value, so an expression without an answer is a mistake.
    is_complete: bool,
}

/// When the texts of a section are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Now: inputs and the workflow are all there is.
    Settled,
    /// When a gate or metric is read: arm, region and window are known then.
    Read,
}

impl Bindings {
    /// For a workflow with its inputs.
    pub fn of_workflow(name: &str, labels: &BTreeMap<String, String>, inputs: &Inputs) -> Bindings {
        let record = inputs
            .declared
            .iter()
            .fold(Record::new("inputs"), |record, name| record.with(name, Type::String));
        let workflow = expression::Value::record([
            ("name", expression::Value::from(name)),
            (
                "labels",
                expression::Value::record(labels.iter().map(|(key, value)| (key.as_str(), value.as_str()))),
            ),
        ]);
        let given = inputs
            .values
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let values = Values::new()
            .with("inputs", expression::Value::record(given))
            .with("workflow", workflow);
        let is_complete = inputs.declared.iter().all(|name| inputs.values.contains_key(name));
        Bindings::new(record.into(), values, is_complete)
    }

    /// For a Library that is checked by itself: which inputs there will be is not known.
    pub fn of_library() -> Bindings {
        Bindings::new(Type::map(Type::String), Values::new(), false)
    }

    fn new(inputs: Type, values: Values, is_complete: bool) -> Bindings {
        let workflow = Record::new("workflow")
            .with("name", Type::String)
            .with("labels", Type::map(Type::String));
        let settled = Scope::new().with("inputs", inputs).with("workflow", workflow);
        let read_time = settled
            .clone()
            .with("arm", expressions::arm())
            .with("region", expressions::region())
            .with("window", Type::String)
            .with("le", Type::String)
            .with("kind", Type::String);
        Bindings {
            settled,
            read_time,
            values,
            is_complete,
        }
    }

    /// The tree with its texts filled in; problems are reported at the characters that have them.
    pub fn fill(&self, node: &Node, moment: Moment, cx: &mut Context<'_>) -> Node {
        let value = match &node.value {
            Value::Null => Value::Null,
            Value::Scalar(scalar) if scalar.text.contains("${{") => self.fill_text(node, scalar, moment, cx),
            Value::Scalar(scalar) => Value::Scalar(scalar.clone()),
            Value::List(items) => Value::List(items.iter().map(|item| self.fill(item, moment, cx)).collect()),
            Value::Map(map) => {
                let mut entries = IndexMap::with_capacity(map.entries.len());
                for (key, entry) in &map.entries {
                    // `…When` is CEL itself, not a text with CEL inside.
                    let value = if key.ends_with("When") {
                        entry.value.clone()
                    } else {
                        self.fill(&entry.value, moment, cx)
                    };
                    entries.insert(
                        key.clone(),
                        Entry {
                            key: entry.key.clone(),
                            value,
                        },
                    );
                }
                Value::Map(Map { entries })
            }
        };
        Node {
            place: node.place.clone(),
            value,
        }
    }

    fn fill_text(&self, node: &Node, scalar: &Scalar, moment: Moment, cx: &mut Context<'_>) -> Value {
        let (template, problems) = Template::parse(&scalar.text);
        let is_sound = problems.is_empty();
        expressions::report(node, Code::TEMPLATE, problems, cx);
        let scope = match moment {
            Moment::Settled => &self.settled,
            Moment::Read => &self.read_time,
        };
        let checked = match template.check(scope) {
            Ok(checked) if is_sound => checked,
            Ok(_) => return Value::Scalar(scalar.clone()),
            Err(problems) => {
                expressions::report(node, Code::EXPRESSION_TYPE, problems, cx);
                return Value::Scalar(scalar.clone());
            }
        };
        let text = match (moment, checked.render(&self.values)) {
            (Moment::Settled, Ok(text)) => text,
            (Moment::Settled, Err(error)) if self.is_complete => {
                let place = node.part(error.span.range());
                cx.error(
                    Code::EXPRESSION_TYPE,
                    &place,
                    format!("this has no value: {}", error.fault),
                );
                scalar.text.clone()
            }
            // What is not known yet stays a template.
            (Moment::Settled, Err(_)) | (Moment::Read, _) => self.fill_known(&scalar.text, &template),
        };
        Value::Scalar(Scalar {
            text,
            style: scalar.style,
        })
    }

    /// Replaces the expressions whose values are known; escapes stay escapes, because the text is read as a template again.
    fn fill_known(&self, text: &str, template: &Template) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut copied = 0;
        for (expression, offset) in template.expressions() {
            let written = Template::parse(&format!("${{{{{}}}}}", expression.source())).0;
            if !expression
                .variables()
                .iter()
                .all(|name| self.settled.variable(name).is_some())
            {
                continue;
            }
            let Ok(value) = written
                .check(&self.settled)
                .map_err(drop)
                .and_then(|checked| checked.render(&self.values).map_err(drop))
            else {
                continue;
            };
            let (start, end) = (offset - "${{".len(), offset + expression.source().len() + "}}".len());
            filled.push_str(text.get(copied..start).unwrap_or_default());
            filled.push_str(&value);
            copied = end;
        }
        filled.push_str(text.get(copied..).unwrap_or_default());
        filled
    }
}
