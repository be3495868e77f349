//! Others change what was ordered: it is noticed, and told or put right, never passed over.

use meridian_engine::run::effect::{DesiredState, Progress};
use meridian_workflows::share::Share;

use crate::rig::{Meddling, Workshop};
use crate::trial::{Outcome, Trial, serving};

pub async fn traffic_reverted(workshop: &dyn Workshop) -> Outcome {
    is_noticed(workshop, Meddling::RevertTraffic).await
}

pub async fn candidate_scaled_away(workshop: &dyn Workshop) -> Outcome {
    is_noticed(workshop, Meddling::ScaleCandidateAway).await
}

pub async fn candidate_deleted(workshop: &dyn Workshop) -> Outcome {
    is_noticed(workshop, Meddling::DeleteCandidate).await
}

/// The order is asked on: it is settled only in truth (every answer is held to that), and else says why it is not.
async fn is_noticed(workshop: &dyn Workshop, meddling: Meddling) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    trial.reach(serving(Share::ZERO)).await?;
    let order = trial.order(serving(trial.first_share()?));
    trial.settle(&order).await?;
    trial.meddle(meddling).await?;
    // A share on what others took away is theirs; that it stays there while it is asked about would be ours.
    trial.may_lose();
    let truth = trial.rig.truth().await;
    let seen = trial.seen().await?.observation;
    if meddling == Meddling::RevertTraffic {
        trial.check(seen.candidate_share == truth.candidate_share, || {
            format!(
                "others left {} to the candidate, and a look says {}",
                truth.candidate_share, seen.candidate_share
            )
        })?;
    }
    let settled = trial
        .until_any(&order, |progress| *progress == Progress::Settled)
        .await?;
    if settled.is_none() {
        let held = trial.told(&order).await?;
        let is_told = match &held {
            Progress::Moving { why: Some(why) } | Progress::Waiting { why } | Progress::Stuck { why } => {
                !why.is_empty()
            }
            Progress::Settled | Progress::Moving { why: None } | Progress::Stale { .. } => false,
        };
        trial.check(is_told, || {
            format!("others did {meddling:?}, and the order is {held:?} without a reason")
        })?;
    }
    trial.reach(DesiredState::Reverted).await?;
    trial.reach(DesiredState::Withdrawn).await?;
    trial.is_back().await
}
