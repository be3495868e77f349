//! How gates stand in a node: which readings are due, what people and windows have settled, and the verdict of all together.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{GateId, NodeId, NodeKind, RegionId};
use meridian_workflows::window::{self, Opening};
use meridian_workflows::workflow::{Approval, GateKind, Policy, Window};

use super::bake::Countdown;
use super::decide::Draft;
use super::effect::{Arms, Place};
use super::event::Event;
use super::judge::{Circumstances, judge};
use super::mutant::{Mutant, is_on};
use super::reading::{Answer, Reading};
use super::state::{ApprovalState, GateState, Life, Run};
use super::verdict::{Judgement, Level, Verdict};

/// How bad a policy is; 0 lets go on.
pub(in crate::run) fn severity(policy: Policy) -> usize {
    match policy {
        Policy::Advance => 0,
        Policy::Hold => 1,
        Policy::Ask => 2,
        Policy::Rollback => 3,
    }
}

/// Evidence may reach back this far even where the share changed later: a rate needs a few scrapes.
const WINDOW_MIN: Duration = Duration::from_secs(30);

/// Counts reach back to the last change of share, and no source is asked for more than this.
const COUNTED_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// A baseline that has no data is asked about this often; then its gate's policy for missing data decides.
const BASELINE_TRIES: u64 = 3;

/// How a region's telemetry is read after a rollback: the report waits at most this long for it.
pub(in crate::run) const EPILOGUE_MAX: Duration = Duration::from_secs(30);

/// The worst that acts, with the gate and the sentence behind it.
pub(in crate::run) struct Acting {
    pub verdict: Verdict,
    pub gate: GateId,
    pub because: String,
}

impl Run {
    /// What a gate's newest evidence asks for, once it has lasted for the gate's `for`.
    pub fn verdict_of(&self, slot: &GateState) -> Verdict {
        let gate = self.plan.gate(slot.gate).1;
        if slot.is_skipped || slot.is_excused || gate.dry_run {
            return Verdict::Advance;
        }
        let Some(last) = &slot.last else {
            return Verdict::Advance;
        };
        // People and calendars are judged once, when something changes; a `for` is about readings that repeat.
        let breached_for = if is_on(Mutant::IgnoresFor) {
            Duration::ZERO
        } else {
            gate.breached_for
        };
        let is_once = gate.kind.is_judged_in_the_core();
        let lasted = |since: Timestamp| is_once || Duration::between(since, last.at) >= breached_for;
        let severities = [Verdict::RollBack, Verdict::Ask, Verdict::Hold]
            .into_iter()
            .zip([2, 1, 0]);
        severities
            .filter(|(_, index)| slot.breached_since[*index].is_some_and(lasted))
            .map(|(verdict, _)| verdict)
            .next()
            .unwrap_or(Verdict::Advance)
    }

    /// The worst verdict of a node's gates in the places that act now.
    pub(in crate::run) fn worst(&self, id: NodeId) -> Option<Acting> {
        let places = self.places_read(id);
        let node = self.node(id);
        let slots = node
            .gates
            .iter()
            .filter(|slot| places.contains(&slot.place) && !self.is_left_out(id, slot.gate));
        let acting = slots.filter_map(|slot| {
            let verdict = self.verdict_of(slot);
            let because = slot
                .last
                .as_ref()
                .map(|last| last.judgement.because().to_owned())
                .unwrap_or_default();
            (verdict > Verdict::Advance).then_some(Acting {
                verdict,
                gate: slot.gate,
                because,
            })
        });
        // The first of the worst, in the plan's order.
        acting.reduce(|worst, next| if next.verdict > worst.verdict { next } else { worst })
    }

