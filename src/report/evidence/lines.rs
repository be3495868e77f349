//! Evidence as people read it: the sentence first, then what was asked, what came back and what it was held against.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use meridian_engine::run::effect::Place;
use meridian_engine::run::reading::{Answer, Classified};
use meridian_engine::run::state::Run;
use meridian_engine::run::verdict::{Grounds, Level};
use meridian_workflows::workflow::{MetricUnit, Policy};
use ratatui::text::Line;

use super::values::Value;
use super::{Evidence, Held, gathered};
use crate::report::clock;
use crate::report::ink::{Tone, cut, ink, line, tame};
use crate::report::reading::number;
use crate::report::waiting;

/// Columns of the labels.
const LABEL: usize = 11;
/// A query in a short answer is cut here; the whole one is one command away.
const SHORT: usize = 110;

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A few lines a gate, for `status`.
    Short,
    /// Everything, queries as they were sent, for `why`.
    Whole,
}

/// The evidence of a run; nothing where no gate has been read in what is under work, and none sent traffic back.
pub fn lines(run: &Run, detail: Detail, now: Timestamp, zone: &TimeZone) -> Vec<Line<'static>> {
    let gathered = gathered(run);
    let page = Page { detail, now, zone };
    gathered.iter().flat_map(|evidence| page.gate(evidence)).collect()
}

struct Page<'a> {
    detail: Detail,
    now: Timestamp,
    zone: &'a TimeZone,
}

impl Page<'_> {
    fn gate(&self, evidence: &Evidence<'_>) -> Vec<Line<'static>> {
        let (tone, sign) = waiting::sign(Some(evidence.level()));
        let judgement = &evidence.judged.judgement;
        let mut lines = vec![Line::from(vec![
            ink(tone, format!("  {sign} ")),
            ink(Tone::Strong, evidence.name().to_owned()),
            ink(Tone::Plain, format!(": {}", tame(judgement.because()))),
        ])];
        lines.push(row("judged", Tone::Dim, &self.standing(evidence)));
        let grounds = judgement.grounds();
        let test = grounds.map(|grounds| tested(evidence, grounds));
        let effect = grounds.and_then(|grounds| effect(evidence, grounds));
        if self.detail == Detail::Short {
            let both: Vec<String> = test
                .into_iter()
                .chain(effect.map(|effect| format!("effect {effect}")))
                .collect();
            lines.extend((!both.is_empty()).then(|| row("test", Tone::Plain, &both.join(" · "))));
        } else {
            lines.extend(test.map(|test| row("test", Tone::Plain, &test)));
            lines.extend(effect.map(|effect| row("effect", Tone::Plain, &effect)));
        }
        let values = evidence.values();
        let unit = values.first().map(|value| &value.unit);
        let limits = evidence.limits();
        lines.extend(
            limits
                .iter()
                .map(|held| row("limit", Tone::Plain, &limited(held, unit))),
        );
        lines.extend(self.values(&values));
        lines.extend(said(evidence));
        lines
    }

    /// Which way the gate went, where it stands, and when it was read.
    fn standing(&self, evidence: &Evidence<'_>) -> String {
        let place = match evidence.slot.place {
            Place::Before => "before",
            Place::Watch => "watching",
            Place::After => "after",
            Place::Baseline => "baseline of",
            Place::Epilogue => "after the rollback of",
        };
        let level = match evidence.level() {
            Level::Pass => "pass",
            Level::Pending => "pending",
            Level::NoData => "no data",
            Level::Inconclusive => "inconclusive",
            Level::Error => "error",
            Level::Fail => "fail",
        };
        let follows = match evidence.judged.judgement.policy() {
            Some(policy) if evidence.acted => format!(" → {} (it acted)", consequence(policy)),
            Some(policy) => format!(" → {}", consequence(policy)),
            None => String::new(),
        };
        let at = clock::instant(evidence.read_at(), self.now, self.zone);
        let kind = evidence.gate().kind.name();
        format!("{level}{follows} · {kind}, {place} {} · read {at}", evidence.node())
    }

    /// Numbers of one arm and one window in a line, and below it the queries that brought them: each once, or the first one cut.
    fn values(&self, values: &[Value]) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        let mut told: Vec<(&str, String)> = Vec::new();
        let mut queries: Vec<String> = Vec::new();
        for group in values.chunk_by(|one, next| one.is_beside(next)) {
            let Some(first) = group.first() else { continue };
            let text = self.group(group, first);
            // Windows that are as long as the candidate has lived come out alike.
            if !told.contains(&(first.arm, text.clone())) {
                lines.push(row(first.arm, Tone::Plain, &text));
                told.push((first.arm, text));
            }
            for query in group.iter().map(|value| one_line(&value.query)) {
                if query.is_empty() || queries.contains(&query) {
                    continue;
                }
                if self.detail == Detail::Whole {
                    lines.push(row("", Tone::Dim, &query));
                }
                queries.push(query);
            }
        }
        if self.detail == Detail::Short {
            lines.extend(queries.first().map(|query| cut(row("query", Tone::Dim, query), SHORT)));
        }
        lines
    }

    fn group(&self, group: &[Value], first: &Value) -> String {
        let numbers: Vec<String> = group.iter().map(counted).collect();
        let mut parts = vec![numbers.join(", ")];
        if let Some(span) = &first.course {
            parts.push(format!(
                "{} points, one every {}, from {} (least {}, most {})",
                span.points,
                clock::length(span.step),
                number(span.first, &first.unit),
                number(span.least, &first.unit),
                number(span.most, &first.unit)
            ));
        }
        if let Some(samples) = first.samples {
            parts.push(format!("{} samples", number(samples, &MetricUnit::Count)));
        }
        if let Some(window) = first.window {
            parts.push(format!("last {}", clock::length(window)));
        }
        if let Some(at) = first.at {
            parts.push(format!("data of {}", clock::instant(at, self.now, self.zone)));
        }
        parts.join(" · ")
    }
}

