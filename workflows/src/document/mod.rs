//! The Document: YAML text as a tree in which every key and every value knows its place.

pub mod node;
pub mod source;
mod tree;

use crate::diagnostic::collector::Diagnostics;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::Document;
use crate::document::source::{Place, Source};
use crate::limits;

/// Reads the YAML documents of one file. What can be read is returned beside everything that is wrong.
///
/// *Guarantees*: no panic on any input; time linear in the length of the file, memory bounded by [`limits`]; a text that
/// breaks a limit gets one diagnostic and no document.
pub fn parse(file: &str, bytes: &[u8]) -> (Vec<Document>, Vec<Diagnostic>) {
    let mut diagnostics = Diagnostics::default();
    let documents = match readable(file, bytes) {
        Ok(text) => tree::build(&Source::new(file, text), &mut diagnostics),
        Err(diagnostic) => {
            diagnostics.push(*diagnostic);
            Vec::new()
        }
    };
    (documents, diagnostics.finish())
}

/// The text of a file that is small enough, UTF-8, and free of characters that no editor shows.
fn readable<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, Box<Diagnostic>> {
    let refused = |code, text: &str, at: usize, message: String, hint: &str| {
        let source = Source::new(file, text);
        let end = at
            + source
                .text()
                .get(at..)
                .and_then(|rest| rest.chars().next())
                .map_or(0, char::len_utf8);
        Err(Box::new(
            Diagnostic::new(code, Place::new(&source, at..end), message).hint(hint),
        ))
    };
    if bytes.len() > limits::FILE_BYTES_MAX {
        let message = format!("the file has more than {} bytes", limits::FILE_BYTES_MAX);
        return refused(
            Code::FILE_TOO_LARGE,
            "",
            0,
            message,
            "split shared definitions into a Library and import it",
        );
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let message = "the file is UTF-16, not UTF-8".to_owned();
        return refused(Code::NOT_UTF8, "", 0, message, "save it as UTF-8");
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            let message = format!(
                "byte {at} of the file (0x{:02x}) is not UTF-8",
                bytes.get(at).copied().unwrap_or(0)
            );
            let shown = String::from_utf8_lossy(bytes);
            return refused(Code::NOT_UTF8, &shown, at, message, "save the file as UTF-8");
        }
    };
    match text.char_indices().find(|(_, character)| is_hidden(*character)) {
        None => Ok(text),
        Some((at, character)) => {
            let message = format!(
                "the file contains the character U+{:04X}, which cannot be seen",
                u32::from(character)
            );
            refused(
                Code::HIDDEN_CHARACTER,
                text,
                at,
                message,
                "remove it; in a double-quoted text it can be escaped",
            )
        }
    }
}

/// Control characters, and marks that make a line read differently from what it says.
fn is_hidden(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' | '\u{85}' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests;
