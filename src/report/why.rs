//! `why`: what a run waits for, since when, until when, who can act and with which command, in a sentence or two.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use meridian_engine::run::event::Ending;
use meridian_engine::run::state::{Run, Standing};
use ratatui::text::Line;
use serde::Serialize;

use super::clock;
use super::evidence;
use super::evidence::lines::Detail;
use super::ink::{Tone, ink, line, tame};
use super::status::{self, Outcome};
use super::waiting::{Urgency, Wait, Waiting};

/// How many waits are told in full; the rest is counted.
const TOLD_MAX: usize = 4;

/// Who drives the run, as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Driver {
    /// A live lease, and its owner.
    Process(String),
    Nobody,
}

/// The answer as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Json {
    run: String,
    outcome: Outcome,
    driver: Option<String>,
    waits: Vec<WaitJson>,
    evidence: Vec<evidence::Json>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WaitJson {
    node: Option<String>,
    what: String,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    who: Option<String>,
    needs_person: bool,
    commands: Vec<String>,
}

/// The answer for scripts.
pub fn json(run: &Run, driver: &Driver, now: Timestamp, program: &str) -> Json {
    let waits = Waiting::new(run, now, program).all();
    Json {
        run: run.id().to_string(),
        outcome: status::outcome(run),
        driver: match driver {
            Driver::Process(name) => Some(name.clone()),
            Driver::Nobody => None,
        },
        waits: waits
            .into_iter()
            .map(|wait| WaitJson {
                node: wait.node.map(|node| run.plan().node(node).key.clone()),
                what: wait.what,
                since: wait.since,
                until: wait.until.map(|(until, _)| until),
                who: wait.who,
                needs_person: wait.urgency == Urgency::Person,
                commands: wait.commands,
            })
            .collect(),
        evidence: evidence::json(run),
    }
}

/// The answer for people.
pub fn lines(run: &Run, driver: &Driver, now: Timestamp, zone: &TimeZone, program: &str) -> Vec<Line<'static>> {
    let mut lines = answer(run, driver, now, zone, program);
    let evidence = evidence::lines::lines(run, Detail::Whole, now, zone);
    if !evidence.is_empty() {
        lines.push(Line::default());
        lines.push(evidence::lines::heading());
        lines.extend(evidence);
    }
    lines
}

fn answer(run: &Run, driver: &Driver, now: Timestamp, zone: &TimeZone, program: &str) -> Vec<Line<'static>> {
    if let Standing::Finished { ending, cause, at } = &run.state().standing {
        return finished(run, *ending, cause, clock::instant(*at, now, zone));
    }
    let waits = Waiting::new(run, now, program).all();
    let mut lines = Vec::new();
    for wait in waits.iter().take(TOLD_MAX) {
        lines.push(sentence(run, wait, now, zone));
        lines.extend(
            wait.commands
                .iter()
                .map(|command| line(Tone::Accent, format!("    {command}"))),
        );
    }
    if waits.len() > TOLD_MAX {
        let more = waits.len() - TOLD_MAX;
        lines.push(line(
            Tone::Dim,
            format!("And {more} more: {program} status {}", run.id()),
        ));
    }
    if waits.is_empty() {
        lines.push(line(
            Tone::Plain,
            format!("{} takes its next step; it waits for nothing.", run.id()),
        ));
    }
    if *driver == Driver::Nobody {
        lines.push(line(
            Tone::Caution,
            "No process drives it now, so nothing of this happens until one does:",
        ));
        lines.push(line(Tone::Accent, format!("    {program} resume")));
    }
    lines
}

fn finished(run: &Run, ending: Ending, cause: &str, at: String) -> Vec<Line<'static>> {
    let (tone, what) = match ending {
        Ending::Promoted => (Tone::Good, "is promoted: every region serves the candidate"),
        Ending::RolledBack => (
            Tone::Bad,
            "was rolled back: every region in scope serves its baseline again",
        ),
        Ending::Refused => (Tone::Bad, "was refused and never began"),
    };
    let mut text = format!("{} {what}, since {at}.", run.id());
    if !cause.is_empty() {
        text.push_str(&format!(" Cause: {}.", tame(cause).trim_end_matches('.')));
    }
    vec![line(tone, text)]
}

