//! Bad requests of both arms among all of theirs: what proves that harm is done, and what rules it out. Both may be looked at at any time.

use super::compared::Way;
use crate::run::statistics::counts::SequentialCounts;

/// How strongly the expected split is believed before the first event: light, to find gross failures soon.
const PRIOR_FAIL: f64 = 10.0;
/// And heavier, to rule small ones out.
const PRIOR_PASS: f64 = 100.0;
/// The chance of passing what does exactly as much harm as is allowed; half for each of the two ways to show that it does not.
const ALPHA_PASS: f64 = 0.05;

/// The requests of one kind in both arms: the candidate's first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pair {
    pub bad: [f64; 2],
    pub total: [f64; 2],
}

/// Harm that need not be ruled out; being within either is enough, so that the larger counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Allowed {
    /// As a part of the baseline's rate.
    pub margin: f64,
    /// As a part of the candidate's requests.
    pub more: f64,
}

impl Pair {
    pub(super) fn rates(&self) -> [f64; 2] {
        [0, 1].map(|arm| {
            if self.total[arm] > 0.0 {
                self.bad[arm] / self.total[arm]
            } else {
                0.0
            }
        })
    }

    pub(super) fn together<'a>(pairs: impl Iterator<Item = &'a Pair>) -> Pair {
        pairs.fold(Pair::default(), |sum, pair| Pair {
            bad: [0, 1].map(|arm| sum.bad[arm] + pair.bad[arm]),
            total: [0, 1].map(|arm| sum.total[arm] + pair.total[arm]),
        })
    }

    /// The evidence against "at most this part of the baseline more", as the logarithm of a Bayes factor: what several kinds of request say
    /// adds up. Not above 0 where the counts speak for the other side.
    pub(super) fn beyond(&self, way: Way, part: f64) -> f64 {
        let split = self.split(way.allowed_ratio(part));
        let evidence = test(split, PRIOR_FAIL)
            .and_then(|test| test.evidence(&self.bad))
            .unwrap_or(0.0);
        if way.sign() * (self.bad[0] - split * (self.bad[0] + self.bad[1])) > 0.0 {
            evidence
        } else {
            -evidence.abs()
        }
    }

    /// Whether harm beyond what is allowed is ruled out.
    pub(super) fn is_within(&self, way: Way, allowed: Allowed) -> bool {
        self.is_in_proportion(way, allowed.margin) || self.adds_at_most(way, allowed.more)
    }

    /// The candidate's bad requests are surely a smaller part of all bad ones than so much harm would make them.
    fn is_in_proportion(&self, way: Way, margin: f64) -> bool {
        let split = self.split(way.allowed_ratio(margin));
        way.sign() * (self.bad[0] - split * (self.bad[0] + self.bad[1])) < 0.0 && is_ruled_out(split, self.bad)
    }

    /// The candidate's rate surely exceeds the baseline's by less.
    pub(super) fn adds_at_most(&self, way: Way, more: f64) -> bool {
        let [requests, others] = self.total;
        if requests <= 0.0 || others <= 0.0 {
            return false;
        }
        let rate = self.rates()[1] + way.sign() * more;
        if rate >= 1.0 || rate <= 0.0 {
            // Beyond all requests, or below none: so much harm cannot be done.
            return match way {
                Way::More => rate >= 1.0,
                Way::Less => rate <= 0.0,
            };
        }
        let is_below = way.sign() * (self.bad[0] - rate * requests) < 0.0;
        is_below && is_ruled_out(rate, [self.bad[0], (requests - self.bad[0]).max(0.0)])
    }

    /// The candidate's part of all bad requests if it had this multiple of the baseline's rate.
    fn split(&self, ratio: f64) -> f64 {
        let weighed = self.total[0] * ratio;
        // Where nothing at all is allowed (a margin of 100 % less), the smallest ratio that can be tested stands for it.
        (weighed / (weighed + self.total[1])).clamp(1e-9, 1.0 - 1e-9)
    }
}

fn is_ruled_out(share: f64, counts: [f64; 2]) -> bool {
    test(share, PRIOR_PASS)
        .and_then(|test| test.p_value(&counts))
        .is_some_and(|p| p <= ALPHA_PASS / 2.0)
}

/// None where a share is not a number: no test, no proof of anything.
fn test(share: f64, weight: f64) -> Option<SequentialCounts> {
    SequentialCounts::new(&[share, 1.0 - share], weight)
}
