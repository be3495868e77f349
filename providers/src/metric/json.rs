//! The metric source `json`: any JSON over HTTP, and CEL over the body that gives the number.
//!
//! The metric's query is what follows the address: a path with its own query, `$from`, `$to` and `$step` filled in. What stands below
//! the first line is sent as the body of a POST. `#samples` behind the path asks for the expression `samples` instead of `value`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{Number, Point, Series, Stretch};
use meridian_workflows::duration::Duration;
use meridian_workflows::expression::evaluation::Fault;
use meridian_workflows::expression::{Checked, Expression, Scope, Type, Value, Values};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::metric::buckets;
use crate::metric::placing::{self, Writing};
use crate::metric::web::{Over, Protocol, Server, Visit, sensitive};
use crate::metric::words::{self, Rhythm, SecretName, Way, optional, required};
use crate::metric::{Kind, Making, kind};

/// Numbers above this are instants in milliseconds, below in seconds: the year 5138 in the one, 1973 in the other.
const MILLIS_ABOVE: f64 = 1e11;
const WRITING: Writing = Writing {
    instant: |at| at.as_second().to_string(),
    length: |length| length.as_millis().div_ceil(1_000).to_string(),
};

pub(super) const KIND: Kind = kind(
    "json",
    &[
        required("address", "the root that the metric's query is put behind"),
        required("value", "CEL over `body`: the number, or null where there is no data"),
        optional(
            "at",
            "CEL over `body`: when the number was true, in seconds or milliseconds since 1970 or as RFC 3339",
        ),
        optional(
            "samples",
            "CEL over `body`: how many samples, for a query that ends in `#samples`",
        ),
        optional(
            "series",
            "CEL over `body`: a list of `[instant, number]`, for gates that look at a course",
        ),
        optional("headers", "headers of the request: text, or `{secret: name}`"),
        words::STEP,
        optional("delay", "how long data may take to arrive (default 0s)"),
        words::TIMEOUT,
    ],
    |settings| read(settings).map(drop),
    |making| Ok(Box::new(Over(JsonOverHttp::new(making)?))),
);

/// A server that answers JSON.
struct JsonOverHttp {
    server: Server,
    settings: Settings,
    window: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    address: String,
    value: String,
    at: Option<String>,
    samples: Option<String>,
    series: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Header>,
    step: Option<Duration>,
    delay: Option<Duration>,
    timeout: Option<Duration>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged, expecting = "a header is text or `{secret: name}`")]
enum Header {
    Text(String),
    Secret(SecretName),
}

struct Settings {
    root: Url,
    value: Checked,
    at: Option<Checked>,
    samples: Option<Checked>,
    series: Option<Checked>,
    headers: Vec<(HeaderName, Header)>,
    rhythm: Rhythm,
    timeout: Duration,
}

fn read(settings: &Json) -> Result<Settings, String> {
    let written: Written = words::read(settings)?;
    let lookback = written.step.map(|step| step.saturating_mul(2));
    let header = |(name, header): (String, Header)| {
        if let Header::Text(text) = &header {
            HeaderValue::from_str(text)
                .map_err(|_| format!("`headers` has `{name}` with a value that cannot be sent"))?;
        }
        let known: HeaderName = name
            .parse()
            .map_err(|_| format!("`headers` has `{name}`, which is no name of a header"))?;
        Ok((known, header))
    };
    let optional = |key: &str, source: Option<String>| source.map(|source| checked(key, &source)).transpose();
    Ok(Settings {
        root: words::address(&written.address, Way::Any)?,
        value: checked("value", &written.value)?,
        at: optional("at", written.at)?,
        samples: optional("samples", written.samples)?,
        series: optional("series", written.series)?,
        headers: written.headers.into_iter().map(header).collect::<Result<_, String>>()?,
        rhythm: Rhythm::read(written.step, written.delay, lookback, Duration::ZERO)?,
        timeout: words::timeout(written.timeout)?,
    })
}

fn checked(key: &str, source: &str) -> Result<Checked, String> {
    let scope = Scope::new().with("body", Type::Dyn);
    let checked = Expression::parse(source).and_then(|expression| expression.check(&scope));
    checked.map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        format!("`{key}` cannot be read: {first}")
    })
}

impl JsonOverHttp {
    fn new(making: &Making<'_>) -> Result<JsonOverHttp, Failure> {
        let settings = read(making.settings).map_err(|why| making.unfit(&why))?;
        Ok(JsonOverHttp {
            server: making.server(settings.root.clone(), "`headers`", settings.timeout),
            settings,
            window: making.purpose.window,
        })
    }

    /// Asks for what the query says; the body is then a variable of every expression.
    async fn body(&self, visit: &Visit<'_>, query: &str) -> Result<Values, Failure> {
        let (path, body) = split(query);
        let mut url = self.settings.root.clone();
        let (path, parameters) = match path.split_once('?') {
            Some((path, parameters)) => (path, Some(parameters)),
            None => (path, None),
        };
        // The path is set, not joined: a query cannot lead to another server.
        let whole = format!("{}/{}", url.path().trim_end_matches('/'), path.trim_start_matches('/'));
        url.set_path(&whole);
        url.set_query(parameters);
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut request = visit.request_to(method, url)?;
        for (name, header) in &self.settings.headers {
            let value = match header {
                Header::Text(text) => HeaderValue::from_str(text)
                    .map_err(|_| Failure::lasting(format!("the header `{name}` cannot be sent")))?,
                Header::Secret(secret) => sensitive(visit.secret(secret)?.expose())?,
            };
            request = request.header(name.clone(), value);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_owned());
        }
        // What a server says beside a refusal may be anything; its status says enough.
        let json: Json = visit.json(request, |_| None).await?;
        Ok(Values::new().with("body", Value::from(json)))
    }
}

