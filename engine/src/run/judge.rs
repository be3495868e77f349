//! From evidence to a judgement: the only place that can say that a gate passes.
//!
//! A pass needs non-empty evidence newer than the last change of share; everything that is unknown follows the gate's policy.

mod budget;
mod compared;
mod completed;
mod counts;
mod course;
mod harm;
mod kayenta;
mod metric;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
mod trend;

use std::collections::BTreeMap;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::expression::{Scope, Unit};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{Gate, GateKind, Metric, MetricUnit, Policy};

pub use self::budget::ALARMS;
use super::reading::{Answer, Reading, Sample};
use super::verdict::{Judgement, Level};

/// What a reading is judged against.
#[derive(Clone, Debug)]
pub struct Circumstances<'a> {
    pub gate: &'a Gate,
    /// The metric that the gate's `query` names; none for other kinds.
    pub metric: Option<&'a Metric>,
    /// When the share last changed: older evidence does not count.
    pub since: Timestamp,
    pub now: Timestamp,
    /// The baseline's last sample while both versions served; used, and named so, where no concurrent one was read.
    pub frozen: Option<&'a Sample>,
    /// The metrics of the plan: a gate may read several.
    pub metrics: &'a BTreeMap<String, Metric>,
    /// The candidate's share of live traffic; none where no region is judged.
    pub share: Option<Share>,
    /// When the candidate first served traffic in the region.
    pub exposed: Timestamp,
    /// How long the node bakes: what is planned to be seen.
    pub bake: Duration,
    /// How many `compare` gates without a chance of their own share the stage's chance of a false alarm.
    pub family: usize,
}

impl<'a> Circumstances<'a> {
    /// Those of a gate that stands alone: nothing frozen, no share, all of the past counts.
    pub fn alone(gate: &'a Gate, metrics: &'a BTreeMap<String, Metric>, now: Timestamp) -> Circumstances<'a> {
        Circumstances {
            gate,
            metric: gate.kind.metrics().first().and_then(|name| metrics.get(*name)),
            since: Timestamp::MIN,
            now,
            frozen: None,
            metrics,
            share: None,
            exposed: Timestamp::MIN,
            bake: Duration::ZERO,
            family: 1,
        }
    }
}

/// Judges one reading.
pub fn judge(reading: &Reading, of: &Circumstances<'_>) -> Judgement {
    found(reading, of).while_pending(of.gate.on_pending)
}

fn found(reading: &Reading, of: &Circumstances<'_>) -> Judgement {
    match (&reading.answer, &of.gate.kind) {
        (Answer::Error { why }, _) => Judgement::unknown(Level::Error, of.gate.on_error, why.clone()),
        (Answer::Check { passed: false, detail }, _) => Judgement::fail(failing(of.gate.on_fail), detail.clone()),
        (Answer::Check { passed: true, detail }, GateKind::Http(_) | GateKind::Command(_)) => {
            if reading.at < of.since {
                Judgement::pending(format!("{detail}, before the share changed"))
            } else {
                Judgement::pass(detail.clone())
            }
        }
        (Answer::Metric { candidate, baseline }, GateKind::Metric(gate)) => match of.metric {
            Some(metric) => metric::judged(gate, metric, reading.at, candidate, baseline.as_ref(), of),
            None => not_in_the_plan(&gate.query, of),
        },
        (
            Answer::Counts {
                candidate,
                baseline,
                kinds,
            },
            GateKind::Compare(gate),
        ) => {
            let read = counts::Read {
                candidate,
                baseline: baseline.as_ref(),
                kinds,
            };
            counts::judged(gate, &read, of)
        }
        (
            Answer::Course {
                candidate, baseline, ..
            },
            GateKind::Compare(gate),
        ) => course::judged(gate, candidate, baseline.as_ref(), of),
        (
            Answer::Course {
                candidate,
                baseline,
                restarts,
            },
            GateKind::Trend(gate),
        ) => trend::judged(gate, candidate, baseline.as_ref(), restarts.as_ref(), of),
        (Answer::Analysis(analysis), GateKind::Kayenta(gate)) => kayenta::judged(gate, analysis, of),
        (Answer::Health { is_settled, diagnosis }, GateKind::Health) => health(*is_settled, diagnosis.as_deref(), of),
        (Answer::Completed { newest }, GateKind::Completed(gate)) => completed::judged(gate, newest.as_ref(), of),
        (Answer::Budget { reserve, burn }, GateKind::Budget(gate)) => budget::judged(gate, reserve.as_ref(), burn, of),
        (
            Answer::Check { .. }
            | Answer::Metric { .. }
            | Answer::Counts { .. }
            | Answer::Course { .. }
            | Answer::Analysis(_)
            | Answer::Health { .. }
            | Answer::Completed { .. }
            | Answer::Budget { .. },
            kind,
        ) => Judgement::unknown(
            Level::Error,
            of.gate.on_error,
            format!("the answer does not fit a gate of kind `{}`", kind.name()),
        ),
    }
}

