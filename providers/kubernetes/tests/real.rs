//! Real clusters: those of `MERIDIAN_TEST_KUBECONFIG`, its contexts in turn as regions, a namespace for each rig.
//!
//! Where something plays the nodes and takes its word about pods from a file (`{"rules": [{"namespace", "image", "do"}]}`),
//! `MERIDIAN_TEST_POD_RULES` names that file, and candidates can be made ill too.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hyper::Method;
use jiff::Timestamp;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use meridian_conformance::rig::{Offered, Rig, Workshop};
use meridian_doubles::wire::Wire;
use meridian_kubernetes::Now;
use serde_json::{Value, json};

use crate::hands::Hands;
use crate::manners::ApiServer;
use crate::rig::{Ground, KubernetesRig};
use crate::way::Way;

pub struct RealWorkshop {
    way: Way,
    clients: Vec<Client>,
    next: AtomicUsize,
}

/// One client a context; none where no real cluster is named.
async fn clients() -> Vec<Client> {
    let Ok(path) = std::env::var("MERIDIAN_TEST_KUBECONFIG") else {
        return Vec::new();
    };
    let file = Kubeconfig::read_from(path).unwrap();
    let mut clients = Vec::new();
    for context in file.contexts.clone() {
        let options = KubeConfigOptions {
            context: Some(context.name),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(file.clone(), &options).await.unwrap();
        clients.push(Client::try_from(config).unwrap());
    }
    clients
}

impl RealWorkshop {
    /// None where no real cluster is named, or the first of them does not serve what this way needs.
    pub async fn open(way: Way) -> Option<RealWorkshop> {
        let clients = clients().await;
        let hands = Hands::new(clients.first()?.clone(), "default");
        if let Some(api) = way.api() {
            let (status, _) = hands.ask(Method::GET, &format!("/{api}"), None).await;
            if status != 200 {
                return None;
            }
        }
        Some(RealWorkshop {
            way,
            clients,
            next: AtomicUsize::new(0),
        })
    }
}

#[async_trait]
impl Workshop for RealWorkshop {
    fn name(&self) -> String {
        format!("kubernetes {} (real)", self.way.name())
    }

    async fn rig(&self) -> Result<Box<dyn Rig>, String> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let client = self.clients[number % self.clients.len()].clone();
        let hands = Hands::new(client, "");
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "meridian-test-"}});
        let (status, made) = hands.ask(Method::POST, "/api/v1/namespaces", Some(object)).await;
        if status != 201 {
            return Err(format!("no namespace: {status} {made}"));
        }
        let mut hands = hands;
        hands.namespace = made["metadata"]["name"].as_str().unwrap().to_owned();
        let served = Wire::serve_with(hands.relay(), ApiServer, 0).await.unwrap();
        let ground = Arc::new(Real { hands: hands.clone() });
        Ok(Box::new(KubernetesRig::build(self.way, ground, hands, served).await?))
    }

    fn at_once(&self) -> usize {
        12
    }
}

struct Real {
    hands: Hands,
}

fn rules_file() -> Option<PathBuf> {
    std::env::var_os("MERIDIAN_TEST_POD_RULES").map(PathBuf::from)
}

/// Rules are a file that several rigs write.
static RULES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn change_rules(change: impl FnOnce(&mut Vec<Value>)) {
    let Some(path) = rules_file() else { return };
    let _one_at_a_time = RULES.lock().await;
    let mut rules: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(rules["rules"].as_array_mut().unwrap());
    let half = path.with_extension("half");
    std::fs::write(&half, rules.to_string()).unwrap();
    std::fs::rename(half, path).unwrap();
}

#[async_trait]
impl Ground for Real {
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn behave(&self, namespace: &str, image: &str, words: &str) -> Offered {
        if rules_file().is_none() {
            return Offered::No("nobody can make the pods of this cluster ill on demand");
        }
        let words = match words {
            "unschedulable" => return Offered::No("its nodes have room for everything"),
            // Ready for half a second, then its end; its ReplicaSet starts another.
            "flapping" => "fail start=0.1 after=0.5",
            words => words,
        };
        let rule = json!({"namespace": namespace, "image": image, "do": words});
        change_rules(|rules| rules.push(rule)).await;
        Offered::Yes
    }

    fn now(&self) -> Now {
        Arc::new(Timestamp::now)
    }

    fn beat(&self) -> Duration {
        Duration::from_millis(500)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn leave(&self, namespace: &str) {
        change_rules(|rules| rules.retain(|rule| rule["namespace"] != namespace)).await;
        self.hands
            .ask(Method::DELETE, &format!("/api/v1/namespaces/{namespace}"), None)
            .await;
    }
}
