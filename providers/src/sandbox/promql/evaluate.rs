//! Evaluates a tree at one instant, or at every step of a range, with Prometheus' semantics.
//!
//! Where versions differ, this is 2.42: a window `[5m]` and the lookback include a sample exactly at their left end (3.0
//! leaves it out), and a duplicate label set is noticed where the name is dropped, not at the end of the query.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::aggregate::aggregate;
use super::binary::{scalars, vector_and_scalar, vectors};
use super::elements::{absent_labels, histogram_quantiles, larger, mapped, mathematical, smaller};
use super::labels::Labels;
use super::parse::Query;
use super::range::{Window, over};
use super::store::{Sample, Store};
use super::syntax::{Binary, Expr, Function, Kind, Selector};

/// How long a series is still shown after its last sample, in milliseconds.
const LOOKBACK_MS: i64 = 300_000;
/// How many samples one query may touch.
const SAMPLES_MAX: usize = 50_000_000;

/// One element of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Element {
    pub labels: Labels,
    pub value: f64,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar(f64),
    Text(String),
    Vector(Vec<Element>),
    Range(Vec<(Labels, Vec<Sample>)>),
}

/// A query that is well-formed and still has no answer on this data.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum Failure {
    #[error("vector cannot contain metrics with the same labelset")]
    DuplicateLabels,
    #[error(
        "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{first}, {second}]; \
         many-to-many matching not allowed: matching labels must be unique on one side"
    )]
    ManyToMany {
        side: &'static str,
        group: String,
        first: String,
        second: String,
    },
    #[error("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")]
    ImplicitManyToOne,
    #[error("multiple matches for labels: grouping labels must ensure unique matches")]
    GroupingNotUnique,
    #[error("scalar value {0} overflows int64")]
    NotACount(f64),
    #[error("query processing would load too many samples: more than {SAMPLES_MAX}")]
    TooManySamples,
}

/// The answer at one instant `t` (milliseconds).
pub(super) fn at_instant(store: &Store, query: &Query, t: i64) -> Result<Value, Failure> {
    Evaluation::new(store, query).at(&query.root, t)
}

/// The answers from `start` to `end` (included when a step meets it), one series per label set. The root is a scalar or
/// an instant vector.
pub(super) fn over_steps(
    store: &Store,
    query: &Query,
    start: i64,
    end: i64,
    step: i64,
) -> Result<BTreeMap<Labels, Vec<Sample>>, Failure> {
    let mut evaluation = Evaluation::new(store, query);
    let mut series: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
    let mut next = Some(start);
    while let Some(t) = next.filter(|t| *t <= end) {
        match evaluation.at(&query.root, t)? {
            Value::Scalar(value) => series.entry(Labels::default()).or_default().push(Sample { t, value }),
            Value::Vector(elements) => {
                evaluation.spend(elements.len())?;
                for Element { labels, value } in elements {
                    series.entry(labels).or_default().push(Sample { t, value });
                }
            }
            Value::Text(_) | Value::Range(_) => {}
        }
        next = t.checked_add(step.max(1));
    }
    Ok(series)
}

/// A series as the store holds it.
type Stored<'a> = (&'a Labels, &'a [Sample]);

struct Evaluation<'a> {
    store: &'a Store,
    /// The series of every selector, found once for all steps.
    selected: Vec<Option<Vec<Stored<'a>>>>,
    /// For every node that drops names: which input a result came from. Over a range a result may not change its origin,
    /// even when the two never meet at one step.
    origins: Vec<HashMap<Labels, Labels>>,
    samples_left: usize,
}

impl<'a> Evaluation<'a> {
    fn new(store: &'a Store, query: &Query) -> Self {
        Self {
            store,
            selected: vec![None; query.ids],
            origins: vec![HashMap::new(); query.ids],
            samples_left: SAMPLES_MAX,
        }
    }

    fn spend(&mut self, samples: usize) -> Result<(), Failure> {
        self.samples_left = self.samples_left.checked_sub(samples).ok_or(Failure::TooManySamples)?;
        Ok(())
    }

