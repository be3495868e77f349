//! The `trend` gate: when a rising resource meets its limit.

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::gate::Referred;
use crate::decode::shape::{Form, Shape, optional, required};
use crate::decode::{quantity, threshold, value};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::Node;
use crate::duration::Duration;
use crate::workflow::{Block, TrendGate};

pub static TREND: Shape = Shape {
    name: "a `trend` gate",
    summary: "Projected exhaustion of a resource: candidate less baseline, from the candidate's first traffic on.",
    one_of: &[],
    keys: &[
        required("query", Form::Name, "a metric whose course over time is followed"),
        required(
            "limit",
            Form::Text,
            "what may not be reached, in the metric's unit, as in `1Gi`",
        ),
        required(
            "within",
            Form::Duration,
            "a limit that is proven to be reached sooner than this fails",
        ),
        optional(
            "lasts",
            Form::Duration,
            "to pass, the resource must be proven to last this long (default: it passes where the estimate lasts for `within`)",
        ),
        optional(
            "window",
            Form::Duration,
            "how far back the course reaches, at most (default 4h)",
        ),
        optional("step", Form::Duration, "time between two points (default 1m)"),
        optional(
            "againstBaseline",
            Form::Boolean,
            "subtract the baseline's course: what both arms do is not the candidate's (default: where the query mentions the arm)",
        ),
        optional(
            "block",
            Form::Choice(&["mean", "minimum"]),
            "what stands for neighbouring points: their mean (default), or their low point for a heap that is swept now and then",
        ),
        optional(
            "restarts",
            Form::Name,
            "a metric that counts restarts; the course begins after the last one",
        ),
    ],
};

/// More points than this say nothing more, and every reading keeps them.
const POINTS_MAX: u64 = 1_000;
/// Fewer blocks are no trend.
const POINTS_MIN: u64 = 8;

/// Reads the settings of a `trend` gate.
pub fn read(node: &Node, referred: &Referred<'_>, cx: &mut Context<'_>) -> Option<TrendGate> {
    let fields = Fields::read(node, &TREND, cx)?;
    let named = threshold::named(&fields, "query", referred, cx);
    let limit = match (&named, fields.get("limit")) {
        (Some((_, metric)), Some(node)) => quantity::read(node, Some(&metric.metric.unit), cx),
        (None, _) | (_, None) => None,
    };
    let positive = |key: &'static str, default: u64, cx: &mut Context<'_>| match fields.get(key) {
        Some(node) => value::positive_duration(node, cx),
        None => Some(Duration::from_secs(default)),
    };
    let within = fields.get("within").and_then(|node| value::positive_duration(node, cx));
    let lasts = match fields.get("lasts") {
        Some(node) => Some(value::positive_duration(node, cx)?),
        None => None,
    };
    let window = positive("window", 4 * 3_600, cx);
    let step = positive("step", 60, cx);
    if let (Some(window), Some(step)) = (window, step) {
        let points = window.as_millis() / step.as_millis().max(1);
        if !(POINTS_MIN..=POINTS_MAX).contains(&points) {
            let place = fields.key_place(if fields.get("step").is_some() { "step" } else { "window" });
            let message =
                format!("{window} in steps of {step} are {points} points, {POINTS_MIN} to {POINTS_MAX} are possible");
            cx.report(Diagnostic::new(Code::COMPARISON, place, message).hint("change `step` or `window`"));
        }
    }
    let (query, metric) = named?;
    let against_baseline = fields.boolean("againstBaseline", cx).unwrap_or(metric.mentions_arm);
    if against_baseline {
        threshold::check_arm(&fields.get("query")?.place, metric, cx);
    }
    let restarts = match fields.get("restarts") {
        Some(_) => Some(threshold::counting(&fields, "restarts", false, referred, cx)?),
        None => None,
    };
    Some(TrendGate {
        query,
        limit: limit?,
        within: within?,
        lasts,
        window: window?,
        step: step?,
        against_baseline,
        block: fields
            .choice("block", &[("mean", Block::Mean), ("minimum", Block::Minimum)], cx)
            .unwrap_or(Block::Mean),
        restarts,
    })
}
