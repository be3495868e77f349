//! Meridian's rules of evidence, written on the engine's statistics: what the gates are to decide.
//!
//! The verdicts form a lattice and the worst wins; only positive evidence of no harm passes. In order: a start is put off while the baseline is
//! ill; silence is never a pass and soon a failure; a split of traffic that is not the one that was ordered makes every comparison inconclusive;
//! counts of errors and of slow requests fail or pass by a test that may be looked at every tick; gauges are looked at once a block. Each stage
//! has one percent to be wrong by: half of it for errors, a quarter for latency, a quarter for gauges, Holm's procedure inside each.

pub mod counts;
pub mod gauges;
#[cfg(test)]
mod tests;

use counts::Comparison;
use gauges::Gauges;
use meridian_engine::run::statistics::counts::{SequentialCounts, rate_at_least};
use meridian_engine::run::statistics::holm;

use super::{Decision, Judge, Now};
use crate::corpus::{BUCKETS, Counts, Observation, Plan, STRATA_MAX};

/// A service that fails more often than this is ill, whoever is to blame.
const OBJECTIVE: f64 = 0.01;
const ILL_MINUTES: f64 = 10.0;
/// The chance of calling a healthy stage harmful.
const ALPHA_ERRORS: f64 = 0.005;
const ALPHA_LATENCY: f64 = 0.002_5;
/// A split is another one than ordered beyond this factor, at this chance of being wrong.
const SPLIT: f64 = 1.1;
const ALPHA_SPLIT: f64 = 0.001;
/// Silence although so many requests were due cannot be luck: the chance is below one in a million.
const DUE_MIN: f64 = 14.0;
const SILENT_MINUTES: f64 = 5.0;
const PRIOR_SPLIT: f64 = 20.0;

/// How good the evidence of one look is; the order is the engine's lattice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Pass,
    Pending,
    Inconclusive,
    Fail,
}

/// Meridian, as it decides on one rollout.
#[derive(Clone, Debug)]
pub struct Meridian {
    /// Whether telemetry tells kinds of request apart; if not, all are one.
    has_strata: bool,
    strata: usize,
    /// By kind: the buckets from which on a request is slow, and very slow.
    slow_from: [[usize; 2]; STRATA_MAX],
    comparisons: [Comparison; STRATA_MAX],
    pooled: Comparison,
    gauges: Gauges,
    recent: Vec<Counts>,
    stage: Option<usize>,
    silent_ticks: usize,
    due: f64,
}

impl Meridian {
    pub fn stratified() -> Meridian {
        Meridian::new(true)
    }

    /// Where telemetry has no labels to tell kinds of request apart.
    pub fn pooled() -> Meridian {
        Meridian::new(false)
    }

    fn new(has_strata: bool) -> Meridian {
        Meridian {
            has_strata,
            strata: 1,
            slow_from: [[BUCKETS; 2]; STRATA_MAX],
            comparisons: Default::default(),
            pooled: Comparison::default(),
            gauges: Gauges::default(),
            recent: Vec::new(),
            stage: None,
            silent_ticks: 0,
            due: 0.0,
        }
    }

    fn kinds(&self, arm: &crate::corpus::Arm) -> [Counts; STRATA_MAX] {
        if self.has_strata {
            arm.strata
        } else {
            let mut one = [Counts::default(); STRATA_MAX];
            one[0] = arm.pooled();
            one
        }
    }

    fn enters(&mut self) {
        self.comparisons = Default::default();
        self.pooled = Comparison::default();
        self.silent_ticks = 0;
        self.due = 0.0;
    }

    /// Requests that somebody should have reported, and nobody did.
    fn silence(&mut self, now: &Now<'_>, newest: &Observation) -> Verdict {
        self.silent_ticks += 1;
        let requests = newest.baseline.as_ref().map_or(0, |arm| arm.pooled().requests);
        if newest.share < 1.0 {
            self.due += f64::from(requests) * newest.share / (1.0 - newest.share);
        }
        let minutes = self.silent_ticks as f64 * now.plan.tick_seconds / 60.0;
        let is_sure = self.due >= DUE_MIN && self.silent_ticks > 1;
        if is_sure || minutes >= SILENT_MINUTES {
            Verdict::Fail
        } else {
            Verdict::Pending
        }
    }

    /// Whether the baseline, or what serves alone, fails more often than the objective allows; of the last minutes.
    fn is_ill(&self) -> bool {
        is_ill(self.recent.iter())
    }

    fn split(&self, share: f64) -> Verdict {
        let seen = [self.pooled.candidate.requests, self.pooled.baseline.requests];
        let odds = share / (1.0 - share);
        let is_beyond = |factor: f64| {
            let edge = odds * factor / (1.0 + odds * factor);
            let is_outside = (seen[0] / (seen[0] + seen[1]) - edge) * (factor - 1.0) > 0.0;
            let p = SequentialCounts::new(&[edge, 1.0 - edge], PRIOR_SPLIT).and_then(|test| test.p_value(&seen));
            is_outside && p.is_some_and(|p| p <= ALPHA_SPLIT / 2.0)
        };
        if is_beyond(SPLIT) || is_beyond(1.0 / SPLIT) {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        }
    }

