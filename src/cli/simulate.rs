//! `simulate`: the whole rollout in virtual time, with the faults that one wants to see.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::{Timestamp, Unit};
use meridian_engine::run::entry::{Broken, Entry};
use meridian_engine::simulation::many::Odds;
use meridian_engine::simulation::script::{Fault, FaultKind, People, Script, find_stage};
use meridian_engine::simulation::simulate::{End, Simulated, simulate};
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::Plan;
use meridian_workflows::share::Share;
use serde::Serialize;

use super::desk::{Desk, Inputs, Printing};
use super::exit::Exit;
use super::file::{self, Purpose};
use super::outcome;
use super::many;
use super::problem::Problem;
use super::scene;
use crate::report::clock;
use crate::report::ink::{Tone, line};
use crate::report::status;
use crate::report::timeline::Timeline;
use crate::report::why::{self, Driver};

/// Play a rollout in virtual time: the real decisions, a scripted world
#[derive(Debug, clap::Args)]
#[command(after_help = "The same arguments give the same timeline. Without faults everything is healthy and people approve at once.")]
pub struct Args {
    /// The workflow; `-` is stdin
    file: PathBuf,
    #[command(flatten)]
    inputs: Inputs,
    /// Play the world of this scenario, from the file or one beside it, and say whether its expectations hold
    #[arg(long, value_name = "NAME", conflicts_with_all = ["inputs", "fail", "stuck", "approve_after", "no_answers", "reject", "seed", "start", "crash_every", "runs"])]
    scenario: Option<String>,
    /// Let the candidate's readings breach in this stage, as in `us-west-2/25%`
    #[arg(long, value_name = "REGION/STAGE")]
    fail: Vec<String>,
    /// Let this stage's shift never converge
    #[arg(long, value_name = "REGION/STAGE")]
    stuck: Vec<String>,
    /// People answer after this long
    #[arg(long, value_name = "DURATION", default_value = "0s", conflicts_with = "no_answers")]
    approve_after: Duration,
    /// Nobody ever answers
    #[arg(long)]
    no_answers: bool,
    /// This gate is rejected
    #[arg(long, value_name = "GATE")]
    reject: Vec<String>,
    /// Where the world's chance comes from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Begin at this instant instead of now, as in 2026-03-02T10:00:00Z
    #[arg(long, value_name = "INSTANT")]
    start: Option<Timestamp>,
    /// The engine crashes after every so many entries, and folds its journal again
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    crash_every: Option<u64>,
    /// Draw this many worlds, with faults, people and noise by chance, and tell how they end; 1 tells the one world in full
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000), conflicts_with_all = ["fail", "stuck", "approve_after", "no_answers", "reject", "crash_every"])]
    runs: Option<u64>,
    /// With --runs: how many of the worlds have a fault
    #[arg(long, value_name = "SHARE", default_value = "20%", requires = "runs")]
    faulty: Share,
    #[command(flatten)]
    printing: Printing,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Json<'a> {
    #[serde(flatten)]
    status: status::Json,
    seed: u64,
    start: Timestamp,
    ended_at: Timestamp,
    seconds: f64,
    entries: &'a [Entry],
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    if let Some(name) = &args.scenario {
        return scene::run(&args.file, name, &args.printing, desk);
    }
    let plan = file::plan(&args.file, &args.inputs.map()?, Purpose::Look, desk)?;
    let plan = Arc::new(plan);
    let script = script(&args, &plan)?;
    // Whole seconds read better, and nothing depends on the rest.
    let now = desk.now();
    let start = args.start.unwrap_or_else(|| now.round(Unit::Second).unwrap_or(now));
    let odds = Odds { faulty: args.faulty };
    if let Some(runs) = args.runs.filter(|runs| *runs > 1) {
        let worlds = many::play(&plan, odds, runs, args.seed, start).map_err(|broken| defect(&broken))?;
        if args.printing.is_json() {
            desk.paper.json(&many::json(&worlds, odds, args.seed, start));
        } else {
            many::print(&worlds, odds, args.seed, &again(&args, start, desk)?, desk);
        }
        return Ok(Exit::Succeeded);
    }
    let simulated = match args.runs {
        Some(_) => many::one(&plan, odds, args.seed, start),
        None => simulate(&plan, &script, args.seed, start),
    };
    let simulated = simulated.map_err(|broken| defect(&broken))?;
    if args.printing.is_json() {
        desk.paper.json(&Json::of(&simulated, args.seed, start, desk));
    } else {
        print(&simulated, plan, desk);
    }
    Ok(outcome::exit(&simulated.run))
}

