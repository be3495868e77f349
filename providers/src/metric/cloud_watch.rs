//! The metric source `cloudWatch`: an expression or metric queries of Amazon CloudWatch, in buckets of a period.
//!
//! The call is `GetMetricData` (docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html) in AWS's JSON
//! protocol, as CloudWatch's published service model has it: `X-Amz-Target: GraniteServiceVersion20100801.GetMetricData`, signed
//! with Signature Version 4. Each result has `Timestamps`, which are the buckets' begins, `Values` and a `StatusCode`.

use jiff::Timestamp;
use meridian_ecs::identity::{Identity, Key, Unsigned, passes};
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{Number, Series, Stretch};
use meridian_workflows::duration::Duration;
use reqwest::header::{CONTENT_TYPE, HeaderName};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::metric::buckets::{self, Bucket, several};
use crate::metric::placing::whole;
use crate::metric::web::{Over, Protocol, Server, Visit, sensitive};
use crate::metric::words::{self, Rhythm, SecretName, Way, optional, required};
use crate::metric::{Kind, Making, kind};

const TARGET: &str = "GraniteServiceVersion20100801.GetMetricData";
const JSON: &str = "application/x-amz-json-1.0";
/// What services count is there a minute or two later.
const DELAY_DEFAULT: Duration = Duration::from_secs(60);
/// Periods below a minute, for metrics of high resolution; above, every whole minute is one.
const SHORT_PERIODS: [u64; 5] = [1, 5, 10, 20, 30];
/// How many points one call gives at most.
const POINTS_MAX: u64 = 100_800;

pub(super) const KIND: Kind = kind(
    "cloudWatch",
    &[
        required("region", "the AWS region, as in `eu-west-1`"),
        optional("role", "the ARN of a role to assume, or {arn, externalId}"),
        optional(
            "accessKeyId",
            "an access key, instead of the credentials that AWS's tools would find",
        ),
        optional("secretAccessKey", "that key's secret: `{secret: name}`"),
        optional("address", "CloudWatch's root instead of the region's own"),
        optional(
            "step",
            "the period: 1s, 5s, 10s, 20s, 30s or whole minutes (default 1m)",
        ),
        optional(
            "delay",
            "how long after its end a bucket may still be filling (default 1m)",
        ),
        words::LOOKBACK,
        words::TIMEOUT,
    ],
    |settings| read(settings).map(drop),
    |making| Ok(Box::new(Over(CloudWatch::new(making)?))),
);

/// CloudWatch in one region, seen by one identity.
struct CloudWatch {
    server: Server,
    identity: Identity,
    root: Url,
    key: Option<(String, SecretName)>,
    rhythm: Rhythm,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    region: String,
    role: Option<Json>,
    access_key_id: Option<String>,
    secret_access_key: Option<SecretName>,
    address: Option<String>,
    step: Option<Duration>,
    delay: Option<Duration>,
    lookback: Option<Duration>,
    timeout: Option<Duration>,
}

struct Settings {
    root: Url,
    identity: Identity,
    key: Option<(String, SecretName)>,
    rhythm: Rhythm,
    timeout: Duration,
}

fn read(settings: &Json) -> Result<Settings, String> {
    let written: Written = words::read(settings)?;
    let region = &written.region;
    let identity = Identity::read(region, written.role.as_ref(), None)?;
    let suffix = if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    let address = written
        .address
        .unwrap_or_else(|| format!("https://monitoring.{region}.{suffix}"));
    let rhythm = Rhythm::read(written.step, written.delay, written.lookback, DELAY_DEFAULT)?;
    if period(rhythm.step) != rhythm.step {
        return Err(format!(
            "`step` is one of CloudWatch's periods (1s, 5s, 10s, 20s, 30s, whole minutes), got {}",
            rhythm.step
        ));
    }
    Ok(Settings {
        root: words::address(&address, Way::Guarded)?,
        identity,
        key: match (written.access_key_id, written.secret_access_key) {
            (None, None) => None,
            (Some(id), Some(secret)) => Some((id, secret)),
            (Some(_), None) | (None, Some(_)) => {
                return Err("`accessKeyId` and `secretAccessKey` belong together".to_owned());
            }
        },
        rhythm,
        timeout: words::timeout(written.timeout)?,
    })
}

