//! Strings with `${{ expr }}` inside: parsed once, checked against a scope, rendered in one pass.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::expression::apply::string;
use crate::expression::evaluation::{Error, Fault};
use crate::expression::problem::{Problem, Span};
use crate::expression::reference::Reference;
use crate::expression::scope::{Scope, Type};
use crate::expression::token::{Lexer, Symbol, Token};
use crate::expression::value::Values;
use crate::expression::{Checked, Expression, unchecked};
use crate::limits::{RENDERED_BYTES_MAX, SCALAR_BYTES_MAX};

const OPENING: &str = "${{";
const ESCAPED: &str = "$${{";

/// A text with expressions inside. `$${{` stands for `${{` itself. What an expression gives is put in as it is and never read again.
#[derive(Clone, Debug)]
pub struct Template {
    source: Arc<str>,
    pieces: Arc<[Piece]>,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    /// The expression, and the byte of the template where its source begins.
    Expression(Expression, usize),
}

impl Template {
    /// Reads a template. What cannot be read is reported with its place in the template and left out, so that the rest can still be
    /// checked; a template with problems must not be rendered.
    #[must_use]
    pub fn parse(source: &str) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let pieces = if source.len() > SCALAR_BYTES_MAX {
            let whole = Span::new(0, source.len());
            problems.push(Problem::new(
                whole,
                format!("the text is longer than {SCALAR_BYTES_MAX} bytes"),
            ));
            Vec::new()
        } else {
            pieces(source, &mut problems)
        };
        (
            Self {
                source: source.into(),
                pieces: pieces.into(),
            },
            problems,
        )
    }

    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// No expression stands in it.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.expressions().next().is_none()
    }

    /// The expressions inside, each with the byte where its source begins.
    pub fn expressions(&self) -> impl Iterator<Item = (&Expression, usize)> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Expression(expression, offset) => Some((expression, *offset)),
            Piece::Text(_) => None,
        })
    }

    /// Every use of a variable, with its place in the template.
    #[must_use]
    pub fn references(&self) -> Vec<Reference> {
        let of = |(expression, offset): (&Expression, usize)| {
            let shift = move |reference: Reference| Reference {
                span: reference.span.shifted(offset),
                ..reference
            };
            expression.references().into_iter().map(shift).collect::<Vec<_>>()
        };
        self.expressions().flat_map(of).collect()
    }

    /// The variables used, each once.
    #[must_use]
    pub fn variables(&self) -> BTreeSet<Arc<str>> {
        self.expressions()
            .flat_map(|(expression, _)| expression.variables())
            .collect()
    }

    #[must_use]
    pub fn mentions(&self, variable: &str) -> bool {
        self.expressions().any(|(expression, _)| expression.mentions(variable))
    }

    /// Checks every expression inside; each must give a text, a number or a condition.
    ///
    /// # Errors
    /// All problems, with their places in the template.
    pub fn check(&self, scope: &Scope) -> Result<CheckedTemplate, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut pieces = Vec::new();
        for piece in self.pieces.iter() {
            match piece {
                Piece::Text(text) => pieces.push(CheckedPiece::Text(text.clone())),
                Piece::Expression(expression, offset) => match printable(expression, scope) {
                    Ok(checked) => pieces.push(CheckedPiece::Expression(checked, *offset)),
                    Err(wrong) => problems.extend(wrong.into_iter().map(|problem| problem.shifted(*offset))),
                },
            }
        }
        if problems.is_empty() {
            Ok(CheckedTemplate { pieces: pieces.into() })
        } else {
            Err(problems)
        }
    }

    /// Renders with the values at hand as the scope; what is rendered often is better checked once and rendered from there.
    ///
    /// # Errors
    /// As [`CheckedTemplate::render`]; an expression that does not fit the values is `Fault::Unchecked`.
    pub fn render(&self, values: &Values) -> Result<String, Error> {
        self.check(&values.scope()).map_err(unchecked)?.render(values)
    }
}

fn printable(expression: &Expression, scope: &Scope) -> Result<Checked, Vec<Problem>> {
    let checked = expression.check(scope)?;
    match checked.of() {
        Type::String | Type::Bool | Type::Int | Type::Uint | Type::Number(_) | Type::Dyn => Ok(checked),
        other @ (Type::Null | Type::List(_) | Type::Map(..) | Type::Record(_)) => {
            let message = format!(
                "`{}` is {} and has no text",
                expression.source().trim(),
                other.described()
            );
            Err(vec![
                Problem::new(checked.root.span, message).hint("put one of its values in, or `string(…)` of it"),
            ])
        }
    }
}

/// A template that fits a scope.
#[derive(Clone, Debug)]
pub struct CheckedTemplate {
    pieces: Arc<[CheckedPiece]>,
}

#[derive(Clone, Debug)]
enum CheckedPiece {
    Text(String),
    Expression(Checked, usize),
}

