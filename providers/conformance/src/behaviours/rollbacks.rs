//! Back to the baseline, from wherever the release is.

use meridian_engine::run::effect::{DesiredState, Progress};
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::RollbackSpeed;

use super::opening::capabilities;
use crate::rig::Workshop;
use crate::trial::{Outcome, Trial, not_tried, serving};

/// How far an order is let on its way before it is turned back: asks with time between.
const MIDWAYS: [usize; 4] = [0, 1, 3, 8];

/// Longer than any traffic may be kept waiting.
const LONG_DRAIN: Duration = Duration::from_secs(60 * 60);

/// Asks within which traffic is back where a rollback is instant.
const AT_ONCE: usize = 5;

pub async fn from_staged(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    trial.climb(0).await?;
    trial.roll_back().await
}

pub async fn from_every_share(workshop: &dyn Workshop) -> Outcome {
    let rungs = Trial::begin(workshop).await?.shares().len();
    for rung in 1..=rungs {
        let mut trial = Trial::begin(workshop).await?;
        trial.climb(rung).await?;
        trial.roll_back().await?;
    }
    Ok(())
}

pub async fn midway_through_shifts(workshop: &dyn Workshop) -> Outcome {
    let shares = Trial::begin(workshop).await?.shares();
    for (rung, share) in shares.iter().enumerate() {
        for times in MIDWAYS {
            let mut trial = Trial::begin(workshop).await?;
            trial.climb(rung).await?;
            let order = trial.order(serving(*share));
            midway(&mut trial, &order, times).await?;
            trial.roll_back().await?;
        }
    }
    Ok(())
}

pub async fn midway_through_promotion(workshop: &dyn Workshop) -> Outcome {
    for times in MIDWAYS {
        let mut trial = Trial::begin(workshop).await?;
        trial.climb_all().await?;
        let order = trial.order(DesiredState::Promoted);
        midway(&mut trial, &order, times).await?;
        trial.roll_back().await?;
    }
    Ok(())
}

/// Asks once, and so many times more with time between.
async fn midway(trial: &mut Trial, order: &meridian_engine::ports::provider::Order, times: usize) -> Outcome {
    trial.told(order).await?;
    trial.ask_times(order, times).await?;
    Ok(())
}

pub async fn after_promotion(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    trial.climb_all().await?;
    trial.reach(DesiredState::Promoted).await?;
    trial.roll_back().await
}

pub async fn at_once(workshop: &dyn Workshop) -> Outcome {
    for is_promoted in [false, true] {
        let mut trial = Trial::begin(workshop).await?;
        trial.climb_all().await?;
        if is_promoted {
            trial.reach(DesiredState::Promoted).await?;
        }
        trial.reach(DesiredState::Withdrawn).await?;
        trial.is_back().await?;
    }
    Ok(())
}

pub async fn of_nothing(workshop: &dyn Workshop) -> Outcome {
    for first in [DesiredState::Reverted, DesiredState::Withdrawn] {
        let mut trial = Trial::begin(workshop).await?;
        trial.reach(first).await?;
        trial.roll_back().await?;
        trial.roll_back().await?;
    }
    Ok(())
}

pub async fn traffic_first(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    match capabilities(&trial)?.rollback {
        RollbackSpeed::Instant | RollbackSpeed::Pinned(_) => {}
        RollbackSpeed::Restarts => return not_tried("the baseline has to be started again first"),
    }
    // The share below everything: at all of it a platform may have swapped, which takes time to undo.
    let below = trial.shares().iter().filter(|share| !share.is_full()).count();
    if below == 0 {
        return not_tried("the ladder has one share, which is all of the traffic");
    }
    trial.climb(below).await?;
    let drain = std::mem::replace(&mut trial.target.ladder.drain, LONG_DRAIN);
    let order = trial.order(DesiredState::Withdrawn);
    let back = trial.ask_times(&order, AT_ONCE).await?;
    let left = trial.rig.truth().await.candidate_share;
    trial.check(left.is_zero(), || {
        format!("asked {AT_ONCE} times to take the traffic back, {left} is still on the candidate: {back:?}")
    })?;
    trial.target.ladder.drain = drain;
    trial.settle(&order).await
}

pub async fn and_out_again(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    trial.climb_all().await?;
    trial.reach(DesiredState::Reverted).await?;
    trial.climb(1).await?;
    trial.roll_back().await?;
    trial.climb_all().await?;
    trial.reach(DesiredState::Promoted).await?;
    trial.roll_back().await?;
    let order = trial.order(serving(Share::ZERO));
    trial.settle(&order).await?;
    let progress = trial.told(&order).await?;
    trial.check(progress == Progress::Settled, || {
        format!("staged once more, it is {progress:?}")
    })
}
