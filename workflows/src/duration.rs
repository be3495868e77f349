//! A length of time as the language writes it: `90s`, `15m`, `4h`, `1d12h`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A non-negative length of time in whole milliseconds. A day is 24 hours; calendars do not matter here.
///
/// *Guarantees*: at most [`Duration::MAX`] (400 days), so that adding one to any instant of this era cannot overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a duration needs a unit, as in `{0}s` or `{0}m`")]
    NoUnit(String),
    #[error("a duration is written like `90s`, `15m`, `4h` or `1d12h`, got `{0}`")]
    Malformed(String),
    #[error("units of a duration go from large to small and appear once, got `{0}`")]
    Disordered(String),
    #[error("a duration is at most 400 days, got `{0}`")]
    TooLong(String),
}

const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl Duration {
    pub const ZERO: Duration = Duration(0);
    /// 400 days.
    pub const MAX: Duration = Duration(400 * 86_400_000);

    /// Saturates at [`Duration::MAX`].
    pub const fn from_millis(millis: u64) -> Duration {
        if millis > Duration::MAX.0 {
            Duration::MAX
        } else {
            Duration(millis)
        }
    }

    /// Saturates at [`Duration::MAX`].
    pub const fn from_secs(seconds: u64) -> Duration {
        Duration::from_millis(seconds.saturating_mul(1_000))
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1_000.0
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub const fn saturating_add(self, other: Duration) -> Duration {
        Duration::from_millis(self.0.saturating_add(other.0))
    }

    pub const fn saturating_sub(self, other: Duration) -> Duration {
        Duration(self.0.saturating_sub(other.0))
    }

    pub const fn saturating_mul(self, factor: u64) -> Duration {
        Duration::from_millis(self.0.saturating_mul(factor))
    }

    /// The same length as `jiff` writes it.
    pub const fn signed(self) -> jiff::SignedDuration {
        jiff::SignedDuration::from_millis(self.0 as i64)
    }

    /// The same length as the standard library writes it.
    pub const fn std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }

    /// The time from `earlier` to `later`; zero when they stand the other way round.
    pub fn between(earlier: jiff::Timestamp, later: jiff::Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(later.as_millisecond() - earlier.as_millisecond()).unwrap_or(0))
    }

    /// The instant this long after `at`; the last instant there is when that would overflow.
    pub fn after(self, at: jiff::Timestamp) -> jiff::Timestamp {
        at.checked_add(self.signed()).unwrap_or(jiff::Timestamp::MAX)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0s");
        }
        let mut rest = self.0;
        let mut text = String::new();
        for (unit, size) in UNITS {
            if rest >= size {
                text.push_str(&format!("{}{unit}", rest / size));
                rest %= size;
            }
        }
        f.pad(&text)
    }
}

impl FromStr for Duration {
    type Err = Error;

    fn from_str(text: &str) -> Result<Duration, Error> {
        let trimmed = text.trim();
        if !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::NoUnit(trimmed.to_owned()));
        }
        let malformed = || Error::Malformed(trimmed.to_owned());
        let mut rest = trimmed;
        let mut total: u64 = 0;
        let mut coarsest_left = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
            let unit = &rest[digits..digits + letters];
            let index = UNITS.iter().position(|(name, _)| *name == unit).ok_or_else(malformed)?;
            if digits == 0 {
                return Err(malformed());
            }
            if index < coarsest_left {
                return Err(Error::Disordered(trimmed.to_owned()));
            }
            coarsest_left = index + 1;
            let too_long = || Error::TooLong(trimmed.to_owned());
            let count: u64 = rest[..digits].parse().map_err(|_| too_long())?;
            total = count
                .checked_mul(UNITS[index].1)
                .and_then(|millis| total.checked_add(millis))
                .filter(|millis| *millis <= Duration::MAX.0)
                .ok_or_else(too_long)?;
            rest = &rest[digits + letters..];
        }
        if trimmed.is_empty() {
            Err(malformed())
        } else {
            Ok(Duration(total))
        }
    }
}

impl Serialize for Duration {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Error};

    #[test]
    fn durations_print_as_they_parse() {
        for text in ["90ms", "1m30s", "15m", "4h", "1d12h", "0s", "399d23h59m59s999ms"] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_its_reason() {
        assert_eq!("5".parse::<Duration>(), Err(Error::NoUnit("5".into())));
        assert_eq!("1mo".parse::<Duration>(), Err(Error::Malformed("1mo".into())));
        assert_eq!("-3m".parse::<Duration>(), Err(Error::Malformed("-3m".into())));
        assert_eq!("5m1h".parse::<Duration>(), Err(Error::Disordered("5m1h".into())));
        assert_eq!("5m5m".parse::<Duration>(), Err(Error::Disordered("5m5m".into())));
        assert_eq!("401d".parse::<Duration>(), Err(Error::TooLong("401d".into())));
        assert_eq!(
            "99999999999999999999s".parse::<Duration>(),
            Err(Error::TooLong("99999999999999999999s".into()))
        );
        assert_eq!("é".parse::<Duration>(), Err(Error::Malformed("é".into())));
    }
}
