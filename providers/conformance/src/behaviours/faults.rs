//! A platform's API that misbehaves: told for what it is, and asked through to the same end.

use meridian_engine::ports::failure::{Failure, Lasting};
use meridian_engine::run::effect::{DesiredState, Progress};
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;

use crate::rig::{Fault, On, Strike, Workshop};
use crate::trial::{Flaw, Outcome, Trial, is_transient, not_tried, serving};

/// More than any client asks by itself within one call.
const ALL: usize = 1_000;

/// A change's index beyond which no sweep goes: a story with more changes than that is tried at its beginning.
const SWEEP_MAX: u64 = 60;

const RETRY_AFTER: u32 = 3;

pub async fn too_many_requests(workshop: &dyn Workshop) -> Outcome {
    let fault = Fault::TooManyRequests {
        retry_after: RETRY_AFTER,
    };
    let waits = |trial: &Trial, failure: &Failure| {
        let time = Some(Duration::from_secs(u64::from(RETRY_AFTER)));
        let told = matches!(failure.lasting, Lasting::No { retry_after } if retry_after == time);
        told || (!trial.rig.tells_when() && is_transient(failure))
    };
    fails(workshop, fault, "transient, with the time to wait", waits).await
}

pub async fn server_errors(workshop: &dyn Workshop) -> Outcome {
    for status in [500, 502, 503, 504] {
        is_transient_fault(workshop, Fault::Status(status)).await?;
    }
    Ok(())
}

pub async fn refused(workshop: &dyn Workshop) -> Outcome {
    is_transient_fault(workshop, Fault::Refused).await
}

pub async fn hang(workshop: &dyn Workshop) -> Outcome {
    is_transient_fault(workshop, Fault::Hang).await
}

pub async fn half_body(workshop: &dyn Workshop) -> Outcome {
    is_transient_fault(workshop, Fault::HalfBody).await
}

pub async fn malformed(workshop: &dyn Workshop) -> Outcome {
    // Whether nonsense lasts nobody can know.
    fails(workshop, Fault::Malformed, "a failure", |_, _| true).await
}

pub async fn unauthenticated(workshop: &dyn Workshop) -> Outcome {
    fails(workshop, Fault::Unauthenticated, "lasting", |_, failure| {
        !is_transient(failure)
    })
    .await
}

pub async fn forbidden(workshop: &dyn Workshop) -> Outcome {
    fails(workshop, Fault::Forbidden, "lasting", |_, failure| {
        !is_transient(failure)
    })
    .await
}

async fn is_transient_fault(workshop: &dyn Workshop, fault: Fault) -> Outcome {
    fails(workshop, fault, "transient", |_, failure| is_transient(failure)).await
}

/// Looks and orders fail as they should while the fault lasts, and end as without it afterwards.
async fn fails(
    workshop: &dyn Workshop,
    fault: Fault,
    named: &str,
    as_it_should: impl Fn(&Trial, &Failure) -> bool,
) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    let share = trial.first_share()?;
    trial.reach(serving(Share::ZERO)).await?;
    trial.fault(fault, Strike::next(ALL)).await?;
    match trial.look().await? {
        Ok(_) => return trial.fail(format!("a look succeeds under {fault:?}")),
        Err(failure) => trial.check(as_it_should(&trial, &failure), || {
            format!("a look under {fault:?} is not told as {named}: {failure:?}")
        })?,
    }
    for state in [serving(share), DesiredState::Reverted] {
        let order = trial.order(state);
        match trial.ask(&order).await? {
            Ok(progress) => return trial.fail(format!("under {fault:?} an order is answered {progress:?}")),
            Err(failure) => trial.check(as_it_should(&trial, &failure), || {
                format!("an order under {fault:?} is not told as {named}: {failure:?}")
            })?,
        }
    }
    trial.heal().await;
    trial.reach(serving(share)).await?;
    only_writes_fail(&mut trial, fault, &as_it_should, named).await?;
    trial.roll_back().await
}

