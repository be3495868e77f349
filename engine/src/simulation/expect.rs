//! Holds a played scenario against what it expects.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{GateId, NodeId, NodeKind, Plan, RegionId};
use meridian_workflows::scenario::{Expectation, Happening, HappeningWord, Outcome, Scenario, Whereabouts, stage_name};
use meridian_workflows::share::Share;

use super::simulate::{End, Simulated};
use crate::run::effect::DesiredState;
use crate::run::event::{Ending, Event};
use crate::run::standing::outcome;
use crate::run::state::{RegionLife, Run, Standing};

/// One expectation that was not met, in two phrases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    pub expected: String,
    pub happened: String,
}

/// What a played scenario lacks of what it expects; empty: it holds. `story` is what people read of it, line by line.
pub fn shortfalls(scenario: &Scenario, simulated: &Simulated, story: &[String]) -> Vec<Shortfall> {
    let facts = Facts::of(simulated);
    let expect = &scenario.expect;
    let plan = &scenario.plan;
    let mut found = Vec::new();
    found.extend(of_outcome(expect, simulated, &facts));
    found.extend(of_cause(expect, &facts));
    found.extend(of_place(expect, plan, &facts));
    found.extend(of_time(expect, plan, simulated, &facts));
    found.extend(of_shares(expect, plan, &facts));
    found.extend(of_order(expect, plan, simulated));
    found.extend(of_messages(expect, story));
    found.extend(of_regions(expect, simulated));
    found
}

/// What the journal says about the end, and about shares on the way.
#[derive(Debug, Default)]
struct Facts {
    start: Option<Timestamp>,
    /// The newest decision that stopped the run: where, when, why.
    stopped: Option<Stopped>,
    finished: Option<Timestamp>,
    /// The first order that brought a candidate into a region.
    opened: BTreeMap<RegionId, Timestamp>,
    /// The highest share that was ordered, and when first.
    highest: BTreeMap<RegionId, (Share, Timestamp)>,
}

#[derive(Clone, Debug)]
struct Stopped {
    node: Option<NodeId>,
    at: Timestamp,
    cause: String,
}

impl Facts {
    fn of(simulated: &Simulated) -> Facts {
        let mut facts = Facts {
            start: simulated.entries.first().map(|entry| entry.at),
            ..Facts::default()
        };
        let gate_cause = |gate: &Option<GateId>, why: &str| match gate {
            Some(gate) => format!("gate/{}: {why}", simulated.run.plan().gate(*gate).0),
            None => why.to_owned(),
        };
        for event in simulated.entries.iter().flat_map(|entry| &entry.events) {
            match event {
                Event::Ordered { region, state, at, .. } => facts.ordered(*region, state, *at),
                Event::RollbackDecided { node, cause, at, .. } => {
                    facts.stopped = Some(Stopped {
                        node: *node,
                        at: *at,
                        cause: cause.clone(),
                    });
                }
                Event::Held {
                    node, gate, why, at, ..
                }
                | Event::Asked { node, gate, why, at } => {
                    facts.stopped = Some(Stopped {
                        node: Some(*node),
                        at: *at,
                        cause: gate_cause(gate, why),
                    });
                }
                Event::Recovered { node, .. } | Event::Answered { node, .. } => {
                    let has_gone_on = facts
                        .stopped
                        .as_ref()
                        .is_some_and(|stopped| stopped.node == Some(*node));
                    if has_gone_on {
                        facts.stopped = None;
                    }
                }
                Event::Retried { .. } => facts.stopped = None,
                // What stopped the run before is the cause; this says that it stays stopped.
                Event::AttentionNeeded { reason, at, .. } if facts.stopped.is_none() => {
                    facts.stopped = Some(Stopped {
                        node: None,
                        at: *at,
                        cause: reason.clone(),
                    });
                }
                Event::Finished { ending, cause, at } => {
                    facts.finished = Some(*at);
                    // What held a run that was promoted all the same has not stopped it.
                    if facts.stopped.is_none() || *ending == Ending::Promoted {
                        facts.stopped = Some(Stopped {
                            node: None,
                            at: *at,
                            cause: cause.clone(),
                        });
                    }
                }
                _ => {}
            }
        }
        facts
    }

    fn ordered(&mut self, region: RegionId, state: &DesiredState, at: Timestamp) {
        if matches!(state, DesiredState::Serving(_)) {
            self.opened.entry(region).or_insert(at);
        }
        let share = state.share();
        let highest = self.highest.entry(region).or_insert((Share::ZERO, at));
        if share > highest.0 {
            *highest = (share, at);
        }
    }
}

/// Whole seconds: nobody reads the rest.
fn seconds(length: Duration) -> Duration {
    Duration::from_secs((length.as_millis() + 500) / 1_000)
}

