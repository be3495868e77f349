//! The metric source `azureMonitor`: platform and custom metrics of one Azure resource, in buckets of a time grain.
//!
//! The call is `GET {resource}/providers/Microsoft.Insights/metrics` with `api-version=2023-10-01`
//! (learn.microsoft.com/rest/api/monitor/metrics/list; the answer's shape is that of
//! Azure/azure-rest-api-specs, Microsoft.Insights/stable/2023-10-01/metrics_API.json): each metric has a `unit` and `timeseries`, whose
//! `data` have a `timeStamp` and the aggregation that was asked for, which is missing where there is no data.

mod question;

use std::collections::BTreeMap;

use jiff::Timestamp;
use meridian_azure::identity::{Identity, Keeper};
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{Number, Series, Stretch};
use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::MetricUnit;
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value as Json;

use self::question::{Question, Term};
use crate::metric::azure;
use crate::metric::buckets::{self, Bucket, several};
use crate::metric::placing::whole;
use crate::metric::unit::{Told, factor};
use crate::metric::web::{Over, Protocol, Server, Visit};
use crate::metric::words::{self, Rhythm, Way, optional};
use crate::metric::{Kind, Making, kind};

const API_VERSION: &str = "2023-10-01";
/// Platform metrics are there within a minute or two after what they count.
const DELAY_DEFAULT: Duration = Duration::from_secs(60);
/// The time grains that Azure Monitor has, as it writes them.
const GRAINS: [(&str, u64); 8] = [
    ("PT1M", 60),
    ("PT5M", 300),
    ("PT15M", 900),
    ("PT30M", 1_800),
    ("PT1H", 3_600),
    ("PT6H", 21_600),
    ("PT12H", 43_200),
    ("P1D", 86_400),
];

pub(super) const KIND: Kind = kind(
    "azureMonitor",
    &[
        azure::CREDENTIALS,
        azure::CLOUD,
        optional(
            "resource",
            "the resource's id, as in `/subscriptions/…/sites/shop`, for queries that name none with `of`",
        ),
        optional(
            "namespace",
            "the metrics' namespace, where it is not the resource's own",
        ),
        optional("address", "the resource manager's root instead of the cloud's own"),
        optional("step", "the time grain: 1m (default), 5m, 15m, 30m, 1h, 6h, 12h or 1d"),
        optional(
            "delay",
            "how long after its end a bucket may still be filling (default 1m)",
        ),
        words::LOOKBACK,
        words::TIMEOUT,
    ],
    |settings| read(settings).map(drop),
    |making| Ok(Box::new(Over(AzureMonitor::new(making)?))),
);

/// Azure Monitor's metrics, seen by one identity.
struct AzureMonitor {
    server: Server,
    identity: Identity,
    resource: Option<String>,
    namespace: Option<String>,
    rhythm: Rhythm,
    unit: Option<MetricUnit>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    credentials: Json,
    cloud: Option<Json>,
    resource: Option<String>,
    namespace: Option<String>,
    address: Option<String>,
    step: Option<Duration>,
    delay: Option<Duration>,
    lookback: Option<Duration>,
    timeout: Option<Duration>,
}

struct Settings {
    root: Url,
    identity: Identity,
    resource: Option<String>,
    namespace: Option<String>,
    rhythm: Rhythm,
    timeout: Duration,
}

fn read(settings: &Json) -> Result<Settings, String> {
    let written: Written = words::read(settings)?;
    let identity = azure::identity(written.cloud.as_ref(), &written.credentials)?;
    let own = identity.address(Keeper::ResourceManager);
    let rhythm = Rhythm::read(written.step, written.delay, written.lookback, DELAY_DEFAULT)?;
    if grain(rhythm.step).1 != rhythm.step {
        return Err(format!(
            "`step` is one of Azure Monitor's time grains (1m, 5m, 15m, 30m, 1h, 6h, 12h, 1d), got {}",
            rhythm.step
        ));
    }
    if let Some(resource) = &written.resource {
        question::resource(resource).map_err(|why| format!("`resource` {why}"))?;
    }
    Ok(Settings {
        root: words::address(written.address.as_deref().unwrap_or(own), Way::Guarded)?,
        identity,
        resource: written.resource,
        namespace: written.namespace,
        rhythm,
        timeout: words::timeout(written.timeout)?,
    })
}

/// The smallest time grain that is not below a step; a day is the largest.
fn grain(step: Duration) -> (&'static str, Duration) {
    let known = GRAINS.map(|(name, seconds)| (name, Duration::from_secs(seconds)));
    let fits = known.into_iter().find(|(_, width)| *width >= step);
    fits.unwrap_or(known[known.len() - 1])
}

#[derive(Deserialize)]
struct Answer {
    value: Vec<Metric>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    name: Name,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    timeseries: Vec<Course>,
    error_code: Option<String>,
    error_message: Option<String>,
}

#[derive(Deserialize)]
struct Name {
    value: String,
}

#[derive(Deserialize)]
struct Course {
    #[serde(default)]
    data: Vec<BTreeMap<String, Json>>,
}

impl AzureMonitor {
    fn new(making: &Making<'_>) -> Result<AzureMonitor, Failure> {
        let settings = read(making.settings).map_err(|why| making.unfit(&why))?;
        Ok(AzureMonitor {
            server: making.server(
                settings.root,
                "`credentials`: the identity needs the role Monitoring Reader on the resource",
                settings.timeout,
            ),
            identity: settings.identity,
            resource: settings.resource,
            namespace: settings.namespace,
            rhythm: settings.rhythm,
            unit: making.purpose.unit.clone(),
        })
    }

