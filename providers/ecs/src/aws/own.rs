//! What a service was configured with before it was released here, written down so that it can be restored.

use std::fmt::Write as _;

use aws_sdk_ecs::types::{
    CanaryConfiguration, DeploymentAlarms, DeploymentCircuitBreaker, DeploymentConfiguration, DeploymentStrategy,
    LinearConfiguration,
};

/// Stands for what is not configured.
const NONE: &str = "-";

/// The parts of a configuration that a release changes, as one text of the characters that tags may have: strategy, bake, the
/// step's share and bake, circuit breaker (two), alarms (two and their names), with `+` between them.
pub fn written(config: &DeploymentConfiguration) -> String {
    let mut parts = vec![
        config
            .strategy()
            .map_or("ROLLING", DeploymentStrategy::as_str)
            .to_owned(),
    ];
    let (canary, linear) = (config.canary_configuration(), config.linear_configuration());
    let percent = canary
        .and_then(CanaryConfiguration::canary_percent)
        .or(linear.and_then(LinearConfiguration::step_percent));
    let pause = canary
        .and_then(CanaryConfiguration::canary_bake_time_in_minutes)
        .or(linear.and_then(LinearConfiguration::step_bake_time_in_minutes));
    parts.push(number(config.bake_time_in_minutes()));
    parts.push(number(percent));
    parts.push(number(pause));
    let breaker = config.deployment_circuit_breaker();
    parts.push(number(breaker.map(DeploymentCircuitBreaker::enable)));
    parts.push(number(breaker.map(DeploymentCircuitBreaker::rollback)));
    let alarms = config.alarms();
    parts.push(number(alarms.map(DeploymentAlarms::enable)));
    parts.push(number(alarms.map(DeploymentAlarms::rollback)));
    parts.extend(
        alarms
            .map(DeploymentAlarms::alarm_names)
            .unwrap_or_default()
            .iter()
            .map(|name| escaped(name)),
    );
    parts.join("+")
}

/// The configuration with those parts as they were written; nothing where the text does not say so.
pub fn restored(text: &str, config: &DeploymentConfiguration) -> Option<DeploymentConfiguration> {
    let mut parts = text.split('+');
    let mut config = config.clone();
    let strategy = DeploymentStrategy::from(parts.next()?);
    let bake = read(parts.next()?)?;
    let (percent, pause) = (read(parts.next()?)?, read(parts.next()?)?);
    let (breaks, breaks_back) = (read::<bool>(parts.next()?)?, read::<bool>(parts.next()?)?);
    let (watches, watches_back) = (read::<bool>(parts.next()?)?, read::<bool>(parts.next()?)?);
    let names: Vec<String> = parts.map(unescaped).collect::<Option<_>>()?;
    // What is left out of an update stays as it is, so that no alarms are said to be none.
    config.alarms = Some(
        DeploymentAlarms::builder()
            .set_alarm_names(Some(names))
            .enable(watches.unwrap_or(false))
            .rollback(watches_back.unwrap_or(false))
            .build()
            .ok()?,
    );
    // Hooks that somebody added meanwhile do not go with ROLLING: what is theirs stays, and so does what carries it.
    if strategy == DeploymentStrategy::Rolling && !config.lifecycle_hooks().is_empty() {
        return Some(config);
    }
    (config.canary_configuration, config.linear_configuration) = (None, None);
    match strategy {
        DeploymentStrategy::Canary => {
            let canary = CanaryConfiguration::builder().set_canary_percent(percent);
            config.canary_configuration = Some(canary.set_canary_bake_time_in_minutes(pause).build());
        }
        DeploymentStrategy::Linear => {
            let linear = LinearConfiguration::builder().set_step_percent(percent);
            config.linear_configuration = Some(linear.set_step_bake_time_in_minutes(pause).build());
        }
        _ => {}
    }
    config.bake_time_in_minutes = bake;
    // Only a rolling deployment is told about the circuit breaker.
    if let (DeploymentStrategy::Rolling, Some(breaker)) = (&strategy, &mut config.deployment_circuit_breaker) {
        breaker.enable = breaks.unwrap_or(false);
        breaker.rollback = breaks_back.unwrap_or(false);
    }
    config.strategy = Some(strategy);
    Some(config)
}

fn number<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

fn read<T: std::str::FromStr>(text: &str) -> Option<Option<T>> {
    match text {
        NONE => Some(None),
        text => text.parse().ok().map(Some),
    }
}

/// A name in the characters of tags: `=` and two hexadecimal digits for every other byte.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.:/-@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(text, "={byte:02X}");
        }
    }
    text
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('=');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(part.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::{escaped, restored, unescaped};

    proptest! {
        #[test]
        fn every_name_fits_into_a_tag_and_reads_back(name in ".*") {
            let text = escaped(&name);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:/=-@".contains(&byte)));
            prop_assert_eq!(unescaped(&text), Some(name));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let config = aws_sdk_ecs::types::DeploymentConfiguration::builder().build();
            let _ = restored(&text, &config);
        }
    }
}
