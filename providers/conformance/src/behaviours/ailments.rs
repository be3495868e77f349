//! Candidates that are not well: told in plain words, never given traffic, always taken back.

use meridian_engine::run::effect::Progress;
use meridian_workflows::share::Share;

use crate::rig::{Ailment, Offered, Workshop};
use crate::trial::{Outcome, Trial, names, serving};

/// An exit code that no platform uses for a reason of its own.
const EXIT_CODE: i32 = 37;

pub async fn image_missing(workshop: &dyn Workshop) -> Outcome {
    is_told(workshop, Ailment::ImageMissing).await
}

pub async fn crash_loop(workshop: &dyn Workshop) -> Outcome {
    is_told(workshop, Ailment::CrashLoop(EXIT_CODE)).await
}

pub async fn out_of_memory(workshop: &dyn Workshop) -> Outcome {
    is_told(workshop, Ailment::OutOfMemory).await
}

pub async fn never_ready(workshop: &dyn Workshop) -> Outcome {
    is_told(workshop, Ailment::NeverReady).await
}

pub async fn unschedulable(workshop: &dyn Workshop) -> Outcome {
    is_told(workshop, Ailment::Unschedulable).await
}

pub async fn quota(workshop: &dyn Workshop) -> Outcome {
    is_told(workshop, Ailment::QuotaExceeded).await
}

/// Staged, where the platform can, or ordered straight to a share, it gets stuck with a diagnosis, without traffic, and goes away.
async fn is_told(workshop: &dyn Workshop, ailment: Ailment) -> Outcome {
    for straight in [false, true] {
        let mut trial = Trial::begin(workshop).await?;
        if !straight && trial.rig.stages() != Offered::Yes {
            continue;
        }
        trial.ail(ailment).await?;
        let share = if straight { trial.first_share()? } else { Share::ZERO };
        let order = trial.order(serving(share));
        let arrived = trial
            .until(&order, |progress| !matches!(progress, Progress::Moving { .. }))
            .await?;
        let Some(Progress::Stuck { why }) = arrived else {
            return trial.fail(format!("{ailment:?} ends in {arrived:?} instead of stuck"));
        };
        let words = trial.rig.words(ailment);
        trial.check(names(&why, &words), || {
            format!("the diagnosis does not name {words:?}: {why}")
        })?;
        is_diagnosed(&trial, &words).await?;
        let again = trial.told(&order).await?;
        trial.check(matches!(again, Progress::Stuck { .. }), || {
            format!("stuck with {ailment:?}, and asked again it is {again:?}")
        })?;
        has_no_traffic(&trial).await?;
        trial.roll_back().await?;
    }
    Ok(())
}

async fn is_diagnosed(trial: &Trial, words: &[String]) -> Outcome {
    let observed = trial.seen().await?.observation;
    trial.check(!observed.is_settled, || {
        "stuck, and a look says that it is settled".to_owned()
    })?;
    let diagnosis = observed.diagnosis.unwrap_or_default();
    trial.check(names(&diagnosis, words), || {
        format!("what a look tells does not name {words:?}: {diagnosis}")
    })
}

async fn has_no_traffic(trial: &Trial) -> Outcome {
    let truth = trial.rig.truth().await;
    trial.check(truth.candidate_share.is_zero() && truth.lost.is_zero(), || {
        format!("a candidate that is not well has traffic: {truth:?}")
    })
}

pub async fn flapping(workshop: &dyn Workshop) -> Outcome {
    for straight in [false, true] {
        let mut trial = Trial::begin(workshop).await?;
        if !straight && trial.rig.stages() != Offered::Yes {
            continue;
        }
        trial.ail(Ailment::FlappingReady).await?;
        let share = if straight { trial.first_share()? } else { Share::ZERO };
        let order = trial.order(serving(share));
        let settled = trial.until(&order, |progress| *progress == Progress::Settled).await?;
        trial.check(settled.is_none(), || {
            "ready for a moment is taken for health".to_owned()
        })?;
        has_no_traffic(&trial).await?;
        trial.roll_back().await?;
    }
    Ok(())
}

pub async fn while_serving(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    trial.reach(serving(Share::ZERO)).await?;
    let order = trial.order(serving(trial.first_share()?));
    trial.settle(&order).await?;
    trial.ail(Ailment::CrashLoop(EXIT_CODE)).await?;
    trial.may_lose();
    let ailment = Ailment::CrashLoop(EXIT_CODE);
    let words = trial.rig.words(ailment);
    let is_named = |progress: &Progress| match progress {
        Progress::Stuck { why } | Progress::Moving { why: Some(why) } => names(why, &words),
        Progress::Settled | Progress::Moving { why: None } | Progress::Waiting { .. } | Progress::Stale { .. } => false,
    };
    let told = trial.until_any(&order, is_named).await?;
    trial.check(told.is_some(), || {
        format!("it fell ill while it served, and nobody names {words:?}")
    })?;
    trial.roll_back().await
}
