//! Versions as this cloud knows them: an image as it is written, with what tells its telemetry apart.

use std::collections::{BTreeMap, BTreeSet};

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

/// Whether both are one image as it is written: an admission webhook may have pinned one of them by its digest since.
pub fn is_same_image(one: &str, other: &str) -> bool {
    let pinned = |long: &str, short: &str| {
        long.strip_prefix(short)
            .is_some_and(|rest| rest.starts_with("@sha256:") && !short.contains('@'))
    };
    one == other || pinned(one, other) || pinned(other, one)
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
    let mut digests = digests(pods, workload.container_name(), &version.pinned);
    if digests.len() == 1
        && let Some(digest) = digests.pop_first()
    {
        labels.insert("digest".to_owned(), digest.to_owned());
    }
    version.labels.extend(labels);
    version
}

/// The content that pods of this image run, each once: several where the tag moved while they were pulled.
pub fn digests<'a>(pods: &'a [Value], container: &str, image: &str) -> BTreeSet<&'a str> {
    let runs = |pod: &&Value| {
        let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
        containers.into_iter().flatten().any(|one| {
            one["name"] == container && one["image"].as_str().is_some_and(|found| is_same_image(found, image))
        })
    };
    let id = |pod: &'a Value| {
        let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
        statuses
            .into_iter()
            .flatten()
            .find(|status| status["name"] == container)?["imageID"]
            .as_str()
    };
    // An ID without a repository names a node's own unpacking, which is not the same everywhere.
    let pulled = pods.iter().filter(runs).filter_map(id);
    pulled.filter_map(|id| Some(id.rsplit_once('@')?.1)).collect()
}

#[cfg(test)]
mod tests {
    use meridian_workflows::workflow::Release;
    use serde_json::json;

    use super::{digests, is_same_image, of_image, of_release};

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
    fn an_image_that_was_pinned_by_its_digest_is_the_same() {
        assert!(is_same_image("shop:v2", "shop:v2@sha256:aa") && is_same_image("shop:v2@sha256:aa", "shop:v2"));
        for other in ["shop:v20", "shop:v2@sha256:bb", "shop:v20@sha256:aa", "shop@sha256:aa"] {
            assert!(!is_same_image("shop:v2@sha256:aa", other), "{other}");
        }
    }

    #[test]
    fn pods_tell_the_content_that_they_pulled_each_once() {
        let pod = |id: &str| {
            json!({"spec": {"containers": [{"name": "api", "image": "api:v1"}]},
                   "status": {"containerStatuses": [{"name": "api", "imageID": id}]}})
        };
        let told = |ids: &[&str], image: &str| {
            let pods: Vec<_> = ids.iter().map(|id| pod(id)).collect();
            digests(&pods, "api", image)
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            told(&["docker.io/api@sha256:1", "", "api@sha256:1"], "api:v1"),
            ["sha256:1"]
        );
        assert_eq!(
            told(&["api@sha256:2", "api@sha256:1"], "api:v1"),
            ["sha256:1", "sha256:2"]
        );
        assert_eq!(told(&["sha256:unpacked"], "api:v1"), [""; 0]);
        assert_eq!(told(&["api@sha256:1"], "api:v2"), [""; 0]);
    }
}
