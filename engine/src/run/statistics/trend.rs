//! Series over time: whether they rise, how fast at least, and when they meet a limit.

use super::{normal_quantile, normal_sf};

/// The Mann–Kendall test of a trend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MannKendall {
    /// Pairs that rise less pairs that fall.
    pub s: f64,
    /// The variance of `s` without a trend, corrected for ties.
    pub variance: f64,
    pub z: f64,
    pub two_sided: f64,
    /// Kendall's tau-b; none where every value is the same.
    pub tau: Option<f64>,
}

/// Tests a series of finite numbers, in the order of time, for a trend; none with fewer than two.
///
/// Valid for independent values only: give it block means of a series that remembers. *Source*: H. Mann, Econometrica 13 (1945).
pub fn mann_kendall(values: &[f64]) -> Option<MannKendall> {
    if values.len() < 2 || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mut s = 0.0;
    for (at, earlier) in values.iter().enumerate() {
        for later in &values[at + 1..] {
            s += f64::from(u8::from(later > earlier)) - f64::from(u8::from(later < earlier));
        }
    }
    let variance = variance_of_s(values);
    let z = if variance > 0.0 {
        (s - s.signum() * f64::from(u8::from(s != 0.0))) / variance.sqrt()
    } else {
        0.0
    };
    let n = values.len() as f64;
    let pairs = n * (n - 1.0) / 2.0;
    let tied: f64 = ties(values).map(|tied| tied * (tied - 1.0) / 2.0).sum();
    Some(MannKendall {
        s,
        variance,
        z,
        two_sided: (2.0 * normal_sf(z.abs())).min(1.0),
        tau: (tied < pairs).then(|| s / (pairs * (pairs - tied)).sqrt()),
    })
}

fn variance_of_s(values: &[f64]) -> f64 {
    let term = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    (term(values.len() as f64) - ties(values).map(term).sum::<f64>()) / 18.0
}

/// How many values each group of equal ones has, groups of one left out.
fn ties(values: &[f64]) -> impl Iterator<Item = f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let groups: Vec<f64> = sorted
        .chunk_by(|a, b| a == b)
        .filter(|group| group.len() > 1)
        .map(|group| group.len() as f64)
        .collect();
    groups.into_iter()
}

/// Theil and Sen's slope with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    /// The median slope of all pairs, in units of the value for each unit of time.
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

/// The slope of points `(time, value)` with a two-sided interval at `confidence`; none with fewer than two different times, or where a number is not
/// finite.
///
/// Quadratic in the number of points: meant for the few dozen blocks of one bake. *Source*: P. Sen, JASA 63 (1968).
pub fn theil_sen(points: &[(f64, f64)], confidence: f64) -> Option<Slope> {
    let is_finite = points.iter().all(|(time, value)| time.is_finite() && value.is_finite());
    let mut slopes = Vec::new();
    for (at, (time, value)) in points.iter().enumerate() {
        slopes.extend(
            points[at + 1..]
                .iter()
                .filter(|(later, _)| later != time)
                .map(|(later, other)| (other - value) / (later - time)),
        );
    }
    let z = normal_quantile(1.0 - (1.0 - confidence) / 2.0);
    if !is_finite || slopes.is_empty() || z.is_nan() {
        return None;
    }
    slopes.sort_by(f64::total_cmp);
    let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    let (count, spread) = (slopes.len() as f64, z * variance_of_s(&values).max(0.0).sqrt());
    let at = |rank: f64| slopes[(rank.max(0.0) as usize).min(slopes.len() - 1)];
    Some(Slope {
        median: f64::midpoint(slopes[(slopes.len() - 1) / 2], slopes[slopes.len() / 2]),
        low: at(((count - spread) / 2.0).round_ties_even() - 1.0),
        high: at(((count + spread) / 2.0).round_ties_even()),
    })
}

/// The means of blocks of so many neighbouring values; what is left over at the end is no block.
///
/// Averaging takes the memory out of a series: values a minute apart resemble each other, means of ten minutes hardly.
pub fn block_means(values: &[f64], size: usize) -> Vec<f64> {
    values
        .chunks_exact(size.max(1))
        .map(|block| block.iter().sum::<f64>() / block.len() as f64)
        .collect()
}

