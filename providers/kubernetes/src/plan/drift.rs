//! What somebody else has changed since an order was reached, and what is done about it.

use meridian_engine::run::effect::Progress;

use super::{Act, Step, View, floor, moving, takes_traffic};
use crate::record::{Original, Record};
use crate::settings::Drift;
use crate::traffic::Split;
use crate::version::is_same_image;

/// Something that differs from what was once reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noticed {
    /// In plain words.
    pub what: String,
    pub harm: Harm,
    /// What the original runs by that, where its image was changed.
    pub original: Option<Original>,
}

/// How bad it is to leave it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// The candidate has less than was ordered, and users are served.
    Less,
    /// Users meet more of the candidate than was ordered, or something that no order knows.
    More,
    /// What the order needs is not there.
    Missing,
}

impl Noticed {
    fn new(harm: Harm, what: String) -> Noticed {
        Noticed {
            what,
            harm,
            original: None,
        }
    }

    /// The original runs another of the two images than the one it was given.
    pub fn of_image(view: &View<'_>, runs: Original) -> Noticed {
        let (name, candidate, baseline) = (
            view.world.original.name(),
            &view.desired.candidate,
            &view.desired.baseline,
        );
        let (harm, what) = match runs {
            Original::Promoted => (Harm::More, format!("given {name} the image of {candidate}")),
            Original::Untouched | Original::Restored => {
                (Harm::Missing, format!("given {name} its image of {baseline} back"))
            }
        };
        Noticed {
            original: Some(runs),
            ..Noticed::new(harm, format!("somebody else has {what}"))
        }
    }
}

/// The answer to a change by somebody else, by what the region's settings say.
pub fn answer(view: &View<'_>, noticed: Noticed) -> Step {
    let what = &noticed.what;
    match (view.settings.drift, noticed.harm) {
        (Drift::Reassert { times }, _) => {
            let done = view.record.reasserted_lately(view.now);
            if done >= usize::try_from(times).unwrap_or(usize::MAX) {
                return moving(format!(
                    "{what}; it was put right {done} times within ten minutes and is left as it is now"
                ));
            }
            put_right(view, &noticed)
        }
        (Drift::Hold, _) => moving(format!("{what}; it is left as it is (`drift: hold`)")),
        (Drift::Report, Harm::Less) => Step::Done(Progress::Settled),
        // What exposes users to more than was ordered is never tolerated, and what cannot serve is never settled.
        (Drift::Report, Harm::More) => moving(format!("{what}, which is more than was ordered")),
        (Drift::Report, Harm::Missing) => moving(format!("{what}; it is left as it is (`drift: report`)")),
    }
}

/// Counts that it is put right; the order is carried out anew after that.
pub fn put_right(view: &View<'_>, noticed: &Noticed) -> Step {
    let mut record: Record = view.record.reasserting(&noticed.what, view.now);
    if let Some(original) = noticed.original {
        record.original = original;
    }
    Step::Do(Act::Remember(record))
}

