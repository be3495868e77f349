//! From terms and values to a value: total, bounded by a budget, and loud about everything that is not an answer.

use std::sync::Arc;

use regex::Regex;

use crate::expression::number;
use crate::expression::problem::Span;
use crate::expression::scope::Type;
use crate::expression::term::{Meaning, Term};
use crate::expression::tree::Operator;
use crate::expression::unit::{Conversion, Unit};
use crate::expression::value::{Key, Value, Values};

/// An evaluation that gave no answer. It is never to be taken for false.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct Error {
    pub fault: Fault,
    /// The part of the expression that failed, in bytes of its source.
    pub span: Span,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("not a number (NaN) was compared")]
    NotANumber,
    #[error("division by zero")]
    DivisionByZero,
    #[error("the result does not fit into a number")]
    Overflow,
    #[error("no value for `{name}`")]
    Missing { name: Arc<str> },
    #[error("expected {expected}, found {found}")]
    Mismatch { expected: String, found: &'static str },
    #[error("no element {index} in a list of {length}")]
    OutOfBounds { index: i128, length: usize },
    #[error("cannot be read as {wanted}: `{text}`")]
    Conversion { wanted: &'static str, text: String },
    #[error("the key `{key}` stands twice in a map")]
    RepeatedKey { key: String },
    #[error("the regular expression cannot be used: {why}")]
    Pattern { why: String },
    #[error("the rendered text is longer than {bytes_max} bytes")]
    TooLong { bytes_max: usize },
    #[error("the budget of {budget} steps is used up")]
    BudgetExceeded { budget: u64 },
    /// The expression does not fit the values at hand; only where it was not checked against a scope beforehand.
    #[error("{message}")]
    Unchecked { message: String },
}

impl Fault {
    pub(crate) fn mismatch(expected: impl Into<String>, found: &Value) -> Self {
        Fault::Mismatch {
            expected: expected.into(),
            found: found.described(),
        }
    }

    pub(crate) fn at(self, span: Span) -> Error {
        Error { fault: self, span }
    }
}

pub(crate) type Evaluated = Result<Value, Error>;

/// Evaluates a checked expression.
///
/// # Errors
/// See [`Fault`]; `&&` and `||` absorb the error of one term when another decides, as CEL does, except an exceeded budget.
pub(crate) fn evaluate(root: &Term, values: &Values, budget: u64) -> Evaluated {
    Evaluation {
        values,
        locals: Vec::new(),
        budget,
        left: budget,
    }
    .term(root)
}

pub(crate) struct Evaluation<'a> {
    values: &'a Values,
    pub(crate) locals: Vec<Value>,
    budget: u64,
    left: u64,
}

