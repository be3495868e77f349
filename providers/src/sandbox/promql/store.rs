//! Time series in memory: samples in order, a retention, a bound on the number of series, and markers for series that vanish.

use std::collections::{BTreeMap, BTreeSet};

use super::labels::Labels;

/// The bit pattern by which Prometheus marks that a series has ended: a NaN that no arithmetic produces.
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// One measured value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds since the Unix epoch.
    pub t: i64,
    pub value: f64,
}

impl Sample {
    /// Says "this series has ended"; never shown to a query.
    pub fn stale(t: i64) -> Self {
        Self {
            t,
            value: f64::from_bits(STALE_BITS),
        }
    }

    pub(super) fn is_stale(&self) -> bool {
        self.value.to_bits() == STALE_BITS
    }
}

/// What a store keeps at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a sample is kept, in milliseconds.
    pub retention_ms: i64,
    /// How many series may exist at once.
    pub series_max: usize,
}

impl Default for Limits {
    /// One hour (the longest window that a sandbox gate reads) and 20,000 series (hundreds of times what a sandbox makes).
    fn default() -> Self {
        Self {
            retention_ms: 3_600_000,
            series_max: 20_000,
        }
    }
}

/// Why a sample was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendRefused {
    #[error("sample of {series} at {t} ms is not after the last one at {last} ms")]
    OutOfOrder { series: String, t: i64, last: i64 },
    #[error("series {series} would be one more than the {max} that are kept")]
    TooManySeries { series: String, max: usize },
}

/// What one scrape did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scraped {
    pub appended: usize,
    /// Series of the target's last scrape that were missing now and got an end marker.
    pub ended: usize,
    /// One reason for every sample that was not taken.
    pub refused: Vec<AppendRefused>,
}

/// A time-series store; deterministic, without a clock of its own.
#[derive(Debug, Default)]
pub struct Store {
    limits: Limits,
    series: BTreeMap<Labels, Vec<Sample>>,
    /// What every scraped target showed last, to notice what vanishes.
    shown: BTreeMap<String, BTreeSet<Labels>>,
}

impl Store {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Adds one sample at the end of its series.
    ///
    /// # Errors
    /// `OutOfOrder` when the series has a sample at or after `t` (the same sample again is accepted and changes
    /// nothing); `TooManySeries` when the series is new and the bound is reached.
    pub fn append(&mut self, labels: &Labels, sample: Sample) -> Result<(), AppendRefused> {
        let Limits {
            retention_ms,
            series_max,
        } = self.limits;
        let Some(samples) = self.series.get_mut(labels) else {
            if self.series.len() >= series_max {
                return Err(AppendRefused::TooManySeries {
                    series: labels.to_string(),
                    max: series_max,
                });
            }
            self.series.insert(labels.clone(), vec![sample]);
            return Ok(());
        };
        if let Some(last) = samples.last() {
            if last.t == sample.t && last.value.to_bits() == sample.value.to_bits() {
                return Ok(());
            }
            if last.t >= sample.t {
                return Err(AppendRefused::OutOfOrder {
                    series: labels.to_string(),
                    t: sample.t,
                    last: last.t,
                });
            }
        }
        samples.push(sample);
        trim(samples, sample.t.saturating_sub(retention_ms));
        Ok(())
    }

    /// Takes what a target shows at `t`, ends the series that it no longer shows, and forgets what is older than the
    /// retention. A target that is gone is scraped once more with nothing.
    pub fn scrape(&mut self, target: &str, t: i64, shown: impl IntoIterator<Item = (Labels, f64)>) -> Scraped {
        let mut scraped = Scraped::default();
        let mut now = BTreeSet::new();
        for (labels, value) in shown {
            match self.append(&labels, Sample { t, value }) {
                Ok(()) => {
                    scraped.appended += 1;
                    now.insert(labels);
                }
                Err(refused) => scraped.refused.push(refused),
            }
        }
        let before = self.shown.remove(target).unwrap_or_default();
        for labels in before
            .difference(&now)
            .filter(|labels| self.series.contains_key(*labels))
            .cloned()
            .collect::<Vec<_>>()
        {
            match self.append(&labels, Sample::stale(t)) {
                Ok(()) => scraped.ended += 1,
                Err(refused) => scraped.refused.push(refused),
            }
        }
        if !now.is_empty() {
            self.shown.insert(target.to_owned(), now);
        }
        self.expire(t);
        scraped
    }

