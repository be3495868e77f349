//! What every part of the decoder has at hand: the vocabulary, the files beside this one, and the list of problems.

use indexmap::IndexSet;

use crate::diagnostic::collector::Diagnostics;
use crate::diagnostic::suggestion;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::source::Place;
use crate::vocabulary::{Availability, Vocabulary};

/// How the decoder reads a file that another one names: the path as resolved against the naming file.
pub type Load<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

/// The decoder's surroundings.
pub struct Context<'a> {
    pub vocabulary: &'a Vocabulary,
    pub load: Load<'a>,
    pub diagnostics: Diagnostics,
    /// Known features that this build cannot run, in the order in which they were met.
    pub not_yet: IndexSet<String>,
}

impl<'a> Context<'a> {
    pub fn new(vocabulary: &'a Vocabulary, load: Load<'a>) -> Context<'a> {
        Context {
            vocabulary,
            load,
            diagnostics: Diagnostics::default(),
            not_yet: IndexSet::new(),
        }
    }

    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Reports a problem that needs no hint.
    pub fn error(&mut self, code: Code, place: &Place, message: impl Into<String>) {
        self.report(Diagnostic::new(code, place.clone(), message));
    }

    /// Reports a name that nothing has, with the one that was probably meant.
    pub fn unknown<'n>(
        &mut self,
        code: Code,
        place: &Place,
        what: &str,
        written: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        let hint = suggestion::hint(written, known).unwrap_or_else(|| format!("no {what} is defined here"));
        let message = format!("unknown {what} `{written}`");
        self.report(Diagnostic::new(code, place.clone(), message).hint(hint));
    }

    /// Notes a known kind that this build cannot run yet; nothing of it is ignored.
    pub fn check_availability(&mut self, availability: Availability, place: &Place, feature: String) {
        if availability == Availability::NotYet {
            self.not_yet(
                place,
                &feature,
                "the workflow can be checked and planned; `run` refuses it until this build knows how",
            );
            self.not_yet.insert(feature);
        }
    }

    /// Says that something is not available yet.
    pub fn not_yet(&mut self, place: &Place, feature: &str, hint: &str) {
        let message = format!("{feature} is not available yet");
        self.report(Diagnostic::new(Code::NOT_YET, place.clone(), message).hint(hint));
    }
}
