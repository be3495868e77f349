//! What a judge is worth on a range of seeds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::thread;

use crate::corpus::{Case, Class};
use crate::judges::Judge;
use crate::judges::argo::Argo;
use crate::judges::flagger::Flagger;
use crate::judges::kayenta::Kayenta;
use crate::judges::meridian::Meridian;
use crate::rollout::{End, Outcome, run};

/// A judge with the settings it is run with.
#[derive(Clone, Copy)]
pub struct Entrant {
    pub name: &'static str,
    pub settings: &'static str,
    pub judge: fn() -> Box<dyn Judge>,
}

/// Everybody who is compared: peers first, then Meridian, its usual setting last.
pub const ENTRANTS: [Entrant; 9] = [
    Entrant {
        name: "Argo, documented",
        settings: "the documentation's example: success rate ≥ 0.95, interval 5 m, `failureLimit` 3, `consecutiveErrorLimit` 4",
        judge: || Box::new(Argo::documented()),
    },
    Entrant {
        name: "Argo, strict",
        settings: "success rate ≥ 0.99 and P99 ≤ 500 ms, interval 1 m, `failureLimit` 3, `consecutiveErrorLimit` 4",
        judge: || Box::new(Argo::strict()),
    },
    Entrant {
        name: "Flagger, 5",
        settings: "built-in checks (success rate ≥ 99 %, P99 ≤ 500 ms), interval 1 m, `threshold` 5 as in its examples",
        judge: || Box::new(Flagger::new(5)),
    },
    Entrant {
        name: "Flagger, 1",
        settings: "the same with `threshold` 1, its default",
        judge: || Box::new(Flagger::new(1)),
    },
    Entrant {
        name: "Kayenta, defaults",
        settings: "NetflixACAJudge, five metrics that must not rise in three groups, pass 95, marginal 75, three growing looks a stage",
        judge: || Box::new(Kayenta::defaults()),
    },
    Entrant {
        name: "Kayenta, careful",
        settings: "the same with `allowedIncrease` 1.2 on every metric and a critical error ratio",
        judge: || Box::new(Kayenta::careful()),
    },
    Entrant {
        name: "Meridian, hasty",
        settings: "the phase `hasty` of the same file: `alpha: 20%`, and thresholds of one minute against the baseline",
        judge: || Box::new(Meridian::hasty()),
    },
    Entrant {
        name: "Meridian, no labels",
        settings: "the gates of `engine/calibration/workflow.yaml` without `kinds`, where telemetry cannot tell kinds of request apart",
        judge: || Box::new(Meridian::all_together()),
    },
    Entrant {
        name: "Meridian",
        settings: "the gates of `engine/calibration/workflow.yaml`",
        judge: || Box::new(Meridian::by_kind()),
    },
];

/// What became of the cases of one class.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub promoted: Vec<u64>,
    pub rolled_back: Vec<u64>,
    pub held: Vec<u64>,
    pub exposed: Vec<u64>,
    pub ticks: Vec<u64>,
}

impl Tally {
    pub fn cases(&self) -> usize {
        self.exposed.len()
    }

    pub fn stopped(&self) -> usize {
        self.rolled_back.len() + self.held.len()
    }
}

/// The figures of one judge.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub classes: BTreeMap<Class, Tally>,
}

impl Figures {
    /// Judges every seed of the range, on two threads; the result hangs on neither.
    pub fn of(entrant: &Entrant, seeds: Range<u64>) -> Figures {
        let half = seeds.start + (seeds.end - seeds.start) / 2;
        let judge = |seeds: Range<u64>| -> Vec<(u64, Class, Outcome)> {
            let one = |seed| {
                let case = Case::new(seed);
                (seed, case.class, run(&case, (entrant.judge)().as_mut()))
            };
            seeds.map(one).collect()
        };
        let outcomes = thread::scope(|scope| {
            let first = scope.spawn(|| judge(seeds.start..half));
            let second = judge(half..seeds.end);
            let mut all = first.join().unwrap_or_default();
            all.extend(second);
            all
        });
        assert_eq!(outcomes.len() as u64, seeds.end - seeds.start, "a judge broke down");
        let mut figures = Figures::default();
        for (seed, class, outcome) in outcomes {
            let tally = figures.classes.entry(class).or_default();
            tally.exposed.push(outcome.exposed);
            tally.ticks.push(outcome.ticks as u64);
            match outcome.end {
                End::Promoted => tally.promoted.push(seed),
                End::RolledBack => tally.rolled_back.push(seed),
                End::Held => tally.held.push(seed),
            }
        }
        figures
    }

