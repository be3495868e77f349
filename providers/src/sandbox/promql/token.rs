//! Cuts a query into tokens, each with the place where it starts.

use super::number::read_duration;

/// Why a query is not understood, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misread {
    /// Byte offset into the query.
    pub at: usize,
    pub message: String,
}

impl Misread {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A metric, label or function name, or a keyword: the grammar knows which.
    Word(String),
    Number(f64),
    /// Milliseconds.
    Duration(i64),
    Text(String),
    /// Brackets, operators, commas.
    Sign(&'static str),
    End,
}

impl Token {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(word) => format!("`{word}`"),
            Self::Number(number) => format!("number {number}"),
            Self::Duration(_) => "duration".to_owned(),
            Self::Text(text) => format!("string {text:?}"),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "end of the query".to_owned(),
        }
    }
}

/// Longer signs first, so that `==` is not read as two `=`.
const SIGNS: [&str; 25] = [
    "==", "!=", "=~", "!~", ">=", "<=", "(", ")", "{", "}", "[", "]", ",", "+", "-", "*", "/", "%", "^", ">", "<", "=",
    "@", ":", "!",
];

/// The tokens of a query with their byte offsets; the last one is `End`.
pub(super) fn tokens(query: &str) -> Result<Vec<(usize, Token)>, Misread> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut in_range = false;
    while let Some(first) = query[at..].chars().next() {
        let rest = &query[at..];
        let (length, token) = if first.is_ascii_whitespace() {
            at += 1;
            continue;
        } else if first == '#' {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        } else if matches!(first, '"' | '\'' | '`') {
            text(rest, at)?
        } else if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            number_or_duration(rest, at)?
        } else if first.is_ascii_alphabetic() || first == '_' || (first == ':' && !in_range) {
            word(rest)
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            // A colon starts a metric name, except where it can only mean a subquery.
            in_range = (in_range || *sign == "[") && *sign != "]";
            (sign.len(), Token::Sign(sign))
        } else {
            return Err(Misread::new(at, format!("unexpected character {first:?}")));
        };
        found.push((at, token));
        at += length;
    }
    found.push((query.len(), Token::End));
    Ok(found)
}

fn word(rest: &str) -> (usize, Token) {
    let length = rest
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(rest.len());
    let word = &rest[..length];
    let token = if word.eq_ignore_ascii_case("inf") {
        Token::Number(f64::INFINITY)
    } else if word.eq_ignore_ascii_case("nan") {
        Token::Number(f64::NAN)
    } else {
        Token::Word(word.to_owned())
    };
    (length, token)
}

fn number_or_duration(rest: &str, at: usize) -> Result<(usize, Token), Misread> {
    let mut length = 0;
    let mut previous = ' ';
    let is_hex = rest.starts_with("0x") || rest.starts_with("0X");
    for c in rest.chars() {
        let is_exponent_sign = matches!(c, '+' | '-') && matches!(previous, 'e' | 'E') && !is_hex;
        if !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || is_exponent_sign) {
            break;
        }
        length += c.len_utf8();
        previous = c;
    }
    let text = &rest[..length];
    let token = match read_number(text) {
        Some(number) => Token::Number(number),
        None => Token::Duration(
            read_duration(text).ok_or_else(|| Misread::new(at, format!("bad number or duration syntax: {text:?}")))?,
        ),
    };
    Ok((length, token))
}

