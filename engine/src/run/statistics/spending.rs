//! Looking a planned number of times: how the chance of a false alarm is spent over the looks.

use super::{normal_cdf, normal_sf};

/// Points at which a density is kept between two looks; Simpson's rule on them is exact to about 1e-9.
const POINTS: usize = 401;
/// No boundary lies farther out: beyond it nothing is left to spend.
const FARTHEST: f64 = 12.0;

/// The probability that a standardised statistic first leaves `±bounds[k]` at look `k` when there is no difference.
///
/// `information` is the amount of evidence at each look, rising, in any unit. *Source*: P. Armitage, C. McPherson, B. Rowe, JRSS A 132 (1969).
pub fn crossings(bounds: &[f64], information: &[f64]) -> Vec<f64> {
    let mut walk = Walk::new(information.first().copied().unwrap_or(1.0));
    let mut crossed = Vec::with_capacity(bounds.len());
    for (look, (bound, at)) in bounds.iter().zip(information).enumerate() {
        crossed.push(if look == 0 {
            2.0 * normal_sf(*bound)
        } else {
            walk.outside(*bound, *at)
        });
        walk.step(*bound, *at);
    }
    crossed
}

/// The boundaries that spend `spent[k]` in all by look `k` (two-sided, rising towards the full level).
///
/// None where what is spent falls, exceeds 1, or information does not rise. *Source*: K. Lan, D. DeMets, Biometrika 70 (1983).
pub fn boundaries(spent: &[f64], information: &[f64]) -> Option<Vec<f64>> {
    let rises = |values: &[f64]| values.windows(2).all(|pair| pair[0] < pair[1]);
    let is_sound = spent.len() == information.len()
        && rises(information)
        && information.first().is_none_or(|first| *first > 0.0)
        && spent.windows(2).all(|pair| pair[0] <= pair[1])
        && spent.iter().all(|spent| (0.0..=1.0).contains(spent));
    if !is_sound {
        return None;
    }
    let mut walk = Walk::new(*information.first()?);
    let mut bounds = Vec::with_capacity(spent.len());
    let mut before = 0.0;
    for (look, (spent, at)) in spent.iter().zip(information).enumerate() {
        let due = spent - before;
        let leaves = |bound: f64| {
            if look == 0 {
                2.0 * normal_sf(bound)
            } else {
                walk.outside(bound, *at)
            }
        };
        let (mut low, mut high) = (0.0, FARTHEST);
        for _ in 0..80 {
            let middle = f64::midpoint(low, high);
            if leaves(middle) > due {
                low = middle;
            } else {
                high = middle;
            }
        }
        walk.step(high, *at);
        bounds.push(high);
        before = *spent;
    }
    Some(bounds)
}

/// What `alpha` allows to have been spent when a fraction of the planned evidence is in: `alpha × fraction^power` (Kim and DeMets 1987).
pub fn power_spending(alpha: f64, fraction: f64, power: f64) -> f64 {
    alpha * fraction.clamp(0.0, 1.0).powf(power)
}

/// The part of the statistic's distribution that has stayed inside so far, as a density over the score (statistic × √information).
struct Walk {
    scores: Vec<f64>,
    density: Vec<f64>,
    at: f64,
}

impl Walk {
    fn new(first: f64) -> Walk {
        Walk {
            scores: Vec::new(),
            density: Vec::new(),
            at: first,
        }
    }

    /// The probability of being outside `±bound` at information `at`, having stayed inside before.
    fn outside(&self, bound: f64, at: f64) -> f64 {
        let edge = bound * at.sqrt();
        let spread = (at - self.at).sqrt();
        self.integral(|score| normal_sf((edge - score) / spread) + normal_cdf((-edge - score) / spread))
    }

