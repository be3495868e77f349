//! Judges what a past run has recorded by the gates of a changed workflow: would they have caught it?
//!
//! The recorded events are folded once more, on the recorded plan with the changed gates in the places of the old ones; only
//! the judgements of readings are made anew, by the judge of every run. What was not recorded is named, never guessed; and
//! what follows a decision that the run did not take stays as it was recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::compile::compile;
use meridian_workflows::plan::{GateId, NodeId, Plan};
use meridian_workflows::workflow::{
    BudgetGate, CompletedGate, Gate, GateKind, Metric, MetricGate, MetricUnit, Requests, Workflow,
};

use crate::run::effect::Place;
use crate::run::entry::Entry;
use crate::run::event::Event;
use crate::run::judge::judge;
use crate::run::reading::{Answer, Reading, Sample};
use crate::run::state::{Run, RunId};
use crate::run::verdict::{Judgement, Verdict};

/// What the changed gates make of a run's readings.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    pub started_at: Option<Timestamp>,
    /// What ended the run's advance, if anything did.
    pub decided: Option<Decided>,
    /// Gates of both workflows in the places where they were read, in the order of the journal.
    pub compared: Vec<Compared>,
    /// Gates of the changed workflow of which nothing could be judged, each with the reason.
    pub not_judged: Vec<(String, String)>,
    /// Gates that the changed workflow does not have any more.
    pub gone: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    pub cause: String,
    pub at: Timestamp,
}

/// One gate in one place of one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    pub gate: String,
    pub node: NodeId,
    pub place: Place,
    pub readings: usize,
    /// Readings that the changed gate cannot judge, and what they lack.
    pub lacking: BTreeMap<&'static str, usize>,
    /// What makes the comparison less than exact.
    pub note: Option<String>,
    pub was: Vec<Change>,
    pub would: Vec<Change>,
}

/// From here on the gate asks for this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub at: Timestamp,
    pub verdict: Verdict,
    pub because: String,
}

impl Compared {
    /// Whether the changed gate does the same at the same instants; sentences may differ.
    pub fn is_same(&self) -> bool {
        let acts = |changes: &[Change]| {
            changes
                .iter()
                .map(|change| (change.at, change.verdict))
                .collect::<Vec<_>>()
        };
        acts(&self.was) == acts(&self.would)
    }

    /// The first time that it acts in either telling: what was, and what would have been.
    pub fn first(&self) -> (Option<&Change>, Option<&Change>) {
        (first_act(&self.was), first_act(&self.would))
    }
}

fn first_act(changes: &[Change]) -> Option<&Change> {
    changes.iter().find(|change| change.verdict > Verdict::Advance)
}

/// Judges a journal, from its first entry on, by the gates of `changed`, found by their names.
///
/// *Assumptions*: the entries are of a run of `plan`.
pub fn against(plan: &Arc<Plan>, run: &RunId, entries: &[Entry], changed: &Workflow) -> Comparison {
    let mut not_judged = Vec::new();
    let mut judged = BTreeMap::new();
    for (name, gate) in &changed.gates {
        match evidence(plan.workflow(), changed, name, gate) {
            Ok(evidence) => judged.extend(plan.find_gate(name).map(|id| (id, evidence))),
            Err(why) => not_judged.push((name.clone(), why)),
        }
    }
    let gone = plan
        .workflow()
        .gates
        .keys()
        .filter(|name| !changed.gates.contains_key(*name));
    let gone = gone.cloned().collect();
    let other = Arc::new(compile(exchanged(plan.workflow(), changed, &judged, plan)));
    let mut telling = Telling {
        was: Run::new(run.clone(), Arc::clone(plan)),
        would: Run::new(run.clone(), other),
        judged,
        compared: Vec::new(),
    };
    let mut decided = None;
    for entry in entries {
        for event in &entry.events {
            telling.event(event);
            if let Event::RollbackDecided { cause, at, .. } = event {
                decided.get_or_insert_with(|| Decided {
                    cause: cause.clone(),
                    at: *at,
                });
            }
        }
    }
    for gate in telling.judged.keys() {
        let name = plan.gate(*gate).0;
        if !telling.compared.iter().any(|compared| compared.gate == name) {
            not_judged.push((name.to_owned(), "the run has not read it".to_owned()));
        }
    }
    Comparison {
        started_at: entries.first().map(|entry| entry.at),
        decided,
        compared: telling.compared,
        not_judged,
        gone,
    }
}

/// What the records are worth for a changed gate.
#[derive(Clone, Debug)]
struct Evidence {
    has_samples: bool,
    note: Option<String>,
}

