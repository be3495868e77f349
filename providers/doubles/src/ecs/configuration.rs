//! A service's `deploymentConfiguration`: which strategy, how it paces itself, what stops it.

use serde_json::{Value, json};

use crate::aws::members::Members;
use crate::aws::refusal::Refusal;

/// A day in minutes: the longest bake.
const DAY: i64 = 1_440;
/// Fourteen days in minutes: the longest that a hook waits.
const HOOK_MAX: i64 = 20_160;

/// How a deployment replaces what serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    Rolling,
    BlueGreen,
    /// Equal steps of so many tenths of a percent, with so many minutes between them.
    Linear {
        step: i64,
        bake: i64,
    },
    /// One step of so many tenths of a percent, so many minutes, the rest.
    Canary {
        step: i64,
        bake: i64,
    },
}

impl Strategy {
    pub fn word(self) -> &'static str {
        match self {
            Strategy::Rolling => "ROLLING",
            Strategy::BlueGreen => "BLUE_GREEN",
            Strategy::Linear { .. } => "LINEAR",
            Strategy::Canary { .. } => "CANARY",
        }
    }

    /// The share, in tenths of a percent, that follows on this one.
    pub fn share_after(self, share: i64) -> i64 {
        match self {
            Strategy::Rolling | Strategy::BlueGreen => 1000,
            Strategy::Linear { step, .. } => (share + step).min(1000),
            Strategy::Canary { step, .. } if share < step => step,
            Strategy::Canary { .. } => 1000,
        }
    }

    /// Minutes between two steps.
    pub fn step_bake(self) -> i64 {
        match self {
            Strategy::Rolling | Strategy::BlueGreen => 0,
            Strategy::Linear { bake, .. } | Strategy::Canary { bake, .. } => bake,
        }
    }
}

/// The circuit breaker of rolling deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    pub enabled: bool,
    pub rollback: bool,
    /// Whether a healthy task sets the count back.
    pub forgiving: bool,
    threshold: Threshold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threshold {
    Count(i64),
    /// Percent of the desired count, rounded up, and between 3 and 200.
    Bounded(i64),
    /// Percent of the desired count, rounded up.
    Unbounded(i64),
}

impl Breaker {
    /// Failures that trip it, with so many tasks desired.
    pub fn threshold(self, desired: usize) -> i64 {
        let desired = i64::try_from(desired).unwrap_or(i64::MAX);
        let percent = |value: i64| desired.saturating_mul(value).saturating_add(99) / 100;
        match self.threshold {
            Threshold::Count(count) => count,
            Threshold::Bounded(value) => percent(value).clamp(3, 200),
            Threshold::Unbounded(value) => percent(value).max(1),
        }
    }
}

/// Alarms that stop a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    pub names: Vec<String>,
    pub enabled: bool,
    pub rollback: bool,
}

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

/// Everything a service says about its deployments.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    pub strategy: Strategy,
    /// Minutes that both revisions run on after all traffic has moved.
    pub bake: i64,
    pub maximum: i64,
    pub minimum: i64,
    pub breaker: Breaker,
    pub alarms: Alarms,
    pub hooks: Vec<Hook>,
}

impl Default for Configuration {
    fn default() -> Configuration {
        Configuration {
            strategy: Strategy::Rolling,
            bake: 0,
            maximum: 200,
            minimum: 100,
            breaker: Breaker {
                enabled: false,
                rollback: false,
                forgiving: true,
                threshold: Threshold::Bounded(50),
            },
            alarms: Alarms::default(),
            hooks: Vec::new(),
        }
    }
}