    fn at(&mut self, expr: &Expr, t: i64) -> Result<Value, Failure> {
        match expr {
            Expr::Number(number) => Ok(Value::Scalar(*number)),
            Expr::Text(text) => Ok(Value::Text(text.clone())),
            Expr::Vector(selector) => self.instant(selector, t).map(Value::Vector),
            Expr::Range(selector, range) => {
                let windows = self.windows(selector, *range, t)?;
                Ok(Value::Range(
                    windows
                        .into_iter()
                        .map(|(labels, samples)| (labels.clone(), samples))
                        .collect(),
                ))
            }
            Expr::Negate { id, of } => match self.at(of, t)? {
                Value::Vector(elements) => self.negated(*id, elements).map(Value::Vector),
                Value::Scalar(value) => Ok(Value::Scalar(-value)),
                other @ (Value::Text(_) | Value::Range(_)) => Ok(other),
            },
            Expr::Call {
                id,
                function,
                arguments,
            } => self.call(*id, *function, arguments, t),
            Expr::Aggregate(node) => {
                let parameter = match &node.parameter {
                    Some(parameter) => self.scalar(parameter, t)?,
                    None => f64::NAN,
                };
                let elements = self.vector(&node.of, t)?;
                aggregate(node.operator, &node.grouping, parameter, elements).map(Value::Vector)
            }
            Expr::Binary(binary) => self.binary(binary, t),
        }
    }

    /// The parser has checked the types: what is asked as a number is one.
    fn scalar(&mut self, expr: &Expr, t: i64) -> Result<f64, Failure> {
        match self.at(expr, t)? {
            Value::Scalar(value) => Ok(value),
            Value::Text(_) | Value::Vector(_) | Value::Range(_) => Ok(f64::NAN),
        }
    }

    fn vector(&mut self, expr: &Expr, t: i64) -> Result<Vec<Element>, Failure> {
        match self.at(expr, t)? {
            Value::Vector(elements) => Ok(elements),
            Value::Scalar(_) | Value::Text(_) | Value::Range(_) => Ok(Vec::new()),
        }
    }

