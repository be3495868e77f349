//! Real processes that are killed, stopped and brought back at any instant: nothing is lost, nothing is done twice.
//!
//! Chance comes from `MERIDIAN_CRASH_SEED` (default 1), which a failure prints; `MERIDIAN_CRASH_KILLS` asks for more kills.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::essence::{Essence, fences_rise};
use crate::machine::{Machine, Process, SHORT, events, until};

/// Two healthy regions, then one whose candidate may answer with errors: then everything goes back, the finished regions too.
const RELEASE: &str = r"
apiVersion: meridian/v1
kind: Workflow
metadata: {name: shop}
spec:
  release: registry.example.com/shop:v2
  defaults:
    sandbox: {serving: v1, requestsPerSecond: 40, instances: 1}
  regions:
    eu-north-1: {sandbox: {}}
    us-east-1: {sandbox: {faults: {v2: {errors: ERRORS}}}}
  phases:
    - {name: smallest, regions: [eu-north-1], strategy: quick}
    - {name: rest, regions: [us-east-1], strategy: quick}
  strategies:
    quick:
      watch: [errors]
      stages:
        - {traffic: 20%, bake: 1s}
        - {traffic: 100%, bake: 1s}
  imports: [./metrics.yaml]
  gates:
    errors:
      metric: {query: errors, minSamples: 5, rollbackWhen: candidate > percent(5)}
      every: 1s
      for: 1s
  rollback: {scope: run, deadline: 60s, drain: 500ms}
";

/// What the releases here are watched by.
pub const METRICS: &str = r#"
apiVersion: meridian/v1
kind: Library
metadata: {name: metrics}
spec:
  sources:
    here: {sandbox: {}}
  metrics:
    errors:
      source: here
      unit: ratio
      window: 5s
      query: |
        sum(rate(http_requests_total{region="${{ region.name }}", version="${{ arm.version }}", traffic="live", code=~"5.."}[${{ window }}]))
          / sum(rate(http_requests_total{region="${{ region.name }}", version="${{ arm.version }}", traffic="live"}[${{ window }}]))
      samples: |
        sum(increase(http_requests_total{region="${{ region.name }}", version="${{ arm.version }}", traffic="live"}[${{ window }}]))
"#;

/// Kills that a suite has to survive, over all runs and kinds of run.
const KILLS: usize = 60;

/// Kills of one run at most; then it is let through.
const KILLS_PER_RUN: usize = 14;

/// Runs at once: each has a cloud of its own, and most of the time it waits for a lease to run out.
const AT_ONCE: usize = 4;

/// How a release ends when nobody disturbs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Course {
    Promoted,
    RolledBack,
}

impl Course {
    fn workflow(self) -> String {
        let errors = match self {
            Course::Promoted => "0%",
            Course::RolledBack => "70%",
        };
        RELEASE.replace("ERRORS", errors)
    }

    fn outcome(self) -> &'static str {
        match self {
            Course::Promoted => "promoted",
            Course::RolledBack => "rolled-back",
        }
    }

    /// Starts the release and leaves it undriven; answers with the run's name.
    fn start(self, machine: &Machine) -> String {
        machine.write("metrics.yaml", METRICS);
        let file = machine.write("shop.yaml", &self.workflow());
        let started = machine.json(&["run", &file, "--detach"]);
        started["run"].as_str().unwrap().to_owned()
    }

    fn undisturbed(self) -> Essence {
        let machine = Machine::new();
        let run = self.start(&machine);
        let driven = machine.ask(&["resume", &run]);
        assert_eq!(driven.code, Some(i32::from(self == Course::RolledBack)), "{driven:#?}");
        Essence::of(&machine, &run)
    }
}

