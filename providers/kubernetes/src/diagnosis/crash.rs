//! Containers that end when they should not: crash loops, memory limits, probes that kill, starts that fail.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};

use super::evidence::{Evidence, message};
use super::finding::{Cause, Finding, stuck_if};
use super::pod::{Container, containers, is_ready};
use super::quote;

/// Restarts after which a crash is a loop: the third end in a row is no accident of a dependency that started late.
const RESTARTS_OF_A_LOOP: i32 = 2;
/// A container that was killed for its memory twice will be a third time.
const RESTARTS_OF_A_MEMORY_LOOP: i32 = 1;
/// A restarted container that has run this long is taken to have recovered.
const RECOVERED_SECONDS: i64 = 120;

/// What made a container end.
pub fn finding(container: &Container<'_>, pod: &Pod, evidence: &Evidence, now: Timestamp) -> Option<Finding> {
    let end = last_end(container)?;
    if has_recovered(container, now) || (container.is_init && end.exit_code == 0) {
        return None;
    }
    let restarts = container.status.restart_count;
    if let Some(killed) = killed_by_probe(container, pod, evidence, end) {
        return Some(killed);
    }
    if end.reason.as_deref() == Some("OOMKilled") {
        let limit = memory_limit(container, pod);
        let limit = limit.map_or("the memory of its node".to_owned(), |limit| {
            format!("its limit of {limit}")
        });
        let what = format!("{} is killed for using more memory than {limit}", container.words());
        let prospect = stuck_if(restarts >= RESTARTS_OF_A_MEMORY_LOOP);
        return Some(Finding::in_pod(Cause::Memory, prospect, what).because(count(restarts)));
    }
    let often = restarts >= RESTARTS_OF_A_LOOP;
    let what = format!(
        "{} {}",
        container.words(),
        if often {
            "crashes again and again"
        } else {
            "has crashed"
        }
    );
    let detail = format!(
        "{}, {}{}",
        exit_words(end),
        count(restarts),
        last_words(container, pod, evidence, end)
    );
    Some(Finding::in_pod(Cause::Crash, stuck_if(often), what).because(detail))
}

/// The containers whose last words are worth reading.
pub fn crashed(pod: &Pod) -> Vec<String> {
    let containers = containers(pod);
    let ended = containers
        .iter()
        .filter(|container| last_end(container).is_some_and(|end| end.exit_code != 0 || !container.is_init));
    ended.map(|container| container.status.name.clone()).collect()
}

/// How the container last ended: the end it stands at, or the one before its last start.
fn last_end<'a>(container: &Container<'a>) -> Option<&'a ContainerStateTerminated> {
    let ended = |state: &'a Option<k8s_openapi::api::core::v1::ContainerState>| state.as_ref()?.terminated.as_ref();
    ended(&container.status.state).or_else(|| ended(&container.status.last_state))
}

fn has_recovered(container: &Container<'_>, now: Timestamp) -> bool {
    let running = container.status.state.as_ref().and_then(|state| state.running.as_ref());
    let started = running.and_then(|running| running.started_at.as_ref());
    let lasts = started.is_some_and(|started| now.as_second() - started.0.as_second() >= RECOVERED_SECONDS);
    // A first restart that came back ready is told by nobody; from the second on, time must speak for it.
    running.is_some() && (lasts || (container.status.ready && container.status.restart_count < RESTARTS_OF_A_LOOP))
}

/// A container that its liveness or startup probe had killed.
fn killed_by_probe(
    container: &Container<'_>,
    pod: &Pod,
    evidence: &Evidence,
    end: &ContainerStateTerminated,
) -> Option<Finding> {
    // SIGTERM first, SIGKILL after the grace period; a server that ends well on SIGTERM says 0.
    if !matches!(end.exit_code, 0 | 137 | 143) {
        return None;
    }
    let name = format!("Container {} failed ", container.status.name);
    let killing = evidence.latest(pod, &["Killing"], |said| said.starts_with(&name))?;
    let kind = if message(killing).contains("startup probe") {
        "startup"
    } else {
        "liveness"
    };
    let capital = if kind == "startup" { "Startup" } else { "Liveness" };
    let probe = evidence.latest(pod, &["Unhealthy"], |said| {
        said.starts_with(&format!("{capital} probe"))
    });
    let said = probe
        .map(|event| quote::application(message(event)))
        .unwrap_or_default();
    let unready = evidence
        .latest(pod, &["Unhealthy"], |said| said.starts_with("Readiness probe"))
        .is_some();
    let healthy = kind == "liveness" && !unready && is_ready(pod);
    let what = format!("the {kind} probe of {} kills it", container.words());
    let restarts = container.status.restart_count;
    let hint = if healthy {
        ", though its readiness probe passes: the liveness probe may be too strict"
    } else {
        ""
    };
    let said = if said.is_empty() { said } else { format!(" (`{said}`)") };
    Some(
        Finding::in_pod(Cause::Probe, stuck_if(restarts >= RESTARTS_OF_A_LOOP), what)
            .because(format!("{}{said}{hint}", count(restarts))),
    )
}

fn memory_limit(container: &Container<'_>, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let resources = all.find(|one| one.name == container.status.name)?.resources.as_ref()?;
    resources.limits.as_ref()?.get("memory").map(|limit| limit.0.clone())
}

fn count(restarts: i32) -> String {
    format!("{restarts} restart{}", if restarts == 1 { "" } else { "s" })
}

