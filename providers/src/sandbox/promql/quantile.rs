//! Quantiles: of plain values, and of the cumulative buckets of a classic histogram.

/// The `q`-quantile of the values, interpolated between neighbours; NaN counts as smallest.
pub(super) fn of_values(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if let Some(out_of_range) = infinite(q) {
        return out_of_range;
    }
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan())));
    let rank = q * (values.len() - 1) as f64;
    let below = rank.floor() as usize;
    let above = (below + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[below] * (1.0 - weight) + values[above] * weight
}

/// A bucket: how many observations were at most `upper`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    pub upper: f64,
    pub count: f64,
}

/// The `q`-quantile that the buckets allow, interpolated linearly inside a bucket. NaN without a `+Inf` bucket, without
/// another bucket, or without observations.
pub(super) fn of_buckets(q: f64, mut buckets: Vec<Bucket>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if let Some(out_of_range) = infinite(q) {
        return out_of_range;
    }
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
        return f64::NAN;
    }
    // `1` and `1.0` are the same bound.
    buckets.dedup_by(|next, kept| {
        let is_same = next.upper == kept.upper;
        if is_same {
            kept.count += next.count;
        }
        is_same
    });
    // Rates over partly scraped histograms can fall from one bucket to the next; the fall is not believed.
    let mut most = f64::NEG_INFINITY;
    for (index, bucket) in buckets.iter_mut().enumerate() {
        if index == 0 || bucket.count > most {
            most = bucket.count;
        } else if bucket.count < most {
            bucket.count = most;
        }
    }
    let [bounded @ .., all] = buckets.as_slice() else {
        return f64::NAN;
    };
    let Some(highest) = bounded.last() else { return f64::NAN };
    if all.count == 0.0 {
        return f64::NAN;
    }
    let rank = q * all.count;
    let Some(at) = first_reaching(bounded, rank) else {
        return highest.upper;
    };
    let bucket = bounded[at];
    if at == 0 && bucket.upper <= 0.0 {
        return bucket.upper;
    }
    let before = if at == 0 {
        Bucket { upper: 0.0, count: 0.0 }
    } else {
        bounded[at - 1]
    };
    before.upper + (bucket.upper - before.upper) * ((rank - before.count) / (bucket.count - before.count))
}

/// The first bucket whose count reaches the rank, by bisection: with NaN counts the order of the probes decides, and it
/// is the same as Prometheus'.
fn first_reaching(buckets: &[Bucket], rank: f64) -> Option<usize> {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = (low + high) / 2;
        if buckets[middle].count >= rank {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    (low < buckets.len()).then_some(low)
}

fn infinite(q: f64) -> Option<f64> {
    if q < 0.0 {
        Some(f64::NEG_INFINITY)
    } else if q > 1.0 {
        Some(f64::INFINITY)
    } else {
        None
    }
}

/// Reads the bound of a bucket from its `le` label, as Go reads numbers; `None` when it is none.
pub(super) fn bound(le: &str) -> Option<f64> {
    let value: f64 = le.parse().ok()?;
    // Digits that overflow are an error in Go, only the word is infinity.
    let is_digits = le.bytes().any(|byte| byte.is_ascii_digit());
    (!is_digits || value.is_finite()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(counts: &[(f64, f64)]) -> Vec<Bucket> {
        counts
            .iter()
            .map(|(upper, count)| Bucket {
                upper: *upper,
                count: *count,
            })
            .collect()
    }

    #[test]
    fn a_quantile_is_interpolated_between_values() {
        assert_eq!(of_values(0.5, vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(of_values(1.0, vec![1.0, f64::NAN, 3.0]), 3.0);
        assert_eq!(of_values(-0.1, vec![1.0]), f64::NEG_INFINITY);
        assert!(of_values(0.5, Vec::new()).is_nan());
    }

    #[test]
    fn a_quantile_is_interpolated_inside_a_bucket() {
        let inf = f64::INFINITY;
        let histogram = [(0.1, 50.0), (0.5, 90.0), (1.0, 99.0), (inf, 100.0)];
        assert_eq!(of_buckets(0.5, buckets(&histogram)), 0.1);
        assert_eq!(of_buckets(0.7, buckets(&histogram)), 0.30000000000000004);
        assert_eq!(
            of_buckets(0.999, buckets(&histogram)),
            1.0,
            "in the open bucket: the highest bound"
        );
        assert!(of_buckets(0.5, buckets(&histogram[..3])).is_nan(), "without +Inf");
        assert!(of_buckets(0.5, buckets(&[(inf, 3.0)])).is_nan(), "only +Inf");
        assert!(
            of_buckets(0.5, buckets(&[(1.0, 0.0), (inf, 0.0)])).is_nan(),
            "no observations"
        );
        assert_eq!(of_buckets(0.5, buckets(&[(-1.0, 10.0), (inf, 10.0)])), -1.0);
        assert_eq!(
            of_buckets(0.9, buckets(&[(1.0, 10.0), (2.0, 8.0), (inf, 10.0)])),
            0.9,
            "a fall is not believed"
        );
    }

    #[test]
    fn a_bound_is_read_as_go_reads_it() {
        assert_eq!(bound("+Inf"), Some(f64::INFINITY));
        assert_eq!(bound("0.25"), Some(0.25));
        assert_eq!(bound("1e999"), None);
        assert_eq!(bound("a"), None);
        assert_eq!(bound(""), None);
    }
}
