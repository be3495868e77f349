//! `watch`: a run on the full screen, whichever process drives it. Read-only.

use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Borders, Paragraph};

use super::desk::{Desk, Printing};
use super::exit::Exit;
use super::follow::Follower;
use super::live::{Live, PULSE, Stream};
use super::outcome;
use super::problem::Problem;
use super::shelf;
use crate::report::board::Board;
use crate::report::ink::{Tone, line};
use crate::report::timeline::Timeline;

/// Follow a run on the full screen; q leaves, nothing is changed
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    run: String,
    #[command(flatten)]
    printing: Printing,
}

/// Timeline lines that are kept for the screen.
const KEPT: usize = 500;

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let service = shelf::open_existing(desk).await?;
    let head = shelf::head(&service, &args.run, desk).await?;
    let follower = Follower::open(&service, &head.run).await?;
    if args.printing.is_json() || !desk.paper.can_fill_screen() {
        return plain(follower, args.printing, desk).await;
    }
    let mut terminal = ratatui::try_init()
        .map_err(|error| Problem::failed("could not take the screen").because(&error).next("pipe the output for plain lines"))?;
    let shown = screen(&mut terminal, follower, desk).await;
    // Whatever happened, the terminal is given back as it was.
    ratatui::restore();
    shown
}

/// Plain lines until the run is over: for pipes and logs.
async fn plain(mut follower: Follower, printing: Printing, desk: &Desk) -> Result<Exit, Problem> {
    let stream = if printing.is_json() { Stream::Stderr } else { Stream::Stdout };
    let mut live = Live::new(desk, &follower.run, stream);
    loop {
        let news = follower.catch_up().await?;
        if printing.is_json() {
            news.iter().for_each(|entry| desk.paper.json_line(entry));
        } else {
            live.show(&follower.run, &follower.history, &news);
        }
        if outcome::is_at_rest(&follower.run) {
            live.wipe();
            return Ok(outcome::exit(&follower.run));
        }
        tokio::time::sleep(PULSE).await;
    }
}

async fn screen(terminal: &mut DefaultTerminal, mut follower: Follower, desk: &Desk) -> Result<Exit, Problem> {
    let mut timeline = Timeline::new(follower.run.plan().clone(), desk.zone.clone());
    let mut told: Vec<Line<'static>> = Vec::new();
    let mut scroll: usize = 0;
    loop {
        let news = follower.catch_up().await?;
        told.extend(news.iter().flat_map(|entry| timeline.entry(entry)));
        told.drain(..told.len().saturating_sub(KEPT));
        let program = desk.program();
        let board = Board {
            run: &follower.run,
            history: &follower.history,
            now: desk.now(),
            program: &program,
        };
        terminal
            .draw(|frame| draw(frame, &board, &told, scroll))
            .map_err(|error| Problem::failed("could not draw").because(&error))?;
        match pressed(PULSE) {
            Some(Key::Leave) => return Ok(Exit::Succeeded),
            Some(Key::Up) => scroll = (scroll + 1).min(told.len()),
            Some(Key::Down) => scroll = scroll.saturating_sub(1),
            None => {}
        }
    }
}

enum Key {
    Leave,
    /// Back in the timeline.
    Up,
    Down,
}

/// The key that is pressed within `patience`, if it means anything.
fn pressed(patience: Duration) -> Option<Key> {
    // The wait blocks this thread only; reading the journal happens on the store's.
    let is_ready = tokio::task::block_in_place(|| event::poll(patience)).unwrap_or(false);
    let Event::Key(key) = is_ready.then(event::read)?.ok()? else { return None };
    if key.kind == KeyEventKind::Release {
        return None;
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Leave),
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Leave),
        KeyCode::Up | KeyCode::Char('k') => Some(Key::Up),
        KeyCode::Down | KeyCode::Char('j') => Some(Key::Down),
        _ => None,
    }
}

fn draw(frame: &mut Frame<'_>, board: &Board<'_>, told: &[Line<'static>], scroll: usize) {
    let rows = usize::from(frame.area().height);
    let lines = board.fitted(rows.saturating_sub(6).max(5));
    let board_rows = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(board_rows), Constraint::Min(3), Constraint::Length(1)]).areas(frame.area());
    frame.render_widget(Paragraph::new(Text::from(lines)), top);
    let visible = usize::from(middle.height.saturating_sub(1));
    let end = told.len().saturating_sub(scroll).max(visible.min(told.len()));
    let start = end.saturating_sub(visible);
    let timeline = Paragraph::new(Text::from(told[start..end].to_vec()));
    frame.render_widget(timeline.block(Block::new().borders(Borders::TOP).title(" timeline ")), middle);
    frame.render_widget(line(Tone::Dim, "q leaves · ↑ ↓ scroll the timeline · nothing here changes the run"), bottom);
}
