//! What the journal alone says about time and order, worked out anew: the counted time of bakes by brute force over all
//! stretches, and the promises about regions and people that need no knowledge of how the core decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use meridian_engine::run::effect::Place;
use meridian_engine::run::event::Event;
use meridian_engine::run::reading::Answer;
use meridian_engine::run::state::{Life, RegionLife, Run, Standing};
use meridian_engine::run::verdict::{Level, Verdict};
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{GateId, NodeId, Plan, RegionId};
use meridian_workflows::workflow::{GateKind, Policy, Scope};

/// The bakes of one journal.
pub struct Oracle {
    plan: Arc<Plan>,
    bakes: BTreeMap<NodeId, Bake>,
    /// Since when a gate's readings in a node have been bad, without a good one between.
    bad_since: BTreeMap<(NodeId, GateId), Timestamp>,
}

/// One bake: the stretches in which it ran, and what was read meanwhile.
#[derive(Default)]
struct Bake {
    /// When it began to run, and the stretches before that: from, to.
    runs_since: Option<Timestamp>,
    ran: Vec<(Timestamp, Timestamp)>,
    /// Per watch gate: the instants of its readings, and whether each lets the bake count.
    readings: BTreeMap<GateId, Vec<(Timestamp, bool)>>,
    /// Gates that no longer act, from that instant on.
    silenced: BTreeMap<GateId, Timestamp>,
}

impl Oracle {
    pub fn new(plan: Arc<Plan>) -> Oracle {
        Oracle {
            plan,
            bakes: BTreeMap::new(),
            bad_since: BTreeMap::new(),
        }
    }

    /// *Errors*: what the core has counted is not what the journal tells.
    pub fn event(&mut self, before: &Run, event: &Event, after: &Run, at: Timestamp) -> Result<(), String> {
        self.readings(event)?;
        self.regions_at_once(event, after)?;
        scopes(&self.plan, before, event)?;
        people(&self.plan, before, event, after)?;
        self.bakes(before, event, after, at)
    }