    /// Goes on to information `at`, keeping what stays inside `±bound`.
    fn step(&mut self, bound: f64, at: f64) {
        let edge = bound * at.sqrt();
        let scores: Vec<f64> = (0..POINTS)
            .map(|point| edge * (2.0 * point as f64 / (POINTS - 1) as f64 - 1.0))
            .collect();
        let density = scores.iter().map(|to| {
            if self.scores.is_empty() {
                return bell(to / at.sqrt()) / at.sqrt();
            }
            let spread = (at - self.at).sqrt();
            self.integral(|from| bell((to - from) / spread) / spread)
        });
        self.density = density.collect();
        self.scores = scores;
        self.at = at;
    }

    /// Simpson's rule over what has stayed inside.
    fn integral(&self, of: impl Fn(f64) -> f64) -> f64 {
        let Some((first, last)) = self.scores.first().zip(self.scores.last()) else {
            return 0.0;
        };
        let width = (last - first) / (self.scores.len() - 1) as f64;
        let terms = self
            .scores
            .iter()
            .zip(&self.density)
            .enumerate()
            .map(|(point, (score, density))| {
                let weight = match point {
                    0 => 1.0,
                    _ if point == POINTS - 1 => 1.0,
                    _ if point % 2 == 1 => 4.0,
                    _ => 2.0,
                };
                weight * density * of(*score)
            });
        terms.sum::<f64>() * width / 3.0
    }
}

fn bell(z: f64) -> f64 {
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::{boundaries, crossings, power_spending};

    fn even(looks: usize) -> Vec<f64> {
        (1..=looks).map(|look| look as f64).collect()
    }

    #[test]
    fn naive_peeking_costs_what_is_known() {
        for (looks, wanted) in [
            (1, 0.0500),
            (2, 0.0831),
            (5, 0.1417),
            (10, 0.1934),
            (20, 0.2479),
            (50, 0.3205),
        ] {
            let found: f64 = crossings(&vec![1.959_964; looks], &even(looks)).iter().sum();
            assert!((found - wanted).abs() < 1e-4, "{looks} looks: {found}");
        }
    }

    #[test]
    fn published_boundaries_spend_five_percent() {
        let pocock = [(2, 2.1783), (3, 2.2895), (4, 2.3613), (5, 2.4132), (10, 2.5550)];
        for (looks, bound) in pocock {
            let spent: f64 = crossings(&vec![bound; looks], &even(looks)).iter().sum();
            assert!((spent - 0.05).abs() < 2e-5, "Pocock {looks}: {spent}");
        }
        let fleming: [&[f64]; 3] = [
            &[3.4711, 2.4544, 2.0040],
            &[4.0486, 2.8628, 2.3375, 2.0243],
            &[4.5617, 3.2256, 2.6337, 2.2809, 2.0401],
        ];
        for bounds in fleming {
            let spent: f64 = crossings(bounds, &even(bounds.len())).iter().sum();
            assert!((spent - 0.05).abs() < 2e-5, "{bounds:?}: {spent}");
        }
    }

    #[test]
    fn boundaries_spend_what_they_are_given_however_the_looks_lie() {
        let information = [3.0, 5.0, 11.0, 20.0];
        let spent: Vec<f64> = information
            .iter()
            .map(|at| power_spending(0.01, at / 20.0, 2.0))
            .collect();
        let bounds = boundaries(&spent, &information).unwrap();
        let mut total = 0.0;
        for (crossed, spent) in crossings(&bounds, &information).iter().zip(&spent) {
            total += crossed;
            assert!((total - spent).abs() < 1e-8, "{total} is not {spent}");
        }
        assert!(bounds.windows(2).all(|pair| pair[0] > pair[1]), "{bounds:?}");
    }

    #[test]
    fn what_cannot_be_spent_gives_none() {
        assert_eq!(boundaries(&[0.02, 0.01], &[1.0, 2.0]), None);
        assert_eq!(boundaries(&[0.01, 0.02], &[2.0, 1.0]), None);
        assert_eq!(boundaries(&[0.01], &[0.0]), None);
        assert_eq!(boundaries(&[f64::NAN], &[1.0]), None);
    }
}
