//! What operators ask of their operands: above all, that numbers which meet count the same thing.

use crate::expression::check::{Checked, Checker, is_key};
use crate::expression::meeting::{Side, can_turn, join, turned};
use crate::expression::number;
use crate::expression::problem::{Problem, Span};
use crate::expression::scope::Type;
use crate::expression::term::{Meaning, Term};
use crate::expression::tree::{Node, Operator};
use crate::expression::unit::{Conversion, Unit};
use crate::expression::value::Value;

impl Checker<'_> {
    pub(crate) fn binary(&mut self, operator: Operator, left: Term, right: Term, span: Span) -> Checked {
        match operator {
            Operator::Add | Operator::Subtract => self.sum(operator, left, right, span),
            Operator::Multiply | Operator::Divide => self.product(operator, left, right, span),
            Operator::Remainder => self.remainder(left, right, span),
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
                self.order(operator, left, right, span)
            }
            Operator::Equal | Operator::NotEqual => self.equality(operator, left, right, span),
            Operator::In => self.membership(left, right, span),
        }
    }

    pub(crate) fn negate(&mut self, operand: &Node, span: Span) -> Checked {
        let operand = self.term(operand)?;
        let is_plain = operand.is_plain;
        match operand.of.clone() {
            of @ (Type::Int | Type::Number(_) | Type::Dyn) => {
                Some(Term::new(Meaning::Negate(Box::new(operand)), of, span).plain(is_plain))
            }
            other => {
                let problem = Problem::new(span, format!("{} cannot be negated", other.described()));
                self.report(if other == Type::Bool {
                    problem.hint("`not` is written `!`")
                } else {
                    problem
                })
            }
        }
    }

    /// Both operands as the type they join to; a unit that would be mixed or a fraction that would be lost is reported.
    pub(crate) fn met(
        &mut self,
        operator: Operator,
        left: Term,
        right: Term,
        span: Span,
    ) -> Option<(Term, Term, Type)> {
        let joined = join(Side::of(&left), Side::of(&right));
        let Some(of) = joined.filter(|of| can_turn(&left, of) && can_turn(&right, of)) else {
            return self.cannot_meet(operator, &left, &right, span);
        };
        let left = self.as_number(left, &of)?;
        let right = self.as_number(right, &of)?;
        Some((left, right, of))
    }

    /// Turns a term into the wanted type; an integer division that would drop its fraction on the way is reported.
    pub(crate) fn as_number(&mut self, term: Term, wanted: &Type) -> Checked {
        if matches!(wanted, Type::Number(_))
            && let Some(place) = term.whole_division()
        {
            let text = self.source_of(place);
            return self.report(
                Problem::new(place, format!("`{text}` divides integers and drops the fraction"))
                    .hint("make one of them a number, as in `1.0 / 3` or `double(n) / 3`"),
            );
        }
        Some(turned(term, wanted))
    }

    pub(crate) fn cannot_meet<T>(&mut self, operator: Operator, left: &Term, right: &Term, span: Span) -> Option<T> {
        let (one, other) = (self.source_of(left.span), self.source_of(right.span));
        let message = format!(
            "`{one}` is {} and `{other}` is {}: they cannot be {}",
            left.of.described(),
            right.of.described(),
            operator.done()
        );
        let problem = Problem::new(span, message);
        self.report(match self.hint_for_units(left, right) {
            Some(hint) => problem.hint(hint),
            None => problem,
        })
    }

    fn hint_for_units(&self, left: &Term, right: &Term) -> Option<String> {
        let named = |unit: &Unit, other: &Term| {
            let text = self.source_of(other.span);
            unit.constructor()
                .map(|name| format!("say what `{text}` counts, as in `{name}({text})`"))
        };
        match (&left.of, &right.of) {
            (Type::Number(unit), Type::Int | Type::Uint | Type::Dyn | Type::Number(Unit::None)) if !unit.is_plain() => {
                named(unit, right)
            }
            (Type::Int | Type::Uint | Type::Dyn | Type::Number(Unit::None), Type::Number(unit)) if !unit.is_plain() => {
                named(unit, left)
            }
            (Type::Int, Type::Uint) | (Type::Uint, Type::Int) => {
                Some("convert one of them with `int(…)` or `uint(…)`".to_owned())
            }
            (Type::Number(_), Type::Number(_)) => Some("numbers meet only where they count the same thing".to_owned()),
            (Type::Bool, of) if of.is_numeric() => {
                Some("join two comparisons with `&&`, as in `a < b && b < c`".to_owned())
            }
            (Type::String, of) if of.is_numeric() => {
                Some(format!("convert it, as in `double({})`", self.source_of(left.span)))
            }
            (of, Type::String) if of.is_numeric() => {
                Some(format!("convert it, as in `double({})`", self.source_of(right.span)))
            }
            _ => None,
        }
    }

    fn sum(&mut self, operator: Operator, left: Term, right: Term, span: Span) -> Checked {
        let is_plain = left.is_plain && right.is_plain && left.of.is_numeric();
        let may_be_added = match (&left.of, &right.of) {
            (Type::Uint, Type::Int) | (Type::Int, Type::Uint) => false,
            (Type::String, Type::String | Type::Dyn) | (Type::Dyn, Type::String) => operator == Operator::Add,
            (Type::List(_), Type::List(_) | Type::Dyn) | (Type::Dyn, Type::List(_)) => operator == Operator::Add,
            (Type::Dyn, Type::Dyn) => true,
            (Type::Dyn, other) | (other, Type::Dyn) => other.is_numeric(),
            (one, other) => one.is_numeric() && other.is_numeric(),
        };
        if !may_be_added {
            return self.cannot_meet(operator, &left, &right, span);
        }
        let (left, right, of) = self.met(operator, left, right, span)?;
        Some(arithmetic(operator, left, right, of, span).plain(is_plain))
    }

    fn product(&mut self, operator: Operator, left: Term, right: Term, span: Span) -> Checked {
        if operator == Operator::Divide && is_zero(&right) {
            return self.report(Problem::new(right.span, "division by zero"));
        }
        let is_plain = left.is_plain && right.is_plain;
        let (one, other) = match (&left.of, &right.of) {
            (Type::Int, Type::Int) | (Type::Uint, Type::Uint) => {
                let of = left.of.clone();
                return Some(arithmetic(operator, left, right, of, span).plain(is_plain));
            }
            (Type::Int, Type::Uint) | (Type::Uint, Type::Int) => {
                return self.cannot_meet(operator, &left, &right, span);
            }
            (one, other) => match (factor(one), factor(other)) {
                (Some(one), Some(other)) => (one, other),
                _ => return self.cannot_meet(operator, &left, &right, span),
            },
        };
        let unit = if operator == Operator::Multiply {
            one.times(&other)
        } else {
            one.over(&other)
        };
        let Some(unit) = unit else {
            return self.cannot_meet(operator, &left, &right, span);
        };
        let may_stay_unknown = unit.is_plain() && (left.of == Type::Dyn || right.of == Type::Dyn);
        let of = if may_stay_unknown {
            Type::Dyn
        } else {
            Type::Number(unit)
        };
        // A percentage beside a plain number stays one; beside anything else it counts as the ratio it stands for.
        let keeps_scale = match operator {
            Operator::Multiply => one.is_plain() || other.is_plain(),
            _ => other.is_plain() || one == other,
        };
        let left = self.as_factor(left, keeps_scale)?;
        let right = self.as_factor(right, keeps_scale)?;
        Some(arithmetic(operator, left, right, of, span).plain(is_plain))
    }

    /// In products an integer counts as a number, and a percentage as a ratio unless it keeps its scale.
    fn as_factor(&mut self, term: Term, keeps_scale: bool) -> Checked {
        let wanted = match &term.of {
            Type::Number(Unit::Percent) if !keeps_scale => Type::Number(Unit::Ratio),
            Type::Int | Type::Uint => Type::Number(Unit::None),
            other => other.clone(),
        };
        self.as_number(term, &wanted)
    }

    fn remainder(&mut self, left: Term, right: Term, span: Span) -> Checked {
        if is_zero(&right) {
            return self.report(Problem::new(right.span, "division by zero"));
        }
        let is_plain = left.is_plain && right.is_plain;
        let of = match (&left.of, &right.of) {
            (Type::Int, Type::Int) => Type::Int,
            (Type::Uint, Type::Uint) => Type::Uint,
            (Type::Dyn, Type::Int | Type::Uint | Type::Dyn) | (Type::Int | Type::Uint, Type::Dyn) => Type::Dyn,
            _ => {
                let message = format!(
                    "`%` is the remainder of two integers, not of {} and {}",
                    left.of.described(),
                    right.of.described()
                );
                return self.report(Problem::new(span, message).hint("a percentage is written `percent(1)`"));
            }
        };
        Some(arithmetic(Operator::Remainder, left, right, of, span).plain(is_plain))
    }

    fn order(&mut self, operator: Operator, left: Term, right: Term, span: Span) -> Checked {
        let (left, right) = match (&left.of, &right.of) {
            (Type::String, Type::String | Type::Dyn) | (Type::Dyn, Type::String) => (left, right),
            (Type::Bool, Type::Bool | Type::Dyn) | (Type::Dyn, Type::Bool) => (left, right),
            (one, other) if is_exact(one) && is_exact(other) => self.exact(left, right)?,
            (one, other) if (one.is_numeric() || *one == Type::Dyn) && (other.is_numeric() || *other == Type::Dyn) => {
                let (left, right, _) = self.met(operator, left, right, span)?;
                (left, right)
            }
            _ => return self.cannot_meet(operator, &left, &right, span),
        };
        self.doubt_share(operator, &left, &right);
        Some(Term::new(
            Meaning::Order {
                operator,
                left: Box::new(left),
                right: Box::new(right),
            },
            Type::Bool,
            span,
        ))
    }

    /// `candidate > 5` over a ratio is never true: five percent were meant.
    fn doubt_share(&mut self, operator: Operator, left: &Term, right: &Term) {
        let (literal, is_beyond) = match (literal_ratio(left), literal_ratio(right)) {
            (None, Some(number)) => (right, number > 1.0 || (number >= 1.0 && operator == Operator::Greater)),
            (Some(number), None) => (left, number > 1.0 || (number >= 1.0 && operator == Operator::Less)),
            _ => return,
        };
        if is_beyond {
            let text = self.source_of(literal.span);
            let message = format!("a ratio hardly exceeds 1, and `{text}` stands for a ratio here");
            self.warn(Problem::new(literal.span, message).hint(format!("did you mean `percent({text})`?")));
        }
    }

    fn exact(&mut self, left: Term, right: Term) -> Option<(Term, Term)> {
        if matches!((&left.of, &right.of), (Type::Number(_), _) | (_, Type::Number(_))) {
            let plain = Type::Number(Unit::None);
            self.as_number(left.clone(), &plain)?;
            self.as_number(right.clone(), &plain)?;
        }
        Some((left, right))
    }

    fn equality(&mut self, operator: Operator, left: Term, right: Term, span: Span) -> Checked {
        let (left, right) = self.comparable(operator, left, right, span)?;
        let is_negated = operator == Operator::NotEqual;
        Some(Term::new(
            Meaning::Equal {
                left: Box::new(left),
                right: Box::new(right),
                is_negated,
            },
            Type::Bool,
            span,
        ))
    }

    fn comparable(&mut self, operator: Operator, left: Term, right: Term, span: Span) -> Option<(Term, Term)> {
        if is_exact(&left.of) && is_exact(&right.of) {
            return self.exact(left, right);
        }
        if let (Type::Null, other) | (other, Type::Null) = (&left.of, &right.of)
            && !matches!(other, Type::Null | Type::Dyn)
        {
            let message = format!("{} is never null", other.described());
            return self.report(Problem::new(span, message).hint("whether a field is there is asked with `has(…)`"));
        }
        let (left, right, _) = self.met(operator, left, right, span)?;
        Some((left, right))
    }

    fn membership(&mut self, item: Term, whole: Term, span: Span) -> Checked {
        let (item, whole) = match &whole.of {
            Type::List(of) if is_exact(&item.of) && is_exact(of) => (item, whole),
            Type::List(of) => {
                let joined = join(
                    Side::of(&item),
                    Side {
                        of,
                        is_plain: whole.is_plain,
                    },
                );
                // The list keeps its scale where it is not written out; the item can always follow.
                let scale = joined.map(|joined| {
                    if can_turn(&whole, &Type::list(joined.clone())) {
                        joined
                    } else {
                        (**of).clone()
                    }
                });
                match scale.filter(|scale| can_turn(&item, scale)) {
                    Some(scale) => {
                        let item = self.as_number(item, &scale)?;
                        let whole = turned(whole, &Type::list(scale));
                        (item, whole)
                    }
                    None => return self.not_inside(&item, of, span),
                }
            }
            Type::Map(key, _) if is_key(key, &item.of) => (item, whole),
            Type::Map(key, _) => return self.not_inside(&item, key, span),
            Type::Record(_) if matches!(item.of, Type::String | Type::Dyn) => (item, whole),
            Type::Record(_) => return self.not_inside(&item, &Type::String, span),
            Type::Dyn if !item.of.has_unit() => (item, whole),
            other => {
                let problem = Problem::new(
                    whole.span,
                    format!("`in` looks into a list or a map, not into {}", other.described()),
                );
                let text = self.source_of(whole.span);
                return self.report(match other {
                    Type::String => problem.hint(format!("write `{text}.contains({})`", self.source_of(item.span))),
                    _ => problem,
                });
            }
        };
        Some(Term::new(
            Meaning::In {
                item: Box::new(item),
                whole: Box::new(whole),
            },
            Type::Bool,
            span,
        ))
    }

    fn not_inside<T>(&mut self, item: &Term, of: &Type, span: Span) -> Option<T> {
        let text = self.source_of(item.span);
        let message = format!(
            "`{text}` is {}, and what is asked holds {} at each place",
            item.of.described(),
            of.described()
        );
        self.report(Problem::new(span, message))
    }
}

