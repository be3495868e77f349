//! Error budgets: how fast one is burnt, and the windows in which that is an alarm.

/// A pair of windows: the long one says that it matters, the short one (a twelfth) that it still goes on.
///
/// *Source*: B. Beyer and others, The Site Reliability Workbook (2018), chapter 5, table 5-8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alarm {
    /// Seconds.
    pub long: f64,
    /// Seconds.
    pub short: f64,
    /// Times the rate that would use the whole budget up exactly at its period's end.
    pub burn: f64,
}

/// Two percent of a 30-day budget in an hour.
pub const FAST: Alarm = Alarm {
    long: 3_600.0,
    short: 300.0,
    burn: 14.4,
};

/// Five percent of a 30-day budget in six hours.
pub const STEADY: Alarm = Alarm {
    long: 21_600.0,
    short: 1_800.0,
    burn: 6.0,
};

/// Ten percent of a 30-day budget in three days.
pub const SLOW: Alarm = Alarm {
    long: 259_200.0,
    short: 21_600.0,
    burn: 1.0,
};

impl Alarm {
    /// Whether both windows burn faster than the alarm allows. Numbers that are none do not burn: the caller tells missing data apart first.
    pub fn fires(&self, burn_long: f64, burn_short: f64) -> bool {
        burn_long > self.burn && burn_short > self.burn
    }

    /// Seconds until it fires, from a clean past, under a constant rate of errors; none where it never does.
    pub fn fires_after(&self, error_rate: f64, objective: f64) -> Option<f64> {
        let rate = burn_rate(error_rate, 1.0, objective)?;
        (rate > self.burn).then(|| self.long * self.burn / rate)
    }
}

/// How many times faster than allowed: the part of requests that was bad, over the part that the objective lets be bad.
///
/// None without requests, or where the objective leaves no budget: nothing can be said then.
pub fn burn_rate(bad: f64, total: f64, objective: f64) -> Option<f64> {
    let budget = 1.0 - objective;
    let is_sound = total > 0.0 && bad >= 0.0 && bad <= total && budget > 0.0 && budget <= 1.0;
    is_sound.then(|| bad / total / budget)
}

/// The part of the budget that is left, 1 when nothing was bad; negative when more was bad than the objective allows.
pub fn budget_left(bad: f64, total: f64, objective: f64) -> Option<f64> {
    burn_rate(bad, total, objective).map(|rate| 1.0 - rate)
}

#[cfg(test)]
mod tests {
    use super::{FAST, SLOW, STEADY, budget_left, burn_rate};
    use crate::run::statistics::close;

    #[test]
    fn alarms_fire_after_the_known_times() {
        let minutes = |seconds: Option<f64>| seconds.map(|seconds| (seconds / 0.6).round() / 100.0);
        for (rate, fast, steady, slow) in [
            (1.0, Some(0.86), Some(2.16), Some(4.32)),
            (0.5, Some(1.73), Some(4.32), Some(8.64)),
            (0.1, Some(8.64), Some(21.6), Some(43.2)),
            (0.05, Some(17.28), Some(43.2), Some(86.4)),
            (0.02, Some(43.2), Some(108.0), Some(216.0)),
            (0.01, None, Some(216.0), Some(432.0)),
            (0.005, None, None, Some(864.0)),
            (0.002, None, None, Some(2160.0)),
        ] {
            assert_eq!(minutes(FAST.fires_after(rate, 0.999)), fast, "{rate}");
            assert_eq!(minutes(STEADY.fires_after(rate, 0.999)), steady, "{rate}");
            assert_eq!(minutes(SLOW.fires_after(rate, 0.999)), slow, "{rate}");
        }
    }

    #[test]
    fn both_windows_must_burn() {
        assert!(FAST.fires(15.0, 15.0));
        assert!(!FAST.fires(15.0, 1.0) && !FAST.fires(1.0, 15.0) && !FAST.fires(f64::NAN, 15.0));
    }

    #[test]
    fn a_budget_that_cannot_be_known_is_not_full() {
        assert!(close(burn_rate(2.0, 1_000.0, 0.999).unwrap(), 2.0));
        assert!(close(budget_left(0.5, 1_000.0, 0.999).unwrap(), 0.5));
        assert_eq!(burn_rate(0.0, 0.0, 0.999), None);
        assert_eq!(burn_rate(f64::NAN, 10.0, 0.999), None);
        assert_eq!(burn_rate(11.0, 10.0, 0.999), None);
        assert_eq!(burn_rate(1.0, 10.0, 1.0), None);
    }
}
