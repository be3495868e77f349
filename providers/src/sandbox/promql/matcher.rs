//! Label matchers, with regular expressions that mean what Prometheus' (RE2) mean, or are refused.

use regex::{Regex, RegexBuilder};

use super::labels::Labels;

/// One `name OP "value"` of a selector.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    pub name: String,
    pub test: Test,
}

#[derive(Clone, Debug)]
pub(super) enum Test {
    Equal(String),
    NotEqual(String),
    Matches(Regex),
    MatchesNot(Regex),
}

impl Matcher {
    pub(super) fn accepts(&self, labels: &Labels) -> bool {
        self.accepts_value(labels.get(&self.name))
    }

    pub(super) fn accepts_value(&self, value: &str) -> bool {
        match &self.test {
            Test::Equal(wanted) => value == wanted,
            Test::NotEqual(unwanted) => value != unwanted,
            Test::Matches(pattern) => pattern.is_match(value),
            Test::MatchesNot(pattern) => !pattern.is_match(value),
        }
    }
}

/// Compiles a pattern, anchored on both sides.
///
/// The crate `regex` reads almost the same language as RE2. Where the two differ the pattern is rewritten (`\d`, `\w`,
/// `\s` and `\b` know only ASCII in RE2; `[`, `&&`, `--` and `~~` are plain characters inside a class) or refused.
pub(super) fn compile(pattern: &str) -> Result<Regex, String> {
    let refused = |why: &str| format!("regular expression {pattern:?} is not supported: {why}");
    let translated = translate(pattern).map_err(|why| refused(&why))?;
    RegexBuilder::new(&format!("^(?:{translated})$"))
        .size_limit(1 << 20)
        .nest_limit(50)
        .build()
        .map_err(|error| refused(error.to_string().lines().last().unwrap_or("it cannot be compiled")))
}

fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    // Inside a class, whether its next character would be the first: `]` is plain there.
    let mut class: Option<bool> = None;
    while let Some(c) = chars.next() {
        let is_first_in_class = class == Some(true);
        if class.is_some() {
            class = Some(false);
        }
        match c {
            '\\' => {
                let escaped = chars.next().ok_or("it ends with a backslash")?;
                escape(escaped, chars.peek().copied(), class.is_some(), &mut out)?;
            }
            '[' if class.is_none() => {
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                class = Some(true);
            }
            '[' if chars.peek() == Some(&':') => {
                // A named class: both read `[:alpha:]` the same.
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            ']' if is_first_in_class => out.push_str(r"\]"),
            ']' if class.is_some() => {
                out.push(']');
                class = None;
            }
            '[' | '&' | '~' if class.is_some() => {
                out.push('\\');
                out.push(c);
            }
            '-' if class.is_some() && chars.peek() == Some(&'-') => return Err("`--` in a class".to_owned()),
            '-' if class.is_some() && (is_first_in_class || chars.peek() == Some(&']')) => out.push_str(r"\-"),
            '(' if chars.peek() == Some(&'?') && class.is_none() => {
                out.push('(');
                group(&mut chars, &mut out)?;
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

/// What follows `(`: only the flags and names that RE2 has too.
fn group(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) -> Result<(), String> {
    for c in chars.by_ref() {
        out.push(c);
        match c {
            '?' | 'i' | 'm' | 's' | 'U' | '-' => {}
            ':' | ')' | 'P' => return Ok(()),
            other => return Err(format!("`{other}` after `(?`")),
        }
    }
    Err("a group is not closed".to_owned())
}

fn escape(escaped: char, next: Option<char>, in_class: bool, out: &mut String) -> Result<(), String> {
    const DIGIT: &str = "0-9";
    const WORD: &str = "0-9A-Za-z_";
    const SPACE: &str = r"\t\n\x0C\r ";
    let mut ascii = |set: &str, is_negated: bool| match (in_class, is_negated) {
        (true, false) => out.push_str(set),
        (_, true) => out.push_str(&format!("[^{set}]")),
        (false, false) => out.push_str(&format!("[{set}]")),
    };
    match escaped {
        'd' => ascii(DIGIT, false),
        'D' => ascii(DIGIT, true),
        'w' => ascii(WORD, false),
        'W' => ascii(WORD, true),
        's' => ascii(SPACE, false),
        'S' => ascii(SPACE, true),
        'b' if !in_class && next != Some('{') => out.push_str(r"(?-u:\b)"),
        'A' | 'z' if !in_class => {
            out.push('\\');
            out.push(escaped);
        }
        'n' | 'r' | 't' | 'f' | 'v' | 'a' | 'x' | 'p' | 'P' => {
            out.push('\\');
            out.push(escaped);
        }
        c if c.is_ascii_punctuation() && !matches!(c, '<' | '>') => {
            out.push('\\');
            out.push(c);
        }
        other => return Err(format!("the escape `\\{other}`")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: &str) -> bool {
        compile(pattern).unwrap().is_match(value)
    }

    #[test]
    fn patterns_are_anchored_on_both_sides() {
        assert!(matches("5..", "503"));
        assert!(!matches("5..", "5030"));
        assert!(!matches("a|b", "ab"));
        assert!(!matches("a", "a\n"));
    }

    #[test]
    fn perl_classes_know_only_ascii_and_class_signs_are_plain() {
        assert!(matches(r"\d+", "12") && !matches(r"\d+", "١٢"));
        assert!(matches(r"[\w.]+", "a.b") && !matches(r"\w", "é"));
        assert!(matches(r"\D", "é") && matches(r"[\D]", "x") && !matches(r"[\D]", "1"));
        assert!(matches("[a&&b]", "&") && matches("[[a]", "[") && matches("[]a]", "]") && matches("[^]a]", "b"));
        assert!(matches("[a-]", "-") && matches("[a-c]", "b") && matches("[[:digit:]x]", "7"));
        assert!(matches(r"\bfoo\b.*", "foo bar"));
        assert!(matches("(?i)prod", "PROD"));
    }

    #[test]
    fn what_would_mean_something_else_is_refused() {
        for pattern in [
            r"\B",
            r"\Qa\E",
            r"(?x)a b",
            r"\u0041",
            r"\<a",
            r"\b{start}",
            "(?=a)",
            "[!--]",
            "a{99999999}",
            "(",
            r"a\",
            "[a",
        ] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
        assert!(compile(&"(".repeat(100_000)).is_err());
    }
}
