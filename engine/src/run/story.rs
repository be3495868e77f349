//! Stories about runs for unit tests: a small workflow, a world that answers as told, and time that is moved by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{NodeId, Plan};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{
    Approval, Exposure, Gate, GateKind, Metric, MetricGate, MetricUnit, OnConflict, Phase, Policy, Region, Release,
    Rollback, Scope, Source, Stage, Workflow,
};

use super::decide::{Input, Refusal, decide};
use super::effect::{Ask, DesiredState, Effect, Observation, Outcome, Progress};
use super::event::Event;
use super::invariant::{check_event, check_rest};
use super::reading::{Answer, OtherRun, Reading, Sample};
use super::signal::{Person, Request, Signal};
use super::state::{Life, RegionLife, Run, RunId, Standing};
use super::version::Version;
use super::wanted::wanted;

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A workflow: phases of regions, each region with stages of 10 s, nothing watched.
pub fn workflow(phases: &[(&str, &[&str])], stages: &[&str]) -> Workflow {
    let mut regions = IndexMap::new();
    for region in phases.iter().flat_map(|(_, regions)| regions.iter()) {
        let settings = serde_json::Value::Null;
        let (global_traffic, timezone, release) = (None, None, None);
        let provider = "sandbox".to_owned();
        regions.insert(
            (*region).to_owned(),
            Region {
                provider,
                settings,
                global_traffic,
                timezone,
                release,
            },
        );
    }
    let phase = |index: usize| {
        let (name, regions) = phases[index];
        Phase {
            name: name.to_owned(),
            regions: regions.iter().map(|region| (*region).to_owned()).collect(),
            needs: index
                .checked_sub(1)
                .map(|before| phases[before].0.to_owned())
                .into_iter()
                .collect(),
            max_parallel: 1,
            max_failures: 0,
            bake: secs(20),
            before: Vec::new(),
            after: Vec::new(),
            stages: stages.iter().map(|share| stage(share)).collect(),
        }
    };
    Workflow {
        name: "story".into(),
        labels: BTreeMap::new(),
        description: None,
        inputs: BTreeMap::new(),
        release: Release::Image("app:v2".into()),
        regions,
        phases: (0..phases.len()).map(phase).collect(),
        gates: IndexMap::new(),
        metrics: BTreeMap::new(),
        sources: BTreeMap::from([(
            "prom".into(),
            Source {
                kind: "prometheus".into(),
                settings: serde_json::Value::Null,
            },
        )]),
        calendars: BTreeMap::new(),
        rollback: Rollback {
            scope: Scope::Run,
            deadline: secs(60),
            drain: secs(5),
            keep_baseline: Duration::ZERO,
        },
        on_conflict: OnConflict::Queue,
        schedules: Vec::new(),
        notifications: Vec::new(),
        notifiers: BTreeMap::new(),
        not_available_yet: Vec::new(),
    }
}

fn stage(share: &str) -> Stage {
    Stage {
        exposure: Exposure::Traffic(share.parse().unwrap()),
        bake: secs(10),
        before: Vec::new(),
        watch: Vec::new(),
        after: Vec::new(),
        deadline: secs(300),
    }
}

pub fn gate(kind: GateKind) -> Gate {
    Gate {
        kind,
        every: secs(2),
        breached_for: Duration::ZERO,
        initial_delay: Duration::ZERO,
        timeout: secs(5),
        on_no_data: Policy::Hold,
        on_error: Policy::Hold,
        on_fail: Policy::Rollback,
        on_inconclusive: Policy::Hold,
        on_pending: Policy::Hold,
        from: Share::ZERO,
        hold_for: secs(3600),
        dry_run: false,
    }
}

pub fn approval(count: u32) -> Approval {
    Approval {
        count,
        from: vec!["sre".into()],
        require: Vec::new(),
        expires: Some(secs(600)),
        on_expiry: Policy::Rollback,
        starter_may_approve: false,
    }
}

