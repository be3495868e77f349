//! How large a difference is, apart from whether there is one.

use crate::run::statistics::rank::mann_whitney;

/// The measure that thresholds of a metric speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectSize {
    /// Mean of the candidate over mean of the baseline.
    MeanRatio,
    /// The probability that a value of the candidate exceeds one of the baseline, ties counting half.
    Cles,
}

/// From which effect on a difference counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// A fall counts when the effect is at most this.
    pub decrease: f64,
    /// A rise counts when the effect is at least this.
    pub increase: f64,
}

impl EffectSize {
    /// The effect; none where the ratio has no meaning because a mean is 0, and then no threshold is asked.
    pub fn of(self, candidate: &[f64], baseline: &[f64]) -> Option<f64> {
        match self {
            EffectSize::MeanRatio => {
                let (above, below) = (mean(candidate), mean(baseline));
                (above != 0.0 && below != 0.0)
                    .then(|| above / below)
                    .filter(|ratio| ratio.is_finite())
            }
            EffectSize::Cles => mann_whitney(candidate, baseline).map(|found| found.a12),
        }
    }

    /// The thresholds at which every difference counts.
    pub fn any(self) -> Thresholds {
        let none = self.of_equals();
        Thresholds {
            decrease: none,
            increase: none,
        }
    }

    /// The effect of two samples that are the same.
    pub fn of_equals(self) -> f64 {
        match self {
            EffectSize::MeanRatio => 1.0,
            EffectSize::Cles => 0.5,
        }
    }
}

/// The difference of means in units of their pooled standard deviation; none where there is no such unit.
///
/// *Source*: J. Cohen, Statistical Power Analysis for the Behavioral Sciences (1988).
pub fn cohens_d(x: &[f64], y: &[f64]) -> Option<f64> {
    let (n, m) = (x.len() as f64, y.len() as f64);
    let pooled = (((n - 1.0) * variance(x) + (m - 1.0) * variance(y)) / (n + m - 2.0)).sqrt();
    let effect = (mean(x) - mean(y)) / pooled;
    effect.is_finite().then_some(effect)
}

pub(super) fn mean(of: &[f64]) -> f64 {
    of.iter().sum::<f64>() / of.len() as f64
}

/// The sample variance.
pub(super) fn variance(of: &[f64]) -> f64 {
    let middle = mean(of);
    of.iter().map(|value| (value - middle).powi(2)).sum::<f64>() / (of.len() as f64 - 1.0)
}
