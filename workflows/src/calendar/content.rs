//! The lines of an iCalendar text: unfolded, cut into name, parameters and value, each with its place.

/// One property, as in `DTSTART;TZID=Europe/Dublin:20261225T090000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// In the file, from 1: where the property begins.
    pub line: usize,
    /// Upper case.
    pub name: String,
    /// Names in upper case, values without quotes.
    pub parameters: Vec<(String, String)>,
    pub value: String,
}

impl Property {
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Reads one unfolded line; none when it is no property.
    pub fn read(line: usize, text: &str) -> Option<Property> {
        let (head, value) = split_outside_quotes(text, ':')?;
        let mut parts = Vec::new();
        let mut rest = head;
        while let Some((part, more)) = split_outside_quotes(rest, ';') {
            parts.push(part);
            rest = more;
        }
        parts.push(rest);
        let name = parts.remove(0);
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return None;
        }
        let parameters = parts.into_iter().map(|part| {
            let (name, value) = part.split_once('=')?;
            Some((name.to_ascii_uppercase(), value.trim_matches('"').to_owned()))
        });
        Some(Property {
            line,
            name: name.to_ascii_uppercase(),
            parameters: parameters.collect::<Option<Vec<_>>>()?,
            value: value.to_owned(),
        })
    }
}

fn split_outside_quotes(text: &str, separator: char) -> Option<(&str, &str)> {
    let mut quoted = false;
    for (at, letter) in text.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            letter if letter == separator && !quoted => return Some((&text[..at], &text[at + letter.len_utf8()..])),
            _ => {}
        }
    }
    None
}

/// Logical lines with the number of their first physical one: a line that begins with a blank goes on with the one before.
/// Empty lines are left out.
pub fn unfold(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let mut lines = lines.zip(1..).filter(|(line, _)| !line.trim().is_empty()).peekable();
    std::iter::from_fn(move || {
        let (first, at) = lines.next()?;
        let mut whole = first.to_owned();
        while let Some((more, _)) = lines.next_if(|(line, _)| line.starts_with([' ', '\t'])) {
            whole.push_str(&more[1..]);
        }
        Some((at, whole))
    })
}

/// A TEXT value as people read it, on one line and at most `length` letters long.
pub fn plain(value: &str, length: usize) -> String {
    let mut plain = String::new();
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n' | 'N') => plain.push(' '),
                Some(escaped) => plain.push(escaped),
                None => {}
            },
            letter if letter.is_control() => plain.push(' '),
            letter => plain.push(letter),
        }
    }
    let words: Vec<&str> = plain.split_whitespace().collect();
    words.join(" ").chars().take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::{Property, plain, unfold};

    #[test]
    fn folded_lines_are_one_line_at_the_place_where_they_begin() {
        let text = "BEGIN:VEVENT\r\nSUMMARY:year-\r\n  end\r\n\tfreeze\r\n\r\nEND:VEVENT";
        let lines: Vec<_> = unfold(text).collect();
        assert_eq!(
            lines,
            [
                (1, "BEGIN:VEVENT".into()),
                (2, "SUMMARY:year- endfreeze".into()),
                (6, "END:VEVENT".into())
            ]
        );
        assert_eq!(unfold(" lonely").collect::<Vec<_>>(), [(1, " lonely".into())]);
    }

    #[test]
    fn a_property_keeps_colons_and_semicolons_within_quotes() {
        let property = Property::read(7, "dtstart;tzid=\"A:B;C\";X=y:2026:1").unwrap();
        assert_eq!(
            (property.name.as_str(), property.value.as_str(), property.line),
            ("DTSTART", "2026:1", 7)
        );
        assert_eq!(property.parameter("TZID"), Some("A:B;C"));
        assert_eq!(property.parameter("X"), Some("y"));
        for broken in ["no colon", ":empty", "A;B:no value", "é:1", "A;B=\"open:1"] {
            assert_eq!(Property::read(1, broken), None, "{broken}");
        }
    }

    #[test]
    fn text_is_unescaped_onto_one_line() {
        assert_eq!(
            plain(r"Freeze\, all\;\nregions \\o/\", 100),
            r"Freeze, all; regions \o/"
        );
        assert_eq!(plain("äöü", 2), "äö");
    }
}
