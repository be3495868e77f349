//! Functions over the samples of one series in one window.

use super::store::Sample;
use super::syntax::Function;

/// A window of one series; `samples` are those inside, never empty, without end markers.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    pub samples: &'a [Sample],
    /// Both ends of the window, milliseconds, offset applied.
    pub start: i64,
    pub end: i64,
    /// The instant that is evaluated, without the offset.
    pub now: i64,
}

impl Window<'_> {
    fn seconds(&self) -> f64 {
        (self.end - self.start) as f64 / 1000.0
    }
}

/// What `function` says about a window; `parameter` is `predict_linear`'s second argument. `None`: no element.
pub(super) fn over(function: Function, window: Window<'_>, parameter: f64) -> Option<f64> {
    let samples = window.samples;
    let values = || samples.iter().map(|sample| sample.value);
    let (first, last) = (samples.first()?, samples.last()?);
    let pairs = || samples.windows(2).map(|pair| (pair[0].value, pair[1].value));
    match function {
        Function::Rate => extrapolated(window, true).map(|increase| increase / window.seconds()),
        Function::Increase => extrapolated(window, true),
        Function::Delta => extrapolated(window, false),
        Function::Irate => newest_step(samples, true),
        Function::Idelta => newest_step(samples, false),
        Function::Deriv => (samples.len() > 1).then(|| line(samples, first.t).slope),
        Function::PredictLinear => (samples.len() > 1).then(|| {
            let line = line(samples, window.now);
            line.slope * parameter + line.intercept
        }),
        Function::AvgOverTime => Some(average(values())),
        Function::SumOverTime => Some(values().fold(Compensated::default(), Compensated::plus).total()),
        Function::MinOverTime => {
            values().reduce(|least, value| if value < least || least.is_nan() { value } else { least })
        }
        Function::MaxOverTime => {
            values().reduce(|most, value| if value > most || most.is_nan() { value } else { most })
        }
        Function::CountOverTime => Some(samples.len() as f64),
        Function::LastOverTime => Some(last.value),
        Function::Changes => Some(
            pairs()
                .filter(|(before, after)| before != after && !(before.is_nan() && after.is_nan()))
                .count() as f64,
        ),
        Function::Resets => Some(pairs().filter(|(before, after)| after < before).count() as f64),
        Function::Abs
        | Function::Absent
        | Function::Ceil
        | Function::Clamp
        | Function::ClampMax
        | Function::ClampMin
        | Function::Exp
        | Function::Floor
        | Function::HistogramQuantile
        | Function::Ln
        | Function::Scalar
        | Function::Sgn
        | Function::Sqrt
        | Function::Time
        | Function::Vector => None,
    }
}

/// The change between the first and last sample, stretched to the window's ends.
///
/// An end that is nearer than 1.1 average sample intervals is taken to belong to the series and is stretched to; a
/// farther one means that the series began or ended inside, and half an interval is added there. A counter is never
/// stretched below zero. Every fall of a counter is a reset: what was counted before it is added.
fn extrapolated(window: Window<'_>, is_counter: bool) -> Option<f64> {
    let samples = window.samples;
    let (first, last) = (samples.first()?, samples.last()?);
    if samples.len() < 2 {
        return None;
    }
    let mut change = last.value - first.value;
    if is_counter {
        for pair in samples.windows(2).filter(|pair| pair[1].value < pair[0].value) {
            change += pair[0].value;
        }
    }
    let sampled = (last.t - first.t) as f64 / 1000.0;
    let interval = sampled / (samples.len() - 1) as f64;
    let mut to_start = (first.t - window.start) as f64 / 1000.0;
    let to_end = (window.end - last.t) as f64 / 1000.0;
    if is_counter && change > 0.0 && first.value >= 0.0 {
        let to_zero = sampled * (first.value / change);
        to_start = to_start.min(to_zero);
    }
    let stretch = |gap: f64| if gap < interval * 1.1 { gap } else { interval / 2.0 };
    Some(change * ((sampled + stretch(to_start) + stretch(to_end)) / sampled))
}

/// The change between the newest two samples: per second and reset-aware for a counter, as it is otherwise.
fn newest_step(samples: &[Sample], is_counter: bool) -> Option<f64> {
    let [.., before, last] = samples else { return None };
    if !is_counter {
        return Some(last.value - before.value);
    }
    let change = if last.value < before.value {
        last.value
    } else {
        last.value - before.value
    };
    Some(change / ((last.t - before.t) as f64 / 1000.0))
}

struct Line {
    slope: f64,
    /// The line's value at the instant it was asked for.
    intercept: f64,
}

/// The least-squares line through the samples, with time in seconds counted from `origin`.
fn line(samples: &[Sample], origin: i64) -> Line {
    let first = samples.first().map_or(f64::NAN, |sample| sample.value);
    // A constant series has an exact answer; the sums would only round it.
    if samples.iter().skip(1).all(|sample| sample.value == first) {
        return match first.is_infinite() {
            true => Line {
                slope: f64::NAN,
                intercept: f64::NAN,
            },
            false => Line {
                slope: 0.0,
                intercept: first,
            },
        };
    }
    let (mut sum_x, mut sum_y) = (Compensated::default(), Compensated::default());
    let (mut sum_xy, mut sum_xx) = (Compensated::default(), Compensated::default());
    for sample in samples {
        let x = (sample.t - origin) as f64 / 1000.0;
        sum_x = sum_x.plus(x);
        sum_y = sum_y.plus(sample.value);
        sum_xy = sum_xy.plus(x * sample.value);
        sum_xx = sum_xx.plus(x * x);
    }
    let n = samples.len() as f64;
    let (x, y) = (sum_x.exact(), sum_y.exact());
    let slope = (sum_xy.exact() - x * y / n) / (sum_xx.exact() - x * x / n);
    Line {
        slope,
        intercept: y / n - slope * x / n,
    }
}

