//! What a run's judgements rest on, gate by gate: the evidence as it was read and what it was held against. `lines.rs` prints it, and
//! this is what scripts get.

pub mod lines;
mod values;

use jiff::Timestamp;
use meridian_engine::run::effect::Place;
use meridian_engine::run::reading::{Answer, Classified};
use meridian_engine::run::state::{GateState, Judged, Life, Run, Standing};
use meridian_engine::run::verdict::{Level, Verdict};
use meridian_workflows::plan::NodeId;
use meridian_workflows::workflow::{Compared, Gate, GateKind, MetricUnit, Policy};
use serde::Serialize;

use self::values::Value;
use super::reading::{self, Limit};

/// One gate in one node, with its newest judgement and the reading behind it.
pub struct Evidence<'a> {
    run: &'a Run,
    node: NodeId,
    slot: &'a GateState,
    judged: &'a Judged,
    /// Why traffic goes back, or went.
    acted: bool,
}

/// The evidence that somebody who looks needs now: of the gates that are read in the nodes under work, and of those that sent traffic back.
pub fn gathered(run: &Run) -> Vec<Evidence<'_>> {
    let is_over = run.is_finished();
    let gates = run.plan().ids().flat_map(|node| {
        let acting = has_sent_back(run, node);
        let slots = run.node(node).gates.iter();
        slots.filter_map(move |slot| {
            let judged = slot.last.as_ref().filter(|judged| judged.reading.is_some())?;
            let acted = acting && run.verdict_of(slot) == Verdict::RollBack;
            let is_read = !is_over && run.places_read(node).contains(&slot.place) && !run.is_left_out(node, slot.gate);
            (acted || is_read).then_some(Evidence {
                run,
                node,
                slot,
                judged,
                acted,
            })
        })
    });
    gates.collect()
}

/// Whether traffic goes back, or went, because of this node.
fn has_sent_back(run: &Run, node: NodeId) -> bool {
    let is_cause = run
        .state()
        .rollback
        .as_ref()
        .is_some_and(|rollback| rollback.node == Some(node));
    let is_back = matches!(
        run.state().standing,
        Standing::RollingBack | Standing::Finished { .. } | Standing::Attention { .. }
    );
    is_cause || (is_back && run.node(node).life == Life::Failed)
}

