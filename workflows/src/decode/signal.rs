//! The `signal` gate: a system outside says how it went.

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::shape::{Form, Shape, optional};
use crate::decode::{expressions, value};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::{Map, Node, Value};
use crate::workflow::{Policy, SignalGate};

pub static SIGNAL: Shape = Shape {
    name: "a `signal` gate",
    summary: "A system outside posts how it went: `meridian signal RUN NAME --passed`, or `--failed`.",
    one_of: &[],
    keys: &[
        optional("name", Form::Name, "the name that is posted (default: the gate's)"),
        optional(
            "accept",
            Form::Expression,
            "CEL over `payload`, the JSON that is posted; must be true to pass (default: the post itself says passed or failed)",
        ),
        optional(
            "expires",
            Form::Duration,
            "counted from the moment of asking, pauses not (default: never)",
        ),
        optional(
            "onExpiry",
            Form::Choice(&["hold", "ask", "rollback"]),
            "what silence leads to once it has expired (default hold)",
        ),
    ],
};

/// Reads the settings of a `signal` gate; nothing written means: whatever is posted under the gate's own name.
pub fn read(gate: &str, node: &Node, cx: &mut Context<'_>) -> Option<SignalGate> {
    let empty = Node {
        place: node.place.clone(),
        value: Value::Map(Map::default()),
    };
    let node = if matches!(node.value, Value::Null) {
        &empty
    } else {
        node
    };
    let fields = Fields::read(node, &SIGNAL, cx)?;
    let named = fields.get("name").and_then(|node| {
        let name = value::text(node, cx)?;
        value::check_name(&name, &node.place, cx).then_some(name)
    });
    let expires = fields
        .get("expires")
        .and_then(|node| value::positive_duration(node, cx));
    if let Some(node) = fields.get("onExpiry").filter(|_| fields.get("expires").is_none()) {
        cx.report(
            Diagnostic::new(
                Code::MISSING_KEY,
                node.place.clone(),
                "`onExpiry` without `expires` never happens",
            )
            .hint("add `expires: 2h`, or remove `onExpiry`"),
        );
    }
    let choices = &[
        ("hold", Policy::Hold),
        ("ask", Policy::Ask),
        ("rollback", Policy::Rollback),
    ];
    Some(SignalGate {
        name: named.unwrap_or_else(|| gate.to_owned()),
        accept: fields.get("accept").and_then(|node| {
            expressions::condition(node, &expressions::posted(), cx).map(|expression| expression.source().to_owned())
        }),
        expires,
        on_expiry: fields.choice("onExpiry", choices, cx).unwrap_or(Policy::Hold),
    })
}

#[cfg(test)]
mod tests {
    use crate::decode::testing::read_alone;
    use crate::workflow::GateKind;

    fn gate(settings: &str) -> Result<GateKind, String> {
        let text = format!(
            "apiVersion: meridian/v1\nkind: Workflow\nmetadata: {{name: a}}\nspec:\n  release: app:v2\n  regions: {{west: {{sandbox: {{}}}}}}\n  \
             phases: [{{name: all, regions: [west], stages: [100%], before: [load-test]}}]\n  gates:\n    load-test: {settings}\n"
        );
        let read = read_alone(&text);
        match (read.workflow, read.diagnostics.iter().find(|found| found.is_error())) {
            (Some(workflow), None) => Ok(workflow.gates["load-test"].kind.clone()),
            (_, found) => Err(found.map(|found| found.message.clone()).unwrap_or_default()),
        }
    }

    #[test]
    fn a_signal_is_posted_under_the_gates_name_unless_it_has_one() {
        for (written, name) in [
            ("{signal: }", "load-test"),
            ("{signal: {}}", "load-test"),
            ("{signal: {name: done}}", "done"),
        ] {
            match gate(written).unwrap() {
                GateKind::Signal(signal) => assert_eq!((signal.name.as_str(), signal.accept), (name, None)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (written, said) in [
            ("{signal: {onExpiry: ask}}", "never happens"),
            ("{signal: {accept: candidate > 3}}", "unknown name `candidate`"),
            ("{signal: {from: ci}}", "no key `from`"),
        ] {
            let why = gate(written).unwrap_err();
            assert!(why.contains(said), "{written}: {why}");
        }
    }
}
