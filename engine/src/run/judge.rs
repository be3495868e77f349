//! From evidence to a judgement: the only place that can say that a gate passes.
//!
//! A pass needs non-empty evidence newer than the last change of share; everything that is unknown follows the gate's policy.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::expression::{Expression, Problem, Scope, Unit, Values};
use meridian_workflows::workflow::{Gate, GateKind, Metric, MetricGate, MetricUnit, Policy};

use super::mutant::{Mutant, is_on};
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
}

/// Judges one reading.
pub fn judge(reading: &Reading, of: &Circumstances<'_>) -> Judgement {
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
            Some(metric) => metric_judgement(gate, metric, reading.at, candidate, baseline.as_ref(), of),
            None => Judgement::unknown(
                Level::Error,
                of.gate.on_error,
                format!("the metric `{}` is not in the plan", gate.query),
            ),
        },
        (Answer::Check { .. } | Answer::Metric { .. }, kind) => Judgement::unknown(
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

fn metric_judgement(
    gate: &MetricGate,
    metric: &Metric,
    at: Timestamp,
    candidate: &Sample,
    baseline: Option<&Sample>,
    of: &Circumstances<'_>,
) -> Judgement {
    let lived = Duration::between(of.since, at);
    let unknown = |level: Level, because: String| {
        // Right after a change of share telemetry has to catch up first.
        let grace = metric.window.max(of.gate.every.saturating_mul(2));
        if level == Level::NoData && lived < grace {
            return Judgement::pending(format!("{because}; {lived} at this share"));
        }
        let policy = if level == Level::NoData {
            of.gate.on_no_data
        } else {
            of.gate.on_error
        };
        Judgement::unknown(level, policy, because)
    };
    let candidate_value = match usable(candidate, "candidate", of) {
        Ok(value) => value,
        Err((level, because)) => return unknown(level, because),
    };
    if let Some(samples_min) = gate.min_samples {
        match candidate.samples {
            None => return unknown(Level::NoData, "the number of samples is not known".to_owned()),
            Some(samples) if samples.is_nan() => {
                return unknown(Level::NoData, "the number of samples is not a number".to_owned());
            }
            Some(samples) if samples < samples_min as f64 && !is_on(Mutant::IgnoresMinSamples) => {
                return Judgement::pending(format!("{} of {samples_min} samples", samples.max(0.0).floor()));
            }
            Some(_) => {}
        }
    }
    let mut values = Values::new()
        .with("candidate", candidate_value)
        .with("samples", candidate.samples.unwrap_or(f64::NAN));
    let mut compared = String::new();
    if gate.needs_baseline {
        let (sample, label) = match (baseline, of.frozen) {
            (Some(sample), _) => (sample, "baseline"),
            (None, Some(sample)) => (sample, "baseline, frozen when it last served"),
            (None, None) => return unknown(Level::NoData, "there is no reading of the baseline".to_owned()),
        };
        // A frozen sample is old by definition; only its number matters.
        let value = match sample.value.filter(|value| value.is_finite()) {
            Some(value) => value,
            None => return unknown(Level::NoData, "the baseline has no data".to_owned()),
        };
        values = values.with("baseline", value);
        compared = format!(", {label} {}", shown(value, &metric.unit));
    }
    let reading = format!("candidate {}{compared}", shown(candidate_value, &metric.unit));
    let scope = scope(&metric.unit);
    for (threshold, policy) in [
        (&gate.rollback_when, Policy::Rollback),
        (&gate.ask_when, Policy::Ask),
        (&gate.hold_when, Policy::Hold),
    ] {
        let Some(source) = threshold else { continue };
        match holds(source, &scope, &values) {
            Ok(true) => return Judgement::fail(policy, format!("{reading}: {source}")),
            Ok(false) => {}
            Err(why) => return unknown(Level::Error, format!("`{source}` cannot be judged: {why}")),
        }
    }
    let evidence_min = metric.window.min(of.gate.every);
    if lived < evidence_min {
        return Judgement::pending(format!("{reading}; {lived} of {evidence_min} at this share"));
    }
    Judgement::pass(reading)
}

/// The number of a sample that can be judged.
fn usable(sample: &Sample, arm: &str, of: &Circumstances<'_>) -> Result<f64, (Level, String)> {
    let value = match sample.value {
        None if is_on(Mutant::PassesNoData) => 0.0,
        None => return Err((Level::NoData, format!("the {arm} has no data"))),
        Some(value) if value.is_nan() && is_on(Mutant::PassesNan) => 0.0,
        Some(value) if value.is_nan() => {
            return Err((
                Level::NoData,
                format!("the {arm}'s value is not a number (no traffic?)"),
            ));
        }
        Some(value) if value.is_infinite() => return Err((Level::Error, format!("the {arm}'s value is infinite"))),
        Some(value) => value,
    };
    let stale_after = of.gate.every.max(STEP_ASSUMED).saturating_mul(2);
    match sample.at {
        Some(at) if Duration::between(at, of.now) > stale_after => Err((
            Level::NoData,
            format!("the {arm}'s newest data is {} old", Duration::between(at, of.now)),
        )),
        Some(_) | None => Ok(value),
    }
}

/// A source's step where nothing tells it: Prometheus' customary slowest scrape. Data older than two steps is stale.
const STEP_ASSUMED: Duration = Duration::from_secs(60);

fn holds(source: &str, scope: &Scope, values: &Values) -> Result<bool, String> {
    let told = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let predicate = Expression::parse(source)
        .and_then(|expression| expression.predicate(scope))
        .map_err(told)?;
    predicate.holds(values).map_err(|error| error.to_string())
}

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
