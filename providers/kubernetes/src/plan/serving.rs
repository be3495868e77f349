//! Both versions stand ready, and the candidate serves what it is given: capacity first, then weight up; weight down first,
//! then capacity.

use meridian_engine::run::effect::Progress;

use super::drift::{self, Noticed};
use super::{Act, Runs, Step, View, floor, moving, pods, stuck, takes_traffic};
use crate::copy;
use crate::record::{Original, Record};
use crate::settings::Promotion;
use crate::traffic::Split;

pub fn next(view: &View<'_>, wanted: &Split) -> Step {
    // Whatever the original runs: what is too much goes first.
    match view.runs() {
        Runs::Baseline => {}
        Runs::Candidate
            if view.record.original == Original::Promoted && view.settings.promotion == Promotion::Patch =>
        {
            return unpromote(view);
        }
        Runs::Candidate => return lowered(view, wanted).unwrap_or_else(|| stuck(already(view))),
        Runs::Other(image) => return lowered(view, wanted).unwrap_or_else(|| elsewhere(view, &image)),
    }
    if view.record.original == Original::Restored && !view.world.original.is_rolled_out() {
        return lowered(view, wanted).unwrap_or_else(|| view.await_original("the baseline is being brought back"));
    }
    if let Some(noticed) = changed(view, wanted) {
        return drift::answer(view, noticed);
    }
    let step = towards(view, wanted);
    match step {
        Step::Done(Progress::Settled) if !view.record.reached => {
            let mut record = view.record.clone();
            record.reached = true;
            Step::Do(Act::Remember(record))
        }
        step => step,
    }
}

/// What differs since it was there.
pub fn changed(view: &View<'_>, wanted: &Split) -> Option<Noticed> {
    let is_told = view.record.reached && view.runs() == Runs::Baseline;
    is_told.then(|| drift::noticed(view, wanted)).flatten()
}

/// Less for the candidate; none where it has no more than is wanted.
fn lowered(view: &View<'_>, wanted: &Split) -> Option<Step> {
    if view.counts_pods() {
        return pods::lowered(view, wanted);
    }
    let standing = &view.world.standing.split;
    let down = common(standing, wanted);
    (down != *standing).then(|| lower(view, down))
}

/// The candidate's copy with its capacity, then the split.
pub fn towards(view: &View<'_>, wanted: &Split) -> Step {
    if view.counts_pods() {
        return pods::towards(view, wanted);
    }
    let standing = &view.world.standing.split;
    if let Some(copy) = &view.world.copy
        && !view.is_candidate(copy)
        && !standing.is_none()
    {
        // An older candidate still has traffic: it is taken away before anything else stands in its place.
        return lower(view, Split::none());
    }
    if let Some(step) = lowered(view, wanted) {
        return step;
    }
    if view.world.standing.oddity.is_some() && *standing == view.reachable(wanted) {
        return Step::Do(Act::Split(wanted.clone()));
    }
    let need = view.need(wanted);
    if let Some(step) = stand(view, wanted, need) {
        return step;
    }
    if view.world.copy.as_ref().is_none_or(|copy| !copy.can_carry(need)) {
        return view.await_copy(need);
    }
    if let Some(step) = floor::raised(view).filter(|_| takes_traffic(wanted)) {
        return step;
    }
    if *standing != view.reachable(wanted) {
        return Step::Do(Act::Split(wanted.clone()));
    }
    if let Some(fence) = view.world.standing.fence
        && fence < view.fence
    {
        // Equal, but not yet ours: the stamp keeps an older order in flight from writing.
        return Step::Do(Act::Split(wanted.clone()));
    }
    shrink(view, wanted, need)
}

