//! A namespace to try things in: of the double, or of a real cluster where `MERIDIAN_TEST_KUBECONFIG` names one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace as Object;
use kube::api::{Api, DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use meridian_doubles::kubernetes::Cluster;
use meridian_kubernetes::api::Namespace;
use tokio::net::TcpListener;

/// The variable with the path of a real cluster's kubeconfig.
pub const VARIABLE: &str = "MERIDIAN_TEST_KUBECONFIG";

/// A namespace of one test's own.
pub struct Stage {
    pub namespace: Namespace,
    client: Client,
    /// None where the cluster is real.
    double: Option<Arc<Cluster>>,
}

impl Stage {
    /// A namespace with nothing in it.
    pub async fn bare(test: &str) -> Stage {
        static BEFORE: AtomicU32 = AtomicU32::new(0);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let before = BEFORE.fetch_add(1, Ordering::Relaxed);
        let name = format!("meridian-{test}-{}-{before}", std::process::id());
        let (client, double) = match std::env::var(VARIABLE) {
            Ok(path) => (real(&path).await, None),
            Err(_) => {
                let cluster = Cluster::new("stage");
                (served(&cluster).await, Some(cluster))
            }
        };
        let mut object = Object::default();
        object.metadata.name = Some(name.clone());
        let all = Api::all(client.clone());
        all.create(&PostParams::default(), &object).await.unwrap();
        Stage {
            namespace: Namespace::new(client.clone(), name),
            client,
            double,
        }
    }

    /// Gives the cluster time to get on: a double moves its clock, a real one is waited for.
    pub async fn pass(&self, time: Duration) {
        match &self.double {
            Some(cluster) => cluster.advance(time),
            None => tokio::time::sleep(time).await,
        }
    }

    /// The cluster's own time.
    pub fn now(&self) -> Timestamp {
        self.double
            .as_ref()
            .map_or_else(Timestamp::now, |cluster| cluster.now())
    }

    /// Takes the namespace away with all that is in it.
    pub async fn strike(self) {
        let all: Api<Object> = Api::all(self.client);
        let _ = all.delete(self.namespace.name(), &DeleteParams::default()).await;
    }
}

async fn real(path: &str) -> Client {
    let file = Kubeconfig::read_from(path).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(file, &options).await.unwrap();
    Client::try_from(config).unwrap()
}

async fn served(cluster: &Arc<Cluster>) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = cluster.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Client::try_from(Config::new(url.parse().unwrap())).unwrap()
}
