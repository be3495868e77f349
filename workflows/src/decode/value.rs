//! Scalars, lists and mappings of a document as typed values; each reports what it cannot read at the value itself.

use std::str::FromStr;

use crate::decode::context::Context;
use crate::diagnostic::{Code, Diagnostic, suggestion};
use crate::document::node::{Node, Style, Value};
use crate::document::source::Place;
use crate::duration::{self, Duration};
use crate::limits;
use crate::share::{self, Share};

/// Reports a value of another type than the one that belongs there.
pub fn wrong_type(node: &Node, expected: &str, cx: &mut Context<'_>) {
    // Where an alias or key could not be read, nothing stands, and that has been said.
    if matches!(node.value, Value::Null) && cx.diagnostics.mentions(&node.place) {
        return;
    }
    cx.error(
        Code::WRONG_TYPE,
        &node.place.first_line(),
        format!("expected {expected}, found {}", node.kind()),
    );
}

/// The text of a scalar, as it was written.
pub fn text(node: &Node, cx: &mut Context<'_>) -> Option<String> {
    match node.as_text() {
        Some(text) => Some(text.to_owned()),
        None => {
            wrong_type(node, "text", cx);
            None
        }
    }
}

/// The text of a value whose type is not text. An input without a value leaves its template standing; nothing can be made of it.
fn settled<'n>(node: &'n Node, expected: &str, cx: &mut Context<'_>) -> Option<&'n str> {
    let Some(text) = node.as_text() else {
        wrong_type(node, expected, cx);
        return None;
    };
    if text.contains("${{") {
        cx.report(
            Diagnostic::new(
                Code::INPUT_MISSING,
                node.place.clone(),
                format!("expected {expected}, but `{text}` has no value yet"),
            )
            .hint("give the input a default, or its value with `--input`"),
        );
        return None;
    }
    Some(text)
}

fn parsed<T: FromStr>(
    node: &Node,
    expected: &str,
    explain: impl FnOnce(T::Err) -> (Code, String, Option<String>),
    cx: &mut Context<'_>,
) -> Option<T> {
    match settled(node, expected, cx)?.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            let (code, message, hint) = explain(error);
            cx.report(Diagnostic::new(code, node.place.clone(), message).maybe_hint(hint));
            None
        }
    }
}

/// `90s`, `15m`, `4h`, `1d12h`.
pub fn duration(node: &Node, cx: &mut Context<'_>) -> Option<Duration> {
    let explain = |error: duration::Error| {
        let hint = match &error {
            duration::Error::NoUnit(number) => {
                Some(format!("write `{number}s` for seconds or `{number}m` for minutes"))
            }
            duration::Error::Malformed(_) | duration::Error::Disordered(_) => {
                Some("units are d, h, m, s and ms, from large to small".to_owned())
            }
            duration::Error::TooLong(_) => None,
        };
        (Code::DURATION, error.to_string(), hint)
    };
    parsed(node, "a duration such as `15m`", explain, cx)
}

/// A duration longer than nothing.
pub fn positive_duration(node: &Node, cx: &mut Context<'_>) -> Option<Duration> {
    let value = duration(node, cx)?;
    if value.is_zero() {
        cx.error(Code::DURATION, &node.place, "this duration must be longer than nothing");
        return None;
    }
    Some(value)
}

/// `0.5%` … `100%`.
pub fn share(node: &Node, cx: &mut Context<'_>) -> Option<Share> {
    let explain = |error: share::Error| {
        let hint = match &error {
            share::Error::NoPercentSign(number) => Some(format!("write `{number}%`")),
            share::Error::NotANumber(_) | share::Error::OutOfRange(_) => Some("for example `0.5%` or `25%`".to_owned()),
            share::Error::TooFine(_) => None,
        };
        (Code::SHARE, error.to_string(), hint)
    };
    parsed(node, "a share such as `25%`", explain, cx)
}

/// A percentage as a part of one, `50%`; more than all of it is possible, less than nothing is not.
pub fn part(node: &Node, cx: &mut Context<'_>) -> Option<f64> {
    let text = settled(node, "a percentage such as `50%`", cx)?;
    let read = text
        .strip_suffix('%')
        .and_then(|digits| digits.trim().parse::<f64>().ok())
        .filter(|number| number.is_finite() && (0.0..=1e6).contains(number));
    if read.is_none() {
        let hint = text.parse::<f64>().ok().map(|number| format!("write `{number}%`"));
        let message = format!("`{text}` is no percentage");
        cx.report(Diagnostic::new(Code::QUANTITY, node.place.clone(), message).maybe_hint(hint));
    }
    read.map(|number| number / 100.0)
}