/// Adds a watched error-rate gate to every stage: holds above 1 %, rolls back above 5 %.
pub fn watched(mut workflow: Workflow) -> Workflow {
    let metric = Metric {
        source: "prom".into(),
        unit: MetricUnit::Ratio,
        window: secs(2),
        query: "errors".into(),
        samples: None,
        description: None,
    };
    workflow.metrics.insert("error-rate".into(), metric);
    let kind = GateKind::Metric(MetricGate {
        query: "error-rate".into(),
        min_samples: None,
        hold_when: Some("candidate > percent(1)".into()),
        ask_when: None,
        rollback_when: Some("candidate > percent(5)".into()),
        needs_baseline: false,
        ignores_candidate: false,
        concurrent_only: false,
    });
    workflow.gates.insert("error-rate".into(), gate(kind));
    for stage in workflow.phases.iter_mut().flat_map(|phase| phase.stages.iter_mut()) {
        stage.watch.push("error-rate".into());
    }
    workflow
}

/// As it would be stored: there NaN is equal to itself.
fn written(what: &impl serde::Serialize) -> String {
    serde_json::to_string(what).unwrap()
}

/// A run, its world and its clock.
pub struct Story {
    pub run: Run,
    pub now: Timestamp,
    /// What the error-rate metric answers; none = no data.
    pub error_rate: Option<f64>,
    /// Regions that answer something else.
    pub error_rate_in: BTreeMap<String, f64>,
    /// What an order is answered with, by region name; settled unless told.
    pub progress: BTreeMap<String, Progress>,
    pub events: Vec<Event>,
    /// (region, what it was ordered into), in order of sending.
    pub orders: Vec<(String, DesiredState)>,
    shares: BTreeMap<u32, meridian_workflows::share::Share>,
    /// What the tag turns out to be, by region; regions that are not named do not tell.
    pub digests: BTreeMap<String, String>,
    /// The newest run of another workflow.
    pub other: Option<OtherRun>,
    /// Locks that other runs hold, and which.
    pub locks: BTreeMap<String, String>,
    signals: u32,
}

pub fn submitted(workflow: Workflow) -> Story {
    let plan: Arc<Plan> = Arc::new(meridian_workflows::plan::compile::compile(workflow));
    let mut story = Story {
        run: Run::new(RunId("story-0001".into()), plan),
        now: "2026-03-02T10:00:00Z".parse().unwrap(),
        error_rate: Some(0.001),
        error_rate_in: BTreeMap::new(),
        progress: BTreeMap::new(),
        events: Vec::new(),
        orders: Vec::new(),
        shares: BTreeMap::new(),
        digests: BTreeMap::new(),
        other: None,
        locks: BTreeMap::new(),
        signals: 0,
    };
    story
        .step(Input::Submit {
            by: Person::unauthenticated("ana", vec![]),
        })
        .unwrap();
    story
}

impl Story {
    /// One step, with every promise checked after every event.
    pub fn step(&mut self, input: Input) -> Result<Vec<Event>, Refusal> {
        let mut before = self.run.clone();
        let mut twin = self.run.clone();
        let decided = decide(&twin, input.clone(), self.now);
        let step = self.run.step(input, self.now)?;
        // Deciding in place is deciding and then folding.
        step.iter().for_each(|(entry, _)| twin.record(entry).unwrap());
        assert_eq!(written(twin.state()), written(self.run.state()));
        let events = step.map(|(entry, _)| entry.events).unwrap_or_default();
        assert_eq!(decided.as_ref().map(written), Ok(written(&events)));
        for event in &events {
            let mut after = before.clone();
            after.apply(event);
            check_event(&before, event, &after, self.now).unwrap();
            before = after;
        }
        check_rest(&self.run, self.now).unwrap();
        self.events.extend(events.iter().cloned());
        Ok(events)
    }

    pub fn ask(&mut self, by: &str, roles: &[&str], ask: Request) -> Result<Vec<Event>, Refusal> {
        self.signals += 1;
        let by = Person::unauthenticated(by, roles.iter().map(|role| (*role).to_owned()).collect());
        self.step(Input::Signal(Signal {
            id: format!("s{}", self.signals),
            by,
            ask,
        }))
    }