impl Evaluation<'_> {
    pub(crate) fn spend(&mut self, steps: usize, span: Span) -> Result<(), Error> {
        match self.left.checked_sub(u64::try_from(steps).unwrap_or(u64::MAX)) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Fault::BudgetExceeded { budget: self.budget }.at(span)),
        }
    }

    /// Every case has its own function, so that one level of nesting takes little of the stack.
    pub(crate) fn term(&mut self, term: &Term) -> Evaluated {
        self.spend(1, term.span)?;
        match &term.meaning {
            Meaning::Constant(value) => Ok(value.clone()),
            Meaning::Variable(name) => self.variable(name, term),
            Meaning::Local(at) => self.local(*at, term),
            Meaning::Field { of, field } => self.field(of, field, term),
            Meaning::Has { of, field } => self.has(of, field, term.span),
            Meaning::Index { of, at } => self.index(of, at, term),
            Meaning::List(items) => self.list(items),
            Meaning::Map(entries) => self.map(entries),
            Meaning::Not(operand) => self.not(operand),
            Meaning::Negate(operand) => self.negative(operand, term.span),
            Meaning::And(terms) => self.decided(terms, false),
            Meaning::Or(terms) => self.decided(terms, true),
            Meaning::Arithmetic { operator, left, right } => self.arithmetic(*operator, left, right, term.span),
            Meaning::Order { operator, left, right } => self.order(*operator, left, right, term.span),
            Meaning::Equal {
                left,
                right,
                is_negated,
            } => self.equality(left, right, *is_negated, term.span),
            Meaning::In { item, whole } => self.is_in(item, whole, term.span),
            Meaning::Choice {
                condition,
                then,
                otherwise,
            } => self.choice(condition, then, otherwise),
            Meaning::Fold {
                over,
                fold,
                filter,
                body,
            } => self.fold(over, *fold, filter.as_deref(), body),
            Meaning::Call { function, arguments } => self.call(function, arguments, term),
            Meaning::Matches { text, pattern } => self.matching(text, pattern, term.span),
            Meaning::Number { operand, conversion } => self.number(operand, *conversion, term.span),
        }
    }

    fn local(&mut self, at: usize, term: &Term) -> Evaluated {
        let value = self.locals.get(at).cloned().unwrap_or(Value::Null);
        conforming(value, &term.of, term.span)
    }

    fn field(&mut self, of: &Term, field: &Arc<str>, term: &Term) -> Evaluated {
        let whole = self.term(of)?;
        let value = field_of(&whole, field).map_err(|fault| fault.at(term.span))?;
        let missing = || Fault::Missing { name: field.clone() }.at(term.span);
        conforming(value.ok_or_else(missing)?, &term.of, term.span)
    }

    fn has(&mut self, of: &Term, field: &Arc<str>, span: Span) -> Evaluated {
        let whole = self.term(of)?;
        let value = field_of(&whole, field).map_err(|fault| fault.at(span))?;
        Ok(Value::Bool(value.is_some()))
    }

    fn list(&mut self, items: &[Term]) -> Evaluated {
        let items: Result<Vec<Value>, Error> = items.iter().map(|item| self.term(item)).collect();
        Ok(Value::List(Arc::new(items?)))
    }

    fn not(&mut self, operand: &Term) -> Evaluated {
        Ok(Value::Bool(!self.condition(operand)?))
    }

    fn negative(&mut self, operand: &Term, span: Span) -> Evaluated {
        negated(&self.term(operand)?).map_err(|fault| fault.at(span))
    }

    fn equality(&mut self, left: &Term, right: &Term, is_negated: bool, span: Span) -> Evaluated {
        let (left, right) = (self.term(left)?, self.term(right)?);
        Ok(Value::Bool(self.equal(&left, &right, span)? != is_negated))
    }

    fn choice(&mut self, condition: &Term, then: &Term, otherwise: &Term) -> Evaluated {
        let is_true = self.condition(condition)?;
        self.term(if is_true { then } else { otherwise })
    }

    fn matching(&mut self, text: &Term, pattern: &Regex, span: Span) -> Evaluated {
        let text = self.text(text)?;
        self.spend(text.len(), span)?;
        Ok(Value::Bool(pattern.is_match(&text)))
    }

    fn number(&mut self, operand: &Term, conversion: Conversion, span: Span) -> Evaluated {
        let value = self.term(operand)?;
        let number = number::double(&value).ok_or_else(|| Fault::mismatch("a number", &value).at(span))?;
        let scaled = number::finite(conversion.apply(number), number.is_finite());
        scaled.map(Value::Double).map_err(|fault| fault.at(span))
    }

    fn variable(&mut self, name: &Arc<str>, term: &Term) -> Evaluated {
        let missing = || Fault::Missing { name: name.clone() }.at(term.span);
        let (value, unit) = self.values.entry(name).ok_or_else(missing)?;
        let Some(given) = unit else {
            return conforming(value.clone(), &term.of, term.span);
        };
        let refused = |expected: String| {
            Fault::Mismatch {
                expected,
                found: "a number of another unit",
            }
            .at(term.span)
        };
        match (&term.of, number::double(value)) {
            (Type::Number(declared), Some(number)) => {
                let conversion = given.factor_to(declared).ok_or_else(|| refused(declared.described()))?;
                Ok(Value::Double(conversion.apply(number)))
            }
            // A unit must not get lost where the expression was not checked for it.
            (of, _) if *given != Unit::None => Err(refused(of.described())),
            (of, _) => conforming(value.clone(), of, term.span),
        }
    }

    fn index(&mut self, of: &Term, at: &Term, term: &Term) -> Evaluated {
        let (whole, index) = (self.term(of)?, self.term(at)?);
        let value = match (&whole, &index) {
            (Value::List(items), index) => {
                let wanted = number::integer(index).ok_or_else(|| Fault::mismatch("an integer", index).at(at.span))?;
                let found = usize::try_from(wanted).ok().and_then(|at| items.get(at)).cloned();
                found.ok_or_else(|| {
                    Fault::OutOfBounds {
                        index: wanted,
                        length: items.len(),
                    }
                    .at(term.span)
                })?
            }
            (Value::Map(entries), key) => {
                let key = Key::of(key).ok_or_else(|| Fault::mismatch("a key", key).at(at.span))?;
                let found = entries.get(&key).cloned();
                found.ok_or_else(|| {
                    Fault::Missing {
                        name: key.to_string().into(),
                    }
                    .at(term.span)
                })?
            }
            (other, _) => return Err(Fault::mismatch("a list or a map", other).at(of.span)),
        };
        conforming(value, &term.of, term.span)
    }

    fn map(&mut self, entries: &[(Term, Term)]) -> Evaluated {
        let mut map = std::collections::BTreeMap::new();
        for (key, value) in entries {
            let evaluated = self.term(key)?;
            let found = Key::of(&evaluated).ok_or_else(|| Fault::mismatch("a key", &evaluated).at(key.span))?;
            if map.contains_key(&found) {
                return Err(Fault::RepeatedKey { key: found.to_string() }.at(key.span));
            }
            map.insert(found, self.term(value)?);
        }
        Ok(Value::Map(Arc::new(map)))
    }

    pub(crate) fn condition(&mut self, term: &Term) -> Result<bool, Error> {
        match self.term(term)? {
            Value::Bool(value) => Ok(value),
            other => Err(Fault::mismatch("a condition", &other).at(term.span)),
        }
    }

    pub(crate) fn text(&mut self, term: &Term) -> Result<Arc<str>, Error> {
        match self.term(term)? {
            Value::String(text) => Ok(text),
            other => Err(Fault::mismatch("a string", &other).at(term.span)),
        }
    }

    /// `&&` and `||` in CEL's commutative sense: a term that decides wins over one that fails, wherever they stand.
    fn decided(&mut self, terms: &[Term], decisive: bool) -> Evaluated {
        let mut failure = None;
        for term in terms {
            match self.condition(term) {
                Ok(value) if value == decisive => return Ok(Value::Bool(decisive)),
                Ok(_) => {}
                Err(error) => failure = Some(absorbable(error, failure)?),
            }
        }
        failure.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn arithmetic(&mut self, operator: Operator, left: &Term, right: &Term, span: Span) -> Evaluated {
        let (left, right) = (self.term(left)?, self.term(right)?);
        match (operator, &left, &right) {
            (Operator::Add, Value::String(left), Value::String(right)) => {
                self.spend((left.len() + right.len()) / 8, span)?;
                Ok(Value::String([&**left, &**right].concat().into()))
            }
            (Operator::Add, Value::List(left), Value::List(right)) => {
                self.spend(left.len() + right.len(), span)?;
                Ok(Value::List(Arc::new([&***left, &***right].concat())))
            }
            _ => number::arithmetic(operator, &left, &right).map_err(|fault| fault.at(span)),
        }
    }

    fn order(&mut self, operator: Operator, left: &Term, right: &Term, span: Span) -> Evaluated {
        let (left, right) = (self.term(left)?, self.term(right)?);
        let order = match (&left, &right) {
            (Value::String(left), Value::String(right)) => {
                self.spend(left.len().min(right.len()) / 8, span)?;
                left.cmp(right)
            }
            (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
            _ => match number::order(&left, &right) {
                Some(order) => order.map_err(|fault| fault.at(span))?,
                None => {
                    return Err(
                        Fault::mismatch(format!("something to compare with {}", left.described()), &right).at(span),
                    );
                }
            },
        };
        Ok(Value::Bool(match operator {
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            _ => order.is_ge(),
        }))
    }

    /// Equality by meaning: numbers by value across kinds, lists and maps element by element.
    pub(crate) fn equal(&mut self, left: &Value, right: &Value, span: Span) -> Result<bool, Error> {
        self.spend(1, span)?;
        match (left, right) {
            (Value::List(left), Value::List(right)) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for (one, other) in left.iter().zip(right.iter()) {
                    if !self.equal(one, other, span)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Map(left), Value::Map(right)) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for (key, one) in left.iter() {
                    let Some(other) = right.get(key) else { return Ok(false) };
                    if !self.equal(one, other, span)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::String(left), Value::String(right)) => {
                self.spend(left.len().min(right.len()) / 8, span)?;
                Ok(left == right)
            }
            (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
            (Value::Null, Value::Null) => Ok(true),
            _ => match number::order(left, right) {
                Some(order) => order.map(|order| order.is_eq()).map_err(|fault| fault.at(span)),
                None => Ok(false),
            },
        }
    }

    fn is_in(&mut self, item: &Term, whole: &Term, span: Span) -> Evaluated {
        let (item, whole) = (self.term(item)?, self.term(whole)?);
        match &whole {
            Value::List(items) => {
                for candidate in items.iter() {
                    if self.equal(&item, candidate, span)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            Value::Map(entries) => Ok(Value::Bool(
                Key::of(&item).is_some_and(|key| entries.contains_key(&key)),
            )),
            other => Err(Fault::mismatch("a list or a map", other).at(span)),
        }
    }
}

/// Keeps the first of two errors, unless the second ends everything.
pub(crate) fn absorbable(error: Error, earlier: Option<Error>) -> Result<Error, Error> {
    match error.fault {
        Fault::BudgetExceeded { .. } => Err(error),
        _ => Ok(earlier.unwrap_or(error)),
    }
}

fn negated(value: &Value) -> Result<Value, Fault> {
    match value {
        Value::Int(number) => number.checked_neg().map(Value::Int).ok_or(Fault::Overflow),
        Value::Double(number) => Ok(Value::Double(-number)),
        other => Err(Fault::mismatch("a number", other)),
    }
}

fn field_of(whole: &Value, field: &Arc<str>) -> Result<Option<Value>, Fault> {
    match whole {
        Value::Map(entries) => Ok(entries.get(&Key::String(field.clone())).cloned()),
        other => Err(Fault::mismatch("a map", other)),
    }
}

/// A value from outside as its declared type; integers given for numbers become numbers.
pub(crate) fn conforming(value: Value, of: &Type, span: Span) -> Evaluated {
    let conforms = match (of, &value) {
        (Type::Number(_), Value::Int(_) | Value::Uint(_)) => {
            return Ok(number::double(&value).map_or(value, Value::Double));
        }
        (Type::Dyn, _)
        | (Type::Null, Value::Null)
        | (Type::Bool, Value::Bool(_))
        | (Type::Int, Value::Int(_))
        | (Type::Uint, Value::Uint(_))
        | (Type::Number(_), Value::Double(_))
        | (Type::String, Value::String(_))
        | (Type::List(_), Value::List(_))
        | (Type::Map(..) | Type::Record(_), Value::Map(_)) => true,
        (Type::Null | Type::Bool | Type::Int | Type::Uint | Type::Number(_) | Type::String, _) => false,
        (Type::List(_) | Type::Map(..) | Type::Record(_), _) => false,
    };
    if conforms {
        Ok(value)
    } else {
        Err(Fault::mismatch(of.described(), &value).at(span))
    }
}
