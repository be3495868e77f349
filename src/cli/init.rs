//! `init`: a starter workflow to change.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use serde_json::json;

use super::desk::{Desk, Printing};
use super::exit::Exit;
use super::problem::Problem;

/// Write a commented starter workflow that runs on the sandbox
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write; one that exists is never touched
    #[arg(default_value = "release.yaml")]
    file: PathBuf,
    #[command(flatten)]
    printing: Printing,
}

/// The starter; a test validates, plans and simulates it.
const STARTER: &str = include_str!("starter.yaml");

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let file = args.file.display();
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&args.file)
        .and_then(|mut opened| opened.write_all(STARTER.as_bytes()));
    if let Err(error) = written {
        return Err(if error.kind() == ErrorKind::AlreadyExists {
            Problem::usage(format!("`{file}` exists already, and is left as it is"))
                .next("name another file: meridian init other.yaml")
        } else {
            Problem::usage(format!("could not write `{file}`")).because(&error)
        });
    }
    if args.printing.is_json() {
        desk.paper.json(&json!({"written": args.file}));
    } else {
        let program = desk.program();
        desk.paper.note(&format!("Wrote {file}. Next:\n"));
        desk.paper.note(&format!("  {program} plan {file}   what it would do, in which order\n"));
        desk.paper.note(&format!("  {program} run {file}    do it on the sandbox, about half a minute\n"));
    }
    Ok(Exit::Succeeded)
}
