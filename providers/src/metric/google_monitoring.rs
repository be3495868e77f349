//! The metric source `googleMonitoring`: PromQL over everything in Google Cloud Monitoring.
//!
//! Cloud Monitoring answers Prometheus' own API below `/v1/projects/{project}/location/global/prometheus/api/v1`
//! (cloud.google.com/monitoring/api/ref_v3/rest/v1/projects.location.prometheus.api.v1), for Google's metrics as well as for one's own. It
//! is taken instead of `timeSeries.query`, whose language MQL Google no longer recommends, and instead of `timeSeries.list`, which
//! cannot divide one series by another: an error rate would be no question.
//!
//! Tokens come from the metadata server of the machine or pod (cloud.google.com/compute/docs/access/authenticate-workloads), for the
//! key of a service account from `oauth2.googleapis.com/token` (developers.google.com/identity/protocols/oauth2/service-account), or
//! from somebody who renews one.

mod token;

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{Number, Series, Stretch};
use meridian_workflows::duration::Duration;
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value as Json;

use self::token::Tokens;
use crate::metric::prometheus::answer::{Answer, number, said, series};
use crate::metric::prometheus::{affordable, seconds};
use crate::metric::web::{Over, Protocol, Server, Visit, bearer};
use crate::metric::words::{self, SecretName, Way, optional, required};
use crate::metric::{Kind, Making, kind};

pub(super) const KIND: Kind = kind(
    "googleMonitoring",
    &[
        required("project", "the project's id, whose metrics scope is asked"),
        required(
            "credentials",
            "who Meridian is: metadataServer, {serviceAccount: {secret}} (a key file's JSON) or {token: {secret}}",
        ),
        optional("address", "the API's root instead of https://monitoring.googleapis.com"),
        words::TIMEOUT,
    ],
    |settings| read(settings).map(drop),
    |making| Ok(Box::new(Over(GoogleMonitoring::new(making)?))),
);

/// Cloud Monitoring, seen from one project.
struct GoogleMonitoring {
    server: Server,
    project: String,
    tokens: Tokens,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    project: String,
    credentials: Json,
    address: Option<String>,
    timeout: Option<Duration>,
}

/// `credentials`, as it may be written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Credentials {
    /// The identity of the machine or pod that Meridian runs on.
    MetadataServer,
    /// The JSON of a service account's key file.
    ServiceAccount(SecretName),
    /// A token that somebody else renews.
    Token(SecretName),
}

struct Settings {
    root: Url,
    project: String,
    credentials: Credentials,
    timeout: Duration,
}

fn read(settings: &Json) -> Result<Settings, String> {
    let written: Written = words::read(settings)?;
    let is_id = |c: char| c.is_ascii_alphanumeric() || "-:.".contains(c);
    if written.project.is_empty() || written.project.starts_with('.') || !written.project.chars().all(is_id) {
        return Err(format!(
            "`project` is a project's id or number, got `{}`",
            written.project
        ));
    }
    let own = "https://monitoring.googleapis.com";
    Ok(Settings {
        root: words::address(written.address.as_deref().unwrap_or(own), Way::Guarded)?,
        project: written.project,
        credentials: Credentials::deserialize(&written.credentials)
            .map_err(|error| format!("`credentials` cannot be read: {error}"))?,
        timeout: words::timeout(written.timeout)?,
    })
}

impl GoogleMonitoring {
    fn new(making: &Making<'_>) -> Result<GoogleMonitoring, Failure> {
        let settings = read(making.settings).map_err(|why| making.unfit(&why))?;
        Ok(GoogleMonitoring {
            server: making.server(
                settings.root,
                "`credentials`: the identity needs the role Monitoring Viewer",
                settings.timeout,
            ),
            project: settings.project,
            tokens: Tokens::new(settings.credentials),
        })
    }

    async fn ask(&self, visit: &Visit<'_>, call: &str, parameters: &[(&str, &str)]) -> Result<Answer, Failure> {
        let token = self.tokens.token(visit).await?;
        let path = format!("v1/projects/{}/location/global/prometheus/api/v1/{call}", self.project);
        let request = visit
            .request(Method::GET, &path)?
            .header(AUTHORIZATION, bearer(&token)?)
            .query(parameters);
        visit.json(request, refused).await
    }
}

#[async_trait::async_trait]
impl Protocol for GoogleMonitoring {
    fn server(&self) -> &Server {
        &self.server
    }

    async fn number(&self, visit: &Visit<'_>, query: &str, at: Timestamp) -> Result<Number, Failure> {
        let parameters = [("query", query), ("time", &seconds(at))];
        number(self.ask(visit, "query", &parameters).await?, at, visit)
    }

    async fn course(&self, visit: &Visit<'_>, query: &str, over: Stretch) -> Result<Series, Failure> {
        let over = affordable(over);
        let step = format!("{}s", over.step.as_secs_f64());
        let parameters = [
            ("query", query),
            ("start", &seconds(over.from)),
            ("end", &seconds(over.to)),
            ("step", &step),
        ];
        series(self.ask(visit, "query_range", &parameters).await?, over, visit)
    }
}

/// Prometheus' errors, and those of Google's API before it gets that far.
fn refused(answer: &Json) -> Option<String> {
    let Some(error) = answer.get("error").filter(|error| error.is_object()) else {
        return said(answer);
    };
    let of = |key: &str| error.get(key).and_then(Json::as_str);
    match (of("status").unwrap_or_default(), of("message")?) {
        ("", message) => Some(message.to_owned()),
        (status, message) => Some(format!("{status}: {message}")),
    }
}
