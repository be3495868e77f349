//! While the candidate has the traffic, the autoscaler of an idle baseline would take away the pods that the way back needs: its
//! least number is raised for so long, and what it was found with stands on the autoscaler itself.

use meridian_workflows::duration::Duration;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Act, Step, View, waiting};
use crate::copy;

/// The annotation that says what the least number was before.
pub const FLOOR_MEMORY: &str = "meridian/floor";
/// An autoscaler sees new load within this time: what nodes measure is averaged over half a minute, and looked at every quarter.
const SEEN_AFTER: Duration = Duration::from_millis(60_000);

/// The least number of pods that an autoscaler was found with, and the one that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Floor {
    pub found: u32,
    pub raised: u32,
}

impl Floor {
    fn of(autoscaler: &Value) -> Option<Floor> {
        let annotations = autoscaler.pointer("/metadata/annotations")?;
        serde_json::from_str(annotations.get(FLOOR_MEMORY)?.as_str()?).ok()
    }
}

/// The least number that the baseline is to keep; none where no autoscaler sets its pods.
pub fn due(view: &View<'_>) -> Option<u32> {
    if view.counts_pods() {
        return None;
    }
    let most = copy::bounds(view.world.autoscaler.as_ref()?)?.max;
    Some(view.record.total.min(most))
}

/// Keeps the baseline at its size; none where it is kept.
pub fn raised(view: &View<'_>) -> Option<Step> {
    let (due, least) = (due(view)?, least(view)?);
    if least >= due {
        return None;
    }
    // What is there is what somebody wants, but for the number that was put there before.
    let ours = Floor::of(view.world.autoscaler.as_ref()?).filter(|floor| floor.raised == least);
    let memory = Floor {
        found: ours.map_or(least, |floor| floor.found),
        raised: due,
    };
    Some(Step::Do(Act::Floor {
        least: due,
        memory: Some(memory),
    }))
}

/// Gives the autoscaler its own least number back, once it has seen the load that has come back; none where that is done.
pub fn restored(view: &View<'_>) -> Option<Step> {
    let (floor, least) = (Floor::of(view.world.autoscaler.as_ref()?)?, least(view)?);
    if let Some(since) = view.record.idle_since
        && view.now < SEEN_AFTER.after(since)
    {
        let name = view.world.original.name();
        return Some(waiting(format!(
            "the autoscaler of {name} is held at {least} pods until it has seen the load for {SEEN_AFTER}"
        )));
    }
    Some(Step::Do(Act::Floor {
        // Another number is somebody else's by now.
        least: if least == floor.raised { floor.found } else { least },
        memory: None,
    }))
}

/// The least number that the baseline's autoscaler has now.
pub fn least(view: &View<'_>) -> Option<u32> {
    Some(copy::bounds(view.world.autoscaler.as_ref()?)?.min)
}

#[cfg(test)]
mod tests {
    use meridian_engine::run::effect::{DesiredState, Progress};
    use serde_json::json;

    use super::super::scene::{Scene, autoscaler, given, original, serving};
    use super::super::{Act, Step};
    use super::Floor;

    const RAISED: Floor = Floor { found: 2, raised: 4 };

    fn raised(mut scene: Scene) -> Scene {
        let mut scaler = autoscaler(4, 20);
        scaler["metadata"]["annotations"] = json!({"meridian/floor": r#"{"found":2,"raised":4}"#});
        scene.world.autoscaler = Some(scaler);
        scene
    }

    #[test]
    fn the_baseline_is_kept_at_its_size_before_the_candidate_gets_a_share() {
        let mut scene = given(json!({}), serving(50)).shared(2, 0);
        scene.world.autoscaler = Some(autoscaler(2, 20));
        scene.world.copy_autoscaler = Some(autoscaler(2, 10));
        let kept = Step::Do(Act::Floor {
            least: 4,
            memory: Some(RAISED),
        });
        assert_eq!(scene.next(), kept);
        scene.world.autoscaler = Some(autoscaler(2, 3));
        let Step::Do(Act::Floor { least: 3, .. }) = scene.next() else {
            panic!("{:?}", scene.next());
        };
    }

    #[test]
    fn a_staged_candidate_leaves_it_alone() {
        let mut scene = given(json!({}), serving(0)).shared(1, 0).reached();
        scene.world.autoscaler = Some(autoscaler(2, 20));
        scene.world.copy_autoscaler = Some(autoscaler(1, 1));
        assert_eq!(scene.next(), Step::Done(Progress::Settled));
    }

    #[test]
    fn it_gets_its_own_number_back_once_it_has_seen_the_load() {
        let mut scene = raised(given(json!({}), DesiredState::Withdrawn));
        scene.record.idle_since = Some(scene.now);
        assert!(
            matches!(scene.next(), Step::Done(Progress::Waiting { .. })),
            "{:?}",
            scene.next()
        );
        scene.now = "2026-01-01T00:01:00Z".parse().unwrap();
        let back = Step::Do(Act::Floor { least: 2, memory: None });
        assert_eq!(scene.next(), back);
        let mut promoted = raised(given(json!({}), DesiredState::Promoted)).original(original("shop:v2", 4, 4));
        promoted.record.original = crate::record::Original::Promoted;
        assert_eq!(promoted.next(), back);
    }

    #[test]
    fn a_number_that_others_have_set_meanwhile_stays() {
        let mut scene = raised(given(json!({}), DesiredState::Withdrawn));
        if let Some(scaler) = &mut scene.world.autoscaler {
            scaler["spec"]["minReplicas"] = json!(7);
        }
        assert_eq!(scene.next(), Step::Do(Act::Floor { least: 7, memory: None }));
    }
}
