//! A key-value: a key under a label, its value, and the `ETag` of this state of it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// What names a key-value: its key and its label, of which none is one too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub key: String,
    pub label: Option<String>,
}

impl Name {
    /// The empty label and the null character are both spellings of no label.
    pub fn new(key: &str, label: Option<&str>) -> Name {
        Name {
            key: key.to_owned(),
            label: label
                .filter(|label| !label.is_empty() && *label != "\0")
                .map(str::to_owned),
        }
    }
}

#[derive(Clone, Debug)]
pub struct KeyValue {
    pub name: Name,
    pub value: Option<String>,
    pub content_type: Option<String>,
    pub description: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub is_locked: bool,
    pub etag: String,
    pub modified: Timestamp,
}

impl KeyValue {
    pub fn empty(name: &Name) -> KeyValue {
        KeyValue {
            name: name.clone(),
            value: None,
            content_type: None,
            description: None,
            tags: BTreeMap::new(),
            is_locked: false,
            etag: String::new(),
            modified: Timestamp::UNIX_EPOCH,
        }
    }

    /// Makes this a state of its own.
    pub fn stamp(&mut self, change: u64, now: Timestamp) {
        let digest = Sha256::digest(format!("{change}/{}/{:?}", self.name.key, self.name.label));
        self.etag = URL_SAFE_NO_PAD.encode(digest);
        self.modified = now;
    }

    pub fn has_etag(&self, wanted: &str) -> bool {
        let wanted = wanted.trim();
        wanted == "*" || wanted.trim_matches('"') == self.etag
    }

    /// The item as the API shows it; with `fields`, no more than those.
    pub fn shown(&self, fields: Option<&[String]>) -> Value {
        let all = json!({
            "etag": self.etag,
            "key": self.name.key,
            "label": self.name.label,
            "content_type": self.content_type,
            "value": self.value,
            "description": self.description,
            "last_modified": zoned(self.modified),
            "locked": self.is_locked,
            "tags": self.tags,
        });
        let Value::Object(all) = all else { return all };
        let kept: Map<_, _> = all
            .into_iter()
            // The one member that the published description has as a string where it is there at all.
            .filter(|(name, value)| name != "description" || !value.is_null())
            .filter(|(name, _)| fields.is_none_or(|fields| fields.iter().any(|field| field == name)))
            .collect();
        Value::Object(kept)
    }
}

/// As in `2026-11-21T05:44:51+00:00`.
fn zoned(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// As in `Sat, 21 Nov 2026 05:44:51 GMT`.
pub fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
