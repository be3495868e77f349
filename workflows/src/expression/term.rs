//! The expression as meant: types settled, units on one scale, names resolved. Only the check makes terms, only evaluation reads them.

use std::sync::Arc;

use regex::Regex;

use crate::expression::function::Function;
use crate::expression::problem::Span;
use crate::expression::scope::Type;
use crate::expression::tree::{Fold, Operator};
use crate::expression::unit::Conversion;
use crate::expression::value::Value;

#[derive(Clone, Debug)]
pub(crate) struct Term {
    pub meaning: Meaning,
    pub of: Type,
    /// Made of literals alone: a number like this takes the unit of what it meets.
    pub is_plain: bool,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum Meaning {
    Constant(Value),
    Variable(Arc<str>),
    /// What a macro names, counted from the outermost.
    Local(usize),
    Field {
        of: Box<Term>,
        field: Arc<str>,
    },
    Index {
        of: Box<Term>,
        at: Box<Term>,
    },
    Has {
        of: Box<Term>,
        field: Arc<str>,
    },
    List(Vec<Term>),
    Map(Vec<(Term, Term)>),
    Not(Box<Term>),
    Negate(Box<Term>),
    And(Vec<Term>),
    Or(Vec<Term>),
    Arithmetic {
        operator: Operator,
        left: Box<Term>,
        right: Box<Term>,
    },
    /// `<`, `<=`, `>`, `>=`
    Order {
        operator: Operator,
        left: Box<Term>,
        right: Box<Term>,
    },
    Equal {
        left: Box<Term>,
        right: Box<Term>,
        is_negated: bool,
    },
    In {
        item: Box<Term>,
        whole: Box<Term>,
    },
    Choice {
        condition: Box<Term>,
        then: Box<Term>,
        otherwise: Box<Term>,
    },
    Fold {
        over: Box<Term>,
        fold: Fold,
        filter: Option<Box<Term>>,
        body: Box<Term>,
    },
    Call {
        function: Function,
        arguments: Vec<Term>,
    },
    /// `matches` with a pattern known beforehand, compiled once.
    Matches {
        text: Box<Term>,
        pattern: Arc<Regex>,
    },
    /// A number as a double on another scale.
    Number {
        operand: Box<Term>,
        conversion: Conversion,
    },
}

impl Term {
    pub(crate) fn new(meaning: Meaning, of: Type, span: Span) -> Self {
        Self {
            meaning,
            of,
            is_plain: false,
            span,
        }
    }

    pub(crate) fn plain(mut self, is_plain: bool) -> Self {
        self.is_plain = is_plain;
        self
    }

    /// The division of two integers drops the fraction; the first such place inside.
    pub(crate) fn whole_division(&self) -> Option<Span> {
        match &self.meaning {
            Meaning::Arithmetic {
                operator: Operator::Divide,
                ..
            } if matches!(self.of, Type::Int | Type::Uint) => Some(self.span),
            Meaning::Arithmetic { left, right, .. } => left.whole_division().or_else(|| right.whole_division()),
            Meaning::Negate(operand) => operand.whole_division(),
            Meaning::Choice { then, otherwise, .. } => then.whole_division().or_else(|| otherwise.whole_division()),
            Meaning::Call { arguments, .. } => arguments.iter().find_map(Term::whole_division),
            _ => None,
        }
    }
}
