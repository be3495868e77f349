//! What somebody else has changed since an order was reached, and what is done about it.

use meridian_engine::run::effect::Progress;

use super::{Act, Step, View, moving};
use crate::settings::Drift;
use crate::traffic::Split;

/// The answer to a change by somebody else; none where there is none, or where it is to be put right.
pub fn next(view: &View<'_>, wanted: &Split) -> Option<Step> {
    if !view.record.reached {
        return None;
    }
    let what = noticed(view, wanted)?;
    match view.settings.drift {
        Drift::Reassert { times } => {
            let done = view.record.reasserted_lately(view.now);
            if done >= usize::try_from(times).unwrap_or(usize::MAX) {
                return Some(moving(format!(
                    "{what}; it was put right {done} times within ten minutes and is left as it is now"
                )));
            }
            Some(Step::Do(Act::Remember(view.record.reasserting(&what, view.now))))
        }
        Drift::Hold => Some(moving(format!("{what}; it is left as it is (`drift: hold`)"))),
        // What exposes users to more than was ordered is never tolerated.
        Drift::Report if exceeds(&view.world.standing.split, wanted) => {
            Some(moving(format!("{what}, which is more than was ordered")))
        }
        Drift::Report => Some(Step::Done(Progress::Settled)),
    }
}

/// What differs from what was once reached, in plain words.
pub fn noticed(view: &View<'_>, wanted: &Split) -> Option<String> {
    let world = view.world;
    let name = &world.arms.candidate.deployment;
    let Some(copy) = &world.copy else {
        return Some(format!("somebody else has deleted the candidate's Deployment {name}"));
    };
    if copy.is_leaving() {
        return Some(format!("somebody else is deleting the candidate's Deployment {name}"));
    }
    if copy.image() != view.candidate() {
        return Some(format!("somebody else has given {name} the image {}", copy.image()));
    }
    let need = match view
        .mechanism
        .and_then(|mechanism| mechanism.counts(wanted.share, view.record.total))
    {
        Some(counts) if !wanted.share.is_zero() => counts.candidate,
        Some(_) | None => view.need(wanted),
    };
    if copy.replicas() < need {
        return Some(format!(
            "somebody else has scaled {name} to {} of {need} pods",
            copy.replicas()
        ));
    }
    // Where pods are the share, a pod that is not ready is no change by anybody.
    if view.counts_pods() {
        return None;
    }
    let (standing, wanted) = (&world.standing, view.reachable(wanted));
    if standing.split.share != wanted.share {
        let (is, was) = (standing.split.share, wanted.share);
        return Some(format!(
            "somebody else has set the candidate's share to {is} instead of {was}"
        ));
    }
    if standing.split.mirror != wanted.mirror {
        let (is, was) = (standing.split.mirror, wanted.mirror);
        return Some(format!(
            "somebody else has set the mirrored share to {is} instead of {was}"
        ));
    }
    if standing.split.audience != wanted.audience {
        return Some("somebody else has changed who is routed to the candidate".to_owned());
    }
    standing
        .oddity
        .as_ref()
        .map(|oddity| format!("somebody else has changed the routes: {oddity}"))
}

fn exceeds(standing: &Split, wanted: &Split) -> bool {
    standing.share > wanted.share
        || standing.mirror > wanted.mirror
        || (!standing.audience.is_empty() && standing.audience != wanted.audience)
}
