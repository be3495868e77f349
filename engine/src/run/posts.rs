//! What systems outside post to a run: a post counts for the gate that waits for it, in the node and attempt that asked.
//!
//! A post that nobody has asked for is refused and not remembered: what was found out before a node asked may be about another
//! share, another attempt, another version. The newest post counts as long as the node has not gone on.

use meridian_workflows::expression::{Expression, Scope, Type, Value, Values};
use meridian_workflows::plan::{GateId, NodeId};
use meridian_workflows::workflow::{Gate, GateKind, Policy, SignalGate};

use super::bake::Countdown;
use super::decide::{Draft, Refusal};
use super::effect::Place;
use super::event::Event;
use super::mutant::{Mutant, is_on};
use super::signal::{Person, Posted};
use super::state::{GateState, Life, Run, SignalState, Standing};
use super::verdict::{Judgement, Level};

/// Bytes of a payload as JSON. It says how something went; reports and logs belong where links can lead.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024;

/// A gate in a node that listens now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited {
    pub node: NodeId,
    pub gate: GateId,
    /// When the node asked.
    pub since: jiff::Timestamp,
    /// Something has been posted since, and did not pass or waits for other gates.
    pub is_posted: bool,
}

/// What one gate makes of a post.
pub(in crate::run) struct Heard {
    node: NodeId,
    gate: GateId,
    passed: bool,
    because: String,
}

/// Every gate that a post would count for now, also where one has been posted already.
pub fn listening(run: &Run) -> Vec<Awaited> {
    let mut all: Vec<Awaited> = Vec::new();
    for id in run.state.frontier.iter().copied() {
        let node = run.node(id);
        for slot in node.gates.iter().filter(|slot| listens(slot, node.life)) {
            let is_known = all.iter().any(|known| (known.node, known.gate) == (id, slot.gate));
            all.extend(slot.signal.as_ref().filter(|_| !is_known).map(|signal| Awaited {
                node: id,
                gate: slot.gate,
                since: signal.asked_at,
                is_posted: signal.posted.is_some(),
            }));
        }
    }
    all
}

/// Those whose gate does not stand open: somebody is to post.
pub fn awaited(run: &Run) -> Vec<Awaited> {
    let is_closed = |awaited: &Awaited| {
        let node = run.node(awaited.node);
        let mut slots = node.gates.iter().filter(|slot| slot.gate == awaited.gate);
        slots.any(|slot| listens(slot, node.life) && !slot.is_open())
    };
    listening(run).into_iter().filter(is_closed).collect()
}

fn listens(slot: &GateState, life: Life) -> bool {
    let has_turn = matches!(
        (slot.place, life),
        (Place::Before, Life::Waiting) | (Place::After, Life::Judging)
    );
    has_turn && slot.signal.is_some() && !slot.is_skipped
}

/// Which gates hear a post, and what they make of it.
///
/// *Errors*: nothing waits for it, several nodes do, or it does not say what a gate asks.
pub(in crate::run) fn heard(run: &Run, posted: &Posted) -> Result<Vec<Heard>, Refusal> {
    may_be_heard(run)?;
    let size = posted.payload.as_ref().map_or(0, |payload| payload.to_string().len());
    if size > PAYLOAD_BYTES_MAX {
        return refused(format!(
            "the payload has {size} bytes, at most {PAYLOAD_BYTES_MAX} are kept; post a summary and a link"
        ));
    }
    let all = listening(run);
    let fits = |awaited: &&Awaited| {
        let node = posted.node.as_deref();
        name_of(run, awaited.gate) == Some(&posted.name)
            && node.is_none_or(|key| run.plan.node(awaited.node).key == key)
    };
    let fitting: Vec<Awaited> = all.iter().filter(fits).copied().collect();
    let Some(first) = fitting.first() else {
        return refused(unasked(run, posted, &all));
    };
    if fitting.iter().any(|other| other.node != first.node) {
        let keys: Vec<&str> = fitting.iter().map(|of| run.plan.node(of.node).key.as_str()).collect();
        return refused(format!(
            "several nodes wait for the signal `{}`; name one: {}",
            posted.name,
            keys.join(", ")
        ));
    }
    fitting
        .iter()
        .map(|awaited| {
            let (name, gate) = run.plan.gate(awaited.gate);
            let GateKind::Signal(signal) = &gate.kind else {
                return refused(format!("`{name}` waits for no signal"));
            };
            let (passed, because) = said(name, signal, posted)?;
            Ok(Heard {
                node: awaited.node,
                gate: awaited.gate,
                passed,
                because,
            })
        })
        .collect()
}

fn refused<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

fn may_be_heard(run: &Run) -> Result<(), Refusal> {
    match &run.state.standing {
        Standing::Finished { .. } => refused("the run has ended; nothing waits for a signal"),
        Standing::RollingBack => refused("the run is being rolled back; nothing waits for a signal"),
        Standing::Submitted => refused("the run has not begun; nothing waits for a signal yet"),
        Standing::Running | Standing::Attention { .. } => Ok(()),
    }
}

fn name_of(run: &Run, gate: GateId) -> Option<&String> {
    match &run.plan.gate(gate).1.kind {
        GateKind::Signal(signal) => Some(&signal.name),
        _ => None,
    }
}

