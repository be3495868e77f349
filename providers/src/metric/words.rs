//! The settings that sources share: where a server is, how long an answer may take, how it keeps time, and names of secrets.

use meridian_workflows::duration::Duration;
use meridian_workflows::vocabulary::SettingKey;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

/// How long one question may take when the settings do not say.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// The longest that they may say: a gate reads every few seconds.
const TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// The width of a bucket when the settings do not say.
const STEP_DEFAULT: Duration = Duration::from_secs(60);
/// How far back data is looked for when the settings do not say; Prometheus' own.
const LOOKBACK_DEFAULT: Duration = Duration::from_secs(300);
/// Data that is older than a day says nothing about a rollout.
const LOOKBACK_MAX: Duration = Duration::from_secs(86_400);

/// A secret by its name; the operator's configuration says where its value is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretName {
    pub secret: String,
}

/// Reads settings as their owner declares them; nothing written under the source's key is the empty mapping.
///
/// *Errors*: what does not fit.
pub fn read<T: DeserializeOwned>(settings: &Json) -> Result<T, String> {
    let nothing = Json::Object(serde_json::Map::new());
    let settings = if settings.is_null() { &nothing } else { settings };
    T::deserialize(settings).map_err(|error| error.to_string())
}

/// `timeout`, within its bounds.
pub fn timeout(written: Option<Duration>) -> Result<Duration, String> {
    let timeout = written.unwrap_or(TIMEOUT_DEFAULT);
    if timeout.is_zero() || timeout > TIMEOUT_MAX {
        return Err(format!(
            "`timeout` is {timeout}, and more than 0s and at most {TIMEOUT_MAX} is needed"
        ));
    }
    Ok(timeout)
}

/// Over what a source's credentials may travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Plain HTTP too: servers inside a cluster often have nothing else.
    Any,
    /// HTTPS, or this machine's own loopback.
    Guarded,
}

/// The root of a server, without a slash at its end.
///
/// *Errors*: why `address` is none.
pub fn address(text: &str, way: Way) -> Result<Url, String> {
    let mut url: Url = text.parse().map_err(|error| format!("`address` is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "`address` has the scheme `{}`, and http or https is needed",
            url.scheme()
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`address` holds credentials; name them as secrets: `{secret: …}`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(
            "`address` ends in a query or fragment; it is the server's root, as in `http://prometheus:9090`".to_owned(),
        );
    }
    if way == Way::Guarded && url.scheme() == "http" && !is_loopback(&url) {
        return Err("`address` is plain http: credentials go over https, or to this machine's loopback".to_owned());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    let literal = literal.parse::<std::net::IpAddr>();
    host == "localhost" || literal.is_ok_and(|address| address.is_loopback())
}

/// How a source that keeps buckets keeps time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// The width of a bucket.
    pub step: Duration,
    /// How long after its end a bucket may still change.
    pub delay: Duration,
    /// How far back the newest number is looked for.
    pub lookback: Duration,
}

impl Rhythm {
    /// `step`, `delay` and `lookback`, within their bounds; `delay` is the source's own when nothing is written.
    ///
    /// *Errors*: the setting that does not fit.
    pub fn read(
        step: Option<Duration>,
        delay: Option<Duration>,
        lookback: Option<Duration>,
        delay_default: Duration,
    ) -> Result<Rhythm, String> {
        let rhythm = Rhythm {
            step: step.unwrap_or(STEP_DEFAULT),
            delay: delay.unwrap_or(delay_default),
            lookback: lookback.unwrap_or(LOOKBACK_DEFAULT),
        };
        if rhythm.step.is_zero() || !rhythm.step.as_millis().is_multiple_of(1_000) {
            return Err(format!("`step` is {}, and whole seconds are needed", rhythm.step));
        }
        if rhythm.delay > LOOKBACK_MAX {
            return Err(format!(
                "`delay` is {}, and at most {LOOKBACK_MAX} is needed",
                rhythm.delay
            ));
        }
        if rhythm.lookback < rhythm.step.saturating_mul(2) || rhythm.lookback > LOOKBACK_MAX {
            return Err(format!(
                "`lookback` is {}, and at least two steps ({}) and at most {LOOKBACK_MAX} are needed",
                rhythm.lookback,
                rhythm.step.saturating_mul(2)
            ));
        }
        Ok(rhythm)
    }
}

/// A setting that must be there.
pub const fn required(name: &'static str, summary: &'static str) -> SettingKey {
    SettingKey {
        name,
        required: true,
        summary,
    }
}

/// A setting that may be there.
pub const fn optional(name: &'static str, summary: &'static str) -> SettingKey {
    SettingKey {
        name,
        required: false,
        summary,
    }
}

pub const TIMEOUT: SettingKey = optional("timeout", "how long an answer may take (default 10s, at most 2m)");
pub const STEP: SettingKey = optional("step", "the width of a bucket (default 1m)");
pub const LOOKBACK: SettingKey = optional("lookback", "how far back the newest number is looked for (default 5m)");
