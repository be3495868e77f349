//! The one HTTP client for services that a workflow names: verified TLS, no redirects, bounded waits.

use std::sync::OnceLock;
use std::time::Duration;

use meridian_engine::ports::failure::Failure;

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The client; made at first use and shared from then on.
///
/// Redirects are not followed: a gate would judge another page than the one it names, and headers with secrets would travel.
///
/// # Errors
/// Lasting when this machine has no trusted certificates, so that no TLS connection could be verified.
pub fn client() -> Result<reqwest::Client, Failure> {
    static CLIENT: OnceLock<Result<reqwest::Client, String>> = OnceLock::new();
    CLIENT
        .get_or_init(build)
        .clone()
        .map_err(|why| Failure::lasting(format!("no HTTP client can be had: {why}")))
}

fn build() -> Result<reqwest::Client, String> {
    // Somebody else in this process may have installed one already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("meridian/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| error.to_string())
}
