//! What happens to a store when it is asked things in order.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::{HeaderMap, Method};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::flag::CONTENT_TYPE;
use super::key_value::http_date;
use super::{AccessKey, AppConfiguration, Flag};
use crate::azure::exchange::{Answers as _, Asked, Reply};

const CART: &str = "/kv/.appconfig.featureflag%2Fcart?api-version=2026-04-01";

/// One request, signed as a client signs.
struct Sent<'a> {
    method: Method,
    path: &'a str,
    headers: Vec<(&'static str, String)>,
    body: String,
    key: AccessKey,
    at: Timestamp,
    tampered: Option<&'a str>,
}

fn sent(method: Method, path: &str) -> Sent<'_> {
    Sent {
        method,
        path,
        headers: Vec::new(),
        body: String::new(),
        key: AccessKey::default(),
        at: Timestamp::now(),
        tampered: None,
    }
}

impl<'a> Sent<'a> {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Sent<'a> {
        self.headers.push((name, value.into()));
        self
    }

    fn flag(self, flag: &Flag) -> Sent<'a> {
        self.value(&flag.json().to_string(), CONTENT_TYPE)
    }

    fn value(mut self, value: &str, content_type: &str) -> Sent<'a> {
        self.body = json!({"value": value, "content_type": content_type, "tags": {"fence": "1.2.3"}}).to_string();
        self.with("content-type", "application/vnd.microsoft.appconfig.kv+json")
    }

    fn to(self, store: &Arc<AppConfiguration>) -> Reply {
        let date = http_date(self.at);
        let hash = STANDARD.encode(Sha256::digest(&self.body));
        let text = format!("{}\n{}\n{date};127.0.0.1:8080;{hash}", self.method, self.path);
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key.secret).unwrap();
        mac.update(text.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let authorization = format!(
            "HMAC-SHA256 Credential={}&SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signature}",
            self.key.id
        );
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "127.0.0.1:8080".to_owned()),
            ("x-ms-date", date),
            ("x-ms-content-sha256", hash),
            ("authorization", authorization),
        ]
        .into_iter()
        .chain(self.headers)
        {
            headers.insert(name, value.parse().unwrap());
        }
        let path = self.tampered.unwrap_or(self.path);
        store.answer(&Asked::new(self.method, path, headers, Bytes::from(self.body)))
    }
}

fn body(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_default()
}

fn challenge(reply: &Reply) -> &str {
    reply.headers["www-authenticate"].to_str().unwrap()
}

#[test]
fn a_flag_is_stored_read_and_evaluated() {
    let store = AppConfiguration::new();
    let put = sent(Method::PUT, CART).flag(&Flag::off("cart").at(10.0)).to(&store);
    assert_eq!(put.status, 200, "{:?}", body(&put));
    let read = sent(Method::GET, CART).to(&store);
    assert_eq!(read.headers["etag"], put.headers["etag"]);
    assert_eq!(body(&read)["tags"]["fence"], "1.2.3");
    let standing = store.flag("cart", None).unwrap();
    assert!((standing.share() - 10.0).abs() < 1e-9);
    assert!(standing.flag.is_on("ann", &[], 9.9) && !standing.flag.is_on("ann", &[], 10.0));
}

#[test]
fn a_stale_etag_changes_nothing() {
    let store = AppConfiguration::new();
    let first = sent(Method::PUT, CART).flag(&Flag::off("cart")).to(&store);
    let stale = first.headers["etag"].to_str().unwrap().to_owned();
    let write = |etag: &str, at: f64| {
        sent(Method::PUT, CART)
            .flag(&Flag::off("cart").at(at))
            .with("if-match", etag)
            .to(&store)
            .status
    };
    assert_eq!(write(&stale, 5.0), 200);
    assert_eq!(write(&stale, 50.0), 412);
    assert!((store.flag("cart", None).unwrap().share() - 5.0).abs() < 1e-9);
    let create = sent(Method::PUT, CART)
        .flag(&Flag::off("cart"))
        .with("if-none-match", "*")
        .to(&store);
    assert_eq!(create.status, 412);
    let unseen = "/kv/.appconfig.featureflag%2Funseen?api-version=2026-04-01";
    let replace = sent(Method::PUT, unseen)
        .flag(&Flag::off("unseen"))
        .with("if-match", "*")
        .to(&store);
    assert_eq!(replace.status, 412, "what is not there matches nothing");
    assert_eq!(store.writes(), 2);
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let store = AppConfiguration::new();
    let put = sent(Method::PUT, CART).flag(&Flag::off("cart")).to(&store);
    let etag = put.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(
        sent(Method::GET, CART).with("if-none-match", etag).to(&store).status,
        304
    );
}

