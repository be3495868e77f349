//! Audiences as marks on requests: a header, a cookie, a tenant. A request that carries any one of them belongs.

use std::collections::BTreeMap;

/// What a request of the audience carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A header with exactly this value; the name is in lower case, as HTTP compares it.
    Header { name: String, value: String },
    /// A cookie with exactly this value.
    Cookie { name: String, value: String },
}

/// The marks of an audience as workflows have it: `header` is `name: value`, `cookie` is `name=value`, `tenants` are names with
/// commas between them, each a value of this header.
///
/// *Errors*: what is not understood, as a lower-case phrase.
pub fn marks(audience: &BTreeMap<String, String>, tenant_header: &str) -> Result<Vec<Mark>, String> {
    let mut marks = Vec::new();
    for (key, text) in audience {
        match key.as_str() {
            "header" => {
                let (name, value) = pair(text, ':')
                    .ok_or_else(|| format!("a header is written like `x-canary: always`, got `{text}`"))?;
                let name = name.to_ascii_lowercase();
                marks.push(Mark::Header { name, value });
            }
            "cookie" => {
                let (name, value) =
                    pair(text, '=').ok_or_else(|| format!("a cookie is written like `canary=always`, got `{text}`"))?;
                marks.push(Mark::Cookie { name, value });
            }
            "tenants" => {
                let tenants = text.split(',').map(str::trim).filter(|tenant| !tenant.is_empty());
                marks.extend(tenants.map(|tenant| Mark::Header {
                    name: tenant_header.to_owned(),
                    value: tenant.to_owned(),
                }));
            }
            other => {
                return Err(format!(
                    "an audience by `{other}` is not known: header, cookie or tenants"
                ));
            }
        }
    }
    Ok(marks)
}

/// Name and value around a separator; a name is a token of HTTP.
fn pair(text: &str, separator: char) -> Option<(String, String)> {
    let (name, value) = text.split_once(separator)?;
    let (name, value) = (name.trim(), value.trim());
    let is_sound = is_token(name) && !value.is_empty() && !value.chars().any(char::is_control);
    is_sound.then(|| (name.to_owned(), value.to_owned()))
}

/// Whether headers and cookies may be named so.
pub fn is_token(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(fits)
}

/// A regular expression (RE2 and PCRE alike) that matches a whole `Cookie` header with this cookie in it.
pub fn cookie_pattern(name: &str, value: &str) -> String {
    format!("^(.*; *)?{}={}(;.*)?$", escaped(name), escaped(value))
}

/// A text as a regular expression that matches it alone.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Mark, cookie_pattern, marks};

    fn audience(key: &str, text: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_owned(), text.to_owned())])
    }

    #[test]
    fn headers_cookies_and_tenants_are_marks() {
        let header = |name: &str, value: &str| Mark::Header {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let marks = |audience: &BTreeMap<String, String>| marks(audience, "x-org");
        assert_eq!(
            marks(&audience("header", "X-Canary: always")).unwrap(),
            [header("x-canary", "always")]
        );
        assert_eq!(
            marks(&audience("tenants", "acme, initech")).unwrap(),
            [header("x-org", "acme"), header("x-org", "initech")]
        );
        let cookie = marks(&audience("cookie", "canary=always")).unwrap();
        assert!(matches!(cookie.as_slice(), [Mark::Cookie { name, value }] if name == "canary" && value == "always"));
        for (key, text) in [
            ("header", "x-canary"),
            ("header", ": x"),
            ("header", "a b: c"),
            ("cookie", "canary"),
            ("region", "eu"),
        ] {
            assert!(marks(&audience(key, text)).is_err(), "{key} {text}");
        }
    }

    #[test]
    fn a_cookie_is_matched_as_it_is_written() {
        assert_eq!(cookie_pattern("canary", "a.b"), r"^(.*; *)?canary=a\.b(;.*)?$");
    }
}
