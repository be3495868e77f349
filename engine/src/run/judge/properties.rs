//! What must not matter to a verdict does not, and what is no evidence passes nobody: the judge before numbers of any kind.

use proptest::prelude::*;

use super::tests::{at, compared, counts, cpu, errors, judged, leak, sample};
use super::*;
use crate::run::reading::{Counts, Course, KindCounts, Point};
use crate::run::story::gate;
use meridian_workflows::workflow::{CourseTest, Harm};

const MINUTE: i64 = 60;

fn course(values: &[f64]) -> Course {
    let last = 120 - values.len() as i64 + 1;
    Course {
        query: "q".into(),
        step: Duration::from_secs(60),
        points: values
            .iter()
            .enumerate()
            .map(|(minute, value)| Point(at((last + minute as i64) * MINUTE), *value))
            .collect(),
    }
}

fn tests() -> impl Strategy<Value = CourseTest> {
    prop_oneof![
        Just(CourseTest::Means),
        Just(CourseTest::Ranks { effect: 0.65 }),
        Just(CourseTest::Kayenta)
    ]
}

/// Two courses of one length, noisy and perhaps shifted.
fn arms() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    (24_usize..100, 0.0..2.0_f64).prop_flat_map(|(length, shift)| {
        let own = prop::collection::vec((10.0..12.0_f64).prop_map(move |value| value + shift), length);
        (own, prop::collection::vec(10.0..12.0_f64, length))
    })
}

fn of_courses(test: CourseTest, harm: Harm, candidate: Course, baseline: Course) -> Judgement {
    let mut compare = cpu(test);
    compare.harm = harm;
    let answer = Answer::Course {
        candidate,
        baseline: Some(baseline),
        restarts: None,
    };
    judged(&gate(GateKind::Compare(compare)), answer, |of| {
        of.bake = Duration::from_secs(3_600)
    })
}

/// Any number, and those that are none.
fn anything() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        4 => (0.0..1e6_f64).prop_map(|value| Some(value.floor())),
        1 => prop::num::f64::ANY.prop_map(Some),
        1 => Just(None),
        1 => Just(Some(f64::NAN)),
        1 => Just(Some(f64::INFINITY)),
        1 => Just(Some(-1.0)),
        1 => Just(Some(0.0)),
    ]
}

fn any_counts() -> impl Strategy<Value = Counts> {
    (anything(), prop::collection::vec(anything(), 0..4)).prop_map(|(total, parts)| Counts {
        window: Duration::from_secs(600),
        total: sample(total),
        parts: parts.into_iter().map(sample).collect(),
    })
}

fn is_sound(counts: &Counts) -> bool {
    let is_count = |value: Option<f64>| value.is_some_and(|value| value.is_finite() && value >= 0.0);
    is_count(counts.total.value) && counts.parts.iter().all(|part| is_count(part.value))
}

