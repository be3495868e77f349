//! What a scenario's world shows at an instant: which row applies, and how long its clock has run.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{GateId, NodeId, Plan, RegionId};
use meridian_workflows::scenario::{Curve, Holder, Reach, ReplyKind, World};
use meridian_workflows::share::Share;

use super::curve::{self, Arm, Draw};
use crate::run::effect::DesiredState;
use crate::run::entry::Entry;
use crate::run::event::Event;

/// A scripted world with the instants that its clocks begin at.
#[derive(Clone, Debug)]
pub struct Scene<'a> {
    world: &'a World,
    seed: u64,
    start: Timestamp,
    candidates: BTreeMap<RegionId, Candidate>,
    /// When each node first asked each gate that answers with yes or no.
    first_asked: BTreeMap<(NodeId, GateId), Timestamp>,
}

/// A candidate that stands in a region.
#[derive(Clone, Debug)]
struct Candidate {
    since: Timestamp,
    /// Shares as they were reached.
    shares: Vec<(Timestamp, Share)>,
}

impl<'a> Scene<'a> {
    pub fn new(world: &'a World, seed: u64, start: Timestamp) -> Scene<'a> {
        Scene {
            world,
            seed,
            start,
            candidates: BTreeMap::new(),
            first_asked: BTreeMap::new(),
        }
    }

    /// The other run that holds a lock now.
    pub fn lock_holder(&self, name: &str, now: Timestamp) -> Option<&'a str> {
        let holders = self.world.locks.get(name)?;
        let holds = |holder: &&Holder| {
            let from = holder.after.after(self.start);
            from <= now && holder.lasting.is_none_or(|lasting| now < lasting.after(from))
        };
        holders.iter().find(holds).map(|holder| holder.by.as_str())
    }

    /// Takes notice of candidates that start and go, and of shares that are reached.
    pub fn record(&mut self, plan: &Plan, entry: &Entry) {
        for event in &entry.events {
            match event {
                Event::Ordered {
                    region,
                    state: DesiredState::Serving(_),
                    at,
                    ..
                } => {
                    self.candidates.entry(*region).or_insert_with(|| Candidate {
                        since: *at,
                        shares: Vec::new(),
                    });
                }
                Event::Converged { node, at } => {
                    let of = plan.node(*node);
                    let reached = of.region.zip(of.traffic());
                    if let Some((region, share)) = reached
                        && let Some(candidate) = self.candidates.get_mut(&region)
                    {
                        candidate.shares.push((*at, share));
                    }
                }
                Event::RegionReverted { region, at, .. } => {
                    if let Some(candidate) = self.candidates.get_mut(region) {
                        candidate.shares.push((*at, Share::ZERO));
                    }
                }
                Event::RegionWithdrawn { region, .. } => {
                    self.candidates.remove(region);
                }
                _ => {}
            }
        }
    }

    /// What the script says about a metric's number at an instant; none where it says nothing, `Some(None)` for no data.
    pub fn value(&self, metric: &str, region: Option<RegionId>, arm: Arm, at: Timestamp) -> Option<Option<f64>> {
        let rows = self.world.metrics.get(metric)?;
        let said = rows.iter().rev().find_map(|row| {
            let curve = match arm {
                Arm::Candidate => row.candidate.as_ref(),
                Arm::Baseline => row.baseline.as_ref(),
                Arm::Samples => row.samples.as_ref(),
            }?;
            Some((curve, self.clock(&row.reach, region, arm, at)?))
        });
        let (curve, since): (&Curve, Duration) = said?;
        let draw = Draw {
            seed: self.seed,
            metric,
            region,
            arm,
        };
        Some(curve::value(curve, since, draw))
    }

