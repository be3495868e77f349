//! The numbers of a reading, a row each: whose they are, over which window, how many samples stand behind them, and the query as it was sent.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meridian_engine::run::reading::{Answer, Burn, Counts, Course, KindCounts, Sample};
use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::{Compared, Gate, GateKind, Metric, MetricUnit};
use serde::Serialize;

use crate::report::reading::number;

/// One number, or the course of one.
pub struct Value {
    pub arm: &'static str,
    /// Which of the arm's numbers: `requests`, `at most 250ms`; none where it has one.
    pub of: Option<String>,
    pub unit: MetricUnit,
    pub window: Option<Duration>,
    /// None: the source answered, with no data. Of a course it is the newest.
    pub value: Option<f64>,
    pub samples: Option<f64>,
    /// The instant of the data itself.
    pub at: Option<Timestamp>,
    pub course: Option<Span>,
    pub query: String,
}

impl Value {
    /// Whether both are numbers of one arm and one window.
    pub fn is_beside(&self, other: &Value) -> bool {
        (self.arm, self.window, self.at) == (other.arm, other.window, other.at)
            && self.course.is_none()
            && other.course.is_none()
    }
}

/// What a course went through.
pub struct Span {
    pub points: usize,
    pub step: Duration,
    pub first: f64,
    pub least: f64,
    pub most: f64,
}

/// All numbers of an answer.
pub fn of(answer: &Answer, gate: &Gate, metrics: &BTreeMap<String, Metric>) -> Vec<Value> {
    let metric = |name: &str| metrics.get(name);
    match answer {
        Answer::Metric { candidate, baseline } => {
            let metric = gate.kind.metrics().first().and_then(|name| metric(name));
            let unit = metric.map_or(MetricUnit::Count, |metric| metric.unit.clone());
            let window = metric.map(|metric| metric.window);
            arms(candidate, baseline.as_ref())
                .map(|(arm, sample)| sampled(arm, None, unit.clone(), window, sample))
                .collect()
        }
        Answer::Counts {
            candidate,
            baseline,
            kinds,
        } => {
            let parts = parts(&gate.kind);
            if kinds.is_empty() {
                return arms(candidate, baseline.as_ref())
                    .flat_map(|(arm, counts)| counted(arm, &parts, counts))
                    .collect();
            }
            kinds.iter().flat_map(|kind| of_kind(kind, &parts)).collect()
        }
        Answer::Course {
            candidate,
            baseline,
            restarts,
        } => {
            let unit = gate.kind.metrics().first().and_then(|name| metric(name));
            let unit = unit.map_or(MetricUnit::Count, |metric| metric.unit.clone());
            let courses = arms(candidate, baseline.as_ref()).map(|(arm, course)| went(arm, None, unit.clone(), course));
            let restarts = restarts.iter();
            let restarts =
                restarts.map(|course| went("candidate", Some("restarts".to_owned()), MetricUnit::Count, course));
            courses.chain(restarts).collect()
        }
        Answer::Budget { reserve, burn } => {
            let reserve = reserve
                .iter()
                .flat_map(|counts| counted("service", &["bad".to_owned()], counts));
            reserve.chain(burn.iter().flat_map(burnt)).collect()
        }
        Answer::Analysis(analysis) => vec![Value {
            arm: "candidate",
            of: Some("points of 100".to_owned()),
            unit: MetricUnit::Count,
            window: Some(Duration::between(analysis.from, analysis.to)),
            value: analysis.score,
            samples: Some(analysis.points as f64),
            at: Some(analysis.to),
            course: None,
            query: analysis.query.clone(),
        }],
        Answer::Health { .. } | Answer::Completed { .. } | Answer::Check { .. } | Answer::Error { .. } => Vec::new(),
    }
}

fn arms<'a, T>(candidate: &'a T, baseline: Option<&'a T>) -> impl Iterator<Item = (&'static str, &'a T)> {
    std::iter::once(("candidate", candidate)).chain(baseline.map(|baseline| ("baseline", baseline)))
}

