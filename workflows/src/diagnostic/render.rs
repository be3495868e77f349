//! Diagnostics as a person reads them: title, place, snippet, hint.

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::diagnostic::{Diagnostic, Severity};
use crate::document::source::Place;

/// Whether the text may carry terminal colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Plain,
    Coloured,
}

/// Lines longer than this are not shown; the place alone is.
const LINE_BYTES_MAX: usize = 2_000;

/// One diagnostic, without a line break at its end.
pub fn render(diagnostic: &Diagnostic, colour: Colour) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level
        .primary_title(diagnostic.message.as_str())
        .id(diagnostic.code.id());
    let mut group = Group::with_title(title);
    for (file, places) in by_file(diagnostic) {
        group = match Excerpt::around(&places) {
            Some(excerpt) => group.element(
                Snippet::source(excerpt.text)
                    .path(file)
                    .line_start(excerpt.first_line)
                    .annotations(places.iter().map(|shown| shown.annotation(excerpt.start))),
            ),
            None => group.elements(places.iter().take(1).map(|shown| {
                let position = shown.place.position();
                Origin::path(file).line(position.line).char_column(position.column)
            })),
        };
    }
    if let Some(hint) = &diagnostic.hint {
        let hint = annotate_snippets::normalize_untrusted_str(hint);
        group = group.element(Level::HELP.with_name("hint").message(hint));
    }
    let renderer = match colour {
        Colour::Plain => Renderer::plain(),
        Colour::Coloured => Renderer::styled(),
    };
    renderer.render(&[group])
}

/// All of them, a blank line in between, each ending with a line break.
pub fn render_all(diagnostics: &[Diagnostic], colour: Colour) -> String {
    diagnostics
        .iter()
        .map(|diagnostic| render(diagnostic, colour) + "\n")
        .collect::<Vec<_>>()
        .join("\n")
}

struct Shown<'a> {
    place: Place,
    label: Option<&'a str>,
    kind: AnnotationKind,
}

impl<'a> Shown<'a> {
    fn annotation(&self, excerpt_start: usize) -> Annotation<'a> {
        let span = self.place.span();
        let annotation = self.kind.span(span.start - excerpt_start..span.end - excerpt_start);
        annotation.label(self.label)
    }
}

/// The places of a diagnostic, grouped by file, its own first. Long values are shown by their first line.
fn by_file(diagnostic: &Diagnostic) -> Vec<(&str, Vec<Shown<'_>>)> {
    let own = Shown {
        place: diagnostic.place.first_line(),
        label: diagnostic.label.as_deref(),
        kind: AnnotationKind::Primary,
    };
    let mut files = vec![(diagnostic.place.source().name(), vec![own])];
    for (place, label) in &diagnostic.others {
        let other = Shown {
            place: place.first_line(),
            label: Some(label),
            kind: AnnotationKind::Context,
        };
        let name = place.source().name();
        match files.iter_mut().find(|(file, _)| *file == name) {
            Some((_, places)) => places.push(other),
            None => files.push((name, vec![other])),
        }
    }
    files
}

/// The lines of a source that hold some places.
struct Excerpt {
    text: String,
    start: usize,
    first_line: usize,
}

impl Excerpt {
    /// None when there is no text, or none that a person could read.
    fn around(places: &[Shown<'_>]) -> Option<Excerpt> {
        let source = places.first()?.place.source();
        let lines = || places.iter().map(|shown| shown.place.position().line);
        let (first, last) = (lines().min()?, lines().max()?);
        let range = source.line(first).start..source.line(last).end;
        let text = source.text().get(range.clone())?;
        let readable = !text.trim().is_empty() && text.lines().all(|line| line.len() <= LINE_BYTES_MAX);
        readable.then(|| Excerpt {
            text: text.to_owned(),
            start: range.start,
            first_line: first,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Colour, render};
    use crate::diagnostic::{Code, Diagnostic};
    use crate::document::source::{Place, Source};

    #[test]
    fn a_diagnostic_shows_title_place_snippet_and_hint() {
        let source = Source::new("checkout.yaml", "one: 1\ntwo: 2\n\none: 3\n");
        let diagnostic = Diagnostic::new(
            Code::DUPLICATE_KEY,
            Place::new(&source, 15..18),
            "the key `one` is repeated",
        )
        .and(Place::new(&source, 0..3), "first here")
        .hint("keep one of them");
        insta::assert_snapshot!(render(&diagnostic, Colour::Plain), @r"
        error[M007]: the key `one` is repeated
         --> checkout.yaml:4:1
          |
        1 | one: 1
          | --- first here
        ...
        4 | one: 3
          | ^^^
          |
          = hint: keep one of them
        ");
        assert!(render(&diagnostic, Colour::Coloured).contains("\u{1b}["));
    }

    #[test]
    fn a_line_that_nobody_could_read_is_left_out() {
        let source = Source::new("a.yaml", format!("{}é", "x".repeat(100_000)));
        let diagnostic = Diagnostic::new(Code::TAG, Place::new(&source, 100_000..100_002), "too long to show");
        insta::assert_snapshot!(render(&diagnostic, Colour::Plain), @r"
        error[M008]: too long to show
        --> a.yaml:1:100001
        ");
    }
}
