//! The expression as written: every node with its place, nothing known about types yet.

use std::sync::Arc;

use crate::expression::problem::Span;

/// A piece of the expression. Two nodes are equal when they say the same, wherever they stand.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub kind: Kind,
    pub span: Span,
    /// Levels of nesting below and including this node; bounded by the parser, so walking the tree may recurse.
    pub height: usize,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Arc<str>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Name(Arc<str>),
    Select {
        of: Box<Node>,
        field: Label,
    },
    Index {
        of: Box<Node>,
        at: Box<Node>,
    },
    /// `f(a, b)`, or `receiver.f(a, b)`.
    Call {
        receiver: Option<Box<Node>>,
        function: Label,
        arguments: Vec<Node>,
    },
    /// `has(of.field)`
    Has {
        of: Box<Node>,
        field: Label,
    },
    /// `over.all(variable, body)` and its siblings; only `map` may have a filter.
    Fold {
        over: Box<Node>,
        fold: Fold,
        variable: Label,
        filter: Option<Box<Node>>,
        body: Box<Node>,
    },
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary {
        operator: Operator,
        left: Box<Node>,
        right: Box<Node>,
    },
    /// All terms of one `&&` chain: it may be long without being deep.
    And(Vec<Node>),
    Or(Vec<Node>),
    Choice {
        condition: Box<Node>,
        then: Box<Node>,
        otherwise: Box<Node>,
    },
}

/// A name and where it stands; equal when the names are.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub text: Arc<str>,
    pub span: Span,
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

impl Fold {
    pub(crate) const ALL: &[Fold] = &[Fold::All, Fold::Exists, Fold::ExistsOne, Fold::Filter, Fold::Map];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Fold::All => "all",
            Fold::Exists => "exists",
            Fold::ExistsOne => "exists_one",
            Fold::Filter => "filter",
            Fold::Map => "map",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Fold> {
        Fold::ALL.iter().copied().find(|fold| fold.name() == name)
    }
}

/// How tight everything binds that is no [`Operator`].
pub(crate) const CHOICE: u8 = 1;
pub(crate) const OR: u8 = 2;
pub(crate) const AND: u8 = 3;
pub(crate) const PREFIX: u8 = 7;
pub(crate) const POSTFIX: u8 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    In,
}

impl Operator {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::Remainder => "%",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
            Operator::In => "in",
        }
    }

    /// What happens to the operands, for messages: "they cannot be …".
    pub(crate) fn done(self) -> &'static str {
        match self {
            Operator::Add => "added",
            Operator::Subtract => "subtracted",
            Operator::Multiply => "multiplied",
            Operator::Divide | Operator::Remainder => "divided",
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => "compared",
            Operator::Equal | Operator::NotEqual | Operator::In => "compared",
        }
    }

    /// Larger binds tighter; between [`AND`] and [`PREFIX`].
    pub(crate) fn strength(self) -> u8 {
        match self {
            Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual
            | Operator::Equal
            | Operator::NotEqual
            | Operator::In => 4,
            Operator::Add | Operator::Subtract => 5,
            Operator::Multiply | Operator::Divide | Operator::Remainder => 6,
        }
    }
}

impl Node {
    pub(crate) fn new(kind: Kind, span: Span) -> Self {
        let mut below = 0;
        kind.each_child(&mut |child| below = below.max(child.height));
        Self {
            kind,
            span,
            height: below + 1,
        }
    }
}

impl Kind {
    pub(crate) fn each_child<'a>(&'a self, visit: &mut dyn FnMut(&'a Node)) {
        match self {
            Kind::Null
            | Kind::Bool(_)
            | Kind::Int(_)
            | Kind::Uint(_)
            | Kind::Double(_)
            | Kind::Text(_)
            | Kind::Name(_) => {}
            Kind::List(items) | Kind::And(items) | Kind::Or(items) => items.iter().for_each(visit),
            Kind::Map(entries) => {
                for (key, value) in entries {
                    visit(key);
                    visit(value);
                }
            }
            Kind::Select { of, .. } | Kind::Has { of, .. } => visit(of),
            Kind::Index { of, at } => {
                visit(of);
                visit(at);
            }
            Kind::Call {
                receiver, arguments, ..
            } => receiver.iter().map(|node| &**node).chain(arguments).for_each(visit),
            Kind::Fold { over, filter, body, .. } => {
                visit(over);
                filter.iter().for_each(|node| visit(node));
                visit(body);
            }
            Kind::Not(operand) | Kind::Negate(operand) => visit(operand),
            Kind::Binary { left, right, .. } => {
                visit(left);
                visit(right);
            }
            Kind::Choice {
                condition,
                then,
                otherwise,
            } => {
                visit(condition);
                visit(then);
                visit(otherwise);
            }
        }
    }
}
