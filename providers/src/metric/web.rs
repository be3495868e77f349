//! One bounded exchange over HTTP with a server that a source asks, and what every other answer means.

use std::error::Error as _;
use std::sync::Arc;

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{MetricSource, Number, Series, Stretch};
use meridian_engine::ports::secret::{Secret, Secrets};
use meridian_workflows::duration::Duration;
use parking_lot::Mutex;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::metric::words::SecretName;
use crate::web;

/// The longest answer that is read. One number needs a hundred bytes; far more means a query that forgot to aggregate.
const BODY_BYTES_MAX: usize = 10 << 20;
/// The longest wait that an overloaded server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// How much of a server's own words is repeated.
const QUOTED_CHARACTERS_MAX: usize = 300;
/// Datadog's word for the seconds until its limit is counted anew.
const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// How a source speaks with its server. Everything that is the same for all of them is [`Over`]'s.
#[async_trait::async_trait]
pub trait Protocol: Send + Sync {
    fn server(&self) -> &Server;

    async fn number(&self, visit: &Visit<'_>, query: &str, at: Timestamp) -> Result<Number, Failure>;

    async fn course(&self, visit: &Visit<'_>, query: &str, over: Stretch) -> Result<Series, Failure>;
}

/// A source that is asked over HTTP.
///
/// *Guarantees*: redirects are not followed (a token would travel), at most 10 MiB of an answer are read and nothing is
/// decompressed, everything within the timeout. Failures name the server and show no secret.
pub struct Over<P>(pub P);

#[async_trait::async_trait]
impl<P: Protocol> MetricSource for Over<P> {
    async fn query(&self, query: &str, at: Timestamp) -> Result<Number, Failure> {
        let visit = self.0.server().visit();
        let answer = tokio::time::timeout(visit.server.timeout.std(), self.0.number(&visit, query, at)).await;
        visit.told(answer)
    }

    async fn series(&self, query: &str, over: Stretch) -> Result<Series, Failure> {
        if over.to < over.from || over.step.is_zero() {
            return Err(Failure::lasting(format!(
                "a stretch from {} to {} in steps of {} holds nothing",
                over.from, over.to, over.step
            )));
        }
        let visit = self.0.server().visit();
        let answer = tokio::time::timeout(visit.server.timeout.std(), self.0.course(&visit, query, over)).await;
        visit.told(answer)
    }
}

/// A server that a source asks, for one workflow.
pub struct Server {
    /// The source's kind, to name it in failures.
    kind: &'static str,
    root: Url,
    /// Host and port, to name the server in failures.
    place: String,
    /// The setting that holds the credentials, to name it where they are refused.
    access: &'static str,
    /// Whether a refusal passes by itself though its status says otherwise.
    is_passing: fn(&Json) -> bool,
    timeout: Duration,
    workflow: String,
    secrets: Arc<dyn Secrets>,
}

impl Server {
    /// A server below `root`; nothing is asked here. `access` is the setting that holds its credentials.
    pub fn new(
        kind: &'static str,
        root: Url,
        access: &'static str,
        timeout: Duration,
        workflow: &str,
        secrets: Arc<dyn Secrets>,
    ) -> Server {
        let host = root.host_str().unwrap_or_default();
        let place = root
            .port_or_known_default()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Server {
            kind,
            root,
            place,
            access,
            is_passing: |_| false,
            timeout,
            workflow: workflow.to_owned(),
            secrets,
        }
    }

    /// The same, where refusals may pass by themselves though their status says otherwise: AWS throttles with a 400.
    #[cfg(feature = "aws")]
    pub fn with_passing(self, is_passing: fn(&Json) -> bool) -> Server {
        Server { is_passing, ..self }
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// One question, whose secrets no failure shows.
    pub fn visit(&self) -> Visit<'_> {
        Visit {
            server: self,
            hidden: Mutex::default(),
        }
    }
}

/// One question to a server, with the secrets that were used for it.
pub struct Visit<'a> {
    server: &'a Server,
    hidden: Mutex<Vec<Secret>>,
}

impl Visit<'_> {
    /// The value of a secret, which no failure of this visit will show.
    pub fn secret(&self, name: &SecretName) -> Result<Secret, Failure> {
        let secret = self.server.secrets.resolve(&self.server.workflow, &name.secret)?;
        self.hide(&secret);
        Ok(secret)
    }

    /// Keeps a value out of every failure of this visit.
    pub fn hide(&self, secret: &Secret) {
        self.hidden.lock().push(secret.clone());
    }

