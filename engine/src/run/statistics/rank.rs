//! Two samples compared by ranks: no assumption about the shape of their distributions, and no unit.

use super::{normal_quantile, normal_sf};

/// The largest product of sample sizes for which the exact distribution is counted out.
const EXACT_MAX: usize = 2_500;

/// The Mann–Whitney comparison of two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MannWhitney {
    /// How often a value of the first sample exceeds one of the second; ties count half.
    pub u: f64,
    /// Two-sided p-value: normal approximation, corrected for ties and continuity.
    pub two_sided: f64,
    /// For "the first sample is larger", by the same approximation.
    pub greater: f64,
    /// For "the first sample is smaller".
    pub less: f64,
    /// Vargha and Delaney's A: the probability that a value of the first sample exceeds one of the second, ties counting half.
    pub a12: f64,
}

/// Compares two samples of finite numbers; none where one of them is empty or holds something else.
///
/// *Source*: H. Mann, D. Whitney, Annals of Mathematical Statistics 18 (1947).
pub fn mann_whitney(x: &[f64], y: &[f64]) -> Option<MannWhitney> {
    let ranked = Ranked::new(x, y)?;
    let (n, m) = (x.len() as f64, y.len() as f64);
    let u = ranked.sum_of_first - n * (n + 1.0) / 2.0;
    let mean = n * m / 2.0;
    let total = n + m;
    let variance = n * m / 12.0 * ((total + 1.0) - ranked.ties / (total * (total - 1.0)));
    let tail = |statistic: f64| {
        if variance > 0.0 {
            normal_sf((statistic - mean - 0.5) / variance.sqrt())
        } else {
            // Every value is the same: nothing speaks against equality.
            1.0
        }
    };
    let larger = u.max(n * m - u);
    Some(MannWhitney {
        u,
        two_sided: (2.0 * tail(larger)).min(1.0),
        greater: tail(u),
        less: tail(n * m - u),
        a12: u / (n * m),
    })
}

/// The exact two-sided and "greater" p-values; none where values are tied or the samples are too large to be counted out.
pub fn mann_whitney_exact(x: &[f64], y: &[f64]) -> Option<(f64, f64)> {
    let ranked = Ranked::new(x, y)?;
    let (n, m) = (x.len(), y.len());
    if ranked.ties > 0.0 || n * m > EXACT_MAX {
        return None;
    }
    let ways = ways(n, m);
    let total: f64 = ways.iter().sum();
    let u = ranked.sum_of_first - (n * (n + 1)) as f64 / 2.0;
    let at_least = |u: f64| ways.iter().skip(u.round() as usize).sum::<f64>() / total;
    let greater = at_least(u);
    let larger = u.max((n * m) as f64 - u);
    Some(((2.0 * at_least(larger)).min(1.0), greater))
}

/// In how many orders of the values each U comes about: the coefficients of a Gaussian binomial.
fn ways(n: usize, m: usize) -> Vec<f64> {
    let size = n * m + 1;
    let mut ways = vec![0.0; size];
    ways[0] = 1.0;
    for i in 1..=n {
        // Times (1 - q^(m+i)), then divided by (1 - q^i); both exactly, in whole numbers.
        for at in (m + i..size).rev() {
            ways[at] -= ways[at - m - i];
        }
        for at in i..size {
            ways[at] += ways[at - i];
        }
    }
    ways
}

/// Hodges and Lehmann's estimate of the shift: the exact median of all differences between the samples.
pub fn shift(x: &[f64], y: &[f64]) -> Option<f64> {
    let pairs = Pairs::new(x, y)?;
    let count = pairs.count();
    let low = pairs.smallest(count.div_ceil(2));
    let high = pairs.smallest(count / 2 + 1);
    Some(f64::midpoint(low, high))
}

