"""The judge finds each way to break the service model, and nothing in what keeps to it."""

import unittest

from judge import Judge

REQUEST = {"cluster": "prod", "service": "web", "taskSet": "ecs-svc/1", "scale": {"value": 25.0, "unit": "PERCENT"}}
ANSWER = {"taskSet": {"id": "ecs-svc/1", "computedDesiredCount": 1, "createdAt": 1772445600.0}}
FORM = {
    "Action": "ModifyRule",
    "Version": "2015-12-01",
    "RuleArn": "arn:rule",
    "Actions.member.1.Type": "forward",
    "Actions.member.1.ForwardConfig.TargetGroups.member.1.TargetGroupArn": "arn:group",
    "Actions.member.1.ForwardConfig.TargetGroups.member.1.Weight": "10",
}
XML = (
    '<ModifyRuleResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"><ModifyRuleResult><Rules><member>'
    "<RuleArn>arn:rule</RuleArn><IsDefault>false</IsDefault>%s</member></Rules></ModifyRuleResult></ModifyRuleResponse>"
)


class JudgeSaysNo(unittest.TestCase):
    judge = Judge()

    def json(self, request=REQUEST, status=200, response=ANSWER, operation="UpdateTaskSet", **more):
        entry = {"service": "ecs", "operation": operation, "request": request, "status": status, "response": response}
        return self.judge.line(entry | more.pop("entry", {}), **more)

    def query(self, form=FORM, status=200, response=XML % ""):
        entry = {"service": "elbv2", "operation": "ModifyRule", "request": form, "status": status, "response": response}
        return self.judge.line(entry)

    def assertSays(self, wrong, words):
        self.assertEqual(len(wrong), 1, wrong)
        self.assertIn(words, wrong[0])

    def test_what_keeps_to_the_model_passes(self):
        self.assertEqual(self.json(), [])
        self.assertEqual(self.query(), [])
        error = {"__type": "TaskSetNotFoundException", "message": "no"}
        self.assertEqual(self.json(status=400, response=error), [])

    def test_a_missing_member(self):
        self.assertSays(self.json(request={k: v for k, v in REQUEST.items() if k != "taskSet"}), "request.taskSet is required")

    def test_an_unknown_member(self):
        self.assertSays(self.json(request=REQUEST | {"scael": 1}), "request.scael is no member")
        self.assertSays(self.json(response={"taskset": {}}), "answer.taskset is no member")

    def test_a_wrong_type(self):
        self.assertSays(self.json(request=REQUEST | {"taskSet": 7}), "request.taskSet is no string")
        self.assertSays(self.json(response={"taskSet": {"computedDesiredCount": "1"}}), "is no integer")
        self.assertSays(self.json(response={"taskSet": {"computedDesiredCount": True}}), "is no integer")

    def test_a_null(self):
        self.assertSays(self.json(response={"taskSet": None}), "answer.taskSet is null")

    def test_a_word_outside_its_enum(self):
        self.assertSays(self.json(request=REQUEST | {"scale": {"value": 1.0, "unit": "PARTS"}}), "no ScaleUnit")

    def test_a_number_out_of_range(self):
        hook = {"timeoutConfiguration": {"timeoutInMinutes": 20161}}
        request = {"service": "web", "deploymentConfiguration": {"lifecycleHooks": [hook]}}
        self.assertSays(self.json(request=request, response={}, operation="UpdateService"), "above 20160")

    def test_an_unknown_operation_or_error(self):
        self.assertSays(self.json(operation="ScaleTaskSet"), "no operation")
        error = {"__type": "RuleNotFound", "message": "no"}
        self.assertSays(self.json(status=400, response=error), "is no error of this operation")

    def test_a_refused_request_may_break_the_model_only_where_that_is_allowed(self):
        entry = {"request": {}, "status": 400, "response": {"__type": "ClientException", "message": "no"}}
        self.assertEqual(len(self.json(entry=entry)), 4)
        self.assertEqual(self.json(entry=entry, refused_may_break=True), [])

    def test_the_query_protocol(self):
        self.assertSays(self.query(form=FORM | {"Rule": "x"}), "request.Rule is no member")
        weight = "Actions.member.1.ForwardConfig.TargetGroups.member.1.Weight"
        self.assertSays(self.query(form=FORM | {weight: "ten"}), "is no integer")
        self.assertSays(self.query(form=FORM | {"Actions.member.3.Type": "forward"}), "does not spell a list")
        self.assertSays(self.query(response=XML % "<Weight>1</Weight>"), "is no member of Rule")
        self.assertSays(self.query(response=(XML % "").replace(">false<", ">no<")), "is no boolean")


if __name__ == "__main__":
    unittest.main()
