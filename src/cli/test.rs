//! `test`: scenarios are played in virtual time and held against what they expect, as one unit-tests alert rules.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::tz::TimeZone;
use meridian_engine::simulation::expect::{Shortfall, shortfalls};
use meridian_engine::simulation::play::{Unplayed, play};
use meridian_engine::simulation::simulate::Simulated;
use meridian_workflows::decode::Reading;
use meridian_workflows::scenario::Scenario;
use ratatui::text::Line;
use serde::Serialize;

use super::desk::{Desk, Printing};
use super::exit::Exit;
use super::file::{self, Purpose};
use super::problem::Problem;
use crate::report::clock;
use crate::report::ink::{Tone, ink, line, padded, plain, tame};
use crate::report::status;
use crate::report::timeline::Timeline;

/// Play scenarios in virtual time and hold them against what they expect
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A directory is searched for `*.yaml` and `*.yml` with documents of kind Scenario. Exit codes: 0 all hold, 1 one does not, 2 a file is not valid."
)]
pub struct Args {
    /// Files or directories
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// Only scenarios whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    #[command(flatten)]
    printing: Printing,
}

/// Lines of the story that are shown of a scenario that does not hold.
const TAIL: usize = 12;

/// A scenario with the file that it stands in.
pub(super) struct Found {
    pub file: PathBuf,
    pub scenario: Scenario,
}

/// What became of it.
struct Played {
    /// None: it could not be played.
    outcome: Option<&'static str>,
    cause: Option<String>,
    seconds: f64,
    took: String,
    shortfalls: Vec<Shortfall>,
    story: Vec<String>,
}

impl Played {
    fn holds(&self) -> bool {
        self.shortfalls.is_empty()
    }
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    let (found, is_valid) = find(&args.paths, desk)?;
    let count = found.len();
    let wanted = |name: &str| args.filter.as_deref().is_none_or(|text| name.contains(text));
    let found: Vec<Found> = found.into_iter().filter(|found| wanted(&found.scenario.name)).collect();
    if found.is_empty() && is_valid {
        return Err(nothing(count, &args));
    }
    let played = play_all(&found);
    if args.printing.is_json() {
        desk.paper.json(&json(&found, &played, is_valid));
    } else {
        print(&found, &played, desk);
    }
    Ok(match (is_valid, played.iter().all(Played::holds)) {
        (false, _) => Exit::Usage,
        (true, true) => Exit::Succeeded,
        (true, false) => Exit::Failed,
    })
}

fn nothing(count: usize, args: &Args) -> Problem {
    match &args.filter {
        Some(text) if count > 0 => Problem::usage(format!("none of {count} scenarios has `{text}` in its name"))
            .next("leave `--filter` out to play all of them"),
        _ => {
            let paths: Vec<String> = args.paths.iter().map(|path| path.display().to_string()).collect();
            Problem::usage(format!("no scenario was found in {}", paths.join(", ")))
                .next("a scenario is a document of `kind: Scenario`; docs/scenarios.md shows how to write one")
        }
    }
}

/// Every scenario below the paths, in the order of their files; and whether every file with one is valid.
pub(super) fn find(paths: &[PathBuf], desk: &Desk) -> Result<(Vec<Found>, bool), Problem> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, true, &mut files)?;
    }
    let mut found = Vec::new();
    let mut is_valid = true;
    for file in files {
        let Reading {
            scenarios, diagnostics, ..
        } = file::read(&file, &BTreeMap::new(), Purpose::Look)?;
        let errors: Vec<_> = diagnostics.into_iter().filter(|diagnostic| diagnostic.is_error()).collect();
        if let Some(count) = file::count(&errors) {
            is_valid = false;
            file::show(&errors, desk);
            desk.paper.note(&format!("`{}` is not valid: {count}\n", file.display()));
        }
        found.extend(scenarios.into_iter().map(|scenario| Found {
            file: file.clone(),
            scenario,
        }));
    }
    Ok((found, is_valid))
}

/// Files that may hold scenarios. One that is named is read whatever it holds; hidden directories are passed over.
fn collect(path: &Path, is_named: bool, files: &mut Vec<PathBuf>) -> Result<(), Problem> {
    let unread = |error: &std::io::Error| {
        Problem::usage(format!("could not read `{}`", path.display()))
            .because(error)
            .next("check the path")
    };
    let metadata = std::fs::metadata(path).map_err(|error| unread(&error))?;
    if metadata.is_dir() {
        let mut entries: Vec<std::fs::DirEntry> = std::fs::read_dir(path)
            .and_then(Iterator::collect)
            .map_err(|error| unread(&error))?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let kind = entry.file_type().map_err(|error| unread(&error))?;
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            // A link may lead back to where the search has come from.
            if !is_hidden && !kind.is_symlink() {
                collect(&entry.path(), false, files)?;
            }
        }
        return Ok(());
    }
    let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    if is_named || (is_yaml && speaks_of_scenarios(path)) {
        files.push(path.to_owned());
    }
    Ok(())
}

/// A look that is cheap: whatever holds a scenario has the word in it. What cannot be read is left for the reader to tell.
pub(super) fn speaks_of_scenarios(path: &Path) -> bool {
    std::fs::read(path).map_or(true, |bytes| bytes.windows(8).any(|word| word == b"Scenario"))
}

