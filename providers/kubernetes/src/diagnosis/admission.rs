//! Pods that the API server does not even create: quota, limits, security policies, webhooks, service accounts.

use k8s_openapi::api::core::v1::ResourceQuota;

use super::Prospect;
use super::evidence::{Evidence, at, message};
use super::finding::{Cause, Finding};
use super::quote;

/// Why pods are refused, where they are.
pub fn findings(evidence: &Evidence) -> Option<Finding> {
    let said = refusal(evidence)?;
    let (prospect, what) = judged(said, evidence);
    Some(Finding::in_deployment(Cause::Admission, prospect, what).because(format!("`{}`", quote::platform(said))))
}

/// Whether a quota refuses pods, so that its numbers are worth reading.
pub fn is_over_quota(evidence: &Evidence) -> bool {
    refusal(evidence).is_some_and(|said| said.contains("exceeded quota"))
}

/// The API server's words: the ReplicaSet's condition is the newest state, events are what it was.
fn refusal(evidence: &Evidence) -> Option<&str> {
    let set = evidence.replica_set.as_ref();
    let conditions = set
        .and_then(|set| set.status.as_ref())
        .and_then(|status| status.conditions.as_ref());
    let of_set = conditions
        .into_iter()
        .flatten()
        .find(|one| one.type_.as_deref() == Some("ReplicaFailure") && one.status.as_deref() == Some("True"));
    let conditions = evidence
        .deployment
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let of_deployment = conditions
        .into_iter()
        .flatten()
        .find(|one| one.type_.as_deref() == Some("ReplicaFailure") && one.status.as_deref() == Some("True"));
    let standing = of_set.map(|one| (one.reason.as_deref(), one.message.as_deref()));
    let standing = standing.or_else(|| of_deployment.map(|one| (one.reason.as_deref(), one.message.as_deref())));
    match standing {
        Some((Some("FailedCreate"), said)) => said,
        Some(_) => None,
        None if evidence.pods.len() < evidence.wanted() => {
            let (uid, name) = set.map(|set| (set.metadata.uid.as_deref(), set.metadata.name.as_deref()))?;
            let failed = evidence
                .about(uid, name)
                .filter(|event| event.reason.as_deref() == Some("FailedCreate"));
            failed.max_by_key(|event| at(event)).map(message)
        }
        None => None,
    }
}

/// What the words mean. A refusal by rule stays one however often it is asked; a webhook that cannot be called may come back.
fn judged(said: &str, evidence: &Evidence) -> (Prospect, String) {
    let named = |before: &str| said.split_once(before).map(|(_, rest)| rest);
    if let Some(rest) = named("exceeded quota: ") {
        let name = rest.split(',').next().unwrap_or(rest).trim();
        let quota = evidence
            .quotas
            .iter()
            .find(|quota| quota.metadata.name.as_deref() == Some(name));
        let used = quota
            .map(used)
            .filter(|used| !used.is_empty())
            .map_or(String::new(), |used| format!(" ({used})"));
        return (
            Prospect::Stuck,
            format!("pods are refused: quota `{}` is used up{used}", quote::platform(name)),
        );
    }
    if let Some(rest) = named("failed calling webhook ") {
        let what = format!(
            "pods are refused: admission webhook `{}` cannot be called",
            quoted(rest)
        );
        return (Prospect::Moving, what);
    }
    if let Some(rest) = named("admission webhook ").filter(|_| said.contains("denied the request")) {
        return (
            Prospect::Stuck,
            format!("pods are refused: admission webhook `{}` denies them", quoted(rest)),
        );
    }
    if said.contains("ValidatingAdmissionPolicy") {
        return (Prospect::Stuck, "pods are refused by an admission policy".to_owned());
    }
    if let Some(rest) = named("violates PodSecurity ") {
        return (
            Prospect::Stuck,
            format!("pods are refused: they violate pod security level `{}`", quoted(rest)),
        );
    }
    if said.contains("service account") || said.contains("serviceaccount") {
        return (
            Prospect::Stuck,
            "pods are refused: their service account does not exist".to_owned(),
        );
    }
    if said.contains("failed quota: ") {
        return (
            Prospect::Stuck,
            "pods are refused: a quota demands limits or requests that they do not state".to_owned(),
        );
    }
    if said.contains("usage per Container") || said.contains("usage per Pod") || said.contains("limit to request ratio")
    {
        return (
            Prospect::Stuck,
            "pods are refused: they break a LimitRange of the namespace".to_owned(),
        );
    }
    if said.contains("is forbidden") || said.contains("is invalid") {
        return (Prospect::Stuck, "pods are refused by the API server".to_owned());
    }
    (Prospect::Moving, "pods cannot be created".to_owned())
}

fn quoted(rest: &str) -> String {
    quote::platform(rest.split('"').nth(1).unwrap_or("(unnamed)"))
}

/// A quota's full resources, as in "requests.cpu 4 of 4".
fn used(quota: &ResourceQuota) -> String {
    let status = quota.status.as_ref();
    let used = status.and_then(|status| status.used.as_ref());
    let hard = status.and_then(|status| status.hard.as_ref());
    let (Some(used), Some(hard)) = (used, hard) else {
        return String::new();
    };
    let pairs = hard
        .iter()
        .filter_map(|(name, hard)| used.get(name).map(|used| format!("{name} {} of {}", used.0, hard.0)));
    quote::platform(&pairs.collect::<Vec<_>>().join(", "))
}
