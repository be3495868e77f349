//! The table in the documentation: which provider does what, made by the suite itself and held to what it finds.
//!
//! Each provider's own test hands its report to [`hold`], which compares the report with that provider's column and, with
//! `MERIDIAN_RENEW=1`, writes the column anew. A test of this crate holds the page to the lists of behaviours and columns, so
//! that neither a new behaviour nor a provider without its test goes unnoticed.

mod page;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::report::{Report, Verdict};
use crate::suite::BEHAVIOURS;

/// A provider's column, and the test that answers for it.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// What its workshop is called.
    pub name: &'static str,
    /// A file of the repository that runs the suite and holds its report to the table.
    pub tested_by: &'static str,
}

/// Every column, in the order of the page.
pub const COLUMNS: &[Column] = &[
    column("sandbox", "providers/tests/conformance/sandbox.rs"),
    column("kubernetes istio", "providers/kubernetes/tests/conformance.rs"),
    column("kubernetes istio subsets", "providers/kubernetes/tests/conformance.rs"),
    column("kubernetes httpRoute", "providers/kubernetes/tests/conformance.rs"),
    column("kubernetes nginx", "providers/kubernetes/tests/conformance.rs"),
    column("kubernetes smi", "providers/kubernetes/tests/conformance.rs"),
    column("kubernetes alb", "providers/kubernetes/tests/conformance.rs"),
    column("kubernetes pods", "providers/kubernetes/tests/conformance.rs"),
    column("kubernetes blue-green", "providers/kubernetes/tests/conformance.rs"),
    column("kubernetes rolling", "providers/kubernetes/tests/conformance.rs"),
    column("ecs canary", "providers/ecs/tests/conformance.rs"),
    column("ecs linear", "providers/ecs/tests/conformance.rs"),
    column("ecs blueGreen", "providers/ecs/tests/conformance.rs"),
    column("ecs rolling", "providers/ecs/tests/conformance.rs"),
    column("ecs taskSets", "providers/ecs/tests/conformance.rs"),
    column("ecs twoServices", "providers/ecs/tests/conformance.rs"),
    column("appService", "providers/azure/tests/main.rs"),
    column("appService preview", "providers/azure/tests/main.rs"),
    column("appConfiguration percentage", "providers/azure/tests/main.rs"),
    column("appConfiguration targeting", "providers/azure/tests/main.rs"),
    column("exec (the example)", "providers/tests/conformance/exec.rs"),
];

const fn column(name: &'static str, tested_by: &'static str) -> Column {
    Column { name, tested_by }
}

/// What one cell says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Passed,
    Failed,
    /// With the reason, which becomes a footnote.
    NotTried(String),
    /// The behaviour or the provider is newer than the last renewal.
    Unknown,
}

impl From<&Verdict> for Cell {
    fn from(verdict: &Verdict) -> Cell {
        match verdict {
            Verdict::Passed => Cell::Passed,
            Verdict::Failed { .. } => Cell::Failed,
            Verdict::NotTried { why } => Cell::NotTried(why.clone()),
        }
    }
}

/// The page's cells, by column and behaviour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    cells: BTreeMap<(String, String), Cell>,
}

impl Table {
    pub fn cell(&self, column: &str, behaviour: &str) -> Cell {
        let key = (column.to_owned(), behaviour.to_owned());
        self.cells.get(&key).cloned().unwrap_or(Cell::Unknown)
    }

    fn set(&mut self, column: &str, behaviour: &str, cell: Cell) {
        self.cells.insert((column.to_owned(), behaviour.to_owned()), cell);
    }

    /// Puts a report in the place of its provider's column.
    fn renew(&mut self, report: &Report) {
        self.cells.retain(|(column, _), _| *column != report.provider);
        for row in &report.rows {
            self.set(&report.provider, &row.behaviour, Cell::from(&row.verdict));
        }
    }

