//! Three clouds as they stand before a release: a Deployment behind an HTTPRoute, a web app with a slot, and an ECS service behind a weighted
//! rule; and a probe that asks each of them whether a customer can buy something.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use meridian_doubles::aws::manners::AwsManners;
use meridian_doubles::azure::app_service::{AppService, ArmManners, NewSite};
use meridian_doubles::ecs::Account;
use meridian_doubles::kubernetes::Cluster;
use meridian_doubles::wire::{Served, Wire};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::machine::{Answer, Machine};

const IMAGE: &str = "registry.example.com/shop";
/// How long a release through all of them may take on a busy machine.
const LONG: Duration = Duration::from_secs(900);
/// What takes minutes on these platforms takes seconds here.
const PACE: f64 = 30.0;

pub struct World {
    machine: Machine,
    cluster: Arc<Cluster>,
    tenant: Arc<AppService>,
    ecs: Arc<Ecs>,
    workflow: String,
    /// Listeners, and the runtime that they and the clouds' clocks live in.
    _served: [Served; 4],
    _runtime: Runtime,
}

/// The account, and what the probe looks at.
struct Ecs {
    account: Arc<Account>,
    rule: String,
    green: String,
    is_broken: AtomicBool,
}

impl World {
    pub fn new() -> World {
        let runtime = Runtime::new().unwrap();
        let machine = Machine::without_sandbox(vec![
            ("AWS_ACCESS_KEY_ID", "AKIADOUBLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "no secret".to_owned()),
            ("ARM_TOKEN", "a-token".to_owned()),
        ]);
        // The doubles' clocks and listeners are tasks of this runtime.
        let within = runtime.enter();
        let cluster = Cluster::new("eu-west");
        lay_cluster(&cluster);
        // A pod's age is judged by the clock of the one who asks, so the cluster's runs like everybody's.
        cluster.run_live(1.0);
        let tenant = AppService::new();
        tenant.make(NewSite {
            image: Some(format!("{IMAGE}:v1")),
            slots: vec!["staging".to_owned()],
            ..NewSite::named("shop")
        });
        tenant.run_live(PACE);
        let ecs = Arc::new(lay_ecs());
        ecs.account.run_live(PACE);
        drop(within);
        let served = runtime.block_on(async {
            [
                Wire::serve(cluster.router()).await.unwrap(),
                Wire::serve_with(tenant.router(), ArmManners, 0).await.unwrap(),
                Wire::serve_with(ecs.account.router(), AwsManners, 0).await.unwrap(),
                Wire::serve(probe(Arc::clone(&ecs))).await.unwrap(),
            ]
        });
        World {
            workflow: workflow(&machine, &served),
            machine,
            cluster,
            tenant,
            ecs,
            _served: served,
            _runtime: runtime,
        }
    }

    pub fn release(&self, version: &str) -> Answer {
        let version = format!("version={version}");
        let mut process = self.machine.spawn(&["run", &self.workflow, "--input", &version]);
        // Three clouds, each with its own minutes of starting, draining and swapping, played in seconds: longer than most stories.
        assert!(process.ends_within(LONG), "it goes on and on: {}", process.said());
        process.end()
    }

    pub fn journal(&self) -> Vec<Value> {
        let runs = self.machine.json(&["runs"]);
        self.machine.journal(runs[0]["run"].as_str().unwrap())
    }

    /// From now on the probe fails wherever it meets a candidate of the last cloud.
    pub fn break_journeys_in_the_last_cloud(&self) {
        self.ecs.is_broken.store(true, Ordering::SeqCst);
    }

    /// The version that users of each cloud get, in the order of the plan.
    pub fn served(&self) -> [String; 3] {
        let deployment = self.cluster.get("Deployment", "shop", "shop").unwrap();
        let in_cluster = deployment["spec"]["template"]["spec"]["containers"][0]["image"].clone();
        let site = self.tenant.standing("shop").unwrap();
        let of_site = ["v1", "v2"]
            .into_iter()
            .find(|version| site.share_of(&format!("{IMAGE}:{version}")) == 100.0);
        let of_site = of_site.unwrap_or("both").to_owned();
        [version(&in_cluster), of_site, self.ecs.served()]
    }

    /// Whether nothing of a candidate is left in the cluster and its route sends everything to the one Service.
    pub fn is_tidy(&self) -> bool {
        let route = self.cluster.get("HTTPRoute", "shop", "shop").unwrap();
        let backends = route["spec"]["rules"][0]["backendRefs"].as_array().unwrap().clone();
        let weighted = backends.iter().filter(|backend| backend["weight"] != 0).count();
        self.cluster.list("Deployment", "shop").len() == 1 && weighted == 1
    }
}

impl Ecs {
    /// The version that the service's finished deployment runs.
    fn served(&self) -> String {
        let service = call_ecs(
            &self.account,
            "DescribeServices",
            json!({"cluster": "prod", "services": ["web"]}),
        );
        let definition = &service["services"][0]["taskDefinition"];
        let asked = json!({"taskDefinition": definition});
        let described = call_ecs(&self.account, "DescribeTaskDefinition", asked);
        version(&described["taskDefinition"]["containerDefinitions"][0]["image"])
    }

