//! Small plans in every interleaving: answers good and bad, signals, waits, crashes, a dead owner's orders that arrive late. Each
//! state is checked once; from each an end must be reachable. `MERIDIAN_STATES=n` looks at up to n states of the largest plan.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;
use meridian_engine::ports::provider::Fence;
use meridian_engine::run::decide::Input;
use meridian_engine::run::effect::{Ask, Desired, DesiredState, EffectKey, Observation, Outcome, Progress};
use meridian_engine::run::event::Ending;
use meridian_engine::run::invariant::{check_event, check_rest};
use meridian_engine::run::people::waiting;
use meridian_engine::run::reading::{Answer, Reading, Sample};
use meridian_engine::run::signal::{Person, Request, Signal, Skip};
use meridian_engine::run::state::{Run, RunId, Standing};
use meridian_engine::run::version::Version;
use meridian_engine::run::wanted::wanted;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::Plan;
use meridian_workflows::plan::compile::compile;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{
    Approval, Exposure, Gate, GateKind, Metric, MetricGate, MetricUnit, Phase, Policy, Scope, Stage, Workflow,
};

use crate::plans::{CANDIDATE, empty, region, secs, start};

/// How much may happen in one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Budget {
    signals: u8,
    crashes: u8,
    /// Bad answers, and answers that time overtakes.
    faults: u8,
}

/// One state of run and world.
#[derive(Clone)]
struct Moment {
    run: Run,
    now: Timestamp,
    epoch: u64,
    /// Per region: the newest fence and what was ordered under it.
    world: Vec<(Option<Fence>, Option<DesiredState>)>,
    /// Orders of dead owners that may still arrive.
    zombies: Vec<(usize, Desired, Fence)>,
    budget: Budget,
}

/// A future beyond this is alike: longer than any wait of these plans but an opening's and a closing's deadline.
const FUTURE_MS: i64 = 100_000;
/// A past beyond this is alike: longer than any evidence of these plans has to have lasted.
const PAST_MS: i64 = 30_000;

impl Moment {
    fn begun(plan: Arc<Plan>, budget: Budget) -> Moment {
        let world = plan.region_ids().map(|_| (None, None)).collect();
        let mut moment = Moment {
            run: Run::new(RunId("model-0001".into()), plan),
            now: start(),
            epoch: 0,
            world,
            zombies: Vec::new(),
            budget,
        };
        let by = Person::unauthenticated("ana", Vec::new());
        moment.step(Input::Submit { by }).unwrap();
        moment
    }

    /// One step of the run, every promise checked. False: nothing has changed, or the signal was refused.
    fn step(&mut self, input: Input) -> Result<bool, String> {
        let mut before = self.run.clone();
        let Ok(Some((entry, _))) = self.run.step(input, self.now) else {
            return Ok(false);
        };
        let mut after = before.clone();
        for event in &entry.events {
            after.apply(event);
            check_event(&before, event, &after, entry.at).map_err(|violation| violation.to_string())?;
            before.apply(event);
        }
        check_rest(&self.run, self.now).map_err(|violation| violation.to_string())?;
        self.check_world()?;
        Ok(true)
    }

    /// An end is what it says, in the world too.
    fn check_world(&self) -> Result<(), String> {
        let Standing::Finished { ending, .. } = &self.run.state().standing else {
            return Ok(());
        };
        for (index, (_, state)) in self.world.iter().enumerate() {
            let fits = match (ending, state) {
                (Ending::Promoted, state) => *state == Some(DesiredState::Promoted),
                (Ending::RolledBack | Ending::Refused, Some(state)) => state.share().is_zero(),
                (Ending::RolledBack | Ending::Refused, None) => true,
            };
            if !fits {
                return Err(format!(
                    "4: the run ended {ending:?}, region {index} stands at {state:?}"
                ));
            }
        }
        Ok(())
    }

    fn is_end(&self) -> bool {
        self.run.is_done() || matches!(self.run.state().standing, Standing::Attention { .. })
    }

    /// Applies an order where no newer one has been.
    fn arrives(&mut self, index: usize, desired: &Desired, fence: Fence) -> bool {
        let (newest, state) = &mut self.world[index];
        let is_current = newest.is_none_or(|newest| fence >= newest);
        if is_current {
            (*newest, *state) = (Some(fence), Some(desired.state.clone()));
        }
        is_current
    }

