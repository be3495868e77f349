//! What the server writes into an object where its author was silent.

use serde_json::{Map, Value, json};

use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{items, text};

/// Fills an object's silent fields, and drops empty maps and lists of its metadata.
pub(crate) fn fill(kind: &Kind, object: &mut Value) {
    tidy_metadata(&mut object["metadata"]);
    match kind.kind {
        "Deployment" => deployment(object),
        "ReplicaSet" => {
            default(&mut object["spec"], "replicas", json!(1));
            with_spec(object);
            template(&mut object["spec"]["template"]);
        }
        "Pod" => pod(object),
        "Service" => service(object),
        "Secret" => secret(object),
        "Namespace" => {
            default(&mut object["spec"], "finalizers", json!(["kubernetes"]));
            default(&mut object["status"], "phase", json!("Active"));
            let name = object["metadata"]["name"].clone();
            if !object["metadata"]["labels"].is_object() {
                object["metadata"]["labels"] = json!({});
            }
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
        }
        "HorizontalPodAutoscaler" => {
            default(&mut object["spec"], "minReplicas", json!(1));
            let cpu = json!([{
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
            }]);
            default(&mut object["spec"], "metrics", cpu);
        }
        "EndpointSlice" => {
            for port in each(&mut object["ports"]) {
                default(port, "name", json!(""));
                default(port, "protocol", json!("TCP"));
            }
        }
        "HTTPRoute" => http_route(object),
        _ => {}
    }
    if let (Some(status), false) = (bare(kind).get("status"), kind.kind == "Namespace") {
        default(object, "status", status.clone());
    }
    if let Some(map) = object.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
}

/// Keeps what was allocated at creation where an update does not mention it.
pub(crate) fn carry(kind: &Kind, old: &Value, new: &mut Value) {
    let fields: &[&str] = match kind.kind {
        "Service" if text(new, "/spec/type") != "ExternalName" => {
            &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]
        }
        "Pod" => &[
            "nodeName",
            "serviceAccountName",
            "serviceAccount",
            "tolerations",
            "priority",
            "preemptionPolicy",
        ],
        _ => &[],
    };
    for field in fields {
        if let (Some(value), None) = (old["spec"].get(*field), new["spec"].get(*field)) {
            new["spec"][*field] = value.clone();
        }
    }
}

/// What an object of the kind is before anything is written into it; ownership of a new object is told against this.
pub(crate) fn bare(kind: &Kind) -> Value {
    let template = json!({"metadata": {}, "spec": {"containers": null}});
    match kind.kind {
        "Deployment" => {
            json!({"metadata": {}, "spec": {"selector": null, "strategy": {}, "template": template}, "status": {}})
        }
        "ReplicaSet" => {
            json!({"metadata": {}, "spec": {"selector": null, "template": {"metadata": {}}}, "status": {"replicas": 0}})
        }
        "Pod" => json!({"metadata": {}, "spec": {"containers": null}, "status": {}}),
        "HorizontalPodAutoscaler" => {
            json!({"metadata": {}, "spec": {"scaleTargetRef": {}}, "status": {"desiredReplicas": 0}})
        }
        "Namespace" => json!({"metadata": {}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}),
        "Event" => json!({"metadata": {}, "involvedObject": {}, "source": {}}),
        "EndpointSlice" => json!({"metadata": {}, "endpoints": null, "ports": null}),
        "Service" | "Ingress" => json!({"metadata": {}, "spec": {}, "status": {"loadBalancer": {}}}),
        "PodDisruptionBudget" => json!({"metadata": {}, "spec": {}, "status": {
            "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
        }}),
        "CustomResourceDefinition" | "IngressClass" => json!({"metadata": {}, "spec": {}}),
        _ if kind.custom => json!({"metadata": {}}),
        "Secret" | "ConfigMap" | "ServiceAccount" | "Endpoints" => json!({"metadata": {}}),
        _ => json!({"metadata": {}, "spec": {}, "status": {}}),
    }
}

