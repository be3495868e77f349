//! The tree of a document: values as they were written, each with its place.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::document::source::{Place, Source};

/// One YAML document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    pub source: Arc<Source>,
    pub root: Node,
}

/// A value with its place. Where an alias stands, the place is the one of the definition.
#[derive(Clone, Debug)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

/// What YAML can say. Scalars keep their text: whether `1.10` is a number or a version is for the reader to decide.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing written, `~` or `null`.
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Map),
}

/// A scalar after quotes and escapes are resolved.
#[derive(Clone, Debug)]
pub struct Scalar {
    pub text: String,
    pub style: Style,
}

/// How a scalar was written: a plain `10` may be a number, a quoted one is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Quoted,
    /// `|` or `>`.
    Block,
}

/// A mapping in the order it was written, every key once.
#[derive(Clone, Debug, Default)]
pub struct Map {
    pub entries: IndexMap<String, Entry>,
}

/// One entry of a mapping.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Place,
    pub value: Node,
}

impl Map {
    /// The value of a key, when it was written.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.get(key).map(|entry| &entry.value)
    }
}

impl Node {
    /// The mapping, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            Value::Null | Value::Scalar(_) | Value::List(_) => None,
        }
    }

    /// The text of a scalar, quoted or not.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// What the value is, for a sentence such as "expected a list, found a number".
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Scalar(Scalar {
                text,
                style: Style::Plain,
            }) => match text.as_str() {
                "true" | "false" => "true or false",
                number if number.parse::<f64>().is_ok() => "a number",
                _ => "text",
            },
            Value::Scalar(_) => "text",
        }
    }

    /// Values in this tree, itself included.
    pub fn size(&self) -> usize {
        1 + match &self.value {
            Value::Null | Value::Scalar(_) => 0,
            Value::List(items) => items.iter().map(Node::size).sum(),
            Value::Map(map) => map.entries.values().map(|entry| entry.value.size()).sum(),
        }
    }

    /// Bytes of all scalars in this tree.
    pub fn scalar_bytes(&self) -> usize {
        match &self.value {
            Value::Null => 0,
            Value::Scalar(scalar) => scalar.text.len(),
            Value::List(items) => items.iter().map(Node::scalar_bytes).sum(),
            Value::Map(map) => map.entries.values().map(|entry| entry.value.scalar_bytes()).sum(),
        }
    }

    /// Lists and mappings inside one another: 0 for a scalar.
    pub fn height(&self) -> usize {
        match &self.value {
            Value::Null | Value::Scalar(_) => 0,
            Value::List(items) => 1 + items.iter().map(Node::height).max().unwrap_or(0),
            Value::Map(map) => {
                1 + map
                    .entries
                    .values()
                    .map(|entry| entry.value.height())
                    .max()
                    .unwrap_or(0)
            }
        }
    }

    /// The place of bytes `part` of the scalar's *text*, as well as the way it was written allows: exact for plain text,
    /// for quoted text without escapes and for literal blocks; the whole value otherwise.
    pub fn part(&self, part: std::ops::Range<usize>) -> Place {
        let Value::Scalar(scalar) = &self.value else {
            return self.place.clone();
        };
        let written = self.place.text();
        let inner = match scalar.style {
            Style::Plain => Some(0),
            Style::Quoted => Some(1),
            Style::Block => None,
        };
        if let Some(offset) = inner {
            let same = written.get(offset..offset + scalar.text.len()) == Some(scalar.text.as_str());
            return if same {
                self.place.part(offset + part.start..offset + part.end)
            } else {
                self.place.clone()
            };
        }
        self.part_of_block(&scalar.text, part)
            .unwrap_or_else(|| self.place.clone())
    }

    /// A literal block repeats its lines with an indentation: find the line by counting, the column by looking for it.
    fn part_of_block(&self, text: &str, part: std::ops::Range<usize>) -> Option<Place> {
        let before = text.get(..part.start)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[part.start..].find('\n').map_or(text.len(), |at| part.start + at);
        let line = text.get(line_start..line_end)?;
        let line_index = before.matches('\n').count();
        let block = self.place.text();
        let first = usize::from(block.starts_with(['|', '>']));
        let mut offset = 0;
        for (index, written) in block.split_inclusive('\n').enumerate() {
            if index == line_index + first {
                let column = written.find(line)?;
                let start = offset + column + (part.start - line_start);
                let end = offset + column + (part.end.min(line_end) - line_start);
                return Some(self.place.part(start..end));
            }
            offset += written.len();
        }
        None
    }
}
