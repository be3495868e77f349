//! The `compare` gate: a statistical test of both arms.

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::gate::Referred;
use crate::decode::shape::{Form, Shape, optional};
use crate::decode::{quantity, threshold, value};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::Node;
use crate::duration::Duration;
use crate::expression::Template;
use crate::workflow::{CompareGate, Compared, CourseTest, Harm, MetricUnit};

pub static COMPARE: Shape = Shape {
    name: "a `compare` gate",
    summary: "A statistical test of both arms: of counts (bad, total), of a histogram (buckets), or of a gauge over time (query).",
    one_of: &[],
    keys: &[
        optional("bad", Form::Name, "a metric that counts bad requests in the window"),
        optional("total", Form::Name, "a metric that counts all requests in the window"),
        optional(
            "buckets",
            Form::Name,
            "a metric that counts the requests that took at most `${{ le }}` seconds",
        ),
        optional(
            "boundaries",
            Form::List(&Form::Text),
            "the boundaries of the buckets, rising, as in `[100ms, 250ms, 1s]`",
        ),
        optional("query", Form::Name, "a metric whose course over time is compared"),
        optional(
            "test",
            Form::Choice(&["means", "ranks"]),
            "how courses are compared: means of blocks (default), or Mann and Whitney's ranks",
        ),
        optional(
            "harm",
            Form::Choice(&["more", "less", "either"]),
            "which way is worse (default more)",
        ),
        optional(
            "margin",
            Form::Text,
            "harm that is allowed, as a part of the baseline (default 50% for counts, 0% for buckets, 10% for a query)",
        ),
        optional(
            "floor",
            Form::Text,
            "harm that is allowed beside the margin: a part of all requests (default 0.1% for counts, 2% for buckets), or in the metric's unit",
        ),
        optional(
            "alpha",
            Form::Text,
            "the chance of a false alarm that is this gate's own (default: an equal part of the stage's 1%)",
        ),
        optional(
            "minSamples",
            Form::Integer { min: 1, max: u64::MAX },
            "fewer requests (points of a query) in either arm are no verdict yet (default 100 requests, 12 points)",
        ),
        optional(
            "trafficCheck",
            Form::Boolean,
            "hold the split of requests against the share first (default true, for counts)",
        ),
        optional(
            "step",
            Form::Duration,
            "time between two points of a query (default 1m)",
        ),
        optional(
            "looks",
            Form::Integer { min: 1, max: 100 },
            "how often a query is judged during the bake (default 6); the chance of a false alarm is spent over these",
        ),
        optional(
            "effect",
            Form::Text,
            "with `test: ranks`: the least probability that a candidate's value is the worse one (default 65%)",
        ),
    ],
};

const OF_COUNTS: &[&str] = &["bad", "total", "trafficCheck"];
const OF_BUCKETS: &[&str] = &["buckets", "boundaries"];
const OF_COURSE: &[&str] = &["query", "test", "step", "looks", "effect"];
const BOUNDARIES_MAX: usize = 24;

/// Reads the settings of a `compare` gate.
pub fn read(node: &Node, referred: &Referred<'_>, cx: &mut Context<'_>) -> Option<CompareGate> {
    let fields = Fields::read(node, &COMPARE, cx)?;
    let is_written = |key: &&'static str| fields.get(key).is_some();
    let ways = [OF_COUNTS, OF_BUCKETS, OF_COURSE];
    let mut written = ways.iter().filter(|way| way.iter().any(&is_written));
    let (Some(way), None) = (written.next(), written.next()) else {
        let message = "this gate says what it compares in one of three ways: `bad` and `total`, `buckets` and `boundaries`, or `query`";
        cx.report(
            Diagnostic::new(Code::COMPARISON, fields.place().clone(), message)
                .hint("for example `{bad: failed-requests, total: requests}`"),
        );
        return None;
    };
    let (of, unit, margin, floor, samples) = match way.first() {
        Some(&"bad") => (counts(&fields, referred, cx)?, MetricUnit::Ratio, 0.5, 0.001, 100),
        Some(&"buckets") => (buckets(&fields, referred, cx)?, MetricUnit::Ratio, 0.0, 0.02, 100),
        _ => {
            let (of, unit) = course(&fields, referred, cx)?;
            (of, unit, 0.1, 0.0, 12)
        }
    };
    let floor_written = fields.get("floor");
    let in_unit = |node: &Node, cx: &mut Context<'_>| match unit {
        MetricUnit::Ratio => value::part(node, cx),
        _ => quantity::read(node, Some(&unit), cx),
    };
    Some(CompareGate {
        of,
        harm: fields
            .choice(
                "harm",
                &[("more", Harm::More), ("less", Harm::Less), ("either", Harm::Either)],
                cx,
            )
            .unwrap_or(Harm::More),
        margin: optional_part(&fields, "margin", cx)?.unwrap_or(margin),
        floor: match floor_written {
            Some(node) => in_unit(node, cx)?.abs(),
            None => floor,
        },
        alpha: alpha(&fields, cx)?,
        min_samples: fields.integer("minSamples", 1, u64::MAX, cx).unwrap_or(samples),
        traffic_check: fields.boolean("trafficCheck", cx).unwrap_or(true),
    })
}