/// What differs from what was once reached with this split.
pub fn noticed(view: &View<'_>, wanted: &Split) -> Option<Noticed> {
    let world = view.world;
    let by_others = |harm, what: String| Some(Noticed::new(harm, format!("somebody else has {what}")));
    let name = &world.arms.candidate.deployment;
    let Some(copy) = &world.copy else {
        return by_others(Harm::Missing, format!("deleted the candidate's Deployment {name}"));
    };
    if copy.is_leaving() {
        let what = format!("somebody else is deleting the candidate's Deployment {name}");
        return Some(Noticed::new(Harm::Missing, what));
    }
    if !is_same_image(copy.image(), view.candidate()) {
        return by_others(Harm::More, format!("given {name} the image {}", copy.image()));
    }
    let counts = view
        .mechanism
        .and_then(|mechanism| mechanism.counts(wanted.share, view.record.total));
    let need = match counts {
        Some(counts) if !wanted.share.is_zero() => counts.candidate,
        Some(_) | None => view.need(wanted),
    };
    let scaled = |name: &str, to: u32, of: u32| format!("scaled {name} to {to} of {of} pods");
    if copy.replicas() < need {
        return by_others(Harm::Missing, scaled(name, copy.replicas(), need));
    }
    if let Some(counts) = counts {
        // Where pods are the share, a pod that is not ready is no change by anybody.
        let (original, pods) = (world.original.name(), world.original.replicas());
        if pods < counts.baseline {
            return by_others(Harm::Missing, scaled(original, pods, counts.baseline));
        }
        // A staged candidate stands apart, and the baseline may have been made larger since.
        if wanted.share.is_zero() {
            return None;
        }
        if copy.replicas() > need {
            return by_others(Harm::More, scaled(name, copy.replicas(), need));
        }
        if pods > counts.baseline {
            return by_others(Harm::Less, scaled(original, pods, counts.baseline));
        }
        return None;
    }
    let (standing, wanted) = (&world.standing, view.reachable(wanted));
    if standing.split.share != wanted.share {
        let (is, was) = (standing.split.share, wanted.share);
        let harm = if is > was { Harm::More } else { Harm::Less };
        return by_others(harm, format!("set the candidate's share to {is} instead of {was}"));
    }
    if standing.split.mirror != wanted.mirror {
        let (is, was) = (standing.split.mirror, wanted.mirror);
        let harm = if is > was { Harm::More } else { Harm::Less };
        return by_others(harm, format!("set the mirrored share to {is} instead of {was}"));
    }
    if standing.split.audience != wanted.audience {
        let harm = if standing.split.audience.is_empty() {
            Harm::Less
        } else {
            Harm::More
        };
        return by_others(harm, "changed who is routed to the candidate".to_owned());
    }
    if let Some(oddity) = &standing.oddity {
        return by_others(Harm::Less, format!("changed the routes: {oddity}"));
    }
    let (due, least) = (floor::due(view)?, floor::least(view)?);
    if takes_traffic(&wanted) && least < due {
        let what = format!("set the least pods of the baseline's autoscaler to {least} instead of {due}");
        return by_others(Harm::Less, what);
    }
    None
}

#[cfg(test)]
mod tests {
    use meridian_engine::run::effect::Progress;
    use serde_json::json;

    use super::super::Step;
    use super::super::scene::{copy, given, original, serving};

    #[test]
    fn a_share_that_is_too_low_is_tolerated_where_changes_are_only_reported() {
        let scene = given(json!({"drift": "report"}), serving(50)).shared(2, 10).reached();
        assert_eq!(scene.next(), Step::Done(Progress::Settled));
    }

    #[test]
    fn capacity_that_is_gone_is_never_settled() {
        let mut scene = given(json!({"drift": "report"}), serving(50)).shared(2, 50).reached();
        scene.world.copy = Some(copy(0, 0));
        assert!(
            scene.said().contains("scaled shop-candidate to 0 of 2 pods"),
            "{:?}",
            scene.next()
        );
        scene.world.copy = None;
        assert!(scene.said().contains("deleted"), "{:?}", scene.next());
    }

    #[test]
    fn where_pods_are_the_share_a_baseline_that_others_scale_is_noticed() {
        let pods = |drift| {
            given(json!({"traffic": {"pods": {}}, "drift": drift}), serving(50))
                .shared(2, 50)
                .reached()
        };
        let emergency = pods(json!("reassert")).original(original("shop:v1", 9, 9));
        assert!(emergency.noticed().contains("scaled shop to 9 of 2 pods"));
        let emergency = pods(json!("report")).original(original("shop:v1", 9, 9));
        assert_eq!(emergency.next(), Step::Done(Progress::Settled));
        let starved = pods(json!("report")).original(original("shop:v1", 0, 0));
        assert!(
            starved.said().contains("scaled shop to 0 of 2 pods"),
            "{:?}",
            starved.next()
        );
    }

    #[test]
    fn where_pods_are_the_share_more_candidate_pods_are_more_than_was_ordered() {
        let mut scene = given(json!({"traffic": {"pods": {}}, "drift": "report"}), serving(50))
            .original(original("shop:v1", 2, 2))
            .reached();
        scene.world.copy = Some(copy(3, 3));
        assert!(scene.said().contains("more than was ordered"), "{:?}", scene.next());
    }

    #[test]
    fn an_image_that_was_pinned_at_admission_is_the_one_that_was_ordered() {
        let mut scene = given(json!({}), serving(50)).shared(2, 50).reached();
        let pinned = |name: &str, image: &str, pods| {
            super::super::scene::deployment(name, &format!("{image}@sha256:aa"), pods, pods)
        };
        scene.world.copy = Some(pinned("shop-candidate", "shop:v2", 2));
        scene.world.original = pinned("shop", "shop:v1", 4);
        assert_eq!(scene.next(), Step::Done(Progress::Settled));
    }
}