/// A running mean: it cannot overflow where the sum would, and an infinity stays one until a NaN or its opposite comes.
pub(super) fn average(values: impl Iterator<Item = f64>) -> f64 {
    let mut mean = Compensated::default();
    for (seen, value) in values.enumerate() {
        let is_kept =
            mean.sum.is_infinite() && ((value.is_infinite() && (value > 0.0) == (mean.sum > 0.0)) || value.is_finite());
        if !is_kept {
            let count = (seen + 1) as f64;
            mean = mean.plus(value / count - mean.sum / count);
        }
    }
    mean.total()
}

/// A sum with Neumaier's compensation for the digits that rounding loses.
#[derive(Clone, Copy, Default)]
struct Compensated {
    sum: f64,
    lost: f64,
}

impl Compensated {
    fn plus(self, value: f64) -> Self {
        let sum = self.sum + value;
        let lost = if self.sum.abs() >= value.abs() {
            (self.sum - sum) + value
        } else {
            (value - sum) + self.sum
        };
        Self {
            sum,
            lost: self.lost + lost,
        }
    }

    fn exact(self) -> f64 {
        self.sum + self.lost
    }

    /// Infinite sums have no meaningful compensation.
    fn total(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.exact() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(points: &[(i64, f64)]) -> Vec<Sample> {
        points
            .iter()
            .map(|(t, value)| Sample { t: *t, value: *value })
            .collect()
    }

    fn ask(function: Function, points: &[(i64, f64)], end: i64) -> Option<f64> {
        let samples = samples(points);
        over(
            function,
            Window {
                samples: &samples,
                start: end - 60_000,
                end,
                now: end,
            },
            60.0,
        )
    }

    #[test]
    fn a_rate_is_stretched_to_the_window_but_a_counter_never_below_zero() {
        // Four samples 15 s apart, 5 s from both ends: stretched to the full minute.
        let points = [(5_000, 100.0), (20_000, 115.0), (35_000, 130.0), (50_000, 145.0)];
        assert_eq!(ask(Function::Increase, &points, 60_000), Some(60.0));
        assert_eq!(ask(Function::Rate, &points, 60_000), Some(1.0));
        // The counter was 2 at 5 s and rises by 1 a second: it cannot have begun before 3 s.
        let young = [(5_000, 2.0), (20_000, 17.0), (35_000, 32.0), (50_000, 47.0)];
        assert_eq!(ask(Function::Increase, &young, 60_000), Some(57.0));
        assert_eq!(ask(Function::Delta, &young, 60_000), Some(60.0));
        // Far from the start: half an interval only.
        let late = [(40_000, 100.0), (50_000, 110.0)];
        assert_eq!(ask(Function::Increase, &late, 60_000), Some(25.0));
    }

    #[test]
    fn a_reset_adds_what_was_counted_before() {
        let points = [(0, 10.0), (30_000, 5.0), (60_000, 8.0)];
        assert_eq!(ask(Function::Increase, &points, 60_000), Some(8.0));
        assert_eq!(ask(Function::Resets, &points, 60_000), Some(1.0));
        assert_eq!(ask(Function::Irate, &[(0, 10.0), (30_000, 6.0)], 60_000), Some(0.2));
    }

    #[test]
    fn one_sample_has_no_rate_and_no_slope() {
        for function in [
            Function::Rate,
            Function::Increase,
            Function::Irate,
            Function::Deriv,
            Function::PredictLinear,
        ] {
            assert_eq!(ask(function, &[(0, 1.0)], 60_000), None);
        }
        assert_eq!(ask(Function::CountOverTime, &[(0, 1.0)], 60_000), Some(1.0));
    }

    #[test]
    fn a_line_is_continued() {
        let points = [(0, 0.0), (30_000, 15.0), (60_000, 30.0)];
        assert_eq!(ask(Function::Deriv, &points, 60_000), Some(0.5));
        assert_eq!(ask(Function::PredictLinear, &points, 60_000), Some(60.0));
        assert_eq!(ask(Function::Deriv, &[(0, 3.0), (1_000, 3.0)], 60_000), Some(0.0));
        assert!(
            ask(Function::Deriv, &[(0, f64::INFINITY), (1_000, f64::INFINITY)], 60_000)
                .unwrap()
                .is_nan()
        );
    }

    #[test]
    fn averages_survive_infinities_and_overflow() {
        assert_eq!(average([f64::MAX, f64::MAX].into_iter()), f64::MAX);
        assert_eq!(average([1.0, f64::INFINITY, 2.0].into_iter()), f64::INFINITY);
        assert!(average([f64::NEG_INFINITY, f64::INFINITY].into_iter()).is_nan());
        assert!(average([1.0, f64::NAN].into_iter()).is_nan());
    }
}
