//! The Deployment itself is rolled, pod by pod, by its own controller: all or nothing is ordered, its image says which.

use meridian_engine::run::effect::{DesiredState, Progress};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;

use super::{Act, Runs, Step, View, stuck};
use crate::record::{Original, Record};

pub fn next(view: &View<'_>) -> Step {
    let to_candidate = match &view.desired.state {
        DesiredState::Serving(Exposure::Traffic(share)) if share.is_zero() => false,
        DesiredState::Serving(Exposure::Traffic(share)) if *share == Share::FULL => true,
        DesiredState::Serving(_) => {
            return stuck("a rolling update serves 0% or 100% and nothing between: only those can be ordered");
        }
        DesiredState::Promoted => true,
        DesiredState::Reverted | DesiredState::Withdrawn => false,
    };
    let (image, original) = if to_candidate {
        (view.candidate(), Original::Promoted)
    } else {
        (view.baseline(), Original::Restored)
    };
    match (view.runs(), to_candidate) {
        (Runs::Other(other), _) => {
            let name = view.world.original.name();
            stuck(format!(
                "somebody else has deployed to {name}: it runs {other}, which is neither the baseline {} nor the candidate {}",
                view.desired.baseline, view.desired.candidate
            ))
        }
        (Runs::Baseline, true) | (Runs::Candidate, false) => Step::Do(Act::Image {
            image: image.to_owned(),
            record: Record {
                original,
                ..view.record.clone()
            },
        }),
        (Runs::Baseline, false) | (Runs::Candidate, true) => settled(view, to_candidate),
    }
}

fn settled(view: &View<'_>, to_candidate: bool) -> Step {
    let is_there = match (to_candidate, view.record.original) {
        (true, _) => view.world.is_steady(view.settings.settle, view.now),
        // Nothing was rolled: the baseline stands as it always did.
        (false, Original::Untouched) => view.world.original.is_observed() && view.world.original.ready() > 0,
        (false, Original::Promoted | Original::Restored) => view.world.original.is_rolled_out(),
    };
    if is_there || view.world.original.replicas() == 0 {
        return Step::Done(Progress::Settled);
    }
    let version = if to_candidate {
        &view.desired.candidate
    } else {
        &view.desired.baseline
    };
    view.await_original(&format!("{version} is being rolled out"))
}