/// Why nothing hears a post, with what would be heard.
fn unasked(run: &Run, posted: &Posted, all: &[Awaited]) -> String {
    let name = &posted.name;
    let awaited: Vec<String> = all
        .iter()
        .filter_map(|of| Some(format!("{} ({})", name_of(run, of.gate)?, run.plan.node(of.node).key)))
        .collect();
    let listens = |gate: &GateId| name_of(run, *gate) == Some(name);
    let asks_later = run.plan.nodes().find(|(id, node)| {
        let (before, after) = match run.node(*id).life {
            Life::Waiting => (true, true),
            Life::Moving | Life::Baking => (false, true),
            _ => (false, false),
        };
        (before && node.before.iter().any(listens)) || (after && node.after.iter().any(listens))
    });
    let mut why = match asks_later {
        _ if !run.plan.gate_ids().any(|gate| listens(&gate)) => {
            format!("no gate of this run waits for a signal `{name}`")
        }
        Some((_, node)) => format!(
            "nothing waits for the signal `{name}` yet: {} will ask for it, and what is posted before that does not count",
            node.key
        ),
        None => format!("nothing waits for the signal `{name}` any more"),
    };
    if !awaited.is_empty() {
        why.push_str(&format!("; waited for now: {}", awaited.join(", ")));
    }
    why
}

/// Whether a post passes a gate, and the reason that people are shown.
///
/// *Errors*: it says neither, or `accept` has no answer for its payload: whoever posts it must say more.
fn said(name: &str, gate: &SignalGate, posted: &Posted) -> Result<(bool, String), Refusal> {
    // A sender who says that it failed is believed, whatever the payload.
    if posted.passed == Some(false) {
        return Ok((false, "posted as failed".to_owned()));
    }
    let Some(accept) = &gate.accept else {
        return match posted.passed {
            Some(passed) => Ok((passed, "posted as passed".to_owned())),
            None => refused(format!("the post does not say whether `{name}` passed or failed")),
        };
    };
    let Some(payload) = &posted.payload else {
        return refused(format!("`{name}` decides by `{accept}`, and no payload was posted"));
    };
    match accepted(accept, payload.clone()) {
        Ok(passed) => Ok((passed, format!("`{accept}` is {passed}"))),
        Err(why) => refused(format!(
            "`{name}` decides by `{accept}`, which has no answer for this payload: {why}"
        )),
    }
}

/// *Errors*: the expression has no answer for this payload.
fn accepted(accept: &str, payload: serde_json::Value) -> Result<bool, String> {
    let scope = Scope::new().with("payload", Type::Dyn);
    let first = |problems: Vec<meridian_workflows::expression::Problem>| {
        problems
            .first()
            .map_or_else(|| "it cannot be read".to_owned(), ToString::to_string)
    };
    let predicate = Expression::parse(accept)
        .and_then(|read| read.predicate(&scope))
        .map_err(first)?;
    predicate
        .holds(&Values::new().with("payload", Value::from(payload)))
        .map_err(|error| error.to_string())
}

impl Draft<'_> {
    pub(in crate::run) fn take_post(&mut self, heard: Vec<Heard>, by: &Person) {
        for Heard {
            node,
            gate,
            passed,
            because,
        } in heard
        {
            self.push(Event::SignalPosted {
                node,
                gate,
                by: by.clone(),
                passed,
                because,
                at: self.now,
            });
        }
    }

    /// Asks once the node's turn has come; afterwards judges what was posted, or that nothing was.
    pub(in crate::run) fn judge_signal(&mut self, id: NodeId, place: Place, gate: GateId) -> bool {
        let plan = self.run.plan().clone();
        let definition = plan.gate(gate).1;
        let (GateKind::Signal(signal), Some(slot)) = (&definition.kind, self.run.node(id).gate(place, gate)) else {
            return false;
        };
        if slot.is_skipped {
            return false;
        }
        let Some(state) = &slot.signal else {
            if self.run.is_paused() {
                return false;
            }
            self.push(Event::SignalAwaited {
                node: id,
                place,
                gate,
                expires: signal.expires,
                at: self.now,
            });
            return true;
        };
        let judgement = judged(definition, signal, state, self.now);
        let is_open_ended = state.posted.is_some();
        let expiry = state.expiry.as_ref().filter(|_| !is_open_ended);
        let next_at = expiry.and_then(Countdown::ends_at).filter(|end| *end > self.now);
        self.judge_if_new(id, place, gate, judgement, next_at)
    }
}

fn judged(gate: &Gate, signal: &SignalGate, state: &SignalState, now: jiff::Timestamp) -> Judgement {
    let name = &signal.name;
    match &state.posted {
        Some(posted) if posted.passed => {
            Judgement::pass(format!("`{name}` passed, says {}: {}", posted.by.name, posted.because))
        }
        // A failure never advances, whatever the file says.
        Some(posted) => Judgement::fail(
            gate.on_fail.max(Policy::Hold),
            format!("`{name}` failed, says {}: {}", posted.by.name, posted.because),
        ),
        None if state.expiry.as_ref().is_some_and(|expiry| expiry.is_over(now)) => {
            let because = format!("nobody has posted `{name}` in time");
            if is_on(Mutant::PassesSilence) {
                return Judgement::pass(because);
            }
            Judgement::unknown(Level::NoData, signal.on_expiry.max(Policy::Hold), because)
        }
        None => Judgement::pending(format!("`{name}` has not been posted")),
    }
}
