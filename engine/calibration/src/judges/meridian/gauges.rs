//! Memory and processor: differences to the baseline, block by block, for their level and for a leak.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use meridian_engine::run::statistics::normal_sf;
use meridian_engine::run::statistics::spending::{boundaries, power_spending};
use meridian_engine::run::statistics::trend::{block_means, theil_sen, until_exhausted};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::Verdict;
use crate::corpus::{Observation, Plan};
use crate::judges::Now;

/// What an instance may use, as its deployment says.
const LIMIT_MIB: f64 = 1024.0;
/// A fresh instance is not compared.
const WARM_UP_MINUTES: f64 = 10.0;
/// A block is so long that its mean and the next one's are correlated by at most this.
const RESEMBLANCE_MAX: f64 = 0.15;
const BLOCK_MINUTES: (f64, f64) = (10.0, 45.0);
const BLOCKS_MIN: usize = 8;
/// A leak fails when memory surely ends within a week, and passes when it surely lasts for three releases at two a day.
const ENDS_MINUTES: f64 = 7.0 * 24.0 * 60.0;
const LASTS_MINUTES: f64 = 36.0 * 60.0;
/// One-sided, at every look; blocks are few and looks as many.
const ALPHA_LEAK: f64 = 0.001;
const ALPHA_LEAK_PASS: f64 = 0.01;
/// A level fails that is higher by more than this part of the baseline.
const LEVEL: f64 = 0.3;
/// For each of the two gauges, two-sided and therefore doubled.
const ALPHA_LEVEL: f64 = 2.0 * 0.000_5;

/// The series of one region since its candidate's first request.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    block_minutes: f64,
    /// Candidate less baseline.
    memory: Vec<f64>,
    candidate_memory: f64,
    /// Since the share changed: candidate less what the baseline allows, for memory and processor.
    above: [Vec<f64>; 2],
    stage: Option<usize>,
    /// What the last block said.
    leak: Option<Verdict>,
    level: Option<Verdict>,
}

impl Gauges {
    /// Blocks for a baseline that remembers like this.
    pub fn new(plan: &Plan, history: &[Observation]) -> Gauges {
        let memory: Vec<f64> = history
            .iter()
            .filter_map(|tick| tick.baseline.as_ref().map(|arm| arm.memory_mib))
            .collect();
        let ticks = block_of(&memory);
        Gauges {
            block_minutes: (ticks * plan.tick_seconds / 60.0).clamp(BLOCK_MINUTES.0, BLOCK_MINUTES.1),
            ..Gauges::default()
        }
    }

    pub(super) fn take(&mut self, now: &Now<'_>, newest: &Observation, is_last: bool) -> Verdict {
        let (Some(candidate), Some(baseline)) = (&newest.candidate, &newest.baseline) else {
            return Verdict::Pending;
        };
        if now.age <= now.plan.ticks(WARM_UP_MINUTES) {
            return Verdict::Pending;
        }
        if self.stage != Some(now.stage) {
            self.stage = Some(now.stage);
            self.above = Default::default();
            self.level = None;
        }
        self.memory.push(candidate.memory_mib - baseline.memory_mib);
        self.candidate_memory = candidate.memory_mib;
        self.above[0].push(candidate.memory_mib - (1.0 + LEVEL) * baseline.memory_mib);
        self.above[1].push(candidate.cpu - (1.0 + LEVEL) * baseline.cpu);
        let block = now.plan.ticks(self.block_minutes).max(1);
        if self.memory.len().is_multiple_of(block) {
            self.leak = Some(self.leak(block, now.plan.tick_seconds / 60.0));
        }
        let short = now.plan.ticks(BLOCK_MINUTES.0).max(1);
        if self.above[0].len().is_multiple_of(short) {
            self.level = Some(self.level(short, now.bake_ticks() / short));
        }
        // Before the last comparison ends, a leak must be ruled out and not only unseen.
        let leak = match self.leak {
            Some(Verdict::Fail) => Verdict::Fail,
            Some(verdict) if is_last => verdict,
            None if is_last => Verdict::Pending,
            Some(Verdict::Pass | Verdict::Pending | Verdict::Inconclusive) | None => Verdict::Pass,
        };
        leak.max(self.level.unwrap_or(Verdict::Pending))
    }

