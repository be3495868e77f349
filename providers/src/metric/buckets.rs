//! Answers that come in buckets of time: which of them are complete, the newest number among them, and their course.

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{Number, Point, Series, Stretch};
use meridian_workflows::duration::Duration;

use crate::metric::words::Rhythm;

/// One bucket of an answer: when it begins, and its value where it has one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    pub from: Timestamp,
    pub value: Option<f64>,
}

/// The instant up to which a bucket that ended no longer changes.
pub fn settled(now: Timestamp, delay: Duration) -> Timestamp {
    now.checked_sub(delay.signed()).unwrap_or(Timestamp::MIN)
}

/// The last begin of a bucket at or before `at`, counted from 1970 as every source here counts.
pub fn floor(at: Timestamp, step: Duration) -> Timestamp {
    let (millis, step) = (at.as_millisecond(), (step.as_millis() as i64).max(1));
    Timestamp::from_millisecond(millis - millis.rem_euclid(step)).unwrap_or(at)
}

/// What to ask for so that the newest number at `at` is among it: whole buckets, none of which can still be filling.
pub fn recent(at: Timestamp, step: Duration, rhythm: &Rhythm) -> Stretch {
    let to = floor(settled(at, rhythm.delay), step);
    let from = to.checked_sub(rhythm.lookback.max(step).signed());
    Stretch {
        from: floor(from.unwrap_or(Timestamp::MIN), step),
        to,
        step,
    }
}

/// The newest complete bucket that has a value. Its instant is the bucket's end: the value speaks for all of it.
///
/// A bucket that began before the lookback is stale, and stale is not data.
pub fn newest(buckets: &[Bucket], width: Duration, at: Timestamp, rhythm: &Rhythm) -> Number {
    let settled = settled(at, rhythm.delay);
    let oldest = settled.checked_sub(rhythm.lookback.signed()).unwrap_or(Timestamp::MIN);
    let complete = buckets
        .iter()
        .filter(|bucket| width.after(bucket.from) <= settled && width.after(bucket.from) > oldest)
        .filter(|bucket| bucket.value.is_some());
    match complete.max_by_key(|bucket| bucket.from) {
        Some(bucket) => Number {
            value: bucket.value,
            at: Some(width.after(bucket.from)),
        },
        None => Number { value: None, at: None },
    }
}

/// The course over a stretch: complete buckets that begin within it, oldest first.
///
/// *Errors*: transient, when one bucket stands there twice.
pub fn course(mut buckets: Vec<Bucket>, width: Duration, over: Stretch, rhythm: &Rhythm) -> Result<Series, Failure> {
    buckets.sort_by_key(|bucket| bucket.from);
    if buckets.windows(2).any(|pair| pair[0].from == pair[1].from) {
        return Err(Failure::transient("it answered with one bucket twice"));
    }
    let settled = settled(over.to, rhythm.delay);
    let points = buckets
        .iter()
        .filter(|bucket| bucket.from >= over.from && width.after(bucket.from) <= settled)
        .filter_map(|bucket| {
            Some(Point {
                at: bucket.from,
                value: bucket.value?,
            })
        });
    Ok(Series {
        points: points.collect(),
        step: width,
        complete_to: Some(settled),
    })
}

/// How far apart buckets lie, where the answer does not say; none from fewer than two.
pub fn width(buckets: &[Bucket]) -> Option<Duration> {
    let apart = buckets
        .windows(2)
        .map(|pair| Duration::between(pair[0].from, pair[1].from));
    apart.filter(|width| !width.is_zero()).min()
}

/// An instant that a source writes in milliseconds since 1970.
///
/// *Errors*: transient: no server means an instant that no calendar has.
pub fn instant(millis: f64) -> Result<Timestamp, Failure> {
    let unfit = || Failure::transient(format!("it answered with the instant {millis}, which is none"));
    if !millis.is_finite() {
        return Err(unfit());
    }
    Timestamp::from_millisecond(millis.round() as i64).map_err(|_| unfit())
}

/// More than one series where one is needed.
pub fn several(count: usize, remedy: &str) -> Failure {
    Failure::lasting(format!("the answer has {count} series where one is needed; {remedy}"))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use meridian_engine::ports::metric::Stretch;
    use meridian_workflows::duration::Duration;

    use super::{Bucket, course, newest, recent, width};
    use crate::metric::words::Rhythm;

    const MINUTE: Duration = Duration::from_secs(60);
    const RHYTHM: Rhythm = Rhythm {
        step: MINUTE,
        delay: Duration::from_secs(30),
        lookback: Duration::from_secs(300),
    };

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn bucket(from: i64, value: f64) -> Bucket {
        Bucket {
            from: second(from),
            value: Some(value),
        }
    }

    #[test]
    fn a_bucket_counts_once_it_can_no_longer_change() {
        let buckets = [bucket(0, 1.0), bucket(60, 2.0)];
        let at = |at| newest(&buckets, MINUTE, second(at), &RHYTHM).value;
        assert_eq!(at(89), None);
        assert_eq!(at(90), Some(1.0));
        assert_eq!(at(149), Some(1.0));
        assert_eq!(at(150), Some(2.0));
        assert_eq!(newest(&buckets, MINUTE, second(150), &RHYTHM).at, Some(second(120)));
    }

    #[test]
    fn an_empty_bucket_is_passed_over_and_a_stale_one_is_no_data() {
        let empty = Bucket {
            from: second(60),
            value: None,
        };
        let buckets = [bucket(0, 1.0), empty];
        assert_eq!(newest(&buckets, MINUTE, second(200), &RHYTHM).value, Some(1.0));
        assert_eq!(newest(&buckets, MINUTE, second(389), &RHYTHM).value, Some(1.0));
        assert_eq!(newest(&buckets, MINUTE, second(390), &RHYTHM).value, None);
        assert!(
            newest(&[bucket(0, f64::NAN)], MINUTE, second(100), &RHYTHM)
                .value
                .unwrap()
                .is_nan()
        );
    }

    #[test]
    fn a_course_is_in_order_and_ends_where_buckets_still_fill() {
        let over = Stretch {
            from: second(60),
            to: second(215),
            step: MINUTE,
        };
        let buckets = vec![bucket(120, 3.0), bucket(60, 2.0), bucket(0, 1.0), bucket(180, 4.0)];
        let series = course(buckets, MINUTE, over, &RHYTHM).unwrap();
        let values: Vec<f64> = series.points.iter().map(|point| point.value).collect();
        assert_eq!(values, [2.0, 3.0]);
        assert_eq!(series.complete_to, Some(second(185)));
        assert!(course(vec![bucket(60, 1.0), bucket(60, 2.0)], MINUTE, over, &RHYTHM).is_err());
    }

    #[test]
    fn what_is_asked_for_is_whole_buckets() {
        let stretch = recent(second(215), MINUTE, &RHYTHM);
        assert_eq!((stretch.from, stretch.to), (second(-120), second(180)));
    }

    #[test]
    fn the_width_is_the_smallest_distance() {
        assert_eq!(
            width(&[bucket(0, 1.0), bucket(60, 1.0), bucket(180, 1.0)]),
            Some(MINUTE)
        );
        assert_eq!(width(&[bucket(0, 1.0)]), None);
    }
}
