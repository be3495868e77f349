use std::collections::BTreeMap;

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

use super::{Schedule, Windows};
use crate::plan::compile::compile;
use crate::plan::path::CriticalPath;
use crate::plan::story::{Story, payments};
use crate::plan::{NodeKind, PhaseId, Plan};
use crate::window::{judged_zone, opening};
use crate::workflow::{Day, GateKind, Workflow};

fn schedule(plan: &Plan, start: &str) -> Schedule {
    Schedule::new(plan, start.parse().unwrap(), Windows::Respected)
}

fn acts(plan: &Plan, schedule: &Schedule, key: &str) -> String {
    schedule.moments[plan.find(key).unwrap().0 as usize]
        .unwrap()
        .acts
        .to_string()
}

fn delays(plan: &Plan, schedule: &Schedule) -> Vec<String> {
    let delays = schedule.delays.iter().map(|delay| {
        let until = delay.until.map_or("never".to_owned(), |until| until.to_string());
        format!(
            "{} {} {}..{until}: {}",
            plan.node(delay.node).key,
            plan.gate(delay.gate).0,
            delay.from,
            delay.why
        )
    });
    delays.collect()
}

#[test]
fn the_story_waits_for_office_hours_in_each_regions_own_zone() {
    let plan = compile(payments());
    let schedule = schedule(&plan, "2026-03-02T10:00:00Z");
    assert_eq!(
        delays(&plan, &schedule),
        [
            "open:medium/eu-west-1 office-hours 2026-03-02T17:10:00Z..2026-03-03T09:00:00Z: \
             outside mon–thu 09:00–16:00, it is Mon 17:10 in Europe/Dublin",
            "open:medium/ap-southeast-1 office-hours 2026-03-02T17:10:00Z..2026-03-03T01:00:00Z: \
             outside mon–thu 09:00–16:00, it is Tue 01:10 in Asia/Singapore",
        ]
    );
    assert_eq!(
        acts(&plan, &schedule, "stage:medium/ap-southeast-1/1%"),
        "2026-03-03T01:00:00Z"
    );
    assert_eq!(
        acts(&plan, &schedule, "stage:medium/eu-west-1/100%"),
        "2026-03-03T10:10:00Z"
    );
    assert_eq!(acts(&plan, &schedule, "phase:primary"), "2026-03-03T14:10:00Z");
    assert_eq!(schedule.finish.unwrap().to_string(), "2026-03-04T15:20:00Z");
}

#[test]
fn a_window_that_closes_between_two_stages_holds_the_next_one_overnight() {
    let workflow = Story::new()
        .region("eu", None, Some("Europe/Dublin"))
        .phase("all", &["eu"], &["10% 8h", "100%"])
        .window("hours", "all")
        .build();
    let plan = compile(workflow);
    let schedule = schedule(&plan, "2026-03-02T09:00:00Z");
    assert_eq!(acts(&plan, &schedule, "stage:all/eu/10%"), "2026-03-02T09:00:00Z");
    assert_eq!(acts(&plan, &schedule, "stage:all/eu/100%"), "2026-03-03T09:00:00Z");
}

#[test]
fn no_more_regions_at_once_than_the_phase_allows_in_the_order_of_the_file() {
    for (at_once, finish) in [(1, "04:00"), (2, "02:00"), (3, "02:00"), (4, "01:00")] {
        let workflow = Story::new()
            .phase("all", &["a", "b", "c", "d"], &["100% 45m"])
            .edit(|phase| {
                phase.max_parallel = at_once;
                phase.bake = "15m".parse().unwrap();
            })
            .build();
        let plan = compile(workflow);
        let schedule = schedule(&plan, "2026-03-02T00:00:00Z");
        assert_eq!(schedule.finish.unwrap().to_string(), format!("2026-03-02T{finish}:00Z"));
        assert!(acts(&plan, &schedule, "open:all/a") <= acts(&plan, &schedule, "open:all/b"));
    }
}

