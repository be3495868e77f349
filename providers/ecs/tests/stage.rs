//! Services on the double, one for each means of moving them, as rigs of the conformance suite.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meridian_conformance::rig::{Ailment, Fault, Meddling, Offered, Rig, Strike, Truth, Workshop};
use meridian_doubles::ecs::{Account, AwsManners, Behaviour};
use meridian_doubles::wire::{Served, Wire};
use meridian_ecs::EcsCloud;
use meridian_engine::ports::provider::{Ladder, Provider, Rung, Target};
use meridian_engine::run::version::Version;
use meridian_workflows::duration::Duration as Span;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::ProviderKind;
use meridian_workflows::workflow::{Exposure, Release};
use serde_json::{Value, json};

const CLUSTER: &str = "prod";
const REGION: &str = "eu-west-1";
pub const OLD: &str = "registry.example.com/web:v1";
pub const NEW: &str = "registry.example.com/web:v2";

/// By which means a stage's traffic is shifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    Native,
    /// No load balancer: tasks are replaced.
    Rolling,
    TaskSets,
    TwoServices,
}

/// An account with a cluster, a load balancer, the target groups `blue` and `green`, rules, and what serves `v1`.
pub struct Stage {
    pub account: Arc<Account>,
    pub served: Served,
    pub means: Means,
    pub ladder: Vec<u16>,
    pub blue: String,
    pub green: String,
    pub rule: String,
    pub test: String,
}

/// Everything that is set up is somebody else's: neither counted nor struck by faults.
struct Builder(Arc<Account>);

impl Builder {
    fn ecs(&self, operation: &str, request: Value) -> Value {
        self.0
            .ecs(operation, request)
            .unwrap_or_else(|refusal| panic!("{operation}: {}", refusal.message))
    }

    fn elb(&self, operation: &str, request: Value) -> Value {
        self.0
            .elb(operation, request)
            .unwrap_or_else(|refusal| panic!("{operation}: {}", refusal.message))
    }

    fn group(&self, name: &str) -> String {
        let wanted = json!({"Name": name, "Protocol": "HTTP", "Port": 80, "VpcId": "vpc-1", "TargetType": "ip"});
        let arn = told(&self.elb("CreateTargetGroup", wanted)["TargetGroups"][0]["TargetGroupArn"]);
        let drain = json!([{"Key": "deregistration_delay.timeout_seconds", "Value": "5"}]);
        self.elb(
            "ModifyTargetGroupAttributes",
            json!({"TargetGroupArn": arn, "Attributes": drain}),
        );
        arn
    }

    fn rule(&self, listener: &str, priority: u32, blue: &str, green: &str) -> String {
        let forward = json!([{"Type": "forward", "ForwardConfig": {"TargetGroups": [
            {"TargetGroupArn": blue, "Weight": 100},
            {"TargetGroupArn": green, "Weight": 0},
        ]}}]);
        let conditions = json!([{"Field": "path-pattern", "Values": [format!("/{priority}/*")]}]);
        let wanted =
            json!({"ListenerArn": listener, "Priority": priority, "Conditions": conditions, "Actions": forward});
        told(&self.elb("CreateRule", wanted)["Rules"][0]["RuleArn"])
    }

    fn register(&self, image: &str) {
        let container = json!({"name": "web", "image": image, "memory": 128, "portMappings": [{"containerPort": 80}]});
        self.ecs(
            "RegisterTaskDefinition",
            json!({"family": "web", "containerDefinitions": [container]}),
        );
    }
}