    /// The places whose gates are read in a node now.
    pub fn places_read(&self, id: NodeId) -> &'static [Place] {
        let node = self.node(id);
        let is_watched = self
            .plan
            .node(id)
            .region
            .is_some_and(|region| self.region(region).watched == Some(id));
        match node.life {
            Life::Waiting if self.may_begin(id) => &[Place::Before],
            Life::Moving | Life::Baking | Life::Closing => &[Place::Watch],
            Life::Judging => &[Place::Watch, Place::After],
            Life::Passed | Life::Skipped if is_watched => &[Place::Watch],
            Life::Waiting | Life::Passed | Life::Skipped | Life::Tolerated | Life::Failed | Life::RolledBack => &[],
        }
    }

    /// All gates of a place stand open.
    pub(in crate::run) fn is_open(&self, id: NodeId, place: Place) -> bool {
        self.node(id)
            .gates_at(place)
            .all(|slot| slot.is_open() || self.plan.gate(slot.gate).1.dry_run || self.is_left_out(id, slot.gate))
    }

    /// When a gate that asks the world is read next; none when it is not read now.
    pub(in crate::run) fn reading_due(&self, id: NodeId, slot: &GateState) -> Option<Timestamp> {
        let gate = self.plan.gate(slot.gate).1;
        let is_read = !gate.kind.is_judged_in_the_core()
            && !matches!(gate.kind, GateKind::NotYet { .. })
            && !slot.is_skipped
            && !self.is_left_out(id, slot.gate)
            && self.places_read(id).contains(&slot.place);
        is_read.then(|| slot.next_at.unwrap_or(Timestamp::MIN))
    }

    /// Gates of a stage at full share that compare with a baseline of which nothing has been read while it served: it is read
    /// before the shift, a few times at most. With the instant at which each is due.
    pub(in crate::run) fn baselines_due(&self, id: NodeId) -> Vec<(GateId, Timestamp)> {
        let node = self.plan.node(id);
        let (Some(region), NodeKind::Stage { exposure, .. }) = (node.region, &node.kind) else {
            return Vec::new();
        };
        let state = self.region(region);
        let is_next = self.node(id).life == Life::Waiting && self.may_begin(id) && self.is_open(id, Place::Before);
        if !is_next || !exposure.traffic().is_full() || state.ordered_share().is_full() || state.baseline.is_none() {
            return Vec::new();
        }
        let mut gates: Vec<GateId> = node.watch.iter().chain(&node.after).copied().collect();
        gates.sort_unstable();
        gates.dedup();
        let due = gates.into_iter().filter_map(|gate| {
            // Only a number can be kept and compared with later; counts and courses need both arms at once.
            let compares = matches!(
                &self.plan.gate(gate).1.kind,
                GateKind::Metric(metric) if metric.needs_baseline && !metric.concurrent_only
            );
            let is_known = state.frozen.iter().any(|(of, _)| *of == gate);
            let slot = self.node(id).gate(Place::Baseline, gate);
            let has_tries = slot.is_none_or(|slot| slot.round < BASELINE_TRIES);
            let due = slot.and_then(|slot| slot.next_at).unwrap_or(Timestamp::MIN);
            (compares && !is_known && has_tries).then_some((gate, due))
        });
        due.collect()
    }

    /// Whose telemetry a gate of this node is about.
    pub(in crate::run) fn arms(&self, id: NodeId, gate: GateId, place: Place, now: Timestamp) -> Arms {
        let node = self.plan.node(id);
        let region = node.region.map(|region| self.region(region));
        let since = region.and_then(|region| region.shifted_at).unwrap_or(now);
        let kind = &self.plan.gate(gate).1.kind;
        let metrics = &self.plan.workflow().metrics;
        let (window, since) = match kind {
            GateKind::Metric(metric) => (
                metrics.get(&metric.query).map_or(WINDOW_MIN, |metric| metric.window),
                since,
            ),
            GateKind::Compare(_) => (COUNTED_MAX, since),
            GateKind::Trend(trend) => (trend.window, self.exposed_since(node.region, since)),
            GateKind::Budget(_) => (COUNTED_MAX, self.exposed_since(node.region, since)),
            GateKind::Http(_)
            | GateKind::Command(_)
            | GateKind::Approval(_)
            | GateKind::Window(_)
            | GateKind::Kayenta(_)
            | GateKind::Signal(_)
            | GateKind::Lock(_)
            | GateKind::Completed(_)
            | GateKind::Health
            | GateKind::NotYet { .. } => (WINDOW_MIN, since),
        };
        let needs_baseline = kind.needs_baseline();
        let both_serve = region.is_some_and(|region| !region.ordered_share().is_full());
        let baseline = region.and_then(|region| region.baseline.clone());
        let (candidate, baseline) = match place {
            // Before the shift, and in the report after a rollback, what serves is asked about.
            Place::Epilogue | Place::Baseline => (baseline, None),
            Place::Before | Place::Watch | Place::After => {
                let candidate = region.and_then(|region| region.candidate.clone());
                (candidate, baseline.filter(|_| needs_baseline && both_serve))
            }
        };
        // The baseline has served since before the run: all of the window is its own.
        let lived = match place {
            Place::Baseline => window,
            // What was counted before the shift is another split; a rate needs a few scrapes all the same.
            Place::Before | Place::Watch | Place::After | Place::Epilogue => {
                let shortest = match kind {
                    GateKind::Compare(_) => Duration::from_secs(1),
                    _ => WINDOW_MIN,
                };
                Duration::between(since, now).max(shortest)
            }
        };
        Arms {
            region: node.region,
            candidate,
            baseline,
            window: window.min(lived),
            since,
        }
    }

    /// What a reading that is taken now in this place of a node is judged against.
    pub fn circumstances(&self, id: NodeId, place: Place, gate_id: GateId, now: Timestamp) -> Circumstances<'_> {
        let gate = self.plan.gate(gate_id).1;
        let node = self.plan.node(id);
        let region = node.region.map(|region| self.region(region));
        let frozen = region
            .and_then(|region| region.frozen.iter().find(|(of, _)| *of == gate_id))
            .map(|(_, sample)| sample);
        let since = match (place, region) {
            (Place::Watch | Place::After, Some(region)) => region.shifted_at.unwrap_or(now),
            // Before the shift there is no change of share to be newer than; the node's own waiting is the measure.
            _ => Timestamp::MIN,
        };
        Circumstances {
            since,
            frozen,
            share: region.map(|region| region.ordered_share()),
            // Both look through the plan, which may be large: only for those who ask.
            exposed: match gate.kind {
                GateKind::Trend(_) => self.exposed_since(node.region, since),
                GateKind::Compare(_) if !gate.initial_delay.is_zero() => self.exposed_since(node.region, since),
                _ => since,
            },
            bake: node.bake,
            family: match gate.kind {
                GateKind::Compare(_) => self.compared_together(id),
                _ => 1,
            },
            ..Circumstances::alone(gate, &self.plan.workflow().metrics, now)
        }
    }

    /// Judges a reading of this node and makes the event of it.
    pub(in crate::run) fn read(
        &self,
        id: NodeId,
        place: Place,
        gate_id: GateId,
        reading: Reading,
        now: Timestamp,
    ) -> Event {
        let circumstances = self.circumstances(id, place, gate_id, now);
        let metric = circumstances.metric;
        let judgement = match (place, &reading.answer) {
            (Place::Epilogue | Place::Baseline, Answer::Metric { candidate, .. }) => {
                let when = match place {
                    Place::Baseline => "the baseline before the shift",
                    Place::Before | Place::Watch | Place::After | Place::Epilogue => "after the rollback",
                };
                Judgement::pending(match (candidate.value, metric) {
                    (Some(value), Some(metric)) => format!("{when}: {}", super::judge::shown(value, &metric.unit)),
                    (Some(_) | None, _) => format!("{when}: no data"),
                })
            }
            _ => judge(&reading, &circumstances),
        };
        let next_at = self.next_reading(id, place, gate_id, &judgement, now);
        Event::GateRead {
            node: id,
            place,
            gate: gate_id,
            reading,
            judgement,
            at: now,
            next_at,
        }
    }

    /// When the candidate's first traffic in a region was ordered; `otherwise` where it has had none.
    fn exposed_since(&self, region: Option<RegionId>, otherwise: Timestamp) -> Timestamp {
        let stages = self
            .plan
            .nodes()
            .filter(|(_, node)| node.region == region && matches!(node.kind, NodeKind::Stage { .. }));
        let began = stages.filter_map(|(id, _)| self.node(id).started_at).min();
        began.unwrap_or(otherwise)
    }

    /// How many `compare` gates of a node share the stage's chance of a false alarm.
    fn compared_together(&self, id: NodeId) -> usize {
        let node = self.plan.node(id);
        let mut gates: Vec<GateId> = node.watch.iter().chain(&node.after).copied().collect();
        gates.sort_unstable();
        gates.dedup();
        let shares = |gate: &GateId| {
            let gate = self.plan.gate(*gate).1;
            matches!(&gate.kind, GateKind::Compare(compare) if compare.alpha.is_none()) && !gate.dry_run
        };
        gates.iter().filter(|gate| shares(gate)).count().max(1)
    }

    /// One period on; sooner where a breach's `for` or the bake ends before that.
    fn next_reading(
        &self,
        id: NodeId,
        place: Place,
        gate_id: GateId,
        judgement: &Judgement,
        now: Timestamp,
    ) -> Timestamp {
        let gate = self.plan.gate(gate_id).1;
        let node = self.node(id);
        let mut next = gate.every.after(now);
        if let Some(policy) = judgement.policy() {
            let since = node
                .gate(place, gate_id)
                .and_then(|slot| slot.breached_since[severity(policy).saturating_sub(1)]);
            let acts_at = gate.breached_for.after(since.unwrap_or(now));
            if acts_at > now {
                next = next.min(acts_at);
            }
        }
        if place == Place::Watch && node.bake.is_running() {
            let bake_ends = node
                .bake
                .left()
                .after(node.bake.counted_to.unwrap_or(now).max(node.since.unwrap_or(now)));
            if bake_ends > now {
                next = next.min(bake_ends);
            }
        }
        next
    }
}

