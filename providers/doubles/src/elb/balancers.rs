//! The state of Elastic Load Balancing in one region, and its operations by name.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::aws::members::Members;
use crate::aws::paging::{Page, page};
use crate::aws::refusal::Refusal;
use crate::elb::health::Target;
use crate::elb::listener::{Listener, LoadBalancer};
use crate::elb::rule::Rule;
use crate::elb::tags::Tags;
use crate::elb::target_group::TargetGroup;

/// The service model's namespace, in every answer.
pub const NAMESPACE: &str = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/";
/// The service model's version, in every request.
pub const VERSION: &str = "2015-12-01";

/// Load balancers, listeners, rules and target groups of one region.
#[derive(Debug)]
pub struct Balancers {
    pub(super) region: String,
    pub(super) balancers: Vec<LoadBalancer>,
    pub(super) listeners: Vec<Listener>,
    pub(super) rules: Vec<Rule>,
    pub(super) groups: Vec<TargetGroup>,
    pub(super) tags: BTreeMap<String, Tags>,
    serial: u64,
}

impl Balancers {
    pub fn new(region: &str) -> Balancers {
        Balancers {
            region: region.to_owned(),
            balancers: Vec::new(),
            listeners: Vec::new(),
            rules: Vec::new(),
            groups: Vec::new(),
            tags: BTreeMap::new(),
            serial: 0,
        }
    }

    /// Carries out one operation. `targets` answers who is registered in a target group.
    pub fn call(
        &mut self,
        operation: &str,
        asked: Members,
        targets: impl Fn(&str) -> Vec<Target>,
    ) -> Result<Value, Refusal> {
        match operation {
            "CreateLoadBalancer" => self.create_load_balancer(asked),
            "DescribeLoadBalancers" => self.describe_load_balancers(asked),
            "CreateListener" => self.create_listener(asked),
            "DescribeListeners" => self.describe_listeners(asked),
            "ModifyListener" => self.modify_listener(asked),
            "CreateRule" => self.create_rule(asked),
            "DescribeRules" => self.describe_rules(asked),
            "ModifyRule" => self.modify_rule(asked),
            "DeleteRule" => self.delete_rule(asked),
            "CreateTargetGroup" => self.create_target_group(asked),
            "DeleteTargetGroup" => self.delete_target_group(asked),
            "DescribeTargetGroups" => self.describe_target_groups(asked),
            "DescribeTargetGroupAttributes" => self.describe_target_group_attributes(asked),
            "ModifyTargetGroupAttributes" => self.modify_target_group_attributes(asked),
            "DescribeTargetHealth" => {
                let group = asked.clone().text("TargetGroupArn")?.unwrap_or_default();
                self.describe_target_health(asked, &targets(&group))
            }
            "AddTags" => self.add_tags(asked),
            "RemoveTags" => self.remove_tags(asked),
            "DescribeTags" => self.describe_tags(asked),
            other => Err(Refusal::new(
                "InvalidAction",
                400,
                format!("Could not find operation {other} for version {VERSION}"),
            )),
        }
    }

    pub fn group(&self, arn: &str) -> Result<&TargetGroup, Refusal> {
        self.groups.iter().find(|group| group.arn == arn).ok_or_else(|| {
            Refusal::new(
                "TargetGroupNotFound",
                400,
                format!("One or more target groups not found: '{arn}'"),
            )
        })
    }

    pub fn is_group(&self, arn: &str) -> bool {
        self.groups.iter().any(|group| group.arn == arn)
    }

    /// Whether some listener or rule names this target group, with whatever weight: only then are its targets checked.
    pub fn is_attached(&self, group: &str) -> bool {
        self.rules.iter().any(|rule| forwards_to(rule, group))
    }

    pub(super) fn balancers_of(&self, group: &str) -> Vec<String> {
        let mut arns: Vec<String> = self
            .rules
            .iter()
            .filter(|rule| forwards_to(rule, group))
            .filter_map(|rule| self.listeners.iter().find(|listener| listener.arn == rule.listener))
            .map(|listener| listener.balancer.clone())
            .collect();
        arns.sort();
        arns.dedup();
        arns
    }

    pub(super) fn balancer(&self, arn: &str) -> Result<&LoadBalancer, Refusal> {
        self.balancers
            .iter()
            .find(|balancer| balancer.arn == arn)
            .ok_or_else(|| {
                Refusal::new(
                    "LoadBalancerNotFound",
                    400,
                    format!("Load balancers '[{arn}]' not found"),
                )
            })
    }

    /// A new ARN for a resource below this path.
    pub(super) fn arn(&mut self, path: &str) -> String {
        self.serial += 1;
        let region = &self.region;
        let serial = self.serial.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("arn:aws:elasticloadbalancing:{region}:123456789012:{path}/{serial:016x}")
    }
}

fn forwards_to(rule: &Rule, group: &str) -> bool {
    rule.actions
        .iter()
        .flat_map(|action| action.groups())
        .any(|weighted| weighted.group == group)
}

/// A page by `Marker` and `PageSize`; without a size AWS gives up to 400.
pub(super) fn page_of<T: Clone>(
    all: &[T],
    key: impl Fn(&T) -> String,
    marker: Option<String>,
    size: Option<i64>,
) -> Result<Page<T>, Refusal> {
    let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(400);
    page(all, key, marker.as_deref(), size).map_err(|_| Refusal::validation("Invalid marker"))
}
