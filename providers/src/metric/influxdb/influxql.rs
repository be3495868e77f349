//! InfluxQL: one statement, one series, one column beside its time.

use meridian_engine::ports::failure::Failure;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value as Json;

use super::Rows;
use crate::metric::buckets::{self, Bucket, several};
use crate::metric::placing::{Placed, Writing, bare, has_word};
use crate::metric::web::Visit;
use crate::metric::words::SecretName;

pub const WRITING: Writing = Writing {
    instant: |at| format!("{}ms", at.as_millisecond()),
    length: |length| format!("{}ms", length.as_millis()),
};

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<Statement>,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(default)]
    series: Vec<Table>,
    error: Option<String>,
    #[serde(default)]
    partial: bool,
}

#[derive(Deserialize)]
struct Table {
    columns: Vec<String>,
    #[serde(default)]
    values: Vec<Vec<Json>>,
    #[serde(default)]
    partial: bool,
}

pub async fn rows(
    visit: &Visit<'_>,
    placed: &Placed,
    database: &str,
    retention_policy: Option<&str>,
    user: Option<&(String, SecretName)>,
) -> Result<Rows, Failure> {
    let query = asking(&placed.query)?;
    let mut parameters = vec![("db", database), ("q", query), ("epoch", "ms")];
    parameters.extend(retention_policy.map(|policy| ("rp", policy)));
    let mut request = visit.request(Method::GET, "query")?.query(&parameters);
    if let Some((username, password)) = user {
        request = request.basic_auth(username, Some(visit.secret(password)?.expose()));
    }
    let answer: Answer = visit.json(request, said).await?;
    let [statement] = answer.results.as_slice() else {
        return Err(Failure::lasting(format!(
            "the query has {} statements where one is needed",
            answer.results.len()
        )));
    };
    if let Some(error) = &statement.error {
        return Err(refused(error, visit));
    }
    let table = match statement.series.as_slice() {
        [] => {
            return Ok(Rows {
                rows: Vec::new(),
                until: None,
            });
        }
        [table] => table,
        tables => return Err(several(tables.len(), "leave out `GROUP BY` tags")),
    };
    if statement.partial || table.partial {
        return Err(Failure::lasting(
            "the answer was cut off by the server: it has too many rows",
        ));
    }
    let [time, _] = table.columns.as_slice() else {
        return Err(Failure::lasting(format!(
            "the answer has {} columns beside its time where one is needed",
            table.columns.len().saturating_sub(1)
        )));
    };
    if time != "time" {
        return Err(Failure::lasting("the answer has no column `time`"));
    }
    let rows: Result<Vec<Bucket>, Failure> = table.values.iter().map(|row| read(row)).collect();
    let rows = rows?;
    // An aggregate over a stretch has the stretch's begin as its time, or 1970 where the query names none: neither is an instant of
    // data. The first speaks for the stretch up to its end; of the second nobody knows when it was true.
    let until = match rows.as_slice() {
        [row] if row.from == placed.over.from => Some(placed.over.to),
        [row] if row.from.as_millisecond() == 0 => {
            return Err(Failure::lasting(
                "the query looks at all of time; bound it by `time >= $from AND time < $to`",
            ));
        }
        _ => None,
    };
    Ok(Rows { rows, until })
}

/// The query, as long as it can do nothing but ask: InfluxDB 1.x carries out `DROP` and `SELECT … INTO` for whoever may, even when
/// asked by GET.
fn asking(query: &str) -> Result<&str, Failure> {
    let query = query.trim().trim_end_matches(';').trim_end();
    let first = query.split_whitespace().next().unwrap_or_default();
    if !first.eq_ignore_ascii_case("SELECT") || has_word(query, "INTO") || bare(query).contains(';') {
        return Err(Failure::lasting(
            "the query has to be one `SELECT` without `INTO`: a source only asks",
        ));
    }
    Ok(query)
}

fn read(row: &[Json]) -> Result<Bucket, Failure> {
    let [Json::Number(millis), value] = row else {
        return Err(Failure::transient("it answered with a row that is none"));
    };
    let value = match value {
        Json::Null => None,
        Json::Number(number) => number.as_f64(),
        Json::Bool(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => {
            return Err(Failure::lasting("the answer is no number"));
        }
    };
    Ok(Bucket {
        from: buckets::instant(millis.as_f64().unwrap_or(f64::NAN))?,
        value,
    })
}

/// A statement's error comes with the status of success.
fn refused(error: &str, visit: &Visit<'_>) -> Failure {
    let told = format!("it refused the query: {}", visit.quoted(error));
    let passes = ["timeout", "timed out", "limit exceeded", "shutting down"];
    if passes.iter().any(|word| error.contains(word)) {
        Failure::transient(told)
    } else {
        Failure::lasting(told)
    }
}

fn said(answer: &Json) -> Option<String> {
    answer.get("error").and_then(Json::as_str).map(str::to_owned)
}
