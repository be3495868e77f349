//! Who may order: the larger fence, whatever else happens.

use meridian_engine::ports::provider::{Fence, Order};
use meridian_engine::run::effect::{DesiredState, Progress};
use meridian_workflows::share::Share;

use crate::rig::Workshop;
use crate::trial::{Outcome, Trial, serving};

/// A fence with room below it in each of its numbers.
fn above(fence: Fence) -> Fence {
    Fence {
        claim: fence.claim + 5,
        epoch: 5,
        seq: 5,
    }
}

/// Fences below, each by one of its numbers alone.
fn below(fence: Fence) -> [Fence; 3] {
    [
        Fence {
            claim: fence.claim - 1,
            epoch: fence.epoch + 4,
            seq: fence.seq + 4,
        },
        Fence {
            epoch: fence.epoch - 1,
            seq: fence.seq + 4,
            ..fence
        },
        Fence {
            seq: fence.seq - 1,
            ..fence
        },
    ]
}

pub async fn refuses_lower(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    let (share, fence) = (trial.first_share()?, above(trial.fence()));
    trial.reach(serving(Share::ZERO)).await?;
    let order = trial.order_at(serving(share), fence);
    trial.settle(&order).await?;
    for lower in below(fence) {
        for state in [serving(Share::FULL), DesiredState::Withdrawn, DesiredState::Promoted] {
            let stale = trial.order_at(state, lower);
            is_stale(&mut trial, &stale).await?;
        }
    }
    // The last word is still the highest one's.
    let again = trial.told(&order).await?;
    trial.check(again == Progress::Settled, || {
        format!("after stale orders the newest is {again:?}")
    })
}

/// Nothing changes, and the answer says who was first.
async fn is_stale(trial: &mut Trial, order: &Order) -> Outcome {
    let before = trial.rig.truth().await;
    let fence = trial.seen().await?.fence;
    let answer = trial.told(order).await?;
    trial.check(matches!(answer, Progress::Stale { .. }), || {
        format!("an order at {} behind {fence:?} is answered {answer:?}", order.fence())
    })?;
    trial.rig.pass(trial.rig.beat()).await;
    let after = trial.rig.truth().await;
    trial.check(
        before.candidate_share == after.candidate_share && before.writes == after.writes,
        || format!("a stale order changes something: {before:?} becomes {after:?}"),
    )?;
    let now = trial.seen().await?.fence;
    trial.check(now == fence, || {
        format!("a stale order turns the fence {fence:?} into {now:?}")
    })
}

pub async fn takes_higher(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    let (share, fence) = (trial.first_share()?, above(trial.fence()));
    let order = trial.order_at(serving(Share::ZERO), fence);
    trial.settle(&order).await?;
    let by_number = Fence {
        seq: fence.seq + 1,
        ..fence
    };
    let by_epoch = Fence {
        epoch: fence.epoch + 1,
        seq: 1,
        ..fence
    };
    let by_claim = Fence {
        claim: fence.claim + 1,
        epoch: 1,
        seq: 1,
    };
    let states = [serving(share), DesiredState::Reverted, serving(Share::ZERO)];
    for (higher, state) in [by_number, by_epoch, by_claim].into_iter().zip(states) {
        let order = trial.order_at(state, higher);
        trial.settle(&order).await?;
        let seen = trial.seen().await?.fence;
        trial.check(seen == Some(higher), || {
            format!("settled at {higher}, and the platform remembers {seen:?}")
        })?;
    }
    Ok(())
}

pub async fn refuses_overtaken(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    trial.reach(serving(Share::ZERO)).await?;
    let up = trial.order(serving(Share::FULL));
    trial.ask_times(&up, 1).await?;
    let down = trial.order(DesiredState::Reverted);
    trial.ask_times(&down, 1).await?;
    for _ in 0..3 {
        let answer = trial.told(&up).await?;
        trial.check(matches!(answer, Progress::Stale { .. }), || {
            format!("an order that was overtaken on its way is answered {answer:?}")
        })?;
        trial.told(&down).await?;
        trial.rig.pass(trial.rig.beat()).await;
    }
    trial.settle(&down).await
}

pub async fn settles_races(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    let share = trial.first_share()?;
    trial.reach(serving(Share::ZERO)).await?;
    for round in 0..4 {
        let one = trial.order(serving(share));
        let other = trial.order(DesiredState::Reverted);
        // Both kinds win in turn.
        let (lower, higher) = if round % 2 == 0 {
            (one, other)
        } else {
            let fence = trial.fence();
            let again = Fence {
                seq: fence.seq + 1,
                ..fence
            };
            (other, trial.order_at(serving(share), again))
        };
        race(&trial, &lower, &higher).await?;
        trial.settle(&higher).await?;
        let late = trial.told(&lower).await?;
        trial.check(matches!(late, Progress::Stale { .. }), || {
            format!("the loser of a race is answered {late:?} afterwards")
        })?;
        trial.settle(&higher).await?;
    }
    Ok(())
}

/// Two owners at once, a few times over. What they are answered does not matter: one may conflict with the other.
async fn race(trial: &Trial, lower: &Order, higher: &Order) -> Outcome {
    let (a, b) = (trial.rig.provider(), trial.rig.provider());
    for _ in 0..3 {
        let both = async { tokio::join!(a.ensure(&trial.target, lower), b.ensure(&trial.target, higher)) };
        if tokio::time::timeout(crate::trial::CALL_MAX, both).await.is_err() {
            return trial.fail("two owners at once wait for each other".to_owned());
        }
        trial.rig.pass(trial.rig.beat()).await;
    }
    Ok(())
}

pub async fn outlives_the_candidate(workshop: &dyn Workshop) -> Outcome {
    for end in [DesiredState::Withdrawn, DesiredState::Promoted] {
        let mut trial = Trial::begin(workshop).await?;
        trial.climb_all().await?;
        let early = trial.order(serving(Share::FULL));
        let last = trial.order(end);
        is_remembered(&mut trial, &last).await?;
        trial.settle(&last).await?;
        is_stale(&mut trial, &early).await?;
    }
    Ok(())
}

/// At every step of the way there, whoever looks sees the order's fence.
async fn is_remembered(trial: &mut Trial, order: &Order) -> Outcome {
    for _ in 0..trial.asks() {
        let progress = trial.told(order).await?;
        let fence = trial.seen().await?.fence;
        trial.check(fence == Some(order.fence()), || {
            format!("on the way of {} the platform remembers {fence:?}", order.fence())
        })?;
        if progress == Progress::Settled {
            return Ok(());
        }
        trial.rig.pass(trial.rig.beat()).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Fence, above, below};

    #[test]
    fn each_lower_fence_is_lower_by_another_number() {
        let fence = above(Fence {
            claim: 1,
            epoch: 1,
            seq: 0,
        });
        assert!(below(fence).into_iter().all(|lower| lower < fence));
    }
}
