//! The members of a request's structure, read one by one; what nobody read is refused, so nothing is silently ignored.

use serde_json::{Map, Value};

use crate::aws::refusal::Refusal;

/// How scalars are written, and which code refuses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// JSON 1.1: scalars have their JSON types.
    Json,
    /// The query protocol: every scalar is text.
    Query,
}

/// One structure of a request. Null members count as absent, as AWS treats them.
#[derive(Clone, Debug)]
pub struct Members {
    left: Map<String, Value>,
    protocol: Protocol,
}

impl Members {
    /// Reads the body of a JSON 1.1 request. An empty body is an empty structure.
    pub fn json(body: &[u8]) -> Result<Members, Refusal> {
        if body.is_empty() {
            return Ok(Members::of(Value::Object(Map::new())));
        }
        match serde_json::from_slice(body) {
            Ok(value @ Value::Object(_)) => Ok(Members::of(value)),
            _ => Err(Refusal::new(
                "SerializationException",
                400,
                "the body is no JSON object",
            )),
        }
    }

    /// Members of a JSON value; what is no object has none.
    pub fn of(value: Value) -> Members {
        Members::with(value, Protocol::Json)
    }

    /// Members of the tree that a query form spells.
    pub fn query(tree: Value) -> Members {
        Members::with(tree, Protocol::Query)
    }

    fn with(value: Value, protocol: Protocol) -> Members {
        let left = match value {
            Value::Object(map) => map.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            _ => Map::new(),
        };
        Members { left, protocol }
    }

    fn wrong(&self, name: &str, expected: &str) -> Refusal {
        match self.protocol {
            Protocol::Json => Refusal::new("SerializationException", 400, format!("{name} is no {expected}")),
            Protocol::Query => Refusal::validation(format!("'{name}' must be a {expected}")),
        }
    }

    fn missing(&self, name: &str) -> Refusal {
        match self.protocol {
            Protocol::Json => Refusal::parameter(format!("{name} can not be blank.")),
            Protocol::Query => Refusal::validation(format!("'{name}' must be specified")),
        }
    }

    /// A member as it came, for what is only kept and given back.
    pub fn raw(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name)
    }

    pub fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.left.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "string")),
        }
    }

    /// A text that must be there and say something.
    pub fn needs(&mut self, name: &str) -> Result<String, Refusal> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(self.missing(name)),
        }
    }

    /// A text out of a closed set.
    pub fn one_of(&mut self, name: &str, words: &[&str]) -> Result<Option<String>, Refusal> {
        match self.text(name)? {
            Some(word) if !words.contains(&word.as_str()) => {
                let message = format!("{name} must be one of [{}], not '{word}'", words.join(", "));
                Err(match self.protocol {
                    Protocol::Json => Refusal::parameter(message),
                    Protocol::Query => Refusal::validation(message),
                })
            }
            word => Ok(word),
        }
    }

    pub fn whole(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        match (self.left.remove(name), self.protocol) {
            (None, _) => Ok(None),
            (Some(Value::Number(number)), Protocol::Json) => {
                number.as_i64().map(Some).ok_or_else(|| self.wrong(name, "integer"))
            }
            (Some(Value::String(text)), Protocol::Query) => {
                text.parse().map(Some).map_err(|_| self.wrong(name, "integer"))
            }
            (Some(_), _) => Err(self.wrong(name, "integer")),
        }
    }

    /// A whole number within bounds, both included.
    pub fn within(&mut self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Refusal> {
        match self.whole(name)? {
            Some(number) if !(least..=most).contains(&number) => {
                let message = format!("{name} must be between {least} and {most}, not {number}");
                Err(match self.protocol {
                    Protocol::Json => Refusal::parameter(message),
                    Protocol::Query => Refusal::validation(message),
                })
            }
            number => Ok(number),
        }
    }

    pub fn number(&mut self, name: &str) -> Result<Option<f64>, Refusal> {
        match self.left.remove(name) {
            None => Ok(None),
            Some(Value::Number(number)) => number.as_f64().map(Some).ok_or_else(|| self.wrong(name, "number")),
            Some(_) => Err(self.wrong(name, "number")),
        }
    }

    pub fn truth(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        match (self.left.remove(name), self.protocol) {
            (None, _) => Ok(None),
            (Some(Value::Bool(truth)), Protocol::Json) => Ok(Some(truth)),
            (Some(Value::String(text)), Protocol::Query) => match text.as_str() {
                "true" => Ok(Some(true)),
                "false" => Ok(Some(false)),
                _ => Err(self.wrong(name, "boolean")),
            },
            (Some(_), _) => Err(self.wrong(name, "boolean")),
        }
    }

    pub fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(value) = self.left.remove(name) else {
            return Ok(None);
        };
        let Value::Array(items) = value else {
            return Err(self.wrong(name, "list"));
        };
        items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(self.wrong(name, "list of strings")),
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Some)
    }

    pub fn nested(&mut self, name: &str) -> Result<Option<Members>, Refusal> {
        match self.left.remove(name) {
            None => Ok(None),
            Some(value @ Value::Object(_)) => Ok(Some(Members::with(value, self.protocol))),
            Some(_) => Err(self.wrong(name, "structure")),
        }
    }

    pub fn list(&mut self, name: &str) -> Result<Option<Vec<Members>>, Refusal> {
        let Some(value) = self.left.remove(name) else {
            return Ok(None);
        };
        let Value::Array(items) = value else {
            return Err(self.wrong(name, "list"));
        };
        items
            .into_iter()
            .map(|item| match item {
                value @ Value::Object(_) => Ok(Members::with(value, self.protocol)),
                _ => Err(self.wrong(name, "list of structures")),
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Some)
    }

    /// Ends the reading.
    ///
    /// *Errors*: a member is left that the stand-in does not play; it is refused so that no test relies on it by accident.
    pub fn done(self) -> Result<(), Refusal> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => Err(match self.protocol {
                Protocol::Json => Refusal::new(
                    "UnsupportedFeatureException",
                    400,
                    format!("this stand-in for ECS does not play the member '{name}'"),
                ),
                Protocol::Query => {
                    Refusal::validation(format!("this stand-in for ELB does not play the member '{name}'"))
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_that_nobody_reads_is_refused() {
        let mut members = Members::of(json!({"service": "web", "desiredCont": 3}));
        assert_eq!(members.needs("service").unwrap(), "web");
        assert!(members.done().unwrap_err().message.contains("desiredCont"));
    }

    #[test]
    fn scalars_of_the_query_protocol_are_text() {
        let mut members = Members::query(json!({"PageSize": "20", "Enabled": "true"}));
        assert_eq!(members.whole("PageSize").unwrap(), Some(20));
        assert_eq!(members.truth("Enabled").unwrap(), Some(true));
        assert!(Members::of(json!({"maxResults": "20"})).whole("maxResults").is_err());
    }
}
