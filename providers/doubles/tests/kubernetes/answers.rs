//! The same requests that were once sent to a real v1.36 API server, in the same order, with what it answered.
//!
//! `requests.json` has one request a line. What differs from one server to the next (identities, versions, instants,
//! addresses) is a star in the answers; a request marked `loosely` has answers whose messages only Go writes.

use std::collections::BTreeSet;

use meridian_doubles::kubernetes::Cluster;
use serde_json::Value;

const VARYING: [&str; 8] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "time",
    "clusterIP",
    "deletionTimestamp",
    "lastUpdateTime",
    "lastTransitionTime",
];

fn starred(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| {
                let value = match value {
                    Value::String(_) if VARYING.contains(&key.as_str()) => Value::from("*"),
                    Value::Array(_) if key == "clusterIPs" => serde_json::json!(["*"]),
                    // The real server lists the causes of a conflict in no order.
                    Value::Array(causes) if key == "causes" => {
                        let mut causes: Vec<Value> = causes.iter().map(starred).collect();
                        causes.sort_by_key(|cause| cause["field"].to_string());
                        Value::Array(causes)
                    }
                    other => starred(other),
                };
                (key.clone(), value)
            })
            .collect(),
        Value::Array(items) => items.iter().map(starred).collect(),
        Value::String(text) => Value::from(without_identities(text)),
        other => other.clone(),
    }
}

/// Puts a star where a text has a UUID.
fn without_identities(text: &str) -> String {
    let is_uuid = |part: &str| {
        part.len() == 36
            && part.char_indices().all(|(at, letter)| match at {
                8 | 13 | 18 | 23 => letter == '-',
                _ => letter.is_ascii_digit() || ('a'..='f').contains(&letter),
            })
    };
    let (mut out, mut at) = (String::new(), 0);
    while at < text.len() {
        if text.get(at..at + 36).is_some_and(is_uuid) {
            out.push('*');
            at += 36;
        } else {
            let letter = text[at..].chars().next().unwrap();
            out.push(letter);
            at += letter.len_utf8();
        }
    }
    out
}

/// Every place where two answers differ.
fn differences(path: &str, real: &Value, ours: &Value, out: &mut Vec<String>) {
    match (real, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let (a, b) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                differences(&format!("{path}/{key}"), a, b, out);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}/{at}"), a, b, out);
            }
        }
        (a, b) if a == b => {}
        (a, b) => out.push(format!("    {path}\n      real {a}\n      ours {b}")),
    }
}

#[test]
fn every_request_is_answered_as_the_real_server_answers_it() {
    let requests: Vec<Value> = serde_json::from_str(include_str!("requests.json")).unwrap();
    assert!(requests.len() > 100);
    // The real server's controllers were stopped while it was asked; here nothing moves while no time passes.
    let cluster = Cluster::new("answers");
    let mut told = String::new();
    for request in &requests {
        let text = |key: &str| request[key].as_str().unwrap_or_default();
        let (code, answer) = cluster.request(
            text("method"),
            text("path"),
            text("media"),
            request.get("body").unwrap_or(&Value::Null),
        );
        let (real, mut ours) = (starred(&request["answer"]), starred(&answer));
        if request["loosely"] == true {
            ours.as_object_mut().unwrap().retain(|key, _| real.get(key).is_some());
        }
        let mut found = Vec::new();
        differences("", &real, &ours, &mut found);
        if request["code"] != code || !found.is_empty() {
            let message = if code < 300 {
                ""
            } else {
                answer["message"].as_str().unwrap_or_default()
            };
            told.push_str(&format!(
                "{}: {} here {code} {message}\n",
                text("name"),
                request["code"]
            ));
            told.push_str(&found.join("\n"));
            told.push('\n');
        }
    }
    assert!(told.is_empty(), "\n{told}");
}
