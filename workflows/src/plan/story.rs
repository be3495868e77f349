//! Workflows for the tests of plans: the story that the manual tells, and small ones in a line.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::duration::Duration;
use crate::share::Share;
use crate::workflow::{
    Approval, Calendar, Closed, Day, Denial, Exposure, Gate, GateKind, MetricGate, OnConflict, Phase, Policy, Region,
    Release, Rollback, Scope, Stage, Window, Workflow, Zone,
};

/// A workflow that grows phase by phase; every region that a phase names exists.
pub struct Story(Workflow);

impl Story {
    pub fn new() -> Story {
        Story(Workflow {
            name: "story".into(),
            labels: BTreeMap::new(),
            description: None,
            inputs: BTreeMap::new(),
            release: Release::Image("registry.example.com/payments-api:v3.2.0".into()),
            regions: IndexMap::new(),
            phases: Vec::new(),
            gates: IndexMap::new(),
            metrics: BTreeMap::new(),
            sources: BTreeMap::new(),
            calendars: BTreeMap::new(),
            rollback: Rollback {
                scope: Scope::Run,
                deadline: Duration::from_secs(60),
                drain: Duration::from_secs(30),
                keep_baseline: Duration::ZERO,
            },
            on_conflict: OnConflict::Queue,
            schedules: Vec::new(),
            notifications: Vec::new(),
            notifiers: BTreeMap::new(),
            not_available_yet: Vec::new(),
        })
    }

    pub fn region(mut self, name: &str, traffic: Option<&str>, zone: Option<&str>) -> Story {
        self.0.regions.insert(
            name.into(),
            Region {
                provider: "sandbox".into(),
                settings: serde_json::Value::Null,
                global_traffic: traffic.map(|share| share.parse().unwrap()),
                timezone: zone.map(str::to_owned),
                release: None,
            },
        );
        self
    }

    /// A phase after the one before it; stages as `25%` or `25% 30m`.
    pub fn phase(mut self, name: &str, regions: &[&str], stages: &[&str]) -> Story {
        let needs = self
            .0
            .phases
            .last()
            .map(|phase| phase.name.clone())
            .into_iter()
            .collect();
        for region in regions {
            if !self.0.regions.contains_key(*region) {
                self = self.region(region, None, None);
            }
        }
        self.0.phases.push(Phase {
            name: name.into(),
            regions: regions.iter().map(|region| (*region).to_owned()).collect(),
            needs,
            max_parallel: 1,
            max_failures: 0,
            bake: Duration::ZERO,
            before: Vec::new(),
            after: Vec::new(),
            stages: stages.iter().map(|text| stage(text)).collect(),
        });
        self
    }

    /// A phase that needs none.
    pub fn at_once(self, name: &str, regions: &[&str], stages: &[&str]) -> Story {
        self.phase(name, regions, stages).edit(|phase| phase.needs.clear())
    }

    /// Changes the newest phase.
    pub fn edit(mut self, change: impl FnOnce(&mut Phase)) -> Story {
        change(self.0.phases.last_mut().unwrap());
        self
    }

    pub fn gate(mut self, name: &str, kind: GateKind) -> Story {
        self.0.gates.insert(name.into(), gate(kind));
        self
    }

    /// Office hours, Monday to Thursday 09:00–16:00 in each region's zone, in a phase's `before`.
    pub fn window(self, name: &str, phase: &str) -> Story {
        let mut story = self.gate(name, GateKind::Window(office_hours()));
        let phase = story.0.phases.iter_mut().find(|known| known.name == phase).unwrap();
        phase.before.push(name.into());
        story
    }

    pub fn build(self) -> Workflow {
        self.0
    }
}

pub fn office_hours() -> Window {
    Window {
        days: vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu],
        from: Some(jiff::civil::time(9, 0, 0, 0)),
        to: Some(jiff::civil::time(16, 0, 0, 0)),
        timezone: Zone::Region,
        calendars: Vec::new(),
    }
}

pub fn approval(count: u32) -> GateKind {
    GateKind::Approval(Approval {
        count,
        from: vec!["sre".into()],
        require: Vec::new(),
        expires: None,
        on_expiry: Policy::Rollback,
        starter_may_approve: false,
    })
}