proptest! {
    #[test]
    fn the_order_of_points_and_the_unit_change_no_verdict(
        (own, other) in arms(), test in tests(), power in -9_i32..=9, seed in any::<prop::sample::Index>()
    ) {
        let usual = of_courses(test, Harm::More, course(&own), course(&other));
        let by = 10_f64.powi(power);
        let scaled = |values: &[f64]| values.iter().map(|value| value * by).collect::<Vec<f64>>();
        let in_other_units = of_courses(test, Harm::More, course(&scaled(&own)), course(&scaled(&other)));
        prop_assert_eq!(in_other_units.level(), usual.level());
        let mut turned = course(&own);
        let middle = seed.index(turned.points.len());
        turned.points.rotate_left(middle);
        prop_assert_eq!(of_courses(test, Harm::More, turned, course(&other)), usual);
    }

    #[test]
    fn what_is_added_to_both_arms_changes_no_verdict_where_nothing_is_allowed(
        (own, other) in arms(), more in -1e3..1e3_f64
    ) {
        // Blocks of whole numbers: no rounding decides.
        let round = |values: &[f64], more: f64| values.iter().map(|value| (value * 64.0).round() / 64.0 + more.round()).collect::<Vec<f64>>();
        let level = |more: f64| {
            let mut compare = cpu(CourseTest::Means);
            compare.margin = 0.0;
            compare.floor = 0.0;
            let answer = Answer::Course {
                candidate: course(&round(&own, more)),
                baseline: Some(course(&round(&other, more))),
                restarts: None,
            };
            judged(&gate(GateKind::Compare(compare)), answer, |of| of.bake = Duration::from_secs(3_600)).level()
        };
        prop_assert_eq!(level(more), level(0.0));
    }

    #[test]
    fn swapped_arms_swap_more_and_less((own, other) in arms(), test in tests()) {
        // Without a margin, more in one arm is as much less in the other.
        let level = |harm: Harm, candidate: &[f64], baseline: &[f64]| {
            let mut compare = cpu(test);
            compare.harm = harm;
            compare.margin = 0.0;
            let answer = Answer::Course { candidate: course(candidate), baseline: Some(course(baseline)), restarts: None };
            judged(&gate(GateKind::Compare(compare)), answer, |of| of.bake = Duration::from_secs(3_600)).level()
        };
        prop_assert_eq!(level(Harm::More, &own, &other), level(Harm::Less, &other, &own));
    }

    #[test]
    fn batches_of_requests_may_come_as_one(
        batches in prop::collection::vec((0_u32..500, 0_u32..20, 0_u32..4_500, 0_u32..100), 1..8)
    ) {
        // The same requests, of one kind or counted as several kinds of which only one is asked for.
        let sum = |of: fn(&(u32, u32, u32, u32)) -> u32| f64::from(batches.iter().map(of).sum::<u32>());
        let (requests, bad) = (sum(|batch| batch.0), sum(|batch| batch.1.min(batch.0)));
        let (others, bad_others) = (sum(|batch| batch.2), sum(|batch| batch.3.min(batch.2)));
        let one = compared(errors(), counts(requests, &[bad]), counts(others, &[bad_others]));
        let mut by_kind = errors();
        by_kind.kinds = vec!["all".into()];
        let answer = Answer::of_kinds(vec![KindCounts {
            name: "all".into(),
            candidate: counts(requests, &[bad]),
            baseline: Some(counts(others, &[bad_others])),
        }]);
        let same = judged(&gate(GateKind::Compare(by_kind)), answer, |of| of.share = Share::percent(10).ok());
        prop_assert_eq!(same.level(), one.level());
    }

    #[test]
    fn requests_that_are_no_numbers_break_nothing_and_pass_nobody(
        candidate in any_counts(), baseline in any_counts(), share in 0_u16..=10_000
    ) {
        let answer = Answer::Counts { candidate: candidate.clone(), baseline: Some(baseline.clone()), kinds: Vec::new() };
        let judgement = judged(&gate(GateKind::Compare(errors())), answer, |of| {
            of.share = Share::from_basis_points(share).ok();
        });
        if !is_sound(&candidate) || !is_sound(&baseline) {
            // Parts beyond those that both arms have are not looked at.
            let looked = candidate.parts.len().min(baseline.parts.len());
            let broken = |counts: &Counts| {
                let looked = Counts { parts: counts.parts[..looked].to_vec(), ..counts.clone() };
                !is_sound(&looked)
            };
            if broken(&candidate) || broken(&baseline) {
                prop_assert!(!judgement.is_pass(), "{}", judgement.because());
            }
        }
        if candidate.total.value == Some(0.0) || baseline.total.value == Some(0.0) {
            prop_assert!(!judgement.is_pass(), "{}", judgement.because());
        }
    }

    #[test]
    fn courses_of_anything_break_nothing_and_pass_nobody(
        own in prop::collection::vec(anything(), 0..40), other in prop::collection::vec(anything(), 0..40), test in tests()
    ) {
        let values = |values: &[Option<f64>]| values.iter().flatten().copied().collect::<Vec<f64>>();
        let (candidate, baseline) = (course(&values(&own)), course(&values(&other)));
        let is_finite = |course: &Course| !course.points.is_empty() && course.points.iter().all(|point| point.1.is_finite());
        let is_evidence = is_finite(&candidate) && is_finite(&baseline);
        let judgement = of_courses(test, Harm::Either, candidate.clone(), baseline.clone());
        prop_assert!(is_evidence || !judgement.is_pass(), "{}", judgement.because());
        let answer = Answer::Course { candidate, baseline: Some(baseline), restarts: None };
        let judgement = judged(&gate(GateKind::Trend(leak())), answer, |_| {});
        prop_assert!(is_evidence || !judgement.is_pass(), "{}", judgement.because());
    }
}