/// Brings the copy, its autoscaler and its budget into being; none where they are as they must be.
fn stand(view: &View<'_>, wanted: &Split, need: u32) -> Option<Step> {
    let placement = view.placement(wanted);
    if view.record.apart.is_empty() && placement != crate::traffic::Placement::Joined {
        let world = view.world;
        let mut record = view.record.clone();
        record.apart = world.apart.clone();
        if !record.apart.is_empty() {
            return Some(Step::Do(Act::Remember(record)));
        }
    }
    let Some(copy) = &view.world.copy else {
        return Some(Step::Do(Act::Stand {
            replicas: need,
            placement,
        }));
    };
    if copy.is_leaving() {
        return Some(moving(format!("the Deployment {} is still being deleted", copy.name())));
    }
    let labels = copy::pod_labels(
        &view.world.original,
        &view.settings.candidate,
        &view.wish(need, placement),
    );
    let is_placed = view
        .record
        .apart
        .keys()
        .all(|key| copy.pod_labels().get(key) == labels.get(key));
    if !view.is_candidate(copy) || !is_placed {
        return Some(Step::Do(Act::Stand {
            replicas: need,
            placement,
        }));
    }
    let bounds = view.bounds(need, wanted);
    if let Some(bounds) = bounds {
        let has = view.world.copy_autoscaler.as_ref().and_then(copy::bounds);
        // Only ever up here: bounds go down with the capacity, after the drain.
        let enough = has.is_some_and(|has| has.min >= bounds.min && has.max >= bounds.max);
        if !enough {
            return Some(Step::Do(Act::Autoscale(bounds)));
        }
    }
    if let Some(budget) = view.world.budget.as_ref().filter(|_| is_unshielded(view, &labels)) {
        let settings = &view.settings.candidate;
        let due = copy::budget(
            budget,
            view.world.original.name(),
            settings,
            need,
            view.record.total,
            view.fence,
        );
        let has = view.world.copy_budget.as_ref().map(|has| &has["spec"]["minAvailable"]);
        if has != Some(&due["spec"]["minAvailable"]) {
            return Some(Step::Do(Act::Shield { pods: need }));
        }
    }
    (copy.replicas() < need).then_some(Step::Do(Act::ScaleCopy(need)))
}

/// Two budgets over one pod make every eviction fail.
fn is_unshielded(view: &View<'_>, labels: &std::collections::BTreeMap<String, String>) -> bool {
    let selector = view.world.budget.as_ref().map(|budget| &budget["spec"]["selector"]);
    selector.is_some_and(|selector| !crate::workload::selects(selector, labels))
}

/// Capacity that is not needed any more goes once the requests under way have had their time.
fn shrink(view: &View<'_>, wanted: &Split, need: u32) -> Step {
    let Some(copy) = &view.world.copy else {
        return view.await_copy(need);
    };
    let bounds = view.bounds(need, wanted);
    let has = view.world.copy_autoscaler.as_ref().and_then(copy::bounds);
    let is_large = match (bounds, has) {
        (Some(bounds), Some(has)) => has != bounds,
        (Some(_), None) => false,
        (None, _) => copy.replicas() > need,
    };
    if !is_large {
        return Step::Done(Progress::Settled);
    }
    let Some(since) = view.record.spare_since else {
        return Step::Do(Act::Remember(Record {
            spare_since: Some(view.now),
            ..view.record.clone()
        }));
    };
    if view.now < view.drain.after(since) {
        return Step::Done(Progress::Settled);
    }
    match bounds {
        Some(bounds) => Step::Do(Act::Autoscale(bounds)),
        None => Step::Do(Act::ScaleCopy(need)),
    }
}

/// Takes traffic away from the candidate, as soon as the baseline has one pod to take it.
pub fn lower(view: &View<'_>, to: Split) -> Step {
    let gives_back = to.share < view.world.standing.split.share;
    let is_known = !matches!(view.runs(), Runs::Other(_));
    if let Some(step) = view.refilled().filter(|_| gives_back && is_known) {
        return step;
    }
    if gives_back && !view.original_can_serve() {
        return view.await_original("the baseline cannot take the traffic back yet");
    }
    Step::Do(Act::Split(to))
}

/// What both splits have: on the way down nothing goes up.
pub fn common(standing: &Split, wanted: &Split) -> Split {
    Split {
        share: standing.share.min(wanted.share),
        mirror: standing.mirror.min(wanted.mirror),
        audience: if standing.audience == wanted.audience {
            standing.audience.clone()
        } else {
            Default::default()
        },
    }
}

/// After a promotion that is taken back to a share: the copy serves while the original gets the baseline's image again.
fn unpromote(view: &View<'_>) -> Step {
    let full = Split {
        share: meridian_workflows::share::Share::FULL,
        ..Split::none()
    };
    match towards(view, &full) {
        Step::Done(Progress::Settled) => Step::Do(super::back::restore(view)),
        step => step,
    }
}