#[test]
fn a_region_that_waits_for_its_window_leaves_its_place_to_the_next() {
    let workflow = Story::new()
        .region("eu", None, Some("Europe/Dublin"))
        .region("sg", None, Some("Asia/Singapore"))
        .region("us", None, Some("America/New_York"))
        .phase("all", &["eu", "us", "sg"], &["100% 9h"])
        .window("hours", "all")
        .build();
    let plan = compile(workflow);
    // Monday evening in Dublin: Singapore opens first, and Dublin misses an hour of its own window for it.
    let schedule = schedule(&plan, "2026-03-02T22:00:00Z");
    assert_eq!(acts(&plan, &schedule, "stage:all/sg/100%"), "2026-03-03T01:00:00Z");
    assert_eq!(acts(&plan, &schedule, "stage:all/eu/100%"), "2026-03-03T10:00:00Z");
    assert_eq!(acts(&plan, &schedule, "stage:all/us/100%"), "2026-03-03T19:00:00Z");
    assert_eq!(schedule.finish.unwrap().to_string(), "2026-03-04T04:00:00Z");
}

#[test]
fn a_window_that_never_opens_is_named_and_gives_no_finish() {
    let workflow = Story::new()
        .phase("one", &["a"], &["100%"])
        .region("b", None, Some("Europe/Dublin"))
        .phase("two", &["b"], &["100%"])
        .window("mondays", "two")
        .window("tuesdays", "two");
    let mut workflow = workflow.build();
    for (name, day) in [("mondays", Day::Mon), ("tuesdays", Day::Tue)] {
        if let GateKind::Window(window) = &mut workflow.gates.get_mut(name).unwrap().kind {
            window.days = vec![day];
        }
    }
    let plan = compile(workflow.clone());
    let never = schedule(&plan, "2026-03-02T12:00:00Z");
    assert_eq!(never.finish, None);
    assert_eq!(
        delays(&plan, &never),
        [
            "open:two/b tuesdays 2026-03-02T12:00:00Z..never: outside tue 09:00–16:00, it is Mon 12:00 in Europe/Dublin, \
             and its windows are never open together"
        ]
    );
    assert_eq!(never.moments[plan.find("stage:two/b/100%").unwrap().0 as usize], None);
    assert!(never.moments[plan.find("close:one/a").unwrap().0 as usize].is_some());

    workflow.regions["b"].timezone = None;
    let plan = compile(workflow);
    let [delay] = &*delays(&plan, &schedule(&plan, "2026-03-02T12:00:00Z")) else {
        panic!("one delay")
    };
    assert!(delay.ends_with("..never: the window is judged in the region's zone, but the region has no `timezone`"));
}

#[test]
fn a_region_in_two_phases_at_once_waits_for_its_first_close() {
    let workflow = Story::new()
        .phase("first", &["eu"], &["10% 1h"])
        .at_once("second", &["eu"], &["100% 1h"])
        .build();
    let plan = compile(workflow);
    let schedule = schedule(&plan, "2026-03-02T00:00:00Z");
    assert_eq!(acts(&plan, &schedule, "phase:second"), "2026-03-02T00:00:00Z");
    assert_eq!(acts(&plan, &schedule, "stage:second/eu/100%"), "2026-03-02T01:00:00Z");
}