    /// Errors and slow requests of every kind, and of all together.
    fn counted(&self, share: f64) -> Verdict {
        let kinds = &self.comparisons[..self.strata];
        let errors: Vec<f64> = kinds.iter().map(Comparison::errors_are_more).collect();
        let [slow, slower] = [0, 1].map(|at| kinds.iter().map(|kind| kind.slow_are_more()[at]).collect::<Vec<_>>());
        let slow = [each_and_all(&slow), each_and_all(&slower)].concat();
        let is_found = |p_values: &[f64], alpha: f64| holm(p_values).into_iter().any(|p| p <= alpha);
        if is_found(&each_and_all(&errors), ALPHA_ERRORS) || is_found(&slow, ALPHA_LATENCY) {
            return Verdict::Fail;
        }
        let total: f64 = kinds.iter().map(|kind| kind.baseline.requests).sum();
        let by_kind = || {
            kinds.iter().all(|kind| {
                let part = kind.baseline.requests / total;
                kind.is_no_worse(share, (1.0 / (part * self.strata as f64)).max(1.0))
            })
        };
        if (self.has_one_mix() && self.pooled.is_no_worse(share, 1.0)) || by_kind() {
            Verdict::Pass
        } else {
            Verdict::Pending
        }
    }

    /// Whether both arms get the same parts of each kind of request: only then do all together say what each says.
    fn has_one_mix(&self) -> bool {
        let [candidate, baseline] = [self.pooled.candidate.requests, self.pooled.baseline.requests];
        let part = candidate / (candidate + baseline);
        self.comparisons[..self.strata].iter().all(|kind| {
            let seen = [kind.candidate.requests, kind.baseline.requests];
            let p = SequentialCounts::new(&[part, 1.0 - part], PRIOR_SPLIT).and_then(|test| test.p_value(&seen));
            p.is_some_and(|p| p > ALPHA_SPLIT)
        })
    }

    fn take(&mut self, newest: &Observation) {
        for (arm, is_candidate) in [(&newest.candidate, true), (&newest.baseline, false)] {
            let Some(arm) = arm else { continue };
            let kinds = self.kinds(arm);
            for (at, counts) in kinds.iter().enumerate().take(self.strata) {
                self.comparisons[at].take(counts, self.slow_from[at], is_candidate);
                self.pooled.take(counts, self.slow_from[at], is_candidate);
            }
        }
    }

    fn remembers(&mut self, plan: &Plan, newest: &Observation) {
        if let Some(arm) = newest.baseline.as_ref().or(newest.candidate.as_ref()) {
            self.recent.push(arm.pooled());
        }
        let keep = plan.ticks(ILL_MINUTES);
        if self.recent.len() > keep {
            self.recent.remove(0);
        }
    }
}

impl Judge for Meridian {
    fn begins(&mut self, plan: &Plan, _: usize, history: &[Observation]) {
        *self = Meridian::new(self.has_strata);
        let mut before = [Counts::default(); STRATA_MAX];
        for arm in history.iter().filter_map(|tick| tick.baseline.as_ref()) {
            for (sum, counts) in before.iter_mut().zip(self.kinds(arm)) {
                sum.requests += counts.requests;
                for (sum, bucket) in sum.buckets.iter_mut().zip(counts.buckets) {
                    *sum += bucket;
                }
            }
        }
        self.strata = before.iter().filter(|kind| kind.requests > 0).count().max(1);
        self.slow_from = before.map(|kind| [counts::slow_from(&kind, 0.05), counts::slow_from(&kind, 0.01)]);
        self.gauges = Gauges::new(plan, history);
        for tick in history {
            self.remembers(plan, tick);
        }
    }

    fn may_start(&mut self, history: &[Observation]) -> bool {
        let ticks = self.recent.len();
        let newest = history
            .iter()
            .rev()
            .take(ticks)
            .filter_map(|tick| tick.baseline.as_ref());
        let newest: Vec<Counts> = newest.map(crate::corpus::Arm::pooled).collect();
        !is_ill(newest.iter())
    }

    fn observes(&mut self, now: &Now<'_>, newest: &Observation) -> Decision {
        if self.stage != Some(now.stage) {
            self.stage = Some(now.stage);
            self.enters();
        }
        self.remembers(now.plan, newest);
        if newest.candidate.is_none() {
            return decided(self.silence(now, newest));
        }
        self.silent_ticks = 0;
        self.due = 0.0;
        if newest.baseline.is_none() && now.share() < 1.0 {
            return decided(Verdict::Inconclusive);
        }
        if newest.baseline.is_none() {
            // Nothing to compare with: illness holds, and a person looks.
            return if self.is_ill() {
                Decision::Wait
            } else {
                Decision::Advance
            };
        }
        self.take(newest);
        let next = now.plan.stages.get(now.stage + 1);
        let is_last = next.is_some_and(|stage| stage.share >= 1.0);
        let gauges = self.gauges.take(now, newest, is_last);
        let mut verdict = self.counted(now.share()).max(gauges);
        if verdict != Verdict::Fail {
            verdict = verdict.max(self.split(now.share()));
        }
        if verdict == Verdict::Pass && self.is_ill() {
            verdict = Verdict::Inconclusive;
        }
        decided(verdict)
    }
}

/// The p-value of each kind of request, and of all together where there are several: their evidence is independent and adds up.
fn each_and_all(evidence: &[f64]) -> Vec<f64> {
    let all = (evidence.len() > 1).then(|| evidence.iter().sum::<f64>());
    evidence
        .iter()
        .copied()
        .chain(all)
        .map(|evidence| (-evidence).exp().min(1.0))
        .collect()
}

fn decided(verdict: Verdict) -> Decision {
    match verdict {
        Verdict::Pass => Decision::Advance,
        Verdict::Pending | Verdict::Inconclusive => Decision::Wait,
        Verdict::Fail => Decision::RollBack,
    }
}

fn is_ill<'a>(ticks: impl Iterator<Item = &'a Counts>) -> bool {
    let (mut errors, mut requests) = (0_u64, 0_u64);
    for counts in ticks {
        errors += u64::from(counts.errors);
        requests += u64::from(counts.requests);
    }
    rate_at_least(errors, requests, 0.01).is_some_and(|rate| rate > OBJECTIVE)
}
