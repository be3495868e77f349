//! The table as a page of Markdown, and back.

use super::{COLUMNS, Cell, Table};
use crate::suite::BEHAVIOURS;

const HEAD: &str = "# What every provider does

One suite is tried on every provider; each cell is what it found. The page is made by the suite itself: the test of a provider
compares its column with what it finds, and `MERIDIAN_RENEW=1` before that test writes the column anew.

`✓` passed · `—` not tried, for the reason in the footnote · `✗` failed · `?` not asked yet

To try a provider on a target of your own: `meridian provider test FILE --region NAME` ([commands](commands.md)).
";

/// The page of a table.
pub fn render(table: &Table) -> String {
    let mut page = HEAD.to_owned();
    let mut notes = Vec::new();
    let mut group = "";
    for behaviour in BEHAVIOURS {
        if behaviour.group != group {
            group = behaviour.group;
            let names: Vec<_> = COLUMNS.iter().map(|column| format!(" {} |", column.name)).collect();
            let rules = ":-:|".repeat(COLUMNS.len());
            page.push_str(&format!("\n## {group}\n\n| |{}\n|---|{rules}\n", names.concat()));
        }
        let cells: Vec<_> = COLUMNS
            .iter()
            .map(|column| format!(" {} |", cell(table.cell(column.name, behaviour.name), &mut notes)))
            .collect();
        page.push_str(&format!("| {} |{}\n", behaviour.name, cells.concat()));
    }
    if !notes.is_empty() {
        page.push('\n');
    }
    for (number, note) in (1..).zip(&notes) {
        page.push_str(&format!("[^{number}]: {note}\n"));
    }
    page
}

fn cell(cell: Cell, notes: &mut Vec<String>) -> String {
    match cell {
        Cell::Passed => "✓".to_owned(),
        Cell::Failed => "✗".to_owned(),
        Cell::Unknown => "?".to_owned(),
        Cell::NotTried(why) => {
            let number = notes.iter().position(|note| *note == why).unwrap_or_else(|| {
                notes.push(why);
                notes.len() - 1
            });
            format!("—[^{}]", number + 1)
        }
    }
}

/// The table of a page; what it does not say is unknown.
pub fn parse(page: &str) -> Table {
    let mut table = Table::default();
    let mut columns = Vec::new();
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let fields: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let Some((first, cells)) = fields.split_first() else {
            continue;
        };
        match *first {
            "" => columns = cells.to_vec(),
            "---" => {}
            behaviour => {
                for (column, cell) in columns.iter().zip(cells) {
                    table.set(column, behaviour, read(cell, page));
                }
            }
        }
    }
    table
}

fn read(cell: &str, page: &str) -> Cell {
    match cell {
        "✓" => Cell::Passed,
        "✗" => Cell::Failed,
        _ => {
            let number = cell.strip_prefix("—");
            let start = number.map(|number| format!("{number}: "));
            let note = start.and_then(|start| page.lines().find_map(|line| line.strip_prefix(&start)));
            note.map_or(Cell::Unknown, |note| Cell::NotTried(note.to_owned()))
        }
    }
}
