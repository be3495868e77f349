//! Where pods are the share: the numbers of both arms' pods move against each other, the candidate's never above its part.

use meridian_engine::run::effect::Progress;
use meridian_workflows::share::Share;

use super::{Act, Step, View, moving, stuck};
use crate::traffic::{Counts, Placement, Split};
use crate::workload::Workload;

/// So many pods of each arm.
pub fn towards(view: &View<'_>, wanted: &Split) -> Step {
    let Some(counts) = counts(view, wanted.share) else {
        return moving("this mechanism counts no pods");
    };
    if wanted.share.is_zero() {
        return staged(view, counts);
    }
    let original = &view.world.original;
    if counts.candidate == 0 {
        let (share, total, name) = (wanted.share, view.record.total, original.name());
        return home(view, counts.baseline).unwrap_or_else(|| {
            stuck(format!(
                "pods are the share, and {share} of {total} pods of {name} is none: start higher, or route by weights"
            ))
        });
    }
    let Some(copy) = &view.world.copy else {
        return Step::Do(Act::Stand {
            replicas: counts.candidate,
            placement: Placement::Joined,
        });
    };
    if copy.is_leaving() {
        return moving(format!("the Deployment {} is still being deleted", copy.name()));
    }
    if !view.is_candidate(copy) || !is_joined(view) {
        return Step::Do(Act::Stand {
            replicas: counts.candidate,
            placement: Placement::Joined,
        });
    }
    if copy.replicas() > counts.candidate {
        if original.replicas() < counts.baseline {
            return Step::Do(Act::ScaleOriginal(counts.baseline));
        }
        if let Some(step) = given_back(view, copy, counts.candidate) {
            return step;
        }
    }
    if copy.replicas() < counts.candidate {
        return Step::Do(Act::ScaleCopy(counts.candidate));
    }
    if !copy.can_carry(counts.candidate) || copy.standing() > counts.candidate {
        return view.await_copy(counts.candidate);
    }
    if original.replicas() != counts.baseline {
        return Step::Do(Act::ScaleOriginal(counts.baseline));
    }
    let is_there =
        original.is_observed() && original.standing() == counts.baseline && original.ready() == counts.baseline;
    if !is_there {
        return view.await_original("the baseline follows its part of the pods");
    }
    Step::Done(Progress::Settled)
}

/// Before any share the candidate proves itself apart from the Service.
fn staged(view: &View<'_>, counts: Counts) -> Step {
    if let Some(step) = home(view, counts.baseline) {
        return step;
    }
    let least = view.settings.candidate.min_replicas;
    let stand = Step::Do(Act::Stand {
        replicas: least,
        placement: Placement::Apart,
    });
    if view.record.apart.is_empty() {
        let world = view.world;
        let mut record = view.record.clone();
        record.apart = world.apart.clone();
        return Step::Do(Act::Remember(record));
    }
    match &view.world.copy {
        None => stand,
        Some(copy) if copy.is_leaving() => moving(format!("the Deployment {} is still being deleted", copy.name())),
        Some(copy) if !view.is_candidate(copy) || is_joined(view) => stand,
        Some(copy) if copy.replicas() < least => Step::Do(Act::ScaleCopy(least)),
        Some(copy) if !copy.can_carry(least) => view.await_copy(least),
        Some(_) => Step::Done(Progress::Settled),
    }
}

/// Every pod of the Service is the baseline's again; none where that is so.
pub fn back(view: &View<'_>) -> Option<Step> {
    let total = counts(view, Share::ZERO).map_or(view.record.total, |counts| counts.baseline);
    home(view, total)
}

/// The baseline gets all its pods back, and the candidate's leave the Service.
fn home(view: &View<'_>, baseline: u32) -> Option<Step> {
    let original = &view.world.original;
    // Only what was scaled here is scaled back: somebody may have made it larger since.
    if original.replicas() < baseline {
        return Some(Step::Do(Act::ScaleOriginal(baseline)));
    }
    let copy = view.world.copy.as_ref().filter(|_| is_joined(view))?;
    if let Some(step) = given_back(view, copy, 0) {
        return Some(step);
    }
    (!copy.is_observed() || copy.standing() > 0)
        .then(|| moving(format!("the last pods of {} leave the Service", copy.name())))
}