/// Plays them on every core, and gives them back in their order.
fn play_all(found: &[Found]) -> Vec<Played> {
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let work = || {
        let mut played = Vec::new();
        while let Some(found) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            found.get(index).map(|found| (index, found))
        } {
            played.push((found.0, one(&found.1.scenario)));
        }
        played
    };
    let mut all: Vec<(usize, Played)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores.min(found.len())).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(played) => played,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    });
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, played)| played).collect()
}

fn one(scenario: &Scenario) -> Played {
    match play(scenario) {
        Ok(simulated) => {
            let story = story(scenario, &simulated);
            Played {
                outcome: Some(status::outcome(&simulated.run).word()),
                cause: status::cause(&simulated.run),
                seconds: simulated.length().as_secs_f64(),
                took: clock::length(simulated.length()),
                shortfalls: shortfalls(scenario, &simulated, &story),
                story,
            }
        }
        Err(unplayed) => Played {
            outcome: None,
            cause: None,
            seconds: 0.0,
            took: String::new(),
            shortfalls: vec![unplayed_as(&unplayed)],
            story: Vec::new(),
        },
    }
}

pub(super) fn unplayed_as(unplayed: &Unplayed) -> Shortfall {
    let cause = std::error::Error::source(unplayed).map(|cause| format!(": {cause}")).unwrap_or_default();
    Shortfall {
        expected: "to be played".to_owned(),
        happened: format!("{unplayed}{cause}"),
    }
}

/// What people read of the run, in UTC as scenarios are written, with those whom it refused.
pub(super) fn story(scenario: &Scenario, simulated: &Simulated) -> Vec<String> {
    let mut timeline = Timeline::new(scenario.plan.clone(), TimeZone::UTC);
    let lines = simulated.entries.iter().flat_map(|entry| timeline.entry(entry));
    let mut story: Vec<String> = lines.map(|line| plain(&line)).collect();
    let refused = simulated.refused.iter();
    story.extend(refused.map(|refused| format!("{}  · {}", clock::time(refused.at, &TimeZone::UTC), tame(&refused.to_string()))));
    story
}

fn print(found: &[Found], played: &[Played], desk: &Desk) {
    let width = found.iter().map(|found| found.scenario.name.chars().count()).max().unwrap_or(0);
    for (found, played) in found.iter().zip(played) {
        let (sign, tone) = if played.holds() { ("✓ ", Tone::Good) } else { ("✗ ", Tone::Bad) };
        let what = match played.outcome {
            Some(outcome) => format!("{outcome} after {}", played.took),
            None => "not played".to_owned(),
        };
        desk.paper.data_line(&Line::from(vec![
            ink(tone, sign),
            padded(Tone::Strong, found.scenario.name.clone(), width + 2),
            padded(Tone::Plain, what, 34),
            ink(Tone::Dim, found.file.display().to_string()),
        ]));
        for shortfall in &played.shortfalls {
            desk.paper.data_line(&labelled("expected", &shortfall.expected));
            desk.paper.data_line(&labelled("happened", &shortfall.happened));
        }
        if !played.holds() && !played.story.is_empty() {
            desk.paper.data_line(&line(Tone::Dim, "    how it ended"));
            for told in &played.story[played.story.len().saturating_sub(TAIL)..] {
                desk.paper.data_line(&line(Tone::Dim, format!("      {told}")));
            }
        }
    }
    let failed = played.iter().filter(|played| !played.holds()).count();
    let all = match played.len() {
        1 => "1 scenario".to_owned(),
        many => format!("{many} scenarios"),
    };
    let (tone, text) = match failed {
        0 => (Tone::Good, format!("{all}: all hold")),
        failed => (Tone::Bad, format!("{all}: {failed} failed")),
    };
    desk.paper.data("\n");
    desk.paper.data_line(&line(tone, text));
}

pub(super) fn labelled(label: &str, text: &str) -> Line<'static> {
    Line::from(vec![ink(Tone::Dim, format!("    {label}  ")), ink(Tone::Plain, tame(text))])
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    ok: bool,
    scenarios: Vec<ScenarioJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScenarioJson<'a> {
    name: &'a str,
    file: String,
    workflow: &'a str,
    seed: u64,
    ok: bool,
    outcome: Option<&'static str>,
    cause: Option<&'a str>,
    /// Of virtual time.
    seconds: f64,
    shortfalls: Vec<ShortfallJson<'a>>,
    /// Line by line; only where it does not hold.
    story: &'a [String],
}

#[derive(Serialize)]
struct ShortfallJson<'a> {
    expected: &'a str,
    happened: &'a str,
}

fn json<'a>(found: &'a [Found], played: &'a [Played], is_valid: bool) -> Json<'a> {
    let of = |(found, played): (&'a Found, &'a Played)| ScenarioJson {
        name: &found.scenario.name,
        file: found.file.display().to_string(),
        workflow: &found.scenario.file,
        seed: found.scenario.seed,
        ok: played.holds(),
        outcome: played.outcome,
        cause: played.cause.as_deref(),
        seconds: played.seconds,
        shortfalls: played
            .shortfalls
            .iter()
            .map(|shortfall| ShortfallJson {
                expected: &shortfall.expected,
                happened: &shortfall.happened,
            })
            .collect(),
        story: if played.holds() { &[] } else { &played.story },
    };
    Json {
        ok: is_valid && played.iter().all(Played::holds),
        scenarios: found.iter().zip(played).map(of).collect(),
    }
}
