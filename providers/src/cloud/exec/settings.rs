//! A region's settings: which program, how long, what it is told, what its platform can do.

use std::collections::BTreeMap;

use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::{AudienceKey, Audiences, Capabilities, RollbackSpeed, Shares};
use serde::Deserialize;

/// Below what the engine gives a call, so that a program that is late is told as late.
const TIMEOUT_MAX: Duration = Duration::from_secs(25);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(20);

/// A region's settings, sound.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program and its arguments: at least the program.
    pub command: Vec<String>,
    pub timeout: Duration,
    pub env: BTreeMap<String, Value>,
    pub with: serde_json::Value,
    can: Can,
}

/// A variable's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    /// The name of a secret.
    Secret(String),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    command: Vec<String>,
    #[serde(default)]
    timeout: Option<Duration>,
    #[serde(default)]
    env: BTreeMap<String, WrittenValue>,
    #[serde(default)]
    with: serde_json::Value,
    #[serde(default)]
    can: Can,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum WrittenValue {
    Text(String),
    Secret(SecretName),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretName {
    secret: String,
}

/// What the platform can do: nobody can ask the program before a run begins.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Can {
    shares: Option<Steps>,
    mirroring: bool,
    audiences: Named,
    preview: bool,
    rollback: Option<Speed>,
}

/// By what an audience may be named: everything, nothing, or these keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "`can.audiences` is true, or a list of header, cookie, tenants, users, groups and cohort"
)]
enum Named {
    All(bool),
    By(Vec<AudienceKeyName>),
}

impl Default for Named {
    fn default() -> Named {
        Named::All(false)
    }
}

#[derive(Clone, Debug)]
struct AudienceKeyName(AudienceKey);

impl<'de> Deserialize<'de> for AudienceKeyName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<AudienceKeyName, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = AudienceKey::ALL.into_iter().find(|key| key.name() == text);
        known
            .map(AudienceKeyName)
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` names no audience")))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Speed {
    Instant,
    Restarts,
}

#[derive(Clone, Debug)]
enum Steps {
    Of(Share),
    Whole,
}

impl<'de> Deserialize<'de> for Steps {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Steps, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "whole" {
            return Ok(Steps::Whole);
        }
        match text.parse::<Share>() {
            Ok(share) if !share.is_zero() => Ok(Steps::Of(share)),
            Ok(_) | Err(_) => Err(serde::de::Error::custom(format!(
                "`can.shares` is a step above 0%, as in 1%, or `whole`, got `{text}`"
            ))),
        }
    }
}

impl Settings {
    /// *Errors*: what is not sound, by its key.
    pub fn read(settings: &serde_json::Value) -> Result<Settings, String> {
        let written: Written = serde_json::from_value(settings.clone()).map_err(|error| error.to_string())?;
        if written.command.first().is_none_or(String::is_empty) {
            return Err("`command` names no program".to_owned());
        }
        if written.command.iter().any(|argument| argument.contains('\0')) {
            return Err("`command` holds a NUL character".to_owned());
        }
        let timeout = written.timeout.unwrap_or(TIMEOUT_DEFAULT);
        if timeout.is_zero() || timeout > TIMEOUT_MAX {
            return Err(format!(
                "`timeout` lies above 0s and not above {TIMEOUT_MAX}, got {timeout}"
            ));
        }
        if let Some(name) = written
            .env
            .keys()
            .find(|name| name.is_empty() || name.contains(['=', '\0']))
        {
            return Err(format!("`env` cannot set a variable named `{name}`"));
        }
        let env = written.env.into_iter().map(|(name, value)| match value {
            WrittenValue::Text(text) => (name, Value::Text(text)),
            WrittenValue::Secret(SecretName { secret }) => (name, Value::Secret(secret)),
        });
        Ok(Settings {
            command: written.command,
            timeout,
            env: env.collect(),
            with: written.with,
            can: written.can,
        })
    }

    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            shares: match self.can.shares {
                None => Shares::Steps(1),
                Some(Steps::Of(step)) => Shares::Steps(step.basis_points()),
                Some(Steps::Whole) => Shares::Whole,
            },
            mirroring: self.can.mirroring,
            audiences: match &self.can.audiences {
                Named::All(true) => Audiences::by(&AudienceKey::ALL),
                Named::All(false) => Audiences::none(),
                Named::By(keys) => Audiences::by(&keys.iter().map(|AudienceKeyName(key)| *key).collect::<Vec<_>>()),
            },
            preview: self.can.preview,
            rollback: match self.can.rollback {
                None | Some(Speed::Instant) => RollbackSpeed::Instant,
                Some(Speed::Restarts) => RollbackSpeed::Restarts,
            },
            remarks: vec![format!(
                "`{}` does what the region is ordered; what it can do is what its settings say.",
                self.command[0]
            )],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{AudienceKey, Settings, Shares};

    #[test]
    fn what_is_not_sound_is_named() {
        for (settings, word) in [
            (json!({}), "command"),
            (json!({"command": []}), "command"),
            (json!({"command": ["a\0b"]}), "NUL"),
            (json!({"command": ["a"], "timeout": "26s"}), "timeout"),
            (json!({"command": ["a"], "timeout": "0s"}), "timeout"),
            (json!({"command": ["a"], "env": {"A=B": "c"}}), "A=B"),
            (json!({"command": ["a"], "can": {"shares": "0%"}}), "can.shares"),
            (
                json!({"command": ["a"], "can": {"audiences": ["hats"]}}),
                "can.audiences",
            ),
            (json!({"command": ["a"], "wiht": {}}), "wiht"),
            (json!("a"), "struct"),
        ] {
            let why = Settings::read(&settings).unwrap_err();
            assert!(why.contains(word), "{settings}: {why}");
        }
    }

    #[test]
    fn what_the_platform_can_is_what_is_written() {
        let can = |can| {
            Settings::read(&json!({"command": ["a"], "can": can}))
                .unwrap()
                .capabilities()
        };
        assert_eq!(can(json!({})).shares, Shares::Steps(1));
        assert_eq!(can(json!({"shares": "5%"})).shares, Shares::Steps(500));
        assert_eq!(can(json!({"shares": "whole"})).shares, Shares::Whole);
        assert!(can(json!({"mirroring": true})).mirroring);
        assert!(can(json!({})).audiences.keys.is_empty());
        assert_eq!(can(json!({"audiences": true})).audiences.keys, AudienceKey::ALL);
        assert_eq!(
            can(json!({"audiences": ["header", "users"]})).audiences.keys,
            [AudienceKey::Header, AudienceKey::Users]
        );
    }
}
