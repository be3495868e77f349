//! The metric source `influxdb`: InfluxQL of InfluxDB 1.x, or Flux of InfluxDB 2.x, by which of `database` and `organization` is named.
//!
//! InfluxQL is asked by `GET /query` with `db`, `q` and `epoch=ms` (docs.influxdata.com/influxdb/v1/tools/api); Flux by `POST /api/v2/query` (docs.influxdata.com/influxdb/v2/api), answered in CSV. In both, `$from`, `$to` and `$step`
//! in the query are the time of the question: InfluxDB has no other way to be told.

mod flux;
mod influxql;

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{Number, Series, Stretch};
use meridian_workflows::duration::Duration;
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::metric::buckets::{self, Bucket};
use crate::metric::placing::{self, Placed, Writing};
use crate::metric::web::{Over, Protocol, Server, Visit};
use crate::metric::words::{self, Rhythm, SecretName, Way, optional, required};
use crate::metric::{Kind, Making, kind};

pub(super) const KIND: Kind = kind(
    "influxdb",
    &[
        required("address", "the server's root, as in `http://influxdb:8086`"),
        optional("database", "InfluxDB 1.x: the database that InfluxQL asks"),
        optional(
            "retentionPolicy",
            "InfluxDB 1.x: the retention policy, instead of the default one",
        ),
        optional("username", "InfluxDB 1.x: the user"),
        optional("password", "InfluxDB 1.x: that user's password: `{secret: name}`"),
        optional("organization", "InfluxDB 2.x: the organization that Flux asks"),
        optional("token", "InfluxDB 2.x: an API token: `{secret: name}`"),
        words::STEP,
        optional("delay", "how long data may take to arrive (default 0s)"),
        words::LOOKBACK,
        words::TIMEOUT,
    ],
    |settings| read(settings).map(drop),
    |making| Ok(Box::new(Over(Influx::new(making)?))),
);

/// An InfluxDB server.
struct Influx {
    server: Server,
    language: Language,
    rhythm: Rhythm,
    window: Duration,
}

enum Language {
    InfluxQl {
        database: String,
        retention_policy: Option<String>,
        user: Option<(String, SecretName)>,
    },
    Flux {
        organization: String,
        token: SecretName,
    },
}

impl Language {
    fn writing(&self) -> Writing {
        match self {
            Language::InfluxQl { .. } => influxql::WRITING,
            Language::Flux { .. } => flux::WRITING,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    address: String,
    database: Option<String>,
    retention_policy: Option<String>,
    username: Option<String>,
    password: Option<SecretName>,
    organization: Option<String>,
    token: Option<SecretName>,
    step: Option<Duration>,
    delay: Option<Duration>,
    lookback: Option<Duration>,
    timeout: Option<Duration>,
}

struct Settings {
    root: Url,
    language: Language,
    rhythm: Rhythm,
    timeout: Duration,
}

fn read(settings: &Json) -> Result<Settings, String> {
    let written: Written = words::read(settings)?;
    let user = match (written.username, written.password) {
        (None, None) => None,
        (Some(username), Some(password)) => Some((username, password)),
        (Some(_), None) | (None, Some(_)) => return Err("`username` and `password` belong together".to_owned()),
    };
    let language = match (written.database, written.organization, written.token) {
        (Some(database), None, None) => Language::InfluxQl {
            database,
            retention_policy: written.retention_policy,
            user,
        },
        (Some(_), _, _) => {
            return Err("`database` is of InfluxDB 1.x, `organization` and `token` are of 2.x".to_owned());
        }
        (None, Some(_), Some(_)) if user.is_some() => {
            return Err("`username` is of InfluxDB 1.x, `organization` and `token` are of 2.x".to_owned());
        }
        (None, Some(_), Some(_)) if written.retention_policy.is_some() => {
            return Err("`retentionPolicy` is of InfluxDB 1.x, `organization` and `token` are of 2.x".to_owned());
        }
        (None, Some(organization), Some(token)) => Language::Flux { organization, token },
        (None, Some(_), None) => return Err("`organization` needs a `token`".to_owned()),
        (None, None, _) => return Err("`database` (1.x) or `organization` (2.x) is missing".to_owned()),
    };
    Ok(Settings {
        root: words::address(&written.address, Way::Any)?,
        language,
        rhythm: Rhythm::read(written.step, written.delay, written.lookback, Duration::ZERO)?,
        timeout: words::timeout(written.timeout)?,
    })
}

/// The rows of one series, each with the instant that InfluxDB gives it.
struct Rows {
    rows: Vec<Bucket>,
    /// Where rows stand for no instant of their own but for a stretch, its end.
    until: Option<Timestamp>,
}

impl Influx {
    fn new(making: &Making<'_>) -> Result<Influx, Failure> {
        let settings = read(making.settings).map_err(|why| making.unfit(&why))?;
        let access = match settings.language {
            Language::InfluxQl { .. } => "`username` and `password`",
            Language::Flux { .. } => "`token`",
        };
        Ok(Influx {
            server: making.server(settings.root, access, settings.timeout),
            language: settings.language,
            rhythm: settings.rhythm,
            window: making.purpose.window,
        })
    }

    async fn rows(&self, visit: &Visit<'_>, placed: &Placed) -> Result<Rows, Failure> {
        match &self.language {
            Language::InfluxQl {
                database,
                retention_policy,
                user,
            } => influxql::rows(visit, placed, database, retention_policy.as_deref(), user.as_ref()).await,
            Language::Flux { organization, token } => flux::rows(visit, placed, organization, token).await,
        }
    }
}

#[async_trait::async_trait]
impl Protocol for Influx {
    fn server(&self) -> &Server {
        &self.server
    }

    async fn number(&self, visit: &Visit<'_>, query: &str, at: Timestamp) -> Result<Number, Failure> {
        let placed = placing::one(query, at, &self.rhythm, self.window, self.language.writing());
        let Rows { rows, until } = self.rows(visit, &placed).await?;
        if placed.is_bucketed {
            return Ok(buckets::newest(&rows, placed.over.step, at, &self.rhythm));
        }
        match rows.as_slice() {
            [] => Ok(Number { value: None, at: None }),
            [row] => Ok(Number {
                value: row.value,
                at: row.value.map(|_| until.unwrap_or(row.from)),
            }),
            rows => Err(Failure::lasting(format!(
                "the answer has {} rows where one is needed; aggregate them, or put them into buckets of `$step`",
                rows.len()
            ))),
        }
    }

    async fn course(&self, visit: &Visit<'_>, query: &str, over: Stretch) -> Result<Series, Failure> {
        let placed = placing::many(query, over, &self.rhythm, self.language.writing())?;
        let Rows { rows, .. } = self.rows(visit, &placed).await?;
        buckets::course(rows, placed.over.step, over, &self.rhythm)
    }
}