    /// Forgets series whose newest sample is older than the retention at `now` (milliseconds).
    pub fn expire(&mut self, now: i64) {
        let oldest = now.saturating_sub(self.limits.retention_ms);
        self.series
            .retain(|_, samples| samples.last().is_some_and(|last| last.t >= oldest));
    }

    /// How many series are held.
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    pub(super) fn series(&self) -> impl Iterator<Item = (&Labels, &[Sample])> {
        self.series.iter().map(|(labels, samples)| (labels, samples.as_slice()))
    }
}

/// Drops what is older than `oldest`, a quarter of the samples at a time so that an append stays cheap on average.
fn trim(samples: &mut Vec<Sample>, oldest: i64) {
    if samples.get(samples.len() / 4).is_some_and(|quarter| quarter.t < oldest) {
        samples.drain(..samples.partition_point(|sample| sample.t < oldest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str) -> Labels {
        Labels::new(name, []).unwrap()
    }

    fn at(t: i64) -> Sample {
        Sample { t, value: 1.0 }
    }

    #[test]
    fn a_sample_that_is_not_after_the_last_one_is_refused() {
        let mut store = Store::default();
        store.append(&labels("a"), at(10)).unwrap();
        assert_eq!(
            store.append(&labels("a"), at(10)),
            Ok(()),
            "the same sample again changes nothing"
        );
        let other = Sample { t: 10, value: 2.0 };
        assert!(matches!(
            store.append(&labels("a"), other),
            Err(AppendRefused::OutOfOrder { t: 10, last: 10, .. })
        ));
        assert!(matches!(
            store.append(&labels("a"), at(9)),
            Err(AppendRefused::OutOfOrder { t: 9, last: 10, .. })
        ));
        assert_eq!(store.series().next().unwrap().1, [at(10)]);
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let mut store = Store::new(Limits {
            series_max: 1,
            ..Limits::default()
        });
        store.append(&labels("a"), at(1)).unwrap();
        assert!(matches!(
            store.append(&labels("b"), at(1)),
            Err(AppendRefused::TooManySeries { max: 1, .. })
        ));
        assert_eq!(store.append(&labels("a"), at(2)), Ok(()));
    }

    #[test]
    fn old_samples_and_silent_series_are_forgotten() {
        let mut store = Store::new(Limits {
            retention_ms: 100,
            series_max: 10,
        });
        store.append(&labels("silent"), at(0)).unwrap();
        for t in 0..1_000 {
            store.append(&labels("live"), at(t)).unwrap();
        }
        store.expire(1_000);
        assert_eq!(store.series_count(), 1);
        let kept = store.series().next().unwrap().1;
        assert!((100..=140).contains(&kept.len()), "{} samples kept", kept.len());
        assert_eq!(kept.last(), Some(&at(999)));
    }

    #[test]
    fn a_series_that_vanishes_from_its_target_is_ended_once() {
        let mut store = Store::default();
        store.scrape("pod-1", 1, [(labels("a"), 1.0), (labels("b"), 1.0)]);
        store.scrape("pod-2", 1, [(labels("c"), 1.0)]);
        let second = store.scrape("pod-1", 2, [(labels("a"), 2.0)]);
        assert_eq!((second.appended, second.ended, second.refused.len()), (1, 1, 0));
        assert_eq!(store.scrape("pod-1", 3, []).ended, 1);
        assert_eq!(store.scrape("pod-1", 4, []).ended, 0);
        let ends: Vec<_> = store
            .series()
            .map(|(_, samples)| samples.last().unwrap().is_stale())
            .collect();
        assert_eq!(ends, [true, true, false]);
    }
}
