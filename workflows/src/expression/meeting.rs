//! How two types become one: which numbers may meet, and on which scale they do.

use crate::expression::scope::Type;
use crate::expression::term::{Meaning, Term};
use crate::expression::unit::{Conversion, Unit};

/// A type and whether its numbers are literals, which take the unit of what they meet.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    pub of: &'a Type,
    pub is_plain: bool,
}

impl<'a> Side<'a> {
    pub(crate) fn of(term: &'a Term) -> Self {
        Self {
            of: &term.of,
            is_plain: term.is_plain,
        }
    }
}

/// The type both can be turned into, if there is one. A value of unknown type never meets a number with a unit: nothing would say what
/// it counts.
pub(crate) fn join(one: Side<'_>, other: Side<'_>) -> Option<Type> {
    match (one.of, other.of) {
        (Type::Number(a), Type::Number(b)) => number(a, one.is_plain, b, other.is_plain).map(Type::Number),
        (Type::Number(unit), Type::Int | Type::Uint) => {
            number(unit, one.is_plain, &Unit::None, other.is_plain).map(Type::Number)
        }
        (Type::Int | Type::Uint, Type::Number(unit)) => {
            number(&Unit::None, one.is_plain, unit, other.is_plain).map(Type::Number)
        }
        (Type::List(a), Type::List(b)) => {
            let a = Side {
                of: a,
                is_plain: one.is_plain,
            };
            let b = Side {
                of: b,
                is_plain: other.is_plain,
            };
            join(a, b).map(Type::list)
        }
        (Type::Map(key_a, a), Type::Map(key_b, b)) => {
            let key = join(
                Side {
                    of: key_a,
                    is_plain: false,
                },
                Side {
                    of: key_b,
                    is_plain: false,
                },
            )?;
            let of = join(Side { of: a, is_plain: false }, Side { of: b, is_plain: false })?;
            Some(Type::Map(key.into(), of.into()))
        }
        (same, other) if same == other => Some(same.clone()),
        (Type::Dyn, known) | (known, Type::Dyn) if !known.has_unit() => Some(Type::Dyn),
        _ => None,
    }
}

fn number(one: &Unit, one_is_plain: bool, other: &Unit, other_is_plain: bool) -> Option<Unit> {
    match (one, other) {
        (one, other) if one == other => Some(one.clone()),
        (one, other) if one.is_fraction() && other.is_fraction() => Some(Unit::Ratio),
        (unit, Unit::None) if other_is_plain => Some(unit.clone()),
        (Unit::None, unit) if one_is_plain => Some(unit.clone()),
        _ => None,
    }
}

/// Turns a term into one of a type it joined with. Numbers become doubles on the wanted scale.
pub(crate) fn turned(term: Term, wanted: &Type) -> Term {
    let span = term.span;
    let is_plain = term.is_plain;
    match (&term.of, wanted) {
        (of, wanted) if of == wanted => term,
        (Type::Int | Type::Uint, Type::Number(_)) => as_number(term, Conversion::Same, wanted),
        (Type::Number(from), Type::Number(to)) => {
            let conversion = from.factor_to(to).unwrap_or(Conversion::Same);
            as_number(term, conversion, wanted)
        }
        (Type::List(_), Type::List(item)) => match term.meaning {
            Meaning::List(items) => {
                let items = items.into_iter().map(|term| turned(term, item)).collect();
                Term::new(Meaning::List(items), wanted.clone(), span).plain(is_plain)
            }
            _ => Term {
                of: wanted.clone(),
                ..term
            },
        },
        _ => Term {
            of: wanted.clone(),
            ..term
        },
    }
}

fn as_number(term: Term, conversion: Conversion, wanted: &Type) -> Term {
    let span = term.span;
    let is_plain = term.is_plain;
    Term::new(
        Meaning::Number {
            operand: Box::new(term),
            conversion,
        },
        wanted.clone(),
        span,
    )
    .plain(is_plain)
}

/// Whether [`turned`] keeps the sense: the elements of a list or map that is not written out cannot be converted one by one.
pub(crate) fn can_turn(term: &Term, wanted: &Type) -> bool {
    match (&term.of, wanted, &term.meaning) {
        (Type::List(_), Type::List(item), Meaning::List(items)) => items.iter().all(|term| can_turn(term, item)),
        (from @ (Type::List(_) | Type::Map(..)), to, _) => from == to || !(from.has_unit() || to.has_unit()),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::{Side, join};
    use crate::expression::scope::Type;
    use crate::expression::unit::Unit;

    fn meet(one: impl Into<Type>, other: impl Into<Type>, plain: bool) -> Option<Type> {
        let (one, other) = (one.into(), other.into());
        join(
            Side {
                of: &one,
                is_plain: false,
            },
            Side {
                of: &other,
                is_plain: plain,
            },
        )
    }

    #[test]
    fn only_a_literal_takes_the_unit_of_the_other_side() {
        assert_eq!(meet(Unit::Ratio, Type::Int, true), Some(Type::Number(Unit::Ratio)));
        assert_eq!(meet(Unit::Ratio, Type::Int, false), None);
        assert_eq!(meet(Unit::Ratio, Unit::Percent, false), Some(Type::Number(Unit::Ratio)));
        assert_eq!(meet(Unit::Ratio, Unit::Count, true), None);
    }

    #[test]
    fn nothing_with_a_unit_becomes_unknown() {
        assert_eq!(meet(Type::Dyn, Unit::Bytes, false), None);
        assert_eq!(meet(Type::list(Unit::Bytes), Type::list(Type::Dyn), false), None);
        assert_eq!(meet(Type::String, Type::Dyn, false), Some(Type::Dyn));
    }
}