#[test]
fn a_run_that_is_killed_at_any_instant_ends_as_if_it_never_was() {
    let seed = number("MERIDIAN_CRASH_SEED", 1);
    let kills_wanted = usize::try_from(number("MERIDIAN_CRASH_KILLS", KILLS as u64)).unwrap();
    println!("MERIDIAN_CRASH_SEED={seed}");
    let references = std::thread::scope(|scope| {
        let undisturbed =
            [Course::Promoted, Course::RolledBack].map(|course| (course, scope.spawn(move || course.undisturbed())));
        undisturbed.map(|(course, told)| (course, told.join().unwrap()))
    });
    for (course, essence) in &references {
        assert_eq!(essence.outcome, course.outcome(), "{essence:#?}");
    }
    let hits: Mutex<Vec<String>> = Mutex::default();
    let next = AtomicU64::new(seed * 1_000);
    std::thread::scope(|scope| {
        let work = || {
            while !is_enough(&hits.lock().unwrap(), kills_wanted) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                // Two of three go back: their kills are spread over going forward and going back.
                let (course, reference) = &references[usize::from(!seed.is_multiple_of(3))];
                let (essence, places) = disturbed(*course, seed);
                println!(
                    "seed {seed}, {course:?}, {} kills: {}",
                    places.len(),
                    places.join(" | ")
                );
                assert_eq!(
                    essence,
                    *reference,
                    "seed {seed}: the left was killed {} times",
                    places.len()
                );
                hits.lock().unwrap().extend(places);
            }
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    let hits = hits.into_inner().unwrap();
    let back = while_rolling_back(&hits);
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    hits.iter().for_each(|place| *places.entry(place).or_default() += 1);
    println!(
        "{} kills, {back} of them while rolling back; after which event: {places:#?}",
        hits.len()
    );
}

/// Enough of them while rolling back, too: that takes a moment only, and is hit more rarely.
fn is_enough(hits: &[String], wanted: usize) -> bool {
    hits.len() >= wanted && while_rolling_back(hits) >= wanted / 4
}

fn while_rolling_back(hits: &[String]) -> usize {
    hits.iter().filter(|place| place.starts_with("back")).count()
}

/// A run whose engine is killed again and again; how it ended, and what had happened last before each kill.
fn disturbed(course: Course, seed: u64) -> (Essence, Vec<String>) {
    let mut dice = StdRng::seed_from_u64(seed);
    let machine = Machine::new();
    let run = course.start(&machine);
    let mut places = Vec::new();
    let (mut had_owner, mut rolls_back) = (false, false);
    // Two of three that go back are left alone until then: rolling back takes a moment only, and is worth as many kills.
    let waits = course == Course::RolledBack && dice.random_ratio(2, 3);
    while places.len() < KILLS_PER_RUN {
        let mut engine = machine.spawn_for(SHORT, &["resume", &run]);
        // A process shows what it does a moment later than it does it: some are killed by the clock alone, so that kills fall
        // into the taking over too.
        let life = if waits && !rolls_back {
            until_said(&mut engine, "rolls back the run");
            dice.random_range(0..100)
        } else if had_owner && dice.random_ratio(1, 3) {
            dice.random_range(0..3_500)
        } else {
            if had_owner {
                let taken = format!("/{} from here on", engine.pid());
                until_said(&mut engine, &taken);
            }
            match dice.random_range(0..4) {
                _ if rolls_back => dice.random_range(0..80),
                0 => dice.random_range(1_000..4_000),
                _ => dice.random_range(0..1_200),
            }
        };
        if engine.ends_within(Duration::from_millis(life)) {
            break;
        }
        engine.kill();
        let journal = machine.journal(&run);
        had_owner = events(&journal).any(|event| event["type"] == "owned");
        rolls_back = events(&journal).any(|event| event["type"] == "rollbackDecided");
        let last = events(&journal)
            .last()
            .map_or("nothing", |event| event["type"].as_str().unwrap());
        places.push(format!("{} {last}", if rolls_back { "back" } else { "forward" }));
    }
    let driven = machine.ask(&["resume", &run]);
    assert_eq!(
        driven.code,
        Some(i32::from(course == Course::RolledBack)),
        "seed {seed}: {driven:#?}"
    );
    (Essence::of(&machine, &run), places)
}

/// Waits until the words are there, or nothing more can come.
fn until_said(engine: &mut Process, words: &str) {
    until(words, || {
        (engine.said().contains(words) || engine.is_over()).then_some(())
    });
}

#[test]
fn a_cloud_that_dies_under_a_run_is_waited_for() {
    let machine = Machine::new();
    let run = Course::Promoted.start(&machine);
    let engine = machine.spawn(&["resume", &run]);
    for node in [
        "open:smallest/eu-north-1",
        "stage:smallest/eu-north-1/100%",
        "stage:rest/us-east-1/20%",
    ] {
        let failures = |machine: &Machine| failures(&machine.journal(&run)).count();
        let at = node_number(&machine, &run, node);
        machine.until_event(&run, node, |event| {
            event["type"] == "nodeStarted" && event["node"] == at
        });
        let before = failures(&machine);
        machine.kill_sandbox();
        until("the engine notices that the cloud is away", || {
            (failures(&machine) > before).then_some(())
        });
        machine.start_sandbox();
    }
    let driven = engine.end();
    assert_eq!(driven.code, Some(0), "{driven:#?}");
    let journal = machine.journal(&run);
    let lasting = failures(&journal).find(|failure| failure["lasting"] == true);
    assert_eq!(lasting, None, "a cloud that is away is a transient failure");
    let essence = Essence::of(&machine, &run);
    assert_eq!(essence.outcome, "promoted");
    // A new sandbox goes on with the weights that it had: nothing is shifted again.
    for (region, shifts) in essence.shifts {
        let mut once = shifts.clone();
        once.dedup();
        assert_eq!(shifts, once, "{region}");
    }
}

#[test]
fn an_engine_that_slept_through_its_lease_changes_nothing_any_more() {
    let machine = Machine::new();
    let run = Course::Promoted.start(&machine);
    let sleeper = machine.spawn_for(SHORT, &["resume", &run]);
    let at = node_number(&machine, &run, "stage:smallest/eu-north-1/20%");
    machine.until_event(&run, "the first stage", |event| {
        event["type"] == "nodeStarted" && event["node"] == at
    });
    // Not in the middle of a write: whoever is stopped there keeps the file from everybody, until it goes on or is killed.
    until("an instant between two writes", || {
        sleeper.signal("STOP");
        machine.is_free().then_some(()).or_else(|| {
            sleeper.signal("CONT");
            None
        })
    });
    let mut second = machine.spawn(&["resume", &run]);
    second.until_said(&format!("/{} from here on", second.pid()));
    let second_pid = second.pid();
    sleeper.signal("CONT");
    let (sleeper, second) = (sleeper.end(), second.end());
    // It follows the other one to the end, and answers with the run's outcome.
    assert_eq!(
        (sleeper.code, second.code),
        (Some(0), Some(0)),
        "{sleeper:#?} {second:#?}"
    );
    assert!(
        sleeper.stderr.contains("lost the lease") || sleeper.stderr.contains("somebody else drives this run now"),
        "{sleeper:#?}"
    );
    assert!(
        sleeper.stderr.contains("Another process drives this run"),
        "{sleeper:#?}"
    );
    let journal = machine.journal(&run);
    let owners: Vec<&str> = events(&journal)
        .filter(|event| event["type"] == "owned")
        .map(|event| event["owner"].as_str().unwrap())
        .collect();
    assert!(
        owners.last().unwrap().ends_with(&format!("/{second_pid}")),
        "the first never comes back: {owners:?}"
    );
    let orders = machine.sandbox("/orders");
    fences_rise(&orders);
    assert_eq!(Essence::of(&machine, &run).outcome, "promoted");
}

#[test]
fn two_processes_share_a_store_and_never_a_run() {
    let machine = Machine::new();
    let run = Course::Promoted.start(&machine);
    let first = machine.spawn(&["resume", &run]);
    machine.until_event(&run, "the first owner", |event| event["type"] == "owned");
    // A release of something else goes on beside it, one of the same targets queues, and the same run is only followed.
    let other = Course::Promoted.workflow().replace("name: shop", "name: cart");
    let beside = machine.spawn(&["run", &machine.write("cart.yaml", &other)]);
    let behind = machine.spawn(&["run", &machine.write("shop.yaml", &Course::Promoted.workflow())]);
    let second = machine.spawn(&["resume", &run]);
    let drivers = [first.pid(), second.pid()].map(|pid| format!("/{pid}"));
    for (name, process) in [
        ("first", first),
        ("beside", beside),
        ("behind", behind),
        ("second", second),
    ] {
        let answer = process.end();
        assert_eq!(answer.code, Some(0), "{name}: {answer:#?}");
        let is_told = answer.stderr.contains("Another process drives this run");
        assert_eq!(is_told, name == "second", "{name}: {answer:#?}");
    }
    let (mine, queued) = (machine.journal(&run), machine.journal("shop-0002"));
    let number_of = |journal: &[Value], kind: &str| events(journal).filter(|event| event["type"] == kind).count();
    // A process that is slow may park a run, and whoever was told to drive it takes it up; nobody else may, nor two at a time.
    let owned = events(&mine).filter(|event| event["type"] == "owned");
    let owners: Vec<&str> = owned.map(|event| event["owner"].as_str().unwrap()).collect();
    let is_driver = |owner: &&str| drivers.iter().any(|pid| owner.ends_with(pid));
    assert!(
        owners[0].ends_with(&drivers[0]) && owners.iter().all(is_driver),
        "{owners:?}"
    );
    fences_rise(&machine.sandbox("/orders"));
    assert!(number_of(&queued, "claimBusy") > 0, "{queued:#?}");
    let at = |journal: &[Value], kind: &str| {
        let holds = |entry: &&Value| events(std::slice::from_ref(*entry)).any(|event| event["type"] == kind);
        journal.iter().find(holds).unwrap()["at"]
            .as_str()
            .unwrap()
            .parse::<Timestamp>()
            .unwrap()
    };
    assert!(at(&mine, "released") <= at(&queued, "claimed"));
    for run in [&run, "cart-0001", "shop-0002"] {
        let verified = machine.ask(&["journal", run, "--verify"]);
        assert_eq!(verified.code, Some(0), "{verified:#?}");
    }
}

/// The number of a node in the run's journal.
pub fn node_number(machine: &Machine, run: &str, key: &str) -> usize {
    let status = machine.json(&["status", run]);
    let nodes = status["nodes"].as_array().unwrap();
    nodes
        .iter()
        .position(|node| node["key"] == key)
        .unwrap_or_else(|| panic!("no {key} in {nodes:?}"))
}

fn failures(journal: &[Value]) -> impl Iterator<Item = &Value> {
    events(journal).filter(|event| event["type"] == "effectFailed")
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable} is a number"))
    })
}
