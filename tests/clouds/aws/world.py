"""A double of ECS as a process of its own, boto3's clients of it, and a stage with load balancer, groups and rules."""

import json
import os
import pathlib
import subprocess
import urllib.request

import boto3
import botocore.config

REGION = "eu-west-1"
CLUSTER = "prod"
ROLE = "arn:aws:iam::123456789012:role/ecs"


def client(service, url, validate=True):
    """A client that trusts nothing but what the server says: no retries, and its own validation only where asked."""
    config = botocore.config.Config(retries={"max_attempts": 0}, parameter_validation=validate)
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="example",
        config=config,
    )


class Double:
    """The double's process. Its clock stands still but for `advance`."""

    def __init__(self, name):
        journals = os.environ.get("MERIDIAN_JOURNALS")
        journal = ["--journal", str(pathlib.Path(journals) / f"{name}.jsonl")] if journals else []
        binary = os.environ.get("MERIDIAN_DOUBLES", "target/debug/meridian-doubles")
        command = [binary, "ecs", "--port", "0", "--pace", "0", *journal]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = json.loads(self.process.stdout.readline())["url"]

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    def hand(self, which, /, **members):
        request = urllib.request.Request(f"{self.url}/_double/{which}", data=json.dumps(members).encode(), method="POST")
        with urllib.request.urlopen(request) as answer:
            answer.read()

    def advance(self, seconds):
        self.hand("advance", seconds=seconds)

    def behave(self, whose, words):
        self.hand("behave", whose=whose, words=words)


class Stage:
    """A cluster, a load balancer, the target groups blue and green, a production and a test rule, two task definitions."""

    def __init__(self, url, vpc="vpc-00000001", subnets=("subnet-00000001", "subnet-00000002"), group="sg-00000001"):
        self.vpc = vpc
        self.network = {"awsvpcConfiguration": {"subnets": list(subnets), "securityGroups": [group]}}
        self.ecs = client("ecs", url)
        self.elb = client("elbv2", url)
        self.ecs.create_cluster(clusterName=CLUSTER)
        balancer = self.elb.create_load_balancer(Name="web", Subnets=list(subnets))
        self.balancer = balancer["LoadBalancers"][0]["LoadBalancerArn"]
        self.blue, self.green = self.group("blue"), self.group("green")
        listener = self.elb.create_listener(
            LoadBalancerArn=self.balancer,
            Protocol="HTTP",
            Port=80,
            DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
        )
        self.listener = listener["Listeners"][0]["ListenerArn"]
        self.rule, self.test_rule = self.make_rule(10, "/*"), self.make_rule(20, "/test/*")
        self.v1, self.v2 = self.register("web:v1"), self.register("web:v2")

    def group(self, name):
        made = self.elb.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=self.vpc, TargetType="ip")
        arn = made["TargetGroups"][0]["TargetGroupArn"]
        drain = [{"Key": "deregistration_delay.timeout_seconds", "Value": "20"}]
        self.elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=drain)
        return arn

    def make_rule(self, priority, path):
        made = self.elb.create_rule(
            ListenerArn=self.listener,
            Priority=priority,
            Conditions=[{"Field": "path-pattern", "Values": [path]}],
            Actions=[self.forward(100, 0)],
        )
        return made["Rules"][0]["RuleArn"]

    def forward(self, blue, green):
        groups = [{"TargetGroupArn": self.blue, "Weight": blue}, {"TargetGroupArn": self.green, "Weight": green}]
        return {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}

    def register(self, image):
        container = {"name": "web", "image": image, "memory": 128, "portMappings": [{"containerPort": 80}]}
        made = self.ecs.register_task_definition(
            family="web",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=[container],
        )
        return made["taskDefinition"]["taskDefinitionArn"]

    def load_balancer(self, group=None, advanced=True):
        entry = {"targetGroupArn": group or self.blue, "containerName": "web", "containerPort": 80}
        if advanced:
            entry["advancedConfiguration"] = {
                "alternateTargetGroupArn": self.green,
                "productionListenerRule": self.rule,
                "testListenerRule": self.test_rule,
                "roleArn": ROLE,
            }
        return entry

    def service(self, name="web"):
        answer = self.ecs.describe_services(cluster=CLUSTER, services=[name], include=["TAGS"])
        assert answer["failures"] == [], answer["failures"]
        return answer["services"][0]

    def deployment(self, name="web"):
        """The newest service deployment."""
        brief = self.ecs.list_service_deployments(cluster=CLUSTER, service=name)["serviceDeployments"][0]
        arns = [brief["serviceDeploymentArn"]]
        return self.ecs.describe_service_deployments(serviceDeploymentArns=arns)["serviceDeployments"][0]

    def weights(self, rule=None):
        """The weights of a rule's forward action, blue and green."""
        shown = self.elb.describe_rules(RuleArns=[rule or self.rule])["Rules"][0]
        groups = shown["Actions"][0]["ForwardConfig"]["TargetGroups"]
        weights = {group["TargetGroupArn"]: group["Weight"] for group in groups}
        return weights.get(self.blue, 0), weights.get(self.green, 0)

    def events(self, name="web"):
        return [event["message"] for event in self.service(name)["events"]]
