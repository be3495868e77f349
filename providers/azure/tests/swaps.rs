//! Stories of App Service slots that the suite does not tell: previews, swaps that hang, pinned clients, what is found before.

use std::time::Duration;

use jiff::Timestamp;
use meridian_conformance::rig::{Fault, Rig as _, Strike};
use meridian_doubles::azure::app_service::{Behaviour, NewSite};
use meridian_doubles::wire::Exchange;
use meridian_engine::ports::failure::Lasting;
use meridian_engine::ports::provider::Provider as _;
use meridian_engine::run::effect::{DesiredState, Progress};
use meridian_workflows::workflow::Release;
use serde_json::json;

use crate::app_service::{BASELINE, Bench, CANDIDATE};
use crate::story::{Story, ruled, traffic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_that_fails_is_cancelled_on_both_sides() {
    let mut story = Story::of(Bench::new(true).await).await;
    story.settle(traffic(10)).await;
    story
        .until(
            traffic(100),
            |progress| matches!(progress, Progress::Moving { why: Some(why) } if why.contains("production's settings")),
        )
        .await;
    assert_eq!(
        story.bench.tenant.standing("shop").unwrap().share_of(CANDIDATE),
        0.0,
        "the rule is at 0 before"
    );
    story.bench.tenant.behave(CANDIDATE, Behaviour::CrashLoop(7));
    let order = story.order(traffic(100));
    let why = loop {
        story.bench.advance(Duration::from_secs(2));
        match story.ask(&order).await {
            Progress::Stuck { why } => break why,
            Progress::Moving { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(
        why.contains("cancelled after its preview") && why.contains("exit code 7"),
        "{why}"
    );
    assert_eq!((story.count("/slotsswap"), story.count("/resetSlotConfig")), (0, 2));
    assert_eq!(story.image("production"), BASELINE);
    assert!(story.diagnosis().await.contains("exit code 7"));
    story.settle(DesiredState::Reverted).await;
    story.settle(DesiredState::Withdrawn).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_that_never_came_about_is_not_taken_for_one_that_passed() {
    for fault in [
        Fault::TooManyRequests { retry_after: 1 },
        Fault::Status(409),
        Fault::Status(503),
    ] {
        let mut story = Story::of(Bench::new(true).await).await;
        story.settle(traffic(10)).await;
        let wire = &story.bench.served.wire;
        wire.fault(fault, Strike::next(1), |asked| {
            asked.path().ends_with("/applySlotConfig")
        });
        let order = story.order(traffic(100));
        loop {
            match story.bench.cloud().ensure(&story.target, &order).await {
                Ok(Progress::Settled) => break,
                Ok(Progress::Moving { .. }) => {}
                Ok(other) => panic!("{other:?}"),
                Err(failure) => assert_ne!(failure.lasting, Lasting::Yes, "{failure}"),
            }
            story.bench.advance(Duration::from_secs(2));
        }
        let journal = story.bench.served.wire.journal();
        let done = |end: &str| {
            let like = |exchange: &Exchange| exchange.is_applied && exchange.asked.path().ends_with(end);
            journal.iter().position(like)
        };
        let (applied, swapped) = (done("/applySlotConfig"), done("/slotsswap"));
        assert!(
            applied.is_some() && applied < swapped,
            "{fault:?}: {applied:?}, {swapped:?}"
        );
        assert_eq!(story.image("production"), CANDIDATE);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_back_during_a_preview_takes_the_preview_back() {
    let mut story = Story::of(Bench::new(true).await).await;
    story.settle(traffic(0)).await;
    let is_previewed =
        |progress: &Progress| matches!(progress, Progress::Moving { why: Some(why) } if why.contains("applied"));
    story.until(traffic(100), is_previewed).await;
    story.settle(DesiredState::Reverted).await;
    assert_eq!((story.count("/slotsswap"), story.count("/resetSlotConfig")), (0, 2));
    // The same release goes out afterwards, through another preview.
    story.settle(traffic(100)).await;
    assert_eq!((story.count("/slotsswap"), story.count("/applySlotConfig")), (1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_back_after_a_swap_is_a_swap_of_the_same_pair() {
    let mut story = Story::of(Bench::new(false).await).await;
    story.settle(traffic(10)).await;
    story.settle(traffic(100)).await;
    story.settle(DesiredState::Promoted).await;
    assert_eq!(
        (story.image("production"), story.image("staging")),
        (CANDIDATE.to_owned(), BASELINE.to_owned())
    );
    let versions = story.look().await.versions;
    assert_eq!(versions[0].version.labels["slot"], "production");
    assert_eq!(versions[1].version.labels["hostName"], "shop-staging.azurewebsites.net");
    story.settle(DesiredState::Reverted).await;
    assert_eq!(story.image("production"), BASELINE);
    assert_eq!(story.count("/slotsswap"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_whose_warm_up_fails_says_so_in_the_platforms_words() {
    let mut story = Story::of(Bench::new(false).await).await;
    story.settle(traffic(0)).await;
    let is_swapping =
        |progress: &Progress| matches!(progress, Progress::Moving { why: Some(why) } if why.contains("swapped"));
    story.until(traffic(100), is_swapping).await;
    story.bench.tenant.behave(CANDIDATE, Behaviour::NeverReady);
    let order = story.order(traffic(100));
    let mut passed = Duration::ZERO;
    let why = loop {
        story.bench.advance(Duration::from_secs(5));
        passed += Duration::from_secs(5);
        match story.ask(&order).await {
            Progress::Stuck { why } => break why,
            Progress::Moving { why } => assert!(why.is_some_and(|why| !why.is_empty())),
            other => panic!("{other:?}"),
        }
        assert!(passed < Duration::from_secs(3_600));
    };
    assert!(why.contains("did not respond to http ping"), "{why}");
    assert_eq!(story.image("production"), BASELINE);
    story.settle(DesiredState::Reverted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_that_hangs_is_cancelled_or_said_to_be_beyond_it() {
    for (refused, told) in [(false, "was cancelled"), (true, "cannot be cancelled")] {
        let bench = Bench::new(false).await;
        let mut settings = bench.settings();
        settings["swapWithin"] = json!("1m");
        let mut story = Story::with(bench, settings).await;
        story.settle(traffic(0)).await;
        if refused {
            story.bench.tenant.refuse_resets();
        }
        let is_swapping =
            |progress: &Progress| matches!(progress, Progress::Moving { why: Some(why) } if why.contains("swapped"));
        story.until(traffic(100), is_swapping).await;
        story.bench.tenant.behave(CANDIDATE, Behaviour::NeverReady);
        let order = story.order(traffic(100));
        let why = loop {
            story.bench.advance(Duration::from_secs(5));
            match story.ask(&order).await {
                Progress::Stuck { why } => break why,
                Progress::Moving { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(why.contains(told) && why.contains("90 s"), "{why}");
        story.settle(DesiredState::Reverted).await;
        assert_eq!(story.image("production"), BASELINE);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pinned_hour_is_told_and_ends() {
    let mut story = Story::of(Bench::new(false).await).await;
    story.settle(traffic(50)).await;
    // Clients are pinned to production too; two hours later each has been sent by the rule.
    story.bench.advance(Duration::from_secs(7_200));
    let told = |progress: &Progress| matches!(progress, Progress::Moving { why: Some(why) } if why.contains("x-ms-routing-name"));
    story.until(DesiredState::Reverted, told).await;
    story.settle(DesiredState::Reverted).await;
    let standing = story.bench.tenant.standing("shop").unwrap();
    assert_eq!(standing.share_of(CANDIDATE), 0.0);
    assert!(
        standing.pinned_to(CANDIDATE) > 10.0,
        "clients stay pinned, which is why it is told"
    );
    let until: Timestamp = story.bench.now.lock().checked_add(Duration::from_secs(3_500)).unwrap();
    assert!(
        story.diagnosis().await.contains("x-ms-routing-name"),
        "until about {until}"
    );
    story.bench.advance(Duration::from_secs(3_700));
    assert!(!story.diagnosis().await.contains("x-ms-routing-name"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_way_is_found_before_anything_is_touched() {
    type Hand = fn(&Bench);
    let hands: [(bool, Hand, &str); 6] = [
        (
            true,
            |bench| bench.tenant.authenticate("shop", "production", true),
            "site authentication",
        ),
        (
            true,
            |bench| bench.tenant.authenticate("shop", "staging", true),
            "site authentication",
        ),
        (
            false,
            |bench| {
                bench
                    .tenant
                    .configure("shop", "staging", "autoSwapSlotName", json!("production"))
            },
            "auto swap",
        ),
        (
            false,
            |bench| bench.tenant.meddle_with_rules("shop", &[ruled("staging", 5.0)]),
            "did not write",
        ),
        (
            false,
            |bench| bench.tenant.meddle_with_rules("shop", &[ruled("other", 5.0)]),
            "not this region's slot",
        ),
        (false, |bench| bench.tenant.stop("shop", "production"), "is stopped"),
    ];
    for (preview, hand, told) in hands {
        let mut site = NewSite::named("shop");
        site.slots.push("other".to_owned());
        let bench = Bench::of(site, preview).await;
        hand(&bench);
        let refused = bench.cloud().observe(&bench.target()).await.unwrap_err();
        assert!(
            refused.lasting == Lasting::Yes && refused.what.contains(told),
            "{refused}"
        );
        assert_eq!(bench.served.wire.writes(), 0);
    }
    let without = Bench::new(false).await;
    without.tenant.authenticate("shop", "production", true);
    assert!(
        without.cloud().observe(&without.target()).await.is_ok(),
        "only a preview minds authentication"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_without_slots_is_named_by_its_tier() {
    let site = NewSite {
        slots: Vec::new(),
        tier: "Basic".to_owned(),
        ..NewSite::named("shop")
    };
    let bench = Bench::of(site, false).await;
    let refused = bench.cloud().observe(&bench.target()).await.unwrap_err();
    assert!(
        refused.what.contains("`staging`") && refused.what.contains("Basic"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_swap_would_leave_and_change_is_told_without_its_values() {
    let site = NewSite {
        sticky: vec!["DATABASE".to_owned()],
        settings: [("DATABASE".to_owned(), "hidden-1".to_owned())].into(),
        ..NewSite::named("shop")
    };
    let bench = Bench::of(site, false).await;
    bench.tenant.set("shop", "staging", &[("MODE", "hidden-2")]);
    let told = bench
        .cloud()
        .observe(&bench.target())
        .await
        .unwrap()
        .observation
        .diagnosis
        .unwrap();
    assert!(told.contains("DATABASE") && told.contains("MODE"), "{told}");
    assert!(!told.contains("hidden"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_is_released_and_its_signature_stays_out_of_sight() {
    let site = NewSite {
        image: None,
        kind: "app,linux".to_owned(),
        settings: [(
            "WEBSITE_RUN_FROM_PACKAGE".to_owned(),
            "https://files.example.com/shop-1.zip?sig=hidden".to_owned(),
        )]
        .into(),
        ..NewSite::named("shop")
    };
    let bench = Bench::of(site, false).await;
    let mut target = bench.target();
    target.release = Release::Package {
        url: "https://files.example.com/shop-2.zip?sig=hidden".to_owned(),
        sha256: "ab".repeat(32),
    };
    let mut story = Story::at(bench, target).await;
    assert_eq!(
        (story.baseline.name.as_str(), story.candidate.name.as_str()),
        ("shop-1.zip", "shop-2.zip")
    );
    for state in [traffic(10), traffic(100), DesiredState::Promoted] {
        story.settle(state).await;
        let told = serde_json::to_string(&story.look().await).unwrap();
        assert!(!told.contains("hidden"), "{told}");
    }
    assert_eq!(story.look().await.observation.serving.unwrap().name, "shop-2.zip");
    story.settle(DesiredState::Reverted).await;
    assert_eq!(story.look().await.observation.serving.unwrap().name, "shop-1.zip");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_under_a_slot_setting_is_refused_before() {
    let site = NewSite {
        image: None,
        kind: "app,linux".to_owned(),
        sticky: vec!["WEBSITE_RUN_FROM_PACKAGE".to_owned()],
        ..NewSite::named("shop")
    };
    let bench = Bench::of(site, false).await;
    let mut target = bench.target();
    target.release = Release::Package {
        url: "https://files.example.com/shop-2.zip".to_owned(),
        sha256: "ab".repeat(32),
    };
    let refused = bench.cloud().observe(&target).await.unwrap_err();
    assert!(refused.what.contains("leave the package behind"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_side_of_another_kind_than_the_release_is_refused_before() {
    let image = |_: &Bench| Release::Image(CANDIDATE.to_owned());
    let package = |_: &Bench| Release::Package {
        url: "https://files.example.com/shop-2.zip".to_owned(),
        sha256: "ab".repeat(32),
    };
    let of = |release: fn(&Bench) -> Release, kinds: &[(&'static str, &'static str)]| {
        kinds.iter().map(|kind| (release, *kind)).collect::<Vec<_>>()
    };
    let mut all = of(
        image,
        &[
            ("staging", "COMPOSE|dmVyc2lvbjogIjMi"),
            ("staging", "sitecontainers"),
            ("staging", "NODE|20-lts"),
            ("staging", ""),
            ("production", "sitecontainers"),
            ("production", "NODE|20-lts"),
        ],
    );
    all.extend(of(
        package,
        &[("staging", "sitecontainers"), ("production", "COMPOSE|x")],
    ));
    for (release, (slot, kind)) in all {
        let bench = Bench::new(false).await;
        let mut target = bench.target();
        target.release = release(&bench);
        if matches!(target.release, Release::Package { .. }) {
            for side in ["production", "staging"] {
                bench
                    .tenant
                    .configure("shop", side, "linuxFxVersion", json!("NODE|20-lts"));
            }
            assert!(bench.cloud().observe(&target).await.is_ok());
        }
        bench.tenant.configure("shop", slot, "linuxFxVersion", json!(kind));
        let refused = bench.cloud().observe(&target).await.unwrap_err();
        let named = match slot {
            "staging" => "the slot `staging`",
            _ => "the site `shop`",
        };
        assert!(
            refused.lasting == Lasting::Yes && refused.what.contains(named) && refused.what.contains("the release is"),
            "{slot} {kind}: {refused}"
        );
        assert_eq!(bench.served.wire.writes(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_warm_up_is_set_where_the_settings_say() {
    for production in [false, true] {
        let bench = Bench::new(false).await;
        let mut settings = bench.settings();
        settings["warmUp"] = json!({"path": "/health", "statuses": [200, 204], "production": production});
        let mut story = Story::with(bench, settings).await;
        story.settle(traffic(0)).await;
        let puts = |of: &str| {
            story.bench.served.wire.count(|exchange| {
                let path = exchange.asked.uri.path();
                let body = String::from_utf8_lossy(&exchange.asked.body).into_owned();
                exchange.is_write
                    && path.ends_with(of)
                    && body.contains(r#""WEBSITE_SWAP_WARMUP_PING_PATH":"/health""#)
                    && body.contains(r#""WEBSITE_SWAP_WARMUP_PING_STATUSES":"200,204""#)
            })
        };
        assert_eq!(puts("/slots/staging/config/appsettings"), 1);
        assert_eq!(puts("/sites/shop/config/appsettings"), u64::from(production));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_fails_keeps_the_candidate_from_traffic() {
    let mut story = Story::of(Bench::new(false).await).await;
    story.bench.tenant.behave(CANDIDATE, Behaviour::Status(503));
    let why = story.stuck(traffic(10)).await;
    assert!(
        why.contains("`health`") && why.contains("503") && why.contains("expected 200"),
        "{why}"
    );
    assert_eq!(story.bench.tenant.standing("shop").unwrap().share_of(CANDIDATE), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_is_followed_by_whichever_link_the_platform_gives() {
    let mut story = Story::of(Bench::new(false).await).await;
    story.bench.tenant.offer_async_operations();
    story.settle(traffic(100)).await;
    let polls = story
        .bench
        .served
        .wire
        .count(|exchange| exchange.asked.uri.path().contains("/operations/"));
    assert!(polls > 0);
    assert_eq!(story.count("/slotsswap"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_deployed_into_production_is_told_and_left_alone() {
    let mut story = Story::of(Bench::new(false).await).await;
    story.settle(traffic(10)).await;
    let hotfix = json!("DOCKER|registry.example.com/shop:hotfix");
    story
        .bench
        .tenant
        .configure("shop", "production", "linuxFxVersion", hotfix);
    let why = story.stuck(traffic(50)).await;
    assert!(why.contains("shop:hotfix"), "{why}");
    let why = story.stuck(DesiredState::Reverted).await;
    assert!(why.contains("shop:hotfix"), "{why}");
    assert!(story.image("production").ends_with("hotfix"));
    assert_eq!(
        story.bench.tenant.standing("shop").unwrap().share_of(CANDIDATE),
        0.0,
        "the traffic is back all the same"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_others_change_are_told_put_back_and_given_up_when_it_goes_on() {
    let mut story = Story::of(Bench::new(false).await).await;
    story.settle(traffic(10)).await;
    let order = story.order(traffic(25));
    let mut rounds = 0;
    let why = 'fight: loop {
        rounds += 1;
        assert!(rounds < 20, "two tools fight for ever");
        loop {
            match story.ask(&order).await {
                Progress::Settled => break,
                Progress::Moving { .. } => story.bench.advance(Duration::from_secs(2)),
                Progress::Stuck { why } => break 'fight why,
                other => panic!("{other:?}"),
            }
        }
        story.bench.tenant.meddle_with_rules("shop", &[ruled("staging", 5.0)]);
        let seen = story.look().await.observation;
        assert!(!seen.is_settled && seen.diagnosis.unwrap().contains("25% was ordered, they say 5%"));
    };
    assert!(why.contains("keeps changing"), "{why}");
    story.settle(DesiredState::Reverted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_is_left_alone_for_as_long_as_it_asks() {
    let mut story = Story::of(Bench::new(false).await).await;
    story.settle(traffic(0)).await;
    // One process from here on: what an operation asked is nothing that another one would know.
    let cloud = story.bench.cloud();
    let order = story.order(traffic(100));
    let (mut asks, mut swapped_at, mut polled_at) = (0_u64, None, None);
    let polls = |story: &Story| {
        let wire = &story.bench.served.wire;
        wire.count(|exchange| exchange.asked.uri.path().contains("/operationresults/"))
    };
    while cloud.ensure(&story.target, &order).await.unwrap() != Progress::Settled {
        swapped_at = swapped_at.or((story.count("/slotsswap") > 0).then_some(asks));
        polled_at = polled_at.or((polls(&story) > 0).then_some(asks));
        story.bench.advance(Duration::from_secs(1));
        asks += 1;
    }
    let (swapped_at, polled_at) = (swapped_at.unwrap(), polled_at.unwrap());
    assert!(
        polled_at - swapped_at >= 15,
        "the answer to the swap itself asked for 15s, and after {}s it was polled",
        polled_at - swapped_at
    );
    let polls = polls(&story);
    assert!(polls > 0 && polls * 4 < asks, "{polls} polls in {asks} seconds");
}
