//! Listener rules: who is meant, and where their requests go.

use serde_json::{Value, json};

use crate::aws::members::Members;
use crate::aws::refusal::Refusal;
use crate::elb::action::{Action, Forward, Weighted};
use crate::elb::balancers::{Balancers, page_of};

#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub arn: String,
    pub listener: String,
    pub place: Place,
    pub(super) conditions: Value,
    pub actions: Vec<Action>,
}

/// When a rule is looked at: the lowest priority first, the default last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Priority(i64),
    Default,
}

impl Rule {
    fn shown(&self) -> Value {
        let (priority, default) = match self.place {
            Place::Priority(priority) => (priority.to_string(), false),
            Place::Default => ("default".to_owned(), true),
        };
        json!({
            "RuleArn": self.arn,
            "Priority": priority,
            "Conditions": self.conditions,
            "Actions": Action::shown_all(&self.actions),
            "IsDefault": default,
        })
    }
}

impl Balancers {
    pub(super) fn create_rule(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let listener = asked.needs("ListenerArn")?;
        let conditions = read_conditions(asked.raw("Conditions"))?;
        let priority = asked.within("Priority", 1, 50_000)?;
        let priority = priority.ok_or_else(|| Refusal::validation("A priority must be specified"))?;
        let actions = asked.list("Actions")?.unwrap_or_default();
        let tags = self.tags_of(&mut asked)?;
        asked.done()?;
        self.listener(&listener)?;
        let actions = Action::read_all(actions, &[], |arn| self.is_group(arn))?;
        let place = Place::Priority(priority);
        if self
            .rules
            .iter()
            .any(|rule| rule.listener == listener && rule.place == place)
        {
            return Err(Refusal::new(
                "PriorityInUse",
                400,
                format!("Priority '{priority}' is currently in use"),
            ));
        }
        let path = listener.split_once("listener/").map_or("", |(_, path)| path);
        let rule = Rule {
            arn: self.arn(&format!("listener-rule/{path}")),
            listener,
            place,
            conditions,
            actions,
        };
        let answer = json!({"Rules": [rule.shown()]});
        self.tags.insert(rule.arn.clone(), tags);
        self.rules.push(rule);
        Ok(answer)
    }

    pub(super) fn describe_rules(&self, mut asked: Members) -> Result<Value, Refusal> {
        let listener = asked.text("ListenerArn")?;
        let arns = asked.texts("RuleArns")?.unwrap_or_default();
        let (marker, size) = (asked.text("Marker")?, asked.within("PageSize", 1, 400)?);
        asked.done()?;
        if listener.is_some() != arns.is_empty() {
            return Err(Refusal::validation(
                "You must specify either listener rule ARNs or a listener ARN",
            ));
        }
        if let Some(listener) = &listener {
            self.listener(listener)?;
        }
        for arn in &arns {
            self.rule(arn)?;
        }
        let mut all: Vec<&Rule> = self
            .rules
            .iter()
            .filter(|rule| arns.is_empty() || arns.contains(&rule.arn))
            .filter(|rule| listener.as_ref().is_none_or(|listener| rule.listener == *listener))
            .collect();
        all.sort_by_key(|rule| rule.place);
        let page = page_of(&all, |rule| rule.arn.clone(), marker, size)?;
        let shown: Vec<Value> = page.items.into_iter().map(Rule::shown).collect();
        Ok(json!({"Rules": shown, "NextMarker": page.next}))
    }

    pub(super) fn modify_rule(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let arn = asked.needs("RuleArn")?;
        let conditions = asked.raw("Conditions");
        let actions = asked.list("Actions")?;
        asked.done()?;
        if self.rule(&arn)?.place == Place::Default {
            return Err(Refusal::new(
                "OperationNotPermitted",
                400,
                format!("Default rule '{arn}' cannot be modified"),
            ));
        }
        let conditions = conditions.map(|given| read_conditions(Some(given))).transpose()?;
        let actions = actions
            .map(|list| Action::read_all(list, &self.rule(&arn)?.actions, |group| self.is_group(group)))
            .transpose()?;
        let rule = self.rules.iter_mut().find(|rule| rule.arn == arn);
        let rule = rule.ok_or_else(|| Refusal::new("RuleNotFound", 400, "gone"))?;
        rule.conditions = conditions.unwrap_or_else(|| rule.conditions.clone());
        rule.actions = actions.unwrap_or_else(|| rule.actions.clone());
        Ok(json!({"Rules": [rule.shown()]}))
    }

    pub(super) fn delete_rule(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let arn = asked.needs("RuleArn")?;
        asked.done()?;
        if self.rule(&arn)?.place == Place::Default {
            return Err(Refusal::new(
                "OperationNotPermitted",
                400,
                format!("Default rule '{arn}' cannot be deleted"),
            ));
        }
        self.rules.retain(|rule| rule.arn != arn);
        self.tags.remove(&arn);
        Ok(json!({}))
    }

    fn rule(&self, arn: &str) -> Result<&Rule, Refusal> {
        self.rules
            .iter()
            .find(|rule| rule.arn == arn)
            .ok_or_else(|| Refusal::new("RuleNotFound", 400, format!("Rules '{arn}' not found")))
    }

    /// The rule that this ARN means: a rule's own, or a listener's, whose default rule it then is. ECS takes both as
    /// production and test listener rules.
    pub fn route(&self, arn: &str) -> Option<&Rule> {
        self.rules
            .iter()
            .find(|rule| rule.arn == arn || (rule.listener == arn && rule.place == Place::Default))
    }

    /// Replaces the forward weights behind this rule or listener, as ECS does with the role it was given.
    /// Its stickiness stays. Answers `false` where there is no such rule or group.
    pub fn set_weights(&mut self, arn: &str, weights: &[(String, i64)]) -> bool {
        let known = weights.iter().all(|(group, _)| self.is_group(group));
        let rule = self
            .rules
            .iter_mut()
            .find(|rule| rule.arn == arn || (rule.listener == arn && rule.place == Place::Default));
        let (true, Some(rule)) = (known, rule) else {
            return false;
        };
        let stickiness = rule.actions.iter().find_map(|action| match action {
            Action::Forward(forward) => forward.stickiness,
            Action::Other { .. } | Action::Authenticate { .. } => None,
        });
        let weighted = |(group, weight): &(String, i64)| Weighted {
            group: group.clone(),
            weight: *weight,
        };
        rule.actions
            .retain(|action| matches!(action, Action::Authenticate { .. }));
        rule.actions.push(Action::Forward(Forward {
            groups: weights.iter().map(weighted).collect(),
            stickiness,
        }));
        true
    }
}

fn read_conditions(given: Option<Value>) -> Result<Value, Refusal> {
    let Some(Value::Array(conditions)) = given else {
        return Err(Refusal::validation("A condition must be specified"));
    };
    let fields = [
        "host-header",
        "path-pattern",
        "http-header",
        "query-string",
        "http-request-method",
        "source-ip",
    ];
    for condition in &conditions {
        let field = condition["Field"].as_str().unwrap_or_default();
        if !fields.contains(&field) {
            return Err(Refusal::validation(format!(
                "Condition field '{field}' must be one of '{fields:?}'"
            )));
        }
    }
    Ok(Value::Array(conditions))
}
