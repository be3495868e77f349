//! Where text goes: data to stdout, everything else to stderr, colour only where somebody looks.

use std::io::{self, IsTerminal, Write};

use ratatui::text::Line;

use super::ink;

/// The two streams of the process and what they may carry.
#[derive(Clone, Copy, Debug)]
pub struct Paper {
    stdout_colour: bool,
    stderr_colour: bool,
}

impl Paper {
    /// Looks at the streams and at `NO_COLOR`.
    pub fn new() -> Paper {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Paper {
            stdout_colour: wanted && io::stdout().is_terminal(),
            stderr_colour: wanted && io::stderr().is_terminal(),
        }
    }

    /// Whether stderr may carry colour.
    pub fn colours_stderr(self) -> bool {
        self.stderr_colour
    }

    /// Whether a board can be redrawn: a person looks at stderr, and the terminal can move its cursor.
    pub fn can_redraw(self) -> bool {
        io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
    }

    /// Whether the whole screen can be taken: somebody looks at stdout and types.
    pub fn can_fill_screen(self) -> bool {
        io::stdout().is_terminal()
            && io::stdin().is_terminal()
            && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
    }

    /// Data, as it is.
    pub fn data(self, text: &str) {
        emit(&mut io::stdout().lock(), text);
    }

    /// One line of data.
    pub fn data_line(self, line: &Line<'_>) {
        let text = self.written(line, self.stdout_colour);
        emit(&mut io::stdout().lock(), &text);
    }

    /// A message: what happened, progress, hints.
    pub fn note(self, text: &str) {
        emit(&mut io::stderr().lock(), text);
    }

    /// One line of a message.
    pub fn note_line(self, line: &Line<'_>) {
        let text = self.written(line, self.stderr_colour);
        emit(&mut io::stderr().lock(), &text);
    }

    /// A line as stderr may carry it, without a line break.
    pub fn for_stderr(self, line: &Line<'_>) -> String {
        if self.stderr_colour {
            ink::coloured(line)
        } else {
            ink::plain(line)
        }
    }

    fn written(self, line: &Line<'_>, colour: bool) -> String {
        let mut text = if colour { ink::coloured(line) } else { ink::plain(line) };
        text.push('\n');
        text
    }

    /// Serialised data, indented for people, with a line break at its end.
    pub fn json(self, value: &impl serde::Serialize) {
        let text = serde_json::to_string_pretty(value).expect("what is printed has text keys only");
        self.data(&(text + "\n"));
    }

    /// Serialised data on one line.
    pub fn json_line(self, value: &impl serde::Serialize) {
        let text = serde_json::to_string(value).expect("what is printed has text keys only");
        self.data(&(text + "\n"));
    }
}

/// A reader that has gone (`meridian runs | head`) ends the process quietly, as it does with other tools. A run that this
/// process drives stays resumable.
fn emit(stream: &mut impl Write, text: &str) {
    let written = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    if let Err(error) = written
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        std::process::exit(0);
    }
}
