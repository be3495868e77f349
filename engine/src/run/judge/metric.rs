//! Thresholds over one metric: the numbers of both arms, in its unit, against what the author wrote.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::expression::{Expression, Problem, Scope, Values};
use meridian_workflows::workflow::{Metric, MetricGate, Policy};

use super::{Circumstances, STEP_ASSUMED, scope, shown};
use crate::run::mutant::{Mutant, is_on};
use crate::run::reading::Sample;
use crate::run::verdict::{Judgement, Level};

/// Judges the numbers of one reading.
pub(super) fn judged(
    gate: &MetricGate,
    metric: &Metric,
    at: Timestamp,
    candidate: &Sample,
    baseline: Option<&Sample>,
    of: &Circumstances<'_>,
) -> Judgement {
    let lived = Duration::between(of.since, at);
    let unknown = |level: Level, because: String| super::unknown(level, because, metric.window, of);
    let candidate_value = match usable(candidate, "candidate", of) {
        Ok(value) => Some(value),
        // Where the baseline alone is judged (before the shift, say), the candidate's silence says nothing.
        Err(_) if gate.ignores_candidate => None,
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
        .with("candidate", candidate_value.unwrap_or(f64::NAN))
        .with("samples", candidate.samples.unwrap_or(f64::NAN));
    let mut said: Vec<String> = candidate_value
        .map(|value| format!("candidate {}", shown(value, &metric.unit)))
        .into_iter()
        .collect();
    if gate.needs_baseline {
        let (value, label) = match (baseline, of.frozen) {
            (Some(sample), _) => (usable(sample, "baseline", of), "baseline"),
            // A frozen sample is old by definition, only its number matters; and it is no evidence of its own.
            (None, Some(sample)) if candidate_value.is_some() => (
                sample
                    .value
                    .filter(|value| value.is_finite())
                    .ok_or_else(|| (Level::NoData, "the baseline has no data".to_owned())),
                "baseline, frozen when it last served",
            ),
            (None, Some(_) | None) => {
                return unknown(Level::NoData, "there is no reading of the baseline".to_owned());
            }
        };
        let value = match value {
            Ok(value) => value,
            Err((level, because)) => return unknown(level, because),
        };
        values = values.with("baseline", value);
        said.push(format!("{label} {}", shown(value, &metric.unit)));
    }
    let reading = said.join(", ");
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

fn holds(source: &str, scope: &Scope, values: &Values) -> Result<bool, String> {
    let told = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let predicate = Expression::parse(source)
        .and_then(|expression| expression.predicate(scope))
        .map_err(told)?;
    predicate.holds(values).map_err(|error| error.to_string())
}
