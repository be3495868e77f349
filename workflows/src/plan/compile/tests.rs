use super::{CLOSE_DEADLINE, compile, phase_order};
use crate::duration::Duration;
use crate::plan::story::{Story, payments};
use crate::plan::{NodeKind, Plan};
use crate::workflow::Exposure;

fn parents(plan: &Plan, key: &str) -> Vec<String> {
    let id = plan.find(key).unwrap();
    plan.parents(id).map(|parent| plan.node(parent).key.clone()).collect()
}

fn before(plan: &Plan, key: &str) -> Vec<String> {
    let node = plan.node(plan.find(key).unwrap());
    node.before.iter().map(|gate| plan.gate(*gate).0.to_owned()).collect()
}

#[test]
fn the_story_compiles_to_the_chains_it_describes() {
    let plan = compile(payments());
    let listing: Vec<String> = plan
        .nodes()
        .map(|(id, node)| {
            let parents: Vec<String> = plan.parents(id).map(|parent| parent.0.to_string()).collect();
            format!("{} {} <- {}", id.0, node.key, parents.join(" "))
                .trim_end()
                .to_owned()
        })
        .collect();
    let expected = "\
0 phase:internal <-
1 open:internal/us-east-1-canary <- 0
2 stage:internal/us-east-1-canary/100% <- 1
3 close:internal/us-east-1-canary <- 2
4 phase:smallest <- 3
5 open:smallest/us-west-2 <- 4
6 stage:smallest/us-west-2/1% <- 5
7 stage:smallest/us-west-2/25% <- 6
8 stage:smallest/us-west-2/50% <- 7
9 stage:smallest/us-west-2/100% <- 8
10 close:smallest/us-west-2 <- 9
11 phase:medium <- 10
12 open:medium/eu-west-1 <- 11
13 stage:medium/eu-west-1/1% <- 12
14 stage:medium/eu-west-1/25% <- 13
15 stage:medium/eu-west-1/50% <- 14
16 stage:medium/eu-west-1/100% <- 15
17 close:medium/eu-west-1 <- 16
18 open:medium/ap-southeast-1 <- 11
19 stage:medium/ap-southeast-1/1% <- 18
20 stage:medium/ap-southeast-1/25% <- 19
21 stage:medium/ap-southeast-1/50% <- 20
22 stage:medium/ap-southeast-1/100% <- 21
23 close:medium/ap-southeast-1 <- 22
24 phase:primary <- 17 23
25 open:primary/us-east-1 <- 24
26 stage:primary/us-east-1/1% <- 25
27 stage:primary/us-east-1/25% <- 26
28 stage:primary/us-east-1/50% <- 27
29 stage:primary/us-east-1/100% <- 28
30 close:primary/us-east-1 <- 29";
    assert_eq!(listing.join("\n"), expected);
}

#[test]
fn a_phases_windows_guard_every_rise_and_its_other_gates_the_barrier() {
    let mut workflow = payments();
    workflow.phases[2].before = vec!["cab-approval".into(), "office-hours".into()];
    let plan = compile(workflow);
    assert_eq!(before(&plan, "phase:medium"), ["cab-approval"]);
    assert_eq!(before(&plan, "open:medium/eu-west-1"), ["office-hours"]);
    assert_eq!(before(&plan, "stage:medium/eu-west-1/1%"), ["office-hours"]);
    assert_eq!(
        before(&plan, "stage:medium/ap-southeast-1/100%"),
        ["office-hours", "sre-approval"]
    );
    assert_eq!(before(&plan, "close:medium/eu-west-1"), [""; 0]);
}

#[test]
fn a_close_bakes_as_its_phase_says_and_watches_what_the_last_stage_watched() {
    let plan = compile(payments());
    let close = plan.node(plan.find("close:primary/us-east-1").unwrap());
    let last = plan.node(plan.find("stage:primary/us-east-1/100%").unwrap());
    assert_eq!(close.bake, "24h".parse::<Duration>().unwrap());
    assert_eq!(close.watch, last.watch);
    assert_eq!(close.deadline, CLOSE_DEADLINE);
    assert!(!close.watch.is_empty());
}

