//! `simulate --scenario`: one scenario's world, told in full, and whether its expectations hold.

use std::path::{Path, PathBuf};

use meridian_engine::simulation::expect::{Shortfall, shortfalls};
use meridian_engine::simulation::play::play;
use meridian_workflows::diagnostic::suggestion;
use meridian_workflows::scenario::Scenario;
use serde::Serialize;

use super::desk::{Desk, Printing};
use super::exit::Exit;
use super::problem::Problem;
use super::{simulate, test};
use crate::report::ink::{Tone, line};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    #[serde(flatten)]
    simulated: simulate::Json<'a>,
    scenario: Verdict<'a>,
}

#[derive(Serialize)]
struct Verdict<'a> {
    name: &'a str,
    ok: bool,
    shortfalls: Vec<ShortfallJson<'a>>,
}

#[derive(Serialize)]
struct ShortfallJson<'a> {
    expected: &'a str,
    happened: &'a str,
}

/// Plays the scenario of that name. The exit code is 0 where it holds, 1 where it does not, whatever became of the rollout.
pub fn run(workflow: &Path, name: &str, printing: &Printing, desk: &Desk) -> Result<Exit, Problem> {
    let scenario = named(workflow, name, desk)?;
    let simulated = play(&scenario)
        .map_err(|unplayed| Problem::failed(format!("the scenario `{name}` cannot be played")).because(&unplayed))?;
    let story = test::story(&scenario, &simulated);
    let found = shortfalls(&scenario, &simulated, &story);
    if printing.is_json() {
        desk.paper.json(&Json {
            simulated: simulate::Json::of(&simulated, scenario.seed, scenario.start, desk),
            scenario: Verdict {
                name,
                ok: found.is_empty(),
                shortfalls: found.iter().map(written).collect(),
            },
        });
    } else {
        simulate::print(&simulated, scenario.plan.clone(), desk);
        print(name, &found, desk);
    }
    Ok(if found.is_empty() {
        Exit::Succeeded
    } else {
        Exit::Failed
    })
}

fn written(shortfall: &Shortfall) -> ShortfallJson<'_> {
    ShortfallJson {
        expected: &shortfall.expected,
        happened: &shortfall.happened,
    }
}

fn print(name: &str, found: &[Shortfall], desk: &Desk) {
    if found.is_empty() {
        let text = format!("✓ the scenario `{name}` holds: everything that it expects came true");
        desk.paper.data_line(&line(Tone::Good, text));
        return;
    }
    desk.paper
        .data_line(&line(Tone::Bad, format!("✗ the scenario `{name}` does not hold")));
    for shortfall in found {
        desk.paper.data_line(&test::labelled("expected", &shortfall.expected));
        desk.paper.data_line(&test::labelled("happened", &shortfall.happened));
    }
}

/// The scenario of that name that plays this workflow: in the workflow's own file, or in one beside it.
fn named(workflow: &Path, name: &str, desk: &Desk) -> Result<Scenario, Problem> {
    let (found, is_valid) = test::find(&beside(workflow)?, desk)?;
    let mut known: Vec<Scenario> = found
        .into_iter()
        .filter(|found| Path::new(&found.scenario.file).file_name() == workflow.file_name())
        .map(|found| found.scenario)
        .collect();
    if let Some(index) = known.iter().position(|scenario| scenario.name == name) {
        return Ok(known.swap_remove(index));
    }
    let file = workflow.display();
    let names = known.iter().map(|scenario| scenario.name.as_str());
    let hint = suggestion::hint(name, names.clone());
    let hint = hint.unwrap_or_else(|| match known.as_slice() {
        [] if !is_valid => "correct the files above first".to_owned(),
        [] => "a scenario is a document of `kind: Scenario`; docs/scenarios.md shows how to write one".to_owned(),
        _ => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
    });
    Err(Problem::usage(format!("no scenario `{name}` plays {file}")).next(hint))
}

/// The file, and every other one of its directory that speaks of scenarios.
fn beside(workflow: &Path) -> Result<Vec<PathBuf>, Problem> {
    let directory = match workflow.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let unread = |error: &std::io::Error| {
        Problem::usage(format!("could not read `{}`", directory.display()))
            .because(error)
            .next("check the path")
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| unread(&error))? {
        let path = entry.map_err(|error| unread(&error))?.path();
        let is_yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && path.is_file() && test::speaks_of_scenarios(&path) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
