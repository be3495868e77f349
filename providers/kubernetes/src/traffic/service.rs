//! Services: which pods they select, and the candidate's own, made after the baseline's.

use std::collections::BTreeMap;

use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Fence;
use serde_json::{Value, json};

use super::object::{create, found, is_ours, keep, member, memory, remove, shortened, unfit};
use super::{ARM_LABEL, Arms, FOUND_MEMORY, Grant, OWNER_LABEL, Written, of_arms};
use crate::api::Namespace;
use crate::api::resource::SERVICES;

/// The API's bound for a Service's name.
const NAME_MAX: usize = 63;

/// What the candidate's Service needs to be allowed.
pub const GRANT: Grant = Grant {
    resource: SERVICES,
    verbs: &["get", "create", "update", "delete"],
};

/// Who has to reach the candidate's Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Proxies in the cluster's network.
    Cluster,
    /// A load balancer that goes through the nodes where the baseline's Service has node ports.
    Nodes,
}

/// The name of the candidate's counterpart of an object.
pub fn counterpart(name: &str, suffix: &str) -> String {
    shortened(name, suffix, NAME_MAX)
}

/// A Service's selector; none where it selects nothing.
pub fn selector(service: &Value) -> Option<BTreeMap<String, String>> {
    let selector = service.get("spec")?.get("selector")?.as_object()?;
    let pairs = selector
        .iter()
        .map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    let pairs: Option<BTreeMap<String, String>> = pairs.collect();
    pairs.filter(|pairs| !pairs.is_empty())
}

/// A Service's selector as it was before it was switched to this workload's candidate; empty where it selects nothing.
pub fn selector_before(service: &Value, workload: &str) -> BTreeMap<String, String> {
    let before = memory(service, FOUND_MEMORY, workload);
    let before = before.and_then(|before| serde_json::from_value(before).ok());
    before.or_else(|| selector(service)).unwrap_or_default()
}

/// Whether pods with these labels are selected.
pub fn selects(service: &Value, labels: &BTreeMap<String, String>) -> bool {
    selector(service).is_some_and(|wanted| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

/// Whether the baseline's Service serves the baseline's pods and no others.
pub async fn check(namespace: &Namespace, arms: &Arms, name: &str) -> Result<Value, Failure> {
    let service = found(namespace, &SERVICES, name).await?;
    let refuse = |why: String| Err(unfit(&SERVICES, name, &why));
    if selector(&service).is_none() {
        return refuse("it has no selector, so it is not known which pods it sends to".to_owned());
    }
    if !selects(&service, &arms.baseline.pods) {
        return refuse(format!(
            "its selector does not match the pods of Deployment `{}`",
            arms.baseline.deployment
        ));
    }
    if selects(&service, &arms.candidate.pods) {
        return refuse("its selector matches the candidate's pods too, so weights would not hold".to_owned());
    }
    Ok(service)
}

/// The candidate's Service as it is made: the ports and manners of the baseline's, with the candidate's pods.
fn copied(baseline: &Value, arms: &Arms, name: &str, reach: Reach) -> Value {
    let from = &baseline["spec"];
    let mut spec = json!({"selector": arms.candidate.labels, "ports": ports(baseline, &Value::Null)});
    for field in [
        "sessionAffinity",
        "sessionAffinityConfig",
        "internalTrafficPolicy",
        "ipFamilyPolicy",
        "publishNotReadyAddresses",
        "trafficDistribution",
    ] {
        if let Some(value) = from.get(field).filter(|value| !value.is_null()) {
            spec[field] = value.clone();
        }
    }
    if from["clusterIP"] == "None" {
        spec["clusterIP"] = json!("None");
    }
    let node_ports = matches!(from["type"].as_str(), Some("NodePort" | "LoadBalancer"));
    spec["type"] = json!(if node_ports && reach == Reach::Nodes {
        "NodePort"
    } else {
        "ClusterIP"
    });
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {OWNER_LABEL: arms.workload, ARM_LABEL: "candidate"}},
        "spec": spec,
    })
}

