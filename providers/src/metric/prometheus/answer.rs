//! What a server may answer to a query, and the one number or the one series in it.

use std::fmt;

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{Number, Point, Series, Stretch};
use serde::Deserialize;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::Value as Json;

use crate::metric::buckets::several;
use crate::metric::web::Visit;

/// How far the instant of an answer may be from the one that was asked. Beyond Prometheus' own lookback, something between
/// (a cache, a clock) has answered another question.
const DRIFT_MAX_MS: i64 = 300_000;

/// The API's envelope, as far as one number needs it.
#[derive(Deserialize)]
pub struct Answer {
    status: String,
    data: Option<Data>,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Elements,
}

/// A list of which only the first two are kept and the rest is counted: an answer with a million series costs no memory.
struct Elements {
    first: Vec<Json>,
    count: usize,
}

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counting;
        impl<'de> Visitor<'de> for Counting {
            type Value = Elements;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Elements, A::Error> {
                let mut first = Vec::new();
                while first.len() < 2 {
                    match list.next_element()? {
                        Some(element) => first.push(element),
                        None => {
                            return Ok(Elements {
                                count: first.len(),
                                first,
                            });
                        }
                    }
                }
                let mut count = first.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Elements { first, count })
            }
        }
        deserializer.deserialize_seq(Counting)
    }
}

/// Why a query was refused: the kind of error and its text.
pub fn said(answer: &Json) -> Option<String> {
    let text = |key: &str| answer.get(key)?.as_str();
    match (text("errorType").unwrap_or_default(), text("error")?) {
        ("", error) => Some(error.to_owned()),
        (kind, error) => Some(format!("{kind}: {error}")),
    }
}

/// The data of a successful answer, as long as it is all of the data.
fn data(answer: Answer, visit: &Visit<'_>) -> Result<Data, Failure> {
    if answer.status != "success" {
        let (kind, error) = (visit.quoted(&answer.error_type), visit.quoted(&answer.error));
        return Err(Failure::lasting(format!(
            "it answered {kind} with the status of success: {error}"
        )));
    }
    // Remarks on the query itself are harmless; everything else means that parts of the data were not reached.
    if let Some(warning) = answer.warnings.iter().find(|warning| !warning.starts_with("PromQL ")) {
        return Err(Failure::transient(format!(
            "it answered from a part of its data: {}",
            visit.quoted(warning)
        )));
    }
    answer
        .data
        .ok_or_else(|| Failure::transient("it answered success without data"))
}

/// What to do about several series.
const AGGREGATE: &str = "aggregate them, for example with sum(…)";

fn histogram() -> Failure {
    Failure::lasting("the answer is a native histogram; take a number from it, as with histogram_quantile()")
}

fn unknown(kind: &str, visit: &Visit<'_>) -> Failure {
    Failure::lasting(format!("it answered with the unknown kind {}", visit.quoted(kind)))
}

/// The number of a successful answer to a question about the instant `asked`.
pub fn number(answer: Answer, asked: Timestamp, visit: &Visit<'_>) -> Result<Number, Failure> {
    let Data { result_type, result } = data(answer, visit)?;
    match (result_type.as_str(), result.first.as_slice(), result.count) {
        ("vector", [], 0) => Ok(Number { value: None, at: None }),
        ("vector", [element], 1) if element.get("histogram").is_some() => Err(histogram()),
        ("vector", [element], 1) => current(
            element.get("value").and_then(Json::as_array).map_or(&[], Vec::as_slice),
            asked,
        ),
        ("vector", _, count) => Err(several(count, AGGREGATE)),
        ("scalar", parts, 2) => current(parts, asked),
        ("matrix", ..) => Err(Failure::lasting(
            "the answer is a range of samples; put a function such as rate(…) or avg_over_time(…) around it",
        )),
        ("string", ..) => Err(Failure::lasting("the answer is a text where a number is needed")),
        ("scalar", ..) => Err(Failure::transient("it answered with a scalar that is none")),
        (other, ..) => Err(unknown(other, visit)),
    }
}

/// The one series of a successful answer to a question about the stretch `over`.
pub fn series(answer: Answer, over: Stretch, visit: &Visit<'_>) -> Result<Series, Failure> {
    let Data { result_type, result } = data(answer, visit)?;
    let points = match (result_type.as_str(), result.first.as_slice(), result.count) {
        ("matrix", [], 0) => Vec::new(),
        ("matrix", [element], 1) if element.get("histograms").is_some() => return Err(histogram()),
        ("matrix", [element], 1) => {
            let values = element.get("values").and_then(Json::as_array);
            let values = values.ok_or_else(|| Failure::transient("it answered with a series that is none"))?;
            course(values, over)?
        }
        ("matrix", _, count) => return Err(several(count, AGGREGATE)),
        (other, ..) => return Err(unknown(other, visit)),
    };
    Ok(Series {
        points,
        step: over.step,
        complete_to: None,
    })
}

/// Points in rising order. A server may move the instants to whole steps, so what then lies outside of the stretch is left out;
/// more than one step outside is the answer to another question.
fn course(values: &[Json], over: Stretch) -> Result<Vec<Point>, Failure> {
    let (from, to) = (over.from.as_millisecond(), over.to.as_millisecond());
    let slack = over.step.as_millis() as i64;
    let mut points: Vec<Point> = Vec::with_capacity(values.len());
    for value in values {
        let point = point(value.as_array().map_or(&[], Vec::as_slice))?;
        if points.last().is_some_and(|last| last.at >= point.at) {
            return Err(Failure::transient("it answered with samples that are not in order"));
        }
        let at = point.at.as_millisecond();
        if at < from - slack || at > to + slack {
            return Err(Failure::transient(format!(
                "it answered for {}, which lies outside of what was asked",
                point.at
            )));
        }
        if (from..=to).contains(&at) {
            points.push(point);
        }
    }
    Ok(points)
}

/// `[seconds, "value"]`.
fn point(parts: &[Json]) -> Result<Point, Failure> {
    let unfit = || Failure::transient("it answered with a sample that is none");
    let [Json::Number(seconds), Json::String(value)] = parts else {
        return Err(unfit());
    };
    let value: f64 = value.parse().map_err(|_| unfit())?;
    let millis = (seconds.as_f64().ok_or_else(unfit)? * 1000.0).round();
    let at = Timestamp::from_millisecond(millis as i64).map_err(|_| unfit())?;
    Ok(Point { at, value })
}

/// A sample for the instant that was asked.
fn current(parts: &[Json], asked: Timestamp) -> Result<Number, Failure> {
    let Point { at, value } = point(parts)?;
    let drift = at.as_millisecond() - asked.as_millisecond();
    if drift.abs() > DRIFT_MAX_MS {
        let direction = if drift < 0 { "before" } else { "after" };
        let seconds = drift.abs() / 1000;
        return Err(Failure::transient(format!(
            "it answered for {at}, {seconds} s {direction} the instant that was asked"
        )));
    }
    Ok(Number {
        value: Some(value),
        at: Some(at),
    })
}
