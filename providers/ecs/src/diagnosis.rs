//! Why a version's tasks do not stay up, in the words an operator needs at night.

use std::time::Duration;

use jiff::Timestamp;

use crate::facts::{Ended, Event, Health, Stopped};

/// A task that lived and died leaves its successor under suspicion for at least this long.
const SUSPICION_MIN: Duration = Duration::from_secs(30);
const SUSPICION_MAX: Duration = Duration::from_secs(300);
/// After so many failures of the same version nobody has to wait for one more.
const FAILURES_ENOUGH: usize = 2;

/// What is wrong with a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Illness {
    pub why: String,
    /// Whether waiting longer is of no use.
    pub is_lasting: bool,
}

/// What there is to judge a version by.
#[derive(Clone, Debug, Default)]
pub struct Evidence<'a> {
    pub task_definition: &'a str,
    /// Only what happened after this counts.
    pub since: Option<Timestamp>,
    pub stopped: &'a [Stopped],
    pub events: &'a [Event],
    pub health: Option<&'a Health>,
    /// Whether all the tasks that are wanted run.
    pub is_complete: bool,
}

/// What is wrong with the version, if anything is.
pub fn of(evidence: &Evidence<'_>, now: Timestamp) -> Option<Illness> {
    failing_tasks(evidence, now)
        .or_else(|| unplaceable(evidence))
        .or_else(|| unhealthy_targets(evidence))
}

fn failing_tasks(evidence: &Evidence<'_>, now: Timestamp) -> Option<Illness> {
    let failures: Vec<(&Stopped, String, bool)> = evidence
        .stopped
        .iter()
        .filter(|task| task.task_definition == evidence.task_definition)
        .filter(|task| is_after(task.created.or(task.stopped), evidence.since))
        .filter_map(|task| failure(task).map(|(why, is_hopeless)| (task, why, is_hopeless)))
        .collect();
    let (last, why, is_hopeless) = failures.iter().max_by_key(|(task, _, _)| task.stopped)?;
    let suspicion = suspicion(last);
    let is_recent = last
        .stopped
        .is_none_or(|at| now.duration_since(at).unsigned_abs() < suspicion || at > now);
    // A crash that is long past, with everything up since, is history.
    if evidence.is_complete && !is_recent {
        return None;
    }
    let times = match failures.len() {
        1 => String::new(),
        many => format!(" ({many} tasks so far)"),
    };
    Some(Illness {
        why: format!("{why}{times}"),
        is_lasting: *is_hopeless || failures.len() >= FAILURES_ENOUGH,
    })
}

/// How long a successor has to live to be trusted: longer than the one that died.
fn suspicion(task: &Stopped) -> Duration {
    let lived = match (task.started, task.stopped) {
        (Some(started), Some(stopped)) => stopped.duration_since(started).unsigned_abs(),
        _ => Duration::ZERO,
    };
    (lived * 2).clamp(SUSPICION_MIN, SUSPICION_MAX)
}

fn is_after(at: Option<Timestamp>, since: Option<Timestamp>) -> bool {
    match (at, since) {
        (Some(at), Some(since)) => at >= since,
        (_, None) | (None, _) => true,
    }
}

/// Why a task failed, and whether the next one must fail too; nothing where it was stopped on purpose or its machine went.
fn failure(task: &Stopped) -> Option<(String, bool)> {
    let reason = task.reason.as_deref().unwrap_or_default();
    let said = |text: &str| contains(reason, text) || task.containers.iter().any(|c| contains(c.said(), text));
    let told = |text: &str| {
        let container = task.containers.iter().find(|c| contains(c.said(), text));
        container.map_or(reason, Ended::said)
    };
    if said("CannotPull") || said("pull image") {
        let container = task.containers.iter().find(|c| contains(c.said(), "CannotPull"));
        let container = container.or(task.containers.first());
        let image = container.and_then(|c| c.image.as_deref()).unwrap_or("of the task");
        let message = brief(if container.is_some_and(|c| contains(c.said(), "pull")) {
            container.map_or(reason, Ended::said)
        } else {
            reason
        });
        return Some((format!("the image {image} cannot be pulled: {message}"), true));
    }
    if said("OutOfMemory") {
        let container = task
            .containers
            .iter()
            .find(|c| contains(c.said(), "OutOfMemory") || c.exit_code == Some(137));
        let name = container.map_or("a container", |c| c.name.as_str());
        return Some((
            format!("{name} was killed for using more memory than it may (out of memory)"),
            false,
        ));
    }
    if said("ResourceInitializationError") {
        return Some((
            format!(
                "the task cannot be set up: {}",
                brief(told("ResourceInitializationError"))
            ),
            true,
        ));
    }
    if said("CannotStartContainer") || said("CannotCreateContainer") {
        let what = if said("CannotStartContainer") {
            "CannotStart"
        } else {
            "CannotCreate"
        };
        return Some((format!("a container cannot be started: {}", brief(told(what))), false));
    }
    if contains(reason, "health check") {
        return Some((format!("the health check keeps failing: {}", brief(reason)), false));
    }
    match task.code.as_deref() {
        Some("EssentialContainerExited") => Some((crashed(task), false)),
        Some("TaskFailedToStart") => Some((format!("the task does not start: {}", brief(reason)), false)),
        _ if contains(reason, "Essential container in task exited") => Some((crashed(task), false)),
        // Scaling in, a person, a spot interruption, a machine that went: not the version's fault.
        _ => None,
    }
}

