//! The way back: traffic first, read back, then what was made for the candidate goes.

use meridian_engine::run::effect::Progress;

use super::drift::{self, Noticed};
use super::{Act, Runs, Step, View, floor, moving, pods, serving, stuck, waiting};
use crate::record::{Original, Record};
use crate::settings::Promotion;
use crate::traffic::Split;

/// The baseline serves everything; the copy is left standing.
pub fn reverted(view: &View<'_>) -> Step {
    if let Some(step) = traffic(view) {
        return step;
    }
    if view.record.idle_since.is_none() && view.world.copy.is_some() {
        // A later order to withdraw counts the drain from here.
        return Step::Do(Act::Remember(view.idle_from_now()));
    }
    served(view)
}

/// The baseline serves everything, and nothing of the candidate is left.
pub fn withdrawn(view: &View<'_>) -> Step {
    if let Some(step) = traffic(view) {
        return step;
    }
    removed(view)
        .or_else(|| floor::restored(view))
        .unwrap_or_else(|| served(view))
}

/// What differs since the baseline was brought back.
pub fn changed(view: &View<'_>) -> Option<Noticed> {
    let is_patched = view.record.original == Original::Restored && view.settings.promotion == Promotion::Patch;
    (is_patched && view.runs() == Runs::Candidate).then(|| Noticed::of_image(view, Original::Promoted))
}

/// A release of what serves already has one arm: a copy that is left from before is taken away, and nothing else moves.
pub fn same(view: &View<'_>) -> Step {
    if let Runs::Other(image) = view.runs() {
        let name = view.world.original.name();
        return stuck(format!(
            "somebody else has deployed to {name}: it runs {image}, not {}",
            view.desired.baseline
        ));
    }
    if view.world.copy.is_some() && !view.world.standing.split.is_none() {
        return serving::lower(view, Split::none());
    }
    if let Some(step) = removed(view).or_else(|| floor::restored(view)) {
        return step;
    }
    if view.world.original.is_rolled_out() {
        return Step::Done(Progress::Settled);
    }
    view.await_original("what is released serves already")
}

/// Whatever stands between the baseline and all of the traffic; none where it has it.
fn traffic(view: &View<'_>) -> Option<Step> {
    match view.runs() {
        Runs::Candidate if view.settings.promotion == Promotion::Patch => {
            // Whatever `drift` says: this is the way back.
            return Some(match changed(view) {
                Some(noticed) => drift::put_right(view, &noticed),
                None => Step::Do(restore(view)),
            });
        }
        Runs::Candidate => {
            let (name, baseline) = (view.world.original.name(), &view.desired.baseline);
            return Some(waiting(format!(
                "waits until Git has given {name} its image of {baseline} back"
            )));
        }
        Runs::Baseline | Runs::Other(_) => {}
    }
    if view.counts_pods() {
        return pods::back(view);
    }
    let standing = &view.world.standing;
    if !standing.split.is_none() {
        return Some(serving::lower(view, Split::none()));
    }
    let is_older = standing.fence.is_some_and(|fence| fence < view.fence);
    // Equal, but not yet ours: the stamp keeps an older order in flight from raising it again.
    (standing.oddity.is_some() || is_older).then(|| Step::Do(Act::Split(Split::none())))
}

/// Gives the original the baseline's image back.
pub fn restore(view: &View<'_>) -> Act {
    Act::Image {
        image: view.baseline().to_owned(),
        record: Record {
            original: Original::Restored,
            idle_since: None,
            promoted_since: None,
            ..view.record.clone()
        },
    }
}

/// Takes away the candidate's objects once the requests under way have had their time; none where nothing is left.
pub fn removed(view: &View<'_>) -> Option<Step> {
    let world = view.world;
    if world.copy.is_none() && world.copy_autoscaler.is_none() && world.copy_budget.is_none() {
        return None;
    }
    if view.record.exposed {
        let Some(since) = view.record.idle_since else {
            return Some(Step::Do(Act::Remember(view.idle_from_now())));
        };
        if view.now < view.drain.after(since) {
            let name = &world.arms.candidate.deployment;
            return Some(waiting(format!(
                "{name} has no traffic any more and drains for {}",
                view.drain
            )));
        }
    }
    if world.copy.as_ref().is_some_and(|copy| copy.is_leaving()) {
        return Some(moving(format!(
            "the Deployment {} is being deleted",
            world.arms.candidate.deployment
        )));
    }
    Some(Step::Do(Act::RemoveCopy))
}

/// Whether the baseline is really what serves, and serves well.
fn served(view: &View<'_>) -> Step {
    if let Runs::Other(image) = view.runs() {
        let name = view.world.original.name();
        return stuck(format!(
            "all traffic is on {name}, but somebody else has deployed to it: it runs {image}, not the baseline {}",
            view.desired.baseline
        ));
    }
    let original = &view.world.original;
    let is_enough = view.original_can_serve() && original.is_observed();
    if is_enough || original.replicas() == 0 {
        return Step::Done(Progress::Settled);
    }
    view.await_original("the baseline has all of the traffic")
}
