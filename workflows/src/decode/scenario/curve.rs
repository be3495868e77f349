//! Curves: a number over time, written as a quantity, as one shape, or as pieces one after another.

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::shape::{Form, Shape, optional, required};
use crate::decode::{quantity, value};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::{Node, Value};
use crate::duration::Duration;
use crate::limits;
use crate::scenario::Curve;
use crate::workflow::MetricUnit;

/// A curve in all its forms.
pub const FORM: Form = Form::Either(&[
    Form::Quantity,
    Form::Object(&CURVE),
    Form::List(&Form::Either(&[Form::Quantity, Form::Object(&CURVE)])),
]);

pub static CURVE: Shape = Shape {
    name: "a curve",
    summary: "A number over time: exactly one shape. In a list, `after` says when a piece begins, and its clock begins with it.",
    one_of: &SHAPES,
    keys: &[
        optional(
            "constant",
            Form::Quantity,
            "the same all the time; `none` is an answer without data, `nan` what a division by no traffic gives",
        ),
        optional("ramp", Form::Object(&RAMP), "rises (or falls) steadily"),
        optional("step", Form::Object(&STEP), "one number, then another"),
        optional(
            "noise",
            Form::Object(&NOISE),
            "another curve, disturbed; drawn from the seed",
        ),
        optional("gap", Form::Object(&GAP), "another curve, without data for a while"),
        optional("flapping", Form::Object(&FLAPPING), "one number and another, in turn"),
        optional(
            "after",
            Form::Duration,
            "in a list: when this piece begins (required but for the first)",
        ),
    ],
};

const SHAPES: [&str; 6] = ["constant", "ramp", "step", "noise", "gap", "flapping"];

static RAMP: Shape = Shape {
    name: "a ramp",
    summary: "Begins at `from` and changes by `by` in every `per`.",
    one_of: &[],
    keys: &[
        required("from", Form::Quantity, "where it begins"),
        required(
            "by",
            Form::Quantity,
            "how much it changes in every `per`; below zero it falls",
        ),
        required("per", Form::Duration, "the time in which it changes by `by`"),
        optional("until", Form::Quantity, "where it levels off (default: never)"),
    ],
};

static STEP: Shape = Shape {
    name: "a step",
    summary: "One number, and another after a while.",
    one_of: &[],
    keys: &[
        required("from", Form::Quantity, "the number at first"),
        required("to", Form::Quantity, "the number afterwards"),
        required("after", Form::Duration, "how long the first one lasts"),
    ],
};

static NOISE: Shape = Shape {
    name: "noise",
    summary: "A curve that is disturbed: every second another number, never below zero.",
    one_of: &[],
    keys: &[
        required(
            "around",
            Form::Either(&[Form::Quantity, Form::Object(&CURVE)]),
            "the curve underneath",
        ),
        required("spread", Form::Quantity, "how far it strays to either side"),
    ],
};

static GAP: Shape = Shape {
    name: "a gap",
    summary: "A curve whose source has no data for a while.",
    one_of: &[],
    keys: &[
        required(
            "around",
            Form::Either(&[Form::Quantity, Form::Object(&CURVE)]),
            "the curve before and afterwards",
        ),
        required("after", Form::Duration, "when the data ends"),
        required("for", Form::Duration, "how long there is none"),
    ],
};

static FLAPPING: Shape = Shape {
    name: "flapping",
    summary: "Two numbers in turn, the first one first.",
    one_of: &[],
    keys: &[
        required("between", Form::Quantity, "the first number"),
        required("and", Form::Quantity, "the other"),
        required("every", Form::Duration, "how long each lasts"),
    ],
};