/// An exit code and what it usually means: above 128 a signal ended the process.
fn exit_words(end: &ContainerStateTerminated) -> String {
    let code = end.exit_code;
    let meaning = match code {
        0 => " (it ended by itself, and a server must not)",
        126 => " (its command cannot be executed)",
        127 => " (its command does not exist)",
        128 if end.reason.as_deref() == Some("StartError") => " (it could not be started)",
        130 => " (SIGINT)",
        132 => " (SIGILL: an instruction that the processor does not know)",
        134 => " (SIGABRT: it gave up by itself)",
        135 => " (SIGBUS)",
        136 => " (SIGFPE)",
        137 => " (SIGKILL: killed, often for the node's memory or at the end of its grace period)",
        139 => " (SIGSEGV: it touched memory that is not its own)",
        143 => " (SIGTERM: it was asked to end)",
        _ => "",
    };
    format!("last exit code {code}{meaning}")
}

/// The end of its log; where that cannot be read, what the kubelet kept of it.
fn last_words(container: &Container<'_>, pod: &Pod, evidence: &Evidence, end: &ContainerStateTerminated) -> String {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let log = evidence
        .logs
        .get(&(name, container.status.name.clone()))
        .and_then(|log| quote::log_tail(log));
    if let Some(log) = log {
        return format!("; its log ends: `{log}`");
    }
    let kept = end.message.as_deref().and_then(quote::log_tail);
    kept.map_or(String::new(), |kept| format!("; it said: `{kept}`"))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::super::evidence::Evidence;
    use super::super::{Prospect, diagnose};

    fn crashed(restarts: i32, state: Value, code: i32, reason: &str) -> Evidence {
        let status = json!({
            "phase": "Running",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-03-02T10:00:00Z"},
                {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "lastProbeTime": null, "lastTransitionTime": "2026-03-02T10:00:00Z"},
            ],
            "containerStatuses": [{
                "name": "app", "image": "r/app:v2", "imageID": "r/app@sha256:1", "ready": false, "started": false, "restartCount": restarts,
                "state": state,
                "lastState": {"terminated": {"exitCode": code, "reason": reason, "startedAt": "2026-03-02T10:00:01Z",
                    "finishedAt": "2026-03-02T10:00:02Z", "containerID": "containerd://1"}},
            }],
        });
        super::super::tests::given(vec![status])
    }

    fn backing_off() -> Value {
        json!({"waiting": {"reason": "CrashLoopBackOff",
            "message": "back-off 20s restarting failed container=app pod=payments-7d9_shop(1b)"}})
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second("2026-03-02T10:00:00Z".parse::<Timestamp>().unwrap().as_second() + second).unwrap()
    }

    #[test]
    fn a_crash_loop_tells_its_exit_code_and_its_last_words() {
        let mut evidence = crashed(3, backing_off(), 3, "Error");
        evidence.logs.insert(
            ("payments-7d9-0".to_owned(), "app".to_owned()),
            "listening\nDATABASE_URL is not set, password=x\n".to_owned(),
        );
        let found = diagnose(&evidence, at(60)).unwrap();
        assert_eq!(found.prospect, Prospect::Stuck);
        assert_eq!(
            found.why,
            "container `app` crashes again and again (1 of 1 pod): last exit code 3, 3 restarts; its log ends: `listening | DATABASE_URL is not set, password=***`"
        );
    }

    #[test]
    fn one_crash_may_be_an_accident() {
        let running = json!({"running": {"startedAt": "2026-03-02T10:00:03Z"}});
        let found = diagnose(&crashed(1, running, 1, "Error"), at(10)).unwrap();
        assert_eq!(found.prospect, Prospect::Moving);
        assert!(found.why.starts_with("container `app` has crashed"), "{}", found.why);
    }

    #[test]
    fn a_container_that_is_ready_for_a_moment_between_crashes_is_stuck() {
        let running = json!({"running": {"startedAt": "2026-03-02T10:00:30Z"}});
        let mut evidence = crashed(2, running.clone(), 137, "Error");
        let status = evidence.pods[0].status.as_mut().unwrap();
        status.container_statuses.as_mut().unwrap()[0].ready = true;
        status.conditions.as_mut().unwrap()[1].status = "True".to_owned();
        assert_eq!(diagnose(&evidence, at(31)).unwrap().prospect, Prospect::Stuck);
        let complete = super::super::tests::complete(evidence);
        assert_eq!(diagnose(&complete, at(31)).unwrap().prospect, Prospect::Stuck);
        assert_eq!(diagnose(&complete, at(200)), None, "it has run for minutes since");
    }

    #[test]
    fn a_killed_container_names_its_limit() {
        let found = diagnose(&crashed(1, backing_off(), 137, "OOMKilled"), at(60)).unwrap();
        assert_eq!(
            found.why,
            "container `app` is killed for using more memory than its limit of 256Mi (1 of 1 pod): 1 restart"
        );
        assert_eq!(found.prospect, Prospect::Stuck);
        let once = diagnose(&crashed(0, backing_off(), 137, "OOMKilled"), at(60)).unwrap();
        assert_eq!(once.prospect, Prospect::Moving);
    }

    #[test]
    fn exit_codes_have_words() {
        for (code, words) in [
            (0, "ended by itself"),
            (127, "does not exist"),
            (139, "SIGSEGV"),
            (143, "SIGTERM"),
            (137, "SIGKILL"),
        ] {
            let why = diagnose(&crashed(4, backing_off(), code, "Error"), at(60)).unwrap().why;
            assert!(
                why.contains(words) && why.contains(&format!("exit code {code}")),
                "{why}"
            );
        }
    }
}
