//! The wire against moto, a third party's stand-in: it judges that requests are well formed, keeps weights and task sets, and
//! refuses as AWS does. Its services never move, so nothing here waits for one. Runs where `MERIDIAN_TEST_MOTO` names a server.

use aws_sdk_ecs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_ecs::types::{
    AwsVpcConfiguration, ContainerDefinition, DeploymentController, DeploymentControllerType, LaunchType, LoadBalancer,
    NetworkConfiguration, Scale, ScaleUnit,
};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, ProtocolEnum, TargetGroupTuple, TargetTypeEnum,
};
use meridian_ecs::EcsCloud;
use meridian_engine::ports::failure::Lasting;
use meridian_engine::ports::provider::{Fence, Ladder, Order, Provider as _, Rung, Target};
use meridian_engine::run::effect::{Desired, DesiredState, Progress};
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{Exposure, Release};
use serde_json::json;

/// An `EXTERNAL` service with a primary task set behind a listener whose default action weighs two groups.
struct Moto {
    url: String,
    name: String,
    ecs: aws_sdk_ecs::Client,
    elb: aws_sdk_elasticloadbalancingv2::Client,
    listener: String,
    groups: [String; 2],
    /// A network that moto has from the beginning, and one of its subnets.
    network: [String; 2],
}

fn keys() -> Credentials {
    Credentials::new("AKIAMOTO", "no secret", None, None, "given")
}

impl Moto {
    async fn build(name: &str) -> Option<Moto> {
        let Ok(url) = std::env::var("MERIDIAN_TEST_MOTO") else {
            eprintln!("not tried: MERIDIAN_TEST_MOTO names no server");
            return None;
        };
        let http = aws_smithy_http_client::Builder::new().build_http();
        let ecs = aws_sdk_ecs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(keys())
            .http_client(http.clone())
            .endpoint_url(&url);
        let elb = aws_sdk_elasticloadbalancingv2::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(keys())
            .http_client(http)
            .endpoint_url(&url);
        let mut moto = Moto {
            network: network(&url).await,
            url,
            // A server may see several runs.
            name: format!("{name}-{}", std::process::id()),
            ecs: aws_sdk_ecs::Client::from_conf(ecs.build()),
            elb: aws_sdk_elasticloadbalancingv2::Client::from_conf(elb.build()),
            listener: String::new(),
            groups: Default::default(),
        };
        for index in [0, 1] {
            moto.groups[index] = moto.group(["blue", "green"][index]).await;
        }
        moto.listener = moto.listener().await;
        moto.service().await;
        Some(moto)
    }

    async fn group(&self, colour: &str) -> String {
        let name = format!("{}-{colour}", self.name);
        let made = self
            .elb
            .create_target_group()
            .name(name)
            .protocol(ProtocolEnum::Http)
            .port(80)
            .vpc_id(&self.network[0])
            .target_type(TargetTypeEnum::Ip)
            .send()
            .await
            .unwrap();
        made.target_groups()[0].target_group_arn().unwrap().to_owned()
    }

    fn forward(&self, weights: [i32; 2]) -> Action {
        let tuple = |index: usize| {
            let tuple = TargetGroupTuple::builder().target_group_arn(&self.groups[index]);
            tuple.weight(weights[index]).build()
        };
        let config = ForwardActionConfig::builder()
            .target_groups(tuple(0))
            .target_groups(tuple(1))
            .build();
        Action::builder()
            .r#type(ActionTypeEnum::Forward)
            .forward_config(config)
            .build()
    }

    async fn listener(&self) -> String {
        let balancer = self
            .elb
            .create_load_balancer()
            .name(&self.name)
            .subnets(&self.network[1]);
        let balancer = balancer.send().await.unwrap();
        let made = self
            .elb
            .create_listener()
            .load_balancer_arn(balancer.load_balancers()[0].load_balancer_arn().unwrap())
            .protocol(ProtocolEnum::Http)
            .port(80)
            .default_actions(self.forward([90, 10]))
            .send()
            .await
            .unwrap();
        made.listeners()[0].listener_arn().unwrap().to_owned()
    }

