//! What a scenario expects of the run.

use std::collections::BTreeMap;

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::scenario::cast::Cast;
use crate::decode::shape::{Form, Key, Shape, optional, required};
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic, suggestion};
use crate::document::node::Node;
use crate::plan::RegionId;
use crate::scenario::{Cause, Expectation, Happening, HappeningWord, Outcome, Whereabouts};
use crate::share::Share;

pub static EXPECTATION: Shape = Shape {
    name: "`expect`",
    summary: "What must be true when the world has come to rest.",
    one_of: &[],
    keys: &[
        required(
            "outcome",
            Form::Choice(&[
                "promoted",
                "rolled-back",
                "needs-attention",
                "held",
                "paused",
                "running",
            ]),
            "how the run stands in the end; `running` goes on, or waits for an approval",
        ),
        optional(
            "cause",
            Form::Text,
            "what the cause begins with: `gate/NAME`, `stuck`, `stuck/REGION/STAGE`, `deadline`, `abort`, `rollback`",
        ),
        optional(
            "at",
            Form::Text,
            "the region, or `REGION/STAGE`, where it failed, was held or asked",
        ),
        optional(
            "within",
            Form::Duration,
            "from the candidate's first order in the region where it ended until that was decided (from the start, where there is no such region)",
        ),
        optional("endsWithin", Form::Duration, "from the start to the end"),
        optional(
            "neverAbove",
            Form::Map(&Form::Share),
            "by region: the candidate is never given more than this share",
        ),
        optional(
            "order",
            Form::List(&Form::Object(&HAPPENING)),
            "these happen in this order; others may in between",
        ),
        optional(
            "messages",
            Form::OneOrMore(&Form::Text),
            "each of these stands in some line of the story",
        ),
        optional(
            "promoted",
            Form::List(&Form::Name),
            "exactly these regions end promoted",
        ),
        optional(
            "rolledBack",
            Form::List(&Form::Name),
            "exactly these regions end rolled back",
        ),
    ],
};

const fn happening(word: &'static str, summary: &'static str) -> Key {
    optional(word, Form::Text, summary)
}

static HAPPENING: Shape = Shape {
    name: "what happens",
    summary: "One thing that happens to a region or a stage: exactly one of these.",
    one_of: &[
        "started",
        "passed",
        "skipped",
        "failed",
        "held",
        "recovered",
        "asked",
        "promoted",
        "rolledBack",
    ],
    keys: &[
        happening("started", "the first order of a stage, or of a region's first one"),
        happening("passed", "a stage, or a region's last one"),
        happening("skipped", "a person left it out"),
        happening("failed", "a gate, the platform or a person stopped it"),
        happening("held", "it stays, and goes on by itself on recovery"),
        happening("recovered", "a hold has ended"),
        happening("asked", "a person decides"),
        happening("promoted", "a region: the candidate has become the baseline"),
        happening("rolledBack", "a region: read back, the baseline serves everything"),
    ],
};

pub fn read(node: &Node, cast: &Cast<'_>, cx: &mut Context<'_>) -> Option<Expectation> {
    let fields = Fields::read(node, &EXPECTATION, cx)?;
    let outcomes = Outcome::ALL.map(|outcome| (outcome.word(), outcome));
    let outcome = fields.choice("outcome", &outcomes, cx);
    let cause = fields.get("cause").and_then(|node| cause(node, cast, cx));
    let at = fields.get("at").and_then(|node| cast.whereabouts(node, cx));
    let within = fields.duration("within", cx);
    let ends_within = fields.duration("endsWithin", cx);
    let never_above = never_above(&fields, cast, cx);
    let order = fields.list("order", cx);
    let order = order.iter().filter_map(|node| happened(node, cast, cx)).collect();
    let messages = fields.get("messages").map(value::one_or_more).unwrap_or_default();
    let messages = messages.iter().filter_map(|node| value::text(node, cx)).collect();
    let mut regions = |key| {
        let names = fields.get(key).map(|node| value::list(node, cx).unwrap_or_default());
        names.map(|names| names.iter().filter_map(|name| cast.region(name, cx)).collect())
    };
    let (promoted, rolled_back) = (regions("promoted"), regions("rolledBack"));
    Some(Expectation {
        outcome: outcome?,
        cause,
        at,
        within,
        ends_within,
        never_above,
        order,
        messages,
        promoted,
        rolled_back,
    })
}

fn never_above(fields: &Fields<'_>, cast: &Cast<'_>, cx: &mut Context<'_>) -> BTreeMap<RegionId, Share> {
    let mut never = BTreeMap::new();
    for (name, place, node) in fields.entries("neverAbove", cx) {
        let region = cast.region_named(name, place, cx);
        let share = value::share(node, cx);
        never.extend(region.zip(share));
    }
    never
}

/// The first words of causes, as the engine writes them.
const CAUSES: [&str; 6] = ["gate", "stuck", "deadline", "content", "abort", "rollback"];

/// A cause's beginning; what it names exists.
fn cause(node: &Node, cast: &Cast<'_>, cx: &mut Context<'_>) -> Option<Cause> {
    let written = value::text(node, cx)?;
    let (kind, rest) = match written.split_once('/') {
        Some((kind, rest)) => (kind, Some(rest)),
        None => (written.as_str(), None),
    };
    if !CAUSES.contains(&kind) {
        let message = format!("no run's cause begins with `{kind}`");
        let hint = suggestion::hint(kind, CAUSES);
        cx.report(Diagnostic::new(Code::CHOICE, node.place.clone(), message).maybe_hint(hint));
        return None;
    }
    match (kind, rest) {
        ("gate", Some(gate)) => {
            let start = written.len() - gate.len();
            cast.gate_named(gate, &node.part(start..written.len()), cx)?;
            Some(Cause(written))
        }
        // People write the stage as they do everywhere; the engine writes the whole key.
        ("stuck" | "deadline" | "content", Some(spot)) => {
            let plan = cast.plan()?;
            let place = node.part(written.len() - spot.len()..written.len());
            let key = &plan.node(cast.node_named(spot, &place, cx)?).key;
            Some(Cause(format!("{kind}/{key}")))
        }
        (_, _) => Some(Cause(written)),
    }
}

fn happened(node: &Node, cast: &Cast<'_>, cx: &mut Context<'_>) -> Option<Happening> {
    let fields = Fields::read(node, &HAPPENING, cx)?;
    let given: Vec<HappeningWord> = HappeningWord::ALL
        .into_iter()
        .filter(|word| fields.get(word.key()).is_some())
        .collect();
    let [word] = given[..] else {
        if !fields.has_unknown_keys() {
            let message = "a row of `order` is one thing that happens, as in `passed: eu-west-1/25%`";
            cx.error(Code::ONE_OF, fields.place(), message);
        }
        return None;
    };
    let value = fields.get(word.key())?;
    let of = cast.whereabouts(value, cx)?;
    if word.is_of_a_region() && matches!(of, Whereabouts::Node(_)) {
        let message = format!("`{}` is told of a region as a whole", word.key());
        let hint = value
            .as_text()
            .and_then(|text| text.split_once('/'))
            .map(|(region, _)| format!("write `{}: {region}`", word.key()));
        cx.report(Diagnostic::new(Code::SCRIPT, value.place.clone(), message).maybe_hint(hint));
        return None;
    }
    Some(Happening { word, of })
}
