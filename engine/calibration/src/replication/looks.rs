//! CAL-4: Spotify's comparison of ways to look often, simulated once more.
//!
//! 500 observations in each arm, N(1, 1) against N(1 + δ, 1), one-sided at 5 %, the variance known.

use std::collections::BTreeMap;

use meridian_engine::run::statistics::normal_quantile;
use meridian_engine::run::statistics::sequential::{gavi_half_width, msprt_half_width};
use meridian_engine::run::statistics::spending::{boundaries, power_spending};

use super::{Cell, Effort, Wanted};
use crate::chance::Chance;

const PER_ARM: usize = 500;
const ALPHA: f64 = 0.05;
const KNOWN_REPLICATIONS: u64 = 100_000;

#[derive(Clone, Copy, Debug)]
enum Way {
    Naive,
    Bonferroni,
    Gavi(f64),
    Msprt(f64),
    Spending(f64),
}

/// What is known of a way: δ, the number of looks, and how often it rejects.
type Known = (f64, usize, f64);

const EVERY: usize = PER_ARM;

fn known() -> [(&'static str, Way, Vec<Known>); 10] {
    let eight = |cells: [f64; 8]| -> Vec<Known> {
        let at = [
            (0.0, 14),
            (0.0, 56),
            (0.0, EVERY),
            (0.1, 14),
            (0.2, 14),
            (0.2, 56),
            (0.2, EVERY),
            (0.3, 14),
        ];
        at.into_iter()
            .zip(cells)
            .map(|((delta, looks), value)| (delta, looks, value))
            .collect()
    };
    let six = |cells: [f64; 6]| -> Vec<Known> {
        let at = [(0.0, 14), (0.0, 56), (0.1, 14), (0.2, 14), (0.2, 56), (0.3, 14)];
        at.into_iter()
            .zip(cells)
            .map(|((delta, looks), value)| (delta, looks, value))
            .collect()
    };
    [
        (
            "naive",
            Way::Naive,
            eight([0.1923, 0.2768, 0.3983, 0.652, 0.965, 0.973, 0.981, 1.0]),
        ),
        (
            "Bonferroni",
            Way::Bonferroni,
            eight([0.0207, 0.0100, 0.0029, 0.222, 0.757, 0.626, 0.401, 0.987]),
        ),
        (
            "GAVI 250",
            Way::Gavi(250.0),
            eight([0.0135, 0.0187, 0.0238, 0.189, 0.723, 0.748, 0.766, 0.983]),
        ),
        (
            "GAVI 500",
            Way::Gavi(500.0),
            eight([0.0106, 0.0144, 0.0178, 0.183, 0.723, 0.746, 0.764, 0.984]),
        ),
        (
            "GAVI 750",
            Way::Gavi(750.0),
            eight([0.0084, 0.0112, 0.0135, 0.169, 0.710, 0.733, 0.750, 0.982]),
        ),
        (
            "mSPRT 1/0.1²",
            Way::Msprt(100.0),
            eight([0.0129, 0.0177, 0.0218, 0.188, 0.725, 0.750, 0.768, 0.984]),
        ),
        (
            "mSPRT 1/0.2²",
            Way::Msprt(25.0),
            eight([0.0140, 0.0217, 0.0300, 0.168, 0.686, 0.715, 0.737, 0.978]),
        ),
        (
            "mSPRT 1/0.3²",
            Way::Msprt(1.0 / 0.09),
            eight([0.0118, 0.0207, 0.0315, 0.143, 0.645, 0.678, 0.704, 0.971]),
        ),
        (
            "spending t²",
            Way::Spending(2.0),
            six([0.0508, 0.0508, 0.444, 0.919, 0.917, 0.999]),
        ),
        (
            "spending t³",
            Way::Spending(3.0),
            six([0.0508, 0.0509, 0.458, 0.927, 0.925, 0.999]),
        ),
    ]
}

pub fn table(effort: Effort) -> Vec<Cell> {
    let replications = effort.of(1_000, KNOWN_REPLICATIONS);
    let ways = known();
    let mut cells = Vec::new();
    // Boundaries are costly to find, and the same for every δ.
    let mut known_edges: BTreeMap<(&str, usize), Vec<(usize, f64)>> = BTreeMap::new();
    for delta in [0.0, 0.1, 0.2, 0.3] {
        // One set of samples for every way and every number of looks.
        let of_delta = ways
            .iter()
            .flat_map(|(name, way, known)| {
                known
                    .iter()
                    .filter(|(at, _, _)| *at == delta)
                    .map(|(_, looks, value)| (*name, *way, *looks, *value))
            })
            .map(|(name, way, looks, value)| {
                let found = known_edges.entry((name, looks)).or_insert_with(|| edges(way, looks));
                (name, looks, value, found.clone())
            })
            .collect::<Vec<_>>();
        let mut rejected = vec![0_u64; of_delta.len()];
        for replication in 0..replications {
            let mut chance = Chance::new(&[401, replication, (delta * 10.0) as u64]);
            let mut mean = Vec::with_capacity(PER_ARM + 1);
            let mut sum = 0.0;
            mean.push(0.0);
            for n in 1..=PER_ARM {
                sum += delta + chance.normal() * std::f64::consts::SQRT_2;
                mean.push(sum / n as f64);
            }
            for (count, (_, _, _, edges)) in rejected.iter_mut().zip(&of_delta) {
                *count += u64::from(edges.iter().any(|(n, edge)| mean[*n] > *edge));
            }
        }
        for ((name, looks, value, _), rejected) in of_delta.into_iter().zip(rejected) {
            cells.push(Cell {
                of: "CAL-4",
                what: format!("{name}, δ {delta}, {looks} looks"),
                found: rejected as f64 / replications as f64,
                wanted: Wanted::Like {
                    value,
                    replications: KNOWN_REPLICATIONS,
                },
                replications,
            });
        }
    }
    cells
}

/// At which sizes one looks, and from which difference on one rejects.
fn edges(way: Way, looks: usize) -> Vec<(usize, f64)> {
    let sizes: Vec<usize> = (1..=looks).map(|look| (look * PER_ARM).div_ceil(looks)).collect();
    let error = |n: usize| (2.0 / n as f64).sqrt();
    let by_z = |z: f64| sizes.iter().map(|n| (*n, z * error(*n))).collect();
    match way {
        Way::Naive => by_z(normal_quantile(1.0 - ALPHA)),
        Way::Bonferroni => by_z(normal_quantile(1.0 - ALPHA / looks as f64)),
        // Twice the level, because only one side rejects.
        Way::Gavi(phi) => sizes
            .iter()
            .map(|n| (*n, gavi_half_width(*n as f64, 1.0, 2.0 * ALPHA, phi)))
            .collect(),
        Way::Msprt(phi) => sizes
            .iter()
            .map(|n| (*n, msprt_half_width(*n as f64, 1.0, 2.0 * ALPHA, phi)))
            .collect(),
        Way::Spending(power) => {
            let information: Vec<f64> = sizes.iter().map(|n| *n as f64).collect();
            let spent: Vec<f64> = information
                .iter()
                .map(|at| power_spending(2.0 * ALPHA, at / PER_ARM as f64, power))
                .collect();
            let bounds = boundaries(&spent, &information).unwrap_or_default();
            sizes.iter().zip(bounds).map(|(n, z)| (*n, z * error(*n))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::replication::{Effort, assert_all_hold};

    #[test]
    fn ways_of_looking_often_reject_as_often_as_known() {
        assert_all_hold(&super::table(Effort::Small));
    }
}
