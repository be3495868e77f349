//! Drives a run through virtual time: what is wanted is answered after a while, and time moves to the next thing that happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{GateId, NodeId, Plan, RegionId};
use meridian_workflows::scenario::{Call, Moment, ReplyKind, UpsetKind};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{Approval, GateKind};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::cloud::{Applied, Cloud};
use super::curve::{Arm, Draw};
use super::evidence::{Asked, analysed};
use super::people::{Cast, Refused};
use super::scene::Scene;
use super::script::{FaultKind, Script};
use super::telemetry::{self, Values};
use super::trouble::{Met, Troubles};
use crate::ports::provider::Fence;
use crate::run::decide::Input;
use crate::run::effect::{Arms, Ask, Effect, EffectKey, Outcome, Place, Progress};
use crate::run::entry::{Broken, Entry, Hash};
use crate::run::event::Event;
use crate::run::people::{Waiting, waiting};
use crate::run::posts::awaited;
use crate::run::reading::{Answer, OtherRun, Reading};
use crate::run::signal::{Person, Posted, Request, Signal, Skip};
use crate::run::state::{Life, Run, RunId, Standing};
use crate::run::wanted::wanted;

/// No simulated run is followed for longer than this.
pub const LENGTH_MAX: Duration = Duration::MAX;
/// Nor for more entries than this.
pub const ENTRIES_MAX: usize = 2_000_000;

/// What a simulated run left behind.
#[derive(Clone, Debug)]
pub struct Simulated {
    pub run: Run,
    pub entries: Vec<Entry>,
    /// Every order that changed the simulated cloud.
    pub applied: Vec<Applied>,
    /// Scripted people whom the run refused.
    pub refused: Vec<Refused>,
    pub ended_at: Timestamp,
    pub end: End,
}

/// Why the simulation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The run is finished, nothing is owed.
    Finished,
    /// It waits for a person, and nobody in the script will come.
    WaitsForPeople,
    /// The script's own length, [`LENGTH_MAX`] or [`ENTRIES_MAX`].
    TooLong,
}

/// Runs a plan in a scripted world. Equal arguments give equal journals.
///
/// *Errors*: only a journal that does not fold, which would be a bug.
pub fn simulate(plan: &Arc<Plan>, script: &Script, seed: u64, start: Timestamp) -> Result<Simulated, Broken> {
    let mut simulation = Simulation::new(plan.clone(), script, seed, start);
    simulation.step(Input::Submit {
        by: Person::unauthenticated(STARTER, Vec::new()),
    });
    simulation.step(Input::Own {
        owner: "simulation".to_owned(),
        epoch: 1,
    });
    let length_max = script.length_max.unwrap_or(LENGTH_MAX);
    let end = simulation.drive(length_max.after(start))?;
    let ended_at = simulation.now;
    let applied = simulation.cloud.applied().to_vec();
    Ok(Simulated {
        run: simulation.run,
        entries: simulation.entries,
        applied,
        refused: simulation.refused,
        ended_at,
        end,
    })
}

/// Who starts simulated runs; nobody who approves is called so.
const STARTER: &str = "simulation";

struct Simulation<'a> {
    plan: Arc<Plan>,
    script: &'a Script,
    seed: u64,
    run: Run,
    entries: Vec<Entry>,
    cloud: Cloud,
    rng: StdRng,
    now: Timestamp,
    epoch: u64,
    /// Effects under way, with the instant of their answers.
    under_way: BTreeMap<EffectKey, (Timestamp, Effect)>,
    /// Answers of people that are on their way.
    coming: BTreeMap<(NodeId, Option<GateId>), Timestamp>,
    signals: u64,
    /// What each metric gate reads when all is well, and when it is not.
    values: BTreeMap<GateId, (Option<Values>, Option<Values>)>,
    scene: Scene<'a>,
    cast: Cast<'a>,
    troubles: Troubles<'a>,
    /// What happens to the engine, by its instant and place in the script.
    upsets: BTreeMap<(Timestamp, usize), UpsetKind>,
    refused: Vec<Refused>,
}

