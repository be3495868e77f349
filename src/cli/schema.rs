//! `schema`: the language as a JSON Schema, for completion in editors.

use super::desk::{Desk, Printing};
use super::exit::Exit;
use super::problem::Problem;
use crate::world;

/// Print the language as a JSON Schema, for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "VS Code (YAML extension): meridian schema > meridian.schema.json, then put\n\
    # yaml-language-server: $schema=meridian.schema.json\n\
    in a workflow's first line.")]
pub struct Args {
    /// A schema is JSON in either form.
    #[command(flatten)]
    pub printing: Printing,
}

pub async fn run(_: Args, desk: &Desk) -> Result<Exit, Problem> {
    desk.paper.json(&meridian_workflows::schema::schema(&world::vocabulary()));
    Ok(Exit::Succeeded)
}
