//! Many worlds of one plan: each draws its faults, its people and its noise from a seed of its own.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{NodeId, NodeKind, Plan, RegionId};
use meridian_workflows::scenario::{Call, Fault as PlatformFault, Spot, Trouble};
use meridian_workflows::share::Share;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::script::{Fault, FaultKind, People, Script};
use super::simulate::Simulated;
use crate::run::effect::DesiredState;
use crate::run::event::Event;
use crate::run::standing::outcome;

/// What worlds are drawn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Odds {
    /// How many of them have a fault, of a hundred hundredths.
    pub faulty: Share,
}

/// How long people take to answer: the logarithm is drawn evenly, as waiting times are spread in life.
const ANSWERS: (f64, f64) = (60.0, 8.0 * 3_600.0);
/// Worlds in which nobody ever answers.
const SILENT: f64 = 0.02;
/// Worlds in which the engine keeps losing its memory.
const CRASHING: f64 = 0.1;
/// The widest noise around a healthy number.
const NOISE_MAX: f64 = 0.3;
/// How long platforms fail, at least and at most, in seconds.
const OUTAGE: (f64, f64) = (60.0, 3_600.0);

/// The script of one world; equal seeds draw equal ones.
pub fn draw(plan: &Plan, odds: Odds, seed: u64) -> Script {
    // Another stream than the simulation's own, so that what is drawn here does not shift what is drawn there.
    let mut rng = StdRng::seed_from_u64(seed ^ 0x5ce0_a210_0000_0001);
    let chance = |rng: &mut StdRng, odds: f64| rng.random_range(0.0..1.0) < odds;
    let approve_after = (!chance(&mut rng, SILENT)).then(|| spread(&mut rng, ANSWERS));
    let noise = rng.random_range(0.0..NOISE_MAX);
    let crash_every = chance(&mut rng, CRASHING).then(|| rng.random_range(20..400));
    let mut script = Script {
        people: People {
            approve_after,
            reject: Vec::new(),
        },
        crash_every,
        noise,
        ..Script::default()
    };
    if chance(&mut rng, odds.faulty.fraction()) {
        fault(plan, &mut rng, &mut script);
    }
    script
}

fn spread(rng: &mut StdRng, (least, most): (f64, f64)) -> Duration {
    let seconds = rng.random_range(least.ln()..most.ln()).exp();
    Duration::from_secs(seconds as u64)
}

/// One stage is hit: mostly the candidate is bad, sometimes the platform.
fn fault(plan: &Plan, rng: &mut StdRng, script: &mut Script) {
    let stages: Vec<(NodeId, RegionId)> = plan
        .nodes()
        .filter(|(_, node)| matches!(node.kind, NodeKind::Stage { .. }))
        .filter_map(|(id, node)| Some((id, node.region?)))
        .collect();
    if stages.is_empty() {
        return;
    }
    let (node, region) = stages[rng.random_range(0..stages.len())];
    match rng.random_range(0..100) {
        0..60 => script.faults.push(Fault {
            node,
            kind: FaultKind::Breach,
        }),
        60..80 => script.faults.push(Fault {
            node,
            kind: FaultKind::Stuck,
        }),
        _ => script.world.faults.push(PlatformFault {
            region,
            at: Some(Spot::Stage(node)),
            call: Call::Ensure,
            trouble: Trouble::Fails,
            lasting: Some(spread(rng, OUTAGE)),
        }),
    }
}

/// What became of one world.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub seed: u64,
    /// The word of lists and exit codes; `running` where it was followed for too long.
    pub outcome: &'static str,
    /// What stopped it, as in `gate/error-rate`; none where nothing did.
    pub cause: Option<String>,
    pub length: Duration,
    /// The most of the world's traffic that met the candidate, in percent; none where regions do not tell their part.
    pub exposure_max: Option<f64>,
    /// Hours of the whole world's traffic that the candidate served until it was taken back; none for the same reason.
    pub traffic_hours: Option<f64>,
}

/// What is remembered of a simulated run.
pub fn told(seed: u64, simulated: &Simulated) -> Told {
    let exposure = Exposure::of(simulated);
    let mut causes = simulated
        .entries
        .iter()
        .flat_map(|entry| &entry.events)
        .filter_map(|event| match event {
            Event::RollbackDecided { cause, .. } => Some(cause),
            _ => None,
        });
    Told {
        seed,
        outcome: outcome(&simulated.run),
        cause: causes.next_back().map(|cause| kind(cause)),
        length: simulated.length(),
        exposure_max: exposure.as_ref().map(|exposure| exposure.most),
        traffic_hours: exposure.map(|exposure| exposure.hours),
    }
}

