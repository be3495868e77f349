//! Expressions and templates of a document: what they may name, and their problems as diagnostics at the very characters.

use crate::decode::context::Context;
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::Node;
use crate::expression::{Expression, Problem, Record, Scope, Template, Type, Unit};
use crate::workflow::MetricUnit;

/// Reports problems of an expression or template that stands in `node`.
pub fn report(node: &Node, code: Code, problems: Vec<Problem>, cx: &mut Context<'_>) {
    for problem in problems {
        let place = node.part(problem.span.range());
        cx.report(Diagnostic::new(code, place, problem.message).maybe_hint(problem.hint));
    }
}

/// A CEL condition that fits `scope`.
pub fn condition(node: &Node, scope: &Scope, cx: &mut Context<'_>) -> Option<Expression> {
    let source = value::text(node, cx)?;
    let expression = match Expression::parse(&source) {
        Ok(expression) => expression,
        Err(problems) => {
            report(node, Code::EXPRESSION, problems, cx);
            return None;
        }
    };
    match expression.predicate(scope) {
        Ok(_) => Some(expression),
        Err(problems) => {
            report(node, Code::EXPRESSION_TYPE, problems, cx);
            None
        }
    }
}

/// What a gate's thresholds may name: both arms in the metric's unit, and how many samples the candidate's window holds.
pub fn thresholds(unit: &MetricUnit) -> Scope {
    let unit = expression_unit(unit);
    Scope::new()
        .with("candidate", unit.clone())
        .with("baseline", unit)
        .with("samples", Unit::Count)
}

/// What an `http` gate's `passWhen` may name.
pub fn http_answer() -> Scope {
    Scope::new().with("body", Type::Dyn).with("status", Type::Int)
}

/// What a `signal` gate's `accept` may name.
pub fn posted() -> Scope {
    Scope::new().with("payload", Type::Dyn)
}

/// The arm, as queries and gates see it.
pub fn arm() -> Record {
    Record::new("arm")
        .with("name", Type::String)
        .with("version", Type::String)
        .with("labels", Type::map(Type::String))
}

/// The region, as queries and gates see it.
pub fn region() -> Record {
    Record::new("region").with("name", Type::String)
}

/// Whether a template can only be filled in where there is a region: it names the region or one of its arms.
pub fn needs_region(template: &str) -> bool {
    let template = Template::parse(template).0;
    template.mentions("arm") || template.mentions("region")
}

/// The unit of the expression language that a metric's unit is.
pub fn expression_unit(unit: &MetricUnit) -> Unit {
    match unit {
        MetricUnit::Ratio => Unit::Ratio,
        MetricUnit::Percent => Unit::Percent,
        MetricUnit::Seconds => Unit::Seconds,
        MetricUnit::Bytes => Unit::Bytes,
        MetricUnit::Count => Unit::Count,
        MetricUnit::PerSecond => Unit::PerSecond,
        MetricUnit::Custom(name) => Unit::custom(name.as_str()),
    }
}