    /// Where the column says something else than the report.
    fn differences(&self, report: &Report) -> Vec<String> {
        let differs =
            |row: &&crate::report::Row| self.cell(&report.provider, &row.behaviour) != Cell::from(&row.verdict);
        let told = |row: &crate::report::Row| {
            let (table, suite) = (self.cell(&report.provider, &row.behaviour), Cell::from(&row.verdict));
            format!("{}: the table says {table:?}, the suite {suite:?}", row.behaviour)
        };
        report.rows.iter().filter(differs).map(told).collect()
    }
}

/// Holds a whole suite's report to the provider's column, and leaves it as JSON among what the build makes.
///
/// *Errors*: a behaviour failed, or the column says something else; what to do about it.
pub fn hold(report: &Report) -> Result<(), String> {
    let told = |what: &str, error: std::io::Error| format!("could not {what}: {error}");
    leave(report).map_err(|error| told("leave the report", error))?;
    if report.rows.len() != BEHAVIOURS.len() {
        return Err(format!("{}: the report is of a part of the suite", report.provider));
    }
    if !COLUMNS.iter().any(|column| column.name == report.provider) {
        return Err(format!("`{}` is no column: add its line to `COLUMNS`", report.provider));
    }
    let is_renewed = std::env::var_os("MERIDIAN_RENEW").is_some();
    let mut file = OpenOptions::new()
        .read(true)
        .write(is_renewed)
        .create(is_renewed)
        .truncate(false)
        .open(page_path())
        .map_err(|error| told("open docs/conformance.md", error))?;
    // Suites of several providers end at the same time, in several processes.
    file.lock().map_err(|error| told("lock docs/conformance.md", error))?;
    let mut text = String::new();
    file.read_to_string(&mut text)
        .map_err(|error| told("read docs/conformance.md", error))?;
    let mut table = page::parse(&text);
    if is_renewed {
        table.renew(report);
        rewrite(&mut file, &page::render(&table)).map_err(|error| told("write docs/conformance.md", error))?;
    }
    let differences = table.differences(report);
    let stale = (!differences.is_empty()).then(|| {
        format!(
            "docs/conformance.md is not what the suite finds of `{}`; run its test with MERIDIAN_RENEW=1:\n  {}",
            report.provider,
            differences.join("\n  ")
        )
    });
    match report.complaint().or(stale) {
        Some(complaint) => Err(complaint),
        None => Ok(()),
    }
}

fn rewrite(file: &mut File, text: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

/// The whole report, with what failed and why.
fn leave(report: &Report) -> std::io::Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let folder = target.join("conformance");
    std::fs::create_dir_all(&folder)?;
    let name = report.provider.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let text = serde_json::to_string_pretty(report).map_err(std::io::Error::other)?;
    std::fs::write(folder.join(format!("{name}.json")), text)
}

fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

fn page_path() -> PathBuf {
    root().join("docs/conformance.md")
}

#[cfg(test)]
mod tests {
    use super::{BEHAVIOURS, COLUMNS, Cell, page, page_path, root};

    #[test]
    fn the_page_is_what_the_suites_made_of_it() {
        let text = std::fs::read_to_string(page_path()).unwrap();
        let table = page::parse(&text);
        assert_eq!(page::render(&table), text, "made by the suites, not by hand");
        for column in COLUMNS {
            for behaviour in BEHAVIOURS {
                let cell = table.cell(column.name, behaviour.name);
                let is_told = matches!(cell, Cell::Passed | Cell::NotTried(_));
                assert!(is_told, "{}: {}: {cell:?}", column.name, behaviour.name);
            }
        }
    }

    #[test]
    fn every_column_has_a_test_that_holds_it() {
        for column in COLUMNS {
            let test = std::fs::read_to_string(root().join(column.tested_by)).unwrap();
            assert!(
                test.contains("table::hold("),
                "{} does not hold {}",
                column.tested_by,
                column.name
            );
        }
    }
}
