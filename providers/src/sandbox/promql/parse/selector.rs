//! The grammar of selectors: matchers, range, offset.

use super::{Parser, Tree};
use crate::sandbox::promql::labels::{NAME, is_label_name, is_metric_name};
use crate::sandbox::promql::matcher::{Matcher, Test, compile};
use crate::sandbox::promql::syntax::{Expr, Selector};
use crate::sandbox::promql::token::{Misread, Token};

impl Parser {
    /// A selector with its range and offset; the parser stands on the metric's name or on `{`.
    pub(super) fn selector(&mut self, name: Option<&str>) -> Result<Tree, Misread> {
        let place = self.tokens[self.at].0;
        let mut matchers = Vec::new();
        if let Some(name) = name {
            if !is_metric_name(name) {
                return Err(Misread::new(place, format!("{name:?} is not a metric name")));
            }
            self.take();
            matchers.push(Matcher {
                name: NAME.to_owned(),
                test: Test::Equal(name.to_owned()),
            });
        }
        if self.take_sign("{") {
            self.matchers(name.is_some(), &mut matchers)?;
        }
        if matchers.iter().all(|matcher| matcher.accepts_value("")) {
            return Err(Misread::new(
                place,
                "vector selector must contain at least one non-empty matcher",
            ));
        }
        let range = if self.take_sign("[") { Some(self.range()?) } else { None };
        let offset = if self.take_keyword("offset") { self.offset()? } else { 0 };
        if range.is_some() && matches!(self.peek(), Token::Sign("[")) {
            return Err(self.misread("a range may be given only once"));
        }
        self.no_modifier()?;
        let selector = Selector {
            id: self.id(),
            matchers,
            offset,
        };
        Ok((
            match range {
                Some(range) => Expr::Range(selector, range),
                None => Expr::Vector(selector),
            },
            1,
        ))
    }

    fn matchers(&mut self, is_named: bool, matchers: &mut Vec<Matcher>) -> Result<(), Misread> {
        while !self.take_sign("}") {
            let place = self.tokens[self.at].0;
            let name = match self.take() {
                Token::Word(word) if is_label_name(&word) => word,
                // Inside braces `inf` and `nan` are label names, but they were read as numbers: refused rather than guessed.
                other => {
                    return Err(Misread::new(
                        place,
                        format!("unexpected {} in label matching, expected label name", other.describe()),
                    ));
                }
            };
            if is_named && name == NAME {
                return Err(Misread::new(place, "metric name must not be set twice"));
            }
            let place = self.tokens[self.at].0;
            let sign = self.take();
            let Token::Text(value) = self.take() else {
                return Err(Misread::new(
                    place,
                    "label matching needs one of =, !=, =~, !~ and a string",
                ));
            };
            let pattern = |value: &str| compile(value).map_err(|why| Misread::new(place, why));
            let test = match sign {
                Token::Sign("=") => Test::Equal(value),
                Token::Sign("!=") => Test::NotEqual(value),
                Token::Sign("=~") => Test::Matches(pattern(&value)?),
                Token::Sign("!~") => Test::MatchesNot(pattern(&value)?),
                other => {
                    let found = other.describe();
                    return Err(Misread::new(
                        place,
                        format!("unexpected {found} in label matching, expected one of =, !=, =~, !~"),
                    ));
                }
            };
            matchers.push(Matcher { name, test });
            if !matches!(self.peek(), Token::Sign("}")) {
                self.expect(",", "label matching")?;
            }
        }
        Ok(())
    }

    fn range(&mut self) -> Result<i64, Misread> {
        let range = self.duration()?;
        if matches!(self.peek(), Token::Sign(":")) {
            return Err(self.misread("subqueries are not supported"));
        }
        self.expect("]", "range selector")?;
        Ok(range)
    }

    fn offset(&mut self) -> Result<i64, Misread> {
        let is_ahead = self.take_sign("-");
        let offset = self.duration()?;
        Ok(if is_ahead { -offset } else { offset })
    }

    fn duration(&mut self) -> Result<i64, Misread> {
        match *self.peek() {
            Token::Duration(duration) if duration > 0 => {
                self.take();
                Ok(duration)
            }
            Token::Duration(_) => Err(self.misread("duration must be greater than 0")),
            ref other => Err(self.misread(format!("unexpected {}, expected duration", other.describe()))),
        }
    }
}