impl Configuration {
    /// What this becomes with the members given; those that are not given stay.
    pub fn with(&self, mut asked: Members) -> Result<Configuration, Refusal> {
        let word = asked.one_of("strategy", &["ROLLING", "BLUE_GREEN", "LINEAR", "CANARY"])?;
        let linear = asked.nested("linearConfiguration")?;
        let canary = asked.nested("canaryConfiguration")?;
        let strategy = self.strategy_with(word.as_deref(), linear, canary)?;
        let bake = asked.within("bakeTimeInMinutes", 0, DAY)?;
        if strategy == Strategy::BlueGreen && self.strategy != Strategy::BlueGreen && bake.is_none() {
            return Err(Refusal::parameter(
                "bakeTimeInMinutes must be specified for the BLUE_GREEN deployment strategy.",
            ));
        }
        if strategy == Strategy::Rolling && bake.is_some_and(|minutes| minutes > 0) {
            return Err(Refusal::parameter(
                "bakeTimeInMinutes is not supported for the ROLLING deployment strategy.",
            ));
        }
        let next = Configuration {
            strategy,
            bake: bake.unwrap_or(if strategy == Strategy::Rolling { 0 } else { self.bake }),
            maximum: asked.within("maximumPercent", 0, 200_000)?.unwrap_or(self.maximum),
            minimum: asked.within("minimumHealthyPercent", 0, 100)?.unwrap_or(self.minimum),
            breaker: asked
                .nested("deploymentCircuitBreaker")?
                .map_or(Ok(self.breaker), |given| breaker(given, strategy))?,
            alarms: asked
                .nested("alarms")?
                .map_or_else(|| Ok(self.alarms.clone()), alarms)?,
            hooks: asked
                .list("lifecycleHooks")?
                .map_or_else(|| Ok(self.hooks.clone()), hooks)?,
        };
        asked.done()?;
        if strategy == Strategy::Rolling && !next.hooks.is_empty() {
            return Err(Refusal::parameter(
                "Lifecycle hooks are not supported for the ROLLING deployment strategy.",
            ));
        }
        if next.maximum <= next.minimum && next.maximum <= 100 && strategy == Strategy::Rolling {
            return Err(Refusal::parameter(
                "Invalid minimumHealthyPercent or maximumPercent: no task could be replaced.",
            ));
        }
        Ok(next)
    }

    fn strategy_with(
        &self,
        word: Option<&str>,
        linear: Option<Members>,
        canary: Option<Members>,
    ) -> Result<Strategy, Refusal> {
        let word = word.unwrap_or(self.strategy.word());
        if linear.is_some() && word != "LINEAR" {
            return Err(Refusal::parameter(
                "linearConfiguration is only valid with the LINEAR deployment strategy.",
            ));
        }
        if canary.is_some() && word != "CANARY" {
            return Err(Refusal::parameter(
                "canaryConfiguration is only valid with the CANARY deployment strategy.",
            ));
        }
        Ok(match (word, self.strategy) {
            ("LINEAR", before) => {
                let (step, bake) = match before {
                    Strategy::Linear { step, bake } => (step, bake),
                    _ => (100, 6),
                };
                let (step, bake) = paced(linear, "stepPercent", "stepBakeTimeInMinutes", 30, (step, bake))?;
                Strategy::Linear { step, bake }
            }
            ("CANARY", before) => {
                let (step, bake) = match before {
                    Strategy::Canary { step, bake } => (step, bake),
                    _ => (50, 10),
                };
                let (step, bake) = paced(canary, "canaryPercent", "canaryBakeTimeInMinutes", 1, (step, bake))?;
                Strategy::Canary { step, bake }
            }
            ("BLUE_GREEN", _) => Strategy::BlueGreen,
            _ => Strategy::Rolling,
        })
    }

    #[allow(clippy::cast_precision_loss)]
    pub fn shown(&self) -> Value {
        let percent = |tenths: i64| tenths as f64 / 10.0;
        let mut shown = json!({
            "strategy": self.strategy.word(),
            "maximumPercent": self.maximum,
            "minimumHealthyPercent": self.minimum,
            "deploymentCircuitBreaker": self.breaker.shown(),
            "alarms": {"alarmNames": self.alarms.names, "enable": self.alarms.enabled, "rollback": self.alarms.rollback},
        });
        if self.strategy != Strategy::Rolling {
            shown["bakeTimeInMinutes"] = json!(self.bake);
            shown["lifecycleHooks"] = self.hooks.iter().map(Hook::shown).collect();
        }
        match self.strategy {
            Strategy::Linear { step, bake } => {
                shown["linearConfiguration"] = json!({"stepPercent": percent(step), "stepBakeTimeInMinutes": bake});
            }
            Strategy::Canary { step, bake } => {
                shown["canaryConfiguration"] = json!({"canaryPercent": percent(step), "canaryBakeTimeInMinutes": bake});
            }
            Strategy::Rolling | Strategy::BlueGreen => {}
        }
        shown
    }
}

