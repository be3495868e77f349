//! Custom resources: what their definitions' schemas bound, and what Istio's own admission refuses.

use serde_json::{Value, json};

use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{items, text};
use crate::kubernetes::refusal::Cause;

pub(super) fn custom(kind: &Kind, object: &Value) -> Vec<Cause> {
    match kind.kind {
        "HTTPRoute" => http_route(object),
        _ => Vec::new(),
    }
}

fn http_route(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let rules = items(object, "/spec/rules");
    if rules.len() > 16 {
        causes.push(too_many("spec.rules", rules.len(), 16));
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("spec.rules[{index}]");
        let backends = items(rule, "/backendRefs");
        if backends.len() > 16 {
            causes.push(too_many(&format!("{at}.backendRefs"), backends.len(), 16));
        }
        for (place, backend) in backends.iter().enumerate() {
            causes.extend(bounded(
                backend,
                "weight",
                0,
                1_000_000,
                &format!("{at}.backendRefs[{place}]"),
            ));
            causes.extend(bounded(
                backend,
                "port",
                1,
                65535,
                &format!("{at}.backendRefs[{place}]"),
            ));
            if text(backend, "/kind") == "Service" && backend.get("port").is_none() {
                causes.push(Cause::invalid(
                    format!("{at}.backendRefs[{place}]"),
                    &json!("object"),
                    "Must have port for Service reference",
                ));
            }
        }
        for (place, filter) in items(rule, "/filters").iter().enumerate() {
            let at = format!("{at}.filters[{place}]");
            let mirror = &filter["requestMirror"];
            causes.extend(bounded(mirror, "percent", 0, 100, &format!("{at}.requestMirror")));
            if mirror.get("percent").is_some() && mirror.get("fraction").is_some() {
                causes.push(Cause::invalid(
                    format!("{at}.requestMirror"),
                    &json!("object"),
                    "Only one of percent or fraction may be specified in HTTPRequestMirrorFilter",
                ));
            }
        }
    }
    causes
}

fn bounded(object: &Value, field: &str, least: i64, most: i64, at: &str) -> Option<Cause> {
    let value = object.get(field)?.as_i64()?;
    let place = format!("{at}.{field}");
    if value < least {
        let why = format!("{place} in body should be greater than or equal to {least}");
        Some(Cause::invalid(place, &json!(value), &why))
    } else if value > most {
        let why = format!("{place} in body should be less than or equal to {most}");
        Some(Cause::invalid(place, &json!(value), &why))
    } else {
        None
    }
}

fn too_many(field: &str, found: usize, most: usize) -> Cause {
    Cause {
        reason: "FieldValueTooMany",
        message: format!("Too many: {found}: must have at most {most} items"),
        field: field.to_owned(),
    }
}
