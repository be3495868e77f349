//! One flag in one store: read with its version, written only over that version.
//!
//! Paths, headers and media types are those of App Configuration's published data plane, version 2026-04-01.

use std::collections::BTreeMap;
use std::sync::Arc;

use azure_core::http::Method;
use meridian_engine::ports::failure::Failure;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::app_configuration::flag::{CONTENT_TYPE, Flag};
use crate::service::{Answer, Ask, Service, segment};
use crate::trouble::{Fate, Trouble};

const API: &str = "api-version=2026-04-01";
const PREFIX: &str = ".appconfig.featureflag/";
const KEY_VALUE: &str = "application/vnd.microsoft.appconfig.kv+json";

/// More tokens of one store than this are none that it would give.
const TOKENS_MAX: usize = 16;

/// What a store told about how far its replicas must be before they answer us: with it, we read what we wrote.
///
/// By token, with the number that tells a newer from an older one. A hint: without it an older state may be read, and its version
/// then keeps a write from landing.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<BTreeMap<String, (u64, String)>>);

impl Tokens {
    /// From a `Sync-Token` header, `id=value;sn=number` with commas between.
    fn learn(&self, header: &str) {
        let mut known = self.0.lock();
        for token in header.split(',') {
            let Some((pair, number)) = token.trim().split_once(";sn=") else {
                continue;
            };
            let (Some((id, value)), Ok(number)) = (pair.split_once('='), number.trim().parse::<u64>()) else {
                continue;
            };
            let is_newer = known.get(id).is_none_or(|(stood, _)| *stood < number);
            if is_newer && (known.contains_key(id) || known.len() < TOKENS_MAX) {
                known.insert(id.to_owned(), (number, value.to_owned()));
            }
        }
    }

    fn header(&self) -> Option<String> {
        let known = self.0.lock();
        let pairs: Vec<String> = known.iter().map(|(id, (_, value))| format!("{id}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join(","))
    }
}

/// A flag and the way to it.
pub(crate) struct Store {
    service: Arc<Service>,
    tokens: Arc<Tokens>,
    path: String,
    pub(crate) about: String,
}

/// A flag as it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) flag: Flag,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) is_locked: bool,
    etag: String,
    content_type: String,
}

impl Store {
    pub(crate) fn new(service: Arc<Service>, tokens: Arc<Tokens>, flag: &str, label: Option<&str>) -> Store {
        let key = segment(&format!("{PREFIX}{flag}"));
        let labelled = label
            .map(|label| format!("label={}&", segment(label)))
            .unwrap_or_default();
        let of_label = label.map(|label| format!(" with label `{label}`")).unwrap_or_default();
        Store {
            about: format!("the flag `{flag}`{of_label} at {}", service.endpoint.authority()),
            path: format!("/kv/{key}?{labelled}{API}"),
            service,
            tokens,
        }
    }

    async fn ask(&self, ask: Ask<'_>) -> Result<Answer, Trouble> {
        let answer = self.service.ask(ask).await?;
        if let Some(header) = answer.header("sync-token") {
            self.tokens.learn(header);
        }
        Ok(answer)
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![("accept", format!("{KEY_VALUE}, application/problem+json"))];
        headers.extend(self.tokens.header().map(|header| ("sync-token", header)));
        headers
    }

    /// The flag as it stands; none where it does not exist.
    pub(crate) async fn read(&self) -> Result<Option<Stored>, Trouble> {
        let ask = Ask {
            method: Method::Get,
            path: self.path.clone(),
            headers: self.headers(),
            body: None,
            about: &self.about,
            action: "Microsoft.AppConfiguration/configurationStores/keyValues/read",
        };
        match self.ask(ask).await {
            Ok(answer) => stored(&answer).map(Some).map_err(|why| Trouble {
                failure: Failure::lasting(format!("{} cannot be understood: {why}", self.about)),
                fate: Fate::Unknown,
            }),
            Err(trouble) if trouble.is_status(404) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Writes flag and tags at once, over `over` and nothing else; none is over nothing.
    ///
    /// *Errors*: 412 where something else stands there by now.
    pub(crate) async fn write(
        &self,
        flag: &Flag,
        tags: &BTreeMap<String, String>,
        over: Option<&Stored>,
    ) -> Result<(), Trouble> {
        let content_type = over.map_or(CONTENT_TYPE, |stood| stood.content_type.as_str());
        let body = json!({"value": flag.text(), "content_type": content_type, "tags": tags});
        let mut headers = self.headers();
        headers.push(("content-type", KEY_VALUE.to_owned()));
        headers.push(match over {
            Some(stood) => ("if-match", stood.etag.clone()),
            None => ("if-none-match", "*".to_owned()),
        });
        let ask = Ask {
            method: Method::Put,
            path: self.path.clone(),
            headers,
            body: Some(&body),
            about: &self.about,
            action: "Microsoft.AppConfiguration/configurationStores/keyValues/write",
        };
        self.ask(ask).await.map(|_| ())
    }
}

fn stored(answer: &Answer) -> Result<Stored, String> {
    let body = &answer.body;
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let content_type = text("content_type").unwrap_or_default();
    if !content_type
        .to_ascii_lowercase()
        .starts_with("application/vnd.microsoft.appconfig.ff+json")
    {
        return Err(format!(
            "it has the content type `{content_type}`, which is no feature flag's"
        ));
    }
    let etag = match (answer.header("etag"), text("etag")) {
        (Some(header), _) => header.to_owned(),
        (None, Some(etag)) => format!("\"{etag}\""),
        (None, None) => return Err("it has no ETag".to_owned()),
    };
    let tags = body.get("tags").and_then(Value::as_object).into_iter().flatten();
    Ok(Stored {
        flag: Flag::parse(text("value").ok_or("it has no value")?)?,
        tags: tags
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect(),
        is_locked: body.get("locked").and_then(Value::as_bool).unwrap_or(false),
        etag,
        content_type: content_type.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::Tokens;

    #[test]
    fn the_newest_token_is_sent_back() {
        let tokens = Tokens::default();
        assert_eq!(tokens.header(), None);
        tokens.learn("a=MDoyOA==;sn=28, b=xyz;sn=1");
        tokens.learn("a=older;sn=27");
        tokens.learn("nonsense");
        assert_eq!(tokens.header().as_deref(), Some("a=MDoyOA==,b=xyz"));
        tokens.learn("a=newer;sn=29");
        assert_eq!(tokens.header().as_deref(), Some("a=newer,b=xyz"));
    }
}
