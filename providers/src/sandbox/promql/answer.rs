//! Answers a query with the JSON of Prometheus' HTTP API: `/api/v1/query` and `/api/v1/query_range`.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::evaluate::{Element, Value, at_instant, over_steps};
use super::labels::Labels;
use super::number::{read_duration, write_value};
use super::parse::{Query, parse};
use super::store::{Sample, Store};
use super::syntax::Kind;

/// How many points a series of a range query may have, as in Prometheus.
const POINTS_MAX: i64 = 11_000;
/// Beyond this (the year 146138512) times in milliseconds would overflow.
const SECONDS_MAX: f64 = i64::MAX as f64 / 1000.0 / 2.0;

/// A refusal: its HTTP status, Prometheus' `errorType`, and the message.
struct Refusal {
    status: u16,
    kind: &'static str,
    message: String,
}

impl Refusal {
    fn bad_data(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            kind: "bad_data",
            message: message.into(),
        }
    }

    fn parameter(name: &str, message: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter {name:?}: {message}"))
    }
}

/// Answers `/api/v1/query`: the HTTP status and the body. `parameters` are the decoded pairs of the query string or form;
/// `now` is the instant when no `time` is given.
pub fn answer_query(store: &Store, parameters: &[(String, String)], now: Timestamp) -> (u16, Json) {
    envelope(instant(store, parameters, now))
}

/// Answers `/api/v1/query_range`: the HTTP status and the body.
pub fn answer_query_range(store: &Store, parameters: &[(String, String)]) -> (u16, Json) {
    envelope(range(store, parameters))
}

fn envelope(answer: Result<Json, Refusal>) -> (u16, Json) {
    match answer {
        Ok(data) => (200, json!({"status": "success", "data": data})),
        Err(Refusal { status, kind, message }) => {
            (status, json!({"status": "error", "errorType": kind, "error": message}))
        }
    }
}

fn instant(store: &Store, parameters: &[(String, String)], now: Timestamp) -> Result<Json, Refusal> {
    let t = match parameter(parameters, "time") {
        Some(text) => read_time(text).map_err(|why| Refusal::parameter("time", why))?,
        None => now.as_millisecond(),
    };
    let query = query(parameters)?;
    let value = at_instant(store, &query, t).map_err(execution)?;
    let (kind, result) = match value {
        Value::Scalar(value) => ("scalar", point(t, value)),
        Value::Text(text) => ("string", json!([seconds(t), text])),
        Value::Vector(elements) => (
            "vector",
            elements.into_iter().map(|element| element_json(&element, t)).collect(),
        ),
        Value::Range(series) => (
            "matrix",
            series
                .iter()
                .map(|(labels, samples)| series_json(labels, samples))
                .collect(),
        ),
    };
    Ok(json!({"resultType": kind, "result": result}))
}