fn shortfall(expected: impl Into<String>, happened: impl Into<String>) -> Option<Shortfall> {
    Some(Shortfall {
        expected: expected.into(),
        happened: happened.into(),
    })
}

/// How the run stands in the end, in the word of lists and exit codes; none while it goes on.
pub fn ended(simulated: &Simulated) -> Option<Outcome> {
    let word = outcome(&simulated.run);
    Outcome::ALL.into_iter().find(|outcome| outcome.word() == word)
}

fn of_outcome(expect: &Expectation, simulated: &Simulated, facts: &Facts) -> Option<Shortfall> {
    if ended(simulated) == Some(expect.outcome) {
        return None;
    }
    let word = outcome(&simulated.run);
    let because = match &simulated.run.state().standing {
        Standing::Attention { reason, .. } => Some(reason.clone()),
        Standing::Submitted | Standing::Running | Standing::RollingBack | Standing::Finished { .. } => {
            facts.stopped.as_ref().map(|stopped| stopped.cause.clone())
        }
    };
    let when = match simulated.end {
        End::Finished => String::new(),
        End::WaitsForPeople => format!(", waiting for people after {}", seconds(simulated.length())),
        End::TooLong => format!(
            ", still going on after {}; `until` in the scenario follows it longer",
            seconds(simulated.length())
        ),
    };
    let because = because.map(|because| format!(" ({because})")).unwrap_or_default();
    shortfall(
        format!("the outcome `{}`", expect.outcome.word()),
        format!("`{word}`{because}{when}"),
    )
}

fn of_cause(expect: &Expectation, facts: &Facts) -> Option<Shortfall> {
    let cause = expect.cause.as_ref()?;
    let expected = format!("the cause `{}`", cause.0);
    match &facts.stopped {
        Some(stopped) if cause.begins(&stopped.cause) => None,
        Some(stopped) => shortfall(expected, format!("the cause was `{}`", stopped.cause)),
        None => shortfall(expected, "nothing stopped the run"),
    }
}

/// `us-west-2/25%`, or the whole key of what is no stage.
fn named(plan: &Plan, node: NodeId) -> String {
    let of = plan.node(node);
    match (&of.kind, of.region) {
        (NodeKind::Stage { .. }, Some(region)) => format!("{}/{}", plan.region(region).0, stage_name(plan, node)),
        _ => of.key.clone(),
    }
}

fn shown(plan: &Plan, of: Whereabouts) -> String {
    match of {
        Whereabouts::Region(region) => plan.region(region).0.to_owned(),
        Whereabouts::Node(node) => named(plan, node),
    }
}

fn is_in(plan: &Plan, node: NodeId, of: Whereabouts) -> bool {
    match of {
        Whereabouts::Region(region) => plan.node(node).region == Some(region),
        Whereabouts::Node(other) => node == other,
    }
}

fn of_place(expect: &Expectation, plan: &Plan, facts: &Facts) -> Option<Shortfall> {
    let at = expect.at?;
    let expected = format!("to end at `{}`", shown(plan, at));
    match facts.stopped.as_ref().and_then(|stopped| stopped.node) {
        Some(node) if is_in(plan, node, at) => None,
        Some(node) => shortfall(expected, format!("it ended at `{}`", named(plan, node))),
        None => shortfall(expected, "no stage or region stopped the run"),
    }
}

fn of_time(expect: &Expectation, plan: &Plan, simulated: &Simulated, facts: &Facts) -> Vec<Shortfall> {
    let start = facts.start.unwrap_or(simulated.ended_at);
    let mut found = Vec::new();
    if let Some(within) = expect.within {
        let stopped = facts.stopped.as_ref();
        let region = stopped
            .and_then(|stopped| stopped.node)
            .and_then(|node| plan.node(node).region);
        let opened = region.and_then(|region| facts.opened.get(&region).copied().zip(Some(region)));
        let (since, of) = match opened {
            Some((opened, region)) => (opened, format!("of its start in {}", plan.region(region).0)),
            None => (start, "of the start".to_owned()),
        };
        let took = Duration::between(since, stopped.map_or(simulated.ended_at, |stopped| stopped.at));
        if took > within {
            found.extend(shortfall(
                format!("a decision within {within} {of}"),
                format!("it took {}", seconds(took)),
            ));
        }
    }
    if let Some(ends_within) = expect.ends_within {
        let took = Duration::between(start, facts.finished.unwrap_or(simulated.ended_at));
        let expected = format!("to end within {ends_within} of the start");
        if facts.finished.is_none() {
            found.extend(shortfall(expected, format!("it had not ended after {}", seconds(took))));
        } else if took > ends_within {
            found.extend(shortfall(expected, format!("it took {}", seconds(took))));
        }
    }
    found
}

