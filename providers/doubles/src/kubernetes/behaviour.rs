//! What pods are told to do: a few words in the annotation `klab/do`, or by a rule for their image.
//!
//! `ready start=S ready=S` · `neverready` · `flaky at=S` · `imagepull` · `crashloop exit=N` · `oom` · `flapping up=S exit=N` ·
//! `succeed after=S` · `fail after=S exit=N` · `stuck` · `unschedulable` · `quota`, and `slowstop=S` with any of them.

use serde_json::{Value, json};

use crate::kubernetes::object::{items, text};
use crate::kubernetes::world::told;

/// A rule for pods whose image fits a pattern with `*`.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) image: String,
    pub(crate) words: String,
}

/// What one pod does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Words {
    deed: Deed,
    /// Seconds until its container runs.
    start: f64,
    /// Seconds from there until it would be ready.
    ready: f64,
    /// Seconds that it takes to go.
    pub(crate) stop: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum Deed {
    Ready,
    NeverReady,
    /// Ready, and not any more after so many seconds.
    Flaky(f64),
    ImagePull,
    /// Ends again and again with this code and reason; ready for so many seconds before it does.
    Crash {
        exit: i64,
        reason: &'static str,
        up: f64,
    },
    /// Runs so many seconds and is done, with this code.
    Done {
        after: f64,
        exit: i64,
    },
    Stuck,
    Unschedulable,
    OverQuota,
}

/// The words for a pod: its own, else those of the first rule that fits one of its images, else `ready`.
pub(crate) fn words(rules: &[Rule], pod: &Value) -> Words {
    let images = || {
        items(pod, "/spec/containers")
            .iter()
            .map(|container| text(container, "/image"))
    };
    let text = told(pod)
        .filter(|words| !words.is_empty())
        .map(str::to_owned)
        .or_else(|| {
            rules
                .iter()
                .find(|rule| images().any(|image| glob(&rule.image, image)))
                .map(|rule| rule.words.clone())
        });
    read(&text.unwrap_or_default())
}

/// Reads the words; what is not understood is left aside, and no deed at all means `ready`.
fn read(text: &str) -> Words {
    let option = |name: &str, otherwise: f64| {
        text.split_whitespace()
            .filter_map(|word| word.split_once('='))
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| value.parse::<f64>().ok())
            .filter(|value| value.is_finite() && *value >= 0.0)
            .unwrap_or(otherwise)
    };
    #[allow(clippy::cast_possible_truncation)]
    let exit = option("exit", 1.0) as i64;
    let deed = match text
        .split_whitespace()
        .find(|word| !word.contains('='))
        .unwrap_or("ready")
    {
        "neverready" => Deed::NeverReady,
        "flaky" => Deed::Flaky(option("at", 5.0)),
        "imagepull" => Deed::ImagePull,
        "crashloop" => Deed::Crash {
            exit,
            reason: "Error",
            up: 0.0,
        },
        "oom" => Deed::Crash {
            exit: 137,
            reason: "OOMKilled",
            up: 0.0,
        },
        "flapping" => Deed::Crash {
            exit,
            reason: "Error",
            up: option("up", 0.5),
        },
        "succeed" => Deed::Done {
            after: option("after", 1.0),
            exit: 0,
        },
        "fail" => Deed::Done {
            after: option("after", 1.0),
            exit,
        },
        "stuck" => Deed::Stuck,
        "unschedulable" => Deed::Unschedulable,
        "quota" => Deed::OverQuota,
        _ => Deed::Ready,
    };
    Words {
        deed,
        start: option("start", 0.3),
        ready: option("ready", 0.3),
        stop: option("slowstop", 0.2),
    }
}

/// How a pod looks at some age.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Look {
    pub(crate) phase: &'static str,
    pub(crate) ready: bool,
    pub(crate) restarts: i64,
    pub(crate) state: State,
    /// How the container ended the last time: exit code and reason.
    pub(crate) ended: Option<(i64, &'static str)>,
    /// The age at which the pod looks different next.
    pub(crate) until: Option<f64>,
    /// What is told of it when it begins to look so: type, reason, message.
    pub(crate) event: Option<(&'static str, &'static str, String)>,
}

/// What the container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting { reason: &'static str, message: String },
    Running,
    Terminated { exit: i64, reason: &'static str },
}

impl State {
    /// As `containerStatuses[].state` writes it.
    pub(crate) fn json(&self, now: &str) -> Value {
        match self {
            State::Waiting { reason, message } if message.is_empty() => json!({"waiting": {"reason": reason}}),
            State::Waiting { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
            State::Running => json!({"running": {"startedAt": now}}),
            State::Terminated { exit, reason } => json!({
                "terminated": {"exitCode": exit, "reason": reason, "startedAt": now, "finishedAt": now},
            }),
        }
    }
}

impl Words {
    pub(crate) fn is_unschedulable(&self) -> bool {
        self.deed == Deed::Unschedulable
    }

    pub(crate) fn is_over_quota(&self) -> bool {
        self.deed == Deed::OverQuota
    }

