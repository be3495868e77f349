//! How fast and how small the durable scheduler is: `cargo bench --bench scheduler -- NAME [SIZE…]`.
//!
//! Names: `transitions`, `alone`, `parked` (with `starts` and `restart` in it), `timers`, `overdue`; none runs all. Everything
//! goes the real way, decide, append, apply, on a SQLite file with every flush honoured; only the cloud is an in-process one
//! that says yes. One JSON line a measure, each with the machine's load average: figures of a busy machine are not to be quoted.
//!
//! A *node transition* is one durable change of a node's life (started, converged, baked, passed). A workflow of 10 nodes is
//! one region with seven stages.

mod machine;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration as StdDuration, Instant};

use indexmap::IndexMap;
use jiff::Timestamp;
use meridian_engine::ports::clock::Clock;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::{Observed, Order, Provider, Target};
use meridian_engine::ports::store::Store;
use meridian_engine::run::effect::{DesiredState, Observation, Progress};
use meridian_engine::run::event::Event;
use meridian_engine::run::signal::Person;
use meridian_engine::run::state::RunId;
use meridian_engine::run::version::Version;
use meridian_engine::scheduler::clock::SystemClock;
use meridian_engine::scheduler::engine::{Engine, Options, Scope};
use meridian_engine::scheduler::tell::Told;
use meridian_engine::scheduler::world::World;
use meridian_engine::service::Service;
use meridian_engine::store::sqlite::Sqlite;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::Plan;
use meridian_workflows::plan::compile::compile;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{
    Approval, Exposure, Gate, GateKind, OnConflict, Phase, Policy, Region, Release, Rollback, Scope as RollbackScope,
    Stage, Workflow,
};
use serde_json::{Value, json};

use machine::{Seen, Watch, load_average, resident};

/// Starts under way at once: enough for the store to share a flush among many.
const STARTS_AT_ONCE: usize = 1_024;

/// How long a measure may take before it is given up.
const PATIENCE: StdDuration = StdDuration::from_secs(600);

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let sizes: Vec<usize> = words.iter().skip(1).filter_map(|word| word.parse().ok()).collect();
    let or = |sizes: &[usize], usual: &[usize]| {
        if sizes.is_empty() {
            usual.to_vec()
        } else {
            sizes.to_vec()
        }
    };
    match words.first().map(String::as_str) {
        Some("child-park") => {
            return runtime.block_on(child_park(Path::new(&words[1]), words[2].parse().expect("a count")));
        }
        Some("child-serve") => return runtime.block_on(child_serve(Path::new(&words[1]))),
        Some(_) | None => {}
    }
    let wants = |name: &str| words.is_empty() || words[0] == name;
    if wants("transitions") {
        for runs in or(&sizes, &[1_000, 10_000]) {
            runtime.block_on(transitions(runs));
        }
    }
    if wants("alone") {
        for runs in or(&sizes, &[200]) {
            runtime.block_on(alone(runs));
        }
    }
    if wants("parked") {
        for runs in or(&sizes, &[100_000, 1_000_000]) {
            parked(runs);
        }
    }
    if wants("timers") {
        for runs in or(&sizes, &[10_000]) {
            runtime.block_on(timers(runs));
        }
    }
    if wants("overdue") {
        for runs in or(&sizes, &[10_000]) {
            runtime.block_on(overdue(runs));
        }
    }
}

// --- measures ---

/// Many runs of ten nodes, from the engine's start until all are done.
async fn transitions(runs: usize) {
    let bench = Bench::scratch();
    let plan = Arc::new(compile(workflow(7, Duration::ZERO, Duration::ZERO, false)));
    let first = bench.start_many(&plan, runs).await;
    let engine = bench.engine(Options::named("bench"));
    let watch = Watch::start();
    bench
        .until(|cloud| cloud.promoted() == runs as u64 && engine.resident() == 0)
        .await;
    let seen = watch.stop();
    let seconds = seen.elapsed.as_secs_f64();
    let entries = bench.service.entries(&first).await.expect("the journal can be read").1;
    let events: Vec<&Event> = entries.iter().flat_map(|entry| &entry.events).collect();
    let changes = events.iter().filter(|event| is_transition(event)).count();
    let per_second = |count: usize| ((count * runs) as f64 / seconds).round();
    print_seen(
        json!({
            "bench": "transitions", "runs": runs, "nodesPerRun": plan.len(), "seconds": rounded(seconds),
            "transitionsPerSecond": per_second(changes), "nodesPerSecond": per_second(plan.len()),
            "entriesPerSecond": per_second(entries.len()), "eventsPerSecond": per_second(events.len()),
            "transitionsPerRun": changes, "entriesPerRun": entries.len(),
            "rssMb": rounded(rss() as f64 / 1e6), "target": ">= 50000 transitions/s",
        }),
        seen,
    );
    engine.shut_down().await;
}

