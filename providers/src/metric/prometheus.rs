//! The metric source `prometheus`: an instant query or a range query over HTTP, and everything that a server can answer instead.

mod answer;

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{MetricSource, Number, Series, Stretch};
use meridian_engine::ports::secret::{Secret, Secrets};
use meridian_workflows::duration::Duration;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER,
};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::metric::prometheus::answer::{Answer, number, quoted, series};
use crate::web;

/// The longest answer that is read. One number needs a hundred bytes; far more means a query that forgot to aggregate.
const BODY_BYTES_MAX: usize = 10 << 20;
/// How long one question may take when the settings do not say.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// The longest that they may say: a gate reads every few seconds.
const TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// How many points Prometheus gives of one series at most.
const POINTS_MAX: u64 = 11_000;
/// The longest wait that an overloaded server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// A Prometheus server, or one that speaks its HTTP API.
///
/// *Guarantees*: one request a question, redirects not followed (a token would travel), at most 10 MiB read and nothing
/// decompressed, within the timeout. No failure shows the token.
pub struct Prometheus {
    /// `…/api/v1`, to which the call is added.
    api: Url,
    /// Host and port, to name the server in failures.
    place: String,
    token: Option<String>,
    timeout: Duration,
    workflow: String,
    secrets: Arc<dyn Secrets>,
}

/// What stands under `prometheus:` in a source.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    address: String,
    token: Option<SecretName>,
    timeout: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretName {
    secret: String,
}

impl Prometheus {
    /// A source with the settings that the workflow `workflow` gives: `address`, and where needed `token: {secret: name}`
    /// and `timeout` (default 10 s).
    ///
    /// # Errors
    /// Lasting, with the setting that does not fit. The server is not asked here.
    pub fn new(settings: &Json, workflow: &str, secrets: Arc<dyn Secrets>) -> Result<Self, Failure> {
        let unfit =
            |why: &dyn fmt::Display| Failure::lasting(format!("the settings of source `prometheus` do not fit: {why}"));
        let settings = Settings::deserialize(settings).map_err(|error| unfit(&error))?;
        let api = api(&settings.address).map_err(|why| unfit(&why))?;
        let timeout = settings.timeout.unwrap_or(TIMEOUT_DEFAULT);
        if timeout == Duration::ZERO || timeout > TIMEOUT_MAX {
            return Err(unfit(&format!(
                "`timeout` is {timeout}, and more than 0s and at most {TIMEOUT_MAX} is needed"
            )));
        }
        let host = api.host_str().unwrap_or_default();
        let place = api
            .port_or_known_default()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Self {
            api,
            place,
            token: settings.token.map(|token| token.secret),
            timeout,
            workflow: workflow.to_owned(),
            secrets,
        })
    }

    /// One call of the API, within the timeout.
    async fn ask<T>(
        &self,
        call: &str,
        parameters: &[(&str, &str)],
        read: impl FnOnce(Answer, Option<&Secret>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let token = match &self.token {
            Some(name) => Some(self.secrets.resolve(&self.workflow, name)?),
            None => None,
        };
        let token = token.as_ref();
        let exchange = self.exchange(call, parameters, token);
        let answer = match tokio::time::timeout(self.timeout.std(), exchange).await {
            Ok(answer) => answer.and_then(|answer| read(answer, token)),
            Err(_) => Err(Failure::transient(format!("no answer within {}", self.timeout))),
        };
        answer.map_err(|failure| self.told(failure, token))
    }

    async fn exchange(
        &self,
        call: &str,
        parameters: &[(&str, &str)],
        token: Option<&Secret>,
    ) -> Result<Answer, Failure> {
        let mut response = self.send(call, parameters, token).await?;
        let status = response.status();
        if let Some(encoding) = response
            .headers()
            .get(CONTENT_ENCODING)
            .filter(|encoding| *encoding != "identity")
        {
            // Never asked for, and a small body can unfold to any size.
            return Err(Failure::lasting(format!(
                "it answered compressed ({}), which was not asked for",
                quoted(&String::from_utf8_lossy(encoding.as_bytes()), token)
            )));
        }
        let body = body(&mut response).await;
        if !status.is_success() {
            return Err(refusal(status, response.headers(), &body.unwrap_or_default(), token));
        }
        let body = body?;
        match serde_json::from_slice::<Answer>(&body) {
            Ok(answer) => Ok(answer),
            Err(_) if is_json(response.headers()) => Err(Failure::transient(
                "it answered with JSON that Prometheus would not send",
            )),
            Err(_) => Err(Failure::lasting(format!(
                "it answered with {} instead of JSON: the address leads somewhere else, or a login page stands before it",
                content_type(response.headers(), token),
            ))),
        }
    }

    async fn send(&self, call: &str, parameters: &[(&str, &str)], token: Option<&Secret>) -> Result<Response, Failure> {
        let timeout = format!("{}ms", self.timeout.as_millis());
        let mut form = parameters.to_vec();
        form.push(("timeout", &timeout));
        let mut url = self.api.clone();
        url.set_path(&format!("{}/{call}", self.api.path()));
        let mut request = web::client()?
            .post(url)
            .header(ACCEPT, "application/json")
            .header(ACCEPT_ENCODING, "identity")
            .form(&form);
        if let Some(token) = token {
            let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| Failure::lasting("its token has characters that no header can carry"))?;
            bearer.set_sensitive(true);
            request = request.header(reqwest::header::AUTHORIZATION, bearer);
        }
        request.send().await.map_err(unanswered)
    }

    /// Names the server, and takes out the token should its answer repeat it.
    fn told(&self, failure: Failure, token: Option<&Secret>) -> Failure {
        let mut what = format!("prometheus at {}: {}", self.place, failure.what);
        if let Some(token) = token.map(Secret::expose).filter(|token| !token.is_empty()) {
            what = what.replace(token, "(token)");
        }
        Failure {
            what,
            lasting: failure.lasting,
        }
    }
}

