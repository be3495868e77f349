//! What the judge says of counts, courses and budgets: few words of evidence, and the sentence that people get.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{
    Block, BudgetGate, CompareGate, Compared, CourseTest, Gate, GateKind, Harm, Metric, MetricGate, MetricUnit, Policy,
    Requests, Reserve, TrendGate,
};

use super::{Circumstances, judge};
use crate::run::reading::{Answer, Burn, Counts, Course, KindCounts, Point, Reading, Sample};
use crate::run::story::gate;
use crate::run::verdict::{Judgement, Level};

const MINUTE: i64 = 60;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

fn metrics(unit: MetricUnit) -> BTreeMap<String, Metric> {
    let metric = Metric {
        source: "prom".into(),
        unit,
        window: minutes(2),
        query: "memory".into(),
        samples: None,
        description: None,
    };
    BTreeMap::from([("memory".to_owned(), metric)])
}

pub(super) fn sample(value: Option<f64>) -> Sample {
    Sample {
        value,
        samples: None,
        at: None,
        query: "q".into(),
    }
}

pub(super) fn counts(total: f64, parts: &[f64]) -> Counts {
    Counts {
        window: minutes(10),
        total: sample(Some(total)),
        parts: parts.iter().map(|part| sample(Some(*part))).collect(),
    }
}

fn comparing(of: Compared) -> CompareGate {
    CompareGate {
        of,
        kinds: Vec::new(),
        harm: Harm::More,
        fails_beyond: Some(0.25),
        margin: 1.0,
        floor: 0.002_5,
        impact: 0.000_5,
        alpha: None,
        min_samples: 100,
        traffic_check: true,
    }
}

pub(super) fn errors() -> CompareGate {
    comparing(Compared::Counts {
        bad: "bad".into(),
        total: "total".into(),
    })
}

