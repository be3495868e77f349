//! What others wrote, made fit to be shown: one line, bounded, without control characters and without secrets.

/// Characters of one quotation; an API server's reasons are shorter, stack traces are not.
const QUOTE_CHARS_MAX: usize = 300;
/// Lines of a log that are shown: the last words of a process are what counts.
const LOG_LINES_MAX: usize = 4;
/// Characters of each of them.
const LOG_LINE_CHARS_MAX: usize = 160;

/// Words before a `=` or `:` whose value is nobody's business.
const SECRET_NAMES: &[&str] = &[
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "accesskey",
    "access_key",
    "access-key",
    "accountkey",
    "privatekey",
    "private_key",
    "private-key",
    "credential",
    "authorization",
    "cookie",
    "connectionstring",
    "connection_string",
    "signature",
];

/// How well-known kinds of tokens begin.
const TOKEN_STARTS: &[&str] = &[
    "akia",
    "asia",
    "eyj",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "sk_live_",
    "sk-",
];
/// Shorter words that begin like a token are none.
const TOKEN_CHARS_MIN: usize = 16;

const HIDDEN: &str = "***";

/// A message of the platform: its own words, whose credentials can only stand in an address.
pub fn platform(text: &str) -> String {
    bounded(&without_user_info(&one_line(text)), QUOTE_CHARS_MAX)
}

/// A message that an application had a hand in: whatever looks like a secret is hidden too.
pub fn application(text: &str) -> String {
    bounded(&without_secrets(&one_line(text)), QUOTE_CHARS_MAX)
}

/// The last lines of a log; none where it says nothing.
pub fn log_tail(log: &str) -> Option<String> {
    let mut lines: Vec<String> = Vec::new();
    // A key in PEM form spans lines: none of them is shown.
    let mut in_key = false;
    for line in log.lines() {
        if line.contains("-----BEGIN") {
            in_key = true;
            lines.push(HIDDEN.to_owned());
        }
        if !in_key {
            let line = without_secrets(&one_line(line));
            if !line.is_empty() {
                lines.push(bounded(&line, LOG_LINE_CHARS_MAX));
            }
        }
        if line.contains("-----END") {
            in_key = false;
        }
    }
    let from = lines.len().saturating_sub(LOG_LINES_MAX);
    let tail = lines.get(from..).unwrap_or_default();
    (!tail.is_empty()).then(|| tail.join(" | "))
}

/// Text in one line: control characters and terminal colours gone, white space folded.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        if char == '\u{1b}' {
            skip_escape(&mut rest);
        } else if char.is_whitespace() {
            if !line.is_empty() && !line.ends_with(' ') {
                line.push(' ');
            }
        } else if !char.is_control() && !is_invisible(char) {
            line.push(char);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// The rest of a terminal sequence: `[`, parameters, one letter.
fn skip_escape(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    if rest.next_if_eq(&'[').is_some() {
        for char in rest.by_ref() {
            if ('@'..='~').contains(&char) {
                break;
            }
        }
    }
}

/// Marks that change how the text around them is read and show nothing themselves.
fn is_invisible(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn bounded(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn without_secrets(text: &str) -> String {
    without_tokens(&without_named_values(&without_user_info(text)))
}

/// `scheme://user:secret@host` becomes `scheme://***@host`.
fn without_user_info(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let authority = after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '?'));
        let authority = after.get(..authority.unwrap_or(after.len())).unwrap_or(after);
        match authority.rfind('@') {
            Some(at) => {
                shown.push_str(HIDDEN);
                rest = after.get(at..).unwrap_or_default();
            }
            None => rest = after,
        }
    }
    shown.push_str(rest);
    shown
}

/// The values of what is called a password, token, key and so on.
fn without_named_values(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(value) = first_secret(rest) {
        shown.push_str(rest.get(..value.start).unwrap_or_default());
        shown.push_str(HIDDEN);
        rest = rest.get(value.end..).unwrap_or_default();
    }
    shown.push_str(rest);
    shown
}

/// Where the first value stands that a secret's name introduces.
fn first_secret(text: &str) -> Option<std::ops::Range<usize>> {
    // ASCII lower case keeps every place.
    let lower = text.to_ascii_lowercase();
    SECRET_NAMES
        .iter()
        .flat_map(|name| lower.match_indices(name).map(|(at, name)| at + name.len()))
        .filter_map(|end| value_after(&lower, end))
        .min_by_key(|value| value.start)
}

