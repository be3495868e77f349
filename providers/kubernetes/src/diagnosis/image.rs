//! Images that cannot be pulled: missing, refused, unreachable, or for another machine.

use k8s_openapi::api::core::v1::Pod;

use super::Prospect;
use super::evidence::{Evidence, message, times};
use super::finding::{Cause, Finding, stuck_if};
use super::pod::Container;
use super::quote;

/// Why an image is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Missing,
    Refused,
    Expired,
    /// Registries that hide what exists from those who may not see it.
    MissingOrRefused,
    Limited,
    Certificate,
    Unreachable,
    Platform,
    NodeFull,
    Unknown,
}

/// What keeps a container's image from being there.
pub fn finding(container: &Container<'_>, pod: &Pod, evidence: &Evidence) -> Option<Finding> {
    let (reason, said) = container.waits()?;
    let image = image(container, pod);
    match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "RegistryUnavailable"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "SignatureValidationFailed" => Some(pull(reason, said, &image, pod, evidence)),
        "InvalidImageName" | "ErrInvalidImageName" => {
            let what = format!("image `{image}` is no valid image name");
            Some(Finding::in_pod(Cause::Image, Prospect::Stuck, what).because(quote::platform(said)))
        }
        "ContainerCreating" => {
            evidence
                .latest(pod, &["Pulling", "Pulled"], |said| said.contains(image.as_str()))
                .filter(|newest| newest.reason.as_deref() == Some("Pulling"))?;
            Some(Finding::in_pod(
                Cause::Pulling,
                Prospect::Moving,
                format!("image `{image}` is being pulled"),
            ))
        }
        _ => None,
    }
}

fn pull(reason: &str, said: &str, image: &str, pod: &Pod, evidence: &Evidence) -> Finding {
    let failed = evidence.latest(pod, &["Failed"], |said| said.contains("ull image"));
    // The back-off of older kubelets names no cause: the event of the last attempt does.
    let cause = match (failed, fault(said)) {
        (Some(event), Fault::Unknown) => message(event),
        _ => said,
    };
    let fault = if reason == "ErrImageNeverPull" {
        Fault::Missing
    } else {
        fault(cause)
    };
    let tries = failed
        .map_or(1, times)
        .max(if reason == "ImagePullBackOff" { 2 } else { 1 });
    let prospect = match fault {
        Fault::Missing
        | Fault::Refused
        | Fault::Expired
        | Fault::MissingOrRefused
        | Fault::Certificate
        | Fault::Platform => stuck_if(tries > 1),
        Fault::Limited | Fault::Unreachable | Fault::NodeFull | Fault::Unknown => Prospect::Moving,
    };
    let why = match fault {
        Fault::Missing if reason == "ErrImageNeverPull" => {
            "it is not on the node and its pull policy is Never".to_owned()
        }
        Fault::Missing => "it does not exist in the registry".to_owned(),
        Fault::Refused => format!("the registry refuses it: {}", credentials(pod, evidence)),
        Fault::Expired => format!(
            "the registry says that the credentials have expired: {}",
            credentials(pod, evidence)
        ),
        Fault::MissingOrRefused => format!("it does not exist, or may not be read: {}", credentials(pod, evidence)),
        Fault::Limited => "the registry allows no more pulls for now".to_owned(),
        Fault::Certificate => "the node does not trust the registry's certificate".to_owned(),
        Fault::Unreachable => "the registry cannot be reached".to_owned(),
        Fault::Platform => "it is not built for the node's processor".to_owned(),
        Fault::NodeFull => "the node's disk is full".to_owned(),
        Fault::Unknown => "the pull fails".to_owned(),
    };
    let cause = quote::platform(cause);
    let quoted = if cause.is_empty() {
        String::new()
    } else {
        format!(" (`{cause}`)")
    };
    Finding::in_pod(Cause::Image, prospect, format!("image `{image}` cannot be pulled"))
        .because(format!("{why}{quoted}"))
}

