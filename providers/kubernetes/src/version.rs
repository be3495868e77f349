//! Versions as this cloud knows them: an image as it is written, with what tells its telemetry apart.

use std::collections::BTreeMap;

use meridian_engine::ports::failure::Failure;
use meridian_engine::run::version::Version;
use meridian_workflows::workflow::Release;
use serde_json::Value;

use crate::traffic::Arm;
use crate::workload::Workload;

/// The version that an image is: named by its tag, pinned as written. A digest that pods report is a label, because a name that
/// changes between two looks would be another version.
pub fn of_image(image: &str) -> Version {
    let mut version = Version::named(Release::Image(image.to_owned()).version());
    version.pinned = image.to_owned();
    version.labels.insert("image".to_owned(), image.to_owned());
    if let Some((_, digest)) = image.split_once('@') {
        version.labels.insert("digest".to_owned(), digest.to_owned());
    }
    version
}

/// The version that a release resolves to.
///
/// *Errors*: lasting, where it is no image.
pub fn of_release(release: &Release) -> Result<Version, Failure> {
    match release {
        Release::Image(image) if is_image(image) => Ok(of_image(image)),
        Release::Image(image) => Err(Failure::lasting(format!(
            "`{image}` is no image that Kubernetes could pull"
        ))),
        Release::Package { .. } | Release::TaskDefinition(_) | Release::Flag(_) => Err(Failure::lasting(
            "a kubernetes region releases images, and this release is none",
        )),
    }
}

/// What the API server refuses only after a run has opened.
fn is_image(image: &str) -> bool {
    !image.is_empty()
        && !image.chars().any(|c| c.is_whitespace() || c.is_control())
        && !image.ends_with([':', '@', '/'])
}

/// What tells the telemetry of one arm apart, beside its version.
pub fn with_labels(mut version: Version, namespace: &str, workload: &Workload, arm: &Arm, pods: &[Value]) -> Version {
    let mut labels = BTreeMap::from([
        ("namespace".to_owned(), namespace.to_owned()),
        ("deployment".to_owned(), arm.deployment.clone()),
        ("container".to_owned(), workload.container_name().to_owned()),
    ]);
    if let Some(hash) = &arm.hash {
        labels.insert("podTemplateHash".to_owned(), hash.clone());
    }
    if let Some(digest) = digest(pods, workload.container_name(), &version.pinned) {
        labels.insert("digest".to_owned(), digest);
    }
    version.labels.extend(labels);
    version
}

/// The digest that the pods of this image report, where all that report one agree.
fn digest(pods: &[Value], container: &str, image: &str) -> Option<String> {
    let runs = |pod: &&Value| {
        let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
        containers
            .into_iter()
            .flatten()
            .any(|one| one["name"] == container && one["image"] == image)
    };
    let mut found: Option<&str> = None;
    for pod in pods.iter().filter(runs) {
        let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
        let status = statuses
            .into_iter()
            .flatten()
            .find(|status| status["name"] == container);
        let Some(id) = status
            .and_then(|status| status["imageID"].as_str())
            .filter(|id| !id.is_empty())
        else {
            continue;
        };
        let digest = id.rsplit('@').next().unwrap_or(id);
        if found.is_some_and(|other| other != digest) {
            return None;
        }
        found = Some(digest);
    }
    found.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use meridian_workflows::workflow::Release;
    use serde_json::json;

    use super::{digest, of_image, of_release};

    #[test]
    fn a_version_is_named_by_its_tag_and_pinned_as_written() {
        let version = of_image("registry.example.com:5000/shop/api:v2");
        assert_eq!(
            (version.name.as_str(), version.pinned.as_str()),
            ("v2", "registry.example.com:5000/shop/api:v2")
        );
        assert_eq!(of_image("api@sha256:abc").labels["digest"], "sha256:abc");
    }

    #[test]
    fn what_is_no_image_is_refused_before_anything_opens() {
        for release in [
            Release::Flag("new".into()),
            Release::Image("a b".into()),
            Release::Image("api:".into()),
        ] {
            assert!(of_release(&release).is_err(), "{release:?}");
        }
    }

    #[test]
    fn pods_that_disagree_about_a_digest_say_none() {
        let pod = |id: &str| {
            json!({"spec": {"containers": [{"name": "api", "image": "api:v1"}]},
                   "status": {"containerStatuses": [{"name": "api", "imageID": id}]}})
        };
        let agreed = digest(&[pod("docker.io/api@sha256:1"), pod("")], "api", "api:v1");
        assert_eq!(agreed.as_deref(), Some("sha256:1"));
        assert_eq!(
            digest(&[pod("api@sha256:1"), pod("api@sha256:2")], "api", "api:v1"),
            None
        );
        assert_eq!(digest(&[pod("api@sha256:1")], "api", "api:v2"), None);
    }
}
