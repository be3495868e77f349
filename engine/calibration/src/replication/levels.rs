//! CAL-1: two equal versions, looked at after every event, are called different as rarely as promised.

use meridian_engine::run::statistics::counts::SequentialCounts;
use meridian_engine::run::statistics::sequential::gavi_half_width;

use super::{Cell, Effort, Wanted, part};
use crate::chance::Chance;

const ALPHA: f64 = 0.01;

/// Errors as they arrive. With a Bernoulli chance for each of 10,000 requests there are few; in a Poisson stream of errors there are 10,000, and
/// given that there is one, its arm is the only chance left. Slow requests above a quantile of the baseline are events like errors.
pub fn counts(effort: Effort) -> Vec<Cell> {
    let (replications, events) = (effort.of(200, 20_000), effort.of(2_000, 10_000));
    let mut cells = Vec::new();
    for share in [0.05, 0.1, 0.5] {
        let Some(test) = SequentialCounts::new(&[share, 1.0 - share], 20.0) else {
            continue;
        };
        let is_false = |counts: &[f64; 2]| {
            counts[0] > share * (counts[0] + counts[1]) && test.p_value(counts).is_some_and(|p| p <= ALPHA)
        };
        for (name, error_rate) in [("Bernoulli 0.1 %", 0.001), ("Bernoulli 1 %", 0.01)] {
            let found = part(replications, |replication| {
                let mut chance = Chance::new(&[101, replication, (share * 100.0) as u64, (error_rate * 1e4) as u64]);
                let mut counts = [0.0; 2];
                (0..events).any(|_| {
                    if !chance.is(error_rate) {
                        return false;
                    }
                    counts[usize::from(!chance.is(share))] += 1.0;
                    is_false(&counts)
                })
            });
            cells.push(cell(format!("{name}, f {share}"), found, replications));
        }
        for (name, stream) in [("Poisson errors", 102), ("slow requests, log-normal", 103)] {
            let found = part(replications, |replication| {
                let mut chance = Chance::new(&[stream, replication, (share * 100.0) as u64]);
                let mut counts = [0.0; 2];
                (0..events).any(|_| {
                    let is_event = stream == 102 || chance.normal() > 0.0;
                    if !is_event {
                        return false;
                    }
                    counts[usize::from(!chance.is(share))] += 1.0;
                    is_false(&counts)
                })
            });
            cells.push(cell(format!("{name}, f {share}"), found, replications));
        }
    }
    cells
}

/// Means of log-normal latencies by the always-valid interval, its variance estimated on the way, from the hundredth pair on.
pub fn means(effort: Effort) -> Vec<Cell> {
    let (replications, events) = (effort.of(200, 20_000), effort.of(2_000, 10_000));
    let found = part(replications, |replication| {
        let mut chance = Chance::new(&[104, replication]);
        let (mut sum, mut squares) = (0.0, 0.0);
        (1..=events).any(|pair| {
            let difference = (0.5 * chance.normal()).exp() - (0.5 * chance.normal()).exp();
            sum += difference;
            squares += difference * difference;
            let n = pair as f64;
            let mean = sum / n;
            // Half of the variance of a difference is the variance of one observation.
            let variance = (squares / n - mean * mean) / 2.0;
            pair >= 100 && mean > gavi_half_width(n, variance, 2.0 * ALPHA, 500.0)
        })
    });
    vec![cell("log-normal means, f 0.5".to_owned(), found, replications)]
}

fn cell(what: String, found: f64, replications: u64) -> Cell {
    Cell {
        of: "CAL-1",
        what,
        found,
        wanted: Wanted::AtMost(ALPHA),
        replications,
    }
}

#[cfg(test)]
mod tests {
    use crate::replication::{Effort, assert_all_hold};

    #[test]
    fn two_equal_versions_are_seldom_called_different_however_often_one_looks() {
        assert_all_hold(&super::counts(Effort::Small));
        assert_all_hold(&super::means(Effort::Small));
    }
}