/// One run at a time: from the cloud's answer to the next order, with the entry between them flushed; beside bare flushes.
async fn alone(runs: usize) {
    let dir = scratch();
    let bench = Bench::open(dir.path().to_owned());
    let plan = Arc::new(compile(workflow(7, Duration::ZERO, Duration::ZERO, false)));
    let mut flushes = bare_flushes(dir.path(), 500);
    bench.start_many(&plan, runs).await;
    let engine = bench.engine(Options {
        resident_max: 1,
        ..Options::named("bench")
    });
    bench.until(|cloud| cloud.promoted() == runs as u64).await;
    flushes.extend(bare_flushes(dir.path(), 500));
    let mut steps = bench.cloud.take_steps();
    let (flush, step) = (percentiles(&mut flushes), percentiles(&mut steps));
    print(json!({
        "bench": "alone", "transitions": steps.len(), "p50Ms": step.0, "p99Ms": step.1,
        "bareFdatasyncP50Ms": flush.0, "bareFdatasyncP99Ms": flush.1,
        "ratioP50": rounded(step.0 / flush.0), "ratioP99": rounded(step.1 / flush.1), "target": "p50 <= 2x the bare flush",
    }));
    engine.shut_down().await;
}

/// Starts that park for an approval, what a parked run costs, and `kill -9` to serving again.
fn parked(runs: usize) {
    let dir = scratch();
    let mut child = spawn("child-park", dir.path(), Some(runs));
    let told = child.line();
    let disk = disk_of(dir.path());
    let rss_full = told["rss"].as_f64().unwrap_or_default();
    let rss_empty = told["rssBefore"].as_f64().unwrap_or_default();
    print(json!({
        "bench": "starts", "runs": runs, "startsPerSecond": told["startsPerSecond"],
        "startedAndParkedPerSecond": told["parkedPerSecond"], "target": ">= 20000/s",
    }));
    print(json!({
        "bench": "parked", "runs": runs, "rssPerRun": rounded((rss_full - rss_empty) / runs as f64),
        "engineRssMb": rounded(rss_full / 1e6), "diskPerRun": rounded(disk as f64 / runs as f64),
        "target": "<= 400 B RSS a run, <= 128 MB in all",
    }));
    child.kill();
    let began = Instant::now();
    let mut child = spawn("child-serve", dir.path(), None);
    let told = child.line();
    print(json!({
        "bench": "restart", "parked": runs, "killToServingSeconds": rounded(began.elapsed().as_secs_f64()),
        "openSeconds": told["open"], "probeSeconds": told["probe"],
        "engineRssMb": rounded(told["rss"].as_f64().unwrap_or_default() / 1e6), "target": "<= 0.5 s, flat",
    }));
    child.kill();
}

/// Wake-ups spread over ten seconds: from the instant a bake is over to the moment that its entry is durable.
async fn timers(runs: usize) {
    let bench = Bench::scratch();
    let engine = bench.engine(Options::named("bench"));
    let lateness = Arc::new(Mutex::new(Vec::new()));
    let listener = tokio::spawn(listen(
        engine.subscribe(),
        Arc::clone(&bench.clock),
        Arc::clone(&lateness),
    ));
    // The starts take a while; bakes begin when each run converges, so they are spread by fifty lengths of bake.
    let lengths = 50;
    for step in 0..lengths {
        let bake = Duration::from_millis(40_000 + step * 200);
        let plan = Arc::new(compile(workflow(2, bake, Duration::ZERO, false)));
        bench.start_many(&plan, runs / lengths as usize).await;
    }
    bench
        .until(|_| {
            lateness
                .lock()
                .is_ok_and(|list| list.len() >= runs / lengths as usize * lengths as usize)
        })
        .await;
    listener.abort();
    let mut all = lateness.lock().map(|list| list.clone()).unwrap_or_default();
    let (p50, p99) = percentiles(&mut all);
    print(json!({
        "bench": "timers", "wakeUps": all.len(), "latenessP50Ms": p50, "latenessP99Ms": p99,
        "latenessMaxMs": all.last().copied().map(rounded), "target": "p50 <= 3 ms, p99 <= 15 ms",
    }));
    engine.shut_down().await;
}

