//! `provider test`: the conformance suite on a region's real target.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;

use meridian_conformance::report::{Report, Row, Verdict};
use meridian_conformance::suite;
use meridian_engine::ports::failure::{Failure, Lasting};
use meridian_engine::ports::provider::{Ladder, Provider, Target};
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::Plan;

use super::live::{Live, Pace};
use crate::cli::desk::{Desk, Inputs, Printing};
use crate::cli::exit::Exit;
use crate::cli::file::{self, Purpose};
use crate::cli::problem::Problem;
use crate::cli::run as start;
use crate::world;

/// Put a region's provider to the conformance suite, on the region's real target
#[derive(Debug, clap::Args)]
#[command(after_help = "\
This moves real traffic: the release is staged, given shares, promoted and taken back, again and again. It ends with the version \
that served before, and with the release withdrawn. No run may be under way on the target meanwhile. What would need hands on \
the platform (ailing candidates, failing APIs, meddlers) is not tried.")]
pub struct Args {
    /// The workflow; `-` is stdin
    file: PathBuf,
    /// The region whose target is tried
    #[arg(long, value_name = "NAME")]
    region: String,
    #[command(flatten)]
    inputs: Inputs,
    /// Do not ask before traffic is moved
    #[arg(long)]
    yes: bool,
    /// Time between two asks of the same order
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    every: Duration,
    /// How long one order may take until it counts as lost
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    patience: Duration,
    #[command(flatten)]
    printing: Printing,
}

pub async fn run(args: Args, desk: &Desk) -> Result<Exit, Problem> {
    if args.every.is_zero() || args.patience < args.every {
        return Err(Problem::usage("`--every` lies above 0s and not above `--patience`"));
    }
    let plan = file::plan(&args.file, &args.inputs.map()?, Purpose::Start, desk)?;
    let live = live(&plan, &args, desk).await?;
    consent(&args, &live, desk)?;
    let told = |row: &Row| {
        if args.printing.is_json() {
            desk.paper.note(&format!("{}: {}\n", row.group, row.behaviour));
        } else {
            desk.paper.data(&line(row));
        }
    };
    // Ctrl-C ends the trying, not the putting back.
    let report = tokio::select! {
        report = suite::run_telling(&live, |_| true, told) => Some(report),
        _ = tokio::signal::ctrl_c() => None,
    };
    let back = live.put_back().await;
    if let Some(report) = &report {
        conclude(report, args.printing, desk);
    }
    back.map_err(|why| not_back(&live, &why))?;
    desk.paper.note(&format!("{} serves as before, and {} is withdrawn.\n", live.baseline, live.candidate));
    Ok(match report {
        None => Exit::Interrupted,
        Some(report) if report.has_passed() => Exit::Succeeded,
        Some(_) => Exit::Failed,
    })
}

/// The region's target with its provider, after a first look.
async fn live(plan: &Plan, args: &Args, desk: &Desk) -> Result<Live, Problem> {
    let name = &args.region;
    let Some(region) = plan.find_region(name) else {
        let names: Vec<_> = plan.region_ids().map(|id| plan.region(id).0.to_owned()).collect();
        return Err(Problem::usage(format!("the workflow has no region `{name}`")).next(format!("it has {}", names.join(", "))));
    };
    let (_, settings) = plan.region(region);
    let kind = &settings.provider;
    let world = world::world(desk);
    let Some(provider) = world.provider(kind) else {
        return Err(Problem::usage(format!("this build cannot reach `{kind}`")));
    };
    start::start_sandbox(plan, desk).await?;
    let target = Target {
        workflow: plan.workflow().name.clone(),
        region: name.clone(),
        settings: settings.settings.clone(),
        release: settings.release.clone().unwrap_or_else(|| plan.workflow().release.clone()),
        ladder: Ladder::of(plan, region),
    };
    let kind = world::vocabulary().provider(kind).cloned();
    look(Arc::clone(provider), target, kind, args).await
}

async fn look(
    provider: Arc<dyn Provider>,
    target: Target,
    kind: Option<meridian_workflows::vocabulary::ProviderKind>,
    args: &Args,
) -> Result<Live, Problem> {
    let refused = |failure: Failure| match failure.lasting {
        Lasting::Yes => Problem::usage(format!("region `{}` cannot be tried", args.region)).because(&failure),
        Lasting::No { .. } => Problem::unreachable(format!("region `{}` does not answer", args.region)).because(&failure),
    };
    let identity = provider.identify(&target).await.map_err(refused)?;
    let observed = provider.observe(&target).await.map_err(refused)?.observation;
    let Some(baseline) = observed.serving else {
        return Err(Problem::usage(format!("nothing serves in region `{}`", args.region))
            .next("a release needs a version that serves before it"));
    };
    if baseline.is_same_as(&observed.candidate) {
        return Err(Problem::usage(format!("{baseline} serves in region `{}` already", args.region))
            .next("give a version that does not serve, as in `--input version=…`"));
    }
    let pace = Pace {
        every: args.every.std(),
        patience: args.patience.std(),
    };
    Ok(Live {
        provider,
        target,
        kind,
        identity,
        candidate: observed.candidate,
        baseline,
        pace,
    })
}

/// Says what it will do, and asks where somebody can answer.
fn consent(args: &Args, live: &Live, desk: &Desk) -> Result<(), Problem> {
    let Live {
        identity,
        candidate,
        baseline,
        ..
    } = live;
    desk.paper.note(&format!(
        "This moves real traffic of region `{}` ({identity}), again and again:\n  {candidate} is staged beside {baseline}, given up to \
         all of the traffic, promoted, and taken back.\n  It ends with {baseline} serving and {candidate} withdrawn. No run may be \
         under way there meanwhile.\n",
        args.region
    ));
    if args.yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Problem::usage("nobody has agreed to that").next("give `--yes`"));
    }
    desk.paper.note("Go on? Type yes: ");
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    if read.is_ok() && answer.trim() == "yes" {
        Ok(())
    } else {
        Err(Problem::usage("nothing was done"))
    }
}

/// One verdict as a line of the table, with its reason below it.
fn line(row: &Row) -> String {
    let (sign, why) = match &row.verdict {
        Verdict::Passed => ("✓", None),
        Verdict::Failed { why } => ("✗", Some(why)),
        Verdict::NotTried { why } => ("—", Some(why)),
    };
    let why = why.map(|why| format!("    {}\n", why.replace('\n', "\n    "))).unwrap_or_default();
    format!("{sign} {:<9} {}\n{why}", row.group, row.behaviour)
}

fn conclude(report: &Report, printing: Printing, desk: &Desk) {
    if printing.is_json() {
        desk.paper.json(report);
    }
    let (passed, failed, not_tried) = report.counts();
    desk.paper.note(&format!(
        "{}: {passed} passed, {failed} failed, {not_tried} not tried\n",
        report.provider
    ));
}

fn not_back(live: &Live, why: &str) -> Problem {
    let (candidate, region) = (&live.candidate, &live.target.region);
    Problem::failed(format!("region `{region}` could not be put back: {why}"))
        .next(format!("look at it: {} may still have traffic, and {candidate} may still stand", live.candidate))
}
