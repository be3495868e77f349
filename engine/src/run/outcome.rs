//! The world's answers: each counts only while its effect is still wanted, so late, doubled and stale ones fall away.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::RegionId;

use super::decide::Draft;
use super::effect::{DesiredState, EffectKey, Observation, Outcome, Progress};
use super::event::{Ending, Event};
use super::mutant::{Mutant, is_on};
use super::reading::{Answer, Reading};
use super::state::{RegionLife, Standing};
use super::wanted::is_wanted;
use super::{locks, people, rollback};

/// An order that moves is asked about again after this long, then later and later.
const ASK_FIRST: Duration = Duration::from_millis(500);
const ASK_MAX: Duration = Duration::from_secs(15);
/// A failed effect is tried again after this long, doubled each time.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// A claim on a busy target is looked at again after this long, should the word of its release get lost.
const CLAIM_AGAIN: Duration = Duration::from_secs(30);
/// A settled order that must hold is checked this often: a twentieth of its bake, within these bounds.
const CHECK_MIN: Duration = Duration::from_secs(15);
const CHECK_MAX: Duration = Duration::from_secs(300);

pub(in crate::run) fn admit(draft: &mut Draft<'_>, key: EffectKey, outcome: Outcome) {
    if !is_wanted(&draft.run, key, draft.now) && !is_on(Mutant::AcceptsLateOutcome) {
        return;
    }
    match (key, outcome) {
        (EffectKey::Claim { .. }, Outcome::Claimed { claim }) => claimed(draft, claim),
        (EffectKey::Claim { .. }, Outcome::Busy { target, by }) => {
            draft.push(Event::ClaimBusy {
                target,
                by,
                again_at: CLAIM_AGAIN.after(draft.now),
            });
        }
        (EffectKey::Claim { .. }, Outcome::ClaimRefused { why }) => claim_refused(draft, why),
        (EffectKey::Release { .. }, Outcome::Released) => draft.push(Event::Released),
        (EffectKey::Lock { gate, .. }, Outcome::Locked { number }) => locks::is_taken(draft, gate, number),
        (EffectKey::Lock { gate, .. }, Outcome::LockBusy { by, ahead }) => locks::is_busy(draft, gate, by, ahead),
        (EffectKey::Unlock { gate, .. }, Outcome::Unlocked) => locks::is_released(draft, gate),
        (EffectKey::Observe { region, .. }, Outcome::Observed(observation)) => observed(draft, region, observation),
        (EffectKey::Ensure { region, .. }, Outcome::Progress(progress)) => progressed(draft, region, progress),
        (EffectKey::Read { node, place, gate, .. }, Outcome::Read(reading)) => {
            let event = draft.run.read(node, place, gate, reading, draft.now);
            draft.push(event);
        }
        (EffectKey::Read { node, place, gate, .. }, Outcome::Failed { error, .. }) => {
            let reading = Reading {
                at: draft.now,
                answer: Answer::Error { why: error },
            };
            let event = draft.run.read(node, place, gate, reading, draft.now);
            draft.push(event);
        }
        // Settings that are not sound stay so: whoever started the run must change the file.
        (
            EffectKey::Claim { .. },
            Outcome::Failed {
                error, lasting: true, ..
            },
        ) => claim_refused(draft, error),
        (
            key,
            Outcome::Failed {
                error,
                lasting,
                retry_after,
            },
        ) => {
            let again_at = retry_at(draft, key, retry_after);
            draft.push(Event::EffectFailed {
                key,
                error,
                lasting,
                at: draft.now,
                again_at,
            });
        }
        (key, answer) => {
            let error = format!("the answer {} does not fit the question", name(&answer));
            let again_at = retry_at(draft, key, None);
            draft.push(Event::EffectFailed {
                key,
                error,
                lasting: false,
                at: draft.now,
                again_at,
            });
        }
    }
}

fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Claimed { .. } => "`claimed`",
        Outcome::Busy { .. } => "`busy`",
        Outcome::ClaimRefused { .. } => "`claim refused`",
        Outcome::Released => "`released`",
        Outcome::Locked { .. } => "`locked`",
        Outcome::LockBusy { .. } => "`lock busy`",
        Outcome::Unlocked => "`unlocked`",
        Outcome::Observed(_) => "`observed`",
        Outcome::Progress(_) => "`progress`",
        Outcome::Read(_) => "`read`",
        Outcome::Failed { .. } => "`failed`",
    }
}

fn claimed(draft: &mut Draft<'_>, claim: u64) {
    let wanted_for = draft.run.state.claim.wanted_for.clone();
    draft.push(Event::Claimed { claim, at: draft.now });
    if let Some(signal) = wanted_for {
        people::again(draft, &signal);
    }
}