    /// A request to a path below the server's root. The path is added as it is: what is not ours in it is encoded before.
    pub fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let mut url = self.server.root.clone();
        let path = format!("{}/{}", url.path().trim_end_matches('/'), path.trim_start_matches('/'));
        url.set_path(&path);
        self.request_to(method, url)
    }

    /// A request to a URL of the source's own making.
    pub fn request_to(&self, method: Method, url: Url) -> Result<RequestBuilder, Failure> {
        Ok(web::client()?
            .request(method, url)
            .header(ACCEPT, "application/json")
            .header(ACCEPT_ENCODING, "identity"))
    }

    /// Sends a request and reads the JSON that comes back. `said` finds the server's own words in a refusal.
    pub async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        said: fn(&Json) -> Option<String>,
    ) -> Result<T, Failure> {
        let (headers, body) = self.body(request, said).await?;
        match serde_json::from_slice(&body) {
            Ok(answer) => Ok(answer),
            Err(_) if is_json(&headers) => Err(Failure::transient(format!(
                "it answered with JSON that {} would not send",
                self.server.kind
            ))),
            Err(_) => Err(Failure::lasting(format!(
                "it answered with {} instead of JSON: the address leads somewhere else, or a login page stands before it",
                self.content_type(&headers),
            ))),
        }
    }

    /// Sends a request and reads what comes back with a status of success.
    pub async fn body(
        &self,
        request: RequestBuilder,
        said: fn(&Json) -> Option<String>,
    ) -> Result<(HeaderMap, Vec<u8>), Failure> {
        let mut response = request.send().await.map_err(unanswered)?;
        let (status, headers) = (response.status(), response.headers().clone());
        if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
            // Never asked for, and a small body can unfold to any size.
            return Err(Failure::lasting(format!(
                "it answered compressed ({}), which was not asked for",
                self.quoted(&String::from_utf8_lossy(encoding.as_bytes()))
            )));
        }
        let body = read(&mut response).await;
        if !status.is_success() {
            return Err(self.refusal(status, &headers, &body.unwrap_or_default(), said));
        }
        Ok((headers, body?))
    }

    /// What a status outside 2xx means, in the server's own words where it has some.
    fn refusal(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        said: fn(&Json) -> Option<String>,
    ) -> Failure {
        let json = serde_json::from_slice::<Json>(body).ok();
        let is_passing = json.as_ref().is_some_and(self.server.is_passing);
        let said = match &json {
            Some(json) => said(json),
            None => plain(headers, body),
        };
        let said = said.filter(|said| !said.is_empty());
        let told = match &said {
            Some(said) => format!(
                "it refused the query with status {}: {}",
                status.as_u16(),
                self.quoted(said)
            ),
            None => format!("it answered with status {status}"),
        };
        let is_transient = is_passing
            || status.is_server_error()
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
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => format!("; check the source's {}", self.server.access),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED if said.is_none() => {
                "; check the source's `address`".to_owned()
            }
            status if status.is_redirection() => {
                "; redirects are not followed, name the final address in the source's `address`".to_owned()
            }
            _ => String::new(),
        };
        Failure::lasting(format!("{told}{hint}"))
    }

    fn content_type(&self, headers: &HeaderMap) -> String {
        headers.get(CONTENT_TYPE).map_or_else(
            || "something without a type".to_owned(),
            |kind| self.quoted(&String::from_utf8_lossy(kind.as_bytes())),
        )
    }

    /// A server's words in one short line, without a secret should they repeat it.
    pub fn quoted(&self, words: &str) -> String {
        let words = self.without_secrets(words);
        let line = words.chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut short: String = line.take(QUOTED_CHARACTERS_MAX).collect();
        if words.chars().nth(QUOTED_CHARACTERS_MAX).is_some() {
            short.push('…');
        }
        short
    }

    fn without_secrets(&self, words: &str) -> String {
        let hidden = self.hidden.lock();
        let values = hidden.iter().map(Secret::expose).filter(|value| !value.is_empty());
        values.fold(words.to_owned(), |words, value| words.replace(value, "(secret)"))
    }

    /// The answer, or a failure that names the server and shows no secret.
    pub fn told<T>(&self, answer: Result<Result<T, Failure>, tokio::time::error::Elapsed>) -> Result<T, Failure> {
        let late = |_| Failure::transient(format!("no answer within {}", self.server.timeout));
        answer.map_err(late).and_then(|answer| answer).map_err(|failure| {
            let what = self.without_secrets(&failure.what);
            Failure {
                what: format!("{} at {}: {what}", self.server.kind, self.server.place),
                lasting: failure.lasting,
            }
        })
    }
}

/// A header's value that no log shows.
///
/// *Errors*: lasting, when no header can carry it.
pub fn sensitive(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Failure::lasting("its secret has characters that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// `Authorization: Bearer …`.
pub fn bearer(token: &Secret) -> Result<HeaderValue, Failure> {
    sensitive(&format!("Bearer {}", token.expose()))
}

/// Reads the body, but not beyond the bound.
async fn read(response: &mut Response) -> Result<Vec<u8>, Failure> {
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

/// A refusal that is text, whatever it is called (Graphite calls it HTML): pages are not repeated.
fn plain(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let text = std::str::from_utf8(body).ok()?;
    let is_text = kind.starts_with("text/") && !text.contains('<');
    is_text.then(|| text.trim().to_owned())
}

/// The wait that the server asks for: seconds, or a date, counted from the server's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let date = |text: &str| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok();
    let Some(wait) = text(RETRY_AFTER) else {
        let seconds = text(RATE_LIMIT_RESET)?.parse::<u64>().ok()?;
        // Elsewhere the same header is an instant instead of a wait.
        return Some(Duration::from_secs(seconds)).filter(|wait| *wait <= RETRY_AFTER_MAX);
    };
    let millis = match wait.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1_000),
        Err(_) => {
            let now = date(text(DATE)?)?;
            u64::try_from(date(wait)?.as_millisecond() - now.as_millisecond()).unwrap_or(0)
        }
    };
    Some(Duration::from_millis(millis).min(RETRY_AFTER_MAX))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.contains("json"))
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