impl Evidence<'_> {
    fn name(&self) -> &str {
        self.run.plan().gate(self.slot.gate).0
    }

    fn gate(&self) -> &Gate {
        self.run.plan().gate(self.slot.gate).1
    }

    fn node(&self) -> &str {
        &self.run.plan().node(self.node).key
    }

    fn level(&self) -> Level {
        self.judged.judgement.level()
    }

    fn read_at(&self) -> Timestamp {
        self.judged
            .reading
            .as_ref()
            .map_or(self.judged.at, |reading| reading.at)
    }

    fn unit_of(&self, metric: &str) -> MetricUnit {
        let metric = self.run.plan().workflow().metrics.get(metric);
        metric.map_or(MetricUnit::Count, |metric| metric.unit.clone())
    }

    fn values(&self) -> Vec<Value> {
        let Some(reading) = &self.judged.reading else {
            return Vec::new();
        };
        values::of(&reading.answer, self.gate(), &self.run.plan().workflow().metrics)
    }

    /// What the numbers of a gate with thresholds are held against, the worst first.
    fn limits(&self) -> Vec<Held<'_>> {
        let GateKind::Metric(metric) = &self.gate().kind else {
            return Vec::new();
        };
        let Some(reading) = &self.judged.reading else {
            return Vec::new();
        };
        let unit = self.unit_of(&metric.query);
        let conditions = [
            (Policy::Rollback, &metric.rollback_when),
            (Policy::Ask, &metric.ask_when),
            (Policy::Hold, &metric.hold_when),
        ];
        let held = conditions.into_iter().filter_map(|(policy, when)| {
            let when = when.as_deref()?;
            Some(Held {
                policy,
                when,
                limit: reading::limit(when, &unit, reading),
            })
        });
        held.collect()
    }

    /// The unit of an effect, and whether it is a change an hour.
    fn effect_unit(&self) -> Option<(MetricUnit, bool)> {
        match &self.gate().kind {
            GateKind::Compare(gate) => match &gate.of {
                Compared::Counts { .. } | Compared::Buckets { .. } => Some((MetricUnit::Ratio, false)),
                Compared::Course { query, .. } => Some((self.unit_of(query), false)),
            },
            GateKind::Trend(gate) => Some((self.unit_of(&gate.query), true)),
            GateKind::Metric(_)
            | GateKind::Budget(_)
            | GateKind::Kayenta(_)
            | GateKind::Approval(_)
            | GateKind::Window(_)
            | GateKind::Signal(_)
            | GateKind::Lock(_)
            | GateKind::Completed(_)
            | GateKind::Http(_)
            | GateKind::Command(_)
            | GateKind::Health
            | GateKind::NotYet { .. } => None,
        }
    }

    fn json(&self) -> Json {
        let judgement = &self.judged.judgement;
        let grounds = judgement.grounds();
        let region = self.run.plan().node(self.node).region;
        Json {
            node: self.node().to_owned(),
            region: region.map(|region| self.run.plan().region(region).0.to_owned()),
            place: self.slot.place,
            gate: self.name().to_owned(),
            kind: self.gate().kind.name().to_owned(),
            acted: self.acted,
            level: judgement.level(),
            policy: judgement.policy(),
            because: judgement.because().to_owned(),
            read_at: self.read_at(),
            judged_at: self.judged.at,
            test: grounds.map(|grounds| grounds.test.clone()),
            statistic: grounds.map(|grounds| grounds.statistic),
            threshold: grounds.map(|grounds| grounds.threshold),
            alpha: grounds.and_then(|grounds| grounds.alpha),
            effect: grounds.and_then(|grounds| grounds.effect).map(|effect| {
                let unit = self.effect_unit();
                EffectJson {
                    low: effect.low,
                    estimate: effect.estimate,
                    high: effect.high,
                    per_hour: unit.as_ref().is_some_and(|(_, per_hour)| *per_hour),
                    unit: unit.map(|(unit, _)| unit),
                }
            }),
            limits: self.limits().iter().map(LimitJson::from).collect(),
            values: self.values().into_iter().map(values::Json::from).collect(),
            metrics: match self.judged.reading.as_ref().map(|reading| &reading.answer) {
                Some(Answer::Analysis(analysis)) => analysis.metrics.clone(),
                Some(_) | None => Vec::new(),
            },
        }
    }
}

/// A threshold as written, and where it lies for what was read.
struct Held<'a> {
    policy: Policy,
    when: &'a str,
    limit: Option<Limit>,
}

/// One judgement for scripts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Json {
    node: String,
    region: Option<String>,
    place: Place,
    gate: String,
    kind: String,
    acted: bool,
    level: Level,
    policy: Option<Policy>,
    because: String,
    read_at: Timestamp,
    judged_at: Timestamp,
    test: Option<String>,
    statistic: Option<f64>,
    threshold: Option<f64>,
    alpha: Option<f64>,
    effect: Option<EffectJson>,
    limits: Vec<LimitJson>,
    values: Vec<values::Json>,
    /// What a Kayenta server found.
    metrics: Vec<Classified>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EffectJson {
    low: Option<f64>,
    estimate: f64,
    high: Option<f64>,
    unit: Option<MetricUnit>,
    per_hour: bool,
}

#[derive(Debug, Serialize)]
struct LimitJson {
    policy: Policy,
    when: String,
    above: Option<f64>,
    below: Option<f64>,
}

impl From<&Held<'_>> for LimitJson {
    fn from(held: &Held<'_>) -> LimitJson {
        let (above, below) = match held.limit {
            Some(Limit::Above(value)) => (Some(value), None),
            Some(Limit::Below(value)) => (None, Some(value)),
            None => (None, None),
        };
        LimitJson {
            policy: held.policy,
            when: held.when.to_owned(),
            above,
            below,
        }
    }
}

/// All of it for scripts.
pub fn json(run: &Run) -> Vec<Json> {
    gathered(run).iter().map(Evidence::json).collect()
}
