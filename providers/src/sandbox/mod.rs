//! A small cloud in one process: regions with real HTTP traffic, weighted proxies, versioned instances and a Prometheus-compatible endpoint.

pub mod address;
pub mod client;
pub mod diagnosis;
pub mod fault;
pub mod observed;
pub mod options;
pub mod order;
pub mod promql;
pub mod quantity;
pub mod record;

mod api;
mod deployment;
mod instance;
mod ledger;
mod listener;
mod load;
mod meter;
mod proxy;
mod region;
mod scrape;
mod split;
mod world;

#[cfg(test)]
mod stories;

use std::io;
use std::sync::Arc;

use hyper_util::service::TowerToHyperService;
use parking_lot::RwLock;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::sandbox::address::{Address, Lock, LockError};
use crate::sandbox::api::Control;
use crate::sandbox::ledger::Ledger;
use crate::sandbox::listener::Stopper;
use crate::sandbox::options::{CONNECTIONS_MAX, Options};
use crate::sandbox::promql::store::Store;
use crate::sandbox::world::World;

pub use crate::sandbox::api::Ensured;

/// Why a sandbox could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its directory cannot be had.
    #[error("could not start the sandbox")]
    Directory(#[from] LockError),
    /// Its saved state cannot be had.
    #[error("could not start the sandbox")]
    State(#[source] LedgerError),
    /// Its address is not one of this machine's own.
    #[error("the sandbox listens on loopback addresses only, and {0} is none")]
    NotLoopback(std::net::IpAddr),
    /// The operating system refuses.
    #[error("could not {act}")]
    System {
        /// What was tried.
        act: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// Why saved state could not be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LedgerError(#[from] ledger::Error);

/// A sandbox that runs in this process; [`serve`] is for a process of its own.
#[derive(Debug)]
pub struct Sandbox {
    address: Arc<Address>,
    world: Arc<World>,
    stopper: Stopper,
    tasks: JoinSet<()>,
    end: Arc<Notify>,
    // Last, so that the directory is free only once everything else has ended.
    _lock: Lock,
}

impl Sandbox {
    /// Starts a sandbox: takes its directory, brings its regions back, and answers at its address.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start(options: Options) -> Result<Self, Error> {
        if !options.listen.ip().is_loopback() {
            return Err(Error::NotLoopback(options.listen.ip()));
        }
        let system = |act| move |source| Error::System { act, source };
        let lock = Lock::take(&options.state_dir)?;
        let (ledger, records) = Ledger::open(&options.state_dir).map_err(|error| Error::State(error.into()))?;
        let listener = listen(&options).await.map_err(system("listen on its address"))?;
        let bound = listener.local_addr().map_err(system("listen on its address"))?;
        let address = Arc::new(Address {
            url: observed::url(bound),
            pid: std::process::id(),
            instance: Uuid::now_v7().to_string(),
        });
        let world = Arc::new(World::new(options.clone(), ledger));
        world.restore(records).await.map_err(system("listen for a region"))?;
        let (stopper, stop) = listener::stop();
        let (samples, end) = (Arc::new(RwLock::new(Store::default())), Arc::new(Notify::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(scrape::sample(Arc::clone(&world), Arc::clone(&samples), stop.clone()));
        let control = Control {
            world: Arc::clone(&world),
            samples,
            address: Arc::clone(&address),
            end: Arc::clone(&end),
        };
        let service = TowerToHyperService::new(api::router(control));
        tasks.spawn(listener::serve(listener, service, CONNECTIONS_MAX, stop));
        address
            .write(&options.state_dir)
            .map_err(system("write its address file"))?;
        Ok(Self {
            address,
            world,
            stopper,
            tasks,
            end,
            _lock: lock,
        })
    }

    /// Where it can be reached.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Waits until somebody posts `/stop`.
    pub async fn end_asked(&self) {
        self.end.notified().await;
    }

    /// Ends it: no new requests, answers under way may finish. What it saved stays.
    pub async fn stop(mut self) {
        self.stopper.ask();
        self.world.stop().await;
        while self.tasks.join_next().await.is_some() {}
    }
}

/// The control address: the one asked for, or on a free choice the last one if nobody has taken it.
async fn listen(options: &Options) -> io::Result<TcpListener> {
    if options.listen.port() == 0
        && let Some(port) = address::last_port(&options.state_dir)
        && let Ok(listener) = TcpListener::bind((options.listen.ip(), port)).await
    {
        return Ok(listener);
    }
    TcpListener::bind(options.listen).await
}

/// Runs a sandbox until SIGTERM, SIGINT or `POST /stop`, and ends it gracefully. `ready` is told the address once it answers.
///
/// # Errors
/// See [`Error`].
pub async fn serve(options: Options, ready: impl FnOnce(&Address)) -> Result<(), Error> {
    let system = |source| Error::System {
        act: "listen for signals",
        source,
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    let sandbox = Sandbox::start(options).await?;
    ready(sandbox.address());
    tokio::select! {
        () = sandbox.end_asked() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    sandbox.stop().await;
    Ok(())
}