    /// The buckets of what is asked, in the declared unit, over whole time grains.
    async fn buckets(&self, visit: &Visit<'_>, query: &str, over: Stretch) -> Result<Vec<Bucket>, Failure> {
        if over.from >= over.to {
            return Ok(Vec::new());
        }
        let question = Question::read(query).map_err(Failure::lasting)?;
        let resource = question.resource.as_ref().or(self.resource.as_ref());
        let resource = resource.ok_or_else(|| {
            Failure::lasting(
                "neither the query (`… of /subscriptions/…`) nor the source's `resource` says which resource is meant",
            )
        })?;
        let names: Vec<&str> = question.terms().map(|term| term.metric.as_str()).collect();
        let aggregations: Vec<&str> = question.terms().map(|term| term.aggregation.name()).collect();
        let (names, aggregations) = (names.join(","), aggregations.join(","));
        let timespan = format!("{}/{}", over.from, over.to);
        let mut parameters = vec![
            ("api-version", API_VERSION),
            ("metricnames", &names),
            ("aggregation", &aggregations),
            ("timespan", &timespan),
            ("interval", grain(over.step).0),
        ];
        parameters.extend(question.filter.as_deref().map(|filter| ("$filter", filter)));
        parameters.extend(
            self.namespace
                .as_deref()
                .map(|namespace| ("metricnamespace", namespace)),
        );
        let request = visit
            .request(Method::GET, &format!("{resource}/providers/Microsoft.Insights/metrics"))?
            .header(
                AUTHORIZATION,
                azure::authorization(visit, &self.identity, Keeper::ResourceManager).await?,
            )
            .query(&parameters);
        let answer: Answer = visit.json(request, azure::said).await?;
        let (over_told, over_buckets) = course(visit, &answer, &question.over)?;
        let Some(under) = &question.under else {
            let factor = factor(self.unit.as_ref(), &over_told)?;
            return Ok(scaled(over_buckets, factor));
        };
        let (under_told, under_buckets) = course(visit, &answer, under)?;
        let told = if over_told == under_told {
            Told::Ratio
        } else {
            Told::Other(format!("{} / {}", question.over.metric, under.metric))
        };
        let factor = factor(self.unit.as_ref(), &told)?;
        Ok(scaled(quotient(&over_buckets, &under_buckets), factor))
    }
}

fn scaled(mut buckets: Vec<Bucket>, factor: f64) -> Vec<Bucket> {
    for bucket in &mut buckets {
        bucket.value = bucket.value.map(|value| value * factor);
    }
    buckets
}

/// Bucket by bucket; where one of the two has no data there is none, and nothing divided by nothing is not a number.
fn quotient(over: &[Bucket], under: &[Bucket]) -> Vec<Bucket> {
    let under: BTreeMap<Timestamp, Option<f64>> = under.iter().map(|bucket| (bucket.from, bucket.value)).collect();
    let quotient = |bucket: &Bucket| Bucket {
        from: bucket.from,
        value: match (bucket.value, under.get(&bucket.from).copied().flatten()) {
            (Some(over), Some(under)) => Some(over / under),
            (_, _) => None,
        },
    };
    over.iter().map(quotient).collect()
}

/// The unit and the buckets of one term.
fn course(visit: &Visit<'_>, answer: &Answer, term: &Term) -> Result<(Told, Vec<Bucket>), Failure> {
    let is_asked = |metric: &&Metric| metric.name.value.eq_ignore_ascii_case(&term.metric);
    let metric = answer.value.iter().find(is_asked);
    let metric =
        metric.ok_or_else(|| Failure::transient(format!("it answered without the metric `{}`", term.metric)))?;
    if let Some(code) = metric.error_code.as_deref().filter(|code| *code != "Success") {
        let message = metric.error_message.as_deref().unwrap_or_default();
        return Err(Failure::transient(format!(
            "it could not read `{}`: {}",
            term.metric,
            visit.quoted(&format!("{code}: {message}"))
        )));
    }
    let told = term.aggregation.told(&metric.unit);
    let data = match metric.timeseries.as_slice() {
        [] => return Ok((told, Vec::new())),
        [course] => &course.data,
        courses => {
            return Err(several(
                courses.len(),
                "a filter with `eq '*'` splits the metric; name one value, or leave it out",
            ));
        }
    };
    let bucket = |point: &BTreeMap<String, Json>| {
        let unfit = || Failure::transient("it answered with a point that is none");
        let from = point.get("timeStamp").and_then(Json::as_str).ok_or_else(unfit)?;
        Ok(Bucket {
            from: from.parse().map_err(|_| unfit())?,
            value: point.get(term.aggregation.field()).and_then(Json::as_f64),
        })
    };
    let buckets: Result<Vec<Bucket>, Failure> = data.iter().map(bucket).collect();
    Ok((told, buckets?))
}

#[async_trait::async_trait]
impl Protocol for AzureMonitor {
    fn server(&self) -> &Server {
        &self.server
    }

    async fn number(&self, visit: &Visit<'_>, query: &str, at: Timestamp) -> Result<Number, Failure> {
        let step = self.rhythm.step;
        let buckets = self
            .buckets(visit, query, buckets::recent(at, step, &self.rhythm))
            .await?;
        Ok(buckets::newest(&buckets, step, at, &self.rhythm))
    }

    async fn course(&self, visit: &Visit<'_>, query: &str, over: Stretch) -> Result<Series, Failure> {
        let (_, step) = grain(over.step.max(self.rhythm.step));
        let buckets = self.buckets(visit, query, whole(over, step, &self.rhythm)).await?;
        buckets::course(buckets, step, over, &self.rhythm)
    }
}
