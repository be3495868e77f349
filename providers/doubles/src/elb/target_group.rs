//! Target groups: what they are asked to be, and the attributes that change how targets leave them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::aws::members::Members;
use crate::aws::refusal::Refusal;
use crate::elb::balancers::{Balancers, page_of};

/// Seconds that a target drains for where nobody says otherwise.
const DRAIN_DEFAULT: u32 = 300;
const DRAIN: &str = "deregistration_delay.timeout_seconds";

#[derive(Clone, Debug, PartialEq)]
pub struct TargetGroup {
    pub arn: String,
    pub name: String,
    /// `CreateTargetGroup`'s scalar members with their defaults, as `Describe…` shows them.
    shown: Value,
    attributes: BTreeMap<String, String>,
}

impl TargetGroup {
    /// Seconds between the order to leave and the end of the last connection.
    pub fn drain_seconds(&self) -> u32 {
        self.attributes
            .get(DRAIN)
            .and_then(|text| text.parse().ok())
            .unwrap_or(DRAIN_DEFAULT)
    }

    pub fn health_check_path(&self) -> &str {
        self.shown["HealthCheckPath"].as_str().unwrap_or("/")
    }
}

impl Balancers {
    pub(super) fn create_target_group(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let name = asked.needs("Name")?;
        let fits = name.len() <= 32
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-');
        if !fits {
            return Err(Refusal::validation(format!(
                "Target group name '{name}' can contain at most 32 letters, digits and hyphens"
            )));
        }
        let shown = shown(&name, &mut asked)?;
        let tags = self.tags_of(&mut asked)?;
        asked.done()?;

        if let Some(there) = self.groups.iter().find(|group| group.name == name) {
            if there.shown == shown {
                return Ok(json!({"TargetGroups": [self.shown_group(&there.arn.clone())]}));
            }
            let message = format!("A target group with the same name '{name}' exists, but with different settings");
            return Err(Refusal::new("DuplicateTargetGroupName", 400, message));
        }
        let arn = self.arn(&format!("targetgroup/{name}"));
        self.groups.push(TargetGroup {
            arn: arn.clone(),
            name,
            shown,
            attributes: BTreeMap::new(),
        });
        self.tags.insert(arn.clone(), tags);
        Ok(json!({"TargetGroups": [self.shown_group(&arn)]}))
    }

    pub(super) fn delete_target_group(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let arn = asked.needs("TargetGroupArn")?;
        asked.done()?;
        self.group(&arn)?;
        if self.is_attached(&arn) {
            let message = format!("Target group '{arn}' is currently in use by a listener or a rule");
            return Err(Refusal::new("ResourceInUse", 400, message));
        }
        self.groups.retain(|group| group.arn != arn);
        self.tags.remove(&arn);
        Ok(json!({}))
    }

    pub(super) fn describe_target_groups(&self, mut asked: Members) -> Result<Value, Refusal> {
        let arns = asked.texts("TargetGroupArns")?.unwrap_or_default();
        let names = asked.texts("Names")?.unwrap_or_default();
        let balancer = asked.text("LoadBalancerArn")?;
        let (marker, size) = (asked.text("Marker")?, asked.within("PageSize", 1, 400)?);
        asked.done()?;

        for arn in &arns {
            self.group(arn)?;
        }
        for name in &names {
            if !self.groups.iter().any(|group| group.name == *name) {
                return Err(Refusal::new(
                    "TargetGroupNotFound",
                    400,
                    format!("Target groups '{name}' not found"),
                ));
            }
        }
        if let Some(balancer) = &balancer {
            self.balancer(balancer)?;
        }
        let all: Vec<String> = self
            .groups
            .iter()
            .filter(|group| arns.is_empty() || arns.contains(&group.arn))
            .filter(|group| names.is_empty() || names.contains(&group.name))
            .filter(|group| {
                balancer
                    .as_ref()
                    .is_none_or(|wanted| self.balancers_of(&group.arn).contains(wanted))
            })
            .map(|group| group.arn.clone())
            .collect();
        let page = page_of(&all, String::clone, marker, size)?;
        let shown: Vec<Value> = page.items.iter().map(|arn| self.shown_group(arn)).collect();
        Ok(json!({"TargetGroups": shown, "NextMarker": page.next}))
    }

    pub(super) fn describe_target_group_attributes(&self, mut asked: Members) -> Result<Value, Refusal> {
        let arn = asked.needs("TargetGroupArn")?;
        asked.done()?;
        Ok(json!({"Attributes": shown_attributes(self.group(&arn)?)}))
    }