/// Up to four phases over five regions in five zones; some guarded by office hours, some needing earlier ones.
fn some_workflow() -> impl Strategy<Value = Workflow> {
    let regions = [
        ("a", "Europe/Dublin"),
        ("b", "America/New_York"),
        ("c", "Asia/Singapore"),
        ("d", "Australia/Lord_Howe"),
        ("e", "Etc/UTC"),
    ];
    let stages = prop::sample::select(vec![
        vec!["100% 1h"],
        vec!["10% 20m", "100%"],
        vec!["1% 7h", "50% 3h", "100% 1m"],
    ]);
    let phase = (1_u8..32, stages, 1_u32..4, any::<u8>(), any::<bool>(), 0_u64..9);
    prop::collection::vec(phase, 1..5).prop_map(move |phases| {
        let mut story = regions
            .iter()
            .fold(Story::new(), |story, (name, zone)| story.region(name, None, Some(zone)));
        for (at, (members, stages, at_once, needs, guarded, bake)) in phases.into_iter().enumerate() {
            let members: Vec<&str> = regions
                .iter()
                .enumerate()
                .filter(|(bit, _)| members >> bit & 1 == 1)
                .map(|(_, (name, _))| *name)
                .collect();
            let name = format!("p{at}");
            story = story.phase(&name, &members, &stages).edit(|phase| {
                phase.max_parallel = at_once;
                phase.bake = crate::duration::Duration::from_secs(bake * 3_600);
                phase.needs = (0..at)
                    .filter(|bit| needs >> bit & 1 == 1)
                    .map(|bit| format!("p{bit}"))
                    .collect();
            });
            if guarded {
                story = story.window("hours", &name);
            }
        }
        story.build()
    })
}

/// Regions under way in a phase, by the schedule's own account.
fn most_at_once(plan: &Plan, schedule: &Schedule, phase: PhaseId) -> usize {
    let mut changes: BTreeMap<jiff::Timestamp, i64> = BTreeMap::new();
    for (id, node) in plan.nodes().filter(|(_, node)| node.phase == phase) {
        let moments = schedule.moments[id.0 as usize].unwrap();
        match node.kind {
            NodeKind::Open { .. } => *changes.entry(moments.acts).or_default() += 1,
            NodeKind::Close { .. } => *changes.entry(moments.passes.unwrap()).or_default() -= 1,
            NodeKind::Phase | NodeKind::Stage { .. } => {}
        }
    }
    let mut now = 0;
    let counts = changes.into_values().map(|change| {
        now += change;
        usize::try_from(now).unwrap()
    });
    counts.max().unwrap_or(0)
}

proptest! {
    #[test]
    fn a_schedule_breaks_neither_the_plans_order_nor_its_places_nor_its_windows(workflow in some_workflow(), start in 0_i64..200_000) {
        let plan = compile(workflow);
        let start = jiff::Timestamp::from_second(1_774_000_000 + start * 60).unwrap();
        let schedule = Schedule::new(&plan, start, Windows::Respected);
        prop_assert!(schedule.finish.is_some());
        prop_assert_eq!(schedule.order.len(), plan.len());
        for (id, node) in plan.nodes() {
            let moments = schedule.moments[id.0 as usize].unwrap();
            for parent in plan.parents(id) {
                prop_assert!(parent < id);
                prop_assert!(schedule.moments[parent.0 as usize].unwrap().passes.unwrap() <= moments.ready);
            }
            prop_assert!(moments.ready <= moments.acts);
            prop_assert_eq!(moments.passes, Some(node.bake.after(moments.acts)));
            for gate in &node.before {
                let GateKind::Window(window) = &plan.gate(*gate).1.kind else { continue };
                let zone = node.region.and_then(|region| plan.region(region).1.timezone.as_deref());
                let zone = judged_zone(window, zone).unwrap();
                prop_assert!(opening(window, &plan.workflow().calendars, &zone, moments.acts).is_open());
            }
        }
        for (at, phase) in plan.workflow().phases.iter().enumerate() {
            let phase_id = PhaseId(u32::try_from(at).unwrap());
            prop_assert!(most_at_once(&plan, &schedule, phase_id) <= phase.max_parallel as usize);
        }
        let bakes = Schedule::new(&plan, start, Windows::Ignored);
        let path = CriticalPath::new(&plan);
        prop_assert_eq!(bakes.finish.unwrap().as_millisecond() - start.as_millisecond(), i64::try_from(path.bake.0).unwrap());
    }
}
