//! From what a site shows and what is wanted of it: the one next step. Pure, so that every state can be tried.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;

use crate::app_service::content::Content;
use crate::app_service::memory::{Memory, Phase, Way};
use crate::app_service::swap;
use crate::operation::Standing;

/// A site and its slot as one call found them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) production: Side,
    pub(crate) slot: Side,
    /// The part of production's traffic that a ramp-up rule sends to the slot.
    pub(crate) share: Share,
    /// Whether that rule changes by itself.
    pub(crate) is_restless: bool,
    /// Whether the slot runs with production's slot settings, the first phase of a swap.
    pub(crate) in_preview: bool,
    /// Whether the platform says that some operation is under way on the site.
    pub(crate) is_busy: bool,
    /// When the platform says that the last swap took place.
    pub(crate) last_swap: Option<String>,
    pub(crate) memory: Memory,
    /// What the remembered operation answers, where one is remembered and still known.
    pub(crate) operation: Option<Standing>,
    /// Looked at only when a step depends on it.
    pub(crate) slot_fitness: Option<Fitness>,
    pub(crate) production_fitness: Option<Fitness>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) content: Content,
    pub(crate) is_running: bool,
}

/// Whether a side could take traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fitness {
    Fit,
    Unfit {
        why: String,
        /// The platform says that it will not become fit by waiting.
        is_certain: bool,
    },
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) candidate: Content,
    pub(crate) baseline: Content,
    pub(crate) goal: Goal,
    /// Whether the baseline can be put into the slot again from its pin alone.
    pub(crate) can_redeploy: bool,
    /// Whether a swap stops after its first phase to be checked.
    pub(crate) preview: bool,
    pub(crate) start_within: Duration,
    pub(crate) swap_within: Duration,
    pub(crate) steady_for: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Less than everything to the candidate, which stands in the slot.
    Share(Share),
    /// Everything to the candidate, which stands in production; the baseline stands in the slot.
    Full,
    Promoted,
    Reverted,
    Withdrawn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Slot,
    Production,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arm {
    Candidate,
    Baseline,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Settled,
    /// Nothing to do but to look again.
    Wait(String),
    Stuck(String),
    /// Look whether a side is fit, and ask again.
    Prove(Whose),
    /// Remember a phase.
    Note(Phase, String),
    Ramp(Share),
    Deploy(Arm),
    StartSlot,
    StopSlot,
    /// Apply production's slot settings to the slot.
    Preview,
    /// Take the first phase of a swap back on both sides, then remember a phase.
    Reset(Phase),
    Swap(Way),
}

impl Step {
    /// Whether anything on the platform is another after it.
    pub(crate) fn changes_something(&self) -> bool {
        match self {
            Step::Settled | Step::Wait(_) | Step::Stuck(_) | Step::Prove(_) => false,
            Step::Note(..)
            | Step::Ramp(_)
            | Step::Deploy(_)
            | Step::StartSlot
            | Step::StopSlot
            | Step::Preview
            | Step::Reset(_)
            | Step::Swap(_) => true,
        }
    }
}

/// How the two contents lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// Baseline in production, candidate in the slot.
    Before,
    /// Baseline in production, something else in the slot.
    Undeployed,
    /// Candidate in production, baseline in the slot.
    After,
    /// Candidate in production, something else in the slot.
    Replaced,
    /// Neither in production.
    Foreign,
}

fn lie(seen: &Seen, wish: &Wish) -> Lie {
    let (production, slot) = (&seen.production.content, &seen.slot.content);
    if *production == wish.baseline {
        if *slot == wish.candidate {
            Lie::Before
        } else {
            Lie::Undeployed
        }
    } else if *production == wish.candidate {
        if *slot == wish.baseline {
            Lie::After
        } else {
            Lie::Replaced
        }
    } else {
        Lie::Foreign
    }
}

