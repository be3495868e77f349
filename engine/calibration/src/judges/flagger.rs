//! Flagger: two built-in checks every interval, and so many failed ones in all roll back.
//!
//! Semantics of `scheduler.go`: `request-success-rate` of at least 99 % and `request-duration` P99 of at most 500 ms over one minute; missing data,
//! and a window without requests, are failed checks; failed checks add up for the whole run and no success takes one back; an interval with a
//! failed check does not advance. Each weight lasts one interval, so a stage that bakes is its weight, repeated in `stepWeights` once a minute.
//! At full weight comes promotion, which checks nothing.

use super::window::Window;
use super::{Decision, Judge, Now};
use crate::corpus::{Observation, Plan};

const INTERVAL_MINUTES: f64 = 1.0;
const SUCCESS_RATE_MIN: f64 = 0.99;
const P99_MAX_MS: f64 = 500.0;

/// A `Canary` a region.
#[derive(Clone, Debug)]
pub struct Flagger {
    threshold: usize,
    failed_checks: usize,
    window: Window,
}

impl Flagger {
    /// 5 is the threshold of its documentation's examples, 1 its default.
    pub fn new(threshold: usize) -> Flagger {
        Flagger {
            threshold,
            failed_checks: 0,
            window: Window::default(),
        }
    }
}

impl Judge for Flagger {
    fn begins(&mut self, _: &Plan, _: usize, _: &[Observation]) {
        self.failed_checks = 0;
        self.window = Window::default();
    }

    fn observes(&mut self, now: &Now<'_>, newest: &Observation) -> Decision {
        let interval = now.plan.ticks(INTERVAL_MINUTES).max(1);
        self.window.take(newest.candidate.as_ref(), interval);
        if now.share() >= 1.0 {
            return Decision::Advance;
        }
        if !now.is_every(INTERVAL_MINUTES) {
            return Decision::Wait;
        }
        let passes = self.window.success_rate().is_some_and(|rate| rate >= SUCCESS_RATE_MIN)
            && self.window.p99_ms().is_some_and(|ms| ms <= P99_MAX_MS);
        if passes {
            return Decision::Advance;
        }
        self.failed_checks += 1;
        if self.failed_checks >= self.threshold {
            Decision::RollBack
        } else {
            Decision::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Flagger;
    use crate::corpus::{Arm, Case, Observation};
    use crate::judges::{Decision, Judge, Now};

    fn decisions(threshold: usize, errors: &[Option<u32>]) -> Vec<Decision> {
        let mut plan = Case::new(0).plan;
        plan.tick_seconds = 60.0;
        let mut flagger = Flagger::new(threshold);
        flagger.begins(&plan, 0, &[]);
        let looks = errors.iter().enumerate().map(|(at, errors)| {
            let now = Now {
                plan: &plan,
                region: 0,
                stage: 0,
                ticks: at + 1,
                age: at + 1,
            };
            let candidate = errors.map(|errors| {
                let mut arm = Arm::default();
                arm.strata[0].requests = 100;
                arm.strata[0].errors = errors;
                arm.strata[0].buckets[0] = 100;
                arm
            });
            flagger.observes(
                &now,
                &Observation {
                    share: 0.1,
                    candidate,
                    baseline: None,
                },
            )
        });
        looks.collect()
    }

    #[test]
    fn failed_checks_add_up_and_success_takes_none_back() {
        use Decision::{Advance, RollBack, Wait};
        assert_eq!(
            decisions(3, &[Some(2), Some(0), Some(1), None, Some(0), Some(5)]),
            [Wait, Advance, Advance, Wait, Advance, RollBack]
        );
        assert_eq!(decisions(1, &[None]), [RollBack]);
    }
}
