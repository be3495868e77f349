//! What a listener or a rule does with a request: mostly, forward it to weighted target groups.

use serde_json::{Value, json};

use crate::aws::members::Members;
use crate::aws::refusal::Refusal;

/// Target groups in one forward action, by AWS's quota.
pub const GROUPS_MAX: usize = 5;
/// The largest weight of a target group in a forward action.
pub const WEIGHT_MAX: i64 = 999;

/// One action of a listener or rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Forward(Forward),
    /// `fixed-response` and `redirect`, kept as given.
    Other {
        kind: String,
        config: Value,
    },
}

/// Where requests go: each group gets its weight's part of the sum of all weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    pub groups: Vec<Weighted>,
    /// Whether a client stays with its group, and for how many seconds.
    pub stickiness: Option<Stickiness>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighted {
    pub group: String,
    /// 0 to 999.
    pub weight: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stickiness {
    pub enabled: bool,
    pub seconds: i64,
}

impl Action {
    /// Reads the actions of a request and checks what the service checks: one forward, at most five groups, weights of
    /// 0 to 999, and a known target group everywhere.
    pub fn read_all(list: Vec<Members>, known: impl Fn(&str) -> bool) -> Result<Vec<Action>, Refusal> {
        let actions = list.into_iter().map(Action::read).collect::<Result<Vec<_>, _>>()?;
        let forwards = actions
            .iter()
            .filter(|action| matches!(action, Action::Forward(_)))
            .count();
        match (actions.len(), forwards) {
            (0, _) => return Err(Refusal::validation("An action must be specified")),
            (1, _) => {}
            _ => {
                let message = "this stand-in takes exactly one action, forward, redirect or fixed-response";
                return Err(Refusal::new("InvalidLoadBalancerAction", 400, message));
            }
        }
        for group in actions.iter().flat_map(Action::groups) {
            if !known(&group.group) {
                let message = format!("Target groups '{}' not found", group.group);
                return Err(Refusal::new("TargetGroupNotFound", 400, message));
            }
        }
        Ok(actions)
    }

    fn read(mut members: Members) -> Result<Action, Refusal> {
        let kinds = ["forward", "redirect", "fixed-response"];
        let kind = members
            .one_of("Type", &kinds)?
            .ok_or_else(|| Refusal::validation("'Type' must be specified"))?;
        // The order says nothing where there is one action.
        members.within("Order", 1, 50_000)?;
        let action = match kind.as_str() {
            "forward" => Action::Forward(Forward::read(&mut members)?),
            "redirect" => Action::other(kind, members.raw("RedirectConfig"))?,
            _ => Action::other(kind, members.raw("FixedResponseConfig"))?,
        };
        members.done()?;
        Ok(action)
    }

    fn other(kind: String, config: Option<Value>) -> Result<Action, Refusal> {
        let config = config.ok_or_else(|| Refusal::validation(format!("A config must be specified for '{kind}'")))?;
        Ok(Action::Other { kind, config })
    }

    /// The weighted groups of a forward action; none for others.
    pub fn groups(&self) -> &[Weighted] {
        match self {
            Action::Forward(forward) => &forward.groups,
            Action::Other { .. } => &[],
        }
    }

    /// The action as `Describe…` shows it. A single group is shown as `TargetGroupArn`, too, as AWS does.
    pub fn shown(&self) -> Value {
        match self {
            Action::Forward(forward) => {
                let stickiness = forward.stickiness.map_or_else(
                    || json!({"Enabled": false}),
                    |sticky| json!({"Enabled": sticky.enabled, "DurationSeconds": sticky.seconds}),
                );
                let groups: Vec<Value> = forward
                    .groups
                    .iter()
                    .map(|group| json!({"TargetGroupArn": group.group, "Weight": group.weight}))
                    .collect();
                let single = (forward.groups.len() == 1).then(|| forward.groups[0].group.clone());
                json!({
                    "Type": "forward",
                    "Order": 1,
                    "TargetGroupArn": single,
                    "ForwardConfig": {"TargetGroups": groups, "TargetGroupStickinessConfig": stickiness},
                })
            }
            Action::Other { kind, config } => {
                let name = if kind == "redirect" {
                    "RedirectConfig"
                } else {
                    "FixedResponseConfig"
                };
                json!({"Type": kind, "Order": 1, name: config})
            }
        }
    }
}

impl Forward {
    fn read(members: &mut Members) -> Result<Forward, Refusal> {
        let single = members.text("TargetGroupArn")?;
        let Some(mut config) = members.nested("ForwardConfig")? else {
            let group = single.ok_or_else(|| Refusal::validation("A target group ARN must be specified"))?;
            let groups = vec![Weighted { group, weight: 1 }];
            return Ok(Forward {
                groups,
                stickiness: None,
            });
        };
        let groups = config.list("TargetGroups")?.unwrap_or_default();
        let stickiness = config
            .nested("TargetGroupStickinessConfig")?
            .map(Stickiness::read)
            .transpose()?;
        config.done()?;
        let groups = groups.into_iter().map(Weighted::read).collect::<Result<Vec<_>, _>>()?;

        if groups.is_empty() {
            return Err(Refusal::validation("A target group ARN must be specified"));
        }
        if groups.len() > GROUPS_MAX {
            let message = format!("A forward action can have at most {GROUPS_MAX} target groups");
            return Err(Refusal::new("InvalidLoadBalancerAction", 400, message));
        }
        for (place, group) in groups.iter().enumerate() {
            if groups[..place].iter().any(|before| before.group == group.group) {
                return Err(Refusal::validation(format!(
                    "Target group '{}' is given twice",
                    group.group
                )));
            }
        }
        if single.is_some_and(|single| groups.len() != 1 || groups[0].group != single) {
            return Err(Refusal::validation(
                "TargetGroupArn and ForwardConfig must name the same single target group, or only one of them may be given",
            ));
        }
        Ok(Forward { groups, stickiness })
    }
}

impl Weighted {
    fn read(mut members: Members) -> Result<Weighted, Refusal> {
        let group = members.needs("TargetGroupArn")?;
        // AWS gives a group without a weight the weight 1.
        let weight = members.whole("Weight")?.unwrap_or(1);
        members.done()?;
        if !(0..=WEIGHT_MAX).contains(&weight) {
            return Err(Refusal::validation(format!(
                "Weight '{weight}' must be between 0 and {WEIGHT_MAX} inclusive"
            )));
        }
        Ok(Weighted { group, weight })
    }
}

impl Stickiness {
    fn read(mut members: Members) -> Result<Stickiness, Refusal> {
        let enabled = members.truth("Enabled")?.unwrap_or(false);
        // One second to seven days.
        let seconds = members.within("DurationSeconds", 1, 604_800)?;
        members.done()?;
        if enabled && seconds.is_none() {
            return Err(Refusal::validation(
                "DurationSeconds must be specified for target group stickiness",
            ));
        }
        Ok(Stickiness {
            enabled,
            seconds: seconds.unwrap_or(1),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(value: Value) -> Result<Vec<Action>, Refusal> {
        Action::read_all(vec![Members::query(value)], |arn| arn.starts_with("tg"))
    }

    fn forward(groups: Value) -> Value {
        json!({"Type": "forward", "ForwardConfig": {"TargetGroups": groups}})
    }

    #[test]
    fn weights_are_0_to_999_for_at_most_five_known_groups() {
        let group = |arn: &str, weight: &str| json!({"TargetGroupArn": arn, "Weight": weight});
        assert!(read(forward(json!([group("tg1", "0"), group("tg2", "999")]))).is_ok());
        let code = |groups: Value| read(forward(groups)).unwrap_err().code;
        assert_eq!(code(json!([group("tg1", "-1")])), "ValidationError");
        assert_eq!(code(json!([group("tg1", "1000")])), "ValidationError");
        assert_eq!(code(json!([group("other", "1")])), "TargetGroupNotFound");
        assert_eq!(code(json!([group("tg1", "1"), group("tg1", "2")])), "ValidationError");
        let six: Vec<Value> = (0..6).map(|n| group(&format!("tg{n}"), "1")).collect();
        assert_eq!(code(Value::Array(six)), "InvalidLoadBalancerAction");
    }
}