/// The next step.
///
/// *Guarantees*: traffic away from a candidate comes before everything else; no share rises and no swap begins while the slot has
/// not been seen fit for `steady_for`; a swap begins only while no ramp-up rule carries traffic, because afterwards the rule would
/// lead to the other version; a step that must not happen twice follows only on what shows that it did not happen before.
pub(crate) fn next(seen: &Seen, wish: &Wish, now: Timestamp) -> Step {
    let lie = lie(seen, wish);
    if let Some(share) = lowered(seen, wish, lie) {
        // The platform takes no change of a site that is prepared for a swap.
        return if seen.in_preview {
            Step::Reset(Phase::Idle)
        } else {
            Step::Ramp(share)
        };
    }
    if let Phase::Swapping(swap) = &seen.memory.phase {
        return swap::follow(seen, wish, swap, now);
    }
    if let Phase::Failed { why } = &seen.memory.phase {
        return Step::Stuck(why.clone());
    }
    let step = if wish.candidate == wish.baseline {
        unmoved(seen, wish)
    } else {
        match wish.goal {
            Goal::Share(share) => home(seen, wish, lie)
                .or_else(|| fit_slot(seen, wish, lie, now))
                .unwrap_or(if seen.share == share {
                    Step::Settled
                } else {
                    Step::Ramp(share)
                }),
            Goal::Full | Goal::Promoted => match lie {
                Lie::Before | Lie::Undeployed => across(seen, wish, lie, now),
                Lie::After | Lie::Replaced => arrived(seen, wish, lie, now),
                Lie::Foreign => foreign(seen, wish),
            },
            Goal::Reverted | Goal::Withdrawn => home(seen, wish, lie).unwrap_or_else(|| reverted(seen, wish, lie, now)),
        }
    };
    match step {
        Step::Swap(_) | Step::Preview if seen.is_busy && !seen.in_preview => {
            Step::Wait("another operation is under way on the site; it is waited for".to_owned())
        }
        step => step,
    }
}

/// Whether traffic is to be taken off the candidate before anything else.
pub(crate) fn comes_down(seen: &Seen, wish: &Wish) -> bool {
    lowered(seen, wish, lie(seen, wish)).is_some()
}

/// The share that the ramp-up rule must come down to before anything else.
fn lowered(seen: &Seen, wish: &Wish, lie: Lie) -> Option<Share> {
    let most = match (wish.goal, lie) {
        _ if wish.candidate == wish.baseline => Share::ZERO,
        (Goal::Share(share), Lie::Before) => share,
        // The way to everything leads over fitness first; the rule comes down right before the swap.
        (Goal::Full | Goal::Promoted, Lie::Before) => seen.share,
        // The slot holds another version than the rule was made for.
        (Goal::Share(_) | Goal::Full | Goal::Promoted, _) | (Goal::Reverted | Goal::Withdrawn, _) => Share::ZERO,
    };
    let goes_back = matches!(wish.goal, Goal::Reverted | Goal::Withdrawn);
    // A rule at 0 % that climbs by itself would send users back to what was taken from them. One that somebody else took away
    // has left clients pinned, of which a note is made as of those of our own.
    let has_left = seen.memory.ramped.is_some_and(|ramped| ramped.share > seen.share);
    (seen.share > most || goes_back && (seen.is_restless || has_left)).then_some(most)
}

/// A release of what already serves moves nothing.
fn unmoved(seen: &Seen, wish: &Wish) -> Step {
    if seen.production.content != wish.candidate {
        return foreign(seen, wish);
    }
    match (&wish.goal, &seen.memory.phase) {
        (Goal::Promoted | Goal::Withdrawn, phase) if *phase != Phase::Released => {
            Step::Note(Phase::Released, "the slot is released".to_owned())
        }
        _ => Step::Settled,
    }
}

fn foreign(seen: &Seen, wish: &Wish) -> Step {
    Step::Stuck(format!(
        "production runs `{}`, which is neither the candidate `{}` nor the baseline `{}`: somebody else deployed it, and it is \
         not overwritten",
        seen.production.content, wish.candidate, wish.baseline
    ))
}

/// What is still to be done until the baseline stands in production and no swap is half-done.
fn home(seen: &Seen, wish: &Wish, lie: Lie) -> Option<Step> {
    let is_previewed = seen.in_preview || matches!(seen.memory.phase, Phase::Preview { .. } | Phase::PreviewFit { .. });
    if is_previewed {
        return Some(Step::Reset(Phase::Idle));
    }
    match lie {
        Lie::Before | Lie::Undeployed => None,
        Lie::After if !seen.slot.is_running => Some(Step::StartSlot),
        // No check stands before the way back: the platform warms the baseline up, and ends a swap that would break production.
        Lie::After => Some(Step::Swap(Way::Back)),
        Lie::Replaced if wish.can_redeploy => Some(Step::Deploy(Arm::Baseline)),
        Lie::Replaced => Some(Step::Stuck(format!(
            "the slot holds `{}` and no longer the baseline `{}`, which cannot be deployed again from its pin alone: deploy it to \
             the slot, then the swap goes on",
            seen.slot.content, wish.baseline
        ))),
        Lie::Foreign => Some(foreign(seen, wish)),
    }
}

