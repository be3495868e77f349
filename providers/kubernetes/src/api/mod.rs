//! A namespace of a cluster, asked in plain JSON: no field that a newer API server knows is lost on the way through us.

pub mod error;
pub mod resource;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use self::error::Error;
use self::resource::Resource;

/// The name under which everything written here stands in `managedFields`.
pub const FIELD_MANAGER: &str = "meridian";
/// A request that has not been answered whole by then has failed.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of one answer that are read: a namespace's pods fit many times over.
const ANSWER_MAX: usize = 64 << 20;
/// Objects a page of a list.
const PAGE: usize = 500;

/// One namespace of one cluster.
///
/// *Guarantees*: each call is one request (a list: one a page) that ends within [`REQUEST_TIMEOUT`] and is never repeated here:
/// who asks knows best whether asking again is right.
#[derive(Clone)]
pub struct Namespace {
    client: Client,
    name: String,
    /// Whether the credentials have been refused.
    is_unknown: Arc<AtomicBool>,
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Namespace")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How a PATCH is to be read by the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch {
    /// RFC 7386: maps merge, lists are replaced.
    Merge,
    /// Maps merge, and so do the lists of built-in kinds that have merge keys.
    Strategic,
    /// Server-side apply: the body is all that this field manager wants; conflicts are taken over.
    Apply,
}

impl Patch {
    fn content_type(self) -> &'static str {
        match self {
            Patch::Merge => "application/merge-patch+json",
            Patch::Strategic => "application/strategic-merge-patch+json",
            // YAML is the only registered type; JSON is YAML.
            Patch::Apply => "application/apply-patch+yaml",
        }
    }
}

impl Namespace {
    pub fn new(client: Client, name: impl Into<String>) -> Namespace {
        Namespace {
            client,
            name: name.into(),
            is_unknown: Arc::default(),
        }
    }