/// A step in tenths of a percent, `least` to 1000, and its bake in minutes.
fn paced(
    given: Option<Members>,
    percent: &str,
    bake: &str,
    least: i64,
    before: (i64, i64),
) -> Result<(i64, i64), Refusal> {
    let Some(mut given) = given else { return Ok(before) };
    let step = match given.number(percent)? {
        None => before.0,
        Some(number) => tenths(number)
            .filter(|tenths| (least..=1000).contains(tenths))
            .ok_or_else(|| {
                let least = if least == 30 { "3.0" } else { "0.1" };
                Refusal::parameter(format!(
                    "{percent} must be a multiple of 0.1 between {least} and 100.0."
                ))
            })?,
    };
    let bake = given.within(bake, 0, DAY)?.unwrap_or(before.1);
    given.done()?;
    Ok((step, bake))
}

#[allow(clippy::cast_possible_truncation)]
fn tenths(percent: f64) -> Option<i64> {
    let tenths = (percent * 10.0).round();
    let exact = percent.is_finite() && (percent * 10.0 - tenths).abs() < 1e-6 && (0.0..=1000.0).contains(&tenths);
    exact.then_some(tenths as i64)
}

fn breaker(mut given: Members, strategy: Strategy) -> Result<Breaker, Refusal> {
    let blank = |name: &str| Refusal::parameter(format!("{name} can not be blank."));
    let enabled = given.truth("enable")?.ok_or_else(|| blank("enable"))?;
    let rollback = given.truth("rollback")?.ok_or_else(|| blank("rollback"))?;
    let forgiving = given.truth("resetOnHealthyTask")?.unwrap_or(true);
    let threshold = match given.nested("thresholdConfiguration")? {
        None => Threshold::Bounded(50),
        Some(mut config) => {
            let kind = config.one_of("type", &["COUNT", "BOUNDED_PERCENT", "UNBOUNDED_PERCENT"])?;
            let value = config
                .within("value", 1, i64::from(i32::MAX))?
                .ok_or_else(|| blank("value"))?;
            config.done()?;
            match kind.ok_or_else(|| blank("type"))?.as_str() {
                "COUNT" => Threshold::Count(value),
                "BOUNDED_PERCENT" => Threshold::Bounded(value),
                _ => Threshold::Unbounded(value),
            }
        }
    };
    given.done()?;
    if enabled && strategy != Strategy::Rolling {
        let message = "The deployment circuit breaker can only be used with the ROLLING deployment strategy.";
        return Err(Refusal::parameter(message));
    }
    Ok(Breaker {
        enabled,
        rollback,
        forgiving,
        threshold,
    })
}

impl Breaker {
    fn shown(self) -> Value {
        let (kind, value) = match self.threshold {
            Threshold::Count(value) => ("COUNT", value),
            Threshold::Bounded(value) => ("BOUNDED_PERCENT", value),
            Threshold::Unbounded(value) => ("UNBOUNDED_PERCENT", value),
        };
        json!({
            "enable": self.enabled,
            "rollback": self.rollback,
            "resetOnHealthyTask": self.forgiving,
            "thresholdConfiguration": {"type": kind, "value": value},
        })
    }
}

