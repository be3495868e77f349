//! A service's `deploymentConfiguration`: which strategy, how it paces itself, what stops it.

use serde_json::{Value, json};

use crate::aws::members::Members;
use crate::aws::refusal::Refusal;
use crate::ecs::breaker::Breaker;
use crate::ecs::hook::Hook;

/// A day in minutes: the longest bake.
const DAY: i64 = 1_440;

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

/// Alarms that stop a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    pub names: Vec<String>,
    pub enabled: bool,
    pub rollback: bool,
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
            breaker: Breaker::default(),
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
                .map_or(Ok(self.breaker), |given| Breaker::read(given, strategy))?,
            alarms: asked
                .nested("alarms")?
                .map_or_else(|| Ok(self.alarms.clone()), alarms)?,
            hooks: asked.list("lifecycleHooks")?.map_or_else(
                || Ok(self.hooks.clone()),
                |list| list.into_iter().map(Hook::read).collect(),
            )?,
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
