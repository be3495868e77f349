//! One request and what became of it.

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use meridian_conformance::rig::Fault;

/// A request, read whole.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What tells one read from another.
pub type Key = (Method, String, Bytes);

impl Asked {
    /// None where the client goes away before it has asked.
    pub(super) async fn take(request: Request<Incoming>) -> Option<Asked> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Asked {
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body,
        })
    }

    pub fn path(&self) -> &str {
        self.uri.path()
    }

    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// A header's value, where it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(super) fn key(&self) -> Key {
        // AWS's clients say in a header what they ask.
        let operation = self.header("x-amz-target").unwrap_or_default();
        (
            self.method.clone(),
            format!("{}#{operation}", self.uri),
            self.body.clone(),
        )
    }

    pub(super) fn request(&self) -> Request<Body> {
        let mut request = Request::new(Body::from(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answered {
    /// An answer in JSON.
    pub fn json(status: u16, body: &serde_json::Value) -> Answered {
        Answered::text(status, "application/json", body.to_string())
    }

    pub fn text(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Answered {
        let mut headers = HeaderMap::new();
        headers.insert(
            hyper::header::CONTENT_TYPE,
            hyper::header::HeaderValue::from_static(content_type),
        );
        Answered {
            status,
            headers,
            body: body.into(),
        }
    }

    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl std::fmt::Display) -> Answered {
        if let Ok(value) = hyper::header::HeaderValue::try_from(value.to_string()) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(super) async fn take(response: Response<Body>) -> Answered {
        let (head, body) = response.into_parts();
        Answered {
            status: head.status.as_u16(),
            headers: head.headers,
            body: to_bytes(body, super::BODY_MAX).await.unwrap_or_default(),
        }
    }

    pub(super) fn response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = self.headers;
        // The listener says itself how long the body is.
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().remove(TRANSFER_ENCODING);
        response
    }
}

/// A request and what became of it.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub asked: Asked,
    /// None where no byte came back.
    pub status: Option<u16>,
    /// What the double answered, though a fault may have kept it from arriving. Empty for streams.
    pub answer: Bytes,
    pub is_write: bool,
    /// Whether the double took it, with no error of its own.
    pub is_applied: bool,
    pub fault: Option<Fault>,
}