fn crashed(task: &Stopped) -> String {
    let failed = task
        .containers
        .iter()
        .find(|c| c.exit_code.is_some_and(|code| code != 0));
    match failed.or(task.containers.iter().find(|c| c.exit_code.is_some())) {
        Some(Ended {
            name,
            exit_code: Some(code),
            ..
        }) => format!("{name} ends again and again with exit code {code} (crash loop)"),
        _ => "an essential container ended (crash loop)".to_owned(),
    }
}

/// What the scheduler says when there is no room or no more may run.
fn unplaceable(evidence: &Evidence<'_>) -> Option<Illness> {
    if evidence.is_complete {
        return None;
    }
    let recent = evidence
        .events
        .iter()
        .filter(|event| is_after(event.at, evidence.since));
    let told = recent.max_by_key(|event| event.at).into_iter();
    // The newest event alone: an older complaint may have been met since.
    for event in told {
        let message = &event.message;
        let quota = ["reached the limit", "limit on the number", "quota", "LimitExceeded"];
        if quota.iter().any(|text| contains(message, text)) {
            return Some(Illness {
                why: format!("the account's quota is used up: {}", brief(message)),
                is_lasting: true,
            });
        }
        let room = [
            "unable to place a task",
            "Capacity is unavailable",
            "no container instance met",
        ];
        if room.iter().any(|text| contains(message, text)) {
            return Some(Illness {
                why: format!("no machine has room for the task (unschedulable): {}", brief(message)),
                is_lasting: true,
            });
        }
    }
    None
}

fn unhealthy_targets(evidence: &Evidence<'_>) -> Option<Illness> {
    let health = evidence.health?;
    let complaint = health.complaints.first()?;
    Some(Illness {
        why: format!("the health check of the target group does not pass: {complaint}"),
        is_lasting: false,
    })
}

/// What AWS's code for a target's state means. Those of a target that is only on its way in or out say nothing.
pub fn complaint(reason: &str, description: Option<&str>) -> Option<String> {
    let words = match reason {
        "Target.ResponseCodeMismatch" => "the answer has the wrong status code",
        "Target.Timeout" => "no answer in time",
        "Target.FailedHealthChecks" => "the connection fails or the answer is malformed",
        "Target.IpUnusable" => "the address cannot be used as a target",
        "Target.InvalidState" => "the target is stopped",
        "Elb.InternalError" => "the load balancer has a fault of its own",
        "Elb.RegistrationInProgress"
        | "Elb.InitialHealthChecking"
        | "Target.NotRegistered"
        | "Target.NotInUse"
        | "Target.DeregistrationInProgress"
        | "Target.HealthCheckDisabled" => return None,
        other => other,
    };
    Some(match description {
        Some(text) if !text.is_empty() => format!("{words} ({})", brief(text)),
        _ => words.to_owned(),
    })
}

impl Ended {
    fn said(&self) -> &str {
        self.reason.as_deref().unwrap_or_default()
    }
}

fn contains(text: &str, part: &str) -> bool {
    text.to_ascii_lowercase().contains(&part.to_ascii_lowercase())
}

