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
        optional(
            "kinds",
            Form::List(&Form::Text),
            "kinds of request that are counted apart, `${{ kind }}` in the queries, as in `[checkout, search]`",
        ),
        optional("query", Form::Name, "a metric whose course over time is compared"),
        optional(
            "test",
            Form::Choice(&["means", "ranks", "kayenta"]),
            "how courses are compared: means of blocks (default), Mann and Whitney's ranks, or Kayenta's judge with its labels",
        ),
        optional(
            "harm",
            Form::Choice(&["more", "less", "either"]),
            "which way is worse (default more)",
        ),
        optional(
            "failsBeyond",
            Form::Text,
            "harm that fails once it is proven, as a part of the baseline (default 25% for counts, 100% for buckets, the margin for a query)",
        ),
        optional(
            "margin",
            Form::Text,
            "harm that a pass need not rule out, as a part of the baseline (default 100% for counts, 150% for buckets, 10% for a query)",
        ),
        optional(
            "floor",
            Form::Text,
            "the same whatever the baseline is: a part of the candidate's requests (default 0.25% for counts, 1% for buckets), or in the metric's unit; the largest counts",
        ),
        optional(
            "impact",
            Form::Text,
            "the same as a part of all requests of the region, which allows more while the share is small (default 0.05% for counts, 0.2% for buckets)",
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

const OF_COUNTS: &[&str] = &["bad", "total"];
const OF_BUCKETS: &[&str] = &["buckets", "boundaries"];
const OF_COURSE: &[&str] = &["query", "test", "step", "looks", "effect"];
/// What only requests have: a course cannot be split into kinds or held against the share.
const OF_REQUESTS: &[&str] = &["kinds", "impact", "trafficCheck"];
const BOUNDARIES_MAX: usize = 24;
const KINDS_MAX: usize = 16;
/// Every part of every kind costs a query an arm at every reading, and stands in the journal.
const PARTS_MAX: usize = 48;

/// What is allowed where the file says nothing.
struct Usual {
    fails_beyond: Option<f64>,
    margin: f64,
    floor: f64,
    impact: f64,
    samples: u64,
}

const OF_BAD: Usual = Usual {
    fails_beyond: Some(0.25),
    margin: 1.0,
    floor: 0.002_5,
    impact: 0.000_5,
    samples: 100,
};
const OF_SLOW: Usual = Usual {
    fails_beyond: Some(1.0),
    margin: 1.5,
    floor: 0.01,
    impact: 0.002,
    samples: 100,
};
const OF_GAUGES: Usual = Usual {
    fails_beyond: None,
    margin: 0.1,
    floor: 0.0,
    impact: 0.0,
    samples: 12,
};

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
    let (of, unit, usual) = match way.first() {
        Some(&"bad") => (counts(&fields, referred, cx)?, MetricUnit::Ratio, OF_BAD),
        Some(&"buckets") => (buckets(&fields, referred, cx)?, MetricUnit::Ratio, OF_SLOW),
        _ => {
            only_for_requests(&fields, cx);
            let (of, unit) = course(&fields, referred, cx)?;
            (of, unit, OF_GAUGES)
        }
    };
    let kinds = kinds(&fields, &of, referred, cx)?;
    let in_unit = |node: &Node, cx: &mut Context<'_>| match unit {
        MetricUnit::Ratio => value::part(node, cx),
        _ => quantity::read(node, Some(&unit), cx),
    };
    // Kayenta counts every difference unless it is told otherwise.
    let margin = match &of {
        Compared::Course { test, .. } if *test == CourseTest::Kayenta => 0.0,
        Compared::Counts { .. } | Compared::Buckets { .. } | Compared::Course { .. } => usual.margin,
    };
    let gate = CompareGate {
        of,
        kinds,
        harm: fields
            .choice(
                "harm",
                &[("more", Harm::More), ("less", Harm::Less), ("either", Harm::Either)],
                cx,
            )
            .unwrap_or(Harm::More),
        fails_beyond: optional_part(&fields, "failsBeyond", cx)?,
        margin: optional_part(&fields, "margin", cx)?.unwrap_or(margin),
        floor: match fields.get("floor") {
            Some(node) => in_unit(node, cx)?.abs(),
            None => usual.floor,
        },
        impact: optional_part(&fields, "impact", cx)?.unwrap_or(usual.impact),
        alpha: alpha(&fields, cx)?,
        min_samples: fields.integer("minSamples", 1, u64::MAX, cx).unwrap_or(usual.samples),
        traffic_check: fields.boolean("trafficCheck", cx).unwrap_or(true),
    };
    Some(CompareGate {
        // What a pass need not rule out must not be less than what fails: a margin that is written alone is both.
        fails_beyond: gate
            .fails_beyond
            .or(usual.fails_beyond.map(|usual| usual.min(gate.margin))),
        ..gate
    })
}

