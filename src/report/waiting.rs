//! What a run waits for: one list that feeds the board, `status` and `why`.

use jiff::Timestamp;
use meridian_engine::run::effect::{DesiredState, Place};
use meridian_engine::run::reading::Answer;
use meridian_engine::run::state::{GateState, Life, NodeState, RegionLife, Run, Standing};
use meridian_engine::run::verdict::Level;
use meridian_workflows::plan::{GateId, NodeId, NodeKind};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{Approval, GateKind, SignalGate};

use super::clock;
use super::ink::{Tone, tame};

/// How much it matters to somebody who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// It goes on by itself, as planned.
    Going,
    /// It stays where it is, and goes on by itself when something recovers or opens.
    Waiting,
    /// Nothing happens until a person acts.
    Person,
}

/// One thing that a run waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// None: the run as a whole.
    pub node: Option<NodeId>,
    pub urgency: Urgency,
    /// Short, for a board: `baking, 12s of 30s left`.
    pub brief: String,
    /// The predicate of a sentence about the node: `waits for the approval \`sre\``.
    pub what: String,
    pub since: Option<Timestamp>,
    /// Until when at most, with what happens then.
    pub until: Option<(Timestamp, &'static str)>,
    /// Who can act, as a whole sentence; none where nobody needs to.
    pub who: Option<String>,
    /// What they would type.
    pub commands: Vec<String>,
}

impl Wait {
    fn new(node: Option<NodeId>, urgency: Urgency, brief: impl Into<String>, what: impl Into<String>) -> Wait {
        Wait {
            node,
            urgency,
            brief: brief.into(),
            what: what.into(),
            since: None,
            until: None,
            who: None,
            commands: Vec::new(),
        }
    }

    fn since(mut self, since: Option<Timestamp>) -> Wait {
        self.since = since;
        self
    }

    fn until(mut self, until: Option<Timestamp>, what: &'static str) -> Wait {
        self.until = until.map(|until| (until, what));
        self
    }

    fn who(mut self, who: impl Into<String>) -> Wait {
        self.who = Some(who.into());
        self
    }

    fn command(mut self, command: String) -> Wait {
        self.commands.push(command);
        self
    }
}

/// Everything that a run waits for, what concerns people first.
pub struct Waiting<'a> {
    run: &'a Run,
    now: Timestamp,
    /// How `meridian` is called here, as in `meridian --state ci`.
    program: &'a str,
}

