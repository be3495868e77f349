//! Another workflow's run: only its success passes, and only as long as that counts.

use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::CompletedGate;

use super::{Circumstances, failing};
use crate::run::reading::OtherRun;
use crate::run::verdict::{Judgement, Level};

pub(super) fn judged(gate: &CompletedGate, newest: Option<&OtherRun>, of: &Circumstances<'_>) -> Judgement {
    let no_data = |because: String| Judgement::unknown(Level::NoData, of.gate.on_no_data, because);
    let Some(other) = newest else {
        return no_data(format!("no run of `{}` {}is known", gate.workflow, with(gate)));
    };
    let run = &other.run;
    match other.outcome.as_str() {
        "promoted" => {
            let age = Duration::between(other.at, of.now);
            match gate.within {
                Some(within) if age > within => no_data(format!("{run} has succeeded {age} ago, longer than {within}")),
                Some(_) | None => Judgement::pass(format!("{run} has succeeded, {age} ago")),
            }
        }
        "rolled-back" => Judgement::fail(failing(of.gate.on_fail), format!("{run} was rolled back")),
        "needs-attention" => Judgement::pending(format!("{run} needs attention")),
        "held" | "paused" => Judgement::pending(format!("{run} is {}", other.outcome)),
        "running" => Judgement::pending(format!("{run} is under way")),
        unknown => Judgement::unknown(
            Level::Error,
            of.gate.on_error,
            format!("{run} stands at `{unknown}`, which is not known here"),
        ),
    }
}

/// Which runs are meant, where not all are.
fn with(gate: &CompletedGate) -> String {
    let release = gate.same_release.then(|| "this release".to_owned());
    let inputs = gate.inputs.iter().map(|(name, value)| format!("{name} = {value}"));
    let parts: Vec<String> = release.into_iter().chain(inputs).collect();
    match parts.as_slice() {
        [] => String::new(),
        parts => format!("with {} ", parts.join(", ")),
    }
}