fn of_shares(expect: &Expectation, plan: &Plan, facts: &Facts) -> Vec<Shortfall> {
    let above = expect.never_above.iter().filter_map(|(region, most)| {
        let (highest, at) = facts.highest.get(region).filter(|(highest, _)| highest > most)?;
        let name = plan.region(*region).0;
        let after = Duration::between(facts.start.unwrap_or(*at), *at);
        shortfall(
            format!("`{name}` never above {most}"),
            format!("the candidate was given {highest} there after {}", seconds(after)),
        )
    });
    above.collect()
}

fn of_order(expect: &Expectation, plan: &Plan, simulated: &Simulated) -> Option<Shortfall> {
    let start = simulated.entries.first().map(|entry| entry.at)?;
    let events: Vec<(&Event, Timestamp)> = simulated
        .entries
        .iter()
        .flat_map(|entry| entry.events.iter().map(|event| (event, entry.at)))
        .collect();
    let mut position = 0;
    let mut before: Option<&Happening> = None;
    for wanted in &expect.order {
        let is_it = |(event, _): &(&Event, Timestamp)| is_told_by(wanted, event, plan);
        match events[position..].iter().position(is_it) {
            Some(offset) => position += offset + 1,
            None => {
                let after = before
                    .map(|before| format!(" after `{}`", phrase(plan, before)))
                    .unwrap_or_default();
                let happened = match events.iter().find(|told| is_it(told)) {
                    Some((_, at)) => format!(
                        "it happened before that, after {}",
                        seconds(Duration::between(start, *at))
                    ),
                    None => "it did not happen".to_owned(),
                };
                return shortfall(format!("`{}`{after}", phrase(plan, wanted)), happened);
            }
        }
        before = Some(wanted);
    }
    None
}

fn phrase(plan: &Plan, happening: &Happening) -> String {
    format!("{}: {}", happening.word.key(), shown(plan, happening.of))
}

fn is_told_by(wanted: &Happening, event: &Event, plan: &Plan) -> bool {
    let of_node = |node: &NodeId| is_in(plan, *node, wanted.of);
    let of_region = |region: &RegionId| wanted.of == Whereabouts::Region(*region);
    // A region has passed when its last node has; a stage of it alone would be too early.
    let is_last = |node: &NodeId| {
        matches!(wanted.of, Whereabouts::Node(_)) || matches!(plan.node(*node).kind, NodeKind::Close { .. })
    };
    match (wanted.word, event) {
        (HappeningWord::Started, Event::NodeStarted { node, .. })
        | (HappeningWord::Skipped, Event::NodeSkipped { node, .. })
        | (HappeningWord::Failed, Event::NodeFailed { node, .. })
        | (HappeningWord::Held, Event::Held { node, .. })
        | (HappeningWord::Recovered, Event::Recovered { node, .. })
        | (HappeningWord::Asked, Event::Asked { node, .. } | Event::ApprovalAsked { node, .. }) => of_node(node),
        (HappeningWord::Failed, Event::RollbackDecided { node: Some(node), .. }) => of_node(node),
        (HappeningWord::Passed, Event::NodePassed { node, .. }) => of_node(node) && is_last(node),
        (HappeningWord::Promoted, Event::NodePassed { node, .. }) => {
            of_node(node) && matches!(plan.node(*node).kind, NodeKind::Close { last: true })
        }
        (HappeningWord::RolledBack, Event::RegionReverted { region, .. }) => of_region(region),
        _ => false,
    }
}

fn of_messages(expect: &Expectation, story: &[String]) -> Vec<Shortfall> {
    let missing = expect
        .messages
        .iter()
        .filter(|text| !story.iter().any(|line| line.contains(*text)));
    missing
        .filter_map(|text| shortfall(format!("a line of the story with `{text}`"), "none has it"))
        .collect()
}

fn of_regions(expect: &Expectation, simulated: &Simulated) -> Vec<Shortfall> {
    let run = &simulated.run;
    let of = |wanted: &Option<Vec<RegionId>>, life: RegionLife, word: &str| {
        let mut wanted = wanted.clone()?;
        wanted.sort_unstable();
        wanted.dedup();
        let found: Vec<RegionId> = run
            .plan()
            .region_ids()
            .filter(|region| run.region(*region).life == life)
            .collect();
        if wanted == found {
            return None;
        }
        shortfall(
            format!("exactly {} {word} in the end", listed(run, &wanted)),
            format!("{word}: {}", listed(run, &found)),
        )
    };
    let promoted = of(&expect.promoted, RegionLife::Promoted, "promoted");
    let rolled_back = of(&expect.rolled_back, RegionLife::RolledBack, "rolled back");
    promoted.into_iter().chain(rolled_back).collect()
}

fn listed(run: &Run, regions: &[RegionId]) -> String {
    if regions.is_empty() {
        return "no region".to_owned();
    }
    let names: Vec<&str> = regions.iter().map(|region| run.plan().region(*region).0).collect();
    names.join(", ")
}
