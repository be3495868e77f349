//! What functions ask of their arguments and what they give back.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use crate::expression::check::{Checked, Checker};
use crate::expression::function::{Form, Function};
use crate::expression::meeting::{Side, join};
use crate::expression::problem::{Problem, Span};
use crate::expression::scope::{Type, did_you_mean};
use crate::expression::term::{Meaning, Term};
use crate::expression::tree::{Fold, Label, Node, Operator};
use crate::expression::unit::{Conversion, Unit};
use crate::expression::value::Value;
use crate::limits::PATTERN_BYTES_MAX;

/// Compiles a pattern of `matches`, within bounds.
pub(crate) fn pattern(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .nest_limit(32)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            // The engine's message is a drawing over several lines; the last one says what is wrong.
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                last.strip_prefix("error: ").unwrap_or(last).to_owned()
            }
        })
}

impl Checker<'_> {
    pub(crate) fn call(
        &mut self,
        receiver: Option<&Node>,
        function: &Label,
        arguments: &[Node],
        span: Span,
    ) -> Checked {
        let Some((known, form)) = Function::named(&function.text) else {
            return self.unknown_function(function);
        };
        let is_method = receiver.is_some();
        if (is_method && form == Form::Plain) || (!is_method && form == Form::Method) {
            let name = &function.text;
            let hint = if is_method {
                format!("write `{name}(x)`")
            } else {
                format!("write `x.{name}(…)`")
            };
            return self.report(Problem::new(function.span, format!("`{name}` is not called like this")).hint(hint));
        }
        let receiver = receiver.map(|node| self.term(node));
        let arguments = self.terms(arguments);
        let mut all = Vec::new();
        if let Some(receiver) = receiver {
            all.push(receiver?);
        }
        all.extend(arguments?);
        self.apply(known, function, is_method, all, span)
    }

    fn unknown_function<T>(&mut self, function: &Label) -> Option<T> {
        let name = &*function.text;
        let hint = if Fold::named(name).is_some() {
            format!("`{name}` is asked of a list or a map, as in `regions.{name}(r, r.share > 0)`")
        } else if let Some(hint) = Function::replacement(name) {
            hint.to_owned()
        } else if self.has_variable(name) {
            format!("`{name}` is a value and cannot be called")
        } else {
            did_you_mean(
                name,
                Function::names()
                    .chain(Fold::ALL.iter().map(|fold| fold.name()))
                    .chain(["has"]),
                "functions",
            )
        };
        self.report(Problem::new(function.span, format!("unknown function `{name}`")).hint(hint))
    }

    fn apply(
        &mut self,
        function: Function,
        name: &Label,
        is_method: bool,
        arguments: Vec<Term>,
        span: Span,
    ) -> Checked {
        if let Function::Min | Function::Max = function {
            return self.extreme(function, name, arguments, span);
        }
        let wanted = if matches!(
            function,
            Function::StartsWith | Function::EndsWith | Function::Contains | Function::Matches
        ) {
            2
        } else {
            1
        };
        if arguments.len() != wanted {
            let own = usize::from(is_method);
            let (wanted, found) = (wanted - own, arguments.len().saturating_sub(own));
            let s = if wanted == 1 { "" } else { "s" };
            return self.report(Problem::new(
                span,
                format!("`{}` takes {wanted} argument{s}, not {found}", name.text),
            ));
        }
        let mut arguments = arguments.into_iter();
        match (function, arguments.next(), arguments.next()) {
            (Function::Matches, Some(text), Some(pattern)) => self.matches(text, pattern, name, span),
            (function, Some(first), None) => self.unary(function, first, name, span),
            (function, Some(text), Some(part)) => {
                self.text(&text, name)?;
                self.text(&part, name)?;
                called(function, vec![text, part], Type::Bool, span)
            }
            (_, None, _) => None,
        }
    }

    fn text(&mut self, term: &Term, name: &Label) -> Option<()> {
        self.wants(term, name, "a string", |of| matches!(of, Type::String | Type::Dyn))
    }

    fn wants(&mut self, term: &Term, name: &Label, what: &str, fits: impl Fn(&Type) -> bool) -> Option<()> {
        if fits(&term.of) {
            return Some(());
        }
        let text = self.source_of(term.span);
        self.report(Problem::new(
            term.span,
            format!("`{}` wants {what}, and `{text}` is {}", name.text, term.of.described()),
        ))
    }

    fn unary(&mut self, function: Function, operand: Term, name: &Label, span: Span) -> Checked {
        let is_plain = operand.is_plain;
        let numeric = |of: &Type| of.is_numeric() || *of == Type::Dyn;
        let of = match &function {
            Function::Size => {
                self.wants(&operand, name, "a string, a list or a map", |of| {
                    matches!(
                        of,
                        Type::String | Type::List(_) | Type::Map(..) | Type::Record(_) | Type::Dyn
                    )
                })?;
                Type::Int
            }
            Function::Int | Function::Uint | Function::Double => {
                self.wants(&operand, name, "a number or a string", |of| {
                    numeric(of) || *of == Type::String
                })?;
                match function {
                    Function::Int => Type::Int,
                    Function::Uint => Type::Uint,
                    _ => Type::Number(Unit::None),
                }
            }
            Function::String => {
                self.wants(&operand, name, "a number, a string or a condition", |of| {
                    numeric(of) || matches!(of, Type::String | Type::Bool)
                })?;
                Type::String
            }
            Function::Bool => {
                self.wants(&operand, name, "a condition or a string", |of| {
                    matches!(of, Type::Bool | Type::String | Type::Dyn)
                })?;
                Type::Bool
            }
            Function::Abs => {
                self.wants(&operand, name, "a number", numeric)?;
                return called(function, vec![operand.clone()], operand.of, span).map(|term| term.plain(is_plain));
            }
            Function::Ceil | Function::Floor | Function::Round | Function::Trunc => {
                self.wants(&operand, name, "a number", numeric)?;
                let of = if let Type::Number(_) = &operand.of {
                    operand.of.clone()
                } else {
                    Type::Number(Unit::None)
                };
                let operand = self.as_number(operand, &of)?;
                return called(function, vec![operand], of, span).map(|term| term.plain(is_plain));
            }
            Function::IsNaN | Function::IsInf | Function::IsFinite => {
                self.wants(&operand, name, "a number", numeric)?;
                Type::Bool
            }
            Function::LowerAscii | Function::UpperAscii | Function::Trim => {
                self.text(&operand, name)?;
                Type::String
            }
            Function::Quantity(unit, conversion) => return self.quantity(unit, *conversion, operand, name, span),
            Function::StartsWith
            | Function::EndsWith
            | Function::Contains
            | Function::Matches
            | Function::Min
            | Function::Max => return None,
        };
        called(function, vec![operand], of, span)
    }

    fn quantity(&mut self, unit: &Unit, conversion: Conversion, operand: Term, name: &Label, span: Span) -> Checked {
        self.wants(&operand, name, "a number", |of| of.is_numeric() || *of == Type::Dyn)?;
        let (operand, conversion) = match &operand.of {
            Type::Number(own) if !own.is_plain() => {
                let Some(rescaled) = own.factor_to(unit).filter(|_| conversion == Conversion::Same) else {
                    let text = self.source_of(operand.span);
                    let problem = Problem::new(span, format!("`{text}` is {} already", own.described()));
                    return self.report(problem.hint(format!(
                        "`{}` gives a plain number its unit; `double({text})` takes it away",
                        name.text
                    )));
                };
                (operand, rescaled)
            }
            Type::Dyn => (operand, conversion),
            _ => (self.as_number(operand, &Type::Number(Unit::None))?, conversion),
        };
        let meaning = Meaning::Number {
            operand: Box::new(operand),
            conversion,
        };
        Some(Term::new(meaning, Type::Number(unit.clone()), span))
    }

    fn extreme(&mut self, function: Function, name: &Label, arguments: Vec<Term>, span: Span) -> Checked {
        let fits = |of: &Type| of.is_numeric() || *of == Type::Dyn;
        if let [only] = arguments.as_slice() {
            let item = match &only.of {
                Type::List(of) if fits(of) => (**of).clone(),
                of if fits(of) => of.clone(),
                _ => {
                    return self
                        .wants(only, name, "numbers or a list of numbers", |_| false)
                        .and(None);
                }
            };
            return called(function, arguments, item, span);
        }
        let Some((first, rest)) = arguments.split_first() else {
            return self.report(Problem::new(span, format!("`{}` needs at least one number", name.text)));
        };
        let (mut of, mut is_plain) = (first.of.clone(), first.is_plain);
        for term in &arguments {
            self.wants(term, name, "numbers or a list of numbers", fits)?;
        }
        for term in rest {
            of = match join(Side { of: &of, is_plain }, Side::of(term)) {
                Some(joined) => joined,
                None if of.is_numeric() && !of.has_unit() && !term.of.has_unit() => Type::Dyn,
                None => return self.cannot_meet(Operator::Less, first, term, span),
            };
            is_plain &= term.is_plain;
        }
        let turned: Option<Vec<Term>> = arguments.into_iter().map(|term| self.as_number(term, &of)).collect();
        called(function, turned?, of, span).map(|term| term.plain(is_plain))
    }

    fn matches(&mut self, text: Term, wanted: Term, name: &Label, span: Span) -> Checked {
        self.text(&text, name)?;
        self.text(&wanted, name)?;
        let Meaning::Constant(Value::String(source)) = &wanted.meaning else {
            return called(Function::Matches, vec![text, wanted], Type::Bool, span);
        };
        match pattern(source) {
            Ok(pattern) => {
                let meaning = Meaning::Matches {
                    text: Box::new(text),
                    pattern: Arc::new(pattern),
                };
                Some(Term::new(meaning, Type::Bool, span))
            }
            Err(why) => self.report(Problem::new(
                wanted.span,
                format!("the regular expression cannot be used: {why}"),
            )),
        }
    }
}

fn called(function: Function, arguments: Vec<Term>, of: Type, span: Span) -> Checked {
    Some(Term::new(Meaning::Call { function, arguments }, of, span))
}
