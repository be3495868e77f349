//! Tags of clusters, services, task definitions, task sets and tasks, with AWS's limits.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::aws::members::Members;
use crate::aws::refusal::Refusal;
use crate::ecs::state::State;

/// Tags on one resource.
const TAGS_MAX: usize = 50;

type Tags = BTreeMap<String, String>;

impl State {
    /// The tags given when something is made.
    pub(super) fn tags_given(&self, asked: &mut Members) -> Result<Tags, Refusal> {
        asked.list("tags")?.map_or(Ok(Tags::new()), read)
    }

    pub(super) fn tags_shown(&self, arn: &str) -> Value {
        let tags = self.tags.get(arn).into_iter().flatten();
        tags.map(|(key, value)| json!({"key": key, "value": value})).collect()
    }

    pub(super) fn tag_resource(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let arn = asked.needs("resourceArn")?;
        let tags = asked
            .list("tags")?
            .ok_or_else(|| Refusal::parameter("Tags can not be blank."))?;
        let tags = read(tags)?;
        asked.done()?;
        self.check_resource(&arn, "ResourceNotFoundException")?;
        let known = self.tags.entry(arn).or_default();
        let mut all = known.clone();
        all.extend(tags);
        if all.len() > TAGS_MAX {
            return Err(Refusal::parameter(format!(
                "A resource can have at most {TAGS_MAX} tags."
            )));
        }
        *known = all;
        Ok(json!({}))
    }

    pub(super) fn untag_resource(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let arn = asked.needs("resourceArn")?;
        let keys = asked
            .texts("tagKeys")?
            .ok_or_else(|| Refusal::parameter("TagKeys can not be blank."))?;
        asked.done()?;
        self.check_resource(&arn, "ResourceNotFoundException")?;
        self.tags.entry(arn).or_default().retain(|key, _| !keys.contains(key));
        Ok(json!({}))
    }

    pub(super) fn list_tags_for_resource(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let arn = asked.needs("resourceArn")?;
        asked.done()?;
        // This operation's model has no ResourceNotFoundException.
        self.check_resource(&arn, "InvalidParameterException")?;
        Ok(json!({"tags": self.tags_shown(&arn)}))
    }

    fn check_resource(&self, arn: &str, code: &str) -> Result<(), Refusal> {
        let service = |kind: &str| {
            self.services
                .iter()
                .filter(|service| service.is_active())
                .any(|service| match kind {
                    "service" => service.facts.arn == arn,
                    _ => service.task_sets.iter().any(|set| set.arn == arn),
                })
        };
        let kind = arn
            .splitn(6, ':')
            .nth(5)
            .and_then(|path| path.split('/').next())
            .unwrap_or_default();
        let known = match kind {
            "cluster" => self.clusters.iter().any(|cluster| cluster.arn == arn),
            "service" | "task-set" => service(kind),
            "task-definition" => self.world.definition(arn).is_some(),
            "task" => self.world.tasks.iter().any(|task| task.arn == arn),
            _ => return Err(Refusal::parameter(format!("Invalid resource ARN: {arn}"))),
        };
        if known {
            Ok(())
        } else {
            Err(Refusal::new(code, 400, format!("The specified {kind} is not found.")))
        }
    }
}

fn read(list: Vec<Members>) -> Result<Tags, Refusal> {
    let mut tags = Tags::new();
    for mut tag in list {
        let (key, value) = (tag.needs("key")?, tag.text("value")?.unwrap_or_default());
        tag.done()?;
        let plain = |text: &str| {
            text.chars()
                .all(|letter| letter.is_alphanumeric() || " _.:/=+-@".contains(letter))
        };
        if key.chars().count() > 128 || value.chars().count() > 256 || !plain(&key) || !plain(&value) {
            return Err(Refusal::parameter(format!(
                "The tag '{key}' is too long or has characters that tags may not have."
            )));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Refusal::parameter(format!(
                "The tag key '{key}' has the reserved prefix aws:."
            )));
        }
        if tags.insert(key.clone(), value).is_some() {
            return Err(Refusal::parameter(format!("Duplicate tag keys found: {key}.")));
        }
    }
    if tags.len() > TAGS_MAX {
        return Err(Refusal::parameter(format!(
            "A resource can have at most {TAGS_MAX} tags."
        )));
    }
    Ok(tags)
}