/// `352 requests`, `1.1 bad`, `96.5Mi`.
fn counted(value: &Value) -> String {
    let shown = value
        .value
        .map_or_else(|| "no data".to_owned(), |shown| number(shown, &value.unit));
    match (&value.of, value.value) {
        (None, _) => shown,
        (Some(of), Some(_)) => format!("{shown} {of}"),
        (Some(of), None) => format!("{of}: {shown}"),
    }
}

/// What the platform says, or Kayenta of every metric, or which run another workflow's newest is, where it was asked.
fn said(evidence: &Evidence<'_>) -> Option<Line<'static>> {
    match &evidence.judged.reading.as_ref()?.answer {
        Answer::Health { is_settled, .. } => {
            let text = if *is_settled { "settled" } else { "still at work" };
            Some(row("platform", Tone::Plain, text))
        }
        Answer::Analysis(analysis) => {
            let found = |metric: &Classified| {
                let critical = if metric.is_critical { ", critical" } else { "" };
                format!("{} ({}{critical})", metric.name, metric.classification)
            };
            let found: Vec<String> = analysis.metrics.iter().map(found).collect();
            (!found.is_empty()).then(|| row("metrics", Tone::Plain, &found.join(", ")))
        }
        Answer::Completed { newest } => {
            let newest = newest.as_ref()?;
            let text = format!("{} · {}", newest.run, newest.outcome);
            Some(row("run", Tone::Plain, &text))
        }
        Answer::Metric { .. }
        | Answer::Counts { .. }
        | Answer::Course { .. }
        | Answer::Budget { .. }
        | Answer::Check { .. }
        | Answer::Error { .. } => None,
    }
}

fn row(label: &str, tone: Tone, text: &str) -> Line<'static> {
    Line::from(vec![
        ink(Tone::Dim, format!("      {label:LABEL$}")),
        ink(tone, tame(text)),
    ])
}

/// A heading, for where other things stand above.
pub fn heading() -> Line<'static> {
    line(Tone::Strong, "Evidence")
}

/// A query is written over several lines, and read in one.
fn one_line(query: &str) -> String {
    query.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn consequence(policy: Policy) -> &'static str {
    match policy {
        Policy::Advance => "goes on",
        Policy::Hold => "holds",
        Policy::Ask => "asks a person",
        Policy::Rollback => "rolls back",
    }
}

/// The statistic beside its threshold. Chances count when they are small, what is left of a budget as well, everything else when it is large.
fn tested(evidence: &Evidence<'_>, grounds: &Grounds) -> String {
    let shown = |value: f64| match evidence.effect_unit() {
        Some((unit, true)) => number(value, &unit),
        Some((_, false)) | None => digits(value),
    };
    let (statistic, threshold) = (shown(grounds.statistic), shown(grounds.threshold));
    let compared = match grounds.test.as_str() {
        "sequential count test" | "Mann and Whitney's ranks" => {
            format!("p {statistic}, harm is proven at {threshold} or less")
        }
        "budget left" | "Kayenta's score" => format!("{statistic}, acts below {threshold}"),
        _ => format!("{statistic}, acts above {threshold}"),
    };
    let test = &grounds.test;
    match grounds.alpha {
        Some(alpha) => format!("{test}: {compared} · alpha spent {}", digits(alpha)),
        None => format!("{test}: {compared}"),
    }
}

fn effect(evidence: &Evidence<'_>, grounds: &Grounds) -> Option<String> {
    let effect = grounds.effect?;
    let (unit, per_hour) = evidence.effect_unit()?;
    // A difference of two percentages is no percentage of anything.
    let is_points = unit == MetricUnit::Ratio;
    let shown = |value: f64| {
        let sign = if value > 0.0 { "+" } else { "" };
        if is_points {
            format!("{sign}{}", digits(value * 100.0))
        } else {
            format!("{sign}{}", number(value, &unit))
        }
    };
    let bounds = match (effect.low, effect.high) {
        (Some(low), Some(high)) => format!(", between {} and {}", shown(low), shown(high)),
        (Some(low), None) => format!(", at least {}", shown(low)),
        (None, Some(high)) => format!(", at most {}", shown(high)),
        (None, None) => String::new(),
    };
    let points = if is_points { " points" } else { "" };
    let hourly = if per_hour { " an hour" } else { "" };
    Some(format!("{}{points}{hourly}{bounds}", shown(effect.estimate)))
}

fn limited(held: &Held<'_>, unit: Option<&MetricUnit>) -> String {
    let what = consequence(held.policy);
    let when = one_line(held.when);
    match held.limit.zip(unit) {
        Some((limit, unit)) => format!("{what} {} ({when})", limit.sentence(unit)),
        None => format!("{what} when {when}"),
    }
}

/// A bare number: three digits, the smallest ones in powers of ten.
fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(0.000_1..1e9).contains(&size) => format!("{value:.1e}"),
        size if size < 1.0 => {
            let places = (2.0 - size.log10().floor()).clamp(0.0, 8.0) as usize;
            let text = format!("{value:.places$}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => number(value, &MetricUnit::Count),
    }
}
