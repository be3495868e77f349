//! Binary operators: between numbers, between a number and a vector, and between vectors that are matched by labels.

use std::collections::{HashMap, HashSet};

use super::evaluate::{Element, Failure};
use super::labels::{Labels, NAME};
use super::syntax::{Binary, Cardinality, Labelling, Matching, Operator};

/// A number's answer to an arithmetic operator; a comparison says 1 or 0.
pub(super) fn scalars(operator: Operator, left: f64, right: f64) -> f64 {
    match compute(operator, left, right) {
        Answer::Value(value) => value,
        Answer::Holds(holds) => f64::from(u8::from(holds)),
    }
}

enum Answer {
    Value(f64),
    Holds(bool),
}

fn compute(operator: Operator, left: f64, right: f64) -> Answer {
    match operator {
        Operator::Add => Answer::Value(left + right),
        Operator::Subtract => Answer::Value(left - right),
        Operator::Multiply => Answer::Value(left * right),
        Operator::Divide => Answer::Value(left / right),
        Operator::Modulo => Answer::Value(left % right),
        Operator::Power => Answer::Value(left.powf(right)),
        Operator::Equal => Answer::Holds(left == right),
        Operator::NotEqual => Answer::Holds(left != right),
        Operator::Less => Answer::Holds(left < right),
        Operator::AtMost => Answer::Holds(left <= right),
        Operator::Greater => Answer::Holds(left > right),
        Operator::AtLeast => Answer::Holds(left >= right),
        // The parser lets set operators stand between vectors only, and `vectors` answers those.
        Operator::Or | Operator::And | Operator::Unless => Answer::Value(f64::NAN),
    }
}

/// The value of an element after the operator; `None` when a comparison filters it out. `shown` is what a comparison keeps.
fn element(binary: &Binary, left: f64, right: f64, shown: f64) -> Option<f64> {
    match compute(binary.operator, left, right) {
        Answer::Value(value) => Some(value),
        Answer::Holds(holds) if binary.is_bool => Some(f64::from(u8::from(holds))),
        Answer::Holds(true) => Some(shown),
        Answer::Holds(false) => None,
    }
}

/// A comparison that filters keeps the metric's name; everything else makes something new.
fn drops_name(binary: &Binary) -> bool {
    binary.is_bool || !binary.operator.is_comparison()
}

/// A vector with a number; `is_scalar_left` says on which side the number stands.
pub(super) fn vector_and_scalar(
    binary: &Binary,
    vector: Vec<Element>,
    scalar: f64,
    is_scalar_left: bool,
) -> Vec<Element> {
    let drops_name = drops_name(binary);
    vector
        .into_iter()
        .filter_map(|Element { labels, value }| {
            let (left, right) = if is_scalar_left {
                (scalar, value)
            } else {
                (value, scalar)
            };
            let value = element(binary, left, right, value)?;
            Some(Element {
                labels: if drops_name { labels.without_name() } else { labels },
                value,
            })
        })
        .collect()
}

pub(super) fn vectors(binary: &Binary, left: Vec<Element>, right: Vec<Element>) -> Result<Vec<Element>, Failure> {
    let matching = &binary.matching;
    match binary.operator {
        Operator::And => Ok(filtered(matching, left, &right, true)),
        Operator::Unless => Ok(filtered(matching, left, &right, false)),
        Operator::Or => {
            let mut added = filtered(matching, right, &left, false);
            let mut all = left;
            all.append(&mut added);
            Ok(all)
        }
        _ => matched(binary, left, right),
    }
}

/// The elements whose match group is (or is not) in `other`.
fn filtered(matching: &Matching, elements: Vec<Element>, other: &[Element], is_wanted: bool) -> Vec<Element> {
    let known: HashSet<Labels> = other.iter().map(|element| group(matching, &element.labels)).collect();
    elements
        .into_iter()
        .filter(|element| known.contains(&group(matching, &element.labels)) == is_wanted)
        .collect()
}

/// The labels that decide what belongs together; the metric's name never does, unless `on` names it.
fn group(matching: &Matching, labels: &Labels) -> Labels {
    match &matching.labels {
        Labelling::On(names) => labels.keep(names),
        Labelling::Ignoring(names) => labels.without_name().without(names),
    }
}

fn matched(binary: &Binary, left: Vec<Element>, right: Vec<Element>) -> Result<Vec<Element>, Failure> {
    if left.is_empty() || right.is_empty() {
        return Ok(Vec::new());
    }
    let matching = &binary.matching;
    let is_swapped = matches!(matching.cardinality, Cardinality::OneToMany(_));
    let (many, one) = if is_swapped { (right, left) } else { (left, right) };
    let mut ones: HashMap<Labels, Element> = HashMap::with_capacity(one.len());
    for element in one {
        let group = group(matching, &element.labels);
        if let Some(first) = ones.get(&group) {
            return Err(Failure::ManyToMany {
                side: if is_swapped { "left" } else { "right" },
                group: group.to_string(),
                first: first.labels.to_string(),
                second: element.labels.to_string(),
            });
        }
        ones.insert(group, element);
    }
    let mut taken: HashSet<Labels> = HashSet::new();
    let mut taken_results: HashSet<(Labels, Labels)> = HashSet::new();
    let mut out = Vec::with_capacity(many.len());
    for Element { labels, value } in many {
        let group = group(matching, &labels);
        let Some(other) = ones.get(&group) else { continue };
        let (left, right) = if is_swapped {
            (other.value, value)
        } else {
            (value, other.value)
        };
        let Some(value) = element(binary, left, right, left) else {
            continue;
        };
        let labels = result_labels(binary, &labels, &other.labels);
        if matching.cardinality == Cardinality::OneToOne {
            if !taken.insert(group) {
                return Err(Failure::ImplicitManyToOne);
            }
        } else if !taken_results.insert((group, labels.clone())) {
            return Err(Failure::GroupingNotUnique);
        }
        out.push(Element { labels, value });
    }
    Ok(out)
}

fn result_labels(binary: &Binary, many: &Labels, one: &Labels) -> Labels {
    let matching = &binary.matching;
    let is_arithmetic = !binary.operator.is_comparison();
    let mut labels = if is_arithmetic {
        many.without_name()
    } else {
        many.clone()
    };
    match &matching.cardinality {
        Cardinality::OneToOne => {
            labels = match &matching.labels {
                Labelling::On(names) => labels.keep(names),
                Labelling::Ignoring(names) => labels.without(names),
            };
        }
        Cardinality::ManyToOne(include) | Cardinality::OneToMany(include) => {
            for name in include {
                labels.set(name, one.get(name));
            }
        }
    }
    // `bool` drops the name last, so that it cannot come back through `group_left(__name__)`.
    if binary.is_bool {
        labels.without(&[NAME.to_owned()])
    } else {
        labels
    }
}