/// Sets a field where it is not there.
fn default(at: &mut Value, key: &str, value: Value) {
    if !at.is_object() {
        *at = json!({});
    }
    if at.get(key).is_none_or(Value::is_null) {
        at[key] = value;
    }
}

fn each(list: &mut Value) -> impl Iterator<Item = &mut Value> {
    list.as_array_mut().into_iter().flatten()
}

/// A part that is there, to be filled; nothing where the author left it out.
fn part<'a>(at: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    at.get_mut(key).filter(|part| part.is_object())
}

fn tidy_metadata(metadata: &mut Value) {
    if let Some(map) = metadata.as_object_mut() {
        map.retain(|key, value| match value {
            Value::Null => false,
            Value::Object(map) => !map.is_empty(),
            Value::Array(items) => key == "managedFields" || !items.is_empty(),
            Value::String(text) => !text.is_empty(),
            _ => true,
        });
    }
}

fn deployment(object: &mut Value) {
    with_spec(object);
    let spec = &mut object["spec"];
    default(spec, "replicas", json!(1));
    default(spec, "revisionHistoryLimit", json!(10));
    default(spec, "progressDeadlineSeconds", json!(600));
    default(spec, "strategy", json!({}));
    default(&mut spec["strategy"], "type", json!("RollingUpdate"));
    if spec["strategy"]["type"] == "RollingUpdate" {
        default(&mut spec["strategy"], "rollingUpdate", json!({}));
        default(&mut spec["strategy"]["rollingUpdate"], "maxUnavailable", json!("25%"));
        default(&mut spec["strategy"]["rollingUpdate"], "maxSurge", json!("25%"));
    }
    template(&mut spec["template"]);
}

/// An object without a spec gets an empty one, which validation then refuses field by field.
fn with_spec(object: &mut Value) {
    if !object["spec"].is_object() {
        object["spec"] = json!({});
    }
}

fn template(template: &mut Value) {
    if !template.is_object() {
        *template = json!({});
    }
    default(template, "metadata", json!({}));
    tidy_metadata(&mut template["metadata"]);
    default(template, "spec", json!({}));
    pod_spec(&mut template["spec"]);
}

fn pod(object: &mut Value) {
    default(object, "spec", json!({}));
    let spec = &mut object["spec"];
    pod_spec(spec);
    default(spec, "enableServiceLinks", json!(true));
    for container in each(&mut spec["containers"]) {
        let limits = container
            .pointer("/resources/limits")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        for (name, limit) in limits {
            default(&mut container["resources"], "requests", json!({}));
            default(&mut container["resources"]["requests"], &name, limit);
        }
    }
}

fn pod_spec(spec: &mut Value) {
    default(spec, "restartPolicy", json!("Always"));
    default(spec, "terminationGracePeriodSeconds", json!(30));
    default(spec, "dnsPolicy", json!("ClusterFirst"));
    default(spec, "securityContext", json!({}));
    default(spec, "schedulerName", json!("default-scheduler"));
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        default(spec, "serviceAccount", account);
    }
    for list in ["containers", "initContainers"] {
        if let Some(containers) = spec.get_mut(list) {
            each(containers).for_each(container);
        }
    }
    if let Some(volumes) = spec.get_mut("volumes") {
        for volume in each(volumes) {
            for source in ["secret", "configMap", "projected", "downwardAPI"] {
                if let Some(source) = part(volume, source) {
                    default(source, "defaultMode", json!(420));
                }
            }
        }
    }
}

