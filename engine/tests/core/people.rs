//! People of a seed: those who are asked and answer in their own time, one who does as he likes, and an operator who comes
//! when a run needs attention. Their moments follow from the seed and from what the journal shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use meridian_engine::run::people::{Waiting, waiting};
use meridian_engine::run::posts::{Awaited, awaited};
use meridian_engine::run::signal::{Person, Posted, Request, Signal, Skip};
use meridian_engine::run::state::{Run, Standing};
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{GateId, NodeId, Plan};
use meridian_workflows::workflow::{Approval, GateKind};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::plans::start;
use crate::world::draw;

type Asked = (NodeId, Option<GateId>, u32);

pub struct People {
    plan: Arc<Plan>,
    seed: u64,
    faults_stop: Timestamp,
    /// Answers on their way, to what asks.
    coming: BTreeMap<Asked, Timestamp>,
    /// The one who does as he likes.
    whims: Vec<(Timestamp, Person, Request)>,
    operator: Option<Timestamp>,
    operator_came: u64,
    /// Somebody lifts a pause that lasts.
    lifts: Option<Timestamp>,
    sent: u64,
}

const ANSWER: u64 = 11;
const OPERATOR: u64 = 12;

impl People {
    pub fn new(plan: Arc<Plan>, seed: u64, faults_stop: Timestamp, is_wild: bool) -> People {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x7065_6f70);
        let many = if is_wild {
            rng.random_range(3..25)
        } else {
            rng.random_range(0..=4) * rng.random_range(0..=1)
        };
        let until = Duration::between(start(), faults_stop).as_millis() as i64;
        let mut whims: Vec<(Timestamp, Person, Request)> = Vec::new();
        for _ in 0..many {
            // An odd millisecond: nothing else happens then.
            let offset = Duration::from_millis(rng.random_range(0..until as u64) / 1_000 * 1_000 + 373);
            let by = match rng.random_range(0..4) {
                0 => Person::unauthenticated("ana", vec!["sre".into()]),
                1 => Person::unauthenticated("eve", vec![]),
                _ => Person::unauthenticated("bo", vec!["sre".into()]),
            };
            whims.push((offset.after(start()), by, whim(&mut rng, &plan)));
        }
        whims.sort_by_key(|(at, ..)| *at);
        People {
            plan,
            seed,
            faults_stop,
            coming: BTreeMap::new(),
            whims,
            operator: None,
            operator_came: 0,
            lifts: None,
            sent: 0,
        }
    }

    /// Nobody will come to this run as it stands.
    pub fn is_over(&self, run: &Run) -> bool {
        self.whims.is_empty() && self.operator.is_none() && (run.is_done() || !run.is_paused())
    }

    pub fn comes(&self, now: Timestamp) -> bool {
        let whim = self.whims.first().is_some_and(|(at, ..)| *at <= now);
        whim || self.operator.is_some_and(|at| at <= now)
            || self.lifts.is_some_and(|at| at <= now)
            || self.coming.values().any(|at| *at <= now)
    }

    /// Who comes next; sees what asks now.
    pub fn next(&mut self, run: &Run, now: Timestamp) -> Option<Timestamp> {
        let questions = waiting(run).into_iter().map(|waiting| asked(run, &waiting));
        let posts = awaited(run).into_iter().map(|awaited| post_of(run, &awaited));
        let asked: Vec<Asked> = questions.chain(posts).collect();
        self.coming.retain(|key, _| asked.contains(key));
        for key in asked {
            let dice = draw(
                self.seed,
                &[ANSWER, u64::from(key.0.0), key.1.map_or(99, |gate| u64::from(gate.0))],
            );
            let after = Duration::from_millis(500 + (dice % 60) * 1_000 + 71);
            // Some are not there before the faults stop.
            let from = if dice.is_multiple_of(7) {
                now.max(self.faults_stop)
            } else {
                now
            };
            self.coming.entry(key).or_insert(after.after(from));
        }
        let needs_operator = matches!(run.state().standing, Standing::Attention { .. }) || run.is_done();
        if !needs_operator {
            self.operator = None;
        } else if self.operator.is_none() && now < self.faults_stop && self.operator_came < 3 {
            let dice = draw(self.seed, &[OPERATOR, self.operator_came]);
            self.operator = Some(Duration::from_millis(2_000 + (dice % 50) * 1_000 + 137).after(now));
        }
        if !run.is_paused() || run.is_finished() {
            self.lifts = None;
        } else if self.lifts.is_none() {
            self.lifts = Some(Duration::from_millis(20_531).after(now.max(self.faults_stop)));
        }
        let whim = self.whims.first().map(|(at, ..)| *at);
        [whim, self.operator, self.lifts]
            .into_iter()
            .flatten()
            .chain(self.coming.values().copied())
            .map(|at| at.max(now))
            .min()
    }

    /// The signals of everybody who is there now.
    pub fn arrive(&mut self, run: &Run, now: Timestamp) -> Vec<Signal> {
        let mut signals = Vec::new();
        while let Some((at, by, ask)) = self.whims.first().cloned()
            && at <= now
        {
            self.whims.remove(0);
            signals.push((by, ask));
        }
        if self.operator.is_some_and(|at| at <= now) {
            self.operator = None;
            let dice = draw(self.seed, &[OPERATOR, 1, self.operator_came]);
            self.operator_came += 1;
            signals.extend(operation(run, dice).map(|ask| (bo(), ask)));
        }
        if self.lifts.is_some_and(|at| at <= now) {
            self.lifts = None;
            signals.push((bo(), Request::Resume));
        }
        let due: Vec<Asked> = self
            .coming
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            self.coming.remove(&key);
            let waits = waiting(run).into_iter().find(|waiting| asked(run, waiting) == key);
            if let Some(waits) = waits {
                signals.extend(self.answers(&waits, key, now));
            } else if let Some(waits) = awaited(run).into_iter().find(|awaited| post_of(run, awaited) == key) {
                signals.extend(self.post(&waits, now));
            }
        }
        let named = signals.into_iter().map(|(by, ask)| {
            self.sent += 1;
            let id = format!("s{}", self.sent);
            Signal { id, by, ask }
        });
        named.collect()
    }

    /// Most of what is posted has passed; what has not is posted once more later, for the gate goes on asking.
    fn post(&self, waits: &Awaited, now: Timestamp) -> Option<(Person, Request)> {
        let GateKind::Signal(signal) = &self.plan.gate(waits.gate).1.kind else {
            return None;
        };
        let dice = draw(
            self.seed,
            &[ANSWER, 2, u64::from(waits.node.0), u64::from(waits.gate.0)],
        );
        let passed = now >= self.faults_stop || !dice.is_multiple_of(9);
        let ask = Request::Signal(Posted {
            name: signal.name.clone(),
            node: Some(self.plan.node(waits.node).key.clone()),
            passed: Some(passed),
            payload: None,
        });
        Some((Person::unauthenticated("ci", vec![]), ask))
    }

    fn answers(&self, waits: &Waiting, key: Asked, now: Timestamp) -> Vec<(Person, Request)> {
        let node = Some(self.plan.node(waits.node).key.clone());
        let gate = waits.gate.map(|gate| self.plan.gate(gate).0.to_owned());
        let dice = draw(
            self.seed,
            &[
                ANSWER,
                1,
                u64::from(key.0.0),
                key.1.map_or(99, |gate| u64::from(gate.0)),
            ],
        );
        let comment = None;
        if now < self.faults_stop && dice.is_multiple_of(12) {
            return vec![(bo(), Request::Reject { gate, node, comment })];
        }
        let approvers = match waits.gate.map(|gate| &self.plan.gate(gate).1.kind) {
            Some(GateKind::Approval(approval)) => approvers(approval),
            _ => vec![bo()],
        };
        let ask = Request::Approve { gate, node, comment };
        approvers.into_iter().map(|by| (by, ask.clone())).collect()
    }
}