    /// Everything that can happen next.
    fn successors(&self) -> Result<Vec<Moment>, String> {
        let owed = wanted(&self.run, self.now);
        let mut next = Vec::new();
        for effect in &owed.effects {
            for (outcome, is_fault) in self.answers(&effect.ask) {
                let mut moment = self.clone();
                if is_fault && !moment.pay_fault() {
                    continue;
                }
                let mut outcome = outcome;
                if let (Ask::Ensure { region, desired }, EffectKey::Ensure { intent, .. }) = (&effect.ask, effect.key) {
                    let fence = self.fence(intent);
                    if !moment.arrives(region.0 as usize, desired, fence) {
                        let why = "a newer order has been applied".to_owned();
                        outcome = Outcome::Progress(Progress::Stale { why });
                    }
                }
                moment.step(Input::Outcome {
                    key: effect.key,
                    outcome,
                })?;
                next.push(moment);
            }
        }
        if let Some(wake) = owed.wake {
            let mut moment = self.clone();
            if owed.effects.is_empty() || moment.pay_fault() {
                moment.now = wake;
                moment.step(Input::Tick)?;
                next.push(moment);
            }
        }
        self.people(&mut next)?;
        self.crashes(&mut next)?;
        Ok(next)
    }

    fn fence(&self, seq: u64) -> Fence {
        Fence {
            claim: self.run.state().claim.number.unwrap_or(0),
            epoch: self.epoch,
            seq,
        }
    }

    fn pay_fault(&mut self) -> bool {
        let left = self.budget.faults.checked_sub(1);
        self.budget.faults = left.unwrap_or(0);
        left.is_some()
    }

    /// The answers that the world can give, and whether each is a fault of it.
    fn answers(&self, ask: &Ask) -> Vec<(Outcome, bool)> {
        let progress = |progress| Outcome::Progress(progress);
        let sample = |value| Sample {
            value,
            samples: None,
            at: Some(self.now),
            query: "q".into(),
        };
        let read = |value| {
            let (candidate, baseline) = (sample(value), None);
            Outcome::Read(Reading {
                at: self.now,
                answer: Answer::Metric { candidate, baseline },
            })
        };
        let lost = Outcome::Failed {
            error: "timed out".into(),
            lasting: false,
            retry_after: None,
        };
        match ask {
            Ask::Claim { .. } => vec![(
                Outcome::Claimed {
                    claim: self.run.state().claim.last.unwrap_or(0) + 1,
                },
                false,
            )],
            Ask::Release => vec![(Outcome::Released, false)],
            Ask::Lock { .. } => vec![(Outcome::Locked { number: 1 }, false)],
            Ask::Unlock { .. } => vec![(Outcome::Unlocked, false)],
            Ask::Observe { region } => {
                let state = &self.world[region.0 as usize].1;
                let is_promoted = *state == Some(DesiredState::Promoted);
                vec![(
                    Outcome::Observed(Observation {
                        serving: Some(Version::named(if is_promoted { CANDIDATE } else { "v1" })),
                        candidate: Version::named(CANDIDATE),
                        candidate_share: state.as_ref().map_or(Share::ZERO, DesiredState::share),
                        is_settled: true,
                        diagnosis: None,
                        candidate_digest: None,
                    }),
                    false,
                )]
            }
            Ask::Ensure { .. } => vec![
                (progress(Progress::Settled), false),
                (progress(Progress::Moving { why: None }), true),
                (progress(Progress::Waiting { why: "git".into() }), true),
                (progress(Progress::Stuck { why: "quota".into() }), true),
                (lost, true),
            ],
            Ask::Read { .. } => vec![(read(Some(0.0)), false), (read(Some(1.0)), true), (read(None), true)],
        }
    }

