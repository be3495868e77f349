//! Confidence that holds at every look: half-widths that may be read as often as anybody likes.

/// Half of the always-valid confidence interval of a difference of two means, by the mixture of Howard and others ("GAVI").
///
/// `n` observations in each arm, `variance` of one observation, two-sided `alpha`; `tuned_for` is the number of observations for which the
/// interval is narrowest. *Source*: S. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, Annals of Statistics 49 (2021).
pub fn gavi_half_width(n: f64, variance: f64, alpha: f64, tuned_for: f64) -> f64 {
    let rho = tuned_for / ((std::f64::consts::E * alpha.powi(-2)).ln().ln() - 2.0 * alpha.ln());
    let boundary = ((n + rho) * ((n + rho) / (rho * alpha * alpha)).ln()).sqrt() / n.sqrt();
    (2.0 * variance / n).sqrt() * boundary
}

/// The same by the mixture sequential probability ratio test, in the form of Lindon and others (arXiv 2210.08589); `phi` is the inverse of the
/// squared effect for which it is tuned.
pub fn msprt_half_width(n: f64, variance: f64, alpha: f64, phi: f64) -> f64 {
    let total = 2.0 * n;
    let of_difference = variance / (total / 4.0);
    of_difference.sqrt() * (((phi + total) / (phi * alpha * alpha)).ln() * (phi + total) / total).sqrt()
}

/// How far the distribution function of `t` observations can lie from the true one, at any quantile and at any of all looks together.
///
/// *Source*: S. Howard, A. Ramdas, "Sequential estimation of quantiles" (Bernoulli 28, 2022), equation with the constant 1612.
pub fn quantile_band(t: f64, alpha: f64) -> f64 {
    let spread = (std::f64::consts::E * t).ln().ln() + 0.8 * (1612.0 / alpha).ln();
    (0.85 * (spread / t).sqrt()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::{gavi_half_width, msprt_half_width, quantile_band};

    #[test]
    fn half_widths_are_the_known_ones() {
        for (n, gavi, msprt) in [
            (50.0, 0.771_011, 0.731_279),
            (100.0, 0.475_726, 0.461_197),
            (500.0, 0.191_963, 0.192_128),
            (1_000.0, 0.136_913, 0.137_752),
            (10_000.0, 0.047_190, 0.047_647),
        ] {
            assert!((gavi_half_width(n, 1.0, 0.05, 500.0) - gavi).abs() < 1e-6, "{n}");
            assert!((msprt_half_width(n, 1.0, 0.05, 100.0) - msprt).abs() < 1e-6, "{n}");
        }
    }

    #[test]
    fn the_band_narrows_as_known() {
        for (t, wanted) in [
            (100.0, 0.269_18),
            (1_000.0, 0.086_57),
            (10_000.0, 0.027_71),
            (100_000.0, 0.008_85),
        ] {
            assert!(
                (quantile_band(t, 0.05) - wanted).abs() < 1e-5,
                "{t}: {}",
                quantile_band(t, 0.05)
            );
        }
        assert_eq!(quantile_band(1.0, 0.05), 1.0);
    }
}
