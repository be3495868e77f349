//! One request as a double reads it, and its answer.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::journal::Journal;

/// Larger bodies are no request to a double: 4 MiB, the resource manager's own limit.
const BODY_MAX: usize = 4 << 20;

/// A request, read whole.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    /// Path and query as they were sent.
    pub path_and_query: String,
    /// The path's segments, decoded.
    pub segments: Vec<String>,
    /// The query's pairs, decoded, in order.
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn new(method: Method, path_and_query: &str, headers: HeaderMap, body: Bytes) -> Asked {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        Asked {
            segments: path
                .split('/')
                .filter(|segment| !segment.is_empty())
                .map(|segment| decoded(segment, false))
                .collect(),
            query: query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decoded(name, true), decoded(value, true))
                })
                .collect(),
            path_and_query: path_and_query.to_owned(),
            method,
            headers,
            body,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A query parameter's first value; names are compared without their case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All values of a query parameter.
    pub fn parameters<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query
            .iter()
            .filter(move |(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn host(&self) -> &str {
        self.header("host").unwrap_or_default()
    }
}

/// A double's answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn empty(status: u16) -> Reply {
        Reply {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    pub fn json(status: u16, body: &Value) -> Reply {
        Reply::of(status, "application/json; charset=utf-8", body.to_string())
    }

    pub fn of(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
        let mut reply = Reply::empty(status);
        reply
            .headers
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        reply.body = body.into();
        reply
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl std::fmt::Display) -> Reply {
        if let Ok(value) = HeaderValue::try_from(value.to_string()) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    pub fn is_success(&self) -> bool {
        self.status < 400
    }
}

/// What answers requests.
pub trait Answers: Send + Sync + 'static {
    fn answer(&self, asked: &Asked) -> Reply;
}

/// A double as something that a listener serves; its exchanges are written to a journal of this name, where any are.
pub fn router<T: Answers>(double: &Arc<T>, name: &str) -> Router {
    let double = Arc::clone(double);
    let journal = Arc::new(Journal::of(name));
    Router::new().fallback(move |request: Request| {
        let (double, journal) = (Arc::clone(&double), Arc::clone(&journal));
        async move {
            let (head, body) = request.into_parts();
            let Ok(body) = to_bytes(body, BODY_MAX).await else {
                return response(Reply::empty(413));
            };
            let path_and_query = head.uri.path_and_query().map_or("/", |both| both.as_str());
            let asked = Asked::new(head.method, path_and_query, head.headers, body);
            let reply = double.answer(&asked);
            journal.record(&asked, &reply);
            response(reply)
        }
    })
}

fn response(reply: Reply) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = reply.headers;
    response
}

/// Percent-decoded; bytes that are no UTF-8 become the replacement character, as nothing is called that.
fn decoded(text: &str, is_query: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = (*first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match hex {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(if is_query && *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_before_it_is_decoded() {
        let asked = Asked::new(
            Method::GET,
            "/kv/.appconfig.featureflag%2Fnew%20cart?label=%00&Api-Version=1",
            HeaderMap::new(),
            Bytes::new(),
        );
        assert_eq!(asked.segments, ["kv", ".appconfig.featureflag/new cart"]);
        assert_eq!(asked.parameter("label"), Some("\0"));
        assert_eq!(asked.parameter("api-version"), Some("1"));
    }

    #[test]
    fn a_broken_escape_stands_for_itself() {
        assert_eq!(decoded("100%", false), "100%");
        assert_eq!(decoded("%zz", false), "%zz");
        assert_eq!(decoded("%é", false), "%é");
    }
}
