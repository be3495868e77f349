//! Flux: one table of annotated CSV, whose rows have `_value` and either `_time` or the stretch that they speak for.

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Value as Json, json};

use super::Rows;
use crate::metric::buckets::{Bucket, several};
use crate::metric::placing::{Placed, Writing};
use crate::metric::web::{Visit, sensitive};
use crate::metric::words::SecretName;

pub const WRITING: Writing = Writing {
    instant: |at| at.to_string(),
    length: |length| format!("{}ms", length.as_millis()),
};

pub async fn rows(visit: &Visit<'_>, placed: &Placed, organization: &str, token: &SecretName) -> Result<Rows, Failure> {
    let token = sensitive(&format!("Token {}", visit.secret(token)?.expose()))?;
    let accept = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/csv"))]);
    let dialect = json!({"header": true, "delimiter": ",", "annotations": []});
    let request = visit
        .request(Method::POST, "api/v2/query")?
        .headers(accept)
        .header(AUTHORIZATION, token)
        .query(&[("org", organization)])
        .json(&json!({"type": "flux", "query": placed.query, "dialect": dialect}));
    let (_, body) = visit.body(request, said).await?;
    let text = String::from_utf8(body).map_err(|_| Failure::transient("it answered with what is no text"))?;
    read(&text, placed, visit)
}

/// Reads the tables: each begins with a header, and an empty line ends it.
fn read(text: &str, placed: &Placed, visit: &Visit<'_>) -> Result<Rows, Failure> {
    let mut header: Option<Vec<String>> = None;
    let mut tables: Vec<(String, String)> = Vec::new();
    let mut rows = Vec::new();
    let mut until = None;
    for line in records(text)? {
        if line.iter().all(String::is_empty) {
            header = None;
            continue;
        }
        let Some(header) = &header else {
            header = Some(line);
            continue;
        };
        let of = |name: &str| {
            let index = header.iter().position(|column| column == name)?;
            line.get(index).map(String::as_str)
        };
        // An error in the middle of an answer is a table of its own.
        if let Some(error) = of("error") {
            return Err(Failure::lasting(format!(
                "it refused the query: {}",
                visit.quoted(error)
            )));
        }
        let table = (
            of("result").unwrap_or_default().to_owned(),
            of("table").unwrap_or_default().to_owned(),
        );
        if !tables.contains(&table) {
            tables.push(table);
        }
        let value = of("_value").ok_or_else(|| Failure::lasting("the answer has no column `_value`"))?;
        let instant = |text: &str| {
            text.parse::<Timestamp>()
                .map_err(|_| Failure::transient("it answered with an instant that is none"))
        };
        let (time, stop) = (
            of("_time").map(instant).transpose()?,
            of("_stop").map(instant).transpose()?,
        );
        let from = match (time, stop) {
            // `aggregateWindow` gives a bucket the instant of its end.
            (Some(time), _) if placed.is_bucketed => before(time, placed),
            (Some(time), _) => time,
            (None, Some(stop)) => {
                until = Some(stop);
                stop
            }
            (None, None) => {
                return Err(Failure::lasting(
                    "the answer has neither `_time` nor `_stop`, so nothing tells when it was true",
                ));
            }
        };
        rows.push(Bucket {
            from,
            value: number(value)?,
        });
    }
    match tables.len() {
        0 | 1 => Ok(Rows { rows, until }),
        count => Err(several(count, "put them together, for example with `group() |> sum()`")),
    }
}

fn before(end: Timestamp, placed: &Placed) -> Timestamp {
    end.checked_sub(placed.over.step.signed()).unwrap_or(Timestamp::MIN)
}

/// An empty field is null.
fn number(text: &str) -> Result<Option<f64>, Failure> {
    match text {
        "" => Ok(None),
        text => match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Failure::lasting("the answer is no number")),
        },
    }
}

/// Comma-separated records with quoted fields (RFC 4180).
fn records(text: &str) -> Result<Vec<Vec<String>>, Failure> {
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut field = String::new();
    let mut is_quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => record.push(std::mem::take(&mut field)),
            '\r' if !is_quoted => {}
            '\n' if !is_quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            letter => field.push(letter),
        }
    }
    if is_quoted {
        return Err(Failure::transient("its answer breaks off"));
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        records.push(record);
    }
    Ok(records)
}

fn said(answer: &Json) -> Option<String> {
    let of = |key: &str| answer.get(key).and_then(Json::as_str);
    match (of("code").unwrap_or_default(), of("message")?) {
        ("", message) => Some(message.to_owned()),
        (code, message) => Some(format!("{code}: {message}")),
    }
}
