//! The text of one file and places in it: byte spans that know their line and column.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The text of one file with the name that people know it by.
pub struct Source {
    name: String,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// Takes the text as it will be shown; line starts are found once.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Source> {
        let text = text.into();
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Arc::new(Source {
            name: name.into(),
            text,
            line_starts,
        })
    }

    /// The file's name as the caller gave it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text, without a byte order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte offset, both from 1; the column counts characters. An offset beyond the end is the end.
    pub fn position(&self, offset: usize) -> Position {
        let offset = offset.min(self.text.len());
        let index = self
            .line_starts
            .partition_point(|&start| start <= offset)
            .saturating_sub(1);
        let start = self.line_starts.get(index).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        Position {
            line: index + 1,
            column,
        }
    }

    /// The bytes of the line (from 1) without its line break.
    pub fn line(&self, line: usize) -> Range<usize> {
        let start = self
            .line_starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or(self.text.len());
        let end = self.line_starts.get(line).map_or(self.text.len(), |next| next - 1);
        let end = if self.text[start..end].ends_with('\r') {
            end - 1
        } else {
            end
        };
        start..end
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.name)
    }
}

/// A line and a column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// A range of bytes in a source: where something was written.
#[derive(Clone)]
pub struct Place {
    source: Arc<Source>,
    start: u32,
    end: u32,
}

impl Place {
    /// Where `span` stands in `source`. The span is cut to the text and to whole characters, so a place can always be shown.
    pub fn new(source: &Arc<Source>, span: Range<usize>) -> Place {
        let fit = |mut offset: usize| {
            offset = offset.min(source.text.len());
            while !source.text.is_char_boundary(offset) {
                offset -= 1;
            }
            u32::try_from(offset).unwrap_or(u32::MAX)
        };
        let (start, end) = (fit(span.start), fit(span.end));
        Place {
            source: Arc::clone(source),
            start,
            end: end.max(start),
        }
    }

    /// The very beginning of a source, for what concerns a file as a whole.
    pub fn beginning(source: &Arc<Source>) -> Place {
        Place::new(source, 0..0)
    }

    /// The file that the place is in.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The bytes of the place.
    pub fn span(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Line and column of the first byte.
    pub fn position(&self) -> Position {
        self.source.position(self.start as usize)
    }

    /// What is written there, quotes and block indicators included.
    pub fn text(&self) -> &str {
        self.source.text.get(self.span()).unwrap_or_default()
    }

    /// The part of the place, by bytes counted from its start; cut to the place.
    pub fn part(&self, part: Range<usize>) -> Place {
        let start = (self.start as usize).saturating_add(part.start).min(self.end as usize);
        let end = (self.start as usize).saturating_add(part.end).min(self.end as usize);
        Place::new(&self.source, start..end)
    }

    /// The place cut to its first line: a snippet of a long mapping shows where it begins, not all of it.
    pub fn first_line(&self) -> Place {
        let line_end = self.source.line(self.position().line).end;
        Place::new(
            &self.source,
            self.start as usize..(self.end as usize).min(line_end.max(self.start as usize)),
        )
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Place) -> bool {
        self.start == other.start && self.end == other.end && self.source.name == other.source.name
    }
}

impl Eq for Place {}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `file:line:column`, as editors and terminals link it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Position, Source};

    #[test]
    fn columns_count_characters_not_bytes() {
        let source = Source::new("a.yaml", "ü: 1\r\nnaïve: x\n");
        assert_eq!(source.position(4), Position { line: 1, column: 4 });
        let x = source.text().find('x').unwrap();
        assert_eq!(source.position(x), Position { line: 2, column: 8 });
        assert_eq!(&source.text()[source.line(1)], "ü: 1");
        assert_eq!(source.position(1000).line, 3);
    }

    #[test]
    fn a_place_never_cuts_a_character() {
        let source = Source::new("a.yaml", "ü");
        assert_eq!(Place::new(&source, 1..9).text(), "ü");
        assert_eq!(Place::new(&source, 7..9).text(), "");
    }
}
