//! Gathers diagnostics: each once, in the order of the text, never more than a person can use.

use std::collections::HashSet;

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::document::source::Place;
use crate::limits::DIAGNOSTICS_MAX;

/// Diagnostics on their way to the author.
#[derive(Debug, Default)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    seen: HashSet<(&'static str, String, usize, String)>,
    left_out: usize,
    first_left_out: Option<(Place, Severity)>,
}

impl Diagnostics {
    /// Adds one. The same problem at the same place counts once; beyond [`DIAGNOSTICS_MAX`] they are only counted.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let place = &diagnostic.place;
        let identity = (
            diagnostic.code.id(),
            place.source().name().to_owned(),
            place.span().start,
            diagnostic.message.clone(),
        );
        if self.kept.len() >= DIAGNOSTICS_MAX {
            self.left_out += 1;
            let (_, severity) = self.first_left_out.get_or_insert((place.clone(), diagnostic.severity));
            *severity = diagnostic.severity.min(*severity);
        } else if self.seen.insert(identity) {
            self.kept.push(diagnostic);
        }
    }

    /// Whether something has been said about a place already.
    pub fn mentions(&self, place: &Place) -> bool {
        let start = place.span().start;
        let is_there = |known: &Place| known.span().start == start && known.source().name() == place.source().name();
        self.kept.iter().any(|diagnostic| is_there(&diagnostic.place))
    }

    /// Whether any error has been added.
    pub fn has_errors(&self) -> bool {
        self.kept.iter().any(Diagnostic::is_error) || matches!(self.first_left_out, Some((_, Severity::Error)))
    }

    /// All of them, sorted by file (in order of appearance) and place.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        let mut files: Vec<String> = Vec::new();
        for diagnostic in &self.kept {
            let name = diagnostic.place.source().name();
            if !files.iter().any(|file| file == name) {
                files.push(name.to_owned());
            }
        }
        let rank = |diagnostic: &Diagnostic| files.iter().position(|file| file == diagnostic.place.source().name());
        self.kept
            .sort_by_cached_key(|diagnostic| (rank(diagnostic), diagnostic.place.span().start));
        if let Some((place, severity)) = self.first_left_out {
            let message = format!("{} more problems are not shown", self.left_out);
            let mut more = Diagnostic::new(Code::MORE, place, message).hint("mend the first ones and validate again");
            more.severity = severity;
            self.kept.push(more);
        }
        self.kept
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<T: IntoIterator<Item = Diagnostic>>(&mut self, diagnostics: T) {
        for diagnostic in diagnostics {
            self.push(diagnostic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Diagnostics;
    use crate::diagnostic::{Code, Diagnostic};
    use crate::document::source::{Place, Source};
    use crate::limits::DIAGNOSTICS_MAX;

    #[test]
    fn they_come_out_in_the_order_of_the_text_each_once() {
        let source = Source::new("a.yaml", "abc");
        let at = |offset: usize| Diagnostic::new(Code::TAG, Place::new(&source, offset..offset + 1), "x");
        let mut diagnostics = Diagnostics::default();
        diagnostics.extend([at(2), at(0), at(2)]);
        assert_eq!(diagnostics.finish(), [at(0), at(2)]);
    }

    #[test]
    fn a_flood_ends_in_one_line_that_counts_the_rest() {
        let source = Source::new("a.yaml", "a".repeat(500));
        let mut diagnostics = Diagnostics::default();
        diagnostics.extend((0..500).map(|at| Diagnostic::new(Code::TAG, Place::new(&source, at..at + 1), "x")));
        let shown = diagnostics.finish();
        assert_eq!(shown.len(), DIAGNOSTICS_MAX + 1);
        assert_eq!(shown[DIAGNOSTICS_MAX].message, "400 more problems are not shown");
    }
}
