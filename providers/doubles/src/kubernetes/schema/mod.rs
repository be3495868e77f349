//! What fields an object may have, and how two of its versions merge: the published structure of every kind served.

pub(crate) mod fields;
pub(crate) mod merge;
pub(crate) mod read;

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

/// The structure of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    String,
    Int,
    Bool,
    Number,
    Time,
    Quantity,
    IntOrString,
    Bytes,
    /// Anything at all, owned as a whole.
    Any,
    Struct {
        name: &'static str,
        atomic: bool,
    },
    Map {
        item: Box<Shape>,
        atomic: bool,
    },
    List {
        item: Box<Shape>,
        merge: Merge,
    },
}

/// How two lists become one in server-side apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The newer replaces the older.
    Atomic,
    /// Items are owned one by one, by their value.
    Set,
    /// Items are owned field by field, found by these keys.
    Keys(Vec<&'static str>),
}

/// One field of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) shape: Shape,
    pub(crate) required: bool,
}

pub(crate) type Fields = BTreeMap<&'static str, Field>;

impl Shape {
    /// The structure of a kind's whole object.
    pub(crate) fn of(kind: &'static str) -> Self {
        Shape::Struct {
            name: kind,
            atomic: false,
        }
    }

    /// Whether ownership and merging stop here: the value is one piece.
    pub(crate) fn is_leaf(&self) -> bool {
        match self {
            Shape::Struct { atomic, .. } | Shape::Map { atomic, .. } => *atomic,
            Shape::List { merge, .. } => *merge == Merge::Atomic,
            Shape::String
            | Shape::Int
            | Shape::Bool
            | Shape::Number
            | Shape::Time
            | Shape::Quantity
            | Shape::IntOrString
            | Shape::Bytes
            | Shape::Any => true,
        }
    }

    /// The structure below this one at `key`, of a type or a map.
    pub(crate) fn child(&self, key: &str) -> Option<Shape> {
        static STRING: Shape = Shape::String;
        match self {
            Shape::Struct { name, .. } => match fields(name).and_then(|fields| fields.get(key)) {
                Some(field) => Some(field.shape.clone()),
                None if key == "apiVersion" || key == "kind" => Some(STRING.clone()),
                None => None,
            },
            Shape::Map { item, .. } => Some((**item).clone()),
            _ => None,
        }
    }
}

/// The fields of a type; none where no such type is described.
pub(crate) fn fields(name: &str) -> Option<&'static Fields> {
    types().get(name)
}

fn types() -> &'static HashMap<&'static str, Fields> {
    static TYPES: OnceLock<HashMap<&'static str, Fields>> = OnceLock::new();
    TYPES.get_or_init(|| {
        let mut types = HashMap::new();
        for text in [include_str!("builtin.schema"), include_str!("custom.schema")] {
            parse(text, &mut types);
        }
        types
    })
}

fn parse(text: &'static str, types: &mut HashMap<&'static str, Fields>) {
    let mut name = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if !line.starts_with(' ') {
            name = line.trim();
            if !name.is_empty() {
                types.entry(name).or_default();
            }
            continue;
        }
        let fields = types.entry(name).or_default();
        for word in line.split_whitespace() {
            let (key, shape) = word
                .split_once(':')
                .expect("every field of a schema file says its shape");
            let required = shape.ends_with('*');
            fields.insert(
                key,
                Field {
                    shape: shape_of(shape.trim_end_matches('*')),
                    required,
                },
            );
        }
    }
}

fn shape_of(text: &'static str) -> Shape {
    let (atomic, text) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if let Some(item) = text.strip_prefix("{}") {
        return Shape::Map {
            item: Box::new(shape_of(item)),
            atomic,
        };
    }
    if let Some((keys, item)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let merge = match keys {
            "" => Merge::Atomic,
            "=" => Merge::Set,
            keys => Merge::Keys(keys.split(',').collect()),
        };
        return Shape::List {
            item: Box::new(shape_of(item)),
            merge,
        };
    }
    match text {
        "string" => Shape::String,
        "int" => Shape::Int,
        "bool" => Shape::Bool,
        "number" => Shape::Number,
        "time" => Shape::Time,
        "quantity" => Shape::Quantity,
        "intstr" => Shape::IntOrString,
        "bytes" => Shape::Bytes,
        "any" => Shape::Any,
        name => Shape::Struct { name, atomic },
    }
}

#[cfg(test)]
mod tests {
    use super::{Shape, types};

    fn names(shape: &Shape, found: &mut Vec<&'static str>) {
        match shape {
            Shape::Struct { name, .. } => found.push(name),
            Shape::Map { item, .. } | Shape::List { item, .. } => names(item, found),
            _ => {}
        }
    }

    #[test]
    fn every_type_that_a_schema_names_is_described() {
        let mut named = Vec::new();
        for field in types().values().flat_map(|fields| fields.values()) {
            names(&field.shape, &mut named);
        }
        named.retain(|name| !types().contains_key(name));
        assert_eq!(named, Vec::<&str>::new());
    }
}