    fn leak(&self, block: usize, minutes_a_tick: f64) -> Verdict {
        let means = block_means(&self.memory, block);
        if means.len() < BLOCKS_MIN {
            return Verdict::Pending;
        }
        let minutes = block as f64 * minutes_a_tick;
        let points: Vec<(f64, f64)> = means
            .iter()
            .enumerate()
            .map(|(at, mean)| (at as f64 * minutes, *mean))
            .collect();
        let ends_within = |slope: f64, limit: f64| {
            until_exhausted(self.candidate_memory, slope, LIMIT_MIB).is_some_and(|minutes| minutes < limit)
        };
        let at_least = theil_sen(&points, 1.0 - 2.0 * ALPHA_LEAK).map(|slope| slope.low);
        let at_most = theil_sen(&points, 1.0 - 2.0 * ALPHA_LEAK_PASS).map(|slope| slope.high);
        match (at_least, at_most) {
            (Some(slope), _) if ends_within(slope, ENDS_MINUTES) => Verdict::Fail,
            (_, Some(slope)) if !ends_within(slope, LASTS_MINUTES) => Verdict::Pass,
            (Some(_) | None, Some(_) | None) => Verdict::Pending,
        }
    }

    /// Looked at once a block; the chance of being wrong is spent over the blocks of the planned bake, and nothing after it.
    fn level(&self, block: usize, planned: usize) -> Verdict {
        let looks = bounds(planned);
        let is_higher = |above: &Vec<f64>| {
            let means = block_means(above, block);
            means
                .len()
                .checked_sub(1)
                .and_then(|look| looks.get(look))
                .is_some_and(|bound| is_above(&means, *bound))
        };
        if self.above.iter().any(is_higher) {
            Verdict::Fail
        } else {
            Verdict::Pass
        }
    }
}

/// Whether the mean of some blocks lies above nothing by more than a boundary for normal values allows; widened for a spread that is only
/// estimated, by Student's distribution.
pub fn is_above(blocks: &[f64], bound: f64) -> bool {
    let n = blocks.len() as f64;
    let mean = blocks.iter().sum::<f64>() / n;
    let variance = blocks.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let widened = StudentsT::new(0.0, 1.0, n - 1.0).map(|student| student.inverse_cdf(1.0 - normal_sf(bound)));
    blocks.len() > 2 && widened.is_ok_and(|bound| mean / (variance / n).sqrt() > bound)
}

thread_local! {
    /// Costly to find and the same for every rollout with as many looks.
    static BOUNDS: RefCell<BTreeMap<usize, Rc<[f64]>>> = const { RefCell::new(BTreeMap::new()) };
}

fn bounds(planned: usize) -> Rc<[f64]> {
    let find = || {
        let information: Vec<f64> = (1..=planned).map(|look| look as f64).collect();
        let spent = |at: &f64| power_spending(ALPHA_LEVEL, at / planned as f64, 2.0);
        let spent: Vec<f64> = information.iter().map(spent).collect();
        boundaries(&spent, &information).unwrap_or_default().into()
    };
    BOUNDS.with_borrow_mut(|known| Rc::clone(known.entry(planned).or_insert_with(find)))
}

/// How many values make a block whose mean hardly resembles the next one's.
///
/// For a series that remembers a part ρ of its last value, the means of L values are correlated by about ρ / (L (1 − ρ²) − 2ρ); ρ itself is
/// estimated from few values, which makes it too small by (1 + 3ρ) / n. *Source*: M. Kendall, Biometrika 41 (1954), for the latter.
pub fn block_of(values: &[f64]) -> f64 {
    let found = neighbours(values);
    let memory = (found + (1.0 + 3.0 * found) / values.len() as f64).clamp(0.0, 0.99);
    memory / (1.0 - memory * memory) * (1.0 / RESEMBLANCE_MAX + 2.0)
}

/// How much a value resembles the next one: the autocorrelation at lag 1.
fn neighbours(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let all: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let pairs: f64 = values.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    if all > 0.0 { pairs / all } else { 0.0 }
}
