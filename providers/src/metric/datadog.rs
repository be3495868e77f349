//! The metric source `datadog`: one metric query, whose points are buckets of the interval that Datadog chose or the query's rollup.
//!
//! The call is `GET /api/v1/query` (docs.datadoghq.com/api/latest/metrics/query-timeseries-points): headers `DD-API-KEY` and
//! `DD-APPLICATION-KEY`, `from` and `to` in seconds; the answer's `series` hold `pointlist` of `[millisecond, value or null]`,
//! `interval` in seconds, and `unit`, a pair of the unit and what it is taken per, each with `family`, `name` and `scale_factor`.
//! Where a limit is reached, `X-RateLimit-Reset` says for how many seconds (docs.datadoghq.com/api/latest/rate-limits).

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{Number, Series, Stretch};
use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::MetricUnit;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::metric::buckets::{self, Bucket, several};
use crate::metric::unit::{Told, factor};
use crate::metric::web::{Over, Protocol, Server, Visit, sensitive};
use crate::metric::words::{self, Rhythm, SecretName, Way, optional, required};
use crate::metric::{Kind, Making, kind};

/// Points of the last half minute are still arriving from agents, which send every 10 to 15 s.
const DELAY_DEFAULT: Duration = Duration::from_secs(30);

pub(super) const KIND: Kind = kind(
    "datadog",
    &[
        required("apiKey", "an API key: `{secret: name}`"),
        required(
            "applicationKey",
            "an application key that may read timeseries: `{secret: name}`",
        ),
        optional("site", "Datadog's site, as in `datadoghq.eu` (default datadoghq.com)"),
        optional("address", "the API's root instead of the site's own"),
        optional(
            "delay",
            "how long after its end a bucket may still be filling (default 30s)",
        ),
        words::LOOKBACK,
        words::TIMEOUT,
    ],
    |settings| read(settings).map(drop),
    |making| Ok(Box::new(Over(Datadog::new(making)?))),
);

/// An organisation in Datadog.
struct Datadog {
    server: Server,
    api_key: SecretName,
    application_key: SecretName,
    rhythm: Rhythm,
    unit: Option<MetricUnit>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    api_key: SecretName,
    application_key: SecretName,
    site: Option<String>,
    address: Option<String>,
    delay: Option<Duration>,
    lookback: Option<Duration>,
    timeout: Option<Duration>,
}

struct Settings {
    root: Url,
    api_key: SecretName,
    application_key: SecretName,
    rhythm: Rhythm,
    timeout: Duration,
}

fn read(settings: &Json) -> Result<Settings, String> {
    let written: Written = words::read(settings)?;
    let root = match (written.site, written.address) {
        (Some(_), Some(_)) => return Err("`site` and `address` exclude each other".to_owned()),
        (None, Some(address)) => address,
        (None, None) => "https://api.datadoghq.com".to_owned(),
        (Some(site), None) => {
            let is_host = !site.is_empty() && site.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
            if !is_host {
                return Err(format!("`site` is a host name such as `datadoghq.eu`, got `{site}`"));
            }
            format!("https://api.{site}")
        }
    };
    Ok(Settings {
        root: words::address(&root, Way::Guarded)?,
        api_key: written.api_key,
        application_key: written.application_key,
        // The interval is Datadog's to choose; one second is the smallest.
        rhythm: Rhythm::read(
            Some(Duration::from_secs(1)),
            written.delay,
            written.lookback,
            DELAY_DEFAULT,
        )?,
        timeout: words::timeout(written.timeout)?,
    })
}

#[derive(Deserialize)]
struct Answer {
    status: Option<String>,
    error: Option<String>,
    #[serde(default)]
    series: Vec<Course>,
}

#[derive(Deserialize)]
struct Course {
    /// `[millisecond, value]`, both of which may be missing.
    pointlist: Vec<Vec<Option<f64>>>,
    /// In seconds.
    interval: u64,
    unit: Option<Vec<Option<Unit>>>,
}

#[derive(Deserialize)]
struct Unit {
    family: Option<String>,
    name: Option<String>,
    scale_factor: Option<f64>,
}

impl Datadog {
    fn new(making: &Making<'_>) -> Result<Datadog, Failure> {
        let settings = read(making.settings).map_err(|why| making.unfit(&why))?;
        Ok(Datadog {
            server: making.server(settings.root, "`apiKey` and `applicationKey`", settings.timeout),
            api_key: settings.api_key,
            application_key: settings.application_key,
            rhythm: settings.rhythm,
            unit: making.purpose.unit.clone(),
        })
    }

