//! What the file store reaches by itself, without core and scheduler: `cargo bench --bench store`.
//!
//! Prints one JSON line a measure; every flush is made. `append`: durable appends a second, each of one entry, by runs that
//! are busy at once; `calls` tells whether each run calls by itself or all of them in batches. `one`: one append alone, in
//! turns with a bare 4 KiB write and fdatasync to the same disk; the target for the ratio of the medians is at most 2.
//! `parked`: 100,000 runs (or `MERIDIAN_BENCH_PARKED`) that wait; targets: 20,000 starts a second, 500 bytes of disk a run,
//! serving again within 500 ms.

#[allow(dead_code, reason = "each bench uses its part")]
mod machine;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use meridian_engine::ports::store::{Append, HeadUpdate, Lease, SealedEntry, Store};
use meridian_engine::run::entry::Entry;
use meridian_engine::run::event::Event;
use meridian_engine::store::conformance::{End, LENGTH, at, create, end, new_run, plan};
use meridian_engine::store::sqlite::Sqlite;
use serde_json::json;

use machine::{Watch, load_average, resident};

/// Appends by each measure of `append`, shared out over its runs.
const APPENDS: usize = 100_000;
const APPENDS_OF_ONE_RUN: usize = 5_000;
const TURNS: usize = 3_000;
const PARKED: usize = 100_000;
/// Starts that are asked for at once.
const STARTERS: usize = 1_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    // `cargo test --benches` and `cargo bench -- FILTER` hand over arguments; a filter picks measures by name.
    let filter: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let wanted = |name: &str| filter.is_empty() || filter.iter().any(|filter| name.contains(filter.as_str()));
    if wanted("one") {
        runtime.block_on(one());
    }
    for runs in [1, 100, 1_000] {
        if wanted("append") {
            runtime.block_on(append(runs, Calls::Each));
            runtime.block_on(append(runs, Calls::Batches));
        }
    }
    if wanted("parked") {
        runtime.block_on(parked());
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory can be written to")
}

fn open(directory: &Path) -> Arc<Sqlite> {
    Arc::new(Sqlite::open(&directory.join("state.db")).expect("a new store opens"))
}

/// Drives one run: sealed entries made beforehand, so that only the store is measured.
struct Driver {
    lease: Lease,
    appends: Vec<Append>,
}

async fn drivers(store: &Sqlite, runs: usize, appends: usize) -> Vec<Driver> {
    let mut drivers = Vec::with_capacity(runs);
    for _ in 0..runs {
        let run = create(store, "payments-api", 0).await;
        let lease = store
            .acquire(&run, "bench", at(0), LENGTH)
            .await
            .expect("the store works")
            .expect("nobody drives it");
        let mut position = end(store, &run).await;
        let appends = (0..appends).map(|_| step(&mut position, at(1))).collect();
        drivers.push(Driver { lease, appends });
    }
    drivers
}