    async fn register(&self, image: &str) {
        let container = ContainerDefinition::builder()
            .name("web")
            .image(image)
            .memory(128)
            .build();
        let call = self
            .ecs
            .register_task_definition()
            .family(&self.name)
            .container_definitions(container);
        call.send().await.unwrap();
    }

    async fn service(&self) {
        self.ecs.create_cluster().cluster_name(&self.name).send().await.unwrap();
        self.register("web:v1").await;
        let external = DeploymentController::builder()
            .r#type(DeploymentControllerType::External)
            .build()
            .unwrap();
        let service = self
            .ecs
            .create_service()
            .cluster(&self.name)
            .service_name("web")
            .desired_count(4);
        service.deployment_controller(external).send().await.unwrap();
        let behind = LoadBalancer::builder()
            .target_group_arn(&self.groups[0])
            .container_name("web")
            .container_port(80)
            .build();
        let all = Scale::builder().value(100.0).unit(ScaleUnit::Percent).build();
        let set = self
            .ecs
            .create_task_set()
            .cluster(&self.name)
            .service("web")
            .task_definition(&self.name);
        // moto starts tasks on Fargate alone, unless it is given machines.
        let network = AwsVpcConfiguration::builder()
            .subnets(&self.network[1])
            .build()
            .unwrap();
        let network = NetworkConfiguration::builder().awsvpc_configuration(network).build();
        let set = set.launch_type(LaunchType::Fargate).network_configuration(network);
        let made = set.load_balancers(behind).scale(all).send().await.unwrap();
        let id = made.task_set().unwrap().task_set_arn().unwrap().to_owned();
        let primary = self
            .ecs
            .update_service_primary_task_set()
            .cluster(&self.name)
            .service("web")
            .primary_task_set(id);
        primary.send().await.unwrap();
    }

    async fn weights(&self) -> [i32; 2] {
        let told = self
            .elb
            .describe_listeners()
            .listener_arns(&self.listener)
            .send()
            .await
            .unwrap();
        let action = told.listeners()[0].default_actions()[0].clone();
        let tuples = action.forward_config.unwrap().target_groups.unwrap();
        let weight = |index: usize| {
            let own = tuples
                .iter()
                .find(|tuple| tuple.target_group_arn() == Some(&self.groups[index]));
            own.and_then(|tuple| tuple.weight()).unwrap_or(0)
        };
        [weight(0), weight(1)]
    }

    fn target(&self, image: &str) -> Target {
        let rung = |percent| Rung {
            exposure: Exposure::Traffic(Share::percent(percent).unwrap()),
            bake: Duration::ZERO,
        };
        Target {
            workflow: "web".into(),
            region: "eu".into(),
            settings: json!({
                "region": "eu-west-1",
                "cluster": self.name,
                "service": "web",
                "endpoint": self.url,
                "targetGroups": {"blue": self.groups[0], "green": self.groups[1]},
                "listenerRules": {"production": self.listener},
            }),
            release: Release::Image(image.into()),
            ladder: Ladder {
                rungs: vec![rung(10), rung(100)],
                ..Ladder::default()
            },
        }
    }
}

/// A network and a subnet that moto has from the beginning, found with a request of the plainest kind.
async fn network(url: &str) -> [String; 2] {
    let text = plain::post(url, "Action=DescribeSubnets&Version=2016-11-15").await;
    ["vpcId", "subnetId"].map(|element| {
        let opening = format!("<{element}>");
        let start = text.find(&opening).expect("moto has a subnet") + opening.len();
        let end = text[start..].find('<').expect("a closing tag") + start;
        text[start..end].to_owned()
    })
}

