//! Argo Rollouts: a background analysis of thresholds, one analysis run a region, beside steps of `setWeight` and `pause`.
//!
//! Semantics of `analysis.go` and `EvaluateResult`: a measurement is Successful when its condition holds and Failed when not (a comparison
//! with NaN does not hold); an empty vector is an Error, retried after ten seconds whatever the interval; more failures than `failureLimit`
//! fail the run; more than `consecutiveErrorLimit` errors in a row are an Error; both abort the rollout. Nothing waits: the pause ends when it
//! ends.

use super::window::Window;
use super::{Decision, Judge, Now};
use crate::corpus::{Observation, Plan};

/// `DefaultConsecutiveErrorLimit`.
const CONSECUTIVE_ERROR_LIMIT: usize = 4;
const ERROR_RETRY_SECONDS: f64 = 10.0;

/// One metric of an `AnalysisTemplate`.
#[derive(Clone, Copy, Debug)]
pub enum Condition {
    /// `result[0] >= …`
    SuccessRateAtLeast(f64),
    /// `result[0] <= …`
    P99AtMostMs(f64),
}

/// An `AnalysisTemplate`, its query's window as long as its interval; the first measurement waits for one window (`initialDelay`).
#[derive(Clone, Debug)]
pub struct Argo {
    conditions: Vec<Condition>,
    interval_minutes: f64,
    failure_limit: usize,
    window: Window,
    runs: Vec<Measured>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    failed: usize,
    consecutive_errors: usize,
}

impl Argo {
    /// The example of its documentation (features/analysis): success rate of at least 0.95, every 5 minutes, `failureLimit` 3.
    pub fn documented() -> Argo {
        Argo::new(vec![Condition::SuccessRateAtLeast(0.95)], 5.0, 3)
    }

    /// As strict as Flagger's defaults: 0.99 and a P99 of 500 ms, every minute, `failureLimit` 3.
    pub fn strict() -> Argo {
        let conditions = vec![Condition::SuccessRateAtLeast(0.99), Condition::P99AtMostMs(500.0)];
        Argo::new(conditions, 1.0, 3)
    }

    fn new(conditions: Vec<Condition>, interval_minutes: f64, failure_limit: usize) -> Argo {
        Argo {
            runs: vec![Measured::default(); conditions.len()],
            conditions,
            interval_minutes,
            failure_limit,
            window: Window::default(),
        }
    }
}

impl Judge for Argo {
    fn begins(&mut self, _: &Plan, _: usize, _: &[Observation]) {
        self.window = Window::default();
        self.runs.fill(Measured::default());
    }

    fn observes(&mut self, now: &Now<'_>, newest: &Observation) -> Decision {
        let interval = now.plan.ticks(self.interval_minutes).max(1);
        self.window.take(newest.candidate.as_ref(), interval);
        for (condition, run) in self.conditions.iter().zip(&mut self.runs) {
            let is_retried = run.consecutive_errors > 0;
            if now.age < interval || !(now.age.is_multiple_of(interval) || is_retried) {
                continue;
            }
            let holds = match condition {
                Condition::SuccessRateAtLeast(rate) => self.window.success_rate().map(|found| found >= *rate),
                Condition::P99AtMostMs(ms) => self.window.p99_ms().map(|found| found <= *ms),
            };
            match holds {
                Some(true) => run.consecutive_errors = 0,
                Some(false) => {
                    run.consecutive_errors = 0;
                    run.failed += 1;
                }
                None => run.consecutive_errors += (now.plan.tick_seconds / ERROR_RETRY_SECONDS) as usize,
            }
            if run.failed > self.failure_limit || run.consecutive_errors > CONSECUTIVE_ERROR_LIMIT {
                return Decision::RollBack;
            }
        }
        Decision::Advance
    }
}

#[cfg(test)]
mod tests {
    use super::Argo;
    use crate::corpus::{Arm, Case, Observation};
    use crate::judges::{Decision, Judge, Now};

    /// When, in ticks of a minute, a candidate that answers like this is rolled back.
    fn rolled_back_after(mut argo: Argo, candidate: Option<(u32, u32)>) -> Option<usize> {
        let mut plan = Case::new(0).plan;
        plan.tick_seconds = 60.0;
        argo.begins(&plan, 0, &[]);
        (1..60).find(|age| {
            let now = Now {
                plan: &plan,
                region: 0,
                stage: 0,
                ticks: *age,
                age: *age,
            };
            let candidate = candidate.map(|(requests, errors)| {
                let mut arm = Arm::default();
                arm.strata[0].requests = requests;
                arm.strata[0].errors = errors;
                arm.strata[0].buckets[0] = requests;
                arm
            });
            let seen = Observation {
                share: 0.1,
                candidate,
                baseline: None,
            };
            argo.observes(&now, &seen) == Decision::RollBack
        })
    }

    #[test]
    fn the_fourth_failure_aborts_at_a_limit_of_three() {
        assert_eq!(rolled_back_after(Argo::strict(), Some((100, 2))), Some(4));
        assert_eq!(rolled_back_after(Argo::documented(), Some((100, 6))), Some(20));
        assert_eq!(rolled_back_after(Argo::documented(), Some((100, 5))), None);
    }

    #[test]
    fn no_requests_fail_and_no_series_is_an_error() {
        assert_eq!(rolled_back_after(Argo::strict(), Some((0, 0))), Some(4));
        assert_eq!(rolled_back_after(Argo::strict(), None), Some(1));
        assert_eq!(rolled_back_after(Argo::documented(), None), Some(5));
    }
}
