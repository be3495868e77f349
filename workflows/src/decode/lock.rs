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

#[cfg(test)]
mod tests {
    use crate::decode::testing::read_alone;

    fn said(place: &str, gate: &str) -> Vec<String> {
        let text = format!(
            "apiVersion: meridian/v1\nkind: Workflow\nmetadata: {{name: a}}\nspec:\n  release: app:v2\n  regions: {{west: {{sandbox: {{}}}}}}\n  \
             phases: [{{name: all, regions: [west], stages: [{{traffic: 100%, {place}: [one]}}]}}]\n  gates:\n    one: {gate}\n"
        );
        let read = read_alone(&text);
        let errors = read.diagnostics.iter().filter(|found| found.is_error());
        errors.map(|found| found.message.clone()).collect()
    }

    #[test]
    fn what_waits_for_others_stands_where_it_can_wait() {
        let lock = "{lock: {name: orders-database}}";
        let completed = "{completed: {workflow: migration, within: 24h, release: same}}";
        assert_eq!(said("before", lock), [""; 0]);
        assert_eq!(said("before", completed), [""; 0]);
        assert_eq!(said("after", completed), [""; 0]);
        for (place, gate, why) in [
            ("after", lock, "a lock is taken before the work that it guards"),
            ("watch", lock, "a lock is taken before the work that it guards"),
            ("watch", completed, "another run's end says nothing"),
            ("watch", "{signal: {}}", "it is posted once"),
            ("before", "{lock: {}}", "lacks the key `name`"),
            ("before", "{lock: {name: orders database}}", "orders database"),
            ("before", "{completed: {within: 24h}}", "lacks the key `workflow`"),
            ("before", "{completed: {workflow: a, release: newest}}", "newest"),
        ] {
            let said = said(place, gate).join("; ");
            assert!(said.contains(why), "{place} {gate}: {said}");
        }
    }
}
