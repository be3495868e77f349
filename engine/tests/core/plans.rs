//! Random plans: every shape of phases, regions, stages, gates and policies that a valid workflow can have, in small.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::Plan;
use meridian_workflows::plan::compile::compile;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{
    Approval, Calendar, Closed, CommandGate, Denial, Exposure, Gate, GateKind, HttpGate, LockGate, Metric, MetricGate,
    MetricUnit, OnConflict, Phase, Policy, Region, Release, Rollback, Scope, SignalGate, Source, Stage, Window,
    Workflow, Zone,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Every run of these tests begins here.
pub fn start() -> Timestamp {
    "2026-03-02T10:00:00Z".parse().unwrap()
}

/// The candidate that every plan releases.
pub const CANDIDATE: &str = "v2";

/// How large the plans are that a [`Maker`] makes.
#[derive(Clone, Copy)]
pub struct Size {
    pub phases: usize,
    pub regions: usize,
    pub stages: usize,
}

/// A random plan.
pub fn random(seed: u64, size: Size) -> Arc<Plan> {
    let mut maker = Maker {
        rng: StdRng::seed_from_u64(seed ^ 0x706c_616e),
        size,
    };
    Arc::new(compile(maker.workflow()))
}

struct Maker {
    rng: StdRng,
    size: Size,
}

impl Maker {
    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.rng.random_range(0..of.len())].clone()
    }

    fn between(&mut self, from: u64, to: u64) -> Duration {
        secs(self.rng.random_range(from..=to))
    }

    fn workflow(&mut self) -> Workflow {
        let mut workflow = empty();
        let phases = self.rng.random_range(1..=self.size.phases);
        let regions = self.rng.random_range(1..=self.size.regions);
        for index in 0..regions {
            let timezone = self.one(&[None, Some("America/New_York"), Some("Asia/Singapore")]);
            workflow.regions.insert(format!("r{index}"), region(timezone));
        }
        self.gates(&mut workflow);
        let gates: Vec<String> = workflow.gates.keys().cloned().collect();
        let groups = self.groups(phases, regions);
        let repeated = groups.iter().map(Vec::len).sum::<usize>() > regions;
        let ladders = self.ladders(groups.len(), repeated);
        for (index, (group, ladder)) in groups.into_iter().zip(ladders).enumerate() {
            let phase = self.phase(index, group, ladder, &gates, &workflow);
            workflow.phases.push(phase);
        }
        workflow.rollback = Rollback {
            scope: self.one(&[Scope::Stage, Scope::Region, Scope::Phase, Scope::Run, Scope::Run]),
            deadline: self.between(5, 60),
            drain: self.between(0, 10),
            keep_baseline: Duration::ZERO,
        };
        workflow.on_conflict = self.one(&[OnConflict::Queue, OnConflict::Reject]);
        workflow
    }

    /// Which regions each phase has: parted, or growing (then a region passes several phases).
    fn groups(&mut self, phases: usize, regions: usize) -> Vec<Vec<String>> {
        let name = |index: usize| format!("r{index}");
        let mut groups = vec![Vec::new(); phases];
        let grows = phases > 1 && self.chance(30);
        for region in 0..regions {
            let from = if region < phases {
                region
            } else {
                self.rng.random_range(0..phases)
            };
            if grows {
                let from = from.min(self.rng.random_range(0..phases));
                groups[from..].iter_mut().for_each(|group| group.push(name(region)));
            } else {
                groups[from].push(name(region));
            }
        }
        groups.retain(|group| !group.is_empty());
        groups
    }

    /// The shares of each phase's stages: rising, and rising across phases where regions come again.
    fn ladders(&mut self, phases: usize, repeated: bool) -> Vec<Vec<Share>> {
        let rungs = [1, 5, 10, 20, 25, 40, 50, 75];
        let mut from = 0;
        let mut ladders = Vec::new();
        for phase in 0..phases {
            let is_last = phase + 1 == phases;
            if !repeated {
                from = 0;
            }
            let many = self.rng.random_range(0..self.size.stages);
            let mut ladder: Vec<u16> = Vec::new();
            for _ in 0..many {
                if from < rungs.len() - (phases - phase) {
                    ladder.push(rungs[from]);
                    from += self.rng.random_range(1..=2);
                }
            }
            if !repeated || is_last {
                ladder.push(100);
            } else if ladder.is_empty() {
                ladder.push(rungs[from.min(rungs.len() - 1)]);
                from += 1;
            }
            ladders.push(
                ladder
                    .into_iter()
                    .map(|percent| Share::percent(percent).unwrap())
                    .collect(),
            );
        }
        ladders
    }

    fn phase(
        &mut self,
        index: usize,
        regions: Vec<String>,
        ladder: Vec<Share>,
        gates: &[String],
        workflow: &Workflow,
    ) -> Phase {
        let needs: Vec<String> = match self.rng.random_range(0..4) {
            0 => Vec::new(),
            1 => (0..index)
                .filter(|_| self.chance(50))
                .map(|before| format!("p{before}"))
                .collect(),
            _ => index
                .checked_sub(1)
                .map(|before| format!("p{before}"))
                .into_iter()
                .collect(),
        };
        let mut stages: Vec<Stage> = Vec::new();
        if index == 0 && self.chance(10) {
            stages.push(self.stage(Exposure::Shadow(Share::FULL), gates, workflow));
        }
        for share in ladder {
            stages.push(self.stage(Exposure::Traffic(share), gates, workflow));
        }
        Phase {
            name: format!("p{index}"),
            max_parallel: self.rng.random_range(1..=3),
            max_failures: self.one(&[0, 0, 1, 2]),
            bake: self.between(0, 20),
            before: self.some(gates, 25, |kind| !asks_the_world_of_a_region(kind), workflow),
            after: self.some(gates, 15, |kind| !matches!(kind, GateKind::Lock(_)), workflow),
            regions,
            needs,
            stages,
        }
    }

    fn stage(&mut self, exposure: Exposure, gates: &[String], workflow: &Workflow) -> Stage {
        Stage {
            exposure,
            bake: self.between(0, 30),
            before: self.some(gates, 12, |_| true, workflow),
            watch: self.some(gates, 45, |kind| !kind.is_judged_in_the_core(), workflow),
            after: self.some(gates, 15, |kind| !matches!(kind, GateKind::Lock(_)), workflow),
            deadline: self.between(30, 120),
        }
    }

    fn some(
        &mut self,
        gates: &[String],
        percent: u32,
        fits: impl Fn(&GateKind) -> bool,
        workflow: &Workflow,
    ) -> Vec<String> {
        gates
            .iter()
            .filter(|name| fits(&workflow.gates[*name].kind) && self.chance(percent))
            .cloned()
            .collect()
    }

    fn gates(&mut self, workflow: &mut Workflow) {
        let many = self.rng.random_range(0..=4);
        for index in 0..many {
            let kind = match self.rng.random_range(0..12) {
                0..=4 => self.metric(index, workflow),
                5 | 6 => self.approval(),
                7 => self.window(index, workflow),
                8 => http(),
                9 => self.signal(),
                10 => lock(index),
                _ => command(),
            };
            let gate = self.gate(kind);
            workflow.gates.insert(format!("g{index}"), gate);
        }
    }

    fn gate(&mut self, kind: GateKind) -> Gate {
        let any = [
            Policy::Hold,
            Policy::Hold,
            Policy::Ask,
            Policy::Rollback,
            Policy::Advance,
        ];
        Gate {
            kind,
            every: self.between(2, 10),
            breached_for: self.one(&[Duration::ZERO, Duration::ZERO, secs(3), secs(15)]),
            initial_delay: self.one(&[Duration::ZERO, Duration::ZERO, secs(4)]),
            timeout: secs(5),
            on_no_data: self.one(&any),
            on_error: self.one(&any),
            on_fail: self.one(&[Policy::Hold, Policy::Ask, Policy::Rollback]),
            on_inconclusive: Policy::Hold,
            on_pending: Policy::Hold,
            from: Share::ZERO,
            hold_for: self.between(20, 200),
            dry_run: self.chance(10),
        }
    }

    fn metric(&mut self, index: usize, workflow: &mut Workflow) -> GateKind {
        let query = format!("m{index}");
        let metric = Metric {
            source: "prom".into(),
            unit: MetricUnit::Ratio,
            window: self.between(1, 15),
            query: query.clone(),
            samples: Some("samples".into()),
            description: None,
        };
        workflow.metrics.insert(query.clone(), metric);
        let needs_baseline = self.chance(35);
        let severe = if needs_baseline {
            "candidate > 0.05 && candidate > 2 * baseline"
        } else {
            "candidate > 0.05"
        };
        GateKind::Metric(MetricGate {
            query,
            min_samples: self.one(&[None, None, Some(100), Some(400)]),
            hold_when: self.one(&[None, Some("candidate > 0.01".to_owned())]),
            ask_when: self.one(&[None, None, Some("candidate > 0.02".to_owned())]),
            rollback_when: Some(severe.to_owned()),
            needs_baseline,
            ignores_candidate: false,
            concurrent_only: needs_baseline && self.chance(50),
        })
    }

    fn approval(&mut self) -> GateKind {
        GateKind::Approval(Approval {
            count: self.rng.random_range(1..=2),
            from: self.one(&[vec![], vec!["sre".to_owned()], vec!["sre".to_owned(), "cab".to_owned()]]),
            require: Vec::new(),
            expires: self.one(&[None, Some(secs(40)), Some(secs(300))]),
            on_expiry: self.one(&[Policy::Hold, Policy::Ask, Policy::Rollback, Policy::Advance]),
            starter_may_approve: self.chance(20),
        })
    }

    fn signal(&mut self) -> GateKind {
        GateKind::Signal(SignalGate {
            name: "done".into(),
            accept: None,
            expires: self.one(&[None, Some(secs(30)), Some(secs(300))]),
            on_expiry: self.one(&[Policy::Hold, Policy::Ask, Policy::Rollback]),
        })
    }

    /// Open but for a few minutes of this very morning, so that no seed has to wait for tomorrow.
    fn window(&mut self, index: usize, workflow: &mut Workflow) -> GateKind {
        let calendar = format!("c{index}");
        let mut from = start();
        let deny = (0..self.rng.random_range(0..=3)).map(|_| {
            from = self.between(1, 120).after(from);
            let to = self.between(1, 60).after(from);
            let closed = Closed::Instants { from, to };
            from = to;
            Denial {
                closed,
                reason: "a freeze".into(),
            }
        });
        let deny = deny.collect();
        workflow.calendars.insert(calendar.clone(), Calendar { deny });
        GateKind::Window(Window {
            days: Vec::new(),
            from: None,
            to: None,
            timezone: self.one(&[Zone::Region, Zone::Named("Europe/Dublin".into())]),
            calendars: vec![calendar],
        })
    }
}

