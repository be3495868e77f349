//! CAL-10: a candidate that does exactly as much harm as is allowed passes as rarely as promised.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meridian_engine::run::judge::{Circumstances, judge};
use meridian_engine::run::reading::{Answer, Counts, Reading, Sample};
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{Gate, GateKind};

use super::{Cell, Effort, Wanted, part};
use crate::chance::Chance;
use crate::judges::meridian::Meridian;

const TICKS: usize = 240;
const ALPHA: f64 = 0.05;

/// The larger of all margins is met exactly: no candidate may be shown to lie below it. Looked at every minute of four hours.
pub fn passes(effort: Effort) -> Vec<Cell> {
    let replications = effort.of(300, 5_000);
    let gate = gate();
    let GateKind::Compare(compare) = &gate.kind else {
        return Vec::new();
    };
    let mut cells = Vec::new();
    for (share, baseline, requests) in [
        (0.01, 0.001, 30_000.0),
        (0.25, 0.0005, 6_000.0),
        (0.25, 0.005, 6_000.0),
        (0.5, 0.002, 1_000.0),
    ] {
        let more = compare.floor.max(compare.impact / share);
        let allowed = (baseline * (1.0 + compare.margin)).max(baseline + more);
        let found = part(replications, |replication| {
            let mut chance = Chance::new(&[1001, replication, (share * 100.0) as u64, (baseline * 1e4) as u64]);
            let mut arms = [[0.0; 2]; 2];
            (0..TICKS).any(|_| {
                let means = [(requests * share, allowed), (requests * (1.0 - share), baseline)];
                for (arm, (mean, rate)) in arms.iter_mut().zip(means) {
                    let requests = chance.poisson(mean);
                    arm[0] += f64::from(requests);
                    arm[1] += f64::from(chance.binomial(requests, rate));
                }
                passes_at(&gate, share, arms)
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

/// The gate that compares errors in the corpus, all kinds together.
fn gate() -> Gate {
    Meridian::all_together().gate("errors").clone()
}

/// Whether the engine's judge lets requests and errors of both arms pass.
fn passes_at(gate: &Gate, share: f64, arms: [[f64; 2]; 2]) -> bool {
    let now = Timestamp::UNIX_EPOCH;
    let metrics = BTreeMap::new();
    let sample = |value: f64| Sample {
        value: Some(value),
        samples: None,
        at: None,
        query: String::new(),
    };
    let [candidate, baseline] = arms.map(|[requests, errors]| Counts {
        window: Duration::from_secs(60),
        total: sample(requests),
        parts: vec![sample(errors)],
    });
    let answer = Answer::Counts {
        candidate,
        baseline: Some(baseline),
        kinds: Vec::new(),
    };
    let of = Circumstances {
        share: Share::from_basis_points((share * 10_000.0) as u16).ok(),
        ..Circumstances::alone(gate, &metrics, now)
    };
    judge(&Reading { at: now, answer }, &of).is_pass()
}

#[cfg(test)]
mod tests {
    use crate::replication::{Effort, assert_all_hold};

    #[test]
    fn harm_at_the_margin_does_not_pass() {
        assert_all_hold(&super::passes(Effort::Small));
    }
}
