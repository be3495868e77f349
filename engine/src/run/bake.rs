//! The bake clock and countdowns: time that counts only under conditions, kept exactly across stops and restarts.

use super::mutant::{Mutant, is_on};
use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use serde::{Deserialize, Serialize};

/// How much of a bake has counted.
///
/// *Guarantees* (invariant 5): only stretches that were vouched for are added, each once; stopping never resets; a jump of the
/// clock is never counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bake {
    pub need: Duration,
    pub counted: Duration,
    /// Counted up to here; none while the bake stands still.
    pub counted_to: Option<Timestamp>,
}

impl Bake {
    pub fn new(need: Duration) -> Bake {
        Bake {
            need,
            counted: Duration::ZERO,
            counted_to: None,
        }
    }

    /// Begins or goes on at `at`.
    pub fn start(&mut self, at: Timestamp) {
        if self.counted_to.is_none() {
            if is_on(Mutant::RestartsBake) {
                self.counted = Duration::ZERO;
            }
            self.counted_to = Some(at);
        }
    }

    /// Counts the stretch from `from` to `to`, as far as it has not been counted.
    pub fn count(&mut self, from: Timestamp, to: Timestamp) {
        if let Some(counted_to) = self.counted_to
            && to > counted_to
        {
            self.counted = self.counted.saturating_add(Duration::between(from.max(counted_to), to));
            self.counted_to = Some(to);
        }
    }

    /// Stands still; what was not counted before is lost.
    pub fn stop(&mut self) {
        self.counted_to = None;
    }

    pub fn is_running(&self) -> bool {
        self.counted_to.is_some()
    }

    pub fn left(&self) -> Duration {
        self.need.saturating_sub(self.counted)
    }
}

/// How long an unbroken chain of readings has vouched for one watch gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vouched {
    pub since: Timestamp,
    pub until: Timestamp,
}

impl Vouched {
    /// The chain after one more good reading at `at`; a gap longer than `gap_max` breaks it.
    pub fn extended(chain: Option<Vouched>, at: Timestamp, gap_max: Duration) -> Vouched {
        match chain {
            Some(chain) if Duration::between(chain.until, at) <= gap_max || is_on(Mutant::CountsGap) => Vouched {
                since: chain.since,
                until: at.max(chain.until),
            },
            Some(_) | None => Vouched { since: at, until: at },
        }
    }
}

/// Time that is left, and since when it runs: stops in a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Countdown {
    left: Duration,
    running_since: Option<Timestamp>,
}

impl Countdown {
    pub fn started(length: Duration, at: Timestamp) -> Countdown {
        Countdown {
            left: length,
            running_since: Some(at),
        }
    }

    pub fn stop(&mut self, at: Timestamp) {
        if let Some(since) = self.running_since.take() {
            self.left = self.left.saturating_sub(Duration::between(since, at));
        }
    }

    pub fn resume(&mut self, at: Timestamp) {
        self.running_since.get_or_insert(at);
    }

    /// What lies between did not pass: a running countdown has as much left as before.
    pub fn jumped(&mut self, from: Timestamp, to: Timestamp) {
        if self.running_since.is_some() {
            self.stop(from);
            self.resume(to);
        }
    }

    /// The instant at which nothing is left; none while stopped.
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.running_since.map(|since| self.left.after(since))
    }

    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ends_at().is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bake, Countdown, Vouched};
    use jiff::Timestamp;
    use meridian_workflows::duration::Duration;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_stretch_counts_once_however_often_it_is_told() {
        let mut bake = Bake::new(Duration::from_secs(60));
        bake.start(at(0));
        bake.count(at(0), at(20));
        bake.count(at(0), at(20));
        bake.count(at(10), at(30));
        assert_eq!(bake.counted, Duration::from_secs(30));
        bake.count(at(40), at(50)); // 30 to 40 was not vouched for
        assert_eq!(bake.left(), Duration::from_secs(20));
    }

    #[test]
    fn a_gap_breaks_the_chain_and_a_short_one_does_not() {
        let gap_max = Duration::from_secs(20);
        let chain = Vouched::extended(None, at(0), gap_max);
        let chain = Vouched::extended(Some(chain), at(20), gap_max);
        assert_eq!(
            chain,
            Vouched {
                since: at(0),
                until: at(20)
            }
        );
        assert_eq!(
            Vouched::extended(Some(chain), at(41), gap_max),
            Vouched {
                since: at(41),
                until: at(41)
            }
        );
    }

    #[test]
    fn a_countdown_stands_still_in_a_pause() {
        let mut countdown = Countdown::started(Duration::from_secs(60), at(0));
        countdown.stop(at(10));
        assert!(!countdown.is_over(at(1_000)));
        countdown.resume(at(1_000));
        assert_eq!(countdown.ends_at(), Some(at(1_050)));
    }
}
