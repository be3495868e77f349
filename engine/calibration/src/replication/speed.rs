//! CAL-3: how many errors, of both arms together, are seen before a worse candidate is known.

use meridian_engine::run::statistics::counts::SequentialCounts;

use super::{Cell, Effort, Wanted};
use crate::chance::Chance;

const ALPHA: f64 = 0.01;
const RATIOS: [f64; 5] = [1.5, 2.0, 3.0, 5.0, 10.0];
/// Medians of 4,000 replications each, for priors of weight 100.
const KNOWN: [(f64, [f64; 5]); 4] = [
    (0.05, [1110.0, 355.0, 141.0, 66.0, 31.0]),
    (0.10, [627.0, 222.0, 97.0, 50.0, 28.0]),
    (0.25, [363.0, 147.0, 73.0, 46.0, 31.0]),
    (0.50, [315.0, 144.0, 82.0, 57.0, 45.0]),
];

pub fn errors_until_detection(effort: Effort) -> Vec<Cell> {
    let replications = effort.of(300, 4_000);
    let mut cells = Vec::new();
    for (share, medians) in KNOWN {
        for (ratio, value) in RATIOS.into_iter().zip(medians) {
            cells.push(Cell {
                of: "CAL-3",
                what: format!("median errors, f {share}, RR {ratio}, prior 100"),
                found: median(share, ratio, 100.0, replications),
                // Of few replications a median is itself uncertain by several percent.
                wanted: Wanted::Within {
                    value,
                    part: if effort == Effort::Full { 0.1 } else { 0.2 },
                },
                replications,
            });
        }
    }
    for (weight, most) in [(10.0, 35.0), (20.0, 35.0), (30.0, 35.0)] {
        let found = median(0.1, 5.0, weight, replications);
        cells.push(Cell {
            of: "CAL-3",
            what: format!("median errors ≤ {most}, f 0.1, RR 5, prior {weight}"),
            found: f64::from(u8::from(found <= most)),
            wanted: Wanted::AtLeast(1.0),
            replications,
        });
    }
    cells
}

fn median(share: f64, ratio: f64, weight: f64, replications: u64) -> f64 {
    let Some(test) = SequentialCounts::new(&[share, 1.0 - share], weight) else {
        return f64::NAN;
    };
    let in_candidate = share * ratio / (share * ratio + 1.0 - share);
    let mut seen: Vec<u32> = (0..replications)
        .map(|replication| {
            let mut chance = Chance::new(&[301, replication, (share * 100.0) as u64, (ratio * 10.0) as u64]);
            let mut counts = [0.0; 2];
            (1..=4_000)
                .find(|_| {
                    counts[usize::from(!chance.is(in_candidate))] += 1.0;
                    counts[0] > share * (counts[0] + counts[1]) && test.p_value(&counts).is_some_and(|p| p <= ALPHA)
                })
                .unwrap_or(u32::MAX)
        })
        .collect();
    seen.sort_unstable();
    f64::from(seen[seen.len() / 2])
}

#[cfg(test)]
mod tests {
    use crate::replication::{Effort, assert_all_hold};

    #[test]
    fn errors_until_detection_are_as_few_as_known() {
        assert_all_hold(&super::errors_until_detection(Effort::Small));
    }
}
