//! Lifecycle hooks: what holds a deployment at a stage, for how long, and what follows when nobody answers.

use serde_json::{Value, json};

use crate::aws::members::Members;
use crate::aws::refusal::Refusal;

/// A day in minutes: how long a hook waits where nothing is said.
const DAY: i64 = 1_440;
/// Fourteen days in minutes: the longest that a hook waits.
const HOOK_MAX: i64 = 20_160;

/// Custom logic or a pause at some stages.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// A Lambda function's ARN; none is a PAUSE.
    pub lambda: Option<String>,
    role: Option<String>,
    pub stages: Vec<String>,
    pub timeout: i64,
    pub rolls_back: bool,
}

impl Hook {
    /// Stages at which hooks are allowed; the last two are for Lambda functions only.
    const STAGES: [&'static str; 8] = [
        "RECONCILE_SERVICE",
        "PRE_SCALE_UP",
        "POST_SCALE_UP",
        "POST_TEST_TRAFFIC_SHIFT",
        "PRE_PRODUCTION_TRAFFIC_SHIFT",
        "POST_PRODUCTION_TRAFFIC_SHIFT",
        "TEST_TRAFFIC_SHIFT",
        "PRODUCTION_TRAFFIC_SHIFT",
    ];

    pub fn read(mut given: Members) -> Result<Hook, Refusal> {
        let kind = given.one_of("targetType", &["AWS_LAMBDA", "PAUSE"])?;
        let pause = kind.as_deref() == Some("PAUSE");
        let (lambda, role) = (given.text("hookTargetArn")?, given.text("roleArn")?);
        let stages = given.texts("lifecycleStages")?.unwrap_or_default();
        // Parameters for the function, which nobody runs here.
        given.raw("hookDetails");
        let timeout = given.nested("timeoutConfiguration")?;
        given.done()?;

        if stages.is_empty() {
            return Err(Refusal::parameter(
                "lifecycleStages must be specified for a deployment lifecycle hook.",
            ));
        }
        let allowed = if pause { &Hook::STAGES[..6] } else { &Hook::STAGES[..] };
        if let Some(stage) = stages.iter().find(|stage| !allowed.contains(&stage.as_str())) {
            let kind = if pause { "PAUSE" } else { "AWS_LAMBDA" };
            return Err(Refusal::parameter(format!(
                "A {kind} lifecycle hook cannot be configured at the stage {stage}."
            )));
        }
        if pause && (lambda.is_some() || role.is_some()) {
            return Err(Refusal::parameter(
                "hookTargetArn and roleArn are not applicable for PAUSE hooks.",
            ));
        }
        if !pause && (lambda.is_none() || role.is_none()) {
            return Err(Refusal::parameter(
                "hookTargetArn and roleArn must be specified for AWS_LAMBDA hooks.",
            ));
        }
        let (mut minutes, mut action) = (None, None);
        if let Some(mut timeout) = timeout {
            minutes = timeout.within("timeoutInMinutes", 1, HOOK_MAX)?;
            action = timeout.one_of("action", &["CONTINUE", "ROLLBACK"])?;
            timeout.done()?;
        }
        Ok(Hook {
            lambda,
            role,
            stages,
            timeout: minutes.unwrap_or(DAY),
            rolls_back: action.as_deref() != Some("CONTINUE"),
        })
    }

    pub fn shown(&self) -> Value {
        let action = if self.rolls_back { "ROLLBACK" } else { "CONTINUE" };
        let mut shown = json!({
            "targetType": if self.lambda.is_some() { "AWS_LAMBDA" } else { "PAUSE" },
            "lifecycleStages": self.stages,
            "timeoutConfiguration": {"timeoutInMinutes": self.timeout, "action": action},
        });
        if let (Some(lambda), Some(role)) = (&self.lambda, &self.role) {
            shown["hookTargetArn"] = json!(lambda);
            shown["roleArn"] = json!(role);
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_pause_is_refused_while_traffic_shifts_and_beyond_fourteen_days() {
        let hook = |stage: &str, minutes: i64| {
            Hook::read(Members::of(json!({
                "targetType": "PAUSE",
                "lifecycleStages": [stage],
                "timeoutConfiguration": {"timeoutInMinutes": minutes, "action": "ROLLBACK"},
            })))
        };
        assert!(hook("PRE_PRODUCTION_TRAFFIC_SHIFT", 20_160).is_ok());
        assert!(hook("PRE_PRODUCTION_TRAFFIC_SHIFT", 20_161).is_err());
        assert!(hook("PRODUCTION_TRAFFIC_SHIFT", 60).is_err());
        assert!(hook("TEST_TRAFFIC_SHIFT", 60).is_err());
        assert!(hook("BAKE_TIME", 60).is_err());
    }
}
