//! CAL-10: a candidate that does exactly as much harm as is allowed passes as rarely as promised.

use super::{Cell, Effort, Wanted, part};
use crate::chance::Chance;
use crate::corpus::{BUCKETS, Counts};
use crate::judges::meridian::counts::{Comparison, Margin};

const TICKS: usize = 240;
const ALPHA: f64 = 0.05;

/// The larger of both margins is met exactly: no candidate may be shown to lie below it. Looked at every minute of four hours.
pub fn passes(effort: Effort) -> Vec<Cell> {
    let replications = effort.of(300, 5_000);
    let mut cells = Vec::new();
    for (share, baseline, requests) in [
        (0.01, 0.001, 30_000.0),
        (0.25, 0.0005, 6_000.0),
        (0.25, 0.005, 6_000.0),
        (0.5, 0.002, 1_000.0),
    ] {
        let allowed = Margin::ERRORS.rate(baseline, share);
        let found = part(replications, |replication| {
            let mut chance = Chance::new(&[1001, replication, (share * 100.0) as u64, (baseline * 1e4) as u64]);
            let mut both = Comparison::default();
            (0..TICKS).any(|_| {
                for (is_candidate, mean, rate) in [
                    (true, requests * share, allowed),
                    (false, requests * (1.0 - share), baseline),
                ] {
                    let requests = chance.poisson(mean);
                    let counts = Counts {
                        requests,
                        errors: chance.binomial(requests, rate),
                        buckets: [0; BUCKETS],
                    };
                    both.take(&counts, [BUCKETS; 2], is_candidate);
                }
                both.is_no_worse(share, 1.0)
            })
        });
        cells.push(Cell {
            of: "CAL-10",
            what: format!("harm at the margin passes, f {share}, baseline {baseline}, allowed {allowed}"),
            found,
            wanted: Wanted::AtMost(ALPHA),
            replications,
        });
    }
    cells
}

#[cfg(test)]
mod tests {
    use crate::replication::{Effort, assert_all_hold};

    #[test]
    fn harm_at_the_margin_does_not_pass() {
        assert_all_hold(&super::passes(Effort::Small));
    }
}
