//! Meridian: the gates of a workflow file, judged by the engine on what telemetry shows, and acted on as a run acts.
//!
//! Nothing is decided here that the engine decides: each gate's reading is made of the corpus' ticks and given to the engine's judge. What
//! remains of a run is small: gates are read every so often, a breach acts once it has lasted for the gate's `for`, the worst acts, and a
//! stage is left when its gates stand open.

mod readings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use meridian_engine::run::judge::{Circumstances, judge};
use meridian_engine::run::reading::Reading;
use meridian_engine::run::verdict::Judgement;
use meridian_workflows::decode::{self, Given, Surroundings};
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::{
    Availability, Capabilities, Kind, ProviderKind, SettingsReader, SourceKind, SourceReader, Vocabulary,
};
use meridian_workflows::workflow::{Compared, Gate, GateKind, Policy, Stage, Workflow};

use self::readings::Readings;
use super::{Decision, Judge, Now};
use crate::corpus::{Observation, Plan};

/// The file whose gates judge.
const FILE: &str = include_str!("../../workflow.yaml");

/// Meridian, as it decides on one rollout.
#[derive(Clone, Debug)]
pub struct Meridian {
    workflow: Workflow,
    /// Which phase's stages are gone through: the careful one, or the hasty one.
    phase: usize,
    readings: Readings,
    slots: BTreeMap<String, Slot>,
    stage: Option<usize>,
    tick: Duration,
}

/// How one gate stands in a stage.
#[derive(Clone, Debug)]
struct Slot {
    last: Judgement,
    next_at: Timestamp,
    /// Since when it has asked for a rollback without a break.
    breached_since: Option<Timestamp>,
}

impl Meridian {
    /// # Panics
    /// The file of the crate is a sound workflow; a test holds that.
    pub fn by_kind() -> Meridian {
        Meridian::of(read(FILE).expect("the workflow of the calibration is sound"))
    }

    /// Where telemetry has no labels to tell kinds of request apart.
    ///
    /// # Panics
    /// As [`Meridian::by_kind`].
    pub fn all_together() -> Meridian {
        let mut meridian = Meridian::by_kind();
        for gate in meridian.workflow.gates.values_mut() {
            if let GateKind::Compare(compare) = &mut gate.kind {
                compare.kinds.clear();
            }
        }
        meridian
    }

    /// Where little evidence is to be enough to roll back.
    ///
    /// # Panics
    /// As [`Meridian::by_kind`].
    pub fn hasty() -> Meridian {
        Meridian {
            phase: 1,
            ..Meridian::by_kind()
        }
    }

    fn of(workflow: Workflow) -> Meridian {
        Meridian {
            workflow,
            phase: 0,
            readings: Readings::default(),
            slots: BTreeMap::new(),
            stage: None,
            tick: Duration::ZERO,
        }
    }

    /// The stage of the file that has this share.
    fn stage(&self, share: f64) -> &Stage {
        let stages = &self.workflow.phases[self.phase].stages;
        let is_meant = |stage: &&Stage| (stage.exposure.traffic().fraction() - share).abs() < 1e-9;
        stages.iter().find(is_meant).unwrap_or(&stages[0])
    }

    /// Reads a gate that is due, and says how it stands.
    fn look(&mut self, name: &str, share: Share, bake: Duration) -> Slot {
        let now = self.readings.now();
        if let Some(slot) = self.slots.get(name).filter(|slot| slot.next_at > now) {
            return slot.clone();
        }
        let gate = &self.workflow.gates[name];
        let every = gate.every.max(self.tick);
        let of = Circumstances {
            since: self.readings.since(),
            exposed: self.readings.exposed(),
            share: Some(share),
            bake,
            ..Circumstances::alone(gate, &self.workflow.metrics, now)
        };
        let answer = self.readings.answer(gate, &self.workflow.metrics);
        let last = judge(&Reading { at: now, answer }, &of);
        let breached = last.policy() == Some(Policy::Rollback);
        let before = self.slots.get(name).and_then(|slot| slot.breached_since);
        let slot = Slot {
            breached_since: breached.then(|| before.unwrap_or(now)),
            next_at: every.after(now),
            last,
        };
        self.slots.insert(name.to_owned(), slot.clone());
        slot
    }

