//! Scripted people: what they do, and when it is time for it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use meridian_workflows::plan::{GateId, NodeId, Plan};
use meridian_workflows::scenario::{Act, Deed, Moment};
use meridian_workflows::workflow::GateKind;

use crate::run::entry::Entry;
use crate::run::event::Event;
use crate::run::people::waiting;
use crate::run::posts::awaited;
use crate::run::signal::{Person, Posted, Request, Signal, Skip};
use crate::run::state::Run;

/// A person who was told that it does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub at: Timestamp,
    pub by: String,
    pub verb: &'static str,
    pub why: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}'s {} was refused: {}", self.by, self.verb, self.why)
    }
}

/// The people of a script, and what they have in mind.
#[derive(Clone, Debug)]
pub struct Cast<'a> {
    acts: &'a [Act],
    /// Acts by the instant at which they happen, in the order in which they came up.
    due: BTreeMap<(Timestamp, u64), Due>,
    /// Questions that somebody means to answer: act, node, gate, and when it was asked.
    noticed: BTreeSet<(usize, NodeId, GateId, Timestamp)>,
    count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    act: usize,
    /// The node that asks, or with whose beginning the person counted.
    node: Option<NodeId>,
}

impl<'a> Cast<'a> {
    pub fn new(acts: &'a [Act], start: Timestamp) -> Cast<'a> {
        let mut cast = Cast {
            acts,
            due: BTreeMap::new(),
            noticed: BTreeSet::new(),
            count: 0,
        };
        for (index, act) in acts.iter().enumerate() {
            if let Moment::OfRun(after) = act.moment {
                cast.plan(after.after(start), Due { act: index, node: None });
            }
        }
        cast
    }

    fn plan(&mut self, at: Timestamp, due: Due) {
        self.count += 1;
        self.due.insert((at, self.count), due);
    }

    /// People who count from the beginning of a node begin to count.
    pub fn record(&mut self, entry: &Entry) {
        for event in &entry.events {
            let Event::NodeStarted { node, at } = event else {
                continue;
            };
            for (index, act) in self.acts.iter().enumerate() {
                if let Moment::OfNode { node: of, after } = act.moment
                    && of == *node
                {
                    let node = Some(of);
                    self.plan(after.after(*at), Due { act: index, node });
                }
            }
        }
    }

    /// People notice what waits for them.
    pub fn notice(&mut self, run: &Run) {
        if self.acts.is_empty() {
            return;
        }
        for waits in waiting(run) {
            let Some(gate) = waits.gate else { continue };
            let state = run.node(waits.node);
            let asked = if waits.is_approval {
                let slots = state.gates.iter().filter(|slot| slot.gate == gate);
                slots
                    .filter_map(|slot| slot.approval.as_ref())
                    .map(|approval| approval.asked_at)
                    .max()
            } else {
                state.question.as_ref().map(|question| question.since)
            };
            let Some(asked) = asked else { continue };
            for (index, act) in self.acts.iter().enumerate() {
                let (Moment::Asked { node, after }, Deed::Approve(of) | Deed::Reject(of)) = (act.moment, &act.deed)
                else {
                    continue;
                };
                let is_meant = *of == gate && node.is_none_or(|node| node == waits.node);
                if is_meant && self.noticed.insert((index, waits.node, gate, asked)) {
                    let node = Some(waits.node);
                    self.plan(after.after(asked), Due { act: index, node });
                }
            }
        }
        for waits in awaited(run) {
            for (index, act) in self.acts.iter().enumerate() {
                let (Moment::Asked { node, after }, Deed::Signal { gate, .. }) = (act.moment, &act.deed) else {
                    continue;
                };
                let is_meant = *gate == waits.gate && node.is_none_or(|node| node == waits.node);
                if is_meant && self.noticed.insert((index, waits.node, waits.gate, waits.since)) {
                    let node = Some(waits.node);
                    self.plan(after.after(waits.since), Due { act: index, node });
                }
            }
        }
    }

    /// When somebody acts next.
    pub fn next(&self) -> Option<Timestamp> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// When somebody acts next whom a run that has ended still concerns.
    pub fn next_after_the_end(&self) -> Option<Timestamp> {
        let reopens = |due: &Due| matches!(self.acts[due.act].deed, Deed::Rollback | Deed::Retry { .. });
        self.due.iter().find(|(_, due)| reopens(due)).map(|((at, _), _)| *at)
    }

    /// What somebody asks of the run now.
    pub fn speak(&mut self, plan: &Plan, now: Timestamp) -> Option<Signal> {
        let key = *self.due.keys().next().filter(|(at, _)| *at <= now)?;
        let due = self.due.remove(&key)?;
        let act = &self.acts[due.act];
        Some(Signal {
            id: format!("scripted-{}", key.1),
            by: Person::unauthenticated(act.by.clone(), roles(act, plan)),
            ask: request(act, due.node, plan),
        })
    }
}

/// Those that the script gives; else those that the gate asks for.
fn roles(act: &Act, plan: &Plan) -> Vec<String> {
    let (Deed::Approve(gate) | Deed::Reject(gate)) = &act.deed else {
        return act.roles.clone().unwrap_or_default();
    };
    match (&act.roles, &plan.gate(*gate).1.kind) {
        (Some(roles), _) => roles.clone(),
        (None, GateKind::Approval(approval)) => {
            let mut roles: Vec<String> = approval.from.iter().chain(&approval.require).cloned().collect();
            roles.sort();
            roles.dedup();
            roles
        }
        (None, _) => Vec::new(),
    }
}

fn request(act: &Act, node: Option<NodeId>, plan: &Plan) -> Request {
    let reason = act.reason.clone();
    let name = |gate: &GateId| plan.gate(*gate).0.to_owned();
    let key = |node: NodeId| plan.node(node).key.clone();
    match &act.deed {
        Deed::Approve(gate) => Request::Approve {
            gate: Some(name(gate)),
            node: node.map(key),
            comment: reason,
        },
        Deed::Reject(gate) => Request::Reject {
            gate: Some(name(gate)),
            node: node.map(key),
            comment: reason,
        },
        Deed::Pause { freeze_bake } => Request::Pause {
            freeze_bake: *freeze_bake,
            reason,
        },
        Deed::Resume => Request::Resume,
        Deed::Promote(region) => Request::Promote {
            region: plan.region(*region).0.to_owned(),
            reason: reason.unwrap_or_default(),
        },
        Deed::SkipGate(gate) => Request::Skip {
            what: Skip::Gate {
                gate: name(gate),
                node: node.map(key),
            },
            reason: reason.unwrap_or_default(),
        },
        Deed::SkipStage(stage) => Request::Skip {
            what: Skip::Stage { node: key(*stage) },
            reason: reason.unwrap_or_default(),
        },
        Deed::Abort => Request::Abort { reason },
        Deed::Rollback => Request::Rollback { reason },
        Deed::Retry { from_start } => Request::Retry {
            from_start: *from_start,
            reason,
        },
        Deed::Signal { gate, passed, payload } => Request::Signal(Posted {
            name: match &plan.gate(*gate).1.kind {
                GateKind::Signal(signal) => signal.name.clone(),
                _ => name(gate),
            },
            node: node.map(key),
            passed: *passed,
            payload: payload.clone(),
        }),
    }
}
