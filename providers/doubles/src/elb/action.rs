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
    /// `authenticate-oidc`, before the action that answers. The client secret is never shown again.
    Authenticate {
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
    /// Reads the actions of a request in their order and checks what the service checks: one that answers, at the end; at most
    /// five groups, weights of 0 to 999, and a known target group everywhere. `before` is what the same rule did until now: a
    /// client secret that it has may be kept.
    pub fn read_all(
        list: Vec<Members>,
        before: &[Action],
        known: impl Fn(&str) -> bool,
    ) -> Result<Vec<Action>, Refusal> {
        let many = list.len() > 1;
        let keeps = before
            .iter()
            .any(|action| matches!(action, Action::Authenticate { .. }));
        let mut actions = Vec::with_capacity(list.len());
        for members in list {
            actions.push(Action::read(members, many, keeps)?);
        }
        actions.sort_by_key(|(order, _)| *order);
        let twice = actions.windows(2).any(|pair| pair[0].0 == pair[1].0);
        let actions: Vec<Action> = actions.into_iter().map(|(_, action)| action).collect();
        let answers = |action: &Action| !matches!(action, Action::Authenticate { .. });
        match actions.split_last() {
            None => return Err(Refusal::validation("An action must be specified")),
            Some((last, others)) if answers(last) && !others.iter().any(answers) && !twice => {}
            Some(_) => {
                let message = "exactly one action must be forward, redirect or fixed-response, and it comes last";
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

    fn read(mut members: Members, many: bool, keeps: bool) -> Result<(i64, Action), Refusal> {
        let kinds = ["forward", "redirect", "fixed-response", "authenticate-oidc"];
        let kind = members
            .one_of("Type", &kinds)?
            .ok_or_else(|| Refusal::validation("'Type' must be specified"))?;
        let order = members.within("Order", 1, 50_000)?;
        if many && order.is_none() {
            return Err(Refusal::validation(
                "The order of each of several actions must be specified",
            ));
        }
        let action = match kind.as_str() {
            "forward" => Action::Forward(Forward::read(&mut members)?),
            "redirect" => Action::other(kind, members.raw("RedirectConfig"))?,
            "authenticate-oidc" => Action::authenticate(members.nested("AuthenticateOidcConfig")?, keeps)?,
            _ => Action::other(kind, members.raw("FixedResponseConfig"))?,
        };
        members.done()?;
        Ok((order.unwrap_or(1), action))
    }

    /// AWS keeps a client secret only for those who say so: whoever leaves it out names no secret at all.
    fn authenticate(config: Option<Members>, keeps: bool) -> Result<Action, Refusal> {
        let blank = |name: &str| Refusal::validation(format!("'{name}' must be specified"));
        let mut config = config.ok_or_else(|| blank("AuthenticateOidcConfig"))?;
        let mut kept = serde_json::Map::new();
        for name in [
            "Issuer",
            "AuthorizationEndpoint",
            "TokenEndpoint",
            "UserInfoEndpoint",
            "ClientId",
        ] {
            kept.insert(name.to_owned(), json!(config.needs(name)?));
        }
        let secret = config.text("ClientSecret")?;
        let keeps_it = config.truth("UseExistingClientSecret")?.unwrap_or(false);
        for name in [
            "SessionCookieName",
            "Scope",
            "SessionTimeout",
            "OnUnauthenticatedRequest",
        ] {
            if let Some(value) = config.raw(name) {
                kept.insert(name.to_owned(), value);
            }
        }
        config.raw("AuthenticationRequestExtraParams");
        config.done()?;
        match (secret, keeps_it) {
            (Some(_), false) => {}
            (None, true) if keeps => {}
            (None, false) => return Err(blank("ClientSecret")),
            (Some(_), true) => {
                let message = "ClientSecret and UseExistingClientSecret exclude each other";
                return Err(Refusal::validation(message));
            }
            (None, true) => return Err(Refusal::validation("There is no client secret to keep")),
        }
        Ok(Action::Authenticate {
            config: Value::Object(kept),
        })
    }

    fn other(kind: String, config: Option<Value>) -> Result<Action, Refusal> {
        let config = config.ok_or_else(|| Refusal::validation(format!("A config must be specified for '{kind}'")))?;
        Ok(Action::Other { kind, config })
    }

    /// The weighted groups of a forward action; none for others.
    pub fn groups(&self) -> &[Weighted] {
        match self {
            Action::Forward(forward) => &forward.groups,
            Action::Other { .. } | Action::Authenticate { .. } => &[],
        }
    }

    /// Actions as `Describe…` shows them, in their order.
    pub fn shown_all(actions: &[Action]) -> Vec<Value> {
        (1..).zip(actions).map(|(order, action)| action.shown(order)).collect()
    }

    /// A single group is shown as `TargetGroupArn`, too, as AWS does.
    fn shown(&self, order: u32) -> Value {
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
                    "Order": order,
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
                json!({"Type": kind, "Order": order, name: config})
            }
            Action::Authenticate { config } => {
                json!({"Type": "authenticate-oidc", "Order": order, "AuthenticateOidcConfig": config})
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
        Action::read_all(vec![Members::query(value)], &[], |arn| arn.starts_with("tg"))
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

    #[test]
    fn a_client_secret_is_kept_only_for_those_who_say_so() {
        let with = |key: &str, value: &str| {
            let mut config = json!({"ClientId": "web"});
            for name in ["Issuer", "AuthorizationEndpoint", "TokenEndpoint", "UserInfoEndpoint"] {
                config[name] = json!("https://id.example.com");
            }
            config[key] = json!(value);
            let authenticate = json!({"Type": "authenticate-oidc", "Order": "1", "AuthenticateOidcConfig": config});
            let mut forward = forward(json!([{"TargetGroupArn": "tg1"}]));
            forward["Order"] = json!("2");
            vec![Members::query(authenticate), Members::query(forward)]
        };
        let actions = Action::read_all(with("ClientSecret", "s3cret"), &[], |_| true).unwrap();
        assert!(!json!(Action::shown_all(&actions)).to_string().contains("s3cret"));
        let again = |list: Vec<Members>, before: &[Action]| Action::read_all(list, before, |_| true);
        assert!(again(with("Scope", "openid"), &actions).is_err());
        assert!(again(with("UseExistingClientSecret", "true"), &[]).is_err());
        assert!(again(with("UseExistingClientSecret", "true"), &actions).is_ok());
    }
}
