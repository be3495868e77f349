//! The `lock` gate: what only one run may do at a time.

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::shape::{Form, Shape, required};
use crate::decode::value;
use crate::document::node::Node;
use crate::workflow::LockGate;

pub static LOCK: Shape = Shape {
    name: "a `lock` gate",
    summary: "Passes while the run holds the lock, which one run at a time does, across all workflows of the store. It is asked for \
              when nothing else before the node is waited for, and kept until the region-phase closes, or the phase where it stands in \
              the phase's `before`.",
    one_of: &[],
    keys: &[required(
        "name",
        Form::Name,
        "the lock's name; the same in every workflow that must not run at once",
    )],
};

/// Reads the settings of a `lock` gate.
pub fn read(node: &Node, cx: &mut Context<'_>) -> Option<LockGate> {
    let fields = Fields::read(node, &LOCK, cx)?;
    let node = fields.get("name")?;
    let name = value::text(node, cx)?;
    value::check_name(&name, &node.place, cx).then_some(LockGate { name })
}