/// Reads a curve of a metric in `unit`.
pub fn read(node: &Node, unit: Option<&MetricUnit>, cx: &mut Context<'_>) -> Option<Curve> {
    match &node.value {
        Value::Null | Value::Scalar(_) => constant(node, unit, cx).map(Curve::Constant),
        Value::Map(_) => {
            let fields = Fields::read(node, &CURVE, cx)?;
            if fields.get("after").is_some() {
                let message = "`after` says when a piece of a list begins, and this is no list";
                let hint = "write a list: the curve at first, then `{after: 20m, …}`";
                cx.report(Diagnostic::new(Code::SCRIPT, fields.key_place("after"), message).hint(hint));
            }
            shape(&fields, unit, cx)
        }
        Value::List(items) => pieces(node, items, unit, cx),
    }
}

/// A number, an answer without data, or one that is not a number.
fn constant(node: &Node, unit: Option<&MetricUnit>, cx: &mut Context<'_>) -> Option<Option<f64>> {
    match node.as_text() {
        Some("none") => Some(None),
        Some("nan" | "NaN") => Some(Some(f64::NAN)),
        Some(_) => quantity::read(node, unit, cx).map(Some),
        None => {
            value::wrong_type(node, "a quantity or a curve", cx);
            None
        }
    }
}

fn shape(fields: &Fields<'_>, unit: Option<&MetricUnit>, cx: &mut Context<'_>) -> Option<Curve> {
    let given: Vec<&'static str> = SHAPES.into_iter().filter(|key| fields.get(key).is_some()).collect();
    let (kind, node) = match given[..] {
        [only] => (only, fields.get(only)?),
        [] if fields.has_unknown_keys() => return None,
        [] => {
            let message = "this curve has no shape";
            let hint = format!("give one of {}", SHAPES.join(", "));
            cx.report(Diagnostic::new(Code::ONE_OF, fields.place().clone(), message).hint(hint));
            return None;
        }
        [first, second, ..] => {
            let message = format!("a curve has one shape, this has `{first}` and `{second}`");
            let hint = "pieces one after another are a list: `[380Mi, {after: 20m, ramp: …}]`";
            cx.report(
                Diagnostic::new(Code::ONE_OF, fields.key_place(second), message)
                    .and(fields.key_place(first), "the first")
                    .hint(hint),
            );
            return None;
        }
    };
    match kind {
        "constant" => constant(node, unit, cx).map(Curve::Constant),
        "ramp" => ramp(&Fields::read(node, &RAMP, cx)?, unit, cx),
        "step" => step(&Fields::read(node, &STEP, cx)?, unit, cx),
        "noise" => noise(&Fields::read(node, &NOISE, cx)?, unit, cx),
        "gap" => gap(&Fields::read(node, &GAP, cx)?, unit, cx),
        _ => flapping(&Fields::read(node, &FLAPPING, cx)?, unit, cx),
    }
}

fn number(fields: &Fields<'_>, key: &'static str, unit: Option<&MetricUnit>, cx: &mut Context<'_>) -> Option<f64> {
    fields.get(key).and_then(|node| quantity::read(node, unit, cx))
}

fn length(fields: &Fields<'_>, key: &'static str, cx: &mut Context<'_>) -> Option<Duration> {
    fields.get(key).and_then(|node| value::positive_duration(node, cx))
}

fn ramp(fields: &Fields<'_>, unit: Option<&MetricUnit>, cx: &mut Context<'_>) -> Option<Curve> {
    let from = number(fields, "from", unit, cx);
    let by = number(fields, "by", unit, cx);
    let per = length(fields, "per", cx);
    let until = match fields.get("until") {
        Some(node) => Some(quantity::read(node, unit, cx)?),
        None => None,
    };
    let (from, by, per) = (from?, by?, per?);
    if let Some(until) = until
        && (until - from) * by < 0.0
    {
        let message = "the ramp moves away from its `until`";
        let hint = "`by` below zero falls, above zero it rises";
        cx.report(Diagnostic::new(Code::SCRIPT, fields.key_place("until"), message).hint(hint));
        return None;
    }
    Some(Curve::Ramp { from, by, per, until })
}

fn step(fields: &Fields<'_>, unit: Option<&MetricUnit>, cx: &mut Context<'_>) -> Option<Curve> {
    let from = number(fields, "from", unit, cx);
    let to = number(fields, "to", unit, cx);
    let after = length(fields, "after", cx);
    Some(Curve::Step {
        from: from?,
        to: to?,
        after: after?,
    })
}

