//! One Azure service: requests through Azure's own pipeline, answers as JSON, refusals told apart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration as Wait;

use azure_core::http::headers::{HeaderName, HeaderValue};
use azure_core::http::policies::Policy;
use azure_core::http::{ClientOptions, Context, Method, Pipeline, Request, RetryOptions};
use meridian_engine::ports::failure::Failure;
use meridian_workflows::duration::Duration;
use serde_json::Value;

use crate::endpoint::Endpoint;
use crate::trouble::{self, Fate, Trouble};
use crate::wire;

/// How long a read may take. Several follow each other in one call of the engine, which gives that call thirty seconds.
const READ_TIMEOUT: Wait = Wait::from_secs(6);

/// How long a change may take: longer, because one that is given up may still be carried out.
const WRITE_TIMEOUT: Wait = Wait::from_secs(14);

/// An answer longer than this is none that we asked for.
const BODY_MAX: usize = 8 << 20;

/// A service and the way to it.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) endpoint: Endpoint,
    pipeline: Pipeline,
}

/// One request: what it is about and which permission it needs are told when it fails.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    /// Path and query below the endpoint, encoded.
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<&'a Value>,
    /// The thing in a message, as in "the site `shop`".
    pub(crate) about: &'a str,
    /// The permission, as in `Microsoft.Web/sites/read`.
    pub(crate) action: &'a str,
}

/// An answer that is no refusal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    /// The body as JSON; null where it was empty.
    pub(crate) body: Value,
    pub(crate) retry_after: Option<Duration>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[cfg(test)]
impl Answer {
    pub(crate) fn of(status: u16, body: Value) -> Answer {
        Answer {
            status,
            headers: BTreeMap::new(),
            body,
            retry_after: None,
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Answer {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl Service {
    /// A service whose requests are authorised by `authority`.
    ///
    /// The pipeline gives request identifiers, the user agent, tracing and the token's life. Its retries are off: they would
    /// sleep for as long as `Retry-After` says inside a call that has seconds, and repeat a swap whose answer was lost, which
    /// undoes it. The engine asks again instead, and each call reads before it writes.
    pub(crate) fn new(endpoint: Endpoint, authority: Arc<dyn Policy>) -> Result<Service, Failure> {
        let options = ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(wire::transport(endpoint.is_plain()).map_err(Failure::lasting)?),
            ..ClientOptions::default()
        };
        let (name, version) = (option_env!("CARGO_PKG_NAME"), option_env!("CARGO_PKG_VERSION"));
        let pipeline = Pipeline::new(name, version, options, Vec::new(), vec![authority], None);
        Ok(Service { endpoint, pipeline })
    }

    /// Asks once.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Answer, Trouble> {
        let (status, headers, text) = self.ask_text(&ask).await?;
        let retry_after = retry_after(&headers);
        if !(200..300).contains(&status) {
            return Err(trouble::refused(ask.about, ask.action, status, retry_after, &text));
        }
        let body = if text.trim().is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).map_err(|error| Trouble {
                failure: Failure::transient(format!("{} answers with what is no JSON: {error}", ask.about)),
                fate: Fate::Unknown,
            })?
        };
        Ok(Answer {
            status,
            headers,
            body,
            retry_after,
        })
    }

    /// Asks once for a text, as logs are; empty where there is none.
    pub(crate) async fn ask_for_text(&self, ask: Ask<'_>) -> Result<String, Trouble> {
        let (status, headers, text) = self.ask_text(&ask).await?;
        if (200..300).contains(&status) {
            Ok(text)
        } else {
            Err(trouble::refused(
                ask.about,
                ask.action,
                status,
                retry_after(&headers),
                &text,
            ))
        }
    }

    async fn ask_text(&self, ask: &Ask<'_>) -> Result<(u16, BTreeMap<String, String>, String), Trouble> {
        let unsent = |why: String| Trouble {
            failure: Failure::lasting(format!("{} cannot be asked: {why}", ask.about)),
            fate: Fate::Refused {
                status: None,
                code: String::new(),
            },
        };
        let url = self
            .endpoint
            .url()
            .join(&ask.path)
            .map_err(|error| unsent(error.to_string()))?;
        let mut request = Request::new(url, ask.method);
        for (name, value) in &ask.headers {
            request.insert_header(HeaderName::from_static(name), HeaderValue::from(value.clone()));
        }
        if let Some(body) = ask.body {
            if !ask.headers.iter().any(|(name, _)| *name == "content-type") {
                request.insert_header("content-type", "application/json");
            }
            request.set_body(body.to_string());
        } else if ask.method != Method::Get {
            request.insert_header("content-length", "0");
        }
        let context = Context::new();
        let limit = if ask.method == Method::Get {
            READ_TIMEOUT
        } else {
            WRITE_TIMEOUT
        };
        let sent = self.pipeline.send(&context, &mut request, None);
        let Ok(sent) = tokio::time::timeout(limit, sent).await else {
            return Err(Trouble {
                failure: Failure::transient(format!("{} did not answer within {}s", ask.about, limit.as_secs())),
                fate: Fate::Unknown,
            });
        };
        let answered = sent.map_err(|error| match error.kind() {
            azure_core::error::ErrorKind::HttpResponse {
                status,
                raw_response: Some(raw),
                ..
            } => Err((u16::from(*status), raw.clone())),
            _ => Ok(trouble::unanswered(ask.about, &error)),
        });
        let (status, raw) = match answered {
            Ok(raw) => (u16::from(raw.status()), raw),
            Err(Ok(trouble)) => return Err(trouble),
            Err(Err((status, raw))) => (status, *raw),
        };
        let headers = raw
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_ascii_lowercase(), value.as_str().to_owned()))
            .collect();
        let bytes: &[u8] = raw.body();
        if bytes.len() > BODY_MAX {
            return Err(Trouble {
                failure: Failure::lasting(format!("{} answers with more than {BODY_MAX} bytes", ask.about)),
                fate: Fate::Unknown,
            });
        }
        Ok((status, headers, String::from_utf8_lossy(bytes).into_owned()))
    }
}

/// How long the service asks to be left alone: seconds, or milliseconds where Azure says so. A date is not read: the answer then
/// counts as one without a wish, and the engine's own patience applies.
fn retry_after(headers: &BTreeMap<String, String>) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.trim().parse::<u64>().ok();
    let millis = number("x-ms-retry-after-ms").or_else(|| number("retry-after-ms"));
    millis
        .map(Duration::from_millis)
        .or_else(|| number("retry-after").map(Duration::from_secs))
}

/// One segment of a path, with everything encoded that could end it.
pub(crate) fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{retry_after, segment};
    use meridian_workflows::duration::Duration;

    #[test]
    fn a_segment_cannot_break_out_of_its_path() {
        assert_eq!(segment("a/b?c#d e"), "a%2Fb%3Fc%23d%20e");
        assert_eq!(segment(".appconfig.featureflag/beta"), ".appconfig.featureflag%2Fbeta");
    }

    #[test]
    fn milliseconds_of_azure_come_before_seconds() {
        let headers = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        assert_eq!(
            retry_after(&headers(&[("retry-after", "7")])),
            Some(Duration::from_secs(7))
        );
        let both = headers(&[("retry-after", "7"), ("x-ms-retry-after-ms", "500")]);
        assert_eq!(retry_after(&both), Some(Duration::from_millis(500)));
        assert_eq!(retry_after(&headers(&[("retry-after", "soon")])), None);
    }
}