    /// The same at each step from `from` to `to`, both included: what a range query answers. None where the script says
    /// nothing about the metric's arm at any of them; instants without a word or without data are left out.
    pub fn values(
        &self,
        metric: &str,
        region: Option<RegionId>,
        arm: Arm,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> Option<Vec<(Timestamp, f64)>> {
        let mut is_said = false;
        let mut series = Vec::new();
        for at in instants(from, to, step) {
            let said = self.value(metric, region, arm, at);
            is_said |= said.is_some();
            series.extend(said.flatten().map(|value| (at, value)));
        }
        is_said.then_some(series)
    }

    /// How long a row's clock has run; none where the row does not apply.
    fn clock(&self, reach: &Reach, region: Option<RegionId>, arm: Arm, at: Timestamp) -> Option<Duration> {
        let begun = self.begun(reach, region, at)?;
        Some(match arm {
            Arm::Candidate | Arm::Samples => Duration::between(begun, at),
            Arm::Baseline => Duration::between(self.start, at),
        })
    }

    /// Since when a row applies to a region's candidate; none where it does not.
    fn begun(&self, reach: &Reach, region: Option<RegionId>, at: Timestamp) -> Option<Timestamp> {
        if let Some(regions) = &reach.regions
            && !region.is_some_and(|region| regions.contains(&region))
        {
            return None;
        }
        let candidate = region.and_then(|region| self.candidates.get(&region));
        let Some(from) = reach.from else {
            return Some(candidate.map_or(self.start, |candidate| candidate.since));
        };
        let mut since = None;
        for (reached, share) in candidate?.shares.iter().filter(|(reached, _)| *reached <= at) {
            if *share >= from {
                since.get_or_insert(*reached);
            } else {
                since = None;
            }
        }
        since
    }

    /// What a service or program answers; none where the script says nothing.
    pub fn reply(&mut self, gate: GateId, node: NodeId, region: Option<RegionId>, now: Timestamp) -> Option<ReplyKind> {
        let rows = self.world.gates.get(&gate)?;
        let first = *self.first_asked.entry((node, gate)).or_insert(now);
        let asked_for = Duration::between(first, now);
        let applies = |reach: &Reach| self.begun(reach, region, now).is_some();
        let row = rows
            .iter()
            .rev()
            .find(|row| row.after <= asked_for && applies(&row.reach));
        row.map(|row| row.answer)
    }
}

/// Readings of one range: a day in steps of half a minute is a third of this, and a mistaken step must end somewhere.
const INSTANTS_MAX: usize = 10_000;

fn instants(from: Timestamp, to: Timestamp, step: Duration) -> impl Iterator<Item = Timestamp> {
    let step = step.max(Duration::from_millis(1));
    std::iter::successors(Some(from), move |at| Some(step.after(*at)))
        .take_while(move |at| *at <= to)
        .take(INSTANTS_MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use meridian_workflows::duration::Duration;
    use meridian_workflows::plan::RegionId;
    use meridian_workflows::scenario::{Course, Curve, Reach, World};
    use meridian_workflows::share::Share;

    use super::{Arm, Candidate, Scene};

    const WEST: Option<RegionId> = Some(RegionId(0));
    const EAST: Option<RegionId> = Some(RegionId(1));

    fn instant(minutes: u64) -> Timestamp {
        Duration::from_secs(minutes * 60).after("2026-03-02T10:00:00Z".parse().unwrap())
    }

    fn world() -> World {
        let ramp = Curve::Ramp {
            from: 100.0,
            by: 1.0,
            per: Duration::from_secs(60),
            until: None,
        };
        let everywhere = Course {
            candidate: Some(ramp.clone()),
            baseline: Some(ramp),
            ..Course::default()
        };
        let worse = Course {
            candidate: Some(Curve::Constant(Some(900.0))),
            reach: Reach {
                regions: Some(vec![RegionId(0)]),
                from: Some(Share::percent(25).unwrap()),
            },
            ..Course::default()
        };
        World {
            metrics: BTreeMap::from([("memory".to_owned(), vec![everywhere, worse])]),
            ..World::default()
        }
    }

    fn scene(world: &World) -> Scene<'_> {
        let mut scene = Scene::new(world, 1, instant(0));
        let candidate = |shares: &[(u64, u16)]| Candidate {
            since: instant(10),
            shares: shares
                .iter()
                .map(|(at, share)| (instant(*at), Share::percent(*share).unwrap()))
                .collect(),
        };
        scene
            .candidates
            .insert(RegionId(0), candidate(&[(12, 10), (20, 25), (30, 0)]));
        scene.candidates.insert(RegionId(1), candidate(&[(12, 10), (20, 25)]));
        scene
    }

    #[test]
    fn the_candidate_s_clock_begins_with_the_candidate_and_the_baseline_s_with_the_run() {
        let world = world();
        let scene = scene(&world);
        assert_eq!(
            scene.value("memory", EAST, Arm::Candidate, instant(15)),
            Some(Some(105.0))
        );
        assert_eq!(
            scene.value("memory", EAST, Arm::Baseline, instant(15)),
            Some(Some(115.0))
        );
        assert_eq!(scene.value("memory", EAST, Arm::Samples, instant(15)), None);
        assert_eq!(scene.value("latency", EAST, Arm::Candidate, instant(15)), None);
    }

    #[test]
    fn the_last_row_that_applies_counts_where_and_from_when_it_says() {
        let world = world();
        let scene = scene(&world);
        let candidate = |region, minutes| {
            scene
                .value("memory", region, Arm::Candidate, instant(minutes))
                .flatten()
        };
        assert_eq!(candidate(WEST, 19), Some(109.0), "at 10 %");
        assert_eq!(candidate(WEST, 20), Some(900.0), "at 25 %");
        assert_eq!(candidate(WEST, 31), Some(121.0), "taken back");
        assert_eq!(candidate(EAST, 20), Some(110.0), "another region");
    }

    #[test]
    fn a_range_has_a_point_for_each_step_that_has_data() {
        let world = world();
        let scene = scene(&world);
        let step = Duration::from_secs(60);
        let series = scene.values("memory", EAST, Arm::Candidate, instant(11), instant(13), step);
        let expected = vec![(instant(11), 101.0), (instant(12), 102.0), (instant(13), 103.0)];
        assert_eq!(series, Some(expected));
        assert_eq!(
            scene.values("cpu", EAST, Arm::Candidate, instant(11), instant(13), step),
            None
        );
    }
}