/// *Errors*: why nothing that was recorded tells what the changed gate would have read.
fn evidence(old: &Workflow, new: &Workflow, name: &str, gate: &Gate) -> Result<Evidence, String> {
    let Some(before) = old.gates.get(name) else {
        return Err("the run had no gate of that name, so nothing was recorded for it".to_owned());
    };
    let has_samples = match (&before.kind, &gate.kind) {
        (_, GateKind::Approval(_)) => {
            return Err("it asks people; what they would have said is not recorded".to_owned());
        }
        (_, GateKind::Lock(_)) => {
            return Err("it asks for a lock; who else would have held it is not recorded".to_owned());
        }
        (_, GateKind::Signal(_)) => {
            return Err(
                "it waits for what is posted; what would have been posted otherwise is not recorded".to_owned(),
            );
        }
        (_, GateKind::Window(_)) => return Err("it asks the clock, which leaves no readings".to_owned()),
        (_, GateKind::NotYet { kind, .. }) => return Err(format!("gates of kind `{kind}` cannot be judged yet")),
        (GateKind::Metric(before), GateKind::Metric(after)) => same_metric(old, new, before, after)?,
        (GateKind::Compare(before), GateKind::Compare(after)) if before.of != after.of => {
            return Err("it compares something else now; only what it compared then was recorded".to_owned());
        }
        (GateKind::Trend(before), GateKind::Trend(after))
            if (&before.step, before.against_baseline) != (&after.step, after.against_baseline) =>
        {
            return Err("its course has other points now; only those of then were recorded".to_owned());
        }
        (GateKind::Budget(before), GateKind::Budget(after))
            if before.burn != after.burn || windows(before) != windows(after) =>
        {
            return Err("it counts other requests now; only those of then were recorded".to_owned());
        }
        (before @ (GateKind::Compare(_) | GateKind::Trend(_) | GateKind::Budget(_)), after)
            if before.name() == after.name() =>
        {
            same_questions(old, new, before, after)?;
            true
        }
        (GateKind::Health, GateKind::Health) => true,
        (GateKind::Kayenta(before), GateKind::Kayenta(after)) if before == after => true,
        (GateKind::Kayenta(_), GateKind::Kayenta(_)) => {
            return Err("it asks Kayenta something else now; only the old score was recorded".to_owned());
        }
        (GateKind::Completed(before), GateKind::Completed(after)) => {
            let asks = |gate: &CompletedGate| (gate.workflow.clone(), gate.same_release, gate.inputs.clone());
            if asks(before) != asks(after) {
                return Err("it asks about other runs now; only those of then were recorded".to_owned());
            }
            true
        }
        (GateKind::Http(before), GateKind::Http(after)) if before == after => true,
        (GateKind::Command(before), GateKind::Command(after)) if before == after => true,
        (GateKind::Http(_), GateKind::Http(_)) | (GateKind::Command(_), GateKind::Command(_)) => {
            return Err("it asks another question now; only yes and no of the old one were recorded".to_owned());
        }
        (before, after) => {
            let (before, after) = (before.name(), after.name());
            return Err(format!(
                "it was of kind `{before}`; what a `{after}` gate reads was not recorded"
            ));
        }
    };
    let is_denser = gate.every < before.every;
    let note = is_denser.then(|| {
        format!(
            "it would be read every {}; the run read every {}, and what was between is not recorded",
            gate.every, before.every
        )
    });
    Ok(Evidence { has_samples, note })
}

/// Whether numbers were recorded for the question that the changed gate asks; and their samples.
fn same_metric(old: &Workflow, new: &Workflow, before: &MetricGate, after: &MetricGate) -> Result<bool, String> {
    let metric = |workflow: &Workflow, gate: &MetricGate| workflow.metrics.get(&gate.query).cloned();
    let (Some(was), Some(is)) = (metric(old, before), metric(new, after)) else {
        return Err("its metric is not in the plan".to_owned());
    };
    let asks = |metric: &Metric| (metric.query.trim().to_owned(), metric.unit.clone());
    if asks(&was) != asks(&is) {
        return Err(format!(
            "it reads `{}` by another query than the run's `{}`; what that would have said is not recorded",
            after.query, before.query
        ));
    }
    if was.window != is.window && was.query.contains("window") {
        return Err(format!(
            "its window is {} now, and the run read over {}",
            is.window, was.window
        ));
    }
    Ok(was.samples.is_some() && was.samples == is.samples)
}

/// What a budget's reserve counts, and over how long.
fn windows(gate: &BudgetGate) -> Option<(&Requests, Duration)> {
    gate.reserve.as_ref().map(|reserve| (&reserve.requests, reserve.over))
}

