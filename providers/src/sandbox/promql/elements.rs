//! Functions over the elements of one instant vector.

use std::collections::{BTreeMap, HashSet};

use super::evaluate::Element;
use super::labels::{Labels, NAME};
use super::matcher::{Matcher, Test};
use super::quantile::{Bucket, bound, of_buckets};
use super::syntax::{Expr, Function, Selector};

pub(super) fn mapped(elements: Vec<Element>, change: impl Fn(f64) -> f64) -> Vec<Element> {
    let changed = |Element { labels, value }| Element {
        labels: Labels::without_name(&labels),
        value: change(value),
    };
    elements.into_iter().map(changed).collect()
}

pub(super) fn mathematical(function: Function, value: f64) -> f64 {
    match function {
        Function::Abs => value.abs(),
        Function::Ceil => value.ceil(),
        Function::Exp => value.exp(),
        Function::Floor => value.floor(),
        Function::Ln => value.ln(),
        Function::Sgn if value == 0.0 || value.is_nan() => value,
        Function::Sgn => value.signum(),
        Function::Sqrt => value.sqrt(),
        // `call` has answered every other function.
        _ => f64::NAN,
    }
}

/// The larger of two, NaN when either is (Rust's `max` would prefer the number), except beside an infinity that wins anyway.
pub(super) fn larger(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

pub(super) fn smaller(a: f64, b: f64) -> f64 {
    -larger(-a, -b)
}

/// The labels that a selector fixes: `absent(up{job="a"})` says `{job="a"}`. A label with two matchers is not fixed.
pub(super) fn absent_labels(expr: &Expr) -> Labels {
    let Expr::Vector(Selector { matchers, .. }) = expr else {
        return Labels::default();
    };
    let mut labels = Labels::default();
    let mut seen: HashSet<&str> = HashSet::new();
    for Matcher { name, test } in matchers.iter().filter(|matcher| matcher.name != NAME) {
        match test {
            Test::Equal(value) if seen.insert(name) => labels.set(name, value),
            Test::Equal(_) | Test::NotEqual(_) | Test::Matches(_) | Test::MatchesNot(_) => labels.set(name, ""),
        }
    }
    labels
}

pub(super) fn histogram_quantiles(q: f64, elements: Vec<Element>) -> Vec<Element> {
    const LE: &str = "le";
    // Grouped with the name, so that two histograms stay two; the same labels twice are then a failure, not a mixture.
    let mut histograms: BTreeMap<Labels, Vec<Bucket>> = BTreeMap::new();
    for Element { labels, value } in elements {
        if let Some(upper) = bound(labels.get(LE)) {
            histograms
                .entry(labels.without(&[LE.to_owned()]))
                .or_default()
                .push(Bucket { upper, count: value });
        }
    }
    let quantile = |(labels, buckets): (Labels, Vec<Bucket>)| Element {
        labels: labels.without_name(),
        value: of_buckets(q, buckets),
    };
    histograms.into_iter().map(quantile).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_not_clamped_away_but_an_infinite_bound_wins() {
        assert!(larger(f64::NAN, 1.0).is_nan());
        assert_eq!(larger(f64::NAN, f64::INFINITY), f64::INFINITY);
        assert_eq!(smaller(2.0, 1.0), 1.0);
        assert_eq!(smaller(f64::NAN, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert!(smaller(f64::NAN, 1.0).is_nan());
    }

    #[test]
    fn two_histograms_are_not_mixed() {
        let element = |name: &str, le: &str, value| Element {
            labels: Labels::new(name, [("le", le)]).unwrap(),
            value,
        };
        let elements = vec![
            element("a", "1", 1.0),
            element("a", "+Inf", 1.0),
            element("b", "2", 1.0),
            element("b", "+Inf", 1.0),
            element("b", "many", 9.0),
        ];
        let quantiles: Vec<f64> = histogram_quantiles(1.0, elements)
            .into_iter()
            .map(|element| element.value)
            .collect();
        assert_eq!(quantiles, [1.0, 2.0]);
    }
}