    /// The buckets of the one series, in the declared unit, and their width; none of either where there is no data.
    async fn buckets(
        &self,
        visit: &Visit<'_>,
        query: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Option<(Vec<Bucket>, Duration)>, Failure> {
        let (from, to) = (from.as_second().to_string(), to.as_second().to_string());
        let request = visit
            .request(Method::GET, "api/v1/query")?
            .header("DD-API-KEY", sensitive(visit.secret(&self.api_key)?.expose())?)
            .header(
                "DD-APPLICATION-KEY",
                sensitive(visit.secret(&self.application_key)?.expose())?,
            )
            .query(&[("from", from.as_str()), ("to", &to), ("query", query.trim())]);
        let answer: Answer = visit.json(request, said).await?;
        if let Some(error) = answer.error.filter(|error| !error.is_empty()) {
            return Err(Failure::lasting(format!(
                "it refused the query: {}",
                visit.quoted(&error)
            )));
        }
        if answer.status.as_deref() != Some("ok") {
            return Err(Failure::transient("it answered with JSON that datadog would not send"));
        }
        let [course] = answer.series.as_slice() else {
            return match answer.series.len() {
                0 => Ok(None),
                count => Err(several(count, "aggregate them: leave out `by {…}`")),
            };
        };
        let factor = factor(self.unit.as_ref(), &told(course.unit.as_deref()))?;
        let bucket = |point: &Vec<Option<f64>>| {
            let [Some(millis), value] = point.as_slice() else {
                return Err(Failure::transient("it answered with a point that is none"));
            };
            Ok(Bucket {
                from: buckets::instant(*millis)?,
                value: value.map(|value| value * factor),
            })
        };
        let buckets: Result<Vec<Bucket>, Failure> = course.pointlist.iter().map(bucket).collect();
        let width = Duration::from_secs(course.interval.max(1));
        Ok(Some((buckets?, width)))
    }
}

#[async_trait::async_trait]
impl Protocol for Datadog {
    fn server(&self) -> &Server {
        &self.server
    }

    async fn number(&self, visit: &Visit<'_>, query: &str, at: Timestamp) -> Result<Number, Failure> {
        let from = at.checked_sub(self.rhythm.lookback.saturating_add(self.rhythm.delay).signed());
        Ok(
            match self.buckets(visit, query, from.unwrap_or(Timestamp::MIN), at).await? {
                Some((buckets, width)) => buckets::newest(&buckets, width, at, &self.rhythm),
                None => Number { value: None, at: None },
            },
        )
    }

    async fn course(&self, visit: &Visit<'_>, query: &str, over: Stretch) -> Result<Series, Failure> {
        let (buckets, width) = match self.buckets(visit, query, over.from, over.to).await? {
            Some(found) => found,
            None => (Vec::new(), over.step),
        };
        buckets::course(buckets, width, over, &self.rhythm)
    }
}

/// Datadog's unit in our terms: its factors lead to seconds and bytes.
fn told(unit: Option<&[Option<Unit>]>) -> Told {
    let Some([Some(unit), per @ ..]) = unit else {
        return Told::Unsaid;
    };
    let name = unit.name.clone().unwrap_or_default();
    if let Some(Some(per)) = per.first() {
        return match (unit.family.as_deref(), per.name.as_deref()) {
            (Some("time" | "bytes" | "percentage"), _) | (_, None) => Told::Other(name),
            (_, Some("second")) => Told::PerSecond,
            (_, Some(per)) => Told::Other(format!("{name} per {per}")),
        };
    }
    match (unit.family.as_deref(), unit.scale_factor) {
        (Some("time"), Some(factor)) => Told::Seconds(factor),
        (Some("bytes"), Some(factor)) => Told::Bytes(factor),
        (Some("percentage"), _) if name == "percent" => Told::Percent,
        (Some("percentage"), _) if name == "fraction" => Told::Ratio,
        (Some("time" | "bytes" | "percentage"), _) => Told::Other(name),
        // Requests, errors, hits and the like are all counted.
        (Some(_), _) => Told::Count,
        (None, _) => Told::Unsaid,
    }
}

fn said(answer: &Json) -> Option<String> {
    let errors = answer.get("errors").and_then(Json::as_array);
    let first = errors.and_then(|errors| errors.first()).and_then(Json::as_str);
    first
        .or_else(|| answer.get("error").and_then(Json::as_str))
        .map(str::to_owned)
}
