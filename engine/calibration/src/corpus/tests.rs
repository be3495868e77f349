//! That the corpus is what it says: the same for ever, sized as documented, and blind to who judges.

use super::{Case, Class, Fault, OPEN, World};

fn arms(case: &Case, share: f64, ticks: usize) -> Vec<(u64, u64, u64, u64)> {
    let mut world = World::new(case, 0);
    while !world.may_start() {
        world.step(0.0);
    }
    (0..ticks)
        .map(|_| {
            let (seen, _) = world.step(share);
            let counted = |arm: Option<super::Arm>| arm.map(|arm| arm.pooled()).unwrap_or_default();
            let (candidate, baseline) = (counted(seen.candidate), counted(seen.baseline));
            (
                candidate.requests.into(),
                candidate.errors.into(),
                baseline.requests.into(),
                baseline.errors.into(),
            )
        })
        .collect()
}

#[test]
fn a_seed_is_a_case_for_ever() {
    // Frozen: these sums change only if the corpus does.
    let mut sums = [0_u64; 4];
    for seed in OPEN.step_by(37) {
        for (candidate, errors, baseline, baseline_errors) in arms(&Case::new(seed), 0.25, 40) {
            sums[0] += candidate;
            sums[1] += errors;
            sums[2] += baseline;
            sums[3] += baseline_errors;
        }
    }
    assert_eq!(sums, FROZEN);
}

const FROZEN: [u64; 4] = [3_772_081, 166_764, 12_954_386, 114_096];

#[test]
fn what_happens_to_the_baseline_does_not_hang_on_the_candidates_luck() {
    let case = Case::new(0);
    let one: Vec<_> = arms(&case, 0.25, 30).into_iter().map(|tick| tick.2).collect();
    let again: Vec<_> = arms(&case, 0.25, 30).into_iter().map(|tick| tick.2).collect();
    assert_eq!(one, again);
}

#[test]
fn healthy_arms_fail_alike_and_harmed_ones_do_not() {
    for class in [
        Class::Plain,
        Class::Noisy,
        Class::Ramp,
        Class::Dependency,
        Class::ErrorStep,
        Class::Crash,
    ] {
        let mut rates = [0.0; 2];
        for case in OPEN.map(Case::new).filter(|case| case.class == class).take(40) {
            let ticks = arms(&case, 0.5, 300);
            let sum = |of: fn(&(u64, u64, u64, u64)) -> u64| ticks.iter().map(of).sum::<u64>() as f64;
            rates[0] += sum(|tick| tick.1) / sum(|tick| tick.0);
            rates[1] += sum(|tick| tick.3) / sum(|tick| tick.2);
        }
        let ratio = rates[0] / rates[1];
        if class.is_bad() {
            assert!(ratio > 2.0, "{class:?}: {ratio}");
        } else {
            assert!((ratio - 1.0).abs() < 0.05, "{class:?}: {ratio}");
        }
    }
}

#[test]
fn a_leak_is_the_only_gauge_that_grows() {
    for class in [Class::SlowLeak, Class::Plain, Class::Ramp] {
        for case in OPEN.map(Case::new).filter(|case| case.class == class).take(10) {
            let mut world = World::new(&case, 0);
            while !world.may_start() {
                world.step(0.0);
            }
            let minutes = 100.0;
            let mut difference = Vec::new();
            for _ in 0..case.plan.ticks(minutes) {
                let (seen, _) = world.step(0.1);
                difference.push(seen.candidate.unwrap().memory_mib - seen.baseline.unwrap().memory_mib);
            }
            let quarter = difference.len() / 4;
            let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
            let grown = mean(&difference[3 * quarter..]) - mean(&difference[quarter..2 * quarter]);
            match case.fault {
                // Half of the minutes lie between the two quarters' middles; a heap's teeth may hide a part.
                Fault::Leak { mib_per_minute } => {
                    assert!(grown > mib_per_minute * minutes / 2.0 - 60.0 || grown < -300.0)
                }
                _ => assert!(grown.abs() < 60.0, "{class:?} {}: {grown}", case.seed),
            }
        }
    }
}

#[test]
fn classes_are_equally_frequent() {
    for class in Class::ALL {
        assert_eq!(OPEN.filter(|seed| Class::of(*seed) == class).count(), 125);
    }
    assert_eq!(Class::ALL.iter().filter(|class| class.is_bad()).count(), 8);
}
