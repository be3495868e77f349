//! The Deployment itself is rolled, pod by pod, by its own controller: all or nothing is ordered, its image says which.

use meridian_engine::run::effect::{DesiredState, Progress};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;
use serde_json::Value;

use super::drift::{self, Noticed};
use super::{Act, Runs, Step, View, stuck};
use crate::record::{Original, Record};
use crate::settings::Strategy;

pub fn next(view: &View<'_>) -> Step {
    let Some(to_candidate) = goes_out(view) else {
        return stuck("a rolling update serves 0% or 100% and nothing between: only those can be ordered");
    };
    let name = view.world.original.name();
    match (changed(view), to_candidate) {
        (Some(noticed), true) => return drift::answer(view, noticed),
        // Whatever `drift` says: this is the way back.
        (Some(noticed), false) => return drift::put_right(view, &noticed),
        (None, _) => {}
    }
    match (view.runs(), to_candidate) {
        (Runs::Other(other), _) => stuck(format!(
            "somebody else has deployed to {name}: it runs {other}, which is neither the baseline {} nor the candidate {}",
            view.desired.baseline, view.desired.candidate
        )),
        (Runs::Baseline, true) => {
            let pace = view.record.pace.clone().or_else(|| pace(view));
            image(view.candidate(), view, Original::Promoted, pace)
        }
        (Runs::Candidate, false) => image(view.baseline(), view, Original::Restored, view.record.pace.clone()),
        (Runs::Baseline, false) | (Runs::Candidate, true) => settled(view, to_candidate),
    }
}

/// Whether the candidate is to serve; none where it is to serve a part.
fn goes_out(view: &View<'_>) -> Option<bool> {
    match &view.desired.state {
        DesiredState::Serving(Exposure::Traffic(share)) if share.is_zero() => Some(false),
        DesiredState::Serving(Exposure::Traffic(share)) if *share == Share::FULL => Some(true),
        DesiredState::Serving(_) => None,
        DesiredState::Promoted => Some(true),
        DesiredState::Reverted | DesiredState::Withdrawn => Some(false),
    }
}

/// What differs since the Deployment was given the image that is ordered.
pub fn changed(view: &View<'_>) -> Option<Noticed> {
    match (goes_out(view)?, view.runs(), view.record.original) {
        (true, Runs::Baseline, Original::Promoted) => Some(Noticed::of_image(view, Original::Restored)),
        (false, Runs::Candidate, Original::Restored) => Some(Noticed::of_image(view, Original::Promoted)),
        (true | false, Runs::Baseline | Runs::Candidate | Runs::Other(_), _) => None,
    }
}

fn image(image: &str, view: &View<'_>, original: Original, pace: Option<Value>) -> Step {
    Step::Do(Act::Image {
        image: image.to_owned(),
        record: Record {
            original,
            pace,
            ..view.record.clone()
        },
    })
}

/// What the settings are about to change of the Deployment's own pace, as it stands: null where it stands nowhere.
fn pace(view: &View<'_>) -> Option<Value> {
    let Strategy::Rolling(rolling) = &view.settings.strategy else {
        return None;
    };
    let spec = &view.world.original.object()["spec"];
    let is_set = [
        (
            "strategy",
            rolling.max_surge.is_some() || rolling.max_unavailable.is_some(),
        ),
        ("minReadySeconds", rolling.min_ready_seconds.is_some()),
        ("progressDeadlineSeconds", rolling.progress_deadline_seconds.is_some()),
    ];
    let found: serde_json::Map<String, Value> = is_set
        .into_iter()
        .filter(|(_, is_set)| *is_set)
        .map(|(key, _)| (key.to_owned(), spec[key].clone()))
        .collect();
    (!found.is_empty()).then_some(Value::Object(found))
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

#[cfg(test)]
mod tests {
    use meridian_engine::run::effect::DesiredState;
    use serde_json::{Value, json};

    use super::super::scene::{Scene, given, original, serving};
    use super::super::{Act, Step};
    use crate::record::Original;

    fn rolled(drift: Value, state: DesiredState, by: Original, image: &str) -> Scene {
        let settings = json!({"strategy": "rolling", "traffic": null, "drift": drift});
        let mut scene = given(settings, state).original(original(image, 4, 4));
        scene.record.original = by;
        scene
    }

    #[test]
    fn an_image_that_others_take_back_is_put_right_so_many_times_and_told() {
        let scene = rolled(json!("reassert"), serving(100), Original::Promoted, "shop:v1");
        assert!(scene.noticed().contains("given shop its image of v1 back"));
        let held = rolled(json!("hold"), serving(100), Original::Promoted, "shop:v1");
        assert!(held.said().contains("`drift: hold`"), "{:?}", held.next());
        let first = rolled(json!("hold"), serving(100), Original::Untouched, "shop:v1");
        assert!(matches!(first.next(), Step::Do(Act::Image { .. })));
    }

    #[test]
    fn the_pace_that_was_found_is_remembered_with_the_image() {
        let settings =
            json!({"strategy": "rolling", "traffic": null, "rolling": {"maxSurge": 1, "minReadySeconds": 5}});
        let mut scene = given(settings, serving(100));
        let Step::Do(Act::Image { record, .. }) = scene.next() else {
            panic!("{:?}", scene.next());
        };
        assert_eq!(record.pace, Some(json!({"strategy": null, "minReadySeconds": 60})));
        scene.record = record;
        scene.desired.state = DesiredState::Reverted;
        scene.world.original = original("shop:v2", 4, 4);
        let Step::Do(Act::Image { record, .. }) = scene.next() else {
            panic!("{:?}", scene.next());
        };
        assert_eq!(record.pace, Some(json!({"strategy": null, "minReadySeconds": 60})));
    }

    #[test]
    fn a_rollback_puts_right_what_others_do_whatever_the_policy_says() {
        let mut scene = rolled(json!("hold"), DesiredState::Reverted, Original::Restored, "shop:v2");
        scene.record.reasserted = vec![scene.now; 9];
        assert!(scene.noticed().contains("given shop the image of v2"));
    }
}