/// Bakes that ended while no engine ran: from its start until all have gone on to their next bake.
async fn overdue(runs: usize) {
    let bench = Bench::scratch();
    let plan = Arc::new(compile(workflow(
        2,
        Duration::from_secs(30),
        Duration::from_secs(86_400),
        false,
    )));
    let engine = bench.engine(Options::named("before"));
    bench.start_many(&plan, runs).await;
    bench
        .until(|cloud| cloud.first_stages() == runs as u64 && engine.resident() == 0)
        .await;
    engine.shut_down().await;
    tokio::time::sleep(StdDuration::from_secs(31)).await;
    let watch = Watch::start();
    let engine = bench.engine(Options::named("after"));
    bench.until(|cloud| cloud.full_stages() == runs as u64).await;
    let seen = watch.stop();
    print_seen(
        json!({
            "bench": "overdue", "runs": runs, "drainedSeconds": rounded(seen.elapsed.as_secs_f64()), "target": "<= 0.3 s",
        }),
        seen,
    );
    engine.shut_down().await;
}

// --- children: processes that are killed ---

async fn child_park(dir: &Path, runs: usize) {
    let bench = Bench::open(dir.to_owned());
    let engine = bench.engine(Options::named("parker"));
    let plan = Arc::new(compile(workflow(2, Duration::ZERO, Duration::ZERO, true)));
    bench.start_many(&plan, 1).await;
    bench
        .until(|cloud| cloud.claimed() == 1 && engine.resident() == 0)
        .await;
    let rss_before = rss();
    let began = Instant::now();
    bench.start_many(&plan, runs).await;
    let started = began.elapsed().as_secs_f64();
    bench
        .until(|cloud| cloud.claimed() == runs as u64 + 1 && engine.resident() == 0)
        .await;
    let seconds = began.elapsed().as_secs_f64();
    print(json!({
        "startsPerSecond": (runs as f64 / started).round(), "parkedPerSecond": (runs as f64 / seconds).round(),
        "rssBefore": rss_before, "rss": rss(),
    }));
    std::future::pending::<()>().await;
}

async fn child_serve(dir: &Path) {
    let began = Instant::now();
    let bench = Bench::open(dir.to_owned());
    let open = began.elapsed().as_secs_f64();
    let engine = bench.engine(Options::named("server"));
    let probe = Arc::new(compile(workflow(1, Duration::ZERO, Duration::ZERO, false)));
    bench.start_many(&probe, 1).await;
    bench.until(|cloud| cloud.promoted() == 1).await;
    print(
        json!({ "open": rounded(open), "probe": rounded(began.elapsed().as_secs_f64()), "rss": rss(), "resident": engine.resident() }),
    );
    std::future::pending::<()>().await;
}

struct Spawned {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

fn spawn(verb: &str, dir: &Path, count: Option<usize>) -> Spawned {
    let mut command = Command::new(std::env::current_exe().expect("a bench knows where it is"));
    command.arg(verb).arg(dir).args(count.map(|count| count.to_string()));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .expect("a bench can start itself");
    let lines = BufReader::new(child.stdout.take().expect("its output is piped"));
    Spawned { child, lines }
}

impl Spawned {
    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a child speaks before it ends");
        serde_json::from_str(&line).unwrap_or_default()
    }

    /// As `kill -9` does it.
    fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends");
    }
}

// --- the world ---

/// Says yes at once and counts.
#[derive(Default)]
struct Cloud {
    targets: AtomicU64,
    promoted: AtomicU64,
    first_stages: AtomicU64,
    full_stages: AtomicU64,
    answered_at: Mutex<Option<Instant>>,
    steps: Mutex<Vec<f64>>,
}

impl Cloud {
    fn claimed(&self) -> u64 {
        self.targets.load(Ordering::Relaxed)
    }

    fn promoted(&self) -> u64 {
        self.promoted.load(Ordering::Relaxed)
    }

    fn first_stages(&self) -> u64 {
        self.first_stages.load(Ordering::Relaxed)
    }

    fn full_stages(&self) -> u64 {
        self.full_stages.load(Ordering::Relaxed)
    }

    fn take_steps(&self) -> Vec<f64> {
        self.steps
            .lock()
            .map(|mut steps| std::mem::take(&mut *steps))
            .unwrap_or_default()
    }
}

#[async_trait::async_trait]
impl Provider for Cloud {
    /// Every run gets its own target, as a million services would.
    async fn identify(&self, _: &Target) -> Result<String, Failure> {
        let number = self.targets.fetch_add(1, Ordering::Relaxed);
        Ok(format!("target-{}-{number}", std::process::id()))
    }

