//! Clusters: names that services live under.

use serde_json::{Value, json};

use crate::aws::members::Members;
use crate::aws::refusal::Refusal;
use crate::ecs::state::State;
use crate::ecs::task::Phase;

#[derive(Clone, Debug)]
pub struct Cluster {
    pub arn: String,
    pub name: String,
}

impl State {
    pub(super) fn create_cluster(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let name = asked.text("clusterName")?.unwrap_or_else(|| "default".to_owned());
        let tags = self.tags_given(&mut asked)?;
        asked.done()?;
        if name.is_empty()
            || name.len() > 255
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        {
            return Err(Refusal::parameter("The specified cluster name is invalid."));
        }
        let arn = self.world.arn(&format!("cluster/{name}"));
        if !self.clusters.iter().any(|cluster| cluster.arn == arn) {
            self.clusters.push(Cluster { arn: arn.clone(), name });
            self.tags.insert(arn.clone(), tags);
        }
        Ok(json!({"cluster": self.shown_cluster(&arn, true)}))
    }

    pub(super) fn describe_clusters(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let names = asked.texts("clusters")?.unwrap_or_else(|| vec!["default".to_owned()]);
        let include = asked.texts("include")?.unwrap_or_default();
        asked.done()?;
        let (mut clusters, mut failures) = (Vec::new(), Vec::new());
        for name in names {
            match self.cluster(Some(&name)) {
                Ok(cluster) => {
                    clusters.push(self.shown_cluster(&cluster.arn, include.iter().any(|word| word == "TAGS")))
                }
                Err(_) => {
                    let arn = if name.starts_with("arn:") {
                        name
                    } else {
                        self.world.arn(&format!("cluster/{name}"))
                    };
                    failures.push(json!({"arn": arn, "reason": "MISSING"}));
                }
            }
        }
        Ok(json!({"clusters": clusters, "failures": failures}))
    }

    /// The cluster that a request means by name or ARN; `default` where it names none.
    pub(super) fn cluster(&self, asked: Option<&str>) -> Result<Cluster, Refusal> {
        let wanted = asked.unwrap_or("default");
        self.clusters
            .iter()
            .find(|cluster| cluster.name == wanted || cluster.arn == wanted)
            .cloned()
            .ok_or_else(|| Refusal::new("ClusterNotFoundException", 400, "Cluster not found."))
    }

    fn shown_cluster(&self, arn: &str, with_tags: bool) -> Value {
        let tasks = || self.world.tasks.iter().filter(|task| task.cluster == arn);
        let running = tasks().filter(|task| task.phase == Phase::Running).count();
        let pending = tasks()
            .filter(|task| matches!(task.phase, Phase::Provisioning | Phase::Pending))
            .count();
        let services = self
            .services
            .iter()
            .filter(|service| service.facts.cluster == arn && service.is_active())
            .count();
        json!({
            "clusterArn": arn,
            "clusterName": arn.rsplit('/').next(),
            "status": "ACTIVE",
            "registeredContainerInstancesCount": 0,
            "runningTasksCount": running,
            "pendingTasksCount": pending,
            "activeServicesCount": services,
            "statistics": [],
            "tags": if with_tags { self.tags_shown(arn) } else { json!([]) },
            "settings": [],
            "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
            "defaultCapacityProviderStrategy": [],
        })
    }
}
