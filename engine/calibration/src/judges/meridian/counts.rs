//! Errors and slow requests of both arms, compared by the test that may be looked at every tick.

use meridian_engine::run::statistics::counts::SequentialCounts;

use crate::corpus::{BUCKETS, Counts};

/// Harm that fails begins at this multiple of the baseline's rate.
const ERRORS_FAIL: f64 = 1.25;
const SLOW_FAIL: f64 = 2.0;
/// The weight of the prior: light, to find gross failures soon, and heavier, to rule small ones out.
const PRIOR_FAIL: f64 = 10.0;
const PRIOR_PASS: f64 = 100.0;
/// The chance of passing what does exactly so much harm; half for each of the two ways.
const ALPHA_PASS: f64 = 0.05;

/// How much harm may not be ruled out by a pass; the larger of two measures is the margin, so being below either is enough.
#[derive(Clone, Copy, Debug)]
pub struct Margin {
    /// This multiple of the baseline's rate.
    times: f64,
    /// So much more of the candidate's own requests …
    own: f64,
    /// … or so much more of all requests, which allows more while the share is small.
    whole: f64,
}

impl Margin {
    pub const ERRORS: Margin = Margin {
        times: 2.0,
        own: 0.002_5,
        whole: 0.000_5,
    };
    const SLOW: Margin = Margin {
        times: 2.5,
        own: 0.01,
        whole: 0.002,
    };

    fn more(self, share: f64) -> f64 {
        (self.whole / share).max(self.own)
    }

    /// The largest rate that is no harm.
    pub fn rate(self, baseline: f64, share: f64) -> f64 {
        (baseline * self.times).max(baseline + self.more(share))
    }
}

/// Sums of one arm in one stage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub requests: f64,
    errors: f64,
    slow: [f64; 2],
}

/// Both arms, of one kind of request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Comparison {
    pub candidate: Sums,
    pub baseline: Sums,
}

/// The first bucket from which on at most this part of the requests lies: from there on they are slow.
pub fn slow_from(before: &Counts, part: f64) -> usize {
    let mut above = f64::from(before.requests);
    let limit = above * part;
    for (at, bucket) in before.buckets.iter().enumerate() {
        above -= f64::from(*bucket);
        if above <= limit {
            return (at + 1).min(BUCKETS - 1);
        }
    }
    BUCKETS - 1
}

impl Comparison {
    pub fn take(&mut self, counts: &Counts, slow_from: [usize; 2], is_candidate: bool) {
        let sums = if is_candidate {
            &mut self.candidate
        } else {
            &mut self.baseline
        };
        sums.requests += f64::from(counts.requests);
        sums.errors += f64::from(counts.errors);
        for (sum, from) in sums.slow.iter_mut().zip(slow_from) {
            *sum += counts
                .buckets
                .iter()
                .skip(from)
                .map(|count| f64::from(*count))
                .sum::<f64>();
        }
    }

    /// The evidence against "errors are at most a quarter more".
    pub fn errors_are_more(&self) -> f64 {
        self.above(ERRORS_FAIL, self.candidate.errors, self.baseline.errors)
    }

    /// The same for slow and for very slow requests, at their own multiple.
    pub fn slow_are_more(&self) -> [f64; 2] {
        [0, 1].map(|at| self.above(SLOW_FAIL, self.candidate.slow[at], self.baseline.slow[at]))
    }

    /// Whether neither errors nor slow requests are more by what would harm, positively.
    ///
    /// `room` widens what a small kind of request may add, so that all kinds together may add as much.
    pub fn is_no_worse(&self, share: f64, room: f64) -> bool {
        let is_below = |margin: Margin, candidate: f64, baseline: f64| {
            self.is_below(margin.times, margin.more(share) * room, candidate, baseline)
        };
        is_below(Margin::ERRORS, self.candidate.errors, self.baseline.errors)
            && [0, 1]
                .into_iter()
                .all(|at| is_below(Margin::SLOW, self.candidate.slow[at], self.baseline.slow[at]))
    }

    /// The candidate's part of all events if it had this multiple of the baseline's rate.
    fn part(&self, times: f64) -> f64 {
        let weighed = times * self.candidate.requests;
        weighed / (weighed + self.baseline.requests)
    }

    /// Negative where the counts speak for the other side.
    fn above(&self, times: f64, candidate: f64, baseline: f64) -> f64 {
        let part = self.part(times);
        let evidence = evidence(part, [candidate, baseline]);
        if candidate > part * (candidate + baseline) {
            evidence
        } else {
            -evidence.abs()
        }
    }

    fn is_below(&self, times: f64, more: f64, candidate: f64, baseline: f64) -> bool {
        let part = self.part(times);
        let is_less_often =
            candidate < part * (candidate + baseline) && p_value(part, [candidate, baseline]) <= ALPHA_PASS / 2.0;
        let rate = baseline / self.baseline.requests + more;
        let adds_little = || {
            rate >= 1.0
                || candidate < rate * self.candidate.requests
                    && p_value(rate, [candidate, self.candidate.requests - candidate]) <= ALPHA_PASS / 2.0
        };
        is_less_often || adds_little()
    }
}

/// Nothing where there is no such test.
fn evidence(part: f64, counts: [f64; 2]) -> f64 {
    SequentialCounts::new(&[part, 1.0 - part], PRIOR_FAIL)
        .and_then(|test| test.evidence(&counts))
        .unwrap_or(0.0)
}

fn p_value(part: f64, counts: [f64; 2]) -> f64 {
    SequentialCounts::new(&[part, 1.0 - part], PRIOR_PASS)
        .and_then(|test| test.p_value(&counts))
        .unwrap_or(1.0)
}