/// Integers first, as Prometheus does it: `0x1f` is hexadecimal and `010` is octal.
fn read_number(text: &str) -> Option<f64> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).ok().map(|integer| integer as f64);
    }
    if text.len() > 1
        && text.starts_with('0')
        && text.bytes().all(|digit| digit.is_ascii_digit())
        && let Ok(octal) = i64::from_str_radix(text, 8)
    {
        return Some(octal as f64);
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn text(rest: &str, at: usize) -> Result<(usize, Token), Misread> {
    let unterminated = || Misread::new(at, "unterminated string");
    let quote = rest.chars().next().ok_or_else(unterminated)?;
    let body = &rest[1..];
    if quote == '`' {
        let length = body.find('`').ok_or_else(unterminated)?;
        return Ok((length + 2, Token::Text(body[..length].to_owned())));
    }
    let mut out = String::new();
    let mut chars = body.char_indices();
    while let Some((offset, c)) = chars.next() {
        match c {
            '\n' => return Err(unterminated()),
            '\\' => {
                let (c, extra) = escape(&body[offset + 1..], quote)
                    .ok_or_else(|| Misread::new(at + 1 + offset, "this escape sequence is not supported"))?;
                out.push(c);
                if extra > 0 {
                    chars.nth(extra - 1);
                }
            }
            c if c == quote => return Ok((offset + 2, Token::Text(out))),
            c => out.push(c),
        }
    }
    Err(unterminated())
}

/// The character that follows a backslash and how many characters it took. Bytes above 0x7f that are not a character of
/// their own (`\xff`) are refused: labels are text here.
fn escape(after: &str, quote: char) -> Option<(char, usize)> {
    let code = |digits: std::ops::Range<usize>, radix: u32, max: u32| -> Option<(char, usize)> {
        let text = after.get(digits.clone())?;
        if !text.chars().all(|digit| digit.is_digit(radix)) {
            return None;
        }
        let code = u32::from_str_radix(text, radix).ok().filter(|code| *code <= max)?;
        Some((char::from_u32(code)?, digits.end))
    };
    match after.chars().next()? {
        'a' => Some(('\u{7}', 1)),
        'b' => Some(('\u{8}', 1)),
        'f' => Some(('\u{c}', 1)),
        'n' => Some(('\n', 1)),
        'r' => Some(('\r', 1)),
        't' => Some(('\t', 1)),
        'v' => Some(('\u{b}', 1)),
        '\\' => Some(('\\', 1)),
        c if c == quote => Some((c, 1)),
        'x' => code(1..3, 16, 0x7f),
        'u' => code(1..5, 16, 0x10_ffff),
        'U' => code(1..9, 16, 0x10_ffff),
        '0'..='7' => code(0..3, 8, 0x7f),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(query: &str) -> Vec<Token> {
        tokens(query).unwrap().into_iter().map(|(_, token)| token).collect()
    }

    #[test]
    fn numbers_durations_and_words_are_told_apart() {
        let number = |query| match &kinds(query)[..] {
            [Token::Number(number), Token::End] => *number,
            other => panic!("{other:?}"),
        };
        assert_eq!(number("1.5e-3"), 0.0015);
        assert_eq!(number("0x1F"), 31.0);
        assert_eq!(number("010"), 8.0);
        assert_eq!(number("08"), 8.0);
        assert_eq!(number("+InF".trim_start_matches('+')), f64::INFINITY);
        assert_eq!(kinds("5m"), [Token::Duration(300_000), Token::End]);
        assert_eq!(kinds("a:b"), [Token::Word("a:b".into()), Token::End]);
        assert_eq!(kinds("1-2").len(), 4);
        for bad in ["5x", "1e", "1.5m", "0x", "1e999", "1_000"] {
            assert!(tokens(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn strings_take_go_escapes_and_refuse_others() {
        assert_eq!(
            kinds(r#""a\n\x41\u00e9\101\"é""#),
            [Token::Text("a\nAéA\"é".into()), Token::End]
        );
        assert_eq!(kinds(r"`a\n`"), [Token::Text(r"a\n".into()), Token::End]);
        for bad in [
            r#""\'""#,
            r#""\q""#,
            r#""\xff""#,
            r#""\ud800""#,
            "\"a",
            "'a\n'",
            "`a",
            r#""\"#,
            r#""\u+0e9""#,
        ] {
            assert!(tokens(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn comments_and_unknown_characters() {
        assert_eq!(kinds("# only a comment"), [Token::End]);
        assert_eq!(tokens("a + é").unwrap_err().at, 4);
    }
}
