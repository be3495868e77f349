//! From characters to tokens: the lexical rules of CEL, each token with its place.

use crate::expression::problem::{Problem, Span};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// The digits of an integer without its sign: the parser knows whether a minus belongs to it.
    Int(u64),
    Uint(u64),
    Double(f64),
    Text(String),
    Name(String),
    Symbol(Symbol),
}

macro_rules! symbols {
    ($($name:ident $text:literal),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Symbol { $($name),+ }

        impl Symbol {
            /// Longer symbols stand before their own beginnings.
            const ALL: &[(Symbol, &'static str)] = &[$((Symbol::$name, $text)),+];

            pub(crate) fn text(self) -> &'static str {
                match self { $(Symbol::$name => $text),+ }
            }
        }
    };
}

symbols! {
    LessOrEqual "<=", GreaterOrEqual ">=", Equal "==", NotEqual "!=", And "&&", Or "||",
    Less "<", Greater ">", Not "!", Plus "+", Minus "-", Star "*", Slash "/", Percent "%",
    Dot ".", Comma ",", Colon ":", Question "?",
    ParenOpen "(", ParenClose ")", BracketOpen "[", BracketClose "]", BraceOpen "{", BraceClose "}",
}

impl Token {
    /// How a message names the token.
    pub(crate) fn description(&self) -> String {
        match self {
            Token::Int(number) => format!("`{number}`"),
            Token::Uint(number) => format!("`{number}u`"),
            Token::Double(number) => format!("`{number}`"),
            Token::Text(_) => "a string".to_owned(),
            Token::Name(name) => format!("`{name}`"),
            Token::Symbol(symbol) => format!("`{}`", symbol.text()),
        }
    }
}

/// Reads one token after another; after a problem it stands behind what it could not read.
pub(crate) struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        Self { source, at: 0 }
    }

    /// Starts at a byte that must be a character boundary of the source.
    pub(crate) fn starting_at(source: &'a str, at: usize) -> Self {
        Self { source, at }
    }

    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.bump();
        }
    }

    fn span_from(&self, start: usize) -> Span {
        Span::new(start, self.at)
    }

    fn skip_blanks(&mut self) {
        loop {
            self.skip_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}'));
            if !self.rest().starts_with("//") {
                return;
            }
            self.skip_while(|c| c != '\n');
        }
    }

    /// The next token, or `None` at the end of the text.
    pub(crate) fn next_token(&mut self) -> Result<Option<(Token, Span)>, Problem> {
        self.skip_blanks();
        let start = self.at;
        let Some(first) = self.peek() else { return Ok(None) };
        let token = if first.is_ascii_digit() || (first == '.' && self.digit_follows_dot()) {
            self.number()?
        } else if let Some(raw) = self.string_prefix() {
            self.text(raw)?
        } else if first == '_' || first.is_ascii_alphabetic() {
            self.skip_while(is_name_character);
            Token::Name(self.source[start..self.at].to_owned())
        } else {
            self.symbol()?
        };
        Ok(Some((token, self.span_from(start))))
    }

    fn digit_follows_dot(&self) -> bool {
        self.rest().chars().nth(1).is_some_and(|c| c.is_ascii_digit())
    }

    fn symbol(&mut self) -> Result<Token, Problem> {
        for (symbol, text) in Symbol::ALL {
            if self.rest().starts_with(text) {
                self.at += text.len();
                return Ok(Token::Symbol(*symbol));
            }
        }
        let start = self.at;
        let wrong = self.bump().unwrap_or_default();
        let problem = Problem::new(
            self.span_from(start),
            format!("unexpected character `{}`", wrong.escape_debug()),
        );
        Err(match wrong {
            '=' => problem.hint("equality is written `==`"),
            '&' => problem.hint("`and` is written `&&`"),
            '|' => problem.hint("`or` is written `||`"),
            '$' => problem.hint("inside an expression names stand by themselves, without `${{ }}`"),
            '≤' => problem.hint("write `<=`"),
            '≥' => problem.hint("write `>=`"),
            '“' | '”' | '‘' | '’' => problem.hint("strings stand in straight quotes: 'text' or \"text\""),
            _ => problem,
        })
    }

    fn number(&mut self) -> Result<Token, Problem> {
        let start = self.at;
        if self.rest().starts_with("0x") {
            self.at += 2;
            let digits = self.at;
            self.skip_while(|c| c.is_ascii_hexdigit());
            return self.integer(start, digits, 16);
        }
        self.skip_while(|c| c.is_ascii_digit());
        let mut is_double = false;
        if self.peek() == Some('.') && self.digit_follows_dot() {
            is_double = true;
            self.bump();
            self.skip_while(|c| c.is_ascii_digit());
        }
        if self.exponent_follows() {
            is_double = true;
            self.at += 1;
            if matches!(self.peek(), Some('+' | '-')) {
                self.bump();
            }
            self.skip_while(|c| c.is_ascii_digit());
        }
        if !is_double {
            return self.integer(start, start, 10);
        }
        self.refuse_suffix(start)?;
        let span = self.span_from(start);
        match span.of(self.source).parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Token::Double(number)),
            _ => Err(Problem::new(
                span,
                format!("`{}` is too large for a number", span.of(self.source)),
            )),
        }
    }

    fn exponent_follows(&self) -> bool {
        let mut rest = self.rest().chars();
        matches!(rest.next(), Some('e' | 'E'))
            && match rest.next() {
                Some('+' | '-') => rest.next().is_some_and(|c| c.is_ascii_digit()),
                Some(c) => c.is_ascii_digit(),
                None => false,
            }
    }

    fn integer(&mut self, start: usize, digits: usize, radix: u32) -> Result<Token, Problem> {
        let text = &self.source[digits..self.at];
        let number = u64::from_str_radix(text, radix);
        let is_unsigned = matches!(self.peek(), Some('u' | 'U')) && {
            let after = self.rest().chars().nth(1);
            !after.is_some_and(is_name_character)
        };
        if is_unsigned {
            self.bump();
        } else {
            self.refuse_suffix(start)?;
        }
        let span = self.span_from(start);
        match number {
            Ok(number) if is_unsigned => Ok(Token::Uint(number)),
            Ok(number) => Ok(Token::Int(number)),
            Err(_) if text.is_empty() => Err(Problem::new(span, "`0x` needs hexadecimal digits behind it")),
            Err(_) => Err(Problem::new(
                span,
                format!("`{}` does not fit into 64 bits", span.of(self.source)),
            )),
        }
    }

    /// `250ms` and `1GiB` are what people type; the hint says what it is called here.
    fn refuse_suffix(&mut self, start: usize) -> Result<(), Problem> {
        if !self.peek().is_some_and(is_name_character) {
            return Ok(());
        }
        let behind = self.at;
        self.skip_while(is_name_character);
        let digits = &self.source[start..behind];
        let suffix = &self.source[behind..self.at];
        let problem = Problem::new(
            self.span_from(start),
            format!("`{suffix}` cannot stand directly behind a number"),
        );
        let unit = match suffix {
            "s" | "sec" => "seconds",
            "m" | "min" => "minutes",
            "h" => "hours",
            "d" => "days",
            "KiB" => "Ki",
            "MiB" => "Mi",
            "GiB" => "Gi",
            "ms" | "Ki" | "Mi" | "Gi" | "Ti" | "KB" | "MB" | "GB" | "TB" => suffix,
            _ => return Err(problem),
        };
        Err(problem.hint(format!("write `{unit}({digits})`")))
    }

    /// `Some(is_raw)` when a string starts here.
    fn string_prefix(&self) -> Option<bool> {
        let mut rest = self.rest().chars();
        match (rest.next(), rest.next()) {
            (Some('"' | '\''), _) => Some(false),
            (Some('r' | 'R'), Some('"' | '\'')) => Some(true),
            _ => None,
        }
    }

    fn text(&mut self, is_raw: bool) -> Result<Token, Problem> {
        let start = self.at;
        if is_raw {
            self.bump();
        }
        let quote = if self.peek() == Some('"') { "\"" } else { "'" };
        let triple = quote.repeat(3);
        let is_triple = self.rest().starts_with(&triple);
        let end = if is_triple { triple.as_str() } else { quote };
        self.at += end.len();
        let mut text = String::new();
        let mut problem = None;
        loop {
            if self.rest().starts_with(end) {
                self.at += end.len();
                return problem.map_or(Ok(Token::Text(text)), Err);
            }
            let at = self.at;
            match self.bump() {
                None => return Err(unterminated(self.span_from(start), end)),
                Some('\n' | '\r') if !is_triple => return Err(unterminated(Span::new(start, at), end)),
                Some('\\') if !is_raw => match self.escape(at) {
                    Ok(character) => text.push(character),
                    Err(wrong) => problem = problem.or(Some(wrong)),
                },
                Some(character) => text.push(character),
            }
        }
    }

    fn escape(&mut self, start: usize) -> Result<char, Problem> {
        let kind = self.bump();
        match kind {
            Some('a') => Ok('\u{7}'),
            Some('b') => Ok('\u{8}'),
            Some('f') => Ok('\u{c}'),
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some('v') => Ok('\u{b}'),
            Some(same @ ('\\' | '?' | '"' | '\'' | '`')) => Ok(same),
            Some('x' | 'X') => self.code(start, 2, 16),
            Some('u') => self.code(start, 4, 16),
            Some('U') => self.code(start, 8, 16),
            Some('0'..='3') => {
                self.at -= 1;
                self.code(start, 3, 8)
            }
            _ => Err(Problem::new(
                self.span_from(start),
                format!("unknown escape `{}`", self.span_from(start).of(self.source)),
            )
            .hint("a backslash itself is `\\\\`; in r'…' it stands for itself, as regular expressions like it")),
        }
    }

    fn code(&mut self, start: usize, length: usize, radix: u32) -> Result<char, Problem> {
        let digits = self.at;
        for _ in 0..length {
            if self.peek().is_some_and(|c| c.is_digit(radix)) {
                self.bump();
            }
        }
        let text = &self.source[digits..self.at];
        let code = if text.len() == length {
            u32::from_str_radix(text, radix).ok()
        } else {
            None
        };
        code.and_then(char::from_u32).ok_or_else(|| {
            let span = self.span_from(start);
            Problem::new(span, format!("escape `{}` is not a character", span.of(self.source)))
                .hint(format!("it needs {length} digits that name a character"))
        })
    }
}