impl Draft<'_> {
    /// Approvals, signals, locks and windows of a place, judged from people and time. True when something has changed.
    pub(in crate::run) fn judge_people_and_time(&mut self, id: NodeId, place: Place) -> bool {
        let plan = self.run.plan().clone();
        let gates: Vec<GateId> = self.run.node(id).gates_at(place).map(|slot| slot.gate).collect();
        let mut changed = false;
        for gate in gates {
            changed |= match &plan.gate(gate).1.kind {
                GateKind::Approval(approval) => self.judge_approval(id, place, gate, approval),
                GateKind::Window(window) => self.judge_window(id, place, gate, window),
                GateKind::Signal(_) => self.judge_signal(id, place, gate),
                GateKind::Lock(_) => self.judge_lock(id, place, gate),
                GateKind::Metric(_)
                | GateKind::Http(_)
                | GateKind::Command(_)
                | GateKind::Compare(_)
                | GateKind::Trend(_)
                | GateKind::Budget(_)
                | GateKind::Kayenta(_)
                | GateKind::Completed(_)
                | GateKind::Health => false,
                GateKind::NotYet { kind, .. } => self.judge_unavailable(id, place, gate, kind),
            };
        }
        changed
    }

    fn judge_approval(&mut self, id: NodeId, place: Place, gate: GateId, approval: &Approval) -> bool {
        let Some(slot) = self.run.node(id).gate(place, gate) else {
            return false;
        };
        if slot.is_skipped {
            return false;
        }
        let Some(state) = &slot.approval else {
            if self.run.is_paused() {
                return false;
            }
            self.push(Event::ApprovalAsked {
                node: id,
                place,
                gate,
                expires: approval.expires,
                at: self.now,
            });
            return true;
        };
        let judgement = approval_judgement(approval, state, self.now);
        let next_at = state
            .expiry
            .as_ref()
            .and_then(Countdown::ends_at)
            .filter(|end| *end > self.now);
        self.judge_if_new(id, place, gate, judgement, next_at)
    }

    fn judge_window(&mut self, id: NodeId, place: Place, gate: GateId, window: &Window) -> bool {
        let Some(slot) = self.run.node(id).gate(place, gate) else {
            return false;
        };
        let is_due = slot.last.is_none() || slot.next_at.is_some_and(|at| at <= self.now);
        if slot.is_skipped || !is_due {
            return false;
        }
        let plan = self.run.plan().clone();
        let region_zone = plan
            .node(id)
            .region
            .and_then(|region| plan.region(region).1.timezone.as_deref());
        let (judgement, next_at) = match window::judged_zone(window, region_zone) {
            Err(error) => {
                let on_error = plan.gate(gate).1.on_error;
                (Judgement::unknown(Level::Error, on_error, error.to_string()), None)
            }
            Ok(zone) => {
                let opening = window::opening(window, &plan.workflow().calendars, &zone, self.now);
                let sentence = opening.sentence(&zone);
                match opening {
                    Opening::Open { until } => (Judgement::pass(sentence), until),
                    Opening::Closed { opens, .. } => (Judgement::pending(sentence), opens),
                }
            }
        };
        self.judge_if_new(id, place, gate, judgement, next_at)
    }

    fn judge_unavailable(&mut self, id: NodeId, place: Place, gate: GateId, kind: &str) -> bool {
        let because = format!("gates of kind `{kind}` are not available yet");
        self.judge_if_new(
            id,
            place,
            gate,
            Judgement::unknown(Level::Error, Policy::Hold, because),
            None,
        )
    }

    pub(in crate::run) fn judge_if_new(
        &mut self,
        id: NodeId,
        place: Place,
        gate: GateId,
        judgement: Judgement,
        next_at: Option<Timestamp>,
    ) -> bool {
        let Some(slot) = self.run.node(id).gate(place, gate) else {
            return false;
        };
        if slot.last.as_ref().is_some_and(|last| last.judgement == judgement) && slot.next_at == next_at {
            return false;
        }
        self.push(Event::GateJudged {
            node: id,
            place,
            gate,
            judgement,
            at: self.now,
            next_at,
        });
        true
    }
}

