//! How a run's readings fare under the gates of a changed workflow: what was, and what would have been.

use jiff::Timestamp;
use meridian_engine::against::{Change, Compared, Comparison};
use meridian_engine::run::state::RunId;
use meridian_engine::run::verdict::Verdict;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::Plan;
use ratatui::text::Line;
use serde_json::{Value, json};

use super::desk::{Desk, Printing};
use crate::report::clock;
use crate::report::ink::{Tone, ink, line, tame};

pub fn print(run: &RunId, plan: &Plan, comparison: &Comparison, printing: Printing, desk: &Desk) {
    if printing.is_json() {
        desk.paper.json(&as_json(run, plan, comparison));
        return;
    }
    let of_run = match &comparison.decided {
        Some(decided) => format!(
            "{run} was rolled back at {}: {}",
            clock::time(decided.at, &desk.zone),
            tame(&decided.cause)
        ),
        None => format!("{run} was never rolled back"),
    };
    desk.paper.data_line(&line(Tone::Strong, of_run));
    let mut names: Vec<&str> = comparison
        .compared
        .iter()
        .map(|compared| compared.gate.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        gate(name, plan, comparison, desk);
    }
    if !comparison.not_judged.is_empty() {
        desk.paper.data("\n");
        desk.paper.data_line(&line(Tone::Strong, "not judged"));
        for (name, why) in &comparison.not_judged {
            desk.paper.data_line(&Line::from(vec![
                ink(Tone::Caution, "  ‖ "),
                ink(Tone::Plain, format!("{name}: {}", tame(why))),
            ]));
        }
    }
    for name in &comparison.gone {
        desk.paper.data_line(&line(
            Tone::Dim,
            format!("  · {name}: the changed workflow has no such gate"),
        ));
    }
    desk.paper.data("\n");
    desk.paper
        .data_line(&line(Tone::Strong, conclusion(plan, comparison, desk)));
}

fn gate(name: &str, plan: &Plan, comparison: &Comparison, desk: &Desk) {
    desk.paper.data("\n");
    desk.paper.data_line(&line(Tone::Strong, name));
    let of_gate = || comparison.compared.iter().filter(|compared| compared.gate == name);
    if let Some(note) = of_gate().find_map(|compared| compared.note.as_deref()) {
        desk.paper.data_line(&line(Tone::Dim, format!("  {note}")));
    }
    let mut quiet = 0;
    for compared in of_gate() {
        // Where a gate has nothing to say in either telling, a line each would hide the others.
        if compared.was.is_empty() && compared.would.is_empty() && compared.lacking.is_empty() {
            quiet += compared.readings;
            continue;
        }
        let count = readings(compared.readings);
        let place = format!("  {}, {}: {count}", plan.node(compared.node).key, compared.place.name());
        desk.paper.data_line(&line(Tone::Plain, place));
        for (lacks, count) in &compared.lacking {
            let text = format!("    {} cannot be judged: {lacks}", readings(*count));
            desk.paper.data_line(&line(Tone::Caution, text));
        }
        if compared.is_same() && compared.lacking.is_empty() {
            told("does the same ", &compared.was, desk);
        } else {
            told("was           ", &compared.was, desk);
            told("would have    ", &compared.would, desk);
        }
    }
    if quiet > 0 {
        let text = format!("  elsewhere it passes, then and now ({})", readings(quiet));
        desk.paper.data_line(&line(Tone::Dim, text));
    }
}

fn readings(count: usize) -> String {
    match count {
        1 => "1 reading".to_owned(),
        many => format!("{many} readings"),
    }
}

fn told(label: &str, changes: &[Change], desk: &Desk) {
    if changes.is_empty() {
        desk.paper.data_line(&Line::from(vec![
            ink(Tone::Dim, format!("    {label} ")),
            ink(Tone::Plain, "nothing against it"),
        ]));
    }
    for change in changes {
        let (tone, verdict) = word(change.verdict);
        desk.paper.data_line(&Line::from(vec![
            ink(
                Tone::Dim,
                format!("    {label} {} ", clock::time(change.at, &desk.zone)),
            ),
            ink(tone, format!("{verdict}: ")),
            ink(Tone::Plain, tame(&change.because)),
        ]));
    }
}

fn word(verdict: Verdict) -> (Tone, &'static str) {
    match verdict {
        Verdict::Advance => (Tone::Good, "let it go on"),
        Verdict::Hold => (Tone::Caution, "held"),
        Verdict::Ask => (Tone::Caution, "asked"),
        Verdict::RollBack => (Tone::Bad, "rolled back"),
    }
}

fn first_rollback(changes: &[Change]) -> Option<&Change> {
    changes.iter().find(|change| change.verdict == Verdict::RollBack)
}

/// The first rollback that the changed gates would have made.
fn would_roll_back(comparison: &Comparison) -> Option<(&Compared, &Change)> {
    let all = comparison.compared.iter();
    let rollbacks = all.filter_map(|compared| Some((compared, first_rollback(&compared.would)?)));
    rollbacks.min_by_key(|(_, change)| change.at)
}

/// The answer to the question: would it have caught it, and when.
fn conclusion(plan: &Plan, comparison: &Comparison, desk: &Desk) -> String {
    let decided = comparison.decided.as_ref().map(|decided| decided.at);
    match (would_roll_back(comparison), decided) {
        (Some((compared, change)), decided) => {
            let when = match decided {
                Some(at) => difference(change.at, at),
                None => "the run was not rolled back".to_owned(),
            };
            format!(
                "{} would have rolled back at {} in {}: {when}",
                compared.gate,
                clock::time(change.at, &desk.zone),
                plan.node(compared.node).key
            )
        }
        (None, Some(_)) => "the changed gates would not have rolled this run back on what it recorded".to_owned(),
        (None, None) => "the changed gates would not have rolled this run back either".to_owned(),
    }
}

fn difference(would: Timestamp, was: Timestamp) -> String {
    if would < was {
        format!("{} earlier than it was", clock::length(Duration::between(would, was)))
    } else if would > was {
        format!("{} later than it was", clock::length(Duration::between(was, would)))
    } else {
        "as it was".to_owned()
    }
}

fn as_json(run: &RunId, plan: &Plan, comparison: &Comparison) -> Value {
    let changes = |changes: &[Change]| -> Vec<Value> {
        let of = |change: &Change| json!({"at": change.at, "verdict": change.verdict, "because": change.because});
        changes.iter().map(of).collect()
    };
    let compared = |compared: &Compared| {
        json!({
            "gate": compared.gate,
            "node": plan.node(compared.node).key,
            "place": compared.place,
            "readings": compared.readings,
            "lacking": compared.lacking,
            "note": compared.note,
            "same": compared.is_same(),
            "was": changes(&compared.was),
            "would": changes(&compared.would),
        })
    };
    let not_judged = |(gate, why): &(String, String)| json!({"gate": gate, "why": why});
    let decided = comparison
        .decided
        .as_ref()
        .map(|decided| json!({"cause": decided.cause, "at": decided.at}));
    let would = would_roll_back(comparison).map(|(compared, change)| {
        json!({"gate": compared.gate, "node": plan.node(compared.node).key, "at": change.at, "because": change.because})
    });
    json!({
        "run": run,
        "startedAt": comparison.started_at,
        "rolledBack": decided,
        "wouldRollBack": would,
        "gates": comparison.compared.iter().map(compared).collect::<Vec<_>>(),
        "notJudged": comparison.not_judged.iter().map(not_judged).collect::<Vec<_>>(),
        "gone": comparison.gone,
    })
}
