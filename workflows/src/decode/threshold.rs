//! The `metric` gate: thresholds over a metric, in the metric's unit.

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::gate::Referred;
use crate::decode::shape::{Form, Shape, optional, required};
use crate::decode::{expressions, metric, value};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::Node;
use crate::document::source::Place;
use crate::workflow::{MetricGate, MetricUnit};

pub static METRIC_GATE: Shape = Shape {
    name: "a `metric` gate",
    summary: "Thresholds over a metric; at least one of holdWhen, askWhen and rollbackWhen.",
    one_of: &[],
    keys: &[
        required("query", Form::Name, "the name of a metric"),
        optional(
            "minSamples",
            Form::Integer { min: 1, max: u64::MAX },
            "fewer samples in the window are no verdict yet, never a pass",
        ),
        optional(
            "holdWhen",
            Form::Expression,
            "CEL over candidate, baseline and samples; true: hold, go on by itself on recovery",
        ),
        optional("askWhen", Form::Expression, "CEL; true: a person decides"),
        optional("rollbackWhen", Form::Expression, "CEL; true: roll back"),
        optional(
            "concurrentOnly",
            Form::Boolean,
            "left out where no baseline serves beside the candidate, at 100% (default false)",
        ),
    ],
};

const THRESHOLDS: [&str; 3] = ["holdWhen", "askWhen", "rollbackWhen"];

/// Reads the settings of a `metric` gate.
pub fn read(node: &Node, referred: &Referred<'_>, cx: &mut Context<'_>) -> Option<MetricGate> {
    let fields = Fields::read(node, &METRIC_GATE, cx)?;
    let query = fields.get("query")?;
    let name = value::text(query, cx)?;
    let metric = find(&name, query, referred, cx)?;
    if !fields.has_unknown_keys() && THRESHOLDS.iter().all(|key| fields.get(key).is_none()) {
        cx.report(
            Diagnostic::new(
                Code::NO_THRESHOLD,
                fields.place().clone(),
                "this gate has no threshold, so nothing could fail it",
            )
            .hint("add `rollbackWhen`, `holdWhen` or `askWhen`, as in `rollbackWhen: candidate > 2 * baseline`"),
        );
    }
    let [hold_when, ask_when, rollback_when] = THRESHOLDS.map(|key| {
        let node = fields.get(key)?;
        threshold(node, metric, cx)
    });
    let min_samples = fields.integer("minSamples", 1, u64::MAX, cx);
    if let Some(node) = fields.get("minSamples").filter(|_| !metric.has_samples) {
        let message = format!("the metric `{name}` has no `samples` query, so its samples cannot be counted");
        cx.report(
            Diagnostic::new(Code::SAMPLES, node.place.clone(), message)
                .and(metric.query.clone(), "the metric")
                .hint("add `samples:` to the metric, a query that counts what the value is made of"),
        );
    }
    let given = [&hold_when, &ask_when, &rollback_when];
    let needs_baseline = given.into_iter().flatten().any(|threshold| threshold.needs_baseline);
    let needs_candidate = given.into_iter().flatten().any(|threshold| threshold.needs_candidate);
    let ignores_candidate = needs_baseline && !needs_candidate && min_samples.is_none();
    Some(MetricGate {
        query: name,
        min_samples,
        needs_baseline,
        ignores_candidate,
        hold_when: hold_when.map(|threshold| threshold.source),
        ask_when: ask_when.map(|threshold| threshold.source),
        rollback_when: rollback_when.map(|threshold| threshold.source),
        concurrent_only: fields.boolean("concurrentOnly", cx).unwrap_or(false),
    })
}

/// The name that stands under `key`, with its metric.
pub fn named<'a>(
    fields: &Fields<'_>,
    key: &'static str,
    referred: &'a Referred<'_>,
    cx: &mut Context<'_>,
) -> Option<(String, &'a metric::Placed)> {
    let node = fields.get(key)?;
    let name = value::text(node, cx)?;
    let metric = find(&name, node, referred, cx)?;
    Some((name, metric))
}

/// A metric that counts events, with the arm in its query when it has to tell arms apart.
pub fn counting(
    fields: &Fields<'_>,
    key: &'static str,
    per_arm: bool,
    referred: &Referred<'_>,
    cx: &mut Context<'_>,
) -> Option<String> {
    let (name, metric) = named(fields, key, referred, cx)?;
    let place = fields.get(key)?.place.clone();
    if metric.metric.unit != MetricUnit::Count {
        cx.report(
            Diagnostic::new(
                Code::QUANTITY,
                place.clone(),
                format!("the metric `{name}` does not count events"),
            )
            .and(metric.query.first_line(), "the metric")
            .hint("a metric with `unit: count`, as in `sum(increase(http_requests_total{…}[${{ window }}]))`"),
        );
    }
    if per_arm {
        check_arm(&place, metric, cx);
    }
    Some(name)
}

/// Reports a metric that reads the same for both arms.
pub fn check_arm(place: &Place, metric: &metric::Placed, cx: &mut Context<'_>) {
    if !metric.mentions_arm {
        let message = "both arms would read the same number: the metric's query does not mention the arm";
        cx.report(
            Diagnostic::new(Code::BASELINE_WITHOUT_ARM, place.clone(), message)
                .and(metric.query.first_line(), "the query")
                .hint("select one arm's telemetry in the query, as in `version=\"${{ arm.version }}\"`"),
        );
    }
}

/// The metric of that name. One that was written but could not be read has been reported already.
fn find<'a>(name: &str, query: &Node, referred: &'a Referred<'_>, cx: &mut Context<'_>) -> Option<&'a metric::Placed> {
    let found = referred.metrics.get(name);
    match referred.definitions.metrics.get(name) {
        None => {
            let known = referred.definitions.metrics.keys().map(String::as_str);
            cx.unknown(Code::UNKNOWN_METRIC, &query.place, "metric", name, known);
        }
        Some(definition) if found.is_none() && definition.is_built_in() => {
            let sources: Vec<&str> = referred.definitions.sources.keys().map(String::as_str).collect();
            let (message, hint) = if sources.is_empty() {
                let hint =
                    "define one under `sources`, as in `prom: {prometheus: {address: 'http://prometheus:9090'}}`";
                (
                    format!("the metric `{name}` of the language needs a metric source, and there is none"),
                    hint.to_owned(),
                )
            } else {
                let message = format!("the metric `{name}` of the language does not know which source it asks");
                (
                    message,
                    format!("define the metric with `source:`; sources here: {}", sources.join(", ")),
                )
            };
            cx.report(Diagnostic::new(Code::UNKNOWN_SOURCE, query.place.clone(), message).hint(hint));
        }
        Some(_) => {}
    }
    found
}

struct Threshold {
    source: String,
    needs_baseline: bool,
    needs_candidate: bool,
}

fn threshold(node: &Node, metric: &metric::Placed, cx: &mut Context<'_>) -> Option<Threshold> {
    let expression = expressions::condition(node, &expressions::thresholds(&metric.metric.unit), cx)?;
    let needs_baseline = expression.mentions("baseline");
    if needs_baseline {
        check_arm(&node.place, metric, cx);
    }
    Some(Threshold {
        source: expression.source().to_owned(),
        needs_baseline,
        needs_candidate: expression.mentions("candidate") || expression.mentions("samples"),
    })
}
