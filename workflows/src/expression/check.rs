//! From the tree to terms: every name is looked up, every type settled, every mistake reported at its place.

use std::sync::Arc;

use crate::expression::meeting::{Side, can_turn, join, turned};
use crate::expression::problem::{Problem, Span};
use crate::expression::scope::{Scope, Type, did_you_mean};
use crate::expression::term::{Meaning, Term};
use crate::expression::tree::{Fold, Kind, Label, Node, Operator};
use crate::expression::unit::Unit;
use crate::expression::value::Value;

/// What the result is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Anything,
    Condition,
}

/// An expression that fits its scope, and what is still odd about it.
pub(crate) struct Meant {
    pub root: Term,
    pub warnings: Vec<Problem>,
}

/// Checks a whole expression. All independent mistakes are reported; what follows from a reported one is not.
pub(crate) fn check(source: &str, root: &Node, scope: &Scope, wanted: Wanted) -> Result<Meant, Vec<Problem>> {
    let mut checker = Checker {
        source,
        scope,
        locals: Vec::new(),
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    let term = match wanted {
        Wanted::Anything => checker.term(root),
        Wanted::Condition => checker.condition(root),
    };
    match term {
        Some(root) if checker.problems.is_empty() => Ok(Meant {
            root,
            warnings: checker.warnings,
        }),
        _ => Err(checker.problems),
    }
}

pub(crate) struct Checker<'a> {
    source: &'a str,
    scope: &'a Scope,
    locals: Vec<(Arc<str>, Type)>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// Nothing when a problem inside has been reported.
pub(crate) type Checked = Option<Term>;

impl Checker<'_> {
    pub(crate) fn report<T>(&mut self, problem: Problem) -> Option<T> {
        self.problems.push(problem);
        None
    }

    /// Says what is odd but may be meant.
    pub(crate) fn warn(&mut self, warning: Problem) {
        self.warnings.push(warning);
    }

    pub(crate) fn source_of(&self, span: Span) -> String {
        span.of(self.source).to_owned()
    }

    pub(crate) fn has_variable(&self, name: &str) -> bool {
        self.scope.variable(name).is_some() || self.locals.iter().any(|(local, _)| &**local == name)
    }

    pub(crate) fn term(&mut self, node: &Node) -> Checked {
        let span = node.span;
        match &node.kind {
            Kind::Null => constant(Value::Null, Type::Null, span),
            Kind::Bool(value) => constant(Value::Bool(*value), Type::Bool, span),
            Kind::Int(number) => constant(Value::Int(*number), Type::Int, span),
            Kind::Uint(number) => constant(Value::Uint(*number), Type::Uint, span),
            Kind::Double(number) => constant(Value::Double(*number), Type::Number(Unit::None), span),
            Kind::Text(text) => constant(Value::String(text.clone()), Type::String, span),
            Kind::List(items) => self.list(items, span),
            Kind::Map(entries) => self.map(entries, span),
            Kind::Name(name) => self.name(name, span),
            Kind::Select { of, field } => self.select(of, field, span),
            Kind::Index { of, at } => self.index(of, at, span),
            Kind::Call {
                receiver,
                function,
                arguments,
            } => self.call(receiver.as_deref(), function, arguments, span),
            Kind::Has { of, field } => self.has(of, field, span),
            Kind::Fold {
                over,
                fold,
                variable,
                filter,
                body,
            } => self.fold(over, *fold, variable, filter.as_deref(), body, span),
            Kind::Not(operand) => self.not(operand, span),
            Kind::Negate(operand) => self.negate(operand, span),
            Kind::And(terms) => self.chain(terms, Meaning::And, span),
            Kind::Or(terms) => self.chain(terms, Meaning::Or, span),
            Kind::Binary { operator, left, right } => self.operation(*operator, left, right, span),
            Kind::Choice {
                condition,
                then,
                otherwise,
            } => self.choice(condition, then, otherwise, span),
        }
    }

    /// All of them, so that a mistake in one does not hide a mistake in the next.
    pub(crate) fn terms(&mut self, nodes: &[Node]) -> Option<Vec<Term>> {
        let terms: Vec<Checked> = nodes.iter().map(|node| self.term(node)).collect();
        terms.into_iter().collect()
    }

    fn chain(&mut self, nodes: &[Node], meaning: fn(Vec<Term>) -> Meaning, span: Span) -> Checked {
        let terms: Vec<Checked> = nodes.iter().map(|node| self.condition(node)).collect();
        let terms: Option<Vec<Term>> = terms.into_iter().collect();
        Some(Term::new(meaning(terms?), Type::Bool, span))
    }

    fn not(&mut self, operand: &Node, span: Span) -> Checked {
        let operand = Box::new(self.condition(operand)?);
        Some(Term::new(Meaning::Not(operand), Type::Bool, span))
    }

    fn operation(&mut self, operator: Operator, left: &Node, right: &Node, span: Span) -> Checked {
        let (left, right) = (self.term(left), self.term(right));
        self.binary(operator, left?, right?, span)
    }

    pub(crate) fn condition(&mut self, node: &Node) -> Checked {
        let term = self.term(node)?;
        match term.of {
            Type::Bool | Type::Dyn => Some(term),
            _ => {
                let problem = Problem::new(
                    term.span,
                    format!(
                        "`{}` is {}, where a condition is needed",
                        self.source_of(term.span),
                        term.of.described()
                    ),
                );
                self.report(match &term.of {
                    Type::Int | Type::Uint | Type::Number(_) => {
                        problem.hint("compare it with something, as in `x > 0`")
                    }
                    Type::String => problem.hint("compare it with something, as in `x == 'text'`"),
                    Type::List(_) | Type::Map(..) => problem.hint("ask for its size, as in `size(x) > 0`"),
                    _ => problem,
                })
            }
        }
    }

    fn name(&mut self, name: &Arc<str>, span: Span) -> Checked {
        if let Some((at, (_, of))) = self
            .locals
            .iter()
            .enumerate()
            .rev()
            .find(|(_, (local, _))| local == name)
        {
            return Some(Term::new(Meaning::Local(at), of.clone(), span));
        }
        if let Some(of) = self.scope.variable(name) {
            return Some(Term::new(Meaning::Variable(name.clone()), of.clone(), span));
        }
        let locals = self.locals.iter().map(|(name, _)| &**name);
        let hint = match &**name {
            "True" | "TRUE" | "False" | "FALSE" => format!("write `{}`", name.to_lowercase()),
            "nil" | "None" | "undefined" => "write `null`".to_owned(),
            _ => did_you_mean(
                name,
                self.scope.variables().map(|(name, _)| name).chain(locals),
                "names",
            ),
        };
        self.report(Problem::new(span, format!("unknown name `{name}`")).hint(hint))
    }

    fn field(&mut self, of: &Type, field: &Label) -> Option<Type> {
        match of {
            Type::Record(record) => match record.field(&field.text) {
                Some(of) => Some(of.clone()),
                None => {
                    let message = format!("`{}` has no field `{}`", record.name(), field.text);
                    self.report(Problem::new(field.span, message).hint(record.hint_for(&field.text)))
                }
            },
            Type::Map(_, of) => Some((**of).clone()),
            Type::Dyn => Some(Type::Dyn),
            other => {
                let message = format!("{} has no fields, so not `{}` either", other.described(), field.text);
                self.report(Problem::new(field.span, message))
            }
        }
    }

    fn select(&mut self, of: &Node, field: &Label, span: Span) -> Checked {
        let inner = self.term(of)?;
        let of = self.field(&inner.of, field)?;
        Some(Term::new(
            Meaning::Field {
                of: Box::new(inner),
                field: field.text.clone(),
            },
            of,
            span,
        ))
    }

    fn has(&mut self, of: &Node, field: &Label, span: Span) -> Checked {
        let inner = self.term(of)?;
        self.field(&inner.of, field)?;
        Some(Term::new(
            Meaning::Has {
                of: Box::new(inner),
                field: field.text.clone(),
            },
            Type::Bool,
            span,
        ))
    }

    fn index(&mut self, of: &Node, at: &Node, span: Span) -> Checked {
        let (inner, index) = (self.term(of), self.term(at));
        let (inner, index) = (inner?, index?);
        if let (Type::Record(_), Kind::Text(field)) = (&inner.of, &at.kind) {
            let label = Label {
                text: field.clone(),
                span: at.span,
            };
            let of = self.field(&inner.of, &label)?;
            return Some(Term::new(
                Meaning::Field {
                    of: Box::new(inner),
                    field: field.clone(),
                },
                of,
                span,
            ));
        }
        let of = match (&inner.of, &index.of) {
            (Type::List(of), Type::Int | Type::Uint | Type::Dyn) => (**of).clone(),
            (Type::List(_), other) => {
                let message = format!("a list is asked by position, not by {}", other.described());
                return self.report(Problem::new(index.span, message));
            }
            (Type::Map(key, of), other) if is_key(key, other) => (**of).clone(),
            (Type::Map(key, _), other) => {
                let message = format!("the keys of this map are {}s, not {}", bare(key), other.described());
                return self.report(Problem::new(index.span, message));
            }
            (Type::Dyn, other) if !other.has_unit() => Type::Dyn,
            (Type::Record(record), _) => {
                let problem = Problem::new(
                    index.span,
                    format!("a field of `{}` is chosen by its name", record.name()),
                );
                return self.report(problem.hint("as in `[\"name\"]`"));
            }
            (other, _) => {
                let message = format!("{} cannot be indexed", other.described());
                return self.report(Problem::new(span, message));
            }
        };
        Some(Term::new(
            Meaning::Index {
                of: Box::new(inner),
                at: Box::new(index),
            },
            of,
            span,
        ))
    }

    fn list(&mut self, items: &[Node], span: Span) -> Checked {
        let items = self.terms(items)?;
        let is_plain = !items.is_empty() && items.iter().all(|item| item.is_plain);
        let of = self.common(&items, span, "the elements of a list")?;
        let items = items.into_iter().map(|item| turned(item, &of)).collect();
        Some(Term::new(Meaning::List(items), Type::list(of), span).plain(is_plain))
    }

    fn map(&mut self, entries: &[(Node, Node)], span: Span) -> Checked {
        let keys: Vec<Checked> = entries.iter().map(|(key, _)| self.term(key)).collect();
        let values: Vec<Checked> = entries.iter().map(|(_, value)| self.term(value)).collect();
        let keys: Vec<Term> = keys.into_iter().collect::<Option<_>>()?;
        let values: Vec<Term> = values.into_iter().collect::<Option<_>>()?;
        for key in &keys {
            if !matches!(key.of, Type::String | Type::Int | Type::Uint | Type::Bool | Type::Dyn) {
                let message = format!("{} cannot be a key of a map", key.of.described());
                return self
                    .report(Problem::new(key.span, message).hint("keys are strings, integers or true and false"));
            }
        }
        let key = self.common(&keys, span, "the keys of a map")?;
        let of = self.common(&values, span, "the values of a map")?;
        let entries = keys
            .into_iter()
            .zip(values.into_iter().map(|value| turned(value, &of)))
            .collect();
        Some(Term::new(Meaning::Map(entries), Type::Map(key.into(), of.into()), span))
    }

    /// The type of all items: what they join to, or `dyn` where nothing among them has a unit that would be lost.
    fn common(&mut self, items: &[Term], span: Span, what: &str) -> Option<Type> {
        let Some((first, rest)) = items.split_first() else {
            return Some(Type::Dyn);
        };
        let (mut of, mut is_plain) = (first.of.clone(), first.is_plain);
        for item in rest {
            match join(Side { of: &of, is_plain }, Side::of(item)) {
                Some(joined) => {
                    is_plain &= item.is_plain;
                    of = joined;
                }
                None if items.iter().any(|item| item.of.has_unit()) => {
                    let message = format!(
                        "{what} do not fit together: {} and {}",
                        of.described(),
                        item.of.described()
                    );
                    return self.report(Problem::new(span, message));
                }
                None => return Some(Type::Dyn),
            }
        }
        if items.iter().all(|item| can_turn(item, &of)) {
            return Some(of);
        }
        self.report(Problem::new(span, format!("{what} stand on different scales")))
    }

    fn choice(&mut self, condition: &Node, then: &Node, otherwise: &Node, span: Span) -> Checked {
        let (condition, then, otherwise) = (self.condition(condition), self.term(then), self.term(otherwise));
        self.chosen(condition?, then?, otherwise?, span)
    }

    fn chosen(&mut self, condition: Term, then: Term, otherwise: Term, span: Span) -> Checked {
        let is_plain = then.is_plain && otherwise.is_plain;
        let joined =
            join(Side::of(&then), Side::of(&otherwise)).filter(|of| can_turn(&then, of) && can_turn(&otherwise, of));
        let Some(of) = joined else {
            let message = format!(
                "the branches of `?` differ: `{}` is {}, `{}` is {}",
                self.source_of(then.span),
                then.of.described(),
                self.source_of(otherwise.span),
                otherwise.of.described()
            );
            return self.report(Problem::new(span, message));
        };
        let then = Box::new(turned(then, &of));
        let otherwise = Box::new(turned(otherwise, &of));
        Some(
            Term::new(
                Meaning::Choice {
                    condition: Box::new(condition),
                    then,
                    otherwise,
                },
                of,
                span,
            )
            .plain(is_plain),
        )
    }

    fn fold(
        &mut self,
        over: &Node,
        fold: Fold,
        variable: &Label,
        filter: Option<&Node>,
        body: &Node,
        span: Span,
    ) -> Checked {
        let over = self.term(over)?;
        let item = match &over.of {
            Type::List(of) => (**of).clone(),
            Type::Map(key, _) => (**key).clone(),
            Type::Record(_) => Type::String,
            Type::Dyn => Type::Dyn,
            other => {
                let message = format!(
                    "`{}` goes over a list or a map, not over {}",
                    fold.name(),
                    other.described()
                );
                return self.report(Problem::new(over.span, message));
            }
        };
        self.locals.push((variable.text.clone(), item.clone()));
        let filter = filter.map(|filter| self.condition(filter));
        let body = if fold == Fold::Map {
            self.term(body)
        } else {
            self.condition(body)
        };
        self.locals.pop();
        let filter = match filter {
            Some(filter) => Some(Box::new(filter?)),
            None => None,
        };
        let body = Box::new(body?);
        let of = match fold {
            Fold::All | Fold::Exists | Fold::ExistsOne => Type::Bool,
            Fold::Filter => Type::list(item),
            Fold::Map => Type::list(body.of.clone()),
        };
        Some(Term::new(
            Meaning::Fold {
                over: Box::new(over),
                fold,
                filter,
                body,
            },
            of,
            span,
        ))
    }
}

fn constant(value: Value, of: Type, span: Span) -> Checked {
    let is_plain = of.is_numeric();
    Some(Term::new(Meaning::Constant(value), of, span).plain(is_plain))
}

/// Whether a map with these keys may be asked by that.
pub(crate) fn is_key(key: &Type, asked: &Type) -> bool {
    match (key, asked) {
        (_, asked) if asked.has_unit() => false,
        (Type::Dyn, _) | (_, Type::Dyn) => true,
        (one, other) => one == other || (one.is_numeric() && other.is_numeric()),
    }
}

fn bare(of: &Type) -> String {
    let described = of.described();
    described.trim_start_matches("a ").trim_start_matches("an ").to_owned()
}