/// Gates that read several metrics must read the same ones, by the same queries.
fn same_questions(old: &Workflow, new: &Workflow, before: &GateKind, after: &GateKind) -> Result<(), String> {
    let asks = |workflow: &Workflow, kind: &GateKind| -> Vec<Option<(String, MetricUnit)>> {
        let metrics = kind.metrics();
        let asked = metrics.iter().map(|name| {
            let metric = workflow.metrics.get(*name)?;
            Some((metric.query.trim().to_owned(), metric.unit.clone()))
        });
        asked.collect()
    };
    if asks(old, before) == asks(new, after) {
        Ok(())
    } else {
        Err("its metrics are read by other queries now; what those would have said is not recorded".to_owned())
    }
}

/// The recorded workflow with the changed gates that can be judged, each with the metric that it reads.
fn exchanged(old: &Workflow, new: &Workflow, judged: &BTreeMap<GateId, Evidence>, plan: &Plan) -> Workflow {
    let mut workflow = old.clone();
    for gate in judged.keys() {
        let name = plan.gate(*gate).0;
        let Some(changed) = new.gates.get(name) else { continue };
        for metric in changed.kind.metrics() {
            let definition = new.metrics.get(metric).cloned();
            workflow
                .metrics
                .extend(definition.map(|definition| (metric.to_owned(), definition)));
        }
        workflow.gates.insert(name.to_owned(), changed.clone());
    }
    workflow
}

/// The run as it was, and as it would have been judged.
struct Telling {
    was: Run,
    would: Run,
    judged: BTreeMap<GateId, Evidence>,
    compared: Vec<Compared>,
}

impl Telling {
    fn event(&mut self, event: &Event) {
        let Event::GateRead {
            node,
            place: place @ (Place::Before | Place::Watch | Place::After),
            gate,
            reading,
            judgement,
            at,
            next_at,
        } = event
        else {
            self.was.apply(event);
            self.would.apply(event);
            return;
        };
        let Some(evidence) = self.judged.get(gate).cloned() else {
            self.was.apply(event);
            self.would.apply(event);
            return;
        };
        let anew = self.judge(*node, *place, *gate, reading, &evidence, *at);
        self.was.apply(event);
        let lacks = anew.as_ref().err().copied();
        let would = anew.ok().map(|judgement| {
            self.would.apply(&Event::GateRead {
                node: *node,
                place: *place,
                gate: *gate,
                reading: reading.clone(),
                judgement: judgement.clone(),
                at: *at,
                next_at: *next_at,
            });
            judgement.because().to_owned()
        });
        let verdict = |run: &Run| run.node(*node).gate(*place, *gate).map(|slot| run.verdict_of(slot));
        let was = verdict(&self.was).map(|verdict| (verdict, judgement.because().to_owned()));
        let would = verdict(&self.would).zip(would);
        let compared = self.place_of(*node, *place, *gate, &evidence);
        compared.readings += 1;
        if let Some(lacks) = lacks {
            *compared.lacking.entry(lacks).or_default() += 1;
        }
        note_change(&mut compared.was, was, *at);
        note_change(&mut compared.would, would, *at);
    }

    fn place_of(&mut self, node: NodeId, place: Place, gate: GateId, evidence: &Evidence) -> &mut Compared {
        let name = self.was.plan().gate(gate).0;
        let is_it = |known: &Compared| known.node == node && known.place == place && known.gate == name;
        let index = match self.compared.iter().position(is_it) {
            Some(index) => index,
            None => {
                self.compared.push(Compared {
                    gate: name.to_owned(),
                    node,
                    place,
                    readings: 0,
                    lacking: BTreeMap::new(),
                    note: evidence.note.clone(),
                    was: Vec::new(),
                    would: Vec::new(),
                });
                self.compared.len() - 1
            }
        };
        &mut self.compared[index]
    }

    /// *Errors*: what the recorded reading lacks.
    fn judge(
        &self,
        node: NodeId,
        place: Place,
        gate_id: GateId,
        reading: &Reading,
        evidence: &Evidence,
        now: Timestamp,
    ) -> Result<Judgement, &'static str> {
        let of = self.would.circumstances(node, place, gate_id, now);
        if let GateKind::Metric(metric) = &of.gate.kind {
            check(metric, &reading.answer, of.frozen, evidence)?;
        }
        Ok(judge(reading, &of))
    }
}

/// Whether a reading holds what the gate needs. An answer that could not be had is a fact, and is judged.
fn check(gate: &MetricGate, answer: &Answer, frozen: Option<&Sample>, evidence: &Evidence) -> Result<(), &'static str> {
    let Answer::Metric { candidate, baseline } = answer else {
        return Ok(());
    };
    if gate.needs_baseline && baseline.is_none() && frozen.is_none() {
        return Err("no reading of the baseline was recorded");
    }
    if gate.min_samples.is_some() && (!evidence.has_samples || candidate.samples.is_none()) {
        return Err("the number of samples was not recorded");
    }
    Ok(())
}

