//! `plan`: what a workflow would do, in which order, how far it reaches and when it could be done.

use std::path::PathBuf;

use clap::ValueEnum;
use jiff::Timestamp;
use meridian_workflows::plan::outlook::Outlook;
use meridian_workflows::plan::{dot, json, mermaid, text};

use super::desk::{Desk, Inputs};
use super::exit::Exit;
use super::file::{self, Purpose};
use super::problem::Problem;
use crate::world;

/// Show what a workflow would do: its tree, critical path, earliest finish and blast radius
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The workflow; `-` is stdin
    file: PathBuf,
    #[command(flatten)]
    inputs: Inputs,
    /// Count from this instant instead of now, as in 2026-03-02T10:00:00Z
    #[arg(long, value_name = "INSTANT")]
    start: Option<Timestamp>,
    /// How the plan is printed
    #[arg(long, short, value_enum, default_value = "text", value_name = "FORM")]
    output: Form,
}

/// The forms of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
    Mermaid,
    Dot,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let plan = file::plan(&args.file, &args.inputs.map()?, Purpose::Look, desk)?;
    let start = args.start.unwrap_or_else(|| desk.now());
    let outlook = Outlook::new(&plan, start).on(&plan, &world::vocabulary());
    let text = match args.output {
        Form::Text => text::render(&plan, &outlook),
        Form::Json => json::render(&plan, &outlook) + "\n",
        Form::Mermaid => mermaid::render(&plan),
        Form::Dot => dot::render(&plan),
    };
    desk.paper.data(&text);
    if !text.ends_with('\n') {
        desk.paper.data("\n");
    }
    Ok(Exit::Succeeded)
}