/// The value behind a name that ends at `from`: after `=` or `:`, with or without quotation marks.
fn value_after(text: &str, from: usize) -> Option<std::ops::Range<usize>> {
    let after = text.get(from..)?;
    let name_end = after.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')))?;
    let gap = after.get(name_end..)?.trim_start_matches(['"', '\'', ' ']);
    let gap = gap.strip_prefix(['=', ':'])?.trim_start_matches([' ']);
    let quote = gap.chars().next().filter(|c| matches!(c, '"' | '\''));
    let value = quote.map_or(gap, |quote| gap.strip_prefix(quote).unwrap_or(gap));
    let ends = |c: char| match quote {
        Some(quote) => c == quote,
        None => c.is_whitespace() || matches!(c, ',' | ';' | '&' | '"' | '\'' | '}' | ')'),
    };
    let mut length = value.find(ends).unwrap_or(value.len());
    // `Authorization: Bearer …`: the scheme is no secret, the next word is.
    if matches!(value.get(..length)?, "bearer" | "basic" | "digest" | "token") {
        let next = value.get(length..)?.trim_start();
        length = value.len() - next.len() + next.find(ends).unwrap_or(next.len());
    }
    let start = text.len() - value.len();
    let is_hidden = value.get(..length).is_some_and(|value| value == HIDDEN);
    (length > 0 && !is_hidden).then_some(start..start + length)
}

/// Words that begin as well-known tokens do.
fn without_tokens(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+');
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let (before, word) = rest.split_at(start);
        let (word, after) = word.split_at(word.find(|c| !is_part(c)).unwrap_or(word.len()));
        let lower = word.to_ascii_lowercase();
        let is_token = word.len() >= TOKEN_CHARS_MIN && TOKEN_STARTS.iter().any(|token| lower.starts_with(token));
        shown.push_str(before);
        shown.push_str(if is_token { HIDDEN } else { word });
        rest = after;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{application, log_tail, platform};

    #[test]
    fn what_looks_like_a_secret_is_hidden() {
        for (said, shown) in [
            ("DB_PASSWORD=hunter2 is wrong", "DB_PASSWORD=*** is wrong"),
            (r#"{"token":"abc","user":"x"}"#, r#"{"token":"***","user":"x"}"#),
            (r#"password: 'a b c' was refused"#, "password: '***' was refused"),
            ("Authorization: Bearer abc.def", "Authorization: ***"),
            (
                "dial postgres://app:s3cr3t@db:5432/x failed",
                "dial postgres://***@db:5432/x failed",
            ),
            ("using AKIAIOSFODNN7EXAMPLE in eu", "using *** in eu"),
            (
                "AccountKey=abc==;EndpointSuffix=core",
                "AccountKey=***;EndpointSuffix=core",
            ),
            (
                "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig expired",
                "jwt *** expired",
            ),
        ] {
            assert_eq!(application(said), shown);
        }
    }

    #[test]
    fn words_about_secrets_stay() {
        for said in [
            "secret \"payments-db\" not found",
            "password authentication failed for user \"app\"",
            "environment variable API_TOKEN is not set",
        ] {
            assert_eq!(application(said), said);
        }
        let said = "failed to fetch oauth token: unexpected status: 401 Unauthorized";
        assert_eq!(platform(said), said);
    }

    #[test]
    fn a_log_is_its_last_lines_without_colours_and_keys() {
        let log = "one\ntwo\n\u{1b}[31mthree\u{1b}[0m\r\n\nfour\tand\u{7}\nfive\n-----BEGIN KEY-----\nMIIE\n-----END KEY-----\n";
        assert_eq!(log_tail(log).unwrap(), "three | four and | five | ***");
        assert_eq!(log_tail("\n \n"), None);
        assert!(log_tail(&"x".repeat(100_000)).unwrap().chars().count() < 200);
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in any::<String>()) {
            for shown in [application(&text), platform(&text), log_tail(&text).unwrap_or_default()] {
                assert!(shown.chars().count() <= 700 && !shown.chars().any(char::is_control));
            }
        }

        #[test]
        fn a_secret_never_comes_through(around in "[ -~]{0,30}", value in "[a-z0-9]{8,20}") {
            let value = format!("zq{value}qz");
            assert!(!application(&format!("{around} password={value}")).contains(&value));
            assert!(!application(&format!("{around} https://u:{value}@host/")).contains(&value));
        }
    }
}