fn note_change(changes: &mut Vec<Change>, now: Option<(Verdict, String)>, at: Timestamp) {
    let Some((verdict, because)) = now else { return };
    let before = changes.last().map_or(Verdict::Advance, |change| change.verdict);
    if verdict != before {
        changes.push(Change { at, verdict, because });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use meridian_workflows::duration::Duration;
    use meridian_workflows::plan::Plan;
    use meridian_workflows::plan::compile::compile;
    use meridian_workflows::scenario::{Course, Curve, World};
    use meridian_workflows::workflow::{GateKind, MetricGate, Workflow};

    use super::{Comparison, against};
    use crate::run::story::{watched, workflow};
    use crate::run::verdict::Verdict;
    use crate::simulation::script::Script;
    use crate::simulation::simulate::{Simulated, simulate};

    fn recorded() -> Workflow {
        watched(workflow(&[("all", &["west"])], &["10%", "100%"]))
    }

    /// A run whose error rate rises by 1 % every two seconds.
    fn run() -> (Arc<Plan>, Simulated) {
        let plan = Arc::new(compile(recorded()));
        let ramp = Curve::Ramp {
            from: 0.0,
            by: 0.01,
            per: Duration::from_secs(2),
            until: None,
        };
        let course = Course {
            candidate: Some(ramp),
            ..Course::default()
        };
        let mut script = Script {
            world: World::default(),
            ..Script::default()
        };
        script.world.metrics.insert("error-rate".into(), vec![course]);
        let simulated = simulate(&plan, &script, 1, "2026-03-02T10:00:00Z".parse().unwrap()).unwrap();
        (plan, simulated)
    }

    fn compared(change: impl Fn(&mut MetricGate, &mut Workflow)) -> Comparison {
        let (plan, simulated) = run();
        let mut changed = recorded();
        let name = changed.gates.keys().next().unwrap().clone();
        let mut gate = changed.gates[&name].clone();
        if let GateKind::Metric(metric) = &mut gate.kind {
            change(metric, &mut changed);
        }
        changed.gates.insert(name, gate);
        against(&plan, simulated.run.id(), &simulated.entries, &changed)
    }

    #[test]
    fn the_same_gates_do_the_same() {
        let same = compared(|_, _| {});
        assert!(!same.compared.is_empty() && same.not_judged.is_empty());
        assert!(same.compared.iter().all(super::Compared::is_same), "{same:#?}");
        assert!(same.compared.iter().any(|compared| {
            compared
                .first()
                .0
                .is_some_and(|change| change.verdict == Verdict::RollBack || change.verdict == Verdict::Hold)
        }));
    }

    #[test]
    fn a_stricter_gate_would_have_acted_earlier_and_a_laxer_one_never() {
        let strict = compared(|gate, _| gate.rollback_when = Some("candidate > percent(2)".into()));
        let rolled_back = |changes: &[super::Change]| {
            changes
                .iter()
                .find(|change| change.verdict == Verdict::RollBack)
                .map(|change| change.at)
        };
        let was = strict
            .compared
            .iter()
            .find_map(|compared| rolled_back(&compared.was))
            .unwrap();
        let would = strict
            .compared
            .iter()
            .find_map(|compared| rolled_back(&compared.would))
            .unwrap();
        assert!(would < was, "{strict:#?}");
        assert_eq!(
            strict.decided.as_ref().unwrap().at,
            was,
            "what happened is what the journal says"
        );
        let lax = compared(|gate, _| {
            gate.rollback_when = Some("candidate > percent(90)".into());
            gate.hold_when = None;
        });
        assert!(
            lax.compared.iter().all(|compared| compared.would.is_empty()),
            "{lax:#?}"
        );
    }

    #[test]
    fn what_was_not_recorded_is_said_and_never_guessed() {
        let samples = compared(|gate, _| gate.min_samples = Some(100));
        for compared in &samples.compared {
            assert_eq!(
                compared.lacking["the number of samples was not recorded"],
                compared.readings
            );
            assert!(compared.would.is_empty());
        }
        let baseline = compared(|gate, _| {
            gate.rollback_when = Some("candidate > 2 * baseline".into());
            gate.needs_baseline = true;
        });
        assert!(
            baseline
                .compared
                .iter()
                .all(|compared| compared.lacking.values().sum::<usize>() == compared.readings)
        );
        let other = compared(|gate, workflow| {
            let mut metric = workflow.metrics["error-rate"].clone();
            metric.query = "other".into();
            workflow.metrics.insert("other".into(), metric);
            gate.query = "other".into();
        });
        assert!(other.compared.is_empty());
        assert!(other.not_judged[0].1.contains("another query"), "{other:#?}");
    }
}
