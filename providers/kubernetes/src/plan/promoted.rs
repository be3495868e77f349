//! The candidate becomes the original: all traffic on the copy, the original rolled and verified, the traffic returned, the
//! copy gone. Where it stands is read off the world, so that it goes on from any crash.

use meridian_engine::run::effect::Progress;
use meridian_workflows::share::Share;

use super::drift::{self, Harm, Noticed};
use super::{Act, Runs, Step, View, back, floor, serving, stuck, waiting};
use crate::record::{Original, Record};
use crate::settings::Promotion;
use crate::traffic::Split;
use crate::version::digests;

pub fn next(view: &View<'_>) -> Step {
    if let Some(noticed) = changed(view) {
        return drift::answer(view, noticed);
    }
    match view.runs() {
        Runs::Baseline => hand_over(view),
        Runs::Candidate => return_home(view),
        Runs::Other(image) => {
            let name = view.world.original.name();
            stuck(format!(
                "somebody else has deployed to {name}: it runs {image}, so it is not promoted over that"
            ))
        }
    }
}

/// What differs since the candidate has carried everything, or since the original was given its image.
pub fn changed(view: &View<'_>) -> Option<Noticed> {
    if view.runs() != Runs::Baseline {
        return None;
    }
    if view.record.original == Original::Promoted {
        return Some(Noticed::of_image(view, Original::Restored));
    }
    let noticed = drift::noticed(view, &full()).filter(|_| view.record.reached)?;
    // A share that is only tolerated is not promoted.
    let harm = if noticed.harm == Harm::Less {
        Harm::Missing
    } else {
        noticed.harm
    };
    Some(Noticed { harm, ..noticed })
}

fn full() -> Split {
    Split {
        share: Share::FULL,
        ..Split::none()
    }
}

/// The copy carries everything, the old version is kept for its time, then the original is given the candidate's image.
fn hand_over(view: &View<'_>) -> Step {
    match serving::towards(view, &full()) {
        Step::Done(Progress::Settled) => {}
        step => return step,
    }
    let (name, baseline) = (view.world.original.name(), &view.desired.baseline);
    let Some(since) = view.record.promoted_since.filter(|_| view.record.reached) else {
        let record = Record {
            promoted_since: view.record.promoted_since.or(Some(view.now)),
            reached: true,
            content: if view.record.content.is_empty() {
                view.content.clone()
            } else {
                view.record.content.clone()
            },
            ..view.record.clone()
        };
        return Step::Do(Act::Remember(record));
    };
    let until = view.keep_baseline.after(since);
    if view.now < until && !view.counts_pods() {
        return waiting(format!(
            "the candidate serves everything; {baseline} is kept ready until {until}"
        ));
    }
    match view.settings.promotion {
        Promotion::Patch => Step::Do(Act::Image {
            image: view.candidate().to_owned(),
            record: Record {
                original: Original::Promoted,
                idle_since: None,
                ..view.record.clone()
            },
        }),
        Promotion::External => {
            let candidate = &view.desired.candidate;
            waiting(format!(
                "the candidate serves everything; waits until Git has made {candidate} the original ({name})"
            ))
        }
    }
}

/// The original runs the candidate: verified, it gets the traffic, and the copy goes.
fn return_home(view: &View<'_>) -> Step {
    let world = view.world;
    if view.record.original != Original::Promoted {
        // Git has done it, or somebody: from here on an image that is taken back is noticed.
        return Step::Do(Act::Remember(Record {
            original: Original::Promoted,
            idle_since: None,
            ..view.record.clone()
        }));
    }
    if let Some(why) = other_content(view) {
        return stuck(why);
    }
    if view.counts_pods() && world.original.replicas() < view.record.total {
        return Step::Do(Act::ScaleOriginal(view.record.total));
    }
    let kept = floor::raised(view).or_else(|| view.refilled());
    if let Some(step) = kept.filter(|_| !world.standing.split.is_none()) {
        return step;
    }
    if !world.is_steady(view.settings.settle, view.now) {
        let settle = view.settings.settle;
        let version = &view.desired.candidate;
        return view.await_original(&format!(
            "{version} is rolled out to the original and must be ready for {settle}"
        ));
    }
    if !view.counts_pods() && !world.standing.split.is_none() {
        return Step::Do(Act::Split(Split::none()));
    }
    back::removed(view)
        .or_else(|| floor::restored(view))
        .unwrap_or(Step::Done(Progress::Settled))
}