/// What the parts of a gate's counts are.
fn parts(kind: &GateKind) -> Vec<String> {
    match kind {
        GateKind::Compare(gate) => match &gate.of {
            Compared::Buckets { boundaries, .. } => boundaries
                .iter()
                .map(|boundary| format!("at most {}", number(*boundary, &MetricUnit::Seconds)))
                .collect(),
            Compared::Counts { .. } | Compared::Course { .. } => vec!["bad".to_owned()],
        },
        _ => vec!["bad".to_owned()],
    }
}

/// The counts of one kind of request, called by its name.
fn of_kind(kind: &KindCounts, parts: &[String]) -> Vec<Value> {
    let named = |value: Value| Value {
        of: value.of.map(|of| format!("{}: {of}", kind.name)),
        ..value
    };
    arms(&kind.candidate, kind.baseline.as_ref())
        .flat_map(|(arm, counts)| counted(arm, parts, counts))
        .map(named)
        .collect()
}

fn burnt(burn: &Burn) -> Vec<Value> {
    let bad = ["bad".to_owned()];
    let own = [&burn.long, &burn.short]
        .into_iter()
        .flat_map(|counts| counted("candidate", &bad, counts));
    let others = burn
        .baseline
        .iter()
        .flat_map(|counts| counted("baseline", &bad, counts));
    own.chain(others).collect()
}

fn counted(arm: &'static str, parts: &[String], counts: &Counts) -> Vec<Value> {
    let row = |of: String, sample: &Sample| sampled(arm, Some(of), MetricUnit::Count, Some(counts.window), sample);
    let named = counts.parts.iter().enumerate().map(|(index, sample)| {
        let name = parts.get(index).cloned();
        row(name.unwrap_or_else(|| format!("part {}", index + 1)), sample)
    });
    std::iter::once(row("requests".to_owned(), &counts.total))
        .chain(named)
        .collect()
}

fn sampled(
    arm: &'static str,
    of: Option<String>,
    unit: MetricUnit,
    window: Option<Duration>,
    sample: &Sample,
) -> Value {
    Value {
        arm,
        of,
        unit,
        window,
        value: sample.value,
        samples: sample.samples,
        at: sample.at,
        course: None,
        query: sample.query.clone(),
    }
}

fn went(arm: &'static str, of: Option<String>, unit: MetricUnit, course: &Course) -> Value {
    let values = course.points.iter().map(|point| point.1);
    let newest = course.points.last();
    Value {
        arm,
        of,
        unit,
        window: course
            .points
            .first()
            .zip(newest)
            .map(|(first, last)| Duration::between(first.0, last.0)),
        value: newest.map(|point| point.1),
        samples: None,
        at: newest.map(|point| point.0),
        course: course.points.first().map(|first| Span {
            points: course.points.len(),
            step: course.step,
            first: first.1,
            least: values.clone().fold(f64::INFINITY, f64::min),
            most: values.fold(f64::NEG_INFINITY, f64::max),
        }),
        query: course.query.clone(),
    }
}

/// A number for scripts. What JSON has no number for is text, as in the journal.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Text(String),
}

impl From<f64> for Number {
    fn from(value: f64) -> Number {
        if value.is_finite() {
            Number::Finite(value)
        } else {
            Number::Text(value.to_string())
        }
    }
}

/// One row for scripts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Json {
    arm: &'static str,
    of: Option<String>,
    unit: MetricUnit,
    window: Option<Duration>,
    value: Option<Number>,
    samples: Option<Number>,
    at: Option<Timestamp>,
    course: Option<SpanJson>,
    query: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SpanJson {
    points: usize,
    step: Duration,
    first: Number,
    least: Number,
    most: Number,
}

impl From<Value> for Json {
    fn from(value: Value) -> Json {
        Json {
            arm: value.arm,
            of: value.of,
            unit: value.unit,
            window: value.window,
            value: value.value.map(Number::from),
            samples: value.samples.map(Number::from),
            at: value.at,
            course: value.course.map(|span| SpanJson {
                points: span.points,
                step: span.step,
                first: span.first.into(),
                least: span.least.into(),
                most: span.most.into(),
            }),
            query: value.query,
        }
    }
}
