//! Lines of text with a meaning for each part, so that one printer serves pipes, terminals and the full screen.
//!
//! Colour only repeats what the words and signs say already: without it nothing is lost.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    /// Names and headings.
    Strong,
    /// Context that may be skipped.
    Dim,
    Good,
    /// Waits for something, or stays where it is.
    Caution,
    Bad,
    /// The candidate's share, commands to type.
    Accent,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Tone::Plain => Style::new(),
            Tone::Strong => Style::new().add_modifier(Modifier::BOLD),
            Tone::Dim => Style::new().add_modifier(Modifier::DIM),
            Tone::Good => Style::new().fg(Color::Green),
            Tone::Caution => Style::new().fg(Color::Yellow),
            Tone::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Accent => Style::new().fg(Color::Cyan),
        }
    }
}

/// A piece of a line.
pub fn ink(tone: Tone, text: impl Into<String>) -> Span<'static> {
    Span::styled(text.into(), tone.style())
}

/// A piece of a line, padded on the right to `width` columns.
pub fn padded(tone: Tone, text: impl Into<String>, width: usize) -> Span<'static> {
    let mut span = ink(tone, text);
    let missing = width.saturating_sub(span.width());
    span.content.to_mut().push_str(&" ".repeat(missing));
    span
}

/// A line out of one piece.
pub fn line(tone: Tone, text: impl Into<String>) -> Line<'static> {
    Line::from(ink(tone, text))
}

/// The line as bare text.
pub fn plain(line: &Line<'_>) -> String {
    let text: String = line.spans.iter().map(|span| span.content.as_ref()).collect();
    text.trim_end().to_owned()
}

/// The line with the escape sequences that terminals know.
pub fn coloured(line: &Line<'_>) -> String {
    let mut text = String::new();
    for span in &line.spans {
        let codes = codes(span.style);
        if codes.is_empty() {
            text.push_str(&span.content);
        } else {
            text.push_str(&format!("\u{1b}[{}m{}\u{1b}[0m", codes.join(";"), span.content));
        }
    }
    text
}

fn codes(style: Style) -> Vec<&'static str> {
    let mut codes = Vec::new();
    if style.add_modifier.contains(Modifier::BOLD) {
        codes.push("1");
    }
    if style.add_modifier.contains(Modifier::DIM) {
        codes.push("2");
    }
    match style.fg {
        Some(Color::Green) => codes.push("32"),
        Some(Color::Yellow) => codes.push("33"),
        Some(Color::Red) => codes.push("31"),
        Some(Color::Cyan) => codes.push("36"),
        Some(_) | None => {}
    }
    codes
}

/// The line cut to `width` columns, so that a terminal never wraps it.
pub fn cut(line: Line<'static>, width: usize) -> Line<'static> {
    if line.width() <= width {
        return line;
    }
    let mut left = width.saturating_sub(1);
    let mut spans = Vec::new();
    for span in line.spans {
        let mut kept = String::new();
        for letter in span.content.chars() {
            let size = Span::raw(letter.to_string()).width();
            if size > left {
                kept.push('…');
                spans.push(Span::styled(kept, span.style));
                return Line::from(spans);
            }
            left -= size;
            kept.push(letter);
        }
        spans.push(Span::styled(kept, span.style));
    }
    Line::from(spans)
}

/// Text that came from outside, fit for one line of a terminal: no control characters, so no escape sequences.
pub fn tame(text: &str) -> String {
    text.trim()
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Line, Tone, coloured, cut, ink, padded, plain, tame};

    #[test]
    fn colour_adds_nothing_but_escape_sequences() {
        let line = Line::from(vec![padded(Tone::Good, "✓ ok", 6), ink(Tone::Plain, "eu-west-1")]);
        assert_eq!(plain(&line), "✓ ok  eu-west-1");
        assert_eq!(coloured(&line), "\u{1b}[32m✓ ok  \u{1b}[0meu-west-1");
    }

    #[test]
    fn a_line_is_cut_to_columns_not_to_bytes() {
        let line = Line::from(vec![ink(Tone::Plain, "日本語"), ink(Tone::Plain, "abc")]);
        assert_eq!(plain(&cut(line.clone(), 9)), "日本語abc");
        assert_eq!(plain(&cut(line, 6)), "日本…");
    }

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        assert_eq!(tame("pull\u{1b}[2Jfailed\nagain "), "pull [2Jfailed again");
    }
}
