//! Pods that run and do not pass their probes.

use k8s_openapi::api::core::v1::{Container, Pod, Probe};

use super::Prospect;
use super::evidence::{Evidence, at, message};
use super::finding::{Cause, Finding};
use super::pod::{condition, containers, is_ready};
use super::quote;

/// Which probe a running pod does not pass. Only time tells a slow start from one that never ends: the deadline of the
/// Deployment judges, not this.
pub fn finding(pod: &Pod, evidence: &Evidence) -> Option<Finding> {
    if is_ready(pod) {
        return None;
    }
    if let Some(gate) = gate(pod) {
        return Some(gate);
    }
    let containers = containers(pod);
    let running = |status: &&super::pod::Container<'_>| {
        status
            .status
            .state
            .as_ref()
            .is_some_and(|state| state.running.is_some())
    };
    let unready = containers
        .iter()
        .filter(running)
        .find(|container| !container.status.ready)?;
    let failed = ["Startup", "Readiness", "Liveness"].into_iter().filter_map(|kind| {
        let prefix = format!("{kind} probe ");
        evidence
            .latest(pod, &["Unhealthy"], move |said| said.starts_with(&prefix))
            .map(|event| (kind, event))
    });
    let spec = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.containers.iter().find(|one| one.name == unready.status.name));
    let Some((kind, event)) = failed.max_by_key(|(_, event)| at(event)) else {
        let has_probe = spec.is_some_and(|spec| spec.readiness_probe.is_some() || spec.startup_probe.is_some());
        return has_probe.then(|| {
            let what = format!("{} runs and has not passed its readiness probe yet", unready.words());
            Finding::in_pod(Cause::NotReady, Prospect::Moving, what).because(spec.map(asked).unwrap_or_default())
        });
    };
    let what = format!("{} does not pass its {} probe", unready.words(), kind.to_lowercase());
    let said = message(event);
    let said = said.split_once("probe failed: ").map_or(said, |(_, said)| said);
    let asked = spec
        .map(asked)
        .filter(|asked| !asked.is_empty())
        .map_or(String::new(), |asked| format!(" ({asked})"));
    let detail = format!("`{}`{asked}", quote::application(said));
    Some(Finding::in_pod(Cause::Probe, Prospect::Moving, what).because(detail))
}

/// A readiness gate that another controller (a load balancer's, a mesh's) has not opened.
fn gate(pod: &Pod) -> Option<Finding> {
    let ready = condition(pod, "Ready").filter(|ready| ready.reason.as_deref() == Some("ReadinessGatesNotReady"))?;
    let said = quote::platform(ready.message.as_deref().unwrap_or_default());
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_ref());
    let mut names = gates.into_iter().flatten().map(|gate| gate.condition_type.as_str());
    let closed = names.find(|name| condition(pod, name).is_none_or(|gate| gate.status != "True"));
    let what = match closed {
        Some(name) => format!("readiness gate `{}` is not open", quote::platform(name)),
        None => "a readiness gate is not open".to_owned(),
    };
    Some(Finding::in_pod(Cause::Probe, Prospect::Moving, what).because(said))
}

/// What the readiness probe asks, so that a person can ask the same.
fn asked(container: &Container) -> String {
    container.readiness_probe.as_ref().map(question).unwrap_or_default()
}

fn question(probe: &Probe) -> String {
    if let Some(http) = &probe.http_get {
        let port = match &http.port {
            k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(port) => port.to_string(),
            k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::String(name) => name.clone(),
        };
        return quote::application(&format!("GET {} on port {port}", http.path.as_deref().unwrap_or("/")));
    }
    if probe.tcp_socket.is_some() {
        return "a TCP connection".to_owned();
    }
    if probe.grpc.is_some() {
        return "a gRPC health check".to_owned();
    }
    if probe.exec.is_some() {
        "a command".to_owned()
    } else {
        String::new()
    }
}