    /// Whether the cluster did not know who asked: credentials that were rotated since would be known.
    pub fn is_unknown(&self) -> bool {
        self.is_unknown.load(Ordering::Relaxed)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The object, or none where there is no such object.
    ///
    /// *Errors*: a kind that the cluster does not serve is one, lasting.
    pub async fn get(&self, resource: &Resource, name: &str) -> Result<Option<Value>, Error> {
        let path = resource.path(&self.name, Some(name));
        match self.ask(Method::GET, &path, None).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_missing_object() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects that carry these labels (`a=b,c=d`; empty for all of them), whatever the number of pages.
    pub async fn list(&self, resource: &Resource, labels: &str) -> Result<Vec<Value>, Error> {
        self.list_where(resource, &[("labelSelector", labels)]).await
    }

    /// As [`Namespace::list`], with any query of the list call, as in `fieldSelector`.
    pub async fn list_where(&self, resource: &Resource, query: &[(&str, &str)]) -> Result<Vec<Value>, Error> {
        let mut objects = Vec::new();
        let mut next = String::new();
        loop {
            let mut path = format!("{}?limit={PAGE}", resource.path(&self.name, None));
            let given = query.iter().copied().chain([("continue", next.as_str())]);
            for (key, value) in given.filter(|(_, value)| !value.is_empty()) {
                path.push_str(&format!("&{key}={}", escaped(value)));
            }
            let mut page = self.ask(Method::GET, &path, None).await?;
            let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) else {
                return Err(Error::malformed(&path, "a list without items"));
            };
            objects.extend(items);
            match page.pointer("/metadata/continue").and_then(Value::as_str) {
                Some(token) if !token.is_empty() => next = token.to_owned(),
                _ => return Ok(objects),
            }
        }
    }

    /// *Errors*: [`Error::is_already_there`] where an object of this name exists.
    pub async fn create(&self, resource: &Resource, object: &Value) -> Result<Value, Error> {
        let path = resource.path(&self.name, None);
        let path = format!("{path}?fieldManager={FIELD_MANAGER}&fieldValidation=Strict");
        self.ask(Method::POST, &path, Some((object, "application/json"))).await
    }

    /// Writes the whole object over the one whose `resourceVersion` it carries.
    ///
    /// *Errors*: [`Error::is_conflict`] where somebody was faster.
    pub async fn replace(&self, resource: &Resource, name: &str, object: &Value) -> Result<Value, Error> {
        let path = resource.path(&self.name, Some(name));
        let path = format!("{path}?fieldManager={FIELD_MANAGER}");
        self.ask(Method::PUT, &path, Some((object, "application/json"))).await
    }

    /// A `metadata.resourceVersion` in the patch is a precondition.
    ///
    /// *Errors*: [`Error::is_conflict`] where the precondition does not hold.
    pub async fn patch(&self, resource: &Resource, name: &str, patch: Patch, body: &Value) -> Result<Value, Error> {
        let path = resource.path(&self.name, Some(name));
        let force = if patch == Patch::Apply { "&force=true" } else { "" };
        let path = format!("{path}?fieldManager={FIELD_MANAGER}{force}");
        self.ask(Method::PATCH, &path, Some((body, patch.content_type()))).await
    }

    /// Deletes the object with this UID and, in the background, what it owns. Says whether there was one.
    pub async fn delete(&self, resource: &Resource, name: &str, uid: Option<&str>) -> Result<bool, Error> {
        let path = resource.path(&self.name, Some(name));
        let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
        if let Some(uid) = uid {
            options["preconditions"] = json!({"uid": uid});
        }
        match self
            .ask(Method::DELETE, &path, Some((&options, "application/json")))
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing_object() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// An object outside any namespace, or none.
    pub async fn get_cluster_wide(&self, resource: &Resource, name: &str) -> Result<Option<Value>, Error> {
        match self.ask(Method::GET, &resource.cluster_path(Some(name)), None).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_missing_object() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an object outside any namespace (a review of access) and gives the answer back.
    pub async fn create_cluster_wide(&self, resource: &Resource, object: &Value) -> Result<Value, Error> {
        let path = format!("{}?fieldManager={FIELD_MANAGER}", resource.cluster_path(None));
        self.ask(Method::POST, &path, Some((object, "application/json"))).await
    }

    /// The last lines of a container's log, or none where it has no log (yet); `previous`: of its last life.
    pub async fn log_tail(
        &self,
        pod: &str,
        container: &str,
        previous: bool,
        lines: u16,
        bytes: u32,
    ) -> Result<Option<String>, Error> {
        let pod = resource::PODS.path(&self.name, Some(pod));
        let container = escaped(container);
        let path = format!("{pod}/log?container={container}&previous={previous}&tailLines={lines}&limitBytes={bytes}");
        match self.fetch(Method::GET, &path, None).await {
            Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
            // 400 says that the container has no such life; the pod may be gone (404).
            Err(error) if matches!(error.status, Some(400 | 404)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<(&Value, &str)>) -> Result<Value, Error> {
        let answer = self.fetch(method, path, body).await?;
        serde_json::from_slice(&answer).map_err(|_| Error::malformed(path, "an answer that is no JSON"))
    }

    async fn fetch(&self, method: Method, path: &str, body: Option<(&Value, &str)>) -> Result<Vec<u8>, Error> {
        let request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header(ACCEPT, "application/json");
        let request = match body {
            Some((body, content_type)) => request
                .header(CONTENT_TYPE, content_type)
                .body(Body::from(body.to_string().into_bytes())),
            None => request.body(Body::empty()),
        };
        let request = request.map_err(|_| Error::malformed(path, "a path that is no URI"))?;
        let what = format!("{method} {}", path.split('?').next().unwrap_or(path));
        let exchange = async {
            let answer = self
                .client
                .send(request)
                .await
                .map_err(|error| Error::unsent(&what, &error))?;
            let (parts, body) = answer.into_parts();
            let body = http_body_util::Limited::new(body, ANSWER_MAX).collect().await;
            let body = body
                .map_err(|error| Error::broken(&what, error.as_ref()))?
                .to_bytes()
                .to_vec();
            if parts.status.is_success() {
                Ok(body)
            } else {
                if parts.status == StatusCode::UNAUTHORIZED {
                    self.is_unknown.store(true, Ordering::Relaxed);
                }
                Err(Error::refused(&what, &parts, &body))
            }
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::too_late(&what)),
        }
    }
}

/// A query's value with everything but unreserved characters escaped.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
