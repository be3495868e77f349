//! The metric source `newRelic`: NRQL through NerdGraph.
//!
//! The call is `POST /graphql` with the header `API-Key` (docs.newrelic.com/docs/apis/nerdgraph/examples/nerdgraph-nrql-tutorial); the
//! answer's `results` are rows, which with `TIMESERIES` have `beginTimeSeconds` and `endTimeSeconds` and without it one value.
//! `SINCE` and `UNTIL` take milliseconds, `TIMESERIES` at most 366 buckets
//! (docs.newrelic.com/docs/nrql/nrql-syntax-clauses-functions). Errors come with the status of success.

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{Number, Series, Stretch};
use meridian_workflows::duration::Duration;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::metric::buckets::{self, Bucket, several};
use crate::metric::placing::{has_word, whole};
use crate::metric::web::{Over, Protocol, Server, Visit, sensitive};
use crate::metric::words::{self, Rhythm, SecretName, Way, optional, required};
use crate::metric::{Kind, Making, kind};

/// Agents report every few seconds to every minute.
const DELAY_DEFAULT: Duration = Duration::from_secs(30);
/// How many buckets NRQL gives at most.
const BUCKETS_MAX: u64 = 366;
/// The clauses that set the time of a query, which is ours to set.
const OURS: [&str; 3] = ["SINCE", "UNTIL", "TIMESERIES"];
const QUESTION: &str = "query($account: Int!, $nrql: Nrql!, $timeout: Seconds) \
    { actor { account(id: $account) { nrql(query: $nrql, timeout: $timeout) { results } } } }";

pub(super) const KIND: Kind = kind(
    "newRelic",
    &[
        required("account", "the number of the account"),
        required("apiKey", "a user key: `{secret: name}`"),
        optional("region", "us (default) or eu: where the account's data is"),
        optional("address", "NerdGraph's root instead of the region's own"),
        words::STEP,
        optional("delay", "how long data may take to arrive (default 30s)"),
        words::TIMEOUT,
    ],
    |settings| read(settings).map(drop),
    |making| Ok(Box::new(Over(NewRelic::new(making)?))),
);

/// One account of New Relic.
struct NewRelic {
    server: Server,
    account: u64,
    api_key: SecretName,
    rhythm: Rhythm,
    window: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    account: u64,
    api_key: SecretName,
    region: Option<Region>,
    address: Option<String>,
    step: Option<Duration>,
    delay: Option<Duration>,
    timeout: Option<Duration>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Region {
    Us,
    Eu,
}

struct Settings {
    root: Url,
    account: u64,
    api_key: SecretName,
    rhythm: Rhythm,
    timeout: Duration,
}

fn read(settings: &Json) -> Result<Settings, String> {
    let written: Written = words::read(settings)?;
    let root = match (written.region, written.address) {
        (Some(_), Some(_)) => return Err("`region` and `address` exclude each other".to_owned()),
        (None, Some(address)) => address,
        (None | Some(Region::Us), None) => "https://api.newrelic.com".to_owned(),
        (Some(Region::Eu), None) => "https://api.eu.newrelic.com".to_owned(),
    };
    let lookback = written.step.map(|step| step.saturating_mul(2));
    Ok(Settings {
        root: words::address(&root, Way::Guarded)?,
        account: written.account,
        api_key: written.api_key,
        rhythm: Rhythm::read(written.step, written.delay, lookback, DELAY_DEFAULT)?,
        timeout: words::timeout(written.timeout)?,
    })
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Json>,
    #[serde(default)]
    errors: Vec<Json>,
}

impl NewRelic {
    fn new(making: &Making<'_>) -> Result<NewRelic, Failure> {
        let settings = read(making.settings).map_err(|why| making.unfit(&why))?;
        Ok(NewRelic {
            server: making.server(settings.root, "`apiKey` and `account`", settings.timeout),
            account: settings.account,
            api_key: settings.api_key,
            rhythm: settings.rhythm,
            window: making.purpose.window,
        })
    }

    /// The rows of one NRQL query over a stretch.
    async fn rows(
        &self,
        visit: &Visit<'_>,
        query: &str,
        over: Stretch,
        buckets: &str,
    ) -> Result<Vec<Map<String, Json>>, Failure> {
        let query = query.trim().trim_end_matches(';');
        if let Some(clause) = OURS.into_iter().find(|clause| has_word(query, clause)) {
            return Err(Failure::lasting(format!(
                "the query has `{clause}`, which Meridian adds from the metric's `window`; leave it out"
            )));
        }
        let nrql = format!(
            "{query} SINCE {} UNTIL {}{buckets}",
            over.from.as_millisecond(),
            over.to.as_millisecond()
        );
        let timeout = self.server.timeout().as_millis().div_ceil(1_000).clamp(1, 120);
        let variables = json!({"account": self.account, "nrql": nrql, "timeout": timeout});
        let request = visit
            .request(Method::POST, "graphql")?
            .header("API-Key", sensitive(visit.secret(&self.api_key)?.expose())?)
            .json(&json!({"query": QUESTION, "variables": variables}));
        let answer: Answer = visit.json(request, said).await?;
        if let Some(error) = answer.errors.first() {
            return Err(refused(error, visit));
        }
        let rows = answer
            .data
            .as_ref()
            .and_then(|data| data.pointer("/actor/account/nrql/results"));
        let rows = rows
            .and_then(Json::as_array)
            .map(|rows| rows.iter().map(|row| row.as_object().cloned()).collect());
        rows.flatten()
            .ok_or_else(|| Failure::transient("it answered without results: the key may not see this account"))
    }
}

#[async_trait::async_trait]
impl Protocol for NewRelic {
    fn server(&self) -> &Server {
        &self.server
    }

