//! Services, ingresses and endpoint slices.

use serde_json::{Value, json};

use crate::kubernetes::object::{int, items, text};
use crate::kubernetes::refusal::Cause;
use crate::kubernetes::validate::name;

pub(super) fn service(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = Vec::new();
    let kind = text(spec, "/type");
    let known = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    if !known.contains(&kind) {
        causes.push(Cause::unsupported("spec.type", &json!(kind), &known));
    }
    let ports = items(spec, "/ports");
    if ports.is_empty() && kind != "ExternalName" && text(spec, "/clusterIP") != "None" {
        causes.push(Cause::required("spec.ports", ""));
    }
    for (index, port) in ports.iter().enumerate() {
        let at = format!("spec.ports[{index}]");
        let number = int(port, "/port");
        if !(1..=65535).contains(&number) {
            causes.push(Cause::invalid(
                format!("{at}.port"),
                &json!(number),
                "must be between 1 and 65535, inclusive",
            ));
        }
        if ports.len() > 1 && text(port, "/name").is_empty() {
            causes.push(Cause::required(format!("{at}.name"), ""));
        }
        let twin = |other: &Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        if ports[..index].iter().any(twin) {
            causes.push(Cause::duplicate(
                at,
                &json!({"port": number, "protocol": port["protocol"]}),
            ));
        }
    }
    causes.extend(name::labels(&spec["selector"], "spec.selector"));
    causes
}

pub(super) fn ingress(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = Vec::new();
    if items(spec, "/rules").is_empty() && spec.get("defaultBackend").is_none() {
        causes.push(Cause::invalid(
            "spec",
            &Value::Null,
            "either `defaultBackend` or `rules` must be specified",
        ));
    }
    for (index, rule) in items(spec, "/rules").iter().enumerate() {
        let Some(http) = rule.get("http") else { continue };
        if items(http, "/paths").is_empty() {
            causes.push(Cause::required(format!("spec.rules[{index}].http.paths"), ""));
        }
        for (at, path) in items(http, "/paths").iter().enumerate() {
            let place = format!("spec.rules[{index}].http.paths[{at}]");
            match text(path, "/pathType") {
                "" => causes.push(Cause::required(
                    format!("{place}.pathType"),
                    "pathType must be specified",
                )),
                "Exact" | "Prefix" if !text(path, "/path").starts_with('/') => {
                    causes.push(Cause::invalid(
                        format!("{place}.path"),
                        &path["path"],
                        "must be an absolute path",
                    ));
                }
                "Exact" | "Prefix" | "ImplementationSpecific" => {}
                other => causes.push(Cause::unsupported(
                    format!("{place}.pathType"),
                    &json!(other),
                    &["Exact", "ImplementationSpecific", "Prefix"],
                )),
            }
            causes.extend(backend(&path["backend"], &format!("{place}.backend")));
        }
    }
    if let Some(default) = spec.get("defaultBackend") {
        causes.extend(backend(default, "spec.defaultBackend"));
    }
    causes
}

fn backend(backend: &Value, at: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let Some(service) = backend.get("service") else {
        if backend.get("resource").is_none() {
            causes.push(Cause::required(at, "cannot set both resource and service backends"));
        }
        return causes;
    };
    if text(service, "/name").is_empty() {
        causes.push(Cause::required(format!("{at}.service.name"), ""));
    }
    let port = &service["port"];
    if text(port, "/name").is_empty() && !(1..=65535).contains(&int(port, "/number")) {
        causes.push(Cause::required(
            format!("{at}.service.port"),
            "port name or number is required",
        ));
    }
    causes
}

pub(super) fn endpoint_slice(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let kind = text(object, "/addressType");
    if !matches!(kind, "IPv4" | "IPv6" | "FQDN") {
        causes.push(Cause::unsupported(
            "addressType",
            &json!(kind),
            &["FQDN", "IPv4", "IPv6"],
        ));
    }
    for (index, endpoint) in items(object, "/endpoints").iter().enumerate() {
        if items(endpoint, "/addresses").is_empty() {
            causes.push(Cause::required(
                format!("endpoints[{index}].addresses"),
                "must contain at least 1 address",
            ));
        }
    }
    causes
}