fn claim_refused(draft: &mut Draft<'_>, why: String) {
    draft.push(Event::ClaimRefused {
        why: why.clone(),
        at: draft.now,
    });
    if draft.run.state.standing == Standing::Submitted {
        draft.push(Event::Finished {
            ending: Ending::Refused,
            cause: format!("refused: {why}"),
            at: draft.now,
        });
    }
}

fn retry_at(draft: &Draft<'_>, key: EffectKey, retry_after: Option<Duration>) -> Timestamp {
    let failures = match key {
        EffectKey::Ensure { region, .. } => draft
            .run
            .region(region)
            .order
            .as_ref()
            .map_or(0, |order| order.failures),
        EffectKey::Observe { region, .. } => draft.run.region(region).look_failures,
        EffectKey::Claim { .. }
        | EffectKey::Release { .. }
        | EffectKey::Lock { .. }
        | EffectKey::Unlock { .. }
        | EffectKey::Read { .. } => 2,
    };
    let backoff = RETRY_FIRST.saturating_mul(1 << failures.min(10)).min(RETRY_MAX);
    backoff.max(retry_after.unwrap_or(Duration::ZERO)).after(draft.now)
}

fn observed(draft: &mut Draft<'_>, region: RegionId, seen: Observation) {
    let now = draft.now;
    let key = EffectKey::Observe {
        region,
        intent: draft.run.state.looks,
    };
    let look_again = |draft: &mut Draft<'_>, error: String| {
        let again_at = retry_at(draft, key, None);
        draft.push(Event::EffectFailed {
            key,
            error,
            lasting: false,
            at: now,
            again_at,
        });
    };
    if draft.run.region(region).life == RegionLife::Reverting {
        let stray = seen.candidate_share;
        if stray.is_zero() || is_on(Mutant::SkipsReadBack) {
            let drained_at = draft.run.plan.workflow().rollback.drain.after(now);
            draft.push(Event::RegionReverted {
                region,
                at: now,
                drained_at,
            });
        } else {
            // The order was acknowledged and is not what the platform shows: ask for it again, at once.
            look_again(
                draft,
                format!("read back after the rollback: the candidate still serves {stray}"),
            );
            draft.push(Event::OrderMoving {
                region,
                why: Some(format!("still serves {stray}")),
                at: now,
                again_at: now,
            });
        }
        return;
    }
    if draft.run.is_unresolved(region) {
        draft.push(Event::RegionResolved {
            region,
            digest: seen.candidate_digest,
            at: now,
        });
        return;
    }
    match seen.serving {
        Some(baseline) => {
            draft.push(Event::RegionObserved {
                region,
                baseline,
                candidate: seen.candidate,
                at: now,
            });
        }
        None => look_again(
            draft,
            "nothing serves there yet, so there is no baseline to go back to".to_owned(),
        ),
    }
}

fn progressed(draft: &mut Draft<'_>, region: RegionId, progress: Progress) {
    let now = draft.now;
    let Some(order) = &draft.run.region(region).order else {
        return;
    };
    let waited = Duration::between(order.ordered_at, now);
    let again_at = Duration::from_millis(waited.as_millis() / 8)
        .max(ASK_FIRST)
        .min(ASK_MAX)
        .after(now);
    match progress {
        Progress::Settled => {
            let check_at = checked_every(draft, region).map(|every| every.after(now));
            draft.push(Event::OrderSettled {
                region,
                at: now,
                check_at,
            });
        }
        Progress::Moving { why } => draft.push(Event::OrderMoving {
            region,
            why,
            at: now,
            again_at,
        }),
        Progress::Waiting { why } => draft.push(Event::OrderWaiting {
            region,
            why,
            at: now,
            again_at,
        }),
        Progress::Stuck { why } => draft.push(Event::OrderStuck {
            region,
            why,
            at: now,
            again_at,
        }),
        Progress::Stale { .. } if is_on(Mutant::IgnoresStaleFence) => {
            draft.push(Event::OrderSettled {
                region,
                at: now,
                check_at: None,
            });
        }
        Progress::Stale { why } => {
            draft.push(Event::EffectFailed {
                key: EffectKey::Ensure {
                    region,
                    intent: order.intent,
                },
                error: why.clone(),
                lasting: true,
                at: now,
                again_at: RETRY_MAX.after(now),
            });
            rollback::disowned(draft, region, &why);
        }
    }
}

/// How often a settled order is checked; none where it need not hold.
fn checked_every(draft: &Draft<'_>, region: RegionId) -> Option<Duration> {
    let order = draft.run.region(region).order.as_ref()?;
    match order.state {
        DesiredState::Serving(_) => {
            let bake = order.node.map_or(Duration::ZERO, |node| draft.run.plan.node(node).bake);
            Some(
                Duration::from_millis(bake.as_millis() / 20)
                    .max(CHECK_MIN)
                    .min(CHECK_MAX),
            )
        }
        DesiredState::Promoted | DesiredState::Reverted | DesiredState::Withdrawn => None,
    }
}
