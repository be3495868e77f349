//! The metric source `wavefront`: one WQL or PromQL expression of VMware's Tanzu Observability, now Broadcom's DX OpenExplore.
//!
//! The call is `GET /api/v2/chart/api` (docs.wavefront.com/wavefront_api.html and the API's own Swagger page): `q`, `s` and `e` in
//! milliseconds, `g` for the granularity, `strict` for points inside the stretch alone; the answer's `timeseries` hold `data` of
//! `[second, value]`, `granularity` is in seconds, and a query that cannot be read is told by `errorMessage`.

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{Number, Series, Stretch};
use meridian_workflows::duration::Duration;
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::metric::buckets::{self, Bucket, several};
use crate::metric::web::{Over, Protocol, Server, Visit, bearer};
use crate::metric::words::{self, Rhythm, SecretName, Way, optional, required};
use crate::metric::{Kind, Making, kind};

/// Points reach the store through a proxy that sends in batches.
const DELAY_DEFAULT: Duration = Duration::from_secs(30);

pub(super) const KIND: Kind = kind(
    "wavefront",
    &[
        required("address", "the instance's root, as in `https://example.wavefront.com`"),
        required("token", "an API token: `{secret: name}`"),
        optional("step", "the width of a bucket: 1s, 1m, 1h or 1d (default 1m)"),
        optional(
            "delay",
            "how long after its end a bucket may still be filling (default 30s)",
        ),
        words::LOOKBACK,
        words::TIMEOUT,
    ],
    |settings| read(settings).map(drop),
    |making| Ok(Box::new(Over(Wavefront::new(making)?))),
);

/// One instance of Wavefront.
struct Wavefront {
    server: Server,
    token: SecretName,
    rhythm: Rhythm,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    address: String,
    token: SecretName,
    step: Option<Duration>,
    delay: Option<Duration>,
    lookback: Option<Duration>,
    timeout: Option<Duration>,
}

struct Settings {
    root: Url,
    token: SecretName,
    rhythm: Rhythm,
    timeout: Duration,
}

fn read(settings: &Json) -> Result<Settings, String> {
    let written: Written = words::read(settings)?;
    let rhythm = Rhythm::read(written.step, written.delay, written.lookback, DELAY_DEFAULT)?;
    if granularity(rhythm.step).1 != rhythm.step {
        return Err(format!("`step` is 1s, 1m, 1h or 1d, got {}", rhythm.step));
    }
    Ok(Settings {
        root: words::address(&written.address, Way::Guarded)?,
        token: written.token,
        rhythm,
        timeout: words::timeout(written.timeout)?,
    })
}

/// The smallest granularity that is not below a step, as Wavefront names it and as it is; a day is the largest.
fn granularity(step: Duration) -> (&'static str, Duration) {
    let known = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let known = known.map(|(name, seconds)| (name, Duration::from_secs(seconds)));
    let fits = known.into_iter().find(|(_, width)| *width >= step);
    fits.unwrap_or(known[3])
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    timeseries: Option<Vec<Course>>,
    granularity: Option<u64>,
    error_message: Option<String>,
}

#[derive(Deserialize)]
struct Course {
    data: Vec<(f64, Option<f64>)>,
}

impl Wavefront {
    fn new(making: &Making<'_>) -> Result<Wavefront, Failure> {
        let settings = read(making.settings).map_err(|why| making.unfit(&why))?;
        Ok(Wavefront {
            server: making.server(settings.root, "`token`", settings.timeout),
            token: settings.token,
            rhythm: settings.rhythm,
        })
    }

    /// The buckets of the one series and their width.
    async fn buckets(&self, visit: &Visit<'_>, query: &str, over: Stretch) -> Result<(Vec<Bucket>, Duration), Failure> {
        let (name, width) = granularity(over.step);
        let (from, to) = (
            over.from.as_millisecond().to_string(),
            over.to.as_millisecond().to_string(),
        );
        let request = visit
            .request(Method::GET, "api/v2/chart/api")?
            .header(AUTHORIZATION, bearer(&visit.secret(&self.token)?)?)
            .query(&[
                ("q", query.trim()),
                ("s", &from),
                ("e", &to),
                ("g", name),
                ("strict", "true"),
                ("i", "false"),
                ("includeObsoleteMetrics", "false"),
            ]);
        let answer: Answer = visit.json(request, said).await?;
        if let Some(message) = answer.error_message.filter(|message| !message.is_empty()) {
            return Err(Failure::lasting(format!(
                "it refused the query: {}",
                visit.quoted(&message)
            )));
        }
        let width = answer
            .granularity
            .map_or(width, Duration::from_secs)
            .max(Duration::from_secs(1));
        let courses = answer.timeseries.unwrap_or_default();
        let [course] = courses.as_slice() else {
            return match courses.len() {
                0 => Ok((Vec::new(), width)),
                count => Err(several(count, "aggregate them, for example with sum(…)")),
            };
        };
        let bucket = |(second, value): &(f64, Option<f64>)| {
            Ok(Bucket {
                from: buckets::instant(second * 1_000.0)?,
                value: *value,
            })
        };
        let buckets: Result<Vec<Bucket>, Failure> = course.data.iter().map(bucket).collect();
        Ok((buckets?, width))
    }
}

#[async_trait::async_trait]
impl Protocol for Wavefront {
    fn server(&self) -> &Server {
        &self.server
    }

    async fn number(&self, visit: &Visit<'_>, query: &str, at: Timestamp) -> Result<Number, Failure> {
        let over = buckets::recent(at, self.rhythm.step, &self.rhythm);
        let (buckets, width) = self.buckets(visit, query, over).await?;
        Ok(buckets::newest(&buckets, width, at, &self.rhythm))
    }

    async fn course(&self, visit: &Visit<'_>, query: &str, over: Stretch) -> Result<Series, Failure> {
        let step = over.step.max(self.rhythm.step);
        let (buckets, width) = self.buckets(visit, query, Stretch { step, ..over }).await?;
        buckets::course(buckets, width, over, &self.rhythm)
    }
}

fn said(answer: &Json) -> Option<String> {
    let of = |key: &str| answer.get(key).and_then(Json::as_str);
    let status = answer.pointer("/status/message").and_then(Json::as_str);
    of("errorMessage")
        .or(status)
        .or_else(|| of("message"))
        .map(str::to_owned)
}
