//! Who owns which fields: `metadata.managedFields`, kept by every write and asked by server-side apply.

use serde_json::{Value, json};

use crate::kubernetes::object::{items, text};
use crate::kubernetes::refusal::{Cause, Refusal, causes_json};
use crate::kubernetes::schema::fields::{Set, changes, leaves, spoken};
use crate::kubernetes::schema::{Shape, merge};

/// Who writes, and through which part of the object.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) manager: String,
    /// The API version that the request speaks.
    pub(crate) api_version: String,
    /// Empty for the object itself.
    pub(crate) subresource: &'static str,
    /// The instant of the write, as the API writes it.
    pub(crate) time: String,
}

/// One entry of `managedFields`.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    manager: String,
    operation: String,
    api_version: String,
    subresource: String,
    time: String,
    fields: Set,
}

impl Entry {
    fn is_of(&self, writer: &Writer, operation: &str) -> bool {
        self.manager == writer.manager
            && self.operation == operation
            && self.api_version == writer.api_version
            && self.subresource == writer.subresource
    }
}

fn entries(object: &Value) -> Vec<Entry> {
    items(object, "/metadata/managedFields")
        .iter()
        .map(|entry| Entry {
            manager: text(entry, "/manager").to_owned(),
            operation: text(entry, "/operation").to_owned(),
            api_version: text(entry, "/apiVersion").to_owned(),
            subresource: text(entry, "/subresource").to_owned(),
            time: text(entry, "/time").to_owned(),
            fields: Set::parse(&entry["fieldsV1"]),
        })
        .collect()
}

/// Writes the entries into the object: applies first, then by time and name; owners of nothing are left out.
fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|a, b| {
        (&a.operation, &a.time, &a.manager, &a.api_version, &a.subresource).cmp(&(
            &b.operation,
            &b.time,
            &b.manager,
            &b.api_version,
            &b.subresource,
        ))
    });
    let list: Vec<Value> = entries
        .into_iter()
        .map(|entry| {
            let mut said = json!({
                "manager": entry.manager, "operation": entry.operation, "apiVersion": entry.api_version,
                "fieldsType": "FieldsV1", "fieldsV1": entry.fields.render(),
            });
            if !entry.time.is_empty() {
                said["time"] = json!(entry.time);
            }
            if !entry.subresource.is_empty() {
                said["subresource"] = json!(entry.subresource);
            }
            said
        })
        .collect();
    if list.is_empty() {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    } else {
        object["metadata"]["managedFields"] = Value::Array(list);
    }
}

/// Notes an ordinary write: what changed is the writer's now, and no longer anybody else's.
pub(crate) fn update(shape: &Shape, old: &Value, new: &mut Value, writer: &Writer) {
    // A client that sends an empty list asks to start the ownership afresh; one that sends none keeps what stands.
    let mut list = entries(old);
    if new
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .is_some_and(Vec::is_empty)
    {
        list.clear();
    }
    let made = changes(shape, &without_managed(old), &without_managed(new));
    let (written, removed) = (made.written.without_identity(), made.removed.without_identity());
    let lost = written.union(&removed);
    let mut own = None;
    for (at, entry) in list.iter_mut().enumerate() {
        if entry.is_of(writer, "Update") {
            own = Some(at);
            let fields = entry.fields.union(&written).without(&removed);
            if fields != entry.fields {
                entry.fields = fields;
                entry.time.clone_from(&writer.time);
            }
        } else {
            let fields = entry.fields.without(&lost);
            if fields != entry.fields {
                entry.fields = fields;
            }
        }
    }
    if own.is_none() {
        list.push(Entry {
            manager: writer.manager.clone(),
            operation: "Update".to_owned(),
            api_version: writer.api_version.clone(),
            subresource: writer.subresource.to_owned(),
            time: writer.time.clone(),
            fields: written,
        });
    }
    write(new, list);
}

