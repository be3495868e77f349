//! The `completed` gate: another workflow's run has succeeded.

use std::collections::BTreeMap;

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::shape::{Form, Shape, optional, required};
use crate::decode::value;
use crate::document::node::Node;
use crate::workflow::CompletedGate;

pub static COMPLETED: Shape = Shape {
    name: "a `completed` gate",
    summary: "Passes once the newest run of another workflow has succeeded; one that was rolled back fails, one that is under way is \
              waited for.",
    one_of: &[],
    keys: &[
        required("workflow", Form::Name, "the other workflow's name, in the same store"),
        optional(
            "release",
            Form::Choice(&["any", "same"]),
            "`same`: only runs that released the version that this run releases (default any)",
        ),
        optional(
            "inputs",
            Form::Map(&Form::Text),
            "only runs that were started with these inputs",
        ),
        optional(
            "within",
            Form::Duration,
            "a success that is older counts no more (default: however old)",
        ),
    ],
};

/// Reads the settings of a `completed` gate.
pub fn read(node: &Node, cx: &mut Context<'_>) -> Option<CompletedGate> {
    let fields = Fields::read(node, &COMPLETED, cx)?;
    let node = fields.get("workflow")?;
    let workflow = value::text(node, cx)?;
    let inputs: BTreeMap<String, String> = fields.text_map("inputs", cx);
    let within = fields.get("within").and_then(|node| value::positive_duration(node, cx));
    let same_release = fields
        .choice("release", &[("any", false), ("same", true)], cx)
        .unwrap_or(false);
    value::check_name(&workflow, &node.place, cx).then_some(CompletedGate {
        workflow,
        same_release,
        inputs,
        within,
    })
}
