//! One expression language everywhere: a checked, bounded subset of CEL with units.
//!
//! A gate's condition is text until its metric is known; then it is checked against what it may name, and afterwards evaluated as often
//! as readings arrive:
//!
//! ```
//! use meridian_workflows::expression::{Expression, Scope, Unit, Values};
//!
//! // (a) What the expression may name, each variable with its type and unit.
//! let scope = Scope::new().with("candidate", Unit::Ratio).with("baseline", Unit::Ratio);
//!
//! // (b) Parsing and checking report every mistake with its place and a hint.
//! let hold_when = Expression::parse("candidate > 1.5 * baseline || candidate > percent(1)").unwrap();
//! assert!(hold_when.mentions("baseline"));
//! let hold_when = hold_when.predicate(&scope).unwrap();
//!
//! // (c) An evaluation holds, does not hold, or has no answer; the last is never to be read as one of the others.
//! assert_eq!(hold_when.holds(&Values::new().with("candidate", 0.002).with("baseline", 0.001)), Ok(true));
//! assert_eq!(hold_when.holds(&Values::new().with("candidate", 0.001).with("baseline", 0.001)), Ok(false));
//! assert!(hold_when.holds(&Values::new().with("candidate", f64::NAN).with("baseline", 0.001)).is_err());
//!
//! let wrong = Expression::parse("canditate > seconds(1)").unwrap().predicate(&scope).unwrap_err();
//! assert_eq!(wrong[0].to_string(), "unknown name `canditate` (did you mean `candidate`?)");
//! assert_eq!(wrong[0].span.range(), 0..9);
//! ```
//!
//! (d) Templates are strings with expressions inside:
//!
//! ```
//! use meridian_workflows::expression::{Record, Scope, Template, Type, Value, Values};
//!
//! let (query, problems) = Template::parse("errors{version=\"${{ arm.version }}\"}[${{ window }}]");
//! assert!(problems.is_empty() && query.mentions("arm"));
//!
//! let arm = Record::new("arm").with("version", Type::String).with("labels", Type::map(Type::String));
//! let query = query.check(&Scope::new().with("arm", arm).with("window", Type::String)).unwrap();
//! let values = Values::new().with("arm", Value::record([("version", "v2")])).with("window", "2m");
//! assert_eq!(query.render(&values).unwrap(), "errors{version=\"v2\"}[2m]");
//! ```
//!
//! # Units
//! Numbers that count different things are not added, subtracted or compared; `ratio` and `percent` are one thing on two scales. A literal
//! takes the unit of what it meets, anything else without a unit must say one: `ratio(size(failed) / 10.0)`. Values from JSON have no
//! unit either. The check settles all of this, so values at run time are plain numbers in the unit their variable is declared with.
//!
//! # What differs from CEL
//! Integers mix with doubles in arithmetic (and become doubles); an integer division whose result meets a double is refused. Comparing
//! NaN, dividing a double by zero and overflowing to infinity are errors. There are no bytes, durations, timestamps, messages and
//! optionals. Everything else that is accepted means what it means in CEL; tests hold that against another implementation.
//!
//! # Bounds
//! [`limits`](crate::limits) bounds length and depth of the source, the steps of an evaluation, compiled patterns and rendered texts; no
//! input makes any part panic or overflow the stack.

mod apply;
mod calls;
mod check;
pub mod evaluation;
mod folding;
mod function;
mod macros;
mod meeting;
mod number;
mod operators;
mod parse;
mod print;
mod problem;
mod reference;
mod scope;
mod template;
mod term;
mod token;
mod tree;
mod unit;
mod value;

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use crate::expression::problem::{Problem, Span};
pub use crate::expression::reference::Reference;
pub use crate::expression::scope::{Record, Scope, Type};
pub use crate::expression::template::{CheckedTemplate, Template};
pub use crate::expression::unit::{Unit, UnknownUnit};
pub use crate::expression::value::{Key, Value, Values};

use crate::expression::check::{Meant, Wanted};
use crate::expression::evaluation::{Error, Fault};
use crate::expression::term::Term;
use crate::expression::tree::Node;
use crate::limits::EXPRESSION_STEPS_MAX;

/// An expression that can be read, not yet one that makes sense somewhere. Cheap to clone; equal, hashed and stored by its source.
#[derive(Clone, Debug)]
pub struct Expression {
    source: Arc<str>,
    root: Arc<Node>,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// Every unreadable token, or the first place where the grammar is broken.
    pub fn parse(source: &str) -> Result<Self, Vec<Problem>> {
        let root = parse::parse(source)?;
        Ok(Self {
            source: source.into(),
            root: root.into(),
        })
    }

    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Every use of a variable, in reading order. Names that macros bind (`r` in `regions.all(r, …)`) are no variables.
    #[must_use]
    pub fn references(&self) -> Vec<Reference> {
        reference::references(&self.root)
    }

