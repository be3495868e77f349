//! A region's front door: splits live requests by weight over ready instances, copies some to a shadow, measures every answer.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::sandbox::deployment::Deployment;
use crate::sandbox::meter::{Meters, Traffic};
use crate::sandbox::options::{BODY_BYTES_MAX, MIRRORED_IN_FLIGHT_MAX, REQUEST_TIMEOUT};
use crate::sandbox::quantity::Percent;
use crate::sandbox::split::{Portion, Split};

/// An HTTP client with kept connections.
pub type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// A client for loopback: instances are near, so what does not connect at once is not there.
pub fn http_client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(std::time::Duration::from_secs(2)));
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(std::time::Duration::from_secs(20))
        .pool_max_idle_per_host(32)
        .build(connector)
}

/// Where requests go at the moment. Replaced as a whole, so that a request never sees half a change.
#[derive(Debug, Default)]
pub struct Routes {
    weights: BTreeMap<String, Percent>,
    shadow: Option<(String, Percent)>,
    deployments: BTreeMap<String, Arc<Deployment>>,
    split: Mutex<Split>,
    portion: Mutex<Portion>,
}

impl Routes {
    /// Routes by these weights; versions without a deployment get nothing.
    pub fn new(
        weights: BTreeMap<String, Percent>,
        shadow: Option<(String, Percent)>,
        deployments: BTreeMap<String, Arc<Deployment>>,
    ) -> Self {
        let split = Split::new(weights.iter().map(|(version, weight)| (version.as_str(), *weight)));
        Self {
            weights,
            shadow,
            deployments,
            split: Mutex::new(split),
            portion: Mutex::default(),
        }
    }

    /// The deployment of this version.
    pub fn deployment(&self, version: &str) -> Option<&Arc<Deployment>> {
        self.deployments.get(version)
    }

    /// Every deployment.
    pub fn deployments(&self) -> &BTreeMap<String, Arc<Deployment>> {
        &self.deployments
    }

    /// The share each version truly gets: a version without a ready instance leaves its weight to the others.
    pub fn shares(&self) -> BTreeMap<String, Percent> {
        let serving = |version: &String| self.deployments.get(version).is_some_and(|d| d.ready() > 0);
        let ready: Vec<_> = self
            .weights
            .iter()
            .filter(|(v, w)| **w > Percent::NONE && serving(v))
            .collect();
        let total: u32 = ready.iter().map(|(_, weight)| u32::from(weight.hundredths())).sum();
        let mut left = Percent::ALL.hundredths();
        let mut shares = BTreeMap::new();
        for (index, (version, weight)) in ready.iter().enumerate() {
            let part = u32::from(weight.hundredths()) * u32::from(Percent::ALL.hundredths()) / total.max(1);
            let part = if index + 1 == ready.len() {
                left
            } else {
                u16::try_from(part).unwrap_or(left).min(left)
            };
            left -= part;
            shares.insert((*version).clone(), Percent::new(part).unwrap_or(Percent::ALL));
        }
        shares
    }

    /// The version whose turn it is; when nobody is ready, the heaviest one, whose clients then get the error.
    fn turn(&self) -> Option<String> {
        let ready = |version: &str| self.deployments.get(version).is_some_and(|d| d.ready() > 0);
        let chosen = self.split.lock().next(ready).map(str::to_owned);
        chosen.or_else(|| {
            self.weights
                .iter()
                .max_by_key(|(_, weight)| **weight)
                .map(|(version, _)| version.clone())
        })
    }

    /// The deployment that gets a copy of the next request, if it gets one.
    fn copy_to(&self) -> Option<&Arc<Deployment>> {
        let (version, part) = self.shadow.as_ref()?;
        let deployment = self.deployments.get(version)?;
        self.portion.lock().next(*part).then_some(deployment)
    }
}

/// A region's proxy. Cheap to clone; all clones are one proxy.
#[derive(Debug, Clone)]
pub struct Proxy {
    routes: Arc<parking_lot::RwLock<Arc<Routes>>>,
    meters: Arc<Meters>,
    client: HttpClient,
    mirroring: Arc<Semaphore>,
}

/// The parts of a request that are sent on, perhaps twice.
#[derive(Debug, Clone)]
struct Passed {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Proxy {
    /// A proxy without routes, measuring into `meters`.
    pub fn new(meters: Arc<Meters>, client: HttpClient) -> Self {
        let mirroring = Arc::new(Semaphore::new(MIRRORED_IN_FLIGHT_MAX));
        Self {
            routes: Arc::default(),
            meters,
            client,
            mirroring,
        }
    }

