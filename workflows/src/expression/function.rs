//! The functions an expression may call, under the names CEL gives them; the constructors of units are ours.

use crate::expression::unit::{Conversion, Unit};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Function {
    Size,
    StartsWith,
    EndsWith,
    Contains,
    Matches,
    LowerAscii,
    UpperAscii,
    Trim,
    Int,
    Uint,
    Double,
    String,
    Bool,
    Min,
    Max,
    Abs,
    Ceil,
    Floor,
    Round,
    Trunc,
    IsNaN,
    IsInf,
    IsFinite,
    /// Gives a plain number a unit: `ms(250)` is 0.25 seconds.
    Quantity(Unit, Conversion),
}

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `f(x)`
    Plain,
    /// `x.f()`
    Method,
    Both,
}

impl Function {
    const PLAIN: &[(&'static str, Function, Form)] = &[
        ("size", Function::Size, Form::Both),
        ("startsWith", Function::StartsWith, Form::Method),
        ("endsWith", Function::EndsWith, Form::Method),
        ("contains", Function::Contains, Form::Method),
        ("matches", Function::Matches, Form::Both),
        ("lowerAscii", Function::LowerAscii, Form::Method),
        ("upperAscii", Function::UpperAscii, Form::Method),
        ("trim", Function::Trim, Form::Method),
        ("int", Function::Int, Form::Plain),
        ("uint", Function::Uint, Form::Plain),
        ("double", Function::Double, Form::Plain),
        ("string", Function::String, Form::Plain),
        ("bool", Function::Bool, Form::Plain),
        ("min", Function::Min, Form::Plain),
        ("max", Function::Max, Form::Plain),
        ("abs", Function::Abs, Form::Plain),
        ("ceil", Function::Ceil, Form::Plain),
        ("floor", Function::Floor, Form::Plain),
        ("round", Function::Round, Form::Plain),
        ("trunc", Function::Trunc, Form::Plain),
        ("isNaN", Function::IsNaN, Form::Plain),
        ("isInf", Function::IsInf, Form::Plain),
        ("isFinite", Function::IsFinite, Form::Plain),
    ];

    /// Binary multiples are Ki, Mi, …, decimal ones KB, MB, …, as in Kubernetes quantities and in byte counts.
    const QUANTITIES: &[(&'static str, Unit, Conversion)] = &[
        ("ratio", Unit::Ratio, Conversion::Same),
        ("percent", Unit::Percent, Conversion::Same),
        ("ms", Unit::Seconds, Conversion::Divide(1000.0)),
        ("seconds", Unit::Seconds, Conversion::Same),
        ("minutes", Unit::Seconds, Conversion::Multiply(60.0)),
        ("hours", Unit::Seconds, Conversion::Multiply(3600.0)),
        ("days", Unit::Seconds, Conversion::Multiply(86_400.0)),
        ("bytes", Unit::Bytes, Conversion::Same),
        ("Ki", Unit::Bytes, Conversion::Multiply(1024.0)),
        ("Mi", Unit::Bytes, Conversion::Multiply(1_048_576.0)),
        ("Gi", Unit::Bytes, Conversion::Multiply(1_073_741_824.0)),
        ("Ti", Unit::Bytes, Conversion::Multiply(1_099_511_627_776.0)),
        ("KB", Unit::Bytes, Conversion::Multiply(1e3)),
        ("MB", Unit::Bytes, Conversion::Multiply(1e6)),
        ("GB", Unit::Bytes, Conversion::Multiply(1e9)),
        ("TB", Unit::Bytes, Conversion::Multiply(1e12)),
        ("count", Unit::Count, Conversion::Same),
        ("perSecond", Unit::PerSecond, Conversion::Same),
    ];

    pub(crate) fn named(name: &str) -> Option<(Function, Form)> {
        let plain = Function::PLAIN.iter().find(|(known, ..)| *known == name);
        let quantity = || Function::QUANTITIES.iter().find(|(known, ..)| *known == name);
        plain.map(|(_, function, form)| (function.clone(), *form)).or_else(|| {
            quantity().map(|(_, unit, conversion)| (Function::Quantity(unit.clone(), *conversion), Form::Plain))
        })
    }

    /// All names that can be called.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> + Clone {
        Function::PLAIN
            .iter()
            .map(|(name, ..)| *name)
            .chain(Function::QUANTITIES.iter().map(|(name, ..)| *name))
    }

    /// What to write instead of a function of CEL, its extensions or other languages that does not exist here.
    pub(crate) fn replacement(name: &str) -> Option<&'static str> {
        Some(match name {
            "duration" => "write `seconds(…)`, `minutes(…)` or `hours(…)`",
            "timestamp" => "expressions know no clock; use a `window` gate for times of day",
            "len" | "length" | "count_of" => "write `size(…)`",
            "greatest" => "write `max(…)`",
            "least" => "write `min(…)`",
            "str" | "toString" => "write `string(…)`",
            "float" | "number" => "write `double(…)`",
            "dyn" | "type" => "values of unknown type can be used as they are",
            "existsOne" => "write `exists_one(…)`",
            "any" | "some" => "write `exists(…)`",
            "every" => "write `all(…)`",
            "lower" | "toLowerCase" => "write `lowerAscii()`",
            "upper" | "toUpperCase" => "write `upperAscii()`",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Function;
    use crate::expression::unit::Unit;

    #[test]
    fn every_function_has_one_name() {
        let names: Vec<_> = Function::names().collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        assert!(
            names
                .iter()
                .all(|name| Function::named(name).is_some() && Function::replacement(name).is_none())
        );
    }

    #[test]
    fn every_unit_with_a_name_has_a_constructor() {
        for unit in [
            Unit::None,
            Unit::Ratio,
            Unit::Percent,
            Unit::Seconds,
            Unit::Bytes,
            Unit::Count,
            Unit::PerSecond,
        ] {
            assert!(
                unit.constructor().is_some_and(|name| Function::named(name).is_some()),
                "{unit}"
            );
        }
    }
}