/// Lays an applied configuration over the live object: the merged object with its owners.
///
/// # Errors
/// 409 with every field that another manager owns and this configuration would change, unless `force` takes it.
pub(crate) fn apply(
    shape: &Shape,
    live: &Value,
    config: &Value,
    writer: &Writer,
    force: bool,
) -> Result<Value, Refusal> {
    let bare = without_managed(live);
    let mut merged = merge::merge(shape, Some(&bare), config);
    let mut list = entries(live);
    let written = changes(shape, &bare, &merged).written;
    let mut conflicts = Vec::new();
    for entry in list.iter_mut().filter(|entry| !entry.is_of(writer, "Apply")) {
        let taken = entry.fields.shared_with(&written);
        if !taken.is_empty() {
            conflicts.push((entry.clone(), taken.clone()));
            entry.fields = entry.fields.without(&taken);
        }
    }
    if !conflicts.is_empty() && !force {
        return Err(conflict(&conflicts));
    }
    let mine = leaves(shape, config).without_identity();
    let before = list.iter().position(|entry| entry.is_of(writer, "Apply"));
    if let Some(before) = before {
        let dropped = list[before]
            .fields
            .with_named_parents()
            .without(&mine.with_named_parents());
        let kept = |path: &&Vec<String>| {
            !list
                .iter()
                .enumerate()
                .any(|(at, entry)| at != before && entry.fields.reaches(path))
        };
        let gone = Set(dropped.0.iter().filter(kept).cloned().collect());
        merged = merge::remove(shape, &merged, &gone, &mut Vec::new());
    }
    // Where nothing but the ownership changes, the instant stays as it was: unknown, for a new owner.
    let time = if merged == bare {
        None
    } else {
        Some(writer.time.clone())
    };
    match before {
        Some(before) if list[before].fields == mine => {}
        Some(before) => {
            list[before].fields = mine;
            if let Some(time) = time {
                list[before].time = time;
            }
        }
        None => list.push(Entry {
            manager: writer.manager.clone(),
            operation: "Apply".to_owned(),
            api_version: writer.api_version.clone(),
            subresource: writer.subresource.to_owned(),
            time: time.unwrap_or_default(),
            fields: mine,
        }),
    }
    write(&mut merged, list);
    Ok(merged)
}

fn without_managed(object: &Value) -> Value {
    let mut bare = object.clone();
    if let Some(metadata) = bare.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    bare
}

fn conflict(conflicts: &[(Entry, Set)]) -> Refusal {
    let mut causes: Vec<Cause> = conflicts
        .iter()
        .flat_map(|(entry, fields)| fields.0.iter().map(move |path| (entry, path)))
        .map(|(entry, path)| Cause {
            reason: "FieldManagerConflict",
            message: format!("conflict with {}", said_owner(entry)),
            field: spoken(path),
        })
        .collect();
    causes.sort_by(|a, b| (&a.field, &a.message).cmp(&(&b.field, &b.message)));
    let mut owners: Vec<(String, Vec<&str>)> = Vec::new();
    for cause in &causes {
        match owners.iter_mut().find(|(owner, _)| *owner == cause.message) {
            Some((_, fields)) => fields.push(&cause.field),
            None => owners.push((cause.message.clone(), vec![&cause.field])),
        }
    }
    owners.sort();
    let message = match causes.as_slice() {
        [one] => format!("Apply failed with 1 conflict: {}: {}", one.message, one.field),
        many => {
            let said: Vec<String> = owners
                .iter()
                .map(|(owner, fields)| {
                    let list: Vec<String> = fields.iter().map(|field| format!("\n- {field}")).collect();
                    format!("{}:{}", owner.replacen("conflict", "conflicts", 1), list.concat())
                })
                .collect();
            format!("Apply failed with {} conflicts: {}", many.len(), said.join("\n"))
        }
    };
    Refusal {
        code: 409,
        reason: "Conflict",
        message,
        details: json!({"causes": causes_json(&causes)}),
    }
}

fn said_owner(entry: &Entry) -> String {
    let part = if entry.subresource.is_empty() {
        String::new()
    } else {
        format!(" with subresource \"{}\"", entry.subresource)
    };
    let using = if entry.operation == "Update" || entry.operation == "Apply" {
        format!(" using {}", entry.api_version)
    } else {
        String::new()
    };
    format!("\"{}\"{part}{using}", entry.manager)
}
