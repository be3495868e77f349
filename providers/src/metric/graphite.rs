//! The metric source `graphite`: one target of the render API, whose points are buckets of time.
//!
//! The call and its answer are those of Graphite's render API (graphite.readthedocs.io/en/latest/render_api.html): `format=json`
//! gives a list of series with `datapoints` of `[value or null, second]`; an unknown series is an empty list.

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{Number, Series, Stretch};
use meridian_workflows::duration::Duration;
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::metric::buckets::{self, Bucket, several};
use crate::metric::placing::whole;
use crate::metric::web::{Over, Protocol, Server, Visit, bearer};
use crate::metric::words::{self, Rhythm, SecretName, Way, optional, required};
use crate::metric::{Kind, Making, kind};

pub(super) const KIND: Kind = kind(
    "graphite",
    &[
        required("address", "the root of graphite-web, as in `http://graphite:8080`"),
        optional("token", "a bearer token: `{secret: name}`"),
        optional("username", "the user of HTTP's basic authentication"),
        optional("password", "that user's password: `{secret: name}`"),
        optional(
            "delay",
            "how long after its end a bucket may still be filling (default 0s)",
        ),
        words::LOOKBACK,
        words::TIMEOUT,
    ],
    |settings| read(settings).map(drop),
    |making| Ok(Box::new(Over(Graphite::new(making)?))),
);

/// A Graphite server.
struct Graphite {
    server: Server,
    token: Option<SecretName>,
    user: Option<(String, SecretName)>,
    rhythm: Rhythm,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    address: String,
    token: Option<SecretName>,
    username: Option<String>,
    password: Option<SecretName>,
    delay: Option<Duration>,
    lookback: Option<Duration>,
    timeout: Option<Duration>,
}

struct Settings {
    root: Url,
    token: Option<SecretName>,
    user: Option<(String, SecretName)>,
    rhythm: Rhythm,
    timeout: Duration,
}

fn read(settings: &Json) -> Result<Settings, String> {
    let written: Written = words::read(settings)?;
    let user = match (written.username, written.password) {
        (None, None) => None,
        (Some(username), Some(password)) if written.token.is_none() => Some((username, password)),
        (Some(_), Some(_)) => return Err("`token` and `username` exclude each other".to_owned()),
        (Some(_), None) | (None, Some(_)) => return Err("`username` and `password` belong together".to_owned()),
    };
    Ok(Settings {
        root: words::address(&written.address, Way::Any)?,
        token: written.token,
        user,
        // The step is what Graphite keeps; one second is the smallest that it can be.
        rhythm: Rhythm::read(
            Some(Duration::from_secs(1)),
            written.delay,
            written.lookback,
            Duration::ZERO,
        )?,
        timeout: words::timeout(written.timeout)?,
    })
}

/// One series as Graphite writes it: value and second.
#[derive(Deserialize)]
struct Target {
    datapoints: Vec<(Option<f64>, f64)>,
}

impl Graphite {
    fn new(making: &Making<'_>) -> Result<Graphite, Failure> {
        let settings = read(making.settings).map_err(|why| making.unfit(&why))?;
        let access = if settings.user.is_some() {
            "`username` and `password`"
        } else {
            "`token`"
        };
        Ok(Graphite {
            server: making.server(settings.root, access, settings.timeout),
            token: settings.token,
            user: settings.user,
            rhythm: settings.rhythm,
        })
    }

    /// The buckets of the one series that `target` gives; none of it is no bucket.
    async fn buckets(
        &self,
        visit: &Visit<'_>,
        target: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Bucket>, Failure> {
        // Graphite leaves out what begins at `from` itself.
        let (from, until) = ((from.as_second() - 1).to_string(), to.as_second().to_string());
        let form = [
            ("target", target.trim()),
            ("from", &from),
            ("until", &until),
            ("format", "json"),
            // A minute's old answer would be told as new.
            ("noCache", "1"),
        ];
        let mut request = visit.request(Method::POST, "render")?.form(&form);
        if let Some(name) = &self.token {
            request = request.header(AUTHORIZATION, bearer(&visit.secret(name)?)?);
        }
        if let Some((username, password)) = &self.user {
            request = request.basic_auth(username, Some(visit.secret(password)?.expose()));
        }
        let targets: Vec<Target> = visit.json(request, said).await?;
        let [target] = targets.as_slice() else {
            return match targets.len() {
                0 => Ok(Vec::new()),
                count => Err(several(count, "aggregate them, for example with sumSeries(…)")),
            };
        };
        let bucket = |(value, second): &(Option<f64>, f64)| {
            Ok(Bucket {
                from: buckets::instant(second * 1_000.0)?,
                value: *value,
            })
        };
        target.datapoints.iter().map(bucket).collect()
    }

    /// How wide the buckets are: Graphite tells by their distance alone.
    fn width(buckets: &[Bucket]) -> Result<Duration, Failure> {
        buckets::width(buckets).ok_or_else(|| {
            Failure::lasting(
                "it answered with one bucket, whose width nothing tells: `lookback` has to cover at least two steps of the series",
            )
        })
    }
}

#[async_trait::async_trait]
impl Protocol for Graphite {
    fn server(&self) -> &Server {
        &self.server
    }

    async fn number(&self, visit: &Visit<'_>, query: &str, at: Timestamp) -> Result<Number, Failure> {
        let from = at.checked_sub(self.rhythm.lookback.saturating_add(self.rhythm.delay).signed());
        let buckets = self.buckets(visit, query, from.unwrap_or(Timestamp::MIN), at).await?;
        if buckets.iter().all(|bucket| bucket.value.is_none()) {
            return Ok(Number { value: None, at: None });
        }
        let width = Graphite::width(&buckets)?;
        Ok(buckets::newest(&buckets, width, at, &self.rhythm))
    }

    async fn course(&self, visit: &Visit<'_>, query: &str, over: Stretch) -> Result<Series, Failure> {
        // The step is asked for as a summary would be; what the series keeps may be wider, and is then what is told.
        let whole = whole(over, over.step, &self.rhythm);
        let buckets = self.buckets(visit, query, over.from, whole.to).await?;
        let width = if buckets.len() < 2 {
            over.step
        } else {
            Graphite::width(&buckets)?
        };
        buckets::course(buckets, width, over, &self.rhythm)
    }
}

/// Graphite refuses in lines of text, which need no reading; as JSON it says nothing.
fn said(answer: &Json) -> Option<String> {
    answer.get("error").and_then(Json::as_str).map(str::to_owned)
}
