//! What a query over the last minutes of one arm answers, as Prometheus would.

use std::collections::VecDeque;

use crate::corpus::{Arm, BUCKETS, Counts, EDGES_MS};

/// The last ticks of one arm, all kinds of request together.
#[derive(Clone, Debug, Default)]
pub struct Window(VecDeque<Option<Counts>>);

impl Window {
    /// Takes one tick in and keeps `ticks` of them.
    pub fn take(&mut self, arm: Option<&Arm>, ticks: usize) {
        self.0.push_back(arm.map(Arm::pooled));
        while self.0.len() > ticks.max(1) {
            self.0.pop_front();
        }
    }

    /// The sums over the window; none where no series exists in all of it.
    fn sums(&self) -> Option<Counts> {
        let mut seen = self.0.iter().flatten().peekable();
        seen.peek()?;
        let mut all = Counts::default();
        for counts in seen {
            all.requests += counts.requests;
            all.errors += counts.errors;
            for (sum, bucket) in all.buckets.iter_mut().zip(counts.buckets) {
                *sum += bucket;
            }
        }
        Some(all)
    }

    /// `sum(rate(ok)) / sum(rate(all))`: not a number without requests.
    pub fn success_rate(&self) -> Option<f64> {
        self.sums()
            .map(|all| f64::from(all.requests - all.errors) / f64::from(all.requests))
    }

    pub fn p99_ms(&self) -> Option<f64> {
        self.sums().map(|all| quantile_ms(&all, 0.99))
    }
}

/// `histogram_quantile`: linear inside a bucket, the highest edge where the quantile lies beyond it, not a number without requests.
pub fn quantile_ms(counts: &Counts, quantile: f64) -> f64 {
    let total: u32 = counts.buckets.iter().sum();
    if total == 0 {
        return f64::NAN;
    }
    let rank = quantile * f64::from(total);
    let mut below = 0.0;
    for at in 0..BUCKETS {
        let here = f64::from(counts.buckets[at]);
        if below + here >= rank && here > 0.0 {
            let from = if at == 0 { 0.0 } else { EDGES_MS[at - 1] };
            let Some(to) = EDGES_MS.get(at) else { break };
            return from + (to - from) * (rank - below) / here;
        }
        below += here;
    }
    EDGES_MS[EDGES_MS.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::{Window, quantile_ms};
    use crate::corpus::{Arm, Counts};

    #[test]
    fn quantiles_are_interpolated_as_by_prometheus() {
        let mut counts = Counts::default();
        assert!(quantile_ms(&counts, 0.99).is_nan());
        counts.buckets[1] = 100;
        assert_eq!(quantile_ms(&counts, 0.5), 15.0);
        counts.buckets[15] = 900;
        assert_eq!(quantile_ms(&counts, 0.99), 4_000.0);
    }

    #[test]
    fn a_series_is_gone_when_its_window_is_empty() {
        let mut window = Window::default();
        window.take(Some(&Arm::default()), 2);
        assert!(window.success_rate().is_some_and(f64::is_nan));
        window.take(None, 2);
        assert!(window.success_rate().is_some());
        window.take(None, 2);
        assert_eq!(window.success_rate(), None);
    }
}
