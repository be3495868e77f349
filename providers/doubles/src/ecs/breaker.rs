//! The deployment circuit breaker of rolling deployments, and the arithmetic of its threshold.

use serde_json::{Value, json};

use crate::aws::members::Members;
use crate::aws::refusal::Refusal;
use crate::ecs::configuration::Strategy;

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

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker {
            enabled: false,
            rollback: false,
            forgiving: true,
            threshold: Threshold::Bounded(50),
        }
    }
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

    pub fn read(mut given: Members, strategy: Strategy) -> Result<Breaker, Refusal> {
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

    pub fn shown(self) -> Value {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_breakers_threshold_follows_the_documented_arithmetic() {
        let breaker = |config: Value| {
            let given = json!({"enable": true, "rollback": true, "thresholdConfiguration": config});
            Breaker::read(Members::of(given), Strategy::Rolling).unwrap()
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
}