/// What is still to be done until the candidate stands in the slot and has been fit for long enough.
fn fit_slot(seen: &Seen, wish: &Wish, lie: Lie, now: Timestamp) -> Option<Step> {
    if lie != Lie::Before {
        return Some(Step::Deploy(Arm::Candidate));
    }
    if !seen.slot.is_running {
        return Some(Step::StartSlot);
    }
    match &seen.memory.phase {
        Phase::Starting { since } => Some(match &seen.slot_fitness {
            None => Step::Prove(Whose::Slot),
            Some(Fitness::Fit) => Step::Note(
                Phase::Fit { since: now },
                "the slot is fit; it must stay so for a while".to_owned(),
            ),
            Some(Fitness::Unfit { why, is_certain }) => patience(*since, wish.start_within, now, why, *is_certain),
        }),
        Phase::Fit { since } => match &seen.slot_fitness {
            None => Some(Step::Prove(Whose::Slot)),
            Some(Fitness::Unfit { why, .. }) => Some(Step::Note(Phase::Starting { since: now }, why.clone())),
            Some(Fitness::Fit) => steady(*since, wish, now),
        },
        Phase::Idle
        | Phase::Preview { .. }
        | Phase::PreviewFit { .. }
        | Phase::Swapping(_)
        | Phase::Swapped { .. }
        | Phase::Failed { .. }
        | Phase::Released => Some(Step::Note(
            Phase::Starting { since: now },
            "the slot holds the candidate; whether it is fit is looked at".to_owned(),
        )),
    }
}

fn steady(since: Timestamp, wish: &Wish, now: Timestamp) -> Option<Step> {
    let lasted = Duration::between(since, now);
    (lasted < wish.steady_for).then(|| {
        Step::Wait(format!(
            "the slot has been fit for {}s of {}",
            lasted.as_millis() / 1_000,
            wish.steady_for
        ))
    })
}

fn patience(since: Timestamp, within: Duration, now: Timestamp, why: &str, is_certain: bool) -> Step {
    if is_certain {
        Step::Stuck(why.to_owned())
    } else if Duration::between(since, now) > within {
        Step::Stuck(format!("{why} (not fit after {within})"))
    } else {
        Step::Wait(why.to_owned())
    }
}

/// From a candidate in the slot to a candidate in production.
fn across(seen: &Seen, wish: &Wish, lie: Lie, now: Timestamp) -> Step {
    match &seen.memory.phase {
        Phase::Preview { since } | Phase::PreviewFit { since } => previewed(seen, wish, *since, now),
        _ if seen.in_preview => Step::Reset(Phase::Idle),
        _ => match fit_slot(seen, wish, lie, now) {
            Some(step) => step,
            None if !seen.share.is_zero() => Step::Ramp(Share::ZERO),
            None if wish.preview => Step::Preview,
            None => Step::Swap(Way::Forth),
        },
    }
}

/// How long the platform may take to show a preview that it accepted.
const PREVIEW_SHOWS_WITHIN: Duration = Duration::from_secs(60);

