//! Readings of a simulated world: healthy values that a gate lets pass, and values that breach it.

use jiff::Timestamp;
use meridian_workflows::plan::{GateId, Plan};
use meridian_workflows::workflow::{Gate, GateKind, Metric, MetricUnit, Policy};

use super::curve::Arm;
use super::scene::Scene;
use crate::run::effect::{Arms, Place};
use crate::run::judge::{Circumstances, judge};
use crate::run::reading::{Answer, Reading, Sample};
use crate::run::verdict::{Judgement, Level};

/// A pair of numbers for a metric gate: candidate and baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Values {
    pub candidate: f64,
    pub baseline: f64,
}

/// Numbers to try where the usual one of the unit does not pass.
const SCALE: [f64; 12] = [0.0, 1e-4, 1e-3, 0.01, 0.1, 0.5, 1.0, 10.0, 100.0, 1e3, 1e6, 1e10];

/// How much worse than healthy a breach is: the mildest that fails is taken.
const WORSE: [f64; 16] = [
    1.2, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 30.0, 100.0, 1e3, 1e5, 0.8, 0.5, 0.2, 0.0, -1.0,
];

/// What a healthy service usually shows, in the metric's unit.
pub(super) fn usual(unit: &MetricUnit) -> f64 {
    match unit {
        MetricUnit::Ratio => 0.001,
        MetricUnit::Percent => 0.1,
        MetricUnit::Seconds => 0.18,
        MetricUnit::Bytes => 350.0 * 1024.0 * 1024.0,
        MetricUnit::Count => 5.0,
        MetricUnit::PerSecond => 100.0,
        MetricUnit::Custom(_) => 1.0,
    }
}

/// Values with which the gate passes; none: its thresholds let nothing pass that was tried.
pub fn healthy(plan: &Plan, gate: GateId) -> Option<Values> {
    let usual = usual(&metric(plan, plan.gate(gate).1)?.unit);
    let values = std::iter::once(usual).chain(SCALE);
    let pairs = values.map(|value| Values {
        candidate: value,
        baseline: value,
    });
    find(plan, gate, pairs, |judgement| judgement.is_pass())
}

/// Values with which the gate fails as badly as it can, no worse than that takes.
pub fn breaching(plan: &Plan, gate: GateId) -> Option<Values> {
    let baseline = healthy(plan, gate).map_or(1.0, |values| values.baseline);
    let pairs = || {
        let worse = WORSE.into_iter().map(move |factor| baseline * factor);
        worse.chain(SCALE).map(move |candidate| Values { candidate, baseline })
    };
    let fails_with = |policy| {
        find(plan, gate, pairs(), move |judgement| {
            judgement.level() == Level::Fail && judgement.policy() == Some(policy)
        })
    };
    fails_with(Policy::Rollback)
        .or_else(|| fails_with(Policy::Ask))
        .or_else(|| fails_with(Policy::Hold))
}

fn find(
    plan: &Plan,
    gate: GateId,
    mut pairs: impl Iterator<Item = Values>,
    fits: impl Fn(&Judgement) -> bool,
) -> Option<Values> {
    let (_, definition) = plan.gate(gate);
    metric(plan, definition)?;
    let now = Timestamp::UNIX_EPOCH;
    pairs.find(|values| {
        let reading = Reading {
            at: now,
            answer: answer(definition, *values, now),
        };
        let of = Circumstances::alone(definition, &plan.workflow().metrics, now);
        fits(&judge(&reading, &of))
    })
}

fn metric<'a>(plan: &'a Plan, gate: &Gate) -> Option<&'a Metric> {
    match &gate.kind {
        GateKind::Metric(metric) => plan.workflow().metrics.get(&metric.query),
        _ => None,
    }
}

/// More samples than the gate needs.
fn samples_enough(gate: &Gate) -> f64 {
    let samples = match &gate.kind {
        GateKind::Metric(metric) => metric.min_samples.unwrap_or(0).saturating_mul(2).max(1_000),
        _ => 1_000,
    };
    samples as f64
}

/// The answer that a source would give.
pub fn answer(gate: &Gate, values: Values, now: Timestamp) -> Answer {
    let samples = samples_enough(gate);
    let sample = |value: f64| Sample {
        value: Some(value),
        samples: Some(samples),
        at: Some(now),
        query: "simulated".to_owned(),
    };
    Answer::Metric {
        candidate: sample(values.candidate),
        baseline: Some(sample(values.baseline)),
    }
}

/// The answer that a source of a scripted world would give; none where the script says nothing about the metric there.
///
/// An arm that is not said is healthy, or breaches as `otherwise` does. The baseline is answered only where it is asked for.
pub fn scripted(
    scene: &Scene<'_>,
    gate: &Gate,
    metric: &str,
    otherwise: Option<Values>,
    place: Place,
    arms: &Arms,
    now: Timestamp,
) -> Option<Answer> {
    let said = |arm| scene.value(metric, arms.region, arm, now);
    let (candidate, baseline, samples) = (said(Arm::Candidate), said(Arm::Baseline), said(Arm::Samples));
    if candidate.is_none() && baseline.is_none() && samples.is_none() {
        return None;
    }
    let samples = samples.unwrap_or_else(|| Some(samples_enough(gate)));
    let sample = |value: Option<f64>| Sample {
        value,
        samples,
        at: Some(now),
        query: "scripted".to_owned(),
    };
    let candidate = candidate.unwrap_or_else(|| otherwise.map(|values| values.candidate));
    let baseline = baseline.unwrap_or_else(|| otherwise.map(|values| values.baseline));
    Some(match place {
        // There the one that serves is asked about, and it is the baseline.
        Place::Baseline | Place::Epilogue => Answer::Metric {
            candidate: sample(baseline),
            baseline: None,
        },
        Place::Before | Place::Watch | Place::After => Answer::Metric {
            candidate: sample(candidate),
            baseline: arms.baseline.is_some().then(|| sample(baseline)),
        },
    })
}
