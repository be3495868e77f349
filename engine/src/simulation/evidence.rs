//! Readings of gates that judge more than one number: counts, courses and budgets of a world that is plainly healthy, or plainly not.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::Plan;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{BudgetGate, CompareGate, Compared, Gate, GateKind, MetricUnit, TrendGate};

use super::telemetry::usual;
use crate::run::effect::Arms;
use crate::run::judge::ALARMS;
use crate::run::reading::{Answer, Burn, Counts, Course, Point, Sample};

/// Requests a second of a region: enough that a stage's evidence is there with its first readings.
const REQUESTS: f64 = 100_000.0;
/// The part of requests that fails: in health, and in a breach.
const BAD: [f64; 2] = [0.0001, 0.2];

/// What is asked, and of which world.
pub struct Scene<'a> {
    pub plan: &'a Plan,
    pub gate: &'a Gate,
    pub arms: &'a Arms,
    pub share: Share,
    pub breaches: bool,
    pub now: Timestamp,
}

impl Scene<'_> {
    /// The answer that such a world gives; none to gates of other kinds.
    pub fn answer(&self) -> Option<Answer> {
        match &self.gate.kind {
            GateKind::Compare(gate) => Some(self.compared(gate)),
            GateKind::Trend(gate) => Some(self.trend(gate)),
            GateKind::Budget(gate) => Some(self.budget(gate)),
            GateKind::Health => Some(Answer::Health {
                is_settled: true,
                diagnosis: self.breaches.then(|| "simulated: unhealthy".to_owned()),
            }),
            GateKind::Metric(_)
            | GateKind::Approval(_)
            | GateKind::Window(_)
            | GateKind::Http(_)
            | GateKind::Command(_)
            | GateKind::NotYet { .. } => None,
        }
    }

    fn bad(&self) -> f64 {
        BAD[usize::from(self.breaches)]
    }

    fn compared(&self, gate: &CompareGate) -> Answer {
        let share = self.share.fraction();
        match &gate.of {
            Compared::Counts { .. } => Answer::Counts {
                candidate: self.counts(share, &[self.bad()], self.arms.window),
                baseline: self.both(|| self.counts(1.0 - share, &[BAD[0]], self.arms.window)),
            },
            Compared::Buckets { boundaries, .. } => {
                // Nearly everything is below the first boundary, or a fifth of it above all of them.
                let below = |bad: f64| vec![1.0 - bad; boundaries.len()];
                Answer::Counts {
                    candidate: self.counts(share, &below(self.bad()), self.arms.window),
                    baseline: self.both(|| self.counts(1.0 - share, &below(BAD[0]), self.arms.window)),
                }
            }
            Compared::Course { query, step, .. } => {
                let level = usual(&self.unit(query));
                let factor = if self.breaches { 2.0 } else { 1.0 };
                Answer::Course {
                    candidate: self.course(*step, |_| level * factor),
                    baseline: self.both(|| self.course(*step, |_| level)),
                    restarts: None,
                }
            }
        }
    }

    fn trend(&self, gate: &TrendGate) -> Answer {
        let level = (usual(&self.unit(&gate.query))).min(gate.limit / 2.0);
        let slope = if self.breaches {
            gate.limit / 2.0 / gate.within.as_secs_f64() * 4.0
        } else {
            0.0
        };
        Answer::Course {
            candidate: self.course(gate.step, |lived| (level + slope * lived).min(gate.limit * 0.99)),
            baseline: self.both(|| self.course(gate.step, |_| level)),
            restarts: gate.restarts.as_ref().map(|_| self.course(gate.step, |_| 0.0)),
        }
    }

    fn budget(&self, gate: &BudgetGate) -> Answer {
        let share = self.share.fraction();
        let spent = |rate: f64| (1.0 - gate.objective) * rate;
        let reserve = gate.reserve.as_ref().map(|reserve| {
            let rate = if self.breaches && gate.burn.is_none() { 2.0 } else { 0.1 };
            self.counts(1.0, &[spent(rate)], reserve.over)
        });
        let burn = gate.burn.iter().flat_map(|_| ALARMS).map(|alarm| {
            let rate = if self.breaches { alarm.burn * 2.0 } else { 0.1 };
            let window = |seconds: f64| Duration::from_secs(seconds as u64).min(self.arms.window);
            Burn {
                long: self.counts(share, &[spent(rate)], window(alarm.long)),
                short: self.counts(share, &[spent(rate)], window(alarm.short)),
                baseline: self.both(|| self.counts(1.0 - share, &[spent(0.1)], window(alarm.long))),
            }
        });
        Answer::Budget {
            reserve,
            burn: burn.collect(),
        }
    }

    fn both<T>(&self, baseline: impl FnOnce() -> T) -> Option<T> {
        self.arms.baseline.as_ref().map(|_| baseline())
    }

    fn counts(&self, share: f64, parts: &[f64], window: Duration) -> Counts {
        let total = (REQUESTS * window.as_secs_f64() * share).round();
        let sample = |value: f64| Sample {
            value: Some(value),
            samples: None,
            at: Some(self.now),
            query: "simulated".to_owned(),
        };
        Counts {
            window,
            total: sample(total),
            parts: parts
                .iter()
                .map(|part| sample((total * part.clamp(0.0, 1.0)).round()))
                .collect(),
        }
    }

    /// Points back to the beginning of the window; `at` takes the seconds since then.
    fn course(&self, step: Duration, at: impl Fn(f64) -> f64) -> Course {
        let count = self.arms.window.as_millis() / step.as_millis().max(1);
        let points = (0..=count).rev().map(|back| {
            let before = Duration::from_millis(step.as_millis().saturating_mul(back));
            let instant = self.now.saturating_sub(before.signed()).unwrap_or(Timestamp::MIN);
            Point(instant, at(self.arms.window.saturating_sub(before).as_secs_f64()))
        });
        Course {
            query: "simulated".to_owned(),
            step,
            points: points.collect(),
        }
    }

    fn unit(&self, metric: &str) -> MetricUnit {
        let metric = self.plan.workflow().metrics.get(metric);
        metric.map_or(MetricUnit::Count, |metric| metric.unit.clone())
    }
}