/// How many values make a block whose mean resembles the next one's by at most `resemblance`, the correlation of the two.
///
/// For a series that remembers a part ρ of its last value, the means of L values are correlated by about ρ / (L (1 − ρ²) − 2ρ). A line that the
/// series follows is no memory and is taken off; ρ, estimated from few values and without that line, is too small by about (2 + 4ρ) / n, and is
/// taken to be larger than found by one standard error, √((1 − ρ²) / n). *Source*: M. Kendall, Biometrika 41 (1954), for the bias.
pub fn independent_after(values: &[f64], resemblance: f64) -> f64 {
    let rest = without_line(values);
    let all: f64 = rest.iter().map(|value| value * value).sum();
    let whole: f64 = values.iter().map(|value| value * value).sum();
    // What is left of a line is rounding, and rounding remembers.
    if all.is_nan() || all <= 1e-20 * whole {
        return 0.0;
    }
    let pairs: f64 = rest.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let found = pairs / all;
    let count = rest.len() as f64;
    let unsure = ((1.0 - found * found).max(0.0) / count).sqrt();
    let memory = (found + (2.0 + 4.0 * found) / count + unsure).clamp(0.0, 0.99);
    memory / (1.0 - memory * memory) * (1.0 / resemblance + 2.0)
}

/// Values less the line of least squares through them.
fn without_line(values: &[f64]) -> Vec<f64> {
    let middle = (values.len() as f64 - 1.0) / 2.0;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let times = || (0..values.len()).map(|at| at as f64 - middle);
    let squares: f64 = times().map(|time| time * time).sum();
    let rise: f64 = times().zip(values).map(|(time, value)| time * (value - mean)).sum();
    let slope = if squares > 0.0 { rise / squares } else { 0.0 };
    times()
        .zip(values)
        .map(|(time, value)| value - mean - slope * time)
        .collect()
}

/// When a rise of `slope` for each unit of time from `now` meets `limit`, in units of time from now: 0 once it is met, none while it does not rise.
pub fn until_exhausted(now: f64, slope: f64, limit: f64) -> Option<f64> {
    if now >= limit {
        return Some(0.0);
    }
    let left = (limit - now) / slope;
    (slope > 0.0 && left.is_finite()).then_some(left)
}