    /// People answer what asks and lift pauses whenever they like; other signals are few.
    fn people(&self, next: &mut Vec<Moment>) -> Result<(), String> {
        let mut asks: Vec<(Request, bool)> = Vec::new();
        let (node, gate, comment) = (None, None, None);
        if !waiting(&self.run).is_empty() {
            let yes = Request::Approve {
                gate: gate.clone(),
                node: node.clone(),
                comment: comment.clone(),
            };
            asks.extend([(yes, false), (Request::Reject { gate, node, comment }, true)]);
        }
        if self.run.is_paused() {
            asks.push((Request::Resume, false));
        }
        let reason = None;
        let why = "model".to_owned();
        let name = self
            .run
            .plan()
            .workflow()
            .regions
            .keys()
            .next()
            .cloned()
            .unwrap_or_default();
        for freeze_bake in [false, true] {
            asks.push((
                Request::Pause {
                    freeze_bake,
                    reason: None,
                },
                true,
            ));
        }
        for from_start in [false, true] {
            asks.push((
                Request::Retry {
                    from_start,
                    reason: None,
                },
                true,
            ));
        }
        let what = Skip::Gate {
            gate: "errors".into(),
            node: None,
        };
        asks.extend([
            (Request::Resume, true),
            (Request::Abort { reason: None }, true),
            (Request::Rollback { reason }, true),
            (
                Request::Skip {
                    what,
                    reason: why.clone(),
                },
                true,
            ),
            (
                Request::Promote {
                    region: name,
                    reason: why,
                },
                true,
            ),
        ]);
        for (ask, costs) in asks {
            let mut moment = self.clone();
            if costs {
                let Some(left) = moment.budget.signals.checked_sub(1) else {
                    continue;
                };
                moment.budget.signals = left;
            }
            let signal = Signal {
                id: format!("s{}", self.run.state().seq),
                by: Person::unauthenticated("bo", Vec::new()),
                ask,
            };
            if moment.step(Input::Signal(signal))? {
                next.push(moment);
            }
        }
        Ok(())
    }

    /// The owner dies and another takes over; what the dead one had sent may arrive at any later time, or never.
    fn crashes(&self, next: &mut Vec<Moment>) -> Result<(), String> {
        for index in 0..self.zombies.len() {
            let mut moment = self.clone();
            let (region, desired, fence) = moment.zombies.remove(index);
            let before = moment.world[region].0;
            if moment.arrives(region, &desired, fence) && before.is_some_and(|newest| fence < newest) {
                return Err("7: an older order changes a region".to_owned());
            }
            moment.check_world()?;
            next.push(moment);
        }
        if self.budget.crashes > 0 {
            let mut moment = self.clone();
            moment.budget.crashes -= 1;
            for effect in wanted(&self.run, self.now).effects {
                if let (Ask::Ensure { region, desired }, EffectKey::Ensure { intent, .. }) = (effect.ask, effect.key) {
                    moment.zombies.push((region.0 as usize, desired, self.fence(intent)));
                }
            }
            moment.epoch += 1;
            let (owner, epoch) = (format!("engine-{}", moment.epoch % 2), moment.epoch);
            moment.step(Input::Own { owner, epoch })?;
            next.push(moment);
        }
        Ok(())
    }

    /// Where it stands, for people.
    fn told(&self) -> String {
        let state = self.run.state();
        let lives: Vec<String> = self
            .run
            .plan()
            .nodes()
            .map(|(id, node)| {
                let of = self.run.node(id);
                let stops = (of.hold.is_some(), of.question.is_some());
                format!("{} {:?} (held, asked: {stops:?})", node.key, of.life)
            })
            .collect();
        let owed = wanted(&self.run, self.now);
        let keys: Vec<String> = owed.effects.iter().map(|effect| effect.key.to_string()).collect();
        format!(
            "{:?}, paused: {}, {lives:?}, wants {keys:?}, {:?}",
            state.standing,
            self.run.is_paused(),
            self.budget
        )
    }

    /// What makes two moments the same: instants count from now, counters and sentences do not count.
    fn fingerprint(&self) -> u128 {
        let state = serde_json::to_value(self.run.state()).unwrap();
        let mut hashers = [DefaultHasher::new(), DefaultHasher::new()];
        hashers[1].write_u8(1);
        for hasher in &mut hashers {
            self.hash_value(&state, hasher);
            self.budget.hash(hasher);
            let newest = self.run.state().orders;
            for (fence, state) in &self.world {
                fence
                    .map(|fence| (self.epoch.saturating_sub(fence.epoch), newest - fence.seq))
                    .hash(hasher);
                format!("{state:?}").hash(hasher);
            }
            for (region, desired, fence) in &self.zombies {
                (region, self.epoch - fence.epoch, newest - fence.seq).hash(hasher);
                format!("{:?}", desired.state).hash(hasher);
            }
        }
        u128::from(hashers[0].finish()) << 64 | u128::from(hashers[1].finish())
    }

