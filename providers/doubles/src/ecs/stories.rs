//! Stories of an account: what the clock makes of what callers ask.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ecs::account::Account;
use crate::ecs::behaviour::Behaviour;

const PROD: &str = "prod";

/// An account with a cluster, a load balancer, the target groups `blue` and `green`, and a rule that forwards to both.
struct Stage {
    account: Arc<Account>,
    blue: String,
    green: String,
    rule: String,
    test: String,
}

impl Stage {
    fn new() -> Stage {
        let account = Account::new("eu-west-1");
        let elb = |operation: &str, request: Value| account.elb(operation, request).unwrap();
        account.ecs("CreateCluster", json!({"clusterName": PROD})).unwrap();
        let balancer = elb(
            "CreateLoadBalancer",
            json!({"Name": "web", "Subnets": ["subnet-1", "subnet-2"]}),
        );
        let group = |name: &str| {
            let made = elb(
                "CreateTargetGroup",
                json!({"Name": name, "Protocol": "HTTP", "Port": 80, "VpcId": "vpc-1", "TargetType": "ip"}),
            );
            let arn = made["TargetGroups"][0]["TargetGroupArn"].as_str().unwrap().to_owned();
            let drain = json!([{"Key": "deregistration_delay.timeout_seconds", "Value": "10"}]);
            elb(
                "ModifyTargetGroupAttributes",
                json!({"TargetGroupArn": arn, "Attributes": drain}),
            );
            arn
        };
        let (blue, green) = (group("blue"), group("green"));
        let forward = json!([{"Type": "forward", "ForwardConfig": {"TargetGroups": [
            {"TargetGroupArn": blue, "Weight": 100},
            {"TargetGroupArn": green, "Weight": 0},
        ]}}]);
        let listener = elb(
            "CreateListener",
            json!({
                "LoadBalancerArn": balancer["LoadBalancers"][0]["LoadBalancerArn"],
                "Protocol": "HTTP",
                "Port": 80,
                "DefaultActions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
            }),
        );
        let rule = |priority: u32| {
            let conditions = json!([{"Field": "path-pattern", "Values": ["/*"]}]);
            let listener = &listener["Listeners"][0]["ListenerArn"];
            let made = elb(
                "CreateRule",
                json!({"ListenerArn": listener, "Priority": priority, "Conditions": conditions, "Actions": forward}),
            );
            made["Rules"][0]["RuleArn"].as_str().unwrap().to_owned()
        };
        let (rule, test) = (rule(10), rule(20));
        let stage = Stage {
            account,
            blue,
            green,
            rule,
            test,
        };
        stage.register("web:v1");
        stage.register("web:v2");
        stage
    }

    fn register(&self, image: &str) -> String {
        let container = json!({"name": "web", "image": image, "memory": 128, "portMappings": [{"containerPort": 80}]});
        let made = self.account.ecs(
            "RegisterTaskDefinition",
            json!({"family": "web", "containerDefinitions": [container]}),
        );
        made.unwrap()["taskDefinition"]["taskDefinitionArn"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn ecs(&self, operation: &str, request: Value) -> Value {
        self.account.ecs(operation, request).unwrap()
    }

    /// A service with this deployment configuration, settled.
    fn with_service(self, configuration: Value) -> Stage {
        self.ecs(
            "CreateService",
            json!({
                "cluster": PROD,
                "serviceName": "web",
                "taskDefinition": "web:1",
                "desiredCount": 4,
                "deploymentConfiguration": configuration,
                "loadBalancers": [self.load_balancer()],
            }),
        );
        self.pass(60);
        assert_eq!(self.deployment()["status"], "SUCCESSFUL");
        self
    }

    fn load_balancer(&self) -> Value {
        json!({
            "targetGroupArn": self.blue,
            "containerName": "web",
            "containerPort": 80,
            "advancedConfiguration": {
                "alternateTargetGroupArn": self.green,
                "productionListenerRule": self.rule,
                "testListenerRule": self.test,
                "roleArn": "arn:aws:iam::123456789012:role/ecs",
            },
        })
    }

    fn pass(&self, seconds: u64) {
        self.account.advance(Duration::from_secs(seconds));
    }

    fn deploy(&self) {
        self.ecs(
            "UpdateService",
            json!({"cluster": PROD, "service": "web", "taskDefinition": "web:2"}),
        );
    }

    fn service(&self) -> Value {
        self.ecs("DescribeServices", json!({"cluster": PROD, "services": ["web"]}))["services"][0].clone()
    }

    /// The newest service deployment.
    fn deployment(&self) -> Value {
        let listed = self.ecs("ListServiceDeployments", json!({"cluster": PROD, "service": "web"}));
        let arn = &listed["serviceDeployments"][0]["serviceDeploymentArn"];
        self.ecs("DescribeServiceDeployments", json!({"serviceDeploymentArns": [arn]}))["serviceDeployments"][0].clone()
    }

    fn weights(&self, rule: &str) -> Vec<(String, i64)> {
        let rules = self.account.elb("DescribeRules", json!({"RuleArns": [rule]})).unwrap();
        let groups = rules["Rules"][0]["Actions"][0]["ForwardConfig"]["TargetGroups"]
            .as_array()
            .unwrap()
            .clone();
        let read = |group: Value| {
            let name = if group["TargetGroupArn"] == self.blue {
                "blue"
            } else {
                "green"
            };
            (name.to_owned(), group["Weight"].as_i64().unwrap())
        };
        let mut weights: Vec<_> = groups.into_iter().map(read).collect();
        weights.sort();
        weights
    }

    /// The percentage of production traffic on the green group.
    fn green_weight(&self) -> f64 {
        let weights = self.weights(&self.rule);
        let total: i64 = weights.iter().map(|(_, weight)| weight).sum();
        let green: i64 = weights
            .iter()
            .filter(|(name, _)| name == "green")
            .map(|(_, weight)| weight)
            .sum();
        #[allow(clippy::cast_precision_loss)]
        let share = green as f64 * 100.0 / total as f64;
        share
    }

    fn awaiting_hook(&self) -> Option<String> {
        let deployment = self.deployment();
        let hooks = deployment["lifecycleHookDetails"].as_array()?.clone();
        let open = hooks.into_iter().find(|hook| hook["status"] == "AWAITING_ACTION")?;
        open["hookId"].as_str().map(str::to_owned)
    }

    fn answer_hook(&self, action: &str) {
        let hook = self.awaiting_hook().unwrap();
        let arn = self.deployment()["serviceDeploymentArn"].clone();
        self.ecs(
            "ContinueServiceDeployment",
            json!({"serviceDeploymentArn": arn, "hookId": hook, "action": action}),
        );
    }

    fn refused(&self, operation: &str, request: Value) -> String {
        self.account.ecs(operation, request).unwrap_err().code
    }
}

fn canary() -> Value {
    json!({
        "strategy": "CANARY",
        "bakeTimeInMinutes": 5,
        "canaryConfiguration": {"canaryPercent": 12.5, "canaryBakeTimeInMinutes": 0},
        "lifecycleHooks": [{
            "targetType": "PAUSE",
            "lifecycleStages": ["PRE_PRODUCTION_TRAFFIC_SHIFT"],
            "timeoutConfiguration": {"timeoutInMinutes": 60, "action": "ROLLBACK"},
        }],
    })
}

#[test]
fn a_canary_waits_at_its_pause_before_every_step() {
    let stage = Stage::new().with_service(json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0}));
    assert_eq!(stage.green_weight(), 0.0);
    stage.ecs(
        "UpdateService",
        json!({"cluster": PROD, "service": "web", "taskDefinition": "web:2", "deploymentConfiguration": canary()}),
    );
    stage.pass(60);
    assert_eq!(stage.deployment()["lifecycleStage"], "PRE_PRODUCTION_TRAFFIC_SHIFT");
    assert_eq!(stage.green_weight(), 0.0);
    assert_eq!(
        stage.weights(&stage.test),
        [("blue".to_owned(), 0), ("green".to_owned(), 100)]
    );