impl<'a> Waiting<'a> {
    pub fn new(run: &'a Run, now: Timestamp, program: &'a str) -> Waiting<'a> {
        Waiting { run, now, program }
    }

    /// All of it, the most urgent first.
    pub fn all(&self) -> Vec<Wait> {
        let mut waits: Vec<Wait> = self.whole_run().into_iter().collect();
        if !self.run.is_finished() {
            waits.extend(self.run.plan().ids().flat_map(|node| self.node(node)));
        }
        waits.sort_by_key(|wait| std::cmp::Reverse(wait.urgency));
        waits
    }

    /// What keeps one node where it is; nothing for nodes that are over or whose parents have not passed.
    pub fn node(&self, id: NodeId) -> Vec<Wait> {
        let node = self.run.node(id);
        if node.life.is_over() || node.waits_for > 0 {
            return Vec::new();
        }
        if let Some(question) = &node.question {
            let gate = question.gate.map(|gate| self.gate_name(gate));
            let what = format!("asks a person to decide: {}", tame(&question.why));
            return vec![
                self.decision(id, gate)
                    .apply(Wait::new(
                        Some(id),
                        Urgency::Person,
                        format!("asks: {}", tame(&question.why)),
                        what,
                    ))
                    .since(Some(question.since))
                    .who("Anybody may decide: to go on, or to roll back."),
            ];
        }
        if let Some(hold) = &node.hold {
            let wait = Wait::new(
                Some(id),
                Urgency::Waiting,
                format!("held: {}", tame(&hold.why)),
                format!("is held: {}; it goes on by itself when that recovers", tame(&hold.why)),
            )
            .since(Some(hold.since))
            .until(Some(hold.until), "then the run needs attention");
            let command = match hold.gate {
                Some(gate) => self.command(&format!("skip {} {} --reason WHY", self.run.id(), self.gate_name(gate))),
                None => self.command(&format!("abort {}", self.run.id())),
            };
            return vec![wait.who("Anybody may act before that.").command(command)];
        }
        match node.life {
            Life::Waiting => self.before(id, node),
            Life::Moving => vec![self.moving(id, node)],
            Life::Baking => vec![self.baking(id, node)],
            Life::Judging => self.gates(id, node, Place::After),
            Life::Closing => vec![self.closing(id, node)],
            Life::Passed | Life::Skipped | Life::Tolerated | Life::Failed | Life::RolledBack => Vec::new(),
        }
    }

    fn whole_run(&self) -> Option<Wait> {
        let state = self.run.state();
        let id = self.run.id();
        match &state.standing {
            Standing::Submitted => {
                let wait = match &state.claim.waits {
                    Some(held) => {
                        let what = format!(
                            "waits in the queue: run {} holds {}",
                            tame(&held.by),
                            tame(&held.target)
                        );
                        Wait::new(
                            None,
                            Urgency::Waiting,
                            format!("queued behind {}", tame(&held.by)),
                            what,
                        )
                        .until(Some(held.again_at), "then it looks again, or as soon as that run ends")
                        .command(self.command(&format!("why {}", tame(&held.by))))
                    }
                    None => match &state.claim.why {
                        Some(why) => {
                            let what = format!("cannot take its targets: {}", tame(why));
                            Wait::new(None, Urgency::Waiting, "cannot take its targets", what)
                                .until(state.claim.again_at, "then it tries again")
                                .command(self.command(&format!("abort {id}")))
                        }
                        None => Wait::new(None, Urgency::Going, "takes its targets", "takes its targets"),
                    },
                };
                Some(wait.since(state.submitted_at))
            }
            Standing::Attention { reason, action, since } => Some(
                Wait::new(
                    None,
                    Urgency::Person,
                    "needs attention",
                    format!("needs attention: {}", tame(reason)),
                )
                .since(Some(*since))
                .who(format!("To do: {}.", tame(action).trim_end_matches('.')))
                .command(self.command(&format!("retry {id}")))
                .command(self.command(&format!("rollback {id}"))),
            ),
            Standing::RollingBack => Some(self.rolling_back()),
            Standing::Running => state.pause.map(|pause| {
                Wait::new(
                    None,
                    Urgency::Person,
                    "paused",
                    "is paused: nothing advances, gates go on reading",
                )
                .since(Some(pause.since))
                .who("Anybody may lift it.")
                .command(self.command(&format!("resume {id}")))
            }),
            Standing::Finished { .. } => None,
        }
    }

    fn rolling_back(&self) -> Wait {
        let plan = self.run.plan();
        let open: Vec<String> = plan
            .region_ids()
            .filter_map(|region| match self.run.region(region).life {
                RegionLife::Reverting => Some(format!("{} goes back to its baseline", plan.region(region).0)),
                RegionLife::Withdrawing => Some(format!("{} drains and removes the candidate", plan.region(region).0)),
                RegionLife::Untouched | RegionLife::Open | RegionLife::Promoted | RegionLife::RolledBack => None,
            })
            .collect();
        let rollback = self.run.state().rollback.as_ref();
        let cause = rollback.map(|rollback| tame(&rollback.cause)).unwrap_or_default();
        let mut what = format!("rolls back ({cause})");
        if !open.is_empty() {
            what.push_str(&format!(": {}", open.join(", ")));
        }
        let is_overdue = rollback.is_some_and(|rollback| rollback.is_overdue);
        let urgency = if is_overdue { Urgency::Person } else { Urgency::Going };
        Wait::new(None, urgency, "rolling back", what)
            .since(rollback.map(|rollback| rollback.decided_at))
            .until(
                rollback.map(|rollback| rollback.deadline),
                if is_overdue {
                    "which has passed: people are called"
                } else {
                    "then people are called"
                },
            )
    }

    fn before(&self, id: NodeId, node: &NodeState) -> Vec<Wait> {
        let gates = self.gates(id, node, Place::Before);
        if !gates.is_empty() || self.run.is_paused() || !matches!(self.run.state().standing, Standing::Running) {
            return gates;
        }
        let plan_node = self.run.plan().node(id);
        let phase = self.run.plan().phase(plan_node.phase);
        let active = self.run.active_regions(plan_node.phase);
        let is_opening = matches!(plan_node.kind, NodeKind::Open { .. });
        if is_opening && active >= phase.max_parallel as usize {
            let what = format!(
                "waits for its turn: {active} of at most {} regions of phase {} are under way",
                phase.max_parallel, phase.name
            );
            return vec![Wait::new(Some(id), Urgency::Going, "waits for its turn", what)];
        }
        Vec::new()
    }

    fn gates(&self, id: NodeId, node: &NodeState, place: Place) -> Vec<Wait> {
        node.gates_at(place)
            .filter(|slot| !slot.is_open())
            .filter_map(|slot| self.gate(id, slot))
            .collect()
    }

    fn gate(&self, id: NodeId, slot: &GateState) -> Option<Wait> {
        let (name, gate) = self.run.plan().gate(slot.gate);
        let said = slot.last.as_ref().map(|judged| tame(judged.judgement.because()));
        let wait = match &gate.kind {
            GateKind::Approval(approval) => self.approval(id, slot, name, approval)?,
            GateKind::Window(_) => {
                let why = said.unwrap_or_else(|| "not looked at yet".to_owned());
                Wait::new(
                    Some(id),
                    Urgency::Waiting,
                    format!("{name}: {why}"),
                    format!("waits for the window `{name}`: {why}"),
                )
                .until(slot.next_at, "then it opens")
                .who("Nobody needs to act; a person may leave the gate out.")
                .command(self.command(&format!("skip {} {name} --reason WHY", self.run.id())))
            }
            GateKind::Signal(signal) => self.signal(id, slot, name, signal)?,
            GateKind::Lock(lock) => self.lock(id, name, &lock.name, said),
            GateKind::Completed(other) => self.completed(id, slot, name, &other.workflow),
            GateKind::Metric(_)
            | GateKind::Http(_)
            | GateKind::Command(_)
            | GateKind::Compare(_)
            | GateKind::Trend(_)
            | GateKind::Budget(_)
            | GateKind::Kayenta(_)
            | GateKind::Health
            | GateKind::NotYet { .. } => {
                let why = said.unwrap_or_else(|| "first reading".to_owned());
                Wait::new(
                    Some(id),
                    Urgency::Waiting,
                    format!("{name}: {why}"),
                    format!("waits for the gate `{name}`: {why}"),
                )
                .until(slot.next_at, "then it is read again")
            }
        };
        Some(wait)
    }

    fn approval(&self, id: NodeId, slot: &GateState, name: &str, approval: &Approval) -> Option<Wait> {
        let asked = slot.approval.as_ref()?;
        let given: Vec<&str> = asked.approved_by.iter().map(|person| person.name.as_str()).collect();
        let mut what = format!(
            "waits for the approval `{name}`: {} of {} given",
            given.len(),
            approval.count
        );
        if !given.is_empty() {
            what.push_str(&format!(" (by {})", given.join(", ")));
        }
        let brief = format!("waits for approval {name} ({} of {})", given.len(), approval.count);
        let mut who = match approval.from.as_slice() {
            [] => "Anybody may answer".to_owned(),
            roles => format!("{} may answer", either(roles)),
        };
        if !approval.require.is_empty() {
            who.push_str(&format!(", and {} must be among them", approval.require.join(" and ")));
        }
        let starter = self.run.state().starter.as_ref();
        if let Some(starter) = starter.filter(|_| !approval.starter_may_approve) {
            who.push_str(&format!("; {} may not, having started the run", starter.name));
        }
        let role = approval
            .from
            .first()
            .map(|role| format!(" --role {role}"))
            .unwrap_or_default();
        let wait = Wait::new(Some(id), Urgency::Person, brief, what)
            .since(Some(asked.asked_at))
            .until(asked.expiry.and_then(|expiry| expiry.ends_at()), "then it expires")
            .who(format!("{who}."));
        let run = self.run.id();
        Some(
            wait.command(self.command(&format!("approve {run} {name} --as NAME{role}")))
                .command(self.command(&format!("reject {run} {name} --as NAME{role}"))),
        )
    }

    fn signal(&self, id: NodeId, slot: &GateState, name: &str, signal: &SignalGate) -> Option<Wait> {
        let asked = slot.signal.as_ref()?;
        let run = self.run.id();
        let posted = match &asked.posted {
            Some(posted) => format!(
                "{} posted that it failed ({})",
                tame(&posted.by.name),
                tame(&posted.because)
            ),
            None => "nobody has posted it".to_owned(),
        };
        let expiry = asked.expiry.filter(|_| asked.posted.is_none());
        let brief = format!("waits for signal {}", signal.name);
        let what = format!("waits for the signal `{}` of the gate `{name}`: {posted}", signal.name);
        let node = &self.run.plan().node(id).key;
        let command = match &signal.accept {
            Some(_) => format!("signal {run} {} --node {node} --payload JSON", signal.name),
            None => format!("signal {run} {} --node {node} --passed", signal.name),
        };
        let who = match &signal.accept {
            Some(accept) => format!("A system outside posts it; it passes where `{}`.", tame(accept)),
            None => "A system outside posts it, as passed or failed.".to_owned(),
        };
        Some(
            Wait::new(Some(id), Urgency::Person, brief, what)
                .since(Some(asked.asked_at))
                .until(expiry.and_then(|expiry| expiry.ends_at()), "then it expires")
                .who(who)
                .command(self.command(&command))
                .command(self.command(&format!("skip {run} {name} --reason WHY"))),
        )
    }

    fn completed(&self, id: NodeId, slot: &GateState, name: &str, workflow: &str) -> Wait {
        let said = slot.last.as_ref().map(|judged| tame(judged.judgement.because()));
        let why = said.unwrap_or_else(|| "not looked at yet".to_owned());
        let reading = slot.last.as_ref().and_then(|judged| judged.reading.as_ref());
        let other = reading.and_then(|reading| match &reading.answer {
            Answer::Completed { newest } => newest.as_ref(),
            _ => None,
        });
        let look = match other {
            Some(other) => format!("why {}", tame(&other.run)),
            None => format!("runs --workflow {workflow}"),
        };
        Wait::new(
            Some(id),
            Urgency::Waiting,
            format!("{name}: {why}"),
            format!("waits for a run of the workflow `{workflow}` (gate `{name}`): {why}"),
        )
        .until(slot.next_at, "then it is looked at again")
        .who("It goes on by itself once that run has succeeded; what is known of it is told by the first command.")
        .command(self.command(&look))
        .command(self.command(&format!("skip {} {name} --reason WHY", self.run.id())))
    }

    fn lock(&self, id: NodeId, gate: &str, name: &str, said: Option<String>) -> Wait {
        let skip = self.command(&format!("skip {} {gate} --reason WHY", self.run.id()));
        let lock = self.run.lock(name);
        let Some((lock, waits)) = lock.and_then(|lock| Some((lock, lock.waits.as_ref()?))) else {
            let why = said.unwrap_or_else(|| "not asked for yet".to_owned());
            let what = format!("waits for the lock `{name}`: {why}");
            return Wait::new(Some(id), Urgency::Waiting, format!("lock {name}: {why}"), what).command(skip);
        };
        let by = tame(&waits.by);
        let place = match waits.ahead {
            1 => format!("run {by} has it, this run is next"),
            ahead => format!("run {by} has it or is to have it next, {ahead} runs are before this one"),
        };
        Wait::new(
            Some(id),
            Urgency::Waiting,
            format!("waits for lock {name}, which {by} has"),
            format!("waits for the lock `{name}`: {place}"),
        )
        .since(Some(lock.sought_at))
        .until(lock.again_at, "then it asks again")
        .who("It goes on by itself when the lock is free; what the other run waits for is told by the first command.")
        .command(self.command(&format!("why {by}")))
        .command(skip)
    }

    fn moving(&self, id: NodeId, node: &NodeState) -> Wait {
        let plan_node = self.run.plan().node(id);
        let region = plan_node.region.map(|region| self.run.region(region));
        let order = region.and_then(|region| region.order.as_ref());
        let deadline = node.deadline.and_then(|deadline| deadline.ends_at());
        let doing = match (&plan_node.kind, order) {
            (NodeKind::Open { .. }, None) => "looking at what serves now".to_owned(),
            (NodeKind::Open { .. }, Some(_)) => "starting the candidate".to_owned(),
            _ => format!("shifting to {}", plan_node.traffic().unwrap_or(Share::ZERO)),
        };
        if let Some(stuck) = order.and_then(|order| order.stuck.as_ref()) {
            let why = tame(&stuck.why);
            return Wait::new(
                Some(id),
                Urgency::Waiting,
                format!("stuck: {why}"),
                format!("is stuck {doing}: {why}"),
            )
            .since(Some(stuck.since))
            .until(deadline, "then it counts as failed");
        }
        let why = order
            .and_then(|order| order.why.as_deref())
            .map(|why| format!(" ({})", tame(why)))
            .unwrap_or_default();
        Wait::new(
            Some(id),
            Urgency::Going,
            format!("{doing}{why}"),
            format!("is {doing}{why}"),
        )
        .since(node.started_at)
        .until(deadline, "then it counts as stuck")
    }

    fn baking(&self, id: NodeId, node: &NodeState) -> Wait {
        let left = clock::left(node.bake.left());
        let need = clock::length(node.bake.need);
        let frozen = self.run.state().pause.is_some_and(|pause| pause.freeze_bake);
        if !node.bake.left().is_zero() && node.bake.is_running() && !frozen {
            let until = node
                .bake
                .counted_to
                .map(|counted_to| node.bake.left().after(counted_to).max(self.now));
            let seen = until.map_or(left, |until| {
                clock::left(meridian_workflows::duration::Duration::between(self.now, until))
            });
            return Wait::new(
                Some(id),
                Urgency::Going,
                format!("baking, {seen} of {need} left"),
                format!("bakes for {need}"),
            )
            .since(node.since)
            .until(until, "if its gates stay healthy");
        }
        let unsure = node
            .gates_at(Place::Watch)
            .filter(|slot| !slot.is_open())
            .map(|slot| {
                let why = slot
                    .last
                    .as_ref()
                    .map_or("no reading yet", |judged| judged.judgement.because());
                format!("{}: {}", self.gate_name(slot.gate), tame(why))
            })
            .collect::<Vec<_>>()
            .join("; ");
        let why = match (&node.why, unsure.is_empty()) {
            (Some(why), _) => tame(why),
            (None, false) => unsure,
            (None, true) if frozen => "frozen by the pause".to_owned(),
            (None, true) => "its gates have not vouched for it yet".to_owned(),
        };
        let brief = if node.bake.left().is_zero() {
            format!("bake over, evidence missing: {why}")
        } else {
            format!("bake stands still at {left} left: {why}")
        };
        let what = if node.bake.left().is_zero() {
            format!("has baked for {need} and waits for evidence: {why}")
        } else {
            format!("bakes, and the time does not count now ({left} of {need} left): {why}")
        };
        Wait::new(Some(id), Urgency::Waiting, brief, what).since(node.since)
    }

    fn closing(&self, id: NodeId, node: &NodeState) -> Wait {
        let region = self.run.plan().node(id).region.map(|region| self.run.region(region));
        let order = region.and_then(|region| region.order.as_ref());
        let is_promoting = order.is_some_and(|order| order.state == DesiredState::Promoted);
        let doing = if is_promoting {
            "making the candidate the baseline"
        } else {
            "closing"
        };
        let why = order
            .and_then(|order| {
                order
                    .stuck
                    .as_ref()
                    .map(|stuck| stuck.why.as_str())
                    .or(order.why.as_deref())
            })
            .map(|why| format!(" ({})", tame(why)))
            .unwrap_or_default();
        Wait::new(
            Some(id),
            Urgency::Going,
            format!("{doing}{why}"),
            format!("is {doing}{why}"),
        )
        .since(node.since)
    }

    fn gate_name(&self, gate: GateId) -> &'a str {
        self.run.plan().gate(gate).0
    }

    fn command(&self, rest: &str) -> String {
        format!("{} {rest}", self.program)
    }

    fn decision(&self, id: NodeId, gate: Option<&str>) -> Decision {
        let run = self.run.id();
        let about = gate.map_or_else(
            || format!(" --node {}", self.run.plan().node(id).key),
            |gate| format!(" {gate}"),
        );
        Decision(vec![
            self.command(&format!("approve {run}{about}")),
            self.command(&format!("reject {run}{about}")),
        ])
    }
}

/// The two answers to a question.
struct Decision(Vec<String>);

impl Decision {
    fn apply(self, mut wait: Wait) -> Wait {
        wait.commands = self.0;
        wait
    }
}

/// How bad the newest judgement of a gate is; none before the first.
pub fn level(slot: &GateState) -> Option<Level> {
    slot.last.as_ref().map(|judged| judged.judgement.level())
}

/// How a judgement is toned and signed wherever it is shown.
pub fn sign(level: Option<Level>) -> (Tone, &'static str) {
    match level {
        Some(Level::Pass) => (Tone::Good, "✓"),
        Some(Level::Pending) | None => (Tone::Dim, "·"),
        Some(Level::NoData | Level::Inconclusive) => (Tone::Caution, "‖"),
        Some(Level::Error | Level::Fail) => (Tone::Bad, "✗"),
    }
}

fn either(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