    fn select(&mut self, selector: &Selector) -> Vec<Stored<'a>> {
        let store = self.store;
        let found = self.selected[selector.id].get_or_insert_with(|| {
            let is_match = |labels: &Labels| selector.matchers.iter().all(|matcher| matcher.accepts(labels));
            store.series().filter(|(labels, _)| is_match(labels)).collect()
        });
        found.clone()
    }

    fn instant(&mut self, selector: &Selector, t: i64) -> Result<Vec<Element>, Failure> {
        let t = t.saturating_sub(selector.offset);
        let oldest = t.saturating_sub(LOOKBACK_MS);
        let series = self.select(selector);
        self.spend(series.len())?;
        Ok(series
            .into_iter()
            .filter_map(|(labels, samples)| {
                let newest = samples[..samples.partition_point(|sample| sample.t <= t)].last()?;
                (newest.t >= oldest && !newest.is_stale()).then(|| Element {
                    labels: labels.clone(),
                    value: newest.value,
                })
            })
            .collect())
    }

    /// The samples of every series inside the closed window, end markers left out; series without any are left out too.
    fn windows(&mut self, selector: &Selector, range: i64, t: i64) -> Result<Vec<(&'a Labels, Vec<Sample>)>, Failure> {
        let end = t.saturating_sub(selector.offset);
        let start = end.saturating_sub(range);
        let mut windows = Vec::new();
        for (labels, samples) in self.select(selector) {
            let after = &samples[samples.partition_point(|sample| sample.t < start)..];
            let inside = &after[..after.partition_point(|sample| sample.t <= end)];
            self.spend(inside.len() + 1)?;
            let inside: Vec<Sample> = inside.iter().filter(|sample| !sample.is_stale()).copied().collect();
            if !inside.is_empty() {
                windows.push((labels, inside));
            }
        }
        Ok(windows)
    }

    fn negated(&mut self, id: usize, elements: Vec<Element>) -> Result<Vec<Element>, Failure> {
        let mut out = Vec::with_capacity(elements.len());
        for Element { labels, value } in elements {
            let nameless = labels.without_name();
            self.originates(id, &nameless, &labels)?;
            out.push(Element {
                labels: nameless,
                value: -value,
            });
        }
        Ok(out)
    }

    fn originates(&mut self, id: usize, result: &Labels, origin: &Labels) -> Result<(), Failure> {
        match self.origins[id].get(result) {
            Some(known) if known == origin => Ok(()),
            Some(_) => Err(Failure::DuplicateLabels),
            None => {
                self.origins[id].insert(result.clone(), origin.clone());
                Ok(())
            }
        }
    }

    fn binary(&mut self, binary: &Binary, t: i64) -> Result<Value, Failure> {
        let elements = match (self.at(&binary.left, t)?, self.at(&binary.right, t)?) {
            (Value::Scalar(left), Value::Scalar(right)) => {
                return Ok(Value::Scalar(scalars(binary.operator, left, right)));
            }
            (Value::Vector(left), Value::Vector(right)) => vectors(binary, left, right)?,
            (Value::Vector(left), Value::Scalar(right)) => vector_and_scalar(binary, left, right, false),
            (Value::Scalar(left), Value::Vector(right)) => vector_and_scalar(binary, right, left, true),
            // The parser lets nothing else stand beside an operator.
            (Value::Text(_) | Value::Range(_), _) | (_, Value::Text(_) | Value::Range(_)) => Vec::new(),
        };
        distinct(elements).map(Value::Vector)
    }

    fn call(&mut self, id: usize, function: Function, arguments: &[Expr], t: i64) -> Result<Value, Failure> {
        if let Some(Expr::Range(selector, range)) = arguments.first() {
            let parameter = match arguments.get(1) {
                Some(parameter) => self.scalar(parameter, t)?,
                None => f64::NAN,
            };
            return self
                .over_windows(id, function, selector, *range, parameter, t)
                .map(Value::Vector);
        }
        let mut numbers = Vec::new();
        let mut elements = Vec::new();
        for argument in arguments {
            match argument.kind() {
                Kind::Scalar => numbers.push(self.scalar(argument, t)?),
                Kind::Vector | Kind::Text | Kind::Range => elements = self.vector(argument, t)?,
            }
        }
        let number = |at: usize| numbers.get(at).copied().unwrap_or(f64::NAN);
        let elements = match function {
            Function::Time => return Ok(Value::Scalar(t as f64 / 1000.0)),
            Function::Scalar => {
                let only = if let [element] = elements.as_slice() {
                    element.value
                } else {
                    f64::NAN
                };
                return Ok(Value::Scalar(only));
            }
            Function::Vector => vec![Element {
                labels: Labels::default(),
                value: number(0),
            }],
            Function::Absent if elements.is_empty() => {
                vec![Element {
                    labels: arguments.first().map_or_else(Labels::default, absent_labels),
                    value: 1.0,
                }]
            }
            Function::Absent => Vec::new(),
            Function::HistogramQuantile => histogram_quantiles(number(0), elements),
            Function::Clamp if number(1) < number(0) => Vec::new(),
            Function::Clamp => mapped(elements, |value| larger(number(0), smaller(number(1), value))),
            Function::ClampMin => mapped(elements, |value| larger(number(0), value)),
            Function::ClampMax => mapped(elements, |value| smaller(number(0), value)),
            other => mapped(elements, |value| mathematical(other, value)),
        };
        distinct(elements).map(Value::Vector)
    }

    fn over_windows(
        &mut self,
        id: usize,
        function: Function,
        selector: &Selector,
        range: i64,
        parameter: f64,
        t: i64,
    ) -> Result<Vec<Element>, Failure> {
        let end = t.saturating_sub(selector.offset);
        let start = end.saturating_sub(range);
        let mut out = Vec::new();
        for (labels, samples) in self.windows(selector, range, t)? {
            let window = Window {
                samples: &samples,
                start,
                end,
                now: t,
            };
            if let Some(value) = over(function, window, parameter) {
                let result = if function == Function::LastOverTime {
                    labels.clone()
                } else {
                    labels.without_name()
                };
                self.originates(id, &result, labels)?;
                out.push(Element { labels: result, value });
            }
        }
        Ok(out)
    }
}