fn metric(query: &str) -> GateKind {
    GateKind::Metric(MetricGate {
        query: query.into(),
        min_samples: Some(100),
        hold_when: None,
        ask_when: None,
        rollback_when: Some("candidate > 2 * baseline".into()),
        needs_baseline: true,
        ignores_candidate: false,
        concurrent_only: false,
    })
}

fn gate(kind: GateKind) -> Gate {
    Gate {
        kind,
        every: Duration::from_secs(30),
        breached_for: Duration::ZERO,
        initial_delay: Duration::ZERO,
        timeout: Duration::from_secs(10),
        on_no_data: Policy::Hold,
        on_error: Policy::Hold,
        on_fail: Policy::Rollback,
        on_inconclusive: Policy::Hold,
        on_pending: Policy::Hold,
        from: Share::ZERO,
        hold_for: Duration::from_secs(24 * 3600),
        dry_run: false,
    }
}

fn stage(text: &str) -> Stage {
    let (share, bake) = text.split_once(' ').unwrap_or((text, "0s"));
    Stage {
        exposure: Exposure::Traffic(share.parse().unwrap()),
        bake: bake.parse().unwrap(),
        before: Vec::new(),
        watch: Vec::new(),
        after: Vec::new(),
        deadline: Duration::from_secs(600),
    }
}

/// Payments API, smallest region first, primary last: the manual's example.
pub fn payments() -> Workflow {
    let careful = ["1% 10m", "25% 30m", "50% 30m", "100%"];
    let hours = |text: &str| text.parse::<Duration>().unwrap();
    let mut workflow = Story::new()
        .region("us-east-1-canary", Some("1%"), Some("America/New_York"))
        .region("us-west-2", Some("9%"), Some("America/Los_Angeles"))
        .region("eu-west-1", Some("20%"), Some("Europe/Dublin"))
        .region("ap-southeast-1", Some("20%"), Some("Asia/Singapore"))
        .region("us-east-1", Some("50%"), Some("America/New_York"))
        .gate("error-rate", metric("error-rate"))
        .gate("p99-latency", metric("p99"))
        .gate("memory-leak", metric("memory"))
        .gate("sre-approval", approval(1))
        .gate("cab-approval", approval(2))
        .phase("internal", &["us-east-1-canary"], &["100%"])
        .edit(|phase| phase.bake = hours("2h"))
        .phase("smallest", &["us-west-2"], &careful)
        .edit(|phase| phase.bake = hours("4h"))
        .phase("medium", &["eu-west-1", "ap-southeast-1"], &careful)
        .edit(|phase| (phase.bake, phase.max_parallel) = (hours("4h"), 2))
        .window("office-hours", "medium")
        .phase("primary", &["us-east-1"], &careful)
        .edit(|phase| (phase.bake, phase.before) = (hours("24h"), vec!["cab-approval".into()]))
        .build();
    workflow.name = "payments-api".into();
    for phase in workflow.phases.iter_mut().skip(1) {
        for stage in &mut phase.stages {
            stage.watch = vec!["error-rate".into(), "p99-latency".into()];
        }
        phase.stages[1].watch.push("memory-leak".into());
        phase.stages[3].before.push("sre-approval".into());
    }
    if let Some(GateKind::Window(window)) = workflow.gates.get_mut("office-hours").map(|gate| &mut gate.kind) {
        window.calendars.push("company".into());
    }
    let freeze = Closed::Dates {
        from: jiff::civil::date(2026, 12, 23),
        to: jiff::civil::date(2027, 1, 2),
    };
    let evenings = Closed::Weekly {
        days: vec![Day::Fri],
        from: Some(jiff::civil::time(16, 0, 0, 0)),
        to: None,
    };
    let deny = |closed, reason: &str| Denial {
        closed,
        reason: reason.into(),
    };
    workflow.calendars.insert(
        "company".into(),
        Calendar {
            deny: vec![deny(freeze, "year-end freeze"), deny(evenings, "no Friday evenings")],
        },
    );
    workflow
}
