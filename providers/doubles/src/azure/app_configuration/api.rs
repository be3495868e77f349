//! Requests to the data plane, by what they ask.

use hyper::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::flag::{self, Flag};
use super::key_value::{KeyValue, Name, http_date};
use super::problem::{bad_argument, locked, refused};
use super::{API_VERSION, Store, listing, signature};
use crate::azure::exchange::{Asked, Reply};

/// What a handler answers; a refusal is an answer too.
type Answer = Result<Reply, Box<Reply>>;

const ITEM: &str = "application/vnd.microsoft.appconfig.kv+json; charset=utf-8";
const ITEMS: &str = "application/vnd.microsoft.appconfig.kvset+json; charset=utf-8";
const KEYS: &str = "application/vnd.microsoft.appconfig.keyset+json; charset=utf-8";
const LABELS: &str = "application/vnd.microsoft.appconfig.labelset+json; charset=utf-8";

/// Signs that a key, its value and the rest of it have together at most.
const SIZE_MAX: usize = 10_000;

/// Answers one request.
pub fn answer(store: &mut Store, asked: &Asked) -> Reply {
    let reply = admitted(store, asked)
        .and_then(|()| asked_for(store, asked))
        .unwrap_or_else(|refusal| *refusal);
    let reply = match asked.header("x-ms-client-request-id") {
        Some(id) => {
            let id = id.to_owned();
            reply.with("x-ms-client-request-id", id)
        }
        None => reply,
    };
    reply
        .with("x-ms-request-id", Uuid::now_v7())
        .with("x-ms-correlation-request-id", Uuid::now_v7())
        .with(
            "sync-token",
            format!("zAJw6V16=MDo{};sn={}", store.changes, store.changes),
        )
}

fn admitted(store: &Store, asked: &Asked) -> Result<(), Box<Reply>> {
    signature::admitted(&store.keys, asked, Timestamp::now())?;
    match asked.parameter("api-version") {
        None | Some("") => Err(bad_argument(
            "API version is not specified",
            "api-version",
            "An API version is required, but was not specified.",
        )),
        Some(API_VERSION) => Ok(()),
        Some(other) => Err(bad_argument(
            "Unsupported API version",
            "api-version",
            &format!("The HTTP resource that matches the request URI does not support the API version '{other}'."),
        )),
    }?;
    // The past is not kept here in a form that could be asked for.
    match asked.header("accept-datetime") {
        None => Ok(()),
        Some(_) => Err(Box::new(refused(
            400,
            "invalid-argument",
            "Accept-Datetime is not offered here",
            Some("Accept-Datetime"),
            None,
        ))),
    }
}

fn asked_for(store: &mut Store, asked: &Asked) -> Answer {
    let segments: Vec<&str> = asked.segments.iter().map(String::as_str).collect();
    let is_head = asked.method == Method::HEAD;
    let reply = match (&asked.method, segments.as_slice()) {
        (&Method::GET | &Method::HEAD, ["kv"]) => listing::page(store, asked, store.values.values(), ITEMS),
        (&Method::GET | &Method::HEAD, ["kv", key]) => get(store, asked, &name(asked, key)?),
        (&Method::PUT, ["kv", key]) => put(store, asked, &name(asked, key)?),
        (&Method::DELETE, ["kv", key]) => delete(store, asked, &name(asked, key)?),
        (&Method::PUT, ["locks", key]) => lock(store, asked, &name(asked, key)?, true),
        (&Method::DELETE, ["locks", key]) => lock(store, asked, &name(asked, key)?, false),
        (&Method::GET | &Method::HEAD, ["revisions"]) => {
            listing::page(store, asked, store.revisions.iter().rev(), ITEMS)
        }
        (&Method::GET | &Method::HEAD, ["keys"]) => {
            let names = distinct(store.values.keys().map(|name| json!(name.key)));
            listing::paged(store, asked, names, KEYS)
        }
        (&Method::GET | &Method::HEAD, ["labels"]) => {
            let names = distinct(store.values.keys().map(|name| json!(name.label)));
            listing::paged(store, asked, names, LABELS)
        }
        (_, ["kv" | "locks", ..] | ["keys" | "labels" | "revisions"]) => Ok(Reply::empty(405)),
        _ => Ok(Reply::empty(404)),
    }?;
    Ok(if is_head {
        Reply {
            body: bytes::Bytes::new(),
            ..reply
        }
    } else {
        reply
    })
}

fn distinct(names: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    for name in names {
        let item = json!({"name": name});
        if !all.contains(&item) {
            all.push(item);
        }
    }
    all
}

