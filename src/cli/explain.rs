//! `explain`: the page of a diagnostic's code, or the list of all codes.

use meridian_workflows::diagnostic::code::{self, Code};
use meridian_workflows::diagnostic::suggestion;
use ratatui::text::Line;
use serde_json::json;

use super::desk::{Desk, Printing};
use super::exit::Exit;
use super::problem::Problem;
use crate::report::ink::{Tone, ink};

/// Explain a diagnostic's code, or list all codes
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A code, as in M012
    code: Option<String>,
    #[command(flatten)]
    printing: Printing,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    match &args.code {
        Some(code) => explain(code, args.printing, desk),
        None => {
            list(args.printing, desk);
            Ok(Exit::Succeeded)
        }
    }
}

fn explain(written: &str, printing: Printing, desk: &Desk) -> Result<Exit, Problem> {
    let Some(code) = code::ALL.iter().find(|known| known.id().eq_ignore_ascii_case(written.trim())) else {
        let meant = suggestion::closest(written, code::ALL.iter().map(|known| known.id()));
        let next = match meant {
            Some(meant) => format!("did you mean {meant}? All codes: meridian explain"),
            None => "all codes: meridian explain".to_owned(),
        };
        return Err(Problem::usage(format!("there is no code `{written}`")).next(next));
    };
    if printing.is_json() {
        desk.paper.json(&as_json(*code));
    } else {
        desk.paper.data(code.page());
        if !code.page().ends_with('\n') {
            desk.paper.data("\n");
        }
    }
    Ok(Exit::Succeeded)
}

fn as_json(code: Code) -> serde_json::Value {
    json!({"code": code.id(), "severity": code.severity(), "title": code.title(), "page": code.page()})
}

fn list(printing: Printing, desk: &Desk) {
    if printing.is_json() {
        let codes: Vec<serde_json::Value> = code::ALL.iter().map(|code| as_json(*code)).collect();
        desk.paper.json(&codes);
        return;
    }
    for code in code::ALL {
        desk.paper.data_line(&Line::from(vec![
            ink(Tone::Strong, code.id()),
            ink(Tone::Dim, format!("  {:8}", code.severity())),
            ink(Tone::Plain, code.title()),
        ]));
    }
}
