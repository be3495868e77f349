//! Stories of flags that the suite does not tell: audiences, instant off, filters of others, races, drift.

use std::collections::BTreeMap;

use meridian_conformance::rig::Rig as _;
use meridian_doubles::azure::app_configuration::Flag;
use meridian_engine::ports::failure::Lasting;
use meridian_engine::ports::provider::{Fence, Order, Provider as _, Rung, Target};
use meridian_engine::run::effect::{Desired, DesiredState, Progress};
use meridian_engine::run::version::Version;
use meridian_workflows::decode::{Given, Surroundings};
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::Vocabulary;
use meridian_workflows::workflow::Exposure;
use serde_json::{Value, json};

use crate::app_configuration::{Bench, FLAG};

struct Story {
    bench: Bench,
    target: Target,
    candidate: Version,
    baseline: Version,
    seq: u64,
}

fn traffic(percent: u16) -> DesiredState {
    DesiredState::Serving(Exposure::Traffic(Share::percent(percent).unwrap()))
}

fn audience(key: &str, names: &str) -> Exposure {
    Exposure::Audience(BTreeMap::from([(key.to_owned(), names.to_owned())]))
}

impl Story {
    async fn at(bench: Bench, target: Target) -> Story {
        let observed = bench.cloud().observe(&target).await.unwrap().observation;
        Story {
            candidate: observed.candidate,
            baseline: observed.serving.unwrap(),
            bench,
            target,
            seq: 0,
        }
    }

    async fn of(filter: &'static str) -> Story {
        let bench = Bench::new(filter).await;
        let target = bench.target();
        Story::at(bench, target).await
    }

    fn order(&mut self, state: DesiredState) -> Order {
        self.seq += 1;
        let desired = Desired {
            candidate: self.candidate.clone(),
            baseline: self.baseline.clone(),
            state,
        };
        let fence = Fence {
            claim: 1,
            epoch: 1,
            seq: self.seq,
        };
        Order::rehearsed(desired, fence)
    }

    async fn ask(&self, order: &Order) -> Progress {
        self.bench.cloud().ensure(&self.target, order).await.unwrap()
    }

