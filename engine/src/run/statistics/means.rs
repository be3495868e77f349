//! Differences over time, looked at a planned number of times: means of blocks, because neighbouring points resemble each other.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::normal_sf;
use super::spending::{boundaries, power_spending};
use super::trend::block_means;

/// What is planned to be seen, and how often it is looked at meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub struct Looks {
    /// Points of one block; each look sees one more.
    size: usize,
    plan: Rc<Spending>,
}

/// How a chance of a false alarm is spent over equal looks.
#[derive(Clone, Debug, PartialEq)]
struct Spending {
    /// What has been spent up to each look, one-sided.
    spent: Vec<f64>,
    /// Student's bound at each look; none where one block says nothing of its own uncertainty.
    bounds: Vec<Option<f64>>,
}

/// What one look at the differences shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Counts from 1.
    pub number: usize,
    pub blocks: usize,
    pub mean: f64,
    /// The mean in units of its own uncertainty.
    pub t: f64,
    /// Beyond this `t` the differences are no chance.
    pub bound: f64,
    /// What has been spent up to this look.
    pub spent: f64,
    /// How far the true mean may be from the one found.
    pub half_width: f64,
}

impl Looks {
    /// So many points, when everything has been seen, in so many looks; `alpha` is the chance of a false alarm over all of them, one-sided.
    ///
    /// The chance is spent with the square of what has been seen (Kim and DeMets 1987), and the bounds are Student's for so many blocks.
    /// None where there are more looks than points, or none.
    pub fn new(points: usize, looks: usize, alpha: f64) -> Option<Looks> {
        let size = points.checked_div(looks).filter(|size| *size > 0)?;
        Some(Looks {
            size,
            plan: spending(looks, alpha)?,
        })
    }

    pub fn count(&self) -> usize {
        self.plan.spent.len()
    }

    /// The newest look that these differences are enough for: those beyond it wait for the next. None before the second block is full, or
    /// where a number is not finite.
    pub fn newest(&self, differences: &[f64]) -> Option<Look> {
        let number = (differences.len() / self.size).min(self.count());
        let seen = differences.get(..number * self.size)?;
        if number < 2 || seen.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let bound = (*self.plan.bounds.get(number - 1)?)?;
        let blocks = block_means(seen, self.size);
        let count = number as f64;
        let mean = blocks.iter().sum::<f64>() / count;
        let variance = blocks.iter().map(|block| (block - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let error = (variance / count).sqrt();
        // Blocks that are all alike say what they say without doubt.
        let t = match mean.partial_cmp(&0.0)? {
            std::cmp::Ordering::Equal => 0.0,
            _ if error > 0.0 => mean / error,
            _ => mean.signum() * f64::INFINITY,
        };
        Some(Look {
            number,
            blocks: blocks.len(),
            mean,
            t,
            bound,
            spent: *self.plan.spent.get(number - 1)?,
            half_width: bound * error,
        })
    }
}

/// Designs that are remembered; a workflow has few.
const DESIGNS_MAX: usize = 64;

thread_local! {
    /// Finding bounds costs tens of milliseconds, a gate asks at every reading, and the answer is always the same.
    static KNOWN: RefCell<BTreeMap<(usize, u64), Rc<Spending>>> = const { RefCell::new(BTreeMap::new()) };
}

fn spending(looks: usize, alpha: f64) -> Option<Rc<Spending>> {
    let design = (looks, alpha.to_bits());
    if let Some(known) = KNOWN.with_borrow(|known| known.get(&design).cloned()) {
        return Some(known);
    }
    let found = Rc::new(Spending::new(looks, alpha)?);
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= DESIGNS_MAX {
            known.clear();
        }
        known.insert(design, Rc::clone(&found));
    });
    Some(found)
}

impl Spending {
    fn new(looks: usize, alpha: f64) -> Option<Spending> {
        let fractions: Vec<f64> = (1..=looks).map(|look| look as f64 / looks as f64).collect();
        let spent: Vec<f64> = fractions.iter().map(|part| power_spending(alpha, *part, 2.0)).collect();
        // Two-sided boundaries at twice the level are one-sided ones at the level.
        let doubled: Vec<f64> = spent.iter().map(|spent| 2.0 * spent).collect();
        let student = |(index, z): (usize, &f64)| {
            let student = StudentsT::new(0.0, 1.0, index as f64).ok()?;
            Some(student.inverse_cdf(1.0 - normal_sf(*z).max(1e-12)))
        };
        let bounds = boundaries(&doubled, &fractions)?
            .iter()
            .enumerate()
            .map(student)
            .collect();
        Some(Spending { spent, bounds })
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::Looks;

    fn plan() -> Looks {
        Looks::new(60, 6, 0.01).unwrap()
    }

    /// A series that remembers: each value is `memory` of the one before, and noise.
    fn remembering(seed: u64, memory: f64, shift: f64) -> Vec<f64> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut value = 0.0;
        let mut noise = || (0..12).map(|_| rng.random_range(-0.5..0.5)).sum::<f64>();
        let mut series = Vec::new();
        for _ in 0..90 {
            value = memory * value + noise() * (1.0 - memory * memory).sqrt();
            series.push(value + shift);
        }
        series.split_off(30)
    }

    fn alarms(memory: f64, shift: f64, runs: u64) -> f64 {
        let plan = plan();
        let alarms = (0..runs).filter(|seed| {
            let series = remembering(*seed, memory, shift);
            (1..=6).any(|look| {
                plan.newest(&series[..look * 10])
                    .is_some_and(|look| look.t > look.bound)
            })
        });
        alarms.count() as f64 / runs as f64
    }

    #[test]
    fn series_that_remember_give_few_false_alarms() {
        // CAL-2, a small replication: 2 % and 4 % with three standard errors.
        for (memory, most) in [(0.0, 0.01), (0.6, 0.02), (0.9, 0.04)] {
            let found = alarms(memory, 0.0, 1_000);
            let allowed = most + 3.0 * (most * (1.0 - most) / 1_000.0_f64).sqrt();
            assert!(found <= allowed, "{memory}: {found}");
        }
    }

    #[test]
    fn a_shift_is_found() {
        assert!(alarms(0.0, 1.5, 200) > 0.95);
        assert!(alarms(0.6, 3.0, 200) > 0.9);
    }

    #[test]
    fn looks_come_one_by_one_and_what_lies_beyond_waits() {
        let series: Vec<f64> = (0..60).map(|at| f64::from(at % 7)).collect();
        let plan = plan();
        assert_eq!(plan.newest(&series[..19]), None);
        assert_eq!(plan.newest(&series[..20]), plan.newest(&series[..29]));
        assert_eq!(plan.newest(&series).unwrap().number, 6);
        let spent = plan.newest(&series).unwrap().spent;
        assert!((spent - 0.01).abs() < 1e-9, "{spent}");
        assert_eq!(plan.newest(&[f64::NAN; 60]), None);
        assert_eq!(plan.newest(&[0.0; 60]).unwrap().t, 0.0);
        assert_eq!(plan.newest(&[1.0; 60]).unwrap().t, f64::INFINITY);
        assert_eq!((Looks::new(5, 6, 0.01), Looks::new(5, 0, 0.01)), (None, None));
    }
}