pub(super) fn judged(gate: &Gate, answer: Answer, change: impl FnOnce(&mut Circumstances<'_>)) -> Judgement {
    let metrics = metrics(MetricUnit::Bytes);
    let now = at(120 * MINUTE);
    let mut of = Circumstances {
        since: at(0),
        exposed: at(0),
        ..Circumstances::alone(gate, &metrics, now)
    };
    change(&mut of);
    judge(&Reading { at: now, answer }, &of)
}

pub(super) fn compared(compare: CompareGate, candidate: Counts, baseline: Counts) -> Judgement {
    let answer = Answer::Counts {
        candidate,
        baseline: Some(baseline),
        kinds: Vec::new(),
    };
    judged(&gate(GateKind::Compare(compare)), answer, |of| {
        of.share = Share::percent(10).ok();
    })
}

#[test]
fn many_more_errors_fail_and_say_how_many() {
    let judgement = compared(errors(), counts(10_000.0, &[80.0]), counts(90_000.0, &[90.0]));
    assert_eq!(judgement.level(), Level::Fail);
    assert_eq!(judgement.policy(), Some(Policy::Rollback));
    insta::assert_snapshot!(judgement.because(), @"0.8 % bad of 10000 requests, baseline 0.1 % of 90000, 8.0 times as many: more than chance and margin allow (p < 0.000001)");
    let grounds = judgement.grounds().unwrap();
    assert!(grounds.statistic <= grounds.threshold && grounds.alpha == Some(0.01));
    let effect = grounds.effect.unwrap();
    assert!(effect.low.unwrap() > 0.0 && (effect.estimate - 0.007).abs() < 1e-9);
}

#[test]
fn the_same_rates_pass_only_with_evidence_enough() {
    let early = compared(errors(), counts(1_000.0, &[1.0]), counts(9_000.0, &[9.0]));
    assert_eq!(early.level(), Level::Pending, "{}", early.because());
    let late = compared(errors(), counts(100_000.0, &[100.0]), counts(900_000.0, &[900.0]));
    assert_eq!(late.level(), Level::Pass, "{}", late.because());
    let few = compared(errors(), counts(99.0, &[0.0]), counts(900.0, &[0.0]));
    insta::assert_snapshot!(few.because(), @"the candidate has 99 of 100 requests");
}

#[test]
fn harm_that_is_small_or_rare_never_fails() {
    // A quarter as many errors again are no harm, and here is a fifth.
    let fifth = compared(
        errors(),
        counts(1_000_000.0, &[12_000.0]),
        counts(9_000_000.0, &[90_000.0]),
    );
    assert_ne!(fifth.level(), Level::Fail, "{}", fifth.because());
    // Five times as many, surely, and still fewer than one in two thousand.
    let rare = compared(errors(), counts(1_000_000.0, &[500.0]), counts(9_000_000.0, &[900.0]));
    assert_eq!(rare.level(), Level::Pass, "{}", rare.because());
}

#[test]
fn while_the_share_is_small_more_of_it_may_fail() {
    let one_percent = |bad: f64| {
        let answer = Answer::Counts {
            candidate: counts(3_000.0, &[bad]),
            baseline: Some(counts(297_000.0, &[297.0])),
            kinds: Vec::new(),
        };
        judged(&gate(GateKind::Compare(errors())), answer, |of| {
            of.share = Share::percent(1).ok()
        })
    };
    assert_eq!(one_percent(3.0).level(), Level::Pass, "{}", one_percent(3.0).because());
    let mut strict = errors();
    strict.impact = 0.0;
    let answer = Answer::Counts {
        candidate: counts(3_000.0, &[3.0]),
        baseline: Some(counts(297_000.0, &[297.0])),
        kinds: Vec::new(),
    };
    let judgement = judged(&gate(GateKind::Compare(strict)), answer, |of| {
        of.share = Share::percent(1).ok()
    });
    assert_eq!(judgement.level(), Level::Pending, "{}", judgement.because());
}

fn of_kinds(kinds: &[(&str, Counts, Counts)]) -> Judgement {
    let answer = Answer::of_kinds(
        kinds
            .iter()
            .map(|(name, candidate, baseline)| KindCounts {
                name: (*name).to_owned(),
                candidate: candidate.clone(),
                baseline: Some(baseline.clone()),
            })
            .collect(),
    );
    let mut by_kind = errors();
    by_kind.kinds = kinds.iter().map(|(name, ..)| (*name).to_owned()).collect();
    judged(&gate(GateKind::Compare(by_kind)), answer, |of| {
        of.share = Share::percent(10).ok()
    })
}

#[test]
fn each_kind_of_request_is_judged_by_itself() {
    // CAL-13: the candidate gets more of the hard requests, and answers each kind as well as the baseline does.
    let [easy, hard] = [0.001, 0.02].map(|rate| move |total: f64| counts(total, &[total * rate]));
    let shifted = of_kinds(&[
        ("easy", easy(40_000.0), easy(800_000.0)),
        ("hard", hard(60_000.0), hard(100_000.0)),
    ]);
    assert_eq!(shifted.level(), Level::Pass, "{}", shifted.because());
    let together = compared(errors(), counts(100_000.0, &[1_240.0]), counts(900_000.0, &[2_800.0]));
    assert_eq!(together.level(), Level::Fail, "all together, it looks worse");
    // One tenant of a hundredth of the traffic is refused.
    let one = of_kinds(&[
        ("others", easy(9_900.0), easy(89_100.0)),
        ("acme", counts(100.0, &[40.0]), counts(900.0, &[1.0])),
    ]);
    assert_eq!(one.level(), Level::Fail);
    insta::assert_snapshot!(one.because(), @"acme: 40 % bad of 100 requests, baseline 0.111 % of 900, 360.0 times as many: more than chance and margin allow (p < 0.000001)");
}

#[test]
fn a_kind_that_nobody_asks_for_has_no_say_and_silence_of_all_is_no_data() {
    let none = || Counts {
        window: minutes(10),
        total: sample(None),
        parts: vec![sample(None)],
    };
    let well = |total: f64| counts(total, &[total / 1_000.0]);
    let judgement = of_kinds(&[("read", well(100_000.0), well(900_000.0)), ("write", none(), none())]);
    assert_eq!(judgement.level(), Level::Pass, "{}", judgement.because());
    let silent = of_kinds(&[("read", none(), well(900_000.0)), ("write", none(), none())]);
    assert_eq!(silent.level(), Level::NoData, "{}", silent.because());
    // A kind that only the candidate has lost is no evidence of health.
    let lost = of_kinds(&[
        ("read", well(100_000.0), well(900_000.0)),
        ("write", none(), well(300_000.0)),
    ]);
    assert!(!lost.is_pass(), "{}", lost.because());
}

#[test]
fn a_gate_that_only_stops_opens_while_nothing_can_be_said() {
    let mut gate = gate(GateKind::Compare(errors()));
    let answer = || Answer::Counts {
        candidate: counts(99.0, &[0.0]),
        baseline: Some(counts(900.0, &[0.0])),
        kinds: Vec::new(),
    };
    assert!(!judged(&gate, answer(), |_| {}).opens());
    gate.on_pending = Policy::Advance;
    let judgement = judged(&gate, answer(), |_| {});
    assert_eq!(judgement.level(), Level::Pending);
    assert!(judgement.opens() && !judgement.is_pass());
    let failing = Answer::Counts {
        candidate: counts(10_000.0, &[800.0]),
        baseline: Some(counts(90_000.0, &[90.0])),
        kinds: Vec::new(),
    };
    assert!(!judged(&gate, failing, |_| {}).opens());
}

#[test]
fn a_gate_about_the_baseline_alone_needs_no_candidate() {
    let mut metric = MetricGate {
        query: "memory".into(),
        min_samples: None,
        hold_when: Some("baseline > Ki(1)".into()),
        ask_when: None,
        rollback_when: None,
        needs_baseline: true,
        ignores_candidate: false,
        concurrent_only: false,
    };
    let ask = |metric: &MetricGate, candidate: Option<f64>, baseline: Option<f64>| {
        let answer = Answer::Metric {
            candidate: sample(candidate),
            baseline: baseline.map(|value| sample(Some(value))),
        };
        judged(&gate(GateKind::Metric(metric.clone())), answer, |_| {})
    };
    assert_eq!(ask(&metric, None, Some(10.0)).level(), Level::NoData);
    metric.ignores_candidate = true;
    assert_eq!(ask(&metric, None, Some(10.0)).level(), Level::Pass);
    assert_eq!(ask(&metric, None, Some(2_000.0)).level(), Level::Fail);
    assert_eq!(ask(&metric, None, None).level(), Level::NoData);
    assert_eq!(ask(&metric, Some(1.0), Some(f64::NAN)).level(), Level::NoData);
}

#[test]
fn a_split_that_is_not_the_share_can_prove_nothing() {
    let judgement = compared(errors(), counts(500.0, &[400.0]), counts(90_000.0, &[90.0]));
    assert_eq!(judgement.level(), Level::Inconclusive);
    insta::assert_snapshot!(judgement.because(), @"the candidate got 0.552 % of the requests, its share is 10 %: what is compared is not what was split");
}

#[test]
fn right_after_a_shift_a_split_is_still_on_its_way() {
    let answer = Answer::Counts {
        candidate: counts(500.0, &[400.0]),
        baseline: Some(counts(90_000.0, &[90.0])),
        kinds: Vec::new(),
    };
    let judgement = judged(&gate(GateKind::Compare(errors())), answer, |of| {
        of.share = Share::percent(10).ok();
        of.since = at(119 * MINUTE);
    });
    assert_eq!(judgement.level(), Level::Pending, "{}", judgement.because());
}

#[test]
fn counts_that_are_none_never_pass() {
    let good = || counts(900_000.0, &[900.0]);
    for (total, bad, level) in [
        (None, Some(0.0), Level::NoData),
        (Some(100_000.0), None, Level::NoData),
        (Some(f64::NAN), Some(0.0), Level::NoData),
        (Some(f64::INFINITY), Some(0.0), Level::Error),
        (Some(-1.0), Some(0.0), Level::Error),
        (Some(100_000.0), Some(200_000.0), Level::Error),
        (Some(0.0), Some(0.0), Level::Pending),
    ] {
        let candidate = Counts {
            window: minutes(10),
            total: sample(total),
            parts: vec![sample(bad)],
        };
        let judgement = compared(errors(), candidate, good());
        assert_eq!(judgement.level(), level, "{total:?} {bad:?}: {}", judgement.because());
    }
    let alone = Answer::Counts {
        candidate: good(),
        baseline: None,
        kinds: Vec::new(),
    };
    let judgement = judged(&gate(GateKind::Compare(errors())), alone, |_| {});
    assert_eq!(judgement.level(), Level::NoData);
}

#[test]
fn a_slow_tail_fails_at_the_boundary_that_shows_it() {
    let slow = comparing(Compared::Buckets {
        buckets: "latency".into(),
        boundaries: vec![0.1, 0.25, 1.0],
    });
    // As many requests below 100 ms; but one in fifty takes longer than a second.
    let candidate = counts(10_000.0, &[5_000.0, 9_000.0, 9_800.0]);
    let baseline = counts(90_000.0, &[45_000.0, 81_500.0, 89_900.0]);
    let judgement = compared(slow, candidate, baseline);
    assert_eq!(judgement.level(), Level::Fail);
    insta::assert_snapshot!(judgement.because(), @"2 % slower than 1 s of 10000 requests, baseline 0.111 % of 90000, 18.0 times as many: more than chance and margin allow (p < 0.000001)");
}

fn course(points: impl IntoIterator<Item = (i64, f64)>) -> Course {
    Course {
        query: "q".into(),
        step: minutes(1),
        points: points
            .into_iter()
            .map(|(minute, value)| Point(at(minute * MINUTE), value))
            .collect(),
    }
}

const MI: f64 = 1024.0 * 1024.0;

pub(super) fn leak() -> TrendGate {
    TrendGate {
        query: "memory".into(),
        limit: 1024.0 * MI,
        within: minutes(240),
        lasts: None,
        window: minutes(240),
        step: minutes(1),
        against_baseline: true,
        block: Block::Mean,
        restarts: None,
    }
}

fn trended(trend: TrendGate, candidate: Course, baseline: Option<Course>, restarts: Option<Course>) -> Judgement {
    let answer = Answer::Course {
        candidate,
        baseline,
        restarts,
    };
    judged(&gate(GateKind::Trend(trend)), answer, |_| {})
}

/// What the requirements tell: 380 MiB after a quarter of an hour, 420 after half of one, 580 after three quarters.
fn told(minute: i64) -> f64 {
    let minute = minute as f64;
    MI * match minute {
        minute if minute < 15.0 => 350.0 + 2.0 * minute,
        minute if minute < 30.0 => 380.0 + 40.0 / 15.0 * (minute - 15.0),
        minute => 420.0 + 160.0 / 15.0 * (minute - 30.0),
    }
}

#[test]
fn the_leak_of_the_requirements_is_caught_with_its_projection() {
    let flat = |to: i64| Some(course((0..=to).map(|minute| (minute, 350.0 * MI))));
    let judged_after = |minute: i64| {
        let answer = Answer::Course {
            candidate: course((0..=minute).map(|minute| (minute, told(minute)))),
            baseline: flat(minute),
            restarts: None,
        };
        let now = at(minute * MINUTE);
        judged(&gate(GateKind::Trend(leak())), answer, |of| of.now = now)
    };
    assert_eq!(judged_after(15).level(), Level::Pass, "{}", judged_after(15).because());
    let caught = judged_after(45);
    assert_eq!(caught.level(), Level::Fail, "{}", caught.because());
    insta::assert_snapshot!(caught.because(), @"569 MiB, rising by at least 141 MiB an hour against the baseline: 1 GiB is reached in 3.2 h at the latest (2.0 h as it goes now), and 4h must be left");
}

#[test]
fn what_both_arms_do_is_not_the_candidates() {
    let ramp = || course((0..=120).map(|minute| (minute, (300.0 + 3.0 * minute as f64) * MI)));
    let judgement = trended(leak(), ramp(), Some(ramp()), None);
    assert_eq!(judgement.level(), Level::Pass, "{}", judgement.because());
    // At the full share there is no other arm, and the resource does run out.
    let alone = trended(leak(), ramp(), None, None);
    assert_eq!(alone.level(), Level::Fail, "{}", alone.because());
}

#[test]
fn a_restart_begins_the_course_anew() {
    let mut trend = leak();
    trend.restarts = Some("restarts".into());
    let rising = course((0..=120).map(|minute| (minute, (300.0 + 5.0 * f64::from(minute as i32 % 100)) * MI)));
    let restarts = course((0..=120).map(|minute| (minute, f64::from(u8::from(minute >= 100)))));
    let baseline = || Some(course((0..=120).map(|minute| (minute, 300.0 * MI))));
    let judgement = trended(trend.clone(), rising.clone(), baseline(), Some(restarts));
    assert_eq!(judgement.level(), Level::Fail, "{}", judgement.because());
    let just_now = course((0..=120).map(|minute| (minute, f64::from(u8::from(minute >= 118)))));
    let judgement = trended(trend.clone(), rising.clone(), baseline(), Some(just_now));
    assert_eq!(judgement.level(), Level::Pending, "{}", judgement.because());
    let judgement = trended(trend, rising, baseline(), None);
    assert_eq!(judgement.level(), Level::NoData, "{}", judgement.because());
}

#[test]
fn a_course_without_points_or_old_ones_is_no_data() {
    let flat = || course((0..=120).map(|minute| (minute, 300.0 * MI)));
    let none = trended(leak(), course([]), Some(flat()), None);
    assert_eq!(none.level(), Level::NoData);
    let old = trended(leak(), course((0..=60).map(|minute| (minute, MI))), Some(flat()), None);
    assert_eq!(old.level(), Level::NoData, "{}", old.because());
    let broken = trended(leak(), course([(119, f64::INFINITY), (120, MI)]), Some(flat()), None);
    assert_eq!(broken.level(), Level::Error);
    let full = trended(leak(), course([(120, 1025.0 * MI)]), Some(flat()), None);
    assert_eq!(full.level(), Level::Fail);
}

pub(super) fn cpu(test: CourseTest) -> CompareGate {
    CompareGate {
        fails_beyond: None,
        margin: 0.1,
        floor: 0.0,
        min_samples: 12,
        ..comparing(Compared::Course {
            query: "memory".into(),
            test,
            step: minutes(1),
            looks: 6,
        })
    }
}

fn of_courses(compare: CompareGate, candidate: Course, baseline: Course) -> Judgement {
    let answer = Answer::Course {
        candidate,
        baseline: Some(baseline),
        restarts: None,
    };
    judged(&gate(GateKind::Compare(compare)), answer, |of| of.bake = minutes(60))
}

#[test]
fn courses_are_compared_by_means_and_by_ranks() {
    let wave = |level: f64| {
        course((0..=120).map(move |minute| {
            (
                minute,
                level * MI * (1.0 + 0.02 * ((minute * 7 % 11) as f64 - 5.0) / 5.0),
            )
        }))
    };
    for test in [
        CourseTest::Means,
        CourseTest::Ranks { effect: 0.65 },
        CourseTest::Kayenta,
    ] {
        let worse = of_courses(cpu(test), wave(130.0), wave(100.0));
        assert_eq!(worse.level(), Level::Fail, "{test:?}: {}", worse.because());
        let alike = of_courses(cpu(test), wave(101.0), wave(100.0));
        assert_eq!(alike.level(), Level::Pass, "{test:?}: {}", alike.because());
        let better = of_courses(cpu(test), wave(70.0), wave(100.0));
        assert_eq!(better.level(), Level::Pass, "{test:?}: {}", better.because());
        let mut less = cpu(test);
        less.harm = Harm::Less;
        let lost = of_courses(less, wave(70.0), wave(100.0));
        assert_eq!(lost.level(), Level::Fail, "{test:?}: {}", lost.because());
    }
}

fn slo(burn: bool, reserve: bool) -> BudgetGate {
    let requests = || Requests {
        good: "good".into(),
        total: "total".into(),
    };
    BudgetGate {
        objective: 0.999,
        reserve: reserve.then(|| Reserve {
            requests: requests(),
            over: minutes(30 * 24 * 60),
            hold_below: Some(0.2),
            ask_below: None,
            freeze_below: Some(0.0),
        }),
        burn: burn.then(requests),
    }
}

fn budgeted(budget: BudgetGate, reserve: Option<Counts>, burn: Vec<Burn>) -> Judgement {
    judged(
        &gate(GateKind::Budget(budget)),
        Answer::Budget { reserve, burn },
        |_| {},
    )
}

#[test]
fn the_bands_of_a_budget_hold_and_freeze() {
    let left = |bad: f64| budgeted(slo(false, true), Some(counts(1_000_000.0, &[bad])), Vec::new());
    assert_eq!(left(100.0).level(), Level::Pass);
    insta::assert_snapshot!(left(900.0).because(), @"10 % of the error budget is left (99.9 % over 30d): releases wait below 20 %");
    assert_eq!(left(900.0).policy(), Some(Policy::Hold));
    insta::assert_snapshot!(left(1_100.0).because(), @"-10 % of the error budget is left (99.9 % over 30d): releases are frozen below 0 %");
    assert_eq!(budgeted(slo(false, true), None, Vec::new()).level(), Level::NoData);
    assert_eq!(
        budgeted(slo(false, true), Some(counts(0.0, &[0.0])), Vec::new()).level(),
        Level::NoData
    );
}

fn burning(rate: f64, baseline: Option<f64>) -> Vec<Burn> {
    let of = |rate: f64| counts(100_000.0, &[100_000.0 * 0.001 * rate]);
    let pair = || Burn {
        long: of(rate),
        short: of(rate),
        baseline: baseline.map(of),
    };
    vec![pair(), pair()]
}

#[test]
fn a_burn_that_is_not_the_candidates_alone_does_not_roll_back() {
    let fast = budgeted(slo(true, false), None, burning(20.0, Some(1.0)));
    assert_eq!(fast.policy(), Some(Policy::Rollback));
    insta::assert_snapshot!(fast.because(), @"the candidate burns 20.0 times its budget over 10m and 20.0 times over 10m: more than 14.4 is an alarm");
    let both = budgeted(slo(true, false), None, burning(20.0, Some(18.0)));
    assert_eq!((both.level(), both.policy()), (Level::Inconclusive, Some(Policy::Hold)));
    let calm = budgeted(slo(true, false), None, burning(2.0, None));
    assert_eq!(calm.level(), Level::Pass);
    let few = Burn {
        long: counts(20.0, &[1.0]),
        short: counts(20.0, &[1.0]),
        baseline: None,
    };
    let one_of_twenty = budgeted(slo(true, false), None, vec![few]);
    assert_eq!(
        one_of_twenty.level(),
        Level::Pass,
        "one error proves no burn: {}",
        one_of_twenty.because()
    );
}

/// CAL-5: what is measured in other units, or in another order, is judged alike.
#[test]
fn units_and_order_change_no_verdict() {
    let wave = |level: f64, scale: f64| {
        course((0..=120).map(move |minute| (minute, scale * level * (1.0 + 0.02 * ((minute * 7 % 11) as f64)))))
    };
    for scale in [1e-9, 1e-3, 1.0, 1e3, 1e9] {
        for test in [CourseTest::Means, CourseTest::Ranks { effect: 0.65 }] {
            assert_eq!(
                of_courses(cpu(test), wave(130.0, scale), wave(100.0, scale)).level(),
                Level::Fail,
                "{scale}"
            );
            assert_eq!(
                of_courses(cpu(test), wave(100.0, scale), wave(100.0, scale)).level(),
                Level::Pass,
                "{scale}"
            );
        }
        let mut trend = leak();
        trend.limit *= scale;
        let candidate = course((0..=45).map(|minute| (minute, told(minute) * scale)));
        let baseline = course((0..=45).map(|minute| (minute, 350.0 * MI * scale)));
        let answer = Answer::Course {
            candidate: candidate.clone(),
            baseline: Some(baseline.clone()),
            restarts: None,
        };
        let now = at(45 * MINUTE);
        let judgement = judged(&gate(GateKind::Trend(trend.clone())), answer, |of| of.now = now);
        assert_eq!(judgement.level(), Level::Fail, "{scale}: {}", judgement.because());
        let mut backward = candidate;
        backward.points.reverse();
        let answer = Answer::Course {
            candidate: backward,
            baseline: Some(baseline),
            restarts: None,
        };
        assert_eq!(
            judged(&gate(GateKind::Trend(trend)), answer, |of| of.now = now),
            judgement
        );
    }
}

/// CAL-8: where one question of twenty could not be answered, all together are at most as good as that.
#[test]
fn one_error_among_twenty_is_no_pass_of_all() {
    let well = || compared(errors(), counts(100_000.0, &[100.0]), counts(900_000.0, &[900.0]));
    let broken = Answer::Error {
        why: "the judge broke down".into(),
    };
    let broken = judged(&gate(GateKind::Compare(errors())), broken, |_| {});
    assert_eq!((broken.level(), broken.opens()), (Level::Error, false));
    let worst = (0..19).map(|_| well().level()).chain([broken.level()]).max();
    assert_eq!(worst, Some(Level::Error));
}