    /// How the pod looks so many seconds after a machine took it.
    pub(crate) fn look(&self, age: f64, pod: &Value) -> Look {
        let image = pod
            .pointer("/spec/containers/0/image")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let name = text(pod, "/metadata/name");
        let look = |phase, ready, state, until| Look {
            phase,
            ready,
            restarts: 0,
            state,
            ended: None,
            until,
            event: None,
        };
        let creating = || State::Waiting {
            reason: "ContainerCreating",
            message: String::new(),
        };
        if self.deed == Deed::Stuck {
            return look("Pending", false, creating(), None);
        }
        if age < self.start {
            return look("Pending", false, creating(), Some(self.start));
        }
        let ready_from = self.start + self.ready;
        match &self.deed {
            Deed::ImagePull => self.pulling(age, image),
            Deed::Crash { exit, reason, up } => self.crashing(age, *exit, reason, *up, name),
            Deed::Done { after, exit } => {
                let end = self.start + after;
                if age < end {
                    return look("Running", true, State::Running, Some(end));
                }
                let (phase, reason) = if *exit == 0 {
                    ("Succeeded", "Completed")
                } else {
                    ("Failed", "Error")
                };
                look(phase, false, State::Terminated { exit: *exit, reason }, None)
            }
            Deed::NeverReady => Look {
                event: Some(("Warning", "Unhealthy", probe_failed())),
                ..look("Running", false, State::Running, None)
            },
            _ if age < ready_from => look("Running", false, State::Running, Some(ready_from)),
            Deed::Flaky(at) if age >= ready_from + at => Look {
                event: Some(("Warning", "Unhealthy", probe_failed())),
                ..look("Running", false, State::Running, None)
            },
            Deed::Flaky(at) => look("Running", true, State::Running, Some(ready_from + at)),
            Deed::Ready | Deed::Stuck | Deed::Unschedulable | Deed::OverQuota => {
                look("Running", true, State::Running, None)
            }
        }
    }

    /// Every three seconds the pull fails once more or waits for its next try.
    fn pulling(&self, age: f64, image: &str) -> Look {
        let turn = ((age - self.start) / 3.0).floor();
        let (reason, event, said) = if turn % 2.0 == 0.0 {
            (
                "ErrImagePull",
                "Failed",
                format!("Failed to pull image \"{image}\": not found"),
            )
        } else {
            (
                "ImagePullBackOff",
                "BackOff",
                format!("Back-off pulling image \"{image}\""),
            )
        };
        let message = format!("failed to pull image \"{image}\": not found");
        Look {
            phase: "Pending",
            ready: false,
            restarts: 0,
            state: State::Waiting { reason, message },
            ended: None,
            until: Some(self.start + (turn + 1.0) * 3.0),
            event: Some(("Warning", event, said)),
        }
    }

    /// The container runs, ends, is started again at once, and from its second end on waits 10, 20, 40 … 300 seconds.
    fn crashing(&self, age: f64, exit: i64, reason: &'static str, up: f64, pod: &str) -> Look {
        let run = if up > 0.0 { self.ready + up } else { 1.0 };
        let (mut begins, mut restarts) = (self.start, 0_i64);
        loop {
            let ends = begins + run;
            let ended = (restarts > 0).then_some((exit, reason));
            if age < ends {
                let up_from = begins + self.ready;
                let ready = up > 0.0 && age >= up_from;
                let until = if up > 0.0 && !ready { up_from } else { ends };
                let phase = "Running";
                return Look {
                    phase,
                    ready,
                    restarts,
                    state: State::Running,
                    ended,
                    until: Some(until),
                    event: None,
                };
            }
            let pause = if restarts == 0 {
                0.0
            } else {
                (10.0 * 2_f64.powi(restarts.min(10) as i32 - 1)).min(300.0)
            };
            if age < ends + pause {
                let said = format!("back-off restarting failed container app in pod {pod}");
                return Look {
                    phase: "Running",
                    ready: false,
                    restarts,
                    state: State::Waiting {
                        reason: "CrashLoopBackOff",
                        message: said.clone(),
                    },
                    ended: Some((exit, reason)),
                    until: Some(ends + pause),
                    event: Some(("Warning", "BackOff", said.replacen('b', "B", 1))),
                };
            }
            begins = ends + pause;
            restarts += 1;
        }
    }
}

fn probe_failed() -> String {
    "Readiness probe failed: HTTP probe failed with statuscode: 503".to_owned()
}

/// Whether a text fits a pattern in which `*` stands for anything.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text
            .strip_prefix(head)
            .is_some_and(|tail| (0..=tail.len()).any(|at| tail.is_char_boundary(at) && glob(rest, &tail[at..]))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{State, glob, read};

    #[test]
    fn a_flapping_pod_is_ready_for_half_a_second_and_then_crashes_again_and_again() {
        let pod = json!({});
        let words = read("flapping exit=3");
        let at = |age: f64| {
            let look = words.look(age, &pod);
            (look.ready, look.restarts, matches!(look.state, State::Running))
        };
        assert_eq!(at(0.35), (false, 0, true));
        assert_eq!(at(0.7), (true, 0, true));
        assert_eq!(at(1.2), (false, 1, true));
        assert_eq!(at(1.5), (true, 1, true));
        assert_eq!(at(3.0), (false, 1, false));
        assert_eq!(at(12.4), (true, 2, true));
    }

    #[test]
    fn a_star_stands_for_anything() {
        assert!(glob("*:bad", "registry/app:bad") && glob("app*", "app") && !glob("*:bad", "app:good"));
    }
}
