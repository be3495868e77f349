//! Stories of lower shares: nothing that others did keeps traffic on a candidate, and nobody is left at a slot that is stopped.

use std::time::Duration;

use meridian_conformance::rig::Rig as _;
use meridian_doubles::azure::app_service::NewSite;
use meridian_engine::run::effect::{DesiredState, Progress};
use meridian_workflows::workflow::Release;

use crate::app_service::{Bench, CANDIDATE};
use crate::story::{Story, ruled, traffic};

/// A site with another slot, to which others can send traffic.
async fn beside_another() -> Bench {
    let mut site = NewSite::named("shop");
    site.slots.push("other".to_owned());
    Bench::of(site, false).await
}

fn share(story: &Story) -> f64 {
    story.bench.tenant.standing("shop").unwrap().share_of(CANDIDATE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lower_share_is_given_whatever_rules_of_others_stand_beside() {
    let mut story = Story::of(beside_another().await).await;
    story.settle(traffic(10)).await;
    story.settle(traffic(25)).await;
    story
        .bench
        .tenant
        .meddle_with_rules("shop", &[ruled("staging", 25.0), ruled("other", 10.0)]);
    story.settle(traffic(10)).await;
    assert_eq!(share(&story), 10.0);
    let other = story.bench.tenant.standing("shop").unwrap();
    assert_eq!(other.slot("other").unwrap().share, 10.0, "the rule of others is theirs");
    let why = story.stuck(traffic(25)).await;
    assert!(why.contains("not this region's slot"), "{why}");
    assert_eq!(share(&story), 10.0);
    story.settle(DesiredState::Reverted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_moves_by_itself_is_taken_off_by_the_way_back() {
    let mut story = Story::of(Bench::new(false).await).await;
    story.settle(traffic(10)).await;
    let climbing = |percent: f64| {
        let mut rule = ruled("staging", percent);
        rule.change_step = Some(5.0);
        rule.change_interval_in_minutes = Some(1);
        rule
    };
    story.bench.tenant.meddle_with_rules("shop", &[climbing(0.0)]);
    story.settle(DesiredState::Reverted).await;
    story.bench.advance(Duration::from_secs(600));
    assert_eq!(share(&story), 0.0, "what is taken back does not come again by itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_are_pinned_to_the_slot_are_not_left_at_a_stopped_one() {
    let mut story = Story::of(Bench::new(false).await).await;
    story.settle(traffic(50)).await;
    // Two hours later each client has been sent by the rule.
    story.bench.advance(Duration::from_secs(7_200));
    story.settle(DesiredState::Reverted).await;
    let order = story.order(DesiredState::Withdrawn);
    let mut told = String::new();
    loop {
        match story.ask(&order).await {
            Progress::Settled => break,
            Progress::Moving { why } => told.push_str(&why.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
        story.bench.advance(Duration::from_secs(2));
    }
    let standing = story.bench.tenant.standing("shop").unwrap();
    assert!(standing.pinned_to(CANDIDATE) > 10.0, "there are such clients");
    assert_eq!(standing.stranded(), 0.0, "and they are answered");
    assert!(
        told.contains("left running") && told.contains("x-ms-routing-name"),
        "{told}"
    );
    // A later call finds their hour over.
    story.bench.advance(Duration::from_secs(3_700));
    while story.ask(&order).await != Progress::Settled {
        story.bench.advance(Duration::from_secs(2));
    }
    let standing = story.bench.tenant.standing("shop").unwrap();
    assert_eq!(standing.slot("staging").unwrap().ready, 0, "the slot is stopped then");
    assert_eq!(standing.stranded(), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pins_of_a_rule_that_others_took_away_count_too() {
    let mut story = Story::of(Bench::new(false).await).await;
    story.settle(traffic(50)).await;
    story.bench.advance(Duration::from_secs(7_200));
    story.bench.tenant.meddle_with_rules("shop", &[]);
    story.settle(DesiredState::Reverted).await;
    story.settle(DesiredState::Withdrawn).await;
    assert_eq!(story.bench.tenant.standing("shop").unwrap().stranded(), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_with_pinned_clients_is_not_deployed_to_in_silence() {
    let mut story = Story::of(Bench::new(false).await).await;
    story.settle(traffic(50)).await;
    story.settle(DesiredState::Reverted).await;
    story.settle(DesiredState::Withdrawn).await;
    let mut target = story.bench.target();
    target.release = Release::Image("registry.example.com/shop:v3".to_owned());
    let mut next = story.onwards(target).await;
    let told = next
        .until(
            traffic(0),
            |progress| matches!(progress, Progress::Moving { why: Some(why) } if why.contains("is deployed to slot")),
        )
        .await;
    assert!(
        matches!(&told, Progress::Moving { why: Some(why) } if why.contains("x-ms-routing-name")),
        "{told:?}"
    );
}