    fn of_kind(&self, is_bad: bool) -> impl Iterator<Item = &Tally> {
        self.classes
            .iter()
            .filter(move |(class, _)| class.is_bad() == is_bad)
            .map(|(_, tally)| tally)
    }

    /// The part of bad candidates that does not reach full promotion.
    pub fn recall(&self) -> f64 {
        let cases: usize = self.of_kind(true).map(Tally::cases).sum();
        let stopped: usize = self.of_kind(true).map(Tally::stopped).sum();
        stopped as f64 / cases as f64
    }

    /// The part of all that is stopped, rolled back or held to the end, that is bad.
    pub fn precision(&self) -> f64 {
        let [good, bad] = [false, true].map(|is_bad| self.of_kind(is_bad).map(Tally::stopped).sum::<usize>() as f64);
        bad / (good + bad)
    }

    pub fn missed(&self) -> usize {
        self.of_kind(true).map(|tally| tally.promoted.len()).sum()
    }

    pub fn false_rollbacks(&self) -> usize {
        self.of_kind(false).map(|tally| tally.rolled_back.len()).sum()
    }

    pub fn false_holds(&self) -> usize {
        self.of_kind(false).map(|tally| tally.held.len()).sum()
    }

    pub fn good(&self) -> usize {
        self.of_kind(false).map(Tally::cases).sum()
    }

    /// Requests that a bad candidate served while it did harm.
    pub fn median_exposed(&self) -> u64 {
        median(self.of_kind(true).flat_map(|tally| &tally.exposed).copied().collect())
    }

    /// The same on average: what is missed goes on and on.
    pub fn mean_exposed(&self) -> u64 {
        let all: Vec<u64> = self.of_kind(true).flat_map(|tally| &tally.exposed).copied().collect();
        all.iter().sum::<u64>() / (all.len() as u64).max(1)
    }
}

/// 0 of nothing.
pub fn median(mut of: Vec<u64>) -> u64 {
    of.sort_unstable();
    of.get(of.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{ENTRANTS, Figures};
    use crate::corpus::Class;

    /// A slice of the corpus, four cases a class; the page has the figures of all.
    #[test]
    fn meridian_meets_its_goals_and_is_better_than_its_peers() {
        let figures: Vec<Figures> = ENTRANTS.iter().map(|entrant| Figures::of(entrant, 0..64)).collect();
        let (ours, hasty, peers) = (&figures[8], &figures[6], &figures[..6]);
        assert!(ours.recall() >= 0.998 && ours.precision() >= 0.949, "{ours:#?}");
        assert!(ours.classes[&Class::Crash].promoted.is_empty() && ours.classes[&Class::ErrorStep].promoted.is_empty());
        for (entrant, peer) in ENTRANTS.iter().zip(peers) {
            assert!(ours.recall() > peer.recall() || peer.missed() == 0, "{}", entrant.name);
            assert!(ours.precision() > peer.precision(), "{}", entrant.name);
            assert!(ours.mean_exposed() < peer.mean_exposed(), "{}", entrant.name);
        }
        // Who wants to stop at the first doubt has a setting that is better at that, too.
        let flagger = &figures[3];
        assert!(hasty.recall() > flagger.recall() && hasty.precision() > flagger.precision());
        assert!(hasty.median_exposed() <= flagger.median_exposed());
    }
}