/// The first line is the path, what follows is the body.
fn split(query: &str) -> (&str, Option<&str>) {
    match query.trim().split_once('\n') {
        Some((path, body)) if !body.trim().is_empty() => (path.trim(), Some(body.trim())),
        Some((path, _)) => (path.trim(), None),
        None => (query.trim(), None),
    }
}

/// The query without the mark at the end of its first line that asks for another expression.
fn unmarked(query: &str) -> (String, Option<&str>) {
    let query = query.trim();
    let (line, rest) = match query.find('\n') {
        Some(end) => query.split_at(end),
        None => (query, ""),
    };
    match line.split_once('#') {
        Some((path, mark)) => (format!("{path}{rest}"), Some(mark.trim())),
        None => (query.to_owned(), None),
    }
}

#[async_trait::async_trait]
impl Protocol for JsonOverHttp {
    fn server(&self) -> &Server {
        &self.server
    }

    async fn number(&self, visit: &Visit<'_>, query: &str, at: Timestamp) -> Result<Number, Failure> {
        let (query, mark) = unmarked(query);
        let expression = match (mark, &self.settings.samples) {
            (None | Some("value"), _) => &self.settings.value,
            (Some("samples"), Some(samples)) => samples,
            (Some("samples"), None) => {
                return Err(Failure::lasting(
                    "the query asks for `samples`, which the source does not define",
                ));
            }
            (Some(mark), _) => {
                return Err(Failure::lasting(format!(
                    "the query ends in `#{mark}`, and `#value` or `#samples` is needed"
                )));
            }
        };
        let placed = placing::one(&query, at, &self.settings.rhythm, self.window, WRITING);
        let values = self.body(visit, &placed.query).await?;
        let value = match evaluated(expression, &values)? {
            Some(value) => number(expression, &value)?,
            None => None,
        };
        let at = match (&self.settings.at, value) {
            (Some(at), Some(_)) => match evaluated(at, &values)? {
                Some(value) => Some(instant(at, &value)?),
                None => {
                    return Err(Failure::transient(format!(
                        "`{}` gives no instant",
                        at.expression().source()
                    )));
                }
            },
            (_, _) => None,
        };
        Ok(Number { value, at })
    }

    async fn course(&self, visit: &Visit<'_>, query: &str, over: Stretch) -> Result<Series, Failure> {
        let Some(expression) = &self.settings.series else {
            return Err(Failure::lasting(
                "a series needs the source's setting `series`, which says where the body has it",
            ));
        };
        let (query, _) = unmarked(query);
        let placed = placing::many(&query, over, &self.settings.rhythm, WRITING)?;
        let values = self.body(visit, &placed.query).await?;
        let unfit = || {
            Failure::transient(format!(
                "`{}` gives no list of `[instant, number]`",
                expression.expression().source()
            ))
        };
        let items = match evaluated(expression, &values)? {
            None | Some(Value::Null) => Arc::default(),
            Some(Value::List(items)) => items,
            Some(_) => return Err(unfit()),
        };
        let mut points = Vec::with_capacity(items.len());
        for item in items.iter() {
            let Value::List(pair) = item else { return Err(unfit()) };
            let [at, value] = &pair[..] else { return Err(unfit()) };
            let at = instant(expression, at)?;
            if let Some(value) = number(expression, value)?
                && at >= over.from
                && at < placed.over.to
            {
                points.push(Point { at, value });
            }
        }
        points.sort_by_key(|point| point.at);
        Ok(Series {
            points,
            step: placed.over.step,
            complete_to: Some(placed.over.to),
        })
    }
}

/// The value of an expression; a division by zero is no data, as where there was no traffic.
fn evaluated(expression: &Checked, values: &Values) -> Result<Option<Value>, Failure> {
    match expression.evaluate(values) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.fault == Fault::DivisionByZero => Ok(None),
        Err(error) => Err(Failure::transient(format!(
            "`{}` has no answer for this body: {error}",
            expression.expression().source()
        ))),
    }
}

/// A number, or null for no data.
fn number(expression: &Checked, value: &Value) -> Result<Option<f64>, Failure> {
    match value {
        Value::Null => Ok(None),
        Value::Int(number) => Ok(Some(*number as f64)),
        Value::Uint(number) => Ok(Some(*number as f64)),
        Value::Double(number) => Ok(Some(*number)),
        Value::Bool(_) | Value::String(_) | Value::List(_) | Value::Map(_) => Err(Failure::lasting(format!(
            "`{}` gives {} where a number is needed",
            expression.expression().source(),
            value.described()
        ))),
    }
}

fn instant(expression: &Checked, value: &Value) -> Result<Timestamp, Failure> {
    if let Value::String(text) = value {
        return text.parse().map_err(|_| {
            Failure::transient(format!(
                "`{}` gives a text that is no instant",
                expression.expression().source()
            ))
        });
    }
    let number = number(expression, value)?
        .ok_or_else(|| Failure::transient(format!("`{}` gives no instant", expression.expression().source())))?;
    buckets::instant(if number.abs() > MILLIS_ABOVE {
        number
    } else {
        number * 1_000.0
    })
}
