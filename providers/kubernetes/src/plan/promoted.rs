//! The candidate becomes the original: all traffic on the copy, the original rolled and verified, the traffic returned, the
//! copy gone. Where it stands is read off the world, so that it goes on from any crash.

use meridian_engine::run::effect::Progress;
use meridian_workflows::share::Share;

use super::{Act, Runs, Step, View, back, serving, stuck, waiting};
use crate::record::{Original, Record};
use crate::settings::Promotion;
use crate::traffic::Split;

pub fn next(view: &View<'_>) -> Step {
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

/// The copy carries everything, the old version is kept for its time, then the original is given the candidate's image.
fn hand_over(view: &View<'_>) -> Step {
    let full = Split {
        share: Share::FULL,
        ..Split::none()
    };
    match serving::towards(view, &full) {
        Step::Done(Progress::Settled) => {}
        step => return step,
    }
    let (name, baseline) = (view.world.original.name(), &view.desired.baseline);
    let Some(since) = view.record.promoted_since else {
        let record = Record {
            promoted_since: Some(view.now),
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
    if view.counts_pods() && world.original.replicas() < view.record.total {
        return Step::Do(Act::ScaleOriginal(view.record.total));
    }
    if let Some(step) = view.refilled().filter(|_| !world.standing.split.is_none()) {
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
    match back::removed(view) {
        Some(step) => step,
        None => Step::Done(Progress::Settled),
    }
}
