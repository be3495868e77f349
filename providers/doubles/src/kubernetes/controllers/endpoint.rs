//! Services' endpoints: the addresses of the pods that each selects, ready ones apart from the others.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{control_of, holds, is_deleting, items, map, name, namespace, place, text, uid};
use crate::kubernetes::world::{Farewell, World};

const SERVICE: &str = "kubernetes.io/service-name";
const BY: &str = "endpointslice.kubernetes.io/managed-by";

pub(super) fn run(world: &mut World) {
    for service in world.objects("Service", "") {
        let selector = map(&service, "/spec/selector");
        if selector.is_empty() || is_deleting(&service) || text(&service, "/spec/type") == "ExternalName" {
            continue;
        }
        let mut pods: Vec<Arc<Value>> = world
            .objects("Pod", namespace(&service))
            .into_iter()
            .filter(|pod| {
                let labels = map(pod, "/metadata/labels");
                selector.iter().all(|(key, value)| labels.get(key) == Some(value))
                    && !text(pod, "/status/podIP").is_empty()
                    && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
            })
            .collect();
        pods.sort_by(|a, b| name(a).cmp(name(b)));
        slice(world, &service, &pods);
        endpoints(world, &service, &pods);
    }
    forget_orphans(world);
}

/// A service's ports as the pods serve them: named target ports are looked up in the first pod.
fn ports(service: &Value, pods: &[Arc<Value>]) -> Vec<Value> {
    items(service, "/spec/ports")
        .iter()
        .map(|port| {
            let number = match &port["targetPort"] {
                Value::String(named) => pods
                    .iter()
                    .flat_map(|pod| items(pod, "/spec/containers"))
                    .flat_map(|container| items(container, "/ports"))
                    .find(|open| text(open, "/name") == named)
                    .map_or_else(|| port["port"].clone(), |open| open["containerPort"].clone()),
                Value::Null => port["port"].clone(),
                number => number.clone(),
            };
            let mut said = json!({"name": text(port, "/name"), "port": number, "protocol": port["protocol"]});
            if let Some(protocol) = port.get("appProtocol") {
                said["appProtocol"] = protocol.clone();
            }
            said
        })
        .collect()
}

fn reference(pod: &Value) -> Value {
    json!({"kind": "Pod", "name": name(pod), "namespace": namespace(pod), "uid": uid(pod)})
}

fn slice(world: &mut World, service: &Value, pods: &[Arc<Value>]) {
    let kind = Kind::named("EndpointSlice");
    let zones = world.objects("Node", "");
    let open = service["spec"]["publishNotReadyAddresses"] == true;
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|pod| {
            let (serving, leaving) = (holds(pod, "Ready"), is_deleting(pod));
            let node = text(pod, "/spec/nodeName");
            let zone = zones.iter().find(|zone| name(zone) == node);
            let zone = zone.map_or("", |node| {
                node["metadata"]["labels"]["topology.kubernetes.io/zone"]
                    .as_str()
                    .unwrap_or_default()
            });
            json!({
                "addresses": [pod["status"]["podIP"]], "nodeName": node, "zone": zone, "targetRef": reference(pod),
                "conditions": {"ready": (serving && !leaving) || open, "serving": serving, "terminating": leaving},
            })
        })
        .collect();
    let ports = json!(ports(service, pods));
    let existing = world
        .objects("EndpointSlice", namespace(service))
        .into_iter()
        .find(|slice| {
            slice["metadata"]["labels"][SERVICE] == name(service)
                && slice["metadata"]["labels"][BY] == "endpointslice-controller.k8s.io"
        });
    match existing {
        Some(slice) if slice["endpoints"] == json!(endpoints) && slice["ports"] == ports => {}
        Some(slice) => world.modify(kind, &slice, |slice| {
            slice["endpoints"] = json!(endpoints);
            slice["ports"] = ports;
        }),
        None => {
            let mut labels = map(service, "/metadata/labels");
            labels.insert(SERVICE.to_owned(), json!(name(service)));
            labels.insert(BY.to_owned(), json!("endpointslice-controller.k8s.io"));
            world.must_create(
                "EndpointSlice",
                namespace(service),
                json!({
                    "metadata": {
                        "generateName": format!("{}-", name(service)), "labels": labels,
                        "ownerReferences": control_of(Kind::named("Service"), service),
                    },
                    "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
                }),
            );
        }
    }
}

fn endpoints(world: &mut World, service: &Value, pods: &[Arc<Value>]) {
    let kind = Kind::named("Endpoints");
    let list = |ready: bool| -> Vec<Value> {
        pods.iter()
            .filter(|pod| !is_deleting(pod) && holds(pod, "Ready") == ready)
            .map(|pod| {
                json!({"ip": pod["status"]["podIP"], "nodeName": pod["spec"]["nodeName"], "targetRef": reference(pod)})
            })
            .collect()
    };
    let (ready, not_ready) = (list(true), list(false));
    let mut subset = json!({"ports": ports(service, pods)});
    for port in subset["ports"].as_array_mut().into_iter().flatten() {
        if let Some(port) = port.as_object_mut().filter(|port| port["name"] == "") {
            port.remove("name");
        }
    }
    if !ready.is_empty() {
        subset["addresses"] = json!(ready);
    }
    if !not_ready.is_empty() {
        subset["notReadyAddresses"] = json!(not_ready);
    }
    let subsets = if ready.is_empty() && not_ready.is_empty() {
        None
    } else {
        Some(json!([subset]))
    };
    match world.get(kind, namespace(service), name(service)).cloned() {
        Some(same) if same.get("subsets") == subsets.as_ref() => {}
        Some(other) => world.modify(kind, &other, |endpoints| {
            if let Some(map) = endpoints.as_object_mut() {
                map.remove("subsets");
                map.extend(subsets.map(|subsets| ("subsets".to_owned(), subsets)));
            }
        }),
        None => {
            let mut labels = map(service, "/metadata/labels");
            labels.insert(
                "endpoints.kubernetes.io/managed-by".to_owned(),
                json!("endpoint-controller"),
            );
            let mut made = json!({"metadata": {"name": name(service), "labels": labels}});
            if let Some(subsets) = subsets {
                made["subsets"] = subsets;
            }
            world.must_create("Endpoints", namespace(service), made);
        }
    }
}

/// Endpoints go with the service of their name.
fn forget_orphans(world: &mut World) {
    let kind = Kind::named("Endpoints");
    for endpoints in world.objects("Endpoints", "") {
        let ours = endpoints["metadata"]["labels"]["endpoints.kubernetes.io/managed-by"] == "endpoint-controller";
        if ours
            && world
                .get(Kind::named("Service"), namespace(&endpoints), name(&endpoints))
                .is_none()
        {
            let _ = world.delete(kind, &place(kind, &endpoints), &Farewell::default());
        }
    }
}
