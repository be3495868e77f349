//! The `budget` gate: what is left of an objective's error budget, and how fast it burns.

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::gate::Referred;
use crate::decode::shape::{Form, Shape, optional, required};
use crate::decode::{threshold, value};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::Node;
use crate::duration::Duration;
use crate::workflow::{BudgetGate, Requests, Reserve};

pub static BUDGET: Shape = Shape {
    name: "a `budget` gate",
    summary: "The error budget of an objective: what is left of it (holdBelow, askBelow, freezeBelow), and how fast it burns (burn).",
    one_of: &[],
    keys: &[
        required(
            "objective",
            Form::Text,
            "the part of requests that must be good, as in `99.9%`",
        ),
        optional("over", Form::Duration, "the period of the budget (default 30d)"),
        optional("good", Form::Name, "a metric that counts good requests in the window"),
        optional("total", Form::Name, "a metric that counts all requests in the window"),
        optional("holdBelow", Form::Text, "less of the budget than this: hold"),
        optional("askBelow", Form::Text, "less of the budget than this: a person decides"),
        optional(
            "freezeBelow",
            Form::Text,
            "less of the budget than this: nothing is released, until a person leaves the gate out",
        ),
        optional(
            "burn",
            Form::Object(&BURN),
            "burn-rate alarms over several windows, on each arm's own requests",
        ),
    ],
};

static BURN: Shape = Shape {
    name: "`burn`",
    summary: "Metrics whose queries mention the arm, so that the candidate's own requests are judged.",
    one_of: &[],
    keys: &[
        required("good", Form::Name, "a metric that counts one arm's good requests"),
        required("total", Form::Name, "a metric that counts all of one arm's requests"),
    ],
};

const BANDS: [&str; 3] = ["holdBelow", "askBelow", "freezeBelow"];

/// Reads the settings of a `budget` gate.
pub fn read(node: &Node, referred: &Referred<'_>, cx: &mut Context<'_>) -> Option<BudgetGate> {
    let fields = Fields::read(node, &BUDGET, cx)?;
    let objective = fields.get("objective").and_then(|node| objective(node, cx));
    let burn = fields.get("burn");
    if BANDS.iter().all(|key| fields.get(key).is_none()) && burn.is_none() && !fields.has_unknown_keys() {
        cx.report(
            Diagnostic::new(
                Code::COMPARISON,
                fields.place().clone(),
                "this gate judges nothing: it has neither a band nor `burn`",
            )
            .hint("add `holdBelow: 20%`, or `burn: {good: …, total: …}`"),
        );
    }
    let reserve = reserve(&fields, referred, cx)?;
    let burn = match burn {
        Some(node) => {
            let fields = Fields::read(node, &BURN, cx)?;
            Some(requests(&fields, true, referred, cx)?)
        }
        None => None,
    };
    Some(BudgetGate {
        objective: objective?,
        reserve,
        burn,
    })
}

fn objective(node: &Node, cx: &mut Context<'_>) -> Option<f64> {
    let part = value::part(node, cx)?;
    if !(part > 0.0 && part < 1.0) {
        cx.report(
            Diagnostic::new(
                Code::COMPARISON,
                node.place.clone(),
                "an objective lies above 0% and below 100%, or there is no budget",
            )
            .hint("for example `99.9%`"),
        );
        return None;
    }
    Some(part)
}

/// None (of the outer option) where what is written cannot be read.
fn reserve(fields: &Fields<'_>, referred: &Referred<'_>, cx: &mut Context<'_>) -> Option<Option<Reserve>> {
    let band = |key: &'static str, cx: &mut Context<'_>| match fields.get(key) {
        Some(node) => value::part(node, cx).map(Some),
        None => Some(None),
    };
    let (hold, ask, freeze) = (band("holdBelow", cx), band("askBelow", cx), band("freezeBelow", cx));
    let over = match fields.get("over") {
        Some(node) => value::positive_duration(node, cx),
        None => Some(Duration::from_secs(30 * 86_400)),
    };
    let is_judged = BANDS.iter().any(|key| fields.get(key).is_some());
    if !is_judged {
        return Some(None);
    }
    for key in ["good", "total"] {
        if fields.get(key).is_none() {
            let message = format!("what is left of the budget is judged, so `{key}` is needed");
            cx.report(
                Diagnostic::new(Code::MISSING_KEY, fields.place().clone(), message)
                    .hint("a metric that counts requests in `${{ window }}`"),
            );
        }
    }
    let requests = requests(fields, false, referred, cx)?;
    let (hold_below, ask_below, freeze_below) = (hold?, ask?, freeze?);
    Some(Some(Reserve {
        requests,
        over: over?,
        hold_below,
        ask_below,
        freeze_below,
    }))
}

fn requests(fields: &Fields<'_>, per_arm: bool, referred: &Referred<'_>, cx: &mut Context<'_>) -> Option<Requests> {
    let good = threshold::counting(fields, "good", per_arm, referred, cx);
    let total = threshold::counting(fields, "total", per_arm, referred, cx);
    Some(Requests {
        good: good?,
        total: total?,
    })
}
