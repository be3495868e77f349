//! The judge's arithmetic: pure, deterministic, and the same whatever unit a metric is written in.
//!
//! Every function takes finite numbers and answers with a number or with nothing where there is nothing to say; what "nothing" means for a
//! rollout is decided by the judge. Formulas name their source; reference values stand in the tests.

pub mod burn;
pub mod counts;
pub mod kayenta;
pub mod means;
pub mod rank;
pub mod sequential;
pub mod spending;
pub mod trend;

use statrs::distribution::{ContinuousCDF, Normal};

/// The standard normal distribution function.
pub fn normal_cdf(z: f64) -> f64 {
    standard().map_or(f64::NAN, |normal| normal.cdf(z))
}

/// The part of the standard normal distribution above `z`.
pub fn normal_sf(z: f64) -> f64 {
    standard().map_or(f64::NAN, |normal| normal.sf(z))
}

/// The inverse of [`normal_cdf`], for `0 < p < 1`.
pub fn normal_quantile(p: f64) -> f64 {
    if p > 0.0 && p < 1.0 {
        standard().map_or(f64::NAN, |normal| normal.inverse_cdf(p))
    } else {
        f64::NAN
    }
}

fn standard() -> Option<Normal> {
    Normal::new(0.0, 1.0).ok()
}

/// The adjusted p-values of Holm's step-down procedure, in the order given: all of them may be compared with the same family-wise error
/// rate. *Source*: S. Holm, Scandinavian Journal of Statistics 6 (1979).
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]).then(a.cmp(b)));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        let left = (p_values.len() - rank) as f64;
        largest = largest.max((p_values[index] * left).min(1.0));
        adjusted[index] = largest;
    }
    adjusted
}

/// Whether two numbers agree to one part in a million, as the reference values are given.
#[cfg(test)]
pub(in crate::run) fn close(found: f64, wanted: f64) -> bool {
    (found - wanted).abs() <= 1e-6 * wanted.abs().max(1e-6)
}

#[cfg(test)]
mod tests {
    use super::{close, holm, normal_quantile, normal_sf};

    #[test]
    fn the_normal_distribution_has_its_known_points() {
        assert!(close(normal_quantile(0.01), -2.326_347_874_040_841));
        assert!(close(normal_sf(1.959_963_984_540_054), 0.025));
        assert!(normal_quantile(0.0).is_nan() && normal_quantile(1.0).is_nan());
    }

    #[test]
    fn holm_keeps_the_order_and_never_exceeds_one() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        let wanted = [0.03, 0.06, 0.06, 0.02];
        assert!(
            adjusted.iter().zip(wanted).all(|(found, wanted)| close(*found, wanted)),
            "{adjusted:?}"
        );
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert_eq!(holm(&[]), [0.0; 0]);
    }
}
