//! What an expression works on and what it gives: owned values that are cheap to clone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::expression::scope::{Scope, Type};
use crate::expression::unit::Unit;

/// A value. Numbers carry no unit here: the check before has settled on which scale each stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    List(Arc<Vec<Value>>),
    Map(Arc<BTreeMap<Key, Value>>),
}

/// What a map may be asked by. An integer key is found by every number equal to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Bool(bool),
    /// Wide enough for both kinds of integers, so that `1` and `1u` are one key.
    Int(i128),
    String(Arc<str>),
}

impl Key {
    pub(crate) fn of(value: &Value) -> Option<Key> {
        match value {
            Value::Bool(value) => Some(Key::Bool(*value)),
            Value::Int(number) => Some(Key::Int((*number).into())),
            Value::Uint(number) => Some(Key::Int((*number).into())),
            // Only what is an integer exactly; 2^63 and more are left to unsigned integers.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the range is checked and the fraction is zero"
            )]
            Value::Double(number) if number.fract() == 0.0 && number.abs() < 9.0e18 => Some(Key::Int(*number as i128)),
            Value::String(text) => Some(Key::String(text.clone())),
            Value::Double(_) | Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    pub(crate) fn value(&self) -> Value {
        match self {
            Key::Bool(value) => Value::Bool(*value),
            Key::Int(number) => match i64::try_from(*number) {
                Ok(number) => Value::Int(number),
                Err(_) => Value::Uint(u64::try_from(*number).unwrap_or(u64::MAX)),
            },
            Key::String(text) => Value::String(text.clone()),
        }
    }
}

impl Value {
    /// A map with text keys.
    #[must_use]
    pub fn record<K: Into<Arc<str>>, V: Into<Value>>(fields: impl IntoIterator<Item = (K, V)>) -> Self {
        Value::Map(Arc::new(
            fields
                .into_iter()
                .map(|(key, value)| (Key::String(key.into()), value.into()))
                .collect(),
        ))
    }

    #[must_use]
    pub fn list<V: Into<Value>>(items: impl IntoIterator<Item = V>) -> Self {
        Value::List(Arc::new(items.into_iter().map(Into::into).collect()))
    }

    /// With its article, as a message says it.
    #[must_use]
    pub fn described(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a condition",
            Value::Int(_) => "an integer",
            Value::Uint(_) => "an unsigned integer",
            Value::Double(_) => "a number",
            Value::String(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// As JSON; `None` for numbers JSON does not know (NaN, infinities).
    #[must_use]
    pub fn to_json(&self) -> Option<serde_json::Value> {
        Some(match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(number) => (*number).into(),
            Value::Uint(number) => (*number).into(),
            Value::Double(number) => serde_json::Value::Number(serde_json::Number::from_f64(*number)?),
            Value::String(text) => (&**text).into(),
            Value::List(items) => serde_json::Value::Array(items.iter().map(Value::to_json).collect::<Option<_>>()?),
            Value::Map(entries) => serde_json::Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| Some((key.to_string(), value.to_json()?)))
                    .collect::<Option<_>>()?,
            ),
        })
    }

    /// The type as far as the value itself tells it. What is inside lists and maps may differ from element to element.
    fn apparent_type(&self) -> Type {
        match self {
            Value::Null | Value::List(_) | Value::Map(_) => Type::Dyn,
            Value::Bool(_) => Type::Bool,
            Value::Int(_) => Type::Int,
            Value::Uint(_) => Type::Uint,
            Value::Double(_) => Type::Number(Unit::None),
            Value::String(_) => Type::String,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Bool(value) => write!(f, "{value}"),
            Key::Int(number) => write!(f, "{number}"),
            Key::String(text) => f.write_str(text),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Uint(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Double(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::String(text.into())
    }
}

impl From<serde_json::Value> for Value {
    /// Numbers become integers where they are ones, doubles otherwise.
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(integer), _) => Value::Int(integer),
                (None, Some(integer)) => Value::Uint(integer),
                (None, None) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => text.into(),
            serde_json::Value::Array(items) => Value::list(items),
            serde_json::Value::Object(fields) => Value::record(fields),
        }
    }
}

/// The values of the variables for one evaluation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    entries: BTreeMap<Arc<str>, (Value, Option<Unit>)>,
}

impl Values {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more value. A number stands in the unit its variable is declared with.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// With one more number that says its own unit. It converts to the unit its variable is declared with, or is refused there.
    #[must_use]
    pub fn with_number(mut self, name: &str, number: f64, unit: Unit) -> Self {
        self.set_number(name, number, unit);
        self
    }

    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.entries.insert(name.into(), (value.into(), None));
    }

    pub fn set_number(&mut self, name: &str, number: f64, unit: Unit) {
        self.entries.insert(name.into(), (Value::Double(number), Some(unit)));
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.entries.get(name).map(|(value, _)| value)
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&(Value, Option<Unit>)> {
        self.entries.get(name)
    }

    /// The scope these values make up by themselves: for callers that did not declare one before. Lists and maps count as `dyn`, numbers
    /// given without a unit as plain.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.entries.iter().fold(Scope::new(), |scope, (name, (value, unit))| {
            scope.with(name, unit.clone().map_or_else(|| value.apparent_type(), Type::Number))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Key, Value, Values};
    use crate::expression::scope::{Scope, Type};
    use crate::expression::unit::Unit;

    #[test]
    fn json_survives_the_way_in_and_out() {
        let json = serde_json::json!({"a": [1, 2.5, null, true, "x", 18_446_744_073_709_551_615_u64], "b": {"c": -1}});
        assert_eq!(Value::from(json.clone()).to_json().unwrap(), json);
        assert_eq!(Value::Double(f64::NAN).to_json(), None);
    }

    #[test]
    fn equal_numbers_are_one_key() {
        assert_eq!(Key::of(&Value::Int(1)), Key::of(&Value::Uint(1)));
        assert_eq!(Key::of(&Value::Int(1)), Key::of(&Value::Double(1.0)));
        assert_eq!(Key::of(&Value::Double(1.5)), None);
    }

    #[test]
    fn values_tell_their_own_scope() {
        let values = Values::new()
            .with("name", "eu")
            .with_number("candidate", 1.5, Unit::Percent)
            .with("arm", Value::record([("a", 1i64)]));
        let scope = Scope::new()
            .with("name", Type::String)
            .with("candidate", Unit::Percent)
            .with("arm", Type::Dyn);
        assert_eq!(values.scope(), scope);
    }
}
