//! CAL-2 and CAL-9: gauges that remember, which fool a test for independent values.

use meridian_engine::run::statistics::means::Looks;
use meridian_engine::run::statistics::rank::mann_whitney;
use meridian_engine::run::statistics::trend::{block_means, mann_kendall, theil_sen};

use super::{Cell, Effort, Wanted, part};
use crate::chance::Chance;

const LOOKS: usize = 6;
const POINTS_A_LOOK: usize = 60;
const ALPHA: f64 = 0.01;

/// Two equal gauges, six looks an hour apart: ours, and Kayenta's way at three.
pub fn levels(effort: Effort) -> Vec<Cell> {
    let mut cells = Vec::new();
    let replications = effort.of(1_000, 20_000);
    for (memory, most, kayenta) in [(0.6, 0.02, 0.436), (0.9, 0.04, 0.872)] {
        let found = part(replications, |replication| is_called_different(memory, replication));
        cells.push(Cell {
            of: "CAL-2",
            what: format!("equal gauges, ρ {memory}, {LOOKS} looks"),
            found,
            wanted: Wanted::AtMost(most),
            replications,
        });
        let found = part(replications, |replication| {
            is_called_different_by_ranks(memory, replication)
        });
        cells.push(Cell {
            of: "CAL-2",
            what: format!("the same by growing rank tests at 98 %, 3 looks, ρ {memory}"),
            found,
            wanted: Wanted::Like {
                value: kayenta,
                replications: 20_000,
            },
            replications,
        });
    }
    cells
}

/// A series that remembers, of spread 1.
fn series(length: usize, memory: f64, chance: &mut Chance) -> Vec<f64> {
    let mut level = chance.normal();
    let step = (1.0 - memory * memory).sqrt();
    let values = (0..length).map(|_| {
        let now = level;
        level = memory * level + step * chance.normal();
        now
    });
    values.collect()
}

fn is_called_different(memory: f64, replication: u64) -> bool {
    let mut chance = Chance::new(&[201, replication, (memory * 10.0) as u64]);
    let all = LOOKS * POINTS_A_LOOK;
    let candidate = series(all, memory, &mut chance);
    let baseline = series(all, memory, &mut chance);
    let difference: Vec<f64> = candidate
        .iter()
        .zip(&baseline)
        .map(|(one, other)| one - other)
        .collect();
    let swapped: Vec<f64> = difference.iter().map(|value| -value).collect();
    // The plan of looks that a `compare` gate of courses makes; each way gets half of the chance.
    let looks = looks();
    (1..=LOOKS).any(|look| {
        let points = look * POINTS_A_LOOK;
        [&difference, &swapped]
            .into_iter()
            .filter_map(|side| looks.newest(&side[..points]))
            .any(|look| look.t > look.bound)
    })
}

/// Boundaries are costly, and all replications have the same.
fn looks() -> std::rc::Rc<Looks> {
    thread_local! {
        static KNOWN: std::rc::Rc<Looks> =
            std::rc::Rc::new(Looks::new(LOOKS * POINTS_A_LOOK, LOOKS, ALPHA / 2.0).expect("a plan of some looks"));
    }
    KNOWN.with(std::rc::Rc::clone)
}

fn is_called_different_by_ranks(memory: f64, replication: u64) -> bool {
    let mut chance = Chance::new(&[202, replication, (memory * 10.0) as u64]);
    let candidate = series(3 * POINTS_A_LOOK, memory, &mut chance);
    let baseline = series(3 * POINTS_A_LOOK, memory, &mut chance);
    (1..=3).any(|look| {
        let points = look * POINTS_A_LOOK;
        mann_whitney(&candidate[..points], &baseline[..points]).is_some_and(|found| found.two_sided <= 0.02)
    })
}

