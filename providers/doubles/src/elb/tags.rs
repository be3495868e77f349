//! Tags of load balancers, target groups, listeners and rules.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::aws::members::Members;
use crate::aws::refusal::Refusal;
use crate::elb::balancers::Balancers;

/// Tags on one resource, by AWS's quota.
const TAGS_MAX: usize = 50;
/// Resources in one request.
const RESOURCES_MAX: usize = 20;

pub type Tags = BTreeMap<String, String>;

impl Balancers {
    /// The tags given when something is made.
    pub(super) fn tags_of(&self, asked: &mut Members) -> Result<Tags, Refusal> {
        asked.list("Tags")?.map_or(Ok(Tags::new()), read)
    }

    pub(super) fn add_tags(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let arns = asked.texts("ResourceArns")?.unwrap_or_default();
        let tags = read(asked.list("Tags")?.unwrap_or_default())?;
        asked.done()?;
        self.check_resources(&arns)?;
        for arn in &arns {
            let mut all = self.tags.get(arn).cloned().unwrap_or_default();
            all.extend(tags.clone());
            if all.len() > TAGS_MAX {
                return Err(Refusal::new(
                    "TooManyTags",
                    400,
                    format!("'{arn}' would have more than {TAGS_MAX} tags"),
                ));
            }
        }
        for arn in arns {
            self.tags.entry(arn).or_default().extend(tags.clone());
        }
        Ok(json!({}))
    }

    pub(super) fn remove_tags(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let arns = asked.texts("ResourceArns")?.unwrap_or_default();
        let keys = asked.texts("TagKeys")?.unwrap_or_default();
        asked.done()?;
        self.check_resources(&arns)?;
        for arn in arns {
            self.tags.entry(arn).or_default().retain(|key, _| !keys.contains(key));
        }
        Ok(json!({}))
    }

    pub(super) fn describe_tags(&self, mut asked: Members) -> Result<Value, Refusal> {
        let arns = asked.texts("ResourceArns")?.unwrap_or_default();
        asked.done()?;
        self.check_resources(&arns)?;
        let shown: Vec<Value> = arns
            .iter()
            .map(|arn| {
                let tags = self.tags.get(arn).into_iter().flatten();
                let tags: Vec<Value> = tags.map(|(key, value)| json!({"Key": key, "Value": value})).collect();
                json!({"ResourceArn": arn, "Tags": tags})
            })
            .collect();
        Ok(json!({"TagDescriptions": shown}))
    }

    fn check_resources(&self, arns: &[String]) -> Result<(), Refusal> {
        if arns.is_empty() || arns.len() > RESOURCES_MAX {
            return Err(Refusal::validation(format!(
                "1 to {RESOURCES_MAX} resource ARNs must be specified"
            )));
        }
        for arn in arns {
            let known = self.is_group(arn)
                || self.rules.iter().any(|rule| rule.arn == *arn)
                || self.listeners.iter().any(|listener| listener.arn == *arn)
                || self.balancers.iter().any(|balancer| balancer.arn == *arn);
            if !known {
                let code = match arn {
                    arn if arn.contains(":targetgroup/") => "TargetGroupNotFound",
                    arn if arn.contains(":listener-rule/") => "RuleNotFound",
                    arn if arn.contains(":listener/") => "ListenerNotFound",
                    _ => "LoadBalancerNotFound",
                };
                return Err(Refusal::new(code, 400, format!("'{arn}' not found")));
            }
        }
        Ok(())
    }
}

fn read(list: Vec<Members>) -> Result<Tags, Refusal> {
    let mut tags = Tags::new();
    for mut tag in list {
        let (key, value) = (tag.needs("Key")?, tag.text("Value")?.unwrap_or_default());
        tag.done()?;
        if key.chars().count() > 128 || value.chars().count() > 256 || key.starts_with("aws:") {
            return Err(Refusal::validation(format!("The tag '{key}' is too long or reserved")));
        }
        if tags.insert(key.clone(), value).is_some() {
            return Err(Refusal::new(
                "DuplicateTagKeys",
                400,
                format!("The tag key '{key}' is given twice"),
            ));
        }
    }
    Ok(tags)
}