fn told(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

impl Stage {
    pub async fn build(means: Means, ladder: &[u16]) -> Stage {
        let account = Account::new(REGION);
        let builder = Builder(Arc::clone(&account));
        builder.ecs("CreateCluster", json!({"clusterName": CLUSTER}));
        let balancer = builder.elb(
            "CreateLoadBalancer",
            json!({"Name": "web", "Subnets": ["subnet-1", "subnet-2"]}),
        );
        let (blue, green) = (builder.group("blue"), builder.group("green"));
        let listener = builder.elb(
            "CreateListener",
            json!({
                "LoadBalancerArn": balancer["LoadBalancers"][0]["LoadBalancerArn"],
                "Protocol": "HTTP",
                "Port": 80,
                "DefaultActions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
            }),
        );
        let listener = told(&listener["Listeners"][0]["ListenerArn"]);
        let (rule, test) = (
            builder.rule(&listener, 10, &blue, &green),
            builder.rule(&listener, 20, &blue, &green),
        );
        builder.register(OLD);
        builder.register(NEW);
        let served = Wire::serve_with(account.router(), AwsManners, 0).await.unwrap();
        if let Some(dir) = std::env::var_os("MERIDIAN_TEST_JOURNALS") {
            // For whoever judges every request and answer by AWS's published model afterwards.
            let file = format!("{means:?}-{}.jsonl", served.address.port());
            served
                .wire
                .write_journal_to(&std::path::Path::new(&dir).join(file))
                .unwrap();
        }
        let stage = Stage {
            account,
            served,
            means,
            ladder: ladder.to_vec(),
            blue,
            green,
            rule,
            test,
        };
        stage.start(&builder);
        stage.account.advance(Duration::from_secs(120));
        stage
    }

    fn start(&self, builder: &Builder) {
        let behind = |group: &str| json!({"targetGroupArn": group, "containerName": "web", "containerPort": 80});
        let service = |name: &str, desired: u32, more: Value| {
            let mut wanted = json!({"cluster": CLUSTER, "serviceName": name, "desiredCount": desired});
            for (key, value) in more.as_object().into_iter().flatten() {
                wanted[key] = value.clone();
            }
            builder.ecs("CreateService", wanted);
        };
        match self.means {
            Means::Native => {
                let mut balancer = behind(&self.blue);
                balancer["advancedConfiguration"] = json!({
                    "alternateTargetGroupArn": self.green,
                    "productionListenerRule": self.rule,
                    "testListenerRule": self.test,
                    "roleArn": "arn:aws:iam::123456789012:role/ecs",
                });
                let at_once = json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0});
                let more =
                    json!({"taskDefinition": "web:1", "loadBalancers": [balancer], "deploymentConfiguration": at_once});
                service("web", 4, more);
            }
            Means::Rolling => service("web", 4, json!({"taskDefinition": "web:1"})),
            Means::TaskSets => {
                service("web", 4, json!({"deploymentController": {"type": "EXTERNAL"}}));
                let made = builder.ecs(
                    "CreateTaskSet",
                    json!({
                        "cluster": CLUSTER,
                        "service": "web",
                        "taskDefinition": "web:1",
                        "loadBalancers": [behind(&self.blue)],
                        "scale": {"value": 100.0, "unit": "PERCENT"},
                    }),
                );
                let set = &made["taskSet"]["id"];
                builder.ecs(
                    "UpdateServicePrimaryTaskSet",
                    json!({"cluster": CLUSTER, "service": "web", "primaryTaskSet": set}),
                );
            }
            Means::TwoServices => {
                service(
                    "web-blue",
                    4,
                    json!({"taskDefinition": "web:1", "loadBalancers": [behind(&self.blue)]}),
                );
                service(
                    "web-green",
                    0,
                    json!({"taskDefinition": "web:1", "loadBalancers": [behind(&self.green)]}),
                );
            }
        }
    }

    pub fn provider(&self) -> EcsCloud {
        let account = Arc::clone(&self.account);
        EcsCloud::new()
            .with_clock(Arc::new(move || account.now()))
            .with_keys("AKIADOUBLE", "no secret")
    }

    pub fn settings(&self) -> Value {
        let mut settings = json!({"region": REGION, "cluster": CLUSTER, "endpoint": self.served.url, "service": "web"});
        match self.means {
            Means::Native | Means::Rolling => {}
            Means::TaskSets => {
                settings["targetGroups"] = json!({"blue": self.blue, "green": self.green});
                settings["listenerRules"] = json!({"production": self.rule, "test": self.test});
            }
            Means::TwoServices => {
                settings["service"] = Value::Null;
                settings["services"] = json!({"blue": "web-blue", "green": "web-green"});
                settings["listenerRules"] = json!({"production": self.rule});
            }
        }
        settings
    }

    pub fn target(&self) -> Target {
        let rung = |points: &u16| Rung {
            exposure: Exposure::Traffic(Share::from_basis_points(*points).unwrap()),
            bake: Span::ZERO,
        };
        Target {
            workflow: "web".into(),
            region: "eu".into(),
            settings: self.settings(),
            release: Release::Image(NEW.into()),
            ladder: Ladder {
                rungs: self.ladder.iter().map(rung).collect(),
                drain: Span::from_secs(10),
                ..Ladder::default()
            },
        }
    }

    pub fn ecs(&self, operation: &str, request: Value) -> Value {
        Builder(Arc::clone(&self.account)).ecs(operation, request)
    }

    pub fn elb(&self, operation: &str, request: Value) -> Value {
        Builder(Arc::clone(&self.account)).elb(operation, request)
    }

    fn services(&self) -> &'static [&'static str] {
        match self.means {
            Means::TwoServices => &["web-blue", "web-green"],
            Means::Native | Means::Rolling | Means::TaskSets => &["web"],
        }
    }

    pub fn service(&self) -> Value {
        self.ecs("DescribeServices", json!({"cluster": CLUSTER, "services": ["web"]}))["services"][0].clone()
    }

    /// The newest service deployment, whole.
    pub fn deployment(&self) -> Value {
        let listed = self.ecs("ListServiceDeployments", json!({"cluster": CLUSTER, "service": "web"}));
        let arn = &listed["serviceDeployments"][0]["serviceDeploymentArn"];
        self.ecs("DescribeServiceDeployments", json!({"serviceDeploymentArns": [arn]}))["serviceDeployments"][0].clone()
    }

    /// By what people call a task definition's image.
    fn version(&self, definition: &str) -> Version {
        let described = self.ecs("DescribeTaskDefinition", json!({"taskDefinition": definition}));
        let image = told(&described["taskDefinition"]["containerDefinitions"][0]["image"]);
        let name = Release::Image(image).version().to_owned();
        Version {
            pinned: definition.to_owned(),
            ..Version::named(name)
        }
    }

    fn shares(&self) -> (f64, f64) {
        if self.means == Means::Rolling {
            // Nothing shifts traffic: every task that runs gets its part.
            let service = self.service();
            let running = |wanted: &str| {
                let rollouts = service["deployments"].as_array().cloned().unwrap_or_default();
                let own = rollouts
                    .iter()
                    .filter(|rollout| told(&rollout["taskDefinition"]).ends_with(wanted));
                own.filter_map(|rollout| rollout["runningCount"].as_f64()).sum::<f64>()
            };
            let (old, new) = (running("web:1"), running("web:2"));
            return (new / (old + new).max(1.0), 0.0);
        }
        let traffic = self.account.traffic(&self.rule).unwrap();
        let own = traffic.by_definition.iter().filter(|(arn, _)| arn.ends_with("/web:2"));
        (own.map(|(_, part)| part).sum(), traffic.lost)
    }
}

