//! One request as the API server understands it: who asks what of which object, and how.

use axum::http::{HeaderMap, Method, Uri};
use serde_json::Value;

use crate::kubernetes::kind::Kind;
use crate::kubernetes::refusal::Refusal;

/// A request that has arrived whole.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    query: Vec<(String, String)>,
    /// The media type of the body, without parameters.
    pub(crate) media: String,
    pub(crate) agent: String,
    pub(crate) token: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// What a path of the API names.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) kind: &'static Kind,
    pub(crate) version: String,
    /// Empty for kinds without one, and for all namespaces.
    pub(crate) namespace: String,
    /// Empty for the collection.
    pub(crate) name: String,
    pub(crate) subresource: String,
}

impl Call {
    pub(crate) fn new(method: Method, uri: &Uri, headers: &HeaderMap, body: Vec<u8>) -> Self {
        let header = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri).map(|query| query.0);
        Call {
            method,
            path: uri.path().to_owned(),
            query: query.unwrap_or_default(),
            media: header("content-type")
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase(),
            agent: header("user-agent").to_owned(),
            token: header("authorization")
                .strip_prefix("Bearer ")
                .map(|token| token.trim().to_owned()),
            body,
        }
    }

    /// The value of a query parameter, empty where it is not given.
    pub(crate) fn asked(&self, name: &str) -> &str {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    pub(crate) fn asks(&self, name: &str) -> bool {
        matches!(self.asked(name), "true" | "1")
    }

    /// Who owns what this request writes: the field manager, or the program that calls.
    pub(crate) fn manager(&self) -> String {
        match self.asked("fieldManager") {
            "" => self
                .agent
                .split('/')
                .next()
                .filter(|agent| !agent.is_empty())
                .unwrap_or("unknown")
                .to_owned(),
            manager => manager.to_owned(),
        }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// 415 where it is said to be something else, 400 where it is not JSON.
    pub(crate) fn json(&self) -> Result<Value, Refusal> {
        if !matches!(self.media.as_str(), "" | "application/json") {
            return Err(Refusal::unsupported_media(
                "application/json, application/yaml, application/vnd.kubernetes.protobuf",
            ));
        }
        self.body_json()
    }

    pub(crate) fn body_json(&self) -> Result<Value, Refusal> {
        serde_json::from_slice(&self.body)
            .map_err(|fault| Refusal::bad_request(format!("error decoding body: {fault}")))
    }

    /// The object or collection that the path names; `None` where it names none.
    pub(crate) fn resource(&self) -> Option<Resource> {
        let parts: Vec<&str> = self.path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", name, plural, rest @ ..] if !matches!(*plural, "status" | "finalize") => {
                (*name, [&[*plural], rest].concat())
            }
            rest => ("", rest.to_vec()),
        };
        let (plural, name, subresource) = match rest.as_slice() {
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, subresource] => (*plural, *name, *subresource),
            _ => return None,
        };
        let kind = Kind::served(group, version, plural)?;
        if kind.namespaced == namespace.is_empty() && (!namespace.is_empty() || !name.is_empty()) {
            return None;
        }
        Some(Resource {
            kind,
            version: version.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
        })
    }
}

impl Resource {
    pub(crate) fn api_version(&self) -> String {
        self.kind.api_version_at(&self.version)
    }
}