    fn hash_value(&self, value: &serde_json::Value, hasher: &mut DefaultHasher) {
        use serde_json::Value;
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    let counts_not = [
                        "id",
                        "seq",
                        "at",
                        "head",
                        "owner",
                        "orders",
                        "looks",
                        "round",
                        "intent",
                        "signals",
                        "reading",
                        "because",
                        "why",
                        "reason",
                        "action",
                        "cause",
                        "frozen",
                        "submittedAt",
                        "last_claim",
                        "number",
                    ];
                    if name == "failures" || name == "lookFailures" {
                        field.as_u64().map(|failures| failures.min(2)).hash(hasher);
                    } else if name == "last" && field.is_number() || counts_not.contains(&name.as_str()) {
                        field.is_null().hash(hasher);
                    } else {
                        name.hash(hasher);
                        self.hash_value(field, hasher);
                    }
                }
            }
            Value::Array(items) => {
                items.len().hash(hasher);
                items.iter().for_each(|item| self.hash_value(item, hasher));
            }
            Value::String(text) => match text.parse::<Timestamp>() {
                Ok(at) => (at.as_millisecond() - self.now.as_millisecond())
                    .clamp(-PAST_MS, FUTURE_MS)
                    .hash(hasher),
                Err(_) => text.hash(hasher),
            },
            other => other.to_string().hash(hasher),
        }
    }
}

/// What was looked at.
struct Explored {
    states: usize,
    transitions: usize,
    ends: usize,
    is_whole: bool,
}

/// Looks at every state, breadth first, up to `states_max`.
fn explore(plan: Arc<Plan>, budget: Budget, states_max: usize) -> Result<Explored, String> {
    let mut known: HashMap<u128, usize> = HashMap::new();
    let mut comes_from: Vec<Vec<usize>> = Vec::new();
    let mut ends: Vec<usize> = Vec::new();
    let mut open: VecDeque<(usize, Moment)> = VecDeque::new();
    let (mut transitions, mut is_whole) = (0, true);
    let mut told: Vec<String> = Vec::new();
    let first = Moment::begun(plan, budget);
    known.insert(first.fingerprint(), 0);
    comes_from.push(Vec::new());
    open.push_back((0, first));
    while let Some((index, moment)) = open.pop_front() {
        if moment.is_end() {
            ends.push(index);
        }
        told.push(moment.told());
        for next in moment.successors()? {
            transitions += 1;
            let fingerprint = next.fingerprint();
            let found = known.get(&fingerprint).copied();
            let target = match found {
                Some(target) => target,
                None if comes_from.len() >= states_max => {
                    is_whole = false;
                    continue;
                }
                None => {
                    let target = comes_from.len();
                    known.insert(fingerprint, target);
                    comes_from.push(Vec::new());
                    open.push_back((target, next));
                    target
                }
            };
            comes_from[target].push(index);
        }
    }
    let states = comes_from.len();
    if is_whole {
        let reached = backward(&comes_from, &ends);
        let lost = reached.iter().filter(|reached| !**reached).count();
        if let Some(index) = reached.iter().position(|reached| !reached) {
            return Err(format!(
                "4: from {lost} of {states} states no end is reachable, as from {}",
                told[index]
            ));
        }
    }
    Ok(Explored {
        states,
        transitions,
        ends: ends.len(),
        is_whole,
    })
}

/// Which states an end can be reached from.
fn backward(comes_from: &[Vec<usize>], ends: &[usize]) -> Vec<bool> {
    let mut reached = vec![false; comes_from.len()];
    let mut open: Vec<usize> = ends.to_vec();
    while let Some(index) = open.pop() {
        if !std::mem::replace(&mut reached[index], true) {
            open.extend(&comes_from[index]);
        }
    }
    reached
}