fn alarms(mut given: Members) -> Result<Alarms, Refusal> {
    let blank = |name: &str| Refusal::parameter(format!("{name} can not be blank."));
    let alarms = Alarms {
        names: given.texts("alarmNames")?.ok_or_else(|| blank("alarmNames"))?,
        enabled: given.truth("enable")?.ok_or_else(|| blank("enable"))?,
        rollback: given.truth("rollback")?.ok_or_else(|| blank("rollback"))?,
    };
    given.done()?;
    if alarms.enabled && alarms.names.is_empty() {
        return Err(Refusal::parameter(
            "alarmNames must not be empty if alarms are enabled.",
        ));
    }
    Ok(alarms)
}

fn hooks(given: Vec<Members>) -> Result<Vec<Hook>, Refusal> {
    given.into_iter().map(Hook::read).collect()
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

    fn read(mut given: Members) -> Result<Hook, Refusal> {
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

    fn shown(&self) -> Value {
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

    fn read(value: Value) -> Result<Configuration, Refusal> {
        Configuration::default().with(Members::of(value))
    }

    #[test]
    fn steps_are_multiples_of_a_tenth_within_their_range() {
        let linear =
            |percent: f64| read(json!({"strategy": "LINEAR", "linearConfiguration": {"stepPercent": percent}}));
        assert_eq!(linear(3.0).unwrap().strategy, Strategy::Linear { step: 30, bake: 6 });
        assert!(linear(2.9).is_err());
        assert!(linear(3.05).is_err());
        let canary =
            |percent: f64| read(json!({"strategy": "CANARY", "canaryConfiguration": {"canaryPercent": percent}}));
        assert_eq!(canary(0.1).unwrap().strategy, Strategy::Canary { step: 1, bake: 10 });
        assert!(canary(0.0).is_err());
        assert!(read(json!({"strategy": "CANARY", "linearConfiguration": {"stepPercent": 10.0}})).is_err());
    }

    #[test]
    fn a_pause_is_refused_while_traffic_shifts_and_beyond_fourteen_days() {
        let hook = |stage: &str, minutes: i64| {
            read(json!({"strategy": "CANARY", "lifecycleHooks": [{
                "targetType": "PAUSE",
                "lifecycleStages": [stage],
                "timeoutConfiguration": {"timeoutInMinutes": minutes, "action": "ROLLBACK"},
            }]}))
        };
        assert!(hook("PRE_PRODUCTION_TRAFFIC_SHIFT", 20_160).is_ok());
        assert!(hook("PRE_PRODUCTION_TRAFFIC_SHIFT", 20_161).is_err());
        assert!(hook("PRODUCTION_TRAFFIC_SHIFT", 60).is_err());
        assert!(hook("TEST_TRAFFIC_SHIFT", 60).is_err());
        assert!(hook("BAKE_TIME", 60).is_err());
    }

    #[test]
    fn the_breakers_threshold_follows_the_documented_arithmetic() {
        let breaker = |config: Value| {
            let given = json!({"deploymentCircuitBreaker": {"enable": true, "rollback": true, "thresholdConfiguration": config}});
            read(given).unwrap().breaker
        };
        let bounded = breaker(json!({"type": "BOUNDED_PERCENT", "value": 50}));
        let expected = [(1, 3), (6, 3), (25, 13), (400, 200), (800, 200)];
        for (desired, threshold) in expected {
            assert_eq!(bounded.threshold(desired), threshold, "{desired} tasks");
        }
        assert_eq!(
            breaker(json!({"type": "UNBOUNDED_PERCENT", "value": 10})).threshold(15),
            2
        );
        assert_eq!(breaker(json!({"type": "COUNT", "value": 7})).threshold(1000), 7);
    }

    #[test]
    fn shares_climb_as_the_strategy_says() {
        let climb = |strategy: Strategy| {
            let mut shares = vec![0];
            while shares.last() != Some(&1000) {
                shares.push(strategy.share_after(*shares.last().unwrap()));
            }
            shares
        };
        assert_eq!(climb(Strategy::BlueGreen), [0, 1000]);
        assert_eq!(climb(Strategy::Canary { step: 55, bake: 0 }), [0, 55, 1000]);
        assert_eq!(climb(Strategy::Linear { step: 300, bake: 0 }), [0, 300, 600, 900, 1000]);
    }
}
