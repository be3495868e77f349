//! Orders in the state of things that everybody hopes for.

use meridian_engine::ports::provider::Order;
use meridian_engine::run::effect::{DesiredState, Progress};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;

use super::opening::capabilities;
use crate::rig::{Offered, Workshop};
use crate::trial::{Outcome, Trial, not_tried, serving};

pub async fn stages(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    if let Offered::No(why) = trial.rig.stages() {
        return not_tried(why);
    }
    let order = trial.order(serving(Share::ZERO));
    trial.settle(&order).await?;
    reads_back(&trial, &order).await
}

pub async fn climbs(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    trial.reach(serving(Share::ZERO)).await?;
    for share in trial.shares() {
        let order = trial.order(serving(share));
        trial.settle(&order).await?;
        reads_back(&trial, &order).await?;
    }
    Ok(())
}

/// A settled order shows in a look as it was ordered.
async fn reads_back(trial: &Trial, order: &Order) -> Outcome {
    let observed = trial.seen().await?;
    let granted = trial.rig.granted(order.desired().state.share());
    let share = observed.observation.candidate_share;
    trial.check(share == granted, || {
        format!("settled, and a look says {share} instead of {granted}")
    })?;
    trial.check(observed.observation.is_settled, || {
        format!(
            "settled, and a look says that it is not: {:?}",
            observed.observation.diagnosis
        )
    })?;
    trial.check(observed.fence == Some(order.fence()), || {
        format!(
            "the platform remembers the fence {:?} instead of {}",
            observed.fence,
            order.fence()
        )
    })
}

pub async fn never_loses_traffic(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    // Straight to the first share, and from there straight to all: the provider brings up what it needs on the way.
    trial.reach(serving(trial.first_share()?)).await?;
    trial.reach(serving(Share::FULL)).await?;
    trial.reach(DesiredState::Promoted).await?;
    // The rest of the region at once: the old version goes when nobody needs it any more, not before.
    let mut trial = Trial::begin(workshop).await?;
    trial.reach(serving(trial.first_share()?)).await?;
    trial.reach(DesiredState::Promoted).await
}

pub async fn tells_what_is(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    let mut states = vec![serving(Share::ZERO)];
    states.extend(trial.shares().into_iter().map(serving));
    states.push(DesiredState::Reverted);
    for state in states {
        let order = trial.order(state);
        for _ in 0..trial.asks() {
            let progress = trial.told(&order).await?;
            is_told_as_it_is(&trial).await?;
            if progress == Progress::Settled {
                break;
            }
            trial.rig.pass(trial.rig.beat()).await;
            is_told_as_it_is(&trial).await?;
        }
    }
    Ok(())
}

/// A look gives the candidate what it has, whatever was ordered.
async fn is_told_as_it_is(trial: &Trial) -> Outcome {
    // Where time passes by itself, the share may change while it is looked at.
    let before = trial.rig.truth().await.candidate_share;
    let told = trial.seen().await?.observation.candidate_share;
    let after = trial.rig.truth().await.candidate_share;
    let (low, high) = (before.min(after), before.max(after));
    trial.check((low..=high).contains(&told), || {
        format!("the candidate has {after}, and a look says {told}")
    })
}

pub async fn lowers(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    if let Offered::No(why) = trial.rig.lowers() {
        return not_tried(why);
    }
    trial.climb_all().await?;
    for share in trial.shares().into_iter().rev().skip(1) {
        let order = trial.order(serving(share));
        trial.settle(&order).await?;
        reads_back(&trial, &order).await?;
    }
    trial.reach(serving(Share::ZERO)).await
}

pub async fn mirrors(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    if !capabilities(&trial)?.mirroring {
        return not_tried("the platform cannot mirror traffic");
    }
    trial.reach(serving(Share::ZERO)).await?;
    trial
        .reach(DesiredState::Serving(Exposure::Shadow(Share::FULL)))
        .await?;
    trial.reach(serving(trial.first_share()?)).await?;
    trial.roll_back().await
}

pub async fn promotes(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    trial.climb_all().await?;
    let order = trial.order(DesiredState::Promoted);
    trial.settle(&order).await?;
    reads_back(&trial, &order).await?;
    serves(&trial).await
}

/// The candidate serves everything, by the provider's own account.
async fn serves(trial: &Trial) -> Outcome {
    let observed = trial.seen().await?.observation;
    let serving = observed.serving.as_ref();
    trial.check(
        serving.is_some_and(|version| version.is_same_as(&trial.candidate)),
        || {
            format!(
                "promoted, and a look says that {serving:?} serves, not {:?}",
                trial.candidate
            )
        },
    )
}

pub async fn promotes_twice(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    trial.climb_all().await?;
    trial.reach(DesiredState::Promoted).await?;
    let order = trial.order(DesiredState::Promoted);
    trial.settle(&order).await?;
    reads_back(&trial, &order).await?;
    serves(&trial).await
}

pub async fn writes_once(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    let mut states = vec![serving(Share::ZERO)];
    states.extend(trial.shares().into_iter().map(serving));
    states.extend([DesiredState::Promoted, DesiredState::Reverted, DesiredState::Withdrawn]);
    for state in states {
        let order = trial.order(state);
        trial.settle(&order).await?;
        let before = trial.writes().await?;
        for _ in 0..3 {
            let again = trial.told(&order).await?;
            trial.check(again == Progress::Settled, || {
                format!("settled, and asked again it is {again:?}")
            })?;
            trial.rig.pass(trial.rig.beat()).await;
        }
        let made = trial.writes().await?.saturating_sub(before);
        trial.check(made == 0, || format!("asked three times again, it made {made} changes"))?;
    }
    Ok(())
}

pub async fn never_waits(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    let share = trial.shares().last().copied().unwrap_or(Share::FULL);
    for state in [serving(Share::ZERO), serving(share), DesiredState::Reverted] {
        let order = trial.order(state);
        // Nothing gets on here: no time passes for the platform between these.
        for _ in 0..3 {
            let progress = trial.told(&order).await?;
            trial.check(matches!(progress, Progress::Settled | Progress::Moving { .. }), || {
                format!("while nothing gets on, it answers {progress:?}")
            })?;
        }
    }
    Ok(())
}