#[test]
fn a_region_in_several_phases_opens_once_closes_once_and_keeps_its_order_without_needs() {
    let workflow = Story::new()
        .phase("first", &["eu"], &["10%"])
        .phase("other", &["us"], &["100%"])
        .at_once("second", &["eu"], &["10%", "100%"])
        .window("hours", "second")
        .build();
    let plan = compile(workflow);
    let kind = |key: &str| plan.node(plan.find(key).unwrap()).kind.clone();
    assert_eq!(kind("open:first/eu"), NodeKind::Open { first: true });
    assert_eq!(kind("close:first/eu"), NodeKind::Close { last: false });
    assert_eq!(kind("open:second/eu"), NodeKind::Open { first: false });
    assert_eq!(kind("close:second/eu"), NodeKind::Close { last: true });
    assert_eq!(kind("close:other/us"), NodeKind::Close { last: true });
    assert_eq!(parents(&plan, "phase:second"), [""; 0]);
    assert_eq!(parents(&plan, "open:second/eu"), ["close:first/eu", "phase:second"]);
    // The share stays where the first phase left it, so this stage raises nothing.
    assert_eq!(before(&plan, "stage:second/eu/10%"), [""; 0]);
    assert_eq!(before(&plan, "stage:second/eu/100%"), ["hours"]);
}

#[test]
fn phases_keep_the_files_order_where_needs_leave_a_choice() {
    let mut story = Story::new()
        .phase("late", &["a"], &["100%"])
        .phase("early", &["b"], &["100%"])
        .phase("free", &["c"], &["100%"])
        .build();
    story.phases[0].needs = vec!["early".into()];
    story.phases[1].needs = vec![];
    story.phases[2].needs = vec![];
    let order: Vec<u32> = phase_order(&story.phases)
        .unwrap()
        .into_iter()
        .map(|phase| phase.0)
        .collect();
    assert_eq!(order, [1, 0, 2]);
    let plan = compile(story.clone());
    assert_eq!(parents(&plan, "phase:late"), ["close:early/b"]);
    story.phases[1].needs = vec!["late".into()];
    assert_eq!(phase_order(&story.phases), None);
}

#[test]
fn a_phase_without_regions_still_stands_between_its_neighbours() {
    let workflow = Story::new()
        .phase("one", &["a"], &["100%"])
        .phase("empty", &[], &[])
        .phase("two", &["b"], &["100%"])
        .build();
    let plan = compile(workflow);
    assert_eq!(parents(&plan, "phase:empty"), ["close:one/a"]);
    assert_eq!(parents(&plan, "phase:two"), ["phase:empty"]);
}

#[test]
fn every_stage_has_a_key_of_its_own() {
    let mut workflow = Story::new().phase("all", &["eu"], &["1%", "2%", "3%", "100%"]).build();
    let beta = Exposure::Audience(
        [(
            "header".to_owned(),
            "X-Beta: yes, please / and much, much more".to_owned(),
        )]
        .into(),
    );
    workflow.phases[0].stages[0].exposure = Exposure::Shadow("100%".parse().unwrap());
    workflow.phases[0].stages[1].exposure = beta.clone();
    workflow.phases[0].stages[2].exposure = beta;
    let plan = compile(workflow);
    let keys: Vec<&str> = plan.nodes().map(|(_, node)| node.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "phase:all",
            "open:all/eu",
            "stage:all/eu/shadow-100%",
            "stage:all/eu/audience-header-x-beta-yes-please-and-muc",
            "stage:all/eu/audience-header-x-beta-yes-please-and-muc-2",
            "stage:all/eu/100%",
            "close:all/eu",
        ]
    );
}

#[test]
fn equal_workflows_compile_to_equal_fingerprints_and_stored_plans_come_back() {
    let plan = compile(payments());
    assert_eq!(plan.fingerprint(), compile(payments()).fingerprint());
    let mut other = payments();
    other.phases[0].bake = Duration::from_secs(1);
    assert_ne!(plan.fingerprint(), compile(other).fingerprint());
    let stored = serde_json::to_string(&plan).unwrap();
    let read: Plan = serde_json::from_str(&stored).unwrap();
    assert_eq!(read.fingerprint(), plan.fingerprint());
    assert_eq!(serde_json::to_string(&read).unwrap(), stored);
}