/// The same where reads work and the first change fails: a read that works must not hide it.
async fn only_writes_fail(
    trial: &mut Trial,
    fault: Fault,
    as_it_should: &impl Fn(&Trial, &Failure) -> bool,
    named: &str,
) -> Outcome {
    if fault == Fault::Refused {
        return Ok(());
    }
    let strike = Strike {
        on: On::Writes,
        skip: 0,
        times: ALL,
    };
    trial.fault(fault, strike).await?;
    let order = trial.order(DesiredState::Reverted);
    match trial.ask(&order).await? {
        // Done although the answer was lost: the platform tells.
        Ok(Progress::Settled) => {}
        Ok(progress) => {
            return trial.fail(format!(
                "under {fault:?} of its changes an order is answered {progress:?}"
            ));
        }
        Err(failure) => trial.check(as_it_should(trial, &failure), || {
            format!("an order under {fault:?} of its changes is not told as {named}: {failure:?}")
        })?,
    }
    trial.heal().await;
    trial.settle(&order).await
}

/// The two ways that every release goes.
#[derive(Clone, Copy, Debug)]
enum Story {
    Out,
    OutAndBack,
}

impl Story {
    async fn play(self, trial: &mut Trial) -> Outcome {
        let share = trial.first_share()?;
        let mut states = vec![serving(Share::ZERO), serving(share)];
        states.extend(match self {
            Story::Out => vec![serving(Share::FULL), DesiredState::Promoted],
            Story::OutAndBack => vec![DesiredState::Reverted, DesiredState::Withdrawn],
        });
        for state in states {
            let order = trial.order(state);
            trial.settle_through(&order).await?;
        }
        Ok(())
    }
}

/// Every change of both stories is struck once, each in a rig of its own; all must end as without the fault.
async fn sweep(workshop: &dyn Workshop, fault: Fault) -> Outcome {
    for story in [Story::Out, Story::OutAndBack] {
        let mut clean = Trial::begin(workshop).await?;
        story.play(&mut clean).await?;
        let changes = clean.writes().await?.min(SWEEP_MAX);
        if changes == 0 {
            return clean.fail("a release goes out without one change".to_owned());
        }
        for skip in 0..changes {
            let mut trial = Trial::begin(workshop).await?;
            trial
                .fault(fault, Strike::write(usize::try_from(skip).unwrap_or(usize::MAX)))
                .await?;
            story.play(&mut trial).await.map_err(|flaw| match flaw {
                Flaw::Failed(why) => Flaw::Failed(format!("{story:?}, struck at its change {}: {why}", skip + 1)),
                Flaw::NotTried(why) => Flaw::NotTried(why),
            })?;
        }
    }
    Ok(())
}

pub async fn applied_without_answer(workshop: &dyn Workshop) -> Outcome {
    sweep(workshop, Fault::AppliedWithoutAnswer).await
}

pub async fn breaks_off(workshop: &dyn Workshop) -> Outcome {
    sweep(workshop, Fault::Status(503)).await
}

pub async fn every_second_write(workshop: &dyn Workshop) -> Outcome {
    for story in [Story::Out, Story::OutAndBack] {
        let mut trial = Trial::begin(workshop).await?;
        trial.fault(Fault::EverySecondWrite, Strike::next(12)).await?;
        story.play(&mut trial).await?;
    }
    Ok(())
}

pub async fn stale_reads(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    let share = trial.first_share()?;
    for times in [1, 3, 9, 27] {
        for state in [
            serving(Share::ZERO),
            serving(share),
            DesiredState::Reverted,
            serving(share),
        ] {
            trial.fault(Fault::StaleReads, Strike::next(times)).await?;
            let order = trial.order(state);
            trial.settle_through(&order).await?;
        }
    }
    trial.heal().await;
    // Away and back while the past is shown: what is read looks settled, and is not.
    trial.reach(serving(share)).await?;
    trial.fault(Fault::StaleReads, Strike::next(6)).await?;
    let away = trial.order(DesiredState::Reverted);
    let _ = trial.ask(&away).await?;
    let back = trial.order(serving(share));
    trial.settle_through(&back).await?;
    trial.heal().await;
    if trial.is_same_release() {
        return not_tried("the release is what serves");
    }
    trial.roll_back().await
}
