//! What people of a scenario do, and when.

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::scenario::cast::Cast;
use crate::decode::shape::{Form, Shape, optional, required};
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::Node;
use crate::duration::Duration;
use crate::plan::{GateId, NodeId};
use crate::scenario::{Act, Deed, Moment};
use crate::workflow::GateKind;

pub static ACT: Shape = Shape {
    name: "what a person does",
    summary: "One person does one thing: exactly one verb, `by` whom, and when.",
    one_of: &VERBS,
    keys: &[
        optional("approve", Form::Name, "yes to this gate, each time it asks"),
        optional("reject", Form::Name, "no to this gate, each time it asks"),
        optional("pause", Form::Text, "no advance, for this reason"),
        optional(
            "resume",
            Form::Text,
            "ends a pause, or a hold that needs attention, for this reason",
        ),
        optional("promote", Form::Name, "the rest of this region at once; needs `reason`"),
        optional(
            "skip",
            Form::Text,
            "leaves out a gate, or a stage as in `eu-west-1/25%`; needs `reason`",
        ),
        optional(
            "abort",
            Form::Text,
            "stop and roll back as the workflow says, for this reason",
        ),
        optional(
            "rollback",
            Form::Text,
            "roll the whole run back, also after its end, for this reason",
        ),
        optional("retry", Form::Text, "a new attempt, for this reason"),
        optional(
            "signal",
            Form::Name,
            "a system outside posts what this gate waits for, each time it asks",
        ),
        required("by", Form::Text, "the person's name, or the system's"),
        optional(
            "roles",
            Form::List(&Form::Text),
            "roles that the person acts in (default: those that the answered gate asks for; none for other verbs)",
        ),
        optional(
            "after",
            Form::Duration,
            "this long after the gate asks (default 0s), or after the beginning of `stage`",
        ),
        optional("at", Form::Duration, "this long after the run's start"),
        optional(
            "stage",
            Form::Text,
            "`REGION/STAGE`: the one whose gate is answered, or with whose beginning `after` is counted",
        ),
        optional("reason", Form::Text, "what the person says about it"),
        optional(
            "freezeBake",
            Form::Boolean,
            "with `pause`: bakes stop too (default false)",
        ),
        optional(
            "fromStart",
            Form::Boolean,
            "with `retry`: from the start (default false)",
        ),
        optional(
            "passed",
            Form::Boolean,
            "with `signal`: whether it passed (default true, with `payload` nothing)",
        ),
        optional("payload", Form::Anything, "with `signal`: the JSON that is posted"),
    ],
};

const VERBS: [&str; 10] = [
    "approve", "reject", "pause", "resume", "promote", "skip", "abort", "rollback", "retry", "signal",
];

pub fn read(node: &Node, cast: &Cast<'_>, cx: &mut Context<'_>) -> Option<Act> {
    let fields = Fields::read(node, &ACT, cx)?;
    let by = fields.text("by", cx);
    let roles = fields.get("roles").map(|_| texts(&fields, "roles", cx));
    let verb = verb(&fields, cx);
    let deed = verb.and_then(|verb| deed(verb, &fields, cast, cx));
    let moment = moment(verb, &fields, cast, cx);
    let said = verb
        .filter(|verb| says_why(verb))
        .and_then(|verb| fields.text(verb, cx));
    let reason = fields.text("reason", cx).or(said);
    if matches!(verb, Some("promote" | "skip")) && reason.is_none() {
        let message = "this needs a reason, as on the command line";
        cx.report(Diagnostic::new(Code::MISSING_KEY, fields.place().clone(), message).hint("add `reason:`"));
    }
    Some(Act {
        by: by?,
        roles,
        deed: deed?,
        moment: moment?,
        reason,
    })
}

fn texts(fields: &Fields<'_>, key: &'static str, cx: &mut Context<'_>) -> Vec<String> {
    fields.texts(key, cx).into_iter().map(|(text, _)| text).collect()
}

/// Verbs whose value is the reason: there is nothing else to say.
fn says_why(verb: &str) -> bool {
    matches!(verb, "pause" | "resume" | "abort" | "rollback" | "retry")
}

fn verb(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<&'static str> {
    let given: Vec<&'static str> = VERBS.into_iter().filter(|verb| fields.get(verb).is_some()).collect();
    match given[..] {
        [only] => Some(only),
        [] => {
            if !fields.has_unknown_keys() {
                let message = "this person does nothing";
                let hint = format!("give one of {}", VERBS.join(", "));
                cx.report(Diagnostic::new(Code::ONE_OF, fields.place().clone(), message).hint(hint));
            }
            None
        }
        [first, second, ..] => {
            let message = format!("one row is one deed, this has `{first}` and `{second}`");
            cx.report(
                Diagnostic::new(Code::ONE_OF, fields.key_place(second), message)
                    .and(fields.key_place(first), "the first")
                    .hint("write two rows"),
            );
            None
        }
    }
}