fn noise(fields: &Fields<'_>, unit: Option<&MetricUnit>, cx: &mut Context<'_>) -> Option<Curve> {
    let around = fields.get("around").and_then(|node| read(node, unit, cx));
    let spread = number(fields, "spread", unit, cx);
    if spread.is_some_and(|spread| spread < 0.0) {
        cx.error(Code::SCRIPT, &fields.key_place("spread"), "a spread is not below zero");
        return None;
    }
    Some(Curve::Noise {
        around: Box::new(around?),
        spread: spread?,
    })
}

fn gap(fields: &Fields<'_>, unit: Option<&MetricUnit>, cx: &mut Context<'_>) -> Option<Curve> {
    let around = fields.get("around").and_then(|node| read(node, unit, cx));
    let after = fields.duration("after", cx);
    let lasting = length(fields, "for", cx);
    Some(Curve::Gap {
        around: Box::new(around?),
        after: after?,
        lasting: lasting?,
    })
}

fn flapping(fields: &Fields<'_>, unit: Option<&MetricUnit>, cx: &mut Context<'_>) -> Option<Curve> {
    let between = number(fields, "between", unit, cx);
    let and = number(fields, "and", unit, cx);
    let every = length(fields, "every", cx);
    Some(Curve::Flapping {
        between: between?,
        and: and?,
        every: every?,
    })
}

fn pieces(node: &Node, items: &[Node], unit: Option<&MetricUnit>, cx: &mut Context<'_>) -> Option<Curve> {
    if items.is_empty() || items.len() > limits::CURVE_PIECES_MAX {
        let message = format!(
            "a curve has 1 to {} pieces, this has {}",
            limits::CURVE_PIECES_MAX,
            items.len()
        );
        cx.error(Code::TOO_MANY, &node.place.first_line(), message);
        return None;
    }
    let mut read: Vec<(Duration, Curve)> = Vec::with_capacity(items.len());
    let mut is_sound = true;
    for (index, item) in items.iter().enumerate() {
        let Some((begins, curve)) = piece(index, item, unit, cx) else {
            is_sound = false;
            continue;
        };
        if read.last().is_some_and(|(before, _)| *before >= begins) {
            let message = "this piece does not begin after the one before it";
            let hint = "pieces are written in the order in which they begin";
            cx.report(Diagnostic::new(Code::SCRIPT, item.place.first_line(), message).hint(hint));
            is_sound = false;
        }
        read.push((begins, curve));
    }
    is_sound.then_some(Curve::Pieces(read))
}

fn piece(index: usize, item: &Node, unit: Option<&MetricUnit>, cx: &mut Context<'_>) -> Option<(Duration, Curve)> {
    if item.as_map().is_none() {
        let curve = constant(item, unit, cx)?;
        if index > 0 {
            let message = "this piece does not say when it begins";
            let hint = "write `{after: 20m, constant: …}`";
            cx.report(Diagnostic::new(Code::SCRIPT, item.place.clone(), message).hint(hint));
            return None;
        }
        return Some((Duration::ZERO, Curve::Constant(curve)));
    }
    let fields = Fields::read(item, &CURVE, cx)?;
    let begins = match fields.get("after") {
        Some(node) => value::duration(node, cx)?,
        None if index == 0 => Duration::ZERO,
        None => {
            let message = "this piece does not say when it begins";
            cx.report(Diagnostic::new(Code::SCRIPT, fields.place().clone(), message).hint("add `after:`"));
            return None;
        }
    };
    if index == 0 && !begins.is_zero() {
        let message = "the first piece begins at once, so nothing is left unsaid before it";
        let hint = "write what is read until then as the first piece; `none` is no data";
        cx.report(Diagnostic::new(Code::SCRIPT, fields.key_place("after"), message).hint(hint));
        return None;
    }
    Some((begins, shape(&fields, unit, cx)?))
}
