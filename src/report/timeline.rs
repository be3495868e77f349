//! The timeline: one line for each thing that matters, the same for `run`, `watch` and `simulate`.

mod telling;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use meridian_engine::run::effect::Place;
use meridian_engine::run::entry::Entry;
use meridian_engine::run::event::Event;
use meridian_engine::run::verdict::Level;
use meridian_engine::run::version::Version;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{GateId, NodeId, Plan, RegionId, platform};
use meridian_workflows::vocabulary::RollbackSpeed;
use ratatui::text::Line;

use super::clock;
use super::ink::{Tone, ink, padded};
use crate::world;

/// Prints a journal as it grows. It remembers what it has said, so that what repeats is said once.
pub struct Timeline {
    plan: Arc<Plan>,
    zone: TimeZone,
    /// Columns of the place, wide enough for every region and phase.
    place_width: usize,
    day: Option<Date>,
    versions: HashMap<RegionId, (Version, Version)>,
    /// What was last said about a gate, when that was bad.
    breached: HashMap<(NodeId, Place, GateId), Level>,
    /// The newest sentence of each watched gate, for the line about the stage that passed.
    sentences: HashMap<(NodeId, GateId), String>,
    whys: HashMap<RegionId, String>,
    /// Holds that have not lasted long enough to be worth a line.
    holds: Vec<(NodeId, Timestamp, Said)>,
    /// What was last said about a lock that is waited for.
    locks: HashMap<String, String>,
    /// The approval that a person has rejected last.
    rejected: Option<(NodeId, GateId)>,
    has_owner: bool,
    /// How long users who have met the candidate may stay with it after a rollback, where a platform pins them.
    pinned: HashMap<RegionId, Duration>,
}

/// A hold that ends sooner than this is not told: the first reading of a gate was on its way.
const HOLD_TOLD_AFTER: Duration = Duration::from_secs(3);

/// The sign in front of a line: it carries the meaning without colour.
#[derive(Clone, Copy)]
enum Sign {
    Note,
    Move,
    Bake,
    Good,
    Wait,
    Ask,
    Bad,
    Back,
}

impl Sign {
    fn text(self) -> &'static str {
        match self {
            Sign::Note => "·",
            Sign::Move => "→",
            Sign::Bake => "◐",
            Sign::Good => "✓",
            Sign::Wait => "‖",
            Sign::Ask => "?",
            Sign::Bad => "✗",
            Sign::Back => "↩",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Sign::Note => Tone::Dim,
            Sign::Move | Sign::Bake => Tone::Accent,
            Sign::Good => Tone::Good,
            Sign::Wait | Sign::Ask => Tone::Caution,
            Sign::Bad | Sign::Back => Tone::Bad,
        }
    }
}

/// A sign, a place and what happened there.
struct Said {
    sign: Sign,
    place: String,
    share: String,
    text: String,
}

impl Timeline {
    pub fn new(plan: Arc<Plan>, zone: TimeZone) -> Timeline {
        let workflow = plan.workflow();
        let names = workflow
            .regions
            .keys()
            .chain(workflow.phases.iter().map(|phase| &phase.name));
        let vocabulary = world::vocabulary();
        let pinned =
            plan.region_ids().filter_map(
                |region| match platform::capabilities(&plan, region, &vocabulary)?.rollback {
                    RollbackSpeed::Pinned(length) => Some((region, length)),
                    RollbackSpeed::Instant | RollbackSpeed::Restarts => None,
                },
            );
        let pinned = pinned.collect();
        let place_width = names.map(|name| name.chars().count()).max().unwrap_or(0).clamp(8, 28);
        Timeline {
            plan,
            zone,
            place_width,
            day: None,
            versions: HashMap::new(),
            breached: HashMap::new(),
            sentences: HashMap::new(),
            whys: HashMap::new(),
            holds: Vec::new(),
            locks: HashMap::new(),
            rejected: None,
            has_owner: false,
            pinned,
        }
    }

