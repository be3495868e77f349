//! List items that stand twice in a pod template. Whoever creates a Deployment may write them, and the last one counts; a
//! server-side apply, by which the copy is made, is refused for them for ever, in words that look like a fault of the server.

use serde_json::{Map, Value};

/// Takes out what another item of the same key overrides anyway.
pub fn drop_from(template: &mut Value) {
    let Some(spec) = template.get_mut("spec") else {
        return;
    };
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            keep_last(container.get_mut("env"), &by_name);
            join(container.get_mut("ports"), &by_port);
        }
    }
    keep_last(spec.get_mut("imagePullSecrets"), &by_name);
    join(spec.get_mut("hostAliases"), &|alias: &Value| alias["ip"].to_string());
}

/// Why a template cannot be copied as it is, with the place; none where it can.
pub fn refusal(template: &Value) -> Option<String> {
    let containers = ["initContainers", "containers"].map(|list| template.pointer(&format!("/spec/{list}")));
    let containers = containers.into_iter().flatten().filter_map(Value::as_array).flatten();
    containers.into_iter().find_map(|container| {
        let name = container["name"].as_str().unwrap_or_default();
        variable(container)
            .map(|variable| {
                format!(
                    "the container `{name}` sets the variable `{variable}` twice and uses the first in between, and the copy can \
                     have it once: give the first another name"
                )
            })
            .or_else(|| {
                port(container).map(|port| {
                    format!("the container `{name}` has the port {port} twice, and the copy can have it once: write it once")
                })
            })
    })
}

/// A variable whose first value is used by what stands behind it: without it, another value would come out.
fn variable(container: &Value) -> Option<&str> {
    let env = container["env"].as_array()?;
    env.iter().enumerate().find_map(|(at, first)| {
        let name = first["name"].as_str()?;
        let last = env.iter().rposition(|other| other["name"] == first["name"])?;
        let used = format!("$({name})");
        let uses = |other: &Value| other["value"].as_str().is_some_and(|value| value.contains(&used));
        let between = env.get(at + 1..=last).unwrap_or_default();
        between.iter().any(uses).then_some(name)
    })
}

/// A port that stands there twice and differently.
fn port(container: &Value) -> Option<String> {
    let ports = container["ports"].as_array()?;
    ports.iter().enumerate().find_map(|(at, one)| {
        let others = ports.get(at + 1..).unwrap_or_default();
        let differs = |other: &&Value| by_port(other) == by_port(one) && joined(one, other).is_none();
        others.iter().find(differs)?;
        Some(by_port(one))
    })
}

fn by_name(item: &Value) -> String {
    item["name"].to_string()
}

fn by_port(port: &Value) -> String {
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    format!("{}/{protocol}", port["containerPort"])
}

fn keep_last(list: Option<&mut Value>, key: &dyn Fn(&Value) -> String) {
    let Some(Value::Array(items)) = list else { return };
    let keys: Vec<String> = items.iter().map(key).collect();
    let mut at = 0;
    items.retain(|_| {
        at += 1;
        keys.iter().rposition(|other| keys.get(at - 1) == Some(other)) == Some(at - 1)
    });
}

/// Items of one key become one with the fields of all.
fn join(list: Option<&mut Value>, key: &dyn Fn(&Value) -> String) {
    let Some(Value::Array(items)) = list else { return };
    let mut kept: Vec<Value> = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        match kept.iter_mut().find(|other| key(other) == key(&item)) {
            Some(first) => *first = joined(first, &item).unwrap_or(item),
            None => kept.push(item),
        }
    }
    *items = kept;
}

/// Two maps as one; none where they say different things of one field. Lists are one behind the other.
fn joined(one: &Value, other: &Value) -> Option<Value> {
    let mut all: Map<String, Value> = one.as_object()?.clone();
    for (field, value) in other.as_object()? {
        match all.get_mut(field) {
            None => {
                all.insert(field.clone(), value.clone());
            }
            Some(known) if known == value => {}
            Some(Value::Array(known)) => {
                let more = value.as_array()?.iter().filter(|item| !known.contains(item));
                let more: Vec<Value> = more.cloned().collect();
                known.extend(more);
            }
            Some(_) => return None,
        }
    }
    Some(Value::Object(all))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{drop_from, refusal};

    fn template(env: Value, ports: Value) -> Value {
        json!({"spec": {
            "imagePullSecrets": [{"name": "a"}, {"name": "b"}, {"name": "a"}],
            "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}, {"ip": "10.0.0.1", "hostnames": ["b", "a"]}],
            "containers": [{"name": "web", "env": env, "ports": ports}]}})
    }

    #[test]
    fn what_stands_twice_stands_once_as_it_counted() {
        let env = json!([{"name": "A", "value": "1"}, {"name": "B", "value": "$(C)"}, {"name": "A", "value": "2"}]);
        let ports = json!([{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP", "name": "http"}]);
        let mut template = template(env, ports);
        assert_eq!(refusal(&template), None);
        drop_from(&mut template);
        let spec = &template["spec"];
        let container = &spec["containers"][0];
        assert_eq!(
            container["env"],
            json!([{"name": "B", "value": "$(C)"}, {"name": "A", "value": "2"}])
        );
        assert_eq!(
            container["ports"],
            json!([{"containerPort": 80, "protocol": "TCP", "name": "http"}, {"containerPort": 80, "protocol": "UDP"}])
        );
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "b"}, {"name": "a"}]));
        assert_eq!(
            spec["hostAliases"],
            json!([{"ip": "10.0.0.1", "hostnames": ["a", "b"]}])
        );
        let once = template.clone();
        drop_from(&mut template);
        assert_eq!(template, once);
    }

    #[test]
    fn what_would_come_out_otherwise_is_refused_with_its_place() {
        let path = json!([{"name": "PATH", "value": "/bin"}, {"name": "PATH", "value": "/opt:$(PATH)"}]);
        let why = refusal(&template(path, json!([]))).unwrap();
        assert!(why.contains("`web` sets the variable `PATH` twice"), "{why}");
        let two = json!([{"containerPort": 80, "name": "http"}, {"containerPort": 80, "name": "metrics"}]);
        let why = refusal(&template(json!([]), two)).unwrap();
        assert!(why.contains("`web` has the port 80/TCP twice"), "{why}");
    }
}
