//! Diagnostics: what is wrong with an author's text, where, why, and how to mend it.

pub mod code;
pub mod collector;
pub mod render;
pub mod suggestion;

use std::fmt;

use serde::{Serialize, Serializer};

pub use crate::diagnostic::code::Code;
use crate::document::source::Place;

/// How much a diagnostic matters: with errors there is no workflow, with warnings there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// One problem of an author's text. It carries its source, so it can be shown without anything else at hand.
///
/// As JSON: `{"code","severity","message","file","line","column","hint"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    /// A lower-case phrase that names the thing.
    pub message: String,
    pub place: Place,
    /// What is said at the place itself, when the message alone is not enough.
    pub label: Option<String>,
    /// Other places that belong to the problem, such as the first of two definitions.
    pub others: Vec<(Place, String)>,
    /// How to mend it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A diagnostic with the severity that its code has.
    pub fn new(code: Code, place: Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: code.severity(),
            message: message.into(),
            place,
            label: None,
            others: Vec::new(),
            hint: None,
        }
    }

    /// Adds how to mend it.
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }

    /// Adds how to mend it, when that is known.
    pub fn maybe_hint(mut self, hint: Option<String>) -> Diagnostic {
        self.hint = hint;
        self
    }

    /// Adds a short text at the place itself.
    pub fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = Some(label.into());
        self
    }

    /// Adds another place that belongs to the problem.
    pub fn and(mut self, place: Place, label: impl Into<String>) -> Diagnostic {
        self.others.push((place, label.into()));
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            code: &'static str,
            severity: Severity,
            message: &'a str,
            file: &'a str,
            line: usize,
            column: usize,
            hint: Option<&'a str>,
        }
        let position = self.place.position();
        Written {
            code: self.code.id(),
            severity: self.severity,
            message: &self.message,
            file: self.place.source().name(),
            line: position.line,
            column: position.column,
            hint: self.hint.as_deref(),
        }
        .serialize(serializer)
    }
}

/// Whether any of them is an error.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(Diagnostic::is_error)
}

/// The page of a code (`M012`, in either case) as Markdown: what it means, why, how to mend it, an example.
pub fn explain(code: &str) -> Option<&'static str> {
    let wanted = code.trim();
    code::ALL
        .iter()
        .find(|known| known.id().eq_ignore_ascii_case(wanted))
        .map(|known| known.page())
}

#[cfg(test)]
mod tests {
    use super::{Code, Diagnostic, explain};
    use crate::document::source::{Place, Source};

    #[test]
    fn the_json_has_the_fields_that_scripts_rely_on() {
        let source = Source::new("a.yaml", "one: 1\none: 2\n");
        let diagnostic = Diagnostic::new(Code::DUPLICATE_KEY, Place::new(&source, 7..10), "twice");
        assert_eq!(
            serde_json::to_string(&diagnostic).unwrap(),
            r#"{"code":"M007","severity":"error","message":"twice","file":"a.yaml","line":2,"column":1,"hint":null}"#
        );
    }

    #[test]
    fn pages_are_found_in_either_case() {
        assert_eq!(explain("m007"), Some(Code::DUPLICATE_KEY.page()));
        assert_eq!(explain("M000"), None);
    }
}
