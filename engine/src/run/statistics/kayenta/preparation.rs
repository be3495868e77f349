//! What is done to a series before it is compared: numbers that are none, and numbers that are too far out.

use super::effect::{mean, variance};

/// What to do with values that are not numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NanStrategy {
    Remove,
    /// By 0, as for a count that nobody reports because there is nothing to count.
    Replace,
}

/// What to do with values far out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum OutlierStrategy {
    #[default]
    Keep,
    /// Those beyond the quartiles by more than so many interquartile ranges (Kayenta takes 3); never more than the outermost percent on each
    /// side.
    Remove { factor: f64 },
}

/// The series as it is compared.
pub(super) fn prepared(values: &[f64], nan: NanStrategy, outliers: OutlierStrategy) -> Vec<f64> {
    let numbers: Vec<f64> = match nan {
        NanStrategy::Remove => values.iter().copied().filter(|value| value.is_finite()).collect(),
        NanStrategy::Replace => values
            .iter()
            .map(|value| if value.is_finite() { *value } else { 0.0 })
            .collect(),
    };
    match outliers {
        OutlierStrategy::Keep => numbers,
        OutlierStrategy::Remove { factor } => match fences(&numbers, factor, true) {
            Some((low, high)) => numbers
                .into_iter()
                .filter(|value| (low..=high).contains(value))
                .collect(),
            None => numbers,
        },
    }
}

/// The values beyond which one is an outlier; with reduced sensitivity they lie at least at the first and the last percentile.
pub fn fences(values: &[f64], factor: f64, has_reduced_sensitivity: bool) -> Option<(f64, f64)> {
    let (first, third) = (percentile(values, 25.0)?, percentile(values, 75.0)?);
    let reach = factor * (third - first);
    let (low, high) = (first - reach, third + reach);
    Some(if has_reduced_sensitivity {
        (low.min(percentile(values, 1.0)?), high.max(percentile(values, 99.0)?))
    } else {
        (low, high)
    })
}

/// Which values lie more than so many standard deviations from the mean.
pub fn outside_sigmas(values: &[f64], sigmas: f64) -> Vec<bool> {
    let (middle, spread) = (mean(values), variance(values).sqrt());
    values
        .iter()
        .map(|value| (value - middle).abs() > sigmas * spread)
        .collect()
}

/// The percentile by linear interpolation (R's type 7); none of nothing.
pub fn percentile(values: &[f64], percent: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let at = (percent / 100.0).clamp(0.0, 1.0) * last as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(below + at.fract() * (above - below))
}
