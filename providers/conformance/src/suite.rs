//! The suite: every behaviour, in one list, and how they are tried.

use std::panic::AssertUnwindSafe;

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, StreamExt as _};

use crate::behaviours::{ailments, faults, fences, meddling, opening, orders, rollbacks};
use crate::report::{Report, Row, Verdict};
use crate::rig::{Offered, Workshop};
use crate::trial::{Flaw, Outcome};

/// Something that a provider must do.
pub struct Behaviour {
    pub group: &'static str,
    /// A sentence that is true of a provider that does it.
    pub name: &'static str,
    attempt: for<'a> fn(&'a dyn Workshop) -> BoxFuture<'a, Outcome>,
}

macro_rules! behaviours {
    ($($group:literal { $($name:literal => $attempt:path,)* })*) => {
        &[$($(Behaviour {
            group: $group,
            name: $name,
            attempt: |workshop| Box::pin($attempt(workshop)),
        },)*)*]
    };
}

/// Every behaviour. A new one is a function and a line here.
pub const BEHAVIOURS: &[Behaviour] = behaviours! {
    "Opening" {
        "a look tells the baseline and changes nothing" => opening::tells_the_baseline,
        "a target has one name, however it is spelled" => opening::names_the_target,
        "a target that does not exist is refused for good, by name" => opening::refuses_a_missing_target,
        "settings that are not sound are refused, with what is wrong" => opening::refuses_unsound_settings,
        "what the platform cannot do is refused for good" => opening::refuses_what_it_cannot,
        "releasing what already serves moves nothing" => opening::releases_what_serves,
    }
    "Orders" {
        "a candidate is staged, ready and without traffic" => orders::stages,
        "shares climb the ladder and never exceed their order" => orders::climbs,
        "traffic never goes to what is not ready" => orders::never_loses_traffic,
        "a look tells what is, not what was ordered" => orders::tells_what_is,
        "a share can be lowered again" => orders::lowers,
        "mirrored traffic leaves the live traffic alone" => orders::mirrors,
        "a promoted candidate serves everything" => orders::promotes,
        "promoting twice is promoting once" => orders::promotes_twice,
        "a settled order that is asked again writes nothing" => orders::writes_once,
        "no call waits for the platform" => orders::never_waits,
    }
    "Fences" {
        "an order with a lower fence is stale and changes nothing" => fences::refuses_lower,
        "a higher claim, epoch or number wins, in that order" => fences::takes_higher,
        "an order that is overtaken on its way is stale" => fences::refuses_overtaken,
        "of two owners that race, the higher fence wins" => fences::settles_races,
        "the fence outlives promotion and withdrawal" => fences::outlives_the_candidate,
    }
    "Rollback" {
        "from a staged candidate" => rollbacks::from_staged,
        "from every share" => rollbacks::from_every_share,
        "midway through every shift" => rollbacks::midway_through_shifts,
        "midway through a promotion" => rollbacks::midway_through_promotion,
        "after a promotion" => rollbacks::after_promotion,
        "in one order, without a revert before the withdrawal" => rollbacks::at_once,
        "of what was never ordered, and twice" => rollbacks::of_nothing,
        "takes the traffic before anything else" => rollbacks::traffic_first,
        "the release can go out again afterwards" => rollbacks::and_out_again,
    }
    "Ailments" {
        "an image that cannot be had is told" => ailments::image_missing,
        "a crash loop is told with its exit code" => ailments::crash_loop,
        "ready for a moment, again and again, is not ready" => ailments::flapping,
        "running out of memory is told" => ailments::out_of_memory,
        "a health check that never passes is told" => ailments::never_ready,
        "having no machine to run on is told" => ailments::unschedulable,
        "a quota that is used up is told" => ailments::quota,
        "a serving candidate that falls ill is no longer settled" => ailments::while_serving,
    }
    "Faults" {
        "429 is told as transient, with the time to wait" => faults::too_many_requests,
        "5xx is told as transient" => faults::server_errors,
        "a refused connection is told as transient" => faults::refused,
        "a server that says nothing is given up in time" => faults::hang,
        "half an answer is no answer" => faults::half_body,
        "an answer that cannot be read is no success" => faults::malformed,
        "refused credentials are told as lasting" => faults::unauthenticated,
        "missing permission is told as lasting" => faults::forbidden,
        "a change whose answer is lost is made once, whichever it is" => faults::applied_without_answer,
        "an order that breaks off at any change is taken up again" => faults::breaks_off,
        "changes of which every second fails leave nothing mixed" => faults::every_second_write,
        "reads of the past settle nothing" => faults::stale_reads,
    }
    "Meddling" {
        "traffic that others took back is noticed" => meddling::traffic_reverted,
        "a candidate that others scaled away is noticed" => meddling::candidate_scaled_away,
        "a candidate that others deleted is noticed" => meddling::candidate_deleted,
    }
};

/// Groups that nobody can try without hands on the platform.
const HANDS_ON: [&str; 3] = ["Ailments", "Faults", "Meddling"];

/// Tries every behaviour, each in a rig of its own.
pub async fn run(workshop: &dyn Workshop) -> Report {
    run_telling(workshop, |_| true, |_| {}).await
}

/// Tries those behaviours that `wanted` picks.
pub async fn run_some(workshop: &dyn Workshop, wanted: impl Fn(&Behaviour) -> bool) -> Report {
    run_telling(workshop, wanted, |_| {}).await
}

/// The same, and tells each verdict as soon as it is there.
pub async fn run_telling(
    workshop: &dyn Workshop,
    wanted: impl Fn(&Behaviour) -> bool,
    mut tell: impl FnMut(&Row),
) -> Report {
    let attempts = BEHAVIOURS.iter().filter(|behaviour| wanted(behaviour));
    let attempts = attempts.map(|behaviour| attempt(workshop, behaviour));
    let mut rows = Vec::new();
    let mut verdicts = std::pin::pin!(stream::iter(attempts).buffered(workshop.at_once().max(1)));
    while let Some(row) = verdicts.next().await {
        tell(&row);
        rows.push(row);
    }
    Report {
        provider: workshop.name(),
        rows,
    }
}

async fn attempt(workshop: &dyn Workshop, behaviour: &Behaviour) -> Row {
    let outcome = match workshop.hands() {
        Offered::No(why) if HANDS_ON.contains(&behaviour.group) => Ok(Err(Flaw::NotTried(why.to_owned()))),
        // A panic of a rig or a provider is that behaviour's failure, not the end of the suite.
        Offered::Yes | Offered::No(_) => AssertUnwindSafe((behaviour.attempt)(workshop)).catch_unwind().await,
    };
    let verdict = match outcome {
        Ok(Ok(())) => Verdict::Passed,
        Ok(Err(Flaw::Failed(why))) => Verdict::Failed { why },
        Ok(Err(Flaw::NotTried(why))) => Verdict::NotTried { why },
        Err(panic) => Verdict::Failed {
            why: format!("panicked: {}", told(&*panic)),
        },
    };
    Row {
        group: behaviour.group.to_owned(),
        behaviour: behaviour.name.to_owned(),
        verdict,
    }
}

/// What a panic said.
fn told(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
}