impl CheckedTemplate {
    /// Puts the values in. Each expression has its own budget of steps.
    ///
    /// # Errors
    /// The first expression without an answer, with its place in the template; values without a text (null, lists, maps, NaN); a result
    /// longer than [`RENDERED_BYTES_MAX`].
    pub fn render(&self, values: &Values) -> Result<String, Error> {
        let mut rendered = String::new();
        for piece in self.pieces.iter() {
            match piece {
                CheckedPiece::Text(text) => rendered.push_str(text),
                CheckedPiece::Expression(checked, offset) => {
                    let shifted = |error: Error| Error {
                        span: error.span.shifted(*offset),
                        ..error
                    };
                    let value = checked.evaluate(values).map_err(shifted)?;
                    let text = string(&value).map_err(|fault| shifted(fault.at(checked.root.span)))?;
                    rendered.push_str(&text);
                    if rendered.len() > RENDERED_BYTES_MAX {
                        let fault = Fault::TooLong {
                            bytes_max: RENDERED_BYTES_MAX,
                        };
                        return Err(shifted(fault.at(checked.root.span)));
                    }
                }
            }
        }
        Ok(rendered)
    }
}

fn pieces(source: &str, problems: &mut Vec<Problem>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut at = 0;
    while let Some(found) = source[at..].find(OPENING).map(|found| at + found) {
        // `$${{` is found at its second dollar, when the first belongs to no other escape.
        if found > at && source[..found].ends_with('$') && source[found - 1..].starts_with(ESCAPED) {
            text.push_str(&source[at..found - 1]);
            text.push_str(OPENING);
            at = found + OPENING.len();
            continue;
        }
        text.push_str(&source[at..found]);
        let start = found + OPENING.len();
        let (end, next) = match closing(source, start) {
            Ok(end) => (end, end + 2),
            Err((problem, next)) => {
                problems.push(problem);
                at = next;
                continue;
            }
        };
        match Expression::parse(&source[start..end]) {
            Ok(expression) => {
                pieces.extend(
                    Some(std::mem::take(&mut text))
                        .filter(|text| !text.is_empty())
                        .map(Piece::Text),
                );
                pieces.push(Piece::Expression(expression, start));
            }
            Err(wrong) => problems.extend(wrong.into_iter().map(|problem| problem.shifted(start))),
        }
        at = next;
    }
    text.push_str(&source[at..]);
    pieces.extend(Some(text).filter(|text| !text.is_empty()).map(Piece::Text));
    pieces
}