fn sentence(run: &Run, wait: &Wait, now: Timestamp, zone: &TimeZone) -> Line<'static> {
    let subject = wait
        .node
        .map_or_else(|| run.id().to_string(), |node| run.plan().node(node).key.clone());
    let mut text = format!(" {}", wait.what);
    if let Some(since) = wait.since {
        text.push_str(&format!(", since {}", clock::instant(since, now, zone)));
    }
    if let Some((until, then)) = wait.until {
        text.push_str(&format!(", until {} ({then})", clock::instant(until, now, zone)));
    }
    text.push('.');
    if let Some(who) = &wait.who {
        text.push_str(&format!(" {who}"));
    }
    let tone = match wait.urgency {
        Urgency::Going => Tone::Plain,
        Urgency::Waiting => Tone::Caution,
        Urgency::Person => Tone::Bad,
    };
    Line::from(vec![ink(Tone::Strong, subject), ink(tone, text)])
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use meridian_engine::run::event::Event;

    use super::{Driver, lines};
    use crate::report::ink::plain;
    use crate::report::story::{self, Moment};

    fn said(moment: &Moment, driver: &Driver) -> String {
        let lines = lines(&moment.run, driver, moment.at, &TimeZone::UTC, "meridian");
        lines.iter().map(plain).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn why_answers_in_a_sentence() {
        let simulated = story::simulated(&["eu-west-1/25%"]);
        let driver = Driver::Process("host/1".to_owned());
        let baking = story::until(&simulated, |event| matches!(event, Event::Converged { .. }));
        insta::assert_snapshot!(said(&baking, &driver), @r"
        stage:smallest/eu-west-1/5% bakes for 8s, since 10:00:06, until 10:00:14 (if its gates stay healthy).

        Evidence
          ✓ error-rate: candidate 0.1 %
              judged     pass · metric, watching stage:smallest/eu-west-1/5% · read 10:00:05
              limit      rolls back above 1% (candidate > percent(1))
              candidate  0.1% · 1000 samples · last 10s · data of 10:00:05
                         simulated
              baseline   0.1% · 1000 samples · last 10s · data of 10:00:05
          ✓ memory-exhaustion: candidate 350 MiB
              judged     pass · metric, watching stage:smallest/eu-west-1/5% · read 10:00:05
              limit      rolls back above 1Gi (candidate > Gi(1))
              candidate  350Mi · 1000 samples · last 10s · data of 10:00:05
                         simulated
              baseline   350Mi · 1000 samples · last 10s · data of 10:00:05
        ");
        let back = story::until(&simulated, |event| matches!(event, Event::RollbackDecided { .. }));
        insta::assert_snapshot!(said(&back, &Driver::Nobody), @r"
        memory-leak-simulated rolls back (gate/error-rate: candidate 1.3 %: candidate > percent(1)): eu-west-1 goes back to its baseline, since 10:00:17, until 10:01:17 (then people are called).
        No process drives it now, so nothing of this happens until one does:
            meridian resume

        Evidence
          ✗ error-rate: candidate 1.3 %: candidate > percent(1)
              judged     fail → rolls back (it acted) · metric, watching stage:smallest/eu-west-1/25% · read 10:00:17
              limit      rolls back above 1% (candidate > percent(1))
              candidate  1.3% · 1000 samples · last 10s · data of 10:00:17
                         simulated
              baseline   0.1% · 1000 samples · last 10s · data of 10:00:17
        ");
        let end = story::until(&simulated, |_| false);
        insta::assert_snapshot!(said(&end, &Driver::Nobody), @r"
        memory-leak-simulated was rolled back: every region in scope serves its baseline again, since 10:00:24. Cause: gate/error-rate: candidate 1.3 %: candidate > percent(1).

        Evidence
          ✗ error-rate: candidate 1.3 %: candidate > percent(1)
              judged     fail → rolls back (it acted) · metric, watching stage:smallest/eu-west-1/25% · read 10:00:17
              limit      rolls back above 1% (candidate > percent(1))
              candidate  1.3% · 1000 samples · last 10s · data of 10:00:17
                         simulated
              baseline   0.1% · 1000 samples · last 10s · data of 10:00:17
        ");
    }
}
