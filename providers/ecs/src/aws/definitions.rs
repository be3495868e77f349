//! Task definitions: reading one, putting an image into it, and finding the revision that already says the same.

use aws_sdk_ecs::config::retry::RetryConfig;
use aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionInput;
use aws_sdk_ecs::types::{
    ContainerDefinition, SortOrder, Tag, TaskDefinition, TaskDefinitionField, TaskDefinitionStatus,
};
use meridian_engine::ports::failure::Failure;

use super::failure::{Kind, Refusal};
use super::{Account, failure, text};

/// How many of a family's newest revisions are compared before a new one is registered.
const COMPARED_MAX: i32 = 10;
/// Marks revisions that were registered here.
const TAG: &str = "meridian/candidate";
/// Tags that begin so are AWS's own, and nobody else may give them.
const RESERVED: &str = "aws:";
/// Tags on one resource.
const TAGS_MAX: usize = 50;

/// A task definition, as far as anybody else has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    pub arn: String,
    pub family: String,
    pub revision: u32,
    /// Containers and their images.
    pub images: Vec<(String, String)>,
    pub is_active: bool,
}

/// A task definition and the tags that people have given it, sorted.
struct Described {
    sdk: TaskDefinition,
    tags: Vec<Tag>,
}

impl Account {
    /// Reads a task definition by its ARN, its family or `family:revision`.
    pub async fn definition(&self, name: &str) -> Result<Definition, Failure> {
        Ok(definition(&self.describe(name).await?.sdk))
    }

    /// The revision that is like this one with another image in one container: found if there is one, else registered.
    ///
    /// *Guarantees*: asked again, the answer is the same as long as the revision stays active; two who ask at the same instant
    /// may register one revision each, with the same content.
    pub async fn with_image(&self, template: &str, container: &str, image: &str) -> Result<Definition, Failure> {
        let template = self.describe(template).await?;
        let mut wanted = registration(&template)?;
        let containers = wanted.container_definitions.as_mut();
        let found = containers.and_then(|all| all.iter_mut().find(|one| one.name() == Some(container)));
        let found = found.ok_or_else(|| {
            Failure::lasting(format!(
                "the task definition {} has no container `{container}`",
                text(template.sdk.task_definition_arn())
            ))
        })?;
        found.image = Some(image.to_owned());
        if registration(&template)? == wanted && template.sdk.status() == Some(&TaskDefinitionStatus::Active) {
            return Ok(definition(&template.sdk));
        }
        if let Some(same) = self.same(&wanted).await? {
            return Ok(definition(&same.sdk));
        }
        self.register(wanted).await
    }

    async fn describe(&self, name: &str) -> Result<Described, Failure> {
        let call = self.ecs.describe_task_definition().task_definition(name);
        let answer = call.include(TaskDefinitionField::Tags).send().await;
        let answer = answer.map_err(|error| {
            let refusal = failure::of("ecs:DescribeTaskDefinition", &error);
            match refusal.kind {
                // ECS says only that it is unable to describe it.
                Kind::Invalid | Kind::Missing => Failure::lasting(format!("there is no task definition `{name}`")),
                _ => refusal.failure,
            }
        })?;
        let sdk = answer
            .task_definition
            .ok_or_else(|| Failure::transient(format!("AWS describes nothing for the task definition `{name}`")))?;
        let is_theirs = |tag: &Tag| tag.key().is_some_and(|key| key != TAG && !key.starts_with(RESERVED));
        let mut tags: Vec<Tag> = answer.tags.unwrap_or_default().into_iter().filter(is_theirs).collect();
        tags.sort_by(|one, other| one.key().cmp(&other.key()));
        Ok(Described { sdk, tags })
    }

