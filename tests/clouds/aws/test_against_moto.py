"""The same requests to the double and to moto, a third party's ECS and ELB: the answers agree member by member.

Only what both play is asked. Names that a server makes up (ARNs, IDs, instants) are compared by their kind. Where the two
differ and AWS's published model or documentation settles it, DIFFERS says so.
"""

import datetime
import os
import re
import unittest
import urllib.request

import botocore.exceptions

from world import CLUSTER, Double, Stage, client

MOTO = os.environ.get("MERIDIAN_TEST_MOTO")

# Members whose values differ, with the reason. A name alone leaves the member out wherever it stands.
DIFFERS = {
    "activeServicesCount": "moto does not count them",
    "stabilityStatus": "moto's task sets are steady at once; the double's tasks have to start",
    "pendingCount": "moto's services never start anything",
    "pendingTasksCount": "moto counts below zero",
    "deployments": "moto's deployments never progress",
    "settings": "moto shows them unasked; the model's documentation wants SETTINGS to be included",
    "DNSName": "each server's own domain",
    "LoadBalancerArns": "moto names a load balancer once for each of its rules",
}
# Those of them that were seen to differ: a reason that no longer holds must go.
SEEN = set()


def kind(value):
    """A value without what a server makes up."""
    if isinstance(value, datetime.datetime):
        return "<instant>"
    if isinstance(value, str):
        value = re.sub(r"^arn:aws:(\w+):[\w-]+:\d+:([\w-]+)/.*", r"<\1 \2>", value)
        return re.sub(r"^ecs-svc/\d+$", "<ecs-svc>", value)
    return value


