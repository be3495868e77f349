//! The `approval` gate: people say yes.

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::shape::{Form, Shape, optional};
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic, suggestion};
use crate::document::node::{Node, Value};
use crate::workflow::{Approval, Policy};

pub static APPROVAL: Shape = Shape {
    name: "an `approval` gate",
    summary: "People say yes.",
    one_of: &[],
    keys: &[
        optional(
            "count",
            Form::Integer { min: 1, max: 20 },
            "different people needed (default 1)",
        ),
        optional(
            "from",
            Form::OneOrMore(&Form::Text),
            "roles or people who may answer (default: anybody)",
        ),
        optional(
            "require",
            Form::OneOrMore(&Form::Text),
            "roles of which at least one approver each is needed",
        ),
        optional(
            "expires",
            Form::Duration,
            "counted from the moment of asking (default: never)",
        ),
        optional(
            "onExpiry",
            Form::Choice(&["rollback", "hold", "ask"]),
            "what an expired question leads to (default rollback)",
        ),
        optional(
            "starterMayApprove",
            Form::Boolean,
            "whether the person who started the run may approve (default false)",
        ),
    ],
};

/// Reads the settings of an `approval` gate; nothing written means one yes from anybody.
pub fn read(node: &Node, cx: &mut Context<'_>) -> Option<Approval> {
    let empty = Node {
        place: node.place.clone(),
        value: Value::Map(crate::document::node::Map::default()),
    };
    let node = if matches!(node.value, Value::Null) {
        &empty
    } else {
        node
    };
    let fields = Fields::read(node, &APPROVAL, cx)?;
    let count = fields.integer("count", 1, 20, cx).unwrap_or(1);
    let from = names(fields.get("from"), cx);
    let require = names(fields.get("require"), cx);
    if let Some(written) = fields.get("require") {
        if let Some(stranger) = require.iter().find(|role| !from.is_empty() && !from.contains(role)) {
            let message = format!("`{stranger}` is required but may not answer");
            let hint = suggestion::closest(stranger, from.iter().map(String::as_str)).map_or_else(
                || format!("add `{stranger}` to `from`"),
                |meant| format!("did you mean `{meant}`?"),
            );
            cx.report(Diagnostic::new(Code::APPROVAL, written.place.first_line(), message).hint(hint));
        }
        if require.len() as u64 > count {
            let message = format!(
                "{} roles are required, but `count` asks for {}",
                require.len(),
                if count == 1 {
                    "one person".to_owned()
                } else {
                    format!("{count} people")
                }
            );
            let hint = format!("write `count: {}`", require.len());
            cx.report(Diagnostic::new(Code::APPROVAL, written.place.first_line(), message).hint(hint));
        }
    }
    let expires = fields
        .get("expires")
        .and_then(|node| value::positive_duration(node, cx));
    let choices = &[
        ("rollback", Policy::Rollback),
        ("hold", Policy::Hold),
        ("ask", Policy::Ask),
    ];
    if let Some(node) = fields.get("onExpiry").filter(|_| fields.get("expires").is_none()) {
        cx.report(
            Diagnostic::new(
                Code::APPROVAL,
                node.place.clone(),
                "`onExpiry` without `expires` never happens",
            )
            .hint("add `expires: 24h`, or remove `onExpiry`"),
        );
    }
    Some(Approval {
        count: u32::try_from(count).unwrap_or(u32::MAX),
        from,
        require,
        expires,
        on_expiry: fields.choice("onExpiry", choices, cx).unwrap_or(Policy::Rollback),
        starter_may_approve: fields.boolean("starterMayApprove", cx).unwrap_or(false),
    })
}

/// One name or a list of them, each once.
fn names(node: Option<&Node>, cx: &mut Context<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for item in node.map(value::one_or_more).unwrap_or_default() {
        let Some(name) = value::text(item, cx) else { continue };
        if name.trim().is_empty() {
            cx.error(Code::NAME, &item.place, "a role or person has a name");
        } else if names.contains(&name) {
            cx.error(
                Code::TWICE_IN_LIST,
                &item.place,
                format!("`{name}` stands in the list twice"),
            );
        } else {
            names.push(name);
        }
    }
    names
}