/// None (of the outer option) where what is written is no percentage.
fn optional_part(fields: &Fields<'_>, key: &'static str, cx: &mut Context<'_>) -> Option<Option<f64>> {
    match fields.get(key) {
        Some(node) => value::part(node, cx).map(Some),
        None => Some(None),
    }
}

fn alpha(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<Option<f64>> {
    let alpha = optional_part(fields, "alpha", cx)?;
    if let (Some(alpha), Some(node)) = (alpha, fields.get("alpha"))
        && !(1e-9..=0.2).contains(&alpha)
    {
        cx.report(
            Diagnostic::new(
                Code::COMPARISON,
                node.place.clone(),
                "the chance of a false alarm lies above nothing and is at most 20%",
            )
            .hint("`1%` is usual; a critical service pays more false alarms for finding harm sooner"),
        );
        return None;
    }
    Some(alpha)
}

fn counts(fields: &Fields<'_>, referred: &Referred<'_>, cx: &mut Context<'_>) -> Option<Compared> {
    let bad = threshold::counting(fields, "bad", true, referred, cx);
    let total = threshold::counting(fields, "total", true, referred, cx);
    for key in ["bad", "total"] {
        lacks(fields, key, cx);
    }
    Some(Compared::Counts {
        bad: bad?,
        total: total?,
    })
}

fn buckets(fields: &Fields<'_>, referred: &Referred<'_>, cx: &mut Context<'_>) -> Option<Compared> {
    let buckets = threshold::counting(fields, "buckets", true, referred, cx);
    for key in ["buckets", "boundaries"] {
        lacks(fields, key, cx);
    }
    if let (Some(name), Some(node)) = (&buckets, fields.get("buckets")) {
        let query = referred.metrics.get(name).map(|placed| placed.metric.query.as_str());
        if !query.is_some_and(|query| Template::parse(query).0.mentions("le")) {
            let message = format!(
                "the metric `{name}` reads the same for every boundary: its query does not mention `${{{{ le }}}}`"
            );
            cx.report(
                Diagnostic::new(Code::COMPARISON, node.place.clone(), message)
                    .hint("as in `…_bucket{le=\"${{ le }}\", version=\"${{ arm.version }}\"}`"),
            );
        }
    }
    let written = fields.get("boundaries")?;
    let boundaries: Vec<f64> = value::list(written, cx)?
        .iter()
        .filter_map(|item| quantity::read(item, Some(&MetricUnit::Seconds), cx))
        .collect();
    let rises = boundaries.windows(2).all(|pair| pair[0] < pair[1]);
    if boundaries.is_empty() || boundaries.len() > BOUNDARIES_MAX || !rises || boundaries[0] <= 0.0 {
        let message = format!("the boundaries rise from above nothing, one to {BOUNDARIES_MAX} of them");
        cx.error(Code::COMPARISON, &written.place.first_line(), message);
        return None;
    }
    Some(Compared::Buckets {
        buckets: buckets?,
        boundaries,
    })
}

fn course(fields: &Fields<'_>, referred: &Referred<'_>, cx: &mut Context<'_>) -> Option<(Compared, MetricUnit)> {
    lacks(fields, "query", cx);
    let (query, metric) = threshold::named(fields, "query", referred, cx)?;
    threshold::check_arm(&fields.get("query")?.place, metric, cx);
    let is_ranks = fields
        .choice("test", &[("means", false), ("ranks", true)], cx)
        .unwrap_or(false);
    let effect = optional_part(fields, "effect", cx)?;
    let test = match (is_ranks, effect) {
        (true, effect) => CourseTest::Ranks {
            effect: effect.unwrap_or(0.65).clamp(0.5, 1.0),
        },
        (false, None) => CourseTest::Means,
        (false, Some(_)) => {
            cx.report(
                Diagnostic::new(
                    Code::COMPARISON,
                    fields.key_place("effect"),
                    "`effect` belongs to `test: ranks`",
                )
                .hint("use `margin` and `floor` with means"),
            );
            CourseTest::Means
        }
    };
    let step = fields
        .get("step")
        .map_or(Some(Duration::from_secs(60)), |node| value::positive_duration(node, cx))?;
    let looks = fields.integer("looks", 1, 100, cx).unwrap_or(6);
    let of = Compared::Course {
        query,
        test,
        step,
        looks: u32::try_from(looks).unwrap_or(u32::MAX),
    };
    Some((of, metric.metric.unit.clone()))
}

fn lacks(fields: &Fields<'_>, key: &'static str, cx: &mut Context<'_>) {
    if fields.get(key).is_none() && !fields.has_unknown_keys() {
        let message = format!("this `compare` gate lacks the key `{key}`");
        let hint = COMPARE.key(key).map(|key| key.summary).unwrap_or_default();
        cx.report(Diagnostic::new(Code::MISSING_KEY, fields.place().clone(), message).hint(hint));
    }
}