/// The part of a cause that says what it was, without what it read: `gate/error-rate`, `stuck`.
fn kind(cause: &str) -> String {
    let head = cause.split([':', ' ']).next().unwrap_or(cause);
    match head.split_once('/') {
        Some(("gate", _)) | None => head.to_owned(),
        Some((kind, _)) => kind.to_owned(),
    }
}

/// The candidate's part of the world's traffic over time: it rises when a rise is ordered, and falls when the fall is read
/// back, so that it is never shown smaller than it was.
struct Exposure {
    /// By region, in percent of the world, and what the region's part is.
    now: Vec<(f64, f64)>,
    at: Timestamp,
    most: f64,
    hours: f64,
}

impl Exposure {
    /// None while a region does not tell its part of the world's traffic.
    fn of(simulated: &Simulated) -> Option<Exposure> {
        let plan = simulated.run.plan();
        let parts: Option<Vec<(f64, f64)>> = plan
            .region_ids()
            .map(|region| Some((0.0, plan.region(region).1.global_traffic?.fraction() * 100.0)))
            .collect();
        let mut exposure = Exposure {
            now: parts?,
            at: simulated.entries.first()?.at,
            most: 0.0,
            hours: 0.0,
        };
        for entry in &simulated.entries {
            for event in &entry.events {
                match event {
                    Event::Ordered { region, state, at, .. } => {
                        let share = state.share();
                        let falls = matches!(state, DesiredState::Reverted | DesiredState::Withdrawn);
                        if !falls {
                            exposure.changes(*region, share, *at);
                        }
                    }
                    Event::RegionReverted { region, at, .. } => exposure.changes(*region, Share::ZERO, *at),
                    _ => {}
                }
            }
        }
        exposure.goes_on(simulated.ended_at);
        Some(exposure)
    }

    fn total(&self) -> f64 {
        self.now.iter().map(|(now, _)| now).sum()
    }

    fn goes_on(&mut self, until: Timestamp) {
        self.hours += self.total() / 100.0 * Duration::between(self.at, until).as_secs_f64() / 3_600.0;
        self.at = until;
    }

    fn changes(&mut self, region: RegionId, share: Share, at: Timestamp) {
        self.goes_on(at);
        if let Some((now, part)) = self.now.get_mut(region.0 as usize) {
            *now = *part * share.fraction();
        }
        self.most = self.most.max(self.total());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use meridian_workflows::plan::Plan;
    use meridian_workflows::plan::compile::compile;
    use meridian_workflows::share::Share;

    use super::{Odds, Told, draw, kind, told};
    use crate::run::story::{watched, workflow};
    use crate::simulation::simulate::simulate;

    fn plan() -> Arc<Plan> {
        let mut workflow = watched(workflow(
            &[("small", &["west"]), ("large", &["east"])],
            &["10%", "100%"],
        ));
        workflow.regions["west"].global_traffic = Some(Share::percent(20).unwrap());
        workflow.regions["east"].global_traffic = Some(Share::percent(80).unwrap());
        Arc::new(compile(workflow))
    }

    fn worlds(faulty: u16) -> Vec<Told> {
        let plan = plan();
        let odds = Odds {
            faulty: Share::percent(faulty).unwrap(),
        };
        let start = "2026-03-02T10:00:00Z".parse().unwrap();
        let one = |seed| told(seed, &simulate(&plan, &draw(&plan, odds, seed), seed, start).unwrap());
        (1..=60).map(one).collect()
    }

    #[test]
    fn worlds_without_faults_are_promoted_and_meet_everything() {
        for told in worlds(0) {
            assert_eq!(told.outcome, "promoted", "{told:?}");
            assert_eq!(told.exposure_max.map(f64::round), Some(100.0));
            assert_eq!(told.cause, None);
        }
    }

    #[test]
    fn faulty_worlds_end_in_many_ways_and_equal_seeds_in_equal_ones() {
        let first = worlds(100);
        assert_eq!(first, worlds(100));
        let outcomes = |word: &str| first.iter().filter(|told| told.outcome == word).count();
        assert!(outcomes("rolled-back") > 30 && outcomes("promoted") > 3, "{first:#?}");
        let causes: std::collections::BTreeSet<_> = first.iter().filter_map(|told| told.cause.as_deref()).collect();
        assert!(
            causes.contains("gate/error-rate") && causes.contains("stuck"),
            "{causes:?}"
        );
        let small = first
            .iter()
            .filter(|told| told.exposure_max.is_some_and(|most| most <= 20.0))
            .count();
        assert!(
            small > 10,
            "a fault in the small region meets a fifth of the world at most"
        );
    }

    #[test]
    fn a_cause_is_told_without_what_it_read() {
        assert_eq!(kind("gate/error-rate: candidate 3 %"), "gate/error-rate");
        assert_eq!(kind("stuck/stage:all/west/10%: no image"), "stuck");
        assert_eq!(kind("abort by ben"), "abort");
    }
}