/// A barrier has no region whose telemetry could be read.
fn asks_the_world_of_a_region(kind: &GateKind) -> bool {
    matches!(kind, GateKind::Metric(_))
}

/// Two gates may name one lock.
fn lock(index: usize) -> GateKind {
    let name = format!("lock-{}", index % 2);
    GateKind::Lock(LockGate { name })
}

pub fn http() -> GateKind {
    GateKind::Http(HttpGate {
        url: "http://check".into(),
        method: "GET".into(),
        headers: BTreeMap::new(),
        body: None,
        status: vec![200],
        pass_when: None,
    })
}

fn command() -> GateKind {
    GateKind::Command(CommandGate {
        run: vec!["smoke".into()],
        env: BTreeMap::new(),
    })
}

pub fn region(timezone: Option<&str>) -> Region {
    Region {
        provider: "sandbox".into(),
        settings: serde_json::Value::Null,
        global_traffic: None,
        timezone: timezone.map(str::to_owned),
        release: None,
    }
}

/// A workflow without regions, phases and gates.
pub fn empty() -> Workflow {
    Workflow {
        name: "seed".into(),
        labels: BTreeMap::new(),
        description: None,
        inputs: BTreeMap::new(),
        release: Release::Image(format!("app:{CANDIDATE}")),
        regions: IndexMap::new(),
        phases: Vec::new(),
        gates: IndexMap::new(),
        metrics: BTreeMap::new(),
        sources: BTreeMap::from([(
            "prom".to_owned(),
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