/// A failure never advances, whatever the file says.
fn failing(policy: Policy) -> Policy {
    policy.max(Policy::Hold)
}

/// A platform is healthy where it has nothing left to do and complains of nothing; while it is at work there is nothing to say.
fn health(is_settled: bool, diagnosis: Option<&str>, of: &Circumstances<'_>) -> Judgement {
    match diagnosis {
        Some(diagnosis) => Judgement::fail(failing(of.gate.on_fail), diagnosis.to_owned()),
        None if is_settled => Judgement::pass("the platform reports nothing wrong".to_owned()),
        None => Judgement::pending("the platform is still at work".to_owned()),
    }
}

/// A metric that the gate names and the plan does not have.
fn not_in_the_plan(name: &str, of: &Circumstances<'_>) -> Judgement {
    let because = format!("the metric `{name}` is not in the plan");
    Judgement::unknown(Level::Error, of.gate.on_error, because)
}

/// What is not known follows the gate's policy for it; right after a change of share telemetry has to catch up first, for as long as `grace`.
fn unknown(level: Level, because: String, grace: Duration, of: &Circumstances<'_>) -> Judgement {
    let lived = Duration::between(of.since, of.now);
    let grace = grace.max(of.gate.every.saturating_mul(2));
    match level {
        Level::NoData | Level::Inconclusive if lived < grace => {
            Judgement::pending(format!("{because}; {lived} at this share"))
        }
        Level::NoData => Judgement::unknown(level, of.gate.on_no_data, because),
        Level::Inconclusive => Judgement::unknown(level, failing(of.gate.on_inconclusive), because),
        Level::Pass | Level::Pending | Level::Error | Level::Fail => {
            Judgement::unknown(Level::Error, of.gate.on_error, because)
        }
    }
}

/// A source's step where nothing tells it: Prometheus' customary slowest scrape. Data older than two steps is stale.
const STEP_ASSUMED: Duration = Duration::from_secs(60);

/// What thresholds may name: both arms in the metric's unit, and the number of samples.
pub fn scope(unit: &MetricUnit) -> Scope {
    let unit = match unit {
        MetricUnit::Ratio => Unit::Ratio,
        MetricUnit::Percent => Unit::Percent,
        MetricUnit::Seconds => Unit::Seconds,
        MetricUnit::Bytes => Unit::Bytes,
        MetricUnit::Count => Unit::Count,
        MetricUnit::PerSecond => Unit::PerSecond,
        MetricUnit::Custom(name) => Unit::custom(name.as_str()),
    };
    Scope::new()
        .with("candidate", unit.clone())
        .with("baseline", unit)
        .with("samples", Unit::Count)
}

/// A number with its unit, for people.
pub fn shown(value: f64, unit: &MetricUnit) -> String {
    let rounded = |value: f64| {
        let digits = if value == 0.0 {
            0
        } else {
            (2 - value.abs().log10().floor() as i32).clamp(0, 6) as usize
        };
        let text = format!("{value:.digits$}");
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        }
    };
    match unit {
        MetricUnit::Ratio => format!("{} %", rounded(value * 100.0)),
        MetricUnit::Percent => format!("{} %", rounded(value)),
        MetricUnit::Seconds if value.abs() < 1.0 => format!("{} ms", rounded(value * 1_000.0)),
        MetricUnit::Seconds => format!("{} s", rounded(value)),
        MetricUnit::Bytes => {
            let (scaled, unit) = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
                .into_iter()
                .find(|(size, _)| value.abs() >= *size as f64)
                .map_or((value, "B"), |(size, unit)| (value / size as f64, unit));
            format!("{} {unit}", rounded(scaled))
        }
        MetricUnit::Count => rounded(value),
        MetricUnit::PerSecond => format!("{}/s", rounded(value)),
        MetricUnit::Custom(name) => format!("{} {name}", rounded(value)),
    }
}
