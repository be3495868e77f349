"""boto3, which knows only AWS's service model, drives the double of ECS through a whole story per strategy."""

import unittest

import botocore.exceptions

from world import CLUSTER, Double, ROLE, Stage, client

PAUSE = {
    "targetType": "PAUSE",
    "lifecycleStages": ["PRE_PRODUCTION_TRAFFIC_SHIFT"],
    "timeoutConfiguration": {"timeoutInMinutes": 60, "action": "ROLLBACK"},
}
ORDER = [
    "RECONCILE_SERVICE",
    "PRE_SCALE_UP",
    "SCALE_UP",
    "POST_SCALE_UP",
    "TEST_TRAFFIC_SHIFT",
    "POST_TEST_TRAFFIC_SHIFT",
    "PRE_PRODUCTION_TRAFFIC_SHIFT",
    "PRODUCTION_TRAFFIC_SHIFT",
    "POST_PRODUCTION_TRAFFIC_SHIFT",
    "BAKE_TIME",
    "CLEAN_UP",
]


class Story(unittest.TestCase):
    """A fresh double for each story."""

    def setUp(self):
        self.double = Double(self.id().rpartition(".")[2])
        self.addCleanup(self.double.stop)
        self.stage = Stage(self.double.url)
        self.ecs, self.elb = self.stage.ecs, self.stage.elb

    def create(self, name="web", desired=4, settle=60, **members):
        if "taskDefinition" in members:
            members["networkConfiguration"] = self.stage.network
        self.ecs.create_service(cluster=CLUSTER, serviceName=name, desiredCount=desired, **members)
        self.double.advance(settle)

    def create_native(self, configuration):
        self.create(
            taskDefinition=self.stage.v1,
            loadBalancers=[self.stage.load_balancer()],
            deploymentConfiguration={"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0},
        )
        self.assertEqual(self.stage.deployment()["status"], "SUCCESSFUL")
        self.ecs.update_service(cluster=CLUSTER, service="web", deploymentConfiguration=configuration)

    def deploy(self, definition=None, **members):
        self.ecs.update_service(cluster=CLUSTER, service="web", taskDefinition=definition or self.stage.v2, **members)

    def until(self, done, seconds=600):
        """Lets seconds pass until `done`; answers everything it saw on the way."""
        seen = []
        for _ in range(seconds):
            deployment = self.stage.deployment()
            seen.append((deployment, self.stage.weights()))
            if done(deployment):
                return seen
            self.double.advance(1)
        self.fail(f"not within {seconds} s: {deployment}")

    def awaiting(self):
        hooks = self.stage.deployment().get("lifecycleHookDetails", [])
        return next((hook for hook in hooks if hook["status"] == "AWAITING_ACTION"), None)

    def answer(self, action):
        arn = self.stage.deployment()["serviceDeploymentArn"]
        self.ecs.continue_service_deployment(serviceDeploymentArn=arn, hookId=self.awaiting()["hookId"], action=action)

    def refused(self, code, call, **members):
        with self.assertRaises(botocore.exceptions.ClientError) as refused:
            call(**members)
        self.assertEqual(refused.exception.response["Error"]["Code"], code)
        return refused.exception.response["Error"]["Message"]


class NativeStrategies(Story):
    def test_blue_green_passes_every_stage_in_order_and_bakes(self):
        lambdas = {
            "hookTargetArn": "arn:aws:lambda:eu-west-1:123456789012:function:check",
            "roleArn": ROLE,
            "lifecycleStages": ["PRE_SCALE_UP", "POST_TEST_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT"],
        }
        self.create_native({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 3, "lifecycleHooks": [lambdas]})
        self.deploy()
        seen = self.until(lambda deployment: deployment["status"] == "SUCCESSFUL")
        stages = list(dict.fromkeys(d["lifecycleStage"] for d, _ in seen if "lifecycleStage" in d))
        self.assertEqual(stages, [stage for stage in ORDER if stage != "RECONCILE_SERVICE"])
        self.assertEqual({weights for _, weights in seen}, {(100, 0), (0, 100)})
        baking = [d for d, _ in seen if d.get("lifecycleStage") == "BAKE_TIME"]
        self.assertGreaterEqual(len(baking), 180)
        self.assertEqual({hook["status"] for hook in seen[-1][0]["lifecycleHookDetails"]}, {"SUCCEEDED"})
        self.assertEqual(self.stage.service()["taskDefinition"], self.stage.v2)

    def test_traffic_moves_only_to_targets_that_are_healthy(self):
        self.create_native({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0})
        self.double.behave("web:v2", "slow:40")
        self.deploy()
        for deployment, (_, green) in self.until(lambda deployment: deployment["status"] == "SUCCESSFUL"):
            if green > 0:
                self.assertEqual(deployment["targetServiceRevision"]["runningTaskCount"], 4)
        health = self.elb.describe_target_health(TargetGroupArn=self.stage.green)["TargetHealthDescriptions"]
        self.assertEqual([target["TargetHealth"]["State"] for target in health], ["healthy"] * 4)

    def test_linear_shifts_equal_steps_each_behind_its_pause(self):
        linear = {"stepPercent": 30.0, "stepBakeTimeInMinutes": 1}
        self.create_native({"strategy": "LINEAR", "linearConfiguration": linear, "lifecycleHooks": [PAUSE]})
        self.deploy()
        shares = []
        for _ in range(4):
            self.until(lambda _: self.awaiting() is not None)
            shares.append(self.stage.weights()[1])
            self.answer("CONTINUE")
        self.until(lambda deployment: deployment["status"] == "SUCCESSFUL")
        self.assertEqual(shares, [0, 30, 60, 90])
        self.assertEqual(self.stage.weights(), (0, 100))

    def test_canary_of_a_tenth_of_a_percent_bakes_before_the_rest(self):
        canary = {"canaryPercent": 0.1, "canaryBakeTimeInMinutes": 2}
        self.create_native({"strategy": "CANARY", "canaryConfiguration": canary})
        self.deploy()
        seen = self.until(lambda deployment: deployment["status"] == "SUCCESSFUL")
        weights = list(dict.fromkeys(weights for _, weights in seen))
        self.assertEqual(weights, [(100, 0), (999, 1), (0, 100)])
        small = [d for d, weights in seen if weights == (999, 1)]
        self.assertGreaterEqual(len(small), 120)
        self.assertEqual(small[0]["targetServiceRevision"]["requestedProductionTrafficWeight"], 0.1)
        self.assertEqual(small[0]["sourceServiceRevisions"][0]["requestedProductionTrafficWeight"], 99.9)

    def test_a_pause_shows_when_and_how_it_ends_and_then_does(self):
        self.create_native({"strategy": "CANARY", "lifecycleHooks": [PAUSE]})
        self.deploy()
        self.until(lambda _: self.awaiting() is not None)
        hook, deployment = self.awaiting(), self.stage.deployment()
        self.assertEqual((hook["targetType"], hook["timeoutAction"]), ("PAUSE", "ROLLBACK"))
        left = (hook["expiresAt"] - deployment["updatedAt"]).total_seconds()
        self.assertEqual(left, 3600)
        self.double.advance(3700)
        self.assertEqual(self.stage.deployment()["status"], "ROLLBACK_SUCCESSFUL")
        statuses = [hook["status"] for hook in self.stage.deployment()["lifecycleHookDetails"]]
        self.assertEqual(statuses, ["TIMED_OUT"])
        arn = deployment["serviceDeploymentArn"]
        call = self.ecs.continue_service_deployment
        self.refused("InvalidParameterException", call, serviceDeploymentArn=arn, hookId=hook["hookId"])

    def test_a_pause_can_be_answered_with_rollback(self):
        self.create_native({"strategy": "CANARY", "lifecycleHooks": [PAUSE]})
        self.deploy()
        self.until(lambda _: self.awaiting() is not None)
        self.answer("CONTINUE")
        self.double.advance(700)
        self.until(lambda _: self.awaiting() is not None)
        self.assertEqual(self.stage.weights(), (95, 5))
        self.answer("ROLLBACK")
        seen = self.until(lambda deployment: deployment["status"] == "ROLLBACK_SUCCESSFUL")
        statuses = list(dict.fromkeys(deployment["status"] for deployment, _ in seen))
        self.assertEqual(statuses, ["ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS", "ROLLBACK_SUCCESSFUL"])
        self.assertEqual(self.stage.weights(), (100, 0))
        self.assertEqual(self.stage.service()["taskDefinition"], self.stage.v1)
        self.assertEqual(self.stage.weights(self.stage.test_rule), (100, 0))

    def test_stop_with_rollback_while_it_bakes_returns_everything(self):
        self.create_native({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 60})
        self.deploy()
        self.until(lambda deployment: deployment.get("lifecycleStage") == "BAKE_TIME")
        self.assertEqual(self.stage.weights(), (0, 100))
        arn = self.stage.deployment()["serviceDeploymentArn"]
        self.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
        self.until(lambda deployment: deployment["status"] == "ROLLBACK_SUCCESSFUL")
        self.assertEqual(self.stage.weights(), (100, 0))
        self.refused("ConflictException", self.ecs.stop_service_deployment, serviceDeploymentArn=arn)

    def test_abort_leaves_both_revisions_until_the_next_deployment_reconciles(self):
        self.create_native({"strategy": "CANARY", "canaryConfiguration": {"canaryPercent": 10.0}})
        self.deploy()
        self.until(lambda _: self.stage.weights() == (90, 10))
        arn = self.stage.deployment()["serviceDeploymentArn"]
        self.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ABORT")
        self.until(lambda deployment: deployment["status"] == "STOPPED")
        self.double.advance(3600)
        self.assertEqual(self.stage.weights(), (90, 10))
        self.deploy(self.stage.register("web:v3"))
        self.until(lambda deployment: deployment.get("lifecycleStage") == "RECONCILE_SERVICE")
        self.until(lambda deployment: deployment["status"] == "SUCCESSFUL", seconds=1200)
        self.assertEqual(self.stage.weights(), (0, 100))

    def test_a_ringing_alarm_rolls_back(self):
        alarms = {"alarmNames": ["errors"], "enable": True, "rollback": True}
        self.create_native({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 60, "alarms": alarms})
        self.deploy()
        self.until(lambda deployment: deployment.get("lifecycleStage") == "BAKE_TIME")
        self.assertEqual(self.stage.deployment()["alarms"]["status"], "MONITORING")
        self.double.hand("alarm", name="errors", ringing=True)
        self.until(lambda deployment: deployment["status"] == "ROLLBACK_SUCCESSFUL")
        alarms = self.stage.deployment()["alarms"]
        self.assertEqual((alarms["status"], alarms["triggeredAlarmNames"]), ("TRIGGERED", ["errors"]))

    def test_a_green_revision_that_never_gets_healthy_takes_no_traffic(self):
        self.create_native({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0})
        self.double.behave("web:v2", "never-healthy")
        self.deploy()
        self.double.advance(3600)
        self.assertEqual(self.stage.deployment()["lifecycleStage"], "SCALE_UP")
        self.assertEqual(self.stage.weights(), (100, 0))
        self.assertTrue(any("is unhealthy in (target-group" in event for event in self.stage.events()))
        self.double.advance(86_400)
        self.assertEqual(self.stage.deployment()["status"], "ROLLBACK_SUCCESSFUL")

    def test_revisions_say_what_each_deployment_ran(self):
        self.create_native({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0})
        self.deploy()
        self.until(lambda deployment: deployment["status"] == "SUCCESSFUL")
        deployment = self.stage.deployment()
        arns = [deployment["targetServiceRevision"]["arn"], deployment["sourceServiceRevisions"][0]["arn"]]
        revisions = self.ecs.describe_service_revisions(serviceRevisionArns=arns)["serviceRevisions"]
        self.assertEqual([revision["taskDefinition"] for revision in revisions], [self.stage.v2, self.stage.v1])
        self.assertEqual(revisions[0]["containerImages"][0]["image"], "web:v2")
        self.assertEqual(revisions[0]["resolvedConfiguration"]["loadBalancers"][0]["targetGroupArn"], self.stage.green)

    def test_deployments_are_listed_to_the_last_page(self):
        self.create_native({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0})
        for definition in (self.stage.v2, self.stage.v1, self.stage.v2):
            self.deploy(definition)
            self.until(lambda deployment: deployment["status"] == "SUCCESSFUL")
        self.double.hand("page", entries=1)
        pages, token = [], {}
        while True:
            page = self.ecs.list_service_deployments(cluster=CLUSTER, service="web", **token)
            pages.append(len(page["serviceDeployments"]))
            if "nextToken" not in page:
                break
            token = {"nextToken": page["nextToken"]}
        self.assertEqual(pages, [1, 1, 1, 1])
        failed = self.ecs.list_service_deployments(cluster=CLUSTER, service="web", status=["ROLLBACK_FAILED"])
        self.assertEqual(failed["serviceDeployments"], [])


class Rolling(Story):
    def test_rolling_replaces_tasks_within_its_bounds(self):
        bounds = {"maximumPercent": 150, "minimumHealthyPercent": 100}
        balancers = [self.stage.load_balancer(advanced=False)]
        self.create(taskDefinition=self.stage.v1, loadBalancers=balancers, deploymentConfiguration=bounds)
        self.assertEqual(self.stage.deployment()["status"], "SUCCESSFUL")
        self.deploy()
        for _ in range(300):
            service = self.stage.service()
            self.assertLessEqual(service["runningCount"] + service["pendingCount"], 6)
            self.assertGreaterEqual(service["runningCount"], 4)
            if self.stage.deployment()["status"] == "SUCCESSFUL":
                break
            self.double.advance(1)
        self.double.advance(60)
        deployments = self.stage.service()["deployments"]
        self.assertEqual([(d["status"], d["rolloutState"], d["runningCount"]) for d in deployments], [("PRIMARY", "COMPLETED", 4)])
        self.assertIn("(service web) has reached a steady state.", self.stage.events())
        self.assertIn(f"(service web) (deployment {deployments[0]['id']}) deployment completed.", self.stage.events())

    def trip(self, **breaker):
        self.create(taskDefinition=self.stage.v1, desired=2)
        self.double.behave("web:v2", "exits:3")
        config = {"deploymentCircuitBreaker": {"enable": True, "rollback": False} | breaker}
        self.deploy(deploymentConfiguration=config)
        self.double.advance(120)
        return self.stage.deployment()

    def test_the_circuit_breaker_rolls_back_after_three_failures(self):
        deployment = self.trip(rollback=True)
        self.assertEqual(deployment["status"], "ROLLBACK_SUCCESSFUL")
        breaker = deployment["deploymentCircuitBreaker"]
        self.assertEqual((breaker["status"], breaker["threshold"]), ("TRIGGERED", 3))
        self.assertEqual(self.stage.service()["taskDefinition"], self.stage.v1)
        self.assertTrue(any("deployment failed: tasks failed to start." in event for event in self.stage.events()))
        self.assertTrue(any("rolling back to deployment ecs-svc/" in event for event in self.stage.events()))

    def test_the_circuit_breaker_stops_where_it_may_not_roll_back(self):
        deployment = self.trip(thresholdConfiguration={"type": "COUNT", "value": 5})
        self.assertEqual(deployment["status"], "STOPPED")
        self.assertEqual(deployment["deploymentCircuitBreaker"]["threshold"], 5)
        states = {d["status"]: d["rolloutState"] for d in self.stage.service()["deployments"]}
        self.assertEqual(states, {"PRIMARY": "FAILED", "ACTIVE": "COMPLETED"})

    def test_a_task_that_flaps_never_trips_a_forgiving_breaker(self):
        self.create(taskDefinition=self.stage.v1, desired=2, loadBalancers=[self.stage.load_balancer(advanced=False)])
        self.double.behave("web:v2", "flaps")
        self.deploy(deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": True}})
        self.double.advance(600)
        self.assertEqual(self.stage.deployment()["status"], "IN_PROGRESS")

    def stopped_task(self, words, image="web:v2"):
        self.create(taskDefinition=self.stage.v1, desired=1, loadBalancers=[self.stage.load_balancer(advanced=False)])
        self.double.behave(image, words)
        self.deploy()
        self.double.advance(60)
        arns = self.ecs.list_tasks(cluster=CLUSTER, serviceName="web", desiredStatus="STOPPED")["taskArns"]
        tasks = self.ecs.describe_tasks(cluster=CLUSTER, tasks=arns)["tasks"]
        return next(task for task in tasks if task["lastStatus"] == "STOPPED" and task["taskDefinitionArn"] == self.stage.v2)

    def test_stopped_tasks_say_why(self):
        task = self.stopped_task("cannot-pull")
        self.assertEqual((task["stopCode"], task["stoppedReason"]), ("TaskFailedToStart", "Task failed to start"))
        self.assertIn("CannotPullContainerError", task["containers"][0]["reason"])

    def test_stopped_tasks_show_the_exit_code(self):
        task = self.stopped_task("exits:3")
        self.assertEqual(task["stopCode"], "EssentialContainerExited")
        self.assertEqual(task["stoppedReason"], "Essential container in task exited")
        self.assertEqual(task["containers"][0]["exitCode"], 3)

    def test_stopped_tasks_tell_of_memory(self):
        container = self.stopped_task("out-of-memory")["containers"][0]
        self.assertEqual(container["exitCode"], 137)
        self.assertIn("OutOfMemoryError", container["reason"])

    def test_stopped_tasks_tell_of_failed_health_checks(self):
        task = self.stopped_task("never-healthy")
        self.assertEqual(task["stoppedReason"], f"Task failed ELB health checks in (target-group {self.stage.blue})")

    def test_a_lack_of_capacity_stands_in_the_events(self):
        self.create(taskDefinition=self.stage.v1, desired=1)
        self.double.behave("web:v2", "no-capacity")
        self.deploy()
        self.double.advance(60)
        self.assertTrue(any("was unable to place a task" in event and "RESOURCE:MEMORY" in event for event in self.stage.events()))
        self.assertEqual(self.stage.service()["runningCount"], 1)


class TaskSets(Story):
    def setUp(self):
        super().setUp()
        self.create(desired=10, deploymentController={"type": "EXTERNAL"})

    def make(self, definition, group, percent, **members):
        answer = self.ecs.create_task_set(
            cluster=CLUSTER,
            service="web",
            taskDefinition=definition,
            loadBalancers=[self.stage.load_balancer(group, advanced=False)],
            scale={"value": percent, "unit": "PERCENT"},
            networkConfiguration=self.stage.network,
            **members,
        )
        return answer["taskSet"]

    def sets(self):
        shown = self.ecs.describe_task_sets(cluster=CLUSTER, service="web", include=["TAGS"])["taskSets"]
        return {task_set["id"]: task_set for task_set in shown}

    def test_a_release_by_task_sets_and_weights(self):
        names = {"cluster": CLUSTER, "service": "web"}
        blue = self.make(self.stage.v1, self.stage.blue, 100.0)
        self.ecs.update_service_primary_task_set(**names, primaryTaskSet=blue["id"])
        self.double.advance(30)
        self.assertEqual(self.sets()[blue["id"]]["stabilityStatus"], "STEADY_STATE")

        tags = [{"key": "meridian", "value": "1.2.3"}]
        green = self.make(self.stage.v2, self.stage.green, 25.0, externalId="1.2.3", clientToken="t-1", tags=tags)
        self.assertEqual((green["computedDesiredCount"], green["stabilityStatus"]), (3, "STABILIZING"))
        again = self.make(self.stage.v2, self.stage.green, 25.0, externalId="1.2.3", clientToken="t-1", tags=tags)
        self.assertEqual(again["id"], green["id"])
        self.double.advance(30)
        shown = self.sets()[green["id"]]
        self.assertEqual((shown["runningCount"], shown["externalId"], shown["tags"]), (3, "1.2.3", tags))

        self.elb.modify_rule(RuleArn=self.stage.rule, Actions=[self.stage.forward(75, 25)])
        self.assertEqual(self.stage.weights(), (75, 25))
        self.ecs.update_task_set(**names, taskSet=green["id"], scale={"value": 100.0, "unit": "PERCENT"})
        self.double.advance(30)
        self.elb.modify_rule(RuleArn=self.stage.rule, Actions=[self.stage.forward(0, 100)])
        self.ecs.update_service_primary_task_set(**names, primaryTaskSet=green["id"])
        self.assertEqual(self.sets()[blue["id"]]["status"], "ACTIVE")
        self.assertEqual(self.stage.service()["taskDefinition"], self.stage.v2)

        self.refused("InvalidParameterException", self.ecs.delete_task_set, **names, taskSet=blue["id"])
        self.ecs.update_task_set(**names, taskSet=blue["id"], scale={"value": 0.0, "unit": "PERCENT"})
        self.double.advance(5)
        health = self.elb.describe_target_health(TargetGroupArn=self.stage.blue)["TargetHealthDescriptions"]
        self.assertEqual({target["TargetHealth"]["State"] for target in health}, {"draining"})
        deleted = self.ecs.delete_task_set(**names, taskSet=blue["id"])["taskSet"]
        self.assertEqual(deleted["status"], "DRAINING")
        self.double.advance(60)
        self.assertEqual(list(self.sets()), [green["id"]])

    def test_what_task_sets_refuse(self):
        names = {"cluster": CLUSTER, "service": "web"}
        scale = {"value": 50.0, "unit": "PERCENT"}
        self.refused("TaskSetNotFoundException", self.ecs.update_task_set, **names, taskSet="ecs-svc/1", scale=scale)
        self.refused("InvalidParameterException", self.ecs.update_service, **names, taskDefinition=self.stage.v2)
        blue = self.make(self.stage.v1, self.stage.blue, 50.0)
        self.ecs.update_service_primary_task_set(**names, primaryTaskSet=blue["id"])
        self.refused("InvalidParameterException", self.ecs.delete_task_set, **names, taskSet=blue["id"])
        wrong = {"value": 101.0, "unit": "PERCENT"}
        self.refused("InvalidParameterException", self.ecs.update_task_set, **names, taskSet=blue["id"], scale=wrong)
        missing = self.ecs.describe_task_sets(**names, taskSets=["ecs-svc/1"])["failures"]
        self.assertEqual(missing, [{"arn": "ecs-svc/1", "reason": "MISSING"}])


class Refusals(Story):
    def test_names_that_nobody_has(self):
        names = {"cluster": CLUSTER, "service": "nobody"}
        self.refused("ServiceNotFoundException", self.ecs.update_service, **names, desiredCount=1)
        self.refused("ClusterNotFoundException", self.ecs.describe_services, cluster="none", services=["web"])
        failures = self.ecs.describe_services(cluster=CLUSTER, services=["nobody"])["failures"]
        self.assertEqual([failure["reason"] for failure in failures], ["MISSING"])
        self.refused("ClientException", self.ecs.describe_task_definition, taskDefinition="nothing:1")
        arn = "arn:aws:ecs:eu-west-1:123456789012:service-deployment/prod/web/none"
        missing = self.ecs.describe_service_deployments(serviceDeploymentArns=[arn])["failures"]
        self.assertEqual(missing, [{"arn": arn, "reason": "MISSING"}])
        self.refused("ServiceDeploymentNotFoundException", self.ecs.stop_service_deployment, serviceDeploymentArn=arn)

    def test_a_deregistered_task_definition_runs_nowhere(self):
        self.ecs.deregister_task_definition(taskDefinition=self.stage.v2)
        shown = self.ecs.describe_task_definition(taskDefinition=self.stage.v2)["taskDefinition"]
        self.assertEqual(shown["status"], "INACTIVE")
        self.create(taskDefinition=self.stage.v1, desired=1)
        call = self.ecs.update_service
        self.refused("ClientException", call, cluster=CLUSTER, service="web", taskDefinition=self.stage.v2)
        active = self.ecs.list_task_definitions(familyPrefix="web")["taskDefinitionArns"]
        self.assertEqual(active, [self.stage.v1])

    def test_strategies_without_what_they_move_traffic_with(self):
        call = self.ecs.create_service
        members = {"cluster": CLUSTER, "serviceName": "web", "taskDefinition": self.stage.v1, "desiredCount": 1}
        message = self.refused("InvalidParameterException", call, **members)
        self.assertIn("networkMode 'awsvpc'", message)
        members["networkConfiguration"] = self.stage.network
        wrong = [
            {"strategy": "CANARY"},
            {"strategy": "BLUE_GREEN"},
            {"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 2.9}},
            {"strategy": "CANARY", "canaryConfiguration": {"canaryPercent": 100.1}},
            {"lifecycleHooks": [PAUSE]},
        ]
        for configuration in wrong:
            self.refused("InvalidParameterException", call, **members, deploymentConfiguration=configuration)
        paused = {"targetType": "PAUSE", "lifecycleStages": ["PRODUCTION_TRAFFIC_SHIFT"]}
        self.refused(
            "InvalidParameterException",
            call,
            **members,
            loadBalancers=[self.stage.load_balancer()],
            deploymentConfiguration={"strategy": "CANARY", "lifecycleHooks": [paused]},
        )

    def test_code_deploy_services_are_not_updated_here(self):
        self.create(taskDefinition=self.stage.v1, desired=1, deploymentController={"type": "CODE_DEPLOY"})
        call = self.ecs.update_service
        message = self.refused("InvalidParameterException", call, cluster=CLUSTER, service="web", taskDefinition=self.stage.v2)
        self.assertIn("CODE_DEPLOY", message)

    def test_a_deleted_service_is_not_active(self):
        self.create(taskDefinition=self.stage.v1, desired=1)
        self.refused("InvalidParameterException", self.ecs.delete_service, cluster=CLUSTER, service="web")
        self.ecs.update_service(cluster=CLUSTER, service="web", desiredCount=0)
        self.ecs.delete_service(cluster=CLUSTER, service="web")
        self.double.advance(60)
        self.assertEqual(self.stage.service()["status"], "INACTIVE")
        call = self.ecs.update_service
        self.refused("ServiceNotActiveException", call, cluster=CLUSTER, service="web", desiredCount=1)

    def test_weights_groups_and_rules(self):
        unknown = self.stage.blue[:-1] + "x"
        call = self.elb.modify_rule
        for code, group, weight in [("ValidationError", self.stage.blue, 1000), ("ValidationError", self.stage.blue, -1), ("TargetGroupNotFound", unknown, 1)]:
            groups = [{"TargetGroupArn": group, "Weight": weight}]
            action = {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}
            self.refused(code, call, RuleArn=self.stage.rule, Actions=[action])
        self.refused("RuleNotFound", call, RuleArn=self.stage.rule + "x", Actions=[self.stage.forward(1, 1)])
        groups = [{"TargetGroupArn": self.stage.group(f"g{n}"), "Weight": 1} for n in range(6)]
        six = {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}
        self.refused("InvalidLoadBalancerAction", call, RuleArn=self.stage.rule, Actions=[six])

    def test_a_target_group_without_a_load_balancer_is_refused(self):
        lone = self.stage.group("lone")
        call = self.ecs.create_service
        balancers = [self.stage.load_balancer(lone, advanced=False)]
        members = {"cluster": CLUSTER, "serviceName": "web", "taskDefinition": self.stage.v1, "desiredCount": 1}
        members["networkConfiguration"] = self.stage.network
        message = self.refused("InvalidParameterException", call, **members, loadBalancers=balancers)
        self.assertIn("does not have an associated load balancer", message)

    def test_what_breaks_the_service_model_is_refused_by_the_double_itself(self):
        raw = client("ecs", self.double.url, validate=False)
        self.refused("InvalidParameterException", raw.update_service, cluster=CLUSTER)
        wrong = {"type": "SOMEBODY"}
        members = {"cluster": CLUSTER, "serviceName": "web", "desiredCount": 1, "deploymentController": wrong}
        self.refused("InvalidParameterException", raw.create_service, **members)


class TagsAndPages(Story):
    def test_tags_are_kept_replaced_and_limited(self):
        self.create(taskDefinition=self.stage.v1, desired=0, tags=[{"key": "team", "value": "payments"}])
        arn = self.stage.service()["serviceArn"]
        self.ecs.tag_resource(resourceArn=arn, tags=[{"key": "meridian.fence", "value": "1.2.3"}])
        self.ecs.tag_resource(resourceArn=arn, tags=[{"key": "meridian.fence", "value": "1.2.4"}])
        tags = {tag["key"]: tag["value"] for tag in self.ecs.list_tags_for_resource(resourceArn=arn)["tags"]}
        self.assertEqual(tags, {"team": "payments", "meridian.fence": "1.2.4"})
        self.ecs.untag_resource(resourceArn=arn, tagKeys=["team"])
        self.assertEqual([tag["key"] for tag in self.stage.service()["tags"]], ["meridian.fence"])
        call = self.ecs.tag_resource
        many = [{"key": f"k{n}", "value": ""} for n in range(50)]
        self.refused("InvalidParameterException", call, resourceArn=arn, tags=many)
        self.refused("InvalidParameterException", call, resourceArn=arn, tags=[{"key": "aws:x", "value": ""}])
        self.refused("ResourceNotFoundException", call, resourceArn=arn + "x", tags=[{"key": "a", "value": "b"}])

    def test_load_balancer_lists_come_in_pages_and_rules_keep_tags(self):
        pages = self.elb.get_paginator("describe_target_groups").paginate(PaginationConfig={"PageSize": 1})
        self.assertEqual([len(page["TargetGroups"]) for page in pages], [1, 1])
        self.elb.add_tags(ResourceArns=[self.stage.rule], Tags=[{"Key": "meridian.fence", "Value": "1.2.3"}])
        described = self.elb.describe_tags(ResourceArns=[self.stage.rule])["TagDescriptions"][0]
        self.assertEqual(described["Tags"], [{"Key": "meridian.fence", "Value": "1.2.3"}])
        rules = self.elb.describe_rules(ListenerArn=self.stage.listener)["Rules"]
        self.assertEqual([rule["Priority"] for rule in rules], ["10", "20", "default"])

    def test_a_role_can_be_assumed(self):
        sts = client("sts", self.double.url)
        answer = sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/deployer", RoleSessionName="meridian")
        self.assertTrue(answer["AssumedRoleUser"]["Arn"].endswith(":assumed-role/deployer/meridian"))
        self.assertEqual(sts.get_caller_identity()["Account"], "123456789012")


if __name__ == "__main__":
    unittest.main()
