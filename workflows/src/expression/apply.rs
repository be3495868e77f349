//! What the functions do.

use crate::expression::calls::pattern;
use crate::expression::evaluation::{Error, Evaluated, Evaluation, Fault, conforming};
use crate::expression::function::Function;
use crate::expression::number;
use crate::expression::problem::Span;
use crate::expression::term::Term;
use crate::expression::value::Value;

/// Compiling a pattern that is known only now costs as much as this many steps.
const PATTERN_STEPS: usize = 2_000;

impl Evaluation<'_> {
    pub(crate) fn call(&mut self, function: &Function, arguments: &[Term], term: &Term) -> Evaluated {
        let span = term.span;
        match (function, arguments) {
            (Function::StartsWith | Function::EndsWith | Function::Contains | Function::Matches, [text, part]) => {
                let (text, part) = (self.text(text)?, self.text(part)?);
                self.spend((text.len() + part.len()) / 8, span)?;
                Ok(Value::Bool(match function {
                    Function::StartsWith => text.starts_with(&*part),
                    Function::EndsWith => text.ends_with(&*part),
                    Function::Contains => text.contains(&*part),
                    _ => self.matches(&text, &part, span)?,
                }))
            }
            (Function::LowerAscii | Function::UpperAscii | Function::Trim, [text]) => {
                let text = self.text(text)?;
                self.spend(text.len() / 8, span)?;
                Ok(match function {
                    Function::LowerAscii => text.to_ascii_lowercase().into(),
                    Function::UpperAscii => text.to_ascii_uppercase().into(),
                    _ => text.trim().into(),
                })
            }
            (Function::Min | Function::Max, arguments) => {
                let value = self.extreme(function, arguments, span)?;
                conforming(value, &term.of, span)
            }
            (function, [operand]) => {
                let value = self.term(operand)?;
                if let Value::String(text) = &value {
                    self.spend(text.len() / 8, span)?;
                }
                one(function, &value).map_err(|fault| fault.at(operand.span))
            }
            _ => Err(Fault::Unchecked {
                message: "a function was called with the wrong number of arguments".to_owned(),
            }
            .at(span)),
        }
    }

    fn matches(&mut self, text: &str, source: &str, span: Span) -> Result<bool, Error> {
        self.spend(PATTERN_STEPS + text.len(), span)?;
        let pattern = pattern(source).map_err(|why| Fault::Pattern { why }.at(span))?;
        Ok(pattern.is_match(text))
    }

    fn extreme(&mut self, function: &Function, arguments: &[Term], span: Span) -> Evaluated {
        let mut values = arguments
            .iter()
            .map(|argument| self.term(argument))
            .collect::<Result<Vec<_>, _>>()?;
        if let [Value::List(items)] = values.as_slice() {
            self.spend(items.len(), span)?;
            values = items.to_vec();
        }
        let mut values = values.into_iter();
        let Some(mut best) = values.next() else {
            return Err(Fault::OutOfBounds { index: 0, length: 0 }.at(span));
        };
        // A single number is compared with itself, so that NaN never comes out as the largest or smallest.
        for value in std::iter::once(best.clone()).chain(values) {
            let order = number::order(&value, &best).unwrap_or_else(|| Err(Fault::mismatch("a number", &value)));
            let order = order.map_err(|fault| fault.at(span))?;
            if if *function == Function::Max {
                order.is_gt()
            } else {
                order.is_lt()
            } {
                best = value;
            }
        }
        Ok(best)
    }
}

fn one(function: &Function, value: &Value) -> Result<Value, Fault> {
    match function {
        Function::Size => size(value),
        Function::Int => match value {
            Value::Int(_) => Ok(value.clone()),
            Value::String(text) => text.parse().map(Value::Int).map_err(|_| unreadable("an integer", text)),
            _ => i64::try_from(whole(value)?)
                .map(Value::Int)
                .map_err(|_| Fault::Overflow),
        },
        Function::Uint => match value {
            Value::Uint(_) => Ok(value.clone()),
            Value::String(text) => text
                .parse()
                .map(Value::Uint)
                .map_err(|_| unreadable("an unsigned integer", text)),
            _ => u64::try_from(whole(value)?)
                .map(Value::Uint)
                .map_err(|_| Fault::Overflow),
        },
        Function::Double => match value {
            Value::String(text) => text
                .parse()
                .map(Value::Double)
                .map_err(|_| unreadable("a number", text)),
            _ => double(value).map(Value::Double),
        },
        Function::String => string(value).map(Value::from),
        Function::Bool => match value {
            Value::Bool(_) => Ok(value.clone()),
            Value::String(text) => match &**text {
                "1" | "t" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
                "0" | "f" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
                _ => Err(unreadable("a condition", text)),
            },
            _ => Err(Fault::mismatch("a condition or a string", value)),
        },
        Function::Abs => match value {
            Value::Int(number) => number.checked_abs().map(Value::Int).ok_or(Fault::Overflow),
            Value::Uint(_) => Ok(value.clone()),
            _ => double(value).map(|number| Value::Double(number.abs())),
        },
        Function::Ceil => double(value).map(|number| Value::Double(number.ceil())),
        Function::Floor => double(value).map(|number| Value::Double(number.floor())),
        Function::Round => double(value).map(|number| Value::Double(number.round())),
        Function::Trunc => double(value).map(|number| Value::Double(number.trunc())),
        Function::IsNaN => double(value).map(|number| Value::Bool(number.is_nan())),
        Function::IsInf => double(value).map(|number| Value::Bool(number.is_infinite())),
        Function::IsFinite => double(value).map(|number| Value::Bool(number.is_finite())),
        // These are evaluated where their arguments are, or became terms of their own.
        Function::StartsWith
        | Function::EndsWith
        | Function::Contains
        | Function::Matches
        | Function::LowerAscii
        | Function::UpperAscii
        | Function::Trim
        | Function::Min
        | Function::Max
        | Function::Quantity(..) => Err(Fault::mismatch("other arguments", value)),
    }
}

/// A text by its characters, a list or map by its elements.
fn size(value: &Value) -> Result<Value, Fault> {
    let size = match value {
        Value::String(text) => text.chars().count(),
        Value::List(items) => items.len(),
        Value::Map(entries) => entries.len(),
        other => return Err(Fault::mismatch("a string, a list or a map", other)),
    };
    i64::try_from(size).map(Value::Int).map_err(|_| Fault::Overflow)
}

fn double(value: &Value) -> Result<f64, Fault> {
    number::double(value).ok_or_else(|| Fault::mismatch("a number", value))
}

fn whole(value: &Value) -> Result<i128, Fault> {
    match number::integer(value) {
        Some(integer) => Ok(integer),
        None => number::truncated(double(value)?),
    }
}

/// The text of a single value, as `string(…)` and templates write it.
///
/// # Errors
/// Null, lists and maps have none, and NaN is refused: nobody wants it in a query.
pub(crate) fn string(value: &Value) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Uint(number) => Ok(number.to_string()),
        Value::Double(number) if number.is_nan() => Err(Fault::NotANumber),
        Value::Double(number) => Ok(number.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) => {
            Err(Fault::mismatch("a string, a number or a condition", value))
        }
    }
}

fn unreadable(wanted: &'static str, text: &str) -> Fault {
    Fault::Conversion {
        wanted,
        text: text.chars().take(80).collect(),
    }
}
