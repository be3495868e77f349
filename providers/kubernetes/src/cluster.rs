//! Clients of clusters: one a cluster, made when it is first needed, made again when its credentials are refused.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use meridian_engine::ports::failure::Failure;
use parking_lot::Mutex;

use crate::api::{Namespace, REQUEST_TIMEOUT};
use crate::settings::{Cluster, Settings};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A credential plug-in that takes longer has failed.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(15);

/// Clients by cluster.
#[derive(Default)]
pub struct Clients {
    made: Mutex<BTreeMap<Cluster, Client>>,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

impl Clients {
    /// The namespace that a region's settings name.
    pub async fn namespace(&self, settings: &Settings) -> Result<Namespace, Failure> {
        let found = self.made.lock().get(&settings.cluster).cloned();
        let client = match found {
            Some(client) => client,
            None => {
                let client = connect(settings.cluster.clone()).await?;
                self.made.lock().insert(settings.cluster.clone(), client.clone());
                client
            }
        };
        let namespace = settings
            .namespace
            .clone()
            .unwrap_or_else(|| client.default_namespace().to_owned());
        Ok(Namespace::new(client, namespace))
    }

    /// Forgets a cluster's client: the next call reads the kubeconfig again, where rotated credentials stand.
    pub fn forget(&self, cluster: &Cluster) {
        self.made.lock().remove(cluster);
    }
}

async fn connect(cluster: Cluster) -> Result<Client, Failure> {
    // A credential plug-in is a process that is waited for without yielding: not on a thread that serves others.
    let making = tokio::task::spawn_blocking(move || {
        let handle = tokio::runtime::Handle::current();
        handle.block_on(async {
            let mut config = config(&cluster).await?;
            config.connect_timeout = Some(CONNECT_TIMEOUT);
            config.read_timeout = Some(REQUEST_TIMEOUT);
            config.write_timeout = Some(REQUEST_TIMEOUT);
            // Who asks decides whether asking again is right, and hears `Retry-After`.
            config.default_retry = false;
            let url = config.cluster_url.clone();
            Client::try_from(config).map_err(|error| {
                Failure::lasting(format!(
                    "no client can be made for the cluster at {url}: {}",
                    words(&error)
                ))
            })
        })
    });
    match tokio::time::timeout(CREDENTIALS_TIMEOUT, making).await {
        Ok(Ok(made)) => made,
        Ok(Err(_)) => Err(Failure::transient("the cluster's client could not be made")),
        Err(_) => Err(Failure::transient("the cluster's credentials took too long to come")),
    }
}

async fn config(cluster: &Cluster) -> Result<Config, Failure> {
    match cluster {
        Cluster::InCluster => Config::incluster().map_err(|error| {
            Failure::lasting(format!(
                "this process runs in no cluster (`inCluster`): {}",
                words(&error)
            ))
        }),
        Cluster::Kubeconfig { path, context } => {
            let file = match path {
                Some(path) => Kubeconfig::read_from(home(path)),
                None => Kubeconfig::read(),
            };
            let named = path.clone().unwrap_or_else(|| "of the environment".to_owned());
            let unread = |error: KubeconfigError| {
                Failure::lasting(format!("the kubeconfig {named} cannot be used: {}", words(&error)))
            };
            let file = file.map_err(unread)?;
            if let Some(context) = context
                && !file.contexts.iter().any(|known| known.name == *context)
            {
                let known: Vec<&str> = file.contexts.iter().map(|known| known.name.as_str()).collect();
                return Err(Failure::lasting(format!(
                    "the kubeconfig {named} has no context `{context}`, only {}",
                    known.join(", ")
                )));
            }
            let options = KubeConfigOptions {
                context: context.clone(),
                ..KubeConfigOptions::default()
            };
            Config::from_custom_kubeconfig(file, &options).await.map_err(unread)
        }
    }
}

/// `~/` is what people write in settings.
fn home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        (Some(_) | None, _) => PathBuf::from(path),
    }
}

/// An error's own words, without the outer ones that repeat it. None of them holds what a file contains.
fn words(error: &dyn std::error::Error) -> String {
    error.to_string().replace('\n', " ")
}