/// `true` or `false`, not in quotes.
pub fn boolean(node: &Node, cx: &mut Context<'_>) -> Option<bool> {
    let text = settled(node, "true or false", cx)?;
    match (text, &node.value) {
        ("true", Value::Scalar(scalar)) if scalar.style == Style::Plain => Some(true),
        ("false", Value::Scalar(scalar)) if scalar.style == Style::Plain => Some(false),
        _ => {
            wrong_type(node, "true or false", cx);
            None
        }
    }
}

/// A whole number between `min` and `max`, both included.
pub fn integer(node: &Node, min: u64, max: u64, cx: &mut Context<'_>) -> Option<u64> {
    let text = settled(node, "a whole number", cx)?;
    let number = text
        .parse::<u64>()
        .ok()
        .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    match number {
        Some(number) if (min..=max).contains(&number) => Some(number),
        Some(_) if max == u64::MAX => {
            cx.error(
                Code::NUMBER,
                &node.place,
                format!("expected at least {min}, got `{text}`"),
            );
            None
        }
        Some(_) => {
            cx.error(
                Code::NUMBER,
                &node.place,
                format!("expected a number from {min} to {max}, got `{text}`"),
            );
            None
        }
        None => {
            cx.error(
                Code::NUMBER,
                &node.place,
                format!("expected a whole number, got `{text}`"),
            );
            None
        }
    }
}

/// One of a few words.
pub fn choice<T: Copy>(node: &Node, choices: &[(&str, T)], cx: &mut Context<'_>) -> Option<T> {
    let text = settled(node, "one of a few words", cx)?;
    let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if found.is_none() {
        let hint = suggestion::hint(text, choices.iter().map(|(word, _)| *word));
        let message = format!("`{text}` is not one of the words that may stand here");
        cx.report(Diagnostic::new(Code::CHOICE, node.place.clone(), message).maybe_hint(hint));
    }
    found
}

/// The items of a list.
pub fn list<'n>(node: &'n Node, cx: &mut Context<'_>) -> Option<&'n [Node]> {
    match &node.value {
        Value::List(items) => Some(items),
        Value::Null | Value::Scalar(_) | Value::Map(_) => {
            let mut diagnostic = Diagnostic::new(
                Code::WRONG_TYPE,
                node.place.first_line(),
                format!("expected a list, found {}", node.kind()),
            );
            if let Some(text) = node.as_text() {
                diagnostic = diagnostic.hint(format!("write `[{text}]`"));
            }
            cx.report(diagnostic);
            None
        }
    }
}

/// One value, or the items of a list.
pub fn one_or_more(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        Value::Null | Value::Scalar(_) | Value::Map(_) => std::slice::from_ref(node),
    }
}

/// The entries of a mapping whose keys are names chosen by the author: name, place of the name, value.
pub fn entries<'n>(node: &'n Node, cx: &mut Context<'_>) -> Vec<(&'n str, &'n Place, &'n Node)> {
    let Some(map) = node.as_map() else {
        wrong_type(node, "a mapping", cx);
        return Vec::new();
    };
    if map.entries.len() > limits::DEFINITIONS_MAX {
        let message = format!(
            "{} entries, at most {} are read",
            map.entries.len(),
            limits::DEFINITIONS_MAX
        );
        cx.error(Code::TOO_MANY, &node.place.first_line(), message);
        return Vec::new();
    }
    map.entries
        .iter()
        .map(|(name, entry)| (name.as_str(), &entry.key, &entry.value))
        .collect()
}

/// Whether a name can be used as a key of nodes, labels and metrics; reports it when not.
pub fn check_name(name: &str, place: &Place, cx: &mut Context<'_>) -> bool {
    let inner = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    let border = |character: Option<char>| character.is_some_and(|character| character.is_ascii_alphanumeric());
    let fits = name.len() <= limits::NAME_BYTES_MAX
        && name.chars().all(inner)
        && border(name.chars().next())
        && border(name.chars().last());
    if !fits {
        let shown: String = name.chars().take(limits::NAME_BYTES_MAX + 1).collect();
        cx.report(
            Diagnostic::new(Code::NAME, place.clone(), format!("`{shown}` cannot be a name")).hint(format!(
                "letters, digits, `-`, `_` and `.`, at most {}, a letter or digit at both ends",
                limits::NAME_BYTES_MAX
            )),
        );
    }
    fits
}