fn distinct(elements: Vec<Element>) -> Result<Vec<Element>, Failure> {
    let mut seen = HashSet::with_capacity(elements.len());
    if elements.iter().all(|element| seen.insert(&element.labels)) {
        Ok(elements)
    } else {
        Err(Failure::DuplicateLabels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::promql::parse::parse;

    /// `requests` counts 10 a second for 10 minutes (every 15 s) in two pods; `gone` ended at 5 minutes.
    fn store() -> Store {
        let mut store = Store::default();
        for step in 0..=40 {
            let t = step * 15_000;
            for pod in ["a", "b"] {
                let labels = Labels::new("requests", [("pod", pod)]).unwrap();
                store
                    .append(
                        &labels,
                        Sample {
                            t,
                            value: (step * 150) as f64,
                        },
                    )
                    .unwrap();
            }
            let gone = Labels::new("gone", [("pod", "a")]).unwrap();
            match t {
                ..300_000 => store.append(&gone, Sample { t, value: 1.0 }).unwrap(),
                300_000 => store.append(&gone, Sample::stale(t)).unwrap(),
                _ => {}
            }
        }
        store
    }

    fn ask(query: &str, t: i64) -> String {
        let query = parse(query).map_err(|misread| misread.message).unwrap();
        match at_instant(&store(), &query, t) {
            Ok(Value::Scalar(value)) => value.to_string(),
            Ok(Value::Text(text)) => format!("{text:?}"),
            Ok(Value::Vector(elements)) => elements
                .iter()
                .map(|e| format!("{} {}", e.labels, e.value))
                .collect::<Vec<_>>()
                .join("; "),
            Ok(Value::Range(series)) => series
                .iter()
                .map(|(labels, samples)| format!("{labels} x{}", samples.len()))
                .collect::<Vec<_>>()
                .join("; "),
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn a_series_is_shown_for_five_minutes_unless_it_has_ended() {
        assert_eq!(ask("requests{pod='a'}", 600_000 + 300_000), "requests{pod=\"a\"} 6000");
        assert_eq!(ask("requests{pod='a'}", 600_000 + 300_001), "");
        assert_eq!(ask("gone", 299_999), "gone{pod=\"a\"} 1");
        assert_eq!(ask("gone", 300_000), "");
        assert_eq!(ask("gone[1m]", 300_000), "gone{pod=\"a\"} x4");
    }

    #[test]
    fn a_window_is_closed_on_both_sides() {
        assert_eq!(ask("count_over_time(requests{pod='a'}[1m])", 600_000), "{pod=\"a\"} 5");
        assert_eq!(ask("sum(rate(requests[1m] offset 1m))", 600_000), "{} 20");
        assert_eq!(
            ask("sum by (pod) (increase(requests[1m] offset -1m))", 540_000),
            "{pod=\"a\"} 600; {pod=\"b\"} 600"
        );
    }

    #[test]
    fn names_are_dropped_and_what_becomes_the_same_is_refused() {
        let same = "vector cannot contain metrics with the same labelset";
        assert_eq!(ask("-{__name__=~'requests|gone', pod='a'}", 100_000), same);
        assert_eq!(ask("rate({__name__=~'requests|gone', pod='a'}[1m])", 100_000), same);
        assert_eq!(
            ask("last_over_time({__name__=~'requests|gone',pod='a'}[1m]) > 0", 20_000),
            "gone{pod=\"a\"} 1; requests{pod=\"a\"} 150"
        );
    }

    #[test]
    fn vectors_match_on_equal_labels_or_say_why_not() {
        assert_eq!(ask("requests - requests", 15_000), "{pod=\"a\"} 0; {pod=\"b\"} 0");
        assert!(ask("requests * on() gone", 15_000).contains("many-to-one matching must be explicit"));
        assert!(ask("gone * on() requests", 15_000).contains("found duplicate series"));
        assert_eq!(
            ask("requests * on() group_left gone", 15_000),
            "{pod=\"a\"} 150; {pod=\"b\"} 150"
        );
        assert_eq!(ask("requests unless gone", 15_000), "requests{pod=\"b\"} 150");
        assert_eq!(ask("100 < requests{pod='a'}", 15_000), "requests{pod=\"a\"} 150");
    }

    #[test]
    fn absence_keeps_the_labels_that_were_asked_for() {
        assert_eq!(
            ask("absent(nothing{pod='a', zone=~'b|c', arm='d', arm='e'})", 0),
            "{pod=\"a\"} 1"
        );
        assert_eq!(ask("absent(requests)", 0), "");
        assert_eq!(ask("scalar(nothing)", 0), "NaN");
    }

    #[test]
    fn the_deepest_query_fits_a_small_stack() {
        let deepest = format!("{}requests{}", "abs(-".repeat(33), ")".repeat(33));
        assert!(ask(&deepest, 0).starts_with('{'));
        assert_eq!(ask(&("1 + ".repeat(99) + "1"), 0), "100");
    }
}
