//! How long a workflow takes to become a plan, and a plan to become an outlook and a page: `cargo bench --bench plan`.
//!
//! Prints one JSON line a size. Times are medians in milliseconds; `linearity` is the time per node relative to the
//! smallest size (1 = linear). Target: 10,000 nodes compile in less than 100 ms.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use indexmap::IndexMap;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::compile::compile;
use meridian_workflows::plan::outlook::Outlook;
use meridian_workflows::plan::{dot, json, mermaid, text};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{
    Approval, Day, Exposure, Gate, GateKind, MetricGate, OnConflict, Phase, Policy, Region, Release, Rollback, Scope,
    Stage, Window, Workflow, Zone,
};

const SIZES: [usize; 4] = [1_000, 3_000, 10_000, 30_000];
const ROUNDS: usize = 15;
const REGIONS_PER_PHASE: usize = 25;
const SHARES: [u16; 6] = [1, 5, 10, 25, 50, 100];
const ZONES: [&str; 4] = [
    "Europe/Dublin",
    "America/New_York",
    "Asia/Singapore",
    "Australia/Lord_Howe",
];

fn main() {
    let start: jiff::Timestamp = "2026-03-02T10:00:00Z"
        .parse()
        .expect("the instant is written correctly");
    let mut smallest = None;
    for size in SIZES {
        let workflow = workflow(size);
        let plan = compile(workflow.clone());
        let outlook = Outlook::new(&plan, start);
        let compiling = median(|| {
            let workflow = workflow.clone();
            timed(|| compile(workflow))
        });
        let per_node = compiling / plan.len() as f64;
        let report = serde_json::json!({
            "bench": "plan",
            "nodes": plan.len(),
            "edges": plan.graph().edge_count(),
            "rounds": ROUNDS,
            "compileMs": rounded(compiling),
            "linearity": rounded(per_node / *smallest.get_or_insert(per_node)),
            "outlookMs": rounded(median(|| timed(|| Outlook::new(&plan, start)))),
            "textMs": rounded(median(|| timed(|| text::render(&plan, &outlook)))),
            "jsonMs": rounded(median(|| timed(|| json::render(&plan, &outlook)))),
            "mermaidMs": rounded(median(|| timed(|| mermaid::render(&plan)))),
            "dotMs": rounded(median(|| timed(|| dot::render(&plan)))),
            "loadAverage": load_average(),
        });
        println!("{report}");
    }
}

/// Milliseconds that the work takes; its result is dropped outside.
fn timed<T>(work: impl FnOnce() -> T) -> f64 {
    let began = Instant::now();
    let result = black_box(work());
    let took = began.elapsed().as_secs_f64() * 1_000.0;
    drop(result);
    took
}

fn median(mut round: impl FnMut() -> f64) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

/// What else the machine did in the last minute, this bench included; null where the system does not tell.
fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// A workflow whose plan has about `nodes` nodes: phases one after another, each with some regions of six stages.
fn workflow(nodes: usize) -> Workflow {
    let per_phase = 1 + REGIONS_PER_PHASE * (SHARES.len() + 2);
    let phases: Vec<Phase> = (0..nodes.div_ceil(per_phase)).map(phase).collect();
    let names = phases.iter().flat_map(|phase| &phase.regions);
    Workflow {
        regions: names.enumerate().map(|(at, name)| (name.clone(), region(at))).collect(),
        phases,
        name: "bench".into(),
        labels: BTreeMap::new(),
        description: None,
        inputs: BTreeMap::new(),
        release: Release::Image("registry.example.com/bench:v1.0.0".into()),
        gates: gates(),
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
    }
}

fn region(at: usize) -> Region {
    Region {
        provider: "sandbox".into(),
        settings: serde_json::json!({"endpoint": format!("http://127.0.0.1:9000/regions/{at}")}),
        global_traffic: Share::from_basis_points(1).ok(),
        timezone: Some(ZONES[at % ZONES.len()].into()),
        release: None,
    }
}

fn phase(at: usize) -> Phase {
    Phase {
        name: format!("phase-{at}"),
        regions: (0..REGIONS_PER_PHASE)
            .map(|number| format!("region-{at}-{number}"))
            .collect(),
        needs: at
            .checked_sub(1)
            .map(|before| format!("phase-{before}"))
            .into_iter()
            .collect(),
        max_parallel: 5,
        max_failures: 0,
        bake: Duration::from_secs(4 * 3600),
        before: vec!["office-hours".into(), "approval".into()],
        after: Vec::new(),
        stages: SHARES.iter().map(|percent| stage(*percent)).collect(),
    }
}

fn stage(percent: u16) -> Stage {
    Stage {
        exposure: Exposure::Traffic(Share::percent(percent).expect("the shares above lie within 100")),
        bake: Duration::from_secs(1_800),
        before: Vec::new(),
        watch: vec!["error-rate".into(), "latency".into(), "memory".into()],
        after: vec!["error-rate".into()],
        deadline: Duration::from_secs(600),
    }
}

fn gates() -> IndexMap<String, Gate> {
    let metric = |query: &str| {
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
    };
    let office = Window {
        days: vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu],
        from: Some(jiff::civil::time(9, 0, 0, 0)),
        to: Some(jiff::civil::time(16, 0, 0, 0)),
        timezone: Zone::Region,
        calendars: Vec::new(),
    };
    let approval = Approval {
        count: 1,
        from: vec!["sre".into()],
        require: Vec::new(),
        expires: None,
        on_expiry: Policy::Rollback,
        starter_may_approve: false,
    };
    let kinds = [
        ("error-rate", metric("error-rate")),
        ("latency", metric("latency")),
        ("memory", metric("memory")),
        ("office-hours", GateKind::Window(office)),
        ("approval", GateKind::Approval(approval)),
    ];
    kinds
        .into_iter()
        .map(|(name, kind)| (name.to_owned(), gate(kind)))
        .collect()
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
