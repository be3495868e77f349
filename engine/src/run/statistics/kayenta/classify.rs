//! One metric: whether the candidate is higher, lower, or neither.

use super::effect::{EffectSize, Thresholds};
use super::preparation::{NanStrategy, OutlierStrategy, prepared};
use crate::run::statistics::{normal_quantile, rank};

/// Numbers that agree to this part of their size are the same number: they were, before a unit was changed or a shift taken off.
const SAME: f64 = 1e-12;

/// Which way a metric must not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Increase,
    Decrease,
    Either,
}

/// Whether a metric that does not pass decides alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Criticality {
    Normal,
    /// From this effect on; without thresholds of its own, at any.
    Critical(Option<Thresholds>),
}

/// How one metric is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    pub direction: Direction,
    pub nan: NanStrategy,
    pub outliers: OutlierStrategy,
    pub effect: EffectSize,
    /// None where every difference counts.
    pub allowed: Option<Thresholds>,
    pub criticality: Criticality,
    /// Whether silence counts against the candidate.
    pub must_have_data: bool,
}

impl Default for Metric {
    fn default() -> Metric {
        Metric {
            direction: Direction::Either,
            nan: NanStrategy::Remove,
            outliers: OutlierStrategy::Keep,
            effect: EffectSize::MeanRatio,
            allowed: None,
            criticality: Criticality::Normal,
            must_have_data: false,
        }
    }
}

/// How sure, and how wide around nothing a shift is ignored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The dead zone as a part of the estimated shift.
    pub tolerance: f64,
    pub confidence: f64,
}

/// The settings of Kayenta in service.
pub const JUDGE: Settings = Settings {
    tolerance: 0.25,
    confidence: 0.98,
};

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    Pass,
    High,
    Low,
    /// Nothing to compare; left out of the score.
    Nodata,
    /// Nothing to compare where there must be something: a failure.
    NodataFailMetric,
}

/// A label and what it rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Classification {
    pub label: Label,
    /// Whether it decides alone, should it not be a pass.
    pub is_critical: bool,
    /// None where it cannot be told, because nothing was compared or a mean is 0.
    pub effect: Option<f64>,
}

/// Classifies one metric.
pub fn classify(candidate: &[f64], baseline: &[f64], metric: &Metric, settings: Settings) -> Classification {
    let candidate = prepared(candidate, metric.nan, metric.outliers);
    let baseline = prepared(baseline, metric.nan, metric.outliers);
    if candidate.is_empty() || baseline.is_empty() {
        return silence(metric);
    }
    if is_nothing_to_tell(&candidate, &baseline) {
        return Classification {
            label: Label::Pass,
            is_critical: false,
            effect: Some(metric.effect.of_equals()),
        };
    }
    let effect = metric.effect.of(&candidate, &baseline);
    let (label, is_critical) = match shifted(&candidate, &baseline, settings) {
        Some(Shifted::Up) if metric.direction != Direction::Decrease => {
            let reaches = |thresholds: Thresholds| effect.is_none_or(|effect| effect >= thresholds.increase);
            counting(metric, Label::High, reaches)
        }
        Some(Shifted::Down) if metric.direction != Direction::Increase => {
            let reaches = |thresholds: Thresholds| effect.is_none_or(|effect| effect <= thresholds.decrease);
            counting(metric, Label::Low, reaches)
        }
        Some(Shifted::Up | Shifted::Down) | None => (Label::Pass, false),
    };
    Classification {
        label,
        is_critical,
        effect,
    }
}

/// Whether a shift that was found counts, and decides alone.
fn counting(metric: &Metric, label: Label, reaches: impl Fn(Thresholds) -> bool) -> (Label, bool) {
    if !reaches(metric.allowed.unwrap_or(metric.effect.any())) {
        return (Label::Pass, false);
    }
    let is_critical = match metric.criticality {
        Criticality::Normal => false,
        Criticality::Critical(from) => reaches(from.unwrap_or(metric.effect.any())),
    };
    (label, is_critical)
}

/// A candidate or a baseline without a single value.
fn silence(metric: &Metric) -> Classification {
    let is_critical = metric.criticality != Criticality::Normal;
    let (label, is_critical) = match metric.nan {
        // Kayenta's most dangerous answer, kept because its tests demand it: a dead candidate passes.
        NanStrategy::Replace => (Label::Pass, false),
        NanStrategy::Remove if metric.must_have_data && !is_critical => (Label::NodataFailMetric, false),
        NanStrategy::Remove => (Label::Nodata, is_critical),
    };
    Classification {
        label,
        is_critical,
        effect: None,
    }
}