/// The first line, at most about two hundred characters of it.
fn brief(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim();
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::Timestamp;
    use proptest::prelude::proptest;

    use super::{Evidence, complaint, of};
    use crate::facts::{Ended, Event, Health, Stopped};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn stopped(code: &str, reason: &str, exit: Option<i32>, said: &str) -> Stopped {
        Stopped {
            task_definition: "app:2".into(),
            code: Some(code.into()),
            reason: Some(reason.into()),
            containers: vec![Ended {
                name: "app".into(),
                image: Some("shop:v2".into()),
                exit_code: exit,
                reason: (!said.is_empty()).then(|| said.into()),
            }],
            started: Some(at(0)),
            stopped: Some(at(1)),
            created: Some(at(0)),
        }
    }

    fn evidence<'a>(stopped: &'a [Stopped], events: &'a [Event]) -> Evidence<'a> {
        Evidence {
            task_definition: "app:2",
            stopped,
            events,
            ..Evidence::default()
        }
    }

    #[test]
    fn each_way_of_failing_is_told_in_plain_words() {
        let cases = [
            (
                stopped(
                    "TaskFailedToStart",
                    "CannotPullContainerError: manifest unknown",
                    None,
                    "",
                ),
                "the image shop:v2 cannot be pulled: CannotPullContainerError: manifest unknown",
            ),
            (
                stopped(
                    "EssentialContainerExited",
                    "Essential container in task exited",
                    Some(9),
                    "",
                ),
                "app ends again and again with exit code 9 (crash loop)",
            ),
            (
                stopped(
                    "EssentialContainerExited",
                    "Essential container in task exited",
                    Some(137),
                    "OutOfMemoryError: Container killed due to memory usage",
                ),
                "app was killed for using more memory than it may (out of memory)",
            ),
            (
                stopped(
                    "ServiceSchedulerInitiated",
                    "Task failed ELB health checks in (target-group x)",
                    None,
                    "",
                ),
                "the health check keeps failing: Task failed ELB health checks in (target-group x)",
            ),
            (
                stopped(
                    "TaskFailedToStart",
                    "ResourceInitializationError: unable to pull secrets or registry auth",
                    None,
                    "",
                ),
                "the task cannot be set up: ResourceInitializationError: unable to pull secrets or registry auth",
            ),
        ];
        for (task, words) in cases {
            let told = of(&evidence(&[task], &[]), at(2)).unwrap();
            assert_eq!(told.why, words);
        }
    }

    #[test]
    fn tasks_that_were_stopped_on_purpose_are_no_illness() {
        let scaled = stopped(
            "ServiceSchedulerInitiated",
            "Scaling activity initiated by (deployment x)",
            Some(0),
            "",
        );
        let spot = stopped("SpotInterruption", "Your Spot Task was interrupted.", None, "");
        let person = stopped("UserInitiated", "Task stopped by user", Some(143), "");
        assert_eq!(of(&evidence(&[scaled, spot, person], &[]), at(2)), None);
        let mut other = stopped(
            "EssentialContainerExited",
            "Essential container in task exited",
            Some(1),
            "",
        );
        other.task_definition = "app:1".into();
        assert_eq!(
            of(&evidence(&[other], &[]), at(2)),
            None,
            "the baseline's crash is not the candidate's"
        );
    }

    #[test]
    fn one_crash_is_waited_out_and_two_are_enough() {
        let crash = stopped(
            "EssentialContainerExited",
            "Essential container in task exited",
            Some(1),
            "",
        );
        let one = [crash.clone()];
        assert!(!of(&evidence(&one, &[]), at(2)).unwrap().is_lasting);
        let two = [crash.clone(), crash.clone()];
        assert!(of(&evidence(&two, &[]), at(2)).unwrap().is_lasting);
        let up_again = Evidence {
            is_complete: true,
            ..evidence(&one, &[])
        };
        assert!(of(&up_again, at(10)).is_some(), "ready for a moment is no health");
        assert_eq!(of(&up_again, at(40)), None);
        let before = Evidence {
            since: Some(at(5)),
            ..evidence(&two, &[])
        };
        assert_eq!(of(&before, at(6)), None, "an earlier attempt's crashes are behind");
    }

    #[test]
    fn the_schedulers_newest_word_counts() {
        let event = |seconds, message: &str| Event {
            at: Some(at(seconds)),
            message: message.into(),
        };
        let full = event(
            1,
            "(service shop) was unable to place a task because no container instance met all of its requirements.",
        );
        let quota = event(
            1,
            "(service shop) You've reached the limit on the number of vCPUs you can run concurrently",
        );
        let steady = event(2, "(service shop) has reached a steady state.");
        assert!(
            of(&evidence(&[], std::slice::from_ref(&full)), at(3))
                .unwrap()
                .why
                .contains("unschedulable")
        );
        assert!(of(&evidence(&[], &[quota]), at(3)).unwrap().why.contains("quota"));
        assert_eq!(of(&evidence(&[], &[full, steady]), at(3)), None);
    }

    #[test]
    fn a_target_on_its_way_in_is_no_complaint() {
        assert_eq!(complaint("Elb.InitialHealthChecking", None), None);
        let told = complaint(
            "Target.ResponseCodeMismatch",
            Some("Health checks failed with these codes: [503]"),
        )
        .unwrap();
        assert!(told.contains("wrong status code") && told.contains("[503]"), "{told}");
        let health = Health {
            complaints: vec![told],
            ..Health::default()
        };
        let seen = Evidence {
            health: Some(&health),
            ..evidence(&[], &[])
        };
        assert!(of(&seen, at(0)).unwrap().why.contains("503"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(reason in ".{0,400}", said in ".{0,400}", code in ".{0,20}") {
            let task = stopped(&code, &reason, Some(1), &said);
            let _ = of(&evidence(&[task], &[]), at(1));
        }
    }
}
