//! The metric source `prometheus`: an instant query or a range query over HTTP, and everything that a server can answer instead.
//!
//! The calls and their answers are those of Prometheus' HTTP API (prometheus.io/docs/prometheus/latest/querying/api), which
//! Thanos, Mimir, Cortex and VictoriaMetrics answer too. Mimir and Cortex tell tenants apart by the header `X-Scope-OrgID`
//! (grafana.com/docs/mimir/latest/references/http-api).

pub(super) mod answer;

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{Number, Series, Stretch};
use meridian_workflows::duration::Duration;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::metric::prometheus::answer::{Answer, number, said, series};
use crate::metric::web::{Over, Protocol, Server, Visit, bearer};
use crate::metric::words::{self, SecretName, Way, optional, required};
use crate::metric::{Kind, Making, kind};

/// How many points Prometheus gives of one series at most.
const POINTS_MAX: u64 = 11_000;
const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

pub(super) const KIND: Kind = kind(
    "prometheus",
    &[
        required("address", "the server's root, as in `http://prometheus:9090`"),
        optional("token", "a bearer token: `{secret: name}`"),
        optional("username", "the user of HTTP's basic authentication"),
        optional("password", "that user's password: `{secret: name}`"),
        optional(
            "tenant",
            "whose data a server with several tenants is asked for (`X-Scope-OrgID`)",
        ),
        words::TIMEOUT,
    ],
    |settings| read(settings).map(drop),
    |making| Ok(Box::new(Over(Prometheus::new(making)?))),
);

/// A Prometheus server, or one that speaks its HTTP API.
pub struct Prometheus {
    server: Server,
    credentials: Option<Credentials>,
    tenant: Option<HeaderValue>,
}

enum Credentials {
    Token(SecretName),
    Basic { username: String, password: SecretName },
}

/// What stands under `prometheus:` in a source.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    address: String,
    token: Option<SecretName>,
    username: Option<String>,
    password: Option<SecretName>,
    tenant: Option<String>,
    timeout: Option<Duration>,
}

struct Settings {
    root: Url,
    credentials: Option<Credentials>,
    tenant: Option<HeaderValue>,
    timeout: Duration,
}

fn read(settings: &Json) -> Result<Settings, String> {
    let written: Written = words::read(settings)?;
    let tenant = written.tenant.map(|tenant| HeaderValue::from_str(&tenant)).transpose();
    Ok(Settings {
        root: words::address(&written.address, Way::Any)?,
        credentials: match (written.token, written.username, written.password) {
            (None, None, None) => None,
            (Some(token), None, None) => Some(Credentials::Token(token)),
            (None, Some(username), Some(password)) => Some(Credentials::Basic { username, password }),
            (Some(_), _, _) => return Err("`token` and `username` exclude each other".to_owned()),
            (None, _, _) => return Err("`username` and `password` belong together".to_owned()),
        },
        tenant: tenant.map_err(|_| "`tenant` has characters that no header can carry".to_owned())?,
        timeout: words::timeout(written.timeout)?,
    })
}

impl Prometheus {
    fn new(making: &Making<'_>) -> Result<Prometheus, Failure> {
        let settings = read(making.settings).map_err(|why| making.unfit(&why))?;
        let access = match settings.credentials {
            Some(Credentials::Basic { .. }) => "`username` and `password`",
            Some(Credentials::Token(_)) | None => "`token`",
        };
        Ok(Prometheus {
            server: making.server(settings.root, access, settings.timeout),
            credentials: settings.credentials,
            tenant: settings.tenant,
        })
    }

    /// A server that lets everybody in.
    pub(super) fn open(server: Server) -> Prometheus {
        Prometheus {
            server,
            credentials: None,
            tenant: None,
        }
    }

    async fn ask(&self, visit: &Visit<'_>, call: &str, parameters: &[(&str, &str)]) -> Result<Answer, Failure> {
        let timeout = format!("{}ms", self.server.timeout().as_millis());
        let mut form = parameters.to_vec();
        form.push(("timeout", &timeout));
        let mut request = visit.request(Method::POST, &format!("api/v1/{call}"))?.form(&form);
        request = match &self.credentials {
            None => request,
            Some(Credentials::Token(name)) => request.header(AUTHORIZATION, bearer(&visit.secret(name)?)?),
            Some(Credentials::Basic { username, password }) => {
                request.basic_auth(username, Some(visit.secret(password)?.expose()))
            }
        };
        if let Some(tenant) = &self.tenant {
            request = request.header(TENANT, tenant.clone());
        }
        visit.json(request, said).await
    }
}

#[async_trait::async_trait]
impl Protocol for Prometheus {
    fn server(&self) -> &Server {
        &self.server
    }

    async fn number(&self, visit: &Visit<'_>, query: &str, at: Timestamp) -> Result<Number, Failure> {
        let parameters = [("query", query), ("time", &seconds(at))];
        number(self.ask(visit, "query", &parameters).await?, at, visit)
    }

    async fn course(&self, visit: &Visit<'_>, query: &str, over: Stretch) -> Result<Series, Failure> {
        let over = affordable(over);
        let step = format!("{}ms", over.step.as_millis());
        let parameters = [
            ("query", query),
            ("start", &seconds(over.from)),
            ("end", &seconds(over.to)),
            ("step", &step),
        ];
        series(self.ask(visit, "query_range", &parameters).await?, over, visit)
    }
}

pub(super) fn seconds(at: Timestamp) -> String {
    format!("{:.3}", at.as_millisecond() as f64 / 1000.0)
}

/// The stretch with a step that keeps within what Prometheus answers.
pub(super) fn affordable(over: Stretch) -> Stretch {
    let needed = Duration::between(over.from, over.to).as_millis().div_ceil(POINTS_MAX);
    Stretch {
        step: over.step.max(Duration::from_millis(needed)),
        ..over
    }
}
