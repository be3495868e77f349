//! Aggregation of one vector's elements into groups.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::evaluate::{Element, Failure};
use super::labels::{Labels, NAME};
use super::quantile::of_values;
use super::syntax::{Aggregator, Grouping};

/// The elements of one group, in the vector's order.
type Group = Vec<Element>;

pub(super) fn aggregate(
    operator: Aggregator,
    grouping: &Grouping,
    parameter: f64,
    elements: Vec<Element>,
) -> Result<Vec<Element>, Failure> {
    if matches!(operator, Aggregator::Topk | Aggregator::Bottomk) {
        let count = whole(parameter)?;
        return Ok(groups(grouping, elements)
            .into_values()
            .flat_map(|group| extremes(operator, count, group))
            .collect());
    }
    Ok(groups(grouping, elements)
        .into_iter()
        .map(|(labels, group)| Element {
            labels,
            value: summary(operator, parameter, &group),
        })
        .collect())
}

fn groups(grouping: &Grouping, elements: Vec<Element>) -> BTreeMap<Labels, Group> {
    let mut groups: BTreeMap<Labels, Group> = BTreeMap::new();
    let mut dropped = match grouping {
        Grouping::By(_) => Vec::new(),
        Grouping::Without(names) => names.clone(),
    };
    dropped.push(NAME.to_owned());
    for element in elements {
        let labels = match grouping {
            Grouping::By(names) => element.labels.keep(names),
            Grouping::Without(_) => element.labels.without(&dropped),
        };
        groups.entry(labels).or_default().push(element);
    }
    groups
}

fn summary(operator: Aggregator, parameter: f64, group: &Group) -> f64 {
    let values = group.iter().map(|element| element.value);
    match operator {
        Aggregator::Sum => values.reduce(|sum, value| sum + value).unwrap_or(f64::NAN),
        Aggregator::Avg => mean(values),
        Aggregator::Min => values
            .reduce(|least, value| if least > value || least.is_nan() { value } else { least })
            .unwrap_or(f64::NAN),
        Aggregator::Max => values
            .reduce(|most, value| if most < value || most.is_nan() { value } else { most })
            .unwrap_or(f64::NAN),
        Aggregator::Count => group.len() as f64,
        Aggregator::Group => 1.0,
        Aggregator::Quantile => of_values(parameter, values.collect()),
        // Both keep elements instead of summing them up; `aggregate` has answered them.
        Aggregator::Topk | Aggregator::Bottomk => f64::NAN,
    }
}

/// Like `range::average`, but without compensation: Prometheus' aggregation has none.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let mut mean = 0.0_f64;
    for (seen, value) in values.enumerate() {
        let is_kept =
            mean.is_infinite() && ((value.is_infinite() && (value > 0.0) == (mean > 0.0)) || value.is_finite());
        if !is_kept {
            let count = (seen + 1) as f64;
            mean += value / count - mean / count;
        }
    }
    mean
}

/// The `count` largest (`topk`) or smallest elements with their labels, best first; NaN is worst either way.
fn extremes(operator: Aggregator, count: usize, mut group: Group) -> Group {
    let order = |a: &Element, b: &Element| match (a.value.is_nan(), b.value.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) if operator == Aggregator::Topk => b.value.total_cmp(&a.value),
        (false, false) => a.value.total_cmp(&b.value),
    };
    group.sort_by(order);
    group.truncate(count);
    group
}

fn whole(parameter: f64) -> Result<usize, Failure> {
    const MAX: f64 = 9_223_372_036_854_774_784.0;
    if !(-MAX..=MAX).contains(&parameter) {
        return Err(Failure::NotACount(parameter));
    }
    // Truncated towards zero, and nothing is kept for a negative count.
    Ok(parameter.max(0.0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(values: &[f64]) -> Vec<Element> {
        let pod = |at: usize| Labels::new("m", [("pod", at.to_string().as_str()), ("zone", "a")]).unwrap();
        values
            .iter()
            .enumerate()
            .map(|(at, value)| Element {
                labels: pod(at),
                value: *value,
            })
            .collect()
    }

    fn values(operator: Aggregator, parameter: f64, input: &[f64]) -> Vec<f64> {
        let out = aggregate(operator, &Grouping::By(vec![]), parameter, elements(input)).unwrap();
        out.into_iter().map(|element| element.value).collect()
    }

    #[test]
    fn nan_is_never_the_best() {
        assert_eq!(values(Aggregator::Max, 0.0, &[f64::NAN, 1.0, 3.0]), [3.0]);
        assert_eq!(values(Aggregator::Min, 0.0, &[f64::NAN, 1.0, 3.0]), [1.0]);
        assert_eq!(values(Aggregator::Topk, 2.0, &[1.0, f64::NAN, 3.0]), [3.0, 1.0]);
        assert_eq!(values(Aggregator::Bottomk, 1.9, &[f64::NAN, 1.0, 3.0]), [1.0]);
        assert_eq!(values(Aggregator::Topk, -1.0, &[1.0]), [0.0; 0]);
        assert!(aggregate(Aggregator::Topk, &Grouping::By(vec![]), f64::NAN, elements(&[1.0])).is_err());
    }

    #[test]
    fn an_empty_vector_has_no_groups() {
        assert_eq!(values(Aggregator::Count, 0.0, &[]), [0.0; 0]);
        assert_eq!(values(Aggregator::Sum, 0.0, &[]), [0.0; 0]);
    }

    #[test]
    fn without_also_drops_the_name() {
        let out = aggregate(
            Aggregator::Sum,
            &Grouping::Without(vec!["pod".into()]),
            0.0,
            elements(&[1.0, 2.0]),
        )
        .unwrap();
        assert_eq!(out[0].labels.to_string(), "{zone=\"a\"}");
        assert_eq!((out.len(), out[0].value), (1, 3.0));
    }
}