    /// The routes at the moment.
    pub fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.read())
    }

    /// Replaces all routes at once.
    pub fn set_routes(&self, routes: Routes) {
        *self.routes.write() = Arc::new(routes);
    }

    /// What was measured.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Answers a client's request by the weights.
    pub async fn live<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let passed = match read(request).await {
            Ok(passed) => passed,
            Err(refusal) => return refusal,
        };
        let routes = self.routes();
        self.copy(&routes, &passed);
        let Some(version) = routes.turn() else {
            return failure(StatusCode::SERVICE_UNAVAILABLE, "no version serves this region");
        };
        self.send_measured(routes.deployment(&version), &version, passed, Traffic::Live)
            .await
    }

    /// Answers a request for one version by name, whatever its weight; `None` when no such version runs.
    pub async fn preview<B>(&self, version: &str, request: Request<B>) -> Option<Response<Full<Bytes>>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let routes = self.routes();
        let deployment = routes.deployment(version)?;
        Some(match read(request).await {
            Ok(passed) => {
                self.send_measured(Some(deployment), version, passed, Traffic::Preview)
                    .await
            }
            Err(refusal) => refusal,
        })
    }

    /// Sends a copy to the shadow when one is due. Nothing of it can reach the client: it runs apart, its answer is thrown away.
    fn copy(&self, routes: &Routes, passed: &Passed) {
        let Some(deployment) = routes.copy_to().filter(|d| d.ready() > 0) else {
            return;
        };
        let Ok(permit) = Arc::clone(&self.mirroring).try_acquire_owned() else {
            return;
        };
        let (proxy, deployment, passed) = (self.clone(), Arc::clone(deployment), passed.clone());
        tokio::spawn(async move {
            let _answer = proxy
                .send_measured(Some(&deployment), &deployment.version, passed, Traffic::Mirror)
                .await;
            drop(permit);
        });
    }

    async fn send_measured(
        &self,
        deployment: Option<&Arc<Deployment>>,
        version: &str,
        passed: Passed,
        traffic: Traffic,
    ) -> Response<Full<Bytes>> {
        let began = Instant::now();
        let response = match deployment {
            Some(deployment) => self.send(deployment, passed).await,
            None => failure(StatusCode::SERVICE_UNAVAILABLE, "the version does not run"),
        };
        self.meters
            .record(version, traffic, response.status().as_u16(), began.elapsed());
        response
    }

    /// Sends to a ready instance, and to another one when the first does not even take the connection.
    async fn send(&self, deployment: &Deployment, passed: Passed) -> Response<Full<Bytes>> {
        let Some(first) = deployment.pick(None) else {
            return failure(StatusCode::SERVICE_UNAVAILABLE, "no instance of the version is ready");
        };
        match self.send_to(first, passed.clone()).await {
            Err(Failed::NoConnection) => match deployment.pick(Some(first)) {
                Some(second) => self.send_to(second, passed).await.unwrap_or_else(Failed::response),
                None => Failed::NoConnection.response(),
            },
            sent => sent.unwrap_or_else(Failed::response),
        }
    }

    async fn send_to(&self, address: SocketAddr, passed: Passed) -> Result<Response<Full<Bytes>>, Failed> {
        let uri: Uri = format!("http://{address}{}", passed.path)
            .parse()
            .map_err(|_| Failed::NoAnswer)?;
        let mut request = Request::new(Full::new(passed.body));
        *request.method_mut() = passed.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = passed.headers;
        let answer = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| match error.is_connect() {
                    true => Failed::NoConnection,
                    false => Failed::NoAnswer,
                })?;
            let (mut parts, body) = response.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX)
                .collect()
                .await
                .map_err(|_| Failed::NoAnswer)?
                .to_bytes();
            drop_hop_headers(&mut parts.headers);
            Ok(Response::from_parts(parts, Full::new(body)))
        };
        timeout(REQUEST_TIMEOUT, answer).await.unwrap_or(Err(Failed::TooLate))
    }
}

/// Why an instance gave no answer.
enum Failed {
    NoConnection,
    NoAnswer,
    TooLate,
}

impl Failed {
    fn response(self) -> Response<Full<Bytes>> {
        match self {
            Self::NoConnection => failure(StatusCode::BAD_GATEWAY, "the instance does not take connections"),
            Self::NoAnswer => failure(StatusCode::BAD_GATEWAY, "the instance ended in mid-answer"),
            Self::TooLate => failure(StatusCode::GATEWAY_TIMEOUT, "the instance did not answer in time"),
        }
    }
}

impl<B> Service<Request<B>> for Proxy
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let proxy = self.clone();
        Box::pin(async move { Ok(proxy.live(request).await) })
    }
}

/// Reads a whole request, within bounds; what cannot be passed on is answered here.
async fn read<B>(request: Request<B>) -> Result<Passed, Response<Full<Bytes>>>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    if parts.method == Method::CONNECT {
        return Err(failure(
            StatusCode::METHOD_NOT_ALLOWED,
            "a region's proxy opens no tunnels",
        ));
    }
    let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            return Err(failure(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is too long or broke off",
            ));
        }
    };
    let path = parts
        .uri
        .path_and_query()
        .map_or_else(|| "/".to_owned(), ToString::to_string);
    let mut headers = parts.headers;
    drop_hop_headers(&mut headers);
    headers.remove(header::HOST);
    Ok(Passed {
        method: parts.method,
        path,
        headers,
        body,
    })
}

/// Headers that speak about one connection only must not travel; the length is written anew from the body.
fn drop_hop_headers(headers: &mut HeaderMap) {
    const HOP: [&str; 9] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP {
        headers.remove(name);
    }
    headers.remove(header::CONTENT_LENGTH);
}

fn failure(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(serde_json::json!({ "error": why }).to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}