fn approval_judgement(approval: &Approval, state: &ApprovalState, now: Timestamp) -> Judgement {
    if let Some(person) = &state.rejected_by {
        return Judgement::fail(Policy::Rollback, format!("rejected by {}", person.name));
    }
    let names: Vec<&str> = state.approved_by.iter().map(|person| person.name.as_str()).collect();
    let missing: Vec<&str> = approval
        .require
        .iter()
        .map(String::as_str)
        .filter(|role| !state.approved_by.iter().any(|person| is_or_acts_as(person, role)))
        .collect();
    if names.len() >= approval.count as usize && missing.is_empty() {
        return Judgement::pass(format!("approved by {}", names.join(", ")));
    }
    if state.expiry.as_ref().is_some_and(|expiry| expiry.is_over(now)) {
        let because = "the approval expired".to_owned();
        // An expiry that advances would be an approval that nobody gave.
        return Judgement::fail(approval.on_expiry.max(Policy::Hold), because);
    }
    let mut because = format!("{} of {} approvals", names.len(), approval.count);
    if !missing.is_empty() {
        because.push_str(&format!("; still needed from {}", missing.join(", ")));
    }
    Judgement::pending(because)
}

/// Whether a person is called so or acts in that role.
pub(in crate::run) fn is_or_acts_as(person: &super::signal::Person, name: &str) -> bool {
    person.name == name || person.roles.iter().any(|role| role == name)
}
