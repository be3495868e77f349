//! Accepting connections within bounds, and stopping without cutting an answer in half.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How long a connection may take to send a request's head, and stay idle between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long answers under way may take once a stop was asked for.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// The pause after a failed accept (no file handles left): trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Request heads are small; what is longer is not a client of ours.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Asks for a stop; dropping it asks as well.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Hears about a stop.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// A stop that has not been asked for yet.
pub fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Asks; asking twice changes nothing.
    pub fn ask(&self) {
        self.0.send_replace(true);
    }

    /// Whether it has been asked for.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }
}

impl Stop {
    /// Waits until the stop is asked for.
    pub async fn asked(&mut self) {
        // An error means that the sender is gone, which asks as well.
        let _ = self.0.wait_for(|asked| *asked).await;
    }

    /// Whether it has been asked for.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// A loopback listener on this port, or on a free one when the port is 0.
///
/// # Errors
/// The operating system's, most often that the port is taken.
pub async fn loopback(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)).await
}

/// Serves connections, at most `connections_max` at once (others wait in the system's queue), until the stop is asked for.
///
/// Guarantees: answers under way get [`STOP_GRACE`] at a stop; dropping the future cuts every connection at once.
pub async fn serve<S, B>(listener: TcpListener, service: S, connections_max: usize, mut stop: Stop)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let permits = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    loop {
        let permit = tokio::select! {
            () = stop.asked() => break,
            permit = Arc::clone(&permits).acquire_owned() => permit.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            () = stop.asked() => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (service, stop) = (service.clone(), stop.clone());
        connections.spawn(async move {
            connection(stream, service, stop).await;
            drop(permit);
        });
    }
    drop(listener);
    let all_closed = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, all_closed).await.is_err() {
        tracing::debug!("cut connections that did not finish in time");
    }
}

async fn connection<S, B>(stream: TcpStream, service: S, mut stop: Stop)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Small answers should leave at once; a failure here only costs latency.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // Errors end one connection and are the client's business (it hung up, or did not speak HTTP).
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.asked() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "connection ended");
    }
}