/// The key-value that a request is about: one key under one label.
fn name(asked: &Asked, key: &str) -> Result<Name, Box<Reply>> {
    if key == "." || key == ".." || key.contains('%') {
        return Err(bad_argument(
            "Invalid key",
            "key",
            "A key cannot be '.', '..' or contain '%'.",
        ));
    }
    let label = asked.parameter("label");
    if label.is_some_and(|label| label.contains(['*', ','])) {
        return Err(bad_argument(
            "Invalid request parameter 'label'",
            "label",
            "A label is named here, not a pattern.",
        ));
    }
    Ok(Name::new(key, label))
}

/// Whether the request's conditions hold for what is there: `If-Match`, `If-None-Match`.
fn holds(asked: &Asked, there: Option<&KeyValue>) -> bool {
    let matches = |header: &str| {
        let wanted = asked.header(header)?;
        Some(there.is_some_and(|there| wanted.split(',').any(|one| there.has_etag(one))))
    };
    matches("if-match") != Some(false) && matches("if-none-match") != Some(true)
}

fn get(store: &Store, asked: &Asked, name: &Name) -> Answer {
    let fields = listing::fields(asked)?;
    let found = store.values.get(name);
    if !holds(asked, found) {
        let is_unchanged = asked.header("if-match").is_none();
        return Ok(Reply::empty(if is_unchanged { 304 } else { 412 }));
    }
    match found {
        Some(found) => Ok(shown(found, fields.as_deref())),
        None => Ok(Reply::empty(404)),
    }
}

fn shown(value: &KeyValue, fields: Option<&[String]>) -> Reply {
    Reply::of(200, ITEM, value.shown(fields).to_string())
        .with("etag", format!("\"{}\"", value.etag))
        .with("last-modified", http_date(value.modified))
}

/// What a client may say of a key-value; the rest is the store's.
#[derive(Debug, Deserialize)]
struct Written {
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    tags: Option<std::collections::BTreeMap<String, String>>,
}

fn put(store: &mut Store, asked: &Asked, name: &Name) -> Answer {
    let content_type = asked.header("content-type").unwrap_or_default();
    let media = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if !(media == "application/json"
        || media == "text/json"
        || media.starts_with("application/") && media.ends_with("+json"))
    {
        return Ok(Reply::empty(415));
    }
    let written: Written = serde_json::from_slice(&asked.body)
        .map_err(|error| bad_argument("The request body is invalid", "body", &error.to_string()))?;
    let there = store.values.get(name);
    if there.is_some_and(|there| there.is_locked) {
        return Err(locked(&name.key));
    }
    if !holds(asked, there) {
        return Ok(Reply::empty(412));
    }
    let size = name.key.len() + asked.body.len();
    if size > SIZE_MAX {
        return Err(Box::new(refused(
            413,
            "request-entity-too-large",
            "The key-value is too large",
            Some(&name.key),
            Some("The size of a key-value is limited to 10,000 characters."),
        )));
    }
    if name.key.starts_with(flag::PREFIX) {
        readable(name, &written)?;
    }
    let stored = store.put(KeyValue {
        value: written.value,
        content_type: written.content_type,
        description: written.description,
        tags: written.tags.unwrap_or_default(),
        ..KeyValue::empty(name)
    });
    Ok(shown(&stored, None))
}

/// Refuses a flag that no application could read.
fn readable(name: &Name, written: &Written) -> Result<(), Box<Reply>> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(' ', "");
    if written.content_type.as_deref().map(plain) != Some(plain(flag::CONTENT_TYPE)) {
        let detail = format!("A feature flag's content type is '{}'.", flag::CONTENT_TYPE);
        return Err(bad_argument("Invalid feature flag", "content_type", &detail));
    }
    match Flag::read(&name.key, written.value.as_deref().unwrap_or_default()) {
        Ok(_) => Ok(()),
        Err(why) => Err(bad_argument("Invalid feature flag", "value", &why)),
    }
}

fn delete(store: &mut Store, asked: &Asked, name: &Name) -> Answer {
    let there = store.values.get(name);
    if there.is_some_and(|there| there.is_locked) {
        return Err(locked(&name.key));
    }
    if !holds(asked, there) {
        return Ok(Reply::empty(412));
    }
    match store.remove(name) {
        Some(removed) => Ok(shown(&removed, None)),
        None => Ok(Reply::empty(204)),
    }
}

fn lock(store: &mut Store, asked: &Asked, name: &Name, is_locked: bool) -> Answer {
    let Some(there) = store.values.get(name).cloned() else {
        return Ok(Reply::empty(404));
    };
    if !holds(asked, Some(&there)) {
        return Ok(Reply::empty(412));
    }
    let stored = store.put(KeyValue { is_locked, ..there });
    Ok(shown(&stored, None))
}