/// A tag may have moved since the copy pulled it: then the original's new pods are a version that no gate has judged.
fn other_content(view: &View<'_>) -> Option<String> {
    let world = view.world;
    let judged = &view.record.content;
    let runs = digests(&world.pods, world.original.container_name(), view.candidate());
    let other = runs.iter().find(|one| !judged.is_empty() && !judged.contains(**one))?;
    let (name, candidate) = (world.original.name(), view.candidate());
    let judged: Vec<&str> = judged.iter().map(String::as_str).collect();
    Some(format!(
        "the tag has moved: new pods of {name} run {candidate} as {other}, and what was judged is {}; release it by its digest",
        judged.join(" and ")
    ))
}

#[cfg(test)]
mod tests {
    use meridian_engine::run::effect::{DesiredState, Progress};
    use serde_json::json;

    use super::super::scene::{Scene, given, original, pod};
    use super::super::{Act, Step};
    use crate::record::Original;

    /// The candidate serves everything, and the baseline is kept for a while.
    fn kept(drift: &str, share: u16) -> Scene {
        let mut scene = given(json!({"drift": drift}), DesiredState::Promoted).shared(4, share);
        scene.record.promoted_since = Some(scene.now);
        scene.record.reached = true;
        scene
    }

    #[test]
    fn weights_that_others_write_while_the_baseline_is_kept_are_counted_and_told() {
        assert!(
            kept("reassert", 50)
                .noticed()
                .contains("set the candidate's share to 50% instead of 100%")
        );
        assert!(kept("hold", 50).said().contains("`drift: hold`"));
    }

    #[test]
    fn an_image_that_others_take_back_after_the_promotion_is_not_patched_for_ever() {
        let reverted = |drift: serde_json::Value| {
            let mut scene = given(json!({"drift": drift}), DesiredState::Promoted).shared(4, 100);
            scene.record.original = Original::Promoted;
            scene.record.promoted_since = Some(scene.now);
            scene
        };
        assert!(
            reverted(json!("reassert"))
                .noticed()
                .contains("given shop its image of v1 back")
        );
        let mut often = reverted(json!({"reassert": {"times": 2}}));
        often.record.reasserted = vec![often.now, often.now];
        assert!(often.said().contains("put right 2 times"), "{:?}", often.next());
        assert!(
            reverted(json!("report")).said().contains("image of v1"),
            "{:?}",
            reverted(json!("report")).next()
        );
    }

    #[test]
    fn what_was_put_right_is_promoted_again() {
        let mut scene = given(json!({"keepBaseline": "0s"}), DesiredState::Promoted).shared(4, 100);
        scene.record.original = Original::Promoted;
        scene.record.promoted_since = Some(scene.now);
        let Step::Do(Act::Remember(record)) = scene.next() else {
            panic!("{:?}", scene.next());
        };
        scene.record = record;
        let Step::Do(Act::Remember(record)) = scene.next() else {
            panic!("{:?}", scene.next());
        };
        scene.record = record;
        scene.now = "2026-01-01T00:10:00Z".parse().unwrap();
        assert!(
            matches!(scene.next(), Step::Do(Act::Image { .. })),
            "{:?}",
            scene.next()
        );
    }

    #[test]
    fn a_tag_that_has_moved_since_the_copy_pulled_it_is_not_given_the_traffic() {
        let mut scene = given(json!({}), DesiredState::Promoted).shared(4, 100);
        scene.world.original = original("shop:v2", 4, 4);
        scene.record.original = Original::Promoted;
        scene.record.content.insert("sha256:aa".to_owned());
        scene.world.pods = vec![pod("shop:v1", "sha256:cc"), pod("shop:v2", "sha256:aa")];
        assert!(!scene.is_stuck(), "{:?}", scene.next());
        scene.world.pods.push(pod("shop:v2", "sha256:bb"));
        assert!(scene.is_stuck());
        assert!(
            scene.said().contains("sha256:bb, and what was judged is sha256:aa"),
            "{}",
            scene.said()
        );
    }

    #[test]
    fn what_git_has_promoted_and_takes_back_again_is_noticed_too() {
        let mut scene = given(json!({"promotion": "external"}), DesiredState::Promoted).shared(4, 100);
        scene.world.original = original("shop:v2", 4, 4);
        let Step::Do(Act::Remember(record)) = scene.next() else {
            panic!("{:?}", scene.next());
        };
        scene.record = record;
        scene.world.original = original("shop:v1", 4, 4);
        assert!(scene.noticed().contains("given shop its image of v1 back"));
    }

    #[test]
    fn a_promotion_that_is_over_stays_settled() {
        let mut scene = given(json!({}), DesiredState::Promoted).original(original("shop:v2", 4, 4));
        scene.record.original = Original::Promoted;
        scene.record.reached = true;
        assert_eq!(scene.next(), Step::Done(Progress::Settled));
    }
}