    /// A gate of the file.
    ///
    /// # Panics
    /// There is none of that name.
    pub fn gate(&self, name: &str) -> &Gate {
        &self.workflow.gates[name]
    }

    /// What each gate says that has been read in this stage; for people who look into a case.
    pub fn says(&self) -> impl Iterator<Item = (&str, &str)> {
        self.slots
            .iter()
            .map(|(name, slot)| (name.as_str(), slot.last.because()))
    }

    /// As in a run: below its share, and where a test of two arms has one.
    fn is_left_out(&self, name: &str, share: Share) -> bool {
        let gate = &self.workflow.gates[name];
        share < gate.from || share.is_full() && gate.kind.is_concurrent_only()
    }

    fn acts(&self, name: &str, slot: &Slot) -> bool {
        let lasts = self.workflow.gates[name].breached_for;
        slot.breached_since
            .is_some_and(|since| Duration::between(since, self.readings.now()) >= lasts)
    }
}

impl Judge for Meridian {
    fn begins(&mut self, plan: &Plan, _: usize, history: &[Observation]) {
        self.readings = Readings::new(plan.tick_seconds);
        self.slots.clear();
        self.stage = None;
        self.tick = Duration::from_secs(plan.tick_seconds as u64);
        for tick in history {
            self.readings.take(tick);
        }
        let boundaries = readings::slow_from(history);
        for gate in self.workflow.gates.values_mut() {
            if let GateKind::Compare(compare) = &mut gate.kind
                && let Compared::Buckets { boundaries: of, .. } = &mut compare.of
            {
                of.clone_from(&boundaries);
            }
        }
    }

    fn may_start(&mut self, history: &[Observation]) -> bool {
        if let Some(newest) = history.last().filter(|_| self.readings.ticks() < history.len()) {
            self.readings.take(newest);
        }
        self.slots.clear();
        let gates = self.workflow.phases[self.phase].stages[0].before.clone();
        gates
            .iter()
            .all(|name| self.look(name, Share::ZERO, Duration::ZERO).last.opens())
    }

    fn observes(&mut self, now: &Now<'_>, newest: &Observation) -> Decision {
        if self.stage != Some(now.stage) {
            self.stage = Some(now.stage);
            self.slots.clear();
            self.readings.shifts();
        }
        self.readings.take(newest);
        let share = Share::from_basis_points((now.share() * 10_000.0).round() as u16).unwrap_or(Share::ZERO);
        let bake = Duration::from_secs((now.bake_ticks() as f64 * now.plan.tick_seconds) as u64);
        let mut is_open = true;
        let stage = self.stage(now.share());
        let after = stage.after.iter().filter(|_| now.is_baked());
        let names = stage.watch.iter().chain(after);
        let names: Vec<String> = names.filter(|name| !self.is_left_out(name, share)).cloned().collect();
        for name in &names {
            let slot = self.look(name, share, bake);
            if self.acts(name, &slot) {
                return Decision::RollBack;
            }
            is_open &= slot.last.opens();
        }
        if is_open { Decision::Advance } else { Decision::Wait }
    }
}

/// The workflow of a text, or what is wrong with it.
fn read(text: &str) -> Result<Workflow, String> {
    let gate = |name| Kind {
        name,
        availability: Availability::Available,
    };
    let vocabulary = Vocabulary {
        providers: vec![ProviderKind {
            name: "sandbox",
            availability: Availability::Available,
            settings: &[],
            read: SettingsReader(|_| Ok(Capabilities::splitting(1))),
        }],
        gates: ["metric", "compare", "trend"].map(gate).to_vec(),
        sources: vec![SourceKind {
            name: "prometheus",
            availability: Availability::Available,
            settings: &[],
            read: SourceReader(|_| Ok(())),
        }],
        notifiers: Vec::new(),
    };
    let inputs = BTreeMap::new();
    let surroundings = Surroundings {
        vocabulary: &vocabulary,
        load: &|_| Err("no other file is read".to_owned()),
        inputs: Given::All(&inputs),
    };
    let reading = decode::read("workflow.yaml", text.as_bytes(), &surroundings);
    reading.workflow.ok_or_else(|| {
        let messages = reading.diagnostics.iter().map(|diagnostic| format!("{diagnostic:?}"));
        messages.collect::<Vec<_>>().join("\n")
    })
}
