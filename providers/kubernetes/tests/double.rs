//! The double: a cluster in memory for each rig, whose time passes only when the suite says so.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meridian_conformance::rig::{Offered, Rig, Workshop};
use meridian_doubles::kubernetes::Cluster;
use meridian_doubles::wire::Wire;
use meridian_kubernetes::Now;

use crate::hands::Hands;
use crate::manners::ApiServer;
use crate::rig::{Ground, KubernetesRig};
use crate::way::Way;

pub struct DoubleWorkshop {
    pub way: Way,
}

#[async_trait]
impl Workshop for DoubleWorkshop {
    fn name(&self) -> String {
        format!("kubernetes {}", self.way.name())
    }

    async fn rig(&self) -> Result<Box<dyn Rig>, String> {
        let cluster = Cluster::new("eu");
        // Past all faults, on a listener of its own.
        let aside = Wire::serve(cluster.router()).await.map_err(|error| error.to_string())?;
        let hands = Hands::plain(&aside.url, "default");
        let served = Wire::serve_with(cluster.router(), ApiServer, 0)
            .await
            .map_err(|error| error.to_string())?;
        let ground = Arc::new(Double { cluster, _aside: aside });
        Ok(Box::new(KubernetesRig::build(self.way, ground, hands, served).await?))
    }

    fn at_once(&self) -> usize {
        2
    }
}

pub struct Double {
    pub cluster: Arc<Cluster>,
    pub _aside: meridian_doubles::wire::Served,
}

#[async_trait]
impl Ground for Double {
    async fn pass(&self, time: Duration) {
        self.cluster.advance(time);
    }

    async fn behave(&self, _namespace: &str, image: &str, words: &str) -> Offered {
        self.cluster.behave(image, words);
        Offered::Yes
    }

    fn now(&self) -> Now {
        let cluster = Arc::clone(&self.cluster);
        Arc::new(move || cluster.now())
    }

    fn beat(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(120)
    }

    async fn leave(&self, _namespace: &str) {}
}