    /// Whether the listener sends anything to the group that did not serve at the beginning.
    fn meets_candidate(&self) -> bool {
        let rules = call_elb(&self.account, "DescribeRules", json!({"RuleArns": [self.rule]}));
        let groups = rules["Rules"][0]["Actions"][0]["ForwardConfig"]["TargetGroups"].clone();
        let groups = groups.as_array().cloned().unwrap_or_default();
        groups.iter().any(|group| {
            let weight = &group["Weight"];
            let weight = weight.as_u64().or_else(|| weight.as_str()?.parse().ok()).unwrap_or(0);
            group["TargetGroupArn"] == self.green.as_str() && weight > 0
        })
    }
}

fn version(image: &Value) -> String {
    image
        .as_str()
        .and_then(|image| image.rsplit(':').next())
        .unwrap_or("none")
        .to_owned()
}

/// A customer made of straw: the journey works unless the region is the broken one and serves its candidate.
fn probe(ecs: Arc<Ecs>) -> Router {
    let asked = |State(ecs): State<Arc<Ecs>>, Query(query): Query<HashMap<String, String>>| async move {
        let is_last = query.get("region").is_some_and(|region| region == "us-east");
        let is_ok = !(is_last && ecs.is_broken.load(Ordering::SeqCst) && ecs.meets_candidate());
        Json(json!({"ok": is_ok}))
    };
    Router::new().route("/journeys/checkout", get(asked)).with_state(ecs)
}

/// The example, with the doubles' addresses and bakes of seconds.
fn workflow(machine: &Machine, [cluster, tenant, account, probe]: &[Served; 4]) -> String {
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "eu-west",
        "clusters": [{"name": "eu-west", "cluster": {"server": cluster.url}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "eu-west", "context": {"cluster": "eu-west", "user": "me"}}]});
    let kubeconfig = machine.write("kubeconfig", &kubeconfig.to_string());
    machine.write_state("secrets.json", &json!({"shop": {"arm": "env:ARM_TOKEN"}}).to_string());
    let mut text = include_str!("../../examples/05-three-clouds.yaml").to_owned();
    for (written, meant) in [
        (
            "context: eu-west",
            format!("context: eu-west, kubeconfig: '{kubeconfig}', settle: 1s"),
        ),
        (
            "site: shop}",
            format!("site: shop, endpoint: '{}', steadyFor: 1s}}", tenant.url),
        ),
        (
            "credentials: managedIdentity",
            "credentials: {token: {secret: arm}}".to_owned(),
        ),
        (
            "region: us-east-1",
            format!("region: us-east-1, endpoint: '{}'", account.url),
        ),
        ("https://probes.example.com", probe.url.clone()),
        ("bake: 10m", "bake: 1s".to_owned()),
        ("bake: 30m", "bake: 3s".to_owned()),
        ("bake: 1h", "bake: 1s".to_owned()),
        ("every: 30s", "every: 1s".to_owned()),
        ("drain: 30s", "drain: 1s".to_owned()),
    ] {
        assert!(text.contains(written), "the example has no `{written}` any more");
        text = text.replace(written, &meant);
    }
    machine.write("three-clouds.yaml", &text)
}