    /// The lines of one entry; often none.
    pub fn entry(&mut self, entry: &Entry) -> Vec<Line<'static>> {
        let mut lines = self.overdue(entry.at);
        let is_rollback = entry
            .events
            .iter()
            .any(|event| matches!(event, Event::RollbackDecided { .. }));
        let mut left_out = None;
        let is_answer = |event: &Event| matches!(event, Event::Approved { .. } | Event::Rejected { .. });
        let is_answered = entry.events.iter().any(is_answer);
        for event in &entry.events {
            // A region that is left out as a whole is one line, not one for each of its stages.
            if let Event::NodeSkipped { node, why, .. } = event {
                let what = Some((self.plan.node(*node).region, why));
                if std::mem::replace(&mut left_out, what) == what {
                    continue;
                }
            }
            // An answer to an approval has an event of its own.
            if is_answered && matches!(event, Event::SignalTaken { .. }) {
                continue;
            }
            // The decision names the node's failure as its cause.
            if is_rollback && matches!(event, Event::NodeFailed { .. }) {
                continue;
            }
            if let Some(said) = self.event(event) {
                lines.extend(self.dated(entry.at, said));
            }
        }
        lines
    }

    /// The lines of holds that have lasted by now.
    pub fn overdue(&mut self, now: Timestamp) -> Vec<Line<'static>> {
        let holds = std::mem::take(&mut self.holds);
        let (due, early): (Vec<_>, Vec<_>) = holds
            .into_iter()
            .partition(|(_, since, _)| HOLD_TOLD_AFTER.after(*since) <= now);
        self.holds = early;
        due.into_iter()
            .flat_map(|(_, since, said)| self.dated(since, said))
            .collect()
    }

    fn dated(&mut self, at: Timestamp, said: Said) -> Vec<Line<'static>> {
        self.new_day(at).into_iter().chain([self.line(at, said)]).collect()
    }

    fn new_day(&mut self, at: Timestamp) -> Option<Line<'static>> {
        let date = at.to_zoned(self.zone.clone()).date();
        if self.day.replace(date) == Some(date) {
            return None;
        }
        let zone = self.zone.iana_name().unwrap_or("local time");
        let text = format!("── {} ({zone}) ──", clock::day(at, &self.zone));
        Some(Line::from(ink(Tone::Dim, text)))
    }

    fn line(&self, at: Timestamp, said: Said) -> Line<'static> {
        let tone = said.sign.tone();
        let text_tone = match said.sign {
            Sign::Note => Tone::Dim,
            Sign::Bad | Sign::Back => Tone::Bad,
            Sign::Move | Sign::Bake | Sign::Good | Sign::Wait | Sign::Ask => Tone::Plain,
        };
        Line::from(vec![
            ink(Tone::Dim, clock::time(at, &self.zone)),
            ink(tone, format!("  {} ", said.sign.text())),
            padded(Tone::Strong, said.place, self.place_width + 1),
            padded(Tone::Plain, format!("{:>4}", said.share), 7),
            ink(text_tone, said.text),
        ])
    }

    /// One event; none when it says nothing new to a person.
    fn event(&mut self, event: &Event) -> Option<Said> {
        self.of_the_run(event)
            .or_else(|| self.of_people(event))
            .or_else(|| self.of_a_node(event))
            .or_else(|| self.of_a_gate(event))
            .or_else(|| self.of_a_lock(event))
            .or_else(|| self.of_a_region(event))
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::Timeline;
    use crate::report::ink::plain;
    use crate::report::story;

    #[test]
    fn a_rollout_that_fails_is_told_line_by_line() {
        let simulated = story::simulated(&["eu-west-1/25%"]);
        let mut timeline = Timeline::new(simulated.run.plan().clone(), TimeZone::UTC);
        let lines: Vec<String> = simulated
            .entries
            .iter()
            .flat_map(|entry| timeline.entry(entry))
            .map(|line| plain(&line))
            .collect();
        // The example's own fingerprint changes with every word in it.
        let told = lines
            .join("\n")
            .replace(simulated.run.plan().fingerprint().short(), "0123456789ab");
        insta::assert_snapshot!(told, @r"
        ── Mon 2 Mar 2026 (UTC) ──
        10:00:00  · run              memory-leak v3.2.0, plan 0123456789ab, submitted by simulation, unauthenticated
        10:00:00  → smallest         phase begins
        10:00:00  · eu-west-1        serves baseline; the candidate is v3.2.0
        10:00:00  → eu-west-1        starting v3.2.0 beside baseline
        10:00:03  ✓ eu-west-1        v3.2.0 stands ready, without traffic
        10:00:03  → eu-west-1   5%   shifting 5% to v3.2.0
        10:00:06  ◐ eu-west-1   5%   serves 5%, baking 8s
        10:00:14  ✓ eu-west-1   5%   passed: error-rate 0.1 %; memory-exhaustion 350 MiB
        10:00:14  → eu-west-1  25%   shifting 25% to v3.2.0
        10:00:15  ◐ eu-west-1  25%   serves 25%, baking 15s
        10:00:15  ✗ eu-west-1  25%   error-rate 1.3 %: candidate > percent(1)
        10:00:15  ✗ eu-west-1  25%   memory-exhaustion 1.03 GiB: candidate > Gi(1)
        10:00:17  ↩ run              rolls back the run (eu-west-1): gate/error-rate: candidate 1.3 %: candidate > percent(1)
        10:00:17  ↩ eu-west-1        sending all traffic back to baseline
        10:00:20  ↩ eu-west-1        read back: baseline serves everything
        10:00:22  ↩ eu-west-1        removing v3.2.0
        10:00:24  ↩ eu-west-1        the candidate is removed
        10:00:24  ↩ run              rolled back: every region in scope serves its baseline
        ");
    }
}
