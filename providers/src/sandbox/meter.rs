//! What a proxy measures of every answer: counts by status, and a histogram of durations.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::sandbox::options::VERSIONS_MEASURED_MAX;

/// Upper bounds of the duration buckets in seconds; the last, infinite one is the count.
pub const BOUNDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Which requests are counted: what clients got, copies whose answers nobody saw, or a preview's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// Answers that clients received.
    Live,
    /// Answers that were thrown away.
    Mirror,
    /// Answers to requests that asked for one version by name.
    Preview,
}

impl Traffic {
    /// The value of the label `traffic`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Mirror => "mirror",
            Self::Preview => "preview",
        }
    }
}

/// Everything measured about one version and one kind of traffic; all numbers only rise.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    /// Answers by status code.
    pub codes: BTreeMap<u16, u64>,
    /// Answers no slower than the bound at the same place in [`BOUNDS`].
    pub buckets: [u64; BOUNDS.len()],
    /// Seconds of all answers together.
    pub seconds: f64,
    /// Answers.
    pub count: u64,
}

impl Meter {
    fn record(&mut self, code: u16, took: Duration) {
        let seconds = took.as_secs_f64();
        *self.codes.entry(code).or_default() += 1;
        for (bucket, bound) in self.buckets.iter_mut().zip(BOUNDS) {
            *bucket += u64::from(seconds <= bound);
        }
        self.seconds += seconds;
        self.count += 1;
    }
}

/// The meters of one region.
#[derive(Debug, Default)]
pub struct Meters {
    by_version: Mutex<Vec<(String, BTreeMap<Traffic, Meter>)>>,
}

impl Meters {
    /// Starts the series of a version at zero, so that their first rise can be seen as a rise.
    ///
    /// Of more versions than [`VERSIONS_MEASURED_MAX`] the one that began first and is not among `running` is forgotten.
    pub fn begin(&self, version: &str, running: &[String]) {
        let mut meters = self.by_version.lock();
        if meters.iter().any(|(known, _)| known == version) {
            return;
        }
        if meters.len() >= VERSIONS_MEASURED_MAX
            && let Some(oldest) = meters.iter().position(|(known, _)| !running.contains(known))
        {
            meters.remove(oldest);
        }
        let zero = Meter {
            codes: BTreeMap::from([(200, 0), (500, 0)]),
            ..Meter::default()
        };
        meters.push((version.to_owned(), BTreeMap::from([(Traffic::Live, zero)])));
    }

    /// Counts one answer of a version that has begun; others are not measured.
    pub fn record(&self, version: &str, traffic: Traffic, code: u16, took: Duration) {
        let mut meters = self.by_version.lock();
        if let Some((_, kinds)) = meters.iter_mut().find(|(known, _)| known == version) {
            kinds.entry(traffic).or_default().record(code, took);
        }
    }

    /// Shows every meter in turn.
    pub fn each(&self, mut see: impl FnMut(&str, Traffic, &Meter)) {
        for (version, kinds) in self.by_version.lock().iter() {
            for (traffic, meter) in kinds {
                see(version, *traffic, meter);
            }
        }
    }

    /// Answers of a version so far, all codes together.
    pub fn count(&self, version: &str, traffic: Traffic) -> u64 {
        let mut count = 0;
        self.each(|known, kind, meter| {
            if known == version && kind == traffic {
                count += meter.count;
            }
        });
        count
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BOUNDS, Meters, Traffic};
    use crate::sandbox::options::VERSIONS_MEASURED_MAX;

    #[test]
    fn buckets_are_cumulative_and_traffic_is_kept_apart() {
        let meters = Meters::default();
        meters.begin("v1", &[]);
        meters.record("v1", Traffic::Live, 200, Duration::from_millis(7));
        meters.record("v1", Traffic::Mirror, 500, Duration::from_secs(60));
        meters.record("unknown", Traffic::Live, 200, Duration::ZERO);
        let mut seen = Vec::new();
        meters.each(|version, traffic, meter| seen.push((version.to_owned(), traffic, meter.clone())));
        assert_eq!(seen.len(), 2);
        let (_, _, live) = &seen[0];
        let at_least = BOUNDS.iter().filter(|bound| **bound >= 0.007).count() as u64;
        assert_eq!(
            (live.buckets.iter().sum::<u64>(), live.codes[&200], live.codes[&500]),
            (at_least, 1, 0)
        );
        assert_eq!(
            (seen[1].1, seen[1].2.buckets[BOUNDS.len() - 1], seen[1].2.count),
            (Traffic::Mirror, 0, 1)
        );
    }

    #[test]
    fn a_running_version_is_never_forgotten() {
        let meters = Meters::default();
        for n in 0..VERSIONS_MEASURED_MAX + 5 {
            meters.begin(&format!("v{n}"), &["v0".to_owned()]);
        }
        let mut versions = Vec::new();
        meters.each(|version, _, _| versions.push(version.to_owned()));
        assert_eq!(versions.len(), VERSIONS_MEASURED_MAX);
        assert!(versions.contains(&"v0".to_owned()) && !versions.contains(&"v1".to_owned()));
    }
}