def differences(ours, theirs, where=""):
    """Members that both have and that differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = []
        for name in sorted((set(ours) & set(theirs)) - {"ResponseMetadata"}):
            lines = differences(ours[name], theirs[name], f"{where}.{name}")
            if name in DIFFERS:
                SEEN.update({name} if lines else set())
            else:
                found += lines
        return found
    if isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            return [f"{where}: {len(ours)} and {len(theirs)} items"]
        return [line for place, pair in enumerate(zip(ours, theirs)) for line in differences(*pair, f"{where}[{place}]")]
    return [] if kind(ours) == kind(theirs) else [f"{where}: {kind(ours)!r} and {kind(theirs)!r}"]


class BothAgree(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        if not MOTO:
            raise unittest.SkipTest("MERIDIAN_TEST_MOTO names no moto_server")

    @classmethod
    def tearDownClass(cls):
        if SEEN != set(DIFFERS):
            raise AssertionError(f"no difference was seen any more in {sorted(set(DIFFERS) - SEEN)}")

    def setUp(self):
        urllib.request.urlopen(urllib.request.Request(f"{MOTO}/moto-api/reset", method="POST")).close()
        self.double = Double(self.id().rpartition(".")[2])
        self.addCleanup(self.double.stop)
        # A network that moto knows; the double takes any name.
        ec2 = client("ec2", MOTO)
        subnets = ec2.describe_subnets()["Subnets"][:2]
        group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
        place = {"vpc": subnets[0]["VpcId"], "subnets": [subnet["SubnetId"] for subnet in subnets], "group": group}
        self.ours, self.theirs = Stage(self.double.url, **place), Stage(MOTO, **place)
        self.found = []

    def tearDown(self):
        self.assertEqual(self.found, [])

    def both(self, ask):
        """Asks both; what differs is told at the end. Answers both answers."""
        answers, names = [], ", ".join(ask.__code__.co_names[-1:])
        for stage in (self.ours, self.theirs):
            try:
                answers.append(ask(stage))
            except botocore.exceptions.ClientError as refused:
                error = refused.response["Error"]
                answers.append({"refused": error["Code"], "status": refused.response["ResponseMetadata"]["HTTPStatusCode"]})
        self.found += differences(*answers, names)
        if ("refused" in answers[0]) != ("refused" in answers[1]):
            self.found.append(f"{names}: only one refuses: {answers}")
        return answers

    def test_task_definitions(self):
        self.both(lambda stage: stage.ecs.describe_task_definition(taskDefinition="web:1"))
        self.both(lambda stage: stage.ecs.describe_task_definition(taskDefinition=stage.v2, include=["TAGS"]))
        self.both(lambda stage: stage.ecs.list_task_definitions(familyPrefix="web"))
        self.both(lambda stage: stage.ecs.describe_task_definition(taskDefinition="nothing"))
        self.both(lambda stage: stage.ecs.deregister_task_definition(taskDefinition="web:1"))
        self.both(lambda stage: stage.ecs.list_task_definitions(familyPrefix="web"))

    def test_services(self):
        def create(stage):
            balancers = [stage.load_balancer(advanced=False)]
            tags = [{"key": "team", "value": "payments"}]
            members = {"taskDefinition": stage.v1, "desiredCount": 2, "loadBalancers": balancers, "tags": tags}
            members["networkConfiguration"] = stage.network
            return stage.ecs.create_service(cluster=CLUSTER, serviceName="web", **members)

        self.both(create)
        names = {"cluster": CLUSTER, "services": ["web", "nobody"]}
        self.both(lambda stage: stage.ecs.describe_services(**names, include=["TAGS"]))
        self.both(lambda stage: stage.ecs.list_services(cluster=CLUSTER))
        self.both(lambda stage: stage.ecs.update_service(cluster=CLUSTER, service="web", taskDefinition=stage.v2))
        self.both(lambda stage: stage.ecs.update_service(cluster=CLUSTER, service="web", taskDefinition="nothing"))
        self.both(lambda stage: stage.ecs.update_service(cluster=CLUSTER, service="nobody", desiredCount=1))
        self.both(lambda stage: stage.ecs.update_service(cluster="none", service="web", desiredCount=1))
        self.both(lambda stage: stage.ecs.describe_services(cluster="none", services=["web"]))
        self.both(lambda stage: stage.ecs.describe_clusters(clusters=[CLUSTER, "none"]))

    def test_task_sets(self):
        names = {"cluster": CLUSTER, "service": "web"}

        def create(stage):
            controller = {"type": "EXTERNAL"}
            return stage.ecs.create_service(cluster=CLUSTER, serviceName="web", desiredCount=4, deploymentController=controller)

        def task_set(definition, percent):
            def make(stage):
                scale = {"value": percent, "unit": "PERCENT"}
                members = {"taskDefinition": getattr(stage, definition), "scale": scale, "externalId": "1.2.3"}
                members["networkConfiguration"] = stage.network
                return stage.ecs.create_task_set(**names, launchType="FARGATE", **members)

            return make

        self.both(create)
        first = self.both(task_set("v1", 100.0))
        blue = dict(zip((self.ours, self.theirs), (made["taskSet"]["taskSetArn"] for made in first)))
        self.both(lambda stage: stage.ecs.update_service_primary_task_set(**names, primaryTaskSet=blue[stage]))
        second = self.both(task_set("v2", 50.0))
        green = dict(zip((self.ours, self.theirs), (made["taskSet"]["taskSetArn"] for made in second)))
        self.both(lambda stage: stage.ecs.describe_task_sets(**names, include=["TAGS"]))
        scale = {"value": 25.0, "unit": "PERCENT"}
        self.both(lambda stage: stage.ecs.update_task_set(**names, taskSet=green[stage], scale=scale))
        self.both(lambda stage: stage.ecs.update_service_primary_task_set(**names, primaryTaskSet=green[stage]))
        self.both(lambda stage: stage.ecs.describe_task_sets(**names))
        self.both(lambda stage: stage.ecs.update_task_set(cluster=CLUSTER, service="nobody", taskSet="x", scale=scale))

    def test_weights(self):
        self.both(lambda stage: stage.elb.describe_load_balancers(Names=["web"]))
        self.both(lambda stage: stage.elb.describe_listeners(LoadBalancerArn=stage.balancer))
        self.both(lambda stage: stage.elb.describe_target_groups(Names=["blue"]))
        for blue, green in ((90, 10), (0, 100), (999, 1)):
            self.both(lambda stage: stage.elb.modify_rule(RuleArn=stage.rule, Actions=[stage.forward(blue, green)]))
            self.both(lambda stage: stage.elb.describe_rules(RuleArns=[stage.rule]))
            forward = lambda stage: [stage.forward(blue, green)]
            self.both(lambda stage: stage.elb.modify_listener(ListenerArn=stage.listener, DefaultActions=forward(stage)))
            self.both(lambda stage: stage.elb.describe_listeners(ListenerArns=[stage.listener]))
        self.both(lambda stage: stage.elb.describe_rules(ListenerArn=stage.listener))
        self.both(lambda stage: stage.elb.describe_rules(RuleArns=[stage.rule + "0"]))
        self.both(lambda stage: stage.elb.describe_target_groups(Names=["nobody"]))
        self.both(lambda stage: stage.elb.describe_load_balancers(Names=["nobody"]))

    def test_tags(self):
        tags = [{"key": "meridian.fence", "value": "1.2.3"}]

        def create(stage):
            members = {"taskDefinition": stage.v1, "networkConfiguration": stage.network}
            return stage.ecs.create_service(cluster=CLUSTER, serviceName="web", **members, desiredCount=0, tags=tags)

        arns = dict(zip((self.ours, self.theirs), (made["service"]["serviceArn"] for made in self.both(create))))
        self.both(lambda stage: stage.ecs.list_tags_for_resource(resourceArn=arns[stage]))
        later = [{"key": "meridian.fence", "value": "1.2.4"}]
        self.both(lambda stage: stage.ecs.tag_resource(resourceArn=arns[stage], tags=later))
        self.both(lambda stage: stage.ecs.list_tags_for_resource(resourceArn=arns[stage]))
        self.both(lambda stage: stage.ecs.untag_resource(resourceArn=arns[stage], tagKeys=["meridian.fence"]))
        self.both(lambda stage: stage.ecs.list_tags_for_resource(resourceArn=arns[stage]))
        pair = [{"Key": "meridian.fence", "Value": "1.2.3"}]
        self.both(lambda stage: stage.elb.add_tags(ResourceArns=[stage.rule], Tags=pair))
        self.both(lambda stage: stage.elb.describe_tags(ResourceArns=[stage.rule]))


if __name__ == "__main__":
    unittest.main()
