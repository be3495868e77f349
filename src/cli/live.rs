//! Live progress: timeline lines as they come, and under them, on a terminal, a board that is drawn anew.

use std::fmt::Write as _;
use std::time::Duration;

use meridian_engine::run::entry::Entry;
use meridian_engine::run::state::Run;
use ratatui::crossterm::terminal;
use ratatui::text::Line;

use super::desk::Desk;
use crate::report::board::Board;
use crate::report::ink;
use crate::report::reading::History;
use crate::report::timeline::Timeline;

/// Between two looks at the journal: quick enough for the eye, slow enough for a small machine.
pub const PULSE: Duration = Duration::from_millis(200);

/// Lines of the past that are told when a run is taken up again.
const PAST_LINES: usize = 12;

/// Where progress goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The timeline is the data.
    Stdout,
    /// The data is JSON; progress is told beside it.
    Stderr,
}

/// Prints one run's progress.
pub struct Live<'a> {
    desk: &'a Desk,
    stream: Stream,
    timeline: Timeline,
    is_redrawn: bool,
    /// Lines of the board that stand on the screen now.
    drawn: usize,
}

impl<'a> Live<'a> {
    pub fn new(desk: &'a Desk, run: &Run, stream: Stream) -> Live<'a> {
        Live {
            desk,
            stream,
            timeline: Timeline::new(run.plan().clone(), desk.zone.clone()),
            is_redrawn: desk.paper.can_redraw(),
            drawn: 0,
        }
    }

    /// Tells the end of what happened before; the rest is counted.
    pub fn show_past(&mut self, run: &Run, past: &[Entry]) {
        let lines: Vec<Line<'static>> = past.iter().flat_map(|entry| self.timeline.entry(entry)).collect();
        let earlier = lines.len().saturating_sub(PAST_LINES);
        if earlier > 0 {
            let program = self.desk.program();
            let text = format!("… {earlier} earlier lines: {program} replay {}", run.id());
            self.print(&[ink::line(ink::Tone::Dim, text)]);
        }
        self.print(&lines[earlier..]);
    }

    /// Tells what is new, and draws the board again.
    pub fn show(&mut self, run: &Run, history: &History, news: &[Entry]) {
        self.show_lines(news);
        let overdue = self.timeline.overdue(self.desk.now());
        self.print(&overdue);
        if self.is_redrawn {
            self.draw(run, history);
        }
    }

    /// Tells what is new, without a board under it.
    pub fn show_lines(&mut self, news: &[Entry]) {
        let lines: Vec<Line<'static>> = news.iter().flat_map(|entry| self.timeline.entry(entry)).collect();
        self.print(&lines);
    }

    fn print(&mut self, lines: &[Line<'static>]) {
        if lines.is_empty() {
            return;
        }
        self.wipe();
        for line in lines {
            match self.stream {
                Stream::Stdout => self.desk.paper.data_line(line),
                Stream::Stderr => self.desk.paper.note_line(line),
            }
        }
    }

    /// Takes the board off the screen; the timeline stays.
    pub fn wipe(&mut self) {
        if self.drawn > 0 {
            // To the board's first line, then clear from there to the end of the screen.
            self.desk.paper.note(&format!("\u{1b}[{}A\r\u{1b}[J", self.drawn));
            self.drawn = 0;
        }
    }

    fn draw(&mut self, run: &Run, history: &History) {
        let (columns, rows) = terminal::size().unwrap_or((100, 30));
        let (columns, rows) = (usize::from(columns.max(20)), usize::from(rows.max(8)));
        let program = self.desk.program();
        let board = Board {
            run,
            history,
            now: self.desk.now(),
            program: &program,
        };
        // Two rows stay for the newest of the timeline, one for the cursor.
        let mut lines = vec![Line::default()];
        lines.extend(board.fitted(rows.saturating_sub(4)));
        let mut text = String::new();
        if self.drawn > 0 {
            let _ = write!(text, "\u{1b}[{}A\r", self.drawn);
        }
        for line in &lines {
            let line = ink::cut(line.clone(), columns.saturating_sub(1));
            // Each line is cleared behind its end, so that nothing flickers and nothing of the old one stays.
            let _ = writeln!(text, "{}\u{1b}[K", self.desk.paper.for_stderr(&line));
        }
        text.push_str("\u{1b}[J");
        self.drawn = lines.len();
        self.desk.paper.note(&text);
    }
}