impl<'a> Simulation<'a> {
    fn new(plan: Arc<Plan>, script: &'a Script, seed: u64, start: Timestamp) -> Simulation<'a> {
        let name = format!("{}-simulated", plan.workflow().name);
        Simulation {
            run: Run::new(RunId(name), plan.clone()),
            values: plan.gate_ids().map(|gate| (gate, values(&plan, gate))).collect(),
            cloud: Cloud::new(plan.region_ids(), seed),
            plan,
            script,
            seed,
            entries: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
            now: start,
            epoch: 1,
            under_way: BTreeMap::new(),
            coming: BTreeMap::new(),
            signals: 0,
            scene: Scene::new(&script.world, seed, start),
            cast: Cast::new(&script.world.people, start),
            troubles: Troubles::new(&script.world.faults),
            upsets: upsets(script, start),
            refused: Vec::new(),
        }
    }

    fn step(&mut self, input: Input) {
        let signal = match &input {
            Input::Signal(signal) => Some(signal.clone()),
            _ => None,
        };
        match self.run.step(input, self.now) {
            Ok(Some((entry, _))) => {
                self.scene.record(&self.plan, &entry);
                self.cast.record(&entry);
                self.expect_upsets(&entry);
                self.entries.push(entry);
            }
            Ok(None) => {}
            // A person whose signal does not fit is told so and goes away.
            Err(refusal) => self.refused.extend(signal.map(|signal| Refused {
                at: self.now,
                by: signal.by.name,
                verb: signal.ask.verb(),
                why: refusal.to_string(),
            })),
        }
    }

    /// Crashes that a script places after the beginning of a node.
    fn expect_upsets(&mut self, entry: &Entry) {
        for event in &entry.events {
            let Event::NodeStarted { node, at } = event else {
                continue;
            };
            for (index, upset) in self.script.world.upsets.iter().enumerate() {
                if let Moment::OfNode { node: of, after } = upset.moment
                    && of == *node
                {
                    self.upsets.insert((after.after(*at), index), upset.kind);
                }
            }
        }
    }

    fn drive(&mut self, end: Timestamp) -> Result<End, Broken> {
        let mut crashed_at = 0;
        loop {
            if self.run.is_done() && self.cast.next_after_the_end().is_none() {
                return Ok(End::Finished);
            }
            if let Some(every) = self.script.crash_every
                && self.run.state().seq >= crashed_at + every.max(1)
            {
                self.crash()?;
                crashed_at = self.run.state().seq;
            }
            let wake = self.start_what_is_missing();
            self.call_people();
            // A run that needs attention is still watched; here nobody comes however long that lasts.
            let is_left_alone = matches!(self.run.state().standing, Standing::Attention { .. })
                && self.run.is_at_rest()
                && self.coming.is_empty()
                && self.cast.next().is_none();
            if is_left_alone {
                return Ok(End::WaitsForPeople);
            }
            let Some(next) = self.next_instant(wake) else {
                return Ok(End::WaitsForPeople);
            };
            if next > end || self.entries.len() > ENTRIES_MAX {
                return Ok(End::TooLong);
            }
            self.now = self.now.max(next);
            match self.upsets.keys().next().copied().filter(|(at, _)| *at <= self.now) {
                Some(key) => self.upset(key)?,
                None => self.deliver(),
            }
        }
    }

    /// Something happens to the engine. Where it goes down, nothing is asked and nothing is answered until it is back.
    fn upset(&mut self, key: (Timestamp, usize)) -> Result<(), Broken> {
        match self.upsets.remove(&key) {
            Some(UpsetKind::Crash) => self.crash(),
            Some(UpsetKind::Down(length)) => {
                self.now = length.after(self.now);
                self.crash()
            }
            Some(UpsetKind::Jump(length)) => {
                let (from, to) = (self.now, length.after(self.now));
                self.now = to;
                self.step(Input::ClockJumped { from, to });
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The engine's memory is gone; what was under way is lost; the journal is folded again.
    fn crash(&mut self) -> Result<(), Broken> {
        let mut folded = Run::new(self.run.id().clone(), self.plan.clone());
        for entry in &self.entries {
            folded.record(entry)?;
        }
        debug_assert_eq!(
            folded.state().head,
            self.entries.last().map_or(Hash::NONE, |entry| entry.hash)
        );
        self.run = folded;
        self.under_way.clear();
        self.epoch += 1;
        let epoch = self.epoch;
        self.step(Input::Own {
            owner: "simulation".to_owned(),
            epoch,
        });
        Ok(())
    }

    fn start_what_is_missing(&mut self) -> Option<Timestamp> {
        let owed = wanted(&self.run, self.now);
        self.under_way
            .retain(|key, _| owed.effects.iter().any(|effect| effect.key == *key));
        for effect in owed.effects {
            let takes = Duration::from_millis(self.rng.random_range(5..200));
            let late = self.lateness(&effect.ask);
            let at = takes.saturating_add(late).after(self.now);
            self.under_way.entry(effect.key).or_insert((at, effect));
        }
        owed.wake
    }

    fn call_people(&mut self) {
        self.cast.notice(&self.run);
        let Some(after) = self.script.people.approve_after else {
            return;
        };
        let questions = waiting(&self.run)
            .into_iter()
            .map(|waiting| (waiting.node, waiting.gate));
        // A system outside posts once; a better answer is a script's to give.
        let signals = awaited(&self.run)
            .into_iter()
            .filter(|awaited| !awaited.is_posted)
            .map(|awaited| (awaited.node, Some(awaited.gate)));
        let asked: BTreeSet<(NodeId, Option<GateId>)> = questions.chain(signals).collect();
        self.coming.retain(|key, _| asked.contains(key));
        for key in asked {
            self.coming.entry(key).or_insert(after.after(self.now));
        }
    }

    /// How much later than usual a scripted platform answers.
    fn lateness(&mut self, ask: &Ask) -> Duration {
        let (region, call) = match ask {
            Ask::Observe { region } => (*region, Call::Observe),
            Ask::Ensure { region, .. } => (*region, Call::Ensure),
            Ask::Claim { .. } | Ask::Release | Ask::Lock { .. } | Ask::Unlock { .. } | Ask::Read { .. } => {
                return Duration::ZERO;
            }
        };
        self.troubles.lateness(&self.run, region, call, self.now)
    }

    fn next_instant(&self, wake: Option<Timestamp>) -> Option<Timestamp> {
        let answers = self.under_way.values().map(|(at, _)| *at);
        let upset = self.upsets.keys().next().map(|(at, _)| *at);
        let people = self.coming.values().copied().chain(self.cast.next());
        answers.chain(people).chain(wake).chain(upset).min()
    }

    /// Everything that arrives now: answers in order of their instants, then people, then time itself.
    fn deliver(&mut self) {
        let due = self.under_way.iter().filter(|(_, (at, _))| *at <= self.now);
        let first = due.min_by_key(|(key, (at, _))| (*at, **key)).map(|(key, _)| *key);
        if let Some((_, effect)) = first.and_then(|key| self.under_way.remove(&key)) {
            let outcome = self.outcome(&effect);
            self.step(Input::Outcome {
                key: effect.key,
                outcome,
            });
            return;
        }
        let person = self.coming.iter().find(|(_, at)| **at <= self.now).map(|(key, _)| *key);
        if let Some(key) = person {
            self.coming.remove(&key);
            let asked = waiting(&self.run)
                .into_iter()
                .find(|waiting| (waiting.node, waiting.gate) == key);
            match (asked, key) {
                (Some(waiting), _) => self.answer(waiting),
                (None, (node, Some(gate))) => self.post(node, gate),
                (None, (_, None)) => {}
            }
            return;
        }
        if let Some(signal) = self.cast.speak(&self.plan, self.now) {
            self.step(Input::Signal(signal));
            return;
        }
        self.step(Input::Tick);
    }

    /// The people whom a gate asks for say yes, or the first of them says no.
    fn answer(&mut self, waiting: Waiting) {
        let node = Some(self.plan.node(waiting.node).key.clone());
        let gate = waiting.gate.map(|gate| self.plan.gate(gate).0.to_owned());
        let rejects = gate
            .as_ref()
            .is_some_and(|gate| self.script.people.reject.contains(gate));
        let approvers = match waiting.gate.map(|gate| &self.plan.gate(gate).1.kind) {
            Some(GateKind::Approval(approval)) if waiting.is_approval => approvers(approval),
            _ => vec![Person::unauthenticated("on-call", Vec::new())],
        };
        for by in approvers {
            self.signals += 1;
            let (gate, node, comment) = (gate.clone(), node.clone(), None);
            let ask = if rejects {
                Request::Reject { gate, node, comment }
            } else {
                Request::Approve { gate, node, comment }
            };
            self.step(Input::Signal(Signal {
                id: format!("simulated-{}", self.signals),
                by,
                ask,
            }));
            if rejects {
                return;
            }
        }
    }

    /// The system that a gate waits for says that all is well. What `accept` would like to read nobody can make up: such a gate
    /// is left out, which the timeline shows.
    fn post(&mut self, node: NodeId, gate: GateId) {
        let (name, definition) = self.plan.gate(gate);
        let GateKind::Signal(signal) = &definition.kind else {
            return;
        };
        let rejects = self.script.people.reject.iter().any(|rejected| rejected == name);
        let node = Some(self.plan.node(node).key.clone());
        let ask = if signal.accept.is_some() && !rejects {
            Request::Skip {
                what: Skip::Gate {
                    gate: name.to_owned(),
                    node,
                },
                reason: "simulated: only a scenario can say what payload is posted".to_owned(),
            }
        } else {
            Request::Signal(Posted {
                name: signal.name.clone(),
                node,
                passed: Some(!rejects),
                payload: None,
            })
        };
        self.signals += 1;
        self.step(Input::Signal(Signal {
            id: format!("simulated-{}", self.signals),
            by: Person::unauthenticated("outside", Vec::new()),
            ask,
        }));
    }

    fn outcome(&mut self, effect: &Effect) -> Outcome {
        match &effect.ask {
            Ask::Claim { .. } => Outcome::Claimed {
                claim: self.run.state().claim.last.unwrap_or(0) + 1,
            },
            Ask::Release => Outcome::Released,
            Ask::Lock { name } => match self.scene.lock_holder(name, self.now) {
                Some(by) => Outcome::LockBusy {
                    by: by.to_owned(),
                    ahead: 1,
                },
                None => Outcome::Locked { number: 1 },
            },
            Ask::Unlock { .. } => Outcome::Unlocked,
            Ask::Observe { region } => {
                if let Some(Met::Failure { error, lasting }) = self.trouble(*region, Call::Observe) {
                    return failed(error, lasting);
                }
                let (_, definition) = self.plan.region(*region);
                let release = definition.release.as_ref().unwrap_or(&self.plan.workflow().release);
                Outcome::Observed(self.cloud.observe(*region, release.version()))
            }
            Ask::Ensure { region, desired } => {
                let order = self.run.region(*region).order.as_ref();
                let claim = self.run.state().claim.number.unwrap_or(0);
                let seq = order.map_or(0, |order| order.intent);
                let fence = Fence {
                    claim,
                    epoch: self.epoch,
                    seq,
                };
                let node = order.and_then(|order| order.node);
                let stuck = match self.trouble(*region, Call::Ensure) {
                    Some(Met::Failure { error, lasting }) => return failed(error, lasting),
                    Some(Met::Slow) => {
                        let why = Some("scripted: it takes its time".to_owned());
                        return Outcome::Progress(Progress::Moving { why });
                    }
                    Some(Met::Stuck(why)) => Some(why),
                    None => node
                        .filter(|node| self.is_stuck(*node))
                        .map(|_| "simulated: the order never converges".to_owned()),
                };
                Outcome::Progress(self.cloud.ensure(*region, desired, fence, self.now, stuck.as_deref()))
            }
            Ask::Read { node, gate, arms } => {
                let place = match effect.key {
                    EffectKey::Read { place, .. } => place,
                    _ => Place::Watch,
                };
                Outcome::Read(Reading {
                    at: self.now,
                    answer: self.answer_of(*node, *gate, place, arms),
                })
            }
        }
    }

    fn trouble(&mut self, region: RegionId, call: Call) -> Option<Met> {
        self.troubles.meet(&self.run, region, call, self.now)
    }

    fn strayed(&self, values: Values, metric: &str, arms: &Arms) -> Values {
        let second = u64::try_from(self.now.as_second()).unwrap_or(0);
        let stray = |value: f64, arm| {
            let draw = Draw {
                seed: self.seed,
                metric,
                region: arms.region,
                arm,
            };
            value * (1.0 + self.script.noise * draw.at(second))
        };
        Values {
            candidate: stray(values.candidate, Arm::Candidate),
            baseline: stray(values.baseline, Arm::Baseline),
        }
    }

    fn is_stuck(&self, node: NodeId) -> bool {
        self.script.faults.iter().any(|fault| {
            fault.node == node
                && match fault.kind {
                    FaultKind::Stuck => true,
                    FaultKind::Breach => !self.can_breach(node),
                }
        })
    }

    fn can_breach(&self, node: NodeId) -> bool {
        let of = self.plan.node(node);
        of.watch
            .iter()
            .chain(&of.after)
            .any(|gate| match &self.plan.gate(*gate).1.kind {
                GateKind::Metric(_) => self.values.get(gate).is_some_and(|(_, breaching)| breaching.is_some()),
                GateKind::Http(_)
                | GateKind::Command(_)
                | GateKind::Compare(_)
                | GateKind::Trend(_)
                | GateKind::Budget(_)
                | GateKind::Kayenta(_)
                | GateKind::Completed(_)
                | GateKind::Health => true,
                GateKind::Approval(_)
                | GateKind::Window(_)
                | GateKind::Signal(_)
                | GateKind::Lock(_)
                | GateKind::NotYet { .. } => false,
            })
    }

    fn answer_of(&mut self, node: NodeId, gate: GateId, place: Place, arms: &Arms) -> Answer {
        let breaches = self
            .script
            .faults
            .iter()
            .any(|fault| fault.node == node && fault.kind == FaultKind::Breach);
        // The share must be reached first: a fault of a stage shows once its traffic is there.
        let breaches =
            breaches && matches!(place, Place::Watch | Place::After) && self.run.node(node).life != Life::Moving;
        if let Some(reply) = self.scene.reply(gate, node, arms.region, self.now) {
            return replied(reply, &self.plan.gate(gate).1.kind, arms.since, self.now);
        }
        let definition = self.plan.gate(gate).1;
        let asked = Asked {
            plan: &self.plan,
            scene: &self.scene,
            gate: definition,
            arms,
            share: arms
                .region
                .map_or(Share::ZERO, |region| self.run.region(region).ordered_share()),
            breaches,
            now: self.now,
        };
        if let Some(answer) = asked.answer() {
            return answer;
        }
        match (&definition.kind, breaches) {
            (GateKind::Metric(metric), _) => {
                let (healthy, breaching) = self.values.get(&gate).copied().unwrap_or_default();
                let values = if breaches { breaching.or(healthy) } else { healthy };
                let values = values.map(|values| self.strayed(values, &metric.query, arms));
                if let Some(answer) =
                    telemetry::scripted(&self.scene, definition, &metric.query, values, place, arms, self.now)
                {
                    return answer;
                }
                match values {
                    Some(values) => telemetry::answer(definition, values, self.now),
                    None => Answer::Error {
                        why: "simulated: no value was found that the thresholds let pass".to_owned(),
                    },
                }
            }
            (GateKind::Completed(_), fails) => {
                let reply = if fails { ReplyKind::Fail } else { ReplyKind::Pass };
                replied(reply, &definition.kind, arms.since, self.now)
            }
            (_, true) => Answer::Check {
                passed: false,
                detail: "simulated: fails".to_owned(),
            },
            (_, false) => Answer::Check {
                passed: true,
                detail: "simulated: passes".to_owned(),
            },
        }
    }
}

/// What happens to the engine at instants that the script knows beforehand.
fn upsets(script: &Script, start: Timestamp) -> BTreeMap<(Timestamp, usize), UpsetKind> {
    let all = script.world.upsets.iter().enumerate();
    let known = all.filter_map(|(index, upset)| match upset.moment {
        Moment::OfRun(after) => Some(((after.after(start), index), upset.kind)),
        Moment::Asked { .. } | Moment::OfNode { .. } => None,
    });
    known.collect()
}

fn failed(error: String, lasting: bool) -> Outcome {
    Outcome::Failed {
        error,
        lasting,
        retry_after: None,
    }
}

fn replied(reply: ReplyKind, to: &GateKind, since: Timestamp, now: Timestamp) -> Answer {
    let check = |passed: bool, detail: &str| match to {
        GateKind::Kayenta(_) => analysed(passed, since, now),
        GateKind::Health => Answer::Health {
            is_settled: true,
            diagnosis: (!passed).then(|| detail.to_owned()),
        },
        GateKind::Completed(gate) => Answer::Completed {
            newest: Some(OtherRun {
                run: format!("{}-0001", gate.workflow),
                outcome: if passed { "promoted" } else { "rolled-back" }.to_owned(),
                at: now,
            }),
        },
        _ => Answer::Check {
            passed,
            detail: detail.to_owned(),
        },
    };
    match reply {
        ReplyKind::Pass => check(true, "scripted: passes"),
        ReplyKind::Fail => check(false, "scripted: fails"),
        ReplyKind::Error => Answer::Error {
            why: "scripted: no answer".to_owned(),
        },
    }
}

fn values(plan: &Plan, gate: GateId) -> (Option<Values>, Option<Values>) {
    (telemetry::healthy(plan, gate), telemetry::breaching(plan, gate))
}

/// Enough different people, in the roles that the gate asks for.
fn approvers(approval: &Approval) -> Vec<Person> {
    let mut roles: Vec<&String> = approval.require.iter().collect();
    while roles.len() < approval.count as usize {
        match approval.from.get(roles.len() % approval.from.len().max(1)) {
            Some(role) => roles.push(role),
            None => break,
        }
    }
    let named = roles
        .iter()
        .enumerate()
        .map(|(index, role)| Person::unauthenticated(format!("{role}-{}", index + 1), vec![(*role).clone()]));
    let mut people: Vec<Person> = named.collect();
    while people.len() < approval.count as usize {
        people.push(Person::unauthenticated(
            format!("approver-{}", people.len() + 1),
            Vec::new(),
        ));
    }
    people
}

impl Simulated {
    /// How long it took from the start to the end.
    pub fn length(&self) -> Duration {
        let start = self.entries.first().map_or(self.ended_at, |entry| entry.at);
        Duration::between(start, self.ended_at)
    }

    pub fn standing(&self) -> &Standing {
        &self.run.state().standing
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use meridian_workflows::duration::Duration;
    use meridian_workflows::plan::Plan;
    use meridian_workflows::plan::compile::compile;

    use super::{End, Simulated, simulate};
    use crate::run::event::Ending;
    use crate::run::state::Standing;
    use crate::run::story::{watched, workflow};
    use crate::simulation::script::{Fault, FaultKind, Script, find_stage};

    fn plan() -> Arc<Plan> {
        let mut workflow = watched(workflow(
            &[("small", &["west"]), ("large", &["east", "north"])],
            &["10%", "100%"],
        ));
        workflow
            .phases
            .iter_mut()
            .for_each(|phase| phase.bake = Duration::from_secs(10 * 3600));
        Arc::new(compile(workflow))
    }

    fn simulated(script: &Script) -> Simulated {
        simulate(&plan(), script, 7, "2026-03-02T10:00:00Z".parse().unwrap()).unwrap()
    }

    fn ending(simulated: &Simulated) -> Option<Ending> {
        match simulated.standing() {
            Standing::Finished { ending, .. } => Some(*ending),
            _ => None,
        }
    }

    #[test]
    fn a_healthy_day_and_a_half_passes_in_virtual_time() {
        let simulated = simulated(&Script::default());
        assert_eq!(
            (simulated.end, ending(&simulated)),
            (End::Finished, Some(Ending::Promoted))
        );
        let hours = simulated.length().as_millis() / 3_600_000;
        assert_eq!(hours, 30);
    }

    #[test]
    fn a_fault_in_a_stage_is_caught_there_and_rolled_back() {
        let node = find_stage(&plan(), "east/100%").unwrap();
        let faults = vec![Fault {
            node,
            kind: FaultKind::Breach,
        }];
        let simulated = simulated(&Script {
            faults,
            ..Script::default()
        });
        assert_eq!(ending(&simulated), Some(Ending::RolledBack));
        assert!(
            simulated
                .run
                .plan()
                .region_ids()
                .all(|region| simulated.run.region(region).share.is_zero())
        );
    }

    #[test]
    fn equal_seeds_tell_equal_stories_and_crashes_change_no_end() {
        let (first, second) = (simulated(&Script::default()), simulated(&Script::default()));
        assert_eq!(
            first.entries.last().map(|entry| entry.hash),
            second.entries.last().map(|entry| entry.hash)
        );
        let crashed = simulated(&Script {
            crash_every: Some(50),
            ..Script::default()
        });
        assert_eq!(ending(&crashed), ending(&first));
    }

    #[test]
    fn a_stage_that_is_not_there_is_named_with_those_that_are() {
        let error = find_stage(&plan(), "west/25%").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the plan has no stage `west/25%`; region `west` has 10%, 100%"
        );
    }
}