/// A confidence interval of the shift by the order statistics of the differences, at `confidence` between 0 and 1.
///
/// Its ends are differences that were seen, so it scales exactly with the unit. *Source*: P. Bauer, JASA 67 (1972), normal approximation.
pub fn shift_interval(x: &[f64], y: &[f64], confidence: f64) -> Option<(f64, f64)> {
    let pairs = Pairs::new(x, y)?;
    let (n, m) = (x.len() as f64, y.len() as f64);
    let z = normal_quantile(1.0 - (1.0 - confidence) / 2.0);
    if z.is_nan() {
        return None;
    }
    let from_end = n * m / 2.0 - z * (n * m * (n + m + 1.0) / 12.0).sqrt();
    if from_end < 1.0 {
        return Some((f64::NEG_INFINITY, f64::INFINITY));
    }
    let rank = from_end.floor() as usize;
    Some((pairs.smallest(rank), pairs.smallest(pairs.count() + 1 - rank)))
}

/// All differences between two sorted samples, without writing them down.
struct Pairs {
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Pairs {
    fn new(x: &[f64], y: &[f64]) -> Option<Pairs> {
        let sorted = |sample: &[f64]| {
            let mut sorted = sample.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted
        };
        let is_usable = |sample: &[f64]| !sample.is_empty() && sample.iter().all(|value| value.is_finite());
        (is_usable(x) && is_usable(y)).then(|| Pairs {
            x: sorted(x),
            y: sorted(y),
        })
    }

    fn count(&self) -> usize {
        self.x.len() * self.y.len()
    }

    /// The `rank`-th smallest difference, counted from 1: the smallest number that so many differences do not exceed, found by halving the
    /// line of all floating-point numbers. Exact, because a difference grows with the one value and falls with the other.
    fn smallest(&self, rank: usize) -> f64 {
        let (mut low, mut high) = (key(f64::MIN), key(f64::MAX));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.at_most(value(middle)) >= rank {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        // Zero has two names; nobody wants to read the second.
        value(low) + 0.0
    }

    /// How many differences are at most `limit`.
    fn at_most(&self, limit: f64) -> usize {
        let mut first_fitting = 0;
        let mut count = 0;
        for x in &self.x {
            while first_fitting < self.y.len() && x - self.y[first_fitting] > limit {
                first_fitting += 1;
            }
            count += self.y.len() - first_fitting;
        }
        count
    }
}

/// Floating-point numbers as whole numbers in the same order.
fn key(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn value(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
}

/// The rank sum of the first sample, and the ties as Σ(t³ − t).
struct Ranked {
    sum_of_first: f64,
    ties: f64,
}

impl Ranked {
    fn new(x: &[f64], y: &[f64]) -> Option<Ranked> {
        let first = x.iter().map(|value| (*value, true));
        let mut all: Vec<(f64, bool)> = first.chain(y.iter().map(|value| (*value, false))).collect();
        if x.is_empty() || y.is_empty() || all.iter().any(|(value, _)| !value.is_finite()) {
            return None;
        }
        // Both zeros are one value, and compare as one below.
        all.sort_by(|a, b| (a.0 + 0.0).total_cmp(&(b.0 + 0.0)));
        let (mut sum_of_first, mut ties, mut start) = (0.0, 0.0, 0);
        while start < all.len() {
            let mut end = start + 1;
            while end < all.len() && all[end].0 == all[start].0 {
                end += 1;
            }
            let tied = (end - start) as f64;
            let rank = (start + end + 1) as f64 / 2.0;
            sum_of_first += rank * all[start..end].iter().filter(|(_, first)| *first).count() as f64;
            ties += tied.powi(3) - tied;
            start = end;
        }
        Some(Ranked { sum_of_first, ties })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::{mann_whitney, mann_whitney_exact, shift, shift_interval};
    use crate::run::statistics::close;

    struct Known {
        x: &'static [f64],
        y: &'static [f64],
        u: f64,
        two_sided: f64,
        greater: f64,
        exact: Option<f64>,
        shift: f64,
        a12: f64,
    }

    /// Reference values computed with SciPy; D is SciPy's own documented example, E is R's of `wilcox.test`.
    const KNOWN: [Known; 6] = [
        Known {
            x: &[20.0, 22.0, 21.0, 25.0, 30.0],
            y: &[1.0, 2.2, 1.1, 2.5, 3.0],
            u: 25.0,
            two_sided: 0.012_185_780_36,
            greater: 0.006_092_890_178,
            exact: Some(0.007_936_507_937),
            shift: 20.0,
            a12: 1.0,
        },
        Known {
            x: &[1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 4.0, 5.0],
            y: &[2.0, 2.0, 3.0, 3.0, 5.0, 6.0, 6.0, 7.0],
            u: 21.5,
            two_sided: 0.286_422_022_8,
            greater: 0.879_522_665_6,
            exact: None,
            shift: -1.0,
            a12: 0.335_937_5,
        },
        Known {
            x: &[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 5.0, 8.0, 0.0],
            y: &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0],
            u: 68.0,
            two_sided: 0.118_682_392_6,
            greater: 0.059_341_196_3,
            exact: None,
            shift: 0.0,
            a12: 0.68,
        },
        Known {
            x: &[19.0, 22.0, 16.0, 29.0, 24.0],
            y: &[20.0, 11.0, 17.0, 12.0],
            u: 17.0,
            two_sided: 0.111_346_886_5,
            greater: 0.055_673_443_27,
            exact: Some(0.111_111_111_1),
            shift: 7.0,
            a12: 0.85,
        },
        Known {
            x: &[0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46],
            y: &[1.15, 0.88, 0.90, 0.74, 1.21],
            u: 35.0,
            two_sided: 0.244_623_605_1,
            greater: 0.122_311_802_6,
            exact: Some(0.254_412_254_4),
            shift: 0.305,
            a12: 0.7,
        },
        Known {
            x: &[1.0, 1.0, 1.0, 1.0, 10.0],
            y: &[1.0, 1.0, 1.0, 1.0, 1.0],
            u: 15.0,
            two_sided: 0.423_710_797_2,
            greater: 0.211_855_398_6,
            exact: None,
            shift: 0.0,
            a12: 0.6,
        },
    ];

    #[test]
    fn known_comparisons_come_out_as_known() {
        for known in &KNOWN {
            let found = mann_whitney(known.x, known.y).unwrap();
            assert!(close(found.u, known.u), "{found:?}");
            assert!(close(found.two_sided, known.two_sided), "{found:?}");
            assert!(close(found.greater, known.greater), "{found:?}");
            assert!(close(found.a12, known.a12), "{found:?}");
            assert!(close(shift(known.x, known.y).unwrap(), known.shift));
            let exact = mann_whitney_exact(known.x, known.y).map(|(two_sided, _)| two_sided);
            assert_eq!(exact.is_some(), known.exact.is_some());
            assert!(
                exact
                    .zip(known.exact)
                    .is_none_or(|(found, wanted)| close(found, wanted))
            );
        }
        let (_, greater) = mann_whitney_exact(KNOWN[4].x, KNOWN[4].y).unwrap();
        assert!(close(greater, 0.127_206_127_2));
    }

    /// Values that stand so many times.
    fn times(counted: &[(f64, usize)]) -> Vec<f64> {
        counted
            .iter()
            .flat_map(|(value, count)| std::iter::repeat_n(*value, *count))
            .collect()
    }

    #[test]
    fn heavy_ties_leave_an_exact_shift() {
        let canary = times(&[
            (1.5, 9),
            (2.0, 16),
            (2.5, 22),
            (3.0, 17),
            (3.5, 9),
            (4.0, 5),
            (4.5, 1),
            (5.0, 3),
            (5.5, 1),
            (6.0, 2),
            (6.5, 2),
            (7.0, 1),
            (7.5, 1),
            (16.5, 1),
        ]);
        let baseline = times(&[
            (1.5, 2),
            (2.0, 16),
            (2.5, 18),
            (3.0, 16),
            (3.5, 10),
            (4.0, 8),
            (4.5, 4),
            (5.0, 6),
            (5.5, 2),
            (6.0, 5),
            (8.0, 1),
            (15.5, 1),
            (54.5, 1),
        ]);
        let found = mann_whitney(&canary, &baseline).unwrap();
        assert!(close(found.u, 3344.0));
        assert!(close(found.two_sided, 0.040_972_235), "{found:?}");
        assert!(close(found.less, 0.020_486_118), "{found:?}");
        assert_eq!(shift(&canary, &baseline), Some(-0.5));

        let canary = times(&[
            (0.5, 20),
            (1.0, 41),
            (1.5, 67),
            (2.0, 37),
            (2.5, 3),
            (3.0, 2),
            (3.5, 3),
            (4.0, 1),
            (5.0, 1),
            (5.5, 3),
            (8.5, 1),
            (19.0, 1),
        ]);
        let baseline = times(&[
            (0.0, 1),
            (0.5, 7),
            (1.0, 32),
            (1.5, 70),
            (2.0, 33),
            (2.5, 22),
            (3.0, 6),
            (3.5, 2),
            (4.0, 3),
            (4.5, 1),
            (5.5, 1),
            (7.0, 1),
            (7.5, 1),
        ]);
        let found = mann_whitney(&canary, &baseline).unwrap();
        assert!(
            close(found.u, 13_337.5) && close(found.two_sided, 0.002_624_852_8),
            "{found:?}"
        );
        assert_eq!(shift(&canary, &baseline), Some(0.0));
    }

    #[test]
    fn what_cannot_be_compared_gives_nothing() {
        for (x, y) in [
            (&[][..], &[1.0][..]),
            (&[1.0], &[]),
            (&[f64::NAN], &[1.0]),
            (&[1.0], &[f64::INFINITY]),
        ] {
            assert_eq!(mann_whitney(x, y), None);
            assert_eq!(mann_whitney_exact(x, y), None);
            assert_eq!(shift(x, y), None);
            assert_eq!(shift_interval(x, y, 0.98), None);
        }
        // One value each: any shift is possible.
        assert_eq!(
            shift_interval(&[1.0], &[2.0], 0.98),
            Some((f64::NEG_INFINITY, f64::INFINITY))
        );
    }

    proptest! {
        #[test]
        fn the_median_of_differences_is_the_one_that_writing_them_down_gives(
            x in prop::collection::vec(-50i32..50, 1..12),
            y in prop::collection::vec(-50i32..50, 1..12),
        ) {
            let (x, y): (Vec<f64>, Vec<f64>) = (x.into_iter().map(f64::from).collect(), y.into_iter().map(f64::from).collect());
            let mut all: Vec<f64> = x.iter().flat_map(|x| y.iter().map(move |y| x - y)).collect();
            all.sort_by(f64::total_cmp);
            let middle = f64::midpoint(all[(all.len() - 1) / 2], all[all.len() / 2]);
            prop_assert_eq!(shift(&x, &y).unwrap(), middle);
        }

        #[test]
        fn a_change_of_unit_changes_no_verdict(
            x in prop::collection::vec(0u32..1000, 2..30),
            y in prop::collection::vec(0u32..1000, 2..30),
            power in -9i32..9,
        ) {
            let scale = 2f64.powi(power * 3);
            let (x, y): (Vec<f64>, Vec<f64>) = (x.into_iter().map(f64::from).collect(), y.into_iter().map(f64::from).collect());
            let scaled = |sample: &[f64]| sample.iter().map(|value| value * scale).collect::<Vec<f64>>();
            prop_assert_eq!(mann_whitney(&x, &y), mann_whitney(&scaled(&x), &scaled(&y)));
            let (low, high) = shift_interval(&x, &y, 0.9).unwrap();
            prop_assert_eq!(shift_interval(&scaled(&x), &scaled(&y), 0.9), Some((low * scale, high * scale)));
        }

        #[test]
        fn swapped_arms_swap_the_answer(
            x in prop::collection::vec(-100i32..100, 1..20),
            y in prop::collection::vec(-100i32..100, 1..20),
        ) {
            let (x, y): (Vec<f64>, Vec<f64>) = (x.into_iter().map(f64::from).collect(), y.into_iter().map(f64::from).collect());
            let (one, other) = (mann_whitney(&x, &y).unwrap(), mann_whitney(&y, &x).unwrap());
            prop_assert_eq!(one.greater, other.less);
            prop_assert_eq!(one.two_sided, other.two_sided);
            prop_assert!((one.a12 + other.a12 - 1.0).abs() < 1e-12);
            prop_assert_eq!(shift(&x, &y).unwrap(), -shift(&y, &x).unwrap() + 0.0);
        }
    }
}