fn only_for_requests(fields: &Fields<'_>, cx: &mut Context<'_>) {
    for key in OF_REQUESTS.iter().filter(|key| fields.get(key).is_some()) {
        let message = format!("`{key}` is about requests, and a query is compared as a course");
        cx.report(
            Diagnostic::new(Code::COMPARISON, fields.key_place(key), message)
                .hint("use it with `bad` and `total`, or with `buckets`"),
        );
    }
}

/// The kinds of request, each a name that stands in the queries.
fn kinds(fields: &Fields<'_>, of: &Compared, referred: &Referred<'_>, cx: &mut Context<'_>) -> Option<Vec<String>> {
    let (key, metrics): (&'static str, Vec<&String>) = match of {
        Compared::Counts { bad, total } => ("bad", vec![bad, total]),
        Compared::Buckets { buckets, .. } => ("buckets", vec![buckets]),
        Compared::Course { .. } => return Some(Vec::new()),
    };
    let mentions = |name: &String| {
        let metric = referred.metrics.get(name);
        metric.is_some_and(|placed| Template::parse(&placed.metric.query).0.mentions("kind"))
    };
    let Some(node) = fields.get("kinds") else {
        if let Some(name) = metrics.into_iter().find(|name| mentions(name)) {
            let message = format!("the metric `{name}` asks for one kind of request, and this gate names none");
            cx.report(
                Diagnostic::new(Code::COMPARISON, fields.key_place(key), message)
                    .hint("add `kinds`, as in `kinds: [checkout, search]`"),
            );
        }
        return Some(Vec::new());
    };
    for name in metrics.into_iter().filter(|name| !mentions(name)) {
        let message =
            format!("the metric `{name}` reads the same for every kind: its query does not mention `${{{{ kind }}}}`");
        cx.report(
            Diagnostic::new(Code::COMPARISON, node.place.first_line(), message)
                .hint("as in `…{route=\"${{ kind }}\", version=\"${{ arm.version }}\"}`"),
        );
    }
    let mut kinds: Vec<String> = Vec::new();
    for item in value::list(node, cx)? {
        let kind = value::text(item, cx)?;
        if kind.is_empty() || kinds.contains(&kind) {
            cx.error(Code::COMPARISON, &item.place, "every kind has a name of its own");
            return None;
        }
        kinds.push(kind);
    }
    if kinds.len() > KINDS_MAX || kinds.is_empty() {
        let message = format!("one to {KINDS_MAX} kinds can be told apart");
        cx.error(Code::COMPARISON, &node.place.first_line(), message);
        return None;
    }
    if let Compared::Buckets { boundaries, .. } = of
        && boundaries.len() * kinds.len() > PARTS_MAX
    {
        let message = format!(
            "{} kinds and {} boundaries are {} comparisons, {PARTS_MAX} are possible",
            kinds.len(),
            boundaries.len(),
            kinds.len() * boundaries.len()
        );
        cx.report(
            Diagnostic::new(Code::COMPARISON, node.place.first_line(), message)
                .hint("two boundaries that few requests exceed find a slow tail as well as twenty"),
        );
    }
    Some(kinds)
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
    let ranks = CourseTest::Ranks { effect: 0.65 };
    let tests = [
        ("means", CourseTest::Means),
        ("ranks", ranks),
        ("kayenta", CourseTest::Kayenta),
    ];
    let test = fields.choice("test", &tests, cx).unwrap_or(CourseTest::Means);
    let effect = optional_part(fields, "effect", cx)?;
    let test = match (test, effect) {
        (CourseTest::Ranks { .. }, Some(effect)) => CourseTest::Ranks {
            effect: effect.clamp(0.5, 1.0),
        },
        (test, None) => test,
        (test @ (CourseTest::Means | CourseTest::Kayenta), Some(_)) => {
            cx.report(
                Diagnostic::new(
                    Code::COMPARISON,
                    fields.key_place("effect"),
                    "`effect` belongs to `test: ranks`",
                )
                .hint("use `margin` and `floor` with means, and `margin` with Kayenta's judge"),
            );
            test
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