/// Where the expression that starts here ends: at the first `}}` that is no part of a string or a map. Otherwise the problem and where to
/// go on reading.
fn closing(source: &str, start: usize) -> Result<usize, (Problem, usize)> {
    let mut lexer = Lexer::starting_at(source, start);
    let mut open_braces = 0usize;
    let mut wrong = None;
    loop {
        match lexer.next_token() {
            Ok(Some((Token::Symbol(Symbol::BraceOpen), _))) => open_braces += 1,
            Ok(Some((Token::Symbol(Symbol::BraceClose), span))) if open_braces == 0 => {
                return if source[span.end..].starts_with('}') {
                    Ok(span.start)
                } else {
                    Err((
                        Problem::new(span, "a single `}` where `}}` closes the expression"),
                        span.end,
                    ))
                };
            }
            Ok(Some((Token::Symbol(Symbol::BraceClose), _))) => open_braces -= 1,
            Ok(Some(_)) => {}
            Ok(None) => break,
            // What is wrong inside is reported by the parser, if the end is found; a string that is not closed hides it.
            Err(problem) => wrong = wrong.or(Some(problem)),
        }
    }
    let opening = Span::new(start - OPENING.len(), start);
    let end = source[start..].find("}}").map(|found| start + found);
    let problem = match (wrong, end) {
        (Some(problem), Some(_)) => problem,
        _ => Problem::new(opening, "`${{` is not closed")
            .hint("an expression ends with `}}`; `$${{` writes the characters themselves"),
    };
    Err((problem, end.map_or(source.len(), |end| end + 2)))
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Template {}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl FromStr for Template {
    type Err = Problem;

    fn from_str(source: &str) -> Result<Self, Problem> {
        let (template, problems) = Template::parse(source);
        problems.into_iter().next().map_or(Ok(template), Err)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Template;
    use crate::expression::evaluation::Fault;
    use crate::expression::problem::Problem;
    use crate::expression::scope::{Record, Scope, Type};
    use crate::expression::unit::Unit;
    use crate::expression::value::{Value, Values};

    fn scope() -> Scope {
        let arm = Record::new("arm")
            .with("version", Type::String)
            .with("labels", Type::map(Type::String));
        let inputs = Record::new("inputs").with("version", Type::String);
        Scope::new()
            .with("arm", arm)
            .with("inputs", inputs)
            .with("window", Type::String)
            .with("count", Type::Int)
            .with("share", Unit::Percent)
    }

    fn values() -> Values {
        let labels = Value::record([("zone", "a"), ("pod-hash", "7f9")]);
        Values::new()
            .with(
                "arm",
                Value::record([("version", Value::from("v2")), ("labels", labels)]),
            )
            .with("inputs", Value::record([("version", "v3")]))
            .with("window", "2m")
            .with("count", 3i64)
            .with("share", 12.5)
    }

    fn problems(source: &str) -> Vec<Problem> {
        let (template, mut problems) = Template::parse(source);
        problems.extend(template.check(&scope()).err().unwrap_or_default());
        problems
    }

    fn rendered(source: &str) -> String {
        let (template, problems) = Template::parse(source);
        assert_eq!(problems, [], "{source}");
        template.check(&scope()).unwrap().render(&values()).unwrap()
    }

    #[test]
    fn expressions_are_replaced_and_all_else_is_kept() {
        for (source, text) in [
            ("plain $ {{ text }} é", "plain $ {{ text }} é"),
            ("", ""),
            ("${{ arm.version }}", "v2"),
            ("a ${{inputs.version}}/${{ window }} z", "a v3/2m z"),
            ("${{ arm.labels['pod-hash'] }}", "7f9"),
            ("${{ count + 1 }}, ${{ share }} %, ${{ count > 2 }}", "4, 12.5 %, true"),
            ("${{ {'a': {'b': '}}'}}['a']['b'] }}", "}}"),
            ("${{ '${{ x }}' }}", "${{ x }}"),
            ("$${{ x }} and $$${{ x }} and $${{", "${{ x }} and $${{ x }} and ${{"),
            (
                "{version=\"${{ arm.version }}\"}[${{ window }}]",
                "{version=\"v2\"}[2m]",
            ),
            ("${{ count // why\n }}", "3"),
        ] {
            assert_eq!(rendered(source), text, "{source}");
        }
    }

    #[test]
    fn problems_have_their_place_in_the_template() {
        for (source, places) in [
            ("é ${{ arm.versoin }} ${{ windw }}", vec!["versoin", "windw"]),
            ("x ${{ 1 + }} ${{ nope }}", vec!["", "nope"]),
            ("${{ window ", vec!["${{"]),
            ("${{ window } and", vec!["}"]),
            ("${{ 'abc }} ${{ nope }}", vec!["'abc }} ${{ nope }}", "nope"]),
            ("${{ arm }}", vec!["arm"]),
            ("${{ arm.labels }}", vec!["arm.labels"]),
            ("${{ null }}", vec!["null"]),
            ("${{ }}", vec![" "]),
            ("${{ ${{ window }} }}", vec!["$"]),
        ] {
            let problems = problems(source);
            let found: Vec<&str> = problems
                .iter()
                .map(|problem| problem.span.of(source))
                .take(places.len())
                .collect();
            assert_eq!(found, places, "{source}: {problems:?}");
        }
    }

    #[test]
    fn a_template_tells_what_it_uses() {
        let source = "é ${{ arm.version }} ${{ window + arm.labels.zone }}";
        let (template, _) = Template::parse(source);
        let found: Vec<(String, &str)> = template
            .references()
            .iter()
            .map(|reference| (reference.path.join("."), reference.span.of(source)))
            .collect();
        let expected = ["arm.version", "window", "arm.labels.zone"].map(|path| (path.to_owned(), path));
        assert_eq!(found, expected);
        assert!(template.mentions("arm") && !template.mentions("inputs") && !template.is_constant());
        assert!(Template::parse("$${{ arm }}").0.is_constant());
    }

    #[test]
    fn what_has_no_text_fails() {
        let (template, _) = Template::parse("a ${{ arm.labels.none }}");
        let error = template.render(&values()).unwrap_err();
        assert_eq!(
            (error.fault, error.span.range()),
            (Fault::Missing { name: "none".into() }, 6..21)
        );
        let (number, _) = Template::parse("${{ share }}");
        assert_eq!(
            number.render(&values().with("share", f64::NAN)).unwrap_err().fault,
            Fault::NotANumber
        );
        assert!(matches!(
            number.render(&Values::new()).unwrap_err().fault,
            Fault::Unchecked { .. }
        ));
        assert!(matches!(
            number.render(&values().with("share", Value::Null)).unwrap_err().fault,
            Fault::Mismatch { .. }
        ));
    }

    #[test]
    fn a_rendered_text_has_a_limit() {
        let (template, problems) = Template::parse(&"${{ window }}".repeat(100));
        assert_eq!(problems, []);
        let error = template
            .render(&Values::new().with("window", "x".repeat(20_000)))
            .unwrap_err();
        assert!(matches!(error.fault, Fault::TooLong { .. }));
        assert_eq!(Template::parse(&" ".repeat(70_000)).1.len(), 1);
    }

    #[test]
    fn stored_templates_are_their_source() {
        let (template, _) = Template::parse("v${{ window }}");
        let stored = serde_json::to_string(&template).unwrap();
        assert_eq!(stored, r#""v${{ window }}""#);
        assert_eq!(serde_json::from_str::<Template>(&stored).unwrap(), template);
        assert!(serde_json::from_str::<Template>(r#""${{ window""#).is_err());
    }
}