fn share(part: f64) -> Share {
    Share::from_basis_points((part * 10_000.0).round() as u16).unwrap()
}

#[async_trait]
impl Rig for Stage {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(Stage::provider(self))
    }

    fn target(&self) -> Target {
        Stage::target(self)
    }

    async fn truth(&self) -> Truth {
        let (candidate, lost) = self.shares();
        let standing = |service: &&str| self.account.standing(service);
        let mut standing: Vec<String> = self.services().iter().flat_map(standing).collect();
        standing.sort();
        Truth {
            candidate_share: share(candidate),
            lost: share(lost),
            standing: standing.iter().map(|arn| self.version(arn)).collect(),
            writes: Some(self.account.writes()),
        }
    }

    async fn pass(&self, time: Duration) {
        self.account.advance(time);
    }

    async fn ail(&self, ailment: Ailment) -> Offered {
        let is_out = || told(&self.service()["taskDefinition"]).ends_with("web:2");
        if self.means == Means::Rolling && !is_out() {
            return Offered::No("a rolling deployment has no candidate before its first task has traffic");
        }
        let behaviour = match ailment {
            Ailment::ImageMissing => Behaviour::CannotPull,
            Ailment::CrashLoop(code) => Behaviour::Exits(code),
            Ailment::FlappingReady => Behaviour::Flaps,
            Ailment::OutOfMemory => Behaviour::OutOfMemory,
            Ailment::NeverReady => Behaviour::NeverHealthy,
            Ailment::Unschedulable => Behaviour::NoCapacity,
            Ailment::QuotaExceeded => Behaviour::NoQuota,
        };
        self.account.behave(NEW, behaviour);
        Offered::Yes
    }

    async fn fault(&self, fault: Fault, strike: Strike) -> Offered {
        self.served.wire.fault(fault, strike, |_| true);
        Offered::Yes
    }

    async fn heal(&self) {
        self.served.wire.heal();
    }

    async fn meddle(&self, meddling: Meddling) -> Offered {
        match (meddling, self.means) {
            (_, Means::Rolling) => return Offered::No("a rolling service has no candidate beside the baseline"),
            (Meddling::RevertTraffic, _) => {
                let forward = json!([{"Type": "forward", "ForwardConfig": {"TargetGroups": [
                    {"TargetGroupArn": self.blue, "Weight": 100},
                    {"TargetGroupArn": self.green, "Weight": 0},
                ]}}]);
                self.elb("ModifyRule", json!({"RuleArn": self.rule, "Actions": forward}));
            }
            (Meddling::ScaleCandidateAway, Means::Native) => {
                return Offered::No("ECS has one count for both revisions of a service");
            }
            (Meddling::ScaleCandidateAway, Means::TwoServices) => {
                self.ecs(
                    "UpdateService",
                    json!({"cluster": CLUSTER, "service": "web-green", "desiredCount": 0}),
                );
            }
            (Meddling::ScaleCandidateAway, Means::TaskSets) => {
                let scale = json!({"value": 0.0, "unit": "PERCENT"});
                let set = self.candidate_set();
                self.ecs(
                    "UpdateTaskSet",
                    json!({"cluster": CLUSTER, "service": "web", "taskSet": set, "scale": scale}),
                );
            }
            (Meddling::DeleteCandidate, Means::TaskSets) => {
                let set = self.candidate_set();
                self.ecs(
                    "DeleteTaskSet",
                    json!({"cluster": CLUSTER, "service": "web", "taskSet": set, "force": true}),
                );
            }
            (Meddling::DeleteCandidate, Means::TwoServices) => {
                return Offered::No("a service that is named in the settings is not theirs to delete");
            }
            (Meddling::DeleteCandidate, Means::Native) => {
                let arn = self.deployment()["serviceDeploymentArn"].clone();
                self.ecs(
                    "StopServiceDeployment",
                    json!({"serviceDeploymentArn": arn, "stopType": "ROLLBACK"}),
                );
            }
        }
        Offered::Yes
    }

    fn kind(&self) -> Option<ProviderKind> {
        Some(meridian_ecs::kind())
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(5 * 60)
    }

    fn stages(&self) -> Offered {
        match self.means {
            Means::Rolling => Offered::No("a rolling deployment cannot wait before its first task"),
            Means::Native | Means::TaskSets | Means::TwoServices => Offered::Yes,
        }
    }

    fn other_spelling(&self) -> Option<Target> {
        let mut target = Stage::target(self);
        match self.means {
            Means::TwoServices => target.settings["services"] = json!({"blue": "web-green", "green": "web-blue"}),
            Means::Native | Means::Rolling | Means::TaskSets => {
                target.settings["service"] = self.service()["serviceArn"].clone()
            }
        }
        Some(target)
    }

    fn missing(&self) -> Option<(Target, String)> {
        let mut target = Stage::target(self);
        match self.means {
            Means::TwoServices => target.settings["services"]["green"] = json!("nowhere"),
            Means::Native | Means::Rolling | Means::TaskSets => target.settings["service"] = json!("nowhere"),
        }
        Some((target, "nowhere".into()))
    }

    fn unsound(&self) -> Vec<(Value, String)> {
        let with = |key: &str, value: Value| {
            let mut settings = self.settings();
            settings[key] = value;
            (settings, key.to_owned())
        };
        vec![
            with("clutser", json!("prod")),
            with("hookTimeout", json!("15d")),
            with("endpoint", json!("ftp://somewhere")),
        ]
    }

    fn released_already(&self) -> Option<Target> {
        Some(Target {
            release: Release::Image(OLD.into()),
            ..Stage::target(self)
        })
    }
}

impl Stage {
    fn candidate_set(&self) -> Value {
        let sets = self.service()["taskSets"].as_array().cloned().unwrap_or_default();
        let own = sets.iter().find(|set| told(&set["taskDefinition"]).ends_with("web:2"));
        own.map_or(Value::Null, |set| set["id"].clone())
    }
}

/// Builds a stage for each behaviour.
pub struct Studio {
    pub name: &'static str,
    pub means: Means,
    pub ladder: &'static [u16],
}

#[async_trait]
impl Workshop for Studio {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    async fn rig(&self) -> Result<Box<dyn Rig>, String> {
        Ok(Box::new(Stage::build(self.means, self.ladder).await))
    }

    fn at_once(&self) -> usize {
        6
    }
}
