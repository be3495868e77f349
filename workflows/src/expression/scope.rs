//! What an expression may name: variables and the types they are declared with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::diagnostic::suggestion;
use crate::expression::unit::Unit;

/// What is known about a value before it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    Null,
    Bool,
    Int,
    Uint,
    /// A floating-point number that counts something.
    Number(Unit),
    String,
    List(Arc<Type>),
    /// Keys and values.
    Map(Arc<Type>, Arc<Type>),
    /// A map whose fields are known by name; no other field may be asked for.
    Record(Arc<Record>),
    /// JSON from the world: only its use tells what it is. Its numbers are plain.
    Dyn,
}

impl Type {
    #[must_use]
    pub fn list(of: impl Into<Type>) -> Self {
        Type::List(Arc::new(of.into()))
    }

    /// Text keys, values of one type.
    #[must_use]
    pub fn map(of: impl Into<Type>) -> Self {
        Type::Map(Arc::new(Type::String), Arc::new(of.into()))
    }

    pub(crate) fn is_numeric(&self) -> bool {
        matches!(self, Type::Int | Type::Uint | Type::Number(_))
    }

    /// A number that counts something is in it, at any depth.
    pub(crate) fn has_unit(&self) -> bool {
        match self {
            Type::Number(unit) => !unit.is_plain(),
            Type::List(of) => of.has_unit(),
            Type::Map(_, of) => of.has_unit(),
            Type::Record(record) => record.fields.values().any(Type::has_unit),
            Type::Null | Type::Bool | Type::Int | Type::Uint | Type::String | Type::Dyn => false,
        }
    }

    /// With its article, as a message says it.
    #[must_use]
    pub fn described(&self) -> String {
        match self {
            Type::Null => "null".to_owned(),
            Type::Bool => "a condition".to_owned(),
            Type::Int => "an integer".to_owned(),
            Type::Uint => "an unsigned integer".to_owned(),
            Type::Number(unit) => unit.described(),
            Type::String => "a string".to_owned(),
            Type::List(_) => "a list".to_owned(),
            Type::Map(..) => "a map".to_owned(),
            Type::Record(record) => format!("the record `{}`", record.name),
            Type::Dyn => "a value of unknown type".to_owned(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Null => f.write_str("null"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint => f.write_str("uint"),
            Type::Number(Unit::None) => f.write_str("double"),
            Type::Number(unit) => write!(f, "{unit}"),
            Type::String => f.write_str("string"),
            Type::List(of) => write!(f, "list({of})"),
            Type::Map(key, of) => write!(f, "map({key}, {of})"),
            Type::Record(record) => f.write_str(&record.name),
            Type::Dyn => f.write_str("dyn"),
        }
    }
}

impl From<Unit> for Type {
    fn from(unit: Unit) -> Self {
        Type::Number(unit)
    }
}

/// The known fields of a map. Its name is for messages only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    name: Arc<str>,
    fields: BTreeMap<Arc<str>, Type>,
}

impl Record {
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            fields: BTreeMap::new(),
        }
    }

    /// With one more field; a field declared again has its last type.
    #[must_use]
    pub fn with(mut self, field: &str, of: impl Into<Type>) -> Self {
        self.fields.insert(field.into(), of.into());
        self
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Type> {
        self.fields.get(name)
    }

    pub fn fields(&self) -> impl Iterator<Item = (&str, &Type)> {
        self.fields.iter().map(|(name, of)| (&**name, of))
    }

    /// What to write instead of a field that is not there.
    pub(crate) fn hint_for(&self, wrong: &str) -> String {
        let hyphened = format!("{wrong}-");
        if let Some((name, _)) = self.fields().find(|(name, _)| name.starts_with(&hyphened)) {
            return format!("a name with a hyphen is asked for as `[\"{name}\"]`");
        }
        did_you_mean(wrong, self.fields().map(|(name, _)| name), "fields")
    }
}

impl From<Record> for Type {
    fn from(record: Record) -> Self {
        Type::Record(Arc::new(record))
    }
}

/// The variables an expression may use, each with its type. Anything else is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    variables: BTreeMap<Arc<str>, Type>,
}

impl Scope {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more variable; a name declared again has its last type.
    #[must_use]
    pub fn with(mut self, name: &str, of: impl Into<Type>) -> Self {
        self.declare(name, of);
        self
    }

    pub fn declare(&mut self, name: &str, of: impl Into<Type>) {
        self.variables.insert(name.into(), of.into());
    }

    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&Type> {
        self.variables.get(name)
    }

    pub fn variables(&self) -> impl Iterator<Item = (&str, &Type)> {
        self.variables.iter().map(|(name, of)| (&**name, of))
    }
}

/// The closest known name, or all of them while they are few.
pub(crate) fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>, what: &str) -> String {
    suggestion::hint(wrong, known).unwrap_or_else(|| format!("there are no {what} here"))
}

#[cfg(test)]
mod tests {
    use super::{Record, Scope, Type};
    use crate::expression::unit::Unit;

    #[test]
    fn a_unit_is_found_at_any_depth() {
        let record = Record::new("r").with("a", Type::list(Type::map(Unit::Ratio)));
        assert!(Type::from(record).has_unit());
        assert!(!Type::list(Type::Number(Unit::None)).has_unit());
    }

    #[test]
    fn a_name_declared_again_has_its_last_type() {
        let scope = Scope::new().with("a", Type::Int).with("a", Unit::Count);
        assert_eq!(scope.variable("a"), Some(&Type::Number(Unit::Count)));
    }

    #[test]
    fn a_missing_field_before_a_hyphen_is_told_how_to_be_written() {
        let labels = Record::new("labels").with("pod-hash", Type::String);
        assert_eq!(
            labels.hint_for("pod"),
            "a name with a hyphen is asked for as `[\"pod-hash\"]`"
        );
    }
}