fn arithmetic(operator: Operator, left: Term, right: Term, of: Type, span: Span) -> Term {
    Term::new(
        Meaning::Arithmetic {
            operator,
            left: Box::new(left),
            right: Box::new(right),
        },
        of,
        span,
    )
}

/// Numbers without a unit compare across their kinds exactly, without becoming doubles first.
fn is_exact(of: &Type) -> bool {
    matches!(of, Type::Int | Type::Uint | Type::Number(Unit::None))
}

/// The unit a factor brings in; a value of unknown type is a plain number, or fails when it is evaluated.
fn factor(of: &Type) -> Option<Unit> {
    match of {
        Type::Number(unit) => Some(unit.clone()),
        Type::Int | Type::Uint | Type::Dyn => Some(Unit::None),
        _ => None,
    }
}

fn is_zero(term: &Term) -> bool {
    match &term.meaning {
        Meaning::Constant(Value::Int(0) | Value::Uint(0)) => true,
        Meaning::Constant(Value::Double(number)) => *number == 0.0,
        Meaning::Number {
            operand,
            conversion: Conversion::Same,
        } => is_zero(operand),
        _ => false,
    }
}

/// The value of a bare literal that has become a ratio.
fn literal_ratio(term: &Term) -> Option<f64> {
    match (&term.of, &term.meaning) {
        (Type::Number(Unit::Ratio), Meaning::Constant(value)) => number::double(value),
        (
            Type::Number(Unit::Ratio),
            Meaning::Number {
                operand,
                conversion: Conversion::Same,
            },
        ) if term.is_plain => {
            if let Meaning::Constant(value) = &operand.meaning {
                number::double(value)
            } else {
                None
            }
        }
        _ => None,
    }
}