/// The slot runs with production's settings: it is checked once more, and the swap is completed or taken back.
///
/// *Guarantees*: nothing is proven, and nothing swapped, while the platform does not show the preview: a slot that is fit under its
/// own settings says nothing about production's.
fn previewed(seen: &Seen, wish: &Wish, since: Timestamp, now: Timestamp) -> Step {
    if !seen.in_preview {
        return if Duration::between(since, now) > PREVIEW_SHOWS_WITHIN {
            Step::Note(
                Phase::Idle,
                "the slot does not show the first phase of the swap: it never began, or somebody else took it back; it is given again"
                    .to_owned(),
            )
        } else {
            Step::Wait("the first phase of the swap was ordered and is not shown yet".to_owned())
        };
    }
    if !seen.share.is_zero() {
        return Step::Ramp(Share::ZERO);
    }
    let is_fit = matches!(seen.memory.phase, Phase::PreviewFit { .. });
    match &seen.slot_fitness {
        None => Step::Prove(Whose::Slot),
        Some(Fitness::Fit) if !is_fit => Step::Note(
            Phase::PreviewFit { since: now },
            "the slot is fit with production's settings; it must stay so for a while".to_owned(),
        ),
        Some(Fitness::Fit) => steady(since, wish, now).unwrap_or(Step::Swap(Way::Forth)),
        Some(Fitness::Unfit { why, .. }) if is_fit => Step::Note(Phase::Preview { since: now }, why.clone()),
        Some(Fitness::Unfit { why, is_certain }) => match patience(since, wish.start_within, now, why, *is_certain) {
            Step::Stuck(why) => Step::Reset(Phase::Failed {
                why: format!("the swap was cancelled after its preview: with production's settings, {why}"),
            }),
            step => step,
        },
    }
}

/// The candidate stands in production.
fn arrived(seen: &Seen, wish: &Wish, lie: Lie, now: Timestamp) -> Step {
    if seen.in_preview {
        return Step::Reset(Phase::Idle);
    }
    if lie == Lie::Replaced && wish.goal == Goal::Full {
        return Step::Stuck(format!(
            "somebody else put `{}` into the slot: the baseline `{}` no longer stands by, so that a swap back is not possible",
            seen.slot.content, wish.baseline
        ));
    }
    if !seen.production.is_running {
        return Step::Stuck("the site is stopped".to_owned());
    }
    match (&seen.production_fitness, &seen.memory.phase) {
        (None, _) => Step::Prove(Whose::Production),
        (Some(Fitness::Fit), Phase::Swapped { since }) if steady(*since, wish, now).is_some() => {
            Step::Wait("the candidate is in production; it must be fit there for a while".to_owned())
        }
        (Some(Fitness::Fit), phase) if wish.goal == Goal::Promoted && *phase != Phase::Released => Step::Note(
            Phase::Released,
            "the candidate serves everything; the slot is released".to_owned(),
        ),
        (Some(Fitness::Fit), _) => Step::Settled,
        (Some(Fitness::Unfit { why, is_certain }), Phase::Swapped { since }) => {
            patience(*since, wish.start_within, now, why, *is_certain)
        }
        (Some(Fitness::Unfit { why, .. }), Phase::Released) => Step::Stuck(why.clone()),
        (Some(Fitness::Unfit { why, .. }), _) => Step::Note(Phase::Swapped { since: now }, why.clone()),
    }
}

/// The baseline stands in production, and nobody is sent to the slot.
fn reverted(seen: &Seen, wish: &Wish, lie: Lie, now: Timestamp) -> Step {
    if !seen.production.is_running {
        return Step::Stuck("the site is stopped, so that the baseline serves nobody".to_owned());
    }
    match &seen.production_fitness {
        None => return Step::Prove(Whose::Production),
        Some(Fitness::Unfit { why, is_certain: true }) => return Step::Stuck(why.clone()),
        Some(Fitness::Unfit { why, is_certain: false }) => return Step::Wait(why.clone()),
        Some(Fitness::Fit) => {}
    }
    if wish.goal == Goal::Reverted {
        return Step::Settled;
    }
    // A slot with anything but the candidate is somebody else's.
    let is_ours = lie == Lie::Before && seen.slot.is_running;
    // Clients that a cookie holds at the slot are sent nowhere else: a stopped slot answers them 403. Nor is the run held until
    // their hour is over: the slot is left running, and stopped by a later call if there is one.
    let pinned_until = seen.memory.pinned_until.filter(|until| is_ours && *until > now);
    let is_released = seen.memory.phase == Phase::Released;
    match pinned_until {
        None if is_ours => Step::StopSlot,
        None if !is_released => Step::Note(
            Phase::Released,
            "the candidate is withdrawn; the slot is released".to_owned(),
        ),
        Some(until) if !is_released => Step::Note(
            Phase::Released,
            format!(
                "the candidate is withdrawn and its slot released; it is left running because the cookie x-ms-routing-name may hold \
                 clients there until {until}: stop it then, or leave it to the next release"
            ),
        ),
        None | Some(_) => Step::Settled,
    }
}