/// The smallest period that is not below a step.
fn period(step: Duration) -> Duration {
    let seconds = step.as_millis().div_ceil(1_000);
    let short = SHORT_PERIODS.into_iter().find(|short| *short >= seconds);
    Duration::from_secs(short.unwrap_or(seconds.div_ceil(60) * 60))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    metric_data_results: Vec<Course>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Course {
    #[serde(default)]
    timestamps: Vec<f64>,
    #[serde(default)]
    values: Vec<f64>,
    status_code: Option<String>,
    #[serde(default)]
    messages: Vec<Message>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    #[serde(default)]
    value: String,
}

impl CloudWatch {
    fn new(making: &Making<'_>) -> Result<CloudWatch, Failure> {
        let settings = read(making.settings).map_err(|why| making.unfit(&why))?;
        let access = "credentials: they need to be allowed `cloudwatch:GetMetricData`";
        Ok(CloudWatch {
            server: making
                .server(settings.root.clone(), access, settings.timeout)
                .with_passing(is_passing),
            identity: settings.identity,
            root: settings.root,
            key: settings.key,
            rhythm: settings.rhythm,
        })
    }

    /// The buckets of the one result over whole periods, and their width.
    async fn buckets(&self, visit: &Visit<'_>, query: &str, over: Stretch) -> Result<(Vec<Bucket>, Duration), Failure> {
        let (queries, width) = queries(query, over.step)?;
        if over.from >= over.to {
            return Ok((Vec::new(), width));
        }
        let body = json!({
            "MetricDataQueries": queries,
            "StartTime": over.from.as_second(),
            "EndTime": over.to.as_second(),
            "ScanBy": "TimestampAscending",
        });
        let answer = self.ask(visit, body.to_string()).await?;
        if answer.next_token.is_some() {
            return Err(Failure::lasting(
                "the answer goes over several pages; ask for fewer points",
            ));
        }
        let [course] = answer.metric_data_results.as_slice() else {
            return match answer.metric_data_results.len() {
                0 => Ok((Vec::new(), width)),
                count => Err(several(
                    count,
                    "let one query alone return data, and put SUM(…) or AVG(…) around SEARCH(…)",
                )),
            };
        };
        let said: Vec<&str> = course.messages.iter().map(|message| message.value.as_str()).collect();
        let said = visit.quoted(&said.join("; "));
        match course.status_code.as_deref() {
            Some("Complete") | None => {}
            Some("Forbidden") => {
                return Err(Failure::lasting(format!(
                    "it may not be read with these credentials: {said}"
                )));
            }
            Some(status) => {
                return Err(Failure::transient(format!(
                    "it answered from a part of its data: {}: {said}",
                    visit.quoted(status)
                )));
            }
        }
        if course.timestamps.len() != course.values.len() {
            return Err(Failure::transient(
                "it answered with JSON that cloudWatch would not send",
            ));
        }
        let bucket = |(second, value): (&f64, &f64)| {
            Ok(Bucket {
                from: buckets::instant(second * 1_000.0)?,
                value: Some(*value),
            })
        };
        let buckets: Result<Vec<Bucket>, Failure> = course.timestamps.iter().zip(&course.values).map(bucket).collect();
        Ok((buckets?, width))
    }

    async fn ask(&self, visit: &Visit<'_>, body: String) -> Result<Answer, Failure> {
        let secret = match &self.key {
            Some((id, name)) => Some((id, visit.secret(name)?)),
            None => None,
        };
        let key = secret.as_ref().map(|(id, secret)| Key { id, secret });
        let unsigned = Unsigned {
            service: "monitoring",
            method: "POST",
            url: self.root.as_str(),
            headers: &[("content-type", JSON), ("x-amz-target", TARGET)],
            body: body.as_bytes(),
        };
        let mut request = visit
            .request_to(Method::POST, self.root.clone())?
            .header(CONTENT_TYPE, JSON)
            .header("x-amz-target", TARGET);
        for (name, value) in self.identity.sign(&unsigned, key).await? {
            let name = HeaderName::try_from(name).map_err(|_| Failure::lasting("the signature is no header"))?;
            request = request.header(name, sensitive(&value)?);
        }
        visit.json(request.body(body), said).await
    }
}

/// What a query means to CloudWatch, and the width of its buckets: metric queries as AWS writes them in JSON, or one expression (metric
/// math, SEARCH, or Metrics Insights). Periods that the query does not say are `step`.
fn queries(query: &str, step: Duration) -> Result<(Vec<Json>, Duration), Failure> {
    let query = query.trim();
    let period = step.as_millis() / 1_000;
    if !query.starts_with(['[', '{']) {
        let one = json!({"Id": "meridian", "Expression": query, "Period": period, "ReturnData": true});
        return Ok((vec![one], step));
    }
    let unfit = |why: &str| Failure::lasting(format!("the query is no list of metric queries: {why}"));
    let read: Json = serde_json::from_str(query).map_err(|error| unfit(&error.to_string()))?;
    let mut queries = match read {
        Json::Array(queries) => queries,
        one => vec![one],
    };
    let mut width = None;
    let mut returning = 0;
    for query in &mut queries {
        let query = query.as_object_mut().ok_or_else(|| unfit("an element is no mapping"))?;
        returning += usize::from(query.get("ReturnData") != Some(&Json::Bool(false)));
        let at = match query.get_mut("MetricStat") {
            Some(stat) => stat
                .as_object_mut()
                .ok_or_else(|| unfit("`MetricStat` is no mapping"))?,
            None => query,
        };
        let own = at.entry("Period").or_insert_with(|| json!(period));
        let own = own
            .as_u64()
            .filter(|own| *own > 0)
            .ok_or_else(|| unfit("a `Period` is no number of seconds"))?;
        width = width.max(Some(own));
    }
    if returning != 1 {
        return Err(unfit(&format!(
            "{returning} of its elements return data where one is needed; set `ReturnData` to false in the others"
        )));
    }
    Ok((queries, width.map_or(step, Duration::from_secs)))
}

#[async_trait::async_trait]
impl Protocol for CloudWatch {
    fn server(&self) -> &Server {
        &self.server
    }

    async fn number(&self, visit: &Visit<'_>, query: &str, at: Timestamp) -> Result<Number, Failure> {
        let over = buckets::recent(at, self.rhythm.step, &self.rhythm);
        let (buckets, width) = self.buckets(visit, query, over).await?;
        Ok(buckets::newest(&buckets, width, at, &self.rhythm))
    }

    async fn course(&self, visit: &Visit<'_>, query: &str, over: Stretch) -> Result<Series, Failure> {
        let needed = Duration::between(over.from, over.to).as_millis().div_ceil(POINTS_MAX);
        let step = period(over.step.max(self.rhythm.step).max(Duration::from_millis(needed)));
        let (buckets, width) = self.buckets(visit, query, whole(over, step, &self.rhythm)).await?;
        buckets::course(buckets, width, over, &self.rhythm)
    }
}

/// The name of an error, without the namespace before it.
fn code(answer: &Map<String, Json>) -> &str {
    let written = answer.get("__type").and_then(Json::as_str).unwrap_or_default();
    written.rsplit('#').next().unwrap_or_default()
}

fn is_passing(answer: &Json) -> bool {
    answer.as_object().is_some_and(|answer| passes(code(answer)))
}

fn said(answer: &Json) -> Option<String> {
    let answer = answer.as_object()?;
    let message = answer
        .get("message")
        .or_else(|| answer.get("Message"))
        .and_then(Json::as_str);
    match (code(answer), message.unwrap_or_default()) {
        ("", "") => None,
        ("", message) => Some(message.to_owned()),
        (code, "") => Some(code.to_owned()),
        (code, message) => Some(format!("{code}: {message}")),
    }
}