    pub(super) fn modify_target_group_attributes(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let arn = asked.needs("TargetGroupArn")?;
        let attributes = asked.list("Attributes")?.unwrap_or_default();
        asked.done()?;
        self.group(&arn)?;

        let mut wanted = Vec::new();
        for mut attribute in attributes {
            let (key, value) = (attribute.needs("Key")?, attribute.needs("Value")?);
            attribute.done()?;
            let fits = match key.as_str() {
                DRAIN => value.parse::<u32>().is_ok_and(|seconds| seconds <= 3600),
                "slow_start.duration_seconds" => value.parse::<u32>().is_ok_and(|seconds| seconds <= 900),
                "stickiness.enabled" => value == "true" || value == "false",
                "stickiness.type" | "load_balancing.algorithm.type" => true,
                _ => {
                    let message = format!("Target group attribute key '{key}' is not recognized");
                    return Err(Refusal::new("InvalidConfigurationRequest", 400, message));
                }
            };
            if !fits {
                let message = format!("'{value}' is not valid for the target group attribute '{key}'");
                return Err(Refusal::new("InvalidConfigurationRequest", 400, message));
            }
            wanted.push((key, value));
        }
        let group = self.groups.iter_mut().find(|group| group.arn == arn);
        let group = group.ok_or_else(|| Refusal::new("TargetGroupNotFound", 400, "gone"))?;
        group.attributes.extend(wanted);
        Ok(json!({"Attributes": shown_attributes(group)}))
    }

    fn shown_group(&self, arn: &str) -> Value {
        let Some(group) = self.groups.iter().find(|group| group.arn == arn) else {
            return Value::Null;
        };
        let mut shown = group.shown.clone();
        shown["TargetGroupArn"] = json!(group.arn);
        shown["LoadBalancerArns"] = json!(self.balancers_of(arn));
        shown
    }
}

fn shown(name: &str, asked: &mut Members) -> Result<Value, Refusal> {
    let protocol = asked.one_of("Protocol", &["HTTP", "HTTPS", "TCP", "TLS", "UDP", "TCP_UDP"])?;
    let kind = asked.one_of("TargetType", &["instance", "ip", "lambda", "alb"])?;
    let kind = kind.unwrap_or_else(|| "instance".to_owned());
    let port = asked.within("Port", 1, 65_535)?;
    if kind != "lambda" && (protocol.is_none() || port.is_none()) {
        return Err(Refusal::validation("A protocol and a port must be specified"));
    }
    let matcher = asked
        .nested("Matcher")?
        .map(|mut matcher| matcher.text("HttpCode"))
        .transpose()?
        .flatten();
    Ok(json!({
        "TargetGroupName": name,
        "Protocol": protocol,
        "Port": port,
        "ProtocolVersion": asked.text("ProtocolVersion")?.unwrap_or_else(|| "HTTP1".to_owned()),
        "VpcId": asked.text("VpcId")?,
        "TargetType": kind,
        "HealthCheckProtocol": asked.text("HealthCheckProtocol")?.or(protocol),
        "HealthCheckPort": asked.text("HealthCheckPort")?.unwrap_or_else(|| "traffic-port".to_owned()),
        "HealthCheckEnabled": asked.truth("HealthCheckEnabled")?.unwrap_or(true),
        "HealthCheckPath": asked.text("HealthCheckPath")?.unwrap_or_else(|| "/".to_owned()),
        "HealthCheckIntervalSeconds": asked.within("HealthCheckIntervalSeconds", 5, 300)?.unwrap_or(30),
        "HealthCheckTimeoutSeconds": asked.within("HealthCheckTimeoutSeconds", 2, 120)?.unwrap_or(5),
        "HealthyThresholdCount": asked.within("HealthyThresholdCount", 2, 10)?.unwrap_or(5),
        "UnhealthyThresholdCount": asked.within("UnhealthyThresholdCount", 2, 10)?.unwrap_or(2),
        "Matcher": {"HttpCode": matcher.unwrap_or_else(|| "200".to_owned())},
        "IpAddressType": asked.one_of("IpAddressType", &["ipv4", "ipv6"])?.unwrap_or_else(|| "ipv4".to_owned()),
    }))
}

fn shown_attributes(group: &TargetGroup) -> Vec<Value> {
    let defaults = [
        ("stickiness.enabled", "false"),
        (DRAIN, "300"),
        ("stickiness.type", "lb_cookie"),
        ("slow_start.duration_seconds", "0"),
        ("load_balancing.algorithm.type", "round_robin"),
    ];
    defaults
        .iter()
        .map(|(key, default)| {
            let value = group.attributes.get(*key).map_or(*default, String::as_str);
            json!({"Key": key, "Value": value})
        })
        .collect()
}