/// The baseline's ports, with the node ports that the candidate's Service was given.
fn ports(baseline: &Value, candidate: &Value) -> Value {
    let given = candidate["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let copy = |port: &Value| {
        let mut copy = port.clone();
        let same = given
            .iter()
            .find(|one| one["port"] == port["port"] && one["protocol"] == port["protocol"]);
        if let Value::Object(fields) = &mut copy {
            fields.remove("nodePort");
            if let Some(number) = same.and_then(|one| one.get("nodePort")) {
                fields.insert("nodePort".to_owned(), number.clone());
            }
        }
        copy
    };
    Value::Array(
        baseline["spec"]["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .map(copy)
            .collect(),
    )
}

/// Makes the candidate's Service, or keeps its selector and ports true.
///
/// *Errors*: lasting where a Service of that name is somebody else's.
pub async fn ensure(
    namespace: &Namespace,
    arms: &Arms,
    baseline: &str,
    reach: Reach,
    fence: Fence,
) -> Result<Written, Failure> {
    let name = counterpart(baseline, &arms.suffix);
    let stable = found(namespace, &SERVICES, baseline).await?;
    let Some(live) = namespace.get(&SERVICES, &name).await? else {
        let made = copied(&stable, arms, &name, reach);
        return create(namespace, &SERVICES, made, (&arms.workload, fence)).await;
    };
    if !is_ours(&live, &arms.workload) {
        return Err(unfit(
            &SERVICES,
            &name,
            &format!("it exists and was not made here: rename it, or give `candidate.suffix` (label {OWNER_LABEL})"),
        ));
    }
    keep(namespace, &SERVICES, &name, (&arms.workload, fence), |service| {
        let ports = ports(&stable, service);
        let spec = member(service, "spec");
        *member(spec, "ports") = ports;
        *member(spec, "selector") = json!(arms.candidate.labels);
        Ok(())
    })
    .await
}

/// Deletes the candidate's Service.
pub async fn withdraw(namespace: &Namespace, arms: &Arms, baseline: &str, fence: Fence) -> Result<Written, Failure> {
    remove(
        namespace,
        &SERVICES,
        &counterpart(baseline, &arms.suffix),
        (&arms.workload, fence),
    )
    .await
}

/// Deletes every Service that was made here for the candidate: where the route is gone that told which one it is.
pub async fn withdraw_all(namespace: &Namespace, arms: &Arms, fence: Fence) -> Result<Written, Failure> {
    let mut written = Written::Already;
    let ours = of_arms(&arms.workload);
    for service in namespace.list(&SERVICES, &ours).await? {
        let name = service["metadata"]["name"].as_str().unwrap_or_default();
        written = written.and(remove(namespace, &SERVICES, name, (&arms.workload, fence)).await?);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::arms;
    use super::{Reach, copied, counterpart, selects};

    #[test]
    fn the_candidate_gets_the_ports_and_none_of_the_addresses() {
        let stable = json!({"metadata": {"name": "payments", "annotations": {"a": "b"}}, "spec": {
            "type": "LoadBalancer", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "externalIPs": ["1.2.3.4"],
            "sessionAffinity": "None", "selector": {"app": "payments"}, "healthCheckNodePort": 31000,
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http", "nodePort": 30080, "appProtocol": "h2c"}]}});
        let made = copied(&stable, &arms(), "payments-candidate", Reach::Cluster);
        assert_eq!(
            made["spec"],
            json!({"type": "ClusterIP", "sessionAffinity": "None", "selector": {"app": "payments-candidate"},
                "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http", "appProtocol": "h2c"}]})
        );
        assert_eq!(copied(&stable, &arms(), "x", Reach::Nodes)["spec"]["type"], "NodePort");
        assert!(selects(&stable, &arms().baseline.labels) && !selects(&stable, &arms().candidate.labels));
        assert!(
            !selects(&json!({"spec": {}}), &arms().baseline.labels),
            "no selector selects nothing"
        );
    }

    #[test]
    fn long_names_stay_names() {
        assert_eq!(counterpart("payments", "candidate"), "payments-candidate");
        let long = counterpart(&"p".repeat(63), "candidate");
        assert!(long.len() <= 63 && long.ends_with("-candidate"));
    }
}
