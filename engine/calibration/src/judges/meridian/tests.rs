//! CAL-5, CAL-6 and CAL-7: what must not matter does not, what is no evidence passes nobody, and silence is found out.

use meridian_engine::run::statistics::counts::SequentialCounts;
use meridian_engine::run::statistics::rank::{mann_whitney, shift, shift_interval};
use meridian_engine::run::statistics::trend::{block_means, mann_kendall, theil_sen, until_exhausted};

use super::Meridian;
use crate::chance::Chance;
use crate::corpus::{Arm, Case, Class, Observation, World};
use crate::judges::{Decision, Judge, Now};
use crate::rollout::{End, run};

/// Pairs of samples, equal and shifted, with ties and without.
fn samples() -> impl Iterator<Item = (Vec<f64>, Vec<f64>)> {
    (0..200).map(|at| {
        let mut chance = Chance::new(&[501, at]);
        let shift = if at % 2 == 0 { 0.0 } else { 1.0 };
        let (n, m) = (3 + chance.below(30), 3 + chance.below(30));
        let mut draw = |count: usize, by: f64| -> Vec<f64> {
            let values = (0..count).map(|_| 5.0 + by + chance.normal());
            values
                .map(|value| if at % 3 == 0 { value.round() } else { value })
                .collect()
        };
        (draw(n, shift), draw(m, 0.0))
    })
}

fn scaled(values: &[f64], by: f64) -> Vec<f64> {
    values.iter().map(|value| value * by).collect()
}

fn near(found: f64, wanted: f64) -> bool {
    (found - wanted).abs() <= 1e-9 * wanted.abs()
}

#[test]
fn no_unit_changes_what_is_found() {
    for (x, y) in samples() {
        for power in [-9, -5, -1, 3, 9] {
            let by = 10_f64.powi(power);
            let (far, away) = (scaled(&x, by), scaled(&y, by));
            assert_eq!(mann_whitney(&far, &away), mann_whitney(&x, &y));
            assert!((shift(&far, &away).unwrap() / by - shift(&x, &y).unwrap()).abs() < 1e-9);
            assert_eq!(mann_kendall(&far), mann_kendall(&x));
            let points = |values: &[f64]| -> Vec<(f64, f64)> {
                values
                    .iter()
                    .enumerate()
                    .map(|(at, value)| (at as f64, *value))
                    .collect()
            };
            let (slope, other) = (
                theil_sen(&points(&x), 0.98).unwrap(),
                theil_sen(&points(&far), 0.98).unwrap(),
            );
            assert!((other.low / by - slope.low).abs() < 1e-9 && (other.high / by - slope.high).abs() < 1e-9);
            let lasts = |values: &[f64], slope: f64, limit: f64| until_exhausted(values[0], slope, limit);
            let (one, two) = (lasts(&x, slope.high, 50.0), lasts(&far, other.high, 50.0 * by));
            assert!(one.zip(two).is_none_or(|(one, two)| (one / two - 1.0).abs() < 1e-6));
        }
    }
}

#[test]
fn order_and_a_common_addition_change_nothing_and_swapped_arms_swap_the_answer() {
    for (x, y) in samples() {
        let found = mann_whitney(&x, &y).unwrap();
        let turned: Vec<f64> = x.iter().rev().copied().collect();
        assert_eq!(mann_whitney(&turned, &y), Some(found));
        assert_eq!(shift_interval(&turned, &y, 0.98), shift_interval(&x, &y, 0.98));
        let more = |values: &[f64]| -> Vec<f64> { values.iter().map(|value| value + 1024.0).collect() };
        assert!((shift(&more(&x), &more(&y)).unwrap() - shift(&x, &y).unwrap()).abs() < 1e-9);
        let swapped = mann_whitney(&y, &x).unwrap();
        assert!(near(swapped.greater, found.less) && near(swapped.two_sided, found.two_sided));
        assert_eq!(mann_whitney(&x, &y), Some(found), "the same again");
    }
}

