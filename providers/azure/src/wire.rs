//! The last step of every request to Azure: bounded in time, no redirects, plain http on loopback only.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, Transport};

use crate::endpoint::is_loopback;

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// How long any request may take until the last byte of its answer; what is asked for sets a limit of its own below.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The one HTTP client for everything that is asked for with or without credentials.
///
/// *Errors*: this machine has no trusted certificates, so that no TLS connection could be verified.
pub(crate) fn client() -> Result<reqwest::Client, String> {
    static CLIENT: OnceLock<Result<reqwest::Client, String>> = OnceLock::new();
    CLIENT
        .get_or_init(|| {
            // Somebody else in this process may have installed one already, which serves as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(REQUEST_TIMEOUT)
                .build()
                .map_err(|error| format!("no HTTP client can be had: {error}"))
        })
        .clone()
}

/// A transport for an Azure pipeline.
///
/// Azure's policies refuse to put a credential on a URL that is not https, which is right, and leaves no way to a double on this
/// machine. So a plain loopback endpoint is written as https everywhere above, and becomes http here, in the one place that
/// can see that the host is loopback.
pub(crate) fn transport(is_plain: bool) -> Result<Transport, String> {
    let client = client()?;
    Ok(Transport::new(Arc::new(Wire { client, is_plain })))
}

#[derive(Debug)]
struct Wire {
    client: reqwest::Client,
    is_plain: bool,
}

#[async_trait]
impl HttpClient for Wire {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        if !self.is_plain || !is_loopback(request.url()) {
            return self.client.execute_request(request).await;
        }
        let mut plain = request.clone();
        let port = plain.url().port_or_known_default();
        let url = plain.url_mut();
        // Both fail for URLs without a host only, which a loopback one has.
        let _ = url.set_scheme("http");
        let _ = url.set_port(port);
        self.client.execute_request(&plain).await
    }
}