fn already(view: &View<'_>) -> String {
    let (name, candidate) = (view.world.original.name(), &view.desired.candidate);
    format!(
        "the Deployment {name} has been given {candidate} by somebody else: there is no baseline left to share traffic with"
    )
}

/// The original runs something that no order knows: nothing of it is touched, and traffic is never raised.
fn elsewhere(view: &View<'_>, image: &str) -> Step {
    let name = view.world.original.name();
    stuck(format!(
        "somebody else has deployed to {name}: it runs {image}, which is neither the baseline {} nor the candidate {}",
        view.desired.baseline, view.desired.candidate
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::scene::{autoscaler, given, joined, original, percent, serving};
    use super::super::{Act, Step};
    use crate::record::Original;
    use crate::traffic::Split;

    fn split(share: u16) -> Step {
        Step::Do(Act::Split(Split {
            share: percent(share),
            ..Split::none()
        }))
    }

    #[test]
    fn a_share_is_lowered_whatever_the_original_runs_and_only_then_it_is_stuck() {
        for image in ["shop:hotfix", "shop:v2"] {
            let scene = given(json!({}), serving(10))
                .shared(2, 50)
                .original(original(image, 4, 4));
            assert_eq!(scene.next(), split(10), "{image}");
            let scene = given(json!({}), serving(10))
                .shared(2, 10)
                .original(original(image, 4, 4));
            assert!(scene.is_stuck(), "{image}: {:?}", scene.next());
        }
        let mut restored = given(json!({}), serving(10)).shared(4, 50);
        restored.record.original = Original::Restored;
        assert_eq!(restored.next(), split(10));
    }

    #[test]
    fn where_pods_are_the_share_it_is_lowered_too() {
        let mut scene = given(json!({"traffic": {"pods": {}}}), serving(25)).original(original("shop:hotfix", 2, 2));
        scene.world.copy = Some(joined(2));
        assert_eq!(scene.next(), Step::Do(Act::ScaleCopy(1)));
        scene.world.copy = Some(joined(1));
        assert!(scene.is_stuck());
    }

    #[test]
    fn a_raise_is_never_made_over_an_unknown_image() {
        let scene = given(json!({}), serving(50))
            .shared(2, 10)
            .original(original("shop:hotfix", 4, 4));
        assert!(scene.is_stuck(), "{:?}", scene.next());
    }

    #[test]
    fn mirrored_traffic_and_audiences_find_an_autoscaler_that_can_grow() {
        use meridian_engine::run::effect::DesiredState;
        use meridian_workflows::workflow::Exposure;
        let most = |state| {
            let mut scene = given(json!({}), state);
            scene.world.autoscaler = Some(autoscaler(2, 20));
            let DesiredState::Serving(exposure) = &scene.desired.state else {
                panic!()
            };
            let view = scene.view();
            let wanted = Split::of(exposure);
            view.bounds(view.need(&wanted), &wanted).unwrap().max
        };
        assert_eq!(most(DesiredState::Serving(Exposure::Shadow(percent(50)))), 10);
        let audience = std::collections::BTreeMap::from([("header".to_owned(), "x=y".to_owned())]);
        assert_eq!(most(DesiredState::Serving(Exposure::Audience(audience))), 20);
        assert_eq!(most(serving(50)), 10);
        assert_eq!(most(serving(0)), 1);
    }

    #[test]
    fn what_shrinks_at_a_live_share_has_not_drained_when_it_is_withdrawn() {
        use meridian_engine::ports::provider::Order;
        use meridian_engine::run::effect::DesiredState;
        let scene = given(json!({}), serving(10)).shared(4, 10).reached();
        let Step::Do(Act::Remember(record)) = scene.next() else {
            panic!("{:?}", scene.next());
        };
        let mut desired = scene.desired.clone();
        desired.state = DesiredState::Withdrawn;
        let order = Order::rehearsed(desired, super::super::scene::FENCE);
        let next = crate::record::Record::of(&order, Some(&record), 4, false);
        assert_eq!(next.idle_since, None);
    }
}
