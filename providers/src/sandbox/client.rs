//! Talks to a sandbox's control address from another process.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Uri};
use serde_json::Value;

use crate::sandbox::proxy::{HttpClient, http_client};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer longer than this is not a sandbox's.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A connection to one control address. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    url: String,
    http: HttpClient,
}

/// Why there was no answer; the request may have been carried out all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The address is none.
    #[error("`{0}` is not the address of a sandbox")]
    Address(String),
    /// Nobody is there, or the connection broke.
    #[error("no sandbox answers at {0}")]
    Connection(String),
    /// It takes too long.
    #[error("the sandbox at {0} did not answer within {PATIENCE:?}")]
    TooLate(String),
    /// What answers there is no sandbox.
    #[error("what answers at {0} is no sandbox")]
    NotJson(String),
}

impl Client {
    /// A client of the sandbox at this URL, such as `http://127.0.0.1:7070`.
    pub fn new(url: impl Into<String>) -> Self {
        let url = url.into();
        Self {
            url: url.trim_end_matches('/').to_owned(),
            http: http_client(),
        }
    }

    /// The address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request; `null` as the body sends none. Gives the status and the JSON that came back.
    ///
    /// # Errors
    /// [`Unanswered`]; a refusal is an answer.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Result<(u16, Value), Unanswered> {
        let unanswerable = || Unanswered::Address(self.url.clone());
        let uri: Uri = format!("{}{path}", self.url).parse().map_err(|_| unanswerable())?;
        if uri.scheme_str() != Some("http") || uri.host().is_none() {
            return Err(unanswerable());
        }
        let body = if body.is_null() {
            Bytes::new()
        } else {
            Bytes::from(body.to_string())
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let answered = async {
            let lost = |_| Unanswered::Connection(self.url.clone());
            let response = self.http.request(request).await.map_err(lost)?;
            let status = response.status().as_u16();
            let text = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let text = text.map_err(|_| Unanswered::Connection(self.url.clone()))?.to_bytes();
            let json = serde_json::from_slice(&text).map_err(|_| Unanswered::NotJson(self.url.clone()))?;
            Ok((status, json))
        };
        let late = |_| Unanswered::TooLate(self.url.clone());
        tokio::time::timeout(PATIENCE, answered).await.map_err(late)?
    }
}
