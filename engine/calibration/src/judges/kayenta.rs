//! Kayenta: a canary stage of Spinnaker in every stage that has a baseline, three judgements with a growing look-back.
//!
//! Its judge is the engine's own `statistics::kayenta`, whose labels agree with Kayenta's test vectors. Points are a minute long; the first ten
//! minutes are left out (`beginCanaryAnalysisAfterMins`). The baseline is thinned to the candidate's size, as its documentation asks for a
//! baseline of equal size. A score below 75 at any judgement, or below 95 at the last, rolls back.

use meridian_engine::run::statistics::kayenta::{
    Criticality, Direction, Grade, Group, JUDGE, Metric, Thresholds, classify, score,
};

use super::window::quantile_ms;
use super::{Decision, Judge, Now};
use crate::chance::Chance;
use crate::corpus::{Arm, Counts, Observation, Plan};

const PASS: f64 = 95.0;
const MARGINAL: f64 = 75.0;
const BEGIN_AFTER_MINUTES: f64 = 10.0;
const JUDGEMENTS: usize = 3;

/// Points of one arm: error ratio, P50, P99, memory, CPU.
const METRICS: usize = 5;
/// Errors; latency; saturation.
const GROUPS: [&[usize]; 3] = [&[0], &[1, 2], &[3, 4]];

#[derive(Clone, Debug)]
pub struct Kayenta {
    metrics: [Metric; METRICS],
    series: [[Vec<f64>; METRICS]; 2],
    minute: [Option<(Counts, f64, f64, u32)>; 2],
    stage: Option<usize>,
    chance: Chance,
}

impl Kayenta {
    /// Its own defaults: every rise that is found counts, no metric is critical.
    pub fn defaults() -> Kayenta {
        Kayenta::new([rising(None, false); METRICS])
    }

    /// As a careful user sets it: a rise by less than a fifth does not count, and errors alone decide.
    pub fn careful() -> Kayenta {
        let mut metrics = [rising(Some(1.2), false); METRICS];
        metrics[0] = rising(Some(1.2), true);
        Kayenta::new(metrics)
    }

    fn new(metrics: [Metric; METRICS]) -> Kayenta {
        Kayenta {
            metrics,
            series: Default::default(),
            minute: [None; 2],
            stage: None,
            chance: Chance::new(&[0x004b_6179]),
        }
    }

    /// The baseline as if it were of the candidate's size.
    fn thinned(&mut self, baseline: &Arm, share: f64) -> Arm {
        let part = (share / (1.0 - share)).min(1.0);
        let mut arm = *baseline;
        if part < 1.0 {
            for counts in &mut arm.strata {
                let errors = self.chance.binomial(counts.errors, part);
                for bucket in &mut counts.buckets {
                    *bucket = self.chance.binomial(*bucket, part);
                }
                counts.requests = counts.buckets.iter().sum();
                counts.errors = errors.min(counts.requests);
            }
        }
        arm
    }

    fn take(&mut self, side: usize, arm: Option<&Arm>) {
        let Some(arm) = arm else { return };
        let (mut sums, mut memory, mut cpu, ticks) = self.minute[side].unwrap_or_default();
        let pooled = arm.pooled();
        sums.requests += pooled.requests;
        sums.errors += pooled.errors;
        for (sum, bucket) in sums.buckets.iter_mut().zip(pooled.buckets) {
            *sum += bucket;
        }
        memory += arm.memory_mib;
        cpu += arm.cpu;
        self.minute[side] = Some((sums, memory, cpu, ticks + 1));
    }

    fn end_minute(&mut self) {
        for (minute, series) in self.minute.iter_mut().zip(&mut self.series) {
            let Some((sums, memory, cpu, ticks)) = minute.take() else {
                continue;
            };
            let points = [
                f64::from(sums.errors) / f64::from(sums.requests),
                quantile_ms(&sums, 0.5),
                quantile_ms(&sums, 0.99),
                memory / f64::from(ticks),
                cpu / f64::from(ticks),
            ];
            for (series, point) in series.iter_mut().zip(points) {
                series.push(point);
            }
        }
    }

    fn grade(&self) -> Grade {
        let of = |at: usize| classify(&self.series[0][at], &self.series[1][at], &self.metrics[at], JUDGE);
        let groups = GROUPS.map(|metrics| Group {
            weight: None,
            metrics: metrics.iter().map(|at| of(*at)).collect(),
        });
        score(&groups).total.grade(PASS, MARGINAL)
    }
}

fn rising(allowed: Option<f64>, is_critical: bool) -> Metric {
    let thresholds = allowed.map(|increase| Thresholds {
        decrease: 1.0,
        increase,
    });
    Metric {
        direction: Direction::Increase,
        allowed: thresholds,
        criticality: if is_critical {
            Criticality::Critical(thresholds)
        } else {
            Criticality::Normal
        },
        ..Metric::default()
    }
}

impl Judge for Kayenta {
    fn begins(&mut self, _: &Plan, _: usize, _: &[Observation]) {
        self.stage = None;
    }

    fn observes(&mut self, now: &Now<'_>, newest: &Observation) -> Decision {
        let Some(baseline) = newest.baseline.as_ref() else {
            return Decision::Advance;
        };
        if self.stage != Some(now.stage) {
            self.stage = Some(now.stage);
            self.series = Default::default();
            self.minute = [None; 2];
        }
        let skipped = now.plan.ticks(BEGIN_AFTER_MINUTES);
        if now.ticks <= skipped {
            return Decision::Wait;
        }
        let baseline = self.thinned(baseline, now.share());
        self.take(0, newest.candidate.as_ref());
        self.take(1, Some(&baseline));
        if now.is_every(1.0) {
            self.end_minute();
        }
        let (since, lifetime) = (now.ticks - skipped, now.bake_ticks() - skipped);
        let is_due = (1..=JUDGEMENTS).any(|judgement| since == lifetime * judgement / JUDGEMENTS);
        match is_due.then(|| self.grade()) {
            Some(Grade::Fail) => Decision::RollBack,
            Some(Grade::Marginal) if since >= lifetime => Decision::RollBack,
            Some(Grade::Pass | Grade::Marginal) if since >= lifetime => Decision::Advance,
            Some(Grade::Pass | Grade::Marginal) | None => Decision::Wait,
        }
    }
}
