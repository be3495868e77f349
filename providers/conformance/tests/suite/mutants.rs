//! Every mistake that the model can be given is found, and found by a behaviour that is about it.

use std::collections::BTreeSet;

use meridian_conformance::suite::{BEHAVIOURS, run};

use crate::model::provider::Mistake;
use crate::model::rig::Models;

#[tokio::test(start_paused = true)]
async fn a_provider_without_a_mistake_passes_every_behaviour() {
    let report = run(&Models { mistake: None }).await;
    assert_eq!(report.complaint(), None);
    let (passed, _, not_tried) = report.counts();
    assert_eq!((passed, not_tried), (BEHAVIOURS.len(), 0), "{report:#?}");
}

/// Each mistake with a behaviour that has to find it, whichever others do too.
const FOUND_BY: &[(Mistake, &str)] = &[
    (
        Mistake::IgnoresFences,
        "an order with a lower fence is stale and changes nothing",
    ),
    (
        Mistake::ComparesClaimsOnly,
        "an order with a lower fence is stale and changes nothing",
    ),
    (
        Mistake::ComparesNumbersOnly,
        "a higher claim, epoch or number wins, in that order",
    ),
    (Mistake::ForgetsTheFence, "the fence outlives promotion and withdrawal"),
    (
        Mistake::KeepsTheFenceToItself,
        "shares climb the ladder and never exceed their order",
    ),
    (Mistake::Waits, "no call waits for the platform"),
    (Mistake::NeverGivesUp, "a server that says nothing is given up in time"),
    (Mistake::RaisesBeforeReady, "traffic never goes to what is not ready"),
    (
        Mistake::BelievesTheFirstReady,
        "ready for a moment, again and again, is not ready",
    ),
    (
        Mistake::SettlesOnWriting,
        "shares climb the ladder and never exceed their order",
    ),
    (Mistake::SettlesFromMemory, "traffic that others took back is noticed"),
    (
        Mistake::TakesCapacityFirst,
        "in one order, without a revert before the withdrawal",
    ),
    (
        Mistake::RetiresTheBaselineFirst,
        "traffic never goes to what is not ready",
    ),
    (Mistake::DeploysAgain, "the release can go out again afterwards"),
    (
        Mistake::WritesEveryTime,
        "a settled order that is asked again writes nothing",
    ),
    (
        Mistake::OvershootsOnTheWay,
        "shares climb the ladder and never exceed their order",
    ),
    (
        Mistake::RoundsUp,
        "shares climb the ladder and never exceed their order",
    ),
    (
        Mistake::RevertWaitsForTheCandidate,
        "a crash loop is told with its exit code",
    ),
    (Mistake::CannotUndoPromotion, "after a promotion"),
    (Mistake::LeavesTheCandidate, "from a staged candidate"),
    (Mistake::DrainsFirst, "takes the traffic before anything else"),
    (Mistake::RemembersInProcess, "from a staged candidate"),
    (Mistake::NeverStuck, "an image that cannot be had is told"),
    (Mistake::SaysNothingOfUse, "a quota that is used up is told"),
    (Mistake::HidesTheDiagnosis, "running out of memory is told"),
    (Mistake::EverythingIsTransient, "missing permission is told as lasting"),
    (Mistake::EverythingIsLasting, "5xx is told as transient"),
    (
        Mistake::ForgetsWhenToRetry,
        "429 is told as transient, with the time to wait",
    ),
    (
        Mistake::TakesErrorsForRest,
        "an answer that cannot be read is no success",
    ),
    (Mistake::IgnoresFailedWrites, "5xx is told as transient"),
    (
        Mistake::NamesEachSpelling,
        "a target has one name, however it is spelled",
    ),
    (
        Mistake::NamesEachRelease,
        "a target has one name, however it is spelled",
    ),
    (Mistake::NamesAllAlike, "a target has one name, however it is spelled"),
    (
        Mistake::TakesAnySettings,
        "settings that are not sound are refused, with what is wrong",
    ),
    (
        Mistake::MissingIsTransient,
        "a target that does not exist is refused for good, by name",
    ),
    (
        Mistake::MissingIsMade,
        "a target that does not exist is refused for good, by name",
    ),
    (
        Mistake::WritesWhileLooking,
        "a look tells the baseline and changes nothing",
    ),
    (
        Mistake::TellsWhatWasOrdered,
        "a look tells what is, not what was ordered",
    ),
    (
        Mistake::TellsNoBaseline,
        "a look tells the baseline and changes nothing",
    ),
    (
        Mistake::SaysYesToEverything,
        "what the platform cannot do is refused for good",
    ),
    (
        Mistake::MirrorsAreLive,
        "mirrored traffic leaves the live traffic alone",
    ),
    (
        Mistake::RetiresWhatServes,
        "releasing what already serves moves nothing",
    ),
    (
        Mistake::DoesNotNoticeOthers,
        "a candidate that others scaled away is noticed",
    ),
    (Mistake::StuckOnSecondPromotion, "promoting twice is promoting once"),
];

#[tokio::test(start_paused = true)]
async fn every_mistake_is_found() {
    let mut missed = Vec::new();
    let mut failed = BTreeSet::new();
    for (mistake, behaviour) in FOUND_BY {
        let report = run(&Models {
            mistake: Some(*mistake),
        })
        .await;
        let found: Vec<_> = report.failed().map(|(row, _)| row.behaviour.clone()).collect();
        assert!(
            BEHAVIOURS.iter().any(|known| known.name == *behaviour),
            "{behaviour} is no behaviour"
        );
        failed.extend(found.iter().cloned());
        if !found.iter().any(|name| name == behaviour) {
            missed.push(format!("{mistake:?} by `{behaviour}`; found by {found:?}"));
        }
    }
    assert!(missed.is_empty(), "not found:\n{}", missed.join("\n"));
    let never: Vec<_> = BEHAVIOURS
        .iter()
        .map(|known| known.name)
        .filter(|name| !failed.contains(*name))
        .collect();
    assert_eq!(
        never, [""; 0],
        "no mistake makes these fail: a check that cannot fail proves nothing"
    );
}