#[test]
fn batches_may_be_split_and_counts_come_in_any_order() {
    let test = SequentialCounts::new(&[0.1, 0.9], 20.0).unwrap();
    let whole = test.evidence(&[30.0, 100.0]).unwrap();
    assert_eq!(test.evidence(&[10.0 + 20.0, 40.0 + 60.0]), Some(whole));
    let turned = SequentialCounts::new(&[0.9, 0.1], 20.0).unwrap();
    assert!(near(turned.evidence(&[100.0, 30.0]).unwrap(), whole));
    let values: Vec<f64> = (0..60).map(f64::from).collect();
    let split: Vec<f64> = values.chunks(20).flat_map(|part| block_means(part, 10)).collect();
    assert_eq!(block_means(&values, 10), split);
}

/// What Meridian decides at each of so many ticks of one stage, whatever they hold.
fn decisions(ticks: usize, mut tick: impl FnMut(usize) -> (Option<Arm>, Option<Arm>)) -> Vec<Decision> {
    let case = Case::new(8);
    let plan = &case.plan;
    let mut judge = Meridian::by_kind();
    let mut world = World::new(&case, 0);
    let mut history = Vec::new();
    while !world.may_start() {
        history.push(world.step(0.0).0);
    }
    judge.begins(plan, 0, &history);
    let mut decided = Vec::new();
    for at in 1..=ticks {
        let now = Now {
            plan,
            region: 0,
            stage: 1,
            ticks: at,
            age: at,
        };
        let (candidate, baseline) = tick(at);
        let newest = Observation {
            share: now.share(),
            candidate,
            baseline,
        };
        decided.push(judge.observes(&now, &newest));
    }
    decided
}

#[test]
fn what_is_no_evidence_passes_nobody() {
    let gauge = |memory_mib: f64| Arm {
        memory_mib,
        cpu: memory_mib,
        ..Arm::default()
    };
    let healthy = || {
        let mut arm = gauge(400.0);
        arm.strata[0].requests = 1_000;
        arm.strata[0].buckets[0] = 1_000;
        arm
    };
    let nothing: [(&str, Option<Arm>); 7] = [
        ("no series", None),
        ("no requests", Some(gauge(400.0))),
        ("not a number", Some(gauge(f64::NAN))),
        ("infinite", Some(gauge(f64::INFINITY))),
        ("minus infinite", Some(gauge(f64::NEG_INFINITY))),
        ("zero", Some(gauge(0.0))),
        ("negative", Some(gauge(-1.0))),
    ];
    for (name, arm) in nothing {
        let passes = |decided: Vec<Decision>| decided.contains(&Decision::Advance);
        assert!(!passes(decisions(600, |_| (arm, Some(healthy())))), "candidate: {name}");
        assert!(!passes(decisions(600, |_| (arm, arm))), "both: {name}");
        assert!(!passes(decisions(600, |_| (Some(healthy()), arm))), "baseline: {name}");
    }
    // One good tick is no evidence either.
    let once = decisions(600, |at| {
        if at == 1 {
            (Some(healthy()), Some(healthy()))
        } else {
            (Some(gauge(400.0)), Some(gauge(400.0)))
        }
    });
    assert!(!once.contains(&Decision::Advance));
}

#[test]
fn numbers_that_are_none_break_no_statistic() {
    for values in [
        &[][..],
        &[f64::NAN],
        &[1.0],
        &[0.0; 50],
        &[f64::INFINITY, 1.0],
        &[-1.0, f64::NEG_INFINITY],
    ] {
        let points: Vec<(f64, f64)> = values
            .iter()
            .enumerate()
            .map(|(at, value)| (at as f64, *value))
            .collect();
        let is_finite = values.iter().all(|value| value.is_finite());
        assert_eq!(mann_whitney(values, values).is_some(), is_finite && !values.is_empty());
        assert!(theil_sen(&points, 0.98).is_none_or(|slope| is_finite && slope.low <= slope.high));
        assert!(mann_kendall(values).is_none_or(|found| is_finite && found.z.is_finite()));
    }
}

#[test]
fn a_silent_candidate_is_never_promoted_and_a_silent_world_is_no_pass() {
    for seed in (0..).filter(|seed| Class::of(*seed) == Class::Silent).take(10) {
        assert_eq!(
            run(&Case::new(seed), &mut Meridian::by_kind()).end,
            End::RolledBack,
            "{seed}"
        );
    }
    assert!(!decisions(300, |_| (None, None)).contains(&Decision::Advance));
}
