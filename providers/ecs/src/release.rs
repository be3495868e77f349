//! From a release to a task definition, and from a task definition to a version.

use std::collections::BTreeMap;

use meridian_engine::ports::failure::Failure;
use meridian_engine::run::version::Version;
use meridian_workflows::workflow::Release;

use crate::aws::Account;
use crate::aws::definitions::Definition;
use crate::settings::Settings;

/// The task definition that a release means, registered where it was not there yet.
///
/// *Errors*: lasting ones for what cannot be released to ECS.
pub async fn resolve(
    account: &Account,
    settings: &Settings,
    release: &Release,
    serving: &Definition,
    container: Option<&str>,
) -> Result<Version, Failure> {
    let definition = match release {
        Release::Image(image) => {
            let template = match settings.task_definition.as_deref() {
                Some(template) => &account.definition(template).await?,
                None => serving,
            };
            let container = choose(template, settings.container.as_deref().or(container))?;
            account.with_image(&template.arn, container, image).await?
        }
        Release::TaskDefinition(name) => account.definition(name).await?,
        Release::Package { .. } => {
            return Err(Failure::lasting(
                "ecs releases an image or a task definition, not a package",
            ));
        }
        Release::Flag(_) => {
            return Err(Failure::lasting(
                "ecs releases an image or a task definition, not a flag",
            ));
        }
    };
    if !definition.is_active {
        return Err(Failure::lasting(format!(
            "the task definition {} is no longer active",
            definition.arn
        )));
    }
    Ok(version(&definition, release, container))
}

/// The container that a new image goes into.
fn choose<'a>(definition: &'a Definition, named: Option<&'a str>) -> Result<&'a str, Failure> {
    match (named, definition.images.as_slice()) {
        (Some(name), _) => Ok(name),
        (None, [(only, _)]) => Ok(only),
        (None, many) => {
            let names: Vec<&str> = many.iter().map(|(name, _)| name.as_str()).collect();
            let names = names.join("`, `");
            Err(Failure::lasting(format!(
                "the task definition {} has several containers (`{names}`): name one as `container`",
                definition.arn
            )))
        }
    }
}

/// How people and telemetry know a task definition, in the terms of this release: by its image's tag or as `family:revision`.
pub fn version(definition: &Definition, release: &Release, container: Option<&str>) -> Version {
    let called = format!("{}:{}", definition.family, definition.revision);
    let image = definition
        .images
        .iter()
        .find(|(name, _)| container.is_none_or(|container| container == name))
        .or(definition.images.first());
    let name = match (release, image) {
        (Release::Image(_), Some((_, image))) => Release::Image(image.clone()).version().to_owned(),
        _ => called.clone(),
    };
    let labels = BTreeMap::from([
        ("taskDefinition".to_owned(), called),
        ("revision".to_owned(), definition.revision.to_string()),
    ]);
    Version {
        name,
        pinned: definition.arn.clone(),
        labels,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use meridian_workflows::workflow::Release;

    use super::{choose, version};
    use crate::aws::definitions::Definition;

    fn definition(images: &[(&str, &str)]) -> Definition {
        Definition {
            arn: "arn:aws:ecs:eu-west-1:1:task-definition/shop:12".into(),
            family: "shop".into(),
            revision: 12,
            images: images
                .iter()
                .map(|(name, image)| ((*name).into(), (*image).into()))
                .collect(),
            is_active: true,
        }
    }

    #[test]
    fn a_version_is_called_in_the_terms_of_the_release() {
        let two = definition(&[("sidecar", "proxy:9"), ("app", "registry.example.com/shop:v2")]);
        let image = Release::Image("registry.example.com/shop:v3".into());
        let by_image = version(&two, &image, Some("app"));
        assert_eq!(
            (by_image.name.as_str(), by_image.labels["revision"].as_str()),
            ("v2", "12")
        );
        let by_definition = version(&two, &Release::TaskDefinition("shop:13".into()), Some("app"));
        assert_eq!(
            (by_definition.name.as_str(), by_definition.pinned.as_str()),
            ("shop:12", two.arn.as_str())
        );
    }

    #[test]
    fn of_several_containers_one_has_to_be_named() {
        assert_eq!(choose(&definition(&[("app", "a:1")]), None).unwrap(), "app");
        let two = definition(&[("app", "a:1"), ("sidecar", "b:1")]);
        assert!(choose(&two, None).unwrap_err().what.contains("`app`, `sidecar`"));
        assert_eq!(choose(&two, Some("app")).unwrap(), "app");
    }
}