fn container(container: &mut Value) {
    default(container, "terminationMessagePath", json!("/dev/termination-log"));
    default(container, "terminationMessagePolicy", json!("File"));
    default(container, "resources", json!({}));
    let image = text(container, "/image");
    let name = image.rsplit('/').next().unwrap_or_default();
    let latest = !image.contains('@') && (!name.contains(':') || name.ends_with(":latest"));
    default(
        container,
        "imagePullPolicy",
        json!(if latest { "Always" } else { "IfNotPresent" }),
    );
    if let Some(ports) = container.get_mut("ports") {
        each(ports).for_each(|port| default(port, "protocol", json!("TCP")));
    }
    if let Some(env) = container.get_mut("env") {
        for variable in each(env) {
            if let Some(field) = variable
                .pointer_mut("/valueFrom/fieldRef")
                .filter(|field| field.is_object())
            {
                default(field, "apiVersion", json!("v1"));
            }
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = part(container, probe) {
            default(probe, "timeoutSeconds", json!(1));
            default(probe, "periodSeconds", json!(10));
            default(probe, "successThreshold", json!(1));
            default(probe, "failureThreshold", json!(3));
            http_get(probe);
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(hook) = part(container, "lifecycle").and_then(|lifecycle| part(lifecycle, hook)) {
            http_get(hook);
        }
    }
}

fn http_get(handler: &mut Value) {
    if let Some(get) = part(handler, "httpGet") {
        default(get, "path", json!("/"));
        default(get, "scheme", json!("HTTP"));
    }
}

fn service(object: &mut Value) {
    default(object, "spec", json!({}));
    let spec = &mut object["spec"];
    default(spec, "type", json!("ClusterIP"));
    default(spec, "sessionAffinity", json!("None"));
    if spec["type"] != "ExternalName" {
        default(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    if let Some(ports) = spec.get_mut("ports") {
        for port in each(ports) {
            default(port, "protocol", json!("TCP"));
            let number = port["port"].clone();
            default(port, "targetPort", number);
        }
    }
}

fn secret(object: &mut Value) {
    use base64::Engine as _;
    default(object, "type", json!("Opaque"));
    let plain: Map<String, Value> = object
        .as_object_mut()
        .and_then(|map| map.remove("stringData"))
        .and_then(|plain| plain.as_object().cloned())
        .unwrap_or_default();
    for (key, value) in plain {
        let coded = base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or_default());
        default(object, "data", json!({}));
        object["data"][key] = json!(coded);
    }
}

fn http_route(object: &mut Value) {
    let spec = &mut object["spec"];
    if let Some(parents) = spec.get_mut("parentRefs") {
        for parent in each(parents) {
            default(parent, "group", json!("gateway.networking.k8s.io"));
            default(parent, "kind", json!("Gateway"));
        }
    }
    if spec.is_object() && items(spec, "/rules").is_empty() {
        spec["rules"] = json!([{}]);
    }
    let Some(rules) = spec.get_mut("rules") else { return };
    for rule in each(rules) {
        default(rule, "matches", json!([{}]));
        for wanted in each(&mut rule["matches"]) {
            default(wanted, "path", json!({}));
            default(&mut wanted["path"], "type", json!("PathPrefix"));
            default(&mut wanted["path"], "value", json!("/"));
            for list in ["headers", "queryParams"] {
                if let Some(list) = wanted.get_mut(list) {
                    each(list).for_each(|header| default(header, "type", json!("Exact")));
                }
            }
        }
        if let Some(backends) = rule.get_mut("backendRefs") {
            for backend in each(backends) {
                default(backend, "group", json!(""));
                default(backend, "kind", json!("Service"));
                default(backend, "weight", json!(1));
            }
        }
        if let Some(filters) = rule.get_mut("filters") {
            for filter in each(filters) {
                if let Some(backend) = filter
                    .pointer_mut("/requestMirror/backendRef")
                    .filter(|at| at.is_object())
                {
                    default(backend, "group", json!(""));
                    default(backend, "kind", json!("Service"));
                }
                if let Some(fraction) = filter
                    .pointer_mut("/requestMirror/fraction")
                    .filter(|at| at.is_object())
                {
                    default(fraction, "denominator", json!(100));
                }
            }
        }
    }
}