/// The index at which a one-sided CUSUM of standardised values first exceeds `alarm_at`: `S = max(0, S + z − slack)`.
///
/// *Source*: E. Page, Biometrika 41 (1954).
pub fn cusum(standardised: &[f64], slack: f64, alarm_at: f64) -> Option<usize> {
    let mut sum: f64 = 0.0;
    standardised.iter().position(|z| {
        sum = (sum + z - slack).max(0.0);
        sum > alarm_at
    })
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::{Slope, block_means, cusum, independent_after, mann_kendall, theil_sen, until_exhausted};
    use crate::run::statistics::close;

    /// Annual flow of the Nile at Aswan, 1871 to 1970, in 10⁸ m³.
    const NILE: [f64; 100] = [
        1120., 1160., 963., 1210., 1160., 1160., 813., 1230., 1370., 1140., 995., 935., 1110., 994., 1020., 960.,
        1180., 799., 958., 1140., 1100., 1210., 1150., 1250., 1260., 1220., 1030., 1100., 774., 840., 874., 694., 940.,
        833., 701., 916., 692., 1020., 1050., 969., 831., 726., 456., 824., 702., 1120., 1100., 832., 764., 821., 768.,
        845., 864., 862., 698., 845., 744., 796., 1040., 759., 781., 865., 845., 944., 984., 897., 822., 1010., 771.,
        676., 649., 846., 812., 742., 801., 1040., 860., 874., 848., 890., 744., 749., 838., 1050., 918., 986., 797.,
        923., 975., 815., 1020., 906., 901., 1170., 912., 746., 919., 718., 714., 740.,
    ];

    fn indexed(values: &[f64]) -> Vec<(f64, f64)> {
        values
            .iter()
            .enumerate()
            .map(|(at, value)| (at as f64, *value))
            .collect()
    }

    struct Known {
        values: &'static [f64],
        s: f64,
        variance: f64,
        z: f64,
        p: f64,
        slope: (f64, f64, f64),
        tau: Option<f64>,
    }

    #[test]
    fn known_series_have_their_known_trends() {
        let known = [
            Known {
                values: &NILE,
                s: -1387.0,
                variance: 112_728.0,
                z: -4.128_066_5,
                p: 3.658_262_9e-5,
                slope: (-3.627_91, -2.6, -1.428_57),
                tau: Some(-0.280_741),
            },
            Known {
                values: &[512., 514., 513., 517., 519., 518., 523., 525., 527., 526., 531., 533.],
                s: 60.0,
                variance: 212.667,
                z: 4.045_780_3,
                p: 5.214_911_6e-5,
                slope: (1.8, 2.0, 2.0),
                tau: Some(0.909_091),
            },
            Known {
                values: &[512., 509., 514., 511., 513., 510., 512., 515., 508., 511., 514., 510.],
                s: -2.0,
                variance: 208.667,
                z: -0.069_226_673,
                p: 0.944_809_19,
                slope: (-0.5, 0.0, 0.5),
                tau: Some(-0.031_265_3),
            },
            Known {
                values: &[1., 1., 2., 2., 2., 3., 3., 4., 4., 4.],
                s: 37.0,
                variance: 115.667,
                z: 3.347_328_9,
                p: 0.000_815_943_31,
                slope: (0.285_714, 0.375, 0.5),
                tau: Some(0.906_765),
            },
            Known {
                values: &[1.; 8],
                s: 0.0,
                variance: 0.0,
                z: 0.0,
                p: 1.0,
                slope: (0.0, 0.0, 0.0),
                tau: None,
            },
            Known {
                values: &[
                    100., 120., 140., 160., 100., 121., 141., 161., 102., 122., 142., 162., 103., 124., 143., 164.,
                    104., 125., 145., 165.,
                ],
                s: 69.0,
                variance: 949.0,
                z: 2.207_373_4,
                p: 0.027_287_983,
                slope: (0.25, 0.375, 4.2),
                tau: Some(0.364_117),
            },
        ];
        let near = |found: f64, wanted: f64| (found - wanted).abs() <= 3e-6 * wanted.abs().max(1e-9);
        for known in known {
            let found = mann_kendall(known.values).unwrap();
            assert_eq!(found.s, known.s);
            assert!(near(found.variance, known.variance), "{found:?}");
            assert!(close(found.z, known.z) && close(found.two_sided, known.p), "{found:?}");
            assert_eq!(found.tau.is_some(), known.tau.is_some());
            assert!(
                found
                    .tau
                    .zip(known.tau)
                    .is_none_or(|(found, wanted)| near(found, wanted)),
                "{found:?}"
            );
            let Slope { median, low, high } = theil_sen(&indexed(known.values), 0.95).unwrap();
            let (low_wanted, wanted, high_wanted) = known.slope;
            assert!(
                near(low, low_wanted) && near(median, wanted) && near(high, high_wanted),
                "{low} {median} {high}"
            );
        }
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert_eq!(mann_kendall(&[1.0]), None);
        assert_eq!(mann_kendall(&[1.0, f64::NAN]), None);
        assert_eq!(theil_sen(&[(0.0, 1.0)], 0.98), None);
        assert_eq!(theil_sen(&[(0.0, 1.0), (0.0, 2.0)], 0.98), None);
        assert_eq!(theil_sen(&[(0.0, 1.0), (1.0, f64::INFINITY)], 0.98), None);
        assert_eq!(block_means(&[1.0, 3.0, 9.0], 2), [2.0]);
        assert_eq!(block_means(&[1.0], 0), [1.0]);
    }

    #[test]
    fn exhaustion_is_projected_from_the_slope() {
        // 580 MiB and 50 MiB each quarter of an hour towards 1 GiB: a good two hours.
        let hours = until_exhausted(580.0, 200.0, 1024.0).unwrap();
        assert!(close(hours, 2.22));
        assert_eq!(until_exhausted(580.0, 0.0, 1024.0), None);
        assert_eq!(until_exhausted(580.0, -1.0, 1024.0), None);
        assert_eq!(until_exhausted(2000.0, -1.0, 1024.0), Some(0.0));
        assert_eq!(until_exhausted(580.0, f64::MIN_POSITIVE, 1024.0), None);
    }

    #[test]
    fn a_cusum_sees_a_small_shift_that_lasts() {
        assert_eq!(cusum(&[1.0; 30], 0.5, 5.0), Some(10));
        assert_eq!(cusum(&[0.4; 300], 0.5, 5.0), None);
    }

    #[test]
    fn a_series_that_remembers_needs_long_blocks_and_a_ramp_is_no_memory() {
        let remembering = |memory: f64, ramp: f64| -> Vec<f64> {
            let mut rng = StdRng::seed_from_u64(7);
            let mut noise = move || (0..12).map(|_| rng.random_range(-0.5..0.5)).sum::<f64>();
            let mut level = 0.0;
            (0..2_000)
                .map(|at| {
                    level = memory * level + noise() * (1.0_f64 - memory * memory).sqrt();
                    level + ramp * f64::from(at)
                })
                .collect()
        };
        for ramp in [0.0, 5.0] {
            for (memory, least, most) in [(0.0, 0.0, 1.0), (0.6, 6.0, 11.0), (0.9, 30.0, 60.0)] {
                let found = independent_after(&remembering(memory, ramp), 0.15);
                assert!((least..=most).contains(&found), "{memory}, {ramp}: {found}");
            }
        }
        assert_eq!(independent_after(&[7.0; 50], 0.15), 0.0);
        assert_eq!(independent_after(&[], 0.15), 0.0);
    }
}