    async fn observe(&self, target: &Target) -> Result<Observed, Failure> {
        Ok(Observed {
            observation: Observation {
                serving: Some(Version::named("v1")),
                candidate: Version::named(target.release.version()),
                candidate_share: Share::ZERO,
                is_settled: true,
                diagnosis: None,
                candidate_digest: None,
            },
            fence: None,
            versions: Vec::new(),
        })
    }

    async fn ensure(&self, _: &Target, order: &Order) -> Result<Progress, Failure> {
        if let (Ok(mut answered_at), Ok(mut steps)) = (self.answered_at.lock(), self.steps.lock()) {
            // From one order's answer to the next order lies exactly one durable entry.
            if let Some(at) = answered_at.take() {
                steps.push(at.elapsed().as_secs_f64() * 1e3);
            }
            if order.desired().state != DesiredState::Promoted {
                *answered_at = Some(Instant::now());
            }
        }
        match &order.desired().state {
            DesiredState::Promoted => &self.promoted,
            DesiredState::Serving(Exposure::Traffic(share)) if *share == Share::FULL => &self.full_stages,
            DesiredState::Serving(Exposure::Traffic(share)) if *share > Share::ZERO => &self.first_stages,
            _ => return Ok(Progress::Settled),
        }
        .fetch_add(1, Ordering::Relaxed);
        Ok(Progress::Settled)
    }
}

/// One region with this many stages up to 100 %: three more nodes than stages. The first bakes this long, the last `then`.
fn workflow(stages: u16, bake: Duration, then: Duration, waits: bool) -> Workflow {
    let region = Region {
        provider: "cloud".to_owned(),
        settings: Value::Null,
        global_traffic: None,
        timezone: None,
        release: None,
    };
    let stage = |ordinal: u16| Stage {
        exposure: Exposure::Traffic(
            Share::from_basis_points(10_000 - 10_000 / stages * (stages - 1 - ordinal)).expect("at most 100 %"),
        ),
        bake: match ordinal {
            0 => bake,
            _ if ordinal + 1 == stages => then,
            _ => Duration::ZERO,
        },
        before: Vec::new(),
        watch: Vec::new(),
        after: Vec::new(),
        deadline: Duration::from_secs(600),
    };
    let approval = Gate {
        kind: GateKind::Approval(Approval {
            count: 1,
            from: Vec::new(),
            require: Vec::new(),
            expires: None,
            on_expiry: Policy::Hold,
            starter_may_approve: true,
        }),
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
        hold_for: Duration::from_secs(86_400),
        dry_run: false,
    };
    let phase = Phase {
        name: "all".to_owned(),
        regions: vec!["here".to_owned()],
        needs: Vec::new(),
        max_parallel: 1,
        max_failures: 0,
        bake: Duration::ZERO,
        before: if waits { vec!["go".to_owned()] } else { Vec::new() },
        after: Vec::new(),
        stages: (0..stages).map(stage).collect(),
    };
    Workflow {
        name: format!("bench-{}", bake.as_millis()),
        labels: BTreeMap::new(),
        description: None,
        inputs: BTreeMap::new(),
        release: Release::Image("bench:v2".to_owned()),
        regions: IndexMap::from([("here".to_owned(), region)]),
        phases: vec![phase],
        gates: if waits {
            IndexMap::from([("go".to_owned(), approval)])
        } else {
            IndexMap::new()
        },
        metrics: BTreeMap::new(),
        sources: BTreeMap::new(),
        calendars: BTreeMap::new(),
        rollback: Rollback {
            scope: RollbackScope::Run,
            deadline: Duration::from_secs(60),
            drain: Duration::ZERO,
            keep_baseline: Duration::ZERO,
        },
        on_conflict: OnConflict::Queue,
        schedules: Vec::new(),
        notifications: Vec::new(),
        notifiers: BTreeMap::new(),
        not_available_yet: Vec::new(),
    }
}

fn is_transition(event: &Event) -> bool {
    matches!(
        event,
        Event::NodeStarted { .. } | Event::Converged { .. } | Event::BakeEnded { .. } | Event::NodePassed { .. }
    )
}

// --- the harness ---

struct Bench {
    cloud: Arc<Cloud>,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    service: Service,
    /// Removed with the bench.
    dir: Option<tempfile::TempDir>,
}