#[async_trait::async_trait]
impl MetricSource for Prometheus {
    async fn query(&self, query: &str, at: Timestamp) -> Result<Number, Failure> {
        let parameters = [("query", query), ("time", &seconds(at))];
        self.ask("query", &parameters, |answer, token| number(answer, at, token))
            .await
    }

    async fn series(&self, query: &str, over: Stretch) -> Result<Series, Failure> {
        let over = affordable(over)?;
        let step = format!("{}ms", over.step.as_millis());
        let parameters = [
            ("query", query),
            ("start", &seconds(over.from)),
            ("end", &seconds(over.to)),
            ("step", &step),
        ];
        self.ask("query_range", &parameters, |answer, token| series(answer, over, token))
            .await
    }
}

fn seconds(at: Timestamp) -> String {
    format!("{:.3}", at.as_millisecond() as f64 / 1000.0)
}

/// The stretch with a step that keeps within what Prometheus answers.
fn affordable(over: Stretch) -> Result<Stretch, Failure> {
    if over.to < over.from || over.step.is_zero() {
        return Err(Failure::lasting(format!(
            "a stretch from {} to {} in steps of {} holds nothing",
            over.from, over.to, over.step
        )));
    }
    let needed = Duration::between(over.from, over.to).as_millis().div_ceil(POINTS_MAX);
    Ok(Stretch {
        step: over.step.max(Duration::from_millis(needed)),
        ..over
    })
}

fn api(address: &str) -> Result<Url, String> {
    let mut url: Url = address
        .parse()
        .map_err(|error| format!("`address` is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "`address` has the scheme `{}`, and http or https is needed",
            url.scheme()
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`address` holds credentials; use `token: {secret: …}`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(
            "`address` ends in a query or fragment; it is the server's root, as in `http://prometheus:9090`".to_owned(),
        );
    }
    let path = format!("{}/api/v1", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

/// Reads the body, but not beyond the bound.
async fn body(response: &mut Response) -> Result<Vec<u8>, Failure> {
    let too_long = || {
        Failure::lasting(format!(
            "the answer is longer than {} MiB and was not read to its end; aggregate the query, for example with sum(…)",
            BODY_BYTES_MAX >> 20
        ))
    };
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a status outside 2xx means, in the server's own words where it speaks the API.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8], token: Option<&Secret>) -> Failure {
    let told = match serde_json::from_slice::<Answer>(body) {
        Ok(Answer { error_type, error, .. }) if !error.is_empty() => {
            format!(
                "it refused the query with status {}: {}: {}",
                status.as_u16(),
                quoted(&error_type, token),
                quoted(&error, token)
            )
        }
        _ => format!("it answered with status {status}"),
    };
    let is_transient = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    if is_transient {
        return match retry_after(headers) {
            Some(wait) => Failure::overloaded(told, wait),
            None => Failure::transient(told),
        };
    }
    let hint = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; check the source's `token`",
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => "; check the source's `address`",
        status if status.is_redirection() => {
            "; redirects are not followed, name the final address in the source's `address`"
        }
        _ => "",
    };
    Failure::lasting(format!("{told}{hint}"))
}

/// The wait that the server asks for: seconds, or a date, counted from the server's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let date = |text: &str| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok();
    let millis = match text.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1_000),
        Err(_) => {
            let now = date(headers.get(DATE)?.to_str().ok()?)?;
            u64::try_from(date(text)?.as_millisecond() - now.as_millisecond()).unwrap_or(0)
        }
    };
    Some(Duration::from_millis(millis).min(RETRY_AFTER_MAX))
}

fn content_type(headers: &HeaderMap, token: Option<&Secret>) -> String {
    headers.get(CONTENT_TYPE).map_or_else(
        || "something without a type".to_owned(),
        |kind| quoted(&String::from_utf8_lossy(kind.as_bytes()), token),
    )
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.contains("json"))
}

/// Says why there was no answer, without the URL.
fn unanswered(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let is_lasting = error.is_builder();
    let mut cause = error.source();
    let mut why = error.to_string();
    while let Some(source) = cause {
        why = source.to_string();
        cause = source.source();
    }
    let what = format!("no answer: {why}");
    if is_lasting {
        Failure::lasting(what)
    } else {
        Failure::transient(what)
    }
}
