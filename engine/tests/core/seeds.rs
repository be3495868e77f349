//! Thousands of random plans in random worlds. `MERIDIAN_SEEDS=n` runs n of them, `MERIDIAN_SEED=n` tells the story of one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::drive::{Broken, Disturbance, Drive, End};
use crate::plans::{Size, random};

const SIZE: Size = Size {
    phases: 4,
    regions: 5,
    stages: 4,
};

/// How many seeds a plain test run takes.
const SEEDS: u64 = 2_000;

/// All that is done with one seed.
///
/// *Errors*: which promise was broken, under which disturbance.
pub fn seed(seed: u64, tells: bool) -> Result<Summary, String> {
    let plan = random(seed, SIZE);
    let drive = |disturbance| {
        let told = Drive::new(plan.clone(), seed, disturbance, tells).into_the_end();
        told.map(|(end, story)| {
            if tells && disturbance == Disturbance::None {
                story.iter().for_each(|line| println!("{line}"));
                println!("-- the same under disturbance --");
            }
            end
        })
        .map_err(|Broken { what, story }| {
            story.iter().for_each(|line| println!("{line}"));
            format!("seed {seed}, {disturbance:?}: {what}")
        })
    };
    let undisturbed = drive(Disturbance::None)?;
    let doubled = drive(Disturbance::Doubled)?;
    same(seed, Disturbance::Doubled, &undisturbed, &doubled, true)?;
    let (crash, exactly) = match seed % 2 {
        0 => (Disturbance::CrashedLost, false),
        _ => (Disturbance::CrashedApplied, true),
    };
    let crashed = drive(crash)?;
    same(seed, crash, &undisturbed, &crashed, exactly)?;
    let wild = drive(Disturbance::Wild)?;
    let entries = [&undisturbed, &doubled, &crashed, &wild]
        .iter()
        .map(|end| end.entries)
        .sum();
    Ok(Summary {
        standing: undisturbed.standing,
        wild: wild.standing,
        entries,
    })
}

pub struct Summary {
    pub standing: String,
    pub wild: String,
    pub entries: usize,
}

fn same(seed: u64, disturbance: Disturbance, twin: &End, other: &End, exactly: bool) -> Result<(), String> {
    if exactly
        && let Some(index) = (0..twin.events.len().max(other.events.len()))
            .find(|index| twin.events.get(*index) != other.events.get(*index))
    {
        return Err(format!(
            "seed {seed}: event {index} differs from the undisturbed twin under {disturbance:?}:\n  {:?}\n  {:?}",
            twin.events.get(index),
            other.events.get(index)
        ));
    }
    let end = |end: &End| (end.standing.clone(), end.regions.clone(), end.shares.clone());
    if end(twin) != end(other) {
        return Err(format!(
            "seed {seed}: another end than the undisturbed twin's under {disturbance:?}:\n  {:?}\n  {:?}",
            end(twin),
            end(other)
        ));
    }
    Ok(())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_promise_holds_in_every_random_world() {
    if let Some(one) = number("MERIDIAN_SEED") {
        let summary = seed(one, true).unwrap();
        println!("{} (wild: {})", summary.standing, summary.wild);
        return;
    }
    let many = number("MERIDIAN_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let broken: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let ends: Mutex<std::collections::BTreeMap<String, usize>> = Mutex::default();
    let entries = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let one = next.fetch_add(1, Ordering::Relaxed);
                    if one >= many || broken.lock().unwrap().len() >= 12 {
                        return;
                    }
                    match seed(one, false) {
                        Ok(summary) => {
                            let kind = summary.standing.split([':', ' ']).next().unwrap_or_default().to_owned();
                            *ends.lock().unwrap().entry(kind).or_default() += 1;
                            let kind = summary.wild.split([':', ' ']).next().unwrap_or_default();
                            *ends.lock().unwrap().entry(format!("wild {kind}")).or_default() += 1;
                            entries.fetch_add(summary.entries as u64, Ordering::Relaxed);
                        }
                        Err(what) => broken.lock().unwrap().push(what),
                    }
                }
            });
        }
    });
    println!(
        "{many} seeds, {} entries, ends: {:?}",
        entries.into_inner(),
        ends.into_inner().unwrap()
    );
    let broken = broken.into_inner().unwrap();
    assert!(
        broken.is_empty(),
        "MERIDIAN_SEED=n tells one story\n{}",
        broken.join("\n")
    );
}