impl Bench {
    fn open(dir: PathBuf) -> Bench {
        let store: Arc<dyn Store> = Arc::new(Sqlite::open(&dir.join("state.db")).expect("a store can be made here"));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(None));
        Bench {
            cloud: Arc::new(Cloud::default()),
            service: Service::new(Arc::clone(&store), Arc::clone(&clock)),
            clock,
            store,
            dir: None,
        }
    }

    fn scratch() -> Bench {
        let dir = scratch();
        let mut bench = Bench::open(dir.path().to_owned());
        bench.dir = Some(dir);
        bench
    }

    fn engine(&self, options: Options) -> Engine {
        let world = World::new().with_provider("cloud", Arc::clone(&self.cloud) as Arc<dyn Provider>);
        Engine::start(
            Arc::clone(&self.store),
            Arc::new(world),
            Arc::clone(&self.clock),
            options,
            Scope::Everything,
        )
    }

    /// Starts this many runs, many at once; answers with one of them.
    async fn start_many(&self, plan: &Arc<Plan>, count: usize) -> RunId {
        let left = Arc::new(AtomicU64::new(count as u64));
        let starters = (0..STARTS_AT_ONCE.min(count)).map(|_| {
            let (service, plan, left) = (self.service.clone(), Arc::clone(plan), Arc::clone(&left));
            tokio::spawn(async move {
                let mut newest = None;
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok()
                {
                    let by = Person::unauthenticated("bench", Vec::new());
                    newest = Some(
                        service
                            .start(Arc::clone(&plan), by, None)
                            .await
                            .expect("a run can be started"),
                    );
                }
                newest
            })
        });
        let all = futures_util::future::join_all(starters.collect::<Vec<_>>()).await;
        all.into_iter()
            .filter_map(Result::ok)
            .flatten()
            .next()
            .expect("something was started")
    }

    async fn until(&self, holds: impl Fn(&Cloud) -> bool) {
        let began = Instant::now();
        while !holds(&self.cloud) {
            assert!(began.elapsed() < PATIENCE, "the bench does not come to its end");
            tokio::time::sleep(StdDuration::from_millis(1)).await;
        }
    }
}

/// Hears when bakes end, and compares with when they should.
async fn listen(
    mut told: tokio::sync::broadcast::Receiver<Told>,
    clock: Arc<dyn Clock>,
    lateness: Arc<Mutex<Vec<f64>>>,
) {
    let mut due: BTreeMap<RunId, Timestamp> = BTreeMap::new();
    loop {
        let told = match told.recv().await {
            Ok(told) => told,
            Err(tokio::sync::broadcast::error::RecvError::Lagged(count)) => {
                eprintln!("{count} entries went by unheard");
                continue;
            }
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        };
        let now = clock.now();
        for event in &told.entry.events {
            match event {
                Event::Converged { at, .. } if due.get(&told.run) != Some(&Timestamp::MAX) => {
                    due.insert(told.run.clone(), *at);
                }
                Event::BakeEnded { at, .. } => {
                    // The workflow's name, and so the run's, tells how long it bakes.
                    let bake = told.run.0.split('-').nth(1).and_then(|millis| millis.parse().ok());
                    if let (Some(converged), Some(bake)) = (due.get(&told.run).copied(), bake)
                        && *at > converged
                    {
                        let over = converged.checked_add(jiff::SignedDuration::from_millis(bake)).ok();
                        let late = over.map_or(0.0, |over| now.duration_since(over).as_secs_f64() * 1e3);
                        due.insert(told.run.clone(), Timestamp::MAX);
                        if let Ok(mut list) = lateness.lock() {
                            list.push(late);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory can be made beside the build")
}

/// 4 KiB appended and flushed, as a store's log does it, in milliseconds each.
fn bare_flushes(dir: &Path, count: usize) -> Vec<f64> {
    let mut file = File::create(dir.join("flushes")).expect("a file can be made");
    let block = [0x5a; 4_096];
    (0..count)
        .map(|_| {
            let began = Instant::now();
            file.write_all(&block).expect("a block can be written");
            file.sync_data().expect("a block can be flushed");
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect()
}

fn percentiles(list: &mut [f64]) -> (f64, f64) {
    list.sort_by(f64::total_cmp);
    let at = |part: f64| {
        list.get((list.len() as f64 * part) as usize)
            .copied()
            .unwrap_or(f64::NAN)
    };
    (rounded(at(0.5)), rounded(at(0.99)))
}

/// Bytes of this process in memory.
fn rss() -> u64 {
    resident().unwrap_or(0)
}

fn disk_of(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|about| about.len())
        .sum()
}

fn print(mut line: Value) {
    line["loadAverage"] = json!(load_average());
    println!("{line}");
}

/// A measure with what else the machine did meanwhile.
fn print_seen(mut line: Value, seen: Seen) {
    line["ownCpu"] = json!(seen.own_cpu);
    line["foreignCpu"] = json!(seen.foreign_cpu);
    print(line);
}

fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}
