//! Drives runs in this process, with progress, until they rest, a person leaves, or somebody else has them.

use std::sync::Arc;
use std::time::Instant;

use meridian_engine::run::state::{Run, RunId};
use meridian_engine::scheduler::engine::{Drive, Engine, Options, Scope};
use meridian_engine::service::Service;
use meridian_workflows::duration::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::desk::{Desk, Printing};
use super::exit::Exit;
use super::follow::Follower;
use super::live::{Live, PULSE, Stream};
use super::outcome;
use super::problem::Problem;
use crate::report::board;
use crate::report::clock;
use crate::report::ink::{Tone, ink};
use crate::report::status;
use crate::report::waiting::{Urgency, Waiting};
use crate::report::why::{self, Driver};
use crate::world;

/// When to leave before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    ToTheEnd,
    /// Leave as soon as nothing goes on without a person or a recovery.
    UntilHeld,
}

/// How long nothing may go on by itself before a display that does not wait leaves: the first reading of a gate needs a moment.
const STUCK_FOR: std::time::Duration = std::time::Duration::from_secs(3);

/// This process's name in leases and journals.
pub fn owner() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "localhost" } else { host };
    format!("{host}/{}", std::process::id())
}

/// An engine of this process for one run.
fn engine(service: &Service, run: &RunId, desk: &Desk) -> Engine {
    let mut options = Options::named(owner());
    options.lease = desk.lease;
    Engine::start(
        Arc::clone(service.store()),
        Arc::new(world::world(desk)),
        Arc::clone(service.clock()),
        options,
        Scope::Only(vec![run.clone()]),
    )
}

/// Drives one run and tells of it; its standing at the end decides the exit code.
pub async fn drive(
    service: &Service,
    id: &RunId,
    patience: Patience,
    printing: Printing,
    desk: &Desk,
) -> Result<Exit, Problem> {
    let mut follower = Follower::open(service, id).await?;
    let stream = if printing.is_json() {
        Stream::Stderr
    } else {
        Stream::Stdout
    };
    let mut live = Live::new(desk, &follower.run, stream);
    let past = follower.catch_up().await?;
    live.show_past(&follower.run, &past);
    let engine = engine(service, id, desk);
    let left = follow(&mut follower, &engine, &mut live, patience, desk).await;
    live.wipe();
    engine.shut_down().await;
    let left = left?;
    // What the shutdown wrote still belongs to the story.
    let news = follower.catch_up().await?;
    live.show_lines(&news);
    finish(service, &follower.run, left, printing, desk).await
}

/// Why the display ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    AtRest,
    Held,
    Interrupted,
    Quarantined,
}

async fn follow(
    follower: &mut Follower,
    engine: &Engine,
    live: &mut Live<'_>,
    patience: Patience,
    desk: &Desk,
) -> Result<Left, Problem> {
    let mut interruptions = Interruptions::new()?;
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let drives = engine.drives();
    let mut said_elsewhere = false;
    let mut stuck_since = None;
    loop {
        tokio::select! {
            () = interruptions.next() => return Ok(Left::Interrupted),
            _ = pulse.tick() => {}
        }
        let news = follower.catch_up().await?;
        live.show(&follower.run, &follower.history, &news);
        let drive = drives.borrow().get(follower.run.id()).copied();
        match drive {
            Some(Drive::Quarantined) => return Ok(Left::Quarantined),
            Some(Drive::Elsewhere) if !said_elsewhere => {
                said_elsewhere = true;
                live.wipe();
                desk.paper.note(
                    "Another process drives this run, or ended without goodbye a moment ago; following it, and taking it over when it is free.\n",
                );
            }
            Some(Drive::Elsewhere | Drive::Waiting | Drive::Here | Drive::AtRest) | None => {}
        }
        if outcome::is_at_rest(&follower.run) {
            return Ok(Left::AtRest);
        }
        if patience == Patience::UntilHeld {
            let since = is_stuck(&follower.run, desk).then(|| stuck_since.unwrap_or_else(Instant::now));
            if since.is_some_and(|since| since.elapsed() >= STUCK_FOR) {
                return Ok(Left::Held);
            }
            stuck_since = since;
        }
    }
}

/// Whether nothing goes on by itself: everything that is waited for needs a person or a recovery.
fn is_stuck(run: &Run, desk: &Desk) -> bool {
    let program = desk.program();
    let waits = Waiting::new(run, desk.now(), &program).all();
    !waits.is_empty() && waits.iter().all(|wait| wait.urgency != Urgency::Going)
}

async fn finish(service: &Service, run: &Run, left: Left, printing: Printing, desk: &Desk) -> Result<Exit, Problem> {
    let (id, program) = (run.id(), desk.program());
    if left == Left::Quarantined {
        let reason = service
            .store()
            .head(id)
            .await
            .ok()
            .and_then(|head| head.quarantined)
            .unwrap_or_default();
        return Err(Problem::failed(format!(
            "run {id} was set aside, because it made the engine fail: {reason}"
        ))
        .next(format!("its journal is whole: {program} journal {id} --verify")));
    }
    if printing.is_json() {
        desk.paper.json(&status::json(run, desk.now(), &program));
    } else if left == Left::AtRest {
        summary(run, desk);
    }
    let resume = format!("{program} resume {id}");
    match left {
        Left::Interrupted => {
            desk.paper.note(&format!(
                "\nDetached; {id} stays where it is and goes on when somebody drives it:\n  {resume}\n"
            ));
            Ok(Exit::Interrupted)
        }
        Left::Held => {
            desk.paper.note("\n");
            for line in why::lines(run, &Driver::Process(owner()), desk.now(), &desk.zone, &program) {
                desk.paper.note_line(&line);
            }
            desk.paper.note(&format!(
                "\nDetached, because nothing goes on by itself. Afterwards:\n  {resume}\n"
            ));
            Ok(Exit::Attention)
        }
        Left::AtRest | Left::Quarantined => {
            if outcome::exit(run) == Exit::Attention {
                for line in why::lines(run, &Driver::Process(owner()), desk.now(), &desk.zone, &program) {
                    desk.paper.note_line(&line);
                }
            }
            Ok(outcome::exit(run))
        }
    }
}

/// One line about the end, and where to read more.
fn summary(run: &Run, desk: &Desk) {
    let state = run.state();
    let outcome = status::outcome(run);
    let took = state
        .submitted_at
        .map(|since| clock::length(Duration::between(since, state.at)))
        .unwrap_or_default();
    let mut line = ratatui::text::Line::from(vec![
        ink(Tone::Strong, run.id().to_string()),
        ink(board::outcome_tone(outcome), format!("  {}", outcome.word())),
        ink(Tone::Plain, format!(" after {took}")),
    ]);
    let shares: Vec<String> = run
        .plan()
        .region_ids()
        .map(|region| format!("{} {}", run.plan().region(region).0, status::share(run, region)))
        .collect();
    line.push_span(ink(Tone::Dim, format!("  ({})", shares.join(", "))));
    desk.paper.data("\n");
    desk.paper.data_line(&line);
    let program = desk.program();
    desk.paper.note(&format!(
        "What happened and why: {program} journal {id}, {program} status {id}\n",
        id = run.id()
    ));
}

/// Ctrl-C, a closed terminal, a polite stop: all of them leave, none of them aborts.
pub struct Interruptions {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Interruptions {
    pub fn new() -> Result<Interruptions, Problem> {
        let listen =
            |kind| signal(kind).map_err(|error| Problem::failed("could not listen for signals").because(&error));
        Ok(Interruptions {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