/// The image as the pod asks for it: the status may carry another spelling.
fn image(container: &Container<'_>, pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let listed = spec.map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let found = listed
        .into_iter()
        .flatten()
        .find(|one| one.name == container.status.name);
    let asked = found.and_then(|one| one.image.clone());
    quote::platform(&asked.unwrap_or_else(|| container.status.image.clone()))
}

/// What is known about the pod's pull secrets.
fn credentials(pod: &Pod, evidence: &Evidence) -> String {
    if let Some(event) = evidence.latest(pod, &["FailedToRetrieveImagePullSecret"], |_| true) {
        let names = message(event)
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'));
        let names = names.map_or("of the pod", |(names, _)| names);
        return format!("pull secret {} does not exist", quote::platform(names));
    }
    let secrets = pod.spec.as_ref().and_then(|spec| spec.image_pull_secrets.as_ref());
    let names: Vec<String> = secrets
        .into_iter()
        .flatten()
        .map(|secret| format!("`{}`", secret.name))
        .collect();
    if names.is_empty() {
        "the pod names no pull secret".to_owned()
    } else {
        format!(
            "pull secret {} is wrong, has expired or does not reach it",
            names.join(", ")
        )
    }
}

/// What a message of containerd, CRI-O or Docker is about.
fn fault(said: &str) -> Fault {
    let said = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["x509", "certificate"]) {
        Fault::Certificate
    } else if has(&[
        "no such host",
        "i/o timeout",
        "connection refused",
        "connection reset",
        "tls handshake timeout",
        "no route to host",
        "network is unreachable",
        "server misbehaving",
        "deadline exceeded",
        "unexpected eof",
        "bad gateway",
        "service unavailable",
        "gateway timeout",
        "internal server error",
        "http: server gave http response to https client",
        "pull qps exceeded",
    ]) {
        Fault::Unreachable
    } else if has(&["toomanyrequests", "too many requests", "rate limit"]) {
        Fault::Limited
    } else if has(&["no match for platform", "no matching manifest", "exec format error"]) {
        Fault::Platform
    } else if has(&["no space left on device"]) {
        Fault::NodeFull
    } else if has(&["expired"]) {
        Fault::Expired
    } else if has(&["repository does not exist or may require", "insufficient_scope"]) {
        Fault::MissingOrRefused
    } else if has(&[
        "unauthorized",
        "authentication required",
        "access denied",
        "denied:",
        "forbidden",
        "no basic auth credentials",
        "invalid username/password",
    ]) {
        Fault::Refused
    } else if has(&[
        "not found",
        "manifest unknown",
        "name unknown",
        "no such image",
        "does not exist",
    ]) {
        Fault::Missing
    } else {
        Fault::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, fault};

    #[test]
    fn the_words_of_container_runtimes_are_told_apart() {
        for (said, is) in [
            (
                r#"rpc error: code = NotFound desc = failed to pull and unpack image "r.example.com/app:v9": failed to resolve reference "r.example.com/app:v9": r.example.com/app:v9: not found"#,
                Fault::Missing,
            ),
            (
                "Error response from daemon: manifest for r/app:v9 not found: manifest unknown: manifest unknown",
                Fault::Missing,
            ),
            (
                r#"failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://r/token: 401 Unauthorized"#,
                Fault::Refused,
            ),
            (
                r#"pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed"#,
                Fault::MissingOrRefused,
            ),
            (
                "denied: Your authorization token has expired. Reauthenticate and try again.",
                Fault::Expired,
            ),
            (
                r#"failed to do request: Head "https://r/v2/app/manifests/v9": dial tcp: lookup r on 10.96.0.10:53: no such host"#,
                Fault::Unreachable,
            ),
            (
                r#"failed to do request: Head "https://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused"#,
                Fault::Unreachable,
            ),
            (
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
                Fault::Certificate,
            ),
            (
                "toomanyrequests: You have reached your pull rate limit.",
                Fault::Limited,
            ),
            (r#"no match for platform in manifest: not found"#, Fault::Platform),
            (
                "write /var/lib/containerd/tmp: no space left on device",
                Fault::NodeFull,
            ),
            (r#"Back-off pulling image "r/app:v9""#, Fault::Unknown),
        ] {
            assert_eq!(fault(said), is, "{said}");
        }
    }
}
