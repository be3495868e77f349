//! Lists: filters by key, label and tags, in pages.

use serde_json::json;

use super::Store;
use super::key_value::KeyValue;
use super::problem::bad_argument;
use crate::azure::exchange::{Asked, Reply};

/// How many names a filter lists at most.
const NAMES_MAX: usize = 5;

/// A filter by key or label: up to five names, of which each may end in `*`; a backslash takes a sign as it is.
struct Pattern {
    names: Vec<(String, bool)>,
}

impl Pattern {
    fn read(text: Option<&str>, parameter: &str) -> Result<Pattern, Box<Reply>> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(Pattern {
                names: vec![(String::new(), true)],
            });
        };
        let wrong = |detail: &str| bad_argument(&format!("Invalid request parameter '{parameter}'"), parameter, detail);
        let mut names = vec![(String::new(), false)];
        let mut signs = text.chars();
        while let Some(sign) = signs.next() {
            let Some((name, is_prefix)) = names.last_mut() else {
                break;
            };
            match sign {
                ',' => names.push((String::new(), false)),
                _ if *is_prefix => return Err(wrong("a wildcard may be at the end only")),
                '*' => *is_prefix = true,
                '\\' => name.push(signs.next().ok_or_else(|| wrong("an escape is not finished"))?),
                sign => name.push(sign),
            }
        }
        if names.len() > NAMES_MAX {
            return Err(wrong("too many names"));
        }
        Ok(Pattern { names })
    }

    /// No label is matched by any and by the null character.
    fn matches(&self, text: Option<&str>) -> bool {
        self.names.iter().any(|(name, is_prefix)| match (text, is_prefix) {
            (Some(text), true) => text.starts_with(name.as_str()),
            (Some(text), false) => text == name,
            (None, true) => name.is_empty(),
            (None, false) => name == "\0",
        })
    }
}

/// The fields that `$Select` names; none where it is not there.
pub fn fields(asked: &Asked) -> Result<Option<Vec<String>>, Box<Reply>> {
    const KNOWN: &[&str] = &[
        "key",
        "label",
        "content_type",
        "value",
        "last_modified",
        "tags",
        "description",
        "locked",
        "etag",
    ];
    let Some(selected) = asked.parameter("$select") else {
        return Ok(None);
    };
    let fields: Vec<String> = selected
        .split(',')
        .map(|field| field.trim().to_ascii_lowercase())
        .collect();
    match fields.iter().find(|field| !KNOWN.contains(&field.as_str())) {
        Some(field) => Err(bad_argument(
            "Invalid request parameter '$Select'",
            "$Select",
            &format!("unknown field '{field}'"),
        )),
        None => Ok(Some(fields)),
    }
}

/// One page of key-values, or of their states where `states` is what is listed.
pub fn page<'a>(
    store: &Store,
    asked: &Asked,
    states: impl Iterator<Item = &'a KeyValue>,
    content_type: &'static str,
) -> Result<Reply, Box<Reply>> {
    let keys = Pattern::read(asked.parameter("key"), "key")?;
    let labels = Pattern::read(asked.parameter("label"), "label")?;
    let tags: Vec<(&str, &str)> = asked
        .parameters("tags")
        .map(|tag| tag.split_once('='))
        .collect::<Option<_>>()
        .ok_or_else(|| {
            bad_argument(
                "Invalid request parameter 'tags'",
                "tags",
                "a tag is written as name=value",
            )
        })?;
    let fields = fields(asked)?;
    let found = states
        .filter(|value| keys.matches(Some(&value.name.key)) && labels.matches(value.name.label.as_deref()))
        .filter(|value| {
            tags.iter()
                .all(|(name, wanted)| value.tags.get(*name).map(String::as_str) == Some(*wanted))
        });
    let items = found.map(|value| value.shown(fields.as_deref())).collect();
    paged(store, asked, items, content_type)
}

/// One page of items, with the link to the next.
pub fn paged(
    store: &Store,
    asked: &Asked,
    items: Vec<serde_json::Value>,
    content_type: &'static str,
) -> Result<Reply, Box<Reply>> {
    let from = match asked.parameter("after") {
        None => 0,
        Some(after) => after.parse().map_err(|_| {
            bad_argument(
                "Invalid request parameter 'after'",
                "after",
                "it is not a token of this store",
            )
        })?,
    };
    let total = items.len();
    let items: Vec<_> = items.into_iter().skip(from).take(store.page).collect();
    let next = (from + items.len() < total).then(|| next_link(asked, from + items.len()));
    let mut body = json!({"items": items});
    if let (Some(next), Some(body)) = (&next, body.as_object_mut()) {
        body.insert("@nextLink".into(), json!(next));
    }
    let reply = Reply::of(200, content_type, body.to_string());
    Ok(match next {
        Some(next) => reply.with("link", format!("<{next}>; rel=\"next\"")),
        None => reply,
    })
}

/// The same request, after so many items.
fn next_link(asked: &Asked, after: usize) -> String {
    let (path, query) = asked
        .path_and_query
        .split_once('?')
        .unwrap_or((&asked.path_and_query, ""));
    let kept = query
        .split('&')
        .filter(|pair| !pair.to_ascii_lowercase().starts_with("after="));
    let query: Vec<&str> = kept.collect();
    format!("{path}?{}&after={after}", query.join("&"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn matches(pattern: &str, text: Option<&str>) -> bool {
        Pattern::read(Some(pattern), "key").unwrap().matches(text)
    }

    #[test]
    fn a_pattern_is_names_and_beginnings_of_names() {
        assert!(matches("*", Some("a")) && matches("*", None));
        assert!(matches(".appconfig.featureflag/*", Some(".appconfig.featureflag/cart")));
        assert!(!matches("a*", Some("ba")) && !matches("a", Some("ab")));
        assert!(matches("a,b", Some("b")) && !matches("a,b", Some("a,b")));
        assert!(matches("a\\,b", Some("a,b")) && matches("a\\*", Some("a*")));
        assert!(matches("\0", None) && !matches("\0", Some("a")));
        assert!(Pattern::read(Some("*a"), "key").is_err());
        assert!(Pattern::read(Some("a,b,c,d,e,f"), "key").is_err());
    }
}