/// One form posted without a client: no other crate is needed for one question.
mod plain {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    pub async fn post(url: &str, form: &str) -> String {
        let host = url.trim_start_matches("http://").trim_end_matches('/');
        let signed =
            "AWS4-HMAC-SHA256 Credential=AKIAMOTO/20260101/eu-west-1/ec2/aws4_request, SignedHeaders=host, Signature=0";
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nAuthorization: {signed}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{form}",
            form.len()
        );
        let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

fn provider() -> EcsCloud {
    EcsCloud::new().with_keys("AKIAMOTO", "no secret")
}

async fn order(target: &Target, seq: u64, state: DesiredState) -> Order {
    let seen = provider().observe(target).await.unwrap().observation;
    let desired = Desired {
        candidate: seen.candidate,
        baseline: seen.serving.unwrap(),
        state,
    };
    Order::rehearsed(
        desired,
        Fence {
            claim: 1,
            epoch: 1,
            seq,
        },
    )
}

fn serving(percent: u16) -> DesiredState {
    DesiredState::Serving(Exposure::Traffic(Share::percent(percent).unwrap()))
}

#[tokio::test]
async fn task_sets_are_made_once_and_the_fence_is_kept() {
    let Some(moto) = Moto::build("sets").await else {
        return;
    };
    let target = moto.target("web:v2");
    let seen = provider().observe(&target).await.unwrap();
    assert_eq!(seen.observation.serving.unwrap().name, "v1");
    assert_eq!((seen.observation.candidate.name.as_str(), seen.fence), ("v2", None));
    let first = order(&target, 3, serving(0)).await;
    for _ in 0..4 {
        let progress = provider().ensure(&target, &first).await.unwrap();
        assert!(
            matches!(progress, Progress::Moving { .. }),
            "moto starts no task: {progress:?}"
        );
    }
    let sets = moto
        .ecs
        .describe_task_sets()
        .cluster(&moto.name)
        .service("web")
        .send()
        .await
        .unwrap();
    let new: Vec<_> = sets
        .task_sets()
        .iter()
        .filter(|set| set.status() != Some("PRIMARY"))
        .collect();
    assert_eq!(new.len(), 1, "one candidate, however often it is asked for");
    assert_eq!(new[0].external_id(), Some("meridian-1.1.3"));
    assert_eq!(
        new[0].load_balancers()[0].target_group_arn(),
        Some(moto.groups[1].as_str())
    );
    assert_eq!(provider().observe(&target).await.unwrap().fence, Some(first.fence()));
    let stale = Order::rehearsed(
        first.desired().clone(),
        Fence {
            seq: 2,
            ..first.fence()
        },
    );
    assert!(matches!(
        provider().ensure(&target, &stale).await,
        Ok(Progress::Stale { .. })
    ));
}

#[tokio::test]
async fn weights_are_written_and_read_back() {
    let Some(moto) = Moto::build("weights").await else {
        return;
    };
    assert_eq!(moto.weights().await, [90, 10]);
    let target = moto.target("web:v1");
    let alone = order(&target, 1, serving(10)).await;
    assert!(alone.desired().candidate.is_same_as(&alone.desired().baseline));
    for _ in 0..3 {
        provider().ensure(&target, &alone).await.unwrap();
    }
    assert_eq!(moto.weights().await, [999, 0], "what serves alone gets everything");
    assert_eq!(provider().ensure(&target, &alone).await, Ok(Progress::Settled));
}

#[tokio::test]
async fn an_image_is_registered_once() {
    let Some(moto) = Moto::build("images").await else {
        return;
    };
    let target = moto.target("web:v7");
    let first = provider().observe(&target).await.unwrap().observation.candidate;
    let again = provider().observe(&target).await.unwrap().observation.candidate;
    assert_eq!(first, again);
    assert!(first.pinned.ends_with(":2"), "{}", first.pinned);
}

#[tokio::test]
async fn refusals_are_told_by_name() {
    let Some(moto) = Moto::build("refusals").await else {
        return;
    };
    let mut target = moto.target("web:v2");
    target.settings["service"] = json!("nowhere");
    let missing = provider().observe(&target).await.unwrap_err();
    assert_eq!(missing.lasting, Lasting::Yes);
    assert!(missing.what.contains("nowhere"), "{missing}");
    let mut target = moto.target("web:v2");
    target.settings["cluster"] = json!("nowhere");
    let missing = provider().observe(&target).await.unwrap_err();
    assert!(
        missing.lasting == Lasting::Yes && missing.what.contains("Cluster"),
        "{missing}"
    );
    let mut target = moto.target("web:v2");
    target.release = Release::TaskDefinition("nothing:9".into());
    let unknown = provider().observe(&target).await.unwrap_err();
    assert!(
        unknown.lasting == Lasting::Yes && unknown.what.contains("nothing:9"),
        "{unknown}"
    );
}