fn deed(verb: &'static str, fields: &Fields<'_>, cast: &Cast<'_>, cx: &mut Context<'_>) -> Option<Deed> {
    for (key, with) in [
        ("freezeBake", "pause"),
        ("fromStart", "retry"),
        ("passed", "signal"),
        ("payload", "signal"),
    ] {
        if fields.get(key).is_some() && verb != with {
            let message = format!("`{key}` belongs to `{with}`, not to `{verb}`");
            cx.error(Code::SCRIPT, &fields.key_place(key), message);
        }
    }
    let node = fields.get(verb)?;
    let deed = match verb {
        "approve" => Deed::Approve(answered(node, cast, cx)?),
        "reject" => Deed::Reject(answered(node, cast, cx)?),
        "pause" => Deed::Pause {
            freeze_bake: fields.boolean("freezeBake", cx).unwrap_or(false),
        },
        "resume" => Deed::Resume,
        "promote" => Deed::Promote(cast.region(node, cx)?),
        "skip" if node.as_text().is_some_and(|text| text.contains('/')) => Deed::SkipStage(cast.node(node, cx)?),
        "skip" => Deed::SkipGate(cast.gate(node, cx)?),
        "abort" => Deed::Abort,
        "rollback" => Deed::Rollback,
        "signal" => posted(node, fields, cast, cx)?,
        _ => Deed::Retry {
            from_start: fields.boolean("fromStart", cx).unwrap_or(false),
        },
    };
    Some(deed)
}

/// A system's post to a gate that waits for one.
fn posted(node: &Node, fields: &Fields<'_>, cast: &Cast<'_>, cx: &mut Context<'_>) -> Option<Deed> {
    let gate = cast.gate(node, cx)?;
    if !matches!(cast.kind_of(gate), Some(GateKind::Signal(_))) {
        let written = node.as_text().unwrap_or_default();
        let message = format!("the gate `{written}` waits for no signal");
        cx.report(
            Diagnostic::new(Code::SCRIPT, node.place.clone(), message)
                .hint("people `approve` what asks them; services answer under `gates`"),
        );
        return None;
    }
    let payload = fields.get("payload").map(value::json);
    let passed = fields.boolean("passed", cx).or(payload.is_none().then_some(true));
    Some(Deed::Signal { gate, passed, payload })
}

/// A gate that can ask a person: an approval, or any that may ask when it is breached.
fn answered(node: &Node, cast: &Cast<'_>, cx: &mut Context<'_>) -> Option<GateId> {
    let gate = cast.gate(node, cx)?;
    if let Some(GateKind::Window(_) | GateKind::Lock(_)) = cast.kind_of(gate) {
        let written = node.as_text().unwrap_or_default();
        let message = format!("the gate `{written}` never asks a person");
        cx.report(Diagnostic::new(Code::SCRIPT, node.place.clone(), message).hint("`skip` leaves it out"));
        return None;
    }
    Some(gate)
}

fn moment(verb: Option<&str>, fields: &Fields<'_>, cast: &Cast<'_>, cx: &mut Context<'_>) -> Option<Moment> {
    let after = fields.get("after").map(|node| value::duration(node, cx));
    let at = fields.get("at").map(|node| value::duration(node, cx));
    let stage: Option<Option<NodeId>> = fields.get("stage").map(|node| cast.node(node, cx));
    if at.is_some()
        && let Some(other) = ["after", "stage"].into_iter().find(|key| fields.get(key).is_some())
    {
        let message = format!("`at` counts from the run's start, and `{other}` from something else");
        cx.report(
            Diagnostic::new(Code::SCRIPT, fields.key_place(other), message)
                .and(fields.key_place("at"), "the other")
                .hint("give one of them"),
        );
        return None;
    }
    let is_answer = matches!(verb, Some("approve" | "reject" | "signal"));
    match (at, stage, after) {
        (Some(at), _, _) => Some(Moment::OfRun(at?)),
        (None, stage, after) if is_answer => {
            let node = match stage {
                Some(node) => Some(node?),
                None => None,
            };
            let after = after.unwrap_or(Some(Duration::ZERO))?;
            Some(Moment::Asked { node, after })
        }
        (None, Some(stage), after) => Some(Moment::OfNode {
            node: stage?,
            after: after.unwrap_or(Some(Duration::ZERO))?,
        }),
        (None, None, _) => {
            if verb.is_some() {
                let message = "this does not say when";
                let hint = "add `at: 2h` (after the run's start), or `stage: REGION/STAGE` and `after:`";
                cx.report(Diagnostic::new(Code::SCRIPT, fields.place().clone(), message).hint(hint));
            }
            None
        }
    }
}
