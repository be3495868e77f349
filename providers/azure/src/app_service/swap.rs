//! Following a swap that was ordered, whether or not its answer ever came.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;

use crate::app_service::memory::{Phase, Swap, Way};
use crate::app_service::next::{Goal, Seen, Step, Wish};
use crate::operation::Standing;

/// How long a swap whose answer was lost is waited for before it is taken for one that was never begun. Reads of the platform may
/// lie behind by up to two minutes, and a swap that is ordered twice undoes itself.
const LOST_WITHIN: Duration = Duration::from_secs(120);

/// What follows from a swap under way.
pub(crate) fn follow(seen: &Seen, wish: &Wish, swap: &Swap, now: Timestamp) -> Step {
    let awaited = match swap.way {
        Way::Forth => &wish.candidate,
        Way::Back => &wish.baseline,
    };
    let has_arrived = seen.production.content == *awaited;
    let took = Duration::between(swap.since, now);
    let is_late = took > wish.swap_within;
    let swapped = || {
        Step::Note(
            Phase::Swapped { since: now },
            "both sides have changed places".to_owned(),
        )
    };
    let hung = || {
        Step::Reset(Phase::Failed {
            why: format!(
                "the swap did not end within {} and was cancelled: the platform makes up to five warm-up requests of 90 s to each \
                 instance, so the app is slow to start or its warm-up path does not answer as configured",
                wish.swap_within
            ),
        })
    };
    let under_way = |what: &str| Step::Wait(format!("{what} for {}s", took.as_millis() / 1_000));
    let is_unwanted = swap.way == Way::Forth && !matches!(wish.goal, Goal::Full | Goal::Promoted) && !has_arrived;
    let is_running =
        matches!(seen.operation, Some(Standing::Running { .. })) || (seen.operation.is_none() && seen.is_busy);
    let has_failed = matches!(seen.operation, Some(Standing::Failed(_)));
    if (is_running || has_failed) && is_unwanted {
        // The platform lets go of a swap as long as users have not been sent elsewhere; else it is swapped back afterwards.
        return Step::Reset(Phase::Idle);
    }
    match &seen.operation {
        Some(Standing::Running { .. }) if is_late => hung(),
        Some(Standing::Running { .. }) => under_way("the swap has been under way"),
        Some(Standing::Failed(_)) | Some(Standing::Done) if has_arrived => swapped(),
        Some(Standing::Failed(why)) => Step::Reset(Phase::Failed {
            why: format!("the swap failed and the platform took it back: {why}"),
        }),
        Some(Standing::Done) if is_late => Step::Note(
            Phase::Failed {
                why: format!(
                    "the platform says that the swap is over, and production still runs `{}`",
                    seen.production.content
                ),
            },
            "the swap ended without effect".to_owned(),
        ),
        Some(Standing::Done) => under_way("the swap is over and production does not show it yet; it was ordered"),
        None if seen.is_busy && is_late => hung(),
        None if seen.is_busy => under_way("the swap has been under way"),
        None if has_arrived => swapped(),
        None if took <= LOST_WITHIN || seen.last_swap != swap.before => {
            if is_late {
                return Step::Note(
                    Phase::Idle,
                    "the swap that was ordered cannot be found any more".to_owned(),
                );
            }
            under_way("the answer to the order to swap was lost; whether it is carried out has been watched")
        }
        None => Step::Note(
            Phase::Idle,
            "the order to swap was lost and not carried out; it is given again".to_owned(),
        ),
    }
}