fn lay_cluster(cluster: &Cluster) {
    let put = |object: Value| {
        let put = cluster.put(object);
        put.unwrap_or_else(|refused| panic!("{refused}"));
    };
    put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    put(
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {"selector": {"app": "shop"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}),
    );
    put(
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "shop", "port": 80}]}]}}),
    );
    put(
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "shop"}},
            "template": {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{
                "name": "web", "image": format!("{IMAGE}:v1"), "ports": [{"name": "http", "containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}}]}}}}),
    );
    cluster.advance(Duration::from_secs(60));
}

fn call_ecs(account: &Account, operation: &str, request: Value) -> Value {
    let answer = account.ecs(operation, request);
    answer.unwrap_or_else(|refusal| panic!("{operation}: {}", refusal.message))
}

fn call_elb(account: &Account, operation: &str, request: Value) -> Value {
    let answer = account.elb(operation, request);
    answer.unwrap_or_else(|refusal| panic!("{operation}: {}", refusal.message))
}

fn told(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// A service with four tasks of v1 behind a rule that can be weighted.
fn lay_ecs() -> Ecs {
    let account = Account::new("us-east-1");
    let (ecs, elb) = (
        |operation: &str, request| call_ecs(&account, operation, request),
        |operation: &str, request| call_elb(&account, operation, request),
    );
    ecs("CreateCluster", json!({"clusterName": "prod"}));
    let subnets = json!({"Name": "web", "Subnets": ["subnet-1", "subnet-2"]});
    let balancer = elb("CreateLoadBalancer", subnets);
    let group = |name: &str| {
        let wanted = json!({"Name": name, "Protocol": "HTTP", "Port": 80, "VpcId": "vpc-1", "TargetType": "ip"});
        told(&elb("CreateTargetGroup", wanted)["TargetGroups"][0]["TargetGroupArn"])
    };
    let (blue, green) = (group("blue"), group("green"));
    let listener = elb(
        "CreateListener",
        json!({"LoadBalancerArn": balancer["LoadBalancers"][0]["LoadBalancerArn"], "Protocol": "HTTP", "Port": 80,
            "DefaultActions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]}),
    );
    let rule = elb(
        "CreateRule",
        json!({"ListenerArn": listener["Listeners"][0]["ListenerArn"], "Priority": 10,
            "Conditions": [{"Field": "path-pattern", "Values": ["/*"]}],
            "Actions": [{"Type": "forward", "ForwardConfig": {"TargetGroups": [
                {"TargetGroupArn": blue, "Weight": 100}, {"TargetGroupArn": green, "Weight": 0}]}}]}),
    );
    let rule = told(&rule["Rules"][0]["RuleArn"]);
    let container =
        json!({"name": "web", "image": format!("{IMAGE}:v1"), "memory": 128, "portMappings": [{"containerPort": 80}]});
    ecs(
        "RegisterTaskDefinition",
        json!({"family": "web", "containerDefinitions": [container]}),
    );
    ecs(
        "CreateService",
        json!({"cluster": "prod", "serviceName": "web", "desiredCount": 4, "taskDefinition": "web:1",
            "loadBalancers": [{"targetGroupArn": blue, "containerName": "web", "containerPort": 80,
                "advancedConfiguration": {"alternateTargetGroupArn": green, "productionListenerRule": rule,
                    "roleArn": "arn:aws:iam::123456789012:role/ecs"}}],
            "deploymentConfiguration": {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0}}),
    );
    account.advance(Duration::from_secs(120));
    Ecs {
        account,
        rule,
        green,
        is_broken: AtomicBool::new(false),
    }
}