/// A phase a region, one stage each: four nodes a region.
fn plan(regions: usize, is_watched: bool, approves: bool, scope: Scope, failures_max: u32) -> Arc<Plan> {
    let mut workflow = empty();
    workflow.rollback.scope = scope;
    gates(&mut workflow);
    for index in 0..regions {
        let name = format!("r{index}");
        workflow.regions.insert(name.clone(), region(None));
        let watch = if is_watched {
            vec!["errors".to_owned()]
        } else {
            Vec::new()
        };
        let before = if approves {
            vec!["people".to_owned()]
        } else {
            Vec::new()
        };
        workflow.phases.push(Phase {
            name: format!("p{index}"),
            regions: vec![name],
            needs: index
                .checked_sub(1)
                .map(|before| format!("p{before}"))
                .into_iter()
                .collect(),
            max_parallel: 1,
            max_failures: failures_max,
            bake: Duration::ZERO,
            before: Vec::new(),
            after: Vec::new(),
            stages: vec![Stage {
                exposure: Exposure::Traffic(Share::FULL),
                bake: secs(4),
                before,
                watch,
                after: Vec::new(),
                deadline: secs(20),
            }],
        });
    }
    Arc::new(compile(workflow))
}

fn gates(workflow: &mut Workflow) {
    let metric = Metric {
        source: "prom".into(),
        unit: MetricUnit::Ratio,
        window: secs(2),
        query: "q".into(),
        samples: None,
        description: None,
    };
    workflow.metrics.insert("errors".into(), metric);
    let errors = GateKind::Metric(MetricGate {
        query: "errors".into(),
        min_samples: None,
        hold_when: None,
        ask_when: None,
        rollback_when: Some("candidate > 0.5".into()),
        needs_baseline: false,
        ignores_candidate: false,
        concurrent_only: false,
    });
    let people = GateKind::Approval(Approval {
        count: 1,
        from: Vec::new(),
        require: Vec::new(),
        expires: Some(secs(30)),
        on_expiry: Policy::Rollback,
        starter_may_approve: false,
    });
    for (name, kind) in [("errors", errors), ("people", people)] {
        workflow.gates.insert(name.into(), gate(kind));
    }
}

fn gate(kind: GateKind) -> Gate {
    Gate {
        kind,
        every: secs(4),
        breached_for: Duration::ZERO,
        initial_delay: Duration::ZERO,
        timeout: secs(1),
        on_no_data: Policy::Hold,
        on_error: Policy::Hold,
        on_fail: Policy::Rollback,
        on_inconclusive: Policy::Hold,
        on_pending: Policy::Hold,
        from: Share::ZERO,
        hold_for: secs(20),
        dry_run: false,
    }
}

#[test]
fn every_interleaving_of_small_plans_keeps_every_promise() {
    let budget = |signals, crashes, faults| Budget {
        signals,
        crashes,
        faults,
    };
    let asked = std::env::var("MERIDIAN_STATES").ok().and_then(|text| text.parse().ok());
    let large = asked.unwrap_or(8_000);
    let plans = [
        (
            "one region, watched",
            plan(1, true, false, Scope::Run, 0),
            budget(1, 0, 1),
            12_000,
        ),
        (
            "one region, crashes",
            plan(1, false, false, Scope::Run, 0),
            budget(1, 1, 1),
            40_000,
        ),
        (
            "one region, approved",
            plan(1, false, true, Scope::Stage, 0),
            budget(1, 0, 1),
            40_000,
        ),
        (
            "two regions",
            plan(2, false, false, Scope::Run, 0),
            budget(0, 1, 1),
            40_000,
        ),
        (
            "two regions, everything",
            plan(2, true, true, Scope::Run, 1),
            budget(2, 2, 2),
            large,
        ),
    ];
    std::thread::scope(|scope| {
        for (name, plan, budget, states_max) in plans {
            scope.spawn(move || {
                let nodes = plan.len();
                let explored = explore(plan, budget, states_max).unwrap_or_else(|what| panic!("{name}: {what}"));
                println!(
                    "{name} ({nodes} nodes, {budget:?}): {} states, {} transitions, {} ends{}",
                    explored.states,
                    explored.transitions,
                    explored.ends,
                    if explored.is_whole { "" } else { ", not all" }
                );
            });
        }
    });
}