    fn answer(&mut self, effect: &Effect) -> Outcome {
        match &effect.ask {
            Ask::Claim { .. } => Outcome::Claimed { claim: 1 },
            Ask::Release => Outcome::Released,
            Ask::Lock { name } => match self.locks.get(name) {
                Some(by) => Outcome::LockBusy {
                    by: by.clone(),
                    ahead: 1,
                },
                None => Outcome::Locked { number: 1 },
            },
            Ask::Unlock { .. } => Outcome::Unlocked,
            Ask::Observe { region } => Outcome::Observed(Observation {
                serving: Some(Version::named("v1")),
                candidate: Version::named("v2"),
                candidate_share: self.shares.get(&region.0).copied().unwrap_or_default(),
                is_settled: true,
                diagnosis: None,
                candidate_digest: self.digests.get(self.run.plan().region(*region).0).cloned(),
            }),
            Ask::Ensure { region, desired } => {
                let name = self.run.plan().region(*region).0.to_owned();
                if self.orders.last() != Some(&(name.clone(), desired.state.clone())) {
                    self.orders.push((name.clone(), desired.state.clone()));
                }
                let progress = self.progress.get(&name).cloned().unwrap_or(Progress::Settled);
                if progress == Progress::Settled {
                    self.shares.insert(region.0, desired.state.share());
                }
                Outcome::Progress(progress)
            }
            Ask::Read { gate, .. } if matches!(self.run.plan().gate(*gate).1.kind, GateKind::Completed(_)) => {
                let newest = self.other.clone();
                let answer = Answer::Completed { newest };
                Outcome::Read(Reading { at: self.now, answer })
            }
            Ask::Read { arms, .. } => {
                let sample = |value| Sample {
                    value,
                    samples: Some(1_000.0),
                    at: Some(self.now),
                    query: "errors".into(),
                };
                let region = arms.region.map(|region| self.run.plan().region(region).0);
                let local = region.and_then(|region| self.error_rate_in.get(region).copied());
                let baseline = arms.baseline.as_ref().map(|_| sample(Some(0.001)));
                Outcome::Read(Reading {
                    at: self.now,
                    answer: Answer::Metric {
                        candidate: sample(local.or(self.error_rate)),
                        baseline,
                    },
                })
            }
        }
    }

    /// Answers what is wanted first.
    pub fn settle_once(&mut self) {
        let Some(effect) = wanted(&self.run, self.now).effects.into_iter().next() else {
            return;
        };
        let outcome = self.answer(&effect);
        self.step(Input::Outcome {
            key: effect.key,
            outcome,
        })
        .unwrap();
    }

    /// Answers everything wanted now, until nothing is.
    pub fn settle(&mut self) {
        for _ in 0..1_000 {
            let effects = wanted(&self.run, self.now).effects;
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                let outcome = self.answer(&effect);
                self.step(Input::Outcome {
                    key: effect.key,
                    outcome,
                })
                .unwrap();
            }
        }
        panic!(
            "the run never stops wanting at {}: {:?}",
            self.now,
            wanted(&self.run, self.now).effects
        );
    }

    /// Lives through this much time, wake-up by wake-up.
    pub fn live(&mut self, length: Duration) {
        let end = length.after(self.now);
        loop {
            self.settle();
            let Some(wake) = wanted(&self.run, self.now).wake.filter(|wake| *wake <= end) else {
                break;
            };
            assert!(wake > self.now);
            self.now = wake;
            self.step(Input::Tick).unwrap();
        }
        self.now = end;
        self.step(Input::Tick).unwrap();
        self.settle();
    }

    /// Lives until the node is where it is expected, at most an hour.
    pub fn until(&mut self, key: &str, life: Life) {
        for _ in 0..36_000 {
            if self.life(key) == life {
                return;
            }
            self.live(Duration::from_millis(100));
        }
        panic!(
            "{key} is {:?} and not {life:?}; {:?}",
            self.life(key),
            self.run.state().standing
        );
    }

    pub fn id(&self, key: &str) -> NodeId {
        self.run.plan().find(key).unwrap()
    }

    pub fn life(&self, key: &str) -> Life {
        self.run.node(self.id(key)).life
    }

    pub fn region_life(&self, name: &str) -> RegionLife {
        self.run.region(self.run.plan().find_region(name).unwrap()).life
    }

    pub fn standing(&self) -> &Standing {
        &self.run.state().standing
    }

    pub fn has(&self, fits: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(fits)
    }
}