/// The same values on both sides, or one value everywhere.
fn is_nothing_to_tell(candidate: &[f64], baseline: &[f64]) -> bool {
    let sorted = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted
    };
    let one = candidate[0];
    sorted(candidate) == sorted(baseline) || candidate.iter().chain(baseline).all(|value| *value == one)
}

enum Shifted {
    Up,
    Down,
}

/// Whether the whole confidence interval of the shift lies on one side of the dead zone.
fn shifted(candidate: &[f64], baseline: &[f64], settings: Settings) -> Option<Shifted> {
    let zone = settings.tolerance * rank::shift(candidate, baseline)?.abs();
    let z = normal_quantile(1.0 - (1.0 - settings.confidence) / 2.0);
    // Where few values cannot reject anything, the interval ends at the smallest and the largest difference: complete separation.
    let is_apart = |below: f64, above: f64| below < above && !is_same(below, above, zone);
    let is_above = is_apart(high(baseline), low(candidate) - zone);
    let is_below = is_apart(high(candidate) + zone, low(baseline));
    if is_above || statistic(candidate, baseline, zone)? > z {
        Some(Shifted::Up)
    } else if is_below || statistic(candidate, baseline, -zone)? < -z {
        Some(Shifted::Down)
    } else {
        None
    }
}

fn low(of: &[f64]) -> f64 {
    of.iter().copied().fold(f64::INFINITY, f64::min)
}

fn high(of: &[f64]) -> f64 {
    of.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// The standardised rank statistic of "the candidate is larger by more than `by`", corrected for ties and continuity as in R's `wilcox.test`;
/// none where all is tied.
fn statistic(candidate: &[f64], baseline: &[f64], by: f64) -> Option<f64> {
    let moved = candidate.iter().map(|value| (value - by, true));
    let mut all: Vec<(f64, bool)> = moved.chain(baseline.iter().map(|value| (*value, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut sum, mut ties, mut start) = (0.0, 0.0, 0);
    while start < all.len() {
        let mut end = start + 1;
        while end < all.len() && is_same(all[end - 1].0, all[end].0, by) {
            end += 1;
        }
        let tied = (end - start) as f64;
        let here = all[start..end].iter().filter(|(_, moved)| *moved).count();
        sum += (start + end + 1) as f64 / 2.0 * here as f64;
        ties += tied.powi(3) - tied;
        start = end;
    }
    let n = candidate.len() as f64;
    standardised(sum - n * (n + 1.0) / 2.0, candidate.len(), baseline.len(), ties)
}

fn is_same(a: f64, b: f64, by: f64) -> bool {
    (a - b).abs() <= SAME * a.abs().max(b.abs()).max(by.abs())
}

fn standardised(u: f64, candidates: usize, baselines: usize, ties: f64) -> Option<f64> {
    let (n, m) = (candidates as f64, baselines as f64);
    let total = n + m;
    let variance = n * m / 12.0 * ((total + 1.0) - ties / (total * (total - 1.0)));
    let away = u - n * m / 2.0;
    let continuity = if away == 0.0 { 0.0 } else { away.signum() * 0.5 };
    (variance > 0.0).then(|| (away - continuity) / variance.sqrt())
}

/// The confidence interval of the shift that R's `wilcox.test(conf.int = TRUE, exact = FALSE)` looks for: its ends are differences of two
/// values, found among all of them and therefore exact.
///
/// None where a sample is empty or holds what is no number.
pub fn shift_interval(candidate: &[f64], baseline: &[f64], confidence: f64) -> Option<(f64, f64)> {
    let is_usable = |values: &[f64]| !values.is_empty() && values.iter().all(|value| value.is_finite());
    if !is_usable(candidate) || !is_usable(baseline) {
        return None;
    }
    let mut differences: Vec<f64> = candidate
        .iter()
        .flat_map(|x| baseline.iter().map(move |y| x - y))
        .collect();
    differences.sort_by(f64::total_cmp);
    let ties = inner_ties(candidate) + inner_ties(baseline);
    let z = normal_quantile(1.0 - (1.0 - confidence) / 2.0);
    // The first difference beyond which the statistic is no longer above the quantile.
    let crossing = |quantile: f64| {
        let beyond = |at: usize| {
            standardised(
                (differences.len() - at - 1) as f64,
                candidate.len(),
                baseline.len(),
                ties,
            )
        };
        let first = (0..differences.len()).find(|at| beyond(*at).is_some_and(|z| z <= quantile));
        differences[first.unwrap_or(differences.len() - 1)]
    };
    Some((crossing(z), crossing(-z)))
}

/// Ties within one sample as Σ(t³ − t).
fn inner_ties(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .chunk_by(|a, b| a == b)
        .map(|group| (group.len() as f64).powi(3) - group.len() as f64)
        .sum()
}