/// A post in the place of an answer.
fn post_of(run: &Run, awaited: &Awaited) -> Asked {
    (awaited.node, Some(awaited.gate), run.node(awaited.node).attempt)
}

fn bo() -> Person {
    Person::unauthenticated("bo", vec!["sre".into()])
}

fn asked(run: &Run, waiting: &Waiting) -> Asked {
    (waiting.node, waiting.gate, run.node(waiting.node).attempt)
}

fn approvers(approval: &Approval) -> Vec<Person> {
    let role = approval.from.first().cloned().unwrap_or_default();
    (0..approval.count)
        .map(|index| Person::unauthenticated(format!("cy-{index}"), vec![role.clone()]))
        .collect()
}

fn operation(run: &Run, dice: u64) -> Option<Request> {
    let reason = Some("after a look".to_owned());
    let from_start = dice.is_multiple_of(3);
    match (&run.state().standing, (dice >> 8) % 8) {
        (Standing::Attention { .. }, 0 | 1) => Some(Request::Resume),
        (Standing::Attention { .. }, 2..=4) => Some(Request::Retry { from_start, reason }),
        (Standing::Attention { .. }, 5) => Some(Request::Rollback { reason }),
        (Standing::Finished { .. }, 0 | 1) => Some(Request::Retry { from_start, reason }),
        (Standing::Finished { .. }, 2) => Some(Request::Rollback { reason }),
        _ => None,
    }
}

fn whim(rng: &mut StdRng, plan: &Plan) -> Request {
    let reason = Some("a whim".to_owned());
    let why = "a whim".to_owned();
    let node = |rng: &mut StdRng| {
        let index = rng.random_range(0..plan.len());
        plan.nodes()
            .nth(index)
            .map(|(_, node)| node.key.clone())
            .unwrap_or_default()
    };
    let gate = |rng: &mut StdRng| {
        let gates: Vec<&str> = plan.gate_ids().map(|gate| plan.gate(gate).0).collect();
        gates
            .get(rng.random_range(0..gates.len().max(1)))
            .map(|name| (*name).to_owned())
    };
    let comment = None;
    match rng.random_range(0..20) {
        0..=3 => Request::Pause {
            freeze_bake: rng.random_range(0..2) == 0,
            reason,
        },
        4..=6 => Request::Resume,
        7 | 8 => Request::Approve {
            gate: None,
            node: None,
            comment,
        },
        9 => Request::Approve {
            gate: gate(rng),
            node: Some(node(rng)),
            comment,
        },
        10 => Request::Reject {
            gate: gate(rng),
            node: None,
            comment,
        },
        11 | 12 => Request::Skip {
            what: Skip::Gate {
                gate: gate(rng).unwrap_or_default(),
                node: (rng.random_range(0..2) == 0).then(|| node(rng)),
            },
            reason: why,
        },
        13 | 14 => Request::Skip {
            what: Skip::Stage { node: node(rng) },
            reason: why,
        },
        15 | 16 => {
            let index = rng.random_range(0..plan.workflow().regions.len());
            let region = plan.workflow().regions.keys().nth(index).cloned().unwrap_or_default();
            Request::Promote { region, reason: why }
        }
        17 => Request::Abort { reason },
        18 => Request::Rollback { reason },
        _ if rng.random_range(0..3) == 0 => Request::Supersede {
            by_run: "seed-9999".into(),
        },
        _ => Request::Retry {
            from_start: rng.random_range(0..2) == 0,
            reason,
        },
    }
}