/// Fewer candidate pods, as baseline pods come: together they are what all of the traffic needs. None where there are no more.
fn given_back(view: &View<'_>, copy: &Workload, to: u32) -> Option<Step> {
    let original = &view.world.original;
    let mut kept = view.record.total.saturating_sub(original.ready()).max(to);
    if copy.replicas() <= kept && view.is_crowded_out() {
        // There is no room for baseline pods, and waiting for it would be for ever. The last one that serves stays.
        let least = to.max(u32::from(original.ready() == 0));
        kept = copy.replicas().saturating_sub(1).max(least);
    }
    if copy.replicas() > kept {
        return Some(Step::Do(Act::ScaleCopy(kept)));
    }
    (copy.replicas() > to).then(|| view.await_original("the baseline cannot take all of the traffic back yet"))
}

/// Fewer candidate pods, whatever the original runs: nothing of it is touched. None where there are no more than that.
pub fn lowered(view: &View<'_>, wanted: &Split) -> Option<Step> {
    let most = counts(view, wanted.share)?.candidate;
    let copy = view.world.copy.as_ref()?;
    if !is_joined(view) || copy.replicas() <= most {
        return None;
    }
    if view.world.original.ready() == 0 {
        return Some(view.await_original("the baseline cannot take the traffic back yet"));
    }
    Some(Step::Do(Act::ScaleCopy(most)))
}

fn counts(view: &View<'_>, share: Share) -> Option<Counts> {
    view.mechanism?.counts(share, view.record.total)
}

/// Whether the copy's pods carry the labels that the Service selects.
fn is_joined(view: &View<'_>) -> bool {
    let Some(copy) = &view.world.copy else { return false };
    let labels = copy.pod_labels();
    !view.record.apart.is_empty()
        && view
            .record
            .apart
            .iter()
            .all(|(key, apart)| labels.get(key) != Some(apart))
        || view.record.apart.is_empty()
}

#[cfg(test)]
mod tests {
    use meridian_engine::run::effect::DesiredState;
    use serde_json::json;

    use super::super::scene::{Scene, given, joined, original, serving};
    use super::super::{Act, Step};

    /// Half the pods are the candidate's, and so many of the baseline's are ready again.
    fn on_the_way_back(total: u32, ready: u32, candidates: u32) -> Scene {
        let mut scene = given(json!({"traffic": {"pods": {}}}), DesiredState::Reverted);
        scene.record.total = total;
        scene.world.original = original("shop:v1", total, ready);
        scene.world.copy = Some(joined(candidates));
        scene
    }

    #[test]
    fn on_the_way_back_candidate_pods_go_as_baseline_pods_come() {
        assert_eq!(on_the_way_back(10, 1, 10).next(), Step::Do(Act::ScaleCopy(9)));
        assert_eq!(on_the_way_back(10, 6, 9).next(), Step::Do(Act::ScaleCopy(4)));
        assert!(
            on_the_way_back(10, 6, 4)
                .said()
                .contains("6 of 10 pods of shop are ready")
        );
        assert_eq!(on_the_way_back(10, 10, 4).next(), Step::Do(Act::ScaleCopy(0)));
    }

    #[test]
    fn where_there_is_no_room_for_baseline_pods_a_candidate_pod_makes_room() {
        let mut scene = on_the_way_back(4, 2, 2);
        let mut object = scene.world.original.object().clone();
        object["status"]["conditions"] =
            json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}]);
        scene.world.original = crate::workload::Workload::of(object, None).unwrap();
        assert_eq!(scene.next(), Step::Do(Act::ScaleCopy(1)));
    }

    #[test]
    fn a_share_that_comes_to_no_pod_is_not_reached_by_doing_nothing() {
        let scene = given(json!({"traffic": {"pods": {}}}), serving(10));
        assert!(scene.is_stuck(), "{:?}", scene.next());
        assert!(scene.said().contains("10% of 4 pods"), "{}", scene.said());
    }

    #[test]
    fn a_lower_share_is_lowered_step_by_step_too() {
        let mut scene = given(json!({"traffic": {"pods": {}}}), serving(25));
        scene.record.total = 8;
        scene.world = on_the_way_back(8, 1, 7).world;
        scene.world.original = original("shop:v1", 6, 3);
        assert_eq!(scene.next(), Step::Do(Act::ScaleCopy(5)));
    }
}