#[test]
fn a_locked_key_is_not_written_until_it_is_unlocked() {
    let store = AppConfiguration::new();
    sent(Method::PUT, CART).flag(&Flag::off("cart")).to(&store);
    let locks = CART.replace("/kv/", "/locks/");
    assert_eq!(body(&sent(Method::PUT, &locks).to(&store))["locked"], true);
    let refused = sent(Method::PUT, CART).flag(&Flag::off("cart").at(1.0)).to(&store);
    assert_eq!(
        (refused.status, body(&refused)["type"].as_str()),
        (409, Some("https://azconfig.io/errors/key-locked"))
    );
    assert_eq!(sent(Method::DELETE, CART).to(&store).status, 409);
    assert_eq!(sent(Method::DELETE, &locks).to(&store).status, 200);
    assert_eq!(sent(Method::DELETE, CART).to(&store).status, 200);
    assert_eq!(sent(Method::DELETE, CART).to(&store).status, 204);
    assert_eq!(sent(Method::PUT, &locks).to(&store).status, 404);
}

#[test]
fn a_request_is_let_in_by_its_signature_alone() {
    let store = AppConfiguration::new();
    let stranger = AccessKey {
        id: "stranger".into(),
        ..AccessKey::default()
    };
    let forger = AccessKey {
        secret: b"guessed".to_vec(),
        ..AccessKey::default()
    };
    let get = || sent(Method::GET, CART);
    let told = |sent: Sent<'_>| {
        let reply = sent.to(&store);
        assert_eq!(reply.status, 401);
        challenge(&reply).to_owned()
    };
    assert!(told(Sent { key: stranger, ..get() }).contains("Invalid Credential"));
    assert!(told(Sent { key: forger, ..get() }).contains("Invalid Signature"));
    assert!(
        told(Sent {
            tampered: Some("/kv/other?api-version=2026-04-01"),
            ..get()
        })
        .contains("Invalid Signature")
    );
    let late = Timestamp::now() - SignedDuration::from_mins(16);
    assert!(told(Sent { at: late, ..get() }).contains("expired"));
    assert_eq!(told(get().with("authorization", "Basic abc")), "HMAC-SHA256, Bearer");
    assert_eq!(get().with("authorization", "Bearer token").to(&store).status, 404);

    let reader = AccessKey {
        id: "reader".into(),
        is_read_only: true,
        ..AccessKey::default()
    };
    store.add_key(reader.clone());
    assert_eq!(
        Sent {
            key: reader.clone(),
            ..get()
        }
        .to(&store)
        .status,
        404
    );
    let write = sent(Method::PUT, CART).flag(&Flag::off("cart"));
    assert_eq!(Sent { key: reader, ..write }.to(&store).status, 403);
}

#[test]
fn a_version_has_to_be_named() {
    let store = AppConfiguration::new();
    let reply = sent(Method::GET, "/kv").to(&store);
    assert_eq!(
        (reply.status, body(&reply)["name"].as_str()),
        (400, Some("api-version"))
    );
    assert_eq!(sent(Method::GET, "/kv?api-version=1.0").to(&store).status, 400);
}

#[test]
fn labels_keep_flags_apart() {
    let store = AppConfiguration::new();
    let eu = format!("{CART}&label=eu");
    sent(Method::PUT, &eu).flag(&Flag::off("cart").at(50.0)).to(&store);
    assert_eq!(sent(Method::GET, CART).to(&store).status, 404);
    assert!(store.flag("cart", None).is_none() && store.flag("cart", Some("eu")).is_some());
    let listed = |query: &str| {
        let path = format!("/kv?{query}&api-version=2026-04-01");
        body(&sent(Method::GET, &path).to(&store))["items"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(
        (
            listed("label=%00"),
            listed("label=eu"),
            listed("key=.appconfig*"),
            listed("tags=fence%3D9")
        ),
        (0, 1, 1, 0)
    );
}

#[test]
fn a_list_comes_in_pages() {
    let store = AppConfiguration::new();
    store.page_by(2);
    for index in 0..5 {
        store.put_flag(&Flag::off(&format!("flag{index}")), None);
    }
    let mut path = "/kv?key=.appconfig.featureflag%2F*&api-version=2026-04-01".to_owned();
    let mut seen = Vec::new();
    loop {
        let reply = sent(Method::GET, &path).to(&store);
        let page = body(&reply);
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["key"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["@nextLink"].as_str() else { break };
        assert_eq!(reply.headers["link"], format!("<{next}>; rel=\"next\""));
        path = next.to_owned();
    }
    assert_eq!(seen.len(), 5);
    assert_eq!(seen.last().unwrap(), ".appconfig.featureflag/flag4");
}

#[test]
fn a_flag_that_no_application_could_read_is_refused() {
    let store = AppConfiguration::new();
    let write = |value: &str, content_type: &str| sent(Method::PUT, CART).value(value, content_type).to(&store).status;
    assert_eq!(write(r#"{"id": "cart", "enabled": "yes"}"#, CONTENT_TYPE), 400);
    assert_eq!(write(r#"{"id": "cart", "enabled": true}"#, "application/json"), 400);
    assert_eq!(
        write(&Flag::off("cart").at(100.5).json().to_string(), CONTENT_TYPE),
        400
    );
    assert_eq!(write(&Flag::off("cart").at(0.01).json().to_string(), CONTENT_TYPE), 200);
}