impl<'a> Json<'a> {
    pub(super) fn of(simulated: &'a Simulated, seed: u64, start: Timestamp, desk: &Desk) -> Json<'a> {
        Json {
            status: status::json(&simulated.run, simulated.ended_at, &desk.program()),
            seed,
            start,
            ended_at: simulated.ended_at,
            seconds: simulated.length().as_secs_f64(),
            entries: &simulated.entries,
        }
    }
}

/// The command that plays one of the drawn worlds, but for its seed.
fn again(args: &Args, start: Timestamp, desk: &Desk) -> Result<String, Problem> {
    let mut command = format!("{} simulate {}", desk.program(), args.file.display());
    for (name, value) in args.inputs.map()? {
        command.push_str(&format!(" --input '{name}={value}'"));
    }
    command.push_str(&format!(" --runs 1 --faulty {} --start {start}", args.faulty));
    Ok(command)
}

fn defect(broken: &Broken) -> Problem {
    Problem::failed("the simulated journal does not fold, which is a defect of Meridian").because(broken)
}

fn script(args: &Args, plan: &Plan) -> Result<Script, Problem> {
    let mut faults = Vec::new();
    for (stages, kind) in [(&args.fail, FaultKind::Breach), (&args.stuck, FaultKind::Stuck)] {
        for stage in stages {
            let node = find_stage(plan, stage).map_err(|unknown| {
                Problem::usage(unknown.to_string()).next("`meridian plan` shows every stage")
            })?;
            faults.push(Fault { node, kind });
        }
    }
    if let Some(unknown) = args.reject.iter().find(|gate| plan.find_gate(gate).is_none()) {
        let known = plan.workflow().gates.keys().map(String::as_str);
        let hint = meridian_workflows::diagnostic::suggestion::hint(unknown, known);
        return Err(Problem::usage(format!("the workflow uses no gate `{unknown}`")).maybe_next(hint));
    }
    Ok(Script {
        faults,
        people: People {
            approve_after: (!args.no_answers).then_some(args.approve_after),
            reject: args.reject.clone(),
        },
        crash_every: args.crash_every,
        ..Script::default()
    })
}

pub(super) fn print(simulated: &Simulated, plan: Arc<Plan>, desk: &Desk) {
    let mut timeline = Timeline::new(plan, desk.zone.clone());
    for entry in &simulated.entries {
        for line in timeline.entry(entry) {
            desk.paper.data_line(&line);
        }
    }
    let took = clock::length(simulated.length());
    let text = match simulated.end {
        End::Finished => format!("{} after {took} of virtual time", status::outcome(&simulated.run).word()),
        End::WaitsForPeople => format!("after {took} of virtual time it waits for a person:"),
        End::TooLong => format!("given up after {took} of virtual time: it goes on longer than a simulation follows"),
    };
    desk.paper.data("\n");
    desk.paper.data_line(&line(Tone::Strong, text));
    if simulated.end != End::Finished {
        let driver = Driver::Process("simulation".to_owned());
        for line in why::lines(&simulated.run, &driver, simulated.ended_at, &desk.zone, &desk.program()) {
            desk.paper.data_line(&line);
        }
    }
}