    async fn number(&self, visit: &Visit<'_>, query: &str, at: Timestamp) -> Result<Number, Failure> {
        let to = buckets::settled(at, self.rhythm.delay);
        let over = Stretch {
            from: to.checked_sub(self.window.signed()).unwrap_or(Timestamp::MIN),
            to,
            step: self.rhythm.step,
        };
        let rows = self.rows(visit, query, over, "").await?;
        let value = match rows.as_slice() {
            [] => None,
            [row] => value(row)?,
            rows => return Err(several(rows.len(), "leave out `FACET`")),
        };
        // The value speaks for the whole stretch, up to its end.
        Ok(Number {
            value,
            at: value.map(|_| over.to),
        })
    }

    async fn course(&self, visit: &Visit<'_>, query: &str, over: Stretch) -> Result<Series, Failure> {
        let needed = Duration::between(over.from, over.to).as_millis().div_ceil(BUCKETS_MAX);
        let seconds = over.step.max(self.rhythm.step).as_millis().max(needed).div_ceil(1_000);
        let step = Duration::from_secs(seconds);
        let asked = whole(over, step, &self.rhythm);
        if asked.from >= asked.to {
            return buckets::course(Vec::new(), step, over, &self.rhythm);
        }
        let rows = self
            .rows(visit, query, asked, &format!(" TIMESERIES {seconds} seconds"))
            .await?;
        let bucket = |row: &Map<String, Json>| {
            if row.contains_key("facet") {
                return Err(several(rows.len(), "leave out `FACET`"));
            }
            let begin = row.get("beginTimeSeconds").and_then(Json::as_f64);
            let begin = begin
                .ok_or_else(|| Failure::transient("it answered with a bucket that does not say when it begins"))?;
            Ok(Bucket {
                from: buckets::instant(begin * 1_000.0)?,
                value: value(row)?,
            })
        };
        let buckets: Result<Vec<Bucket>, Failure> = rows.iter().map(bucket).collect();
        buckets::course(buckets?, step, over, &self.rhythm)
    }
}

/// The one number of a row, which a percentile puts a level deeper; null is no data.
fn value(row: &Map<String, Json>) -> Result<Option<f64>, Failure> {
    const ABOUT: [&str; 4] = ["beginTimeSeconds", "endTimeSeconds", "inspectedCount", "timestamp"];
    let mut values = Vec::new();
    for (key, value) in row.iter().filter(|(key, _)| !ABOUT.contains(&key.as_str())) {
        match value {
            Json::Object(inner) => values.extend(inner.values()),
            Json::Null | Json::Number(_) => values.push(value),
            Json::Bool(_) | Json::String(_) | Json::Array(_) => {
                return Err(Failure::lasting(format!("the answer's `{key}` is no number")));
            }
        }
    }
    match values.as_slice() {
        [Json::Null] => Ok(None),
        [Json::Number(number)] => Ok(number.as_f64()),
        [_] => Err(Failure::lasting("the answer is no number")),
        values => Err(Failure::lasting(format!(
            "the answer has {} values where one is needed; select one",
            values.len()
        ))),
    }
}

/// An error that came with the status of success.
fn refused(error: &Json, visit: &Visit<'_>) -> Failure {
    let class = error
        .pointer("/extensions/errorClass")
        .and_then(Json::as_str)
        .unwrap_or_default();
    let message = error.get("message").and_then(Json::as_str).unwrap_or_default();
    let told = format!("it refused the query: {}", visit.quoted(&format!("{class}: {message}")));
    let passes = [
        "TIMEOUT",
        "TOO_MANY",
        "OVERLOAD",
        "THROTTL",
        "SERVER_ERROR",
        "UNAVAILABLE",
    ];
    if passes.iter().any(|word| class.contains(word)) {
        Failure::transient(told)
    } else {
        Failure::lasting(told)
    }
}

fn said(answer: &Json) -> Option<String> {
    let message = answer.pointer("/errors/0/message").and_then(Json::as_str);
    message
        .or_else(|| answer.pointer("/error/message").and_then(Json::as_str))
        .map(str::to_owned)
}