    async fn settle(&mut self, state: DesiredState) -> Order {
        let order = self.order(state);
        for _ in 0..5 {
            match self.ask(&order).await {
                Progress::Settled => return order,
                Progress::Moving { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        panic!("not settled after five asks");
    }

    /// Somebody else sets another share after each time that the order has been carried out, twenty times or until it is stuck:
    /// how often it was put back, and what was said in the end.
    async fn fight(&mut self, order: &Order, share: u8) -> (u32, Option<String>) {
        for told in 0..20 {
            self.bench
                .change(|flag| flag["conditions"]["client_filters"][0]["parameters"]["Value"] = json!(share));
            let seen = self.bench.cloud().observe(&self.target).await.unwrap().observation;
            assert!(!seen.is_settled && seen.diagnosis.unwrap().contains("somebody else changed"));
            match self.ask(order).await {
                Progress::Moving { why } => {
                    assert!(why.unwrap().contains("somebody else"));
                    assert_eq!(self.ask(order).await, Progress::Settled);
                }
                Progress::Stuck { why } => return (told, Some(why)),
                other => panic!("{other:?}"),
            }
        }
        (20, None)
    }

    fn flag(&self) -> Flag {
        self.bench.store.flag(FLAG, None).unwrap().flag
    }

    fn json(&self) -> Value {
        self.flag().json()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audience_is_let_in_first_and_stays_in_as_shares_rise() {
    let bench = Bench::new("targeting").await;
    let mut settings = bench.settings();
    settings["cohorts"] = json!({"beta": {"users": ["ann"], "groups": ["inner", "outer:50%"]}});
    let mut target = bench.target_of(settings, FLAG);
    let ladder = [
        audience("cohort", "beta"),
        audience("users", "bob"),
        Exposure::Traffic(Share::percent(10).unwrap()),
    ];
    let rungs = ladder.iter().cloned().map(|exposure| Rung {
        exposure,
        bake: Duration::ZERO,
    });
    target.ladder.rungs = rungs.collect();
    let mut story = Story::at(bench, target).await;

    story.settle(traffic(0)).await;
    assert!(
        !story.flag().is_on("ann", &["inner"], 0.0),
        "staged is off for everybody"
    );
    story.settle(DesiredState::Serving(ladder[0].clone())).await;
    let flag = story.flag();
    assert!(flag.is_on("ann", &[], 0.0) && flag.is_on("eve", &["inner"], 0.0) && !flag.is_on("bob", &[], 0.0));
    story.settle(DesiredState::Serving(ladder[1].clone())).await;
    let flag = story.flag();
    assert!(flag.is_on("ann", &[], 0.0) && flag.is_on("bob", &[], 0.0));
    story.settle(traffic(10)).await;
    let flag = story.flag();
    assert!(flag.is_on("ann", &[], 0.0) && flag.is_on("bob", &[], 0.0));
    assert_eq!(
        story.json()["conditions"]["client_filters"][0]["parameters"]["Audience"]["DefaultRolloutPercentage"],
        10
    );
    story.settle(DesiredState::Reverted).await;
    let flag = story.flag();
    assert!(
        ["ann", "bob", "eve"]
            .iter()
            .all(|user| !flag.is_on(user, &["inner", "outer"], 0.0)),
        "off is off for all"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ladder_whose_audience_nobody_defined_is_refused_before_anything_opens() {
    for (filter, rung, told) in [
        ("targeting", audience("cohort", "bta"), "`bta`"),
        ("targeting", audience("header", "x-canary: always"), "`header`"),
        ("percentage", audience("users", "ann"), "filter: targeting"),
        (
            "percentage",
            Exposure::Traffic(Share::from_basis_points(50).unwrap()),
            "0.5%",
        ),
    ] {
        let bench = Bench::new(filter).await;
        let mut target = bench.target();
        target.ladder.rungs.insert(
            0,
            Rung {
                exposure: rung,
                bake: Duration::ZERO,
            },
        );
        let refused = bench.cloud().observe(&target).await.unwrap_err();
        assert!(
            refused.lasting == Lasting::Yes && refused.what.contains(told),
            "{refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_are_let_in_as_groups() {
    let bench = Bench::new("targeting").await;
    let mut target = bench.target();
    let acme = audience("tenants", "acme,initech");
    target.ladder.rungs = vec![Rung {
        exposure: acme.clone(),
        bake: Duration::ZERO,
    }];
    let mut story = Story::at(bench, target).await;
    story.settle(DesiredState::Serving(acme)).await;
    let flag = story.flag();
    assert!(flag.is_on("ann", &["initech"], 0.0) && !flag.is_on("ann", &["other"], 0.0));
}

/// The workflow that `docs/clouds/app-configuration.md` begins with, with what a whole file has around it.
#[test]
fn the_example_of_the_page_is_a_workflow_that_can_run() {
    let page = include_str!("../../../docs/clouds/app-configuration.md");
    let (_, rest) = page.split_once("```yaml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let spec: String = example.lines().map(|line| format!("  {line}\n")).collect();
    let text = format!(
        "apiVersion: meridian/v1\nkind: Workflow\nmetadata: {{name: checkout}}\nspec:\n{spec}  \
         phases: [{{name: all, regions: [everywhere], strategy: by-tenant}}]\n"
    );
    let vocabulary = Vocabulary {
        providers: vec![meridian_azure::app_configuration::kind()],
        ..Vocabulary::default()
    };
    let read = |text: &str| {
        let inputs = BTreeMap::new();
        let surroundings = Surroundings {
            vocabulary: &vocabulary,
            load: &|_| Err("there is no other file".to_owned()),
            inputs: Given::All(&inputs),
        };
        meridian_workflows::decode::read("checkout.yaml", text.as_bytes(), &surroundings)
    };
    let reading = read(&text);
    let workflow = reading.workflow.unwrap_or_else(|| panic!("{:?}", reading.diagnostics));
    let first = &workflow.phases[0].stages[0].exposure;
    assert_eq!(*first, audience("cohort", "beta"));
    let misspelt = read(&text.replace("cohort: beta", "cohort: bata"));
    let told: Vec<_> = misspelt.diagnostics.iter().map(|one| format!("{one:?}")).collect();
    assert!(
        told.iter()
            .any(|one| one.contains("knows no cohort `bata`") && one.contains("write `beta`")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn off_is_one_request_and_promotion_drops_the_filter() {
    let mut story = Story::of("percentage").await;
    story.settle(traffic(50)).await;
    story.settle(DesiredState::Promoted).await;
    let json = story.json();
    assert_eq!(
        (&json["enabled"], &json["conditions"]["client_filters"]),
        (&json!(true), &json!([]))
    );
    let before = story.bench.served.wire.writes();
    let off = story.order(DesiredState::Reverted);
    story.ask(&off).await;
    assert_eq!(story.bench.served.wire.writes() - before, 1);
    assert!(!story.flag().is_on("anybody", &[], 0.0), "off after one request");
    story.settle(DesiredState::Withdrawn).await;
    assert_eq!(story.json()["enabled"], json!(false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_of_others_stay_or_stand_in_the_way() {
    let bench = Bench::new("targeting").await;
    let window = json!({"name": "Microsoft.TimeWindow", "parameters": {"End": "Wed, 01 Jan 2031 00:00:00 GMT"}});
    bench.change(|flag| flag["conditions"]["client_filters"] = json!([window]));
    let refused = bench.cloud().observe(&bench.target()).await.unwrap_err();
    assert!(
        refused.lasting == Lasting::Yes && refused.what.contains("Microsoft.TimeWindow"),
        "{refused}"
    );
    bench.change(|flag| flag["conditions"]["requirement_type"] = json!("All"));
    let target = bench.target();
    let mut story = Story::at(bench, target).await;
    for state in [
        traffic(10),
        traffic(100),
        DesiredState::Promoted,
        DesiredState::Reverted,
    ] {
        story.settle(state).await;
        assert_eq!(story.json()["conditions"]["client_filters"][0], window);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_rollout_is_not_taken_over() {
    let bench = Bench::new("percentage").await;
    bench.store.put_flag(&Flag::off(FLAG).at(20.0), None);
    let refused = bench.cloud().observe(&bench.target()).await.unwrap_err();
    assert!(
        refused.what.contains("somebody else") && refused.what.contains("20%"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_told_put_back_and_given_up_when_it_goes_on() {
    let mut story = Story::of("percentage").await;
    let order = story.settle(traffic(25)).await;
    let (told, stuck) = story.fight(&order, 5).await;
    let stuck = stuck.unwrap();
    assert!(told == 5 && stuck.contains("keeps changing"), "{told}: {stuck}");
    // The way back is never given up.
    story.settle(DesiredState::Reverted).await;
    assert!(!story.flag().is_on("anybody", &[], 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_that_others_raise_is_lowered_however_often() {
    let mut story = Story::of("percentage").await;
    let order = story.settle(traffic(25)).await;
    let (told, stuck) = story.fight(&order, 90).await;
    assert_eq!((told, stuck), (20, None));
}

/// Filters of others of which any turns the flag on.
fn others(filters: &mut Value) {
    let conditions = &mut filters["conditions"];
    conditions["requirement_type"] = json!("Any");
    let filters = conditions["client_filters"].as_array_mut().unwrap();
    filters.push(json!({"name": "Microsoft.Targeting", "parameters": {"Audience": {"DefaultRolloutPercentage": 100}}}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_back_turns_off_what_a_filter_of_others_holds_on() {
    for first in [DesiredState::Reverted, traffic(0)] {
        let mut story = Story::of("percentage").await;
        story.settle(traffic(50)).await;
        story.bench.change(others);
        assert!(story.flag().is_on("anybody", &[], 99.0), "on, whatever our share says");
        story.settle(first).await;
        assert!(!story.flag().is_on("anybody", &[], 0.0), "settled is off");
        let seen = story.bench.cloud().observe(&story.target).await.unwrap().observation;
        assert!(seen.candidate_share.is_zero(), "it is read back");
        assert!(seen.diagnosis.unwrap().contains("Microsoft.Targeting"));
        story.settle(DesiredState::Withdrawn).await;
        assert!(!story.flag().is_on("anybody", &[], 0.0));
        // The next release is refused before it opens.
        let refused = story.bench.cloud().observe(&story.target).await.unwrap_err();
        assert!(refused.what.contains("Microsoft.Targeting"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lower_share_is_written_under_filters_of_others_and_not_taken_for_settled() {
    let mut story = Story::of("percentage").await;
    story.settle(traffic(10)).await;
    story.settle(traffic(50)).await;
    story.bench.change(others);
    let order = story.order(traffic(10));
    let why = loop {
        match story.ask(&order).await {
            Progress::Moving { .. } => {}
            Progress::Stuck { why } => break why,
            other => panic!("{other:?}"),
        }
    };
    assert!(why.contains("Microsoft.Targeting"), "{why}");
    assert_eq!(
        story.json()["conditions"]["client_filters"][0]["parameters"]["Value"],
        10
    );
    // A higher one is not written at all.
    let order = story.order(traffic(50));
    assert!(matches!(story.ask(&order).await, Progress::Stuck { .. }));
    assert_eq!(
        story.json()["conditions"]["client_filters"][0]["parameters"]["Value"],
        10
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_flag_and_a_foreign_key_are_refused_by_name() {
    let bench = Bench::new("percentage").await;
    let other = bench.target_of(bench.settings(), "new-cart");
    let seen = bench.cloud().observe(&other).await.unwrap().observation;
    assert_eq!(
        (seen.serving.unwrap().name.as_str(), seen.candidate.name.as_str()),
        ("off", "on")
    );
    assert_eq!(seen.candidate.labels["flag"], "new-cart");
    assert!(bench.store.flag("new-cart", None).is_none(), "a look makes no flag");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_lasting_and_never_shown() {
    let bench = Bench::new("percentage").await;
    let url = &bench.served.url;
    let wrong = format!("Endpoint={url};Id=nobody;Secret=aGlkZGVuLXNlY3JldA==");
    let secrets = crate::Given(BTreeMap::from([("flags", wrong)]));
    let cloud = meridian_azure::app_configuration::AppConfiguration::new(std::sync::Arc::new(secrets));
    let refused = cloud.observe(&bench.target()).await.unwrap_err();
    assert!(
        refused.lasting == Lasting::Yes && refused.what.contains("401"),
        "{refused}"
    );
    assert!(!refused.what.contains("aGlkZGVu"), "{refused}");
}