const LEAKS: [f64; 4] = [0.0, 0.25, 0.5, 1.0];
/// By memory of the noise: what Mann–Kendall finds on minutes and on blocks, and Theil–Sen above 0.1, in 1,500 replications.
const KNOWN: [(f64, [[f64; 4]; 3]); 3] = [
    (
        0.0,
        [[0.013, 1.0, 1.0, 1.0], [0.005, 0.994, 1.0, 1.0], [0.0, 0.747, 1.0, 1.0]],
    ),
    (
        0.6,
        [
            [0.132, 0.981, 1.0, 1.0],
            [0.015, 0.666, 0.997, 1.0],
            [0.0, 0.273, 0.967, 1.0],
        ],
    ),
    (
        0.9,
        [
            [0.281, 0.867, 0.996, 1.0],
            [0.044, 0.415, 0.889, 1.0],
            [0.011, 0.209, 0.755, 0.998],
        ],
    ),
];

/// 120 minutes of candidate less baseline, each with a noise of 10 MiB, one-sided at 1 %.
pub fn leaks(effort: Effort) -> Vec<Cell> {
    let replications = effort.of(200, 20_000);
    let mut cells = Vec::new();
    for (memory, known) in KNOWN {
        for (at, leak) in LEAKS.into_iter().enumerate() {
            let mut found = [0_u64; 3];
            for replication in 0..replications {
                let mut chance = Chance::new(&[901, replication, (memory * 10.0) as u64, at as u64]);
                let [candidate, baseline] = [0, 1].map(|_| series(120, memory, &mut chance));
                let values: Vec<f64> = (0..120)
                    .map(|minute| leak * minute as f64 + 10.0 * (candidate[minute] - baseline[minute]))
                    .collect();
                let blocks = block_means(&values, 10);
                let points: Vec<(f64, f64)> = blocks
                    .iter()
                    .enumerate()
                    .map(|(block, mean)| (10.0 * block as f64, *mean))
                    .collect();
                let rises = |values: &[f64]| mann_kendall(values).is_some_and(|found| found.z > 2.326_348);
                found[0] += u64::from(rises(&values));
                found[1] += u64::from(rises(&blocks));
                found[2] += u64::from(theil_sen(&points, 0.98).is_some_and(|slope| slope.low > 0.1));
            }
            let names = [
                "Mann–Kendall on minutes",
                "Mann–Kendall on blocks",
                "Theil–Sen low > 0.1",
            ];
            for (way, name) in names.into_iter().enumerate() {
                let rate = found[way] as f64 / replications as f64;
                let what = format!("{name}, ρ {memory}, {leak} MiB/min");
                let value = known[way][at];
                let wanted = Wanted::Like {
                    value,
                    replications: 1_500,
                };
                cells.push(cell(what, rate, wanted, replications));
            }
            // The criteria themselves, for the rule that is used.
            let rate = found[2] as f64 / replications as f64;
            let wanted = match (memory, leak) {
                (0.6, 0.0) => Some(Wanted::AtMost(0.02)),
                (0.6, 0.5) => Some(Wanted::AtLeast(0.95)),
                (0.6, 1.0) => Some(Wanted::AtLeast(0.99)),
                _ => None,
            };
            if let Some(wanted) = wanted {
                cells.push(cell(
                    format!("criterion, ρ {memory}, {leak} MiB/min"),
                    rate,
                    wanted,
                    replications,
                ));
            }
        }
    }
    cells
}

fn cell(what: String, found: f64, wanted: Wanted, replications: u64) -> Cell {
    Cell {
        of: "CAL-9",
        what,
        found,
        wanted,
        replications,
    }
}

#[cfg(test)]
mod tests {
    use crate::replication::{Effort, assert_all_hold};

    #[test]
    fn equal_gauges_that_remember_are_seldom_called_different() {
        assert_all_hold(&super::levels(Effort::Small));
    }

    #[test]
    fn leaks_are_found_and_noise_is_not_one() {
        assert_all_hold(&super::leaks(Effort::Small));
    }
}
