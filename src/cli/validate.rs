//! `validate`: everything that is wrong with workflow files, at once.

use std::path::PathBuf;

use meridian_workflows::diagnostic::{self, Diagnostic};
use serde::Serialize;

use super::desk::{Desk, Inputs, Printing};
use super::exit::Exit;
use super::file::{self, Purpose};
use super::problem::Problem;

/// Check workflow and library files; every problem is reported at once
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The files; `-` is stdin
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    printing: Printing,
}

#[derive(Serialize)]
struct Json<'a> {
    ok: bool,
    diagnostics: &'a [Diagnostic],
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let inputs = args.inputs.map()?;
    let mut all = Vec::new();
    for path in &args.files {
        let reading = file::read(path, &inputs, Purpose::Look)?;
        if !args.printing.is_json() {
            file::show(&reading.diagnostics, desk);
            let name = path.display();
            let count = file::count(&reading.diagnostics);
            desk.paper.data(&match (reading.has_errors(), count) {
                (true, count) => format!("{name}: not valid, {}\n", count.unwrap_or_default()),
                (false, Some(count)) => format!("{name}: valid, {count}\n"),
                (false, None) => format!("{name}: valid\n"),
            });
        }
        all.extend(reading.diagnostics);
    }
    let ok = !diagnostic::has_errors(&all);
    if args.printing.is_json() {
        desk.paper.json(&Json { ok, diagnostics: &all });
    }
    Ok(if ok { Exit::Succeeded } else { Exit::Usage })
}