fn unterminated(span: Span, end: &str) -> Problem {
    Problem::new(span, "the string is not closed").hint(format!("it ends with {end}"))
}

fn is_name_character(character: char) -> bool {
    character == '_' || character.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Lexer, Symbol, Token};
    use crate::expression::problem::Problem;

    fn tokens(source: &str) -> Result<Vec<Token>, Problem> {
        let mut lexer = Lexer::new(source);
        let mut all = Vec::new();
        while let Some((token, _)) = lexer.next_token()? {
            all.push(token);
        }
        Ok(all)
    }

    fn text(source: &str) -> String {
        match tokens(source).unwrap().as_slice() {
            [Token::Text(text)] => text.clone(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn numbers_are_read_in_every_form_of_cel() {
        assert_eq!(
            tokens("0 17 0xfF 3u 0x10U 1.5 .5 1e3 2.5E-2").unwrap(),
            [
                Token::Int(0),
                Token::Int(17),
                Token::Int(255),
                Token::Uint(3),
                Token::Uint(16),
                Token::Double(1.5),
                Token::Double(0.5),
                Token::Double(1000.0),
                Token::Double(0.025)
            ]
        );
    }

    #[test]
    fn strings_know_both_quotes_escapes_and_raw_text() {
        assert_eq!(text(r#"'it\'s'"#), "it's");
        assert_eq!(text(r#""a\tb\u00e9\x41\101\U0001F600""#), "a\tbéAA😀");
        assert_eq!(text(r"r'\d+'"), r"\d+");
        assert_eq!(text("'''a\n'b'\n'''"), "a\n'b'\n");
        assert_eq!(text("''"), "");
    }

    #[test]
    fn places_are_counted_in_bytes() {
        let mut lexer = Lexer::new("'é' == x // why\n+");
        let spans: Vec<_> = std::iter::from_fn(|| lexer.next_token().unwrap())
            .map(|(_, span)| span.range())
            .collect();
        assert_eq!(spans, [0..4, 5..7, 8..9, 17..18]);
    }

    #[test]
    fn what_people_type_by_habit_gets_a_hint() {
        let hint = |source: &str| tokens(source).unwrap_err().hint.unwrap();
        assert_eq!(hint("250ms"), "write `ms(250)`");
        assert_eq!(hint("1.5GiB"), "write `Gi(1.5)`");
        assert_eq!(hint("a = b"), "equality is written `==`");
    }

    #[test]
    fn unreadable_text_is_a_problem_with_its_place() {
        for (source, range) in [
            ("a # b", 2..3),
            ("'abc", 0..4),
            (r"'a\qb'", 2..4),
            ("0x", 0..2),
            ("99999999999999999999", 0..20),
            ("1e999", 0..5),
            (r"'\ud800'", 1..7),
        ] {
            assert_eq!(tokens(source).unwrap_err().span.range(), range, "{source}");
        }
    }

    #[test]
    fn the_longest_symbol_wins() {
        let symbols = tokens("<= < == !").unwrap();
        assert_eq!(
            symbols,
            [Symbol::LessOrEqual, Symbol::Less, Symbol::Equal, Symbol::Not].map(Token::Symbol)
        );
    }
}