    /// The variables used, each once.
    #[must_use]
    pub fn variables(&self) -> BTreeSet<Arc<str>> {
        reference::variables(&self.root)
    }

    #[must_use]
    pub fn mentions(&self, variable: &str) -> bool {
        self.references()
            .iter()
            .any(|reference| reference.variable() == variable)
    }

    /// Checks names, types and units.
    ///
    /// # Errors
    /// All independent mistakes.
    pub fn check(&self, scope: &Scope) -> Result<Checked, Vec<Problem>> {
        self.meant(scope, Wanted::Anything)
    }

    /// Checks an expression that must say yes or no.
    ///
    /// # Errors
    /// All independent mistakes; that it is no condition is one.
    pub fn predicate(&self, scope: &Scope) -> Result<Predicate, Vec<Problem>> {
        self.meant(scope, Wanted::Condition).map(Predicate)
    }

    fn meant(&self, scope: &Scope, wanted: Wanted) -> Result<Checked, Vec<Problem>> {
        let Meant { root, warnings } = check::check(&self.source, &self.root, scope, wanted)?;
        Ok(Checked {
            expression: self.clone(),
            root: root.into(),
            warnings: warnings.into(),
        })
    }

    /// Evaluates with the values at hand as the scope (see [`Values::scope`]); what is evaluated often is better checked once.
    ///
    /// # Errors
    /// As [`Checked::evaluate`]; an expression that does not fit the values is `Fault::Unchecked`.
    pub fn evaluate(&self, values: &Values) -> Result<Value, Error> {
        self.check(&values.scope()).map_err(unchecked)?.evaluate(values)
    }

    /// The same expression in its shortest canonical form: single blanks, no needless parentheses.
    #[must_use]
    pub fn canonical(&self) -> String {
        print::canonical(&self.root)
    }
}

/// The first problem as a failure of an evaluation that nobody checked before.
fn unchecked(problems: Vec<Problem>) -> Error {
    let first = problems
        .into_iter()
        .next()
        .unwrap_or_else(|| Problem::new(Span::default(), "the expression does not fit"));
    Fault::Unchecked {
        message: first.to_string(),
    }
    .at(first.span)
}

/// An expression that fits a scope.
#[derive(Clone, Debug)]
pub struct Checked {
    expression: Expression,
    root: Arc<Term>,
    warnings: Arc<[Problem]>,
}

impl Checked {
    #[must_use]
    pub fn expression(&self) -> &Expression {
        &self.expression
    }

    /// What is allowed and hardly meant, such as a ratio compared with 5.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The type of the result.
    #[must_use]
    pub fn of(&self) -> &Type {
        &self.root.of
    }

    /// Evaluates within [`EXPRESSION_STEPS_MAX`] steps.
    ///
    /// # Errors
    /// Whatever is not an answer: see [`Fault`].
    pub fn evaluate(&self, values: &Values) -> Result<Value, Error> {
        evaluation::evaluate(&self.root, values, EXPRESSION_STEPS_MAX)
    }

    /// Evaluates within a budget of the caller's.
    ///
    /// # Errors
    /// As [`Checked::evaluate`].
    pub fn evaluate_within(&self, values: &Values, budget: u64) -> Result<Value, Error> {
        evaluation::evaluate(&self.root, values, budget)
    }
}

/// A checked expression that says yes or no.
#[derive(Clone, Debug)]
pub struct Predicate(Checked);

impl Predicate {
    #[must_use]
    pub fn expression(&self) -> &Expression {
        self.0.expression()
    }

    /// As [`Checked::warnings`].
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        self.0.warnings()
    }

    /// # Errors
    /// No answer is an error, never a silent no.
    pub fn holds(&self, values: &Values) -> Result<bool, Error> {
        match self.0.evaluate(values)? {
            Value::Bool(holds) => Ok(holds),
            other => Err(Fault::mismatch("a condition", &other).at(self.0.root.span)),
        }
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

impl Hash for Expression {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl FromStr for Expression {
    type Err = Problem;

    /// As [`Expression::parse`], with the first problem only: for stored text that was checked before it was stored.
    fn from_str(source: &str) -> Result<Self, Problem> {
        let whole = || Problem::new(Span::new(0, source.len()), "the expression cannot be read");
        Expression::parse(source).map_err(|problems| problems.into_iter().next().unwrap_or_else(whole))
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
