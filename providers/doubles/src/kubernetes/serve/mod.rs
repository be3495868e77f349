//! Answers requests: which verb a call is, and what comes back.

mod change;
mod discovery;
mod part;
mod read;

use axum::http::Method;
use serde_json::{Value, json};

use crate::kubernetes::access::Access;
use crate::kubernetes::call::{Call, Resource};
use crate::kubernetes::refusal::Refusal;
use crate::kubernetes::selector::Filter;
use crate::kubernetes::world::World;

/// What is sent back.
#[derive(Debug)]
pub(crate) enum Reply {
    Json {
        code: u16,
        body: Value,
        warnings: Vec<String>,
    },
    Text {
        code: u16,
        body: String,
    },
    Watch(Box<Watch>),
}

/// A stream of what happens.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) resource: Resource,
    pub(crate) filter: Filter,
    /// Events that are sent first.
    pub(crate) first: Vec<Value>,
    /// The version after which changes are sent.
    pub(crate) after: u64,
    pub(crate) bookmarks: bool,
    /// Seconds until the server ends it; 0 where the caller leaves that open.
    pub(crate) timeout: u64,
}

impl Reply {
    fn ok(body: Value) -> Self {
        Reply::Json {
            code: 200,
            body,
            warnings: Vec::new(),
        }
    }

    pub(crate) fn refused(refusal: &Refusal) -> Self {
        Reply::Json {
            code: refusal.code,
            body: refusal.status(),
            warnings: Vec::new(),
        }
    }
}

/// Answers a call.
pub(crate) fn serve(world: &mut World, access: &Access, call: &Call) -> Reply {
    answer(world, access, call).unwrap_or_else(|refusal| Reply::refused(&refusal))
}

fn answer(world: &mut World, access: &Access, call: &Call) -> Result<Reply, Refusal> {
    let not_there = || Reply::Text {
        code: 404,
        body: "404 page not found\n".to_owned(),
    };
    if call.path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" {
        return match call.method {
            Method::POST => {
                let body = access.review(call, call.json()?)?;
                Ok(Reply::Json {
                    code: 201,
                    body,
                    warnings: Vec::new(),
                })
            }
            _ => Err(Refusal::method_not_allowed()),
        };
    }
    let Some(resource) = call.resource().filter(|resource| world.serves(resource.kind)) else {
        access.check(call, "get", None)?;
        return match discovery::answer(world, call) {
            Some(reply) => Ok(reply),
            None if discovery::knows_group(world, call) => Err(Refusal::no_such_resource()),
            None => Ok(not_there()),
        };
    };
    let collection = resource.name.is_empty();
    let verb = match (&call.method, collection) {
        (&Method::GET, _) if call.asks("watch") => "watch",
        (&Method::GET, true) => "list",
        (&Method::GET, false) => "get",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, true) => "deletecollection",
        (&Method::DELETE, false) => "delete",
        _ => return Err(Refusal::method_not_allowed()),
    };
    access.check(call, verb, Some(&resource))?;
    let is_whole = resource.subresource.is_empty() || (resource.subresource == "status" && resource.kind.status);
    if !is_whole {
        return part::answer(world, call, &resource, verb).unwrap_or_else(|| Err(Refusal::no_such_resource()));
    }
    match (verb, collection) {
        ("watch", _) => read::watch(world, call, resource),
        ("list", _) => read::list(world, call, &resource),
        ("get", _) => read::get(world, &resource).map(Reply::ok),
        ("create", true) => change::create(world, call, &resource),
        ("update", false) => change::replace(world, call, &resource),
        ("patch", false) => change::patch(world, call, &resource),
        ("delete", _) => change::delete(world, call, &resource),
        ("deletecollection", _) => change::delete_collection(world, call, &resource),
        _ => Err(Refusal::method_not_allowed()),
    }
}

/// The answer to something that is done and leaves nothing to show.
fn success(details: Value) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// How far a watch has come, as an event.
pub(crate) fn bookmark(watch: &Watch) -> Value {
    read::bookmark(&watch.resource, watch.after)
}