/// A step as large as most: two events.
fn step(position: &mut End, now: Timestamp) -> Append {
    let events = vec![
        Event::Owned {
            owner: "bench".to_owned(),
            epoch: position.seq,
            at: now,
        },
        Event::Resumed { at: now },
    ];
    let after_seq = position.seq;
    let (entry, bytes) = Entry::seal(
        after_seq + 1,
        now,
        "outcome ensure/0#3".to_owned(),
        events,
        position.hash,
    );
    *position = End {
        seq: entry.seq,
        hash: entry.hash,
    };
    Append {
        after_seq,
        entries: vec![SealedEntry {
            seq: entry.seq,
            at: entry.at,
            hash: entry.hash,
            bytes,
        }],
        head: HeadUpdate {
            wake: Some(at(3_600)),
            outcome: "running".to_owned(),
            is_done: false,
        },
        answers: Vec::new(),
        snapshot: None,
        parks: false,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calls {
    Each,
    Batches,
}

async fn append(runs: usize, calls: Calls) {
    let directory = directory();
    let store = open(directory.path());
    let each = if runs == 1 { APPENDS_OF_ONE_RUN } else { APPENDS / runs };
    let drivers = drivers(&store, runs, each).await;
    let watch = Watch::start();
    let tasks: Vec<_> = match calls {
        Calls::Each => drivers
            .into_iter()
            .map(|driver| tokio::spawn(append_each(store.clone(), driver)))
            .collect(),
        Calls::Batches => halves(drivers)
            .into_iter()
            .map(|drivers| tokio::spawn(append_in_batches(store.clone(), drivers)))
            .collect(),
    };
    for task in tasks {
        task.await.expect("no append fails");
    }
    let seen = watch.stop();
    let total = runs * each;
    println!(
        "{}",
        json!({
            "bench": "store.append", "runs": runs, "calls": format!("{calls:?}").to_lowercase(), "appends": total,
            "appendsPerSecond": (total as f64 / seen.elapsed.as_secs_f64()).round(),
            "ownCpu": seen.own_cpu, "foreignCpu": seen.foreign_cpu, "loadAverage": load_average(),
        })
    );
}

async fn append_each(store: Arc<Sqlite>, driver: Driver) {
    for append in driver.appends {
        store.append(&driver.lease, append).await.expect("the run is ours");
    }
}

fn halves(mut drivers: Vec<Driver>) -> Vec<Vec<Driver>> {
    let second = drivers.split_off(drivers.len() / 2);
    vec![drivers, second]
}

async fn append_in_batches(store: Arc<Sqlite>, drivers: Vec<Driver>) {
    let (leases, mut appends): (Vec<Lease>, Vec<_>) = drivers
        .into_iter()
        .map(|driver| (driver.lease, driver.appends.into_iter()))
        .unzip();
    loop {
        let batch: Vec<(Lease, Append)> = leases
            .iter()
            .zip(&mut appends)
            .filter_map(|(lease, appends)| Some((lease.clone(), appends.next()?)))
            .collect();
        if batch.is_empty() {
            return;
        }
        for answer in store.append_all(batch).await {
            answer.expect("the run is ours");
        }
    }
}

/// One append alone, in turns with the disk's own flush.
async fn one() {
    let directory = directory();
    let store = open(directory.path());
    let mut drivers = drivers(&store, 1, TURNS).await;
    let driver = drivers.pop().expect("one was made");
    let mut bare = OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.path().join("bare"))
        .expect("the directory can be written to");
    let (mut appends, mut flushes) = (Vec::with_capacity(TURNS), Vec::with_capacity(TURNS));
    let watch = Watch::start();
    for append in driver.appends {
        flushes.push(flush(&mut bare));
        let began = Instant::now();
        store.append(&driver.lease, append).await.expect("the run is ours");
        appends.push(began.elapsed());
    }
    let seen = watch.stop();
    let (append, flush) = (Spread::of(appends), Spread::of(flushes));
    println!(
        "{}",
        json!({
            "bench": "store.one", "turns": TURNS,
            "appendMs": {"p50": millis(append.p50), "p99": millis(append.p99)},
            "fdatasyncMs": {"p50": millis(flush.p50), "p99": millis(flush.p99)},
            "ratioP50": rounded(append.p50.as_secs_f64() / flush.p50.as_secs_f64()),
            "ownCpu": seen.own_cpu, "foreignCpu": seen.foreign_cpu, "loadAverage": load_average(),
        })
    );
}

fn flush(bare: &mut File) -> Duration {
    let page = [7; 4_096];
    let began = Instant::now();
    bare.write_all(&page)
        .and_then(|()| bare.sync_data())
        .expect("the disk takes a page");
    began.elapsed()
}

/// The middle and the far end of many times.
struct Spread {
    p50: Duration,
    p99: Duration,
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Spread {
        times.sort_unstable();
        Spread {
            p50: times[times.len() / 2],
            p99: times[times.len() * 99 / 100],
        }
    }
}

fn millis(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1_000.0)
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Starts runs that wait, then opens the store again as after a crash.
async fn parked() {
    let parked: usize = std::env::var("MERIDIAN_BENCH_PARKED")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(PARKED);
    let directory = directory();
    let store = open(directory.path());
    let plan = plan("payments-api");
    let watch = Watch::start();
    let starters: Vec<_> = (0..STARTERS)
        .map(|starter| {
            let (store, plan) = (store.clone(), plan.clone());
            let share = parked / STARTERS + usize::from(starter < parked % STARTERS);
            tokio::spawn(async move {
                for _ in 0..share {
                    // Due in an hour, so that nothing else happens to it.
                    store.create(new_run(&plan, None, 3_600)).await.expect("a run starts");
                }
            })
        })
        .collect();
    for starter in starters {
        starter.await.expect("a starter ends");
    }
    let seen = watch.stop();
    let resident_with_all = resident();
    drop(store);
    let disk = std::fs::metadata(directory.path().join("state.db"))
        .expect("the store is there")
        .len();

    let began = Instant::now();
    let store = open(directory.path());
    let taken = store
        .take("bench", at(0), at(60), LENGTH, 1_000)
        .await
        .expect("the store works");
    assert!(taken.runs.is_empty(), "nothing is due yet");
    let serving = began.elapsed();

    let began = Instant::now();
    let drained = drain(&store, 10_000).await;
    println!(
        "{}",
        json!({
            "bench": "store.parked", "runs": parked,
            "startsPerSecond": (parked as f64 / seen.elapsed.as_secs_f64()).round(),
            "diskBytesPerRun": (disk as f64 / parked as f64).round(), "residentBytes": resident_with_all,
            "servingAgainMs": millis(serving), "drained": drained, "drainedMs": millis(began.elapsed()),
            "ownCpu": seen.own_cpu, "foreignCpu": seen.foreign_cpu, "loadAverage": load_average(),
        })
    );
}

/// Takes overdue runs, adds one step to each and parks it again.
async fn drain(store: &Sqlite, wanted: usize) -> usize {
    let now = at(3_600);
    let mut drained = 0;
    while drained < wanted {
        let taken = store
            .take("bench", now, now, LENGTH, 1_000.min(wanted - drained))
            .await
            .expect("the store works");
        if taken.runs.is_empty() {
            break;
        }
        let steps = taken.runs.into_iter().map(|(lease, stored)| {
            let head = stored.expect("the journal is sound").head;
            let mut position = End {
                seq: head.seq,
                hash: head.hash,
            };
            let mut step = step(&mut position, now);
            step.head.wake = Some(at(7_200));
            step.parks = true;
            (lease, step)
        });
        for answer in store.append_all(steps.collect()).await {
            answer.expect("the run is ours");
            drained += 1;
        }
    }
    drained
}