    async fn same(&self, wanted: &RegisterTaskDefinitionInput) -> Result<Option<Described>, Failure> {
        let listed = self
            .ecs
            .list_task_definitions()
            .set_family_prefix(wanted.family.clone())
            .status(TaskDefinitionStatus::Active)
            .sort(SortOrder::Desc)
            .max_results(COMPARED_MAX)
            .send()
            .await
            .map_err(|error| failure::of("ecs:ListTaskDefinitions", &error))?;
        for arn in listed.task_definition_arns() {
            let found = self.describe(arn).await?;
            if found.sdk.family == wanted.family && registration(&found)? == *wanted {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn register(&self, wanted: RegisterTaskDefinitionInput) -> Result<Definition, Failure> {
        // One try: a second one after a lost answer would make a second revision. The next call finds the first.
        let once = aws_sdk_ecs::config::Builder::new().retry_config(RetryConfig::disabled());
        let mut tags = wanted.tags.unwrap_or_default();
        // Where there is room for one more.
        if tags.len() < TAGS_MAX {
            tags.push(Tag::builder().key(TAG).value("true").build());
        }
        let call = self
            .ecs
            .register_task_definition()
            .set_family(wanted.family)
            .set_task_role_arn(wanted.task_role_arn)
            .set_execution_role_arn(wanted.execution_role_arn)
            .set_network_mode(wanted.network_mode)
            .set_container_definitions(wanted.container_definitions)
            .set_volumes(wanted.volumes)
            .set_placement_constraints(wanted.placement_constraints)
            .set_requires_compatibilities(wanted.requires_compatibilities)
            .set_cpu(wanted.cpu)
            .set_memory(wanted.memory)
            .set_pid_mode(wanted.pid_mode)
            .set_ipc_mode(wanted.ipc_mode)
            .set_proxy_configuration(wanted.proxy_configuration)
            .set_ephemeral_storage(wanted.ephemeral_storage)
            .set_runtime_platform(wanted.runtime_platform)
            .set_enable_fault_injection(wanted.enable_fault_injection)
            .set_tags(Some(tags))
            .customize()
            .config_override(once);
        let refused = |refusal: Refusal| refusal.failure;
        let answer = call
            .send()
            .await
            .map_err(|error| refused(failure::of("ecs:RegisterTaskDefinition", &error)))?;
        let made = answer.task_definition.as_ref().map(definition);
        made.ok_or_else(|| Failure::transient("AWS registered a task definition and did not say which"))
    }
}

fn definition(sdk: &TaskDefinition) -> Definition {
    let image = |container: &ContainerDefinition| (text(container.name()), text(container.image()));
    Definition {
        arn: text(sdk.task_definition_arn()),
        family: text(sdk.family()),
        revision: super::count(sdk.revision()),
        images: sdk.container_definitions().iter().map(image).collect(),
        is_active: sdk.status() == Some(&TaskDefinitionStatus::Active),
    }
}

/// What has to be said to register a definition like this one. Empty lists and missing ones mean the same.
fn registration(described: &Described) -> Result<RegisterTaskDefinitionInput, Failure> {
    let Described { sdk, tags } = described;
    let filled = |list: &Option<Vec<_>>| list.clone().filter(|list: &Vec<_>| !list.is_empty());
    RegisterTaskDefinitionInput::builder()
        .set_family(sdk.family.clone())
        .set_task_role_arn(sdk.task_role_arn.clone())
        .set_execution_role_arn(sdk.execution_role_arn.clone())
        .set_network_mode(sdk.network_mode.clone())
        .set_container_definitions(sdk.container_definitions.clone())
        .set_volumes(sdk.volumes.clone().filter(|volumes| !volumes.is_empty()))
        .set_placement_constraints(
            sdk.placement_constraints
                .clone()
                .filter(|constraints| !constraints.is_empty()),
        )
        .set_requires_compatibilities(filled(&sdk.requires_compatibilities))
        .set_cpu(sdk.cpu.clone())
        .set_memory(sdk.memory.clone())
        .set_pid_mode(sdk.pid_mode.clone())
        .set_ipc_mode(sdk.ipc_mode.clone())
        .set_proxy_configuration(sdk.proxy_configuration.clone())
        .set_ephemeral_storage(sdk.ephemeral_storage.clone())
        .set_runtime_platform(sdk.runtime_platform.clone())
        .set_enable_fault_injection(sdk.enable_fault_injection.filter(|enabled| *enabled))
        .set_tags(Some(tags.clone()).filter(|tags| !tags.is_empty()))
        .build()
        .map_err(|error| Failure::lasting(format!("the task definition cannot be copied: {error}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use aws_sdk_ecs::types::{ContainerDefinition, TaskDefinition};

    use super::{Described, registration};

    #[test]
    fn revisions_with_the_same_content_are_the_same() {
        let with = |image: &str, revision| {
            let container = ContainerDefinition::builder().name("app").image(image).build();
            let sdk = TaskDefinition::builder()
                .family("shop")
                .container_definitions(container)
                .revision(revision)
                .build();
            Described { sdk, tags: Vec::new() }
        };
        let (one, two, other) = (with("shop:v1", 1), with("shop:v1", 2), with("shop:v2", 3));
        assert_eq!(registration(&one).unwrap(), registration(&two).unwrap());
        assert_ne!(registration(&one).unwrap(), registration(&other).unwrap());
    }
}
