//! Where pods are the share: the numbers of both arms' pods move against each other, the candidate's never above its part.

use meridian_engine::run::effect::Progress;
use meridian_workflows::share::Share;

use super::{Act, Step, View, moving};
use crate::traffic::{Counts, Placement, Split};

/// So many pods of each arm.
pub fn towards(view: &View<'_>, wanted: &Split) -> Step {
    let Some(counts) = counts(view, wanted.share) else {
        return moving("this mechanism counts no pods");
    };
    if wanted.share.is_zero() {
        return staged(view, counts);
    }
    let original = &view.world.original;
    let Some(copy) = &view.world.copy else {
        return Step::Do(Act::Stand {
            replicas: counts.candidate,
            placement: Placement::Joined,
        });
    };
    if copy.is_leaving() {
        return moving(format!("the Deployment {} is still being deleted", copy.name()));
    }
    if copy.image() != view.candidate() || !is_joined(view) {
        return Step::Do(Act::Stand {
            replicas: counts.candidate,
            placement: Placement::Joined,
        });
    }
    if copy.replicas() > counts.candidate {
        // On the way down the baseline is asked for its pods in the same breath, and not waited for where it has one.
        if original.replicas() < counts.baseline {
            return Step::Do(Act::ScaleOriginal(counts.baseline));
        }
        if original.ready() == 0 {
            return view.await_original("the baseline cannot take the traffic back yet");
        }
        return Step::Do(Act::ScaleCopy(counts.candidate));
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
        Some(copy) if copy.image() != view.candidate() || is_joined(view) => stand,
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
    if copy.replicas() > 0 {
        if original.ready() == 0 {
            return Some(view.await_original("the baseline cannot take the traffic back yet"));
        }
        return Some(Step::Do(Act::ScaleCopy(0)));
    }
    (!copy.is_observed() || copy.standing() > 0)
        .then(|| moving(format!("the last pods of {} leave the Service", copy.name())))
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
