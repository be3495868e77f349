//! Stories of lower shares: nothing that others did keeps traffic on a candidate.

use std::time::Duration;

use meridian_doubles::azure::app_service::NewSite;
use meridian_engine::run::effect::DesiredState;

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