/// An IANA zone that exists.
pub fn zone(node: &Node, cx: &mut Context<'_>) -> Option<String> {
    let text = settled(node, "a time zone such as `Europe/Dublin`", cx)?;
    let database = jiff::tz::TimeZoneDatabase::bundled();
    match database.get(text) {
        // The database's own spelling, so that `europe/dublin` and `Europe/Dublin` are one zone.
        Ok(zone) => Some(zone.iana_name().unwrap_or(text).to_owned()),
        Err(_) => {
            let names: Vec<String> = database.available().map(|name| name.to_string()).collect();
            let hint = suggestion::closest(text, names.iter().map(String::as_str))
                .map(|meant| format!("did you mean `{meant}`?"))
                .or_else(|| Some("IANA names, such as `Europe/Dublin` or `UTC`".to_owned()));
            let message = format!("unknown time zone `{text}`");
            cx.report(Diagnostic::new(Code::ZONE, node.place.clone(), message).maybe_hint(hint));
            None
        }
    }
}

/// A time of day, `09:00`.
pub fn time_of_day(node: &Node, cx: &mut Context<'_>) -> Option<jiff::civil::Time> {
    let text = settled(node, "a time of day such as `09:00`", cx)?;
    let shaped = matches!(text.len(), 5 | 8) && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    match text.parse().ok().filter(|_| shaped) {
        Some(time) => Some(time),
        None => {
            let hint = "hours and minutes in quotes, `'09:00'`; midnight is `'00:00'`";
            let message = format!("`{text}` is not a time of day");
            cx.report(Diagnostic::new(Code::DATE_TIME, node.place.clone(), message).hint(hint));
            None
        }
    }
}

/// An instant with its zone, `2026-03-02T10:00:00Z`.
pub fn instant(node: &Node, cx: &mut Context<'_>) -> Option<jiff::Timestamp> {
    let text = settled(node, "an instant such as `2026-03-02T10:00:00Z`", cx)?;
    match text.parse() {
        Ok(instant) => Some(instant),
        Err(_) => {
            let message = format!("`{text}` is no instant");
            let hint = "date, time and zone: `2026-03-02T10:00:00Z`, or `2026-03-02T10:00:00-05:00`";
            cx.report(Diagnostic::new(Code::DATE_TIME, node.place.clone(), message).hint(hint));
            None
        }
    }
}

/// A date, `2026-12-23`.
pub fn date(node: &Node, cx: &mut Context<'_>) -> Option<jiff::civil::Date> {
    let text = settled(node, "a date such as `2026-12-23`", cx)?;
    match text.parse().ok().filter(|_| text.len() == 10) {
        Some(date) => Some(date),
        None => {
            let message = format!("`{text}` is not a date that exists");
            cx.report(
                Diagnostic::new(Code::DATE_TIME, node.place.clone(), message).hint("year-month-day, `2026-12-23`"),
            );
            None
        }
    }
}

/// Settings as JSON. A plain number becomes one only when JSON would write it the same way, so `1.10` stays text.
pub fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(map) => map
            .entries
            .iter()
            .map(|(key, entry)| (key.clone(), json(&entry.value)))
            .collect(),
        Value::Scalar(scalar) if scalar.style == Style::Plain => plain_json(&scalar.text),
        Value::Scalar(scalar) => serde_json::Value::String(scalar.text.clone()),
    }
}

fn plain_json(text: &str) -> serde_json::Value {
    match text {
        "true" => return serde_json::Value::Bool(true),
        "false" => return serde_json::Value::Bool(false),
        _ => {}
    }
    let number = text.parse::<i64>().ok().map(serde_json::Number::from);
    let number = number.or_else(|| text.parse::<f64>().ok().and_then(serde_json::Number::from_f64));
    match number {
        Some(number) if number.to_string() == text => serde_json::Value::Number(number),
        Some(_) | None => serde_json::Value::String(text.to_owned()),
    }
}
