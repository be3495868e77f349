//! Hands on a cluster, past the provider and past every fault: raw requests in JSON.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::{Method, Request};
use kube::client::Body;
use kube::{Client, Config};
use serde_json::Value;

/// A client with one namespace in mind.
#[derive(Clone)]
pub struct Hands {
    client: Client,
    pub namespace: String,
}

impl Hands {
    pub fn new(client: Client, namespace: impl Into<String>) -> Hands {
        Hands {
            client,
            namespace: namespace.into(),
        }
    }

    /// To a double, which listens without encryption and believes everybody.
    pub fn plain(url: &str, namespace: &str) -> Hands {
        let mut config = Config::new(url.parse().unwrap());
        config.default_retry = false;
        Hands::new(Client::try_from(config).unwrap(), namespace)
    }

    /// The path of a kind's objects in the namespace, as in `apis/apps/v1` and `deployments`.
    pub fn path(&self, api: &str, plural: &str, name: &str) -> String {
        let name = if name.is_empty() {
            String::new()
        } else {
            format!("/{name}")
        };
        format!("/{api}/namespaces/{}/{plural}{name}", self.namespace)
    }

    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let content = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content);
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string().into_bytes()));
        let answer = self.client.send(request.body(body).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub async fn get(&self, api: &str, plural: &str, name: &str) -> Option<Value> {
        let (status, object) = self.ask(Method::GET, &self.path(api, plural, name), None).await;
        (status == 200).then_some(object)
    }

    pub async fn list(&self, api: &str, plural: &str) -> Vec<Value> {
        let (_, list) = self.ask(Method::GET, &self.path(api, plural, ""), None).await;
        list["items"].as_array().cloned().unwrap_or_default()
    }

    pub async fn create(&self, api: &str, plural: &str, object: Value) -> Value {
        let (status, answer) = self.ask(Method::POST, &self.path(api, plural, ""), Some(object)).await;
        assert!(matches!(status, 200..=299), "creating in {plural}: {status} {answer}");
        answer
    }

    pub async fn patch(&self, api: &str, plural: &str, name: &str, patch: Value) -> Value {
        let (status, answer) = self
            .ask(Method::PATCH, &self.path(api, plural, name), Some(patch))
            .await;
        assert!(
            matches!(status, 200..=299),
            "patching {plural}/{name}: {status} {answer}"
        );
        answer
    }

    pub async fn delete(&self, api: &str, plural: &str, name: &str) -> u16 {
        self.ask(Method::DELETE, &self.path(api, plural, name), None).await.0
    }

    /// Everything passed on as it came: so that faults can be put before a real cluster too.
    pub fn relay(&self) -> axum::Router {
        let client = Arc::new(self.client.clone());
        axum::Router::new().fallback(move |request: axum::extract::Request| {
            let client = Arc::clone(&client);
            async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect().await.unwrap().to_bytes();
                let mut passed = Request::builder().method(parts.method).uri(parts.uri);
                for name in ["content-type", "accept"] {
                    if let Some(value) = parts.headers.get(name) {
                        passed = passed.header(name, value.clone());
                    }
                }
                let passed = passed.body(Body::from(bytes.to_vec())).unwrap();
                let answer = client.send(passed).await.unwrap();
                let (parts, body) = answer.into_parts();
                let bytes = body.collect().await.unwrap().to_bytes();
                let mut response = axum::response::Response::new(axum::body::Body::from(bytes));
                *response.status_mut() = parts.status;
                for name in ["content-type", "retry-after"] {
                    if let Some(value) = parts.headers.get(name) {
                        response
                            .headers_mut()
                            .insert(axum::http::HeaderName::from_static(name), value.clone());
                    }
                }
                response
            }
        })
    }
}