fn range(store: &Store, parameters: &[(String, String)]) -> Result<Json, Refusal> {
    let time = |name: &str| {
        let text = parameter(parameters, name).unwrap_or_default();
        read_time(text).map_err(|why| Refusal::parameter(name, why))
    };
    let (start, end) = (time("start")?, time("end")?);
    if end < start {
        return Err(Refusal::parameter("end", "end timestamp must not be before start time"));
    }
    let step =
        read_step(parameter(parameters, "step").unwrap_or_default()).map_err(|why| Refusal::parameter("step", why))?;
    if (end - start) / step > POINTS_MAX {
        return Err(Refusal::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    let query = query(parameters)?;
    let kind = query.root.kind();
    if !matches!(kind, Kind::Scalar | Kind::Vector) {
        let message = format!(
            "invalid expression type {:?} for range query, must be Scalar or instant Vector",
            kind.describe()
        );
        return Err(Refusal::parameter("query", message));
    }
    let series = over_steps(store, &query, start, end, step).map_err(execution)?;
    let result: Json = series
        .iter()
        .map(|(labels, samples)| series_json(labels, samples))
        .collect();
    Ok(json!({"resultType": "matrix", "result": result}))
}

fn execution(failure: super::evaluate::Failure) -> Refusal {
    Refusal {
        status: 422,
        kind: "execution",
        message: failure.to_string(),
    }
}

fn parameter<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let first = parameters.iter().find(|(known, _)| known == name);
    first.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

fn query(parameters: &[(String, String)]) -> Result<Query, Refusal> {
    if parameter(parameters, "lookback_delta").is_some() {
        return Err(Refusal::parameter(
            "lookback_delta",
            "it is not supported here, the lookback is 5m",
        ));
    }
    let text = parameter(parameters, "query").unwrap_or_default();
    parse(text).map_err(|misread| {
        let before = text.get(..misread.at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        Refusal::parameter("query", format!("{line}:{column}: parse error: {}", misread.message))
    })
}

/// Milliseconds of a time given in seconds (with decimals) or as RFC 3339.
fn read_time(text: &str) -> Result<i64, String> {
    let bad = || format!("cannot parse {text:?} to a valid timestamp");
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.abs() <= SECONDS_MAX).then(|| millis(seconds)).ok_or_else(bad);
    }
    text.parse::<Timestamp>()
        .map(|timestamp| timestamp.as_millisecond())
        .map_err(|_| bad())
}

/// Whole seconds apart from the rest, so that large times do not lose their milliseconds.
fn millis(seconds: f64) -> i64 {
    seconds.trunc() as i64 * 1000 + (seconds.fract() * 1000.0).round() as i64
}

/// Milliseconds of a step given in seconds or as a duration.
fn read_step(text: &str) -> Result<i64, String> {
    let bad = || format!("cannot parse {text:?} to a valid duration");
    let step = match text.parse::<f64>() {
        // Below a millisecond there is no instant between two others.
        Ok(seconds) if seconds > 0.0 && seconds < 0.001 => {
            return Err("a step below one millisecond is not supported".into());
        }
        Ok(seconds) if seconds.abs() <= 1e9 => (seconds * 1000.0) as i64,
        Ok(_) => return Err(bad()),
        Err(_) => read_duration(text).ok_or_else(bad)?,
    };
    if step <= 0 {
        return Err(
            "zero or negative query resolution step widths are not accepted. Try a positive integer".to_owned(),
        );
    }
    Ok(step)
}

/// A time as JSON: seconds, without decimals when there are none.
fn seconds(t: i64) -> Json {
    if t % 1000 == 0 {
        json!(t / 1000)
    } else {
        json!(t as f64 / 1000.0)
    }
}

fn point(t: i64, value: f64) -> Json {
    json!([seconds(t), write_value(value)])
}

fn labels_json(labels: &Labels) -> Json {
    labels
        .pairs()
        .map(|(name, value)| (name.to_owned(), Json::from(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn element_json(element: &Element, t: i64) -> Json {
    json!({"metric": labels_json(&element.labels), "value": point(t, element.value)})
}

fn series_json(labels: &Labels, samples: &[Sample]) -> Json {
    let values: Json = samples.iter().map(|sample| point(sample.t, sample.value)).collect();
    json!({"metric": labels_json(labels), "values": values})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Store {
        let mut store = Store::default();
        for (t, value) in [(1_000, 1.0), (2_500, f64::INFINITY)] {
            store
                .append(&Labels::new("up", [("job", "a")]).unwrap(), Sample { t, value })
                .unwrap();
        }
        store
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn ask(parameters: &[(&str, &str)]) -> String {
        let (status, body) = answer_query(
            &store(),
            &pairs(parameters),
            Timestamp::from_millisecond(2_500).unwrap(),
        );
        format!("{status} {body}")
    }

    fn ask_range(parameters: &[(&str, &str)]) -> String {
        let (status, body) = answer_query_range(&store(), &pairs(parameters));
        format!("{status} {body}")
    }

    #[test]
    fn an_instant_answer_has_the_form_of_the_api() {
        let success = |kind: &str, result: &str| {
            let body: Result<Json, _> = serde_json::from_str(&format!(
                r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#
            ));
            format!("200 {}", body.unwrap())
        };
        let metric = r#"{"__name__":"up","job":"a"}"#;
        let vector = format!(r#"[{{"metric":{metric},"value":[2.5,"+Inf"]}}]"#);
        assert_eq!(ask(&[("query", "up")]), success("vector", &vector));
        let past = format!(r#"[{{"metric":{metric},"value":[2,"1"]}}]"#);
        assert_eq!(
            ask(&[("query", "up"), ("time", "1970-01-01T00:00:02Z")]),
            success("vector", &past)
        );
        let matrix = format!(r#"[{{"metric":{metric},"values":[[1,"1"],[2.5,"+Inf"]]}}]"#);
        assert_eq!(ask(&[("query", "up[1m]"), ("time", "3")]), success("matrix", &matrix));
        assert_eq!(
            ask(&[("query", "0/0"), ("time", "1.25")]),
            success("scalar", r#"[1.25,"NaN"]"#)
        );
        assert_eq!(ask(&[("query", "'a'"), ("time", "1")]), success("string", r#"[1,"a"]"#));
        assert_eq!(ask(&[("query", "nothing")]), success("vector", "[]"));
    }

    #[test]
    fn a_range_answer_has_the_form_of_the_api() {
        let range = [("start", "1"), ("end", "3"), ("step", "1")];
        let answer = ask_range(&[&[("query", "up")], &range[..]].concat());
        assert!(answer.contains(r#"[[1,"1"],[2,"1"],[3,"+Inf"]]"#), "{answer}");
        let answer = ask_range(&[&[("query", "1")], &range[..]].concat());
        assert!(answer.contains(r#""metric":{}"#), "{answer}");
    }

    #[test]
    fn what_cannot_be_answered_is_bad_data_with_a_reason() {
        let cases = [
            (ask(&[]), "no expression found"),
            (
                ask(&[("query", "sum(\n  up) by")]),
                "2:9: parse error: unexpected end of the query",
            ),
            (ask(&[("query", "up"), ("time", "yesterday")]), "to a valid timestamp"),
            (ask(&[("query", "up"), ("time", "NaN")]), "to a valid timestamp"),
            (ask(&[("query", "up"), ("time", "1e300")]), "to a valid timestamp"),
            (ask(&[("query", "up"), ("lookback_delta", "1m")]), "lookback_delta"),
            (ask_range(&[("query", "up")]), "start"),
            (
                ask_range(&[("query", "up"), ("start", "2"), ("end", "1"), ("step", "1")]),
                "must not be before",
            ),
            (
                ask_range(&[("query", "up"), ("start", "1"), ("end", "2"), ("step", "0")]),
                "zero or negative",
            ),
            (
                ask_range(&[("query", "up"), ("start", "1"), ("end", "2"), ("step", "NaN")]),
                "valid duration",
            ),
            (
                ask_range(&[("query", "up"), ("start", "1"), ("end", "99999"), ("step", "1s")]),
                "11,000 points",
            ),
            (
                ask_range(&[("query", "up[1m]"), ("start", "1"), ("end", "2"), ("step", "1")]),
                "range vector",
            ),
        ];
        for (answer, expected) in cases {
            assert!(
                answer.starts_with("400 ") && answer.contains(r#""errorType":"bad_data""#),
                "{answer}"
            );
            assert!(answer.contains(expected), "{answer}");
        }
        assert!(ask(&[("query", "topk(NaN, up)")]).starts_with("422 "));
    }

    /// Pieces that make sense to the grammar, in an order that mostly does not.
    fn soup() -> impl proptest::strategy::Strategy<Value = String> {
        const PIECES: [&str; 48] = [
            "up",
            "{",
            "}",
            "(",
            ")",
            "[",
            "]",
            "[5m]",
            "[1m:1s]",
            "job",
            "=",
            "!=",
            "=~",
            "!~",
            "\"a\"",
            "'",
            "`",
            "\\",
            ",",
            " ",
            "sum",
            "topk",
            " by ",
            " without ",
            "rate(",
            "absent(",
            "predict_linear(",
            "histogram_quantile(",
            "+",
            "-",
            "*",
            "/",
            "%",
            "^",
            "==",
            ">bool ",
            " and ",
            " on(job) ",
            " ignoring() group_left(job) ",
            " offset ",
            "-9999y",
            "5m",
            "1",
            "NaN",
            "1e308",
            "é",
            "#",
            "@",
        ];
        let piece = proptest::sample::select(PIECES.to_vec());
        proptest::strategy::Strategy::prop_map(proptest::collection::vec(piece, 0..24), |pieces| pieces.concat())
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { cases: 3_000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn no_query_and_no_parameter_brings_it_down(query in soup(), any in ".{0,40}", time in "[-+0-9eE.:TZinf]{0,24}") {
            for query in [&query, &any] {
                let (status, _) = answer_query(&store(), &pairs(&[("query", query), ("time", &time)]), Timestamp::UNIX_EPOCH);
                proptest::prop_assert!([200, 400, 422].contains(&status));
                let range = [("query", query.as_str()), ("start", &time), ("end", "3"), ("step", &time)];
                let (status, _) = answer_query_range(&store(), &pairs(&range));
                proptest::prop_assert!([200, 400, 422].contains(&status));
                let (status, _) = answer_query_range(&store(), &pairs(&[range[0], ("start", "0"), range[2], ("step", "1")]));
                proptest::prop_assert!([200, 400, 422].contains(&status));
            }
        }
    }
}
