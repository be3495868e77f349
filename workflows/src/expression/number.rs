//! Arithmetic and comparison of numbers: checked, exact across kinds, and never silent about NaN.

use std::cmp::Ordering;

use crate::expression::evaluation::Fault;
use crate::expression::tree::Operator;
use crate::expression::value::Value;

/// The value as a double, if it is a number.
#[expect(clippy::cast_precision_loss, reason = "the nearest double is what is wanted")]
pub(crate) fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Uint(number) => Some(*number as f64),
        Value::Double(number) => Some(*number),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::List(_) | Value::Map(_) => None,
    }
}

/// `+ - * / %` on two numbers. Integers of one kind stay integers; an integer beside a double becomes one.
///
/// # Errors
/// Overflow (an infinity made out of finite numbers counts), division by zero, operands that are no numbers or two kinds of integers.
pub(crate) fn arithmetic(operator: Operator, left: &Value, right: &Value) -> Result<Value, Fault> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => signed(operator, *left, *right).map(Value::Int),
        (Value::Uint(left), Value::Uint(right)) => unsigned(operator, *left, *right).map(Value::Uint),
        (Value::Double(_), _) | (_, Value::Double(_)) => match (double(left), double(right)) {
            (Some(one), Some(other)) => floating(operator, one, other).map(Value::Double),
            (None, _) => Err(Fault::mismatch("a number", left)),
            (_, None) => Err(Fault::mismatch("a number", right)),
        },
        (Value::Int(_) | Value::Uint(_), _) => Err(Fault::mismatch(left.described(), right)),
        _ => Err(Fault::mismatch("a number", left)),
    }
}

fn signed(operator: Operator, left: i64, right: i64) -> Result<i64, Fault> {
    match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide | Operator::Remainder if right == 0 => return Err(Fault::DivisionByZero),
        Operator::Divide => left.checked_div(right),
        _ => left.checked_rem(right),
    }
    .ok_or(Fault::Overflow)
}

fn unsigned(operator: Operator, left: u64, right: u64) -> Result<u64, Fault> {
    match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide | Operator::Remainder if right == 0 => return Err(Fault::DivisionByZero),
        Operator::Divide => left.checked_div(right),
        _ => left.checked_rem(right),
    }
    .ok_or(Fault::Overflow)
}

fn floating(operator: Operator, left: f64, right: f64) -> Result<f64, Fault> {
    let result = match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide if right == 0.0 => return Err(Fault::DivisionByZero),
        Operator::Divide => left / right,
        _ => return Err(Fault::mismatch("an integer", &Value::Double(left))),
    };
    finite(result, left.is_finite() && right.is_finite())
}

/// An infinity that finite numbers made is an overflow.
pub(crate) fn finite(result: f64, was_finite: bool) -> Result<f64, Fault> {
    if was_finite && !result.is_finite() {
        Err(Fault::Overflow)
    } else {
        Ok(result)
    }
}

/// Compares two numbers of any kinds by their exact mathematical value.
///
/// # Errors
/// NaN has no order and is not even equal to itself, so asking for it is an error.
///
/// `None` when one of them is no number.
pub(crate) fn order(left: &Value, right: &Value) -> Option<Result<Ordering, Fault>> {
    Some(Ok(match (left, right) {
        (Value::Double(left), Value::Double(right)) => return Some(left.partial_cmp(right).ok_or(Fault::NotANumber)),
        (Value::Double(left), right) => return Some(with_integer(*left, integer(right)?)),
        (left, Value::Double(right)) => return Some(with_integer(*right, integer(left)?).map(Ordering::reverse)),
        (left, right) => integer(left)?.cmp(&integer(right)?),
    }))
}

/// The value as an integer, if it is one.
pub(crate) fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Int(number) => Some((*number).into()),
        Value::Uint(number) => Some((*number).into()),
        Value::Null | Value::Bool(_) | Value::Double(_) | Value::String(_) | Value::List(_) | Value::Map(_) => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the whole part of a double below 1e20 fits into 128 bits"
)]
fn with_integer(double: f64, integer: i128) -> Result<Ordering, Fault> {
    if double.is_nan() {
        return Err(Fault::NotANumber);
    }
    // Every 64-bit integer lies within ±1e20.
    if double.abs() >= 1e20 {
        return Ok(if double > 0.0 {
            Ordering::Greater
        } else {
            Ordering::Less
        });
    }
    let whole = double.trunc();
    Ok((whole as i128)
        .cmp(&integer)
        .then_with(|| double.partial_cmp(&whole).unwrap_or(Ordering::Equal)))
}

/// A double as an integer, its fraction dropped.
///
/// # Errors
/// NaN, and what does not fit.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
pub(crate) fn truncated(number: f64) -> Result<i128, Fault> {
    if number.is_nan() {
        return Err(Fault::NotANumber);
    }
    if number.abs() >= 1e20 {
        Err(Fault::Overflow)
    } else {
        Ok(number.trunc() as i128)
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::{arithmetic, order};
    use crate::expression::evaluation::Fault;
    use crate::expression::tree::Operator;
    use crate::expression::value::Value::{Double, Int, Uint};

    #[test]
    fn integers_are_checked() {
        assert_eq!(arithmetic(Operator::Add, &Int(i64::MAX), &Int(1)), Err(Fault::Overflow));
        assert_eq!(
            arithmetic(Operator::Divide, &Int(i64::MIN), &Int(-1)),
            Err(Fault::Overflow)
        );
        assert_eq!(
            arithmetic(Operator::Remainder, &Int(i64::MIN), &Int(-1)),
            Err(Fault::Overflow)
        );
        assert_eq!(arithmetic(Operator::Subtract, &Uint(0), &Uint(1)), Err(Fault::Overflow));
        assert_eq!(
            arithmetic(Operator::Remainder, &Int(7), &Int(0)),
            Err(Fault::DivisionByZero)
        );
        assert_eq!(arithmetic(Operator::Divide, &Int(7), &Int(2)), Ok(Int(3)));
    }

    #[test]
    fn doubles_overflow_and_divide_by_zero_aloud() {
        assert_eq!(
            arithmetic(Operator::Multiply, &Double(1e308), &Double(10.0)),
            Err(Fault::Overflow)
        );
        assert_eq!(
            arithmetic(Operator::Divide, &Double(0.0), &Double(-0.0)),
            Err(Fault::DivisionByZero)
        );
        assert_eq!(arithmetic(Operator::Multiply, &Int(2), &Double(1.5)), Ok(Double(3.0)));
    }

    #[test]
    fn numbers_of_different_kinds_compare_by_their_exact_value() {
        let compared = |left, right| order(&left, &right);
        assert_eq!(
            compared(Int(i64::MAX), Double(9_223_372_036_854_775_808.0)),
            Some(Ok(Ordering::Less))
        );
        assert_eq!(compared(Uint(u64::MAX), Int(-1)), Some(Ok(Ordering::Greater)));
        assert_eq!(compared(Double(-0.5), Int(0)), Some(Ok(Ordering::Less)));
        assert_eq!(compared(Int(-1), Double(-1.5)), Some(Ok(Ordering::Greater)));
        assert_eq!(
            compared(Double(f64::INFINITY), Uint(u64::MAX)),
            Some(Ok(Ordering::Greater))
        );
        assert_eq!(compared(Double(f64::NAN), Int(1)), Some(Err(Fault::NotANumber)));
        assert_eq!(
            compared(Double(f64::NAN), Double(f64::NAN)),
            Some(Err(Fault::NotANumber))
        );
    }
}
