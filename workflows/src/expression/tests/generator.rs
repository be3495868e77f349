//! Well-typed expressions out of a tape of bytes: the same tape, the same expression, and a shorter tape a smaller one.

use crate::expression::scope::{Record, Scope, Type};
use crate::expression::unit::Unit;
use crate::expression::value::{Value, Values};

pub(super) struct Tape<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Tape<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// A number below `bound`; zero when the tape has run out.
    fn below(&mut self, bound: u8) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte % bound
    }

    fn one_of(&mut self, all: &[&str]) -> String {
        let at = self.below(u8::try_from(all.len()).unwrap());
        all[usize::from(at)].to_owned()
    }
}

/// The variables that the expressions use.
pub(super) fn scope() -> Scope {
    let record = Record::new("record").with("a", Type::Int).with("b", Type::String);
    Scope::new()
        .with("n", Type::Int)
        .with("d", Unit::None)
        .with("s", Type::String)
        .with("b", Type::Bool)
        .with("l", Type::list(Type::Int))
        .with("m", Type::map(Type::Int))
        .with("record", record)
}

pub(super) fn values() -> Values {
    Values::new()
        .with("n", 7i64)
        .with("d", 2.5)
        .with("s", "release")
        .with("b", true)
        .with("l", Value::list([1i64, 2, 3]))
        .with("m", Value::record([("a", 1i64), ("c", -4)]))
        .with(
            "record",
            Value::record([("a", Value::from(5i64)), ("b", Value::from("x"))]),
        )
}

/// An expression that is a condition.
pub(super) fn condition(tape: &mut Tape<'_>, depth: u8) -> String {
    if depth == 0 {
        return tape.one_of(&["true", "false", "b", "has(m.a)", "has(m.z)", "n > 3"]);
    }
    let next = depth - 1;
    match tape.below(14) {
        0 => format!("({} && {})", condition(tape, next), condition(tape, next)),
        1 => format!("({} || {})", condition(tape, next), condition(tape, next)),
        2 => format!("!({})", condition(tape, next)),
        3 => format!("({} {} {})", integer(tape, next), comparison(tape), integer(tape, next)),
        4 => format!("({} {} {})", double(tape, next), comparison(tape), double(tape, next)),
        5 => format!("({} {} {})", text(tape, next), comparison(tape), text(tape, next)),
        // An integer that may hide a division must not meet a double: the check refuses that.
        6 => format!("({} {} {})", integer(tape, 0), comparison(tape), double(tape, next)),
        7 => format!("({} in {})", integer(tape, next), list(tape, next)),
        8 => format!("({} in m)", text(tape, next)),
        9 => {
            let method = tape.one_of(&["startsWith", "endsWith", "contains", "matches"]);
            let part = tape.one_of(&["'r'", "'e'", "''", "'^rel'", "'x+'", "'se$'"]);
            format!("{}.{method}({part})", text(tape, next))
        }
        10 | 11 => {
            let fold = tape.one_of(&["all", "exists", "exists_one"]);
            format!(
                "{}.{fold}(x, x {} {})",
                list(tape, next),
                comparison(tape),
                integer(tape, next)
            )
        }
        12 => format!("({} == {})", list(tape, next), list(tape, next)),
        _ => format!(
            "({} ? {} : {})",
            condition(tape, next),
            condition(tape, next),
            condition(tape, next)
        ),
    }
}

fn comparison(tape: &mut Tape<'_>) -> String {
    tape.one_of(&["<", "<=", ">", ">=", "==", "!="])
}

fn integer(tape: &mut Tape<'_>, depth: u8) -> String {
    if depth == 0 {
        return tape.one_of(&[
            "0",
            "1",
            "n",
            "-3",
            "12",
            "9223372036854775807",
            "-9223372036854775808",
            "record.a",
            "m.a",
            "m['c']",
            "l[1]",
            "l[9]",
            "m.z",
            "0x1F",
        ]);
    }
    let next = depth - 1;
    match tape.below(8) {
        0..=2 => {
            let operator = tape.one_of(&["+", "-", "*", "/", "%"]);
            format!("({} {operator} {})", integer(tape, next), integer(tape, next))
        }
        3 => format!("size({})", text(tape, next)),
        4 => format!("{}.size()", list(tape, next)),
        5 => format!(
            "({} ? {} : {})",
            condition(tape, next),
            integer(tape, next),
            integer(tape, next)
        ),
        6 => format!("-({})", integer(tape, next)),
        _ => format!("{}[{}]", list(tape, next), integer(tape, 0)),
    }
}

/// Without division: where CEL goes on with infinities, we stop.
fn double(tape: &mut Tape<'_>, depth: u8) -> String {
    if depth == 0 {
        return tape.one_of(&["0.5", "d", "-1.25", "1e3", "3.0", ".25"]);
    }
    let next = depth - 1;
    match tape.below(4) {
        0 | 1 => {
            let operator = tape.one_of(&["+", "-", "*"]);
            format!("({} {operator} {})", double(tape, next), double(tape, next))
        }
        2 => format!("double({})", tape.one_of(&["n", "1", "-4", "'1.5'", "m.a"])),
        _ => format!(
            "({} ? {} : {})",
            condition(tape, next),
            double(tape, next),
            double(tape, next)
        ),
    }
}

fn text(tape: &mut Tape<'_>, depth: u8) -> String {
    if depth == 0 {
        return tape.one_of(&["s", "'a'", "\"été\"", "''", "record.b", "r'\\d'", "'tab\\tx'"]);
    }
    let next = depth - 1;
    match tape.below(4) {
        0 | 1 => format!("({} + {})", text(tape, next), text(tape, next)),
        2 => format!("string({})", integer(tape, next)),
        _ => format!(
            "({} ? {} : {})",
            condition(tape, next),
            text(tape, next),
            text(tape, next)
        ),
    }
}

fn list(tape: &mut Tape<'_>, depth: u8) -> String {
    if depth == 0 {
        return tape.one_of(&["l", "[4, 5]", "[7]", "[n, 2]"]);
    }
    let next = depth - 1;
    match tape.below(5) {
        0 => format!("({} + {})", list(tape, next), list(tape, next)),
        1 => format!("[{}, {}]", integer(tape, next), integer(tape, next)),
        2 => format!(
            "{}.map(y, y {} {})",
            list(tape, next),
            tape.one_of(&["+", "*", "%"]),
            integer(tape, next)
        ),
        3 => format!("{}.map(y, y > 1, y + {})", list(tape, next), integer(tape, next)),
        _ => format!(
            "{}.filter(y, y {} {})",
            list(tape, next),
            comparison(tape),
            integer(tape, next)
        ),
    }
}
