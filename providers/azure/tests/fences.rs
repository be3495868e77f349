//! Stories of two engines at one site: what a newer order did between a look and a step keeps the older one from the step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use meridian_conformance::rig::{Fault, Strike};
use meridian_doubles::wire::Asked;
use meridian_engine::run::effect::{DesiredState, Progress};

use crate::app_service::Bench;
use crate::story::{Story, traffic};

/// Right before the first request like this is answered, a newer order writes these tags.
fn overtake(bench: &Bench, tags: &'static [(&'static str, &'static str)], like: fn(&Asked) -> bool) -> Arc<AtomicBool> {
    let is_done = Arc::new(AtomicBool::new(false));
    let (tenant, done) = (Arc::clone(&bench.tenant), Arc::clone(&is_done));
    let struck = Strike::next(1);
    bench.served.wire.fault(Fault::Status(500), struck, move |asked| {
        if like(asked) && !done.swap(true, Ordering::SeqCst) {
            tenant.tag("shop", tags);
        }
        false
    });
    is_done
}

const NEWER: &[(&str, &str)] = &[("meridian-fence", "9.1.1"), ("meridian-phase", "idle 900")];

/// The same order, given by another process, is one step further.
const FURTHER: &[(&str, &str)] = &[("meridian-phase", "idle 900")];

fn is_look_at_instances(asked: &Asked) -> bool {
    asked.path().ends_with("/slots/staging/instances")
}

fn is_note_of_a_swap(asked: &Asked) -> bool {
    asked.path().ends_with("/tags/default") && String::from_utf8_lossy(&asked.body).contains("swapping ")
}

/// Asks until the other engine has come in between, and gives what was answered to that.
async fn overtaken(story: &mut Story, state: DesiredState, is_done: &AtomicBool) -> Progress {
    let order = story.order(state);
    for _ in 0..100 {
        let progress = story.ask(&order).await;
        if is_done.load(Ordering::SeqCst) {
            return progress;
        }
        story.bench.advance(std::time::Duration::from_secs(2));
    }
    panic!("nothing came in between");
}

fn tag(story: &Story, name: &str) -> String {
    let standing = story.bench.tenant.standing("shop").unwrap();
    standing.slot("production").unwrap().tags[name].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_is_not_begun_over_a_newer_order_and_its_fence_stays() {
    let mut story = Story::of(Bench::new(false).await).await;
    story.settle(traffic(0)).await;
    let is_done = overtake(&story.bench, NEWER, is_note_of_a_swap);
    let answer = overtaken(&mut story, traffic(100), &is_done).await;
    assert!(matches!(answer, Progress::Stale { .. }), "{answer:?}");
    assert_eq!(story.count("/slotsswap"), 0);
    assert_eq!(tag(&story, "meridian-fence"), "9.1.1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_is_not_raised_over_a_newer_order() {
    let mut story = Story::of(Bench::new(false).await).await;
    story.settle(traffic(0)).await;
    let writes = story.bench.served.wire.writes();
    let is_done = overtake(&story.bench, NEWER, is_look_at_instances);
    let answer = overtaken(&mut story, traffic(10), &is_done).await;
    assert!(matches!(answer, Progress::Stale { .. }), "{answer:?}");
    assert_eq!(story.bench.served.wire.writes() - writes, 1, "its claim alone");
    assert_eq!(tag(&story, "meridian-fence"), "9.1.1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_another_process_took_under_the_same_order_is_not_taken_again() {
    let mut story = Story::of(Bench::new(false).await).await;
    story.settle(traffic(0)).await;
    let is_done = overtake(&story.bench, FURTHER, is_look_at_instances);
    let answer = overtaken(&mut story, traffic(10), &is_done).await;
    assert!(
        matches!(&answer, Progress::Moving { why: Some(why) } if why.contains("in between")),
        "{answer:?}"
    );
    assert_eq!(tag(&story, "meridian-phase"), "idle 900");
    story.settle(traffic(10)).await;
}