    stage.answer_hook("CONTINUE");
    stage.pass(60);
    assert_eq!(stage.green_weight(), 12.5);
    assert_eq!(
        stage.deployment()["targetServiceRevision"]["requestedProductionTrafficWeight"],
        12.5
    );

    stage.answer_hook("CONTINUE");
    stage.pass(60);
    assert_eq!(stage.deployment()["lifecycleStage"], "BAKE_TIME");
    assert_eq!(stage.green_weight(), 100.0);
    assert_eq!(stage.service()["deployments"].as_array().unwrap().len(), 2);

    stage.pass(300);
    assert_eq!(stage.deployment()["status"], "SUCCESSFUL");
    assert_eq!(stage.service()["deployments"].as_array().unwrap().len(), 1);
}

#[test]
fn a_pause_that_nobody_answers_rolls_back_when_it_expires() {
    let stage = Stage::new().with_service(json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0}));
    // A change of the configuration alone begins no deployment.
    stage.ecs(
        "UpdateService",
        json!({"cluster": PROD, "service": "web", "deploymentConfiguration": canary()}),
    );
    assert_eq!(stage.deployment()["status"], "SUCCESSFUL");
    stage.deploy();
    stage.pass(60);
    stage.answer_hook("CONTINUE");
    stage.pass(60);
    assert_eq!(stage.green_weight(), 12.5);
    stage.pass(3_600);
    let deployment = stage.deployment();
    assert_eq!(deployment["status"], "ROLLBACK_SUCCESSFUL");
    assert!(deployment["rollback"]["reason"].as_str().unwrap().contains("timed out"));
    assert_eq!(stage.green_weight(), 0.0);
    assert!(stage.service()["taskDefinition"].as_str().unwrap().ends_with("web:1"));
}

#[test]
fn a_broken_image_trips_the_breaker_and_the_service_goes_back() {
    let stage = Stage::new();
    stage.account.behave("web:v2", Behaviour::CannotPull);
    let stage = stage.with_service(json!({"deploymentCircuitBreaker": {"enable": true, "rollback": true}}));
    stage.deploy();
    stage.pass(120);
    let deployment = stage.deployment();
    assert_eq!(deployment["status"], "ROLLBACK_SUCCESSFUL");
    assert_eq!(deployment["deploymentCircuitBreaker"]["status"], "TRIGGERED");
    assert_eq!(stage.service()["runningCount"], 4);
    let stopped = stage.ecs(
        "ListTasks",
        json!({"cluster": PROD, "serviceName": "web", "desiredStatus": "STOPPED"}),
    );
    let tasks = stage.ecs("DescribeTasks", json!({"cluster": PROD, "tasks": stopped["taskArns"]}));
    assert!(
        tasks["tasks"][0]["containers"][0]["reason"]
            .as_str()
            .unwrap()
            .starts_with("CannotPullContainerError")
    );
}

#[test]
fn task_sets_are_refused_where_ecs_deploys() {
    let stage = Stage::new().with_service(json!({}));
    let asked = json!({"cluster": PROD, "service": "web", "taskDefinition": "web:2"});
    assert_eq!(stage.refused("CreateTaskSet", asked), "InvalidParameterException");
}