    /// Enough samples for a pass; a breach acts only once it has lasted.
    fn readings(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::GateRead {
                node,
                gate,
                reading,
                judgement,
                at,
                ..
            } => {
                let (name, definition) = self.plan.gate(*gate);
                if let (GateKind::Metric(metric), Answer::Metric { candidate, .. }) =
                    (&definition.kind, &reading.answer)
                    && let Some(samples_min) = metric.min_samples
                    && judgement.is_pass()
                    && !candidate.samples.is_some_and(|samples| samples >= samples_min as f64)
                {
                    return Err(format!("6: {name} passes with too few samples"));
                }
                if judgement.policy().is_some_and(|policy| policy > Policy::Advance) {
                    self.bad_since.entry((*node, *gate)).or_insert(*at);
                } else {
                    self.bad_since.remove(&(*node, *gate));
                }
            }
            Event::Held {
                node,
                gate: Some(gate),
                at,
                ..
            }
            | Event::Asked {
                node,
                gate: Some(gate),
                at,
                ..
            } => {
                let (name, definition) = self.plan.gate(*gate);
                let lasted = self
                    .bad_since
                    .get(&(*node, *gate))
                    .map(|since| Duration::between(*since, *at));
                let is_read =
                    !definition.kind.is_judged_in_the_core() && !matches!(definition.kind, GateKind::NotYet { .. });
                if is_read && lasted.is_none_or(|lasted| lasted < definition.breached_for) {
                    return Err(format!(
                        "6: {name} acts before its breach has lasted for {}",
                        definition.breached_for
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn regions_at_once(&self, event: &Event, after: &Run) -> Result<(), String> {
        let Event::NodeStarted { node, .. } = event else {
            return Ok(());
        };
        let phase = self.plan.node(*node).phase;
        let most = self.plan.phase(phase).max_parallel as usize;
        if after.active_regions(phase) > most {
            return Err(format!("1: more than {most} regions of phase {} at once", phase.0));
        }
        Ok(())
    }

    fn bakes(&mut self, before: &Run, event: &Event, after: &Run, at: Timestamp) -> Result<(), String> {
        match event {
            Event::GateRead {
                node,
                place: Place::Watch,
                gate,
                judgement,
                ..
            } => {
                let counts = match judgement.level() {
                    Level::Pass | Level::Pending => true,
                    Level::NoData | Level::Inconclusive | Level::Error => judgement.policy() == Some(Policy::Advance),
                    Level::Fail => false,
                };
                let bake = self.bakes.entry(*node).or_default();
                bake.readings.entry(*gate).or_default().push((at, counts));
            }
            Event::GateSkipped {
                node,
                place: Place::Watch,
                gate,
                ..
            } => {
                self.bakes.entry(*node).or_default().silenced.entry(*gate).or_insert(at);
            }
            Event::Retried { nodes, .. } => {
                self.bakes.retain(|node, _| !nodes.contains(node));
                self.bad_since.retain(|(node, _), _| !nodes.contains(node));
            }
            _ => {}
        }
        let jump = match event {
            Event::ClockJumped { from, to } => Some((*from, *to)),
            _ => None,
        };
        for (id, node) in self.plan.clone().nodes() {
            let state = after.node(id);
            let freeze = after.state().pause.is_some_and(|pause| pause.freeze_bake);
            let runs = state.life == Life::Baking && state.hold.is_none() && state.question.is_none() && !freeze;
            if !runs && !self.bakes.contains_key(&id) {
                continue;
            }
            let bake = self.bakes.entry(id).or_default();
            match (runs, bake.runs_since, jump) {
                (true, None, _) => bake.runs_since = Some(at),
                (false, Some(since), _) => {
                    bake.ran.push((since, at));
                    bake.runs_since = None;
                }
                (true, Some(since), Some((from, to))) => {
                    bake.ran.push((since, from.max(since)));
                    bake.runs_since = Some(to.max(from));
                }
                (true, Some(_), None) | (false, None, _) => {}
            }
            if let Event::BakeEnded { node: ended, .. } = event
                && *ended == id
            {
                let counted = self.counted(id, before);
                let told = after.node(id).bake.counted;
                // A chain of readings that breaks takes with it what the other gates had not vouched for yet: at most a
                // gap a break. Nothing else may be lost, and never may more count than was lived through.
                let lost = self.breaks(id).saturating_add(told);
                if told > counted || lost < counted {
                    return Err(format!(
                        "5: the bake of {} has counted {told}; its journal tells of {counted} (it needs {})",
                        node.key, node.bake
                    ));
                }
            }
        }
        Ok(())
    }

    /// The time that counts: inside the stretches that ran, covered by every acting gate's chain of good readings.
    fn counted(&self, id: NodeId, run: &Run) -> Duration {
        let Some(bake) = self.bakes.get(&id) else {
            return Duration::ZERO;
        };
        let gates: Vec<GateId> = run
            .node(id)
            .gates_at(Place::Watch)
            .map(|slot| slot.gate)
            .filter(|gate| !self.plan.gate(*gate).1.dry_run && !run.is_left_out(id, *gate))
            .collect();
        let mut total = Duration::ZERO;
        for (from, to) in &bake.ran {
            let covers: Vec<Vec<(Timestamp, Timestamp)>> =
                gates.iter().map(|gate| self.covered(bake, *gate, *from, *to)).collect();
            // Every boundary cuts the stretch into pieces that are covered whole or not at all.
            let mut cuts: Vec<Timestamp> = covers.iter().flatten().flat_map(|(from, to)| [*from, *to]).collect();
            cuts.extend([*from, *to]);
            cuts.sort_unstable();
            cuts.dedup();
            for piece in cuts.windows(2) {
                let is_covered = |cover: &Vec<(Timestamp, Timestamp)>| {
                    cover.iter().any(|(from, to)| *from <= piece[0] && piece[1] <= *to)
                };
                if covers.iter().all(is_covered) {
                    total = total.saturating_add(Duration::between(piece[0], piece[1]));
                }
            }
        }
        total
    }

    /// The most that broken chains can have lost.
    fn breaks(&self, id: NodeId) -> Duration {
        let Some(bake) = self.bakes.get(&id) else {
            return Duration::ZERO;
        };
        let gap_max = |gate: &GateId| self.plan.gate(*gate).1.every.saturating_mul(2);
        let longest = bake.readings.keys().map(gap_max).max().unwrap_or_default();
        let breaks = bake.readings.iter().map(|(gate, readings)| {
            let bad = readings.iter().filter(|(_, good)| !good).count();
            let gaps = readings
                .windows(2)
                .filter(|pair| Duration::between(pair[0].0, pair[1].0) > gap_max(gate))
                .count();
            (bad + gaps) as u64
        });
        longest.saturating_mul(breaks.sum::<u64>() + bake.silenced.len() as u64 + 2 * bake.ran.len() as u64)
    }

    /// The parts of a stretch that one gate's readings vouch for.
    fn covered(&self, bake: &Bake, gate: GateId, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let gap_max = self.plan.gate(gate).1.every.saturating_mul(2);
        let none = Vec::new();
        let readings = bake.readings.get(&gate).unwrap_or(&none);
        // What was read last before the stretch began says whether the gate was fine then.
        let was_fine = readings
            .iter()
            .rev()
            .find(|(at, _)| *at <= from)
            .is_none_or(|(_, good)| *good);
        let mut last_good = was_fine.then_some(from);
        let mut covered = Vec::new();
        for (at, good) in readings.iter().filter(|(at, _)| *at > from && *at <= to) {
            if let (true, Some(last)) = (*good, last_good)
                && Duration::between(last, *at) <= gap_max
            {
                covered.push((last, *at));
            }
            last_good = good.then_some(*at);
        }
        if let Some(silenced) = bake.silenced.get(&gate) {
            covered.push(((*silenced).max(from), to.max(*silenced)));
        }
        covered
    }
}

/// A rollback takes back all that its scope says; a phase tolerates what it says and no more.
fn scopes(plan: &Plan, before: &Run, event: &Event) -> Result<(), String> {
    let Event::RollbackDecided {
        scope,
        tolerated,
        node,
        regions,
        ..
    } = event
    else {
        return Ok(());
    };
    let touched = |region: &RegionId| {
        let state = before.region(*region);
        matches!(state.life, RegionLife::Open | RegionLife::Promoted) && state.order.is_some()
    };
    if *scope == Scope::Run
        && let Some(left) = plan
            .region_ids()
            .filter(touched)
            .find(|region| !regions.contains(region))
    {
        return Err(format!("3: a rollback of the run leaves {} out", plan.region(left).0));
    }
    if let (true, Some(node)) = (*tolerated, node) {
        let phase = plan.phase(plan.node(*node).phase);
        let failed = phase
            .regions
            .iter()
            .filter_map(|name| plan.find_region(name))
            .filter(|region| {
                Some(*region) != plan.node(*node).region
                    && matches!(
                        before.region(*region).life,
                        RegionLife::Reverting | RegionLife::Withdrawing | RegionLife::RolledBack
                    )
            });
        if failed.count() >= phase.max_failures as usize {
            return Err(format!(
                "4: phase {} tolerates more than {}",
                phase.name, phase.max_failures
            ));
        }
    }
    Ok(())
}

/// The starter approves only where the gate says so; a retry begins with empty evidence.
fn people(plan: &Plan, before: &Run, event: &Event, after: &Run) -> Result<(), String> {
    match event {
        Event::Approved { gate, by, .. } => {
            let is_starter = before
                .state()
                .starter
                .as_ref()
                .is_some_and(|starter| starter.name == by.name);
            match &plan.gate(*gate).1.kind {
                GateKind::Approval(approval) if is_starter && !approval.starter_may_approve => {
                    Err(format!("{} approves the run that {} started", by.name, by.name))
                }
                _ => Ok(()),
            }
        }
        Event::Retried { nodes, .. } => {
            let is_fresh = |node: &NodeId| {
                let gates = &after.node(*node).gates;
                gates
                    .iter()
                    .all(|slot| slot.last.is_none() && slot.approval.is_none() && slot.signal.is_none())
            };
            match nodes.iter().find(|node| !is_fresh(node)) {
                Some(node) => Err(format!("6: {} begins again with old evidence", plan.node(*node).key)),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// A hold ends by itself once nothing asks for it.
pub fn holds_have_reasons(run: &Run) -> Result<(), String> {
    if run.state().standing != Standing::Running {
        return Ok(());
    }
    for (id, node) in run.plan().nodes() {
        let state = run.node(id);
        let is_held = state.hold.as_ref().is_some_and(|hold| hold.gate.is_some()) && !state.life.is_over();
        if is_held && state.gates.iter().all(|slot| run.verdict_of(slot) < Verdict::Hold) {
            return Err(format!("4: {} is held for nothing", node.key));
        }
    }
    Ok(())
}
